//! `processes`: what runs on the host now.
//!
//! Invariant: a process that ends while it is read is left out, silently; what the account may not see is counted and
//! told in one warning. Only the image's hash costs more than a look into `/proc`, and only when it is wanted.

use super::proc::{Clock, Entry, Image, Proc, failed, find, is_gone};
use super::rights::{HIDES_PROCESSES, hides_processes, shielded_from};
use super::users::{Accounts, Users};
use super::workers::{for_chunks, on_threads};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Process, ProcessQuery, Sha256, Unit};
use crate::shape::Untrusted;
use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::{AtFlags, Statx, StatxFlags, statx};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Hashes an open image.
pub type Hash<'a> = &'a (dyn Fn(&File) -> Result<Sha256> + Sync);

const NAME_LIMIT: usize = 1024;

/// The processes asked for, by pid, or parents before their children with `tree`.
///
/// `E_NOT_FOUND` where `pid` names none, `E_BAD_ARGS` where `name` is no pattern.
pub fn list(query: &ProcessQuery, users: &Users, hash: Hash<'_>, job: &Job) -> Result<Vec<Process>> {
    let proc = Proc::open()?;
    let reader = Reader {
        name: query.name.as_deref().map(pattern).transpose()?,
        hashes: query.want.iter().any(|w| w == "sha256"),
        brief: query.brief,
        accounts: users.accounts(),
        clock: Clock::now(),
        page_bytes: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        hidden: AtomicU64::new(0),
        closed: AtomicU64::new(0),
        missed: Mutex::default(),
        job,
    };
    let mut found = match query.pid {
        Some(pid) => one(&proc, pid, &reader)?,
        None => all(&proc, &reader)?,
    };
    reader.warn(query.pid.is_none());
    if reader.hashes {
        fill_hashes(&proc, &mut found, hash, job)?;
    }
    let rows: Vec<Process> = found.into_iter().map(|f| f.row).collect();
    Ok(if query.tree { tree(rows) } else { rows })
}

/// A row, and which file its image is, where that is wanted.
struct Found {
    row: Process,
    image: Option<ImageKey>,
}

/// Equal keys are the same bytes: device, inode, size, and the time of modification.
type ImageKey = (u32, u32, u64, u64, i64, u32);

struct Reader<'a> {
    name: Option<GlobMatcher>,
    hashes: bool,
    /// Leaves out image, working directory and container.
    brief: bool,
    accounts: Accounts,
    clock: Clock,
    page_bytes: u64,
    /// Processes whose image or working directory the account may not see.
    hidden: AtomicU64,
    /// Processes that may not be looked into at all.
    closed: AtomicU64,
    /// Facts that could not be read for another reason.
    missed: Mutex<Missed>,
    job: &'a Job,
}

fn one(proc: &Proc, pid: u32, reader: &Reader<'_>) -> Result<Vec<Found>> {
    let entry = find(proc, pid)?;
    let found = reader.read(&entry, &mut Vec::new()).map_err(|e| failed(pid, e))?;
    Ok(found.into_iter().collect())
}

fn all(proc: &Proc, reader: &Reader<'_>) -> Result<Vec<Found>> {
    let pids = proc.pids(reader.job)?;
    reader.job.expect(Unit::Entries, u64::try_from(pids.len()).unwrap_or(0));
    let mut rows = for_chunks(&pids, |chunk, rows| reader.read_all(proc, chunk, rows))?;
    rows.sort_unstable_by_key(|f| f.row.pid);
    Ok(rows)
}

