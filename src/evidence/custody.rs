//! The custody record: one line a collected file, hash-chained, appended under a lock over all processes.
//!
//! Invariants: a line is durable before its file counts as sealed, and is never changed; a torn last line is cut.

use super::{Custody, unavailable};
use crate::audit;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{CommandId, DeviceId, DevicePath, FileFacts, SessionId, Sha256, Timestamp};
use crate::principal::Principal;
use crate::private;
use crate::shape::Untrusted;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What the first line carries as the hash of the line before.
const FIRST: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// A path of 4,096 bytes and a comment, escaped, stay well below.
const LINE_MAX: u64 = 256 * 1024;
const TURN: Duration = Duration::from_secs(10);

/// One line: who collected what, where, when, in which case.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub seq: u64,
    /// SHA-256 of the line before, without its newline.
    pub prev_hash: String,
    pub at: Timestamp,
    pub sha256: Sha256,
    pub size_bytes: u64,
    /// Where it lay on the device.
    pub path: DevicePath,
    pub modified: Option<Timestamp>,
    pub secret: Option<String>,
    pub device: DeviceId,
    pub device_name: Untrusted,
    pub session: SessionId,
    pub command_id: CommandId,
    pub principal: Principal,
    pub comment: Option<String>,
    pub tool_version: String,
}

impl Entry {
    pub(super) fn new(facts: FileFacts, custody: Custody, size_bytes: u64, sha256: Sha256) -> Entry {
        Entry {
            seq: 0,
            prev_hash: String::new(),
            at: Timestamp::now(),
            sha256,
            size_bytes,
            path: facts.path,
            modified: facts.modified,
            secret: facts.secret,
            device: custody.device,
            device_name: custody.device_name,
            session: custody.session,
            command_id: custody.command_id,
            principal: custody.principal,
            comment: custody.comment,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// The last component of its path.
    pub fn name(&self) -> Untrusted {
        Untrusted::new(self.path.name().to_text())
    }

    pub(super) fn is_named(&self, name: &str) -> bool {
        self.path.name().to_text() == name
    }
}

pub(super) struct Chain {
    path: PathBuf,
}

/// Where the chain ends.
struct End {
    bytes: u64,
    seq: u64,
    hash: String,
}

impl Chain {
    pub(super) fn new(path: PathBuf) -> Chain {
        Chain { path }
    }

    /// Appends an entry, durably; gives it with its place, and the hash of its line. Whether a torn line was cut.
    pub(super) fn append(&self, mut entry: Entry) -> Result<(Entry, Sha256, bool)> {
        let file = private::open_or_create(&self.path)?;
        self.take_turn(&file)?;
        let (end, torn) = self.end(&file)?;
        entry.seq = end.seq + 1;
        entry.prev_hash = end.hash;
        let text = serde_json::to_string(&entry)
            .map_err(|e| Error::new(ErrorCode::Internal, "the custody entry cannot be written as JSON").source(e))?;
        let mut line = audit::escape(&text).into_owned().into_bytes();
        let hash = Sha256::of(&line);
        line.push(b'\n');
        let written = match torn {
            true => file.set_len(end.bytes),
            false => Ok(()),
        };
        let written = written.and_then(|()| file.write_all_at(&line, end.bytes)).and_then(|()| file.sync_all());
        if let Err(e) = written {
            // Half a line must not count; if it cannot be cut now, the next one who writes cuts it.
            let _ = file.set_len(end.bytes);
            return Err(unavailable(&self.path, e));
        }
        Ok((entry, hash, torn))
    }

    /// The entries, oldest first. A line that cannot be read ends them with an error: what it said may matter.
    pub(super) fn entries(&self) -> Result<impl Iterator<Item = Result<Entry>> + use<>> {
        let path = self.path.clone();
        Ok(self.lines()?.enumerate().map(move |(index, line)| {
            let line = line.map_err(|e| unavailable(&path, e))?;
            serde_json::from_slice(&line).map_err(|e| {
                Error::new(ErrorCode::StoreUnavailable, format!("line {} of the custody record: {e}", index + 1))
                    .hint("`live-response evidence verify` says what was changed")
            })
        }))
    }

    /// The whole lines, as they stand.
    pub(super) fn lines(&self) -> Result<impl Iterator<Item = std::io::Result<Vec<u8>>> + use<>> {
        let mut reader = private::open(&self.path)?.map(|f| BufReader::with_capacity(64 * 1024, f));
        Ok(std::iter::from_fn(move || {
            let mut line = Vec::new();
            match reader.as_mut()?.by_ref().take(LINE_MAX).read_until(b'\n', &mut line) {
                // A last line without its end is being written, or was torn: it counts for nobody.
                Ok(_) if line.pop() == Some(b'\n') => Some(Ok(line)),
                Ok(_) if u64::try_from(line.len() + 1) == Ok(LINE_MAX) => {
                    reader = None;
                    Some(Err(std::io::Error::other("a line without end")))
                }
                Ok(_) => None,
                Err(e) => {
                    reader = None;
                    Some(Err(e))
                }
            }
        }))
    }

    fn take_turn(&self, file: &File) -> Result<()> {
        let until = Instant::now() + TURN;
        loop {
            match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => return Err(unavailable(&self.path, e.into())),
            }
        }
    }

    /// The end of the last whole line, and whether something torn stands behind it.
    fn end(&self, file: &File) -> Result<(End, bool)> {
        let size = file.metadata().map_err(|e| unavailable(&self.path, e))?.len();
        let start = size.saturating_sub(LINE_MAX * 2);
        let mut tail = vec![0; usize::try_from(size - start).unwrap_or(0)];
        file.read_exact_at(&mut tail, start).map_err(|e| unavailable(&self.path, e))?;
        let whole = tail.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1);
        let bytes = start + u64::try_from(whole).unwrap_or(0);
        if bytes == 0 {
            return Ok((End { bytes, seq: 0, hash: FIRST.to_owned() }, size > 0));
        }
        let line =
            tail.get(..whole.saturating_sub(1)).and_then(|t| t.rsplit(|b| *b == b'\n').next()).unwrap_or_default();
        let last: Entry = serde_json::from_slice(line).map_err(|e| {
            Error::new(ErrorCode::StoreUnavailable, format!("the last line of the custody record: {e}"))
                .hint("`live-response evidence verify` says what was changed")
        })?;
        Ok((End { bytes, seq: last.seq, hash: Sha256::of(line).as_str().to_owned() }, bytes != size))
    }
}

/// Follows a chain line by line and says what does not fit.
pub(super) struct Follower {
    seq: u64,
    hash: String,
}

impl Follower {
    pub(super) fn new() -> Follower {
        Follower { seq: 0, hash: FIRST.to_owned() }
    }

    /// The line as an entry and its hash, or why it is not the next one.
    pub(super) fn next(&mut self, line: &[u8]) -> Result<(Entry, Sha256), String> {
        let hash = Sha256::of(line);
        let before = std::mem::replace(&mut self.hash, hash.as_str().to_owned());
        self.seq += 1;
        let entry: Entry = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        if entry.seq != self.seq {
            let why = format!("it says that it is number {}", entry.seq);
            self.seq = entry.seq;
            return Err(why);
        }
        if entry.prev_hash != before {
            return Err("the line before it is not the one that it was written after".into());
        }
        Ok((entry, hash))
    }
}
