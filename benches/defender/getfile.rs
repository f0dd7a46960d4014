//! `getfile` of a large file: memory, and speed beside `curl | gzip -dc | tee | sha256sum` on the same result.
//!
//! The program reads the result twice: what Defender packed is taken off only where the device's own hash of the file
//! says so, and which it is shows at the end. Its time is that of the whole command. The file's hash is known to the
//! simulated device before, as its counting would hide what is measured.

use crate::direct::{Direct, Request};
use crate::millis;
use crate::program::Place;
use crate::support::defender::Simulator;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

const SMALL: u64 = 30;

pub fn print(mib: u64) {
    let tenant = Simulator::start(&["--devices", "10", "--action-ms", "100"]);
    let place = Place::new(&tenant, &[("poll_first_ms", 200)]);
    place.sync();
    let mut direct = Direct::new(&tenant);
    let device = tenant.device("windows").0;
    println!("getfile of a generated file on a Windows device, packed as Defender does");
    let mut peaks = Vec::new();
    for mib in [SMALL, mib] {
        let path = format!(r"C:\Dumps\{mib}.dmp");
        let size = mib << 20;
        tenant.control(json!({ "device": { "device": device, "file": { "path": path, "size_bytes": size } } }));
        let call = |tool: &str| place.run(&["call", tool, &json!({ "path": path }).to_string(), "--device", &device]);
        let facts: Value = serde_json::from_str(&call("fileinfo").0).expect("JSON");
        let (text, took, peak) = call("getfile");
        let got: Value = serde_json::from_str(&text).expect("JSON");
        let (sha256, copied) = copied(&tenant, &mut direct);
        for found in [&facts, &got] {
            assert_eq!(found["data"]["size_bytes"], size, "{found}");
            assert_eq!(found["data"]["sha256"], sha256, "{found}");
        }
        let speed = |took: Duration| size as f64 / 1e3 / millis(took);
        println!(
            "  {mib:>5} MiB: {:>6.2} s, {:>5.0} MB/s; curl, gzip, tee and sha256sum {:>6.2} s, {:>5.0} MB/s; peak memory {:.1} MiB",
            took.as_secs_f64(),
            speed(took),
            copied.as_secs_f64(),
            speed(copied),
            peak as f64 / 1024.0
        );
        peaks.push(peak as f64);
    }
    println!("  peak memory of the large beside the small: {:.2} x", peaks[1] / peaks[0]);
}

/// Fetches the newest action's file as a person would: its hash, and how long that took.
fn copied(tenant: &Simulator, direct: &mut Direct) -> (String, Duration) {
    let actions = direct.json(Request::get("/api/machineactions?$top=1")).0;
    let action = actions["value"][0]["id"].as_str().expect("an action").to_owned();
    let link = format!("/api/machineactions/{action}/GetLiveResponseResultDownloadLink(index=1)");
    let link = direct.json(Request::get(link)).0["value"].as_str().expect("a link").to_owned();
    let copy = tenant.folder().join("copy");
    let start = Instant::now();
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", "curl -sf \"$1\" | gzip -dc | tee \"$2\" | sha256sum", "-", &link])
        .arg(&copy)
        .output()
        .expect("bash");
    let took = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let _ = std::fs::remove_file(copy);
    (String::from_utf8_lossy(&output.stdout).split(' ').next().unwrap_or_default().to_owned(), took)
}
