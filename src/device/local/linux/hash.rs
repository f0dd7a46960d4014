//! Digests of a file in one pass over its bytes: MD5, SHA-1 and SHA-256 interleaved block by block, TLSH beside them on
//! a thread of its own.
//!
//! Invariant: every digest is of the same bytes, each read once, in constant memory.

use super::facts::Facts;
use super::md5;
use super::tlsh::Tlsh;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Sha256, hex};
use rustix::fs::Advice;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Bytes of one read.
const CHUNK: usize = 256 * 1024;
/// Buffers that go round between reader and TLSH.
const BUFFERS: usize = 8;

const SHA1_START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
const SHA256_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Of one run of bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Digests {
    /// Lower-case hex.
    pub md5: String,
    /// Lower-case hex.
    pub sha1: String,
    pub sha256: Sha256,
    /// `T1` and upper-case hex; absent where the bytes are too few, too uniform or more than 4 GB.
    pub tlsh: Option<String>,
    pub bytes: u64,
}

/// Digests of the whole file from its start. Warns where the file changed meanwhile.
pub fn digest(file: &File, want_tlsh: bool, job: &Job) -> Result<Digests> {
    digest_within(file, want_tlsh, u64::MAX, job)
}

/// [`digest`] with `E_TOO_LARGE` for a file that goes on past `limit` bytes, whatever size it says it has.
pub(super) fn digest_within(file: &File, want_tlsh: bool, limit: u64, job: &Job) -> Result<Digests> {
    let before = Facts::of(file).ok();
    let mut source = Source::new(file, limit, job);
    let mut fused = Fused::default();
    let tlsh = if want_tlsh {
        with_tlsh(&mut source, &mut fused)?
    } else {
        let mut buffer = vec![0; CHUNK];
        while let Some(filled) = source.fill(&mut buffer)? {
            fused.update(filled);
        }
        None
    };
    warn_of_change(file, before, source.offset, job);
    Ok(Digests { tlsh, ..fused.digests(source.offset) })
}

/// [`digest`] without TLSH, of a file that is no progress of its own.
pub(super) fn digest_uncounted(file: &File, job: &Job) -> Result<Digests> {
    let mut source = Source { counted: false, ..Source::new(file, u64::MAX, job) };
    let mut fused = Fused::default();
    let mut buffer = vec![0; CHUNK];
    while let Some(filled) = source.fill(&mut buffer)? {
        fused.update(filled);
    }
    Ok(fused.digests(source.offset))
}

/// Digests of bytes that are held.
pub(super) fn digest_bytes(bytes: &[u8]) -> Digests {
    let mut fused = Fused::default();
    fused.update(bytes);
    fused.digests(bytes.len() as u64)
}

/// Digests of bytes in memory, without TLSH.
pub(super) fn of_bytes(bytes: &[u8]) -> Digests {
    let mut fused = Fused::default();
    fused.update(bytes);
    let (md5, sha1, sha256) = fused.finish();
    let bytes = bytes.len() as u64;
    Digests { md5: hex(&md5), sha1: hex(&sha1), sha256: Sha256::from_bytes(&sha256), tlsh: None, bytes }
}

/// SHA-256 of the whole file from its start. Warns where the file changed meanwhile.
pub fn sha256(file: &File, job: &Job) -> Result<Sha256> {
    use sha2::Digest;
    let before = Facts::of(file).ok();
    let mut source = Source::new(file, u64::MAX, job);
    let mut digest = sha2::Sha256::new();
    let mut buffer = vec![0; CHUNK];
    while let Some(filled) = source.fill(&mut buffer)? {
        digest.update(filled);
    }
    warn_of_change(file, before, source.offset, job);
    Ok(Sha256::from_bytes(&digest.finalize()))
}

/// A file read from its start to its end, wherever its cursor stands.
struct Source<'a> {
    file: &'a File,
    offset: u64,
    limit: u64,
    /// Whether its bytes are the job's progress.
    counted: bool,
    job: &'a Job,
}

impl<'a> Source<'a> {
    fn new(file: &'a File, limit: u64, job: &'a Job) -> Self {
        // Advice only: a file that takes none is read all the same.
        let _ = rustix::fs::fadvise(file, 0, None, Advice::Sequential);
        Source { file, offset: 0, limit, counted: true, job }
    }

