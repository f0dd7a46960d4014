//! A line goes and comes back; whatever happens in between, the file is whole and nothing of another one is lost.

use super::*;
use crate::device::local::linux::lines;
use crate::model::{EntityKind, LineTarget, PartOf};
use std::time::{Duration, Instant};

const CRONTAB: &str = "SHELL=/bin/sh\n0 1 * * * root backup\n* * * * * root evil\n5 5 * * 0 root clean";

fn cut_of(path: &Path, number: u64) -> Step {
    let text = lines::cut(&std::fs::read(path).unwrap(), number).unwrap().text;
    Step::CutLine {
        file: target(path),
        line: LineTarget { number, text: lines::shown(&text) },
        part_of: PartOf { kind: EntityKind::ScheduledTask, id: format!("{}:{number}", device_path(path)) },
    }
}

/// What `undo` would plan for the deed.
fn put_of(home: &Path, id: &UndoId, path: &Path) -> Step {
    let (kept, standing) = Quarantine::new(home).find(id).unwrap();
    assert!(standing.is_undoable(), "{standing:?}");
    let Some(What::Line(line)) = kept.what else { panic!("{kept:?}") };
    let line = LineTarget { number: line.number, text: lines::shown(&line.text()) };
    Step::PutLine { undo_id: id.clone(), file: target(path), line }
}

fn without(number: usize) -> String {
    let mut lines: Vec<&str> = CRONTAB.split_inclusive('\n').collect();
    lines.remove(number - 1);
    lines.concat()
}

fn crontab(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("crontab");
    std::fs::write(&path, CRONTAB).unwrap();
    path
}

