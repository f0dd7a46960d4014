//! The tenant as a whole, as the device `defender`: what it is asked and told that concerns no single device.
//!
//! Invariant: it is no device to connect to; what changes it takes an order, and is looked at again before and after.
#![allow(clippy::disallowed_methods)]

use super::api::{Indicator, NewIndicator};
use super::resolve::cut;
use super::{BACKEND, Tenant};
use crate::device::{Device, Fetched, Fut, Package};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::{Approved, Order};
use crate::model::{
    Answer, CollectQuery, DeviceId, DeviceRef, DeviceRow, End, FileQuery, HuntQuery, HuntRow, Hunted, IndicatorQuery,
    IndicatorRow, Job, Outcome, Query, Remediated, Step, Supply, TenantDeed, Timestamp, Verified, Wish,
};
use crate::shape::{Untrusted, is_plain_char};
use serde::Deserialize;
use std::fmt::Write;
use std::sync::Arc;

/// A query's length, in bytes; the service takes 10,000 characters.
const QUERY: usize = 10_000;
/// How far back the service's data goes.
const DAYS: u64 = 30;

pub struct TenantDevice {
    tenant: Arc<Tenant>,
    id: DeviceId,
}

#[derive(Deserialize)]
struct Named {
    #[serde(rename = "Timestamp", default)]
    timestamp: Option<Timestamp>,
    #[serde(rename = "DeviceName", default)]
    device: Option<Untrusted>,
}

impl TenantDevice {
    pub fn new(tenant: Arc<Tenant>) -> TenantDevice {
        TenantDevice { tenant, id: DeviceId::new(BACKEND) }
    }

    pub fn described() -> DeviceRef {
        DeviceRef { id: DeviceId::new(BACKEND), name: Untrusted::new(BACKEND), platform: "tenant", backend: BACKEND }
    }

    async fn hunt(&self, query: HuntQuery, job: &Job) -> Result<(Hunted, Vec<HuntRow>)> {
        let asked = within(&query)?;
        let found = self.tenant.client.hunt(&asked, job).await?;
        let row = |raw: &serde_json::value::RawValue| {
            let named = serde_json::from_str::<Named>(raw.get()).unwrap_or(Named { timestamp: None, device: None });
            HuntRow { timestamp: named.timestamp, device: named.device, row: Untrusted::new(plain(raw.get())) }
        };
        let columns = found.schema.into_iter().filter_map(|column| column.name).collect();
        Ok((Hunted { columns }, found.rows.iter().map(|raw| row(raw)).collect()))
    }

