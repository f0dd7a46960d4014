//! Attacks first: what is swapped, reused, linked, full or killed in between loses nothing and removes nothing else.

mod line;
mod services;
mod value;

use super::place::{Place, identity, links, size};
use super::*;
use crate::device::local::linux::proc;
use crate::guard::approved_for_test;
use crate::model::{DeviceId, DevicePath, FileTarget, NoSupply, RemediatedQuery, Sha256, Timestamp, UndoId};
use crate::private::scratch::Scratch;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

fn apply(home: &Path, steps: Vec<Step>) -> Outcome {
    apply_with(home, steps, None)
}

fn apply_with(home: &Path, steps: Vec<Step>, bus: Option<&SystemdBus>) -> Outcome {
    let device = DeviceId::new("local");
    let orders = approved_for_test(&device, steps).orders(&device).unwrap();
    let ground = Ground { store: &Quarantine::new(home), bus, supply: &NoSupply, spill: home, pack: &no_package };
    carry_out(orders, &ground, &Job::default())
}

fn device_path(path: &Path) -> DevicePath {
    DevicePath::new(
        std::fs::canonicalize(path.parent().unwrap()).unwrap().join(path.file_name().unwrap()).as_os_str().as_bytes(),
    )
}

/// The file as a plan would name it now.
fn target(path: &Path) -> FileTarget {
    let path = device_path(path);
    let held = Place::reach(&path).unwrap().hold().unwrap();
    let mut file = held.open().unwrap();
    let (bytes, sha256) = bytes::hash(&mut file, &Job::default()).unwrap();
    FileTarget {
        path,
        identity: identity(&held.stat),
        size_bytes: bytes,
        sha256,
        mode: held.stat.st_mode & 0o7777,
        uid: held.stat.st_uid,
        gid: held.stat.st_gid,
        modified: Timestamp::from_unix(held.stat.st_mtime, 0),
        links: links(&held.stat),
        package: None,
    }
}

fn quarantine_of(path: &Path) -> Vec<Step> {
    vec![Step::Quarantine { file: target(path), part_of: None }]
}

/// What `undo` would plan for the deed.
fn restore_of(home: &Path, id: &UndoId) -> Vec<Step> {
    let (kept, standing) = Quarantine::new(home).find(id).unwrap();
    assert!(standing.is_undoable(), "{standing:?}");
    let file = kept.file.unwrap();
    vec![Step::Restore {
        undo_id: id.clone(),
        path: file.path.unwrap(),
        size_bytes: file.size_bytes,
        sha256: file.sha256,
        mode: file.metadata.mode,
        uid: file.metadata.uid,
        gid: file.metadata.gid,
    }]
}

fn rows(home: &Path) -> Vec<Remediated> {
    Quarantine::new(home).rows(&RemediatedQuery::default(), &Job::default()).unwrap()
}

fn undo_id_of(outcome: &Outcome) -> UndoId {
    assert_eq!(outcome.end, End::Done, "{outcome:?}");
    outcome.rows[0].undo_id.clone().unwrap()
}

#[test]
fn a_file_goes_and_comes_back_as_it_was() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = dir.join("evil");
    std::fs::write(&path, "payload").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4751)).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789)).unwrap();
    let has_xattr = rustix::fs::fsetxattr(&file, "user.origin", b"\xff\x00", rustix::fs::XattrFlags::empty()).is_ok();
    let before = std::fs::metadata(&path).unwrap();

    let gone = apply(&home, quarantine_of(&path));
    assert_eq!(gone.verified, Verified::Yes);
    assert!(!path.exists());
    assert_eq!(std::fs::read_dir(&*dir).unwrap().count(), 0, "nothing stays beside");
    let id = undo_id_of(&gone);
    assert_eq!(rows(&home)[0].outcome, "quarantined");
    let content = home.join("quarantine").join(id.as_str()).join("content");
    assert_eq!(std::fs::metadata(content).unwrap().mode() & 0o777, 0o600);

    let back = apply(&home, restore_of(&home, &id));
    assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes), "{back:?}");
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"payload");
    assert_eq!((before.mode(), before.uid(), before.gid()), (after.mode(), after.uid(), after.gid()));
    assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
    if has_xattr {
        let mut value = Vec::with_capacity(16);
        rustix::fs::getxattr(&path, "user.origin", rustix::buffer::spare_capacity(&mut value)).unwrap();
        assert_eq!(value, b"\xff\x00");
    }
    assert_eq!(rows(&home)[0].outcome, "restored");
}

