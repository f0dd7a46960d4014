//! Reads in the background on a simulated tenant's devices outlive the program that began them.

mod support;

use serde_json::{Value, json};
use std::process::Output;
use std::time::{Duration, Instant};
use support::defender::Simulator;
use support::{Client, Home, Said, initialize, text};

const PATIENCE: Duration = Duration::from_secs(120);

struct Bench {
    home: Home,
    tenant: Simulator,
}

impl Bench {
    /// With the script pack in the library, and a device of this platform.
    fn of(platform: &str, options: &[&str]) -> (Bench, String) {
        let bench = Bench { home: Home::new(), tenant: Simulator::start(options) };
        let written = std::fs::read_to_string(bench.tenant.config()).expect("a configuration");
        if !written.contains("[defender.limits]") {
            let limits = "\n[defender.limits]\npoll_first_ms = 50\npoll_max_ms = 200\n";
            std::fs::write(bench.tenant.config(), written + limits).expect("a configuration");
        }
        bench.run(&["library", "sync"]).expect(0);
        let name = bench.tenant.device(platform).1;
        (bench, name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.home.command(arguments);
        command.env("LIVE_RESPONSE_CONFIG", self.tenant.config()).output().expect("the program")
    }

    /// A client with a session on the device.
    fn client(&self, device: &str) -> Client {
        let mut command = self.home.command(&["mcp"]);
        command.env("LIVE_RESPONSE_CONFIG", self.tenant.config());
        let mut client = Client::spawn(command);
        client.ask("initialize", initialize("2025-11-25"));
        client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let connected = client.tool("connect", json!({ "device": device, "comment": "case 7" }));
        assert_eq!(connected["state"], "completed", "{connected}");
        client
    }

    /// What another process says of a command.
    fn of_command(&self, tool: &str, id: &Value) -> Value {
        let said = self.run(&["call", tool, &json!({ "command_id": id }).to_string()]).json();
        assert_eq!(said["state"], "completed", "{said}");
        said["data"]["command"].clone()
    }

    fn jobs(&self) -> Vec<Value> {
        self.run(&["call", "jobs"]).expect(0).json()["data"]["rows"].as_array().expect("rows").clone()
    }

    #[track_caller]
    fn until(&self, what: &str, is_so: impl Fn(&Bench) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The actions that the tenant has.
    fn actions(&self) -> Vec<Value> {
        let (_, listed) = self.tenant.api(&self.tenant.token(), "GET", "/api/machineactions", None);
        listed["value"].as_array().expect("actions").clone()
    }

    fn records(&self) -> usize {
        std::fs::read_dir(self.home.state().join("reads")).map_or(0, Iterator::count)
    }
}

#[test]
fn a_read_is_read_on_by_the_next_program_and_begun_once() {
    let (bench, name) = Bench::of("windows", &[]);
    bench.tenant.control(json!({ "device": { "device": name, "online": false } }));
    let mut client = bench.client(&name);
    let began = client.tool("findfile", json!({ "name": "*", "background": true, "limit": 2 }));
    assert_eq!(began["state"], "running", "{began}");
    let id = began["command_id"].clone();
    bench.until("nothing was begun", |b| b.tenant.count("run_live_response") == 1);
    let elsewhere = bench.of_command("status", &id);
    assert_eq!(elsewhere["state"], "running", "{elsewhere}");
    assert!(elsewhere["warnings"].to_string().contains("another process"), "{elsewhere}");
    // The end of its input is its end.
    client.end_input();
    client.wait();
    let jobs = bench.jobs();
    assert_eq!((&jobs[0]["command_id"], &jobs[0]["state"]), (&id, &json!("running")), "{jobs:?}");
    assert!(text(&jobs[0]["progress"]).contains("status"), "{jobs:?}");
    bench.tenant.control(json!({ "device": { "device": name, "online": true } }));
    let read = bench.of_command("fg", &id);
    assert_eq!(read["state"], "completed", "{read}");
    assert_eq!(read["data"]["rows"].as_array().map_or(0, Vec::len), 2, "{read}");
    assert_eq!((&read["session"], &read["device"]["name"]), (&began["session"], &json!(name)), "{read}");
    // Once more, of what the tenant still has.
    assert_eq!(bench.of_command("status", &id)["data"]["rows"], read["data"]["rows"]);
    assert_eq!(bench.jobs()[0]["state"], "completed");
    let counts = (bench.tenant.count("run_live_response"), bench.tenant.count("cancel"));
    assert_eq!(counts, (1, 0));
}

#[test]
fn a_file_is_sealed_by_who_reads_on() {
    let (bench, name) = Bench::of("windows", &["--action-ms", "2000"]);
    let mut client = bench.client(&name);
    let path = r"C:\Windows\System32\drivers\etc\hosts";
    let id = client.tool("getfile", json!({ "path": path, "background": true }))["command_id"].clone();
    bench.until("nothing was begun", |b| b.tenant.count("run_live_response") == 1);
    client.child.kill().expect("a process");
    drop(client);
    let read = bench.of_command("fg", &id);
    assert_eq!((&read["state"], &read["data"]["name"]), (&json!("completed"), &json!("hosts")), "{read}");
    let held = bench.run(&["evidence", "list", "--json"]).expect(0).out();
    assert!(held.contains(&text(&read["data"]["sha256"])) && held.contains("case 7"), "{held}");
    assert_eq!(bench.tenant.count("run_live_response"), 1);
}

#[test]
fn a_start_whose_answer_nobody_read_is_found_by_its_mark() {
    let (bench, name) = Bench::of("windows", &["--action-ms", "500"]);
    let mut client = bench.client(&name);
    let fault = |endpoint: &str, what: Value| json!({ "fault": { "endpoint": endpoint, "do": what } });
    bench.tenant.control(fault("run_live_response", json!({ "html": { "carried_out": true } })));
    bench.tenant.control(fault("actions", json!({ "latency": 5000 })));
    let id = client.tool("findfile", json!({ "name": "*", "background": true }))["command_id"].clone();
    let answered = |b: &Bench| b.tenant.log().iter().any(|r| r.endpoint == "run_live_response" && r.status.is_some());
    bench.until("nothing was begun", answered);
    client.child.kill().expect("a process");
    drop(client);
    let read = bench.of_command("fg", &id);
    assert_eq!(read["state"], "completed", "{read}");
    assert_eq!(bench.actions().len(), 1);
}

#[test]
fn a_device_that_is_off_is_waited_for_over_a_restart() {
    let (bench, name) = Bench::of("windows", &[]);
    let set = |online: bool, health: &str| {
        let device = json!({ "device": name, "online": online, "set": { "healthStatus": health } });
        bench.tenant.control(json!({ "device": device }));
    };
    set(false, "Inactive");
    let mut client = bench.client(&name);
    let began = client.tool("findfile", json!({ "name": "*", "background": true }));
    assert!(began["warnings"].to_string().contains("may wait until"), "{began}");
    let id = began["command_id"].clone();
    bench.until("nothing was begun", |b| b.tenant.count("run_live_response") == 1);
    client.end_input();
    client.wait();
    let waits = bench.of_command("status", &id);
    assert_eq!(waits["state"], "running", "{waits}");
    assert!(waits["warnings"].to_string().contains("may wait until"), "{waits}");
    set(true, "Active");
    let read = bench.of_command("fg", &id);
    assert_eq!(read["state"], "completed", "{read}");
    assert_eq!((bench.tenant.count("run_live_response"), bench.tenant.count("cancel")), (1, 0));
}

#[test]
fn cancel_takes_it_back_in_the_tenant() {
    let (bench, name) = Bench::of("windows", &[]);
    bench.tenant.control(json!({ "device": { "device": name, "online": false } }));
    let mut client = bench.client(&name);
    let id = client.tool("findfile", json!({ "name": "*.exe", "background": true }))["command_id"].clone();
    bench.until("nothing was begun", |b| b.tenant.count("run_live_response") == 1);
    client.child.kill().expect("a process");
    drop(client);
    assert_eq!(bench.records(), 1);
    assert_eq!(bench.of_command("cancel", &id)["state"], "cancelled");
    assert_eq!(bench.actions()[0]["status"], "Cancelled");
    assert_eq!((bench.records(), bench.jobs().len()), (0, 0));
    let gone = bench.run(&["call", "status", &json!({ "command_id": id }).to_string()]).json();
    assert_eq!(gone["error"]["code"], "E_SCOPE", "{gone}");
}

#[test]
fn a_package_is_gathered_once_and_tidied_away() {
    if !support::tools::root() {
        return;
    }
    let (bench, name) = Bench::of("linux", &["--action-ms", "1500"]);
    let mut client = bench.client(&name);
    let id = client.tool("collect", json!({ "background": true }))["command_id"].clone();
    bench.until("nothing was begun", |b| b.tenant.count("run_live_response") == 1);
    client.child.kill().expect("a process");
    drop(client);
    let mut read = bench.of_command("fg", &id);
    let deadline = Instant::now() + PATIENCE;
    while read["state"] == "running" {
        assert!(Instant::now() < deadline, "{read}");
        read = bench.of_command("fg", &id);
    }
    assert_eq!(read["state"], "completed", "{read}");
    // Gathered, and taken off the device.
    assert_eq!(bench.tenant.count("run_live_response"), 2);
    let mut client = bench.client(&name);
    let left = client.tool("findfile", json!({ "name": "live-response-*", "path": "/var/tmp" }));
    assert_eq!(left["data"]["rows"], json!([]), "{left}");
}

#[test]
fn what_asks_a_person_and_what_is_in_the_foreground_is_not_kept() {
    let (bench, name) = Bench::of("windows", &[]);
    let mut client = bench.client(&name);
    let scan = client.tool("scan", json!({ "type": "quick", "background": true }));
    let of = json!({ "command_id": scan["command_id"] });
    assert_eq!(client.tool("fg", of)["data"]["command"]["error"]["code"], "E_NO_HUMAN_CHANNEL");
    assert_eq!(client.tool("services", json!({}))["state"], "completed");
    assert_eq!(bench.records(), 0);
    // No record holds what gives access to the tenant.
    let id = client.tool("findfile", json!({ "name": "*", "background": true }))["command_id"].clone();
    assert_eq!(client.tool("fg", json!({ "command_id": id }))["data"]["command"]["state"], "completed");
    let path = bench.home.state().join("reads").join(text(&id));
    let record = std::fs::read_to_string(&path).expect("a record");
    let secret = std::fs::read_to_string(bench.tenant.folder().join("defender.secret")).expect("a secret");
    assert!(!record.contains("eyJ") && !record.contains(secret.trim()) && !record.contains("http"), "{record}");
}
