//! Hives as Windows wrote them, as others damaged them, and as nobody should write them.

use super::build::{self, key, text16};
use super::*;
use crate::error::{ErrorCode, Result};
use crate::model::Job;
use crate::tools;
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

mod edit;

fn open(bytes: Vec<u8>, logs: Vec<(&str, Vec<u8>)>) -> Result<Opened> {
    let logs = logs.into_iter().map(|(name, log)| (name.to_owned(), Arc::new(log) as Arc<dyn Source>)).collect();
    Hive::open("the hive", Arc::new(bytes), logs, &Job::default())
}

/// Every key and value in the words of the oracle below, sorted.
fn dump(hive: &Hive) -> Vec<String> {
    let hex = |text: &str| crate::model::hex(text.as_bytes());
    let mut lines = Vec::new();
    let look = &mut |path: &[String], key: &Key| {
        let path = hex(&path.iter().map(|name| format!("\\{name}")).collect::<String>());
        let ticks = key.modified.map_or(0, |t| t.as_nanos() / 100 + 116_444_736_000_000_000);
        lines.push(format!("K {path} {ticks}"));
        for value in hive.values(key) {
            let data = hive.data(&value, usize::MAX);
            let (name, data) = (hex(value.name.as_str()), crate::model::hex(&data.bytes));
            lines.push(format!("V {path} {name} {} {data}", value.kind));
        }
        Ok(())
    };
    hive.walk(hive.root(), &Job::default(), look).unwrap();
    lines.sort();
    lines
}

fn data(name: &str) -> Option<Vec<u8>> {
    tools::unpacked(&format!("hives/{name}.xz"))
}

/// What Debian's hivex reads of a hive, in the same words.
const ORACLE: &str = r#"
import sys, hivex
sys.setrecursionlimit(10000)
text = lambda s: s.encode("utf-8").hex()
h = hivex.Hivex(sys.argv[1])
def walk(node, path):
    print("K", text(path), h.node_timestamp(node))
    for v in h.node_values(node):
        kind, data = h.value_value(v)
        print("V", text(path), text(h.value_key(v)), kind & 0xffffffff, data.hex())
    for c in h.node_children(node):
        walk(c, path + "\\" + h.node_name(c))
walk(h.root(), "")
"#;

fn oracle(file: &Path) -> Vec<String> {
    let said = std::process::Command::new("/usr/bin/python3").args(["-c", ORACLE]).arg(file).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let mut lines: Vec<String> =
        String::from_utf8(said.stdout).unwrap().lines().map(|l| l.trim_end().to_owned()).collect();
    lines.sort();
    lines
}

fn equal(ours: Vec<String>, theirs: Vec<String>, name: &str) {
    let [ours, theirs] = [ours, theirs].map(|all| all.iter().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>());
    let first = ours.iter().zip(&theirs).find(|(a, b)| a != b);
    assert!(ours == theirs, "{name}: {} lines, the oracle has {}; first {first:?}", ours.len(), theirs.len());
}

#[test]
fn hives_are_read_as_hivex_reads_them() {
    if !tools::python("hivex") {
        return;
    }
    for name in [
        "BigDataHive",
        "CompHive",
        "DeletedDataHive",
        "DupNameHive",
        "EmptyHive",
        "ExtendedASCIIHive",
        "InvalidParentHive",
        "MultiSzHive",
        "RemnantsHive",
        "StringValuesHive",
        "TwoOwnersHive",
        "UnicodeHive",
        "WrongOrderHive",
    ] {
        let Some(bytes) = data(name) else { return };
        let file = std::env::temp_dir().join(format!("lr-hive-{}", crate::model::random_hex::<8>()));
        std::fs::write(&file, &bytes).unwrap();
        let theirs = oracle(&file);
        std::fs::remove_file(&file).unwrap();
        equal(dump(&open(bytes, vec![]).unwrap().hive), theirs, name);
    }
}

