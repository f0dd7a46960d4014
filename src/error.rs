//! The one error that crosses module boundaries: a stable code, what was wrong with which value, and the next step.
//!
//! Invariant: a code's spelling and its result state never change. A message may carry text from a device: it is
//! raw here and cleaned by `shape` on its way out, like every other text.

use serde::Serialize;
use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    ($($variant:ident = $text:literal => $state:ident),* $(,)?) => {
        /// A stable reason. The spellings are part of the external contract.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum ErrorCode { $($variant),* }

        impl ErrorCode {
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$variant),*];

            pub const fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $text),* }
            }

            /// The state of a result that ends with this code: `refused` was turned away before anything was tried,
            /// `failed` was tried.
            pub const fn state(self) -> State {
                match self { $(ErrorCode::$variant => State::$state),* }
            }

            pub fn parse(text: &str) -> Option<ErrorCode> {
                Self::ALL.iter().copied().find(|c| c.as_str() == text)
            }
        }
    };
}

/// The state of a result object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Completed,
    Running,
    PendingApproval,
    Refused,
    Failed,
    Cancelled,
    Expired,
    Unknown,
}

impl State {
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Completed => "completed",
            State::Running => "running",
            State::PendingApproval => "pending_approval",
            State::Refused => "refused",
            State::Failed => "failed",
            State::Cancelled => "cancelled",
            State::Expired => "expired",
            State::Unknown => "unknown",
        }
    }
}

