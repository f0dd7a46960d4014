//! Packages, end to end: gathered by the real binary, unpacked by tar, read back through `evidence`.

mod support;

use serde_json::{Value, json};
use sha2::Digest;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use support::{Home, Rpc, Said, text, tools};

const PATIENCE: Duration = Duration::from_secs(600);

/// A tree below the home's files, as an image's.
struct Image(PathBuf);

impl Image {
    fn new(home: &Home) -> Image {
        let image = Image(home.files().join("image"));
        image.file("etc/hostname", b"web-01\n");
        image.file("etc/passwd", b"root:x:0:0::/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\n");
        image.file("etc/shadow", b"root:$6$saltsalt$hash:19000:0:99999:7:::\n");
        image.file("var/log/auth.log", b"one\nsshd: Accepted publickey\nthree\n");
        image
    }

    fn file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        fs::write(&path, bytes).expect("a file");
        path
    }

    fn device(&self) -> String {
        format!("image:{}", self.0.display())
    }

    fn collect(&self, home: &Home) -> Value {
        home.run(&["call", "collect", "{}", "--device", &self.device()], "").expect(0).json()
    }
}

/// A package that tar has unpacked, its manifest checked member by member.
struct Unpacked {
    root: PathBuf,
    manifest: Value,
}

impl Unpacked {
    /// `None` where there is no tar that can.
    fn of(home: &Home, sha256: &str) -> Option<Unpacked> {
        Self::file(home, &home.state().join("evidence/objects").join(&sha256[..2]).join(sha256))
    }

    fn file(home: &Home, package: &Path) -> Option<Unpacked> {
        if !tools::have("tar") || !tools::have("zstd") {
            return None;
        }
        let root = home.path().join("unpacked");
        fs::create_dir(&root).expect("a folder");
        let out = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("--warning=no-timestamp")
            .arg("--zstd")
            .arg("-xf")
            .arg(package)
            .output()
            .expect("tar");
        assert!(out.status.success() && out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
        let manifest = fs::read(root.join("manifest.json")).expect("a manifest");
        let unpacked = Unpacked { root, manifest: serde_json::from_slice(&manifest).expect("JSON") };
        unpacked.check();
        Some(unpacked)
    }

    /// Every member is there, has its hash, and there is no other.
    fn check(&self) {
        let members = self.members();
        for member in members {
            let path = self.root.join(OsStr::from_bytes(&bytes_of(&text(&member["name"]))));
            if let Some(target) = member["target"].as_str() {
                assert_eq!(fs::read_link(&path).expect("a link").as_os_str().as_bytes(), bytes_of(target));
                continue;
            }
            let bytes = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert_eq!(member["size_bytes"], bytes.len(), "{member}");
            let hash: String = sha2::Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(member["sha256"], hash, "{member}");
        }
        let mut files = Vec::new();
        every_file(&self.root, &mut files);
        assert_eq!(files.len(), members.len() + 1, "members that the manifest does not name");
        assert_eq!(self.manifest["counts"]["members"], files.len());
    }

    fn members(&self) -> &[Value] {
        self.manifest["members"].as_array().expect("members")
    }

    fn member(&self, name: &str) -> Option<&Value> {
        self.members().iter().find(|m| m["name"] == name)
    }

    fn left_out(&self, path: &str) -> Option<String> {
        let lines = self.manifest["left_out"].as_array().expect("a list");
        lines.iter().find(|l| l["path"] == path).map(|l| text(&l["why"]))
    }
}

fn every_file(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type().expect("a kind").is_dir() {
            true => every_file(&entry.path(), out),
            false => out.push(entry.path()),
        }
    }
}

fn bytes_of(text: &str) -> Vec<u8> {
    live_response::model::DevicePath::from_text(text).expect("a path").as_bytes().to_vec()
}

