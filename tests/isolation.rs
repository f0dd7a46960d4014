//! `isolate` and `release` in network namespaces with real sockets, through the real binary.

#[path = "isolation/net.rs"]
mod net;
mod support;

use net::{Net, PATIENCE, Probe, V4, V6, at, carries, echo, until};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Home, Person, Said, ended, text, tools};

/// A home whose program runs in the host's namespace.
struct Case {
    net: Net,
    home: Home,
    person: Person,
}

/// Ends what a test leaves behind: a dead-man outlives everything else.
impl Drop for Case {
    fn drop(&mut self) {
        if let Some(pid) = dead_man(&self.home) {
            let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// The dead-man of a home, where one lives.
fn dead_man(home: &Home) -> Option<i32> {
    let wanted = format!("dead-man\0{}\0", home.state().display());
    let all = std::fs::read_dir("/proc").expect("procfs").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).ends_with(&wanted))
    })
}

impl Case {
    /// `None`, where the machine has not what it takes.
    fn new(isolation: &str) -> Option<Case> {
        if !(tools::root() && tools::have("nft") && tools::have("ip")) {
            return None;
        }
        let home = Home::new();
        let folder = home.path().join("config/live-response");
        std::fs::create_dir_all(&folder).expect("a folder");
        let rule =
            "[[rule]]\ncommands = [\"isolate\", \"release\"]\ngroups = [\"this-host\"]\nlevel = \"L\"\nvotes = 1\n";
        let policy = format!("version = 1\n[defaults]\nmin_view_s = 1\n[isolation]\n{isolation}\n{rule}");
        std::fs::write(folder.join("policy.toml"), policy).expect("a policy");
        let person = home.enroll("alex");
        Some(Case { net: Net::new(), home, person })
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Output {
        ended(self.net.host.inside(|| self.home.start(arguments, stdin)))
    }

    fn call(&self, tool: &str, arguments: Value) -> Value {
        self.run(&["call", tool, &arguments.to_string()], "").json()
    }

    fn state(&self) -> String {
        text(&self.call("connect", json!({}))["data"]["isolation"])
    }

    fn ask(&self, tool: &str, arguments: Value) -> String {
        let pending = self.call(tool, arguments);
        assert_eq!(pending["state"], "pending_approval", "{pending}");
        text(&pending["approval"]["request_id"])
    }

    /// Starts an approver who has given the code and is asked nothing yet.
    fn approver(&self, request: &str) -> Child {
        let mut child =
            self.net.host.inside(|| self.home.piped(&["approvals", "approve", request]).spawn().expect("it"));
        let code = format!("{}\n", self.person.code());
        child.stdin.as_mut().expect("stdin").write_all(code.as_bytes()).expect("a reader");
        child
    }

    fn approve(&self, request: &str) -> Output {
        self.run(&["approvals", "approve", request], &format!("{}\nyes\n", self.person.code()))
    }

    /// Isolates, confirmed by the person.
    fn isolate(&self, arguments: Value) {
        let request = self.ask("isolate", arguments);
        let said = self.approve(&request).expect(0).out();
        assert!(said.contains("isolated") && said.contains("verified: yes"), "{said}");
    }

    fn rolled_back(&self) -> usize {
        self.home.count("isolation.rolled_back")
    }

    fn table(&self) -> bool {
        self.net.nft(&["list", "tables"]).contains("live_response_isolation")
    }
}

#[test]
fn what_passes_before_during_and_after() {
    let Some(case) = Case::new(&format!("allow = [\"{V4}2:4222\", \"[{V6}2]:4222\"]\ncommit_s = 60")) else { return };
    let Net { host, outside } = &case.net;
    let mut listeners = Vec::new();
    let mut echoes = Vec::new();
    for base in [V4, V6] {
        listeners.extend([4222, 8080].map(|port| outside.listen(at(base, 2, port))));
        listeners.push(outside.listen(at(base, 3, 4222)));
        for port in [53, 4222] {
            let socket = outside.udp_socket(at(base, 2, port));
            echo(&socket);
            echoes.push(socket);
        }
    }
    let dhcp = outside.udp_socket(at(V4, 2, 67));
    echo(&dhcp);
    let _server = case.ssh(None);
    let pair = |i: usize| {
        let near = host.connect(listeners[i].local_addr().expect("an address")).expect("a connection");
        (near, listeners[i].accept().expect("a peer").0)
    };
    let ((mut near, mut far), (mut cut_near, mut cut_far)) = (pair(0), pair(1));
    // Begun outside: the server sends back what it is sent.
    let mut guest = outside.connect(at(V4, 1, 22)).expect("a connection");
    let mut guest_again = guest.try_clone().expect("a socket");
    assert!(carries(&mut guest, &mut guest_again));
    let look = |expected: [Probe; 5]| {
        let [managed, other_port, other_address, inbound, dns] = expected;
        for base in [V4, V6] {
            assert_eq!(host.tcp(at(base, 2, 4222)), managed, "{base} managed");
            assert_eq!(host.tcp(at(base, 2, 8080)), other_port, "{base} another port");
            assert_eq!(host.tcp(at(base, 3, 4222)), other_address, "{base} another address");
            assert_eq!(outside.tcp(at(base, 1, 22)), inbound, "{base} from outside");
            assert_eq!(host.udp(at(base, 1, 0), at(base, 2, 4222)), managed, "{base} managed, UDP");
            assert_eq!(host.udp(at(base, 1, 0), at(base, 2, 53)), dns, "{base} DNS");
        }
        assert_eq!(host.udp(at(V4, 1, 68), at(V4, 2, 67)), Probe::Answered, "DHCP");
        assert_eq!(host.tcp(at("127.0.0.", 1, 1)), Probe::Refused, "loopback answers by itself");
    };
    look([Probe::Answered; 5]);
    assert_eq!(case.state(), "none");

    let request = case.ask("isolate", json!({ "type": "full", "comment": "INC-1" }));
    let screen = case.run(&["approvals", "show", &request], "").out();
    for line in [
        &format!("goes out        to {V4}2:4222 (policy, allow)"),
        &format!("goes out        to [{V6}2]:4222 (policy, allow)"),
        "cuts            all traffic but what is listed here; 2 connections now",
        "confirm         within 60 s",
        "! comes in      nothing",
        "INC-1",
    ] {
        assert!(screen.contains(line), "{line} is not on\n{screen}");
    }
    assert_eq!(case.state(), "none");
    case.approve(&request).expect(0);
    assert_eq!(case.state(), "full");
    // Neighbours are found anew while it holds.
    host.tool("ip", &["neigh", "flush", "all"]);
    look([Probe::Answered, Probe::Refused, Probe::Refused, Probe::Silent, Probe::Refused]);
    assert!(carries(&mut near, &mut far) && carries(&mut far, &mut near), "the managed connection goes on");
    assert!(!carries(&mut cut_near, &mut cut_far), "the other is cut");
    assert!(!carries(&mut guest, &mut guest_again), "so is the one from outside");

    let request = case.ask("release", json!({ "comment": "INC-1 is over" }));
    case.approve(&request).expect(0).out();
    assert_eq!(case.state(), "none");
    look([Probe::Answered; 5]);
    until("the dead-man ends", || dead_man(&case.home).is_none());
    assert_eq!(case.rolled_back(), 0);
}

#[test]
fn selective_keeps_what_the_policy_names_for_it_and_dns() {
    let Some(case) = Case::new("selective_allow = [\":8443\"]\ndns = true\ndhcp = false") else { return };
    let Net { host, outside } = &case.net;
    let _listeners = [8443, 8080].map(|port| outside.listen(at(V4, 3, port)));
    let (dns, dhcp) = (outside.udp_socket(at(V4, 2, 53)), outside.udp_socket(at(V4, 2, 67)));
    echo(&dns);
    echo(&dhcp);
    let resolver = case.home.file("resolv.conf", format!("nameserver 127.0.0.53\nnameserver {V4}2\n"));
    let pending = case.with_mount(&resolver, "/etc/resolv.conf", &["call", "isolate", r#"{"type":"selective"}"#]);
    let request = text(&pending.json()["approval"]["request_id"]);
    case.approve(&request).expect(0);
    assert_eq!(case.state(), "selective");
    assert_eq!(host.tcp(at(V4, 3, 8443)), Probe::Answered);
    assert_eq!(host.tcp(at(V4, 3, 8080)), Probe::Refused);
    assert_eq!(host.udp(at(V4, 1, 0), at(V4, 2, 53)), Probe::Answered);
    assert_eq!(host.udp(at(V4, 1, 68), at(V4, 2, 67)), Probe::Refused);
}

impl Case {
    /// Runs the program with a sysfs of the host's namespace, as a host has it.
    fn with_sysfs(&self, arguments: &[&str]) -> Output {
        let inner = self.home.command(arguments);
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", "mount -t sysfs sysfs /sys && exec \"$@\"", "sh"]);
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(self.home.files()).stdin(Stdio::null());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.net.host.inside(|| command.output().expect("unshare"))
    }

    /// Runs the program where `file` lies over `place`, which nobody else sees.
    fn with_mount(&self, file: &Path, place: &str, arguments: &[&str]) -> Output {
        self.start_with_mount(file, place, arguments).wait_with_output().expect("an end")
    }

    fn start_with_mount(&self, file: &Path, place: &str, arguments: &[&str]) -> Child {
        let inner = self.home.command(arguments);
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"", "sh"]);
        command.arg(file).arg(place).arg(inner.get_program()).args(inner.get_args()).current_dir(self.home.files());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.net.host.inside(|| command.spawn().expect("unshare"))
    }
}