    async fn indicators(&self, query: &IndicatorQuery, job: &Job) -> Result<Vec<Indicator>> {
        let mut pages = self.tenant.client.indicators(None);
        let mut all = Vec::new();
        while let Some(page) = pages.next(job).await? {
            job.check()?;
            all.extend(page);
        }
        let is = |text: &Option<Untrusted>, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|w| text.as_ref().is_some_and(|t| t.raw().eq_ignore_ascii_case(w)))
        };
        all.retain(|i| is(&i.indicator_type, &query.kind) && is(&i.indicator_value, &query.value));
        Ok(all)
    }

    async fn with_id(&self, id: &str, job: &Job) -> Result<Option<Indicator>> {
        Ok(self.indicators(&IndicatorQuery::default(), job).await?.into_iter().find(|i| i.id == id))
    }

    async fn same(&self, kind: &str, value: &str, job: &Job) -> Result<Option<Indicator>> {
        let query = IndicatorQuery { kind: Some(kind.to_owned()), value: Some(value.to_owned()) };
        Ok(self.indicators(&query, job).await?.into_iter().next())
    }

    async fn plan(&self, wish: &Wish, job: &Job) -> Result<Vec<Step>> {
        let deed = match wish {
            Wish::AddIndicator { kind, value, effect, title, description, expires } => {
                if let Some(there) = self.same(kind, value, job).await? {
                    let what = format!("the tenant has an indicator of this value: {}", there.id);
                    return Err(Error::new(ErrorCode::Exists, what).hint("`indicator` remove takes it away first"));
                }
                TenantDeed::AddIndicator {
                    kind: kind.clone(),
                    value: value.clone(),
                    effect: effect.clone(),
                    title: title.clone(),
                    description: description.clone(),
                    expires: *expires,
                }
            }
            Wish::RemoveIndicator { id } => {
                let found = self.with_id(id, job).await?.ok_or_else(|| {
                    let what = format!("the tenant has no indicator {:?}", cut(id, 40));
                    Error::new(ErrorCode::NotFound, what).hint("`indicator` lists them with their ids")
                })?;
                removal(&found)
            }
            other => return Err(no_wish(other)),
        };
        Ok(vec![Step::Tenant { deed: Box::new(deed) }])
    }

    async fn carry_out(&self, approved: Approved, job: &Job) -> Outcome {
        let mut outcome = Outcome { rows: Vec::new(), verified: Verified::Yes, end: End::Done, warnings: Vec::new() };
        let orders: Vec<Order> = match approved.orders(&self.id) {
            Ok(orders) => orders.collect(),
            Err(e) => return Outcome { verified: Verified::No, end: End::failed(&e), ..outcome },
        };
        for (step, order) in orders.into_iter().enumerate() {
            match self.change(order, job).await {
                Ok(Ok((row, verified))) => {
                    outcome.rows.push(row);
                    outcome.verified = verified;
                }
                Ok(Err(message)) => {
                    return Outcome { verified: Verified::No, end: End::Drift { step, message }, ..outcome };
                }
                Err(e) if e.code == ErrorCode::OutcomeUnknown => {
                    return Outcome {
                        verified: Verified::Unknown,
                        end: End::Unknown { message: e.message },
                        ..outcome
                    };
                }
                Err(e) => return Outcome { verified: Verified::No, end: End::failed(&e), ..outcome },
            }
        }
        outcome
    }

    /// The inner `Err` says what is not as the person saw it.
    async fn change(&self, order: Order, job: &Job) -> Result<std::result::Result<(Remediated, Verified), String>> {
        let Step::Tenant { deed } = order.step() else {
            return Err(Error::new(ErrorCode::Unsupported, "a tenant has indicators to change, and nothing else"));
        };
        let (value, outcome, verified, id) = match &**deed {
            TenantDeed::AddIndicator { kind, value, effect, title, description, expires } => {
                if let Some(there) = self.same(kind, value, job).await? {
                    return Ok(Err(format!("there is an indicator of this value by now: {}", there.id)));
                }
                let new = NewIndicator {
                    indicator_value: value.clone(),
                    indicator_type: kind.clone(),
                    action: effect.clone(),
                    title: title.clone(),
                    description: description.clone(),
                    expiration_time: *expires,
                    generate_alert: (effect == "Audit").then_some(true),
                    ..NewIndicator::default()
                };
                let added = self.tenant.client.add_indicator(&order, &new, job).await.map(|added| added.id);
                let there = self.same(kind, value, job).await;
                // An answer that was lost is made up for by a look.
                let id = match (added, &there) {
                    (Err(e), Ok(Some(there))) if e.code == ErrorCode::OutcomeUnknown => there.id.clone(),
                    (added, _) => added?,
                };
                (value, "added", seen(there.map(|found| found.is_some()), job), id)
            }
            TenantDeed::RemoveIndicator { id, value, .. } => {
                match self.with_id(id, job).await? {
                    Some(found) if removal(&found) == **deed => {}
                    Some(_) => return Ok(Err(format!("indicator {id} says something else now"))),
                    None => return Ok(Err(format!("there is no indicator {id} any more"))),
                }
                let deleted = self.tenant.client.delete_indicator(&order, id, job).await;
                let is_gone = self.with_id(id, job).await.map(|found| found.is_none());
                if !(is_gone.as_ref().is_ok_and(|gone| *gone)
                    && deleted.as_ref().is_err_and(|e| e.code == ErrorCode::OutcomeUnknown))
                {
                    deleted?;
                }
                (value, "removed", seen(is_gone, job), id.clone())
            }
            _ => return Err(Error::new(ErrorCode::Unsupported, "a tenant has indicators to change, and nothing else")),
        };
        let row = Remediated {
            r#type: "indicator".to_owned(),
            id: Untrusted::new(value.as_str()),
            outcome: outcome.to_owned(),
            undo_id: None,
            path: None,
            sha256: None,
            size_bytes: None,
            at: Some(Timestamp::now()),
            request_id: Some(order.request().clone()),
            exit_code: None,
            note: Some(Untrusted::new(format!("indicator {id}"))),
        };
        Ok(Ok((row, verified)))
    }
}

