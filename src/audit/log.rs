//! Writing and following the log, over processes and over crashes.

use super::record::{Head, is_whole};
use super::segment::{self, NO_HASH, SEGMENT_BYTES, Tail, Torn};
use super::{Clock, Line, Moment, Record, SystemClock, broken, closed, unavailable};
use crate::error::{ErrorCode, Result};
use crate::private;
use rustix::fs::FlockOperation;
use serde_json::value::RawValue;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How long a process waits for its turn. Turns take as long as one fsync; a stopped process must not stop all.
const TURN: Duration = Duration::from_secs(10);

/// A state that is nothing but the sum of the log's records.
pub trait Fold: Send {
    /// Back to the state before the first record.
    fn reset(&mut self);
    /// Takes the state that a checkpoint carries; one that knew none begins a log, whose name is `origin`.
    fn restore(&mut self, snapshot: Option<&RawValue>, origin: &str) -> Result<(), String>;
    /// Whether records of this event change the state.
    fn wants(&self, event: &str) -> bool;
    fn apply(&mut self, line: &Line<'_>) -> Result<(), String>;
    /// The state, for the checkpoint of the next segment.
    fn snapshot(&mut self, now: &Moment) -> Result<Box<RawValue>>;
}

/// The log of one home. Shared by the threads of a process; processes take turns by a lock on `audit/lock`.
pub struct Log {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    lock: Option<File>,
    writer: Option<(File, Tail)>,
    torn: Option<Torn>,
    fold: Option<Box<dyn Fold>>,
    cursor: Option<Cursor>,
    /// Records that were missed and could not be counted in the lock file: reads, changes.
    missed: (u64, u64),
}

/// Up to where the fold has read.
struct Cursor {
    file: File,
    at: Tail,
}

/// What an `audit.checkpoint` carries.
#[derive(serde::Serialize)]
struct Snapshot<'a> {
    state: Option<&'a RawValue>,
}

impl Log {
    /// Opens nothing.
    pub fn new(dir: PathBuf) -> Arc<Log> {
        Self::with_clock(dir, Arc::new(SystemClock))
    }

