//! A read-only look into an SQLite file: one table's rows, one row by its id, and row ids by a text key of an index
//! (sqlite.org/fileformat2.html). Pages that only the write-ahead log has are read from there.
//!
//! Invariant: the file is hostile. Nothing is followed that is not a page of it, no tree is deeper than [`DEPTH`], no
//! row larger than [`ROW_LIMIT`]; nothing is written, locked or recovered.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;

const DEPTH: usize = 20;
/// The header of the largest package known is some 10 MB.
const ROW_LIMIT: u64 = 64 << 20;
const WAL_LIMIT: u64 = 1 << 30;
const MAGIC: &[u8] = b"SQLite format 3\0";

pub struct Sqlite {
    file: File,
    page_size: usize,
    /// Of a page; the rest is reserved.
    usable: usize,
    pages: u32,
    wal: Option<Wal>,
}

/// Where the newest committed version of a page lies in the write-ahead log.
struct Wal {
    file: File,
    pages: HashMap<u32, u64>,
}

/// A column of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Integer(i64),
    /// Text or blob.
    Bytes(Vec<u8>),
}

/// What stands in a cell besides its child.
struct Cell {
    rowid: i64,
    payload: Vec<u8>,
}

struct Page {
    bytes: Vec<u8>,
    /// 100 on the first page, behind the file's header.
    start: usize,
}

impl Sqlite {
    pub fn open(file: File, wal: Option<File>) -> Result<Sqlite> {
        let mut header = [0; 100];
        file.read_exact_at(&mut header, 0)?;
        if !header.starts_with(MAGIC) {
            return Err(damaged("it is no SQLite file"));
        }
        let page_size = match be16(&header, 16)? {
            1 => 65536,
            size if size >= 512 && size.is_power_of_two() => usize::from(size),
            size => return Err(damaged(&format!("pages of {size} bytes"))),
        };
        let reserved = usize::from(byte(&header, 20)?);
        let usable =
            page_size.checked_sub(reserved).filter(|u| *u >= 480).ok_or_else(|| damaged("no room in a page"))?;
        let wal = wal.and_then(|file| Wal::read(file, page_size).transpose()).transpose()?;
        let size = file.metadata()?.len() / u64::try_from(page_size).unwrap_or(u64::MAX);
        let newest = wal.as_ref().and_then(|w| w.pages.keys().max().copied()).unwrap_or(0);
        let pages = u32::try_from(size).unwrap_or(u32::MAX).max(newest);
        Ok(Sqlite { file, page_size, usable, pages, wal })
    }

    /// The root page of a table or an index.
    pub fn root(&self, kind: &str, name: &str) -> Result<u32> {
        let mut root = None;
        self.rows(1, &mut |_, payload| {
            let row = record(payload)?;
            if let [Value::Bytes(k), Value::Bytes(n), _, Value::Integer(page), ..] = row.as_slice()
                && k == kind.as_bytes()
                && n == name.as_bytes()
            {
                root = u32::try_from(*page).ok();
            }
            Ok(())
        })?;
        root.ok_or_else(|| damaged(&format!("there is no {kind} {name}")))
    }

    /// Every row of a table, in the order of its ids.
    pub fn rows(&self, root: u32, each: &mut dyn FnMut(i64, &[u8]) -> Result<()>) -> Result<()> {
        let mut left = self.pages;
        self.walk(root, 0, &mut left, each)
    }

    fn walk(
        &self,
        page: u32,
        depth: usize,
        left: &mut u32,
        each: &mut dyn FnMut(i64, &[u8]) -> Result<()>,
    ) -> Result<()> {
        // A tree has no page twice: one that leads back to itself ends here.
        *left = left.checked_sub(1).filter(|_| depth < DEPTH).ok_or_else(|| damaged("a tree without end"))?;
        let page = self.page(page)?;
        match page.kind()? {
            0x0d => {
                for cell in 0..page.cells()? {
                    let Cell { rowid, payload } = self.leaf_cell(&page, cell)?;
                    each(rowid, &payload)?;
                }
                Ok(())
            }
            0x05 => {
                for cell in 0..page.cells()? {
                    self.walk(be32(&page.bytes, page.cell(cell)?)?, depth + 1, left, each)?;
                }
                self.walk(page.right()?, depth + 1, left, each)
            }
            kind => Err(damaged(&format!("a page of kind {kind} in a table"))),
        }
    }

    /// One row by its id.
    pub fn row(&self, root: u32, rowid: i64) -> Result<Option<Vec<u8>>> {
        let mut number = root;
        for _ in 0..DEPTH {
            let page = self.page(number)?;
            let count = page.cells()?;
            match page.kind()? {
                0x0d => {
                    let at = first(count, |cell| Ok(self.leaf_rowid(&page, cell)? >= rowid))?;
                    if at == count || self.leaf_rowid(&page, at)? != rowid {
                        return Ok(None);
                    }
                    return self.leaf_cell(&page, at).map(|c| Some(c.payload));
                }
                0x05 => {
                    let key = |cell| -> Result<i64> { Ok(varint(&page.bytes, page.cell(cell)? + 4)?.0.cast_signed()) };
                    let at = first(count, |cell| Ok(key(cell)? >= rowid))?;
                    number = if at == count { page.right()? } else { be32(&page.bytes, page.cell(at)?)? };
                }
                kind => return Err(damaged(&format!("a page of kind {kind} in a table"))),
            }
        }
        Err(damaged("a tree without end"))
    }

