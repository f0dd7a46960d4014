//! Ways in by SSH: keys, the server's configuration, and what clients run (`man 5 sshd_config`, `man 8 sshd`).
//!
//! Invariant: of a private key only that it is there; of a public one its kind, its end and its comment.

use super::accounts::Account;
use super::scan::{Entry, Found, Item, Scan, paths, root};
use super::text::{SCRIPT, directive, only};
use crate::error::Result;
use crate::model::DevicePath;
use memchr::memmem::find;
use std::collections::HashSet;

/// Keys of one file that are rows.
const KEYS: usize = 1_000;
const KEY_TYPES: &[&[u8]] = &[b"ssh-", b"ecdsa-", b"sk-ssh-", b"sk-ecdsa-"];

const SERVER: &[&[u8]] = &[
    b"authorizedkeyscommand",
    b"authorizedkeysfile",
    b"authorizedprincipalscommand",
    b"authorizedprincipalsfile",
    b"forcecommand",
    b"include",
    b"modulifile",
    b"pamservicename",
    b"permitemptypasswords",
    b"permitrootlogin",
    b"permituserenvironment",
    b"revokedkeys",
    b"securitykeyprovider",
    b"setenv",
    b"subsystem",
    b"trustedusercakeys",
    b"xauthlocation",
];
const CLIENT: &[&[u8]] = &[
    b"identityagent",
    b"knownhostscommand",
    b"localcommand",
    b"permitlocalcommand",
    b"pkcs11provider",
    b"proxycommand",
    b"securitykeyprovider",
    b"xauthlocation",
];

pub fn authorized_keys(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let patterns = key_files(scan);
    let mut seen = HashSet::new();
    for account in &scan.accounts {
        for path in patterns.iter().filter_map(|pattern| expand(pattern, account)) {
            scan.job.check()?;
            if let Some(item) = scan.look(&path).filter(|item| seen.insert(item.facts.identity)) {
                keys(found, &item, Some(account));
            }
        }
    }
    for home in scan.homes.iter().filter(|home| home.user.is_none()) {
        for name in [".ssh/authorized_keys", ".ssh/authorized_keys2"] {
            if let Some(item) = scan.look(&home.path.join(&DevicePath::new(name))) {
                keys(found, &item, None);
            }
        }
    }
    Ok(())
}

fn keys(found: &mut Found, item: &Item, account: Option<&Account>) {
    for line in only(|_| true).lines(&item.text).iter().take(KEYS) {
        let Some([options, kind, blob, comment]) = key(line) else { continue };
        let end = blob.get(blob.len().saturating_sub(16)..).unwrap_or_default();
        let shown = [kind, b" \xe2\x80\xa6", end].concat();
        let command = if options.is_empty() { shown } else { [options, b" ", &shown].concat() };
        let name = if comment.is_empty() { kind } else { comment };
        let sleeps = account.is_some_and(|a| !a.has_shell());
        let mut entry = Entry::of(item).name(name).command(command).user(account.map(Account::shown));
        entry = entry.note_if(find(options, b"command=").is_some(), "runs a command of its own");
        found.push(entry.note_if(sleeps, "its account has no login shell"));
    }
}

/// Options, type, key and comment of a line; `man 8 sshd`, "AUTHORIZED_KEYS FILE FORMAT".
fn key(line: &[u8]) -> Option<[&[u8]; 4]> {
    let mut quoted = false;
    let starts = |at: usize| {
        let rest = line.get(at..).unwrap_or_default();
        KEY_TYPES.iter().any(|kind| rest.starts_with(kind))
    };
    let mut at = Some(0);
    for (i, byte) in line.iter().enumerate() {
        match byte {
            b'"' if i == 0 || line.get(i - 1) != Some(&b'\\') => quoted = !quoted,
            b' ' | b'\t' if !quoted => at = Some(i + 1),
            _ => {}
        }
        if at == Some(i) && !quoted && starts(i) {
            let (options, rest) = line.split_at(i);
            let mut words = rest.splitn(3, |b| b.is_ascii_whitespace());
            let (kind, blob) = (words.next()?, words.next()?);
            return Some([options.trim_ascii(), kind, blob, words.next().unwrap_or_default().trim_ascii()]);
        }
    }
    None
}

/// The patterns of `AuthorizedKeysFile`, the usual ones always among them.
fn key_files(scan: &Scan<'_>) -> Vec<Vec<u8>> {
    let mut patterns = vec![b".ssh/authorized_keys".to_vec(), b".ssh/authorized_keys2".to_vec()];
    for path in server_files(scan) {
        for line in SCRIPT.lines(&scan.text_of(&path).unwrap_or_default()) {
            let (word, rest) = directive(&line);
            if word == b"authorizedkeysfile" {
                let named = rest.split(|b| b.is_ascii_whitespace()).map(|p| p.trim_ascii().to_vec());
                patterns.extend(named.filter(|p| !p.is_empty() && p != b"none"));
            }
        }
    }
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

fn expand(pattern: &[u8], account: &Account) -> Option<DevicePath> {
    let mut path = Vec::new();
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => match bytes.next()? {
                b'h' => path.extend_from_slice(&account.home),
                b'u' => path.extend_from_slice(&account.name),
                b'%' => path.push(b'%'),
                _ => return None,
            },
            b'"' => {}
            byte => path.push(*byte),
        }
    }
    if path.first() != Some(&b'/') {
        path = [&account.home[..], b"/", &path].concat();
    }
    (path.first() == Some(&b'/')).then(|| DevicePath::new(path))
}

