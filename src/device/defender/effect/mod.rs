//! What a tenant does to its devices, after a person's yes.
//!
//! Invariants: nothing is begun without an [`Order`], taken by value, and each is compared again with what holds now; an
//! action's id is handed over before it is waited for; what has begun is never begun again.
#![allow(clippy::disallowed_methods)]

mod adopt;
mod prepare;
mod settle;

pub(super) use adopt::adopt;

use super::DefenderDevice;
use super::actions::Start;
use super::api::{ActionId, MachineAction, Status};
use super::resolve::cut;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::{Approved, Order};
use crate::model::{End, Handed, Job, Outcome, Remediated, RequestId, Step, Supply, TenantDeed, Unit, Verified};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A comment's own part, in characters; the service takes 1,000 and a mark follows.
const COMMENT: usize = 900;
/// A cancel that the tenant does not answer.
const CANCEL_WITHIN: Duration = Duration::from_secs(60);

/// What one order came to.
enum Did {
    Done {
        row: Box<Remediated>,
        verified: Verified,
    },
    Drift(String),
    Failed(Error),
    /// It began and did not come to its end.
    Broken {
        row: Box<Remediated>,
        error: Error,
    },
    Unknown(String),
    GoesOn(String),
}

impl From<Error> for Did {
    fn from(e: Error) -> Did {
        Did::Failed(e)
    }
}

/// Where an order stands in its plan.
#[derive(Clone, Copy)]
struct Place {
    index: usize,
    of: usize,
    /// What Defender has not begun by then is taken back: the approved window, from the step's turn on.
    until: Instant,
}

/// Carries the orders out, one after the other, and stops at the first that is not done.
pub(super) async fn carry_out(
    device: &DefenderDevice,
    approved: Approved,
    supply: &dyn Supply,
    job: &Arc<Job>,
) -> Outcome {
    let mut outcome = Outcome { rows: Vec::new(), verified: Verified::Yes, end: End::Done, warnings: Vec::new() };
    let window = Duration::from_secs(approved.window_s());
    let orders: Vec<Order> = match approved.orders(super::super::Device::id(device)) {
        Ok(orders) => orders.collect(),
        Err(e) => {
            return Outcome { verified: Verified::No, end: End::failed(&e), ..outcome };
        }
    };
    let of = orders.len();
    job.expect(Unit::Steps, u64::try_from(of).unwrap_or(0));
    for (index, order) in orders.into_iter().enumerate() {
        let did = match job.check() {
            Err(e) => Did::Failed(e),
            Ok(()) => {
                let place = Place { index, of, until: Instant::now() + window };
                carry_out_one(device, order, place, supply, job).await
            }
        };
        if tell(&mut outcome, did, index) {
            job.advance(1);
        } else {
            break;
        }
    }
    outcome
}

/// Puts what an order came to into the outcome; whether the next may follow.
fn tell(outcome: &mut Outcome, did: Did, step: usize) -> bool {
    outcome.end = match did {
        Did::Done { row, verified } => {
            outcome.rows.push(*row);
            outcome.verified = outcome.verified.and(verified);
            return true;
        }
        Did::Drift(message) => End::Drift { step, message },
        Did::Failed(e) => End::failed(&e),
        Did::Broken { row, error } => {
            outcome.rows.push(*row);
            End::failed(&error)
        }
        Did::Unknown(message) => {
            outcome.verified = Verified::Unknown;
            outcome.end = End::Unknown { message };
            return false;
        }
        Did::GoesOn(message) => End::GoesOn { message },
    };
    outcome.verified = Verified::No;
    false
}

async fn carry_out_one(
    device: &DefenderDevice,
    order: Order,
    place: Place,
    supply: &dyn Supply,
    job: &Arc<Job>,
) -> Did {
    let deed = match order.step() {
        Step::Tenant { deed } => deed.clone(),
        _ => {
            return Did::Failed(Error::new(ErrorCode::Unsupported, "a Defender device does only what its tenant does"));
        }
    };
    let start = match in_time(device, &deed, place, supply, job).await {
        Ok(prepare::Ready::Start(start)) => start,
        Ok(prepare::Ready::Drift(message)) => return Did::Drift(message),
        Err(e) => return Did::Failed(e),
    };
    let request = order.request().clone();
    match begin(device, order, start, &deed, place, job).await {
        Began::Ended(action) => settle::settle(device, &deed, &action, &request, job).await,
        Began::TakeBack(id) => take_back(device, &deed, &id, &request, job).await,
        Began::Did(did) => did,
    }
}

/// Looks whether all is as approved. A look at a device that does not answer ends with the window.
async fn in_time(
    device: &DefenderDevice,
    deed: &TenantDeed,
    place: Place,
    supply: &dyn Supply,
    job: &Arc<Job>,
) -> Result<prepare::Ready> {
    let own = Arc::new(Job::default());
    let mut looks = std::pin::pin!(prepare::prepare(device, deed, supply, &own));
    let ready = tokio::select! {
        ready = &mut looks => ready,
        () = tokio::time::sleep_until(place.until) => {
            own.time_out();
            // It gives back what it had started.
            looks.await.map_err(late)
        }
        () = job.stopped() => {
            own.cancel();
            let ready = looks.await;
            job.check().and(ready)
        }
    };
    own.take_warnings().into_iter().for_each(|w| job.warn(w));
    match ready {
        // The look ended as the window did.
        Ok(prepare::Ready::Start(_)) if Instant::now() >= place.until => Err(too_late()),
        ready => ready,
    }
}

/// Of what the window's end cut off.
fn late(e: Error) -> Error {
    if e.code == ErrorCode::Timeout { too_late() } else { e }
}

