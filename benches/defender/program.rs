//! The program under measure: as a server that answers one line at a time, or as one call in a process of its own.

use crate::support::Home;
use crate::support::defender::Simulator;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A home whose program knows the tenant and is held back by no limit that is not given here.
pub struct Place {
    home: Home,
}

impl Place {
    pub fn new(tenant: &Simulator, limits: &[(&str, u64)]) -> Place {
        let home = Home::new();
        let mut text = std::fs::read_to_string(tenant.config()).expect("a configuration");
        text.push_str("\n[defender.limits]\n");
        let open: [(&str, u64); 4] = [
            ("starts_per_minute", 100_000),
            ("calls_per_minute", 1_000_000),
            ("calls_per_hour", 10_000_000),
            ("hunts_per_minute", 100_000),
        ];
        let is_given = |name: &str| limits.iter().any(|(given, _)| *given == name);
        for (name, value) in open.iter().filter(|(name, _)| !is_given(name)).chain(limits) {
            text.push_str(&format!("{name} = {value}\n"));
        }
        home.file("config.toml", text);
        Place { home }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command.env("LIVE_RESPONSE_CONFIG", self.home.files().join("config.toml"));
        command
    }

    /// Puts the script pack into the tenant's library.
    pub fn sync(&self) {
        let output = self.command(&["library", "sync"]).output().expect("the program");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn serve(&self) -> Server {
        let mut command = self.command(&["rpc"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program");
        let stdin = child.stdin.take().expect("stdin");
        let stdout = BufReader::with_capacity(1 << 20, child.stdout.take().expect("stdout"));
        Server { child, stdin, stdout, line: String::new(), calls: 0 }
    }

    /// One command in a process of its own: what it printed, how long it took, and the most memory it had, in KiB.
    pub fn run(&self, arguments: &[&str]) -> (String, Duration, u64) {
        let start = Instant::now();
        let mut child = self.command(arguments).stdout(Stdio::piped()).spawn().expect("the program");
        let mut stdout = child.stdout.take().expect("stdout");
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        let mut most = 0;
        let status = loop {
            // Nothing once it has ended; the value only grows.
            most = most.max(status_field(child.id(), "VmHWM").unwrap_or(0));
            match child.try_wait().expect("a process") {
                Some(status) => break status,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let took = start.elapsed();
        let text = reader.join().expect("a reader").expect("text");
        assert!(status.success(), "{arguments:?}: {status}: {text}");
        (text, took, most)
    }
}

/// A figure of `/proc/PID/status`, in KiB.
fn status_field(pid: u32, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix(field))?;
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().ok()
}

/// `live-response rpc`.
pub struct Server {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    line: String,
    calls: u64,
}

impl Server {
    /// A call's answer as it came, and the time from its first byte out to its last byte in.
    pub fn call(&mut self, method: &str, params: &Value) -> (&str, Duration) {
        self.calls += 1;
        let line = json!({ "jsonrpc": "2.0", "id": self.calls, "method": method, "params": params }).to_string() + "\n";
        let start = Instant::now();
        self.stdin.write_all(line.as_bytes()).expect("a reader");
        self.line.clear();
        self.stdout.read_line(&mut self.line).expect("an answer");
        (&self.line, start.elapsed())
    }

    /// A call's result object, which must be of a call that was carried out, and its time.
    pub fn result(&mut self, method: &str, params: &Value) -> (Value, Duration) {
        let (line, took) = self.call(method, params);
        let mut answer: Value = serde_json::from_str(line).expect("JSON");
        assert!(answer["result"].is_object(), "{method} {params}: {answer}");
        (answer["result"].take(), took)
    }

    pub fn peak_memory(&self) -> u64 {
        status_field(self.child.id(), "VmHWM").expect("a process")
    }

    /// Processor time so far, in all threads; the kernel counts it in hundredths of a second.
    pub fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a process");
        let after_name = stat.rsplit_once(')').expect("a name").1;
        let fields: Vec<u64> = after_name.split_whitespace().map(|f| f.parse().unwrap_or(0)).collect();
        // utime and stime: 14 and 15 of `man 5 proc_pid_stat`, where the state is 3.
        Duration::from_millis((fields[11] + fields[12]) * 10)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
