//! A person's yes and what follows from it: vote, consume, dispatch, record. One place for every approver's side.
//!
//! Invariants: the plan is consumed durably before its first effect and dispatched at most once; between consume and
//! record neither a signal nor a caller that goes away ends it.

use crate::dispatcher::Dispatcher;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::{Approved, Ballot, Execution, RequestView};
use crate::model::{Disclosure, End, Job, Outcome, Question, Remediated, Sha256, Timestamp, Verified};
use crate::registry::{Core, blocking};
use crate::shape::Untrusted;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A device that was told to stop answers within this, or its outcome is unknown.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// The person who approves, for what running work asks.
pub trait Person {
    /// Whether the person says yes. Dropped when the work waits no longer.
    fn says_yes<'a>(&'a mut self, question: &'a str) -> Pin<Box<dyn Future<Output = bool> + 'a>>;
}

/// What a vote led to.
#[derive(Debug)]
#[must_use = "it says whether anything was done"]
pub enum Decided {
    /// Counted; more votes are needed.
    Counted(RequestView),
    /// It was the last one: the plan ran, and this came of it.
    Ran { view: RequestView, outcome: Outcome },
}

/// Keeps the signals that end a process from ending this one. They stay taken for the life of the process: whoever
/// waits for a person listens to them itself.
pub struct Signals([Signal; 3]);

impl Signals {
    /// Takes SIGINT, SIGTERM and SIGHUP.
    pub fn take() -> Result<Self> {
        let one = |kind| signal(kind).map_err(|e| Error::io("signals", e));
        Ok(Signals([one(SignalKind::interrupt())?, one(SignalKind::terminate())?, one(SignalKind::hangup())?]))
    }

    /// The next one that arrives.
    pub async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

impl Dispatcher {
    /// Casts a vote; the last one that is needed consumes the plan, runs it and records what came of it.
    ///
    /// Refusals are the guard's: `E_FACTOR_INVALID`, `E_TOO_FAST`, `E_EXPIRED`, `E_CONSUMED` and the like. What the
    /// device makes of the plan is no error here: it is the outcome.
    pub async fn decide(&self, ballot: Ballot, person: &mut dyn Person) -> Result<Decided> {
        let signals = Signals::take()?;
        let core = self.core().clone();
        let (asks, mut questions) = unbounded_channel();
        let mut decided = tokio::spawn(async move {
            let voted = core.guard(move |g| g.vote(ballot)).await??;
            if !voted.granted {
                return Ok(Decided::Counted(voted.view));
            }
            run(&core, voted.view, asks).await
        });
        let decided = loop {
            let question: Question = tokio::select! {
                decided = &mut decided => break decided,
                Some(question) = questions.recv() => question,
            };
            tokio::select! {
                decided = &mut decided => break decided,
                yes = person.says_yes(&question.text) => question.answer(yes),
            }
        };
        let decided = decided.map_err(|e| Error::new(ErrorCode::Internal, "the decision broke off").source(e))?;
        drop(signals);
        decided
    }
}

async fn run(core: &Arc<Core>, view: RequestView, asks: UnboundedSender<Question>) -> Result<Decided> {
    let id = view.id.clone();
    let (approved, execution) = core.guard(move |g| g.consume(&id)).await??;
    let (execution, begun) = core
        .guard(move |g| {
            let begun = g.started(&execution);
            (execution, begun)
        })
        .await?;
    let outcome = match begun {
        Ok(()) => perform(core, approved, view.disclosure.as_ref(), asks).await,
        Err(e) => failed(&e),
    };
    let view = record(core, execution, &outcome).await?;
    Ok(Decided::Ran { view, outcome })
}

async fn record(core: &Arc<Core>, execution: Execution, outcome: &Outcome) -> Result<RequestView> {
    let recorded = outcome.clone();
    core.guard(move |g| g.finished(execution, &recorded)).await?.map_err(|e| {
        let what = match &outcome.end {
            End::Done => "it was done",
            End::Drift { .. } => "it stopped at a step whose entity had changed",
            End::Failed { .. } => "it failed",
            End::Unknown { .. } => "it may have happened",
        };
        Error::new(
            ErrorCode::AuditUnavailable,
            format!("the plan ran ({what}), but this is not on record: {}", e.message),
        )
        .hint("write it down, make room for the audit log, look at the device")
        .source(e)
    })
}

/// Runs the plan within the command's time; a device that does not come back leaves an unknown outcome.
async fn perform(
    core: &Arc<Core>,
    approved: Approved,
    disclosure: Option<&Disclosure>,
    asks: UnboundedSender<Question>,
) -> Outcome {
    let job = Arc::new(Job::default());
    job.ask_of(asks);
    let limit = Duration::from_secs(core.sessions.limits().command_s);
    let mut work = tokio::spawn({
        let (core, job, slice) = (core.clone(), job.clone(), disclosure.cloned());
        async move {
            match slice {
                Some(slice) => disclose(&core, approved, slice).await,
                None => core.sessions.dispatch(approved, &job).await,
            }
        }
    });
    let ended = match tokio::time::timeout(limit, &mut work).await {
        Ok(ended) => Some(ended),
        Err(_) => {
            job.time_out();
            tokio::time::timeout(STOP_GRACE, work).await.ok()
        }
    };
    match ended {
        Some(Ok(mut outcome)) => {
            outcome.warnings.extend(job.take_warnings());
            outcome
        }
        Some(Err(_)) => unknown("the work broke off while the plan ran"),
        None => unknown("the device did not come back within the time limit"),
    }
}

/// A disclosure has no effect on any device: the slice is read to see that it can be, and only its hash is kept.
async fn disclose(core: &Arc<Core>, approved: Approved, slice: Disclosure) -> Outcome {
    let request = approved.request().clone();
    drop(approved);
    let store = core.evidence.clone();
    let asked = slice.clone();
    let read = match blocking(move || store.read(&asked)).await {
        Ok(Ok(read)) => read,
        Ok(Err(e)) | Err(e) => return failed(&e),
    };
    let shown = serde_json::to_vec(&read).unwrap_or_default();
    let row = Remediated {
        r#type: "evidence".into(),
        id: Untrusted::new(slice.sha256.as_str()),
        outcome: "disclosed".into(),
        undo_id: None,
        path: None,
        sha256: Some(Sha256::of(&shown)),
        size_bytes: u64::try_from(shown.len()).ok(),
        at: Some(Timestamp::now()),
        request_id: Some(request),
        note: Some(Untrusted::new("sha256 is that of the slice as it is shown")),
    };
    Outcome { rows: vec![row], verified: Verified::Yes, end: End::Done, warnings: Vec::new() }
}

fn failed(e: &Error) -> Outcome {
    let end = End::Failed { code: e.code.as_str().into(), message: e.message.clone() };
    Outcome { rows: Vec::new(), verified: Verified::No, end, warnings: Vec::new() }
}

fn unknown(message: &str) -> Outcome {
    let end = End::Unknown { message: message.into() };
    Outcome { rows: Vec::new(), verified: Verified::Unknown, end, warnings: Vec::new() }
}
