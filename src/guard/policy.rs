//! What needs whom: built in, or a strict TOML file above a floor that is compiled in.
//!
//! Invariants: what no rule names is refused; the strictest rule that matches wins; a file that is broken, below the
//! floor or not safely owned refuses gated commands instead of falling back to the built-in policy.

use super::subject::Subject;
use crate::config::parse_toml;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{IsolationRules, Peer, Sha256};
use crate::nearest::nearest;
use crate::principal::{Principal, Role};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The device that this host is.
pub(super) const LOCAL: &str = "local";
/// The group that it is in where a policy says nothing else.
pub(super) const THIS_HOST: &str = "this-host";

/// Commands that the floor holds for. A disclosure is gated too, with its own floor.
const FLOOR: &[&str] = &[
    "run",
    "remediate",
    "isolate",
    "release",
    "undo",
    "putfile",
    "collect",
    "library",
    "library delete",
    "scan",
    "indicator",
];
/// The command that every disclosure is a rule's business as, whichever tool found what is secret.
pub const DISCLOSURE: &str = "evidence";
/// Addresses that one list of `[isolation]` names at most: a person must be able to look through them.
const MAX_PEERS: usize = 64;

/// Assurance of a vote, least first. `L`: the factor of an enrolled person, in a process of the same account.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Level {
    L,
    A2,
    A3,
    A4,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Level::L => "L",
            Level::A2 => "A2",
            Level::A3 => "A3",
            Level::A4 => "A4",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Level::L, Level::A2, Level::A3, Level::A4].into_iter().find(|l| l.as_str() == text)
    }
}

/// How much hangs on a device, most first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Tier {
    T0,
    T1,
    T2,
    T3,
}

impl Tier {
    pub const fn as_str(self) -> &'static str {
        match self {
            Tier::T0 => "T0",
            Tier::T1 => "T1",
            Tier::T2 => "T2",
            Tier::T3 => "T3",
        }
    }
}

