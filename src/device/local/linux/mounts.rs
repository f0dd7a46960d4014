//! Which mounts a walk leaves out unless they were named: network, FUSE and autofs ones (they may hang, or bring in
//! another machine's files), and pseudo file systems.

use super::facts::Facts;
use crate::model::DevicePath;
use crate::shape;
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::AsFd;

/// The name that a mount lies under in its directory, and its type.
pub(super) type Point = (Vec<u8>, String);

/// `man 5 proc_pid_mountinfo`.
#[derive(Default)]
pub(super) struct Mounts {
    by_id: HashMap<u64, String>,
    /// Points of mounts that walks leave out, by directory and name.
    left_out: HashMap<Vec<u8>, Vec<Point>>,
}

impl Mounts {
    /// Of this process's namespace; empty where procfs is not there.
    pub fn read() -> Self {
        std::fs::read("/proc/self/mountinfo").map(|text| Self::parse(&text)).unwrap_or_default()
    }

    fn parse(text: &[u8]) -> Self {
        let mut mounts = Mounts::default();
        let mut by_point: HashMap<Vec<u8>, String> = HashMap::new();
        for line in text.split(|b| *b == b'\n') {
            let mut fields = line.split(|b| *b == b' ');
            let id = fields.next().and_then(|f| std::str::from_utf8(f).ok()?.parse().ok());
            let point = fields.nth(3);
            // Optional fields end at a dash.
            let kind = fields.skip_while(|f| *f != b"-").nth(1);
            let (Some(id), Some(point), Some(kind)) = (id, point, kind) else { continue };
            let kind = String::from_utf8_lossy(kind).into_owned();
            mounts.by_id.insert(id, kind.clone());
            // What is mounted last on a point is what a walk meets there.
            by_point.insert(unescape(point), kind);
        }
        for (point, kind) in by_point.into_iter().filter(|(_, kind)| is_left_out(kind)) {
            let path = DevicePath::new(point);
            let (parent, name) = (path.parent().as_bytes().to_vec(), path.name().as_bytes().to_vec());
            mounts.left_out.entry(parent).or_default().push((name, kind));
        }
        mounts
    }

    /// The type of a mount; of one that is newer than the table, too.
    pub fn kind(&self, id: u64) -> Option<String> {
        self.by_id.get(&id).cloned().or_else(|| Self::read().by_id.remove(&id))
    }

    /// The entries of a directory that are points of mounts to leave out, with their types.
    pub fn left_out_in(&self, directory: &[u8]) -> &[Point] {
        self.left_out.get(directory).map_or(&[], Vec::as_slice)
    }
}

/// Facts of an entry of a directory, of whose entries these are points of mounts that may hang.
pub(super) fn facts_of(points: &[Point], directory: impl AsFd, name: &CStr) -> rustix::io::Result<Facts> {
    match points.iter().any(|(point, _)| point == name.to_bytes()) {
        true => Facts::of_mount_point(directory, name),
        false => Facts::of_entry(directory, name),
    }
}

/// Spaces and the like are written `\040`.
pub(super) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let code = after.get(..3).filter(|c| *byte == b'\\' && c.iter().all(|d| (b'0'..=b'7').contains(d)));
        match code.map(|c| c.iter().fold(0u32, |value, d| value << 3 | u32::from(d - b'0'))).map(u8::try_from) {
            Some(Ok(value)) => {
                out.push(value);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

pub(super) fn is_left_out(kind: &str) -> bool {
    is_pseudo(kind) || is_remote(kind)
}

/// Network file systems, FUSE and autofs.
fn is_remote(kind: &str) -> bool {
    kind.starts_with("fuse.")
        || matches!(
            kind,
            "nfs"
                | "nfs4"
                | "cifs"
                | "smb3"
                | "smbfs"
                | "ncpfs"
                | "afs"
                | "coda"
                | "ceph"
                | "9p"
                | "lustre"
                | "beegfs"
                | "glusterfs"
                | "orangefs"
                | "pvfs2"
                | "gpfs"
                | "davfs"
                | "fuse"
                | "fuseblk"
                | "virtiofs"
                | "autofs"
        )
}

/// File systems that hold no files, only the kernel's state.
fn is_pseudo(kind: &str) -> bool {
    matches!(
        kind,
        "proc"
            | "sysfs"
            | "cgroup"
            | "cgroup2"
            | "cpuset"
            | "debugfs"
            | "tracefs"
            | "securityfs"
            | "configfs"
            | "pstore"
            | "bpf"
            | "efivarfs"
            | "fusectl"
            | "binfmt_misc"
            | "mqueue"
            | "hugetlbfs"
            | "devpts"
            | "selinuxfs"
            | "smackfs"
            | "apparmorfs"
            | "rpc_pipefs"
            | "nfsd"
            | "nsfs"
            | "resctrl"
            | "xenfs"
            | "usbfs"
    )
}

/// One warning for all the mounts that a walk left out: the remote ones by name, the pseudo ones counted.
pub(super) fn warning(mut left_out: Vec<(DevicePath, String)>) -> Option<String> {
    const NAMED: usize = 20;
    left_out.sort();
    left_out.dedup();
    let (remote, pseudo): (Vec<_>, Vec<_>) = left_out.into_iter().partition(|(_, kind)| is_remote(kind));
    let list = |mounts: &[(DevicePath, String)], named: usize| {
        let names = mounts.iter().take(named).map(|(path, kind)| format!("{path} ({})", shape::clean(kind)));
        let more = mounts.len().saturating_sub(named);
        let more = (more > 0).then(|| format!("{more} more"));
        names.chain(more).collect::<Vec<_>>().join(", ")
    };
    let parts: Vec<String> = [
        (!remote.is_empty()).then(|| format!("mounts {}", list(&remote, NAMED))),
        (!pseudo.is_empty()).then(|| format!("pseudo file systems {}", list(&pseudo, 4))),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!parts.is_empty()).then(|| format!("not searched: {}; name one as the path to search it", parts.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_points_with_spaces_and_optional_fields() {
        let text = b"21 1 8:1 / / rw - ext4 /dev/sda rw\n\
            22 21 0:5 / /proc rw shared:1 - proc proc rw\n\
            23 21 0:6 / /mnt/my\\040nas rw shared:2 master:1 - nfs4 nas:/x rw\n\
            24 21 0:7 / /mnt/over rw - nfs nas:/y rw\n\
            25 21 8:2 / /mnt/over rw - ext4 /dev/sdb rw\nnonsense\n";
        let mounts = Mounts::parse(text);
        assert_eq!(mounts.kind(22).as_deref(), Some("proc"));
        assert_eq!(mounts.left_out_in(b"/"), [(b"proc".to_vec(), "proc".to_owned())]);
        assert_eq!(mounts.left_out_in(b"/mnt"), [(b"my nas".to_vec(), "nfs4".to_owned())]);
    }

    #[test]
    fn one_warning_names_the_remote_ones() {
        let mount = |path: &str, kind: &str| (DevicePath::new(path), kind.to_owned());
        let text = warning(vec![mount("/proc", "proc"), mount("/nas", "nfs4"), mount("/nas", "nfs4")]).unwrap();
        assert_eq!(
            text,
            "not searched: mounts /nas (nfs4); pseudo file systems /proc (proc); name one as the path to search it"
        );
        assert_eq!(warning(vec![]), None);
    }
}
