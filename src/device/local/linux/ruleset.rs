//! The firewall rules of an isolation, as nft's text.
//!
//! Invariant: made of what the plan says and of nothing else; only numbers and addresses go in, never text of a device.

use super::isolation::{CHAINS, PRIORITY, TABLE};
use crate::model::{Exemption, Peer, Sha256, Way};

/// What answers a connection from outside is no first packet.
const NOT_FIRST: &str = "tcp flags & (fin|syn|rst|ack) != syn";
/// Stands for the mark where the rules are hashed: who isolated is not known yet.
const NO_MARK: &str = "isolated";

/// The rules, chain by chain in the order of [`CHAINS`].
pub struct Ruleset {
    chains: [Vec<String>; CHAINS.len()],
}

impl Ruleset {
    pub fn of(exemptions: &[Exemption], dhcp: bool) -> Ruleset {
        let (mut arriving, mut leaving) = basics();
        if dhcp {
            arriving.push("meta nfproto ipv4 udp sport 67 udp dport 68 accept".into());
            arriving.push("ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept".into());
            leaving.push("meta nfproto ipv4 udp sport 68 udp dport 67 accept".into());
            leaving.push("ip6 daddr fe80::/10 udp sport 546 udp dport 547 accept".into());
            leaving.push("ip6 daddr ff02::1:2 udp sport 546 udp dport 547 accept".into());
        }
        for exemption in exemptions {
            exempt(exemption, &mut arriving, &mut leaving);
        }
        // What runs here learns at once that it is cut; whoever is outside hears nothing.
        leaving.push("meta l4proto tcp reject with tcp reset".into());
        leaving.push("reject with icmpx type admin-prohibited".into());
        Ruleset { chains: [arriving, leaving, Vec::new()] }
    }

    /// How many rules a chain has.
    pub fn len(&self, chain: &str) -> Option<usize> {
        CHAINS.iter().zip(&self.chains).find(|((name, ..), _)| *name == chain).map(|(_, rules)| rules.len())
    }

    /// One transaction that puts the table in place of whatever has its name. `mark` names the empty chain that tells
    /// which isolation it is.
    pub fn script(&self, mark: &str) -> String {
        let mut out = format!("add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{\n");
        out.push_str(&format!("  chain {mark} {{\n  }}\n"));
        for ((name, _, hook), rules) in CHAINS.iter().zip(&self.chains) {
            out.push_str(&format!(
                "  chain {name} {{\n    type filter hook {hook} priority {PRIORITY}; policy drop;\n"
            ));
            for rule in rules {
                out.push_str(&format!("    {rule}\n"));
            }
            out.push_str("  }\n");
        }
        out.push_str("}\n");
        out
    }

    pub fn sha256(&self) -> Sha256 {
        Sha256::of(self.script(NO_MARK).as_bytes())
    }
}

/// One transaction that takes the table away.
pub fn removal() -> String {
    format!("add table inet {TABLE}\ndelete table inet {TABLE}\n")
}

/// Loopback, and what addresses need to work at all: neighbours, groups, the path's packet size.
fn basics() -> (Vec<String>, Vec<String>) {
    let arriving = [
        "iifname \"lo\" accept",
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } ip6 hoplimit 255 accept",
        "icmpv6 type packet-too-big accept",
        "icmp type destination-unreachable icmp code 4 accept",
    ];
    let leaving = [
        "oifname \"lo\" accept",
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } ip6 hoplimit 255 accept",
        "ip6 daddr ff02::/16 icmpv6 type { mld-listener-report, mld2-listener-report } accept",
    ];
    (arriving.map(Into::into).into(), leaving.map(Into::into).into())
}

fn exempt(exemption: &Exemption, arriving: &mut Vec<String>, leaving: &mut Vec<String>) {
    let (from, to) = (address(&exemption.peer, "saddr"), address(&exemption.peer, "daddr"));
    match (exemption.way, exemption.peer.port) {
        (Way::Out, Some(port)) => {
            leaving.push(format!("{to}tcp dport {port} accept"));
            leaving.push(format!("{to}udp dport {port} accept"));
            arriving.push(format!("{from}tcp sport {port} {NOT_FIRST} accept"));
            arriving.push(format!("{from}udp sport {port} accept"));
        }
        (Way::In, Some(port)) => {
            arriving.push(format!("{from}tcp dport {port} accept"));
            leaving.push(format!("{to}tcp sport {port} {NOT_FIRST} accept"));
        }
        // Without an address it would let everything pass.
        (Way::Both, None) if exemption.peer.network.is_some() => {
            arriving.push(format!("{from}accept"));
            leaving.push(format!("{to}accept"));
        }
        _ => {}
    }
}

fn address(peer: &Peer, field: &str) -> String {
    match peer.network {
        Some(network) => format!("{} {field} {network} ", if network.is_v6() { "ip6" } else { "ip" }),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exemption(way: Way, peer: &str) -> Exemption {
        Exemption { way, peer: Peer::try_from(peer.to_owned()).unwrap(), why: "\"; accept #".into() }
    }

    #[test]
    fn what_is_not_exempt_finds_no_rule() {
        let script = Ruleset::of(&[], false).script("m");
        assert_eq!(script.matches("policy drop").count(), 3);
        for line in script.lines().filter(|l| l.contains("accept")) {
            assert!(line.contains("\"lo\"") || line.contains("icmp"), "{line}");
        }
    }

    #[test]
    fn an_exemption_is_as_narrow_as_it_is_written() {
        let script = Ruleset::of(
            &[
                exemption(Way::Out, "10.0.0.5:4222"),
                exemption(Way::In, "[2001:db8::/32]:22"),
                exemption(Way::Out, ":443"),
            ],
            false,
        )
        .script("m");
        for line in [
            "ip daddr 10.0.0.5 tcp dport 4222 accept",
            "ip saddr 10.0.0.5 tcp sport 4222 tcp flags & (fin|syn|rst|ack) != syn accept",
            "ip6 saddr 2001:db8::/32 tcp dport 22 accept",
            "ip6 daddr 2001:db8::/32 tcp sport 22 tcp flags & (fin|syn|rst|ack) != syn accept",
            "tcp dport 443 accept",
        ] {
            assert!(script.lines().any(|l| l.trim() == line), "{line} is not in\n{script}");
        }
        assert!(!script.contains('#'), "{script}");
    }

    #[test]
    fn an_exemption_that_says_nothing_makes_no_rule() {
        let peer = Peer { network: None, port: None };
        for way in [Way::Both, Way::In, Way::Out] {
            let nothing = Ruleset::of(&[Exemption { way, peer, why: String::new() }], true);
            assert_eq!(nothing.sha256(), Ruleset::of(&[], true).sha256());
        }
    }
}
