//! The hashes of files that may be run, to be looked up elsewhere.

use super::walk::{Found, Walk};
use crate::device::local::linux::hash;
use crate::device::local::linux::view::{How, View};
use crate::device::package::LeftOut;
use crate::device::package::Spool;
use crate::error::{ErrorCode, Result};
use crate::model::{DevicePath, Job, Sha256};
use serde::Serialize;

const TRIAGE: &[&str] = &[
    "/bin",
    "/dev/shm",
    "/home",
    "/opt",
    "/root",
    "/sbin",
    "/srv",
    "/tmp",
    "/usr/bin",
    "/usr/local",
    "/usr/sbin",
    "/var/tmp",
    "/var/www",
];
const WHOLE: &[&str] = &["/"];
/// Larger files are named without their hashes.
const SIZE_MAX: u64 = 256 << 20;
const TRIAGE_DEPTH: u32 = 6;

#[derive(Serialize)]
struct Row {
    path: DevicePath,
    size_bytes: u64,
    /// Octal, with set-user-id and its like.
    mode: String,
    uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha1: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256>,
}

pub fn write(view: &View, whole: bool, to: &mut Spool, left_out: &mut LeftOut, job: &Job) -> Result<()> {
    let set = view.own().snapshot();
    let walk = Walk::new(view, &set, job);
    let (roots, depth) = if whole { (WHOLE, u32::MAX) } else { (TRIAGE, TRIAGE_DEPTH) };
    let mut walked = Vec::new();
    for root in roots {
        // The timeline tells which of them could not be walked.
        let Ok(start) = view.open_among(&set, &DevicePath::new(*root), How::Directory) else { continue };
        if walked.contains(&start.facts.identity) {
            continue;
        }
        walked.push(start.facts.identity);
        walk.below(&start, depth, left_out, &mut |left_out, found| {
            if !found.facts.is_file() || found.facts.mode & 0o111 == 0 {
                return Ok(());
            }
            let mut row = Row {
                size_bytes: found.facts.size,
                mode: format!("{:04o}", found.facts.mode & 0o7777),
                uid: found.facts.uid,
                md5: None,
                sha1: None,
                sha256: None,
                path: found.path.clone(),
            };
            if found.facts.size <= SIZE_MAX {
                hash_of(&walk, &found, &mut row, left_out)?;
            }
            to.row(&row)
        })?;
    }
    Ok(())
}

fn hash_of(walk: &Walk<'_>, found: &Found, row: &mut Row, left_out: &mut LeftOut) -> Result<()> {
    let opened = walk.view.open_among(walk.set, &found.path, How::File);
    // Hashing tells of files that change, and moves the job's progress: of neither is any use here.
    match opened.and_then(|o| hash::digest_within(&o.file, false, SIZE_MAX, &Job::default())) {
        Ok(digests) => {
            (row.md5, row.sha1, row.sha256) = (Some(digests.md5), Some(digests.sha1), Some(digests.sha256));
        }
        Err(e) if e.code == ErrorCode::NotFound => {}
        Err(e) => left_out.add(&found.path, super::walk::reason(&e)),
    }
    walk.job.check()
}
