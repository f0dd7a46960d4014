//! `live-response audit`: the log, as an auditor reads it.

use super::Exit;
use super::io::Io;
use crate::audit::{Checkpoint, Filter, Shown, checkpoint, show, verify};
use crate::config::Config;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{RequestId, Timestamp};
use crate::shape;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A checkpoint is one short line.
const MAX_CHECKPOINT: u64 = 4096;

#[derive(clap::Subcommand)]
pub(super) enum Sub {
    /// The records, oldest first
    Show {
        /// Only those of one request
        #[arg(long, value_name = "ID")]
        request: Option<String>,
        /// Only this event, or the events before whose dot it stands: exec.started, exec
        #[arg(long, value_name = "NAME")]
        event: Option<String>,
        /// Only from this time or this record on: 2026-11-24, 2026-11-24T08:00:00Z, 120
        #[arg(long, value_name = "TIME|SEQ")]
        since: Option<String>,
        /// The records as they stand in the log, one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Checks every record, the chain and, with a checkpoint, that nothing was cut off or rebuilt
    Verify {
        /// A line that `audit checkpoint` printed
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// The log's size and head, to be kept elsewhere
    Checkpoint,
}

pub(super) fn run(config: &Config, sub: Sub, io: &mut Io) -> Result<Exit> {
    let dir = config.home.join("audit");
    match sub {
        Sub::Show { request, event, since, json } => {
            let mut filter = Filter { event, request_id: request.map(RequestId::new), ..Filter::default() };
            since.as_deref().map(|text| from(&mut filter, text)).transpose()?;
            for shown in show(&dir, filter)? {
                let shown = shown?;
                io.say(&if json { shape::clean(&shown.line).into_owned() } else { line(&shown) })?;
            }
            Ok(Exit::Done)
        }
        Sub::Verify { checkpoint, json } => verdict(&dir, checkpoint.as_deref(), json, io),
        Sub::Checkpoint => {
            io.say(&checkpoint(&dir)?.to_string())?;
            Ok(Exit::Done)
        }
    }
}

fn from(filter: &mut Filter, text: &str) -> Result<()> {
    if let Ok(seq) = text.parse() {
        filter.since_seq = Some(seq);
        return Ok(());
    }
    let at = Timestamp::parse(text).ok_or_else(|| {
        Error::new(ErrorCode::BadArgs, format!("--since: {text:?} is neither a time nor a record's number"))
            .hint("2026-11-24, 2026-11-24T08:00:00Z or 120")
    })?;
    filter.since = Some(at);
    Ok(())
}

/// A record for people: what happened, to which request, by whom, and the facts.
fn line(shown: &Shown) -> String {
    let mut out = format!("{:>6}  {}  {:<20}", shown.seq, shown.at, shown.event);
    let facts = [
        shown.request_id.as_ref().map(ToString::to_string),
        shown.principal.clone(),
        shown.reason_code.clone(),
        detail(&shown.line),
    ];
    for fact in facts.into_iter().flatten() {
        out.push_str("  ");
        out.push_str(&fact);
    }
    shape::clean(&out).into_owned()
}

/// A record's own facts, on one line. A checkpoint's are the whole state, for programs only.
fn detail(line: &str) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Facts<'a> {
        event: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        detail: Option<&'a serde_json::value::RawValue>,
    }
    let facts: Facts<'_> = serde_json::from_str(line).ok()?;
    let detail = facts.detail?.get();
    (facts.event != "audit.checkpoint" && detail != "null").then(|| detail.to_owned())
}

fn verdict(dir: &Path, file: Option<&Path>, as_json: bool, io: &mut Io) -> Result<Exit> {
    let kept = file.map(kept).transpose()?;
    let (text, facts, exit) = match verify(dir, kept.as_ref()) {
        Ok(v) => {
            let head = v.head.as_ref().map_or("-", |h| h.as_str());
            let text = format!("the audit log holds: {} records in {} segments, head {head}", v.records, v.segments);
            let facts = json!({ "holds": true, "records": v.records, "segments": v.segments, "head": v.head });
            (text, facts, Exit::Done)
        }
        Err(b) => {
            let text = format!("the audit log DOES NOT HOLD: record {}: {}", b.seq, b.why);
            (text, json!({ "holds": false, "seq": b.seq, "why": b.why }), Exit::Failed)
        }
    };
    io.say(&if as_json { facts.to_string() } else { shape::clean(&text).into_owned() })?;
    Ok(exit)
}

fn kept(file: &Path) -> Result<Checkpoint> {
    let unread = |e| Error::io(format!("the checkpoint {}", file.display()), e);
    let mut text = String::new();
    std::fs::File::open(file).map_err(unread)?.take(MAX_CHECKPOINT).read_to_string(&mut text).map_err(unread)?;
    text.trim().parse()
}
