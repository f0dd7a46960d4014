//! Engines that judge a file by its bytes: rules, lists of hashes, a ClamAV daemon, the file's own structure.
//!
//! Invariant: an engine only reads what it is handed; whatever the bytes are, its opinion comes in bounded time and
//! memory, and its failure is an opinion too.

pub mod clamd;
pub mod hashes;
pub mod structure;
#[cfg(feature = "yara")]
pub mod yara;
#[cfg(not(feature = "yara"))]
#[path = "no_yara.rs"]
pub mod yara;

use crate::model::{Behavior, DevicePath, EngineScan, Report, Sha256, Timestamp};
use crate::shape::Untrusted;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Bytes from a file's start that engines look at as a whole. What lies beyond is looked at in pieces of this size.
pub const WINDOW: usize = 24 << 20;

/// Where the engines' own files lie. Opens nothing.
#[derive(Debug)]
pub struct Engines {
    home: PathBuf,
    clamd: Option<PathBuf>,
}

impl Engines {
    /// `clamd` is the daemon's socket where it is not at one of the usual places.
    pub fn new(home: &Path, clamd: Option<PathBuf>) -> Engines {
        Engines { home: home.to_owned(), clamd }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// `None` where no daemon has a socket.
    pub fn clamd(&self) -> Option<clamd::Daemon> {
        clamd::Daemon::find(self.clamd.as_deref())
    }
}

/// What an engine is handed.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// Absolute.
    pub path: &'a DevicePath,
    /// The account that owns the file, by name.
    pub owner: &'a str,
    /// The first [`WINDOW`] bytes at most.
    pub head: &'a [u8],
}

/// What an engine came to, the gravest last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Status {
    NotAvailable,
    Error,
    NotFound,
    Clean,
    Suspicious,
    Infected,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::NotAvailable => "not_available",
            Status::Error => "error",
            Status::NotFound => "not_found",
            Status::Clean => "clean",
            Status::Suspicious => "suspicious",
            Status::Infected => "infected",
        }
    }
}

/// One thing that an engine found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub name: Untrusted,
    /// What it means, in the words of whoever wrote the rule.
    pub note: Option<Untrusted>,
    /// [`Status::Suspicious`] or [`Status::Infected`].
    pub status: Status,
}

/// Why an engine has no opinion of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// It took longer than it may.
    Time,
    /// The job is to stop.
    Stopped,
    Broken(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Time => f.write_str("it took too long and was stopped"),
            Failure::Stopped => f.write_str("the command was stopped"),
            Failure::Broken(why) => f.write_str(why),
        }
    }
}

/// An engine's verdict with what it rests on.
#[derive(Clone, PartialEq, Debug)]
pub struct Opinion {
    pub status: Status,
    pub detections: Vec<Untrusted>,
    /// Facts that weigh nothing by themselves.
    pub notes: Vec<Untrusted>,
}

impl Opinion {
    pub fn plain(status: Status) -> Opinion {
        Opinion { status, detections: Vec::new(), notes: Vec::new() }
    }

    pub fn because(status: Status, why: impl Into<String>) -> Opinion {
        let why = vec![Untrusted::new(why)];
        match status {
            // No finding: why there is none.
            Status::NotAvailable | Status::Error => Opinion { status, detections: Vec::new(), notes: why },
            _ => Opinion { status, detections: why, notes: Vec::new() },
        }
    }

    /// The gravest of the findings; clean where there are none.
    pub fn of(findings: &[Finding]) -> Opinion {
        let text = |f: &Finding| match &f.note {
            Some(note) => Untrusted::new(format!("{}: {}", f.name.raw(), note.raw())),
            None => f.name.clone(),
        };
        Opinion {
            status: findings.iter().map(|f| f.status).max().unwrap_or(Status::Clean),
            detections: findings.iter().map(text).collect(),
            notes: Vec::new(),
        }
    }

    /// Of a look that may have failed.
    pub fn of_look(look: Result<Vec<Finding>, Failure>) -> Opinion {
        match look {
            Ok(findings) => Opinion::of(&findings),
            Err(failure) => Opinion::because(Status::Error, failure.to_string()),
        }
    }

    pub fn named(self, engine: &'static str) -> EngineScan {
        EngineScan {
            engine: engine.into(),
            status: self.status.as_str().into(),
            scan_time: Timestamp::now(),
            detections: self.detections,
            notes: self.notes,
        }
    }
}

