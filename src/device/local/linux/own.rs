//! The guard's own things: state, configuration, secret files, the binary and its processes. They are on no device.
//!
//! Invariant: what is compared is the opened handle (device and inode, and on procfs the process that the file is
//! of), never the path alone, so that links, bind mounts and images make no way round.

use super::facts::Facts;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, FileIdentity, Timestamp};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, PROC_SUPER_MAGIC, RawDir};
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A change within this time of a listing may leave the directory's times as they were.
const SETTLE_NANOS: i128 = 2_000_000_000;

/// Where the guard's own things lie. It opens nothing until it is asked.
#[derive(Debug)]
pub struct OwnThings {
    home: PathBuf,
    files: Vec<PathBuf>,
    listed: Mutex<Arc<Listed>>,
}

/// What is own at one point in time.
#[derive(Debug, Default)]
pub struct OwnSet {
    identities: HashSet<FileIdentity>,
    inodes: HashSet<u64>,
    /// Identities of our binary, which its processes run.
    binaries: Vec<FileIdentity>,
    home: Option<Vec<u8>>,
}

impl OwnSet {
    pub fn holds(&self, identity: FileIdentity) -> bool {
        self.identities.contains(&identity) || self.binaries.contains(&identity)
    }

    /// Whether an own thing has this inode on some device: a cheap first look, with the `d_ino` of a directory entry.
    pub fn may_hold(&self, inode: u64) -> bool {
        self.inodes.contains(&inode)
    }
}

#[derive(Debug, Default)]
struct Listed {
    directories: HashMap<PathBuf, Directory>,
}

/// A directory of the state home as it was listed.
#[derive(Debug, Clone)]
struct Directory {
    modified: Timestamp,
    changed: Timestamp,
    /// Listed long enough after its last change for its times to tell of the next one.
    settled: bool,
    identities: Vec<FileIdentity>,
    below: Vec<PathBuf>,
}

impl OwnThings {
    /// `home` is the state home; `files` are the configuration, the policy and the named secret files. None need exist.
    pub fn new(home: PathBuf, files: Vec<PathBuf>) -> Self {
        OwnThings { home, files, listed: Mutex::default() }
    }

    pub fn holds(&self, identity: FileIdentity) -> bool {
        self.snapshot().holds(identity)
    }

    /// What is own now. Directories of the home are listed again only when their times have changed.
    pub fn snapshot(&self) -> OwnSet {
        let old = Arc::clone(&self.listed.lock().unwrap_or_else(PoisonError::into_inner));
        let listed = self.list(&old);
        let mut set = OwnSet { binaries: binaries(), home: real_path(&self.home), ..OwnSet::default() };
        set.identities.extend(listed.directories.values().flat_map(|d| &d.identities));
        for file in &self.files {
            // The name itself, and what it points to where it is a link.
            set.identities.extend(entry_facts(file).map(|f| f.identity));
            set.identities.extend(identity_of(file));
        }
        set.inodes = set.identities.iter().chain(&set.binaries).map(|i| i.inode).collect();
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(listed);
        set
    }

    fn list(&self, old: &Listed) -> Listed {
        let mut listed = Listed::default();
        let mut waiting = vec![self.home.clone()];
        // A home that is itself a link is followed, nothing below it is.
        if let Ok(target) = std::fs::canonicalize(&self.home) {
            waiting = vec![target];
        }
        while let Some(path) = waiting.pop() {
            let Some(facts) = entry_facts(&path) else { continue };
            let known = old
                .directories
                .get(&path)
                .filter(|d| d.settled && (d.modified, d.changed) == (facts.modified, facts.changed));
            let directory = known.cloned().unwrap_or_else(|| list_directory(&path, &facts));
            waiting.extend(directory.below.iter().cloned());
            listed.directories.insert(path, directory);
        }
        listed
    }

    /// `E_SELF_TARGET` where the handle is of something that belongs to the guard.
    pub fn refuse_handle(&self, fd: BorrowedFd<'_>, path: &DevicePath) -> Result<()> {
        self.refuse(&self.snapshot(), fd, path)
    }

