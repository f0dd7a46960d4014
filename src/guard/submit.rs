//! A request's way in: admitted before it is resolved, submitted when it is; and its ways out by its own requester.

use super::ledger::{Turn, halt_refusal};
use super::plan::{self, Place, Plan, Requester, Required};
use super::policy::{Limits, Policy};
use super::state::{Created, Entry, Joined, State};
use super::step::{Event, Stage, step};
use super::subject::Subject;
use super::{Admission, Asked, Guard, Intent, RequestView, digest};
use crate::audit::{Moment, Record};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{RequestId, SessionId, Sha256, Step, Timestamp, random_hex};
use crate::principal::{Principal, Transport};
use crate::shape::clean;
use serde::Serialize;
use serde_json::value::RawValue;

const HOUR_MS: u64 = 3600 * 1000;
/// Of a name that was sent, this much goes on record.
const NAME_CHARS: usize = 64;
const REASON_CHARS: usize = 200;

#[derive(Serialize)]
struct Refused<'a> {
    command: String,
    command_id: Option<&'a str>,
    device: Option<String>,
    session: Option<String>,
    unknown_keys: Vec<String>,
    count: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Count {
    count: usize,
}

#[derive(Serialize)]
struct Breaker {
    breaker: &'static str,
    device: String,
    limit: u64,
}

/// What came from the requester's side, where nobody knows whether a person did it.
#[derive(Serialize)]
struct ClientSaid {
    action: &'static str,
    human: &'static str,
}

#[derive(Serialize)]
struct Ended<'a> {
    why: &'a str,
}

impl Guard {
    /// Before the device is asked to resolve anything: halt, channel, an equal pending intent, limits.
    pub fn admit(&self, intent: &Intent) -> Result<Admission> {
        let hash = digest::intent(&intent.by, &intent.device, intent.command, &intent.args, intent.directory.as_ref());
        let limits = self.policy_now().map(|p| p.limits).unwrap_or_default();
        let found = self.current(|state, now| {
            check_channel(state)?;
            if let Some(entry) = equal(state, &hash, now) {
                return Ok(Some(entry.clone()));
            }
            check_limits(state, intent, &hash, &limits, now).map(|()| None)
        })??;
        let Some(entry) = found else { return Ok(Admission::Go) };
        // Not fsynced: a call that is forgotten can be asked for by its request.
        self.log.note(joined(&entry, intent))?;
        Ok(Admission::Pending(joined_view(&entry, intent, &self.log.now())))
    }

    /// Makes the plan of what was resolved, decides by policy, and puts it on record: durable when this returns.
    pub fn submit(&self, intent: Intent, steps: Vec<Step>) -> Result<RequestView> {
        if steps.is_empty() {
            return Err(Error::new(
                ErrorCode::Uninspectable,
                format!("{} resolves to nothing that can be shown", intent.command),
            )
            .hint("name entities that the device can describe"));
        }
        let hash = digest::intent(&intent.by, &intent.device, intent.command, &intent.args, intent.directory.as_ref());
        let steps_hash = digest::steps(&intent.device, &steps);
        let id = RequestId::mint();
        let joined = self.turn(|turn| {
            check_channel(turn.state)?;
            if let Some(entry) = equal(turn.state, &hash, turn.now).cloned() {
                turn.put(joined(&entry, &intent));
                return Ok(Some(joined_view(&entry, &intent, turn.now)));
            }
            let policy = turn.policy();
            let limits = policy.as_ref().map(|p| p.limits).unwrap_or_default();
            check_limits(turn.state, &intent, &hash, &limits, turn.now)?;
            check_cooldown(turn.state, |e| e.steps == steps_hash, &limits, turn.now)?;
            check_budget(turn, &intent, &limits)?;
            for step in &steps {
                super::library::check_step(turn.state, policy.as_deref().ok(), step)?;
            }
            if steps.iter().any(|step| matches!(step, Step::CutValue { .. } | Step::PutValue { .. })) {
                policy.as_deref().map_or(Ok(()), Policy::may_change_hives)?;
            }
            let created = create(turn, &*policy?, &intent, steps, (&id, &hash, &steps_hash))?;
            turn.put(created);
            Ok(None)
        })?;
        match joined {
            Some(view) => Ok(view),
            None => self.request(&id, &intent.by),
        }
    }

    /// Puts on record that something was turned away. Never fails the caller: what cannot be written is counted.
    pub fn refused(&self, asked: Asked<'_>, error: &Error) {
        let guarded = matches!(error.code, ErrorCode::Cooldown | ErrorCode::RateLimited | ErrorCode::DigestMismatch);
        let detail = Refused {
            command: short(asked.command),
            command_id: asked.command_id.map(|c| c.as_str()),
            device: asked.device.map(|d| short(d.as_str())),
            session: asked.session.map(|s| short(s.as_str())),
            unknown_keys: asked.unknown_keys.iter().take(20).map(|k| short(k)).collect(),
            count: error.detail.as_deref().filter(|d| guarded && d.get().len() <= 1024),
        };
        let record = Record::new("request.refused")
            .by(asked.by)
            .channel(channel(asked.transport))
            .reason(error.code)
            .detail(&detail);
        if let Err(e) = self.log.note(record) {
            tracing::warn!(code = %e.code, "a refusal could not be put on record");
        }
    }

