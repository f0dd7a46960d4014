//! Runs a library script.
//!
//! Invariant: the bytes that run are hashed after they lie in memory that nobody can change; no shell reads a
//! parameter; whatever the script started is gone when this returns, or is said to be left.

use super::Did;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{Captured, DevicePath, FileFacts, Job, LibraryItem, Remediated, Step, Supply, Timestamp, Verified};
use crate::private;
use crate::shape::Untrusted;
use crate::supervise::{Ended, Errand, How, SUBCOMMAND};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const CHUNK: usize = 64 * 1024;
const TICK: Duration = Duration::from_millis(20);
/// Longer than the supervisor takes to kill what can be killed.
const ENDS_WITHIN: Duration = Duration::from_secs(13);
/// What lies in the pipes when everybody who wrote to them is gone.
const DRAINED_WITHIN: Duration = Duration::from_secs(10);
/// What the supervisor says is one line.
const WORD_MAX: u64 = 64 * 1024;

/// What the person approved.
struct Wanted<'a> {
    script: &'a LibraryItem,
    errand: Errand,
    output_max: u64,
}

/// The script's output as it came, in a file without a name.
struct Output {
    file: File,
    kept: u64,
    lost: u64,
    why_lost: Option<String>,
}

/// `spill`: a folder of our own for the output while it comes.
pub fn run(order: Order, supply: &dyn Supply, spill: &Path, job: &Job) -> Did {
    let Some(wanted) = Wanted::of(&order) else {
        return Did::Failed(Error::new(ErrorCode::Internal, "an order to run names no script"));
    };
    let row = Remediated {
        r#type: "script".into(),
        id: Untrusted::new(wanted.script.name.as_str()),
        outcome: "not_done".into(),
        undo_id: None,
        path: Some(wanted.errand.directory.clone()),
        sha256: None,
        size_bytes: None,
        at: Some(Timestamp::now()),
        request_id: Some(order.request().clone()),
        exit_code: None,
        note: None,
    };
    let started = private::nameless(spill).and_then(|file| Ok((Output::new(file), start(&wanted, supply)?)));
    match started {
        Ok((output, (child, stdin))) => follow(&wanted, output, child, stdin, row, job),
        Err(e) => Did::Failed(e),
    }
}

impl<'a> Wanted<'a> {
    fn of(order: &'a Order) -> Option<Self> {
        let Step::Run { script, interpreter, program, parameters, directory, user, time_limit_s, output_max } =
            order.step()
        else {
            return None;
        };
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = vec![
            variable("PATH", SEARCH_PATH),
            variable("HOME", &home()),
            variable("USER", user),
            variable("LOGNAME", user),
            variable("LANG", "C.UTF-8"),
            variable("LR_REQUEST", order.request().as_str()),
            variable("LR_SCRIPT", script.name.as_str()),
        ];
        let errand = Errand {
            interpreter: interpreter.clone(),
            program: program.clone(),
            called: script.interpreter.as_ref().map(|i| i.program.clone()).unwrap_or_default(),
            options: script.interpreter.as_ref().map(|i| i.options.clone()).unwrap_or_default(),
            parameters: parameters.clone(),
            directory: directory.clone(),
            environment,
            sha256: script.sha256.clone(),
            size_bytes: script.size_bytes,
            time_limit_s: *time_limit_s,
        };
        Some(Wanted { script, errand, output_max: *output_max })
    }
}

/// The account's home, as far as it can be told without asking anybody.
fn home() -> String {
    let own = || std::env::var("HOME").ok().filter(|home| home.starts_with('/'));
    match rustix::process::geteuid().is_root() {
        true => "/root".into(),
        false => own().unwrap_or_else(|| "/".into()),
    }
}

/// Starts the supervisor, a copy of this program, and hands it the script.
fn start(wanted: &Wanted<'_>, supply: &dyn Supply) -> Result<(Child, ChildStdin)> {
    let mut script = supply.open(&wanted.script.sha256)?.take(wanted.script.size_bytes);
    let errand = serde_json::to_vec(&wanted.errand)
        .map_err(|e| Error::new(ErrorCode::Internal, "the errand has no JSON form").source(e))?;
    let length = u64::try_from(errand.len()).unwrap_or(u64::MAX).to_le_bytes();
    let unstarted = |e| Error::io("the supervisor cannot be started", e);
    let mut child = Command::new("/proc/self/exe")
        .arg(SUBCOMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(unstarted)?;
    let handed = child.stdin.take().ok_or_else(|| Error::new(ErrorCode::Internal, "no pipe")).and_then(|mut stdin| {
        let told = stdin.write_all(&length).and_then(|()| stdin.write_all(&errand));
        told.and_then(|()| std::io::copy(&mut script, &mut stdin)).map_err(unstarted)?;
        Ok(stdin)
    });
    match handed {
        Ok(stdin) => Ok((child, stdin)),
        Err(e) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(e)
        }
    }
}

