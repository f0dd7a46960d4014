//! GT-176: content of the secret list, by every way to it, without a person's yes.

use crate::connect;
use crate::rpc_client::{Home, Rpc};
use serde_json::{Value, json};

/// Content that no mark gives away: only where it lies says that it is a secret.
const PLAIN: &[u8] = b"[default]\nlogin = hunter-two-canary\n";

fn account(home: &Home) -> std::path::PathBuf {
    let aws = home.path().join("files/ann/.aws");
    std::fs::create_dir_all(&aws).expect("a folder");
    std::fs::write(aws.join("credentials"), PLAIN).expect("a file");
    aws
}

/// Seals a path and asks for its content in every way; none may answer without a person.
fn refuses(rpc: &mut Rpc, path: &str) {
    let sealed = rpc.call("getfile", json!({ "path": path }));
    assert_eq!(sealed["state"], "completed", "{path}: {sealed}");
    let sha256 = &sealed["data"]["sha256"];
    for arguments in [
        json!({ "sha256": sha256 }),
        json!({ "sha256": sha256, "as": "hex" }),
        json!({ "sha256": sha256, "as": "strings", "offset": 1, "length": 1 }),
        json!({ "sha256": sha256, "match": "canary" }),
    ] {
        let answer = rpc.call("evidence", arguments.clone());
        assert!(!answer.to_string().contains("hunter"), "{path} {arguments}: {answer}");
        let held = matches!(answer["error"]["code"].as_str(), Some("E_NO_HUMAN_CHANNEL" | "E_RATE_LIMITED"));
        assert!(held || answer["state"] == "pending_approval", "{path} {arguments}: {answer}");
    }
}

#[test]
fn gt_176_an_image_that_begins_below_a_secret_place_hides_nothing() {
    let home = Home::new();
    let aws = account(&home);
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, &format!("image:{}", aws.display()));
    refuses(&mut rpc, "/credentials");
}

#[test]
fn gt_176_a_link_and_a_climb_to_a_secret_are_the_secret() {
    let home = Home::new();
    let aws = account(&home);
    let link = home.path().join("files/notes.txt");
    std::os::unix::fs::symlink(aws.join("credentials"), &link).expect("a link");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    refuses(&mut rpc, &link.display().to_string());
    refuses(&mut rpc, &format!("{}/../.aws/./credentials", aws.display()));
    refuses(&mut rpc, &format!("/proc/{}/root{}/credentials", std::process::id(), aws.display()));
}

#[test]
fn gt_176_a_copy_of_a_sealed_secret_is_one() {
    let home = Home::new();
    let aws = account(&home);
    let copy = home.file("copy.txt", PLAIN);
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    refuses(&mut rpc, &aws.join("credentials").display().to_string());
    refuses(&mut rpc, &copy.display().to_string());
}

#[test]
fn gt_176_a_hard_link_of_a_home_s_secret_is_one_on_the_host_and_in_an_image() {
    let Some((home, account)) = own_secret() else { return };
    let link = home.path().join("files/one");
    if std::fs::hard_link(&account, &link).is_err() {
        eprintln!("skipped: the home lies on another file system");
        return;
    }
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    refuses(&mut rpc, &link.display().to_string());
    connect(&mut rpc, &format!("image:{}", home.path().join("files").display()));
    refuses(&mut rpc, "/one");
}

/// A secret file that this account has already; none is made.
fn own_secret() -> Option<(Home, std::path::PathBuf)> {
    let candidates = ["/etc/shadow", "/etc/gshadow", "/root/.netrc", "/root/.aws/credentials"];
    let found = candidates.iter().map(std::path::PathBuf::from).find(|p| std::fs::File::open(p).is_ok());
    if found.is_none() {
        eprintln!("skipped: no secret of the host can be read by this account");
    }
    Some((Home::new(), found?))
}

#[test]
fn gt_176_memory_of_another_process_asks_first() {
    let home = Home::new();
    let mut child = std::process::Command::new("sleep").arg("60").env("CANARY", "hunter-env").spawn().expect("sleep");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let pid = child.id();
    refuses(&mut rpc, &format!("/proc/{pid}/environ"));
    refuses(&mut rpc, &format!("/proc/{pid}/task/{pid}/environ"));
    assert_eq!(rpc.call("cd", json!({ "path": format!("/proc/{pid}") }))["state"], "completed");
    refuses(&mut rpc, "environ");
    let _ = child.kill();
    let _ = child.wait();
}

#[test]
fn gt_176_a_resource_is_no_way_round() {
    let home = Home::new();
    let aws = account(&home);
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let sealed = rpc.call("getfile", json!({ "path": aws.join("credentials") }));
    let uri = sealed["data"]["uri"].as_str().expect("a uri").to_owned();
    let lines = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": "2025-06-18",
            "capabilities": {}, "clientInfo": { "name": "x", "version": "1" } } }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "resources/read", "params": { "uri": uri } }),
        json!({ "jsonrpc": "2.0", "id": 3, "method": "resources/read", "params": { "uri": format!("{uri}?as=hex") } }),
        json!({ "jsonrpc": "2.0", "id": 4, "method": "resources/read", "params": { "uri": "file:///etc/passwd" } }),
    ];
    let lines: String = lines.iter().map(|l: &Value| format!("{l}\n")).collect();
    let output = home.run(&["mcp"], &lines);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("hunter") && !text.contains("68756e746572") && !text.contains("root:x:"), "{text}");
    assert_eq!(text.lines().count(), 4, "{text}");
}
