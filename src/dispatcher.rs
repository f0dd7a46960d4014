//! The way of a call: parse, session, role, command, shape. The only place that knows the registry, the commands, the
//! guard, the sessions and the shape of answers.
//!
//! Invariants: every call gets exactly one result; a call answers within `answer_within` or goes on as a job; work in
//! the foreground stops when whoever asked is gone; a panic is an answer, not an end.

mod page;
mod record;
mod resume;
mod sweep;
mod work;

use crate::audit::Log;
use crate::commands;
use crate::config::Config;
use crate::device::Devices;
use crate::error::{Error, ErrorCode, Result};
use crate::evidence::Store;
use crate::guard::Guard;
use crate::library::Library;
use crate::model::{CommandId, RequestId};
use crate::nearest::nearest;
use crate::principal::{Principal, Transport};
use crate::registry::{Call, Core, Tool, canonical, request_result, split};
use crate::session::{ConnectionId, JobEntry, Session, SessionManager};
use crate::shape::{self, ResultObject, Rows, Selection};
use record::TurnedAway;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use work::{FixedAnswers, NEVER, STOP_GRACE, Work, broken_off};

/// Structured rows end before this much, for front ends that feed a model.
pub const MODEL_BYTES: usize = 64 << 10;

/// What a command gets that is stopped at the program's end: to be given up where it is stuck, and to go on record.
const LAST_WORD: Duration = STOP_GRACE.saturating_add(Duration::from_secs(1));

pub struct Dispatcher {
    core: Arc<Core>,
    log: Arc<Log>,
    connections: AtomicU64,
    fixed: Arc<FixedAnswers>,
}

/// One client: a stdio process, a console. Dropping it closes its sessions.
pub struct Connection {
    dispatcher: Arc<Dispatcher>,
    id: ConnectionId,
    principal: Principal,
    transport: Transport,
    /// What the client says of itself; untrusted.
    claimed: Mutex<Option<String>>,
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
        if config.allow_shared_account && config.defender.is_some() {
            tracing::warn!(
                "allow_shared_account = true: the account that the assistant runs in can ask for changes on the tenant's \
                 devices and holds its credentials"
            );
        }
        let log = Log::new(config.home.join("audit"));
        let sessions = SessionManager::new(Devices::new(config), config.limits, &config.home);
        let dispatcher = Arc::new(Dispatcher {
            core: Arc::new(Core {
                guard: Arc::new(Guard::new(config, log.clone())),
                sessions,
                evidence: Arc::new(Store::new(&config.home, log.clone())),
                library: Arc::new(Library::new(&config.home, &config.library_keys)),
                resume: OnceLock::new(),
            }),
            log,
            connections: AtomicU64::new(1),
            fixed: Arc::default(),
        });
        dispatcher.resumes();
        dispatcher
    }

    pub fn connect(self: &Arc<Self>, transport: Transport) -> Arc<Connection> {
        Arc::new(Connection {
            dispatcher: self.clone(),
            id: ConnectionId(self.connections.fetch_add(1, Relaxed)),
            principal: Principal::own(),
            transport,
            claimed: Mutex::new(None),
        })
    }

    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Waits until no command runs, at most `patience`; what still runs then is stopped, and gets [`LAST_WORD`] to end
    /// and go on record. What is kept for another process goes on without this one.
    pub async fn drain(&self, patience: Duration) {
        // Whoever took one over only looked how far it is.
        let began_here = |e: &JobEntry| !e.resumed || e.job.kept().is_none();
        if tokio::time::timeout(patience, self.idle(began_here)).await.is_err() {
            let running = self.core.sessions.jobs.running();
            running.iter().filter(|e| e.job.kept().is_none()).for_each(|e| e.job.cancel());
            // What does not stop is left behind.
            let _ = tokio::time::timeout(LAST_WORD, self.idle(|e| e.job.kept().is_none())).await;
        }
    }

    async fn idle(&self, is_waited_for: impl Fn(&JobEntry) -> bool) {
        for entry in self.core.sessions.jobs.running().iter().filter(|e| is_waited_for(e)) {
            entry.ended().await;
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
        let answered = match self.prepare(id.clone(), tool, args, extent).await {
            Ok((call, session)) => self.run(tool, call, session, extent, args).await,
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

    async fn prepare(
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
        let find = || core.sessions.find(common.session.as_ref(), &self.principal, self.id);
        let session = match () {
            () if !spec.session || !common.devices.is_empty() => None,
            // A listing of many devices goes on without a session.
            () if common.cursor.is_some() && common.session.is_none() => find().ok(),
            () => Some(find()?),
        };
        if let Some(session) = &session {
            core.check_role(&self.principal, session.device.id(), spec).await?;
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
        args: &str,
    ) -> Answered {
        let core = &self.dispatcher.core;
        let spec = call.spec;
        let background = call.common.background;
        let limits = core.sessions.limits();
        let limit = Duration::from_secs(if spec.long { limits.long_command_s } else { limits.command_s });
        let kept = resume::keep(core, &call, session.as_ref(), args).await;
        let limit = resume::limit(kept.as_deref(), limit);
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
            call: Arc::new(call),
            session,
            entry: entry.clone(),
            limit,
            extent,
            fixed: self.dispatcher.fixed.clone(),
        };
        if !spec.is_recorded() {
            // It looks at this program's own state only, and `fg` has its own patience: no job, no time limit.
            return tokio::spawn(work.at_once()).await.unwrap_or_else(|broken| broken_off(&entry, broken));
        }
        core.sessions.jobs.add(entry.clone());
        resume::held(&entry, kept);
        let limit = if work.is_sweep() { NEVER } else { limit };
        let task = tokio::spawn(work.within());
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

impl Answered {
    fn plain(result: ResultObject) -> Self {
        Answered { result: Arc::new(result), rows: None }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