/// What a policy asks for one call.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) group: String,
    pub(super) tier: Tier,
    pub(super) level: Level,
    pub(super) votes: u32,
    pub(super) rule_ids: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) sha256: Sha256,
    pub(super) source: &'static str,
    pub(super) defaults: Defaults,
    pub(super) limits: Limits,
    pub(super) isolation: IsolationRules,
    groups: Vec<Group>,
    principals: Vec<Person>,
    approvers: Vec<Approver>,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Defaults {
    pub(super) pending_ttl_s: u64,
    pub(super) exec_window_s: u64,
    pub(super) min_view_s: u64,
    /// Whether library files that some system would run may be used without a trusted signature.
    pub(super) allow_unsigned_scripts: bool,
    /// Whether values may be taken out of copies of registry hives.
    pub(super) change_hive_copies: bool,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            pending_ttl_s: 600,
            exec_window_s: 120,
            min_view_s: 2,
            allow_unsigned_scripts: false,
            change_hive_copies: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) pending_per_requester: u64,
    pub(super) prompts_per_approver_hour: u64,
    pub(super) cooldown_after_no_s: u64,
    pub(super) isolations_per_hour: u64,
    pub(super) removals_per_device_hour: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            pending_per_requester: 3,
            prompts_per_approver_hour: 12,
            cooldown_after_no_s: 600,
            isolations_per_hour: 5,
            removals_per_device_hour: 20,
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    tier: Tier,
    #[serde(default)]
    devices: Vec<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    uid: Option<u32>,
    token_sha256: Option<Sha256>,
    roles: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Approver {
    name: String,
    #[serde(default)]
    #[expect(dead_code, reason = "who speaks on the approver's socket; embedded mode has none")]
    uid: Option<u32>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    tier0: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    commands: Vec<String>,
    groups: Vec<String>,
    level: String,
    votes: u32,
    #[serde(default)]
    separate_display: bool,
    #[serde(default = "yes")]
    driver_may_vote: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    isolation: IsolationRules,
    #[serde(default, rename = "group")]
    groups: Vec<Group>,
    #[serde(default, rename = "principal")]
    principals: Vec<Person>,
    #[serde(default, rename = "approver")]
    approvers: Vec<Approver>,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

const ROLES: &[&str] = &[
    "viewer",
    "responder-basic",
    "responder-advanced",
    "library-author",
    "library-approver",
    "approver",
    "tier0-approver",
    "auditor",
    "guard-admin",
];

/// Why a policy does not load: a word for the record, and the error.
#[derive(Debug)]
pub(super) struct Rejected {
    pub(super) why: &'static str,
    pub(super) error: Error,
}

pub(super) fn rejected(why: &'static str, file: &Path, what: impl std::fmt::Display) -> Rejected {
    let error = Error::new(ErrorCode::PolicyInvalid, format!("policy {}: {what}", file.display()))
        .hint("mend it (`live-response policy check` explains); gated commands are refused until then");
    Rejected { why, error }
}

impl Policy {
    /// The policy of embedded mode without a file: this host, one enrolled person's factor.
    pub(super) fn builtin() -> Self {
        let text = "lr-guard/policy/builtin/v1: local is this-host, T2; every gated command: level L, one vote";
        let rule = Rule {
            commands: FLOOR.iter().chain(&[DISCLOSURE]).map(|c| (*c).to_owned()).collect(),
            groups: vec![THIS_HOST.into()],
            level: "L".into(),
            votes: 1,
            separate_display: false,
            driver_may_vote: true,
        };
        Policy {
            sha256: Sha256::of(text.as_bytes()),
            source: "builtin",
            defaults: Defaults::default(),
            limits: Limits::default(),
            isolation: IsolationRules::default(),
            groups: vec![this_host()],
            principals: Vec::new(),
            approvers: Vec::new(),
            rules: vec![rule],
        }
    }

    /// A policy from a file's bytes.
    pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Self, Rejected> {
        let text = std::str::from_utf8(bytes).map_err(|e| rejected("syntax", file, e))?;
        let written: Written = parse_toml(file, text).map_err(|mut error| {
            let why = if error.message.contains("unknown key") { "unknown_key" } else { "syntax" };
            error.code = ErrorCode::PolicyInvalid;
            Rejected { why, error }
        })?;
        if written.version != 1 {
            return Err(rejected("version", file, format!("version {} is not known, only 1", written.version)));
        }
        let mut groups = written.groups;
        if !groups.iter().any(|g| g.name == THIS_HOST || g.devices.iter().any(|d| d == LOCAL)) {
            groups.push(this_host());
        }
        let policy = Policy {
            sha256: Sha256::of(bytes),
            source: "file",
            defaults: written.defaults,
            limits: written.limits,
            isolation: written.isolation,
            groups,
            principals: written.principals,
            approvers: written.approvers,
            rules: written.rules,
        };
        policy.check(file)?;
        Ok(policy)
    }

    fn check(&self, file: &Path) -> Result<(), Rejected> {
        self.check_bounds(file)?;
        self.check_isolation(file)?;
        let names: Vec<&str> = self.groups.iter().map(|g| g.name.as_str()).collect();
        let known_groups = |used: &[String]| match used.iter().find(|g| !names.contains(&g.as_str())) {
            None => Ok(()),
            Some(unknown) => Err(unknown_name(file, "group", unknown, &names)),
        };
        for (i, name) in names.iter().enumerate() {
            if names.iter().skip(i + 1).any(|other| other == name) {
                return Err(rejected("duplicate", file, format!("group {name:?} is written twice")));
            }
        }
        for person in &self.principals {
            known_groups(&person.groups)?;
            if person.uid.is_some() == person.token_sha256.is_some() {
                return Err(rejected("principal", file, format!("{:?} needs a uid or a token_sha256", person.name)));
            }
            if let Some(unknown) = person.roles.iter().find(|r| !ROLES.contains(&r.as_str())) {
                return Err(unknown_name(file, "role", unknown, ROLES));
            }
        }
        for approver in &self.approvers {
            known_groups(&approver.groups)?;
        }
        for (i, rule) in self.rules.iter().enumerate() {
            known_groups(&rule.groups)?;
            self.check_rule(file, i + 1, rule)?;
        }
        Ok(())
    }

    fn check_bounds(&self, file: &Path) -> Result<(), Rejected> {
        let (d, l, i) = (&self.defaults, &self.limits, &self.isolation);
        let bounds = [
            ("pending_ttl_s", d.pending_ttl_s, 86_400),
            ("exec_window_s", d.exec_window_s, 3_600),
            ("min_view_s", d.min_view_s, 300),
            ("pending_per_requester", l.pending_per_requester, 1_000),
            ("prompts_per_approver_hour", l.prompts_per_approver_hour, 10_000),
            ("cooldown_after_no_s", l.cooldown_after_no_s, 86_400),
            ("isolations_per_hour", l.isolations_per_hour, 10_000),
            ("removals_per_device_hour", l.removals_per_device_hour, 10_000),
            ("lease_s", i.lease_s, 30 * 86_400),
            ("commit_s", i.commit_s, 300),
        ];
        match bounds.iter().find(|(_, value, max)| !(1..=*max).contains(value)) {
            None => Ok(()),
            Some((name, value, max)) => Err(rejected("bounds", file, format!("{name} = {value}: give 1 to {max}"))),
        }
    }

    fn check_isolation(&self, file: &Path) -> Result<(), Rejected> {
        let rules = &self.isolation;
        let wrong = |what: String| Err(rejected("isolation", file, format!("[isolation] {what}")));
        if rules.lease_s <= rules.commit_s {
            return wrong(format!("lease_s = {} is no longer than commit_s = {}", rules.lease_s, rules.commit_s));
        }
        let everywhere = |p: &&Peer| p.network.is_none();
        if let Some(peer) = rules.allow.iter().find(everywhere) {
            return wrong(format!("allow: {peer} is any address; a port alone belongs into selective_allow"));
        }
        match [&rules.allow, &rules.selective_allow].iter().find(|list| list.len() > MAX_PEERS) {
            Some(list) => wrong(format!("a list of {} addresses is longer than {MAX_PEERS}", list.len())),
            None => Ok(()),
        }
    }

    /// The floor: no rule makes a gated command cheaper than a person's factor.
    fn check_rule(&self, file: &Path, number: usize, rule: &Rule) -> Result<(), Rejected> {
        let below = |what: String| Err(rejected("below_floor", file, format!("rule {number}: {what}")));
        let known: Vec<&str> = FLOOR.iter().copied().chain([DISCLOSURE]).collect();
        if let Some(unknown) = rule.commands.iter().find(|c| !known.contains(&c.as_str())) {
            return Err(unknown_name(file, "gated command", unknown, &known));
        }
        let Some(level) = Level::parse(&rule.level) else {
            return below(format!("level {:?} is no approval by a person; levels are L, A2, A3, A4", rule.level));
        };
        if rule.votes == 0 {
            return below("votes = 0 asks nobody".into());
        }
        for group in self.groups.iter().filter(|g| rule.groups.contains(&g.name)) {
            let holds = match level {
                Level::L => group.tier >= Tier::T2,
                Level::A2 => group.tier == Tier::T3 || rule.commands.iter().all(|c| c == DISCLOSURE),
                Level::A3 | Level::A4 => true,
            };
            if !holds {
                let what = format!(
                    "level {} is too low for group {:?} of tier {}",
                    rule.level,
                    group.name,
                    group.tier.as_str()
                );
                return below(what);
            }
        }
        Ok(())
    }

    /// The group of a device; of several the one of which most depends.
    fn group(&self, device: Subject<'_>) -> Option<&Group> {
        let has = |g: &&Group| {
            g.devices.iter().any(|entry| device.is_named(entry)) || g.tags.iter().any(|tag| device.has_tag(tag))
        };
        self.groups.iter().filter(has).min_by_key(|g| g.tier)
    }

    pub(super) fn place<'a>(&self, device: impl Into<Subject<'a>>) -> Option<(&str, Tier)> {
        self.group(device.into()).map(|g| (g.name.as_str(), g.tier))
    }

    /// Whether a group may hold the device by what only its backend knows of it, which nobody has asked there.
    pub(super) fn is_unmet(&self, device: Subject<'_>) -> bool {
        let by_traits = |g: &Group| !g.tags.is_empty() || g.devices.iter().any(|d| d != LOCAL);
        device.traits.is_none() && device.is_of_a_backend() && self.groups.iter().any(by_traits)
    }

    /// What the account may on a device.
    pub(super) fn role<'a>(&self, by: &Principal, device: impl Into<Subject<'a>>) -> Result<Role> {
        if self.principals.is_empty() {
            return Ok(Role::Advanced);
        }
        let device = device.into();
        let id = device.id;
        let group = self.group(device).map(|g| g.name.as_str());
        let own = |p: &&Person| {
            p.uid.is_some_and(|uid| Principal::uid(uid) == *by)
                && (p.groups.is_empty() || group.is_some_and(|g| p.groups.iter().any(|x| x == g)))
        };
        let roles = self.principals.iter().filter(own).flat_map(|p| &p.roles);
        roles
            .filter_map(|r| match r.as_str() {
                "responder-advanced" => Some(Role::Advanced),
                "viewer" | "responder-basic" => Some(Role::Basic),
                _ => None,
            })
            .max()
            .ok_or_else(|| {
                Error::new(ErrorCode::Scope, format!("the policy gives {by} no role on {id}"))
                    .hint("whoever keeps the policy can add a [[principal]]")
            })
    }

    /// Whether the policy says who may do what, rather than leaving it to the one account.
    pub(super) fn names_principals(&self) -> bool {
        !self.principals.is_empty()
    }

    /// Whether the account has a role of the library: `library-author`, `library-approver`.
    pub(super) fn has_library_role(&self, by: &Principal, role: &str) -> bool {
        let own = |p: &&Person| p.uid.is_some_and(|uid| Principal::uid(uid) == *by);
        self.principals.is_empty() || self.principals.iter().filter(own).any(|p| p.roles.iter().any(|r| r == role))
    }

    /// Every matching rule; the strictest wins. `shared`: other devices than this host may be asked for in one account.
    pub(super) fn decide<'a>(&self, command: &str, device: impl Into<Subject<'a>>, shared: bool) -> Result<Decision> {
        let subject = device.into();
        let device = subject.id;
        let none = |why: String| {
            Err(Error::new(ErrorCode::PolicyInvalid, why)
                .hint("a rule for it belongs into the policy file; what no rule names is refused"))
        };
        let Some(group) = self.group(subject) else {
            return none(format!("the policy has no group for {device}, so {command} is refused there"));
        };
        if device.as_str() != LOCAL && !shared {
            return none(format!("{command} on {device} needs the service, or [guard] allow_shared_account = true"));
        }
        let matching = self
            .rules
            .iter()
            .enumerate()
            .filter(|(_, r)| r.groups.contains(&group.name) && r.commands.iter().any(|c| c == command));
        let mut decision: Option<Decision> = None;
        for (i, rule) in matching {
            let level = Level::parse(&rule.level).unwrap_or(Level::A4);
            // One account cannot show anything on another display or tell driver and approver apart.
            let level = if rule.separate_display || !rule.driver_may_vote { level.max(Level::A2) } else { level };
            let d = decision.get_or_insert_with(|| Decision {
                group: group.name.clone(),
                tier: group.tier,
                level,
                votes: rule.votes,
                rule_ids: Vec::new(),
            });
            d.level = d.level.max(level);
            d.votes = d.votes.max(rule.votes);
            d.rule_ids.push(format!("{}:{}", self.source, i + 1));
        }
        let Some(decision) = decision else {
            return none(format!("no rule of the policy covers {command} in group {:?}", group.name));
        };
        if decision.level > Level::L {
            let what = format!("the policy asks for level {} for {command} on {device}", decision.level.as_str());
            return Err(Error::new(ErrorCode::AssuranceTooLow, format!("{what}, which embedded mode cannot give"))
                .hint("embedded mode gives level L; a rule with level = \"L\" or the separated mode helps"));
        }
        Ok(decision)
    }

    /// A hive copy is evidence: `E_PROTECTED` unless the policy says that it may be changed.
    pub(super) fn may_change_hives(&self) -> Result<()> {
        match self.defaults.change_hive_copies {
            true => Ok(()),
            false => {
                Err(Error::new(ErrorCode::Protected, "the policy does not let a hive copy be changed: it is evidence")
                    .hint("whoever keeps the policy can say `change_hive_copies = true` in its [defaults]"))
            }
        }
    }

    /// Whether a person may vote on a device of this group and tier.
    pub(super) fn is_entitled(&self, person: &str, group: &str, tier: Tier) -> bool {
        if self.approvers.is_empty() {
            return tier != Tier::T0;
        }
        self.approvers.iter().any(|a| {
            a.name == person
                && (a.groups.is_empty() || a.groups.iter().any(|g| g == group))
                && (tier != Tier::T0 || a.tier0)
        })
    }
}

