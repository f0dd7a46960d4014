//! Actions on the tenant's devices, from asking for a turn to the end: in order, within the limits, never twice.
//!
//! Invariants: of what this process starts, at most one action of a kind is under way on a device; a start whose answer
//! was lost is looked up by a mark in its comment before it is sent again; a wait names who is waited for.

mod lanes;
mod poller;
#[cfg(test)]
mod tests;

use super::api::{ActionId, ActionKind, IsolationType, LiveCommand, MachineAction, MachineId, ScanType, Status};
use super::batch::not_of_the_device;
use super::client::limits::{pause, stopped};
use super::client::wait::back_off;
use super::client::{Client, Failure, FailureKind};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{Job, random_hex};
use lanes::Lanes;
use poller::Poller;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Sendings of one start.
const STARTS: u32 = 3;
/// Looks for a start whose answer was lost: an action may be listed late.
const LOOKS: u32 = 4;
/// Such looks go on though the command was cancelled, but no longer than this.
const LOOKS_WITHIN: Duration = Duration::from_secs(120);
const MOST_WAIT: Duration = Duration::from_secs(15);

/// What is started to look at a device.
pub enum Look {
    Commands(Vec<LiveCommand>),
    CollectPackage,
}

impl From<Look> for Start {
    fn from(look: Look) -> Start {
        match look {
            Look::Commands(commands) => Start::LiveResponse(commands),
            Look::CollectPackage => Start::CollectPackage,
        }
    }
}

/// What is to be started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    LiveResponse(Vec<LiveCommand>),
    Isolate(IsolationType),
    Unisolate,
    Scan(ScanType),
    CollectPackage,
    /// Every copy of the file on the device, and the processes that run it.
    StopAndQuarantine {
        sha1: String,
    },
}

impl Start {
    /// Actions of these kinds stand in each other's way.
    fn rivals(&self) -> &'static [ActionKind] {
        match self {
            Start::LiveResponse(_) => &[ActionKind::LiveResponse],
            Start::Isolate(_) | Start::Unisolate => &[ActionKind::Isolate, ActionKind::Unisolate],
            Start::Scan(_) => &[ActionKind::RunAntiVirusScan],
            Start::CollectPackage => &[ActionKind::CollectInvestigationPackage],
            Start::StopAndQuarantine { .. } => &[ActionKind::StopAndQuarantineFile],
        }
    }

    /// What is asked for in one order on a device.
    fn lane(&self) -> ActionKind {
        match self {
            Start::Unisolate => ActionKind::Isolate,
            other => other.kind(),
        }
    }

    fn kind(&self) -> ActionKind {
        match self {
            Start::LiveResponse(_) => ActionKind::LiveResponse,
            Start::Isolate(_) => ActionKind::Isolate,
            Start::Unisolate => ActionKind::Unisolate,
            Start::Scan(_) => ActionKind::RunAntiVirusScan,
            Start::CollectPackage => ActionKind::CollectInvestigationPackage,
            Start::StopAndQuarantine { .. } => ActionKind::StopAndQuarantineFile,
        }
    }
}

/// What became of a start whose answer was lost.
enum Became {
    Started(MachineAction),
    /// It could not: this one stands in its way.
    Blocked(MachineAction),
    Nothing,
}

/// A tenant's actions. One for a tenant: turns and limits are counted in it.
#[derive(Debug)]
pub struct Actions {
    client: Client,
    sessions: Arc<Semaphore>,
    lanes: Lanes,
    poller: Arc<Poller>,
}

