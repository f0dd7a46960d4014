//! `connections`: TCP and UDP sockets in every network namespace that a visible process is in, with their holders.
//!
//! Invariant: a socket is listed whether or not its holder can be found; what the account may not see is counted and
//! told in a warning.

use super::namespaces::{Access, Namespace, discover, enter_and_read, own_sockets};
use super::owners::Owners;
use super::proc::Proc;
use super::rights::{HIDES_PROCESSES, hides_processes, shielded_from};
use super::sockets::Socket;
use super::users::{Accounts, Users};
use crate::error::{Error, Result};
use crate::model::{Connection, ConnectionQuery, Job, Unit};
use crate::principal::Principal;
use crate::shape::Untrusted;
use std::collections::{HashMap, HashSet};
use std::thread;

/// All sockets: this host's own namespace first, there by protocol, what listens before what is connected, by port.
pub fn list(_: &ConnectionQuery, users: &Users, job: &Job) -> Result<Vec<Connection>> {
    job.check()?;
    job.expect(Unit::Entries, 0);
    let proc = Proc::open()?;
    let pids = proc.pids(job)?;
    let (mut sockets, namespaces) = all_sockets(&proc, &pids, job)?;
    sockets.sort_unstable_by_key(|s| (s.namespace, s.protocol, !s.is_listening(), s.local.1, s.remote, s.local.0));
    let owners = Owners::find(&proc, &pids, sockets.iter().map(|s| s.inode), job)?;
    warn_of_hidden_owners(&owners, job);
    let mut rows =
        Rows { proc, owners, namespaces, accounts: users.accounts(), holders: HashMap::new(), names: HashMap::new() };
    Ok(sockets.iter().map(|s| rows.row(s)).collect())
}

/// The sockets with these inodes, whoever else holds them.
pub(super) fn with_inodes(inodes: &HashSet<u64>, users: &Users, job: &Job) -> Result<Vec<Connection>> {
    let proc = Proc::open()?;
    let pids = proc.pids(job)?;
    let (mut sockets, namespaces) = all_sockets(&proc, &pids, job)?;
    sockets.retain(|s| inodes.contains(&s.inode));
    let owners = Owners::find(&proc, &[], std::iter::empty(), job)?;
    let mut rows =
        Rows { proc, owners, namespaces, accounts: users.accounts(), holders: HashMap::new(), names: HashMap::new() };
    Ok(sockets.iter().map(|s| rows.row(s)).collect())
}

/// The own namespace on this thread, and at the same time the others on one that ends with it.
fn all_sockets(proc: &Proc, pids: &[u32], job: &Job) -> Result<(Vec<Socket>, Vec<Namespace>)> {
    let (own, others) = thread::scope(|scope| {
        let others = thread::Builder::new().spawn_scoped(scope, || {
            let namespaces = discover(proc, pids, job)?;
            let (sockets, access) = enter_and_read(proc, &namespaces, job)?;
            Ok((namespaces, sockets, access))
        });
        let mut sockets = Vec::new();
        let own = own_sockets(proc, 0, &mut sockets, job).map(|read| read.map(|()| sockets));
        let others = match others {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(e) => Err(Error::io("no thread can be started to look into other network namespaces", e)),
        };
        (own, others)
    });
    let mut sockets = own?.map_err(|e| Error::io("the host's sockets cannot be read", e.into()))?;
    let (namespaces, theirs, access) = others?;
    warn_of_namespaces(&access, job);
    sockets.extend(theirs);
    Ok((sockets, namespaces))
}

fn warn_of_namespaces(access: &Access, job: &Job) {
    let Access { not_entered, unread } = access;
    let account = Principal::own();
    if *not_entered > 0 {
        job.warn(format!(
            "{not_entered} network namespaces could not be entered as {account}: their sockets come from /proc/PID/net; run as root to name the namespaces and the holders"
        ));
    }
    if *unread > 0 {
        job.warn(format!("the sockets of {unread} network namespaces could not be read as {account}: run as root"));
    }
}

fn warn_of_hidden_owners(owners: &Owners, job: &Job) {
    let (unfound, hidden) = owners.gaps();
    if unfound > 0 && hides_processes() {
        job.warn(HIDES_PROCESSES);
    }
    if unfound > 0 && hidden > 0 {
        job.warn(format!(
            "{unfound} sockets have no pid: the descriptors of {hidden} processes cannot be seen {}",
            shielded_from()
        ));
    }
}

/// Makes rows, and looks each holder and each account up once.
struct Rows {
    proc: Proc,
    owners: Owners,
    namespaces: Vec<Namespace>,
    accounts: Accounts,
    holders: HashMap<u32, Holder>,
    names: HashMap<u32, Untrusted>,
}

