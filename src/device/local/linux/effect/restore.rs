//! Puts a quarantined file back where it was.
//!
//! Invariant: nothing is replaced, and the name appears only when content, owner, mode and times are right and durable.

use super::bytes;
use super::place::{Place, identity, size};
use super::record::{Folder, Kept, KeptFile, Phase, Quarantine, Standing};
use super::{Did, fault};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{DevicePath, FileIdentity, Job, Sha256, Step, Verified};
use rustix::io::Errno;
use std::fs::File;

/// What the person saw.
struct Wanted<'a> {
    path: &'a DevicePath,
    size_bytes: u64,
    sha256: &'a Sha256,
    mode: u32,
    uid: u32,
    gid: u32,
}

pub fn restore(order: Order, store: &Quarantine, job: &Job) -> Did {
    let Step::Restore { undo_id, path, size_bytes, sha256, mode, uid, gid } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to restore names no undo record"));
    };
    let wanted = Wanted { path, size_bytes: *size_bytes, sha256, mode: *mode, uid: *uid, gid: *gid };
    let (folder, kept, standing) = match take(store, undo_id) {
        Ok(taken) => taken,
        Err(did) => return did,
    };
    let Some(file) = kept.file.as_ref().filter(|f| kept.what.is_none() && wanted.is(f)) else {
        return Did::Drift(format!("the undo record {undo_id} is not the one that was approved"));
    };
    let put = match reach(file, path) {
        Err(did) => return did,
        Ok(place) if standing == Standing::Aside => move_back(file, &place),
        Ok(place) => write_back(file, &place, store, &kept, job),
    };
    match put {
        Err(did) => did,
        Ok((put, missed)) => finish(&wanted, put, &missed, folder, kept),
    }
}

impl Wanted<'_> {
    fn is(&self, file: &KeptFile) -> bool {
        let m = &file.metadata;
        file.path.as_ref() == Some(self.path)
            && file.size_bytes == self.size_bytes
            && file.sha256 == *self.sha256
            && (m.mode, m.uid, m.gid) == (self.mode, self.uid, self.gid)
    }
}

pub(super) fn take(store: &Quarantine, id: &crate::model::UndoId) -> Result<(Folder, Kept, Standing), Did> {
    // Before the lock: what is held by this very process would read as in progress.
    let (_, standing) = store.find(id).map_err(Did::Failed)?;
    let (folder, kept) = store.take(id).map_err(Did::Failed)?;
    match standing {
        s if s.is_undoable() && kept.phase != Phase::Restored => Ok((folder, kept, s)),
        Standing::NotDone => Err(Did::Failed(exists(&kept))),
        _ => Err(Did::Drift(format!("the undo record {id} was used meanwhile"))),
    }
}

/// The place, if its directory is still the one that the file lay in.
pub(super) fn reach(file: &KeptFile, path: &DevicePath) -> Result<Place, Did> {
    let gone = |what: &str| {
        Did::Failed(
            Error::new(ErrorCode::NotFound, format!("the directory {} {what}", path.parent()))
                .hint("the content stays in the quarantine"),
        )
    };
    let place = match Place::reach(path) {
        Ok(place) => place,
        Err(Errno::NOENT) => return Err(gone("is gone")),
        Err(Errno::NOTDIR | Errno::LOOP) => return Err(gone("is a link or a file now")),
        Err(e) => return Err(Did::Failed(Error::io(path, e.into()))),
    };
    // The image of a process was deleted before: nobody knows its directory's identity.
    if file.directory.is_some_and(|d| place.directory() != Ok(d)) {
        return Err(gone("is another one now"));
    }
    Ok(place)
}

/// Finishes what an interrupted quarantine left beside its place.
fn move_back(file: &KeptFile, place: &Place) -> Result<(FileIdentity, Vec<&'static str>), Did> {
    let aside = place.beside(&file.aside).map_err(|e| Did::Failed(Error::io(place.path.name(), e.into())))?;
    match aside.move_to(place) {
        Ok(()) => {
            let _ = place.sync();
            Ok((file.identity, Vec::new()))
        }
        Err(e) => Err(Did::Failed(unplaced(&place.path, e))),
    }
}

