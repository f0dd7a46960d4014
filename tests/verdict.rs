//! `analyze` and `scan` through the real binary, against real engines and peers.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Home, Said, tools};

/// The harmless test file, put together here so that no scanner takes this source for it.
fn eicar() -> Vec<u8> {
    [r"X5O!P%@AP[4\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-", "TEST-FILE!$H+H*"].concat().into_bytes()
}

fn rows(answer: &Value) -> Vec<(String, String, String)> {
    let text = |row: &Value, field: &str| row[field].as_str().unwrap_or_default().to_owned();
    let rows = answer["data"]["rows"].as_array().unwrap_or_else(|| panic!("no rows: {answer}"));
    rows.iter().map(|r| (text(r, "path"), text(r, "engine"), text(r, "name"))).collect()
}

/// A daemon of our own on a socket of our own, with signatures of our own.
struct Clamd {
    child: Child,
    socket: PathBuf,
}

impl Clamd {
    fn start(home: &Home) -> Clamd {
        let folder = home.path().join("clamd");
        std::fs::create_dir_all(folder.join("db")).expect("a folder");
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).expect("a file");
        write("db/test.hdb", "44d88612fea8a8f36de82e1278abb02f:68:Test.Eicar\n".into());
        let hex: String = b"a-marker-of-a-test".iter().map(|b| format!("{b:02x}")).collect();
        write("db/test.ndb", format!("Test.Marker:0:*:{hex}\n"));
        let socket = folder.join("s");
        let lines = [
            format!("LocalSocket {}", socket.display()),
            format!("DatabaseDirectory {}", folder.join("db").display()),
            format!("TemporaryDirectory {}", folder.display()),
            "Foreground yes".into(),
            "SelfCheck 0".into(),
        ];
        write("conf", lines.join("\n") + "\n");
        let program = ["/usr/sbin/clamd", "/usr/bin/clamd"].into_iter().find(|p| Path::new(p).is_file());
        let mut command = Command::new(program.unwrap_or("clamd"));
        command.arg(format!("--config-file={}", folder.join("conf").display()));
        let output = std::fs::File::create(folder.join("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a log")).stderr(output);
        let mut clamd = Clamd { child: command.spawn().expect("clamd"), socket };
        let deadline = Instant::now() + Duration::from_secs(120);
        while std::os::unix::net::UnixStream::connect(&clamd.socket).is_err() {
            let log = || std::fs::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(clamd.child.try_wait().expect("its state").is_none(), "clamd ended: {}", log());
            assert!(Instant::now() < deadline, "clamd has no socket: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        clamd
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configured(home: &Home, socket: &Path) {
    let folder = home.path().join("config/live-response");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("config.toml"), format!("[local]\nclamd = {:?}\n", socket)).expect("a file");
}

#[test]
fn a_real_clamd_is_asked() {
    if !tools::have("clamd") {
        return;
    }
    let home = Home::new();
    let clamd = Clamd::start(&home);
    configured(&home, &clamd.socket);
    let bad = home.file("bad.bin", "x a-marker-of-a-test x");
    home.file("eicar.com", eicar());
    home.file("good.txt", "nothing");
    let report = home.call("analyze", json!({ "type": "file", "id": bad })).expect(0).json();
    let report = &report["data"]["report"];
    let scan = report["scans"].as_array().expect("scans").iter().find(|s| s["engine"] == "clamd").expect("clamd");
    assert_eq!((&report["status"], &scan["status"]), (&json!("infected"), &json!("infected")), "{report}");
    assert!(scan["detections"][0].as_str().expect("a name").starts_with("Test.Marker"), "{report}");

    let answer = home.call("scan", json!({ "path": home.files() })).expect(0).json();
    let found: BTreeSet<(String, String)> =
        rows(&answer).into_iter().filter(|r| r.1 == "clamd").map(|r| (r.0, r.2)).collect();
    let names: Vec<&str> = found.iter().map(|(_, name)| name.split(".UNOFFICIAL").next().unwrap_or_default()).collect();
    assert_eq!(names, ["Test.Marker", "Test.Eicar"], "{answer}");
    assert_eq!(answer["data"]["engines"][2], json!({ "engine": "clamd", "status": "ready" }));
}

#[test]
fn a_clamd_that_is_gone_is_said_and_the_other_engines_work() {
    let home = Home::new();
    configured(&home, &home.path().join("no-socket"));
    let file = home.file("eicar.com", eicar());
    let answer = home.call("scan", json!({ "path": file })).expect(0).json();
    assert_eq!(answer["data"]["engines"][2]["status"], "not_available", "{answer}");
    assert_eq!(rows(&answer).len(), usize::from(cfg!(feature = "yara")), "{answer}");
    let socket = home.path().join("closed");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    configured(&home, &socket);
    let answer = home.call("analyze", json!({ "type": "file", "id": file })).expect(0).json();
    let scans = answer["data"]["report"]["scans"].as_array().expect("scans");
    assert!(scans.iter().any(|s| s["engine"] == "clamd" && s["status"] == "error"), "{answer}");
}

const RULES: &str = r#"
import "hash"
import "math"
rule words { strings: $a = "lazy" fullword $b = "FOX" nocase condition: $a and $b }
rule wide_or_plain { strings: $a = "secret" wide ascii condition: $a }
rule bytes { strings: $a = { 00 01 [2-4] 05 ?6 ( 07 | 08 ) } condition: $a }
rule expression { strings: $a = /[a-f0-9]{8}-[a-f0-9]{4}/ condition: #a > 2 }
rule number { condition: uint16(0) == 0x5a4d and filesize > 100 }
rule place { strings: $a = "mark" condition: $a at 17 or $a in (filesize - 40 .. filesize) }
rule xored { strings: $a = "hidden text" xor(1-255) condition: $a }
rule encoded { strings: $a = "attack at dawn" base64 condition: $a }
rule of_them { strings: $a1 = "one" $a2 = "two" $a3 = "three" $b = "four" condition: 2 of ($a*) and not $b }
rule dense { condition: filesize > 1000 and math.entropy(0, filesize) > 7.5 }
rule exact { condition: hash.md5(0, filesize) == "44d88612fea8a8f36de82e1278abb02f" }
rule loops { strings: $a = "ab" condition: #a >= 3 and for all i in (2..#a) : (@a[i] - @a[i-1] < 50) }
"#;

/// Bytes that differ from file to file and fit some rules.
fn content(i: u32) -> Vec<u8> {
    let mut x = i.wrapping_mul(2_654_435_761) | 1;
    let mut next = move || {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        x
    };
    let parts: [&[u8]; 16] = [
        b"the lazy dog and the fox ",
        b"s\0e\0c\0r\0e\0t\0",
        b"secret",
        &[0, 1, 9, 9, 9, 5, 0x16, 8],
        b"deadbeef-1234 ",
        b"mark",
        b"iheedo!udyu",
        b"YXR0YWNrIGF0IGRhd24h",
        b"one two ",
        b"three four",
        b"abxxab",
        b"ab",
        b"\n\n\0",
        b"plain words of no meaning ",
        b"\xff\xfe",
        b"lazyfox",
    ];
    let mut bytes = if next() % 5 == 0 { b"MZ".to_vec() } else { Vec::new() };
    for _ in 0..next() % 20 {
        bytes.extend_from_slice(parts[next() as usize % parts.len()]);
    }
    if next() % 10 == 0 {
        bytes.extend((0..3_000).map(|_| next().to_le_bytes()[1]));
    }
    bytes
}

#[cfg(feature = "yara")]
#[test]
fn ten_thousand_files_have_the_matches_that_yara_has() {
    if !tools::have("yara") {
        return;
    }
    let home = Home::new();
    let rules = home.state().join("rules");
    std::fs::create_dir_all(&rules).expect("a folder");
    std::fs::write(rules.join("all.yar"), RULES).expect("a file");
    let tree = home.path().join("tree");
    for i in 0..10_000 {
        let folder = tree.join(format!("{}", i / 500));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join(format!("{i}")), content(i)).expect("a file");
    }
    std::fs::write(tree.join("eicar"), eicar()).expect("a file");
    let peer = Command::new("yara").arg("-r").arg(rules.join("all.yar")).arg(&tree).output().expect("yara");
    assert!(peer.status.success(), "{}", String::from_utf8_lossy(&peer.stderr));
    let theirs: BTreeSet<(String, String)> = String::from_utf8_lossy(&peer.stdout)
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(rule, path)| (path.to_owned(), rule.to_owned()))
        .collect();
    let line = format!("scan path {} -output json", tree.display());
    let ours = home.run(&["console", "-c", &line], "").expect(0).json();
    let rows = ours.as_array().expect("rows");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ours: BTreeSet<(String, String)> = rows
        .iter()
        .map(|row| (text(&row["path"]), text(&row["name"])))
        .filter(|(_, name)| name != "eicar_test_file")
        .collect();
    let only = |a: &BTreeSet<(String, String)>, b: &BTreeSet<(String, String)>| {
        a.difference(b).take(10).cloned().collect::<Vec<_>>()
    };
    assert!(ours == theirs, "ours alone: {:?}; yara's alone: {:?}", only(&ours, &theirs), only(&theirs, &ours));
    let fitting: BTreeSet<&str> = ours.iter().map(|(_, rule)| rule.as_str()).collect();
    assert!(ours.len() > 5_000 && fitting.len() == 12, "{} matches of {fitting:?}", ours.len());
}

#[test]
fn the_starter_rules_find_nothing_on_a_clean_system() {
    let Some(root) = support::tools::corpus("debian") else { return };
    let home = Home::new();
    // No daemon of this machine has a say.
    let config = home.file("config.toml", "[local]\nclamd = \"/nonexistent/clamd\"\n");
    for path in ["usr/bin", "usr/sbin", "etc"] {
        let arguments = json!({ "path": root.join(path) }).to_string();
        let answer = home.run(&["--config", config.to_str().unwrap(), "call", "scan", &arguments], "").expect(0).json();
        assert_eq!(rows(&answer), [], "{path}: {answer}");
        assert!(answer["data"]["files"].as_u64() > Some(10), "{path}: {answer}");
    }
}

/// One harmless program, packed by many packers (Debian's `clamav-testfiles`).
#[test]
fn packed_programs_are_suspicious() {
    let folder = Path::new("/usr/share/clamav-testfiles");
    if !folder.is_dir() {
        assert!(std::env::var_os("LIVE_RESPONSE_REQUIRE_TOOLS").is_none(), "it needs clamav-testfiles");
        println!("ignored: it needs clamav-testfiles");
        return;
    }
    let home = Home::new();
    for name in ["aspack", "mew", "petite", "upack", "upx", "pespin", "yc", "wwpack"] {
        // A copy: the packaged file is known, and so clean.
        let bytes = std::fs::read(folder.join(format!("clam-{name}.exe"))).expect("the file");
        let file = home.file(&format!("{name}.exe"), bytes);
        let answer = home.call("analyze", json!({ "type": "file", "id": file })).expect(0).json();
        let scans = answer["data"]["report"]["scans"].as_array().expect("scans");
        let of_static = scans.iter().find(|s| s["engine"] == "static").expect("static");
        assert_eq!(of_static["status"], "suspicious", "{name}: {answer}");
    }
}

#[test]
fn a_scan_ends_soon_after_its_cancel() {
    let home = Home::new();
    let mut rpc = support::Rpc::start(&home);
    rpc.call("connect", json!({}));
    let running = rpc.call("scan", json!({ "type": "full", "background": true }));
    assert_eq!(running["state"], "running", "{running}");
    let command = json!({ "command_id": running["command_id"] });
    rpc.call("cancel", command.clone());
    let ended = rpc.call("fg", command);
    // A small root may be through before the cancel comes.
    let state = &ended["data"]["command"]["state"];
    assert!(state == "cancelled" || state == "completed", "{ended}");
}
