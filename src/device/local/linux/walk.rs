//! A walk below a directory, over all cores: `findfile`'s, and every other search of whole trees.
//!
//! Invariants: no link is followed, whatever is swapped meanwhile: every directory is opened from the start of the walk
//! by a path without links. What was not searched (mounts, unreadable directories, own state) is said in warnings.

use super::dir::warn_of_own;
use super::facts::Facts;
use super::mounts::{self, Mounts, Point};
use super::own::OwnSet;
use super::view::{Opened, View, open_at, resolve_from};
use crate::error::Result;
use crate::model::{DevicePath, FileIdentity, Job};
use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, RawDir, RawDirEntry, ResolveFlags};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

const THREADS: usize = 8;
/// Directories that a warning names.
const NAMED: usize = 5;
/// Bytes of path below one anchor, before the next is set.
const STAGE: usize = 1_000;
/// Anchors at a time; a tree that needs more is walked all the same, only slower.
const ANCHORS: usize = 64;
/// Bytes of path that a walk goes down. What lies deeper counts as unreadable.
const DEPTH: usize = 32 * 1_024;
/// Entries between two looks at the job.
const STRIDE: u64 = 1_024;

/// What a walk does with the entries that it meets.
pub(super) trait Visit: Sync {
    type Row: Send;

    /// Levels that are read; 1 is the start's own entries.
    fn max_depth(&self) -> Option<u32> {
        None
    }

    /// Looks at one entry, a directory too; directories are entered afterwards.
    fn entry(&self, at: &Place<'_>, entry: &RawDirEntry<'_>, rows: &mut Vec<Self::Row>);

    /// All entries of a directory have been met. An error ends the walk.
    fn leave(&self, _: &Place<'_>, entries: u64, _: &mut Vec<Self::Row>, job: &Job) -> Result<()> {
        job.advance(entries);
        Ok(())
    }
}

/// The directory whose entries are met.
pub(super) struct Place<'a> {
    /// As the device names it.
    pub path: &'a DevicePath,
    pub directory: &'a Arc<OwnedFd>,
    /// Its entries that are points of mounts that may hang.
    pub points: &'a [Point],
    pub set: &'a OwnSet,
    /// Own things that were left out.
    pub own: &'a AtomicU64,
}

/// Walks below the start on all threads; each thread's rows on their own.
pub(super) fn walk<V: Visit>(view: &View, start: &Opened, visit: &V, job: &Job) -> Result<Vec<Vec<V::Row>>> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
    let (parts, left_out) = walk_on(threads, view, start, visit, job)?;
    left_out.warn(job);
    Ok(parts)
}

/// As [`walk`], on so many threads; who calls it warns of what was left out.
pub(super) fn walk_on<V: Visit>(
    threads: usize,
    view: &View,
    start: &Opened,
    visit: &V,
    job: &Job,
) -> Result<(Vec<Vec<V::Row>>, LeftOut)> {
    let walk = Walk::new(view, start, visit, job);
    let queue =
        Queue::new(threads, Task { path: Vec::new(), anchor: None, above: 0, depth: 0, mount: start.facts.mount });
    let parts: Vec<Result<Vec<V::Row>>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(|| walk.work(&queue))).collect();
        let first = walk.work(&queue);
        let ended = others.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(first).chain(ended).collect()
    });
    let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
    let left_out = LeftOut { own: walk.own.load(Relaxed), ..std::mem::take(&mut *walk.left_out()) };
    Ok((parts, left_out))
}

/// A directory that is kept open, so that those deep below it are not opened from the start.
struct Anchor {
    directory: Arc<OwnedFd>,
    open: Arc<AtomicUsize>,
}

