//! Following a command after its call: `jobs`, `status`, `fg` and `cancel`, over this process's jobs and the
//! requests that wait for a person, whichever process made them.

use super::{Context, Core};
use crate::error::{Error, ErrorCode, Result, State};
use crate::guard::{Phase, RequestView};
use crate::model::{CommandId, DeviceId, DeviceRef, End, Outcome, RequestId, Timestamp, row};
use crate::principal::Principal;
use crate::session::{Found as Read, JobEntry};
use crate::shape::{Approval, ErrorObject, Page, Progress, ResultObject, Untrusted, scrub};
use std::sync::Arc;
use std::time::Duration;

/// How often another process's decision is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// How often a backend is asked how far it is.
const ADOPT_EVERY: Duration = Duration::from_secs(2);
/// What a list says of what nobody has looked at since: looking costs calls, which a list does not make.
const LEFT: &str = "left with the tenant: status looks how far it is";
const ENDED_WITHIN_S: i64 = 3600;
/// How long `cancel` waits for what it stopped to end.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

row! {
    /// A command that runs, waits for a person, or ended within the hour.
    pub struct JobRow {
        pub command_id: CommandId,
        pub tool: String,
        pub state: &'static str,
        pub device: Option<DeviceId>,
        pub started: Option<Timestamp>,
        pub progress: Option<String>,
    }
}

/// What `status`, `fg` and `cancel` give: the asked command's own result object.
#[derive(serde::Serialize, schemars::JsonSchema)]
pub struct Followed {
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    command: ResultObject,
}

impl Followed {
    pub fn new(command: ResultObject) -> Self {
        Followed { command }
    }
}

