//! What an action that has ended came to: its state, what it left, and a look whether that is so.

use super::{Did, row};
use crate::device::defender::DefenderDevice;
use crate::device::defender::api::{CommandStatus, MachineAction, Status};
use crate::device::defender::batch::failed;
use crate::device::defender::document::Document;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Captured, DevicePath, FileFacts, Job, RequestId, TenantDeed, Timestamp, UndoId, Verified};
use crate::shape::Untrusted;
use serde::Deserialize;
use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Arc;

#[derive(Deserialize)]
struct Acted {
    #[serde(default)]
    outcome: String,
    #[serde(default)]
    undo_id: Option<UndoId>,
    #[serde(default)]
    verified: bool,
    #[serde(default)]
    note: Option<Untrusted>,
}

/// The deed in a few words.
pub(super) fn what(deed: &TenantDeed) -> String {
    match deed {
        TenantDeed::Isolate { kind, .. } => format!("isolate {}", kind.as_str()),
        TenantDeed::Release { .. } => "release".to_owned(),
        TenantDeed::Scan { full } => format!("scan {}", if *full { "full" } else { "quick" }),
        TenantDeed::StopAndQuarantine { sha1, .. } => format!("remediate file {sha1}"),
        TenantDeed::Run { item, .. } => format!("run {}", item.name),
        TenantDeed::Put { item, .. } => format!("putfile {}", item.name),
        TenantDeed::Script { script, kind, .. } => format!("{script} {}", kind.as_str()),
        TenantDeed::AddIndicator { .. } | TenantDeed::RemoveIndicator { .. } => "indicator".to_owned(),
    }
}

pub(super) async fn settle(
    device: &DefenderDevice,
    deed: &TenantDeed,
    action: &MachineAction,
    request: &RequestId,
    job: &Arc<Job>,
) -> Did {
    let has_run = action.has_run();
    let is_live = matches!(deed, TenantDeed::Run { .. } | TenantDeed::Put { .. } | TenantDeed::Script { .. });
    match &action.status {
        Status::Succeeded => {}
        // Its commands say whether one was begun; of other actions nobody does.
        Status::Cancelled if is_live && !has_run => {
            return Did::Failed(failed(action, None));
        }
        Status::Cancelled if matches!(deed, TenantDeed::Script { .. }) => {}
        Status::Cancelled => return cancelled(device, deed, action, request, job).await,
        // A script of the pack says itself what it did, also where the service calls it failed.
        _ if matches!(deed, TenantDeed::Script { .. } | TenantDeed::Run { .. }) && has_run => {}
        Status::TimeOut => return Did::Unknown(failed(action, None).message),
        _ => return Did::Failed(failed(action, action.commands.first())),
    }
    match deed {
        TenantDeed::Isolate { kind, .. } => {
            isolated(device, "isolated", kind.as_str(), kind.as_str(), request, job).await
        }
        TenantDeed::Release { .. } => isolated(device, "released", "release", "released", request, job).await,
        TenantDeed::Scan { full } => {
            let kind = if *full { "full" } else { "quick" };
            let mut row = row("scan", kind, "scanned", request);
            row.note = Some(Untrusted::new("what it found and removed is in the tenant's alerts"));
            Did::Done { row: Box::new(row), verified: Verified::Unknown }
        }
        TenantDeed::StopAndQuarantine { path, sha256, size_bytes, .. } => {
            quarantined(device, path, (sha256, *size_bytes), request, job).await
        }
        TenantDeed::Put { item, file_name } => {
            let mut row = row("library", item.name.as_str(), "put", request);
            row.sha256 = Some(item.sha256.clone());
            row.size_bytes = Some(item.size_bytes);
            row.note = Some(Untrusted::new(format!("as {file_name} in Defender's own folder for such files")));
            Did::Done { row: Box::new(row), verified: Verified::Unknown }
        }
        TenantDeed::Run { item, output_max, .. } => {
            match output(device, action, *output_max, item.name.as_str(), job).await {
                Ok(exit_code) => {
                    let mut row = row("script", item.name.as_str(), "ran", request);
                    row.exit_code = exit_code;
                    // What it did, nobody but the script knows.
                    Did::Done { row: Box::new(row), verified: Verified::Unknown }
                }
                Err(e) => Did::Broken { row: Box::new(row("script", item.name.as_str(), "ran", request)), error: e },
            }
        }
        TenantDeed::Script { script, kind, id, nonce, .. } => {
            match acted(device, action, script, nonce, job).await {
                Ok(acted) => {
                    let mut row = row(kind.as_str(), id, &word(&acted.outcome), request);
                    row.undo_id = acted.undo_id;
                    row.note = acted.note.filter(|note| !note.raw().is_empty());
                    let verified = if acted.verified { Verified::Yes } else { Verified::No };
                    Did::Done { row: Box::new(row), verified }
                }
                Err(e) if e.code == ErrorCode::EntityDrift => Did::Drift(e.message),
                Err(e) if is_a_no(e.code) => Did::Failed(e),
                // What it did is open where its words could not be read.
                Err(e) => Did::Unknown(format!("what it did could not be read: {}", e.message)),
            }
        }
        TenantDeed::AddIndicator { .. } | TenantDeed::RemoveIndicator { .. } => {
            Did::Failed(Error::new(ErrorCode::Unsupported, "indicators are the whole tenant's, not a device's"))
        }
    }
}

