//! Answers on their way to the person: tables and JSON on stdout or in a file, problems on stderr.
//!
//! Invariant: a file is made, never written over; everything printed went through `shape`.

use super::Followed;
use crate::dispatcher::{AllRows, Answered};
use crate::error::{Error, ErrorCode, Result, State};
use crate::model::Job;
use crate::registry::blocking;
use crate::registry::console::Output;
use crate::shape::{self, ResultObject, clean, table, text};
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Where an answer goes.
pub(super) enum Target {
    Stdout,
    /// A file that does not exist yet; made when the answer is there.
    File(PathBuf),
}

impl Target {
    /// `E_EXISTS` before anything runs; the file's making holds the same again.
    pub(super) fn file(name: &str) -> Result<Self> {
        let path = PathBuf::from(name);
        if path.symlink_metadata().is_ok() {
            return Err(Error::new(ErrorCode::Exists, format!("{name:?} exists; a redirect writes over nothing"))
                .hint("take another name, or remove the file first"));
        }
        Ok(Target::File(path))
    }

    fn open(self) -> Result<Box<dyn Write + Send>> {
        let path = match self {
            Target::Stdout => return Ok(Box::new(std::io::stdout())),
            Target::File(path) => path,
        };
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let fd = made.map_err(|e| Error::io(path.display(), e.into()))?;
        Ok(Box::new(File::from(fd)))
    }
}

pub(super) struct Printer {
    /// Of the terminal that stdout is.
    terminal: bool,
}

impl Printer {
    pub(super) fn new() -> Self {
        Printer { terminal: std::io::stdout().is_terminal() }
    }

    /// A word to the person, beside answers.
    pub(super) fn person(&self, text: &str) {
        self.stderr(text);
    }

    pub(super) fn complain(&self, e: &Error) {
        self.stderr(&text::error(e));
    }

    /// A result that is no answer: its code, why, and the next step.
    pub(super) fn problem(&self, result: &ResultObject) {
        self.stderr(&result.to_text());
    }

    fn stderr(&self, text: &str) {
        let mut out = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            out.push_str(&clean(line));
            out.push('\n');
        }
        // Where stderr is gone too there is nobody to tell.
        let _ = std::io::stderr().write_all(out.as_bytes());
    }

    pub(super) fn say(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").map_err(written)
    }

    pub(super) fn clear_screen(&self) -> Result<()> {
        if !self.terminal {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        out.write_all(b"\x1b[2J\x1b[3J\x1b[H").and_then(|()| out.flush()).map_err(written)
    }

    /// Prints an answer in the form that was asked for; the command's own is a table.
    pub(super) async fn answer(
        &self,
        answered: Answered,
        args: &str,
        output: Option<Output>,
        to: Target,
    ) -> Result<()> {
        let Answered { result, rows } = answered;
        let json = output == Some(Output::Json);
        let plain = result.state == State::Completed;
        if !plain && (!json || result.error.is_some()) {
            match result.is_error() {
                true => self.problem(&result),
                false => self.say(&result.to_text())?,
            }
            return Ok(());
        }
        let width = if matches!(to, Target::Stdout) { self.width() } else { None };
        let file = match &to {
            Target::File(path) => Some(path.display().to_string()),
            Target::Stdout => None,
        };
        let mut out = to.open()?;
        match rows {
            Some(mut all) => {
                let args: Map<String, Value> = serde_json::from_str(args).unwrap_or_default();
                let asked = args.contains_key("fields");
                // All rows, unless the person wants fewer.
                if let Some(limit) = args.get("limit").and_then(Value::as_u64) {
                    all.selection.order.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                }
                let form = Form { json, asked, width };
                listing(all, result.clone(), form, out).await?;
            }
            None => {
                let printed = if json { as_json(&result) } else { object(&result) };
                out.write_all(printed.as_bytes()).and_then(|()| out.flush()).map_err(written)?;
            }
        }
        for warning in &result.warnings {
            self.stderr(&format!("warning: {warning}"));
        }
        if let Some(file) = file {
            self.stderr(&format!("written: {file}"));
        }
        Ok(())
    }

    fn width(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|_| self.terminal)?;
        (size.ws_col > 0).then_some(usize::from(size.ws_col))
    }
}

fn written(e: std::io::Error) -> Error {
    Error::io("stdout", e)
}

/// How a listing is printed.
struct Form {
    json: bool,
    /// The caller named the fields.
    asked: bool,
    width: Option<usize>,
}

/// Prints off the async thread; Ctrl+C stops it.
async fn listing(all: AllRows, result: Arc<ResultObject>, form: Form, mut out: Box<dyn Write + Send>) -> Result<()> {
    let job = Arc::new(Job::default());
    let mut printing = std::pin::pin!(blocking({
        let job = job.clone();
        move || print_rows(&all, &result, &form, &job, &mut *out)
    }));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Error::io("signals", e))?;
    tokio::select! {
        printed = &mut printing => return printed?,
        _ = interrupt.recv() => job.cancel(),
    }
    printing.await?
}

