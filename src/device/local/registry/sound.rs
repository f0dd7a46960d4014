//! Whether a hive is sound enough to be changed: every bin is tiled by its cells, and every cell has one owner.
//!
//! Invariant: a value of a sound hive can go without another key or value losing anything. Each cell is met once, so
//! this ends; memory is two bits for each 8 bytes of the hive.

use super::base::{BINS, FileKind, u16_at, u32_at};
use super::cell::{Cells, NONE};
use super::hive::Hive;
use super::key::Key;
use super::value::Value;
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use std::collections::HashSet;

const PAGE: u32 = 4096;
const BIN_HEAD: u32 = 32;

impl Hive {
    /// `E_UNINSPECTABLE` names the first thing that is not as Windows writes it, and where; `E_UNSUPPORTED` is for
    /// versions whose cells are others.
    pub fn check_sound(&self, job: &Job) -> Result<()> {
        let base = &self.base;
        if !(3..=6).contains(&base.minor) {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!("a hive of version 1.{} is not changed", base.minor),
            )
            .hint("versions 1.3 to 1.6, those of Windows NT 4.0 and later, are"));
        }
        let what = match () {
            () if !base.valid => Some("its base block has a wrong checksum"),
            () if base.is_dirty() => Some("it was being written when it was copied"),
            () if base.kind != FileKind::Hive => Some("its base block is that of a log"),
            () if base.sequence.0 == u32::MAX => Some("its sequence number is the last there is"),
            () if !base.bins_size.is_multiple_of(PAGE)
                || self.cells.pages.size() < BINS + u64::from(base.bins_size) =>
            {
                Some("its bins do not end where it says")
            }
            () => None,
        };
        if let Some(what) = what {
            return Err(Error::new(ErrorCode::Uninspectable, format!("the hive is not changed: {what}"))
                .hint("only a clean hive is: load and unload it in Windows, or let Windows write it"));
        }
        let mut owners = Owners::of(self, job)?;
        owners.claim_all(self, job)?;
        match self.cells.damage.words() {
            None => Ok(()),
            Some(words) => Err(refused(&words)),
        }
    }
}

fn unsound(what: &str, offset: u32) -> Error {
    refused(&format!("{what} at {:#x}", Cells::place(offset)))
}

fn refused(what: &str) -> Error {
    Error::new(ErrorCode::Uninspectable, format!("the hive is damaged: {what}"))
        .hint("a damaged hive is not changed: nobody could tell what else would be")
}

/// A bit for each 8 bytes of the bins.
struct Bits(Vec<u64>);

impl Bits {
    fn new(bins: u32) -> Bits {
        Bits(vec![0; usize::try_from(bins / 512 + 1).unwrap_or(0)])
    }

    fn split(offset: u32) -> (usize, u64) {
        (usize::try_from(offset / 512).unwrap_or(usize::MAX), 1 << (offset / 8 % 64))
    }

    fn has(&self, offset: u32) -> bool {
        let (word, bit) = Bits::split(offset);
        self.0.get(word).is_some_and(|w| w & bit != 0)
    }

    fn set(&mut self, offset: u32) {
        let (word, bit) = Bits::split(offset);
        if let Some(word) = self.0.get_mut(word) {
            *word |= bit;
        }
    }
}

struct Owners {
    /// Where a cell in use begins.
    cells: Bits,
    owned: Bits,
    /// Security descriptors, which keys share.
    security: HashSet<u32>,
}