    /// The next bytes, as many as fit; `None` at the end.
    fn fill<'b>(&mut self, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>> {
        self.job.check()?;
        let mut held = 0;
        while let Some(free) = buffer.get_mut(held..).filter(|f| !f.is_empty()) {
            match self.file.read_at(free, self.offset + held as u64) {
                Ok(0) => break,
                Ok(n) => held += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("reading the file", e)),
            }
        }
        self.offset += held as u64;
        if self.counted {
            self.job.advance(held as u64);
        }
        if self.offset > self.limit {
            let limit = self.limit;
            return Err(Error::new(ErrorCode::TooLarge, format!("the file goes on past the limit of {limit} bytes")));
        }
        Ok(buffer.get(..held).filter(|filled| !filled.is_empty()))
    }
}

/// Digests on this thread, TLSH on another, from the same buffers.
fn with_tlsh(source: &mut Source<'_>, fused: &mut Fused) -> Result<Option<String>> {
    std::thread::scope(|scope| {
        let (filled_to, filled) = channel::<Arc<Chunk>>();
        let (spare_to, spare) = channel();
        let tlsh = scope.spawn(move || tlsh_of(&filled, &spare_to));
        let read = share(source, fused, &filled_to, &spare);
        drop(filled_to);
        let tlsh = tlsh.join().map_err(|_| Error::new(ErrorCode::Internal, "the TLSH thread ended early"))?;
        read.map(|()| tlsh)
    })
}

struct Chunk {
    bytes: Vec<u8>,
    held: usize,
}

fn share(
    source: &mut Source<'_>,
    fused: &mut Fused,
    filled: &Sender<Arc<Chunk>>,
    spare: &Receiver<Arc<Chunk>>,
) -> Result<()> {
    let mut made = 0;
    loop {
        // The other side is done with what it gives back, and so is this one: it holds one chunk at a time.
        let returned = if made < BUFFERS { spare.try_recv().ok() } else { spare.recv().ok() };
        let mut chunk = returned.and_then(Arc::into_inner).unwrap_or_else(|| {
            made += 1;
            Chunk { bytes: vec![0; CHUNK], held: 0 }
        });
        let Some(bytes) = source.fill(&mut chunk.bytes)? else { return Ok(()) };
        chunk.held = bytes.len();
        let chunk = Arc::new(chunk);
        let shared = Arc::clone(&chunk);
        if filled.send(shared).is_err() {
            return Err(Error::new(ErrorCode::Internal, "the TLSH thread ended early"));
        }
        fused.update(chunk.bytes.get(..chunk.held).unwrap_or_default());
    }
}

fn tlsh_of(filled: &Receiver<Arc<Chunk>>, spare: &Sender<Arc<Chunk>>) -> Option<String> {
    let mut digest = Tlsh::default();
    while let Ok(chunk) = filled.recv() {
        digest.update(chunk.bytes.get(..chunk.held).unwrap_or_default());
        // The reader is gone when it met an error.
        if spare.send(chunk).is_err() {
            return None;
        }
    }
    digest.finish()
}

fn warn_of_change(file: &File, before: Option<Facts>, bytes: u64, job: &Job) {
    let (Some(before), Ok(after)) = (before, Facts::of(file)) else { return };
    let what = if after.size > before.size {
        "grew"
    } else if after.size < before.size || (before.blocks > 0 && bytes < before.size) {
        "shrank"
    } else if after.modified != before.modified && before.blocks > 0 {
        "changed"
    } else {
        return;
    };
    job.warn(format!(
        "the file {what} while it was hashed: {} bytes before, {} after, the digests are of the {bytes} bytes read",
        before.size, after.size
    ));
}

/// MD5, SHA-1 and SHA-256 over one stream.
struct Fused {
    md5: [u32; 4],
    sha1: [u32; 5],
    sha256: [u32; 8],
    /// The start of a block that is not full yet.
    tail: [u8; 64],
    held: usize,
    bytes: u64,
}

impl Default for Fused {
    fn default() -> Self {
        Fused { md5: md5::START, sha1: SHA1_START, sha256: SHA256_START, tail: [0; 64], held: 0, bytes: 0 }
    }
}

impl Fused {
    /// Of so many bytes, without TLSH.
    fn digests(self, bytes: u64) -> Digests {
        let (md5, sha1, sha256) = self.finish();
        Digests { md5: hex(&md5), sha1: hex(&sha1), sha256: Sha256::from_bytes(&sha256), tlsh: None, bytes }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.held > 0 {
            bytes = self.top_up(bytes);
        }
        let (blocks, rest) = bytes.as_chunks::<64>();
        for block in blocks {
            self.compress(block);
        }
        if !rest.is_empty() {
            self.top_up(rest);
        }
    }