    /// The row ids that an index on one text column gives for a key; at most `limit`.
    pub fn indexed(&self, root: u32, key: &[u8], limit: usize) -> Result<Vec<i64>> {
        let mut found = Vec::new();
        let mut left = self.pages;
        self.seek(root, 0, &mut left, key, limit, &mut found)?;
        Ok(found)
    }

    fn seek(
        &self,
        number: u32,
        depth: usize,
        left: &mut u32,
        key: &[u8],
        limit: usize,
        found: &mut Vec<i64>,
    ) -> Result<()> {
        *left = left.checked_sub(1).filter(|_| depth < DEPTH).ok_or_else(|| damaged("a tree without end"))?;
        let page = self.page(number)?;
        let skip = match page.kind()? {
            0x0a => 0,
            0x02 => 4,
            kind => return Err(damaged(&format!("a page of kind {kind} in an index"))),
        };
        let count = page.cells()?;
        let entry = |cell| self.index_cell(&page, page.cell(cell)? + skip);
        let mut at = first(count, |cell| Ok(entry(cell)?.0.as_slice() >= key))?;
        while found.len() < limit {
            if skip > 0 {
                let child = if at == count { page.right()? } else { be32(&page.bytes, page.cell(at)?)? };
                self.seek(child, depth + 1, left, key, limit, found)?;
            }
            if at == count {
                break;
            }
            let (here, rowid) = entry(at)?;
            if here != key {
                break;
            }
            found.push(rowid);
            at += 1;
        }
        Ok(())
    }

    fn page(&self, number: u32) -> Result<Page> {
        let mut bytes = vec![0; self.page_size];
        let index = number.checked_sub(1).filter(|_| number <= self.pages).ok_or_else(|| damaged("no such page"))?;
        match self.wal.as_ref().and_then(|w| Some((&w.file, *w.pages.get(&number)?))) {
            Some((wal, offset)) => wal.read_exact_at(&mut bytes, offset)?,
            None => {
                let offset = u64::from(index) * u64::try_from(self.page_size).unwrap_or(u64::MAX);
                self.file.read_exact_at(&mut bytes, offset)?;
            }
        }
        Ok(Page { bytes, start: if number == 1 { 100 } else { 0 } })
    }

    fn leaf_rowid(&self, page: &Page, cell: usize) -> Result<i64> {
        let at = page.cell(cell)?;
        let (_, used) = varint(&page.bytes, at)?;
        Ok(varint(&page.bytes, at + used)?.0.cast_signed())
    }

    fn leaf_cell(&self, page: &Page, cell: usize) -> Result<Cell> {
        let at = page.cell(cell)?;
        let (size, first) = varint(&page.bytes, at)?;
        let (rowid, second) = varint(&page.bytes, at + first)?;
        let payload = self.payload(page, at + first + second, size, self.usable - 35)?;
        Ok(Cell { rowid: rowid.cast_signed(), payload })
    }

    /// A key and its row id.
    fn index_cell(&self, page: &Page, at: usize) -> Result<(Vec<u8>, i64)> {
        let (size, used) = varint(&page.bytes, at)?;
        let most = (self.usable - 12) * 64 / 255 - 23;
        match record(&self.payload(page, at + used, size, most)?)?.as_slice() {
            [Value::Bytes(key), .., Value::Integer(rowid)] => Ok((key.clone(), *rowid)),
            [Value::Null, .., Value::Integer(rowid)] => Ok((Vec::new(), *rowid)),
            _ => Err(damaged("an index entry without a key")),
        }
    }

    /// A payload, whose end may lie in a chain of overflow pages. `most` of it lies in the page itself.
    fn payload(&self, page: &Page, at: usize, size: u64, most: usize) -> Result<Vec<u8>> {
        let size =
            usize::try_from(size).ok().filter(|s| *s as u64 <= ROW_LIMIT).ok_or_else(|| damaged("a huge row"))?;
        let local = if size <= most {
            size
        } else {
            let least = (self.usable - 12) * 32 / 255 - 23;
            let fits = least + (size - least) % (self.usable - 4);
            if fits <= most { fits } else { least }
        };
        let mut bytes = slice(&page.bytes, at, local)?.to_vec();
        if size == local {
            return Ok(bytes);
        }
        let mut next = be32(&page.bytes, at + local)?;
        while bytes.len() < size {
            let page = self.page(next)?;
            next = be32(&page.bytes, 0)?;
            let part = (size - bytes.len()).min(self.usable - 4);
            bytes.extend_from_slice(slice(&page.bytes, 4, part)?);
        }
        Ok(bytes)
    }
}

impl Page {
    fn kind(&self) -> Result<u8> {
        byte(&self.bytes, self.start)
    }

