//! How what a Defender tenant is to do stands on a person's screen.

use super::field;
use crate::model::{EntityKind, TenantDeed, Timestamp};
use std::fmt::Result;

pub(super) const fn title(deed: &TenantDeed) -> &'static str {
    match deed {
        TenantDeed::Isolate { .. } => "Have Defender cut this device off the network (release ends that)",
        TenantDeed::Release { .. } => {
            "Have Defender give this device its network back, and whoever may be on it with it"
        }
        TenantDeed::Scan { .. } => "Have Defender scan this device: it removes what it finds",
        TenantDeed::StopAndQuarantine { .. } => "Have Defender stop and quarantine this file, wherever it is there",
        TenantDeed::Run { .. } => "Run this script: what it does cannot be taken back by this program",
        TenantDeed::Put { .. } => "Put this library file on the device",
        TenantDeed::Script { undo_id: None, .. } => "Bring this back: what was removed returns",
        TenantDeed::Script { kind: EntityKind::Process, .. } => "Stop this process for good",
        TenantDeed::Script { .. } => "Take this away (undo brings it back)",
        TenantDeed::AddIndicator { .. } => "Add this indicator to the tenant: it reaches every device there",
        TenantDeed::RemoveIndicator { .. } => "Take this indicator out of the tenant: it reaches every device there",
    }
}

pub(super) fn step(out: &mut String, deed: &TenantDeed) -> Result {
    match deed {
        TenantDeed::Isolate { kind, state, may_wait_until } => {
            field(out, "type", kind.as_str())?;
            field(out, "isolation now", state)?;
            field(out, "! end", "none by itself: it lasts until somebody releases the device")?;
            may_wait(out, *may_wait_until)
        }
        TenantDeed::Release { state, may_wait_until } => {
            field(out, "isolation now", state)?;
            may_wait(out, *may_wait_until)
        }
        TenantDeed::Scan { full } => field(out, "type", if *full { "full" } else { "quick" }),
        TenantDeed::StopAndQuarantine { path, sha1, sha256, size_bytes, signer, known_as } => {
            field(out, "path", &path.to_text())?;
            field(out, "sha1", sha1)?;
            field(out, "sha256", sha256.as_str())?;
            field(out, "size", &format!("{size_bytes} bytes"))?;
            field(out, "signed by", signer.as_deref().unwrap_or("nobody that Defender knows"))?;
            field(out, "known as", known_as.as_deref().unwrap_or("nothing that Defender knows"))?;
            field(out, "! reach", "every copy with this SHA-1 on the device, and every process that runs one")
        }
        TenantDeed::Run { item, file_name, args, user, output_max } => {
            super::library::item(out, item)?;
            field(out, "uploaded as", file_name)?;
            field(out, "arguments", args.as_deref().unwrap_or("(none)"))?;
            field(out, "! arguments", "one line that the device's shell splits into words")?;
            field(out, "runs as", user)?;
            field(out, "time limit", "600 s, by Defender")?;
            field(out, "output", &format!("kept as evidence, up to {output_max} bytes"))
        }
        TenantDeed::Put { item, file_name } => {
            super::library::item(out, item)?;
            field(out, "uploaded as", file_name)?;
            field(out, "to", "the folder that Defender keeps for such files")
        }
        TenantDeed::Script { file_name, sha256, kind, id, undo_id, facts, note, .. } => {
            field(out, "type", kind.as_str())?;
            field(out, "id", id)?;
            for fact in facts {
                field(out, &fact.name, &fact.value)?;
            }
            if let Some(note) = note {
                field(out, "! note", note)?;
            }
            if let Some(undo_id) = undo_id {
                field(out, "undo record", undo_id.as_str())?;
            }
            field(out, "by script", file_name)?;
            field(out, "its sha256", sha256.as_str())
        }
        TenantDeed::AddIndicator { kind, value, effect, title, description, expires } => {
            field(out, "type", kind)?;
            field(out, "value", value)?;
            field(out, "effect", effect)?;
            field(out, "title", title)?;
            field(out, "description", description)?;
            field(out, "expires", &expires.map_or_else(|| "never".to_owned(), |at| at.to_string()))
        }
        TenantDeed::RemoveIndicator { id, kind, value, effect, title } => {
            field(out, "id", id)?;
            field(out, "type", kind)?;
            field(out, "value", value)?;
            field(out, "effect", effect)?;
            field(out, "title", title)
        }
    }
}

fn may_wait(out: &mut String, until: Option<Timestamp>) -> Result {
    match until {
        Some(until) => field(out, "! may wait", &format!("the device is off: it may wait until {until}")),
        None => Ok(()),
    }
}

/// The texts of a device, a tenant or a caller that a step shows.
pub(super) fn texts(deed: &TenantDeed) -> Vec<String> {
    match deed {
        TenantDeed::Isolate { state, .. } | TenantDeed::Release { state, .. } => vec![state.clone()],
        TenantDeed::Scan { .. } | TenantDeed::Put { .. } => Vec::new(),
        TenantDeed::StopAndQuarantine { signer, known_as, .. } => signer.iter().chain(known_as).cloned().collect(),
        TenantDeed::Run { args, .. } => args.iter().cloned().collect(),
        TenantDeed::Script { id, facts, note, .. } => {
            let facts = facts.iter().flat_map(|fact| [&fact.name, &fact.value]);
            facts.chain([id]).chain(note).cloned().collect()
        }
        TenantDeed::AddIndicator { value, title, description, .. } => {
            vec![value.clone(), title.clone(), description.clone()]
        }
        TenantDeed::RemoveIndicator { value, title, .. } => vec![value.clone(), title.clone()],
    }
}
