//! Messages that were turned away before they became calls, on record.
//!
//! Invariant: a flood of them costs a few lines in the log: the first of every ten seconds one by one, the rest counted.

use super::message::Refusal;
use crate::dispatcher::Connection;
use crate::error::{Error, ErrorCode};
use crate::model::CommandId;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::task::TaskTracker;

const WINDOW: Duration = Duration::from_secs(10);
const ONE_BY_ONE: u32 = 16;

pub struct Refusals {
    connection: Arc<Connection>,
    window: Mutex<Window>,
    recording: TaskTracker,
}

struct Window {
    since: Instant,
    recorded: u32,
    /// Turned away since then without a line of their own.
    counted: u64,
}

impl Refusals {
    pub fn new(connection: Arc<Connection>) -> Self {
        let window = Window { since: Instant::now(), recorded: 0, counted: 0 };
        Refusals { connection, window: Mutex::new(window), recording: TaskTracker::new() }
    }

    pub fn note_message(&self, refusal: &Refusal) {
        self.note("", || Error::new(refusal.reason, refusal.message.clone()));
    }

    /// Notes a call of `command` that was turned away with this error.
    pub fn note(&self, command: &str, error: impl FnOnce() -> Error) {
        let (alone, counted) = self.admit();
        if counted > 0 {
            self.record(String::new(), summary(counted));
        }
        if alone {
            self.record(command.chars().take(60).collect(), error());
        }
    }

    /// Waits until everything is on record.
    pub async fn finish(&self) {
        let counted = std::mem::take(&mut self.lock().counted);
        if counted > 0 {
            self.record(String::new(), summary(counted));
        }
        self.recording.close();
        self.recording.wait().await;
    }

    /// Whether this one gets a line of its own, and how many before it got none.
    fn admit(&self) -> (bool, u64) {
        let mut window = self.lock();
        let mut counted = 0;
        if window.since.elapsed() >= WINDOW {
            counted = std::mem::take(&mut window.counted);
            *window = Window { since: Instant::now(), recorded: 0, counted: 0 };
        }
        if window.recorded < ONE_BY_ONE {
            window.recorded += 1;
            return (true, counted);
        }
        window.counted += 1;
        (false, counted)
    }

    fn record(&self, command: String, error: Error) {
        let connection = self.connection.clone();
        self.recording.spawn(async move { connection.refused(&command, &CommandId::mint(), &error).await });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn summary(counted: u64) -> Error {
    Error::new(ErrorCode::Protocol, format!("{counted} more messages were turned away"))
}
