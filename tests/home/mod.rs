//! A throw-away home for the real binary, and a person with an authenticator.
#![allow(dead_code)]

use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// State and configuration of one test, gone when it is.
pub struct Home(pub PathBuf);

pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The one JSON document on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {:?}, stderr {:?}", self.out, self.err))
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout {:?}, stderr {:?}", self.out, self.err);
        self
    }

    #[track_caller]
    pub fn says(self, code: &str) -> Self {
        assert!(self.err.contains(code), "no {code} in stderr {:?}, stdout {:?}", self.err, self.out);
        self
    }
}

impl Home {
    pub fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
        let root = std::env::temp_dir().join(format!("lr-cli-{}-{nanos}-{n}", std::process::id()));
        std::fs::create_dir(&root).unwrap();
        std::fs::create_dir(root.join("work")).unwrap();
        Home(root)
    }

    /// Where the test's own files lie; also the working directory of every process.
    pub fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.work().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_live-response"));
        command
            .args(args)
            .current_dir(self.work())
            .env("LIVE_RESPONSE_HOME", self.0.join("state"))
            .env("XDG_CONFIG_HOME", self.0.join("config"))
            .env_remove("LIVE_RESPONSE_CONFIG")
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts it with these bytes on stdin, then the end of input.
    pub fn start(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Child {
        let mut child = self.command(args).spawn().unwrap();
        // A process that does not read its stdin may be gone before this is written.
        let _ = child.stdin.take().unwrap().write_all(stdin.as_ref());
        child
    }

    pub fn run(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Ended {
        ended(self.start(args, stdin))
    }

    pub fn call(&self, tool: &str, arguments: Value) -> Ended {
        self.run(&["call", tool, &arguments.to_string()], "")
    }

    pub fn enroll(&self, name: &str) -> Person {
        let shown = self.run(&["approver", "enroll", name], "\n").expect(0);
        Person::scan(&shown.out)
    }

    /// Asks for the quarantine of a file; the request's id and the command's.
    pub fn ask_to_remediate(&self, file: &Path) -> (String, String) {
        let asked = self.call("remediate", serde_json::json!({ "type": "file", "id": file })).expect(4).json();
        assert_eq!(asked["state"], "pending_approval");
        (text(&asked["approval"]["request_id"]), text(&asked["command_id"]))
    }

    pub fn log(&self) -> String {
        self.run(&["audit", "show", "--json"], "").expect(0).out
    }

    /// How many records of an event the log holds.
    pub fn count(&self, event: &str) -> usize {
        self.run(&["audit", "show", "--json", "--event", event], "").expect(0).out.lines().count()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A person's authenticator.
pub struct Person {
    totp: totp_rs::Totp,
    pub url: String,
}

impl Person {
    /// Reads the URI of an enrolment's screen.
    pub fn scan(screen: &str) -> Self {
        let url = screen.split_whitespace().find(|w| w.starts_with("otpauth://")).expect("an otpauth URI").to_owned();
        Person { totp: totp_rs::Totp::from_url(&url).unwrap(), url }
    }

    /// The code of the present 30-second step or of one before. Waits for the next step where this one is nearly over:
    /// between code and vote lies the viewing time.
    pub fn code(&self, steps_ago: u64) -> String {
        let deadline = Instant::now() + Duration::from_secs(40);
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            if now % 30 < 18 || Instant::now() > deadline {
                return self.totp.generate(now - 30 * steps_ago).to_string();
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A code that is none of the accepted ones.
    pub fn wrong_code(&self) -> String {
        let right = [self.code(0), self.code(1)];
        (0..).map(|n| format!("{n:06}")).find(|c| !right.contains(c)).unwrap()
    }

    pub fn secret(&self) -> &str {
        self.url.split("secret=").nth(1).and_then(|rest| rest.split('&').next()).expect("a secret in the URI")
    }
}
