//! The access token: fetched at the first call, kept in memory, fetched again a minute before it ends.
//!
//! Invariants: at most one fetch at a time, whose result serves all who waited; the secret is read from its file at
//! each fetch and never kept; our own clock decides nothing (lifetimes are counted, not compared).

use super::assertion::assertion;
use super::http::{Broken, Http, IDLE, Reply};
use super::json;
use super::limits::{pause, stopped};
use super::secret::Secret;
use super::wait::{back_off, http_date, retry_after};
use crate::config::{Credential, Defender};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Job, Timestamp};
use crate::private;
use crate::shape::clean;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{DATE, HeaderValue, RETRY_AFTER};
use serde::Deserialize;
use std::path::Path;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A token is not used for the last minute of its life.
const MARGIN: Duration = Duration::from_secs(60);
const SECRET_BYTES: usize = 64 << 10;
const BODY_BYTES: usize = 1 << 20;
const ATTEMPTS: u32 = 4;
/// Clocks that differ by more are worth a word (Entra allows five minutes).
const SKEW_S: i64 = 240;

#[derive(Debug)]
struct Held {
    header: HeaderValue,
    fetched: u64,
    until: Instant,
    /// Seconds that our clock was ahead of the sign-in service's.
    skew_s: Option<i64>,
}

/// What is put into a request, and which fetch it came from.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    fetched: u64,
}

impl Token {
    /// The permissions that it carries; `None` where that cannot be read in it. What it says decides nothing here: the
    /// service judges each call.
    pub(super) fn roles(&self) -> Option<Vec<String>> {
        #[derive(Deserialize)]
        struct Claims {
            #[serde(default)]
            roles: Vec<String>,
        }
        let claims = self.text().split('.').nth(1)?;
        let json = Zeroizing::new(URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?);
        serde_json::from_slice::<Claims>(&json).ok().map(|claims| claims.roles)
    }

    /// The token itself, to take it out of what comes back.
    pub(super) fn text(&self) -> &str {
        self.header.to_str().unwrap_or_default().trim_start_matches("Bearer ")
    }
}

#[derive(Debug, Default)]
struct State {
    held: Option<Held>,
    fetches: u64,
}

#[derive(Debug, Default)]
pub(super) struct Tokens(tokio::sync::Mutex<State>);

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    #[serde(default, deserialize_with = "json::tolerant")]
    expires_in: Seconds,
}

/// A number, or (older endpoints) a number as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(u64),
    Text(String),
}

impl Default for Seconds {
    fn default() -> Self {
        Seconds::Number(3599)
    }
}

