//! The kernel's log, as `/dev/kmsg` gives it to every reader anew (`Documentation/ABI/testing/dev-kmsg`).

use crate::device::local::linux::view::View;
use crate::device::package::Spool;
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io::Write;

/// `memory devices`, and the number of `kmsg` among them.
const KMSG: (u32, u32) = (1, 11);
/// A record has at most 8 KiB; the buffer is of a size that the kernel takes for all of them.
const RECORD: usize = 16 * 1024;
/// Records that are read: more than any ring holds.
const RECORDS: usize = 1 << 20;

pub fn write(view: &View, to: &mut Spool, job: &Job) -> Result<()> {
    if !view.is_live() {
        return Err(Error::new(ErrorCode::Unsupported, "an image has no running kernel"));
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let log = rustix::fs::openat(CWD, "/dev/kmsg", flags, Mode::empty()).map_err(|e| match e {
        Errno::NOENT => Error::new(ErrorCode::Unsupported, "this host shows no /dev/kmsg"),
        e => Error::io("the kernel's log", e.into()),
    })?;
    let stat = rustix::fs::fstat(&log).map_err(|e| Error::io("the kernel's log", e.into()))?;
    // Containers put other things in its place.
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice
        || (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) != KMSG
    {
        return Err(Error::new(ErrorCode::Unsupported, "/dev/kmsg is not the kernel's log"));
    }
    let mut record = vec![0; RECORD];
    for _ in 0..RECORDS {
        job.check()?;
        match rustix::io::read(&log, &mut record[..]) {
            Ok(0) | Err(Errno::AGAIN) => break,
            Ok(n) => to.write_all(record.get(..n).unwrap_or_default()).map_err(|e| to.error(e))?,
            // Overwritten while it was read: the next one is there.
            Err(Errno::PIPE | Errno::INTR) => {}
            Err(e) => return Err(Error::io("the kernel's log", e.into())),
        }
    }
    Ok(())
}