#[test]
fn gt_137_without_a_confirmation_it_is_rolled_back() {
    let Some(case) = Case::new("commit_s = 2") else { return };
    let pending = case.call("isolate", json!({}));
    let request = text(&pending["approval"]["request_id"]);
    // Stdin stays open: the person says nothing.
    let mut child = case.approver(&request);
    until("it ends", || child.try_wait().expect("a child").is_some());
    let said = ended(child).expect(1).says("E_TIMEOUT");
    assert!(said.out().contains("rolled_back"), "{}", said.out());
    assert_eq!((case.state().as_str(), case.table(), case.rolled_back()), ("none", false, 1));
    let followed = case.call("fg", json!({ "command_id": pending["command_id"] }));
    let seen = &followed["data"]["command"];
    assert_eq!((&seen["state"], &seen["error"]["code"]), (&json!("failed"), &json!("E_TIMEOUT")), "{followed}");
    assert_eq!(seen["data"]["rows"][0]["outcome"], "rolled_back", "{followed}");
    let log = case.home.log();
    assert!(log.lines().any(|l| l.contains("exec.finished") && l.contains("rolled_back")), "{log}");
}

#[test]
fn a_person_who_does_not_say_yes_takes_it_back() {
    let Some(case) = Case::new("[limits]\nisolations_per_hour = 1") else { return };
    let request = case.ask("isolate", json!({}));
    let said = case.run(&["approvals", "approve", &request], &format!("{}\nno\n", case.person.code()));
    said.expect(1).says("E_DENIED");
    assert_eq!((case.state().as_str(), case.rolled_back()), ("none", 1));
    // That was the one of this hour.
    assert_eq!(case.call("isolate", json!({}))["error"]["code"], "E_RATE_LIMITED");
    assert_eq!(case.home.count("breaker.tripped"), 1);
}

