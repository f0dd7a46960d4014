//! What each process holds: its image, directories, open descriptors, and the files that are mapped into it.
//!
//! Invariant: links of procfs are read, never followed; processes of the guard are not looked at.

use crate::device::local::linux::proc::{self, Proc};
use crate::device::local::linux::view::{How, View};
use crate::device::package::Spool;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job};
use rustix::fs::{CWD, Mode, OFlags};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};

/// Descriptors and mapped files of one process.
const HELD_MAX: usize = 8_192;
const MAPS_MAX: u64 = 16 << 20;

#[derive(Serialize)]
struct Row {
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    exe: Option<DevicePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cwd: Option<DevicePath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<DevicePath>,
    descriptors: Vec<Descriptor>,
    mapped: Vec<Mapped>,
    /// More were there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
}

#[derive(Serialize)]
struct Descriptor {
    fd: u32,
    target: DevicePath,
}

/// A file or a named region, once however often it is mapped.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Mapped {
    path: DevicePath,
    executable: bool,
    deleted: bool,
}

pub fn write(view: &View, to: &mut Spool, job: &Job) -> Result<()> {
    if !view.is_live() {
        return Err(Error::new(ErrorCode::Unsupported, "an image has no processes"));
    }
    let mut unseen = 0u64;
    for pid in Proc::open()?.pids(job)? {
        job.check()?;
        if view.own().is_own_process(pid) {
            continue;
        }
        let row = row(view, pid, job)?;
        // Every process has an image or is the kernel's own; one without a directory was not for us to see.
        unseen += u64::from(row.cwd.is_none() && row.descriptors.is_empty());
        to.row(&row)?;
    }
    if unseen > 0 && !rustix::process::geteuid().is_root() {
        job.warn(format!("{unseen} processes do not show this account what they hold: run as root to see it"));
    }
    Ok(())
}

fn row(view: &View, pid: u32, job: &Job) -> Result<Row> {
    let link = |name: &str| {
        let target = rustix::fs::readlinkat(CWD, format!("/proc/{pid}/{name}"), Vec::new());
        target.ok().map(|t| DevicePath::new(t.into_bytes()))
    };
    let mut descriptors = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut numbers = match rustix::fs::openat(CWD, format!("/proc/{pid}/fd"), flags, Mode::empty()) {
        Ok(directory) => proc::numbers(&directory, job)?.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    numbers.sort_unstable();
    let mut cut = numbers.len() > HELD_MAX;
    for fd in numbers.into_iter().take(HELD_MAX) {
        descriptors.extend(link(&format!("fd/{fd}")).map(|target| Descriptor { fd, target }));
    }
    let mapped = mapped(view, pid, &mut cut, job)?;
    Ok(Row { pid, exe: link("exe"), cwd: link("cwd"), root: link("root"), descriptors, mapped, cut })
}

fn mapped(view: &View, pid: u32, cut: &mut bool, job: &Job) -> Result<Vec<Mapped>> {
    let mut found = BTreeSet::new();
    let Ok(maps) = view.open(&DevicePath::new(format!("/proc/{pid}/maps")), How::File) else { return Ok(Vec::new()) };
    let mut lines = BufReader::new(maps.file.take(MAPS_MAX));
    let mut line = Vec::new();
    // A process that ends meanwhile ends the list.
    while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
        job.check()?;
        found.extend(region(line.trim_ascii_end()));
        line.clear();
        if found.len() >= HELD_MAX {
            *cut = true;
            break;
        }
    }
    Ok(found.into_iter().collect())
}

/// Range, permissions, offset, device, inode, name (`man 5 proc_pid_maps`).
fn region(line: &[u8]) -> Option<Mapped> {
    let mut rest = line;
    let mut permissions: &[u8] = b"";
    for field in 0..5 {
        let end = rest.iter().position(|b| *b == b' ')?;
        let (word, after) = rest.split_at(end);
        if field == 1 {
            permissions = word;
        }
        rest = after.trim_ascii_start();
    }
    let deleted = rest.ends_with(b" (deleted)");
    let name = rest.strip_suffix(b" (deleted)").unwrap_or(rest);
    (!name.is_empty()).then(|| Mapped { path: DevicePath::new(name), executable: permissions.contains(&b'x'), deleted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_with_a_name_are_files() {
        let mapped = region(b"7f-80 r-xp 00000000 fe:00 12   /usr/lib/a b.so (deleted)").unwrap();
        assert_eq!(
            (mapped.path.to_text().as_ref(), mapped.executable, mapped.deleted),
            ("/usr/lib/a b.so", true, true)
        );
        for none in ["7f-80 rw-p 00000000 00:00 0", "7f-80 rw-p 00000000 00:00 0 ", "", "7f"] {
            assert!(region(none.as_bytes()).is_none(), "{none}");
        }
    }
}
