//! Looks whether every file of the library is what its name stands for, and whether anything else lies there.

use super::Library;
use crate::error::{ErrorCode, Result};
use crate::model::{Job, LibraryItem, Sha256};
use crate::private;
use serde::Serialize;
use std::collections::HashSet;

/// More entries than any library has: beyond it the folder is somebody else's doing.
const ENTRIES_MAX: usize = 100_000;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub items: usize,
    pub bytes: u64,
    pub problems: Vec<Problem>,
}

/// Something that does not hold.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Problem {
    /// `object`, `signature`, `folder`.
    pub part: &'static str,
    pub id: String,
    pub why: String,
}

impl Library {
    /// Hashes every listed item again, checks the signatures that were recorded, and names what is not listed.
    pub fn verify(&self, listed: &[(LibraryItem, Option<String>)], job: &Job) -> Result<Report> {
        let mut report = Report { items: listed.len(), bytes: 0, problems: Vec::new() };
        let mut problem = |part, id: &str, why: String| report.problems.push(Problem { part, id: id.to_owned(), why });
        for (item, signature) in listed {
            job.check()?;
            report.bytes += item.size_bytes;
            let name = item.name.as_str();
            match self.inspect(item, signature.as_deref(), job) {
                Ok(now) if now.signer == item.signer => {}
                Ok(_) => problem("signature", name, "the key that signed it is not trusted any more".into()),
                Err(e) if matches!(e.code, ErrorCode::Cancelled | ErrorCode::Timeout) => return Err(e),
                Err(e) => problem("object", name, e.message),
            }
        }
        let known: HashSet<&str> = listed.iter().map(|(item, _)| item.sha256.as_str()).collect();
        let objects = self.root.join("objects");
        if !objects.exists() {
            return Ok(report);
        }
        private::dir(&objects)?;
        let entries = std::fs::read_dir(&objects).map_err(|e| super::unavailable(&objects, e))?;
        for entry in entries.take(ENTRIES_MAX) {
            job.check()?;
            let name = entry.map_err(|e| super::unavailable(&objects, e))?.file_name();
            let text = name.to_string_lossy();
            if !known.contains(text.as_ref()) {
                let what = match Sha256::parse(&text) {
                    Some(_) => "no item stands for it: it was never added, or its adding broke off",
                    None => "it is no file of the library",
                };
                report.problems.push(Problem { part: "folder", id: text.into_owned(), why: what.into() });
            }
        }
        Ok(report)
    }
}