#[test]
fn gt_028_other_content_is_drift() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = dir.join("evil");
    std::fs::write(&path, "payload").unwrap();
    let plan = quarantine_of(&path);
    std::fs::write(&path, "PAYLOAD").unwrap();
    let outcome = apply(&home, plan);
    assert!(matches!(outcome.end, End::Drift { step: 0, .. }), "{outcome:?}");
    assert_eq!(std::fs::read(&path).unwrap(), b"PAYLOAD");
    assert!(rows(&home).is_empty());
}

#[test]
fn another_file_of_the_same_content_is_drift() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let (path, twin) = (dir.join("evil"), dir.join("twin"));
    std::fs::write(&path, "payload").unwrap();
    std::fs::write(&twin, "payload").unwrap();
    let plan = quarantine_of(&path);
    std::fs::rename(&twin, &path).unwrap();
    assert!(matches!(apply(&home, plan).end, End::Drift { .. }));
    assert!(path.exists());
}

#[test]
fn a_link_or_fifo_in_its_place_is_drift() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let (path, other) = (dir.join("evil"), dir.join("other"));
    std::fs::write(&path, "payload").unwrap();
    let plan = quarantine_of(&path);
    std::fs::rename(&path, &other).unwrap();
    std::os::unix::fs::symlink(&other, &path).unwrap();
    assert!(matches!(apply(&home, plan.clone()).end, End::Drift { .. }));
    std::fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(matches!(apply(&home, plan).end, End::Drift { .. }));
    assert_eq!(std::fs::read(&other).unwrap(), b"payload");
}

#[test]
fn a_directory_swapped_for_a_link_is_drift() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    std::fs::create_dir(dir.join("d")).unwrap();
    std::fs::write(dir.join("d/evil"), "payload").unwrap();
    let plan = quarantine_of(&dir.join("d/evil"));
    std::fs::rename(dir.join("d"), dir.join("e")).unwrap();
    std::os::unix::fs::symlink("e", dir.join("d")).unwrap();
    assert!(matches!(apply(&home, plan).end, End::Drift { .. }));
    assert!(dir.join("e/evil").exists());
}

#[test]
fn gt_175_a_swap_to_own_state_is_drift() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = dir.join("evil");
    std::fs::write(&path, "payload").unwrap();
    std::fs::write(home.join("secret"), "payload").unwrap();
    let plan = quarantine_of(&path);
    std::fs::remove_file(&path).unwrap();
    std::fs::hard_link(home.join("secret"), &path).unwrap();
    assert!(matches!(apply(&home, plan).end, End::Drift { .. }));
    assert!(path.exists() && home.join("secret").exists());
}

#[test]
fn steps_stop_at_the_first_drift_and_keep_the_rows_before() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let paths = ["a", "b", "c"].map(|n| dir.join(n));
    for path in &paths {
        std::fs::write(path, "payload").unwrap();
    }
    let plan: Vec<Step> = paths.iter().flat_map(|p| quarantine_of(p)).collect();
    std::fs::write(&paths[1], "other").unwrap();
    let outcome = apply(&home, plan);
    assert!(matches!(outcome.end, End::Drift { step: 1, .. }));
    assert_eq!(outcome.rows.len(), 1);
    assert!(!paths[0].exists() && paths[1].exists() && paths[2].exists());
}

