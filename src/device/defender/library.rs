//! The tenant's script library: what it lists is what is run, and `library sync` makes it list the pack.
//!
//! Invariants: a script whose listed hash is not that of our bytes is never run; only files that carry our pack's names
//! are deleted; nothing is overwritten.

use super::Tenant;
use super::api::LibraryFile;
use super::client::Client;
use super::pack::{self, Script, Shell};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Sha256, row};
use crate::shape::scrub;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a listing counts.
const FRESH: Duration = Duration::from_secs(60);
const SYNC: &str = "run `live-response library sync`";

type Hashes = HashMap<String, Vec<Option<Sha256>>>;

/// What the library listed last: the hashes by name.
#[derive(Default)]
pub(super) struct Listing(Mutex<Option<(Instant, Hashes)>>);

impl Listing {
    /// That the library holds exactly this script; the listing is asked for again before it is said not to.
    pub(super) async fn check(&self, client: &Client, script: &Script, job: &Job) -> Result<()> {
        let name = script.file_name();
        let mut listing = self.0.lock().await;
        if let Some((at, hashes)) = listing.as_ref()
            && at.elapsed() < FRESH
            && judge(hashes, script, &name).is_ok()
        {
            return Ok(());
        }
        let hashes = by_name(client.library(job).await?);
        let judged = judge(&hashes, script, &name).map_err(|e| match e.code {
            ErrorCode::ScriptDrift => {
                Error::new(e.code, format!("{}; it was not run", e.message)).hint(e.hint.unwrap_or_default())
            }
            _ => e,
        });
        *listing = Some((Instant::now(), hashes));
        judged
    }

    /// Has the next look ask the library: what one yes allows is held to what it lists now.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

fn by_name(files: Vec<LibraryFile>) -> Hashes {
    let mut hashes = Hashes::new();
    for file in files {
        hashes.entry(file.file_name).or_default().push(file.sha256);
    }
    hashes
}

fn judge(hashes: &Hashes, script: &Script, name: &str) -> Result<()> {
    match hashes.get(name) {
        None => Err(Error::new(
            ErrorCode::Unsupported,
            format!("the tenant's library has no {name}: the script of `{}`", script.name),
        )
        .hint(SYNC)),
        Some(listed) if listed.iter().all(|sha256| sha256.as_ref() == Some(script.sha256())) => Ok(()),
        Some(listed) => Err(drift(script, name, listed)),
    }
}

fn drift(script: &Script, name: &str, listed: &[Option<Sha256>]) -> Error {
    let other = listed.iter().find(|sha256| sha256.as_ref() != Some(script.sha256())).and_then(Option::as_ref);
    let what = match other {
        Some(other) => format!("the library's {name} is not ours: it lists {other}, ours is {}", script.sha256()),
        None => format!("the library lists no hash for {name}"),
    };
    Error::new(ErrorCode::ScriptDrift, what)
        .hint(format!("find out who changed it; delete it in the portal, then {SYNC}"))
}

row! {
    /// What became of a file of the library.
    pub struct SyncRow {
        pub name: String,
        /// `unchanged`, `uploaded`, `deleted`, `drifted`, `failed`.
        pub outcome: &'static str,
        pub sha256: Option<Sha256>,
        pub note: Option<String>,
    }
}

/// How much of the pack a library holds.
pub struct Held {
    pub scripts: usize,
    pub of: usize,
    /// The first file that has a name of the pack and other bytes.
    pub drifted: Option<Error>,
}

/// What a synchronisation did, and why it is not all where it is not.
pub struct Synced {
    pub rows: Vec<SyncRow>,
    pub failed: Option<Error>,
}

impl Tenant {
    /// How much of the pack the library holds now.
    pub(super) async fn held(&self, job: &Job) -> Result<Held> {
        let listed = by_name(self.client.library(job).await?);
        let mut held = Held { scripts: 0, of: pack::scripts().len(), drifted: None };
        for script in pack::scripts() {
            match judge(&listed, script, &script.file_name()) {
                Ok(()) => held.scripts += 1,
                Err(e) if e.code == ErrorCode::ScriptDrift => held.drifted = held.drifted.or(Some(e)),
                Err(_) => {}
            }
        }
        Ok(held)
    }

