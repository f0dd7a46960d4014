//! Changes that take a file, several entities or the library, and what stops them half way.

use crate::support::tenant::{Case, refused};
use crate::support::{Said, text};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const EVIL: &str = r"C:\Users\Public\Libraries\svch0st.exe";
pub const UPDATER: &str = r"C:\Users\m.keller\AppData\Roaming\Updater\upd.exe";
const LURE: &str = r"C:\Users\m.keller\Downloads\invoice_8841.js";
const DOWNLOADS: &str = r"C:\ProgramData\Microsoft\Windows Defender Advanced Threat Protection\Downloads";

pub fn file(id: &str) -> Value {
    json!({ "type": "file", "id": id })
}

fn rows(status: &Value) -> Vec<String> {
    status["data"]["rows"].as_array().expect("rows").iter().map(|row| text(&row["id"])).collect()
}

impl Case {
    /// Whether the device has the file.
    pub fn has(&self, device: &str, path: &str) -> bool {
        let output = self.call(device, "fileinfo", json!({ "path": path }));
        match output.code() {
            0 => true,
            _ => {
                refused(output, 1, "E_NOT_FOUND");
                false
            }
        }
    }

    /// Puts bytes on the device under a name, as somebody else does it.
    fn put(&self, device: &str, name: &str, content: &str) {
        let token = self.tenant.token();
        let _ = self.tenant.api(&token, "DELETE", &format!("/api/libraryfiles/{name}"), None);
        assert_eq!(self.tenant.upload(&token, name, content).0, 200);
        let command = json!([{ "type": "PutFile", "params": [{ "key": "FileName", "value": name }] }]);
        let id = text(&self.device(device)["id"]);
        assert_eq!(self.tenant.live_response(&token, &id, command)["status"], "Succeeded");
    }
}

#[test]
fn a_file_on_windows_is_taken_by_the_tenants_own_action() {
    let (case, name) = Case::synced("windows", &[]);
    let info = case.call(&name, "fileinfo", json!({ "path": EVIL })).expect(0).json()["data"].clone();
    let pending = case.ask(&name, "remediate", file(EVIL));
    let screen = case.screen(&pending);
    for said in [EVIL, "wherever it is there", &text(&info["sha1"]), &text(&info["sha256"])] {
        assert!(screen.contains(said), "no {said} in {screen}");
    }
    assert_eq!(case.tenant.count("stop_and_quarantine"), 0);
    let said = case.approve(&pending, &name).expect(0).out();
    assert!(said.contains("verified: yes"), "{said}");
    assert_eq!(case.tenant.count("stop_and_quarantine"), 1);
    assert!(!case.has(&name, EVIL));
    let processes = case.call(&name, "processes", json!({ "name": "svch0st.exe" })).expect(0).json();
    assert_eq!(processes["data"]["rows"], json!([]), "what ran of it runs on");
    let status = case.status(&pending);
    assert_eq!((&status["state"], rows(&status)), (&json!("completed"), vec![EVIL.to_owned()]), "{status}");
    // Defender keeps it: the pack has nothing to give back.
    refused(case.call(&name, "undo", file(EVIL)), 1, "E_NOT_FOUND");
}

#[test]
fn a_plan_of_several_files_goes_on_though_it_takes_longer_than_its_window() {
    let (case, name) = Case::synced("windows", &[]);
    // Each takes 2 s, and all of them have to begin within 5 s of their turn.
    case.tenant.control(json!({ "action": { "type": "StopAndQuarantineFile", "running_ms": 2000, "times": 3 } }));
    let ids = [EVIL, UPDATER, LURE];
    let pending = case.ask(&name, "remediate", json!({ "type": "file", "ids": ids }));
    let said = case.approve(&pending, &name).expect(0).out();
    assert!(said.contains("verified: yes"), "{said}");
    let status = case.status(&pending);
    assert_eq!(rows(&status), ids, "{status}");
    assert_eq!(case.tenant.count("stop_and_quarantine"), 3);
}

#[test]
fn a_plan_stops_at_the_first_step_that_fails() {
    let (case, name) = Case::synced("windows", &[]);
    case.tenant.control(json!([
        { "action": { "type": "StopAndQuarantineFile" } },
        { "action": { "type": "StopAndQuarantineFile", "ends": "Failed", "error_hresult": -2_147_024_891 } },
    ]));
    let pending = case.ask(&name, "remediate", json!({ "type": "file", "ids": [EVIL, UPDATER, LURE] }));
    case.approve(&pending, &name).expect(1).says("0x80070005");
    let status = case.status(&pending);
    assert_eq!((&status["state"], rows(&status)), (&json!("failed"), vec![EVIL.to_owned()]), "{status}");
    assert_eq!((&status["verified"], &status["error"]["code"]), (&json!("no"), &json!("E_BACKEND")), "{status}");
    assert_eq!(case.tenant.count("stop_and_quarantine"), 2);
    assert!(!case.has(&name, EVIL) && case.has(&name, LURE));
}

