//! Transaction logs, applied in memory: `HvLE` entries (Windows 8.1 on) and `DIRT` sectors (before).
//!
//! Invariant: a log is used only where it continues this hive: an entry's sequence is not below the hive's second one,
//! its hashes are right, and no number is left out. An old log must have the hive's own time and sequence.

use super::base::{BINS, Base, FileKind, u32_at, u64_at};
use super::marvin::{self, Marvin};
use super::pages::{Overlay, Source, fill};
use crate::error::Result;
use crate::model::Job;
use std::sync::Arc;

const SECTOR: u64 = 512;
/// Before its page list.
const ENTRY_HEAD: usize = 40;
/// Entries of one log that are looked at.
const ENTRIES: usize = 100_000;

/// A hive's bytes and base block after its logs.
pub struct Recovered {
    pub base: Base,
    pub overlay: Overlay,
    /// A log with entries that are not older than the hive.
    pub ahead: Option<String>,
    /// What was applied, and what was not and why: one sentence a log.
    pub notes: Vec<String>,
}

/// A log of the hive that can be read: by its place in the list of all.
struct Candidate<'a> {
    index: usize,
    name: &'a str,
    source: &'a dyn Source,
    base: Base,
}

/// Applies what fits. `base` is the hive's own; where it is not valid, a log's copy of it takes its place.
pub fn recover(base: &Base, logs: &[(String, Arc<dyn Source>)], job: &Job) -> Result<Recovered> {
    let mut recovered = Recovered { base: base.clone(), overlay: Overlay::default(), ahead: None, notes: Vec::new() };
    let mut candidates = Vec::new();
    for (index, (name, source)) in logs.iter().enumerate() {
        match Base::read(&**source) {
            Ok(log) if log.valid && matches!(log.kind, FileKind::OldLog | FileKind::NewLog) => {
                candidates.push(Candidate { index, name, source: &**source, base: log });
            }
            // Windows makes logs before it needs them.
            Err(super::base::NoHive::Empty) => {}
            _ => recovered.notes.push(format!("{name} is no valid log and was not applied")),
        }
    }
    recovered.new_logs(&candidates, job)?;
    recovered.old_logs(&candidates, job)?;
    Ok(recovered)
}

