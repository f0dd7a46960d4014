//! A running command's handle, shared by who waits for it and who does the work: cancel flag, progress, warnings.

use super::{FileFacts, Handed, Keep};
use crate::error::{Error, ErrorCode, Result};
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

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
    person: Mutex<Option<tokio::sync::mpsc::UnboundedSender<Question>>>,
    handed: Mutex<Option<tokio::sync::mpsc::UnboundedSender<Handed>>>,
    kept: Mutex<Option<Arc<dyn Keep>>>,
}

/// Something that approved work asks the person who approved it.
#[derive(Debug)]
pub struct Question {
    pub text: String,
    answer: SyncSender<bool>,
}

impl Question {
    /// Only the first answer counts, and only where the work still waits.
    pub fn answer(&self, yes: bool) {
        let _ = self.answer.try_send(yes);
    }
}

/// How long work waits before it looks again whether it is to stop.
const TICK: Duration = Duration::from_millis(100);

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
    Devices,
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

    /// Makes `person` the one whom the work asks.
    pub fn ask_of(&self, person: tokio::sync::mpsc::UnboundedSender<Question>) {
        if let Ok(mut asked) = self.person.lock() {
            *asked = Some(person);
        }
    }

    /// Asks the person and blocks for the answer; `None` where nobody is there, nobody answers in time, or the work is
    /// to stop.
    pub fn ask(&self, text: impl Into<String>, within: Duration) -> Option<bool> {
        let (answer, answers) = sync_channel(1);
        let question = Question { text: text.into(), answer };
        self.person.lock().ok()?.as_ref()?.send(question).ok()?;
        self.wait_for(&answers, within)
    }

    fn wait_for(&self, answers: &Receiver<bool>, within: Duration) -> Option<bool> {
        let deadline = Instant::now() + within;
        while !self.is_cancelled() && Instant::now() < deadline {
            match answers.recv_timeout(TICK.min(deadline.saturating_duration_since(Instant::now()))) {
                Ok(yes) => return Some(yes),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    /// Makes `taker` the one who puts on record what a backend has taken; nobody, once the work is over.
    pub fn hand_over_to(&self, taker: Option<tokio::sync::mpsc::UnboundedSender<Handed>>) {
        if let Ok(mut handed) = self.handed.lock() {
            *handed = taker;
        }
    }

    /// Tells that a backend has taken a step and goes on with it whatever becomes of this process.
    pub fn hand_over(&self, handed: Handed) {
        if let Ok(taker) = self.handed.lock()
            && let Some(taker) = taker.as_ref()
        {
            let _ = taker.send(handed);
        }
    }

    /// Has what the work begins with a backend kept for another process; with `None` no more.
    pub fn keep(&self, kept: Option<Arc<dyn Keep>>) {
        if let Ok(mut k) = self.kept.lock() {
            *k = kept;
        }
    }

    /// The record of work that outlives this process.
    pub fn kept(&self) -> Option<Arc<dyn Keep>> {
        self.kept.lock().ok()?.clone()
    }

    /// A job that nobody stops, and whose beginnings are kept as this one's are.
    pub fn calm(&self) -> Arc<Job> {
        let calm = Job::default();
        calm.keep(self.kept());
        Arc::new(calm)
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
            3 => "devices",
            _ => "entries",
        };
        (self.done.load(Relaxed), (total > 0).then_some(total), unit)
    }

    /// Adds to the answer's `warnings`: what could not be seen, and how to see it.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        if let Ok(mut w) = self.warnings.lock()
            && !w.contains(&text)
        {
            w.push(text);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_person_nobody_said_yes() {
        assert_eq!(Job::default().ask("well?", Duration::from_secs(60)), None);
        let (job, (person, questions)) = (Job::default(), tokio::sync::mpsc::unbounded_channel());
        job.ask_of(person);
        drop(questions);
        assert_eq!(job.ask("well?", Duration::from_secs(60)), None);
    }

    #[test]
    fn the_first_answer_counts() {
        let (job, (person, mut questions)) = (Job::default(), tokio::sync::mpsc::unbounded_channel());
        job.ask_of(person);
        let answers = std::thread::spawn(move || {
            while let Some(question) = questions.blocking_recv() {
                question.answer(question.text == "sure?");
                question.answer(true);
            }
        });
        assert_eq!(job.ask("sure?", Duration::from_secs(60)), Some(true));
        assert_eq!(job.ask("maybe?", Duration::from_secs(60)), Some(false));
        drop(job);
        answers.join().unwrap();
    }

    #[test]
    fn a_job_that_is_to_stop_waits_for_nobody() {
        let (job, (person, _questions)) = (Job::default(), tokio::sync::mpsc::unbounded_channel());
        job.ask_of(person);
        job.cancel();
        assert_eq!(job.ask("well?", Duration::from_secs(3600)), None);
    }
}
