//! Takes a value out of a copy of a registry hive, and puts it back.
//!
//! Invariant: the hive as it was is kept whole and durable before the new one takes its place, and the new one differs
//! from it by this value alone; what is not the approved hive and value is left as it is.

use super::bytes::{self, Metadata};
use super::exchange::{self, Old};
use super::place::{Held, Place, links};
use super::quarantine::{drift, find};
use super::record::{Folder, Kept, KeptFile, KeptValue, Phase, Quarantine, What};
use super::restore::take;
use super::{Did, fault};
use crate::device::local::registry::{DATA_LIMIT, Edit, Hive, Key, Value, kind_name};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{FileIdentity, FileTarget, Job, PartOf, Sha256, Step, Timestamp, UndoId, ValueTarget};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

/// What this run has made of the hives of the plan, by what they were.
pub type Hives = HashMap<FileIdentity, FileTarget>;

/// The approved hive, held.
struct Found {
    target: FileTarget,
    place: Place,
    held: Held,
    source: File,
}

impl Found {
    /// Anything but the hive of the plan, or what steps before made of it, is drift.
    fn of(target: &FileTarget, hives: &Hives, job: &Job) -> Result<Found, Did> {
        let target = hives.get(&target.identity).unwrap_or(target).clone();
        let (place, held) = find(&target, target.identity)?;
        let mut source = held.open().map_err(Did::Failed)?;
        let (_, sha256) = bytes::hash(&mut source, job).map_err(Did::Failed)?;
        match sha256 == target.sha256 {
            true => Ok(Found { target, place, held, source }),
            false => Err(drift(&target, "has other content now")),
        }
    }

    fn old(&self) -> Old<'_> {
        Old { target: &self.target, place: &self.place, held: &self.held, source: &self.source }
    }

    fn reader(&self) -> Result<Arc<File>> {
        self.source.try_clone().map(Arc::new).map_err(|e| Error::io(&self.target.path, e))
    }

    fn hive(&self, job: &Job) -> Result<Hive> {
        read(self.reader()?, job)
    }
}

/// Looks at a hive that was written, by its own handle.
fn looks(file: &File, is_as_wanted: &dyn Fn(&Hive, &Job) -> Result<bool>) -> bool {
    let job = Job::default();
    let hive = file.try_clone().ok().and_then(|file| read(Arc::new(file), &job).ok());
    hive.is_some_and(|hive| is_as_wanted(&hive, &job).unwrap_or(false))
}

fn read(file: Arc<File>, job: &Job) -> Result<Hive> {
    Hive::open("the hive", file, Vec::new(), job).map(|opened| opened.hive)
}

/// The approved value; `None` where there is another one, none, or more than one of that name.
fn value(hive: &Hive, wanted: &ValueTarget, job: &Job) -> Result<Option<(Key, Value)>> {
    let Some(key) = key(hive, wanted, job)? else { return Ok(None) };
    let mut named = hive.values(&key).filter(|v| v.name.as_str() == wanted.name);
    let (Some(value), None) = (named.next(), named.next()) else { return Ok(None) };
    let data = hive.data(&value, DATA_LIMIT);
    let same = kind_name(value.kind) == wanted.kind
        && data.whole
        && u64::from(value.size) == wanted.size_bytes
        && Sha256::of(&data.bytes) == wanted.sha256;
    Ok(same.then_some((key, value)))
}

/// The one key of exactly these names.
fn key(hive: &Hive, wanted: &ValueTarget, job: &Job) -> Result<Option<Key>> {
    let mut key = hive.root().clone();
    for name in &wanted.key {
        job.check()?;
        let mut named = hive.subkeys(&key, job)?.filter(|k| k.name.as_str() == name);
        let (Some(found), None) = (named.next(), named.next()) else { return Ok(None) };
        key = found;
    }
    Ok(Some(key))
}

