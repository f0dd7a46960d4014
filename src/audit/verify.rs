//! Reading the log as an auditor does: offline, from the first record to the last, trusting nothing.

use super::record::{Head, is_whole};
use super::segment::{self, LINE_BYTES, NO_HASH};
use super::{Line, closed, unavailable};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{RequestId, Sha256, Timestamp};
use crate::private;
use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// How long the log is and what its last line hashes to: kept elsewhere, it shows a cut tail and a rebuilt log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Checkpoint {
    /// Records.
    pub size: u64,
    /// SHA-256 of the last line, without its newline.
    pub head: Sha256,
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "live-response-audit/v1 {} {}", self.size, self.head)
    }
}

impl std::str::FromStr for Checkpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split_ascii_whitespace();
        let read = (|| {
            (words.next()? == "live-response-audit/v1").then_some(())?;
            let size = words.next()?.parse().ok()?;
            let head = Sha256::parse(words.next()?)?;
            words.next().is_none().then_some(Checkpoint { size, head })
        })();
        read.ok_or_else(|| {
            Error::new(ErrorCode::BadArgs, "this is no checkpoint")
                .hint("a checkpoint is the line that `live-response audit checkpoint` prints")
        })
    }
}

/// A log that holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verified {
    pub records: u64,
    pub segments: u64,
    /// SHA-256 of the last line; absent for an empty log.
    pub head: Option<Sha256>,
}

/// Where a log does not hold: the first record that is wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Broken {
    pub seq: u64,
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}: {}", self.seq, self.why)
    }
}

impl std::error::Error for Broken {}

/// Checks the whole log: every line's own check, the chain, the order, the segments; against a checkpoint, that
/// nothing was cut or rebuilt.
pub fn verify(dir: &Path, checkpoint: Option<&Checkpoint>) -> std::result::Result<Verified, Broken> {
    let broken = |seq, why: &str| Broken { seq, why: why.to_owned() };
    let firsts = segment::list(dir).map_err(|e| broken(1, &e.message))?;
    let (mut seq, mut head) = (0u64, NO_HASH.to_owned());
    let mut line = Vec::new();
    for first in &firsts {
        if *first != seq + 1 {
            return Err(broken(seq + 1, "a segment is missing here"));
        }
        let mut reader = open(dir, *first).map_err(|e| broken(*first, &e.message))?;
        while next_line(&mut reader, &mut line).map_err(|e| broken(seq + 1, &e.to_string()))? {
            check_line(&line, seq + 1, &head, *first == seq + 1).map_err(|why| broken(seq + 1, &why))?;
            seq += 1;
            head = Sha256::of(&line).to_string();
            if let Some(c) = checkpoint.filter(|c| c.size == seq)
                && c.head.as_str() != head
            {
                return Err(broken(seq, "differs from the checkpoint: the log was rebuilt or changed"));
            }
        }
        if *first == seq + 1 {
            return Err(broken(seq + 1, "a segment without a record"));
        }
    }
    match checkpoint {
        Some(c) if c.size > seq => {
            Err(broken(seq + 1, &format!("truncated, expected size >= {}, found {seq}", c.size)))
        }
        _ => {
            Ok(Verified { records: seq, segments: firsts.len() as u64, head: Sha256::parse(&head).filter(|_| seq > 0) })
        }
    }
}

fn check_line(line: &[u8], seq: u64, prev: &str, opens: bool) -> Result<(), String> {
    if !is_whole(line) {
        return Err("its bytes are not those that were written".into());
    }
    let head: Head = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    if head.seq != seq {
        return Err(format!("is numbered {}: a record was removed, added or moved", head.seq));
    }
    if head.prev_hash != prev {
        return Err("does not follow the record before it: one of the two was changed".into());
    }
    if opens != (head.event == "audit.checkpoint") {
        return Err("a segment opens with audit.checkpoint, and only there is one".into());
    }
    Ok(())
}

