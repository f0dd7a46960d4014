//! `analyze`: what the engines say of one file, or of a process by its image and by what it does.
//!
//! Invariant: every engine gets the bytes of one handle, also where the file has no name any more.

mod behavior;

use super::fetch::refuse_size;
use super::fileinfo::LIMIT;
use super::users::Users;
use super::view::{How, Opened, View};
use super::{hash, kind, package, proc};
use crate::device::local::engines::{
    self, Engines, HASHES, Opinion, PACKAGE, Sample, Status, WINDOW, hashes, structure, yara,
};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Analysis, Behavior, DevicePath, EngineScan, Job, Unit};
use crate::shape::Untrusted;
use std::fs::File;

/// `man 7 capabilities`, the attribute of a program that has some.
const CAPABILITY: &str = "security.capability";
const SETUID: u32 = 0o4000;
const SETGID: u32 = 0o2000;

/// The verdict on a file. Errors as those of [`View::open`], `E_TOO_LARGE` above 30 GB.
pub fn file(view: &View, engines: &Engines, path: &DevicePath, users: &Users, job: &Job) -> Result<Analysis> {
    let opened = view.open(path, How::File)?;
    report(view, engines, path, &opened, users, None, job)
}

/// The verdict on a process. `E_SELF_TARGET` for those of this program, `E_NOT_FOUND` where there is none,
/// `E_NOT_A_FILE` for a kernel thread.
pub fn process(view: &View, engines: &Engines, pid: u32, users: &Users, job: &Job) -> Result<Analysis> {
    let path = DevicePath::new(format!("/proc/{pid}/exe"));
    if view.own().is_own_process(pid) {
        return Err(super::own::self_target(&path));
    }
    let entry = proc::find(&proc::Proc::open()?, pid)?;
    let is_kernel = entry.stat(&mut Vec::new()).map_err(|e| proc::failed(pid, e))?.is_kernel_thread;
    if is_kernel {
        return Err(Error::new(
            ErrorCode::NotAFile,
            format!("process {pid} is a thread of the kernel: it has no image"),
        )
        .hint("`processes` shows which have a path"));
    }
    let opened = view.open(&path, How::File)?;
    let acts = behavior::of(&entry, &opened, users, job)?;
    report(view, engines, &path, &opened, users, Some(acts), job)
}

fn report(
    view: &View,
    engines: &Engines,
    path: &DevicePath,
    opened: &Opened,
    users: &Users,
    acts: Option<(Behavior, Opinion)>,
    job: &Job,
) -> Result<Analysis> {
    refuse_size(path, opened.facts.size, LIMIT)?;
    job.expect(Unit::Bytes, opened.facts.size);
    let digests = hash::digest_within(&opened.file, false, LIMIT, job)?;
    let mut window = vec![0; WINDOW];
    let held = read_head(&opened.file, &mut window, path)?;
    let owner = users.accounts().user_or_id(opened.facts.uid);

    let known = hashes::Hashes { md5: &digests.md5, sha1: &digests.sha1, sha256: digests.sha256.as_str() };
    let by_hash = hashes::Lists::find(engines.home()).opinion(known, job)?;
    let (by_package, is_owned) = of_package(view, opened, &digests, job)?;
    let sample = Sample { path: &opened.real_path, owner: owner.raw(), head: window.get(..held).unwrap_or_default() };
    let mut structure = structure::opinion(&sample);
    look_at_rights(opened, is_owned, &mut structure);
    structure.notes.insert(0, Untrusted::new(kind::kind_of(sample.head.get(..kind::HEAD).unwrap_or(sample.head))));
    let by_clamd = match engines.clamd() {
        Some(daemon) => Opinion::of_look(daemon.scan(sample.head, job)),
        None => Opinion::because(Status::NotAvailable, "no ClamAV daemon has a socket here"),
    };
    let is_longer = digests.bytes > held as u64;
    let by_rules =
        of_rules(engines, &opened.real_path, owner.raw(), &opened.file, (&mut window, held), is_longer, job)?;
    job.check()?;
    if is_longer {
        job.warn(format!(
            "the file is larger than {WINDOW} bytes: clamd, static and rules about structure looked at those alone, rules about text at its first {} bytes",
            digests.bytes.min(REACH)
        ));
    }
    let mut scans: Vec<EngineScan> = vec![
        by_hash.named(HASHES),
        by_package.named(PACKAGE),
        structure.named("static"),
        by_rules.named("yara"),
        by_clamd.named("clamd"),
    ];
    let behavior = acts.map(|(behavior, opinion)| {
        scans.push(opinion.named("behavior"));
        behavior
    });
    Ok(Analysis { report: engines::report(scans, Some(digests.sha256), behavior) })
}

