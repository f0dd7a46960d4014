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
    ErrorCode::StoreUnavailable,
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

#[cfg(test)]
mod tests {
    use super::super::rows::{FileWire, ProcessWire};
    use super::*;
    use crate::model::FileEntry;

    const NONCE: &str = "0123456789abcdef0123456789abcdef";

    fn result(output: &str) -> ScriptResult {
        let json =
            serde_json::json!({"script_name": "x", "exit_code": 0, "script_output": output, "script_errors": ""});
        ScriptResult::parse(json.to_string().as_bytes()).unwrap()
    }

    fn marked(document: &str) -> String {
        format!("@@live-response {NONCE} begin\n{document}\n@@live-response {NONCE} end\n")
    }

    fn found(output: &str) -> Result<Document> {
        Document::find(&result(output), "processes", NONCE)
    }

    fn code(output: &str) -> ErrorCode {
        found(output).unwrap_err().code
    }

    #[test]
    fn only_the_marks_of_this_run_count() {
        let decoy = marked(r#"{"v":1,"script":"processes","rows":[{"pid":666,"name":"evil"}]}"#)
            .replace(NONCE, "ffffffffffffffffffffffffffffffff");
        let real = marked(r#"{"v":1,"script":"processes","rows":[{"pid":1,"name":"init"}]}"#);
        let noise = "Transcript started, output file is C:\\x.txt\r\n\u{feff}\u{1b}[2J{\"v\":1";
        let document = found(&format!("{noise}{decoy}{real}{decoy}{noise}\0\0\0")).unwrap();
        let rows = document.rows::<ProcessWire>(&Job::default()).unwrap();
        assert_eq!(rows.iter().map(|r| r.pid).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_line_that_a_console_broke_is_whole_again() {
        let document =
            found(&marked("{\"v\":1,\"script\":\"proc\r\nesses\",\"rows\":[{\"pid\":1,\r\n\"name\":\"in\nit\"}]}"));
        assert_eq!(document.unwrap().rows::<ProcessWire>(&Job::default()).unwrap()[0].name.raw(), "init");
    }

    #[test]
    fn what_is_not_whole_is_an_error() {
        let whole = marked(r#"{"v":1,"script":"processes","rows":[{"pid":1,"name":"init"}]}"#);
        for at in [0, 20, 60, whole.len() - 20] {
            assert_eq!(code(&whole[..at]), ErrorCode::Backend, "{at}");
        }
        for document in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"v":2,"script":"processes"}"#,
            r#"{"v":1,"script":"dir"}"#,
            r#"{"v":1}"#,
            r#"{"v":1,"script":"processes","error":7}"#,
        ] {
            assert_eq!(code(&marked(document)), ErrorCode::Backend, "{document}");
        }
        let deep = format!(r#"{{"v":1,"script":"processes","rows":{}}}"#, "[".repeat(100_000));
        assert_eq!(code(&marked(&deep)), ErrorCode::Backend);
    }

    #[test]
    fn a_device_says_no_code_of_the_guard() {
        let failing = |code: &str| {
            marked(&format!(r#"{{"v":1,"script":"processes","error":{{"code":"{code}","message":"why\u001b[31m"}}}}"#))
        };
        assert_eq!(code(&failing("E_NOT_FOUND")), ErrorCode::NotFound);
        for bad in ["E_DENIED", "E_HALTED", "E_SCOPE", "E_NO_SUCH", ""] {
            let e = found(&failing(bad)).unwrap_err();
            assert_eq!(e.code, ErrorCode::Backend, "{bad}");
            assert!(!e.message.contains('\u{1b}'));
        }
    }

    #[test]
    fn a_refused_hash_and_a_lost_argument_are_said() {
        let mut refused = result("");
        refused.exit_code = Some(HASH_FAILED);
        assert_eq!(Document::find(&refused, "processes", NONCE).unwrap_err().code, ErrorCode::ScriptDrift);
        let e = found(&marked("{}").replace(NONCE, NO_NONCE)).unwrap_err();
        assert!(e.message.contains("argument"), "{e}");
    }

    #[test]
    fn rows_that_are_none_are_counted_and_cost_no_others() {
        let job = Job::default();
        let document = found(&marked(
            r#"{"v":1,"script":"processes","complete":false,"warnings":["a",7,"b"],"rows":[7,null,{"pid":-1,"name":"x"},{"name":"y"},{"pid":5,"name":"z","path":7,"sha256":"no","started":{}}]}"#,
        ));
        let rows = document.unwrap().rows::<ProcessWire>(&job).unwrap();
        assert_eq!((rows.len(), rows[0].pid, &rows[0].path, &rows[0].sha256), (1, 5, &None, &None));
        let warnings = job.take_warnings();
        assert!(warnings.contains(&"a".into()) && warnings.iter().any(|w| w.starts_with("4 rows")), "{warnings:?}");
    }

    #[test]
    fn rows_take_no_more_memory_than_an_answer_may() {
        let rows = vec![r#"{"pid":1,"name":"a"}"#; 400_000].join(",");
        let job = Job::default();
        let document = found(&marked(&format!(r#"{{"v":1,"script":"processes","rows":[{rows}]}}"#))).unwrap();
        let kept = document.rows::<ProcessWire>(&job).unwrap();
        assert!(kept.len() as u64 * size_of::<crate::model::Process>() as u64 <= ROWS_MEMORY && kept.len() > 1000);
        assert!(job.take_warnings().iter().any(|w| w.contains("left out")));
    }

    #[test]
    fn a_path_that_is_no_text_and_a_word_that_nobody_knows() {
        let document = Document::find(
            &result(&marked(
                r#"{"v":1,"script":"dir","rows":[{"name":"esc:a\\xff","path":"esc:/a\\xff","kind":"portal"},{"name":"","path":"/x"}]}"#,
            )),
            "dir",
            NONCE,
        );
        let rows = document.unwrap().rows::<FileWire>(&Job::default()).unwrap();
        let entry = FileEntry::from(&rows[0]);
        assert_eq!((rows.len(), entry.path.as_bytes(), entry.kind), (1, &b"/a\xff"[..], "unknown"));
    }
}
