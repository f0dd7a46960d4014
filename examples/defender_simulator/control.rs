//! The tests' hand on the tenant: `POST /_control` takes one order or a list of them, `GET /_control/log` gives the
//! requests seen, `GET /_control/devices` the devices with what the API does not tell.

use crate::answer::{json_with, text_with};
use crate::devices::{Device, Platform};
use crate::endpoint::Endpoint;
use crate::gzip::Source;
use crate::service::Sim;
use crate::tenant::{SecretState, Tenant};
use crate::windows;
use axum::extract::Request;
use axum::http::Method;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::Path;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Spoils the next answers of an endpoint.
    Fault(FaultOrder),
    /// Decides how the next actions go.
    Action(ActionOrder),
    /// Decides what the next results look like.
    Result(ResultOrder),
    Device(DeviceOrder),
    Library(LibraryOrder),
    /// Takes permissions from the application or gives them.
    Permissions(PermissionOrder),
    /// `valid` or `expired`.
    Secret(String),
    /// Every token given so far is refused from now on.
    ExpireTokens(bool),
    /// Every result link given so far has expired.
    ExpireLinks(bool),
    /// What the `Date` header and the clock of Entra are off by, in seconds.
    ClockOffsetS(i64),
    /// Forgets faults, action and result orders, and the calls counted for the limits.
    Reset(bool),
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct FaultOrder {
    /// Any where absent.
    pub endpoint: Option<Endpoint>,
    /// How many answers.
    #[serde(default = "one")]
    pub times: usize,
    /// How many answers go through before.
    #[serde(default)]
    pub after: usize,
    #[serde(rename = "do")]
    pub act: Spoil,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Spoil {
    /// The answer comes so many milliseconds later.
    Latency(u64),
    /// An error; `carried_out`: the request was served all the same and its answer lost.
    Status {
        status: u16,
        code: Option<String>,
        message: Option<String>,
        #[serde(default)]
        carried_out: bool,
    },
    /// HTTP 200 with a page of HTML.
    Html {
        #[serde(default)]
        carried_out: bool,
    },
    /// The right answer, its second half missing.
    Truncated {},
    /// The right status with no body.
    Empty {
        #[serde(default)]
        carried_out: bool,
    },
    /// The connection is cut: before the head, or after so many bytes of head and body.
    Cut {
        #[serde(default)]
        after_bytes: usize,
        #[serde(default)]
        carried_out: bool,
    },
    /// 429; `retry_after` in seconds or as an HTTP date so many seconds away, or none.
    Throttle { retry_after_s: Option<u64>, retry_date_s: Option<i64> },
    /// 401, once more even with a good token.
    Unauthorized {},
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ActionOrder {
    /// `LiveResponse`, `Isolate`, …; any where absent.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub device: Option<String>,
    #[serde(default = "one")]
    pub times: usize,
    /// The end, whatever happened: `Failed`, `TimeOut`, `Cancelled`, `Succeeded` or a word nobody knows.
    pub ends: Option<String>,
    pub error_hresult: Option<i32>,
    /// It answers 404 for so long.
    pub unseen_ms: Option<u64>,
    pub pending_ms: Option<u64>,
    /// Once it runs.
    pub running_ms: Option<u64>,
    /// It never ends, and the device takes no other.
    pub stuck: bool,
    /// A cancel says `Cancelled`, but the commands run to their end.
    pub cancelled_though_it_ran: bool,
    /// The cancel is accepted, but comes too late: the action succeeds.
    pub cancel_too_late: bool,
}

#[derive(Deserialize, Clone, Default)]
#[serde(deny_unknown_fields, default)]
pub struct ResultOrder {
    pub device: Option<String>,
    #[serde(default = "one")]
    pub times: usize,
    /// Before and after what the script printed.
    pub before: String,
    pub after: String,
    /// So many bytes of noise before it.
    pub noise_bytes: usize,
    /// Nothing that the script printed.
    pub no_output: bool,
    /// Raw line breaks inside the JSON string, as a documented example has them.
    pub raw_breaks: bool,
    /// `script_error` and `name`, as older documents have them.
    pub old_names: bool,
    pub exit_code: Option<i64>,
    pub script_errors: Option<String>,
    /// `gzip`, `plain` or `double` for GetFile.
    pub encoding: Option<String>,
    /// GetFile or the package gives other bytes of the same length.
    pub wrong_bytes: bool,
    /// The script says that it could not finish.
    pub partial: bool,
    /// Of the next investigation package, and of nothing else.
    pub package: bool,
    /// The link is given and leads nowhere.
    pub lost: bool,
    /// The link is given and has expired at once.
    pub expired: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceOrder {
    /// Its id or DNS name.
    pub device: String,
    pub online: Option<bool>,
    /// The action that runs, or the next one, never ends; later ones get 500.
    pub stuck: Option<bool>,
    /// Whether its group has an automation level.
    pub automated: Option<bool>,
    /// Sets fields of its row.
    #[serde(default)]
    pub set: serde_json::Map<String, Value>,
    /// Puts a generated file of this size there: for GetFile, on a Windows device for every script.
    pub file: Option<GeneratedFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratedFile {
    pub path: String,
    pub size_bytes: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryOrder {
    pub name: String,
    /// Changes the file's bytes, and so the hash that is listed.
    #[serde(default)]
    pub drift: bool,
    /// Lists this hash whatever the bytes are.
    pub listed_sha256: Option<String>,
    #[serde(default)]
    pub delete: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermissionOrder {
    #[serde(default)]
    pub revoke: Vec<String>,
    #[serde(default)]
    pub grant: Vec<String>,
}

fn one() -> usize {
    1
}

/// A script's orders, given before the first request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    order: Vec<Order>,
}

pub fn script(path: &Path, tenant: &mut Tenant) -> Result<(), Box<dyn std::error::Error>> {
    let script: Script = toml::from_str(&std::fs::read_to_string(path)?)?;
    for order in script.order {
        obey(tenant, order)?;
    }
    Ok(())
}

pub async fn answer(sim: &Sim, request: Request) -> Response {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/_control/log") => json_with(200, &json!(sim.tenant().log)),
        (&Method::GET, "/_control/devices") => {
            json_with(200, &Value::Array(sim.tenant().devices.iter().map(told).collect()))
        }
        (&Method::POST, "/_control") => {
            let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
            match orders(&body).and_then(|orders| orders.into_iter().try_for_each(|o| obey(&mut sim.tenant(), o))) {
                Ok(()) => json_with(200, &json!({ "ok": true })),
                Err(why) => json_with(400, &json!({ "error": why })),
            }
        }
        _ => text_with(404, "text/plain", "POST /_control, GET /_control/log, GET /_control/devices\n"),
    }
}

fn orders(body: &[u8]) -> Result<Vec<Order>, String> {
    let value: Value = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let list = if let Value::Array(list) = value { list } else { vec![value] };
    list.into_iter().map(|v| serde_json::from_value(v).map_err(|e| e.to_string())).collect()
}

fn told(device: &Device) -> Value {
    json!({
        "id": device.id(),
        "name": device.name(),
        "platform": format!("{:?}", device.platform).to_lowercase(),
        "online": *device.online.borrow(),
        "automated": device.automated,
        "stuck": device.stuck,
        "isolated": device.isolated,
        "restricted": device.restricted,
        "root": device.root.get().is_some(),
        "pid": device.root.get().map(|root| root.pid()),
    })
}

fn obey(tenant: &mut Tenant, order: Order) -> Result<(), String> {
    match order {
        Order::Fault(fault) => tenant.faults.push(fault),
        Order::Action(action) => tenant.action_orders.push(action),
        Order::Result(result) => tenant.result_orders.push(result),
        Order::Device(order) => device(tenant, order)?,
        Order::Library(order) => library(tenant, order)?,
        Order::Permissions(order) => {
            tenant.roles.retain(|role| !order.revoke.contains(role));
            tenant.roles.extend(order.grant);
        }
        Order::Secret(state) => {
            tenant.secret_state = match state.as_str() {
                "valid" => SecretState::Valid,
                "expired" => SecretState::Expired,
                other => return Err(format!("secret: valid or expired, not {other}")),
            }
        }
        Order::ExpireTokens(yes) if yes => tenant.tokens.clear(),
        Order::ExpireLinks(yes) if yes => {
            for link in tenant.links.values_mut() {
                link.until = std::time::Instant::now();
            }
        }
        Order::ClockOffsetS(offset) => tenant.clock_offset_s = offset,
        Order::Reset(yes) if yes => {
            tenant.faults.clear();
            tenant.action_orders.clear();
            tenant.result_orders.clear();
            tenant.calls.clear();
        }
        Order::ExpireTokens(_) | Order::ExpireLinks(_) | Order::Reset(_) => {}
    }
    Ok(())
}

fn device(tenant: &mut Tenant, order: DeviceOrder) -> Result<(), String> {
    let device = tenant.device_mut(&order.device).ok_or_else(|| format!("no device {}", order.device))?;
    if let Some(online) = order.online {
        device.online.send_replace(online);
        device.set("healthStatus", if online { "Active" } else { "Inactive" }.into());
    }
    device.stuck = order.stuck.unwrap_or(device.stuck);
    device.automated = order.automated.unwrap_or(device.automated);
    for (field, value) in order.set {
        device.set(&field, value);
    }
    if let Some(file) = order.file {
        match device.platform {
            Platform::Windows => windows::write(&device.windows, &file.path, Source::Generated(file.size_bytes)),
            Platform::Linux | Platform::MacOs => drop(device.generated.insert(file.path, file.size_bytes)),
        }
    }
    Ok(())
}

fn library(tenant: &mut Tenant, order: LibraryOrder) -> Result<(), String> {
    if order.delete {
        return tenant.library.remove(&order.name).map(drop).ok_or_else(|| format!("no library file {}", order.name));
    }
    let file = tenant.library.get_mut(&order.name).ok_or_else(|| format!("no library file {}", order.name))?;
    if order.drift {
        let mut bytes = file.bytes.to_vec();
        bytes.extend_from_slice(b"\n# changed by somebody else\n");
        file.bytes = bytes.into();
        file.listed_sha256 = None;
    }
    if let Some(hash) = order.listed_sha256 {
        file.listed_sha256 = Some(hash);
    }
    Ok(())
}
