//! The process that stands over an approved script: starts it, and ends with all that it started.
//!
//! Invariants: it runs exactly the bytes whose hash it was told, from memory that nobody can write to any more, by the
//! interpreter that it was told; it ends
//! only when no descendant is left, also those that left their session or lost their parent; when whoever started it
//! dies, the script dies.
#![allow(clippy::disallowed_methods)]

mod inherited;

use crate::model::{DevicePath, FileIdentity, ProgramTarget, Sha256};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FileType, MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::{Errno, FdFlags};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};
use sha2::Digest;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The hidden subcommand that a copy of this program is started with.
pub const SUBCOMMAND: &str = "supervise";
/// A plan that a person can read is smaller.
const ERRAND_MAX: u64 = 1 << 20;
const CHUNK: usize = 256 * 1024;
/// How soon orphans are reaped and the time limit is seen.
const TICK_MS: i64 = 100;
/// What is killed and does not go, as in uninterruptible sleep, is given up after this long.
const KILL_WITHIN: Duration = Duration::from_secs(10);
const KILL_PAUSE: Duration = Duration::from_millis(5);

/// What is to be run. On stdin it stands behind its length, eight bytes little-endian, and before the script's bytes;
/// then stdin stays open for as long as the script may run.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Errand {
    pub interpreter: DevicePath,
    /// What the interpreter was when a person agreed to it.
    pub program: Option<ProgramTarget>,
    /// The name that it is called by: some programs are several.
    pub called: String,
    /// Before the script.
    pub options: Vec<String>,
    /// After it.
    pub parameters: Vec<String>,
    pub directory: DevicePath,
    pub environment: Vec<(String, String)>,
    pub sha256: Sha256,
    pub size_bytes: u64,
    pub time_limit_s: u64,
}

/// How it ended: the one line on stderr.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    pub how: How,
    /// Processes that it left behind and that were killed.
    pub killed: usize,
    /// Processes that could not be killed.
    pub left: usize,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    Exited(i32),
    Signalled(i32),
    TimedOut,
    /// Whoever started it wanted it to end, or is gone.
    Stopped,
    /// The interpreter is not the approved one: nothing was started.
    Drifted(String),
    NotStarted(String),
}

/// The whole life of the supervising process.
pub fn run() -> ExitCode {
    let ended = stand_over().unwrap_or_else(|why| Ended { how: How::NotStarted(why), killed: 0, left: 0 });
    let told = serde_json::to_vec(&ended).map(|line| std::io::stderr().write_all(&line).is_ok());
    if told.is_ok_and(|told| told) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn stand_over() -> Result<Ended, String> {
    // Neither the terminal's signals nor a parent's exit reach it: it ends by its own rules.
    let _ = rustix::process::setsid();
    inherited::keep_from_children();
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).map_err(|e| format!("prctl: {e}"))?;
    let mut input = File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(|e| e.to_string())?);
    let errand = read_errand(&mut input)?;
    let script = load(&mut input, &errand)?;
    let limit = Instant::now() + Duration::from_secs(errand.time_limit_s);
    if let Err(what) = check_interpreter(&errand) {
        return Ok(Ended { how: How::Drifted(what), killed: 0, left: 0 });
    }
    let child = start(&errand, &script)?;
    drop(script);
    let how = watch(child, &input, limit);
    let (killed, left) = kill_all(own);
    Ok(Ended { how, killed, left })
}

fn read_errand(input: &mut File) -> Result<Errand, String> {
    let mut length = [0; 8];
    input.read_exact(&mut length).map_err(|e| format!("stdin: {e}"))?;
    let length = u64::from_le_bytes(length);
    if length > ERRAND_MAX {
        return Err(format!("an errand of {length} bytes"));
    }
    let mut text = Vec::new();
    input.take(length).read_to_end(&mut text).map_err(|e| format!("stdin: {e}"))?;
    serde_json::from_slice(&text).map_err(|e| format!("the errand: {e}"))
}

/// The script's bytes, in memory that nobody can change.
fn load(input: &mut File, errand: &Errand) -> Result<File, String> {
    let fd = rustix::fs::memfd_create("script", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC)
        .map_err(|e| format!("memfd: {e}"))?;
    let mut script = File::from(fd);
    std::io::copy(&mut input.take(errand.size_bytes), &mut script).map_err(|e| format!("the script: {e}"))?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&script, seals).map_err(|e| format!("seals: {e}"))?;
    // Hashed after it is sealed: what is compared is what runs.
    script.rewind().map_err(|e| e.to_string())?;
    let hash = hash(&mut script).map_err(|e| format!("the script: {e}"))?;
    script.rewind().map_err(|e| e.to_string())?;
    match hash == errand.sha256 {
        true => Ok(script),
        false => Err("the script's bytes are not those that were approved".into()),
    }
}

fn hash(file: &mut impl Read) -> std::io::Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(Sha256::from_bytes(&hasher.finalize())),
            n => hasher.update(chunk.get(..n).unwrap_or_default()),
        }
    }
}

/// The last thing before the start: whatever lies at the interpreter's path is what the plan says, byte for byte.
fn check_interpreter(errand: &Errand) -> Result<(), String> {
    let path = &errand.interpreter;
    let Some(program) = &errand.program else {
        return Err(format!("the plan does not say what {path} was; ask again"));
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, OsStr::from_bytes(path.as_bytes()), flags, Mode::empty())
        .map_err(|e| format!("the interpreter {path} cannot be opened any more: {e}"))?;
    let stat = rustix::fs::fstat(&opened).map_err(|e| format!("{path}: {e}"))?;
    let identity = FileIdentity { device: stat.st_dev, inode: stat.st_ino };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || identity != program.identity {
        return Err(format!("another file lies at the interpreter's path {path}"));
    }
    // A file that grew is not read to its end.
    let mut bytes = File::from(opened).take(program.size_bytes.saturating_add(1));
    match hash(&mut bytes).map_err(|e| format!("{path}: {e}"))? == program.sha256 {
        true => Ok(()),
        false => Err(format!("the interpreter {path} has other bytes than the plan says")),
    }
}

