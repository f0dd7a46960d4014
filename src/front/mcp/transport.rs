//! `rmcp`'s transport over strict lines.
//!
//! Invariant: a call of a tool is taken apart here, so its arguments are in no tree and its keys are all there; other
//! messages are small and go through `rmcp`'s own types.

use super::super::message::{self, Form, INVALID_PARAMS, Id, Message, Notice, Refusal, Request, Text, present};
use super::super::{Lines, Turned, Wire, refuse_arguments, write_json};
use super::handler::{Call, Retry, is_modern, render};
use crate::error::{Error, ErrorCode};
use crate::model::CommandId;
use crate::shape::ResultObject;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam, ClientJsonRpcMessage,
    ClientNotification, ClientRequest, GetExtensions, GetMeta, JsonRpcMessage, ProtocolVersion, RequestId,
    RequestMetaObject, ServerJsonRpcMessage,
};
use rmcp::transport::Transport;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};

/// Messages that are no calls of tools become trees in `rmcp`: they may not be big.
const MAX_OTHER: usize = 256 << 10;

pub struct StrictTransport<R, W> {
    wire: Arc<Wire<W>>,
    lines: Lines<R>,
    /// `rmcp` takes notifications only after the message that opens the session.
    open: bool,
}

impl<R, W> StrictTransport<R, W> {
    pub fn new(wire: Arc<Wire<W>>, lines: Lines<R>) -> Self {
        StrictTransport { wire, lines, open: false }
    }
}

impl<R, W> Transport<RoleServer> for StrictTransport<R, W>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = std::io::Error;

    fn send(&mut self, item: ServerJsonRpcMessage) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.wire.post(&item);
        let wire = self.wire.clone();
        async move { wire.flush().await }
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let range = self.wire.next(&mut self.lines).await?;
            let line = self.lines.bytes(range);
            match self.wire.take(line, self.open) {
                Ok(Some(message)) => {
                    self.open = self.open || opens(&message);
                    return Some(message);
                }
                Ok(None) => {}
                Err(refusal) => self.wire.refuse(refusal),
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.wire.flush().await
    }
}

/// Whether `rmcp` opens the session with this message, by its own rule.
fn opens(message: &ClientJsonRpcMessage) -> bool {
    let JsonRpcMessage::Request(request) = message else { return false };
    match &request.request {
        ClientRequest::InitializeRequest(_) => true,
        ClientRequest::DiscoverRequest(_) | ClientRequest::PingRequest(_) => false,
        other => {
            let meta = other.get_meta();
            meta.missing_required_keys(&ProtocolVersion::V_2026_07_28).is_empty()
                && meta.protocol_version().is_some_and(|v| ProtocolVersion::KNOWN_VERSIONS.contains(&v))
        }
    }
}

#[derive(Deserialize)]
struct CallParams<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    name: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "_meta")]
    meta: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "inputResponses")]
    input_responses: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "requestState")]
    request_state: Option<&'a RawValue>,
}

