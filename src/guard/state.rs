//! The guard's state: the fold of the log, and nothing that is not in it.
//!
//! Invariant: a record changes the state only as [`step`] allows; one that it does not allow was not written by a
//! guard, and the log counts as broken.

use super::library::Shelved;
use super::plan::{Place, Plan, Required};
use super::request::{Phase, RequestView};
use super::step::{Event, Life, Stage, step};
use super::{digest, plan};
use crate::audit::{Fold, Line, Moment};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{
    CommandId, DevicePath, Disclosure, Handed, ItemName, LibraryItem, Outcome, RequestId, SessionId, Sha256, Step,
};
use crate::principal::{Principal, Transport};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// Ended requests are kept for a day: for `status`, for replays, for cool-downs.
const KEPT_MS: u64 = 24 * 3600 * 1000;
/// Calls that joined one request; more of them are answered and not remembered.
const JOINED: usize = 256;
/// Renderings of one request that a vote may name.
const SHOWN: usize = 16;
/// Steps that were handed over; no plan has more.
const HANDED: usize = 1024;
/// A backend keeps what was handed to it for three days; after another nobody learns what became of it.
const GOES_ON_MS: u64 = 4 * 24 * 3600 * 1000;
/// Time steps whose code was used; only two are ever accepted.
const USED_STEPS: usize = 8;

#[derive(Clone, Default, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Names this log: a plan of another one is not run.
    pub(super) instance: String,
    pub(super) requests: Vec<Entry>,
    pub(super) approvers: BTreeMap<String, Approver>,
    /// What was last recorded of the policy.
    pub(super) policy: Option<String>,
    pub(super) halted: Option<Halted>,
    /// The script library, by name.
    #[serde(default)]
    pub(super) library: BTreeMap<ItemName, Shelved>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: RequestId,
    pub(super) command_id: CommandId,
    /// Calls that joined it.
    pub(super) joined: Vec<CommandId>,
    pub(super) command: String,
    pub(super) device: Place,
    pub(super) session: Option<SessionId>,
    pub(super) by: Principal,
    pub(super) transport: Transport,
    pub(super) life: Life,
    pub(super) expires_ms: i64,
    pub(super) digest: Sha256,
    pub(super) intent: Sha256,
    pub(super) directory: Option<DevicePath>,
    pub(super) steps: Sha256,
    pub(super) policy: Sha256,
    pub(super) required: Required,
    /// The stored bytes; not kept over a checkpoint once it has ended.
    pub(super) plan: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) claimed: Option<String>,
    /// How many people said yes, by name.
    pub(super) yes: Vec<String>,
    /// Hashes of its renderings that were shown.
    pub(super) shown: Vec<Sha256>,
    pub(super) disclosure: Option<Disclosure>,
    /// The library file that it is about: void once the name stands for other bytes.
    #[serde(default)]
    pub(super) script: Option<LibraryItem>,
    /// Who is asked goes on with it when the executor has died.
    #[serde(default)]
    pub(super) outlives: bool,
    /// What a backend has taken.
    #[serde(default)]
    pub(super) handed: Vec<Handed>,
    pub(super) outcome: Option<Outcome>,
    pub(super) ended: Option<Moment>,
}

