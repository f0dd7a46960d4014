//! MCP on stdio, against the real binary.

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Client, Home, endless_file, initialize, stateless};

fn names(list: &Value) -> Vec<String> {
    let tools = list["result"]["tools"].as_array().expect("tools");
    tools.iter().map(|t| t["name"].as_str().expect("a name").to_owned()).collect()
}

fn call(id: u64, name: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}}}}}"#
    )
}

#[test]
fn every_version_with_a_handshake_opens() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let home = Home::new();
        let mut client = Client::start(&home, &["mcp"]);
        let opened = client.ask("initialize", initialize(version));
        assert_eq!(opened["result"]["protocolVersion"], version);
        assert_eq!(client.ask("ping", json!({}))["result"], json!({}));
        let answer = client.ask("tools/call", json!({ "name": "jobs" }));
        assert_eq!(answer["result"]["structuredContent"]["state"], "completed", "{version}: {answer}");
        assert!(answer["result"].get("resultType").is_none(), "{version} knows no resultType");
    }
}

#[test]
fn the_version_without_a_handshake_works() {
    let home = Home::new();
    let mut client = Client::start(&home, &["mcp"]);
    let discovered = client.ask("server/discover", json!({ "_meta": stateless() }));
    assert!(discovered["result"]["supportedVersions"].as_array().is_some_and(|v| v.contains(&json!("2026-07-28"))));
    let answer = client.ask("tools/call", json!({ "name": "jobs", "_meta": stateless() }));
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    let list = client.ask("tools/list", json!({ "_meta": stateless() }));
    assert_eq!(list["result"]["cacheScope"], "private");
    assert!(list["result"]["ttlMs"].is_u64());
}

#[test]
fn a_version_of_the_future_is_answered_with_one_that_exists() {
    let home = Home::new();
    let mut client = Client::start(&home, &["mcp"]);
    let opened = client.ask("initialize", initialize("2099-01-01"));
    assert_eq!(opened["result"]["protocolVersion"], "2025-11-25");
}

#[test]
fn what_comes_before_the_handshake_does_not_end_the_server() {
    let home = Home::new();
    let mut client = Client::start(&home, &["mcp"]);
    client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    client.send(r#"{"jsonrpc":"2.0","id":9,"result":{}}"#);
    assert_eq!(client.answer_to("nonsense")["error"]["code"], -32700);
    assert_eq!(client.ask("tools/call", json!({ "name": "jobs" }))["error"]["code"], -32602);
    assert!(client.ask("initialize", initialize("2025-06-18"))["result"].is_object());
}

#[test]
fn the_list_is_stable_and_small() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    let list = client.ask("tools/list", json!({}));
    assert_eq!(list["result"], client.ask("tools/list", json!({}))["result"]);
    let size = list["result"].to_string().len();
    assert!(size <= 24_000, "{size} bytes are more than 6,000 tokens");
    assert_eq!(names(&list).len(), 34);
}

#[test]
fn the_list_with_output_schemas_is_within_its_limit() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &["--output-schemas"]);
    let list = client.ask("tools/list", json!({}));
    let size = list["result"].to_string().len();
    assert!(size <= 48_000, "{size} bytes are more than 12,000 tokens");
    for tool in list["result"]["tools"].as_array().expect("tools") {
        assert_eq!(tool["outputSchema"]["type"], "object", "{tool}");
    }
}

#[test]
fn every_tool_says_what_it_is() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    for tool in client.ask("tools/list", json!({}))["result"]["tools"].as_array().expect("tools") {
        let name = tool["name"].as_str().expect("a name");
        let description = tool["description"].as_str().unwrap_or_default();
        assert!((1..200).contains(&description.len()), "{name}: {description:?}");
        assert!(tool["title"].as_str().is_some_and(|t| !t.is_empty()), "{name}");
        let hints = &tool["annotations"];
        let changes =
            ["collect", "isolate", "library", "putfile", "release", "remediate", "run", "scan", "undo"].contains(&name);
        assert_eq!(hints["readOnlyHint"], !changes, "{name}");
        assert_eq!(hints["destructiveHint"], changes, "{name}");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false, "{name}");
    }
}

