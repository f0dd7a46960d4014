//! What goes back: JSON, and errors in the shapes of OData and Entra.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// An error body of the API; `target` is filled with a correlation id.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
    /// What `Retry-After` says.
    pub retry_after: Option<String>,
}

pub type Answer = Result<Response, Refusal>;

impl Refusal {
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Refusal {
        Refusal { status, code: code.into(), message: message.into(), retry_after: None }
    }

    pub fn bad(code: &str, message: impl Into<String>) -> Refusal {
        Refusal::new(400, code, message)
    }

    pub fn not_found(message: impl Into<String>) -> Refusal {
        Refusal::new(404, "ResourceNotFound", message)
    }

    pub fn throttled(message: impl Into<String>, retry_after: Option<String>) -> Refusal {
        Refusal { retry_after, ..Refusal::new(429, "TooManyRequests", message) }
    }

    pub fn unauthorized(message: impl Into<String>) -> Refusal {
        Refusal::new(401, "Unauthorized", message)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let target = crate::seed::random_guid();
        let body = json!({ "error": { "code": self.code, "message": self.message, "target": target } });
        let mut response = json_with(self.status, &body);
        if let Some(value) = self.retry_after.and_then(|v| v.parse().ok()) {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

pub fn json_with(status: u16, body: &Value) -> Response {
    text_with(status, "application/json; odata.metadata=minimal", body.to_string())
}

pub fn text_with(status: u16, kind: &'static str, body: impl Into<Body>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, [(header::CONTENT_TYPE, kind)], body.into()).into_response()
}

pub fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// An entity with its `@odata.context`.
pub fn entity(status: u16, context: &str, body: &Value) -> Answer {
    let mut out = serde_json::Map::new();
    out.insert("@odata.context".into(), context.into());
    if let Value::Object(fields) = body {
        out.extend(fields.clone());
    }
    Ok(json_with(status, &Value::Object(out)))
}

/// A collection of rows that are JSON text already.
pub fn collection<'a>(context: &str, rows: impl Iterator<Item = &'a str>, next: Option<String>) -> Response {
    let mut out = format!("{{\"@odata.context\":{},\"value\":[", Value::from(context));
    for (n, row) in rows.enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push_str(row);
    }
    out.push(']');
    if let Some(next) = next {
        out.push_str(",\"@odata.nextLink\":");
        out.push_str(&Value::from(next).to_string());
    }
    out.push('}');
    text_with(200, "application/json; odata.metadata=minimal", out)
}
