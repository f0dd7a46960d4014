//! The dead-man of an isolation: a process of its own that takes the isolation back when nobody confirms it, ends it with
//! its lease, and puts it back when something else takes it away.
//!
//! Invariant: it does what an order began and nothing else: what it loads is what was approved and is held, what it takes
//! away is that. It outlives whoever started it.

use super::{isolate, nft};
use crate::device::local::linux::isolation::mark;
use crate::device::local::linux::netlink;
use crate::device::local::linux::ruleset::Ruleset;
use crate::device::local::linux::watch::{Held, Phase, Step, Watch, boot_ms};
use crate::error::{Error, ErrorCode, Result};
use crate::model::RequestId;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::OwnedFd;
use rustix::net::RecvFlags;
use rustix::net::netlink::NETFILTER;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// The subcommand that is it.
const SUBCOMMAND: &str = "dead-man";
const READY: u8 = b'r';
/// A process starts in milliseconds; on a machine that is loaded to the brim in seconds.
const STARTS_WITHIN: Duration = Duration::from_secs(20);
/// How soon it sees that it was confirmed, released or is due.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it looks at the rules without being told of a change.
const CHECK_EVERY: Duration = Duration::from_secs(10);
/// After something that did not work.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// `1 << (NFNLGRP_NFTABLES - 1)`.
const CHANGES: u32 = 1 << 6;
/// Where systemd ends what a service or a session leaves behind, this is out of its reach.
const ROOT_GROUPS: [&str; 2] = ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/systemd/cgroup.procs"];

/// An isolation that it ended.
#[derive(Debug)]
pub struct Ended {
    pub by: RequestId,
    pub why: &'static str,
}

/// Starts one, unless one lives; it does when this returns. Only for who holds the right to make a step.
pub fn start(watch: &Watch) -> Result<()> {
    if watch.is_watched() {
        return Ok(());
    }
    let failed = |e| Error::io("the dead-man of the isolation cannot be started", e);
    let mut child = Command::new("/proc/self/exe")
        .arg0("live-response")
        .arg(SUBCOMMAND)
        .arg(watch.home())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let (tell, told) = channel();
    if let Some(mut stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            let mut byte = [0];
            let _ = tell.send(stdout.read_exact(&mut byte).is_ok() && byte == [READY]);
        });
    }
    if told.recv_timeout(STARTS_WITHIN) == Ok(true) && watch.is_watched() {
        return Ok(());
    }
    // Ours, and not reaped: its pid is still its own.
    let _ = child.kill();
    let _ = child.wait();
    Err(Error::new(ErrorCode::Backend, "the dead-man of the isolation did not start")
        .hint("without it nothing would take the isolation back; nothing was changed"))
}

/// Starts one where an isolation is held and its dead-man has died. `true` where it did.
pub fn revive(home: &Path) -> Result<bool> {
    let watch = Watch::new(home);
    if watch.is_watched() || watch.held()?.is_none() {
        return Ok(false);
    }
    let right = watch.step()?;
    if watch.is_watched() || right.held()?.is_none() {
        return Ok(false);
    }
    start(&watch).map(|()| true)
}

/// Is the dead-man, until the isolation has ended. `None` where another is, or somebody released the host.
pub fn hold(home: &Path, ready: &mut dyn Write) -> Result<Option<Ended>> {
    detach();
    let watch = Watch::new(home);
    let Some(own) = watch.take()? else { return Ok(None) };
    let changes = netlink::listen(NETFILTER, CHANGES).map_err(|e| Error::io("the kernel's changes", e.into()))?;
    ready.write_all(&[READY]).and_then(|()| ready.flush()).map_err(|e| Error::io("the dead-man's word", e))?;
    let mut due = Instant::now();
    loop {
        match look(&watch, due <= Instant::now()) {
            Ok(Look::Ended(ended)) => return Ok(Some(ended)),
            Ok(Look::Nothing) => {
                // Under the lock, so that whoever isolates next sees either one that stays or none.
                if let Ok(right) = watch.step()
                    && matches!(right.held(), Ok(None))
                {
                    drop(own);
                    return Ok(None);
                }
            }
            Ok(Look::Checked) => due = Instant::now() + CHECK_EVERY,
            Ok(Look::Waits) => {}
            Err(_) => due = Instant::now() + AGAIN_AFTER,
        }
        if changed(&changes) {
            due = Instant::now();
        }
    }
}

/// Out of the session, the terminal and the control group of whoever started it.
fn detach() {
    let _ = rustix::process::setsid();
    for group in ROOT_GROUPS {
        if let Ok(mut file) = std::fs::OpenOptions::new().write(true).open(group) {
            let _ = file.write_all(b"0\n");
        }
    }
}

/// Waits a little; `true` as soon as the kernel tells of a change of its rules.
fn changed(changes: &OwnedFd) -> bool {
    let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY.subsec_nanos().into() };
    let mut fds = [PollFd::new(changes, PollFlags::IN)];
    if !matches!(rustix::event::poll(&mut fds, Some(&timeout)), Ok(n) if n > 0) {
        return false;
    }
    let mut buffer = vec![0u8; 64 << 10];
    // Emptied: what it says in particular does not matter, nor that some of it was lost.
    while rustix::net::recv(changes, &mut *buffer, RecvFlags::DONTWAIT).is_ok() {}
    true
}

enum Look {
    Nothing,
    Waits,
    /// The rules were looked at, and are as they should be.
    Checked,
    Ended(Ended),
}

fn look(watch: &Watch, check: bool) -> Result<Look> {
    let Some(held) = watch.held()? else { return Ok(Look::Nothing) };
    if over(&held).is_none() && (!check || held.phase == Phase::Begun) {
        return Ok(Look::Waits);
    }
    let right = watch.step()?;
    // It may have been confirmed or released while this waited.
    let Some(held) = right.held()? else { return Ok(Look::Nothing) };
    match over(&held) {
        Some(why) => {
            isolate::forget(&right, &held.by)?;
            Ok(Look::Ended(Ended { by: held.by, why }))
        }
        None if held.phase == Phase::Begun => Ok(Look::Waits),
        None => put_back(&right, held).map(|()| Look::Checked),
    }
}

/// Why it has come to its end.
fn over(held: &Held) -> Option<&'static str> {
    let now = boot_ms();
    match held.phase {
        _ if now >= held.lease_by_ms => Some("its lease has ended"),
        Phase::Begun | Phase::Applied if now >= held.commit_by_ms => Some("nobody confirmed it in time"),
        _ => None,
    }
}

/// Loads the rules again where the kernel does not list what it listed.
fn put_back(right: &Step<'_>, mut held: Held) -> Result<()> {
    let rules = Ruleset::of(&held.isolation.exemptions, held.isolation.dhcp);
    let mark = mark(held.isolation.kind, &held.by);
    let as_it_was = |listed: nft::Listed| {
        listed.is(&rules, &mark) && held.listed_sha256.as_ref().is_none_or(|sha256| *sha256 == listed.sha256)
    };
    if nft::list().ok().flatten().is_some_and(as_it_was) {
        return Ok(());
    }
    held.listed_sha256 = Some(isolate::load(&held.by, held.isolation.kind, &rules)?);
    right.hold(&held)
}