    /// [`OwnThings::refuse_handle`] against a snapshot, for walks.
    pub fn refuse(&self, set: &OwnSet, fd: BorrowedFd<'_>, path: &DevicePath) -> Result<()> {
        let facts = Facts::of(fd).map_err(|e| Error::io(path, e.into()))?;
        if set.holds(facts.identity) {
            return Err(self_target(path));
        }
        let real = handle_path(fd);
        if let (Some(home), Ok(real)) = (&set.home, &real)
            && is_below(real, home)
        {
            return Err(self_target(path));
        }
        // A file system that does not tell its type is not procfs.
        let on_procfs = rustix::fs::fstatfs(fd).is_ok_and(|s| s.f_type == PROC_SUPER_MAGIC);
        if !on_procfs {
            return Ok(());
        }
        let real = real.map_err(|_| self_target(path))?;
        refuse_procfs(set, facts.identity.device, &real, path)?;
        match bound_from(fd) {
            Some(within) if within == b"/" => Ok(()),
            // A part of procfs under a name of its own, which tells no process: the mount does.
            Some(within) => refuse_procfs(set, facts.identity.device, &[b"/proc", &within[..]].concat(), path),
            None => Err(self_target(path)),
        }
    }

    /// Whether the process (or thread) runs our binary, or is this process.
    pub fn is_own_process(&self, pid: u32) -> bool {
        is_own_process(&binaries(), pid)
    }
}

pub(super) fn self_target(path: &DevicePath) -> Error {
    Error::new(ErrorCode::SelfTarget, format!("{path} belongs to this program's own state, binary or processes"))
        .hint("they are on no device; `live-response evidence` and `live-response audit` show what a person may see")
}

fn is_own_process(binaries: &[FileIdentity], pid: u32) -> bool {
    pid == std::process::id() || runs(binaries, Path::new(&format!("/proc/{pid}")))
}

/// Whether the process whose procfs directory this is runs one of these binaries.
fn runs(binaries: &[FileIdentity], process: &Path) -> bool {
    identity_of(&process.join("exe")).is_some_and(|i| binaries.contains(&i))
}

/// Our image, and the file that has its name now: after an upgrade they differ.
fn binaries() -> Vec<FileIdentity> {
    let image = identity_of(Path::new("/proc/self/exe"));
    let named = std::fs::read_link("/proc/self/exe").ok().and_then(|path| {
        let bytes = path.as_os_str().as_bytes();
        let name = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
        identity_of(Path::new(std::ffi::OsStr::from_bytes(name)))
    });
    image.into_iter().chain(named).collect()
}

/// The files of a guard's process, and what gives raw memory.
fn refuse_procfs(set: &OwnSet, device: u64, real: &[u8], path: &DevicePath) -> Result<()> {
    let ours = entry_facts(Path::new("/proc")).is_some_and(|f| f.identity.device == device);
    let mut prefix = Vec::with_capacity(real.len());
    for part in real.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        prefix.push(b'/');
        prefix.extend_from_slice(part);
        let Some(pid) = std::str::from_utf8(part).ok().and_then(|p| p.parse::<u32>().ok()) else { continue };
        let own = if ours {
            // Descriptor numbers are no pids.
            let below = prefix.len() - part.len() - 1;
            let parent = prefix.get(..below).unwrap_or_default();
            let of_fd = parent.ends_with(b"/fd") || parent.ends_with(b"/fdinfo");
            !of_fd && is_own_process(&set.binaries, pid)
        } else {
            is_own_elsewhere(set, device, &prefix)
        };
        if own {
            return Err(self_target(path));
        }
    }
    if real.ends_with(b"/kcore") {
        return Err(Error::new(
            ErrorCode::SelfTarget,
            format!("{path} is the memory of the whole system, this program's too"),
        )
        .hint("name the process or the file instead"));
    }
    Ok(())
}

/// On the procfs of another pid namespace our pid has another number: the image tells. Where the process cannot be
/// looked at by this path (another mount namespace), it counts as ours.
fn is_own_elsewhere(set: &OwnSet, device: u64, process: &[u8]) -> bool {
    let process = Path::new(std::ffi::OsStr::from_bytes(process));
    match identity_of(process) {
        Some(i) if i.device == device => runs(&set.binaries, process),
        Some(_) | None => true,
    }
}

/// What part of its file system the handle's mount shows (`man 5 proc_pid_mountinfo`): `/` where it is all of it.
fn bound_from(fd: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).ok()?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
    let line =
        mounts.split(|b| *b == b'\n').find(|line| line.split(|b| *b == b' ').next() == Some(mount.as_bytes()))?;
    line.split(|b| *b == b' ').nth(3).map(<[u8]>::to_vec)
}

