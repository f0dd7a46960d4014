//! One file under the engines of a scan.
//!
//! Invariant: a thread holds a small buffer; files that do not fit share one large buffer, in turns.

use super::super::hash;
use super::super::own::OwnSet;
use super::super::users::Accounts;
use super::super::view::{How, Opened, View};
use super::feed::{Feed, Piece, Seat};
use super::{fill, is_gone};
use crate::device::local::engines::{Failure, Finding, Sample, Status, WINDOW, clamd::Daemon, hashes, yara};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Detection, DevicePath, FileIdentity, Job, Sha256};
use crate::shape::Untrusted;
use std::collections::HashSet;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A larger file waits for the large buffer.
const SMALL: usize = 2 << 20;
/// Detections that are kept.
const KEPT: u64 = 50_000;
/// Failures after which an engine is left out.
const PATIENCE: u64 = 20;
/// A daemon that does not answer is asked this often.
const PATIENCE_CLAMD: u64 = 3;
/// Files with several names that are remembered; more are looked at by each of their names.
const LINKED: usize = 1_000_000;
/// Paths that a warning names.
const NAMED: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Rules,
    Clamd,
}

/// What all threads of a scan share.
pub(super) struct Look<'a> {
    view: &'a View,
    set: OwnSet,
    rules: Option<&'a yara::Ruleset>,
    index: Option<&'a hashes::Index>,
    clamd: Option<Daemon>,
    accounts: &'a Accounts,
    job: &'a Job,
    large: Mutex<Vec<u8>>,
    linked: Mutex<HashSet<FileIdentity>>,
    pub files: AtomicU64,
    pub bytes: AtomicU64,
    pub own: AtomicU64,
    detections: AtomicU64,
    failures: [AtomicU64; 2],
    unread: Mutex<Counted>,
    partly: Mutex<Counted>,
    failed: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Counted {
    count: u64,
    named: Vec<DevicePath>,
}

impl Counted {
    fn add(&mut self, path: &DevicePath) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(path.clone());
        }
    }

    fn names(mut self) -> String {
        self.named.sort();
        let names = self.named.iter().map(DevicePath::to_string).collect::<Vec<_>>().join(", ");
        if self.count > NAMED as u64 { format!("{names}, …") } else { names }
    }
}

/// What one thread has of its own.
struct Bench<'r> {
    scanner: Option<yara::Scanner<'r>>,
    small: Vec<u8>,
    found: Vec<Detection>,
}