#[test]
fn a_racing_renamer_never_loses_the_other_file() {
    const ROUNDS: usize = 1_000;
    let (home, dir) = (Scratch::new(), Scratch::new());
    let (path, other) = (dir.join("target"), dir.join("other"));
    let (stop, quiet) = (AtomicBool::new(false), Mutex::new(()));
    let mut removed = 0;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let rename = |from: &Path, to: &Path, how| {
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, from, rustix::fs::CWD, to, how);
            };
            for turn in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let _turn = quiet.lock().unwrap();
                rename(&path, &other, rustix::fs::RenameFlags::EXCHANGE);
                // Takes the name while the file lies aside.
                if turn % 7 == 0 {
                    rename(&other, &path, rustix::fs::RenameFlags::NOREPLACE);
                }
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..ROUNDS {
                removed += usize::from(race(&home, &path, &other, round, &quiet));
            }
        }));
        stop.store(true, Ordering::Relaxed);
        result.unwrap();
    });
    assert!(removed > 0 && removed < ROUNDS, "{removed} of {ROUNDS}: the race was not run");
}

/// One round; whether the approved file was removed.
fn race(home: &Path, path: &Path, other: &Path, round: usize, quiet: &Mutex<()>) -> bool {
    let setting_up = quiet.lock().unwrap();
    let (evil, precious) = (format!("evil {round}"), format!("precious {round}"));
    std::fs::write(path.with_extension("new"), &evil).unwrap();
    let plan = quarantine_of(&path.with_extension("new"));
    std::fs::rename(path.with_extension("new"), path).unwrap();
    std::fs::write(other.with_extension("new"), &precious).unwrap();
    std::fs::rename(other.with_extension("new"), other).unwrap();
    let Step::Quarantine { file, .. } = plan.into_iter().next().unwrap() else { unreachable!() };
    let file = FileTarget { path: device_path(path), ..file };

    drop(setting_up);

    let outcome = apply(home, vec![Step::Quarantine { file, part_of: None }]);
    let _looking = quiet.lock().unwrap();
    let left: Vec<String> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|e| std::fs::read_to_string(e.unwrap().path()).unwrap())
        .collect();
    assert!(left.contains(&precious), "round {round}: {outcome:?}");
    let removed = outcome.end == End::Done;
    assert_eq!(left.contains(&evil), !removed, "round {round}: {outcome:?}");
    if !removed {
        assert!(matches!(outcome.end, End::Drift { .. }), "round {round}: {outcome:?}");
    }
    for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    removed
}

#[test]
fn hard_links_are_told() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    std::fs::write(dir.join("evil"), "payload").unwrap();
    std::fs::hard_link(dir.join("evil"), dir.join("twin")).unwrap();
    let outcome = apply(&home, quarantine_of(&dir.join("evil")));
    assert!(outcome.rows[0].note.as_ref().unwrap().raw().contains("1 more name"), "{outcome:?}");
}

#[test]
fn a_restore_replaces_nothing() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = dir.join("evil");
    std::fs::write(&path, "payload").unwrap();
    let id = undo_id_of(&apply(&home, quarantine_of(&path)));
    let plan = restore_of(&home, &id);
    std::os::unix::fs::symlink("/nowhere", &path).unwrap();
    let outcome = apply(&home, plan.clone());
    assert!(matches!(&outcome.end, End::Failed { code, .. } if code == "E_EXISTS"), "{outcome:?}");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(apply(&home, plan.clone()).end, End::Done);
    assert!(!matches!(apply(&home, plan).end, End::Done), "an undo record is used once");
}

