//! The guard: plan, digest, policy, votes, consume-once. It alone makes [`Approved`].
//!
//! Invariants: a leaf that calls neither session nor device. A transition is real when its record is on disk; the
//! state is folded from the log. `Approved` has no other maker than [`Guard::consume`], is neither cloned nor read
//! from anywhere, and is used up by running it.

mod approved;
mod digest;
mod execute;
mod factors;
mod ledger;
mod library;
mod people;
mod plan;
mod policy;
mod policy_file;
mod prompt;
mod request;
mod state;
mod step;
mod subject;
mod submit;
mod votes;

#[cfg(test)]
pub(crate) use approved::approved_for_test;
pub use approved::{Adopted, Approved, Order};
pub use execute::Execution;
pub use library::{ScriptBallot, ScriptPrompt, Shelved, TenantSync, Upload};
pub use people::{Enrolled, Enrolment};
pub use policy::{DISCLOSURE, Level, Tier};
pub use prompt::Prompt;
pub use request::{Admission, Asked, Intent, Phase, RequestView};
pub use votes::{Ballot, Voted};

use crate::audit::{Log, Moment};
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{CommandId, DeviceId, DeviceTraits, IsolationRules, RequestId, Sha256};
use crate::principal::{Principal, Role};
use ledger::unknown;
use policy::Policy;
use policy_file::Loaded;
use state::{Entry, Folded, State, lock};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use subject::Subject;

/// How long `requests` tells of one that has ended.
const LISTED_MS: u64 = 3600 * 1000;

/// The guard of one home. One to a log and a process; cheap to make, opens nothing.
pub struct Guard {
    log: Arc<Log>,
    state: Arc<Mutex<State>>,
    /// `guard/` of the home: enrolments and running marks.
    dir: PathBuf,
    policy: Option<PathBuf>,
    shared: bool,
    account: Principal,
    told_mode: AtomicBool,
    /// What the backends say of the devices that were opened.
    known: Mutex<HashMap<DeviceId, Arc<DeviceTraits>>>,
    /// When this process showed which rendering first. A rendering names what it is of.
    shown: Mutex<HashMap<Sha256, Moment>>,
}

/// Facts of a policy, for `policy check`.
#[derive(Clone, Debug, serde::Serialize)]
pub struct PolicyFacts {
    /// `builtin` or `file`.
    pub source: &'static str,
    pub file: Option<PathBuf>,
    pub sha256: Sha256,
    pub pending_ttl_s: u64,
    pub exec_window_s: u64,
    pub min_view_s: u64,
}

/// What a policy comes to for one command on one device.
#[derive(Clone, Debug)]
pub struct Ruling {
    pub group: String,
    pub tier: Tier,
    pub level: Level,
    pub votes: u32,
    /// The rules that match, by source and number; the strictest of each kind of demand counts.
    pub rules: Vec<String>,
}

impl Guard {
    /// Opens nothing. `log` follows this guard's state from now on.
    pub fn new(config: &Config, log: Arc<Log>) -> Guard {
        let state = Arc::new(Mutex::new(State::default()));
        log.attach(Box::new(Folded(state.clone())));
        Guard {
            log,
            state,
            dir: config.home.join("guard"),
            policy: config.policy.clone(),
            shared: config.allow_shared_account,
            account: Principal::own(),
            told_mode: AtomicBool::new(false),
            known: Mutex::default(),
            shown: Mutex::default(),
        }
    }

    /// The policy's facts, or why it does not load.
    pub fn policy(&self) -> Result<PolicyFacts> {
        let policy = self.policy_now()?;
        Ok(PolicyFacts {
            source: policy.source,
            file: self.policy.clone(),
            sha256: policy.sha256.clone(),
            pending_ttl_s: policy.defaults.pending_ttl_s,
            exec_window_s: policy.defaults.exec_window_s,
            min_view_s: policy.defaults.min_view_s,
        })
    }

    /// What the policy asks for one command on one device, and which rules say so; or the refusal that it comes to.
    pub fn explain(&self, command: &str, device: &DeviceId) -> Result<Ruling> {
        let traits = self.traits(device);
        let subject = Subject { id: device, traits: traits.as_deref() };
        let decision = self.policy_now()?.decide(command, subject, self.shared)?;
        Ok(Ruling {
            group: decision.group,
            tier: decision.tier,
            level: decision.level,
            votes: decision.votes,
            rules: decision.rule_ids,
        })
    }

    /// What the policy says of isolations; `E_POLICY_INVALID` where there is none that holds.
    pub fn isolation_rules(&self) -> Result<IsolationRules> {
        self.policy_now().map(|p| p.isolation.clone())
    }

    /// Whether values may be taken out of copies of registry hives, and put back.
    pub fn may_change_hives(&self) -> Result<()> {
        self.policy_now()?.may_change_hives()
    }

    fn policy_now(&self) -> Result<Arc<Policy>> {
        match policy_file::load(self.policy.as_ref()) {
            Loaded::Good(policy) => Ok(policy),
            Loaded::Bad { rejected, .. } => {
                let told = Error::new(ErrorCode::PolicyInvalid, rejected.error.message.clone());
                Err(told.hint(rejected.error.hint.clone().unwrap_or_default()))
            }
        }
    }

    /// What an account may on a device. A policy that does not load takes no role away: gated
    /// commands meet it later and say what is wrong with it.
    pub fn role(&self, by: &Principal, device: &DeviceId) -> Result<Role> {
        match self.policy_now() {
            Ok(policy) => {
                let traits = self.traits(device);
                policy.role(by, Subject { id: device, traits: traits.as_deref() })
            }
            Err(_) => Ok(Role::Advanced),
        }
    }

