//! Rows of trees without a manager.

use super::super::units::tests::Root;
use super::*;

fn rows(root: &Root) -> Vec<Service> {
    list(&root.view, None, &root.job).unwrap()
}

fn row(root: &Root, name: &str) -> Service {
    rows(root).into_iter().find(|r| r.name.raw() == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn a_unit_with_all_that_its_files_say() {
    let root = Root::new();
    root.write(
        "/etc/systemd/system/evil@.service",
        "[Unit]\nDescription=Beacon %i\n[Service]\nUser=www-%i\nExecStart=-@beacon beacond --to %i\n",
    );
    root.write("/usr/local/bin/beacon", "x");
    root.link("/etc/systemd/system/multi-user.target.wants/evil@x.service", "../evil@.service");
    let row = row(&root, "evil@x.service");
    assert_eq!(row.description.unwrap().raw(), "Beacon x");
    assert_eq!(row.account.unwrap().raw(), "www-x");
    assert_eq!(row.path.unwrap(), DevicePath::new("/usr/local/bin/beacon"));
    assert_eq!(row.start_mode.unwrap().raw(), "enabled");
    assert_eq!(row.unit_file.unwrap(), DevicePath::new("/etc/systemd/system/evil@.service"));
    assert_eq!((row.state, row.pid), (None, None));
}

#[test]
fn init_scripts_that_no_unit_hides() {
    let root = Root::new();
    let script = "#!/bin/sh\n### BEGIN INIT INFO\n# Short-Description: Old one\n### END INIT INFO\n";
    for name in ["old", "cron", "clock.sh", "off", "README", "old.dpkg-dist", "plain"] {
        root.write(&format!("/etc/init.d/{name}"), script);
        let mode = if name == "plain" { 0o644 } else { 0o755 };
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(root.path(&format!("/etc/init.d/{name}")), permissions).unwrap();
    }
    root.write("/lib/systemd/systemd", "");
    root.write("/lib/systemd/system/cron.service", "[Service]\nExecStart=/usr/sbin/cron\n");
    root.link("/lib/systemd/system/clock.service", "/dev/null");
    root.link("/etc/rc2.d/S01old", "../init.d/old");
    root.link("/etc/rc2.d/K01off", "../init.d/off");
    let found: Vec<_> = rows(&root).into_iter().map(|r| (r.name, r.start_mode)).collect();
    let found: Vec<_> = found.iter().map(|(n, m)| (n.raw(), m.as_ref().unwrap().raw())).collect();
    assert_eq!(
        found,
        [("clock.service", "masked"), ("cron.service", "static"), ("off", "disabled"), ("old", "enabled")]
    );
    assert_eq!(row(&root, "old").description.unwrap().raw(), "Old one");
}

#[test]
fn an_empty_tree_has_no_services() {
    let root = Root::new();
    assert_eq!(rows(&root), []);
    assert_eq!(root.job.take_warnings(), Vec::<String>::new());
}
