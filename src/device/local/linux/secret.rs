//! The secret list: files whose content a person must agree to show. By place, and by identity with the well-known
//! ones: a hard link to `/etc/shadow` is `/etc/shadow`. What the bytes themselves say, the evidence store looks at.
//!
//! Invariant: it errs towards secret. It decides what is shown, never what is collected.

use super::view::{How, Opened, View};
use crate::model::DevicePath;
use memchr::memmem::Finder;
use rustix::fs::RawDir;
use std::io::Read;
use std::mem::MaybeUninit;

const PASSWORDS: &str = "password hashes";
const PRIVATE_KEY: &str = "private key";
const KEYTAB: &str = "Kerberos keys";
const BROWSER: &str = "browser credentials";
const CLOUD: &str = "cloud credentials";
const LOGIN: &str = "stored logins";
pub const HIVE: &str = "Windows account secrets";
const MEMORY: &str = "process memory";

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
    by_place(asked.as_bytes())
        .or_else(|| by_place(opened.real_path.as_bytes()))
        // An image may begin below the directory that tells.
        .or_else(|| by_place(&opened.host_path))
        .or_else(|| by_identity(view, opened))
        .or_else(|| by_identity(&view.on_host()?, opened))
}

/// By the path alone.
pub fn by_place(path: &[u8]) -> Option<&'static str> {
    let path: Vec<u8> = path.iter().map(|b| if *b == b'\\' { b'/' } else { b.to_ascii_lowercase() }).collect();
    let mut parts = path.split(|b| *b == b'/').filter(|p| !matches!(*p, b"" | b".")).rev();
    let name = parts.next().unwrap_or_default();
    let parent = parts.next().unwrap_or_default();
    let within = |directory: &[u8]| path.split(|b| *b == b'/').any(|p| p == directory);
    let below = |place: &str| Finder::new(place).find(&path).is_some();

    match (parent, name) {
        (b"etc", b"shadow" | b"gshadow" | b"shadow-" | b"gshadow-") | (b"security", b"opasswd") => Some(PASSWORDS),
        (b"etc", b"master.passwd" | b"spwd.db") => Some(PASSWORDS),
        (b"config" | b"regback" | b"repair", b"sam" | b"security" | b"system") => Some(HIVE),
        (_, b"ntds.dit") => Some(HIVE),
        (b".aws", b"credentials" | b"config") | (b".kube", b"config") | (b".docker", b"config.json") => Some(CLOUD),
        (b"kubernetes", _) if name.ends_with(b".conf") => Some(CLOUD),
        (_, b"application_default_credentials.json" | b"access_tokens.db" | b"credentials.db") => Some(CLOUD),
        (_, b"accesstokens.json" | b"azureprofile.json" | b"msal_token_cache.json" | b"msal_token_cache.bin") => {
            Some(CLOUD)
        }
        (_, b"service_principal_entries.json" | b"kubeconfig") => Some(CLOUD),
        (_, b".netrc" | b"_netrc" | b".pgpass" | b".my.cnf" | b".git-credentials" | b".npmrc" | b".pypirc") => {
            Some(LOGIN)
        }
        (_, b".vault-token" | b".htpasswd" | b".smbcredentials" | b"login.keyring") => Some(LOGIN),
        (b"gh", b"hosts.yml") => Some(LOGIN),
        (_, b"login data" | b"login data for account" | b"cookies" | b"web data" | b"local state") => Some(BROWSER),
        (_, b"logins.json" | b"logins-backup.json" | b"key3.db" | b"key4.db" | b"signons.sqlite") => Some(BROWSER),
        (_, b"cookies.sqlite" | b"cookies.sqlite-wal" | b"cookies-journal" | b"cookies.binarycookies") => Some(BROWSER),
        (b"shm", n) | (_, n) if n.starts_with(b"krb5cc_") => Some(KEYTAB),
        (_, n) if n.ends_with(b".keytab") => Some(KEYTAB),
        (_, b"swap.img" | b"swapfile" | b"pagefile.sys" | b"swapfile.sys" | b"hiberfil.sys") => Some(MEMORY),
        (_, n) if is_core_dump(n) => Some(MEMORY),
        (b".ssh", n) if n.starts_with(b"id") && !n.ends_with(b".pub") => Some(PRIVATE_KEY),
        (_, n) if n.starts_with(b"ssh_host_") && n.ends_with(b"_key") => Some(PRIVATE_KEY),
        (_, n) if n.ends_with(b".key") || n.ends_with(b".ppk") || n.ends_with(b".pfx") || n.ends_with(b".p12") => {
            Some(PRIVATE_KEY)
        }
        (_, n) if n.ends_with(b".pem") && Finder::new("key").find(n).is_some() => Some(PRIVATE_KEY),
        (b"private", n) if n.ends_with(b".pem") => Some(PRIVATE_KEY),
        (_, b"secring.gpg" | b"privkey.pem") => Some(PRIVATE_KEY),
        _ if within(b"private-keys-v1.d") => Some(PRIVATE_KEY),
        _ if within(b"keyrings") && !name.ends_with(b".gpg") && !name.ends_with(b".asc") => Some(LOGIN),
        _ if below("/.config/gcloud/legacy_credentials/") || below("/.aws/sso/cache/") => Some(CLOUD),
        _ if below("/.aws/cli/cache/") || below("/var/run/secrets/") || below("/run/secrets/") => Some(CLOUD),
        _ if below("/systemd/coredump/") || below("/var/crash/") => Some(MEMORY),
        _ => process_memory(&path),
    }
}

