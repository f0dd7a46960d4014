//! The script library end to end: the real binary, real scripts, a person with an authenticator.

mod support;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use support::{Home, Person, Rpc, Said, text, tools};

const PATIENCE: Duration = Duration::from_secs(60);

/// A home whose policy lets unsigned scripts run and whose files are put below it, and a person.
fn shelf() -> (Home, Person) {
    shelf_with("[defaults]\nmin_view_s = 1\nallow_unsigned_scripts = true\n", "")
}

fn shelf_with(defaults: &str, configuration: &str) -> (Home, Person) {
    let home = Home::new();
    let folder = home.path().join("config/live-response");
    std::fs::create_dir_all(&folder).unwrap();
    let rule = "[[rule]]\ncommands = [\"run\", \"putfile\", \"library\", \"remediate\", \"undo\"]\n\
        groups = [\"this-host\"]\nlevel = \"L\"\nvotes = 1\n";
    std::fs::write(folder.join("policy.toml"), format!("version = 1\n{defaults}{rule}")).unwrap();
    let work = home.path().join("work");
    let local = format!("[local]\nworking_folder = {:?}\n", work.display());
    std::fs::write(folder.join("config.toml"), format!("{configuration}{local}")).unwrap();
    let person = home.enroll("alex");
    (home, person)
}

fn add(home: &Home, name: &str, content: &str) -> PathBuf {
    let file = home.file(name, content);
    home.run(&["library", "add", &file.display().to_string()], "").expect(0);
    file
}

/// In the library, approved.
fn shelve(home: &Home, person: &Person, name: &str, content: &str) {
    add(home, name, content);
    let shown = home.run(&["library", "approve", name], format!("{}\n", person.code())).expect(0).out();
    for line in content.lines() {
        assert!(shown.contains(line), "{line:?} is not on the screen: {shown}");
    }
}

/// What a person types for a plan that cannot be undone.
fn lines(person: &Person, pending: &Value) -> String {
    format!("{}\n{}\n", person.code(), text(&pending["device"]["name"]))
}

fn ask(home: &Home, tool: &str, arguments: Value) -> Value {
    home.call(tool, arguments).expect(4).json()
}

fn approve(home: &Home, person: &Person, pending: &Value) -> std::process::Output {
    let id = text(&pending["approval"]["request_id"]);
    home.run(&["approvals", "approve", &id], lines(person, pending))
}

fn start_approving(home: &Home, person: &Person, pending: &Value) -> Child {
    let id = text(&pending["approval"]["request_id"]);
    let mut command = home.command(&["approvals", "approve", &id]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), lines(person, pending).as_bytes()).unwrap();
    child
}

fn outcome(home: &Home, pending: &Value) -> Value {
    let answer = home.call("status", json!({ "command_id": pending["command_id"] })).expect(0).json();
    answer["data"]["command"].clone()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The pid that a script wrote, once it is all there.
fn pid_in(file: &Path) -> Pid {
    let read = || std::fs::read_to_string(file).ok().filter(|t| t.ends_with('\n')).and_then(|t| t.trim().parse().ok());
    until("a pid", || read().is_some());
    Pid::from_raw(read().unwrap()).unwrap()
}

/// A zombie does nothing any more.
fn lives(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with(['Z', 'X']))
}

/// Leaves its session, loses its parent, tells its pid and sleeps.
fn runaway(pid_file: &Path) -> String {
    format!("#!/bin/bash\n( setsid bash -c 'echo $$ > {0}; exec sleep 10000' & ) &\n", pid_file.display())
}

