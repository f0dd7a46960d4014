//! Small system files below a root (`/`, or an image's directory).
//!
//! Invariant: nothing leads out of the root, nothing but a regular file is read, nothing blocks.

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, open, openat2, readlinkat};
use rustix::io::{Errno, Result};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A tree whose `/etc` is read.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    pub fn host() -> Self {
        Root(PathBuf::from("/"))
    }

    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Root(directory.into())
    }

    /// A regular file below the root; links are followed as if the root were `/`.
    pub fn open(&self, path: &str) -> Result<(File, Stat)> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = self.open_inside(path, flags)?;
        let stat = fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((File::from(fd), stat)),
            FileType::Directory => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    /// At most `limit` bytes of a regular file.
    pub fn read(&self, path: &str, limit: u64) -> std::io::Result<Vec<u8>> {
        let (file, _) = self.open(path)?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Where a symbolic link directly at `path` points.
    pub fn link(&self, path: &str) -> Result<Vec<u8>> {
        let directory = Path::new(path).parent().and_then(Path::to_str).filter(|p| !p.is_empty()).unwrap_or(".");
        let name = Path::new(path).file_name().ok_or(Errno::INVAL)?;
        let parent = self.open_inside(directory, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)?;
        Ok(readlinkat(&parent, name, Vec::new())?.into_bytes())
    }

    fn open_inside(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        let root = open(&self.0, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        // The kernel gives up with EAGAIN when something is renamed while it resolves `..`.
        for _ in 0..16 {
            match openat2(&root, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) => {}
                // Kernels before 5.6 have no openat2; on the host's own root nothing is to be kept inside.
                Err(Errno::NOSYS) if self.0 == Path::new("/") => {
                    return rustix::fs::openat(CWD, Path::new("/").join(path), flags, Mode::empty());
                }
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A directory of a test's own, removed when the test ends.
    pub struct Scratch(PathBuf);

    impl Scratch {
        pub fn new(name: &str) -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let own = format!("lr-{name}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(own);
            std::fs::create_dir_all(path.join("etc")).unwrap();
            Scratch(path)
        }

        pub fn path(&self) -> &Path {
            &self.0
        }

        pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
            std::fs::write(self.0.join(path), bytes).unwrap();
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_link_does_not_lead_out_of_the_root() {
        let tree = Scratch::new("etc");
        std::os::unix::fs::symlink("/etc/passwd", tree.path().join("etc/passwd")).unwrap();
        assert!(Root::at(tree.path()).open("etc/passwd").is_err());
        std::os::unix::fs::symlink("../../../../../etc/hostname", tree.path().join("etc/x")).unwrap();
        tree.write("etc/hostname", "inside");
        assert_eq!(Root::at(tree.path()).read("etc/x", 100).unwrap(), b"inside");
    }

    #[test]
    fn a_fifo_is_refused_and_does_not_block() {
        let tree = Scratch::new("etc");
        let fifo = tree.path().join("etc/passwd");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR).unwrap();
        assert_eq!(Root::at(tree.path()).open("etc/passwd").err(), Some(Errno::INVAL));
    }

    #[test]
    fn reads_no_more_than_the_limit() {
        let tree = Scratch::new("etc");
        tree.write("etc/big", [b'a'; 5000]);
        assert_eq!(Root::at(tree.path()).read("etc/big", 100).unwrap().len(), 100);
    }
}
