//! A systemd that really runs, in namespaces of its own: what the Bash pack and this program say of its services and
//! timers is what it says itself.

mod support;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use support::{Home, pack, tools};

/// What follows when the root of a simulated device is made: systemd is its first process.
const INIT: &str = r#"set -eu
export LC_ALL=C container=test
mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs /sys
if ! mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null || [ ! -w /sys/fs/cgroup/cgroup.procs ]; then
  mount -t tmpfs -o mode=755 none /sys/fs/cgroup
  mkdir /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd none /sys/fs/cgroup/systemd
fi
umount -l /.old
rmdir /.old
/bin/bash /.seed.sh "$2" </dev/null >/dev/null
mount -t tmpfs -o mode=755 none /run
cp /.units/* /etc/systemd/system/
systemctl enable running.service every.timer 2>/dev/null
systemctl mask hidden.service 2>/dev/null
echo "ready $1"
exec /usr/lib/systemd/systemd --system --unit=tested.target --log-target=null --show-status=no >/dev/null 2>&1
"#;
const UNITS: [(&str, &str); 7] = [
    ("tested.target", "[Unit]\nWants=running.service failing.service every.timer named@one.service\n"),
    (
        "running.service",
        "[Unit]\nDescription=Runs on\n[Service]\nUser=daemon\nExecStart=/bin/sleep 7200\n[Install]\nWantedBy=multi-user.target\n",
    ),
    ("failing.service", "[Service]\nExecStart=/bin/false\n"),
    ("resting.service", "[Service]\nExecStart=/bin/true\n"),
    (
        "named@.service",
        "[Unit]\nDescription=Of %i\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true %i\n",
    ),
    ("hidden.service", "[Service]\nExecStart=/bin/true\n"),
    ("every.timer", "[Timer]\nOnCalendar=hourly\nUnit=resting.service\n[Install]\nWantedBy=timers.target\n"),
];

struct Booted {
    first: Child,
    /// Its root is mounted below.
    _home: Home,
    pid: String,
}

impl Booted {
    /// `None`, with the reason, where no systemd can be booted.
    fn start() -> Option<Booted> {
        if !tools::root() || !tools::have("unshare") || !tools::have("nsenter") || !tools::have("systemctl") {
            return None;
        }
        if !Path::new("/usr/lib/systemd/systemd").exists() {
            println!("ignored: there is no /usr/lib/systemd/systemd");
            return None;
        }
        let home = Home::new();
        let simulator = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/defender_simulator/linux");
        for script in ["setup.sh", "seed.sh"] {
            home.file(script, std::fs::read(simulator.join(script)).expect("a script of the simulator"));
        }
        // The root's own copy of the units lies where the init script finds it.
        let units: String = UNITS
            .iter()
            .map(|(name, text)| format!("mkdir -p /.units\nprintf '%s' '{text}' >/.units/{name}\n"))
            .collect();
        home.file("init.sh", format!("{units}{INIT}"));
        std::fs::create_dir(home.files().join("root")).expect("a folder");
        let mut first = Command::new("unshare")
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"])
            .args(["--propagation", "private", "--", "/bin/bash"])
            .args([home.files().join("setup.sh"), home.files().join("root"), home.files()])
            .arg("booted")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare");
        let mut line = String::new();
        let stdout = first.stdout.take().expect("stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let pid = line.trim().strip_prefix("ready ").unwrap_or_default().to_owned();
        let booted = Booted { first, _home: home, pid };
        if booted.pid.is_empty() || !booted.is_up() {
            println!("ignored: systemd could not be booted in namespaces here");
            return None;
        }
        let program = format!("/proc/{}/root/opt/live-response", booted.pid);
        std::fs::copy(env!("CARGO_BIN_EXE_live-response"), program).expect("a copy of the program");
        Some(booted)
    }

    fn is_up(&self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            let started = self.said(&["systemctl", "is-active", "running.service", "every.timer", "named@one.service"]);
            let failed = self.said(&["systemctl", "is-active", "failing.service"]);
            if started == "active\nactive\nactive\n" && failed == "failed\n" {
                return true;
            }
            std::thread::yield_now();
        }
        false
    }

    fn said(&self, command: &[&str]) -> String {
        let output = Command::new("nsenter")
            .args(["--target", &self.pid, "--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd", "--"])
            .args([
                "/usr/bin/env",
                "-i",
                "LC_ALL=C",
                "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                "LIVE_RESPONSE_HOME=/opt/home",
            ])
            .args(command)
            .stdin(Stdio::null())
            .output()
            .expect("nsenter");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The rows of a script, by name.
    fn pack(&self, name: &str) -> BTreeMap<String, Value> {
        let path = format!("/proc/{}/root/opt/{name}.sh", self.pid);
        std::fs::write(path, pack::text(name)).expect("a script");
        let word = pack::word(120, &json!({}));
        let answer =
            pack::document(self.said(&["/bin/bash", &format!("/opt/{name}.sh"), &word]).as_bytes(), pack::NONCE);
        assert_eq!((&answer["complete"], &answer["warnings"]), (&json!(true), &json!([])), "{name}");
        by_name(&answer["rows"])
    }

    fn local(&self, name: &str) -> BTreeMap<String, Value> {
        let answer = self.said(&["/opt/live-response", "call", name, r#"{"limit":1000}"#]);
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer.get("warnings").filter(|w| !w.is_null()), None, "{name}: {answer}");
        by_name(&answer["data"]["rows"])
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // Its first process, and with it all others.
        let _ = self.first.kill();
        let _ = self.first.wait();
    }
}

fn by_name(rows: &Value) -> BTreeMap<String, Value> {
    let rows = rows.as_array().unwrap_or_else(|| panic!("no rows: {rows}"));
    let filled = |row: &Value| {
        let fields = row.as_object().expect("an object").iter().filter(|(_, value)| !value.is_null());
        Value::Object(fields.map(|(field, value)| (field.clone(), value.clone())).collect())
    };
    rows.iter().map(|row| (row["name"].as_str().expect("a name").to_owned(), filled(row))).collect()
}

#[test]
fn services_are_what_the_running_systemd_says() {
    let Some(booted) = Booted::start() else { return };
    let pack = booted.pack("services");
    let running = &pack["running.service"];
    let expected = [
        ("state", "running"),
        ("start_mode", "enabled"),
        ("account", "daemon"),
        ("path", "/bin/sleep"),
        ("description", "Runs on"),
        ("unit_file", "/etc/systemd/system/running.service"),
    ];
    for (field, value) in expected {
        assert_eq!(running[field], value, "{running}");
    }
    let pid = booted.said(&["systemctl", "show", "-P", "MainPID", "running.service"]);
    assert_eq!(running["pid"].to_string(), pid.trim());
    let states = [("failing.service", "failed"), ("resting.service", "inactive"), ("named@one.service", "exited")];
    for (name, state) in states {
        assert_eq!(pack[name]["state"], state, "{}", pack[name]);
    }
    assert_eq!(pack["named@one.service"]["description"], "Of one");
    assert_eq!(pack["hidden.service"]["start_mode"], "masked");
    assert_eq!(pack["named@.service"].get("state"), None);
    let local = booted.local("services");
    for name in pack.keys().chain(local.keys()) {
        assert_eq!(pack.get(name), local.get(name), "{name}");
    }
}

#[test]
fn timers_are_what_is_set_up() {
    let Some(booted) = Booted::start() else { return };
    let (pack, mut local) = (booted.pack("scheduledtasks"), booted.local("scheduledtasks"));
    let every = &pack["every.timer"];
    assert_eq!((&every["enabled"], &every["command"]), (&json!(true), &json!("/bin/true")), "{every}");
    assert!(local["every.timer"]["next_run"].is_string(), "systemd tells when it elapses");
    // The scripts do not work out when a task comes next.
    local.values_mut().for_each(|row| drop(row.as_object_mut().expect("an object").remove("next_run")));
    let pack: BTreeMap<_, _> = pack
        .into_iter()
        .map(|(name, mut row)| {
            row.as_object_mut().expect("an object").remove("next_run");
            (name, row)
        })
        .collect();
    assert_eq!(pack, local);
}
