//! `findfile`: the entries below a directory whose names and facts fit.
//!
//! Invariant: rows are in the order of their paths, whichever thread found them.

use super::dir::{link_target, unread};
use super::facts::Facts;
use super::mounts;
use super::view::{How, Names, View};
use super::walk::{Place, Visit, join, walk};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, FileEntry, FileRow, FindQuery, Job, ROWS_MEMORY, gathered};
use globset::{GlobBuilder, GlobMatcher};
use rustix::fs::{FileType, RawDirEntry};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A pattern longer than this matches no name.
const PATTERN: usize = 1_024;
/// Rows that are kept at most: they are held in memory until the walk ends.
const HITS: u64 = 250_000;

/// Every entry below the directory whose name and facts fit, ordered by path. `E_BAD_ARGS` where the glob is none.
pub fn find(view: &View, query: &FindQuery, names: &dyn Names, job: &Job) -> Result<Vec<FileRow>> {
    let pattern = Pattern::new(&query.name)?;
    if query.max_depth == Some(0) {
        return Err(
            Error::new(ErrorCode::BadArgs, "max_depth 0 searches nothing").hint("1 is the directory's own entries")
        );
    }
    let start = view.open(&query.path, How::Directory)?;
    let search = Search { query, pattern, names, hits: AtomicU64::new(0), held: AtomicU64::new(0) };
    let parts = walk(view, &start, &search, job)?;
    let hits = search.hits.load(Relaxed);
    let mut rows = gathered(parts);
    if hits > rows.len() as u64 {
        job.warn(format!("{hits} entries fit, {} of them are listed: narrow the search", rows.len()));
    }
    // In place: another copy of all rows would be too much memory. No two paths are equal.
    rows.sort_unstable_by(|a, b| a.path().cmp(b.path()));
    Ok(rows)
}

/// Whether a directory says what its entry is.
fn is_told(kind: FileType) -> bool {
    kind != FileType::Unknown
}

/// A glob over a name's bytes; the two forms that nearly every search has need no automaton.
enum Pattern {
    All,
    Name(Vec<u8>),
    /// `*.ext`
    Ending(Vec<u8>),
    Glob(Box<GlobMatcher>),
}

impl Pattern {
    fn new(text: &str) -> Result<Self> {
        let bad = |why: String| Error::new(ErrorCode::BadArgs, format!("{text:?} is no pattern for a name: {why}"));
        if text.len() > PATTERN {
            return Err(Error::new(ErrorCode::BadArgs, format!("a name's pattern has at most {PATTERN} bytes")));
        }
        let name = DevicePath::from_text(text).map_err(bad)?;
        let bytes = name.as_bytes();
        if bytes.contains(&b'/') {
            return Err(bad("it has a /".into()).hint("give the directory as path and only the file's name as name"));
        }
        let plain = |part: &[u8]| !part.iter().any(|b| b"*?[]{}\\".contains(b));
        match (bytes, std::str::from_utf8(bytes)) {
            (b"*", _) => Ok(Pattern::All),
            (name, _) if plain(name) => Ok(Pattern::Name(name.to_vec())),
            ([b'*', ending @ ..], _) if plain(ending) => Ok(Pattern::Ending(ending.to_vec())),
            // What is no text is no glob: it is the name itself.
            (name, Err(_)) => Ok(Pattern::Name(name.to_vec())),
            (_, Ok(glob)) => {
                let glob = GlobBuilder::new(glob).backslash_escape(true).build().map_err(|e| {
                    bad(e.kind().to_string())
                        .hint("* and ? match, [a-z] is a set, {a,b} an alternative, \\ makes plain")
                })?;
                Ok(Pattern::Glob(Box::new(glob.compile_matcher())))
            }
        }
    }

    fn matches(&self, name: &[u8]) -> bool {
        match self {
            Pattern::All => true,
            Pattern::Name(whole) => name == whole.as_slice(),
            Pattern::Ending(ending) => name.ends_with(ending),
            Pattern::Glob(glob) => glob.is_match(OsStr::from_bytes(name)),
        }
    }
}

