//! Votes: a person's yes or no, proved by a factor.
//!
//! Invariants: a vote is for one digest and one rendering that this guard served long enough ago; what is wrong with a
//! vote is found before its code is looked at, so a refused vote uses up no code; any no is final.

use super::factors::totp::Key;
use super::ledger::{Turn, over};
use super::policy::Level;
use super::state::{Approver, AuthFailed, Entry, FactorLocked, State, Used, VoteCast};
use super::step::{Event, Stage, step};
use super::{Guard, RequestView};
use crate::audit::Moment;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{RequestId, Sha256};
use crate::shape::clean;
use serde::Serialize;

/// From this many wrong codes on there are delays.
const FREE_FAILURES: u32 = 5;
const FIRST_DELAY_S: u64 = 30;
const LONGEST_DELAY_S: u64 = 3600;

/// A vote as it comes from the approver's side. Identity comes from the factor, not from `person`, which only picks
/// whose factor it is.
pub struct Ballot {
    pub id: RequestId,
    /// Of the plan that was on the screen.
    pub digest: Sha256,
    /// Of the rendering that was on the screen.
    pub preview_sha256: Sha256,
    /// Needed where more than one person is enrolled.
    pub person: Option<String>,
    pub code: String,
    /// The device's name, where the plan cannot be undone.
    pub check: Option<String>,
    pub yes: bool,
}

/// What a vote came to.
#[derive(Debug)]
pub struct Voted {
    /// It was the last one needed: whoever gave it consumes the plan.
    pub granted: bool,
    pub votes: u32,
    pub needed: u32,
    pub view: RequestView,
}

#[derive(Serialize)]
struct Rejected<'a> {
    person: Option<&'a str>,
    presented_digest: &'a Sha256,
}

#[derive(Serialize)]
struct DeniedBy<'a> {
    /// A person only where a factor proved one.
    person: Option<&'a str>,
    account: &'a str,
}

#[derive(Serialize)]
struct ApprovedBy<'a> {
    votes: u32,
    people: Vec<&'a str>,
    exec_window_s: u64,
}

impl Guard {
    /// Counts a vote, or says why not. On record either way.
    pub fn vote(&self, ballot: Ballot) -> Result<Voted> {
        if !ballot.yes {
            let view = self.deny(&ballot.id, ballot.person.as_deref().map(|p| (p, ballot.code.as_str())))?;
            return Ok(Voted { granted: false, votes: 0, needed: 0, view });
        }
        let (granted, votes, needed) = self.turn(|turn| {
            let state = turn.state;
            let entry = state.entry(&ballot.id).ok_or_else(|| super::ledger::unknown(&ballot.id))?;
            let voted = cast(turn, entry, &ballot);
            if let Err(e) = &voted {
                let person = ballot.person.as_deref().filter(|p| state.approvers.contains_key(*p));
                let rejected = Rejected { person, presented_digest: &ballot.digest };
                let record = turn.about("vote.rejected", entry).channel("approvals").reason(e.code).detail(&rejected);
                turn.put(record);
            }
            voted
        })?;
        Ok(Voted { granted, votes, needed, view: self.view_of(&ballot.id)? })
    }

    /// A no, which is final. Needs no code; without a right one the record names the account, not a person.
    pub fn deny(&self, id: &RequestId, person_and_code: Option<(&str, &str)>) -> Result<RequestView> {
        self.turn(|turn| {
            let state = turn.state;
            let entry = state.entry(id).ok_or_else(|| super::ledger::unknown(id))?;
            turn.look(entry)?;
            step(&entry.life, Event::No, turn.now).map_err(|code| over(entry, code))?;
            let used = person_and_code.and_then(|(person, code)| prove(turn, person, code).ok());
            let person = used.as_ref().map(|u| u.person.clone());
            if let Some(used) = used {
                let cast = VoteCast { yes: false, used, preview_sha256: None, independently_verifiable: false };
                let record = turn.about("vote.cast", entry).channel("approvals").level(Level::L.as_str()).detail(&cast);
                turn.put(record);
            }
            let by = DeniedBy { person: person.as_deref(), account: turn.guard.account.as_str() };
            let record = turn.about("request.denied", entry).channel("approvals").reason(ErrorCode::Denied).detail(&by);
            turn.put(record);
            Ok(())
        })?;
        self.view_of(id)
    }

