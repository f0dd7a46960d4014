//! Isolates the host and releases it.
//!
//! Invariants: the dead-man lives before the first rule is loaded; a way in is looked for again where it matters, in the
//! process of whoever approves; without a person's word in time everything is taken back.

use super::{Did, dead_man, nft};
use crate::device::local::linux::isolation::{self, State, mark};
use crate::device::local::linux::netlink::{self, ACK};
use crate::device::local::linux::preflight::{foreign, keeps, not_isolated, passes};
use crate::device::local::linux::ruleset::{Ruleset, removal};
use crate::device::local::linux::sockets::Socket;
use crate::device::local::linux::watch::{Held, Phase, Step as Right, Watch, boot_ms};
use crate::device::local::linux::way_in::Ways;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{
    Isolation, IsolationKind, Job, ROLLED_BACK, Remediated, RequestId, Sha256, Step, Timestamp, Verified,
};
use crate::shape::Untrusted;
use std::net::IpAddr;
use std::time::Duration;

/// The dead-man's deadline is so much later than the person's: who lives takes back what is his.
const MARGIN: Duration = Duration::from_millis(500);
/// `SOCK_DESTROY` of `linux/sock_diag.h`.
const DESTROY: u16 = 21;

pub fn isolate(order: Order, watch: &Watch, job: &Job) -> Did {
    let Step::Isolate { isolation } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to isolate names no isolation"));
    };
    let rules = Ruleset::of(&isolation.exemptions, isolation.dhcp);
    if rules.sha256() != isolation.ruleset_sha256 {
        return Did::Drift("this build makes other rules of the plan than the one that made it".into());
    }
    let applied = match apply(order.request(), isolation, &rules, watch, job) {
        Ok(applied) => applied,
        Err(e) => return Did::Failed(e),
    };
    super::fault("isolated");
    let window = Duration::from_secs(isolation.commit_s).saturating_sub(MARGIN);
    let question = format!(
        "The host is isolated. Are you still connected? Type yes within {} s, or it is rolled back: ",
        isolation.commit_s
    );
    let ended = match job.ask(question, window) {
        Some(true) => confirm(&applied, watch),
        Some(false) => Err(Error::new(ErrorCode::Denied, "the person did not confirm it with yes")),
        None => Err(Error::new(
            ErrorCode::Timeout,
            format!("nobody confirmed within {} s that the way in still works", isolation.commit_s),
        )),
    };
    match ended {
        Ok(()) => {
            cut(isolation, job);
            Did::done(isolated(isolation, order.request()), verify(order.request(), watch, job))
        }
        Err(e) => roll_back(isolation, order.request(), watch, &e),
    }
}

/// Loads the rules, with the dead-man at hand, and reads them back.
fn apply(by: &RequestId, isolation: &Isolation, rules: &Ruleset, watch: &Watch, job: &Job) -> Result<Held> {
    let right = watch.step()?;
    not_isolated(watch)?;
    keeps(&isolation.exemptions, &Ways::look(job)?.own())?;
    job.check()?;
    let mut held = Held::new(by.clone(), isolation.clone())?;
    right.hold(&held)?;
    let loaded = dead_man::start(watch).and_then(|()| load(by, isolation.kind, rules));
    let listed = match loaded {
        Ok(listed) => listed,
        Err(e) => {
            forget(&right, by)?;
            return Err(e);
        }
    };
    held.phase = Phase::Applied;
    held.commit_by_ms = boot_ms().saturating_add(isolation.commit_s.saturating_mul(1000));
    held.listed_sha256 = Some(listed);
    if let Err(e) = right.hold(&held) {
        forget(&right, by)?;
        return Err(e);
    }
    Ok(held)
}

/// Loads them and gives what the kernel then lists, where it is what was meant.
pub(super) fn load(by: &RequestId, kind: IsolationKind, rules: &Ruleset) -> Result<Sha256> {
    let mark = mark(kind, by);
    nft::load(&rules.script(&mark))?;
    match nft::list()? {
        Some(listed) if listed.is(rules, &mark) => Ok(listed.sha256),
        _ => Err(Error::new(ErrorCode::Backend, "the kernel does not list the rules that were loaded")),
    }
}

fn confirm(applied: &Held, watch: &Watch) -> Result<()> {
    let right = watch.step()?;
    match right.held()? {
        Some(mut held) if held.by == applied.by => {
            held.phase = Phase::Confirmed;
            right.hold(&held)
        }
        _ => Err(Error::new(ErrorCode::Timeout, "the confirmation came too late")),
    }
}

