//! A JSON-RPC client over the real binary's `rpc`, in a throw-away home, and the person beside it.
#![allow(dead_code)] // each test uses its part

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A throw-away home; gone when it is dropped.
pub struct Home(PathBuf);

impl Home {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let name = format!("live-response-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let root = std::env::temp_dir().join(name);
        for folder in ["state", "config", "files"] {
            std::fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(root.join("state"), PermissionsExt::from_mode(0o700)).expect("a mode");
        Home(root)
    }

    /// A file outside of the state.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.join("files").join(name);
        std::fs::write(&file, bytes).expect("a file");
        file
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_live-response"));
        command.args(arguments).env("LIVE_RESPONSE_HOME", self.0.join("state"));
        command.env("XDG_CONFIG_HOME", self.0.join("config")).env_remove("LIVE_RESPONSE_CONFIG").env_remove("RUST_LOG");
        command
    }

    /// Runs the binary with these lines on stdin.
    pub fn run(&self, arguments: &[&str], lines: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary");
        child.stdin.take().expect("stdin").write_all(lines.as_bytes()).expect("lines");
        child.wait_with_output().expect("an end")
    }

    pub fn enroll(&self, name: &str) -> Person {
        let output = self.run(&["approver", "enroll", name], "\n");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let url = text.split_whitespace().find(|w| w.starts_with("otpauth://")).unwrap_or_else(|| {
            panic!("no otpauth URI in {text:?}; {}", String::from_utf8_lossy(&output.stderr));
        });
        Person { totp: totp_rs::Totp::from_url(url).expect("an otpauth URI"), used: AtomicU32::new(0) }
    }

    /// A person's yes to a pending result, given as a person gives it.
    pub fn approve(&self, person: &Person, pending: &Value) {
        let id = pending["approval"]["request_id"].as_str().expect("a request");
        let output = self.run(&["approvals", "approve", id], &format!("{}\n", person.code()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "approve: {said} {}", String::from_utf8_lossy(&output.stdout));
    }

    pub fn deny(&self, pending: &Value) {
        let id = pending["approval"]["request_id"].as_str().expect("a request");
        let output = self.run(&["approvals", "deny", id], "");
        assert!(output.status.success(), "deny: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An enrolled person's authenticator.
pub struct Person {
    totp: totp_rs::Totp,
    used: AtomicU32,
}

impl Person {
    /// A code that was not given yet: first that of the previous time step, then that of the current one.
    pub fn code(&self) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        let ago = if self.used.fetch_add(1, Relaxed) == 0 { 30 } else { 0 };
        self.totp.generate(now - ago).to_string()
    }
}

pub struct Rpc {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    last_id: u64,
}

impl Rpc {
    pub fn start(home: &Home) -> Self {
        let mut command = home.command(&["rpc"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary");
        let stdin = child.stdin.take().expect("stdin");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        Rpc { child, stdin, stdout, last_id: 0 }
    }

    #[allow(dead_code)]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The result object of a call, also of one that was refused or failed.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let message = json!({ "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params });
        writeln!(self.stdin, "{message}").expect("a reader");
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        let mut answer: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{method}: {line:?}: {e}"));
        assert_eq!(answer["id"], self.last_id, "{answer}");
        match answer.get_mut("result") {
            Some(result) => result.take(),
            None => answer["error"]["data"].take(),
        }
    }
}

impl Drop for Rpc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
