//! Services and timers: what goes, what stays and why, what comes back.

use super::*;
use crate::device::local::linux::systemd_bus::fake::{self, Fake};
use EntityKind::{ScheduledTask, Service};

const UNIT: &str = "[Service]\nExecStart=/opt/evil --serve\n[Install]\nWantedBy=multi-user.target\n";

fn planted() -> Case {
    let case = case();
    case.write("etc/systemd/system/evil.service", UNIT);
    case.write("etc/systemd/system/evil.service.d/more.conf", "[Service]\nUser=root\n");
    case.write("opt/evil", "payload");
    case.link("etc/systemd/system/multi-user.target.wants/evil.service", "/etc/systemd/system/evil.service");
    case.link("etc/systemd/system/nice-name.service", "evil.service");
    case
}

impl Case {
    fn link(&self, name: &str, target: &str) {
        let path = self.dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    fn with(mut self, fake: &Fake) -> Case {
        self.bus = Some(fake.bus.clone());
        self
    }

    /// Every name below the case's directory with what it holds or leads to.
    fn tree(&self) -> Vec<(PathBuf, String)> {
        let mut found = Vec::new();
        let mut waiting = vec![self.dir.to_path_buf()];
        while let Some(dir) = waiting.pop() {
            for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap()) {
                let path = entry.path();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    waiting.push(path);
                } else if kind.is_symlink() {
                    found.push((path.clone(), std::fs::read_link(&path).unwrap().display().to_string()));
                } else {
                    found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
                }
            }
        }
        found.sort();
        found
    }
}

fn kinds(steps: &[Step]) -> Vec<&'static str> {
    let kind = |step: &Step| match step {
        Step::StopService { .. } => "stop",
        Step::StartService { .. } => "start",
        Step::RemoveLink { .. } => "unlink",
        Step::RestoreLink { .. } => "link",
        Step::Mask { .. } => "mask",
        Step::Quarantine { .. } => "quarantine",
        Step::Restore { .. } => "restore",
        Step::ReloadServices => "reload",
        _ => "other",
    };
    steps.iter().map(kind).collect()
}

#[test]
fn a_service_goes_with_its_links_files_and_image_and_comes_back() {
    let fake = Fake::running("evil.service");
    let case = planted().with(&fake);
    let before = case.tree();
    let steps = case.of(Service, &["evil"]).unwrap();
    assert_eq!(case.tree(), before, "a plan changes nothing");
    assert_eq!(
        kinds(&steps),
        ["stop", "unlink", "unlink", "quarantine", "quarantine", "quarantine", "reload"],
        "{steps:#?}"
    );
    let outcome = case.apply(steps);
    assert_eq!((&outcome.end, outcome.verified), (&End::Done, Verified::Yes), "{outcome:?}");
    assert!(case.tree().is_empty(), "{:?}", case.tree());
    assert_eq!(fake.calls(), ["stop evil.service", "reload"]);
    let rows = case.settings.quarantine.rows(&RemediatedQuery { kind: Some(Service) }, &case.job).unwrap();
    assert!(rows.len() == 6 && rows.iter().all(|r| r.id.raw() == "evil.service"), "{rows:?}");

    let steps = case.undo(Service, "evil.service").unwrap();
    assert_eq!(kinds(&steps), ["restore", "restore", "restore", "link", "link", "reload", "start"], "{steps:#?}");
    let back = case.apply(steps);
    assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes), "{back:?}");
    assert_eq!(case.tree(), before);
    assert_eq!(fake.state("evil.service"), "active");
    assert_eq!(case.undo(Service, "evil.service").unwrap_err().code, ErrorCode::NotFound);
}

#[test]
fn without_a_manager_its_links_and_files_go() {
    let case = planted();
    let before = case.tree();
    let steps = case.of(Service, &["evil.service"]).unwrap();
    assert_eq!(kinds(&steps), ["unlink", "unlink", "quarantine", "quarantine", "quarantine"]);
    assert_eq!(case.apply(steps).end, End::Done);
    assert!(case.tree().is_empty());
    assert_eq!(case.apply(case.undo(Service, "evil.service").unwrap()).end, End::Done);
    assert_eq!(case.tree(), before);
}

