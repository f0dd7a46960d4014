//! The binary as a server whose answers are waited for one by one, and what `/proc` tells of it.

use crate::rpc_client::{Home, Person};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// No answer of a server that works takes so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a condition; says `what` when it does not come.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    until_within(PATIENCE, what, &mut is_so);
}

pub fn until_within(patience: Duration, what: &str, is_so: &mut dyn FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come about within {patience:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether the caller is root; tells why a part is passed over where it is not.
pub fn root_for(what: &str) -> bool {
    if !is_root() {
        eprintln!("passed over: {what} needs root");
    }
    is_root()
}

/// Limits for every process of this home.
pub fn configure(home: &Home, text: &str) {
    write_configuration(home, "config.toml", text);
}

/// A person may decide after one second; what is approved may be carried out within `exec_window_s`.
pub fn decide_fast(home: &Home, exec_window_s: u64) {
    let text = format!(
        "version = 1\n[defaults]\nmin_view_s = 1\nexec_window_s = {exec_window_s}\n[[rule]]\n\
         commands = [\"remediate\", \"undo\"]\ngroups = [\"this-host\"]\nlevel = \"L\"\nvotes = 1\n"
    );
    write_configuration(home, "policy.toml", &text);
}

fn write_configuration(home: &Home, name: &str, text: &str) {
    let folder = home.path().join("config/live-response");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(name), text).unwrap();
}

#[derive(Default)]
struct Answers {
    by_id: Mutex<(HashMap<u64, Value>, bool)>,
    came: Condvar,
}

/// `live-response rpc`, with any number of calls under way.
pub struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    answers: Arc<Answers>,
    last_id: u64,
}

impl Server {
    pub fn start(home: &Home) -> Server {
        Server::of(home.command(&["rpc"]))
    }

    /// With a session on this host.
    pub fn connected(home: &Home) -> Server {
        let mut server = Server::start(home);
        let connected = server.call("connect", json!({}));
        assert_eq!(connected["state"], "completed", "{connected}");
        server
    }

    pub fn of(mut command: Command) -> Server {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let answers = Arc::new(Answers::default());
        let into = answers.clone();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let answer: Value = serde_json::from_str(&line).expect("JSON");
                let id = answer["id"].as_u64().expect("an id");
                into.by_id.lock().unwrap().0.insert(id, answer);
                into.came.notify_all();
            }
            into.by_id.lock().unwrap().1 = true;
            into.came.notify_all();
        });
        Server { stdin: child.stdin.take(), child, answers, last_id: 0 }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn send(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        let message = json!({ "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params });
        writeln!(self.stdin.as_ref().expect("open input"), "{message}").expect("a reader");
        self.last_id
    }

    /// The result object of a call that was sent.
    pub fn answer(&self, id: u64) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut answers = self.answers.by_id.lock().unwrap();
        loop {
            if let Some(mut answer) = answers.0.remove(&id) {
                return match answer.get_mut("result") {
                    Some(result) => result.take(),
                    None => answer["error"]["data"].take(),
                };
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !answers.1, "call {id} was not answered; the server is gone: {}", answers.1);
            answers = self.answers.came.wait_timeout(answers, left).unwrap().0;
        }
    }

    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params);
        self.answer(id)
    }

    /// A call that has to be done.
    pub fn done(&mut self, method: &str, params: Value) -> Value {
        let result = self.call(method, params);
        assert_eq!(result["state"], "completed", "{method}: {result}");
        result
    }

    /// A call that has to end with this code.
    pub fn fails(&mut self, code: &str, method: &str, params: Value) -> Value {
        let result = self.call(method, params);
        assert_eq!(result["error"]["code"], code, "{method}: {result}");
        result
    }

    /// Follows a command to its end and gives its own result.
    pub fn followed(&mut self, command: &Value) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut looked = self.done("fg", json!({ "command_id": command["command_id"] }));
            let result = looked["data"]["command"].take();
            if result["state"] != "running" {
                return result;
            }
            assert!(Instant::now() < deadline, "{result} does not end");
        }
    }

    /// Ends its input, as a client that goes.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended; it has to within so long.
    pub fn ends_within(&mut self, patience: Duration) -> ExitStatus {
        let mut status = None;
        until_within(patience, "the server's end", &mut || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("an end")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The requests of the home, as `approvals list` shows them.
pub fn requests(home: &Home) -> Vec<Value> {
    let output = home.run(&["approvals", "list", "--json"], "");
    assert!(output.status.success(), "approvals list: {}", String::from_utf8_lossy(&output.stderr));
    let rows: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    rows.as_array().expect("rows").clone()
}

/// One call of a tool by a process of its own.
pub fn call(home: &Home, tool: &str, params: Value) -> Value {
    let output = home.run(&["call", tool, &params.to_string()], "");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{tool}: {e}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Asks for a change, which has to wait for a person.
pub fn propose(home: &Home, tool: &str, params: Value) -> Value {
    let pending = call(home, tool, params);
    assert_eq!(pending["state"], "pending_approval", "{tool}: {pending}");
    pending
}

/// Starts the approver's side with a code; what it prints is dropped.
pub fn start_approving(home: &Home, person: &Person, pending: &Value) -> Started {
    let id = pending["approval"]["request_id"].as_str().expect("a request");
    let mut command = home.command(&["approvals", "approve", id]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = Started(command.spawn().expect("the binary"));
    writeln!(child.0.stdin.as_ref().expect("stdin"), "{}", person.code()).expect("a reader");
    child
}

/// The whole log as it lies on disk.
pub fn log_text(home: &Home) -> String {
    let Ok(entries) = std::fs::read_dir(home.path().join("state/audit")) else { return String::new() };
    let mut segments: Vec<_> = entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some()).collect();
    segments.sort();
    segments.iter().map(|p| String::from_utf8_lossy(&std::fs::read(p).unwrap_or_default()).into_owned()).collect()
}

/// How many records of an event the log has.
pub fn count(home: &Home, event: &str) -> usize {
    log_text(home).matches(&format!("\"event\":\"{event}\"")).count()
}

pub fn log_verifies(home: &Home) {
    let output = home.run(&["audit", "verify"], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "audit verify: {said}");
}

pub fn evidence_verifies(home: &Home) {
    let output = home.run(&["evidence", "verify"], "");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "evidence verify: {said}");
}

/// A number of kB in `/proc/PID/status`.
pub fn status_kb(pid: u32, field: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a status");
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')).expect("a field");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Clock ticks of processor time that a process has used.
pub fn ticks(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a stat");
    let rest = text.rsplit(')').next().expect("fields");
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let mut next = || fields.next().and_then(|f| f.parse::<u64>().ok()).expect("ticks");
    next() + next()
}

/// Waits until a process uses no processor time any more.
pub fn comes_to_rest(pid: u32) {
    let mut before = u64::MAX;
    until("rest", || {
        std::thread::sleep(Duration::from_millis(200));
        let now = ticks(pid);
        std::mem::replace(&mut before, now) == now
    });
}

/// A mount that is gone, whatever is stuck in it, when this is dropped.
pub struct Mounted(pub PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A tmpfs of so many KiB in place of the home's state.
pub fn small_state(at: &Path, kib: u32) -> Mounted {
    let options = std::ffi::CString::new(format!("size={kib}k,mode=0700")).unwrap();
    rustix::mount::mount("tmpfs", at, "tmpfs", rustix::mount::MountFlags::empty(), options.as_c_str()).expect("tmpfs");
    Mounted(at.to_owned())
}

/// A process that is gone when this is dropped.
pub struct Started(pub Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
