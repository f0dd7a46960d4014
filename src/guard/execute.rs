//! From the last vote to the outcome: consumed once, carried out once, never sent again.
//!
//! Invariants: `exec.consumed` is on disk before an [`Approved`] exists, `exec.started` before the first effect. Who
//! carries it out holds a lock on `guard/running/<id>`: a lock that is free tells every process that it died.

use super::approved::{Adopted, Approved};
use super::ledger::{over, unknown};
use super::state::{Entry, Finished};
use super::step::{Event, Stage, step};
use super::{Guard, RequestView, digest, plan};
use crate::audit::Record;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{End, Handed, Outcome, ROLLED_BACK, RequestId};
use crate::private::{self, Locked};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The mark of an executor that lives. Dropped without [`Guard::finished`], the outcome is unknown for ever.
#[must_use = "an execution that is not finished has an unknown outcome"]
pub struct Execution {
    id: RequestId,
    path: PathBuf,
    /// Holds the lock while this lives.
    lock: Locked,
}

impl Execution {
    pub fn request(&self) -> &RequestId {
        &self.id
    }

    /// Takes the mark; `E_CONSUMED` where somebody holds it.
    fn mark(dir: &Path, id: &RequestId) -> Result<Self> {
        let running = dir.join("running");
        private::dir(&running)?;
        let path = running.join(id.as_str());
        loop {
            let lock = match Locked::exclusive(private::open_or_create(&path)?) {
                Ok(lock) => lock,
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(Error::new(ErrorCode::Consumed, format!("request {id} is being carried out"))
                        .hint("read its outcome with `status` or `fg`"));
                }
                Err(e) => return Err(Error::new(ErrorCode::StoreUnavailable, format!("{}: {e}", path.display()))),
            };
            // Whoever held it before may have taken the name away: a mark without a name marks nothing.
            if rustix::fs::fstat(&*lock).is_ok_and(|s| s.st_nlink > 0) {
                return Ok(Execution { id: id.clone(), path, lock });
            }
        }
    }

    /// Takes the mark away, while its lock is held.
    fn unmark(self) {
        let _ = private::remove(&stop_mark(&self.path));
        if let Err(e) = private::remove(&self.path) {
            tracing::warn!(code = %e.code, "a running mark stays behind");
        }
        drop(self.lock);
    }
}

#[derive(Serialize)]
struct RolledBack<'a> {
    why: &'a str,
    pid: u32,
}

#[derive(Serialize)]
struct Consumed<'a> {
    steps: usize,
    people: &'a [String],
    pid: u32,
}

impl Guard {
    /// Turns an approved request into the one [`Approved`] that there will ever be. Everything is checked again.
    pub fn consume(&self, id: &RequestId) -> Result<(Approved, Execution)> {
        let ready = self.current(|state, _| {
            let entry = state.entry(id).ok_or_else(|| unknown(id))?;
            if entry.life.stage == Stage::Approved { Ok(()) } else { Err(over(entry, entry.life.refusal())) }
        })?;
        ready?;
        let execution = Execution::mark(&self.dir, id)?;
        let approved = self.turn(|turn| {
            let state = turn.state;
            let entry = state.entry(id).ok_or_else(|| unknown(id))?;
            turn.look(entry)?;
            let (_, events) = step(&entry.life, Event::Consume, turn.now).map_err(|code| over(entry, code))?;
            turn.not_halted()?;
            let policy = turn.policy()?;
            let (plan, bytes) = entry.read_plan()?;
            let same = digest::plan(bytes) == entry.digest
                && (plan.v, plan.schema_version) == (plan::VERSION, plan::SCHEMA)
                && plan.instance == state.instance
                && plan.request_id == entry.id;
            if !same {
                return Err(turn.invalidate(entry, ErrorCode::DigestMismatch, "plan"));
            }
            // Its backend was asked again since: what it says of the device now decides.
            if let Some(now) = self.place_now(&policy, &entry.device.id)
                && now.as_ref().map(|(group, tier)| (group.as_str(), *tier))
                    != Some((entry.device.group.as_str(), entry.device.tier))
            {
                return Err(turn.invalidate(entry, ErrorCode::PolicyChanged, "tier"));
            }
            let entitled = |p: &&String| {
                state.approvers.contains_key(*p) && policy.is_entitled(p, &entry.device.group, entry.device.tier)
            };
            if (entry.yes.iter().filter(entitled).count() as u64) < u64::from(plan.required.votes) {
                return Err(turn.invalidate(entry, ErrorCode::ApproverNotEntitled, "entitlement"));
            }
            for event in events {
                let told = Consumed { steps: plan.steps.len(), people: &entry.yes, pid: std::process::id() };
                let record = turn.about(event, entry).channel("approvals").detail(&told);
                turn.put(record);
            }
            Ok(Approved::consumed(plan.request_id, plan.device.id, plan.steps, entry.yes.clone())
                .within(plan.exec_window_s))
        });
        match approved {
            Ok(approved) => Ok((approved, execution)),
            Err(e) => {
                execution.unmark();
                Err(e)
            }
        }
    }

    /// On record before the first effect.
    pub fn started(&self, execution: &Execution) -> Result<()> {
        self.execution(execution, Event::Start, |record| record)
    }

    /// Puts on record what a backend has taken, so that whoever asks next reads on there.
    pub fn handed_over(&self, id: &RequestId, handed: &Handed) -> Result<()> {
        self.turn(|turn| {
            let entry = turn.state.entry(id).ok_or_else(|| unknown(id))?;
            if entry.life.stage != Stage::Consuming {
                return Err(over(entry, entry.life.refusal()));
            }
            let record = turn.about("exec.handed_over", entry).detail(handed);
            turn.put(record);
            Ok(())
        })
    }

