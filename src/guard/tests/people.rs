//! Factors, people, vetoes, the halt.

use super::*;

#[test]
fn gt_067_a_code_counts_once() {
    let (bench, alex) = Bench::new().enrolled();
    let (a, b) = (bench.ask("/tmp/a").id, bench.ask("/tmp/b").id);
    let (prompt_a, prompt_b) = (bench.guard.show(&a).unwrap(), bench.guard.show(&b).unwrap());
    bench.clock.advance_ms(2_000);
    let now = alex.code(bench.now_s());
    assert!(bench.guard.vote(ballot(&prompt_a, now.clone())).unwrap().granted);
    assert_eq!(code(bench.guard.vote(ballot(&prompt_b, now))), ErrorCode::FactorReused);
    assert_eq!(bench.reasons("vote.rejected"), ["E_FACTOR_REUSED"]);
    let before = alex.code(bench.now_s() - 30);
    assert!(bench.guard.vote(ballot(&prompt_b, before)).unwrap().granted, "the step before is another code");
}

#[test]
fn gt_068_guessing_is_locked_out_with_growing_delay_over_processes() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let prompt = bench.guard.show(&id).unwrap();
    bench.clock.advance_ms(2_000);
    for _ in 0..5 {
        let wrong = alex.wrong_code(bench.now_s());
        assert_eq!(code(bench.guard.vote(ballot(&prompt, wrong))), ErrorCode::FactorInvalid);
    }
    let right = alex.code(bench.now_s());
    assert_eq!(code(bench.guard.vote(ballot(&prompt, right.clone()))), ErrorCode::RateLimited);
    let other = bench.other();
    other.show(&id).unwrap();
    bench.clock.advance_ms(2_000);
    assert_eq!(code(other.vote(ballot(&prompt, right))), ErrorCode::RateLimited);
    assert_eq!((bench.count("auth.failed"), bench.count("factor.locked")), (5, 1));
    assert!(matches!(bench.guard.request(&id, &asst()).unwrap().phase, Phase::Pending));
    bench.clock.advance_ms(28_000);
    let wrong = alex.wrong_code(bench.now_s());
    assert_eq!(code(bench.guard.vote(ballot(&prompt, wrong))), ErrorCode::FactorInvalid);
    bench.clock.advance_ms(59_000);
    assert_eq!(code(bench.guard.vote(ballot(&prompt, alex.code(bench.now_s())))), ErrorCode::RateLimited);
    bench.clock.advance_ms(1_000);
    assert!(bench.guard.vote(ballot(&prompt, alex.code(bench.now_s()))).unwrap().granted);
}

#[test]
fn a_code_of_two_steps_ago_or_of_the_next_is_wrong() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let prompt = bench.guard.show(&id).unwrap();
    bench.clock.advance_ms(2_000);
    for at in [bench.now_s() - 60, bench.now_s() + 30] {
        assert_eq!(code(bench.guard.vote(ballot(&prompt, alex.code(at)))), ErrorCode::FactorInvalid);
    }
    assert_eq!(code(bench.guard.vote(ballot(&prompt, String::new()))), ErrorCode::FactorInvalid);
    assert_eq!(bench.count("auth.failed"), 2, "no code is no guess");
}

#[test]
fn a_swapped_secret_file_approves_nothing() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let own = Key::new().unwrap();
    own.save(&bench.home.join("guard"), "alex").unwrap();
    let thief = Person { name: "alex".into(), key: own };
    assert_eq!(code(bench.approve(&id, &thief)), ErrorCode::FactorInvalid);
    assert_eq!(code(bench.approve(&id, &alex)), ErrorCode::FactorInvalid);
    assert_eq!(bench.count("vote.cast"), 0);
}

#[test]
fn gt_168_a_reflex_is_refused_and_can_be_given_again() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let prompt = bench.guard.show(&id).unwrap();
    bench.clock.advance_ms(300);
    let now = alex.code(bench.now_s());
    assert_eq!(code(bench.guard.vote(ballot(&prompt, now.clone()))), ErrorCode::TooFast);
    bench.clock.advance_ms(1_700);
    assert!(bench.guard.vote(ballot(&prompt, now)).unwrap().granted);
    assert_eq!(bench.reasons("vote.rejected"), ["E_TOO_FAST"]);
}

#[test]
fn what_another_process_showed_is_not_on_this_screen() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let elsewhere = bench.other().show(&id).unwrap();
    bench.clock.advance_ms(60_000);
    assert_eq!(code(bench.guard.vote(ballot(&elsewhere, alex.code(bench.now_s())))), ErrorCode::TooFast);
}

