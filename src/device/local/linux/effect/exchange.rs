//! Puts a new file in the place of one that is held, in one step.
//!
//! Invariant: the new file is complete and durable, and the swap on record, before the two change places; the old one goes
//! only when it is the approved one.

use super::bytes::{self, Metadata};
use super::place::{Draft, Held, Place, identity};
use super::quarantine::{drift, immovable};
use super::record::{Folder, Kept, Phase, Standing, Swap, swap};
use super::{Did, fault};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{FileIdentity, FileTarget, Job, Sha256, Verified};
use crate::shape::Untrusted;
use rustix::io::Errno;
use std::fs::File;

/// The approved file, held.
pub struct Old<'a> {
    pub target: &'a FileTarget,
    pub place: &'a Place,
    pub held: &'a Held,
    pub source: &'a File,
}

/// Writes the new file's bytes, and into the record what must be known of them.
pub type Fill<'a> = dyn FnMut(&File, &mut Kept) -> Result<()> + 'a;

/// Writes the new file, announces the swap and does it. What it gives was swapped; an error left the place as it was.
pub fn swap_in(
    old: &Old<'_>,
    fill: &mut Fill<'_>,
    folder: &Folder,
    kept: &mut Kept,
    phase: Phase,
) -> Result<Swap, Did> {
    let (target, place) = (old.target, old.place);
    let name = kept.file.as_ref().map(|f| f.aside.clone()).unwrap_or_default();
    let Ok(aside) = place.beside(&name) else {
        return Err(Did::Failed(Error::new(ErrorCode::Internal, "there is no name for the new file")));
    };
    let draft = place.draft(&name).map_err(|e| Did::Failed(immovable(target, e)))?;
    let ready = fill(&draft.file, kept).and_then(|()| settle(&draft, old)).and_then(|new| {
        let swap = Swap { old: old.held.identity(), old_sha256: target.sha256.clone(), new };
        kept.swap = Some(swap.clone());
        folder.write(kept, phase)?;
        fault("swap_announced");
        draft.name(&aside).map_err(|e| immovable(target, e))?;
        Ok(swap)
    });
    let swap = match ready {
        Ok(swap) => swap,
        Err(e) => {
            draft.discard();
            return Err(Did::Failed(e));
        }
    };
    fault("beside");
    if let Err(e) = aside.exchange(place) {
        let _ = aside.unlink();
        return Err(match e {
            Errno::NOENT => drift(target, "is not there any more"),
            e => Did::Failed(immovable(target, e)),
        });
    }
    fault("exchanged");
    match check_aside(&swap, &aside) {
        Ok(()) => Ok(swap),
        Err(why) => Err(swap_back(target, place, &aside, &swap, &why)),
    }
}

/// Gives the new file what the old one has beside its bytes, and makes it durable.
fn settle(draft: &Draft, old: &Old<'_>) -> Result<FileIdentity> {
    let unwritten = |e| Error::io(format!("the new {} cannot be written", old.target.path), e);
    Metadata::of(old.source, &old.held.stat).put_on_changed(&draft.file)?;
    draft.file.sync_all().map_err(unwritten)?;
    rustix::fs::fstat(&draft.file).map(|s| identity(&s)).map_err(|e| unwritten(e.into()))
}

/// What was swapped out must be what was approved and what is kept.
fn check_aside(swap: &Swap, aside: &Place) -> Result<(), String> {
    let held = aside.hold().map_err(|e| e.to_string())?;
    if held.identity() != swap.old || !held.is_regular() {
        return Err("is another file now".into());
    }
    // From here on a cancel would leave it half done.
    let read = held.open().and_then(|mut file| bytes::hash(&mut file, &Job::default()));
    match read.map_err(|e| format!("cannot be read again: {}", e.message))?.1 == swap.old_sha256 {
        true => Ok(()),
        false => Err("was written to in between".into()),
    }
}

/// Brings back what was swapped out and was not the approved file.
fn swap_back(target: &FileTarget, place: &Place, aside: &Place, swap: &Swap, why: &str) -> Did {
    let is_ours = |at: &Place| at.look().is_ok_and(|s| identity(&s) == swap.new);
    if aside.exchange(place).is_ok() && is_ours(aside) {
        let _ = aside.unlink();
        let _ = place.sync();
        return drift(target, why);
    }
    if place.look().is_err() && aside.move_to(place).is_ok() {
        let _ = place.sync();
        return drift(target, why);
    }
    // A third file took the name in the meantime and keeps it.
    if !is_ours(aside) {
        let _ = aside.exchange(place);
    }
    if is_ours(aside) {
        let _ = aside.unlink();
        return drift(target, why);
    }
    drift(target, &format!("{why}; it was replaced once more, so a file of that name lies as {}", aside.path))
}

/// Takes the old file away and puts on record that it is done. `look` is asked at the end, with the file read anew.
pub fn finish(
    old: &Old<'_>,
    new: (&Swap, &Sha256),
    folder: &Folder,
    kept: &mut Kept,
    phase: Phase,
    look: &dyn Fn(&File) -> bool,
) -> Did {
    let (target, place) = (old.target, old.place);
    let left = kept.file.as_ref().and_then(|f| place.beside(&f.aside).ok()).map(|aside| aside.unlink());
    fault("old_unlinked");
    let synced = place.sync().map_err(|e| Error::io(&target.path, e.into()));
    let written = folder.write(kept, phase).and(synced);
    let mut row = kept.row(if phase == Phase::Restored { Standing::Restored } else { Standing::Cut });
    if !matches!(left, Some(Ok(()))) {
        row.note = Some(Untrusted::new("the file as it was lies beside it and could not be removed"));
    }
    match written {
        Ok(()) => Did::done(row, verify(target, new, look)),
        Err(e) => Did::unknown(row, e.message),
    }
}

/// Looks again, from the root.
fn verify(target: &FileTarget, (swap, sha256): (&Swap, &Sha256), look: &dyn Fn(&File) -> bool) -> Verified {
    let Ok(held) = Place::reach(&target.path).and_then(|p| p.hold()) else { return Verified::No };
    let s = &held.stat;
    let same = held.identity() == swap.new
        && (s.st_mode & 0o7777, s.st_uid, s.st_gid) == (target.mode, target.uid, target.gid);
    let read = held.open().and_then(|mut f| Ok((bytes::hash(&mut f, &Job::default())?.1, f)));
    match read {
        Ok((found, file)) if same && found == *sha256 && look(&file) => Verified::Yes,
        Ok(_) => Verified::No,
        Err(_) if same => Verified::Unknown,
        Err(_) => Verified::No,
    }
}

/// Takes away what a swap that died left beside its place: the file that never took it, or the approved one that did
/// give way. Any other file stays.
pub fn tidy(kept: &Kept) {
    let Some((swap, _, aside)) = swap::places(kept) else { return };
    let Ok(found) = aside.look().map(|s| identity(&s)) else { return };
    let is_old = || check_aside(swap, &aside).is_ok();
    let is_ours = match swap::lies(kept) {
        swap::Lies::New => found == swap.old && is_old(),
        _ => found == swap.new,
    };
    if is_ours {
        let _ = aside.unlink();
    }
}