#[test]
fn a_script_gets_its_words_one_by_one_and_nothing_of_ours() {
    let (home, person) = shelf();
    let script = "#!/bin/bash\nfor a in \"$@\"; do echo \"<$a>\"; done\nenv\nls /proc/self/fd | wc -l\ncat; exit 3\n";
    shelve(&home, &person, "words.sh", script);
    let words = json!(["a b", "-x", "*", "`id`", "", "--help"]);
    let pending = ask(&home, "run", json!({ "script": "words.sh", "parameters": words }));
    assert_eq!(pending["state"], "pending_approval");
    let mut command = home.command(&["approvals", "approve", &text(&pending["approval"]["request_id"])]);
    command.env("LR_CANARY", "canary").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    std::io::Write::write_all(child.stdin.as_mut().unwrap(), lines(&person, &pending).as_bytes()).unwrap();
    let screen = child.wait_with_output().unwrap().expect(0).out();
    assert!(screen.contains("parameters      6, none of them read by a shell"), "{screen}");

    let done = outcome(&home, &pending);
    assert_eq!((&done["state"], &done["verified"]), (&json!("completed"), &json!("unknown")), "{done}");
    let row = &done["data"]["rows"][0];
    assert_eq!((&row["exit_code"], &row["outcome"], &row["id"]), (&json!(3), &json!("ran"), &json!("words.sh")));
    let content = text(&done["data"]["content"]);
    assert!(content.starts_with("<a b>\n<-x>\n<*>\n<`id`>\n<>\n<--help>\n"), "{content}");
    assert!(!content.contains("canary") && !content.contains("LIVE_RESPONSE"), "{content}");
    // Three streams, the script's own bytes, and the folder that `ls` reads; bash may hold the script once more.
    let open: usize = content.lines().rev().find_map(|l| l.trim().parse().ok()).unwrap();
    assert!(open <= 6, "{open} descriptors");
    let slice = home.call("evidence", json!({ "sha256": row["sha256"] })).expect(0).json();
    assert_eq!(slice["data"]["name"], "run:words.sh");
    home.run(&["audit", "verify"], "").expect(0);
    home.run(&["evidence", "verify"], "").expect(0);
    assert!(!home.log().contains("<a b>"), "what a script wrote is not in the log");
}

#[test]
fn gt_111_parameters_are_never_code() {
    let (home, _) = shelf();
    add(&home, "t.sh", "echo");
    for parameters in [json!("x; id"), json!("a && b"), json!(["a|b"]), json!("!x"), json!("$(id)"), json!(["a\nb"])] {
        let refused = home.call("run", json!({ "script": "t.sh", "parameters": parameters })).expect(2).json();
        assert_eq!(refused["error"]["code"], "E_BAD_ARGS", "{parameters}");
    }
    assert_eq!(home.count("request.created"), 0);
}

#[test]
fn gt_120_to_132_nothing_that_no_person_approved_runs_or_is_put() {
    let (home, _) = shelf();
    add(&home, "t.sh", "echo");
    let mut rpc = Rpc::start(&home);
    rpc.call("connect", json!({}));
    for (tool, arguments, code) in [
        ("run", json!({ "script": "t.sh" }), "E_SCRIPT_NOT_APPROVED"),
        ("putfile", json!({ "file": "t.sh" }), "E_SCRIPT_NOT_APPROVED"),
        ("run", json!({ "script": "none.sh" }), "E_NOT_FOUND"),
        ("run", json!({ "script": "../../etc/passwd" }), "E_PATH_ESCAPE"),
        ("putfile", json!({ "file": "/etc/passwd" }), "E_PATH_ESCAPE"),
        ("run", json!({ "script": "CON.ps1" }), "E_BAD_ARGS"),
        ("library", json!({ "action": "add", "name": "x.sh" }), "E_BAD_ARGS"),
        ("library", json!({ "action": "approve", "name": "t.sh" }), "E_BAD_ARGS"),
        ("library", json!({ "action": "delete", "name": "a/b" }), "E_PATH_ESCAPE"),
    ] {
        let refused = rpc.call(tool, arguments.clone());
        assert_eq!(refused["error"]["code"], code, "{tool} {arguments}: {refused}");
    }
    assert_eq!((home.count("request.created"), home.count("exec.consumed")), (0, 0));
    assert!(home.count("request.refused") >= 7);
}

#[test]
fn gt_122_an_unsigned_script_is_refused_where_the_policy_does_not_allow_it() {
    let (home, person) = shelf_with("[defaults]\nmin_view_s = 1\n", "");
    shelve(&home, &person, "t.sh", "echo");
    let refused = home.call("run", json!({ "script": "t.sh" })).expect(3).json();
    assert_eq!(refused["error"]["code"], "E_UNSIGNED_SCRIPT");
}