impl Owners {
    /// Walks the bins from cell to cell.
    fn of(hive: &Hive, job: &Job) -> Result<Owners> {
        let (pages, bins) = (&hive.cells.pages, hive.base.bins_size);
        let word = |offset: u32| {
            let mut bytes = [0; 4];
            pages.read(Cells::place(offset), &mut bytes).then(|| u32::from_le_bytes(bytes))
        };
        let mut cells = Bits::new(bins);
        let mut bin = 0;
        while bin < bins {
            job.check()?;
            let size = word(bin + 8).filter(|size| *size >= PAGE && size.is_multiple_of(PAGE) && *size <= bins - bin);
            let Some(size) =
                size.filter(|_| word(bin) == Some(u32::from_le_bytes(*b"hbin")) && word(bin + 4) == Some(bin))
            else {
                return Err(unsound("a bin that is none", bin));
            };
            let (mut cell, end) = (bin + BIN_HEAD, bin + size);
            while cell < end {
                let raw = word(cell).unwrap_or(0).cast_signed();
                let length = raw.unsigned_abs();
                if length < 8 || !length.is_multiple_of(8) || length > end - cell {
                    return Err(unsound("a cell that does not fit its bin", cell));
                }
                if raw < 0 {
                    cells.set(cell);
                }
                cell += length;
            }
            bin = end;
        }
        Ok(Owners { cells, owned: Bits::new(bins), security: HashSet::new() })
    }

    fn claim(&mut self, offset: u32) -> Result<()> {
        if offset.is_multiple_of(8) && self.cells.has(offset) && !self.owned.has(offset) {
            self.owned.set(offset);
            return Ok(());
        }
        Err(match self.owned.has(offset) {
            true => unsound("a cell with two owners", offset),
            false => unsound("a reference to no cell", offset),
        })
    }

    fn claim_all(&mut self, hive: &Hive, job: &Job) -> Result<()> {
        let mut left = vec![hive.root().offset];
        while let Some(offset) = left.pop() {
            job.check()?;
            self.claim(offset)?;
            let key = Key::read(&hive.cells, offset).ok_or_else(|| unsound("a key that is none", offset))?;
            self.claim_beside(hive, &key)?;
            self.claim_values(hive, &key, job)?;
            self.claim_lists(hive, &key)?;
            left.extend(key.subkey_offsets(&hive.cells, job)?);
        }
        Ok(())
    }

    /// The class name and the security descriptor.
    fn claim_beside(&mut self, hive: &Hive, key: &Key) -> Result<()> {
        let record = hive.cells.read(key.offset, 76).unwrap_or_default();
        let (security, class) = (u32_at(&record, 44).unwrap_or(NONE), u32_at(&record, 48).unwrap_or(NONE));
        if class != NONE && u16_at(&record, 74).is_some_and(|length| length > 0) {
            self.claim(class)?;
        }
        match security != NONE && self.security.insert(security) {
            true => self.claim(security),
            false => Ok(()),
        }
    }

    fn claim_values(&mut self, hive: &Hive, key: &Key, job: &Job) -> Result<()> {
        let offsets = key.value_offsets(&hive.cells);
        if usize::try_from(key.values) != Ok(offsets.len()) {
            return Err(unsound("a key with another number of values than it says", key.offset));
        }
        if !offsets.is_empty() {
            self.claim(key.value_list)?;
        }
        for (n, offset) in offsets.into_iter().enumerate() {
            if n % 1024 == 1023 {
                job.check()?;
            }
            self.claim(offset)?;
            let data = Value::read(&hive.cells, offset)
                .and_then(|value| value.data_cells(&hive.cells, hive.has_segments()))
                .ok_or_else(|| unsound("a value whose data is not all there", offset))?;
            data.into_iter().try_for_each(|cell| self.claim(cell))?;
        }
        Ok(())
    }

    fn claim_lists(&mut self, hive: &Hive, key: &Key) -> Result<()> {
        if key.subkeys == 0 || key.subkey_list == NONE {
            return Ok(());
        }
        self.claim(key.subkey_list)?;
        let head = hive.cells.read(key.subkey_list, 4).unwrap_or_default();
        if !head.starts_with(b"ri") {
            return Ok(());
        }
        let count = usize::from(u16_at(&head, 2).unwrap_or(0));
        let lists = hive.cells.read_from(key.subkey_list, 4, count * 4).unwrap_or_default();
        lists.as_chunks::<4>().0.iter().try_for_each(|list| self.claim(u32::from_le_bytes(*list)))
    }
}
