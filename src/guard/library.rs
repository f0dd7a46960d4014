//! The script library as the guard knows it: which name stands for which bytes, who added them, who approved them.
//!
//! Invariants: it is a fold of the log, so a file that is changed in the store changes nothing here; an approval is for
//! one name, type and content, given with a person's factor; a request is void once its name stands for other bytes.

use super::approved::Order;
use super::ledger::Turn;
use super::policy::Policy;
use super::prompt::item_screen;
use super::state::{Entry, State, Used};
use super::votes::{check_viewed, prove, who};
use super::{Guard, digest};
use crate::audit::{Line, Record};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{ItemName, LibraryItem, Sha256, Step, Timestamp};
use crate::nearest::nearest;
use crate::principal::Principal;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// More files than any team reviews.
const ITEMS_MAX: usize = 1_000;
const DESCRIPTION_CHARS: usize = 200;

/// A file of the library.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shelved {
    pub item: LibraryItem,
    /// The `.minisig` that it was added with.
    pub signature: Option<String>,
    pub description: Option<String>,
    pub by: Principal,
    pub added: Timestamp,
    pub approved: Option<ScriptApproval>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptApproval {
    pub person: String,
    pub at: Timestamp,
    /// The account that added it is the one that approved it.
    pub same_person: bool,
}

/// What a person adds.
pub struct Upload {
    pub item: LibraryItem,
    pub signature: Option<String>,
    pub description: Option<String>,
    /// Put it in the place of what has the name.
    pub overwrite: bool,
}

/// A library file as it is put before a person.
#[derive(Clone, Debug)]
pub struct ScriptPrompt {
    pub name: ItemName,
    /// To print as it is.
    pub text: String,
    pub sha256: Sha256,
    /// Of `text`: an approval names it.
    pub preview_sha256: Sha256,
    /// An approval that comes sooner is refused.
    pub min_view: Duration,
}

/// A person's yes to a library file.
pub struct ScriptBallot {
    pub name: ItemName,
    pub sha256: Sha256,
    pub preview_sha256: Sha256,
    /// Needed where more than one person is enrolled.
    pub person: Option<String>,
    pub code: String,
}

// What the records carry.

#[derive(Serialize, Deserialize)]
struct Uploaded {
    shelved: Shelved,
}

#[derive(Serialize, Deserialize)]
struct Changed {
    name: ItemName,
    old: Sha256,
    /// `None`: it was taken out.
    new: Option<Shelved>,
}

#[derive(Serialize, Deserialize)]
struct Approved {
    item: LibraryItem,
    approval: ScriptApproval,
    preview_sha256: Sha256,
    used: Used,
    independently_verifiable: bool,
}

#[derive(Serialize)]
struct Rejected<'a> {
    name: &'a str,
    sha256: Option<&'a Sha256>,
}

/// What a person had a tenant's library hold: names of the pack's files.
#[derive(Serialize)]
pub struct TenantSync<'a> {
    pub uploaded: Vec<&'a str>,
    pub deleted: Vec<&'a str>,
    /// Neither done nor left as they should be.
    pub failed: Vec<&'a str>,
}

#[derive(Serialize)]
struct Drifted<'a> {
    why: &'a str,
    old: &'a Sha256,
    new: Option<&'a Sha256>,
}

impl Guard {
    /// Every file of the library, by name.
    pub fn library(&self) -> Result<Vec<Shelved>> {
        self.current(|state, _| state.library.values().cloned().collect())
    }

    /// One file; `E_NOT_FOUND` names the nearest.
    pub fn shelved(&self, name: &ItemName) -> Result<Shelved> {
        self.current(|state, _| state.library.get(name).cloned().ok_or_else(|| missing(state, name)))?
    }

    /// Whether a file may be run or put, as it is now. Asked before the device is.
    pub fn may_use(&self, item: &LibraryItem) -> Result<()> {
        let policy = self.policy_now()?;
        self.current(|state, _| check(state, Some(&policy), item))?
    }