#[test]
fn an_alias_is_the_unit_that_it_leads_to() {
    let case = planted();
    let steps = case.of(Service, &["nice-name"]).unwrap();
    assert_eq!(steps, case.of(Service, &["evil"]).unwrap());
    assert_eq!(case.of(Service, &["nice-name", "evil"]).unwrap_err().code, ErrorCode::AmbiguousArgs);
}

#[test]
fn a_service_that_did_not_run_is_not_started() {
    let fake = Fake::start(&[("evil.service", fake::Unit { state: "failed".into(), ..fake::Unit::default() })]);
    let case = planted().with(&fake);
    assert_eq!(case.apply(case.of(Service, &["evil"]).unwrap()).end, End::Done);
    let steps = case.undo(Service, "evil.service").unwrap();
    assert!(!kinds(&steps).contains(&"start"), "{steps:?}");
}

#[test]
fn an_init_script_goes_with_its_run_levels() {
    let case = case();
    case.write("etc/init.d/evil", "#!/bin/sh\nevil &\n");
    case.link("etc/rc2.d/S01evil", "../init.d/evil");
    case.link("etc/rc5.d/S01evil", "../init.d/evil");
    case.link("etc/rc0.d/K01evil", "../init.d/evil");
    case.link("etc/rc2.d/S01other", "../init.d/other");
    let steps = case.of(Service, &["evil"]).unwrap();
    assert_eq!(kinds(&steps), ["unlink", "unlink", "quarantine"], "{steps:#?}");
    assert_eq!(case.apply(steps).end, End::Done);
    assert_eq!(case.tree().len(), 2, "what stops it and what is another's stays");
}

#[test]
fn a_timer_is_a_scheduled_task() {
    let case = case();
    case.write("etc/systemd/system/evil.timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n");
    case.write("etc/systemd/system/evil.service", UNIT);
    case.link("etc/systemd/system/timers.target.wants/evil.timer", "../evil.timer");
    let steps = case.of(ScheduledTask, &["evil.timer"]).unwrap();
    assert_eq!(kinds(&steps), ["unlink", "quarantine"]);
    assert!(case.job.take_warnings().iter().any(|w| w.contains("starts evil.service, which stays")));
    assert_eq!(case.apply(steps).end, End::Done);
    assert_eq!(case.tree().len(), 1);
    assert_eq!(case.apply(case.undo(ScheduledTask, "evil.timer").unwrap()).end, End::Done);
    assert_eq!(case.tree().len(), 3);
}

#[test]
fn what_this_host_lives_on_is_protected() {
    let case = planted();
    for id in [
        "systemd-journald",
        "systemd-journald.service",
        "dbus",
        "dbus.socket",
        "user@1000.service",
        "getty@tty1.service",
        "init.scope",
        "-.slice",
        "multi-user.target",
        "home.mount",
    ] {
        assert_eq!(case.of(Service, &[id]).unwrap_err().code, ErrorCode::Protected, "{id}");
    }
    assert_eq!(case.of(Service, &["evil@.service"]).unwrap_err().code, ErrorCode::Uninspectable);
    for id in ["", "../evil", "evil service", "a/b.service", "\0", &"x".repeat(300)] {
        assert_eq!(case.of(Service, &[id]).unwrap_err().code, ErrorCode::BadArgs, "{id:?}");
    }
    let e = case.of(Service, &["evill"]).unwrap_err();
    assert!(e.code == ErrorCode::NotFound && e.hint.as_ref().unwrap().contains("evil.service"), "{e}");
}

#[test]
fn a_service_that_refuses_to_stop_is_protected() {
    let unit = fake::Unit { state: "active".into(), refuses_stop: true, ..fake::Unit::default() };
    let fake = Fake::start(&[("evil.service", unit)]);
    let case = planted().with(&fake);
    assert_eq!(case.of(Service, &["evil"]).unwrap_err().code, ErrorCode::Protected);
}

