//! What this host or this program lives on, and is therefore not remediated.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, FileIdentity};
use std::collections::HashSet;

/// Files that this program or the system's first process lives on.
pub(super) struct Protected {
    files: HashSet<FileIdentity>,
}

impl Protected {
    pub(super) fn find() -> Protected {
        let mut files: HashSet<FileIdentity> = HashSet::new();
        for pid in [std::process::id(), 1] {
            files.extend(mapped(pid));
        }
        files.extend(identity_of("/proc/1/exe"));
        for path in ["/sbin/init", "/usr/lib/systemd/systemd", "/bin/sh", "/usr/bin/sh"] {
            files.extend(identity_of(path));
        }
        Protected { files }
    }

    pub(super) fn refuse(&self, path: &DevicePath, identity: FileIdentity) -> Result<()> {
        if !self.files.contains(&identity) && !is_loader(path) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Protected, format!("{path} is part of what this host or this program runs on"))
            .hint("without it the host would not start or this program not undo it; a person changes it by hand"))
    }
}

/// The files that a process maps; as far as this account may see them.
fn mapped(pid: u32) -> HashSet<FileIdentity> {
    let Ok(maps) = std::fs::read(format!("/proc/{pid}/maps")) else { return HashSet::new() };
    let paths = maps
        .split(|b| *b == b'\n')
        .filter_map(|line| line.iter().position(|b| *b == b'/').and_then(|at| line.get(at..)));
    let paths: HashSet<&[u8]> = paths.collect();
    paths.into_iter().filter_map(identity_of).collect()
}

fn identity_of(path: impl rustix::path::Arg) -> Option<FileIdentity> {
    let stat = rustix::fs::stat(path).ok()?;
    Some(FileIdentity { device: stat.st_dev, inode: stat.st_ino })
}

/// The C library and the dynamic loader of any architecture.
fn is_loader(path: &DevicePath) -> bool {
    let name = path.name();
    let name = name.as_bytes();
    let in_lib = path.as_bytes().split(|b| *b == b'/').any(|part| part.starts_with(b"lib"));
    let is = |start: &[u8]| name.starts_with(start);
    in_lib && (is(b"ld-linux") || is(b"ld-musl-") || is(b"ld-2.") || is(b"ld.so") || is(b"libc.so") || is(b"libc-2."))
}
