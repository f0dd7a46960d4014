//! What the person sees.

use super::*;
use crate::model::{EntityKind, PartOf, ValueTarget};

const HIVES: &str = "version = 1\n[defaults]\nchange_hive_copies = true\n[[rule]]\ncommands = [\"remediate\"]\n\
    groups = [\"this-host\"]\nlevel = \"L\"\nvotes = 1\n";

fn shown(path: &str, reason: &str) -> (Bench, Prompt) {
    let (bench, _) = Bench::new().enrolled();
    let intent = Intent { reason: Some(reason.into()), ..intent(path) };
    let id = bench.guard.submit(intent, vec![quarantine(path)]).unwrap().id;
    let prompt = bench.guard.show(&id).unwrap();
    (bench, prompt)
}

fn is_safe(text: &str) -> bool {
    text.lines().all(crate::shape::is_plain)
}

#[test]
fn gt_040_no_escape_reaches_the_terminal() {
    let (bench, prompt) = shown("/tmp/a\u{1b}[2K\u{1b}[1A\rdir C:\\temp\u{8}\u{9b}1A", "x");
    assert!(is_safe(&prompt.text), "{:?}", prompt.text);
    assert!(prompt.text.contains(r"esc:/tmp/a\u001b[2K"), "{}", prompt.text);
    assert!(prompt.flags.contains(&"escaped"));
    assert!(bench.last("request.created").line.is_ascii());
}

#[test]
fn gt_042_a_direction_override_is_shown_and_flagged() {
    let (bench, prompt) = shown("/tmp/\u{202e}gpj.exe", "x");
    assert!(is_safe(&prompt.text) && prompt.text.contains("contains direction control"));
    assert!(bench.last("prompt.shown").line.contains("direction_control"));
}

#[test]
fn gt_045_nothing_is_cut() {
    let path = format!("/tmp/{}/THE-END", "a/".repeat(10_000));
    let (bench, prompt) = shown(&path, "x");
    assert!(prompt.text.contains(&path));
    let told = format!(r#""bytes":{},"complete":true"#, prompt.text.len());
    assert!(bench.last("prompt.shown").line.contains(&told));
    let huge = format!("/tmp/{}", "a".repeat(300_000));
    assert_eq!(code(bench.guard.submit(intent(&huge), vec![quarantine(&huge)])), ErrorCode::TooLarge);
}

#[test]
fn gt_046_a_reason_stays_in_its_box_on_one_line() {
    let reason = format!("ok\n\n  Command dir\n  Device WKS-01 [approve]\u{2028}{}", "x".repeat(500));
    let (bench, prompt) = shown("/tmp/a", &reason);
    let line: Vec<&str> = prompt.text.lines().filter(|l| l.contains("[approve]")).collect();
    assert_eq!(line.len(), 1);
    assert!(line[0].starts_with("  | ok\\n") && line[0].chars().count() < 220, "{}", line[0]);
    assert!(prompt.text.contains("UNVERIFIED"));
    assert!(bench.last("prompt.shown").line.contains(prompt.preview_sha256.as_str()));
}

#[test]
fn path_hash_device_and_asker_are_whole_and_unbroken() {
    let (_, prompt) = shown("/tmp/some where/bad", "x");
    let has = |text: &str| prompt.text.lines().any(|l| l.contains(text));
    assert!(has("path            /tmp/some where/bad"), "{}", prompt.text);
    assert!(has(Sha256::of(b"/tmp/some where/bad").as_str()));
    assert!(has("wks-01") && has("uid:7 over mcp") && has(prompt.digest.as_str()));
    assert_eq!((prompt.check, prompt.level, prompt.needed), (None, "L", 1));
}

#[test]
fn the_word_on_the_screen_is_the_word_in_the_chat() {
    let (bench, prompt) = shown("/tmp/a", "x");
    let view = bench.guard.request(&prompt.id, &asst()).unwrap();
    assert!(prompt.text.contains(&view.match_code));
}

#[test]
fn a_packaged_file_and_hard_links_are_pointed_out() {
    let (bench, _) = Bench::new().enrolled();
    let file = FileTarget { links: 3, package: Some("coreutils".into()), ..target("/usr/bin/true") };
    let id = bench.guard.submit(intent("/usr/bin/true"), vec![Step::Quarantine { file, part_of: None }]).unwrap().id;
    let prompt = bench.guard.show(&id).unwrap();
    assert!(prompt.text.contains("belongs unmodified to coreutils") && prompt.text.contains("3 names"));
    assert_eq!(prompt.flags, ["packaged", "links"]);
}

#[test]
fn a_registry_value_is_shown_whole_and_cannot_pass_for_another_field() {
    let (bench, _) = Bench::with_policy(Some(HIVES)).enrolled();
    let value = ValueTarget {
        key: vec!["Run\0".into(), "sub\n  sha256          0000".into()],
        name: "good\u{202e}live".into(),
        kind: "REG_SZ".into(),
        size_bytes: 26,
        sha256: Sha256::of(b"data"),
        data: Some("c:\\evil.exe\r\n  value           harmless".into()),
    };
    let part_of = PartOf { kind: EntityKind::Registry, id: value.path() };
    let step = Step::CutValue { hive: target("/tmp/SOFTWARE"), value, part_of };
    let id = bench.guard.submit(intent("/tmp/SOFTWARE"), vec![step]).unwrap().id;
    let prompt = bench.guard.show(&id).unwrap();
    assert!(is_safe(&prompt.text), "{:?}", prompt.text);
    let fields = |name: &str| prompt.text.lines().filter(|l| l.starts_with(&format!("  {name} "))).count();
    assert_eq!((fields("value"), fields("sha256"), fields("data")), (1, 1, 3), "{}", prompt.text);
    assert!(prompt.text.contains(Sha256::of(b"data").as_str()) && prompt.text.contains("evil.exe"));
    assert!(prompt.flags.contains(&"direction_control") && prompt.flags.contains(&"escaped"));
}

#[test]
fn a_hive_is_changed_only_by_a_policy_that_says_so() {
    let (bench, _) = Bench::new().enrolled();
    let value = ValueTarget {
        key: vec!["Run".into()],
        name: "evil".into(),
        kind: "REG_SZ".into(),
        size_bytes: 0,
        sha256: Sha256::of(b""),
        data: None,
    };
    let (hive, undo_id) = (target("/tmp/SOFTWARE"), crate::model::UndoId::mint());
    let part_of = PartOf { kind: EntityKind::Registry, id: value.path() };
    for step in [
        Step::CutValue { hive: hive.clone(), value: value.clone(), part_of },
        Step::PutValue { undo_id, hive, value, whole: false },
    ] {
        let error = bench.guard.submit(intent("/tmp/SOFTWARE"), vec![step]).unwrap_err();
        assert_eq!(error.code, ErrorCode::Protected);
        assert!(error.hint.unwrap().contains("change_hive_copies"));
    }
    assert_eq!(bench.count("request.created"), 0);
}

#[test]
fn what_has_ended_is_shown_without_a_record() {
    let (bench, prompt) = shown("/tmp/a", "x");
    bench.guard.deny(&prompt.id, None).unwrap();
    let after = bench.guard.show(&prompt.id).unwrap();
    assert!(!after.pending && after.text.contains("refused by a person"));
    assert_eq!(bench.count("prompt.shown"), 1);
}