fn start(errand: &Errand, script: &File) -> Result<Pid, String> {
    // The one thing that the script inherits beside its streams; this process has one thread.
    rustix::io::fcntl_setfd(script, FdFlags::empty()).map_err(|e| e.to_string())?;
    let out = std::io::stdout().as_fd().try_clone_to_owned().map_err(|e| e.to_string())?;
    let mut command = Command::new(OsStr::from_bytes(errand.interpreter.as_bytes()));
    command
        .arg0(&errand.called)
        .args(&errand.options)
        .arg(format!("/proc/self/fd/{}", script.as_raw_fd()))
        .args(&errand.parameters)
        .current_dir(OsStr::from_bytes(errand.directory.as_bytes()))
        .env_clear()
        .envs(errand.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(out.try_clone().map_err(|e| e.to_string())?)
        .stderr(out)
        .process_group(0);
    let child = command.spawn().map_err(|e| format!("{}: {e}", errand.interpreter))?;
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| "a process without a pid".into())
}

/// Waits for the script's first process, the time limit, or the end of stdin.
fn watch(child: Pid, input: &File, limit: Instant) -> How {
    let pidfd = rustix::process::pidfd_open(child, PidfdFlags::empty()).ok();
    loop {
        if let Some(how) = reap(Some(child)) {
            return how;
        }
        if Instant::now() >= limit {
            return How::TimedOut;
        }
        let mut watched = vec![PollFd::new(input, PollFlags::IN)];
        watched.extend(pidfd.as_ref().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK_MS * 1_000_000 };
        let polled = rustix::event::poll(&mut watched, Some(&tick));
        let hung_up = watched.first().is_some_and(|fd| !fd.revents().is_empty());
        if polled.is_ok() && hung_up && is_at_end(input) {
            return How::Stopped;
        }
    }
}

/// Nothing is written behind the script: whatever can be read is the end.
fn is_at_end(mut input: &File) -> bool {
    let mut byte = [0; 1];
    !matches!(input.read(&mut byte), Err(e) if e.kind() == std::io::ErrorKind::Interrupted)
}

/// Takes what has ended off the list, and says how `child` did where it is among that.
fn reap(child: Option<Pid>) -> Option<How> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if Some(pid) == child => return Some(how(status)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            // Nobody is left to wait for: somebody else has reaped it.
            Err(_) => return child.map(|_| How::Exited(-1)),
            Ok(None) => return None,
        }
    }
}

fn how(status: WaitStatus) -> How {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => How::Exited(code),
        (None, signal) => How::Signalled(signal.unwrap_or(0)),
    }
}

/// Kills every descendant until there is none. Orphans come to this process, so none can get away by losing its parent.
fn kill_all(own: Pid) -> (usize, usize) {
    let until = Instant::now() + KILL_WITHIN;
    let mut killed = std::collections::HashSet::new();
    loop {
        reap(None);
        let living = descendants(own);
        if living.is_empty() {
            return (killed.len(), 0);
        }
        if Instant::now() >= until {
            return (killed.len(), living.len());
        }
        // All are halted before any is killed, so that none can fork while its siblings go.
        for signal in [Signal::STOP, Signal::KILL] {
            for process in &living {
                if process.signal(signal) {
                    killed.insert((process.pid, process.started));
                }
            }
        }
        std::thread::sleep(KILL_PAUSE);
    }
}

/// A process as `/proc/PID/stat` tells it (man 5 proc_pid_stat).
struct Process {
    pid: Pid,
    parent: i32,
    /// Field 22: with the pid it names one process.
    started: u64,
    ended: bool,
}

impl Process {
    fn read(pid: Pid) -> Option<Process> {
        let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The name stands in parentheses and may hold anything, also parentheses.
        let behind = stat.iter().rposition(|b| *b == b')').and_then(|at| stat.get(at + 2..))?;
        let mut fields = std::str::from_utf8(behind).ok()?.split_ascii_whitespace();
        let ended = matches!(fields.next()?, "Z" | "X");
        Some(Process { pid, parent: fields.next()?.parse().ok()?, started: fields.nth(17)?.parse().ok()?, ended })
    }

    /// Whether it took the signal. The handle is taken before it is compared, so that a reused pid is never signalled.
    fn signal(&self, signal: Signal) -> bool {
        let Ok(held) = rustix::process::pidfd_open(self.pid, PidfdFlags::empty()) else { return false };
        let same = Process::read(self.pid).is_some_and(|now| now.started == self.started && !now.ended);
        same && send(&held, signal)
    }
}

fn send(process: &OwnedFd, signal: Signal) -> bool {
    rustix::process::pidfd_send_signal(process, signal).is_ok()
}

/// Every living process below this one.
fn descendants(own: Pid) -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    let mut others: Vec<Process> = pids.filter_map(Process::read).collect();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![own.as_raw_nonzero().get()];
    while let Some(parent) = parents.pop() {
        let (below, rest) = others.into_iter().partition(|p| p.parent == parent);
        others = rest;
        let below: Vec<Process> = below;
        parents.extend(below.iter().map(|p| p.pid.as_raw_nonzero().get()));
        found.extend(below);
    }
    found.retain(|p| !p.ended);
    found
}
