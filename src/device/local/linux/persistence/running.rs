//! Shells that talk to the network, and programs that run from nowhere: on the running host only.

use super::super::proc::{Entry as Process, Proc};
use super::super::sockets::{Socket, tables};
use super::scan::{Entry, Found, Scan};
use crate::error::Result;
use crate::model::DevicePath;
use rustix::fs::{Mode, OFlags, openat, readlinkat};
use std::collections::HashMap;

const SHELLS: &[&[u8]] = &[
    b"sh", b"bash", b"dash", b"zsh", b"ksh", b"mksh", b"ash", b"fish", b"csh", b"tcsh", b"rbash", b"busybox",
    b"python", b"perl", b"ruby", b"php", b"node", b"lua", b"nc", b"ncat", b"socat", b"awk", b"gawk", b"mawk", b"pwsh",
    b"tclsh", b"expect",
];
/// Where programs that stay are not installed.
const OPEN_PLACES: &[&[u8]] = &[b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/run/shm/", b"/dev/mqueue/"];

pub fn shells(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    if !scan.view.is_live() {
        return Ok(());
    }
    let proc = Proc::open()?;
    let mut hidden = 0u32;
    for pid in proc.pids(scan.job)? {
        scan.job.check()?;
        if scan.view.own().is_own_process(pid) {
            continue;
        }
        let Ok(process) = proc.entry(pid) else { continue };
        match look(scan, &process) {
            Some(Some(entry)) => found.push(entry),
            Some(None) => {}
            None => hidden += 1,
        }
    }
    if hidden > 0 {
        scan.job.warn(format!("{hidden} processes could not be looked into for shells: run as root to see them"));
    }
    Ok(())
}

/// `None` where the account may not look.
fn look(scan: &Scan<'_>, process: &Process) -> Option<Option<Entry>> {
    let mut buffer = Vec::new();
    let image = match process.image(&mut buffer) {
        Ok(image) => image,
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => return None,
        // A thread of the kernel, or gone.
        Err(_) => return Some(None),
    };
    let mut notes = Vec::new();
    let path = image.path.as_bytes();
    let in_memory = path.starts_with(b"/memfd:");
    if in_memory {
        notes.push("its image is in memory alone".to_owned());
    } else if OPEN_PLACES.iter().any(|place| path.starts_with(place)) {
        notes.push("its image lies where anyone may write".to_owned());
    }
    // After an upgrade the old image is deleted and a package's lies in its place.
    let upgraded = || scan.look_at_program(&image.path).is_some_and(|i| i.packaged != Some(false));
    if image.deleted && !in_memory && !upgraded() {
        notes.push("its image is deleted".to_owned());
    }
    if is_shell(&image.path) {
        notes.extend(sockets(scan, process));
    }
    if notes.is_empty() {
        return Some(None);
    }
    let mut command = Vec::new();
    let line = process.command_line(&mut command).ok().flatten();
    let location = if in_memory { DevicePath::new(format!("/proc/{}/exe", process.pid)) } else { image.path.clone() };
    let user = process.uid().ok().map(|uid| {
        let known = scan.accounts.iter().find(|a| a.uid == uid).map(super::accounts::Account::shown);
        known.unwrap_or_else(|| crate::shape::Untrusted::new(uid.to_string()))
    });
    let entry = Entry::at(location).name(format!("process {}", process.pid)).user(user);
    let entry = entry.command(line.map(|l| l.raw().as_bytes().to_vec()).unwrap_or_default());
    Some(Some(notes.into_iter().fold(entry, Entry::note)))
}

fn is_shell(image: &DevicePath) -> bool {
    let name = image.name();
    let name = name.as_bytes();
    let stem = name.split(|b| b.is_ascii_digit() || *b == b'.' || *b == b'-').next().unwrap_or_default();
    SHELLS.contains(&name) || SHELLS.contains(&stem) || name == b"nc.openbsd" || name == b"nc.traditional"
}

/// What the process's standard input and output, and its listening sockets, lead to. A socket of this host alone (the
/// pair that sshd gives a command) is none.
fn sockets(scan: &Scan<'_>, process: &Process) -> Vec<String> {
    let Some(directory) = open(process.pid, "") else { return Vec::new() };
    let Some(descriptors) = open(process.pid, "/fd") else { return Vec::new() };
    let inode = |name: &str| -> Option<u64> {
        let link = readlinkat(&directory, format!("fd/{name}"), Vec::new()).ok()?;
        let number = link.as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
        std::str::from_utf8(number).ok()?.parse().ok()
    };
    let Ok(Ok(numbers)) = super::super::proc::numbers(&descriptors, scan.job) else { return Vec::new() };
    let held: HashMap<u64, u32> = numbers.into_iter().rev().filter_map(|n| Some((inode(&n.to_string())?, n))).collect();
    if held.is_empty() {
        return Vec::new();
    }
    let mut all: Vec<Socket> = Vec::new();
    let Some(net) = open(process.pid, "/net") else { return Vec::new() };
    if !matches!(tables(0, &net, &mut all, scan.job), Ok(Ok(_))) {
        return Vec::new();
    }
    let told = all.iter().filter_map(|socket| {
        let number = held.get(&socket.inode)?;
        let local = format!("{}:{}", socket.local.0, socket.local.1);
        let what = match number {
            0 => "its input is a socket",
            1 => "its output is a socket",
            2 => "its errors go to a socket",
            _ if socket.is_listening() => "it listens",
            _ => return None,
        };
        Some(match socket.peer() {
            Some((address, port)) if !socket.is_listening() => format!("{what}, {local} to {address}:{port}"),
            _ => format!("{what}, {local}"),
        })
    });
    told.collect()
}

fn open(pid: u32, below: &str) -> Option<rustix::fd::OwnedFd> {
    let path = format!("/proc/{pid}{below}");
    openat(rustix::fs::CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
}

/// Folders that a script interpreter serves as a web root now: `php -S … -t DIR`, `python -m http.server --cgi`.
pub fn served(scan: &Scan<'_>) -> Vec<Vec<u8>> {
    let mut roots = Vec::new();
    let Some(proc) = scan.view.is_live().then(|| Proc::open().ok()).flatten() else { return roots };
    for pid in proc.pids(scan.job).unwrap_or_default() {
        let Ok(process) = proc.entry(pid) else { continue };
        let (mut buffer, mut at) = (Vec::new(), Vec::new());
        let Ok(Some(line)) = process.command_line(&mut buffer) else { continue };
        let words: Vec<&str> = line.raw().split(' ').collect();
        let program = words.first().and_then(|w| w.rsplit('/').next()).unwrap_or_default();
        let php = program.starts_with("php") && words.contains(&"-S");
        let python = program.starts_with("python") && words.contains(&"http.server") && words.contains(&"--cgi");
        if !php && !python {
            continue;
        }
        let option = if php { "-t" } else { "--directory" };
        let named = words.iter().position(|w| *w == option).and_then(|i| words.get(i + 1)).map(|w| DevicePath::new(*w));
        let Ok(cwd) = process.cwd(&mut at) else { continue };
        let root = named.map_or(cwd.clone(), |named| cwd.join(&named));
        if root.as_bytes().iter().filter(|b| **b == b'/').count() > 1 {
            roots.push(root.as_bytes().to_vec());
        }
    }
    roots
}
