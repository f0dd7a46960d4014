//! What the tenant knows of files, and the indicators that responders set.

use crate::answer::{Answer, Refusal, collection, entity, no_content};
use crate::machines::text;
use crate::odata;
use crate::service::Simulator;
use crate::times;
use crate::windows;
use serde_json::{Value, json};

const FIELDS: &[&str] =
    &["indicatorValue", "indicatorType", "creationTimeDateTimeUtc", "createdBy", "severity", "action"];
const TYPES: &[(&str, usize)] = &[
    ("FileSha1", 40),
    ("FileMd5", 32),
    ("FileSha256", 64),
    ("CertificateThumbprint", 40),
    ("IpAddress", 0),
    ("DomainName", 0),
    ("Url", 0),
];
const ACTIONS: &[&str] = &["Alert", "Warn", "Block", "Audit", "BlockAndRemediate", "AlertAndBlock", "Allowed"];
const SEVERITIES: &[&str] = &["Informational", "Low", "Medium", "High"];
const INDICATORS_MAX: usize = 15_000;

pub fn file(sim: &Simulator, hash: &str) -> Answer {
    let hash = hash.to_ascii_lowercase();
    if ![40, 64].contains(&hash.len()) || !hash.chars().all(|c| c.is_ascii_hexdigit()) {
        return Err(Refusal::bad("InvalidHashValue", format!("{hash} is not a valid Sha1 or Sha256")));
    }
    let known = windows::known(&hash).ok_or_else(|| Refusal::not_found(format!("File {hash} was not found")))?;
    let profile = json!({
        "sha1": known.sha1,
        "sha256": known.sha256,
        "globalPrevalence": if known.malicious { 41 } else { 1_803_291 },
        "globalFirstObserved": times::written(times::ago(86_400 * 400)),
        "globalLastObserved": times::now(),
        "size": known.size,
        "fileType": known.is_pe.then_some("PortableExecutable"),
        "isPeFile": known.is_pe,
        "filePublisher": (!known.malicious).then_some("Microsoft Corporation"),
        "fileProductName": (!known.malicious).then_some("Microsoft Windows Operating System"),
        "signer": (!known.malicious).then_some("Microsoft Windows"),
        "issuer": (!known.malicious).then_some("Microsoft Windows Production PCA 2011"),
        "signerHash": (!known.malicious).then_some("58fd671e2d4d200ce92d6e799ec70df96e6d2664"),
        "isValidCertificate": !known.malicious,
        "determinationType": if known.malicious { "Malware" } else { "Clean" },
        "determinationValue": if known.malicious { "Trojan:Win32/Simulated.A" } else { "" },
    });
    entity(200, &format!("{}/api/$metadata#Files/$entity", sim.url), &profile)
}

pub fn indicators(sim: &Simulator, query: Option<&str>) -> Answer {
    let asked = odata::asked(query, FIELDS)?;
    let tenant = sim.tenant();
    let rows = tenant.indicators.iter().filter(|row| asked.filter.as_ref().is_none_or(|f| f.holds(row)));
    let page: Vec<String> = rows.skip(asked.skip).take(asked.top).map(Value::to_string).collect();
    Ok(collection(&format!("{}/api/$metadata#Indicators", sim.url), page.iter().map(String::as_str), None))
}

pub fn add(sim: &Simulator, body: &Value) -> Answer {
    let (value, kind, action) = (text(body, "indicatorValue")?, text(body, "indicatorType")?, text(body, "action")?);
    let (title, description) = (text(body, "title")?, text(body, "description")?);
    valid(&kind, &value)?;
    let invalid =
        |what: &str, value: &str| Refusal::bad("InvalidInput", format!("{what} has an invalid value: {value}"));
    if !ACTIONS.contains(&action.as_str()) {
        return Err(invalid("action", &action));
    }
    let severity = body["severity"].as_str().unwrap_or("Informational");
    if !SEVERITIES.contains(&severity) {
        return Err(invalid("severity", severity));
    }
    if action == "Audit" && body["generateAlert"].as_bool() != Some(true) {
        return Err(Refusal::bad("InvalidInput", "generateAlert must be true when action is Audit"));
    }
    let mut tenant = sim.tenant();
    // The same value of the same type is replaced, as the service does.
    let same = |row: &Value| row["indicatorValue"] == json!(value) && row["indicatorType"] == json!(kind);
    let old = tenant.indicators.iter().position(same).map(|at| tenant.indicators.remove(at));
    if tenant.indicators.len() >= INDICATORS_MAX {
        return Err(Refusal::bad("BadRequest", format!("Max capacity of {INDICATORS_MAX} indicators was exceeded")));
    }
    let id = match old.as_ref().and_then(|o| o["id"].as_str()) {
        Some(id) => id.to_owned(),
        None => (tenant.ids.below(900_000) + 100 + tenant.indicators.len() as u64 * 1_000_000).to_string(),
    };
    let row = json!({
        "id": id,
        "indicatorValue": value,
        "indicatorType": kind,
        "action": action,
        "createdBy": tenant.client_id,
        "createdByDisplayName": "live-response",
        "createdBySource": "PublicApi",
        "severity": severity,
        "category": 1,
        "application": body["application"],
        "educateUrl": body["educateUrl"],
        "bypassDurationHours": null,
        "title": title,
        "description": description,
        "recommendedActions": body["recommendedActions"],
        "creationTimeDateTimeUtc": times::now(),
        "expirationTime": body["expirationTime"],
        "lastUpdateTime": times::now(),
        "lastUpdatedBy": null,
        "rbacGroupNames": body["rbacGroupNames"].as_array().cloned().unwrap_or_default(),
        "rbacGroupIds": [],
        "notificationId": null,
        "notificationBody": null,
        "version": null,
        "mitreTechniques": [],
        "historicalDetection": false,
        "lookBackPeriod": null,
        "generateAlert": body["generateAlert"].as_bool().unwrap_or(false),
        "additionalInfo": null,
        "externalId": null,
        "certificateInfo": null,
    });
    tenant.indicators.push(row.clone());
    entity(200, &format!("{}/api/$metadata#Indicators/$entity", sim.url), &row)
}

fn valid(kind: &str, value: &str) -> Result<(), Refusal> {
    let Some((_, digits)) = TYPES.iter().find(|(name, _)| *name == kind) else {
        return Err(Refusal::bad("InvalidInput", format!("indicatorType has an invalid value: {kind}")));
    };
    match kind {
        "IpAddress" if value.parse::<std::net::IpAddr>().is_err() => {
            Err(Refusal::bad("InvalidIpAddress", format!("{value} is not a valid IP address")))
        }
        "Url" if !value.contains('.') => Err(Refusal::bad("InvalidUrl", format!("{value} is not a valid URL"))),
        "DomainName" if !value.contains('.') || value.contains('/') => {
            Err(Refusal::bad("InvalidDomainName", format!("{value} is not a valid domain name")))
        }
        _ if *digits > 0 && (value.len() != *digits || !value.chars().all(|c| c.is_ascii_hexdigit())) => {
            Err(Refusal::bad("InvalidHashValue", format!("{value} is not a valid {kind}")))
        }
        _ => Ok(()),
    }
}

pub fn delete(sim: &Simulator, id: &str) -> Answer {
    let mut tenant = sim.tenant();
    let at = tenant.indicators.iter().position(|row| row["id"].as_str() == Some(id));
    let at = at.ok_or_else(|| Refusal::not_found(format!("Indicator {id} was not found")))?;
    tenant.indicators.remove(at);
    Ok(no_content())
}
