//! Keys, and the lists of their sub-keys and values.

use super::base::{u16_at, u32_at, u64_at};
use super::cell::{Cells, NONE};
use super::name::Name;
use crate::error::Result;
use crate::model::{Job, Timestamp};
use std::collections::HashSet;

/// Entries of lists that are followed for one key: no key of Windows' own has a tenth of them.
const ENTRIES: usize = 500_000;
/// Values of one key that are looked at.
const VALUES: usize = 500_000;

#[derive(Clone, Debug)]
pub struct Key {
    /// Of its cell.
    pub offset: u32,
    pub name: Name,
    /// Last written.
    pub modified: Option<Timestamp>,
    /// How many sub-keys it says it has.
    pub subkeys: u32,
    /// How many values it says it has.
    pub values: u32,
    pub(super) subkey_list: u32,
    pub(super) value_list: u32,
}

impl Key {
    pub(super) fn read(cells: &Cells, offset: u32) -> Option<Key> {
        let cell = cells.read_named(offset, 76, 72)?;
        let [b'n', b'k', ..] = cell.as_slice() else {
            cells.damage.note("keys that are none", Cells::place(offset));
            return None;
        };
        let flags = u16_at(&cell, 2)?;
        let name = cell.get(76..)?;
        Some(Key {
            offset,
            name: if flags & 0x20 != 0 { Name::latin(name) } else { Name::utf16(name) },
            modified: filetime(u64_at(&cell, 4)?),
            subkeys: u32_at(&cell, 20)?,
            subkey_list: u32_at(&cell, 28)?,
            values: u32_at(&cell, 36)?,
            value_list: u32_at(&cell, 40)?,
        })
    }

    /// Offsets of the sub-keys' cells, each once. A list that is a part of itself, or longer than [`ENTRIES`], is cut.
    pub(super) fn subkey_offsets(&self, cells: &Cells, job: &Job) -> Result<Vec<u32>> {
        if self.subkeys == 0 || self.subkey_list == NONE {
            return Ok(Vec::new());
        }
        let mut found = Found::default();
        found.take(cells, self.subkey_list, true, job)?;
        let claimed = usize::try_from(self.subkeys).unwrap_or(usize::MAX);
        if found.offsets.len() != claimed {
            cells.damage.note("keys with another number of sub-keys than they say", Cells::place(self.offset));
        }
        Ok(found.offsets)
    }

    /// Offsets of the values' cells, each once.
    pub(super) fn value_offsets(&self, cells: &Cells) -> Vec<u32> {
        let claimed = usize::try_from(self.values).unwrap_or(usize::MAX);
        if claimed == 0 || self.value_list == NONE {
            return Vec::new();
        }
        let Some(list) = cells.read(self.value_list, claimed.min(VALUES) * 4) else { return Vec::new() };
        let mut seen = HashSet::new();
        let mut offsets: Vec<u32> = list.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        if offsets.len() < claimed {
            cells.damage.note("keys with another number of values than they say", Cells::place(self.offset));
        }
        let listed = offsets.len();
        offsets.retain(|offset| seen.insert(*offset));
        if offsets.len() < listed {
            cells.damage.note("lists that name a thing twice", Cells::place(self.value_list));
        }
        offsets
    }
}

#[derive(Default)]
struct Found {
    offsets: Vec<u32>,
    keys: HashSet<u32>,
    lists: HashSet<u32>,
    looked_at: usize,
}

impl Found {
    /// Follows a list; a list of lists has no third level (`ri` in `ri`).
    fn take(&mut self, cells: &Cells, list: u32, is_top: bool, job: &Job) -> Result<()> {
        let place = Cells::place(list);
        if !self.lists.insert(list) {
            cells.damage.note("lists that name a thing twice", place);
            return Ok(());
        }
        let Some(head) = cells.read(list, 4) else { return Ok(()) };
        let count = usize::from(u16_at(&head, 2).unwrap_or(0));
        let width = match head.get(..2) {
            Some(b"lf" | b"lh") => 8,
            Some(b"li") => 4,
            Some(b"ri") if is_top => 4,
            _ => {
                cells.damage.note("sub-key lists that are none", place);
                return Ok(());
            }
        };
        let entries = cells.read_from(list, 4, count * width).unwrap_or_default();
        if entries.len() < count * width {
            cells.damage.note("lists that say they are longer than their cell", place);
        }
        for entry in entries.chunks_exact(width) {
            let Some(offset) = u32_at(entry, 0) else { continue };
            self.looked_at += 1;
            if self.looked_at > ENTRIES {
                cells.damage.note("keys with more sub-keys than are followed", place);
                return Ok(());
            }
            if self.looked_at.is_multiple_of(1024) {
                job.check()?;
            }
            match head.get(..2) {
                Some(b"ri") => self.take(cells, offset, false, job)?,
                _ if self.keys.insert(offset) => self.offsets.push(offset),
                _ => cells.damage.note("lists that name a thing twice", place),
            }
        }
        Ok(())
    }
}

/// 100 ns since 1601; 0 is no time.
pub fn filetime(ticks: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(ticks / 10_000_000).ok()? - 11_644_473_600;
    let nanos = u32::try_from(ticks % 10_000_000).ok()? * 100;
    (ticks != 0).then(|| Timestamp::from_unix(seconds, nanos))
}
