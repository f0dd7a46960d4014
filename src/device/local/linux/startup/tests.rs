//! Items of a tree, and hostile ones.

use super::super::units::tests::Root;
use super::*;

#[test]
fn items_of_the_system_and_of_every_home() {
    let root = Root::new();
    root.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\neve:x:1000:1000::/home/eve:/bin/sh\n");
    root.write("/etc/xdg/autostart/a.desktop", "[Desktop Entry]\nExec=/usr/bin/a\n");
    root.write("/home/eve/.config/autostart/.b.desktop", "[Desktop Entry]\nExec=/tmp/b\nHidden=true\n");
    root.write("/home/eve/.bashrc", "x");
    root.write("/home/gone/.xprofile", "y");
    root.link("/root/.config/autostart-scripts/run", "/tmp/evil");
    root.write("/tmp/evil", "z");
    let rows = list(&root.view, &root.job).unwrap();
    let text = |u: &Option<Untrusted>| u.as_ref().map(|u| u.raw().to_owned()).unwrap_or_default();
    let found: Vec<_> = rows.iter().map(|r| (text(&r.user), r.file.to_string(), text(&r.target))).collect();
    let row = |user: &str, file: &str, target: &str| (user.to_owned(), file.to_owned(), target.to_owned());
    assert_eq!(
        found,
        [
            row("", "/etc/xdg/autostart/a.desktop", "/usr/bin/a"),
            row("root", "/root/.config/autostart-scripts/run", "/tmp/evil"),
            row("eve", "/home/eve/.config/autostart/.b.desktop", "/tmp/b; Hidden=true"),
            row("eve", "/home/eve/.bashrc", ""),
            row("", "/home/gone/.xprofile", ""),
        ]
    );
    let hash = rows[3].sha256.as_ref().unwrap().as_str().to_owned();
    assert_eq!(hash, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881");
    assert_eq!(rows[3].folder, DevicePath::new("/home/eve"));
}

#[test]
fn hostile_items_end_and_are_said() {
    let root = Root::new();
    root.write("/etc/passwd", "eve:x:1000:1000::/home/eve:/bin/sh\nmal:x:1001:1001::relative:/bin/sh\n");
    rustix::fs::mkfifoat(rustix::fs::CWD, root.path("/home/eve/.bashrc"), rustix::fs::Mode::RUSR).unwrap();
    root.link("/home/eve/.profile", ".profile");
    root.write("/etc/profile.d/huge.sh", vec![0; 64 << 20]);
    let rows = list(&root.view, &root.job).unwrap();
    assert_eq!((rows.len(), &rows[0].sha256), (1, &None));
    let warnings = root.job.take_warnings().join("\n");
    assert!(warnings.contains(".bashrc") && warnings.contains("huge.sh"), "{warnings}");
}
