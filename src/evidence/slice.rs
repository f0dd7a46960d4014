//! A slice of sealed content, as text, as printable runs, as hex, or as the lines that hold something.
//!
//! Invariant: memory is bounded by the slice, whatever the file's size; what comes out is clean, line by line.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{Disclosure, Sha256, hex};
use crate::shape::{Untrusted, clean};
use memchr::memmem::Finder;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek};

/// The most bytes of content in one slice.
pub const MAX_LENGTH: u64 = 32_768;
/// What is shown of one line; the rest is cut with a mark.
const LINE_MAX: usize = 4_096;
/// Lines around a match.
const CONTEXT: usize = 2;
/// The shortest run that `strings` shows, as the tool of that name has it.
const RUN_MIN: usize = 4;

/// A part of a collected file.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Slice {
    pub sha256: Sha256,
    pub name: Untrusted,
    pub size_bytes: u64,
    pub offset: u64,
    /// Bytes of the file that this slice covers; the next one begins at `offset` + `length`.
    pub length: u64,
    pub content: String,
}

/// Content that is read from its start.
pub(super) trait Content: Read {
    fn skip(&mut self, bytes: u64) -> std::io::Result<()>;
}

impl Content for File {
    fn skip(&mut self, bytes: u64) -> std::io::Result<()> {
        self.seek_relative(i64::try_from(bytes).unwrap_or(i64::MAX))
    }
}

/// A slice of content of so many bytes, which `content` gives from its start.
pub(super) fn read(content: impl Content, size_bytes: u64, name: Untrusted, asked: &Disclosure) -> Result<Slice> {
    let offset = asked.offset.min(size_bytes);
    let room = usize::try_from(asked.length.min(MAX_LENGTH)).unwrap_or(0);
    let taken = match (&asked.r#match, asked.r#as.as_str()) {
        (Some(wanted), "text") => lines_with(content, offset, wanted, room),
        (Some(_), other) => return Err(bad(format!("match goes with as text, not {other:?}"))),
        (None, "text") => window(content, offset, room).map(|b| text(&b, offset + len(&b) < size_bytes)),
        (None, "hex") => window(content, offset, room).map(|b| (len(&b), hex(&b))),
        (None, "strings") => runs(content, offset, room),
        (None, other) => return Err(bad(format!("as is text, strings or hex, not {other:?}"))),
    };
    let (length, content) = taken.map_err(|e| Error::io("the evidence", e))?;
    Ok(Slice { sha256: asked.sha256.clone(), name, size_bytes, offset, length, content })
}

