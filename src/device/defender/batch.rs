//! Scripts that wait for one device go to it together: a start is dear, and a device does one action at a time.
//!
//! Invariants: every asker gets one answer; what a failed command kept from running is started again once; an action
//! that nobody waits for any more is cancelled.

use super::Tenant;
use super::actions::Look;
use super::api::{ActionId, CommandRun, CommandStatus, LiveCommand, MachineAction, MachineId, ScriptResult, Status};
use super::client::Download;
use super::document::Document;
use super::kept::{Intent, comment};
use super::pack::{Arguments, Script};
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use crate::shape::scrub;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::oneshot;

/// What comes within this time of the first goes with it.
const WINDOW: Duration = Duration::from_millis(50);
/// Scripts of one action.
const MOST: usize = 16;
/// A script's result is no larger, in bytes.
pub(super) const RESULT: u64 = 64 << 20;
/// Who stopped waiting waits so long for the cancel on the device.
pub(super) const LET_GO_WITHIN: Duration = Duration::from_secs(3);
/// A cancel that nobody waits for.
const CANCEL_WITHIN: Duration = Duration::from_secs(30);
/// What people see beside our actions.
pub(super) const COMMENT: &str = "live-response read";

/// The scripts that wait, by device.
#[derive(Default)]
pub(super) struct Lanes(Mutex<HashMap<MachineId, Lane>>);

#[derive(Default)]
struct Lane {
    waiting: VecDeque<Ask>,
    is_driven: bool,
}

struct Ask {
    script: &'static Script,
    nonce: String,
    command: LiveCommand,
    job: Arc<Job>,
    reply: oneshot::Sender<Result<Document>>,
    /// Was in an action before and did not run.
    again: bool,
    /// Dropped once nothing is left to do for it.
    _held: oneshot::Sender<()>,
}

impl Ask {
    fn intent(&self, index: u32) -> Option<Intent> {
        Intent::new(self.script.name, &self.nonce, index, &self.job)
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, HashMap<MachineId, Lane>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody must look after the device's lane from now on.
    fn add(&self, machine: &MachineId, ask: Ask) -> bool {
        let mut lanes = self.lock();
        let lane = lanes.entry(machine.clone()).or_default();
        lane.waiting.push_back(ask);
        !std::mem::replace(&mut lane.is_driven, true)
    }

    /// The next ones that are still waited for; none ends the lane.
    fn take(&self, machine: &MachineId) -> Vec<Ask> {
        let mut lanes = self.lock();
        let Some(lane) = lanes.get_mut(machine) else { return Vec::new() };
        lane.waiting.retain(|ask| !ask.reply.is_closed());
        let count = lane.waiting.len().min(MOST);
        let taken: Vec<Ask> = lane.waiting.drain(..count).collect();
        if taken.is_empty() {
            lanes.remove(machine);
        }
        taken
    }

    fn put_back(&self, machine: &MachineId, asks: Vec<Ask>) {
        let mut lanes = self.lock();
        let lane = lanes.entry(machine.clone()).or_default();
        asks.into_iter().rev().for_each(|ask| lane.waiting.push_front(ask));
    }
}

impl Tenant {
    /// Runs a script of the pack on a device, together with others that wait for it.
    pub(super) async fn run(
        self: &Arc<Self>,
        machine: &MachineId,
        script: &'static Script,
        arguments: Arguments,
        job: &Arc<Job>,
    ) -> Result<Document> {
        if let Some(begun) = job.kept().and_then(|kept| kept.begun(script.name)) {
            let action = self.rejoin(machine, &begun, job).await?;
            let command = action.commands.iter().find(|c| c.index == begun.index);
            let asked = Asked { script: script.name, nonce: &begun.nonce, index: begun.index };
            return outcome(self, &action, command, asked, job).await;
        }
        let command = self.command(script, &arguments, job).await?;
        let (reply, answer) = oneshot::channel();
        let (_held, let_go) = oneshot::channel();
        let ask = Ask { script, nonce: arguments.nonce, command, job: job.clone(), reply, again: false, _held };
        if self.lanes.add(machine, ask) {
            tokio::spawn(drive(self.clone(), machine.clone()));
        }
        tokio::select! {
            answer = answer => return answer.unwrap_or_else(|_| Err(Error::new(ErrorCode::Internal, "the script's lane broke off"))),
            () = job.stopped() => {}
        }
        // A process that ends now would leave an action behind that nobody waits for.
        let _ = tokio::time::timeout(LET_GO_WITHIN, let_go).await;
        job.check().and(Err(Error::new(ErrorCode::Cancelled, "the command was cancelled")))
    }