fn seen(looked: Result<bool>, job: &Job) -> Verified {
    match looked {
        Ok(true) => Verified::Yes,
        Ok(false) => Verified::No,
        Err(e) => {
            job.warn(format!("whether it is so could not be looked at: {}", e.message));
            Verified::Unknown
        }
    }
}

fn removal(of: &Indicator) -> TenantDeed {
    let text = |text: &Option<Untrusted>| text.as_ref().map(|t| t.raw().to_owned()).unwrap_or_default();
    TenantDeed::RemoveIndicator {
        id: of.id.clone(),
        kind: text(&of.indicator_type),
        value: text(&of.indicator_value),
        effect: text(&of.action),
        title: text(&of.title),
    }
}

/// JSON as the same JSON of plain characters without blanks between: what is made visible later is no JSON any more.
fn plain(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut is_text, mut is_escaped) = (false, false);
    for c in json.chars() {
        match c {
            c if is_text && !is_plain_char(c) => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{unit:04x}");
            }),
            c if is_text || !c.is_ascii_whitespace() => out.push(c),
            _ => {}
        }
        is_text ^= c == '"' && !is_escaped;
        is_escaped = is_text && c == '\\' && !is_escaped;
    }
    out
}

/// The query, narrowed to its time span.
fn within(query: &HuntQuery) -> Result<String> {
    let bad = |what: &str, hint: &str| Err(Error::new(ErrorCode::BadArgs, format!("hunt: {what}")).hint(hint));
    let text = query.query.trim();
    if text.is_empty() || text.len() > QUERY {
        return bad("the query has 1 to 10,000 bytes", "a table's name is the shortest: DeviceProcessEvents");
    }
    let Some(span) = &query.timespan else { return Ok(text.to_owned()) };
    let hint = "30m, 12h or 7d; Defender keeps 30 days";
    let (Some(number), Some(unit)) = (span.get(..span.len().saturating_sub(1)), span.chars().last()) else {
        return bad("timespan is empty", hint);
    };
    let minutes = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        _ => return bad("timespan has no unit", hint),
    };
    let span = number.parse::<u64>().ok().and_then(|n| n.checked_mul(minutes));
    let Some(minutes) = span.filter(|m| (1..=DAYS * 24 * 60).contains(m)) else {
        return bad("timespan is out of bounds", hint);
    };
    // After the table, before what else the query does with it.
    let (table, rest) = text.split_once('|').map_or((text, None), |(table, rest)| (table, Some(rest)));
    let is_table = table.trim().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !table.trim().is_empty();
    if !is_table {
        return bad("timespan goes with a query that begins with a table", "or filter Timestamp in the query itself");
    }
    let rest = rest.map(|rest| format!(" |{rest}")).unwrap_or_default();
    Ok(format!("{} | where Timestamp > ago({minutes}m){rest}", table.trim()))
}

fn row(of: Indicator) -> IndicatorRow {
    let or_none = |text: Option<Untrusted>| text.unwrap_or_else(|| Untrusted::new(""));
    IndicatorRow {
        id: of.id,
        r#type: or_none(of.indicator_type),
        value: or_none(of.indicator_value),
        effect: or_none(of.action),
        title: of.title,
        description: of.description,
        created: of.creation_time_date_time_utc,
        created_by: of.created_by,
        expires: of.expiration_time,
    }
}