/// The log's size and head, to be kept elsewhere. The log must hold.
pub fn checkpoint(dir: &Path) -> Result<Checkpoint> {
    let verified = verify(dir, None).map_err(|b| {
        Error::new(ErrorCode::AuditUnavailable, format!("the audit log in {} does not verify: {b}", dir.display()))
    })?;
    let head = verified.head.ok_or_else(|| {
        Error::new(ErrorCode::NotFound, format!("there is no audit log in {}", dir.display()))
            .hint("it begins with the first call that is put on record")
    })?;
    Ok(Checkpoint { size: verified.records, head })
}

/// Which records `audit show` gives; an empty filter gives all.
#[derive(Clone, Default, Debug)]
pub struct Filter {
    /// An event's name, or its part before the dot.
    pub event: Option<String>,
    pub request_id: Option<RequestId>,
    /// From this sequence number on.
    pub since_seq: Option<u64>,
    pub since: Option<Timestamp>,
}

impl Filter {
    fn takes(&self, line: &Shown) -> bool {
        let event = |wanted: &String| {
            line.event == *wanted || line.event.strip_prefix(wanted.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        self.event.as_ref().is_none_or(event)
            && self.request_id.as_ref().is_none_or(|id| line.request_id.as_ref() == Some(id))
            && self.since_seq.is_none_or(|seq| line.seq >= seq)
            && self.since.is_none_or(|t| line.at >= t)
    }
}

/// A record, to be shown.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    pub seq: u64,
    pub at: Timestamp,
    pub event: String,
    pub request_id: Option<RequestId>,
    pub principal: Option<String>,
    pub reason_code: Option<String>,
    /// The line as it stands in the log: JSON, escaped.
    pub line: String,
}

/// The records in order, read as they are asked for.
pub fn show(dir: &Path, filter: Filter) -> Result<impl Iterator<Item = Result<Shown>> + use<>> {
    let firsts = segment::list(dir)?;
    Ok(Reading { dir: dir.to_owned(), left: firsts.into_iter(), reader: None, filter })
}

struct Reading {
    dir: PathBuf,
    left: std::vec::IntoIter<u64>,
    reader: Option<BufReader<File>>,
    filter: Filter,
}

impl Iterator for Reading {
    type Item = Result<Shown>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => match open(&self.dir, self.left.next()?) {
                    Ok(reader) => self.reader.insert(reader),
                    Err(e) => return Some(Err(e)),
                },
            };
            match next_line(reader, &mut line) {
                Ok(true) => match shown(&line) {
                    Ok(shown) if self.filter.takes(&shown) => return Some(Ok(shown)),
                    Ok(_) => {}
                    Err(why) => return Some(Err(super::broken(&self.dir, &why))),
                },
                Ok(false) => self.reader = None,
                Err(e) => {
                    self.reader = None;
                    return Some(Err(unavailable(&self.dir, e)));
                }
            }
        }
    }
}

fn shown(bytes: &[u8]) -> Result<Shown, String> {
    let line = Line::parse(bytes)?;
    Ok(Shown {
        seq: line.seq,
        at: line.ts_wall,
        event: line.event.into_owned(),
        request_id: line.request_id,
        principal: line.principal.map(|p| p.as_str().to_owned()),
        reason_code: line.reason_code,
        line: String::from_utf8_lossy(bytes).into_owned(),
    })
}

fn open(dir: &Path, first: u64) -> Result<BufReader<File>> {
    let path = segment::path(dir, first);
    match private::open(&path).map_err(|e| closed(dir, e))? {
        Some(file) => Ok(BufReader::with_capacity(256 << 10, file)),
        None => Err(super::broken(dir, &format!("segment {first} was taken away"))),
    }
}

/// The next line without its newline; one that has no newline is no line.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> std::io::Result<bool> {
    line.clear();
    reader.take(LINE_BYTES as u64).read_until(b'\n', line)?;
    match line.pop() {
        None => Ok(false),
        Some(b'\n') => Ok(true),
        Some(_) => {
            Err(std::io::Error::other("the last line has no end: cut, or torn by a crash (the next write cuts it)"))
        }
    }
}
