//! A home whose program knows a simulated tenant, with a person who approves.

use super::defender::Simulator;
use super::{Client, Home, Person, Rpc, Said, ended, text};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(120);
const COMMANDS: &str = r#"["isolate", "release", "scan", "run", "putfile", "remediate", "undo", "indicator"]"#;

/// When it ends, nothing secret may have been said by its runs, nor lie in its state.
pub struct Case {
    pub tenant: Arc<Simulator>,
    pub home: Home,
    pub person: Person,
    pub config: String,
    /// Its programs log all that they can.
    pub is_traced: bool,
    told: Mutex<Vec<u8>>,
}

/// A server that stays, for calls that follow each other.
pub struct Server<'a> {
    case: &'a Case,
    rpc: Rpc,
}

impl Server<'_> {
    pub fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.rpc.call(tool, arguments);
        self.case.told.lock().expect("a lock").extend_from_slice(result.to_string().as_bytes());
        result
    }

    #[track_caller]
    pub fn done(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments);
        assert_eq!(result["state"], "completed", "{tool}: {result}");
        result
    }

    #[track_caller]
    pub fn error(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments);
        assert!(result["error"].is_object(), "{tool}: {result}");
        result["error"].clone()
    }

    pub fn pid(&self) -> u32 {
        self.rpc.pid()
    }

    /// A figure of its `/proc/PID/status`, in KiB.
    pub fn memory(&self, field: &str) -> u64 {
        self.rpc.memory(field)
    }
}

impl Case {
    /// A home whose configuration is the tenant's, with this in its `[guard]` and these groups in its policy.
    pub fn new(options: &[&str], guard: &str, groups: impl Fn(&Simulator) -> String) -> Case {
        let tenant = Arc::new(Simulator::start(options));
        let groups = groups(&tenant);
        Case::at(tenant, guard, &groups, "exec_window_s = 5")
    }

    /// With the named devices in group `lab`.
    pub fn of(platform: &str, options: &[&str]) -> (Case, String) {
        let case = Case::new(options, "allow_shared_account = true", |tenant| lab(&tenant.device(platform).1));
        let name = case.tenant.device(platform).1;
        (case, name)
    }

    /// Also with the script pack in the tenant's library.
    pub fn synced(platform: &str, options: &[&str]) -> (Case, String) {
        let (case, name) = Case::of(platform, options);
        case.sync();
        (case, name)
    }

    /// Another person's home, for the same tenant.
    pub fn beside(&self, name: &str, defaults: &str) -> Case {
        Case::at(self.tenant.clone(), "allow_shared_account = true", &lab(name), defaults)
    }

    fn at(tenant: Arc<Simulator>, guard: &str, groups: &str, defaults: &str) -> Case {
        let home = Home::new();
        let folder = home.path().join("config/live-response");
        std::fs::create_dir_all(&folder).expect("a folder");
        let written = std::fs::read_to_string(tenant.config()).expect("a configuration");
        let limits = "\n[defender.limits]\npoll_first_ms = 50\npoll_max_ms = 200\nstarts_per_minute = 1000\ncalls_per_minute = 10000\n";
        let written = if written.contains("[defender.limits]") { written } else { written + limits };
        std::fs::write(folder.join("config.toml"), format!("{written}\n[guard]\n{guard}\n")).expect("a configuration");
        let policy = format!(
            "version = 1\n[defaults]\nmin_view_s = 1\n{defaults}\nallow_unsigned_scripts = true\n{groups}\n[[rule]]\ncommands = {COMMANDS}\ngroups = [\"lab\"]\nlevel = \"L\"\nvotes = 1\n",
        );
        std::fs::write(folder.join("policy.toml"), policy).expect("a policy");
        let config = folder.join("config.toml").display().to_string();
        let person = home.enroll("alex");
        Case { tenant, home, person, config, is_traced: false, told: Mutex::default() }
    }

    /// Adds to the configuration.
    pub fn configure(&self, more: &str) {
        let old = std::fs::read_to_string(&self.config).expect("a configuration");
        std::fs::write(&self.config, format!("{old}\n{more}\n")).expect("a configuration");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let all: Vec<&str> = ["--config", self.config.as_str()].into_iter().chain(arguments.iter().copied()).collect();
        let mut command = self.home.piped(&all);
        if self.is_traced {
            command.env("RUST_LOG", "trace");
        }
        command
    }

    pub fn start(&self, arguments: &[&str], stdin: &str) -> Child {
        let mut child = self.command(arguments).spawn().expect("the binary");
        // A process that does not read its stdin may be gone before this is written.
        let _ = child.stdin.take().expect("stdin").write_all(stdin.as_bytes());
        child
    }