#[test]
fn pc_8_a_no_is_final_and_needs_no_code() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let vote = bench.ballot(&bench.guard, &id, &alex);
    assert!(matches!(bench.guard.deny(&id, None).unwrap().phase, Phase::Denied));
    assert_eq!(code(bench.guard.vote(vote)), ErrorCode::Denied);
    assert_eq!(code(bench.guard.deny(&id, None)), ErrorCode::Denied);
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::Denied);
    assert!(bench.last("request.denied").line.contains(r#""person":null"#));
    assert_eq!(bench.count("vote.cast"), 0, "without a code nobody's name is written");
}

#[test]
fn a_no_with_a_code_names_the_person_and_one_with_a_wrong_code_does_not() {
    let (bench, alex) = Bench::new().enrolled();
    let (a, b) = (bench.ask("/tmp/a").id, bench.ask("/tmp/b").id);
    bench.guard.deny(&a, Some(("alex", &alex.code(bench.now_s())))).unwrap();
    assert!(bench.last("request.denied").line.contains(r#""person":"alex""#));
    bench.guard.deny(&b, Some(("alex", &alex.wrong_code(bench.now_s())))).unwrap();
    assert!(bench.last("request.denied").line.contains(r#""person":null"#));
    assert_eq!((bench.count("vote.cast"), bench.count("auth.failed")), (1, 1));
}

#[test]
fn gt_081_a_no_before_consumption_always_wins() {
    let (bench, alex) = Bench::new().enrolled();
    let (mut ran, mut denied) = (0, 0);
    for round in 0..20 {
        bench.clock.advance_ms(3_700_000);
        let id = bench.ask(&format!("/tmp/{round}")).id;
        let vote = bench.ballot(&bench.guard, &id, &alex);
        let other = bench.other();
        let (consumed, no) = std::thread::scope(|scope| {
            let yes = scope.spawn(|| bench.guard.vote(vote).and_then(|_| bench.guard.consume(&id)).is_ok());
            let no = scope.spawn(|| other.deny(&id, None).is_ok());
            (yes.join().unwrap(), no.join().unwrap())
        });
        assert!(consumed != no, "one of two legal orders");
        ran += usize::from(consumed);
        denied += usize::from(no);
    }
    assert_eq!((bench.count("exec.consumed"), bench.count("request.denied")), (ran, denied));
}

const TWO: &str =
    "version = 1\n[[rule]]\ncommands = [\"remediate\"]\ngroups = [\"this-host\"]\nlevel = \"L\"\nvotes = 2\n";

#[test]
fn gt_079_one_person_counts_once_and_pc_4_two_people_are_two() {
    let (bench, alex) = Bench::with_policy(Some(TWO)).enrolled();
    let alone = bench.guard.submit(intent("/tmp/a"), vec![quarantine("/tmp/a")]);
    assert_eq!(code(alone), ErrorCode::NoHumanChannel);
    let billie = bench.guard.enroll("billie", Some(("alex", &alex.code(bench.now_s())))).unwrap();
    let billie = Person::of(&billie);
    let id = bench.ask("/tmp/a").id;
    let by = |person: &Person| {
        bench.next_code();
        let ballot = bench.ballot(&bench.guard, &id, person);
        bench.guard.vote(Ballot { person: Some(person.name.clone()), ..ballot })
    };
    assert!(!by(&alex).unwrap().granted);
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::QuorumIncomplete);
    assert_eq!(code(by(&alex)), ErrorCode::DuplicatePerson);
    assert!(by(&billie).unwrap().granted);
    assert_eq!(bench.guard.consume(&id).map(|(a, _)| run(a)).unwrap(), 1);
}

#[test]
fn a_voter_who_was_removed_does_not_count_any_more() {
    let (bench, alex) = Bench::new().enrolled();
    let billie = Person::of(&bench.guard.enroll("billie", Some(("alex", &alex.code(bench.now_s())))).unwrap());
    let id = bench.ask("/tmp/a").id;
    let vote = bench.ballot(&bench.guard, &id, &billie);
    assert!(bench.guard.vote(Ballot { person: Some("billie".into()), ..vote }).unwrap().granted);
    bench.next_code();
    bench.guard.remove("billie", Some(("alex", &alex.code(bench.now_s())))).unwrap();
    assert_eq!(code(bench.guard.consume(&id)), ErrorCode::ApproverNotEntitled);
    assert_eq!(bench.reasons("request.invalidated"), ["E_APPROVER_NOT_ENTITLED"]);
}

#[test]
fn two_people_enrolled_and_none_named_is_asked_for() {
    let (bench, alex) = Bench::new().enrolled();
    bench.guard.enroll("billie", Some(("alex", &alex.code(bench.now_s())))).unwrap();
    bench.next_code();
    let id = bench.ask("/tmp/a").id;
    let error = bench.approve(&id, &alex).unwrap_err();
    assert_eq!(error.code, ErrorCode::BadArgs);
    assert!(error.hint.unwrap().contains("alex, billie"));
}

#[test]
fn only_the_first_enrolment_is_open() {
    let (bench, alex) = Bench::new().enrolled();
    assert_eq!(code(bench.guard.enroll("mallory", None)), ErrorCode::ApproverNotEntitled);
    let wrong = alex.wrong_code(bench.now_s());
    assert_eq!(code(bench.guard.enroll("mallory", Some(("alex", &wrong)))), ErrorCode::FactorInvalid);
    assert_eq!(code(bench.guard.remove("alex", None)), ErrorCode::ApproverNotEntitled);
    assert_eq!(code(bench.guard.enroll("ALEX", Some(("alex", &alex.code(bench.now_s()))))), ErrorCode::Exists);
    for name in ["", "../x", "a/b", ".x", "a b", "-x", &"a".repeat(65), "ä", "a\n"] {
        assert_eq!(code(bench.guard.enroll(name, None)), ErrorCode::BadArgs, "{name:?}");
    }
    assert_eq!(bench.guard.enrolled().unwrap().len(), 1);
}

#[test]
fn a_deleted_secret_does_not_open_enrolment_again() {
    let (bench, alex) = Bench::new().enrolled();
    std::fs::remove_dir_all(bench.home.join("guard")).unwrap();
    let other = bench.other();
    assert_eq!(code(other.enroll("mallory", None)), ErrorCode::ApproverNotEntitled);
    let id = bench.ask("/tmp/a").id;
    assert_eq!(code(bench.approve(&id, &alex)), ErrorCode::FactorInvalid);
}

#[test]
fn a_first_code_confirms_and_is_used_up() {
    let (bench, alex) = Bench::new().enrolled();
    assert!(!bench.guard.enrolled().unwrap()[0].confirmed);
    let first = alex.code(bench.now_s());
    bench.guard.confirm_first_code("alex", &first).unwrap();
    assert!(bench.guard.enrolled().unwrap()[0].confirmed);
    assert_eq!(code(bench.guard.confirm_first_code("alex", &first)), ErrorCode::FactorReused);
    bench.still_works(&alex);
}

#[test]
fn gt_169_a_halt_voids_and_gt_170_only_a_person_lifts_it() {
    let (bench, alex) = Bench::new().enrolled();
    let (pending, approved) = (bench.ask("/tmp/a").id, bench.ask("/tmp/b").id);
    bench.approve(&approved, &alex).unwrap();
    bench.guard.halt(None).unwrap();
    assert_eq!(code(bench.guard.consume(&approved)), ErrorCode::Revoked);
    assert!(matches!(bench.guard.request(&pending, &asst()).unwrap().phase, Phase::Revoked));
    assert_eq!(code(bench.other().admit(&intent("/tmp/c")).map(|_| ())), ErrorCode::Halted);
    assert_eq!(code(bench.guard.submit(intent("/tmp/c"), vec![quarantine("/tmp/c")])), ErrorCode::Halted);
    let wrong = alex.wrong_code(bench.now_s());
    assert_eq!(code(bench.guard.lift_halt("alex", &wrong)), ErrorCode::FactorInvalid);
    bench.next_code();
    bench.guard.lift_halt("alex", &alex.code(bench.now_s())).unwrap();
    assert_eq!((bench.count("halt.engaged"), bench.count("request.revoked"), bench.count("halt.released")), (1, 2, 1));
    bench.still_works(&alex);
}

#[test]
fn gt_159_no_secret_and_no_code_is_in_the_log() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let wrong = alex.wrong_code(bench.now_s());
    let prompt = bench.guard.show(&id).unwrap();
    bench.clock.advance_ms(2_000);
    let _ = bench.guard.vote(ballot(&prompt, wrong.clone()));
    let right = alex.code(bench.now_s());
    bench.guard.vote(ballot(&prompt, right.clone())).unwrap();
    let secret = alex.key.base32();
    for shown in bench.log() {
        let detail = shown.line.split("\"detail\"").nth(1).unwrap_or_default().to_owned();
        assert!(!shown.line.contains(secret.as_str()), "{}", shown.line);
        assert!(!detail.contains(&format!("\"{right}\"")) && !detail.contains(&format!("\"{wrong}\"")), "{detail}");
    }
}
