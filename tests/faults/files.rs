//! Files that are none, names that are no text, and what changes while it is read.

use crate::rpc_client::Home;
use crate::server::{Server, Started};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

const NOBODY: u32 = 65534;

fn rows(result: &Value) -> &Vec<Value> {
    result["data"]["rows"].as_array().unwrap_or_else(|| panic!("{result}"))
}

#[test]
fn what_is_no_file_is_refused_and_blocks_nothing() {
    let home = Home::new();
    let folder = home.path().join("files");
    mknodat(CWD, folder.join("fifo"), FileType::Fifo, Mode::RWXU, 0).expect("a FIFO");
    let _socket = std::os::unix::net::UnixListener::bind(folder.join("socket")).expect("a socket");
    symlink("loop", folder.join("loop")).expect("a link");
    symlink("/dev/zero", folder.join("device")).expect("a link");
    let mut server = Server::connected(&home);
    for tool in ["fileinfo", "getfile"] {
        for name in ["fifo", "socket", "loop", "device", ""] {
            let result = server.call(tool, json!({ "path": folder.join(name) }));
            let code = result["error"]["code"].as_str().unwrap_or("");
            assert!(["E_NOT_A_FILE", "E_NOT_FOUND"].contains(&code), "{tool} {name}: {result}");
        }
    }
    let listed = server.done("dir", json!({ "path": folder }));
    assert_eq!(rows(&listed).len(), 4, "{listed}");
}

#[test]
fn a_name_that_is_no_text_is_listed_and_reached() {
    let home = Home::new();
    let folder = home.path().join("files");
    std::fs::write(folder.join(OsStr::from_bytes(b"bad\xff\nname")), "x").expect("a file");
    let mut server = Server::connected(&home);
    let listed = server.done("dir", json!({ "path": folder, "full_path": true }));
    let path = rows(&listed)[0]["path"].as_str().expect("a path").to_owned();
    assert!(path.starts_with("esc:"), "{path}");
    assert_eq!(server.done("fileinfo", json!({ "path": path }))["data"]["size_bytes"], 1);
    assert_eq!(server.done("getfile", json!({ "path": path }))["data"]["size_bytes"], 1);
}

/// Reads a file over and over while `change` works on it.
fn read_while(change: impl Fn(&Path) + Sync) {
    let home = Home::new();
    let file = home.file("racing.bin", &vec![1; 4 << 20]);
    let mut server = Server::connected(&home);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Relaxed) {
                change(&file);
            }
        });
        for round in 0..10 {
            let tool = if round % 2 == 0 { "fileinfo" } else { "getfile" };
            let result = server.call(tool, json!({ "path": file }));
            let code = result["error"]["code"].as_str();
            let fits = matches!(code, None | Some("E_NOT_FOUND"));
            ended.store(!fits || round == 9, Relaxed);
            assert!(fits, "{result}");
        }
    });
    server.done("dir", json!({ "path": "/" }));
    crate::server::evidence_verifies(&home);
}

#[test]
fn a_file_that_grows_and_shrinks_is_read() {
    read_while(|file| {
        let file = std::fs::OpenOptions::new().write(true).open(file).expect("a file");
        for size in [6 << 20, 1, 0, 4 << 20] {
            file.set_len(size).expect("a size");
        }
    });
}

#[test]
fn a_file_that_vanishes_and_comes_back_is_read_or_not_found() {
    read_while(|file| {
        let _ = std::fs::remove_file(file);
        std::fs::write(file, vec![2; 1 << 20]).expect("a file");
    });
}

