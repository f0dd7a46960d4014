//! The way of a call: parse, session, role, command, shape. The only place that knows the registry, the commands, the
//! guard, the sessions and the shape of answers.
//!
//! Invariants: every call gets exactly one result; a call answers within `answer_within` or goes on as a job; work in
//! the foreground stops when whoever asked is gone; a panic is an answer, not an end.

use crate::audit::{Log, Record};
use crate::commands;
use crate::config::Config;
use crate::device::Devices;
use crate::error::{Error, ErrorCode, Result, State};
use crate::evidence::Store;
use crate::guard::{Asked, Guard};
use crate::model::{CommandId, DeviceId, Job, RequestId, SessionId};
use crate::nearest::nearest;
use crate::principal::{Principal, Transport};
use crate::registry::{Body, Call, Context, Core, Reply, Tool, blocking, canonical, request_result, split};
use crate::session::{ConnectionId, JobEntry, Session, TranscriptLine};
use crate::shape::{self, Page, PageRows, ResultObject, Rows, Selection, Snapshot, Snapshots};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Structured rows end before this much, for front ends that feed a model.
pub const MODEL_BYTES: usize = 64 << 10;
/// So few rows are shaped faster than handed to another thread.
const FEW_ROWS: usize = 64;
/// Work that cannot look at its job's flag is given up this long after it was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(2);

pub struct Dispatcher {
    core: Arc<Core>,
    log: Arc<Log>,
    connections: AtomicU64,
    fixed: Arc<FixedAnswers>,
}

/// Answers that stay the same for the life of the process, by tool.
type FixedAnswers = Mutex<HashMap<&'static str, ResultObject>>;

/// One client: a stdio process, a console. Dropping it closes its sessions.
pub struct Connection {
    dispatcher: Arc<Dispatcher>,
    id: ConnectionId,
    principal: Principal,
    transport: Transport,
    /// What the client says of itself; untrusted.
    claimed: std::sync::Mutex<Option<String>>,
}

/// How much of a listing the caller takes at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// One page, ended before [`MODEL_BYTES`].
    Model,
    /// One page of any size.
    Page,
    /// All rows, handed over as they are.
    All,
    /// All rows, of which only the table's columns will be seen unless the call names fields.
    Table,
}

/// What a call came to. `rows` is there for [`Extent::All`] and [`Extent::Table`] only.
pub struct Answered {
    pub result: Arc<ResultObject>,
    pub rows: Option<AllRows>,
}

/// A whole listing, selected, for a printer.
pub struct AllRows {
    pub rows: Box<dyn Rows>,
    pub selection: Selection,
    pub columns: &'static [&'static str],
}

impl Dispatcher {
    /// Opens nothing: the first call that needs a store opens it.
    pub fn new(config: &Config) -> Arc<Self> {
        let log = Log::new(config.home.join("audit"));
        let sessions =
            crate::session::SessionManager::new(Devices::new(config), config.limits, config.home.join("snapshots"));
        Arc::new(Dispatcher {
            core: Arc::new(Core {
                guard: Arc::new(Guard::new(config, log.clone())),
                sessions,
                evidence: Arc::new(Store::new(&config.home, log.clone())),
            }),
            log,
            connections: AtomicU64::new(1),
            fixed: Arc::default(),
        })
    }

    pub fn connect(self: &Arc<Self>, transport: Transport) -> Arc<Connection> {
        Arc::new(Connection {
            dispatcher: self.clone(),
            id: ConnectionId(self.connections.fetch_add(1, Relaxed)),
            principal: Principal::own(),
            transport,
            claimed: std::sync::Mutex::new(None),
        })
    }

    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Waits until no command runs, at most `patience`; what still runs then is stopped.
    pub async fn drain(&self, patience: Duration) {
        let ended = async {
            for entry in self.core.sessions.jobs.running() {
                entry.ended().await;
            }
        };
        if tokio::time::timeout(patience, ended).await.is_err() {
            self.core.sessions.jobs.running().iter().for_each(|e| e.job.cancel());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.dispatcher.core.sessions.close_connection(self.id);
    }
}

impl Connection {
    pub fn claim(&self, client: String) {
        if let Ok(mut claimed) = self.claimed.lock() {
            *claimed = Some(client.chars().take(200).collect());
        }
    }