    /// Adds to the block that is not full; gives what did not fit.
    fn top_up<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let free = self.tail.get_mut(self.held..).unwrap_or_default();
        let (taken, rest) = bytes.split_at(free.len().min(bytes.len()));
        for (to, from) in free.iter_mut().zip(taken) {
            *to = *from;
        }
        self.held += taken.len();
        if self.held == self.tail.len() {
            let block = self.tail;
            self.compress(&block);
            self.held = 0;
        }
        rest
    }

    /// One block for each in turn: the SHA instructions run in the shadow of MD5's chain of additions.
    #[inline]
    fn compress(&mut self, block: &[u8; 64]) {
        md5::compress(&mut self.md5, block);
        sha1::block_api::compress(&mut self.sha1, std::slice::from_ref(block));
        sha2::block_api::compress256(&mut self.sha256, std::slice::from_ref(block));
    }

    /// Pads (RFC 1321 section 3.1, FIPS 180-4 section 5.1.1): MD5 writes the length the other way round.
    fn finish(mut self) -> ([u8; 16], [u8; 20], [u8; 32]) {
        let bits = self.bytes.wrapping_mul(8);
        let mut end = [0u8; 128];
        let held = self.tail.get(..self.held).unwrap_or_default();
        for (to, from) in end.iter_mut().zip(held.iter().chain(&[0x80])) {
            *to = *from;
        }
        let length = if self.held < 56 { 64 } else { 128 };
        let mut big = end;
        write_before(&mut end, length, bits.to_le_bytes());
        write_before(&mut big, length, bits.to_be_bytes());
        let blocks = length / 64;
        for block in end.as_chunks::<64>().0.iter().take(blocks) {
            md5::compress(&mut self.md5, block);
        }
        for block in big.as_chunks::<64>().0.iter().take(blocks) {
            sha1::block_api::compress(&mut self.sha1, std::slice::from_ref(block));
            sha2::block_api::compress256(&mut self.sha256, std::slice::from_ref(block));
        }
        (
            words(self.md5.map(u32::to_le_bytes)),
            words(self.sha1.map(u32::to_be_bytes)),
            words(self.sha256.map(u32::to_be_bytes)),
        )
    }
}

fn write_before(bytes: &mut [u8; 128], end: usize, length: [u8; 8]) {
    for (to, from) in bytes.iter_mut().skip(end - 8).zip(length) {
        *to = from;
    }
}