#[test]
fn an_approver_that_is_killed_leaves_no_isolation() {
    let Some(case) = Case::new("commit_s = 10") else { return };
    let request = case.ask("isolate", json!({}));
    let mut child = case.approver(&request);
    until("it is isolated", || case.table());
    child.kill().expect("killed");
    child.wait().expect("reaped");
    assert!(dead_man(&case.home).is_some(), "the dead-man lives on");
    until("it is rolled back", || !case.table());
    until("it is on record", || case.rolled_back() == 1);
    assert_eq!(case.state(), "none");
    until("the dead-man ends", || dead_man(&case.home).is_none());
}

#[test]
fn the_lease_ends_it() {
    let Some(case) = Case::new("commit_s = 14\nlease_s = 15") else { return };
    case.isolate(json!({}));
    until("the lease ends", || case.state() == "none");
    until("it is on record", || case.home.log().contains("its lease has ended"));
    assert_eq!(case.rolled_back(), 1);
}

#[test]
fn a_firewall_reload_and_a_hand_on_its_rules_change_nothing() {
    let Some(case) = Case::new("") else { return };
    let listener = case.net.outside.listen(at(V4, 2, 8080));
    let to = listener.local_addr().expect("an address");
    case.isolate(json!({}));
    for attack in [
        "flush ruleset",
        "delete table inet live_response_isolation",
        "insert rule inet live_response_isolation leaving accept",
        "flush chain inet live_response_isolation leaving",
        "chain inet live_response_isolation leaving { policy accept; }",
    ] {
        let before = case.net.nft(&["list", "table", "inet", "live_response_isolation"]);
        case.net.nft(&[attack]);
        until(attack, || {
            let listed = case.net.nft(&["list", "ruleset"]);
            listed.trim() == before.trim()
        });
        until(attack, || case.net.host.tcp(to) == Probe::Refused);
    }
    assert_eq!((case.state().as_str(), case.rolled_back()), ("full", 0));
}