impl Context<'_> {
    /// The caller's own commands, newest first.
    pub async fn jobs(&self) -> Result<Vec<JobRow>> {
        let by = self.principal().clone();
        let requests = requests(self.core(), &by).await?;
        let left = left(self.core(), &requests).await?;
        let oldest = Timestamp::now().plus_secs(-ENDED_WITHIN_S);
        let asked = requests.iter().filter(|r| r.ended.is_none_or(|at| at > oldest)).map(|r| JobRow {
            command_id: r.command_id.clone(),
            tool: r.command.clone(),
            state: state_of(&r.phase).as_str(),
            device: Some(r.device.clone()),
            started: Some(r.created),
            progress: left.contains(&r.id).then(|| LEFT.to_owned()),
        });
        let ran = self.core().sessions.jobs.of(&by);
        let ran = ran
            .iter()
            .filter(|e| e.command_id != *self.command_id() && requests.iter().all(|r| r.command_id != e.command_id))
            .map(|e| job_row(e));
        let mut rows: Vec<JobRow> = asked.chain(ran).collect();
        let kept = kept(self.core(), &by).await?;
        let is_new = |read: &&Read| rows.iter().all(|row| row.command_id != read.asked.command_id);
        let new: Vec<JobRow> = kept.iter().filter(is_new).map(kept_row).collect();
        rows.extend(new);
        rows.sort_by_key(|row| std::cmp::Reverse(row.started));
        Ok(rows)
    }

    /// Where a command stands now.
    pub async fn look(&self, id: &CommandId) -> Result<ResultObject> {
        match self.find(id).await? {
            Found::Job(entry) => Ok(entry.result().map_or_else(|| running(&entry), |r| (*r).clone())),
            Found::Request(view) => {
                let view = self.go_on(*view).await?;
                request_result(self.core(), &view).await
            }
            Found::Elsewhere(read) => Ok(elsewhere(&read)),
        }
    }

    /// A request that a backend goes on with, after a look there.
    async fn go_on(&self, view: RequestView) -> Result<RequestView> {
        if !matches!(view.phase, Phase::Consuming) {
            return Ok(view);
        }
        super::adopt::look(self.core(), &view).await?;
        let (id, by) = (view.id.clone(), self.principal().clone());
        let now = self.core().guard(move |g| g.request(&id, &by)).await??;
        Ok(RequestView { command_id: view.command_id, coalesced: view.coalesced, ..now })
    }

    /// Waits for a job's end or a request's decision, as long as the caller's patience lasts.
    pub async fn wait(&self, id: &CommandId) -> Result<ResultObject> {
        let patience = Duration::from_secs(self.core().sessions.limits().answer_within_s);
        let decided = async {
            let mut looked: Option<tokio::time::Instant> = None;
            loop {
                match self.find(id).await? {
                    Found::Job(entry) => return Ok((*entry.ended().await).clone()),
                    Found::Request(view) if is_decided(&view.phase) => {
                        return request_result(self.core(), &view).await;
                    }
                    Found::Request(view) => {
                        // A look at a backend costs a call.
                        if looked.is_none_or(|at| at.elapsed() >= ADOPT_EVERY) {
                            self.go_on(*view).await?;
                            looked = Some(tokio::time::Instant::now());
                        }
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                    Found::Elsewhere(_) => tokio::time::sleep(LOOK_EVERY).await,
                }
            }
        };
        match tokio::time::timeout(patience, decided).await {
            Ok(result) => result,
            Err(_) => self.look(id).await,
        }
    }

    /// Stops a running command, or takes back a request that nobody has decided.
    pub async fn stop(&self, id: &CommandId) -> Result<ResultObject> {
        match self.find(id).await? {
            Found::Job(entry) => {
                entry.job.cancel();
                Ok(tokio::time::timeout(STOPS_WITHIN, entry.ended())
                    .await
                    .map_or_else(|_| running(&entry), |r| (*r).clone()))
            }
            Found::Elsewhere(_) => {
                let what = format!("{} is in the hands of another process of this account", id.as_str());
                Err(Error::new(ErrorCode::DeviceBusy, what)
                    .hint("cancel it there, or end that process and cancel it then"))
            }
            Found::Request(view) => {
                let (id, by) = (view.id.clone(), self.principal().clone());
                let view = self.core().guard(move |g| g.cancel(&id, &by)).await??;
                if !matches!(view.phase, Phase::Consuming) {
                    return request_result(self.core(), &view).await;
                }
                // What runs was asked to stop, in whichever process it runs.
                let until = tokio::time::Instant::now() + STOPS_WITHIN;
                loop {
                    match self.find(&view.command_id).await? {
                        Found::Request(now) if is_decided(&now.phase) || tokio::time::Instant::now() >= until => {
                            return request_result(self.core(), &now).await;
                        }
                        _ => tokio::time::sleep(LOOK_EVERY).await,
                    }
                }
            }
        }
    }

    async fn find(&self, id: &CommandId) -> Result<Found> {
        let by = self.principal().clone();
        let entry = self.core().sessions.jobs.find(id, &by);
        if let Some(entry) = &entry
            && entry.result().is_none_or(|r| r.state != State::PendingApproval)
        {
            return Ok(Found::Job(entry.clone()));
        }
        let wanted = id.clone();
        if let Some(view) = self.core().guard(move |g| g.by_command(&wanted, &by)).await?? {
            return Ok(Found::Request(Box::new(view)));
        }
        if let Some(entry) = entry {
            return Ok(Found::Job(entry));
        }
        if let Some(found) = self.kept(id).await? {
            return Ok(found);
        }
        // One answer for unknown and for foreign ids.
        let shown: String = id.as_str().chars().take(40).collect();
        Err(Error::new(ErrorCode::Scope, format!("no command {shown:?} of yours")).hint("jobs lists what there is"))
    }

    /// A read that another process began: taken over where that process is gone.
    async fn kept(&self, id: &CommandId) -> Result<Option<Found>> {
        let core = self.core();
        if !core.sessions.has_tenant() {
            return Ok(None);
        }
        let (work, wanted, by) = (core.clone(), id.clone(), self.principal().clone());
        let look = move || -> Result<_> {
            let reads = &work.sessions.reads;
            let Some(read) = reads.find(&wanted, &by)? else { return Ok(None) };
            Ok(Some((read, reads.take(&wanted)?)))
        };
        let (Some((read, kept)), Some(resume)) = (super::blocking(look).await??, core.resume.get()) else {
            return Ok(None);
        };
        Ok(Some(match kept {
            Some(kept) => Found::Job(resume.resume(kept).await?),
            None => Found::Elsewhere(Box::new(read)),
        }))
    }
}

enum Found {
    Job(Arc<JobEntry>),
    Request(Box<RequestView>),
    /// A read that another process looks after.
    Elsewhere(Box<Read>),
}

