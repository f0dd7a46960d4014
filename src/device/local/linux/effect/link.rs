//! Takes a symlink away and puts it back; masks a unit and lifts the mask.
//!
//! Invariant: a link is moved aside and looked at before it goes, and nothing is ever replaced.

use super::bytes::{Metadata, Time};
use super::place::{Place, identity};
use super::record::{Folder, Kept, KeptFile, Phase, Quarantine, Standing, What};
use super::restore::{reach, take, unplaced};
use super::{Did, fault};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{DevicePath, FileIdentity, PartOf, Sha256, Step, Verified};
use rustix::fs::{AtFlags, FileType, Gid, Uid};
use rustix::io::Errno;

/// What a mask leads to.
pub const NULL: &[u8] = b"/dev/null";

pub fn remove(order: Order, store: &Quarantine) -> Did {
    let Step::RemoveLink { link, part_of } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to take a link away names none"));
    };
    let place = match Place::reach(&link.path) {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return drift(&link.path, "is not there any more"),
        Err(e) => return Did::Failed(Error::io(&link.path, e.into())),
    };
    if !is_it(&place, link.identity, &link.target) {
        return drift(&link.path, "is another link now, or none");
    }
    let owner = (link.uid, link.gid);
    let file = kept_link(&link.path, &place, link.identity, &link.target, owner);
    let what = What::Link { target: link.target.clone() };
    let (folder, kept) = match announce(&order, file, what, part_of, store) {
        Ok(announced) => announced,
        Err(e) => return Did::Failed(e),
    };
    fault("link_announced");
    match take_away(&place, &kept, link.identity, &link.target) {
        Ok(()) => finish(&place, folder, kept, Phase::Removed, Standing::Unlinked, |place| place.look().is_err()),
        Err(did) => {
            folder.discard();
            did
        }
    }
}

pub fn restore(order: Order, store: &Quarantine) -> Did {
    let Step::RestoreLink { undo_id, path, target, uid, gid } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to put a link back names none"));
    };
    let (folder, kept, standing) = match take(store, undo_id) {
        Ok(taken) => taken,
        Err(did) => return did,
    };
    let recorded = matches!(&kept.what, Some(What::Link { target: t }) if t == target);
    let Some(file) = kept.file.as_ref().filter(|f| recorded && is_recorded(f, path, (*uid, *gid))) else {
        return Did::Drift(format!("the undo record {undo_id} is not the one that was approved"));
    };
    let place = match reach(file, path) {
        Ok(place) => place,
        Err(did) => return did,
    };
    let put = match place.beside(&file.aside) {
        Ok(aside) if standing == Standing::Aside => aside.move_to(&place),
        Ok(aside) => make(&place, &aside, target, Some((*uid, *gid))),
        Err(e) => Err(e),
    };
    if let Err(e) = put {
        return Did::Failed(unplaced(path, e));
    }
    fault("link_put");
    finish(&place, folder, kept, Phase::Restored, Standing::Restored, |place| leads_to(place, target))
}

pub fn mask(order: Order, store: &Quarantine) -> Did {
    let Step::Mask { path, part_of } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to mask names no unit"));
    };
    let place = match Place::reach(path) {
        Ok(place) => place,
        Err(e) => return Did::Failed(Error::io(path, e.into())),
    };
    if place.look().is_ok() {
        return drift(path, "is there now");
    }
    let null = DevicePath::new(NULL);
    let file = kept_link(path, &place, FileIdentity { device: 0, inode: 0 }, &null, (0, 0));
    let (folder, kept) = match announce(&order, file, What::Mask, part_of, store) {
        Ok(announced) => announced,
        Err(e) => return Did::Failed(e),
    };
    fault("mask_announced");
    let made = match kept.file.as_ref().map(|f| place.beside(&f.aside)) {
        Some(Ok(aside)) => make(&place, &aside, &null, None),
        _ => Err(Errno::INVAL),
    };
    if let Err(e) = made {
        folder.discard();
        return Did::Failed(unplaced(path, e));
    }
    fault("masked");
    finish(&place, folder, kept, Phase::Removed, Standing::Masked, |place| leads_to(place, &null))
}

pub fn unmask(order: Order, store: &Quarantine) -> Did {
    let Step::Unmask { undo_id, path } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to lift a mask names none"));
    };
    let (folder, kept, _) = match take(store, undo_id) {
        Ok(taken) => taken,
        Err(did) => return did,
    };
    if kept.path() != Some(path) || kept.what != Some(What::Mask) {
        return Did::Drift(format!("the undo record {undo_id} is not the one that was approved"));
    }
    let place = match Place::reach(path) {
        Ok(place) => place,
        Err(e) => return Did::Failed(Error::io(path, e.into())),
    };
    let null = DevicePath::new(NULL);
    let found = match place.look() {
        Ok(stat) if leads_to(&place, &null) => identity(&stat),
        _ => return drift(path, "is no mask any more"),
    };
    match take_away(&place, &kept, found, &null) {
        Ok(()) => finish(&place, folder, kept, Phase::Restored, Standing::Unmasked, |place| place.look().is_err()),
        Err(did) => did,
    }
}

