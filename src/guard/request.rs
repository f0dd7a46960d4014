//! What a requester gives and sees.

use crate::error::ErrorCode;
use crate::model::{CommandId, DeviceId, DevicePath, Disclosure, Outcome, RequestId, SessionId, Timestamp};
use crate::principal::{Principal, Transport};

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
    /// The session's directory, where relative paths of the arguments begin.
    pub directory: Option<DevicePath>,
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
#[expect(clippy::large_enum_variant, reason = "one a call, taken apart at once")]
pub enum Admission {
    /// Resolve it and [`Guard::submit`] it.
    Go,
    /// An equal intent of the same principal is pending: this is it.
    Pending(RequestView),
}

/// What was asked and turned away, for the record: names, never values.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub by: &'a Principal,
    pub transport: Transport,
    /// As it was sent; escaped on record.
    pub command: &'a str,
    pub command_id: Option<&'a CommandId>,
    pub device: Option<&'a DeviceId>,
    pub session: Option<&'a SessionId>,
    /// Names of unknown arguments.
    pub unknown_keys: &'a [String],
}
