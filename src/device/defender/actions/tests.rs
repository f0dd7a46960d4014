//! Starts, turns, lost answers and polls, against a small service on loopback.

use super::*;
use crate::device::defender::client::tests::{Asked, Service, error, json};
use crate::guard::approved_for_test;
use crate::model::{DeviceId, Step};
use axum::response::Response;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Actions by id: machine, comment, status.
#[derive(Default)]
struct Tenant {
    actions: Mutex<BTreeMap<String, (String, String, &'static str)>>,
    minted: AtomicUsize,
}

impl Tenant {
    fn add(&self, machine: &str, comment: &str, status: &'static str) -> String {
        let id = format!("a-{}", self.minted.fetch_add(1, SeqCst));
        self.actions.lock().unwrap().insert(id.clone(), (machine.into(), comment.into(), status));
        id
    }

    fn set(&self, id: &str, status: &'static str) {
        self.actions.lock().unwrap().get_mut(id).unwrap().2 = status;
    }

    fn written(&self, id: &str) -> Option<String> {
        let actions = self.actions.lock().unwrap();
        let (machine, comment, status) = actions.get(id)?;
        Some(
            serde_json::json!({
                "id": id, "type": "LiveResponse", "status": status, "machineId": machine, "requestor": "ann@example",
                "requestorComment": comment, "commands": [{"index": 0, "commandStatus": "Created"}],
                "lastUpdateTimeUtc": "2026-11-24T10:00:00.1234567Z", "errorHResult": -2147024894,
            })
            .to_string(),
        )
    }

