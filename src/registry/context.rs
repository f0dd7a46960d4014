//! All that a command can do: ask a device, propose a change, and look after its caller's own sessions and jobs.
//!
//! Invariant: the fields are private. A command reaches no device, no guard and no store but through these methods.

use super::acquaint::unmet;
use super::{Common, Reply, Spec};
use crate::device::{Device, Fut, TENANT as BACKEND, local};
use crate::error::{Error, ErrorCode, Result};
use crate::evidence::{Custody, Held, MAX_LENGTH, PACKAGE_LIMIT, Sealed, Slice, Store};
use crate::guard::{Admission, DISCLOSURE, Guard, Intent, Shelved};
use crate::library::Library;
use crate::model::{
    Arrival, ArrivalQuery, Ask, CollectQuery, CommandId, DeviceId, DevicePath, DeviceRef, DeviceRow, Disclosure,
    EnterQuery, FileFacts, FileQuery, ItemName, Job, LibraryItem, PackageFacts, SessionId, Sha256, Step, Wish,
};
use crate::principal::{Principal, Role, Transport};
use crate::session::{ConnectionId, JobEntry, Kept, Session, SessionManager};
use crate::shape::Wanted;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long a device may take to say why its stream broke off.
const TELLS_WITHIN: Duration = Duration::from_secs(2);

/// What lives as long as the process: the guard, the sessions, the stores.
pub struct Core {
    pub guard: Arc<Guard>,
    pub sessions: SessionManager,
    pub evidence: Arc<Store>,
    pub library: Arc<Library>,
    /// Who goes on with reads that another process began.
    pub resume: OnceLock<Box<dyn Resume>>,
}

/// Goes on with a read that another process began.
pub trait Resume: Send + Sync {
    /// Makes it a job of this process, and returns once it has ended or is known to go on. Nothing is begun twice.
    fn resume(&self, kept: Kept) -> Fut<'_, Result<Arc<JobEntry>>>;
}

impl Core {
    /// What an account may on a device. The built-in policy is in memory; a file is read off the async threads.
    pub async fn role(&self, by: &Principal, device: &DeviceId) -> Result<Role> {
        if !self.guard.has_policy_file() {
            return self.guard.role(by, device);
        }
        let (by, device) = (by.clone(), device.clone());
        self.guard(move |g| g.role(&by, &device)).await?
    }

    /// `E_SCOPE` where the command needs more than the account may on the device.
    pub async fn check_role(&self, by: &Principal, device: &DeviceId, spec: &Spec) -> Result<()> {
        if self.role(by, device).await? >= spec.role {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Scope, format!("{} needs the advanced role on {device}", spec.name))
            .hint("whoever keeps the policy can give it, in [[principal]] roles"))
    }

    /// Runs guard work where it may block on a lock or a disk.
    pub async fn guard<T: Send + 'static>(&self, work: impl FnOnce(&Guard) -> T + Send + 'static) -> Result<T> {
        let guard = self.guard.clone();
        blocking(move || work(&guard)).await
    }
}

/// Blocking work of our own stores, off the async threads.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::new(ErrorCode::Internal, "the work broke off").source(e))
}

/// Who calls, and what of.
#[derive(Clone)]
pub struct Call {
    pub command_id: CommandId,
    pub principal: Principal,
    pub transport: Transport,
    pub connection: ConnectionId,
    pub claimed: Option<String>,
    pub spec: &'static Spec,
    pub common: Common,
    /// Only the console's columns will be seen.
    pub table: bool,
    /// The tool's own arguments as they were sent, for the intent.
    pub args: String,
}

pub struct Context<'a> {
    core: &'a Arc<Core>,
    call: &'a Call,
    session: Option<&'a Arc<Session>>,
    job: &'a Arc<Job>,
    tools: &'static [&'static dyn super::Tool],
    opened: OnceLock<Arc<Session>>,
}