#[test]
fn a_read_only_server_has_no_tool_that_changes_anything() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &["--read-only"]);
    let offered = names(&client.ask("tools/list", json!({})));
    assert!(offered.contains(&"processes".into()) && offered.contains(&"evidence".into()));
    assert!(!offered.contains(&"remediate".into()) && !offered.contains(&"run".into()), "{offered:?}");
    let answer = client.ask("tools/call", json!({ "name": "remediate", "arguments": {} }));
    assert_eq!(answer["error"]["code"], -32602);
    assert_eq!(answer["error"]["data"]["code"], "E_UNKNOWN_COMMAND");
}

#[test]
fn only_the_named_tools_are_offered() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &["--tools", "connect,dir"]);
    assert_eq!(names(&client.ask("tools/list", json!({}))), ["connect", "dir"]);
    assert_eq!(client.ask("tools/call", json!({ "name": "jobs" }))["error"]["code"], -32602);
}

#[test]
fn a_session_looks_around() {
    let home = Home::new();
    let file = home.file("note.txt", b"hello");
    let mut client = Client::mcp(&home, &[]);
    let session = client.tool("connect", json!({ "device": "local" }))["session"].take();
    assert!(session.as_str().is_some_and(|s| s.starts_with("s-")), "{session}");
    let own = client.child.id();
    let processes = client.tool("processes", json!({ "pid": own }));
    assert_eq!(processes["data"]["rows"][0]["pid"], own, "{processes}");
    let folder = file.parent().expect("a folder");
    let listing = client.tool("dir", json!({ "path": folder }));
    assert_eq!(listing["data"]["rows"][0]["name"], "note.txt", "{listing}");
    let facts = client.tool("fileinfo", json!({ "path": file, "session": session }));
    assert_eq!(facts["data"]["sha256"], "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", "{facts}");
    assert_eq!(facts["untrusted"], true);
}

#[test]
fn a_collected_file_is_a_resource() {
    let home = Home::new();
    let file = home.file("note.txt", b"hello");
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    let uri = client.tool("getfile", json!({ "path": file }))["data"]["uri"].take();
    let read = client.ask("resources/read", json!({ "uri": uri }));
    assert_eq!(read["result"]["contents"][0]["text"], "hello", "{read}");
    let unknown = client.ask("resources/read", json!({ "uri": "file:///etc/shadow" }));
    assert_eq!(unknown["error"]["code"], -32002, "{unknown}");
}

#[test]
fn an_unknown_tool_is_a_protocol_error() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    for name in ["process", "Remediate", "remediate ", "rem\u{200b}ediate", "approve", "lr_approve", "\u{ff44}ir", ""] {
        let answer = client.ask("tools/call", json!({ "name": name, "arguments": {} }));
        assert_eq!(answer["error"]["code"], -32602, "{name:?}: {answer}");
        assert_eq!(answer["error"]["data"]["code"], "E_UNKNOWN_COMMAND", "{name:?}");
    }
}

#[test]
fn no_method_approves() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    for method in ["approval/approve", "guard.approve", "approve", "tools/approve", "elicitation/create", "dir"] {
        let answer = client.ask(method, json!({ "id": "r-1" }));
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
}

#[test]
fn a_confirm_flag_is_an_unknown_argument_and_nothing_is_pending() {
    let home = Home::new();
    let file = home.file("target", b"x");
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    for flag in ["confirm", "approved", "force", "approver"] {
        let refused = client.tool("remediate", json!({ "type": "file", "id": file, flag: true }));
        assert_eq!(refused["error"]["code"], "E_BAD_ARGS", "{refused}");
    }
    let jobs = client.tool("jobs", json!({ "filter": "state=pending_approval" }));
    assert_eq!(jobs["page"]["total"], 0, "{jobs}");
    assert!(file.exists());
}