/// What of the account's reads outlives the processes that began them.
async fn kept(core: &Arc<Core>, by: &Principal) -> Result<Vec<Read>> {
    if !core.sessions.has_tenant() {
        return Ok(Vec::new());
    }
    let (work, by) = (core.clone(), by.clone());
    super::blocking(move || work.sessions.reads.of(&by)).await
}

fn kept_row(read: &Read) -> JobRow {
    let (state, progress) = match read.ended {
        None => (State::Running, Some(LEFT.to_owned())),
        Some(ended) => (if ended.well { State::Completed } else { State::Failed }, None),
    };
    JobRow {
        command_id: read.asked.command_id.clone(),
        tool: read.asked.tool.clone(),
        state: state.as_str(),
        device: Some(read.asked.device.clone()),
        started: Some(read.asked.started),
        progress,
    }
}

fn elsewhere(read: &Read) -> ResultObject {
    let asked = &read.asked;
    let elapsed = Timestamp::now().as_millis() - asked.started.as_millis();
    ResultObject {
        session: Some(asked.session.clone()),
        elapsed_ms: u64::try_from(elapsed).unwrap_or(0),
        warnings: vec!["another process of this account looks after it".into()],
        ..ResultObject::new(asked.command_id.clone(), State::Running)
    }
}

async fn requests(core: &Arc<Core>, by: &Principal) -> Result<Vec<RequestView>> {
    // A look at an unchanged log costs microseconds; only a changed one is read off the async threads.
    if core.guard.changed() {
        let by = by.clone();
        return core.guard(move |g| g.requests(Some(&by))).await?;
    }
    core.guard.requests(Some(by))
}

/// Those that a backend goes on with and no process looks after.
async fn left(core: &Arc<Core>, requests: &[RequestView]) -> Result<Vec<RequestId>> {
    let begun = requests.iter().filter(|r| matches!(r.phase, Phase::Consuming)).map(|r| r.id.clone());
    let begun: Vec<RequestId> = begun.collect();
    if begun.is_empty() {
        return Ok(begun);
    }
    core.guard(move |g| begun.into_iter().filter(|id| g.is_left(id).unwrap_or(false)).collect()).await
}

fn job_row(entry: &JobEntry) -> JobRow {
    let result = entry.result();
    let (done, total, unit) = entry.job.progress();
    JobRow {
        command_id: entry.command_id.clone(),
        tool: entry.tool.into(),
        state: result.as_ref().map_or(State::Running, |r| r.state).as_str(),
        device: entry.device.as_ref().map(|d| d.id.clone()),
        started: Some(entry.started),
        progress: (result.is_none() && done > 0).then(|| match total {
            Some(total) => format!("{done}/{total} {unit}"),
            None => format!("{done} {unit}"),
        }),
    }
}

/// A job that has not ended.
pub(crate) fn running(entry: &JobEntry) -> ResultObject {
    let (done, total, unit) = entry.job.progress();
    let elapsed = Timestamp::now().as_millis() - entry.started.as_millis();
    ResultObject {
        session: entry.session.clone(),
        device: entry.device.clone(),
        progress: Some(Progress { done, total, unit }),
        elapsed_ms: u64::try_from(elapsed).unwrap_or(0),
        warnings: entry.job.kept().and_then(|kept| kept.told()).into_iter().collect(),
        ..ResultObject::new(entry.command_id.clone(), State::Running)
    }
}

fn is_decided(phase: &Phase) -> bool {
    !matches!(phase, Phase::Pending | Phase::Approved | Phase::Consuming)
}

/// The state that a client sees.
fn state_of(phase: &Phase) -> State {
    match phase {
        Phase::Pending => State::PendingApproval,
        Phase::Approved | Phase::Consuming => State::Running,
        Phase::Done(outcome) => match &outcome.end {
            End::Done => State::Completed,
            End::Drift { .. } => State::Failed,
            End::Failed { code, .. } => ErrorCode::parse(code).map_or(State::Failed, |c| match c.state() {
                State::Refused => State::Failed,
                other => other,
            }),
            End::GoesOn { .. } => State::Running,
            End::Unknown { .. } => State::Unknown,
        },
        Phase::Denied | Phase::Revoked | Phase::Invalidated(_) => State::Refused,
        Phase::Expired => State::Expired,
        Phase::Cancelled => State::Cancelled,
        Phase::Unknown => State::Unknown,
    }
}