impl<'a> Context<'a> {
    pub fn new(
        core: &'a Arc<Core>,
        call: &'a Call,
        session: Option<&'a Arc<Session>>,
        job: &'a Arc<Job>,
        tools: &'static [&'static dyn super::Tool],
    ) -> Self {
        Context { core, call, session, job, tools, opened: OnceLock::new() }
    }

    /// All commands there are.
    pub fn tools(&self) -> &'static [&'static dyn super::Tool] {
        self.tools
    }

    /// What the caller wants of a listing, for costly columns.
    pub fn wanted(&self) -> &Wanted {
        &self.call.common.wanted
    }

    /// Whether a field of the rows will be seen, so that it must be filled.
    pub fn shows(&self, field: &str) -> bool {
        let wanted = self.wanted();
        let table = self.call.table && !self.call.spec.table().is_empty();
        wanted.mentions(field) || (wanted.fields.is_empty() && (!table || self.call.spec.table().contains(&field)))
    }

    pub fn warn(&self, text: impl Into<String>) {
        self.job.warn(text);
    }

    fn session(&self) -> Result<&'a Arc<Session>> {
        self.session
            .ok_or_else(|| Error::new(ErrorCode::NoSession, "this command runs in a session").hint("connect first"))
    }

    fn device(&self) -> Result<&'a Arc<dyn Device>> {
        Ok(&self.session()?.device)
    }

    /// A path of the arguments as the device knows it, below the session's directory.
    pub fn path(&self, path: &DevicePath) -> Result<DevicePath> {
        let session = self.session()?;
        session.device.place(&session.directory(), path)
    }

    pub fn directory(&self) -> Result<DevicePath> {
        Ok(self.session()?.directory())
    }

    /// Asks the device.
    pub async fn read<Q: Ask>(&self, question: Q) -> Result<Q::Answer> {
        Q::pick(self.device()?.read(question.query(), self.job).await?)
    }

    /// Whether the device has such a change.
    pub fn supports(&self, wish: &Wish) -> Result<bool> {
        Ok(self.device()?.supports(wish).is_ok())
    }

    /// The tenant of the configuration, as far as the caller may ask it.
    async fn tenant(&self) -> Result<Arc<dyn Device>> {
        let id = DeviceId::new(BACKEND);
        if self.core.sessions.describe(&id).is_none() {
            return Err(Error::new(ErrorCode::Unsupported, "no Defender tenant is configured")
                .hint("add [defender] with tenant_id, client_id and client_secret_file to the configuration"));
        }
        self.core.check_role(&self.call.principal, &id, self.call.spec).await?;
        self.core.sessions.device(BACKEND, self.job).await
    }

    /// Asks the tenant.
    pub async fn ask_tenant<Q: Ask>(&self, question: Q) -> Result<Q::Answer> {
        Q::pick(self.tenant().await?.read(question.query(), self.job).await?)
    }

    /// Proposes a change of the tenant itself.
    pub async fn propose_to_tenant<T>(&self, wish: Wish) -> Result<Reply<T>> {
        let tenant = self.tenant().await?;
        self.propose_on(&tenant, wish).await
    }

    /// Proposes a change: resolved on the device, then a person is asked.
    pub async fn propose<T>(&self, wish: Wish) -> Result<Reply<T>> {
        self.propose_on(self.device()?, wish).await
    }

    async fn propose_on<T>(&self, device: &Arc<dyn Device>, wish: Wish) -> Result<Reply<T>> {
        device.supports(&wish)?;
        self.let_go();
        let intent = self.intent(&device.describe());
        if let Some(pending) = self.admit(&intent).await? {
            return Ok(pending);
        }
        let steps = device.resolve(&self.by_policy(wish).await?, self.job).await?;
        self.job.check()?;
        let view = self.core.guard(move |g| g.submit(intent, steps)).await??;
        Ok(Reply::Pending(Box::new(view)))
    }

    /// What asks a person is asked for by who wants it, and never again by itself.
    fn let_go(&self) {
        if let Some(kept) = self.job.kept() {
            self.job.keep(None);
            kept.ended(None);
        }
    }

    /// What the policy has a say in, put into the wish.
    async fn by_policy(&self, mut wish: Wish) -> Result<Wish> {
        match &mut wish {
            Wish::Isolate { rules, .. } => *rules = self.core.guard(|g| g.isolation_rules()).await??,
            Wish::RemediateValues { .. } | Wish::UndoValues { .. } => {
                self.core.guard(|g| g.may_change_hives()).await??;
            }
            _ => {}
        }
        Ok(wish)
    }

    /// Proposes what is done with a file of the library: looked up, hashed and judged before the device resolves it.
    pub async fn propose_item<T>(&self, file: &str, wish: impl Fn(LibraryItem) -> Wish) -> Result<Reply<T>> {
        let shelved = self.shelved(file).await?;
        let device = self.device()?;
        device.supports(&wish(shelved.item.clone()))?;
        self.let_go();
        let intent = self.intent(&device.describe());
        if let Some(pending) = self.admit(&intent).await? {
            return Ok(pending);
        }
        let (library, job) = (self.core.library.clone(), self.job.clone());
        let item = blocking(move || library.inspect(&shelved.item, shelved.signature.as_deref(), &job)).await??;
        let wish = wish(item.clone());
        self.core.guard(move |g| g.may_use(&item)).await??;
        let steps = device.resolve(&wish, self.job).await?;
        self.job.check()?;
        let view = self.core.guard(move |g| g.submit(intent, steps)).await??;
        Ok(Reply::Pending(Box::new(view)))
    }

    /// Proposes to take a file out of the library. It lies on this host, whatever device is connected.
    pub async fn propose_delete<T>(&self, file: &str) -> Result<Reply<T>> {
        let item = self.shelved(file).await?.item;
        let host = self.core.sessions.describe(&DeviceId::new(local::ID));
        let host = host.ok_or_else(|| Error::new(ErrorCode::NoDevice, "this host is no device here"))?;
        let intent = self.intent(&host);
        if let Some(pending) = self.admit(&intent).await? {
            return Ok(pending);
        }
        let steps = vec![Step::DeleteScript { item }];
        let view = self.core.guard(move |g| g.submit(intent, steps)).await??;
        Ok(Reply::Pending(Box::new(view)))
    }

    async fn shelved(&self, file: &str) -> Result<Shelved> {
        let name = ItemName::parse(file)?;
        self.core.guard(move |g| g.shelved(&name)).await?
    }

    /// Every file of the library.
    pub async fn library(&self) -> Result<Vec<Shelved>> {
        self.core.guard(|g| g.library()).await?
    }

    async fn admit<T>(&self, intent: &Intent) -> Result<Option<Reply<T>>> {
        let intent = intent.clone();
        Ok(match self.core.guard(move |g| g.admit(&intent)).await?? {
            Admission::Go => None,
            Admission::Pending(view) => Some(Reply::Pending(Box::new(view))),
        })
    }

    fn intent(&self, device: &DeviceRef) -> Intent {
        let call = self.call;
        Intent {
            by: call.principal.clone(),
            transport: call.transport,
            claimed: call.claimed.clone(),
            command_id: call.command_id.clone(),
            session: self.session.map(|s| s.id.clone()),
            device: device.id.clone(),
            device_name: device.name.clean().into_owned(),
            command: call.spec.name,
            args: super::canonical(&call.args),
            directory: self.session.map(|s| s.directory()),
            reason: call.common.reason.clone(),
        }
    }

    /// Opens a session; it becomes the caller's newest.
    pub async fn connect(&self, device: &str, comment: Option<String>) -> Result<(Arc<Session>, Arrival)> {
        let sessions = &self.core.sessions;
        sessions.check_room(&self.call.principal)?;
        let device = sessions.device(device, self.job).await?;
        if let Some(traits) = device.traits() {
            self.core.guard.know(device.id(), traits);
        }
        let asked = ArrivalQuery::default().query();
        let arrival = ArrivalQuery::pick(device.read(asked, self.job).await?)?;
        let session = sessions.open(
            device,
            &self.call.principal,
            self.call.connection,
            comment,
            arrival.current_directory.clone(),
        )?;
        self.opened.get_or_init(|| session.clone());
        Ok((session, arrival))
    }

    /// The session that this call opened: the answer names it as its own.
    pub fn opened(&self) -> Option<&Arc<Session>> {
        self.opened.get()
    }

    /// Closes a session; what it has pending is cancelled, what runs in it is stopped.
    pub async fn disconnect(&self, id: Option<&SessionId>) -> Result<(Arc<Session>, usize)> {
        let session = self.core.sessions.find(id, &self.call.principal, self.call.connection)?;
        let id = session.id.clone();
        self.core.sessions.close(&id);
        for entry in self.core.sessions.jobs.running() {
            if entry.session.as_ref() == Some(&id) && entry.command_id != self.call.command_id {
                entry.job.cancel();
            }
        }
        let (by, closed) = (self.call.principal.clone(), id.clone());
        let cancelled = self.core.guard(move |g| g.end_session(&closed, &by)).await??;
        Ok((session, cancelled))
    }

    /// Changes the session's directory.
    pub async fn enter(&self, path: &DevicePath) -> Result<DevicePath> {
        let entered = self.read(EnterQuery { path: self.path(path)? }).await?;
        self.session()?.enter(entered.clone());
        Ok(entered)
    }

    /// What can be connected to, with group and tier; of a backend, those with this part of an id or name, where it is
    /// narrowed so far.
    pub async fn devices(&self, part: Option<&str>, backend: Option<&str>) -> Result<Vec<DeviceRow>> {
        let mut rows = self.core.sessions.device_rows(part, backend, self.job).await?;
        // One look at the policy for all: a tenant has thousands of devices.
        self.core
            .guard(move |g| {
                g.place_rows(&mut rows);
                rows
            })
            .await
    }

    /// Seals a file of the device into the evidence store.
    pub async fn seal(&self, path: DevicePath) -> Result<Sealed> {
        let session = self.session()?;
        let fetched = session.device.fetch(FileQuery { path }, self.job).await?;
        self.core.evidence.seal(fetched.facts, fetched.bytes, self.custody(session), self.job).await
    }

    /// Gathers a package of the device and seals it into the evidence store.
    pub async fn collect(&self, query: CollectQuery) -> Result<(Sealed, PackageFacts)> {
        let session = self.session()?;
        let package = session.device.collect(query, self.job).await?;
        let store = &self.core.evidence;
        // The device counts what it reads; what comes of it compressed is no progress.
        let draft = match store.take(package.bytes, PACKAGE_LIMIT, &|_| (), self.job).await {
            Ok(draft) => draft,
            Err(e) => {
                self.job.check()?;
                // What went wrong on the device says more than a stream that broke off; a store that is full, less.
                let of_the_store = matches!(e.code, ErrorCode::StoreUnavailable | ErrorCode::TooLarge);
                return Err(match tokio::time::timeout(TELLS_WITHIN, package.made).await {
                    Ok(Ok(Err(device))) if !of_the_store => device,
                    _ => e,
                });
            }
        };
        let made = package
            .made
            .await
            .unwrap_or_else(|e| Err(Error::new(ErrorCode::Internal, "the work on the package broke off").source(e)))?;
        let facts = FileFacts { secret: made.secret.clone(), ..package.facts };
        Ok((store.keep(draft, facts, self.custody(session), self.job).await?, made))
    }

    /// Seals what a device answered and must not be shown unasked, and asks a person to show it.
    pub async fn disclose(&self, path: DevicePath, secret: &str, content: String) -> Result<Reply<Slice>> {
        let session = self.session()?;
        let facts = FileFacts {
            path: path.clone(),
            size_bytes: content.len() as u64,
            modified: None,
            identity: None,
            secret: Some(secret.to_owned()),
        };
        let custody = self.custody(session);
        let sealed = self.core.evidence.seal(facts, content.as_bytes(), custody, self.job).await?;
        let slice = Disclosure {
            sha256: sealed.sha256.clone(),
            path,
            secret: secret.to_owned(),
            entry: None,
            offset: 0,
            length: sealed.size_bytes.clamp(1, MAX_LENGTH),
            r#as: "text".into(),
            r#match: None,
        };
        let args = format!(r#"{{"sha256":"{}","length":{}}}"#, slice.sha256, slice.length);
        let held = self.held(Some(sealed.sha256), None).await?;
        match held.first() {
            Some(held) => self.shown(held, slice, args).await,
            None => Err(Error::new(ErrorCode::Internal, "what was sealed is not in the store")),
        }
    }

    fn custody(&self, session: &Session) -> Custody {
        Custody {
            device: session.device.id().clone(),
            device_name: session.device.describe().name,
            session: session.id.clone(),
            command_id: self.call.command_id.clone(),
            principal: self.call.principal.clone(),
            comment: session.comment.clone(),
        }
    }

    /// What the caller collected; only this hash, only this name where they are given.
    pub async fn held(&self, sha256: Option<Sha256>, name: Option<String>) -> Result<Vec<Held>> {
        let (store, by) = (self.core.evidence.clone(), self.call.principal.clone());
        blocking(move || store.held(&by, sha256.as_ref(), name.as_deref())).await?
    }

    /// A slice of sealed content; a person is asked first where it is on the secret list.
    pub async fn slice(&self, of: &Held, mut slice: Disclosure) -> Result<Reply<Slice>> {
        let args = super::canonical(&self.call.args);
        if slice.entry.is_none() {
            return self.shown(of, slice, args).await;
        }
        // A member may be shown though others may not: whether it may, its name and its bytes say.
        let (store, asked, job) = (self.core.evidence.clone(), slice.clone(), self.job.clone());
        let (read, why) = blocking(move || store.read_member(&asked, &job)).await??;
        if !self.must_ask(of, why).await? {
            return Ok(Reply::Done(read));
        }
        slice.secret = why.unwrap_or_default().to_owned();
        self.ask_to_show(of, slice, args).await
    }

    /// As [`Context::slice`]; `args` are those that `evidence` would be asked with.
    async fn shown(&self, of: &Held, slice: Disclosure, args: String) -> Result<Reply<Slice>> {
        if !self.must_ask(of, of.secret.as_deref()).await? {
            let store = self.core.evidence.clone();
            return Ok(Reply::Done(blocking(move || store.read(&slice)).await??));
        }
        self.ask_to_show(of, slice, args).await
    }

    /// Whether a person is asked first: the device may be one that no session of this process was opened on.
    async fn must_ask(&self, of: &Held, secret: Option<&str>) -> Result<bool> {
        let (device, secret) = (of.device.clone(), secret.map(str::to_owned));
        let met = self.core.acquaint(&device).await;
        let ask = self.core.guard(move |g| (g.must_ask(&device, secret.as_deref()), g.place(&device).0)).await?;
        match (ask, met) {
            ((true, None), Err(e)) => Err(unmet(&of.device, &e)),
            ((ask, _), _) => Ok(ask),
        }
    }

    async fn ask_to_show(&self, of: &Held, slice: Disclosure, args: String) -> Result<Reply<Slice>> {
        // The device may be gone by now: what was collected from it is here.
        let device = self.core.sessions.describe(&of.device).ok_or_else(|| {
            Error::new(ErrorCode::NoDevice, format!("the file is of {}, which is no device here", of.device))
                .hint("devices lists what there is")
        })?;
        self.let_go();
        let intent = Intent { command: DISCLOSURE, args, ..self.intent(&device) };
        if let Some(pending) = self.admit(&intent).await? {
            return Ok(pending);
        }
        let steps = vec![Step::Disclose { slice }];
        let view = self.core.guard(move |g| g.submit(intent, steps)).await??;
        Ok(Reply::Pending(Box::new(view)))
    }

    pub fn principal(&self) -> &Principal {
        &self.call.principal
    }

    pub(super) fn core(&self) -> &'a Arc<Core> {
        self.core
    }

    pub(super) fn command_id(&self) -> &CommandId {
        &self.call.command_id
    }
}
