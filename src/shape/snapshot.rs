//! A listing kept for its cursor: rows as they were rendered, so that a page is right while the device changes.
//!
//! Invariant: writing takes constant memory, wherever the rows lie.

use super::spill::{CHUNK, Spill, Spilled};
use crate::error::{Error, ErrorCode, Result};
use crate::model::random_hex;
use serde_json::value::RawValue;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Every so many rows their place is noted; between two notes rows are found by their line ends.
const NOTE_EVERY: usize = 64;
/// Snapshots that a session keeps.
const KEPT: usize = 8;

/// Takes rows one by one.
pub struct Builder {
    bytes: Spill,
    notes: Vec<u64>,
    rows: usize,
}

/// Rows, one a line, and where to find them.
pub struct Snapshot {
    bytes: Spilled,
    notes: Vec<u64>,
    rows: usize,
}

/// One page of a snapshot.
#[derive(Debug)]
pub struct PageRows {
    pub rows: Vec<Box<RawValue>>,
    /// The offset of the row after the last, where there is one.
    pub next: Option<usize>,
    /// The byte cap ended the page, not the limit.
    pub truncated: bool,
}

impl Snapshot {
    /// `dir` is where the rows go when they are many: private, ours.
    pub fn builder(dir: &Path) -> Builder {
        Builder { bytes: Spill::new(dir), notes: Vec::new(), rows: 0 }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Rows from `start` on: at most `limit`, and no more than `byte_cap` bytes unless one row alone is longer.
    /// `E_BAD_CURSOR` where `start` lies behind the last row.
    pub fn page(&self, start: usize, limit: usize, byte_cap: Option<usize>) -> Result<PageRows> {
        if start > self.rows || (start == self.rows && start > 0) {
            return Err(Error::new(ErrorCode::BadCursor, format!("row {start} of {} is not there", self.rows))
                .hint("repeat the call without cursor"));
        }
        let cap = byte_cap.unwrap_or(usize::MAX);
        let end = start.saturating_add(limit).min(self.rows);
        let mut lines = self.lines(start / NOTE_EVERY);
        for _ in 0..start % NOTE_EVERY {
            lines.skip()?;
        }
        let mut page = PageRows { rows: Vec::with_capacity((end - start).min(1024)), next: None, truncated: false };
        let mut bytes = 0usize;
        while start + page.rows.len() < end {
            let line = lines.next()?;
            bytes = bytes.saturating_add(line.len() + 1);
            if bytes > cap && !page.rows.is_empty() {
                page.truncated = true;
                break;
            }
            page.rows.push(serde_json::from_slice(line).map_err(damaged)?);
        }
        let after = start + page.rows.len();
        page.next = (after < self.rows).then_some(after);
        Ok(page)
    }

    fn lines(&self, note: usize) -> Lines<'_> {
        Lines { of: self, at: self.notes.get(note).copied().unwrap_or(self.bytes.len()), buffer: Vec::new(), used: 0 }
    }
}

/// Reads line by line, a chunk at a time.
struct Lines<'s> {
    of: &'s Snapshot,
    /// Where in the snapshot the buffer ends.
    at: u64,
    buffer: Vec<u8>,
    /// How much of the buffer has been given out.
    used: usize,
}

impl Lines<'_> {
    fn skip(&mut self) -> Result<()> {
        self.next().map(drop)
    }

    fn next(&mut self) -> Result<&[u8]> {
        let mut looked = self.used;
        let end = loop {
            let unseen = self.buffer.get(looked..).unwrap_or_default();
            if let Some(n) = unseen.iter().position(|b| *b == b'\n') {
                break looked + n;
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            looked = self.buffer.len();
            self.of.bytes.read(self.at, CHUNK, &mut self.buffer)?;
            if self.buffer.len() == looked {
                return Err(damaged("it ends too early"));
            }
            self.at += (self.buffer.len() - looked) as u64;
        };
        let line = self.used..end;
        self.used = end + 1;
        Ok(self.buffer.get(line).unwrap_or_default())
    }
}

