//! What an indicator can be of, and which values there are of it.
//!
//! Invariant: what would match a whole network, or what every tenant has inside, is no value.

use schemars::JsonSchema;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr};

/// Longest value, in characters.
const MOST: usize = 2048;

#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum IndicatorKind {
    Sha1,
    Sha256,
    Md5,
    Ip,
    Domain,
    Url,
    Certificate,
}

impl IndicatorKind {
    /// The tenant's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            IndicatorKind::Sha1 => "FileSha1",
            IndicatorKind::Sha256 => "FileSha256",
            IndicatorKind::Md5 => "FileMd5",
            IndicatorKind::Ip => "IpAddress",
            IndicatorKind::Domain => "DomainName",
            IndicatorKind::Url => "Url",
            IndicatorKind::Certificate => "CertificateThumbprint",
        }
    }

    /// The value as the tenant writes it; else what a value of this kind is.
    pub fn value(self, text: &str) -> Result<String, &'static str> {
        let lower = || text.to_ascii_lowercase();
        let digits = |count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_hexdigit());
        let said = |is: bool, what| if is { Ok(lower()) } else { Err(what) };
        match self {
            IndicatorKind::Md5 => said(digits(32), "an MD5 has 32 hex digits"),
            IndicatorKind::Sha1 => said(digits(40), "a SHA-1 has 40 hex digits"),
            IndicatorKind::Sha256 => said(digits(64), "a SHA-256 has 64 hex digits"),
            IndicatorKind::Certificate => said(digits(40), "a certificate's thumbprint is its SHA-1: 40 hex digits"),
            IndicatorKind::Domain => said(is_domain(text), "a domain is written like bad.example, without wildcards"),
            IndicatorKind::Url => match is_url(text) {
                true => Ok(text.to_owned()),
                false => {
                    Err("a URL is written like https://bad.example/path, without blanks, wildcards or an account; \
                              Defender takes no private address in it")
                }
            },
            IndicatorKind::Ip => match text.parse::<IpAddr>() {
                Ok(address) if is_public(address) => Ok(address.to_string()),
                Ok(_) => Err("Defender takes public addresses only: no private, loopback, local or group address"),
                Err(_) => Err("an address is one IPv4 or IPv6 address, no range"),
            },
        }
    }
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A top-level name has a letter in it (RFC 3696, 2): what has none is an address.
    let ends_in_a_name =
        |text: &str| text.rsplit_once('.').is_some_and(|(_, last)| last.bytes().any(|b| b.is_ascii_alphabetic()));
    text.len() <= 253 && ends_in_a_name(text) && text.split('.').all(is_label)
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let host_and_port = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match host_and_port.strip_prefix('[') {
        Some(six) => six.split_once(']').map_or(("", ""), |(host, port)| (host, port)),
        None => host_and_port.split_at(host_and_port.find(':').unwrap_or(host_and_port.len())),
    };
    let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok_and(|p| p != 0));
    let is_host = host.parse::<IpAddr>().map_or_else(|_| is_domain(host), is_public);
    let is_written = text.chars().count() <= MOST && text.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
    is_web && is_port && is_host && is_written && !text.contains('\\')
}

/// Whether it can be the address of one machine that is not inside (IANA's special-purpose registries).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => is_public_v4(four),
        IpAddr::V6(six) => {
            let [first, second, ..] = six.segments();
            // Global unicast is 2000::/3; 2001::/23 is for protocols.
            first & 0xe000 == 0x2000 && !(first == 0x2001 && second < 0x200)
        }
    }
}

fn is_public_v4(four: Ipv4Addr) -> bool {
    let [first, second, ..] = four.octets();
    let is_shared = first == 100 && second & 0xc0 == 64;
    let is_special = first == 0 || first >= 224 || is_shared;
    !is_special && !four.is_loopback() && !four.is_private() && !four.is_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;
    use IndicatorKind::{Certificate, Domain, Ip, Md5, Sha1, Sha256, Url};

    #[test]
    fn values_are_of_their_kind() {
        let hex = |n: usize| "aB".repeat(n / 2);
        for (kind, good) in [
            (Md5, hex(32)),
            (Sha1, hex(40)),
            (Sha256, hex(64)),
            (Certificate, hex(40)),
            (Ip, "203.0.113.9".into()),
            (Ip, "2001:4860:4860::8888".into()),
            (Domain, "Bad-1.xn--p1ai".into()),
            (Domain, "_dns.bad.example".into()),
            (Url, "https://bad.example:8443/a?b=c#d".into()),
            (Url, "http://[2a00::1]/x".into()),
            (Url, "http://203.0.113.9".into()),
        ] {
            assert!(kind.value(&good).is_ok(), "{kind:?} {good}");
        }
        assert_eq!(Sha1.value(&hex(40)).unwrap(), "ab".repeat(20));
        assert_eq!(Ip.value("2001:4860:4860:0:0:0:0:8888").unwrap(), "2001:4860:4860::8888");
    }

    #[test]
    fn what_is_of_another_kind_or_matches_too_much_is_none() {
        let hex = |n: usize| "ab".repeat(n / 2);
        for (kind, bad) in [
            (Md5, hex(40)),
            (Sha1, hex(38)),
            (Sha256, format!("{}g1", hex(62))),
            (Sha256, format!("{} ", hex(62))),
            (Certificate, hex(64)),
            (Ip, "10.0.0.0/8".into()),
            (Ip, "10.1.2.3".into()),
            (Ip, "::ffff:127.0.0.1".into()),
            (Ip, "fe80::1".into()),
            (Ip, "fd00::1".into()),
            (Ip, "0.0.0.0".into()),
            (Ip, "100.64.0.1".into()),
            (Ip, "255.255.255.255".into()),
            (Ip, "1.2.3".into()),
            (Domain, "*.example".into()),
            (Domain, "example".into()),
            (Domain, "1.2.3.4".into()),
            (Domain, "bad..example".into()),
            (Domain, "bad.example.".into()),
            (Domain, "bad example.com".into()),
            (Domain, "https://bad.example".into()),
            (Domain, "b\u{e4}d.example".into()),
            (Url, "bad.example/x".into()),
            (Url, "ftp://bad.example/".into()),
            (Url, "https://user@bad.example/".into()),
            (Url, "https://bad.example/a b".into()),
            (Url, "https://*.bad.example/".into()),
            (Url, "https://127.0.0.1/".into()),
            (Url, "https://localhost/".into()),
            (Url, "https://bad.example:0/".into()),
            (Url, "https://bad.example\\@good.example/".into()),
            (Url, format!("https://bad.example/{}", "x".repeat(2048))),
        ] {
            assert!(kind.value(&bad).is_err(), "{kind:?} {bad}");
        }
    }
}
