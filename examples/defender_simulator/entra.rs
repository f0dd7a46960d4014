//! The token endpoint: client credentials with a secret or a signed assertion, and the errors of Entra.

use crate::answer::json_with;
use crate::endpoint::query_pairs;
use crate::service::Simulator;
use crate::tenant::{SecretState, Token};
use axum::extract::Request;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

const RESOURCES: &[&str] = &[
    "https://api.securitycenter.microsoft.com",
    "https://securitycenter.onmicrosoft.com/windowsatpservice",
    "https://api-gov.securitycenter.microsoft.us",
];
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// HTTP status, OAuth error, AADSTS number, text.
struct Refused(u16, &'static str, u32, String);

pub async fn token(sim: &Simulator, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = axum::body::to_bytes(request.into_body(), 1 << 16).await.unwrap_or_default();
    let form: HashMap<String, String> = query_pairs(std::str::from_utf8(&body).ok()).into_iter().collect();
    match granted(sim, &path, &form) {
        Ok(token) => {
            let seconds = sim.options.token_s;
            let body = json!({ "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token });
            json_with(200, &body)
        }
        Err(refused) => error(refused),
    }
}

fn error(Refused(status, name, number, text): Refused) -> Response {
    let (trace, correlation) = (crate::seed::random_guid(), crate::seed::random_guid());
    let time = Timestamp::now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    let body = json!({
        "error": name,
        "error_description":
            format!("AADSTS{number}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {time}"),
        "error_codes": [number],
        "timestamp": time,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": format!("https://login.microsoftonline.com/error?code={number}"),
    });
    json_with(status, &body)
}

fn granted(sim: &Simulator, path: &str, form: &HashMap<String, String>) -> Result<String, Refused> {
    let field = |name: &str| form.get(name).map(String::as_str).filter(|v| !v.is_empty());
    let needed = |name: &str| {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        field(name).ok_or(Refused(400, "invalid_request", 900_144, text))
    };
    let mut tenant = sim.tenant();
    let asked = path.split('/').nth(1).unwrap_or_default();
    if !asked.eq_ignore_ascii_case(&tenant.tenant_id) {
        let text = format!(
            "Tenant '{asked}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
        );
        return Err(Refused(400, "invalid_request", 90_002, text));
    }
    let grant = needed("grant_type")?;
    if grant != "client_credentials" {
        let text = format!("The app requested an unsupported grant type '{grant}'.");
        return Err(Refused(400, "unsupported_grant_type", 70_003, text));
    }
    let client = needed("client_id")?;
    if client != tenant.client_id {
        let text = format!("Application with identifier '{client}' was not found in the directory 'simulated'.");
        return Err(Refused(400, "unauthorized_client", 700_016, text));
    }
    scope(path, &needed)?;
    if let Some(assertion) = field("client_assertion") {
        if field("client_assertion_type") != Some(ASSERTION) {
            let text = "The client assertion type is not supported.".to_owned();
            return Err(Refused(400, "invalid_request", 70_011, text));
        }
        let now = Timestamp::now().as_second() + tenant.clock_offset_s;
        signed(sim, assertion, &tenant.client_id, &format!("{}{path}", sim.url), now)?;
    } else {
        let Some(secret) = field("client_secret") else {
            let text =
                "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.";
            return Err(Refused(401, "invalid_client", 7_000_216, text.into()));
        };
        if secret != tenant.secret {
            let text = format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '{client}'."
            );
            return Err(Refused(401, "invalid_client", 7_000_215, text));
        }
        if tenant.secret_state == SecretState::Expired {
            let text = format!(
                "The provided client secret keys for app '{client}' are expired. Visit the Azure portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider using certificate credentials for added security: https://aka.ms/certCreds."
            );
            return Err(Refused(401, "invalid_client", 7_000_222, text));
        }
    }
    let roles: Vec<&String> = tenant.roles.iter().collect();
    let token = minted(&tenant.tenant_id, &tenant.client_id, &roles, sim.options.token_s);
    let until = Instant::now() + Duration::from_secs(sim.options.token_s);
    tenant.tokens.insert(token.clone(), Token { until });
    Ok(token)
}

fn scope<'a>(path: &str, needed: &impl Fn(&str) -> Result<&'a str, Refused>) -> Result<(), Refused> {
    let v2 = path.to_ascii_lowercase().contains("/v2.0/");
    let resource = if v2 {
        let scope = needed("scope")?;
        scope.strip_suffix("/.default").ok_or_else(|| {
            let text = format!("The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid.");
            Refused(400, "invalid_scope", 1_002_012, text)
        })?
    } else {
        needed("resource")?
    };
    if !RESOURCES.contains(&resource.trim_end_matches('/')) {
        let text = format!("The resource principal named {resource} was not found in the tenant named simulated.");
        return Err(Refused(400, "invalid_resource", 500_011, text));
    }
    Ok(())
}

/// It looks like a token of Entra, roles included; that it is known is what makes it good.
fn minted(tenant: &str, client: &str, roles: &[&String], seconds: u64) -> String {
    let now = Timestamp::now().as_second();
    let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "simulated" });
    let claims = json!({
        "aud": RESOURCES[0],
        "iss": format!("https://sts.windows.net/{tenant}/"),
        "iat": now,
        "nbf": now,
        "exp": now + i64::try_from(seconds).unwrap_or(i64::MAX / 2),
        "app_displayname": "live-response",
        "appid": client,
        "roles": roles,
        "tid": tenant,
        "ver": "1.0",
    });
    let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
    format!("{}.{}.{}", part(&header), part(&claims), crate::seed::random_hex(86))
}

