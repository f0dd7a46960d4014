//! What is mounted, from where, and how full it is.

use crate::device::local::linux::mounts::{is_left_out, unescape};
use crate::device::local::linux::view::View;
use crate::device::package::Spool;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job};
use crate::shape::Untrusted;
use serde::Serialize;
use std::io::Read;

const TABLE_MAX: u64 = 16 << 20;

/// `man 5 proc_pid_mountinfo`.
#[derive(Serialize)]
struct Row {
    point: DevicePath,
    /// Within its file system.
    root: DevicePath,
    kind: Untrusted,
    source: DevicePath,
    options: Untrusted,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
}

pub fn write(view: &View, to: &mut Spool, job: &Job) -> Result<()> {
    if !view.is_live() {
        return Err(Error::new(ErrorCode::Unsupported, "an image has no mounts of its own"));
    }
    let mut table = Vec::new();
    // The guard's own, and so this program's view of the host: nothing else is in it.
    let read = std::fs::File::open("/proc/self/mountinfo").and_then(|f| f.take(TABLE_MAX).read_to_end(&mut table));
    read.map_err(|e| Error::io("the mounts", e))?;
    for line in table.split(|b| *b == b'\n') {
        job.check()?;
        if let Some(row) = row(line) {
            to.row(&row)?;
        }
    }
    Ok(())
}

fn row(line: &[u8]) -> Option<Row> {
    let mut fields = line.split(|b| *b == b' ');
    let root = unescape(fields.nth(3)?);
    let point = unescape(fields.next()?);
    let options = fields.next()?;
    let mut fields = fields.skip_while(|f| *f != b"-").skip(1);
    let kind = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = unescape(fields.next()?);
    // Whether a network mount is there at all, only its server knows.
    let space = (!is_left_out(&kind)).then(|| rustix::fs::statvfs(point.as_slice()).ok()).flatten();
    Some(Row {
        size_bytes: space.as_ref().map(|s| s.f_blocks.saturating_mul(s.f_frsize)),
        free_bytes: space.as_ref().map(|s| s.f_bavail.saturating_mul(s.f_frsize)),
        point: DevicePath::new(point),
        root: DevicePath::new(root),
        kind: Untrusted::new(kind),
        source: DevicePath::new(source),
        options: Untrusted::from_bytes(options),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_mount() {
        let row = row(b"23 21 0:6 /sub /mnt/my\\040nas rw,nosuid shared:2 - nfs4 nas:/x rw").unwrap();
        let text = serde_json::to_value(&row).unwrap();
        assert_eq!(text["point"], "/mnt/my nas");
        assert_eq!((&text["kind"], &text["source"], &text["root"]), (&"nfs4".into(), &"nas:/x".into(), &"/sub".into()));
        assert!(text.get("size_bytes").is_none());
        for bad in ["", "1 2", "23 21 0:6 / /mnt rw"] {
            assert!(super::row(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