#[test]
fn gt_175_a_service_of_this_program_is_refused() {
    let case = case();
    std::fs::create_dir_all(case.dir.join("opt")).unwrap();
    std::fs::hard_link(std::env::current_exe().unwrap(), case.dir.join("opt/evil"))
        .or_else(|_| std::os::unix::fs::symlink(std::env::current_exe().unwrap(), case.dir.join("opt/evil")))
        .unwrap();
    case.write("etc/systemd/system/evil.service", UNIT);
    assert_eq!(case.of(Service, &["evil"]).unwrap_err().code, ErrorCode::SelfTarget);
}

#[test]
fn what_starts_it_is_told() {
    let unit = fake::Unit { state: "active".into(), triggered_by: vec!["evil.timer".into()], ..fake::Unit::default() };
    let fake = Fake::start(&[("evil.service", unit)]);
    let case = planted().with(&fake);
    let steps = case.of(Service, &["evil"]).unwrap();
    let Some(Step::StopService { service, .. }) = steps.first() else { panic!("{steps:?}") };
    assert!(service.notes.iter().any(|n| n.contains("evil.timer starts it")), "{service:?}");
}

#[test]
fn a_missing_image_and_an_interpreter_stay() {
    let case = case();
    case.write("opt/python3", "x");
    for (name, image) in [("one", "/opt/none"), ("two", "/opt/python3")] {
        let unit = format!("[Service]\nExecStart={image} /x\n");
        case.write(&format!("etc/systemd/system/{name}.service"), &unit);
        let steps = case.of(Service, &[name]).unwrap();
        assert_eq!(kinds(&steps), ["quarantine"], "{name}: {steps:?}");
        assert!(case.job.take_warnings().iter().any(|w| w.contains("stays")), "{name}");
    }
}

#[test]
fn fifty_services_go_in_one_plan_and_stop_at_the_first_drift() {
    let case = case();
    for n in 0..50 {
        case.write(&format!("etc/systemd/system/evil{n}.service"), &format!("[Service]\nExecStart=/opt/none{n}\n"));
    }
    let ids: Vec<String> = (0..50).map(|n| format!("evil{n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let steps = case.of(Service, &ids).unwrap();
    assert_eq!(steps.len(), 50);
    std::fs::write(case.dir.join("etc/systemd/system/evil30.service"), "other").unwrap();
    let outcome = case.apply(steps);
    assert!(matches!(outcome.end, End::Drift { step: 30, .. }), "{outcome:?}");
    assert_eq!((outcome.rows.len(), case.tree().len()), (30, 20));
    let undo_ids: HashSet<_> = outcome.rows.iter().map(|r| r.undo_id.clone().unwrap()).collect();
    assert_eq!(undo_ids.len(), 30);
}

#[test]
fn a_real_systemd_stops_a_service_forgets_it_and_starts_it_again() {
    use crate::device::local::linux::systemd_bus::tests::Container;
    let Some(container) = Container::boot() else { return };
    let case = Case { bus: Some(container.bus()), ..case() };
    let steps = |wish: &Wish| {
        let resolver = Resolver::new(&case.view, &case.accounts, &case.settings, case.bus.as_ref(), &case.job);
        Resolver { layout: Layout::below(container.root()), ..resolver }.steps(wish).unwrap()
    };
    let tell = |what: &[&str]| container.systemctl(what).trim().to_owned();
    let show = |what: &str| tell(&["show", "-P", what, "planted.service"]);
    assert_eq!((show("ActiveState"), show("UnitFileState")), ("active".into(), "enabled".into()));

    let plan = steps(&Wish::Remediate { kind: Service, ids: vec!["planted".into()] });
    assert_eq!(kinds(&plan), ["stop", "unlink", "quarantine", "reload"], "{plan:#?}");
    let Some(Step::StopService { service, .. }) = plan.first() else { unreachable!() };
    assert_eq!((service.state.as_str(), service.pid.map(|p| p.to_string())), ("active", Some(show("MainPID"))));
    let gone = case.apply(plan);
    assert_eq!((&gone.end, gone.verified), (&End::Done, Verified::Yes), "{gone:?}");
    assert_eq!((show("ActiveState"), show("LoadState")), ("inactive".into(), "not-found".into()));

    let back = case.apply(steps(&Wish::Undo { kind: Service, ids: vec!["planted.service".into()] }));
    assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes), "{back:?}");
    assert_eq!((show("ActiveState"), show("UnitFileState")), ("active".into(), "enabled".into()));
}
