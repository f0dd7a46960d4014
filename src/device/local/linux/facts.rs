//! What `statx` tells of a file, as the model's types.

use super::view::Names;
use crate::model::{Attributes, DevicePath, FileEntry, FileIdentity, Timestamp};
use rustix::fs::{AtFlags, FileType, Statx, StatxAttributes, StatxFlags, StatxTimestamp};
use std::ffi::CStr;
use std::os::fd::AsFd;

/// Metadata of one file, `man 2 statx`.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub identity: FileIdentity,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes; 0 for files that the kernel makes up.
    pub blocks: u64,
    /// Kind and permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub links: u64,
    pub created: Option<Timestamp>,
    pub modified: Timestamp,
    pub accessed: Timestamp,
    /// Of the inode.
    pub changed: Timestamp,
    pub immutable: bool,
    pub append_only: bool,
    /// The mount's id in `/proc/self/mountinfo`; `None` before Linux 5.8.
    pub mount: Option<u64>,
}

impl Facts {
    /// Of an open handle, an `O_PATH` one too.
    pub fn of(fd: impl AsFd) -> rustix::io::Result<Self> {
        Self::statx(fd, c"", AtFlags::EMPTY_PATH)
    }

    /// Of an entry of a directory; of the link itself where it is one.
    pub fn of_entry(dir: impl AsFd, name: &CStr) -> rustix::io::Result<Self> {
        Self::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Of a mount's point, as far as this host knows without asking the mount's server, which may never answer.
    pub fn of_mount_point(dir: impl AsFd, name: &CStr) -> rustix::io::Result<Self> {
        Self::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_DONT_SYNC)
    }

    fn statx(dir: impl AsFd, name: &CStr, flags: AtFlags) -> rustix::io::Result<Self> {
        let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID;
        rustix::fs::statx(dir, name, flags | AtFlags::NO_AUTOMOUNT, mask).map(|x| Self::from(&x))
    }

    fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    pub fn is_file(&self) -> bool {
        self.file_type() == FileType::RegularFile
    }

    pub fn is_directory(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    pub fn is_symlink(&self) -> bool {
        self.file_type() == FileType::Symlink
    }

    /// The kind as rows name it.
    pub fn kind(&self) -> &'static str {
        kind_name(self.file_type())
    }

    /// `name` is the entry's own, for `hidden`.
    pub fn attributes(&self, name: &[u8], names: &dyn Names) -> Attributes {
        Attributes {
            mode: mode_text(self.mode),
            owner: names.user(self.uid),
            group: names.group(self.gid),
            hidden: name.first() == Some(&b'.'),
            immutable: self.immutable,
            append_only: self.append_only,
        }
    }

    /// The row of an entry whose facts are known.
    pub fn entry(&self, name: &[u8], path: DevicePath, target: Option<DevicePath>, names: &dyn Names) -> FileEntry {
        FileEntry {
            name: DevicePath::new(name),
            path,
            kind: self.kind(),
            size_bytes: Some(self.size),
            created: self.created,
            modified: Some(self.modified),
            accessed: Some(self.accessed),
            target,
            attributes: Some(self.attributes(name, names)),
        }
    }
}

impl From<&Statx> for Facts {
    fn from(x: &Statx) -> Self {
        let time = |t: &StatxTimestamp| Timestamp::from_unix(t.tv_sec, t.tv_nsec);
        let has = |flag: StatxFlags| x.stx_mask & flag.bits() != 0;
        Facts {
            identity: FileIdentity { device: rustix::fs::makedev(x.stx_dev_major, x.stx_dev_minor), inode: x.stx_ino },
            size: x.stx_size,
            blocks: x.stx_blocks,
            mode: u32::from(x.stx_mode),
            uid: x.stx_uid,
            gid: x.stx_gid,
            links: u64::from(x.stx_nlink),
            created: has(StatxFlags::BTIME).then(|| time(&x.stx_btime)),
            modified: time(&x.stx_mtime),
            accessed: time(&x.stx_atime),
            changed: time(&x.stx_ctime),
            immutable: x.stx_attributes.contains(StatxAttributes::IMMUTABLE),
            append_only: x.stx_attributes.contains(StatxAttributes::APPEND),
            mount: has(StatxFlags::MNT_ID).then_some(x.stx_mnt_id),
        }
    }
}

/// The name that rows give a kind of file.
pub fn kind_name(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::BlockDevice => "block_device",
        FileType::CharacterDevice => "char_device",
        FileType::Unknown => "unknown",
    }
}

/// As `ls -l` writes it.
pub(super) fn mode_text(mode: u32) -> String {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::RegularFile => '-',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Fifo => 'p',
        FileType::Socket => 's',
        FileType::BlockDevice => 'b',
        FileType::CharacterDevice => 'c',
        FileType::Unknown => '?',
    };
    let mut text = String::with_capacity(10);
    text.push(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => set,
            (false, true) => unset,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_is_written_as_ls_does() {
        for (mode, text) in [
            (0o100644, "-rw-r--r--"),
            (0o104755, "-rwsr-xr-x"),
            (0o102644, "-rw-r-Sr--"),
            (0o041777, "drwxrwxrwt"),
            (0o041776, "drwxrwxrwT"),
            (0o120777, "lrwxrwxrwx"),
            (0o060660, "brw-rw----"),
        ] {
            assert_eq!(mode_text(mode), text);
        }
    }
}
