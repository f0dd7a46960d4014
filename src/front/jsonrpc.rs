//! JSON-RPC 2.0 on stdio, one message a line: a method a tool, by-name parameters, `rpc.discover`.
//!
//! Invariants: a notification does nothing; each request has one answer, in any order. A refusal or a failure is error
//! -32000 whose data is the result object.

use super::message::{self, Form, INVALID_PARAMS, Id, METHOD_NOT_FOUND, Message, Refusal, Request, SERVER_ERROR};
use super::{Lines, Reason, Turned, Wire, refuse_arguments, watch};
use crate::commands;
use crate::dispatcher::{Connection, Extent};
use crate::error::{Error, ErrorCode, Result};
use crate::model::CommandId;
use crate::nearest::nearest;
use crate::registry::open_rpc;
use crate::shape::{ResultObject, clean};
use jsonrpsee::core::RegisterMethodError;
use jsonrpsee::{IntoResponse, ResponsePayload, RpcModule};
use jsonrpsee_types::{ErrorObjectOwned, Params};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::sync::{Arc, LazyLock};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::TaskTracker;

/// Gives the OpenRPC document.
const DISCOVER: &str = "rpc.discover";

/// Serves one client on stdio until its input ends; needs a runtime with I/O and time.
pub async fn serve(connection: Arc<Connection>) -> Result<()> {
    let methods = Arc::new(methods(connection.clone())?);
    let (input, output) = rmcp::transport::stdio_pipes();
    let wire = Wire::new(connection, output);
    let watching = tokio::spawn(watch(wire.input_over.clone(), wire.gone.clone()));
    run(&wire, &methods, Lines::new(input)).await;
    wire.finish().await;
    watching.abort();
    Ok(())
}

async fn run<R, W>(wire: &Arc<Wire<W>>, methods: &Arc<RpcModule<Arc<Connection>>>, mut lines: Lines<R>)
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let calls = TaskTracker::new();
    while let Some(range) = wire.next(&mut lines).await {
        wire.take_rpc(methods, lines.bytes(range), &calls);
    }
    calls.close();
    calls.wait().await;
}

/// A method for every tool.
fn methods(connection: Arc<Connection>) -> Result<RpcModule<Arc<Connection>>> {
    let mut module = RpcModule::new(connection);
    let twice = |e: RegisterMethodError| Error::new(ErrorCode::Internal, format!("a method has no place: {e}"));
    for tool in commands::ALL.iter().chain(commands::TENANT) {
        let name = tool.spec().name;
        let call =
            move |params, connection: Arc<Arc<Connection>>, _| async move { call(name, params, &connection).await };
        module.register_async_method(name, call).map_err(twice)?;
    }
    module.register_method(DISCOVER, |_, _, _| Document).map_err(twice)?;
    Ok(module)
}

async fn call(name: &str, params: Params<'static>, connection: &Connection) -> Result<Shared, ErrorObjectOwned> {
    let args = params.as_str().unwrap_or("{}");
    if !args.starts_with('{') {
        let text = "parameters are given by name, in an object";
        return Err(ErrorObjectOwned::owned(INVALID_PARAMS, text, Some(Reason { code: ErrorCode::BadArgs })));
    }
    match connection.call(name, args, Extent::Model).await {
        Ok(answered) if answered.result.is_error() => Err(failed(&answered.result)),
        Ok(answered) => Ok(Shared(answered.result)),
        Err(e) => Err(ErrorObjectOwned::owned(METHOD_NOT_FOUND, e.message.clone(), Some(Reason { code: e.code }))),
    }
}

fn failed(result: &ResultObject) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(SERVER_ERROR, headline(result), Some(result))
}

/// `CODE: text`, or the state where there is no error.
fn headline(result: &ResultObject) -> String {
    match &result.error {
        Some(e) => format!("{}: {}", e.code, e.message),
        None => result.state.as_str().to_owned(),
    }
}

/// A result that a job may hold too.
#[derive(Clone)]
struct Shared(Arc<ResultObject>);

impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// The OpenRPC document, made at first need.
#[derive(Clone)]
struct Document;

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        static DOCUMENT: LazyLock<serde_json::Value> = LazyLock::new(|| open_rpc(commands::ALL));
        DOCUMENT.serialize(serializer)
    }
}