    /// A device's group and tier, where the policy knows it.
    pub fn place(&self, device: &DeviceId) -> (Option<String>, Option<String>) {
        let traits = self.traits(device);
        let subject = Subject { id: device, traits: traits.as_deref() };
        match self.policy_now().ok().as_ref().and_then(|p| p.place(subject)) {
            Some((group, tier)) => (Some(group.to_owned()), Some(tier.as_str().to_owned())),
            None => (None, None),
        }
    }

    /// Whether showing content of a device's files to the model asks a person first: the secret list everywhere, and
    /// everything on T1 and T0.
    pub fn must_ask(&self, device: &DeviceId, secret: Option<&str>) -> bool {
        if secret.is_some() {
            return true;
        }
        let traits = self.traits(device);
        let subject = Subject { id: device, traits: traits.as_deref() };
        match self.policy_now() {
            // What nobody has asked its backend of may be a server, whatever group its id has.
            Ok(policy) => policy.is_unmet(subject) || policy.place(subject).is_some_and(|(_, tier)| tier <= Tier::T1),
            Err(_) => true,
        }
    }

    /// Whether the policy goes by what a device's backend says of it, and this process has not asked there.
    pub fn is_unmet(&self, device: &DeviceId) -> bool {
        let traits = self.traits(device);
        let subject = Subject { id: device, traits: traits.as_deref() };
        self.policy_now().is_ok_and(|policy| policy.is_unmet(subject))
    }

    /// The account's own request; an unknown one and a foreign one are the same `E_SCOPE`.
    pub fn request(&self, id: &RequestId, by: &Principal) -> Result<RequestView> {
        self.current(|state, now| state.entry(id).filter(|e| e.by == *by).map(|e| e.view(now)))?
            .ok_or_else(|| unknown(id))
    }

    /// What a retry reads that brings a request's id: only with the very intent of that request. An unknown id and a
    /// foreign one are the same `E_STATE_FORGED`; other arguments are `E_DIGEST_MISMATCH`.
    pub fn retried(&self, id: &RequestId, by: &Principal, command: &str, args: &str) -> Result<RequestView> {
        let found = self.current(|state, now| {
            let own = state.entry(id).filter(|e| e.by == *by);
            own.map(|e| {
                (digest::intent(by, &e.device.id, command, args, e.directory.as_ref()) == e.intent, e.view(now))
            })
        })?;
        match found {
            Some((true, view)) => Ok(view),
            Some((false, _)) => Err(Error::new(ErrorCode::DigestMismatch, "the request was made with other arguments")
                .hint("call the tool without requestState to ask for something new")),
            None => Err(Error::new(ErrorCode::StateForged, "no request of yours has this state")
                .hint("call the tool without requestState")),
        }
    }

    /// The request that a call made or joined.
    pub fn by_command(&self, id: &CommandId, by: &Principal) -> Result<Option<RequestView>> {
        self.current(|state, now| {
            let own = |e: &&Entry| e.by == *by && (e.command_id == *id || e.joined.contains(id));
            state.requests.iter().rev().find(own).map(|e| {
                let coalesced = e.command_id != *id;
                RequestView { command_id: id.clone(), coalesced, ..e.view(now) }
            })
        })
    }

    /// Live requests and those that ended within the hour, oldest first; of one account or of all.
    pub fn requests(&self, by: Option<&Principal>) -> Result<Vec<RequestView>> {
        self.current(|state, now| {
            let recent = |e: &&Entry| {
                by.is_none_or(|by| e.by == *by) && e.ended.as_ref().is_none_or(|ended| now.since_ms(ended) < LISTED_MS)
            };
            state.requests.iter().filter(recent).map(|e| e.view(now)).collect()
        })
    }

    /// For the approver's side: requests of all accounts, pending first, then the newest.
    pub fn list(&self) -> Result<Vec<RequestView>> {
        let mut all = self.requests(None)?;
        all.reverse();
        all.sort_by_key(|r| !matches!(r.phase, Phase::Pending));
        Ok(all)
    }

    /// Whether a look at the state may have to read or write the log first. Cheap; never waits.
    pub fn changed(&self) -> bool {
        let stale = |now: &Moment| lock(&self.state).requests.iter().any(|e| self.is_stale(e, now));
        self.log.changed() || stale(&self.log.now())
    }

    /// Whether each look at the policy reads a file.
    pub fn has_policy_file(&self) -> bool {
        self.policy.is_some()
    }

    /// Looks at the state as it is now. What time or a dead executor has done meanwhile is put on record first.
    fn current<T>(&self, look: impl Fn(&State, &Moment) -> T) -> Result<T> {
        self.log.follow()?;
        let now = self.log.now();
        let stale = {
            let state = lock(&self.state);
            state.requests.iter().any(|e| self.is_stale(e, &now))
        };
        // A log that cannot be written leaves the view right: it says expired by itself.
        if stale && self.settle().is_ok() {
            return Ok(look(&lock(&self.state), &self.log.now()));
        }
        Ok(look(&lock(&self.state), &now))
    }

    fn is_stale(&self, entry: &Entry, now: &Moment) -> bool {
        entry.life.is_due(now) || (entry.is_lost(now) && !self.is_running(&entry.id))
    }
}

#[cfg(test)]
mod tests;
