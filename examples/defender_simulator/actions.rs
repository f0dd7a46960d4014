//! Machine actions: started, run in the background with the service's states and timings, read, cancelled.

use crate::answer::{Answer, Refusal, collection, entity};
use crate::control::ActionOrder;
use crate::live;
use crate::odata;
use crate::results::Stored;
use crate::service::{Sim, Simulator};
use crate::tenant::Tenant;
use crate::times;
use crate::{archive, windows};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const FIELDS: &[&str] = &["id", "status", "machineId", "type", "requestor", "creationDateTimeUtc"];
/// How long an offline device is waited for.
const OFFLINE: Duration = Duration::from_secs(3 * 86_400);
const E_TIMEOUT: i32 = -2_147_023_436; // 0x800705B4
const E_NOT_FOUND: i32 = -2_147_024_894; // 0x80070002

pub struct Action {
    pub id: String,
    pub kind: &'static str,
    scope: Option<String>,
    comment: String,
    external: Option<String>,
    requestor: String,
    pub status: String,
    pub device: usize,
    machine_id: String,
    machine_name: String,
    created: Timestamp,
    updated: Timestamp,
    cancelled: Option<(String, Timestamp)>,
    error_hresult: i32,
    pub related: Option<String>,
    pub commands: Vec<Command>,
    pub package: Option<Stored>,
    plan: ActionOrder,
    started: Instant,
    cancel: CancellationToken,
}

pub struct Command {
    pub kind: String,
    pub params: Vec<(String, String)>,
    pub started: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub status: &'static str,
    pub errors: Vec<String>,
    pub stored: Option<Stored>,
}

/// An action to be.
pub struct New {
    pub kind: &'static str,
    pub scope: Option<String>,
    pub comment: String,
    pub related: Option<String>,
    pub external: Option<String>,
    pub commands: Vec<Command>,
}

impl Action {
    pub fn is_over(&self) -> bool {
        !matches!(self.status.as_str(), "Pending" | "InProgress")
    }

    fn row(&self, fresh: bool) -> Value {
        let time = |t: Timestamp| times::written(t);
        let commands = self.commands.iter().enumerate().map(|(index, c)| {
            let params: Vec<Value> = c.params.iter().map(|(k, v)| json!({ "key": k, "value": v })).collect();
            json!({
                "index": index,
                "startTime": c.started.map(time),
                "endTime": c.ended.map(time),
                "commandStatus": c.status,
                "errors": c.errors,
                "command": { "type": c.kind, "params": params },
            })
        });
        json!({
            "id": self.id,
            "type": self.kind,
            "title": null,
            "requestor": self.requestor,
            "requestorComment": self.comment,
            "status": self.status,
            "machineId": self.machine_id,
            "computerDnsName": (!fresh).then_some(&self.machine_name),
            "creationDateTimeUtc": time(self.created),
            "lastUpdateDateTimeUtc": time(self.updated),
            "cancellationRequestor": self.cancelled.as_ref().map(|_| &self.requestor),
            "cancellationComment": self.cancelled.as_ref().map(|c| &c.0),
            "cancellationDateTimeUtc": self.cancelled.as_ref().map(|c| time(c.1)),
            "errorHResult": self.error_hresult,
            "scope": self.scope,
            "externalId": self.external,
            "requestSource": "PublicApi",
            "relatedFileInfo": self.related.as_ref().map(|h| json!({ "fileIdentifier": h, "fileIdentifierType": "Sha1" })),
            "commands": if self.kind == "LiveResponse" { Value::Array(commands.collect()) } else { json!([]) },
            "troubleshootInfo": null,
        })
    }

    fn is_seen(&self) -> bool {
        self.started.elapsed() >= Duration::from_millis(self.plan.unseen_ms.unwrap_or(0))
    }
}

/// Checks that the device takes it, and lets it run.
pub fn start(sim: &Sim, device: usize, new: New) -> Answer {
    let mut tenant = sim.tenant();
    accepted(sim, &tenant, device, &new)?;
    let mut plan = planned(&mut tenant, device, new.kind);
    plan.unseen_ms = plan.unseen_ms.or(Some(sim.options.unseen_ms));
    let id = tenant.ids.guid();
    let requestor = tenant.client_id.clone();
    let (machine_id, machine_name) = match tenant.devices.get(device) {
        Some(d) => (d.id().to_owned(), d.name().to_owned()),
        None => return Err(Refusal::not_found("Machine was not found")),
    };
    let now = Timestamp::now();
    let action = Action {
        id: id.clone(),
        kind: new.kind,
        scope: new.scope,
        comment: new.comment,
        external: new.external,
        requestor,
        status: "Pending".into(),
        device,
        machine_id,
        machine_name,
        created: now,
        updated: now,
        cancelled: None,
        error_hresult: 0,
        related: new.related,
        commands: new.commands,
        package: None,
        plan,
        started: Instant::now(),
        cancel: CancellationToken::new(),
    };
    let row = action.row(true);
    tenant.add_action(action);
    drop(tenant);
    tokio::spawn(drive(sim.clone(), id));
    entity(201, &format!("{}/api/$metadata#MachineActions/$entity", sim.url), &row)
}

