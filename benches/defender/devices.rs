//! 10,000 devices, listed and filtered: how long from the end of the tenant's first page to the whole answer.
//!
//! A page is as large as the service makes it, 10,000 rows, and since it is full a second, empty one is asked for. When
//! the first has come is the time that a client which only reads it takes for the same request, right after each run;
//! what the program reads slower than that, counts.

use crate::direct::{Direct, Request};
use crate::program::Place;
use crate::support::defender::Simulator;
use crate::{millis, percentile};
use serde_json::{Value, json};

const DEVICES: usize = 10_000;
const RUNS: usize = 15;

pub fn print() {
    let tenant = Simulator::start(&["--devices", &DEVICES.to_string()]);
    let place = Place::new(&tenant, &[]);
    let mut direct = Direct::new(&tenant);
    let first = Request::get(format!("/api/machines?$top={DEVICES}"));
    let page = direct.ask(std::slice::from_ref(&first)).0;
    println!(
        "{DEVICES} devices ({:.1} MB a page): from the end of the first page to the answer, median of {RUNS} (target: 300 ms)",
        page.len() as f64 / 1e6
    );
    let wanted = rows(&page, |row| {
        row["osPlatform"].as_str().is_some_and(|os| os.starts_with("Windows"))
            && row["computerDnsName"].as_str().is_some_and(|name| name.to_lowercase().contains("fra"))
    });
    let filtered = json!({ "backend": "defender", "filter": "platform=windows and name~fra", "sort": "-last_seen",
        "limit": 1000 });
    let mut server = place.serve();
    for (name, params, total) in
        [("listed", json!({ "backend": "defender" }), DEVICES), ("filtered and sorted", filtered, wanted)]
    {
        let (answer, _) = server.result("devices", &params);
        assert_eq!(answer["page"]["total"], total, "{name}");
        let mut after = Vec::new();
        let processor = server.processor_time();
        for _ in 0..RUNS {
            let took = server.call("devices", &params).1;
            after.push(millis(took) - millis(direct.ask(std::slice::from_ref(&first)).1));
        }
        let processor = millis(server.processor_time() - processor) / RUNS as f64;
        line(name, &mut after, server.peak_memory());
        println!("    processor time in all, the first page's reading among it: {processor:.0} ms");
    }
    let mut after = Vec::new();
    let mut most = 0;
    for _ in 0..RUNS {
        let (text, took, memory) = place.run(&["devices", "--json"]);
        let listed: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        assert!(listed.len() >= DEVICES, "{}", listed.len());
        after.push(millis(took) - millis(direct.ask(std::slice::from_ref(&first)).1));
        most = most.max(memory);
    }
    line("`live-response devices --json`", &mut after, most);
}

fn line(name: &str, after: &mut [f64], memory: u64) {
    println!(
        "  {name:<31} p50 {:>6.0} ms  p90 {:>6.0} ms, peak memory {:.0} MiB",
        percentile(after, 50),
        percentile(after, 90),
        memory as f64 / 1024.0
    );
}

fn rows(page: &[u8], is_wanted: impl Fn(&Value) -> bool) -> usize {
    let page: Value = serde_json::from_slice(page).expect("JSON");
    page["value"].as_array().expect("rows").iter().filter(|row| is_wanted(row)).count()
}
