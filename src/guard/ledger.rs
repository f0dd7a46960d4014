//! Turns: one look at the state alone among all processes, one decision, its records on disk.
//!
//! Invariant: what a turn decides is real only when its records are written; a refusal is put on record like a yes.

use super::Guard;
use super::policy::Policy;
use super::policy_file::{self, Loaded};
use super::state::{Entry, PolicyNow, State, lock};
use super::step::{Event, Stage, step};
use crate::audit::{Moment, Record};
use crate::error::{Error, ErrorCode, Result};
use crate::model::RequestId;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// One turn.
pub(super) struct Turn<'a> {
    pub(super) guard: &'a Guard,
    pub(super) state: &'a State,
    pub(super) now: &'a Moment,
    records: Vec<Record>,
    policy: Option<Loaded>,
}

#[derive(Serialize)]
struct Mode {
    mode: &'static str,
    allow_shared_account: bool,
    policy: Option<String>,
}

#[derive(Serialize)]
struct Why<'a> {
    why: &'a str,
    stage: Stage,
}

impl Guard {
    /// Runs `decide` alone among all processes. Its records are written and fsynced whether it says yes or no.
    pub(super) fn turn<T>(&self, decide: impl FnOnce(&mut Turn<'_>) -> Result<T>) -> Result<T> {
        self.log.transact(|now| {
            let state = lock(&self.state);
            let mut turn = Turn { guard: self, state: &state, now, records: Vec::new(), policy: None };
            let decided = decide(&mut turn);
            let mut records = turn.records;
            if !records.is_empty() && !self.told_mode.swap(true, Relaxed) {
                records.insert(0, self.mode());
            }
            Ok((records, decided))
        })?
    }

    fn mode(&self) -> Record {
        Record::new("startup.mode").by(&self.account).detail(&Mode {
            mode: "embedded",
            allow_shared_account: self.shared,
            policy: self.policy.as_ref().map(|p| p.display().to_string()),
        })
    }

    /// Puts on record what time, a change of policy or a dead executor has done to requests.
    pub(super) fn settle(&self) -> Result<()> {
        self.turn(|turn| {
            turn.policy_on_record();
            let state = turn.state;
            for entry in &state.requests {
                // What is wrong with a request is its own refusal, not this turn's.
                let _ = turn.look(entry);
            }
            Ok(())
        })
    }
}

impl Turn<'_> {
    pub(super) fn put(&mut self, record: Record) {
        self.records.push(record);
    }

    /// A record about a request.
    pub(super) fn about(&self, event: &'static str, entry: &Entry) -> Record {
        Record::new(event).request(&entry.id).digest(&entry.digest).policy(&entry.policy).by(&self.guard.account)
    }

    fn loaded(&mut self) -> Loaded {
        self.policy.get_or_insert_with(|| policy_file::load(self.guard.policy.as_ref())).clone()
    }

    /// The policy as it is now, put on record where it is another one than before.
    fn policy_on_record(&mut self) -> Loaded {
        let loaded = self.loaded();
        let label = loaded.label();
        let told = self.records.iter().any(|r| matches!(r.event, "policy.loaded" | "policy.rejected"));
        if self.state.policy.as_deref() == Some(&label) || told {
            return loaded;
        }
        let record = match &loaded {
            Loaded::Good(policy) => Record::new("policy.loaded").policy(&policy.sha256).detail(&PolicyNow {
                label,
                source: Some(policy.source.into()),
                why: None,
            }),
            Loaded::Bad { rejected, sha256 } => {
                let record = Record::new("policy.rejected").reason(ErrorCode::PolicyInvalid);
                let record = record.detail(&PolicyNow { label, source: None, why: Some(rejected.why.into()) });
                match sha256 {
                    Some(sha256) => record.policy(sha256),
                    None => record,
                }
            }
        };
        let record = record.by(&self.guard.account);
        self.put(record);
        loaded
    }

    /// The policy that decides; `E_POLICY_INVALID` where there is none that holds.
    pub(super) fn policy(&mut self) -> Result<Arc<Policy>> {
        match self.policy_on_record() {
            Loaded::Good(policy) => Ok(policy),
            Loaded::Bad { rejected, .. } => Err(restate(&rejected.error)),
        }
    }