#[test]
fn a_file_that_is_another_one_by_now_is_not_taken() {
    let (case, name) = Case::synced("windows", &[]);
    let path = format!(r"{DOWNLOADS}\tool.txt");
    case.put(&name, "tool.txt", "what the person saw");
    let pending = case.ask(&name, "remediate", json!({ "type": "file", "ids": [EVIL, path, UPDATER] }));
    case.put(&name, "tool.txt", "what is there now!!");
    case.approve(&pending, &name).expect(1).says("E_ENTITY_DRIFT");
    let status = case.status(&pending);
    assert!(status["error"]["message"].to_string().contains("step 2"), "{status}");
    assert_eq!(rows(&status), [EVIL], "{status}");
    assert_eq!(case.tenant.count("stop_and_quarantine"), 1);
    assert!(case.has(&name, &path) && case.has(&name, UPDATER));
}

#[test]
fn a_device_that_is_off_keeps_nothing_of_a_plan_that_could_not_look() {
    let (case, name) = Case::synced("windows", &[]);
    let pending = case.ask(&name, "remediate", file(EVIL));
    case.tenant.control(json!({ "device": { "device": name, "online": false } }));
    let began = Instant::now();
    case.approve(&pending, &name).expect(1).says("E_DEVICE_OFFLINE");
    assert!(began.elapsed() < Duration::from_secs(30), "it waited on after its window");
    let open: Vec<Value> = case.actions().into_iter().filter(|a| a["status"] == "Pending").collect();
    assert!(open.is_empty(), "it left {open:?}");
    assert_eq!(case.tenant.count("stop_and_quarantine"), 0);
}

#[test]
fn a_library_file_is_put_on_the_device() {
    for (platform, folder) in [("windows", Some(DOWNLOADS)), ("linux", None)] {
        let (case, name) = Case::synced(platform, &[]);
        case.library("rules.txt", b"what to look for\n");
        refused(case.call(&name, "putfile", json!({ "file": "rules.txt", "keep": true })), 3, "E_UNSUPPORTED");
        let pending = case.ask(&name, "putfile", json!({ "file": "rules.txt" }));
        let screen = case.screen(&pending);
        let put = screen.split_whitespace().find(|w| w.starts_with("lr-put-rules-")).expect("its name").to_owned();
        assert_eq!(case.tenant.count("run_live_response"), 0);
        let said = case.approve(&pending, "").expect(0).out();
        assert!(said.contains("put"), "{said}");
        let status = case.status(&pending);
        let row = &status["data"]["rows"][0];
        assert_eq!((&row["outcome"], &row["size_bytes"]), (&json!("put"), &json!(17)), "{status}");
        assert_eq!(case.tenant.count("run_live_response"), 1);
        if let Some(folder) = folder {
            let path = format!(r"{folder}\{put}");
            let there = case.call(&name, "fileinfo", json!({ "path": path })).expect(0).json();
            assert_eq!(there["data"]["sha256"], row["sha256"]);
        }
    }
}

#[test]
fn what_somebody_changed_in_either_library_is_not_put() {
    let (case, name) = Case::of("windows", &[]);
    case.library("rules.txt", b"what to look for\n");
    let pending = case.ask(&name, "putfile", json!({ "file": "rules.txt" }));
    let screen = case.screen(&pending);
    let put = screen.split_whitespace().find(|w| w.starts_with("lr-put-rules-")).expect("its name");
    case.tenant.upload(&case.tenant.token(), put, "something else");
    let said = case.approve(&pending, "").expect(1).says("E_SCRIPT_DRIFT");
    assert!(said.err().contains(put) && !said.err().contains("not run"), "{}", said.err());
    assert_eq!(case.tenant.count("run_live_response"), 0);
    let pending = case.ask(&name, "putfile", json!({ "file": "rules.txt" }));
    let file = case.home.file("rules.txt", b"other bytes\n");
    case.run(&["library", "add", "--overwrite", &file.display().to_string()], "").expect(0);
    assert_eq!(case.status(&pending)["error"]["code"], "E_SCRIPT_DRIFT");
}

#[test]
fn a_file_that_the_tenant_takes_not_is_refused_before_a_person_is_asked() {
    let (case, name) = Case::of("windows", &[]);
    case.library("big.bin", &vec![7; 20_000_001]);
    let refusal = case.call(&name, "putfile", json!({ "file": "big.bin" }));
    refused(refusal, 3, "E_TOO_LARGE");
    assert_eq!(case.home.count("request.created"), 0);
}

#[test]
fn an_upload_whose_answer_is_lost_is_looked_up() {
    let (case, name) = Case::of("windows", &[]);
    case.library("rules.txt", b"what to look for\n");
    let fault = json!({ "endpoint": "library_upload", "do": { "cut": { "carried_out": true } } });
    case.tenant.control(json!({ "fault": fault }));
    let pending = case.ask(&name, "putfile", json!({ "file": "rules.txt" }));
    case.approve(&pending, "").expect(0);
    assert_eq!((case.tenant.count("library_upload"), case.tenant.count("run_live_response")), (1, 1));
}
