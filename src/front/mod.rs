//! Front ends: what a client speaks, turned into calls of the dispatcher and back.
//!
//! Invariants: they know no command but the one that a protocol itself names, and touch no device. What both protocols
//! on stdio share is here: strict messages, bounded memory, one answer a request, an orderly end.

pub mod console;
mod flight;
pub mod jsonrpc;
mod lines;
pub mod mcp;
mod message;
mod outbox;
mod refusals;

use crate::commands;
use crate::dispatcher::Connection;
use crate::error::{Error, ErrorCode};
use crate::registry::Effect;
use flight::{Flight, Full, Ticket};
use lines::{Lines, Next};
use message::{Id, Refusal};
use outbox::Outbox;
use refusals::Refusals;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;
use std::ops::Range;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// Calls that work on devices at the same time; more of them wait. It bounds memory, not speed: devices have few
/// threads.
const AT_ONCE: usize = 8;
/// What a call's arguments may hold; no tool comes near it, so what is beyond is not even kept.
const MAX_ARGUMENTS: usize = 1 << 20;
/// After the end of input calls get so long to end by themselves: less than `rmcp` waits for their answers.
const LAST_CALLS: Duration = Duration::from_secs(4);
/// And jobs so long.
const LAST_WORK: Duration = Duration::from_secs(6);
/// And so long to put itself on record once it was told to stop.
const LAST_RECORD: Duration = Duration::from_millis(2500);
const LAST_WRITE: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// One client on a pair of streams.
struct Wire<W> {
    connection: Arc<Connection>,
    outbox: Outbox<W>,
    flight: Arc<Flight>,
    refusals: Refusals,
    running: Semaphore,
    /// The input has ended; calls under way may still answer.
    input_over: CancellationToken,
    /// Nobody waits for answers any more.
    gone: CancellationToken,
    over_since: OnceLock<Instant>,
}

/// Why a request got no ticket.
enum Turned {
    /// The message is refused.
    Away(Refusal),
    /// The call is refused: there is too much at once.
    Later(Error),
}

impl<W: AsyncWrite + Unpin + Send + 'static> Wire<W> {
    fn new(connection: Arc<Connection>, output: W) -> Arc<Self> {
        Arc::new(Wire {
            outbox: Outbox::new(output),
            flight: Arc::default(),
            refusals: Refusals::new(connection.clone()),
            connection,
            running: Semaphore::new(AT_ONCE),
            input_over: CancellationToken::new(),
            gone: CancellationToken::new(),
            over_since: OnceLock::new(),
        })
    }

    /// The next line that holds something; `None` at the end. Answers what is no line by itself.
    async fn next<R: AsyncRead + Unpin>(self: &Arc<Self>, lines: &mut Lines<R>) -> Option<Range<usize>> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.gone.cancelled() => Next::End,
                next = async {
                    self.outbox.room().await;
                    lines.next().await
                } => next,
            };
            match next {
                Next::Line(range) if lines.bytes(range.clone()).trim_ascii().is_empty() => {}
                Next::Line(range) => return Some(range),
                Next::TooLong => self.refuse(Refusal::too_long()),
                Next::Cut(range) => {
                    if !lines.bytes(range.clone()).trim_ascii().is_empty() {
                        self.refuse(Refusal::cut(lines.bytes(range)));
                    }
                }
                Next::End => {
                    self.over_since.get_or_init(Instant::now);
                    self.input_over.cancel();
                    return None;
                }
            }
        }
    }

    fn begin(&self, id: &Id, bytes: usize) -> std::result::Result<Ticket, Turned> {
        self.flight.begin(id, bytes).map_err(|full| match full {
            Full::IdInUse => Turned::Away(Refusal::id_in_use(id.clone())),
            Full::TooMany => {
                let e = Error::new(ErrorCode::RateLimited, "too many calls are under way");
                Turned::Later(e.hint("wait for answers before you send more"))
            }
        })
    }

    /// Waits for a place among the calls that work on devices; calls about this program's own state need none.
    async fn turn(&self, tool: &str) -> Option<SemaphorePermit<'_>> {
        match commands::find(tool) {
            Some(tool) if tool.spec().effect != Effect::Session => self.running.acquire().await.ok(),
            _ => None,
        }
    }

    /// Answers a message that is turned away.
    fn refuse(self: &Arc<Self>, refusal: Refusal) {
        tracing::debug!(code = refusal.code, reason = %refusal.reason, "a message was turned away");
        self.refusals.note_message(&refusal);
        let data = Reason { code: refusal.reason };
        self.push_error(refusal.id.as_ref(), refusal.code, &refusal.message, &data);
        self.flush_soon();
    }

    fn push_error<D: Serialize>(&self, id: Option<&Id>, code: i32, message: &str, data: &D) {
        let error = RpcError { code, message, data };
        self.outbox.push(|line| write_json(line, &Failed { jsonrpc: "2.0", id, error }));
    }

    /// Queues an answer whose `result` is JSON text already.
    fn push_result(&self, id: &Id, result: &str) {
        self.outbox.push(|line| {
            line.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
            write_json(line, id);
            line.extend_from_slice(br#","result":"#);
            line.extend_from_slice(result.as_bytes());
            line.push(b'}');
        });
    }

    fn flush_soon(self: &Arc<Self>) {
        let wire = self.clone();
        tokio::spawn(async move { wire.flush().await });
    }

    /// Writes what waits; a client that cannot be written to is gone.
    async fn flush(&self) -> std::io::Result<()> {
        let result = self.outbox.flush().await;
        if self.outbox.is_broken() {
            self.gone.cancel();
        }
        result
    }

    /// Ends the connection: calls under way are given up, jobs get what is left of [`LAST_WORK`], and everything goes on
    /// record.
    async fn finish(&self) {
        self.gone.cancel();
        let left = LAST_WORK.saturating_sub(self.over_since.get().map(Instant::elapsed).unwrap_or_default());
        self.connection.dispatcher().drain(left.max(LAST_RECORD)).await;
        let last = async {
            self.refusals.finish().await;
            self.outbox.flush().await
        };
        // A client that neither reads nor goes cannot hold the end up.
        if tokio::time::timeout(LAST_WRITE, last).await.is_err() {
            tracing::debug!("the last answers could not be written");
        }
    }
}

