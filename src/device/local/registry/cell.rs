//! Cells: pieces of a hive bin, each with its size before it; negative while it is in use.

use super::base::{BINS, u16_at, u32_at};
use super::damage::Damage;
use super::pages::Pages;

/// No cell.
pub const NONE: u32 = u32::MAX;

pub struct Cells {
    pub pages: Pages,
    pub damage: Damage,
}

impl Cells {
    /// The place in the file, for damage.
    pub fn place(offset: u32) -> u64 {
        BINS + u64::from(offset)
    }

    /// Bytes of a cell's content, at most `limit` of them. `None` (with the damage noted) where there is no such cell.
    pub fn read(&self, offset: u32, limit: usize) -> Option<Vec<u8>> {
        let size = self.size(offset)?;
        let mut content = vec![0; size.min(limit)];
        if !self.pages.read(Self::place(offset) + 4, &mut content) {
            self.damage.note("cells that the file ends in", Self::place(offset));
            return None;
        }
        Some(content)
    }

    /// A record and the name after it, of the length that stands at `length_at` in it. A longer one than the cell has
    /// room for is cut.
    pub fn read_named(&self, offset: u32, record: usize, length_at: usize) -> Option<Vec<u8>> {
        /// Nearly every name is shorter.
        const USUAL: usize = 256;
        let mut cell = self.read(offset, record + USUAL)?;
        let length = usize::from(u16_at(&cell, length_at)?);
        if length > USUAL {
            cell = self.read(offset, record + length)?;
        }
        if cell.len() < record + length {
            self.damage.note("names that are longer than their cell", Self::place(offset));
        }
        cell.truncate(record + length);
        Some(cell)
    }

    /// Bytes of a cell's content from `from` on.
    pub fn read_from(&self, offset: u32, from: usize, length: usize) -> Option<Vec<u8>> {
        let size = self.size(offset)?;
        let mut content = vec![0; size.saturating_sub(from).min(length)];
        self.pages.read(Self::place(offset) + 4 + from as u64, &mut content).then_some(content)
    }

    /// How many bytes of content a cell has.
    pub fn size(&self, offset: u32) -> Option<usize> {
        let place = Self::place(offset);
        let mut head = [0; 4];
        if !offset.is_multiple_of(8) || !self.pages.read(place, &mut head) {
            self.damage.note("offsets that lead to no cell", place);
            return None;
        }
        let size = u32_at(&head, 0).unwrap_or(0).cast_signed();
        let Some(size) = size.checked_neg().and_then(|s| usize::try_from(s).ok()).filter(|s| *s >= 8) else {
            self.damage.note("references to cells that are free", place);
            return None;
        };
        if place + size as u64 > self.pages.size() {
            self.damage.note("cells that reach past the end of the file", place);
        }
        let there = usize::try_from(self.pages.size().saturating_sub(place)).unwrap_or(usize::MAX);
        Some(size.min(there).saturating_sub(4))
    }
}
