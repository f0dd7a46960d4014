//! `remediate registry` on a hive that Windows wrote, through the real binary: policy, screen, yes, undo.

mod support;

use serde_json::{Value, json};
use sha2::Digest;
use std::path::{Path, PathBuf};
use support::{Home, Said, tools};

const RULE: &str =
    "[[rule]]\ncommands = [\"remediate\", \"undo\"]\ngroups = [\"this-host\"]\nlevel = \"L\"\nvotes = 1\n";

fn policy(home: &Home, change_hive_copies: bool) {
    let text = format!("version = 1\n[defaults]\nmin_view_s = 1\nchange_hive_copies = {change_hive_copies}\n{RULE}");
    let folder = home.path().join("config/live-response");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("policy.toml"), text).unwrap();
}

fn ask(home: &Home, tool: &str, arguments: Value) -> Value {
    home.call(tool, arguments).json()
}

fn hive(home: &Home) -> Option<PathBuf> {
    Some(home.file("SOFTWARE", tools::unpacked("hives/MultiSzHive.xz")?))
}

fn values(home: &Home, hive: &Path) -> Vec<String> {
    let answer = ask(home, "registry", json!({ "key": "key", "hive": hive }));
    let rows = answer["data"]["rows"].as_array().unwrap_or_else(|| panic!("{answer}"));
    rows.iter().filter_map(|row| row["value"].as_str().map(str::to_owned)).collect()
}

fn screen(home: &Home, pending: &Value) -> String {
    let id = pending["approval"]["request_id"].as_str().unwrap_or_else(|| panic!("{pending}"));
    home.run(&["approvals", "show", id], "").expect(0).out()
}

fn approved(home: &Home, person: &support::Person, pending: &Value) -> Value {
    home.approve(person, pending);
    let done = ask(home, "fg", json!({ "command_id": pending["command_id"] }));
    let done = done["data"]["command"].clone();
    assert_eq!((&done["state"], &done["verified"]), (&json!("completed"), &json!("yes")), "{done}");
    done
}

#[test]
fn a_hive_copy_is_changed_only_where_the_policy_says_so() {
    let home = Home::new();
    let Some(hive) = hive(&home) else { return };
    home.enroll("alex");
    let wish = json!({ "type": "registry", "id": r"key\2", "hive": hive });
    for written in [false, true] {
        if written {
            policy(&home, false);
        }
        let refused = ask(&home, "remediate", wish.clone());
        assert_eq!((&refused["state"], &refused["error"]["code"]), (&json!("refused"), &json!("E_PROTECTED")));
        assert!(refused["error"]["hint"].as_str().unwrap().contains("change_hive_copies"), "{refused}");
    }
    policy(&home, true);
    assert_eq!(ask(&home, "remediate", wish)["state"], "pending_approval");
    for wish in [json!({ "type": "registry", "id": r"HKLM\SOFTWARE\x\y" }), json!({ "type": "registry", "id": "x" })] {
        for tool in ["remediate", "undo"] {
            let refused = ask(&home, tool, wish.clone());
            assert_eq!(refused["error"]["code"], "E_UNSUPPORTED", "{tool}: {refused}");
            assert!(refused["error"]["hint"].as_str().unwrap().contains("hive"), "{refused}");
        }
    }
}

#[test]
fn a_value_goes_after_a_yes_and_the_hive_comes_back() {
    let home = Home::new();
    let Some(hive) = hive(&home) else { return };
    let before = std::fs::read(&hive).unwrap();
    policy(&home, true);
    let person = home.enroll("alex");
    let all = values(&home, &hive);
    assert!(all.contains(&"1".to_owned()) && all.contains(&"2".to_owned()), "{all:?}");

    let pending = ask(&home, "remediate", json!({ "type": "registry", "ids": [r"key\2", r"key\1"], "hive": hive }));
    let text = screen(&home, &pending);
    let sha256: String = sha2::Sha256::digest(&before).iter().map(|b| format!("{b:02x}")).collect();
    for wanted in [&*sha256, "REG_MULTI_SZ", "SOFTWARE", "Take this value out", "registry key\\2", "data sha256"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(std::fs::read(&hive).unwrap() == before, "a plan changes nothing");
    let done = approved(&home, &person, &pending);
    let rows = done["data"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{done}");
    let left: Vec<_> = all.iter().filter(|v| *v != "1" && *v != "2").cloned().collect();
    assert_eq!(values(&home, &hive), left);

    let listed = ask(&home, "remediate", json!({ "list": true, "type": "registry" }));
    assert_eq!(
        (&listed["data"]["rows"][0]["outcome"], &listed["data"]["rows"][0]["sha256"].is_string()),
        (&json!("cut"), &true)
    );
    let pending = ask(&home, "undo", json!({ "type": "registry", "ids": [r"key\2", r"key\1"], "hive": hive }));
    assert!(screen(&home, &pending).contains("byte for byte"));
    approved(&home, &person, &pending);
    assert!(std::fs::read(&hive).unwrap() == before, "byte for byte");
}