#[test]
fn a_dead_man_that_is_killed_is_missed_and_comes_back() {
    let Some(case) = Case::new("lease_s = 3600") else { return };
    case.isolate(json!({}));
    let pid = dead_man(&case.home).expect("a dead-man");
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).expect("a pid"), rustix::process::Signal::KILL)
        .expect("killed");
    until("it is gone", || dead_man(&case.home).is_none());
    let connected = case.call("connect", json!({}));
    assert_eq!(connected["data"]["isolation"], "full");
    assert!(connected["warnings"].to_string().contains("dead-man"), "{connected}");
    case.net.nft(&["flush", "ruleset"]);
    let connected = case.call("connect", json!({}));
    assert!(connected["warnings"].to_string().contains("rules are gone"), "{connected}");
    assert_eq!(case.call("isolate", json!({}))["error"]["code"], "E_EXISTS");
    case.run(&["approvals", "list"], "").expect(0).says("started again");
    until("the rules are back", || case.table());
    assert_eq!(case.state(), "full");
    // Released by the same way as any other.
    let request = case.ask("release", json!({}));
    case.approve(&request).expect(0);
    assert_eq!((case.state().as_str(), case.table()), ("none", false));
}

#[test]
fn gt_141_only_release_ends_it() {
    let Some(case) = Case::new("") else { return };
    case.isolate(json!({}));
    for arguments in [json!({ "lease_s": 1 }), json!({ "type": "none" }), json!({ "type": "full", "renew": true })] {
        assert_eq!(case.call("isolate", arguments)["error"]["code"], "E_BAD_ARGS");
    }
    assert_eq!(case.call("isolate", json!({}))["error"]["code"], "E_EXISTS");
    let pid = dead_man(&case.home).expect("a dead-man").to_string();
    let refused = case.call("remediate", json!({ "type": "process", "id": pid }));
    assert_eq!(refused["error"]["code"], "E_SELF_TARGET", "{refused}");
    let request = case.ask("release", json!({}));
    case.run(&["approvals", "deny", &request], "").expect(0);
    assert_eq!(case.state(), "full");
}

