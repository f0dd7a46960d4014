//! Values: what they are called, of which type, and their data as text.

use super::base::{u16_at, u32_at};
use super::cell::Cells;
use super::name::{Name, utf16};
use std::borrow::Cow;

/// Data above this is in segments of this size, in hives from version 1.4 on.
pub(super) const SEGMENT: usize = 16_344;

#[derive(Clone, Debug)]
pub struct Value {
    /// Of its cell.
    pub offset: u32,
    /// Empty for the default value.
    pub name: Name,
    pub kind: u32,
    /// Bytes of its data, as the file says.
    pub size: u32,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Inline([u8; 4]),
    Cell(u32),
}

/// A value's data: as many bytes as were asked for and are there.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    pub bytes: Vec<u8>,
    /// All of it was read.
    pub whole: bool,
}

impl Value {
    pub(super) fn read(cells: &Cells, offset: u32) -> Option<Value> {
        let cell = cells.read_named(offset, 20, 2)?;
        let [b'v', b'k', ..] = cell.as_slice() else {
            cells.damage.note("values that are none", Cells::place(offset));
            return None;
        };
        let raw_size = u32_at(&cell, 4)?;
        let at = u32_at(&cell, 8)?;
        let flags = u16_at(&cell, 16)?;
        let name = cell.get(20..)?;
        let name = if flags & 1 == 1 { Name::latin(name) } else { Name::utf16(name) };
        let mut size = raw_size & 0x7fff_ffff;
        let place = match raw_size & 0x8000_0000 {
            0 => Place::Cell(at),
            _ => Place::Inline(at.to_le_bytes()),
        };
        if matches!(place, Place::Inline(_)) && size > 4 {
            cells.damage.note("values with more data than has room in them", Cells::place(offset));
            size = 4;
        }
        Some(Value { offset, name, kind: u32_at(&cell, 12)?, size, place })
    }

    /// The cells that its data lies in; `None` where they are not all there.
    pub(super) fn data_cells(&self, cells: &Cells, in_segments: bool) -> Option<Vec<u32>> {
        let size = usize::try_from(self.size).ok()?;
        let at = match self.place {
            Place::Cell(at) if size > 0 => at,
            _ => return Some(Vec::new()),
        };
        let head = cells.read(at, 8)?;
        if size <= SEGMENT || !in_segments || !head.starts_with(b"db") {
            return (cells.size(at)? >= size).then(|| vec![at]);
        }
        let count = usize::from(u16_at(&head, 2)?);
        let list = u32_at(&head, 4)?;
        let parts = cells.read(list, count * 4)?;
        let segments = parts.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b));
        let all: Vec<u32> = [at, list].into_iter().chain(segments).collect();
        (all.len() == count + 2 && count == size.div_ceil(SEGMENT)).then_some(all)
    }

    pub(super) fn data(&self, cells: &Cells, in_segments: bool, limit: usize) -> Data {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let wanted = size.min(limit);
        let bytes = match self.place {
            Place::Inline(bytes) => bytes.get(..wanted).unwrap_or_default().to_vec(),
            Place::Cell(_) if size == 0 => Vec::new(),
            Place::Cell(at) if size > SEGMENT && in_segments => {
                segments(cells, at, wanted).unwrap_or_else(|| cells.read(at, wanted).unwrap_or_default())
            }
            Place::Cell(at) => cells.read(at, wanted).unwrap_or_default(),
        };
        if let Place::Cell(at) = self.place
            && bytes.len() < wanted
        {
            cells.damage.note("values whose data is not all there", Cells::place(at));
        }
        Data { whole: bytes.len() == size, bytes }
    }
}

/// Data in segments; `None` where the cell does not list any.
fn segments(cells: &Cells, at: u32, wanted: usize) -> Option<Vec<u8>> {
    let head = cells.read(at, 8)?;
    let [b'd', b'b', ..] = head.as_slice() else { return None };
    let count = usize::from(u16_at(&head, 2)?).min(wanted.div_ceil(SEGMENT));
    let list = cells.read(u32_at(&head, 4)?, count * 4)?;
    let mut bytes = Vec::with_capacity(wanted.min(1 << 20));
    for segment in list.as_chunks::<4>().0 {
        let left = wanted - bytes.len();
        let Some(part) = cells.read(u32::from_le_bytes(*segment), left.min(SEGMENT)) else { break };
        let short = part.len() < left.min(SEGMENT);
        bytes.extend_from_slice(&part);
        if short {
            break;
        }
    }
    Some(bytes)
}

/// `REG_SZ` and the like; of a type without a name its number.
pub fn kind_name(kind: u32) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        0 => "REG_NONE",
        1 => "REG_SZ",
        2 => "REG_EXPAND_SZ",
        3 => "REG_BINARY",
        4 => "REG_DWORD",
        5 => "REG_DWORD_BIG_ENDIAN",
        6 => "REG_LINK",
        7 => "REG_MULTI_SZ",
        8 => "REG_RESOURCE_LIST",
        9 => "REG_FULL_RESOURCE_DESCRIPTOR",
        10 => "REG_RESOURCE_REQUIREMENTS_LIST",
        11 => "REG_QWORD",
        other => return Cow::Owned(format!("REG_{other:#x}")),
    })
}

impl Data {
    /// The data as text by its type: numbers in decimal, strings without the closing NUL, those of a list a line each,
    /// all else (and numbers and strings of a wrong length) as hex digits.
    pub fn text(&self, kind: u32) -> String {
        match (kind, self.bytes.as_slice()) {
            (1 | 2 | 6, bytes) if bytes.len().is_multiple_of(2) || !self.whole => string(bytes),
            (4, bytes) if let Ok(number) = bytes.try_into() => u32::from_le_bytes(number).to_string(),
            (5, bytes) if let Ok(number) = bytes.try_into() => u32::from_be_bytes(number).to_string(),
            (11, bytes) if let Ok(number) = bytes.try_into() => u64::from_le_bytes(number).to_string(),
            (7, bytes) if bytes.len().is_multiple_of(2) || !self.whole => strings(bytes).join("\n"),
            (_, bytes) => crate::model::hex(bytes),
        }
    }
}

/// What lies behind the closing NUL is shown too, unless it is NULs: somebody may have hidden it there.
fn string(bytes: &[u8]) -> String {
    let text = utf16(bytes);
    text.trim_end_matches('\0').to_owned()
}

/// The strings of a `REG_MULTI_SZ`. An empty one inside is kept.
pub fn strings(bytes: &[u8]) -> Vec<String> {
    let text = string(bytes);
    if text.is_empty() { Vec::new() } else { text.split('\0').map(str::to_owned).collect() }
}
