//! The Bash half of the script pack, run for real: against the local backend, hostile names and hostile arguments.

mod support;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::pack::{self, NONCE, document, word};
use support::{Home, Said, tools};

const SCRIPTS: [&str; 14] = [
    "collect",
    "connections",
    "dir",
    "drivers",
    "fileinfo",
    "findfile",
    "persistence",
    "processes",
    "remediate",
    "remediated",
    "scheduledtasks",
    "services",
    "startupfolders",
    "undo",
];

/// A script as it is uploaded, in the test's own folder.
fn script(home: &Home, name: &str) -> PathBuf {
    home.file(&format!("{name}.sh"), pack::text(name))
}

fn bash(script: &Path, words: &[&OsStr]) -> Command {
    let mut command = Command::new("bash");
    command.arg(script).args(words).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn run(home: &Home, name: &str, args: &Value) -> Value {
    let word = word(120, args);
    let output = bash(&script(home, name), &[OsStr::new(&word)]).output().expect("bash");
    assert!(output.status.success(), "{output:?}");
    let value = document(&output.stdout, NONCE);
    assert_eq!(value["script"], name);
    value
}

fn rows(value: &Value) -> &Vec<Value> {
    value["rows"].as_array().unwrap_or_else(|| panic!("no rows: {value}"))
}

fn local(home: &Home, tool: &str, args: &Value) -> Value {
    home.run(&["call", tool, &args.to_string()], "").expect(0).json()["data"].clone()
}

/// A document without what is finer than a millisecond in its times, which the local backend does not tell.
fn to_millis(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() == 30 && text.ends_with('Z') && text.starts_with("20") => {
            let short = format!("{}Z", &text[..23]);
            json!(short.replace(".000Z", "Z"))
        }
        Value::Array(items) => items.iter().map(to_millis).collect(),
        Value::Object(fields) => Value::Object(fields.iter().map(|(k, v)| (k.clone(), to_millis(v))).collect()),
        other => other.clone(),
    }
}

/// Rows by a key, without the fields that the two looks need not agree on.
fn keyed(rows: &[Value], key: &str, without: &[&str]) -> Map<String, Value> {
    rows.iter()
        .map(|row| {
            let mut row = row.as_object().expect("an object").clone();
            without.iter().for_each(|field| drop(row.remove(*field)));
            (row[key].to_string(), Value::Object(row))
        })
        .collect()
}

