//! YARA-X over a file's bytes: the rules that ship with this program and those of the person.
//!
//! Invariant: a file has a fixed time, its bytes come in pieces of a fixed size, and what a rule or a parser does to
//! itself ends with that file.

mod rules;

pub use rules::Ruleset;

use super::{Failure, Finding, Sample, Status, guarded};
use crate::model::Job;
use crate::shape::Untrusted;
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use yara_x::{MetaValue, ScanError, ScanResults, blocks};

/// For a small file; a larger one has a second more for each MiB.
const TIME: Duration = Duration::from_secs(20);
/// A pattern that matches more often in one file is not counted further.
const MATCHES: usize = 10_000;
/// Bytes that two pieces of a large file share, so that what lies across their border is found.
const OVERLAP: usize = 64 * 1024;
/// Bytes of a file that are looked at in pieces.
pub const REACH: u64 = 4 << 30;

/// One thread's scanner.
pub struct Scanner<'r> {
    rules: &'r Ruleset,
    inner: yara_x::Scanner<'r>,
    time: Duration,
}

impl<'r> Scanner<'r> {
    pub fn new(rules: &'r Ruleset) -> Self {
        Scanner { inner: fresh(rules), rules, time: TIME }
    }

    /// The rules that match the sample's head, as one piece.
    pub fn scan(&mut self, sample: &Sample<'_>) -> Result<Vec<Finding>, Failure> {
        let mebibytes = u64::try_from(sample.head.len() >> 20).unwrap_or(u64::MAX);
        self.inner.set_timeout(self.time + Duration::from_secs(mebibytes));
        let looked = guarded(|| {
            for (name, value) in externals(sample) {
                self.inner.set_global(name, &value[..]).map_err(|e| Failure::Broken(e.to_string()))?;
            }
            self.inner.scan(sample.head).map_err(|e| failure(&e)).map(|results| findings(&results))
        });
        if matches!(looked, Err(Failure::Broken(_))) {
            self.inner = fresh(self.rules);
        }
        looked
    }

    /// The rules that match the whole of a file that is larger than a sample's head: text and byte patterns anywhere in
    /// its first 4 GiB. What looks at structure, at numbers or at the file's size matches nothing here.
    pub fn scan_pieces(
        &mut self,
        sample: &Sample<'_>,
        file: &File,
        piece: &mut [u8],
        job: &Job,
    ) -> Result<Vec<Finding>, Failure> {
        let rules = self.rules;
        let time = self.time + Duration::from_secs(REACH >> 24);
        guarded(|| {
            let mut scanner = blocks::Scanner::new(&rules.compiled);
            scanner.set_timeout(time).max_matches_per_pattern(MATCHES).fast_scan(true);
            for (name, value) in externals(sample) {
                scanner.set_global(name, &value[..]).map_err(|e| Failure::Broken(e.to_string()))?;
            }
            let mut at = 0u64;
            while at < REACH {
                job.check().map_err(|_| Failure::Stopped)?;
                let held = fill(file, piece, at)?;
                let bytes = piece.get(..held).unwrap_or_default();
                let base = usize::try_from(at).map_err(|_| Failure::Broken("the file is too large".into()))?;
                scanner.scan(base, bytes).map_err(|e| failure(&e))?;
                if held < piece.len() {
                    break;
                }
                at += held.saturating_sub(OVERLAP).max(1) as u64;
            }
            scanner.finish().map_err(|e| failure(&e)).map(|results| findings(&results))
        })
    }
}

/// As much as fits; less only at the end.
fn fill(file: &File, piece: &mut [u8], at: u64) -> Result<usize, Failure> {
    let mut held = 0;
    while let Some(free) = piece.get_mut(held..).filter(|f| !f.is_empty()) {
        match file.read_at(free, at + held as u64) {
            Ok(0) => break,
            Ok(n) => held += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Failure::Broken(format!("the file cannot be read: {e}"))),
        }
    }
    Ok(held)
}

fn fresh(rules: &Ruleset) -> yara_x::Scanner<'_> {
    let mut scanner = yara_x::Scanner::new(&rules.compiled);
    scanner.max_matches_per_pattern(MATCHES).fast_scan(true);
    scanner
}

fn failure(e: &ScanError) -> Failure {
    match e {
        ScanError::Timeout => Failure::Time,
        e => Failure::Broken(e.to_string()),
    }
}

fn findings(results: &ScanResults<'_, '_>) -> Vec<Finding> {
    let text = |rule: &yara_x::Rule<'_, '_>, key: &str| {
        rule.metadata().find(|(name, _)| *name == key).and_then(|(_, value)| match value {
            MetaValue::String(text) => Some(text.to_owned()),
            _ => None,
        })
    };
    let mut seen = HashSet::new();
    results
        .matching_rules()
        .filter(|rule| seen.insert((rule.namespace(), rule.identifier())))
        .map(|rule| Finding {
            name: Untrusted::new(rule.identifier()),
            note: text(&rule, "description").map(Untrusted::new),
            status: match text(&rule, "verdict").as_deref() {
                Some("suspicious") => Status::Suspicious,
                _ => Status::Infected,
            },
        })
        .collect()
}

/// What public rules expect to be told of a file beside its bytes.
const EXTERNALS: [&str; 5] = ["filename", "filepath", "extension", "filetype", "owner"];

fn externals<'a>(sample: &Sample<'a>) -> [(&'static str, std::borrow::Cow<'a, [u8]>); 5] {
    let path = sample.path.as_bytes();
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let dot = name.iter().rposition(|b| *b == b'.');
    let extension = dot.and_then(|at| name.get(at..)).unwrap_or_default().to_ascii_lowercase();
    let kind = infer::get(sample.head).map(|k| k.extension().to_ascii_uppercase()).unwrap_or_default();
    let values = [name.into(), path.into(), extension.into(), kind.into_bytes().into(), sample.owner.as_bytes().into()];
    let mut values = values.into_iter();
    EXTERNALS.map(|name| (name, values.next().unwrap_or_default()))
}

#[cfg(test)]
mod tests;