#[test]
fn somebody_else_s_table_of_that_name_is_left_alone() {
    let Some(case) = Case::new("") else { return };
    for table in [
        "table inet live_response_isolation { chain x { type filter hook input priority 0; policy accept; }; }",
        "table inet live_response_isolation { }",
        "table inet live_response_isolation { chain isolated_full_by_r_1 { }; }",
    ] {
        case.net.nft(&[table]);
        let before = case.net.nft(&["list", "ruleset"]);
        assert_eq!(case.call("isolate", json!({}))["error"]["code"], "E_EXISTS");
        assert_eq!(case.call("release", json!({}))["error"]["code"], "E_EXISTS");
        assert_eq!(case.state(), "none");
        assert_eq!(case.net.nft(&["list", "ruleset"]), before);
        case.net.nft(&["flush", "ruleset"]);
    }
    // One that comes between the plan and the yes.
    let request = case.ask("isolate", json!({}));
    case.net.nft(&["table inet live_response_isolation { }"]);
    case.approve(&request).expect(1).says("E_EXISTS");
    assert!(dead_man(&case.home).is_none());
}

fn script(case: &Case, name: &str, content: &str) -> PathBuf {
    let path = case.home.file(name, content);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a mode");
    path
}

#[test]
fn without_nft_nothing_is_asked() {
    let Some(case) = Case::new("") else { return };
    let nothing = case.home.file("nothing", "");
    let refused = case.with_mount(&nothing, "/usr/sbin/nft", &["call", "isolate", "{}"]).json();
    assert_eq!(refused["error"]["code"], "E_UNSUPPORTED", "{refused}");
    assert!(refused["error"]["hint"].to_string().contains("nftables"), "{refused}");
}

#[test]
fn an_nft_that_fails_or_lies_leaves_nothing_behind() {
    let Some(case) = Case::new("") else { return };
    let real = case.home.path().join("nft");
    std::fs::copy("/usr/sbin/nft", &real).expect("a copy");
    let real = real.display();
    // Half a script is loaded, none of it holds; one that says it did and did not.
    let broken = script(&case, "broken", &format!("#!/bin/sh\n{{ /bin/cat; echo chain; }} | {real} \"$@\"\n"));
    let liar = script(&case, "liar", &format!("#!/bin/sh\n[ \"$1\" = -f ] && exit 0\nexec {real} \"$@\"\n"));
    for nft in [broken, liar] {
        let request = case.ask("isolate", json!({}));
        let mut child = case.start_with_mount(&nft, "/usr/sbin/nft", &["approvals", "approve", &request]);
        let stdin = format!("{}\nyes\n", case.person.code());
        child.stdin.take().expect("stdin").write_all(stdin.as_bytes()).expect("a reader");
        ended(child).expect(1).says("E_BACKEND");
        assert_eq!((case.state().as_str(), case.table()), ("none", false));
        until("the dead-man ends", || dead_man(&case.home).is_none());
    }
}

#[test]
fn an_account_without_rights_is_told_so() {
    let Some(case) = Case::new("") else { return };
    let program = env!("CARGO_BIN_EXE_live-response");
    let reachable = Command::new("setpriv").args(["--reuid=65534", "--clear-groups", program, "--version"]).output();
    if !reachable.is_ok_and(|o| o.status.success()) {
        println!("another account cannot run {program} here");
        return;
    }
    let home = Home::new();
    for folder in [home.path().to_owned(), home.state(), home.files()] {
        std::os::unix::fs::chown(folder, Some(65534), None).expect("given");
    }
    let as_nobody = |arguments: &[&str]| {
        let inner = home.command(arguments);
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups"]).arg(inner.get_program()).args(inner.get_args());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir(home.files());
        command.stdin(Stdio::null());
        case.net.host.inside(|| command.output().expect("setpriv"))
    };
    as_nobody(&["approver", "enroll", "alex"]).expect(0);
    assert_eq!(as_nobody(&["call", "connect", "{}"]).json()["data"]["isolation"], "unknown");
    let refused = as_nobody(&["call", "isolate", "{}"]).json();
    assert_eq!(refused["error"]["code"], "E_ACCESS", "{refused}");
}

