//! The session manager: sessions on devices, limits, jobs, transcript, and the dispatch of what was approved.
//!
//! Invariants: a session is its principal's own and unknown to all others; [`SessionManager::dispatch`] takes
//! `Approved` by value and is the only gated entry. Never names a command.

mod jobs;
mod kept;

pub use crate::device::Examined;
pub use jobs::{JobEntry, JobTable};
pub use kept::{Asked, Found, Kept, Reads, WAITS_S};

use crate::config::Limits;
use crate::device::{Device, Devices, Synced};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Approved;
use crate::model::{
    CommandId, DeviceId, DevicePath, DeviceRef, DeviceRow, End, Job, Outcome, SessionId, Supply, Timestamp, Verified,
};
use crate::principal::Principal;
use crate::shape::Snapshots;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The newest ones are kept; the audit log has all.
const TRANSCRIPT_LINES: usize = 200;

/// One stdio process, console or socket connection: what "the newest session" is relative to. 0 is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId(pub u64);

/// A session on a device.
pub struct Session {
    pub id: SessionId,
    pub device: Arc<dyn Device>,
    pub principal: Principal,
    pub connection: ConnectionId,
    /// The case number; in every custody record.
    pub comment: Option<String>,
    pub opened: Timestamp,
    pub snapshots: Snapshots,
    directory: Mutex<DevicePath>,
    last_used: AtomicI64,
    busy: AtomicUsize,
    transcript: Mutex<VecDeque<TranscriptLine>>,
}

/// One command of a session's log.
#[derive(Clone, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct TranscriptLine {
    pub command_id: CommandId,
    pub tool: &'static str,
    pub started: Timestamp,
    pub elapsed_ms: u64,
    pub state: &'static str,
}

impl Session {
    /// A session that nobody can find: [`SessionManager::open`] makes it one of its caller's; without that it ends with
    /// the call that it was made for. It begins in the device's root where no directory is given.
    pub fn new(
        id: SessionId,
        device: Arc<dyn Device>,
        by: &Principal,
        connection: ConnectionId,
        comment: Option<String>,
        directory: Option<DevicePath>,
    ) -> Arc<Session> {
        let now = Timestamp::now();
        let directory = directory.unwrap_or_else(|| device.root());
        Arc::new(Session {
            id,
            device,
            principal: by.clone(),
            connection,
            comment,
            opened: now,
            snapshots: Snapshots::default(),
            directory: Mutex::new(directory),
            last_used: AtomicI64::new(now.as_secs()),
            busy: AtomicUsize::new(0),
            transcript: Mutex::default(),
        })
    }

    pub fn directory(&self) -> DevicePath {
        lock(&self.directory).clone()
    }

    pub fn enter(&self, directory: DevicePath) {
        *lock(&self.directory) = directory;
    }

    /// Keeps the session open while a command runs in it.
    pub fn in_use(self: &Arc<Self>) -> InUse {
        self.busy.fetch_add(1, Relaxed);
        InUse(self.clone())
    }

    pub fn note(&self, line: TranscriptLine) {
        let mut lines = lock(&self.transcript);
        if lines.len() == TRANSCRIPT_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub fn transcript(&self) -> Vec<TranscriptLine> {
        lock(&self.transcript).iter().cloned().collect()
    }

    fn is_idle(&self, now: i64, idle_s: u64) -> bool {
        let idle = i64::try_from(idle_s).unwrap_or(i64::MAX);
        self.busy.load(Relaxed) == 0 && now.saturating_sub(self.last_used.load(Relaxed)) > idle
    }
}

/// A running command's hold on its session.
pub struct InUse(Arc<Session>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.last_used.store(Timestamp::now().as_secs(), Relaxed);
        self.0.busy.fetch_sub(1, Relaxed);
    }
}

