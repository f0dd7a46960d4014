//! One read of many devices: `devices` on read commands.

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::defender::Simulator;
use support::{Client, Home, Said};

/// Images of two hosts, listed in the configuration.
fn images(home: &Home) -> [String; 2] {
    ["one", "two"].map(|name| {
        let root = home.path().join(name);
        std::fs::create_dir_all(root.join("etc")).expect("a folder");
        for n in 0..60 {
            std::fs::write(root.join(format!("etc/{name}-{n:02}")), name).expect("a file");
        }
        root.to_str().expect("UTF-8").to_owned()
    })
}

fn listed(home: &Home) -> [String; 2] {
    let roots = images(home);
    let text = roots.iter().map(|root| format!("{root:?}")).collect::<Vec<_>>().join(", ");
    configured(home, &format!("[local]\nimages = [{text}]\n"));
    roots
}

fn configured(home: &Home, text: &str) {
    let folder = home.path().join("config/live-response");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("config.toml"), text).expect("a configuration");
}

/// The result of a call that may have become a job.
fn waited(client: &mut Client, mut result: Value) -> Value {
    let id = result["command_id"].clone();
    while result["state"] == "running" {
        result = client.tool("fg", json!({ "command_id": id }))["data"]["command"].take();
    }
    result
}

fn rows(result: &Value) -> &Vec<Value> {
    result["data"]["rows"].as_array().unwrap_or_else(|| panic!("{result}"))
}

#[test]
fn rows_of_many_devices_are_one_listing_that_sorts_filters_and_pages() {
    let home = Home::new();
    let [one, two] = listed(&home);
    let mut client = Client::mcp(&home, &[]);
    // Without a session.
    let devices = json!([format!("image:{two}"), "backend=image", format!("image:{one}")]);
    let first = client.tool("dir", json!({ "path": "/etc", "devices": devices, "sort": "-name", "limit": 70 }));
    assert_eq!(
        (&first["state"], &first["session"], &first["device"]),
        (&json!("completed"), &Value::Null, &Value::Null)
    );
    assert_eq!(first["data"]["devices_answered"], 2, "a device that is named twice is asked once: {first}");
    assert_eq!((first["page"]["total"].as_u64(), rows(&first).len()), (Some(120), 70));
    assert_eq!(rows(&first)[0]["name"], "two-59");
    assert_eq!(rows(&first)[0]["device"], format!("image:{two}"));
    let cursor = &first["page"]["next_cursor"];
    let second = client.tool("dir", json!({ "cursor": cursor, "limit": 1000 }));
    assert_eq!(rows(&second).len(), 50, "{second}");
    assert_eq!(rows(&second)[49]["name"], "one-00");
    // Also once a session is open.
    client.tool("connect", json!({}));
    assert_eq!(rows(&client.tool("dir", json!({ "cursor": cursor, "limit": 1000 }))), rows(&second));
    let wanted = json!({ "path": "/etc", "devices": "backend=image", "filter": "name~-07 and device~one", "fields": ["device"] });
    let filtered = client.tool("dir", wanted);
    assert_eq!(rows(&filtered), &vec![json!({ "device": format!("image:{one}") })]);
}

#[test]
fn an_object_a_device_is_a_row_and_what_failed_is_named_with_the_reason() {
    let home = Home::new();
    let [one, two] = listed(&home);
    let mut client = Client::mcp(&home, &[]);
    let devices = json!([format!("image:{one}"), format!("image:{two}"), "image:/never/was", "no-such-host"]);
    let found = client.tool("fileinfo", json!({ "path": "/etc/one-03", "devices": devices }));
    assert_eq!(found["state"], "completed", "{found}");
    assert_eq!(
        (found["data"]["devices_asked"].as_u64(), found["data"]["devices_answered"].as_u64()),
        (Some(4), Some(1))
    );
    assert_eq!(rows(&found)[0]["device"], format!("image:{one}"));
    assert_eq!(rows(&found)[0]["size_bytes"], 3);
    let warnings = found["warnings"].to_string();
    for (device, code) in
        [(two.as_str(), "E_NOT_FOUND"), ("/never/was", "E_NO_DEVICE"), ("no-such-host", "E_NO_DEVICE")]
    {
        let line = found["warnings"].as_array().expect("a list").iter().find(|w| w.to_string().contains(device));
        assert!(line.is_some_and(|w| w.to_string().contains(code)), "{device}: {warnings}");
    }
    let none = client.tool("fileinfo", json!({ "path": "/nothing", "devices": ["backend=image"] }));
    assert_eq!((&none["state"], &none["error"]["code"]), (&json!("failed"), &json!("E_NOT_FOUND")), "{none}");
    assert!(none["warnings"][0].as_str().is_some_and(|w| w.starts_with("2 devices (")), "{none}");
}

#[test]
fn wrong_arguments_are_refused_before_any_device_is_asked() {
    let home = Home::new();
    listed(&home);
    let mut client = Client::mcp(&home, &[]);
    for (arguments, says) in [
        (json!({ "devices": [] }), "list of names"),
        (json!({ "devices": [" "] }), "list of names"),
        (json!({ "devices": [7] }), "list of names"),
        (json!({ "devices": ["platfrm=linux"] }), "platfrm"),
        (json!({ "devices": ["platform="] , "session": "s-0" }), "two places"),
        (json!({ "devices": ["local"], "cursor": "0123456789abcdef.0" }), "a cursor stands alone"),
        (json!({ "devices": ["local"], "fields": ["devize"] }), "devize"),
        (json!({ "fields": ["device"] }), "device"),
    ] {
        let refused = client.tool("processes", arguments.clone());
        assert_eq!(refused["error"]["code"], "E_BAD_ARGS", "{arguments}: {refused}");
        assert!(refused["error"].to_string().contains(says), "{arguments}: {refused}");
    }
    let none = client.tool("dir", json!({ "devices": ["backend=image and name=nothing"] }));
    assert_eq!(none["error"]["code"], "E_NO_DEVICE", "{none}");
    // What changes a device, and what asks none, takes one place only.
    for tool in ["remediate", "isolate", "run", "collect", "cd", "evidence", "devices"] {
        let refused = client.tool(tool, json!({ "devices": ["local"] }));
        assert_eq!(refused["error"]["code"], "E_BAD_ARGS", "{tool}: {refused}");
        assert!(refused["error"]["message"].to_string().contains("devices"), "{tool}: {refused}");
    }
}