impl Drop for Anchor {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

/// A directory that waits to be read.
struct Task {
    /// From the start of the walk; empty for the start itself.
    path: Vec<u8>,
    /// What it is opened from, and how much of the path lies above that.
    anchor: Option<Arc<Anchor>>,
    above: usize,
    /// Of its entries, less one.
    depth: u32,
    /// That it is expected on.
    mount: Option<u64>,
}

/// Directories that wait, for whichever thread is free.
struct Queue {
    state: Mutex<Waiting>,
    ready: Condvar,
    idle: AtomicUsize,
    threads: usize,
}

struct Waiting {
    tasks: Vec<Task>,
    ended: bool,
}

impl Queue {
    fn new(threads: usize, first: Task) -> Self {
        Queue {
            state: Mutex::new(Waiting { tasks: vec![first], ended: false }),
            ready: Condvar::new(),
            idle: AtomicUsize::new(0),
            threads,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next directory; `None` once no thread has any, or the walk has ended.
    fn take(&self) -> Option<Task> {
        let mut waiting = self.lock();
        loop {
            if waiting.ended {
                return None;
            }
            if let Some(task) = waiting.tasks.pop() {
                return Some(task);
            }
            if self.idle.fetch_add(1, Relaxed) + 1 == self.threads {
                waiting.ended = true;
                self.ready.notify_all();
                return None;
            }
            waiting = self.ready.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            self.idle.fetch_sub(1, Relaxed);
        }
    }

    /// Gives half of a thread's directories, the oldest and so the largest, to those that wait.
    fn share(&self, own: &mut Vec<Task>) {
        if self.idle.load(Relaxed) > 0 && own.len() > 1 {
            let half = own.len() / 2;
            self.lock().tasks.extend(own.drain(..half));
            self.ready.notify_all();
        }
    }

    fn end(&self) {
        self.lock().ended = true;
        self.ready.notify_all();
    }
}

/// A thread's place at the queue. One that panics ends the walk: the others would wait for it for ever.
struct Seat<'q>(&'q Queue);

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}

struct Walk<'a, V> {
    view: &'a View,
    visit: &'a V,
    job: &'a Job,
    start: &'a Opened,
    on_procfs: bool,
    set: OwnSet,
    mounts: Mounts,
    own: AtomicU64,
    anchors: Arc<AtomicUsize>,
    left_out: Mutex<LeftOut>,
}

/// What a walk did not search.
#[derive(Default)]
pub(super) struct LeftOut {
    mounts: Vec<(DevicePath, String)>,
    unreadable: u64,
    named: Vec<DevicePath>,
    own: u64,
}

impl LeftOut {
    pub fn add(&mut self, other: LeftOut) {
        self.mounts.extend(other.mounts);
        self.unreadable += other.unreadable;
        self.named.extend(other.named);
        self.own += other.own;
    }

    /// More of this program's own state was left out.
    pub fn count_own(&mut self, entries: u64) {
        self.own += entries;
    }

    pub fn warn(self, job: &Job) {
        if let Some(warning) = mounts::warning(self.mounts) {
            job.warn(warning);
        }
        if self.unreadable > 0 {
            let mut named = self.named;
            named.sort();
            let names = named.iter().take(NAMED).map(DevicePath::to_string).collect::<Vec<_>>().join(", ");
            let more = if self.unreadable > NAMED as u64 { ", …" } else { "" };
            let count = self.unreadable;
            let noun = if count == 1 { "directory" } else { "directories" };
            job.warn(format!("{count} {noun} could not be read: {names}{more}; run as root to search them"));
        }
        warn_of_own(self.own, job);
    }
}

impl<'a, V: Visit> Walk<'a, V> {
    fn new(view: &'a View, start: &'a Opened, visit: &'a V, job: &'a Job) -> Self {
        Walk {
            view,
            visit,
            job,
            start,
            on_procfs: rustix::fs::fstatfs(&start.file).is_ok_and(|s| s.f_type == PROC_SUPER_MAGIC),
            set: view.own().snapshot(),
            mounts: Mounts::read(),
            own: AtomicU64::new(0),
            anchors: Arc::default(),
            left_out: Mutex::default(),
        }
    }

    /// One thread's part of the walk: its hits in order of their paths.
    fn work(&self, queue: &Queue) -> Result<Vec<V::Row>> {
        let _seat = Seat(queue);
        let mut tasks = Vec::new();
        let mut rows = Vec::new();
        let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
        while let Some(task) = tasks.pop().or_else(|| queue.take()) {
            let read = self.job.check().and_then(|()| self.directory(&task, &mut buffer, &mut tasks, &mut rows));
            if let Err(e) = read {
                queue.end();
                return Err(e);
            }
            queue.share(&mut tasks);
        }
        Ok(rows)
    }

