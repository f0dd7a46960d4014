//! One read of every device of the tenant, beside the least time that its limits allow.
//!
//! The least time: an action takes `ACTION_MS`, at most 25 run at once, and the start that comes `starts` after another
//! comes a minute after it. What comes on top is ours: looking how actions go, fetching, shaping, and that a start
//! counts from its answer, which is the sure way to count.

use crate::program::Place;
use crate::support::defender::Simulator;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const ACTION_MS: u64 = 1000;
const SESSIONS: usize = 25;

pub fn print(devices: u64, starts: u64) {
    println!("{devices} devices swept with `processes`, {starts} starts a minute, actions of {ACTION_MS} ms");
    for devices in [devices / 5, devices] {
        let (took, peak) = swept(devices, starts);
        let least = least(devices, starts);
        println!(
            "  {devices:>5} devices: {:>6.2} s, the least possible {:>6.2} s, {:+.1} % (target: 5), peak memory {:.1} MiB",
            took.as_secs_f64(),
            least.as_secs_f64(),
            (took.as_secs_f64() / least.as_secs_f64() - 1.0) * 100.0,
            peak as f64 / 1024.0
        );
    }
}

fn swept(devices: u64, starts: u64) -> (Duration, u64) {
    let (count, limit, action) = (devices.to_string(), starts.to_string(), ACTION_MS.to_string());
    let tenant = Simulator::start(&[
        "--devices",
        &count,
        "--platforms",
        "windows",
        "--starts-per-minute",
        &limit,
        "--action-ms",
        &action,
    ]);
    let able = |device: Value| json!({ "device": { "device": device["id"], "online": true, "automated": true } });
    tenant.control(Value::Array(tenant.devices().into_iter().map(able).collect()));
    let limits = [("starts_per_minute", starts), ("poll_first_ms", 100), ("poll_max_ms", 150)];
    let place = Place::new(&tenant, &limits);
    place.sync();
    let mut server = place.serve();
    // Process 4 is `System`: a row a device.
    let params = json!({ "devices": ["backend=defender and platform=windows"], "filter": "pid=4", "limit": 1000 });
    let start = Instant::now();
    let mut result = server.result("processes", &params).0;
    while result["state"] == "running" {
        let id = json!({ "command_id": result["command_id"] });
        result = server.result("fg", &id).0["data"]["command"].take();
    }
    let took = start.elapsed();
    assert_eq!(result["state"], "completed", "{result}");
    assert_eq!(result["page"]["total"], devices, "{}", result["warnings"]);
    (took, server.peak_memory())
}

fn least(devices: u64, starts: u64) -> Duration {
    let mut began: Vec<u64> = Vec::new();
    for n in 0..usize::try_from(devices).expect("a count") {
        let before = |back: usize, wait: u64| n.checked_sub(back).map_or(0, |n| began[n] + wait);
        began.push(before(SESSIONS, ACTION_MS).max(before(usize::try_from(starts).expect("a count"), 60_000)));
    }
    Duration::from_millis(began.last().map_or(0, |last| last + ACTION_MS))
}
