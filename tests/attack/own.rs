//! V13, GT-174, GT-175: the guard's own things, by every way to them.

use crate::rpc_client::{Home, Rpc};
use crate::{assert_code, connect, is_root};
use serde_json::json;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

fn seed(home: &Home) -> PathBuf {
    home.path().join("state/guard/approvers/alex.json")
}

/// Names for one thing, each of which another check could miss.
fn spellings(home: &Home, target: &str) -> Vec<String> {
    let (folder, name) = target.rsplit_once('/').expect("a path");
    let escaped: String = target.bytes().map(|b| format!("\\x{b:02x}")).collect();
    let link = home.path().join("files/link");
    let _ = std::fs::remove_file(&link);
    symlink(target, &link).expect("a link");
    let folder_link = home.path().join("files/folder");
    let _ = std::fs::remove_file(&folder_link);
    symlink(folder, &folder_link).expect("a link");
    vec![
        target.to_owned(),
        format!("/{target}"),
        format!("{folder}/./{name}"),
        format!("{folder}//{name}"),
        format!("/tmp/../{target}"),
        format!("/proc/self/root{target}"),
        format!("/proc/thread-self/root{target}"),
        format!("/proc/{}/root{target}", std::process::id()),
        format!("/proc/{0}/task/{0}/root{target}", std::process::id()),
        format!("esc:{escaped}"),
        link.display().to_string(),
        folder_link.join(name).display().to_string(),
    ]
}

#[test]
fn gt_174_the_seed_is_refused_by_every_spelling_and_every_tool() {
    let home = Home::new();
    home.enroll("alex");
    let secret = std::fs::read_to_string(seed(&home)).expect("a seed");
    let secret = secret.split("\"secret\":\"").nth(1).and_then(|s| s.split('"').next()).expect("base32").to_owned();
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    for path in spellings(&home, &seed(&home).display().to_string()) {
        for (tool, arguments) in [
            ("getfile", json!({ "path": path })),
            ("fileinfo", json!({ "path": path })),
            ("dir", json!({ "path": path })),
            ("findfile", json!({ "name": "*", "path": path })),
            ("analyze", json!({ "type": "file", "id": path })),
            ("scan", json!({ "path": path })),
            ("cd", json!({ "path": path })),
            ("remediate", json!({ "type": "file", "id": path })),
            ("undo", json!({ "type": "file", "id": path })),
        ] {
            let answer = rpc.call(tool, arguments);
            let of_a_link = tool == "dir" && path.ends_with("/link") && answer["data"]["rows"][0]["kind"] == "symlink";
            assert!(answer["state"] != "completed" || of_a_link, "{tool} {path}: {answer}");
            assert_ne!(answer["state"], "pending_approval", "{tool} {path}: {answer}");
            assert!(!answer.to_string().contains(&secret), "{tool} {path}");
            if matches!(tool, "getfile" | "fileinfo" | "cd" | "analyze" | "scan") {
                assert_code(&answer, "E_SELF_TARGET");
            }
        }
    }
}

#[test]
fn gt_174_the_seed_is_refused_in_images_and_after_cd() {
    let home = Home::new();
    home.enroll("alex");
    let parent = home.path().display().to_string();
    let mut rpc = Rpc::start(&home);
    for (device, path) in [
        ("image:/".to_owned(), format!("{parent}/state/guard/approvers/alex.json")),
        (format!("image:{parent}"), "/state/guard/approvers/alex.json".to_owned()),
        (format!("image:{parent}"), "state/../state/guard/approvers/alex.json".to_owned()),
        (format!("image:/proc/self/root{parent}"), "/state/guard/approvers/alex.json".to_owned()),
    ] {
        connect(&mut rpc, &device);
        assert_code(&rpc.call("getfile", json!({ "path": path })), "E_SELF_TARGET");
        let root = if device == "image:/" { parent.as_str() } else { "/" };
        let found = rpc.call("findfile", json!({ "name": "alex.json", "path": root }));
        assert!(!found["data"].to_string().contains("approvers"), "{found}");
    }
    for own in ["state", "state/guard", "state/audit", "state/evidence"] {
        let answer = rpc.call("connect", json!({ "device": format!("image:{parent}/{own}") }));
        assert_ne!(answer["state"], "completed", "{answer}");
    }
    connect(&mut rpc, "local");
    assert_eq!(rpc.call("cd", json!({ "path": parent }))["state"], "completed");
    for path in ["state/guard/approvers/alex.json", "./state/audit/../guard/approvers/alex.json"] {
        assert_code(&rpc.call("getfile", json!({ "path": path })), "E_SELF_TARGET");
    }
    assert_code(&rpc.call("cd", json!({ "path": "state" })), "E_SELF_TARGET");
}