/// The names of the engines that know a file by its exact bytes.
pub const HASHES: &str = "hashes";
pub const PACKAGE: &str = "package";

/// Puts the engines' verdicts together (`docs/analyze.md`): a hit is a hit; a file that is known is clean, whatever
/// looks odd about it; else what is odd is suspicious; else who looked and found nothing decides.
pub fn report(scans: Vec<EngineScan>, file_hash: Option<Sha256>, behavior: Option<Behavior>) -> Report {
    let count = |status: Status| scans.iter().filter(|s| s.status == status.as_str()).count();
    let is_known = scans.iter().any(|s| matches!(&*s.engine, HASHES | PACKAGE) && s.status == Status::Clean.as_str());
    let status = [Status::Infected, Status::Suspicious, Status::Clean, Status::NotFound, Status::Error]
        .into_iter()
        .filter(|s| !(is_known && *s == Status::Suspicious && !acts(&scans)))
        .find(|s| count(*s) > 0)
        .unwrap_or(Status::NotFound);
    let number = |status: Status| u32::try_from(count(status)).unwrap_or(u32::MAX);
    Report {
        status: status.as_str().into(),
        file_hash,
        not_found: number(Status::NotFound) + number(Status::NotAvailable) + number(Status::Error),
        clean: number(Status::Clean),
        suspicious: number(Status::Suspicious),
        infected: number(Status::Infected),
        total: u32::try_from(scans.len()).unwrap_or(u32::MAX),
        scans,
        behavior,
    }
}

/// Whether a process does what is suspicious: that its image is known is then no excuse.
fn acts(scans: &[EngineScan]) -> bool {
    scans.iter().any(|s| s.engine == "behavior" && s.status == Status::Suspicious.as_str())
}

/// Runs a parser over hostile bytes: a panic of its own is a failure, not the end of the command.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let broke = |_| Failure::Broken("the engine broke off on these bytes".into());
    catch_unwind(AssertUnwindSafe(work)).map_err(broke).and_then(|result| result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(votes: &[(&'static str, Status)]) -> String {
        report(votes.iter().map(|(e, s)| Opinion::plain(*s).named(e)).collect(), None, None).status
    }

    #[test]
    fn a_hit_outweighs_who_knows_the_file() {
        assert_eq!(verdict(&[("package", Status::Clean), ("yara", Status::Infected)]), "infected");
        assert_eq!(verdict(&[("hashes", Status::Infected), ("clamd", Status::Clean)]), "infected");
    }

    #[test]
    fn a_known_file_is_clean_though_it_looks_odd() {
        assert_eq!(verdict(&[("package", Status::Clean), ("static", Status::Suspicious)]), "clean");
        assert_eq!(verdict(&[("yara", Status::Clean), ("static", Status::Suspicious)]), "suspicious");
    }

    #[test]
    fn a_known_image_is_no_excuse_for_what_its_process_does() {
        assert_eq!(verdict(&[("package", Status::Clean), ("behavior", Status::Suspicious)]), "suspicious");
    }

    #[test]
    fn a_modified_packaged_file_is_suspicious() {
        assert_eq!(verdict(&[("package", Status::Suspicious), ("yara", Status::Clean)]), "suspicious");
    }

    #[test]
    fn who_could_not_look_says_nothing() {
        assert_eq!(verdict(&[("clamd", Status::NotAvailable), ("yara", Status::Clean)]), "clean");
        assert_eq!(verdict(&[("clamd", Status::NotAvailable), ("hashes", Status::NotFound)]), "not_found");
        assert_eq!(verdict(&[("clamd", Status::NotAvailable), ("yara", Status::Error)]), "error");
        assert_eq!(verdict(&[("clamd", Status::NotAvailable)]), "not_found");
    }

    #[test]
    fn engines_are_counted_once_each() {
        let votes = [Status::NotAvailable, Status::Error, Status::NotFound, Status::Clean, Status::Infected];
        let r = report(votes.iter().map(|s| Opinion::plain(*s).named("x")).collect(), None, None);
        assert_eq!((r.not_found, r.clean, r.suspicious, r.infected, r.total), (3, 1, 0, 1, 5));
    }

    #[test]
    fn a_panic_is_a_failure() {
        let look = guarded::<()>(|| panic!("planted"));
        assert!(matches!(look, Err(Failure::Broken(_))));
    }
}
