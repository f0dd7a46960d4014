//! From the wish to isolate or to release to the exact step: what goes on, what is cut, and whether a way in stays.
//!
//! Invariant: looks, never touches. What keeps a way in comes from the policy and from the sessions that are open, never
//! from the assistant.

use super::effect::nft_program;
use super::etc::Root;
use super::isolation::{self, State, TABLE};
use super::routes;
use super::ruleset::Ruleset;
use super::sockets::Socket;
use super::users::Accounts;
use super::watch::Watch;
use super::way_in::{Inbound, Ways};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Exemption, Isolation, IsolationKind, IsolationRules, Job, Network, Peer, Release, Step, Way};
use std::net::IpAddr;

/// SSH peers that one plan keeps: a person must be able to look through them.
const PEERS: usize = 64;
/// The resolver's own limit is 3.
const RESOLVERS: usize = 8;
const FILE_LIMIT: u64 = 64 << 10;

pub fn isolate(selective: bool, rules: &IsolationRules, watch: &Watch, accounts: &Accounts, job: &Job) -> Result<Step> {
    nft_program()?;
    not_isolated(watch)?;
    let ways = Ways::look(job)?;
    let kind = if selective { IsolationKind::Selective } else { IsolationKind::Full };
    let ssh = if rules.ssh { ways.ssh(accounts) } else { Vec::new() };
    let exemptions = exemptions(kind, rules, &ssh, job)?;
    keeps(&exemptions, &ways.own())?;
    reachable(&ssh, rules, job)?;
    let cuts = ways.established().filter(|s| !exemptions.iter().any(|e| passes(e, s))).count();
    Ok(Step::Isolate {
        isolation: Isolation {
            kind,
            lease_s: rules.lease_s,
            commit_s: rules.commit_s,
            dhcp: rules.dhcp,
            cuts: u64::try_from(cuts).unwrap_or(u64::MAX),
            ruleset_sha256: Ruleset::of(&exemptions, rules.dhcp).sha256(),
            exemptions,
        },
    })
}

/// What is there now, or what should be there and was taken away.
pub fn release(watch: &Watch) -> Result<Step> {
    nft_program()?;
    let release = match isolation::state()? {
        State::Isolated { kind, by, .. } => Release { kind, isolated_by: by },
        State::Foreign => return Err(foreign()),
        State::None => match watch.held()? {
            Some(held) => Release { kind: held.isolation.kind, isolated_by: held.by },
            None => {
                return Err(Error::new(ErrorCode::NotFound, "the host is not isolated").hint("there is nothing to end"));
            }
        },
    };
    Ok(Step::Release { release })
}

pub fn foreign() -> Error {
    Error::new(ErrorCode::Exists, format!("a firewall table inet {TABLE} is there that no isolation made"))
        .hint(format!("look at it with `nft list table inet {TABLE}`; a person takes it away by hand"))
}

/// `E_EXISTS` where the host is isolated, or is to be.
pub fn not_isolated(watch: &Watch) -> Result<()> {
    let (state, held) = (isolation::state()?, watch.held()?);
    let (kind, by) = match (state, &held) {
        (State::Isolated { kind, by, .. }, _) => (kind, by),
        (State::Foreign, _) => return Err(foreign()),
        (State::None, Some(held)) => (held.isolation.kind, held.by.clone()),
        (State::None, None) => return Ok(()),
    };
    let until = held.map(|h| format!(", until {}", h.lease_by)).unwrap_or_default();
    let what = format!("the host is isolated already: {}, by {by}{until}", kind.as_str());
    Err(Error::new(ErrorCode::Exists, what).hint("`release` ends that, after a person's yes"))
}

/// `E_MGMT_CHANNEL` where the connections that somebody hangs on would all be cut.
pub fn keeps(exemptions: &[Exemption], own: &[Inbound]) -> Result<()> {
    let is_kept = |own: &Inbound| {
        exemptions.iter().any(|e| match e.way {
            Way::Both => e.peer.reaches(own.peer),
            Way::In => e.peer.reaches(own.peer) && e.peer.port == Some(own.port),
            Way::Out => false,
        })
    };
    match own.first() {
        Some(lost) if !own.iter().any(is_kept) => Err(Error::new(
            ErrorCode::MgmtChannel,
            format!("the connection from {} to port {} would be cut, and no way in left", lost.peer, lost.port),
        )
        .hint("ask anew while the session is open, or put its address into [isolation] allow of the policy")),
        _ => Ok(()),
    }
}

