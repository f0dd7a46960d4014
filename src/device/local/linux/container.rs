//! Which container a process is in, told by its cgroup (`man 7 cgroups`), v1 or v2.
//!
//! Invariant: only a scope that a container runtime names so counts; the runtime's own monitor is not in it.

use std::borrow::Cow;

/// The container's id, or the machine's name, from the content of `/proc/PID/cgroup`.
pub fn container(cgroup: &[u8]) -> Option<Cow<'_, [u8]>> {
    cgroup.split(|b| *b == b'\n').filter_map(path).find_map(in_path)
}

/// The path of a line `hierarchy:controllers:path`.
fn path(line: &[u8]) -> Option<&[u8]> {
    line.splitn(3, |b| *b == b':').nth(2).filter(|p| p.len() > 1)
}

/// The innermost container that the path is in.
fn in_path(path: &[u8]) -> Option<Cow<'_, [u8]>> {
    let parts: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    (0..parts.len()).rev().find_map(|i| {
        let parent = i.checked_sub(1).and_then(|p| parts.get(p)).copied().unwrap_or_default();
        named(parts.get(i)?, parent)
    })
}

fn named<'a>(part: &'a [u8], parent: &[u8]) -> Option<Cow<'a, [u8]>> {
    let unit = [&b".scope"[..], b".service"].iter().find_map(|s| part.strip_suffix(*s)).unwrap_or(part);
    // The systemd driver of containerd writes `slice:cri-containerd:id`.
    let name = unit.rsplit(|b| *b == b':').next().unwrap_or(unit);
    let prefixes = [&b"docker-"[..], b"libpod-", b"cri-containerd-", b"containerd-", b"nerdctl-", b"crio-"];
    if let Some(id) = prefixes.iter().find_map(|p| name.strip_prefix(*p)).filter(|id| is_id(id)) {
        return Some(Cow::Borrowed(id));
    }
    let among_containers =
        parent == b"docker" || parent == b"libpod" || parent.starts_with(b"pod") || name.len() < unit.len();
    if is_id(name) && (name.len() == 64 || among_containers) {
        return Some(Cow::Borrowed(name));
    }
    machine(unit, parent).filter(|m| !m.is_empty())
}

/// LXC and systemd machines go by a name.
fn machine<'a>(unit: &'a [u8], parent: &[u8]) -> Option<Cow<'a, [u8]>> {
    if parent == b"lxc" || parent == b"lxc.payload" {
        return Some(Cow::Borrowed(unit));
    }
    if let Some(name) = unit.strip_prefix(b"lxc.payload.") {
        return Some(Cow::Borrowed(name));
    }
    if let Some(name) = unit.strip_prefix(b"systemd-nspawn@") {
        return Some(unescape(name));
    }
    // libvirt registers virtual machines as `machine-qemu…`: those processes run on this host.
    unit.strip_prefix(b"machine-").map(unescape).filter(|name| !name.starts_with(b"qemu-"))
}

fn is_id(text: &[u8]) -> bool {
    text.len() >= 12 && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Undoes systemd's `\xNN` in unit names.
fn unescape(name: &[u8]) -> Cow<'_, [u8]> {
    if !name.contains(&b'\\') {
        return Cow::Borrowed(name);
    }
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, tail)) = rest.split_first() {
        let code = rest.strip_prefix(b"\\x").and_then(|r| std::str::from_utf8(r.get(..2)?).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = rest.get(4..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "4f0c2a7d1e9b4f0c2a7d1e9b4f0c2a7d1e9b4f0c2a7d1e9b4f0c2a7d1e9b4f0c";

    fn of(cgroup: &str) -> Option<String> {
        container(cgroup.as_bytes()).map(|c| String::from_utf8_lossy(&c).into_owned())
    }

    #[test]
    fn every_runtime_gives_its_id() {
        for path in [
            "0::/system.slice/docker-ID.scope",
            "0::/system.slice/docker-ID.scope/init.scope",
            "12:pids:/docker/ID\n1:name=systemd:/docker/ID",
            "0::/machine.slice/libpod-ID.scope/container",
            "0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-ID.scope",
            "0::/kubepods/besteffort/pod3f2a/ID",
            "0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:ID",
            "0::/kubepods.slice/crio-ID.scope",
            "5:cpu:/ecs/task/ID",
        ] {
            assert_eq!(of(&path.replace("ID", ID)).as_deref(), Some(ID), "{path}");
        }
    }

    #[test]
    fn machines_go_by_name() {
        for (path, name) in [
            ("4:memory:/lxc/web", "web"),
            ("0::/lxc.payload.web/init.scope", "web"),
            ("0::/machine.slice/systemd-nspawn@build.service/payload", "build"),
            (r"0::/machine.slice/machine-my\x2dbox.scope", "my-box"),
            (r"0::/machine.slice/machine-tail\x.scope", r"tail\x"),
        ] {
            assert_eq!(of(path).as_deref(), Some(name), "{path}");
        }
    }

    #[test]
    fn the_host_and_the_monitor_are_in_none() {
        for path in [
            "",
            "garbage",
            "0::/",
            "0::/user.slice/user-0.slice/session-1.scope",
            "4:memory:/process_api/50da2cfa9f4dcc22ad15437ee7122a46",
            "0::/machine.slice/libpod-conmon-ID.scope",
            "0::/lxc.monitor.web",
            r"0::/machine.slice/machine-qemu\x2d1\x2dvm.scope/emulator",
            "0::/docker/",
        ] {
            assert_eq!(of(&path.replace("ID", ID)), None, "{path}");
        }
    }
}
