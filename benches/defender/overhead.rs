//! What a command costs over the tenant's own time.
//!
//! A server runs the command; the simulator's log says which requests that made; a client that does nothing else makes
//! the same requests over open connections, right after each run of the command, so that both meet the same machine.
//! The overhead is the median of the differences: parsing the call, the way through the program, HTTP and JSON, shaping,
//! the audit log, the answer. Requests that the program makes at the same time are made at the same time here too.
//!
//! A live response waits on purpose: 50 ms for others that ask the same device, and `poll_first_ms` before it looks how
//! the action goes. Exactly these two are taken off, for runs in which the first look found the end; that a timer fires
//! late is not taken off. A run with more looks, or with a listing of the library (once a minute), does not count.

use crate::direct::{Direct, Request};
use crate::program::{Place, Server};
use crate::support::defender::Simulator;
use crate::{millis, percentile};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::time::Duration;

const RUNS: usize = 200;
const READS: usize = 60;
/// `WINDOW` of `src/device/defender/batch.rs`.
const WINDOW_MS: u64 = 50;
/// Longer than the action takes, so that the first look finds its end.
const POLL_MS: u64 = 25;
const WAITS_MS: u64 = WINDOW_MS + POLL_MS;

pub fn print() {
    let options = ["--devices", "50", "--hunts-per-minute", "0", "--action-ms", "1"];
    let tenant = Simulator::start(&options);
    let place = Place::new(&tenant, &[("poll_first_ms", POLL_MS)]);
    place.sync();
    let mut direct = Direct::new(&tenant);
    for n in 0..100 {
        let body = json!({ "indicatorValue": format!("{n:064x}"), "indicatorType": "FileSha256", "action": "Audit",
            "title": "of the bench", "description": "of the bench", "generateAlert": true });
        direct.ask(&[Request::post("/api/indicators", &body)]);
    }
    let mut server = place.serve();
    let (id, name) = tenant.device("windows");
    println!("overhead of a command over the tenant's own time, median of {RUNS} (target: under 2 ms)");
    for (method, params, body) in [
        ("connect", json!({ "device": id }), None),
        ("devices", json!({ "query": name }), None),
        ("indicator", json!({}), None),
        ("hunt", json!({ "query": "DeviceProcessEvents | take 20" }), Some("Query")),
    ] {
        endpoint(&tenant, &mut server, &mut direct, method, &params, body);
    }
    let session = server.result("connect", &json!({ "device": id })).0["session"].clone();
    for (name, args) in [("all", json!({})), ("one", json!({ "pid": 4 }))] {
        let own = Read { id: &id, session: &session, name, args };
        own.print(&tenant, &mut server, &mut direct);
    }
    println!("  (a live response on a Windows device; {WAITS_MS} ms of deliberate waiting are in ours and taken off)");
}

/// A command that is asked of the tenant's records.
fn endpoint(
    tenant: &Simulator,
    server: &mut Server,
    direct: &mut Direct,
    method: &str,
    params: &Value,
    body: Option<&str>,
) {
    run(server, method, params);
    let before = tenant.log().len();
    run(server, method, params);
    let seen = tenant.log().split_off(before);
    let requests: Vec<Request> = seen
        .iter()
        .map(|seen| Request {
            method: seen.method.clone(),
            path: seen.target(),
            body: body.map(|name| json!({ name: params["query"] }).to_string()).unwrap_or_default(),
        })
        .collect();
    // `connect` finds the device, then asks for what is known of it at once.
    let (first, rest) = requests.split_at(1.min(requests.len()));
    let groups: Vec<&[Request]> = [first, rest].into_iter().filter(|group| !group.is_empty()).collect();
    let (mut ours, mut theirs, mut over) = (Vec::new(), Vec::new(), Vec::new());
    let cpu = server.processor_time();
    for _ in 0..RUNS {
        let took = run(server, method, params);
        let own: Duration = groups.iter().map(|group| direct.ask(group).1).sum();
        ours.push(millis(took));
        theirs.push(millis(own));
        over.push(millis(took) - millis(own));
    }
    let cpu = millis(server.processor_time() - cpu) / RUNS as f64;
    line(method, requests.len(), &mut ours, &mut theirs, &mut over, cpu);
}