    pub(super) fn view_of(&self, id: &RequestId) -> Result<RequestView> {
        self.current(|state, now| state.entry(id).map(|e| e.view(now)))?.ok_or_else(|| super::ledger::unknown(id))
    }

    /// How long ago this process first showed that rendering; `None` where it never did.
    pub(super) fn shown_for_ms(&self, preview: &Sha256, now: &Moment) -> Option<u64> {
        let shown = self.shown.lock().unwrap_or_else(|p| p.into_inner());
        shown.get(preview).map(|first| now.surely_since_ms(first))
    }
}

fn cast(turn: &mut Turn<'_>, entry: &Entry, ballot: &Ballot) -> Result<(bool, u32, u32)> {
    turn.look(entry)?;
    if entry.life.stage != Stage::Pending {
        return Err(over(entry, entry.life.refusal()));
    }
    turn.not_halted()?;
    check_binding(turn, entry, ballot)?;
    let person = who(turn.state, ballot.person.as_deref())?;
    check_person(turn, entry, &person)?;
    check_value(entry, ballot.check.as_deref())?;
    let used = prove(turn, &person, &ballot.code)?;
    let again = entry.yes.contains(&person);
    let (life, events) = step(&entry.life, Event::Yes { again }, turn.now).map_err(|code| over(entry, code))?;
    for event in events {
        let record = turn.about(event, entry).channel("approvals").level(Level::L.as_str());
        let record = if *event == "vote.cast" {
            record.detail(&VoteCast {
                yes: true,
                used: Used { person: used.person.clone(), factor: used.factor.clone(), step: used.step },
                preview_sha256: Some(ballot.preview_sha256.clone()),
                independently_verifiable: false,
            })
        } else {
            let people = entry.yes.iter().map(String::as_str).chain([person.as_str()]).collect();
            record.detail(&ApprovedBy { votes: life.yes, people, exec_window_s: life.window_ms / 1000 })
        };
        turn.put(record);
    }
    Ok((life.stage == Stage::Approved, life.yes, life.needed))
}

/// A vote is for what was shown: that digest, that rendering, long enough.
fn check_binding(turn: &mut Turn<'_>, entry: &Entry, ballot: &Ballot) -> Result<()> {
    if ballot.digest != entry.digest || !entry.shown.contains(&ballot.preview_sha256) {
        return Err(Error::new(
            ErrorCode::DigestMismatch,
            format!("the vote is not for what request {} shows", entry.id),
        )
        .hint("look at it again: `live-response approvals show ID`"));
    }
    check_viewed(turn, &ballot.preview_sha256)
}

/// What was shown was on the screen long enough to be read.
pub(super) fn check_viewed(turn: &mut Turn<'_>, preview: &Sha256) -> Result<()> {
    let min_view_s = turn.policy()?.defaults.min_view_s;
    let shown = turn.guard.shown_for_ms(preview, turn.now).unwrap_or(0);
    if shown < min_view_s.saturating_mul(1000) {
        return Err(Error::new(ErrorCode::TooFast, format!("the plan was on the screen for {shown} ms only"))
            .hint(format!("read it for {min_view_s} s, then vote again")));
    }
    Ok(())
}

fn check_person(turn: &mut Turn<'_>, entry: &Entry, person: &str) -> Result<()> {
    if !turn.policy()?.is_entitled(person, &entry.device.group, entry.device.tier) {
        return Err(Error::new(
            ErrorCode::ApproverNotEntitled,
            format!(
                "{person} may not approve changes in group {} of tier {}",
                entry.device.group,
                entry.device.tier.as_str()
            ),
        )
        .hint("whoever keeps the policy can add an [[approver]]"));
    }
    if entry.yes.iter().any(|p| p == person) {
        return Err(Error::new(ErrorCode::DuplicatePerson, format!("{person} has said yes to this already"))
            .hint("one person counts once; it takes another one"));
    }
    if entry.required.level > Level::L {
        return Err(Error::new(
            ErrorCode::AssuranceTooLow,
            format!("this needs level {}; a code in a process of this account gives L", entry.required.level.as_str()),
        ));
    }
    Ok(())
}

