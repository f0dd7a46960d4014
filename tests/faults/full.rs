//! A disk without room, and a home that is not this account's own.

use crate::rpc_client::Home;
use crate::server::{
    Server, call, count, decide_fast, evidence_verifies, log_text, log_verifies, propose, root_for, small_state,
};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};

/// Takes all the room that is left, until it is dropped.
struct Filler(PathBuf);

impl Filler {
    fn fill(folder: &Path) -> Filler {
        let file = folder.join("filler");
        let mut filler = std::fs::File::create(&file).expect("a file");
        let bytes = vec![1; 64 << 10];
        while filler.write_all(&bytes).is_ok() {}
        Filler(file)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn warns_of_the_log(result: &Value) -> bool {
    let warnings = result["warnings"].as_array().into_iter().flatten();
    warnings.filter_map(Value::as_str).any(|w| w.contains("not in the audit log"))
}

/// Reads until the log's last page is full: its slack takes a few records more.
fn read_until_the_log_is_full(server: &mut Server) {
    for _ in 0..200 {
        if warns_of_the_log(&server.done("dir", json!({ "path": "/" }))) {
            return;
        }
    }
    panic!("the log is never full");
}

#[test]
fn a_full_evidence_store_seals_nothing_and_leaves_nothing() {
    if !root_for("a small file system") {
        return;
    }
    let home = Home::new();
    let state = home.path().join("state");
    let _mounted = small_state(&state, 8 << 10);
    let big = home.file("big.bin", &vec![7; 16 << 20]);
    let small = home.file("small.bin", b"small");
    let mut server = Server::connected(&home);
    server.done("getfile", json!({ "path": small }));
    let failed = server.fails("E_STORE_UNAVAILABLE", "getfile", json!({ "path": big }));
    let message = failed["error"]["message"].as_str().unwrap_or("");
    assert!(message.contains("No space left"), "{failed}");
    assert!(failed["error"]["hint"].is_string(), "{failed}");
    let left: Vec<_> = std::fs::read_dir(state.join("evidence/incoming")).expect("a folder").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    let held = server.done("evidence", json!({}));
    assert_eq!(held["data"]["rows"].as_array().map(Vec::len), Some(1), "{held}");
    evidence_verifies(&home);
    log_verifies(&home);
    let other = home.file("other.bin", b"other");
    server.done("getfile", json!({ "path": other }));
    evidence_verifies(&home);
}

#[test]
fn a_store_that_fills_up_at_any_byte_still_verifies() {
    if !root_for("a small file system") {
        return;
    }
    let home = Home::new();
    let state = home.path().join("state");
    let _mounted = small_state(&state, 1 << 10);
    let mut server = Server::connected(&home);
    let mut sealed = 0;
    let mut refused = 0;
    // The last ones find no room for the content, for a folder, for custody or for the log.
    for number in 0..64u32 {
        let file = home.file("file.bin", &number.to_le_bytes().repeat(5_000));
        let result = server.call("getfile", json!({ "path": file }));
        match result["error"]["code"].as_str() {
            None => sealed += 1,
            Some("E_STORE_UNAVAILABLE") => refused += 1,
            Some(_) => panic!("{result}"),
        }
    }
    assert!(sealed > 10 && refused > 10, "{sealed} sealed, {refused} refused");
    evidence_verifies(&home);
    log_verifies(&home);
    let held = server.done("evidence", json!({ "limit": 1000 }));
    assert_eq!(held["data"]["rows"].as_array().map(Vec::len), Some(sealed), "{held}");
}

#[test]
fn a_full_log_stops_changes_not_reads_and_tells_of_the_gap() {
    if !root_for("a small file system") {
        return;
    }
    let home = Home::new();
    let state = home.path().join("state");
    decide_fast(&home, 120);
    let _mounted = small_state(&state, 2 << 10);
    let target = home.file("target.bin", b"bytes");
    let person = home.enroll("alex");
    let pending = propose(&home, "remediate", json!({ "type": "file", "id": target }));
    let mut server = Server::connected(&home);
    let filler = Filler::fill(&state);
    read_until_the_log_is_full(&mut server);

    let other = home.file("other.bin", b"x");
    let refused = server.call("remediate", json!({ "type": "file", "id": other }));
    assert_eq!((&refused["state"], &refused["error"]["code"]), (&json!("refused"), &json!("E_AUDIT_UNAVAILABLE")));
    assert!(refused["error"]["hint"].as_str().is_some_and(|h| h.contains("changes stop")), "{refused}");

    let id = pending["approval"]["request_id"].as_str().expect("a request");
    let output = home.run(&["approvals", "approve", id], &format!("{}\n", person.code()));
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("E_AUDIT_UNAVAILABLE"), "{said}");
    assert!(target.exists(), "a change without a record");
    assert_eq!((count(&home, "vote.cast"), count(&home, "exec.consumed")), (0, 0));

    let seen = log_text(&home).len();
    drop(filler);
    server.done("dir", json!({ "path": "/" }));
    let log = log_text(&home);
    let first = log.get(seen..).and_then(|new| new.lines().next()).expect("a record");
    let first: Value = serde_json::from_str(first).expect("JSON");
    assert_eq!(first["event"], "audit.gap", "{first}");
    assert!(first["detail"]["missed_reads"].as_u64() >= Some(1), "{first}");
    assert!(first["detail"]["missed_changes"].as_u64() >= Some(2), "{first}");

    home.approve(&person, &pending);
    assert!(!target.exists());
    log_verifies(&home);
}

#[test]
fn a_home_that_is_read_only_reads_on_and_changes_nothing() {
    if !root_for("a file system of its own") {
        return;
    }
    let home = Home::new();
    let state = home.path().join("state");
    decide_fast(&home, 120);
    let _mounted = small_state(&state, 2 << 10);
    let target = home.file("target.bin", b"bytes");
    let person = home.enroll("alex");
    let pending = propose(&home, "remediate", json!({ "type": "file", "id": target }));
    rustix::mount::mount_remount(&state, rustix::mount::MountFlags::RDONLY, c"").expect("a remount");

    let mut server = Server::connected(&home);
    let read = server.done("dir", json!({ "path": "/" }));
    assert!(warns_of_the_log(&read), "{read}");
    let refused = server.call("remediate", json!({ "type": "file", "id": target, "reason": "again" }));
    let state = refused["state"].as_str().unwrap_or("");
    assert!(state == "pending_approval" || refused["error"]["code"] == "E_AUDIT_UNAVAILABLE", "{refused}");
    server.fails("E_STORE_UNAVAILABLE", "getfile", json!({ "path": target }));
    let id = pending["approval"]["request_id"].as_str().expect("a request");
    let output = home.run(&["approvals", "approve", id], &format!("{}\n", person.code()));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("E_AUDIT_UNAVAILABLE"), "{said}");
    assert!(target.exists());
}

