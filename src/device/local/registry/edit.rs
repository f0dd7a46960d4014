//! Changes of a hive: a value taken out of a key, and one put into it.
//!
//! Invariant: an edit of a sound hive touches nothing but the base block, the key, its list of values, the sizes of the
//! cells that are freed, and new bins at the end. It is made in memory; who writes it writes a new file.

use super::base::{Base, HEAD, checksum, u32_at};
use super::cell::{Cells, NONE};
use super::hive::Hive;
use super::key::Key;
use super::pages::{Overlay, Pages, Source};
use super::value::{SEGMENT, Value};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Sha256, Timestamp};
use sha2::Digest;
use std::io::Write;
use std::sync::Arc;

/// The record of a key before its name.
const KEY: usize = 76;
/// The record of a value before its name.
const VALUE: usize = 20;
/// Values of a key whose list is written anew.
const VALUES: usize = 65_536;
/// Bytes of data that a value has at most: what is put back goes through memory.
pub const DATA_LIMIT: usize = 16 << 20;

/// Bytes that take the place of others, by where they begin in the file; those past its end make it longer.
#[derive(Default)]
pub struct Edit {
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Edit {
    fn put(&mut self, at: u64, bytes: impl Into<Vec<u8>>) {
        self.pieces.push((at, bytes.into()));
    }

    /// The content of a cell.
    fn put_cell(&mut self, offset: u32, bytes: impl Into<Vec<u8>>) {
        self.put(Cells::place(offset) + 4, bytes);
    }
}

impl Hive {
    /// Its bytes with an edit laid over them, which is another hive. `source` is what it was opened on.
    pub fn edited(&self, name: &str, source: Arc<dyn Source>, edit: Edit) -> Result<Hive> {
        let mut overlay = Overlay::default();
        let mut bytes = Vec::new();
        for (at, piece) in edit.pieces {
            overlay.lay(at, piece.len() as u64, 0, bytes.len() as u64);
            bytes.extend_from_slice(&piece);
        }
        let pages = Pages::new(source, vec![Arc::new(bytes)], overlay);
        let mut head = [0; HEAD];
        if !pages.read(0, &mut head) {
            return Err(broken());
        }
        let base = Base::read(&head.to_vec()).map_err(|_| broken())?;
        Hive::of(name, base, pages)
    }

    /// Writes the whole of its file; how many bytes, and their hash.
    pub fn write_to(&self, to: &mut dyn Write, job: &Job) -> Result<(u64, Sha256)> {
        let (mut at, size) = (0, self.cells.pages.size());
        let mut hasher = sha2::Sha256::new();
        let mut chunk = vec![0; 256 * 1024];
        while at < size {
            job.check()?;
            let length = usize::try_from(size - at).unwrap_or(usize::MAX).min(chunk.len());
            let part = chunk.get_mut(..length).unwrap_or_default();
            if !self.cells.pages.read(at, part) {
                return Err(Error::new(ErrorCode::Backend, "the hive cannot be read to its end"));
            }
            hasher.update(&*part);
            to.write_all(part).map_err(|e| Error::io("the new hive cannot be written", e))?;
            at += length as u64;
        }
        Ok((at, Sha256::from_bytes(&hasher.finalize())))
    }

    /// The edit that takes a value out of its key. The cells are freed as Windows does it: their bytes stay.
    pub fn without(&self, key: &Key, value: &Value, now: Timestamp) -> Result<Edit> {
        let (mut edit, ticks) = (Edit::default(), ticks(now)?);
        let mut offsets = self.value_offsets(key)?;
        let at = offsets.iter().position(|offset| *offset == value.offset).ok_or_else(broken)?;
        offsets.remove(at);
        let mut record = self.record(key)?;
        let count = u32::try_from(offsets.len()).map_err(|_| broken())?;
        let mut freed = value.data_cells(&self.cells, self.has_segments()).ok_or_else(broken)?;
        freed.push(value.offset);
        if offsets.is_empty() {
            freed.push(key.value_list);
            set(&mut record, 40, NONE);
        } else {
            offsets.push(0);
            edit.put_cell(key.value_list, bytes_of(&offsets));
            offsets.pop();
        }
        set(&mut record, 36, count);
        self.lower_bounds(&mut record, &offsets);
        set_time(&mut record, 4, ticks);
        edit.put_cell(key.offset, record);
        for cell in freed {
            let size = self.cells.size(cell).and_then(|content| u32::try_from(content + 4).ok()).ok_or_else(broken)?;
            edit.put(Cells::place(cell), size.to_le_bytes());
        }
        self.finish(edit, ticks, self.base.bins_size)
    }