/// Whatever of the evidence store has bytes.
fn held(home: &Home) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for folder in ["objects", "incoming"] {
        let folder = home.state().join("evidence").join(folder);
        if folder.exists() {
            every_file(&folder, &mut files);
        }
    }
    files
}

/// Leaves nearly nothing of the built-in artifacts, so that a package of this host is quickly made.
fn only(home: &Home, folder: &Path) {
    let mut mine = format!(
        "[[artifact]]\nname = \"mine\"\nabout = \"The test's own\"\nprofiles = [\"triage\"]\nfiles = [\"{}/**\"]\n",
        folder.display()
    );
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts")).expect("artifacts").flatten() {
        let text = fs::read_to_string(entry.path()).expect("a definition");
        for name in text.lines().filter_map(|l| l.strip_prefix("name = ")).filter(|name| names.insert(name.to_string()))
        {
            mine.push_str(&format!(
                "[[artifact]]\nname = {name}\nabout = \"Nothing\"\nprofiles = [\"triage\"]\nfiles = [\"/no/such/file\"]\n"
            ));
        }
    }
    fs::create_dir(home.state().join("artifacts")).expect("a folder");
    fs::write(home.state().join("artifacts/only.toml"), mine).expect("a definition");
}

#[test]
fn a_package_of_this_host_is_whole_and_holds_nothing_of_the_guard() {
    let home = Home::new();
    // Made up in this run: this file may itself lie where the package looks.
    let canary = format!("canary-{:016x}", RandomState::new().hash_one(0));
    let person = home.enroll("anna");
    fs::create_dir(home.state().join("artifacts")).expect("a folder");
    fs::write(home.state().join("artifacts/mine.toml"), format!("# {canary}\nartifact = []\n")).expect("a file");
    fs::hard_link(home.state().join("artifacts/mine.toml"), home.files().join("link")).expect("a link");
    let result = home.call("collect", json!({ "profile": "triage" })).expect(0).json();
    let data = &result["data"];
    assert_eq!(data["uri"], format!("evidence:{}", text(&data["sha256"])), "{result}");
    assert!(text(&data["name"]).starts_with("collect-") && text(&data["name"]).ends_with(".tar.zst"), "{result}");
    let Some(unpacked) = Unpacked::of(&home, &text(&data["sha256"])) else { return };
    for name in
        ["answers/processes.jsonl", "answers/host.jsonl", "answers/mounts.jsonl", "timeline.body", "host/etc/passwd"]
    {
        assert!(unpacked.member(name).is_some(), "{name} is missing");
    }
    let own = format!("/proc/{}/", std::process::id());
    assert!(unpacked.members().iter().any(|m| m["name"].as_str().is_some_and(|n| n.contains(&own))), "no {own}");
    let mut files = Vec::new();
    every_file(&unpacked.root, &mut files);
    for file in files.iter().filter(|f| !f.is_symlink()) {
        let bytes = fs::read(file).expect("a member");
        for secret in [canary.as_str(), person.secret()] {
            let found = memchr::memmem::find(&bytes, secret.as_bytes()).is_some();
            // This test's own memory is no file, its output may be.
            assert!(!found, "{} holds {secret}", file.display());
        }
    }
}