    pub fn with_clock(dir: PathBuf, clock: Arc<dyn Clock>) -> Arc<Log> {
        Arc::new(Log { dir, clock, inner: Mutex::default() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// Makes `fold` follow this log. One that is replaced is forgotten.
    pub fn attach(&self, fold: Box<dyn Fold>) {
        let mut inner = self.inner();
        inner.fold = Some(fold);
        inner.cursor = None;
    }

    /// A read's record: appended without fsync. Where it cannot be written it is counted for `audit.gap`; the error
    /// is for a warning.
    pub fn note(&self, record: Record) -> Result<()> {
        let now = self.now();
        let mut inner = self.inner();
        let written = inner.turn(&self.dir, |inner| inner.append(&self.dir, &[record], &now, false));
        written.inspect_err(|_| inner.miss(1, 0))
    }

    /// Written and fsynced before it returns; `E_AUDIT_UNAVAILABLE` otherwise.
    pub fn commit(&self, record: Record) -> Result<()> {
        let mut inner = self.inner();
        let written = inner.turn(&self.dir, |inner| inner.append(&self.dir, &[record], &self.now(), true));
        written.inspect_err(|_| inner.miss(0, 1))
    }

    /// One turn alone among all processes: the fold is brought up to date, `decide` looks at it and says what is to be
    /// put on record, the records are written, fsynced and folded. Where that fails nothing has happened.
    pub fn transact<T>(&self, decide: impl FnOnce(&Moment) -> Result<(Vec<Record>, T)>) -> Result<T> {
        let mut inner = self.inner();
        let mut lost = 0;
        let done = inner.turn(&self.dir, |inner| {
            inner.follow(&self.dir)?;
            // Taken within the turn, so that the order of records is the order of their times.
            let now = self.now();
            let (records, value) = decide(&now)?;
            if !records.is_empty() {
                lost = records.len() as u64;
                inner.append(&self.dir, &records, &now, true)?;
                lost = 0;
            }
            Ok(value)
        });
        match &done {
            // A log that cannot be opened at all has lost one change: this one.
            Err(e) if e.code == ErrorCode::AuditUnavailable => inner.miss(0, lost.max(1)),
            _ => {}
        }
        done
    }

    /// Brings the fold up to date without a lock; cheap where nothing is new. No log is no error.
    pub fn follow(&self) -> Result<()> {
        self.inner().follow(&self.dir)
    }

    /// Whether the log holds records that the fold has not seen.
    pub fn changed(&self) -> bool {
        let inner = self.inner();
        match &inner.cursor {
            Some(cursor) => !cursor.is_current(&self.dir),
            None => segment::list(&self.dir).is_ok_and(|s| !s.is_empty()),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| {
            let mut inner = poisoned.into_inner();
            inner.forget();
            self.inner.clear_poison();
            inner
        })
    }
}

impl Cursor {
    fn is_current(&self, dir: &Path) -> bool {
        size_of(&self.file).is_some_and(|size| size == self.at.end) && !segment::exists(dir, self.at.next_seq)
    }
}

/// The size of a file that still has a name.
fn size_of(file: &File) -> Option<u64> {
    let stat = rustix::fs::fstat(file).ok().filter(|s| s.st_nlink > 0)?;
    u64::try_from(stat.st_size).ok()
}

impl Inner {
    /// What was read is read again: after a failure nobody knows where the file stands.
    fn forget(&mut self) {
        self.writer = None;
        self.cursor = None;
    }

    /// Waits for this process's turn, finds the end of the log, and runs `work` there.
    fn turn<T>(&mut self, dir: &Path, work: impl FnOnce(&mut Inner) -> Result<T>) -> Result<T> {
        self.take_lock(dir)?;
        let done = self.find_end(dir).and_then(|()| work(self));
        if matches!(&done, Err(e) if e.code == ErrorCode::AuditUnavailable) {
            self.writer = None;
        }
        // A lock that cannot be given back goes with its file.
        self.lock = self.lock.take().filter(|lock| rustix::fs::flock(lock, FlockOperation::Unlock).is_ok());
        done
    }

    fn take_lock(&mut self, dir: &Path) -> Result<()> {
        let lock = match self.lock.take().filter(|f| size_of(f).is_some()) {
            Some(lock) => lock,
            None => {
                private::store(dir).map_err(|e| closed(dir, e))?;
                let lock = private::open_or_create(&dir.join("lock")).map_err(|e| closed(dir, e))?;
                if size_of(&lock) == Some(0) {
                    // Room for the counts while there is room.
                    let _ = lock.write_all_at(counts((0, 0)).as_bytes(), 0);
                }
                lock
            }
        };
        let lock = self.lock.insert(lock);
        let until = Instant::now() + TURN;
        let mut pause = Duration::from_micros(100);
        loop {
            match rustix::fs::flock(&*lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < until => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(3));
                }
                Err(e) => return Err(unavailable(dir, std::io::Error::from(e))),
            }
        }
    }

    /// Looks where the log ends now; cuts what is torn. Only within a turn.
    fn find_end(&mut self, dir: &Path) -> Result<()> {
        let known = self.writer.take();
        if let Some((file, tail)) = known
            && size_of(&file) == Some(tail.end)
            && !segment::exists(dir, tail.next_seq)
        {
            self.writer = Some((file, tail));
            return Ok(());
        }
        let Some(first) = segment::list(dir)?.pop() else { return Ok(()) };
        let file = private::open_append(&segment::path(dir, first)).map_err(|e| closed(dir, e))?;
        let size = size_of(&file).ok_or_else(|| broken(dir, "its newest segment was taken away"))?;
        let (tail, torn) = segment::tail(&file, first, size, dir)?;
        if let Some(torn) = torn {
            file.set_len(tail.end).map_err(|e| unavailable(dir, e))?;
            self.torn = Some(torn);
        }
        self.writer = Some((file, tail));
        Ok(())
    }

    /// Writes records at the end, and folds them where the fold is up to date.
    fn append(&mut self, dir: &Path, records: &[Record], now: &Moment, sync: bool) -> Result<()> {
        self.rotate(dir, now)?;
        let (file, tail) = self.writer.take().ok_or_else(|| broken(dir, "it has no segment"))?;
        let missed = self.missed();
        let own = self.torn.as_ref().map(|t| Record::new("audit.recovered").detail(t)).into_iter();
        let own = own.chain((missed != (0, 0)).then(|| gap(missed)));
        let (mut bytes, mut next) = (Vec::with_capacity(1024), tail.clone());
        for record in own.collect::<Vec<_>>().iter().chain(records) {
            let (line, hash) = record.line(next.next_seq, &next.head, now)?;
            bytes.extend_from_slice(&line);
            next =
                Tail { first: next.first, end: next.end + line.len() as u64, next_seq: next.next_seq + 1, head: hash };
        }
        let written = (&file).write_all(&bytes).and_then(|()| if sync { file.sync_data() } else { Ok(()) });
        if let Err(e) = written {
            // What stands there must not count. If it cannot be cut now, the next one who writes cuts or folds it.
            let _ = file.set_len(tail.end);
            return Err(unavailable(dir, e));
        }
        self.torn = None;
        if missed != (0, 0) {
            self.missed = (0, 0);
            self.count_in_lock((0, 0));
        }
        let folded = self.fold_own(dir, &tail, &next, &bytes);
        self.writer = Some((file, next));
        folded
    }

    /// Folds lines that this process has just written.
    fn fold_own(&mut self, dir: &Path, before: &Tail, after: &Tail, bytes: &[u8]) -> Result<()> {
        let (Some(fold), Some(cursor)) = (&mut self.fold, &mut self.cursor) else { return Ok(()) };
        if cursor.at != *before {
            return Ok(());
        }
        for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let head: Head = serde_json::from_slice(line).map_err(|e| broken(dir, &e.to_string()))?;
            if fold.wants(&head.event) {
                let applied = Line::parse(line).and_then(|l| fold.apply(&l));
                if let Err(why) = applied {
                    self.cursor = None;
                    return Err(broken(dir, &format!("record {}: {why}", head.seq)));
                }
            }
        }
        cursor.at = after.clone();
        Ok(())
    }