// An SSH server that takes one connection and runs a command in it.

const SERVE: &str = "LIVE_RESPONSE_TEST_SERVE";
const SESSION: &str = "LIVE_RESPONSE_TEST_SESSION";

/// Not a test: what the copy of this program does that is called sshd. The listener gives each connection to a process
/// of its own; in the first of them a session runs.
#[test]
fn serve() {
    let Ok(address) = std::env::var(SERVE) else { return };
    let session = std::env::var(SESSION).ok();
    if address == "a connection" {
        let reader = std::os::fd::AsFd::as_fd(&std::io::stdin()).try_clone_to_owned().expect("a socket");
        let (mut reader, mut writer) =
            (std::net::TcpStream::from(reader.try_clone().expect("a socket")), std::net::TcpStream::from(reader));
        std::thread::spawn(move || std::io::copy(&mut reader, &mut writer));
        let _session = session.map(|command| Command::new("sh").args(["-c", &command]).stdin(Stdio::null()).spawn());
        let parent = rustix::process::getppid();
        return until_gone(|| rustix::process::getppid() != parent);
    }
    let listener = std::net::TcpListener::bind(address).expect("a listener");
    listener.set_nonblocking(true).expect("a mode");
    let (mut session, mut kept) = (session, Vec::new());
    until_gone(|| {
        if let Ok((connection, _)) = listener.accept() {
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command.args(["serve", "--exact"]).env(SERVE, "a connection").env_remove(SESSION);
            command.stdin(Stdio::from(std::os::fd::OwnedFd::from(connection)));
            session.take().map(|session| command.env(SESSION, session));
            kept.push(command.spawn().expect("a process"));
        }
        false
    });
    kept.iter_mut().for_each(|child| drop(child.kill()));
}

/// Until it is so, or the test's folder has gone.
fn until_gone(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + 3 * PATIENCE;
    let here = std::env::current_dir().expect("a folder");
    while Instant::now() < deadline && here.exists() && !is_so() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Case {
    /// A server on port 22 whose first connection has `session` running in it.
    fn ssh(&self, session: Option<&str>) -> Server {
        let program = self.home.path().join("sshd");
        std::fs::copy(std::env::current_exe().expect("this program"), &program).expect("a copy");
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("a mode");
        let mut command = Command::new(program);
        command.args(["serve", "--exact"]).env(SERVE, "[::]:22").current_dir(self.home.files());
        let inner = self.home.command(&[]);
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(session) = session {
            command.env(SESSION, session);
        }
        // A child of another test may hold the copy open between its fork and its exec.
        let mut start = || loop {
            match command.spawn() {
                Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                started => return started.expect("a server"),
            }
        };
        let server = Server(self.net.host.inside(&mut start));
        let listens = || {
            std::fs::read_to_string("/proc/thread-self/net/tcp6")
                .expect("sockets")
                .contains(":0016 00000000000000000000000000000000:0000 0A")
        };
        until("the server listens", || self.net.host.inside(listens));
        server
    }

    /// What the session writes.
    fn said(&self, name: &str) -> String {
        let path = self.home.files().join(name);
        until(name, || path.exists());
        std::fs::read_to_string(path).expect("a file")
    }
}

#[test]
fn the_way_in_stays_for_whoever_is_signed_in_and_for_nobody_else() {
    let Some(case) = Case::new("") else { return };
    let outside = &case.net.outside;
    let _server = case.ssh(Some("touch in; exec sleep 600"));
    let signed_in = outside.inside(|| {
        let socket = bound(at(V4, 2, 0));
        connect_from(socket, at(V4, 1, 22))
    });
    case.said("in");
    // Connected, and not signed in: nothing runs for it.
    let lurking = outside.inside(|| connect_from(bound(at(V4, 3, 0)), at(V4, 1, 22)));
    let request = case.ask("isolate", json!({}));
    let screen = case.run(&["approvals", "show", &request], "").out();
    let line = format!("comes in        from {V4}2 to port 22 (SSH session, pid ");
    assert!(screen.contains(&line), "{line} is not on\n{screen}");
    assert!(!screen.contains(&format!("{V4}3")), "{screen}");
    case.approve(&request).expect(0);
    let from = |last| outside.inside(|| try_from(at(V4, last, 0), at(V4, 1, 22)));
    assert!(from(2), "a new connection of the same peer is taken");
    assert!(!from(3), "nobody else's is");
    drop((signed_in, lurking));
}

fn bound(address: std::net::SocketAddr) -> std::os::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&socket, &address).expect("bound");
    socket
}

