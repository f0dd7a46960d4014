//! GT-001, 008, 034, 104, 106, 107, 110, 117: games with arguments, and what a flood of them costs.

use crate::connect;
use crate::rpc_client::{Home, Rpc};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

/// Sends lines while reading; what was answered, and the most memory that the server held.
fn send(home: &Home, front: &str, lines: impl Iterator<Item = Vec<u8>> + Send + 'static) -> (Vec<Value>, u64) {
    let mut command = home.command(&[front]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary");
    let mut stdin = child.stdin.take().expect("stdin");
    let pid = child.id();
    let writer = std::thread::spawn(move || {
        for line in lines {
            stdin.write_all(&line).expect("a reader");
            stdin.write_all(b"\n").expect("a reader");
        }
        stdin
    });
    let stdout = BufReader::new(child.stdout.take().expect("stdout"));
    let reader = std::thread::spawn(move || {
        stdout.lines().map(|l| serde_json::from_str(&l.expect("UTF-8")).expect("JSON")).collect::<Vec<Value>>()
    });
    let stdin = writer.join().expect("written");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak =
        status.lines().find_map(|l| l.strip_prefix("VmHWM:")).and_then(|l| l.split_whitespace().next()?.parse().ok());
    drop(stdin);
    let answers = reader.join().expect("read");
    assert!(child.wait().expect("an end").success());
    (answers, peak.unwrap_or(0))
}

#[test]
fn hostile_lines_are_each_answered_and_change_nothing() {
    let home = Home::new();
    home.enroll("alex");
    let file = home.file("x", b"x");
    let call =
        |id: usize, params: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"remediate","params":{params}}}"#);
    let path = file.display();
    let cases: Vec<Vec<u8>> = vec![
        format!(r#"{{"type":"file","id":"{path}","confirm":true,"approved":true,"force":true}}"#),
        format!(r#"{{"type":"file","id":"{path}","dry_run":true}}"#),
        format!(r#"{{"type":"file","id":"{path}","id":"/etc/hosts"}}"#),
        format!(r#"{{"type":"file","id":"{path}","\u0069d":"/etc/hosts"}}"#),
        format!(r#"{{"type":"file","id":"{path}","ids":["/etc/hosts"]}}"#),
        r#"{"type":"file","id":"/tmp/a\u0000b"}"#.into(),
        r#"{"type":"file","id":"/tmp/\ud800"}"#.into(),
        r#"{"type":"File","id":"/tmp/x"}"#.into(),
        r#"{"type":"file","id":["/tmp/x"]}"#.into(),
        r#"{"type":"process","id":1}"#.into(),
        r#"{"type":"process","id":"1e0"}"#.into(),
        r#"{"type":"process","id":"-0"}"#.into(),
        r#"{"type":"process","id":"99999999999999999999"}"#.into(),
        r#"{"type":"process","id":"0"}"#.into(),
        r#"{"type":"process","id":"-1"}"#.into(),
        r#"{"type":"process","id":"1; remediate file /etc/hosts"}"#.into(),
        r#"{"type":"file","id":"/tmp/*"}"#.into(),
        r#"{"type":"file","id":"/tmp/"}"#.into(),
        r#"{"type":"file","id":""}"#.into(),
        format!(r#"{{"type":"file","id":"/tmp/{}"}}"#, "a".repeat(20_000)),
        format!(r#"{{"type":"file","ids":[{}]}}"#, vec![r#""/tmp/x""#; 5000].join(",")),
        format!(r#"{{"type":{}"file"{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
        format!(r#"{{"type":"file","id":"/tmp/{}"}}"#, "a".repeat(10_000_000)),
        r#"{"type":"file","id":"/tmp/x","limit":1e0}"#.into(),
        r#"{"type":"file","id":"/tmp/x","session":null,"requestState":"AAAA"}"#.into(),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, params)| call(i + 1, &params).into_bytes())
    .collect();
    let expected = cases.len();
    let open = br#"{"jsonrpc":"2.0","id":0,"method":"connect","params":{}}"#.to_vec();
    let odd = [
        b"\xef\xbb\xbf{}".to_vec(),
        b"\0\0\0".to_vec(),
        b"\xff\xfe".to_vec(),
        "[".repeat(100_000).into_bytes(),
        r#"[{"jsonrpc":"2.0","id":900,"method":"remediate","params":{}}]"#.into(),
    ];
    let odd_count = odd.len();
    let (answers, _) = send(&home, "rpc", std::iter::once(open).chain(cases).chain(odd));
    assert_eq!(answers.len(), 1 + expected + odd_count);
    for answer in answers.iter().filter(|a| a["id"] != 0) {
        assert!(answer.get("error").is_some(), "{answer}");
    }
    let pending = home.run(&["approvals", "list", "--json"], "");
    assert_eq!(String::from_utf8_lossy(&pending.stdout).trim(), "[]");
    assert!(file.exists());
}

#[test]
fn gt_008_gt_106_no_spelling_of_a_method_approves_or_slips_past_the_gate() {
    let home = Home::new();
    let names = [
        "approve",
        "approvals",
        "approval/approve",
        "guard.approve",
        "lr_approve",
        "vote",
        "enroll",
        "halt",
        "Remediate",
        "REMEDIATE",
        "remediate ",
        " remediate",
        "rem\u{200b}ediate",
        "ｒｅｍｅｄｉａｔｅ",
        "remediate\u{0}",
        "process",
    ];
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    for name in names {
        let answer = rpc.call(name, json!({}));
        assert!(answer.is_null() || answer["code"] == "E_UNKNOWN_COMMAND", "{name}: {answer}");
    }
}

#[test]
fn a_flood_is_answered_once_each_within_memory() {
    let home = Home::new();
    const CALLS: usize = 10_000;
    let line = |i: usize| format!(r#"{{"jsonrpc":"2.0","id":{i},"method":"help","params":{{}}}}"#).into_bytes();
    let (answers, peak) = send(&home, "rpc", (0..CALLS).map(line));
    let ids: std::collections::HashSet<u64> = answers.iter().filter_map(|a| a["id"].as_u64()).collect();
    assert_eq!((answers.len(), ids.len()), (CALLS, CALLS));
    assert!(peak < 96 * 1024, "{peak} KiB");
}