fn no_wish(wish: &Wish) -> Error {
    Error::new(ErrorCode::Unsupported, format!("the tenant itself has no `{}`", wish.kind()))
        .hint("connect to one of its devices: `devices` lists them")
}

fn no_device() -> Error {
    Error::new(ErrorCode::Unsupported, "`defender` is the tenant, and no device to connect to")
        .hint("`devices` lists its devices; `hunt` and `indicator` need no session")
}

impl Device for TenantDevice {
    fn id(&self) -> &DeviceId {
        &self.id
    }

    fn describe(&self) -> DeviceRef {
        TenantDevice::described()
    }

    fn row(&self) -> DeviceRow {
        DeviceRow {
            id: self.id.clone(),
            name: Untrusted::new(BACKEND),
            backend: BACKEND,
            platform: "tenant",
            os: None,
            address: None,
            last_seen: None,
            group: None,
            tier: None,
            tags: Vec::new(),
        }
    }

    fn supports(&self, wish: &Wish) -> Result<()> {
        match wish {
            Wish::AddIndicator { .. } | Wish::RemoveIndicator { .. } => Ok(()),
            other => Err(no_wish(other)),
        }
    }

    fn read<'a>(&'a self, query: Query, job: &'a Arc<Job>) -> Fut<'a, Result<Answer>> {
        Box::pin(async move {
            Ok(match query {
                Query::Hunt(query) => Answer::Hunt(self.hunt(query, job).await?),
                Query::Indicators(query) => {
                    Answer::Indicators(self.indicators(&query, job).await?.into_iter().map(row).collect())
                }
                _ => return Err(no_device()),
            })
        })
    }

    fn fetch<'a>(&'a self, _: FileQuery, _: &'a Arc<Job>) -> Fut<'a, Result<Fetched>> {
        Box::pin(async { Err(no_device()) })
    }

    fn collect<'a>(&'a self, _: CollectQuery, _: &'a Arc<Job>) -> Fut<'a, Result<Package>> {
        Box::pin(async { Err(no_device()) })
    }

    fn resolve<'a>(&'a self, wish: &'a Wish, job: &'a Arc<Job>) -> Fut<'a, Result<Vec<Step>>> {
        Box::pin(self.plan(wish, job))
    }

    fn apply<'a>(&'a self, approved: Approved, _: Arc<dyn Supply>, job: &'a Arc<Job>) -> Fut<'a, Outcome> {
        Box::pin(self.carry_out(approved, job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stays_json_when_it_is_cleaned() {
        let raw = "{ \"a\\\"b\" :\t[1, 2.50],\n \"c\": \"x\u{202e}y \\\\\", \"d\": \"\u{e0041}\u{e9}\" }";
        let row = Untrusted::new(plain(raw));
        let shown = row.clean();
        assert_eq!(shown, "{\"a\\\"b\":[1,2.50],\"c\":\"x\\u202ey \\\\\",\"d\":\"\\udb40\\udc41\u{e9}\"}");
        let of = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(of(&shown), of(raw));
    }

    #[test]
    fn a_time_span_narrows_and_cannot_widen() {
        let asked = |query: &str, span: &str| {
            within(&HuntQuery { query: query.into(), timespan: (!span.is_empty()).then(|| span.into()) })
        };
        assert_eq!(asked("T | take 5", "").unwrap(), "T | take 5");
        assert_eq!(asked("T | take 5", "2h").unwrap(), "T | where Timestamp > ago(120m) | take 5");
        assert_eq!(asked("T", "30d").unwrap(), "T | where Timestamp > ago(43200m)");
        for span in ["31d", "0m", "-1h", "7", "d", "1w", "99999999999999999999d", "1d)", "ü"] {
            assert_eq!(asked("T", span).unwrap_err().code, ErrorCode::BadArgs, "{span}");
        }
        assert!(asked("let x = 1; T", "1d").is_err() && asked("", "").is_err());
    }
}
