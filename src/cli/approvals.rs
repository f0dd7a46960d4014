//! `live-response approvals`: the approver's side on the shared state.
//!
//! Invariants: what is voted on is what was printed: digest and preview hash of the prompt go into the ballot; when the
//! screen could not be printed there is no vote.

use super::io::Io;
use super::{Exit, listing};
use crate::config::Config;
use crate::decide::{Decided, Person, Signals};
use crate::dispatcher::Dispatcher;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::{Ballot, Phase, Prompt, RequestView};
use crate::model::{End, Outcome, RequestId, Timestamp, Verified, row};
use crate::shape::Untrusted;
use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a watch looks for new requests.
const LOOK_EVERY: Duration = Duration::from_millis(250);

#[derive(clap::Subcommand)]
pub(super) enum Sub {
    /// Requests that wait, and those that ended lately
    List {
        /// A JSON array with every field
        #[arg(long)]
        json: bool,
    },
    /// The plan of a request, in full
    Show { id: String },
    /// Shows the plan, reads the code from the terminal or the first line of stdin, and runs the plan
    Approve {
        id: String,
        /// Who you are, where more than one person is enrolled
        #[arg(long = "as", value_name = "NAME")]
        person: Option<String>,
    },
    /// Says no; with --as and your code the record names you
    Deny {
        id: String,
        /// Who you are
        #[arg(long = "as", value_name = "NAME")]
        person: Option<String>,
    },
    /// Waits for requests and asks about each
    Watch {
        /// Who you are, where more than one person is enrolled
        #[arg(long = "as", value_name = "NAME")]
        person: Option<String>,
    },
}

row! {
    /// A request, for a list.
    pub struct RequestRow {
        pub request_id: RequestId,
        pub r#match: String,
        pub state: &'static str,
        pub command: String,
        pub device: crate::model::DeviceId,
        pub by: String,
        pub created: Timestamp,
        pub expires: Timestamp,
        pub ended: Option<Timestamp>,
        pub device_name: Untrusted,
        pub command_id: crate::model::CommandId,
        pub code: Option<&'static str>,
    }
}

const COLUMNS: &[&str] = &["request_id", "match", "state", "command", "device", "by", "expires"];

pub(super) fn run(config: &Config, sub: Sub, io: &mut Io) -> Result<Exit> {
    match crate::dead_man::revive(&config.home) {
        Ok(true) => io.note("the dead-man of the isolation had died and was started again"),
        Ok(false) => {}
        Err(e) => io.complain(&e),
    }
    let dispatcher = Dispatcher::new(config);
    match sub {
        Sub::List { json } => {
            let rows: Vec<RequestRow> = dispatcher.core().guard.list()?.iter().map(row_of).collect();
            listing::print(&rows, COLUMNS, json, io)?;
            Ok(Exit::Done)
        }
        Sub::Show { id } => {
            let prompt = dispatcher.core().guard.show(&RequestId::new(id))?;
            io.say(prompt.text.trim_end())?;
            Ok(Exit::Done)
        }
        Sub::Approve { id, person } => {
            let approver = Approver { dispatcher, person };
            super::block_on(async { approver.approve(&RequestId::new(id), io, &mut Signals::take()?).await })
        }
        Sub::Deny { id, person } => {
            let approver = Approver { dispatcher, person };
            super::block_on(async { approver.deny(&RequestId::new(id), io, &mut Signals::take()?).await })
        }
        Sub::Watch { person } => {
            let approver = Approver { dispatcher, person };
            super::block_on(async { approver.watch(io, &mut Signals::take()?).await })
        }
    }
}

fn row_of(view: &RequestView) -> RequestRow {
    let (state, code) = state_of(&view.phase);
    RequestRow {
        request_id: view.id.clone(),
        r#match: view.match_code.clone(),
        state,
        command: view.command.clone(),
        device: view.device.clone(),
        by: view.by.to_string(),
        created: view.created,
        expires: view.expires,
        ended: view.ended,
        device_name: Untrusted::new(view.device_name.as_str()),
        command_id: view.command_id.clone(),
        code,
    }
}

fn state_of(phase: &Phase) -> (&'static str, Option<&'static str>) {
    match phase {
        Phase::Pending => ("pending", None),
        Phase::Approved => ("approved", None),
        Phase::Consuming => ("running", None),
        Phase::Done(outcome) => match &outcome.end {
            End::Done => ("done", None),
            End::Drift { .. } => ("failed", Some(ErrorCode::EntityDrift.as_str())),
            End::Failed { code, .. } => ("failed", ErrorCode::parse(code).map(ErrorCode::as_str)),
            End::GoesOn { .. } => ("running", None),
            End::Unknown { .. } => ("unknown", Some(ErrorCode::OutcomeUnknown.as_str())),
        },
        Phase::Denied => ("denied", None),
        Phase::Expired => ("expired", None),
        Phase::Cancelled => ("cancelled", None),
        Phase::Revoked => ("revoked", None),
        Phase::Invalidated(code) => ("invalidated", Some(code.as_str())),
        Phase::Unknown => ("unknown", None),
    }
}