#[test]
fn an_answer_before_the_question_is_forged() {
    let home = Home::new();
    let file = home.file("target", b"x");
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    for extra in [
        json!({ "requestState": "r-00000000000000000000000000000000" }),
        json!({ "inputResponses": { "a": { "action": "accept" } } }),
    ] {
        let mut params = json!({ "name": "remediate", "arguments": { "type": "file", "id": file } });
        for (key, value) in extra.as_object().expect("an object") {
            params[key] = value.clone();
        }
        let answer = client.ask("tools/call", params);
        assert_eq!(answer["result"]["structuredContent"]["error"]["code"], "E_STATE_FORGED", "{answer}");
        assert_eq!(answer["result"]["isError"], true);
    }
    let jobs = client.tool("jobs", json!({ "filter": "state=pending_approval" }));
    assert_eq!(jobs["page"]["total"], 0, "{jobs}");
}

#[test]
fn a_retry_reads_its_own_request_and_no_other() {
    let home = Home::new();
    home.enroll("ann");
    let (file, other) = (home.file("target", b"x"), home.file("other", b"y"));
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    let pending = client.tool("remediate", json!({ "type": "file", "id": file }));
    assert_eq!(pending["state"], "pending_approval", "{pending}");
    let mut retry = |arguments: Value| {
        let answers = json!({ "a": { "action": "accept" } });
        let state = &pending["approval"]["request_id"];
        let params =
            json!({ "name": "remediate", "arguments": arguments, "requestState": state, "inputResponses": answers });
        client.ask("tools/call", params)["result"]["structuredContent"].take()
    };
    let same = retry(json!({ "id": file, "type": "file" }));
    assert_eq!((&same["state"], &same["command_id"]), (&json!("pending_approval"), &pending["command_id"]), "{same}");
    assert!(same["warnings"].to_string().contains("E_INBAND_NOT_ACCEPTED"), "{same}");
    let swapped = retry(json!({ "type": "file", "id": other }));
    assert_eq!(swapped["error"]["code"], "E_DIGEST_MISMATCH", "{swapped}");
    assert!(file.exists() && other.exists());
}