/// A request as the result of the call that made it.
pub async fn request_result(core: &Arc<Core>, view: &RequestView) -> Result<ResultObject> {
    let mut result = ResultObject::new(view.command_id.clone(), state_of(&view.phase));
    result.session = view.session.clone();
    // The name that the person saw, also where the device was not opened here.
    let name = Untrusted::new(view.device_name.as_str());
    result.device = core.sessions.describe(&view.device).map(|device| DeviceRef { name, ..device });
    let until = view.ended.unwrap_or_else(Timestamp::now);
    result.elapsed_ms = u64::try_from(until.as_millis() - view.created.as_millis()).unwrap_or(0);
    match &view.phase {
        Phase::Pending => result.approval = Some(approval(view)),
        Phase::Approved | Phase::Consuming => result.progress = Some(Progress { done: 0, total: None, unit: "steps" }),
        Phase::Done(outcome) => {
            result.replayed = Some(true);
            done(core, view, outcome, &mut result).await?;
        }
        ended => result.error = Some(ended_error(ended).map(|e| ErrorObject::from(&e)).unwrap_or_else(unknown_outcome)),
    }
    Ok(result)
}

async fn done(core: &Arc<Core>, view: &RequestView, outcome: &Outcome, result: &mut ResultObject) -> Result<()> {
    result.warnings = outcome.warnings.iter().map(|w| scrub(w).into_owned()).collect();
    result.untrusted = true;
    let error = |code: ErrorCode, message: &str| ErrorObject::from(&Error::new(code, message));
    match &outcome.end {
        End::Done => {}
        End::Drift { step, message } => {
            let text = format!("step {}: {message}", step + 1);
            let e = Error::new(ErrorCode::EntityDrift, text)
                .hint("look again, then ask again: the plan was for another state");
            result.error = Some(ErrorObject::from(&e));
        }
        End::Failed { code, message } => {
            result.error = Some(error(ErrorCode::parse(code).unwrap_or(ErrorCode::Internal), message));
        }
        End::GoesOn { .. } => {}
        End::Unknown { message } => result.error = Some(error(ErrorCode::OutcomeUnknown, message)),
    }
    if let (Some(slice), End::Done) = (&view.disclosure, &outcome.end) {
        let (store, slice) = (core.evidence.clone(), slice.clone());
        let read = super::blocking(move || store.read(&slice)).await??;
        result.data = serde_json::value::to_raw_value(&read).ok();
        return Ok(());
    }
    result.verified = Some(outcome.verified);
    let content = super::captured::content(core, view, outcome).await.unwrap_or_else(|e| {
        result.warnings.push(format!("its output is not shown: {}", scrub(&e.message)));
        None
    });
    let data = match content {
        Some(content) => serde_json::json!({ "rows": outcome.rows, "content": content }),
        None => serde_json::json!({ "rows": outcome.rows }),
    };
    result.data = serde_json::value::to_raw_value(&data).ok().map(|r| crate::shape::scrub_json(&r));
    result.page = Some(Page::whole(outcome.rows.len()));
    Ok(())
}

fn approval(view: &RequestView) -> Approval {
    Approval {
        request_id: view.id.clone(),
        r#match: view.match_code.clone(),
        expires_at: view.expires,
        how: format!(
            "An enrolled person runs in a terminal: live-response approvals approve {}. Their code goes there and \
             nowhere else: never ask for it, it works nowhere in the chat.",
            view.id
        ),
    }
}

fn ended_error(phase: &Phase) -> Option<Error> {
    Some(match phase {
        Phase::Denied => Error::new(ErrorCode::Denied, "a person said no").hint("do not ask again for the same thing"),
        Phase::Expired => Error::new(ErrorCode::Expired, "nobody decided in time; nothing has changed")
            .hint("ask again when a person is there"),
        Phase::Cancelled => Error::new(ErrorCode::Cancelled, "the request was taken back; nothing has changed"),
        Phase::Revoked => Error::new(ErrorCode::Revoked, "the request was revoked; nothing has changed"),
        Phase::Invalidated(code) => {
            Error::new(*code, "what the request rested on has changed; nothing was done").hint("ask again")
        }
        _ => return None,
    })
}

fn unknown_outcome() -> ErrorObject {
    ErrorObject::from(
        &Error::new(ErrorCode::OutcomeUnknown, "the program ended while it ran the plan: it may have happened")
            .hint("look at the device (remediate list, dir, processes); it is never run again by itself"),
    )
}
