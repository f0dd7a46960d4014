//! Values of a hive copy: which hive may be changed, which value an id means, what goes, and what comes back.

use super::*;
use crate::device::local::registry::build::{self, Node, key};
use crate::device::local::registry::{Hive, Source};
use EntityKind::Registry;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

const RUN: &str = r"Microsoft\Windows\CurrentVersion\Run";

fn software() -> Node {
    let mut root = key("ROOT");
    for (name, text) in [("good", "c:\\good.exe"), ("evil", "c:\\evil.exe -hidden"), ("also", "c:\\also.exe")] {
        root.put(RUN, name, text);
    }
    root.put("Paths", r"C:\Program Files\x.dll", "1");
    root.put("Paths", r"C:\Temp\", "2");
    root.put("Default", "", "the default");
    root.at("Numbers").values.extend((0..60).map(|n| (format!("n{n}"), 4, vec![n, 0, 0, 0])));
    root.at("Numbers").values.push(("big".into(), 3, vec![7; 40_000]));
    root
}

impl Case {
    fn hive(&self, root: &Node) -> PathBuf {
        self.hive_of(&build::hive(root))
    }

    fn hive_of(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.join("SOFTWARE");
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn cut(&self, hive: &Path, ids: &[&str]) -> Result<Vec<Step>> {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.steps(&Wish::RemediateValues { hive: DevicePath::new(hive.as_os_str().as_bytes()), ids })
    }

    fn back(&self, hive: Option<&Path>, ids: &[&str]) -> Result<Vec<Step>> {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        self.steps(&Wish::UndoValues { hive: hive.map(|h| DevicePath::new(h.as_os_str().as_bytes())), ids })
    }

    fn done(&self, steps: Result<Vec<Step>>) -> Outcome {
        let outcome = self.apply(steps.unwrap());
        assert_eq!((&outcome.end, outcome.verified), (&End::Done, Verified::Yes), "{outcome:?}");
        outcome
    }
}

/// Every value as `path\name`, its kind and data, sorted.
fn values(path: &Path) -> Vec<String> {
    let bytes: Arc<dyn Source> = Arc::new(std::fs::read(path).unwrap());
    let hive = Hive::open("the hive", bytes, Vec::new(), &Job::default()).unwrap().hive;
    let mut all = Vec::new();
    hive.walk(hive.root(), &Job::default(), &mut |at, key| {
        all.extend(hive.values(key).map(|v| {
            let data = hive.data(&v, usize::MAX);
            format!("{}\\{} {} {}", at.join("\\"), v.name, v.kind, crate::model::hex(&data.bytes))
        }));
        Ok(())
    })
    .unwrap();
    assert!(hive.damage().is_none(), "{:?}", hive.damage().words());
    all.sort();
    all
}

fn without(all: &[String], names: &[&str]) -> Vec<String> {
    all.iter().filter(|v| !names.iter().any(|n| v.starts_with(&format!("{n} ")))).cloned().collect()
}

fn code(result: Result<Vec<Step>>) -> ErrorCode {
    result.unwrap_err().code
}

#[test]
fn a_value_goes_and_the_hive_comes_back_byte_for_byte() {
    let case = case();
    let path = case.hive(&software());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)).unwrap();
    let has_xattr = rustix::fs::fsetxattr(&file, "user.origin", b"case 7", rustix::fs::XattrFlags::empty()).is_ok();
    let (bytes, before, stat) = (std::fs::read(&path).unwrap(), values(&path), std::fs::metadata(&path).unwrap());

    let id = format!(r"HKLM\SOFTWARE\{RUN}\EVIL");
    let steps = case.cut(&path, &[&id]).unwrap();
    let [Step::CutValue { hive, value, part_of }] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(hive.sha256, Sha256::of(&bytes));
    assert_eq!((value.path().as_str(), part_of.id.as_str()), (&*format!(r"{RUN}\evil"), &*format!(r"{RUN}\evil")));
    assert_eq!((value.kind.as_str(), value.data.as_deref()), ("REG_SZ", Some("c:\\evil.exe -hidden")));
    assert!(std::fs::read(&path).unwrap() == bytes, "a plan changes nothing");

    let gone = case.done(Ok(steps));
    assert_eq!(values(&path), without(&before, &[&format!(r"{RUN}\evil")]));
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (stat.mode(), stat.uid(), stat.gid()));
    assert!(after.mtime() > stat.mtime(), "a changed hive does not say that it is an old one");
    let listed = case.settings.quarantine.rows(&RemediatedQuery { kind: Some(Registry) }, &case.job).unwrap();
    let row = &listed[0];
    assert_eq!(
        (row.r#type.as_str(), row.outcome.as_str(), row.id.raw()),
        ("registry", "cut", &*format!(r"{RUN}\evil"))
    );
    assert_eq!(row.path.as_ref().map(|p| p.to_text().into_owned()), Some(spoken(&path)));
    assert_eq!(row.sha256, Some(Sha256::of(&bytes)), "the whole hive is kept");
    assert!(row.note.as_ref().unwrap().raw().contains("evil.exe"));

    let undo_id = gone.rows[0].undo_id.clone().unwrap();
    let steps = case.back(None, &[undo_id.as_str()]);
    assert!(matches!(steps.as_deref(), Ok([Step::PutValue { whole: true, .. }])), "{steps:?}");
    case.done(steps);
    assert!(std::fs::read(&path).unwrap() == bytes, "byte for byte");
    let back = std::fs::metadata(&path).unwrap();
    assert_eq!((back.mode(), back.mtime()), (stat.mode(), stat.mtime()));
    if has_xattr {
        let mut value = Vec::with_capacity(16);
        rustix::fs::getxattr(&path, "user.origin", rustix::buffer::spare_capacity(&mut value)).unwrap();
        assert_eq!(value, b"case 7");
    }
    assert_eq!(std::fs::read_dir(&*case.dir).unwrap().count(), 1, "nothing stays beside");
    assert_eq!(code(case.back(Some(&path), &[&id])), ErrorCode::NotFound, "it was brought back");
}