#[test]
fn a_restore_into_another_directory_is_refused() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    std::fs::create_dir(dir.join("d")).unwrap();
    std::fs::write(dir.join("d/evil"), "payload").unwrap();
    let id = undo_id_of(&apply(&home, quarantine_of(&dir.join("d/evil"))));
    let plan = restore_of(&home, &id);
    for swap in ["link", "another", "none"] {
        let _ = std::fs::remove_file(dir.join("d"));
        let _ = std::fs::rename(dir.join("d"), dir.join("moved"));
        match swap {
            "link" => std::os::unix::fs::symlink("moved", dir.join("d")).unwrap(),
            "another" => std::fs::create_dir(dir.join("d")).unwrap(),
            _ => {}
        }
        let outcome = apply(&home, plan.clone());
        assert!(matches!(&outcome.end, End::Failed { code, .. } if code == "E_NOT_FOUND"), "{swap}: {outcome:?}");
        let _ = std::fs::remove_dir(dir.join("d"));
        assert!(!dir.join("moved/evil").exists(), "{swap}");
    }
    std::fs::rename(dir.join("moved"), dir.join("d")).unwrap();
    assert_eq!(apply(&home, plan).end, End::Done);
}

#[test]
fn damaged_content_is_not_restored() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = dir.join("evil");
    std::fs::write(&path, "payload").unwrap();
    let id = undo_id_of(&apply(&home, quarantine_of(&path)));
    std::fs::write(home.join("quarantine").join(id.as_str()).join("content"), "PAYLOAD").unwrap();
    let outcome = apply(&home, restore_of(&home, &id));
    assert!(matches!(outcome.end, End::Failed { .. }), "{outcome:?}");
    assert_eq!(std::fs::read_dir(&*dir).unwrap().count(), 0);
}

#[test]
fn a_record_changed_after_approval_is_drift() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = dir.join("evil");
    std::fs::write(&path, "payload").unwrap();
    let id = undo_id_of(&apply(&home, quarantine_of(&path)));
    let plan = restore_of(&home, &id);
    let record = home.join("quarantine").join(id.as_str()).join("record.json");
    let mode = "\"mode\":";
    let text = std::fs::read_to_string(&record).unwrap();
    let at = text.find(mode).unwrap() + mode.len();
    let end = at + text[at..].find(',').unwrap();
    std::fs::write(&record, format!("{}2541{}", &text[..at], &text[end..])).unwrap();
    assert!(matches!(apply(&home, plan).end, End::Drift { .. }));
    assert!(!path.exists());
}

/// Runs this same test binary for one deed that ends at a fault point as `kill -9` would.
fn die_at(point: &str, home: &Path, what: &str, path: &Path) {
    die_in("deed_of_a_child", point, home, what, path);
}

fn die_in(test: &str, point: &str, home: &Path, what: &str, path: &Path) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("device::local::linux::effect::tests::{test}"), "--quiet"])
        .env("LR_TEST_FAULT", point)
        .env("LR_TEST_HOME", home)
        .env("LR_TEST_DEED", what)
        .env("LR_TEST_PATH", path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success(), "the child lived on past {point}");
}

#[test]
fn deed_of_a_child() {
    let Some(home) = std::env::var_os("LR_TEST_HOME") else { return };
    let (home, path) = (Path::new(&home), std::env::var_os("LR_TEST_PATH").unwrap());
    match std::env::var("LR_TEST_DEED").unwrap().as_str() {
        "quarantine" => drop(apply(home, quarantine_of(Path::new(&path)))),
        "stop" => drop(apply(home, stop_of(path.to_str().unwrap().parse().unwrap(), true))),
        id => drop(apply(home, restore_of(home, &UndoId::new(id)))),
    }
}

#[test]
fn gt_025_killed_at_each_step_of_a_quarantine_loses_nothing() {
    for (point, there, standing) in [
        ("begun", true, "not_done"),
        ("kept", true, "not_done"),
        ("aside", false, "moved_aside"),
        ("unlinked", false, "quarantined"),
    ] {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = dir.join("evil");
        std::fs::write(&path, "payload").unwrap();
        die_at(point, &home, "quarantine", &path);
        assert_eq!(path.exists(), there, "{point}");
        let row = rows(&home).remove(0);
        assert_eq!(row.outcome, standing, "{point}");
        if !there {
            let back = apply(&home, restore_of(&home, &row.undo_id.unwrap()));
            assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes), "{point}: {back:?}");
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"payload", "{point}");
        assert_eq!(std::fs::read_dir(&*dir).unwrap().count(), 1, "{point}");
    }
}