pub fn cut(order: Order, hives: &mut Hives, store: &Quarantine, job: &Job) -> Did {
    let Step::CutValue { hive: planned, value: wanted, part_of } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to take a value out names none"));
    };
    let found = match Found::of(planned, hives, job) {
        Ok(found) => found,
        Err(did) => return did,
    };
    let edited = match without(&found, wanted, job) {
        Ok(Some(edited)) => edited,
        Ok(None) => return drift(&found.target, &format!("has another value {}", wanted.path())),
        Err(e) => return Did::Failed(e),
    };
    let (folder, mut kept) = match keep(announced(&order, &found, wanted, part_of), &found, store, job) {
        Ok(kept) => kept,
        Err(did) => return did,
    };
    let mut new = (0, found.target.sha256.clone());
    let fill = &mut |draft: &File, kept: &mut Kept| {
        new = write(&edited, draft, job)?;
        kept.what = Some(What::Value(KeptValue { value: wanted.clone(), after: Some(new.1.clone()) }));
        Ok(())
    };
    let swap = match exchange::swap_in(&found.old(), fill, &folder, &mut kept, Phase::Kept) {
        Ok(swap) => swap,
        Err(did) => {
            folder.discard();
            return did;
        }
    };
    remember(hives, planned, &found, swap.new, &new);
    let is_gone = |file: &File| {
        looks(file, &|hive, job| {
            let key = key(hive, wanted, job)?;
            Ok(key.is_some_and(|key| hive.values(&key).all(|v| v.name.as_str() != wanted.name)))
        })
    };
    exchange::finish(&found.old(), (&swap, &new.1), &folder, &mut kept, Phase::Removed, &is_gone)
}

pub fn put(order: Order, hives: &mut Hives, store: &Quarantine, job: &Job) -> Did {
    let Step::PutValue { undo_id, hive: planned, value: wanted, whole } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to put a value back names none"));
    };
    let (folder, mut kept, _) = match take(store, undo_id) {
        Ok(taken) => taken,
        Err(did) => return did,
    };
    let recorded = match (&kept.what, &kept.file) {
        (Some(What::Value(recorded)), Some(file))
            if recorded.value == *wanted && file.path.as_ref() == Some(&planned.path) =>
        {
            (recorded.clone(), file.clone())
        }
        _ => return Did::Drift(format!("the undo record {undo_id} is not the one that was approved")),
    };
    let found = match Found::of(planned, hives, job) {
        Ok(found) => found,
        Err(did) => return did,
    };
    let mut new = (0, found.target.sha256.clone());
    let swapped = match *whole {
        true if recorded.0.after.as_ref() != Some(&found.target.sha256) => {
            Err(drift(&found.target, "is not what was left when the value was taken out"))
        }
        true => {
            let fill = &mut |draft: &File, _: &mut Kept| {
                new = write_kept(&recorded.1, undo_id, store, draft, job)?;
                Ok(())
            };
            exchange::swap_in(&found.old(), fill, &folder, &mut kept, Phase::Restoring)
        }
        false => with(&found, wanted, undo_id, store, job).and_then(|edited| {
            let fill = &mut |draft: &File, _: &mut Kept| {
                new = write(&edited, draft, job)?;
                Ok(())
            };
            exchange::swap_in(&found.old(), fill, &folder, &mut kept, Phase::Restoring)
        }),
    };
    match swapped {
        Ok(swap) => {
            remember(hives, planned, &found, swap.new, &new);
            let is_there = |file: &File| looks(file, &|hive, job| Ok(value(hive, wanted, job)?.is_some()));
            exchange::finish(&found.old(), (&swap, &new.1), &folder, &mut kept, Phase::Restored, &is_there)
        }
        Err(did) => {
            // Nothing was put back: the value is still out.
            kept.swap = None;
            match folder.write(&mut kept, Phase::Removed) {
                Ok(()) => did,
                Err(e) => Did::Failed(e),
            }
        }
    }
}

/// The hive without the approved value; `None` where there is another one.
fn without(found: &Found, wanted: &ValueTarget, job: &Job) -> Result<Option<Hive>> {
    let hive = found.hive(job)?;
    let Some((key, value)) = value(&hive, wanted, job)? else { return Ok(None) };
    let edit = hive.without(&key, &value, Timestamp::now())?;
    edited(&hive, found, edit).map(Some)
}

/// The hive with the value of the kept one.
fn with(found: &Found, wanted: &ValueTarget, id: &UndoId, store: &Quarantine, job: &Job) -> Result<Hive, Did> {
    let content = store.content(id).map_err(Did::Failed)?;
    let (kept, hive) = (read(Arc::new(content), job).map_err(Did::Failed)?, found.hive(job).map_err(Did::Failed)?);
    let Some((_, value)) = value(&kept, wanted, job).map_err(Did::Failed)? else {
        return Err(Did::Failed(
            Error::new(ErrorCode::StoreUnavailable, "the kept hive does not hold the value any more")
                .hint("it was changed or damaged; nothing was put back"),
        ));
    };
    let Some(key) = key(&hive, wanted, job).map_err(Did::Failed)? else {
        return Err(drift(&found.target, &format!("has no key {} any more", wanted.key.join("\\"))));
    };
    if hive.value(&key, &wanted.name).is_some() {
        return Err(drift(&found.target, &format!("has a value {} again", wanted.path())));
    }
    let edit = hive.with(&key, &kept, &value, Timestamp::now()).map_err(Did::Failed)?;
    edited(&hive, found, edit).map_err(Did::Failed)
}

