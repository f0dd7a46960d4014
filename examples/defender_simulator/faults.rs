//! What a network and a service do to answers.

use crate::answer::{Refusal, text_with};
use crate::connection::Cut;
use crate::control::Spoil;
use crate::endpoint::Route;
use crate::service::Simulator;
use crate::times;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use std::time::Duration;

/// More than this is not looked at to be cut short.
const BODY_MAX: usize = 64 << 20;

/// The fault that this request gets, counted down.
pub fn next(sim: &Simulator, route: &Route) -> Option<Spoil> {
    let mut tenant = sim.tenant();
    let mut found = None;
    for fault in &mut tenant.faults {
        if fault.endpoint.is_some_and(|e| e != route.endpoint) || fault.times == 0 {
            continue;
        }
        if fault.after > 0 {
            fault.after -= 1;
            continue;
        }
        if found.is_none() {
            fault.times -= 1;
            found = Some(fault.act.clone());
        }
    }
    tenant.faults.retain(|f| f.times > 0);
    found
}

/// The answer of `serve`, spoiled; `now` is the service's own time.
pub async fn spoil<F>(fault: Option<Spoil>, now: jiff::Timestamp, cut: &Cut, serve: impl FnOnce() -> F) -> Response
where
    F: Future<Output = Response>,
{
    match fault {
        None => serve().await,
        Some(Spoil::Latency(ms)) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            serve().await
        }
        Some(Spoil::Status { status, code, message, carried_out }) => {
            carry_out(carried_out, serve).await;
            let code = code.as_deref().unwrap_or(if status == 500 { "InternalServerError" } else { "ServiceError" });
            let message = message.unwrap_or_else(|| "An error has occurred.".into());
            Refusal::new(status, code, message).into_response()
        }
        Some(Spoil::Html { carried_out }) => {
            carry_out(carried_out, serve).await;
            text_with(
                200,
                "text/html",
                "<!DOCTYPE html><html><body><h1>Our services aren't available right now</h1></body></html>",
            )
        }
        Some(Spoil::Truncated {}) => truncated(serve().await).await,
        Some(Spoil::Empty { carried_out }) => {
            carry_out(carried_out, serve).await;
            text_with(200, "application/json", "")
        }
        Some(Spoil::Cut { after_bytes, carried_out }) => {
            if after_bytes == 0 {
                carry_out(carried_out, serve).await;
                cut.after(0);
                return text_with(200, "application/json", "");
            }
            let response = serve().await;
            cut.after(after_bytes);
            response
        }
        Some(Spoil::Throttle { retry_after_s, retry_date_s }) => {
            let date = retry_date_s.map(|s| times::http_date(now + jiff::SignedDuration::from_secs(s)));
            let after = retry_after_s.map(|s| s.to_string()).or(date);
            Refusal::throttled("API calls quota exceeded!", after).into_response()
        }
        Some(Spoil::Unauthorized {}) => Refusal::unauthorized("Token expired or invalid.").into_response(),
    }
}

async fn carry_out<F: Future<Output = Response>>(yes: bool, serve: impl FnOnce() -> F) {
    if yes {
        serve().await;
    }
}

/// The first half of the body, with a length that says that this is all.
async fn truncated(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, BODY_MAX).await.unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    let half = body.slice(..body.len() / 2);
    Response::from_parts(parts, half.into())
}
