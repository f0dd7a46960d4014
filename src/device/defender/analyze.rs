//! What Defender's cloud knows of a file: asked by the hash that the device itself gives.
//!
//! Invariant: a file that the cloud has never seen is unknown, not clean.

use super::DefenderDevice;
use super::api::FileProfile;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Analysis, AnalyzeQuery, Behavior, EngineScan, Job, ProcessQuery, Report, Sha256, Timestamp};
use crate::shape::Untrusted;
use std::sync::Arc;

const ENGINE: &str = "Defender file profile";

impl DefenderDevice {
    pub(super) async fn analyze(&self, query: AnalyzeQuery, job: &Arc<Job>) -> Result<Analysis> {
        match query {
            AnalyzeQuery::File { path } => {
                let info = self.file_info(&path, job).await?;
                self.verdict(&info.sha1, info.sha256, None, job).await
            }
            AnalyzeQuery::Process { pid } => {
                let want = vec!["sha256".to_owned()];
                let asked = ProcessQuery { pid: Some(pid), name: None, tree: false, want, brief: false };
                let process = self.processes(asked, job).await?.into_iter().find(|p| p.pid == pid);
                let process = process.ok_or_else(|| Error::new(ErrorCode::NotFound, format!("no process {pid}")))?;
                let sha256 = process.sha256.ok_or_else(|| {
                    Error::new(ErrorCode::NotFound, format!("process {pid} has no image that could be hashed"))
                        .hint("a kernel thread has none; of a protected process it cannot be read")
                })?;
                let behavior = Behavior { command_line: process.command_line, ..Behavior::default() };
                self.verdict(&sha256.to_string(), sha256, Some(behavior), job).await
            }
        }
    }

    async fn verdict(&self, hash: &str, sha256: Sha256, behavior: Option<Behavior>, job: &Job) -> Result<Analysis> {
        let scan = match self.tenant.client.file(hash, job).await {
            Ok(profile) => told(profile.as_ref()),
            Err(e) => {
                job.check()?;
                scan("error", vec![Untrusted::new(format!("{}: {}", e.code, e.message))], Vec::new())
            }
        };
        let count = |status: &str| u32::from(scan.status == status);
        Ok(Analysis {
            report: Report {
                status: scan.status.clone(),
                file_hash: Some(sha256),
                not_found: count("not_found"),
                clean: count("clean"),
                suspicious: count("suspicious"),
                infected: count("infected"),
                total: 1,
                scans: vec![scan],
                behavior,
            },
        })
    }
}

fn scan(status: &str, detections: Vec<Untrusted>, notes: Vec<Untrusted>) -> EngineScan {
    EngineScan { engine: ENGINE.into(), status: status.into(), scan_time: Timestamp::now(), detections, notes }
}

/// A profile as a verdict. What Defender has not decided is `not_found`.
fn told(profile: Option<&FileProfile>) -> EngineScan {
    let Some(profile) = profile else {
        return scan("not_found", Vec::new(), vec![Untrusted::new("Defender's cloud has never seen this file")]);
    };
    let kind = profile.determination_type.as_ref().map(|kind| kind.raw().to_ascii_lowercase()).unwrap_or_default();
    let status = match kind.as_str() {
        "malware" => "infected",
        "pua" | "suspicious" | "unwantedsoftware" => "suspicious",
        "clean" | "legit" => "clean",
        _ => "not_found",
    };
    let named = profile.determination_value.clone().filter(|name| !name.raw().is_empty());
    let detections = match (status, named) {
        ("infected" | "suspicious", Some(name)) => vec![name],
        ("infected" | "suspicious", None) => vec![Untrusted::new(kind)],
        _ => Vec::new(),
    };
    scan(status, detections, notes(profile))
}

fn notes(profile: &FileProfile) -> Vec<Untrusted> {
    let mut notes = Vec::new();
    let mut note =
        |name: &str, text: Option<String>| notes.extend(text.map(|t| Untrusted::new(format!("{name}: {t}"))));
    let text = |text: &Option<Untrusted>| text.as_ref().map(|t| t.raw().to_owned()).filter(|t| !t.is_empty());
    note("determination", text(&profile.determination_type));
    note("devices in the world that had it", profile.global_prevalence.map(|n| n.to_string()));
    note("first seen in the world", profile.global_first_observed.map(|t| t.to_string()));
    note("signer", text(&profile.signer));
    note("issuer", text(&profile.issuer));
    note("certificate valid", profile.is_valid_certificate.map(|v| v.to_string()));
    note("publisher", text(&profile.file_publisher));
    note("product", text(&profile.file_product_name));
    notes
}