    fn cells(&self) -> Result<usize> {
        be16(&self.bytes, self.start + 3).map(usize::from)
    }

    fn right(&self) -> Result<u32> {
        be32(&self.bytes, self.start + 8)
    }

    /// Where a cell begins.
    fn cell(&self, index: usize) -> Result<usize> {
        let header = if matches!(self.kind()?, 0x05 | 0x02) { 12 } else { 8 };
        be16(&self.bytes, self.start + header + 2 * index).map(usize::from)
    }
}

impl Wal {
    /// The frames up to the last commit, while their salts and checksums are right; `None` for an empty log.
    fn read(file: File, page_size: usize) -> Result<Option<Wal>> {
        let mut header = [0; 32];
        let size = file.metadata()?.len();
        if !(32..=WAL_LIMIT).contains(&size) {
            return Ok(None);
        }
        file.read_exact_at(&mut header, 0)?;
        let big = match be32(&header, 0)? {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return Ok(None),
        };
        if be32(&header, 8)? as usize != page_size {
            return Ok(None);
        }
        let mut sum = checksum((0, 0), slice(&header, 0, 24)?, big)?;
        if sum != (be32(&header, 24)?, be32(&header, 28)?) {
            return Ok(None);
        }
        let (mut pages, mut pending) = (HashMap::new(), Vec::new());
        let mut frame = vec![0; 24 + page_size];
        let mut at = 32;
        while file.read_exact_at(&mut frame, at).is_ok() {
            sum = checksum(checksum(sum, slice(&frame, 0, 8)?, big)?, slice(&frame, 24, page_size)?, big)?;
            let same_salt = slice(&frame, 8, 8)? == slice(&header, 16, 8)?;
            if !same_salt || sum != (be32(&frame, 16)?, be32(&frame, 20)?) {
                break;
            }
            pending.push((be32(&frame, 0)?, at + 24));
            if be32(&frame, 4)? != 0 {
                pages.extend(pending.drain(..));
            }
            at += 24 + page_size as u64;
        }
        Ok((!pages.is_empty()).then_some(Wal { file, pages }))
    }
}

fn checksum((mut a, mut b): (u32, u32), bytes: &[u8], big: bool) -> Result<(u32, u32)> {
    let word = |w: &[u8]| {
        let w: [u8; 4] = w.try_into().map_err(|_| damaged("an odd frame"))?;
        Ok::<u32, Error>(if big { u32::from_be_bytes(w) } else { u32::from_le_bytes(w) })
    };
    for pair in bytes.chunks_exact(8) {
        let (x, y) = pair.split_at(4);
        a = a.wrapping_add(word(x)?).wrapping_add(b);
        b = b.wrapping_add(word(y)?).wrapping_add(a);
    }
    Ok((a, b))
}

/// The columns of a record.
pub fn record(payload: &[u8]) -> Result<Vec<Value>> {
    let (header, used) = varint(payload, 0)?;
    let header = usize::try_from(header).map_err(|_| damaged("a huge header"))?;
    let (mut at, mut body) = (used, header);
    let mut values = Vec::new();
    while at < header {
        let (kind, used) = varint(payload, at)?;
        at += used;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => kind,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return Err(damaged("a column of a reserved kind")),
            _ => (kind - 12) / 2,
        };
        let size = usize::try_from(size).map_err(|_| damaged("a huge column"))?;
        let bytes = slice(payload, body, size)?;
        body += size;
        values.push(match kind {
            0 | 7 => Value::Null,
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            1..=6 => {
                let negative = bytes.first().is_some_and(|b| b & 0x80 != 0);
                let start = if negative { -1 } else { 0 };
                Value::Integer(bytes.iter().fold(start, |n: i64, b| (n << 8) | i64::from(*b)))
            }
            _ => Value::Bytes(bytes.to_vec()),
        });
    }
    Ok(values)
}

/// The first cell for which `is` holds, in an ordered page.
fn first(count: usize, is: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if is(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

fn varint(bytes: &[u8], at: usize) -> Result<(u64, usize)> {
    let mut value = 0u64;
    for index in 0..8 {
        let b = byte(bytes, at + index)?;
        value = (value << 7) | u64::from(b & 0x7f);
        if b & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    Ok(((value << 8) | u64::from(byte(bytes, at + 8)?), 9))
}

fn slice(bytes: &[u8], at: usize, size: usize) -> Result<&[u8]> {
    at.checked_add(size).and_then(|end| bytes.get(at..end)).ok_or_else(|| damaged("it is cut"))
}

fn byte(bytes: &[u8], at: usize) -> Result<u8> {
    bytes.get(at).copied().ok_or_else(|| damaged("it is cut"))
}

fn be16(bytes: &[u8], at: usize) -> Result<u16> {
    slice(bytes, at, 2)?.try_into().map(u16::from_be_bytes).map_err(|_| damaged("it is cut"))
}

fn be32(bytes: &[u8], at: usize) -> Result<u32> {
    slice(bytes, at, 4)?.try_into().map(u32::from_be_bytes).map_err(|_| damaged("it is cut"))
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the database is damaged: {what}"))
}
