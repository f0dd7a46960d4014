//! One record of the log: a line of JSON that no value can break out of.
//!
//! Invariants: every line is one event; what a person or a line splitter could misread is escaped; `check` covers the
//! line before it, `prev_hash` the whole line above.

use super::Moment;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{RequestId, Sha256, Timestamp};
use crate::principal::Principal;
use crate::shape::is_plain_char;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::Digest;
use std::borrow::Cow;

/// Every event there is (reference: guard-threats, section 6).
pub const EVENTS: &[&str] = &[
    "startup.mode",
    "startup.refused",
    "policy.loaded",
    "policy.rejected",
    "request.created",
    "request.coalesced",
    "request.refused",
    "client.response",
    "prompt.shown",
    "vote.cast",
    "vote.rejected",
    "request.denied",
    "request.approved",
    "request.expired",
    "request.cancelled",
    "request.revoked",
    "request.invalidated",
    "exec.consumed",
    "exec.started",
    "exec.handed_over",
    "exec.finished",
    "exec.unknown",
    "library.uploaded",
    "library.changed",
    "library.approved",
    "library.approval_rejected",
    "library.upload_rejected",
    "library.synced",
    "approver.enrolled",
    "approver.removed",
    "grant.created",
    "grant.used",
    "grant.rejected",
    "breakglass.used",
    "breakglass.rejected",
    "factor.locked",
    "auth.failed",
    "http.rejected",
    "channel.failed",
    "halt.engaged",
    "halt.released",
    "breaker.tripped",
    "isolation.rolled_back",
    "output.returned",
    "output.sanitised",
    "output.truncated",
    "evidence.sealed",
    "evidence.truncated",
    "evidence.entry_refused",
    "evidence.verify_failed",
    "audit.gap",
    "audit.recovered",
    "audit.clock_jump",
    "audit.checkpoint",
    "audit.fork_detected",
    "audit.verify_failed",
];

/// What is put on record; the log adds where it stands and when.
#[derive(Clone, Debug)]
pub struct Record {
    pub event: &'static str,
    pub request_id: Option<RequestId>,
    pub digest: Option<Sha256>,
    pub policy_sha256: Option<Sha256>,
    pub principal: Option<Principal>,
    /// By which way it came: `mcp`, `rpc`, `console`, `call`, `approvals`.
    pub channel: Option<&'static str>,
    /// The assurance of a vote: `L`, `A2`, …
    pub level: Option<&'static str>,
    pub reason_code: Option<ErrorCode>,
    pub detail: Option<Box<RawValue>>,
}

impl Record {
    pub fn new(event: &'static str) -> Self {
        Record {
            event,
            request_id: None,
            digest: None,
            policy_sha256: None,
            principal: None,
            channel: None,
            level: None,
            reason_code: None,
            detail: None,
        }
    }

    pub fn request(mut self, id: &RequestId) -> Self {
        self.request_id = Some(id.clone());
        self
    }

    pub fn digest(mut self, digest: &Sha256) -> Self {
        self.digest = Some(digest.clone());
        self
    }

    pub fn policy(mut self, sha256: &Sha256) -> Self {
        self.policy_sha256 = Some(sha256.clone());
        self
    }

    pub fn by(mut self, principal: &Principal) -> Self {
        self.principal = Some(principal.clone());
        self
    }

    pub fn channel(mut self, channel: &'static str) -> Self {
        self.channel = Some(channel);
        self
    }

    pub fn level(mut self, level: &'static str) -> Self {
        self.level = Some(level);
        self
    }

    pub fn reason(mut self, code: ErrorCode) -> Self {
        self.reason_code = Some(code);
        self
    }

    /// Facts of this event; never a secret, a code or a token.
    pub fn detail<T: Serialize>(mut self, detail: &T) -> Self {
        self.detail = serde_json::value::to_raw_value(detail).ok();
        self
    }

