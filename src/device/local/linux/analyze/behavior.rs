//! What a process does: its connections, open files, children and the memory that it runs.
//!
//! Invariant: read while it runs, so no moment's whole; what the account may not see is said in a warning.

use super::super::proc::{Entry, Proc, failed, is_gone};
use super::super::users::Users;
use super::super::view::Opened;
use super::super::{connections, rights};
use crate::device::local::engines::{Opinion, Status};
use crate::error::Result;
use crate::model::{Behavior, Connection, Job};
use crate::shape::Untrusted;
use rustix::io::Errno;
use std::collections::HashSet;

/// Descriptors that are read, and lines that are listed of each kind.
const DESCRIPTORS: usize = 65_536;
const LISTED: usize = 200;
/// Bytes of a list of maps.
const MAPS: u64 = 16 << 20;
const SHELLS: &[&[u8]] = &[b"sh", b"bash", b"dash", b"zsh", b"ksh", b"ksh93", b"mksh", b"busybox", b"tcsh", b"fish"];
const TEMPORARY: &[&[u8]] = &[b"/tmp/", b"/var/tmp/", b"/dev/shm/", b"/run/user/"];

/// What it does, and what of that is suspicious.
pub(super) fn of(entry: &Entry, image: &Opened, users: &Users, job: &Job) -> Result<(Behavior, Opinion)> {
    let mut behavior = Behavior::default();
    let mut odd: Vec<String> = Vec::new();
    let mut notes: Vec<Untrusted> = Vec::new();
    let mut buffer = Vec::new();
    behavior.command_line = entry.command_line(&mut buffer).ok().flatten();
    look_at_image(image, behavior.command_line.as_ref(), &mut odd, &mut notes);
    match entry.descriptors(DESCRIPTORS, job)? {
        Ok(descriptors) => look_at_descriptors(&descriptors, image, users, &mut behavior, &mut odd, job)?,
        Err(e) if is_gone(e) => return Err(failed(entry.pid, e)),
        Err(_) => hidden("the open files and connections", entry.pid, job),
    }
    match entry.maps(MAPS) {
        Ok(maps) => look_at_maps(&maps, &mut behavior, &mut notes),
        Err(e) if is_gone(e) => return Err(failed(entry.pid, e)),
        Err(_) => hidden("the memory", entry.pid, job),
    }
    behavior.children = children(entry.pid, job)?;
    let opinion = if odd.is_empty() {
        Opinion { notes, ..Opinion::plain(Status::Clean) }
    } else {
        Opinion { status: Status::Suspicious, detections: odd.into_iter().map(Untrusted::new).collect(), notes }
    };
    Ok((behavior, opinion))
}

fn hidden(what: &str, pid: u32, job: &Job) {
    job.warn(format!("{what} of process {pid} cannot be seen {}", rights::shielded_from()));
}

fn look_at_image(image: &Opened, command_line: Option<&Untrusted>, odd: &mut Vec<String>, notes: &mut Vec<Untrusted>) {
    let path = image.real_path.as_bytes();
    let in_temporary = TEMPORARY.iter().any(|place| path.starts_with(place));
    if path.starts_with(b"/memfd:") {
        odd.push("its image never was a file (memfd)".to_owned());
    } else if image.deleted && in_temporary {
        odd.push(format!("its image lay in a place for temporary files and is deleted: {}", image.real_path));
    } else if image.deleted {
        notes.push(Untrusted::new("its image was deleted or replaced since it started"));
    } else if in_temporary {
        notes.push(Untrusted::new("its image lies in a place for temporary files"));
    }
    let named = command_line.map(Untrusted::raw).unwrap_or_default();
    if named.starts_with('[') && named.trim_end().ends_with(']') {
        odd.push("it calls itself as a thread of the kernel does".to_owned());
    }
}

fn look_at_descriptors(
    descriptors: &[(u32, Vec<u8>)],
    image: &Opened,
    users: &Users,
    behavior: &mut Behavior,
    odd: &mut Vec<String>,
    job: &Job,
) -> Result<()> {
    let files = descriptors.iter().filter(|(_, link)| link.first() == Some(&b'/'));
    let is_plain = |link: &[u8]| !link.starts_with(b"/dev/null") && !link.starts_with(b"/dev/pts/");
    let mut names: Vec<Untrusted> =
        files.filter(|(_, link)| is_plain(link)).map(|(_, link)| Untrusted::from_bytes(link)).collect();
    names.sort();
    names.dedup();
    behavior.files = cut(names, "open files", job);
    let inode =
        |link: &[u8]| std::str::from_utf8(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?).ok()?.parse().ok();
    let inodes: HashSet<u64> = descriptors.iter().filter_map(|(_, link)| inode(link)).collect();
    if inodes.is_empty() {
        return Ok(());
    }
    let sockets = connections::with_inodes(&inodes, users, job)?;
    behavior.connections = cut(sockets.iter().map(in_a_line).collect(), "connections", job);
    let of = |number: u32| descriptors.iter().find(|(n, _)| *n == number).and_then(|(_, link)| inode(link));
    let is_shell = SHELLS.contains(&image.real_path.name().as_bytes());
    // Sockets of this host alone are not among those that were found.
    if let (true, Some(input), Some(output)) = (is_shell, of(0), of(1))
        && input == output
        && !connections::with_inodes(&HashSet::from([input]), users, job)?.is_empty()
    {
        odd.push("a shell whose input and output are a network connection".to_owned());
    }
    Ok(())
}

