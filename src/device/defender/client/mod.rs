//! The Defender REST API as calls: a token, the service's limits, retries where they are safe, answers as types.
//!
//! Invariants: a call that changes something is sent again only where it surely did not arrive or was turned away;
//! every answer is bounded; what the service says is cleaned before it is in an error.

mod assertion;
mod download;
mod http;
pub(crate) mod json;
pub(crate) mod limits;
mod pages;
mod refusal;
mod secret;
mod token;
pub(crate) mod wait;

#[cfg(test)]
pub(crate) mod tests;

pub use download::Download;
pub(crate) use limits::Family;
pub use pages::Pages;
pub(crate) use pages::{Page, quoted};
pub use refusal::{Failure, FailureKind};
pub use secret::Link;

use crate::config::Defender;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Timestamp};
use http::{Broken, Http, Reply};
use limits::{Limits, pause, stopped};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, DATE, RETRY_AFTER};
use reqwest::{Method, Request, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use token::{Token, Tokens};
use wait::{back_off, http_date, retry_after};

/// No JSON answer is larger, hunting apart.
pub(crate) const JSON_BYTES: usize = 64 << 20;
/// Sendings of one call that may be repeated.
const ATTEMPTS: u32 = 5;
/// Times that a call is turned away for the quota before it fails.
const THROTTLED: u32 = 8;
/// The service is not waited for longer at a time.
const LONGEST_WAIT: Duration = Duration::from_secs(600);
const FIRST_WAIT: Duration = Duration::from_millis(300);
const MOST_WAIT: Duration = Duration::from_secs(20);

/// What a sign-in tells.
pub struct SignedIn {
    /// The permissions that the app was given; `None` where its token does not say.
    pub roles: Option<Vec<String>>,
    /// Seconds that our clock is ahead of the sign-in service's.
    pub skew_s: Option<i64>,
}

/// One of the service's calls, as far as refusals and limits know it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// "Defender did not …".
    pub(crate) what: &'static str,
    /// The application permission that it needs.
    pub(crate) permission: &'static str,
    pub(crate) family: Family,
    /// What a 404 says.
    pub(crate) missing: ErrorCode,
}

/// What is sent.
#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    Json(Vec<u8>),
    Upload { name: String, description: String, bytes: Vec<u8> },
}

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) endpoint: &'static Endpoint,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) body: Body,
    /// Sent twice it does no more than once.
    pub(crate) repeats: bool,
    /// How long until the answer begins.
    pub(crate) patience: Duration,
    pub(crate) max: usize,
}

/// A tenant's API. Making one does nothing; the first call connects.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Defender,
    http: Http,
    tokens: Tokens,
    limits: Limits,
}

impl Client {
    pub fn new(settings: &Defender) -> Client {
        Client(Arc::new(Inner {
            http: Http::default(),
            tokens: Tokens::default(),
            limits: Limits::new(&settings.limits),
            settings: settings.clone(),
        }))
    }

    pub fn settings(&self) -> &Defender {
        &self.0.settings
    }

    /// Whether the tenant is on loopback, so that plain http is allowed and no proxy asked.
    fn is_plain(&self) -> bool {
        Url::parse(&self.0.settings.api_url).is_ok_and(|url| http::is_loopback(&url))
    }

    /// An address of the API; every part of the path is one segment whatever it holds.
    pub(crate) fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        let no_address = || Error::new(ErrorCode::BadArgs, "[defender] api_url is no address");
        let mut url = Url::parse(&self.0.settings.api_url).map_err(|_| no_address())?;
        if !http::is_allowed(&url, self.is_plain()) {
            return Err(no_address().hint("https, or plain http to loopback"));
        }
        {
            let mut segments = url.path_segments_mut().map_err(|()| no_address())?;
            segments.pop_if_empty().push("api");
            for part in path {
                // The first would vanish from the path, the second would climb it.
                if part.is_empty() || part.len() > 512 || part.bytes().all(|b| b == b'.') {
                    let what = format!("{:?} is no name or id that Defender has", crate::shape::clean(part));
                    return Err(Error::new(ErrorCode::BadArgs, what));
                }
                segments.push(part);
            }
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    pub(crate) fn get(&self, endpoint: &'static Endpoint, path: &[&str], query: &[(&str, &str)]) -> Result<Call> {
        self.call(endpoint, Method::GET, path, query, Body::Empty)
    }

    /// A call that changes something.
    pub(crate) fn post<T: Serialize>(&self, endpoint: &'static Endpoint, path: &[&str], body: &T) -> Result<Call> {
        let body = serde_json::to_vec(body)
            .map_err(|e| Error::new(ErrorCode::Internal, "a request could not be written").source(e))?;
        self.call(endpoint, Method::POST, path, &[], Body::Json(body))
    }

    pub(crate) fn call(
        &self,
        endpoint: &'static Endpoint,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Body,
    ) -> Result<Call> {
        let repeats = method != Method::POST;
        let url = self.url(path, query)?;
        Ok(Call { endpoint, method, url, body, repeats, patience: http::IDLE, max: JSON_BYTES })
    }

    /// Makes a call and reads its answer.
    pub(crate) async fn ask<T>(&self, call: &Call, job: &Job) -> std::result::Result<T, Failure>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let mut attempt = 0;
        loop {
            let body = self.send(call, &mut attempt, job).await?;
            let e = match json::read_aside(body).await {
                Ok(answer) => return Ok(answer),
                Err(e) => e,
            };
            // HTML of a portal in between, or an answer that was cut.
            let why = format!("its answer is not the JSON that it should be ({e})");
            let failure = refusal::trouble(call.endpoint, &why, FailureKind::Uncertain);
            self.again(call, &mut attempt, failure, job).await?;
        }
    }

