//! One call on its way through command and shape, as a task of its own.
//!
//! Invariants: it ends with a result, whatever becomes of the command; the result is on record before it goes out.

use super::page::{Place, fill, first_page};
use super::record::on_record;
use super::sweep::{HERE_AT_ONCE, Sweep};
use super::{AllRows, Answered, Extent, MODEL_BYTES, millis};
use crate::audit::Log;
use crate::commands;
use crate::error::{Error, ErrorCode, Result, State};
use crate::registry::{Body, Call, Context, Core, Reply, Tool, blocking, request_result, swept};
use crate::session::{JobEntry, Session, TranscriptLine};
use crate::shape::{self, Page, ResultObject, Rows, Snapshots};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// So few rows are shaped faster than handed to another thread.
const FEW_ROWS: usize = 64;
/// Work that cannot look at its job's flag is given up this long after it was told to stop.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(2);

/// Many devices have a limit each; together they may take as long as the tenant's own limits make them.
pub(super) const NEVER: Duration = Duration::from_secs(30 * 24 * 3600);

/// Answers that stay the same for the life of the process, by tool.
pub(super) type FixedAnswers = Mutex<HashMap<&'static str, ResultObject>>;

/// The call and all that it needs.
pub(super) struct Work {
    pub(super) core: Arc<Core>,
    pub(super) log: Arc<Log>,
    pub(super) tool: &'static dyn Tool,
    pub(super) call: Arc<Call>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) entry: Arc<JobEntry>,
    /// What a look at one device may take.
    pub(super) limit: Duration,
    pub(super) extent: Extent,
    pub(super) fixed: Arc<FixedAnswers>,
}

impl Work {
    pub(super) async fn at_once(self) -> Answered {
        if let Some(kept) = self.kept() {
            return Answered::plain(kept);
        }
        let started = Instant::now();
        let outcome = self.answer().await;
        let answered = self.finish(outcome, started).await;
        self.keep(&answered.result);
        answered
    }

    fn is_fixed(&self) -> bool {
        self.call.spec.fixed && self.call.args == "{}" && self.extent == Extent::Model
    }

    fn kept(&self) -> Option<ResultObject> {
        let kept = self.fixed.lock().ok().filter(|_| self.is_fixed())?;
        let result = kept.get(self.call.spec.name)?;
        Some(ResultObject { command_id: self.call.command_id.clone(), ..result.clone() })
    }

    fn keep(&self, result: &ResultObject) {
        if self.is_fixed()
            && result.state == State::Completed
            && let Ok(mut kept) = self.fixed.lock()
        {
            let text = Some(Arc::from(result.to_text()));
            kept.insert(self.call.spec.name, ResultObject { text, ..result.clone() });
        }
    }

    pub(super) async fn within(self) -> Answered {
        let started = Instant::now();
        let limit = if self.is_sweep() { NEVER } else { self.limit };
        let work = Arc::new(self);
        let hold = work.session.as_ref().map(Session::in_use);
        let inner = tokio::spawn({
            let work = work.clone();
            async move { work.answer().await }
        });
        let abort = inner.abort_handle();
        let job = &work.entry.job;
        let stopped = async {
            tokio::select! {
                () = job.stopped() => {}
                () = tokio::time::sleep(limit) => job.time_out(),
            }
            tokio::time::sleep(STOP_GRACE).await;
        };
        let outcome = tokio::select! {
            outcome = inner => outcome.unwrap_or_else(|broken| Ok(broken_off(&work.entry, broken))),
            () = stopped => {
                abort.abort();
                Err(job.check().err().unwrap_or_else(|| Error::new(ErrorCode::Cancelled, "the command was cancelled")))
            }
        };
        let answered = work.finish(outcome, started).await;
        super::resume::ended(&work.entry, &answered.result).await;
        drop(hold);
        work.entry.finish(answered.result.clone());
        answered
    }

    async fn answer(&self) -> Result<Answered> {
        let call = &self.call;
        if let Some(cursor) = &call.common.cursor {
            return self.next_page(cursor).await;
        }
        let job = &self.entry.job;
        if self.is_sweep()
            && let Body::Rows { rows, extra } = self.sweep().run().await?
        {
            return self.listing(rows, extra).await;
        }
        let tools = commands::listed(self.core.sessions.has_tenant());
        let cx = Context::new(&self.core, call, self.session.as_ref(), job, tools);
        match self.tool.call(&call.args, &cx).await? {
            Reply::Pending(view) => {
                let mut result = request_result(&self.core, &view).await?;
                if view.coalesced {
                    result.warnings.push(format!("this very request was pending already, as {}", view.command_id));
                }
                Ok(Answered::plain(result))
            }
            Reply::Done(Body::Object(data)) => {
                let mut result = self.completed();
                result.session = cx.opened().map(|s| s.id.clone());
                result.device = cx.opened().map(|s| s.device.describe());
                result.data = Some(if result.untrusted { shape::scrub_json(&data) } else { data });
                Ok(Answered::plain(result))
            }
            Reply::Done(Body::Rows { rows, extra }) => self.listing(rows, extra).await,
        }
    }

    pub(super) fn is_sweep(&self) -> bool {
        !self.call.common.devices.is_empty()
    }