fn kept_link(
    path: &DevicePath,
    place: &Place,
    identity: FileIdentity,
    target: &DevicePath,
    owner: (u32, u32),
) -> KeptFile {
    let time = Time { seconds: 0, nanos: 0 };
    let (uid, gid) = owner;
    let (flags, xattrs) = (0, Vec::new());
    KeptFile {
        path: Some(path.clone()),
        directory: place.directory().ok(),
        aside: String::new(),
        identity,
        size_bytes: u64::try_from(target.as_bytes().len()).unwrap_or(0),
        sha256: Sha256::of(target.as_bytes()),
        metadata: Metadata { mode: 0o777, uid, gid, accessed: time, modified: time, flags, xattrs },
        links: 1,
    }
}

fn announce(order: &Order, file: KeptFile, what: What, part_of: &PartOf, store: &Quarantine) -> Result<(Folder, Kept)> {
    let begun = Kept::begin(order, Some(file), None);
    let mut kept = Kept { part_of: Some(part_of.clone()), what: Some(what), ..begun };
    let folder = store.create(&kept.undo_id)?;
    match folder.write(&mut kept, Phase::Kept) {
        Ok(()) => Ok((folder, kept)),
        Err(e) => {
            folder.discard();
            Err(e)
        }
    }
}

/// Moves the link aside, looks at it there, and only then takes it away. An error left it in its place.
fn take_away(place: &Place, kept: &Kept, identity: FileIdentity, target: &DevicePath) -> Result<(), Did> {
    let Some(Ok(aside)) = kept.file.as_ref().map(|f| place.beside(&f.aside)) else {
        return Err(Did::Failed(Error::new(ErrorCode::Internal, "there is no name to move the link to")));
    };
    match place.move_to(&aside) {
        Ok(()) => fault("link_aside"),
        Err(Errno::NOENT) => return Err(drift(&place.path, "is not there any more")),
        Err(e) => return Err(Did::Failed(Error::io(format!("{} cannot be moved aside", place.path), e.into()))),
    }
    if !is_it(&aside, identity, target) {
        return Err(match aside.move_to(place) {
            Ok(()) => drift(&place.path, "is another link now, or none"),
            Err(_) => {
                drift(&place.path, &format!("is another one now, its name was taken, and it lies as {}", aside.path))
            }
        });
    }
    match aside.unlink() {
        Ok(()) => {
            fault("link_unlinked");
            Ok(())
        }
        Err(e) => {
            let _ = aside.move_to(place);
            Err(Did::Failed(Error::io(format!("{} cannot be removed", place.path), e.into())))
        }
    }
}

/// Takes away what a mask that died left beside its place.
pub fn tidy(kept: &Kept) {
    let Some(file) = &kept.file else { return };
    let aside = file.path.as_ref().and_then(|p| Place::reach(p).ok()).and_then(|p| p.beside(&file.aside).ok());
    if let Some(aside) = aside.filter(|a| leads_to(a, &DevicePath::new(NULL))) {
        let _ = aside.unlink();
    }
}

/// Makes a link under another name, and only then in its place.
fn make(place: &Place, aside: &Place, target: &DevicePath, owner: Option<(u32, u32)>) -> Result<(), Errno> {
    // What an interrupted deed left there is ours: nobody else makes such a name.
    if leads_to(aside, target) {
        let _ = aside.unlink();
    }
    rustix::fs::symlinkat(target.as_bytes(), &aside.dir, aside.name.as_slice())?;
    let owned = owner.map_or(Ok(()), |(uid, gid)| {
        let is_so = aside.look().is_ok_and(|s| (s.st_uid, s.st_gid) == (uid, gid));
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        if is_so { Ok(()) } else { rustix::fs::chownat(&aside.dir, aside.name.as_slice(), uid, gid, flags) }
    });
    owned.and_then(|()| aside.move_to(place)).inspect_err(|_| {
        let _ = aside.unlink();
    })
}

fn finish(
    place: &Place,
    folder: Folder,
    mut kept: Kept,
    phase: Phase,
    standing: Standing,
    is_so: impl Fn(&Place) -> bool,
) -> Did {
    let synced = place.sync().map_err(|e| Error::io(&place.path, e.into()));
    match folder.write(&mut kept, phase).and(synced) {
        Ok(()) => {
            // Looks again, from the root.
            let verified = match Place::reach(&place.path) {
                Ok(again) if is_so(&again) => Verified::Yes,
                Ok(_) => Verified::No,
                Err(_) => Verified::Unknown,
            };
            Did::done(kept.row(standing), verified)
        }
        Err(e) => Did::unknown(kept.row(standing), e.message),
    }
}

fn is_recorded(file: &KeptFile, path: &DevicePath, owner: (u32, u32)) -> bool {
    file.path.as_ref() == Some(path) && (file.metadata.uid, file.metadata.gid) == owner
}

fn is_it(place: &Place, wanted: FileIdentity, target: &DevicePath) -> bool {
    let is_link = |s: &rustix::fs::Stat| FileType::from_raw_mode(s.st_mode) == FileType::Symlink;
    place.look().is_ok_and(|s| identity(&s) == wanted && is_link(&s)) && leads_to(place, target)
}

/// Whether the name is a symlink that says exactly this.
pub fn leads_to(place: &Place, target: &DevicePath) -> bool {
    rustix::fs::readlinkat(&place.dir, place.name.as_slice(), Vec::new())
        .is_ok_and(|t| t.as_bytes() == target.as_bytes())
}

fn drift(path: &DevicePath, what: &str) -> Did {
    Did::Drift(format!("{path} {what}"))
}
