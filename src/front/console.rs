//! The Live Response console: lines in, tables out. Knows the registry, no command but those that a console itself
//! has a part in: it follows the directory for its prompt and clears its screen.
//!
//! Invariants: a redirect is written by the console as the person, never over an existing file; what is printed went
//! through `shape`; a reader that goes away ends it quietly.

mod editor;
mod print;

use crate::commands;
use crate::dispatcher::{Connection, Extent};
use crate::error::{Error, ErrorCode, Result, State};
use crate::model::CommandId;
use crate::registry::console::{ConsoleSpec, Line, Output, parse, split_lines};
use crate::registry::{console_spec, input_schema};
use crate::shape::{ResultObject, clean};
use editor::Editor;
use print::{Printer, Target};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What jobs get to end, once nobody types any more.
const DRAIN: Duration = Duration::from_secs(10);
/// A line that is longer is no line that a person typed.
const MAX_LINE: u64 = 64 << 10;

pub struct Options {
    pub device: String,
    /// Lines to run instead of asking for them.
    pub lines: Option<String>,
    /// Whether a person sits at stdin.
    pub terminal: bool,
    /// The file of the person's history.
    pub history: PathBuf,
}

/// How the lines went: the first that did not complete decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Completed,
    Failed,
    Usage,
    Refused,
    Pending,
}

/// Runs the console to its end.
pub async fn run(connection: Arc<Connection>, options: Options) -> Result<Verdict> {
    let jobs = connection.dispatcher().clone();
    let limit = Duration::from_secs(jobs.core().sessions.limits().long_command_s);
    let mut console = Console::new(connection, options.device);
    let (ran, patience) = match options.lines {
        Some(lines) => (console.run_lines(split_lines(&lines).into_iter().map(String::from)).await, limit),
        None if options.terminal => (console.converse(options.history).await.map(|()| Verdict::Completed), DRAIN),
        None => (console.run_stdin().await, limit),
    };
    jobs.drain(patience).await;
    match ran {
        Err(e) if e.is_broken_pipe() => Ok(Verdict::Completed),
        ran => ran,
    }
}

/// Where the session stands, for the prompt.
struct Place {
    device: String,
    directory: String,
}

struct Console {
    connection: Arc<Connection>,
    device: String,
    place: Option<Place>,
    printer: Printer,
    interrupted: bool,
}

/// What a line came to.
enum Step {
    Ran(Verdict),
    Leave,
}

impl Console {
    fn new(connection: Arc<Connection>, device: String) -> Self {
        Console { connection, device, place: None, printer: Printer::new(), interrupted: false }
    }

    /// Lines of `-c`: all of them, until one is interrupted.
    async fn run_lines(&mut self, lines: impl Iterator<Item = String>) -> Result<Verdict> {
        let mut verdict = Verdict::Completed;
        for line in lines {
            match self.line(&line).await? {
                Step::Leave => break,
                Step::Ran(ran) if verdict == Verdict::Completed => verdict = ran,
                Step::Ran(_) => {}
            }
            if self.interrupted {
                break;
            }
        }
        Ok(verdict)
    }

    /// Lines of a stdin that is no terminal.
    async fn run_stdin(&mut self) -> Result<Verdict> {
        let mut verdict = Verdict::Completed;
        while let Some(line) = crate::registry::blocking(read_line).await?? {
            match self.line(&line).await? {
                Step::Leave => break,
                Step::Ran(ran) if verdict == Verdict::Completed => verdict = ran,
                Step::Ran(_) => {}
            }
        }
        Ok(verdict)
    }

    /// A person at a terminal.
    async fn converse(&mut self, history: PathBuf) -> Result<()> {
        let mut editor = Editor::new(history);
        self.printer.person(
            "Commands: help. Leave: exit. What changes the device asks a person first: live-response approvals, in \
             another terminal.",
        );
        self.connect().await?;
        loop {
            let prompt = self.prompt();
            let Some(line) = editor.line(prompt).await? else { return Ok(()) };
            if let Step::Leave = self.line(&line).await? {
                return Ok(());
            }
        }
    }

