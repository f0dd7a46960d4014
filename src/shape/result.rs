//! The result object: what every call of every front end answers with.

use super::{scrub, text};
use crate::error::{Error, State};
use crate::model::{CommandId, DeviceRef, RequestId, SessionId, Timestamp, Verified};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, Serialize)]
pub struct ResultObject {
    pub command_id: CommandId,
    pub session: Option<SessionId>,
    pub device: Option<DeviceRef>,
    pub state: State,
    pub data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<Page>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<Verified>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorObject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    pub elapsed_ms: u64,
    /// `data` came from a device.
    pub untrusted: bool,
    /// The columns of the compact text.
    #[serde(skip)]
    pub columns: &'static [&'static str],
    /// The compact text, where it was made already.
    #[serde(skip)]
    pub text: Option<Arc<str>>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Page {
    pub returned: usize,
    pub total: usize,
    pub next_cursor: Option<String>,
    pub truncated: bool,
    /// The offset of the first row, and the listing's id in cursors.
    #[serde(skip)]
    pub start: usize,
    #[serde(skip)]
    pub listing: Option<String>,
}

impl Page {
    /// A listing that fits in one page.
    pub fn whole(rows: usize) -> Self {
        Page { returned: rows, total: rows, next_cursor: None, truncated: false, start: 0, listing: None }
    }

    fn to_text(&self, data: &RawValue, columns: &[&str]) -> String {
        let Some(data) = Data::read(data) else {
            return text::object(data);
        };
        if let Some(help) = data.help {
            return help;
        }
        let beside: Vec<(&str, &RawValue)> = data.beside.iter().map(|(name, value)| (&**name, *value)).collect();
        let cursor = |offset: usize| match &self.listing {
            Some(id) => super::Snapshots::cursor(id, offset),
            None => "none: narrow the call".to_owned(),
        };
        let page = text::Page { start: self.start, total: self.total, beside: &beside, cursor: &cursor };
        text::with_content(text::listing(&data.rows, columns, &page), data.content.as_deref())
    }
}

/// The parts of a listing's `data`.
struct Data<'a> {
    rows: Vec<&'a RawValue>,
    help: Option<String>,
    /// What the rows tell of, in many lines.
    content: Option<String>,
    /// All else, by name.
    beside: BTreeMap<String, &'a RawValue>,
}

impl<'a> Data<'a> {
    /// `None` where it is no listing's.
    fn read(data: &'a RawValue) -> Option<Self> {
        let mut members: BTreeMap<String, &'a RawValue> = serde_json::from_str(data.get()).ok()?;
        let mut text = |name: &str| match members.remove(name) {
            Some(value) => serde_json::from_str::<Option<String>>(value.get()).ok(),
            None => Some(None),
        };
        let (help, content) = (text("help")?, text("content")?);
        let rows = match members.remove("rows") {
            Some(rows) => serde_json::from_str(rows.get()).ok()?,
            None => Vec::new(),
        };
        Some(Data { rows, help, content, beside: members })
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    pub done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    pub unit: &'static str,
}

/// How a person is asked. Nothing in it helps to approve.
#[derive(Clone, Debug, Serialize)]
pub struct Approval {
    pub request_id: RequestId,
    /// The same word stands on the person's screen.
    pub r#match: String,
    pub expires_at: Timestamp,
    pub how: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct ErrorObject {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Box<RawValue>>,
}

impl ErrorObject {
    fn to_text(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}: {}\nhint: {hint}", self.code, self.message),
            None => format!("{}: {}", self.code, self.message),
        }
    }
}

impl From<&Error> for ErrorObject {
    /// Messages may quote a device: they are cleaned here.
    fn from(e: &Error) -> Self {
        ErrorObject {
            code: e.code.as_str().into(),
            message: scrub(&e.message).into_owned(),
            hint: e.hint.as_deref().map(|h| scrub(h).into_owned()),
            detail: e.detail.as_deref().map(super::scrub_json),
        }
    }
}

impl ResultObject {
    pub fn new(command_id: CommandId, state: State) -> Self {
        ResultObject {
            command_id,
            session: None,
            device: None,
            state,
            data: None,
            page: None,
            progress: None,
            approval: None,
            verified: None,
            error: None,
            replayed: None,
            warnings: Vec::new(),
            elapsed_ms: 0,
            untrusted: false,
            columns: &[],
            text: None,
        }
    }

    /// Turned away or failed: the code says which.
    pub fn from_error(command_id: CommandId, e: &Error) -> Self {
        ResultObject { error: Some(e.into()), ..Self::new(command_id, e.code.state()) }
    }

    /// Whether MCP calls it a tool error, and JSON-RPC an error.
    pub fn is_error(&self) -> bool {
        !matches!(self.state, State::Completed | State::Running | State::PendingApproval)
    }

    /// The compact text beside the structured content.
    pub fn to_text(&self) -> Cow<'_, str> {
        match &self.text {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(self.make_text()),
        }
    }

    fn make_text(&self) -> String {
        let mut out = match (&self.state, &self.error, &self.data) {
            (State::PendingApproval, ..) => self.pending_text(),
            (State::Running, ..) => self.running_text(),
            (_, Some(e), _) => e.to_text(),
            (_, None, Some(data)) => self.data_text(data),
            (state, None, None) => state.as_str().to_owned(),
        };
        for warning in &self.warnings {
            out.push_str("\nwarning: ");
            out.push_str(warning);
        }
        out
    }

    fn pending_text(&self) -> String {
        match &self.approval {
            Some(a) => {
                let asked = text::pending(a.request_id.as_str(), &a.r#match, &a.expires_at.to_string(), &a.how);
                format!("{asked}\nthen: fg {}", self.command_id)
            }
            None => text::NOT_DONE.to_owned(),
        }
    }

    fn running_text(&self) -> String {
        let progress = self.progress.as_ref().map(|p| match p.total {
            Some(total) => format!(", {} of {total} {}", p.done, p.unit),
            None => format!(", {} {}", p.done, p.unit),
        });
        format!("running{}. Wait for it: fg {}", progress.unwrap_or_default(), self.command_id)
    }

    fn data_text(&self, data: &RawValue) -> String {
        let mut out = match &self.page {
            Some(page) => page.to_text(data, self.columns),
            None => text::object(data),
        };
        if let Some(v) = self.verified {
            out.push_str(match v {
                Verified::Yes => "\nverified: yes",
                Verified::No => "\nverified: no",
                Verified::Unknown => "\nverified: unknown",
            });
        }
        out
    }
}
