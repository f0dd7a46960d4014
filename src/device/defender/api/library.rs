//! The tenant's script library.

use crate::device::defender::client::json::{time, tolerant};
use crate::device::defender::client::{Body, Call, Client, Endpoint, Failure, Family, Page};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Sha256, Timestamp};
use crate::shape::Untrusted;
use reqwest::Method;
use serde::Deserialize;
use std::time::Duration;

static LIST: Endpoint = Endpoint {
    what: "list the library",
    permission: "Library.Manage",
    family: Family::LibraryRead,
    missing: ErrorCode::NotFound,
};
static WRITE: Endpoint = Endpoint {
    what: "change the library",
    permission: "Library.Manage",
    family: Family::LibraryWrite,
    missing: ErrorCode::NotFound,
};

/// No library file is larger.
pub const UPLOAD_BYTES: usize = 20_000_000;
const UPLOAD_PATIENCE: Duration = Duration::from_secs(300);

/// A file of the library. There is no way to read its bytes.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LibraryFile {
    #[serde(deserialize_with = "tolerant")]
    pub file_name: String,
    #[serde(deserialize_with = "tolerant")]
    pub sha256: Option<Sha256>,
    #[serde(deserialize_with = "tolerant")]
    pub description: Option<Untrusted>,
    #[serde(deserialize_with = "time")]
    pub creation_time: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub last_updated_time: Option<Timestamp>,
    #[serde(deserialize_with = "tolerant")]
    pub created_by: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub has_parameters: Option<bool>,
    #[serde(deserialize_with = "tolerant")]
    pub parameters_description: Option<Untrusted>,
}

impl Client {
    pub async fn library(&self, job: &Job) -> Result<Vec<LibraryFile>> {
        let call = self.get(&LIST, &["libraryfiles"], &[])?;
        Ok(self.ask::<Page<LibraryFile>>(&call, job).await.map_err(Failure::into_error)?.value)
    }

    /// Puts a file into the library. One of that name is never replaced: `E_EXISTS`. Where the answer is lost, it is
    /// `E_OUTCOME_UNKNOWN`, and the listing says.
    pub async fn upload(&self, name: &str, description: &str, bytes: Vec<u8>, job: &Job) -> Result<LibraryFile> {
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 255 || !name.bytes().all(is_name) {
            let what = format!("{:?} is no name that the library takes", crate::shape::clean(name));
            return Err(Error::new(ErrorCode::BadArgs, what).hint("letters, digits, - _ and ."));
        }
        if bytes.len() > UPLOAD_BYTES {
            return Err(Error::new(ErrorCode::TooLarge, format!("{name} is larger than {UPLOAD_BYTES} bytes")));
        }
        let body = Body::Upload { name: name.to_owned(), description: description.to_owned(), bytes };
        let call = self.call(&WRITE, Method::POST, &["libraryfiles"], &[], body)?;
        self.ask(&Call { patience: UPLOAD_PATIENCE, ..call }, job).await.map_err(Failure::of_change)
    }

    pub async fn delete_library_file(&self, name: &str, job: &Job) -> Result<()> {
        let call = self.call(&WRITE, Method::DELETE, &["libraryfiles", name], &[], Body::Empty)?;
        self.tell(&call, job).await.map_err(Failure::into_error)
    }
}
