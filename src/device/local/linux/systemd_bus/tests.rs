//! A bus that hangs, one that lies, one that answers as systemd does, and a real systemd in a container.

use super::*;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const SHORT: Duration = Duration::from_millis(300);
/// For what must come: a slow machine takes its time.
const LONG: Duration = Duration::from_secs(120);

fn listener() -> (UnixListener, PathBuf) {
    let socket = std::env::temp_dir().join(format!("lr-bus-{}", crate::model::random_hex::<8>()));
    (UnixListener::bind(&socket).unwrap(), socket)
}

#[test]
fn a_bus_that_never_answers_costs_its_time_and_no_more() {
    let (listener, socket) = listener();
    let e = SystemdBus::at(&socket, true, SHORT).services(&Job::default()).unwrap_err();
    assert_eq!(e.code, ErrorCode::Timeout);
    drop(listener);
    std::fs::remove_file(socket).unwrap();
}

#[test]
fn a_cancel_releases_who_waits_for_the_bus() {
    let (_listener, socket) = listener();
    let job = Arc::new(Job::default());
    let canceller = Arc::clone(&job);
    let waiting = std::thread::spawn({
        let socket = socket.clone();
        move || SystemdBus::at(socket, true, LONG).services(&job).unwrap_err().code
    });
    canceller.cancel();
    assert_eq!(waiting.join().unwrap(), ErrorCode::Cancelled);
    std::fs::remove_file(socket).unwrap();
}

#[test]
fn no_bus_and_a_bus_that_speaks_something_else_are_said() {
    let absent = SystemdBus::at("/nonexistent/bus", false, LONG).services(&Job::default()).unwrap_err();
    assert_eq!(absent.code, ErrorCode::Backend);
    let (listener, socket) = listener();
    let speaker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(&[b'\xff'; 70_000]);
    });
    let e = SystemdBus::at(&socket, true, LONG).services(&Job::default()).unwrap_err();
    assert_eq!(e.code, ErrorCode::Backend);
    speaker.join().unwrap();
    std::fs::remove_file(socket).unwrap();
}

struct Manager;
struct Service;
struct Timer;
struct AnyUnit;

const UNIT: &str = "/org/freedesktop/systemd1/unit/one";

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    fn list_units_by_patterns(&self, _states: Vec<String>, patterns: Vec<String>) -> Vec<Listed> {
        let kind = patterns[0].trim_start_matches('*');
        let object = |path: &str| OwnedObjectPath::try_from(path.to_owned()).unwrap();
        let unit = |name: &str, path: &str| {
            let [load, active, sub] = ["loaded", "active", "running"].map(str::to_owned);
            let text = "says \x1b[2J".to_owned();
            (name.to_owned(), text, load, active, sub, String::new(), object(path), 0, String::new(), object("/"))
        };
        let gone = format!("gone{kind}");
        vec![
            unit(&format!("one{kind}"), UNIT),
            unit("../../etc/passwd", UNIT),
            unit(&gone, "/org/freedesktop/systemd1/unit/gone"),
        ]
    }

    fn list_unit_files(&self) -> Vec<(String, String)> {
        vec![("/usr/lib/systemd/system/one.service".into(), "enabled".into()), ("".into(), "bad".into())]
    }
}

type Command = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl Service {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        4711
    }

    #[zbus(property)]
    fn user(&self) -> String {
        "eve".into()
    }

    #[zbus(property)]
    fn exec_start(&self) -> Vec<Command> {
        vec![("/opt/one".into(), vec!["/opt/one".into(), "-d".into()], false, 0, 0, 0, 0, 0, 0, 0)]
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Timer")]
impl Timer {
    #[zbus(property, name = "NextElapseUSecRealtime")]
    fn realtime(&self) -> u64 {
        1_800_000_000_000_000
    }

    #[zbus(property, name = "NextElapseUSecMonotonic")]
    fn monotonic(&self) -> u64 {
        u64::MAX
    }
}

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl AnyUnit {
    #[zbus(property)]
    fn fragment_path(&self) -> String {
        "/usr/lib/systemd/system/one.service".into()
    }
}

/// Serves one connection until the other end goes.
fn serve(listener: UnixListener) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let (stream, _): (UnixStream, _) = listener.accept().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let connection = connection::Builder::unix_stream(stream)
                .server(zbus::Guid::generate())
                .p2p()
                .serve_at(MANAGER, Manager)
                .serve_at(UNIT, Service)
                .serve_at(UNIT, Timer)
                .serve_at(UNIT, AnyUnit)
                .build()
                .await
                .unwrap();
            connection.closed().await;
        });
    })
}

#[test]
fn what_the_manager_says_is_read_and_what_is_no_unit_left_out() {
    let (listener, socket) = listener();
    let server = serve(listener);
    let services = SystemdBus::at(&socket, true, LONG).services(&Job::default()).unwrap();
    let names: Vec<_> = services.loaded.iter().map(|(l, _)| l.name.as_str()).collect();
    assert_eq!(names, ["gone.service", "one.service"]);
    assert_eq!(services.loaded[0].1, Runs::default());
    let runs = &services.loaded[1].1;
    assert_eq!(
        (runs.main_pid, runs.image.as_deref(), runs.user.as_deref()),
        (Some(4711), Some("/opt/one"), Some("eve"))
    );
    assert_eq!(services.files[0], ("one.service".to_owned(), "enabled".to_owned()));
    server.join().unwrap();
    std::fs::remove_file(socket).unwrap();
}

