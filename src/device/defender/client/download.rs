//! A result or package by its link: read as it comes, without a token.
//!
//! Invariant: the link is in no error, and whoever serves it learns nothing of us.

use super::http::{IDLE, head, is_allowed, words};
use super::limits::stopped;
use super::{Client, Link};
use crate::error::{Error, ErrorCode, Result};
use crate::model::Job;
use reqwest::{Method, Request, Response, Url};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// Bytes on their way.
pub struct Download {
    /// What the service says it is long.
    pub length: Option<u64>,
    pub bytes: Box<dyn AsyncRead + Send + Unpin>,
}

impl Client {
    /// Opens a link. `E_EXPIRED` where it counts no more: ask for a new one.
    pub async fn download(&self, link: &Link, job: &Job) -> Result<Download> {
        let url = Url::parse(link.expose()).ok().filter(|url| is_allowed(url, self.is_plain()));
        let url =
            url.ok_or_else(|| Error::new(ErrorCode::Backend, "Defender gave a result link that is no address"))?;
        let client = self.0.http.client(self.is_plain())?;
        let mut attempt = 0;
        let response = loop {
            let request = Request::new(Method::GET, url.clone());
            let sent = tokio::select! {
                sent = head(client, request, IDLE) => sent,
                () = job.stopped() => return Err(stopped(job)),
            };
            let why = match sent {
                Ok(response) if response.status().is_server_error() => format!("HTTP {}", response.status().as_u16()),
                Ok(response) => break response,
                Err(super::Broken::Unreached(why) | super::Broken::Cut(why)) => why,
                Err(super::Broken::TooLarge(_)) => "too large".into(),
            };
            attempt += 1;
            if attempt >= super::ATTEMPTS {
                return Err(Error::new(ErrorCode::Backend, format!("a result could not be fetched: {why}"))
                    .hint("is the tenant's storage (blob.core.windows.net) reachable from here?"));
            }
            super::pause(super::back_off(super::FIRST_WAIT, super::MOST_WAIT, attempt - 1), job).await?;
        };
        match response.status().as_u16() {
            200 => {}
            404 => {
                return Err(Error::new(ErrorCode::Backend, "Defender gave a link to a result that is not there")
                    .hint("the action itself took place; its page in the portal may still show what came of it"));
            }
            401 | 403 | 410 => {
                return Err(Error::new(ErrorCode::Expired, "the result's link counts no more")
                    .hint("ask for a new one: the action need not run again"));
            }
            other => {
                return Err(Error::new(ErrorCode::Backend, format!("a result could not be fetched: HTTP {other}")));
            }
        }
        let length = response.content_length();
        let state = State::Idle(Box::new(response));
        Ok(Download { length, bytes: Box::new(Reader { state, rest: Vec::new(), at: 0 }) })
    }
}

type Chunk = (Box<Response>, io::Result<Option<Vec<u8>>>);

enum State {
    Idle(Box<Response>),
    Coming(Pin<Box<dyn Future<Output = Chunk> + Send>>),
    Ended,
}

struct Reader {
    state: State,
    rest: Vec<u8>,
    at: usize,
}

async fn chunk(mut response: Box<Response>) -> Chunk {
    let came = match tokio::time::timeout(IDLE, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk.map(Vec::from)),
        Ok(Err(e)) => Err(io::Error::other(words(&e))),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the result stopped coming")),
    };
    (response, came)
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let rest = self.rest.get(self.at..).unwrap_or_default();
            if !rest.is_empty() {
                let some = rest.get(..rest.len().min(into.remaining())).unwrap_or(rest);
                into.put_slice(some);
                let taken = some.len();
                self.at += taken;
                return Poll::Ready(Ok(()));
            }
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Ended => return Poll::Ready(Ok(())),
                State::Idle(response) => self.state = State::Coming(Box::pin(chunk(response))),
                State::Coming(mut coming) => {
                    let Poll::Ready((response, came)) = coming.as_mut().poll(cx) else {
                        self.state = State::Coming(coming);
                        return Poll::Pending;
                    };
                    let Some(bytes) = came? else { return Poll::Ready(Ok(())) };
                    (self.rest, self.at) = (bytes, 0);
                    self.state = State::Idle(response);
                }
            }
        }
    }
}