codes! {
    Access = "E_ACCESS" => Failed,
    AmbiguousArgs = "E_AMBIGUOUS_ARGS" => Refused,
    ApproverNotEntitled = "E_APPROVER_NOT_ENTITLED" => Refused,
    AssuranceTooLow = "E_ASSURANCE_TOO_LOW" => Refused,
    AuditUnavailable = "E_AUDIT_UNAVAILABLE" => Refused,
    Backend = "E_BACKEND" => Failed,
    BadArgs = "E_BAD_ARGS" => Refused,
    BadCursor = "E_BAD_CURSOR" => Refused,
    Cancelled = "E_CANCELLED" => Cancelled,
    CheckValue = "E_CHECK_VALUE" => Refused,
    Consumed = "E_CONSUMED" => Refused,
    Cooldown = "E_COOLDOWN" => Refused,
    Denied = "E_DENIED" => Refused,
    DeviceBusy = "E_DEVICE_BUSY" => Failed,
    DeviceOffline = "E_DEVICE_OFFLINE" => Failed,
    DigestMismatch = "E_DIGEST_MISMATCH" => Refused,
    DuplicatePerson = "E_DUPLICATE_PERSON" => Refused,
    EntityDrift = "E_ENTITY_DRIFT" => Failed,
    Exists = "E_EXISTS" => Failed,
    Expired = "E_EXPIRED" => Expired,
    FactorInvalid = "E_FACTOR_INVALID" => Refused,
    FactorNotAllowed = "E_FACTOR_NOT_ALLOWED" => Refused,
    FactorReused = "E_FACTOR_REUSED" => Refused,
    GrantScope = "E_GRANT_SCOPE" => Refused,
    Halted = "E_HALTED" => Refused,
    InbandNotAccepted = "E_INBAND_NOT_ACCEPTED" => Refused,
    Internal = "E_INTERNAL" => Failed,
    MgmtChannel = "E_MGMT_CHANNEL" => Refused,
    NoDevice = "E_NO_DEVICE" => Refused,
    NoHumanChannel = "E_NO_HUMAN_CHANNEL" => Refused,
    NoSession = "E_NO_SESSION" => Refused,
    NotAFile = "E_NOT_A_FILE" => Failed,
    NotFound = "E_NOT_FOUND" => Failed,
    OutcomeUnknown = "E_OUTCOME_UNKNOWN" => Unknown,
    PathEscape = "E_PATH_ESCAPE" => Refused,
    PolicyChanged = "E_POLICY_CHANGED" => Refused,
    PolicyInvalid = "E_POLICY_INVALID" => Refused,
    Protected = "E_PROTECTED" => Refused,
    Protocol = "E_PROTOCOL" => Refused,
    QuorumIncomplete = "E_QUORUM_INCOMPLETE" => Refused,
    RateLimited = "E_RATE_LIMITED" => Refused,
    Revoked = "E_REVOKED" => Refused,
    Scope = "E_SCOPE" => Refused,
    ScriptDrift = "E_SCRIPT_DRIFT" => Refused,
    ScriptNotApproved = "E_SCRIPT_NOT_APPROVED" => Refused,
    SelfApproval = "E_SELF_APPROVAL" => Refused,
    SelfIsolation = "E_SELF_ISOLATION" => Refused,
    SelfTarget = "E_SELF_TARGET" => Refused,
    SessionMismatch = "E_SESSION_MISMATCH" => Refused,
    StateForged = "E_STATE_FORGED" => Refused,
    StoreUnavailable = "E_STORE_UNAVAILABLE" => Refused,
    Throttled = "E_THROTTLED" => Failed,
    Timeout = "E_TIMEOUT" => Failed,
    TooFast = "E_TOO_FAST" => Refused,
    TooLarge = "E_TOO_LARGE" => Refused,
    TooManySessions = "E_TOO_MANY_SESSIONS" => Refused,
    Uninspectable = "E_UNINSPECTABLE" => Refused,
    UnknownCommand = "E_UNKNOWN_COMMAND" => Refused,
    UnsignedScript = "E_UNSIGNED_SCRIPT" => Refused,
    Unsupported = "E_UNSUPPORTED" => Refused,
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        ErrorCode::parse(&text).ok_or_else(|| serde::de::Error::custom("not a code"))
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal or a failure, as a person or a model reads it.
#[derive(Debug)]
pub struct Error {
    pub code: ErrorCode,
    /// What was wrong with which value, of what.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
    /// Facts for programs, small; JSON text.
    pub detail: Option<Box<serde_json::value::RawValue>>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), hint: None, detail: None, source: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub fn detail<T: Serialize>(mut self, detail: &T) -> Self {
        self.detail = serde_json::value::to_raw_value(detail).ok();
        self
    }

    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// For another who waits for the same: all but what lies under it.
    pub fn copy(&self) -> Self {
        let (message, hint, detail) = (self.message.clone(), self.hint.clone(), self.detail.clone());
        Error { code: self.code, message, hint, detail, source: None }
    }

    /// The code that fits a system error on a device's file or process.
    pub fn io(what: impl fmt::Display, e: std::io::Error) -> Self {
        use std::io::ErrorKind::*;
        let code = match e.kind() {
            NotFound => ErrorCode::NotFound,
            PermissionDenied => ErrorCode::Access,
            AlreadyExists => ErrorCode::Exists,
            IsADirectory | NotADirectory => ErrorCode::NotAFile,
            TimedOut => ErrorCode::Timeout,
            StorageFull | QuotaExceeded => ErrorCode::StoreUnavailable,
            _ => ErrorCode::Backend,
        };
        Error::new(code, format!("{what}: {e}")).source(e)
    }

    /// Whether it is only that nobody reads any more.
    pub fn is_broken_pipe(&self) -> bool {
        let source = self.source.as_ref().and_then(|s| s.downcast_ref::<std::io::Error>());
        source.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

/// What a parser says, in words of the product: serde speaks of variants, fields and `u32`.
pub(crate) fn in_words(reason: &str) -> String {
    let names = |list: &str| list.replace('`', "").replace("expected one of ", "").replace("expected ", "");
    if let Some(field) = reason.strip_prefix("missing field `").and_then(|r| r.strip_suffix('`')) {
        return format!("{field:?} is missing");
    }
    if let Some((given, known)) = reason.strip_prefix("unknown variant `").and_then(|r| r.split_once("`, ")) {
        return format!("{given:?} is none of: {}", names(known));
    }
    let given = reason.strip_prefix("invalid type: ").or_else(|| reason.strip_prefix("invalid value: "));
    let Some((given, wanted)) = given.and_then(|r| r.rsplit_once(", expected ")) else {
        return reason.to_owned();
    };
    let wanted = match wanted {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 on",
        "i32" | "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "string or map" => "a text",
        "a sequence" => "a list",
        other => other,
    };
    let quoted = |kind: &str| given.strip_prefix(kind).map(|rest| rest.trim_matches('`'));
    let given = match (quoted("string "), quoted("integer ").or_else(|| quoted("floating point ")), given) {
        (Some(text), ..) => format!("the text {text}"),
        (_, Some(number), _) => format!("the number {number}"),
        (.., "sequence") => "a list".into(),
        (.., "map") => "an object".into(),
        (.., other) => other.strip_prefix("boolean ").unwrap_or(other).trim_matches('`').to_owned(),
    };
    format!("{given} is not {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parser_is_heard_in_words() {
        let heard = [
            ("missing field `command_id`", "\"command_id\" is missing"),
            ("unknown variant `u-1`, expected one of `file`, `process`", "\"u-1\" is none of: file, process"),
            ("unknown variant `x`, expected `a` or `b`", "\"x\" is none of: a or b"),
            ("invalid type: string \"x\", expected u64", "the text \"x\" is not a whole number from 0 on"),
            ("invalid type: string \"`\", expected a boolean", "the text \"`\" is not true or false"),
            ("invalid value: integer `-1`, expected u32", "the number -1 is not a whole number from 0 to 4294967295"),
            ("invalid type: floating point `1.5`, expected i64", "the number 1.5 is not a whole number"),
            ("invalid type: boolean `true`, expected a string", "true is not a text"),
            ("invalid type: integer `5`, expected string or map", "the number 5 is not a text"),
            ("invalid type: map, expected a sequence", "an object is not a list"),
            ("invalid type: null, expected a string", "null is not a text"),
            ("EOF while parsing an object", "EOF while parsing an object"),
        ];
        for (reason, words) in heard {
            assert_eq!(in_words(reason), words);
        }
    }
}