#[test]
fn gt_124_nothing_is_written_outside_of_the_library() {
    let (home, _) = shelf();
    let file = home.file("evil.sh", "echo");
    let file = file.display().to_string();
    let tree = |home: &Home| {
        let listed = std::process::Command::new("find").arg(home.path()).args(["-not", "-path", "*/audit/*"]).output();
        String::from_utf8(listed.unwrap().stdout).unwrap()
    };
    home.run(&["library", "list"], "").expect(0);
    let before = tree(&home);
    for name in ["../../x", r"..\..\x", "%2e%2e/x", "a/b", "C:x", ".", "", &"x".repeat(300), "CON.ps1", "-rf", ".x"] {
        let refused = home.run(&["library", "add", &file, &format!("--name={name}")], "");
        assert_ne!(refused.code(), 0, "{name:?}");
        assert!(refused.err().contains("E_PATH_ESCAPE") || refused.err().contains("E_BAD_ARGS"), "{}", refused.err());
    }
    assert_eq!(tree(&home), before);
    assert_eq!(home.count("library.upload_rejected"), 11);
}

#[test]
fn gt_027_new_bytes_under_the_name_void_what_waits() {
    let (home, person) = shelf();
    shelve(&home, &person, "t.sh", "touch ran\n");
    let pending = ask(&home, "run", json!({ "script": "t.sh" }));
    let other = home.file("other.sh", "touch ran; rm -rf x\n").display().to_string();
    home.run(&["library", "add", &other, "--name", "t.sh", "--overwrite"], "").expect(0);
    approve(&home, &person, &pending).expect(1).says("E_SCRIPT_DRIFT");
    assert_eq!(outcome(&home, &pending)["error"]["code"], "E_SCRIPT_DRIFT");
    assert_eq!((home.count("request.invalidated"), home.count("exec.consumed")), (1, 0));
    assert!(!home.files().join("ran").exists());
}

#[test]
fn bytes_that_are_swapped_in_the_store_do_not_run() {
    let (home, person) = shelf();
    let ran = home.files().join("ran");
    shelve(&home, &person, "t.sh", "echo hi\n");
    let pending = ask(&home, "run", json!({ "script": "t.sh" }));
    let objects = home.state().join("library/objects");
    let object = std::fs::read_dir(objects).unwrap().next().unwrap().unwrap().path();
    std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&object, format!("touch {}\n", ran.display())).unwrap();
    let refused = approve(&home, &person, &pending).expect(1);
    assert!(refused.err().contains("not those that were approved"), "{}", refused.err());
    assert_eq!(outcome(&home, &pending)["state"], "failed");
    assert!(!ran.exists());
    home.run(&["library", "verify"], "").expect(1);
    let refused = home.call("run", json!({ "script": "t.sh" })).expect(3).json();
    assert_eq!(refused["error"]["code"], "E_SCRIPT_DRIFT");
}

#[test]
fn ten_megabytes_of_output_are_evidence_and_the_answer_has_both_ends() {
    if !tools::have("python3") {
        return;
    }
    let (home, person) = shelf();
    let script = "import sys\nfor n in range(640000):\n    sys.stdout.write('%015d\\n' % n)\nprint('the end')\n";
    shelve(&home, &person, "much.py", script);
    let pending = ask(&home, "run", json!({ "script": "much.py" }));
    approve(&home, &person, &pending).expect(0);
    let done = outcome(&home, &pending);
    let row = &done["data"]["rows"][0];
    assert_eq!((&row["size_bytes"], &row["exit_code"]), (&json!(10_240_008), &json!(0)), "{done}");
    let content = text(&done["data"]["content"]);
    assert!(content.starts_with("000000000000000\n") && content.trim_end().ends_with("the end"));
    assert!(content.contains("bytes left out") && content.len() < 40_000, "{}", content.len());
    let last = home.call("evidence", json!({ "sha256": row["sha256"], "offset": 10_240_000 })).expect(0).json();
    assert_eq!(last["data"]["content"].as_str().map(str::trim_end), Some("the end"));
}

