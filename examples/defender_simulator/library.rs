//! The live response library.

use crate::answer::{Answer, Refusal, collection, entity, no_content};
use crate::service::Simulator;
use crate::times;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

const FILE_MAX: usize = 20 << 20;

pub struct LibraryFile {
    pub bytes: Bytes,
    /// Where it is not that of the bytes.
    pub listed_sha256: Option<String>,
    description: Option<String>,
    created: String,
    updated: String,
    has_parameters: bool,
    parameters: Option<String>,
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl LibraryFile {
    pub fn sha256(&self) -> String {
        self.listed_sha256.clone().unwrap_or_else(|| hex(&Sha256::digest(&self.bytes)))
    }

    fn row(&self, name: &str, by: &str) -> Value {
        let mut row = json!({
            "fileName": name,
            "sha256": self.sha256(),
            "description": self.description,
            "creationTime": self.created,
            "lastUpdatedTime": self.updated,
            "createdBy": by,
            "hasParameters": self.has_parameters,
        });
        if let Some(parameters) = &self.parameters {
            row["parametersDescription"] = parameters.as_str().into();
        }
        row
    }
}

pub fn list(sim: &Simulator) -> Answer {
    let tenant = sim.tenant();
    let rows: Vec<String> = tenant.library.iter().map(|(n, f)| f.row(n, &tenant.client_id).to_string()).collect();
    let context = format!("{}/api/$metadata#LibraryFiles", sim.url);
    Ok(collection(&context, rows.iter().map(String::as_str), None))
}

pub async fn upload(sim: &Simulator, mut request: Request) -> Answer {
    let bad = |why: &str| Refusal::bad("InvalidRequestBody", why);
    // The file has a limit of its own, whose answer is the API's.
    DefaultBodyLimit::max(FILE_MAX + (1 << 20)).apply(&mut request);
    let mut parts =
        Multipart::from_request(request, &()).await.map_err(|_| bad("Request body is not multipart/form-data"))?;
    let (mut file, mut fields) = (None, HashMap::new());
    while let Some(part) = parts.next_field().await.map_err(|_| bad("Request body is incorrect"))? {
        let name = part.name().unwrap_or_default().to_ascii_lowercase();
        let file_name = part.file_name().map(str::to_owned);
        let bytes = part.bytes().await.map_err(|_| bad("Request body is incorrect or larger than 20 MB"))?;
        if name == "file" {
            file = file_name.map(|name| (name, bytes));
        } else {
            fields.insert(name, String::from_utf8_lossy(&bytes).trim().to_owned());
        }
    }
    let (name, bytes) = file.ok_or_else(|| bad("The File field is required."))?;
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Err(Refusal::bad("InvalidInput", format!("File name {name} contains invalid characters")));
    }
    if bytes.len() > FILE_MAX {
        return Err(Refusal::bad("InvalidInput", "File size exceeds the limit of 20 MB"));
    }
    let flag = |name: &str| fields.get(name).is_some_and(|v| v.eq_ignore_ascii_case("true"));
    let text = |name: &str| fields.get(name).filter(|v| !v.is_empty()).cloned();
    let mut tenant = sim.tenant();
    let old = tenant.library.get(&name).map(|f| f.created.clone());
    if old.is_some() && !flag("overrideifexists") {
        return Err(Refusal::bad(
            "BadRequest",
            format!("File {name} already exists. Set OverrideIfExists to replace it."),
        ));
    }
    let now = times::now();
    let entry = LibraryFile {
        bytes,
        listed_sha256: None,
        description: text("description"),
        created: old.unwrap_or_else(|| now.clone()),
        updated: now,
        has_parameters: flag("hasparameters"),
        parameters: text("parametersdescription"),
    };
    let row = entry.row(&name, &tenant.client_id);
    tenant.library.insert(name, entry);
    entity(200, &format!("{}/api/$metadata#LibraryFiles/$entity", sim.url), &row)
}

pub fn delete(sim: &Simulator, name: &str) -> Answer {
    match sim.tenant().library.remove(name) {
        Some(_) => Ok(no_content()),
        None => Err(Refusal::not_found(format!("Library file {name} was not found"))),
    }
}