/// Bytes that rules about text reach.
const REACH: u64 = 4 << 30;

/// As much of a file's start as fits.
fn read_head(file: &File, window: &mut [u8], path: &DevicePath) -> Result<usize> {
    super::scan::fill(file, window).map_err(|e| Error::io(path, e))
}

fn of_rules(
    engines: &Engines,
    path: &DevicePath,
    owner: &str,
    file: &File,
    (window, held): (&mut [u8], usize),
    is_longer: bool,
    job: &Job,
) -> Result<Opinion> {
    let Some(rules) = yara::Ruleset::load(engines.home(), job)? else {
        return Ok(Opinion::because(Status::NotAvailable, "this program was built without YARA"));
    };
    let mut scanner = yara::Scanner::new(&rules);
    let head = Sample { path, owner, head: window.get(..held).unwrap_or_default() };
    let mut found = scanner.scan(&head);
    if is_longer {
        let start = window.get(..kind::HEAD).unwrap_or_default().to_vec();
        let sample = Sample { head: &start, ..Sample { path, owner, head: &[] } };
        let deeper = scanner.scan_pieces(&sample, file, window, job);
        found = match (found, deeper) {
            (Ok(mut found), Ok(deeper)) => {
                found.extend(deeper.into_iter().filter(|d| !found.contains(d)).collect::<Vec<_>>());
                Ok(found)
            }
            (Ok(found), Err(e)) | (Err(e), Ok(found)) if !found.is_empty() => {
                job.warn(format!("yara: {e}"));
                Ok(found)
            }
            (Err(e), _) | (_, Err(e)) => Err(e),
        };
    }
    Ok(Opinion::of_look(found))
}

/// What the package data says, and whether a package owns the file.
fn of_package(view: &View, opened: &Opened, digests: &hash::Digests, job: &Job) -> Result<(Opinion, bool)> {
    // In another mount namespace the same path is another file.
    let is_here = !opened.deleted && view.identity(&opened.real_path) == Some(opened.facts.identity);
    if !is_here {
        return Ok((Opinion::plain(Status::NotFound), false));
    }
    let owner = match package::owner(view, &opened.real_path, digests, job) {
        Ok(owner) => owner,
        Err(e) if matches!(e.code, ErrorCode::Cancelled | ErrorCode::Timeout) => return Err(e),
        Err(e) => return Ok((Opinion::because(Status::Error, e.message), false)),
    };
    let Some(owner) = owner else {
        return Ok((Opinion::because(Status::NotFound, "no package owns it"), false));
    };
    let named = format!("{} {}", owner.name.raw(), owner.version.as_ref().map(Untrusted::raw).unwrap_or_default());
    let is_configuration = opened.real_path.as_bytes().starts_with(b"/etc/");
    let opinion = match owner.unmodified {
        Some(true) => Opinion { notes: vec![Untrusted::new(named)], ..Opinion::plain(Status::Clean) },
        // Configuration is there to be changed.
        Some(false) if is_configuration => {
            Opinion::because(Status::NotFound, format!("configuration of {named}, changed"))
        }
        Some(false) => Opinion::because(Status::Suspicious, format!("modified: its bytes are not those of {named}")),
        None => Opinion::because(Status::NotFound, format!("{named} owns it and lists no hash")),
    };
    Ok((opinion, true))
}

/// Rights that a program gives to whoever starts it.
fn look_at_rights(opened: &Opened, is_owned: bool, opinion: &mut Opinion) {
    let mode = opened.facts.mode;
    let mut rights = Vec::new();
    if mode & SETUID != 0 {
        rights.push(format!("runs as its owner, user {} (setuid)", opened.facts.uid));
    }
    if mode & SETGID != 0 {
        rights.push(format!("runs as its group {} (setgid)", opened.facts.gid));
    }
    let mut attribute = [0; 64];
    if rustix::fs::fgetxattr(&opened.file, CAPABILITY, &mut attribute).is_ok_and(|length| length > 0) {
        rights.push("has capabilities of root".to_owned());
    }
    for right in rights {
        if is_owned {
            opinion.notes.push(Untrusted::new(right));
        } else {
            opinion.detections.push(Untrusted::new(format!("{right}, and no package owns it")));
            opinion.status = opinion.status.max(Status::Suspicious);
        }
    }
}

#[cfg(test)]
mod tests;
