//! Libraries that sign people in or name them: PAM and NSS.
//!
//! Invariant: what `pam-auth-update` or a package's script wrote is vouched for only where every line of it comes from
//! files of packages.

use super::scan::{Entry, Found, Item, Scan, paths};
use super::text::{SCRIPT, has_word, only};
use crate::error::Result;
use crate::model::DevicePath;
use rustix::fs::FileType;
use std::collections::HashSet;

const LIBRARIES: &[&str] = &["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/lib32", "/usr/lib32", "/usr/local/lib"];
/// NSS services that are in the C library itself.
const BUILT_IN: &[&[u8]] = &[b"files", b"dns", b"compat", b"db", b"hesiod", b"nis", b"nisplus"];

/// Library folders, and those below them that are named for an architecture.
fn library_folders(scan: &Scan<'_>) -> Vec<DevicePath> {
    let mut folders = paths(LIBRARIES);
    for top in ["/usr/lib", "/lib"] {
        let below = scan.dir(top).into_iter().filter(|(path, kind)| {
            *kind == FileType::Directory && path.name().as_bytes().windows(7).any(|w| w == b"-linux-")
        });
        folders.extend(below.map(|(path, _)| path));
    }
    folders
}

fn is_library(path: &DevicePath) -> bool {
    let name = path.name();
    name.as_bytes().windows(3).any(|w| w == b".so")
}

pub fn pam(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let profiles = profiles(scan);
    for path in paths(&["/etc/pam.conf"]).into_iter().chain(scan.files_in(["/etc/pam.d", "/usr/lib/pam.d"])) {
        scan.job.check()?;
        let Some(mut item) = scan.look(&path) else { continue };
        let rules = only(|_| true).lines(&item.text);
        if rules.is_empty() {
            continue;
        }
        if item.packaged == Some(false) && is_generated(&path, &rules, &profiles) {
            item.packaged = Some(true);
            item.notes.push("made by pam-auth-update from files of packages".to_owned());
        }
        let Some(lines) = scan.lines(&item, &SCRIPT) else { continue };
        let mut entry = Entry::of(&item).lines(&lines).root();
        for word in ["pam_exec", "pam_script", "pam_permit"] {
            let suspect = word != "pam_permit" || item.packaged == Some(false);
            let has = rules.iter().any(|l| has_word(l, &[word]));
            entry = entry.note_if(has && suspect, word);
        }
        found.push(entry.note_if(rules.iter().any(|l| has_foreign_module(l)), "a module outside the module folder"));
    }
    let security = library_folders(scan).into_iter().map(|f| f.join(&DevicePath::new("security")));
    libraries(scan, found, scan.files_in(security.map(|f| f.as_bytes().to_vec())))
}

fn libraries(scan: &Scan<'_>, found: &mut Found, files: Vec<DevicePath>) -> Result<()> {
    let mut seen = HashSet::new();
    for path in files.into_iter().filter(is_library) {
        scan.job.check()?;
        if let Some(item) = scan.look_at_program(&path).filter(|i| seen.insert(i.facts.identity)) {
            found.push(Entry::of(&item).root());
        }
    }
    Ok(())
}

/// A module by a path of its own that is no library folder's.
fn has_foreign_module(rule: &[u8]) -> bool {
    rule.split(|b| b.is_ascii_whitespace()).any(|word| {
        word.first() == Some(&b'/')
            && word.ends_with(b".so")
            && !["/lib", "/usr/lib"].iter().any(|f| word.starts_with(f.as_bytes()))
    })
}

/// Every rule that packages' profiles and templates of `pam-auth-update` have, and the one that it adds itself.
fn profiles(scan: &Scan<'_>) -> HashSet<Vec<u8>> {
    let mut rules: HashSet<Vec<u8>> = [b"[default=end] pam_permit.so".to_vec()].into();
    for path in scan.files_in(["/usr/share/pam-configs", "/usr/share/pam"]) {
        let Some(item) = scan.look(&path).filter(|i| i.packaged == Some(true)) else { continue };
        rules.extend(SCRIPT.lines(&item.text).iter().map(|line| rule(line)));
    }
    rules
}

fn is_generated(path: &DevicePath, rules: &[Vec<u8>], profiles: &HashSet<Vec<u8>>) -> bool {
    let common = path.name().as_bytes().starts_with(b"common-");
    common && rules.iter().all(|line| profiles.contains(&rule(line)))
}

/// A rule without its kind, with single blanks; how many rules it jumps over is the generator's to count.
fn rule(line: &[u8]) -> Vec<u8> {
    let words = line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
    let kinds = [&b"auth"[..], b"account", b"password", b"session"];
    let words = words.enumerate().filter(|(at, word)| *at > 0 || !kinds.contains(word)).map(|(_, word)| word);
    let counted = words.map(|word| match word.iter().position(|b| *b == b'=') {
        Some(at) if word.get(at + 1).is_some_and(u8::is_ascii_digit) && word.first() == Some(&b'[') => {
            let after = word.iter().skip(at + 1).skip_while(|b| b.is_ascii_digit()).copied();
            word.iter().take(at + 1).copied().chain(*b"end").chain(after).collect::<Vec<u8>>()
        }
        _ => word.to_vec(),
    });
    counted.collect::<Vec<_>>().join(&b' ')
}

pub fn nss(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let folders = library_folders(scan);
    let files: Vec<_> = scan
        .files_in(folders.iter().map(|f| f.as_bytes()))
        .into_iter()
        .filter(|p| p.name().as_bytes().starts_with(b"libnss_") && is_library(p))
        .collect();
    if let Some(mut item) = scan.look(&DevicePath::new("/etc/nsswitch.conf")) {
        let lines = SCRIPT.lines(&item.text);
        if item.packaged == Some(false) && lines.iter().all(|l| is_known(scan, l, &files)) {
            item.packaged = Some(true);
            item.notes.push("all its services are of packages".to_owned());
        }
        if !lines.is_empty() {
            found.push(Entry::of(&item).lines(&lines).root());
        }
    }
    libraries(scan, found, files)
}

/// Whether a package has every service of a line.
fn is_known(scan: &Scan<'_>, line: &[u8], libraries: &[DevicePath]) -> bool {
    let services = line.splitn(2, |b| *b == b':').nth(1).unwrap_or_default();
    services.split(|b| b.is_ascii_whitespace()).filter(|s| !s.is_empty() && s.first() != Some(&b'[')).all(|service| {
        let name = [b"libnss_", service, b".so"].concat();
        let library = || libraries.iter().find(|p| p.name().as_bytes().starts_with(&name));
        let is_packaged = |item: Item| item.packaged == Some(true);
        BUILT_IN.contains(&service) || library().and_then(|p| scan.look_at_program(p)).is_some_and(is_packaged)
    })
}
