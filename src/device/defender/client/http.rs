//! The connection to the service: TLS, timeouts, bounded bodies.
//!
//! Invariants: nothing is set up before the first call; no redirect is followed, so no token goes where it was not
//! sent; plain http is for loopback only; no error carries an address (a result link is a secret).

use crate::error::{Error, ErrorCode, Result};
use reqwest::header::HeaderMap;
use reqwest::{Request, Response, StatusCode, Url};
use std::sync::OnceLock;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(10);
/// Nothing came for so long: the connection is dead.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// No error's body is read further.
pub(super) const ERROR_BODY: usize = 64 << 10;

/// An answer as it came.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Broken {
    /// Nothing was sent: no connection.
    Unreached(String),
    /// It may have arrived.
    Cut(String),
    /// The answer is larger than anything that is expected.
    TooLarge(usize),
}

#[derive(Debug, Default)]
pub(super) struct Http {
    made: OnceLock<reqwest::Client>,
}

impl Http {
    /// The client, made at the first call. `plain` where the tenant is on loopback: then no proxy stands between.
    pub(super) fn client(&self, plain: bool) -> Result<&reqwest::Client> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        // The one place: another provider that is installed already does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("live-response/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .https_only(!plain);
        let builder = if plain { builder.no_proxy() } else { builder };
        let made = builder.build().map_err(|e| {
            Error::new(ErrorCode::Backend, "cannot set up TLS for Defender")
                .hint("the system's certificate store may be missing (ca-certificates)")
                .source(e.without_url())
        })?;
        Ok(self.made.get_or_init(|| made))
    }

    /// Sends and reads the whole answer: `patience` until its head comes, `max` bytes of body if it succeeded.
    pub(super) async fn exchange(
        &self,
        client: &reqwest::Client,
        request: Request,
        patience: Duration,
        max: usize,
    ) -> std::result::Result<Reply, Broken> {
        let response = head(client, request, patience).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let max = if status.is_success() { max } else { ERROR_BODY };
        let body = body(response, max, status.is_success()).await?;
        Ok(Reply { status, headers, body })
    }
}

/// The head of the answer.
pub(super) async fn head(
    client: &reqwest::Client,
    request: Request,
    patience: Duration,
) -> std::result::Result<Response, Broken> {
    match tokio::time::timeout(patience, client.execute(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(e)) => {
            let text = words(&e);
            Err(if e.is_connect() { Broken::Unreached(text) } else { Broken::Cut(text) })
        }
        Err(_) => Err(Broken::Cut(format!("no answer within {} s", patience.as_secs()))),
    }
}

async fn body(mut response: Response, max: usize, whole: bool) -> std::result::Result<Vec<u8>, Broken> {
    let told = response.content_length().and_then(|l| usize::try_from(l).ok()).unwrap_or(0);
    if whole && told > max {
        return Err(Broken::TooLarge(max));
    }
    // What it promises is no reason to set memory aside without end.
    let mut bytes = Vec::with_capacity(told.min(max).min(1 << 20));
    loop {
        match tokio::time::timeout(IDLE, response.chunk()).await {
            Ok(Ok(Some(chunk))) if bytes.len() + chunk.len() <= max => bytes.extend_from_slice(&chunk),
            Ok(Ok(Some(_))) if whole => return Err(Broken::TooLarge(max)),
            Ok(Ok(_)) => return Ok(bytes),
            Ok(Err(e)) => return Err(Broken::Cut(words(&e))),
            Err(_) => return Err(Broken::Cut(format!("the answer stopped for {} s", IDLE.as_secs()))),
        }
    }
}

/// A failure without its address, and with what lies under it: "error sending request" alone helps nobody.
pub(super) fn words(e: &reqwest::Error) -> String {
    let mut parts = Vec::new();
    let mut under = std::error::Error::source(e);
    while let Some(cause) = under {
        parts.push(cause.to_string());
        under = cause.source();
    }
    match parts.last() {
        Some(last) => crate::shape::clean(last).into_owned(),
        None if e.is_timeout() => "timed out".into(),
        None => "the connection failed".into(),
    }
}

/// Whether an address may be used: https, or plain http to loopback where the tenant itself is there.
pub(super) fn is_allowed(url: &Url, plain: bool) -> bool {
    match url.scheme() {
        "https" => url.host_str().is_some(),
        "http" => plain && is_loopback(url),
        _ => false,
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|a| a.is_loopback())
}