    /// Puts a file on the shelf that lies in the store already. Needs the role `library-author`, where roles are given.
    pub fn upload(&self, upload: Upload) -> Result<Shelved> {
        self.turn(|turn| {
            let uploaded = shelve(turn, &upload);
            if let Err(e) = &uploaded {
                let told = Rejected { name: upload.item.name.as_str(), sha256: Some(&upload.item.sha256) };
                let record = turn.library("library.upload_rejected").reason(e.code).detail(&told);
                turn.put(record);
            }
            uploaded
        })
    }

    /// Puts on record that a file was turned away before it came to the shelf.
    pub fn upload_rejected(&self, name: &str, error: &Error) {
        let name = super::submit::short(name);
        let recorded = self.turn(|turn| {
            let told = Rejected { name: &name, sha256: None };
            let record = turn.library("library.upload_rejected").reason(error.code).detail(&told);
            turn.put(record);
            Ok(())
        });
        if let Err(e) = recorded {
            tracing::warn!(code = %e.code, "a refused upload could not be put on record");
        }
    }

    /// Puts on record what was changed in a tenant's library, and why it is not all.
    pub fn tenant_synced(&self, sync: &TenantSync<'_>, failed: Option<&Error>) -> Result<()> {
        self.turn(|turn| {
            let record = turn.library("library.synced").detail(sync);
            turn.put(match failed {
                Some(e) => record.reason(e.code),
                None => record,
            });
            Ok(())
        })
    }

    /// Takes a file off the shelf, as a person may who could put it there. Gives what it was.
    pub fn unshelve(&self, name: &ItemName) -> Result<LibraryItem> {
        self.turn(|turn| {
            has_role(turn, "library-author")?;
            take_out(turn, name, None)
        })
    }

    /// Takes a file off the shelf because a person approved just that.
    pub fn delete_script(&self, order: Order) -> Result<LibraryItem> {
        let Some(item) = order.step().item() else {
            return Err(Error::new(ErrorCode::Internal, "an order to delete names no library file"));
        };
        self.turn(|turn| take_out(turn, &item.name, Some(&item.sha256)))
    }

    /// Whether a file of the library has these bytes.
    pub fn is_shelved(&self, sha256: &Sha256) -> Result<bool> {
        self.current(|state, _| state.library.values().any(|s| s.item.sha256 == *sha256))
    }

    /// Renders a file of the library with its text, which is there where it is text.
    pub fn show_script(&self, name: &ItemName, bytes: Option<&[u8]>) -> Result<ScriptPrompt> {
        let defaults = self.policy_now().map(|p| p.defaults).unwrap_or_default();
        let shelved = self.shelved(name)?;
        if bytes.is_some_and(|bytes| Sha256::of(bytes) != shelved.item.sha256) {
            return Err(drift(&shelved.item));
        }
        let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).filter(|text| !text.contains('\0'));
        let text = item_screen(&shelved, text, defaults.allow_unsigned_scripts);
        let preview_sha256 = digest::preview(&text);
        self.remember(&preview_sha256);
        Ok(ScriptPrompt {
            name: name.clone(),
            text,
            sha256: shelved.item.sha256,
            preview_sha256,
            min_view: Duration::from_secs(defaults.min_view_s),
        })
    }

    /// A person's yes to exactly the bytes that were shown. On record either way.
    pub fn approve_script(&self, ballot: &ScriptBallot) -> Result<Shelved> {
        self.turn(|turn| {
            let approved = approve(turn, ballot);
            if let Err(e) = &approved {
                let told = Rejected { name: ballot.name.as_str(), sha256: Some(&ballot.sha256) };
                let record = turn.library("library.approval_rejected").reason(e.code).detail(&told);
                turn.put(record);
            }
            approved
        })
    }
}

impl Turn<'_> {
    fn library(&self, event: &'static str) -> Record {
        Record::new(event).by(&self.guard.account).channel("library")
    }
}

