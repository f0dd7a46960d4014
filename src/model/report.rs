//! Verdicts: the shape that Defender shows for `analyze`, and the rows of `scan`.

use super::{DevicePath, Sha256, Timestamp};
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum AnalyzeQuery {
    File { path: DevicePath },
    Process { pid: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Analysis {
    pub report: Report,
}

/// What the engines say, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `infected`, `suspicious`, `clean`, `not_found` (no engine knows it), `error` (none could look).
    pub status: String,
    /// SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_hash: Option<Sha256>,
    /// Engines without a verdict.
    pub not_found: u32,
    pub clean: u32,
    pub suspicious: u32,
    pub infected: u32,
    /// All engines.
    pub total: u32,
    pub scans: Vec<EngineScan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
}

/// One engine's verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EngineScan {
    /// `hashes`, `package`, `static`, `yara`, `clamd`, `behavior`.
    pub engine: String,
    /// `infected`, `suspicious`, `clean`, `not_found`, `not_available`, `error`.
    pub status: String,
    pub scan_time: Timestamp,
    /// What it found, or why it has no verdict.
    pub detections: Vec<Untrusted>,
    /// Facts that weigh nothing by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Untrusted>,
}

/// What a process has open and has made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Behavior {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<Untrusted>,
    pub connections: Vec<Untrusted>,
    /// Open files.
    pub files: Vec<Untrusted>,
    /// Processes that it started: pid and command line.
    pub children: Vec<Untrusted>,
    /// Files in its memory that have no name any more.
    pub deleted_maps: Vec<Untrusted>,
    /// Memory that runs and never was a file (`memfd`).
    pub memfd_maps: Vec<Untrusted>,
    /// Regions without a file that may be written and run.
    pub writable_code: u32,
}

/// Looks through files for what is known to be bad.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanQuery {
    pub extent: Extent,
}

/// Where a scan looks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum Extent {
    /// Where malware lies most, and what runs without a file.
    Quick,
    /// Every local file.
    Full,
    /// A file, or a tree.
    Path(DevicePath),
}

crate::model::row! {
    /// A file in which an engine found something.
    pub struct Detection {
        pub path: DevicePath,
        pub engine: &'static str,
        /// The engine's name for it.
        pub name: Untrusted,
        /// `infected` or `suspicious`.
        pub verdict: &'static str,
        pub sha256: Option<Sha256>,
        pub size_bytes: Option<u64>,
        pub modified: Option<Timestamp>,
        pub owner: Option<Untrusted>,
    }
}

/// What a scan looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scanned {
    pub files: u64,
    pub bytes: u64,
    pub engines: Vec<EngineState>,
}

/// An engine as a scan had it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EngineState {
    /// `yara`, `hashes`, `clamd`.
    pub engine: String,
    /// `ready`, `not_available`, `error`.
    pub status: String,
    /// Rules and hashes it knows, or what is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Untrusted>,
}