fn accepted(sim: &Simulator, tenant: &Tenant, device: usize, new: &New) -> Result<(), Refusal> {
    let running = || tenant.actions.iter().rev().filter(|a| !a.is_over());
    let here = || running().filter(|a| a.device == device);
    if here().any(|a| a.plan.stuck && a.status == "InProgress")
        || tenant.devices.get(device).is_some_and(|d| d.stuck) && here().next().is_some()
    {
        return Err(Refusal::new(500, "InternalServerError", "An error has occurred."));
    }
    let same_second = |a: &&Action| sim.options.same_second_starts && a.started.elapsed() < Duration::from_secs(1);
    if here().filter(|a| a.kind == new.kind).any(|a| !same_second(&a)) {
        let message = match new.kind {
            "LiveResponse" => "An active live response session already exists for this machine",
            _ => "Action is already in progress",
        };
        return Err(Refusal::bad("ActiveRequestAlreadyExists", message));
    }
    if new.kind == "LiveResponse" && sim.options.sessions > 0 {
        let online = |a: &&Action| tenant.devices.get(a.device).is_some_and(|d| *d.online.borrow());
        let sessions = running().filter(|a| a.kind == "LiveResponse").filter(online).count();
        if sessions >= sim.options.sessions {
            let message =
                format!("Maximum number of concurrent live response sessions ({}) was reached", sim.options.sessions);
            return Err(Refusal::throttled(message, None));
        }
    }
    Ok(())
}

/// What an order of the tests says of this action.
fn planned(tenant: &mut Tenant, device: usize, kind: &str) -> ActionOrder {
    let index_of = |name: &Option<String>, tenant: &Tenant| name.as_deref().map(|n| tenant.device_index(n));
    let found = tenant.action_orders.iter().position(|order| {
        order.kind.as_deref().is_none_or(|k| k == kind)
            && index_of(&order.device, tenant).is_none_or(|d| d == Some(device))
    });
    let Some(at) = found else { return ActionOrder::default() };
    let order = tenant.action_orders[at].clone();
    tenant.action_orders[at].times = order.times.saturating_sub(1);
    if order.times <= 1 {
        tenant.action_orders.remove(at);
    }
    order
}