fn bad(message: String) -> Error {
    Error::new(ErrorCode::BadArgs, message)
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn window(mut content: impl Content, offset: u64, room: usize) -> std::io::Result<Vec<u8>> {
    content.skip(offset)?;
    let mut bytes = Vec::with_capacity(room);
    content.take(u64::try_from(room).unwrap_or(0)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A character that the slice's end cuts goes to the next slice.
fn text(bytes: &[u8], goes_on: bool) -> (u64, String) {
    let cut = match std::str::from_utf8(bytes) {
        Err(e) if goes_on && e.error_len().is_none() && e.valid_up_to() > 0 => e.valid_up_to(),
        _ => bytes.len(),
    };
    let bytes = bytes.get(..cut).unwrap_or(bytes);
    (len(bytes), clean_lines(bytes))
}

/// What is not UTF-8 is written `\xNN`; line ends stay line ends.
fn clean_lines(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        push_line(line, &mut out);
    }
    out
}

fn push_line(line: &[u8], out: &mut String) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    out.push_str(&clean(Untrusted::from_bytes(line).raw()));
}

/// Runs of printable ASCII, a line each, from `offset` on until `room` bytes of them are found.
fn runs(mut content: impl Content, offset: u64, room: usize) -> std::io::Result<(u64, String)> {
    let mut out = String::new();
    let mut run = String::new();
    let (mut at, mut done) = (offset, offset);
    content.skip(offset)?;
    let mut chunk = vec![0; 64 * 1024];
    let push = |run: &mut String, out: &mut String| {
        if run.len() >= RUN_MIN {
            out.push_str(run);
            out.push('\n');
        }
        run.clear();
    };
    loop {
        let n = content.read(&mut chunk)?;
        for byte in chunk.get(..n).unwrap_or_default() {
            at += 1;
            match byte {
                0x20..=0x7e | b'\t' if out.len() + run.len() < room => {
                    run.push(if *byte == b'\t' { ' ' } else { char::from(*byte) });
                }
                _ => {
                    let is_full = out.len() + run.len() >= room;
                    // A byte that no longer fits belongs to the next slice.
                    let is_left = is_full && matches!(byte, 0x20..=0x7e | b'\t');
                    push(&mut run, &mut out);
                    done = at - u64::from(is_left);
                    if is_full {
                        return Ok((done - offset, out));
                    }
                }
            }
        }
        if n == 0 {
            push(&mut run, &mut out);
            return Ok((at.max(done) - offset, out));
        }
    }
}

/// The lines that hold `wanted`, numbered from the file's start, with [`CONTEXT`] lines around, as `grep -n -C` has
/// it; from the line that `offset` is in, until `room` bytes are found.
fn lines_with(content: impl Read, offset: u64, wanted: &str, room: usize) -> std::io::Result<(u64, String)> {
    let finder = Finder::new(wanted.as_bytes());
    let mut lines = Lines { reader: BufReader::with_capacity(64 * 1024, content), finder, at: 0, number: 0 };
    let mut before: VecDeque<String> = VecDeque::new();
    let (mut out, mut after, mut shown, mut end) = (String::new(), 0, 0u64, offset);
    while let Some((line, is_match)) = lines.next()? {
        if lines.at <= offset {
            continue;
        }
        let text = numbered(lines.number, is_match, &line);
        if is_match {
            let first = lines.number - u64::try_from(before.len()).unwrap_or(0);
            if shown != 0 && first > shown + 1 {
                out.push_str("--\n");
            }
            out.extend(before.drain(..));
            after = CONTEXT;
        }
        if is_match || after > 0 {
            after -= usize::from(!is_match);
            out.push_str(&text);
            shown = lines.number;
        } else {
            if before.len() == CONTEXT {
                before.pop_front();
            }
            before.push_back(text);
        }
        end = lines.at;
        if out.len() >= room {
            break;
        }
    }
    Ok((end.max(offset) - offset, out))
}

fn numbered(number: u64, is_match: bool, line: &[u8]) -> String {
    let mut out = format!("{number}{}", if is_match { ':' } else { '-' });
    push_line(line.get(..LINE_MAX).unwrap_or(line), &mut out);
    if line.len() > LINE_MAX {
        out.push_str(" [cut]");
    }
    out.push('\n');
    out
}

struct Lines<'a, R> {
    reader: BufReader<R>,
    finder: Finder<'a>,
    /// Bytes read.
    at: u64,
    number: u64,
}

impl<R: Read> Lines<'_, R> {
    /// The next line, as much of it as is shown, and whether any of it holds what is wanted; lines have no limit.
    fn next(&mut self) -> std::io::Result<Option<(Vec<u8>, bool)>> {
        let mut shown = Vec::new();
        // The end of what went by, where a match may have begun.
        let mut seam: Vec<u8> = Vec::new();
        let (mut is_match, mut any) = (false, false);
        loop {
            let mut piece = Vec::new();
            self.reader.by_ref().take(64 * 1024).read_until(b'\n', &mut piece)?;
            self.at += len(&piece);
            any |= !piece.is_empty();
            let ended = piece.last() == Some(&b'\n') || piece.is_empty();
            if piece.last() == Some(&b'\n') {
                piece.pop();
            }
            if shown.len() <= LINE_MAX {
                shown.extend(piece.iter().take(LINE_MAX + 1 - shown.len()));
            }
            if !is_match {
                seam.extend_from_slice(&piece);
                is_match = self.finder.find(&seam).is_some();
                let keep = self.finder.needle().len().saturating_sub(1);
                seam.drain(..seam.len().saturating_sub(keep));
            }
            if ended {
                self.number += u64::from(any);
                return Ok(any.then_some((shown, is_match)));
            }
        }
    }
}
