//! The secret list on a device: by place, and by identity with the well-known ones: a hard link to `/etc/shadow` is
//! `/etc/shadow`.
//!
//! Invariant: it errs towards secret. It decides what is shown, never what is collected.

use super::view::{How, Opened, View};
use crate::model::{DevicePath, FileIdentity};
pub use crate::secret::HIVE;
use crate::secret::{MEMORY, by_place, is_memory_name};
use rustix::fs::RawDir;
use std::collections::HashMap;
use std::io::Read;
use std::mem::MaybeUninit;

/// Where hard links and bind mounts of secrets lead. Keys of hosts and homes are looked up beside these.
const WELL_KNOWN: &[&str] = &[
    "/etc/shadow",
    "/etc/shadow-",
    "/etc/gshadow",
    "/etc/gshadow-",
    "/etc/security/opasswd",
    "/etc/krb5.keytab",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/ssh/ssh_host_ecdsa_key",
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_dsa_key",
    "/root/.netrc",
    "/root/.pgpass",
    "/root/.aws/credentials",
    "/root/.kube/config",
    "/root/.docker/config.json",
    "/etc/kubernetes/admin.conf",
];
/// Directories of a home whose files may have hard links elsewhere.
const HOME_PLACES: &[&str] =
    &[".", ".ssh", ".aws", ".gnupg/private-keys-v1.d", ".kube", ".docker", ".config/gcloud", ".azure"];
/// Homes that are looked at for those.
const HOMES: usize = 200;
/// Names of such a directory that are looked at.
const NAMES: usize = 1_000;

/// Why the file's content is on the secret list, by where it lies.
pub fn reason(view: &View, asked: &DevicePath, opened: &Opened) -> Option<&'static str> {
    by_paths(asked, opened)
        .or_else(|| of_procfs(opened))
        .or_else(|| by_identity(view, opened))
        .or_else(|| by_identity(&view.on_host()?, opened))
}

fn by_paths(asked: &DevicePath, opened: &Opened) -> Option<&'static str> {
    by_place(asked.as_bytes())
        .or_else(|| by_place(opened.real_path.as_bytes()))
        // An image may begin below the directory that tells.
        .or_else(|| by_place(&opened.host_path))
}

/// procfs may be mounted under any name.
fn of_procfs(opened: &Opened) -> Option<&'static str> {
    let named = is_memory_name(opened.real_path.name().as_bytes());
    let on_procfs = || rustix::fs::fstatfs(&opened.file).is_ok_and(|s| s.f_type == rustix::fs::PROC_SUPER_MAGIC);
    (named && on_procfs()).then_some(MEMORY)
}

fn by_identity(view: &View, opened: &Opened) -> Option<&'static str> {
    let is_it = |path: &DevicePath| view.identity(path) == Some(opened.facts.identity);
    candidates(view).find(|(_, path)| is_it(path)).map(|(why, _)| why)
}

/// Where secrets usually lie, and why they are some.
fn candidates(view: &View) -> impl Iterator<Item = (&'static str, DevicePath)> + '_ {
    let known = WELL_KNOWN.iter().map(|path| DevicePath::new(*path));
    let places = homes(view).into_iter();
    let places = places.flat_map(|home| HOME_PLACES.iter().map(move |place| home.join(&DevicePath::new(*place))));
    let in_homes = places.flat_map(|directory| {
        names_in(view, &directory).into_iter().map(move |name| directory.join(&DevicePath::new(name)))
    });
    known.chain(in_homes).filter_map(|path| Some((by_place(path.as_bytes())?, path)))
}

/// The secrets of a device by identity, looked up once for many files.
pub(super) struct Known(HashMap<FileIdentity, &'static str>);

impl Known {
    pub fn of(view: &View) -> Known {
        let mut known = HashMap::new();
        for view in [Some(view), view.on_host().as_ref()].into_iter().flatten() {
            known.extend(candidates(view).filter_map(|(why, path)| Some((view.identity(&path)?, why))));
        }
        Known(known)
    }

    /// As [`reason`].
    pub fn reason(&self, asked: &DevicePath, opened: &Opened) -> Option<&'static str> {
        by_paths(asked, opened).or_else(|| self.0.get(&opened.facts.identity).copied()).or_else(|| of_procfs(opened))
    }
}

/// The homes that the device's `passwd` names.
pub(super) fn homes(view: &View) -> Vec<DevicePath> {
    let Ok(passwd) = view.open(&DevicePath::new("/etc/passwd"), How::File) else { return Vec::new() };
    let mut text = Vec::new();
    // A part of a hostile one is as good as all of it.
    let _ = passwd.file.take(1 << 20).read_to_end(&mut text);
    let mut homes: Vec<DevicePath> = text
        .split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b':').nth(5))
        .filter(|home| home.len() > 1 && home.first() == Some(&b'/'))
        .map(DevicePath::new)
        .collect();
    homes.sort_unstable();
    homes.dedup();
    homes.truncate(HOMES);
    homes
}

pub(super) fn names_in(view: &View, directory: &DevicePath) -> Vec<Vec<u8>> {
    // Most homes have none of the places: no hint is wanted.
    if view.identity(directory).is_none() {
        return Vec::new();
    }
    let Ok(opened) = view.open(directory, How::Directory) else { return Vec::new() };
    let mut names = Vec::new();
    let mut buffer = [MaybeUninit::uninit(); 8 * 1024];
    let mut entries = RawDir::new(&opened.file, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        names.push(entry.file_name().to_bytes().to_vec());
        if names.len() == NAMES {
            break;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{TempTree, image, text};
    use super::*;
    use crate::secret::{PASSWORDS, PRIVATE_KEY};

    #[test]
    fn a_hard_link_to_a_secret_is_one() {
        let tree = TempTree::new();
        std::fs::create_dir_all(tree.path("img/etc")).unwrap();
        std::fs::create_dir_all(tree.path("img/srv/ann/.ssh")).unwrap();
        std::fs::write(tree.path("img/etc/passwd"), "ann:x:1:1::/srv/ann:/bin/sh\n").unwrap();
        std::fs::write(tree.path("img/etc/shadow"), "x").unwrap();
        std::fs::write(tree.path("img/srv/ann/.ssh/id_work"), "x").unwrap();
        std::fs::write(tree.path("img/plain"), "x").unwrap();
        std::fs::hard_link(tree.path("img/etc/shadow"), tree.path("img/one")).unwrap();
        std::fs::hard_link(tree.path("img/srv/ann/.ssh/id_work"), tree.path("img/two")).unwrap();
        let view = image(&tree, "img");
        let reason = |path: &str| reason(&view, &text(path), &view.open(&text(path), How::File).unwrap());
        assert_eq!((reason("/one"), reason("/two"), reason("/plain")), (Some(PASSWORDS), Some(PRIVATE_KEY), None));
    }

    #[test]
    fn a_link_to_a_secret_is_one() {
        let tree = TempTree::new();
        std::fs::create_dir_all(tree.path("img/etc")).unwrap();
        std::fs::write(tree.path("img/etc/shadow"), "x").unwrap();
        std::os::unix::fs::symlink("etc/shadow", tree.path("img/link")).unwrap();
        let view = image(&tree, "img");
        let opened = view.open(&text("/link"), How::File).unwrap();
        assert_eq!(reason(&view, &text("/link"), &opened), Some(PASSWORDS));
    }
}
