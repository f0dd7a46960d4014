//! Binding, replay, once only.

use super::*;

#[test]
fn pc_1_runs_once_after_a_yes_and_everything_is_on_record() {
    let (bench, alex) = Bench::new().enrolled();
    let view = bench.ask("/tmp/bad");
    assert!(matches!(view.phase, Phase::Pending));
    assert!(bench.approve(&view.id, &alex).unwrap().granted);
    let (approved, execution) = bench.guard.consume(&view.id).unwrap();
    assert_eq!((approved.request(), approved.device().as_str()), (&view.id, "local"));
    assert_eq!(run(approved), 1);
    bench.guard.started(&execution).unwrap();
    let view = bench.guard.finished(execution, &done()).unwrap();
    assert!(matches!(view.phase, Phase::Done(ref o) if *o == done()));
    let events: Vec<String> = bench.log().into_iter().map(|s| s.event).collect();
    assert_eq!(
        events,
        [
            "audit.checkpoint",
            "startup.mode",
            "approver.enrolled",
            "policy.loaded",
            "request.created",
            "prompt.shown",
            "vote.cast",
            "request.approved",
            "exec.consumed",
            "exec.started",
            "exec.finished"
        ]
    );
    bench.still_works(&alex);
}

#[test]
fn gt_020_a_second_vote_and_a_second_consumption_find_it_consumed() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/bad").id;
    bench.approve(&id, &alex).unwrap();
    let (_, execution) = bench.guard.consume(&id).unwrap();
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::Consumed);
    assert_eq!(code(bench.other().consume(&id)), ErrorCode::Consumed);
    bench.guard.finished(execution, &done()).unwrap();
    bench.next_code();
    assert_eq!(code(bench.approve(&id, &alex)), ErrorCode::Consumed);
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::Consumed);
    assert_eq!(bench.count("exec.consumed"), 1);
    assert_eq!(bench.reasons("vote.rejected"), ["E_CONSUMED"]);
}

#[test]
fn gt_021_sixty_four_last_votes_at_once_consume_once() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/bad").id;
    let prompt = bench.guard.show(&id).unwrap();
    bench.clock.advance_ms(2_000);
    let code = alex.code(bench.now_s());
    let executions = Mutex::new(Vec::new());
    let refusals = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| match bench.guard.vote(ballot(&prompt, code.clone())) {
                Ok(voted) => {
                    assert!(voted.granted);
                    executions.lock().unwrap().push(bench.guard.consume(&id).unwrap());
                }
                Err(e) => refusals.lock().unwrap().push(e.code),
            });
        }
    });
    let refusals = refusals.into_inner().unwrap();
    assert_eq!((refusals.len(), executions.into_inner().unwrap().len()), (63, 1));
    assert!(refusals.iter().all(|c| *c == ErrorCode::Consumed));
    assert_eq!((bench.count("vote.cast"), bench.count("exec.consumed")), (1, 1));
}

#[test]
fn gt_017_a_vote_for_another_plan_or_rendering_counts_nothing() {
    let (bench, alex) = Bench::new().enrolled();
    let (a, b) = (bench.ask("/tmp/a").id, bench.ask("/tmp/b").id);
    let (prompt_a, prompt_b) = (bench.guard.show(&a).unwrap(), bench.guard.show(&b).unwrap());
    bench.clock.advance_ms(2_000);
    let code_now = alex.code(bench.now_s());
    let swapped = Ballot { id: b.clone(), ..ballot(&prompt_a, code_now.clone()) };
    assert_eq!(code(bench.guard.vote(swapped)), ErrorCode::DigestMismatch);
    let unseen = Ballot { preview_sha256: Sha256::of(b"x"), ..ballot(&prompt_b, code_now.clone()) };
    assert_eq!(code(bench.guard.vote(unseen)), ErrorCode::DigestMismatch);
    // A refused vote used up no code.
    assert!(bench.guard.vote(ballot(&prompt_b, code_now)).unwrap().granted);
    assert_eq!(code(bench.guard.consume(&a)), ErrorCode::QuorumIncomplete);
}

#[test]
fn gt_022_after_the_execution_window_it_has_expired() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/bad").id;
    bench.approve(&id, &alex).unwrap();
    bench.clock.advance_ms(120_000);
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::Expired);
    assert!(bench.last("request.expired").line.contains(r#""stage":"approved""#));
    assert_eq!(bench.count("exec.consumed"), 0);
}

#[test]
fn gt_101_a_late_yes_is_refused() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/bad").id;
    let ballot = bench.ballot(&bench.guard, &id, &alex);
    bench.clock.advance_ms(600_000);
    let late = Ballot { code: alex.code(bench.now_s()), ..ballot };
    assert_eq!(code(bench.guard.vote(late)), ErrorCode::Expired);
    assert!(matches!(bench.guard.request(&id, &asst()).unwrap().phase, Phase::Expired));
    assert_eq!((bench.count("request.expired"), bench.reasons("vote.rejected")), (1, vec!["E_EXPIRED".to_owned()]));
    bench.still_works(&alex);
}

