//! A value goes and comes back, and hivex sees that nothing else changed; what is not sound is not touched.

use super::*;
use crate::model::Timestamp;

/// After a change: 2026-02-03 04:05:06 UTC.
const NOW: i64 = 1_770_091_506;

fn now() -> Timestamp {
    Timestamp::from_unix(NOW, 0)
}

fn only(bytes: &[u8]) -> Hive {
    open(bytes.to_vec(), vec![]).unwrap().hive
}

fn at(hive: &Hive, path: &str) -> Key {
    let names = path.split('\\').filter(|name| !name.is_empty());
    hive.find(hive.root(), names, &Job::default()).unwrap().unwrap()
}

fn written(hive: &Hive, bytes: &[u8], edit: Edit) -> Vec<u8> {
    let edited = hive.edited("the hive", Arc::new(bytes.to_vec()), edit).unwrap();
    let mut out = Vec::new();
    let (size, sha256) = edited.write_to(&mut out, &Job::default()).unwrap();
    assert_eq!((size, sha256), (out.len() as u64, crate::model::Sha256::of(&out)));
    only(&out).check_sound(&Job::default()).unwrap();
    out
}

fn cut(bytes: &[u8], path: &str, name: &str) -> Vec<u8> {
    let hive = only(bytes);
    hive.check_sound(&Job::default()).unwrap();
    let key = at(&hive, path);
    let edit = hive.without(&key, &hive.value(&key, name).unwrap(), now()).unwrap();
    written(&hive, bytes, edit)
}

fn put(bytes: &[u8], before: &[u8], path: &str, name: &str) -> Vec<u8> {
    let (hive, kept) = (only(bytes), only(before));
    let value = kept.value(&at(&kept, path), name).unwrap();
    let edit = hive.with(&at(&hive, path), &kept, &value, now()).unwrap();
    written(&hive, bytes, edit)
}