#[test]
fn a_half_copy_goes_with_the_next_deed() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = dir.join("evil");
    std::fs::write(&path, "payload").unwrap();
    die_at("begun", &home, "quarantine", &path);
    die_at("kept", &home, "quarantine", &path);
    apply(&home, quarantine_of(&path));
    let left: Vec<String> = rows(&home).into_iter().map(|r| r.outcome).collect();
    assert_eq!(left, ["quarantined"]);
}

#[test]
fn killed_at_each_step_of_a_restore_loses_nothing() {
    for (point, there) in [("filled", false), ("named", true)] {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = dir.join("evil");
        std::fs::write(&path, "payload").unwrap();
        let id = undo_id_of(&apply(&home, quarantine_of(&path)));
        die_at(point, &home, id.as_str(), &path);
        assert_eq!(path.exists(), there, "{point}");
        if !there {
            assert_eq!(apply(&home, restore_of(&home, &id)).end, End::Done);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"payload", "{point}");
    }
}

#[test]
fn a_full_disk_leaves_the_file_where_it_is() {
    let (base, dir) = (Scratch::new(), Scratch::new());
    let Some(_mount) = SmallMount::new(&base) else {
        println!("skipped: a small file system can be mounted by root only");
        return;
    };
    let path = dir.join("evil");
    std::fs::write(&path, vec![7; 256 * 1024]).unwrap();
    let outcome = apply(&base, quarantine_of(&path));
    assert!(matches!(&outcome.end, End::Failed { code, .. } if code == "E_STORE_UNAVAILABLE"), "{outcome:?}");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 256 * 1024);
    assert!(rows(&base).is_empty(), "no half record stays");
}

/// 64 KiB of tmpfs over a directory.
struct SmallMount<'a>(&'a Path);

impl<'a> SmallMount<'a> {
    fn new(at: &'a Path) -> Option<Self> {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", at, "tmpfs", flags, Some(c"size=64k,mode=700")).ok().map(|()| SmallMount(at))
    }
}

impl Drop for SmallMount<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

/// A process of another image than ours, ended with the test.
struct Victim(Child);

impl Victim {
    fn start(image: &Path) -> Victim {
        // Written and started in one test process: another thread's fork may hold it open for writing for a moment.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            match Command::new(image).arg("600").spawn() {
                Ok(child) => return Victim(child),
                Err(e)
                    if e.kind() == std::io::ErrorKind::ExecutableFileBusy && std::time::Instant::now() < deadline =>
                {
                    std::thread::yield_now();
                }
                Err(e) => panic!("{e}"),
            }
        }
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A copy of `sleep` in a directory of the test.
fn sleeper(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("sleeper");
    std::fs::copy("/bin/sleep", &path).unwrap();
    path
}

/// The process as a plan would name it now.
fn process(pid: u32) -> ProcessTarget {
    let who = proc::identity(pid).unwrap();
    let mut image = std::fs::File::open(format!("/proc/{pid}/exe")).unwrap();
    let stat = rustix::fs::fstat(&image).unwrap();
    let (_, image_sha256) = bytes::hash(&mut image, &Job::default()).unwrap();
    ProcessTarget {
        pid,
        start_ticks: who.start_ticks,
        boot_id: who.boot_id,
        started: Timestamp::now(),
        name: who.name.raw().into(),
        user: String::new(),
        command_line: String::new(),
        image: who.image,
        image_identity: identity(&stat),
        image_sha256,
        image_size: size(&stat),
        image_note: None,
    }
}

fn stop_of(pid: u32, keep_image: bool) -> Vec<Step> {
    vec![Step::Stop { process: process(pid), keep_image }]
}

