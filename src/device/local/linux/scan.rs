//! `scan`: looks through files for what is known to be bad. It removes nothing.
//!
//! Invariants: one thread walks, the others look; what they hold is bounded, whatever lies there and whatever they find.
//! What could not be looked at is counted in warnings.

mod feed;
mod look;
mod places;

use super::users::{Accounts, Users};
use super::view::{How, View};
use super::walk::LeftOut;
use super::workers;
use crate::device::local::engines::{Engines, hashes, yara};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Detection, DevicePath, EngineState, Extent, Job, ScanQuery, Scanned, Unit};
use crate::shape::Untrusted;
use feed::{Feed, Piece};
use look::Look;
use places::Root;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;

/// Threads that look at files.
const THREADS: usize = 4;

/// What was looked at, and every detection, ordered by path. `E_NOT_FOUND` where a named path is not there.
pub fn scan(
    view: &View,
    engines: &Engines,
    query: &ScanQuery,
    users: &Users,
    job: &Job,
) -> Result<(Scanned, Vec<Detection>)> {
    job.expect(Unit::Entries, 0);
    let roots = match &query.extent {
        Extent::Quick => places::quick(view, job)?,
        Extent::Full => vec![Root::all(DevicePath::new("/"))],
        Extent::Path(path) => vec![named(view, path)?],
    };
    let images = if query.extent == Extent::Quick { places::running_images(view, job)? } else { Vec::new() };
    let rules = yara::Ruleset::load(engines.home(), job)?;
    let lists = hashes::Lists::find(engines.home());
    let index = if lists.has_bad() { Some(hashes::Index::load(lists, job)?) } else { None };
    let accounts: Accounts = users.accounts();
    let look = Look::new(view, rules.as_ref(), index.as_ref(), engines.clamd(), &accounts, job);
    let (feed, mouth) = Feed::new(job);
    let left_out = Mutex::new(LeftOut::default());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    let found = std::thread::scope(|scope| {
        let walker = scope.spawn(|| walk(view, &roots, images, mouth, job));
        let found = workers::on_threads(threads, || look.work(&feed));
        // Where the lookers ended early, the walker is not to wait for them.
        feed.close();
        let walked = walker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let found = found?;
        *left_out.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = walked?;
        Ok::<_, Error>(found)
    })?;
    let mut left_out = left_out.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    left_out.count_own(look.own.load(Relaxed));
    left_out.warn(job);
    look.warn();
    let scanned = Scanned {
        files: look.files.load(Relaxed),
        bytes: look.bytes.load(Relaxed),
        engines: states(rules.as_ref(), index.as_ref(), &look),
    };
    Ok((scanned, in_order(found)))
}

/// A path that was named: it must be there, and be a file or a directory.
fn named(view: &View, path: &DevicePath) -> Result<Root> {
    let opened = view.open(path, How::Handle)?;
    if opened.facts.is_directory() {
        return Ok(Root::all(path.clone()));
    }
    // Says why it is no file where it is none.
    view.open(path, How::File)?;
    Ok(Root::file(path.clone()))
}

fn walk(
    view: &View,
    roots: &[Root],
    images: Vec<DevicePath>,
    mut mouth: feed::Mouth<'_>,
    job: &Job,
) -> Result<LeftOut> {
    let mut left_out = LeftOut::default();
    for image in images {
        if mouth.send(Piece::File(image)).is_err() {
            return Ok(left_out);
        }
    }
    for root in roots {
        job.check()?;
        if root.is_file {
            if mouth.send(Piece::File(root.path.clone())).is_err() {
                return Ok(left_out);
            }
            continue;
        }
        mouth.depth = root.depth;
        // Of the usual places, most hosts lack some.
        let Ok(start) = view.open(&root.path, How::Directory) else { continue };
        let (_, more) = super::walk::walk_on(1, view, &start, &mouth, job)?;
        left_out.add(more);
    }
    Ok(left_out)
}

fn in_order(mut found: Vec<Detection>) -> Vec<Detection> {
    let key = |d: &Detection| (d.path.clone(), d.engine, d.name.clone());
    found.sort_by_cached_key(key);
    found.dedup_by_key(|d| key(d));
    found
}

fn states(rules: Option<&yara::Ruleset>, index: Option<&hashes::Index>, look: &Look<'_>) -> Vec<EngineState> {
    let state = |engine: &str, status: &str, detail: Option<String>| EngineState {
        engine: engine.into(),
        status: status.into(),
        detail: detail.map(Untrusted::new),
    };
    let of_rules = match rules {
        None => state("yara", "not_available", Some("this program was built without it".into())),
        Some(_) if look.has_given_up(look::Engine::Rules) => {
            state("yara", "error", Some("it failed too often and was left out".into()))
        }
        Some(rules) => state("yara", "ready", Some(format!("{} rules", rules.count()))),
    };
    let of_hashes = match index {
        None => state("hashes", "not_available", Some("there is no list of bad hashes in hashes/".into())),
        Some(index) => state("hashes", "ready", Some(format!("{} hashes", index.count()))),
    };
    let of_clamd = match (look.has_clamd(), look.has_given_up(look::Engine::Clamd)) {
        (false, _) => state("clamd", "not_available", Some("no ClamAV daemon has a socket here".into())),
        (true, true) => state("clamd", "error", Some("it failed too often and was left out".into())),
        (true, false) => state("clamd", "ready", None),
    };
    vec![of_rules, of_hashes, of_clamd]
}

/// Reads a file from its start until the buffer is full or the file ends.
pub(super) fn fill(file: &File, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut held = 0;
    while let Some(free) = buffer.get_mut(held..).filter(|f| !f.is_empty()) {
        match file.read_at(free, held as u64) {
            Ok(0) => break,
            Ok(n) => held += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(held)
}

/// A path that may have gone since it was named.
fn is_gone(e: &Error) -> bool {
    matches!(e.code, ErrorCode::NotFound | ErrorCode::NotAFile)
}

#[cfg(test)]
mod tests;
