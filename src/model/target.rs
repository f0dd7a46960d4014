//! What a step names besides files and processes: lines, registry values, links and services, as they were when the plan was made.
//!
//! Invariant: a person reads all of it, and the device compares all of it before it does anything.

use super::{DevicePath, EntityKind, FileIdentity, Sha256};
use serde::{Deserialize, Serialize};

/// The entity that was asked for, where the step is a part of it. Its undo record carries it: `undo` finds all parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartOf {
    pub kind: EntityKind,
    /// As it was named, or as the listing names it.
    pub id: String,
}

/// One line of a text file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineTarget {
    /// From 1, in the file as it is when the step's turn comes.
    pub number: u64,
    /// Without its line feed, written as [`DevicePath::to_text`] writes what text cannot hold.
    pub text: String,
}

/// A value of a registry hive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueTarget {
    /// The names of its key and of those above it, from below the hive's root.
    pub key: Vec<String>,
    /// Empty for the default value.
    pub name: String,
    /// `REG_SZ`, …
    pub kind: String,
    /// Of its data.
    pub size_bytes: u64,
    pub sha256: Sha256,
    /// The data as text, or the beginning of it; `None` where it is on the secret list.
    pub data: Option<String>,
}

impl ValueTarget {
    /// `key\value`; of the default value the key with a backslash after it.
    pub fn path(&self) -> String {
        self.key.iter().chain([&self.name]).map(String::as_str).collect::<Vec<_>>().join("\\")
    }
}

/// A symlink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkTarget {
    /// Absolute.
    pub path: DevicePath,
    pub identity: FileIdentity,
    /// What it says, not what it leads to.
    pub target: DevicePath,
    pub uid: u32,
    pub gid: u32,
}

/// A unit of the system's service manager.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceTarget {
    pub unit: String,
    /// `active`, `inactive`, …
    pub state: String,
    /// Its main process, where it has one: for the person, since a service that restarts has another one soon.
    pub pid: Option<u32>,
    /// What it is: its unit file and what is added to it, in the manager's order.
    pub files: Vec<UnitFile>,
    /// The image that it starts.
    pub image: Option<DevicePath>,
    /// What stays, and why; what starts it again.
    pub notes: Vec<String>,
}

/// A file that makes a unit what it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitFile {
    pub path: DevicePath,
    pub sha256: Sha256,
}