impl State {
    /// Folds a record of the library.
    pub(super) fn library(&mut self, line: &Line<'_>) -> Result<(), String> {
        match &*line.event {
            "library.uploaded" => {
                let told: Uploaded = line.detail()?;
                self.library.insert(told.shelved.item.name.clone(), told.shelved);
            }
            "library.changed" => {
                let told: Changed = line.detail()?;
                match told.new {
                    Some(new) => self.library.insert(told.name, new),
                    None => self.library.remove(&told.name),
                };
            }
            _ => {
                let told: Approved = line.detail()?;
                self.use_up(&told.used)?;
                let shelved = self.library.get_mut(&told.item.name).filter(|s| s.item == told.item);
                shelved.ok_or("approves what is not in the library")?.approved = Some(told.approval);
            }
        }
        Ok(())
    }
}

/// Whether the library file of a step may be used so. What nobody approved may be taken away.
pub(super) fn check_step(state: &State, policy: Option<&Policy>, step: &Step) -> Result<()> {
    match step {
        Step::Run { .. } | Step::Put { .. } | Step::Tenant { .. } => {
            step.item().map_or(Ok(()), |item| check(state, policy, item))
        }
        _ => Ok(()),
    }
}

/// Whether a file may be used: it is what its name stands for, a person approved it, and it is signed where it must be.
/// Without a policy nothing is said about signatures: the call meets that by itself.
fn check(state: &State, policy: Option<&Policy>, item: &LibraryItem) -> Result<()> {
    let shelved = state.library.get(&item.name).ok_or_else(|| missing(state, &item.name))?;
    if !is_same(&shelved.item, item) {
        return Err(drift(item));
    }
    if shelved.approved.is_none() {
        return Err(Error::new(
            ErrorCode::ScriptNotApproved,
            format!("{} ({}) is in the library and nobody has approved it", item.name, item.sha256),
        )
        .hint(format!("a person reads and approves it in a terminal: `live-response library approve {}`", item.name)));
    }
    let unsigned = item.kind.is_runnable() && item.signer.is_none();
    if unsigned && policy.is_some_and(|p| !p.defaults.allow_unsigned_scripts) {
        return Err(Error::new(ErrorCode::UnsignedScript, format!("{} is not signed by a trusted key", item.name))
            .hint(
                "a person adds it with its .minisig by a key of [library] keys, or the policy allows unsigned ones",
            ));
    }
    Ok(())
}

/// Whether the name stands for other bytes, or for none, than when a request was made.
pub(super) fn is_drifted(state: &State, entry: &Entry) -> bool {
    let Some(item) = &entry.script else { return false };
    state.library.get(&item.name).is_none_or(|s| !is_same(&s.item, item))
}

/// The signer is judged anew each time it is used.
fn is_same(a: &LibraryItem, b: &LibraryItem) -> bool {
    (&a.name, &a.sha256, a.size_bytes, a.kind, &a.interpreter)
        == (&b.name, &b.sha256, b.size_bytes, b.kind, &b.interpreter)
}

fn shelve(turn: &mut Turn<'_>, upload: &Upload) -> Result<Shelved> {
    has_role(turn, "library-author")?;
    let name = &upload.item.name;
    let state = turn.state;
    if let Some(other) = state.library.keys().find(|n| n.collides(name) && *n != name) {
        return Err(Error::new(ErrorCode::Exists, format!("{other} is there, and some systems take {name} for it"))
            .hint("take another name, or remove that file"));
    }
    let shelved = Shelved {
        item: upload.item.clone(),
        signature: upload.signature.clone(),
        description: upload.description.as_deref().map(|d| super::submit::cut(d, DESCRIPTION_CHARS)),
        by: turn.guard.account.clone(),
        added: turn.now.timestamp(),
        approved: None,
    };
    match state.library.get(name) {
        None if state.library.len() >= ITEMS_MAX => {
            return Err(Error::new(ErrorCode::TooLarge, format!("the library has {ITEMS_MAX} files, no more fit"))
                .hint("remove what is not needed"));
        }
        None => {
            let record = turn.library("library.uploaded").detail(&Uploaded { shelved: shelved.clone() });
            turn.put(record);
        }
        Some(_) if !upload.overwrite => {
            return Err(Error::new(ErrorCode::Exists, format!("{name} is in the library"))
                .hint("--overwrite puts this file in its place; it has to be approved anew"));
        }
        Some(old) => replace(turn, &old.item, Some(shelved.clone())),
    }
    Ok(shelved)
}