fn roll_back(isolation: &Isolation, by: &RequestId, watch: &Watch, why: &Error) -> Did {
    let undone = watch.step().and_then(|right| forget(&right, by));
    let mut row = row(isolation.kind, ROLLED_BACK, by, &isolation.ruleset_sha256);
    row.note = Some(Untrusted::new(why.message.clone()));
    match undone {
        Ok(()) => Did::Broken {
            row: Box::new(row),
            error: Error::new(why.code, format!("{}: rolled back, the host is not isolated", why.message)),
        },
        Err(e) => {
            row.outcome = "isolated".into();
            Did::unknown(row, format!("{}, and it could not be rolled back: {}", why.message, e.message))
        }
    }
}

/// Takes the table away, where it is this isolation's, and then what was held of it.
pub(super) fn forget(right: &Right<'_>, by: &RequestId) -> Result<()> {
    match isolation::state()? {
        State::Isolated { by: now, .. } if now == *by => nft::load(&removal())?,
        _ => {}
    }
    match right.held() {
        Ok(Some(held)) if held.by != *by => Ok(()),
        _ => right.forget(),
    }
}

pub fn release(order: Order, watch: &Watch, job: &Job) -> Did {
    let Step::Release { release } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to release names no isolation"));
    };
    let by = &release.isolated_by;
    let gone = || Did::Drift(format!("the isolation of {by} has ended already, or another one is in force"));
    let right = match watch.step().and_then(|right| job.check().map(|()| right)) {
        Ok(right) => right,
        Err(e) => return Did::Failed(e),
    };
    match isolation::state() {
        Ok(State::Isolated { by: now, .. }) if now != *by => return gone(),
        Ok(State::None) if !right.held().is_ok_and(|h| h.is_some_and(|h| h.by == *by)) => return gone(),
        Ok(State::Foreign) => return Did::Failed(foreign()),
        Ok(_) => {}
        Err(e) => return Did::Failed(e),
    }
    if let Err(e) = forget(&right, by) {
        return Did::Failed(e);
    }
    let verified = match isolation::state() {
        Ok(State::None) => Verified::Yes,
        Ok(_) => Verified::No,
        Err(_) => Verified::Unknown,
    };
    let mut row = row(release.kind, "released", order.request(), &Sha256::of(b""));
    row.sha256 = None;
    Did::done(row, verified)
}

/// Looks again: the kernel's table, and whether the dead-man lives.
fn verify(by: &RequestId, watch: &Watch, job: &Job) -> Verified {
    if !watch.is_watched() {
        job.warn("the dead-man of this isolation has died: `live-response approvals list` starts it again");
    }
    match isolation::state() {
        Ok(State::Isolated { by: now, whole: true, .. }) if now == *by => Verified::Yes,
        Ok(_) => Verified::No,
        Err(_) => Verified::Unknown,
    }
}

fn isolated(isolation: &Isolation, by: &RequestId) -> Remediated {
    let mut row = row(isolation.kind, "isolated", by, &isolation.ruleset_sha256);
    let until = Timestamp::now().plus_secs(i64::try_from(isolation.lease_s).unwrap_or(i64::MAX));
    row.note = Some(Untrusted::new(format!("ends by itself at {until}, at a reboot, or by release")));
    row
}

fn row(kind: IsolationKind, outcome: &str, by: &RequestId, sha256: &Sha256) -> Remediated {
    Remediated {
        r#type: "isolation".into(),
        id: Untrusted::new(kind.as_str()),
        outcome: outcome.into(),
        undo_id: None,
        path: None,
        exit_code: None,
        sha256: Some(sha256.clone()),
        size_bytes: None,
        at: Some(Timestamp::now()),
        request_id: Some(by.clone()),
        note: None,
    }
}

/// Ends the connections that can carry nothing any more, as `ss -K` does. Where the kernel cannot, they hang until they
/// send.
fn cut(isolation: &Isolation, job: &Job) {
    let Ok(ways) = Ways::look(job) else { return };
    let doomed = ways.established().filter(|s| !isolation.exemptions.iter().any(|e| passes(e, s)));
    for socket in doomed {
        let _ = netlink::ask(Some(rustix::net::netlink::SOCK_DIAG), DESTROY, ACK, &id(socket), &mut |_, _| {});
    }
}

/// `inet_diag_req_v2` that names one TCP socket by its ends, without a cookie.
fn id(socket: &Socket) -> Vec<u8> {
    let (family, protocol) = socket.protocol.numbers();
    let mut bytes = vec![family, protocol, 0, 0];
    bytes.extend_from_slice(&u32::MAX.to_ne_bytes());
    for port in [socket.local.1, socket.remote.1] {
        bytes.extend_from_slice(&port.to_be_bytes());
    }
    for address in [socket.local.0, socket.remote.0] {
        let at = bytes.len();
        match address {
            IpAddr::V4(a) => bytes.extend_from_slice(&a.octets()),
            IpAddr::V6(a) => bytes.extend_from_slice(&a.octets()),
        }
        bytes.resize(at + 16, 0);
    }
    bytes.extend_from_slice(&0u32.to_ne_bytes());
    bytes.extend_from_slice(&[0xff; 8]);
    bytes
}
