//! Programs with more rights than their caller, and system programs that are no longer their package's.
//!
//! Invariant: dpkg's data has no modes and no capabilities, so an unmodified program of a package counts as packaged
//! only where it is one of those that distributions give such rights, or where the administrator's override says so.

use super::super::dir::link_target;
use super::super::view::How;
use super::super::workers::for_chunks;
use super::scan::{Entry, Found, Item, Scan};
use super::sweep::Kind;
use crate::device::local::linux::kind::{HEAD, kind_of};
use crate::error::Result;
use crate::model::DevicePath;
use std::collections::HashSet;
use std::sync::Mutex;

/// Programs that distributions install SUID or SGID.
const PRIVILEGED: &[&str] = &[
    "Xorg.wrap",
    "at",
    "bsd-write",
    "camel-lock-helper-1.2",
    "chage",
    "chfn",
    "chrome-sandbox",
    "chsh",
    "cockpit-session",
    "crontab",
    "dbus-daemon-launch-helper",
    "dma",
    "dma-mbox-create",
    "dotlockfile",
    "exim4",
    "expiry",
    "fusermount",
    "fusermount3",
    "gpasswd",
    "grub2-set-bootflag",
    "krb5_child",
    "ldap_child",
    "locate",
    "lockfile",
    "mail-lock",
    "mail-touchlock",
    "mail-unlock",
    "mount",
    "mount.cifs",
    "mount.ecryptfs_private",
    "mount.nfs",
    "mutt_dotlock",
    "netreport",
    "newgidmap",
    "newgrp",
    "newuidmap",
    "ntfs-3g",
    "pam_extrausers_chkpwd",
    "pam_timestamp_check",
    "passwd",
    "pkexec",
    "plocate",
    "mlocate",
    "slocate",
    "polkit-agent-helper-1",
    "postdrop",
    "postqueue",
    "pppd",
    "procmail",
    "proxy_child",
    "qemu-bridge-helper",
    "screen",
    "selinux_child",
    "sendmail",
    "sg",
    "snap-confine",
    "spice-client-glib-usb-acl-helper",
    "ssh-agent",
    "ssh-keysign",
    "staprun",
    "su",
    "sudo",
    "sudoedit",
    "suexec",
    "traceroute6.iputils",
    "ping",
    "ping6",
    "umount",
    "unix_chkpwd",
    "unix_update",
    "userhelper",
    "usernetctl",
    "utempter",
    "vmware-user-suid-wrapper",
    "wall",
    "write",
    "write.ul",
    "lppasswd",
    "xlock",
    "xscreensaver-auth",
    "bwrap",
    "cgexec",
    "ksu",
    "doas",
    "kismet_capture",
    "lxc-user-nic",
    "v4l-conf",
    "pt_chown",
    "zone-admin",
    "batch",
    "atq",
    "atrm",
];
/// Programs that distributions give capabilities.
const CAPABLE: &[&str] = &[
    "ping",
    "ping4",
    "ping6",
    "mtr-packet",
    "arping",
    "clockdiff",
    "dumpcap",
    "gst-ptp-helper",
    "gnome-keyring-daemon",
    "newuidmap",
    "newgidmap",
    "suexec",
    "rcp",
    "rlogin",
    "rsh",
    "traceroute",
    "traceroute6",
    "tracepath",
    "kwin_wayland",
    "gnome-shell",
    "sway",
    "slirp4netns",
    "snap-confine",
    "nethogs",
    "fping",
    "bwrap",
    "sssd_pam",
    "krb5_child",
    "ldap_child",
    "selinux_child",
    "systemd-detect-virt",
];
/// `linux/capability.h`, by number.
const CAPABILITIES: &[&str] = &[
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];
const SYSTEM_FOLDERS: &[&str] = &["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// What is left beside a program that was put in another's place.
const SET_ASIDE: &[&str] = &[".real", ".orig", ".bak", ".old", ".distrib"];
const OPEN_PLACES: &[&str] = &["/tmp", "/var/tmp", "/dev/shm", "/home", "/run", "/srv", "/var/www"];

pub fn set_id(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    for (path, kind) in &scan.sweep()?.hits {
        scan.job.check()?;
        let Kind::Set(mode) = kind else { continue };
        let Some(item) = scan.look_at_program(path) else { continue };
        let what = match mode & 0o6000 {
            0o6000 => "SUID and SGID",
            0o4000 => "SUID",
            _ => "SGID",
        };
        let entry = Entry::of(&item).command(path.as_bytes()).user(owner(scan, &item));
        let entry = entry.note(format!("{what}, mode {mode:04o}"));
        let entry = entry.note_if(in_open_place(path), "where anyone or its user may write");
        found.push(judged(scan, &item, entry, PRIVILEGED, *mode, "the mode is not its package's"));
    }
    Ok(())
}

pub fn capabilities(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    for (path, kind) in &scan.sweep()?.hits {
        scan.job.check()?;
        let Kind::Capable(value) = kind else { continue };
        let Some(item) = scan.look_at_program(path) else { continue };
        let entry = Entry::of(&item).command(path.as_bytes()).note(capability_text(value));
        found.push(judged(scan, &item, entry, CAPABLE, 0, "the capabilities are not its package's"));
    }
    Ok(())
}

/// Whether the rights, too, are the package's.
fn judged(scan: &Scan<'_>, item: &Item, entry: Entry, known: &[&str], mode: u32, otherwise: &str) -> Entry {
    if item.packaged != Some(true) {
        return entry;
    }
    let path = item.real_path.as_bytes();
    let listed = scan.packages.owner(path).and_then(|(_, listed)| listed.mode);
    let fits = match listed.or_else(|| scan.packages.statoverride(path)) {
        Some(wanted) if mode != 0 => wanted & 0o6000 == mode & 0o6000,
        _ => known.iter().any(|name| name.as_bytes() == item.real_path.name().as_bytes()),
    };
    if fits { entry } else { entry.packaged(Some(false)).note(otherwise) }
}

fn owner(scan: &Scan<'_>, item: &Item) -> Option<crate::shape::Untrusted> {
    let name = scan.accounts.iter().find(|a| a.uid == item.facts.uid).map(super::accounts::Account::shown);
    Some(name.unwrap_or_else(|| crate::shape::Untrusted::new(item.facts.uid.to_string())))
}

fn in_open_place(path: &DevicePath) -> bool {
    OPEN_PLACES.iter().any(|p| path.as_bytes().strip_prefix(p.as_bytes()).is_some_and(|rest| rest.starts_with(b"/")))
}

/// `cap_net_raw=ep`: permitted, and effective where the flag says so (`man 7 capabilities`).
fn capability_text(value: &[u8]) -> String {
    let words: Vec<u32> = value.as_chunks::<4>().0.iter().map(|w| u32::from_le_bytes(*w)).collect();
    let (magic, low, high) = (words.first(), words.get(1), words.get(3));
    let bits = u64::from(low.copied().unwrap_or(0)) | u64::from(high.copied().unwrap_or(0)) << 32;
    let names = (0u32..64).filter(|bit| bits >> bit & 1 == 1).map(|bit| {
        let known = usize::try_from(bit).ok().and_then(|bit| CAPABILITIES.get(bit));
        known.map_or_else(|| bit.to_string(), |name| format!("cap_{name}"))
    });
    let names = names.collect::<Vec<_>>().join(",");
    let effective = if magic.is_some_and(|m| m & 1 == 1) { "=ep" } else { "=p" };
    format!("{names}{effective}")
}

/// Files of the system's program folders whose bytes are not their package's, or that no package has. All are hashed:
/// a size or a time proves nothing.
pub fn replaced(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    if scan.packages.is_empty() {
        return Ok(());
    }
    let files = scan.files_in(SYSTEM_FOLDERS);
    let names: HashSet<&[u8]> = files.iter().map(DevicePath::as_bytes).collect();
    let seen = Mutex::new(HashSet::new());
    let mut odd = for_chunks(&files, |chunk, odd| {
        for path in chunk {
            scan.job.check()?;
            if let Some(entry) = check(scan, path, &names, &seen) {
                odd.push((path.clone(), entry));
            }
        }
        Ok(())
    })?;
    odd.sort_by(|(a, _), (b, _)| a.cmp(b));
    odd.into_iter().for_each(|(_, entry)| found.push(entry));
    alternatives(scan, found)
}

/// Names of alternatives that lead where no installed choice has them lead.
fn alternatives(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    for (path, _) in scan.dir("/etc/alternatives") {
        scan.job.check()?;
        let Ok(link) = scan.view.open(&path, How::Link) else { continue };
        let Some(target) = link_target(&link.file, c"") else { continue };
        if scan.packages.is_choice(path.as_bytes(), target.as_bytes()) == Some(false) {
            let entry = Entry::at(path).root().command(target.as_bytes()).modified(Some(link.facts.modified));
            found.push(entry.note("an alternative that leads to none of its choices"));
        }
    }
    Ok(())
}

fn check(
    scan: &Scan<'_>,
    path: &DevicePath,
    names: &HashSet<&[u8]>,
    seen: &Mutex<HashSet<crate::model::FileIdentity>>,
) -> Option<Entry> {
    let item = scan.look_at_program(path)?;
    let is_link = item.real_path.as_bytes() != path.as_bytes() && item.real_path.name() != path.name();
    if is_link && link_is_known(scan, path, &item) {
        return None;
    }
    let first = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(item.facts.identity);
    let replaced_link = item.packaged.is_none() && !is_link && has_sums(scan, &item);
    if (!first && !is_link) || (item.packaged != Some(false) && !replaced_link) {
        return None;
    }
    let kind = kind_of(item.text.get(..HEAD.min(item.text.len())).unwrap_or_default());
    let mut entry = Entry::of(&item).root().packaged(Some(false)).note(kind);
    entry = entry.note_if(item.package.is_none(), "no package has it");
    entry = entry.note_if(replaced_link, "its package has no file here, but a link");
    if let Some(aside) = SET_ASIDE.iter().find(|s| names.contains(&[path.as_bytes(), s.as_bytes()].concat()[..])) {
        entry = entry.note(format!("beside it lies one that ends in {aside}"));
    }
    let lines = super::text::SCRIPT.lines(if super::text::is_text(&item.text) { &item.text } else { b"" });
    Some(entry.lines(&lines))
}

/// A link that a package or its alternatives have, or that leads to a file that is a package's or is told on its own.
fn link_is_known(scan: &Scan<'_>, path: &DevicePath, item: &Item) -> bool {
    let inside = SYSTEM_FOLDERS.iter().any(|f| item.real_path.parent().as_bytes() == f.as_bytes());
    item.packaged == Some(true) || (inside && item.packaged.is_some()) || scan.packages.owner(path.as_bytes()).is_some()
}

/// Whether the package's data has sums at all.
fn has_sums(scan: &Scan<'_>, item: &Item) -> bool {
    item.package.as_ref().is_some_and(|package| scan.packages.has_sums(package)) && item.digests.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named_and_a_cut_value_is_read_as_far_as_it_goes() {
        let value = [1u8, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(capability_text(&value), "cap_net_raw,cap_bpf=ep");
        assert_eq!(capability_text(&value[..8]), "cap_net_raw=ep");
        assert_eq!(capability_text(&[]), "=p");
    }
}
