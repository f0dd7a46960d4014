//! The key to every effect: a plan that a person approved, and its orders.
//!
//! Invariant: no maker but [`Guard::consume`](super::Guard::consume); neither cloned, read nor written; used up by
//! running it.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{DeviceId, Handed, RequestId, Step};
use std::sync::Arc;

/// A plan that a person approved, once, for one device.
#[must_use = "an approval that is not run is lost"]
pub struct Approved {
    request: RequestId,
    device: DeviceId,
    steps: Vec<Step>,
    people: Vec<String>,
    window_s: u64,
}

/// What is left of a plan whose executor died after a backend had taken it, or may have: nothing of it is begun again.
#[must_use = "what is not looked after stays open"]
pub struct Adopted {
    pub request: RequestId,
    pub device: DeviceId,
    pub steps: Vec<Step>,
    pub handed: Vec<Handed>,
    /// Whether a backend that has not begun it is too late.
    pub is_late: bool,
}

/// One step of an approved plan: the key that every function with an effect takes.
#[must_use = "an order is the only permission for its effect"]
pub struct Order {
    step: Step,
    request: RequestId,
    people: Arc<[String]>,
}

impl Approved {
    pub(super) fn consumed(request: RequestId, device: DeviceId, steps: Vec<Step>, people: Vec<String>) -> Self {
        Approved { request, device, steps, people, window_s: 0 }
    }

    /// What a backend has not begun within it is taken back.
    pub(super) fn within(self, window_s: u64) -> Self {
        Approved { window_s, ..self }
    }

    pub fn window_s(&self) -> u64 {
        self.window_s
    }

    /// Whether who is asked may go on with a step when this process has ended.
    pub fn outlives(&self) -> bool {
        self.steps.iter().any(Step::outlives)
    }

    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    pub fn request(&self) -> &RequestId {
        &self.request
    }

    /// How long its steps may take by themselves, where one has a time of its own.
    pub fn time_limit_s(&self) -> Option<u64> {
        self.steps.iter().filter_map(Step::time_limit_s).reduce(u64::saturating_add)
    }

    /// Whether it changes this program's own library and nothing on the device.
    pub fn is_of_library(&self) -> bool {
        !self.steps.is_empty() && self.steps.iter().all(|step| matches!(step, Step::DeleteScript { .. }))
    }

    /// The orders, in the order that the person saw; only for the device that they were approved for.
    pub fn orders(self, on: &DeviceId) -> Result<impl Iterator<Item = Order> + Send + use<>> {
        if *on != self.device {
            return Err(Error::new(
                ErrorCode::DigestMismatch,
                format!("the plan was approved for {}, not for {on}", self.device),
            ));
        }
        let (request, people) = (self.request, Arc::from(self.people));
        Ok(self.steps.into_iter().map(move |step| Order {
            step,
            request: request.clone(),
            people: Arc::clone(&people),
        }))
    }
}

impl Order {
    pub fn step(&self) -> &Step {
        &self.step
    }

    pub fn request(&self) -> &RequestId {
        &self.request
    }

    /// Who said yes.
    pub fn people(&self) -> &[String] {
        &self.people
    }
}

/// For tests of effects, which need an approval and no person.
#[cfg(test)]
pub(crate) fn approved_for_test(device: &DeviceId, steps: Vec<Step>) -> Approved {
    Approved::consumed(RequestId::mint(), device.clone(), steps, vec!["alex".into()])
}
