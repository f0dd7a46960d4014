//! `kill -9` at each step of a gated call.

use crate::rpc_client::{Home, Person};
use crate::server::{
    PATIENCE, Server, Started, call, count, decide_fast, is_root, log_text, log_verifies, propose, requests,
    start_approving, until,
};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

/// So large that copying and hashing it can be hit.
const SIZE: usize = 3 << 20;
const AT_ONCE: usize = 8;

/// What has to be there before the approver's side is killed.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mark {
    Started,
    Record(&'static str),
    /// A deed's folder in the quarantine.
    Folder,
    Content,
    Gone,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    mark: Mark,
    then_us: u64,
}

/// A home with an enrolled person and a file that somebody wants to be gone.
struct Stage {
    home: Home,
    person: Person,
    file: PathBuf,
    bytes: Vec<u8>,
    facts: Facts,
}

#[derive(PartialEq, Debug)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
}

impl Facts {
    fn of(file: &Path) -> Facts {
        let m = std::fs::symlink_metadata(file).expect("metadata");
        Facts { mode: m.mode(), owner: (m.uid(), m.gid()), modified: (m.mtime(), m.mtime_nsec()) }
    }
}

impl Stage {
    fn set(seed: u64) -> Stage {
        let home = Home::new();
        decide_fast(&home, 120);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .take(SIZE / 8)
        .flatten()
        .collect();
        let file = home.file("dropper.bin", &bytes);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o4751)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&file, Some(4242), Some(4343)).unwrap();
            // The owner's change takes the set-user-id bit.
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o4751)).unwrap();
        }
        let then = SystemTime::UNIX_EPOCH + Duration::new(1_600_000_000, 123_456_789);
        std::fs::File::open(&file).unwrap().set_modified(then).unwrap();
        let person = home.enroll("alex");
        let facts = Facts::of(&file);
        Stage { home, person, file, bytes, facts }
    }

    fn remediate(&self) -> Value {
        propose(&self.home, "remediate", json!({ "type": "file", "id": self.file }))
    }

    fn is_as_it_was(&self) -> bool {
        std::fs::read(&self.file).is_ok_and(|b| b == self.bytes) && Facts::of(&self.file) == self.facts
    }

    fn has_come(&self, mark: Mark) -> bool {
        let folders = || {
            let entries = std::fs::read_dir(self.home.path().join("state/quarantine"));
            entries.into_iter().flatten().flatten().map(|e| e.path())
        };
        match mark {
            Mark::Started => true,
            Mark::Record(event) => count(&self.home, event) > 0,
            Mark::Folder => folders().next().is_some(),
            Mark::Content => folders().any(|f| f.join("content").exists()),
            Mark::Gone => !self.file.exists(),
        }
    }

    fn state_of(&self, pending: &Value) -> Value {
        let rows = requests(&self.home);
        let row = rows.iter().find(|r| r["request_id"] == pending["approval"]["request_id"]);
        row.unwrap_or_else(|| panic!("{pending} is lost: {rows:?}"))["state"].clone()
    }
}

/// Asks, lets a person say yes, kills the process that carries it out, and looks at what is left.
fn killed_at(number: u64, point: Point) -> String {
    let stage = Stage::set(number + 1);
    let pending = stage.remediate();
    let mut approving = start_approving(&stage.home, &stage.person, &pending);
    let deadline = Instant::now() + PATIENCE;
    while !stage.has_come(point.mark) {
        assert!(Instant::now() < deadline, "{point:?} never came");
        // What has ended has passed the mark.
        if approving.0.try_wait().expect("a child").is_some() {
            break;
        }
        std::thread::yield_now();
    }
    let kill_at = Instant::now() + Duration::from_micros(point.then_us);
    while Instant::now() < kill_at {
        std::hint::spin_loop();
    }
    drop(approving);
    what_is_left(&stage, &pending)
}

