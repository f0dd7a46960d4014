//! Isolation as data: what a policy lets pass, and what exactly a plan cuts and keeps.
//!
//! Invariant: the rules that a host loads are made of an [`Isolation`] alone, so what a person saw is what holds.

use super::{RequestId, Sha256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// The outcome of a row that tells of an isolation that nobody confirmed.
pub const ROLLED_BACK: &str = "rolled_back";

/// How much is cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IsolationKind {
    /// Everything but the management path.
    Full,
    /// What the policy names for it goes on too.
    Selective,
}

impl IsolationKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            IsolationKind::Full => "full",
            IsolationKind::Selective => "selective",
        }
    }
}

/// What a policy says of isolations: the `[isolation]` table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IsolationRules {
    /// What goes on in any isolation.
    pub allow: Vec<Peer>,
    /// What goes on in a selective one, besides.
    pub selective_allow: Vec<Peer>,
    /// Whether the peers of the SSH sessions that are open go on.
    pub ssh: bool,
    /// Whether the host's resolvers are asked on.
    pub dns: bool,
    pub dhcp: bool,
    /// Seconds after which an isolation ends by itself.
    pub lease_s: u64,
    /// Seconds in which a person confirms that the way in still works.
    pub commit_s: u64,
}

impl Default for IsolationRules {
    fn default() -> Self {
        IsolationRules {
            allow: Vec::new(),
            selective_allow: Vec::new(),
            ssh: true,
            dns: false,
            dhcp: true,
            lease_s: 86_400,
            commit_s: 90,
        }
    }
}

/// Addresses and, where it is narrowed to one, a port: `10.0.0.5`, `10.0.0.0/24`, `10.0.0.5:4222`,
/// `[2001:db8::/32]:443`, and `:443` for a port at any address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Peer {
    /// `None` for any address; then there is a port.
    pub network: Option<Network>,
    pub port: Option<u16>,
}

/// An address and how many of its bits count. The others are 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// `None` for no bits, too many bits, and addresses that are nobody's.
    pub fn new(address: IpAddr, bits: u8) -> Option<Network> {
        let address = address.to_canonical();
        let width = width(address);
        if bits == 0 || bits > width || address.is_unspecified() || address.is_multicast() {
            return None;
        }
        let address = match address {
            IpAddr::V4(a) => IpAddr::V4((u32::from(a) & (u32::MAX << (32 - u32::from(bits)))).into()),
            IpAddr::V6(a) => IpAddr::V6((u128::from(a) & (u128::MAX << (128 - u32::from(bits)))).into()),
        };
        Some(Network { address, bits })
    }

    pub fn one(address: IpAddr) -> Option<Network> {
        let address = address.to_canonical();
        Network::new(address, width(address))
    }

    pub fn holds(&self, address: IpAddr) -> bool {
        Network::new(address, self.bits).is_some_and(|n| n == *self)
    }

    pub const fn is_v6(&self) -> bool {
        self.address.is_ipv6()
    }

    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// As a firewall takes it: without a length for a single address.
    fn text(&self) -> String {
        match self.bits == width(self.address) {
            true => self.address.to_string(),
            false => format!("{}/{}", self.address, self.bits),
        }
    }

    fn parse(text: &str) -> Option<Network> {
        match text.split_once('/') {
            Some((address, bits)) => Network::new(address.parse().ok()?, bits.parse().ok()?),
            None => Network::one(text.parse().ok()?),
        }
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv6() { 128 } else { 32 }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl Peer {
    pub fn one(address: IpAddr, port: Option<u16>) -> Option<Peer> {
        Network::one(address).map(|n| Peer { network: Some(n), port })
    }

    /// Whether traffic with this address may pass at some port.
    pub fn reaches(&self, address: IpAddr) -> bool {
        self.network.is_none_or(|n| n.holds(address))
    }

    fn parse(text: &str) -> Option<Peer> {
        if let Some(network) = Network::parse(text) {
            return Some(Peer { network: Some(network), port: None });
        }
        if let Some(port) = text.strip_prefix(':') {
            return Some(Peer { network: None, port: Some(self::port(port)?) });
        }
        if let Some((inside, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) {
            let network = Network::parse(inside).filter(Network::is_v6)?;
            let port = if rest.is_empty() { None } else { Some(self::port(rest.strip_prefix(':')?)?) };
            return Some(Peer { network: Some(network), port });
        }
        let (network, port) = text.rsplit_once(':')?;
        Some(Peer { network: Some(Network::parse(network).filter(|n| !n.is_v6())?), port: Some(self::port(port)?) })
    }
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|p| *p != 0)
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.network, self.port) {
            (Some(n), Some(port)) if n.is_v6() => write!(f, "[{n}]:{port}"),
            (Some(n), Some(port)) => write!(f, "{n}:{port}"),
            (Some(n), None) => n.fmt(f),
            (None, port) => write!(f, ":{}", port.unwrap_or_default()),
        }
    }
}