    /// Reads, of one or of many.
    fn read(&self, asked: &Asked) -> Response {
        if let Some(id) = asked.path.strip_prefix("/api/machineactions/") {
            return self.written(id).map_or_else(|| error(404, "ResourceNotFound", "none"), |a| json(200, a));
        }
        let ids: Vec<String> = self.actions.lock().unwrap().keys().cloned().collect();
        let wanted = |id: &&String| !asked.query.contains("id+eq+") || asked.query.contains(&format!("%27{id}%27"));
        let by_machine = asked.query.contains("machineId");
        let rows: Vec<String> =
            ids.iter().filter(|id| by_machine || wanted(id)).filter_map(|id| self.written(id)).collect();
        json(200, format!(r#"{{"value":[{}]}}"#, rows.join(",")))
    }
}

fn comment_of(asked: &Asked) -> String {
    let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    body["Comment"].as_str().unwrap().to_owned()
}

fn order() -> Order {
    let device = DeviceId::new("d");
    let approved = approved_for_test(&device, vec![Step::ReloadServices]);
    approved.orders(&device).unwrap().next().unwrap()
}

fn get() -> Look {
    Look::Commands(vec![LiveCommand::GetFile { path: "/x".into() }])
}

fn machine(n: usize) -> MachineId {
    MachineId::new(format!("{n:040x}"))
}

#[tokio::test]
async fn an_action_is_started_told_and_followed_though_it_is_not_there_at_first() {
    let tenant = Arc::new(Tenant::default());
    let theirs = tenant.clone();
    let service = Service::new(move |asked, n| match asked.method.as_str() {
        "POST" => json(201, theirs.written(&theirs.add("m", &comment_of(asked), "Pending")).unwrap()),
        _ if n < 2 => error(404, "ResourceNotFound", "not yet"),
        _ => {
            theirs.set("a-0", if n < 4 { "InProgress" } else { "Succeeded" });
            theirs.read(asked)
        }
    })
    .await;
    let (actions, job, told) = (Actions::new(&service.client()), Job::default(), Mutex::new(Vec::new()));
    let started = |action: &MachineAction| told.lock().unwrap().push(action.id.clone());
    let ended = actions.run(&machine(1), get(), "r-1 of bob", &started, &job).await.unwrap();
    assert_eq!(ended.status, crate::device::defender::api::Status::Succeeded);
    assert_eq!(ended.error_hresult, -2147024894);
    assert!(ended.last_update().is_some());
    assert_eq!(*told.lock().unwrap(), [ActionId::new("a-0")]);
    assert!(comment_of(&service.asked()[1]).starts_with("r-1 of bob ["));
}

#[tokio::test]
async fn a_start_whose_answer_was_lost_is_found_and_not_repeated() {
    let tenant = Arc::new(Tenant::default());
    let theirs = tenant.clone();
    let service = Service::new(move |asked, _| match asked.method.as_str() {
        "POST" => {
            theirs.add("m", &comment_of(asked), "Succeeded");
            json(500, "<html>")
        }
        _ => theirs.read(asked),
    })
    .await;
    let (actions, job) = (Actions::new(&service.client()), Job::default());
    let ended = actions.run(&machine(1), get(), "r-1", &|_| {}, &job).await.unwrap();
    assert_eq!(ended.id, ActionId::new("a-0"));
    assert_eq!(service.count("POST", "runliveresponse"), 1);
    let found = actions.find(&machine(1), "r-1", &job).await.unwrap().unwrap();
    assert_eq!(found.id, ended.id);
    assert!(actions.find(&machine(1), "r-2", &job).await.unwrap().is_none());
}

#[tokio::test]
async fn a_start_that_did_not_arrive_is_sent_again() {
    let tenant = Arc::new(Tenant::default());
    let theirs = tenant.clone();
    let service = Service::new(move |asked, n| match asked.method.as_str() {
        "POST" if n == 0 => json(502, "bad gateway"),
        "POST" => json(201, theirs.written(&theirs.add("m", &comment_of(asked), "Succeeded")).unwrap()),
        _ => theirs.read(asked),
    })
    .await;
    let (actions, job) = (Actions::new(&service.client()), Job::default());
    actions.run(&machine(1), get(), "r-1", &|_| {}, &job).await.unwrap();
    assert_eq!(service.count("POST", "runliveresponse"), 2);
}

#[tokio::test]
async fn what_one_yes_allows_is_sent_once_whatever_became_of_the_answer() {
    for shows in [false, true] {
        let tenant = Arc::new(Tenant::default());
        let theirs = tenant.clone();
        let service = Service::new(move |asked, _| match asked.method.as_str() {
            "POST" => {
                if shows {
                    theirs.add("m", &comment_of(asked), "Succeeded");
                }
                json(502, "bad gateway")
            }
            _ => theirs.read(asked),
        })
        .await;
        let (actions, job) = (Actions::new(&service.client()), Job::default());
        let ended = actions.run_once(order(), &machine(1), get().into(), "r-1", &|_| {}, &job).await;
        match shows {
            true => assert_eq!(ended.unwrap().id, ActionId::new("a-0")),
            false => assert_eq!(ended.unwrap_err().code, ErrorCode::OutcomeUnknown),
        }
        assert_eq!(service.count("POST", "runliveresponse"), 1);
    }
}

#[tokio::test]
async fn the_outcome_is_unknown_where_nobody_can_look() {
    let service = Service::new(move |asked, _| match asked.method.as_str() {
        "POST" => json(500, "{}"),
        _ => error(403, "Forbidden", "no"),
    })
    .await;
    let (actions, job) = (Actions::new(&service.client()), Job::default());
    let e = actions.run(&machine(1), get(), "r-1", &|_| {}, &job).await.unwrap_err();
    assert_eq!(e.code, ErrorCode::OutcomeUnknown);
    assert_eq!(service.count("POST", "runliveresponse"), 1);
}

#[tokio::test]
async fn another_action_on_the_device_is_waited_for_and_named() {
    let tenant = Arc::new(Tenant::default());
    tenant.add("m", "hunting \u{1b}[2Jevil", "InProgress");
    let theirs = tenant.clone();
    let service = Service::new(move |asked, n| match asked.method.as_str() {
        "POST" if n == 0 => error(400, "ActiveRequestAlreadyExists", "busy"),
        "POST" => json(201, theirs.written(&theirs.add("m", &comment_of(asked), "Succeeded")).unwrap()),
        _ => {
            if asked.path.ends_with("/a-0") && n > 1 {
                theirs.set("a-0", "Succeeded");
            }
            theirs.read(asked)
        }
    })
    .await;
    let (actions, job) = (Actions::new(&service.client()), Job::default());
    let ended = actions.run(&machine(1), get(), "r-1", &|_| {}, &job).await.unwrap();
    assert_eq!(ended.id, ActionId::new("a-1"));
    let warned = job.take_warnings().join("\n");
    assert!(warned.contains("ann@example") && warned.contains("hunting"), "{warned}");
    assert!(!warned.contains('\u{1b}'), "{warned}");
}

#[tokio::test]
async fn a_stuck_action_is_named_when_the_time_is_over() {
    let tenant = Arc::new(Tenant::default());
    tenant.add("m", "stuck", "InProgress");
    let theirs = tenant.clone();
    let service = Service::new(move |asked, _| match asked.method.as_str() {
        // The service's own way to say so.
        "POST" => json(500, "{}"),
        _ => theirs.read(asked),
    })
    .await;
    let (actions, job) = (Arc::new(Actions::new(&service.client())), Arc::new(Job::default()));
    let running = tokio::spawn({
        let (actions, job) = (actions.clone(), job.clone());
        async move { actions.run(&machine(1), get(), "r-1", &|_| {}, &job).await.map(drop) }
    });
    while service.count("GET", "/machineactions/a-0") == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    job.time_out();
    let e = running.await.unwrap().unwrap_err();
    assert_eq!(e.code, ErrorCode::DeviceBusy);
    assert!(e.message.contains("ann@example") && e.message.contains("a-0"), "{e}");
}

#[tokio::test]
async fn a_device_is_asked_by_one_at_a_time_and_all_are_read_together() {
    let tenant = Arc::new(Tenant::default());
    let most = Arc::new(AtomicUsize::new(0));
    let (theirs, seen) = (tenant.clone(), most.clone());
    let service = Service::new(move |asked, _| match asked.method.as_str() {
        "POST" => {
            let machine = asked.path.split('/').nth(3).unwrap().to_owned();
            let running =
                theirs.actions.lock().unwrap().values().filter(|a| a.0 == machine && a.2 == "Pending").count();
            seen.fetch_max(running, SeqCst);
            json(201, theirs.written(&theirs.add(&machine, &comment_of(asked), "Pending")).unwrap())
        }
        _ => {
            let answer = theirs.read(asked);
            for action in theirs.actions.lock().unwrap().values_mut() {
                action.2 = "Succeeded";
            }
            answer
        }
    })
    .await;
    let actions = Arc::new(Actions::new(&service.client()));
    let runs: Vec<_> = (0..40)
        .map(|n| {
            let actions = actions.clone();
            tokio::spawn(async move {
                actions.run(&machine(n % 10), get(), "r", &|_| {}, &Job::default()).await.map(|action| action.status)
            })
        })
        .collect();
    for run in runs {
        assert!(run.await.unwrap().unwrap().is_final());
    }
    assert_eq!(most.load(SeqCst), 0, "no second action began while one was under way");
    assert_eq!(service.count("POST", "runliveresponse"), 40);
    assert!(actions.lanes.is_empty(), "a lane is gone with the last in it");
}

#[tokio::test]
async fn a_cancel_that_comes_too_late_answers_how_it_ended() {
    let tenant = Arc::new(Tenant::default());
    let id = tenant.add("m", "r", "Succeeded");
    let theirs = tenant.clone();
    let service = Service::new(move |asked, _| match asked.method.as_str() {
        "POST" => error(400, "BadRequest", "the action is completed"),
        _ => theirs.read(asked),
    })
    .await;
    let actions = Actions::new(&service.client());
    let ended = actions.cancel(&ActionId::new(&id), "no more", &Job::default()).await.unwrap();
    assert_eq!(ended.status, crate::device::defender::api::Status::Succeeded);
}