fn what_is_left(stage: &Stage, pending: &Value) -> String {
    let home = &stage.home;
    let untouched = stage.is_as_it_was();
    assert!(untouched || !stage.file.exists(), "the file is half done");
    let state = stage.state_of(pending);
    log_verifies(home);
    for event in ["exec.consumed", "exec.started", "exec.finished", "exec.unknown"] {
        assert!(count(home, event) <= 1, "{event} stands more than once");
    }
    let status = call(home, "status", json!({ "command_id": pending["command_id"] }));
    let told = status["data"]["command"]["state"].as_str().expect("a state").to_owned();
    let state = state.as_str().expect("a state").to_owned();
    let fits = match state.as_str() {
        "pending" => untouched && told == "pending_approval",
        // The vote counted; nobody may consume it any more, and it expires.
        "approved" => untouched && told == "running",
        "unknown" => told == "unknown",
        "done" => !untouched && told == "completed",
        _ => false,
    };
    assert!(fits, "{state}, {told}, untouched: {untouched}: {}", log_text(home));
    let list = call(home, "remediate", json!({ "list": true }));
    assert_eq!(list["state"], "completed", "{list}");
    assert!(list["warnings"].as_array().is_none_or(Vec::is_empty), "{list}");
    if untouched {
        remediates_again(stage, pending, &state);
    } else {
        comes_back(stage, &list);
    }
    log_verifies(home);
    format!("{state}{}", if untouched { "" } else { ", file gone" })
}

/// Nothing was done: asking anew, or the request that still waits, works.
fn remediates_again(stage: &Stage, first: &Value, state: &str) {
    let pending = if state == "pending" { first.clone() } else { stage.remediate() };
    assert_eq!(state != "pending", pending["approval"]["request_id"] != first["approval"]["request_id"]);
    stage.home.approve(&stage.person, &pending);
    assert!(!stage.file.exists(), "the file is still there");
    assert_eq!(stage.state_of(&pending), "done");
}

/// The file is gone: `remediate list` tells of it, and `undo` brings it back as it was.
fn comes_back(stage: &Stage, list: &Value) {
    let rows = list["data"]["rows"].as_array().expect("rows");
    let row = rows.iter().find(|r| r["path"].as_str() == stage.file.to_str());
    let row = row.unwrap_or_else(|| panic!("the file is gone and on no list: {list}"));
    assert!(["quarantined", "moved_aside"].contains(&row["outcome"].as_str().unwrap_or("")), "{row}");
    let undo = propose(&stage.home, "undo", json!({ "type": "file", "id": row["undo_id"] }));
    stage.home.approve(&stage.person, &undo);
    assert!(stage.is_as_it_was(), "the file did not come back as it was: {:?}", Facts::of(&stage.file));
    let beside: Vec<_> = std::fs::read_dir(stage.file.parent().unwrap()).unwrap().flatten().collect();
    assert_eq!(beside.len(), 1, "something was left beside the file: {beside:?}");
}

/// Points over the whole way from the vote to the record.
fn points() -> Vec<Point> {
    let at = |mark, delays: &[u64]| delays.iter().map(|d| Point { mark, then_us: *d }).collect::<Vec<_>>();
    [
        at(Mark::Started, &[0, 20_000, 1_000_000]),
        at(Mark::Record("prompt.shown"), &[0, 500_000, 990_000]),
        at(Mark::Record("vote.cast"), &[0, 300, 1_000]),
        at(Mark::Record("exec.consumed"), &[0, 200, 600, 1_500, 3_000]),
        at(Mark::Record("exec.started"), &[0, 200, 500, 1_000, 2_500, 5_000]),
        at(Mark::Folder, &[0, 300, 800, 1_500, 3_000, 6_000]),
        at(Mark::Content, &[0, 1_000, 3_000, 6_000, 9_000, 12_000, 16_000, 20_000, 25_000]),
        at(Mark::Gone, &[0, 0, 100, 300, 600, 1_000, 2_000, 4_000, 8_000, 16_000]),
        at(Mark::Record("exec.finished"), &[0, 500]),
    ]
    .concat()
}

