//! The smallest calls over MCP on stdio beside a bare `serde_json` echo loop, driver and server pinned to one core, in
//! one run; start-up and memory beside them. Prints figures and ratios; judges nothing.
//!
//! cargo bench --bench calls

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

const CALLS: usize = 20_000;
const WARM: usize = 1_000;
const STARTS: usize = 20;
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;

fn main() {
    if std::env::args().any(|a| a == "echo") {
        return echo();
    }
    pin();
    let root = std::env::temp_dir().join(format!("live-response-calls-{}", std::process::id()));
    std::fs::create_dir_all(&root).expect("a scratch folder");
    let started = start_time(&root);
    println!("start to initialize answer, median of {STARTS}: {:.2} ms", millis(started));
    memory(&root);
    let bare = measure(Server::echo(), "help");
    println!("{:<14} p50 {:>6.1} us  p99 {:>6.1} us", "echo loop", micros(bare.0), micros(bare.1));
    for tool in ["help", "jobs"] {
        for (kind, server) in [("mcp", Server::mcp(&root)), ("rpc", Server::rpc(&root))] {
            let (p50, p99) = measure(server, tool);
            let ratio = p50.as_secs_f64() / bare.0.as_secs_f64();
            println!(
                "{:<14} p50 {:>6.1} us  p99 {:>6.1} us  {ratio:.2} x echo",
                format!("{kind} {tool}"),
                micros(p50),
                micros(p99)
            );
        }
    }
    let _ = std::fs::remove_dir_all(root);
}

/// What a server costs that does nothing: each line is parsed and answered.
fn echo() {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let message: serde_json::Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let answer =
            serde_json::json!({ "jsonrpc": "2.0", "id": message["id"], "result": { "echo": message["params"] } });
        writeln!(out, "{answer}").expect("a reader");
        out.flush().expect("a reader");
    }
}

/// On one core, children too: else the figures say where the kernel put them.
fn pin() {
    let mut first = rustix::thread::CpuSet::new();
    first.set(0);
    rustix::thread::sched_setaffinity(None, &first).expect("an affinity");
}

struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: String,
    /// Calls are methods of their own.
    bare: bool,
}

impl Server {
    fn spawn(mut command: Command) -> Server {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a server");
        let stdin = child.stdin.take().expect("stdin");
        let stdout = BufReader::new(child.stdout.take().expect("stdout"));
        Server { child, stdin, stdout, line: String::new(), bare: false }
    }

    fn echo() -> Server {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg("echo");
        Self::spawn(command)
    }

    fn mcp(root: &Path) -> Server {
        let mut server = Self::spawn(ours(root, "mcp"));
        server.exchange(INITIALIZE);
        server
    }

    fn rpc(root: &Path) -> Server {
        let mut server = Self::spawn(ours(root, "rpc"));
        server.bare = true;
        server
    }

    fn exchange(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).expect("a reader");
        self.line.clear();
        self.stdout.read_line(&mut self.line).expect("an answer");
        assert!(self.line.contains("\"result\""), "{line}: {}", self.line);
    }

    /// One call, answered; the line is made before the clock runs.
    fn call(&mut self, id: usize, tool: &str) -> Duration {
        let line = match self.bare {
            true => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{tool}\",\"params\":{{}}}}\n"),
            false => format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"{tool}\",\"arguments\":{{}}}}}}\n"
            ),
        };
        let start = Instant::now();
        self.stdin.write_all(line.as_bytes()).expect("a reader");
        self.line.clear();
        self.stdout.read_line(&mut self.line).expect("an answer");
        start.elapsed()
    }

    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a process");
        let line = status.lines().find_map(|l| l.strip_prefix(field)).expect("a field");
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a figure")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ours(root: &Path, front: &str) -> Command {
    let home: PathBuf = root.join("home");
    let mut command = Command::new(env!("CARGO_BIN_EXE_live-response"));
    command.arg(front).env("LIVE_RESPONSE_HOME", home).env("XDG_CONFIG_HOME", root.join("config"));
    command.env_remove("LIVE_RESPONSE_CONFIG").env_remove("RUST_LOG");
    command
}

fn measure(mut server: Server, tool: &str) -> (Duration, Duration) {
    for id in 1..=WARM {
        server.call(id, tool);
    }
    let mut times: Vec<Duration> = (1..=CALLS).map(|id| server.call(WARM + id, tool)).collect();
    times.sort_unstable();
    (at(&times, 50), at(&times, 99))
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

fn start_time(root: &Path) -> Duration {
    let mut times: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let start = Instant::now();
            let _server = Server::mcp(root);
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    at(&times, 50)
}

fn memory(root: &Path) {
    let mut server = Server::mcp(root);
    let show = |server: &Server, when: &str| {
        let (all, own) = (server.memory("VmRSS"), server.memory("RssAnon"));
        println!("memory {when}: VmRSS {all} KiB, RssAnon {own} KiB");
    };
    show(&server, "at rest");
    server.exchange(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    show(&server, "after tools/list");
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