    /// The requester takes its own request back. A script that runs is asked to stop: its outcome tells the rest.
    pub fn cancel(&self, id: &RequestId, by: &Principal) -> Result<RequestView> {
        self.turn(|turn| {
            let entry = turn.state.entry(id).filter(|e| e.by == *by).ok_or_else(|| super::ledger::unknown(id))?;
            turn.look(entry)?;
            if entry.life.stage == Stage::Consuming && entry.script.is_some() {
                let told = ClientSaid { action: "cancel", human: "unknown" };
                let record = turn.about("client.response", entry).by(by).detail(&told);
                turn.put(record);
                return self.ask_to_stop(id);
            }
            cancel(turn, entry, by, "requester")
        })?;
        self.request(id, by)
    }

    /// Cancels what a session asked for and is not carried out yet; how many.
    pub fn end_session(&self, session: &SessionId, by: &Principal) -> Result<usize> {
        let own = |e: &&Entry| e.by == *by && e.session.as_ref() == Some(session) && e.life.is_live();
        if !self.current(|state, _| state.requests.iter().any(|e| own(&e)))? {
            return Ok(0);
        }
        self.turn(|turn| {
            let mut ended = 0;
            let state = turn.state;
            for entry in state.requests.iter().filter(own) {
                if turn.look(entry).is_ok() {
                    cancel(turn, entry, by, "session")?;
                    ended += 1;
                }
            }
            Ok(ended)
        })
    }
}

fn cancel(turn: &mut Turn<'_>, entry: &Entry, by: &Principal, why: &str) -> Result<()> {
    step(&entry.life, Event::Cancel, turn.now).map_err(|code| super::ledger::over(entry, code))?;
    let record = turn.about("request.cancelled", entry).by(by).detail(&Ended { why });
    turn.put(record);
    Ok(())
}

/// Halt first, then whether anybody could say yes.
fn check_channel(state: &State) -> Result<()> {
    if let Some(halted) = &state.halted {
        return Err(halt_refusal(&halted.by));
    }
    if state.approvers.is_empty() {
        return Err(Error::new(ErrorCode::NoHumanChannel, "nobody is enrolled who could approve this")
            .hint("a person enrols in a terminal: `live-response approver enroll NAME`"));
    }
    Ok(())
}

/// An equal intent that waits for a person.
fn equal<'a>(state: &'a State, hash: &Sha256, now: &Moment) -> Option<&'a Entry> {
    state.requests.iter().rev().find(|e| e.intent == *hash && e.life.stage == Stage::Pending && e.is_pending(now))
}

fn check_limits(state: &State, intent: &Intent, hash: &Sha256, limits: &Limits, now: &Moment) -> Result<()> {
    check_cooldown(state, |e| e.intent == *hash, limits, now)?;
    let pending = state.requests.iter().filter(|e| e.by == intent.by && e.is_pending(now)).count();
    if pending as u64 >= limits.pending_per_requester {
        return Err(Error::new(
            ErrorCode::RateLimited,
            format!("{pending} requests of {} wait for a person", intent.by),
        )
        .hint("wait for their decision (`jobs`, `fg`), or `cancel` one")
        .detail(&Count { count: pending }));
    }
    // What people say yes to has its own budget by device; these are the prompts that only tire them.
    let tiring = |e: &&Entry| e.life.granted.is_none() && now.since_ms(&e.life.asked) < HOUR_MS;
    let prompts = state.requests.iter().filter(tiring).count();
    if prompts as u64 >= limits.prompts_per_approver_hour.saturating_mul(state.approvers.len() as u64) {
        return Err(Error::new(
            ErrorCode::RateLimited,
            format!("{prompts} requests of the last hour were not approved: people are not asked more often"),
        )
        .hint("wait, and ask for less; several entities of one type fit into one plan (`ids`)")
        .detail(&Count { count: prompts }));
    }
    Ok(())
}

fn check_cooldown(state: &State, same: impl Fn(&Entry) -> bool, limits: &Limits, now: &Moment) -> Result<()> {
    let denied = || state.requests.iter().filter(|e| e.life.stage == Stage::Denied && same(e));
    let cooldown = limits.cooldown_after_no_s.saturating_mul(1000);
    let left = denied().filter_map(|e| cooldown.checked_sub(now.surely_since_ms(e.ended.as_ref()?))).max();
    match left.filter(|ms| *ms > 0) {
        None => Ok(()),
        Some(ms) => {
            let count = denied().count();
            Err(Error::new(ErrorCode::Cooldown, format!("a person refused this {count} time(s)"))
                .hint(format!("respect the no; it can be asked again in {} s", ms.div_ceil(1000)))
                .detail(&Count { count }))
        }
    }
}