    /// What has become of a request by itself; `Err` where that ends it.
    pub(super) fn look(&mut self, entry: &Entry) -> Result<()> {
        if entry.is_lost(self.now) && !self.guard.is_running(&entry.id) {
            let record = self.about("exec.unknown", entry).reason(ErrorCode::OutcomeUnknown);
            self.put(record);
            return Err(unknown_outcome(&entry.id));
        }
        if !entry.life.is_live() {
            return Ok(());
        }
        if let Ok((_, events)) = step(&entry.life, Event::Tick, self.now)
            && let Some(event) = events.first()
        {
            let record = self.about(event, entry).reason(ErrorCode::Expired);
            self.put(record.detail(&Why { why: "time", stage: entry.life.stage }));
            return Err(over(entry, ErrorCode::Expired));
        }
        let same = matches!(self.policy_on_record(), Loaded::Good(p) if p.sha256 == entry.policy);
        if !same {
            return Err(self.invalidate(entry, ErrorCode::PolicyChanged, "policy"));
        }
        match super::library::is_drifted(self.state, entry) {
            true => Err(self.invalidate(entry, ErrorCode::ScriptDrift, "script_hash")),
            false => Ok(()),
        }
    }

    pub(super) fn invalidate(&mut self, entry: &Entry, code: ErrorCode, why: &str) -> Error {
        if step(&entry.life, Event::Invalidate(code), self.now).is_ok() {
            let record = self.about("request.invalidated", entry).reason(code);
            self.put(record.detail(&Why { why, stage: entry.life.stage }));
        }
        over(entry, code)
    }

    pub(super) fn not_halted(&self) -> Result<()> {
        match &self.state.halted {
            None => Ok(()),
            Some(halted) => Err(halt_refusal(&halted.by)),
        }
    }
}

pub(super) fn halt_refusal(by: &str) -> Error {
    Error::new(ErrorCode::Halted, format!("changes are halted by {by}"))
        .hint("only an enrolled person lifts the halt; reads go on")
}

/// The same for an unknown request and for a foreign one.
pub(super) fn unknown(id: &RequestId) -> Error {
    Error::new(ErrorCode::Scope, format!("there is no request {id} of yours"))
        .hint("`jobs` lists your requests, `live-response approvals list` all of them")
}

pub(super) fn unknown_outcome(id: &RequestId) -> Error {
    Error::new(ErrorCode::OutcomeUnknown, format!("request {id} was being carried out when its process died"))
        .hint("look at the device what was done; it is never sent again, ask anew where it is still wanted")
}

/// Why nothing more can be done to a request.
pub(super) fn over(entry: &Entry, code: ErrorCode) -> Error {
    let id = &entry.id;
    let (what, hint) = match code {
        ErrorCode::Expired => ("has expired", "ask anew"),
        ErrorCode::Consumed => ("was approved already", "read its outcome with `status` or `fg`"),
        ErrorCode::Denied => ("was refused by a person", "a person's no is final; asking again has a cool-down"),
        ErrorCode::Cancelled => ("was cancelled", "ask anew"),
        ErrorCode::Revoked => ("was revoked by a halt", "ask anew once the halt is lifted"),
        ErrorCode::PolicyChanged => ("was asked under another policy", "ask anew: the policy in force decides"),
        ErrorCode::ScriptDrift => ("is for a library file that was changed since", "look at `library`, and ask anew"),
        ErrorCode::SessionMismatch => ("belongs to a session that was disconnected", "connect and ask anew"),
        ErrorCode::OutcomeUnknown => return unknown_outcome(id),
        ErrorCode::QuorumIncomplete => ("has not enough votes", "it takes another person's yes"),
        ErrorCode::ApproverNotEntitled => ("was approved by someone who may not any more", "ask anew"),
        _ => ("is void", "ask anew"),
    };
    Error::new(code, format!("request {id} {what}")).hint(hint)
}

/// An error that is told more than once.
fn restate(error: &Error) -> Error {
    let again = Error::new(error.code, error.message.clone());
    match &error.hint {
        Some(hint) => again.hint(hint.clone()),
        None => again,
    }
}