#[test]
fn a_list_of_two_keys_is_walked_once_and_listed_for_both() {
    let Some(bytes) = data("BadListHive") else { return };
    let hive = open(bytes, vec![]).unwrap().hive;
    assert_eq!(dump(&hive).len(), 6);
    assert!(hive.damage().words().unwrap().contains("in two places"));
    for path in [["2", "subkey"], ["3", "subkey"]] {
        assert!(hive.find(hive.root(), path, &Job::default()).unwrap().is_some(), "{path:?}");
    }
}

#[test]
fn a_hive_of_every_kind_of_list_is_read_as_hivex_reads_it() {
    let Some(path) = tools::corpus("hives/testhive") else { return };
    let opened = open(std::fs::read(&path).unwrap(), vec![]).unwrap();
    let lines = dump(&opened.hive);
    assert_eq!(opened.hive.damage().words(), None);
    assert_eq!(lines.iter().filter(|l| l.starts_with('K')).count(), 528);
    if tools::python("hivex") {
        equal(lines, oracle(&path), "testhive");
    }
}

#[test]
fn a_whole_system_hive_is_read_as_hivex_reads_it() {
    let Some(path) = tools::corpus("hives/SYSTEM") else { return };
    let opened = Hive::open("SYSTEM", Arc::new(std::fs::File::open(&path).unwrap()), vec![], &Job::default()).unwrap();
    let lines = dump(&opened.hive);
    assert!(opened.hive.damage().is_none(), "{:?}", opened.hive.damage().words());
    let count = |kind| lines.iter().filter(|l| l.starts_with(kind)).count();
    assert_eq!((count("K"), count("V")), (33_317, 74_454));
    if tools::python("hivex") {
        equal(lines, oracle(&path), "SYSTEM");
    }
}

#[test]
fn a_recovered_hive_is_what_windows_made_of_it() {
    for (folder, name, recovered, logs) in [
        ("NewDirtyHive1", "NewDirtyHive", "RecoveredHive_Windows10", &["LOG1", "LOG2"][..]),
        ("OldDirtyHive", "OldDirtyHive", "RecoveredHive_Windows7", &["LOG1"]),
    ] {
        let Some(bytes) = data(&format!("{folder}/{name}")) else { return };
        let with: Vec<_> = logs.iter().map(|log| (*log, data(&format!("{folder}/{name}.{log}")).unwrap())).collect();
        let opened = open(bytes, with).unwrap();
        let theirs = open(data(&format!("{folder}/{recovered}")).unwrap(), vec![]).unwrap();
        equal(dump(&opened.hive), dump(&theirs.hive), name);
        assert_ne!(dump(&opened.as_is.unwrap()), dump(&theirs.hive), "{name} as it is");
        assert!(opened.notes.iter().all(|note| note.contains("were applied")), "{:?}", opened.notes);
    }
}

#[test]
fn a_lost_base_block_is_taken_from_the_log() {
    let (Some(hive), Some(log)) =
        (data("BadBaseBlockHive/BadBaseBlockHive"), data("BadBaseBlockHive/BadBaseBlockHive.LOG1"))
    else {
        return;
    };
    let recovered = open(data("OldDirtyHive/RecoveredHive_Windows7").unwrap(), vec![]).unwrap();
    let opened = open(hive, vec![("LOG1", log)]).unwrap();
    equal(dump(&opened.hive), dump(&recovered.hive), "BadBaseBlockHive");
    assert!(opened.notes.iter().any(|note| note.contains("base block is damaged: the copy in LOG1")));
}

#[test]
fn an_invalid_log_leaves_the_hive_as_it_is_and_says_so() {
    let (Some(hive), Some(log)) = (data("BadLogHive1/BadLogHive"), data("BadLogHive1/BadLogHive.LOG1")) else { return };
    let opened = open(hive.clone(), vec![("LOG1", log)]).unwrap();
    assert_eq!(dump(&opened.hive), dump(&open(hive, vec![]).unwrap().hive));
    let said = opened.notes.join("; ");
    assert!(said.contains("LOG1 is no valid log") && said.contains("read as it is"), "{said}");
}