/// A person at this process.
struct Approver {
    dispatcher: Arc<Dispatcher>,
    person: Option<String>,
}

impl Approver {
    async fn approve(&self, id: &RequestId, io: &mut Io, signals: &mut Signals) -> Result<Exit> {
        known_person(&self.dispatcher, self.person.as_deref()).await?;
        let (prompt, shown) = self.show(id, io).await?;
        if !prompt.pending {
            // It waits for no code any more: the guard says why.
            return self.vote(prompt, shown, String::new(), io, signals).await;
        }
        let code = code_of_person(io, signals).await?;
        self.vote(prompt, shown, code, io, signals).await
    }

    /// Prints the plan as the guard renders it. Gives the moment from which the viewing time runs.
    async fn show(&self, id: &RequestId, io: &mut Io) -> Result<(Prompt, Instant)> {
        let id = id.clone();
        let prompt = self.dispatcher.core().guard(move |g| g.show(&id)).await??;
        io.say(prompt.text.trim_end())?;
        io.flush()?;
        Ok((prompt, Instant::now()))
    }

    async fn vote(
        &self,
        prompt: Prompt,
        shown: Instant,
        code: String,
        io: &mut Io,
        signals: &mut Signals,
    ) -> Result<Exit> {
        let check = match &prompt.check {
            Some(_) if prompt.pending => {
                io.line("this cannot be undone; type the device's name as shown: ", signals).await?
            }
            _ => None,
        };
        tokio::select! {
            () = tokio::time::sleep_until(shown + prompt.min_view) => {}
            () = signals.next() => return Err(Error::new(ErrorCode::Cancelled, "interrupted; nothing was done")),
        }
        let ballot = Ballot {
            id: prompt.id,
            digest: prompt.digest,
            preview_sha256: prompt.preview_sha256,
            person: self.person.clone(),
            code,
            check,
            yes: true,
        };
        let device = prompt.device;
        match self.dispatcher.decide(ballot, &mut AtTerminal { io, signals, device }).await? {
            Decided::Counted(view) => {
                io.say(&format!("yes to {} is on record; more people have to say yes", view.id))?;
                Ok(Exit::Done)
            }
            Decided::Ran { view, outcome } => report(&view, &outcome, io),
            Decided::HandedOver { view, message } => {
                io.say(&format!(
                    "{}\n`status` and `fg` of {} read on there and record what comes of it",
                    crate::shape::clean(&message),
                    view.command_id
                ))?;
                Ok(Exit::Done)
            }
        }
    }

    async fn deny(&self, id: &RequestId, io: &mut Io, signals: &mut Signals) -> Result<Exit> {
        let person = match &self.person {
            Some(name) => io.secret("code: ", signals).await?.map(|code| (name.clone(), code)),
            None => None,
        };
        let id = id.clone();
        let view = self
            .dispatcher
            .core()
            .guard(move |g| g.deny(&id, person.as_ref().map(|(name, code)| (name.as_str(), code.as_str()))))
            .await??;
        io.say(&format!("denied {}: nothing has changed", view.id))?;
        Ok(Exit::Done)
    }

