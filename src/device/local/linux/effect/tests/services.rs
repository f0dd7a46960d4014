//! Services stop and start; links go and come back; masks are made and lifted: at each step that a process can die at.

use super::*;
use crate::device::local::linux::systemd_bus::fake::{Fake, Unit};
use crate::model::{EntityKind, LinkTarget, PartOf, ServiceTarget, UnitFile};

fn whole() -> PartOf {
    PartOf { kind: EntityKind::Service, id: "evil.service".into() }
}

fn link_of(path: &Path) -> Step {
    let path = device_path(path);
    let stat = Place::reach(&path).unwrap().look().unwrap();
    let target = rustix::fs::readlink(path.as_bytes(), Vec::new()).unwrap();
    let target = DevicePath::new(target.into_bytes());
    let link = LinkTarget { path, identity: identity(&stat), target, uid: stat.st_uid, gid: stat.st_gid };
    Step::RemoveLink { link, part_of: whole() }
}

fn link_back(home: &Path, id: &UndoId) -> Step {
    let (kept, standing) = Quarantine::new(home).find(id).unwrap();
    assert!(standing.is_undoable(), "{standing:?}");
    let (file, Some(What::Link { target })) = (kept.file.unwrap(), kept.what) else { panic!() };
    let (uid, gid) = (file.metadata.uid, file.metadata.gid);
    Step::RestoreLink { undo_id: id.clone(), path: file.path.unwrap(), target, uid, gid }
}

fn mask_of(path: &Path) -> Step {
    Step::Mask { path: device_path(path), part_of: whole() }
}

fn stop_of_unit(files: Vec<UnitFile>, state: &str) -> Step {
    let unit = "evil.service".to_owned();
    let service = ServiceTarget { unit, state: state.into(), pid: None, files, image: None, notes: Vec::new() };
    Step::StopService { service, part_of: whole() }
}

fn planted(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("link");
    std::os::unix::fs::symlink("../evil.service", &path).unwrap();
    path
}

fn read_link(path: &Path) -> Option<String> {
    std::fs::read_link(path).ok().map(|t| t.to_str().unwrap().to_owned())
}

fn names(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn a_link_goes_and_comes_back() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = planted(&dir);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(&path, Some(12), Some(34)).unwrap();
    }
    let owner = |p: &Path| std::fs::symlink_metadata(p).map(|m| (m.uid(), m.gid())).unwrap();
    let before = owner(&path);
    let gone = apply(&home, vec![link_of(&path)]);
    assert_eq!((&gone.end, gone.verified, names(&dir)), (&End::Done, Verified::Yes, 0), "{gone:?}");
    assert_eq!((gone.rows[0].outcome.as_str(), gone.rows[0].id.raw()), ("unlinked", "evil.service"));
    let back = apply(&home, vec![link_back(&home, &undo_id_of(&gone))]);
    assert_eq!((&back.end, back.verified, names(&dir)), (&End::Done, Verified::Yes, 1), "{back:?}");
    assert_eq!((read_link(&path).unwrap().as_str(), owner(&path)), ("../evil.service", before));
}

#[test]
fn what_is_not_the_approved_link_is_drift() {
    let swaps: [fn(&Path); 4] = [
        |path| std::fs::write(path, "a file").unwrap(),
        |path| std::os::unix::fs::symlink("../other.service", path).unwrap(),
        |path| std::fs::create_dir(path).unwrap(),
        |_| {},
    ];
    for (index, swap) in swaps.into_iter().enumerate() {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = planted(&dir);
        let plan = vec![link_of(&path)];
        // Kept elsewhere, so that its inode is not used again.
        std::fs::rename(&path, home.join("old")).unwrap();
        swap(&path);
        let outcome = apply(&home, plan);
        assert!(matches!(outcome.end, End::Drift { .. }), "{index}: {outcome:?}");
        assert_eq!(names(&dir), usize::from(index < 3), "{index}");
        assert!(rows(&home).is_empty(), "{index}");
    }
}

