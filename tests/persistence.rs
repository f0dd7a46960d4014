//! `persistence` through the real binary, on a Debian root that nobody here wrote and on a copy of its parts with
//! implants.

mod support;

use serde_json::{Value, json};
use support::{Home, Said, tools};

/// Rows of a clean Debian that no package vouches for, and why they are told all the same.
const JUSTIFIED: &[(&str, &str)] = &[];

fn rows(home: &Home, device: &str, arguments: &Value) -> Vec<Value> {
    let output = home.run(&["call", "--device", device, "persistence", &arguments.to_string()], "");
    let result = output.expect(0).json();
    assert_eq!(result["page"]["truncated"], false, "{result}");
    result["data"]["rows"].as_array().expect("rows").clone()
}

#[test]
fn a_clean_debian_has_nothing_that_no_package_vouches_for() {
    let Some(root) = tools::corpus("debian") else { return };
    if !tools::root() {
        return;
    }
    let home = Home::new();
    let device = format!("image:{}", root.display());
    let odd = rows(&home, &device, &json!({ "filter": "packaged=false", "limit": 1000 }));
    let unknown: Vec<_> = odd
        .iter()
        .filter(|row| !JUSTIFIED.iter().any(|(technique, at)| row["technique"] == *technique && row["location"] == *at))
        .collect();
    assert!(unknown.is_empty(), "{unknown:#?}");
    // Look-alikes of implants are there, and packaged.
    let packaged = rows(&home, &device, &json!({ "filter": "packaged=true", "limit": 1000 }));
    for end in
        ["/security/pam_script.so", "/bin/sudo", "/etc/ssh/sshd_config", "/root/.profile", "/etc/pam.d/common-auth"]
    {
        let found = packaged.iter().any(|row| row["location"].as_str().is_some_and(|l| l.ends_with(end)));
        assert!(found, "{end} is not among {} packaged rows", packaged.len());
    }
}

#[test]
fn an_unknown_technique_is_refused_with_a_near_one() {
    let home = Home::new();
    let output = home.call("persistence", json!({ "technique": "sudores" }));
    let result = output.expect(2).json();
    assert_eq!(result["error"]["code"], "E_BAD_ARGS");
    assert!(result["error"]["hint"].as_str().is_some_and(|h| h.contains("did you mean sudoers?")), "{result}");
}

/// A start-up file that is a link to stored logins: what it leads to is shown to nobody unasked.
#[test]
fn secrets_behind_links_are_in_no_row() {
    const CANARY: &str = "canary-4d7b91";
    let home = Home::new();
    let root = home.files().join("image");
    for folder in ["etc", "root"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/bash\n").unwrap();
    std::fs::write(root.join("root/.netrc"), format!("machine a login b password {CANARY}\n")).unwrap();
    std::os::unix::fs::symlink(".netrc", root.join("root/.bashrc")).unwrap();
    let device = format!("image:{}", root.display());
    for tool in ["persistence", "startupfolders"] {
        let answer = home.run(&["call", tool, "{}", "--device", &device], "").expect(0);
        assert!(!answer.out().contains(CANARY), "{tool}: {}", answer.out());
    }
    let told =
        home.run(&["call", "persistence", "{}", "--device", &device], "").expect(0).json()["warnings"].to_string();
    assert!(told.contains(".bashrc holds was not looked at"), "{told}");
}