    fn directory(
        &self,
        task: &Task,
        buffer: &mut [MaybeUninit<u8>],
        tasks: &mut Vec<Task>,
        rows: &mut Vec<V::Row>,
    ) -> Result<()> {
        let Some((directory, mount)) = self.enter(task) else { return Ok(()) };
        let skipped = self.mounts.left_out_in(&join(&self.start.host_path, &task.path));
        let shown = self.shown(&task.path);
        let directory = Arc::new(directory);
        let (anchor, above) = self.anchor(task, &directory);
        let deeper = self.visit.max_depth().is_none_or(|max| task.depth + 1 < max);
        let place = Place { path: &shown, directory: &directory, points: skipped, set: &self.set, own: &self.own };
        let mut seen = 0u64;
        let mut entries = RawDir::new(&directory, buffer);
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else {
                self.unreadable(&task.path);
                break;
            };
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            seen += 1;
            if seen.is_multiple_of(STRIDE) {
                self.job.check()?;
            }
            self.visit.entry(&place, &entry, rows);
            if deeper && self.is_directory(&directory, skipped, &entry) {
                match skipped.iter().find(|(point, _)| point == name) {
                    Some((_, kind)) => self.skip(&join(&task.path, name), kind.clone()),
                    None if task.path.len() + name.len() > DEPTH => self.unreadable(&task.path),
                    None => {
                        let (path, anchor) = (join(&task.path, name), anchor.clone());
                        tasks.push(Task { path, anchor, above, depth: task.depth + 1, mount });
                    }
                }
            }
        }
        self.visit.leave(&place, seen, rows, self.job)
    }

    /// What the directories below this one are opened from.
    fn anchor(&self, task: &Task, directory: &Arc<OwnedFd>) -> (Option<Arc<Anchor>>, usize) {
        if task.path.len() - task.above < STAGE {
            return (task.anchor.clone(), task.above);
        }
        if self.anchors.fetch_add(1, Relaxed) >= ANCHORS {
            self.anchors.fetch_sub(1, Relaxed);
            return (task.anchor.clone(), task.above);
        }
        let anchor = Anchor { directory: Arc::clone(directory), open: Arc::clone(&self.anchors) };
        (Some(Arc::new(anchor)), task.path.len() + 1)
    }

    /// Opens a directory and looks where it led; `None` where it is to be left out.
    fn enter(&self, task: &Task) -> Option<(OwnedFd, Option<u64>)> {
        let from = task.anchor.as_ref().map_or(self.start.file.as_fd(), |anchor| anchor.directory.as_fd());
        let directory = match open_below(from, task.path.get(task.above..).unwrap_or_default()) {
            Ok(directory) => directory,
            // Gone or something else since its name was read.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return None,
            Err(_) => {
                self.unreadable(&task.path);
                return None;
            }
        };
        let facts = Facts::of(&directory).ok()?;
        if self.set.holds(facts.identity) || (self.on_procfs && self.is_own_process(&directory, task)) {
            self.own.fetch_add(1, Relaxed);
            return None;
        }
        if facts.mount != task.mount {
            let kind = facts.mount.and_then(|id| self.mounts.kind(id)).unwrap_or_default();
            if mounts::is_left_out(&kind) {
                self.skip(&task.path, kind);
                return None;
            }
            if self.is_above(task, facts.identity) {
                return None;
            }
        }
        Some((directory, facts.mount))
    }

    fn is_own_process(&self, directory: &OwnedFd, task: &Task) -> bool {
        self.view.own().refuse(&self.set, directory.as_fd(), &self.shown(&task.path)).is_err()
    }

    /// Whether a mount brings the walk back to a directory that it came through.
    fn is_above(&self, task: &Task, identity: FileIdentity) -> bool {
        let above = (0..task.path.len()).filter(|at| task.path.get(*at) == Some(&b'/')).map(|at| task.path.get(..at));
        above
            .chain([Some(&b""[..])])
            .flatten()
            .any(|path| open_below(&self.start.file, path).and_then(Facts::of).is_ok_and(|f| f.identity == identity))
    }

    fn is_directory(&self, directory: &OwnedFd, points: &[Point], entry: &RawDirEntry<'_>) -> bool {
        match entry.file_type() {
            FileType::Directory => true,
            // Some file systems do not tell in the listing.
            FileType::Unknown => mounts::facts_of(points, directory, entry.file_name()).is_ok_and(|f| f.is_directory()),
            _ => false,
        }
    }

    /// A path of the walk as the device names it.
    fn shown(&self, below: &[u8]) -> DevicePath {
        DevicePath::new(join(self.start.real_path.as_bytes(), below))
    }

    fn left_out(&self) -> MutexGuard<'_, LeftOut> {
        self.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn skip(&self, path: &[u8], kind: String) {
        let path = self.shown(path);
        self.left_out().mounts.push((path, kind));
    }

    fn unreadable(&self, path: &[u8]) {
        let path = self.shown(path);
        let mut left_out = self.left_out();
        left_out.unreadable += 1;
        if left_out.named.len() < NAMED {
            left_out.named.push(path);
        }
    }
}