#[test]
fn damaged_hives_give_what_can_be_read_and_name_the_damage() {
    for (name, least, said) in [
        ("TruncatedHive", 2, "offsets that lead to no cell"),
        ("TruncatedNameHive", 2, "names that are longer than their cell"),
        ("GarbageHive", 1, ""),
    ] {
        let Some(bytes) = data(name) else { return };
        let opened = open(bytes, vec![]).unwrap();
        assert!(dump(&opened.hive).len() >= least, "{name}");
        let words = opened.hive.damage().words().unwrap_or_default() + &opened.notes.join("; ");
        assert!(words.contains(said), "{name}: {words}");
    }
}

fn sample() -> build::Node {
    let many = (0..1_200).fold(key("many"), |node, n| node.with(key(&format!("k{n}"))));
    key("ROOT")
        .sz("", "default")
        .dword("Start", 2)
        .multi("list", &["one", "two", "", "four"])
        .value("big", 3, (0..40_000u32).flat_map(u32::to_le_bytes).collect())
        .value("qword", 11, 5_000_000_000u64.to_le_bytes().to_vec())
        .value("be", 5, vec![0, 0, 1, 0])
        .value("odd", 4, vec![1, 2, 3])
        .value("none", 0, vec![])
        .value("strange", 0xffff_0012, vec![1])
        .value("hidden", 1, text16("shown\0behind"))
        .with(key("Schlüssel ж").sz("Wert", "x"))
        .with(many)
}

fn text(hive: &Hive, name: &str) -> (String, String) {
    let value = hive.value(hive.root(), name).unwrap();
    (kind_name(value.kind).into_owned(), hive.data(&value, usize::MAX).text(value.kind))
}