/// Names that break what takes them for code, options, lines or text.
fn plant(home: &Home) -> PathBuf {
    let tree = home.files().join("tree");
    fs::create_dir(&tree).expect("a folder");
    let names: [&[u8]; 11] = [
        b"plain.txt",
        b"with blank",
        b"new\nline",
        b"$(id > owned)",
        b"`id`;id|id",
        b"-rf",
        b"\"quoted'\\",
        b"\x1b[31mred",
        b"not\xff\xfetext",
        "\u{fc}ml\u{e4}ut \u{1f600}".as_bytes(),
        b".hidden",
    ];
    for name in names {
        fs::write(tree.join(OsStr::from_bytes(name)), name).expect("a file");
    }
    fs::write(tree.join("esc:x"), "esc").expect("a file");
    fs::create_dir(tree.join("folder")).expect("a folder");
    symlink("loop", tree.join("loop")).expect("a link");
    symlink("/nowhere/at all", tree.join("dangling")).expect("a link");
    rustix::fs::mknodat(rustix::fs::CWD, tree.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("a FIFO");
    tree
}

#[test]
fn shellcheck_finds_nothing() {
    if !tools::have("shellcheck") {
        return;
    }
    let home = Home::new();
    for name in SCRIPTS {
        let output = Command::new("shellcheck").args(["-x", "-s", "bash"]).arg(script(&home, name)).output();
        let output = output.expect("shellcheck");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn any_argument_gets_one_document() {
    let home = Home::new();
    let bad = [
        "",
        "eyJ",
        "$(touch owned)",
        "eyJub25jZSI6",
        &URL_SAFE_NO_PAD.encode("{\"nonce\":\"0123456789abcdef0123456789abcdef\",\"args\":{\"a\":{}}}"),
        &URL_SAFE_NO_PAD.encode("{\"nonce\":\"0123456789abcdef0123456789abcdef\",\"args\":{\"a\":\"\\ud800\"}}"),
        &URL_SAFE_NO_PAD.encode("{\"nonce\":\"0123456789abcdef0123456789abcdef\",\"args\":{\"a\":\"\\u0000\"}}"),
        &URL_SAFE_NO_PAD.encode("{\"nonce\":\"$(id)\",\"args\":{}}"),
        &URL_SAFE_NO_PAD.encode("{\"nonce\":\"0123456789abcdef0123456789abcdef\",\"args\":{},\"args\":{}}"),
        &URL_SAFE_NO_PAD.encode(b"{\"nonce\":\"\xff\0\""),
    ];
    for name in SCRIPTS {
        let file = script(&home, name);
        for word in bad {
            let mut command = bash(&file, &[OsStr::new(word)]);
            let output = command.current_dir(home.files()).output().expect("bash");
            assert!(output.status.success(), "{name} {word}: {output:?}");
            let value = document(&output.stdout, &"0".repeat(32));
            assert_eq!(value["error"]["code"], "E_BAD_ARGS", "{name} {word}: {value}");
        }
        let output = bash(&file, &[]).output().expect("bash");
        assert_eq!(document(&output.stdout, &"0".repeat(32))["error"]["code"], "E_BAD_ARGS", "{name}");
    }
    assert!(!home.files().join("owned").exists(), "an argument was run");
}

#[test]
fn an_argument_that_a_script_does_not_have_is_refused() {
    let home = Home::new();
    for name in SCRIPTS {
        let value = run(&home, name, &json!({ "no_such": 1 }));
        assert_eq!(value["error"]["code"], "E_BAD_ARGS", "{name}: {value}");
    }
}

#[test]
fn dir_lists_what_the_local_backend_lists() {
    let home = Home::new();
    let tree = plant(&home);
    let script = to_millis(&run(&home, "dir", &json!({ "path": tree })));
    let local = local(&home, "dir", &json!({ "path": tree, "full_path": true, "limit": 1000 }));
    assert_eq!((&script["complete"], rows(&script).is_empty()), (&json!(true), false), "{script}");
    // The scripts leave characters that cannot be seen as JSON writes them; a path is compared by its bytes.
    let plain = |rows: &[Value]| -> Map<String, Value> {
        let mut rows = rows.to_vec();
        for row in &mut rows {
            for field in ["name", "path", "target"] {
                if let Some(text) = row[field].as_str() {
                    let bytes = live_response::model::DevicePath::from_text(text).expect("a path");
                    row[field] = json!(bytes.to_text());
                }
            }
        }
        keyed(&rows, "name", &["accessed"])
    };
    assert_eq!(Value::Object(plain(rows(&script))), Value::Object(plain(local["rows"].as_array().expect("rows"))));
    assert!(!tree.join("owned").exists() && !home.files().join("owned").exists(), "a name was run");
}

#[test]
fn a_path_of_any_bytes_goes_there_and_back() {
    let home = Home::new();
    let tree = plant(&home);
    let listed = run(&home, "dir", &json!({ "path": tree }));
    for row in rows(&listed).iter().filter(|row| row["kind"] == "file") {
        let info = run(&home, "fileinfo", &json!({ "path": row["path"] }));
        assert_eq!(info["data"]["size_bytes"], row["size_bytes"], "{info}");
        assert_eq!(info["data"]["path"], row["path"]);
    }
}

#[test]
fn fileinfo_says_what_the_local_backend_says() {
    let home = Home::new();
    let file = home.file("sample", "x".repeat(100_000));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4750)).expect("a mode");
    let link = home.files().join("link");
    symlink(&file, &link).expect("a link");
    for path in [file.as_path(), &link, Path::new("/usr/bin/env"), Path::new("/etc/passwd")] {
        let script = to_millis(&run(&home, "fileinfo", &json!({ "path": path })));
        let local = local(&home, "fileinfo", &json!({ "path": path }));
        for field in [
            "path",
            "size_bytes",
            "modified",
            "changed",
            "attributes",
            "md5",
            "sha1",
            "sha256",
            "kind",
            "links",
            "target",
        ] {
            assert_eq!(script["data"][field], local[field], "{field} of {}: {script}", path.display());
        }
        assert_eq!(script["data"]["package"]["name"], local["package"]["name"], "{script}");
    }
}

#[test]
fn what_is_no_file_is_an_error_with_a_code() {
    let home = Home::new();
    let tree = plant(&home);
    let cases = [
        ("fileinfo", "pipe", "E_NOT_A_FILE"),
        ("fileinfo", "loop", "E_NOT_FOUND"),
        ("fileinfo", "absent", "E_NOT_FOUND"),
        ("fileinfo", "folder", "E_NOT_A_FILE"),
        ("dir", "plain.txt", "E_NOT_A_FILE"),
        ("dir", "absent", "E_NOT_FOUND"),
    ];
    for (name, path, code) in cases {
        let value = run(&home, name, &json!({ "path": tree.join(path) }));
        assert_eq!(value["error"]["code"], code, "{name} {path}: {value}");
    }
    assert_eq!(run(&home, "dir", &json!({ "path": "relative" }))["error"]["code"], "E_BAD_ARGS");
}

#[test]
fn findfile_finds_by_name_size_and_depth() {
    let home = Home::new();
    let tree = plant(&home);
    fs::write(tree.join("folder/deep.txt"), vec![0; 5000]).expect("a file");
    let names = |args: Value| -> Vec<String> {
        let found = run(&home, "findfile", &args);
        rows(&found).iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(json!({ "path": tree, "name": "*.txt" })), ["deep.txt", "plain.txt"]);
    assert_eq!(names(json!({ "path": tree, "name": "*.txt", "max_depth": 1 })), ["plain.txt"]);
    assert_eq!(names(json!({ "path": tree, "name": "*", "min_size": 5000, "max_size": 5000 })), ["deep.txt"]);
    assert_eq!(names(json!({ "path": tree, "name": "{plain,deep}.t?t" })), ["deep.txt", "plain.txt"]);
    assert!(names(json!({ "path": tree, "name": "*", "modified_before": "2001-01-01T00:00:00Z" })).is_empty());
    let cut = run(&home, "findfile", &json!({ "path": tree, "name": "*", "max_rows": 2 }));
    assert_eq!((rows(&cut).len(), &cut["complete"]), (2, &json!(false)));
}

/// A process that waits until its stdin ends, and ends with the test.
struct Waiting(Child);

impl Waiting {
    fn start(program: &Path, arguments: &[&str]) -> Waiting {
        let mut command = Command::new(program);
        Waiting(command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("a process"))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn processes_say_what_the_local_backend_says() {
    let home = Home::new();
    let program = home.files().join("$(waits) here");
    fs::copy("/bin/cat", &program).expect("a copy");
    let child = Waiting::start(&program, &["-", "a b", "\"q\"", "", "new\nline"]);
    let args = json!({ "pid": child.0.id() });
    let script = run(&home, "processes", &json!({ "pid": child.0.id(), "sha256": true }));
    let local = local(&home, "processes", &args);
    let (script, local) = (&rows(&script)[0], &local["rows"][0]);
    for field in ["pid", "ppid", "name", "path", "user", "deleted_image", "cwd", "container"] {
        assert_eq!(script[field], local[field], "{field}: {script} {local}");
    }
    let name = program.display();
    assert_eq!(script["command_line"], format!("\"{name}\" - \"a b\" \"\\\"q\\\"\" \"\" \"new\nline\""));
    assert_eq!(script["sha256"].as_str().map(str::len), Some(64));
    fs::remove_file(&program).expect("gone");
    let after = run(&home, "processes", &args);
    assert_eq!(rows(&after)[0]["deleted_image"], true, "{after}");
}

#[test]
fn a_tree_has_parents_before_children() {
    let home = Home::new();
    let listed = run(&home, "processes", &json!({ "tree": true }));
    let mut seen = std::collections::HashMap::new();
    for row in rows(&listed) {
        let depth = row["depth"].as_u64().expect("a depth");
        if depth > 0 {
            assert_eq!(seen.get(&row["ppid"].as_u64()), Some(&(depth - 1)), "{row}");
        }
        seen.insert(row["pid"].as_u64(), depth);
    }
    assert!(seen.contains_key(&Some(std::process::id().into())));
}

#[test]
fn connections_name_the_socket_and_its_holder() {
    let home = Home::new();
    let four = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = four.local_addr().expect("an address").port();
    let client = std::net::TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    let listed = run(&home, "connections", &json!({}));
    let mine = |port: u16, state: &str| {
        let found = rows(&listed).iter().find(|r| r["local_port"] == port && r["state"] == state);
        found.unwrap_or_else(|| panic!("no {state} at {port}")).clone()
    };
    let row = mine(port, "LISTEN");
    assert_eq!((&row["protocol"], &row["local_address"]), (&json!("tcp"), &json!("127.0.0.1")));
    assert_eq!(row["pid"], std::process::id());
    assert_eq!(row.get("remote_address"), None, "{row}");
    let row = mine(client.local_addr().expect("an address").port(), "ESTABLISHED");
    assert_eq!((&row["remote_address"], &row["remote_port"]), (&json!("127.0.0.1"), &json!(port)));
}

#[test]
fn when_time_runs_out_there_is_a_document_that_says_so() {
    let home = Home::new();
    let file = script(&home, "findfile");
    let word = word(0, &json!({ "name": "*", "path": "/usr" }));
    let output = bash(&file, &[OsStr::new(&word)]).output().expect("bash");
    let value = document(&output.stdout, NONCE);
    assert_eq!(value["complete"], false, "{value}");
    assert!(value["warnings"].to_string().contains("time"), "{value}");
}

/// A mount namespace of its own in which `/var/lib` and `/etc/cron.d` are empty: no test touches the host's.
struct Apart(Child);

impl Apart {
    fn start() -> Option<Apart> {
        if !tools::root() || !tools::have("unshare") || !tools::have("nsenter") {
            return None;
        }
        let setup = "mount -t tmpfs -o mode=755 none /var/lib && mkdir -p /etc/cron.d && mount -t tmpfs -o mode=755 none /etc/cron.d && echo ready && cat";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "bash", "-c", setup]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
        assert_eq!(line, "ready\n", "no mount namespace");
        Some(Apart(child))
    }

    fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-m", "-t", &self.0.id().to_string(), "--", program]);
        command
    }

    fn run(&self, home: &Home, name: &str, args: &Value) -> Value {
        let mut command = self.enter("bash");
        command.arg(script(home, name)).arg(word(120, args)).stdin(Stdio::null());
        document(&command.output().expect("bash").stdout, NONCE)
    }

    fn look(&self, home: &Home, name: &str, kind: &str, id: &str) -> Value {
        let value = self.run(home, name, &json!({ "mode": "look", "kind": kind, "id": id }));
        assert_eq!(value.get("error"), None, "{value}");
        let mut args = json!({ "mode": "do", "kind": kind, "id": id });
        for fact in value["data"]["facts"].as_array().expect("facts") {
            args[format!("expect_{}", fact["name"].as_str().expect("a name"))] = fact["value"].clone();
        }
        args
    }

    fn write(&self, path: &str, text: &str) {
        let mut child = self.enter("tee").arg(path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("tee");
        child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("written");
        assert!(child.wait().expect("an end").success());
    }

    fn read(&self, path: &str) -> String {
        self.enter("cat").arg(path).output().expect("cat").out()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn undo_id(n: u32) -> String {
    format!("u-{n:032x}")
}

#[test]
fn a_file_is_taken_and_brought_back_as_it_was() {
    let Some(apart) = Apart::start() else { return };
    let home = Home::new();
    let file = home.file("bad $(id);\n-x", "payload");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4711)).expect("a mode");
    let path = file.to_str().expect("text");
    let before = fs::metadata(&file).expect("facts").modified().expect("a time");

    let mut act = apart.look(&home, "remediate", "file", path);
    act["undo_id"] = json!(undo_id(1));
    let mut drifted = act.clone();
    drifted["expect_sha256"] = json!("0".repeat(64));
    assert_eq!(apart.run(&home, "remediate", &drifted)["error"]["code"], "E_ENTITY_DRIFT");
    let mut short = act.clone();
    short.as_object_mut().expect("an object").remove("expect_mode");
    assert_eq!(apart.run(&home, "remediate", &short)["error"]["code"], "E_ENTITY_DRIFT");
    assert!(file.exists(), "a drift took it");

    let taken = apart.run(&home, "remediate", &act);
    assert_eq!(
        (&taken["data"]["outcome"], &taken["data"]["verified"]),
        (&json!("quarantined"), &json!(true)),
        "{taken}"
    );
    assert!(!file.exists());
    let list = apart.run(&home, "remediated", &json!({ "kind": "file" }));
    assert_eq!(rows(&list)[0]["undo_id"], undo_id(1), "{list}");

    fs::write(&file, "newer").expect("a file");
    let blocked = apart.run(&home, "undo", &json!({ "mode": "look", "kind": "file", "id": path }));
    assert_eq!(blocked["error"]["code"], "E_EXISTS", "{blocked}");
    assert_eq!(fs::read_to_string(&file).expect("text"), "newer");
    fs::remove_file(&file).expect("gone");

    let back = apart.look(&home, "undo", "file", path);
    let back = apart.run(&home, "undo", &back);
    assert_eq!((&back["data"]["outcome"], &back["data"]["verified"]), (&json!("restored"), &json!(true)), "{back}");
    let facts = fs::metadata(&file).expect("facts");
    assert_eq!((fs::read(&file).expect("bytes"), facts.permissions().mode() & 0o7777), (b"payload".to_vec(), 0o4711));
    assert_eq!(facts.modified().expect("a time"), before);
}

#[test]
fn what_was_kept_and_changed_is_not_brought_back() {
    let Some(apart) = Apart::start() else { return };
    let home = Home::new();
    let file = home.file("bad", "payload");
    let path = file.to_str().expect("text");
    let mut act = apart.look(&home, "remediate", "startup", path);
    act["undo_id"] = json!(undo_id(2));
    assert_eq!(apart.run(&home, "remediate", &act)["data"]["verified"], true);
    apart.write(&format!("/var/lib/live-response/quarantine/{}/content", undo_id(2)), "other");
    let value = apart.run(&home, "undo", &json!({ "mode": "look", "kind": "startup", "id": undo_id(2) }));
    assert_eq!(value["error"]["code"], "E_DIGEST_MISMATCH", "{value}");
    assert!(!file.exists());
}

#[test]
fn a_link_goes_and_its_target_stays() {
    let Some(apart) = Apart::start() else { return };
    let home = Home::new();
    let target = home.file("target", "stays");
    let link = home.files().join("link");
    symlink(&target, &link).expect("a link");
    let mut act = apart.look(&home, "remediate", "file", link.to_str().expect("text"));
    act["undo_id"] = json!(undo_id(3));
    assert_eq!(apart.run(&home, "remediate", &act)["data"]["outcome"], "unlinked");
    assert!(target.exists() && link.symlink_metadata().is_err());
    let back = apart.look(&home, "undo", "file", &undo_id(3));
    assert_eq!(apart.run(&home, "undo", &back)["data"]["verified"], true);
    assert_eq!(fs::read_link(&link).expect("a link"), target);
}

#[test]
fn a_process_is_stopped_and_its_image_kept() {
    let Some(apart) = Apart::start() else { return };
    let home = Home::new();
    let program = home.files().join("evil");
    fs::copy("/bin/cat", &program).expect("a copy");
    let mut child = Waiting::start(&program, &[]);
    let mut act = apart.look(&home, "remediate", "process", &child.0.id().to_string());
    act["undo_id"] = json!(undo_id(4));
    let mut other = act.clone();
    other["expect_started"] = json!("1 ticks after boot none");
    assert_eq!(apart.run(&home, "remediate", &other)["error"]["code"], "E_ENTITY_DRIFT");
    assert!(child.0.try_wait().expect("a look").is_none(), "a drift stopped it");
    let taken = apart.run(&home, "remediate", &act);
    assert_eq!(taken["data"]["outcome"], "stopped", "{taken}");
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.0.try_wait().expect("a look").is_none() {
        assert!(Instant::now() < deadline, "it still runs");
        std::thread::yield_now();
    }
    let list = apart.run(&home, "remediated", &json!({}));
    assert_eq!(rows(&list)[0]["sha256"], act["expect_sha256"], "{list}");
}

#[test]
fn what_the_device_lives_on_is_protected() {
    let Some(apart) = Apart::start() else { return };
    let home = Home::new();
    let own = std::process::id().to_string();
    let cases = [
        ("process", "1"),
        ("process", own.as_str()),
        ("file", "/bin/sh"),
        ("file", "/usr/bin/bash"),
        ("file", "/etc/passwd"),
        ("file", "/var/lib/live-response/quarantine/x"),
    ];
    apart.enter("mkdir").args(["-p", "-m", "700", "/var/lib/live-response/quarantine"]).status().expect("mkdir");
    apart.write("/var/lib/live-response/quarantine/x", "x");
    for (kind, id) in cases {
        let value = apart.run(&home, "remediate", &json!({ "mode": "look", "kind": kind, "id": id }));
        assert_eq!(value["error"]["code"], "E_PROTECTED", "{kind} {id}: {value}");
    }
}

#[test]
fn a_store_that_is_not_ours_is_not_used() {
    let Some(apart) = Apart::start() else { return };
    let home = Home::new();
    let file = home.file("bad", "payload");
    let mut act = apart.look(&home, "remediate", "file", file.to_str().expect("text"));
    act["undo_id"] = json!(undo_id(5));
    let elsewhere = home.files();
    apart.enter("ln").arg("-s").arg(&elsewhere).arg("/var/lib/live-response").status().expect("ln");
    assert_eq!(apart.run(&home, "remediate", &act)["error"]["code"], "E_STORE_UNAVAILABLE");
    assert!(file.exists());
}

#[test]
fn tasks_of_cron_are_listed_cut_and_put_back() {
    let Some(apart) = Apart::start() else { return };
    let home = Home::new();
    let text = "# c\nPATH=/tmp/x:/bin\n*/5 * * * *  root\techo \"%h\\i\" $(id)\n@daily bob x";
    apart.write("/etc/cron.d/evil", text);
    let listed = apart.run(&home, "scheduledtasks", &json!({ "name": "cron.d/evil:*" }));
    let row = &rows(&listed)[0];
    assert_eq!((&row["name"], &row["schedule"]), (&json!("cron.d/evil:3"), &json!("*/5 * * * *")), "{listed}");
    assert_eq!((&row["command"], &row["user"]), (&json!("PATH=/tmp/x:/bin echo \"%h\\i\" $(id)"), &json!("root")));
    assert_eq!(rows(&listed).len(), 2);

    let mut act = apart.look(&home, "remediate", "scheduledtask", "cron.d/evil:3");
    act["undo_id"] = json!(undo_id(6));
    assert_eq!(apart.run(&home, "remediate", &act)["data"]["outcome"], "cut");
    assert_eq!(apart.read("/etc/cron.d/evil"), "# c\nPATH=/tmp/x:/bin\n@daily bob x");
    let back = apart.look(&home, "undo", "scheduledtask", "cron.d/evil:3");
    assert_eq!(apart.run(&home, "undo", &back)["data"]["verified"], true);
    assert_eq!(apart.read("/etc/cron.d/evil"), text);
}

#[test]
fn listings_of_what_starts_are_rows() {
    let home = Home::new();
    for name in ["services", "drivers", "scheduledtasks", "startupfolders"] {
        let value = run(&home, name, &json!({}));
        assert!(rows(&value).iter().all(Value::is_object), "{value}");
    }
    let persistence = run(&home, "persistence", &json!({ "technique": "shell-startup" }));
    assert!(rows(&persistence).iter().all(|r| r["attack_id"] == "T1546.004"), "{persistence}");
}

#[test]
fn a_package_is_gathered_verified_and_tidied() {
    let home = Home::new();
    let out = home.files().join("case.tar.gz");
    let word = word(60, &json!({ "mode": "gather", "out": out }));
    let output = bash(&script(&home, "collect"), &[OsStr::new(&word)]).output().expect("bash");
    let value = document(&output.stdout, NONCE);
    assert_eq!(value.get("error"), None, "{value}");
    assert_eq!(fs::metadata(&out).expect("facts").permissions().mode() & 0o777, 0o600);
    assert_eq!(value["data"]["size_bytes"], fs::metadata(&out).expect("facts").len());
    let unpacked = home.files().join("unpacked");
    fs::create_dir(&unpacked).expect("a folder");
    let tar = Command::new("tar").arg("-xzf").arg(&out).arg("-C").arg(&unpacked).status().expect("tar");
    assert!(tar.success());
    let top = unpacked.join("live-response-package");
    let check = Command::new("sha256sum").args(["--quiet", "-c", "manifest.sha256"]).current_dir(&top).status();
    assert!(check.expect("sha256sum").success());
    assert!(top.join("files/etc/passwd").is_file() && !top.join("files/etc/shadow").exists());
    let again = run(&home, "collect", &json!({ "mode": "gather", "out": out }));
    assert_eq!(again["error"]["code"], "E_EXISTS", "{again}");
    let other = home.file("other.tar.gz", "not ours");
    assert_eq!(run(&home, "collect", &json!({ "mode": "tidy", "out": other }))["error"]["code"], "E_PROTECTED");
    assert!(other.exists());
    assert_eq!(run(&home, "collect", &json!({ "mode": "tidy", "out": out }))["data"]["removed"], true);
    assert!(!out.exists());
    let left: Vec<_> = fs::read_dir(home.files()).expect("a folder").flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|n| n.as_bytes().ends_with(b".parts")), "{left:?}");
    // A run that was ended in its middle leaves a folder, which goes too; another's stays.
    let parts = home.files().join("case.tar.gz.parts");
    for (mode, stays) in [(0o700, false), (0o755, true)] {
        fs::create_dir(&parts).expect("a folder");
        fs::set_permissions(&parts, fs::Permissions::from_mode(mode)).expect("a mode");
        assert_eq!(run(&home, "collect", &json!({ "mode": "tidy", "out": out }))["error"]["code"], "E_NOT_FOUND");
        assert_eq!(parts.exists(), stays);
    }
}

#[test]
fn what_was_gathered_when_the_time_ran_out_is_a_package() {
    let home = Home::new();
    let out = home.files().join("case.tar.gz");
    let word = word(3, &json!({ "mode": "gather", "out": out }));
    let output = bash(&script(&home, "collect"), &[OsStr::new(&word)]).output().expect("bash");
    let value = document(&output.stdout, NONCE);
    assert_eq!((&value["complete"], value.get("error")), (&json!(false), None), "{value}");
    let about = ["-xzOf", out.to_str().expect("text"), "live-response-package/about.txt"];
    let about = Command::new("tar").args(about).output().expect("tar").stdout;
    assert!(String::from_utf8_lossy(&about).contains("complete\tfalse"), "{value}");
}