    /// The command that runs a script, once the library is known to hold exactly that script.
    pub(super) async fn command(&self, script: &Script, arguments: &Arguments, job: &Job) -> Result<LiveCommand> {
        let word = arguments.word()?;
        self.listing.check(&self.client, script, job).await?;
        Ok(LiveCommand::RunScript { script_name: script.file_name(), args: Some(word) })
    }

    /// A command's result. A link that counts no more, and its successor neither, is a fault of the service.
    pub(super) async fn result(&self, action: &ActionId, index: u32, job: &Job) -> Result<Download> {
        self.client.result(action, index, job).await.map_err(|e| match e.code {
            ErrorCode::Expired => {
                Error::new(ErrorCode::Backend, "the links that Defender gives to the result have expired")
                    .hint("look at this computer's clock; the action itself took place and need not run again")
            }
            _ => not_of_the_device(e),
        })
    }

    /// What a script left; asked for twice where it did not come whole.
    pub(super) async fn script_result(&self, action: &ActionId, index: u32, job: &Job) -> Result<ScriptResult> {
        let read = async || {
            let download = self.result(action, index, job).await?;
            let bytes = bounded(download.bytes, job).await?;
            tokio::task::spawn_blocking(move || ScriptResult::parse(&bytes))
                .await
                .map_err(|e| Error::new(ErrorCode::Internal, "the reader of a result broke off").source(e))?
        };
        match read().await {
            Err(e) if e.code == ErrorCode::Backend => {
                job.check()?;
                read().await
            }
            other => other,
        }
    }
}

/// What the service does not have is no word on what the device has.
pub(super) fn not_of_the_device(mut e: Error) -> Error {
    if e.code == ErrorCode::NotFound {
        e.code = ErrorCode::Backend;
    }
    e
}

async fn bounded(bytes: impl AsyncRead + Unpin, job: &Job) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut bytes = bytes.take(RESULT + 1);
    loop {
        let read = tokio::select! {
            read = bytes.read_buf(&mut all) => read,
            () = job.stopped() => { job.check()?; continue }
        };
        match read {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) => return Err(Error::new(ErrorCode::Backend, format!("a script's result broke off: {e}"))),
        }
    }
    if all.len() as u64 > RESULT {
        return Err(Error::new(ErrorCode::TooLarge, format!("a script's result is larger than {} MiB", RESULT >> 20))
            .hint("ask for less: name a path, a name or a pid"));
    }
    Ok(all)
}

async fn drive(tenant: Arc<Tenant>, machine: MachineId) {
    tokio::time::sleep(WINDOW).await;
    loop {
        let asks = tenant.lanes.take(&machine);
        if asks.is_empty() {
            return;
        }
        together(&tenant, &machine, asks).await;
    }
}

/// Runs the scripts as one action and answers each.
async fn together(tenant: &Tenant, machine: &MachineId, mut asks: Vec<Ask>) {
    let own = Job::default();
    let started: Mutex<Option<ActionId>> = Mutex::default();
    let commands = asks.iter().map(|ask| ask.command.clone()).collect();
    let kept: Vec<Intent> = (0..).zip(&asks).filter_map(|(index, ask)| ask.intent(index)).collect();
    let comment = comment(&kept);
    let note = |action: &MachineAction| {
        *started.lock().unwrap_or_else(PoisonError::into_inner) = Some(action.id.clone());
        kept.iter().for_each(|intent| intent.took(&action.id));
    };
    let ended = {
        let mut run = std::pin::pin!(tenant.actions.run(machine, Look::Commands(commands), &comment, &note, &own));
        let ended = tokio::select! {
            ended = &mut run => Some(ended),
            () = all_gone(&mut asks) => None,
        };
        match ended {
            Some(ended) => ended,
            None => {
                own.cancel();
                run.await
            }
        }
    };
    let started = started.into_inner().unwrap_or_else(PoisonError::into_inner);
    if own.is_cancelled()
        && let Some(id) = started
    {
        let (client, calm) = (&tenant.client, Job::default());
        let cancel = client.cancel(&id, "live-response: nobody waits for this any more", &calm);
        if let Ok(Err(e)) = tokio::time::timeout(CANCEL_WITHIN, cancel).await {
            tracing::warn!("an action that nobody waits for could not be cancelled: {}", e.code);
        }
        return;
    }
    answer(tenant, machine, ended, asks, &own).await;
}

