//! What the service refuses, and answers that are none, late, lost, cut or too large.

use crate::support::Said;
use crate::support::tenant::Case;
use serde_json::{Value, json};

fn spoil(endpoint: &str, times: u32, act: Value) -> Value {
    json!({ "fault": { "endpoint": endpoint, "times": times, "do": act } })
}

fn refusal(status: u16, code: &str) -> Value {
    json!({ "status": { "status": status, "code": code, "message": "evil\u{1b}[2J words" } })
}

/// Every error of the service's documents: its code, ours, a word of the next step.
const REFUSALS: &[(u16, &str, &str, &str)] = &[
    (400, "BadRequest", "E_BACKEND", "correlation id"),
    (400, "ODataError", "E_BAD_ARGS", "check the value"),
    (400, "InvalidInput", "E_BAD_ARGS", "check the value"),
    (400, "InvalidRequestBody", "E_BAD_ARGS", "check the value"),
    (400, "InvalidHashValue", "E_BAD_ARGS", "check the value"),
    (400, "InvalidDomainName", "E_BAD_ARGS", "check the value"),
    (400, "InvalidIpAddress", "E_BAD_ARGS", "check the value"),
    (400, "InvalidUrl", "E_BAD_ARGS", "check the value"),
    (400, "MissingRequiredParameter", "E_BAD_ARGS", "check the value"),
    (400, "MaximumBatchSizeExceeded", "E_TOO_LARGE", "correlation id"),
    (400, "OsPlatformNotSupported", "E_UNSUPPORTED", "does not have this action"),
    (400, "ClientVersionNotSupported", "E_UNSUPPORTED", "does not have this action"),
    (401, "Unauthorized", "E_BACKEND", "Machine.LiveResponse"),
    (403, "Forbidden", "E_BACKEND", "Machine.LiveResponse"),
    (403, "DisabledFeature", "E_BACKEND", "Advanced features"),
    (403, "DisallowedOperation", "E_BACKEND", "automation level"),
    (404, "NotFound", "E_NO_DEVICE", "devices"),
    (404, "ResourceNotFound", "E_NO_DEVICE", "devices"),
    (409, "SomethingNew", "E_BACKEND", "correlation id"),
];

#[test]
fn every_refusal_has_its_code_and_a_next_step() {
    let (case, name) = Case::synced("windows", &[]);
    let mut server = case.serve();
    server.done("connect", json!({ "device": name }));
    for (status, code, ours, step) in REFUSALS {
        case.tenant.control(json!([{ "reset": true }, spoil("run_live_response", 2, refusal(*status, code))]));
        let error = server.error("services", json!({}));
        assert_eq!(error["code"], *ours, "{code}: {error}");
        assert!(error["hint"].to_string().contains(step), "{code}: {error}");
        assert!(error["message"].to_string().contains(code), "{code}: {error}");
        assert!(!error.to_string().contains("\\u001b"), "{code}: {error}");
        assert!(error["detail"]["correlation_id"].is_string(), "{code}: {error}");
    }
    case.tenant
        .control(json!([{ "reset": true }, spoil("run_live_response", 1, refusal(400, "ActiveRequestAlreadyExists"))]));
    server.done("services", json!({}));
    assert_eq!(case.actions().len(), 1, "a refused start is none");
    // What the service does not take at all: its quota, and a fault of its own.
    case.tenant.control(spoil("machines", 20, json!({ "throttle": { "retry_after_s": 0, "retry_date_s": null } })));
    let error = server.error("connect", json!({ "device": name }));
    assert!(error["code"] == "E_THROTTLED" && error["hint"].to_string().contains("quota"), "{error}");
    case.tenant.control(json!([{ "reset": true }, spoil("machines", 20, refusal(500, "InternalServerError"))]));
    let error = server.error("connect", json!({ "device": name }));
    assert!(error["code"] == "E_BACKEND" && error["message"].to_string().contains("InternalServerError"), "{error}");
}

#[test]
fn a_wait_that_the_service_asks_for_is_kept() {
    let (case, name) = Case::of("windows", &[]);
    // Its clock is another one: the date that it gives is meant by it.
    case.tenant.control(json!([
        { "clock_offset_s": -7200 },
        spoil("machines", 1, json!({ "throttle": { "retry_after_s": null, "retry_date_s": 2 } })),
    ]));
    let began = std::time::Instant::now();
    case.call(&name, "cd", json!({ "path": "Windows" })).expect(0);
    let took = began.elapsed().as_secs();
    assert!((1..30).contains(&took), "{took} s");
}

/// Spoils one answer of each step of a read, and holds the read to its answer and to one start.
fn every_step(act: &dyn Fn(&str) -> Value) {
    let (mut case, name) = Case::synced("windows", &[]);
    case.is_traced = true;
    for endpoint in ["token", "machines", "library_list", "run_live_response", "action", "result_link", "blob"] {
        case.tenant.control(spoil(endpoint, 1, act(endpoint)));
    }
    let rows = case.call(&name, "services", json!({})).expect(0).json()["data"]["rows"].to_string();
    assert!(rows.contains("svchost"), "{rows}");
    assert_eq!(case.actions().len(), 1, "it was started more than once");
    for endpoint in ["token", "machines", "library_list", "action", "result_link", "blob"] {
        assert!(case.tenant.count(endpoint) >= 2, "{endpoint} was not asked again");
    }
    assert_eq!(case.tenant.count("run_live_response"), 1, "the start was sent again");
}

