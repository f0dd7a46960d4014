//! GT-143, 144, 152, V10: text of a hostile device in every output of the program.

use crate::connect;
use crate::rpc_client::{Home, Rpc};
use serde_json::{Value, json};
use std::process::Command;

const EVIL: &str = "lr\u{1b}[2J\r\u{8}\u{9b}\u{202e}\u{200b}\u{e0041}\n{\"event\":\"vote.cast\"}";

#[track_caller]
fn is_clean(what: &str, text: &str) {
    let shown = |c: char| matches!(c, '\n' | '\t') || (!c.is_control() && !"\u{202e}\u{200b}\u{e0041}".contains(c));
    assert!(text.chars().all(shown), "{what}: {text:?}");
    assert!(!text.lines().any(|l| l.starts_with("{\"event\":\"vote.cast\"")), "{what}: {text:?}");
}

fn each_text(value: &Value, look: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => look(text),
        Value::Array(items) => items.iter().for_each(|v| each_text(v, look)),
        Value::Object(fields) => fields.iter().for_each(|(name, v)| {
            look(name);
            each_text(v, look);
        }),
        _ => {}
    }
}

#[test]
fn gt_144_hostile_names_come_out_visible_from_every_front() {
    let home = Home::new();
    home.enroll("alex");
    let folder = home.path().join("files").join(EVIL.replace('/', ""));
    std::fs::create_dir(&folder).expect("a folder");
    let file = folder.join(EVIL);
    std::fs::write(&file, EVIL).expect("a file");
    let mut sleeper = Command::new("sleep").arg("60").env("X", EVIL).current_dir(&folder).spawn().expect("sleep");
    let mut evil = {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60; :", EVIL, &"A".repeat(20_000)]).spawn().expect("sh")
    };
    let calls = [
        ("dir", json!({ "path": folder })),
        ("dir", json!({ "path": folder.parent(), "full_path": true })),
        ("findfile", json!({ "name": "lr*", "path": home.path() })),
        ("fileinfo", json!({ "path": file })),
        ("fileinfo", json!({ "path": folder.join(format!("{EVIL}x")) })),
        ("getfile", json!({ "path": file })),
        ("evidence", json!({})),
        ("evidence", json!({ "name": EVIL })),
        ("processes", json!({ "filter": "command_line~vote.cast" })),
        ("processes", json!({ "pid": sleeper.id() })),
        ("remediate", json!({ "type": "file", "id": file, "reason": "x" })),
        ("remediate", json!({ "type": "file", "id": folder })),
        ("remediate", json!({ "type": "process", "id": EVIL })),
        ("remediate", json!({ "type": "process", "id": evil.id().to_string() })),
        ("undo", json!({ "type": "file", "id": EVIL })),
        ("connect", json!({ "device": format!("image:{}", folder.display()) })),
        ("connect", json!({ "device": EVIL, "comment": EVIL })),
        ("help", json!({ "command": EVIL })),
        ("status", json!({ "command_id": EVIL })),
        ("dir", json!({ "path": folder, "filter": EVIL })),
        ("dir", json!({ "path": folder, "sort": EVIL, "fields": [EVIL] })),
        ("dir", json!({ "cursor": EVIL })),
        ("jobs", json!({})),
        ("cd", json!({ "path": folder })),
    ];
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let mut lines = vec![
        json!({ "jsonrpc": "2.0", "id": 1000, "method": "initialize", "params": { "protocolVersion": "2025-06-18",
            "capabilities": {}, "clientInfo": { "name": EVIL, "version": EVIL } } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
    ];
    for (i, (tool, arguments)) in calls.iter().enumerate() {
        let answer = rpc.call(tool, arguments.clone());
        each_text(&answer, &mut |text| {
            // Content and device text is clean by itself; line feeds belong to content only.
            let allowed = *tool == "evidence" || *tool == "help";
            is_clean(
                &format!("{tool} {arguments}"),
                &if allowed { text.to_owned() } else { text.replace('\n', "\u{1}") },
            );
        });
        if *tool != "connect" {
            let output = home.run(&["call", tool, &arguments.to_string()], "");
            is_clean(&format!("call {tool}"), &String::from_utf8_lossy(&output.stdout));
            is_clean(&format!("call {tool} stderr"), &String::from_utf8_lossy(&output.stderr));
        }
        lines.push(json!({ "jsonrpc": "2.0", "id": i, "method": "tools/call",
            "params": { "name": tool, "arguments": arguments } }));
    }
    let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
    let mut command = home.command(&["mcp"]);
    command.env("RUST_LOG", "trace").stdin(std::process::Stdio::piped());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    use std::io::Write;
    let mut stdin = child.stdin.take().expect("stdin");
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("an end");
    let _ = writer.join();
    is_clean("mcp's log", &String::from_utf8_lossy(&output.stderr));
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let answer: Value = serde_json::from_str(line).expect("JSON");
        each_text(&answer, &mut |text| is_clean("mcp", text));
    }
    for arguments in [
        &["approvals", "list"][..],
        &["approvals", "list", "--json"],
        &["audit", "show"],
        &["audit", "show", "--json"],
        &["evidence", "list"],
        &["evidence", "list", "--json"],
        &["approvals", "show", EVIL],
        &["call", EVIL],
        &[&EVIL.replace('\n', "")],
    ] {
        let output = home.run(arguments, "");
        is_clean(&format!("{arguments:?}"), &String::from_utf8_lossy(&output.stdout));
        is_clean(&format!("{arguments:?} stderr"), &String::from_utf8_lossy(&output.stderr));
    }
    for format in ["table", "json"] {
        let line = format!("dir {} -output {format}; fileinfo /nowhere", home.path().join("files").display());
        let output = home.run(&["console", "-c", &line], "");
        is_clean(&format!("console {format}"), &String::from_utf8_lossy(&output.stdout));
        is_clean(&format!("console {format} stderr"), &String::from_utf8_lossy(&output.stderr));
    }
    for child in [&mut sleeper, &mut evil] {
        let _ = child.kill();
        let _ = child.wait();
    }
    let log = home.run(&["audit", "show", "--json", "--event", "vote.cast"], "");
    assert!(log.stdout.iter().all(u8::is_ascii_whitespace), "{}", String::from_utf8_lossy(&log.stdout));
    assert!(home.run(&["audit", "verify"], "").status.success());
}