    pub fn run(&self, arguments: &[&str], stdin: &str) -> Output {
        self.heard(ended(self.start(arguments, stdin)))
    }

    /// Keeps what a run said.
    pub fn heard(&self, output: Output) -> Output {
        let mut told = self.told.lock().expect("a lock");
        told.extend_from_slice(&output.stdout);
        told.extend_from_slice(&output.stderr);
        drop(told);
        output
    }

    /// A server; what it logs is kept in the home.
    pub fn serve(&self) -> Server<'_> {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.home.path().join("log"));
        let client = Client::spawn_to(self.command(&["rpc"]), Stdio::from(log.expect("a log")));
        Server { case: self, rpc: Rpc::of(client) }
    }

    pub fn call(&self, device: &str, tool: &str, arguments: Value) -> Output {
        self.run(&["call", tool, &arguments.to_string(), "--device", device], "")
    }

    pub fn ask(&self, device: &str, tool: &str, arguments: Value) -> Value {
        self.call(device, tool, arguments).expect(4).json()
    }

    pub fn screen(&self, pending: &Value) -> String {
        self.run(&["approvals", "show", &request(pending)], "").expect(0).out()
    }

    pub fn approve(&self, pending: &Value, check: &str) -> Output {
        self.heard(ended(self.approving(pending, check)))
    }

    /// The approver's process, at work.
    pub fn approving(&self, pending: &Value, check: &str) -> Child {
        let stdin = format!("{}\n{check}\n", self.person.code());
        self.start(&["approvals", "approve", &request(pending)], &stdin)
    }

    pub fn status(&self, pending: &Value) -> Value {
        let args = json!({ "command_id": pending["command_id"] }).to_string();
        self.run(&["call", "status", &args], "").expect(0).json()["data"]["command"].clone()
    }

    /// The command's status once it runs no more.
    pub fn outcome(&self, pending: &Value) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.status(pending);
            if status["state"] != "running" {
                return status;
            }
            assert!(Instant::now() < deadline, "{status}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn device(&self, name: &str) -> Value {
        self.tenant.devices().into_iter().find(|d| d["name"] == name).expect("the device")
    }

    /// Puts the script pack into the tenant's library.
    pub fn sync(&self) {
        self.run(&["library", "sync"], "").expect(0);
    }

    /// A file of the script library that a person has approved.
    pub fn library(&self, name: &str, content: &[u8]) {
        let file = self.home.file(name, content);
        self.run(&["library", "add", &file.display().to_string()], "").expect(0);
        self.run(&["library", "approve", name], &format!("{}\n", self.person.code())).expect(0);
    }

    /// Waits until the tenant has seen as many requests to an endpoint.
    pub fn seen(&self, endpoint: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.tenant.count(endpoint) < times {
            assert!(Instant::now() < deadline, "no {endpoint} came");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The tenant's actions, newest first.
    pub fn actions(&self) -> Vec<Value> {
        let (status, actions) = self.tenant.api(&self.tenant.token(), "GET", "/api/machineactions", None);
        assert_eq!(status, 200);
        actions["value"].as_array().expect("actions").clone()
    }

    /// What must never be told: the client's secret, what every token begins with, every result link.
    fn secrets(&self) -> Vec<String> {
        let secret = std::fs::read_to_string(self.tenant.folder().join("defender.secret")).unwrap_or_default();
        let token = self.tenant.first_of_tokens();
        [secret.trim(), &token, "sig=", "/investigation-actions-data/"].map(str::to_owned).into()
    }

    /// Everything that was said and everything that was kept holds none of it.
    pub fn nothing_secret_is_told(&self) {
        let mut places = vec![("what was said".to_owned(), std::mem::take(&mut *self.told.lock().expect("a lock")))];
        files(self.home.path(), &mut places);
        for canary in self.secrets().iter().filter(|canary| !canary.is_empty()) {
            for (place, bytes) in &places {
                assert!(!String::from_utf8_lossy(bytes).contains(canary), "{place} holds {canary:?}");
            }
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.nothing_secret_is_told();
        }
    }
}

fn files(folder: &Path, places: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => files(&entry.path(), places),
            kind if kind.is_file() => {
                places.push((entry.path().display().to_string(), std::fs::read(entry.path()).unwrap_or_default()));
            }
            _ => {}
        }
    }
}

/// That a call ended with this exit code and this error.
#[track_caller]
pub fn refused(output: Output, exit: i32, code: &str) {
    assert_eq!(output.expect(exit).json()["error"]["code"], code);
}

pub fn request(pending: &Value) -> String {
    text(&pending["approval"]["request_id"])
}

pub fn lab(name: &str) -> String {
    format!("[[group]]\nname = \"lab\"\ntier = \"T3\"\ndevices = [\"defender:{name}\"]\n")
}
