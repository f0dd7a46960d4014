//! Every kind of answer of every tool fits the tool's output schema, through the real binary.

mod support;

use serde_json::{Value, json};
use support::{Home, Rpc, Said};

/// The parts of JSON Schema that our schemas use.
fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(options) = schema["anyOf"].as_array() {
        let tried: Vec<String> = options.iter().filter_map(|o| fits(o, value, at).err()).collect();
        return if tried.len() < options.len() { Ok(()) } else { Err(tried.join(" | ")) };
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        return Err(format!("{at}: {value} is none of {values:?}"));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let is = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("the schema says type {other:?}"),
    };
    if !kinds.is_empty() && !kinds.iter().any(is) {
        return Err(format!("{at}: {value} is no {kinds:?}"));
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().expect("a name");
        if value.is_object() && value.get(name).is_none() {
            return Err(format!("{at}: {name} is missing"));
        }
    }
    if let (Some(properties), Some(members)) = (schema["properties"].as_object(), value.as_object()) {
        for (name, member) in members {
            match properties.get(name) {
                Some(schema) => fits(schema, member, &format!("{at}.{name}"))?,
                // The result object is open beside `state` and `data`; below `data` every member is spelled.
                None if at == "result" || properties.is_empty() => {}
                None => return Err(format!("{at}: {name} is not in the schema")),
            }
        }
    }
    if let (Some(items), Some(elements)) = (schema.get("items"), value.as_array()) {
        for (i, element) in elements.iter().enumerate() {
            fits(items, element, &format!("{at}[{i}]"))?;
        }
    }
    Ok(())
}

fn check(tool: &str, result: &Value, state: &str) {
    let file = format!("{}/schemas/tools/{tool}.output.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(file).expect("a schema")).expect("JSON");
    assert_eq!(result["state"], state, "{tool}: {result}");
    if let Err(why) = fits(&schema, result, "result") {
        panic!("{tool}, {state}: {why}\n{result}");
    }
    for (name, kind) in [("command_id", "string"), ("elapsed_ms", "number"), ("untrusted", "boolean")] {
        let value = &result[name];
        assert!(value.is_string() == (kind == "string") && !value.is_null(), "{tool}: {name} is {value}");
    }
    let has_error = !result["error"].is_null();
    assert_eq!(
        has_error,
        matches!(state, "refused" | "failed" | "cancelled" | "expired" | "unknown"),
        "{tool}: {result}"
    );
    if has_error {
        let code = result["error"]["code"].as_str().expect("a code");
        assert!(code.starts_with("E_") && !result["error"]["message"].as_str().unwrap_or("").is_empty());
    }
}

fn tools() -> Vec<&'static str> {
    live_response::commands::ALL.iter().map(|t| t.spec().name).collect()
}

#[test]
fn refused_for_an_unknown_argument() {
    let home = Home::new();
    let mut rpc = Rpc::start(&home);
    for tool in tools() {
        let result = rpc.call(tool, json!({ "no_such_argument": 1 }));
        check(tool, &result, "refused");
        assert_eq!(result["error"]["code"], "E_BAD_ARGS", "{tool}");
    }
}

#[test]
fn refused_without_a_session() {
    let home = Home::new();
    let mut rpc = Rpc::start(&home);
    for tool in live_response::commands::ALL.iter().filter(|t| t.spec().session) {
        let (_, example) = tool.spec().examples.first().expect("an example");
        let result = rpc.call(tool.spec().name, serde_json::from_str(example).expect("JSON"));
        check(tool.spec().name, &result, "refused");
        assert_eq!(result["error"]["code"], "E_NO_SESSION", "{}", tool.spec().name);
    }
}

#[test]
fn completed_projected_and_empty() {
    let home = Home::new();
    let file = home.file("plain.txt", b"hello\nworld\n");
    let mut rpc = Rpc::start(&home);
    let connected = rpc.call("connect", json!({}));
    check("connect", &connected, "completed");
    let session = connected["data"]["session"].clone();
    let folder = file.parent().expect("a folder").to_str().expect("UTF-8").to_owned();
    let mut small = std::process::Command::new("sleep").arg("600").spawn().expect("sleep");
    let has_hive = support::tools::unpacked("hives/MultiSzHive.xz").map(|bytes| home.file("hive", bytes)).is_some();
    for (tool, arguments) in [
        ("devices", json!({})),
        ("cd", json!({ "path": folder })),
        ("dir", json!({})),
        ("dir", json!({ "path": folder, "full_path": true })),
        ("fileinfo", json!({ "path": "plain.txt" })),
        ("dir", json!({ "path": folder, "devices": ["local"] })),
        ("fileinfo", json!({ "path": file, "devices": ["backend=local"] })),
        ("analyze", json!({ "type": "file", "id": file, "devices": ["local"] })),
        ("findfile", json!({ "name": "*.txt", "path": folder })),
        ("processes", json!({ "pid": std::process::id(), "fields": ["pid", "sha256"] })),
        ("processes", json!({ "tree": true, "limit": 1000 })),
        ("connections", json!({})),
        ("services", json!({})),
        ("drivers", json!({})),
        ("scheduledtasks", json!({})),
        ("scheduledtasks", json!({ "name": "no-such-task" })),
        ("startupfolders", json!({})),
        ("analyze", json!({ "type": "file", "id": "plain.txt" })),
        ("analyze", json!({ "type": "process", "id": small.id().to_string() })),
        ("scan", json!({ "type": "path", "path": folder })),
        ("scan", json!({ "path": file, "fields": ["path", "verdict"] })),
        ("getfile", json!({ "path": file })),
        ("evidence", json!({})),
        ("evidence", json!({ "name": "plain.txt" })),
        ("evidence", json!({ "name": "plain.txt", "as": "hex", "offset": 1, "length": 3 })),
        ("evidence", json!({ "name": "plain.txt", "match": "wor" })),
        ("registry", json!({ "key": "", "hive": "hive" })),
        ("registry", json!({ "key": "key", "value": "2", "hive": "hive" })),
        ("help", json!({})),
        ("help", json!({ "command": "remediate" })),
        ("jobs", json!({})),
        ("cls", json!({})),
        ("trace", json!({ "enabled": false })),
        ("remediate", json!({ "list": true })),
        ("library", json!({})),
        ("processes", json!({ "filter": "pid=0" })),
        ("dir", json!({ "path": folder, "fields": ["name", "size_bytes"], "sort": "-size_bytes", "limit": 1 })),
        ("disconnect", json!({ "session": session })),
        ("connect", json!({ "device": format!("image:{folder}") })),
        ("collect", json!({})),
    ] {
        if tool == "registry" && !has_hive {
            continue;
        }
        let result = rpc.call(tool, arguments);
        check(tool, &result, "completed");
    }
    let _ = small.kill();
    let _ = small.wait();
}