    pub fn dispatcher(&self) -> &Arc<Dispatcher> {
        &self.dispatcher
    }

    /// One call of a tool by its exact name. `Err` is an unknown tool: a protocol error where the protocol has one.
    /// Dropping the future stops work in the foreground.
    pub async fn call(&self, name: &str, args: &str, extent: Extent) -> Result<Answered> {
        self.call_as(CommandId::mint(), name, args, extent).await
    }

    /// [`Connection::call`] with an id that the caller minted, to follow progress by.
    pub async fn call_as(&self, id: CommandId, name: &str, args: &str, extent: Extent) -> Result<Answered> {
        let Some(tool) = commands::find(name) else {
            return Err(self.unknown_tool(name, &id).await);
        };
        let started = Instant::now();
        let answered = match self.prepare(id.clone(), tool, args, extent) {
            Ok((call, session)) => self.run(tool, call, session, extent).await,
            Err(e) => {
                if tool.spec().is_recorded() {
                    self.turned_away(tool.spec().name, &id, &e).record(&self.dispatcher.core).await;
                }
                Answered::plain(ResultObject::from_error(id, &e))
            }
        };
        if answered.result.elapsed_ms == 0 && answered.result.error.is_some() {
            let mut result = (*answered.result).clone();
            result.elapsed_ms = millis(started);
            return Ok(Answered { result: Arc::new(result), rows: None });
        }
        Ok(answered)
    }

    /// Waits for a call of the command `id`. Where `stop` comes first the command is cancelled, and its own answer says
    /// so; what is no job is given up with `E_CANCELLED`.
    pub async fn unless<T>(
        &self,
        stop: impl Future<Output = ()>,
        id: &CommandId,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut call = std::pin::pin!(call);
        tokio::select! {
            done = &mut call => return done,
            () = stop => {}
        }
        let Some(entry) = self.dispatcher.core.sessions.jobs.find(id, &self.principal) else {
            return Err(Error::new(ErrorCode::Cancelled, "interrupted"));
        };
        entry.job.cancel();
        call.await
    }

    /// A call that claims to go on with a request: it only reads where that stands, after its arguments were compared.
    pub async fn retry(&self, id: CommandId, name: &str, args: &str, request: RequestId) -> Result<Answered> {
        let Some(tool) = commands::find(name) else {
            return Err(self.unknown_tool(name, &id).await);
        };
        let result = match self.read_retried(tool, args, request).await {
            Ok(result) => result,
            Err(e) => {
                self.refused(tool.spec().name, &id, &e).await;
                ResultObject::from_error(id, &e)
            }
        };
        Ok(Answered::plain(result))
    }

    async fn read_retried(&self, tool: &dyn Tool, args: &str, request: RequestId) -> Result<ResultObject> {
        let (_, own) = split(tool, args)?;
        let (by, command, args) = (self.principal.clone(), tool.spec().name, canonical(&own));
        let core = &self.dispatcher.core;
        let view = core.guard(move |g| g.retried(&request, &by, command, &args)).await??;
        request_result(core, &view).await
    }

    /// Progress of a running call, for front ends that report it.
    pub fn progress(&self, id: &CommandId) -> Option<(u64, Option<u64>, &'static str)> {
        let entry = self.dispatcher.core.sessions.jobs.find(id, &self.principal)?;
        entry.result().is_none().then(|| entry.job.progress())
    }

    /// Puts on record what a front end turned away before it became a call.
    pub async fn refused(&self, command: &str, id: &CommandId, e: &Error) {
        self.turned_away(command, id, e).record(&self.dispatcher.core).await;
    }

    fn turned_away(&self, command: &str, id: &CommandId, e: &Error) -> TurnedAway {
        TurnedAway {
            command: command.into(),
            command_id: id.clone(),
            by: self.principal.clone(),
            transport: self.transport,
            session: None,
            code: e.code,
            message: e.message.clone(),
            detail: e.detail.clone(),
        }
    }

    async fn unknown_tool(&self, name: &str, id: &CommandId) -> Error {
        let shown = shape::clean(&name.chars().take(60).collect::<String>()).into_owned();
        let e = Error::new(ErrorCode::UnknownCommand, format!("there is no tool {shown:?}"));
        let e = match nearest(name, commands::ALL.iter().map(|t| t.spec().name)) {
            Some(near) => e.hint(format!("did you mean {near:?}? Names are exact")),
            None => e.hint("help lists the commands"),
        };
        self.turned_away(name, id, &e).record(&self.dispatcher.core).await;
        e
    }

