//! Takes a line out of a file, and puts it back.
//!
//! Invariant: the file as it was is kept and durable first; the new file is complete and durable before the two change
//! places in one step; the old one goes only when it is the approved one. The time of its last change is new, so that
//! cron sees it.

use super::bytes::{self, Metadata};
use super::place::{Draft, Held, Place, identity, links};
use super::quarantine::{drift, find, immovable};
use super::record::{Folder, Kept, KeptFile, KeptLine, Phase, Quarantine, Standing, Swap, What, swap};
use super::restore::take;
use super::{Did, fault};
use crate::device::local::linux::lines::{self, FILE_LIMIT};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{FileIdentity, FileTarget, Job, LineTarget, PartOf, Sha256, Step, Verified};
use crate::shape::Untrusted;
use rustix::io::Errno;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};

/// Files of the plan that this run has put others in place of: several lines of one file are cut one after the other.
pub type Replaced = HashMap<FileIdentity, FileIdentity>;

/// The approved file, held and read.
struct Found {
    place: Place,
    held: Held,
    source: File,
    bytes: Vec<u8>,
}

pub fn cut(order: Order, replaced: &mut Replaced, store: &Quarantine) -> Did {
    let Step::CutLine { file: target, line, part_of } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to cut names no line"));
    };
    let found = match read(target, replaced) {
        Ok(found) => found,
        Err(did) => return did,
    };
    let Some(cut) = lines::cut(&found.bytes, line.number).filter(|cut| lines::shown(&cut.text) == line.text) else {
        return drift(target, &format!("has another line {}", line.number));
    };
    let kept = announced(&order, target, &found, part_of, KeptLine::new(line.number, &cut));
    let (folder, mut kept) = match keep(kept, &found, store) {
        Ok(kept) => kept,
        Err(e) => return Did::Failed(e),
    };
    let swapped = match swap_in(target, &found, &cut.rest, &folder, &mut kept, Phase::Kept) {
        Ok(swapped) => swapped,
        Err(did) => {
            folder.discard();
            return did;
        }
    };
    replaced.insert(target.identity, swapped.new);
    finish(target, &found.place, &cut.rest, &swapped, folder, kept, Phase::Removed)
}

pub fn put(order: Order, replaced: &mut Replaced, store: &Quarantine) -> Did {
    let Step::PutLine { undo_id, file: target, line } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to put a line back names none"));
    };
    let (folder, mut kept, _) = match take(store, undo_id) {
        Ok(taken) => taken,
        Err(did) => return did,
    };
    let Some(text) = recorded(&kept, target, line) else {
        return Did::Drift(format!("the undo record {undo_id} is not the one that was approved"));
    };
    let found = match read(target, replaced) {
        Ok(found) => found,
        Err(did) => return did,
    };
    let whole = lines::put(&found.bytes, line.number, &text.text(), text.is_ended);
    match swap_in(target, &found, &whole, &folder, &mut kept, Phase::Restoring) {
        Ok(swapped) => {
            replaced.insert(target.identity, swapped.new);
            finish(target, &found.place, &whole, &swapped, folder, kept, Phase::Restored)
        }
        Err(did) => {
            // Nothing was put back: the line is still cut.
            kept.swap = None;
            match folder.write(&mut kept, Phase::Removed) {
                Ok(()) => did,
                Err(e) => Did::Failed(e),
            }
        }
    }
}

/// The recorded line, if the record is that of the approved file and line.
fn recorded(kept: &Kept, target: &FileTarget, line: &LineTarget) -> Option<KeptLine> {
    let Some(What::Line(text)) = &kept.what else { return None };
    let is_it = kept.path() == Some(&target.path) && text.number == line.number;
    (is_it && lines::shown(&text.text()) == line.text).then(|| text.clone())
}

/// The file of the plan with the content of the plan; anything else is drift.
fn read(target: &FileTarget, replaced: &Replaced) -> Result<Found, Did> {
    let identity = replaced.get(&target.identity).copied().unwrap_or(target.identity);
    let (place, held) = find(target, identity)?;
    if held.size() > FILE_LIMIT {
        let message =
            format!("{} has {} bytes, the limit for one line of it is {FILE_LIMIT}", target.path, held.size());
        return Err(Did::Failed(Error::new(ErrorCode::TooLarge, message)));
    }
    let source = held.open().map_err(Did::Failed)?;
    let mut bytes = Vec::new();
    (&source)
        .take(FILE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Did::Failed(Error::io(format!("{} cannot be read", target.path), e)))?;
    match Sha256::of(&bytes) == target.sha256 {
        true => Ok(Found { place, held, source, bytes }),
        false => Err(drift(target, "has other content now")),
    }
}

