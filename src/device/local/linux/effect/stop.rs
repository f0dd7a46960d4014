//! Stops a process.
//!
//! Invariant: the process is held by a pidfd before it is compared, so that a reused pid is never signalled.

use super::bytes::{self, Metadata};
use super::place::{identity, links, size};
use super::record::{Kept, KeptFile, KeptProcess, Phase, Quarantine, Standing};
use super::{Did, fault};
use crate::device::local::linux::{proc, resolve};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{Job, ProcessTarget, Step, Verified};
use crate::shape::Untrusted;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};
use std::fs::File;
use std::time::{Duration, Instant};

/// How long a killed process may take to end; one in uninterruptible sleep takes longer.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

pub fn stop(order: Order, store: &Quarantine, job: &Job) -> Did {
    let Step::Stop { process: target, keep_image } = order.step() else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to stop names no process"));
    };
    let pidfd = match hold(target) {
        Ok(pidfd) => pidfd,
        Err(did) => return did,
    };
    // Whoever carries it out may sit in another terminal than whoever asked.
    if proc::Proc::open().is_ok_and(|all| resolve::ancestors(&all).contains(&target.pid)) {
        let what = format!("process {} is this program, or the terminal that it runs in", target.pid);
        return Did::Failed(Error::new(ErrorCode::SelfTarget, what));
    }
    let (image, source) = match check(target, job) {
        Ok(checked) => checked,
        Err(did) => return did,
    };
    let file = keep_image.then_some(image);
    let mut kept = Kept::begin(&order, file, Some(KeptProcess::of(target, true)));
    let folder = match store.create(&kept.undo_id) {
        Ok(folder) => folder,
        Err(e) => return Did::Failed(e),
    };
    let ready = folder.write(&mut kept, Phase::Begun).and_then(|()| match keep_image {
        true => {
            keep(source, target, folder.create_content()?, job)?;
            folder.write(&mut kept, Phase::Kept)
        }
        false => Ok(()),
    });
    fault("image_kept");
    if let Err(e) = ready.and_then(|()| kill(&pidfd, target)) {
        folder.discard();
        return Did::Failed(e);
    }
    fault("killed");
    finish(target, &pidfd, folder, kept)
}

/// A handle that stays with the process, whatever happens to its pid.
fn hold(target: &ProcessTarget) -> Result<OwnedFd, Did> {
    let pid = i32::try_from(target.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| gone(target))?;
    match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(pidfd),
        // `EINVAL`: a thread has the number now.
        Err(Errno::SRCH | Errno::INVAL) => Err(gone(target)),
        Err(e) => Err(Did::Failed(Error::io(format!("process {} cannot be held", target.pid), e.into()))),
    }
}

/// The process of the plan with the image of the plan, or drift. Asked after it is held.
fn check(target: &ProcessTarget, job: &Job) -> Result<(KeptFile, File), Did> {
    if !lives(target.pid, target.start_ticks, &target.boot_id) {
        return Err(gone(target));
    }
    let found = proc::Proc::open()
        .and_then(|all| proc::find(&all, target.pid))
        .and_then(|entry| entry.open_image().map_err(|e| proc::failed(target.pid, e)));
    let mut image = match found {
        Ok(image) => image,
        Err(e) if e.code == ErrorCode::NotFound => return Err(gone(target)),
        Err(e) => return Err(Did::Failed(e)),
    };
    let stat = rustix::fs::fstat(&image).map_err(|e| Did::Failed(proc::failed(target.pid, e)))?;
    let other = || Did::Drift(format!("process {} runs another image now", target.pid));
    if identity(&stat) != target.image_identity || size(&stat) != target.image_size {
        return Err(other());
    }
    let (_, sha256) = bytes::hash(&mut image, job).map_err(Did::Failed)?;
    if sha256 != target.image_sha256 {
        return Err(other());
    }
    let kept = KeptFile {
        path: target.image.clone(),
        directory: None,
        aside: String::new(),
        identity: target.image_identity,
        size_bytes: target.image_size,
        sha256,
        metadata: Metadata::of(&image, &stat),
        links: links(&stat),
    };
    Ok((kept, image))
}

fn keep(mut image: File, target: &ProcessTarget, mut content: File, job: &Job) -> Result<()> {
    use std::io::Seek;
    image.rewind().map_err(|e| Error::io("the image cannot be read", e))?;
    let (_, sha256) = bytes::copy(&mut image, &mut content, job)?;
    if sha256 != target.image_sha256 {
        return Err(Error::new(ErrorCode::EntityDrift, format!("the image of process {} changed", target.pid)));
    }
    content.sync_all().map_err(|e| Error::io("the copy in the quarantine", e))
}

fn kill(pidfd: &OwnedFd, target: &ProcessTarget) -> Result<()> {
    match rustix::process::pidfd_send_signal(pidfd, Signal::KILL) {
        // Ended by itself since it was compared: what was wanted is so.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(e) => Err(Error::io(format!("process {} cannot be stopped", target.pid), e.into())
            .hint("it belongs to another account; run as root")),
    }
}

fn finish(target: &ProcessTarget, pidfd: &OwnedFd, folder: super::record::Folder, mut kept: Kept) -> Did {
    let standing = if kept.file.is_some() { Standing::ImageKept } else { Standing::Stopped };
    let ended = ends(pidfd);
    let written = folder.write(&mut kept, Phase::Stopped);
    let mut row = kept.row(standing);
    row.note = row.note.or_else(|| target.image_note.clone().map(Untrusted::new));
    if !ended {
        row.outcome = "not_done".into();
        let message =
            format!("process {} was sent SIGKILL and had not ended {} s later", target.pid, ENDS_WITHIN.as_secs());
        return Did::unknown(row, message);
    }
    match written {
        Ok(()) => Did::done(row, verify(target)),
        Err(e) => Did::unknown(row, e.message),
    }
}

/// Waits for the end, at most [`ENDS_WITHIN`].
fn ends(pidfd: &OwnedFd) -> bool {
    let deadline = Instant::now() + ENDS_WITHIN;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(0), tv_nsec: left.subsec_nanos().into() };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&timeout)) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// Looks again, in `/proc`.
fn verify(target: &ProcessTarget) -> Verified {
    match lives(target.pid, target.start_ticks, &target.boot_id) {
        true => Verified::No,
        false => Verified::Yes,
    }
}

/// Whether the process that these three name runs; one that ended and was not reaped does not.
pub fn lives(pid: u32, start_ticks: u64, boot_id: &str) -> bool {
    if proc::boot_id().is_ok_and(|b| b != boot_id) {
        return false;
    }
    let Ok(entry) = proc::Proc::open().and_then(|all| proc::find(&all, pid)) else { return false };
    let mut buffer = Vec::new();
    entry.stat(&mut buffer).is_ok_and(|s| s.start_ticks == start_ticks && !matches!(s.state, b'Z' | b'X'))
}

fn gone(target: &ProcessTarget) -> Did {
    Did::Drift(format!("process {} is gone; whatever has its pid now was not approved", target.pid))
}