    fn prepare(
        &self,
        id: CommandId,
        tool: &dyn Tool,
        args: &str,
        extent: Extent,
    ) -> Result<(Call, Option<Arc<Session>>)> {
        let spec = tool.spec();
        let (common, own) = split(tool, args)?;
        tool.check(&own)?;
        let core = &self.dispatcher.core;
        let session = match spec.session {
            true => Some(core.sessions.find(common.session.as_ref(), &self.principal, self.id)?),
            false => None,
        };
        if let Some(session) = &session {
            let role = core.guard.role(&self.principal, session.device.id())?;
            if role < spec.role {
                return Err(Error::new(
                    ErrorCode::Scope,
                    format!("{} needs the advanced role on {}", spec.name, session.device.id()),
                ));
            }
        }
        let claimed = self.claimed.lock().ok().and_then(|c| c.clone());
        let call = Call {
            command_id: id,
            principal: self.principal.clone(),
            transport: self.transport,
            connection: self.id,
            claimed,
            spec,
            common,
            table: extent == Extent::Table,
            args: own,
        };
        Ok((call, session))
    }

    async fn run(
        &self,
        tool: &'static dyn Tool,
        call: Call,
        session: Option<Arc<Session>>,
        extent: Extent,
    ) -> Answered {
        let core = &self.dispatcher.core;
        let spec = call.spec;
        let background = call.common.background;
        let entry = Arc::new(JobEntry::new(
            call.command_id.clone(),
            spec.name,
            session.as_ref().map(|s| (s.id.clone(), s.device.describe())),
            self.principal.clone(),
        ));
        let work = Work {
            core: core.clone(),
            log: self.dispatcher.log.clone(),
            tool,
            call,
            session,
            entry: entry.clone(),
            extent,
            fixed: self.dispatcher.fixed.clone(),
        };
        if !spec.is_recorded() {
            // It looks at this program's own state only, and `fg` has its own patience: no job, no time limit.
            return tokio::spawn(work.at_once()).await.unwrap_or_else(|broken| broken_off(&entry, broken));
        }
        core.sessions.jobs.add(entry.clone());
        let limits = core.sessions.limits();
        let limit = Duration::from_secs(if spec.long { limits.long_command_s } else { limits.command_s });
        let task = tokio::spawn(work.within(limit));
        if background {
            return Answered::plain(crate::registry::running(&entry));
        }
        // A whole listing is handed over by its own call only, and whoever asks for it has a way to stop it.
        let patience = match extent {
            Extent::All | Extent::Table => limit + STOP_GRACE * 2,
            Extent::Model | Extent::Page => Duration::from_secs(limits.answer_within_s),
        };
        let mut foreground = Foreground { entry: &entry, gone: true };
        let answered = tokio::time::timeout(patience, task).await;
        foreground.gone = false;
        match answered {
            Ok(Ok(answered)) => answered,
            Ok(Err(broken)) => broken_off(&entry, broken),
            Err(_) => Answered::plain(crate::registry::running(&entry)),
        }
    }
}

/// What was turned away, on its way to the audit log.
struct TurnedAway {
    command: String,
    command_id: CommandId,
    by: Principal,
    transport: Transport,
    session: Option<(SessionId, DeviceId)>,
    code: ErrorCode,
    message: String,
    detail: Option<Box<RawValue>>,
}

impl TurnedAway {
    async fn record(self, core: &Arc<Core>) {
        let recorded = core.guard(move |g| {
            let mut error = Error::new(self.code, self.message);
            error.detail = self.detail;
            let unknown_keys = unknown_keys(error.detail.as_deref());
            let asked = Asked {
                by: &self.by,
                transport: self.transport,
                command: &self.command,
                command_id: Some(&self.command_id),
                device: self.session.as_ref().map(|(_, device)| device),
                session: self.session.as_ref().map(|(session, _)| session),
                unknown_keys: &unknown_keys,
            };
            g.refused(asked, &error);
        });
        if let Err(e) = recorded.await {
            tracing::warn!(code = %e.code, "a refusal was not recorded");
        }
    }
}

/// The names of arguments that a tool does not have, from the error's detail.
fn unknown_keys(detail: Option<&RawValue>) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Detail {
        unknown_keys: Vec<String>,
    }
    detail.and_then(|d| serde_json::from_str::<Detail>(d.get()).ok()).map(|d| d.unknown_keys).unwrap_or_default()
}

