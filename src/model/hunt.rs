//! What a Defender tenant is asked as a whole.

use super::{Timestamp, row};
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An advanced hunting query.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HuntQuery {
    /// KQL.
    pub query: String,
    /// `12h`, `7d`.
    pub timespan: Option<String>,
}

row! {
    /// A row that a hunting query found.
    pub struct HuntRow {
        pub timestamp: Option<Timestamp>,
        pub device: Option<Untrusted>,
        /// All its columns, as the tenant wrote them: a JSON object.
        pub row: Untrusted,
    }
}

/// The columns of what was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hunted {
    pub columns: Vec<Untrusted>,
}

/// Asks for the tenant's indicators.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndicatorQuery {
    /// In Defender's words: `FileSha256`.
    pub kind: Option<String>,
    pub value: Option<String>,
}

row! {
    /// What the tenant warns of, blocks or allows.
    pub struct IndicatorRow {
        pub id: String,
        pub r#type: Untrusted,
        pub value: Untrusted,
        pub effect: Untrusted,
        pub title: Option<Untrusted>,
        pub description: Option<Untrusted>,
        pub created: Option<Timestamp>,
        pub created_by: Option<Untrusted>,
        pub expires: Option<Timestamp>,
    }
}
