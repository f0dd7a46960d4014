//! GT-020, GT-021, GT-081: one approval, one dispatch, whoever is first.

use crate::rpc_client::{Home, Rpc};
use crate::{connect, said};
use serde_json::json;
use std::io::Write;
use std::process::{Child, Stdio};

fn start(home: &Home, arguments: &[&str], line: &str) -> Child {
    let mut command = home.command(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it");
    // Who comes too late may have ended already.
    let _ = writeln!(child.stdin.take().expect("stdin"), "{line}");
    child
}

fn count(home: &Home, event: &str) -> usize {
    let log = home.run(&["audit", "show", "--json", "--event", event], "");
    log.stdout.split(|b| *b == b'\n').filter(|l| !l.is_empty()).count()
}

#[test]
fn gt_021_many_votes_at_once_are_one_dispatch() {
    let home = Home::new();
    let person = home.enroll("alex");
    let file = home.file("x", b"x");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let pending = rpc.call("remediate", json!({ "type": "file", "id": file }));
    let id = pending["approval"]["request_id"].as_str().expect("a request");
    let code = person.code();
    let voters: Vec<_> = (0..24).map(|_| start(&home, &["approvals", "approve", id], &code)).collect();
    let yes = voters.into_iter().map(|c| c.wait_with_output().expect("an end").status.success());
    assert_eq!(yes.filter(|yes| *yes).count(), 1);
    assert_eq!((count(&home, "exec.consumed"), count(&home, "exec.started")), (1, 1));
    let output = home.run(&["approvals", "approve", id], format!("{}\n", person.code()));
    assert!(!output.status.success() && said(&output).contains("E_CONSUMED"), "{}", said(&output));
}

#[test]
fn gt_081_a_no_and_a_cancel_beside_a_yes_leave_one_of_two_legal_orders() {
    let home = Home::new();
    let person = home.enroll("alex");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    for (round, rival) in ["deny", "cancel"].into_iter().enumerate() {
        let file = home.file(rival, rival.as_bytes());
        let pending = rpc.call("remediate", json!({ "type": "file", "id": file }));
        let id = pending["approval"]["request_id"].as_str().expect("a request");
        let before = count(&home, "exec.consumed");
        let yes = start(&home, &["approvals", "approve", id], &person.code());
        match rival {
            "deny" => drop(start(&home, &["approvals", "deny", id], "").wait_with_output()),
            _ => drop(rpc.call("cancel", json!({ "command_id": pending["command_id"] }))),
        }
        let approved = yes.wait_with_output().expect("an end").status.success();
        assert_eq!(count(&home, "exec.consumed") - before, usize::from(approved), "round {round}");
        assert_eq!(file.exists(), !approved, "round {round}");
    }
}

#[test]
fn an_equal_call_from_another_directory_is_another_request() {
    let home = Home::new();
    home.enroll("alex");
    let mut rpc = Rpc::start(&home);
    let mut ids = Vec::new();
    for folder in ["one", "two"] {
        let folder = home.path().join("files").join(folder);
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("x"), folder.display().to_string()).expect("a file");
        connect(&mut rpc, "local");
        rpc.call("cd", json!({ "path": folder }));
        let pending = rpc.call("remediate", json!({ "type": "file", "id": "x" }));
        assert_eq!(pending["state"], "pending_approval", "{pending}");
        ids.push(pending["approval"]["request_id"].clone());
    }
    assert_ne!(ids[0], ids[1]);
}
