//! Writes a library file into the working folder.
//!
//! Invariant: the folder is reached and made without following a single link; the name appears only when the approved
//! bytes are durable, and never over anything.

use super::bytes;
use super::place::{Place, identity};
use super::{Did, fault};
use crate::device::local::linux::work_folder;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{DevicePath, FileIdentity, Job, LibraryItem, Remediated, Step, Supply, Timestamp, Verified};
use crate::shape::Untrusted;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Others may not write where files wait to be run.
const FOREIGN_WRITE: u32 = 0o022;

pub fn put(order: Order, supply: &dyn Supply, job: &Job) -> Did {
    let Step::Put { item, path, .. } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to put names no library file"));
    };
    let place = match reach(path) {
        Ok(place) => place,
        Err(did) => return did,
    };
    sweep(path);
    match write(item, &place, supply, job) {
        Ok(written) => {
            let row = row(&order, item, path);
            Did::done(row, verify(item, path, written))
        }
        Err(did) => did,
    }
}

/// The folder by handle, made where it is missing.
fn reach(path: &DevicePath) -> Result<Place, Did> {
    let at = |e: Errno| match e {
        Errno::LOOP | Errno::NOTDIR => Did::Drift(format!("{} does not lie in real folders only", path)),
        e => Did::Failed(Error::io(path.parent(), e.into())),
    };
    let dir = make_way(&path.parent()).map_err(at)?;
    let stat = rustix::fs::fstat(&dir).map_err(at)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & FOREIGN_WRITE != 0 {
        return Err(Did::Drift(format!("{} belongs to or may be written by others", path.parent())));
    }
    let place = Place { dir, name: path.name().as_bytes().to_vec(), path: path.clone() };
    match place.look() {
        Err(Errno::NOENT) => Ok(place),
        Err(e) => Err(at(e)),
        Ok(_) => Err(exists(path)),
    }
}

fn make_way(folder: &DevicePath) -> Result<OwnedFd, Errno> {
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut dir = rustix::fs::open("/", way, Mode::empty())?;
    for part in folder.as_bytes().split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        if matches!(part, b"." | b"..") {
            return Err(Errno::INVAL);
        }
        dir = match rustix::fs::openat(&dir, part, way, Mode::empty()) {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&dir, part, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(e) => return Err(e),
                }
                rustix::fs::openat(&dir, part, way, Mode::empty())?
            }
            other => other?,
        };
    }
    Ok(dir)
}

fn write(item: &LibraryItem, place: &Place, supply: &dyn Supply, job: &Job) -> Result<FileIdentity, Did> {
    let mut source = supply.open(&item.sha256).map_err(Did::Failed)?;
    let odd = format!(".lr-{}", crate::model::random_hex::<8>());
    let unplaced = |e: Errno| match e {
        Errno::EXIST => exists(&place.path),
        e => Did::Failed(Error::io(&place.path, e.into())),
    };
    let mut draft = place.draft(&odd).map_err(unplaced)?;
    let written = fill(&mut draft.file, &mut source, item, job).and_then(|()| {
        fault("filled");
        draft.name(place).map_err(unplaced)
    });
    if let Err(did) = written {
        draft.discard();
        return Err(did);
    }
    fault("named");
    let _ = place.sync();
    rustix::fs::fstat(&draft.file).map(|stat| identity(&stat)).map_err(unplaced)
}

fn fill(file: &mut File, source: &mut File, item: &LibraryItem, job: &Job) -> Result<(), Did> {
    let (size, sha256) = bytes::copy(source, file, job).map_err(Did::Failed)?;
    if size != item.size_bytes || sha256 != item.sha256 {
        return Err(Did::Drift(format!("the library holds other bytes than were approved as {}", item.name)));
    }
    let mode = if item.kind.is_runnable() { Mode::RWXU } else { Mode::RUSR | Mode::WUSR };
    rustix::fs::fchmod(&*file, mode).map_err(|e| Did::Failed(Error::io("the file's mode", e.into())))?;
    file.sync_all().map_err(|e| Did::Failed(Error::io("the file", e)))
}

/// Takes away what was put before an earlier restart, where the folder lies on no file system that a restart empties.
fn sweep(path: &DevicePath) {
    let folder = path.parent();
    let folder = Path::new(OsStr::from_bytes(folder.as_bytes()));
    let (Some(all), Some(current)) = (folder.parent(), folder.file_name()) else { return };
    if all.file_name() != Some(OsStr::new(work_folder::UNTIL_RESTART)) {
        return;
    }
    let Ok(entries) = std::fs::read_dir(all) else { return };
    for entry in entries.flatten().filter(|e| e.file_name() != current && work_folder::is_boot_id(&e.file_name())) {
        // Follows no link; what cannot go now goes another time.
        let _ = std::fs::remove_dir_all(entry.path());
    }
}

fn row(order: &Order, item: &LibraryItem, path: &DevicePath) -> Remediated {
    Remediated {
        r#type: "file".into(),
        id: Untrusted::new(item.name.as_str()),
        outcome: "put".into(),
        undo_id: None,
        path: Some(path.clone()),
        sha256: Some(item.sha256.clone()),
        size_bytes: Some(item.size_bytes),
        at: Some(Timestamp::now()),
        request_id: Some(order.request().clone()),
        exit_code: None,
        note: None,
    }
}

/// Looks again, from the root.
fn verify(item: &LibraryItem, path: &DevicePath, written: FileIdentity) -> Verified {
    let Ok(held) = Place::reach(path).and_then(|p| p.hold()) else { return Verified::No };
    let hashed = held.open().and_then(|mut file| bytes::hash(&mut file, &Job::default()));
    match hashed {
        Ok((_, sha256)) if sha256 == item.sha256 && held.identity() == written => Verified::Yes,
        _ => Verified::No,
    }
}

fn exists(path: &DevicePath) -> Did {
    Did::Drift(format!("{path} is there now; nothing is replaced"))
}

#[cfg(test)]
mod tests;