pub struct SessionManager {
    devices: Arc<Devices>,
    pub jobs: JobTable,
    /// What outlives this process.
    pub reads: Reads,
    /// Of listings that belong to no session, by connection.
    pub snapshots: Snapshots,
    limits: Limits,
    spill: std::path::PathBuf,
    sessions: Mutex<HashMap<SessionId, Arc<Session>>>,
    /// Opening order, for "the newest".
    order: Mutex<Vec<SessionId>>,
}

fn broken_off(e: tokio::task::JoinError) -> Error {
    Error::new(ErrorCode::Internal, "the look at the device broke off").source(e)
}

/// A poisoned lock holds plain data that is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SessionManager {
    pub fn new(devices: Devices, limits: Limits, home: &std::path::Path) -> Self {
        SessionManager {
            devices: Arc::new(devices),
            jobs: JobTable::default(),
            reads: Reads::new(home.join("reads")),
            snapshots: Snapshots::default(),
            limits,
            spill: home.join("snapshots"),
            sessions: Mutex::default(),
            order: Mutex::default(),
        }
    }

    /// Where big listings are kept for their cursors.
    pub fn spill(&self) -> &std::path::Path {
        &self.spill
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Refuses before the device is bothered; [`SessionManager::open`] holds the limit.
    pub fn check_room(&self, by: &Principal) -> Result<()> {
        self.close_idle();
        self.has_room(&lock(&self.sessions), by)
    }

    fn has_room(&self, sessions: &HashMap<SessionId, Arc<Session>>, by: &Principal) -> Result<()> {
        let own = sessions.values().filter(|s| s.principal == *by).count();
        let (count, limit, whose) = if sessions.len() >= self.limits.sessions {
            (sessions.len(), self.limits.sessions, "in all")
        } else if own >= self.limits.sessions_per_user {
            (own, self.limits.sessions_per_user, "of yours")
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorCode::TooManySessions, format!("{count} sessions are open {whose}, the limit is {limit}"))
            .hint(format!("disconnect one; an idle session closes by itself after {} s", self.limits.idle_s)))
    }

    pub fn open(
        &self,
        device: Arc<dyn Device>,
        by: &Principal,
        connection: ConnectionId,
        comment: Option<String>,
        directory: DevicePath,
    ) -> Result<Arc<Session>> {
        let session = Session::new(SessionId::mint(), device, by, connection, comment, Some(directory));
        let mut sessions = lock(&self.sessions);
        self.has_room(&sessions, by)?;
        sessions.insert(session.id.clone(), session.clone());
        lock(&self.order).push(session.id.clone());
        Ok(session)
    }

    /// The session of a read that another process began. It is found by its id only: it is nobody's newest.
    pub fn revive(&self, asked: &Asked, device: Arc<dyn Device>) -> Arc<Session> {
        let mut sessions = lock(&self.sessions);
        if let Some(session) = sessions.get(&asked.session).filter(|s| s.principal == asked.by) {
            return session.clone();
        }
        let (comment, directory) = (asked.comment.clone(), asked.directory.clone());
        let session = Session::new(asked.session.clone(), device, &asked.by, ConnectionId(0), comment, Some(directory));
        sessions.insert(session.id.clone(), session.clone());
        session
    }

    /// The named session, or the connection's newest; others' sessions do not exist.
    pub fn find(&self, id: Option<&SessionId>, by: &Principal, connection: ConnectionId) -> Result<Arc<Session>> {
        self.close_idle();
        let sessions = lock(&self.sessions);
        let found = match id {
            Some(id) => sessions.get(id).filter(|s| s.principal == *by),
            None => lock(&self.order)
                .iter()
                .rev()
                .filter_map(|id| sessions.get(id))
                .find(|s| s.connection == connection && s.principal == *by),
        };
        if let Some(session) = found {
            session.last_used.store(Timestamp::now().as_secs(), Relaxed);
            return Ok(session.clone());
        }
        let own: Vec<String> = sessions
            .values()
            .filter(|s| s.principal == *by)
            .map(|s| format!("{} on {}", s.id, s.device.id()))
            .collect();
        let what = match id {
            Some(id) => format!("no session {:?} is open", id.as_str().chars().take(40).collect::<String>()),
            None => "no session is open".into(),
        };
        let hint = if own.is_empty() { "connect first".into() } else { format!("open sessions: {}", own.join(", ")) };
        Err(Error::new(ErrorCode::NoSession, what).hint(hint))
    }

    pub fn close(&self, id: &SessionId) {
        lock(&self.sessions).remove(id);
        lock(&self.order).retain(|s| s != id);
    }

    /// What a connection leaves behind when it ends.
    pub fn close_connection(&self, connection: ConnectionId) {
        let mut sessions = lock(&self.sessions);
        sessions.retain(|_, s| s.connection != connection);
        lock(&self.order).retain(|id| sessions.contains_key(id));
    }

    fn close_idle(&self) {
        let now = Timestamp::now().as_secs();
        let mut sessions = lock(&self.sessions);
        let before = sessions.len();
        sessions.retain(|_, s| !s.is_idle(now, self.limits.idle_s));
        if sessions.len() != before {
            lock(&self.order).retain(|id| sessions.contains_key(id));
        }
    }

    /// A device by id or name. `E_NO_DEVICE` names the nearest one.
    pub async fn device(&self, named: &str, job: &Arc<Job>) -> Result<Arc<dyn Device>> {
        self.devices.open(named, job).await
    }

    /// Every device that can be connected to without being told of.
    pub async fn all_devices(&self, job: &Job) -> Result<Vec<Arc<dyn Device>>> {
        let devices = self.devices.clone();
        let mut all = tokio::task::spawn_blocking(move || devices.here()).await.map_err(broken_off)?;
        all.extend(self.devices.of_the_tenant(job).await?);
        Ok(all)
    }

    /// Whether a Defender tenant is configured.
    pub fn has_tenant(&self) -> bool {
        self.devices.tenant().is_some()
    }

    /// What a device's id stands for, whether or not it can be opened now.
    pub fn describe(&self, id: &DeviceId) -> Option<DeviceRef> {
        self.devices.describe(id)
    }

    /// What can be connected to without asking a tenant.
    pub async fn known_rows(&self) -> Result<Vec<DeviceRow>> {
        let devices = self.devices.clone();
        tokio::task::spawn_blocking(move || devices.rows()).await.map_err(broken_off)
    }

    /// What can be connected to. Devices of a tenant that does not answer are missing, and a warning says so.
    pub async fn device_rows(
        &self,
        part: Option<&str>,
        backend: Option<&str>,
        job: &Arc<Job>,
    ) -> Result<Vec<DeviceRow>> {
        let mut rows = self.known_rows().await?;
        rows.extend(self.devices.tenant_rows(part, backend, job).await?);
        Ok(rows)
    }

    /// Whether the tenant can be worked with; `None` where none is configured.
    pub async fn examine_tenant(&self) -> Result<Option<Examined>> {
        match self.devices.tenant() {
            Some(tenant) => tenant.examine().await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes the tenant's library hold the script pack.
    pub async fn sync_library(&self, job: &Job) -> Result<Synced> {
        match self.devices.tenant() {
            Some(tenant) => tenant.sync(job).await,
            None => Err(Error::new(ErrorCode::Unsupported, "there is no tenant whose library could be synchronised")
                .hint("add [defender] with tenant_id, client_id and client_secret_file to the configuration")),
        }
    }

    /// Runs an approved plan on its device, once.
    pub async fn dispatch(&self, approved: Approved, supply: Arc<dyn Supply>, job: &Arc<Job>) -> Outcome {
        match self.device(approved.device().as_str(), job).await {
            Ok(device) => device.apply(approved, supply, job).await,
            Err(e) => Outcome {
                rows: Vec::new(),
                verified: Verified::No,
                end: End::Failed { code: e.code.as_str().into(), message: e.message },
                warnings: Vec::new(),
            },
        }
    }
}