#[test]
fn a_link_comes_back_over_nothing() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = planted(&dir);
    let id = undo_id_of(&apply(&home, vec![link_of(&path)]));
    let plan = link_back(&home, &id);
    std::fs::write(&path, "in the way").unwrap();
    let outcome = apply(&home, vec![plan]);
    assert!(matches!(&outcome.end, End::Failed { code, .. } if code == "E_EXISTS"), "{outcome:?}");
    assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), names(&dir)), ("in the way", 1));
}

#[test]
fn a_mask_is_made_and_lifted() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = dir.join("evil.service");
    let made = apply(&home, vec![mask_of(&path)]);
    assert_eq!((&made.end, made.verified), (&End::Done, Verified::Yes), "{made:?}");
    assert_eq!((read_link(&path).unwrap().as_str(), rows(&home)[0].outcome.as_str()), ("/dev/null", "masked"));
    let again = apply(&home, vec![mask_of(&path)]);
    assert!(matches!(again.end, End::Drift { .. }), "{again:?}");
    let lift = Step::Unmask { undo_id: undo_id_of(&made), path: device_path(&path) };
    let lifted = apply(&home, vec![lift]);
    assert_eq!((&lifted.end, lifted.verified, names(&dir)), (&End::Done, Verified::Yes, 0), "{lifted:?}");
    assert_eq!(rows(&home)[0].outcome, "unmasked");
}

#[test]
fn what_is_no_mask_any_more_is_not_lifted() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = dir.join("evil.service");
    let made = apply(&home, vec![mask_of(&path)]);
    let lift = vec![Step::Unmask { undo_id: undo_id_of(&made), path: device_path(&path) }];
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a unit").unwrap();
    assert!(!matches!(apply(&home, lift).end, End::Done));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a unit");
}

fn die(point: &str, home: &Path, what: &str, path: &Path) {
    die_in("services::deed_of_a_child", point, home, what, path);
}

#[test]
fn deed_of_a_child() {
    let Some(home) = std::env::var_os("LR_TEST_HOME") else { return };
    let (home, path) = (Path::new(&home), std::env::var_os("LR_TEST_PATH").unwrap());
    let path = Path::new(&path);
    let fake = Fake::running("evil.service");
    match std::env::var("LR_TEST_DEED").unwrap().as_str() {
        "unlink" => drop(apply(home, vec![link_of(path)])),
        "mask" => drop(apply(home, vec![mask_of(path)])),
        "stop" => drop(apply_with(home, vec![stop_of_unit(Vec::new(), "active")], Some(&fake.bus))),
        id => drop(apply(home, vec![link_back(home, &UndoId::new(id))])),
    }
}

#[test]
fn gt_025_killed_at_each_step_of_a_link_there_is_a_way_back() {
    for (point, there, standing) in [
        ("link_announced", true, "not_done"),
        ("link_aside", false, "moved_aside"),
        ("link_unlinked", false, "unlinked"),
    ] {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = planted(&dir);
        die(point, &home, "unlink", &path);
        let row = rows(&home).remove(0);
        assert_eq!((read_link(&path).is_some(), row.outcome.as_str()), (there, standing), "{point}");
        if !there {
            let back = apply(&home, vec![link_back(&home, &row.undo_id.unwrap())]);
            assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes), "{point}: {back:?}");
        }
        assert_eq!((read_link(&path).as_deref(), names(&dir)), (Some("../evil.service"), 1), "{point}");
    }
}

#[test]
fn killed_after_a_link_came_back_it_is_there() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = planted(&dir);
    let id = undo_id_of(&apply(&home, vec![link_of(&path)]));
    die("link_put", &home, id.as_str(), &path);
    assert_eq!((read_link(&path).as_deref(), names(&dir)), (Some("../evil.service"), 1));
}

#[test]
fn killed_around_a_mask_the_record_tells_what_is_true() {
    for (point, there, standing) in [("mask_announced", false, "not_done"), ("masked", true, "masked")] {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = dir.join("evil.service");
        die(point, &home, "mask", &path);
        let row = rows(&home).remove(0);
        assert_eq!((read_link(&path).is_some(), row.outcome.as_str()), (there, standing), "{point}");
        if there {
            let lift = Step::Unmask { undo_id: row.undo_id.unwrap(), path: device_path(&path) };
            assert_eq!(apply(&home, vec![lift]).end, End::Done, "{point}");
        }
        assert_eq!(names(&dir), 0, "{point}");
    }
}