fn in_a_line(socket: &Connection) -> Untrusted {
    let end = |address: &str, port: u16| match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    };
    let local = end(&socket.local_address, socket.local_port);
    Untrusted::new(match (&socket.remote_address, socket.remote_port) {
        (Some(address), Some(port)) => {
            format!("{} {local} -> {} {}", socket.protocol, end(address, port), socket.state)
        }
        _ => format!("{} {local} {}", socket.protocol, socket.state),
    })
}

/// `man 5 proc_pid_maps`: range, rights, offset, device, inode, name.
fn look_at_maps(maps: &[u8], behavior: &mut Behavior, notes: &mut Vec<Untrusted>) {
    let (mut deleted, mut memfd) = (Vec::new(), Vec::new());
    for line in maps.split(|b| *b == b'\n') {
        let mut fields = line.split(|b| *b == b' ').filter(|f| !f.is_empty());
        let Some(rights) = fields.nth(1) else { continue };
        let inode = fields.nth(2).unwrap_or_default();
        let Some(start) = fields.next() else {
            behavior.writable_code += u32::from(inode == b"0" && rights.starts_with(b"rwx"));
            continue;
        };
        // A name may hold spaces: it goes on to the end of the line.
        let at = memchr::memmem::find(line, start).unwrap_or_default();
        let name = line.get(at..).unwrap_or_default();
        let runs = rights.get(2) == Some(&b'x');
        if name.starts_with(b"/memfd:") && runs {
            memfd.push(Untrusted::from_bytes(name));
        } else if let Some(name) = name.strip_suffix(b" (deleted)")
            && !name.starts_with(b"/memfd:")
            && !name.starts_with(b"/SYSV")
            && name != b"/dev/zero"
        {
            deleted.push(Untrusted::from_bytes(name));
        }
    }
    for list in [&mut deleted, &mut memfd] {
        list.sort();
        list.dedup();
        list.truncate(LISTED);
    }
    if !memfd.is_empty() {
        notes.push(Untrusted::new("runs code from memory that never was a file"));
    }
    if behavior.writable_code > 0 {
        notes.push(Untrusted::new("has memory that may be written and run, as compilers at run time have it"));
    }
    (behavior.deleted_maps, behavior.memfd_maps) = (deleted, memfd);
}

/// Processes whose parent it is: pid and command line.
fn children(pid: u32, job: &Job) -> Result<Vec<Untrusted>> {
    let proc = Proc::open()?;
    let mut buffer = Vec::new();
    let mut found = Vec::new();
    for child in proc.pids(job)? {
        let Ok(entry) = proc.entry(child) else { continue };
        let name = match entry.stat(&mut buffer) {
            Ok(stat) if stat.ppid == pid => Untrusted::from_bytes(stat.comm),
            Ok(_) | Err(Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM) => continue,
            Err(e) => return Err(failed(child, e)),
        };
        let line = entry.command_line(&mut buffer).ok().flatten().unwrap_or(name);
        found.push(Untrusted::new(format!("{child} {}", line.raw())));
    }
    Ok(cut(found, "children", job))
}

fn cut(mut list: Vec<Untrusted>, what: &str, job: &Job) -> Vec<Untrusted> {
    if list.len() > LISTED {
        job.warn(format!("{} {what}, {LISTED} of them are listed", list.len()));
        list.truncate(LISTED);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maps(text: &str) -> Behavior {
        let mut behavior = Behavior::default();
        look_at_maps(text.as_bytes(), &mut behavior, &mut Vec::new());
        behavior
    }

    #[test]
    fn memory_without_a_file_is_told() {
        let seen = maps(
            "55-56 r-xp 00000000 08:01 131 /usr/bin/x\n\
             57-58 rwxp 00000000 00:00 0 \n\
             59-5a rw-p 00000000 00:00 0 [heap]\n\
             5b-5c r-xs 00000000 00:01 9 /memfd:a b (deleted)\n\
             5d-5e rw-s 00000000 00:01 9 /memfd:shared (deleted)\n\
             5f-60 r--p 00000000 08:01 132 /tmp/my lib.so (deleted)\n\
             61-62 rw-s 00000000 00:05 4 /SYSV00000000 (deleted)\nnonsense\n\n",
        );
        assert_eq!(seen.writable_code, 1);
        assert_eq!(seen.memfd_maps, [Untrusted::new("/memfd:a b (deleted)")]);
        assert_eq!(seen.deleted_maps, [Untrusted::new("/tmp/my lib.so")]);
    }
}
