//! The plan: written once, then stored, hashed, shown and run from, never written again.
//!
//! Invariant: a struct without maps or floats, every field present; the digest is that of the stored bytes.

use super::policy::{Level, Tier};
use crate::audit::{Moment, escape};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{
    CommandId, DeviceId, DevicePath, IsolationKind, LibraryItem, RequestId, SessionId, Sha256, Step, TenantDeed,
    Timestamp,
};
use crate::principal::{Principal, Transport};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Version of the plan's form.
pub(super) const VERSION: u32 = 1;
/// Version of the commands' arguments and steps.
pub(super) const SCHEMA: u32 = 1;
/// No plan is larger: a person must be able to look through it.
pub(super) const MAX_BYTES: usize = 256 << 10;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    pub(super) v: u32,
    pub(super) request_id: RequestId,
    pub(super) nonce: String,
    /// Which log it belongs to: a plan of another store is not run.
    pub(super) instance: String,
    pub(super) epoch: u64,
    pub(super) requester: Requester,
    pub(super) command_id: CommandId,
    pub(super) session: Option<SessionId>,
    pub(super) device: Place,
    pub(super) command: String,
    pub(super) schema_version: u32,
    pub(super) args: Box<RawValue>,
    pub(super) steps: Vec<Step>,
    pub(super) entities: Vec<Entity>,
    /// The library file whose bytes are run or put, where there is one.
    pub(super) script: Option<LibraryItem>,
    pub(super) isolation: Option<Isolated>,
    pub(super) policy_sha256: Sha256,
    pub(super) rule_ids: Vec<String>,
    pub(super) required: Required,
    pub(super) created_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) ttl_s: u64,
    pub(super) exec_window_s: u64,
}

/// What a plan isolates, in short: the step has it in full.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Isolated {
    pub(super) r#type: IsolationKind,
    pub(super) lease_s: u64,
    pub(super) commit_s: u64,
    /// Of the exemptions as JSON.
    pub(super) exemptions_sha256: Sha256,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Requester {
    pub(super) transport: Transport,
    pub(super) principal: Principal,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) id: DeviceId,
    pub(super) group: String,
    pub(super) tier: Tier,
    pub(super) name_at_request: String,
}

/// What a step is about, by content.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entity {
    pub(super) kind: String,
    pub(super) identity: String,
    pub(super) sha256: Option<Sha256>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Required {
    pub(super) level: Level,
    pub(super) votes: u32,
    pub(super) groups: Vec<String>,
}

impl Plan {
    /// The bytes that are stored, hashed and run from. `E_TOO_LARGE` where nobody could look through it.
    pub(super) fn write(&self) -> Result<String> {
        let text = serde_json::to_string(self).map_err(|e| Error::new(ErrorCode::Internal, e.to_string()))?;
        let text = escape(&text).into_owned();
        if text.len() > MAX_BYTES {
            return Err(Error::new(
                ErrorCode::TooLarge,
                format!("the plan has {} bytes, at most {MAX_BYTES} can be shown to a person", text.len()),
            )
            .hint("ask for fewer entities at once"));
        }
        Ok(text)
    }

    pub(super) fn read(bytes: &str) -> Result<Self, String> {
        serde_json::from_str(bytes).map_err(|e| format!("plan: {e}"))
    }

    pub(super) fn is_reversible(&self) -> bool {
        self.steps.iter().all(Step::is_reversible)
    }

    pub(super) fn expires(&self, created: &Moment) -> Timestamp {
        created.timestamp().plus_secs(i64::try_from(self.ttl_s).unwrap_or(0))
    }
}

/// Typed arguments as JSON, checked to be one value.
pub(super) fn args(text: &str) -> Result<Box<RawValue>> {
    RawValue::from_string(text.to_owned())
        .map_err(|e| Error::new(ErrorCode::Internal, format!("arguments are no JSON: {e}")))
}