fn exemptions(kind: IsolationKind, rules: &IsolationRules, ssh: &[Inbound], job: &Job) -> Result<Vec<Exemption>> {
    if ssh.len() > PEERS {
        let what = format!("{} SSH peers are more than the {PEERS} that one plan keeps", ssh.len());
        return Err(Error::new(ErrorCode::TooLarge, what)
            .hint("end some of the sessions, or set ssh = false in [isolation] of the policy and name addresses"));
    }
    let policy = |peer: &Peer, list: &str| Exemption {
        way: if peer.port.is_some() { Way::Out } else { Way::Both },
        peer: *peer,
        why: format!("policy, {list}"),
    };
    let mut all: Vec<Exemption> = ssh.iter().filter_map(session).collect();
    all.extend(rules.allow.iter().map(|p| policy(p, "allow")));
    if kind == IsolationKind::Selective {
        all.extend(rules.selective_allow.iter().map(|p| policy(p, "selective_allow")));
        if rules.selective_allow.is_empty() {
            job.warn("[isolation] selective_allow of the policy is empty: selective cuts as much as full");
        }
    }
    if rules.dns {
        let resolvers = resolvers(&Root::host());
        if resolvers.is_empty() {
            job.warn("the policy lets DNS pass, but no resolver was found in /etc/resolv.conf");
        }
        let ask =
            |r: IpAddr| Some(Exemption { way: Way::Out, peer: Peer::one(r, Some(53))?, why: "DNS (policy)".into() });
        all.extend(resolvers.into_iter().filter_map(ask));
    }
    Ok(all)
}

fn session(one: &Inbound) -> Option<Exemption> {
    let user = one.user.as_deref().map(|u| format!(", user {u}")).unwrap_or_default();
    let why = format!("SSH session, pid {}{user}", one.pid);
    Some(Exemption { way: Way::In, peer: Peer::one(one.peer, Some(one.port))?, why })
}

/// Servers of `man 5 resolv.conf`; where all are stubs of this host, those that systemd-resolved asks.
fn resolvers(root: &Root) -> Vec<IpAddr> {
    for path in ["etc/resolv.conf", "run/systemd/resolve/resolv.conf"] {
        let text = root.read(path, FILE_LIMIT).unwrap_or_default();
        let servers = name_servers(&text);
        if !servers.is_empty() {
            return servers;
        }
    }
    Vec::new()
}

fn name_servers(text: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.split(|b| *b == b'\n').filter_map(|l| std::str::from_utf8(l).ok()) {
        let mut words = line.split_ascii_whitespace();
        let address = words.next().filter(|w| *w == "nameserver").and_then(|_| words.next());
        let address: Option<IpAddr> = address.and_then(|a| a.split('%').next()).and_then(|a| a.parse().ok());
        let Some(address) = address.filter(|a| !a.is_loopback() && Network::one(*a).is_some()) else { continue };
        if !found.contains(&address) && found.len() < RESOLVERS {
            found.push(address);
        }
    }
    found
}

/// Whether a socket's traffic goes on.
pub fn passes(exemption: &Exemption, socket: &Socket) -> bool {
    let port = match exemption.way {
        Way::Both => None,
        Way::Out => Some(socket.remote.1),
        Way::In => Some(socket.local.1),
    };
    exemption.peer.reaches(socket.remote.0) && exemption.peer.port == port
}

