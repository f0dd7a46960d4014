//! Who may call what, how often: bearer token, permission, rate.

use crate::answer::Refusal;
use crate::endpoint::Endpoint;
use crate::service::Simulator;
use axum::http::{HeaderMap, header};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

pub fn check(sim: &Simulator, endpoint: Endpoint, headers: &HeaderMap) -> Result<(), Refusal> {
    let now = Instant::now();
    let mut tenant = sim.tenant();
    let header = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let token = header.strip_prefix("Bearer ").and_then(|token| tenant.tokens.get(token));
    match token {
        None => return Err(Refusal::unauthorized("Missing authorization header or invalid token.")),
        Some(token) if token.until <= now => return Err(Refusal::unauthorized("Token expired or invalid.")),
        Some(_) => {}
    }
    let needed = endpoint.permissions();
    if !needed.iter().any(|p| tenant.roles.contains(*p)) {
        let list = needed.join(", ");
        let message = format!(
            "The application does not have any of the required application permissions ({list}) to access the resource."
        );
        return Err(Refusal::new(403, "Forbidden", message));
    }
    let (minute, hour) = endpoint.limits(&sim.options);
    let calls = tenant.calls.entry(endpoint).or_default();
    while calls.front().is_some_and(|at| now.duration_since(*at) > HOUR) {
        calls.pop_front();
    }
    for (limit, window) in [(minute, MINUTE), (hour, HOUR)] {
        // The oldest call whose age decides when the next may come.
        let Some(oldest) = limit.checked_sub(1).and_then(|n| calls.iter().rev().nth(n)) else { continue };
        let age = now.duration_since(*oldest);
        if age < window {
            let wait = (window - age).as_secs() + 1;
            let message = format!(
                "API calls quota exceeded! maximum allowed {limit} per {}s for key: {endpoint:?}. You can send requests again in {wait} seconds.",
                window.as_secs()
            );
            return Err(Refusal::throttled(message, Some(wait.to_string())));
        }
    }
    if minute > 0 || hour > 0 {
        calls.push_back(now);
    }
    Ok(())
}
