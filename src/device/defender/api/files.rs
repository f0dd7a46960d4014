//! What the cloud knows of a file by its hash.

use crate::device::defender::client::json::{time, tolerant};
use crate::device::defender::client::{Client, Endpoint, FailureKind, Family};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Timestamp};
use crate::shape::Untrusted;
use serde::Deserialize;

static FILE: Endpoint = Endpoint {
    what: "show the file",
    permission: "File.Read.All",
    family: Family::Files,
    missing: ErrorCode::NotFound,
};

#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FileProfile {
    #[serde(deserialize_with = "tolerant")]
    pub sha1: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub sha256: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub md5: Option<Untrusted>,
    /// Devices in the world that had it.
    #[serde(deserialize_with = "tolerant")]
    pub global_prevalence: Option<u64>,
    #[serde(deserialize_with = "time")]
    pub global_first_observed: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub global_last_observed: Option<Timestamp>,
    #[serde(deserialize_with = "tolerant")]
    pub size: Option<u64>,
    #[serde(deserialize_with = "tolerant")]
    pub file_type: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub is_pe_file: Option<bool>,
    #[serde(deserialize_with = "tolerant")]
    pub file_publisher: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub file_product_name: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub signer: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub issuer: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub signer_hash: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub is_valid_certificate: Option<bool>,
    /// `Unknown`, `Clean`, `Malware`, `Pua`, …
    #[serde(deserialize_with = "tolerant")]
    pub determination_type: Option<Untrusted>,
    /// The name of what it is.
    #[serde(deserialize_with = "tolerant")]
    pub determination_value: Option<Untrusted>,
}

impl Client {
    /// By SHA-1 or SHA-256; `None` where the cloud has never seen it.
    pub async fn file(&self, hash: &str, job: &Job) -> Result<Option<FileProfile>> {
        if !matches!(hash.len(), 40 | 64) || !hash.bytes().all(|b| b.is_ascii_hexdigit()) {
            let what = format!("{:?} is neither a SHA-1 nor a SHA-256", crate::shape::clean(hash));
            return Err(Error::new(ErrorCode::BadArgs, what).hint("give 40 or 64 hex digits"));
        }
        let call = self.get(&FILE, &["files", hash], &[])?;
        match self.ask(&call, job).await {
            Ok(profile) => Ok(Some(profile)),
            Err(failure) if failure.kind == FailureKind::Missing => Ok(None),
            Err(failure) => Err(failure.error),
        }
    }
}
