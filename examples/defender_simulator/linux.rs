//! Linux devices: each a throw-away root in namespaces of its own, in which scripts run for real.
//!
//! Its files are in memory and mounted only there; its first process ends when the simulator's end of a pipe closes, and
//! everything with it. It needs root or unprivileged user namespaces.

use crate::files;
use crate::live::Ran;
use crate::scratch::Scratch;
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fs::{self, File};
use std::io::{self, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Mutex, OnceCell};

const SETUP: &str = include_str!("linux/setup.sh");
const INIT: &str = include_str!("linux/init.sh");
const SEED: &str = include_str!("linux/seed.sh");
const READY_WITHIN: Duration = Duration::from_secs(120);
/// More of a script's output is not kept.
const OUTPUT_MAX: u64 = 64 << 20;
/// Where PutFile leaves its file.
const DOWNLOADS: &str = "/var/opt/microsoft/mdatp/downloads";

pub type Slot = Arc<OnceCell<Arc<Root>>>;

pub struct Root {
    /// Of the first process, as the simulator sees it.
    pid: u32,
    /// Its `/`.
    files: File,
    user_namespace: bool,
    first: Mutex<Option<(Child, ChildStdin)>>,
}

/// The device's root, made where it is not there yet.
pub async fn root(slot: &Slot, scratch: &Scratch, name: &str) -> Result<Arc<Root>, String> {
    slot.get_or_try_init(|| async { Root::make(scratch, name).await.map(Arc::new) }).await.cloned()
}

impl Root {
    async fn make(scratch: &Scratch, name: &str) -> Result<Root, String> {
        let user_namespace = !rustix::process::geteuid().is_root();
        let told = |e: io::Error| format!("the device's root could not be made: {e}");
        let folder = scratch.path().join("roots").join(name);
        fs::create_dir_all(folder.join("root")).map_err(told)?;
        for (name, text) in [("setup.sh", SETUP), ("init.sh", INIT), ("seed.sh", SEED)] {
            fs::write(folder.join(name), text).map_err(told)?;
        }
        let mut unshare = Command::new("unshare");
        if user_namespace {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child", "--propagation", "private"])
            .args(["--", "/bin/bash"])
            .args([folder.join("setup.sh"), folder.join("root"), folder.clone()])
            .arg(name)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = unshare.spawn().map_err(|e| format!("unshare of util-linux could not be started: {e}"))?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let pid = match tokio::time::timeout(READY_WITHIN, ready(&mut child)).await {
            Ok(pid) => pid?,
            Err(_) => return Err(format!("the device's root was not ready within {} s", READY_WITHIN.as_secs())),
        };
        let files = File::open(format!("/proc/{pid}/root")).map_err(told)?;
        Ok(Root { pid, files, user_namespace, first: Mutex::new(Some((child, stdin))) })
    }

    /// Of its first process, as the simulator sees it: whose `/proc/PID/root` is the device's `/`.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub async fn end(&self) {
        if let Some((mut child, stdin)) = self.first.lock().await.take() {
            drop(stdin);
            if tokio::time::timeout(Duration::from_secs(10), child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }

    /// Opens a file for GetFile.
    pub fn open(&self, path: &str) -> Result<File, String> {
        files::open(&self.files, path, OFlags::RDONLY).map_err(|e| format!("The file {path} could not be read: {e}"))
    }

    pub fn put(&self, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.write(&format!("{DOWNLOADS}/{name}"), bytes)
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), String> {
        let written = || {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
            files::open(&self.files, path, flags)?.write_all(bytes)
        };
        written().map_err(|e| format!("{path} could not be written: {e}"))
    }

    /// Runs the script as root of the device, at most so long.
    pub async fn run(&self, name: &str, script: &[u8], args: &str, limit: Duration) -> Result<Ran, String> {
        let path = format!("{DOWNLOADS}/.run-{}-{name}", crate::seed::random_hex(8));
        self.write(&path, script)?;
        let ran = self.entered(&path, args, limit).await;
        let mut tidy = self.enter();
        tidy.args(["/bin/rm", "-f", "--", &path]);
        let _ = tidy.stdin(Stdio::null()).status().await;
        ran
    }

    /// A command that runs inside.
    fn enter(&self) -> Command {
        let mut enter = Command::new("nsenter");
        enter.arg("--target").arg(self.pid.to_string());
        if self.user_namespace {
            enter.args(["--user", "--preserve-credentials"]);
        }
        enter
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd", "--", "/usr/bin/env", "-i"])
            .args(["HOME=/root", "USER=root", "LOGNAME=root", "LANG=C.UTF-8"])
            .args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        enter
    }

    async fn entered(&self, path: &str, args: &str, limit: Duration) -> Result<Ran, String> {
        let mut enter = self.enter();
        enter
            .args(["/bin/bash", path])
            .args(args.split_whitespace())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = enter.spawn().map_err(|e| format!("nsenter of util-linux could not be started: {e}"))?;
        // Also where a cancel drops this future: nsenter's child is in its group.
        let _group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let stderr = child.stderr.take().ok_or("no stderr")?;
        let (mut stdout, mut stderr) = (stdout.take(OUTPUT_MAX), stderr.take(OUTPUT_MAX));
        let ended = async {
            let read = tokio::join!(stdout.read_to_end(&mut output), stderr.read_to_end(&mut errors));
            read.0.and(read.1)?;
            child.wait().await
        };
        let status = match tokio::time::timeout(limit, ended).await {
            Ok(status) => status.map_err(|e| e.to_string())?,
            Err(_) => return Err(format!("The script did not end within {} seconds", limit.as_secs())),
        };
        Ok(Ran { exit_code: status.code().map_or(-1, i64::from), output, errors })
    }
}

struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The number of the first process, which it prints when all is there.
async fn ready(child: &mut Child) -> Result<u32, String> {
    let stdout = child.stdout.take().ok_or("no stdout")?;
    let mut line = String::new();
    let _ = BufReader::new(stdout).read_line(&mut line).await;
    if let Some(pid) = line.strip_prefix("ready ").and_then(|pid| pid.trim().parse().ok()) {
        return Ok(pid);
    }
    let mut why = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(4096).read_to_end(&mut why).await;
    }
    let why = String::from_utf8_lossy(&why);
    Err(format!("no root for the device: it needs root or unprivileged user namespaces ({})", why.trim()))
}