/// Ends the calls under way at a hang-up, at a termination signal, and after the end of input: at once where the client
/// does not read any more, else after [`LAST_CALLS`].
async fn watch(input_over: CancellationToken, gone: CancellationToken) {
    let of = |kind| signal(kind).inspect_err(|e| tracing::warn!(%e, "signals are not watched")).ok();
    let (mut terminated, mut hung_up) = (of(SignalKind::terminate()), of(SignalKind::hangup()));
    let told = async {
        match (&mut terminated, &mut hung_up) {
            (Some(t), Some(h)) => tokio::select! { _ = t.recv() => {}, _ = h.recv() => {} },
            _ => std::future::pending().await,
        }
    };
    let over = async {
        input_over.cancelled().await;
        let until = Instant::now() + LAST_CALLS;
        while !stdout_is_unread() && Instant::now() < until {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! { () = told => {}, () = over => {} }
    gone.cancel();
}

fn stdout_is_unread() -> bool {
    let stdout = std::io::stdout();
    let mut ends = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut ends, Some(&now)) {
        Ok(_) => ends.iter().any(|end| end.revents().intersects(PollFlags::ERR | PollFlags::HUP)),
        Err(_) => false,
    }
}

#[derive(Serialize)]
struct Failed<'a, D> {
    jsonrpc: &'static str,
    id: Option<&'a Id>,
    error: RpcError<'a, D>,
}

#[derive(Serialize)]
struct RpcError<'a, D> {
    code: i32,
    message: &'a str,
    data: &'a D,
}

/// The stable code beside JSON-RPC's number.
#[derive(Serialize)]
struct Reason {
    code: ErrorCode,
}

/// The answer of a call that nobody waits for any more, or that the program's end overtook.
fn given_up() -> Error {
    Error::new(ErrorCode::Cancelled, "the connection ended before the command did")
}

/// Why a call's arguments are not even looked at.
fn refuse_arguments(tool: &str, text: &str, twice: Option<String>) -> Option<Error> {
    if text.len() > MAX_ARGUMENTS {
        let what = format!("{} bytes of arguments; at most {MAX_ARGUMENTS} are read", text.len());
        return Some(Error::new(ErrorCode::TooLarge, what));
    }
    twice.map(|key| {
        let shown: String = tool.chars().take(60).collect();
        Error::new(ErrorCode::BadArgs, format!("{shown}: {key:?} stands twice")).hint("each key once")
    })
}

/// Appends a value's JSON text. Texts, numbers and result objects always have one.
fn write_json<T: Serialize>(line: &mut Vec<u8>, value: &T) {
    let start = line.len();
    if let Err(e) = serde_json::to_writer(&mut *line, value) {
        tracing::error!(%e, "an answer has no JSON form");
        line.truncate(start);
        line.extend_from_slice(b"null");
    }
}