    /// The edit that puts a value of another hive into a key, as the last one. Its cells are new.
    pub fn with(&self, key: &Key, from: &Hive, value: &Value, now: Timestamp) -> Result<Edit> {
        let (mut edit, ticks) = (Edit::default(), ticks(now)?);
        let data = from.data(value, DATA_LIMIT);
        if !data.whole {
            return Err(Error::new(ErrorCode::Backend, "the data of the kept value cannot be read"));
        }
        let mut new = Bins { end: self.base.bins_size, free: 0, ticks, bytes: Vec::new() };
        let mut cell = from.cells.read_named(value.offset, VALUE, 2).ok_or_else(broken)?;
        match data.bytes.len() {
            0..=4 => {}
            length if length > SEGMENT && self.has_segments() => set(&mut cell, 8, new.segments(&data.bytes)?),
            _ => set(&mut cell, 8, new.cell(&data.bytes)?),
        }
        // A few bytes that another tool put into a cell go into the value itself.
        if data.bytes.len() <= 4 {
            let mut inline = data.bytes.clone();
            inline.resize(4, 0);
            set(&mut cell, 4, value.size | 0x8000_0000);
            put(&mut cell, 8, &inline);
        }
        let mut offsets = if key.values == 0 { Vec::new() } else { self.value_offsets(key)? };
        offsets.push(new.cell(&cell)?);
        let list = new.cell(&bytes_of(&offsets))?;
        let mut record = self.record(key)?;
        set(&mut record, 36, u32::try_from(offsets.len()).map_err(|_| broken())?);
        set(&mut record, 40, list);
        for (at, most) in [(60, name_bytes(value)), (64, value.size)] {
            let said = u32_at(&record, at).unwrap_or(0);
            set(&mut record, at, most.max(said));
        }
        set_time(&mut record, 4, ticks);
        edit.put_cell(key.offset, record);
        if key.values > 0 {
            let size = self.cells.size(key.value_list).and_then(|c| u32::try_from(c + 4).ok()).ok_or_else(broken)?;
            edit.put(Cells::place(key.value_list), size.to_le_bytes());
        }
        let (bins, bytes) = new.close()?;
        edit.put(Cells::place(self.base.bins_size), bytes);
        self.finish(edit, ticks, bins)
    }

    fn value_offsets(&self, key: &Key) -> Result<Vec<u32>> {
        let count = usize::try_from(key.values).unwrap_or(usize::MAX);
        if count > VALUES {
            return Err(Error::new(ErrorCode::TooLarge, format!("the key has {count} values, the limit is {VALUES}")));
        }
        let list = self.cells.read(key.value_list, count * 4).ok_or_else(broken)?;
        let offsets: Vec<u32> = list.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
        if offsets.len() == count { Ok(offsets) } else { Err(broken()) }
    }

    fn record(&self, key: &Key) -> Result<Vec<u8>> {
        self.cells.read(key.offset, KEY).filter(|record| record.len() == KEY).ok_or_else(broken)
    }

    /// The longest name and data of the values that stay, where the key says more.
    fn lower_bounds(&self, record: &mut [u8], offsets: &[u32]) {
        let left = || offsets.iter().filter_map(|offset| Value::read(&self.cells, *offset));
        let longest = [(60, left().map(|v| name_bytes(&v)).max()), (64, left().map(|v| v.size).max())];
        for (at, most) in longest {
            let most = most.unwrap_or(0);
            if u32_at(record, at).is_some_and(|said| said > most) {
                set(record, at, most);
            }
        }
    }

