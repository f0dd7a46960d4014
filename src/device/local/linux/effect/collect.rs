//! Writes a package into a folder of this host.
//!
//! Invariant: the file has its name when it is whole, and never takes the place of another; what is not finished leaves
//! nothing behind.

use super::bytes;
use super::place::{Place, identity};
use super::{Did, Pack};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{DevicePath, Job, PackageFacts, Profile, Remediated, Step, Timestamp, Verified, random_hex};
use crate::shape::Untrusted;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::AsRawFd;

pub fn collect(order: Order, pack: &Pack<'_>, job: &Job) -> Did {
    let Step::Collect { folder, directory, name, profile } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "not a step of this kind"));
    };
    let path = folder.join(&DevicePath::new(name.as_str()));
    let place = match Place::reach(&path) {
        Ok(place) => place,
        Err(e) => return Did::Drift(format!("{folder} is not the folder that was approved: {e}")),
    };
    match place.directory() {
        Ok(found) if found == *directory => {}
        Ok(found) => return Did::Drift(format!("{folder} is another folder now: {found}, not {directory}")),
        Err(e) => return Did::Failed(Error::io(folder, e.into())),
    }
    if place.look().is_ok() {
        return Did::Failed(exists(&path));
    }
    match write(&place, *profile, pack, job) {
        Err(e) => Did::Failed(e),
        Ok((draft, facts)) => match draft.name(&place) {
            Err(e) => Did::Failed(e),
            Ok(()) => written(&place, &facts, job),
        },
    }
}

fn exists(path: &DevicePath) -> Error {
    Error::new(ErrorCode::Exists, format!("{path} is there already")).hint("name another output_folder")
}

fn write(place: &Place, profile: Profile, pack: &Pack<'_>, job: &Job) -> Result<(Draft, PackageFacts)> {
    let mut draft = Draft::new(place)?;
    let mut to = BufWriter::with_capacity(256 * 1024, &mut draft.file);
    let facts = pack(profile, &mut to, job)?;
    to.flush().map_err(|e| Error::io(&place.path, e))?;
    drop(to);
    draft.file.sync_all().map_err(|e| Error::io(&place.path, e))?;
    Ok((draft, facts))
}

/// The row, and whether a look of its own finds what was written.
fn written(place: &Place, facts: &PackageFacts, job: &Job) -> Did {
    let read = place
        .hold()
        .map_err(|e| Error::io(&place.path, e.into()))
        .and_then(|held| held.open())
        .and_then(|mut file| bytes::hash(&mut file, job));
    let mut row = Remediated {
        r#type: "file".into(),
        id: Untrusted::new(place.path.to_text()),
        outcome: "collected".into(),
        undo_id: None,
        path: Some(place.path.clone()),
        sha256: None,
        size_bytes: None,
        at: Some(Timestamp::now()),
        request_id: None,
        exit_code: None,
        note: Some(Untrusted::new(format!("{} members, {} left out", facts.members, facts.left_out))),
    };
    match read {
        Ok((size, sha256)) => {
            (row.size_bytes, row.sha256) = (Some(size), Some(sha256));
            Did::done(row, Verified::Yes)
        }
        Err(_) => Did::done(row, Verified::Unknown),
    }
}

/// A file on its way: without a name where the file system can do that, else under one of its own.
struct Draft {
    file: File,
    aside: Option<Place>,
}

impl Draft {
    fn new(place: &Place) -> Result<Draft> {
        let own = Mode::RUSR | Mode::WUSR;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        match rustix::fs::openat(&place.dir, ".", flags | OFlags::TMPFILE, own) {
            Ok(fd) => return Ok(Draft { file: fd.into(), aside: None }),
            // A file system without O_TMPFILE (man 2 open).
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {}
            Err(e) => return Err(Error::io(&place.path, e.into())),
        }
        let aside = place.beside(&format!(".live-response-{}", random_hex::<8>()));
        let aside = aside.map_err(|e| Error::io(&place.path, e.into()))?;
        let fd = rustix::fs::openat(&aside.dir, aside.name.as_slice(), flags | OFlags::CREATE | OFlags::EXCL, own)
            .map_err(|e| Error::io(&place.path, e.into()))?;
        Ok(Draft { file: fd.into(), aside: Some(aside) })
    }

    /// Gives it its name, durably. `E_EXISTS` where that is taken by now.
    fn name(mut self, place: &Place) -> Result<()> {
        let named = match self.aside.take() {
            None => {
                let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
                rustix::fs::linkat(CWD, own, &place.dir, place.name.as_slice(), AtFlags::SYMLINK_FOLLOW)
            }
            Some(aside) => {
                let moved = aside.move_to(place);
                self.aside = moved.is_err().then_some(aside);
                moved
            }
        };
        named.map_err(|e| if e == Errno::EXIST { exists(&place.path) } else { Error::io(&place.path, e.into()) })?;
        place.sync().map_err(|e| Error::io(&place.path, e.into()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Only the file that is ours: nobody knows what lies under the name by now.
        if let Some(aside) = &self.aside
            && let (Ok(there), Ok(ours)) = (aside.look(), rustix::fs::fstat(&self.file))
            && identity(&there) == identity(&ours)
        {
            let _ = aside.unlink();
        }
    }
}
