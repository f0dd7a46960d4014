//! A value of a hive goes and comes back; killed anywhere, the hive is the old one or the new one, and the list tells.

use super::*;
use crate::device::local::registry::build::{self, key};
use crate::device::local::registry::kind_name;
use crate::model::{EntityKind, PartOf, ValueTarget};

fn before() -> Vec<u8> {
    build::hive(&key("ROOT").with(key("Run").sz("evil", "c:\\evil.exe").sz("good", "c:\\good.exe")))
}

fn hive(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("SOFTWARE");
    std::fs::write(&path, before()).unwrap();
    path
}

fn evil() -> ValueTarget {
    let data = build::text16("c:\\evil.exe");
    ValueTarget {
        key: vec!["Run".into()],
        name: "evil".into(),
        kind: kind_name(1).into_owned(),
        size_bytes: data.len() as u64,
        sha256: Sha256::of(&data),
        data: None,
    }
}

fn cut_of(path: &Path) -> Step {
    let part_of = PartOf { kind: EntityKind::Registry, id: r"Run\evil".into() };
    Step::CutValue { hive: target(path), value: evil(), part_of }
}

fn put_of(id: &UndoId, path: &Path, whole: bool) -> Step {
    Step::PutValue { undo_id: id.clone(), hive: target(path), value: evil(), whole }
}

fn has_evil(path: &Path) -> bool {
    // Its bytes stay in the file, so the reader is asked.
    let bytes = std::sync::Arc::new(std::fs::read(path).unwrap());
    let hive = crate::device::local::registry::Hive::open("the hive", bytes, Vec::new(), &Job::default()).unwrap().hive;
    hive.check_sound(&Job::default()).unwrap();
    let run = hive.subkey(hive.root(), "Run", &Job::default()).unwrap().unwrap();
    assert!(hive.value(&run, "good").is_some());
    hive.value(&run, "evil").is_some()
}

fn names(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}

fn die(point: &str, home: &Path, what: &str, path: &Path) {
    die_in("value::deed_of_a_child", point, home, what, path);
}

#[test]
fn deed_of_a_child() {
    let Some(home) = std::env::var_os("LR_TEST_HOME") else { return };
    let (home, path) = (Path::new(&home), std::env::var_os("LR_TEST_PATH").unwrap());
    let path = Path::new(&path);
    match std::env::var("LR_TEST_DEED").unwrap().as_str() {
        "cut" => drop(apply(home, vec![cut_of(path)])),
        deed => {
            let (whole, id) = deed.split_once(' ').unwrap();
            drop(apply(home, vec![put_of(&UndoId::new(id), path, whole == "whole")]));
        }
    }
}

#[test]
fn killed_at_each_step_of_a_cut_leaves_a_whole_hive_and_a_way_back() {
    for (point, is_cut) in [
        ("value_begun", false),
        ("swap_announced", false),
        ("beside", false),
        ("exchanged", true),
        ("old_unlinked", true),
    ] {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = hive(&dir);
        die(point, &home, "cut", &path);
        assert_eq!(has_evil(&path), !is_cut, "{point}");
        assert_eq!(std::fs::read(&path).unwrap() == before(), !is_cut, "{point}");
        let row = rows(&home).remove(0);
        assert_eq!(row.outcome, if is_cut { "cut" } else { "not_done" }, "{point}");
        apply(&home, Vec::new());
        assert_eq!(names(&dir), 1, "{point}: the next deed tidies up");
        if is_cut {
            let back = apply(&home, vec![put_of(&row.undo_id.unwrap(), &path, true)]);
            assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes), "{point}: {back:?}");
        }
        assert!(std::fs::read(&path).unwrap() == before(), "{point}");
    }
}