    fn sweep(&self) -> Arc<Sweep> {
        Arc::new(Sweep {
            core: self.core.clone(),
            log: self.log.clone(),
            tool: self.tool,
            call: self.call.clone(),
            job: self.entry.job.clone(),
            limit: self.limit,
            begun: Mutex::default(),
            here: Arc::new(Semaphore::new(HERE_AT_ONCE)),
        })
    }

    fn completed(&self) -> ResultObject {
        ResultObject {
            columns: if self.is_sweep() { swept(self.tool).columns } else { self.call.spec.columns },
            untrusted: self.call.spec.is_recorded(),
            ..ResultObject::new(self.call.command_id.clone(), State::Completed)
        }
    }

    fn snapshots(&self) -> &Snapshots {
        self.session.as_ref().map_or(&self.core.sessions.snapshots, |s| &s.snapshots)
    }

    async fn listing(&self, rows: Box<dyn Rows>, extra: Box<RawValue>) -> Result<Answered> {
        let wanted = self.call.common.wanted.clone();
        let job = self.entry.job.clone();
        let few = rows.len() <= FEW_ROWS;
        let (rows, selection) = briefly(few, move || shape::select(&*rows, &wanted, &job).map(|s| (rows, s))).await??;
        let mut result = self.completed();
        let total = selection.order.len();
        if matches!(self.extent, Extent::All | Extent::Table) {
            result.page = Some(Page::whole(total));
            result.data = Some(extra);
            let columns = if self.is_sweep() { swept(self.tool).table } else { self.call.spec.table() };
            let rows = AllRows { rows, selection, columns };
            return Ok(Answered { result: Arc::new(result), rows: Some(rows) });
        }
        let (size, cap) = self.page_limits();
        let (spill, job) = (self.core.sessions.spill().to_owned(), self.entry.job.clone());
        let (snapshot, page) = briefly(few, move || first_page(&*rows, &selection, size, cap, &spill, &job)).await??;
        let listing = page.next.map(|_| self.snapshots().keep(self.call.spec.name, Arc::new(snapshot)));
        fill(&mut result, page, Place { start: 0, total, listing }, &extra)?;
        Ok(Answered::plain(result))
    }

    async fn next_page(&self, cursor: &str) -> Result<Answered> {
        let spec = self.call.spec;
        if !(spec.sweeps() || self.tool.row_fields().is_some()) || self.call.common.wanted != shape::Wanted::default() {
            return Err(Error::new(
                ErrorCode::BadArgs,
                "a cursor stands alone: its listing is filtered and sorted already",
            )
            .hint("send cursor, and limit if need be"));
        }
        let open = |kept: &Snapshots| kept.open(spec.name, cursor);
        // A listing of many devices is of no session.
        let swept_over = self.session.as_ref().and_then(|_| open(&self.core.sessions.snapshots).ok());
        let is_sweep = spec.sweeps() && (swept_over.is_some() || self.session.is_none());
        let (listing, snapshot, start) = swept_over.map_or_else(|| open(self.snapshots()), Ok)?;
        let (size, cap) = self.page_limits();
        let total = snapshot.len();
        let page = blocking(move || snapshot.page(start, size, cap)).await??;
        let mut result = self.completed();
        if is_sweep {
            result.columns = swept(self.tool).columns;
        }
        fill(&mut result, page, Place { start, total, listing: Some(listing) }, RawValue::NULL)?;
        Ok(Answered::plain(result))
    }

    fn page_limits(&self) -> (usize, Option<usize>) {
        (self.call.common.page_size(), (self.extent == Extent::Model).then_some(MODEL_BYTES))
    }

    /// Puts the last touches to a result and the call on record.
    async fn finish(&self, outcome: Result<Answered>, started: Instant) -> Answered {
        let spec = self.call.spec;
        let (mut result, rows) = match outcome {
            Ok(answered) => (Arc::unwrap_or_clone(answered.result), answered.rows),
            Err(e) => {
                if let Some(source) = std::error::Error::source(&e) {
                    tracing::debug!(code = %e.code, %source, "refused or failed");
                }
                (ResultObject::from_error(self.call.command_id.clone(), &e), None)
            }
        };
        if let Some(session) = &self.session {
            result.session = Some(session.id.clone());
            result.device = Some(session.device.describe());
        }
        result.elapsed_ms = millis(started);
        let warnings = self.entry.job.take_warnings();
        result.warnings.extend(warnings.iter().map(|w| shape::scrub(w).into_owned()));
        if spec.is_recorded()
            && let Some(gap) = on_record(&self.core, &self.log, &self.call, None, &result).await
        {
            result.warnings.push(gap);
        }
        if let Some(session) = &self.session {
            session.note(TranscriptLine {
                command_id: self.call.command_id.clone(),
                tool: spec.name,
                started: self.entry.started,
                elapsed_ms: result.elapsed_ms,
                state: result.state.as_str(),
            });
        }
        Answered { result: Arc::new(result), rows }
    }
}

/// Blocking work, here and now where it is `short`.
async fn briefly<T: Send + 'static>(short: bool, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    if short { Ok(work()) } else { blocking(work).await }
}

/// A panic, caught: recorded in the log of this process, answered, and the server goes on.
pub(super) fn broken_off(entry: &JobEntry, broken: tokio::task::JoinError) -> Answered {
    tracing::error!(tool = entry.tool, %broken, "a command broke off");
    let e = Error::new(ErrorCode::Internal, "the command broke off; the server goes on").source(broken);
    Answered::plain(ResultObject::from_error(entry.command_id.clone(), &e))
}
