//! Trees of units, good and hostile, and what systemd's own tools say of the same trees.

use super::super::own::OwnThings;
use super::super::sources::Sources;
use super::super::view::View;
use super::super::view::tests::TempTree;
use super::*;
use crate::model::{DevicePath, Job};
use std::os::unix::fs::symlink;
use std::sync::Arc;

pub(in super::super) struct Root {
    tree: TempTree,
    pub view: View,
    pub job: Job,
}

impl Root {
    pub fn new() -> Root {
        let tree = TempTree::new();
        let own = Arc::new(OwnThings::new("/nonexistent".into(), Vec::new()));
        let view = View::image(tree.root(), own).unwrap();
        Root { tree, view, job: Job::default() }
    }

    pub fn path(&self, below: &str) -> std::path::PathBuf {
        let path = self.tree.path(below.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    pub fn write(&self, below: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(below), text).unwrap();
    }

    pub fn link(&self, below: &str, target: &str) {
        symlink(target, self.path(below)).unwrap();
    }

    pub fn root(&self) -> &std::path::Path {
        self.tree.root()
    }
}

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn load(root: &Root, unit: &str) -> Unit {
    let sources = Sources::new(&root.view, &root.job);
    Units::read(&Scope::System, &sources).unwrap().load(&name(unit)).unwrap()
}

fn starts(unit: &Unit) -> Vec<String> {
    let execs = unit.execs("ExecStart").into_iter();
    execs.map(|e| String::from_utf8(e.image).unwrap()).collect()
}

const PLAIN: &str = "[Service]\nExecStart=/usr/bin/vendor\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn a_unit_of_etc_hides_the_vendor_s() {
    let root = Root::new();
    root.write("/usr/lib/systemd/system/a.service", PLAIN);
    root.write("/etc/systemd/system/a.service", PLAIN.replace("vendor", "own"));
    let unit = load(&root, "a.service");
    assert_eq!(starts(&unit), ["/usr/bin/own"]);
    assert_eq!(unit.state, State::Disabled);
    assert_eq!(unit.fragment.unwrap().path, DevicePath::new("/etc/systemd/system/a.service"));
}

#[test]
fn drop_ins_of_name_template_prefix_and_type_replace_what_starts() {
    let root = Root::new();
    root.write("/usr/lib/systemd/system/a-b@.service", "[Service]\nExecStart=/bin/one\n");
    root.write("/etc/systemd/system/a-b@x.service.d/10.conf", "[Service]\nExecStart=\nExecStart=/bin/two %i\n");
    root.write("/run/systemd/system/a-b@.service.d/20.conf", "[Service]\nExecStart=/bin/three\n");
    root.write("/usr/lib/systemd/system/service.d/30.conf", "[Service]\nExecStart=/bin/four\n");
    root.write("/etc/systemd/system/a-@x.service.d/40.conf", "[Service]\nExecStart=/bin/five\n");
    // Of one name the first of the search path counts, and an empty one takes the other away.
    root.write("/usr/local/lib/systemd/system/a-b@x.service.d/50.conf", "[Service]\nExecStart=/bin/hidden\n");
    root.write("/etc/systemd/system/a-b@x.service.d/50.conf", "");
    root.write("/etc/systemd/system/a-b@x.service.d/60.txt", "[Service]\nExecStart=/bin/never\n");
    let unit = load(&root, "a-b@x.service");
    assert_eq!(starts(&unit), ["/bin/two", "/bin/three", "/bin/four", "/bin/five"]);
    assert_eq!(unit.execs("ExecStart")[0].arguments, [b"x"]);
    assert_eq!(unit.of, name("a-b@.service"));
}

#[test]
fn masked_by_a_link_and_by_an_empty_file() {
    let root = Root::new();
    for (unit, target) in [("a.service", "/dev/null"), ("b.service", "../../../dev/null")] {
        root.write(&format!("/usr/lib/systemd/system/{unit}"), PLAIN);
        root.link(&format!("/etc/systemd/system/{unit}"), target);
        assert_eq!(load(&root, unit).state, State::Masked);
    }
    root.write("/run/systemd/system/c.service", "");
    assert_eq!(load(&root, "c.service").state, State::MaskedRuntime);
}

#[test]
fn aliases_lead_to_their_unit_and_enable_it() {
    let root = Root::new();
    root.write("/usr/lib/systemd/system/ssh.service", format!("{PLAIN}Alias=sshd.service\n"));
    root.link("/etc/systemd/system/sshd.service", "/lib/systemd/system/ssh.service");
    let alias = load(&root, "sshd.service");
    assert_eq!((alias.state, alias.of.as_str()), (State::Alias, "ssh.service"));
    assert_eq!(starts(&alias), ["/usr/bin/vendor"]);
    assert_eq!(load(&root, "ssh.service").state, State::Enabled);
}

#[test]
fn templates_and_instances_are_enabled_by_the_instance_s_link() {
    let root = Root::new();
    root.write("/usr/lib/systemd/system/getty@.service", format!("{PLAIN}DefaultInstance=tty1\n"));
    root.link("/etc/systemd/system/getty.target.wants/getty@tty1.service", "/usr/lib/systemd/system/getty@.service");
    assert_eq!(load(&root, "getty@.service").state, State::Enabled);
    assert_eq!(load(&root, "getty@tty1.service").state, State::Enabled);
    let sources = Sources::new(&root.view, &root.job);
    let units = Units::read(&Scope::System, &sources).unwrap();
    let names: Vec<_> = units.names("service").into_iter().map(|n| n.to_string()).collect();
    assert_eq!(names, ["getty@.service", "getty@tty1.service"]);
}