#[test]
fn gt_174_a_hard_link_to_a_secret_is_left_out_and_refused() {
    let home = Home::new();
    home.enroll("alex");
    let link = home.path().join("files/innocent.txt");
    std::fs::hard_link(seed(&home), &link).expect("a link");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    for tool in ["getfile", "fileinfo"] {
        assert_code(&rpc.call(tool, json!({ "path": link })), "E_SELF_TARGET");
    }
    assert_code(&rpc.call("remediate", json!({ "type": "file", "id": link })), "E_SELF_TARGET");
    let listed = rpc.call("dir", json!({ "path": link.parent() }));
    assert_eq!(listed["data"]["rows"], json!([]), "{listed}");
}

#[test]
fn gt_174_the_servers_process_is_refused_by_every_name() {
    let home = Home::new();
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let pid = rpc.pid();
    let mut ways = vec!["/proc/self".to_owned(), "/proc/thread-self".to_owned(), format!("/proc/{pid}")];
    ways.push(format!("/proc/{pid}/task/{pid}"));
    ways.push(format!("/proc/self/root/proc/{pid}"));
    ways.push(format!("/proc/{}/root/proc/{pid}", std::process::id()));
    ways.extend(std::fs::read_dir(format!("/proc/{pid}/task")).expect("threads").map(|t| {
        let thread = t.expect("a thread").file_name().into_string().expect("a number");
        format!("/proc/{thread}")
    }));
    for way in ways {
        for name in ["environ", "mem", "maps", "smaps", "fd/0", "fd/1", "exe", "auxv", "cmdline"] {
            let answer = rpc.call("getfile", json!({ "path": format!("{way}/{name}") }));
            assert_code(&answer, "E_SELF_TARGET");
        }
        for name in ["fd", "cwd", "root", ""] {
            let answer = rpc.call("dir", json!({ "path": format!("{way}/{name}") }));
            assert_code(&answer, "E_SELF_TARGET");
        }
    }
    for path in ["/dev/fd/0", "/dev/stdin", "/dev/fd/5"] {
        assert_ne!(rpc.call("getfile", json!({ "path": path }))["state"], "completed", "{path}");
    }
    for path in [format!("/proc/{pid}/exe"), format!("/proc/{pid}")] {
        assert_code(&rpc.call("scan", json!({ "path": path })), "E_SELF_TARGET");
    }
    assert_code(&rpc.call("analyze", json!({ "type": "process", "id": pid.to_string() })), "E_SELF_TARGET");
    let answer = rpc.call("remediate", json!({ "type": "process", "id": pid.to_string() }));
    assert_ne!(answer["state"], "pending_approval", "{answer}");
}

