//! Verdicts: the shape that Defender shows for `analyze`.

use super::Sha256;
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalyzeQuery {
    /// `file` or `process`.
    pub kind: String,
    pub id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Analysis {
    pub report: Report,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// `clean`, `suspicious`, `infected`, `not_found`.
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_hash: Option<Sha256>,
    pub not_found: u32,
    pub clean: u32,
    pub suspicious: u32,
    pub infected: u32,
    pub total: u32,
    pub scans: Vec<EngineScan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EngineScan {
    pub engine: String,
    pub status: String,
    pub scan_time: super::Timestamp,
    pub detections: Vec<Untrusted>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Behavior {
    pub connections: Vec<Untrusted>,
    pub files: Vec<Untrusted>,
    pub children: Vec<Untrusted>,
}

crate::model::row! {
    /// What a scan found.
    pub struct Detection {
        pub path: super::DevicePath,
        pub engine: String,
        pub name: Untrusted,
        pub sha256: Option<Sha256>,
    }
}
