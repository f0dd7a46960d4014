//! One read of many devices: each is asked as if it were alone, their rows become one listing.
//!
//! Invariants: every device is checked against the caller's role, has a time limit of its own, and is on record as a look
//! of its own; what one does takes nothing from the others; each that gave no answer is named with the reason.

use super::millis;
use super::record::on_record;
use super::work::STOP_GRACE;
use crate::audit::Log;
use crate::commands;
use crate::device::Device;
use crate::error::{Error, ErrorCode, Result, State};
use crate::model::{CommandId, DeviceId, DeviceRef, DeviceRow, Job, SessionId, Unit};
use crate::registry::{Body, Call, Context, Core, Reply, Tool, blocking, swept};
use crate::session::Session;
use crate::shape::{Gathering, ObjectRow, Page, ResultObject, Rows, Wanted, select};
use serde_json::json;
use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

/// Devices that are asked at the same time: as many as Defender's live response takes.
const AT_ONCE: usize = 25;
/// Those of them that this host looks at itself.
pub(super) const HERE_AT_ONCE: usize = 2;
/// Different warnings of one sweep; the others are told in one.
const TEXTS: usize = 50;
const OTHERS: &str = "more was said or went wrong; ask fewer devices to see it";
/// How long a listing tells what a device is.
const FRESH: Duration = Duration::from_secs(60);
/// Devices that one warning names.
const NAMED: usize = 1_000;

pub(super) struct Sweep {
    pub(super) core: Arc<Core>,
    pub(super) log: Arc<Log>,
    pub(super) tool: &'static dyn Tool,
    pub(super) call: Arc<Call>,
    /// Of the whole.
    pub(super) job: Arc<Job>,
    /// What one device may take.
    pub(super) limit: Duration,
    /// Devices that were begun with: one may be named twice.
    pub(super) begun: Mutex<HashSet<DeviceId>>,
    /// Turns of devices that this host looks at itself: what each answers is held in memory.
    pub(super) here: Arc<Semaphore>,
}

enum Target {
    Named(String),
    /// As it was listed then.
    Known(Arc<dyn Device>, Instant),
}

/// What one device came to; `found` is `None` where it was begun with already.
struct Looked {
    name: String,
    /// Where it could be opened.
    device: Option<DeviceRef>,
    found: Result<Option<Box<dyn Rows>>>,
    warnings: Vec<String>,
    /// Held until the rows lie on disk.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Sweep {
    pub(super) async fn run(self: Arc<Self>) -> Result<Body> {
        let targets = self.targets().await?;
        let mut asked = targets.len();
        self.job.expect(Unit::Devices, asked as u64);
        let wanted = &self.call.common.wanted;
        let keep = |field: &str| wanted.fields.is_empty() || wanted.mentions(field);
        let mut gathering = Gathering::new(self.core.sessions.spill(), swept(self.tool).fields, keep);
        // What the first of them in the call's order came to is what all came to, where none answered.
        let (mut answered, mut failed) = (0, Vec::new());
        let mut said = Said::default();
        let mut waiting = targets.into_iter().enumerate();
        let mut running = JoinSet::new();
        let mut begun = HashMap::new();
        loop {
            while running.len() < AT_ONCE
                && !self.job.is_cancelled()
                && let Some((place, target)) = waiting.next()
            {
                let name = target.name();
                let id = running.spawn(self.clone().look(target)).id();
                begun.insert(id, (place, name));
            }
            let Some(ended) = running.join_next_with_id().await else { break };
            let id = ended.as_ref().map_or_else(|broken| broken.id(), |(id, _)| *id);
            let (place, name) = begun.remove(&id).unwrap_or_default();
            let looked = ended.map(|(_, looked)| looked).unwrap_or_else(|broken| {
                tracing::error!(tool = self.call.spec.name, %broken, "a look at one of many devices broke off");
                let e = Error::new(ErrorCode::Internal, "the look broke off").source(broken);
                Looked { name, device: None, found: Err(e), warnings: Vec::new(), _turn: None }
            });
            self.job.advance(1);
            looked.warnings.into_iter().for_each(|warning| said.add(warning, &looked.name));
            match looked.found {
                Ok(None) => asked -= 1,
                Ok(Some(rows)) => {
                    answered += 1;
                    let job = self.job.clone();
                    let Some(device) = looked.device else { continue };
                    let added = blocking(move || {
                        let added = gathering.add(place, &device, &*rows, &job);
                        added.map(|()| gathering)
                    });
                    gathering = added.await??;
                }
                Err(e) => {
                    let hint = e.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
                    said.add(format!("{}: {}{hint}", e.code, e.message), &looked.name);
                    failed.push((place, e));
                }
            }
        }
        self.job.check()?;
        let first = failed.into_iter().min_by_key(|(place, _)| *place).map(|(_, e)| e);
        let first = match first.filter(|_| answered == 0) {
            Some(only) if asked == 1 => return Err(only),
            first => first,
        };
        said.lines().for_each(|line| self.job.warn(line));
        if let Some(first) = first {
            let what = format!("none of {asked} devices answered");
            return Err(Error::new(first.code, what).hint("the warnings name each, with the reason"));
        }
        let job = self.job.clone();
        let rows = blocking(move || gathering.finish(job)).await??;
        let extra = serde_json::value::to_raw_value(&json!({ "devices_asked": asked, "devices_answered": answered }))
            .map_err(|e| Error::new(ErrorCode::Internal, "numbers have no JSON form").source(e))?;
        Ok(Body::Rows { rows: Box::new(rows), extra })
    }

