//! `dir`: the entries of one directory, hidden ones too, sorted by name.

use super::facts::{Facts, kind_name};
use super::mounts::{self, Mounts, Point};
use super::own::{OwnSet, OwnThings};
use super::view::{How, Names, Opened, View, system_error};
use crate::error::{ErrorCode, Result};
use crate::model::{DevicePath, DirQuery, FileEntry, FileRow, Job, ROWS_MEMORY, Unit, gathered};
use rustix::fs::{FileType, PROC_SUPER_MAGIC, RawDir};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

/// From so many entries on, a second thread pays.
const SPLIT: usize = 2_000;
const THREADS: usize = 4;
/// Entries between two looks at the job.
const STRIDE: usize = 512;

/// The rows of a directory, or one row for anything else, as `ls` does. `E_ACCESS` where it cannot be listed.
pub fn list(view: &View, query: &DirQuery, names: &dyn Names, job: &Job) -> Result<Vec<FileRow>> {
    match view.open(&query.path, How::Directory) {
        Ok(directory) => entries(view, &directory, query, names, job),
        Err(e) if e.code == ErrorCode::NotAFile => single(view, query, names).map(|row| vec![row.into()]),
        // A link to nothing is an entry all the same.
        Err(e) if e.code == ErrorCode::NotFound => {
            single(view, query, names).map(|row| vec![row.into()]).map_err(|_| e)
        }
        Err(e) => Err(e),
    }
}

fn single(view: &View, query: &DirQuery, names: &dyn Names) -> Result<FileEntry> {
    let opened = view.open(&query.path, How::Link)?;
    let name = query.path.name();
    let path = if query.full_path { opened.real_path.clone() } else { name.clone() };
    let target = if opened.facts.is_symlink() { link_target(&opened.file, c"") } else { None };
    Ok(opened.facts.entry(name.as_bytes(), path, target, names))
}

/// Where a link points; `None` where it cannot be read.
pub(super) fn link_target(directory: impl AsFd, name: &CStr) -> Option<DevicePath> {
    rustix::fs::readlinkat(directory, name, Vec::new()).ok().map(|t| DevicePath::new(t.into_bytes()))
}

fn entries(view: &View, directory: &Opened, query: &DirQuery, names: &dyn Names, job: &Job) -> Result<Vec<FileRow>> {
    let mut found = Found::read(&directory.file, &query.path, job)?;
    let count = found.places.len();
    let most = found.most(if query.full_path { directory.real_path.as_bytes().len() + 1 } else { 0 });
    if count > most {
        job.warn(format!("{} holds {count} entries, the first {most} are listed: findfile narrows it", query.path));
        found.places.truncate(most);
    }
    job.expect(Unit::Entries, found.places.len() as u64);
    let mounts = Mounts::read();
    let listing = Listing {
        points: mounts.left_out_in(&directory.host_path),
        directory: &directory.file,
        found: &found,
        prefix: query.full_path.then(|| directory.real_path.clone()),
        names,
        set: view.own().snapshot(),
        // On procfs the guard's processes are directories.
        own: rustix::fs::fstatfs(&directory.file).is_ok_and(|s| s.f_type == PROC_SUPER_MAGIC).then(|| view.own()),
        job,
    };
    let threads = if found.places.len() < SPLIT {
        1
    } else {
        std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS))
    };
    let share = found.places.len().div_ceil(threads).max(1);
    let parts: Vec<Result<Part>> = std::thread::scope(|scope| {
        let mut shares = found.places.chunks(share);
        let first = shares.next().unwrap_or_default();
        let others: Vec<_> = shares.map(|places| scope.spawn(|| listing.rows(places))).collect();
        let first = listing.rows(first);
        let ended = others.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(first).chain(ended).collect()
    });
    let parts = parts.into_iter().collect::<Result<Vec<Part>>>()?;
    let (unread, own) = parts.iter().fold((0, 0), |(unread, own), p| (unread + p.unread, own + p.own));
    let rows = gathered(parts.into_iter().map(|p| p.rows));
    if unread > 0 {
        job.warn(format!("{unread} entries of {} could not be looked at: run as root to see their facts", query.path));
    }
    warn_of_own(own, job);
    Ok(rows)
}

/// The one warning for own things that were left out.
pub(super) fn warn_of_own(count: u64, job: &Job) {
    if count > 0 {
        let noun = if count == 1 { "entry" } else { "entries" };
        job.warn(format!("{count} {noun} of this program's own state left out"));
    }
}

/// The names of a directory in one piece of memory, sorted.
struct Found {
    /// Each name with its NUL.
    text: Vec<u8>,
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
    kind: FileType,
}

