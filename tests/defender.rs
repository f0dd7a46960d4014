//! A Defender tenant through the real program: the simulated one, whose Linux devices run the scripts for real.

mod support;

use serde_json::{Value, json};
use std::process::Output;
use support::Home;
use support::defender::Simulator;

/// A tenant, and a home whose program knows it.
struct Bench {
    home: Home,
    tenant: Simulator,
}

impl Bench {
    fn new() -> Bench {
        Bench { home: Home::new(), tenant: Simulator::start(&["--devices", "12"]) }
    }

    fn synced() -> Bench {
        let bench = Bench::new();
        let output = bench.run(&["library", "sync"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        bench
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.home.command(arguments);
        command.env("LIVE_RESPONSE_CONFIG", self.tenant.config()).output().expect("the program")
    }

    fn call(&self, tool: &str, arguments: Value, device: &str) -> Value {
        let output = self.run(&["call", tool, &arguments.to_string(), "--device", device]);
        let text = String::from_utf8(output.stdout).expect("text");
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{tool}: {e}: {text}"))
    }

    fn done(&self, tool: &str, arguments: Value, device: &str) -> Value {
        let result = self.call(tool, arguments, device);
        assert_eq!(result["state"], "completed", "{tool}: {result}");
        result["data"].clone()
    }

    fn error(&self, tool: &str, arguments: Value, device: &str) -> Value {
        let result = self.call(tool, arguments, device);
        assert!(result["error"].is_object(), "{tool}: {result}");
        result["error"].clone()
    }

    fn device(&self, platform: &str) -> String {
        self.tenant.device(platform).1
    }

    /// Whether this account may make the throw-away roots that Linux devices are.
    fn runs_scripts(&self) -> bool {
        rustix::process::geteuid().is_root()
            || self.call("dir", json!({"path": "/"}), &self.device("linux"))["state"] == "completed"
    }
}

#[test]
fn the_tenants_devices_are_listed_and_opened_by_any_of_their_names() {
    let bench = Bench::new();
    let rows: Vec<Value> = serde_json::from_slice(&bench.run(&["devices", "--json"]).stdout).expect("JSON");
    assert_eq!(rows.iter().filter(|row| row["backend"] == "defender").count(), 12);
    let (id, name) = bench.tenant.device("windows");
    for named in [id.clone(), name.clone(), name.to_uppercase(), format!("defender:{name}")] {
        let result = bench.call("cd", json!({"path": "Windows"}), &named);
        assert_eq!(result["device"]["id"], json!(id), "{named}: {result}");
        assert_eq!(result["data"]["current_directory"], r"C:\Windows");
    }
    let e = bench.error("cd", json!({"path": "x"}), &format!("{}x", &name[..name.len() - 1]));
    assert_eq!(e["code"], "E_NO_DEVICE");
    assert_eq!(bench.tenant.count("run_live_response"), 0);
}

#[test]
fn a_tenant_that_cannot_be_reached_costs_a_warning_only() {
    let bench = Bench::new();
    bench.tenant.control(json!({"permissions": {"revoke": ["Machine.Read.All", "Machine.ReadWrite.All"]}}));
    let result = bench.call("devices", json!({}), "local");
    assert_eq!(result["state"], "completed");
    assert_eq!(result["data"]["rows"].as_array().expect("rows").len(), 1);
    assert!(result["warnings"].to_string().contains("Machine.Read.All"), "{result}");
}

#[test]
fn every_read_is_answered_by_a_linux_device() {
    let bench = Bench::synced();
    if !bench.runs_scripts() {
        println!("ignored: no user namespaces here");
        return;
    }
    let device = bench.device("linux");
    let rows = |tool: &str, arguments: Value| bench.done(tool, arguments, &device)["rows"].clone();
    assert!(rows("processes", json!({})).to_string().contains("kdevtmpfsi"));
    assert!(rows("connections", json!({})).is_array());
    assert!(rows("dir", json!({"path": "/etc", "limit": 1000})).to_string().contains("\"passwd\""));
    assert!(rows("findfile", json!({"name": "passwd", "path": "/etc"})).to_string().contains("/etc/passwd"));
    for tool in ["services", "scheduledtasks", "startupfolders", "drivers"] {
        assert!(rows(tool, json!({})).is_array(), "{tool}");
    }
    let info = bench.done("fileinfo", json!({"path": "/etc/passwd"}), &device);
    let got = bench.done("getfile", json!({"path": "/etc/passwd"}), &device);
    assert_eq!(info["sha256"], got["sha256"]);
    let analysis = bench.done("analyze", json!({"type": "file", "id": "/etc/passwd"}), &device);
    assert_eq!(analysis["report"]["scans"][0]["engine"], "Defender file profile");
    assert_eq!(bench.error("dir", json!({"path": "/no/such"}), &device)["code"], "E_NOT_FOUND");
    assert_eq!(bench.error("registry", json!({"key": "HKLM"}), &device)["code"], "E_UNSUPPORTED");
}

#[test]
fn every_read_is_answered_by_a_windows_device() {
    let bench = Bench::synced();
    let device = bench.device("windows");
    for tool in ["processes", "connections", "services", "drivers", "scheduledtasks", "startupfolders", "persistence"] {
        let rows = bench.done(tool, json!({}), &device)["rows"].clone();
        assert!(!rows.as_array().expect("rows").is_empty(), "{tool}");
    }
    let hosts = r"C:\Windows\System32\drivers\etc\hosts";
    let info = bench.done("fileinfo", json!({"path": hosts}), &device);
    for encoding in ["gzip", "plain"] {
        bench.tenant.control(json!({"result": {"encoding": encoding, "times": 2}}));
        let got = bench.done("getfile", json!({"path": format!("\"{hosts}\"")}), &device);
        assert_eq!(info["sha256"], got["sha256"], "{encoding}");
    }
    bench.tenant.control(json!({"result": {"encoding": "double", "times": 2}}));
    let twice = bench.call("getfile", json!({"path": hosts}), &device);
    assert!(twice["warnings"].to_string().contains("encoding: unresolved"), "{twice}");
    let run = bench.done("registry", json!({"key": r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"}), &device);
    assert!(run["key"].is_string() && run["rows"].is_array(), "{run}");
}

#[test]
fn what_the_library_does_not_hold_exactly_is_not_run() {
    let bench = Bench::new();
    let device = bench.device("windows");
    let e = bench.error("services", json!({}), &device);
    assert_eq!((&e["code"], e["hint"].to_string().contains("library sync")), (&json!("E_UNSUPPORTED"), true));
    let rows: Vec<Value> = serde_json::from_slice(&bench.run(&["library", "sync", "--json"]).stdout).expect("JSON");
    let name =
        rows.iter().filter_map(|r| r["name"].as_str()).find(|n| n.starts_with("lr-services-") && n.ends_with("ps1"));
    bench.tenant.control(json!({"library": {"name": name, "drift": true}}));
    assert_eq!(bench.error("services", json!({}), &device)["code"], "E_SCRIPT_DRIFT");
    assert_eq!(bench.tenant.count("run_live_response"), 0);
    let again = bench.run(&["library", "sync"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("E_SCRIPT_DRIFT"));
}

#[test]
fn a_second_sync_changes_nothing_and_old_scripts_of_ours_go() {
    let bench = Bench::synced();
    let token = bench.tenant.token();
    let (old, foreign) = ("lr-services-0123456789abcdef.ps1", "lr-services-backup.ps1");
    for name in [old, foreign] {
        assert_eq!(bench.tenant.upload(&token, name, "x").0, 200);
    }
    let uploads = bench.tenant.log().iter().filter(|r| r.method == "POST" && r.path == "/api/libraryfiles").count();
    let rows: Vec<Value> = serde_json::from_slice(&bench.run(&["library", "sync", "--json"]).stdout).expect("JSON");
    let changed: Vec<&Value> = rows.iter().filter(|row| row["outcome"] != "unchanged").collect();
    assert_eq!(changed.len(), 1, "{changed:?}");
    assert_eq!((&changed[0]["name"], &changed[0]["outcome"]), (&json!(old), &json!("deleted")));
    let listed = bench.tenant.api(&token, "GET", "/api/libraryfiles", None).1.to_string();
    assert!(listed.contains(foreign) && !listed.contains(old));
    let now = bench.tenant.log().iter().filter(|r| r.method == "POST" && r.path == "/api/libraryfiles").count();
    assert_eq!(uploads, now);
    let audit = bench.run(&["audit", "show", "--json"]);
    assert!(String::from_utf8_lossy(&audit.stdout).contains("library.synced"));
}

#[test]
fn without_a_tenant_there_is_nothing_to_synchronise() {
    let home = Home::new();
    let output = home.command(&["library", "sync"]).output().expect("the program");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("[defender]"));
}

#[test]
fn garbage_round_a_document_is_no_part_of_it() {
    let bench = Bench::synced();
    let device = bench.device("windows");
    let decoy = "@@live-response ffffffffffffffffffffffffffffffff begin\n{\"v\":1,\"script\":\"services\",\"rows\":[{\"name\":\"decoy\"}]}\n@@live-response ffffffffffffffffffffffffffffffff end\n";
    bench.tenant.control(json!({"result": {"before": decoy, "after": decoy, "raw_breaks": true}}));
    let rows = bench.done("services", json!({}), &device)["rows"].to_string();
    assert!(!rows.contains("decoy") && rows.contains("svchost"), "{rows}");
    bench.tenant.control(json!({"result": {"no_output": true, "script_errors": "boom"}}));
    let e = bench.error("services", json!({}), &device);
    assert!(e["code"] == "E_BACKEND" && e["message"].to_string().contains("boom"), "{e}");
    bench.tenant.control(json!({"result": {"exit_code": 323}}));
    assert_eq!(bench.error("services", json!({}), &device)["code"], "E_SCRIPT_DRIFT");
}

#[test]
fn faults_of_the_service_are_ridden_out_and_nothing_is_started_twice() {
    let bench = Bench::synced();
    let device = bench.device("windows");
    for fault in [
        json!({"fault": {"endpoint": "run_live_response", "do": {"throttle": {"retry_after_s": 0, "retry_date_s": null}}}}),
        json!({"fault": {"endpoint": "run_live_response", "do": {"unauthorized": {}}}}),
        json!({"fault": {"endpoint": "run_live_response", "do": {"html": {"carried_out": true}}}}),
        json!({"expire_tokens": true}),
    ] {
        bench.tenant.control(fault.clone());
        let before = starts(&bench);
        let result = bench.call("services", json!({}), &device);
        assert_eq!(result["state"], "completed", "{fault}: {result}");
        let now = starts(&bench);
        assert_eq!(now, before + 1, "{fault}");
    }
}

/// Actions that are on the tenant's list.
fn starts(bench: &Bench) -> usize {
    let (status, actions) = bench.tenant.api(&bench.tenant.token(), "GET", "/api/machineactions", None);
    assert_eq!(status, 200);
    actions["value"].as_array().expect("actions").len()
}

#[test]
fn a_read_of_a_device_that_is_off_ends_and_leaves_nothing_behind() {
    let bench = Bench::synced();
    let device = bench.device("windows");
    bench.tenant.control(json!({"device": {"device": device, "online": false, "set": {"healthStatus": "Inactive"}}}));
    let config = std::fs::read_to_string(bench.tenant.config()).expect("a configuration");
    std::fs::write(bench.tenant.config(), format!("{config}\n[limits]\ncommand_s = 3\n")).expect("a file");
    let hidden = bench.call("connect", json!({}), &device)["data"]["hidden"].to_string();
    assert!(hidden.contains("Inactive") && hidden.contains("3 days"), "{hidden}");
    assert_eq!(bench.error("services", json!({}), &device)["code"], "E_DEVICE_OFFLINE");
    let cancels = bench.tenant.log().iter().filter(|r| r.path.ends_with("/cancel")).count();
    assert_eq!(cancels, 1);
}

#[test]
fn a_missing_permission_and_a_bad_secret_are_named_and_nothing_secret_is_told() {
    let bench = Bench::synced();
    let device = bench.device("windows");
    bench.tenant.control(json!({"permissions": {"revoke": ["Machine.LiveResponse"]}}));
    let e = bench.error("services", json!({}), &device);
    assert!(e["code"] == "E_BACKEND" && e.to_string().contains("Machine.LiveResponse"), "{e}");
    bench.tenant.control(json!({"secret": "expired"}));
    let refused = bench.error("services", json!({}), &device);
    assert_eq!(refused["code"], "E_BACKEND", "{refused}");
    let secret = std::fs::read_to_string(bench.tenant.folder().join("defender.secret")).expect("a secret");
    let mut told = format!("{e}{refused}");
    let mut folders = vec![bench.home.state()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            match entry.file_type().expect("a type").is_dir() {
                true => folders.push(entry.path()),
                false => told.push_str(&String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap_or_default())),
            }
        }
    }
    for canary in [secret.trim(), "Bearer ", "&sig="] {
        assert!(!told.contains(canary), "{canary:?} was told");
    }
}
