//! A throw-away home for the real binary.

use super::Person;
use serde_json::Value;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// State and configuration of one test, gone when it is.
pub struct Home(PathBuf);

impl Home {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_nanos();
        let name = format!("live-response-test-{}-{nanos}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let root = std::env::temp_dir().join(name);
        for folder in ["state", "config", "files"] {
            std::fs::create_dir_all(root.join(folder)).expect("a folder");
        }
        std::fs::set_permissions(root.join("state"), PermissionsExt::from_mode(0o700)).expect("a mode");
        Home(root)
    }

    /// A home whose state nobody has made yet.
    pub fn untouched() -> Self {
        let home = Self::new();
        std::fs::remove_dir(home.state()).expect("an empty folder");
        home
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Where the test's own files lie; also the working directory of every process.
    pub fn files(&self) -> PathBuf {
        self.0.join("files")
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_live-response"));
        command
            .args(arguments)
            .current_dir(self.files())
            .env("LIVE_RESPONSE_HOME", self.state())
            .env("XDG_CONFIG_HOME", self.0.join("config"))
            .env_remove("LIVE_RESPONSE_CONFIG")
            .env_remove("RUST_LOG");
        command
    }

    /// [`Home::command`] with a pipe for each of its streams.
    pub fn piped(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts it with these bytes on stdin, then the end of input.
    pub fn start(&self, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Child {
        let mut child = self.piped(arguments).spawn().expect("the binary");
        // A process that does not read its stdin may be gone before this is written.
        let _ = child.stdin.take().expect("stdin").write_all(stdin.as_ref());
        child
    }

    pub fn run(&self, arguments: &[&str], stdin: impl AsRef<[u8]>) -> Output {
        ended(self.start(arguments, stdin))
    }

    pub fn call(&self, tool: &str, arguments: Value) -> Output {
        self.run(&["call", tool, &arguments.to_string()], "")
    }

    pub fn enroll(&self, name: &str) -> Person {
        Person::scan(&self.run(&["approver", "enroll", name], "\n").expect(0).out())
    }

    /// A person's yes to a pending result, given as a person gives it.
    pub fn approve(&self, person: &Person, pending: &Value) {
        let id = text(&pending["approval"]["request_id"]);
        self.run(&["approvals", "approve", &id], format!("{}\n", person.code())).expect(0);
    }

    pub fn deny(&self, pending: &Value) {
        let id = text(&pending["approval"]["request_id"]);
        self.run(&["approvals", "deny", &id], "").expect(0);
    }

    /// Asks for the quarantine of a file; the request's id and the command's.
    pub fn ask_to_remediate(&self, file: &Path) -> (String, String) {
        let asked = self.call("remediate", serde_json::json!({ "type": "file", "id": file })).expect(4).json();
        assert_eq!(asked["state"], "pending_approval");
        (text(&asked["approval"]["request_id"]), text(&asked["command_id"]))
    }

    pub fn log(&self) -> String {
        self.run(&["audit", "show", "--json"], "").expect(0).out()
    }

    /// How many records of an event the log holds.
    pub fn count(&self, event: &str) -> usize {
        self.run(&["audit", "show", "--json", "--event", event], "").expect(0).out().lines().count()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn ended(child: Child) -> Output {
    child.wait_with_output().expect("an end")
}

/// What a process that has ended said.
pub trait Said: Sized {
    /// `-1` where a signal ended it.
    fn code(&self) -> i32;
    fn out(&self) -> String;
    fn err(&self) -> String;

    /// The one JSON document on stdout.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out()).unwrap_or_else(|e| panic!("{e}: {:?}, stderr {:?}", self.out(), self.err()))
    }

    #[track_caller]
    fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "stdout {:?}, stderr {:?}", self.out(), self.err());
        self
    }

    #[track_caller]
    fn says(self, code: &str) -> Self {
        assert!(self.err().contains(code), "no {code} in stderr {:?}, stdout {:?}", self.err(), self.out());
        self
    }
}

impl Said for Output {
    fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    fn out(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("UTF-8 on stdout")
    }

    fn err(&self) -> String {
        String::from_utf8(self.stderr.clone()).expect("UTF-8 on stderr")
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