#[test]
fn bad_arguments_are_refused_with_a_code() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    for (arguments, code) in [
        (r#"{"path":"/","colour":1}"#, "E_BAD_ARGS"),
        (r#"{"path":"/","path":"/etc"}"#, "E_BAD_ARGS"),
        (r#"{"path":{"a":1,"a":2}}"#, "E_BAD_ARGS"),
        (r#"{"path":7}"#, "E_BAD_ARGS"),
        (r#"{"path":"/etc\u0000/passwd"}"#, "E_BAD_ARGS"),
        (r#"{"limit":1.0}"#, "E_BAD_ARGS"),
        (r#"{"limit":1e0}"#, "E_BAD_ARGS"),
        (r#"["/"]"#, "E_BAD_ARGS"),
        ("null", "E_BAD_ARGS"),
    ] {
        let answer = client.answer_to(&call(77, "dir", arguments));
        assert_eq!(answer["result"]["structuredContent"]["error"]["code"], code, "{arguments}: {answer}");
        assert_eq!(answer["result"]["structuredContent"]["state"], "refused", "{arguments}");
    }
}

#[test]
fn an_argument_of_10_mb_is_too_large_and_the_server_lives_on() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    let answer = client.answer_to(&call(5, "dir", &format!(r#"{{"path":"{}"}}"#, "x".repeat(10 << 20))));
    assert_eq!(answer["result"]["structuredContent"]["error"]["code"], "E_TOO_LARGE");
    assert_eq!(client.tool("jobs", json!({}))["state"], "completed");
}

#[test]
fn a_line_over_16_mib_is_skipped_and_answered() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    let answer = client.answer_to(&call(5, "dir", &format!(r#"{{"path":"{}"}}"#, "x".repeat(17 << 20))));
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &Value::Null));
    assert_eq!(answer["error"]["data"]["code"], "E_TOO_LARGE");
    assert_eq!(client.tool("jobs", json!({}))["state"], "completed");
}

#[test]
fn what_is_no_message_is_answered_as_such() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    for (line, code, id) in [
        ("hello", -32700, Value::Null),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"dir","arguments":{"path":"\ud800"}}}"#,
            -32700,
            json!("a"),
        ),
        (r#"{"jsonrpc":"2.0","id":3,"method":"tools/list","#, -32700, json!(3)),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, -32600, Value::Null),
        (r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","method":"ping"}"#, -32600, json!(4)),
        (r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"dir","name":"cd"}}"#, -32600, json!(4)),
        (r#"{"id":4,"method":"ping"}"#, -32600, json!(4)),
        (r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":[]}"#, -32602, json!(4)),
        (r#"{"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":5}}"#, -32602, json!(4)),
        (r#"{"jsonrpc":"2.0","id":4,"method":"tools/list","params":5}"#, -32602, json!(4)),
    ] {
        let answer = client.answer_to(line);
        assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(code), &id), "{line}: {answer}");
        assert!(answer["error"]["data"]["code"].is_string(), "{line}: {answer}");
    }
    client.send_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":8,\"method\":\"\xff\"}\n");
    let answer = client.read();
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32700), &json!(8)));
}

#[test]
fn half_a_line_and_the_end_is_answered_and_ends_well() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    client.send_bytes(br#"{"jsonrpc":"2.0","id":12,"method":"tools/ca"#);
    client.end_input();
    let (rest, status) = client.wait();
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!((&rest[0]["error"]["code"], &rest[0]["id"]), (&json!(-32700), &json!(12)));
    assert!(status.success());
}

#[test]
fn a_call_without_an_id_does_nothing() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    client.send(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"connect","arguments":{}}}"#);
    let refused = client.tool("dir", json!({}));
    assert_eq!(refused["error"]["code"], "E_NO_SESSION", "{refused}");
}

#[test]
fn a_thousand_calls_in_flight_are_all_answered_once() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    let ids: Vec<u64> = (0..1000)
        .map(|_| client.request("tools/call", json!({ "name": "dir", "arguments": { "path": "/" } })))
        .collect();
    let mut answered: Vec<u64> = ids.iter().map(|_| client.read()["id"].as_u64().expect("an id")).collect();
    answered.sort_unstable();
    assert_eq!(answered, ids);
}

#[test]
fn a_flood_is_answered_in_bounded_memory() {
    let home = Home::new();
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    let mut flood = String::new();
    for id in 1000..21_000 {
        flood.push_str(&call(id, "processes", "{}"));
        flood.push('\n');
    }
    client.send_bytes(flood.as_bytes());
    let mut answered: Vec<u64> = (1000..21_000).map(|_| client.read()["id"].as_u64().expect("an id")).collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(1000..21_000));
    // 96 MiB with the 16 of a release build's program; a debug build maps three times as much of itself.
    let peak = client.memory("VmHWM") - client.memory("RssFile");
    assert!(peak < 80 << 10, "{peak} KiB at the peak, without the program");
}

#[test]
fn progress_is_told_and_a_cancelled_call_is_not_answered() {
    let home = Home::new();
    let path = endless_file(&home);
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    let params = json!({ "name": "fileinfo", "arguments": { "path": path }, "_meta": { "progressToken": "p" } });
    let id = client.request("tools/call", params);
    let first = client.read();
    assert_eq!(first["method"], "notifications/progress", "{first}");
    assert_eq!(first["params"]["progressToken"], "p");
    let second = client.read();
    assert!(second["params"]["progress"].as_f64() > first["params"]["progress"].as_f64(), "{first} {second}");
    client.send(
        &json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id } }).to_string(),
    );
    // The work stops: the table of jobs says so.
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let ask = client.request("tools/call", json!({ "name": "jobs" }));
        let answer = loop {
            let message = client.read();
            assert_ne!(message["id"], id, "a cancelled call was answered: {message}");
            if message["id"] == ask {
                break message;
            }
        };
        let jobs = &answer["result"]["structuredContent"]["data"]["rows"];
        let states: Vec<&Value> =
            jobs.as_array().expect("rows").iter().filter(|j| j["tool"] == "fileinfo").map(|j| &j["state"]).collect();
        if states == ["cancelled"] {
            break;
        }
        assert!(Instant::now() < until, "it still runs: {jobs}");
    }
    let again = client.answer_to(&call(id, "jobs", "{}"));
    assert_eq!(again["error"]["code"], -32600, "a cancelled id is not free: {again}");
}