    fn prompt(&self) -> String {
        self.place.as_ref().map_or_else(|| "(not connected)> ".into(), |p| format!("{}:{}> ", p.device, p.directory))
    }

    async fn line(&mut self, line: &str) -> Result<Step> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(Step::Ran(Verdict::Completed));
        }
        if line.eq_ignore_ascii_case("exit") || line.eq_ignore_ascii_case("quit") {
            return Ok(Step::Leave);
        }
        let names: Vec<&str> = commands::ALL.iter().map(|t| t.spec().name).collect();
        let ran = match parse(line, &lookup, &names) {
            Ok(line) => self.run(&line).await,
            Err(e) => Err(e),
        };
        match ran {
            Ok(verdict) => Ok(Step::Ran(verdict)),
            Err(e) if e.is_broken_pipe() => Err(e),
            Err(e) => {
                self.printer.complain(&e);
                Ok(Step::Ran(verdict_of(e.code.state().as_str(), Some(e.code.as_str()))))
            }
        }
    }

    async fn run(&mut self, line: &Line) -> Result<Verdict> {
        let Some(tool) = commands::find(&line.command) else {
            return Err(Error::new(ErrorCode::UnknownCommand, format!("there is no command {:?}", line.command)));
        };
        let target = match &line.redirect {
            Some(file) => Target::file(file)?,
            None => Target::Stdout,
        };
        if tool.spec().session
            && self.place.is_none()
            && let Some(refused) = self.connect().await?
        {
            return Ok(refused);
        }
        if line.background {
            return self.start(line).await;
        }
        let id = CommandId::mint();
        let connection = self.connection.clone();
        let extent = if line.output == Some(Output::Json) { Extent::All } else { Extent::Table };
        let call = connection.call_as(id.clone(), &line.command, &line.args, extent);
        let answered = self.interruptible(&id, call).await?;
        self.follow_place(&line.command, &answered.result);
        if line.command == "cls" {
            self.printer.clear_screen()?;
            return Ok(Verdict::Completed);
        }
        let verdict = verdict_of(answered.result.state.as_str(), code(&answered.result));
        self.printer.answer(answered, &line.args, line.output, target).await?;
        Ok(verdict)
    }

    /// Connects to the device that the console was started for; the verdict where it could not.
    async fn connect(&mut self) -> Result<Option<Verdict>> {
        let args = serde_json::json!({ "device": self.device }).to_string();
        let result = self.connection.call("connect", &args, Extent::All).await?.result;
        self.follow_place("connect", &result);
        if result.state == State::Completed {
            return Ok(None);
        }
        self.printer.problem(&result);
        Ok(Some(verdict_of(result.state.as_str(), code(&result))))
    }

    /// Keeps what the prompt shows: the device and the directory of the newest session.
    fn follow_place(&mut self, command: &str, result: &ResultObject) {
        #[derive(Deserialize)]
        struct Data {
            current_directory: Option<String>,
            device: Option<DeviceData>,
        }
        #[derive(Deserialize)]
        struct DeviceData {
            id: String,
        }
        if result.state != State::Completed {
            return;
        }
        if command == "disconnect" {
            self.place = None;
            return;
        }
        if command != "connect" && command != "cd" {
            return;
        }
        let data = result.data.as_ref().and_then(|d| serde_json::from_str::<Data>(d.get()).ok());
        let Some(directory) = data.as_ref().and_then(|d| d.current_directory.clone()) else { return };
        let device = data
            .and_then(|d| d.device.map(|d| d.id))
            .or_else(|| result.device.as_ref().map(|d| d.id.as_str().to_owned()))
            .unwrap_or_else(|| self.device.clone());
        self.place = Some(Place { device: clean(&device).into_owned(), directory: clean(&directory).into_owned() });
    }

    /// `&`: the command goes on as a job, whatever it is.
    async fn start(&mut self, line: &Line) -> Result<Verdict> {
        let id = CommandId::mint();
        if takes_background(&line.command) {
            let args = match line.args.strip_suffix('}') {
                Some("{") => r#"{"background":true}"#.to_owned(),
                Some(open) => format!(r#"{open},"background":true}}"#),
                None => line.args.clone(),
            };
            let answered = self.connection.call_as(id, &line.command, &args, Extent::Page).await?;
            let verdict = match answered.result.state {
                // That it runs is all that was asked for.
                State::Running => Verdict::Completed,
                state => verdict_of(state.as_str(), code(&answered.result)),
            };
            self.printer.answer(answered, &args, line.output, Target::Stdout).await?;
            return Ok(verdict);
        }
        let (connection, command, args, job) =
            (self.connection.clone(), line.command.clone(), line.args.clone(), id.clone());
        tokio::spawn(async move { connection.call_as(job, &command, &args, Extent::Page).await.map(drop) });
        self.printer.say(&format!("running: fg {id}"))?;
        Ok(Verdict::Completed)
    }

    /// Waits for a call. Ctrl+C cancels the command, and its own answer says so.
    async fn interruptible<T>(&mut self, id: &CommandId, call: impl Future<Output = Result<T>>) -> Result<T> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| Error::io("signals", e))?;
        let interrupted = &mut self.interrupted;
        let stop = async {
            interrupt.recv().await;
            *interrupted = true;
        };
        self.connection.unless(stop, id, call).await
    }
}