impl IntoResponse for Document {
    type Output = Self;

    fn into_response(self) -> ResponsePayload<'static, Self> {
        ResponsePayload::success(self)
    }
}

impl<W: AsyncWrite + Unpin + Send + 'static> Wire<W> {
    /// Starts what a line asks for.
    fn take_rpc(self: &Arc<Self>, methods: &Arc<RpcModule<Arc<Connection>>>, line: &[u8], calls: &TaskTracker) {
        match message::read(line, Form::Rpc) {
            Ok(Message::Call(request)) => self.start(methods, line, request, calls),
            Ok(Message::Notice(notice)) => self
                .refusals
                .note(&notice.method, || Error::new(ErrorCode::Protocol, "a request without an id does nothing")),
            Ok(Message::Answer) => self.refusals.note("", || {
                Error::new(ErrorCode::InbandNotAccepted, "a client's answer to no question counts for nothing")
            }),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn start(
        self: &Arc<Self>,
        methods: &Arc<RpcModule<Arc<Connection>>>,
        line: &[u8],
        request: Request<'_>,
        calls: &TaskTracker,
    ) {
        let Request { id, method, params, twice } = request;
        if matches!(id, Id::Number(n) if n < 0) {
            return self.refuse(Refusal::invalid(None, "an id is a text or a whole number from 0"));
        }
        if methods.method(&method).is_none() {
            return self.refuse_method(&id, &method);
        }
        let refused = params.and_then(|params| refuse_arguments(&method, params.get(), twice));
        if let Some(e) = refused {
            return self.refuse_call(&id, &method, e);
        }
        let ticket = match self.begin(&id, line.len()) {
            Ok(ticket) => ticket,
            Err(Turned::Away(refusal)) => return self.refuse(refusal),
            Err(Turned::Later(e)) => return self.refuse_call(&id, &method, e),
        };
        let (wire, methods) = (self.clone(), methods.clone());
        let (line, method) = (String::from_utf8_lossy(line).into_owned(), method.into_owned());
        calls.spawn(async move {
            wire.answer_rpc(&methods, ticket.id(), &line, &method).await;
            wire.flight.end(ticket.id());
            // Its failure ends the connection by itself.
            let _ = wire.flush().await;
        });
    }

    async fn answer_rpc(&self, methods: &RpcModule<Arc<Connection>>, id: &Id, line: &str, method: &str) {
        let work = async {
            let _turn = self.turn(method).await;
            methods.raw_json_request(line, 1).await
        };
        let answer = tokio::select! {
            biased;
            () = self.gone.cancelled() => None,
            answer = work => Some(answer),
        };
        match answer {
            Some(Ok((answer, _))) => self.outbox.push(|out| out.extend_from_slice(RawValue::get(&answer).as_bytes())),
            Some(Err(e)) => {
                tracing::error!(%e, "a strict message did not fit");
                let text = "the request does not fit its method";
                self.push_error(Some(id), message::INVALID_REQUEST, text, &Reason { code: ErrorCode::Protocol });
            }
            None => self.push_failed(id, &super::given_up()),
        }
    }

    fn push_failed(&self, id: &Id, e: &Error) {
        let result = ResultObject::from_error(CommandId::mint(), e);
        self.push_error(Some(id), SERVER_ERROR, &headline(&result), &result);
    }

    fn refuse_call(self: &Arc<Self>, id: &Id, method: &str, e: Error) {
        self.push_failed(id, &e);
        self.refusals.note(method, || e);
        self.flush_soon();
    }

    fn refuse_method(self: &Arc<Self>, id: &Id, method: &str) {
        let shown = clean(&method.chars().take(60).collect::<String>()).into_owned();
        let e = Error::new(ErrorCode::UnknownCommand, format!("there is no method {shown:?}"));
        let hint = match nearest(method, commands::ALL.iter().map(|t| t.spec().name)) {
            Some(near) => format!("{}; did you mean {near:?}? Names are exact", e.message),
            None => format!("{}; {DISCOVER} lists them", e.message),
        };
        self.push_error(Some(id), METHOD_NOT_FOUND, &hint, &Reason { code: e.code });
        self.refusals.note(&shown, || e);
        self.flush_soon();
    }
}