    /// The devices that the call names, each name as it stands, and the devices that fit its filters.
    async fn targets(&self) -> Result<Vec<Target>> {
        let common = &self.call.common;
        let mut targets: Vec<Target> = common.device_names().map(|name| Target::Named(name.to_owned())).collect();
        let filters: Vec<String> = common.device_filters().map(str::to_owned).collect();
        if filters.is_empty() {
            return Ok(targets);
        }
        let (all, listed) = (self.core.sessions.all_devices(&self.job).await?, Instant::now());
        let job = self.job.clone();
        // One look at the policy for all: a tenant has thousands of devices.
        let fitting = self.core.guard(move |g| {
            let mut rows: Vec<_> = all.iter().map(|device| device.row()).collect();
            g.place_rows(&mut rows);
            let mut fitting = HashSet::new();
            for filter in filters {
                let found = select(&rows, &Wanted { filter: Some(filter.clone()), ..Wanted::default() }, &job)?.order;
                if found.is_empty() {
                    return Err(Error::new(ErrorCode::NoDevice, format!("no device fits {filter:?}"))
                        .hint("`devices` lists what there is, with the fields that a filter compares"));
                }
                fitting.extend(found.into_iter().map(|n| n as usize));
            }
            let fits = all.into_iter().enumerate().filter(|(n, _)| fitting.contains(n));
            Ok(fits.map(|(_, device)| Target::Known(device, listed)).collect::<Vec<_>>())
        });
        targets.extend(fitting.await??);
        Ok(targets)
    }

    /// Asks one device, within its limit, and puts that on record.
    async fn look(self: Arc<Self>, target: Target) -> Looked {
        let started = Instant::now();
        let look = Look {
            call: Call { command_id: CommandId::mint(), ..(*self.call).clone() },
            job: Arc::default(),
            session: OnceLock::new(),
            turn: Mutex::default(),
            of: &self,
        };
        let mut name = target.name();
        let job = &look.job;
        let found = {
            let work = pin!(look.ask(target));
            let stopped = async {
                tokio::select! {
                    () = self.job.stopped() => job.cancel(),
                    () = tokio::time::sleep(self.limit) => job.time_out(),
                }
                tokio::time::sleep(STOP_GRACE).await;
            };
            tokio::select! {
                found = work => found,
                () = stopped => Err(job.check().err().unwrap_or_else(|| Error::new(ErrorCode::Cancelled, "stopped"))),
            }
        };
        let mut warnings = job.take_warnings();
        let id = look.call.command_id.clone();
        let result = match &found {
            Ok(None) => None,
            Ok(Some(rows)) => {
                let page = Some(Page::whole(rows.len()));
                Some(ResultObject { page, untrusted: true, ..ResultObject::new(id, State::Completed) })
            }
            Err(e) => Some(ResultObject::from_error(id, e)),
        };
        let session = look.session.get();
        if let Some(mut result) = result {
            result.elapsed_ms = millis(started);
            result.session = session.map(|s| s.id.clone());
            result.device = session.map(|s| s.device.describe());
            let part_of = Some(&self.call.command_id);
            warnings.extend(on_record(&self.core, &self.log, &look.call, part_of, &result).await);
        }
        let device = session.map(|session| session.device.describe());
        if let Some(device) = &device {
            name = device.name.raw().to_owned();
        }
        let _turn = look.turn.lock().unwrap_or_else(PoisonError::into_inner).take();
        Looked { name, device, found, warnings, _turn }
    }
}