/// A panic, caught: recorded in the log of this process, answered, and the server goes on.
fn broken_off(entry: &JobEntry, broken: tokio::task::JoinError) -> Answered {
    tracing::error!(tool = entry.tool, %broken, "a command broke off");
    let e = Error::new(ErrorCode::Internal, "the command broke off; the server goes on").source(broken);
    Answered::plain(ResultObject::from_error(entry.command_id.clone(), &e))
}

/// Stops foreground work when the future that waits for it is dropped.
struct Foreground<'a> {
    entry: &'a JobEntry,
    gone: bool,
}

impl Drop for Foreground<'_> {
    fn drop(&mut self) {
        if self.gone {
            self.entry.job.cancel();
        }
    }
}

/// One call on its way through command and shape, as a task of its own.
struct Work {
    core: Arc<Core>,
    log: Arc<Log>,
    tool: &'static dyn Tool,
    call: Call,
    session: Option<Arc<Session>>,
    entry: Arc<JobEntry>,
    extent: Extent,
    fixed: Arc<FixedAnswers>,
}

impl Work {
    async fn at_once(self) -> Answered {
        if let Some(kept) = self.kept() {
            return Answered::plain(kept);
        }
        let started = Instant::now();
        let outcome = self.answer().await;
        let answered = self.finish(outcome, started).await;
        self.keep(&answered.result);
        answered
    }

    fn is_fixed(&self) -> bool {
        self.call.spec.fixed && self.call.args == "{}" && self.extent == Extent::Model
    }

    fn kept(&self) -> Option<ResultObject> {
        let kept = self.fixed.lock().ok().filter(|_| self.is_fixed())?;
        let result = kept.get(self.call.spec.name)?;
        Some(ResultObject { command_id: self.call.command_id.clone(), ..result.clone() })
    }

    fn keep(&self, result: &ResultObject) {
        if self.is_fixed()
            && result.state == State::Completed
            && let Ok(mut kept) = self.fixed.lock()
        {
            let text = Some(Arc::from(result.to_text()));
            kept.insert(self.call.spec.name, ResultObject { text, ..result.clone() });
        }
    }

    async fn within(self, limit: Duration) -> Answered {
        let started = Instant::now();
        let work = Arc::new(self);
        let hold = work.session.as_ref().map(Session::in_use);
        let inner = tokio::spawn({
            let work = work.clone();
            async move { work.answer().await }
        });
        let abort = inner.abort_handle();
        let job = &work.entry.job;
        let stopped = async {
            tokio::select! {
                () = job.stopped() => {}
                () = tokio::time::sleep(limit) => job.time_out(),
            }
            tokio::time::sleep(STOP_GRACE).await;
        };
        let outcome = tokio::select! {
            outcome = inner => outcome.unwrap_or_else(|broken| Ok(broken_off(&work.entry, broken))),
            () = stopped => {
                abort.abort();
                Err(job.check().err().unwrap_or_else(|| Error::new(ErrorCode::Cancelled, "the command was cancelled")))
            }
        };
        let answered = work.finish(outcome, started).await;
        drop(hold);
        work.entry.finish(answered.result.clone());
        answered
    }

    async fn answer(&self) -> Result<Answered> {
        let call = &self.call;
        if let Some(cursor) = &call.common.cursor {
            return self.next_page(cursor).await;
        }
        let job = &self.entry.job;
        let cx = Context::new(&self.core, call, self.session.as_ref(), job, commands::ALL);
        match self.tool.call(&call.args, &cx).await? {
            Reply::Pending(view) => {
                let mut result = request_result(&self.core, &view).await?;
                if view.coalesced {
                    result.warnings.push(format!("this very request was pending already, as {}", view.command_id));
                }
                Ok(Answered::plain(result))
            }
            Reply::Done(Body::Object(data)) => {
                let mut result = self.completed();
                result.session = cx.opened().map(|s| s.id.clone());
                result.device = cx.opened().map(|s| s.device.describe());
                result.data = Some(if result.untrusted { shape::scrub_json(&data) } else { data });
                Ok(Answered::plain(result))
            }
            Reply::Done(Body::Rows { rows, extra }) => self.listing(rows, extra).await,
        }
    }