/// Opens a directory below the start, by a path on which nothing is a link.
pub(super) fn open_below(start: impl AsFd, path: &[u8]) -> rustix::io::Result<OwnedFd> {
    let scope = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = |at: std::os::fd::BorrowedFd<'_>, path: &[u8]| match open_at(at, path, flags | OFlags::NOATIME, scope) {
        Err(Errno::PERM) => open_at(at, path, flags, scope),
        opened => opened,
    };
    match path {
        b"" => open(start.as_fd(), b"."),
        path if path.len() < 4_000 => open(start.as_fd(), path),
        path => {
            let handle = resolve_from(start.as_fd(), path, OFlags::DIRECTORY | OFlags::NOFOLLOW, scope)?;
            rustix::fs::openat(&handle, c".", flags, Mode::empty())
        }
    }
}

pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.is_empty() || name.is_empty() || directory.ends_with(b"/") { b"" } else { b"/" };
    [directory, slash, name].concat()
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{TempTree, deep_tree};
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_thread_that_panics_keeps_nobody_waiting() {
        let queue = Queue::new(2, Task { path: Vec::new(), anchor: None, above: 0, depth: 0, mount: None });
        assert!(queue.take().is_some());
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| queue.take().is_none());
            let broken = scope.spawn(|| {
                let _seat = Seat(&queue);
                panic!("planted");
            });
            assert!(broken.join().is_err());
            assert!(waits.join().unwrap());
        });
    }

    #[test]
    fn a_directory_that_became_a_link_is_not_entered() {
        let tree = TempTree::new();
        for folder in ["a/b", "out"] {
            std::fs::create_dir_all(tree.path(folder)).unwrap();
        }
        let start = std::fs::File::open(tree.path("a")).unwrap();
        assert!(open_below(&start, b"b").is_ok());
        std::fs::rename(tree.path("a/b"), tree.path("a/gone")).unwrap();
        symlink(tree.path("out"), tree.path("a/b")).unwrap();
        assert_eq!(open_below(&start, b"b").err(), Some(Errno::NOTDIR));
        std::fs::rename(tree.path("a"), tree.path("moved")).unwrap();
        assert_eq!(open_below(&start, b"../out").err(), Some(Errno::XDEV));
    }

    #[test]
    fn links_on_the_way_of_a_long_path_are_refused() {
        let tree = TempTree::new();
        deep_tree(&tree, 2_500);
        symlink("d", tree.path("e")).unwrap();
        let start = std::fs::File::open(tree.root()).unwrap();
        let path = |first: &str| [first.as_bytes(), &b"/d".repeat(2_400)].concat();
        assert!(open_below(&start, &path("d")).is_ok());
        assert_eq!(open_below(&start, &path("e")).err(), Some(Errno::LOOP));
    }
}
