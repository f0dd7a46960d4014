//! Clients that write lines to the real binary and read its lines.

use super::Home;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Client {
    pub child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    last_id: u64,
}

impl Client {
    pub fn start(home: &Home, arguments: &[&str]) -> Self {
        Self::spawn(home.command(arguments))
    }

    pub fn spawn(command: std::process::Command) -> Self {
        Self::spawn_to(command, Stdio::null())
    }

    /// Its stderr goes there.
    pub fn spawn_to(mut command: std::process::Command, stderr: Stdio) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(stderr).spawn().expect("the binary");
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            // Ends with the client too: then nobody reads the server's stdout any more.
            for line in stdout.lines() {
                if line.is_err() || sender.send(line.unwrap_or_default()).is_err() {
                    return;
                }
            }
        });
        Client { child, stdin, lines, last_id: 0 }
    }

    /// A session of MCP that is open.
    pub fn mcp(home: &Home, arguments: &[&str]) -> Self {
        let mut client = Self::start(home, &[&["mcp"], arguments].concat());
        let opened = client.ask("initialize", initialize("2025-11-25"));
        assert_eq!(opened["result"]["serverInfo"]["name"], "live-response", "{opened}");
        client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        client
    }

    pub fn send(&mut self, line: &str) {
        self.send_bytes(line.as_bytes());
        self.send_bytes(b"\n");
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.stdin.as_mut().expect("open").write_all(bytes).expect("a reader");
    }

    /// The next message; every line on stdout must be one.
    pub fn read(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("a message in time");
        let message: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?} is no message: {e}"));
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        message
    }

    /// Sends a request and gives its id.
    pub fn request(&mut self, method: &str, params: Value) -> u64 {
        self.last_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params }).to_string());
        self.last_id
    }

    /// The answer to a request.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        let answer = self.read();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Sends one raw line and gives what it is answered.
    pub fn answer_to(&mut self, line: &str) -> Value {
        self.send(line);
        self.read()
    }

    /// The result object of a tool.
    pub fn tool(&mut self, name: &str, arguments: Value) -> Value {
        let mut answer = self.ask("tools/call", json!({ "name": name, "arguments": arguments }));
        answer["result"]["structuredContent"].take()
    }

    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// What is still said, and how it ends.
    pub fn wait(mut self) -> (Vec<Value>, ExitStatus) {
        let until = Instant::now() + PATIENCE;
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            rest.push(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?} is no message: {e}")));
        }
        (rest, self.child.wait().expect("an end"))
    }

    /// A figure of the server's `/proc/PID/status`, in KiB.
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|l| l.strip_prefix(field)).expect("a field");
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a figure")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn initialize(version: &str) -> Value {
    json!({ "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } })
}

/// `_meta` of a request that opens no session.
pub fn stateless() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    })
}

/// A file whose hashing takes longer than any test: as big as is hashed at all, and all hole.
pub fn endless_file(home: &Home) -> String {
    let path = home.file("endless", b"");
    std::fs::OpenOptions::new().write(true).open(&path).and_then(|f| f.set_len(30_000_000_000)).expect("a sparse file");
    path.display().to_string()
}

/// A client of `rpc` that waits for each answer.
pub struct Rpc(Client);

impl Rpc {
    pub fn start(home: &Home) -> Self {
        Rpc::of(Client::start(home, &["rpc"]))
    }

    pub fn of(client: Client) -> Self {
        Rpc(client)
    }

    pub fn memory(&self, field: &str) -> u64 {
        self.0.memory(field)
    }

    pub fn pid(&self) -> u32 {
        self.0.child.id()
    }

    /// The result object of a call, also of one that was refused or failed.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let mut answer = self.0.ask(method, params);
        match answer.get_mut("result") {
            Some(result) => result.take(),
            None => answer["error"]["data"].take(),
        }
    }
}