#[test]
fn a_network_that_is_cut_at_every_step_costs_time_only() {
    every_step(&|_| json!({ "cut": { "carried_out": true } }));
}

#[test]
fn answers_that_are_cut_within_cost_time_only() {
    every_step(&|_| json!({ "cut": { "after_bytes": 250, "carried_out": true } }));
}

#[test]
fn answers_that_lack_their_end_cost_time_only() {
    every_step(&|_| json!({ "truncated": {} }));
}

#[test]
fn a_portals_page_at_every_step_costs_time_only() {
    every_step(&|_| json!({ "html": { "carried_out": true } }));
}

#[test]
fn empty_answers_cost_time_only() {
    every_step(&|_| json!({ "empty": { "carried_out": true } }));
}

#[test]
fn a_start_that_never_arrived_is_sent_again_for_a_look_and_not_for_a_change() {
    let (case, name) = Case::synced("windows", &[]);
    case.tenant.control(spoil("run_live_response", 1, json!({ "cut": {} })));
    case.call(&name, "services", json!({})).expect(0);
    assert_eq!((case.tenant.count("run_live_response"), case.actions().len()), (2, 1));
    let pending = case.ask(&name, "scan", json!({ "type": "quick" }));
    case.tenant.control(spoil("scan", 1, json!({ "cut": {} })));
    case.approve(&pending, "").expect(1).says("E_OUTCOME_UNKNOWN");
    assert_eq!(case.tenant.count("scan"), 1);
}

#[test]
fn a_result_that_is_lost_or_whose_links_have_expired_is_told_and_not_taken_for_an_answer() {
    let (case, name) = Case::synced("windows", &[]);
    let mut server = case.serve();
    server.done("connect", json!({ "device": name }));
    let asked = json!({ "path": super::changes::EVIL });
    case.tenant.control(json!({ "result": { "expired": true } }));
    let error = server.error("fileinfo", asked.clone());
    assert!(error["code"] == "E_BACKEND" && error["message"].to_string().contains("expired"), "{error}");
    case.tenant.control(json!({ "result": { "lost": true } }));
    let error = server.error("fileinfo", asked.clone());
    assert!(error["code"] == "E_BACKEND" && error["message"].to_string().contains("not there"), "{error}");
    // `E_NOT_FOUND` would say that the device has no such file.
    case.tenant.control(spoil("result_link", 4, refusal(404, "ResourceNotFound")));
    let error = server.error("fileinfo", asked.clone());
    assert_eq!(error["code"], "E_BACKEND", "{error}");
    // The bytes of a file that are cut on their way, and those of the facts before it.
    for after in [0, 1] {
        case.tenant.control(json!([{ "reset": true }, { "fault": { "endpoint": "blob", "after": after, "times": 4, "do": { "cut": { "after_bytes": 300 } } } }]));
        let error = server.error("getfile", json!({ "path": super::changes::EVIL }));
        assert_eq!(error["code"], "E_BACKEND", "{error}");
    }
    case.tenant.control(json!({ "reset": true }));
    assert!(
        server.done("evidence", json!({}))["data"]["rows"].as_array().is_some_and(Vec::is_empty),
        "half a file was kept"
    );
    case.tenant.control(json!({ "fault": { "endpoint": "blob", "after": 1, "do": { "status": { "status": 403 } } } }));
    server.done("getfile", json!({ "path": super::changes::EVIL }));
}

/// A script's answer with so much noise round it; `most` is what may be taken above rest, in KiB.
fn noise_is_read(mib: usize, most: u64) {
    let (case, name) = Case::synced("windows", &[]);
    case.configure("[limits]\nanswer_within_s = 240");
    let mut server = case.serve();
    server.done("connect", json!({ "device": name }));
    let rest = server.memory("VmRSS");
    case.tenant.control(json!({ "result": { "noise_bytes": mib << 20 } }));
    let rows = server.done("services", json!({}))["data"]["rows"].to_string();
    assert!(rows.contains("svchost"), "{rows}");
    let grown = server.memory("VmHWM").saturating_sub(rest);
    assert!(grown < most, "{grown} KiB above rest");
}

#[test]
fn noise_takes_memory_in_proportion() {
    noise_is_read(8, 64 << 10);
}

#[test]
#[ignore = "takes a minute without optimisation"]
fn fifty_megabytes_of_noise_are_read_in_bounded_memory() {
    noise_is_read(50, 256 << 10);
}

#[test]
#[ignore = "takes a minute without optimisation"]
fn more_than_any_script_says_is_refused() {
    let (case, name) = Case::synced("windows", &[]);
    case.configure("[limits]\nanswer_within_s = 240");
    let mut server = case.serve();
    server.done("connect", json!({ "device": name }));
    let rest = server.memory("VmRSS");
    case.tenant.control(json!({ "result": { "noise_bytes": 80 << 20 } }));
    assert_eq!(server.error("services", json!({}))["code"], "E_TOO_LARGE");
    let grown = server.memory("VmHWM").saturating_sub(rest);
    assert!(grown < 192 << 10, "{grown} KiB above rest");
    server.done("services", json!({}));
}
