//! The requester's side: channel, limits, cool-downs, scope.

use super::*;
use crate::error::Error;

#[test]
fn gt_012_without_a_person_it_is_refused_at_once() {
    let bench = Bench::new();
    assert_eq!(code(bench.guard.admit(&intent("/tmp/a")).map(|_| ())), ErrorCode::NoHumanChannel);
    assert!(!bench.home.join("audit").exists(), "asking opens nothing");
    let error = bench.guard.submit(intent("/tmp/a"), vec![quarantine("/tmp/a")]).unwrap_err();
    assert_eq!(error.code, ErrorCode::NoHumanChannel);
    assert!(error.hint.unwrap().contains("live-response approver enroll NAME"));
}

#[test]
fn gt_034_an_equal_intent_joins_the_pending_request() {
    let (bench, _) = Bench::new().enrolled();
    let first = bench.ask("/tmp/a");
    let again = Intent { reason: Some("please".into()), ..intent("/tmp/a") };
    let Admission::Pending(view) = bench.other().admit(&again).unwrap() else { panic!("should join") };
    assert_eq!((&view.id, view.coalesced), (&first.id, true));
    let raced = bench.guard.submit(again.clone(), vec![quarantine("/tmp/a")]).unwrap();
    assert_eq!((raced.id.clone(), raced.coalesced), (first.id.clone(), true));
    let by_call = bench.guard.by_command(&again.command_id, &asst()).unwrap().unwrap();
    assert_eq!((by_call.id, by_call.command_id), (first.id, again.command_id));
    assert_eq!((bench.count("request.created"), bench.count("request.coalesced")), (1, 2));
    let other = Intent { by: Principal::uid(8), ..intent("/tmp/a") };
    assert!(matches!(bench.guard.admit(&other).unwrap(), Admission::Go));
}

#[test]
fn gt_164_a_flood_makes_few_prompts() {
    let (bench, alex) = Bench::new().enrolled();
    let mut refused = 0;
    for i in 0..100 {
        let path = format!("/tmp/{i}");
        match bench.guard.admit(&intent(&path)) {
            Ok(_) => drop(bench.ask(&path)),
            Err(e) => {
                assert_eq!(e.code, ErrorCode::RateLimited);
                refused += 1;
            }
        }
    }
    assert_eq!((refused, bench.count("request.created")), (97, 3));
    for view in bench.guard.requests(Some(&asst())).unwrap() {
        bench.guard.cancel(&view.id, &asst()).unwrap();
    }
    bench.still_works(&alex);
}

#[test]
fn people_are_not_asked_without_end_for_what_they_do_not_approve() {
    let (bench, _) = Bench::new().enrolled();
    for i in 0..12 {
        let id = bench.ask(&format!("/tmp/{i}")).id;
        bench.guard.cancel(&id, &asst()).unwrap();
    }
    assert_eq!(code(bench.guard.admit(&intent("/tmp/x")).map(|_| ())), ErrorCode::RateLimited);
    bench.clock.advance_ms(3_600_000);
    assert!(bench.guard.admit(&intent("/tmp/x")).is_ok());
}

#[test]
fn removals_have_a_budget_by_device() {
    let (bench, alex) = Bench::new().enrolled();
    for i in 0..20 {
        bench.next_code();
        let id = bench.ask(&format!("/tmp/{i}")).id;
        bench.approve(&id, &alex).unwrap();
        let (_, execution) = bench.guard.consume(&id).unwrap();
        bench.guard.finished(execution, &done()).unwrap();
    }
    assert_eq!(code(bench.guard.submit(intent("/tmp/x"), vec![quarantine("/tmp/x")])), ErrorCode::RateLimited);
    assert_eq!(bench.count("breaker.tripped"), 1);
}

