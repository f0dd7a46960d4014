//! The one place for our own private files: state, enrolments, the log's segments, spilled snapshots.
//!
//! Invariants: what is made here is the account's alone (0700, 0600); a link, a foreign owner or a file that others
//! may write is refused; a file is replaced as a whole or not at all.
#![allow(clippy::disallowed_methods)]

use crate::error::{Error, ErrorCode, Result};
use crate::model::random_hex;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// Bits of a mode that let others write.
const FOREIGN_WRITE: u32 = 0o022;

fn unavailable(what: &str, path: &Path, e: impl Into<std::io::Error>) -> Error {
    let e = e.into();
    Error::new(ErrorCode::StoreUnavailable, format!("{what} {}: {e}", path.display())).source(e)
}

fn refuse(path: &Path, why: &str, hint: &str) -> Error {
    Error::new(ErrorCode::StoreUnavailable, format!("{} {why}", path.display())).hint(hint)
}

/// Makes a directory, and those above it that are missing, for this account alone; checks one that is there.
pub fn dir(path: &Path) -> Result<()> {
    match rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => return check_dir(path, &stat),
        Err(Errno::NOENT) => {}
        Err(e) => return Err(unavailable("cannot look at", path, e)),
    }
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty() && !p.exists()) {
        dir(parent)?;
    }
    match rustix::fs::mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(unavailable("cannot make", path, e)),
    }
    let stat =
        rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| unavailable("cannot look at", path, e))?;
    check_dir(path, &stat)
}

/// As [`dir`], for a store right below the home: whoever may write to the home could put another store in its place.
pub fn store(path: &Path) -> Result<()> {
    let Some(home) = path.parent().filter(|p| !p.as_os_str().is_empty()) else { return dir(path) };
    match rustix::fs::stat(home) {
        Ok(stat) if keeps_names(&stat) => {}
        Ok(stat) => check_owner(home, &stat)?,
        Err(Errno::NOENT) => {}
        Err(e) => return Err(unavailable("cannot look at", home, e)),
    }
    dir(path)
}

/// Whether what is ours keeps its name in a directory that others may write: the sticky bit, set by whom we trust.
fn keeps_names(stat: &rustix::fs::Stat) -> bool {
    let trusted = stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw();
    trusted && Mode::from_raw_mode(stat.st_mode).contains(Mode::SVTX)
}

fn check_dir(path: &Path, stat: &rustix::fs::Stat) -> Result<()> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Err(refuse(path, "is not a directory", "state lies in real directories, not behind links"));
    }
    check_owner(path, stat)
}

fn check_owner(path: &Path, stat: &rustix::fs::Stat) -> Result<()> {
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(refuse(path, "belongs to another account", "set LIVE_RESPONSE_HOME to a directory of your own"));
    }
    if stat.st_mode & FOREIGN_WRITE != 0 {
        return Err(refuse(path, "may be written by others", "chmod go-w it, after a look at what lies there"));
    }
    Ok(())
}

/// A file or directory of ours that is locked, until this is dropped.
///
/// The lock is given back in so many words: closing would not do, since every child of this process holds the file too
/// between its fork and its exec.
#[derive(Debug)]
pub struct Locked(File);

impl Locked {
    /// Takes the lock for itself alone; `WOULDBLOCK` where another has it.
    pub fn exclusive(file: File) -> Result<Locked, Errno> {
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map(|()| Locked(file))
    }

    /// Whether nobody has it for himself.
    pub fn is_free(file: File) -> bool {
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).map(|()| Locked(file)).is_ok()
    }
}

impl std::ops::Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

/// Opens a file of ours to read; `None` where there is none.
pub fn open(path: &Path) -> Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => checked(path, File::from(fd)).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(unavailable("cannot open", path, e)),
    }
}

/// Opens a file of ours to read and write, made where it is missing.
pub fn open_or_create(path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| unavailable("cannot open", path, e))?;
    checked(path, File::from(fd))
}

/// Opens a file of ours for records at its end.
pub fn open_append(path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| unavailable("cannot open", path, e))?;
    checked(path, File::from(fd))
}

fn checked(path: &Path, file: File) -> Result<File> {
    let stat = rustix::fs::fstat(&file).map_err(|e| unavailable("cannot look at", path, e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(refuse(path, "is not a file", "state lies in real files, not behind links"));
    }
    check_owner(path, &stat)?;
    Ok(file)
}

/// A whole file of at most `max` bytes; `None` where there is none.
pub fn read(path: &Path, max: usize) -> Result<Option<Vec<u8>>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes).map_err(|e| unavailable("cannot read", path, e))?;
    if bytes.len() > max {
        return Err(Error::new(ErrorCode::TooLarge, format!("{} is larger than {max} bytes", path.display())));
    }
    Ok(Some(bytes))
}

/// A new file; `E_STORE_UNAVAILABLE` where the name is taken.
pub fn create_new(path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR).map_err(|e| unavailable("cannot make", path, e))?;
    Ok(File::from(fd))
}