impl Reader<'_> {
    fn read_all(&self, proc: &Proc, pids: &[u32], rows: &mut Vec<Found>) -> Result<()> {
        self.job.check()?;
        self.job.advance(u64::try_from(pids.len()).unwrap_or(0));
        let mut buffer = Vec::new();
        for pid in pids {
            match proc.entry(*pid).and_then(|entry| self.read(&entry, &mut buffer)) {
                Ok(found) => rows.extend(found),
                Err(e) if is_gone(e) => {}
                // A /proc with hidepid=1 names processes that it does not open.
                Err(Errno::ACCESS | Errno::PERM) => {
                    self.closed.fetch_add(1, Relaxed);
                }
                Err(e) => return Err(failed(*pid, e)),
            }
        }
        Ok(())
    }

    /// Takes what there is. What does not exist or cannot be read is `None`, the latter noted; an error is only that
    /// the process is gone or that we have run out of something.
    fn seen<T>(&self, pid: u32, what: rustix::io::Result<T>, hidden: &mut bool) -> rustix::io::Result<Option<T>> {
        match what {
            Ok(x) => return Ok(Some(x)),
            Err(e @ (Errno::SRCH | Errno::MFILE | Errno::NFILE | Errno::NOMEM)) => return Err(e),
            Err(Errno::NOENT) => {}
            Err(Errno::ACCESS | Errno::PERM) => *hidden = true,
            // A path longer than a page, for one: whoever made it must not hide the others by it.
            Err(e) => self.missed.lock().unwrap_or_else(PoisonError::into_inner).add(format!("process {pid}: {e}")),
        }
        Ok(None)
    }

    /// `None` where the process has another name than the one asked for.
    fn read(&self, entry: &Entry, buffer: &mut Vec<u8>) -> rustix::io::Result<Option<Found>> {
        let pid = entry.pid;
        let stat = entry.stat(buffer)?;
        let mut row = Process {
            pid,
            ppid: stat.ppid,
            name: Untrusted::from_bytes(stat.comm),
            path: None,
            command_line: None,
            user: None,
            started: Some(self.clock.at(stat.start_ticks)),
            sha256: None,
            deleted_image: None,
            cwd: None,
            container: None,
            cpu_ms: Some(self.clock.millis(stat.cpu_ticks)),
            rss_bytes: Some(stat.rss_pages.saturating_mul(self.page_bytes)),
            depth: None,
        };
        let mut named = self.matches(stat.comm);
        // Kernel threads and what has ended have neither image nor arguments.
        let lives = !stat.is_kernel_thread && !matches!(stat.state, b'Z' | b'X' | b'x');
        let mut hidden = false;
        if lives && !(self.brief && named) {
            let image = self.seen(pid, entry.image(buffer), &mut hidden)?;
            named |= image.as_ref().is_some_and(|i| self.matches(i.path.name().as_bytes()));
            named = named || self.is_argument_named(entry, buffer);
            set_image(&mut row, image);
        }
        if !named {
            return Ok(None);
        }
        row.user = Some(self.accounts.user_or_id(entry.uid()?));
        if lives {
            row.command_line = self.seen(pid, entry.command_line(buffer), &mut hidden)?.flatten();
        }
        let mut image = None;
        if !self.brief {
            row.container = self.seen(pid, entry.container(buffer), &mut hidden)?.flatten();
        }
        if lives && !self.brief {
            row.cwd = self.seen(pid, entry.cwd(buffer), &mut hidden)?;
            if self.hashes && row.path.is_some() {
                image = self.seen(pid, entry.image_stat(), &mut hidden)?.map(|s| image_key(&s));
            }
        }
        self.hidden.fetch_add(u64::from(hidden), Relaxed);
        Ok(Some(Found { row, image }))
    }

    fn is_argument_named(&self, entry: &Entry, buffer: &mut Vec<u8>) -> bool {
        matches!(entry.first_argument(buffer), Ok(Some(argument)) if self.matches(last_component(argument)))
    }

    fn matches(&self, name: &[u8]) -> bool {
        self.name.as_ref().is_none_or(|glob| glob.is_match(Path::new(OsStr::from_bytes(name))))
    }

    fn warn(&self, whole: bool) {
        let missed = std::mem::take(&mut *self.missed.lock().unwrap_or_else(PoisonError::into_inner));
        missed.warn("facts of processes could not be read", self.job);
        let hidden = self.hidden.load(Relaxed);
        if hidden > 0 {
            self.job.warn(format!(
                "the image and the working directory of {hidden} processes cannot be seen {}",
                shielded_from()
            ));
        }
        let closed = self.closed.load(Relaxed);
        if closed > 0 {
            self.job.warn(format!("{closed} processes are not listed: they cannot be looked into {}", shielded_from()));
        }
        if whole && hides_processes() {
            self.job.warn(HIDES_PROCESSES);
        }
    }
}

fn set_image(row: &mut Process, image: Option<Image>) {
    if let Some(image) = image {
        row.deleted_image = Some(image.deleted);
        row.path = Some(image.path);
    }
}