fn connect_from(socket: std::os::fd::OwnedFd, to: std::net::SocketAddr) -> std::net::TcpStream {
    rustix::net::connect(&socket, &to).expect("connected");
    socket.into()
}

fn try_from(from: std::net::SocketAddr, to: std::net::SocketAddr) -> bool {
    let socket = bound(from);
    let limit = Some(Duration::from_secs(3));
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, limit).expect("a limit");
    rustix::net::connect(&socket, &to).is_ok()
}

#[test]
fn gt_136_whoever_would_cut_the_own_connection_is_refused() {
    let Some(case) = Case::new("ssh = false") else { return };
    let program = env!("CARGO_BIN_EXE_live-response");
    // Asked by an assistant whose host hangs on that connection.
    let server = case.ssh(Some(&format!("{program} call isolate > asked~; mv asked~ asked; exec sleep 600")));
    let client = case.net.outside.connect(at(V4, 1, 22)).expect("a connection");
    let asked: Value = serde_json::from_str(&case.said("asked")).expect("JSON");
    assert_eq!(asked["error"]["code"], "E_MGMT_CHANNEL", "{asked}");
    drop((client, server));
    // Approved by a person who does.
    let request = case.ask("isolate", json!({}));
    let yes =
        format!("printf '%s\\nyes\\n' {} | {program} approvals approve {request} > said~ 2>&1", case.person.code());
    let _server = case.ssh(Some(&format!("{yes}; mv said~ said; exec sleep 600")));
    let _client = case.net.outside.connect(at(V4, 1, 22)).expect("a connection");
    let said = case.said("said");
    assert!(said.contains("E_MGMT_CHANNEL"), "{said}");
    assert!(!case.table() && case.home.log().contains("refused_by_precondition"));
}

#[test]
fn gt_136_a_way_in_through_a_tunnel_that_would_be_cut_is_none() {
    let Some(case) = Case::new("") else { return };
    let _server = case.ssh(Some("touch in; exec sleep 600"));
    let _client = case.net.outside.connect(at(V4, 1, 22)).expect("a connection");
    case.said("in");
    if !case.net.host.tunnel("far") {
        println!("this kernel has no tunnels");
        return;
    }
    let isolate = || case.with_sysfs(&["call", "isolate"]).json();
    assert_eq!(isolate()["state"], "pending_approval");
    let peers = [format!("{V4}2/32"), format!("{V4}3/32")];
    peers.iter().for_each(|peer| drop(case.net.host.tool("ip", &["route", "add", peer, "dev", "far"])));
    let refused = case.with_sysfs(&["call", "isolate", r#"{"type":"full"}"#]).json();
    assert_eq!(refused["error"]["code"], "E_MGMT_CHANNEL", "{refused}");
    assert!(refused["error"]["message"].to_string().contains("tunnel far"), "{refused}");
}
