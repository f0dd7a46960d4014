//! The way from the thread that walks to those that look: names of files in pieces, a few pieces at a time.
//!
//! Invariant: neither side waits for another that has ended.

use super::super::mounts;
use super::super::walk::{Place, Visit};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job};
use rustix::fs::{FileType, RawDirEntry};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

/// Names in a piece.
const NAMES: usize = 64;
/// Pieces that wait: each may hold a directory open.
const PIECES: usize = 16;

/// Files to look at.
pub(super) enum Piece {
    /// By its path.
    File(DevicePath),
    /// By their names in an open directory.
    Entries { directory: Arc<OwnedFd>, shown: DevicePath, names: Vec<Vec<u8>> },
}

/// Where the lookers take from.
pub(super) struct Feed {
    pieces: Mutex<Option<Receiver<Piece>>>,
}

/// Where the walker puts in.
pub(super) struct Mouth<'a> {
    pieces: SyncSender<Piece>,
    /// Levels that the walk goes down now.
    pub depth: Option<u32>,
    is_closed: AtomicBool,
    job: &'a Job,
}

impl Feed {
    pub fn new(job: &Job) -> (Feed, Mouth<'_>) {
        let (sender, receiver) = sync_channel(PIECES);
        (
            Feed { pieces: Mutex::new(Some(receiver)) },
            Mouth { pieces: sender, depth: None, is_closed: AtomicBool::new(false), job },
        )
    }

    /// The next piece; `None` once there are no more.
    pub fn take(&self) -> Option<Piece> {
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.recv().ok()
    }

    /// Nobody takes any more.
    pub fn close(&self) {
        *self.pieces.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Closes the feed where a looker ends by an error or a panic.
pub(super) struct Seat<'f> {
    pub feed: &'f Feed,
    pub ended_well: bool,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if !self.ended_well {
            self.feed.close();
        }
    }
}

impl Mouth<'_> {
    /// `Err` where nobody takes any more.
    pub fn send(&self, piece: Piece) -> Result<()> {
        self.pieces.send(piece).map_err(|_| self.closed())
    }

    fn closed(&self) -> Error {
        match self.job.check() {
            Err(stopped) => stopped,
            Ok(()) => Error::new(ErrorCode::Internal, "the scan ended early"),
        }
    }

    fn send_names(&self, at: &Place<'_>, names: &mut Vec<Vec<u8>>) -> Result<()> {
        if names.is_empty() {
            return Ok(());
        }
        let (directory, shown) = (Arc::clone(at.directory), at.path.clone());
        self.send(Piece::Entries { directory, shown, names: std::mem::take(names) })
    }
}

impl Visit for Mouth<'_> {
    /// Names that wait to be sent.
    type Row = Vec<u8>;

    fn max_depth(&self) -> Option<u32> {
        self.depth
    }

    fn entry(&self, at: &Place<'_>, entry: &RawDirEntry<'_>, names: &mut Vec<Vec<u8>>) {
        let is_file = match entry.file_type() {
            FileType::RegularFile => true,
            FileType::Unknown => {
                mounts::facts_of(at.points, at.directory, entry.file_name()).is_ok_and(|f| f.is_file())
            }
            _ => false,
        };
        let is_mount = || at.points.iter().any(|(point, _)| point == entry.file_name().to_bytes());
        if is_file && !is_mount() {
            names.push(entry.file_name().to_bytes().to_vec());
            if names.len() >= NAMES && self.send_names(at, names).is_err() {
                self.is_closed.store(true, Relaxed);
            }
        }
    }

    /// Progress is counted by those who look.
    fn leave(&self, at: &Place<'_>, _: u64, names: &mut Vec<Vec<u8>>, _: &Job) -> Result<()> {
        if self.is_closed.load(Relaxed) {
            return Err(self.closed());
        }
        self.send_names(at, names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_puts_in_does_not_wait_for_who_has_ended() {
        let job = Job::default();
        let (feed, mouth) = Feed::new(&job);
        std::thread::scope(|scope| {
            let walker = scope.spawn(|| (0..1_000).all(|_| mouth.send(Piece::File(DevicePath::new("/x"))).is_ok()));
            assert!(feed.take().is_some());
            drop(Seat { feed: &feed, ended_well: false });
            assert!(!walker.join().unwrap());
        });
        assert!(feed.take().is_none());
    }
}