struct Search<'a> {
    query: &'a FindQuery,
    pattern: Pattern,
    names: &'a dyn Names,
    hits: AtomicU64,
    /// Bytes of the rows that are kept.
    held: AtomicU64,
}

impl Visit for Search<'_> {
    type Row = FileRow;

    fn max_depth(&self) -> Option<u32> {
        self.query.max_depth
    }

    fn entry(&self, at: &Place<'_>, entry: &RawDirEntry<'_>, rows: &mut Vec<FileRow>) {
        if self.pattern.matches(entry.file_name().to_bytes()) {
            rows.extend(self.hit(at, entry));
        }
    }
}

impl Search<'_> {
    fn hit(&self, at: &Place<'_>, entry: &RawDirEntry<'_>) -> Option<FileRow> {
        let name = entry.file_name();
        let path = DevicePath::new(join(at.path.as_bytes(), name.to_bytes()));
        if self.query.brief && !self.has_filters() && !at.set.may_hold(entry.ino()) && is_told(entry.file_type()) {
            return self.kept(unread(name, path, entry.file_type()));
        }
        let row = match mounts::facts_of(at.points, at.directory, name) {
            Ok(facts) if at.set.holds(facts.identity) => {
                // An own directory is counted when the walk comes to it.
                if !facts.is_directory() {
                    at.own.fetch_add(1, Relaxed);
                }
                return None;
            }
            Ok(facts) if !self.fits(&facts) => return None,
            Ok(facts) => {
                let target = if facts.is_symlink() { link_target(at.directory, name) } else { None };
                facts.entry(name.to_bytes(), path, target, self.names)
            }
            Err(Errno::NOENT) => return None,
            Err(_) if self.has_filters() => return None,
            Err(_) => unread(name, path, entry.file_type()),
        };
        self.kept(row)
    }

    fn kept(&self, row: FileEntry) -> Option<FileRow> {
        let row = FileRow::from(row);
        let has_room = self.held.fetch_add(row.memory(), Relaxed) < ROWS_MEMORY;
        (self.hits.fetch_add(1, Relaxed) < HITS && has_room).then_some(row)
    }

    fn has_filters(&self) -> bool {
        let q = self.query;
        q.min_size.is_some() || q.max_size.is_some() || q.modified_after.is_some() || q.modified_before.is_some()
    }

    /// Only files have a size that anyone searches by.
    fn fits(&self, facts: &Facts) -> bool {
        let q = self.query;
        let by_size = q.min_size.is_some() || q.max_size.is_some();
        (!by_size || facts.is_file())
            && q.min_size.is_none_or(|min| facts.size >= min)
            && q.max_size.is_none_or(|max| facts.size <= max)
            && q.modified_after.is_none_or(|after| facts.modified > after)
            && q.modified_before.is_none_or(|before| facts.modified < before)
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{Numbers, TempTree, deep_tree, device_path, host, image, text};
    use super::*;
    use crate::model::Timestamp;
    use std::os::unix::fs::symlink;

    fn query(path: DevicePath, name: &str) -> FindQuery {
        FindQuery {
            brief: false,
            name: name.into(),
            path,
            max_depth: None,
            min_size: None,
            max_size: None,
            modified_after: None,
            modified_before: None,
        }
    }

    fn search(tree: &TempTree, query: &FindQuery) -> (Vec<String>, Vec<String>) {
        let job = Job::default();
        let rows = find(&host(tree), query, &Numbers, &job).unwrap();
        let root = format!("{}/", tree.root().display());
        let paths = rows.iter().map(|r| DevicePath::text_of(r.path()).trim_start_matches(&root).to_owned()).collect();
        (paths, job.take_warnings())
    }

    fn found(tree: &TempTree, name: &str) -> Vec<String> {
        search(tree, &query(device_path(tree.root()), name)).0
    }

    fn plant(tree: &TempTree, files: &[&str]) {
        for file in files {
            std::fs::create_dir_all(tree.path(file).parent().unwrap()).unwrap();
            std::fs::write(tree.path(file), file).unwrap();
        }
    }

    #[test]
    fn own_state_is_left_out_and_counted_once() {
        let tree = TempTree::new();
        plant(&tree, &["home/guard/secret", "a/other"]);
        std::fs::hard_link(tree.path("home/guard/secret"), tree.path("a/hard")).unwrap();
        let (paths, warnings) = search(&tree, &query(device_path(tree.root()), "*"));
        assert_eq!(paths, ["a", "a/other"]);
        assert_eq!(warnings, ["2 entries of this program's own state left out"]);
    }

    #[test]
    fn own_processes_are_not_walked() {
        let tree = TempTree::new();
        let (paths, warnings) = search(&tree, &FindQuery { max_depth: Some(2), ..query(text("/proc"), "environ") });
        assert!(!paths.contains(&format!("/proc/{}/environ", std::process::id())));
        assert!(warnings.iter().any(|w| w.contains("own state left out")), "{warnings:?}");
    }

    #[test]
    fn links_and_loops_of_links_are_not_followed() {
        let tree = TempTree::new();
        plant(&tree, &["a/file", "b/x"]);
        symlink("..", tree.path("a/up")).unwrap();
        symlink("loop", tree.path("loop")).unwrap();
        assert_eq!(found(&tree, "file"), ["a/file"]);
        assert_eq!(found(&tree, "*p"), ["a/up", "loop"]);
    }

    #[test]
    fn a_tree_of_ten_thousand_levels_is_searched() {
        let tree = TempTree::new();
        let leaf = deep_tree(&tree, 10_000);
        let rows = find(&host(&tree), &query(device_path(tree.root()), "leaf"), &Numbers, &Job::default()).unwrap();
        assert_eq!(rows.iter().map(FileRow::path).collect::<Vec<_>>(), [leaf.as_bytes()]);
    }

    #[test]
    fn patterns_fit_as_a_shell_has_them() {
        let tree = TempTree::new();
        plant(&tree, &["a.dll", ".dll", "a.dllx", "b/C.dll", "b/[x]", "b/a1"]);
        assert_eq!(found(&tree, "*.dll"), [".dll", "a.dll", "b/C.dll"]);
        assert_eq!(found(&tree, "a.dll"), ["a.dll"]);
        assert_eq!(found(&tree, "?.dll"), ["a.dll", "b/C.dll"]);
        assert_eq!(found(&tree, "[a-b].dl*"), ["a.dll", "a.dllx"]);
        assert_eq!(found(&tree, r"\[x\]"), ["b/[x]"]);
        assert_eq!(found(&tree, "{a1,C.dll}"), ["b/C.dll", "b/a1"]);
    }

    #[test]
    fn names_that_are_no_text_are_found() {
        let tree = TempTree::new();
        std::fs::write(tree.root().join(OsStr::from_bytes(b"x\xff")), "").unwrap();
        let rows = |name: &str| {
            find(&host(&tree), &query(device_path(tree.root()), name), &Numbers, &Job::default()).unwrap().len()
        };
        assert_eq!((rows("x*"), rows("x?"), rows(r"esc:x\xff"), rows("y*")), (1, 1, 1, 0));
    }

    #[test]
    fn patterns_that_are_none_are_refused() {
        for pattern in ["a[", "{a", "a/b", "", "x\0", &"a".repeat(PATTERN + 1)] {
            assert_eq!(Pattern::new(pattern).err().map(|e| e.code), Some(ErrorCode::BadArgs), "{pattern:?}");
        }
    }

    #[test]
    fn filters_look_at_files_alone() {
        let tree = TempTree::new();
        plant(&tree, &["small", "d/long-name-long-content"]);
        let search = |change: &dyn Fn(&mut FindQuery)| {
            let mut query = query(device_path(tree.root()), "*");
            change(&mut query);
            search(&tree, &query).0
        };
        assert_eq!(search(&|q| q.min_size = Some(6)), ["d/long-name-long-content"]);
        assert_eq!(search(&|q| q.max_size = Some(5)), ["small"]);
        assert_eq!(search(&|q| q.max_depth = Some(1)), ["d", "small"]);
        assert!(search(&|q| q.modified_before = Timestamp::parse("2001-01-01")).is_empty());
        assert_eq!(search(&|q| q.modified_after = Timestamp::parse("2001-01-01")).len(), 3);
    }

    #[test]
    fn unreadable_directories_are_one_warning() {
        let tree = TempTree::new();
        plant(&tree, &["open/file", "closed/file"]);
        std::fs::set_permissions(tree.path("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        let (paths, warnings) = search(&tree, &query(device_path(tree.root()), "file"));
        std::fs::set_permissions(tree.path("closed"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        if rustix::process::geteuid().is_root() {
            assert_eq!(paths, ["closed/file", "open/file"]);
        } else {
            assert_eq!(paths, ["open/file"]);
            assert!(warnings[0].starts_with("1 directory could not be read: "), "{warnings:?}");
        }
    }

    #[test]
    fn brief_rows_have_the_same_paths_and_kinds() {
        let tree = TempTree::new();
        plant(&tree, &["a/one.dll", "a/b/two.dll", "three.txt"]);
        symlink("three.txt", tree.path("four.dll")).unwrap();
        let rows = |brief| {
            let query = FindQuery { brief, ..query(device_path(tree.root()), "*.dll") };
            let rows = find(&host(&tree), &query, &Numbers, &Job::default()).unwrap();
            rows.iter().map(FileEntry::from).collect::<Vec<_>>()
        };
        let told = |rows: Vec<FileEntry>| rows.into_iter().map(|r| (r.path, r.kind)).collect::<Vec<_>>();
        assert!(rows(true).iter().all(|r| r.size_bytes.is_none()));
        assert_eq!(told(rows(true)), told(rows(false)));
        assert_eq!(rows(true).len(), 3);
    }

    #[test]
    fn pseudo_file_systems_are_left_out_unless_named() {
        let tree = TempTree::new();
        let (paths, warnings) = search(&tree, &FindQuery { max_depth: Some(2), ..query(text("/"), "cpuinfo") });
        assert!(paths.is_empty(), "{paths:?}");
        assert!(warnings.iter().any(|w| w.contains("/proc (proc)")), "{warnings:?}");
        let (paths, _) = search(&tree, &FindQuery { max_depth: Some(1), ..query(text("/proc"), "cpuinfo") });
        assert_eq!(paths, ["/proc/cpuinfo"]);
    }

    #[test]
    fn an_image_is_searched_with_its_own_paths() {
        let tree = TempTree::new();
        plant(&tree, &["img/etc/passwd"]);
        let rows = find(&image(&tree, "img"), &query(text("/"), "passwd"), &Numbers, &Job::default()).unwrap();
        assert_eq!(rows[0].path(), b"/etc/passwd");
    }

    #[test]
    fn wide_trees_come_whole_and_in_order_from_all_threads() {
        let tree = TempTree::new();
        for i in 0..200 {
            plant(&tree, &[&format!("{i:03}/x/file"), &format!("{i:03}-y/file")]);
        }
        let paths = found(&tree, "file");
        assert_eq!(paths.len(), 400);
        assert!(paths.is_sorted());
    }

    #[test]
    fn a_cancelled_job_ends_the_walk_on_every_thread() {
        let tree = TempTree::new();
        plant(&tree, &["a/b"]);
        let job = Job::default();
        job.cancel();
        let result = find(&host(&tree), &query(device_path(tree.root()), "*"), &Numbers, &job);
        assert_eq!(result.err().unwrap().code, ErrorCode::Cancelled);
    }

    #[test]
    fn a_depth_of_nothing_is_refused() {
        let tree = TempTree::new();
        let query = FindQuery { max_depth: Some(0), ..query(device_path(tree.root()), "*") };
        assert_eq!(find(&host(&tree), &query, &Numbers, &Job::default()).err().unwrap().code, ErrorCode::BadArgs);
    }

    #[test]
    fn a_start_that_is_no_directory_is_refused() {
        let tree = TempTree::new();
        plant(&tree, &["file"]);
        let result = find(&host(&tree), &query(tree.device_path("file"), "*"), &Numbers, &Job::default());
        assert_eq!(result.err().unwrap().code, ErrorCode::NotAFile);
    }
}
