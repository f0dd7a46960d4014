//! Where a file lies: its directory by handle and its name in it, reached without following a single link.

use crate::error::{Error, Result};
use crate::model::{DevicePath, FileIdentity};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use std::fs::File;

/// A name in a directory that is held open.
pub struct Place {
    pub dir: OwnedFd,
    pub name: Vec<u8>,
    pub path: DevicePath,
}

/// A regular file that is held by handle, not opened yet.
pub struct Held {
    handle: OwnedFd,
    pub stat: Stat,
}

impl Place {
    /// Reaches the directory of an absolute path, component by component. A link anywhere on the way is `ELOOP` or
    /// `ENOTDIR`: the plan names real directories.
    pub fn reach(path: &DevicePath) -> Result<Place, Errno> {
        let mut parts = path.as_bytes().split(|b| *b == b'/').filter(|p| !p.is_empty());
        let name = parts.next_back().ok_or(Errno::ISDIR)?;
        let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut dir = rustix::fs::open("/", way, Mode::empty())?;
        for part in parts {
            if is_dots(part) {
                return Err(Errno::INVAL);
            }
            dir = rustix::fs::openat(&dir, part, way, Mode::empty())?;
        }
        if is_dots(name) {
            return Err(Errno::INVAL);
        }
        Ok(Place { dir, name: name.to_vec(), path: path.clone() })
    }

    pub fn directory(&self) -> Result<FileIdentity, Errno> {
        Ok(identity(&rustix::fs::fstat(&self.dir)?))
    }

    /// Another name in the same directory.
    pub fn beside(&self, name: &str) -> Result<Place, Errno> {
        let dir = rustix::io::fcntl_dupfd_cloexec(&self.dir, 0)?;
        Ok(Place { dir, name: name.as_bytes().to_vec(), path: self.path.parent().join(&DevicePath::new(name)) })
    }

    /// What the name leads to now, without following it.
    pub fn look(&self) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.dir, self.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Takes hold of the file without opening it: no FIFO blocks and no device wakes.
    pub fn hold(&self) -> Result<Held, Errno> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let handle = rustix::fs::openat(&self.dir, self.name.as_slice(), flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&handle)?;
        Ok(Held { handle, stat })
    }

    /// Moves the name to another one in the same directory, never over anything.
    pub fn move_to(&self, other: &Place) -> Result<(), Errno> {
        let (from, to) = (self.name.as_slice(), other.name.as_slice());
        rustix::fs::renameat_with(&self.dir, from, &other.dir, to, RenameFlags::NOREPLACE)
    }

    /// Changes places with another name in the same directory, in one step: neither name is ever without a file.
    pub fn exchange(&self, other: &Place) -> Result<(), Errno> {
        let (one, two) = (self.name.as_slice(), other.name.as_slice());
        rustix::fs::renameat_with(&self.dir, one, &other.dir, two, RenameFlags::EXCHANGE)
    }

    /// A new file in the directory that has no name, or, where the file system has none such, an odd one.
    pub fn draft(&self, aside: &str) -> Result<Draft, Errno> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        match rustix::fs::openat(&self.dir, ".", flags | OFlags::TMPFILE, mode) {
            Ok(file) => Ok(Draft { file: file.into(), temporary: None }),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let temporary = self.beside(&format!("{aside}-{}", crate::model::random_hex::<4>()))?;
                let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                let file = rustix::fs::openat(&temporary.dir, temporary.name.as_slice(), flags, mode)?;
                Ok(Draft { file: file.into(), temporary: Some(temporary) })
            }
            Err(e) => Err(e),
        }
    }

    pub fn unlink(&self) -> Result<(), Errno> {
        rustix::fs::unlinkat(&self.dir, self.name.as_slice(), AtFlags::empty())
    }

    /// Makes what happened in the directory durable, as far as this account may open it.
    pub fn sync(&self) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.dir, ".", flags, Mode::empty()) {
            Ok(dir) => match rustix::fs::fsync(&dir) {
                Err(Errno::INVAL) => Ok(()),
                other => other,
            },
            Err(Errno::ACCESS) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// A file that is being written and has no name yet.
pub struct Draft {
    pub file: File,
    temporary: Option<Place>,
}

impl Draft {
    /// Gives it its name; nothing is replaced.
    pub fn name(&self, place: &Place) -> Result<(), Errno> {
        match &self.temporary {
            Some(temporary) => temporary.move_to(place),
            None => {
                let own = format!("/proc/self/fd/{}", self.file.as_fd().as_raw_fd());
                rustix::fs::linkat(CWD, own, &place.dir, place.name.as_slice(), AtFlags::SYMLINK_FOLLOW)
            }
        }
    }

    /// Takes away what its odd name left.
    pub fn discard(self) {
        if let Some(temporary) = &self.temporary {
            let _ = temporary.unlink();
        }
    }
}

impl Held {
    pub fn identity(&self) -> FileIdentity {
        identity(&self.stat)
    }

    pub fn is_regular(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::RegularFile
    }

    pub fn size(&self) -> u64 {
        size(&self.stat)
    }

    /// Opens exactly what is held, for reading.
    pub fn open(&self) -> Result<File> {
        reopen(&self.handle, OFlags::RDONLY).map_err(|e| Error::io("the file cannot be read", e.into()))
    }
}

/// Opens what a handle holds, not what its name leads to now; without leaving an access time where that is allowed.
fn reopen(handle: &OwnedFd, flags: OFlags) -> Result<File, Errno> {
    let own = format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd());
    let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    let opened = match rustix::fs::open(&own, flags | OFlags::NOATIME, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::open(&own, flags, Mode::empty())?,
        other => other?,
    };
    Ok(File::from(opened))
}