    /// Opens the first segment, or the next one where the newest is full and somebody can tell the state.
    fn rotate(&mut self, dir: &Path, now: &Moment) -> Result<()> {
        let (seq, prev) = match &self.writer {
            None => (1, NO_HASH.to_owned()),
            Some((_, tail)) if tail.end < SEGMENT_BYTES || self.fold.is_none() => return Ok(()),
            Some((file, tail)) => {
                file.sync_data().map_err(|e| unavailable(dir, e))?;
                (tail.next_seq, tail.head.clone())
            }
        };
        self.follow(dir)?;
        let snapshot = match &mut self.fold {
            Some(fold) => Some(fold.snapshot(now)?),
            None => None,
        };
        let record = Record::new("audit.checkpoint").detail(&Snapshot { state: snapshot.as_deref() });
        self.writer = Some(segment::open_new(dir, seq, &prev, &record, now)?);
        self.follow(dir)
    }

    /// Reads what is new and folds it. A log that does not fit to what was read before is read again from the start
    /// of its newest segment: an unfinished write was taken back.
    fn follow(&mut self, dir: &Path) -> Result<()> {
        if self.fold.is_none() || self.cursor.as_ref().is_some_and(|c| c.is_current(dir)) {
            return Ok(());
        }
        if self.cursor.is_some() && self.read_on(dir).is_ok() {
            return Ok(());
        }
        self.cursor = None;
        let again = self.open_newest(dir).and_then(|()| self.read_on(dir));
        if again.is_err() {
            self.cursor = None;
        }
        again
    }

    fn open_newest(&mut self, dir: &Path) -> Result<()> {
        if let Some(fold) = &mut self.fold {
            fold.reset();
        }
        let Some(first) = segment::list(dir)?.pop() else { return Ok(()) };
        let Some(file) = private::open(&segment::path(dir, first)).map_err(|e| closed(dir, e))? else {
            return Ok(());
        };
        self.cursor = Some(Cursor { file, at: Tail { first, end: 0, next_seq: first, head: String::new() } });
        Ok(())
    }

    fn read_on(&mut self, dir: &Path) -> Result<()> {
        let (Some(fold), Some(cursor)) = (&mut self.fold, &mut self.cursor) else { return Ok(()) };
        loop {
            read_segment(fold.as_mut(), cursor, dir)?;
            if !segment::exists(dir, cursor.at.next_seq) {
                return Ok(());
            }
            let first = cursor.at.next_seq;
            let file = private::open(&segment::path(dir, first)).map_err(|e| closed(dir, e))?;
            cursor.file = file.ok_or_else(|| broken(dir, "its newest segment was taken away"))?;
            (cursor.at.first, cursor.at.end) = (first, 0);
        }
    }

