//! A person's yes and what follows from it: vote, consume, dispatch, record. One place for every approver's side.
//!
//! Invariants: the plan is consumed durably before its first effect and dispatched at most once; between consume and
//! record neither a signal nor a caller that goes away ends it.

use crate::dispatcher::Dispatcher;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::{Approved, Ballot, Execution, RequestView};
use crate::model::{
    Disclosure, End, Job, LibraryItem, Outcome, Question, Remediated, RequestId, Sha256, Timestamp, Verified,
};
use crate::registry::{Core, blocking, seal_output};
use crate::shape::Untrusted;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// A device that was told to stop answers within this, or its outcome is unknown.
const STOP_GRACE: Duration = Duration::from_secs(15);
/// A script's own time limit comes first; then all that it started is killed, and its output read to the end.
const SCRIPT_GRACE: Duration = Duration::from_secs(40);
/// How often a halt or a cancel is looked for while a script runs.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
    /// It was the last one: who was asked goes on with it, and whoever asks for its state reads on there.
    HandedOver { view: RequestView, message: String },
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

    /// The next SIGINT.
    pub async fn interrupted(&mut self) {
        let [interrupt, _, _] = &mut self.0;
        interrupt.recv().await;
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
    /// device makes of the plan is no error here: it is the outcome. SIGINT stops a script that runs; nothing else is
    /// stopped half way.
    pub async fn decide(&self, ballot: Ballot, person: &mut dyn Person) -> Result<Decided> {
        let mut signals = Signals::take()?;
        let core = self.core().clone();
        let script = Arc::new(Job::default());
        let (asks, mut questions) = unbounded_channel();
        let mut decided = tokio::spawn({
            let script = script.clone();
            async move {
                let voted = core.guard(move |g| g.vote(ballot)).await??;
                if !voted.granted {
                    return Ok(Decided::Counted(voted.view));
                }
                run(&core, voted.view, script, asks).await
            }
        });
        let ended = loop {
            let question: Question = tokio::select! {
                ended = &mut decided => break ended,
                Some(question) = questions.recv() => question,
                () = signals.interrupted() => {
                    script.cancel();
                    continue;
                }
            };
            tokio::select! {
                ended = &mut decided => break ended,
                yes = person.says_yes(&question.text) => question.answer(yes),
            }
        };
        drop(signals);
        ended.map_err(|e| Error::new(ErrorCode::Internal, "the decision broke off").source(e))?
    }
}

/// `script`: the job of a plan that runs a script.
async fn run(
    core: &Arc<Core>,
    view: RequestView,
    script: Arc<Job>,
    asks: UnboundedSender<Question>,
) -> Result<Decided> {
    let id = view.id.clone();
    look_again(core, &view).await;
    let (approved, execution) = core.guard(move |g| g.consume(&id)).await??;
    let (execution, begun) = core
        .guard(move |g| {
            let begun = g.started(&execution);
            (execution, begun)
        })
        .await?;
    let (time_limit, outlives) = (approved.time_limit_s(), approved.outlives());
    let job = if time_limit.is_some() || outlives { script } else { Arc::default() };
    let outcome = match begun {
        Ok(()) => {
            job.ask_of(asks);
            let noted = outlives.then(|| note_handed(core, &view, &job));
            let outcome = perform(core, approved, &view, job.clone()).await;
            job.hand_over_to(None);
            if let Some(noted) = noted {
                let _ = noted.await;
            }
            outcome
        }
        Err(e) => failed(&e),
    };
    if let End::GoesOn { message } = outcome.end {
        // Whoever asks next takes the mark and reads on.
        drop(execution);
        return Ok(Decided::HandedOver { view, message });
    }
    let view = record(core, execution, &outcome).await?;
    Ok(Decided::Ran { view, outcome })
}

/// Asks the device's backend once more what it is, so that what is consumed is judged by what holds now. Where it cannot
/// be asked, nothing can be done there either.
async fn look_again(core: &Arc<Core>, view: &RequestView) {
    if view.disclosure.is_some() {
        // What is shown is here, whether or not anybody can be asked.
        let _ = core.acquaint(&view.device).await;
        return;
    }
    if let Ok(device) = core.sessions.device(view.device.as_str(), &Arc::default()).await
        && let Some(traits) = device.traits()
    {
        core.guard.know(device.id(), traits);
    }
}

