//! Reads in the background that outlive this process: kept as they begin, taken over by whoever asks for them later.
//!
//! Invariants: only a read is kept; it is taken over by its own principal, with the role that it needs now; what it began
//! with a backend is read on and never begun again.

use super::work::Work;
use super::{Dispatcher, Extent};
use crate::commands;
use crate::device::{Fut, TENANT};
use crate::error::{Error, ErrorCode, Result, State};
use crate::model::{Job, Keep, Timestamp};
use crate::principal::Transport;
use crate::registry::{Call, Core, Effect, Resume, blocking, split};
use crate::session::{Asked, ConnectionId, JobEntry, Kept, Session, WAITS_S};
use crate::shape::ResultObject;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How long whoever takes a read over waits for the backend's first word on it.
const FIRST_WORD: Duration = Duration::from_secs(20);

struct Resumer(Weak<Dispatcher>);

impl Resume for Resumer {
    fn resume(&self, kept: Kept) -> Fut<'_, Result<Arc<JobEntry>>> {
        Box::pin(async move {
            let gone = || Error::new(ErrorCode::Internal, "the program ends");
            self.0.upgrade().ok_or_else(gone)?.resume(Arc::new(kept)).await
        })
    }
}

impl Dispatcher {
    /// Has the core find this one for what it takes over.
    pub(super) fn resumes(self: &Arc<Self>) {
        // Set once, as it is made.
        let _ = self.core.resume.set(Box::new(Resumer(Arc::downgrade(self))));
    }

    async fn resume(&self, kept: Arc<Kept>) -> Result<Arc<JobEntry>> {
        let core = &self.core;
        let asked = kept.asked();
        let gone = || Error::new(ErrorCode::UnknownCommand, "this version of the program has no such read any more");
        let tool = commands::find(&asked.tool).filter(|tool| may_be_kept(tool.spec().effect)).ok_or_else(gone)?;
        let spec = tool.spec();
        let (common, own) = split(tool, &asked.args)?;
        tool.check(&own)?;
        let device = core.sessions.device(asked.device.as_str(), &Arc::new(Job::default())).await?;
        if let Some(traits) = device.traits() {
            core.guard.know(device.id(), traits);
        }
        core.check_role(&asked.by, device.id(), spec).await?;
        let session = core.sessions.revive(asked, device);
        let place = Some((session.id.clone(), session.device.describe()));
        let entry = JobEntry::new(asked.command_id.clone(), spec.name, place, asked.by.clone());
        let entry = Arc::new(entry.resumed(asked.started));
        let call = Call {
            command_id: asked.command_id.clone(),
            principal: asked.by.clone(),
            transport: Transport::Call,
            connection: ConnectionId(0),
            claimed: None,
            spec,
            common,
            table: false,
            args: own,
        };
        let usual = Duration::from_secs(core.sessions.limits().long_command_s);
        let limit = limit(Some(&*kept), usual);
        held(&entry, Some(kept.clone()));
        core.sessions.jobs.add(entry.clone());
        let work = Work {
            core: core.clone(),
            log: self.log.clone(),
            tool,
            call: Arc::new(call),
            session: Some(session),
            entry: entry.clone(),
            limit,
            extent: Extent::Model,
            fixed: self.fixed.clone(),
        };
        tokio::spawn(work.within());
        let word = async {
            tokio::select! {
                _ = entry.ended() => {}
                () = kept.waiting() => {}
            }
        };
        // Without a word it goes on.
        let _ = tokio::time::timeout(FIRST_WORD, word).await;
        Ok(entry)
    }
}

/// What could change anything is let go before it asks for that.
fn may_be_kept(effect: Effect) -> bool {
    !matches!(effect, Effect::Session | Effect::Destructive)
}

/// The record of a read in the background on a backend that goes on with it. Where it cannot be kept it ends with this
/// process, and a warning says so in its answer.
pub(super) async fn keep(
    core: &Arc<Core>,
    call: &Call,
    session: Option<&Arc<Session>>,
    args: &str,
) -> Option<Arc<Kept>> {
    let session = session.filter(|s| s.device.describe().backend == TENANT)?;
    if !call.common.background || call.common.cursor.is_some() || !may_be_kept(call.spec.effect) {
        return None;
    }
    let off = session.device.away().is_some();
    let asked = Asked {
        command_id: call.command_id.clone(),
        by: call.principal.clone(),
        tool: call.spec.name.to_owned(),
        args: args.to_owned(),
        session: session.id.clone(),
        device: session.device.id().clone(),
        device_name: session.device.describe().name,
        directory: session.directory(),
        comment: session.comment.clone(),
        started: Timestamp::now(),
    };
    let work = core.clone();
    match blocking(move || work.sessions.reads.keep(asked, off)).await {
        Ok(Ok(kept)) => Some(Arc::new(kept)),
        Ok(Err(e)) | Err(e) => {
            tracing::warn!(code = %e.code, "a read ends with this process: {}", e.message);
            None
        }
    }
}

/// How long a read may take: one that is kept, as long as its backend keeps it and then as usual.
pub(super) fn limit(kept: Option<&Kept>, usual: Duration) -> Duration {
    let Some(kept) = kept else { return usual };
    let left = kept.asked().started.plus_secs(WAITS_S).as_secs().saturating_sub(Timestamp::now().as_secs());
    usual + Duration::from_secs(u64::try_from(left).unwrap_or(0))
}

pub(super) fn held(entry: &JobEntry, kept: Option<Arc<Kept>>) {
    entry.job.keep(kept.map(|kept| kept as Arc<dyn Keep>));
}

/// Puts the end of a read on its record. What only could not be read on stays for the next who asks.
pub(super) async fn ended(entry: &JobEntry, result: &ResultObject) {
    let Some(kept) = entry.job.kept() else { return };
    let again = [ErrorCode::Backend, ErrorCode::Throttled, ErrorCode::Internal].map(ErrorCode::as_str);
    let well = match (result.state, &result.error) {
        (State::Failed, Some(e)) if again.contains(&e.code.as_str()) => return entry.job.keep(None),
        (State::Completed, _) => Some(true),
        (State::Failed, _) => Some(false),
        _ => None,
    };
    // What cannot be written is told there.
    let _ = blocking(move || kept.ended(well)).await;
    entry.job.keep(None);
}
