//! Changes on the devices of a simulated Defender tenant: asked for, approved by a person, done by the tenant.

mod support;

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::defender::Simulator;
use support::tenant::{Case, PATIENCE, lab, refused, request};
use support::{Home, Said, ended, text};

#[test]
fn a_device_is_isolated_and_released_after_a_yes_each() {
    let (case, name) = Case::of("linux", &[]);
    let pending = case.ask(&name, "isolate", json!({ "type": "full" }));
    let screen = case.screen(&pending);
    assert!(screen.contains("none by itself") && screen.contains("full") && screen.contains(&name), "{screen}");
    assert_eq!(case.tenant.count("isolate"), 0);
    assert_eq!(case.device(&name)["isolated"], false);
    let said = case.approve(&pending, "").expect(0).out();
    assert!(said.contains("verified: yes"), "{said}");
    assert_eq!(case.device(&name)["isolated"], true);
    assert_eq!(case.tenant.count("isolate"), 1);
    let action = case.tenant.token();
    let (_, actions) = case.tenant.api(&action, "GET", "/api/machineactions", None);
    let comments: Vec<String> =
        actions["value"].as_array().expect("rows").iter().map(|a| a["requestorComment"].to_string()).collect();
    let mine = comments.iter().find(|c| c.contains(&request(&pending))).expect("the comment");
    assert!(mine.contains("approved by alex: isolate full"), "{mine}");
    let status = case.status(&pending);
    assert_eq!((&status["state"], &status["verified"]), (&json!("completed"), &json!("yes")), "{status}");
    let pending = case.ask(&name, "release", json!({}));
    assert!(case.screen(&pending).contains("isolation now"), "{pending}");
    case.approve(&pending, "").expect(0);
    assert_eq!(case.device(&name)["isolated"], false);
    assert!(case.home.log().contains("exec.handed_over"));
}

#[test]
fn what_is_not_as_the_person_saw_it_is_not_done() {
    let (case, name) = Case::of("linux", &[]);
    let first = case.ask(&name, "isolate", json!({ "type": "full" }));
    let second = case.ask(&name, "release", json!({}));
    case.approve(&first, "").expect(0);
    // The other plan was made when the device was not isolated.
    case.approve(&second, "").expect(1).says("E_ENTITY_DRIFT");
    assert_eq!(case.tenant.count("unisolate"), 0);
}

#[test]
fn without_the_word_or_the_group_nobody_is_asked() {
    let case = Case::new(&[], "", |tenant| lab(&tenant.device("linux").1));
    let (_, name) = case.tenant.device("linux");
    refused(case.call(&name, "isolate", json!({})), 3, "E_POLICY_INVALID");
    drop(case);
    let case = Case::new(&[], "allow_shared_account = true", |_| lab("nothing-of-that-name"));
    refused(case.call(&name, "isolate", json!({})), 3, "E_POLICY_INVALID");
    assert_eq!(case.home.count("request.created"), 0);
}

