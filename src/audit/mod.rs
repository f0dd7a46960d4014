//! The log: hash-chained JSON lines in segments, one order over all processes; the guard's write-ahead log.
//!
//! Invariants: what `commit` and `transact` wrote is on disk before they return; a record that could not be written is
//! counted and told of by the next one (`audit.gap`); a line is never changed after it was written. Nothing is opened
//! before the first call that needs it.
#![allow(clippy::disallowed_methods)]

mod clock;
mod log;
mod record;
mod segment;
mod verify;

pub use clock::{Clock, Moment, SystemClock};
pub use log::{Fold, Log};
pub(crate) use record::escape;
pub use record::{EVENTS, Line, Record};
pub use verify::{Broken, Checkpoint, Filter, Shown, Verified, checkpoint, show, verify};

#[cfg(test)]
pub(crate) use clock::fake::FakeClock;

use crate::error::{Error, ErrorCode};
use std::path::Path;

fn unavailable(dir: &Path, e: impl std::error::Error + Send + Sync + 'static) -> Error {
    cannot_be_used(dir, &e.to_string()).source(e)
}

/// For an error of the log's own files, which names its path and often a remedy.
fn closed(dir: &Path, e: Error) -> Error {
    let error = cannot_be_used(dir, &e.message);
    match e.hint.clone() {
        Some(hint) => error.hint(format!("{hint}; changes stop until then, reads go on")),
        None => error,
    }
    .source(e)
}

fn cannot_be_used(dir: &Path, why: &str) -> Error {
    Error::new(ErrorCode::AuditUnavailable, format!("the audit log in {} cannot be used: {why}", dir.display()))
        .hint("changes stop until the log can be written again; reads go on")
}

fn broken(dir: &Path, why: &str) -> Error {
    Error::new(ErrorCode::AuditUnavailable, format!("the audit log in {} is broken: {why}", dir.display()))
        .hint("look with `live-response audit verify`; keep the log as evidence and start with a new home")
}

#[cfg(test)]
mod tests;
