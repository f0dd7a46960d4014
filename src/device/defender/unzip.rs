//! The members of a zip archive, one after another, by its central directory (APPNOTE.TXT 4.3).
//!
//! Invariants: memory is constant, however many members the archive says it has; a member's bytes are never more than
//! it said, and a place outside the file is an error.

use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::fs::File;
use std::io::{BufReader, Error, Read, Result};
use std::os::unix::fs::FileExt;

/// Names and extra fields have 16 bits for their length.
const END: usize = 22;
const COMMENT: u64 = 65_535;
/// Stands for a number that is in the 64-bit field.
const ELSEWHERE: u32 = u32::MAX;
/// Deflate makes no more than so many bytes of one.
pub(super) const GROWTH: u64 = 1032;

/// A member, as the central directory has it.
pub(super) struct Member {
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
    packed: u64,
    crc: u32,
    flags: u16,
    method: u16,
    is_link: bool,
    at: u64,
}

pub(super) struct Zip<'f> {
    file: &'f File,
    length: u64,
    directory: BufReader<Window<'f>>,
    left: u64,
}

/// Part of a file.
struct Window<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let read = self.file.read_at(into.get_mut(..room).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

fn broken(why: &str) -> Error {
    Error::new(std::io::ErrorKind::InvalidData, why)
}

/// Little-endian numbers in front of bytes.
struct Fields<'b>(&'b [u8]);

impl Fields<'_> {
    fn number(&mut self, bytes: usize) -> Result<u64> {
        let (head, rest) = self.0.split_at_checked(bytes).ok_or_else(|| broken("a record is cut off"))?;
        self.0 = rest;
        Ok(head.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte)))
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::try_from(self.number(2)?).unwrap_or(u16::MAX))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::try_from(self.number(4)?).unwrap_or(u32::MAX))
    }
}

impl<'f> Zip<'f> {
    pub(super) fn open(file: &'f File) -> Result<Zip<'f>> {
        let length = file.metadata()?.len();
        let tail_at = length.saturating_sub(COMMENT + END as u64);
        let mut tail = Vec::new();
        Window { file, at: tail_at, left: length - tail_at }.read_to_end(&mut tail)?;
        let is_end = |at: &usize| {
            let record = tail.get(*at..).unwrap_or_default();
            let comment = record.get(20..END).map_or(usize::MAX, |n| Fields(n).u16().map_or(usize::MAX, usize::from));
            record.starts_with(b"PK\x05\x06") && comment.checked_add(END).is_some_and(|end| end <= record.len())
        };
        let last = tail.len().checked_sub(END).ok_or_else(|| broken("it is too short for a zip archive"))?;
        let end = (0..=last).rev().find(is_end).ok_or_else(|| broken("it has no end of a zip archive"))?;
        let mut fields = Fields(tail.get(end + 4..).unwrap_or_default());
        fields.number(6)?;
        let (count, size, at) = (fields.u16()?, fields.u32()?, fields.u32()?);
        let (count, size, at) = if count == u16::MAX || size == ELSEWHERE || at == ELSEWHERE {
            large_end(file, tail_at + end as u64)?
        } else {
            (u64::from(count), u64::from(size), u64::from(at))
        };
        if at.checked_add(size).is_none_or(|end| end > length) {
            return Err(broken("its directory lies outside of it"));
        }
        Ok(Zip { file, length, directory: BufReader::new(Window { file, at, left: size }), left: count })
    }

    /// The next member of the directory.
    pub(super) fn next(&mut self) -> Result<Option<Member>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let mut record = [0; 46];
        self.directory.read_exact(&mut record)?;
        let mut fields = Fields(&record);
        if fields.number(4)? != 0x0201_4b50 {
            return Err(broken("its directory is damaged"));
        }
        let made_by = fields.u16()?;
        fields.u16()?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.u32()?;
        let (crc, packed, size) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (name_length, extra_length, comment_length) = (fields.u16()?, fields.u16()?, fields.u16()?);
        fields.u32()?;
        let (attributes, at) = (fields.u32()?, fields.u32()?);
        let mut name = vec![0; name_length.into()];
        self.directory.read_exact(&mut name)?;
        let mut extra = vec![0; extra_length.into()];
        self.directory.read_exact(&mut extra)?;
        std::io::copy(&mut self.directory.by_ref().take(comment_length.into()), &mut std::io::sink())?;
        let mut large = large_fields(&extra);
        let mut whole = |number: u32| if number == ELSEWHERE { large.number(8) } else { Ok(u64::from(number)) };
        // In this order where they stand in the 64-bit field (4.5.3).
        let (size, packed, at) = (whole(size)?, whole(packed)?, whole(at)?);
        // 3: the upper half of the attributes is the mode of Unix.
        let is_link = made_by >> 8 == 3 && (attributes >> 16) & 0o170_000 == 0o120_000;
        Ok(Some(Member { name, size, packed, crc, flags, method, is_link, at }))
    }

