//! One request from its first byte to its answer: seen, spoiled by faults, allowed, counted, answered.

use crate::actions;
use crate::answer::{Answer, Refusal, text_with};
use crate::connection::Cut;
use crate::endpoint::{Endpoint, Route};
use crate::options::Options;
use crate::scratch::Scratch;
use crate::tenant::{Seen, Tenant};
use crate::{access, control, entra, faults, hunting, intel, library, live, machines, results, times};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{Method, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// No body but a library file is larger.
const BODY_MAX: usize = 1 << 20;

pub struct Simulator {
    pub options: Options,
    pub url: String,
    pub scratch: Scratch,
    /// The DER of the certificate that signs assertions.
    pub certificate: Option<Vec<u8>>,
    tenant: Mutex<Tenant>,
}

pub type Sim = Arc<Simulator>;

impl Simulator {
    pub fn new(options: Options, url: String) -> Result<Simulator, Box<dyn std::error::Error>> {
        let certificate = options.certificate.as_deref().map(entra::certificate).transpose()?;
        let mut tenant = Tenant::new(&options);
        if let Some(script) = &options.script {
            control::script(script, &mut tenant)?;
        }
        Ok(Simulator { scratch: Scratch::new()?, tenant: Mutex::new(tenant), certificate, options, url })
    }

    pub fn tenant(&self) -> MutexGuard<'_, Tenant> {
        self.tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A time of an action, as `--speed` has it.
    pub fn scaled(&self, time: Duration) -> Duration {
        time.div_f64(self.options.speed.max(0.001))
    }

    /// Ends every device and removes the folder.
    pub async fn end(&self) {
        let roots: Vec<_> = self.tenant().devices.iter().filter_map(|d| d.root.get().cloned()).collect();
        for root in roots {
            root.end().await;
        }
        self.scratch.remove();
    }
}

pub async fn answer(State(sim): State<Sim>, ConnectInfo(cut): ConnectInfo<Cut>, request: Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/_control") {
        return control::answer(&sim, request).await;
    }
    let route = Route::of(request.method(), path);
    let seen = see(&sim, request.method(), request.uri(), route.endpoint);
    let fault = faults::next(&sim, &route);
    let offset = jiff::SignedDuration::from_secs(sim.tenant().clock_offset_s);
    let now = jiff::Timestamp::now() + offset;
    let mut response = faults::spoil(fault, now, &cut, || dispatch(sim.clone(), route, request)).await;
    let mut tenant = sim.tenant();
    if let Some(seen) = tenant.log.get_mut(seen) {
        seen.status = Some(response.status().as_u16());
    }
    drop(tenant);
    if !offset.is_zero() {
        let date = times::http_date(jiff::Timestamp::now() + offset);
        if let Ok(date) = date.parse() {
            response.headers_mut().insert(header::DATE, date);
        }
    }
    response
}

fn see(sim: &Simulator, method: &Method, uri: &Uri, endpoint: Endpoint) -> usize {
    let mut tenant = sim.tenant();
    let (path, query) = (uri.path().to_owned(), uri.query().map(str::to_owned));
    tenant.log.push(Seen { method: method.to_string(), path, query, endpoint, time: times::now(), status: None });
    tenant.log.len() - 1
}

async fn dispatch(sim: Sim, route: Route, request: Request) -> Response {
    match route.endpoint {
        Endpoint::Token => entra::token(&sim, request).await,
        Endpoint::Blob => {
            let bearer = request.headers().contains_key(header::AUTHORIZATION);
            let query = request.uri().query().map(str::to_owned);
            results::blob(&sim, query.as_deref(), bearer).await
        }
        Endpoint::Unknown => {
            let message =
                format!("No HTTP resource was found that matches the request URI '{}'.", request.uri().path());
            text_with(404, "application/json", serde_json::json!({ "Message": message }).to_string())
        }
        _ => api(&sim, &route, request).await.unwrap_or_else(Refusal::into_response),
    }
}

async fn api(sim: &Sim, route: &Route, request: Request) -> Answer {
    access::check(sim, route.endpoint, request.headers())?;
    let query = request.uri().query().map(str::to_owned);
    let query = query.as_deref();
    match route.endpoint {
        Endpoint::Machines => machines::list(sim, query),
        Endpoint::Machine => machines::one(sim, &route.id),
        Endpoint::LogonUsers => machines::logon_users(sim, &route.id),
        Endpoint::Actions => actions::list(sim, query),
        Endpoint::Action => actions::one(sim, &route.id),
        Endpoint::Cancel => actions::cancel(sim, &route.id, &json(request).await?),
        Endpoint::RunLiveResponse => live::start(sim, &route.id, &json(request).await?),
        Endpoint::ResultLink => results::link(sim, &route.id, route.index),
        Endpoint::PackageUri => results::package_link(sim, &route.id),
        Endpoint::LibraryList => library::list(sim),
        Endpoint::LibraryUpload => library::upload(sim, request).await,
        Endpoint::LibraryDelete => library::delete(sim, &route.id),
        Endpoint::File => intel::file(sim, &route.id),
        Endpoint::Indicators => intel::indicators(sim, query),
        Endpoint::AddIndicator => intel::add(sim, &json(request).await?),
        Endpoint::DeleteIndicator => intel::delete(sim, &route.id),
        Endpoint::Hunt => hunting::run(sim, &json(request).await?),
        _ => machines::act(sim, route, &json(request).await?),
    }
}

async fn json(request: Request) -> Result<Value, Refusal> {
    let body = axum::body::to_bytes(request.into_body(), BODY_MAX).await;
    let body = body.map_err(|_| Refusal::bad("InvalidRequestBody", "Request body is too large"))?;
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    match value {
        Value::Object(_) => Ok(value),
        _ => Err(Refusal::bad("InvalidRequestBody", "Request body is incorrect")),
    }
}
