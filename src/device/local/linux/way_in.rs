//! How people come into this host: SSH sessions in which something runs, and the connection that this process hangs on.
//!
//! Invariant: a session counts only where its image is root's, its connection was begun from outside and a program
//! other than the SSH server runs in it: whoever has not signed in yet keeps no way in.

use super::facts::Facts;
use super::namespaces::own_sockets;
use super::owners::Owners;
use super::proc::Proc;
use super::resolve::ancestors;
use super::sockets::Socket;
use super::users::Accounts;
use crate::error::{Error, Result};
use crate::model::Job;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

const SERVERS: [&str; 4] = ["sshd", "sshd-session", "sshd-auth", "dropbear"];
const ESTABLISHED: u8 = 1;
/// Ancestors that are looked at: more than any session has.
const DEPTH: usize = 64;

/// A connection from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inbound {
    pub peer: IpAddr,
    /// Of this host.
    pub port: u16,
    pub pid: u32,
    /// Who is signed in by it, where that is known. Raw.
    pub user: Option<String>,
}

/// The host's sockets, and who holds them.
pub struct Ways {
    sockets: Vec<Socket>,
    processes: HashMap<u32, Process>,
    owners: Owners,
    proc: Proc,
}

struct Process {
    parent: u32,
    uid: u32,
    /// Its image is an SSH server's of root.
    serves: bool,
}

impl Ways {
    pub fn look(job: &Job) -> Result<Ways> {
        let proc = Proc::open()?;
        let pids = proc.pids(job)?;
        let mut sockets = Vec::new();
        own_sockets(&proc, 0, &mut sockets, job)?
            .map_err(|e| Error::io("the host's sockets cannot be read", e.into()))?;
        let inbound = sockets.iter().filter(|s| is_established(s)).map(|s| s.inode);
        let owners = Owners::find(&proc, &pids, inbound, job)?;
        let mut processes = HashMap::with_capacity(pids.len());
        let mut buffer = Vec::new();
        for pid in pids {
            job.check()?;
            let Ok(entry) = proc.entry(pid) else { continue };
            let Ok(parent) = entry.stat(&mut buffer).map(|s| s.ppid) else { continue };
            let process = Process { parent, uid: entry.uid().unwrap_or(0), serves: is_server(&entry, &mut buffer) };
            processes.insert(pid, process);
        }
        Ok(Ways { sockets, processes, owners, proc })
    }

    /// TCP connections with other hosts.
    pub fn established(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.iter().filter(|s| is_established(s))
    }

    /// The SSH sessions in which something runs, by peer and port.
    pub fn ssh(&self, accounts: &Accounts) -> Vec<Inbound> {
        let guests = self.guests();
        let mut found: Vec<Inbound> = Vec::new();
        for (socket, pid) in self.inbound() {
            let Some(guest) = guests.get(&pid) else { continue };
            let user = self.processes.get(guest).map(|p| accounts.user_or_id(p.uid).raw().to_owned());
            let one = Inbound { peer: socket.remote.0.to_canonical(), port: socket.local.1, pid, user };
            if !found.iter().any(|f| (f.peer, f.port) == (one.peer, one.port)) {
                found.push(one);
            }
        }
        found.sort_by_key(|f| (f.peer, f.port));
        found
    }

    /// The connections from outside that this process and those above it hold: by them somebody sits at it.
    pub fn own(&self) -> Vec<Inbound> {
        let above = ancestors(&self.proc);
        let own = self.inbound().filter(|(_, pid)| above.contains(pid));
        own.map(|(socket, pid)| Inbound { peer: socket.remote.0.to_canonical(), port: socket.local.1, pid, user: None })
            .collect()
    }

    /// Connections that others began, with their holders.
    fn inbound(&self) -> impl Iterator<Item = (&Socket, u32)> {
        let listening: HashSet<u16> = self.sockets.iter().filter(|s| s.is_listening()).map(|s| s.local.1).collect();
        let inbound = self.established().filter(move |s| listening.contains(&s.local.1));
        inbound.filter_map(|s| self.owners.pid(s.inode).map(|pid| (s, pid)))
    }

    /// For each SSH server's process, one that runs below it and is none.
    fn guests(&self) -> HashMap<u32, u32> {
        let mut guests = HashMap::new();
        for (pid, _) in self.processes.iter().filter(|(_, p)| !p.serves) {
            let mut above = *pid;
            for _ in 0..DEPTH {
                let Some(process) = self.processes.get(&above) else { break };
                above = process.parent;
                if self.processes.get(&above).is_some_and(|p| p.serves) {
                    guests.entry(above).or_insert(*pid);
                }
            }
        }
        guests
    }
}

fn is_established(socket: &Socket) -> bool {
    let remote = socket.remote.0.to_canonical();
    socket.protocol.is_tcp()
        && socket.state == ESTABLISHED
        && !remote.is_loopback()
        && remote != socket.local.0.to_canonical()
}

fn is_server(entry: &super::proc::Entry, buffer: &mut Vec<u8>) -> bool {
    let Ok(image) = entry.image(buffer) else { return false };
    let name = image.path.name();
    if !SERVERS.iter().any(|s| s.as_bytes() == name.as_bytes()) {
        return false;
    }
    entry.image_stat().map(|s| Facts::from(&s)).is_ok_and(|f| f.uid == 0 && f.mode & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::local::linux::users::Users;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_connection_within_the_host_is_no_way_in() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _server = listener.accept().unwrap();
        let ways = Ways::look(&Job::default()).unwrap();
        assert!(ways.own().iter().all(|own| own.pid != std::process::id()));
        assert!(ways.ssh(&Users::host().accounts()).iter().all(|s| s.pid != std::process::id()));
    }

    #[test]
    fn a_cancelled_look_ends() {
        let job = Job::default();
        job.cancel();
        assert!(Ways::look(&job).is_err());
    }
}