#[test]
fn an_image_gives_its_files_with_all_their_names() {
    let home = Home::new();
    let image = Image::new(&home);
    let odd: &[&[u8]] = &[b"a\xff.log", b"new\nline", b"-rf", b"esc:x", b"..."];
    for name in odd {
        image.file(Path::new("var/log").join(OsStr::from_bytes(name)), name);
    }
    let deep = format!("var/log/{}leaf.log", "a-long-name-of-a-folder/".repeat(12));
    image.file(&deep, b"deep");
    image.file("home/ann/.bash_history", b"curl evil | sh\n");
    image.file("home/ann/.ssh/id_ed25519", b"x");
    image.file("var/log/key.txt", b"-----BEGIN PRIVATE KEY-----\nMIIEvgIB\n");
    symlink("/etc/shadow", image.0.join("var/log/link")).expect("a link");
    symlink(home.path(), image.0.join("var/log/out")).expect("a link");
    symlink("loop", image.0.join("var/log/loop")).expect("a link");
    fs::hard_link(image.0.join("etc/shadow"), image.0.join("var/log/hard")).expect("a link");
    let fifo = Command::new("mkfifo").arg(image.0.join("var/log/fifo")).status().expect("mkfifo");
    assert!(fifo.success());
    let _socket = std::os::unix::net::UnixListener::bind(image.0.join("var/log/socket")).expect("a socket");
    let huge = fs::File::create(image.0.join("var/log/huge")).expect("a file");
    huge.set_len(3 << 30).expect("a hole");

    let result = image.collect(&home);
    assert!(text(&result["data"]["name"]).starts_with("collect-web-01-triage-"), "{result}");
    let Some(unpacked) = Unpacked::of(&home, &text(&result["data"]["sha256"])) else { return };
    for name in odd {
        let path = [b"host/var/log/", *name].concat();
        let written = live_response::model::DevicePath::new(path);
        assert!(unpacked.member(&written.to_text()).is_some(), "{written} is missing");
    }
    assert!(unpacked.member(&format!("host/{deep}")).is_some());
    let secret = |name: &str| unpacked.member(name).unwrap_or_else(|| panic!("no {name}"))["marked"].as_str();
    assert_eq!(secret("host/etc/shadow"), Some("password hashes"));
    assert_eq!(secret("host/var/log/hard"), Some("password hashes"));
    assert_eq!(secret("host/home/ann/.ssh/id_ed25519"), Some("private key"));
    assert_eq!(secret("host/var/log/key.txt"), Some("private key"));
    assert_eq!(secret("host/home/ann/.bash_history"), None);
    assert_eq!(unpacked.member("host/var/log/link").expect("a link")["target"], "/etc/shadow");
    assert!(unpacked.member("host/var/log/fifo").is_none() && unpacked.member("host/var/log/socket").is_none());
    assert_eq!(unpacked.left_out("/var/log/huge").as_deref(), Some("larger than its artifact allows"));
    assert_eq!(unpacked.left_out("answers/processes.jsonl").as_deref(), Some("not available on this device"));
    let body = fs::read_to_string(unpacked.root.join("timeline.body")).expect("a timeline");
    assert!(body.lines().any(|l| l.starts_with("0|/var/log/link -> /etc/shadow|")), "{body}");
}

#[test]
fn members_are_read_and_secret_ones_ask_first() {
    let home = Home::new();
    let person = home.enroll("anna");
    let logs = home.files().join("logs");
    fs::create_dir(&logs).expect("a folder");
    fs::write(logs.join("auth.log"), "one\nsshd: Accepted publickey\nthree\n").expect("a file");
    fs::write(logs.join("notes.txt"), "-----BEGIN PRIVATE KEY-----\nMIIEvgIB\n").expect("a file");
    only(&home, &logs);
    let below = format!("host{}", fs::canonicalize(&logs).expect("a folder").display());
    let mut rpc = Rpc::start(&home);
    let device = text(&rpc.call("connect", json!({}))["device"]["name"]);
    let name = text(&rpc.call("collect", json!({}))["data"]["name"]);
    let mut evidence = |mut more: Value| {
        more["name"] = json!(name);
        rpc.call("evidence", more)
    };

    let found = evidence(json!({ "entry": format!("{below}/auth.log"), "match": "Accepted" }));
    assert_eq!(found["data"]["content"], "1-one\n2:sshd: Accepted publickey\n3-three\n", "{found}");
    assert_eq!(found["data"]["size_bytes"], 35, "{found}");
    let manifest = evidence(json!({ "entry": "manifest.json", "match": "auth.log" }));
    assert!(text(&manifest["data"]["content"]).contains("/auth.log"), "{manifest}");
    let missing = evidence(json!({ "entry": format!("{below}/auth.lgo") }));
    assert_eq!(missing["error"]["code"], "E_NOT_FOUND", "{missing}");
    assert!(text(&missing["error"]["hint"]).contains("/auth.log"), "{missing}");

    let whole = evidence(json!({ "as": "hex" }));
    assert_eq!((&whole["state"], &whole["data"]), (&json!("pending_approval"), &Value::Null), "{whole}");
    let pending = evidence(json!({ "entry": format!("{below}/notes.txt") }));
    assert_eq!((&pending["state"], &pending["data"]), (&json!("pending_approval"), &Value::Null), "{pending}");
    let id = text(&pending["approval"]["request_id"]);
    let shown = home.run(&["approvals", "show", &id], "").expect(0).out();
    assert!(shown.contains("/notes.txt") && shown.contains("private key"), "{shown}");
    home.run(&["approvals", "approve", &id], format!("{}\n{device}\n", person.code())).expect(0);
    let after = rpc.call("fg", json!({ "command_id": pending["command_id"] }));
    let disclosed = &after["data"]["command"];
    assert_eq!(disclosed["data"]["content"], "-----BEGIN PRIVATE KEY-----\nMIIEvgIB\n", "{disclosed}");
}

