//! Moves a file into quarantine.
//!
//! Invariant: the content is kept and durable before the name changes; the name is moved aside, and only what lies
//! aside and has the approved identity and content is removed. Killed anywhere, `undo` brings the file back.

use super::bytes::{self, Metadata};
use super::place::{Held, Place, identity, links, size};
use super::record::{Folder, Kept, KeptFile, KeptProcess, Phase, Quarantine, Standing};
use super::{Did, fault};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{FileIdentity, FileTarget, Job, PartOf, ProcessTarget, Step, Verified};
use rustix::io::Errno;
use std::fs::File;

/// `stopped`: the process of the step before; the file may be its image.
pub fn quarantine(order: Order, stopped: Option<&ProcessTarget>, store: &Quarantine, job: &Job) -> Did {
    let Step::Quarantine { file: target, part_of } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to quarantine names no file"));
    };
    let (place, held) = match find(target, target.identity) {
        Ok(found) => found,
        Err(did) => return did,
    };
    let owner = stopped.filter(|p| p.image_identity == target.identity).map(|p| KeptProcess::of(p, false));
    let kept = begin(&order, target, owner, part_of.as_ref(), &place, &held)
        .and_then(|(kept, source)| keep(target, kept, source, store, job));
    match kept {
        Ok((folder, kept)) => remove(target, &place, folder, kept),
        Err(did) => did,
    }
}

/// The file of the plan, held; anything else is drift. `identity` is the one that it must have now.
pub(super) fn find(target: &FileTarget, identity: FileIdentity) -> Result<(Place, Held), Did> {
    let at = |e: Errno| match e {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => drift(target, "is not there any more"),
        e => Did::Failed(Error::io(&target.path, e.into())),
    };
    let place = Place::reach(&target.path).map_err(at)?;
    let held = place.hold().map_err(at)?;
    if held.identity() != identity || !held.is_regular() {
        return Err(drift(target, "is another file now"));
    }
    if held.size() != target.size_bytes {
        return Err(drift(target, &format!("has {} bytes now, not {}", held.size(), target.size_bytes)));
    }
    Ok((place, held))
}

fn begin(
    order: &Order,
    target: &FileTarget,
    owner: Option<KeptProcess>,
    part_of: Option<&PartOf>,
    place: &Place,
    held: &Held,
) -> Result<(Kept, File), Did> {
    let source = held.open().map_err(Did::Failed)?;
    let file = KeptFile {
        path: Some(target.path.clone()),
        directory: place.directory().ok(),
        aside: String::new(),
        identity: target.identity,
        size_bytes: target.size_bytes,
        sha256: target.sha256.clone(),
        metadata: Metadata::of(&source, &held.stat),
        links: links(&held.stat),
    };
    Ok((Kept { part_of: part_of.cloned(), ..Kept::begin(order, Some(file), owner) }, source))
}

/// Copies content and metadata; nothing of the file has changed when it returns.
fn keep(
    target: &FileTarget,
    mut kept: Kept,
    mut source: File,
    store: &Quarantine,
    job: &Job,
) -> Result<(Folder, Kept), Did> {
    let folder = store.create(&kept.undo_id).map_err(Did::Failed)?;
    match copy(target, &mut source, &folder, &mut kept, job) {
        Ok(()) => Ok((folder, kept)),
        Err(did) => {
            folder.discard();
            Err(did)
        }
    }
}

fn copy(target: &FileTarget, source: &mut File, folder: &Folder, kept: &mut Kept, job: &Job) -> Result<(), Did> {
    folder.write(kept, Phase::Begun).map_err(Did::Failed)?;
    fault("begun");
    let mut content = folder.create_content().map_err(Did::Failed)?;
    let (copied, sha256) = bytes::copy(source, &mut content, job).map_err(Did::Failed)?;
    if sha256 != target.sha256 || copied != target.size_bytes {
        return Err(drift(target, "has other content now"));
    }
    content.sync_all().map_err(|e| Did::Failed(Error::io("the copy in the quarantine", e)))?;
    folder.write(kept, Phase::Kept).map_err(Did::Failed)?;
    fault("kept");
    Ok(())
}