fn lookup(name: &str) -> Option<ConsoleSpec> {
    let called = |t: &&&dyn crate::registry::Tool| {
        t.spec().name.eq_ignore_ascii_case(name) || t.spec().aliases.iter().any(|a| a.eq_ignore_ascii_case(name))
    };
    commands::ALL.iter().chain(commands::TENANT).find(called).map(|t| console_spec(*t))
}

fn takes_background(command: &str) -> bool {
    commands::find(command)
        .is_some_and(|t| input_schema(t).get("properties").is_some_and(|p| p.get("background").is_some()))
}

fn code(result: &ResultObject) -> Option<&str> {
    result.error.as_ref().map(|e| e.code.as_str())
}

fn verdict_of(state: &str, code: Option<&str>) -> Verdict {
    match state {
        "completed" => Verdict::Completed,
        "pending_approval" => Verdict::Pending,
        "refused" if matches!(code, Some("E_BAD_ARGS" | "E_UNKNOWN_COMMAND")) => Verdict::Usage,
        "refused" => Verdict::Refused,
        _ => Verdict::Failed,
    }
}

fn read_line() -> Result<Option<String>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read =
        std::io::stdin().lock().take(MAX_LINE).read_until(b'\n', &mut bytes).map_err(|e| Error::io("stdin", e))?;
    if read == 0 {
        return Ok(None);
    }
    String::from_utf8(bytes).map(Some).map_err(|_| Error::new(ErrorCode::BadArgs, "a line on stdin is not UTF-8"))
}

/// The result object inside what `fg`, `status` and `cancel` give.
#[derive(Deserialize)]
struct Followed<'a> {
    #[serde(borrow)]
    command: &'a RawValue,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_aliases_are_found_in_any_case() {
        for name in ["DIR", "ls", "Ls", "dir"] {
            assert_eq!(lookup(name).map(|s| s.name), Some("dir"), "{name}");
        }
        assert!(lookup("wipe").is_none());
    }

    #[test]
    fn a_state_is_a_verdict() {
        assert_eq!(verdict_of("completed", None), Verdict::Completed);
        assert_eq!(verdict_of("pending_approval", None), Verdict::Pending);
        assert_eq!(verdict_of("refused", Some("E_UNKNOWN_COMMAND")), Verdict::Usage);
        assert_eq!(verdict_of("refused", Some("E_NO_HUMAN_CHANNEL")), Verdict::Refused);
        assert_eq!(verdict_of("expired", Some("E_EXPIRED")), Verdict::Failed);
    }
}