#[test]
fn a_process_is_stopped_and_its_image_goes() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let image = sleeper(&dir);
    let mut victim = Victim::start(&image);
    let mut plan = stop_of(victim.pid(), false);
    plan.extend(quarantine_of(&image));
    let outcome = apply(&home, plan);
    assert_eq!((&outcome.end, outcome.verified), (&End::Done, Verified::Yes), "{outcome:?}");
    assert_eq!(outcome.rows.iter().map(|r| r.outcome.as_str()).collect::<Vec<_>>(), ["stopped", "quarantined"]);
    assert!(outcome.rows[1].note.as_ref().unwrap().raw().contains(&victim.pid().to_string()));
    assert!(!victim.0.wait().unwrap().success());
    assert!(!image.exists());
}

#[test]
fn a_pid_that_is_used_again_is_drift() {
    let home = Scratch::new();
    let victim = Victim::start(Path::new("/bin/sleep"));
    let reused = ProcessTarget { start_ticks: process(victim.pid()).start_ticks - 1, ..process(victim.pid()) };
    let other_boot = ProcessTarget { boot_id: "another".into(), ..process(victim.pid()) };
    let other_image = ProcessTarget { image_sha256: Sha256::of(b"other"), ..process(victim.pid()) };
    for process in [reused, other_boot, other_image] {
        let outcome = apply(&home, vec![Step::Stop { process, keep_image: false }]);
        assert!(matches!(outcome.end, End::Drift { .. }), "{outcome:?}");
    }
    assert!(stop::lives(victim.pid(), process(victim.pid()).start_ticks, &proc::boot_id().unwrap()));
    assert!(rows(&home).is_empty());
}

#[test]
fn a_process_that_ended_is_drift() {
    let home = Scratch::new();
    let mut victim = Victim::start(Path::new("/bin/sleep"));
    let plan = stop_of(victim.pid(), false);
    victim.0.kill().unwrap();
    victim.0.wait().unwrap();
    assert!(matches!(apply(&home, plan).end, End::Drift { .. }));
}

#[test]
fn a_deleted_image_is_kept_and_comes_back() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let image = sleeper(&dir);
    let victim = Victim::start(&image);
    let bytes = std::fs::read(&image).unwrap();
    let path = device_path(&image);
    std::fs::remove_file(&image).unwrap();
    let target = ProcessTarget { image: Some(path), ..process(victim.pid()) };
    let outcome = apply(&home, vec![Step::Stop { process: target, keep_image: true }]);
    assert_eq!(outcome.rows[0].outcome, "image_kept", "{outcome:?}");
    let back = apply(&home, restore_of(&home, &undo_id_of(&outcome)));
    assert_eq!(back.end, End::Done, "{back:?}");
    assert!(std::fs::read(&image).unwrap() == bytes);
}

#[test]
fn killed_around_a_stop_tells_what_is_true() {
    for (point, lives, standing) in [("image_kept", true, "not_done"), ("killed", false, "image_kept")] {
        let home = Scratch::new();
        let mut victim = Victim::start(Path::new("/bin/sleep"));
        die_at(point, &home, "stop", Path::new(&victim.pid().to_string()));
        if !lives {
            victim.0.wait().unwrap();
        }
        assert_eq!(victim.0.try_wait().unwrap().is_none(), lives, "{point}");
        assert_eq!(rows(&home)[0].outcome, standing, "{point}");
    }
}

#[test]
fn a_disclosure_is_not_done_here() {
    let slice = crate::model::Disclosure {
        sha256: Sha256::of(b""),
        path: DevicePath::new("/k"),
        secret: "private key".into(),
        entry: None,
        offset: 0,
        length: 1,
        r#as: "text".into(),
        r#match: None,
    };
    let outcome = apply(&Scratch::new(), vec![Step::Disclose { slice }]);
    assert!(matches!(&outcome.end, End::Failed { code, .. } if code == "E_UNSUPPORTED"));
}

fn no_package(_: Profile, _: &mut dyn Write, _: &Job) -> Result<PackageFacts> {
    unreachable!("no package is asked for")
}