fn files(count: u64) -> &'static str {
    if count == 1 { "file" } else { "files" }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Look<'a> {
    pub fn new(
        view: &'a View,
        rules: Option<&'a yara::Ruleset>,
        index: Option<&'a hashes::Index>,
        clamd: Option<Daemon>,
        accounts: &'a Accounts,
        job: &'a Job,
    ) -> Self {
        Look {
            view,
            set: view.own().snapshot(),
            rules,
            index,
            clamd,
            accounts,
            job,
            large: Mutex::default(),
            linked: Mutex::default(),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            own: AtomicU64::new(0),
            detections: AtomicU64::new(0),
            failures: [AtomicU64::new(0), AtomicU64::new(0)],
            unread: Mutex::default(),
            partly: Mutex::default(),
            failed: Mutex::default(),
        }
    }

    pub fn has_clamd(&self) -> bool {
        self.clamd.is_some()
    }

    pub fn has_given_up(&self, engine: Engine) -> bool {
        let patience = if engine == Engine::Rules { PATIENCE } else { PATIENCE_CLAMD };
        self.failures.get(engine as usize).is_some_and(|f| f.load(Relaxed) >= patience)
    }

    /// One thread's part, until the feed is empty.
    pub fn work(&self, feed: &Feed) -> Result<Vec<Detection>> {
        let mut seat = Seat { feed, ended_well: false };
        let mut bench = Bench { scanner: self.rules.map(yara::Scanner::new), small: vec![0; SMALL], found: Vec::new() };
        while let Some(piece) = feed.take() {
            match piece {
                Piece::File(path) => {
                    self.job.check()?;
                    let opened = self.view.open(&path, How::File);
                    self.file(opened, &path, &mut bench)?;
                }
                Piece::Entries { directory, shown, names } => {
                    for name in names {
                        self.job.check()?;
                        let path = shown.join(&DevicePath::new(name.as_slice()));
                        let opened = self.view.open_entry(&self.set, &directory, &name, &path);
                        self.file(opened, &path, &mut bench)?;
                    }
                }
            }
        }
        self.job.check()?;
        seat.ended_well = true;
        Ok(bench.found)
    }

    fn file(&self, opened: Result<Opened>, path: &DevicePath, bench: &mut Bench<'_>) -> Result<()> {
        match opened {
            Ok(opened) if self.is_seen(&opened) => {}
            Ok(opened) => {
                let looked = self.look(&opened, path, bench);
                self.job.check()?;
                if looked.is_err() {
                    lock(&self.unread).add(path);
                }
            }
            Err(e) if e.code == ErrorCode::SelfTarget => {
                self.own.fetch_add(1, Relaxed);
            }
            Err(e) if is_gone(&e) => {}
            Err(_) => lock(&self.unread).add(path),
        }
        self.job.advance(1);
        Ok(())
    }

    /// A file of several names is looked at once.
    fn is_seen(&self, opened: &Opened) -> bool {
        if opened.facts.links < 2 {
            return false;
        }
        let mut linked = lock(&self.linked);
        let is_full = linked.len() >= LINKED;
        if is_full { linked.contains(&opened.facts.identity) } else { !linked.insert(opened.facts.identity) }
    }

    fn look(&self, opened: &Opened, path: &DevicePath, bench: &mut Bench<'_>) -> Result<()> {
        let Bench { scanner, small, found } = bench;
        let mut large;
        let io = |e| Error::io(path, e);
        let mut held = if opened.facts.size > SMALL as u64 { SMALL } else { fill(&opened.file, small).map_err(io)? };
        let window: &mut [u8] = if held < SMALL {
            small
        } else {
            large = lock(&self.large);
            large.resize(WINDOW, 0);
            held = fill(&opened.file, &mut large).map_err(io)?;
            &mut large
        };
        self.files.fetch_add(1, Relaxed);
        let owner = self.accounts.user_or_id(opened.facts.uid);
        let findings = self.findings(opened, path, owner.raw(), (window, held), scanner)?;
        if findings.is_empty() {
            return Ok(());
        }
        let sha256 = self.sha256(&opened.file, window.get(..held).unwrap_or_default(), held == window.len());
        for (engine, finding) in findings {
            if self.detections.fetch_add(1, Relaxed) < KEPT {
                found.push(Detection {
                    path: path.clone(),
                    engine,
                    name: finding.name,
                    verdict: finding.status.as_str(),
                    sha256: sha256.clone(),
                    size_bytes: Some(opened.facts.size),
                    modified: Some(opened.facts.modified),
                    owner: Some(owner.clone()),
                });
            }
        }
        Ok(())
    }

    fn findings(
        &self,
        opened: &Opened,
        path: &DevicePath,
        owner: &str,
        (window, held): (&mut [u8], usize),
        scanner: &mut Option<yara::Scanner<'_>>,
    ) -> Result<Vec<(&'static str, Finding)>> {
        let mut all = Vec::new();
        let is_longer = held == WINDOW;
        let head = window.get(..held).unwrap_or_default();
        let sample = Sample { path, owner, head };
        if let Some(name) = self.bad_name(&opened.file, head, is_longer)? {
            all.push(("hashes", Finding { name: Untrusted::new(name), note: None, status: Status::Infected }));
        }
        if let Some(daemon) = self.clamd.as_ref().filter(|_| held > 0 && !self.has_given_up(Engine::Clamd)) {
            let found = self.take(daemon.scan(head, self.job), Engine::Clamd, path);
            all.extend(found.into_iter().map(|f| ("clamd", f)));
        }
        let mut bytes = held as u64;
        if let Some(scanner) = scanner.as_mut().filter(|_| !self.has_given_up(Engine::Rules)) {
            let mut found = self.take(scanner.scan(&sample), Engine::Rules, path);
            if is_longer {
                lock(&self.partly).add(path);
                bytes = opened.facts.size.max(bytes);
                let start = head.get(..8 * 1024).unwrap_or_default().to_vec();
                let sample = Sample { path, owner, head: &start };
                let deeper = scanner.scan_pieces(&sample, &opened.file, window, self.job);
                let deeper = self.take(deeper, Engine::Rules, path);
                found.extend(deeper.into_iter().filter(|d| !found.contains(d)).collect::<Vec<_>>());
            }
            all.extend(found.into_iter().map(|f| ("yara", f)));
        }
        self.bytes.fetch_add(bytes, Relaxed);
        Ok(all)
    }

    /// An engine's findings; its failure is counted, and the scan goes on.
    fn take(&self, look: Result<Vec<Finding>, Failure>, engine: Engine, path: &DevicePath) -> Vec<Finding> {
        match look {
            Ok(found) => {
                // A daemon that answers again is asked again.
                if engine == Engine::Clamd
                    && let Some(failures) = self.failures.get(engine as usize)
                {
                    failures.store(0, Relaxed);
                }
                found
            }
            Err(Failure::Stopped) => Vec::new(),
            Err(failure) => {
                if let Some(failures) = self.failures.get(engine as usize) {
                    failures.fetch_add(1, Relaxed);
                }
                let name = if engine == Engine::Rules { "yara" } else { "clamd" };
                let mut failed = lock(&self.failed);
                if failed.len() < NAMED {
                    failed.push(format!("{name} has no verdict on {path}: {failure}"));
                }
                Vec::new()
            }
        }
    }

    fn bad_name(&self, file: &File, head: &[u8], is_longer: bool) -> Result<Option<String>> {
        let Some(index) = self.index else { return Ok(None) };
        let digests = if is_longer { hash::digest_uncounted(file, self.job)? } else { hash::digest_bytes(head) };
        let hashes = hashes::Hashes { md5: &digests.md5, sha1: &digests.sha1, sha256: digests.sha256.as_str() };
        index.bad_name(hashes, self.job).or_else(|_| self.job.check().map(|()| None))
    }

    fn sha256(&self, file: &File, head: &[u8], is_longer: bool) -> Option<Sha256> {
        if is_longer { hash::digest_uncounted(file, self.job).ok().map(|d| d.sha256) } else { Some(Sha256::of(head)) }
    }

    /// What was not looked at, or not wholly.
    pub fn warn(&self) {
        let unread = std::mem::take(&mut *lock(&self.unread));
        if unread.count > 0 {
            let (count, noun) = (unread.count, files(unread.count));
            self.job.warn(format!("{count} {noun} could not be read: {}; run as root to scan them", unread.names()));
        }
        let partly = std::mem::take(&mut *lock(&self.partly));
        if partly.count > 0 {
            let (count, noun) = (partly.count, files(partly.count));
            self.job.warn(format!(
                "{count} {noun} of more than {WINDOW} bytes: clamd and rules about structure saw those alone, rules about text the first 4 GiB: {}",
                partly.names()
            ));
        }
        lock(&self.failed).drain(..).for_each(|failed| self.job.warn(failed));
        for (engine, name) in [(Engine::Rules, "yara"), (Engine::Clamd, "clamd")] {
            if self.has_given_up(engine) {
                self.job.warn(format!("{name} failed too often and was left out from then on"));
            }
        }
        let detections = self.detections.load(Relaxed);
        if detections > KEPT {
            self.job.warn(format!("{detections} detections, {KEPT} of them are listed: scan a part of the tree"));
        }
    }
}