#[test]
fn fifty_values_go_in_one_plan_and_come_back_in_one() {
    let case = case();
    let path = case.hive(&software());
    let (bytes, before) = (std::fs::read(&path).unwrap(), values(&path));
    let ids: Vec<String> = (0..49).map(|n| format!(r"Numbers\n{}", n + 5)).chain([r"Numbers\big".into()]).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let outcome = case.done(case.cut(&path, &ids));
    assert_eq!(outcome.rows.len(), 50);
    assert_eq!(values(&path), without(&before, &ids));
    case.done(case.back(Some(&path), &ids));
    assert!(std::fs::read(&path).unwrap() == bytes, "byte for byte");
}

#[test]
fn one_of_several_comes_back_alone_and_into_a_hive_that_changed() {
    let case = case();
    let path = case.hive(&software());
    let before = values(&path);
    let (evil, also, big) = (format!(r"{RUN}\evil"), format!(r"{RUN}\also"), r"Numbers\big".to_owned());
    case.done(case.cut(&path, &[&evil, &big, &also]));
    let steps = case.back(Some(&path), &[&evil]);
    assert!(matches!(steps.as_deref(), Ok([Step::PutValue { whole: false, .. }])), "{steps:?}");
    case.done(steps);
    assert_eq!(values(&path), without(&before, &[&big, &also]));
    // The rest goes into what is another hive by now.
    let steps = case.back(Some(&path), &[&also, &big]);
    case.done(steps);
    assert_eq!(values(&path), before);
    case.done(case.cut(&path, &[&big]));
    assert_eq!(values(&path), without(&before, &[&big]), "and it is still a sound hive");
}

#[test]
fn what_does_not_fit_any_more_is_drift() {
    let case = case();
    let path = case.hive(&software());
    let evil = format!(r"{RUN}\evil");
    case.done(case.cut(&path, &[&evil]));
    let mut other = software();
    other.at(RUN).values.remove(1);
    let plan = case.back(Some(&path), &[&evil]).unwrap();
    case.hive(&other);
    let outcome = case.apply(plan);
    assert!(matches!(outcome.end, End::Drift { .. }), "{outcome:?}");
    assert_eq!(code(case.back(Some(&path), &[r"Software\none"])), ErrorCode::NotFound);
    case.hive(&key("ROOT").dword("x", 1));
    assert_eq!(code(case.back(Some(&path), &[&evil])), ErrorCode::EntityDrift);
    case.hive(&software());
    assert_eq!(code(case.back(Some(&path), &[&evil])), ErrorCode::Exists);
    std::fs::remove_file(&path).unwrap();
    assert!(case.back(Some(&path), &[&evil]).is_err());
    // The same value goes in again where it still has a place.
    case.hive(&other);
    case.done(case.back(Some(&path), &[&evil]));
    assert!(values(&path).iter().any(|v| v.starts_with(&format!("{evil} "))));
}

