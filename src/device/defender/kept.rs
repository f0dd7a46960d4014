//! Reads that outlive this process: what is to begin is marked and put on record, and found again by that.
//!
//! Invariant: an action that is on record is looked for, never begun again.

use super::Tenant;
use super::api::{ActionId, MachineAction, MachineId, Status};
use super::batch::{COMMENT, LET_GO_WITHIN};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Begun, Job, Keep, random_hex};
use std::sync::Arc;

/// What a kept read is about to begin.
pub(super) struct Intent {
    kept: Arc<dyn Keep>,
    begun: Begun,
}

impl Intent {
    /// `None` where the job is not kept, or where that cannot be put on record.
    pub(super) fn new(what: &str, nonce: &str, index: u32, job: &Job) -> Option<Intent> {
        let kept = job.kept()?;
        let begun =
            Begun { what: what.to_owned(), nonce: nonce.to_owned(), mark: random_hex::<6>(), index, action: None };
        if let Err(e) = kept.put(begun.clone()) {
            job.keep(None);
            // What began all the same must not be begun again by who finds the record.
            kept.ended(None);
            job.warn(format!("this read ends with the program: {}", e.message));
            return None;
        }
        Some(Intent { kept, begun })
    }

    pub(super) fn took(&self, id: &ActionId) {
        let begun = Begun { action: Some(id.as_str().to_owned()), ..self.begun.clone() };
        self.kept.waits(None);
        // What is not on record is found by its mark.
        if let Err(e) = self.kept.put(begun) {
            tracing::warn!(code = %e.code, "what the tenant has taken could not be put on record");
        }
    }
}

/// What people see beside an action, and what kept reads are found by.
pub(super) fn comment(kept: &[Intent]) -> String {
    let marks: Vec<&str> = kept.iter().map(|intent| intent.begun.mark.as_str()).collect();
    if marks.is_empty() { COMMENT.to_owned() } else { format!("{COMMENT} {}", marks.join(" ")) }
}

impl Tenant {
    /// The end of an action that another process began, or this one before. A job that is cancelled cancels it.
    pub(super) async fn rejoin(&self, machine: &MachineId, begun: &Begun, job: &Job) -> Result<MachineAction> {
        let found = match &begun.action {
            Some(id) => Some(self.client.action(&ActionId::new(id), job).await?),
            None => self.actions.find(machine, &begun.mark, job).await?,
        };
        let Some(action) = found else {
            let what =
                "the program ended as it asked the tenant, and no action of it shows: most likely it never began";
            return Err(Error::new(ErrorCode::NotFound, what).hint("ask for it again"));
        };
        let is_ours = action.requestor_comment.as_ref().is_some_and(|c| c.raw().contains(&begun.mark));
        // A record is a file: what it names is read on only where the tenant says that it is this.
        if action.machine_id != *machine || !is_ours || begun.mark.is_empty() {
            let what = format!("the action {} is not the one that was begun here", action.id);
            return Err(Error::new(ErrorCode::Backend, what).hint("ask for it again"));
        }
        if action.status.is_final() {
            return Ok(action);
        }
        if let Some(kept) = job.kept() {
            kept.waits(Some(action.status == Status::Pending));
        }
        let ended = self.actions.follow(&action.id, job).await;
        if job.is_cancelled() {
            self.let_go(&action.id).await;
        }
        ended
    }

    /// Cancels an action that nobody waits for any more.
    pub(super) async fn let_go(&self, id: &ActionId) {
        let calm = Job::default();
        let cancel = self.client.cancel(id, "live-response: nobody waits for this any more", &calm);
        let _ = tokio::time::timeout(LET_GO_WITHIN, cancel).await;
    }
}