fn server_files(scan: &Scan<'_>) -> Vec<DevicePath> {
    let mut files = paths(&["/etc/ssh/sshd_config"]);
    files.extend(scan.files_in(["/etc/ssh/sshd_config.d"]));
    files
}

pub fn server(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let style = only(|line| SERVER.iter().any(|known| *known == directive(line).0));
    found.files(scan, server_files(scan), Some(&root()), &style)
}

pub fn client(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    found.files(scan, paths(&["/etc/ssh/sshrc"]), Some(&root()), &SCRIPT)?;
    found.home_files(scan, &[".ssh/rc"], &SCRIPT)?;
    let style = only(|line| {
        let (word, rest) = directive(line);
        CLIENT.contains(&&word[..]) || (word == b"match" && find(rest, b"exec").is_some())
    });
    let system = paths(&["/etc/ssh/ssh_config"]).into_iter().chain(scan.files_in(["/etc/ssh/ssh_config.d"]));
    found.files(scan, system, Some(&root()), &style)?;
    found.home_files(scan, &[".ssh/config"], &style)?;
    found.home_files(scan, &[".ssh/environment"], &only(|_| true))
}

/// Private keys in homes: what another host is reached with.
pub fn private_keys(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    for home in &scan.homes {
        let own = scan.files_in([home.path.as_bytes()]).into_iter().filter(|path| {
            let name = path.name();
            let name = name.as_bytes();
            name.starts_with(b"id_") || [&b".pem"[..], b".key", b".ppk"].iter().any(|e| name.ends_with(e))
        });
        let ssh = scan.files_in([home.path.join(&DevicePath::new(".ssh")).as_bytes()]);
        for path in own.chain(ssh) {
            scan.job.check()?;
            // A key is a secret, so what is looked at has no text.
            let Some(protection) = scan.unshown(&path).and_then(|text| protection(&text)) else { continue };
            let Some(item) = scan.look(&path) else { continue };
            let public = DevicePath::new([path.as_bytes(), b".pub"].concat());
            let has_public = scan.view.identity(&public).is_some();
            let entry = Entry::of(&item).user(home.user.clone()).note(format!("private key, {protection}"));
            found.push(entry.note_if(has_public, "its public key lies beside it"));
        }
    }
    Ok(())
}

/// Whether a passphrase guards the key; `None` for what is no private key.
fn protection(text: &[u8]) -> Option<&'static str> {
    let head = text.get(..8_192.min(text.len())).unwrap_or_default();
    if find(head, b"PuTTY-User-Key-File").is_some() {
        return Some(if find(head, b"Encryption: none").is_some() { "without a passphrase" } else { "encrypted" });
    }
    let begin = find(head, b"-----BEGIN ")?;
    let label = head.get(begin..)?.split(|b| *b == b'\n').next()?;
    find(label, b"PRIVATE KEY")?;
    let encrypted = find(label, b"ENCRYPTED").is_some() || find(head, b"ENCRYPTED").is_some();
    // In OpenSSH's own format the cipher's name is near the start: "none", base64.
    let open = find(head, b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmU").is_some();
    let own_format = find(label, b"OPENSSH").is_some();
    Some(if encrypted || (own_format && !open) { "encrypted" } else { "without a passphrase" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_behind_options_with_spaces_and_quotes() {
        let line = br#"command="echo \"ssh-rsa x\" y",no-pty ssh-ed25519 AAAAC3 me@host x"#;
        let [options, kind, blob, comment] = key(line).unwrap();
        assert_eq!((kind, blob, comment), (&b"ssh-ed25519"[..], &b"AAAAC3"[..], &b"me@host x"[..]));
        assert!(options.ends_with(b",no-pty"));
        for none in [&b""[..], b"ssh-rsa", b"\"ssh-rsa A", b"x y z"] {
            assert_eq!(key(none), None);
        }
    }

    #[test]
    fn patterns_are_expanded_or_refused() {
        let account = Account {
            name: b"eve".to_vec(),
            password: Vec::new(),
            uid: 1,
            home: b"/home/eve".to_vec(),
            shell: Vec::new(),
        };
        let path = |pattern: &[u8]| expand(pattern, &account).map(|p| p.to_string());
        assert_eq!(path(b".ssh/k").as_deref(), Some("/home/eve/.ssh/k"));
        assert_eq!(path(b"/k/%u%%").as_deref(), Some("/k/eve%"));
        assert_eq!((path(b"/k/%"), path(b"/k/%x")), (None, None));
    }

    #[test]
    fn a_key_without_a_passphrase_is_told_from_one_with() {
        let own = |rest: &str| format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{rest}");
        assert_eq!(protection(own("b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAA").as_bytes()), Some("without a passphrase"));
        assert_eq!(protection(own("b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1").as_bytes()), Some("encrypted"));
        assert_eq!(protection(b"-----BEGIN CERTIFICATE-----\nPRIVATE KEY"), None);
        assert_eq!(protection(&[b'-'; 100]), None);
    }
}