    /// Asks about each request as it comes, until stdin ends or a signal arrives.
    async fn watch(&self, io: &mut Io, signals: &mut Signals) -> Result<Exit> {
        known_person(&self.dispatcher, self.person.as_deref()).await?;
        io.note("waiting for requests; Ctrl+C ends this");
        let mut seen = HashSet::new();
        let mut input = io.input();
        loop {
            let views = self.dispatcher.core().guard(|g| g.list()).await??;
            let fresh: Vec<RequestId> = views
                .into_iter()
                .filter(|v| matches!(v.phase, Phase::Pending) && seen.insert(v.id.clone()))
                .map(|v| v.id)
                .collect();
            for id in fresh {
                let asked = self.ask_about(&id, io, signals).await;
                input = io.input();
                match asked {
                    Ok(true) => {}
                    Ok(false) => return Ok(Exit::Done),
                    Err(e) if e.code == ErrorCode::Cancelled => return Ok(Exit::Done),
                    Err(e) if e.is_broken_pipe() => return Err(e),
                    // Someone else was faster, or a code was wrong: what still waits is shown again.
                    Err(e) => {
                        io.complain(&e);
                        seen.remove(&id);
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = signals.next() => return Ok(Exit::Done),
                () = input.ended() => return Ok(Exit::Done),
            }
        }
    }

    /// Shows one request and takes the answer; `false` at the end of stdin.
    async fn ask_about(&self, id: &RequestId, io: &mut Io, signals: &mut Signals) -> Result<bool> {
        let (prompt, shown) = self.show(id, io).await?;
        let question = "code: yes · `no`: denied · empty: left as it is > ";
        let Some(answer) = io.secret(question, signals).await? else { return Ok(false) };
        match answer.as_str() {
            "" => {}
            "no" | "n" => {
                let id = id.clone();
                let view = self.dispatcher.core().guard(move |g| g.deny(&id, None)).await??;
                io.say(&format!("denied {}: nothing has changed", view.id))?;
            }
            _ => {
                self.vote(prompt, shown, answer, io, signals).await?;
            }
        }
        io.flush()?;
        Ok(true)
    }
}

/// The code that approves what was just shown.
pub(super) async fn code_of_person(io: &mut Io, signals: &mut Signals) -> Result<String> {
    io.secret("code (empty: nothing is approved): ", signals).await?.filter(|c| !c.is_empty()).ok_or_else(|| {
        Error::new(ErrorCode::FactorInvalid, "no code was given, nothing was approved; it waits on")
            .hint("the code is the first line of stdin, or is typed when asked for")
    })
}

/// Refuses before anything is shown to someone who could not say yes to it.
pub(super) async fn known_person(dispatcher: &Arc<Dispatcher>, person: Option<&str>) -> Result<()> {
    let enrolled = dispatcher.core().guard(|g| g.enrolled()).await??;
    match (person, enrolled.as_slice()) {
        (_, []) => Err(Error::new(ErrorCode::NoHumanChannel, "nobody is enrolled")
            .hint("live-response approver enroll NAME enrols a person")),
        (None, [_]) => Ok(()),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|e| e.name.as_str()).collect();
            Err(Error::new(ErrorCode::BadArgs, "more than one person is enrolled")
                .hint(format!("say who you are with --as: {}", names.join(", "))))
        }
        (Some(name), all) if all.iter().any(|e| e.name == name) => Ok(()),
        (Some(name), _) => Err(Error::new(ErrorCode::ApproverNotEntitled, format!("{name:?} is not enrolled"))
            .hint("live-response approver list shows who is")),
    }
}

/// Whoever gave the code.
struct AtTerminal<'a> {
    io: &'a mut Io,
    signals: &'a mut Signals,
    /// The device's name as the screen shows it.
    device: String,
}

impl Person for AtTerminal<'_> {
    fn says_yes<'a>(&'a mut self, question: &'a str) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
        Box::pin(async move {
            loop {
                match self.io.line(question, self.signals).await {
                    Ok(Some(line)) if line == "yes" => return true,
                    // A check value that nobody asked for.
                    Ok(Some(line)) if !self.io.terminal && line == self.device => {}
                    _ => return false,
                }
            }
        })
    }
}

/// What the plan came to.
fn report(view: &RequestView, outcome: &Outcome, io: &mut Io) -> Result<Exit> {
    if !outcome.rows.is_empty() {
        listing::print(
            &outcome.rows,
            &["type", "id", "outcome", "exit_code", "undo_id", "path", "sha256", "size_bytes", "note"],
            false,
            io,
        )?;
    }
    for warning in &outcome.warnings {
        io.note(&format!("warning: {warning}"));
    }
    let verified = match outcome.verified {
        Verified::Yes => "yes",
        Verified::No => "no",
        Verified::Unknown => "unknown",
    };
    io.say(&format!("verified: {verified}"))?;
    let failure = match &outcome.end {
        End::Done if outcome.verified == Verified::No => {
            Error::new(ErrorCode::Backend, "the device says it is done, a look afterwards says it is not")
        }
        End::Done => {
            io.say(&format!("done: {} on {}", view.command, crate::shape::clean(&view.device_name)))?;
            return Ok(Exit::Done);
        }
        End::Drift { step, message } => {
            Error::new(ErrorCode::EntityDrift, format!("step {}: {message}; nothing was done from there on", step + 1))
        }
        End::Failed { code, message } => {
            Error::new(ErrorCode::parse(code).unwrap_or(ErrorCode::Internal), message.clone())
        }
        End::Unknown { message } | End::GoesOn { message } => {
            Error::new(ErrorCode::OutcomeUnknown, format!("{message}: it may have happened"))
        }
    };
    io.complain(&failure);
    Ok(Exit::Failed)
}