fn last_component(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

fn image_key(stat: &Statx) -> ImageKey {
    let modified = stat.stx_mtime;
    (stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino, stat.stx_size, modified.tv_sec, modified.tv_nsec)
}

/// Whether an opened image is still the one that was looked at.
fn is_image(file: &File, key: &ImageKey) -> bool {
    statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS).is_ok_and(|s| image_key(&s) == *key)
}

/// `*` and `?` match, every other character is itself.
fn pattern(name: &str) -> Result<GlobMatcher> {
    let refuse = |why: String| {
        Error::new(ErrorCode::BadArgs, format!("name {name:?}: {why}")).hint("a name with `*` and `?`, as in `ssh*`")
    };
    if name.is_empty() {
        return Err(refuse("it is empty".into()));
    }
    if name.len() > NAME_LIMIT {
        return Err(Error::new(ErrorCode::BadArgs, format!("the name is longer than {NAME_LIMIT} bytes"))
            .hint("a name with `*` and `?`, as in `ssh*`"));
    }
    let mut glob = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            // Two stars in a row would be another thing.
            '*' if glob.ends_with('*') => {}
            '[' | ']' | '{' | '}' | '\\' | '!' => glob.extend(['\\', c]),
            c => glob.push(c),
        }
    }
    let built = GlobBuilder::new(&glob).backslash_escape(true).literal_separator(false).build();
    Ok(built.map_err(|e| refuse(e.kind().to_string()))?.compile_matcher())
}

/// Hashes each image once, however many processes run it.
fn fill_hashes(proc: &Proc, found: &mut [Found], hash: Hash<'_>, job: &Job) -> Result<()> {
    let mut runs: HashMap<ImageKey, Vec<u32>> = HashMap::new();
    for f in found.iter() {
        if let Some(key) = f.image {
            runs.entry(key).or_default().push(f.row.pid);
        }
    }
    let images: Vec<(ImageKey, Vec<u32>)> = runs.into_iter().collect();
    let missed = Mutex::new(Missed::default());
    let hashes: HashMap<ImageKey, Sha256> = hash_images(&images, |key, pids| {
        job.check()?;
        image_hash(proc, key, pids, hash, &missed)
    })?
    .into_iter()
    .collect();
    for f in found {
        f.row.sha256 = f.image.and_then(|key| hashes.get(&key)).cloned();
    }
    missed.into_inner().unwrap_or_else(PoisonError::into_inner).warn("images could not be hashed", job);
    Ok(())
}

/// One image at a time a thread: they differ too much in size for chunks.
fn hash_images(
    images: &[(ImageKey, Vec<u32>)],
    one: impl Fn(&ImageKey, &[u32]) -> Result<Option<Sha256>> + Sync,
) -> Result<Vec<(ImageKey, Sha256)>> {
    let next = AtomicUsize::new(0);
    let run = || {
        let mut made = Vec::new();
        while let Some((key, pids)) = images.get(next.fetch_add(1, Relaxed)) {
            made.extend(one(key, pids)?.map(|sha256| (*key, sha256)));
        }
        Ok(made)
    };
    let count = thread::available_parallelism().map_or(1, usize::from).min(images.len());
    on_threads(count, run)
}

/// How many things failed, and why the first of them did.
#[derive(Default)]
struct Missed {
    count: u64,
    first: Option<String>,
}

impl Missed {
    fn add(&mut self, why: String) {
        self.count += 1;
        self.first.get_or_insert(why);
    }

    fn warn(self, what: &str, job: &Job) {
        if let Some(first) = self.first {
            job.warn(format!("{} {what}; the first: {first}", self.count));
        }
    }
}

/// `None` where none of the processes still runs the image, or it cannot be read, which is noted.
fn image_hash(
    proc: &Proc,
    key: &ImageKey,
    pids: &[u32],
    hash: Hash<'_>,
    missed: &Mutex<Missed>,
) -> Result<Option<Sha256>> {
    let mut why = None;
    for pid in pids {
        match proc.entry(*pid).and_then(|entry| entry.open_image()) {
            Ok(file) if is_image(&file, key) => match hash(&file) {
                Ok(sha256) => return Ok(Some(sha256)),
                Err(e) if matches!(e.code, ErrorCode::Cancelled | ErrorCode::Timeout) => return Err(e),
                Err(e) => why = Some(e.message),
            },
            Ok(_) => {}
            Err(e) if is_gone(e) => {}
            Err(e) => why = Some(format!("image of process {pid}: {e}")),
        }
    }
    if let Some(why) = why {
        missed.lock().unwrap_or_else(PoisonError::into_inner).add(why);
    }
    Ok(None)
}