/// Writes the content to a file without a name, gives it everything it had, and only then the name.
fn write_back(
    file: &KeptFile,
    place: &Place,
    store: &Quarantine,
    kept: &Kept,
    job: &Job,
) -> Result<(FileIdentity, Vec<&'static str>), Did> {
    if place.look().is_ok() {
        return Err(Did::Failed(exists(kept)));
    }
    let mut content = store.content(&kept.undo_id).map_err(Did::Failed)?;
    let mut draft = place.draft(&file.aside).map_err(|e| Did::Failed(unplaced(&place.path, e)))?;
    let written = fill(&mut draft.file, &mut content, file, job).and_then(|missed| {
        fault("filled");
        draft.name(place).map_err(|e| unplaced(&place.path, e))?;
        fault("named");
        Ok(missed)
    });
    match written {
        Ok(missed) => {
            let _ = place.sync();
            let stat = rustix::fs::fstat(&draft.file).map_err(|e| Did::Failed(Error::io(&place.path, e.into())))?;
            Ok((identity(&stat), missed))
        }
        Err(e) => {
            draft.discard();
            Err(Did::Failed(e))
        }
    }
}

fn fill(draft: &mut File, content: &mut File, file: &KeptFile, job: &Job) -> Result<Vec<&'static str>> {
    let (size, sha256) = bytes::copy(content, draft, job)?;
    if size != file.size_bytes || sha256 != file.sha256 {
        return Err(Error::new(ErrorCode::StoreUnavailable, "the content in the quarantine is not what was put there")
            .hint("it was changed or damaged; nothing was restored"));
    }
    let missed = file.metadata.put_on(draft)?;
    draft.sync_all().map_err(|e| Error::io("the restored file", e))?;
    Ok(missed)
}

fn finish(wanted: &Wanted, put: FileIdentity, missed: &[&str], folder: Folder, mut kept: Kept) -> Did {
    let written = folder.write(&mut kept, Phase::Restored);
    let mut row = kept.row(Standing::Restored);
    if !missed.is_empty() {
        row.note = Some(crate::shape::Untrusted::new(format!("could not be put back: {}", missed.join(", "))));
    }
    match written {
        Ok(()) => Did::done(row, verify(wanted, put)),
        Err(e) => Did::unknown(row, e.message),
    }
}

/// Looks again, from the root.
fn verify(wanted: &Wanted, put: FileIdentity) -> Verified {
    let found = Place::reach(wanted.path).and_then(|p| p.hold());
    let Ok(held) = found else { return Verified::No };
    let s = &held.stat;
    let same = identity(s) == put
        && size(s) == wanted.size_bytes
        && (s.st_mode & 0o7777, s.st_uid, s.st_gid) == (wanted.mode, wanted.uid, wanted.gid);
    match held.open().and_then(|mut f| bytes::hash(&mut f, &Job::default())) {
        Ok((_, sha256)) if same && sha256 == *wanted.sha256 => Verified::Yes,
        Ok(_) => Verified::No,
        // Its own mode may forbid this account to read it.
        Err(_) if same => Verified::Unknown,
        Err(_) => Verified::No,
    }
}

fn exists(kept: &Kept) -> Error {
    let path = kept.path().map(ToString::to_string).unwrap_or_default();
    Error::new(ErrorCode::Exists, format!("{path} exists; nothing is replaced"))
        .hint("move or remediate what is there first")
}

pub(super) fn unplaced(path: &DevicePath, e: Errno) -> Error {
    match e {
        Errno::EXIST => Error::new(ErrorCode::Exists, format!("{path} exists; nothing is replaced"))
            .hint("move or remediate what is there first"),
        e => Error::io(format!("{path} cannot be put back"), e.into()),
    }
}
