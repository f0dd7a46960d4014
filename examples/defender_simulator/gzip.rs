//! Bytes on their way out, plain or packed, in constant memory however many they are.

use crate::results::Encoding;
use axum::body::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, Crc, FlushCompress};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock};

#[derive(Clone)]
pub enum Source {
    Bytes(Bytes),
    /// Read from its beginning, as long as it was when it was taken.
    File(Arc<File>, u64),
    /// So many bytes of a pattern.
    Generated(u64),
}

impl Source {
    pub fn size(&self) -> u64 {
        match self {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File(_, size) | Source::Generated(size) => *size,
        }
    }

    /// The same length, other content.
    pub fn spoiled(&self) -> io::Result<Source> {
        let mut bytes = Vec::new();
        self.reader().take(64 << 20).read_to_end(&mut bytes)?;
        for byte in bytes.iter_mut().step_by(97) {
            *byte ^= 0x55;
        }
        Ok(Source::Bytes(bytes.into()))
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader { source: self, at: 0 }
    }
}

pub struct Reader<'a> {
    source: &'a Source,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.source.size().saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = out.len().min(left);
        let read = match self.source {
            Source::Bytes(bytes) => {
                let at = usize::try_from(self.at).unwrap_or(usize::MAX);
                out[..wanted].copy_from_slice(&bytes[at..at + wanted]);
                wanted
            }
            Source::File(file, _) => file.read_at(&mut out[..wanted], self.at)?,
            Source::Generated(_) => {
                let at = (self.at % BLOCK as u64) as usize;
                let part = wanted.min(BLOCK - at);
                out[..part].copy_from_slice(&PATTERN.plain[at..at + part]);
                part
            }
        };
        self.at += read as u64;
        Ok(read)
    }
}

const BLOCK: usize = 1 << 20;
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// A last, empty block of deflate.
const LAST: [u8; 2] = [3, 0];

/// A block of generated content, and the same as a piece of a deflate stream that can be repeated.
struct Pattern {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

static PATTERN: LazyLock<Pattern> = LazyLock::new(|| {
    let mut seed = crate::seed::Seed::new(0, "pattern");
    let line = |n: usize, seed: &mut crate::seed::Seed| format!("{n:08x} {} page of generated memory\n", seed.hex(48));
    let mut plain: Vec<u8> = (0..).flat_map(|n| line(n, &mut seed).into_bytes()).take(BLOCK).collect();
    plain.truncate(BLOCK);
    Pattern { packed: flushed(&plain), plain }
});

/// Deflated, and ended so that the next piece needs nothing of it.
fn flushed(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(plain.len() + (plain.len() >> 8) + 1024);
    let mut deflate = Compress::new(Compression::fast(), false);
    // Room for all of it was made, so one call takes everything.
    let _ = deflate.compress_vec(plain, &mut out, FlushCompress::Full);
    out
}

fn tail(size: u64) -> Vec<u8> {
    PATTERN.plain[..(size % BLOCK as u64) as usize].to_vec()
}

/// Its length where it is known before.
pub fn length(source: &Source, encoding: Encoding) -> io::Result<Option<u64>> {
    Ok(match (source, encoding) {
        (_, Encoding::Plain) => Some(source.size()),
        (Source::Generated(size), Encoding::Gzip) => {
            let blocks = size / BLOCK as u64 * PATTERN.packed.len() as u64;
            let rest = tail(*size);
            let rest = if rest.is_empty() { 0 } else { flushed(&rest).len() as u64 };
            Some((HEAD.len() + LAST.len() + 8) as u64 + blocks + rest)
        }
        _ => None,
    })
}

pub fn write(source: &Source, encoding: Encoding, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, out);
    match (source, encoding) {
        (_, Encoding::Plain) => {
            io::copy(&mut source.reader(), &mut out)?;
        }
        (Source::Generated(size), Encoding::Gzip) => generated(*size, &mut out)?,
        (_, Encoding::Gzip) => packed(source, &mut out)?,
        (_, Encoding::Double) => {
            let mut outer = GzEncoder::new(&mut out, Compression::fast());
            packed(source, &mut outer)?;
            outer.finish()?;
        }
    }
    out.flush()
}

fn packed(source: &Source, out: impl Write) -> io::Result<()> {
    let mut gzip = GzEncoder::new(out, Compression::fast());
    io::copy(&mut source.reader(), &mut gzip)?;
    gzip.finish().map(drop)
}

/// The same packed block over and over; the checksums are combined, not counted.
fn generated(size: u64, out: &mut impl Write) -> io::Result<()> {
    let mut block = Crc::new();
    block.update(&PATTERN.plain);
    let mut whole = Crc::new();
    out.write_all(&HEAD)?;
    for _ in 0..size / BLOCK as u64 {
        out.write_all(&PATTERN.packed)?;
        whole.combine(&block);
    }
    let rest = tail(size);
    if !rest.is_empty() {
        out.write_all(&flushed(&rest))?;
        whole.update(&rest);
    }
    out.write_all(&LAST)?;
    out.write_all(&whole.sum().to_le_bytes())?;
    // The gzip format keeps the length modulo 2^32.
    out.write_all(&(size as u32).to_le_bytes())
}
