//! Actions that somebody cancels, and what is then known of them.

use super::changes::{EVIL, file};
use crate::support::tenant::{Case, request};
use crate::support::{Said, ended, text};
use serde_json::{Value, json};
use std::process::Output;
use std::time::{Duration, Instant};

const VALUE: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run\SecurityHealth";

impl Case {
    /// Has the plan carried out and its action cancelled in the portal once it has this status.
    fn approved_and_cancelled(&self, pending: &Value, check: &str, at: &str) -> Output {
        let approver = self.approving(pending, check);
        let deadline = Instant::now() + Duration::from_secs(60);
        let token = self.tenant.token();
        let id = loop {
            let mine = |a: &&Value| a["requestorComment"].to_string().contains(&request(pending));
            if let Some(action) = self.actions().iter().find(mine).filter(|a| a["status"] == at) {
                break text(&action["id"]);
            }
            assert!(Instant::now() < deadline, "no action that is {at}");
            std::thread::sleep(Duration::from_millis(20));
        };
        let path = format!("/api/machineactions/{id}/cancel");
        let (status, answer) = self.tenant.api(&token, "POST", &path, Some(json!({ "Comment": "not now" })));
        assert_eq!(status, 200, "{answer}");
        self.heard(ended(approver))
    }
}

#[test]
fn a_cancelled_isolation_may_have_taken_place() {
    let (case, name) = Case::of("linux", &[]);
    case.tenant.control(json!({ "action": { "running_ms": 3000, "cancelled_though_it_ran": true } }));
    let pending = case.ask(&name, "isolate", json!({ "type": "full" }));
    case.approved_and_cancelled(&pending, "", "InProgress").expect(1).says("E_OUTCOME_UNKNOWN");
    assert_eq!(case.device(&name)["isolated"], true);
    let status = case.status(&pending);
    assert_eq!((&status["state"], &status["verified"]), (&json!("unknown"), &json!("unknown")), "{status}");
    assert_eq!(case.tenant.count("isolate"), 1);
}

#[test]
fn a_cancelled_quarantine_is_judged_by_what_the_device_has() {
    let (case, name) = Case::synced("windows", &[]);
    let order = |ran: bool| json!({ "action": { "type": "StopAndQuarantineFile", "pending_ms": 1000, "running_ms": 3000, "cancelled_though_it_ran": ran } });
    case.tenant.control(order(false));
    let pending = case.ask(&name, "remediate", file(EVIL));
    case.approved_and_cancelled(&pending, &name, "Pending").expect(1).says("E_OUTCOME_UNKNOWN");
    assert!(case.has(&name, EVIL));
    assert_eq!(case.status(&pending)["state"], "unknown");
    case.tenant.control(order(true));
    let pending = case.ask(&name, "remediate", file(EVIL));
    let said = case.approved_and_cancelled(&pending, &name, "InProgress").expect(0).out();
    assert!(said.contains("verified: yes"), "{said}");
    assert!(!case.has(&name, EVIL));
    let row = case.status(&pending)["data"]["rows"][0].clone();
    assert!(row["note"].to_string().contains("cancelled"), "{row}");
}

#[test]
fn a_cancelled_script_is_judged_by_what_it_said() {
    let (case, name) = Case::synced("windows", &[]);
    let order = |pending: u64, ran: bool| json!({ "action": { "type": "LiveResponse", "pending_ms": pending, "running_ms": 3000, "cancelled_though_it_ran": ran } });
    let pending = case.ask(&name, "remediate", json!({ "type": "registry", "id": VALUE }));
    case.tenant.control(order(1500, false));
    // It never began: no word of its commands says that one was started.
    case.approved_and_cancelled(&pending, "", "Pending").expect(1).says("E_BACKEND");
    let pending = case.ask(&name, "remediate", json!({ "type": "registry", "id": VALUE }));
    case.tenant.control(order(0, true));
    let said = case.approved_and_cancelled(&pending, "", "InProgress").expect(0).out();
    assert!(said.contains("verified: yes"), "{said}");
    assert!(case.status(&pending)["data"]["rows"][0]["undo_id"].is_string());
}

#[test]
fn a_cancel_that_comes_too_late_ends_with_what_was_done() {
    let (case, name) = Case::synced("windows", &[]);
    let pending = case.ask(&name, "remediate", file(EVIL));
    // It begins when its window has passed, while it is being taken back.
    let order =
        json!({ "type": "StopAndQuarantineFile", "pending_ms": 5500, "running_ms": 300, "cancel_too_late": true });
    case.tenant.control(json!({ "action": order }));
    let said = case.approve(&pending, &name).expect(0).out();
    assert!(said.contains("verified: yes"), "{said}");
    assert_eq!((case.tenant.count("cancel"), case.tenant.count("stop_and_quarantine")), (1, 1));
    assert!(!case.has(&name, EVIL));
}