    /// Whether a backend goes on with a request that no process looks after now.
    pub fn is_left(&self, id: &RequestId) -> Result<bool> {
        let is_open = |entry: &Entry| entry.life.stage == Stage::Consuming && entry.outlives;
        Ok(self.current(|state, _| state.entry(id).is_some_and(is_open))? && !self.is_running(id))
    }

    /// Takes over a request whose executor died or left it to a backend; `None` where there is nothing to take over.
    /// Nothing of it can be begun by what this gives.
    pub fn adopt(&self, id: &RequestId) -> Result<Option<(Adopted, Execution)>> {
        let is_open = |entry: &Entry| entry.life.stage == Stage::Consuming && entry.outlives;
        if !self.current(|state, _| state.entry(id).is_some_and(is_open))? {
            return Ok(None);
        }
        let execution = match Execution::mark(&self.dir, id) {
            Err(e) if e.code == ErrorCode::Consumed => return Ok(None),
            other => other?,
        };
        // It may have ended before the mark was ours.
        let adopted = self.current(|state, now| {
            let entry = state.entry(id).filter(|e| is_open(e))?;
            let (plan, _) = entry.read_plan().ok()?;
            let window_ms = plan.exec_window_s.saturating_mul(1000);
            Some(Adopted {
                request: plan.request_id,
                device: plan.device.id,
                steps: plan.steps,
                handed: entry.handed.clone(),
                is_late: entry.life.granted.as_ref().is_none_or(|granted| now.since_ms(granted) >= window_ms),
            })
        })?;
        match adopted {
            Some(adopted) => Ok(Some((adopted, execution))),
            None => {
                execution.unmark();
                Ok(None)
            }
        }
    }

    /// Records what came of it. Where that cannot be written the outcome is unknown to others, and stays so.
    pub fn finished(&self, execution: Execution, outcome: &Outcome) -> Result<RequestView> {
        let (word, code) = word(&outcome.end);
        let told = Finished { outcome: word.into(), result: outcome.clone() };
        let rolled_back = outcome.rows.iter().find(|r| r.outcome == ROLLED_BACK);
        if let Some(row) = rolled_back {
            self.rolled_back(&execution.id, row.note.as_ref().map_or("", |n| n.raw()))?;
        }
        self.execution(&execution, Event::Finish, |record| {
            let record = record.detail(&told);
            match code {
                Some(code) => record.reason(code),
                None => record,
            }
        })?;
        let id = execution.id.clone();
        execution.unmark();
        self.view_of(&id)
    }

    /// Puts on record that an isolation was taken back without a `release`.
    pub fn rolled_back(&self, isolated_by: &RequestId, why: &str) -> Result<()> {
        let record = Record::new("isolation.rolled_back").request(isolated_by).by(&self.account);
        let record = record.detail(&RolledBack { why, pid: std::process::id() });
        self.log.transact(|_| Ok((vec![record], ())))
    }

    fn execution(
        &self,
        execution: &Execution,
        event: Event,
        tell: impl Fn(crate::audit::Record) -> crate::audit::Record,
    ) -> Result<()> {
        self.turn(|turn| {
            let state = turn.state;
            let entry: &Entry = state.entry(&execution.id).ok_or_else(|| unknown(&execution.id))?;
            let (_, events) = step(&entry.life, event, turn.now).map_err(|code| over(entry, code))?;
            for event in events {
                let record = tell(turn.about(event, entry));
                turn.put(record);
            }
            Ok(())
        })
    }

    /// Asks whoever carries a script out to stop it: what may end early ends, and its outcome tells what came of it.
    pub(super) fn ask_to_stop(&self, id: &RequestId) -> Result<()> {
        private::replace(&stop_mark(&self.dir.join("running").join(id.as_str())), b"")
    }

    /// Whether what is carried out should end early: its requester takes it back, or all changes are halted.
    pub fn is_to_stop(&self, id: &RequestId) -> Result<bool> {
        let mark = stop_mark(&self.dir.join("running").join(id.as_str()));
        Ok(private::open(&mark)?.is_some() || self.current(|state, _| state.halted.is_some())?)
    }

    /// Whether somebody carries the request out. In doubt yes: an outcome is called unknown only when that is sure.
    pub(super) fn is_running(&self, id: &RequestId) -> bool {
        match private::open(&self.dir.join("running").join(id.as_str())) {
            Ok(None) => false,
            Ok(Some(file)) => !Locked::is_free(file),
            Err(_) => true,
        }
    }
}

fn stop_mark(running: &Path) -> PathBuf {
    running.with_extension("stop")
}

fn word(end: &End) -> (&'static str, Option<ErrorCode>) {
    match end {
        End::Done => ("ok", None),
        End::Drift { .. } => ("refused_by_precondition", Some(ErrorCode::EntityDrift)),
        End::Failed { code, .. } if code == ErrorCode::MgmtChannel.as_str() => {
            ("refused_by_precondition", Some(ErrorCode::MgmtChannel))
        }
        End::Failed { code, .. } => ("failed", Some(ErrorCode::parse(code).unwrap_or(ErrorCode::Internal))),
        End::Unknown { .. } | End::GoesOn { .. } => ("unknown", Some(ErrorCode::OutcomeUnknown)),
    }
}