#[test]
fn a_timer_that_never_elapses_has_no_time() {
    let (listener, socket) = listener();
    let server = serve(listener);
    let timers = SystemdBus::at(&socket, true, LONG).timers(&Job::default()).unwrap();
    assert_eq!(timers[1].1, Elapses { realtime: Some(1_800_000_000_000_000), monotonic: None });
    server.join().unwrap();
    std::fs::remove_file(socket).unwrap();
}

/// A systemd of its own in a container over this host's `/usr`, ended at the end.
pub(in super::super) struct Container {
    nspawn: std::process::Child,
    root: PathBuf,
    pub pid: u32,
}

impl Container {
    /// `None` where the tools or the rights for it are not here.
    pub fn boot() -> Option<Container> {
        let tools = ["systemd-nspawn", "dbus-daemon", "nsenter"].into_iter().all(crate::tools::have);
        if !crate::tools::root() || !tools {
            return None;
        }
        let root = std::env::temp_dir().join(format!("lr-systemd-{}", crate::model::random_hex::<8>()));
        for folder in ["usr", "etc", "var", "root", "tmp", "proc", "sys", "dev", "run"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        for folder in ["bin", "sbin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{folder}"), root.join(folder)).unwrap();
        }
        let write = |path: &str, text: &str| std::fs::write(root.join(path), text).unwrap();
        write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        write("etc/os-release", "ID=test\n");
        std::fs::create_dir_all(root.join("etc/systemd/system/multi-user.target.wants")).unwrap();
        write("etc/systemd/system/planted.service", "[Service]\nExecStart=/bin/sleep 100000\nUser=daemon\n");
        write(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nmessagebus:x:100:100::/:/bin/false\n",
        );
        write("etc/group", "root:x:0:\ndaemon:x:1:\nmessagebus:x:100:\n");
        let wants = root.join("etc/systemd/system/multi-user.target.wants/planted.service");
        std::os::unix::fs::symlink("../planted.service", wants).unwrap();
        let nspawn = std::process::Command::new("systemd-nspawn")
            .args(["--quiet", "--register=no", "--keep-unit", "--private-network", "--bind-ro=/usr", "-b", "-D"])
            .arg(&root)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut container = Container { nspawn, root, pid: 0 };
        let end = Instant::now() + LONG;
        while !container.is_up() {
            assert!(Instant::now() < end, "no systemd came up in {LONG:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(container)
    }

    fn is_up(&mut self) -> bool {
        let own = self.nspawn.id();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        let Some(pid) = children.split_whitespace().next().and_then(|p| p.parse().ok()) else { return false };
        self.pid = pid;
        self.bus_socket().exists() && self.systemctl(&["is-active", "multi-user.target"]).starts_with("active")
    }

    fn bus_socket(&self) -> PathBuf {
        self.path("run/dbus/system_bus_socket")
    }

    pub fn path(&self, below: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join("root").join(below)
    }

    pub fn bus(&self) -> SystemdBus {
        SystemdBus::at(self.bus_socket(), false, LONG)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn systemctl(&self, arguments: &[&str]) -> String {
        let mut command = std::process::Command::new("nsenter");
        command.args(["-t", &self.pid.to_string(), "-a", "systemctl"]).args(arguments);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The container's init: the kernel ends all that is in it with it.
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.nspawn.kill();
        let _ = self.nspawn.wait();
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

#[test]
fn a_real_systemd_tells_what_systemctl_tells() {
    let Some(container) = Container::boot() else { return };
    let list = || {
        let listed = container.systemctl(&["list-units", "--type=service", "--all", "--output=json"]);
        let rows: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
        rows.iter().map(|r| r["unit"].as_str().unwrap().to_owned()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = list();
    let services = container.bus().services(&Job::default()).unwrap();
    let ours: Vec<_> = services.loaded.iter().map(|(l, _)| l.name.as_str()).collect();
    // What comes or goes meanwhile may be in one list alone.
    for name in before.intersection(&list()) {
        assert!(ours.contains(&name.as_str()), "{name} is missing");
    }
    let (_, planted) = services.loaded.iter().find(|(l, _)| l.name.as_str() == "planted.service").unwrap();
    let main_pid = container.systemctl(&["show", "-P", "MainPID", "planted.service"]);
    assert_eq!(planted.main_pid, main_pid.trim().parse().ok());
    assert_eq!(planted.image.as_deref(), Some("/bin/sleep"));
    assert_eq!(planted.user.as_deref(), Some("daemon"));
    assert!(services.files.contains(&("planted.service".into(), "enabled".into())));
    let timers = container.bus().timers(&Job::default()).unwrap();
    let clean = timers.iter().find(|(l, _)| l.name.as_str() == "systemd-tmpfiles-clean.timer");
    assert!(clean.unwrap().1.monotonic.is_some(), "{timers:?}");

    let own = Arc::new(super::super::own::OwnThings::new("/nonexistent".into(), Vec::new()));
    let view = super::super::view::View::image(container.root(), own).unwrap();
    let rows = super::super::services::list(&view, Some(&container.bus()), &Job::default()).unwrap();
    let row = rows.iter().find(|r| r.name.raw() == "planted.service").unwrap();
    assert_eq!((row.state.as_ref().unwrap().raw(), row.pid), ("running", planted.main_pid));
    assert_eq!((row.start_mode.as_ref().unwrap().raw(), row.account.as_ref().unwrap().raw()), ("enabled", "daemon"));
}