impl From<Peer> for String {
    fn from(peer: Peer) -> String {
        peer.to_string()
    }
}

impl TryFrom<String> for Peer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Peer::parse(&text).ok_or_else(|| {
            format!("{text:?} is no address: write 10.0.0.5, 10.0.0.0/24, 10.0.0.5:4222, [2001:db8::1]:443 or :443")
        })
    }
}

/// Which way the peer's traffic goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Any traffic, both ways. The peer has no port.
    Both,
    /// TCP and UDP from here to the port of the peer, and what answers.
    Out,
    /// TCP from the peer to the port of this host, and what answers.
    In,
}

/// What goes on, and why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exemption {
    pub way: Way,
    pub peer: Peer,
    /// Raw text, of a device too: `policy`, `resolver`, the SSH session.
    pub why: String,
}

/// An isolation, exactly.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isolation {
    pub kind: IsolationKind,
    /// It ends by itself after so many seconds.
    pub lease_s: u64,
    /// It is rolled back unless a person confirms it within so many seconds.
    pub commit_s: u64,
    pub exemptions: Vec<Exemption>,
    pub dhcp: bool,
    /// Established connections that would end, when the plan was made.
    pub cuts: u64,
    /// Of the rules that are loaded.
    pub ruleset_sha256: Sha256,
}

/// The end of an isolation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub kind: IsolationKind,
    /// The request that isolated.
    pub isolated_by: RequestId,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(text: &str) -> Result<Peer, String> {
        Peer::try_from(text.to_owned())
    }

    #[test]
    fn peers_are_read_and_written() {
        for (text, written) in [
            ("10.0.0.5", "10.0.0.5"),
            ("10.0.0.5/32", "10.0.0.5"),
            ("10.0.0.77/24", "10.0.0.0/24"),
            ("10.0.0.5:4222", "10.0.0.5:4222"),
            ("10.0.0.0/8:53", "10.0.0.0/8:53"),
            ("2001:db8::1", "2001:db8::1"),
            ("::1", "::1"),
            ("2001:db8:ffff::1/33", "2001:db8:8000::/33"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[2001:db8::/32]:443", "[2001:db8::/32]:443"),
            ("::ffff:10.0.0.5", "10.0.0.5"),
            (":443", ":443"),
        ] {
            assert_eq!(peer(text).unwrap().to_string(), written, "{text}");
        }
    }

    #[test]
    fn what_would_isolate_nothing_or_is_no_address_is_refused() {
        for text in [
            "",
            ":",
            ":0",
            ":65536",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.1/0",
            "10.0.0.1/33",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "10.0.0",
            "host:22",
            "10.0.0.5:",
            "10.0.0.5:0",
            "10.0.0.5:x",
            "[10.0.0.5]:22",
            "[::1",
            "[::1]22",
            "10.0.0.5 accept",
            "10.0.0.5;accept",
            "2001:db8::1%eth0",
            "+10.0.0.1",
        ] {
            assert!(peer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_holds_its_addresses_in_either_spelling() {
        let net = peer("10.0.0.0/24").unwrap().network.unwrap();
        assert!(net.holds("10.0.0.255".parse().unwrap()) && net.holds("::ffff:10.0.0.9".parse().unwrap()));
        assert!(!net.holds("10.0.1.0".parse().unwrap()) && !net.holds("2001:db8::1".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "[0-9a-f:./\\[\\]]{0,24}") {
            if let Ok(read) = peer(&text) {
                prop_assert_eq!(peer(&read.to_string()).unwrap(), read);
            }
        }
    }
}