/// Depth first, children by pid; a process whose parent is not listed is a root.
fn tree(rows: Vec<Process>) -> Vec<Process> {
    let listed: HashMap<u32, usize> = rows.iter().enumerate().map(|(i, row)| (row.pid, i)).collect();
    let mut children: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut roots = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        if row.ppid != row.pid && listed.contains_key(&row.ppid) {
            children.entry(row.ppid).or_default().push(i);
        } else {
            roots.push(i);
        }
    }
    let mut left: Vec<Option<Process>> = rows.into_iter().map(Some).collect();
    let mut ordered = Vec::with_capacity(left.len());
    // After the roots everything once more: pids that were used again while we looked can make a ring.
    for start in roots.into_iter().chain(0..left.len()) {
        let mut stack = vec![(start, 0u32)];
        while let Some((i, depth)) = stack.pop() {
            let Some(mut row) = left.get_mut(i).and_then(Option::take) else { continue };
            row.depth = Some(depth);
            let below = children.get(&row.pid).map(Vec::as_slice).unwrap_or_default();
            stack.extend(below.iter().rev().map(|child| (*child, depth.saturating_add(1))));
            ordered.push(row);
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::super::etc::tests::Scratch;
    use super::*;
    use rustix::fs::MemfdFlags;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};
    use std::time::{Duration, Instant};

    /// A child that is killed and reaped when the test ends.
    struct Running(Child);

    impl Running {
        fn start(command: &mut Command) -> Self {
            Running(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
        }

        fn sleeping() -> Self {
            Self::start(Command::new("sleep").arg("600"))
        }

        fn pid(&self) -> u32 {
            self.0.id()
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match look() {
                Some(x) => return x,
                None => assert!(Instant::now() < deadline, "it did not come to pass"),
            }
            thread::yield_now();
        }
    }

    fn sha256(file: &File) -> Result<Sha256> {
        use std::io::Read;
        let mut bytes = Vec::new();
        { file }.read_to_end(&mut bytes).map_err(|e| Error::io("read", e))?;
        Ok(Sha256::of(&bytes))
    }

    fn ask(query: ProcessQuery) -> Result<Vec<Process>> {
        list(&query, &Users::host(), &sha256, &Job::default())
    }

    fn ask_pid(pid: u32) -> Process {
        ask(ProcessQuery { pid: Some(pid), ..Default::default() }).unwrap().remove(0)
    }

    fn own() -> u32 {
        std::process::id()
    }

    #[test]
    fn this_process_is_told_as_it_is() {
        let row = ask(ProcessQuery::default()).unwrap().into_iter().find(|r| r.pid == own()).unwrap();
        let exe = std::env::current_exe().unwrap();
        assert_eq!(row.ppid, std::os::unix::process::parent_id());
        assert_eq!(row.path.unwrap().as_bytes(), exe.as_os_str().as_bytes());
        let first = std::env::args().next().unwrap();
        assert!(row.command_line.unwrap().raw().starts_with(&first));
        assert_eq!(row.cwd.unwrap().as_bytes(), std::env::current_dir().unwrap().as_os_str().as_bytes());
        assert_eq!(row.deleted_image, Some(false));
        assert!(row.rss_bytes.unwrap() > 0);
    }

    #[test]
    fn started_is_when_it_was_started() {
        let before = crate::model::Timestamp::now().as_millis();
        let child = Running::sleeping();
        let after = crate::model::Timestamp::now().as_millis();
        let started = ask_pid(child.pid()).started.unwrap().as_millis();
        assert!((before - 30..=after + 30).contains(&started), "{before} {started} {after}");
    }

    #[test]
    fn a_name_made_to_confuse_the_reader_does_not() {
        let tree = Scratch::new("proc");
        let evil = tree.path().join(") R 1 (\n) Z");
        std::fs::copy("/bin/sleep", &evil).unwrap();
        let child = Running::start(Command::new(&evil).arg("600"));
        let row = until(|| Some(ask_pid(child.pid())).filter(|r| r.name.raw().starts_with(')')));
        assert_eq!((row.name.raw(), row.ppid), (") R 1 (\n) Z", own()));
    }

    #[test]
    fn arguments_keep_their_borders() {
        let mut command = Command::new("sh");
        command.args(["-c", "kill -STOP $$; :", "a b", "", "q\"q"]);
        let child = Running::start(&mut command);
        let line = until(|| ask_pid(child.pid()).command_line.filter(|l| l.raw().starts_with("sh")));
        assert_eq!(line.raw(), r#"sh -c "kill -STOP $$; :" "a b" "" "q\"q""#);
    }

    #[test]
    fn a_deleted_image_is_told_and_named_without_the_suffix() {
        let tree = Scratch::new("proc");
        let path = tree.path().join("gone");
        std::fs::copy("/bin/sleep", &path).unwrap();
        let child = Running::start(Command::new(&path).arg("600"));
        until(|| ask_pid(child.pid()).path.filter(|p| p.as_bytes() == path.as_os_str().as_bytes()));
        std::fs::remove_file(&path).unwrap();
        let row = ask_pid(child.pid());
        assert_eq!(row.path.unwrap().as_bytes(), path.as_os_str().as_bytes());
        assert_eq!(row.deleted_image, Some(true));
        let identity = super::super::proc::identity(child.pid()).unwrap();
        assert_eq!((identity.image, identity.deleted_image), (None, Some(true)));
    }

    #[test]
    fn a_file_that_is_named_deleted_is_not() {
        let tree = Scratch::new("proc");
        let path = tree.path().join("x (deleted)");
        std::fs::copy("/bin/sleep", &path).unwrap();
        let child = Running::start(Command::new(&path).arg("600"));
        let row = until(|| Some(ask_pid(child.pid())).filter(|r| r.name.raw().starts_with('x')));
        assert_eq!(row.path.unwrap().as_bytes(), path.as_os_str().as_bytes());
        assert_eq!(row.deleted_image, Some(false));
    }

    #[test]
    fn a_deleted_name_of_an_image_with_another_name_is_told() {
        let tree = Scratch::new("proc");
        let (path, other) = (tree.path().join("one"), tree.path().join("two"));
        std::fs::copy("/bin/sleep", &path).unwrap();
        std::fs::hard_link(&path, &other).unwrap();
        let child = Running::start(Command::new(&path).arg("600"));
        until(|| Some(ask_pid(child.pid())).filter(|r| r.name.raw() == "one"));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(ask_pid(child.pid()).deleted_image, Some(true));
    }

    #[test]
    fn an_image_in_memory_is_told_and_hashed() {
        use std::io::Write;
        let bytes = std::fs::read("/bin/sleep").unwrap();
        let memory = rustix::fs::memfd_create("hollow", MemfdFlags::empty()).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&memory);
        File::from(memory.try_clone().unwrap()).write_all(&bytes).unwrap();
        let child = Running::start(Command::new(format!("/proc/self/fd/{number}")).arg0("[kthreadd]").arg("600"));
        let query = || ProcessQuery { pid: Some(child.pid()), want: vec!["sha256".into()], ..Default::default() };
        let row = until(|| Some(ask(query()).unwrap().remove(0)).filter(|r| r.deleted_image == Some(true)));
        assert_eq!(row.path.unwrap().as_bytes(), b"/memfd:hollow");
        assert_eq!(row.sha256, Some(Sha256::of(&bytes)));
        assert!(!super::super::proc::identity(child.pid()).unwrap().is_kernel_thread);
    }

    #[test]
    fn a_pid_that_is_none_is_not_found() {
        let child = Running::sleeping();
        let pid = child.pid();
        drop(child);
        for query in [pid, 0, u32::MAX] {
            let e = ask(ProcessQuery { pid: Some(query), ..Default::default() }).unwrap_err();
            assert_eq!(e.code, ErrorCode::NotFound, "{query}");
            assert!(e.hint.is_some());
        }
    }

    #[test]
    fn a_thread_is_no_process() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            let _ = ended.recv();
        });
        let tid = u32::try_from(told.recv().unwrap()).unwrap();
        let e = super::super::proc::identity(tid).unwrap_err();
        assert_eq!(e.code, ErrorCode::NotFound);
        assert!(e.message.contains(&own().to_string()), "{}", e.message);
        drop(end);
        thread.join().unwrap();
    }

    #[test]
    fn a_process_that_has_ended_but_is_not_reaped_is_listed() {
        let mut child = Running::start(&mut Command::new("true"));
        until(|| super::super::proc::identity(child.pid()).ok().filter(|i| i.state == 'Z'));
        let row = ask_pid(child.pid());
        assert_eq!((row.path, row.cwd, row.command_line), (None, None, None));
        child.0.wait().unwrap();
    }

    #[test]
    fn processes_that_come_and_go_disturb_nothing() {
        let stop = std::sync::atomic::AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    Command::new("true").status().unwrap();
                }
            });
            let look = || ask(ProcessQuery::default()).is_ok_and(|rows| rows.iter().any(|r| r.pid == own()));
            let seen = (0..20).all(|_| look());
            stop.store(true, Relaxed);
            assert!(seen);
        });
    }

    #[test]
    fn two_hundred_children_are_all_there_and_in_order() {
        let children: Vec<Running> = (0..200).map(|_| Running::sleeping()).collect();
        let rows = ask(ProcessQuery::default()).unwrap();
        assert!(rows.is_sorted_by(|a, b| a.pid < b.pid));
        for child in &children {
            assert!(rows.iter().any(|r| r.pid == child.pid() && r.ppid == own()));
        }
    }

    #[test]
    fn each_image_is_hashed_once() {
        let children: Vec<Running> = (0..20).map(|_| Running::sleeping()).collect();
        until(|| children.iter().all(|c| ask_pid(c.pid()).name.raw() == "sleep").then_some(()));
        let hashed = Mutex::new(Vec::new());
        let hash = |file: &File| {
            let stat = rustix::fs::fstat(file).unwrap();
            hashed.lock().unwrap().push((stat.st_dev, stat.st_ino));
            Ok(Sha256::of(b"x"))
        };
        let query = ProcessQuery { name: Some("sleep".into()), want: vec!["sha256".into()], ..Default::default() };
        let rows = list(&query, &Users::host(), &hash, &Job::default()).unwrap();
        for child in &children {
            assert!(rows.iter().any(|r| r.pid == child.pid() && r.sha256.is_some()));
        }
        let mut hashed = hashed.into_inner().unwrap();
        let all = hashed.len();
        hashed.sort();
        hashed.dedup();
        assert_eq!(hashed.len(), all);
    }

    #[test]
    fn an_image_that_cannot_be_hashed_is_a_warning() {
        let job = Job::default();
        let query = ProcessQuery { pid: Some(own()), want: vec!["sha256".into()], ..Default::default() };
        let hash = |_: &File| Err(Error::new(ErrorCode::Backend, "the disk is on fire"));
        assert_eq!(list(&query, &Users::host(), &hash, &job).unwrap()[0].sha256, None);
        assert!(job.take_warnings().iter().any(|w| w.contains("on fire")));
    }

    #[test]
    fn a_cancelled_listing_ends() {
        let job = Job::default();
        job.cancel();
        let e = list(&ProcessQuery::default(), &Users::host(), &sha256, &job).unwrap_err();
        assert_eq!(e.code, ErrorCode::Cancelled);
    }

    #[test]
    fn a_path_that_is_too_long_hides_no_other_process() {
        let tree = Scratch::new("proc");
        let part = "d".repeat(200);
        let mut deep = Command::new("sh");
        deep.current_dir(tree.path()).args([
            "-c",
            &format!("for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25; do mkdir {part} && cd -P {part} 2>/dev/null || break; done; exec sleep 600"),
        ]);
        let child = Running::start(&mut deep);
        until(|| Some(ask_pid(child.pid())).filter(|r| r.name.raw() == "sleep"));
        let job = Job::default();
        let rows = list(&ProcessQuery::default(), &Users::host(), &sha256, &job).unwrap();
        let row = rows.into_iter().find(|r| r.pid == child.pid()).unwrap();
        if rustix::fs::readlink(format!("/proc/{}/cwd", child.pid()), Vec::new()) == Err(Errno::NAMETOOLONG) {
            assert_eq!(row.cwd, None);
            assert!(job.take_warnings().iter().any(|w| w.contains("could not be read")));
        } else {
            eprintln!("skipped: this shell or kernel made no such path");
        }
    }

    #[test]
    fn a_name_is_the_comm_the_image_or_the_first_argument() {
        let child = Running::start(Command::new("sleep").arg0("/x/decoy[1]").arg("600"));
        until(|| ask_pid(child.pid()).command_line.filter(|l| l.raw().starts_with("/x/")));
        let found = |name: &str| {
            let rows = ask(ProcessQuery { name: Some(name.into()), ..Default::default() }).unwrap();
            rows.iter().any(|r| r.pid == child.pid())
        };
        let names = ["sleep", "sl*p", "sl**p", "s?eep", "decoy[1]", "decoy*", "*"];
        assert_eq!(names.map(found), [true; 7]);
        let others = ["Sleep", "leep", "decoy1", "/x/decoy[1]", "{sleep,x}", "[s]leep", "sleep?"];
        assert_eq!(others.map(found), [false; 7]);
    }

    #[test]
    fn a_brief_listing_leaves_out_what_costs_and_nothing_else() {
        let child = Running::sleeping();
        let whole = until(|| Some(ask_pid(child.pid())).filter(|r| r.name.raw() == "sleep"));
        let query = ProcessQuery { pid: Some(child.pid()), brief: true, ..Default::default() };
        let brief = ask(query).unwrap().remove(0);
        assert_eq!((brief.path, brief.deleted_image, brief.cwd, brief.container), (None, None, None, None));
        assert_eq!((brief.name, brief.ppid, brief.user), (whole.name, whole.ppid, whole.user));
        assert_eq!((brief.started, brief.command_line), (whole.started, whole.command_line));
    }

    #[test]
    fn a_brief_listing_finds_the_image_by_its_name_too() {
        let tree = Scratch::new("proc");
        let link = tree.path().join("alias");
        std::os::unix::fs::symlink("/bin/sleep", &link).unwrap();
        let child = Running::start(Command::new(&link).arg("600"));
        let image = until(|| Some(ask_pid(child.pid())).filter(|r| r.name.raw() == "alias")).path.unwrap();
        let name = String::from_utf8(image.name().as_bytes().to_vec()).unwrap();
        let rows = ask(ProcessQuery { name: Some(name), brief: true, ..Default::default() }).unwrap();
        assert!(rows.iter().any(|r| r.pid == child.pid()));
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        for name in ["".to_owned(), "x".repeat(NAME_LIMIT + 1)] {
            let e = ask(ProcessQuery { name: Some(name), ..Default::default() }).unwrap_err();
            assert_eq!(e.code, ErrorCode::BadArgs);
        }
    }

    fn bare(pid: u32, ppid: u32) -> Process {
        Process { pid, ppid, ..ask_pid(own()) }
    }

    fn shape(rows: Vec<Process>) -> Vec<(u32, u32)> {
        tree(rows).into_iter().map(|r| (r.pid, r.depth.unwrap())).collect()
    }

    #[test]
    fn a_tree_has_parents_before_children() {
        let rows = [(1, 0), (2, 0), (3, 9), (4, 3), (5, 1), (6, 2), (7, 1), (8, 5)].map(|(p, pp)| bare(p, pp));
        assert_eq!(shape(rows.into()), [(1, 0), (5, 1), (8, 2), (7, 1), (2, 0), (6, 1), (3, 0), (4, 1)]);
    }

    #[test]
    fn a_ring_of_parents_is_listed_once() {
        let rows = [(1, 0), (5, 6), (6, 5), (7, 7)].map(|(p, pp)| bare(p, pp));
        assert_eq!(shape(rows.into()), [(1, 0), (7, 0), (5, 0), (6, 1)]);
    }

    #[test]
    fn an_unprivileged_account_is_told_what_it_does_not_see() {
        if !rustix::process::geteuid().is_root() {
            let job = Job::default();
            list(&ProcessQuery::default(), &Users::host(), &sha256, &job).unwrap();
            let others = std::fs::read_link("/proc/1/exe").is_err();
            assert_eq!(job.take_warnings().iter().any(|w| w.contains("CAP_SYS_PTRACE")), others);
        }
    }
}
