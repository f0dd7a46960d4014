//! One root per technique: what is planted is found, and nothing else.

use super::super::view::View;
use super::super::view::tests::{Sleeper, TempTree, host, image, text};
use super::*;
use crate::model::DevicePath;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nsync:x:4:65534::/bin:/bin/sync\n\
    daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\nann:x:1000:1000::/home/ann:/usr/sbin/nologin\n";

/// What one technique leaves: files, and the places that must be rows of it.
struct Plant {
    technique: &'static str,
    /// Path, content; a path that ends in `*` is made executable, without the star.
    files: &'static [(&'static str, &'static str)],
    at: &'static [&'static str],
    /// In some row's command or note.
    told: &'static str,
}

const fn plant(
    technique: &'static str,
    files: &'static [(&'static str, &'static str)],
    at: &'static [&'static str],
    told: &'static str,
) -> Plant {
    Plant { technique, files, at, told }
}

const PLANTS: &[Plant] = &[
    plant(
        "systemd-services",
        &[
            ("etc/systemd/system/evil.service", "[Service]\nExecStart=/tmp/x -d\nUser=ann\n"),
            ("usr/lib/systemd/system/good.service", "[Unit]\nDescription=nothing runs\n"),
            ("etc/systemd/system/good.service.d/x.conf", "[Service]\nExecStartPre=/tmp/y\n"),
        ],
        &["/etc/systemd/system/evil.service", "/etc/systemd/system/good.service.d/x.conf"],
        "ExecStart=/tmp/x -d",
    ),
    plant(
        "systemd-user-services",
        &[
            ("home/ann/.config/systemd/user/x.service", "[Service]\nExecStart=/tmp/x\n"),
            ("usr/lib/systemd/user/y.service", "[Service]\nExecStart=/bin/y\n"),
            ("var/lib/systemd/linger/ann", ""),
        ],
        &["/home/ann/.config/systemd/user/x.service", "/usr/lib/systemd/user/y.service"],
        "lingers",
    ),
    plant(
        "systemd-timers",
        &[
            ("etc/systemd/system/evil.timer", "[Timer]\nOnCalendar=daily\n"),
            ("usr/local/lib/systemd/system/s.socket", "[Socket]\nListenStream=4444\nAccept=yes\n"),
        ],
        &["/etc/systemd/system/evil.timer", "/usr/local/lib/systemd/system/s.socket"],
        "evil.service: not found",
    ),
    plant(
        "systemd-generators",
        &[("etc/systemd/system-generators/x*", "#!/bin/sh\n/tmp/x\n")],
        &["/etc/systemd/system-generators/x"],
        "/tmp/x",
    ),
    plant(
        "systemd-hooks",
        &[
            ("usr/lib/systemd/system-sleep/x*", "#!/bin/sh\n/tmp/x\n"),
            ("home/ann/.config/environment.d/x.conf", "LD_PRELOAD=/tmp/x.so\n"),
        ],
        &["/usr/lib/systemd/system-sleep/x", "/home/ann/.config/environment.d/x.conf"],
        "LD_PRELOAD",
    ),
    plant(
        "cron-system",
        &[
            ("etc/crontab", "# c\n* * * * * root /tmp/x\n"),
            ("etc/cron.daily/x*", "#!/bin/sh\n/tmp/y\n"),
            ("etc/anacrontab", "1 5 x /tmp/z\n"),
        ],
        &["/etc/crontab", "/etc/cron.daily/x", "/etc/anacrontab"],
        "/tmp/x",
    ),
    plant(
        "cron-user",
        &[("var/spool/cron/crontabs/ann", "# c\n@reboot /tmp/x\n")],
        &["/var/spool/cron/crontabs/ann"],
        "@reboot",
    ),
    plant(
        "at",
        &[("var/spool/cron/atjobs/a0000f01d68e5a*", "#!/bin/sh\n/tmp/x\n"), ("var/spool/cron/atjobs/.SEQ", "0000f\n")],
        &["/var/spool/cron/atjobs/a0000f01d68e5a"],
        "/tmp/x",
    ),
    plant(
        "sysv-init",
        &[("etc/init.d/x*", "#!/bin/sh\n/tmp/x\n"), ("etc/rc2.d/S99y*", "#!/bin/sh\n/tmp/y\n")],
        &["/etc/init.d/x", "/etc/rc2.d/S99y"],
        "/tmp/y",
    ),
    plant("rc-local", &[("etc/rc.local", "#!/bin/sh\n/tmp/x\n")], &["/etc/rc.local"], "it does not run"),
    plant(
        "kernel-modules",
        &[
            ("etc/modules-load.d/x.conf", "evil\n"),
            ("etc/modprobe.d/x.conf", "install usb /tmp/x\n"),
            ("etc/modprobe.d/y.conf", "blacklist pcspkr\n"),
            ("lib/modules/6.1/updates/x.ko", "no module"),
        ],
        &["/etc/modules-load.d/x.conf", "/etc/modprobe.d/x.conf", "/lib/modules/6.1/updates/x.ko"],
        "install usb /tmp/x",
    ),
    plant(
        "dkms",
        &[("usr/src/x-1/dkms.conf", "PACKAGE_NAME=x\nPOST_INSTALL=/tmp/x\n")],
        &["/usr/src/x-1/dkms.conf"],
        "POST_INSTALL=/tmp/x",
    ),
    plant(
        "xdg-autostart",
        &[
            ("home/ann/.config/autostart/.x.desktop", "[Desktop Entry]\nExec=/tmp/x\nHidden=false\n"),
            ("etc/xdg/autostart/y.desktop", "[Desktop Entry]\nName=no command\n"),
        ],
        &["/home/ann/.config/autostart/.x.desktop"],
        "a name that listings hide",
    ),
    plant(
        "session-scripts",
        &[
            ("home/ann/.xprofile", "/tmp/x &\n"),
            ("etc/X11/Xsession.d/99x", "/tmp/y\n"),
            ("home/ann/.local/share/applications/f.desktop", "[Desktop Entry]\nExec=/tmp/f\n"),
        ],
        &["/home/ann/.xprofile", "/etc/X11/Xsession.d/99x", "/home/ann/.local/share/applications/f.desktop"],
        "/tmp/f",
    ),
    plant(
        "dbus-services",
        &[
            ("usr/share/dbus-1/system-services/x.service", "[D-BUS Service]\nName=x\nExec=/tmp/x\nUser=root\n"),
            ("etc/dbus-1/system.d/x.conf", "<policy><allow own=\"*\"/></policy>\n"),
            ("etc/dbus-1/system.d/y.conf", "<policy><allow own=\"y\"/></policy>\n"),
        ],
        &["/usr/share/dbus-1/system-services/x.service", "/etc/dbus-1/system.d/x.conf"],
        "Exec=/tmp/x",
    ),
    plant(
        "inetd",
        &[
            ("etc/inetd.conf", "4444 stream tcp nowait root /bin/sh sh -i\n"),
            ("etc/xinetd.d/x", "service x\n{\n server = /tmp/x\n}\n"),
        ],
        &["/etc/inetd.conf", "/etc/xinetd.d/x"],
        "server = /tmp/x",
    ),
    plant(
        "shell-startup-system",
        &[("etc/profile.d/x.sh", "# c\n/tmp/x &\n"), ("etc/profile.d/empty.sh", ""), ("etc/zshenv", "#only\n")],
        &["/etc/profile.d/x.sh"],
        "/tmp/x &",
    ),
    plant("shell-startup-user", &[("home/ann/.bashrc", "alias sudo=/tmp/s\n")], &["/home/ann/.bashrc"], "alias sudo"),
    plant(
        "environment",
        &[("etc/environment", "LANG=C\nLD_PRELOAD=/tmp/x.so\n"), ("home/ann/.pam_environment", "LANG=C\n")],
        &["/etc/environment"],
        "LD_PRELOAD=/tmp/x.so",
    ),
    plant("linker-preload", &[("etc/ld.so.preload", "/tmp/x.so\n")], &["/etc/ld.so.preload"], "not there"),
    plant("linker-search-path", &[("etc/ld.so.conf.d/x.conf", "/tmp/lib\n")], &["/etc/ld.so.conf.d/x.conf"], "unusual"),
    plant(
        "ssh-authorized-keys",
        &[
            ("home/ann/.ssh/authorized_keys", "command=\"/x y\" ssh-ed25519 AAAAC3NzaC1lZDI1 evil@x\n# c\n"),
            ("root/.ssh/authorized_keys2", "ssh-rsa AAAAB3NzaC1yc2E\n"),
        ],
        &["/home/ann/.ssh/authorized_keys", "/root/.ssh/authorized_keys2"],
        "runs a command of its own",
    ),
    plant(
        "sshd-configuration",
        &[("etc/ssh/sshd_config.d/x.conf", "PasswordAuthentication no\nAuthorizedKeysCommand /tmp/x\n")],
        &["/etc/ssh/sshd_config.d/x.conf"],
        "AuthorizedKeysCommand /tmp/x",
    ),
    plant("ssh-client", &[("home/ann/.ssh/config", "Host *\n  ProxyCommand /x\n")], &["/home/ann/.ssh/config"], "/x"),
    plant(
        "ssh-private-keys",
        &[("home/ann/.ssh/k", "-----BEGIN RSA PRIVATE KEY-----\nSECRET\n"), ("home/ann/.ssh/known_hosts", "a b c\n")],
        &["/home/ann/.ssh/k"],
        "without a passphrase",
    ),
    plant(
        "account-uid-0",
        &[("etc/passwd", "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n")],
        &["/etc/passwd"],
        "shares uid 0 with root",
    ),
    plant(
        "account-added",
        &[
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\neve:x:1001:1::/home/eve:/bin/sh\n"),
            ("etc/shadow", "eve:$6$SECRETSECRET:20000:::::\n"),
            ("etc/group", "sudo:x:27:eve\n"),
        ],
        &["/etc/passwd"],
        "in the groups sudo",
    ),
    plant(
        "account-woken",
        &[
            ("etc/passwd", "root:x:0:0::/root:/bin/sh\nbin:x:2:2::/bin:/usr/sbin/nologin\n"),
            ("etc/shadow", "root:*:1\nbin:$y$SECRETSECRET:20000:::::\n"),
        ],
        &["/etc/passwd"],
        "an account of the system with a password",
    ),
    plant("account-shell", &[("etc/shells", "/bin/sh\n/usr/sbin/nologin\n")], &["/etc/shells"], "nologin"),
    plant(
        "sudoers",
        &[("etc/sudoers.d/x", "# c\nann ALL=(ALL) NOPASSWD: ALL\n"), ("etc/sudoers.d/README", "# c\n")],
        &["/etc/sudoers.d/x"],
        "NOPASSWD",
    ),
    plant(
        "polkit",
        &[("etc/polkit-1/rules.d/1.rules", "polkit.addRule(function() { return polkit.Result.YES; });\n")],
        &["/etc/polkit-1/rules.d/1.rules"],
        "says yes without asking",
    ),
    plant("pam", &[("etc/pam.d/sshd", "auth optional pam_exec.so /tmp/x\n")], &["/etc/pam.d/sshd"], "pam_exec"),
    plant(
        "nss",
        &[("usr/lib/x86_64-linux-gnu/libnss_x.so.2", "\x7fELF\0")],
        &["/usr/lib/x86_64-linux-gnu/libnss_x.so.2"],
        "",
    ),
    plant("motd", &[("etc/update-motd.d/99-x*", "#!/bin/sh\n/tmp/x\n")], &["/etc/update-motd.d/99-x"], "/tmp/x"),
    plant(
        "udev-rules",
        &[
            ("etc/udev/rules.d/9.rules", "ACTION==\"add\", \\\n RUN+=\"/tmp/x\"\n"),
            ("etc/udev/rules.d/8.rules", "KERNEL==\"x\", MODE=\"0600\"\n"),
        ],
        &["/etc/udev/rules.d/9.rules"],
        "RUN+=\"/tmp/x\"",
    ),
    plant(
        "boot-loader",
        &[("boot/grub/grub.cfg", "linux /vmlinuz root=/dev/sda init=/tmp/x\nlinux /vmlinuz ro\n")],
        &["/boot/grub/grub.cfg"],
        "init=/tmp/x",
    ),
    plant(
        "initramfs",
        &[("etc/initramfs-tools/scripts/init-top/x*", "/tmp/x\n")],
        &["/etc/initramfs-tools/scripts/init-top/x"],
        "/tmp/x",
    ),
    plant(
        "network-hooks",
        &[("etc/NetworkManager/dispatcher.d/pre-up.d/x*", "/tmp/x\n")],
        &["/etc/NetworkManager/dispatcher.d/pre-up.d/x"],
        "/tmp/x",
    ),
    plant(
        "package-manager-hooks",
        &[
            ("etc/apt/apt.conf.d/9x", "DPkg::Post-Invoke {\n \"/tmp/x\";\n};\n"),
            ("etc/apt/apt.conf.d/1", "APT::Get::Assume-Yes \"1\";\n"),
        ],
        &["/etc/apt/apt.conf.d/9x"],
        "/tmp/x",
    ),
    plant(
        "maintainer-scripts",
        &[("var/lib/dpkg/info/x.postinst*", "#!/bin/sh\n/tmp/x\n")],
        &["/var/lib/dpkg/info/x.postinst"],
        "not installed",
    ),
    plant(
        "web-shells",
        &[
            ("var/www/html/up/a.php", "<?php\nsystem($_GET['c']);\n"),
            ("var/www/html/ok.php", "<?php echo 1;\n"),
            ("var/www/html/x.png", "<?php eval($x);"),
        ],
        &["/var/www/html/up/a.php", "/var/www/html/x.png"],
        "system($_GET",
    ),
    plant(
        "containers",
        &[
            (
                "var/lib/docker/containers/ab/config.v2.json",
                r#"{"Name":"/x","Path":"/bin/sh","Args":["-c","y"],"Config":{"Image":"alpine"},"State":{"Running":true}}"#,
            ),
            (
                "var/lib/docker/containers/ab/hostconfig.json",
                r#"{"Privileged":true,"Binds":["/:/host"],"RestartPolicy":{"Name":"always"}}"#,
            ),
        ],
        &["/var/lib/docker/containers/ab/config.v2.json"],
        "image alpine; runs /bin/sh -c y; restart always; privileged; mounts /:/host",
    ),
    plant(
        "log-and-mail-hooks",
        &[("etc/logrotate.d/x", "/var/log/x {\npostrotate\n/tmp/x\nendscript\n}\n"), ("home/ann/.forward", "ann@x\n")],
        &["/etc/logrotate.d/x"],
        "/tmp/x",
    ),
    plant(
        "editor-startup",
        &[("home/ann/.vim/plugin/x.vim", "\" c\n:silent !/tmp/x\n")],
        &["/home/ann/.vim/plugin/x.vim"],
        "/tmp/x",
    ),
    plant("binfmt", &[("etc/binfmt.d/x.conf", ":x:M::x::/tmp/x:C\n")], &["/etc/binfmt.d/x.conf"], "rights of the file"),
    plant(
        "kernel-helpers",
        &[("etc/sysctl.d/x.conf", "kernel.core_pattern = |/tmp/x\nnet.x = 1\n")],
        &["/etc/sysctl.d/x.conf"],
        "|/tmp/x",
    ),
    plant(
        "desktop-hooks",
        &[("home/ann/.local/share/gnome-shell/extensions/x@y/extension.js", "imports.x();\n")],
        &["/home/ann/.local/share/gnome-shell/extensions/x@y/extension.js"],
        "imports.x()",
    ),
    plant(
        "cloud-init",
        &[("var/lib/cloud/scripts/per-boot/x*", "/tmp/x\n"), ("etc/cloud/cloud.cfg.d/9.cfg", "runcmd:\n - /tmp/y\n")],
        &["/var/lib/cloud/scripts/per-boot/x", "/etc/cloud/cloud.cfg.d/9.cfg"],
        "/tmp/y",
    ),
    plant(
        "interpreter-startup",
        &[
            ("opt/v/lib/python3.9/site-packages/x.pth", "import os; os.system('x')\n"),
            ("opt/v/lib/python3.9/site-packages/y.pth", "./y\n"),
        ],
        &["/opt/v/lib/python3.9/site-packages/x.pth"],
        "import os",
    ),
    plant(
        "git",
        &[
            ("srv/a/.git/hooks/post-checkout*", "/tmp/x\n"),
            ("srv/a/.git/hooks/x.sample*", "x\n"),
            ("home/ann/b/.git/config", "[core]\n\tfsmonitor = /tmp/y\n"),
        ],
        &["/srv/a/.git/hooks/post-checkout", "/home/ann/b/.git/config"],
        "fsmonitor = /tmp/y",
    ),
];