#[test]
fn what_a_script_leaves_running_is_gone_when_it_has_ended() {
    let (home, person) = shelf();
    let pid_file = home.files().join("pid");
    let script = format!("{}until [ -s {} ]; do sleep 0.01; done\n", runaway(&pid_file), pid_file.display());
    shelve(&home, &person, "leaves.sh", &script);
    let pending = ask(&home, "run", json!({ "script": "leaves.sh" }));
    approve(&home, &person, &pending).expect(0);
    assert!(!lives(pid_in(&pid_file)));
    let done = outcome(&home, &pending);
    assert!(text(&done["warnings"][0]).contains("left running were killed"), "{done}");
}

#[test]
fn the_time_limit_ends_the_script_and_all_that_it_started() {
    let (home, person) =
        shelf_with("[defaults]\nmin_view_s = 1\nallow_unsigned_scripts = true\n", "[limits]\nlong_command_s = 4\n");
    let pid_file = home.files().join("pid");
    let script = format!("{}echo begun\ntrap '' TERM INT HUP\nwhile :; do sleep 100; done\n", runaway(&pid_file));
    shelve(&home, &person, "long.sh", &script);
    let pending = ask(&home, "run", json!({ "script": "long.sh" }));
    approve(&home, &person, &pending).expect(1).says("E_TIMEOUT");
    let ended = outcome(&home, &pending);
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("E_TIMEOUT")), "{ended}");
    assert_eq!(ended["data"]["rows"][0]["outcome"], "killed");
    // What it wrote until then is there; a slow machine may not have let it come so far.
    assert!(ended["data"]["content"].as_str().is_none_or(|content| content.trim_end() == "begun"), "{ended}");
    if let Ok(pid) = std::fs::read_to_string(&pid_file).unwrap_or_default().trim().parse::<i32>() {
        assert!(!lives(Pid::from_raw(pid).unwrap()));
    }
}

#[test]
fn ctrl_c_ends_the_script_and_its_outcome_is_on_record() {
    let (home, person) = shelf();
    let pid_file = home.files().join("pid");
    shelve(&home, &person, "long.sh", &format!("{}sleep 10000\n", runaway(&pid_file)));
    let pending = ask(&home, "run", json!({ "script": "long.sh" }));
    let mut approving = start_approving(&home, &person, &pending);
    let pid = pid_in(&pid_file);
    kill_process(Pid::from_child(&approving), Signal::INT).unwrap();
    assert_eq!(approving.wait().unwrap().code(), Some(1));
    assert!(!lives(pid));
    let ended = outcome(&home, &pending);
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("cancelled"), &json!("E_CANCELLED")), "{ended}");
    home.run(&["audit", "verify"], "").expect(0);
}

#[test]
fn who_asked_can_stop_the_script() {
    let (home, person) = shelf();
    let pid_file = home.files().join("pid");
    shelve(&home, &person, "long.sh", &format!("{}sleep 10000\n", runaway(&pid_file)));
    let pending = ask(&home, "run", json!({ "script": "long.sh" }));
    let mut approving = start_approving(&home, &person, &pending);
    let pid = pid_in(&pid_file);
    home.call("cancel", json!({ "command_id": pending["command_id"] })).expect(0);
    assert_eq!(approving.wait().unwrap().code(), Some(1));
    assert!(!lives(pid));
    assert_eq!(outcome(&home, &pending)["state"], "cancelled");
    assert_eq!(std::fs::read_dir(home.state().join("guard/running")).unwrap().count(), 0);
    assert!(home.log().contains("client.response"));
}