impl Found {
    fn read(directory: &File, path: &DevicePath, job: &Job) -> Result<Self> {
        let mut found = Found { text: Vec::new(), places: Vec::new() };
        let mut buffer = vec![MaybeUninit::uninit(); 256 * 1024];
        let mut entries = RawDir::new(directory, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|e| system_error(path, e))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let start = found.text.len();
            found.text.extend_from_slice(name.to_bytes_with_nul());
            found.places.push(Place { start, end: found.text.len(), kind: entry.file_type() });
            if found.places.len().is_multiple_of(STRIDE) {
                job.check()?;
            }
        }
        let text = &found.text;
        found.places.sort_unstable_by(|a, b| text.get(a.start..a.end).cmp(&text.get(b.start..b.end)));
        Ok(found)
    }

    /// So many rows fit into memory beside the names: of a directory with more entries, the first by name are listed.
    fn most(&self, prefix: usize) -> usize {
        let name = self.text.len() / self.places.len().max(1);
        let each = FileRow::memory_of(prefix + name) + (size_of::<Place>() + name) as u64;
        usize::try_from(ROWS_MEMORY / each).unwrap_or(usize::MAX)
    }

    fn name(&self, place: Place) -> &CStr {
        self.text.get(place.start..place.end).and_then(|n| CStr::from_bytes_with_nul(n).ok()).unwrap_or_default()
    }
}

struct Listing<'a> {
    /// Entries that are points of mounts which may hang.
    points: &'a [Point],
    directory: &'a File,
    found: &'a Found,
    /// The directory's path where rows have absolute ones.
    prefix: Option<DevicePath>,
    names: &'a dyn Names,
    set: OwnSet,
    own: Option<&'a OwnThings>,
    job: &'a Job,
}

#[derive(Default)]
struct Part {
    rows: Vec<FileRow>,
    unread: u64,
    own: u64,
}

impl Listing<'_> {
    fn rows(&self, places: &[Place]) -> Result<Part> {
        let mut part = Part { rows: Vec::with_capacity(places.len()), ..Part::default() };
        for stretch in places.chunks(STRIDE) {
            self.job.check()?;
            stretch.iter().for_each(|place| self.row(*place, &mut part));
            self.job.advance(stretch.len() as u64);
        }
        Ok(part)
    }

    fn row(&self, place: Place, part: &mut Part) {
        let name = self.found.name(place);
        match mounts::facts_of(self.points, self.directory, name) {
            // It vanished since it was listed.
            Err(Errno::NOENT) => {}
            Ok(facts) if self.is_own(&facts, name) => part.own += 1,
            Ok(facts) => {
                let target = if facts.is_symlink() { link_target(self.directory, name) } else { None };
                part.rows.push(facts.entry(name.to_bytes(), self.path(name), target, self.names).into());
            }
            Err(_) => {
                part.unread += 1;
                part.rows.push(unread(name, self.path(name), place.kind).into());
            }
        }
    }

    fn is_own(&self, facts: &Facts, name: &CStr) -> bool {
        let process = || {
            let own = self.own?;
            let pid = name.to_str().ok()?.parse().ok()?;
            Some(own.is_own_process(pid))
        };
        self.set.holds(facts.identity) || process() == Some(true)
    }

    fn path(&self, name: &CStr) -> DevicePath {
        let name = DevicePath::new(name.to_bytes());
        match &self.prefix {
            Some(prefix) => prefix.join(&name),
            None => name,
        }
    }
}