fn list_directory(path: &Path, facts: &Facts) -> Directory {
    let mut directory = Directory {
        modified: facts.modified,
        changed: facts.changed,
        settled: Timestamp::now().as_nanos() - facts.modified.max(facts.changed).as_nanos() > SETTLE_NANOS,
        identities: vec![facts.identity],
        below: Vec::new(),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else { return directory };
    let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
    let mut entries = RawDir::new(&fd, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let Ok(facts) = Facts::of_entry(&fd, name) else { continue };
        directory.identities.push(facts.identity);
        if facts.is_directory() {
            directory.below.push(path.join(std::ffi::OsStr::from_bytes(name.to_bytes())));
        }
    }
    directory
}

fn entry_facts(path: &Path) -> Option<Facts> {
    let name = std::ffi::CString::new(path.as_os_str().as_bytes()).ok()?;
    Facts::of_entry(CWD, &name).ok()
}

/// Of what the path leads to.
fn identity_of(path: &Path) -> Option<FileIdentity> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::NO_AUTOMOUNT).ok()?;
    Some(FileIdentity { device: stat.st_dev, inode: stat.st_ino })
}

fn real_path(path: &Path) -> Option<Vec<u8>> {
    std::fs::canonicalize(path).ok().map(|p| p.into_os_string().into_encoded_bytes())
}

/// The path that the kernel knows a handle by.
pub(super) fn handle_path(fd: BorrowedFd<'_>) -> rustix::io::Result<Vec<u8>> {
    let mut link = String::with_capacity(24);
    let _ = write!(link, "/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::readlinkat(CWD, link.as_str(), Vec::with_capacity(256)).map(std::ffi::CString::into_bytes)
}

/// Whether `path` is `directory` or lies in it, both absolute and resolved.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    match path.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || rest.first() == Some(&b'/') || directory.last() == Some(&b'/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::TempTree;
    use super::*;

    fn own(home: &Path, files: Vec<PathBuf>) -> OwnThings {
        OwnThings::new(home.to_owned(), files)
    }

    fn identity(path: &Path) -> FileIdentity {
        entry_facts(path).unwrap().identity
    }

    #[test]
    fn holds_what_is_made_after_the_first_look() {
        let tree = TempTree::new();
        let own = own(&tree.path("home"), vec![]);
        assert!(!own.holds(identity(tree.root())));
        std::fs::create_dir_all(tree.path("home/guard/deep")).unwrap();
        assert!(own.holds(identity(&tree.path("home/guard/deep"))));
        std::fs::write(tree.path("home/guard/deep/secret"), "x").unwrap();
        assert!(own.holds(identity(&tree.path("home/guard/deep/secret"))));
    }

    #[test]
    fn a_hard_link_is_the_same_thing() {
        let tree = TempTree::new();
        std::fs::create_dir(tree.path("home")).unwrap();
        std::fs::write(tree.path("home/secret"), "x").unwrap();
        std::fs::hard_link(tree.path("home/secret"), tree.path("innocent")).unwrap();
        assert!(own(&tree.path("home"), vec![]).holds(identity(&tree.path("innocent"))));
    }

    #[test]
    fn a_home_that_is_a_link_is_followed() {
        let tree = TempTree::new();
        std::fs::create_dir(tree.path("real")).unwrap();
        std::fs::write(tree.path("real/secret"), "x").unwrap();
        std::os::unix::fs::symlink("real", tree.path("home")).unwrap();
        assert!(own(&tree.path("home"), vec![]).holds(identity(&tree.path("real/secret"))));
    }

    #[test]
    fn named_files_are_own_by_link_and_by_target() {
        let tree = TempTree::new();
        std::fs::write(tree.path("policy"), "x").unwrap();
        std::os::unix::fs::symlink("policy", tree.path("link")).unwrap();
        let own = own(&tree.path("none"), vec![tree.path("link")]);
        assert!(own.holds(identity(&tree.path("link"))));
        assert!(own.holds(identity(&tree.path("policy"))));
    }

    #[test]
    fn knows_itself_and_no_other() {
        let own = own(Path::new("/nowhere"), vec![]);
        assert!(own.is_own_process(std::process::id()));
        let child = crate::device::local::linux::view::tests::Sleeper::start();
        assert!(!own.is_own_process(child.id()));
        assert!(own.holds(identity_of(Path::new("/proc/self/exe")).unwrap()));
    }
}
