//! Programs that die while the tenant is at work for them: what goes on there is found again, and never begun again.

use super::changes::{EVIL, file};
use crate::support::Said;
use crate::support::tenant::Case;
use serde_json::{Value, json};

/// Has the plan begun, kills the approver, and gives what the next process makes of it.
fn orphaned(case: &Case, pending: &Value, check: &str, endpoint: &str) -> Value {
    let before = case.tenant.count(endpoint);
    let mut approver = case.approving(pending, check);
    case.seen(endpoint, before + 1);
    approver.kill().expect("a process");
    let _ = approver.wait();
    let status = case.outcome(pending);
    let started = case.tenant.log().iter().filter(|r| r.endpoint == endpoint && r.status == Some(201)).count();
    assert_eq!(case.home.count("exec.unknown"), 0, "{status}");
    assert_eq!(case.home.count("exec.finished"), 1, "{status}");
    let mine = case.actions().iter().filter(|a| a["requestorComment"].to_string().contains("approved by")).count();
    assert_eq!(mine, 1, "{started} starts were taken");
    status
}

#[test]
fn a_quarantine_goes_on() {
    let (case, name) = Case::synced("windows", &[]);
    case.tenant.control(json!({ "action": { "type": "StopAndQuarantineFile", "running_ms": 2000 } }));
    let pending = case.ask(&name, "remediate", file(EVIL));
    let status = orphaned(&case, &pending, &name, "stop_and_quarantine");
    assert_eq!((&status["state"], &status["verified"]), (&json!("completed"), &json!("yes")), "{status}");
    assert!(!case.has(&name, EVIL));
}

#[test]
fn a_script_of_the_pack_says_afterwards_what_it_did() {
    let (case, name) = Case::synced("windows", &[]);
    let value = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\SecurityHealth";
    let pending = case.ask(&name, "remediate", json!({ "type": "registry", "id": value }));
    case.tenant.control(json!({ "action": { "type": "LiveResponse", "running_ms": 2000 } }));
    let status = orphaned(&case, &pending, "", "run_live_response");
    assert_eq!((&status["state"], &status["verified"]), (&json!("completed"), &json!("yes")), "{status}");
    assert!(status["data"]["rows"][0]["undo_id"].is_string(), "{status}");
}

#[test]
fn the_output_of_a_script_is_kept_by_who_comes_next() {
    let (case, name) = Case::of("windows", &[]);
    case.library("who.ps1", b"whoami\n");
    let pending = case.ask(&name, "run", json!({ "script": "who.ps1", "parameters": ["a b"] }));
    case.tenant.control(json!({ "action": { "type": "LiveResponse", "running_ms": 2000 } }));
    let status = orphaned(&case, &pending, &name, "run_live_response");
    assert_eq!(status["state"], "completed", "{status}");
    let row = &status["data"]["rows"][0];
    assert!(row["sha256"].is_string() && row["exit_code"] == 0, "{status}");
    let held = case.run(&["call", "evidence", "{}"], "").expect(0).json()["data"]["rows"].to_string();
    assert!(held.contains(row["sha256"].as_str().unwrap_or_default()), "{held}");
}

#[test]
fn a_put_file_is_there() {
    let (case, name) = Case::of("windows", &[]);
    case.library("rules.txt", b"what to look for\n");
    let pending = case.ask(&name, "putfile", json!({ "file": "rules.txt" }));
    case.tenant.control(json!({ "action": { "type": "LiveResponse", "running_ms": 2000 } }));
    let status = orphaned(&case, &pending, "", "run_live_response");
    assert_eq!(
        (&status["state"], &status["data"]["rows"][0]["outcome"]),
        (&json!("completed"), &json!("put")),
        "{status}"
    );
}

#[test]
fn a_server_that_starts_again_waits_for_what_the_last_one_left() {
    let (case, name) = Case::synced("windows", &[]);
    case.tenant.control(json!({ "action": { "type": "LiveResponse", "running_ms": 2000 } }));
    let mut killed = case.start(&["call", "services", "{}", "--device", &name], "");
    case.seen("run_live_response", 1);
    killed.kill().expect("a process");
    let _ = killed.wait();
    let again = case.call(&name, "services", json!({})).expect(0).json();
    assert!(again["warnings"].to_string().contains("live-response read"), "nobody is named: {again}");
    assert_eq!(case.actions().len(), 2);
}
