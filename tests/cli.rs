//! The command line: exit codes, what goes to stdout and what to stderr, and the console.

mod support;

use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use support::{Home, Said, ended, text};

#[test]
fn a_call_ends_with_the_code_of_its_state() {
    let home = Home::new();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["help"], 0, ""),
        (&["devices", "{}"], 0, ""),
        (&["dir", r#"{"path":"/nonexistent"}"#], 1, "E_NOT_FOUND"),
        (&["dir", r#"{"bogus":1}"#], 2, "E_BAD_ARGS"),
        (&["dir", r#"{"path":"/","path":"/tmp"}"#], 2, "E_BAD_ARGS"),
        (&["dir", "[]"], 2, "E_BAD_ARGS"),
        (&["Dir"], 2, "E_UNKNOWN_COMMAND"),
        (&["dir", "--device", "nowhere"], 3, "E_NO_DEVICE"),
        (&["registry", r#"{"key":"HKLM"}"#], 3, "E_UNSUPPORTED"),
    ];
    for (args, code, error) in cases {
        let ended = home.run(&[&["call"], args].concat(), "");
        assert_eq!(ended.code(), code, "{args:?}: {} {}", ended.out(), ended.err());
        assert_eq!(ended.out().lines().count(), 1, "{args:?}");
        assert_eq!(ended.json()["error"]["code"].as_str().unwrap_or_default(), error, "{args:?}");
    }
}

#[test]
fn a_call_prints_a_result_in_every_case() {
    let home = Home::new();
    let config = home.file("config.toml", "[limits]\nsesions = 3\n");
    let refused = home.run(&["--config", config.to_str().unwrap(), "call", "help"], "");
    assert_ne!(refused.code(), 0);
    assert!(refused.json()["error"]["message"].as_str().is_some_and(|m| m.contains("sesions")), "{}", refused.out());
    assert_eq!(home.run(&["call", "dir", "-"], b"{\"path\":\"\xff\"}").expect(2).json()["error"]["code"], "E_BAD_ARGS");
    assert_eq!(home.run(&["call", "dir", "-"], "").expect(2).json()["state"], "refused");
    let huge = format!("{{\"path\":\"{}\"}}", "x".repeat(10 << 20));
    let refused = home.run(&["call", "dir", "-"], &huge).expect(3).json();
    assert_eq!(refused["error"]["code"], "E_TOO_LARGE");
}

#[test]
fn a_call_reads_its_arguments_from_stdin() {
    let home = Home::new();
    home.file("a", "");
    let arguments = json!({ "path": home.files() }).to_string();
    let listed = home.run(&["call", "dir", "-"], &arguments).expect(0).json();
    assert_eq!(listed["data"]["rows"][0]["name"], "a");
    assert!(listed["session"].is_string() && listed["untrusted"] == true);
}

#[test]
fn a_call_waits_for_a_job_to_end() {
    let home = Home::new();
    home.file("needle", "");
    let arguments = json!({ "name": "needle", "path": home.files(), "background": true });
    let found = home.call("findfile", arguments).expect(0).json();
    assert_eq!(found["state"], "completed");
    assert_eq!(found["data"]["rows"].as_array().map(Vec::len), Some(1));
}

#[test]
fn usage_ends_with_2_and_help_with_0() {
    let home = Home::new();
    home.run(&[], "").expect(2);
    home.run(&["nope"], "").expect(2);
    home.run(&["call"], "").expect(2);
    home.run(&["mcp", "--tools", "dir,nope"], "").expect(2).says("nope");
    assert!(home.run(&["--help"], "").expect(0).out().contains("approvals"));
    assert!(home.run(&["--version"], "").expect(0).out().starts_with("live-response "));
}

#[test]
fn looking_makes_no_state() {
    let home = Home::untouched();
    for args in [&["approvals", "list"] as &[&str], &["approver", "list"], &["evidence", "list"], &["audit", "show"]] {
        home.run(args, "").expect(0);
    }
    assert!(!home.state().exists(), "nothing is opened before it is needed");
    for args in
        [&["approvals", "list", "--json"] as &[&str], &["approver", "list", "--json"], &["evidence", "list", "--json"]]
    {
        assert_eq!(home.run(args, "").expect(0).json(), json!([]), "{args:?}");
    }
    assert!(!home.state().exists());
}

#[test]
fn the_state_is_the_account_s_alone() {
    let home = Home::untouched();
    home.enroll("anna");
    let file = home.file("f", "x");
    home.ask_to_remediate(&file);
    let mut folders = vec![home.state()];
    while let Some(folder) = folders.pop() {
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(&folder).unwrap().flatten() {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                assert_eq!(meta.permissions().mode() & 0o077, 0, "{}", entry.path().display());
            }
        }
    }
}

#[test]
fn listings_and_documents_are_json_where_asked() {
    let home = Home::new();
    assert_eq!(home.run(&["devices", "--json"], "").expect(0).json()[0]["id"], "local");
    let rules = home.run(&["policy", "check", "--json"], "").expect(0).json();
    let remediate = rules.as_array().unwrap().iter().find(|r| r["command"] == "remediate").unwrap();
    assert_eq!((&remediate["votes"], &remediate["group"]), (&json!(1), &json!("this-host")));
    assert!(home.run(&["doctor", "--json"], "").json().as_array().is_some_and(|rows| rows.len() > 5));
    assert_eq!(home.run(&["schema"], "").expect(0).json()["info"]["title"], "live-response");
    assert_eq!(home.run(&["evidence", "verify", "--json"], "").expect(0).json()["problems"], json!([]));
    assert!(home.run(&["completions", "bash"], "").expect(0).out().contains("live-response"));
}

#[test]
fn a_broken_policy_is_explained() {
    let home = Home::new();
    let policy = home.file("policy.toml", "version = 1\n[defaults]\nmin_veiw_s = 1\n");
    let checked = home.run(&["policy", "check", policy.to_str().unwrap()], "").expect(1).says("E_POLICY_INVALID");
    assert!(checked.err().contains("min_veiw_s") && checked.err().contains("min_view_s"), "{}", checked.err());
}

#[test]
fn evidence_is_listed_verified_and_exported_once() {
    let home = Home::new();
    let file = home.file("notes.txt", "evidence\n");
    let got = home.call("getfile", json!({ "path": file })).expect(0).json();
    let sha256 = text(&got["data"]["sha256"]);
    assert_eq!(home.run(&["evidence", "list", "--json"], "").expect(0).json()[0]["sha256"], sha256.as_str());
    home.run(&["evidence", "verify"], "").expect(0);
    home.run(&["evidence", "export", "out"], "").expect(0);
    assert_eq!(std::fs::read_to_string(home.files().join("out").join(&sha256)).unwrap(), "evidence\n");
    home.run(&["evidence", "export", "out"], "").expect(1);
    home.run(&["audit", "verify"], "").expect(0);
}

#[test]
fn the_console_takes_any_case_and_aliases() {
    let home = Home::new();
    home.file("a", "");
    home.file("b", "");
    let lines = format!("CD {}; LS -output JSON > rows.json; dir", home.files().display());
    let shown = home.run(&["console", "-c", &lines], "").expect(0).out();
    assert!(shown.contains("NAME") || shown.contains("PATH"), "{shown}");
    let rows: serde_json::Value =
        serde_json::from_slice(&std::fs::read(home.files().join("rows.json")).unwrap()).unwrap();
    let names: Vec<&str> = rows.as_array().unwrap().iter().filter_map(|r| r["name"].as_str()).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn the_console_ends_with_the_code_of_the_first_line_that_did_not_complete() {
    let home = Home::new();
    let cases = [
        ("help; jobs", 0),
        ("dir /nonexistent; nope", 1),
        ("nope; dir /nonexistent", 2),
        ("dir -bogus 1", 2),
        ("help; registry HKLM; dir /nonexistent", 3),
        ("dir 'open", 2),
        ("exit; nope", 0),
    ];
    for (lines, code) in cases {
        let ran = home.run(&["console", "-c", lines], "");
        assert_eq!(ran.code(), code, "{lines}: {} {}", ran.out(), ran.err());
        let piped = home.run(&["console"], lines.replace("; ", "\n"));
        assert_eq!(piped.code(), code, "{lines}, piped: {} {}", piped.out(), piped.err());
    }
    home.enroll("anna");
    let file = home.file("f", "x");
    let asked = home.run(&["console", "-c", &format!("remediate file {}", file.display())], "").expect(4);
    assert!(asked.out().starts_with("NOT DONE, nothing has changed"), "{}", asked.out());
    assert!(asked.out().contains("live-response approvals approve r-"), "{}", asked.out());
}

#[test]
fn a_redirect_writes_over_nothing() {
    let home = Home::new();
    home.file("kept", "mine");
    std::os::unix::fs::symlink("nowhere", home.files().join("link")).unwrap();
    home.run(&["console", "-c", "help > kept"], "").expect(1).says("E_EXISTS");
    home.run(&["console", "-c", "help > link"], "").expect(1).says("E_EXISTS");
    home.run(&["console", "-c", "dir /nonexistent > new"], "").expect(1);
    assert_eq!(std::fs::read_to_string(home.files().join("kept")).unwrap(), "mine");
    assert!(!home.files().join("nowhere").exists() && !home.files().join("new").exists());
}

#[test]
fn the_console_prints_every_row() {
    let home = Home::new();
    let folder = home.files().join("many");
    std::fs::create_dir(&folder).unwrap();
    (0..3000).for_each(|n| drop(std::fs::File::create(folder.join(format!("f{n}"))).unwrap()));
    let line = format!("dir {}", folder.display());
    assert_eq!(home.run(&["console", "-c", &line], "").expect(0).out().lines().count(), 3001);
    let limited = home.run(&["console", "-c", &format!("{line} -limit 7")], "").expect(0);
    assert_eq!(limited.out().lines().count(), 8);
    let mut first_only = home.start(&["console", "-c", &line], "");
    let mut stdout = BufReader::new(first_only.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    let said = ended(first_only).expect(0).err();
    assert_eq!(said, "", "a reader that goes away ends it quietly");
}

#[test]
fn hostile_names_reach_no_terminal() {
    let home = Home::new();
    home.file("evil\u{1b}[2J\u{202e}gpj.exe", "");
    let shown = home.run(&["console", "-c", &format!("dir {}", home.files().display())], "").expect(0).out();
    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
    assert!(shown.contains("evil") && !shown.contains('\u{202e}'), "{shown:?}");
    let refused = home.run(&["console", "-c", "dir \"/no\u{1b}[2Jwhere\""], "").expect(1);
    assert!(refused.err().chars().all(|c| c == '\n' || !c.is_control()), "{:?}", refused.err());
}

#[test]
fn a_background_job_of_the_console_is_waited_for() {
    let home = Home::new();
    home.file("needle", "");
    let line = format!("findfile needle {} &; dir {} &", home.files().display(), home.files().display());
    let shown = home.run(&["console", "-c", &line], "").expect(0).out();
    assert_eq!(shown.matches("fg c-").count(), 2, "{shown}");
    assert_eq!(
        home.log().lines().filter(|l| l.contains("\"command\":\"findfile\"") && l.contains("completed")).count(),
        1
    );
}

#[test]
fn a_signal_cancels_a_call_and_its_result_says_so() {
    let home = Home::new();
    // Nobody decides, so fg waits.
    home.enroll("anna");
    let file = home.file("f", "x");
    let (_, command) = home.ask_to_remediate(&file);
    let child = home.start(&["call", "fg", &json!({ "command_id": command }).to_string()], "");
    let pid = rustix::process::Pid::from_child(&child);
    // Before the handler is there a signal ends the process at once.
    let deadline = Instant::now() + Duration::from_secs(20);
    let caught = |status: &str| {
        let mask = status.lines().find_map(|l| l.strip_prefix("SigCgt:")).map(str::trim).unwrap_or_default();
        u64::from_str_radix(mask, 16).is_ok_and(|m| m >> 14 & 1 == 1)
    };
    while !std::fs::read_to_string(format!("/proc/{}/status", child.id())).is_ok_and(|s| caught(&s)) {
        assert!(Instant::now() < deadline, "the handler was not set");
        std::thread::sleep(Duration::from_millis(5));
    }
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let stopped = ended(child);
    let stopped = stopped.expect(1).json();
    assert_eq!(stopped["error"]["code"], "E_CANCELLED");
    assert!(file.exists());
}

#[test]
fn a_terminal_gets_no_echo_of_a_code() {
    let home = Home::new();
    home.enroll("anna");
    let file = home.file("f", "x");
    let (request, _) = home.ask_to_remediate(&file);
    let Ok(master) = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY) else {
        return;
    };
    rustix::pty::grantpt(&master).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap();
    let slave = std::fs::OpenOptions::new().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut command = home.piped(&["approvals", "approve", &request]);
    let child = command.stdin(slave.try_clone().unwrap()).stderr(slave.try_clone().unwrap()).spawn().unwrap();
    drop(command);
    let mut terminal = std::fs::File::from(master);
    let mut seen = String::new();
    let mut bytes = [0u8; 256];
    while !seen.contains("code") {
        let read = terminal.read(&mut bytes).unwrap();
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    terminal.write_all(b"918273\n").unwrap();
    let done = ended(child);
    assert_eq!(done.code(), 1);
    drop(slave);
    while let Ok(read) = terminal.read(&mut bytes) {
        if read == 0 {
            break;
        }
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
    }
    assert!(seen.contains("E_FACTOR_INVALID"), "{seen}");
    assert!(!seen.contains("918273"), "{seen}");
}

#[test]
fn an_unknown_backend_is_told_from_one_without_devices() {
    let home = Home::new();
    let refused = home.call("devices", json!({ "backend": "foo" })).expect(2).json();
    assert_eq!(
        (&refused["error"]["code"], &refused["error"]["hint"]),
        (&json!("E_BAD_ARGS"), &json!("there are local, image, defender"))
    );
    home.call("devices", json!({ "backend": "image" })).expect(0);
}
