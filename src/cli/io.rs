//! The process's own stdin, stdout and stderr: answers out, complaints aside, a person's lines in.
//!
//! Invariants: what is complained of is cleaned; a code is read without echo, and the terminal is as it was afterwards.

use crate::decide::Signals;
use crate::error::{Error, ErrorCode, Result};
use crate::shape;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{BufRead, IsTerminal, Read, Write};

/// No line that a person gives comes near this.
const MAX_LINE: u64 = 4096;

pub(crate) struct Io {
    pub(crate) out: Box<dyn Write + Send>,
    /// Whether a person sits at stdin.
    pub(crate) terminal: bool,
}

impl Io {
    pub(crate) fn standard() -> Self {
        Io { out: Box::new(std::io::stdout()), terminal: std::io::stdin().is_terminal() }
    }

    /// A line of the answer.
    pub(crate) fn say(&mut self, text: &str) -> Result<()> {
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.write_all(b"\n")).map_err(stdout)
    }

    /// A long text: a screenful at a time where a person sits at a terminal, else as it is.
    pub(crate) async fn page(&mut self, text: &str, signals: &mut Signals) -> Result<()> {
        let rows = match self.terminal && std::io::stdout().is_terminal() {
            true => tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_row)),
            false => 0,
        };
        let lines: Vec<&str> = text.lines().collect();
        let mut screens = lines.chunks(rows.saturating_sub(2).max(1)).peekable();
        if rows < 4 {
            return self.say(text);
        }
        while let Some(screen) = screens.next() {
            self.say(&screen.join("\n"))?;
            if screens.peek().is_some() && self.line("-- more: Enter goes on --", signals).await?.is_none() {
                return Err(Error::new(ErrorCode::Cancelled, "stdin ended before the whole was shown"));
            }
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(stdout)
    }

    /// An error with its code and the next step, on stderr.
    pub(crate) fn complain(&mut self, e: &Error) {
        self.note(&shape::text::error(e));
    }

    /// A word beside the answer, on stderr, cleaned a line at a time.
    pub(crate) fn note(&mut self, text: &str) {
        let mut lines = String::with_capacity(text.len() + 1);
        for line in text.lines() {
            lines.push_str(&shape::clean(line));
            lines.push('\n');
        }
        // Where stderr is gone too there is nobody to tell.
        let _ = std::io::stderr().write_all(lines.as_bytes());
    }

    fn ask(&mut self, question: &str) {
        if self.terminal {
            let _ = std::io::stderr().write_all(question.as_bytes());
        }
    }

    /// A code, or another secret line: from the terminal without echo, else the next line of stdin. `None` at its end.
    pub(crate) async fn secret(&mut self, question: &str, signals: &mut Signals) -> Result<Option<String>> {
        self.flush()?;
        let quiet = if self.terminal { Some(Quiet::begin()?) } else { None };
        self.ask(question);
        let line = next_line(signals).await;
        if quiet.is_some() {
            self.ask("\n");
        }
        drop(quiet);
        line
    }

    /// What tells the end of stdin without taking from it. A terminal does not end while somebody sits there.
    pub(crate) fn input(&self) -> Input {
        Input((!self.terminal).then(|| tokio::task::spawn_blocking(has_more)))
    }

    /// A line that may be seen. `None` at the end of stdin.
    pub(crate) async fn line(&mut self, question: &str, signals: &mut Signals) -> Result<Option<String>> {
        self.flush()?;
        self.ask(question);
        next_line(signals).await
    }
}

/// A look at whether stdin goes on.
pub(crate) struct Input(Option<tokio::task::JoinHandle<bool>>);

impl Input {
    /// Returns once stdin is at its end; never where there is more.
    pub(crate) async fn ended(&mut self) {
        if let Some(looking) = &mut self.0 {
            let more = looking.await.unwrap_or(false);
            self.0 = None;
            if !more {
                return;
            }
        }
        std::future::pending().await
    }
}

fn has_more() -> bool {
    std::io::stdin().lock().fill_buf().is_ok_and(|bytes| !bytes.is_empty())
}

fn stdout(e: std::io::Error) -> Error {
    Error::io("stdout", e)
}

/// The next line of stdin, or `E_CANCELLED` where a signal comes first.
async fn next_line(signals: &mut Signals) -> Result<Option<String>> {
    let reading = tokio::task::spawn_blocking(read_line);
    tokio::select! {
        line = reading => line.map_err(|e| Error::new(ErrorCode::Internal, "stdin broke off").source(e))?,
        () = signals.next() => Err(Error::new(ErrorCode::Cancelled, "interrupted; nothing was done")),
    }
}

fn read_line() -> Result<Option<String>> {
    let mut bytes = Vec::new();
    let read =
        std::io::stdin().lock().take(MAX_LINE).read_until(b'\n', &mut bytes).map_err(|e| Error::io("stdin", e))?;
    if read == 0 {
        return Ok(None);
    }
    if bytes.last() != Some(&b'\n') && bytes.len() as u64 >= MAX_LINE {
        return Err(Error::new(ErrorCode::TooLarge, format!("a line of more than {MAX_LINE} bytes on stdin")));
    }
    let text = String::from_utf8(bytes).map_err(|_| Error::new(ErrorCode::BadArgs, "a line on stdin is not UTF-8"))?;
    Ok(Some(text.trim().to_owned()))
}

/// The terminal without echo, for as long as this lives.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> Result<Self> {
        let failed = |e: rustix::io::Errno| Error::io("the terminal", e.into());
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet).map_err(failed)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