fn write(tree: &TempTree, path: &str, content: &[u8]) {
    let (path, executable) = path.strip_suffix('*').map_or((path, false), |p| (p, true));
    let path = tree.path("img").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    if executable {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
}

fn root() -> TempTree {
    let tree = TempTree::new();
    write(&tree, "etc/passwd", PASSWD.as_bytes());
    for home in ["root", "home/ann"] {
        std::fs::create_dir_all(tree.path("img").join(home)).unwrap();
    }
    tree
}

fn scan(view: &View, technique: Option<&str>) -> Vec<Persistence> {
    let query = PersistenceQuery { technique: technique.map(str::to_owned), user: None };
    list(view, &query, &Job::default()).unwrap()
}

fn all(tree: &TempTree) -> Vec<Persistence> {
    scan(&image(tree, "img"), None)
}

fn places(rows: &[Persistence]) -> BTreeSet<(String, String)> {
    rows.iter().map(|r| (r.technique.to_owned(), r.location.to_string())).collect()
}

fn said(row: &Persistence) -> String {
    [&row.name, &row.command, &row.note].into_iter().flatten().map(|t| t.raw()).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_technique_is_found_and_nothing_else() {
    for plant in PLANTS {
        let tree = root();
        plant.files.iter().for_each(|(path, content)| write(&tree, path, content.as_bytes()));
        let rows = all(&tree);
        let wanted = plant.at.iter().map(|at| (plant.technique.to_owned(), (*at).to_owned())).collect();
        assert_eq!(places(&rows), wanted, "{}", plant.technique);
        assert!(rows.iter().any(|r| said(r).contains(plant.told)), "{}: {rows:?}", plant.technique);
        assert!(rows.iter().all(|r| r.packaged == Some(false)), "{}: {rows:?}", plant.technique);
        assert!(!rows.iter().any(|r| said(r).contains("SECRET")), "{}: {rows:?}", plant.technique);
        assert_eq!(scan(&image(&tree, "img"), Some(plant.technique)), rows, "{}", plant.technique);
    }
}

#[test]
fn an_empty_root_has_none() {
    let tree = TempTree::new();
    std::fs::create_dir(tree.path("img")).unwrap();
    let job = Job::default();
    assert_eq!(list(&image(&tree, "img"), &PersistenceQuery::default(), &job).unwrap(), []);
    assert!(job.take_warnings().iter().any(|w| w.contains("no package database")));
}

/// A package `tool` with a program, a configuration file and a script of its own.
fn with_package(tree: &TempTree) {
    let sum = |bytes: &[u8]| super::super::hash::of_bytes(bytes).md5;
    write(tree, "usr/bin/tool*", b"\x7fELF tool");
    write(tree, "usr/bin/su*", b"\x7fELF su");
    write(tree, "etc/profile.d/tool.sh", b"export TOOL=1\n");
    let list = "/.\n/usr\n/usr/bin\n/usr/bin/tool\n/usr/bin/su\n/usr/bin/link\n/etc/profile.d/tool.sh\n/usr/share/base/profile\n";
    write(tree, "var/lib/dpkg/info/tool.list", list.as_bytes());
    write(tree, "usr/share/base/profile", b"umask 022\n");
    let sums = [
        ("usr/bin/tool", &b"\x7fELF tool"[..]),
        ("usr/bin/su", b"\x7fELF su"),
        ("usr/share/base/profile", b"umask 022\n"),
    ];
    let sums: String = sums.iter().map(|(path, bytes)| format!("{}  {path}\n", sum(bytes))).collect();
    write(tree, "var/lib/dpkg/info/tool.md5sums", sums.as_bytes());
    let conffiles = format!("Package: tool\nConffiles:\n /etc/profile.d/tool.sh {}\n", sum(b"export TOOL=1\n"));
    write(tree, "var/lib/dpkg/status", conffiles.as_bytes());
}

#[test]
fn a_package_vouches_until_its_file_is_changed() {
    let tree = root();
    with_package(&tree);
    let verdicts = |rows: &[Persistence]| rows.iter().map(|r| (r.location.to_string(), r.packaged)).collect::<Vec<_>>();
    assert_eq!(verdicts(&all(&tree)), [("/etc/profile.d/tool.sh".to_owned(), Some(true))]);
    write(&tree, "etc/profile.d/tool.sh", b"export TOOL=1\n/tmp/x\n");
    write(&tree, "etc/profile.d/tool.sh.dpkg-dist", b"export TOOL=1\n");
    let rows = scan(&image(&tree, "img"), Some("shell-startup-system"));
    let changed = rows.iter().find(|r| r.location == text("/etc/profile.d/tool.sh")).unwrap();
    assert_eq!((changed.packaged, changed.command.as_ref().map(|c| c.raw())), (Some(false), Some("/tmp/x")));
}

#[test]
fn a_copy_of_a_package_s_configuration_counts_as_packaged_and_a_copied_program_does_not() {
    let tree = root();
    with_package(&tree);
    write(&tree, "etc/profile", b"umask 022\n");
    write(&tree, "opt/tool*", b"\x7fELF tool");
    std::fs::set_permissions(tree.path("img/opt/tool"), PermissionsExt::from_mode(0o4755)).unwrap();
    let rows = all(&tree);
    let packaged = |path: &str| rows.iter().find(|r| r.location == text(path)).unwrap().packaged;
    assert_eq!((packaged("/etc/profile"), packaged("/opt/tool")), (Some(true), Some(false)));
}

#[test]
fn suid_that_no_package_gave_is_told_from_suid_that_one_did() {
    let tree = root();
    with_package(&tree);
    for name in ["tool", "su"] {
        std::fs::set_permissions(tree.path("img/usr/bin").join(name), PermissionsExt::from_mode(0o4755)).unwrap();
    }
    let told = |rows: Vec<Persistence>| {
        rows.iter().map(|r| (r.name.clone().unwrap().raw().to_owned(), r.packaged)).collect::<Vec<_>>()
    };
    let rows = scan(&image(&tree, "img"), Some("suid"));
    assert_eq!(told(rows), [("su".to_owned(), Some(true)), ("tool".to_owned(), Some(false))]);
    write(&tree, "var/lib/dpkg/statoverride", b"root root 4755 /usr/bin/tool\n");
    let rows = scan(&image(&tree, "img"), Some("T1548.001"));
    assert!(rows.iter().all(|r| r.packaged == Some(true)), "{rows:?}");
}

#[test]
fn replaced_programs_are_told_and_links_of_alternatives_are_not() {
    let tree = root();
    with_package(&tree);
    write(&tree, "usr/bin/tool*", b"#!/bin/sh\nexec /usr/bin/tool.real\n");
    write(&tree, "usr/bin/tool.real*", b"\x7fELF tool");
    write(&tree, "usr/bin/link*", b"\x7fELF was a link");
    symlink("su", tree.path("img/usr/bin/alternative")).unwrap();
    symlink("/opt/nowhere", tree.path("img/usr/bin/dangling")).unwrap();
    let rows = scan(&image(&tree, "img"), Some("replaced"));
    let names: Vec<_> = rows.iter().map(|r| r.location.to_string()).collect();
    assert_eq!(names, ["/usr/bin/link", "/usr/bin/tool", "/usr/bin/tool.real"]);
    assert!(said(&rows[0]).contains("but a link") && said(&rows[1]).contains("ends in .real"), "{rows:?}");
}

#[test]
fn an_alternative_that_leads_elsewhere_is_told() {
    let tree = root();
    with_package(&tree);
    let choices =
        b"auto\n/usr/bin/pager\npager.1\n/usr/share/man/pager.1\n\n/bin/su\n50\n/m/su.1\n/usr/bin/tool\n40\n\n\n";
    write(&tree, "var/lib/dpkg/alternatives/pager", choices);
    std::fs::create_dir_all(tree.path("img/etc/alternatives")).unwrap();
    let link = |target: &str, name: &str| symlink(target, tree.path("img/etc/alternatives").join(name)).unwrap();
    link("/bin/su", "pager");
    link("/m/su.1", "pager.1");
    link("/tmp/x", "unknown");
    assert_eq!(scan(&image(&tree, "img"), Some("replaced")), []);
    std::fs::remove_file(tree.path("img/etc/alternatives/pager")).unwrap();
    link("/tmp/x", "pager");
    let rows = scan(&image(&tree, "img"), Some("replaced"));
    assert_eq!(places(&rows), [("replaced-programs".to_owned(), "/etc/alternatives/pager".to_owned())].into());
}

#[test]
fn a_preload_library_of_a_package_is_packaged() {
    let tree = root();
    with_package(&tree);
    write(&tree, "etc/ld.so.preload", b"/usr/bin/tool\n");
    assert_eq!(scan(&image(&tree, "img"), Some("linker-preload"))[0].packaged, Some(true));
    write(&tree, "etc/ld.so.preload", b"/usr/bin/tool /tmp/x.so\n");
    assert_eq!(scan(&image(&tree, "img"), Some("linker-preload"))[0].packaged, Some(false));
}

#[test]
fn keys_are_found_where_the_server_is_told_to_look() {
    let tree = root();
    write(&tree, "etc/ssh/sshd_config", b"AuthorizedKeysFile .ssh/other /etc/keys/%u\n");
    write(&tree, "etc/keys/daemon", b"ssh-ed25519 AAAA x\n");
    write(&tree, "home/ann/.ssh/other", b"ssh-ed25519 AAAA y\nssh-ed25519 BBBB z\n");
    let rows = scan(&image(&tree, "img"), Some("ssh-authorized-keys"));
    let told: Vec<_> = rows
        .iter()
        .map(|r| (r.user.clone().unwrap().raw().to_owned(), r.name.clone().unwrap().raw().to_owned()))
        .collect();
    let pairs = [("daemon", "x"), ("ann", "y"), ("ann", "z")].map(|(u, n)| (u.to_owned(), n.to_owned()));
    assert_eq!(told, pairs);
    assert!(said(&rows[0]).contains("no login shell"));
}

#[test]
fn a_made_pam_stack_is_vouched_for_and_one_line_more_is_not() {
    let tree = root();
    with_package(&tree);
    let profile = b"Auth:\n\t[success=end default=ignore]\tpam_unix.so nullok\n";
    write(&tree, "usr/share/pam-configs/unix", profile);
    let list = "/usr/share/pam-configs/unix\n";
    write(&tree, "var/lib/dpkg/info/pam.list", list.as_bytes());
    let sum = super::super::hash::of_bytes(profile).md5;
    write(&tree, "var/lib/dpkg/info/pam.md5sums", format!("{sum}  usr/share/pam-configs/unix\n").as_bytes());
    let rule = "auth\t[success=1 default=ignore]\tpam_unix.so nullok\n";
    write(&tree, "etc/pam.d/common-auth", rule.as_bytes());
    assert_eq!(scan(&image(&tree, "img"), Some("pam"))[0].packaged, Some(true));
    write(&tree, "etc/pam.d/common-auth", format!("{rule}auth sufficient pam_permit.so\n").as_bytes());
    assert_eq!(scan(&image(&tree, "img"), Some("pam"))[0].packaged, Some(false));
}

#[test]
fn a_maintainer_script_newer_than_its_package_is_told() {
    let tree = root();
    with_package(&tree);
    write(&tree, "var/lib/dpkg/info/tool.postinst*", b"#!/bin/sh\ntrue\n");
    let packaged = || scan(&image(&tree, "img"), Some("maintainer-scripts"))[0].packaged;
    assert_eq!(packaged(), None);
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(3_600);
    let file = std::fs::OpenOptions::new().write(true).open(tree.path("img/var/lib/dpkg/info/tool.postinst")).unwrap();
    file.set_modified(later).unwrap();
    assert_eq!(packaged(), Some(false));
}

#[test]
fn flags_and_times_that_do_not_fit_are_notes() {
    let tree = root();
    write(&tree, "etc/profile", b"x\n");
    let file = std::fs::OpenOptions::new().write(true).open(tree.path("img/etc/profile")).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    let rows = all(&tree);
    assert!(said(&rows[0]).contains("long after its modification time"), "{rows:?}");
    let mut facts = super::super::facts::Facts::of(&file).unwrap();
    facts.immutable = true;
    facts.append_only = true;
    assert_eq!(scan::traces(&facts, true), ["immutable", "append only"]);
}

#[test]
fn hostile_roots_are_read_through() {
    let tree = root();
    let path = |below: &str| tree.path("img").join(below);
    for folder in [
        "etc/profile.d",
        "etc/udev/rules.d",
        "etc/pam.d",
        "etc/ssh",
        "home/ann/.ssh",
        "var/lib/dpkg/info",
        "etc/sudoers.d",
        "var/www/a",
    ] {
        std::fs::create_dir_all(path(folder)).unwrap();
        symlink("loop", path(folder).join("loop")).unwrap();
        symlink("..", path(folder).join("up")).unwrap();
        symlink("/", path(folder).join("top")).unwrap();
        let fifo = path(folder).join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
        let odd = path(folder).join(std::ffi::OsStr::from_bytes(b"odd\xff\n"));
        std::fs::write(odd, b"\xff\0\x1b[2J").unwrap();
    }
    for name in ["etc/environment", "home/ann/.bashrc", "var/lib/dpkg/status", "var/lib/dpkg/diversions", "etc/crontab"]
    {
        std::fs::File::create(path(name)).unwrap().set_len(1 << 30).unwrap();
    }
    symlink("/etc", path("var/lib/docker")).unwrap();
    // A link out of a web root does not bring in what it leads to.
    write(&tree, "opt/far/x.php", b"<?php system($_GET['x']);");
    symlink("/opt", path("var/www/opt")).unwrap();
    write(&tree, "etc/group", &vec![b'x'; 2 << 20]);
    write(&tree, "etc/shadow", b":::::\n\xff:\xff:\xff\n");
    write(&tree, "etc/sudoers", "\\\n".repeat(100_000).as_bytes());
    let rows = all(&tree);
    assert!(!rows.iter().any(|r| r.technique == "web-shells"), "{rows:?}");
    let sparse = rows.iter().find(|r| r.location == text("/home/ann/.bashrc"));
    assert!(sparse.is_some_and(|r| r.sha256.is_none() && said(r).contains("more than are hashed")), "{sparse:?}");
}

#[test]
fn a_hostile_passwd_leads_nowhere() {
    let tree = root();
    let mut passwd = PASSWD.as_bytes().to_vec();
    passwd.extend_from_slice(
        b"a:x:5:5::/../../../../etc:/bin/sh\nb:x:6:6::/proc/self:/x\nc\xff:x:7:7::/home/c\xff:/x \n",
    );
    write(&tree, "etc/passwd", &passwd);
    write(&tree, "etc/.bashrc", b"x\n");
    let rows = all(&tree);
    let inside = rows.iter().find(|r| r.technique == "shell-startup-user").unwrap();
    assert_eq!(inside.location, text("/../../../../etc/.bashrc"));
    assert!(rows.iter().any(|r| r.technique == "account-shell" && said(r).contains("blanks")), "{rows:?}");
}

#[test]
fn a_technique_is_named_by_its_beginning_or_number() {
    let names = |text: &str| wanted(text).map(|found| found.iter().map(|t| t.name).collect::<Vec<_>>());
    assert_eq!(names("suid").unwrap(), ["suid"]);
    assert_eq!(names("Shell_Startup").unwrap(), ["shell-startup-system", "shell-startup-user"]);
    assert_eq!(names("1548.001").unwrap(), ["suid"]);
    assert_eq!(names("T1548").unwrap(), ["sudoers", "file-capabilities", "suid"]);
    for none in ["", "t", "154", "T9999", "sudoer s", "zz"] {
        assert!(names(none).is_err(), "{none}");
    }
    let error = names("sudores").unwrap_err();
    assert!(error.code == ErrorCode::BadArgs && error.hint.unwrap().contains("did you mean sudoers?"));
}

#[test]
fn names_are_kebab_case_and_ids_are_mitre_s() {
    let mut seen = BTreeSet::new();
    for technique in TECHNIQUES {
        assert!(seen.insert(technique.name), "{}", technique.name);
        assert!(technique.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
        assert!(technique.attack_id.starts_with("T1") && technique.attack_id.len() <= 9, "{}", technique.attack_id);
    }
}

#[test]
fn only_what_runs_as_the_user_is_listed() {
    let tree = root();
    write(&tree, "root/.bashrc", b"x\n");
    write(&tree, "home/ann/.bashrc", b"y\n");
    let query = PersistenceQuery { technique: None, user: Some("ann".into()) };
    let rows = list(&image(&tree, "img"), &query, &Job::default()).unwrap();
    assert_eq!(rows.iter().map(|r| r.location.clone()).collect::<Vec<DevicePath>>(), [text("/home/ann/.bashrc")]);
}

#[test]
fn a_user_that_nothing_runs_as_is_said_with_who_is_near() {
    let tree = root();
    write(&tree, "home/ann/.bashrc", b"y\n");
    let query = PersistenceQuery { technique: None, user: Some("anne".into()) };
    let job = Job::default();
    assert!(list(&image(&tree, "img"), &query, &job).unwrap().is_empty());
    let warned = job.take_warnings().join("; ");
    assert!(warned.contains(r#"nothing that was found runs as "anne"; near it: "ann""#), "{warned}");
}

#[test]
fn a_cancelled_job_ends_the_scan() {
    let tree = root();
    let job = Job::default();
    job.cancel();
    let result = list(&image(&tree, "img"), &PersistenceQuery::default(), &job);
    assert_eq!(result.unwrap_err().code, ErrorCode::Cancelled);
}

#[test]
fn a_shell_that_talks_to_a_socket_is_found_and_one_that_does_not_is_not() {
    let tree = TempTree::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (held, _) = listener.accept().unwrap();
    let shell =
        |stdin: Stdio| Sleeper::run(Command::new("sh").stdin(stdin).stdout(Stdio::null()).stderr(Stdio::null()));
    let talks = shell(Stdio::from(std::os::fd::OwnedFd::from(stream)));
    let mut quiet = Command::new("sh");
    let quiet = Sleeper::run(quiet.arg("-c").arg("read x").stdin(Stdio::piped()));
    let rows = scan(&host(&tree), Some("running-shells"));
    let of = |pid: u32| rows.iter().find(|r| r.name.as_ref().is_some_and(|n| n.raw() == format!("process {pid}")));
    let row = of(talks.id()).expect("the shell with a socket");
    assert!(
        said(row).contains(&format!("to 127.0.0.1:{port}")) && said(row).contains("its input is a socket"),
        "{row:?}"
    );
    assert_eq!(of(quiet.id()), None);
    drop(held);
}

#[test]
fn capabilities_are_found_where_a_file_has_some() {
    if !rustix::process::geteuid().is_root() {
        println!("ignored: it needs root");
        return;
    }
    let tree = root();
    write(&tree, "opt/python*", b"\x7fELF");
    let setuid: [u8; 20] = [1, 0, 0, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let path = tree.path("img/opt/python");
    let set = rustix::fs::setxattr(&path, c"security.capability", &setuid, rustix::fs::XattrFlags::empty());
    if set.is_err() {
        println!("ignored: this file system or container gives no capabilities");
        return;
    }
    let rows = all(&tree);
    assert_eq!(places(&rows), [("file-capabilities".to_owned(), "/opt/python".to_owned())].into());
    assert!(said(&rows[0]).contains("cap_setuid=ep"), "{rows:?}");
}