async fn drive(sim: Sim, id: String) {
    let Some((plan, cancel, device)) = sim.tenant().action(&id).map(|a| (a.plan.clone(), a.cancel.clone(), a.device))
    else {
        return;
    };
    let time = |ms: Option<u64>, share: f64| match ms {
        Some(ms) => Duration::from_millis(ms),
        None => sim.scaled(Duration::from_millis(sim.options.action_ms).mul_f64(share)),
    };
    tokio::select! {
        () = tokio::time::sleep(time(plan.pending_ms, 0.3)) => {}
        () = cancel.cancelled(), if !plan.cancel_too_late => return end(&sim, &id, "Cancelled", 0),
    }
    let Some(mut online) = sim.tenant().devices.get(device).map(|d| d.online.subscribe()) else { return };
    tokio::select! {
        _ = online.wait_for(|online| *online) => {}
        () = cancel.cancelled(), if !plan.cancel_too_late => return end(&sim, &id, "Cancelled", 0),
        () = tokio::time::sleep(sim.scaled(OFFLINE)) => return end(&sim, &id, "TimeOut", E_TIMEOUT),
    }
    update(&sim, &id, |action| action.status = "InProgress".into());
    let stuck = plan.stuck || sim.tenant().devices.get(device).is_some_and(|d| d.stuck);
    if stuck {
        while sim.tenant().devices.get(device).is_some_and(|d| d.stuck) || plan.stuck {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        return end(&sim, &id, "Failed", E_TIMEOUT);
    }
    let work = async {
        let (done, ()) = tokio::join!(work(&sim, &id), tokio::time::sleep(time(plan.running_ms, 0.7)));
        done
    };
    let deaf = plan.cancelled_though_it_ran || plan.cancel_too_late;
    tokio::select! {
        done = work => {
            let hresult = plan.error_hresult.unwrap_or(done.err().unwrap_or(0));
            let status = if done.is_ok() { "Succeeded" } else { "Failed" };
            end(&sim, &id, plan.ends.as_deref().unwrap_or(status), hresult);
        }
        () = cancel.cancelled(), if !deaf => end(&sim, &id, "Cancelled", 0),
    }
}

/// What the action does; the error is an HRESULT.
async fn work(sim: &Sim, id: &str) -> Result<(), i32> {
    let Some((kind, device, related)) = sim.tenant().action(id).map(|a| (a.kind, a.device, a.related.clone())) else {
        return Ok(());
    };
    match kind {
        "LiveResponse" => return live::run(sim, id).await,
        "CollectInvestigationPackage" => {
            let package = {
                let mut tenant = sim.tenant();
                let order = live::ordered(&mut tenant, device, true);
                archive::package(&tenant.devices[device], &order)
            };
            update(sim, id, |action| action.package = Some(package));
        }
        "StopAndQuarantineFile" => {
            let state = sim.tenant().devices[device].windows.clone();
            let taken = related.is_some_and(|hash| windows::quarantine(&state, &hash));
            return if taken { Ok(()) } else { Err(E_NOT_FOUND) };
        }
        _ => {
            let mut tenant = sim.tenant();
            let device = &mut tenant.devices[device];
            match kind {
                "Isolate" => device.isolated = true,
                "Unisolate" => device.isolated = false,
                "RestrictCodeExecution" => device.restricted = true,
                "UnrestrictCodeExecution" => device.restricted = false,
                _ => {}
            }
        }
    }
    Ok(())
}

pub fn update(sim: &Simulator, id: &str, change: impl FnOnce(&mut Action)) {
    if let Some(action) = sim.tenant().action_mut(id) {
        change(action);
        action.updated = Timestamp::now();
    }
}

fn end(sim: &Simulator, id: &str, status: &str, error_hresult: i32) {
    update(sim, id, |action| {
        // A cancel that said so already has the last word.
        if action.status != "Cancelled" {
            action.status = status.to_owned();
            action.error_hresult = error_hresult;
        }
    });
}

fn missing(id: &str) -> Refusal {
    Refusal::not_found(format!("Machine action {id} was not found"))
}

pub fn one(sim: &Simulator, id: &str) -> Answer {
    let tenant = sim.tenant();
    let action = tenant.action(id).filter(|a| a.is_seen()).ok_or_else(|| missing(id))?;
    entity(200, &format!("{}/api/$metadata#MachineActions/$entity", sim.url), &action.row(false))
}

/// Newest first.
pub fn list(sim: &Simulator, query: Option<&str>) -> Answer {
    let asked = odata::asked(query, FIELDS)?;
    let tenant = sim.tenant();
    let rows = tenant.actions.iter().rev().filter(|a| a.is_seen()).map(|a| a.row(false));
    let rows = rows.filter(|row| asked.filter.as_ref().is_none_or(|f| f.holds(row)));
    let mut rows: Vec<Value> = rows.collect();
    if let Some((field, falls)) = &asked.order {
        rows.sort_by(|a, b| {
            let order = odata::compared(&a[field], &b[field]).unwrap_or(std::cmp::Ordering::Equal);
            if *falls { order.reverse() } else { order }
        });
    }
    let top = asked.top.min(sim.options.page_size);
    let more = sim.options.next_link && asked.top > top && rows.len() > asked.skip + top;
    let next = more.then(|| crate::machines::next_link(sim, "machineactions", query, asked.skip + top));
    let page: Vec<String> = rows.iter().skip(asked.skip).take(top).map(Value::to_string).collect();
    Ok(collection(&format!("{}/api/$metadata#MachineActions", sim.url), page.iter().map(String::as_str), next))
}

pub fn cancel(sim: &Simulator, id: &str, body: &Value) -> Answer {
    let comment = crate::machines::text(body, "Comment")?;
    let mut tenant = sim.tenant();
    let roles = tenant.roles.clone();
    let action = tenant.action_mut(id).filter(|a| a.is_seen()).ok_or_else(|| missing(id))?;
    let needed = permission(action.kind);
    if !roles.contains(needed) {
        let message = format!(
            "The application does not have any of the required application permissions ({needed}) to access the resource."
        );
        return Err(Refusal::new(403, "Forbidden", message));
    }
    if action.is_over() {
        let message = format!("Machine action {id} cannot be cancelled: its status is {}", action.status);
        return Err(Refusal::bad("BadRequest", message));
    }
    action.cancelled = Some((comment, Timestamp::now()));
    action.updated = Timestamp::now();
    if action.plan.cancelled_though_it_ran {
        action.status = "Cancelled".into();
    }
    let row = action.row(false);
    action.cancel.cancel();
    entity(200, &format!("{}/api/$metadata#MachineActions/$entity", sim.url), &row)
}

fn permission(kind: &str) -> &'static str {
    match kind {
        "Isolate" | "Unisolate" => "Machine.Isolate",
        "RunAntiVirusScan" => "Machine.Scan",
        "CollectInvestigationPackage" => "Machine.CollectForensics",
        "StopAndQuarantineFile" => "Machine.StopAndQuarantine",
        "RestrictCodeExecution" | "UnrestrictCodeExecution" => "Machine.RestrictExecution",
        _ => "Machine.LiveResponse",
    }
}
