//! Segments: `<first sequence number>.jsonl`, each opening with an `audit.checkpoint`. The names follow one another,
//! so a missing one shows.

use super::record::{Head, is_whole};
use super::{Record, closed, unavailable};
use crate::error::Result;
use crate::model::Sha256;
use crate::private;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// From this size on the next record opens a new segment.
pub(super) const SEGMENT_BYTES: u64 = 8 << 20;
/// No line is longer; a plan is smaller, and a snapshot holds few of them.
pub(super) const LINE_BYTES: usize = 64 << 20;
/// What the first line of all has as `prev_hash`.
pub(super) const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

pub(super) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.jsonl"))
}

/// The first sequence numbers of the segments, in order; none where there is no log.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unavailable(dir, e)),
    };
    let mut firsts = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| unavailable(dir, e))?.file_name();
        let digits = name.to_str().and_then(|n| n.strip_suffix(".jsonl")).filter(|d| d.len() == 20);
        firsts.extend(digits.and_then(|d| d.parse::<u64>().ok()));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

pub(super) fn exists(dir: &Path, first: u64) -> bool {
    rustix::fs::statat(rustix::fs::CWD, path(dir, first), rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Where the log ends: in which segment, at which byte, what the next record is called and what it carries.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Tail {
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) next_seq: u64,
    pub(super) head: String,
}

/// Bytes after the last whole line: a write that did not come to its end.
#[derive(Clone, Debug, serde::Serialize)]
pub(super) struct Torn {
    pub(super) cut_bytes: u64,
    pub(super) cut_sha256: Sha256,
}

/// Finds the last line of a segment, and what is torn after it.
pub(super) fn tail(file: &File, first: u64, size: u64, dir: &Path) -> Result<(Tail, Option<Torn>)> {
    let io = |e: std::io::Error| unavailable(dir, e);
    let mut window: u64 = 16 << 10;
    loop {
        let start = size.saturating_sub(window);
        let len = usize::try_from(size - start).map_err(|e| unavailable(dir, e))?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, start).map_err(io)?;
        let end = bytes.iter().rposition(|b| *b == b'\n').map(|i| i + 1);
        let line = end.and_then(|end| {
            let whole = bytes.get(..end - 1)?;
            match whole.iter().rposition(|b| *b == b'\n') {
                Some(i) => whole.get(i + 1..),
                None => (start == 0).then_some(whole),
            }
        });
        if let (Some(end), Some(line)) = (end, line) {
            let head: Head = serde_json::from_slice(line).ok().filter(|_| is_whole(line)).ok_or_else(|| {
                super::broken(dir, "its last line does not verify; a record was changed after it was written")
            })?;
            let rest = bytes.get(end..).unwrap_or_default();
            let torn = (!rest.is_empty()).then(|| Torn { cut_bytes: rest.len() as u64, cut_sha256: Sha256::of(rest) });
            let end = start + end as u64;
            return Ok((Tail { first, end, next_seq: head.seq + 1, head: Sha256::of(line).to_string() }, torn));
        }
        if start == 0 || len > LINE_BYTES {
            return Err(super::broken(dir, "its newest segment has no whole line"));
        }
        window *= 8;
    }
}

/// Opens a new segment with its checkpoint, durably, and gives where it ends.
pub(super) fn open_new(
    dir: &Path,
    seq: u64,
    prev: &str,
    checkpoint: &Record,
    now: &super::Moment,
) -> Result<(File, Tail)> {
    let (line, head) = checkpoint.line(seq, prev, now)?;
    let path = path(dir, seq);
    private::replace(&path, &line).map_err(|e| closed(dir, e))?;
    let file = private::open_append(&path).map_err(|e| closed(dir, e))?;
    Ok((file, Tail { first: seq, end: line.len() as u64, next_seq: seq + 1, head }))
}