#[test]
fn files_that_change_meanwhile_do_not_harm_it() {
    let home = Home::new();
    let image = Image::new(&home);
    let (grows, comes) = (image.file("var/log/grows.log", b"x\n"), image.0.join("var/log/comes-and-goes"));
    for i in 0..300 {
        image.file(format!("var/log/many/{i}"), format!("{i}").repeat(1000).as_bytes());
    }
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(&grows).expect("a file");
            while !stop.load(Relaxed) {
                file.write_all(&[b'y'; 4096]).expect("room");
                let _ = fs::write(&comes, "now it is there");
                let _ = fs::remove_file(&comes);
                // Truncated now and then, so that it shrinks too and the disk is not filled.
                if file.metadata().is_ok_and(|m| m.len() > 8 << 20) {
                    let _ = file.set_len(0);
                }
            }
        });
        let result = image.collect(&home);
        stop.store(true, Relaxed);
        result
    });
    let Some(unpacked) = Unpacked::of(&home, &text(&result["data"]["sha256"])) else { return };
    assert!(unpacked.member("host/var/log/grows.log").is_some() && unpacked.member("host/var/log/many/299").is_some());
}

#[test]
fn a_cancel_leaves_nothing() {
    let home = Home::new();
    let image = Image::new(&home);
    for i in 0..16 {
        // Holes, within what an artifact allows, and many: reading them takes a while.
        fs::File::create(image.0.join(format!("var/log/hole-{i}")))
            .and_then(|f| f.set_len(2_000 << 20))
            .expect("a hole");
    }
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({ "device": image.device() }));
    let running = rpc.call("collect", json!({ "background": true }));
    assert_eq!(running["state"], "running", "{running}");
    let command = json!({ "command_id": running["command_id"] });
    rpc.call("cancel", command.clone());
    let until = Instant::now() + PATIENCE;
    while rpc.call("status", command.clone())["data"]["command"]["state"] == "running" {
        assert!(Instant::now() < until, "it goes on");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(rpc.call("status", command)["data"]["command"]["state"], "cancelled");
    assert_eq!(held(&home), Vec::<PathBuf>::new());
}

