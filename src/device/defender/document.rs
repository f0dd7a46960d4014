//! What a script of the pack left: one document between two marks, in whatever the service put around it.
//!
//! Invariants: only the marks with the nonce of this very run count; a document that is not whole is an error, never a
//! short answer; what its rows take in memory is bounded, whatever it holds.

use super::api::ScriptResult;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, ROWS_MEMORY};
use crate::shape::scrub;
use serde::Deserialize;
use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::marker::PhantomData;

/// The device found a script whose hash is not the library's.
const HASH_FAILED: i64 = 323;
/// Of a script's own words in a message, in characters.
const WORDS: usize = 300;
const WARNINGS: usize = 200;
/// What a script signs with that could not read its argument.
const NO_NONCE: &str = "00000000000000000000000000000000";
/// What a device may say of itself. All else it says is the backend's.
const CODES: &[ErrorCode] = &[
    ErrorCode::Access,
    ErrorCode::BadArgs,
    ErrorCode::EntityDrift,
    ErrorCode::Exists,
    ErrorCode::NotAFile,
    ErrorCode::NotFound,
    ErrorCode::Protected,
    ErrorCode::Timeout,
    ErrorCode::TooLarge,
    ErrorCode::Unsupported,
];

/// A row as a script writes it, and what it becomes.
pub(crate) trait Wire: DeserializeOwned {
    type Row;

    /// `None` where it lacks what the row cannot be without.
    fn row(self) -> Option<Self::Row>;

    /// What the row takes beside its own size, in bytes.
    fn memory(row: &Self::Row) -> u64;
}

/// A document that was found whole and says no error.
#[derive(Debug)]
pub(crate) struct Document {
    text: String,
    complete: bool,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Head<'a> {
    v: u64,
    #[serde(default)]
    script: Option<String>,
    #[serde(default = "yes")]
    complete: bool,
    #[serde(default, borrow)]
    warnings: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(default, borrow)]
    rows: Option<&'a RawValue>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
}

fn yes() -> bool {
    true
}

impl Document {
    /// The document that `script` wrote in the run with this nonce.
    pub(crate) fn find(result: &ScriptResult, script: &str, nonce: &str) -> Result<Document> {
        if result.exit_code == Some(HASH_FAILED) {
            return Err(Error::new(
                ErrorCode::ScriptDrift,
                format!("the device refused the script {script}: its bytes are not those that the library lists"),
            )
            .hint("look who changed the library, then run `live-response library sync`"));
        }
        let Some(after) = after_mark(&result.output, nonce, "begin") else {
            return Err(no_document(result, script));
        };
        let Some(end) = after.find(&mark(nonce, "end")) else {
            let what = format!("the answer of the script {script} is cut off");
            return Err(Error::new(ErrorCode::Backend, what).hint("ask for less: name a path, a name or a pid"));
        };
        // A console breaks long lines; within the document a line break means nothing.
        let text: String = after.get(..end).unwrap_or_default().replace(['\r', '\n', '\0'], "");
        Document::read(text, script)
    }

    fn read(text: String, script: &str) -> Result<Document> {
        let bad = |why: &str| Error::new(ErrorCode::Backend, format!("the answer of the script {script} {why}"));
        let head: Head = serde_json::from_str(&text).map_err(|e| bad(&format!("is no document: {e}")))?;
        if head.v != 1 {
            return Err(bad(&format!("is of version {}, which is not known here", head.v)));
        }
        if head.script.as_deref() != Some(script) {
            return Err(bad(&format!("is that of {:?}", short(&head.script.unwrap_or_default()))));
        }
        if let Some(error) = head.error.filter(|e| e.get() != "null") {
            let error: Failure = serde_json::from_str(error.get()).map_err(|_| bad("fails without saying why"))?;
            let known = CODES.iter().copied().find(|c| c.as_str() == error.code);
            return Err(match known {
                Some(code) => Error::new(code, short(&error.message)),
                None => Error::new(ErrorCode::Backend, format!("{}: {}", short(&error.code), short(&error.message))),
            });
        }
        let warnings = texts(head.warnings);
        Ok(Document { complete: head.complete, warnings, text })
    }