impl Builder {
    /// One row: a JSON object without line breaks, as `write_row` makes it.
    pub fn push(&mut self, row: &[u8]) -> Result<()> {
        if row.contains(&b'\n') {
            return Err(damaged("a row has a line break"));
        }
        if self.rows.is_multiple_of(NOTE_EVERY) {
            self.notes.push(self.bytes.len());
        }
        self.bytes.push(row)?;
        self.bytes.push(b"\n")?;
        self.rows += 1;
        Ok(())
    }

    pub fn finish(self) -> Result<Snapshot> {
        Ok(Snapshot { bytes: self.bytes.finish()?, notes: self.notes, rows: self.rows })
    }
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::Internal, format!("a kept listing is damaged: {why}"))
}

/// The newest snapshots of one session, by cursor.
#[derive(Default)]
pub struct Snapshots {
    kept: Mutex<VecDeque<(String, &'static str, Arc<Snapshot>)>>,
}

impl Snapshots {
    /// Keeps a listing of a tool and gives its id, for [`Snapshots::cursor`]. The oldest of more than eight goes.
    pub fn keep(&self, tool: &'static str, snapshot: Arc<Snapshot>) -> String {
        let id = random_hex::<8>();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((id.clone(), tool, snapshot));
        id
    }

    /// The text that names a row of a kept listing.
    pub fn cursor(id: &str, offset: usize) -> String {
        format!("{id}.{offset}")
    }