    /// Why a member cannot be read, where it cannot.
    pub(super) fn refusal(member: &Member) -> Option<&'static str> {
        let is_possible = match member.method {
            0 => member.size == member.packed,
            8 => member.size <= member.packed.saturating_mul(GROWTH).saturating_add(GROWTH),
            _ => return Some("packed in a way that is not known"),
        };
        if member.flags & 1 != 0 {
            Some("encrypted")
        } else if member.is_link {
            Some("no plain file")
        } else if !is_possible {
            Some("says that it holds more than it can")
        } else {
            None
        }
    }

    /// A member's bytes; an error where they are not those that the directory tells of.
    pub(super) fn content(&self, member: &Member) -> Result<impl Read + use<'f>> {
        let mut header = [0; 30];
        Window { file: self.file, at: member.at, left: 30 }.read_exact(&mut header)?;
        let mut fields = Fields(&header);
        if fields.number(4)? != 0x0403_4b50 {
            return Err(broken("there is no member where the directory says"));
        }
        fields.number(22)?;
        let skipped = 30 + u64::from(fields.u16()?) + u64::from(fields.u16()?);
        let at = member.at.checked_add(skipped).filter(|at| *at <= self.length);
        let at = at.ok_or_else(|| broken("a member lies outside of the archive"))?;
        if member.packed > self.length - at {
            return Err(broken("a member lies outside of the archive"));
        }
        let window = BufReader::new(Window { file: self.file, at, left: member.packed });
        let from: Box<dyn Read + 'f> =
            if member.method == 8 { Box::new(DeflateDecoder::new(window)) } else { Box::new(window) };
        Ok(Checked { from: from.take(member.size), left: member.size, crc: Crc::new(), wanted: member.crc })
    }
}

/// The 64-bit end (4.3.14), by the locator that stands before the other.
fn large_end(file: &File, end: u64) -> Result<(u64, u64, u64)> {
    let at = end.checked_sub(20).ok_or_else(|| broken("its 64-bit end is missing"))?;
    let mut locator = [0; 20];
    Window { file, at, left: 20 }.read_exact(&mut locator)?;
    let mut fields = Fields(&locator);
    if fields.number(4)? != 0x0706_4b50 {
        return Err(broken("its 64-bit end is missing"));
    }
    fields.u32()?;
    let at = fields.number(8)?;
    let mut record = [0; 56];
    Window { file, at, left: 56 }.read_exact(&mut record)?;
    let mut fields = Fields(&record);
    if fields.number(4)? != 0x0606_4b50 {
        return Err(broken("its 64-bit end is damaged"));
    }
    fields.0 = fields.0.get(28..).unwrap_or_default();
    Ok((fields.number(8)?, fields.number(8)?, fields.number(8)?))
}

/// The 64-bit field (0x0001) of an extra field.
fn large_fields(extra: &[u8]) -> Fields<'_> {
    let mut fields = Fields(extra);
    while let (Ok(id), Ok(size)) = (fields.u16(), fields.u16()) {
        let Some((field, rest)) = fields.0.split_at_checked(size.into()) else { break };
        if id == 1 {
            return Fields(field);
        }
        fields.0 = rest;
    }
    Fields(&[])
}

/// Bytes that are counted and summed as they pass.
struct Checked<R> {
    from: std::io::Take<R>,
    left: u64,
    crc: Crc,
    wanted: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let read = self.from.read(into)?;
        self.crc.update(into.get(..read).unwrap_or_default());
        self.left -= read as u64;
        match read {
            0 if self.left > 0 && !into.is_empty() => Err(broken("its bytes end early")),
            0 if !into.is_empty() && self.crc.sum() != self.wanted => Err(broken("its checksum is wrong")),
            _ => Ok(read),
        }
    }
}
