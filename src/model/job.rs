//! A running command's handle, shared by who waits for it and who does the work: cancel flag, progress, warnings.

use super::FileFacts;
use crate::error::{Error, ErrorCode, Result};
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

/// Work looks at [`Job::check`] in every loop over unbounded input, so that a cancel stops it for real.
#[derive(Default, Debug)]
pub struct Job {
    cancelled: AtomicBool,
    timed_out: AtomicBool,
    done: AtomicU64,
    total: AtomicU64,
    unit: AtomicU8,
    warnings: Mutex<Vec<String>>,
    captured: Mutex<Option<Captured>>,
    wake: tokio::sync::Notify,
}

/// What approved work gave out beside its rows, such as a script's output: who dispatched it seals it as evidence.
#[derive(Debug)]
pub struct Captured {
    pub facts: FileFacts,
    /// Has no name; read from its start.
    pub file: File,
}

/// What a job counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Entries,
    Bytes,
    Steps,
}

impl Job {
    pub fn cancel(&self) {
        self.cancelled.store(true, Relaxed);
        self.wake.notify_waiters();
    }

    /// Ends once the work is to stop: for who waits on something that cannot look at [`Job::check`].
    pub async fn stopped(&self) {
        loop {
            let woken = self.wake.notified();
            if self.is_cancelled() {
                return;
            }
            woken.await;
        }
    }

    /// Cancels because the command's time limit has passed.
    pub fn time_out(&self) {
        self.timed_out.store(true, Relaxed);
        self.cancel();
    }

    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Relaxed)
    }

    /// `E_CANCELLED` or `E_TIMEOUT` once the work is to stop.
    pub fn check(&self) -> Result<()> {
        if !self.is_cancelled() {
            return Ok(());
        }
        Err(if self.timed_out.load(Relaxed) {
            Error::new(ErrorCode::Timeout, "the command's time limit has passed")
                .hint("narrow it, or raise [limits] command_s")
        } else {
            Error::new(ErrorCode::Cancelled, "the command was cancelled")
        })
    }

    /// How much there is in all; 0 where nobody knows.
    pub fn expect(&self, unit: Unit, total: u64) {
        self.unit.store(unit as u8, Relaxed);
        self.total.store(total, Relaxed);
    }

    pub fn advance(&self, by: u64) {
        self.done.fetch_add(by, Relaxed);
    }

    /// Done, total (where known) and the unit's name.
    pub fn progress(&self) -> (u64, Option<u64>, &'static str) {
        let total = self.total.load(Relaxed);
        let unit = match self.unit.load(Relaxed) {
            1 => "bytes",
            2 => "steps",
            _ => "entries",
        };
        (self.done.load(Relaxed), (total > 0).then_some(total), unit)
    }

    /// Adds to the answer's `warnings`: what could not be seen, and how to see it.
    pub fn warn(&self, text: impl Into<String>) {
        if let Ok(mut w) = self.warnings.lock() {
            w.push(text.into());
        }
    }

    /// Hands over what the work gave out. One a job.
    pub fn capture(&self, captured: Captured) {
        if let Ok(mut c) = self.captured.lock() {
            *c = Some(captured);
        }
    }

    pub fn take_captured(&self) -> Option<Captured> {
        self.captured.lock().ok()?.take()
    }

    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.lock().map(|mut w| std::mem::take(&mut *w)).unwrap_or_default()
    }
}