/// What cannot be undone is approved with the device's name in the person's own hand.
fn check_value(entry: &Entry, check: Option<&str>) -> Result<()> {
    let (plan, _) = entry.read_plan()?;
    let name = clean(&plan.device.name_at_request).into_owned();
    if plan.is_reversible() || check.is_some_and(|c| c.trim() == name.trim()) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::CheckValue, "this cannot be undone and the device's name was not given")
        .hint(format!("after the code, type the device's name as the screen shows it: {name}")))
}

/// Whose factor it is: the one person enrolled, or the one that was named.
pub(super) fn who(state: &State, person: Option<&str>) -> Result<String> {
    let names: Vec<&str> = state.approvers.keys().map(String::as_str).collect();
    match (person, names.as_slice()) {
        (_, []) => Err(Error::new(ErrorCode::NoHumanChannel, "nobody is enrolled")
            .hint("a person enrols in a terminal: `live-response approver enroll NAME`")),
        (Some(person), names) if names.contains(&person) => Ok(person.to_owned()),
        (Some(person), names) => {
            Err(Error::new(ErrorCode::BadArgs, format!("nobody is enrolled as {:?}", super::submit::short(person)))
                .hint(format!("enrolled: {}", names.join(", "))))
        }
        (None, [name]) => Ok((*name).to_owned()),
        (None, names) => Err(Error::new(ErrorCode::BadArgs, "more than one person is enrolled")
            .hint(format!("say who you are: --as NAME, one of {}", names.join(", ")))),
    }
}

/// Checks a code of a person. What it was is on record: a wrong one counts, from the fifth on with growing delays.
pub(super) fn prove(turn: &mut Turn<'_>, person: &str, code: &str) -> Result<Used> {
    let person = who(turn.state, Some(person))?;
    let Some(approver) = turn.state.approvers.get(&person) else {
        return Err(Error::new(ErrorCode::FactorInvalid, format!("{person} is not enrolled")));
    };
    check_lock(&person, approver, turn.now)?;
    let code = code.trim();
    if code.is_empty() {
        return Err(wrong_code("no code was given"));
    }
    let key = match Key::load(&turn.guard.dir, &person, &approver.secret_sha256) {
        Ok(key) => key,
        Err(e) => {
            failed(turn, &person, "secret", approver.failures);
            return Err(e);
        }
    };
    let now_s = u64::try_from(turn.now.wall_ms / 1000).unwrap_or(0);
    let Some(step) = key.step_of(&person, code, now_s)? else {
        let failures = approver.failures.saturating_add(1);
        failed(turn, &person, "code", failures);
        if failures >= FREE_FAILURES {
            let delay_s = delay_s(failures);
            let record = crate::audit::Record::new("factor.locked").by(&turn.guard.account).channel("approvals");
            turn.put(record.detail(&FactorLocked { person, delay_s }));
        }
        return Err(wrong_code("the code is wrong"));
    };
    if approver.has_used(step) {
        return Err(Error::new(ErrorCode::FactorReused, "this code was used already")
            .hint("each code counts once: wait for the next one"));
    }
    Ok(Used { person, factor: approver.factor.clone(), step })
}

fn wrong_code(what: &str) -> Error {
    Error::new(ErrorCode::FactorInvalid, what)
        .hint("give the code that the authenticator shows now; the clocks of both must agree within 30 s")
}

fn check_lock(person: &str, approver: &Approver, now: &Moment) -> Result<()> {
    let Some(lock) = &approver.lock else { return Ok(()) };
    match lock.ms.saturating_sub(now.surely_since_ms(&lock.from)) {
        0 => Ok(()),
        left => Err(Error::new(
            ErrorCode::RateLimited,
            format!(
                "{} wrong codes were given for {person}: no code is taken now, not even a right one",
                approver.failures
            ),
        )
        .hint(format!("try again in {} s", left.div_ceil(1000)))),
    }
}

fn failed(turn: &mut Turn<'_>, person: &str, why: &str, failures: u32) {
    let told = AuthFailed { person: person.to_owned(), why: why.to_owned(), failures };
    let record = crate::audit::Record::new("auth.failed").by(&turn.guard.account).channel("approvals");
    turn.put(record.reason(ErrorCode::FactorInvalid).detail(&told));
}

fn delay_s(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(FREE_FAILURES).min(16);
    FIRST_DELAY_S.saturating_mul(1 << doublings).min(LONGEST_DELAY_S)
}