    fn completed(&self) -> ResultObject {
        ResultObject {
            columns: self.call.spec.columns,
            untrusted: self.call.spec.is_recorded(),
            ..ResultObject::new(self.call.command_id.clone(), State::Completed)
        }
    }

    fn snapshots(&self) -> &Snapshots {
        self.session.as_ref().map_or(&self.core.sessions.snapshots, |s| &s.snapshots)
    }

    async fn listing(&self, rows: Box<dyn Rows>, extra: Box<RawValue>) -> Result<Answered> {
        let wanted = self.call.common.wanted.clone();
        let job = self.entry.job.clone();
        let few = rows.len() <= FEW_ROWS;
        let (rows, selection) = unless(few, move || shape::select(&*rows, &wanted, &job).map(|s| (rows, s))).await??;
        let mut result = self.completed();
        let total = selection.order.len();
        if matches!(self.extent, Extent::All | Extent::Table) {
            result.page = Some(Page::whole(total));
            result.data = Some(extra);
            let rows = AllRows { rows, selection, columns: self.call.spec.table() };
            return Ok(Answered { result: Arc::new(result), rows: Some(rows) });
        }
        let (size, cap) = self.page_limits();
        let (spill, job) = (self.core.sessions.spill().to_owned(), self.entry.job.clone());
        let (snapshot, page) = unless(few, move || first_page(&*rows, &selection, size, cap, &spill, &job)).await??;
        let listing = page.next.map(|_| self.snapshots().keep(self.call.spec.name, Arc::new(snapshot)));
        fill(&mut result, page, Place { start: 0, total, listing }, &extra)?;
        Ok(Answered::plain(result))
    }

    async fn next_page(&self, cursor: &str) -> Result<Answered> {
        if self.tool.row_fields().is_none() || self.call.common.wanted != shape::Wanted::default() {
            return Err(Error::new(
                ErrorCode::BadArgs,
                "a cursor stands alone: its listing is filtered and sorted already",
            )
            .hint("send cursor, and limit if need be"));
        }
        let (listing, snapshot, start) = self.snapshots().open(self.call.spec.name, cursor)?;
        let (size, cap) = self.page_limits();
        let total = snapshot.len();
        let page = blocking(move || snapshot.page(start, size, cap)).await??;
        let mut result = self.completed();
        fill(&mut result, page, Place { start, total, listing: Some(listing) }, RawValue::NULL)?;
        Ok(Answered::plain(result))
    }

    fn page_limits(&self) -> (usize, Option<usize>) {
        (self.call.common.page_size(), (self.extent == Extent::Model).then_some(MODEL_BYTES))
    }

    /// Puts the last touches to a result and the call on record.
    async fn finish(&self, outcome: Result<Answered>, started: Instant) -> Answered {
        let spec = self.call.spec;
        let (mut result, rows) = match outcome {
            Ok(answered) => (Arc::unwrap_or_clone(answered.result), answered.rows),
            Err(e) => {
                if let Some(source) = std::error::Error::source(&e) {
                    tracing::debug!(code = %e.code, %source, "refused or failed");
                }
                (ResultObject::from_error(self.call.command_id.clone(), &e), None)
            }
        };
        if let Some(session) = &self.session {
            result.session = Some(session.id.clone());
            result.device = Some(session.device.describe());
        }
        result.elapsed_ms = millis(started);
        let warnings = self.entry.job.take_warnings();
        result.warnings.extend(warnings.iter().map(|w| shape::scrub(w).into_owned()));
        if spec.is_recorded()
            && let Some(gap) = self.record(&result).await
        {
            result.warnings.push(gap);
        }
        if let Some(session) = &self.session {
            session.note(TranscriptLine {
                command_id: self.call.command_id.clone(),
                tool: spec.name,
                started: self.entry.started,
                elapsed_ms: result.elapsed_ms,
                state: result.state.as_str(),
            });
        }
        Answered { result: Arc::new(result), rows }
    }