/// The row of an entry of which only the listing tells.
pub(super) fn unread(name: &CStr, path: DevicePath, kind: FileType) -> FileEntry {
    FileEntry {
        name: DevicePath::new(name.to_bytes()),
        path,
        kind: kind_name(kind),
        size_bytes: None,
        created: None,
        modified: None,
        accessed: None,
        target: None,
        attributes: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{Numbers, TempTree, device_path, host, text};
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn rows(tree: &TempTree, path: DevicePath, full_path: bool) -> Result<(Vec<FileEntry>, Vec<String>)> {
        let job = Job::default();
        let rows = list(&host(tree), &DirQuery { path, full_path }, &Numbers, &job)?;
        Ok((rows.iter().map(FileEntry::from).collect(), job.take_warnings()))
    }

    fn listed(tree: &TempTree) -> Vec<FileEntry> {
        rows(tree, device_path(tree.root()), false).unwrap().0
    }

    #[test]
    fn own_state_is_left_out_and_counted_once() {
        let tree = TempTree::new();
        std::fs::create_dir_all(tree.path("home/guard")).unwrap();
        std::fs::write(tree.path("home/secret"), "x").unwrap();
        std::fs::hard_link(tree.path("home/secret"), tree.path("hard")).unwrap();
        std::fs::write(tree.path("other"), "x").unwrap();
        let (rows, warnings) = rows(&tree, device_path(tree.root()), false).unwrap();
        assert_eq!(rows.iter().map(|r| r.name.clone()).collect::<Vec<_>>(), [text("other")]);
        assert_eq!(warnings, ["2 entries of this program's own state left out"]);
    }

    #[test]
    fn own_processes_are_left_out_of_procfs() {
        let tree = TempTree::new();
        let (rows, _) = rows(&tree, text("/proc"), false).unwrap();
        assert!(!rows.iter().any(|r| r.name == text(&std::process::id().to_string())));
        assert!(rows.iter().any(|r| r.name == text("version")));
    }

    #[test]
    fn every_kind_has_its_row_and_none_is_opened() {
        let tree = TempTree::new();
        rustix::fs::mknodat(rustix::fs::CWD, tree.path("fifo"), FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        std::os::unix::net::UnixListener::bind(tree.path("socket")).unwrap();
        symlink("/nowhere", tree.path("link")).unwrap();
        std::fs::create_dir(tree.path(".hidden")).unwrap();
        std::fs::write(tree.path("file"), "12345").unwrap();
        let rows = listed(&tree);
        let kinds: Vec<_> = rows.iter().map(|r| (r.name.to_text().into_owned(), r.kind)).collect();
        let expected =
            [(".hidden", "directory"), ("fifo", "fifo"), ("file", "file"), ("link", "symlink"), ("socket", "socket")];
        assert_eq!(kinds, expected.map(|(n, k)| (n.to_owned(), k)));
        assert_eq!(rows[3].target, Some(text("/nowhere")));
        assert_eq!(rows[2].size_bytes, Some(5));
        assert!(rows[0].attributes.as_ref().unwrap().hidden);
    }

    #[test]
    fn names_that_are_no_text_are_listed() {
        let tree = TempTree::new();
        std::fs::write(tree.root().join(OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
        assert_eq!(listed(&tree)[0].name, DevicePath::new(*b"\xff\xfe"));
    }

    #[test]
    fn paths_are_relative_unless_asked_for_in_full() {
        let tree = TempTree::new();
        std::fs::write(tree.path("file"), "").unwrap();
        assert_eq!(listed(&tree)[0].path, text("file"));
        let (full, _) = rows(&tree, device_path(tree.root()), true).unwrap();
        assert_eq!(full[0].path, tree.device_path("file"));
    }

    #[test]
    fn a_file_and_a_broken_link_are_one_row() {
        let tree = TempTree::new();
        std::fs::write(tree.path("file"), "").unwrap();
        symlink("/nowhere", tree.path("link")).unwrap();
        for (name, kind) in [("file", "file"), ("link", "symlink")] {
            let (rows, _) = rows(&tree, tree.device_path(name), true).unwrap();
            assert_eq!((rows.len(), rows[0].kind, &rows[0].path), (1, kind, &tree.device_path(name)));
        }
        assert_eq!(rows(&tree, tree.device_path("none"), true).err().unwrap().code, ErrorCode::NotFound);
    }

    #[test]
    fn a_directory_that_may_not_be_listed_is_an_error() {
        let tree = TempTree::new();
        std::fs::create_dir(tree.path("closed")).unwrap();
        std::fs::set_permissions(tree.path("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        match rows(&tree, tree.device_path("closed"), false) {
            Err(e) => assert_eq!(e.code, ErrorCode::Access),
            // Root may list it.
            Ok((rows, _)) => assert!(rustix::process::geteuid().is_root() && rows.is_empty()),
        }
    }

    #[test]
    fn many_entries_come_whole_and_sorted_from_all_threads() {
        let tree = TempTree::new();
        let count = SPLIT + 501;
        (0..count).for_each(|i| drop(File::create(tree.path(&format!("{i:05}"))).unwrap()));
        let job = Job::default();
        let query = DirQuery { path: device_path(tree.root()), full_path: false };
        let rows = list(&host(&tree), &query, &Numbers, &job).unwrap();
        let names: Vec<_> = rows.iter().map(|r| DevicePath::text_of(r.path()).into_owned()).collect();
        assert_eq!(names, (0..count).map(|i| format!("{i:05}")).collect::<Vec<_>>());
        assert_eq!(job.progress(), (count as u64, Some(count as u64), "entries"));
    }

    #[test]
    fn a_cancelled_job_ends_the_listing() {
        let tree = TempTree::new();
        std::fs::write(tree.path("file"), "").unwrap();
        let job = Job::default();
        job.cancel();
        let query = DirQuery { path: device_path(tree.root()), full_path: false };
        assert_eq!(list(&host(&tree), &query, &Numbers, &job).err().unwrap().code, ErrorCode::Cancelled);
    }
}