#[test]
fn a_signature_of_the_reference_tool_lets_a_script_run_under_the_built_in_rule() {
    if !tools::have("minisign") {
        return;
    }
    let keys = Home::new();
    let sign = |arguments: &[&str]| {
        let made = std::process::Command::new("minisign").args(arguments).current_dir(keys.files()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    sign(&["-G", "-W", "-p", "k.pub", "-s", "k.key"]);
    let public = std::fs::read_to_string(keys.files().join("k.pub")).unwrap();
    let public = public.lines().nth(1).unwrap();
    let (home, person) = shelf_with("[defaults]\nmin_view_s = 1\n", &format!("[library]\nkeys = [\"{public}\"]\n"));
    let script = home.file("signed.sh", "echo signed\n").display().to_string();
    sign(&["-S", "-s", "k.key", "-m", &script]);
    home.run(&["library", "add", &script], "").expect(0);
    let shown = home.run(&["library", "approve", "signed.sh"], format!("{}\n", person.code())).expect(0).out();
    assert!(shown.contains(&format!("signed by       minisign {public}")), "{shown}");
    let pending = ask(&home, "run", json!({ "script": "signed.sh" }));
    approve(&home, &person, &pending).expect(0);
    assert_eq!(text(&outcome(&home, &pending)["data"]["content"]).trim_end(), "signed");
    // One byte more, and the signature is nobody's.
    std::fs::write(&script, "echo signed \n").unwrap();
    home.run(&["library", "add", &script, "--name=other.sh"], "").expect(1).says("E_UNSIGNED_SCRIPT");
}

#[test]
fn an_interpreter_that_is_not_the_approved_one_runs_nothing() {
    let (home, person) = shelf();
    let shell = home.files().join("shell");
    let ran = home.files().join("ran");
    std::fs::copy("/bin/sh", &shell).unwrap();
    shelve(&home, &person, "own.sh", &format!("#!{}\necho it > {}\n", shell.display(), ran.display()));
    type Swap = fn(&Path);
    let swaps: [Swap; 2] = [
        // Other bytes in the same file, and the same bytes in another file.
        |shell| {
            let mut bytes = std::fs::read(shell).unwrap();
            bytes.push(0);
            std::fs::write(shell, bytes).unwrap();
        },
        |shell| {
            std::fs::copy("/bin/sh", shell.with_extension("new")).unwrap();
            std::fs::rename(shell.with_extension("new"), shell).unwrap();
        },
    ];
    for swap in swaps {
        let _ = std::fs::remove_file(&shell);
        std::fs::copy("/bin/sh", &shell).unwrap();
        let pending = ask(&home, "run", json!({ "script": "own.sh" }));
        swap(&shell);
        let screen = approve(&home, &person, &pending).expect(1).says("E_ENTITY_DRIFT").out();
        assert!(screen.contains("its sha256"), "{screen}");
        assert_eq!(outcome(&home, &pending)["error"]["code"], "E_ENTITY_DRIFT");
        assert!(!ran.exists());
    }
}

#[test]
fn when_the_approvers_process_is_killed_the_script_dies_and_the_outcome_is_unknown() {
    let (home, person) = shelf();
    let pid_file = home.files().join("pid");
    shelve(&home, &person, "long.sh", &format!("{}sleep 10000\n", runaway(&pid_file)));
    let pending = ask(&home, "run", json!({ "script": "long.sh" }));
    let mut approving = start_approving(&home, &person, &pending);
    let pid = pid_in(&pid_file);
    approving.kill().unwrap();
    approving.wait().unwrap();
    until("the end of the script's process", || !lives(pid));
    let ended = outcome(&home, &pending);
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("unknown"), &json!("E_OUTCOME_UNKNOWN")));
    approve(&home, &person, &pending).expect(1).says("E_OUTCOME_UNKNOWN");
}

#[test]
fn a_script_that_kills_its_watcher_is_said_to_be_unknown() {
    let (home, person) = shelf();
    let pid_file = home.files().join("pid");
    let script = format!("echo $$ > {}\nkill -9 $PPID\nexec sleep 10000\n", pid_file.display());
    shelve(&home, &person, "kills.sh", &script);
    let pending = ask(&home, "run", json!({ "script": "kills.sh" }));
    let mut approving = start_approving(&home, &person, &pending);
    let pid = pid_in(&pid_file);
    until("the watcher's end", || outcome(&home, &pending)["state"] != "running");
    let _ = kill_process(pid, Signal::KILL);
    assert_eq!(approving.wait().unwrap().code(), Some(1));
    assert_eq!(outcome(&home, &pending)["state"], "unknown");
}

