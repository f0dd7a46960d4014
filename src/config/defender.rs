//! `[defender]`: the tenant, how to sign in to it, and which limits of its API hold.
//!
//! Invariant: plain http is taken for loopback only; a secret is in a file that is named here, never here.

use super::beside_file;
use crate::error::{Error, ErrorCode, Result};
use crate::nearest::nearest;
use serde::Deserialize;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A Microsoft Defender for Endpoint tenant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Defender {
    pub tenant_id: String,
    pub client_id: String,
    pub credential: Credential,
    /// Without a slash at its end: `https://api.security.microsoft.com`.
    pub api_url: String,
    /// Without a slash at its end: `https://login.microsoftonline.com`.
    pub login_url: String,
    /// What a token is asked for.
    pub scope: String,
    pub limits: DefenderLimits,
}

/// What the app signs in with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    /// A file with the client secret on its first line.
    SecretFile(PathBuf),
    /// A PEM file with a private key and its certificate.
    Certificate(PathBuf),
}

/// Limits that the service documents, held before a call is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DefenderLimits {
    /// Starts of live response actions.
    pub starts_per_minute: u32,
    /// Live response actions at the same time, in the whole tenant.
    pub sessions: u32,
    pub calls_per_minute: u32,
    pub calls_per_hour: u32,
    pub hunts_per_minute: u32,
    pub package_links_per_minute: u32,
    /// How long after its start an action is first looked at.
    pub poll_first_ms: u32,
    /// Looks at actions that go on are never further apart.
    pub poll_max_ms: u32,
}

impl Default for DefenderLimits {
    fn default() -> Self {
        DefenderLimits {
            starts_per_minute: 10,
            sessions: 25,
            calls_per_minute: 100,
            calls_per_hour: 1_500,
            hunts_per_minute: 45,
            package_links_per_minute: 2,
            poll_first_ms: 1_000,
            poll_max_ms: 15_000,
        }
    }
}