/// What a device takes of one kind of change within an hour, approved or pending.
fn check_budget(turn: &mut Turn<'_>, intent: &Intent, limits: &Limits) -> Result<()> {
    let (breaker, limit, what) = match intent.command {
        "remediate" => ("removals_per_device_hour", limits.removals_per_device_hour, "removals were"),
        "isolate" => ("isolations_per_hour", limits.isolations_per_hour, "isolations were"),
        _ => return Ok(()),
    };
    let now = turn.now;
    let counts = |e: &&Entry| {
        e.command == intent.command
            && e.device.id == intent.device
            && now.since_ms(&e.life.asked) < HOUR_MS
            && (e.life.granted.is_some() || e.is_pending(now))
    };
    let plans = turn.state.requests.iter().filter(counts).count();
    if (plans as u64) < limit {
        return Ok(());
    }
    let record = Record::new("breaker.tripped").by(&intent.by).channel(channel(intent.transport));
    let told = Breaker { breaker, device: short(intent.device.as_str()), limit };
    turn.put(record.reason(ErrorCode::RateLimited).detail(&told));
    Err(Error::new(ErrorCode::RateLimited, format!("{plans} {what} asked for on {} within the hour", intent.device))
        .hint("put what is left into one plan (`ids`) where there are several entities, or wait")
        .detail(&Count { count: plans }))
}

/// The plan and its record.
fn create(
    turn: &Turn<'_>,
    policy: &Policy,
    intent: &Intent,
    steps: Vec<Step>,
    (id, intent_hash, steps_hash): (&RequestId, &Sha256, &Sha256),
) -> Result<Record> {
    let traits = turn.guard.traits(&intent.device);
    let subject = Subject { id: &intent.device, traits: traits.as_deref() };
    let decision = policy.decide(intent.command, subject, turn.guard.shared)?;
    let entitled =
        turn.state.approvers.keys().filter(|p| policy.is_entitled(p, &decision.group, decision.tier)).count();
    if (entitled as u64) < u64::from(decision.votes) {
        let need = format!(
            "{} needs {} people's yes, {entitled} are enrolled who may give it",
            intent.command, decision.votes
        );
        return Err(Error::new(ErrorCode::NoHumanChannel, need).hint("`live-response approver enroll NAME` enrols one"));
    }
    let isolation = plan::isolated(&steps)?;
    let created = turn.now.timestamp();
    let ttl = policy.defaults.pending_ttl_s;
    let plan = Plan {
        v: plan::VERSION,
        request_id: id.clone(),
        nonce: random_hex::<16>(),
        instance: turn.state.instance.clone(),
        epoch: 1,
        requester: Requester { transport: intent.transport, principal: intent.by.clone() },
        command_id: intent.command_id.clone(),
        session: intent.session.clone(),
        device: Place {
            id: intent.device.clone(),
            group: decision.group,
            tier: decision.tier,
            name_at_request: intent.device_name.clone(),
        },
        command: intent.command.to_owned(),
        schema_version: plan::SCHEMA,
        args: plan::args(&intent.args)?,
        entities: steps.iter().map(plan::entity).collect(),
        script: steps.iter().find_map(Step::item).cloned(),
        steps,
        isolation,
        policy_sha256: policy.sha256.clone(),
        rule_ids: decision.rule_ids,
        required: Required { level: decision.level, votes: decision.votes, groups: Vec::new() },
        created_at: created,
        expires_at: expires(created, ttl),
        ttl_s: ttl,
        exec_window_s: policy.defaults.exec_window_s,
    };
    let bytes = plan.write()?;
    let raw = plan::args(&bytes)?;
    Ok(Record::new("request.created")
        .request(id)
        .digest(&digest::plan(&bytes))
        .policy(&policy.sha256)
        .by(&intent.by)
        .channel(channel(intent.transport))
        .level(decision.level.as_str())
        .detail(&Created {
            intent_sha256: intent_hash.clone(),
            directory: intent.directory.clone(),
            steps_sha256: steps_hash.clone(),
            args_sha256: Sha256::of(intent.args.as_bytes()),
            plan_steps: plan.steps.len(),
            reason: intent.reason.as_deref().map(|r| cut(&clean(r), REASON_CHARS)),
            claimed: intent.claimed.as_deref().map(short),
            plan: &raw,
        }))
}

fn expires(created: Timestamp, ttl_s: u64) -> Timestamp {
    created.plus_secs(i64::try_from(ttl_s).unwrap_or(0))
}

fn joined(entry: &Entry, intent: &Intent) -> Record {
    Record::new("request.coalesced")
        .request(&entry.id)
        .digest(&entry.digest)
        .by(&intent.by)
        .channel(channel(intent.transport))
        .detail(&Joined { command_id: intent.command_id.clone() })
}

fn joined_view(entry: &Entry, intent: &Intent, now: &Moment) -> RequestView {
    RequestView { command_id: intent.command_id.clone(), coalesced: true, ..entry.view(now) }
}

pub(super) fn channel(transport: Transport) -> &'static str {
    match transport {
        Transport::Mcp => "mcp",
        Transport::Rpc => "rpc",
        Transport::Console => "console",
        Transport::Call => "call",
    }
}

/// Foreign text for the record: visible and short.
pub(super) fn short(text: &str) -> String {
    cut(&clean(&cut(text, NAME_CHARS)), 2 * NAME_CHARS)
}

pub(super) fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
