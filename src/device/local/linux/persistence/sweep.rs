//! One walk over the whole file system, for all that lies anywhere: SUID programs, capabilities, repositories, start
//! files of interpreters.
//!
//! Invariant: the walk of `findfile`: no link is followed, pseudo and network file systems are left out and named.

use super::super::mounts::facts_of;
use super::super::view::How;
use super::super::walk::{Place, Visit, join, walk};
use super::scan::Scan;
use crate::error::Result;
use crate::model::DevicePath;
use rustix::fs::{FileType, RawDirEntry};
use std::os::fd::AsRawFd;

/// Hits that are kept; a host has some hundreds.
const HITS: usize = 50_000;
/// `struct vfs_ns_cap_data`, `linux/capability.h`.
const CAPABILITY_BYTES: usize = 24;

#[derive(Debug)]
pub enum Kind {
    /// SUID or SGID: the permission bits.
    Set(u32),
    /// The value of `security.capability`.
    Capable(Vec<u8>),
    /// A directory `.git`, or the link of a worktree.
    Git,
    /// A file that an interpreter runs when it starts.
    Start,
}

#[derive(Debug, Default)]
pub struct Sweep {
    pub hits: Vec<(DevicePath, Kind)>,
}

impl Sweep {
    pub fn read(scan: &Scan<'_>) -> Result<Sweep> {
        let start = scan.view.open(&DevicePath::new("/"), How::Directory)?;
        let mut hits: Vec<_> = walk(scan.view, &start, &Visitor, scan.job)?.into_iter().flatten().collect();
        hits.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        if hits.len() > HITS {
            scan.job
                .warn(format!("{} files start code by a mode or a name, {HITS} of them were looked at", hits.len()));
            hits.truncate(HITS);
        }
        Ok(Sweep { hits })
    }

    pub fn none() -> &'static Sweep {
        static NONE: Sweep = Sweep { hits: Vec::new() };
        &NONE
    }
}

struct Visitor;

impl Visit for Visitor {
    type Row = (DevicePath, Kind);

    fn entry(&self, at: &Place<'_>, entry: &RawDirEntry<'_>, rows: &mut Vec<Self::Row>) {
        let name = entry.file_name().to_bytes();
        let hit = |kind| (DevicePath::new(join(at.path.as_bytes(), name)), kind);
        match entry.file_type() {
            FileType::Directory if name == b".git" => return rows.push(hit(Kind::Git)),
            FileType::RegularFile | FileType::Unknown => {}
            _ => return,
        }
        if is_start(at.path.as_bytes(), name) {
            rows.push(hit(Kind::Start));
        }
        let Ok(facts) = facts_of(at.points, at.directory, entry.file_name()) else { return };
        if !facts.is_file() || at.set.holds(facts.identity) {
            return;
        }
        // SGID without the group's right to run it is the old mark of mandatory locking.
        if facts.mode & 0o4000 != 0 || facts.mode & 0o2010 == 0o2010 {
            rows.push(hit(Kind::Set(facts.mode & 0o7777)));
        }
        if facts.mode & 0o111 != 0
            && let Some(value) = capability(at.directory.as_raw_fd(), name)
        {
            rows.push(hit(Kind::Capable(value)));
        }
    }
}

/// Only by a path can the attribute be asked for without opening the file.
fn capability(directory: i32, name: &[u8]) -> Option<Vec<u8>> {
    let path = [format!("/proc/self/fd/{directory}/").as_bytes(), name].concat();
    let mut value = [0; CAPABILITY_BYTES];
    let length = rustix::fs::lgetxattr(&path[..], c"security.capability", &mut value[..]).ok()?;
    value.get(..length).map(<[u8]>::to_vec)
}

fn is_start(directory: &[u8], name: &[u8]) -> bool {
    matches!(name, b"sitecustomize.py" | b"usercustomize.py")
        || (name.ends_with(b".pth")
            && (directory.ends_with(b"/site-packages") || directory.ends_with(b"/dist-packages")))
}