/// The hosts of a cloud: API, sign-in, scope.
const CLOUDS: &[(&str, &str, &str, &str)] = &[
    (
        "commercial",
        "https://api.security.microsoft.com",
        "https://login.microsoftonline.com",
        "https://api.securitycenter.microsoft.com/.default",
    ),
    (
        "gcc",
        "https://api-gcc.securitycenter.microsoft.us",
        "https://login.microsoftonline.com",
        "https://api-gcc.securitycenter.microsoft.us/.default",
    ),
    (
        "gcc-high",
        "https://api-gov.securitycenter.microsoft.us",
        "https://login.microsoftonline.us",
        "https://api-gov.securitycenter.microsoft.us/.default",
    ),
    (
        "dod",
        "https://api-gov.securitycenter.microsoft.us",
        "https://login.microsoftonline.us",
        "https://api-gov.securitycenter.microsoft.us/.default",
    ),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenDefender {
    tenant_id: String,
    client_id: String,
    client_secret_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    #[serde(default = "commercial")]
    cloud: String,
    api_url: Option<String>,
    login_url: Option<String>,
    scope: Option<String>,
    #[serde(default)]
    limits: WrittenLimits,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenLimits {
    starts_per_minute: Option<u32>,
    sessions: Option<u32>,
    calls_per_minute: Option<u32>,
    calls_per_hour: Option<u32>,
    hunts_per_minute: Option<u32>,
    package_links_per_minute: Option<u32>,
    poll_first_ms: Option<u32>,
    poll_max_ms: Option<u32>,
}

fn commercial() -> String {
    "commercial".into()
}

/// The tenant of a configuration, checked.
pub(super) fn read(written: Option<WrittenDefender>, file: Option<&Path>) -> Result<Option<Defender>> {
    let Some(written) = written else { return Ok(None) };
    let bad = |what: String| {
        let file = file.unwrap_or(Path::new("the configuration")).display();
        Error::new(ErrorCode::BadArgs, format!("{file}: [defender] {what}"))
    };
    let Some((_, api, login, scope)) = CLOUDS.iter().find(|(name, ..)| *name == written.cloud) else {
        let names = CLOUDS.iter().map(|(name, ..)| *name);
        let hint = match nearest(&written.cloud, names.clone()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("clouds: {}", names.collect::<Vec<_>>().join(", ")),
        };
        return Err(bad(format!("cloud = {:?} is not known", written.cloud)).hint(hint));
    };
    let credential = match (written.client_secret_file, written.client_certificate) {
        (Some(secret), None) => Credential::SecretFile(beside_file(file, secret)),
        (None, Some(certificate)) => Credential::Certificate(beside_file(file, certificate)),
        (None, None) => {
            return Err(bad("has nothing to sign in with".into()).hint("give client_secret_file or client_certificate"));
        }
        (Some(_), Some(_)) => {
            return Err(bad("has a secret and a certificate".into())
                .hint("keep one of client_secret_file and client_certificate"));
        }
    };
    for (name, id) in [("tenant_id", &written.tenant_id), ("client_id", &written.client_id)] {
        // They go into addresses.
        if id.is_empty() || id.len() > 128 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.') {
            return Err(bad(format!("{name} = {id:?} is no id")).hint("the app's page in Entra shows both ids"));
        }
    }
    let url = |name: &str, given: Option<String>, usual: &str| match given {
        None => Ok(usual.to_owned()),
        Some(given) => base_url(&given).ok_or_else(|| {
            bad(format!("{name} = {given:?} is no address of a service"))
                .hint("https://host[:port] without a path; plain http is for loopback addresses only")
        }),
    };
    Ok(Some(Defender {
        api_url: url("api_url", written.api_url, api)?,
        login_url: url("login_url", written.login_url, login)?,
        scope: written.scope.unwrap_or_else(|| (*scope).to_owned()),
        limits: limits(&written.limits, &bad)?,
        credential,
        tenant_id: written.tenant_id,
        client_id: written.client_id,
    }))
}

/// `https://host[:port]`, or plain http where nobody can listen in.
fn base_url(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let (is_plain, rest) = match text.split_once("://")? {
        ("https", rest) => (false, rest),
        ("http", rest) => (true, rest),
        _ => return None,
    };
    let (host, port) = match rest.rsplit_once(':').filter(|(host, _)| !host.ends_with(':') && !rest.ends_with(']')) {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    if port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return None;
    }
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let address: Option<IpAddr> = bare.unwrap_or(host).parse().ok();
    let is_name = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    let is_loopback = host == "localhost" || address.is_some_and(|a| a.is_loopback());
    ((is_name || address.is_some()) && (!is_plain || is_loopback)).then(|| text.to_owned())
}

fn limits(written: &WrittenLimits, bad: &dyn Fn(String) -> Error) -> Result<DefenderLimits> {
    let usual = DefenderLimits::default();
    let within = |name: &str, given: Option<u32>, usual: u32, max: u32| match given {
        None => Ok(usual),
        Some(v) if (1..=max).contains(&v) => Ok(v),
        Some(v) => Err(bad(format!("limits.{name} = {v} is out of bounds")).hint(format!("give 1 to {max}"))),
    };
    Ok(DefenderLimits {
        starts_per_minute: within("starts_per_minute", written.starts_per_minute, usual.starts_per_minute, 100_000)?,
        sessions: within("sessions", written.sessions, usual.sessions, 10_000)?,
        calls_per_minute: within("calls_per_minute", written.calls_per_minute, usual.calls_per_minute, 1_000_000)?,
        calls_per_hour: within("calls_per_hour", written.calls_per_hour, usual.calls_per_hour, 10_000_000)?,
        hunts_per_minute: within("hunts_per_minute", written.hunts_per_minute, usual.hunts_per_minute, 100_000)?,
        package_links_per_minute: within(
            "package_links_per_minute",
            written.package_links_per_minute,
            usual.package_links_per_minute,
            100_000,
        )?,
        poll_first_ms: within("poll_first_ms", written.poll_first_ms, usual.poll_first_ms, 60_000)?,
        poll_max_ms: within("poll_max_ms", written.poll_max_ms, usual.poll_max_ms, 300_000)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::private::scratch::Scratch;

    fn load(text: &str) -> Result<Config> {
        let dir = Scratch::new();
        let file = dir.join("config.toml");
        std::fs::write(&file, format!("[defender]\n{text}\n")).unwrap();
        Config::load_with(Some(&file), &|name| (name == "HOME").then(|| "/home/x".into()))
    }

    const APP: &str = "tenant_id = \"t-1\"\nclient_id = \"c-1\"\n";

    #[test]
    fn a_tenant_has_its_clouds_hosts_unless_they_are_given() {
        let tenant = load(&format!("{APP}client_secret_file = \"s\"")).unwrap().defender.unwrap();
        assert_eq!(tenant.api_url, "https://api.security.microsoft.com");
        assert!(matches!(tenant.credential, Credential::SecretFile(p) if p.is_absolute()));
        let text = format!("{APP}client_certificate = \"/c.pem\"\ncloud = \"dod\"\nlogin_url = \"http://[::1]:80/\"");
        let tenant = load(&text).unwrap().defender.unwrap();
        assert_eq!(tenant.login_url, "http://[::1]:80");
        assert_eq!(tenant.api_url, "https://api-gov.securitycenter.microsoft.us");
        for (cloud, api, login) in [
            ("gcc", "https://api-gcc.securitycenter.microsoft.us", "https://login.microsoftonline.com"),
            ("gcc-high", "https://api-gov.securitycenter.microsoft.us", "https://login.microsoftonline.us"),
        ] {
            let tenant =
                load(&format!("{APP}client_secret_file = \"s\"\ncloud = {cloud:?}")).unwrap().defender.unwrap();
            assert_eq!((tenant.api_url.as_str(), tenant.login_url.as_str()), (api, login), "{cloud}");
            assert_eq!(tenant.scope, format!("{api}/.default"));
        }
    }

    #[test]
    fn what_is_no_tenant_is_refused() {
        let secret = format!("{APP}client_secret_file = \"s\"\n");
        for (text, why) in [
            (APP.to_owned(), "nothing to sign in with"),
            (format!("{secret}client_certificate = \"c\""), "a secret and a certificate"),
            (format!("{secret}client_secret = \"x\""), "unknown key"),
            (format!("{secret}cloud = \"comercial\""), "is not known"),
            (secret.replace("t-1", "a/../b"), "is no id"),
            (format!("{secret}[defender.limits]\nsessions = 0"), "out of bounds"),
        ] {
            let e = load(&text).unwrap_err();
            assert!(e.code == ErrorCode::BadArgs && e.message.contains(why), "{text}: {e}");
        }
    }

    #[test]
    fn plain_http_goes_to_loopback_only() {
        for good in ["https://x.example", "https://x:8443", "http://127.0.0.1:1/", "http://localhost", "http://[::1]"] {
            assert!(base_url(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "x.example",
            "http://x.example",
            "http://127.0.0.1.evil.example",
            "http://localhost.example",
            "https://",
            "https://a/b",
            "https://a@b",
            "https://a:port",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
            "http://127.0.0.1@evil.example",
        ] {
            assert!(base_url(bad).is_none(), "{bad}");
        }
    }
}
