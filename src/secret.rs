//! The secret list: content that a person must agree to show, by the place of a file and by what its bytes say.
//!
//! Invariant: it errs towards secret. It decides what is shown, never what is collected.

mod sniff;

pub use sniff::SecretSniffer;

use memchr::memmem::Finder;

/// Carries why a member of a package is secret, as an extended attribute in its PAX header (`star`'s keyword, which tar
/// programs know).
pub const MARK: &str = "SCHILY.xattr.user.live-response.secret";
/// All there are.
const REASONS: &[&str] = &[PASSWORDS, PRIVATE_KEY, KEYTAB, BROWSER, CLOUD, LOGIN, HIVE, MEMORY, ARCHIVE];

pub const PASSWORDS: &str = "password hashes";
pub const PRIVATE_KEY: &str = "private key";
pub const KEYTAB: &str = "Kerberos keys";
pub const BROWSER: &str = "browser credentials";
pub const CLOUD: &str = "cloud credentials";
pub const LOGIN: &str = "stored logins";
pub const HIVE: &str = "Windows account secrets";
pub const MEMORY: &str = "process memory";
/// Within a package that a device made.
pub const ARCHIVE: &str = "an archive that nobody looked through";

/// What a mark says; one that nobody here wrote is a mark too.
pub fn by_mark(mark: &[u8]) -> &'static str {
    REASONS.iter().find(|r| r.as_bytes() == mark).copied().unwrap_or("marked when it was collected")
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
        (b"config" | b"regback" | b"repair", n) if is_account_hive(n) => Some(HIVE),
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

/// SAM, SECURITY and SYSTEM, their logs and the copies beside them.
fn is_account_hive(name: &[u8]) -> bool {
    let stem = name.split(|b| *b == b'.').next().unwrap_or(name);
    let end = name.get(stem.len()..).unwrap_or_default();
    matches!(stem, b"sam" | b"security" | b"system")
        && matches!(end, b"" | b".log" | b".log1" | b".log2" | b".sav" | b".old" | b".bak" | b".alt")
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
pub(crate) fn is_memory_name(name: &[u8]) -> bool {
    matches!(name, b"mem" | b"environ" | b"maps" | b"smaps" | b"numa_maps" | b"auxv" | b"pagemap" | b"stack")
}

#[cfg(test)]
mod tests {
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
            ("/Windows/System32/config/SECURITY.LOG1", HIVE),
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
            "/Windows/System32/config/SOFTWARE.LOG1",
            "/Windows/System32/winevt/Logs/Security.evtx",
            "/usr/bin/core-tool",
            "/etc/ssh/sshd_config",
        ] {
            assert_eq!(by_place(path.as_bytes()), None, "{path}");
        }
    }
}