#[test]
fn a_kill_at_any_point_of_an_approved_remediation_leaves_it_whole() {
    let points = points();
    let next = Mutex::new(points.iter().enumerate());
    let seen = Mutex::new(std::collections::BTreeMap::<String, usize>::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((number, point)) = next.lock().unwrap().next() else { return };
                    let ended = std::panic::catch_unwind(|| killed_at(number as u64, *point));
                    let ended = ended.unwrap_or_else(|_| panic!("killed at {point:?}"));
                    *seen.lock().unwrap().entry(ended).or_default() += 1;
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    eprintln!("{seen:?}");
    assert!(seen.contains_key("pending"), "no kill came before the vote: {seen:?}");
    assert!(seen.contains_key("unknown"), "no kill came between consume and effect: {seen:?}");
    assert!(seen.contains_key("done, file gone"), "no kill came after the record: {seen:?}");
}

#[test]
fn an_approved_request_whose_executor_died_expires() {
    let home = Home::new();
    decide_fast(&home, 1);
    let file = home.file("dropper.bin", b"x");
    let person = home.enroll("alex");
    let pending = propose(&home, "remediate", json!({ "type": "file", "id": file }));
    let mut approving = start_approving(&home, &person, &pending);
    until("a vote", || count(&home, "request.approved") > 0 || approving.0.try_wait().unwrap().is_some());
    drop(approving);
    // The kill may have come too late; then there is nothing to expire.
    if count(&home, "exec.consumed") == 0 {
        let state = || requests(&home)[0]["state"].clone();
        until("expiry", || state() == "expired");
        assert!(file.exists());
        assert!(log_text(&home).contains("\"stage\":\"approved\""));
    }
    log_verifies(&home);
}

#[test]
fn the_asking_server_may_die_before_during_and_after() {
    let stage = Stage::set(99);
    // While it resolves: nothing waits, or a whole request.
    let mut server = Server::connected(&stage.home);
    server.send("remediate", json!({ "type": "file", "id": stage.file }));
    server.kill();
    log_verifies(&stage.home);
    assert!(requests(&stage.home).len() <= 1);

    // Before the yes.
    let mut server = Server::connected(&stage.home);
    let pending = server.call("remediate", json!({ "type": "file", "id": stage.file }));
    assert_eq!(pending["state"], "pending_approval", "{pending}");
    server.kill();

    // And its successor while it waits for the end.
    let mut server = Server::connected(&stage.home);
    server.send("fg", json!({ "command_id": pending["command_id"] }));
    let mut approving = start_approving(&stage.home, &stage.person, &pending);
    until("the plan's start", || count(&stage.home, "exec.consumed") > 0);
    server.kill();
    assert!(approving.0.wait().expect("an end").success());
    assert!(!stage.file.exists());

    let mut server = Server::connected(&stage.home);
    let told = server.followed(&pending);
    assert_eq!((&told["state"], &told["verified"]), (&json!("completed"), &json!("yes")), "{told}");
    log_verifies(&stage.home);
}

#[test]
fn a_kill_while_a_process_is_stopped_leaves_it_running_or_stopped() {
    let delays = [0, 300, 1_000, 2_000, 4_000, 8_000];
    std::thread::scope(|scope| {
        for delay in delays {
            scope.spawn(move || stop_killed_at(delay));
        }
    });
}

fn stop_killed_at(delay_us: u64) {
    let stage = Stage::set(delay_us + 7);
    let image = stage.home.path().join("files/sleeper");
    std::fs::copy("/bin/sleep", &image).expect("a copy");
    let spawn = || loop {
        match Command::new(&image).arg("600").spawn() {
            // Another thread's fork may hold the new file open for a moment.
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            child => break Started(child.expect("a process")),
        }
    };
    let mut sleeper = spawn();
    let id = sleeper.0.id().to_string();
    let pending = propose(&stage.home, "remediate", json!({ "type": "process", "id": id }));
    let mut approving = start_approving(&stage.home, &stage.person, &pending);
    until("the plan's start", || count(&stage.home, "exec.started") > 0 || approving.0.try_wait().unwrap().is_some());
    let kill_at = Instant::now() + Duration::from_micros(delay_us);
    while Instant::now() < kill_at {
        std::hint::spin_loop();
    }
    drop(approving);
    let state = stage.state_of(&pending);
    assert!(["unknown", "done", "failed"].contains(&state.as_str().unwrap_or("")), "{state}");
    assert!(count(&stage.home, "exec.consumed") == 1 && count(&stage.home, "exec.started") == 1);
    log_verifies(&stage.home);
    // By now a signal that was sent has come to its end.
    let runs = sleeper.0.try_wait().expect("a child").is_none();
    let list = call(&stage.home, "remediate", json!({ "list": true, "type": "process" }));
    assert_eq!(list["state"], "completed", "{list}");
    for row in list["data"]["rows"].as_array().expect("rows").iter().filter(|r| r["id"] == json!(id)) {
        let told = row["outcome"].as_str().unwrap_or("");
        let expected = if runs { ["not_done"].as_slice() } else { &["stopped", "image_kept"] };
        assert!(expected.contains(&told), "{row}, runs: {runs}");
    }
    if runs {
        let again = propose(&stage.home, "remediate", json!({ "type": "process", "id": id }));
        stage.home.approve(&stage.person, &again);
        assert!(sleeper.0.wait().is_ok());
    }
}