enum Began {
    Ended(Box<MachineAction>),
    /// It had not begun at the end of its window.
    TakeBack(ActionId),
    Did(Did),
}

/// Has the tenant do it, and follows it to its end, to the end of the window where it has not begun, or until nobody
/// waits any more.
async fn begin(
    device: &DefenderDevice,
    order: Order,
    start: Start,
    deed: &TenantDeed,
    place: Place,
    job: &Arc<Job>,
) -> Began {
    let comment = comment(&order, deed, place);
    let own = Job::default();
    let started: Mutex<Option<ActionId>> = Mutex::default();
    let note = |action: &MachineAction| {
        *started.lock().unwrap_or_else(PoisonError::into_inner) = Some(action.id.clone());
        job.hand_over(Handed { step: place.index, action: action.id.as_str().to_owned() });
    };
    let begun = || started.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let actions = &device.tenant.actions;
    let mut run = std::pin::pin!(actions.run_once(order, device.machine_id(), start, &comment, &note, &own));
    let mut is_over = false;
    loop {
        let began = tokio::select! {
            ended = &mut run => match ended {
                Ok(action) => Began::Ended(Box::new(action)),
                Err(e) => Began::Did(broke_off(e, begun())),
            },
            () = tokio::time::sleep_until(place.until), if !is_over => {
                is_over = true;
                let known = begun();
                let Some(began) = at_the_windows_end(device, known.as_ref(), deed).await else { continue };
                own.time_out();
                let ended = run.await;
                match (known, begun(), ended) {
                    // Its start was on its way.
                    (None, Some(id), _) => Began::TakeBack(id),
                    (None, None, Err(e)) => Began::Did(broke_off(late(e), None)),
                    _ => began,
                }
            }
            () = job.stopped() => {
                own.cancel();
                let ended = run.await;
                Began::Did(match (begun(), ended) {
                    (Some(id), _) => Did::GoesOn(goes_on(&id)),
                    (None, Err(e)) if e.code == ErrorCode::OutcomeUnknown => Did::Unknown(e.message),
                    (None, _) => Did::Failed(job.check().err().unwrap_or_else(too_late)),
                })
            }
        };
        own.take_warnings().into_iter().for_each(|w| job.warn(w));
        return began;
    }
}

/// What has not begun by now is taken back, unless the plan says that it may wait.
async fn at_the_windows_end(device: &DefenderDevice, begun: Option<&ActionId>, deed: &TenantDeed) -> Option<Began> {
    let Some(id) = begun else { return Some(Began::Did(Did::Failed(too_late()))) };
    let calm = Job::default();
    let look = tokio::time::timeout(CANCEL_WITHIN, device.tenant.client.action(id, &calm)).await;
    match look {
        Ok(Ok(action)) if action.status == Status::Pending => {}
        // It is under way or over: its end is waited for.
        _ => return None,
    }
    Some(match deed.may_wait_until() {
        Some(until) => Began::Did(Did::GoesOn(format!("{}; it may wait until {until}", goes_on(id)))),
        None => Began::TakeBack(id.clone()),
    })
}

/// Cancels an action that has not begun, and looks what that left.
async fn take_back(
    device: &DefenderDevice,
    deed: &TenantDeed,
    id: &ActionId,
    request: &RequestId,
    job: &Arc<Job>,
) -> Did {
    let calm = Job::default();
    let why = "live-response: not begun within the time that was approved";
    match tokio::time::timeout(CANCEL_WITHIN, device.tenant.actions.cancel(id, why, &calm)).await {
        Ok(Ok(action)) if action.status == Status::Cancelled && !action.has_run() => Did::Failed(too_late()),
        // It began in between, and came to this.
        Ok(Ok(action)) => settle::settle(device, deed, &action, request, job).await,
        Ok(Err(e)) => {
            Did::Unknown(format!("the action {id} had not begun in time and could not be cancelled: {}", e.message))
        }
        Err(_) => Did::Unknown(format!("the action {id} had not begun in time, and its cancel was not answered")),
    }
}

fn too_late() -> Error {
    Error::new(
        ErrorCode::DeviceOffline,
        "Defender did not begin it within the time that was approved; it was taken back",
    )
    .hint("ask again when the device is on")
}

fn goes_on(id: &ActionId) -> String {
    format!("Defender goes on with it as action {id}")
}

fn broke_off(e: Error, begun: Option<ActionId>) -> Did {
    match begun {
        // It goes on there whatever kept us from reading.
        Some(id) => Did::GoesOn(format!("{}, which could not be read: {}", goes_on(&id), e.message)),
        None if e.code == ErrorCode::OutcomeUnknown => Did::Unknown(e.message),
        None => Did::Failed(e),
    }
}

/// What people read beside the action, and what it is found by again.
fn comment(order: &Order, deed: &TenantDeed, place: Place) -> String {
    let people = order.people().join(", ");
    let step = if place.of > 1 { format!(" (step {} of {})", place.index + 1, place.of) } else { String::new() };
    cut(&format!("live-response {}{step} approved by {people}: {}", order.request(), settle::what(deed)), COMMENT)
}

/// A row of an outcome.
fn row(kind: &str, id: &str, outcome: &str, request: &RequestId) -> Remediated {
    Remediated {
        r#type: kind.to_owned(),
        id: crate::shape::Untrusted::new(id),
        outcome: outcome.to_owned(),
        undo_id: None,
        path: None,
        sha256: None,
        size_bytes: None,
        at: Some(crate::model::Timestamp::now()),
        request_id: Some(request.clone()),
        exit_code: None,
        note: None,
    }
}