#[test]
fn a_full_disk_leaves_nothing_half_sealed() {
    if !tools::root() || !tools::have("unshare") {
        return;
    }
    let home = Home::new();
    let image = Image::new(&home);
    let mut noise = vec![0; 16 << 20];
    let mut seed = 88_172_645_463_325_252_u64;
    for byte in &mut noise {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        *byte = seed.to_le_bytes()[0];
    }
    image.file("var/log/noise", &noise);
    let script = "mount -t tmpfs -o size=8m,mode=700 none \"$0\" || exit 99\n\
        \"$1\" call collect '{}' --device \"$2\"\n\
        echo \"code $?\"; find \"$0/evidence/objects\" \"$0/evidence/incoming\" -type f 2>/dev/null | sed 's/^/left /'";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).arg(home.state()).arg(env!("CARGO_BIN_EXE_live-response"));
    command.arg(image.device()).env("LIVE_RESPONSE_HOME", home.state());
    command.env("XDG_CONFIG_HOME", home.path().join("config")).env_remove("LIVE_RESPONSE_CONFIG");
    let out = command.output().expect("unshare");
    if out.status.code() == Some(99) || !out.status.success() && out.stdout.is_empty() {
        println!("no mount name space here: {}", String::from_utf8_lossy(&out.stderr));
        return;
    }
    let said = out.out();
    assert!(said.contains("\"E_STORE_UNAVAILABLE\"") && said.contains("code 3"), "{said} {}", out.err());
    assert!(!said.lines().any(|l| l.starts_with("left ")), "{said}");
}

#[test]
fn a_folder_of_the_host_gets_one_after_a_yes_and_only_that_folder() {
    let home = Home::new();
    let person = home.enroll("anna");
    let (logs, out) = (home.files().join("logs"), home.files().join("out"));
    for folder in [&logs, &out] {
        fs::create_dir(folder).expect("a folder");
    }
    fs::write(logs.join("app.log"), "a line\n").expect("a file");
    only(&home, &logs);
    let ask = || home.call("collect", json!({ "output_folder": out })).expect(4).json();

    let pending = ask();
    assert_eq!(fs::read_dir(&out).expect("a folder").count(), 0);
    home.approve(&person, &pending);
    let status = home.call("status", json!({ "command_id": pending["command_id"] })).expect(0).json();
    let done = &status["data"]["command"];
    assert_eq!((&done["state"], &done["verified"]), (&json!("completed"), &json!("yes")), "{done}");
    let row = &done["data"]["rows"][0];
    assert_eq!(row["outcome"], "collected", "{done}");
    let package = PathBuf::from(text(&row["path"]));
    assert_eq!(fs::read_dir(&out).expect("a folder").count(), 1);
    assert_eq!(row["size_bytes"], fs::metadata(&package).expect("the package").len());
    if let Some(unpacked) = Unpacked::file(&home, &package) {
        let log = unpacked.members().iter().filter(|m| m["artifact"] == "mine").count();
        assert_eq!(log, 1, "{}", unpacked.manifest);
    }

    let taken = home.call("collect", json!({ "output_folder": out })).expect(1).json();
    assert_eq!(taken["error"]["code"], "E_EXISTS", "{taken}");

    // What was approved is a folder, not its name.
    fs::remove_file(&package).expect("the package");
    let pending = ask();
    let elsewhere = home.files().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    fs::rename(&out, home.files().join("moved")).expect("a new name");
    symlink(&elsewhere, &out).expect("a link");
    let id = text(&pending["approval"]["request_id"]);
    home.run(&["approvals", "approve", &id], format!("{}\n", person.code())).expect(1).says("E_ENTITY_DRIFT");
    assert_eq!(fs::read_dir(&elsewhere).expect("a folder").count(), 0);
    assert_eq!(fs::read_dir(home.files().join("moved")).expect("a folder").count(), 0);
}

#[test]
fn a_folder_is_one_and_none_of_the_guards() {
    let home = Home::new();
    home.enroll("anna");
    let file = home.file("file", "x");
    let code = |folder: &Path| {
        let result = home.call("collect", json!({ "output_folder": folder }));
        text(&result.json()["error"]["code"])
    };
    assert_eq!(code(&file), "E_NOT_A_FILE");
    assert_eq!(code(&home.files().join("none")), "E_NOT_FOUND");
    assert_eq!(code(&home.state()), "E_SELF_TARGET");
}
