//! Crashes, full disks, dead executors.

use super::*;
use crate::model::{Handed, TenantDeed};

#[test]
fn gt_025_an_executor_that_died_leaves_the_outcome_unknown_for_ever() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    bench.approve(&id, &alex).unwrap();
    let (approved, execution) = bench.guard.consume(&id).unwrap();
    assert!(matches!(bench.other().request(&id, &asst()).unwrap().phase, Phase::Consuming));
    drop((approved, execution));
    assert!(matches!(bench.other().request(&id, &asst()).unwrap().phase, Phase::Unknown));
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::OutcomeUnknown);
    bench.next_code();
    assert_eq!(code(bench.approve(&id, &alex)), ErrorCode::OutcomeUnknown);
    assert_eq!((bench.count("exec.consumed"), bench.count("exec.unknown"), bench.count("exec.finished")), (1, 1, 0));
    bench.still_works(&alex);
}

#[test]
fn gt_100_a_log_that_cannot_be_written_consumes_nothing() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let vote = bench.ballot(&bench.guard, &id, &alex);
    let again = Ballot {
        id: vote.id.clone(),
        digest: vote.digest.clone(),
        preview_sha256: vote.preview_sha256.clone(),
        person: None,
        code: vote.code.clone(),
        check: None,
        yes: true,
    };
    // A directory that others may write is no place for a log, for root too.
    use std::os::unix::fs::PermissionsExt;
    let chmod = |mode| {
        std::fs::set_permissions(bench.home.join("audit"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    chmod(0o777);
    let other = bench.other();
    assert_eq!(code(other.vote(vote)), ErrorCode::AuditUnavailable);
    assert_eq!(code(other.consume(&id)), ErrorCode::QuorumIncomplete);
    chmod(0o700);
    other.show(&id).unwrap();
    assert_eq!(bench.last("audit.gap").event, "audit.gap");
    assert!(bench.guard.vote(again).unwrap().granted, "the code was not used up");
}

#[test]
fn gt_158_the_record_is_there_before_the_approval() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    bench.approve(&id, &alex).unwrap();
    let (_approved, execution) = bench.guard.consume(&id).unwrap();
    assert_eq!((bench.count("exec.consumed"), bench.count("exec.started")), (1, 0));
    bench.guard.started(&execution).unwrap();
    assert_eq!(bench.count("exec.started"), 1);
    assert_eq!(code(bench.guard.started(&execution)), ErrorCode::Consumed);
}

#[test]
fn a_log_cut_at_any_byte_never_runs_a_plan_twice_and_never_without_a_yes() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    bench.approve(&id, &alex).unwrap();
    let (_, execution) = bench.guard.consume(&id).unwrap();
    bench.guard.started(&execution).unwrap();
    bench.guard.finished(execution, &done()).unwrap();
    let name = "00000000000000000001.jsonl";
    let bytes = std::fs::read(bench.home.join("audit").join(name)).unwrap();
    let first = bytes.iter().position(|b| *b == b'\n').unwrap() + 1;
    let has = |upto: usize, event: &str| {
        let whole = bytes[..upto].iter().rposition(|b| *b == b'\n').unwrap_or(0);
        String::from_utf8_lossy(&bytes[..whole]).contains(&format!("\"event\":\"{event}\""))
    };
    for cut in (first..=bytes.len()).step_by(7).chain([bytes.len()]) {
        let home = Scratch::new();
        crate::private::dir(&home.join("audit")).unwrap();
        crate::private::replace(&home.join("audit").join(name), &bytes[..cut]).unwrap();
        let guard = guard_at(&home, bench.clock.clone(), None);
        let runs = guard.consume(&id).is_ok();
        assert_eq!(runs, has(cut, "vote.cast") && !has(cut, "exec.consumed"), "cut at {cut}");
        guard.requests(None).unwrap();
        crate::audit::verify(&home.join("audit"), None).ok();
    }
}

#[test]
fn the_state_is_the_same_after_a_new_segment() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let fill = "x".repeat(1 << 20);
    for _ in 0..9 {
        bench.guard.log.note(crate::audit::Record::new("output.returned").detail(&fill)).unwrap();
    }
    bench.guard.cancel(&bench.ask("/tmp/b").id, &asst()).unwrap();
    assert_eq!(crate::audit::verify(&bench.home.join("audit"), None).unwrap().segments, 2);
    let other = bench.other();
    assert!(matches!(other.request(&id, &asst()).unwrap().phase, Phase::Pending));
    let vote = bench.ballot(&other, &id, &alex);
    assert!(other.vote(vote).unwrap().granted);
    assert_eq!(other.consume(&id).map(|(a, _)| run(a)).unwrap(), 1);
}

