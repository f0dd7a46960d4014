//! Indicators: what the tenant warns of, blocks or allows.

use crate::device::defender::client::json::{time, tolerant};
use crate::device::defender::client::{Body, Client, Endpoint, Failure, Family, Pages};
use crate::error::{ErrorCode, Result};
use crate::guard::Order;
use crate::model::{Job, Timestamp};
use crate::shape::Untrusted;
use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize};

static READ: Endpoint = Endpoint {
    what: "list the indicators",
    permission: "Ti.ReadWrite.All",
    family: Family::IndicatorRead,
    missing: ErrorCode::NotFound,
};
static WRITE: Endpoint = Endpoint {
    what: "change the indicators",
    permission: "Ti.ReadWrite.All",
    family: Family::IndicatorWrite,
    missing: ErrorCode::NotFound,
};

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Indicator {
    /// A number, written as text or as a number.
    #[serde(deserialize_with = "text_or_number")]
    pub id: String,
    #[serde(deserialize_with = "tolerant")]
    pub indicator_value: Option<Untrusted>,
    /// `FileSha1`, `FileSha256`, `IpAddress`, `DomainName`, `Url`, …
    #[serde(deserialize_with = "tolerant")]
    pub indicator_type: Option<Untrusted>,
    /// `Audit`, `Warn`, `Block`, `BlockAndRemediate`, `Allowed`, …
    #[serde(deserialize_with = "tolerant")]
    pub action: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub title: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub description: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub severity: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub created_by: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub application: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub recommended_actions: Option<Untrusted>,
    #[serde(deserialize_with = "time")]
    pub creation_time_date_time_utc: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub expiration_time: Option<Timestamp>,
    #[serde(deserialize_with = "tolerant")]
    pub rbac_group_names: Vec<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub generate_alert: Option<bool>,
}

/// An indicator to be added.
#[derive(Clone, Default, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NewIndicator {
    pub indicator_value: String,
    pub indicator_type: String,
    pub action: String,
    pub title: String,
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommended_actions: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rbac_group_names: Vec<String>,
    /// Must be true with `Audit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate_alert: Option<bool>,
}

fn text_or_number<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<String, D::Error> {
    let raw = <&serde_json::value::RawValue>::deserialize(from)?.get();
    Ok(serde_json::from_str(raw).unwrap_or_else(|_| if raw == "null" { String::new() } else { raw.to_owned() }))
}

impl Client {
    /// The tenant's indicators; `filter` in OData.
    pub fn indicators(&self, filter: Option<&str>) -> Pages<Indicator> {
        Pages::new(self, &READ, "indicators", filter)
    }

    /// Adds one; the service takes an equal value of the same type for a change of it.
    pub async fn add_indicator(&self, _: &Order, indicator: &NewIndicator, job: &Job) -> Result<Indicator> {
        let call = self.post(&WRITE, &["indicators"], indicator)?;
        self.ask(&call, job).await.map_err(Failure::of_change)
    }

    pub async fn delete_indicator(&self, _: &Order, id: &str, job: &Job) -> Result<()> {
        let call = self.call(&WRITE, Method::DELETE, &["indicators", id], &[], Body::Empty)?;
        self.tell(&call, job).await.map_err(Failure::of_change)
    }
}
