//! What must hold before the tenant is asked: the target is still the approved one, and the library holds exactly the
//! approved bytes.

use super::Result;
use crate::device::defender::DefenderDevice;
use crate::device::defender::actions::Start;
use crate::device::defender::api::{IsolationType, LibraryFile, LiveCommand, ScanType};
use crate::device::defender::pack::{self, Arguments};
use crate::error::{Error, ErrorCode};
use crate::model::{IsolationKind, Job, LibraryItem, Sha256, Supply, TenantDeed};
use std::io::Read;
use std::sync::Arc;

pub(super) enum Ready {
    Start(Start),
    /// Something is not as the person saw it.
    Drift(String),
}

pub(super) async fn prepare(
    device: &DefenderDevice,
    deed: &TenantDeed,
    supply: &dyn Supply,
    job: &Arc<Job>,
) -> Result<Ready> {
    let live = |command| Ok(Ready::Start(Start::LiveResponse(vec![command])));
    match deed {
        TenantDeed::Isolate { state, .. } | TenantDeed::Release { state, .. } => {
            let now = device.isolation_now(job).await?;
            if now != *state {
                return Ok(Ready::Drift(format!("the device's isolation is {now:?} now, it was {state:?}")));
            }
            Ok(Ready::Start(match deed {
                TenantDeed::Isolate { kind: IsolationKind::Full, .. } => Start::Isolate(IsolationType::Full),
                TenantDeed::Isolate { .. } => Start::Isolate(IsolationType::Selective),
                _ => Start::Unisolate,
            }))
        }
        TenantDeed::Scan { full } => {
            Ok(Ready::Start(Start::Scan(if *full { ScanType::Full } else { ScanType::Quick })))
        }
        TenantDeed::StopAndQuarantine { path, sha1, sha256, size_bytes, .. } => {
            let now = device.file_info(path, job).await;
            let now = match now {
                Ok(now) => now,
                Err(e) if e.code == ErrorCode::NotFound => {
                    return Ok(Ready::Drift(format!("there is no {path} any more")));
                }
                Err(e) => return Err(e),
            };
            if (&now.sha1, &now.sha256, now.size_bytes) != (sha1, sha256, *size_bytes) {
                return Ok(Ready::Drift(format!("{path} has another content now: SHA-256 {}", now.sha256)));
            }
            Ok(Ready::Start(Start::StopAndQuarantine { sha1: sha1.clone() }))
        }
        TenantDeed::Run { item, file_name, args, .. } => {
            upload(device, item, file_name, supply, job).await?;
            live(LiveCommand::RunScript { script_name: file_name.clone(), args: args.clone() })
        }
        TenantDeed::Put { item, file_name } => {
            upload(device, item, file_name, supply, job).await?;
            live(LiveCommand::PutFile { file_name: file_name.clone() })
        }
        TenantDeed::Script { script, file_name, sha256, kind, id, undo_id, nonce, facts, .. } => {
            let ours = pack::script(script, device.shell()?)?;
            if ours.file_name() != *file_name || ours.sha256() != sha256 {
                let what = format!("the plan was made with {file_name}, this program has {}", ours.file_name());
                return Err(Error::new(ErrorCode::ScriptDrift, what).hint("ask again"));
            }
            let mut arguments =
                Arguments::signed(nonce).text("mode", "do").text("kind", kind.as_str()).text("id", id.as_str());
            if let Some(undo_id) = undo_id {
                arguments = arguments.text("undo_id", undo_id.as_str());
            }
            for fact in facts {
                arguments = arguments.text(&format!("expect_{}", fact.name), fact.value.as_str());
            }
            device.tenant.listing.forget().await;
            live(device.tenant.command(ours, &arguments, job).await?)
        }
        TenantDeed::AddIndicator { .. } | TenantDeed::RemoveIndicator { .. } => {
            Err(Error::new(ErrorCode::Unsupported, "indicators are the whole tenant's, not a device's"))
        }
    }
}

/// Puts a library file of ours into the tenant's library, never over anything, and holds the listing to its hash.
async fn upload(
    device: &DefenderDevice,
    item: &LibraryItem,
    file_name: &str,
    supply: &dyn Supply,
    job: &Arc<Job>,
) -> Result<()> {
    let client = &device.tenant.client;
    let listed = |files: Vec<LibraryFile>| files.into_iter().filter(|f| f.file_name == file_name).collect::<Vec<_>>();
    let there = listed(client.library(job).await?);
    if there.is_empty() {
        let bytes = bytes_of(item, supply)?;
        let description = format!("live-response: {} of the script library", item.name);
        let lost = match client.upload(file_name, &description, bytes, job).await {
            Err(e) if e.code == ErrorCode::OutcomeUnknown => Some(e),
            Err(e) if e.code != ErrorCode::Exists => return Err(e),
            _ => None,
        };
        let there = listed(client.library(job).await?);
        // The listing says what an answer that was lost would have said.
        return match lost {
            Some(e) if there.is_empty() => Err(Error::new(ErrorCode::Backend, e.message).hint("ask again")),
            _ => held(&there, item, file_name),
        };
    }
    held(&there, item, file_name)
}

fn held(there: &[LibraryFile], item: &LibraryItem, file_name: &str) -> Result<()> {
    if !there.is_empty() && there.iter().all(|file| file.sha256.as_ref() == Some(&item.sha256)) {
        return Ok(());
    }
    let what = match there.first() {
        None => format!("the tenant's library does not list {file_name} after the upload"),
        Some(_) => format!("the tenant's library has other bytes under {file_name}; nothing was begun"),
    };
    Err(Error::new(ErrorCode::ScriptDrift, what).hint("find out who changed it, and delete it in the portal"))
}

fn bytes_of(item: &LibraryItem, supply: &dyn Supply) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // No more than the plan says; its hash would differ anyway.
    let held = supply.open(&item.sha256)?.take(item.size_bytes.saturating_add(1)).read_to_end(&mut bytes);
    held.map_err(|e| Error::io(item.name.as_str(), e))?;
    match Sha256::of(&bytes) == item.sha256 {
        true => Ok(bytes),
        false => Err(Error::new(ErrorCode::ScriptDrift, format!("{} is not the approved file any more", item.name))),
    }
}