    /// Uploads what the library lacks of the pack, verifies it by the listing, and deletes what an older pack left.
    pub async fn sync(&self, job: &Job) -> Result<Synced> {
        let listed = by_name(self.client.library(job).await?);
        let mut synced = Synced { rows: Vec::new(), failed: None };
        let mut uploaded = Vec::new();
        for script in pack::scripts() {
            self.put(script, &listed, &mut uploaded, &mut synced, job).await;
        }
        // A tenant that takes no upload keeps what it has.
        let complete = synced.failed.is_none();
        if !uploaded.is_empty() {
            self.verify(&uploaded, &mut synced, job).await;
        }
        if complete {
            self.sweep(&listed, &mut synced, job).await;
        }
        self.listing.forget().await;
        Ok(synced)
    }

    #[expect(clippy::disallowed_methods, reason = "a person's own command")]
    async fn put(
        &self,
        script: &'static Script,
        listed: &Hashes,
        uploaded: &mut Vec<&'static Script>,
        synced: &mut Synced,
        job: &Job,
    ) {
        let name = script.file_name();
        let row = |outcome, note| SyncRow { name: name.clone(), outcome, sha256: Some(script.sha256().clone()), note };
        match judge(listed, script, &name) {
            Ok(()) => synced.rows.push(row("unchanged", None)),
            Err(e) if e.code == ErrorCode::ScriptDrift => {
                synced.rows.push(row("drifted", Some(e.message.clone())));
                synced.failed.get_or_insert(e);
            }
            // What cannot be reached once is not tried again and again.
            Err(_) if synced.failed.as_ref().is_some_and(|e| e.code != ErrorCode::ScriptDrift) => {
                synced.rows.push(row("failed", Some("not tried after the failure before".into())));
            }
            Err(_) => {
                let description = format!("live-response script pack: {} ({})", script.name, system(script.shell));
                match self.client.upload(&name, &description, script.text().as_bytes().to_vec(), job).await {
                    Ok(_) => uploaded.push(script),
                    // Another one was quicker, or the answer was lost: the listing says what is there.
                    Err(e) if matches!(e.code, ErrorCode::Exists | ErrorCode::OutcomeUnknown) => uploaded.push(script),
                    Err(e) => {
                        synced.rows.push(row("failed", Some(e.message.clone())));
                        synced.failed.get_or_insert(e);
                    }
                }
            }
        }
    }

    /// The listed hash of what was uploaded is what counts, not that the upload was taken.
    async fn verify(&self, uploaded: &[&'static Script], synced: &mut Synced, job: &Job) {
        let listed = self.client.library(job).await.map(by_name);
        for script in uploaded {
            let name = script.file_name();
            let judged = match &listed {
                Ok(listed) => judge(listed, script, &name),
                Err(e) => Err(Error::new(e.code, format!("uploaded, and not verified: {}", e.message))),
            };
            let (outcome, note) = match &judged {
                Ok(()) => ("uploaded", None),
                Err(e) if e.code == ErrorCode::ScriptDrift => ("drifted", Some(e.message.clone())),
                Err(e) => ("failed", Some(e.message.clone())),
            };
            synced.rows.push(SyncRow { name, outcome, sha256: Some(script.sha256().clone()), note });
            if let Err(e) = judged {
                synced.failed.get_or_insert(e);
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a person's own command")]
    async fn sweep(&self, listed: &Hashes, synced: &mut Synced, job: &Job) {
        let current: Vec<String> = pack::scripts().iter().map(Script::file_name).collect();
        let old: BTreeMap<&String, _> =
            listed.iter().filter(|(name, _)| pack::is_ours(name) && !current.contains(*name)).collect();
        for (name, hashes) in old {
            let (outcome, note) = match self.client.delete_library_file(name, job).await {
                Ok(()) => ("deleted", None),
                Err(e) if e.code == ErrorCode::NotFound => ("deleted", None),
                Err(e) => {
                    let note = scrub(&e.message).into_owned();
                    synced.failed.get_or_insert(e);
                    ("failed", Some(note))
                }
            };
            let sha256 = hashes.first().cloned().flatten();
            synced.rows.push(SyncRow { name: name.clone(), outcome, sha256, note });
        }
    }
}

const fn system(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => "Linux",
        Shell::PowerShell => "Windows",
    }
}