    /// One line in the audit log for a call that looked at something; a warning where it could not be written.
    async fn record(&self, result: &ResultObject) -> Option<String> {
        if let Some(e) = result.error.as_ref().filter(|_| result.state == State::Refused) {
            let turned_away = TurnedAway {
                command: self.call.spec.name.into(),
                command_id: self.call.command_id.clone(),
                by: self.call.principal.clone(),
                transport: self.call.transport,
                session: self.session.as_ref().map(|s| (s.id.clone(), s.device.id().clone())),
                code: ErrorCode::parse(&e.code)?,
                message: e.message.clone(),
                detail: e.detail.clone(),
            };
            turned_away.record(&self.core).await;
            return None;
        }
        let records = returned(&self.call, result);
        let log = self.log.clone();
        match blocking(move || records.into_iter().try_for_each(|r| log.note(r))).await {
            Ok(Ok(())) => None,
            Ok(Err(e)) | Err(e) => Some(format!("this call is not in the audit log: {}", e.message)),
        }
    }
}

/// What the log says of an answer: that it went out, and what was cut from it.
fn returned(call: &Call, result: &ResultObject) -> Vec<Record> {
    let detail = serde_json::json!({
        "command_id": call.command_id,
        "command": call.spec.name,
        "session": result.session,
        "device": result.device.as_ref().map(|d| &d.id),
        "args_sha256": crate::model::Sha256::of(call.args.as_bytes()),
        "state": result.state,
        "error": result.error.as_ref().map(|e| &e.code),
        "rows": result.page.as_ref().map(|p| p.total),
        "untrusted": result.untrusted,
        "elapsed_ms": result.elapsed_ms,
    });
    let mut records = vec![Record::new("output.returned").by(&call.principal).detail(&detail)];
    if let Some(page) = result.page.as_ref().filter(|p| p.truncated) {
        let detail =
            serde_json::json!({ "command_id": call.command_id, "returned": page.returned, "total": page.total });
        records.push(Record::new("output.truncated").by(&call.principal).detail(&detail));
    }
    records
}

/// Blocking work, here and now where it is `short`.
async fn unless<T: Send + 'static>(short: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if short { Ok(work()) } else { blocking(work).await }
}

/// Where a page stands in its listing.
struct Place {
    start: usize,
    total: usize,
    listing: Option<String>,
}

/// Renders the selected rows once, as the snapshot that cursors read, and gives its first page.
fn first_page(
    rows: &dyn Rows,
    selection: &Selection,
    size: usize,
    cap: Option<usize>,
    spill: &std::path::Path,
    job: &Job,
) -> Result<(Snapshot, PageRows)> {
    let mut builder = Snapshot::builder(spill);
    let mut line = Vec::with_capacity(512);
    for (i, row) in selection.order.iter().enumerate() {
        if i % 1024 == 0 {
            job.check()?;
        }
        line.clear();
        shape::write_row(rows, usize::try_from(*row).unwrap_or(usize::MAX), &selection.columns, &mut line);
        builder.push(&line)?;
    }
    let snapshot = builder.finish()?;
    let page = snapshot.page(0, size, cap)?;
    Ok((snapshot, page))
}

/// `data` of a page: the rows after the fields that stand beside them.
fn fill(result: &mut ResultObject, page: PageRows, place: Place, extra: &RawValue) -> Result<()> {
    let beside = extra.get().strip_prefix('{').and_then(|e| e.strip_suffix('}')).unwrap_or_default();
    let mut data =
        String::with_capacity(page.rows.iter().map(|r| r.get().len() + 1).sum::<usize>() + beside.len() + 16);
    data.push('{');
    if !beside.is_empty() {
        data.push_str(beside);
        data.push(',');
    }
    data.push_str("\"rows\":[");
    for (i, row) in page.rows.iter().enumerate() {
        if i > 0 {
            data.push(',');
        }
        data.push_str(row.get());
    }
    data.push_str("]}");
    let data =
        RawValue::from_string(data).map_err(|e| Error::new(ErrorCode::Internal, "a row has no JSON form").source(e))?;
    result.page = Some(Page {
        returned: page.rows.len(),
        total: place.total,
        next_cursor: place.listing.as_deref().zip(page.next).map(|(id, next)| Snapshots::cursor(id, next)),
        truncated: page.truncated,
        start: place.start,
        listing: place.listing,
    });
    result.data = Some(data);
    Ok(())
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl Answered {
    fn plain(result: ResultObject) -> Self {
        Answered { result: Arc::new(result), rows: None }
    }
}
