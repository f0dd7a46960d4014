//! Limits, cancels, clients that vanish, signals.

use crate::rpc_client::Home;
use crate::server::{
    Server, Started, comes_to_rest, configure, count, decide_fast, log_text, log_verifies, propose, requests,
    start_approving, ticks, until, until_within,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// A process ends this soon after its input.
const END: Duration = Duration::from_secs(10);

/// A file that takes minutes to hash and no room.
fn endless(home: &Home) -> PathBuf {
    let file = home.file("endless.bin", b"");
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(29_000_000_000).unwrap();
    file
}

fn works(server: &Server) {
    let before = ticks(server.pid());
    until("work", || ticks(server.pid()) > before + 2);
}

fn children_of(pid: u32) -> Vec<u32> {
    let parent = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        text.rsplit(')').next()?.split_ascii_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let all = std::fs::read_dir("/proc").expect("procfs").flatten();
    all.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|p| parent(*p) == Some(pid)).collect()
}

#[test]
fn sessions_are_limited_by_user_and_in_all() {
    for (config, limit) in [("sessions_per_user = 3", 3), ("sessions = 2", 2), ("", 10)] {
        let home = Home::new();
        configure(&home, &format!("[limits]\n{config}\n"));
        let mut server = Server::start(&home);
        let sessions: Vec<Value> =
            (0..limit).map(|_| server.done("connect", json!({}))["data"]["session"].clone()).collect();
        let refused = server.fails("E_TOO_MANY_SESSIONS", "connect", json!({}));
        assert!(refused["error"]["hint"].is_string(), "{refused}");
        server.done("disconnect", json!({ "session": sessions[0] }));
        server.done("connect", json!({}));
    }
}

#[test]
fn an_idle_session_ends_and_makes_room() {
    let home = Home::new();
    configure(&home, "[limits]\nidle_s = 1\nsessions = 1\n");
    let mut server = Server::connected(&home);
    until("an idle session's end", || server.call("connect", json!({}))["state"] == "completed");
}

#[test]
fn a_busy_session_is_not_idle() {
    let home = Home::new();
    configure(&home, "[limits]\nidle_s = 1\nanswer_within_s = 1\nlong_command_s = 60\n");
    let file = endless(&home);
    let mut server = Server::connected(&home);
    let running = server.call("fileinfo", json!({ "path": file }));
    assert_eq!(running["state"], "running", "{running}");
    let started = std::time::Instant::now();
    until("more than the idle time", || started.elapsed() > Duration::from_millis(2_200));
    server.done("cd", json!({ "path": "/" }));
    server.done("cancel", json!({ "command_id": running["command_id"] }));
}

#[test]
fn a_slow_call_goes_on_as_a_job_and_a_cancel_stops_its_work() {
    let home = Home::new();
    configure(&home, "[limits]\nanswer_within_s = 1\n");
    let file = endless(&home);
    let mut server = Server::connected(&home);
    let running = server.call("fileinfo", json!({ "path": file }));
    assert_eq!(running["state"], "running", "{running}");
    assert!(running["progress"]["done"].as_u64() > Some(0), "{running}");
    let command = json!({ "command_id": running["command_id"] });
    let waited = server.done("fg", command.clone());
    assert_eq!(waited["data"]["command"]["state"], "running", "{waited}");
    works(&server);
    server.done("cancel", command.clone());
    let ended = server.followed(&running);
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("cancelled"), &json!("E_CANCELLED")), "{ended}");
    comes_to_rest(server.pid());
}

#[test]
fn a_command_beyond_its_time_fails_and_its_work_stops() {
    let home = Home::new();
    configure(&home, "[limits]\ncommand_s = 1\n");
    let file = endless(&home);
    let mut server = Server::connected(&home);
    let failed = server.fails("E_TIMEOUT", "fileinfo", json!({ "path": file }));
    assert_eq!(failed["state"], "failed", "{failed}");
    comes_to_rest(server.pid());
    server.done("dir", json!({ "path": "/" }));
}

#[test]
fn a_client_that_vanishes_takes_its_foreground_work_along() {
    let home = Home::new();
    let file = endless(&home);
    let mut server = Server::connected(&home);
    server.send("fileinfo", json!({ "path": file }));
    works(&server);
    assert!(children_of(server.pid()).is_empty());
    server.hang_up();
    assert!(server.ends_within(END).success());
    until("a record", || log_text(&home).contains("E_CANCELLED"));
    log_verifies(&home);
}

#[test]
fn a_client_that_neither_writes_nor_reads_any_more_ends_its_server() {
    let home = Home::new();
    let file = endless(&home);
    let mut command = home.command(&["rpc"]);
    let mut server = Started(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary"));
    let (mut input, output) = (server.0.stdin.take().expect("stdin"), server.0.stdout.take().expect("stdout"));
    writeln!(input, r#"{{"jsonrpc":"2.0","id":1,"method":"connect"}}"#).expect("a reader");
    let mut output = BufReader::new(output);
    output.read_line(&mut String::new()).expect("an answer");
    let message = json!({ "jsonrpc": "2.0", "id": 2, "method": "fileinfo", "params": { "path": file } });
    writeln!(input, "{message}").expect("a reader");
    let pid = server.0.id();
    let before = ticks(pid);
    until("work", || ticks(pid) > before + 2);
    drop((input, output));
    until_within(END, "the server's end", &mut || server.0.try_wait().expect("a child").is_some());
    assert!(log_text(&home).contains("E_CANCELLED"));
    log_verifies(&home);
}

#[test]
fn a_job_is_drained_or_cancelled_at_the_end_and_on_record() {
    let home = Home::new();
    configure(&home, "[limits]\nanswer_within_s = 1\n");
    let (short, long) = (home.file("short.bin", &vec![3; 8 << 20]), endless(&home));
    let mut server = Server::connected(&home);
    let slow = server.call("fileinfo", json!({ "path": long }));
    let quick = server.call("getfile", json!({ "path": short, "background": true }));
    assert_eq!((&quick["state"], &slow["state"]), (&json!("running"), &json!("running")), "{quick}");
    server.hang_up();
    assert!(server.ends_within(END).success());
    let log = log_text(&home);
    let record = |of: &Value| {
        let id = of["command_id"].as_str().expect("an id");
        let line = log.lines().find(|l| l.contains("\"output.returned\"") && l.contains(id));
        serde_json::from_str::<Value>(line.unwrap_or_else(|| panic!("{id} is not on record"))).expect("JSON")
    };
    assert_eq!(record(&quick)["detail"]["state"], "completed");
    assert_eq!(record(&slow)["detail"]["state"], "cancelled");
    log_verifies(&home);
}

#[test]
fn a_signal_between_consume_and_record_does_not_stop_what_was_approved() {
    let home = Home::new();
    decide_fast(&home, 120);
    let file = home.file("target.bin", &vec![9; 64 << 20]);
    let person = home.enroll("alex");
    let pending = propose(&home, "remediate", json!({ "type": "file", "id": file }));
    let mut approving = start_approving(&home, &person, &pending);
    until("the plan's start", || count(&home, "exec.consumed") > 0);
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::TERM] {
        kill_process(Pid::from_child(&approving.0), signal).expect("a signal");
    }
    assert!(count(&home, "exec.finished") == 0, "the signals came too late to show anything");
    let status = approving.0.wait().expect("an end");
    assert!(status.success(), "{status}");
    assert_eq!(requests(&home)[0]["state"], "done");
    assert!(!file.exists());
    log_verifies(&home);
}