    /// Its line, with the newline, and the hash that the next line carries.
    pub(super) fn line(&self, seq: u64, prev: &str, now: &Moment) -> Result<(Vec<u8>, String)> {
        if !EVENTS.contains(&self.event) {
            return Err(Error::new(ErrorCode::Internal, format!("{:?} is no event of the log", self.event)));
        }
        let line = Written {
            seq,
            prev_hash: prev,
            ts_wall: now.timestamp(),
            ts_mono: now.mono_ms,
            boot_id: &now.boot,
            event: self.event,
            request_id: self.request_id.as_ref(),
            digest: self.digest.as_ref(),
            policy_sha256: self.policy_sha256.as_ref(),
            principal: self.principal.as_ref(),
            channel: self.channel,
            level: self.level,
            reason_code: self.reason_code,
            detail: self.detail.as_deref(),
        };
        let mut text = serde_json::to_string(&line).map_err(|e| Error::new(ErrorCode::Internal, e.to_string()))?;
        text.pop();
        if let Cow::Owned(escaped) = escape(&text) {
            text = escaped;
        }
        let mut hash = sha2::Sha256::new_with_prefix(&text);
        let check = check_of(&hash.clone().finalize());
        let end = format!("{CHECK}{check}\"}}");
        hash.update(&end);
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(end.as_bytes());
        bytes.push(b'\n');
        Ok((bytes, crate::model::hex(&hash.finalize())))
    }
}

const CHECK: &str = ",\"check\":\"";
/// Hex digits of the check.
const CHECK_DIGITS: usize = 16;

fn check_of(digest: &[u8]) -> String {
    crate::model::hex(digest.get(..CHECK_DIGITS / 2).unwrap_or(digest))
}

/// JSON text without a character that a person, a terminal or a line splitter could take for something else.
/// Outside of strings JSON is ASCII, so each such character stands in a string.
pub(crate) fn escape(json: &str) -> Cow<'_, str> {
    if json.bytes().all(|b| matches!(b, 0x20..=0x7e)) || json.chars().all(is_plain_char) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 32);
    for c in json.chars() {
        if is_plain_char(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Cow::Owned(out)
}

#[derive(Serialize)]
struct Written<'a> {
    seq: u64,
    prev_hash: &'a str,
    ts_wall: Timestamp,
    ts_mono: u64,
    boot_id: &'a str,
    event: &'a str,
    request_id: Option<&'a RequestId>,
    digest: Option<&'a Sha256>,
    policy_sha256: Option<&'a Sha256>,
    principal: Option<&'a Principal>,
    channel: Option<&'a str>,
    level: Option<&'a str>,
    reason_code: Option<ErrorCode>,
    detail: Option<&'a RawValue>,
}

/// Where a line stands, and what it tells of.
#[derive(Deserialize)]
pub(crate) struct Head<'a> {
    pub(crate) seq: u64,
    #[serde(borrow)]
    pub(crate) prev_hash: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) event: Cow<'a, str>,
}

/// A line, read back.
#[derive(Deserialize)]
pub struct Line<'a> {
    pub seq: u64,
    pub ts_wall: Timestamp,
    pub ts_mono: u64,
    pub boot_id: String,
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    pub request_id: Option<RequestId>,
    pub digest: Option<Sha256>,
    pub policy_sha256: Option<Sha256>,
    pub principal: Option<Principal>,
    pub channel: Option<String>,
    pub level: Option<String>,
    pub reason_code: Option<String>,
    #[serde(borrow)]
    pub detail: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }

    pub fn moment(&self) -> Moment {
        Moment { wall_ms: self.ts_wall.as_millis(), mono_ms: self.ts_mono, boot: self.boot_id.clone() }
    }

    /// The detail as a type; missing or different is an error that says so.
    pub fn detail<T: Deserialize<'a>>(&self) -> Result<T, String> {
        let raw = self.detail.ok_or_else(|| format!("{} has no detail", self.event))?;
        serde_json::from_str(raw.get()).map_err(|e| format!("detail of {}: {e}", self.event))
    }
}

/// Whether a line (without its newline) is whole: its own check holds.
pub(super) fn is_whole(line: &[u8]) -> bool {
    let Some(at) = line.len().checked_sub(CHECK.len() + CHECK_DIGITS + 2) else { return false };
    let Some((text, end)) = line.split_at_checked(at) else { return false };
    let check = check_of(&sha2::Sha256::digest(text));
    end == format!("{CHECK}{check}\"}}").as_bytes()
}
