//! The network namespaces that visible processes are in (`man 7 network_namespaces`), and their sockets.
//!
//! Invariant: a namespace is entered by a thread that ends afterwards, so no other work ever runs in it.

use super::proc::{Proc, is_gone, number};
use super::sockets::{Socket, here, tables};
use crate::error::Result;
use crate::model::Job;
use rustix::fs::{AtFlags, Mode, OFlags, fstat, openat, readlinkat_raw, statat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// Processes to try before a namespace counts as gone.
const WITNESSES: usize = 8;

/// A namespace, and some of the processes that are in it.
#[derive(Debug)]
pub struct Namespace {
    /// `None` where the account may not see it.
    pub inode: Option<u64>,
    pids: Vec<u32>,
}

/// How the sockets of the other namespaces could be read.
#[derive(Default, Debug)]
pub struct Access {
    /// Read through `/proc`, for want of the right to enter.
    pub not_entered: u64,
    /// Not read at all.
    pub unread: u64,
}

/// What tells namespaces apart.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Key {
    Inode(u64),
    /// The inode of `/proc/PID/net/tcp`: each namespace has its own, and it can be seen without rights over the process.
    Table(u64),
}

/// This thread's own namespace first, then all others that processes are in.
pub fn discover(proc: &Proc, pids: &[u32], job: &Job) -> Result<Vec<Namespace>> {
    let own = link(proc, "thread-self/ns/net").ok();
    let own_table = table(proc, "thread-self").ok();
    let mut found: BTreeMap<Key, Vec<u32>> = BTreeMap::new();
    for (i, pid) in pids.iter().enumerate() {
        if i % 64 == 0 {
            job.check()?;
        }
        let key = match key(proc, *pid) {
            Some(key) if own.map(Key::Inode) != Some(key) && own_table.map(Key::Table) != Some(key) => key,
            _ => continue,
        };
        let witnesses = found.entry(key).or_default();
        if witnesses.len() < WITNESSES {
            witnesses.push(*pid);
        }
    }
    forget_twins(proc, &mut found);
    let others = found.into_iter().map(|(key, pids)| Namespace {
        inode: match key {
            Key::Inode(inode) => Some(inode),
            Key::Table(_) => None,
        },
        pids,
    });
    Ok(std::iter::once(Namespace { inode: own, pids: Vec::new() }).chain(others).collect())
}

/// A namespace that one process shows by its inode and another, that may not be looked into, by its table is one.
fn forget_twins(proc: &Proc, found: &mut BTreeMap<Key, Vec<u32>>) {
    if !found.keys().any(|k| matches!(k, Key::Table(_))) {
        return;
    }
    let shown = found.iter().filter(|(key, _)| matches!(key, Key::Inode(_)));
    let twins: Vec<Key> = shown
        .filter_map(|(_, pids)| pids.iter().find_map(|pid| table(proc, &pid.to_string()).ok()))
        .map(Key::Table)
        .collect();
    found.retain(|key, _| !twins.contains(key));
}

/// `None` for a process that is gone or that nothing can be told of.
fn key(proc: &Proc, pid: u32) -> Option<Key> {
    let mut name = String::with_capacity(24);
    write!(name, "{pid}/ns/net").ok()?;
    match link(proc, &name) {
        Ok(inode) => Some(Key::Inode(inode)),
        Err(e) if is_gone(e) => None,
        Err(_) => table(proc, &pid.to_string()).ok().map(Key::Table),
    }
}

/// The number in `net:[4026531840]`.
fn link(proc: &Proc, name: &str) -> rustix::io::Result<u64> {
    let mut buffer = [MaybeUninit::uninit(); 64];
    let (link, _) = readlinkat_raw(proc.directory(), name, &mut buffer)?;
    link.strip_prefix(b"net:[").and_then(|l| l.strip_suffix(b"]")).and_then(number).ok_or(Errno::PROTO)
}

fn table(proc: &Proc, process: &str) -> rustix::io::Result<u64> {
    Ok(statat(proc.directory(), format!("{process}/net/tcp"), AtFlags::empty())?.st_ino)
}

/// The sockets of all namespaces but the first. Enters them: only for a thread that ends afterwards.
pub fn enter_and_read(proc: &Proc, namespaces: &[Namespace], job: &Job) -> Result<(Vec<Socket>, Access)> {
    let mut sockets = Vec::new();
    let mut access = Access::default();
    for (i, namespace) in namespaces.iter().enumerate().skip(1) {
        job.check()?;
        let before = sockets.len();
        let entered =
            namespace.inode.is_some_and(|inode| namespace.pids.iter().any(|p| enter(proc, *p, inode).is_ok()));
        if entered && own_sockets(proc, i, &mut sockets, job)?.is_ok() {
            continue;
        }
        sockets.truncate(before);
        match read_from_outside(proc, i, namespace, &mut sockets, job)? {
            Ok(()) => access.not_entered += 1,
            // It went with its last process.
            Err(e) if is_gone(e) => {}
            Err(_) => {
                sockets.truncate(before);
                access.unread += 1;
            }
        }
    }
    Ok((sockets, access))
}

/// The sockets of the namespace that this thread is in, the `i`th.
pub fn own_sockets(proc: &Proc, i: usize, sockets: &mut Vec<Socket>, job: &Job) -> Result<rustix::io::Result<()>> {
    match net(proc, "thread-self") {
        Ok(net) => here(i, net, sockets, job),
        Err(e) => Ok(Err(e)),
    }
}

fn enter(proc: &Proc, pid: u32, inode: u64) -> rustix::io::Result<()> {
    let namespace = openat(proc.directory(), format!("{pid}/ns/net"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // The process may have moved on since it was looked at.
    if fstat(&namespace)?.st_ino != inode {
        return Err(Errno::SRCH);
    }
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}

/// Through the `/proc/PID/net` of a process in it, which needs no right to enter.
fn read_from_outside(
    proc: &Proc,
    i: usize,
    namespace: &Namespace,
    sockets: &mut Vec<Socket>,
    job: &Job,
) -> Result<rustix::io::Result<()>> {
    let mut last = Errno::SRCH;
    for pid in &namespace.pids {
        let before = sockets.len();
        let read = match net(proc, &pid.to_string()) {
            Ok(net) => tables(i, net, sockets, job)?,
            Err(e) => Err(e),
        };
        match read {
            Ok(()) => return Ok(Ok(())),
            Err(e) => {
                sockets.truncate(before);
                last = e;
            }
        }
    }
    Ok(Err(last))
}

fn net(proc: &Proc, process: &str) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(proc.directory(), format!("{process}/net"), flags, Mode::empty())
}