/// What a process says of a home that it must not trust.
fn said_of(home: &Home) -> String {
    let target = home.file("target.bin", b"bytes");
    let refused = call(home, "remediate", json!({ "type": "file", "id": target }));
    assert_eq!(refused["state"], "refused", "{refused}");
    let mut said = String::new();
    for arguments in [
        vec!["approver".to_owned(), "enroll".into(), "alex".into()],
        vec!["call".into(), "getfile".into(), json!({ "path": target }).to_string()],
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = home.run(&arguments, "\n");
        assert!(!output.status.success(), "{arguments:?} went through");
        let text = [output.stdout, output.stderr].concat();
        said.push_str(&String::from_utf8_lossy(&text));
        said.push('\n');
    }
    assert!(target.exists());
    said
}

#[test]
fn a_home_that_others_may_write_is_refused_by_name() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let state = home.path().join("state");
    std::fs::set_permissions(&state, PermissionsExt::from_mode(0o777)).expect("a mode");
    let said = said_of(&home);
    for line in said.lines().filter(|l| l.contains("_UNAVAILABLE") && !l.contains("could not be put on record")) {
        assert!(line.contains("may be written by others") && line.contains(state.to_str().unwrap()), "{said}");
    }
    assert!(said.contains("chmod go-w"), "{said}");
    assert_eq!(std::fs::read_dir(&state).expect("a folder").count(), 0, "something was made there");
}

#[test]
fn a_home_of_another_account_is_refused_by_name() {
    if !root_for("another owner") {
        return;
    }
    let home = Home::new();
    let state = home.path().join("state");
    std::os::unix::fs::chown(&state, Some(65534), Some(65534)).expect("an owner");
    let said = said_of(&home);
    for line in said.lines().filter(|l| l.contains("_UNAVAILABLE") && !l.contains("could not be put on record")) {
        assert!(line.contains("belongs to another account") && line.contains(state.to_str().unwrap()), "{said}");
    }
    assert_eq!(std::fs::read_dir(&state).expect("a folder").count(), 0, "something was made there");
}