/// A file without a name in a directory of ours, which is made where it is missing; gone when it is closed.
pub fn nameless(folder: &Path) -> Result<File> {
    dir(folder)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(fd) => return Ok(File::from(fd)),
        // A file system without O_TMPFILE, or a kernel before it (man 2 open).
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
        Err(e) => return Err(unavailable("cannot make a file in", folder, e)),
    }
    let path = folder.join(format!(".rows-{}", random_hex::<8>()));
    let file = create_new(&path)?;
    remove(&path)?;
    Ok(file)
}

/// Writes a file as a whole, durably: a reader, and a start after a crash, sees the old bytes or the new ones.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let temporary = parent.join(format!(".new-{}", random_hex::<8>()));
    let written = (|| {
        let mut file = create_new(&temporary)?;
        file.write_all(bytes).map_err(|e| unavailable("cannot write", path, e))?;
        file.sync_all().map_err(|e| unavailable("cannot write", path, e))?;
        rustix::fs::rename(&temporary, path).map_err(|e| unavailable("cannot put in place", path, e))?;
        sync_dir(parent)
    })();
    if written.is_err() {
        // The name is random and ours; what cannot be taken away again harms nobody.
        let _ = rustix::fs::unlink(&temporary);
    }
    written
}

/// Takes a file of ours away; one that is gone already is no error.
pub fn remove(path: &Path) -> Result<()> {
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(unavailable("cannot remove", path, e)),
    }
}

fn sync_dir(path: &Path) -> Result<()> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| unavailable("cannot open", path, e))?;
    rustix::fs::fsync(fd).map_err(|e| unavailable("cannot write", path, e))
}

/// A directory for one test, gone when the test is.
#[cfg(test)]
pub(crate) mod scratch {
    use std::path::{Path, PathBuf};

    pub(crate) struct Scratch(PathBuf);

    impl Scratch {
        pub(crate) fn new() -> Self {
            let path = std::env::temp_dir().join(format!("lr-test-{}", crate::model::random_hex::<8>()));
            super::dir(&path).unwrap();
            Scratch(path)
        }
    }

    impl std::ops::Deref for Scratch {
        type Target = Path;

        fn deref(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::scratch::Scratch;
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn refuses_a_link_in_place_of_a_directory() {
        let base = Scratch::new();
        symlink(&*base, base.join("link")).unwrap();
        assert_eq!(dir(&base.join("link")).unwrap_err().code, ErrorCode::StoreUnavailable);
    }

    #[test]
    fn refuses_a_directory_that_others_write() {
        let base = Scratch::new();
        std::fs::create_dir(base.join("d")).unwrap();
        std::fs::set_permissions(base.join("d"), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(dir(&base.join("d")).unwrap_err().code, ErrorCode::StoreUnavailable);
    }

    #[test]
    fn refuses_a_store_in_a_home_that_others_write() {
        let base = Scratch::new();
        std::fs::set_permissions(&*base, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(store(&base.join("audit")).unwrap_err().code, ErrorCode::StoreUnavailable);
        std::fs::set_permissions(&*base, std::fs::Permissions::from_mode(0o1777)).unwrap();
        store(&base.join("audit")).unwrap();
    }

    #[test]
    fn refuses_to_read_through_a_link_and_from_a_fifo() {
        let base = Scratch::new();
        replace(&base.join("f"), b"x").unwrap();
        symlink(base.join("f"), base.join("link")).unwrap();
        assert!(read(&base.join("link"), 10).is_err());
        rustix::fs::mknodat(CWD, base.join("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert!(read(&base.join("fifo"), 10).is_err());
    }

    /// What a fork in another thread leaves behind until its exec.
    #[test]
    fn a_lock_is_given_back_though_a_child_holds_the_file() {
        let scratch = Scratch::new();
        let path = scratch.join("lock");
        let lock = Locked::exclusive(open_or_create(&path).unwrap()).unwrap();
        let childs = lock.try_clone().unwrap();
        assert!(!Locked::is_free(open_or_create(&path).unwrap()));
        drop(lock);
        assert!(Locked::is_free(open_or_create(&path).unwrap()));
        drop(Locked::exclusive(open_or_create(&path).unwrap()).unwrap());
        drop(childs);
    }

    #[test]
    fn what_it_makes_is_for_the_account_alone() {
        let base = Scratch::new();
        dir(&base.join("a/b")).unwrap();
        replace(&base.join("a/b/f"), b"one").unwrap();
        replace(&base.join("a/b/f"), b"two").unwrap();
        assert_eq!(read(&base.join("a/b/f"), 3).unwrap().as_deref(), Some(&b"two"[..]));
        assert_eq!(read(&base.join("a/b/f"), 2).unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(std::fs::metadata(base.join("a")).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(base.join("a/b/f")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(base.join("a/b")).unwrap().count(), 1);
        assert!(create_new(&base.join("a/b/f")).is_err());
    }
}
