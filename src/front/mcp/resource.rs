//! Collected files as resources: `evidence:<sha256>` goes the way of the `evidence` tool.

use super::handler::code;
use crate::dispatcher::{Connection, Extent};
use crate::error::{Error, ErrorCode, State};
use crate::model::Sha256;
use crate::shape::ResultObject;
use rmcp::model::{ErrorData, MetaObject, ReadResourceResult, ResourceContents};
use serde::Deserialize;
use std::borrow::Cow;

pub const TOOL: &str = "evidence";
const SCHEME: &str = "evidence:";
/// The tool gives no more at once; the rest is read with the tool itself.
const LENGTH: u32 = 32_768;

#[derive(Deserialize)]
struct Slice<'a> {
    name: Option<&'a serde_json::value::RawValue>,
    size_bytes: Option<u64>,
    #[serde(borrow)]
    content: Cow<'a, str>,
}

/// Reads the first bytes of a collected file; a secret that a person must release first is an error that says so.
pub async fn read(connection: &Connection, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let Some(sha256) = uri.strip_prefix(SCHEME).and_then(Sha256::parse) else {
        let shown: String = uri.chars().take(100).collect();
        let e = Error::new(ErrorCode::NotFound, format!("no resource {shown:?}: they are {SCHEME}<sha256>"));
        return Err(ErrorData::resource_not_found(crate::shape::clean(&e.message).into_owned(), code(&e)));
    };
    let args = format!(r#"{{"sha256":"{sha256}","length":{LENGTH}}}"#);
    match connection.call(TOOL, &args, Extent::Model).await {
        Ok(answered) if answered.result.state == State::Completed => contents(uri, &answered.result),
        Ok(answered) => Err(unread(&answered.result)),
        Err(e) => Err(ErrorData::internal_error(e.message.clone(), code(&e))),
    }
}

fn contents(uri: &str, result: &ResultObject) -> Result<ReadResourceResult, ErrorData> {
    let slice = result.data.as_ref().and_then(|data| serde_json::from_str::<Slice>(data.get()).ok());
    let Some(slice) = slice else {
        let e = Error::new(ErrorCode::NotFound, "no file with this sha256 was collected");
        return Err(ErrorData::resource_not_found(e.message.clone(), code(&e)));
    };
    let mut meta = MetaObject::default();
    meta.insert("untrusted".into(), result.untrusted.into());
    meta.insert("size_bytes".into(), slice.size_bytes.into());
    let name = slice.name.and_then(|raw| serde_json::from_str(raw.get()).ok());
    meta.insert("name".into(), name.unwrap_or(serde_json::Value::Null));
    let contents = ResourceContents::text(slice.content, uri).with_mime_type("text/plain").with_meta(meta);
    Ok(ReadResourceResult::new(vec![contents]))
}

/// Why nothing is shown: a person is asked, or the tool's own error. The whole result object goes along as data.
fn unread(result: &ResultObject) -> ErrorData {
    let data = serde_json::to_value(result).ok();
    match &result.error {
        Some(e) if e.code == ErrorCode::NotFound.as_str() => ErrorData::resource_not_found(e.message.clone(), data),
        _ => ErrorData::new(
            rmcp::model::ErrorCode(super::super::message::SERVER_ERROR),
            result.to_text().into_owned(),
            data,
        ),
    }
}