#[derive(Clone, Default)]
struct Holder {
    name: Option<Untrusted>,
    container: Option<Untrusted>,
}

impl Rows {
    fn row(&mut self, socket: &Socket) -> Connection {
        let pid = self.owners.pid(socket.inode);
        let holder = pid.map(|pid| self.holder(pid)).unwrap_or_default();
        let peer = socket.peer();
        Connection {
            protocol: socket.protocol.as_str(),
            local_address: socket.local.0.to_string(),
            local_port: socket.local.1,
            remote_address: peer.map(|(address, _)| address.to_string()),
            remote_port: peer.map(|(_, port)| port),
            state: socket.state(),
            pid,
            process: holder.name,
            // A socket that nobody holds has no user: the kernel's 0 there is not root.
            user: (socket.inode != 0).then(|| self.user(socket.uid)),
            netns: self.namespaces.get(socket.namespace).and_then(|n| n.inode),
            container: holder.container,
        }
    }

    fn holder(&mut self, pid: u32) -> Holder {
        let proc = &self.proc;
        self.holders.entry(pid).or_insert_with(|| look_up(proc, pid)).clone()
    }

    fn user(&mut self, uid: u32) -> Untrusted {
        let accounts = &self.accounts;
        self.names.entry(uid).or_insert_with(|| accounts.user_or_id(uid)).clone()
    }
}

/// What is known of a holder; nothing, once it has ended.
fn look_up(proc: &Proc, pid: u32) -> Holder {
    let Ok(entry) = proc.entry(pid) else { return Holder::default() };
    let mut buffer = Vec::new();
    let name = entry.stat(&mut buffer).ok().map(|stat| Untrusted::from_bytes(stat.comm));
    Holder { name, container: entry.container(&mut buffer).ok().flatten() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorCode;
    use std::io::{BufRead, BufReader};
    use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
    use std::process::{Child, Command, Stdio};

    fn ask() -> Vec<Connection> {
        list(&ConnectionQuery::default(), &Users::host(), &Job::default()).unwrap()
    }

    /// The rows of this process with this local port.
    fn own(port: u16) -> Vec<Connection> {
        let pid = Some(std::process::id());
        ask().into_iter().filter(|c| c.pid == pid && c.local_port == port).collect()
    }

    fn check_unconnected(at: SocketAddr, protocol: &str, state: &str) {
        let rows = own(at.port());
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.protocol, row.state), (protocol, state));
        assert_eq!(row.local_address, at.ip().to_string());
        assert_eq!((&row.remote_address, row.remote_port), (&None, None));
        let user = Users::host().accounts().user_or_id(rustix::process::geteuid().as_raw());
        assert_eq!(row.user, Some(user));
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(row.process.as_ref().map(Untrusted::raw), Some(comm.trim_end()));
        let netns = std::fs::read_link("/proc/self/ns/net").unwrap();
        assert_eq!(format!("net:[{}]", row.netns.unwrap()), netns.to_str().unwrap());
    }

    #[test]
    fn what_listens_is_found_with_its_holder() {
        let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
        check_unconnected(v4.local_addr().unwrap(), "tcp", "LISTEN");
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        check_unconnected(udp.local_addr().unwrap(), "udp", "UNCONNECTED");
    }

    #[test]
    fn ipv6_is_found_with_its_holder() {
        let Ok(v6) = TcpListener::bind("[::1]:0") else {
            eprintln!("skipped: no IPv6 here");
            return;
        };
        check_unconnected(v6.local_addr().unwrap(), "tcp6", "LISTEN");
        let udp = UdpSocket::bind("[::1]:0").unwrap();
        check_unconnected(udp.local_addr().unwrap(), "udp6", "UNCONNECTED");
    }

    #[test]
    fn both_ends_of_a_connection_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let (near, far) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        let rows = own(near.port());
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(row.state, "ESTABLISHED");
        assert_eq!((row.remote_address.as_deref(), row.remote_port), (Some("127.0.0.1"), Some(far.port())));
        let mut ends: Vec<_> = own(far.port()).into_iter().map(|r| (r.state, r.remote_port)).collect();
        ends.sort();
        assert_eq!(ends, [("ESTABLISHED", Some(near.port())), ("LISTEN", None)]);
    }

    #[test]
    fn a_connected_udp_socket_has_its_peer() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.connect("127.0.0.1:9").unwrap();
        let rows = own(udp.local_addr().unwrap().port());
        assert_eq!((rows[0].state, rows[0].remote_port), ("ESTABLISHED", Some(9)));
    }

    #[test]
    fn a_mapped_address_is_shown_as_the_kernel_has_it() {
        let Ok(listener) = TcpListener::bind("[::]:0") else {
            eprintln!("skipped: no IPv6 here");
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let _client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (_server, _) = listener.accept().unwrap();
        let found = own(port);
        assert!(found.iter().any(|r| r.protocol == "tcp6" && r.local_address == "::ffff:127.0.0.1"), "{found:?}");
    }

    #[test]
    fn a_socket_without_a_holder_is_nobody_s() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let port = client.local_addr().unwrap().port();
        drop(client);
        drop(server);
        let rows: Vec<_> = ask().into_iter().filter(|c| c.local_port == port && c.pid.is_none()).collect();
        assert!(rows.iter().all(|r| r.user.is_none() && r.process.is_none()), "{rows:?}");
    }

    #[test]
    fn of_two_holders_it_is_the_older() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Stdio::from(std::os::fd::OwnedFd::from(listener.try_clone().unwrap()));
        let mut child = Command::new("sleep").arg("600").stdin(shared).spawn().unwrap();
        let older = child.id().min(std::process::id());
        let port = listener.local_addr().unwrap().port();
        let found: Vec<_> = ask().into_iter().filter(|c| c.local_port == port).map(|c| c.pid).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(found, [Some(older)]);
    }

    #[test]
    fn a_cancelled_listing_ends() {
        let job = Job::default();
        job.cancel();
        let e = list(&ConnectionQuery::default(), &Users::host(), &job).unwrap_err();
        assert_eq!(e.code, ErrorCode::Cancelled);
    }

    const LISTEN: &str = "import socket,sys