impl Recovered {
    fn new_logs(&mut self, candidates: &[Candidate<'_>], job: &Job) -> Result<()> {
        let mut logs = Vec::new();
        for log in candidates.iter().filter(|c| c.base.kind == FileKind::NewLog) {
            logs.push((log, entries(log.source, job)?));
        }
        logs.sort_by_key(|(_, entries)| entries.first().map(|e| e.sequence));
        let is_ahead = |entries: &[Entry]| entries.last().is_some_and(|e| e.sequence >= self.base.sequence.0);
        self.ahead = logs.iter().find(|(_, entries)| is_ahead(entries)).map(|(log, _)| log.name.to_owned());
        if !self.base.valid
            && let Some((log, _)) = logs.iter().find(|(_, entries)| !entries.is_empty())
        {
            self.base = as_hive(&log.base);
            self.notes.push(format!("the hive's base block is damaged: the copy in {} was used", log.name));
        }
        // A hive that says it is clean takes only what follows it at once.
        let (first, exactly) = (self.base.sequence.1, self.base.valid && !self.base.is_dirty());
        let mut next: Option<u32> = exactly.then_some(first);
        for (log, entries) in &logs {
            let mut applied = 0u64;
            for entry in entries {
                if entry.sequence < next.unwrap_or(first) {
                    continue;
                }
                if next.is_some_and(|next| next != entry.sequence) || self.overlay.is_full() {
                    break;
                }
                entry.lay(log.index, log.source, &mut self.overlay);
                self.base.bins_size = entry.bins_size;
                next = Some(entry.sequence.saturating_add(1));
                applied += 1;
            }
            let name = log.name;
            match (applied, entries.first()) {
                (0, None) => {}
                (0, Some(_)) => self.notes.push(format!("{name} is older than the hive and was not applied")),
                (n, _) => self.notes.push(format!("{n} entries of {name} were applied")),
            }
        }
        Ok(())
    }

    fn old_logs(&mut self, candidates: &[Candidate<'_>], job: &Job) -> Result<()> {
        if self.base.valid && !self.base.is_dirty() {
            return Ok(());
        }
        for log in candidates.iter().filter(|c| c.base.kind == FileKind::OldLog) {
            let name = log.name;
            let continues = !self.base.valid
                || (log.base.written == self.base.written && log.base.sequence.0 >= self.base.sequence.1);
            if log.base.is_dirty() || !continues {
                self.notes.push(format!("{name} is of another state of the hive and was not applied"));
                continue;
            }
            let Some(overlay) = sectors(log, job)? else {
                self.notes.push(format!("{name} is cut short and was not applied"));
                continue;
            };
            self.notes.push(format!("{} bytes of {name} were applied", overlay.bytes));
            if !self.base.valid {
                self.notes.push(format!("the hive's base block is damaged: the copy in {name} was used"));
            }
            self.overlay = overlay;
            self.base = as_hive(&log.base);
            break;
        }
        Ok(())
    }
}

/// The base block that a log keeps a copy of.
fn as_hive(log: &Base) -> Base {
    Base { kind: FileKind::Hive, ..log.clone() }
}

struct Entry {
    at: u64,
    sequence: u32,
    bins_size: u32,
    pages: u32,
}

/// The unbroken row of valid entries that a log begins with.
fn entries(log: &dyn Source, job: &Job) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = SECTOR;
    while entries.len() < ENTRIES {
        job.check()?;
        let Some((entry, size)) = entry(log, at, job)? else { break };
        if entries.last().is_some_and(|last| last.sequence.checked_add(1) != Some(entry.sequence)) {
            break;
        }
        entries.push(entry);
        at += size;
    }
    Ok(entries)
}

fn entry(log: &dyn Source, at: u64, job: &Job) -> Result<Option<(Entry, u64)>> {
    let mut head = [0; ENTRY_HEAD];
    if !fill(log, &mut head, at) || !head.starts_with(b"HvLE") {
        return Ok(None);
    }
    let word = |from| u32_at(&head, from).unwrap_or(0);
    let size = u64::from(word(4));
    let pages = word(20);
    let fits = size.is_multiple_of(SECTOR)
        && size >= ENTRY_HEAD as u64 + u64::from(pages) * 8
        && at.checked_add(size).is_some_and(|end| end <= log.size());
    let head_hash = marvin::hash(head.get(..32).unwrap_or_default());
    if !fits || u64_at(&head, 32) != Some(head_hash) || u64_at(&head, 24) != body_hash(log, at, size, job)? {
        return Ok(None);
    }
    Ok(Some((Entry { at, sequence: word(12), bins_size: word(16), pages }, size)))
}

fn body_hash(log: &dyn Source, at: u64, size: u64, job: &Job) -> Result<Option<u64>> {
    let mut marvin = Marvin::new();
    let mut buffer = vec![0; 64 * 1024];
    let (mut from, end) = (at + ENTRY_HEAD as u64, at + size);
    while from < end {
        job.check()?;
        let length = usize::try_from(end - from).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..length).filter(|_| length > 0) else { break };
        if !fill(log, part, from) {
            return Ok(None);
        }
        marvin.feed(part);
        from += length as u64;
    }
    Ok(Some(marvin.finish()))
}

impl Entry {
    fn lay(&self, index: usize, log: &dyn Source, overlay: &mut Overlay) {
        let mut list = self.at + ENTRY_HEAD as u64;
        let mut data = list + u64::from(self.pages) * 8;
        for _ in 0..self.pages {
            let mut reference = [0; 8];
            if overlay.is_full() || !fill(log, &mut reference, list) {
                return;
            }
            let (offset, size) = (u32_at(&reference, 0).unwrap_or(0), u32_at(&reference, 4).unwrap_or(0));
            overlay.lay(BINS + u64::from(offset), u64::from(size), index, data);
            data += u64::from(size);
            list += 8;
        }
    }
}

/// The sectors of an old log: a bit for each of the hive's, then those whose bit is set. `None` where they are not
/// all there.
fn sectors(log: &Candidate<'_>, job: &Job) -> Result<Option<Overlay>> {
    let mut overlay = Overlay::default();
    let mut at = SECTOR * u64::from(log.base.cluster.clamp(1, 8));
    let mut mark = [0; 4];
    if !fill(log.source, &mut mark, at) || mark != *b"DIRT" {
        return Ok(None);
    }
    at += 4;
    let bitmap = u64::from(log.base.bins_size).div_ceil(SECTOR).div_ceil(8);
    let mut data = (at + bitmap).next_multiple_of(SECTOR);
    for byte in 0..bitmap {
        let mut bits = [0];
        if !fill(log.source, &mut bits, at + byte) {
            return Ok(None);
        }
        if byte.is_multiple_of(1024) {
            job.check()?;
        }
        for bit in (0..8).filter(|bit| bits.first().is_some_and(|b| b >> bit & 1 == 1)) {
            if data + SECTOR > log.source.size() || overlay.is_full() {
                return Ok(None);
            }
            overlay.lay(BINS + (byte * 8 + bit) * SECTOR, SECTOR, log.index, data);
            data += SECTOR;
        }
    }
    Ok((!overlay.is_empty()).then_some(overlay))
}