#[test]
fn every_type_has_its_text() {
    let hive = open(build::hive(&sample()), vec![]).unwrap().hive;
    for (name, kind, wanted) in [
        ("", "REG_SZ", "default"),
        ("START", "REG_DWORD", "2"),
        ("list", "REG_MULTI_SZ", "one\ntwo\n\nfour"),
        ("qword", "REG_QWORD", "5000000000"),
        ("be", "REG_DWORD_BIG_ENDIAN", "256"),
        ("odd", "REG_DWORD", "010203"),
        ("none", "REG_NONE", ""),
        ("strange", "REG_0xffff0012", "01"),
        ("hidden", "REG_SZ", "shown\0behind"),
    ] {
        assert_eq!(text(&hive, name), (kind.to_owned(), wanted.to_owned()), "{name:?}");
    }
    let big = hive.value(hive.root(), "big").unwrap();
    assert_eq!(hive.data(&big, usize::MAX).bytes, (0..40_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    assert_eq!(hive.data(&big, 20_000).bytes.len(), 20_000);
    assert!(!hive.data(&big, 20_000).whole);
    let many = hive.subkey(hive.root(), "MANY", &Job::default()).unwrap().unwrap();
    assert_eq!(hive.subkeys(&many, &Job::default()).unwrap().count(), 1_200);
    assert!(hive.find(hive.root(), ["SCHLÜSSEL Ж"], &Job::default()).unwrap().is_some());
    assert_eq!(hive.damage().words(), None);
}

/// A hive before and after a change that only a log has.
fn changed() -> (Vec<u8>, Vec<u8>) {
    let after = build::hive(&sample().with(key("evil").sz("ImagePath", "evil.sys")));
    let mut before = build::hive(&sample().with(key("fine").sz("ImagePath", "fine.sys")));
    assert_eq!(before.len(), after.len());
    build::dirty(&mut before, (8, 7));
    (before, after)
}

fn has(opened: &Opened, name: &str) -> bool {
    opened.hive.subkey(opened.hive.root(), name, &Job::default()).unwrap().is_some()
}

#[test]
fn both_kinds_of_log_are_applied() {
    let (before, after) = changed();
    for log in [build::new_log(&[(7, &after)]), build::old_log(8, &before, &after)] {
        let opened = open(before.clone(), vec![("LOG1", log)]).unwrap();
        assert!(has(&opened, "evil") && !has(&opened, "fine"), "{:?}", opened.notes);
        assert!(opened.as_is.is_some());
    }
}

#[test]
fn a_stale_second_log_is_not_applied() {
    let (before, after) = changed();
    let mut stale = key("ROOT");
    stale.put("stale", "x", "y");
    let mut stale = build::hive(&stale);
    stale.resize(before.len(), 0);
    for order in [[0, 1], [1, 0]] {
        let logs = [("LOG1", build::new_log(&[(7, &after)])), ("LOG2", build::new_log(&[(5, &stale), (6, &stale)]))];
        let opened = open(before.clone(), order.map(|n| logs[n].clone()).to_vec()).unwrap();
        assert!(has(&opened, "evil") && !has(&opened, "stale"), "{:?}", opened.notes);
        assert!(opened.notes.iter().any(|n| n.contains("LOG2 is older than the hive")), "{:?}", opened.notes);
    }
}

#[test]
fn entries_after_a_gap_or_a_wrong_hash_are_not_applied() {
    let (before, after) = changed();
    let mut forged = build::new_log(&[(7, &before), (8, &after)]);
    let at = forged.len() - 600;
    forged[at] ^= 1;
    let gap = build::new_log(&[(7, &before), (9, &after)]);
    for log in [forged, gap] {
        let opened = open(before.clone(), vec![("LOG1", log)]).unwrap();
        assert!(has(&opened, "fine") && !has(&opened, "evil"), "{:?}", opened.notes);
    }
}

#[test]
fn an_old_log_of_another_time_is_not_applied() {
    let (before, after) = changed();
    let mut log = build::old_log(8, &before, &after);
    log[12] = 1;
    build::seal(&mut log[..512]);
    let opened = open(before, vec![("LOG1", log)]).unwrap();
    assert!(has(&opened, "fine") && !has(&opened, "evil"), "{:?}", opened.notes);
    assert!(opened.notes.iter().any(|n| n.contains("another state")), "{:?}", opened.notes);
}

/// The offset of a key's cell in a hive's file.
fn cell(bytes: &[u8], name: &str) -> usize {
    let hive = open(bytes.to_vec(), vec![]).unwrap().hive;
    let found = hive.find(hive.root(), name.split('\\'), &Job::default()).unwrap().unwrap();
    4096 + usize::try_from(found.offset).unwrap()
}

#[test]
fn a_key_that_is_its_own_descendant_ends() {
    let mut root = key("ROOT");
    root.put(r"a\b\c", "x", "y");
    let mut bytes = build::hive(&root);
    let (a, c) = (cell(&bytes, "a"), cell(&bytes, r"a\b\c"));
    // What is below `a` is below `c` too: `a\b\c\b\c\b…`.
    let list = bytes[a + 4 + 28..a + 4 + 32].to_vec();
    bytes[c + 4 + 20] = 1;
    bytes[c + 4 + 28..c + 4 + 32].copy_from_slice(&list);
    let hive = open(bytes, vec![]).unwrap().hive;
    assert_eq!(dump(&hive).iter().filter(|l| l.starts_with('K')).count(), 4);
    assert!(hive.damage().words().unwrap().contains("their own descendants"));
}

#[test]
fn a_list_that_claims_millions_is_cut() {
    let mut root = key("ROOT");
    root.put("a", "x", "y");
    let mut bytes = build::hive(&root);
    let a = cell(&bytes, "a");
    for count in [20, 36] {
        bytes[a + 4 + count..a + 4 + count + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
    }
    // The list of `a`'s values is taken for its list of sub-keys too.
    let list = bytes[a + 4 + 40..a + 4 + 44].to_vec();
    bytes[a + 4 + 28..a + 4 + 32].copy_from_slice(&list);
    let hive = open(bytes, vec![]).unwrap().hive;
    assert_eq!(dump(&hive).iter().filter(|l| l.starts_with('V')).count(), 1);
    let words = hive.damage().words().unwrap();
    assert!(words.contains("another number of values") && words.contains("sub-key lists that are none"), "{words}");
}

#[test]
fn what_is_no_hive_is_refused_by_name() {
    let code = |bytes: &[u8]| open(bytes.to_vec(), vec![]).err().map(|e| (e.code, e.message)).unwrap();
    let creg = code(&[b"CREG".as_slice(), &[0; 600]].concat());
    assert!(creg.0 == ErrorCode::Unsupported && creg.1.contains("Windows 9x"), "{creg:?}");
    for bytes in [b"".as_slice(), b"regf", b"MZ not a hive", &[0; 4096]] {
        assert_eq!(code(bytes).0, ErrorCode::BadArgs);
    }
    assert_eq!(code(&build::base(0, (1, 1), 32, 4096)).0, ErrorCode::Backend);
}

#[test]
fn a_hive_of_more_than_two_gib_is_refused_unread() {
    struct Giant;
    impl Source for Giant {
        fn size(&self) -> u64 {
            (2 << 30) + 1
        }
        fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<usize> {
            panic!("it was read")
        }
    }
    let error = Hive::open("giant", Arc::new(Giant), vec![], &Job::default()).err().unwrap();
    assert_eq!(error.code, ErrorCode::TooLarge);
}

#[test]
fn a_cancel_ends_a_walk() {
    let hive = open(build::hive(&sample()), vec![]).unwrap().hive;
    let job = Job::default();
    job.cancel();
    let error = hive.walk(hive.root(), &job, &mut |_, _| Ok(())).err().unwrap();
    assert_eq!(error.code, ErrorCode::Cancelled);
}

/// Reads all there is to read of a hive and its log.
fn read_all(hive: &[u8], log: &[u8]) {
    let sectors = u16::try_from(hive.len().div_ceil(512)).unwrap();
    let mut bytes = [&sectors.to_le_bytes(), hive].concat();
    bytes.resize(2 + usize::from(sectors) * 512, 0);
    bytes.extend_from_slice(log);
    exhaust(&bytes, &Job::default());
}

fn small() -> Vec<u8> {
    let mut root = key("ROOT").sz("", "x").multi("m", &["a", "b"]).value("big", 3, vec![7; 40_000]);
    root.put(r"a\b", "v", "w");
    root.put_dword(r"a\ж", "d", 1);
    build::hive(&root)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn flipped_bytes_end_within_bounds(flips in proptest::collection::vec((0usize..53_248, any::<u8>()), 1..40), cut in 0usize..60_000) {
        let clean = small();
        let mut bytes = clean.clone();
        for (at, to) in flips {
            let at = at % bytes.len();
            bytes[at] = to;
        }
        bytes.truncate(cut.max(4096));
        read_all(&bytes, &build::old_log(1, &clean, &clean));
    }

    #[test]
    fn flipped_words_of_lists_end_within_bounds(words in proptest::collection::vec((0usize..512, 0u32..0x2000), 1..20)) {
        let mut bytes = small();
        for (at, to) in words {
            let at = 4096 + at * 4;
            bytes[at..at + 4].copy_from_slice(&(to & !3).to_le_bytes());
        }
        read_all(&bytes, &[]);
    }

    #[test]
    fn flipped_bytes_of_a_log_end_within_bounds(flips in proptest::collection::vec((0usize..2_000, any::<u8>()), 1..20), old in any::<bool>()) {
        let after = small();
        let mut before = after.clone();
        before[6_000] ^= 1;
        build::dirty(&mut before, (8, 7));
        let mut log = if old { build::old_log(8, &before, &after) } else { build::new_log(&[(7, &after)]) };
        for (at, to) in flips {
            let at = at % log.len();
            log[at] = to;
        }
        build::seal(&mut log[..512]);
        read_all(&before, &log);
    }
}
