//! Advanced hunting: a query over the tenant's last 30 days. It reads only.

use crate::device::defender::client::json::tolerant;
use crate::device::defender::client::{Call, Client, Endpoint, Failure, Family};
use crate::error::{ErrorCode, Result};
use crate::model::Job;
use crate::shape::Untrusted;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::time::Duration;

static HUNT: Endpoint = Endpoint {
    what: "run the hunting query",
    permission: "AdvancedQuery.Read.All",
    family: Family::Hunt,
    missing: ErrorCode::NotFound,
};

/// The service cuts results at 124 MB.
const HUNT_BYTES: usize = 128 << 20;
/// And queries at 200 s.
const HUNT_PATIENCE: Duration = Duration::from_secs(230);

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Column {
    #[serde(deserialize_with = "tolerant")]
    pub name: Option<Untrusted>,
    #[serde(rename = "Type", deserialize_with = "tolerant")]
    pub kind: Option<Untrusted>,
}

/// What was found: at most 100,000 rows, each an object as the service wrote it (untrusted, not cleaned).
#[derive(Default, Debug, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Hunted {
    #[serde(deserialize_with = "tolerant")]
    pub schema: Vec<Column>,
    #[serde(rename = "Results")]
    pub rows: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    query: &'a str,
}

impl Client {
    pub async fn hunt(&self, query: &str, job: &Job) -> Result<Hunted> {
        let call = self.post(&HUNT, &["advancedqueries", "run"], &Request { query })?;
        self.ask(&Call { repeats: true, patience: HUNT_PATIENCE, max: HUNT_BYTES, ..call }, job)
            .await
            .map_err(Failure::into_error)
    }
}