#[test]
fn every_device_is_on_record_and_a_role_counts_on_each() {
    let home = Home::new();
    let [one, two] = listed(&home);
    let policy = format!(
        r#"version = 1
[[group]]
name = "ours"
tier = "T2"
devices = ["local", "image:{one}"]
[[group]]
name = "theirs"
tier = "T2"
devices = ["image:{two}"]
[[principal]]
name = "analyst"
uid = {}
roles = ["responder-advanced"]
groups = ["ours"]
[[principal]]
name = "reader"
uid = {}
roles = ["responder-basic"]
"#,
        rustix::process::getuid().as_raw(),
        rustix::process::getuid().as_raw()
    );
    std::fs::write(home.path().join("config/live-response/policy.toml"), policy).expect("a policy");
    let mut client = Client::mcp(&home, &[]);
    let asked = client.tool("analyze", json!({ "type": "file", "id": "/etc/two-01", "devices": ["backend=image"] }));
    let warnings = asked["warnings"].to_string();
    assert!(warnings.contains("E_SCOPE") && warnings.contains("E_NOT_FOUND"), "{asked}");
    client.tool("dir", json!({ "path": "/etc", "devices": ["backend=image"], "limit": 1 }));
    drop(client);
    let log: Vec<Value> = home.log().lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let of = |device: &str| {
        let looks = log
            .iter()
            .filter(|r| r["event"] == "output.returned" && r["detail"]["device"] == format!("image:{device}"));
        looks.map(|r| r["detail"]["command"].as_str().expect("text").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&one), ["analyze", "dir"], "{log:#?}");
    assert_eq!(of(&two), ["dir"], "what was refused did not look");
    let refused = log.iter().filter(|r| r["reason_code"] == "E_SCOPE").count();
    assert_eq!(refused, 1, "{log:#?}");
    let whole =
        log.iter().rfind(|r| r["detail"]["device"].is_null() && r["detail"]["command"] == "dir").expect("the sweep");
    let parts = log.iter().filter(|r| r["detail"]["part_of"] == whole["detail"]["command_id"]).count();
    assert_eq!(parts, 2);
}

#[test]
fn a_tenant_is_swept_within_its_limits_and_the_silent_are_named() {
    let home = Home::new();
    let tenant = Simulator::start(&["--devices", "40"]);
    let written = std::fs::read_to_string(tenant.config()).expect("a configuration");
    configured(
        &home,
        &format!(
            "{written}\n[defender.limits]\nstarts_per_minute = 600\npoll_first_ms = 50\npoll_max_ms = 200\n[limits]\nanswer_within_s = 3\n"
        ),
    );
    home.run(&["library", "sync"], "").expect(0);
    let mut client = Client::mcp(&home, &[]);
    let windows = |d: &&Value| d["platform"] == "windows" && d["automated"] == true;
    let all = tenant.devices();
    let (mut ready, away): (Vec<&Value>, Vec<&Value>) = all.iter().filter(windows).partition(|d| d["online"] == true);
    assert!(ready.len() > 5, "{all:?}");
    let broken = ready.pop().expect("a device")["name"].as_str().expect("text").to_owned();
    tenant.control(json!({ "device": { "device": broken, "stuck": true } }));
    let names: Vec<&str> = ready.iter().chain(&away).map(|d| d["name"].as_str().expect("text")).collect();
    let swept = client.tool("processes", json!({ "devices": names, "filter": "name=smss.exe", "limit": 1000 }));
    let swept = waited(&mut client, swept);
    assert_eq!(swept["state"], "completed", "{swept}");
    let answered: std::collections::BTreeSet<&str> = rows(&swept).iter().filter_map(|r| r["device"].as_str()).collect();
    assert_eq!(answered.len(), ready.len(), "{swept}");
    for device in &away {
        let name = device["name"].as_str().expect("text");
        let said = swept["warnings"].as_array().expect("warnings").iter().any(|w| {
            let w = w.as_str().expect("text");
            w.contains(name) && w.contains("E_DEVICE_OFFLINE")
        });
        assert!(said, "{name}: {}", swept["warnings"]);
    }
    // A filter over the rows of `devices`, and a cancel that takes back what was begun.
    let begun = client.tool("processes", json!({ "devices": [format!("name={broken}")], "fields": ["device"] }));
    let id = begun["command_id"].clone();
    assert_eq!(begun["state"], "running", "{begun}");
    let status = client.tool("status", json!({ "command_id": id }));
    assert_eq!(status["data"]["command"]["progress"], json!({ "done": 0, "total": 1, "unit": "devices" }), "{status}");
    client.tool("cancel", json!({ "command_id": id }));
    let ended = waited(&mut client, begun);
    assert_eq!(ended["state"], "cancelled", "{ended}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while tenant.count("cancel") == 0 {
        assert!(Instant::now() < deadline, "the action was left in the tenant");
        std::thread::sleep(Duration::from_millis(50));
    }
}
