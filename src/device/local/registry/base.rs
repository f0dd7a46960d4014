//! The base block: the first 4,096 bytes of a hive, and the first 512 of a log.

use super::name::utf16;
use super::pages::{Source, fill};

/// Where the hive bins begin; offsets of cells count from here.
pub const BINS: u64 = 4096;
/// The part with a checksum.
pub const HEAD: usize = 512;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    Hive,
    /// `DIRT`: Windows 7 and before.
    OldLog,
    /// `HvLE`.
    NewLog,
    Other,
}

#[derive(Clone, Debug)]
pub struct Base {
    pub sequence: (u32, u32),
    /// FILETIME.
    pub written: u64,
    pub minor: u32,
    pub kind: FileKind,
    /// Offset of the root key's cell.
    pub root: u32,
    pub bins_size: u32,
    /// Of a log: sectors of 512 bytes that the base block takes.
    pub cluster: u32,
    /// The end of the hive's path when it was written; empty where it was not told.
    pub file_name: String,
    /// The checksum is right.
    pub valid: bool,
}

/// Why a file is no hive.
#[derive(Debug, PartialEq)]
pub enum NoHive {
    /// Windows 95, 98, Me.
    Creg,
    Empty,
    Other,
}

impl Base {
    pub fn read(source: &dyn Source) -> Result<Base, NoHive> {
        let mut head = [0; HEAD];
        if !fill(source, &mut head, 0) {
            return Err(if source.size() == 0 { NoHive::Empty } else { NoHive::Other });
        }
        match &head {
            [b'r', b'e', b'g', b'f', ..] => Ok(Base::parse(&head)),
            [b'C', b'R', b'E', b'G', ..] => Err(NoHive::Creg),
            _ if head.iter().all(|b| *b == 0) => Err(NoHive::Empty),
            _ => Err(NoHive::Other),
        }
    }

    fn parse(head: &[u8; HEAD]) -> Base {
        let word = |at| u32_at(head, at).unwrap_or(0);
        let file_name = utf16(head.get(48..112).unwrap_or_default());
        Base {
            sequence: (word(4), word(8)),
            written: u64_at(head, 12).unwrap_or(0),
            minor: word(24),
            kind: match word(28) {
                0 => FileKind::Hive,
                1 | 2 => FileKind::OldLog,
                6 => FileKind::NewLog,
                _ => FileKind::Other,
            },
            root: word(36),
            bins_size: word(40),
            cluster: word(44),
            file_name: file_name.split('\0').next().unwrap_or_default().to_owned(),
            valid: checksum(head) == word(508) && word(20) == 1,
        }
    }

    /// It was being written when the copy was made, or when the system stopped.
    pub fn is_dirty(&self) -> bool {
        self.sequence.0 != self.sequence.1
    }
}

pub fn checksum(head: &[u8; HEAD]) -> u32 {
    let words = head.as_chunks::<4>().0.iter().take(127);
    match words.fold(0, |sum, word| sum ^ u32::from_le_bytes(*word)) {
        0 => 1,
        u32::MAX => u32::MAX - 1,
        sum => sum,
    }
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}

pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}