/// What is kept for another process is gone only when it is taken back.
async fn all_gone(asks: &mut [Ask]) {
    for ask in asks {
        match ask.job.kept() {
            Some(_) => ask.job.stopped().await,
            None => ask.reply.closed().await,
        }
    }
}

async fn answer(tenant: &Tenant, machine: &MachineId, ended: Result<MachineAction>, asks: Vec<Ask>, own: &Job) {
    let warnings = own.take_warnings();
    let mut again = Vec::new();
    for (index, mut ask) in (0u32..).zip(asks) {
        warnings.iter().for_each(|w| ask.job.warn(w.clone()));
        let answer = match &ended {
            Err(e) => Err(e.copy()),
            Ok(action) => {
                let command = action.commands.iter().find(|c| c.index == index);
                if !ask.again && was_kept_from_running(action, command) {
                    ask.again = true;
                    again.push(ask);
                    continue;
                }
                // Who asked may have gone: then its job is over and nothing is fetched.
                if ask.reply.is_closed() {
                    continue;
                }
                let asked = Asked { script: ask.script.name, nonce: &ask.nonce, index };
                outcome(tenant, action, command, asked, &ask.job).await
            }
        };
        // Nobody may be waiting any more.
        let _ = ask.reply.send(answer);
    }
    tenant.lanes.put_back(machine, again);
}

/// A command before it failed.
fn was_kept_from_running(action: &MachineAction, command: Option<&CommandRun>) -> bool {
    action.status == Status::Failed
        && command.is_some_and(|c| c.command_status == CommandStatus::Created)
        && action.commands.iter().any(|c| c.command_status == CommandStatus::Failed)
}

/// Which answer of an action is meant.
#[derive(Clone, Copy)]
struct Asked<'a> {
    script: &'a str,
    nonce: &'a str,
    index: u32,
}

async fn outcome(
    tenant: &Tenant,
    action: &MachineAction,
    command: Option<&CommandRun>,
    asked: Asked<'_>,
    job: &Job,
) -> Result<Document> {
    let ran = match command.map(|c| &c.command_status) {
        Some(CommandStatus::Completed) => true,
        Some(_) => false,
        None => action.status == Status::Succeeded,
    };
    let result = tenant.script_result(&action.id, asked.index, job).await;
    let found = result.and_then(|result| Document::find(&result, asked.script, asked.nonce));
    match found {
        Err(e) if !ran && e.code != ErrorCode::ScriptDrift => Err(failed(action, command)),
        other => other,
    }
}

/// Why an action, or one of its commands, gave nothing.
pub(super) fn failed(action: &MachineAction, command: Option<&CommandRun>) -> Error {
    let said: Vec<String> = command.iter().flat_map(|c| &c.errors).take(3).map(|e| cut(e.raw())).collect();
    let said = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
    let hint = format!("action {} in the portal's Action center says more", action.id);
    match &action.status {
        Status::TimeOut => {
            Error::new(ErrorCode::Timeout, format!("the device did not do it in Defender's time{said}")).hint(hint)
        }
        Status::Cancelled => {
            let by = action.cancellation_requestor.as_ref().map_or_else(|| "somebody".into(), |by| cut(by.raw()));
            Error::new(ErrorCode::Backend, format!("{by} cancelled the action on the device{said}")).hint(hint)
        }
        status => {
            let code = if action.error_hresult == 0 {
                String::new()
            } else {
                format!(" (error {:#010x})", action.error_hresult & 0xffff_ffff)
            };
            Error::new(ErrorCode::Backend, format!("the device's action ended as {status}{code}{said}")).hint(hint)
        }
    }
}

fn cut(text: &str) -> String {
    let cut: String = text.chars().take(300).collect();
    scrub(&cut).into_owned()
}
