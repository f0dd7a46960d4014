//! What a script of the pack takes and prints: one word of JSON, one document between markers.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

pub const NO_NONCE: &str = "00000000000000000000000000000000";

/// The decoded argument.
pub struct Call {
    pub nonce: String,
    pub args: Value,
}

impl Call {
    pub fn of(word: &str) -> Result<Call, String> {
        let bytes = URL_SAFE_NO_PAD.decode(word.trim()).map_err(|e| format!("the argument is no base64url: {e}"))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| format!("the argument is no JSON: {e}"))?;
        let nonce = value["nonce"].as_str().filter(|n| n.len() == 32 && n.chars().all(|c| c.is_ascii_hexdigit()));
        let nonce = nonce.ok_or("the argument has no nonce")?.to_owned();
        if !value["args"].is_object() {
            return Err("the argument has no args".into());
        }
        Ok(Call { nonce, args: value["args"].clone() })
    }
}

#[derive(Default)]
pub struct Document {
    pub rows: Option<Vec<Value>>,
    pub data: Option<Value>,
    pub warnings: Vec<String>,
    /// The bound ran out.
    pub cut: bool,
}

impl Document {
    pub fn rows(rows: Vec<Value>) -> Document {
        Document { rows: Some(rows), ..Document::default() }
    }

    pub fn data(data: Value) -> Document {
        Document { data: Some(data), ..Document::default() }
    }
}

/// A stable code and a text.
#[derive(Debug)]
pub struct Failure {
    code: &'static str,
    message: String,
}

impl Failure {
    pub fn new(code: &'static str, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }
}

pub fn printed(script: &str, nonce: &str, document: Result<Document, Failure>) -> String {
    let mut out = Map::new();
    out.insert("v".into(), json!(1));
    out.insert("script".into(), json!(script));
    match document {
        Ok(document) => {
            out.insert("complete".into(), json!(!document.cut));
            if let Some(rows) = document.rows {
                out.insert("rows".into(), Value::Array(rows));
            }
            if let Some(data) = document.data {
                out.insert("data".into(), data);
            }
            out.insert("warnings".into(), json!(document.warnings));
        }
        Err(failure) => {
            out.insert("complete".into(), json!(false));
            out.insert("warnings".into(), json!([]));
            out.insert("error".into(), json!({ "code": failure.code, "message": failure.message }));
        }
    }
    // PowerShell ends its lines so.
    format!("@@live-response {nonce} begin\r\n{}\r\n@@live-response {nonce} end\r\n", Value::Object(out))
}

pub fn text<'a>(args: &'a Value, name: &str) -> Option<&'a str> {
    args[name].as_str().filter(|v| !v.is_empty())
}

pub fn needed<'a>(args: &'a Value, name: &str) -> Result<&'a str, Failure> {
    text(args, name).ok_or_else(|| Failure::new("E_BAD_ARGS", format!("{name} is missing")))
}

/// `*` and `?` match, case does not matter.
pub fn glob(pattern: &str) -> Result<globset::GlobMatcher, Failure> {
    let built = globset::GlobBuilder::new(pattern).case_insensitive(true).backslash_escape(false).build();
    built.map(|g| g.compile_matcher()).map_err(|e| Failure::new("E_BAD_ARGS", e.to_string()))
}