#[test]
fn the_hive_that_was_approved_is_the_one_that_is_changed() {
    type Swap = (&'static str, fn(&Path));
    let swaps: [Swap; 6] = [
        ("other content", |path| {
            let mut bytes = std::fs::read(path).unwrap();
            let at = bytes.len() - 1;
            bytes[at] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
        ("a twin", |path| {
            std::fs::copy(path, path.with_extension("twin")).unwrap();
            std::fs::rename(path.with_extension("twin"), path).unwrap();
        }),
        ("a link", |path| {
            std::fs::rename(path, path.with_extension("real")).unwrap();
            std::os::unix::fs::symlink("SOFTWARE.real", path).unwrap();
        }),
        ("a FIFO", |path| {
            std::fs::remove_file(path).unwrap();
            let mode = rustix::fs::Mode::RUSR;
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }),
        ("longer", |path| {
            use std::io::Write;
            std::fs::File::options().append(true).open(path).unwrap().write_all(&[0; 512]).unwrap();
        }),
        ("nothing", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (what, swap) in swaps {
        let case = case();
        let path = case.hive(&software());
        let plan = case.cut(&path, &[&format!(r"{RUN}\evil")]).unwrap();
        swap(&path);
        let is_file = std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_file());
        let before = is_file.then(|| std::fs::read(&path).unwrap());
        let outcome = case.apply(plan);
        assert!(matches!(outcome.end, End::Drift { step: 0, .. }), "{what}: {outcome:?}");
        assert!(!is_file || Some(std::fs::read(&path).unwrap()) == before, "{what}");
        let rows = case.settings.quarantine.rows(&RemediatedQuery::default(), &case.job).unwrap();
        assert!(rows.is_empty(), "{what}");
    }
}

#[test]
fn a_step_that_names_another_value_is_drift() {
    let case = case();
    let path = case.hive(&software());
    let bytes = std::fs::read(&path).unwrap();
    let steps = case.cut(&path, &[&format!(r"{RUN}\evil")]).unwrap();
    let [Step::CutValue { hive, value, part_of }] = steps.as_slice() else { panic!("{steps:?}") };
    let others = [
        crate::model::ValueTarget { sha256: Sha256::of(b"x"), ..value.clone() },
        crate::model::ValueTarget { kind: "REG_BINARY".into(), ..value.clone() },
        crate::model::ValueTarget { name: "EVIL".into(), ..value.clone() },
        crate::model::ValueTarget { key: vec!["Paths".into()], ..value.clone() },
    ];
    for other in others {
        let step = Step::CutValue { hive: hive.clone(), value: other, part_of: part_of.clone() };
        let outcome = case.apply(vec![step]);
        assert!(matches!(outcome.end, End::Drift { .. }), "{outcome:?}");
        assert!(std::fs::read(&path).unwrap() == bytes);
    }
}

#[test]
fn an_id_means_one_value_or_nothing() {
    let case = case();
    let path = case.hive(&software());
    for (id, wanted) in [
        (format!(r"{RUN}\evil"), format!(r"{RUN}\evil")),
        (format!(r"HKLM\\SOFTWARE\\{}\\evil", RUN.replace('\\', r"\\")), format!(r"{RUN}\evil")),
        (
            r#""HKEY_LOCAL_MACHINE\SOFTWARE\Paths\C:\Program Files\x.dll""#.into(),
            r"Paths\C:\Program Files\x.dll".into(),
        ),
        (r"Paths\c:\temp\".into(), r"Paths\C:\Temp\".into()),
        (r"Default\".into(), r"Default\".into()),
    ] {
        let steps = case.cut(&path, &[&id]).unwrap();
        let [Step::CutValue { value, .. }] = steps.as_slice() else { panic!("{id}: {steps:?}") };
        assert_eq!(value.path(), wanted, "{id}");
    }
    for id in ["", r"\", "Default", RUN, r"Nothing\here", &format!(r"{RUN}\evi"), r"Paths\"] {
        let error = case.cut(&path, &[id]).unwrap_err();
        assert!(error.code == ErrorCode::NotFound && error.hint.is_some(), "{id:?}: {error:?}");
    }
    let evil = format!(r"{RUN}\evil");
    assert_eq!(code(case.cut(&path, &[&evil, &evil.to_lowercase()])), ErrorCode::AmbiguousArgs);
    assert_eq!(code(case.cut(&path, &[])), ErrorCode::BadArgs);
    assert_eq!(code(case.cut(&path, &vec![evil.as_str(); 51])), ErrorCode::BadArgs);
}

#[test]
fn names_that_are_there_twice_or_read_as_two_are_ambiguous() {
    let case = case();
    let mut root = key("ROOT").sz(r"a\b", "of the root");
    root.put("a", "b", "of the key");
    root.put("a", "only", "here");
    let path = case.hive(&root);
    assert_eq!(code(case.cut(&path, &[r"a\b"])), ErrorCode::AmbiguousArgs);
    assert!(case.cut(&path, &[r"a\only"]).is_ok());
    let twice = [key("ROOT").dword("x", 1).dword("X", 2), key("ROOT").with(key("k").dword("x", 1)).with(key("K"))];
    for (root, id) in twice.into_iter().zip(["x", r"k\x"]) {
        let path = case.hive(&root);
        let steps = case.cut(&path, &[id]);
        match id {
            "x" => assert_eq!(code(steps), ErrorCode::AmbiguousArgs),
            // Only one of the two keys has such a value, so there is no doubt.
            _ => assert_eq!(case.apply(steps.unwrap()).end, End::Done),
        }
    }
    let many = (0..200).fold(key("ROOT"), |root, _| root.with(key("same").dword("x", 1)));
    assert_eq!(code(case.cut(&case.hive(&many), &[r"same\x"])), ErrorCode::AmbiguousArgs);
}

#[test]
fn names_that_hide_are_named_as_they_are_shown() {
    let case = case();
    for name in ["evil ", "e\0vil", "\u{202e}live", "ünïcode ж", r"\\server\share"] {
        let root = key("ROOT").with(key("Run").sz(name, "x").sz("good", "y"));
        let path = case.hive(&root);
        let id = format!(r"Run\{}", crate::shape::clean(name));
        let steps = case.cut(&path, &[&id]).unwrap();
        let [Step::CutValue { value, .. }] = steps.as_slice() else { panic!("{id}: {steps:?}") };
        assert_eq!(value.name, name);
        case.done(Ok(steps));
        assert!(values(&path).iter().all(|v| v.contains("good")), "{name:?}");
    }
}

#[test]
fn only_a_sound_copy_is_changed() {
    let case = case();
    let good = build::hive(&software());
    let evil = format!(r"{RUN}\evil");
    let check = |bytes: &[u8], wanted: ErrorCode, what: &str| {
        let path = case.hive_of(bytes);
        let error = case.cut(&path, &[&evil]).unwrap_err();
        assert_eq!(error.code, wanted, "{what}: {error:?}");
        assert!(std::fs::read(&path).unwrap() == bytes, "{what}");
    };
    let mut dirty = good.clone();
    build::dirty(&mut dirty, (9, 8));
    check(&dirty, ErrorCode::Uninspectable, "being written");
    check(&good[..good.len() - 4096], ErrorCode::Uninspectable, "cut");
    check(&good[..5000], ErrorCode::Uninspectable, "cut in its first bin");
    check(b"MZ", ErrorCode::BadArgs, "no hive");
    check(b"", ErrorCode::BadArgs, "empty");
    for words in
        [&[(36, 0x7fff_ffff_u32)][..], &[(36, 1), (40, 0x7fff_fff8)], &[(36, 1), (40, 32)], &[(20, 0x7fff_ffff)]]
    {
        let mut bytes = good.clone();
        for (at, word) in words {
            let at = 4096 + 32 + 4 + at;
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        check(&bytes, ErrorCode::Uninspectable, &format!("{words:?}"));
    }
    // A value that says it has 2 GiB.
    let mut bytes = good.clone();
    let at = bytes.windows(2).position(|w| w == b"vk").unwrap();
    bytes[at + 4..at + 8].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    check(&bytes, ErrorCode::Uninspectable, "2 GiB of data");
}

#[test]
fn a_file_that_is_no_copy_is_refused() {
    let case = case();
    let bytes = build::hive(&software());
    let path = case.hive_of(&bytes);
    let evil = format!(r"{RUN}\evil");
    let of = |path: &Path| code(case.cut(path, &[&evil]));

    let link = case.dir.join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(of(&link), ErrorCode::Uninspectable, "a symlink");
    let fifo = case.dir.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert_eq!(of(&fifo), ErrorCode::Uninspectable, "a FIFO");
    assert_eq!(of(&case.dir), ErrorCode::BadArgs, "a folder");
    assert_eq!(of(&case.dir.join("none")), ErrorCode::NotFound);
    std::fs::write(case.home.join("SOFTWARE"), &bytes).unwrap();
    assert_eq!(of(&case.home.join("SOFTWARE")), ErrorCode::SelfTarget, "the guard's own");
    std::fs::hard_link(&path, case.dir.join("twin")).unwrap();
    assert_eq!(of(&path), ErrorCode::Uninspectable, "two names");
    std::fs::remove_file(case.dir.join("twin")).unwrap();
    assert!(case.cut(&path, &[&evil]).is_ok());

    let giant = case.dir.join("giant");
    std::fs::File::create(&giant).unwrap().set_len((512 << 20) + 1).unwrap();
    assert_eq!(of(&giant), ErrorCode::TooLarge);

    let config = case.dir.join("mnt/Windows/System32/config");
    std::fs::create_dir_all(&config).unwrap();
    for place in [config.join("SOFTWARE"), case.dir.join("mnt/NTUSER.DAT")] {
        std::fs::write(&place, &bytes).unwrap();
        assert_eq!(of(&place), ErrorCode::Protected, "{}", place.display());
    }
}

#[test]
fn a_log_that_would_come_over_it_is_a_refusal() {
    let case = case();
    let bytes = build::hive(&software());
    let path = case.hive_of(&bytes);
    let evil = format!(r"{RUN}\evil");
    for (sequence, is_refused) in [(1, true), (2, true), (7, true), (0, false)] {
        std::fs::write(case.dir.join("SOFTWARE.LOG1"), build::new_log(&[(sequence, &bytes)])).unwrap();
        let error = case.cut(&path, &[&evil]).err();
        assert_eq!(
            error.as_ref().is_some_and(|e| e.code == ErrorCode::Uninspectable),
            is_refused,
            "{sequence}: {error:?}"
        );
    }
    std::fs::write(case.dir.join("SOFTWARE.LOG1"), b"").unwrap();
    assert!(case.cut(&path, &[&evil]).is_ok(), "an empty log holds nothing");
}

#[test]
fn data_of_a_secret_hive_stands_in_no_plan() {
    let case = case();
    let mut root = key("ROOT");
    root.put(r"SAM\Domains\Account\Users", "V", "a hash");
    let path = case.hive(&root);
    let steps = case.cut(&path, &[r"SAM\Domains\Account\Users\V"]).unwrap();
    assert!(!serde_json::to_string(&steps).unwrap().contains("a hash"));
    let outcome = case.done(Ok(steps));
    assert!(!format!("{outcome:?}").contains("a hash"));
}

#[test]
fn long_data_is_cut_on_the_screen_and_not_in_the_hive() {
    let case = case();
    let path = case.hive(&key("ROOT").sz("long", &"é".repeat(5_000)).dword("x", 1));
    let steps = case.cut(&path, &["long"]).unwrap();
    let [Step::CutValue { value, .. }] = steps.as_slice() else { panic!("{steps:?}") };
    assert!(value.data.as_ref().unwrap().ends_with("… (cut)") && value.size_bytes == 10_002);
    let bytes = std::fs::read(&path).unwrap();
    case.done(Ok(steps));
    case.done(case.back(Some(&path), &["long"]));
    assert!(std::fs::read(&path).unwrap() == bytes);
}

#[test]
fn a_hive_that_this_account_may_not_write_is_refused() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root may write every file");
        return;
    }
    let case = case();
    let path = case.hive(&software());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o444)).unwrap();
    assert_eq!(code(case.cut(&path, &[&format!(r"{RUN}\evil")])), ErrorCode::Access);
}

#[test]
fn an_undo_names_its_own_hive() {
    let case = case();
    let path = case.hive(&software());
    let evil = format!(r"{RUN}\evil");
    let outcome = case.done(case.cut(&path, &[&evil]));
    let other = case.dir.join("OTHER");
    std::fs::copy(&path, &other).unwrap();
    let id = outcome.rows[0].undo_id.clone().unwrap();
    assert_eq!(code(case.back(Some(&other), &[id.as_str()])), ErrorCode::BadArgs);
    assert_eq!(code(case.back(Some(&other), &[&evil])), ErrorCode::NotFound);
    assert_eq!(code(case.back(None, &[&evil])), ErrorCode::BadArgs);
    assert_eq!(code(case.back(Some(&path), &[&evil, id.as_str()])), ErrorCode::AmbiguousArgs);
    assert_eq!(code(case.undo(EntityKind::File, id.as_str())), ErrorCode::Exists);
}