fn this_host() -> Group {
    Group { name: THIS_HOST.into(), tier: Tier::T2, devices: vec![LOCAL.into()], tags: Vec::new() }
}

fn unknown_name(file: &Path, what: &str, name: &str, known: &[&str]) -> Rejected {
    let near = nearest(name, known.iter().copied()).map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
    rejected("unknown_name", file, format!("{what} {name:?} is not known{near}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DeviceId, DeviceTraits};

    fn parse(text: &str) -> Result<Policy, Rejected> {
        Policy::parse(Path::new("policy.toml"), format!("version = 1\n{text}").as_bytes())
    }

    fn rule(commands: &str, groups: &str, rest: &str) -> String {
        format!("[[rule]]\ncommands = {commands}\ngroups = {groups}\n{rest}\n")
    }

    const GROUPS: &str = "[[group]]\nname = \"lab\"\ntier = \"T3\"\ndevices = [\"image:/x\"]\n[[group]]\nname = \"srv\"\ntier = \"T1\"\ndevices = [\"srv-01\"]\n";

    #[test]
    fn gt_097_a_rule_below_the_floor_does_not_load() {
        for rest in [
            "level = \"A0\"\nvotes = 1",
            "level = \"none\"\nvotes = 1",
            "level = \"in-band\"\nvotes = 1",
            "level = \"A2\"\nvotes = 1",
            "level = \"L\"\nvotes = 0",
        ] {
            let e = parse(&rule("[\"remediate\"]", "[\"this-host\"]", rest)).unwrap_err();
            assert_eq!((e.why, e.error.code), ("below_floor", ErrorCode::PolicyInvalid), "{rest}");
        }
        let e = parse(&format!("{GROUPS}{}", rule("[\"run\"]", "[\"srv\"]", "level = \"L\"\nvotes = 1"))).unwrap_err();
        assert_eq!(e.why, "below_floor");
    }

    #[test]
    fn unknown_keys_and_names_do_not_load() {
        let e = parse("[defaults]\npending_ttl = 5").unwrap_err();
        assert_eq!(e.why, "unknown_key");
        assert_eq!(e.error.hint.as_deref(), Some("did you mean pending_ttl_s?"));
        let timeout = rule("[\"run\"]", "[\"this-host\"]", "level = \"L\"\nvotes = 1\non_timeout = \"approve\"");
        assert_eq!(parse(&timeout).unwrap_err().why, "unknown_key");
        for text in [
            rule("[\"remediat\"]", "[\"this-host\"]", "level = \"L\"\nvotes = 1"),
            rule("[\"run\"]", "[\"x\"]", "level = \"L\"\nvotes = 1"),
        ] {
            assert_eq!(parse(&text).unwrap_err().why, "unknown_name");
        }
        assert_eq!(parse("[limits]\npending_per_requester = 0").unwrap_err().why, "bounds");
        assert_eq!(parse("version = 1").unwrap_err().why, "syntax");
        assert_eq!(Policy::parse(Path::new("p"), b"version = 2").unwrap_err().why, "version");
    }

    #[test]
    fn isolation_is_read_strictly() {
        let rules =
            parse("[isolation]\nallow = [\"10.0.0.5:4222\"]\nselective_allow = [\":443\"]\ndns = true").unwrap();
        let IsolationRules { allow, selective_allow, ssh, dns, dhcp, .. } = rules.isolation;
        assert_eq!((allow.len(), selective_allow.len(), ssh, dns, dhcp), (1, 1, true, true, true));
        for (text, why) in [
            ("allow = [\":443\"]", "isolation"),
            ("lease_s = 90", "isolation"),
            ("commit_s = 301", "bounds"),
            ("commit_s = 0", "bounds"),
            ("lease_s = 2592001", "bounds"),
            ("allow = [\"0.0.0.0/0\"]", "syntax"),
            ("alow = []", "unknown_key"),
        ] {
            assert_eq!(parse(&format!("[isolation]\n{text}")).unwrap_err().why, why, "{text}");
        }
    }

    #[test]
    fn the_strictest_rule_wins() {
        let text = rule("[\"remediate\"]", "[\"this-host\"]", "level = \"L\"\nvotes = 1")
            + &rule("[\"remediate\", \"run\"]", "[\"this-host\"]", "level = \"L\"\nvotes = 2");
        let decision = parse(&text).unwrap().decide("remediate", &DeviceId::new(LOCAL), false).unwrap();
        assert_eq!((decision.votes, decision.rule_ids), (2, vec!["file:1".to_owned(), "file:2".into()]));
    }

    #[test]
    fn what_no_rule_names_is_refused() {
        let policy = parse(&rule("[\"undo\"]", "[\"this-host\"]", "level = \"L\"\nvotes = 1")).unwrap();
        let local = DeviceId::new(LOCAL);
        assert_eq!(policy.decide("remediate", &local, true).unwrap_err().code, ErrorCode::PolicyInvalid);
        let other = Policy::builtin().decide("remediate", &DeviceId::new("image:/x"), true);
        assert_eq!(other.unwrap_err().code, ErrorCode::PolicyInvalid);
        assert_eq!(Policy::builtin().decide("wipe", &local, true).unwrap_err().code, ErrorCode::PolicyInvalid);
    }

    #[test]
    fn a_level_that_one_account_cannot_give_is_refused_at_once() {
        let policy = parse(&rule("[\"undo\"]", "[\"this-host\"]", "level = \"A3\"\nvotes = 1")).unwrap();
        let e = policy.decide("undo", &DeviceId::new(LOCAL), false).unwrap_err();
        assert_eq!(e.code, ErrorCode::AssuranceTooLow);
        let apart = rule("[\"undo\"]", "[\"this-host\"]", "level = \"L\"\nvotes = 1\nseparate_display = true");
        let e = parse(&apart).unwrap().decide("undo", &DeviceId::new(LOCAL), false).unwrap_err();
        assert_eq!(e.code, ErrorCode::AssuranceTooLow);
    }

    #[test]
    fn other_devices_need_a_word_about_the_shared_account() {
        let policy =
            parse(&format!("{GROUPS}{}", rule("[\"undo\"]", "[\"lab\"]", "level = \"L\"\nvotes = 1"))).unwrap();
        let lab = DeviceId::new("image:/x");
        assert_eq!(policy.decide("undo", &lab, false).unwrap_err().code, ErrorCode::PolicyInvalid);
        assert!(policy.decide("undo", &lab, true).is_ok());
    }

    fn subject<'a>(id: &'a DeviceId, traits: &'a DeviceTraits) -> Subject<'a> {
        Subject { id, traits: Some(traits) }
    }

    fn traits(name: &str, tags: &[&str]) -> DeviceTraits {
        DeviceTraits { backend: "defender", name: name.into(), tags: tags.iter().map(|t| (*t).to_owned()).collect() }
    }

    #[test]
    fn a_group_is_met_by_tag_and_the_strictest_counts() {
        let text = "[[group]]\nname = \"lab\"\ntier = \"T3\"\ntags = [\"lab\"]\n\
                    [[group]]\nname = \"dc\"\ntier = \"T0\"\ntags = [\"group:Domain controllers\"]\n\
                    [[group]]\nname = \"named\"\ntier = \"T2\"\ndevices = [\"defender:Srv-1\", \"wks\"]\n";
        let policy = parse(text).unwrap();
        let id = DeviceId::new("a".repeat(40));
        let place = |name: &str, tags: &[&str]| {
            policy.place(subject(&id, &traits(name, tags))).map(|(group, _)| group.to_owned())
        };
        assert_eq!(place("x", &["lab"]).as_deref(), Some("lab"));
        assert_eq!(place("x", &["lab", "group:Domain controllers"]).as_deref(), Some("dc"));
        assert_eq!(place("srv-1", &[]).as_deref(), Some("named"));
        assert_eq!(place("WKS", &["lab"]).as_deref(), Some("named"));
        assert_eq!(place("x", &["LAB", "lab2", ""]), None);
        assert_eq!(policy.place(&id), None);
    }

    #[test]
    fn a_device_that_calls_itself_like_another_does_not_become_it() {
        let other = "b".repeat(40);
        let text = format!(
            "[[group]]\nname = \"g\"\ntier = \"T3\"\ndevices = [\"local\", \"image:/x\", \"defender\", \"{other}\"]\n"
        );
        let policy = parse(&text).unwrap();
        let id = DeviceId::new("a".repeat(40));
        for name in ["local", "LOCAL", "image:/x", "defender", other.as_str(), ""] {
            assert_eq!(policy.place(subject(&id, &traits(name, &[]))), None, "{name}");
        }
    }

    #[test]
    fn gt_087_tier_0_needs_the_tier_0_right() {
        let text = "[[approver]]\nname = \"a\"\n[[approver]]\nname = \"b\"\ntier0 = true\n[[approver]]\nname = \"c\"\ngroups = [\"this-host\"]\n";
        let policy = parse(text).unwrap();
        assert!(!policy.is_entitled("a", "dc", Tier::T0) && policy.is_entitled("b", "dc", Tier::T0));
        assert!(policy.is_entitled("c", THIS_HOST, Tier::T2) && !policy.is_entitled("c", "srv", Tier::T1));
        assert!(!policy.is_entitled("nobody", THIS_HOST, Tier::T2));
    }

    #[test]
    fn gt_084_a_listed_account_has_its_roles_only() {
        let policy = parse("[[principal]]\nname = \"asst\"\nuid = 7\nroles = [\"responder-basic\"]\n").unwrap();
        let local = DeviceId::new(LOCAL);
        assert_eq!(policy.role(&Principal::uid(7), &local).unwrap(), Role::Basic);
        assert_eq!(policy.role(&Principal::uid(8), &local).unwrap_err().code, ErrorCode::Scope);
    }
}