/// Of what was cancelled and may have run all the same: what the device has says whether it did, where it says it.
async fn cancelled(
    device: &DefenderDevice,
    deed: &TenantDeed,
    action: &MachineAction,
    request: &RequestId,
    job: &Arc<Job>,
) -> Did {
    if let TenantDeed::StopAndQuarantine { path, sha256, size_bytes, .. } = deed
        && let Did::Done { mut row, verified: Verified::Yes } =
            quarantined(device, path, (sha256, *size_bytes), request, job).await
    {
        row.note = Some(Untrusted::new(format!("the action {} was cancelled, and the file is gone", action.id)));
        return Did::Done { row, verified: Verified::Yes };
    }
    Did::Unknown(format!("the action {} was cancelled and may have run all the same", action.id))
}

/// Verified by what the device's actions say now.
async fn isolated(
    device: &DefenderDevice,
    outcome: &str,
    id: &str,
    wanted: &str,
    request: &RequestId,
    job: &Arc<Job>,
) -> Did {
    let verified = match device.isolation_now(job).await {
        Ok(now) if now == wanted => Verified::Yes,
        Ok(_) => Verified::No,
        Err(e) => {
            job.warn(format!("whether it is so could not be looked at: {}", e.message));
            Verified::Unknown
        }
    };
    let mut row = row("isolation", id, outcome, request);
    if outcome == "isolated" {
        row.note = Some(Untrusted::new("it has no end of its own: release ends it"));
    }
    Did::Done { row: Box::new(row), verified }
}

async fn quarantined(
    device: &DefenderDevice,
    path: &DevicePath,
    (sha256, size_bytes): (&crate::model::Sha256, u64),
    request: &RequestId,
    job: &Arc<Job>,
) -> Did {
    let verified = match device.file_info(path, job).await {
        Err(e) if e.code == ErrorCode::NotFound => Verified::Yes,
        Ok(info) if info.sha256 == *sha256 => Verified::No,
        Ok(_) => Verified::Yes,
        Err(e) => {
            job.warn(format!("whether the file is gone could not be looked at: {}", e.message));
            Verified::Unknown
        }
    };
    let mut row = row("file", &path.to_text(), "quarantined", request);
    row.path = Some(path.clone());
    row.sha256 = Some(sha256.clone());
    row.size_bytes = Some(size_bytes);
    row.note = Some(Untrusted::new("by Defender, which keeps it: the portal or MpCmdRun -Restore brings it back"));
    Did::Done { row: Box::new(row), verified }
}

async fn acted(
    device: &DefenderDevice,
    action: &MachineAction,
    script: &str,
    nonce: &str,
    job: &Arc<Job>,
) -> Result<Acted> {
    let unread = |e: Error| Error::new(ErrorCode::Backend, e.message);
    let result = device.tenant.script_result(&action.id, 0, job).await.map_err(unread)?;
    Document::find(&result, script, nonce)?.data(job)
}

/// Codes with which a script says that it has not done it.
const fn is_a_no(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotFound
            | ErrorCode::Access
            | ErrorCode::Exists
            | ErrorCode::NotAFile
            | ErrorCode::Protected
            | ErrorCode::Unsupported
            | ErrorCode::BadArgs
            | ErrorCode::StoreUnavailable
    )
}

/// Keeps what a script wrote; its exit code.
async fn output(
    device: &DefenderDevice,
    action: &MachineAction,
    max: u64,
    name: &str,
    job: &Arc<Job>,
) -> Result<Option<i32>> {
    let result = device.tenant.script_result(&action.id, 0, job).await?;
    let ran = action.commands.first().is_none_or(|c| c.command_status == CommandStatus::Completed);
    if !ran {
        job.warn(failed(action, action.commands.first()).message);
    }
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut bytes = result.output.as_bytes().to_vec();
    if !result.errors().is_empty() {
        bytes.extend_from_slice(b"\n--- errors ---\n");
        bytes.extend_from_slice(result.errors().as_bytes());
    }
    if bytes.len() > max {
        job.warn(format!("the script wrote {} bytes, {max} of them were kept", bytes.len()));
        bytes.truncate(max);
    }
    let facts = FileFacts {
        path: DevicePath::new(format!("run:{name}")),
        size_bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        modified: Some(Timestamp::now()),
        identity: None,
        secret: None,
    };
    match nameless(&bytes) {
        Ok(file) => job.capture(Captured { facts, file }),
        Err(e) => job.warn(format!("the output was not kept: {e}")),
    }
    Ok(result.exit_code.and_then(|code| i32::try_from(code).ok()))
}

/// A file without a name.
fn nameless(bytes: &[u8]) -> std::io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

/// A device's word for what it did, as one that a row may hold.
fn word(text: &str) -> String {
    let word: String = text.chars().filter(|c| c.is_ascii_lowercase() || *c == '_').take(32).collect();
    if word.is_empty() { "done".to_owned() } else { word }
}