#[test]
fn a_file_is_put_whole_or_not_at_all_and_never_over_another() {
    let (home, person) = shelf();
    shelve(&home, &person, "tool.sh", "#!/bin/sh\necho tool\n");
    let pending = ask(&home, "putfile", json!({ "file": "tool.sh", "keep": true }));
    let target = home.path().join("work/kept/tool.sh");
    assert!(!target.exists());
    home.approve(&person, &pending);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "#!/bin/sh\necho tool\n");
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(outcome(&home, &pending)["verified"], "yes");

    let refused = home.call("putfile", json!({ "file": "tool.sh", "keep": true })).expect(1).json();
    assert_eq!(refused["error"]["code"], "E_EXISTS");
    std::fs::write(&target, "somebody's own").unwrap();
    let pending = ask(&home, "putfile", json!({ "file": "tool.sh", "keep": true, "overwrite": true }));
    home.approve(&person, &pending);
    let done = outcome(&home, &pending);
    assert_eq!(done["data"]["rows"][0]["outcome"], "quarantined");
    assert_eq!(done["data"]["rows"][1]["outcome"], "put");
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "#!/bin/sh\necho tool\n");
    let undo = text(&done["data"]["rows"][0]["undo_id"]);
    let kept = std::fs::read(home.state().join("quarantine").join(undo).join("content")).unwrap();
    assert_eq!(kept, b"somebody's own");
}

#[test]
fn gt_128_no_byte_lands_behind_a_link() {
    let (home, person) = shelf();
    shelve(&home, &person, "tool.sh", "#!/bin/sh\necho tool\n");
    let pending = ask(&home, "putfile", json!({ "file": "tool.sh", "keep": true }));
    // Planned while there was nothing; then a link stands there.
    let outside = home.files().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::create_dir(home.path().join("work")).unwrap();
    symlink(&outside, home.path().join("work/kept")).unwrap();
    let id = text(&pending["approval"]["request_id"]);
    home.run(&["approvals", "approve", &id], format!("{}\n", person.code())).expect(1).says("E_ENTITY_DRIFT");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    assert!(home.log().contains("refused_by_precondition"));
}

#[test]
fn a_file_that_is_not_kept_lies_in_a_folder_of_this_boot_and_earlier_ones_go() {
    let (home, person) = shelf();
    shelve(&home, &person, "data.bin", "x");
    let until_restart = home.path().join("work/until-restart");
    let earlier = until_restart.join("01234567-89ab-cdef-0123-456789abcdef");
    std::fs::create_dir_all(&earlier).unwrap();
    std::fs::write(earlier.join("old"), "x").unwrap();
    std::fs::create_dir(until_restart.join("not-a-boot")).unwrap();
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&until_restart, private).unwrap();
    let pending = ask(&home, "putfile", json!({ "file": "data.bin" }));
    home.approve(&person, &pending);
    let path = text(&outcome(&home, &pending)["data"]["rows"][0]["path"]);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(path.ends_with(&format!("until-restart/{}/data.bin", boot.trim())), "{path}");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!earlier.exists() && until_restart.join("not-a-boot").exists());
}

#[test]
fn a_delete_by_the_assistant_waits_for_a_person() {
    let (home, person) = shelf();
    add(&home, "old.sh", "echo");
    let pending = ask(&home, "library", json!({ "action": "delete", "name": "old.sh" }));
    let listed = home.call("library", json!({})).expect(0).json();
    assert_eq!(listed["data"]["rows"][0]["name"], "old.sh");
    approve(&home, &person, &pending).expect(0);
    let done = outcome(&home, &pending);
    assert_eq!((&done["state"], &done["data"]["rows"][0]["outcome"]), (&json!("completed"), &json!("deleted")));
    let listed = home.call("library", json!({})).expect(0).json();
    assert_eq!(listed["data"]["rows"], json!([]));
    assert_eq!(std::fs::read_dir(home.state().join("library/objects")).unwrap().count(), 0);
    home.run(&["library", "verify"], "").expect(0);
}

#[test]
fn a_script_that_cannot_run_here_is_refused_before_a_person_is_asked() {
    let (home, person) = shelf();
    let own = env!("CARGO_BIN_EXE_live-response");
    shelve(&home, &person, "self.sh", &format!("#!{own} library list\n"));
    let refused = home.call("run", json!({ "script": "self.sh" })).expect(3).json();
    assert_eq!(refused["error"]["code"], "E_SELF_TARGET", "{refused}");
    shelve(&home, &person, "w.ps1", "Get-Process\n");
    let refused = home.call("run", json!({ "script": "w.ps1" })).expect(3).json();
    assert_eq!(refused["error"]["code"], "E_UNSUPPORTED", "{refused}");
    assert_eq!(home.count("request.created"), 0);
}