    /// The base block: one sequence on, both numbers the same, its time and sum.
    fn finish(&self, mut edit: Edit, ticks: u64, bins: u32) -> Result<Edit> {
        let mut head = [0; HEAD];
        let sequence = self.base.sequence.0.checked_add(1).ok_or_else(broken)?;
        if !self.cells.pages.read(0, &mut head) {
            return Err(broken());
        }
        set(&mut head, 4, sequence);
        set(&mut head, 8, sequence);
        set_time(&mut head, 12, ticks);
        set(&mut head, 40, bins);
        let sum = checksum(&head);
        set(&mut head, 508, sum);
        edit.put(0, head);
        Ok(edit)
    }
}

/// New bins after the last one.
struct Bins {
    /// Where the last one ends.
    end: u32,
    /// Bytes that are free at its end.
    free: u32,
    ticks: u64,
    bytes: Vec<u8>,
}

impl Bins {
    /// A cell with this content; its offset.
    fn cell(&mut self, content: &[u8]) -> Result<u32> {
        let size = content.len().checked_add(4).map(|n| n.next_multiple_of(8)).and_then(|n| u32::try_from(n).ok());
        let size = size.ok_or_else(broken)?;
        // What is left must hold a cell or nothing.
        if size > self.free {
            self.open(size)?;
        }
        let offset = self.end - self.free;
        self.free -= size;
        self.bytes.extend(size.cast_signed().wrapping_neg().to_le_bytes());
        self.bytes.extend_from_slice(content);
        self.bytes.resize(self.bytes.len() + usize::try_from(size).unwrap_or(0) - content.len() - 4, 0);
        Ok(offset)
    }

    /// Data in segments: the list of a `db` cell.
    fn segments(&mut self, data: &[u8]) -> Result<u32> {
        let mut parts = Vec::new();
        for part in data.chunks(SEGMENT) {
            // Windows leaves 4 bytes after each, which readers take off.
            parts.push(self.cell(&[part, &[0; 4]].concat())?);
        }
        let count = u16::try_from(parts.len()).map_err(|_| broken())?;
        let list = self.cell(&bytes_of(&parts))?;
        self.cell(&[b"db".as_slice(), &count.to_le_bytes(), &list.to_le_bytes(), &[0; 4]].concat())
    }

    fn open(&mut self, for_cell: u32) -> Result<()> {
        self.free_rest();
        let size = for_cell.checked_add(32).and_then(|n| n.checked_next_multiple_of(4096)).ok_or_else(broken)?;
        // An offset is 31 bits: the last tells volatile cells.
        let end = self.end.checked_add(size).filter(|end| *end <= 0x7fff_0000).ok_or_else(broken)?;
        self.bytes.extend(b"hbin");
        self.bytes.extend(self.end.to_le_bytes());
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.extend(self.ticks.to_le_bytes());
        self.bytes.extend([0; 4]);
        (self.end, self.free) = (end, size - 32);
        Ok(())
    }

    /// What is left of a bin is one free cell.
    fn free_rest(&mut self) {
        if self.free > 0 {
            self.bytes.extend(self.free.to_le_bytes());
            self.bytes.resize(self.bytes.len() + usize::try_from(self.free).unwrap_or(4) - 4, 0);
            self.free = 0;
        }
    }

    /// Where the bins end now, and the new ones.
    fn close(mut self) -> Result<(u32, Vec<u8>)> {
        self.free_rest();
        Ok((self.end, self.bytes))
    }
}

/// FILETIME.
fn ticks(at: Timestamp) -> Result<u64> {
    u64::try_from(at.as_nanos() / 100 + 116_444_736_000_000_000)
        .map_err(|_| Error::new(ErrorCode::Internal, "the clock is before 1601"))
}

/// In UTF-16, as a key notes it.
fn name_bytes(value: &Value) -> u32 {
    u32::try_from(value.name.as_str().encode_utf16().count() * 2).unwrap_or(u32::MAX)
}

fn bytes_of(offsets: &[u32]) -> Vec<u8> {
    offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect()
}

fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..new.len())) {
        place.copy_from_slice(new);
    }
}

fn set(bytes: &mut [u8], at: usize, word: u32) {
    put(bytes, at, &word.to_le_bytes());
}

fn set_time(bytes: &mut [u8], at: usize, ticks: u64) {
    put(bytes, at, &ticks.to_le_bytes());
}

fn broken() -> Error {
    Error::new(ErrorCode::Backend, "the hive cannot be changed: a cell of the key or value cannot be read")
}
