//! What a Defender tenant is asked to do, exactly: as part of a plan, and once it was handed over.
//!
//! Invariant: every value that decides what happens is in the deed and on the person's screen.

use super::{DevicePath, EntityKind, IsolationKind, LibraryItem, Sha256, Timestamp, UndoId};
use serde::{Deserialize, Serialize};

/// Something that a device said of an entity; equal facts mean the very same entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    pub name: String,
    pub value: String,
}

/// One of the tenant's own actions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "deed", rename_all = "snake_case", deny_unknown_fields)]
pub enum TenantDeed {
    /// Has no automatic end.
    Isolate {
        kind: IsolationKind,
        /// What the last isolation action left: `none`, `full`, …
        state: String,
        /// The tenant keeps it so long for a device that is off.
        may_wait_until: Option<Timestamp>,
    },
    Release {
        state: String,
        may_wait_until: Option<Timestamp>,
    },
    /// Defender removes what it finds.
    Scan {
        full: bool,
    },
    /// Reaches every copy of the file on the device.
    StopAndQuarantine {
        path: DevicePath,
        sha1: String,
        sha256: Sha256,
        size_bytes: u64,
        signer: Option<String>,
        /// What Defender holds the file for, where it knows it.
        known_as: Option<String>,
    },
    /// A library file of ours, uploaded under `file_name`.
    Run {
        item: LibraryItem,
        file_name: String,
        args: Option<String>,
        user: String,
        output_max: u64,
    },
    Put {
        item: LibraryItem,
        file_name: String,
    },
    /// `remediate` or `undo` by a script of the pack.
    Script {
        script: String,
        file_name: String,
        sha256: Sha256,
        kind: EntityKind,
        id: String,
        undo_id: Option<UndoId>,
        /// Its answer carries this.
        nonce: String,
        facts: Vec<Fact>,
        note: Option<String>,
    },
    AddIndicator {
        kind: String,
        value: String,
        effect: String,
        title: String,
        description: String,
        expires: Option<Timestamp>,
    },
    RemoveIndicator {
        id: String,
        kind: String,
        value: String,
        effect: String,
        title: String,
    },
}

impl TenantDeed {
    /// Whether something takes it back.
    pub const fn is_reversible(&self) -> bool {
        match self {
            TenantDeed::StopAndQuarantine { .. } | TenantDeed::Run { .. } => false,
            // The pack keeps no image of a process.
            TenantDeed::Script { kind, .. } => !matches!(kind, EntityKind::Process),
            _ => true,
        }
    }

    pub const fn item(&self) -> Option<&LibraryItem> {
        match self {
            TenantDeed::Run { item, .. } | TenantDeed::Put { item, .. } => Some(item),
            _ => None,
        }
    }

    /// Whether the tenant goes on with it when this process has ended.
    pub const fn outlives(&self) -> bool {
        !matches!(self, TenantDeed::AddIndicator { .. } | TenantDeed::RemoveIndicator { .. })
    }

    pub const fn may_wait_until(&self) -> Option<Timestamp> {
        match self {
            TenantDeed::Isolate { may_wait_until, .. } | TenantDeed::Release { may_wait_until, .. } => *may_wait_until,
            _ => None,
        }
    }
}

/// A step of a plan that the tenant has taken: it goes on without us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handed {
    /// From 0.
    pub step: usize,
    /// The tenant's id of it.
    pub action: String,
}
