//! Bytes that are kept until they are read again: in memory while they are few, else in a private file.
//!
//! Invariant: writing takes constant memory. The file has no name, so nothing is left behind however the process ends.

use crate::error::{Error, ErrorCode, Result};
use crate::private;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub(super) const IN_MEMORY: usize = 1 << 20;
pub(super) const CHUNK: usize = 64 * 1024;

/// Takes bytes piece by piece.
pub(super) struct Spill {
    dir: PathBuf,
    tail: Vec<u8>,
    file: Option<File>,
    /// Bytes in the file.
    written: u64,
}

/// What was taken.
pub(super) struct Spilled {
    bytes: Bytes,
    len: u64,
}

enum Bytes {
    Memory(Vec<u8>),
    File(File),
}

impl Spill {
    /// `dir` is where the bytes go when they are many: private, ours.
    pub(super) fn new(dir: &Path) -> Spill {
        Spill { dir: dir.to_owned(), tail: Vec::new(), file: None, written: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.written + self.tail.len() as u64
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.tail.extend_from_slice(bytes);
        let room = if self.file.is_some() { CHUNK } else { IN_MEMORY };
        if self.tail.len() > room { self.write() } else { Ok(()) }
    }

    pub(super) fn finish(mut self) -> Result<Spilled> {
        if self.file.is_some() && !self.tail.is_empty() {
            self.write()?;
        }
        let len = self.len();
        self.tail.shrink_to_fit();
        let bytes = match self.file {
            Some(file) => Bytes::File(file),
            None => Bytes::Memory(self.tail),
        };
        Ok(Spilled { bytes, len })
    }

    fn write(&mut self) -> Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => private::nameless(&self.dir)?,
        };
        file.write_all_at(&self.tail, self.written).map_err(unwritable)?;
        self.written += self.tail.len() as u64;
        self.tail.clear();
        self.tail.shrink_to(2 * CHUNK);
        self.file = Some(file);
        Ok(())
    }
}

impl Spilled {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds at most `most` bytes from `at` on to `into`; fewer only at the end.
    pub(super) fn read(&self, at: u64, most: usize, into: &mut Vec<u8>) -> Result<()> {
        let old = into.len();
        let wanted = usize::try_from(self.len.saturating_sub(at)).unwrap_or(most).min(most);
        match &self.bytes {
            Bytes::Memory(bytes) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                into.extend_from_slice(bytes.get(from..from.saturating_add(wanted)).unwrap_or_default());
            }
            Bytes::File(file) => {
                into.resize(old + wanted, 0);
                file.read_exact_at(into.get_mut(old..).unwrap_or_default(), at).map_err(unreadable)?;
            }
        }
        Ok(())
    }
}

fn unwritable(e: io::Error) -> Error {
    Error::new(ErrorCode::StoreUnavailable, format!("the listing cannot be kept: {e}"))
        .hint("make room in the state directory, or narrow the listing by filter")
        .source(e)
}

fn unreadable(e: io::Error) -> Error {
    Error::new(ErrorCode::BadCursor, format!("the listing cannot be read again: {e}"))
        .hint("repeat the call without cursor")
        .source(e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn many_bytes_lie_in_a_nameless_private_file_and_few_in_memory() {
        let dir = Scratch::new();
        let mut few = Spill::new(&dir);
        few.push(b"few").unwrap();
        let few = few.finish().unwrap();
        assert!(matches!(few.bytes, Bytes::Memory(_)) && few.len() == 3);
        let mut many = Spill::new(&dir);
        for _ in 0..20_000 {
            many.push(&[b'1'; 1_000]).unwrap();
            assert!(many.tail.capacity() <= 2 * IN_MEMORY + 1024);
        }
        assert!(many.tail.capacity() <= 4 * CHUNK);
        let many = many.finish().unwrap();
        let Bytes::File(file) = &many.bytes else { panic!("in memory") };
        let meta = file.metadata().unwrap();
        assert_eq!((meta.nlink(), meta.mode() & 0o777, many.len()), (0, 0o600, 20_000_000));
        assert_eq!(std::fs::read_dir(&*dir).unwrap().count(), 0);
        let mut end = Vec::new();
        many.read(19_999_990, CHUNK, &mut end).unwrap();
        assert_eq!(end, [b'1'; 10]);
    }
}