    /// Warns of what the script warned of, and of what it could not finish.
    fn told(&self, job: &Job) {
        self.warnings.iter().for_each(|w| job.warn(w.clone()));
        if !self.complete && self.warnings.is_empty() {
            job.warn("the script could not finish: the answer holds what it had found until then");
        }
    }

    fn body(&self) -> Result<Body<'_>> {
        serde_json::from_str(&self.text)
            .map_err(|e| Error::new(ErrorCode::Backend, format!("the script's answer is no document: {e}")))
    }

    pub(crate) fn rows<W: Wire>(&self, job: &Job) -> Result<Vec<W::Row>> {
        self.told(job);
        let Some(raw) = self.body()?.rows else { return Ok(Vec::new()) };
        let found: Rows<W> = serde_json::from_str(raw.get())
            .map_err(|e| Error::new(ErrorCode::Backend, format!("the script's rows are no list: {e}")))?;
        if found.dropped > 0 {
            job.warn(format!("{} rows of the script made no sense and were left out", found.dropped));
        }
        if found.left_out > 0 {
            job.warn(format!("{} rows are left out: they take more memory than one answer may", found.left_out));
        }
        Ok(found.rows)
    }

    /// What the script gives beside its rows, or instead of them.
    pub(crate) fn data<T: DeserializeOwned>(&self, job: &Job) -> Result<T> {
        self.told(job);
        let raw = self.body()?.data.ok_or_else(|| Error::new(ErrorCode::Backend, "the script's answer has no data"))?;
        serde_json::from_str(raw.get())
            .map_err(|e| Error::new(ErrorCode::Backend, format!("the script's data is not what it should be: {e}")))
    }
}

fn mark(nonce: &str, which: &str) -> String {
    format!("@@live-response {nonce} {which}")
}

fn after_mark<'a>(output: &'a str, nonce: &str, which: &str) -> Option<&'a str> {
    output.split_once(&mark(nonce, which)).map(|(_, after)| after)
}

fn short(text: &str) -> String {
    let cut: String = text.chars().take(WORDS).collect();
    scrub(&cut).into_owned()
}

fn no_document(result: &ScriptResult, script: &str) -> Error {
    if after_mark(&result.output, NO_NONCE, "begin").is_some() {
        let what = format!("the script {script} did not get its argument as it was sent");
        return Error::new(ErrorCode::Backend, what).hint("is a proxy between here and Defender changing requests?");
    }
    let errors = result.errors().trim();
    let said = if errors.is_empty() { result.output.trim() } else { errors };
    let code = result.exit_code.map(|c| format!(" (exit code {c})")).unwrap_or_default();
    let said = if said.is_empty() { "it wrote nothing".to_owned() } else { format!("it wrote: {}", short(said)) };
    Error::new(ErrorCode::Backend, format!("the script {script} gave no answer{code}; {said}"))
        .hint("the action's page in the portal shows all that it wrote")
}

/// The texts of a list; what is none is left out.
fn texts(raw: Option<&RawValue>) -> Vec<String> {
    let each: Vec<&RawValue> = raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let text = |raw: &&RawValue| serde_json::from_str::<String>(raw.get()).ok().map(|t| short(&t));
    each.iter().filter_map(text).take(WARNINGS).collect()
}

struct Rows<W: Wire> {
    rows: Vec<W::Row>,
    /// Were no rows.
    dropped: u64,
    /// Found no room.
    left_out: u64,
}

impl<'de, W: Wire> Deserialize<'de> for Rows<W> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(EachRow(PhantomData))
    }
}

struct EachRow<W>(PhantomData<W>);

impl<'de, W: Wire> Visitor<'de> for EachRow<W> {
    type Value = Rows<W>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rows<W>, A::Error> {
        let mut found = Rows { rows: Vec::new(), dropped: 0, left_out: 0 };
        let mut memory = 0;
        while let Some(raw) = list.next_element::<&RawValue>()? {
            if found.left_out > 0 {
                found.left_out += 1;
                continue;
            }
            match serde_json::from_str::<W>(raw.get()).ok().and_then(W::row) {
                None => found.dropped += 1,
                Some(row) => {
                    memory += size_of::<W::Row>() as u64 + W::memory(&row);
                    if memory > ROWS_MEMORY {
                        found.left_out += 1;
                    } else {
                        found.rows.push(row);
                    }
                }
            }
        }
        Ok(found)
    }
}