fn announced(order: &Order, target: &FileTarget, found: &Found, part_of: &PartOf, line: KeptLine) -> Kept {
    let file = KeptFile {
        path: Some(target.path.clone()),
        directory: found.place.directory().ok(),
        aside: String::new(),
        identity: found.held.identity(),
        size_bytes: target.size_bytes,
        sha256: target.sha256.clone(),
        metadata: Metadata::of(&found.source, &found.held.stat),
        links: links(&found.held.stat),
    };
    let begun = Kept::begin(order, Some(file), None);
    Kept { part_of: Some(part_of.clone()), what: Some(What::Line(line)), ..begun }
}

/// Keeps the whole file; nothing of it has changed when it returns.
fn keep(mut kept: Kept, found: &Found, store: &Quarantine) -> Result<(Folder, Kept)> {
    let folder = store.create(&kept.undo_id)?;
    let written = folder.write(&mut kept, Phase::Begun).and_then(|()| {
        fault("line_begun");
        let mut content = folder.create_content()?;
        let full = |e| Error::new(ErrorCode::StoreUnavailable, format!("the copy cannot be written: {e}"));
        content
            .write_all(&found.bytes)
            .and_then(|()| content.sync_all())
            .map_err(|e| full(e).hint("free space where the quarantine lies and ask again; the file is untouched"))
    });
    match written {
        Ok(()) => Ok((folder, kept)),
        Err(e) => {
            folder.discard();
            Err(e)
        }
    }
}

/// Writes the new file, announces the swap and does it. What it gives was swapped; an error left the place as it was.
fn swap_in(
    target: &FileTarget,
    found: &Found,
    bytes: &[u8],
    folder: &Folder,
    kept: &mut Kept,
    phase: Phase,
) -> Result<Swap, Did> {
    let aside = kept.file.as_ref().map(|f| found.place.beside(&f.aside));
    let Some(Ok(aside)) = aside else {
        return Err(Did::Failed(Error::new(ErrorCode::Internal, "there is no name for the new file")));
    };
    let draft = found.place.draft(&kept.file.as_ref().map(|f| f.aside.clone()).unwrap_or_default());
    let draft = draft.map_err(|e| Did::Failed(immovable(target, e)))?;
    let ready = fill(&draft, bytes, found, target).and_then(|new| {
        let swap = Swap { old: found.held.identity(), old_sha256: target.sha256.clone(), new };
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
    if let Err(e) = aside.exchange(&found.place) {
        let _ = aside.unlink();
        return Err(match e {
            Errno::NOENT => drift(target, "is not there any more"),
            e => Did::Failed(immovable(target, e)),
        });
    }
    fault("exchanged");
    match check_aside(&swap, &aside) {
        Ok(()) => Ok(swap),
        Err(why) => Err(swap_back(target, &found.place, &aside, &swap, &why)),
    }
}

fn fill(draft: &Draft, bytes: &[u8], found: &Found, target: &FileTarget) -> Result<FileIdentity> {
    let unwritten = |e| Error::io(format!("the new {} cannot be written", target.path), e);
    (&draft.file).write_all(bytes).map_err(unwritten)?;
    Metadata::of(&found.source, &found.held.stat).put_on_changed(&draft.file)?;
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

fn finish(
    target: &FileTarget,
    place: &Place,
    bytes: &[u8],
    swap: &Swap,
    folder: Folder,
    mut kept: Kept,
    phase: Phase,
) -> Did {
    let left = kept.file.as_ref().and_then(|f| place.beside(&f.aside).ok()).map(|aside| aside.unlink());
    fault("old_unlinked");
    let synced = place.sync().map_err(|e| Error::io(&target.path, e.into()));
    let written = folder.write(&mut kept, phase).and(synced);
    let standing = if phase == Phase::Restored { Standing::Restored } else { Standing::Cut };
    let mut row = kept.row(standing);
    if !matches!(left, Some(Ok(()))) {
        row.note = Some(Untrusted::new("the file as it was lies beside it and could not be removed"));
    }
    match written {
        Ok(()) => Did::done(row, verify(target, bytes, swap)),
        Err(e) => Did::unknown(row, e.message),
    }
}

/// Looks again, from the root.
fn verify(target: &FileTarget, bytes: &[u8], swap: &Swap) -> Verified {
    let Ok(held) = Place::reach(&target.path).and_then(|p| p.hold()) else { return Verified::No };
    let s = &held.stat;
    let same = held.identity() == swap.new
        && (s.st_mode & 0o7777, s.st_uid, s.st_gid) == (target.mode, target.uid, target.gid);
    match held.open().and_then(|mut f| bytes::hash(&mut f, &Job::default())) {
        Ok((_, sha256)) if same && sha256 == Sha256::of(bytes) => Verified::Yes,
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