impl Seconds {
    fn get(&self) -> u64 {
        match self {
            Seconds::Number(n) => *n,
            Seconds::Text(text) => text.trim().parse().unwrap_or(3599),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    #[serde(deserialize_with = "json::tolerant")]
    error: String,
    #[serde(deserialize_with = "json::tolerant")]
    error_description: String,
    #[serde(deserialize_with = "json::tolerant")]
    correlation_id: String,
}

enum Failed {
    Again(Error, Option<Duration>),
    Clock(Error, Timestamp),
    Final(Error),
}

impl Tokens {
    /// A token that still counts; fetches one where there is none.
    pub(super) async fn get(&self, settings: &Defender, http: &Http, plain: bool, job: &Job) -> Result<Token> {
        let work = async {
            let mut state = self.0.lock().await;
            if let Some(held) = state.held.as_ref().filter(|held| Instant::now() < held.until) {
                return Ok(Token { header: held.header.clone(), fetched: held.fetched });
            }
            state.held = None;
            let (header, life, skew_s) = fetch(settings, http, plain, job).await?;
            state.fetches += 1;
            let token = Token { header: header.clone(), fetched: state.fetches };
            // A very short life still serves the calls that wait for it now.
            let until = Instant::now() + life.saturating_sub(MARGIN).max(Duration::from_secs(1).min(life));
            state.held = Some(Held { header, fetched: state.fetches, until, skew_s });
            Ok(token)
        };
        tokio::select! {
            token = work => token,
            () = job.stopped() => Err(stopped(job)),
        }
    }

    /// How far our clock was ahead when the token that counts now came, in seconds.
    pub(super) async fn skew_s(&self) -> Option<i64> {
        self.0.lock().await.held.as_ref().and_then(|held| held.skew_s)
    }

    /// The service would not have it: the next call fetches another.
    pub(super) async fn forget(&self, token: &Token) {
        let mut state = self.0.lock().await;
        if state.held.as_ref().is_some_and(|held| held.fetched == token.fetched) {
            state.held = None;
        }
    }
}

type Fetched = (HeaderValue, Duration, Option<i64>);

async fn fetch(settings: &Defender, http: &Http, plain: bool, job: &Job) -> Result<Fetched> {
    let (mut attempt, mut clock) = (0, None);
    loop {
        let now = clock.unwrap_or_else(Timestamp::now);
        match once(settings, http, plain, now).await {
            Ok((granted, skew_s)) => return bearer(&granted).map(|(header, life)| (header, life, skew_s)),
            Err(Failed::Final(e)) => return Err(e),
            // Our clock is wrong: sign by theirs, once.
            Err(Failed::Clock(_, theirs)) if clock.is_none() => clock = Some(theirs),
            Err(Failed::Clock(e, _)) => return Err(e),
            Err(Failed::Again(e, _)) if attempt + 1 >= ATTEMPTS => return Err(e),
            Err(Failed::Again(_, told)) => {
                let wait = told.map_or_else(
                    || back_off(Duration::from_millis(250), Duration::from_secs(8), attempt),
                    |told| told.min(Duration::from_secs(60)),
                );
                attempt += 1;
                pause(wait, job).await?;
            }
        }
    }
}

fn bearer(granted: &Granted) -> Result<(HeaderValue, Duration)> {
    let text = Zeroizing::new(format!("Bearer {}", granted.access_token.expose()));
    let mut header = HeaderValue::from_str(&text)
        .map_err(|_| Error::new(ErrorCode::Backend, "the sign-in service gave a token that is none"))?;
    header.set_sensitive(true);
    Ok((header, Duration::from_secs(granted.expires_in.get().min(86_400))))
}

async fn once(
    settings: &Defender,
    http: &Http,
    plain: bool,
    now: Timestamp,
) -> std::result::Result<(Granted, Option<i64>), Failed> {
    let url = format!("{}/{}/oauth2/v2.0/token", settings.login_url, settings.tenant_id);
    let proof = proof(&settings.credential, &settings.client_id, &url, now).map_err(Failed::Final)?;
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_id", settings.client_id.as_str()),
        ("scope", settings.scope.as_str()),
    ];
    form.extend(proof.iter().map(|(name, value)| (*name, value.expose())));
    let client = http.client(plain).map_err(Failed::Final)?;
    let request = client.post(&url).form(&form).build().map_err(|_| {
        Failed::Final(Error::new(ErrorCode::BadArgs, "[defender] login_url and tenant_id make no address"))
    })?;
    let reply = match http.exchange(client, request, IDLE, BODY_BYTES).await {
        Ok(reply) => reply,
        Err(Broken::Unreached(why) | Broken::Cut(why)) => {
            let e = Error::new(ErrorCode::Backend, format!("cannot sign in to Defender: {why}"))
                .hint(format!("check the way to {}: proxy, DNS, firewall", settings.login_url));
            return Err(Failed::Again(e, None));
        }
        Err(Broken::TooLarge(_)) => return Err(Failed::Final(no_answer(settings))),
    };
    if reply.status.is_success() {
        let granted = json::read(&reply.body).map_err(|_| Failed::Again(no_answer(settings), None))?;
        return Ok((granted, date(&reply).map(|theirs| Timestamp::now().as_secs() - theirs.as_secs())));
    }
    Err(refused(settings, &reply, &proof, now))
}

fn no_answer(settings: &Defender) -> Error {
    Error::new(ErrorCode::Backend, format!("{} gave no token and no reason", settings.login_url))
        .hint("is login_url the sign-in service of the tenant's cloud, and is no portal in between?")
}

/// What proves the app to be itself, as fields of the form.
fn proof(credential: &Credential, client: &str, url: &str, now: Timestamp) -> Result<Vec<(&'static str, Secret)>> {
    match credential {
        Credential::SecretFile(path) => {
            let text = secret_file(path)?;
            let text = Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
            let line = text.lines().next().unwrap_or_default().trim();
            if line.is_empty() {
                return Err(Error::new(ErrorCode::Backend, format!("{} is empty", path.display()))
                    .hint("put the client secret (its value, not its id) on its first line"));
            }
            Ok(vec![("client_secret", Secret::new(line))])
        }
        Credential::Certificate(path) => {
            let pem = secret_file(path)?;
            let signed = assertion(&pem, client, url, now)?;
            let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
            Ok(vec![("client_assertion_type", Secret::new(kind)), ("client_assertion", Secret::new(signed))])
        }
    }
}

/// A file that only its owner may read.
fn secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    use std::os::unix::fs::MetadataExt;
    let refuse = |why: String, hint: &str| Error::new(ErrorCode::Backend, why).hint(hint);
    let file = private::open(path)?.ok_or_else(|| {
        refuse(
            format!("{} is not there", path.display()),
            "[defender] client_secret_file or client_certificate names it",
        )
    })?;
    let mode = file.metadata().map(|m| m.mode()).unwrap_or(0o777);
    if mode & 0o077 != 0 {
        let what = format!("{} may be read by others (mode {:o})", path.display(), mode & 0o777);
        return Err(refuse(what, "chmod 600 it, and make a new secret if others may have read it"));
    }
    let read = private::read(path, SECRET_BYTES)?;
    Ok(Zeroizing::new(read.unwrap_or_default()))
}

