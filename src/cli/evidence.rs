//! `live-response evidence`: collected files and their custody.

use super::io::Io;
use super::{Exit, listing};
use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::error::{Error, ErrorCode, Result};
use crate::evidence::Store;
use crate::model::{Job, row};
use crate::principal::Principal;
use std::path::PathBuf;
use std::sync::Arc;

#[derive(clap::Subcommand)]
pub(super) enum Sub {
    /// Collected files, the newest first
    List {
        /// A JSON array with every field
        #[arg(long)]
        json: bool,
    },
    /// Writes the files, named by their SHA-256, and a manifest into a new or empty directory
    Export { dir: PathBuf },
    /// Hashes every file again and follows the custody records
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
    let store = Dispatcher::new(config).core().evidence.clone();
    match sub {
        Sub::List { json } => {
            let held = store.held(&Principal::own(), None, None)?;
            listing::print(&held, &["collected", "name", "size_bytes", "sha256", "device", "secret"], json, io)?;
            Ok(Exit::Done)
        }
        Sub::Export { dir } => {
            let written = store.export(&dir, &Job::default())?;
            io.say(&format!(
                "{} files, {} bytes, {} custody records, and manifest.json in {}",
                written.files,
                written.bytes,
                written.entries,
                crate::shape::clean(&dir.display().to_string())
            ))?;
            Ok(Exit::Done)
        }
        Sub::Verify { json } => verify(&store, json, io),
    }
}

fn verify(store: &Arc<Store>, json: bool, io: &mut Io) -> Result<Exit> {
    let report = store.verify(&Job::default())?;
    if json {
        let text = serde_json::to_string(&report)
            .map_err(|e| Error::new(ErrorCode::Internal, "the report has no JSON form").source(e))?;
        io.say(&text)?;
    } else {
        let facts = format!("{} files, {} bytes, {} custody records", report.objects, report.bytes, report.entries);
        let verdict = if report.problems.is_empty() { "holds" } else { "DOES NOT HOLD" };
        io.say(&format!("the evidence store {verdict}: {facts}"))?;
        let problems: Vec<ProblemRow> =
            report.problems.iter().map(|p| ProblemRow { part: p.part, id: p.id.clone(), why: p.why.clone() }).collect();
        if !problems.is_empty() {
            listing::print(&problems, &[], false, io)?;
        }
    }
    Ok(if report.problems.is_empty() { Exit::Done } else { Exit::Failed })
}