s = socket.socket(); s.bind(('0.0.0.0', 0)); s.listen()
print(s.getsockname()[1], flush=True); sys.stdin.read()";

    /// A process that listens in a network namespace of its own, and its port; `None` where that is not permitted.
    fn elsewhere() -> Option<(Child, u16)> {
        let mut command = Command::new("unshare");
        command
            .args(["-n", "python3", "-c", LISTEN])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().ok()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).ok()?;
        match line.trim().parse() {
            Ok(port) => Some((child, port)),
            Err(_) => {
                child.wait().ok()?;
                None
            }
        }
    }

    #[test]
    fn another_network_namespace_is_seen_into() {
        let Some((mut child, port)) = elsewhere() else {
            eprintln!("skipped: no network namespace can be made here (needs root, unshare and python3)");
            return;
        };
        let netns = std::fs::read_link(format!("/proc/{}/ns/net", child.id())).unwrap();
        let rows: Vec<_> = ask().into_iter().filter(|c| c.pid == Some(child.id())).collect();
        let proc = Proc::open().unwrap();
        let job = Job::default();
        let namespaces = discover(&proc, &proc.pids(&job).unwrap(), &job).unwrap();
        let at = namespaces.iter().position(|n| n.inode == rows.first().and_then(|r| r.netns)).unwrap_or(0);
        drop(child.stdin.take());
        child.wait().unwrap();
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((row.local_port, row.state), (port, "LISTEN"));
        assert_eq!(format!("net:[{}]", row.netns.unwrap()), netns.to_str().unwrap());
        assert!(at > 0);
        // This thread has not moved.
        assert_ne!(std::fs::read_link("/proc/thread-self/ns/net").unwrap(), netns);
    }

    /// Protocol, local and remote port of what `ss` shows of this host's own namespace.
    fn ss(flag: &str, protocol: &str) -> Option<Vec<(String, u16, u16)>> {
        let output = Command::new("ss").args(["-Hn", flag, "-a"]).output().ok()?;
        let port = |end: &str| end.rsplit(':').next()?.parse().ok();
        let text = String::from_utf8(output.stdout).ok()?;
        Some(
            text.lines()
                .filter_map(|line| {
                    let fields: Vec<&str> = line.split_whitespace().collect();
                    let (local, remote) = (*fields.get(3)?, *fields.get(4)?);
                    let family = if local.starts_with('[') || local.starts_with('*') { "6" } else { "" };
                    Some((format!("{protocol}{family}"), port(local)?, port(remote).unwrap_or(0)))
                })
                .collect(),
        )
    }

    #[test]
    fn every_socket_of_ss_that_stays_is_listed() {
        let all = || Some([ss("-t", "tcp")?, ss("-u", "udp")?].concat());
        let Some(before) = all() else {
            eprintln!("skipped: no ss here");
            return;
        };
        let rows: Vec<_> =
            ask().into_iter().map(|c| (c.protocol.to_owned(), c.local_port, c.remote_port.unwrap_or(0))).collect();
        let after = all().unwrap();
        for socket in before.iter().filter(|s| after.contains(s)) {
            assert!(rows.contains(socket), "{socket:?}");
        }
    }
}
