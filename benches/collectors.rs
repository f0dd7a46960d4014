//! Whole commands against the peer tools, in one run: `live-response console -c …` with every row printed, beside `ps
//! aux`, `ss -tanp`, `ls -l`, `find`, `fd`, `sha256sum` and `tar | zstd`. Prints the medians and their ratio; judges nothing.
//!
//! cargo bench --bench collectors [-- NAME…]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let [role, value] = arguments.as_slice() {
        match role.as_str() {
            "hold-sockets" => return hold_sockets(value.parse().expect("a count")),
            "three-hashes" => return three_hashes(Path::new(value)),
            "tlsh" => return tlsh(Path::new(value)),
            _ => {}
        }
    }
    let root = std::env::temp_dir().join(format!("live-response-bench-{}", std::process::id()));
    fs::create_dir_all(&root).expect("a scratch folder");
    let bench = Bench { root: root.clone(), only: arguments };
    println!("{:<34} {:>10} {:>10} {:>7}  peer", "command", "ours ms", "peer ms", "ratio");
    bench.run("processes", processes);
    bench.run("connections", connections);
    bench.run("dir", dir);
    bench.run("findfile", findfile);
    bench.run("fileinfo", fileinfo);
    bench.run("collect", collect);
    bench.run("persistence", persistence);
    let _ = fs::remove_dir_all(root);
}

struct Bench {
    root: PathBuf,
    only: Vec<String>,
}

impl Bench {
    fn run(&self, name: &str, measure: fn(&Bench)) {
        if self.only.is_empty() || self.only.iter().any(|o| o == name) {
            measure(self);
        }
    }

    fn ours(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_live-response"));
        command.args(["console", "-c", line]);
        command.env("LIVE_RESPONSE_HOME", self.root.join("home")).env("XDG_CONFIG_HOME", self.root.join("config"));
        command.env_remove("LIVE_RESPONSE_CONFIG");
        command
    }

    fn against(&self, line: &str, peer: &[&str]) {
        let Some((program, arguments)) = peer.split_first() else { return };
        let mut theirs = Command::new(program);
        theirs.args(arguments);
        self.pair(line, self.ours(line), theirs, &peer.join(" "));
    }

    /// Ours and the peer in turns, so that both see the same machine.
    fn pair(&self, line: &str, mut ours: Command, mut theirs: Command, peer: &str) {
        let mut times: [Vec<Duration>; 2] = Default::default();
        for round in 0..=ROUNDS {
            for (command, times) in [&mut ours, &mut theirs].into_iter().zip(&mut times) {
                let Some(time) = time(command) else {
                    println!("{:<34} {:>10} {:>10} {:>7}  {peer} is not here or failed", line, "-", "-", "-");
                    return;
                };
                // The first round warms the caches.
                if round > 0 {
                    times.push(time);
                }
            }
        }
        let [ours, theirs] = times.map(median);
        println!("{line:<34} {ours:>10.1} {theirs:>10.1} {:>6.2}x  {peer}", theirs / ours);
    }
}

fn time(command: &mut Command) -> Option<Duration> {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok()?;
    status.success().then(|| start.elapsed())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

/// Children that are killed when the measurement is over.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn processes(bench: &Bench) {
    let sleep = |_| Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("sleep");
    let _children = Children((0..1000).map(sleep).collect());
    bench.against("processes", &["ps", "aux"]);
}

fn connections(bench: &Bench) {
    let own = std::env::current_exe().expect("this program");
    let holder = |_| {
        let mut child =
            Command::new(&own).args(["hold-sockets", "5000"]).stdout(Stdio::piped()).spawn().expect("a holder");
        let mut ready = String::new();
        let stdout = child.stdout.as_mut().expect("its stdout");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut ready).expect("its word");
        child
    };
    let _children = Children((0..2).map(holder).collect());
    bench.against("connections", &["ss", "-tanp"]);
}

/// Opens pairs of loopback sockets, says so, and holds them until it is killed.
fn hold_sockets(pairs: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let mut held = Vec::new();
    for _ in 0..pairs {
        let (Ok(near), Ok((far, _))) = (TcpStream::connect(address), listener.accept()) else { break };
        held.push((near, far));
    }
    println!("{}", held.len());
    std::thread::sleep(Duration::from_secs(600));
}

fn fill(folder: &Path, count: usize) {
    fs::create_dir_all(folder).expect("a folder");
    for i in 0..count {
        fs::File::create(folder.join(format!("file-{i:06}.{}", if i % 10 == 0 { "dll" } else { "txt" })))
            .expect("a file");
    }
}