pub(super) fn entity(step: &Step) -> Entity {
    let of = |kind: &str, identity: String, sha256: Option<&Sha256>| Entity {
        kind: kind.into(),
        identity,
        sha256: sha256.cloned(),
    };
    match step {
        Step::Quarantine { file, .. } => of("file", file.identity.to_string(), Some(&file.sha256)),
        Step::Stop { process, .. } => {
            of("process", format!("{}@{}", process.pid, process.start_ticks), Some(&process.image_sha256))
        }
        Step::Restore { undo_id, sha256, .. } => of("undo", undo_id.to_string(), Some(sha256)),
        Step::Collect { directory, name, .. } => of("package", format!("{directory} {name}"), None),
        Step::CutLine { file, line, .. } => {
            of("line", format!("{}:{}", file.identity, line.number), Some(&file.sha256))
        }
        Step::PutLine { undo_id, file, .. } => of("undo", undo_id.to_string(), Some(&file.sha256)),
        Step::CutValue { hive, value, .. } => {
            of("registry", format!("{} {}", hive.identity, value.path()), Some(&hive.sha256))
        }
        Step::PutValue { undo_id, hive, .. } => of("undo", undo_id.to_string(), Some(&hive.sha256)),
        Step::StopService { service, .. } => {
            of("service", service.unit.clone(), service.files.first().map(|file| &file.sha256))
        }
        Step::RemoveLink { link, .. } => of("link", link.identity.to_string(), None),
        Step::Mask { path, .. } => of("mask", path.to_text().into_owned(), None),
        Step::StartService { undo_id, .. } | Step::RestoreLink { undo_id, .. } | Step::Unmask { undo_id, .. } => {
            of("undo", undo_id.to_string(), None)
        }
        Step::ReloadServices => of("service_manager", "reload".into(), None),
        Step::Run { script: item, .. } | Step::Put { item, .. } | Step::DeleteScript { item } => {
            of("library", item.name.to_string(), Some(&item.sha256))
        }
        Step::Disclose { slice } => of("evidence", format!("{}+{}", slice.offset, slice.length), Some(&slice.sha256)),
        Step::Isolate { isolation } => {
            of("isolation", isolation.kind.as_str().to_owned(), Some(&isolation.ruleset_sha256))
        }
        Step::Release { release } => of("isolation", release.isolated_by.to_string(), None),
        Step::Tenant { deed } => tenant_entity(deed),
    }
}

fn tenant_entity(deed: &TenantDeed) -> Entity {
    let (kind, identity, sha256) = match deed {
        TenantDeed::Isolate { kind, .. } => ("isolation", kind.as_str().to_owned(), None),
        TenantDeed::Release { .. } => ("isolation", "release".to_owned(), None),
        TenantDeed::Scan { full } => ("scan", if *full { "full" } else { "quick" }.to_owned(), None),
        TenantDeed::StopAndQuarantine { sha1, sha256, .. } => ("file", sha1.clone(), Some(sha256)),
        TenantDeed::Run { item, .. } | TenantDeed::Put { item, .. } => {
            ("library", item.name.to_string(), Some(&item.sha256))
        }
        TenantDeed::Script { kind, id, .. } => (kind.as_str(), id.clone(), None),
        TenantDeed::AddIndicator { kind, value, .. } => ("indicator", format!("{kind} {value}"), None),
        TenantDeed::RemoveIndicator { id, .. } => ("indicator", id.clone(), None),
    };
    Entity { kind: kind.to_owned(), identity, sha256: sha256.cloned() }
}

/// The isolation of a plan, where a step is one.
pub(super) fn isolated(steps: &[Step]) -> Result<Option<Isolated>> {
    let isolation = steps.iter().find_map(|s| match s {
        Step::Isolate { isolation } => Some(isolation),
        _ => None,
    });
    let Some(isolation) = isolation else { return Ok(None) };
    let exemptions =
        serde_json::to_vec(&isolation.exemptions).map_err(|e| Error::new(ErrorCode::Internal, e.to_string()))?;
    Ok(Some(Isolated {
        r#type: isolation.kind,
        lease_s: isolation.lease_s,
        commit_s: isolation.commit_s,
        exemptions_sha256: Sha256::of(&exemptions),
    }))
}

/// The paths that a step names.
pub(super) fn paths(step: &Step) -> Vec<&DevicePath> {
    match step {
        Step::Quarantine { file, .. } | Step::CutLine { file, .. } | Step::PutLine { file, .. } => vec![&file.path],
        Step::CutValue { hive, .. } | Step::PutValue { hive, .. } => vec![&hive.path],
        Step::Stop { process, .. } => process.image.iter().collect(),
        Step::Collect { folder, .. } => vec![folder],
        Step::Run { interpreter, directory, .. } => vec![interpreter, directory],
        Step::Put { path, .. } => vec![path],
        Step::DeleteScript { .. } => Vec::new(),
        Step::Restore { path, .. } | Step::Mask { path, .. } | Step::Unmask { path, .. } => vec![path],
        Step::RemoveLink { link, .. } => vec![&link.path, &link.target],
        Step::RestoreLink { path, target, .. } => vec![path, target],
        Step::StopService { service, .. } => service.files.iter().map(|f| &f.path).chain(&service.image).collect(),
        Step::StartService { .. } | Step::ReloadServices => Vec::new(),
        Step::Disclose { slice } => vec![&slice.path],
        Step::Tenant { deed } => match &**deed {
            TenantDeed::StopAndQuarantine { path, .. } => vec![path],
            _ => Vec::new(),
        },
        Step::Isolate { .. } | Step::Release { .. } => Vec::new(),
    }
}
