//! JSON-RPC on stdio, against the real binary.

#[allow(dead_code)]
mod client;
mod rpc_client;

use client::{Client, endless_file};
use rpc_client::Home;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn start(home: &Home) -> Client {
    Client::start(home, &["rpc"])
}

#[test]
fn a_session_looks_around() {
    let home = Home::new();
    let file = home.file("note.txt", b"hello");
    let mut client = start(&home);
    let connected = client.ask("connect", json!({}));
    assert_eq!(connected["result"]["state"], "completed", "{connected}");
    let facts = client.ask("fileinfo", json!({ "path": file }));
    assert_eq!(facts["result"]["data"]["md5"], "5d41402abc4b2a76b9719d911017c592", "{facts}");
}

#[test]
fn a_refusal_and_a_failure_are_errors_with_the_result_object() {
    let home = Home::new();
    let mut client = start(&home);
    let refused = client.ask("dir", json!({}));
    assert_eq!(refused["error"]["code"], -32000, "{refused}");
    assert_eq!(refused["error"]["data"]["state"], "refused");
    assert!(refused["error"]["message"].as_str().is_some_and(|m| m.starts_with("E_NO_SESSION: ")), "{refused}");
    client.ask("connect", json!({}));
    let failed = client.ask("dir", json!({ "path": "/no/such/folder" }));
    assert_eq!(failed["error"]["data"]["state"], "failed", "{failed}");
    assert_eq!(failed["error"]["data"]["error"]["code"], "E_NOT_FOUND");
}

#[test]
fn parameters_go_by_name() {
    let home = Home::new();
    let mut client = start(&home);
    for params in [json!(["dir"]), json!([]), json!(3), json!("dir")] {
        let answer = client.ask("help", params);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    assert_eq!(client.answer_to(r#"{"jsonrpc":"2.0","id":5,"method":"jobs"}"#)["result"]["state"], "completed");
}

#[test]
fn the_document_names_every_method() {
    let home = Home::new();
    let mut client = start(&home);
    let document = client.ask("rpc.discover", json!({}));
    assert_eq!(document["result"]["methods"].as_array().map(Vec::len), Some(34));
    assert_eq!(document["result"]["methods"][0]["paramStructure"], "by-name");
}

#[test]
fn an_unknown_method_is_told_apart() {
    let home = Home::new();
    let mut client = start(&home);
    for method in ["Dir", "process", "approve", "guard.approve", "tools/call", "dir "] {
        let answer = client.ask(method, json!({}));
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
        assert_eq!(answer["error"]["data"]["code"], "E_UNKNOWN_COMMAND");
    }
}

#[test]
fn what_is_no_message_is_answered_as_such() {
    let home = Home::new();
    let mut client = start(&home);
    for (line, code, id) in [
        ("{", -32700, Value::Null),
        (r#"{"jsonrpc":"2.0","id":1,"method":"dir","params":{"path":"\udfff"}}"#, -32700, json!(1)),
        ("[]", -32600, Value::Null),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"jobs"}]"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"jobs"}"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":-1,"method":"jobs"}"#, -32600, Value::Null),
        (r#"{"jsonrpc":"1.0","id":1,"method":"jobs"}"#, -32600, json!(1)),
    ] {
        let answer = client.answer_to(line);
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{line}: {answer}");
    }
}

#[test]
fn a_key_twice_in_the_parameters_is_refused() {
    let home = Home::new();
    let mut client = start(&home);
    let answer =
        client.answer_to(r#"{"jsonrpc":"2.0","id":1,"method":"help","params":{"command":"cd","command":"dir"}}"#);
    assert_eq!(answer["error"]["data"]["error"]["code"], "E_BAD_ARGS", "{answer}");
}

#[test]
fn parameters_of_10_mb_are_too_large() {
    let home = Home::new();
    let mut client = start(&home);
    let answer = client.ask("help", json!({ "command": "x".repeat(10 << 20) }));
    assert_eq!(answer["error"]["data"]["error"]["code"], "E_TOO_LARGE");
}

#[test]
fn a_notification_does_nothing() {
    let home = Home::new();
    let mut client = start(&home);
    client.send(r#"{"jsonrpc":"2.0","method":"connect","params":{}}"#);
    let refused = client.ask("dir", json!({}));
    assert_eq!(refused["error"]["data"]["error"]["code"], "E_NO_SESSION", "{refused}");
}

#[test]
fn a_thousand_calls_in_flight_are_all_answered_once() {
    let home = Home::new();
    let mut client = start(&home);
    client.ask("connect", json!({}));
    let ids: Vec<u64> = (0..1000).map(|_| client.request("dir", json!({ "path": "/" }))).collect();
    let mut answered: Vec<u64> = ids.iter().map(|_| client.read()["id"].as_u64().expect("an id")).collect();
    answered.sort_unstable();
    assert_eq!(answered, ids);
}

#[test]
fn a_flood_is_answered_in_bounded_memory() {
    let home = Home::new();
    let mut client = start(&home);
    client.ask("connect", json!({}));
    let line = |id: u64| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"processes\"}}\n");
    let flood: String = (1000..21_000).map(line).collect();
    client.send_bytes(flood.as_bytes());
    let mut answered: Vec<u64> = (1000..21_000).map(|_| client.read()["id"].as_u64().expect("an id")).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(1000..21_000));
    let peak = client.memory("VmHWM");
    assert!(peak < 96 << 10, "{peak} KiB at the peak");
}

#[test]
fn the_end_of_input_answers_what_still_runs() {
    let home = Home::new();
    let path = endless_file(&home);
    let mut client = start(&home);
    client.ask("connect", json!({}));
    client.request("fileinfo", json!({ "path": path }));
    client.end_input();
    let over = Instant::now();
    let (rest, status) = client.wait();
    assert!(over.elapsed() < Duration::from_secs(10), "it ended after {:?}", over.elapsed());
    assert!(status.success());
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0]["error"]["data"]["error"]["code"], "E_CANCELLED", "{rest:?}");
}