#[test]
fn killed_at_each_step_of_an_undo_leaves_a_whole_hive_and_the_truth() {
    for how in ["whole", "part"] {
        for (point, is_back) in
            [("swap_announced", false), ("beside", false), ("exchanged", true), ("old_unlinked", true)]
        {
            let (home, dir) = (Scratch::new(), Scratch::new());
            let path = hive(&dir);
            let id = undo_id_of(&apply(&home, vec![cut_of(&path)]));
            die(point, &home, &format!("{how} {id}"), &path);
            assert_eq!(has_evil(&path), is_back, "{how} {point}");
            for _ in 0..2 {
                assert_eq!(rows(&home)[0].outcome, if is_back { "restored" } else { "cut" }, "{how} {point}");
                apply(&home, Vec::new());
                assert_eq!(names(&dir), 1, "{how} {point}: the next deed tidies up");
            }
            if !is_back {
                assert_eq!(apply(&home, vec![put_of(&id, &path, how == "whole")]).end, End::Done, "{how} {point}");
            }
            assert!(has_evil(&path), "{how} {point}");
        }
    }
}

#[test]
fn an_undo_record_is_used_once_and_only_for_what_was_approved() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let path = hive(&dir);
    let id = undo_id_of(&apply(&home, vec![cut_of(&path)]));
    let Step::PutValue { undo_id, hive, value, whole } = put_of(&id, &path, true) else { unreachable!() };
    let other = ValueTarget { name: "good".into(), ..value };
    let outcome = apply(&home, vec![Step::PutValue { undo_id, hive, value: other, whole }]);
    assert!(matches!(outcome.end, End::Drift { .. }), "{outcome:?}");
    let plan = put_of(&id, &path, false);
    assert_eq!(apply(&home, vec![plan.clone()]).end, End::Done);
    assert!(!matches!(apply(&home, vec![plan]).end, End::Done));
    assert!(has_evil(&path));
}

#[test]
fn damaged_content_is_not_put_back() {
    for whole in [true, false] {
        let (home, dir) = (Scratch::new(), Scratch::new());
        let path = hive(&dir);
        let id = undo_id_of(&apply(&home, vec![cut_of(&path)]));
        let left = std::fs::read(&path).unwrap();
        std::fs::write(home.join("quarantine").join(id.as_str()).join("content"), "regf").unwrap();
        let outcome = apply(&home, vec![put_of(&id, &path, whole)]);
        assert!(matches!(outcome.end, End::Failed { .. }), "{outcome:?}");
        assert!(std::fs::read(&path).unwrap() == left && names(&dir) == 1);
        assert_eq!(rows(&home)[0].outcome, "cut");
    }
}

#[test]
fn a_full_quarantine_leaves_the_hive_as_it_is() {
    let (base, dir) = (Scratch::new(), Scratch::new());
    let Some(_mount) = SmallMount::new(&base) else {
        println!("skipped: a small file system can be mounted by root only");
        return;
    };
    let path = dir.join("SOFTWARE");
    let big = key("ROOT").value("big", 3, vec![1; 600_000]).with(key("Run").sz("evil", "c:\\evil.exe").sz("good", "x"));
    std::fs::write(&path, build::hive(&big)).unwrap();
    let outcome = apply(&base, vec![cut_of(&path)]);
    assert!(matches!(&outcome.end, End::Failed { code, .. } if code == "E_STORE_UNAVAILABLE"), "{outcome:?}");
    assert!(std::fs::read(&path).unwrap() == build::hive(&big));
    assert!(rows(&base).is_empty() && names(&dir) == 1, "no half record stays");
}

#[test]
fn a_full_or_read_only_file_system_leaves_the_hive_as_it_is() {
    let (home, dir) = (Scratch::new(), Scratch::new());
    let Some(_mount) = SmallMount::new(&dir) else {
        println!("skipped: a small file system can be mounted by root only");
        return;
    };
    let path = hive(&dir);
    let fill = dir.join("fill");
    let _ = std::fs::write(&fill, vec![1; 4 << 20]);
    let outcome = apply(&home, vec![cut_of(&path)]);
    assert!(matches!(outcome.end, End::Failed { .. }), "{outcome:?}");
    std::fs::remove_file(&fill).unwrap();
    let plan = vec![cut_of(&path)];
    rustix::mount::mount_remount(&*dir, rustix::mount::MountFlags::RDONLY, "").unwrap();
    let outcome = apply(&home, plan);
    let End::Failed { message, .. } = &outcome.end else { panic!("{outcome:?}") };
    assert!(message.to_lowercase().contains("read-only"), "{message}");
    assert!(std::fs::read(&path).unwrap() == before() && rows(&home).is_empty() && names(&dir) == 1);
}