fn edited(hive: &Hive, found: &Found, edit: Edit) -> Result<Hive> {
    hive.edited("the hive", found.reader()?, edit)
}

/// Size and hash of what was written, read back.
fn write(hive: &Hive, mut draft: &File, job: &Job) -> Result<(u64, Sha256)> {
    let mut buffered = std::io::BufWriter::with_capacity(256 * 1024, &mut draft);
    let written = hive.write_to(&mut buffered, job)?;
    buffered.flush().map_err(|e| Error::io("the new hive cannot be written", e))?;
    drop(buffered);
    read_back(draft, written, job)
}

fn read_back(draft: &File, written: (u64, Sha256), job: &Job) -> Result<(u64, Sha256)> {
    let mut again = draft.try_clone().map_err(|e| Error::io("the new hive cannot be read back", e))?;
    match bytes::hash(&mut again, job)? == written {
        true => Ok(written),
        false => Err(Error::new(ErrorCode::Backend, "the new hive is not what was written")
            .hint("its file system loses writes; the hive is untouched")),
    }
}

/// The hive as it was, with the times that it had.
fn write_kept(file: &KeptFile, id: &UndoId, store: &Quarantine, draft: &File, job: &Job) -> Result<(u64, Sha256)> {
    let written = bytes::copy(&mut store.content(id)?, &mut &*draft, job)?;
    if written != (file.size_bytes, file.sha256.clone()) {
        return Err(Error::new(ErrorCode::StoreUnavailable, "the content in the quarantine is not what was put there")
            .hint("it was changed or damaged; nothing was put back"));
    }
    let written = read_back(draft, written, job)?;
    file.metadata.put_times_on(draft);
    Ok(written)
}

fn remember(hives: &mut Hives, planned: &FileTarget, found: &Found, identity: FileIdentity, new: &(u64, Sha256)) {
    let left = FileTarget { identity, size_bytes: new.0, sha256: new.1.clone(), ..found.target.clone() };
    hives.insert(planned.identity, left);
}

fn announced(order: &Order, found: &Found, wanted: &ValueTarget, part_of: &PartOf) -> Kept {
    let file = KeptFile {
        path: Some(found.target.path.clone()),
        directory: found.place.directory().ok(),
        aside: String::new(),
        identity: found.held.identity(),
        size_bytes: found.target.size_bytes,
        sha256: found.target.sha256.clone(),
        metadata: Metadata::of(&found.source, &found.held.stat),
        links: links(&found.held.stat),
    };
    let begun = Kept::begin(order, Some(file), None);
    let what = What::Value(KeptValue { value: wanted.clone(), after: None });
    Kept { part_of: Some(part_of.clone()), what: Some(what), ..begun }
}

/// Keeps the whole hive; nothing of it has changed when it returns.
fn keep(mut kept: Kept, found: &Found, store: &Quarantine, job: &Job) -> Result<(Folder, Kept), Did> {
    let folder = store.create(&kept.undo_id).map_err(Did::Failed)?;
    match copy(&mut kept, found, &folder, job) {
        Ok(()) => Ok((folder, kept)),
        Err(did) => {
            folder.discard();
            Err(did)
        }
    }
}

fn copy(kept: &mut Kept, found: &Found, folder: &Folder, job: &Job) -> Result<(), Did> {
    folder.write(kept, Phase::Begun).map_err(Did::Failed)?;
    fault("value_begun");
    let mut content = folder.create_content().map_err(Did::Failed)?;
    let mut source = found.held.open().map_err(Did::Failed)?;
    let (_, sha256) = bytes::copy(&mut source, &mut content, job).map_err(Did::Failed)?;
    if sha256 != found.target.sha256 {
        return Err(drift(&found.target, "has other content now"));
    }
    content.sync_all().map_err(|e| Did::Failed(Error::io("the copy in the quarantine", e)))
}