fn dir(bench: &Bench) {
    let folder = bench.root.join("flat");
    fill(&folder, 100_000);
    let path = folder.to_string_lossy();
    bench.against(&format!("dir {path}"), &["ls", "-l", &path]);
}

fn findfile(bench: &Bench) {
    let tree = bench.root.join("tree");
    for i in 0..500 {
        fill(&tree.join(format!("{}/{}", i / 25, i % 25)), 1000);
    }
    let path = tree.to_string_lossy();
    let line = format!("findfile *.dll {path}");
    bench.against(&line, &["find", &path, "-name", "*.dll"]);
    // Debian's name for it is fdfind.
    let debian = Command::new("fdfind").arg("--version").stdout(Stdio::null()).status().is_ok();
    bench.against(&line, &[if debian { "fdfind" } else { "fd" }, "-uu", "-g", "*.dll", &path]);
}

fn fileinfo(bench: &Bench) {
    let file = bench.root.join("one-gib");
    let block: Vec<u8> = (0..1 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut out = fs::File::create(&file).expect("a file");
    for _ in 0..1024 {
        std::io::Write::write_all(&mut out, &block).expect("room for 1 GiB");
    }
    drop(out);
    let path = file.to_string_lossy();
    let own = std::env::current_exe().expect("this program");
    let role = |name: &str| {
        let mut command = Command::new(&own);
        command.args([name, &path]);
        command
    };
    let mut sha256sum = Command::new("sha256sum");
    sha256sum.arg(&*path);
    bench.pair("MD5, SHA-1, SHA-256 in one pass", role("three-hashes"), sha256sum, "sha256sum");
    bench.against(&format!("fileinfo {path}"), &["sha256sum", &path]);
    bench.pair(
        &format!("fileinfo {path}"),
        bench.ours(&format!("fileinfo {path}")),
        role("tlsh"),
        "TLSH alone (fast-tlsh)",
    );
}

/// A gibibyte of lines like a log's, in an image that has nothing else: with a manifest and sealed, against an archive.
fn collect(bench: &Bench) {
    let log = bench.root.join("image/var/log");
    fs::create_dir_all(&log).expect("a folder");
    let mut seed = 1u64;
    let mut number = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    for i in 0..256 {
        let mut text = String::with_capacity(4 << 20);
        while text.len() < 4 << 20 {
            let (a, b, c) = (number(), number(), number());
            text.push_str(&format!(
                "2026-11-24T{:02}:{:02}:{:02}Z host-{} sshd[{}]: Failed password for user{} from 10.{}.{}.{} port {} ssh2\n",
                a % 24, a % 60, b % 60, i % 7, b % 32_768, c % 1000, a % 256, b % 256, c % 256, 1024 + b % 60_000
            ));
        }
        fs::write(log.join(format!("auth.log.{i}")), text).expect("room for 1 GiB");
    }
    let image = bench.root.join("image");
    let mut ours = Command::new(env!("CARGO_BIN_EXE_live-response"));
    ours.args(["call", "collect", "{}", "--device", &format!("image:{}", image.display())]);
    ours.env("LIVE_RESPONSE_HOME", bench.root.join("home")).env("XDG_CONFIG_HOME", bench.root.join("config"));
    ours.env_remove("LIVE_RESPONSE_CONFIG");
    let mut theirs = Command::new("sh");
    let archive = bench.root.join("peer.tar.zst");
    let line = "tar -C \"$0\" -cf - var/log | zstd -q -f -T0 -3 -o \"$1\" && sync \"$1\"";
    theirs.args(["-c", line]).arg(&image).arg(archive);
    bench.pair("collect of 1 GiB of logs, sealed", ours, theirs, "tar | zstd -T0 -3, synced");
}

/// The whole scan beside the part of it that one program does: the search for SUID files.
fn persistence(bench: &Bench) {
    bench.against("persistence", &["find", "/", "-xdev", "-perm", "/6000", "-type", "f"]);
}

/// What `fileinfo` does to a file's bytes, without TLSH.
fn three_hashes(file: &Path) {
    let file = fs::File::open(file).expect("the file");
    let digests =
        live_response::device::local::linux::hash::digest(&file, false, &live_response::model::Job::default());
    println!("{}", digests.expect("digests").sha256);
}

/// The peer crate alone.
fn tlsh(file: &Path) {
    use tlsh::prelude::*;
    let mut generator = TlshGenerator::new();
    let mut file = fs::File::open(file).expect("the file");
    let mut block = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut block).expect("bytes") {
            0 => break,
            n => generator.update(&block[..n]),
        }
    }
    println!("{}", generator.finalize().expect("a hash"));
}