#[test]
fn an_id_twice_in_flight_is_refused() {
    let home = Home::new();
    let path = endless_file(&home);
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    client.send(&call(500, "fileinfo", &json!({ "path": path }).to_string()));
    let answer = client.answer_to(&call(500, "jobs", "{}"));
    assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32600), &json!(500)));
    assert_eq!(answer["error"]["data"]["code"], "E_PROTOCOL");
}

#[test]
fn a_client_that_vanishes_leaves_no_work_behind() {
    let home = Home::new();
    let path = endless_file(&home);
    let mut command = home.command(&["mcp"]);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).spawn().expect("the binary");
    let mut stdin = child.stdin.take().expect("stdin");
    let mut stdout = std::io::BufReader::new(child.stdout.take().expect("stdout"));
    use std::io::{BufRead, Write};
    let say = |stdin: &mut std::process::ChildStdin, line: Value| writeln!(stdin, "{line}").expect("a reader");
    say(&mut stdin, json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": initialize("2025-06-18") }));
    say(&mut stdin, json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": { "name": "connect" } }));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    stdout.read_line(&mut line).expect("a line");
    let params = json!({ "name": "fileinfo", "arguments": { "path": path }, "_meta": { "progressToken": 1 } });
    say(&mut stdin, json!({ "jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params }));
    line.clear();
    stdout.read_line(&mut line).expect("progress");
    assert!(line.contains("notifications/progress"), "{line}");
    let vanished = Instant::now();
    drop((stdin, stdout));
    let status = child.wait().expect("an end");
    assert!(vanished.elapsed() < Duration::from_secs(10), "it ended after {:?}", vanished.elapsed());
    assert!(status.success());
}

#[test]
fn the_end_of_input_answers_what_still_runs() {
    let home = Home::new();
    let path = endless_file(&home);
    let mut client = Client::mcp(&home, &[]);
    client.tool("connect", json!({}));
    let id = client.request("tools/call", json!({ "name": "fileinfo", "arguments": { "path": path } }));
    client.end_input();
    let over = Instant::now();
    let (rest, status) = client.wait();
    assert!(over.elapsed() < Duration::from_secs(10), "it ended after {:?}", over.elapsed());
    assert!(status.success());
    let answers: Vec<&Value> = rest.iter().filter(|m| m["id"] == id).collect();
    assert_eq!(answers.len(), 1, "{rest:?}");
    assert_eq!(answers[0]["result"]["structuredContent"]["error"]["code"], "E_CANCELLED", "{rest:?}");
}

#[test]
fn calls_written_before_the_end_of_input_are_answered() {
    let home = Home::new();
    let mut client = Client::start(&home, &["mcp"]);
    client.request("initialize", initialize("2025-06-18"));
    for _ in 0..20 {
        client.request("tools/call", json!({ "name": "jobs" }));
    }
    client.end_input();
    let (rest, status) = client.wait();
    assert_eq!(rest.len(), 21, "{rest:?}");
    assert!(status.success());
}

#[test]
fn stdout_carries_nothing_but_protocol() {
    let home = Home::new();
    let mut command = home.command(&["mcp"]);
    command.env("RUST_LOG", "trace");
    let mut client = Client::spawn(command);
    client.ask("initialize", initialize("2025-06-18"));
    client.tool("trace", json!({ "enabled": true }));
    client.answer_to("nonsense");
    client.tool("connect", json!({}));
    client.tool("dir", json!({ "path": "/nowhere" }));
    client.end_input();
    // Every line was read as a message; what is left must be too.
    let (_, status) = client.wait();
    assert!(status.success());
}
