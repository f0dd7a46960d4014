//! What became of what an executor that is gone had begun.
//!
//! Invariant: nothing is begun here; what has not begun in time is taken back.

use super::{Did, settle, take_back, tell};
use crate::device::defender::DefenderDevice;
use crate::device::defender::api::{ActionId, MachineAction, Status};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Adopted;
use crate::model::{End, Job, Outcome, Remediated, Step, TenantDeed, Verified};
use std::sync::Arc;

pub(in crate::device::defender) async fn adopt(device: &DefenderDevice, adopted: Adopted, job: &Arc<Job>) -> Outcome {
    let mut outcome = Outcome { rows: Vec::new(), verified: Verified::Yes, end: End::Done, warnings: Vec::new() };
    let found = match find(device, &adopted, job).await {
        Ok(found) => found,
        Err(e) => {
            let message = format!("the tenant could not be asked: {}", e.message);
            return Outcome { end: End::GoesOn { message }, ..outcome };
        }
    };
    let Some((step, action)) = found else {
        let message = format!("no action of the device carries {}: most likely it never began", adopted.request);
        return Outcome { verified: Verified::Unknown, end: End::Unknown { message }, ..outcome };
    };
    let Some(Step::Tenant { deed }) = adopted.steps.get(step) else {
        let message = format!("action {} belongs to no step of the plan", action.id);
        return Outcome { verified: Verified::Unknown, end: End::Unknown { message }, ..outcome };
    };
    let did = settled(device, deed, &action, &adopted, job).await;
    if let Did::GoesOn(message) = did {
        return Outcome { end: End::GoesOn { message }, ..outcome };
    }
    for earlier in 0..step {
        match before(device, &adopted, earlier, job).await {
            Ok((row, verified)) => {
                outcome.rows.push(*row);
                outcome.verified = outcome.verified.and(verified);
            }
            Err(why) => {
                outcome.verified = outcome.verified.and(Verified::Unknown);
                job.warn(format!("step {} was done, and what it came to is not known: {why}", earlier + 1));
            }
        }
    }
    if !tell(&mut outcome, did, step) {
        return outcome;
    }
    let left = adopted.steps.len().saturating_sub(step + 1);
    if left > 0 {
        let what = format!("the program ended after step {}: {left} step(s) were not begun", step + 1);
        outcome.end = End::failed(&Error::new(ErrorCode::Cancelled, what).hint("ask again for the rest"));
        outcome.verified = Verified::No;
    }
    outcome
}

/// What a step came to that was done before the last one began.
async fn before(
    device: &DefenderDevice,
    adopted: &Adopted,
    step: usize,
    job: &Arc<Job>,
) -> std::result::Result<(Box<Remediated>, Verified), String> {
    let (Some(Step::Tenant { deed }), Some(handed)) =
        (adopted.steps.get(step), adopted.handed.iter().find(|h| h.step == step))
    else {
        return Err("its action is not on record; the Action center has it".to_owned());
    };
    let action = device.tenant.client.action(&ActionId::new(&handed.action), job).await.map_err(|e| e.message)?;
    match settle::settle(device, deed, &action, &adopted.request, job).await {
        Did::Done { row, verified } => Ok((row, verified)),
        Did::Drift(why) | Did::Unknown(why) | Did::GoesOn(why) => Err(why),
        Did::Failed(e) | Did::Broken { error: e, .. } => Err(e.message),
    }
}

async fn settled(
    device: &DefenderDevice,
    deed: &TenantDeed,
    action: &MachineAction,
    adopted: &Adopted,
    job: &Arc<Job>,
) -> Did {
    if action.status.is_final() {
        return settle::settle(device, deed, action, &adopted.request, job).await;
    }
    let waits = action.status == Status::Pending && deed.may_wait_until().is_none();
    if waits && adopted.is_late {
        return take_back(device, deed, &action.id, &adopted.request, job).await;
    }
    Did::GoesOn(format!("Defender goes on with it as action {}: {}", action.id, action.status))
}

/// The last step that was begun and its action: by what is on record, else by the comment.
async fn find(device: &DefenderDevice, adopted: &Adopted, job: &Job) -> Result<Option<(usize, MachineAction)>> {
    // What was begun after the last record is newer than it.
    let commented = device.tenant.actions.find(device.machine_id(), adopted.request.as_str(), job).await?;
    if let Some(handed) = adopted.handed.iter().max_by_key(|h| h.step) {
        let id = ActionId::new(&handed.action);
        return match commented {
            Some(action)
                if action.id != id && !adopted.handed.iter().any(|h| action.id == ActionId::new(&h.action)) =>
            {
                Ok(Some((handed.step + 1, action)))
            }
            _ => Ok(Some((handed.step, device.tenant.client.action(&id, job).await?))),
        };
    }
    Ok(commented.map(|action| (step_of(&action), action)))
}

/// Which step the comment names; the first where it names none.
fn step_of(action: &MachineAction) -> usize {
    let comment = action.requestor_comment.as_ref().map(|c| c.raw()).unwrap_or_default();
    let number = comment.split_once("(step ").and_then(|(_, rest)| rest.split(' ').next()?.parse::<usize>().ok());
    number.map_or(0, |n| n.saturating_sub(1))
}
