//! Others who want the same device at the same time.

use super::changes::{EVIL, UPDATER, file};
use crate::support::tenant::Case;
use crate::support::{Said, ended, text};
use serde_json::{Value, json};

const RUN: &str = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run";
const STICKY: &str = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Image File Execution Options\sethc.exe";

fn value(key: &str, name: &str) -> Value {
    json!({ "type": "registry", "id": format!(r"{key}\{name}") })
}

impl Case {
    /// Somebody else's action on the device, under way.
    fn occupied(&self, device: &str, order: &Value) -> String {
        let token = self.tenant.token();
        assert_eq!(self.tenant.upload(&token, "theirs.ps1", "x").0, 200);
        self.tenant.control(json!({ "action": order }));
        let run = json!([{ "type": "RunScript", "params": [{ "key": "ScriptName", "value": "theirs.ps1" }] }]);
        let path = format!("/api/machines/{}/runliveresponse", text(&self.device(device)["id"]));
        let body = json!({ "Commands": run, "Comment": "the other team's triage" });
        let (status, action) = self.tenant.api(&token, "POST", &path, Some(body));
        assert_eq!(status, 201, "{action}");
        let id = text(&action["id"]);
        while self.actions().iter().all(|a| a["id"] != id || a["status"] != "InProgress") {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        id
    }
}

#[test]
fn two_responders_on_one_device_lose_nothing() {
    let (one, name) = Case::synced("windows", &[]);
    let other = one.beside(&name, "exec_window_s = 30");
    let (first, second) = (value(RUN, "SecurityHealth"), file(EVIL));
    let pending = (one.ask(&name, "remediate", first), other.ask(&name, "remediate", second));
    one.tenant.control(json!({ "action": { "type": "LiveResponse", "running_ms": 2500 } }));
    let before = one.tenant.count("run_live_response");
    let approver = one.approving(&pending.0, "");
    one.seen("run_live_response", before + 1);
    let said = other.approve(&pending.1, &name).expect(0).out();
    assert!(said.contains("verified: yes"), "{said}");
    let said = format!("{said}{}", other.status(&pending.1));
    assert!(said.contains("live-response r-") && said.contains("held by"), "nobody is named: {said}");
    one.heard(ended(approver)).expect(0);
    assert_eq!(one.status(&pending.0)["verified"], "yes");
    assert!(!one.has(&name, EVIL));
    let keys = one.call(&name, "registry", json!({ "key": RUN })).expect(0).json();
    assert!(!keys["data"]["rows"].to_string().contains("SecurityHealth"), "{keys}");
}

#[test]
fn a_device_that_another_holds_is_waited_for_and_the_holder_is_named() {
    let (case, name) = Case::synced("windows", &[]);
    let pending = case.ask(&name, "remediate", value(RUN, "SecurityHealth"));
    let id = case.occupied(&name, &json!({ "running_ms": 600_000 }));
    let before = case.actions().len();
    let said = case.approve(&pending, "").expect(1).says("E_DEVICE_BUSY").err();
    assert!(said.contains(&id) && said.contains("the other team's triage"), "{said}");
    assert_eq!(case.actions().len(), before, "something was started");
    // A read waits its own time.
    case.configure("[limits]\ncommand_s = 2");
    let busy = case.call(&name, "services", json!({})).expect(1).json();
    assert_eq!(busy["error"]["code"], "E_TIMEOUT", "{busy}");
    assert!(busy["warnings"].to_string().contains(&id), "{busy}");
}

#[test]
fn a_stuck_action_is_named_and_nothing_is_sent_against_it() {
    let (case, name) = Case::synced("windows", &[]);
    let pending = case.ask(&name, "remediate", value(RUN, "SecurityHealth"));
    // The service answers every further start on it with 500.
    let id = case.occupied(&name, &json!({ "stuck": true }));
    let before = case.tenant.count("run_live_response");
    let said = case.approve(&pending, "").expect(1).says("E_DEVICE_BUSY").err();
    assert!(said.contains(&id), "{said}");
    assert_eq!(case.tenant.count("run_live_response"), before);
    assert_eq!(case.home.count("exec.unknown"), 0);
}

#[test]
fn two_starts_in_the_same_second_keep_their_own_answers() {
    let (one, name) = Case::synced("windows", &["--same-second-starts", "--action-ms", "1500"]);
    let other = one.beside(&name, "exec_window_s = 30");
    let read = |case: &Case, tool: &str, arguments: Value| {
        case.start(&["call", tool, &arguments.to_string(), "--device", &name], "")
    };
    let (a, b) = (read(&one, "services", json!({})), read(&other, "fileinfo", json!({ "path": UPDATER })));
    let (a, b) = (one.heard(ended(a)).expect(0).json(), other.heard(ended(b)).expect(0).json());
    assert!(a["data"]["rows"].to_string().contains("Sense"), "{a}");
    assert_eq!(b["data"]["path"], UPDATER, "{b}");
    let pending = (
        one.ask(&name, "remediate", value(RUN, "SecurityHealth")),
        other.ask(&name, "remediate", value(STICKY, "Debugger")),
    );
    let approvers = (one.approving(&pending.0, ""), other.approving(&pending.1, ""));
    for output in [one.heard(ended(approvers.0)), other.heard(ended(approvers.1))] {
        let said = output.expect(0).out();
        assert!(said.contains("verified: yes"), "{said}");
    }
    for (key, gone) in [(RUN, "SecurityHealth"), (STICKY, "Debugger")] {
        let left = one.call(&name, "registry", json!({ "key": key })).expect(0).json()["data"]["rows"].to_string();
        assert!(!left.contains(gone), "{left}");
    }
}
