//! Who may approve: enrolment, removal, the halt.
//!
//! Invariant: only the first enrolment is open; everything later that widens needs the factor of an enrolled person.

use super::Guard;
use super::factors::totp::{self, Key};
use super::ledger::Turn;
use super::state::{Authorised, HaltedBy, Used};
use super::votes::prove;
use crate::audit::Record;
use crate::error::{Error, ErrorCode, Result};
use crate::model::Timestamp;
use crate::private;
use serde::Serialize;
use zeroize::Zeroizing;

/// In `guard/` while somebody is enrolled: so that a log that was cut does not open the first enrolment again.
const MARK: &str = "enrolled";

/// A person with a factor.
#[derive(Clone, Debug, Serialize)]
pub struct Enrolled {
    pub name: String,
    pub factor: String,
    pub since: Timestamp,
    /// A first code was given.
    pub confirmed: bool,
}

/// Shown once, to the person, never again and never on record.
pub struct Enrolment {
    pub name: String,
    /// `otpauth://totp/…`: for the QR code.
    pub otpauth_url: Zeroizing<String>,
    /// Base32: to type in.
    pub secret: Zeroizing<String>,
}

impl Guard {
    pub fn enrolled(&self) -> Result<Vec<Enrolled>> {
        self.current(|state, _| {
            let person = |(name, a): (&String, &super::state::Approver)| Enrolled {
                name: name.clone(),
                factor: a.factor.clone(),
                since: Timestamp::from_millis(a.since_ms),
                confirmed: a.confirmed,
            };
            state.approvers.iter().map(person).collect()
        })
    }

    /// Enrols a person with a TOTP factor. `authority`: name and code of an enrolled person, for all but the first.
    pub fn enroll(&self, name: &str, authority: Option<(&str, &str)>) -> Result<Enrolment> {
        check_name(name)?;
        let key = Key::new()?;
        self.turn(|turn| {
            let taken = turn.state.approvers.keys().find(|n| n.eq_ignore_ascii_case(name));
            if let Some(taken) = taken {
                return Err(Error::new(ErrorCode::Exists, format!("{taken:?} is enrolled already"))
                    .hint("`approver remove` it first, or take another name"));
            }
            let used = match turn.state.approvers.is_empty() {
                true if turn.guard.is_log_cut()? => return Err(lost_enrolment()),
                true => None,
                false => Some(authorise(turn, authority, "enrolling another person")?),
            };
            key.save(&turn.guard.dir, name)?;
            let told =
                Authorised { person: name.to_owned(), secret_sha256: Some(key.sha256()), confirmed: false, used };
            let record = turn.people("approver.enrolled").detail(&told);
            turn.put(record);
            Ok(())
        })?;
        private::replace(&self.dir.join(MARK), b"")?;
        Ok(Enrolment { name: name.to_owned(), otpauth_url: key.url(name)?, secret: key.base32() })
    }

    /// The first code of a new person: shows that authenticator and clocks agree. Uses the code up.
    pub fn confirm_first_code(&self, name: &str, code: &str) -> Result<()> {
        self.turn(|turn| {
            let used = prove(turn, name, code)?;
            let told =
                Authorised { person: used.person.clone(), secret_sha256: None, confirmed: true, used: Some(used) };
            let record = turn.people("approver.enrolled").detail(&told);
            turn.put(record);
            Ok(())
        })
    }

    /// Takes a person's factor away. Needs the code of an enrolled person, which may be the same one.
    pub fn remove(&self, name: &str, authority: Option<(&str, &str)>) -> Result<()> {
        self.turn(|turn| {
            let person = super::votes::who(turn.state, Some(name))?;
            let used = authorise(turn, authority, "removing a person")?;
            let told = Authorised { person, secret_sha256: None, confirmed: false, used: Some(used) };
            let record = turn.people("approver.removed").detail(&told);
            turn.put(record);
            Ok(())
        })?;
        if self.enrolled()?.is_empty() {
            private::remove(&self.dir.join(MARK))?;
        }
        private::remove(&totp::path(&self.dir, name))
    }

    /// Whether somebody is enrolled of whom the log, which knows nobody, has lost the record.
    fn is_log_cut(&self) -> Result<bool> {
        Ok(private::open(&self.dir.join(MARK))?.is_some())
    }

    /// Stops every change: pending and approved requests are void. The account may do it, a person with a code too.
    pub fn halt(&self, by: Option<(&str, &str)>) -> Result<()> {
        self.turn(|turn| {
            let used = by.map(|(name, code)| prove(turn, name, code)).transpose()?;
            let who = used.as_ref().map_or(turn.guard.account.as_str(), |u| &u.person).to_owned();
            let record = turn.people("halt.engaged").detail(&HaltedBy { by: who, used });
            turn.put(record);
            let state = turn.state;
            for entry in state.requests.iter().filter(|e| e.life.is_live()) {
                if turn.look(entry).is_ok() {
                    let record = turn.about("request.revoked", entry).reason(ErrorCode::Revoked);
                    turn.put(record);
                }
            }
            Ok(())
        })
    }

    /// Lifts the halt; only an enrolled person can.
    pub fn lift_halt(&self, name: &str, code: &str) -> Result<()> {
        self.turn(|turn| {
            if turn.state.halted.is_none() {
                return Ok(());
            }
            let used = prove(turn, name, code)?;
            let told = HaltedBy { by: used.person.clone(), used: Some(used) };
            let record = turn.people("halt.released").detail(&told);
            turn.put(record);
            Ok(())
        })
    }
}

impl Turn<'_> {
    fn people(&self, event: &'static str) -> Record {
        Record::new(event).by(&self.guard.account).channel("approvals")
    }
}

fn authorise(turn: &mut Turn<'_>, authority: Option<(&str, &str)>, what: &str) -> Result<Used> {
    let Some((name, code)) = authority else {
        let names: Vec<&str> = turn.state.approvers.keys().map(String::as_str).collect();
        return Err(Error::new(ErrorCode::ApproverNotEntitled, format!("{what} needs the code of an enrolled person"))
            .hint(format!("enrolled: {}", names.join(", "))));
    };
    prove(turn, name, code)
}

fn lost_enrolment() -> Error {
    Error::new(ErrorCode::StoreUnavailable, "somebody was enrolled here, and the log has lost the record of it")
        .hint("the log was cut or deleted: restore it, look into who did that, or take a new LIVE_RESPONSE_HOME")
}

/// Names become file names and stand in records and on screens.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if (1..=64).contains(&name.len()) && name.chars().all(plain) && !name.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::BadArgs, format!("{:?} is no name for a person", super::submit::short(name)))
        .hint("1 to 64 of letters, digits, dot, underscore and hyphen, not starting with dot or hyphen"))
}