/// Puts on record what a backend has taken, as it takes it. Ends with the work.
fn note_handed(core: &Arc<Core>, view: &RequestView, job: &Arc<Job>) -> tokio::task::JoinHandle<()> {
    let (taker, mut handed) = unbounded_channel();
    job.hand_over_to(Some(taker));
    let (core, id) = (core.clone(), view.id.clone());
    tokio::spawn(async move {
        while let Some(handed) = handed.recv().await {
            let id = id.clone();
            // What is not on record is found by its comment.
            if let Ok(Err(e)) = core.guard(move |g| g.handed_over(&id, &handed)).await {
                tracing::warn!(code = %e.code, "what a backend has taken could not be put on record");
            }
        }
    })
}

async fn record(core: &Arc<Core>, execution: Execution, outcome: &Outcome) -> Result<RequestView> {
    let recorded = outcome.clone();
    core.guard(move |g| g.finished(execution, &recorded)).await?.map_err(|e| {
        let what = match &outcome.end {
            End::Done => "it was done",
            End::Drift { .. } => "it stopped at a step whose entity had changed",
            End::Failed { .. } => "it failed",
            End::Unknown { .. } | End::GoesOn { .. } => "it may have happened",
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
async fn perform(core: &Arc<Core>, approved: Approved, view: &RequestView, job: Arc<Job>) -> Outcome {
    let outlives = approved.outlives();
    let own_limit = approved.time_limit_s().or(outlives.then(|| core.sessions.limits().command_s));
    let limit = Duration::from_secs(core.sessions.limits().command_s);
    let limit = own_limit.map_or(limit, |own| limit.max(Duration::from_secs(own) + SCRIPT_GRACE));
    let mut work = tokio::spawn({
        let (core, job, slice) = (core.clone(), job.clone(), view.disclosure.clone());
        async move {
            match slice {
                Some(slice) => disclose(&core, approved, slice).await,
                None if approved.is_of_library() => delete(&core, approved).await,
                None => core.sessions.dispatch(approved, core.library.clone(), &job).await,
            }
        }
    });
    let watched = async {
        tokio::select! {
            ended = &mut work => Some(ended),
            () = told_to_stop(core, &view.id), if own_limit.is_some() => None,
        }
    };
    let ended = match tokio::time::timeout(limit, watched).await {
        Ok(Some(ended)) => Some(ended),
        stop => {
            match stop {
                Ok(_) => job.cancel(),
                Err(_) => job.time_out(),
            }
            let grace = if own_limit.is_some() { SCRIPT_GRACE } else { STOP_GRACE };
            tokio::time::timeout(grace, work).await.ok()
        }
    };
    match ended {
        Some(Ok(mut outcome)) => {
            outcome.warnings.extend(job.take_warnings());
            seal_output(core, view, &job, &mut outcome).await;
            outcome
        }
        Some(Err(_)) => unknown("the work broke off while the plan ran"),
        None => unknown("the device did not come back within the time limit"),
    }
}

/// Returns once the requester takes it back or somebody halts all changes: what runs by itself is stopped then.
async fn told_to_stop(core: &Arc<Core>, id: &RequestId) {
    loop {
        let id = id.clone();
        if let Ok(Ok(true)) = core.guard(move |g| g.is_to_stop(&id)).await {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Takes a file out of the library, as a person approved.
async fn delete(core: &Arc<Core>, approved: Approved) -> Outcome {
    let request = approved.request().clone();
    let device = approved.device().clone();
    let work = core.clone();
    let deleted = blocking(move || {
        let mut rows = Vec::new();
        for order in approved.orders(&device)? {
            let hold = work.library.hold()?;
            let item = work.guard.delete_script(order)?;
            if !work.guard.is_shelved(&item.sha256)? {
                work.library.discard(&hold, &item.sha256)?;
            }
            rows.push(deleted(&item, &request));
        }
        Ok(rows)
    });
    match deleted.await {
        Ok(Ok(rows)) => Outcome { rows, verified: Verified::Yes, end: End::Done, warnings: Vec::new() },
        Ok(Err(e)) | Err(e) => failed(&e),
    }
}

fn deleted(item: &LibraryItem, request: &RequestId) -> Remediated {
    Remediated {
        r#type: "library".into(),
        id: Untrusted::new(item.name.as_str()),
        outcome: "deleted".into(),
        undo_id: None,
        path: None,
        sha256: Some(item.sha256.clone()),
        size_bytes: Some(item.size_bytes),
        at: Some(Timestamp::now()),
        request_id: Some(request.clone()),
        exit_code: None,
        note: None,
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
        exit_code: None,
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