/// Runs the attack in a mount namespace of its own, so that the host's mounts stay as they are.
fn in_own_mounts(script: &str) -> Option<String> {
    if !is_root() {
        eprintln!("skipped: mounting needs root");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-ec", script]).stdin(Stdio::null());
    let output = command.output().ok()?;
    if output.status.code() == Some(77) {
        eprintln!("skipped: mounting is not allowed here");
        return None;
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn gt_174_bind_mounts_and_a_second_procfs_are_no_way_round() {
    let home = Home::new();
    home.enroll("alex");
    let files = home.path().join("files");
    for folder in ["seeds", "own", "again"] {
        std::fs::create_dir(files.join(folder)).expect("a folder");
    }
    for file in ["seed", "environ", "core"] {
        std::fs::write(files.join(file), "").expect("a file");
    }
    // The server is its own shell's child: by the time it is asked, its pid is known and its process is mounted.
    let script = format!(
        r#"
export LIVE_RESPONSE_HOME={home}/state XDG_CONFIG_HOME={home}/config
f={home}/files
mkfifo $f/in
{binary} rpc <$f/in >$f/out 2>/dev/null &
pid=$!
exec 3>$f/in
mount --bind {home}/state/guard/approvers $f/seeds || exit 77
mount --bind {home}/state/guard/approvers/alex.json $f/seed
mount --bind /proc/$pid $f/own
mount --bind /proc/$pid/environ $f/environ
if [ -e /proc/kcore ]; then mount --bind /proc/kcore $f/core; else mount --bind /proc/$pid/maps $f/core; fi
mount -t proc proc $f/again
ask() {{ printf '{{"jsonrpc":"2.0","id":%s,"method":"%s","params":{{%s}}}}\n' "$1" "$2" "$3" >&3; }}
ask 0 connect ''
until [ -s $f/out ]; do sleep 0.02; done
n=0
for p in seeds/alex.json seed own/environ own/maps own/task/$pid/environ environ core again/$pid/environ own/exe; do
  n=$((n+1)); ask $n getfile "\"path\":\"$f/$p\""
done
ask 100 dir "\"path\":\"$f/own/fd\""
exec 3>&-
wait $pid
cat $f/out
"#,
        home = home.path().display(),
        binary = env!("CARGO_BIN_EXE_live-response"),
    );
    let Some(answers) = in_own_mounts(&script) else { return };
    for answer in answers.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).expect("JSON")) {
        if answer["id"] != 0 {
            assert_eq!(answer["error"]["data"]["error"]["code"], "E_SELF_TARGET", "{answer}");
        }
    }
    assert_eq!(answers.lines().count(), 11, "{answers}");
}

#[test]
fn gt_175_a_file_that_becomes_the_guards_own_after_the_plan_is_not_touched() {
    let home = Home::new();
    let person = home.enroll("alex");
    let bait = home.file("bait", b"bait");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    let pending = rpc.call("remediate", json!({ "type": "file", "id": bait }));
    std::fs::remove_file(&bait).expect("gone");
    std::fs::hard_link(seed(&home), &bait).expect("a link");
    let id = pending["approval"]["request_id"].as_str().expect("a request");
    let output = home.run(&["approvals", "approve", id], format!("{}\n", person.code()));
    assert!(!output.status.success());
    assert!(seed(&home).exists() && bait.exists());
}

#[test]
fn gt_174_configuration_and_policy_are_own_too() {
    let home = Home::new();
    let folder = home.path().join("config/live-response");
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("config.toml"), "[limits]\nsessions = 20\n").expect("a file");
    std::fs::write(folder.join("policy.toml"), "version = 1\n").expect("a file");
    let mut rpc = Rpc::start(&home);
    connect(&mut rpc, "local");
    for name in ["config.toml", "policy.toml"] {
        assert_code(&rpc.call("getfile", json!({ "path": folder.join(name) })), "E_SELF_TARGET");
    }
}

/// A person's rules and lists of hashes are theirs, and a rule that fits the guard's secrets finds nothing.
#[test]
fn gt_174_no_rule_reads_the_guards_own_things() {
    let home = Home::new();
    home.enroll("alex");
    let rules = home.state().join("rules");
    std::fs::create_dir_all(&rules).expect("a folder");
    let rule = "rule any_secret { strings: $a = /\"secret\"|canary-of-a-rule/ condition: $a }";
    std::fs::write(rules.join("mine.yar"), rule).expect("a rule");
    std::fs::hard_link(rules.join("mine.yar"), home.path().join("files/hard.txt")).expect("a hard link");
    std::fs::hard_link(seed(&home), home.path().join("files/hard.json")).expect("a hard link");
    home.file("other.txt", "canary-of-a-rule");
    let mut rpc = Rpc::start(&home);
    let mut connected = vec!["local".to_owned()];
    connected.push(format!("image:{}", home.path().display()));
    for device in connected {
        connect(&mut rpc, &device);
        let path = if device == "local" { home.path().display().to_string() } else { "/".into() };
        let answer = rpc.call("scan", json!({ "type": "path", "path": path }));
        assert_eq!(answer["state"], "completed", "{answer}");
        let rows = answer["data"]["rows"].as_array().expect("rows");
        let paths: Vec<&str> = rows.iter().filter_map(|r| r["path"].as_str()).collect();
        if cfg!(feature = "yara") {
            assert!(paths.len() == 1 && paths[0].ends_with("/files/other.txt"), "{device}: {answer}");
        }
        let warnings = answer["warnings"].to_string();
        assert!(warnings.contains("own state left out"), "{device}: {answer}");
    }
    connect(&mut rpc, "local");
    for path in [rules.join("mine.yar"), home.path().join("files/hard.txt"), home.path().join("files/hard.json")] {
        let answer = rpc.call("analyze", json!({ "type": "file", "id": path }));
        assert_code(&answer, "E_SELF_TARGET");
    }
}