#[test]
fn a_forged_transition_breaks_the_log() {
    let (bench, _) = Bench::new().enrolled();
    let view = bench.ask("/tmp/a");
    let forged = crate::audit::Record::new("exec.consumed").request(&view.id);
    let stranger = Log::with_clock(bench.home.join("audit"), bench.clock.clone());
    stranger.commit(forged).unwrap();
    assert_eq!(code(bench.guard.consume(&view.id)), ErrorCode::AuditUnavailable);
    assert_eq!(code(bench.other().submit(intent("/x"), vec![quarantine("/x")])), ErrorCode::AuditUnavailable);
}

fn scan() -> Step {
    Step::Tenant { deed: Box::new(TenantDeed::Scan { full: false }) }
}

#[test]
fn what_a_backend_has_taken_is_adopted_once_and_never_unknown_by_itself() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.guard.submit(intent("/x"), vec![scan()]).unwrap().id;
    assert!(bench.guard.adopt(&id).unwrap().is_none(), "nothing was consumed");
    bench.approve(&id, &alex).unwrap();
    let (approved, execution) = bench.guard.consume(&id).unwrap();
    assert!(approved.outlives());
    bench.guard.started(&execution).unwrap();
    let handed = Handed { step: 0, action: "7".into() };
    bench.guard.handed_over(&id, &handed).unwrap();
    assert!(bench.other().adopt(&id).unwrap().is_none(), "its executor lives");
    drop((approved, execution));
    let other = bench.other();
    assert!(matches!(other.request(&id, &asst()).unwrap().phase, Phase::Consuming));
    let (adopted, mark) = other.adopt(&id).unwrap().unwrap();
    assert_eq!((&adopted.handed, adopted.is_late), (&vec![handed], false));
    assert!(bench.guard.adopt(&id).unwrap().is_none(), "somebody looks after it");
    other.finished(mark, &done()).unwrap();
    assert!(bench.guard.adopt(&id).unwrap().is_none());
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::Consumed);
    assert_eq!((bench.count("exec.finished"), bench.count("exec.unknown")), (1, 0));
}

#[test]
fn what_no_backend_tells_of_for_days_is_unknown() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.guard.submit(intent("/x"), vec![scan()]).unwrap().id;
    bench.approve(&id, &alex).unwrap();
    drop(bench.guard.consume(&id).unwrap());
    bench.clock.advance_ms(3 * 24 * 3600 * 1000);
    assert!(bench.guard.adopt(&id).unwrap().unwrap().0.is_late);
    bench.clock.advance_ms(25 * 3600 * 1000);
    assert!(matches!(bench.guard.request(&id, &asst()).unwrap().phase, Phase::Unknown));
}

#[test]
fn a_device_that_is_another_tier_by_now_is_not_changed() {
    let policy = "version = 1\n[[group]]\nname = \"lab\"\ntier = \"T3\"\ntags = [\"lab\"]\n[[group]]\nname = \"dc\"\n\
                  tier = \"T2\"\ntags = [\"group:dc\"]\n[[rule]]\ncommands = [\"scan\"]\ngroups = [\"lab\", \"dc\"]\n\
                  level = \"L\"\nvotes = 1\n";
    let (bench, alex) = Bench::with_policy(Some(policy)).enrolled();
    let device = DeviceId::new("a".repeat(40));
    let ask = || {
        let intent = Intent { device: device.clone(), command: "scan", ..intent("/x") };
        bench.guard.submit(intent, vec![scan()])
    };
    let know = |tags: &[&str]| {
        let tags = tags.iter().map(|t| (*t).to_owned()).collect();
        bench.guard.know(&device, DeviceTraits { backend: "defender", name: "x".into(), tags });
    };
    know(&["lab"]);
    assert_eq!(ask().unwrap_err().code, ErrorCode::PolicyInvalid, "the shared account was not allowed");
    let shared = Guard { shared: true, ..bench.other() };
    shared.know(&device, DeviceTraits { backend: "defender", name: "x".into(), tags: vec!["lab".into()] });
    let intent = Intent { device: device.clone(), command: "scan", ..intent("/x") };
    let id = shared.submit(intent, vec![scan()]).unwrap().id;
    bench.approve(&id, &alex).unwrap();
    know(&["lab", "group:dc"]);
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::PolicyChanged);
}