#[test]
fn a_device_that_is_off_may_wait_and_the_rest_is_taken_back() {
    let (case, name) = Case::of("linux", &[]);
    let id = text(&case.device(&name)["id"]);
    case.tenant.control(json!({ "device": { "device": id, "online": false } }));
    let waits = case.ask(&name, "isolate", json!({ "type": "full" }));
    assert!(case.screen(&waits).contains("may wait until"), "{}", case.screen(&waits));
    let scan = case.ask(&name, "scan", json!({ "type": "quick" }));
    case.approve(&scan, "").expect(1).says("E_DEVICE_OFFLINE");
    assert_eq!(case.tenant.count("cancel"), 1);
    let said = case.approve(&waits, "").expect(0).out();
    assert!(said.contains("may wait until"), "{said}");
    assert_eq!(case.status(&waits)["state"], "running");
    case.tenant.control(json!({ "device": { "device": id, "online": true } }));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = case.status(&waits);
        if status["state"] == "completed" {
            assert_eq!(status["verified"], "yes", "{status}");
            break;
        }
        assert!(Instant::now() < deadline, "{status}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(case.tenant.count("isolate"), 1);
}

#[test]
fn a_process_that_dies_in_between_is_adopted_and_nothing_starts_twice() {
    let (case, name) = Case::of("linux", &["--action-ms", "3000"]);
    let pending = case.ask(&name, "isolate", json!({ "type": "full" }));
    let arguments = ["--config", case.config.as_str(), "approvals", "approve", &request(&pending)];
    let mut approver = case.home.start(&arguments, format!("{}\n", case.person.code()));
    let deadline = Instant::now() + PATIENCE;
    while case.tenant.count("isolate") == 0 {
        assert!(Instant::now() < deadline, "nothing was started");
        std::thread::sleep(Duration::from_millis(50));
    }
    approver.kill().expect("a process");
    let _ = ended(approver);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let status = case.status(&pending);
        if status["state"] == "completed" {
            assert_eq!(status["verified"], "yes", "{status}");
            break;
        }
        assert_eq!(status["state"], "running", "{status}");
        assert!(Instant::now() < deadline, "{status}");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(case.tenant.count("isolate"), 1);
    assert_eq!((case.home.count("exec.finished"), case.home.count("exec.unknown")), (1, 0));
}

#[test]
fn an_indicator_is_added_and_removed_and_never_replaced() {
    let group = |_: &Simulator| "[[group]]\nname = \"lab\"\ntier = \"T3\"\ndevices = [\"defender\"]\n".to_owned();
    let case = Case::new(&[], "allow_shared_account = true", group);
    let before =
        case.run(&["call", "indicator", "{}"], "").expect(0).json()["data"]["rows"].as_array().map_or(0, Vec::len);
    let add = json!({ "action": "add", "type": "domain", "value": "bad.example", "effect": "block", "title": "C2" });
    let ask = |arguments: &Value| case.run(&["call", "indicator", &arguments.to_string()], "");
    let pending = ask(&add).expect(4).json();
    let screen = case.screen(&pending);
    assert!(screen.contains("bad.example") && screen.contains("every device") && screen.contains("Block"), "{screen}");
    assert_eq!(case.tenant.count("add_indicator"), 0);
    let said = case.approve(&pending, "").expect(0).out();
    assert!(said.contains("verified: yes"), "{said}");
    refused(ask(&add), 1, "E_EXISTS");
    let rows = ask(&json!({ "value": "bad.example" })).expect(0).json()["data"]["rows"].clone();
    assert_eq!((rows.as_array().map_or(0, Vec::len), &rows[0]["effect"]), (1, &json!("Block")), "{rows}");
    let pending = ask(&json!({ "action": "remove", "id": rows[0]["id"] })).expect(4).json();
    case.approve(&pending, "").expect(0);
    let after = ask(&json!({})).expect(0).json()["data"]["rows"].as_array().map_or(0, Vec::len);
    assert_eq!((before, case.tenant.count("delete_indicator")), (after, 1));
}

#[test]
fn hunting_reads_and_a_bad_query_says_why() {
    let case = Case::new(&[], "", |_| String::new() + &lab("x"));
    let hunt = |arguments: Value| case.run(&["call", "hunt", &arguments.to_string()], "");
    let found = hunt(json!({ "query": "DeviceProcessEvents | take 3" })).expect(0).json();
    assert_eq!(found["data"]["rows"].as_array().map_or(0, Vec::len), 3, "{found}");
    refused(hunt(json!({ "query": "Nonsense" })), 2, "E_BAD_ARGS");
    refused(hunt(json!({ "query": "DeviceProcessEvents", "timespan": "90d" })), 2, "E_BAD_ARGS");
}

#[test]
fn a_library_script_runs_once_and_its_output_is_kept() {
    let (case, name) = Case::of("linux", &[]);
    let script = case.home.file("who.sh", "#!/bin/sh\necho \"ran with $1 and $2\"\nexit 3\n");
    case.run(&["library", "add", &script.display().to_string()], "").expect(0);
    case.run(&["library", "approve", "who.sh"], &format!("{}\n", case.person.code())).expect(0);
    refused(case.call(&name, "run", json!({ "script": "who.sh", "parameters": ["$(id)"] })), 2, "E_BAD_ARGS");
    refused(case.call(&name, "run", json!({ "script": "who.sh", "parameters": ["`id`"] })), 2, "E_BAD_ARGS");
    let pending = case.ask(&name, "run", json!({ "script": "who.sh", "parameters": ["a b", "c"] }));
    let screen = case.screen(&pending);
    assert!(screen.contains("lr-run-who-") && screen.contains("\"a b\" c"), "{screen}");
    let said = case.approve(&pending, &name).expect(0).out();
    assert!(said.contains("ran"), "{said}");
    let status = case.status(&pending);
    assert_eq!(status["state"], "completed", "{status}");
    let row = &status["data"]["rows"][0];
    let written = "ran with a b and c\n".len();
    assert_eq!((&row["exit_code"], &row["size_bytes"]), (&json!(3), &json!(written)), "{status}");
    assert_eq!(case.tenant.count("run_live_response"), 1);
}

#[test]
fn a_script_that_somebody_changed_in_the_tenant_does_not_run() {
    let (case, name) = Case::of("linux", &[]);
    let script = case.home.file("x.sh", "#!/bin/sh\necho x\n");
    case.run(&["library", "add", &script.display().to_string()], "").expect(0);
    case.run(&["library", "approve", "x.sh"], &format!("{}\n", case.person.code())).expect(0);
    let pending = case.ask(&name, "run", json!({ "script": "x.sh" }));
    let screen = case.screen(&pending);
    let uploaded = screen.split_whitespace().find(|w| w.starts_with("lr-run-x-")).expect("its name").to_owned();
    let token = case.tenant.token();
    case.tenant.upload(&token, &uploaded, "#!/bin/sh\necho something else\n");
    case.approve(&pending, &name).expect(1).says("E_SCRIPT_DRIFT");
    assert_eq!(case.tenant.count("run_live_response"), 0);
}

#[test]
fn a_file_is_taken_away_by_its_facts_and_comes_back() {
    if !support::tools::root() {
        return;
    }
    let (case, name) = Case::of("linux", &[]);
    case.sync();
    let there = |path: &str| case.call(&name, "fileinfo", json!({ "path": path }));
    let found = case.call(&name, "findfile", json!({ "name": "*", "path": "/home", "max_depth": 4 })).expect(0).json();
    let rows = found["data"]["rows"].as_array().expect("rows").clone();
    let file = rows.iter().find(|r| r["kind"] == "file").expect("a file");
    let path = text(&file["path"]);
    let pending = case.ask(&name, "remediate", json!({ "type": "file", "id": path }));
    let screen = case.screen(&pending);
    assert!(screen.contains("sha256") && screen.contains("identity") && screen.contains(&path), "{screen}");
    let said = case.approve(&pending, "").expect(0).out();
    assert!(said.contains("verified: yes"), "{said}");
    refused(there(&path), 1, "E_NOT_FOUND");
    let pending = case.ask(&name, "undo", json!({ "type": "file", "id": path }));
    case.approve(&pending, "").expect(0);
    there(&path).expect(0);
}

#[test]
fn a_registry_value_comes_back_by_its_undo_id() {
    const VALUE: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\SecurityHealth";
    let (case, name) = Case::of("windows", &[]);
    case.sync();
    let key = VALUE.rsplit_once('\\').expect("a value").0;
    let there = || case.call(&name, "registry", json!({ "key": key })).expect(0).json()["data"]["rows"].to_string();
    assert!(there().contains("SecurityHealth"));
    let pending = case.ask(&name, "remediate", json!({ "type": "registry", "id": VALUE }));
    case.approve(&pending, "").expect(0);
    assert!(!there().contains("SecurityHealth"));
    let undo_id = text(&case.status(&pending)["data"]["rows"][0]["undo_id"]);
    let pending = case.ask(&name, "undo", json!({ "type": "registry", "id": undo_id }));
    case.approve(&pending, "").expect(0);
    assert!(there().contains("SecurityHealth"));
}

/// Gives a device these tags of its own.
fn tag(case: &Case, name: &str, tags: &[&str]) {
    case.tenant.control(json!({ "device": { "device": name, "set": { "machineTags": tags } } }));
}

#[test]
fn what_was_collected_is_shown_by_what_the_tenant_says_of_its_device() {
    let groups = |_: &Simulator| {
        let group =
            |name: &str, tier: &str| format!("[[group]]\nname = \"{name}\"\ntier = \"{tier}\"\ntags = [\"{name}\"]\n");
        group("lab", "T3") + &group("servers", "T1")
    };
    let case = Case::new(&[], "allow_shared_account = true", groups);
    let (_, name) = case.tenant.device("windows");
    tag(&case, &name, &["lab"]);
    case.sync();
    let path = r"C:\Windows\System32\drivers\etc\hosts";
    let sealed = case.call(&name, "getfile", json!({ "path": path })).expect(0).json()["data"]["sha256"].clone();
    // A process that has met no device.
    let shown = || case.run(&["call", "evidence", &json!({ "sha256": sealed }).to_string()], "");
    let content = shown().expect(0).json()["data"]["content"].clone();
    assert!(content.as_str().is_some_and(|text| !text.is_empty()), "{content}");
    tag(&case, &name, &["lab", "servers"]);
    let refused = shown().expect(3).json()["error"].clone();
    assert_eq!(refused["code"], "E_POLICY_INVALID", "no rule shows what is on servers: {refused}");
    case.tenant.control(json!({ "permissions": { "revoke": ["Machine.Read.All", "Machine.ReadWrite.All"] } }));
    let unasked = shown().expect(1).json()["error"].clone();
    assert_eq!(unasked["code"], "E_BACKEND");
    assert!(unasked.to_string().contains("its tenant could not be asked"), "{unasked}");
    assert!(unasked.to_string().contains("Machine.Read.All"), "{unasked}");
}

#[test]
fn connect_opens_the_device_that_the_command_line_names() {
    let (case, name) = Case::of("windows", &[]);
    let opened = |arguments: &[&str]| case.run(arguments, "").expect(0).json()["device"]["name"].clone();
    assert_eq!(opened(&["call", "connect", "--device", &name]), name);
    assert_eq!(opened(&["call", "connect", r#"{"comment":"case 7"}"#, "--device", &name]), name);
    assert_eq!(opened(&["call", "connect", &json!({ "device": name }).to_string()]), name);
    assert_ne!(opened(&["call", "connect"]), name);
    let twice = case.run(&["call", "connect", r#"{"device":"local"}"#, "--device", &name], "");
    refused(twice, 2, "E_BAD_ARGS");
}

#[test]
fn a_plan_of_steps_is_adopted_with_all_that_it_did() {
    if !support::tools::root() {
        return;
    }
    let (case, name) = Case::of("linux", &["--action-ms", "1500"]);
    case.sync();
    let found = case.call(&name, "findfile", json!({ "name": "*", "path": "/home", "max_depth": 4 })).expect(0).json();
    let rows = found["data"]["rows"].as_array().expect("rows").clone();
    let files: Vec<String> = rows.iter().filter(|r| r["kind"] == "file").take(2).map(|r| text(&r["path"])).collect();
    let before = case.tenant.count("run_live_response");
    let pending = case.ask(&name, "remediate", json!({ "type": "file", "ids": files }));
    let resolved = case.tenant.count("run_live_response");
    assert!(resolved > before);
    let arguments = ["--config", case.config.as_str(), "approvals", "approve", &request(&pending)];
    let mut approver = case.home.start(&arguments, format!("{}\n", case.person.code()));
    let deadline = Instant::now() + PATIENCE;
    while case.tenant.count("run_live_response") < resolved + 2 {
        assert!(Instant::now() < deadline, "the second step was not begun");
        std::thread::sleep(Duration::from_millis(50));
    }
    approver.kill().expect("a process");
    let _ = ended(approver);
    let jobs = case.run(&["call", "jobs"], "").expect(0).json()["data"]["rows"].clone();
    let row = jobs.as_array().expect("rows").iter().find(|row| row["command_id"] == pending["command_id"]);
    let row = row.expect("the command").clone();
    assert_eq!(row["state"], "running", "{row}");
    assert!(text(&row["progress"]).contains("status"), "{row}");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        let status = case.status(&pending);
        if status["state"] != "running" {
            break status;
        }
        assert!(Instant::now() < deadline, "{status}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!((&status["state"], &status["verified"]), (&json!("completed"), &json!("yes")), "{status}");
    let done: Vec<String> = status["data"]["rows"].as_array().expect("rows").iter().map(|r| text(&r["id"])).collect();
    assert_eq!(done, files, "{status}");
    assert_eq!(case.tenant.count("run_live_response"), resolved + 2);
}

#[test]
fn what_is_no_value_of_its_type_is_asked_of_nobody() {
    let group = |_: &Simulator| "[[group]]\nname = \"lab\"\ntier = \"T3\"\ndevices = [\"defender\"]\n".to_owned();
    let case = Case::new(&[], "allow_shared_account = true", group);
    let ask = |kind: &str, value: &str, expires: Option<&str>| {
        let add = json!({ "action": "add", "type": kind, "value": value, "expires": expires });
        case.run(&["call", "indicator", &add.to_string()], "")
    };
    for (kind, value) in [("sha256", "abc"), ("ip", "10.0.0.1"), ("domain", "*.example"), ("url", "bad.example")] {
        let e = ask(kind, value, None).expect(2).json()["error"].clone();
        assert_eq!(e["code"], "E_BAD_ARGS", "{kind} {value}");
        assert!(e["hint"].is_string() && text(&e["message"]).contains(value), "{e}");
    }
    refused(ask("domain", "bad.example", Some("2020-01-01T00:00:00Z")), 2, "E_BAD_ARGS");
    assert_eq!((case.tenant.count("indicators"), case.home.count("request.created")), (0, 0));
    assert_eq!(ask("ip", "203.0.113.9", Some("2120-01-01T00:00:00Z")).expect(4).json()["state"], "pending_approval");
}

#[test]
fn doctor_says_what_the_tenant_lacks_and_nothing_secret() {
    let (case, _) = Case::of("linux", &[]);
    let facts = || -> Vec<Value> {
        let said = case.run(&["doctor", "--json"], "");
        let (out, secret) = (said.out(), std::fs::read_to_string(case.tenant.folder().join("defender.secret")));
        assert!(!out.contains(secret.expect("a secret").trim()) && !out.contains("eyJ"), "{out}");
        serde_json::from_str(&out).expect("rows")
    };
    let of = |rows: &[Value], check: &str| rows.iter().find(|r| r["check"] == check).cloned().unwrap_or_default();
    let rows = facts();
    assert_eq!(of(&rows, "tenant")["state"], "ok", "{rows:?}");
    assert_eq!(
        (of(&rows, "permissions")["state"].clone(), of(&rows, "clock")["state"].clone()),
        (json!("ok"), json!("ok"))
    );
    let library = of(&rows, "tenant library");
    assert!(text(&library["fact"]).starts_with("holds 0 of ") && text(&library["hint"]).contains("library sync"));
    case.sync();
    assert!(text(&of(&facts(), "tenant library")["fact"]).starts_with("holds all "));
    case.tenant.control(json!([
        { "permissions": { "revoke": ["Machine.Isolate", "Library.Manage"] } },
        { "clock_offset_s": -7200 },
    ]));
    let rows = facts();
    let lacks = text(&of(&rows, "permissions")["fact"]);
    assert!(lacks.contains("Machine.Isolate (isolate, release)") && !lacks.contains("Machine.Scan"), "{lacks}");
    assert!(text(&of(&rows, "tenant library")["fact"]).contains("Library.Manage"), "{rows:?}");
    assert!(text(&of(&rows, "clock")["fact"]).contains("s ahead of"), "{rows:?}");
    case.tenant.control(json!({ "secret": "expired" }));
    let rows = facts();
    assert!(text(&of(&rows, "tenant")["fact"]).contains("expired"), "{rows:?}");
}

#[test]
fn what_a_device_or_a_host_cannot_says_what_can_be_done() {
    let (case, name) = Case::of("linux", &[]);
    let e = case.call(&name, "isolate", json!({ "type": "selective" })).expect(3).json()["error"].clone();
    assert_eq!(e["code"], "E_UNSUPPORTED");
    assert!(text(&e["message"]).contains("fully or not at all") && text(&e["hint"]).contains("full"), "{e}");
    let e = case.call(&name, "processes", json!({})).expect(3).json()["error"].clone();
    assert!(e["code"] == "E_UNSUPPORTED" && text(&e["hint"]).contains("library sync"), "{e}");
    let home = Home::new();
    for tool in ["hunt", "indicator"] {
        let arguments = if tool == "hunt" { json!({ "query": "T" }) } else { json!({}) };
        let e = home.call(tool, arguments).expect(3).json()["error"].clone();
        assert!(e["code"] == "E_UNSUPPORTED" && text(&e["hint"]).contains("client_secret_file"), "{e}");
        let help = home.call("help", json!({ "command": tool })).expect(0).json();
        assert!(text(&help["data"]["help"]).contains(tool), "{help}");
    }
}