#[test]
fn what_a_timer_socket_and_path_start() {
    let root = Root::new();
    root.write("/etc/systemd/system/a.timer", "[Timer]\nUnit=other.service\n");
    root.write("/etc/systemd/system/b.socket", "[Socket]\nAccept=yes\n");
    root.write("/etc/systemd/system/c.path", "[Path]\nPathExists=/x\n");
    for (unit, starts) in [("a.timer", "other.service"), ("b.socket", "b@.service"), ("c.path", "c.service")] {
        assert_eq!(load(&root, unit).starts(), Some(name(starts)));
    }
}

#[test]
fn hostile_trees_end_and_are_said() {
    let root = Root::new();
    root.link("/etc/systemd/system/a.service", "b.service");
    root.link("/etc/systemd/system/b.service", "a.service");
    root.link("/etc/systemd/system/self.service", "self.service");
    root.link("/etc/systemd/system/loop.service.d", "loop.service.d");
    root.link("/etc/systemd/system/out.service", "../../../../../../../../etc/passwd");
    rustix::fs::mkfifoat(rustix::fs::CWD, root.path("/etc/systemd/system/fifo.service"), rustix::fs::Mode::RUSR)
        .unwrap();
    std::fs::create_dir(root.path("/etc/systemd/system/dir.service")).unwrap();
    let mut endless = b"[Service]\nExecStart=/bin/first\nExecStart=".to_vec();
    endless.resize(100 << 20, b'x');
    root.write("/etc/systemd/system/huge.service", &endless);
    let sources = Sources::new(&root.view, &root.job);
    let units = Units::read(&Scope::System, &sources).unwrap();
    for unit in ["a.service", "b.service", "self.service", "out.service", "fifo.service", "dir.service"] {
        let unit = units.load(&name(unit)).unwrap();
        assert!(unit.fragment.is_none(), "{unit:?}");
    }
    assert_eq!(starts(&units.load(&name("huge.service")).unwrap())[0], "/bin/first");
    drop(units);
    sources.finish();
    let warnings = root.job.take_warnings().join("\n");
    assert!(warnings.contains("fifo.service") && warnings.contains("huge.service"), "{warnings}");
}

#[test]
fn a_user_s_own_units_come_before_those_of_all() {
    let root = Root::new();
    root.write("/usr/lib/systemd/user/a.service", PLAIN);
    root.write("/home/eve/.config/systemd/user/a.service", PLAIN.replace("vendor", "own"));
    root.link("/home/eve/.config/systemd/user/default.target.wants/a.service", "../a.service");
    let sources = Sources::new(&root.view, &root.job);
    let scope = Scope::User { home: DevicePath::new("/home/eve"), uid: 1000 };
    let unit = Units::read(&scope, &sources).unwrap().load(&name("a.service")).unwrap();
    assert_eq!((starts(&unit), unit.state), (vec!["/usr/bin/own".to_owned()], State::Enabled));
}

/// `systemctl --root` reads the same files and needs no manager.
#[test]
fn states_are_those_that_systemctl_tells() {
    if !crate::tools::have("systemctl") {
        return;
    }
    let root = Root::new();
    let vendor = |unit: &str, text: &str| root.write(&format!("/usr/lib/systemd/system/{unit}"), text);
    vendor("plain.service", PLAIN);
    vendor("on.service", PLAIN);
    vendor("runs.service", PLAIN);
    vendor("still.service", "[Service]\nExecStart=/bin/true\n");
    vendor("also.service", "[Service]\nExecStart=/bin/true\n[Install]\nAlso=on.service\n");
    vendor("masked.service", PLAIN);
    vendor("aliased.service", PLAIN);
    vendor("wanted.service", "[Service]\nExecStart=/bin/true\n");
    vendor("many@.service", PLAIN);
    vendor("dropped.service", "[Service]\nExecStart=/bin/true\n");
    vendor("empty.service", "");
    root.write("/etc/systemd/system/dropped.service.d/i.conf", "[Install]\nWantedBy=multi-user.target\n");
    root.write("/opt/outside.service", PLAIN);
    let wants = "multi-user.target.wants";
    root.link("/etc/systemd/system/masked.service", "/dev/null");
    root.link(&format!("/etc/systemd/system/{wants}/on.service"), "/usr/lib/systemd/system/on.service");
    root.link(&format!("/run/systemd/system/{wants}/runs.service"), "/usr/lib/systemd/system/runs.service");
    root.link(&format!("/usr/lib/systemd/system/{wants}/wanted.service"), "../wanted.service");
    root.link("/etc/systemd/system/also-known.service", "/usr/lib/systemd/system/aliased.service");
    vendor("named.service", &format!("{PLAIN}Alias=other-name.service\n"));
    vendor("vendor-alias.service", PLAIN);
    root.link("/usr/lib/systemd/system/vendor-name.service", "vendor-alias.service");
    root.link("/etc/systemd/system/other-name.service", "/usr/lib/systemd/system/named.service");
    root.link("/etc/systemd/system/outside.service", "/opt/outside.service");
    root.link(&format!("/etc/systemd/system/{wants}/many@one.service"), "/usr/lib/systemd/system/many@.service");
    let listed = std::process::Command::new("systemctl")
        .arg(format!("--root={}", root.root().display()))
        .args(["list-unit-files", "--type=service", "--output=json"])
        .output()
        .unwrap();
    let theirs: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let sources = Sources::new(&root.view, &root.job);
    let units = Units::read(&Scope::System, &sources).unwrap();
    assert!(theirs.len() >= 13, "{theirs:?}");
    for row in theirs {
        let unit = row["unit_file"].as_str().unwrap();
        let ours = units.load(&name(unit)).unwrap().state.as_str();
        assert_eq!(row["state"], ours, "{unit}");
    }
}