fn take_out(turn: &mut Turn<'_>, name: &ItemName, only: Option<&Sha256>) -> Result<LibraryItem> {
    let state = turn.state;
    let item = &state.library.get(name).ok_or_else(|| missing(state, name))?.item;
    if only.is_some_and(|sha256| *sha256 != item.sha256) {
        return Err(drift(item));
    }
    replace(turn, item, None);
    Ok(item.clone())
}

/// Puts the change on record, and what it voids.
fn replace(turn: &mut Turn<'_>, old: &LibraryItem, new: Option<Shelved>) {
    let told = Changed { name: old.name.clone(), old: old.sha256.clone(), new: new.clone() };
    let record = turn.library("library.changed").detail(&told);
    turn.put(record);
    let new = new.as_ref().map(|s| &s.item);
    let state = turn.state;
    let voided = |e: &&Entry| {
        let script = e.script.as_ref().filter(|s| s.name == old.name);
        e.life.is_live() && script.is_some_and(|s| new.is_none_or(|n| !is_same(n, s)))
    };
    for entry in state.requests.iter().filter(voided) {
        if turn.look(entry).is_ok() {
            let told = Drifted { why: "script_hash", old: &old.sha256, new: new.map(|n| &n.sha256) };
            let record = turn.about("request.invalidated", entry).reason(ErrorCode::ScriptDrift).detail(&told);
            turn.put(record);
        }
    }
}

fn approve(turn: &mut Turn<'_>, ballot: &ScriptBallot) -> Result<Shelved> {
    turn.not_halted()?;
    let state = turn.state;
    let shelved = state.library.get(&ballot.name).ok_or_else(|| missing(state, &ballot.name))?;
    if shelved.item.sha256 != ballot.sha256 {
        return Err(drift(&shelved.item));
    }
    has_role(turn, "library-approver")?;
    let same_person = shelved.by == turn.guard.account;
    // One account and one person cannot be told apart; where there are more, nobody approves what he added himself.
    if same_person && state.approvers.len() > 1 && turn.policy()?.names_principals() {
        return Err(Error::new(ErrorCode::SelfApproval, format!("{} was added by this very account", ballot.name))
            .hint("the policy gives roles: another account that is a library-approver approves it"));
    }
    let person = who(state, ballot.person.as_deref())?;
    check_viewed(turn, &ballot.preview_sha256)?;
    let used = prove(turn, &person, &ballot.code)?;
    let approval = ScriptApproval { person, at: turn.now.timestamp(), same_person };
    let told = Approved {
        item: shelved.item.clone(),
        approval: approval.clone(),
        preview_sha256: ballot.preview_sha256.clone(),
        used,
        independently_verifiable: false,
    };
    let record = turn.library("library.approved").level(super::Level::L.as_str()).detail(&told);
    turn.put(record);
    Ok(Shelved { approved: Some(approval), ..shelved.clone() })
}

fn has_role(turn: &mut Turn<'_>, role: &str) -> Result<()> {
    let account = turn.guard.account.clone();
    if turn.policy()?.has_library_role(&account, role) {
        return Ok(());
    }
    Err(Error::new(ErrorCode::Scope, format!("the policy does not make {account} a {role}"))
        .hint("whoever keeps the policy can add the role to its [[principal]]"))
}

fn missing(state: &State, name: &ItemName) -> Error {
    let e = Error::new(ErrorCode::NotFound, format!("no library file {name}"));
    match nearest(name.as_str(), state.library.keys().map(ItemName::as_str)) {
        Some(near) => e.hint(format!("did you mean {near}? `library` lists what there is")),
        None => e.hint("`library` lists what there is; a person adds files: `live-response library add`"),
    }
}

fn drift(item: &LibraryItem) -> Error {
    Error::new(ErrorCode::ScriptDrift, format!("{} stands for other bytes now", item.name))
        .hint("look at `library`, and ask anew")
}