fn remove(target: &FileTarget, place: &Place, folder: Folder, mut kept: Kept) -> Did {
    let aside = match kept.file.as_ref().map(|f| place.beside(&f.aside)) {
        Some(Ok(aside)) => aside,
        _ => return untouched(folder, Error::new(ErrorCode::Internal, "there is no name to move the file to")),
    };
    match place.move_to(&aside) {
        Ok(()) => fault("aside"),
        Err(Errno::NOENT) => {
            folder.discard();
            return drift(target, "is not there any more");
        }
        Err(e) => return untouched(folder, immovable(target, e)),
    }
    if let Err(why) = check_aside(target, &aside) {
        return put_back(target, place, &aside, folder, &why);
    }
    if let Err(e) = aside.unlink() {
        let e = Error::io(format!("{} cannot be removed", target.path), e.into());
        return match aside.move_to(place) {
            Ok(()) => untouched(folder, e),
            Err(_) => Did::unknown(kept.row(Standing::Aside), e.message),
        };
    }
    fault("unlinked");
    let synced = place.sync();
    match folder.write(&mut kept, Phase::Removed).and(synced.map_err(|e| Error::io(&target.path, e.into()))) {
        Ok(()) => Did::done(kept.row(Standing::Quarantined), verify(target, &folder)),
        Err(e) => Did::unknown(kept.row(Standing::Quarantined), e.message),
    }
}

/// What was moved must be what was approved and what is kept.
fn check_aside(target: &FileTarget, aside: &Place) -> Result<(), String> {
    let held = aside.hold().map_err(|e| e.to_string())?;
    if held.identity() != target.identity || !held.is_regular() {
        return Err("is another file now".into());
    }
    // From here on a cancel would leave it half done.
    let (size, sha256) = held
        .open()
        .and_then(|mut file| bytes::hash(&mut file, &Job::default()))
        .map_err(|e| format!("cannot be read again: {}", e.message))?;
    if size != target.size_bytes || sha256 != target.sha256 {
        return Err("was written to in between".into());
    }
    Ok(())
}

fn put_back(target: &FileTarget, place: &Place, aside: &Place, folder: Folder, why: &str) -> Did {
    match aside.move_to(place) {
        Ok(()) => {
            folder.discard();
            drift(target, why)
        }
        // Something took the name in the meantime, and nothing may be replaced: both files stay.
        Err(_) => {
            folder.discard();
            drift(target, &format!("{why}; its name was taken meanwhile, so it lies as {}", aside.path))
        }
    }
}

fn untouched(folder: Folder, e: Error) -> Did {
    folder.discard();
    Did::Failed(e)
}

pub(super) fn immovable(target: &FileTarget, e: Errno) -> Error {
    let error = Error::io(format!("{} cannot be moved aside", target.path), e.into());
    match e {
        Errno::PERM | Errno::ACCESS => {
            error.hint("this account may not change the directory, or it is immutable or append-only (`lsattr -d`)")
        }
        Errno::INVAL => error.hint("its file system cannot move a name without the risk of replacing another"),
        Errno::ROFS => error.hint("its file system is mounted read-only"),
        _ => error,
    }
}

pub(super) fn drift(target: &FileTarget, what: &str) -> Did {
    Did::Drift(format!("{} {what}", target.path))
}

/// Looks again, from the root: the name is gone or leads to another file, and the quarantine holds the content.
fn verify(target: &FileTarget, folder: &Folder) -> Verified {
    let gone = match Place::reach(&target.path).and_then(|p| p.look()) {
        Ok(stat) => identity(&stat) != target.identity || size(&stat) != target.size_bytes,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => true,
        Err(_) => return Verified::Unknown,
    };
    match folder.check_content() {
        Ok((size, sha256)) if gone && size == target.size_bytes && sha256 == target.sha256 => Verified::Yes,
        _ => Verified::No,
    }
}