#[test]
fn failed_unsupported_running_and_followed() {
    let home = Home::new();
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({}));
    for tool in ["dir", "fileinfo", "getfile", "cd"] {
        let result = rpc.call(tool, json!({ "path": "/no/such/place" }));
        check(tool, &result, "failed");
        assert_eq!(result["error"]["code"], "E_NOT_FOUND", "{tool}");
    }
    for tool in live_response::commands::ALL {
        let name = tool.spec().name;
        let (_, example) = tool.spec().examples.last().expect("an example");
        let unsupported = ["registry"];
        if unsupported.contains(&name) {
            let result = rpc.call(name, serde_json::from_str(example).expect("JSON"));
            check(name, &result, "refused");
            assert_eq!(result["error"]["code"], "E_UNSUPPORTED", "{result}");
            assert!(result["error"]["hint"].is_string(), "{name} gives no hint");
        }
    }
    let running = rpc.call("findfile", json!({ "name": "no-such-name-anywhere", "path": "/", "background": true }));
    check("findfile", &running, "running");
    let command = json!({ "command_id": running["command_id"] });
    check("status", &rpc.call("status", command.clone()), "completed");
    let stopped = rpc.call("cancel", command.clone());
    check("cancel", &stopped, "completed");
    let ended = rpc.call("fg", command);
    check("fg", &ended, "completed");
    let state = ended["data"]["command"]["state"].as_str().expect("a state").to_owned();
    assert!(["cancelled", "completed"].contains(&state.as_str()), "{ended}");
    check("findfile", &ended["data"]["command"], &state);
}

#[test]
fn pending_denied_and_done() {
    let home = Home::new();
    let file = home.file("target.bin", b"bytes to take away");
    let person = home.enroll("alex");
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({}));
    let remediate = json!({ "type": "file", "id": file });
    let pending = rpc.call("remediate", remediate);
    check("remediate", &pending, "pending_approval");
    let command = json!({ "command_id": pending["command_id"] });
    check("status", &rpc.call("status", command.clone()), "completed");
    home.approve(&person, &pending);
    let done = rpc.call("fg", command);
    check("fg", &done, "completed");
    check("remediate", &done["data"]["command"], "completed");
    assert_eq!(done["data"]["command"]["verified"], "yes", "{done}");
    assert!(!file.exists());
    check("remediate", &rpc.call("remediate", json!({ "list": true })), "completed");

    let pending = rpc.call("undo", json!({ "type": "file", "id": file }));
    check("undo", &pending, "pending_approval");
    home.deny(&pending);
    let denied = rpc.call("fg", json!({ "command_id": pending["command_id"] }));
    check("undo", &denied["data"]["command"], "refused");
    assert_eq!(denied["data"]["command"]["error"]["code"], "E_DENIED", "{denied}");
}

#[test]
fn refused_where_nobody_is_enrolled() {
    let home = Home::new();
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({}));
    for (tool, arguments) in [("isolate", json!({ "type": "selective", "comment": "x" })), ("release", json!({}))] {
        let result = rpc.call(tool, arguments);
        check(tool, &result, "refused");
        assert_eq!(result["error"]["code"], "E_NO_HUMAN_CHANNEL", "{result}");
    }
}

#[test]
fn scripts_and_library_files() {
    let home = Home::new();
    let person = home.enroll("alex");
    let file = home.file("put.txt", b"text");
    home.run(&["library", "add", &file.display().to_string()], "").expect(0);
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({}));
    check("library", &rpc.call("library", json!({})), "completed");
    check("run", &rpc.call("run", json!({ "script": "none.sh" })), "failed");
    check("putfile", &rpc.call("putfile", json!({ "file": "put.txt" })), "refused");
    let pending = rpc.call("library", json!({ "action": "delete", "name": "put.txt" }));
    check("library", &pending, "pending_approval");
    let code = format!("{}\n{}\n", person.code(), support::text(&pending["device"]["name"]));
    home.run(&["approvals", "approve", &support::text(&pending["approval"]["request_id"])], code).expect(0);
    let done = rpc.call("fg", json!({ "command_id": pending["command_id"] }));
    check("library", &done["data"]["command"], "completed");
}

#[test]
fn taken_back() {
    let home = Home::new();
    let file = home.file("target.bin", b"bytes that stay");
    home.enroll("alex");
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({}));
    let pending = rpc.call("remediate", json!({ "type": "file", "id": file }));
    let taken_back = rpc.call("cancel", json!({ "command_id": pending["command_id"] }));
    check("remediate", &taken_back["data"]["command"], "cancelled");
    assert!(file.exists());
}