fn words<const N: usize, const M: usize>(words: [[u8; 4]; N]) -> [u8; M] {
    let mut out = [0; M];
    for (to, from) in out.iter_mut().zip(words.as_flattened()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::TempTree;
    use super::*;
    use ::md5::Md5;
    use proptest::prelude::*;
    use sha2::Digest;
    use std::io::Write;

    type Three = ([u8; 16], [u8; 20], [u8; 32]);

    fn crates(bytes: &[u8]) -> Three {
        (Md5::digest(bytes).into(), sha1::Sha1::digest(bytes).into(), sha2::Sha256::digest(bytes).into())
    }

    fn fused(pieces: &[&[u8]]) -> Three {
        let mut fused = Fused::default();
        pieces.iter().for_each(|p| fused.update(p));
        fused.finish()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut x = 0x9e37_79b9_u32;
        std::iter::repeat_with(|| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            x.to_le_bytes()[1]
        })
        .take(length)
        .collect()
    }

    #[test]
    fn every_length_has_the_crates_digests() {
        let bytes = noise(300);
        for length in 0..=300 {
            assert_eq!(fused(&[&bytes[..length]]), crates(&bytes[..length]), "{length}");
        }
    }

    proptest! {
        #[test]
        fn splits_change_nothing(length in 0usize..2_000, cuts in proptest::collection::vec(0usize..2_000, 0..6)) {
            let bytes = noise(length);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(length)).chain([0, length]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|c| &bytes[c[0]..c[1]]).collect();
            prop_assert_eq!(fused(&pieces), crates(&bytes));
        }
    }

    fn file(tree: &TempTree, bytes: &[u8]) -> File {
        std::fs::write(tree.path("file"), bytes).unwrap();
        File::open(tree.path("file")).unwrap()
    }

    #[test]
    fn a_file_of_many_chunks_is_read_whole_by_every_digest() {
        let tree = TempTree::new();
        let bytes = noise(CHUNK * (BUFFERS + 3) + 77);
        let job = Job::default();
        let digests = digest(&file(&tree, &bytes), true, &job).unwrap();
        let (md5, sha1, sha256) = crates(&bytes);
        assert_eq!((digests.md5, digests.sha1), (hex(&md5), hex(&sha1)));
        assert_eq!(digests.sha256, Sha256::from_bytes(&sha256));
        assert_eq!((digests.bytes, job.progress().0), (bytes.len() as u64, bytes.len() as u64));
        let mut whole = Tlsh::default();
        whole.update(&bytes);
        assert_eq!(digests.tlsh, whole.finish());
        assert_eq!(job.take_warnings(), Vec::<String>::new());
    }

    #[test]
    fn a_file_too_short_for_tlsh_has_none() {
        let tree = TempTree::new();
        assert_eq!(digest(&file(&tree, b"short"), true, &Job::default()).unwrap().tlsh, None);
    }

    /// The digest that `tlsh.hash` of the Python package `py-tlsh` 5.0.0 gives.
    #[test]
    fn tlsh_is_what_the_reference_program_writes() {
        let tree = TempTree::new();
        let lines = |n: u32, line: &dyn Fn(u32) -> String| (0..n).map(line).collect::<String>();
        let long = lines(100, &|i| format!("line {i} of a text that is long enough\n"));
        let fifty_bytes = lines(20, &|i| format!("{i}\n"));
        for (text, expected) in [
            (long, "T17C7194217D0815E5FEE7211D2D567D5ED718B2FF7E30A1F8A68B38A2431297A30700DA"),
            (fifty_bytes, "T1C4900444CC77C1D305C15311144D57557110034DF5CD54354C1417DC473F710417D411"),
        ] {
            let digests = digest(&file(&tree, text.as_bytes()), true, &Job::default()).unwrap();
            assert_eq!(digests.tlsh.as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_cancelled_job_stops_the_reading() {
        let tree = TempTree::new();
        let job = Job::default();
        job.cancel();
        for want_tlsh in [false, true] {
            assert_eq!(digest(&file(&tree, b"x"), want_tlsh, &job).err().unwrap().code, ErrorCode::Cancelled);
        }
    }

    #[test]
    fn a_file_without_end_meets_the_limit() {
        let zeros = File::open("/dev/zero").unwrap();
        for want_tlsh in [false, true] {
            let error = digest_within(&zeros, want_tlsh, 1 << 20, &Job::default()).err().unwrap();
            assert_eq!(error.code, ErrorCode::TooLarge);
        }
    }

    #[test]
    fn a_change_while_hashing_is_told_with_both_sizes() {
        let tree = TempTree::new();
        let read = file(&tree, &noise(100));
        let before = Facts::of(&read).ok();
        for (size, word) in [(150, "grew"), (10, "shrank")] {
            File::options().write(true).open(tree.path("file")).unwrap().set_len(size).unwrap();
            let job = Job::default();
            warn_of_change(&read, before, size, &job);
            let warnings = job.take_warnings();
            assert!(warnings[0].contains(word) && warnings[0].contains("100 bytes before"), "{warnings:?}");
            assert!(warnings[0].contains(&size.to_string()), "{warnings:?}");
        }
    }

    #[test]
    fn a_file_that_grows_while_read_is_hashed_as_it_was_read() {
        let tree = TempTree::new();
        let read = file(&tree, &noise(CHUNK));
        let job = Job::default();
        let mut source = Source::new(&read, u64::MAX, &job);
        let mut buffer = vec![0; CHUNK];
        assert_eq!(source.fill(&mut buffer).unwrap().map(<[u8]>::len), Some(CHUNK));
        File::options().append(true).open(tree.path("file")).unwrap().write_all(b"more").unwrap();
        assert_eq!(source.fill(&mut buffer).unwrap(), Some(&b"more"[..]));
        assert_eq!(source.fill(&mut buffer).unwrap(), None);
    }

    #[test]
    fn a_file_of_the_kernel_is_read_without_a_warning() {
        let job = Job::default();
        let digests = digest(&File::open("/proc/version").unwrap(), true, &job).unwrap();
        assert!(digests.bytes > 0);
        assert_eq!(job.take_warnings(), Vec::<String>::new());
    }
}
