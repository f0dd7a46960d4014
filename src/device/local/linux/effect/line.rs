//! Takes a line out of a file, and puts it back.
//!
//! Invariant: the file as it was is kept and durable before the new one takes its place. The time of its last change is
//! new, so that cron sees it.

use super::bytes::Metadata;
use super::exchange::{self, Old};
use super::place::{Held, Place, links};
use super::quarantine::{drift, find};
use super::record::{Folder, Kept, KeptFile, KeptLine, Phase, Quarantine, Swap, What};
use super::restore::take;
use super::{Did, fault};
use crate::device::local::linux::lines::{self, FILE_LIMIT};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{FileIdentity, FileTarget, LineTarget, PartOf, Sha256, Step};
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
    finish(target, &found, &cut.rest, &swapped, &folder, &mut kept, Phase::Removed)
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
            finish(target, &found, &whole, &swapped, &folder, &mut kept, Phase::Restored)
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

impl Found {
    fn old<'a>(&'a self, target: &'a FileTarget) -> Old<'a> {
        Old { target, place: &self.place, held: &self.held, source: &self.source }
    }
}

fn swap_in(
    target: &FileTarget,
    found: &Found,
    bytes: &[u8],
    folder: &Folder,
    kept: &mut Kept,
    phase: Phase,
) -> Result<Swap, Did> {
    let fill = &mut |mut draft: &File, _: &mut Kept| {
        draft.write_all(bytes).map_err(|e| Error::io(format!("the new {} cannot be written", target.path), e))
    };
    exchange::swap_in(&found.old(target), fill, folder, kept, phase)
}

fn finish(
    target: &FileTarget,
    found: &Found,
    bytes: &[u8],
    swap: &Swap,
    folder: &Folder,
    kept: &mut Kept,
    phase: Phase,
) -> Did {
    exchange::finish(&found.old(target), (swap, &Sha256::of(bytes)), folder, kept, phase, &|_| true)
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