#[test]
fn a_cursor_stays_right_while_entries_come_and_go() {
    const COUNT: usize = 100_000;
    let home = Home::new();
    let folder = home.path().join("files");
    let name = |i: usize| format!("{i:06}");
    std::fs::write(folder.join(name(0)), "").expect("a file");
    // Links are made faster than files.
    for i in 1..COUNT {
        let first = i - i % 10_000;
        let made = match i == first {
            true => std::fs::write(folder.join(name(i)), ""),
            false => std::fs::hard_link(folder.join(name(first)), folder.join(name(i))),
        };
        made.expect("an entry");
    }
    let mut server = Server::connected(&home);
    let mut page = server.done("dir", json!({ "path": folder, "limit": 1000, "fields": ["name"] }));
    assert_eq!(page["page"]["total"], COUNT);
    let mut seen = HashSet::new();
    let mut turn = 0;
    loop {
        for row in rows(&page) {
            assert!(seen.insert(row["name"].as_str().expect("a name").to_owned()), "{row} came twice");
        }
        turn += 1;
        let _ = std::fs::remove_file(folder.join(name(turn * 7)));
        std::fs::write(folder.join(format!("{:06}-new", turn * 900)), "").expect("a file");
        let Some(cursor) = page["page"]["next_cursor"].as_str() else { break };
        page = server.done("dir", json!({ "cursor": cursor, "limit": 1000 }));
    }
    assert_eq!(seen.len(), COUNT);
    assert!((0..COUNT).all(|i| seen.contains(&name(i))));
}

/// The server under an account that may read little.
fn as_nobody(home: &Home) -> Server {
    // Where the build lies nobody may come.
    let binary = home.path().join("live-response");
    std::fs::copy(env!("CARGO_BIN_EXE_live-response"), &binary).expect("a copy");
    std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
    std::os::unix::fs::chown(home.path().join("state"), Some(NOBODY), Some(NOBODY)).expect("an owner");
    let original = home.command(&["rpc"]);
    let mut command = Command::new(binary);
    command.arg("rpc").uid(NOBODY).gid(NOBODY);
    for (name, value) in original.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Server::of(command)
}

#[test]
fn directories_that_may_not_be_read_are_counted_and_named() {
    if !crate::server::root_for("another account") {
        return;
    }
    let home = Home::new();
    let folder = home.path().join("files");
    for name in ["closed-a", "closed-b", "open"] {
        std::fs::create_dir(folder.join(name)).expect("a folder");
        std::fs::write(folder.join(name).join("wanted.txt"), "").expect("a file");
    }
    for name in ["closed-a", "closed-b"] {
        std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o700)).expect("a mode");
    }
    let mut server = as_nobody(&home);
    server.done("connect", json!({}));
    let found = server.done("findfile", json!({ "path": folder, "name": "wanted.txt" }));
    assert_eq!(rows(&found).len(), 1, "{found}");
    let warning = found["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<String>();
    for part in ["2 ", "closed-a", "closed-b"] {
        assert!(warning.contains(part), "{warning}");
    }
    server.fails("E_ACCESS", "dir", json!({ "path": folder.join("closed-a") }));
    server.fails("E_ACCESS", "fileinfo", json!({ "path": folder.join("closed-a/wanted.txt") }));
}

#[test]
fn processes_that_come_and_go_disturb_no_listing() {
    let home = Home::new();
    let mut server = Server::connected(&home);
    let mut storm = Command::new("sh");
    storm.args(["-c", "while :; do /bin/true & /bin/true & wait; done"]).process_group(0);
    let storm = Started(storm.spawn().expect("a shell"));
    let own = std::process::id();
    for round in 0..40 {
        let (tool, fields) = match round % 3 {
            0 => ("processes", json!(["pid", "sha256"])),
            1 => ("processes", json!(["pid", "cwd", "path", "user"])),
            _ => ("connections", json!(["pid", "process"])),
        };
        let listed = server.done(tool, json!({ "fields": fields, "limit": 1000 }));
        if tool == "processes" {
            assert!(rows(&listed).iter().any(|r| r["pid"] == own), "{listed}");
            let pids: HashSet<_> = rows(&listed).iter().filter_map(|r| r["pid"].as_u64()).collect();
            assert_eq!(pids.len(), rows(&listed).len(), "a process came twice");
        }
    }
    drop(storm);
    server.hang_up();
    assert!(server.ends_within(Duration::from_secs(10)).success());
}
