//! A file's bytes and its metadata, read from and written to handles only.
//!
//! Invariant: memory is constant whatever the size; what is copied is hashed on the way.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Sha256, hex};
use rustix::fs::{Gid, IFlags, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::Digest;
use std::fs::File;
use std::io::{Read, Seek, Write};

const CHUNK: usize = 256 * 1024;
/// More extended attributes than any file system keeps inline; beyond it they are counted, not kept.
const XATTR_BYTES: usize = 256 * 1024;

/// Copies everything from where `from` stands, hashing; size and SHA-256 of what was copied.
pub fn copy(from: &mut File, to: &mut impl Write, job: &Job) -> Result<(u64, Sha256)> {
    let mut hasher = sha2::Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut size = 0u64;
    loop {
        job.check()?;
        let n = match from.read(&mut chunk) {
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("the file cannot be read to its end", e)),
        };
        let Some(read) = chunk.get(..n).filter(|r| !r.is_empty()) else { break };
        hasher.update(read);
        to.write_all(read).map_err(|e| unwritable(&e))?;
        size = size.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
    }
    Ok((size, Sha256::from_bytes(&hasher.finalize())))
}

/// Size and SHA-256 of a whole file.
pub fn hash(file: &mut File, job: &Job) -> Result<(u64, Sha256)> {
    file.rewind().map_err(|e| Error::io("the file cannot be read", e))?;
    copy(file, &mut std::io::sink(), job)
}

fn unwritable(e: &std::io::Error) -> Error {
    Error::new(ErrorCode::StoreUnavailable, format!("the copy cannot be written: {e}"))
        .hint("free space where the copy goes and ask again; the original is untouched")
}

/// What a file is besides its bytes, as far as it can be put back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub accessed: Time,
    pub modified: Time,
    /// Inode flags (`man 2 ioctl_iflags`).
    pub flags: u32,
    pub xattrs: Vec<Xattr>,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Time {
    pub seconds: i64,
    pub nanos: u32,
}

/// Name and value in hex: neither need be text.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xattr {
    pub name: String,
    pub value: String,
}

impl Metadata {
    pub fn of(file: &File, stat: &Stat) -> Metadata {
        Metadata {
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            accessed: Time::of(stat.st_atime, stat.st_atime_nsec),
            modified: Time::of(stat.st_mtime, stat.st_mtime_nsec),
            flags: rustix::fs::ioctl_getflags(file).map_or(0, |f| f.bits()),
            xattrs: xattrs(file),
        }
    }

    /// Sets everything on a file that has no name yet; gives what could not be set. Owner and mode must hold: a
    /// set-user-id file of another owner is another file.
    pub fn put_on(&self, file: &File) -> Result<Vec<&'static str>> {
        let mut missed = self.put_rights_on(file)?;
        if rustix::fs::futimens(file, &self.times()).is_err() {
            missed.push("its times");
        }
        if self.set_flags(file).is_err() {
            missed.push("its inode flags");
        }
        Ok(missed)
    }

    /// All but the times: of a file that has other content than before, they would hide that.
    pub fn put_on_changed(&self, file: &File) -> Result<Vec<&'static str>> {
        let mut missed = self.put_rights_on(file)?;
        if self.set_flags(file).is_err() {
            missed.push("its inode flags");
        }
        Ok(missed)
    }

    fn put_rights_on(&self, file: &File) -> Result<Vec<&'static str>> {
        let same = rustix::fs::fstat(file).is_ok_and(|s| s.st_uid == self.uid && s.st_gid == self.gid);
        if !same {
            rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid))).map_err(|e| {
                Error::io(format!("the file cannot be given back to uid {} gid {}", self.uid, self.gid), e.into())
            })?;
        }
        let mut missed = Vec::new();
        // Before the mode: an ACL would rewrite it.
        if !self.xattrs.iter().all(|x| x.put_on(file).is_ok()) {
            missed.push("an extended attribute");
        }
        rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode))
            .map_err(|e| Error::io(format!("the mode {:o} cannot be set", self.mode), e.into()))?;
        Ok(missed)
    }

    /// Of a file that has become what it was; where they cannot be set, they are new.
    pub fn put_times_on(&self, file: &File) {
        let _ = rustix::fs::futimens(file, &self.times());
    }

    fn times(&self) -> Timestamps {
        let spec = |t: Time| Timespec { tv_sec: t.seconds, tv_nsec: t.nanos.into() };
        Timestamps { last_access: spec(self.accessed), last_modification: spec(self.modified) }
    }

    /// Only the flags that `chattr` sets; the others tell how the file system stores it.
    fn set_flags(&self, file: &File) -> Result<(), Errno> {
        let settable = IFlags::NODUMP | IFlags::NOATIME | IFlags::SYNC | IFlags::SECURE_REMOVAL | IFlags::UNRM;
        let wanted = IFlags::from_bits_retain(self.flags) & settable;
        if wanted.is_empty() {
            return Ok(());
        }
        let now = rustix::fs::ioctl_getflags(file)?;
        rustix::fs::ioctl_setflags(file, now | wanted)
    }
}

impl Time {
    fn of(seconds: i64, nanos: impl TryInto<u32>) -> Time {
        Time { seconds, nanos: nanos.try_into().unwrap_or(0) }
    }
}

impl Xattr {
    fn put_on(&self, file: &File) -> Result<(), Errno> {
        let name = unhex(&self.name).ok_or(Errno::INVAL)?;
        let value = unhex(&self.value).ok_or(Errno::INVAL)?;
        rustix::fs::fsetxattr(file, name.as_slice(), &value, XattrFlags::empty())
    }
}

fn xattrs(file: &File) -> Vec<Xattr> {
    let mut names = Vec::with_capacity(64 * 1024);
    if rustix::fs::flistxattr(file, rustix::buffer::spare_capacity(&mut names)).is_err() {
        return Vec::new();
    }
    let mut kept = 0;
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = Vec::with_capacity(64 * 1024);
        let read = rustix::fs::fgetxattr(file, name, rustix::buffer::spare_capacity(&mut value));
        kept += value.len() + name.len();
        if read.is_ok() && kept <= XATTR_BYTES {
            found.push(Xattr { name: hex(name), value: hex(&value) });
        }
    }
    found
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[hi, lo]| Some(digit(*hi)? << 4 | digit(*lo)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hex_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_hex_or_not(text in ".{0,20}") {
            let _ = unhex(&text);
        }
    }
}
