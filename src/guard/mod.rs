//! The guard: plan, digest, policy, votes, consume-once. It alone makes [`Approved`].
//!
//! Invariants: a leaf that calls neither session nor device. A transition is real when its record is on disk; the
//! state is folded from the log. `Approved` has no other maker than [`Guard::consume`], is neither cloned nor read
//! from anywhere, and is used up by running it.

use crate::error::{Error, ErrorCode, Result};
use crate::model::{CommandId, DeviceId, Disclosure, Outcome, RequestId, SessionId, Sha256, Step, Timestamp, Verified};
use crate::principal::{Principal, Role, Transport};

/// A plan that a person approved, once, for one device.
#[must_use = "an approval that is not run is lost"]
pub struct Approved {
    request: RequestId,
    device: DeviceId,
    steps: Vec<Step>,
}

/// One step of an approved plan: the key that every function with an effect takes.
#[must_use = "an order is the only permission for its effect"]
pub struct Order {
    step: Step,
    request: RequestId,
}

impl Approved {
    pub fn device(&self) -> &DeviceId {
        &self.device
    }

    pub fn request(&self) -> &RequestId {
        &self.request
    }

    /// The orders, in the order that the person saw; only for the device that they were approved for.
    pub fn orders(self, on: &DeviceId) -> Result<impl Iterator<Item = Order> + Send + use<>> {
        if *on != self.device {
            return Err(Error::new(
                ErrorCode::DigestMismatch,
                format!("the plan was approved for {}, not for {on}", self.device),
            ));
        }
        let request = self.request;
        Ok(self.steps.into_iter().map(move |step| Order { step, request: request.clone() }))
    }
}

impl Order {
    pub fn step(&self) -> &Step {
        &self.step
    }

    pub fn request(&self) -> &RequestId {
        &self.request
    }
}

/// What is asked, before it is resolved: equal intents share one pending request.
#[derive(Clone, Debug)]
pub struct Intent {
    pub by: Principal,
    pub transport: Transport,
    /// What the client says of itself; untrusted, no right follows.
    pub claimed: Option<String>,
    pub command_id: CommandId,
    pub session: Option<SessionId>,
    pub device: DeviceId,
    pub device_name: String,
    /// The canonical command name: `remediate`.
    pub command: &'static str,
    /// The typed arguments as JSON, defaults filled in, fields in the struct's order.
    pub args: String,
    /// The assistant's own words, unverified, no part of the intent.
    pub reason: Option<String>,
}

/// Where a request stands, for a requester: nothing in it helps to approve.
#[derive(Clone, Debug)]
pub struct RequestView {
    pub id: RequestId,
    pub command_id: CommandId,
    pub command: String,
    pub device: DeviceId,
    pub device_name: String,
    pub session: Option<SessionId>,
    pub by: Principal,
    pub created: Timestamp,
    pub expires: Timestamp,
    pub phase: Phase,
    /// A short word that the person sees too, to match the request on the screen with the one in the chat.
    pub match_code: String,
    /// Set when this call joined a request that was pending already.
    pub coalesced: bool,
    /// The slice to read again from the evidence store once a disclosure is done.
    pub disclosure: Option<Disclosure>,
    /// When it ended, where it did.
    pub ended: Option<Timestamp>,
}

/// The life cycle. Terminal phases never change.
#[derive(Clone, Debug)]
pub enum Phase {
    Pending,
    Approved,
    Consuming,
    Done(Outcome),
    /// A person's no.
    Denied,
    Expired,
    Cancelled,
    Revoked,
    /// The code says why: `E_POLICY_CHANGED`, `E_SESSION_MISMATCH`, …
    Invalidated(ErrorCode),
    Unknown,
}

/// What [`Guard::admit`] found.
pub enum Admission {
    /// Resolve it and [`Guard::submit`] it.
    Go,
    /// An equal intent of the same principal is pending: this is it.
    Pending(RequestView),
}

#[cfg(test)]
impl Approved {
    /// For tests of what an approval sets off; nothing but `Guard::consume` makes one otherwise.
    pub(crate) fn for_test(device: &DeviceId, steps: Vec<Step>) -> Approved {
        Approved { request: RequestId::mint(), device: device.clone(), steps }
    }
}