/// Checks an assertion as RFC 7523 and Entra ask for it.
fn signed(sim: &Simulator, assertion: &str, client: &str, audience: &str, now: i64) -> Result<(), Refused> {
    let wrong = |text: &str| {
        Refused(
            401,
            "invalid_client",
            700_027,
            format!(
                "The certificate with identifier used to sign the client assertion is not registered on application. {text}"
            ),
        )
    };
    let certificate = sim.certificate.as_deref().ok_or_else(|| wrong("[Reason - The key was not found.]"))?;
    let mut parts = assertion.rsplitn(2, '.');
    let (signature, message) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let decoded = |text: &str| -> Option<Value> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok() };
    let both = message.split_once('.').and_then(|(header, claims)| Some((decoded(header)?, decoded(claims)?)));
    let Some((header, claims)) = both else {
        return Err(Refused(400, "invalid_request", 50_027, "JWT token is invalid or malformed.".into()));
    };
    let thumbprint = URL_SAFE_NO_PAD.encode(Sha256::digest(certificate));
    if header["x5t#S256"].as_str().is_some_and(|t| t != thumbprint) {
        return Err(wrong("[Reason - The key was not found., Thumbprint of key used by client]"));
    }
    let key = public_key(certificate).ok_or_else(|| wrong("[Reason - The key is not RSA.]"))?;
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let verified = match header["alg"].as_str() {
        Some("PS256") => UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key).verify(message.as_bytes(), &signature),
        Some("RS256") => {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key).verify(message.as_bytes(), &signature)
        }
        _ => Err(ring::error::Unspecified),
    };
    verified.map_err(|_| wrong("[Reason - The key was found, but use of the key to verify the signature failed.]"))?;
    let is = |claim: &str, value: &str| claims[claim].as_str() == Some(value);
    if !is("iss", client) || !is("sub", client) {
        let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
        return Err(Refused(401, "invalid_client", 700_021, text.into()));
    }
    if !is("aud", audience) {
        let text = format!("Client assertion contains an invalid audience claim. Expected {audience}.");
        return Err(Refused(401, "invalid_client", 700_023, text));
    }
    let (from, until) = (claims["nbf"].as_i64().unwrap_or(0), claims["exp"].as_i64().unwrap_or(0));
    if now + 300 < from || now >= until + 300 {
        let time = |s: i64| Timestamp::from_second(s).map_or_else(|_| s.to_string(), |t| t.to_string());
        let text = format!(
            "Client assertion is not within its valid time range. Current time: {}, assertion valid from {}, expiry time of assertion {}.",
            time(now),
            time(from),
            time(until)
        );
        return Err(Refused(401, "invalid_client", 700_024, text));
    }
    Ok(())
}

/// The DER of a PEM certificate.
pub fn certificate(path: &Path) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(path)?;
    let body = text.split("-----BEGIN CERTIFICATE-----").nth(1).and_then(|t| t.split("-----END").next());
    let body = body.ok_or_else(|| format!("{} holds no certificate", path.display()))?;
    let der = STANDARD.decode(body.split_whitespace().collect::<String>())?;
    public_key(&der).ok_or("the certificate's key is not RSA")?;
    Ok(der)
}

/// The `RSAPublicKey` inside a certificate: RFC 5280, 4.1.
fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    // A version is there or not; then serial, algorithm, issuer, validity, subject.
    for n in 0..6 {
        let (tag, _, rest) = element(fields)?;
        if n == 0 && tag != 0xa0 {
            continue;
        }
        fields = rest;
    }
    let (_, info, _) = element(fields)?;
    let (_, algorithm, rest) = element(info)?;
    let (_, identifier, _) = element(algorithm)?;
    let (_, bits, _) = element(rest)?;
    (identifier == RSA).then(|| bits.get(1..))?
}

/// Tag, content and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, length, rest) = (*der.first()?, *der.get(1)?, der.get(2..)?);
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |n, d| n << 8 | usize::from(*d)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
