//! What the service refuses, as our stable codes, each with the next step (its common error codes).
//!
//! Invariant: its texts are free and may come from anybody, so no code depends on them but where it has none of its
//! own, and each is cut and cleaned before it is in a message.

use super::Endpoint;
use super::http::Reply;
use super::json;
use super::limits::Family;
use crate::error::{Error, ErrorCode};
use crate::shape::{clean, scrub};
use serde::{Deserialize, Serialize};

/// Why a call did not do what it was to do.
#[derive(Debug)]
pub struct Failure {
    pub error: Error,
    pub kind: FailureKind,
}

/// What the caller can do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// Nothing: it was refused, and did not happen.
    Refused,
    /// The thing is not there, or not yet.
    Missing,
    /// Another action is under way on the device.
    Busy,
    /// It is over already, or it is there already.
    Standing,
    /// The service was not reached.
    Unsent,
    /// Nobody knows whether it happened: no answer, or one that says nothing.
    Uncertain,
}

impl Failure {
    /// For who does the same whatever it is. (No `From`: it would make every `?` of the crate ambiguous.)
    pub fn into_error(self) -> Error {
        self.error
    }

    /// Of a change that is not sent again: where nobody knows whether it arrived, the code says so.
    pub fn of_change(self) -> Error {
        match self.kind {
            FailureKind::Uncertain => Error::new(ErrorCode::OutcomeUnknown, self.error.message)
                .hint("it may have arrived: look before you ask again"),
            _ => self.error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, kind: FailureKind::Refused }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(deserialize_with = "json::tolerant")]
    error: Said,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    #[serde(deserialize_with = "json::tolerant")]
    code: String,
    #[serde(deserialize_with = "json::tolerant")]
    message: String,
    #[serde(deserialize_with = "json::tolerant")]
    target: String,
}

impl Said {
    /// Some services, and what stands before them, say again what they were sent.
    fn without(mut self, sent: &str) -> Said {
        for text in [&mut self.code, &mut self.message, &mut self.target] {
            if !sent.is_empty() && text.contains(sent) {
                *text = text.replace(sent, "(token)");
            }
        }
        self
    }
}

/// For programs, and for who asks Microsoft about it.
#[derive(Serialize)]
struct Detail<'a> {
    http_status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    service_code: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    correlation_id: &'a str,
}

/// Longest part of a foreign message in one of ours.
const SHOWN: usize = 300;
const CODE_CHARS: usize = 64;

fn word(text: &str, max: usize) -> String {
    let cut: String = text.chars().take(max).collect();
    clean(&cut).into_owned()
}

/// An answer that is no success. `sent` is what it must not say again: the token.
pub(super) fn refusal(endpoint: &Endpoint, reply: &Reply, sent: &str) -> Failure {
    let status = reply.status.as_u16();
    let said = json::read::<Body>(&reply.body).unwrap_or_default().error.without(sent);
    let (code, target) = (word(&said.code, CODE_CHARS), word(&said.target, CODE_CHARS));
    let cut: String = said.message.chars().take(SHOWN).collect();
    let message = scrub(&cut);
    tracing::debug!(status, code, correlation = target, call = endpoint.what, "Defender refused a call");
    let (ours, kind) = judged(endpoint, status, &code, &said.message);
    let reason = match (code.is_empty(), message.trim().is_empty()) {
        (true, _) => format!("HTTP {status}"),
        (false, true) => format!("{code} (HTTP {status})"),
        (false, false) => format!("{code} (HTTP {status}): {}", message.trim()),
    };
    let error = Error::new(ours, format!("Defender did not {}: {reason}", endpoint.what)).detail(&Detail {
        http_status: status,
        service_code: &code,
        correlation_id: &target,
    });
    Failure { error: error.hint(hint(endpoint, status, &code, ours)), kind }
}

fn judged(endpoint: &Endpoint, status: u16, code: &str, message: &str) -> (ErrorCode, FailureKind) {
    use FailureKind::{Busy, Missing, Refused, Standing, Uncertain};
    let says = |part: &str| message.to_ascii_lowercase().contains(part);
    match (status, code) {
        (_, "ActiveRequestAlreadyExists") => (ErrorCode::DeviceBusy, Busy),
        // Seen without a code of its own.
        (400, _) if says("already in progress") || says("pending machine action") => (ErrorCode::DeviceBusy, Busy),
        (400, _) if says("active live response session") => (ErrorCode::DeviceBusy, Busy),
        (400 | 409, _) if says("already exists") => (ErrorCode::Exists, Standing),
        (400, "OsPlatformNotSupported" | "ClientVersionNotSupported") => (ErrorCode::Unsupported, Refused),
        (400, "MaximumBatchSizeExceeded") | (413, _) => (ErrorCode::TooLarge, Refused),
        (400, c) if c.starts_with("Invalid") || c == "ODataError" || c == "MissingRequiredParameter" => {
            (ErrorCode::BadArgs, Refused)
        }
        // Its own word for a query that it cannot read.
        (400, "BadRequest") if endpoint.family == Family::Hunt => (ErrorCode::BadArgs, Refused),
        (404, _) => (endpoint.missing, Missing),
        (429, _) => (ErrorCode::Throttled, Refused),
        (500.., _) => (ErrorCode::Backend, Uncertain),
        // A portal, a proxy or a redirect answered in place of the service.
        (200..400, _) => (ErrorCode::Backend, Uncertain),
        _ => (ErrorCode::Backend, Refused),
    }
}

fn hint(endpoint: &Endpoint, status: u16, code: &str, ours: ErrorCode) -> String {
    let permission = endpoint.permission;
    match (status, code) {
        (403, "DisabledFeature") => {
            "switch the feature on in the Defender portal: Settings > Endpoints > Advanced features".into()
        }
        (403, "DisallowedOperation") => {
            "give the device's group an automation level in the Defender portal: Settings > Endpoints > Device groups"
                .into()
        }
        (403, _) => format!(
            "the app needs the application permission {permission}: Entra > App registrations > API permissions > \
             APIs my organization uses > WindowsDefenderATP, then grant admin consent"
        ),
        (401, _) => format!(
            "the token was renewed and refused again: compare scope and cloud in [defender] with the tenant, and see \
             that the app has {permission} with admin consent"
        ),
        (429, _) => "others use the tenant's quota too: try again later, or lower [defender] limits".into(),
        (407, _) => "the proxy wants a sign-in: see HTTPS_PROXY".into(),
        (300..=399, _) => "something between redirects: check api_url, the proxy and the network".into(),
        _ => match ours {
            ErrorCode::DeviceBusy => "wait for the other action, or cancel it in the Action center".into(),
            ErrorCode::NoDevice => {
                "`devices` lists what the tenant has; a device that left is gone after its retention".into()
            }
            ErrorCode::NotFound => "it may be too new (try again) or past its retention".into(),
            ErrorCode::Unsupported => "the device's system or agent does not have this action".into(),
            ErrorCode::BadArgs => "check the value that the message names".into(),
            ErrorCode::Exists => "nothing was replaced; remove the one that is there first".into(),
            _ => "see the service's health in the portal; the correlation id is in the error's detail".into(),
        },
    }
}

/// No answer, or one that nobody can read.
pub(super) fn trouble(endpoint: &Endpoint, why: &str, kind: FailureKind) -> Failure {
    let error = Error::new(ErrorCode::Backend, format!("Defender did not {}: {}", endpoint.what, word(why, SHOWN)))
        .hint("check the way to the service: api_url, proxy, DNS, firewall");
    Failure { error, kind }
}