fn print_rows(all: &AllRows, result: &ResultObject, form: &Form, job: &Job, out: &mut dyn Write) -> Result<()> {
    if form.json {
        return table::json(&*all.rows, &all.selection, job, out).and_then(|()| out.flush().map_err(written));
    }
    let beside = result.data.as_ref().map(|d| beside(d)).unwrap_or_default();
    out.write_all(beside.text.as_bytes()).map_err(written)?;
    if !beside.explains {
        let columns = table::columns(&*all.rows, &all.selection, form.asked, all.columns);
        if all.selection.order.is_empty() {
            out.write_all(b"no rows\n").map_err(written)?;
        } else {
            table::table(&*all.rows, &all.selection, &columns, form.width, job, out)?;
        }
    }
    out.flush().map_err(written)
}

/// What stands beside the rows of a listing.
#[derive(Default)]
struct Beside {
    text: String,
    /// It is a text of several lines, which says all that the rows say.
    explains: bool,
}

fn beside(data: &RawValue) -> Beside {
    let mut out = Beside::default();
    let members: Map<String, Value> = serde_json::from_str(data.get()).unwrap_or_default();
    for (name, value) in members.iter().filter(|(name, value)| *name != "rows" && !value.is_null()) {
        match value {
            Value::String(text) if text.contains('\n') => {
                out.explains = true;
                for line in text.lines() {
                    out.text.push_str(&clean(line));
                    out.text.push('\n');
                }
            }
            Value::String(text) => out.text.push_str(&format!("{name}: {}\n", shape::scrub(text))),
            value => out.text.push_str(&format!("{name}: {value}\n")),
        }
    }
    out
}

fn as_json(result: &ResultObject) -> String {
    result.data.as_ref().map_or("null", |d| d.get()).to_owned() + "\n"
}

/// One object, for people.
fn object(result: &ResultObject) -> String {
    let Some(data) = &result.data else { return String::new() };
    if let Ok(followed) = serde_json::from_str::<Followed<'_>>(data.get()) {
        return inner(followed.command) + "\n";
    }
    if data.get() == "{}" {
        return String::new();
    }
    text::whole_object(data) + "\n"
}

/// The parts of a followed command's result that a person reads.
#[derive(Deserialize)]
struct Inner {
    command_id: String,
    state: String,
    data: Option<Box<RawValue>>,
    error: Option<Problem>,
    approval: Option<Asked>,
    verified: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    message: String,
    hint: Option<String>,
}

#[derive(Deserialize)]
struct Asked {
    request_id: String,
    r#match: String,
    expires_at: String,
    how: String,
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Box<RawValue>>,
}

fn inner(command: &RawValue) -> String {
    let Ok(inner) = serde_json::from_str::<Inner>(command.get()) else { return text::whole_object(command) };
    if let Some(a) = &inner.approval {
        return text::pending(&a.request_id, &a.r#match, &a.expires_at, &a.how);
    }
    let mut out = format!("{} {}", clean(&inner.command_id), clean(&inner.state));
    if let Some(e) = &inner.error {
        out.push_str(&format!("\n{}: {}", clean(&e.code), clean(&e.message)));
        if let Some(hint) = &e.hint {
            out.push_str(&format!("\nhint: {}", clean(hint)));
        }
    }
    if let Some(data) = &inner.data {
        out.push('\n');
        match serde_json::from_str::<Rows>(data.get()) {
            Ok(listing) => {
                let rows: Vec<&RawValue> = listing.rows.iter().map(|r| &**r).collect();
                let page = text::Page { start: 0, total: rows.len(), beside: &[], cursor: &|_| "-".into() };
                out.push_str(&text::listing(&rows, &[], &page));
            }
            Err(_) => out.push_str(&text::whole_object(data)),
        }
    }
    if let Some(verified) = &inner.verified {
        out.push_str(&format!("\nverified: {}", clean(verified)));
    }
    for warning in &inner.warnings {
        out.push_str(&format!("\nwarning: {}", clean(warning)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.into()).unwrap()
    }

    #[test]
    fn a_redirect_goes_over_nothing() {
        let dir = std::env::temp_dir().join(format!("lr-redirect-{}", crate::model::random_hex::<6>()));
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("there");
        std::fs::write(&file, "mine").unwrap();
        let link = dir.join("link");
        std::os::unix::fs::symlink(dir.join("nowhere"), &link).unwrap();
        for taken in [&file, &link] {
            let refused = Target::file(taken.to_str().unwrap()).err().map(|e| e.code);
            assert_eq!(refused, Some(ErrorCode::Exists), "{taken:?}");
            // Made between the look and the answer.
            assert_eq!(Target::File(taken.clone()).open().err().map(|e| e.code), Some(ErrorCode::Exists), "{taken:?}");
        }
        assert!(!dir.join("nowhere").exists());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_text_of_several_lines_stands_for_the_rows() {
        let help = beside(&raw(r#"{"help":"one\ntwo\u001b[2J"}"#));
        assert!(help.explains);
        assert_eq!(help.text, "one\ntwo\\x1b[2J\n");
        let facts = beside(&raw(r#"{"key":"HKLM","rows":[]}"#));
        assert!(!facts.explains);
        assert_eq!(facts.text, "key: HKLM\n");
    }

    #[test]
    fn a_followed_request_says_first_that_nothing_is_done() {
        let pending = raw(r#"{"command_id":"c-1","state":"pending_approval","data":null,
                "approval":{"request_id":"r-1","match":"K7","expires_at":"2026-11-24T00:00:00Z","how":"…"}}"#);
        assert!(inner(&pending).starts_with("NOT DONE, nothing has changed"));
    }
}