fn names(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

#[test]
fn a_line_goes_and_comes_back_and_the_rest_stays() {
    for number in 1..=4 {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = crontab(&dir);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let old = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        file.set_modified(old).unwrap();
        let has_xattr = rustix::fs::fsetxattr(&file, "user.origin", b"\xff", rustix::fs::XattrFlags::empty()).is_ok();
        drop(file);

        let cut = apply(&home, vec![cut_of(&path, number)]);
        assert_eq!((&cut.end, cut.verified), (&End::Done, Verified::Yes), "{cut:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), without(usize::try_from(number).unwrap()));
        let after = std::fs::metadata(&path).unwrap();
        assert_eq!(after.mode() & 0o7777, 0o604);
        assert!(after.modified().unwrap() > old, "cron looks at the time of the last change");
        if has_xattr {
            let mut value = Vec::with_capacity(16);
            rustix::fs::getxattr(&path, "user.origin", rustix::buffer::spare_capacity(&mut value)).unwrap();
            assert_eq!(value, b"\xff");
        }
        let row = rows(&home).remove(0);
        assert_eq!((row.r#type.as_str(), row.outcome.as_str()), ("scheduledtask", "cut"));
        assert!(row.id.raw().ends_with(&format!("/crontab:{number}")), "{row:?}");

        let back = apply(&home, vec![put_of(&home, &undo_id_of(&cut), &path)]);
        assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes), "{back:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), CRONTAB);
        assert_eq!(rows(&home)[0].outcome, "restored");
        assert_eq!(names(&dir), 1, "nothing stays beside");
    }
}

#[test]
fn what_is_not_the_approved_file_is_drift() {
    type Swap = (&'static str, fn(&Path));
    let swaps: [Swap; 5] = [
        ("other content", |path| std::fs::write(path, CRONTAB.replace("evil", "good")).unwrap()),
        ("a line more", |path| std::fs::write(path, format!("#\n{CRONTAB}")).unwrap()),
        ("a twin", |path| {
            std::fs::write(path.with_extension("twin"), CRONTAB).unwrap();
            std::fs::rename(path.with_extension("twin"), path).unwrap();
        }),
        ("a link", |path| {
            std::fs::rename(path, path.with_extension("real")).unwrap();
            std::os::unix::fs::symlink("crontab.real", path).unwrap();
        }),
        ("nothing", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (what, swap) in swaps {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = crontab(&dir);
        let plan = vec![cut_of(&path, 3)];
        swap(&path);
        let before = std::fs::read(&path).ok();
        let outcome = apply(&home, plan);
        assert!(matches!(outcome.end, End::Drift { step: 0, .. }), "{what}: {outcome:?}");
        assert_eq!(std::fs::read(&path).ok(), before, "{what}");
        assert!(rows(&home).is_empty(), "{what}");
    }
}

#[test]
fn a_record_of_another_line_is_drift() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = crontab(&dir);
    let id = undo_id_of(&apply(&home, vec![cut_of(&path, 3)]));
    let Step::PutLine { undo_id, file, line } = put_of(&home, &id, &path) else { unreachable!() };
    let other = LineTarget { text: "* * * * * root other".into(), ..line };
    let outcome = apply(&home, vec![Step::PutLine { undo_id, file, line: other }]);
    assert!(matches!(outcome.end, End::Drift { .. }), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), without(3));
}

#[test]
fn an_undo_record_is_used_once() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = crontab(&dir);
    let id = undo_id_of(&apply(&home, vec![cut_of(&path, 3)]));
    let plan = put_of(&home, &id, &path);
    assert_eq!(apply(&home, vec![plan.clone()]).end, End::Done);
    assert!(!matches!(apply(&home, vec![plan]).end, End::Done));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), CRONTAB);
}

/// Runs this same test binary for one deed on a line that ends at a fault point as `kill -9` would.
fn die(point: &str, home: &Path, what: &str, path: &Path) {
    die_in("line::deed_of_a_child", point, home, what, path);
}

#[test]
fn deed_of_a_child() {
    let Some(home) = std::env::var_os("LR_TEST_HOME") else { return };
    let (home, path) = (Path::new(&home), std::env::var_os("LR_TEST_PATH").unwrap());
    match std::env::var("LR_TEST_DEED").unwrap().as_str() {
        "cut" => drop(apply(home, vec![cut_of(Path::new(&path), 3)])),
        id => drop(apply(home, vec![put_of(home, &UndoId::new(id), Path::new(&path))])),
    }
}

#[test]
fn gt_025_killed_at_each_step_of_a_cut_leaves_a_whole_file_and_a_way_back() {
    for (point, is_cut) in [
        ("line_begun", false),
        ("swap_announced", false),
        ("beside", false),
        ("exchanged", true),
        ("old_unlinked", true),
    ] {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = crontab(&dir);
        die(point, &home, "cut", &path);
        let left = if is_cut { without(3) } else { CRONTAB.to_owned() };
        assert_eq!(std::fs::read_to_string(&path).unwrap(), left, "{point}");
        let row = rows(&home).remove(0);
        assert_eq!(row.outcome, if is_cut { "cut" } else { "not_done" }, "{point}");
        apply(&home, Vec::new());
        assert_eq!(names(&dir), 1, "{point}: the next deed tidies up");
        if is_cut {
            let back = apply(&home, vec![put_of(&home, &row.undo_id.unwrap(), &path)]);
            assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes), "{point}: {back:?}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), CRONTAB, "{point}");
    }
}

#[test]
fn killed_at_each_step_of_an_undo_leaves_a_whole_file_and_the_truth() {
    for (point, is_back) in [("swap_announced", false), ("beside", false), ("exchanged", true), ("old_unlinked", true)]
    {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = crontab(&dir);
        let id = undo_id_of(&apply(&home, vec![cut_of(&path, 3)]));
        die(point, &home, id.as_str(), &path);
        let left = if is_back { CRONTAB.to_owned() } else { without(3) };
        assert_eq!(std::fs::read_to_string(&path).unwrap(), left, "{point}");
        assert_eq!(rows(&home)[0].outcome, if is_back { "restored" } else { "cut" }, "{point}");
        apply(&home, Vec::new());
        assert_eq!(names(&dir), 1, "{point}: the next deed tidies up");
        assert_eq!(rows(&home)[0].outcome, if is_back { "restored" } else { "cut" }, "{point}");
        if !is_back {
            assert_eq!(apply(&home, vec![put_of(&home, &id, &path)]).end, End::Done, "{point}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), CRONTAB, "{point}");
    }
}

#[test]
fn a_file_written_to_after_a_kill_is_not_tidied_away() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = crontab(&dir);
    die("exchanged", &home, "cut", &path);
    let aside = std::fs::read_dir(&*dir).unwrap().map(|e| e.unwrap().path()).find(|p| *p != path).unwrap();
    std::fs::write(&aside, "written in between").unwrap();
    apply(&home, Vec::new());
    assert_eq!(std::fs::read_to_string(&aside).unwrap(), "written in between");
}

#[test]
fn a_full_quarantine_leaves_the_file_as_it_is() {
    let (base, dir) = (Scratch::new(), Scratch::new());
    let Some(_mount) = SmallMount::new(&base) else {
        println!("skipped: a small file system can be mounted by root only");
        return;
    };
    let path = dir.join("crontab");
    std::fs::write(&path, "* * * * * root evil\n".repeat(10_000)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let outcome = apply(&base, vec![cut_of(&path, 3)]);
    assert!(matches!(&outcome.end, End::Failed { code, .. } if code == "E_STORE_UNAVAILABLE"), "{outcome:?}");
    assert!(std::fs::read(&path).unwrap() == before);
    assert!(rows(&base).is_empty() && names(&dir) == 1, "no half record stays");
}

#[test]
fn a_full_file_system_leaves_the_file_as_it_is() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let Some(_mount) = SmallMount::new(&dir) else {
        println!("skipped: a small file system can be mounted by root only");
        return;
    };
    let path = dir.join("crontab");
    std::fs::write(&path, "* * * * * root evil\n".repeat(2_500)).unwrap();
    let before = std::fs::read(&path).unwrap();
    let outcome = apply(&home, vec![cut_of(&path, 3)]);
    assert!(matches!(outcome.end, End::Failed { .. }), "{outcome:?}");
    assert!(std::fs::read(&path).unwrap() == before);
    assert!(rows(&home).is_empty() && names(&dir) == 1, "no half record stays");
}

#[test]
fn a_read_only_file_system_says_so() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let Some(_mount) = SmallMount::new(&dir) else {
        println!("skipped: a small file system can be mounted by root only");
        return;
    };
    let path = crontab(&dir);
    let plans = [vec![cut_of(&path, 3)], quarantine_of(&path)];
    let flags = rustix::mount::MountFlags::RDONLY;
    rustix::mount::mount_remount(&*dir, flags, "").unwrap();
    for plan in plans {
        let outcome = apply(&home, plan);
        let End::Failed { message, .. } = &outcome.end else { panic!("{outcome:?}") };
        assert!(message.contains("read-only") || message.contains("Read-only"), "{message}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), CRONTAB);
        assert!(rows(&home).is_empty());
    }
}

#[test]
fn a_file_made_immutable_after_the_plan_stays() {
    for flag in [rustix::fs::IFlags::IMMUTABLE, rustix::fs::IFlags::APPEND] {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = crontab(&dir);
        let plans = [vec![cut_of(&path, 3)], quarantine_of(&path)];
        let file = std::fs::File::open(&path).unwrap();
        let Ok(flags) = rustix::fs::ioctl_getflags(&file) else { return };
        if rustix::fs::ioctl_setflags(&file, flags | flag).is_err() {
            println!("skipped: root sets inode flags");
            return;
        }
        let outcomes = plans.map(|plan| apply(&home, plan));
        rustix::fs::ioctl_setflags(&file, flags).unwrap();
        for outcome in outcomes {
            assert!(matches!(outcome.end, End::Failed { .. }), "{outcome:?}");
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), CRONTAB);
        assert!(rows(&home).is_empty() && names(&dir) == 1);
    }
}

/// Runs until the rounds or the time are over, against a thread that swaps the file for a link to a precious one and
/// back as fast as it can. Where it was done, `left` is what the file has become.
fn swapped_for_a_link(plan: &dyn Fn(&Path) -> Step, left: Option<&str>) {
    const ROUNDS: usize = 10_000;
    const AT_MOST: Duration = Duration::from_secs(10);
    let dir = Scratch::new();
    let (path, link, precious) = (dir.join("crontab"), dir.join("link"), dir.join("precious"));
    std::fs::write(&precious, CRONTAB).unwrap();
    let (stop, quiet) = (AtomicBool::new(false), Mutex::new(()));
    let began = Instant::now();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let _turn = quiet.lock().unwrap();
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, &path, rustix::fs::CWD, &link, exchange);
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0..ROUNDS {
                if began.elapsed() > AT_MOST {
                    break;
                }
                let setting_up = quiet.lock().unwrap();
                for entry in std::fs::read_dir(&*dir).unwrap().map(|e| e.unwrap().path()).filter(|p| *p != precious) {
                    std::fs::remove_file(entry).unwrap();
                }
                std::fs::write(&path, CRONTAB).unwrap();
                std::os::unix::fs::symlink("precious", &link).unwrap();
                let step = plan(&path);
                drop(setting_up);

                let home = Scratch::new();
                let outcome = apply(&home, vec![step]);

                let _looking = quiet.lock().unwrap();
                let is_file = std::fs::symlink_metadata(&precious).unwrap().is_file();
                assert!(is_file && std::fs::read_to_string(&precious).unwrap() == CRONTAB, "round {round}");
                let files =
                    [&path, &link].into_iter().filter(|p| std::fs::symlink_metadata(p).is_ok_and(|m| m.is_file()));
                let text = files.map(|p| std::fs::read_to_string(p).unwrap()).next();
                match &outcome.end {
                    End::Done => assert_eq!(text.as_deref(), left, "round {round}"),
                    End::Drift { .. } => assert!(text.is_some(), "round {round}: {outcome:?}"),
                    other => panic!("round {round}: {other:?}"),
                }
            }
        }));
        stop.store(true, Ordering::Relaxed);
        result.unwrap();
    });
}

#[test]
fn ten_thousand_swaps_for_a_link_never_cut_what_it_leads_to() {
    swapped_for_a_link(&|path| cut_of(path, 3), Some(&without(3)));
}

#[test]
fn ten_thousand_swaps_for_a_link_never_take_what_it_leads_to() {
    swapped_for_a_link(&|path| quarantine_of(path).remove(0), None);
}
