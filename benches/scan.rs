//! `scan path` against Debian's `yara -r` with the same rules, in one run: matches compared, medians and peak memory
//! printed. Judges nothing but that the matches are the same.
//!
//! cargo bench --bench scan

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const FILES: u32 = 10_000;
const RULES: u32 = 100;

fn main() {
    let root = std::env::temp_dir().join(format!("live-response-scan-{}", std::process::id()));
    fs::create_dir_all(root.join("home/rules")).expect("a scratch folder");
    let rules = root.join("home/rules/all.yar");
    fs::write(&rules, rules_text()).expect("rules");
    let bytes = fill(&root.join("tree"));
    println!("{FILES} files, {} MB, {RULES} rules", bytes / 1_000_000);
    compare(&root, &rules);
    let _ = fs::remove_dir_all(root);
}

fn rules_text() -> String {
    let rule = |i: u32| {
        format!(
            "rule r{i} {{ strings: $a = \"needle-{i:04}-\" nocase $b = /key{i:02}[0-9a-f]{{6,12}}=/ \
             $c = {{ {:02x} ?? 4c 52 [2-6] {:02x} 77 }} condition: any of them }}\n",
            i % 251 + 1,
            i % 239 + 3
        )
    };
    (0..RULES).map(rule).collect()
}

/// Files as a disk has them: most small, some large, half of them text.
fn fill(tree: &Path) -> u64 {
    let mut x = 88_172_645u32;
    let mut next = move || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    };
    let mut all = 0;
    for i in 0..FILES {
        let folder = tree.join(format!("{}", i / 250));
        fs::create_dir_all(&folder).expect("a folder");
        let length = match next() % 100 {
            0 => 2_000_000,
            1..=9 => 200_000,
            _ => next() % 60_000,
        };
        let is_text = next() % 2 == 0;
        let byte = |n: u32| if is_text { b' ' + u8::try_from(n % 95).expect("small") } else { n.to_le_bytes()[2] };
        let mut bytes: Vec<u8> = (0..length).map(|_| byte(next())).collect();
        if next() % 4 == 0 {
            bytes.extend_from_slice(format!("needle-{:04}- key{:02}abcdef12=", next() % 400, next() % 100).as_bytes());
        }
        all += bytes.len() as u64;
        fs::write(folder.join(format!("{i}")), bytes).expect("a file");
    }
    all
}

fn compare(root: &Path, rules: &Path) {
    let tree = root.join("tree");
    let ours = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_live-response"));
        command.args(["console", "-c", &format!("scan path {} -output json", tree.display())]);
        command.env("LIVE_RESPONSE_HOME", root.join("home")).env("XDG_CONFIG_HOME", root.join("config"));
        command.env_remove("LIVE_RESPONSE_CONFIG");
        command
    };
    let theirs = |threads: &str| {
        let mut command = Command::new("yara");
        command.args(["-r", "-p", threads]).arg(rules).arg(&tree);
        command
    };
    let (Some(our_matches), Some(their_matches)) = (matches_of(ours()), yara_matches(theirs("1"))) else {
        println!("yara is not here or failed");
        return;
    };
    assert!(our_matches == their_matches, "{} matches and {}", our_matches.len(), their_matches.len());
    println!("{} matches, the same as yara's", our_matches.len());
    let threads = std::thread::available_parallelism().map_or(1, usize::from).to_string();
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (mut command, times) in [ours(), theirs("1"), theirs(&threads)].into_iter().zip(&mut times) {
            let start = Instant::now();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("it runs");
            times.push(start.elapsed());
        }
    }
    let [ours_ms, one, all] = times.map(median);
    println!("{:<28} {:>10} {:>10} {:>7}", "command", "ours ms", "peer ms", "ratio");
    println!("{:<28} {ours_ms:>10.0} {one:>10.0} {:>6.2}x", "yara -r -p 1", one / ours_ms);
    println!("{:<28} {ours_ms:>10.0} {all:>10.0} {:>6.2}x", format!("yara -r -p {threads}"), all / ours_ms);
    if let Some(kb) = peak_kb(ours()) {
        println!("peak memory {} MiB", kb / 1024);
    }
}

type Matches = BTreeSet<(PathBuf, String)>;

fn matches_of(mut command: Command) -> Option<Matches> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let rows = answer.as_array()?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Some(rows.iter().map(|row| (PathBuf::from(text(&row["path"])), text(&row["name"]))).collect())
}

fn yara_matches(mut command: Command) -> Option<Matches> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.lines().filter_map(|l| l.split_once(' ')).map(|(rule, path)| (path.into(), rule.to_owned())).collect())
}

/// The kernel's high-water mark, read while the command runs.
fn peak_kb(mut command: Command) -> Option<u64> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let mut peak = None;
    while child.try_wait().ok()?.is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let mark = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
        peak = mark.and_then(|m| m.trim().trim_end_matches(" kB").parse().ok()).or(peak);
        std::thread::sleep(Duration::from_millis(5));
    }
    peak
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