/// Entra's reasons, and what to do about each (its error reference, AADSTS).
const REASONS: &[(&str, &str, &str)] = &[
    (
        "AADSTS7000222",
        "the client secret has expired",
        "make a new secret for the app in Entra, and put it in the file",
    ),
    ("AADSTS7000215", "the client secret is wrong", "the file holds the secret's value, not its id"),
    (
        "AADSTS700016",
        "the app is not known in the tenant",
        "compare client_id and tenant_id with the app's page in Entra",
    ),
    ("AADSTS90002", "the tenant is not known", "compare tenant_id and cloud with the tenant's page in Entra"),
    ("AADSTS900023", "the tenant is not known", "compare tenant_id with the tenant's page in Entra"),
    (
        "AADSTS700027",
        "the certificate is not the app's",
        "upload the certificate to the app in Entra (Certificates & secrets)",
    ),
    ("AADSTS700024", "the signed assertion is not valid now", "set the clock of this host"),
    (
        "AADSTS500011",
        "the scope names no API of the tenant",
        "compare scope and cloud; has the tenant Defender for Endpoint?",
    ),
    ("AADSTS7000112", "the app is disabled", "enable the app's service principal in Entra"),
    ("AADSTS53003", "Conditional Access blocks the sign-in", "let the workload identity sign in from this address"),
];

fn refused(settings: &Defender, reply: &Reply, proof: &[(&str, Secret)], now: Timestamp) -> Failed {
    let mut said: Refusal = json::read(&reply.body).unwrap_or_default();
    for (_, secret) in proof {
        for text in [&mut said.error, &mut said.error_description, &mut said.correlation_id] {
            *text = text.replace(secret.expose(), "(secret)");
        }
    }
    tracing::debug!(status = reply.status.as_u16(), correlation = %said.correlation_id, "sign-in refused");
    let theirs = date(reply);
    let known = REASONS.iter().find(|(code, ..)| is_code(&said.error_description, code));
    let what = match known {
        Some((code, why, _)) => format!("Entra refused to sign in app {}: {why} ({code})", settings.client_id),
        None => {
            let first = said.error_description.lines().next().unwrap_or_default();
            let first: String = first.chars().take(200).collect();
            format!(
                "Entra refused to sign in app {}: {} {} {}",
                settings.client_id,
                reply.status.as_u16(),
                clean(&said.error),
                clean(&first)
            )
        }
    };
    let skew = theirs.map_or(0, |theirs| now.as_secs() - theirs.as_secs());
    let hint = known.map_or("compare tenant_id, client_id and the credential with the app's page in Entra", |k| k.2);
    let mut error = Error::new(ErrorCode::Backend, what.trim_end());
    error = match skew.abs() > SKEW_S {
        true => error.hint(format!("{hint}; this host's clock is {} s {} Entra's", skew.abs(), side(skew))),
        false => error.hint(hint),
    };
    if let (Some(("AADSTS700024", ..)), Some(theirs)) = (known, theirs) {
        return Failed::Clock(error, theirs);
    }
    if reply.status.as_u16() == 429 || reply.status.is_server_error() {
        let told = reply.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
        return Failed::Again(error, told.and_then(|v| retry_after(v, theirs.unwrap_or(now))));
    }
    Failed::Final(error)
}

fn date(reply: &Reply) -> Option<Timestamp> {
    reply.headers.get(DATE).and_then(|v| v.to_str().ok()).and_then(http_date)
}

fn side(skew: i64) -> &'static str {
    if skew > 0 { "ahead of" } else { "behind" }
}

/// Whether a description begins with this code, and with no longer one.
fn is_code(description: &str, code: &str) -> bool {
    description.strip_prefix(code).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
}
