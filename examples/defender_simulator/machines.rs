//! Machines: listed, found, looked at; and the actions on one that are not a live response.

use crate::actions::{self, New};
use crate::answer::{Answer, Refusal, collection, entity};
use crate::devices::{Device, Platform};
use crate::endpoint::{Endpoint, Route};
use crate::odata;
use crate::seed::Seed;
use crate::service::{Sim, Simulator};
use crate::times;
use serde_json::{Value, json};

const FIELDS: &[&str] = &[
    "computerDnsName",
    "id",
    "version",
    "deviceValue",
    "aadDeviceId",
    "machineTags",
    "lastSeen",
    "exposureLevel",
    "onboardingStatus",
    "lastIpAddress",
    "healthStatus",
    "osPlatform",
    "riskScore",
    "rbacGroupId",
];

pub fn list(sim: &Simulator, query: Option<&str>) -> Answer {
    let asked = odata::asked(query, FIELDS)?;
    let tenant = sim.tenant();
    if tenant.devices.is_empty() {
        return Err(Refusal::not_found("No recent machines were found."));
    }
    let context = format!("{}/api/$metadata#Machines", sim.url);
    let held = |device: &&Device| asked.filter.as_ref().is_none_or(|f| f.holds(&device.row));
    let top = asked.top.min(sim.options.page_size);
    let mut rows = tenant.devices.iter().filter(held).skip(asked.skip);
    let page: Vec<&str> = rows.by_ref().take(top).map(|d| d.text.as_str()).collect();
    let more = sim.options.next_link && asked.top > top && rows.next().is_some();
    let next = more.then(|| next_link(sim, "machines", query, asked.skip + top));
    Ok(collection(&context, page.into_iter(), next))
}

/// The same question, further on.
pub fn next_link(sim: &Simulator, collection: &str, query: Option<&str>, skip: usize) -> String {
    let kept = query
        .unwrap_or_default()
        .split('&')
        .filter(|p| !p.is_empty() && !p.starts_with("$skip=") && !p.starts_with("%24skip="));
    let mut kept: Vec<String> = kept.map(str::to_owned).collect();
    kept.push(format!("$skip={skip}"));
    format!("{}/api/{collection}?{}", sim.url, kept.join("&"))
}

pub fn missing(id: &str) -> Refusal {
    Refusal::not_found(format!("Machine {id} was not found"))
}

pub fn one(sim: &Simulator, id: &str) -> Answer {
    let tenant = sim.tenant();
    let device = tenant.device(id).ok_or_else(|| missing(id))?;
    entity(200, &format!("{}/api/$metadata#Machines/$entity", sim.url), &device.row)
}

pub fn logon_users(sim: &Simulator, id: &str) -> Answer {
    let tenant = sim.tenant();
    let device = tenant.device(id).ok_or_else(|| missing(id))?;
    let mut seed = Seed::new(sim.options.seed, device.id());
    let domain = if device.platform == Platform::Windows { "CORP" } else { device.name() };
    let people = ["m.keller", "j.okafor", "s.lindqvist", "svc-backup"];
    let users: Vec<String> = (0..=seed.below(2))
        .map(|n| {
            let name = people[(seed.below(4) as usize + n as usize) % people.len()];
            json!({
                "id": format!("{domain}\\{name}"),
                "accountName": name,
                "accountDomain": domain,
                "firstSeen": times::written(times::ago(86_400 * (9 + seed.below(90)))),
                "lastSeen": times::written(times::ago(seed.below(40_000))),
                "logonTypes": if device.platform == Platform::Windows { "Interactive" } else { "RemoteInteractive" },
                "isDomainAdmin": name == "svc-backup",
                "isOnlyNetworkUser": false,
            })
            .to_string()
        })
        .collect();
    let context = format!("{}/api/$metadata#Collection(microsoft.windowsDefenderATP.api.User)", sim.url);
    Ok(collection(&context, users.iter().map(String::as_str), None))
}

/// Isolate, scan, collect, quarantine, restrict.
pub fn act(sim: &Sim, route: &Route, body: &Value) -> Answer {
    let (kind, scope, related) = wanted(route.endpoint, body)?;
    let comment = text(body, "Comment")?;
    let index = sim.tenant().device_index(&route.id).ok_or_else(|| missing(&route.id))?;
    supported(sim, index, kind, scope.as_deref())?;
    let new = New {
        kind,
        scope,
        comment,
        related,
        external: body["ExternalId"].as_str().map(str::to_owned),
        commands: Vec::new(),
    };
    actions::start(sim, index, new)
}

type Wanted = (&'static str, Option<String>, Option<String>);

fn wanted(endpoint: Endpoint, body: &Value) -> Result<Wanted, Refusal> {
    let one_of = |name: &str, words: &[&str]| {
        let value = text(body, name)?;
        if words.contains(&value.as_str()) {
            return Ok(Some(value));
        }
        Err(Refusal::bad("InvalidInput", format!("{name} has an invalid value: {value}")))
    };
    Ok(match endpoint {
        Endpoint::Isolate => ("Isolate", one_of("IsolationType", &["Full", "Selective", "UnManagedDevice"])?, None),
        Endpoint::Unisolate => ("Unisolate", None, None),
        Endpoint::Scan => ("RunAntiVirusScan", one_of("ScanType", &["Quick", "Full"])?, None),
        Endpoint::CollectPackage => ("CollectInvestigationPackage", None, None),
        Endpoint::Restrict => ("RestrictCodeExecution", None, None),
        Endpoint::Unrestrict => ("UnrestrictCodeExecution", None, None),
        _ => {
            let hash = text(body, "Sha1")?;
            if hash.len() != 40 || !hash.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(Refusal::bad("InvalidInput", format!("The hash {hash} is not a valid Sha1")));
            }
            ("StopAndQuarantineFile", None, Some(hash.to_ascii_lowercase()))
        }
    })
}

/// Keys are compared with their case, as the service does.
pub fn text(body: &Value, name: &str) -> Result<String, Refusal> {
    match body[name].as_str().map(str::trim) {
        Some(value) if !value.is_empty() => Ok(value.to_owned()),
        _ => Err(Refusal::bad("MissingRequiredParameter", format!("The {name} field is required."))),
    }
}

fn supported(sim: &Simulator, index: usize, kind: &str, scope: Option<&str>) -> Result<(), Refusal> {
    let tenant = sim.tenant();
    let Some(device) = tenant.devices.get(index) else { return Ok(()) };
    let windows = device.platform == Platform::Windows;
    let refused = match (kind, scope) {
        ("StopAndQuarantineFile" | "RestrictCodeExecution" | "UnrestrictCodeExecution", _) => !windows,
        ("Isolate", Some("Selective")) => device.platform == Platform::Linux,
        _ => false,
    };
    if refused {
        let message = format!("{kind} is not supported on OS platform {}", device.field("osPlatform"));
        return Err(Refusal::bad("OsPlatformNotSupported", message));
    }
    Ok(())
}
