//! Results: the link to one, and the blob behind it, streamed.

use crate::answer::{Answer, Refusal, entity, text_with};
use crate::endpoint::query_pairs;
use crate::gzip::{self, Source};
use crate::service::Simulator;
use crate::tenant::Link;
use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::net::unix::pipe::Receiver;
use tokio_util::io::ReaderStream;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    Plain,
    Gzip,
    Double,
}

/// What a link leads to.
#[derive(Clone)]
pub struct Stored {
    pub source: Source,
    pub encoding: Encoding,
    pub lost: bool,
    pub expired: bool,
}

impl Stored {
    pub fn plain(source: Source) -> Stored {
        Stored { source, encoding: Encoding::Plain, lost: false, expired: false }
    }
}

pub fn link(sim: &Simulator, id: &str, index: Option<usize>) -> Answer {
    let index = index.ok_or_else(|| Refusal::bad("BadRequest", "The index is missing or no number"))?;
    let mut tenant = sim.tenant();
    let action = tenant.action(id).ok_or_else(|| Refusal::not_found(format!("Machine action {id} was not found")))?;
    let none = || Refusal::not_found(format!("No result was found for command {index} of machine action {id}"));
    let stored = action.commands.get(index).and_then(|c| c.stored.clone()).ok_or_else(none)?;
    let name = format!("output_{}_{index}.json", action.id);
    let url = linked(sim, &mut tenant.links, stored, name);
    given(sim, &url)
}

pub fn package_link(sim: &Simulator, id: &str) -> Answer {
    let mut tenant = sim.tenant();
    let action = tenant.action(id).ok_or_else(|| Refusal::not_found(format!("Machine action {id} was not found")))?;
    let ready = action.package.clone().filter(|_| action.status == "Succeeded");
    let stored = ready.ok_or_else(|| Refusal::not_found("The investigation package is not available"))?;
    let name = format!("package_{}.zip", action.id);
    let url = linked(sim, &mut tenant.links, stored, name);
    given(sim, &url)
}

fn given(sim: &Simulator, url: &str) -> Answer {
    entity(200, &format!("{}/api/$metadata#Edm.String", sim.url), &json!({ "value": url }))
}

/// Each link has a signature of its own; it is the key.
fn linked(
    sim: &Simulator,
    links: &mut std::collections::HashMap<String, Link>,
    stored: Stored,
    name: String,
) -> String {
    let now = Instant::now();
    links.retain(|_, link| link.until + Duration::from_secs(86_400) > now);
    let life = if stored.expired { Duration::ZERO } else { Duration::from_secs(sim.options.link_s) };
    let signature = crate::seed::random_hex(48);
    let place = crate::seed::random_guid();
    let url = format!(
        "{}/investigation-actions-data/{place}/CustomPlaybookCommandOutput/{name}?sv=2021-08-06&sr=b&sp=r&sig={signature}%3D",
        sim.url
    );
    links.insert(format!("{signature}="), Link { until: now + life, stored, name });
    url
}

pub async fn blob(sim: &Simulator, query: Option<&str>, bearer: bool) -> Response {
    if bearer {
        return refused(
            403,
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.",
        );
    }
    let signature = query_pairs(query).into_iter().find(|(k, _)| k == "sig").map(|(_, v)| v);
    let found = {
        let tenant = sim.tenant();
        let link = signature.and_then(|s| tenant.links.get(&s)).filter(|link| link.until > Instant::now());
        link.map(|link| (link.stored.clone(), link.name.clone()))
    };
    let Some((stored, name)) = found else {
        return refused(403, "AuthenticationFailed", "Signature not valid in the specified time frame");
    };
    if stored.lost {
        return refused(404, "BlobNotFound", "The specified blob does not exist.");
    }
    match opened(stored).await {
        Ok((body, length)) => {
            let mut response = text_with(200, "application/octet-stream", body);
            let headers = response.headers_mut();
            if let Some(length) = length {
                headers.insert(header::CONTENT_LENGTH, length.into());
            }
            if let Ok(value) = format!("attachment; filename={name}").parse() {
                headers.insert(header::CONTENT_DISPOSITION, value);
            }
            response
        }
        Err(why) => refused(500, "InternalError", &why.to_string()),
    }
}

/// Through a pipe: a thread makes the bytes as fast as they are taken, and ends when nobody takes them.
async fn opened(stored: Stored) -> std::io::Result<(Body, Option<u64>)> {
    let length = gzip::length(&stored.source, stored.encoding)?;
    let (reader, writer) = std::io::pipe()?;
    tokio::task::spawn_blocking(move || gzip::write(&stored.source, stored.encoding, writer));
    let receiver = Receiver::from_owned_fd(reader.into())?;
    Ok((Body::from_stream(ReaderStream::with_capacity(receiver, 1 << 16)), length))
}

fn refused(status: u16, code: &str, message: &str) -> Response {
    let body = format!(
        "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    text_with(status, "application/xml", body)
}