/// A person with a factor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Approver {
    pub(super) factor: String,
    pub(super) since_ms: i64,
    /// Of the secret: a file with another one is not the enrolled person's.
    pub(super) secret_sha256: Sha256,
    /// A first code was given.
    pub(super) confirmed: bool,
    pub(super) used_steps: Vec<u64>,
    /// Wrong codes since the last right one.
    pub(super) failures: u32,
    pub(super) lock: Option<Lock>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Lock {
    pub(super) from: Moment,
    pub(super) ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Halted {
    pub(super) by: String,
    pub(super) at: Moment,
}

// What the records carry.

/// Of `request.created`.
#[derive(Serialize, Deserialize)]
pub(super) struct Created<'a> {
    pub(super) intent_sha256: Sha256,
    pub(super) directory: Option<DevicePath>,
    pub(super) steps_sha256: Sha256,
    pub(super) args_sha256: Sha256,
    pub(super) plan_steps: usize,
    pub(super) reason: Option<String>,
    /// What the client says of itself; no right follows.
    pub(super) claimed: Option<String>,
    #[serde(borrow)]
    pub(super) plan: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Joined {
    pub(super) command_id: CommandId,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PromptShown {
    pub(super) preview_sha256: Sha256,
    pub(super) bytes: usize,
    pub(super) complete: bool,
    pub(super) flags: Vec<String>,
}

/// A factor that was used up by what the record tells of.
#[derive(Serialize, Deserialize)]
pub(super) struct Used {
    pub(super) person: String,
    pub(super) factor: String,
    pub(super) step: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct VoteCast {
    pub(super) yes: bool,
    pub(super) used: Used,
    pub(super) preview_sha256: Option<Sha256>,
    /// A shared secret proves nothing to a third party.
    pub(super) independently_verifiable: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Authorised {
    pub(super) person: String,
    #[serde(default)]
    pub(super) secret_sha256: Option<Sha256>,
    #[serde(default)]
    pub(super) confirmed: bool,
    #[serde(default)]
    pub(super) used: Option<Used>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct AuthFailed {
    pub(super) person: String,
    pub(super) why: String,
    pub(super) failures: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct FactorLocked {
    pub(super) person: String,
    pub(super) delay_s: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Finished {
    /// `ok`, `failed`, `refused_by_precondition`, `unknown`.
    pub(super) outcome: String,
    pub(super) result: Outcome,
}

#[derive(Serialize, Deserialize)]
pub(super) struct PolicyNow {
    pub(super) label: String,
    pub(super) source: Option<String>,
    pub(super) why: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct HaltedBy {
    pub(super) by: String,
    pub(super) used: Option<Used>,
}

impl Approver {
    /// Whether the code of this step was given, or is so old that nobody remembers: a clock that was set back brings
    /// no code back.
    pub(super) fn has_used(&self, step: u64) -> bool {
        let forgotten = self.used_steps.len() >= USED_STEPS && self.used_steps.iter().all(|used| step < *used);
        forgotten || self.used_steps.contains(&step)
    }
}

impl State {
    pub(super) fn entry(&self, id: &RequestId) -> Option<&Entry> {
        self.requests.iter().rev().find(|e| e.id == *id)
    }

    fn entry_mut(&mut self, line: &Line<'_>) -> Result<&mut Entry, String> {
        let id = line.request_id.as_ref().ok_or("names no request")?;
        self.requests.iter_mut().rev().find(|e| e.id == *id).ok_or_else(|| "names an unknown request".into())
    }

    fn person_mut(&mut self, name: &str) -> Result<&mut Approver, String> {
        self.approvers.get_mut(name).ok_or_else(|| "names a person who is not enrolled".into())
    }

    pub(super) fn use_up(&mut self, used: &Used) -> Result<(), String> {
        let person = self.person_mut(&used.person)?;
        if person.has_used(used.step) {
            return Err("a code was used twice".into());
        }
        person.used_steps.push(used.step);
        let spare = person.used_steps.len().saturating_sub(USED_STEPS);
        person.used_steps.drain(..spare);
        person.failures = 0;
        person.lock = None;
        Ok(())
    }

    fn created(&mut self, line: &Line<'_>) -> Result<(), String> {
        let now = line.moment();
        self.requests.retain(|e| e.ended.as_ref().is_none_or(|ended| now.since_ms(ended) < KEPT_MS));
        let created: Created = line.detail()?;
        let bytes = created.plan.get();
        let plan = Plan::read(bytes)?;
        if line.request_id.as_ref() != Some(&plan.request_id) || line.digest.as_ref() != Some(&digest::plan(bytes)) {
            return Err("the plan is not the one that its digest names".into());
        }
        let ms = |s: u64| s.saturating_mul(1000);
        self.requests.push(Entry {
            life: Life::new(plan.required.votes, now.clone(), ms(plan.ttl_s), ms(plan.exec_window_s)),
            expires_ms: plan.expires(&now).as_millis(),
            disclosure: plan.steps.iter().find_map(|s| match s {
                Step::Disclose { slice } => Some(slice.clone()),
                _ => None,
            }),
            outlives: plan.steps.iter().any(Step::outlives),
            handed: Vec::new(),
            script: plan.script,
            id: plan.request_id,
            command_id: plan.command_id,
            joined: Vec::new(),
            command: plan.command,
            device: plan.device,
            session: plan.session,
            by: plan.requester.principal,
            transport: plan.requester.transport,
            digest: digest::plan(bytes),
            intent: created.intent_sha256,
            directory: created.directory,
            steps: created.steps_sha256,
            policy: plan.policy_sha256,
            required: plan.required,
            plan: Some(bytes.to_owned()),
            reason: created.reason,
            claimed: created.claimed,
            yes: Vec::new(),
            shown: Vec::new(),
            outcome: None,
            ended: None,
        });
        Ok(())
    }

    fn vote(&mut self, line: &Line<'_>) -> Result<(), String> {
        let cast: VoteCast = line.detail()?;
        let entry = self.entry_mut(line)?;
        if cast.yes {
            let again = entry.yes.contains(&cast.used.person);
            entry.advance(Event::Yes { again }, line)?;
            entry.yes.push(cast.used.person.clone());
        } else {
            entry.advance(Event::No, line)?;
        }
        self.use_up(&cast.used)
    }

    fn enrolled(&mut self, line: &Line<'_>) -> Result<(), String> {
        let told: Authorised = line.detail()?;
        if let Some(used) = &told.used {
            self.use_up(used)?;
        }
        match (self.approvers.get_mut(&told.person), told.secret_sha256) {
            (Some(person), None) => person.confirmed = true,
            (None, Some(secret_sha256)) => {
                let approver = Approver {
                    factor: "totp".into(),
                    since_ms: line.ts_wall.as_millis(),
                    secret_sha256,
                    confirmed: told.confirmed,
                    used_steps: Vec::new(),
                    failures: 0,
                    lock: None,
                };
                self.approvers.insert(told.person, approver);
            }
            _ => return Err("enrols a person twice or confirms nobody".into()),
        }
        Ok(())
    }

    fn factor(&mut self, line: &Line<'_>) -> Result<(), String> {
        if line.event == "factor.locked" {
            let told: FactorLocked = line.detail()?;
            let lock = Lock { from: line.moment(), ms: told.delay_s.saturating_mul(1000) };
            self.person_mut(&told.person)?.lock = Some(lock);
        } else {
            let told: AuthFailed = line.detail()?;
            self.person_mut(&told.person)?.failures = told.failures;
        }
        Ok(())
    }

    fn halt(&mut self, line: &Line<'_>) -> Result<(), String> {
        let told: HaltedBy = line.detail()?;
        if let Some(used) = &told.used {
            self.use_up(used)?;
        }
        let engaged = line.event == "halt.engaged";
        self.halted = engaged.then(|| Halted { by: told.by, at: line.moment() });
        Ok(())
    }

    fn life(&mut self, line: &Line<'_>) -> Result<(), String> {
        let entry = self.entry_mut(line)?;
        let event = match &*line.event {
            // A vote has made it so already, unless nobody gave a name.
            "request.denied" if entry.life.stage == Stage::Denied => return Ok(()),
            "request.denied" => Event::No,
            "request.expired" => Event::Tick,
            "request.cancelled" => Event::Cancel,
            "request.revoked" => Event::Revoke,
            "request.invalidated" => {
                let code = line.reason_code.as_deref().and_then(ErrorCode::parse);
                Event::Invalidate(code.unwrap_or(ErrorCode::Revoked))
            }
            "exec.consumed" => Event::Consume,
            "exec.started" => Event::Start,
            "exec.unknown" => Event::Lose,
            "exec.finished" => {
                entry.outcome = Some(line.detail::<Finished>()?.result);
                Event::Finish
            }
            other => return Err(format!("{other} is no step of a life")),
        };
        entry.advance(event, line)?;
        if event == Event::Tick && entry.life.stage != Stage::Expired {
            return Err("expired before its time".into());
        }
        Ok(())
    }
}

impl Entry {
    fn advance(&mut self, event: Event, line: &Line<'_>) -> Result<(), String> {
        let now = line.moment();
        let (life, _) = step(&self.life, event, &now)
            .map_err(|code| format!("{} cannot follow {:?} ({code})", line.event, self.life.stage))?;
        self.life = life;
        if !self.life.is_live() && self.life.stage != Stage::Consuming {
            self.ended.get_or_insert(now);
        }
        Ok(())
    }

    /// The plan, read from its stored bytes.
    pub(super) fn read_plan(&self) -> Result<(Plan, &str)> {
        let bytes = self.plan.as_deref().ok_or_else(|| {
            Error::new(ErrorCode::NotFound, format!("the plan of {} is no longer at hand", self.id))
                .hint("the log has it: `live-response audit show`")
        })?;
        let plan = Plan::read(bytes).map_err(|why| Error::new(ErrorCode::DigestMismatch, why))?;
        Ok((plan, bytes))
    }

    /// Whether only its executor could say what became of it.
    pub(super) fn is_lost(&self, now: &Moment) -> bool {
        let is_over = |granted: &Moment| now.since_ms(granted) >= GOES_ON_MS;
        self.life.stage == Stage::Consuming && (!self.outlives || self.life.granted.as_ref().is_none_or(is_over))
    }

    /// Whether it still takes a place among what may be pending.
    pub(super) fn is_pending(&self, now: &Moment) -> bool {
        self.life.is_live() && !self.life.is_due(now)
    }

    pub(super) fn view(&self, now: &Moment) -> RequestView {
        let expired = self.life.is_due(now);
        let phase = match self.life.stage {
            _ if expired => Phase::Expired,
            Stage::Pending => Phase::Pending,
            Stage::Approved => Phase::Approved,
            Stage::Consuming => Phase::Consuming,
            Stage::Done => self.outcome.clone().map_or(Phase::Unknown, Phase::Done),
            Stage::Denied => Phase::Denied,
            Stage::Expired => Phase::Expired,
            Stage::Cancelled => Phase::Cancelled,
            Stage::Revoked => Phase::Revoked,
            Stage::Invalidated(code) => Phase::Invalidated(code),
            Stage::Unknown => Phase::Unknown,
        };
        RequestView {
            id: self.id.clone(),
            command_id: self.command_id.clone(),
            command: self.command.clone(),
            device: self.device.id.clone(),
            device_name: self.device.name_at_request.clone(),
            session: self.session.clone(),
            by: self.by.clone(),
            created: self.life.asked.timestamp(),
            expires: crate::model::Timestamp::from_millis(self.expires_ms),
            phase,
            match_code: digest::match_code(&self.digest),
            coalesced: false,
            disclosure: self.disclosure.clone(),
            ended: self.ended.as_ref().map(Moment::timestamp).or_else(|| expired.then(|| now.timestamp())),
        }
    }
}

/// The state as the log's fold, shared with the guard.
pub(super) struct Folded(pub(super) Arc<Mutex<State>>);

impl Folded {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

/// The state is only ever set as a whole step, so a thread that died while it held it left nothing half done.
pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Fold for Folded {
    fn reset(&mut self) {
        *self.state() = State::default();
    }

    fn restore(&mut self, snapshot: Option<&RawValue>, origin: &str) -> Result<(), String> {
        let mut state: State = match snapshot {
            Some(raw) => serde_json::from_str(raw.get()).map_err(|e| format!("snapshot: {e}"))?,
            None => State::default(),
        };
        if state.instance.is_empty() {
            state.instance = origin.get(..32).unwrap_or(origin).to_owned();
        }
        *self.state() = state;
        Ok(())
    }

    fn wants(&self, event: &str) -> bool {
        matches!(
            event,
            "request.created"
                | "request.coalesced"
                | "prompt.shown"
                | "vote.cast"
                | "request.denied"
                | "request.expired"
                | "request.cancelled"
                | "request.revoked"
                | "request.invalidated"
                | "exec.consumed"
                | "exec.started"
                | "exec.handed_over"
                | "exec.finished"
                | "exec.unknown"
                | "approver.enrolled"
                | "approver.removed"
                | "auth.failed"
                | "factor.locked"
                | "policy.loaded"
                | "policy.rejected"
                | "halt.engaged"
                | "halt.released"
                | "library.uploaded"
                | "library.changed"
                | "library.approved"
        )
    }

    fn apply(&mut self, line: &Line<'_>) -> Result<(), String> {
        let mut state = self.state();
        match &*line.event {
            "request.created" => state.created(line),
            "vote.cast" => state.vote(line),
            "approver.enrolled" => state.enrolled(line),
            "auth.failed" | "factor.locked" => state.factor(line),
            "halt.engaged" | "halt.released" => state.halt(line),
            "library.uploaded" | "library.changed" | "library.approved" => state.library(line),
            "policy.loaded" | "policy.rejected" => {
                state.policy = Some(line.detail::<PolicyNow>()?.label);
                Ok(())
            }
            "approver.removed" => {
                let told: Authorised = line.detail()?;
                if let Some(used) = &told.used {
                    state.use_up(used)?;
                }
                state.approvers.remove(&told.person);
                Ok(())
            }
            "request.coalesced" => {
                let joined: Joined = line.detail()?;
                let entry = state.entry_mut(line)?;
                if entry.joined.len() < JOINED && !entry.joined.contains(&joined.command_id) {
                    entry.joined.push(joined.command_id);
                }
                Ok(())
            }
            "exec.handed_over" => {
                let handed: Handed = line.detail()?;
                let entry = state.entry_mut(line)?;
                if entry.life.stage != Stage::Consuming || entry.handed.len() >= HANDED {
                    return Err("hands over what is not carried out".into());
                }
                entry.handed.push(handed);
                Ok(())
            }
            "prompt.shown" => {
                let shown: PromptShown = line.detail()?;
                let entry = state.entry_mut(line)?;
                if !entry.shown.contains(&shown.preview_sha256) {
                    entry.shown.push(shown.preview_sha256);
                    let spare = entry.shown.len().saturating_sub(SHOWN);
                    entry.shown.drain(..spare);
                }
                Ok(())
            }
            _ => state.life(line),
        }
    }

    fn snapshot(&mut self, now: &Moment) -> Result<Box<RawValue>> {
        let mut state = self.state();
        if state.instance.is_empty() {
            state.instance = crate::model::random_hex::<16>();
        }
        let mut carried = state.clone();
        drop(state);
        carried.requests.retain(|e| e.ended.as_ref().is_none_or(|ended| now.since_ms(ended) < KEPT_MS));
        for entry in carried.requests.iter_mut().filter(|e| e.ended.is_some()) {
            entry.plan = None;
        }
        let text = serde_json::to_string(&carried).map_err(|e| Error::new(ErrorCode::Internal, e.to_string()))?;
        plan::args(&crate::audit::escape(&text))
    }
}