/// One device's part.
struct Look<'a> {
    of: &'a Sweep,
    call: Call,
    job: Arc<Job>,
    /// From when the device was opened.
    session: OnceLock<Arc<Session>>,
    /// Of a device that is looked at by this host itself.
    turn: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Look<'_> {
    async fn ask(&self, target: Target) -> Result<Option<Box<dyn Rows>>> {
        let (sweep, core) = (self.of, &self.of.core);
        let device = match target {
            Target::Known(device, listed) if listed.elapsed() < FRESH => device,
            // Its group may be another one by now.
            Target::Known(device, _) => core.sessions.device(device.id().as_str(), &self.job).await?,
            Target::Named(name) => core.sessions.device(&name, &self.job).await?,
        };
        if !sweep.begun.lock().unwrap_or_else(PoisonError::into_inner).insert(device.id().clone()) {
            return Ok(None);
        }
        let session = self.session.get_or_init(|| {
            let (by, connection) = (&self.call.principal, self.call.connection);
            Session::new(SessionId::mint(), device, by, connection, None, None)
        });
        let device = &session.device;
        if let Some(traits) = device.traits() {
            core.guard.know(device.id(), traits);
        }
        core.check_role(&self.call.principal, device.id(), self.call.spec).await?;
        if let Some(why) = device.away() {
            return Err(Error::new(ErrorCode::DeviceOffline, why).hint("ask again when it is on"));
        }
        if device.is_here()
            && let Ok(turn) = sweep.here.clone().acquire_owned().await
        {
            *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        }
        let tools = commands::listed(core.sessions.has_tenant());
        let cx = Context::new(core, &self.call, Some(session), &self.job, tools);
        Ok(Some(match sweep.tool.call(&self.call.args, &cx).await? {
            Reply::Done(Body::Rows { rows, .. }) => rows,
            Reply::Done(Body::Object(object)) => {
                let fields = swept(sweep.tool).fields.get(1..).unwrap_or_default();
                Box::new(ObjectRow::new(fields, &object)?)
            }
            Reply::Pending(request) => {
                self.job.warn(format!("a person is asked first: status {} tells what came of it", request.command_id));
                Box::new(Vec::<DeviceRow>::new())
            }
        }))
    }
}

impl Target {
    fn name(&self) -> String {
        match self {
            Target::Named(name) => name.clone(),
            Target::Known(device, _) => device.describe().name.raw().to_owned(),
        }
    }
}

/// What is to be said of devices, each text once with all that it is true of.
#[derive(Default)]
struct Said(Vec<(String, Vec<String>)>);

impl Said {
    fn add(&mut self, text: String, device: &str) {
        // A device may say anything, and each something else.
        let text = match self.0.len() < TEXTS || self.0.iter().any(|(said, _)| *said == text) {
            true => text,
            false => OTHERS.to_owned(),
        };
        match self.0.iter_mut().find(|(said, _)| *said == text) {
            Some((_, devices)) => devices.push(device.to_owned()),
            None => self.0.push((text, vec![device.to_owned()])),
        }
    }

    fn lines(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(text, devices)| {
            let shown = devices.get(..NAMED.min(devices.len())).unwrap_or_default().join(", ");
            match devices.len() {
                1 => format!("{shown}: {text}"),
                n @ ..=NAMED => format!("{n} devices ({shown}): {text}"),
                n => format!("{n} devices ({shown}, and {} more): {text}", n - NAMED),
            }
        })
    }
}
