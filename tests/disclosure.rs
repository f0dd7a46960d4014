//! Content on the secret list: sealed like any other file, shown only after a person's yes, and never in the log.

mod rpc_client;

use rpc_client::{Home, Rpc};
use serde_json::json;
use std::path::Path;

const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nQ0FOQVJZLWtleS1ieXRlcw\n-----END OPENSSH PRIVATE KEY-----\n";

fn holds(folder: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(folder).expect("a folder").flatten().any(|entry| {
        let path = entry.path();
        match entry.file_type().expect("a type").is_dir() {
            true => holds(&path, needle),
            false => std::fs::read(&path).expect("a file").windows(needle.len()).any(|w| w == needle),
        }
    })
}

#[test]
fn a_private_key_is_shown_after_a_yes_and_only_the_slice() {
    let home = Home::new();
    let key = home.file("deploy", KEY.as_bytes());
    let person = home.enroll("alex");
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({}));
    let sealed = rpc.call("getfile", json!({ "path": key }));
    assert_eq!(sealed["data"]["secret"], "private key", "{sealed}");

    for way in [
        json!({ "sha256": sealed["data"]["sha256"] }),
        json!({ "name": "deploy", "as": "hex" }),
        json!({ "name": "deploy", "match": "CANARY" }),
    ] {
        let asked = rpc.call("evidence", way);
        assert_eq!(asked["state"], "pending_approval", "{asked}");
        rpc.call("cancel", json!({ "command_id": asked["command_id"] }));
    }

    let asked = rpc.call("evidence", json!({ "name": "deploy", "offset": 36, "length": 8 }));
    assert_eq!(asked["state"], "pending_approval", "{asked}");
    let id = asked["approval"]["request_id"].as_str().expect("a request");
    let lines = |device: &str| format!("{}\n{device}\n", person.code());
    let name = rpc.call("devices", json!({}))["data"]["rows"][0]["name"].as_str().expect("a name").to_owned();
    let wrong = home.run(&["approvals", "approve", id], lines("another-device"));
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("E_CHECK_VALUE"));
    let right = home.run(&["approvals", "approve", id], lines(&name));
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));

    let shown = rpc.call("status", json!({ "command_id": asked["command_id"] }));
    let command = &shown["data"]["command"];
    assert_eq!(command["state"], "completed", "{shown}");
    assert_eq!(command["data"]["content"], &KEY[36..44], "{shown}");
    assert!(!holds(&home.path().join("state/audit"), b"Q0FOQVJZ"), "the log holds the key");

    // The yes was for this slice: another one asks again.
    let other = rpc.call("evidence", json!({ "name": "deploy", "offset": 0, "length": 8 }));
    assert_eq!(other["state"], "pending_approval", "{other}");
}

#[test]
fn without_a_person_it_is_refused_at_once() {
    let home = Home::new();
    let key = home.file("deploy", KEY.as_bytes());
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({}));
    let sealed = rpc.call("getfile", json!({ "path": key }));
    let asked = rpc.call("evidence", json!({ "sha256": sealed["data"]["sha256"] }));
    assert_eq!(asked["error"]["code"], "E_NO_HUMAN_CHANNEL", "{asked}");
}

#[test]
fn a_value_of_an_account_hive_is_shown_after_a_yes() {
    let Some(bytes) = rpc_client::tools::unpacked("hives/MultiSzHive.xz") else { return };
    let home = Home::new();
    let hive = home.file("SAM", bytes);
    let person = home.enroll("alex");
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({}));
    let listed = rpc.call("registry", json!({ "key": "key", "hive": hive }));
    assert_eq!(listed["state"], "completed", "{listed}");
    let rows = listed["data"]["rows"].as_array().expect("rows");
    assert!(
        rows.len() == 2 && rows.iter().all(|row| row["kind"] == "REG_MULTI_SZ" && row["data"].is_null()),
        "{listed}"
    );

    let asked = rpc.call("registry", json!({ "key": "key", "value": "2", "hive": hive }));
    assert_eq!(asked["state"], "pending_approval", "{asked}");
    let id = asked["approval"]["request_id"].as_str().expect("a request");
    let name = rpc.call("devices", json!({}))["data"]["rows"][0]["name"].as_str().expect("a name").to_owned();
    let yes = home.run(&["approvals", "approve", id], format!("{}\n{name}\n", person.code()));
    assert!(yes.status.success(), "{}", String::from_utf8_lossy(&yes.stderr));
    let shown = rpc.call("status", json!({ "command_id": asked["command_id"] }));
    let content = shown["data"]["command"]["data"]["content"].as_str().expect("content");
    assert!(content.starts_with("key 2 REG_MULTI_SZ\nпривет\n"), "{shown}");
    assert!(!holds(&home.path().join("state/audit"), "привет".as_bytes()), "the log holds the data");
}