fn is_dots(part: &[u8]) -> bool {
    matches!(part, b"." | b"..")
}

pub fn identity(stat: &Stat) -> FileIdentity {
    FileIdentity { device: stat.st_dev, inode: stat.st_ino }
}

pub fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Its type differs by architecture.
#[allow(clippy::useless_conversion)]
pub fn links(stat: &Stat) -> u64 {
    u64::from(stat.st_nlink)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;
    use std::os::unix::ffi::OsStrExt;

    fn path(of: &std::path::Path) -> DevicePath {
        DevicePath::new(of.as_os_str().as_bytes())
    }

    #[test]
    fn a_link_on_the_way_is_not_followed() {
        let dir = Scratch::new();
        std::fs::create_dir(dir.join("real")).unwrap();
        std::fs::write(dir.join("real/file"), "x").unwrap();
        std::os::unix::fs::symlink("real", dir.join("link")).unwrap();
        assert!(Place::reach(&path(&dir.join("real/file"))).unwrap().look().is_ok());
        let e = Place::reach(&path(&dir.join("link/file"))).err().unwrap();
        assert!(matches!(e, Errno::LOOP | Errno::NOTDIR), "{e:?}");
    }

    #[test]
    fn dots_are_no_names() {
        for climbing in ["/tmp/../etc/x", "/tmp/..", "/./x", "/"] {
            assert!(Place::reach(&DevicePath::new(climbing)).is_err(), "{climbing}");
        }
    }

    #[test]
    fn a_fifo_is_held_without_blocking() {
        let dir = Scratch::new();
        let fifo = dir.join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert!(!Place::reach(&path(&fifo)).unwrap().hold().unwrap().is_regular());
    }

    #[test]
    fn a_move_replaces_nothing() {
        let dir = Scratch::new();
        std::fs::write(dir.join("a"), "a").unwrap();
        std::fs::write(dir.join("b"), "b").unwrap();
        let a = Place::reach(&path(&dir.join("a"))).unwrap();
        assert_eq!(a.move_to(&a.beside("b").unwrap()), Err(Errno::EXIST));
        assert_eq!(std::fs::read(dir.join("b")).unwrap(), b"b");
    }
}