fn theirs(bytes: &[u8]) -> Vec<String> {
    let file = std::env::temp_dir().join(format!("lr-hive-{}", crate::model::random_hex::<8>()));
    std::fs::write(&file, bytes).unwrap();
    let said = oracle(&file);
    std::fs::remove_file(&file).unwrap();
    said.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

fn ours(bytes: &[u8]) -> Vec<String> {
    dump(&only(bytes)).into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// The lines of a dump without a value, and with the new time of its key.
fn without(lines: &[String], path: &str, name: &str) -> Vec<String> {
    let hex = |text: &str| crate::model::hex(text.as_bytes());
    let path = hex(&path.split('\\').filter(|n| !n.is_empty()).map(|n| format!("\\{n}")).collect::<String>());
    let (value, key) = (format!("V {path} {} ", hex(name)), format!("K {path} "));
    let ticks = NOW * 10_000_000 + 116_444_736_000_000_000;
    let mut left: Vec<String> = lines
        .iter()
        .filter(|line| !line.starts_with(&value))
        .map(|line| if line.starts_with(&key) { format!("{key}{ticks}") } else { line.clone() })
        .collect();
    left.sort();
    left
}

/// Takes a value out and puts it back, by our reader and, where it is there, by hivex.
fn there_and_back(bytes: &[u8], path: &str, name: &str) {
    let before = ours(bytes);
    let gone = cut(bytes, path, name);
    let left = without(&before, path, name);
    assert_eq!(left.len() + 1, before.len(), "{path}\\{name}: one value of that name");
    assert!(ours(&gone) == left, "{path}\\{name}");
    assert_eq!(gone.len(), bytes.len());
    let back = put(&gone, bytes, path, name);
    let retimed: Vec<String> = {
        let value = before.iter().find(|line| !left.contains(line) && line.starts_with('V')).unwrap();
        let mut all = [left.clone(), vec![value.clone()]].concat();
        all.sort();
        all
    };
    assert!(ours(&back) == retimed, "{path}\\{name} is back");
    if tools::python("hivex") {
        assert!(theirs(&gone) == left, "hivex: {path}\\{name}");
        assert!(theirs(&back) == retimed, "hivex: {path}\\{name} is back");
    }
}

fn every_kind() -> Vec<u8> {
    let mut root = key("ROOT").sz("", "default").multi("m", &["a", "b"]).dword("d", 7).value("none", 0, vec![]);
    root = root.value("big", 3, (0..40_000u32).map(|n| u8::try_from(n % 251).unwrap()).collect());
    root.put(r"Software\Run", "evil", "c:\\evil.exe");
    root.put(r"Software\Run", "ünïcode ж", "x");
    root.put("one", "single", "the only value");
    build::hive(&root)
}

#[test]
fn every_kind_of_value_goes_and_comes_back() {
    let bytes = every_kind();
    for name in ["", "m", "d", "none", "big"] {
        there_and_back(&bytes, "", name);
    }
    for (path, name) in [(r"Software\Run", "evil"), (r"Software\Run", "ünïcode ж"), ("one", "single")] {
        there_and_back(&bytes, path, name);
    }
}

#[test]
fn all_values_go_one_by_one_and_come_back() {
    let bytes = every_kind();
    let names = ["", "m", "d", "none", "big"];
    let mut left = bytes.clone();
    for name in names {
        left = cut(&left, "", name);
    }
    assert_eq!(only(&left).root().values, 0);
    for name in names {
        left = put(&left, &bytes, "", name);
    }
    let values = |bytes: &[u8]| ours(bytes).into_iter().filter(|line| line.starts_with('V')).collect::<Vec<_>>();
    assert_eq!(values(&left), values(&bytes));
}

#[test]
fn hives_of_windows_are_changed_as_hivex_reads_them() {
    for (name, path, value) in [
        ("hives/BigDataHive", "key_with_bigdata", None),
        ("hives/MultiSzHive", "key", Some("2")),
        ("hives/UnicodeHive", "", None),
        ("hives/ExtendedASCIIHive", "", None),
    ] {
        let Some(bytes) = tools::unpacked(&format!("{name}.xz")) else { return };
        let hive = only(&bytes);
        let mut all = Vec::new();
        hive.walk(hive.root(), &Job::default(), &mut |at, key| {
            all.extend(hive.values(key).map(|v| (at.join("\\"), v.name.to_string())));
            Ok(())
        })
        .unwrap();
        let wanted = |p: &str, v: &str| value.is_none_or(|value| path == p && value == v);
        let picked: Vec<_> = all.into_iter().filter(|(p, v)| wanted(p, v)).take(4).collect();
        assert!(value.is_none() || picked.len() == 1, "{name}");
        for (path, value) in picked {
            there_and_back(&bytes, &path, &value);
        }
    }
}

#[test]
fn a_whole_system_hive_is_changed_as_hivex_reads_it() {
    let Some(path) = tools::corpus("hives/SYSTEM") else { return };
    let bytes = std::fs::read(path).unwrap();
    there_and_back(&bytes, r"ControlSet001\Control\Session Manager", "BootExecute");
}

#[test]
fn hives_that_windows_wrote_are_sound_and_those_that_were_broken_are_not() {
    for (name, is_sound) in [
        ("BigDataHive", true),
        ("CompHive", true),
        ("DeletedDataHive", true),
        ("EmptyHive", true),
        ("MultiSzHive", true),
        ("RemnantsHive", true),
        ("StringValuesHive", true),
        ("UnicodeHive", true),
        ("BadListHive", false),
        ("TruncatedHive", false),
        ("TruncatedNameHive", false),
    ] {
        let Some(bytes) = data(name) else { return };
        let Ok(opened) = open(bytes, vec![]) else { continue };
        let checked = opened.hive.check_sound(&Job::default());
        assert_eq!(checked.is_ok(), is_sound, "{name}: {checked:?}");
    }
}

#[test]
fn the_base_block_counts_on() {
    let bytes = every_kind();
    let gone = cut(&bytes, "one", "single");
    assert_eq!((&gone[4..8], &gone[8..12]), (&[2, 0, 0, 0][..], &[2, 0, 0, 0][..]));
    assert_ne!(gone[12..20], bytes[12..20]);
    let hive = only(&gone);
    assert_eq!((at(&hive, "one").values, at(&hive, "one").value_list), (0, super::super::cell::NONE));
}

fn unsound(bytes: &[u8]) -> String {
    let error = only(bytes).check_sound(&Job::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Uninspectable, "{error:?}");
    error.message
}

#[test]
fn a_cell_with_two_owners_is_not_freed() {
    let mut bytes = every_kind();
    let (run, one) = (cell(&bytes, r"Software\Run"), cell(&bytes, "one"));
    // Both keys have one list of values: to free its cells would take them from the other.
    let lists = bytes[one + 4 + 36..one + 4 + 44].to_vec();
    bytes[run + 4 + 36..run + 4 + 44].copy_from_slice(&lists);
    assert!(unsound(&bytes).contains("two owners"));
}

#[test]
fn a_value_whose_data_is_another_key_is_not_freed() {
    let mut bytes = every_kind();
    let hive = only(&bytes);
    let value = hive.value(&at(&hive, "one"), "single").unwrap();
    let vk = 4096 + usize::try_from(value.offset).unwrap();
    let target = u32::try_from(cell(&bytes, "Software") - 4096).unwrap();
    bytes[vk + 4 + 8..vk + 4 + 12].copy_from_slice(&target.to_le_bytes());
    bytes[vk + 4 + 4] = 8;
    assert!(unsound(&bytes).contains("two owners"));
}

#[test]
fn what_is_not_clean_or_not_whole_is_refused() {
    type Break = (&'static str, fn(&mut Vec<u8>));
    let breaks: [Break; 6] = [
        ("checksum", |b| b[200] ^= 1),
        ("being written", |b| build::dirty(b, (8, 7))),
        ("last there is", |b| build::dirty(b, (u32::MAX, u32::MAX))),
        ("do not end", |b| b.truncate(b.len() - 4096)),
        ("a bin that is none", |b| b[4096] = 0),
        ("does not fit its bin", |b| {
            let root = 4096 + 32;
            b[root..root + 4].copy_from_slice(&i32::MIN.to_le_bytes());
        }),
    ];
    for (what, damage) in breaks {
        let mut bytes = every_kind();
        damage(&mut bytes);
        let Ok(opened) = open(bytes, vec![]) else { continue };
        let error = opened.hive.check_sound(&Job::default()).unwrap_err();
        assert!(error.code == ErrorCode::Uninspectable && error.message.contains(what), "{what}: {error:?}");
    }
}

#[test]
fn a_log_that_would_be_applied_next_is_told() {
    let bytes = every_kind();
    for (sequences, is_ahead) in [(vec![5, 6], true), (vec![2], true), (vec![0], false)] {
        let entries: Vec<_> = sequences.iter().map(|n| (*n, bytes.as_slice())).collect();
        let opened = open(bytes.clone(), vec![("LOG1", build::new_log(&entries))]).unwrap();
        assert_eq!(opened.ahead.is_some(), is_ahead, "{sequences:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn flipped_bytes_are_refused_or_change_nothing_else(flips in proptest::collection::vec((32usize..8_000, any::<u8>()), 1..6)) {
        let mut bytes = every_kind();
        for (at, to) in flips {
            bytes[4096 + at] = to;
        }
        let Ok(opened) = open(bytes.clone(), vec![]) else { return Ok(()) };
        let hive = opened.hive;
        if hive.check_sound(&Job::default()).is_ok()
            && let Some(key) = hive.find(hive.root(), ["one"], &Job::default()).unwrap()
            && let Some(value) = hive.values(&key).next()
            && let Ok(edit) = hive.without(&key, &value, now())
        {
            let (before, gone) = (ours(&bytes), ours(&written(&hive, &bytes, edit)));
            prop_assert_eq!(gone.len() + 1, before.len());
            let lost = before.iter().filter(|line| line.starts_with('V') && !gone.contains(line)).count();
            prop_assert!(lost <= 1);
        }
    }
}