/// One run of a command; a session that it opened is closed again, off the clock.
fn run(server: &mut Server, method: &str, params: &Value) -> Duration {
    let (line, took) = server.call(method, params);
    assert!(line.contains("\"state\":\"completed\""), "{method} {params}: {line}");
    if method == "connect" {
        let answer: Value = serde_json::from_str(line).expect("JSON");
        server.result("disconnect", &json!({ "session": answer["result"]["session"] }));
    }
    took
}

/// A command that is one live response: `processes`, of all or of one.
struct Read<'a> {
    id: &'a str,
    session: &'a Value,
    name: &'static str,
    args: Value,
}

impl Read<'_> {
    fn print(&self, tenant: &Simulator, server: &mut Server, direct: &mut Direct) {
        let body = self.start(direct);
        let mut params = self.args.clone();
        params["session"] = self.session.clone();
        let (mut ours, mut theirs, mut over) = (Vec::new(), Vec::new(), Vec::new());
        run(server, "processes", &params);
        let mut cpu = Duration::ZERO;
        while ours.len() < READS {
            let before = tenant.log().len();
            let cpu_before = server.processor_time();
            let took = run(server, "processes", &params);
            let used = server.processor_time() - cpu_before;
            let requests = tenant.log().len() - before;
            let own = self.direct(tenant, direct, &body);
            if requests == 4 {
                cpu += used;
                ours.push(millis(took));
                theirs.push(millis(own));
                over.push(millis(took) - millis(own) - WAITS_MS as f64);
            }
        }
        let cpu = millis(cpu) / READS as f64;
        line(&format!("processes, {}", self.name), 4, &mut ours, &mut theirs, &mut over, cpu);
    }

    /// What starts the action: the script that the program runs, by its name in the library.
    fn start(&self, direct: &mut Direct) -> Value {
        let files = direct.json(Request::get("/api/libraryfiles")).0;
        let mut names = files["value"].as_array().expect("a list").iter().filter_map(|row| row["fileName"].as_str());
        let script = names.find(|name| name.starts_with("lr-processes-") && name.ends_with(".ps1")).expect("the pack");
        let word = json!({ "nonce": format!("{:032x}", 1), "limit_s": 540, "args": self.args }).to_string();
        json!({
            "Commands": [{ "type": "RunScript", "params": [
                { "key": "ScriptName", "value": script },
                { "key": "Args", "value": URL_SAFE_NO_PAD.encode(word) },
            ] }],
            "Comment": "live-response read [000000000000]",
        })
    }

    /// The tenant's own time: the four requests, without the wait between them.
    fn direct(&self, tenant: &Simulator, direct: &mut Direct, body: &Value) -> Duration {
        let mut own = Duration::ZERO;
        let mut timed = |request: Request| {
            let (answer, took) = direct.json(request);
            own += took;
            answer
        };
        let action = timed(Request::post(format!("/api/machines/{}/runliveresponse", self.id), body));
        std::thread::sleep(Duration::from_millis(POLL_MS));
        let action = action["id"].as_str().expect("an id").to_owned();
        let ended = timed(Request::get(format!("/api/machineactions/{action}")));
        assert_eq!(ended["status"], "Succeeded", "the action takes longer than {POLL_MS} ms");
        let path = format!("/api/machineactions/{action}/GetLiveResponseResultDownloadLink(index=0)");
        let link = timed(Request::get(path));
        let link = link["value"].as_str().and_then(|l| l.strip_prefix(tenant.url())).expect("a link").to_owned();
        timed(Request::get(link));
        own
    }
}

fn line(name: &str, requests: usize, ours: &mut [f64], theirs: &mut [f64], over: &mut [f64], cpu: f64) {
    println!(
        "  {name:<14} {requests} requests: ours {:>7.2} ms, tenant's own {:>6.2} ms, overhead p50 {:>6.2} ms p90 {:>6.2} ms, processor {cpu:.2} ms",
        percentile(ours, 50),
        percentile(theirs, 50),
        percentile(over, 50),
        percentile(over, 90),
    );
}