/// Takes the output until the supervisor has ended; closes its stdin where the job is to stop.
fn follow(wanted: &Wanted<'_>, output: Output, mut child: Child, stdin: ChildStdin, row: Remediated, job: &Job) -> Did {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Did::unknown(row, "the supervisor has no streams".into());
    };
    let max = wanted.output_max;
    let output = in_thread(move || output.take_all(stdout, max));
    let word = in_thread(move || {
        let mut word = Vec::new();
        let _ = stderr.take(WORD_MAX).read_to_end(&mut word);
        word
    });
    if !wait(&mut child, stdin, job) {
        // Its descendants go to whoever adopts them: nobody knows of them any more.
        let _ = child.kill();
    }
    let _ = child.wait();
    let word = word.recv_timeout(DRAINED_WITHIN).unwrap_or_default();
    let ended = serde_json::from_slice::<Ended>(&word).ok();
    // What could not be killed may hold the pipe for ever.
    finish(wanted, ended, output.recv_timeout(DRAINED_WITHIN).ok(), row, job)
}

/// Work that may never end, and is then left behind.
fn in_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let _ = send.send(work());
    });
    receive
}

/// Whether the supervisor ended by itself, in time.
fn wait(child: &mut Child, stdin: ChildStdin, job: &Job) -> bool {
    let mut lifeline = Some(stdin);
    let mut until = None;
    loop {
        if !matches!(child.try_wait(), Ok(None)) {
            return true;
        }
        if lifeline.is_some() && job.check().is_err() {
            lifeline = None;
            until = Some(Instant::now() + ENDS_WITHIN);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return false;
        }
        std::thread::sleep(TICK);
    }
}

impl Output {
    fn new(file: File) -> Output {
        Output { file, kept: 0, lost: 0, why_lost: None }
    }

    /// Reads to the end, whatever there is room for: a script that nobody reads from would stand still.
    fn take_all(mut self, mut from: impl Read, max: u64) -> Output {
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = match from.read(&mut chunk) {
                Ok(0) => return self,
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => return self,
            };
            let room = usize::try_from(max.saturating_sub(self.kept)).unwrap_or(usize::MAX).min(n);
            let room = if self.why_lost.is_some() { 0 } else { room };
            let kept = chunk.get(..room).unwrap_or_default();
            match self.file.write_all(kept) {
                Ok(()) => self.kept += kept.len() as u64,
                Err(e) => self.why_lost = Some(e.to_string()),
            }
            self.lost += (n - kept.len()) as u64;
        }
    }
}

fn finish(wanted: &Wanted<'_>, ended: Option<Ended>, output: Option<Output>, mut row: Remediated, job: &Job) -> Did {
    match output {
        Some(output) => hand_over(output, wanted.script, job),
        None => job.warn("the output was not kept: something that could not be killed still holds it"),
    }
    let Some(ended) = ended else {
        row.outcome = "unknown".into();
        return Did::unknown(
            row,
            "the process that stood over the script was killed: what it started may run on".into(),
        );
    };
    if ended.killed > 0 && matches!(ended.how, How::Exited(_) | How::Signalled(_)) {
        job.warn(format!("{} processes that the script left running were killed", ended.killed));
    }
    row.at = Some(Timestamp::now());
    let limit = wanted.errand.time_limit_s;
    let error = match &ended.how {
        How::Exited(code) => {
            row.outcome = "ran".into();
            row.exit_code = Some(*code);
            None
        }
        How::Signalled(signal) => {
            row.outcome = "ran".into();
            row.note = Some(Untrusted::new(format!("ended by signal {signal}")));
            None
        }
        How::Drifted(what) => return Did::Drift(what.clone()),
        How::NotStarted(why) => return Did::Failed(not_started(why)),
        How::TimedOut => Some(Error::new(ErrorCode::Timeout, format!("the script ran longer than {limit} s"))),
        How::Stopped => Some(job.check().err().unwrap_or_else(|| Error::new(ErrorCode::Cancelled, "it was stopped"))),
    };
    if ended.left > 0 {
        row.outcome = "killed".into();
        return Did::unknown(row, format!("{} processes of the script could not be killed", ended.left));
    }
    match error {
        None => Did::done(row, Verified::Unknown),
        Some(e) => {
            row.outcome = "killed".into();
            row.note = Some(Untrusted::new("it and all that it started was killed; what it did until then stays"));
            Did::Broken { row: Box::new(row), error: e }
        }
    }
}

fn not_started(why: &str) -> Error {
    Error::new(ErrorCode::Backend, format!("the script was not started: {why}"))
}

fn hand_over(mut output: Output, script: &LibraryItem, job: &Job) {
    if output.lost > 0 {
        let why = output.why_lost.map(|why| format!(" ({why})")).unwrap_or_default();
        job.warn(format!("{} bytes of output after the first {} were not kept{why}", output.lost, output.kept));
    }
    if output.kept == 0 || output.file.rewind().is_err() {
        return;
    }
    let facts = FileFacts {
        path: DevicePath::new(format!("run:{}", script.name)),
        size_bytes: output.kept,
        modified: Some(Timestamp::now()),
        identity: None,
        secret: None,
    };
    job.capture(Captured { facts, file: output.file });
}