impl Actions {
    pub fn new(client: &Client) -> Self {
        let sessions = usize::try_from(client.settings().limits.sessions).unwrap_or(Semaphore::MAX_PERMITS);
        Actions {
            sessions: Arc::new(Semaphore::new(sessions.min(Semaphore::MAX_PERMITS))),
            lanes: Lanes::default(),
            poller: Poller::new(client),
            client: client.clone(),
        }
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for its turn on the device, for the limits and a session, starts it, tells `started`, and follows it to its
    /// end. A cancel of the job ends the waiting, not the action.
    pub async fn run(
        &self,
        machine: &MachineId,
        look: Look,
        comment: &str,
        started: &(dyn Fn(&MachineAction) + Sync),
        job: &Job,
    ) -> Result<MachineAction> {
        self.carry(machine, look.into(), comment, started, STARTS, job).await
    }

    /// As [`Actions::run`], for what one order allows once: where the answer to its start is lost and no action of it
    /// shows, it is `E_OUTCOME_UNKNOWN`, and never sent again.
    pub async fn run_once(
        &self,
        order: Order,
        machine: &MachineId,
        start: Start,
        comment: &str,
        started: &(dyn Fn(&MachineAction) + Sync),
        job: &Job,
    ) -> Result<MachineAction> {
        // Used up by its one start.
        drop(order);
        self.carry(machine, start, comment, started, 1, job).await
    }

    async fn carry(
        &self,
        machine: &MachineId,
        start: Start,
        comment: &str,
        started: &(dyn Fn(&MachineAction) + Sync),
        starts: u32,
        job: &Job,
    ) -> Result<MachineAction> {
        let turn = self.lanes.enter(machine, &start.lane(), comment, job).await?;
        let session = self.session(&start, job).await?;
        let action = self.start(machine, &start, comment, starts, job).await?;
        turn.holds(&action);
        started(&action);
        let ended = self.follow(&action.id, job).await;
        drop((session, turn));
        ended.map_err(not_of_the_device)
    }

    /// Polls an action that exists to its end.
    pub async fn follow(&self, id: &ActionId, job: &Job) -> Result<MachineAction> {
        self.poller.follow(id, job).await
    }

    /// The newest action on the device whose comment has this in it: what a process that died had started.
    pub async fn find(&self, machine: &MachineId, comment_contains: &str, job: &Job) -> Result<Option<MachineAction>> {
        let actions = self.client.actions_of(machine, job).await?;
        Ok(newest(actions, |action| says(action, comment_contains)))
    }

    /// Asks for an end and follows the action there. `Cancelled` does not prove that it did not run.
    pub async fn cancel(&self, id: &ActionId, comment: &str, job: &Job) -> Result<MachineAction> {
        let action = self.client.cancel(id, comment, job).await?;
        if action.status.is_final() { Ok(action) } else { self.follow(id, job).await }
    }

    async fn session(&self, start: &Start, job: &Job) -> Result<Option<OwnedSemaphorePermit>> {
        if !matches!(start, Start::LiveResponse(_)) {
            return Ok(None);
        }
        let free = self.sessions.clone();
        if let Ok(permit) = free.clone().try_acquire_owned() {
            return Ok(Some(permit));
        }
        job.warn("waited for a live response session: all that the tenant allows at a time were in use");
        tokio::select! {
            permit = free.acquire_owned() => {
                permit.map(Some).map_err(|_| Error::new(ErrorCode::Internal, "the sessions are closed"))
            }
            () = job.stopped() => Err(stopped(job)),
        }
    }

    async fn start(
        &self,
        machine: &MachineId,
        start: &Start,
        comment: &str,
        starts: u32,
        job: &Job,
    ) -> Result<MachineAction> {
        // Two starts of one request must be told apart.
        let mark = format!("[{}]", random_hex::<6>());
        let comment = if comment.is_empty() { mark.clone() } else { format!("{comment} {mark}") };
        let (mut sent, mut refused) = (0, 0);
        // An answer that says nothing could not be asked for again.
        while starts == 1
            && let Some(rival) = self.rival(machine, start, job).await?
        {
            self.wait_for(&rival, job).await?;
        }
        loop {
            let failure = match self.post(machine, start, &comment, job).await {
                Ok(action) => return Ok(action),
                Err(failure) => failure,
            };
            let rival = match failure.kind {
                FailureKind::Busy => self.rival(machine, start, job).await?,
                FailureKind::Uncertain => match self.became(machine, start, &mark, &failure).await? {
                    Became::Started(action) => return Ok(action),
                    // It may still show; a rival may be itself.
                    _ if starts == 1 => {
                        let what = format!("Defender's answer to a start was lost: {}", failure.error.message);
                        return Err(Error::new(ErrorCode::OutcomeUnknown, what)
                            .hint("look in the Action center; it is not started again by itself"));
                    }
                    Became::Blocked(rival) => Some(rival),
                    Became::Nothing => {
                        sent += 1;
                        if sent >= starts {
                            return Err(failure.error);
                        }
                        None
                    }
                },
                _ => return Err(failure.error),
            };
            match rival {
                Some(rival) => self.wait_for(&rival, job).await?,
                None => {
                    let waited = pause(back_off(self.first(), MOST_WAIT, refused), job).await;
                    waited.map_err(|e| busy(e, failure.kind == FailureKind::Busy, &failure.error.message))?;
                }
            }
            refused += 1;
        }
    }

    /// The newest action that stands in a start's way.
    async fn rival(&self, machine: &MachineId, start: &Start, job: &Job) -> Result<Option<MachineAction>> {
        let actions = self.client.actions_of(machine, job).await?;
        Ok(newest(actions, |action| stands_in_the_way(action, start)))
    }

    /// What may be started is the callers' types: a look, or an order's one start.
    #[expect(clippy::disallowed_methods)]
    async fn post(
        &self,
        machine: &MachineId,
        start: &Start,
        comment: &str,
        job: &Job,
    ) -> std::result::Result<MachineAction, Failure> {
        let client = &self.client;
        let action = match start {
            Start::LiveResponse(commands) => client.start_live_response(machine, commands, comment, job).await?,
            Start::Isolate(how) => client.isolate(machine, *how, comment, job).await?,
            Start::Unisolate => client.unisolate(machine, comment, job).await?,
            Start::Scan(how) => client.scan(machine, *how, comment, job).await?,
            Start::CollectPackage => client.collect_package(machine, comment, job).await?,
            Start::StopAndQuarantine { sha1 } => client.stop_and_quarantine(machine, sha1, comment, job).await?,
        };
        if action.id.as_str().is_empty() {
            let error =
                Error::new(ErrorCode::Backend, format!("Defender took {} and did not say its id", start.kind()));
            return Err(Failure { error, kind: FailureKind::Uncertain });
        }
        Ok(action)
    }

    /// Looks whether a start arrived though its answer did not. Not cut by a cancel: what started must be known.
    async fn became(&self, machine: &MachineId, start: &Start, mark: &str, failure: &Failure) -> Result<Became> {
        let look = async {
            let own = Job::default();
            let mut rival = None;
            for look in 0..LOOKS {
                pause(back_off(self.first(), MOST_WAIT, look), &own).await?;
                let actions = self.client.actions_of(machine, &own).await?;
                if let Some(action) = actions.iter().find(|action| says(action, mark)) {
                    return Ok(Became::Started(action.clone()));
                }
                rival = newest(actions, |action| stands_in_the_way(action, start));
            }
            Ok::<_, Error>(rival.map_or(Became::Nothing, Became::Blocked))
        };
        match tokio::time::timeout(LOOKS_WITHIN, look).await {
            Ok(Ok(became)) => Ok(became),
            Ok(Err(_)) | Err(_) => {
                let what = format!(
                    "nobody knows whether {} started on {machine}: {}; and its actions could not be listed",
                    start.kind(),
                    failure.error.message
                );
                Err(Error::new(ErrorCode::OutcomeUnknown, what)
                    .hint(format!("look in the Action center for an action whose comment has {mark}")))
            }
        }
    }

    /// Waits for an action that stands in the way. Whatever became of it, the next start tells.
    async fn wait_for(&self, rival: &MachineAction, job: &Job) -> Result<()> {
        let held_by = rival.told();
        job.warn(format!("the device is held by {held_by}: waited for it"));
        match self.follow(&rival.id, job).await {
            Ok(_) => Ok(()),
            Err(e) if e.code == ErrorCode::NotFound => Ok(()),
            Err(e) => Err(busy(e, true, &held_by)),
        }
    }

    fn first(&self) -> Duration {
        Duration::from_millis(u64::from(self.client.settings().limits.poll_first_ms))
    }
}

/// What a wait came to that ended before its time: who it was for, where somebody was.
fn busy(e: Error, is_busy: bool, who: &str) -> Error {
    if e.code != ErrorCode::Timeout || !is_busy {
        return e;
    }
    Error::new(ErrorCode::DeviceBusy, format!("the device was busy all the time: it was held by {who}"))
        .hint("cancel that action if it is stuck, or try again when it has ended")
}

fn says(action: &MachineAction, part: &str) -> bool {
    action.requestor_comment.as_ref().is_some_and(|comment| comment.raw().contains(part))
}

/// A word for its status that nobody knows may be an end: what has it holds nobody up for ever.
fn stands_in_the_way(action: &MachineAction, start: &Start) -> bool {
    matches!(action.status, Status::Pending | Status::InProgress) && start.rivals().contains(&action.kind)
}

fn newest(actions: Vec<MachineAction>, is_wanted: impl Fn(&MachineAction) -> bool) -> Option<MachineAction> {
    actions.into_iter().filter(is_wanted).max_by_key(|action| action.creation_date_time_utc)
}
