//! Enrolment: the first one is open, and nothing that was lost, cut or swapped opens it again.

use crate::rpc_client::{Home, Rpc};
use crate::{assert_code, connect, said};
use serde_json::json;

fn cannot_enroll(home: &Home, what: &str) {
    let output = home.run(&["approver", "enroll", "mallory"], "\n");
    assert!(!output.status.success(), "{what}: {}", said(&output));
    assert!(!said(&output).contains("otpauth://"), "{what}: {}", said(&output));
}

#[test]
fn a_second_enrolment_needs_the_first_ones_factor() {
    let home = Home::new();
    home.enroll("alex");
    cannot_enroll(&home, "no code");
    for lines in ["000000\n\n", "\n\n", "mallory\n000000\n"] {
        let output = home.run(&["approver", "enroll", "mallory", "--as", "alex"], lines);
        assert!(!output.status.success() && !said(&output).contains("otpauth://"), "{}", said(&output));
    }
    let output = home.run(&["approver", "enroll", "ALEX"], "\n");
    assert!(!output.status.success() && !said(&output).contains("otpauth://"), "{}", said(&output));
}

#[test]
fn a_deleted_log_does_not_open_the_first_enrolment_again() {
    let home = Home::new();
    home.enroll("alex");
    std::fs::remove_dir_all(home.path().join("state/audit")).expect("gone");
    cannot_enroll(&home, "log deleted");
}

#[test]
fn an_emptied_log_does_not_open_the_first_enrolment_again() {
    let home = Home::new();
    home.enroll("alex");
    for entry in std::fs::read_dir(home.path().join("state/audit")).expect("a folder") {
        std::fs::write(entry.expect("an entry").path(), "").expect("emptied");
    }
    cannot_enroll(&home, "log emptied");
}

#[test]
fn a_log_cut_before_the_enrolment_does_not_open_it_again() {
    let home = Home::new();
    // Something on record before anybody is enrolled.
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    drop(rpc);
    home.enroll("alex");
    let audit = home.path().join("state/audit");
    for entry in std::fs::read_dir(audit).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        if let Some((before, _)) = text.split_once("\"approver.enrolled\"") {
            let whole = before.rfind('\n').map_or(0, |i| i + 1);
            std::fs::write(&path, text.get(..whole).expect("lines")).expect("cut");
        }
    }
    cannot_enroll(&home, "log cut");
}

#[test]
fn a_deleted_guard_folder_does_not_open_the_first_enrolment_again() {
    let home = Home::new();
    home.enroll("alex");
    std::fs::remove_dir_all(home.path().join("state/guard")).expect("gone");
    cannot_enroll(&home, "guard/ deleted");
}

#[test]
fn a_person_who_was_removed_leaves_the_enrolment_open_for_a_person() {
    let home = Home::new();
    let person = home.enroll("alex");
    let output = home.run(&["approver", "remove", "alex"], format!("{}\n", person.code()));
    assert!(output.status.success(), "{}", said(&output));
    home.enroll("robin");
}

#[test]
fn a_swapped_secret_proves_nothing() {
    let home = Home::new();
    home.enroll("alex");
    let other = Home::new();
    let mallory = other.enroll("alex");
    let seed = "state/guard/approvers/alex.json";
    std::fs::copy(other.path().join(seed), home.path().join(seed)).expect("a copy");
    let file = home.file("x", b"x");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let pending = rpc.call("remediate", json!({ "type": "file", "id": file }));
    let id = pending["approval"]["request_id"].as_str().expect("a request");
    let output = home.run(&["approvals", "approve", id], format!("{}\n", mallory.code()));
    assert!(!output.status.success() && said(&output).contains("E_FACTOR_INVALID"), "{}", said(&output));
    assert!(file.exists());
}

#[test]
fn gt_068_guesses_count_over_processes_and_lock_the_right_code_out() {
    let home = Home::new();
    let person = home.enroll("alex");
    let file = home.file("x", b"x");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let pending = rpc.call("remediate", json!({ "type": "file", "id": file }));
    let id = pending["approval"]["request_id"].as_str().expect("a request").to_owned();
    let right = person.code();
    let mut guesses = (0..10u32).map(|n| format!("{n:06}")).filter(|g| *g != right);
    let children: Vec<_> = (0..6)
        .map(|_| {
            let guess = guesses.next().expect("a guess");
            let mut command = home.command(&["approvals", "approve", &id]);
            command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
            let mut child = command.stderr(std::process::Stdio::piped()).spawn().expect("the binary");
            use std::io::Write;
            writeln!(child.stdin.take().expect("stdin"), "{guess}").expect("a code");
            child
        })
        .collect();
    for child in children {
        assert!(!child.wait_with_output().expect("an end").status.success());
    }
    let output = home.run(&["approvals", "approve", &id], format!("{right}\n"));
    assert!(!output.status.success() && said(&output).contains("E_RATE_LIMITED"), "{}", said(&output));
    assert!(file.exists());
    assert_eq!(
        rpc.call("status", json!({ "command_id": pending["command_id"] }))["data"]["command"]["state"],
        "pending_approval"
    );
}

#[test]
fn gt_093_policies_that_cannot_be_trusted_refuse_changes_and_no_reads() {
    let home = Home::new();
    home.enroll("alex");
    let folder = home.path().join("config/live-response");
    std::fs::create_dir_all(&folder).expect("a folder");
    let policy = folder.join("policy.toml");
    let file = home.file("x", b"x");
    let wild = "version = 1\n[[rule]]\ncommands = [\"*\"]\ngroups = [\"*\"]\nlevel = \"L\"\nvotes = 1\n";
    let floor =
        "version = 1\n[[rule]]\ncommands = [\"remediate\"]\ngroups = [\"this-host\"]\nlevel = \"A0\"\nvotes = 0\n";
    use std::os::unix::fs::PermissionsExt;
    for (text, mode) in [
        ("version = 1\n", 0o666),
        ("version = 1\nversion = 1\n", 0o600),
        ("version = 2\n", 0o600),
        ("\u{feff}version = \n", 0o600),
        ("", 0o600),
        (wild, 0o600),
        (floor, 0o600),
        ("version = 1\n[defaults]\nmin_view_s = -1\n", 0o600),
        ("version = 1\non_timeout = \"approve\"\n", 0o600),
    ] {
        std::fs::write(&policy, text).expect("a policy");
        std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(mode)).expect("a mode");
        let mut rpc = Rpc::start(&home);
        connect(&mut rpc, "local");
        let answer = rpc.call("remediate", json!({ "type": "file", "id": file }));
        assert_code(&answer, "E_POLICY_INVALID");
    }
    std::fs::remove_file(&policy).expect("gone");
    std::os::unix::fs::symlink("/nowhere/policy.toml", &policy).expect("a link");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    assert_code(&rpc.call("remediate", json!({ "type": "file", "id": file })), "E_POLICY_INVALID");
    assert!(file.exists());
}