impl<W: AsyncWrite + Unpin + Send + 'static> Wire<W> {
    /// Makes `rmcp`'s message of a line; `None` where nothing is to be done.
    fn take(self: &Arc<Self>, line: &[u8], open: bool) -> Result<Option<ClientJsonRpcMessage>, Refusal> {
        match message::read(line, Form::Mcp)? {
            Message::Call(request) if request.method == "tools/call" => self.take_call(request),
            Message::Call(request) => self.take_other(line, request),
            Message::Notice(notice) => Ok(self.take_notice(&notice).filter(|_| open)),
            Message::Answer => {
                self.refusals.note("", || {
                    Error::new(ErrorCode::InbandNotAccepted, "a client's answer to no question counts for nothing")
                });
                Ok(None)
            }
        }
    }

    fn take_call(self: &Arc<Self>, request: Request<'_>) -> Result<Option<ClientJsonRpcMessage>, Refusal> {
        let id = request.id;
        let params = request.params.map_or("{}", RawValue::get);
        let Ok(params) = serde_json::from_str::<CallParams>(params) else {
            return Err(Refusal::params(id, "the params of tools/call are no object"));
        };
        let Some(name) = params.name.and_then(|raw| serde_json::from_str::<Text>(raw.get()).ok()) else {
            return Err(Refusal::params(id, "tools/call needs a tool's name"));
        };
        let meta = match params.meta {
            None => RequestMetaObject::default(),
            Some(raw) if raw.get().len() > MAX_OTHER => return Err(too_large(id, "_meta")),
            Some(raw) => serde_json::from_str(raw.get())
                .map_err(|_| Refusal::params(id.clone(), "the _meta of tools/call is no object"))?,
        };
        let name = name.0;
        let (arguments, refused) = arguments(&name, params.arguments, request.twice);
        let ticket = match self.begin(&id, arguments.len() + name.len()) {
            Ok(ticket) => ticket,
            Err(Turned::Away(refusal)) => return Err(refusal),
            Err(Turned::Later(e)) => {
                self.answer_refused(&id, &name, &meta, e);
                return Ok(None);
            }
        };
        let retry = Retry::read(params.request_state, params.input_responses);
        let call = Call { ticket, name: name.into_owned(), arguments: arguments.into_owned(), refused, retry };
        // `rmcp` routes by method alone: the name it carries is for its own logs.
        let mut request = CallToolRequest::new(CallToolRequestParams::new(Cow::Borrowed("")));
        request.extensions.insert(meta);
        request.extensions.insert(Arc::new(call));
        Ok(Some(ClientJsonRpcMessage::request(ClientRequest::CallToolRequest(request), id.into())))
    }

    /// Answers a call at once: there is no room to take it in.
    fn answer_refused(self: &Arc<Self>, id: &Id, name: &str, meta: &RequestMetaObject, e: Error) {
        let result = ResultObject::from_error(CommandId::mint(), &e);
        self.push_result(id, &render(&result, is_modern(meta.protocol_version().as_ref())));
        self.refusals.note(name, || e);
        self.flush_soon();
    }

    fn take_other(
        self: &Arc<Self>,
        line: &[u8],
        request: Request<'_>,
    ) -> Result<Option<ClientJsonRpcMessage>, Refusal> {
        let id = request.id;
        if line.len() > MAX_OTHER {
            return Err(too_large(id, "the message"));
        }
        let ticket = match self.begin(&id, line.len()) {
            Ok(ticket) => ticket,
            Err(Turned::Away(refusal)) => return Err(refusal),
            Err(Turned::Later(e)) => {
                return Err(Refusal {
                    code: message::SERVER_ERROR,
                    reason: e.code,
                    ..Refusal::invalid(Some(id), e.message)
                });
            }
        };
        match serde_json::from_slice::<ClientJsonRpcMessage>(line) {
            Ok(JsonRpcMessage::Request(mut request)) => {
                request.request.extensions_mut().insert(Arc::new(ticket));
                Ok(Some(JsonRpcMessage::Request(request)))
            }
            _ => {
                self.flight.end(&id);
                Err(Refusal::params(id, "the params do not fit the method"))
            }
        }
    }

    fn take_notice(&self, notice: &Notice<'_>) -> Option<ClientJsonRpcMessage> {
        if notice.method == "notifications/cancelled" {
            #[derive(Deserialize)]
            struct Cancelled {
                #[serde(rename = "requestId")]
                id: RequestId,
            }
            let cancelled: Cancelled = serde_json::from_str(notice.params?.get()).ok()?;
            self.flight.cancel(&(&cancelled.id).into());
            let cancelled = CancelledNotificationParam::new(Some(cancelled.id), None);
            let notification = ClientNotification::CancelledNotification(CancelledNotification::new(cancelled));
            return Some(ClientJsonRpcMessage::notification(notification));
        }
        if !notice.method.starts_with("notifications/") {
            self.refusals
                .note(&notice.method, || Error::new(ErrorCode::Protocol, "a request without an id does nothing"));
        }
        None
    }

    /// Queues what `rmcp` sends; an answer that a handler laid down stands in for its empty one.
    fn post(&self, item: &ServerJsonRpcMessage) {
        let id: Option<Id> = match item {
            JsonRpcMessage::Response(response) => Some((&response.id).into()),
            JsonRpcMessage::Error(error) => error.id.as_ref().map(Into::into),
            _ => None,
        };
        let laid_down = id.as_ref().and_then(|id| self.flight.end(id));
        match (item, id, laid_down) {
            (JsonRpcMessage::Response(_), Some(id), Some(result)) => self.push_result(&id, &result),
            _ => self.outbox.push(|line| write_json(line, item)),
        }
    }
}

/// The arguments' text, and why they are refused where they are: then nothing of them is kept.
fn arguments<'a>(tool: &str, raw: Option<&'a RawValue>, twice: Option<String>) -> (Cow<'a, str>, Option<Error>) {
    let text = raw.map_or("{}", RawValue::get);
    match refuse_arguments(tool, text, twice) {
        Some(e) => ("{}".into(), Some(e)),
        None => (text.into(), None),
    }
}

fn too_large(id: Id, what: &str) -> Refusal {
    let message = format!("{what} is larger than {MAX_OTHER} bytes");
    Refusal { code: INVALID_PARAMS, reason: ErrorCode::TooLarge, ..Refusal::invalid(Some(id), message) }
}

impl From<Id> for RequestId {
    fn from(id: Id) -> Self {
        match id {
            Id::Number(n) => RequestId::Number(n),
            Id::Text(t) => RequestId::String(t),
        }
    }
}

impl From<&RequestId> for Id {
    fn from(id: &RequestId) -> Self {
        match id {
            RequestId::Number(n) => Id::Number(*n),
            RequestId::String(t) => Id::Text(t.clone()),
        }
    }
}