    /// Makes a call whose answer nobody needs.
    pub(crate) async fn tell(&self, call: &Call, job: &Job) -> std::result::Result<(), Failure> {
        self.send(call, &mut 0, job).await.map(drop)
    }

    /// Waits for the next attempt, or says that there is none.
    async fn again(
        &self,
        call: &Call,
        attempt: &mut u32,
        failure: Failure,
        job: &Job,
    ) -> std::result::Result<(), Failure> {
        *attempt += 1;
        let is_safe = call.repeats || failure.kind == FailureKind::Unsent;
        if !is_safe || *attempt >= ATTEMPTS {
            return Err(failure);
        }
        tracing::debug!(call = call.endpoint.what, attempt = *attempt, "trying again");
        Ok(pause(back_off(FIRST_WAIT, MOST_WAIT, *attempt - 1), job).await?)
    }

    async fn send(&self, call: &Call, attempt: &mut u32, job: &Job) -> std::result::Result<Vec<u8>, Failure> {
        let (mut renewed, mut throttled) = (false, 0);
        loop {
            job.check()?;
            let permit = self.0.limits.enter(call.endpoint.family, job).await?;
            let token = self.token(job).await?;
            let request = self.request(call, &token)?;
            let replied = self.exchange(call, request, job).await?;
            drop(permit);
            let reply = match replied {
                Ok(reply) if reply.status.is_success() => return Ok(reply.body),
                Ok(reply) => reply,
                Err(failure) => {
                    self.again(call, attempt, failure, job).await?;
                    continue;
                }
            };
            let failure = refusal::refusal(call.endpoint, &reply, token.text());
            match reply.status.as_u16() {
                401 if !renewed => {
                    renewed = true;
                    self.0.tokens.forget(&token).await;
                }
                429 => {
                    let wait = told(&reply).unwrap_or_else(|| back_off(Duration::from_secs(1), MOST_WAIT, throttled));
                    throttled += 1;
                    if throttled >= THROTTLED || wait > LONGEST_WAIT {
                        return Err(failure);
                    }
                    self.0.limits.hold(call.endpoint.family, wait);
                }
                // A permission that is granted now is in the next token only.
                401 | 403 => {
                    self.0.tokens.forget(&token).await;
                    return Err(failure);
                }
                _ if failure.kind == FailureKind::Uncertain => self.again(call, attempt, failure, job).await?,
                _ => return Err(failure),
            }
        }
    }

    /// Signs in, and says what came of it.
    pub async fn signed_in(&self, job: &Job) -> Result<SignedIn> {
        let token = self.token(job).await?;
        Ok(SignedIn { roles: token.roles(), skew_s: self.0.tokens.skew_s().await })
    }

    async fn token(&self, job: &Job) -> Result<Token> {
        self.0.tokens.get(&self.0.settings, &self.0.http, self.is_plain(), job).await
    }

    /// The inner failure is the network's. What changes something is not cut by a cancel: its answer says what there
    /// is to undo.
    async fn exchange(
        &self,
        call: &Call,
        request: Request,
        job: &Job,
    ) -> std::result::Result<std::result::Result<Reply, Failure>, Failure> {
        let client = self.0.http.client(self.is_plain())?;
        let exchange = self.0.http.exchange(client, request, call.patience, call.max);
        let replied = if call.repeats {
            tokio::select! {
                replied = exchange => replied,
                () = job.stopped() => return Err(stopped(job).into()),
            }
        } else {
            exchange.await
        };
        Ok(match replied {
            Ok(reply) => Ok(reply),
            Err(Broken::TooLarge(max)) => {
                let e = Error::new(ErrorCode::TooLarge, format!("Defender's answer is larger than {max} bytes"));
                return Err(e.hint("narrow what is asked for").into());
            }
            Err(Broken::Unreached(why)) => Err(refusal::trouble(call.endpoint, &why, FailureKind::Unsent)),
            Err(Broken::Cut(why)) => Err(refusal::trouble(call.endpoint, &why, FailureKind::Uncertain)),
        })
    }

    fn request(&self, call: &Call, token: &Token) -> Result<Request> {
        let client = self.0.http.client(self.is_plain())?;
        let request = client.request(call.method.clone(), call.url.clone());
        let request = match &call.body {
            Body::Empty => request,
            Body::Json(bytes) => request.header(CONTENT_TYPE, "application/json").body(bytes.clone()),
            Body::Upload { name, description, bytes } => request.multipart(upload(name, description, bytes)?),
        };
        request
            .header(AUTHORIZATION, token.header.clone())
            .build()
            .map_err(|e| Error::new(ErrorCode::Internal, "a request could not be made").source(e.without_url()))
    }
}

/// The parts in the order that the service is known to take them in.
fn upload(name: &str, description: &str, bytes: &[u8]) -> Result<reqwest::multipart::Form> {
    let file = reqwest::multipart::Part::bytes(bytes.to_vec())
        .file_name(name.to_owned())
        .mime_str("application/octet-stream")
        .map_err(|e| Error::new(ErrorCode::Internal, "a file could not be sent").source(e.without_url()))?;
    Ok(reqwest::multipart::Form::new()
        .part("file", file)
        .text("ParametersDescription", "")
        .text("HasParameters", "true")
        .text("OverrideIfExists", "false")
        .text("Description", description.to_owned()))
}

/// How long the service asked to wait.
fn told(reply: &Reply) -> Option<Duration> {
    let text = |name| reply.headers.get(name).and_then(|v| v.to_str().ok());
    let now = text(DATE).and_then(http_date).unwrap_or_else(Timestamp::now);
    retry_after(text(RETRY_AFTER)?, now)
}