/// Whether each session's peer can be answered once only the exemptions pass: a tunnel's own packets would be cut.
fn reachable(ssh: &[Inbound], rules: &IsolationRules, job: &Job) -> Result<()> {
    let outside = rules
        .allow
        .iter()
        .filter_map(|p| p.network)
        .any(|n| routes::to(n.address()).ok().flatten().is_some_and(|route| !route.is_tunnel));
    let mut lost = Vec::new();
    for one in ssh.iter().filter(|one| !is_link_local(one.peer)) {
        job.check()?;
        match routes::to(one.peer) {
            Ok(Some(route)) if !route.is_tunnel || outside => {}
            Ok(Some(route)) => {
                let by = route.interface.unwrap_or_default();
                lost.push(format!("{} is reached through the tunnel {by}, which would be cut", one.peer));
            }
            Ok(None) => lost.push(format!("there is no route to {}", one.peer)),
            Err(e) => job.warn(format!("the route to {} could not be looked up: {e}", one.peer)),
        }
    }
    match lost.first() {
        Some(why) if lost.len() == ssh.len() => {
            Err(Error::new(ErrorCode::MgmtChannel, format!("no way in is left: {why}"))
                .hint("put the tunnel's far end into [isolation] allow of the policy: `allow = [\"192.0.2.1:51820\"]`"))
        }
        _ => {
            lost.into_iter().for_each(|why| job.warn(why));
            Ok(())
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => a.is_link_local(),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::etc::tests::Scratch;
    use super::*;

    fn inbound(peer: &str, port: u16) -> Inbound {
        Inbound { peer: peer.parse().unwrap(), port, pid: 7, user: Some("\u{202e}bob".into()) }
    }

    fn peers(list: &[&str]) -> Vec<Peer> {
        list.iter().map(|p| Peer::try_from((*p).to_owned()).unwrap()).collect()
    }

    #[test]
    fn full_keeps_management_and_selective_keeps_more() {
        let rules = IsolationRules {
            allow: peers(&["10.0.0.0/24"]),
            selective_allow: peers(&[":443"]),
            ..IsolationRules::default()
        };
        let ways = |kind| -> Vec<(Way, String)> {
            let all = exemptions(kind, &rules, &[inbound("192.0.2.7", 22)], &Job::default()).unwrap();
            all.iter().map(|e| (e.way, e.peer.to_string())).collect()
        };
        let full = vec![(Way::In, "192.0.2.7:22".to_owned()), (Way::Both, "10.0.0.0/24".to_owned())];
        assert_eq!(ways(IsolationKind::Full), full);
        assert_eq!(ways(IsolationKind::Selective), [full, vec![(Way::Out, ":443".to_owned())]].concat());
    }

    #[test]
    fn more_sessions_than_a_person_can_look_through_are_refused() {
        let many: Vec<Inbound> = (1..=65).map(|i| inbound(&format!("192.0.2.{i}"), 22)).collect();
        let e = exemptions(IsolationKind::Full, &IsolationRules::default(), &many, &Job::default()).unwrap_err();
        assert_eq!(e.code, ErrorCode::TooLarge);
    }

    #[test]
    fn gt_136_a_connection_that_is_not_exempt_is_no_way_in() {
        let exempt = |way, peer: &str| {
            vec![Exemption { way, peer: Peer::try_from(peer.to_owned()).unwrap(), why: String::new() }]
        };
        let own = inbound("192.0.2.7", 22);
        for kept in [exempt(Way::In, "192.0.2.7:22"), exempt(Way::Both, "192.0.2.0/24")] {
            keeps(&kept, std::slice::from_ref(&own)).unwrap();
        }
        for cut in [
            Vec::new(),
            exempt(Way::In, "192.0.2.7:2222"),
            exempt(Way::In, "192.0.2.8:22"),
            exempt(Way::Out, "192.0.2.7:22"),
            exempt(Way::Both, "198.51.100.0/24"),
        ] {
            assert_eq!(keeps(&cut, std::slice::from_ref(&own)).unwrap_err().code, ErrorCode::MgmtChannel);
        }
    }

    #[test]
    fn resolvers_are_those_of_the_host_and_never_its_stub() {
        let tree = Scratch::new("preflight");
        let root = Root::at(tree.path());
        assert!(resolvers(&root).is_empty());
        std::fs::create_dir_all(tree.path().join("run/systemd/resolve")).unwrap();
        tree.write("run/systemd/resolve/resolv.conf", "nameserver 10.0.0.2\n");
        tree.write("etc/resolv.conf", "# x\nnameserver 127.0.0.53\noptions edns0\n");
        assert_eq!(resolvers(&root), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        let odd = b"nameserver fe80::1%eth0\nnameserver 10.0.0.3 x\nnameserver 10.0.0.3\nnameserver \xff\nnameserver 0.0.0.0\n nameserver\n";
        tree.write("etc/resolv.conf", odd);
        let both: [IpAddr; 2] = ["fe80::1".parse().unwrap(), "10.0.0.3".parse().unwrap()];
        assert_eq!(resolvers(&root), both);
    }
}