#[test]
fn a_clock_set_back_does_not_lengthen_a_request() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/bad").id;
    bench.clock.advance_ms(599_000);
    bench.clock.set_wall(-599_000);
    bench.clock.advance_ms(1_000);
    assert_eq!(code(bench.approve(&id, &alex).and_then(|_| bench.guard.consume(&id).map(|_| ()))), ErrorCode::Expired);
}

const POLICY: &str = "version = 1\n[[rule]]\ncommands = [\"remediate\", \"undo\", \"evidence\"]\ngroups = [\"this-host\"]\nlevel = \"L\"\nvotes = 1\n";

#[test]
fn gt_038_a_policy_that_changed_after_the_question_voids_it() {
    let bench = Bench::with_policy(Some(POLICY));
    let (bench, alex) = bench.enrolled();
    let (pending, approved) = (bench.ask("/tmp/a").id, bench.ask("/tmp/b").id);
    let vote = bench.ballot(&bench.guard, &pending, &alex);
    bench.approve(&approved, &alex).unwrap();
    std::fs::write(bench.home.join("policy.toml"), format!("{POLICY}# one byte\n")).unwrap();
    assert_eq!(code(bench.guard.vote(vote)), ErrorCode::PolicyChanged);
    assert_eq!(code(bench.guard.consume(&approved)), ErrorCode::PolicyChanged);
    assert_eq!(bench.reasons("request.invalidated"), ["E_POLICY_CHANGED", "E_POLICY_CHANGED"]);
    assert_eq!((bench.count("policy.loaded"), bench.count("exec.consumed")), (2, 0));
    bench.still_works(&alex);
}

#[test]
fn gt_091_a_policy_that_broke_refuses_and_voids() {
    let (bench, alex) = Bench::with_policy(Some(POLICY)).enrolled();
    let id = bench.ask("/tmp/a").id;
    bench.approve(&id, &alex).unwrap();
    std::fs::write(bench.home.join("policy.toml"), "version = 1\n[[rule]\n").unwrap();
    assert_eq!(code(bench.guard.submit(intent("/tmp/b"), vec![quarantine("/tmp/b")])), ErrorCode::PolicyInvalid);
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::PolicyChanged);
    assert_eq!((bench.count("policy.rejected"), bench.count("request.invalidated")), (1, 1));
    std::fs::write(bench.home.join("policy.toml"), POLICY).unwrap();
    bench.still_works(&alex);
}

#[test]
fn the_stored_plan_is_what_runs() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/bad").id;
    bench.approve(&id, &alex).unwrap();
    // A guard that has folded the log has the plan's bytes from there and from nowhere else.
    let other = bench.other();
    let (approved, _execution) = other.consume(&id).unwrap();
    let orders: Vec<Order> = approved.orders(&DeviceId::new("local")).unwrap().collect();
    assert_eq!(*orders[0].step(), quarantine("/tmp/bad"));
}

#[test]
fn an_approval_is_for_its_device_only() {
    let approved = approved_for_test(&DeviceId::new("local"), vec![quarantine("/a")]);
    assert_eq!(code(approved.orders(&DeviceId::new("image:/x")).map(|_| ())), ErrorCode::DigestMismatch);
}

#[test]
fn gt_115_undo_asks_too_and_a_disclosure_needs_the_check_value() {
    let (bench, alex) = Bench::new().enrolled();
    let undo = Intent { command: "undo", ..intent("/tmp/x") };
    assert!(matches!(bench.guard.submit(undo, vec![quarantine("/tmp/x")]).unwrap().phase, Phase::Pending));
    let evidence = Intent { command: "evidence", ..intent("shadow") };
    let view = bench.guard.submit(evidence, vec![disclose()]).unwrap();
    assert!(view.disclosure.is_some());
    let right = bench.ballot(&bench.guard, &view.id, &alex);
    assert_eq!(right.check.as_deref(), Some("wks-01"));
    let again = |check: Option<&str>| Ballot {
        id: right.id.clone(),
        digest: right.digest.clone(),
        preview_sha256: right.preview_sha256.clone(),
        person: None,
        code: right.code.clone(),
        check: check.map(str::to_owned),
        yes: true,
    };
    assert_eq!(code(bench.guard.vote(again(None))), ErrorCode::CheckValue);
    assert_eq!(code(bench.guard.vote(again(Some("wks-02")))), ErrorCode::CheckValue);
    assert!(bench.guard.vote(again(Some("wks-01"))).unwrap().granted);
}

#[test]
fn what_must_be_asked_before_it_is_shown() {
    let srv = "version = 1\n[[group]]\nname = \"srv\"\ntier = \"T1\"\ndevices = [\"srv-01\"]\n";
    let bench = Bench::with_policy(Some(srv));
    let ask = |device: &str, secret| bench.guard.must_ask(&DeviceId::new(device), secret);
    assert!(ask("local", Some("private key")) && ask("image:/x", Some("private key")));
    assert!(!ask("local", None));
    assert!(ask("srv-01", None));
}
