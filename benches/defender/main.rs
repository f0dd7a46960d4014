//! Figures of the Defender backend: the real program against the simulated tenant, in one run. Printed with their
//! targets; judges nothing but that the answers are right.
//!
//! cargo bench --bench defender [-- overhead|devices|getfile [MIB]|sweep [DEVICES STARTS_PER_MINUTE]]...

mod devices;
mod direct;
mod getfile;
mod overhead;
mod program;
#[path = "../../tests/support/mod.rs"]
mod support;
mod sweep;

use std::time::Duration;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let numbers = |name: &str| -> Option<Vec<u64>> {
        let at = arguments.iter().position(|a| a == name)?;
        Some(arguments.iter().skip(at + 1).map_while(|a| a.parse().ok()).collect())
    };
    let names = ["overhead", "devices", "getfile", "sweep"];
    if let Some(other) = arguments.iter().find(|a| !names.contains(&a.as_str()) && a.parse::<u64>().is_err()) {
        eprintln!("there is no figure {other}: take of {}", names.join(", "));
        std::process::exit(2);
    }
    let is_asked = |name: &str| arguments.is_empty() || numbers(name).is_some();
    support::defender::build();
    if is_asked("overhead") {
        overhead::print();
    }
    if is_asked("devices") {
        devices::print();
    }
    if is_asked("getfile") {
        getfile::print(numbers("getfile").and_then(|n| n.first().copied()).unwrap_or(300));
    }
    if is_asked("sweep") {
        let numbers = numbers("sweep").unwrap_or_default();
        sweep::print(numbers.first().copied().unwrap_or(500), numbers.get(1).copied().unwrap_or(250));
    }
}

/// The value that so many of a hundred do not exceed.
fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() * percent / 100).copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
