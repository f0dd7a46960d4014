//! `live-response library`: what people do with the script library. No tool of an assistant comes here.
//!
//! Invariants: a person approves what was printed whole, by a factor; what is printed is cleaned.

use super::approvals::{code_of_person, known_person};
use super::io::Io;
use super::{Exit, listing};
use crate::config::Config;
use crate::decide::Signals;
use crate::dispatcher::Dispatcher;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::{ScriptBallot, ScriptPrompt, Shelved, TenantSync, Upload};
use crate::model::{ItemName, Job, LibraryItem, row};
use crate::registry::Core;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::time::Instant;

/// No `.minisig` file comes near this.
const SIGNATURE_MAX: u64 = 8192;
/// What a person can read; a longer file is called opaque.
const TEXT_MAX: u64 = 1 << 20;
const COLUMNS: &[&str] = &["name", "kind", "size_bytes", "approved", "signer", "added", "sha256"];

#[derive(clap::Subcommand)]
pub(super) enum Sub {
    /// Takes a file into the library; it can be run once a person has approved it
    Add {
        file: PathBuf,
        /// Its name in the library [default: the file's]
        #[arg(long)]
        name: Option<String>,
        /// Its minisign signature [default: FILE.minisig, where there is one]
        #[arg(long, value_name = "FILE")]
        signature: Option<PathBuf>,
        /// A line on what it is for
        #[arg(long)]
        description: Option<String>,
        /// Put it in the place of what has the name; that has to be approved anew
        #[arg(long)]
        overwrite: bool,
    },
    /// What there is
    List {
        /// A JSON array with every field
        #[arg(long)]
        json: bool,
    },
    /// One file: its facts and its text
    Show { name: String },
    /// Shows the file, reads the code from the terminal or the first line of stdin, and approves exactly these bytes
    Approve {
        name: String,
        /// Who you are, where more than one person is enrolled
        #[arg(long = "as", value_name = "NAME")]
        person: Option<String>,
    },
    /// Takes a file out
    Remove { name: String },
    /// Puts the built-in script pack into the library of the configured Defender tenant, and takes older ones out
    Sync {
        /// A JSON array with every field
        #[arg(long)]
        json: bool,
    },
    /// Hashes every file again, checks the signatures, and names what does not belong there
    Verify {
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
}

row! {
    /// Something that does not hold.
    pub struct ProblemRow {
        pub part: &'static str,
        pub id: String,
        pub why: String,
    }
}

pub(super) fn run(config: &Config, sub: Sub, io: &mut Io) -> Result<Exit> {
    let dispatcher = Dispatcher::new(config);
    let core = dispatcher.core();
    match sub {
        Sub::Add { file, name, signature, description, overwrite } => {
            let named = name.unwrap_or_else(|| file.file_name().unwrap_or_default().to_string_lossy().into_owned());
            let added = ItemName::parse(&named).and_then(|name| {
                let signature = read_signature(&file, signature)?;
                add(core, &file, &name, signature, description, overwrite)
            });
            // What the guard refused itself is on record already.
            let shelved = added.inspect_err(|e| {
                if !matches!(e.code, ErrorCode::Scope | ErrorCode::Exists) {
                    core.guard.upload_rejected(&named, e);
                }
            })?;
            told(&shelved, io)?;
            Ok(Exit::Done)
        }
        Sub::List { json } => {
            let rows: Vec<crate::commands::LibraryRow> = core.guard.library()?.into_iter().map(Into::into).collect();
            listing::print(&rows, COLUMNS, json, io)?;
            Ok(Exit::Done)
        }
        Sub::Show { name } => {
            let prompt = show(core, &ItemName::parse(&name)?)?;
            io.say(prompt.text.trim_end())?;
            Ok(Exit::Done)
        }
        Sub::Approve { name, person } => {
            let name = ItemName::parse(&name)?;
            super::block_on(async { approve(&dispatcher, name, person, io, &mut Signals::take()?).await })
        }
        Sub::Remove { name } => {
            let item = remove(core, &ItemName::parse(&name)?)?;
            io.say(&format!("{} ({}) is out of the library", item.name, item.sha256))?;
            Ok(Exit::Done)
        }
        Sub::Verify { json } => verify(core, json, io),
        Sub::Sync { json } => sync(core, json, io),
    }
}

/// The pack ships in this program, so nobody is asked; what was done is on record.
fn sync(core: &Arc<Core>, json: bool, io: &mut Io) -> Result<Exit> {
    let synced = super::block_on(async { core.sessions.sync_library(&Job::default()).await })?;
    let of = |outcomes: &[&str]| {
        synced.rows.iter().filter(|row| outcomes.contains(&row.outcome)).map(|row| row.name.as_str()).collect()
    };
    let told =
        TenantSync { uploaded: of(&["uploaded"]), deleted: of(&["deleted"]), failed: of(&["failed", "drifted"]) };
    let recorded = core.guard.tenant_synced(&told, synced.failed.as_ref());
    listing::print(&synced.rows, &["name", "outcome", "sha256", "note"], json, io)?;
    recorded?;
    match synced.failed {
        Some(e) => Err(e),
        None => Ok(Exit::Done),
    }
}

fn read_signature(file: &Path, given: Option<PathBuf>) -> Result<Option<String>> {
    let beside = || {
        let mut name = file.as_os_str().to_owned();
        name.push(".minisig");
        Some(PathBuf::from(name)).filter(|path| path.is_file())
    };
    let must_exist = given.is_some();
    let Some(path) = given.or_else(beside) else { return Ok(None) };
    let failed = |e| Error::io(format!("the signature {}", path.display()), e);
    let mut text = String::new();
    match std::fs::metadata(&path) {
        Ok(facts) if facts.is_file() => {}
        Err(e) if must_exist => return Err(failed(e)),
        _ => return Err(Error::new(ErrorCode::NotAFile, format!("the signature {} is not a file", path.display()))),
    }
    let file = std::fs::File::open(&path).map_err(failed)?;
    file.take(SIGNATURE_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

fn add(
    core: &Arc<Core>,
    file: &Path,
    name: &ItemName,
    signature: Option<String>,
    description: Option<String>,
    overwrite: bool,
) -> Result<Shelved> {
    let before = core.guard.shelved(name).ok().map(|s| s.item.sha256);
    let hold = core.library.hold()?;
    let item = core.library.take_in(&hold, file, name, signature.as_deref(), &Job::default())?;
    let taken = item.sha256.clone();
    let uploaded = core.guard.upload(Upload { item, signature, description, overwrite });
    let unused = if uploaded.is_ok() { before } else { Some(taken) };
    if let Some(sha256) = unused.filter(|sha256| matches!(core.guard.is_shelved(sha256), Ok(false))) {
        core.library.discard(&hold, &sha256)?;
    }
    uploaded
}

fn remove(core: &Arc<Core>, name: &ItemName) -> Result<LibraryItem> {
    let hold = core.library.hold()?;
    let item = core.guard.unshelve(name)?;
    if !core.guard.is_shelved(&item.sha256)? {
        core.library.discard(&hold, &item.sha256)?;
    }
    Ok(item)
}

fn told(shelved: &Shelved, io: &mut Io) -> Result<()> {
    let item = &shelved.item;
    io.say(&format!(
        "{} is in the library: {}, {} bytes, sha256 {}",
        item.name,
        item.kind.as_str(),
        item.size_bytes,
        item.sha256
    ))?;
    match &item.signer {
        Some(signer) => io.say(&format!("signed by minisign {signer}"))?,
        None if item.kind.is_runnable() => io.note("it is not signed: the policy decides whether it may be run"),
        None => {}
    }
    io.note(&format!("nobody has approved it yet: live-response library approve {}", item.name));
    Ok(())
}

fn show(core: &Arc<Core>, name: &ItemName) -> Result<ScriptPrompt> {
    let shelved = core.guard.shelved(name)?;
    let bytes = core.library.bytes(&shelved.item, TEXT_MAX)?;
    core.guard.show_script(name, bytes.as_deref())
}

async fn approve(
    dispatcher: &Arc<Dispatcher>,
    name: ItemName,
    person: Option<String>,
    io: &mut Io,
    signals: &mut Signals,
) -> Result<Exit> {
    known_person(dispatcher, person.as_deref()).await?;
    let core = dispatcher.core().clone();
    let prompt = crate::registry::blocking(move || show(&core, &name)).await??;
    io.page(prompt.text.trim_end(), signals).await?;
    let shown = Instant::now();
    io.say("\nYour code approves exactly these bytes. Never give it to the assistant: it works nowhere in the chat.")?;
    io.flush()?;
    let code = code_of_person(io, signals).await?;
    tokio::select! {
        () = tokio::time::sleep_until(shown + prompt.min_view) => {}
        () = signals.next() => return Err(Error::new(ErrorCode::Cancelled, "interrupted; nothing was done")),
    }
    let ballot =
        ScriptBallot { name: prompt.name, sha256: prompt.sha256, preview_sha256: prompt.preview_sha256, person, code };
    let approved = dispatcher.core().guard(move |g| g.approve_script(&ballot)).await??;
    io.say(&format!("approved: {} ({})", approved.item.name, approved.item.sha256))?;
    Ok(Exit::Done)
}

fn verify(core: &Arc<Core>, json: bool, io: &mut Io) -> Result<Exit> {
    let listed: Vec<_> = core.guard.library()?.into_iter().map(|s| (s.item, s.signature)).collect();
    let report = core.library.verify(&listed, &Job::default())?;
    if json {
        let text = serde_json::to_string(&report)
            .map_err(|e| Error::new(ErrorCode::Internal, "the report has no JSON form").source(e))?;
        io.say(&text)?;
    } else {
        let verdict = if report.problems.is_empty() { "holds" } else { "DOES NOT HOLD" };
        io.say(&format!("the library {verdict}: {} files, {} bytes", report.items, report.bytes))?;
        let problems: Vec<ProblemRow> =
            report.problems.iter().map(|p| ProblemRow { part: p.part, id: p.id.clone(), why: p.why.clone() }).collect();
        if !problems.is_empty() {
            listing::print(&problems, &[], false, io)?;
        }
    }
    Ok(if report.problems.is_empty() { Exit::Done } else { Exit::Failed })
}
