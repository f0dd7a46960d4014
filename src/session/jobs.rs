//! Commands of this process that run or ran: what `jobs`, `status`, `fg` and `cancel` look at.
//!
//! Invariant: memory is bounded; results of ended commands go after an hour, or earlier when they are many or big.

use super::lock;
use crate::error::State;
use crate::model::{CommandId, DeviceRef, Job, SessionId, Timestamp};
use crate::principal::Principal;
use crate::shape::ResultObject;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;

const KEPT_S: i64 = 3600;
const KEPT: usize = 256;
const KEPT_BYTES: usize = 8 << 20;

pub struct JobEntry {
    pub command_id: CommandId,
    pub tool: &'static str,
    pub session: Option<SessionId>,
    pub device: Option<DeviceRef>,
    pub principal: Principal,
    pub started: Timestamp,
    /// Another process began it.
    pub resumed: bool,
    pub job: Arc<Job>,
    result: watch::Sender<Option<Arc<ResultObject>>>,
}

impl JobEntry {
    pub fn new(
        command_id: CommandId,
        tool: &'static str,
        place: Option<(SessionId, DeviceRef)>,
        principal: Principal,
    ) -> Self {
        let (session, device) = place.unzip();
        JobEntry {
            command_id,
            tool,
            session,
            device,
            principal,
            started: Timestamp::now(),
            resumed: false,
            job: Arc::default(),
            result: watch::Sender::new(None),
        }
    }

    /// As one that another process began.
    pub fn resumed(self, started: Timestamp) -> Self {
        JobEntry { started, resumed: true, ..self }
    }

    pub fn result(&self) -> Option<Arc<ResultObject>> {
        self.result.borrow().clone()
    }

    pub fn finish(&self, result: Arc<ResultObject>) {
        self.result.send_replace(Some(result));
    }

    /// Waits for the end.
    pub async fn ended(&self) -> Arc<ResultObject> {
        let mut watch = self.result.subscribe();
        loop {
            if let Some(result) = watch.borrow_and_update().clone() {
                return result;
            }
            if watch.changed().await.is_err() {
                // The sender lives in `self`; it cannot be gone while this runs.
                std::future::pending::<()>().await;
            }
        }
    }

    fn ended_at(&self) -> Option<Timestamp> {
        let elapsed = i64::try_from(self.result()?.elapsed_ms).unwrap_or(0);
        Some(Timestamp::from_millis(self.started.as_millis() + elapsed))
    }

    fn bytes(&self) -> usize {
        self.result().and_then(|r| r.data.as_ref().map(|d| d.get().len())).unwrap_or(0)
    }
}

#[derive(Default)]
pub struct JobTable(Mutex<VecDeque<Arc<JobEntry>>>);

impl JobTable {
    pub fn add(&self, entry: Arc<JobEntry>) {
        let mut entries = lock(&self.0);
        forget(&mut entries);
        entries.push_back(entry);
    }

    /// A command of this principal's own; others' do not exist.
    pub fn find(&self, id: &CommandId, by: &Principal) -> Option<Arc<JobEntry>> {
        lock(&self.0).iter().find(|e| e.command_id == *id && e.principal == *by).cloned()
    }

    /// Newest first.
    pub fn of(&self, by: &Principal) -> Vec<Arc<JobEntry>> {
        let mut entries = lock(&self.0);
        forget(&mut entries);
        entries.iter().rev().filter(|e| e.principal == *by).cloned().collect()
    }

    /// Commands that have not ended.
    pub fn running(&self) -> Vec<Arc<JobEntry>> {
        lock(&self.0).iter().filter(|e| e.result().is_none()).cloned().collect()
    }
}

fn forget(entries: &mut VecDeque<Arc<JobEntry>>) {
    let oldest = Timestamp::now().plus_secs(-KEPT_S);
    entries.retain(|e| e.ended_at().is_none_or(|at| at > oldest));
    let mut bytes: usize = entries.iter().map(|e| e.bytes()).sum();
    let mut count = entries.len();
    entries.retain(|e| {
        let keep =
            e.result().is_none_or(|r| r.state == State::PendingApproval || (count < KEPT && bytes <= KEPT_BYTES));
        if !keep {
            count -= 1;
            bytes = bytes.saturating_sub(e.bytes());
        }
        keep
    });
}