#[test]
fn gt_165_asking_again_after_a_no_has_a_cool_down() {
    let (bench, _) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    bench.guard.deny(&id, None).unwrap();
    let other_words = Intent { reason: Some("really, it is urgent".into()), ..intent("/tmp/a") };
    let error = bench.guard.admit(&other_words).err().unwrap();
    assert_eq!((error.code, error.detail.unwrap().get()), (ErrorCode::Cooldown, r#"{"count":1}"#));
    let same_steps = Intent { args: r#"{"type":"file","ids":["/tmp/a"]}"#.into(), ..intent("/tmp/a") };
    assert_eq!(code(bench.guard.submit(same_steps, vec![quarantine("/tmp/a")])), ErrorCode::Cooldown);
    bench.clock.advance_ms(600_000);
    let id = bench.ask("/tmp/a").id;
    assert!(bench.guard.show(&id).unwrap().text.contains("Refused before  1 time(s)"));
}

#[test]
fn gt_088_a_foreign_request_and_an_unknown_one_are_the_same() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let stranger = Principal::uid(8);
    let foreign = bench.guard.request(&id, &stranger).unwrap_err();
    let unknown_id = RequestId::new(id.as_str().replace(['0', '1', '2', '3'], "9"));
    let unknown = bench.guard.request(&unknown_id, &stranger).unwrap_err();
    assert_eq!(foreign.code, ErrorCode::Scope);
    assert_eq!(foreign.message.replace(id.as_str(), "ID"), unknown.message.replace(unknown_id.as_str(), "ID"));
    assert_eq!(code(bench.guard.cancel(&id, &stranger)), ErrorCode::Scope);
    assert!(bench.guard.requests(Some(&stranger)).unwrap().is_empty());
    assert_eq!(bench.guard.end_session(&SessionId::new("s-000000000001"), &stranger).unwrap(), 0);
    assert!(bench.approve(&id, &alex).unwrap().granted, "untouched");
}

#[test]
fn an_id_that_climbs_reaches_no_file() {
    let (bench, _) = Bench::new().enrolled();
    for id in ["../../etc/passwd", "", "r-\n"] {
        assert_eq!(code(bench.guard.consume(&RequestId::new(id))), ErrorCode::Scope);
        assert_eq!(code(bench.guard.show(&RequestId::new(id))), ErrorCode::Scope);
    }
    assert!(!bench.home.join("guard/running").exists());
}

#[test]
fn disconnecting_cancels_what_its_session_asked_for() {
    let (bench, alex) = Bench::new().enrolled();
    let (pending, approved) = (bench.ask("/tmp/a").id, bench.ask("/tmp/b").id);
    bench.approve(&approved, &alex).unwrap();
    assert_eq!(bench.guard.end_session(&SessionId::new("s-000000000001"), &asst()).unwrap(), 2);
    assert_eq!(code(bench.guard.consume(&approved)), ErrorCode::Cancelled);
    assert!(matches!(bench.guard.request(&pending, &asst()).unwrap().phase, Phase::Cancelled));
}

#[test]
fn gt_050_nothing_resolved_is_not_a_yes_no_question() {
    let (bench, _) = Bench::new().enrolled();
    assert_eq!(code(bench.guard.submit(intent("/tmp/*"), Vec::new())), ErrorCode::Uninspectable);
}

#[test]
fn gt_090_without_a_policy_file_only_this_host_can_be_asked_for() {
    let (bench, _) = Bench::new().enrolled();
    let image = Intent { device: DeviceId::new("image:/mnt"), ..intent("/tmp/a") };
    assert_eq!(code(bench.guard.submit(image, vec![quarantine("/tmp/a")])), ErrorCode::PolicyInvalid);
    assert!(bench.last("policy.loaded").line.contains(r#""source":"builtin""#));
    let local = DeviceId::new("local");
    assert_eq!(bench.guard.place(&local), (Some("this-host".into()), Some("T2".into())));
    assert_eq!(bench.guard.place(&DeviceId::new("image:/mnt")), (None, None));
    assert_eq!(bench.guard.role(&asst(), &local).unwrap(), Role::Advanced);
}

#[test]
fn gt_001_names_of_unknown_arguments_are_on_record_and_values_are_not() {
    let bench = Bench::new();
    let keys = vec!["confirm".to_owned(), "evil\u{1b}[2K".into()];
    let asked = Asked {
        by: &asst(),
        transport: Transport::Mcp,
        command: "rem\u{200b}ediate",
        command_id: None,
        device: None,
        session: None,
        unknown_keys: &keys,
    };
    bench.guard.refused(asked, &Error::new(ErrorCode::BadArgs, "unknown field, value hunter2"));
    let line = bench.last("request.refused").line;
    assert!(line.contains("confirm") && !line.contains("hunter2") && line.is_ascii(), "{line}");
    assert!(line.contains(r"rem\\u{200b}ediate"), "{line}");
}

#[test]
fn gt_010_what_a_client_calls_itself_gives_no_right() {
    let (bench, _) = Bench::new().enrolled();
    let id = bench
        .guard
        .submit(Intent { claimed: Some("approver-console".into()), ..intent("/tmp/a") }, vec![quarantine("/tmp/a")]);
    assert_eq!(id.unwrap().by, asst());
    let line = bench.last("request.created").line;
    assert!(line.contains(r#""principal":"uid:7""#) && line.contains(r#""claimed":"approver-console""#));
}

#[test]
fn requests_survive_a_restart_and_cost_nothing_when_nothing_is_new() {
    let (bench, alex) = Bench::new().enrolled();
    let id = bench.ask("/tmp/a").id;
    let other = bench.other();
    assert!(other.changed());
    assert_eq!(other.requests(Some(&asst())).unwrap().len(), 1);
    assert!(!other.changed());
    bench.guard.cancel(&id, &asst()).unwrap();
    assert!(other.changed());
    assert!(matches!(other.request(&id, &asst()).unwrap().phase, Phase::Cancelled));
    bench.clock.advance_ms(3_600_000);
    assert!(other.requests(None).unwrap().is_empty());
    assert!(other.request(&id, &asst()).is_ok(), "kept for a day");
    bench.clock.advance_ms(24 * 3_600_000);
    bench.still_works(&alex);
    assert_eq!(code(other.request(&id, &asst())), ErrorCode::Scope);
}