    /// What a cursor names: the id, the listing and the row. `E_BAD_CURSOR` where it is none, is another tool's, or
    /// is gone.
    pub fn open(&self, tool: &str, cursor: &str) -> Result<(String, Arc<Snapshot>, usize)> {
        let (id, offset) = parse(cursor).ok_or_else(|| {
            let shown: String = cursor.chars().take(60).collect();
            Error::new(ErrorCode::BadCursor, format!("{shown:?} is no cursor"))
                .hint("give next_cursor of the page before as it stands")
        })?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((_, of, snapshot)) = kept.iter().find(|(k, ..)| k == id) else {
            return Err(Error::new(ErrorCode::BadCursor, format!("the listing of cursor {cursor:?} is gone"))
                .hint(format!("a session keeps its newest {KEPT} listings; repeat the call without cursor")));
        };
        if *of != tool {
            return Err(Error::new(ErrorCode::BadCursor, format!("cursor {cursor:?} is of {of}, not of {tool}")));
        }
        Ok((id.to_owned(), snapshot.clone(), offset))
    }
}

/// 16 hex digits, a dot, a number as we write it.
fn parse(cursor: &str) -> Option<(&str, usize)> {
    let (id, offset) = cursor.split_once('.')?;
    let is_id = id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let number: u32 = offset.parse().ok()?;
    (is_id && number.to_string() == offset).then_some((id, number as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;

    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("live-response-snapshot-{}", random_hex::<8>()));
            std::fs::create_dir(&path).unwrap();
            Dir(path)
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn snapshot(dir: &Path, rows: usize, pad: usize) -> Snapshot {
        let mut builder = Snapshot::builder(dir);
        for n in 0..rows {
            builder.push(format!("{{\"n\":{n},\"p\":\"{}\"}}", "x".repeat(pad)).as_bytes()).unwrap();
        }
        builder.finish().unwrap()
    }

    fn numbers(page: &PageRows) -> Vec<u64> {
        page.rows
            .iter()
            .map(|r| serde_json::from_str::<serde_json::Value>(r.get()).unwrap()["n"].as_u64().unwrap())
            .collect()
    }

    #[test]
    fn a_row_of_a_big_listing_is_found_wherever_it_lies() {
        let dir = Dir::new();
        let kept = snapshot(&dir.0, 5_000, 400);
        assert!(kept.notes.len() < 100);
        for start in [0, 1, 63, 64, 65, 2_500, 4_998] {
            let page = kept.page(start, 3, None).unwrap();
            let expected: Vec<u64> = (start as u64..5_000).take(3).collect();
            assert_eq!(numbers(&page), expected);
            assert_eq!(page.next, Some(start + 3).filter(|n| *n < 5_000));
        }
    }

    #[test]
    fn a_page_ends_before_its_cap_but_always_goes_on() {
        let dir = Dir::new();
        let kept = snapshot(&dir.0, 10, 100);
        let page = kept.page(0, 10, Some(250)).unwrap();
        assert_eq!((numbers(&page), page.next, page.truncated), (vec![0, 1], Some(2), true));
        let page = kept.page(9, 10, Some(1)).unwrap();
        assert_eq!((numbers(&page), page.next, page.truncated), (vec![9], None, false));
    }

    #[test]
    fn an_empty_listing_has_an_empty_page_and_no_other() {
        let dir = Dir::new();
        let kept = snapshot(&dir.0, 0, 0);
        assert!(kept.is_empty() && kept.page(0, 50, None).unwrap().rows.is_empty());
        assert_eq!(kept.page(1, 50, None).unwrap_err().code, ErrorCode::BadCursor);
    }

    #[test]
    fn a_directory_that_is_none_is_said_and_a_line_break_refused() {
        let dir = Dir::new();
        let file = dir.0.join("file");
        std::fs::write(&file, "").unwrap();
        let mut builder = Snapshot::builder(&file);
        assert_eq!(builder.push(b"{\n}").unwrap_err().code, ErrorCode::Internal);
        let e = (0..2_000).find_map(|_| builder.push(&[b'1'; 1_000]).err()).unwrap();
        assert_eq!(e.code, ErrorCode::StoreUnavailable);
    }

    #[test]
    fn the_newest_eight_are_kept() {
        let dir = Dir::new();
        let all = Snapshots::default();
        let ids: Vec<String> = (0..9).map(|_| all.keep("dir", Arc::new(snapshot(&dir.0, 3, 0)))).collect();
        assert_eq!(all.open("dir", &Snapshots::cursor(&ids[0], 1)).err().unwrap().code, ErrorCode::BadCursor);
        for id in &ids[1..] {
            assert_eq!(all.open("dir", &Snapshots::cursor(id, 2)).unwrap().2, 2);
        }
        let e = all.open("processes", &Snapshots::cursor(&ids[8], 2)).err().unwrap();
        assert!(e.message.contains("is of dir"));
    }

    #[test]
    fn a_cursor_is_read_strictly() {
        let all = Snapshots::default();
        let id = "0123456789abcdef";
        assert_eq!(parse("0123456789abcdef.50"), Some((id, 50)));
        for text in [
            "",
            ".",
            "x.1",
            "0123456789ABCDEF.1",
            "0123456789abcdef.",
            "0123456789abcdef.01",
            "0123456789abcdef.+1",
            "0123456789abcdef.-1",
            "0123456789abcdef. 1",
            "0123456789abcdef.1.2",
            "0123456789abcdef.99999999999",
            "é123456789abcdef.1",
        ] {
            assert_eq!(all.open("dir", text).err().unwrap().code, ErrorCode::BadCursor, "{text}");
        }
    }

    proptest! {
        #[test]
        fn pages_give_every_row_once(rows in 0usize..300, limit in 1usize..100, cap in 1usize..2_000) {
            let dir = Dir::new();
            let kept = snapshot(&dir.0, rows, 10);
            let mut seen = Vec::new();
            let mut next = Some(0);
            while let Some(start) = next {
                let page = kept.page(start, limit, Some(cap)).unwrap();
                seen.extend(numbers(&page));
                next = page.next;
            }
            prop_assert_eq!(seen, (0..rows as u64).collect::<Vec<_>>());
        }

        #[test]
        fn any_cursor_is_read_or_refused(text in any::<String>()) {
            prop_assert!(Snapshots::default().open("dir", &text).is_err());
        }
    }
}