#[test]
fn killed_around_a_stop_undo_starts_the_service() {
    for point in ["stop_announced", "service_stopped"] {
        let home = Scratch::new();
        die(point, &home, "stop", &home);
        let row = rows(&home).remove(0);
        assert_eq!(row.outcome, "stopped", "{point}: it may be");
        let fake = Fake::running("evil.service");
        let start = Step::StartService { undo_id: row.undo_id.unwrap(), unit: "evil.service".into() };
        let started = apply_with(&home, vec![start], Some(&fake.bus));
        assert_eq!((&started.end, started.verified), (&End::Done, Verified::Yes), "{point}: {started:?}");
        assert_eq!(fake.state("evil.service"), "active");
    }
}

#[test]
fn a_service_stops_and_starts_and_the_manager_reads_again() {
    let home = Scratch::new();
    let fake = Fake::running("evil.service");
    let plan = vec![stop_of_unit(Vec::new(), "active"), Step::ReloadServices];
    let stopped = apply_with(&home, plan, Some(&fake.bus));
    assert_eq!((&stopped.end, stopped.verified), (&End::Done, Verified::Yes), "{stopped:?}");
    assert_eq!(
        (fake.state("evil.service").as_str(), fake.calls()),
        ("inactive", vec!["stop evil.service".into(), "reload".into()])
    );
    let start = Step::StartService { undo_id: undo_id_of(&stopped), unit: "evil.service".into() };
    let started = apply_with(&home, vec![start.clone()], Some(&fake.bus));
    assert_eq!((&started.end, started.verified), (&End::Done, Verified::Yes), "{started:?}");
    assert_eq!(rows(&home)[0].outcome, "started");
    assert!(!matches!(apply_with(&home, vec![start], Some(&fake.bus)).end, End::Done), "an undo record is used once");
}

#[test]
fn a_service_that_does_not_listen_is_killed() {
    let home = Scratch::new();
    let fake = Fake::start(&[("evil.service", Unit { state: "active".into(), is_stubborn: true, ..Unit::default() })]);
    let bus = fake.with_limit(std::time::Duration::from_secs(1));
    let stopped = apply_with(&home, vec![stop_of_unit(Vec::new(), "active")], Some(&bus));
    assert_eq!((&stopped.end, stopped.verified), (&End::Done, Verified::Yes), "{stopped:?}");
    assert_eq!(fake.calls(), ["stop evil.service", "kill 9 evil.service"]);
}

#[test]
fn a_service_whose_file_changed_is_drift() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let fake = Fake::running("evil.service");
    std::fs::write(dir.join("unit"), "[Service]\n").unwrap();
    let file = UnitFile { path: device_path(&dir.join("unit")), sha256: Sha256::of(b"[Service]\n") };
    let plan = vec![stop_of_unit(vec![file], "active")];
    std::fs::write(dir.join("unit"), "[Service]\nUser=other\n").unwrap();
    assert!(matches!(apply_with(&home, plan.clone(), Some(&fake.bus)).end, End::Drift { .. }));
    std::fs::remove_file(dir.join("unit")).unwrap();
    assert!(matches!(apply_with(&home, plan, Some(&fake.bus)).end, End::Drift { .. }));
    assert!(fake.calls().is_empty() && rows(&home).is_empty());
}

#[test]
fn a_bus_that_is_gone_leaves_a_record_that_it_may_be_stopped() {
    let home = Scratch::new();
    let nowhere = SystemdBus::at(home.join("none"), true, std::time::Duration::from_secs(5));
    let outcome = apply_with(&home, vec![stop_of_unit(Vec::new(), "active")], Some(&nowhere));
    assert!(matches!(outcome.end, End::Unknown { .. }), "{outcome:?}");
    assert_eq!(rows(&home)[0].outcome, "stopped");
    let none = apply(&home, vec![Step::ReloadServices]);
    assert!(matches!(&none.end, End::Failed { code, .. } if code == "E_UNSUPPORTED"), "{none:?}");
}