/// `core`, `core.1234`, `name.core`, as `core_pattern` writes them.
fn is_core_dump(name: &[u8]) -> bool {
    name == b"core"
        || name.ends_with(b".core")
        || name.ends_with(b".dmp")
        || name.strip_prefix(b"core.").is_some_and(|rest| rest.iter().any(u8::is_ascii_digit))
}

/// `/proc/PID/mem`, `environ` and the like, of a thread too, through another process's root too.
fn process_memory(path: &[u8]) -> Option<&'static str> {
    let mut parts = path.split(|b| *b == b'/').filter(|p| !p.is_empty()).rev();
    let is_memory = parts.next().is_some_and(is_memory_name);
    let of_process = parts.next()?.iter().all(u8::is_ascii_digit);
    (is_memory && of_process && parts.any(|p| p == b"proc")).then_some(MEMORY)
}

/// What procfs calls the memory of a process, and what lies where in it (`man 5 proc`).
fn is_memory_name(name: &[u8]) -> bool {
    matches!(name, b"mem" | b"environ" | b"maps" | b"smaps" | b"numa_maps" | b"auxv" | b"pagemap" | b"stack")
}

fn by_identity(view: &View, opened: &Opened) -> Option<&'static str> {
    // procfs may be mounted under any name.
    let on_procfs = rustix::fs::fstatfs(&opened.file).is_ok_and(|s| s.f_type == rustix::fs::PROC_SUPER_MAGIC);
    if on_procfs && is_memory_name(opened.real_path.name().as_bytes()) {
        return Some(MEMORY);
    }
    let is_it = |path: &DevicePath| view.identity(path) == Some(opened.facts.identity);
    let known = WELL_KNOWN.iter().find(|path| is_it(&DevicePath::new(**path)));
    if let Some(path) = known {
        return by_place(path.as_bytes());
    }
    homes(view).iter().flat_map(|home| HOME_PLACES.iter().map(|place| home.join(&DevicePath::new(*place)))).find_map(
        |directory| {
            let held = names_in(view, &directory).into_iter().map(|name| directory.join(&DevicePath::new(name)));
            held.filter_map(|path| Some((by_place(path.as_bytes())?, path)))
                .find(|(_, path)| is_it(path))
                .map(|(why, _)| why)
        },
    )
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

fn names_in(view: &View, directory: &DevicePath) -> Vec<Vec<u8>> {
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

    #[test]
    fn places_of_secrets() {
        for (path, why) in [
            ("/etc/shadow", PASSWORDS),
            ("/mnt/root/etc/gshadow-", PASSWORDS),
            ("/etc/ssh/ssh_host_ed25519_key", PRIVATE_KEY),
            ("/home/a/.ssh/id_rsa", PRIVATE_KEY),
            ("/etc/ssl/private/site.pem", PRIVATE_KEY),
            ("/etc/ssl/site.key", PRIVATE_KEY),
            ("/etc/krb5.keytab", KEYTAB),
            ("/home/a/.config/google-chrome/Default/Login Data", BROWSER),
            ("/home/a/.mozilla/firefox/x.default/key4.db", BROWSER),
            ("/root/.aws/credentials", CLOUD),
            ("/root/.kube/config", CLOUD),
            ("/root/.netrc", LOGIN),
            ("/root/.gnupg/private-keys-v1.d/AB.key", PRIVATE_KEY),
            ("/mnt/Windows/System32/config/SAM", HIVE),
            ("C:\\Windows\\NTDS\\ntds.dit", HIVE),
            ("/proc/77/environ", MEMORY),
            ("/proc/77/task/78/mem", MEMORY),
            ("/var/lib/systemd/coredump/core.x.0.zst", MEMORY),
            ("/swapfile", MEMORY),
        ] {
            assert_eq!(by_place(path.as_bytes()), Some(why), "{path}");
        }
    }

    #[test]
    fn places_of_no_secrets() {
        for path in [
            "/etc/passwd",
            "/home/a/.ssh/id_rsa.pub",
            "/etc/ssl/certs/ca.pem",
            "/proc/77/cmdline",
            "/proc/cmdline",
            "/home/a/.config/system",
            "/usr/bin/core-tool",
            "/etc/ssh/sshd_config",
        ] {
            assert_eq!(by_place(path.as_bytes()), None, "{path}");
        }
    }

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