    /// Records that were missed, here and in other processes.
    fn missed(&self) -> (u64, u64) {
        let (reads, changes) = self.counted_in_lock();
        (self.missed.0 + reads, self.missed.1 + changes)
    }

    /// Counts what could not be written: in the lock file, which is written in place and so needs no room on a full
    /// disk; in memory where even that fails.
    fn miss(&mut self, reads: u64, changes: u64) {
        let (r, c) = self.counted_in_lock();
        self.missed = (self.missed.0 + reads, self.missed.1 + changes);
        let all = (self.missed.0 + r, self.missed.1 + c);
        if self.count_in_lock(all) {
            self.missed = (0, 0);
        }
    }

    fn counted_in_lock(&self) -> (u64, u64) {
        let mut text = [0; COUNT_BYTES];
        let read = self.lock.as_ref().and_then(|f| f.read_at(&mut text, 0).ok()).unwrap_or(0);
        let mut numbers = std::str::from_utf8(text.get(..read).unwrap_or_default())
            .unwrap_or("")
            .split_ascii_whitespace()
            .map(|n| n.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    fn count_in_lock(&self, missed: (u64, u64)) -> bool {
        self.lock.as_ref().is_some_and(|f| f.write_all_at(counts(missed).as_bytes(), 0).is_ok())
    }
}

fn counts((reads, changes): (u64, u64)) -> String {
    format!("{reads:020} {changes:020}\n")
}

const COUNT_BYTES: usize = 42;

#[derive(serde::Serialize)]
struct Gap {
    missed_reads: u64,
    missed_changes: u64,
}

fn gap((missed_reads, missed_changes): (u64, u64)) -> Record {
    Record::new("audit.gap").detail(&Gap { missed_reads, missed_changes })
}

/// Folds the whole lines of one segment from the cursor on.
fn read_segment(fold: &mut dyn Fold, cursor: &mut Cursor, dir: &Path) -> Result<()> {
    let size = size_of(&cursor.file).ok_or_else(|| broken(dir, "a segment was taken away"))?;
    if size < cursor.at.end {
        return Err(broken(dir, "a segment became shorter"));
    }
    let mut chunk: u64 = 1 << 20;
    let mut bytes = Vec::new();
    while cursor.at.end < size {
        let want = (size - cursor.at.end).min(chunk);
        bytes.resize(usize::try_from(want).map_err(|e| unavailable(dir, e))?, 0);
        cursor.file.read_exact_at(&mut bytes, cursor.at.end).map_err(|e| unavailable(dir, e))?;
        let Some(last) = bytes.iter().rposition(|b| *b == b'\n') else {
            if want == size - cursor.at.end {
                return Ok(());
            }
            chunk *= 8;
            continue;
        };
        for line in bytes.get(..last).unwrap_or_default().split(|b| *b == b'\n') {
            fold_line(fold, cursor, line, dir)?;
        }
    }
    Ok(())
}

fn fold_line(fold: &mut dyn Fold, cursor: &mut Cursor, line: &[u8], dir: &Path) -> Result<()> {
    let at = &mut cursor.at;
    let bad = |why: &str| broken(dir, &format!("record {}: {why}", at.next_seq));
    let head: Head = serde_json::from_slice(line).map_err(|e| bad(&e.to_string()))?;
    if head.seq != at.next_seq || (!at.head.is_empty() && head.prev_hash != at.head) || !is_whole(line) {
        return Err(bad("the chain does not hold here"));
    }
    let opens = at.end == 0;
    if opens && head.event != "audit.checkpoint" {
        return Err(bad("a segment opens with audit.checkpoint"));
    }
    if opens && at.head.is_empty() {
        restore(fold, line).map_err(|why| bad(&why))?;
    } else if fold.wants(&head.event) {
        Line::parse(line).and_then(|l| fold.apply(&l)).map_err(|why| bad(&why))?;
    }
    at.end += line.len() as u64 + 1;
    at.next_seq += 1;
    at.head = crate::model::Sha256::of(line).to_string();
    Ok(())
}

fn restore(fold: &mut dyn Fold, line: &[u8]) -> Result<(), String> {
    #[derive(serde::Deserialize)]
    struct Carried<'a> {
        #[serde(borrow)]
        state: Option<&'a RawValue>,
    }
    let origin = crate::model::Sha256::of(line);
    fold.restore(Line::parse(line)?.detail::<Carried>()?.state, origin.as_str())
}
