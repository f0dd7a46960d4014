//! Scripts in web roots that run what a request says.
//!
//! Invariant: a hint, not a verdict: a script that can run commands is a row, whoever wrote it.

use super::scan::{Entry, Found, Item, Scan};
use super::text::{SCRIPT, directive, has_word, is_text};
use crate::error::Result;
use crate::model::{DevicePath, Timestamp};
use memchr::memmem::find;
use std::collections::HashMap;

const ROOTS: &[&str] = &[
    "/var/www",
    "/srv/www",
    "/srv/http",
    "/usr/share/nginx/html",
    "/usr/local/apache2/htdocs",
    "/usr/local/www",
    "/opt/lampp/htdocs",
    "/usr/lib/cgi-bin",
    "/var/lib/tomcat9/webapps",
    "/var/lib/tomcat10/webapps",
];
const CONFIGURATION: &[&str] =
    &["/etc/nginx", "/etc/apache2", "/etc/httpd", "/etc/lighttpd", "/usr/local/etc/nginx", "/usr/local/nginx/conf"];
/// Bytes of a line that a row shows.
const SHOWN: usize = 400;
/// A script so much newer than all beside it was put there later.
const NEWER_SECS: i64 = 86_400;

const PHP: &[&str] = &[
    "eval(",
    "eval (",
    "assert(",
    "system(",
    "exec(",
    "passthru(",
    "popen(",
    "proc_open(",
    "pcntl_exec(",
    "create_function(",
    "call_user_func(",
    "shell_exec",
    "`$_",
    "$_get[",
    "move_uploaded_file(",
    "str_rot13(",
    "gzinflate(",
    "preg_replace(\"/.*/e",
];
/// Of these words alone many a script has one and is none.
const PHP_HARMLESS: &[&str] =
    &["curl_exec(", "->exec(", "::exec(", "mysqli_exec(", "function exec(", "function system("];
const JAVA: &[&str] = &["runtime.getruntime", "processbuilder", "defineclass", "javax.script"];
const ASP: &[&str] = &[
    "eval(",
    "eval request",
    "execute(",
    "executeglobal",
    "wscript.shell",
    "process.start",
    "processstartinfo",
    "unsafe\"",
];

pub fn shells(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let files = scan.files_below(roots(scan), 24);
    let newest = newest(scan, &files)?;
    for path in &files {
        scan.job.check()?;
        let Some(judge) = judge(path) else { continue };
        let Some(item) = scan.look(path) else { continue };
        let Some(lines) = judge(&item) else { continue };
        let shown: Vec<Vec<u8>> =
            lines.iter().map(|l| l.get(..SHOWN.min(l.len())).unwrap_or_default().to_vec()).collect();
        let late = newest.get(&path.parent()).is_some_and(|(name, late)| *late && name == path);
        let entry = Entry::of(&item).lines(&shown).note_if(late, "newer than all beside it");
        found.push(entry.user(server(scan)));
    }
    Ok(())
}

/// As whom the web server runs, where it has an account of its own.
fn server(scan: &Scan<'_>) -> Option<crate::shape::Untrusted> {
    let names = [&b"www-data"[..], b"apache", b"nginx", b"http", b"www"];
    names.iter().find_map(|name| scan.accounts.iter().find(|a| a.name == *name)).map(super::accounts::Account::shown)
}

type Judge = fn(&Item) -> Option<Vec<Vec<u8>>>;

fn judge(path: &DevicePath) -> Option<Judge> {
    let name = path.name();
    let name = name.as_bytes().to_ascii_lowercase();
    if matches!(&name[..], b".htaccess" | b".user.ini" | b"web.config") {
        return Some(settings);
    }
    let extension = name.rsplit(|b| *b == b'.').next().unwrap_or_default();
    let in_cgi = path.as_bytes().split(|b| *b == b'/').any(|part| part == b"cgi-bin" || part == b"fcgi-bin");
    match extension {
        b"php" | b"php3" | b"php4" | b"php5" | b"php7" | b"php8" | b"phtml" | b"phar" | b"pht" | b"phps" | b"inc" => {
            Some(php)
        }
        b"jsp" | b"jspx" | b"jspf" | b"jsw" => Some(java),
        b"asp" | b"aspx" | b"ashx" | b"asmx" | b"cfm" => Some(asp),
        b"cgi" | b"pl" | b"fcgi" => Some(script),
        b"py" | b"sh" | b"rb" | b"lua" => Some(if in_cgi { script } else { executable }),
        _ if in_cgi => Some(executable),
        // A picture or a text that is PHP all the same, for an include or a handler.
        b"jpg" | b"jpeg" | b"png" | b"gif" | b"ico" | b"txt" | b"html" | b"htm" | b"log" | b"bak" => Some(hidden),
        _ => None,
    }
}

fn lines_with(item: &Item, words: &[&str], but: &[&str]) -> Option<Vec<Vec<u8>>> {
    let mut lines = SCRIPT.comments(&[b"//", b"#", b"*", b"/*"]).lines(&item.text);
    lines.retain(|line| {
        let plain = but.iter().fold(line.to_ascii_lowercase(), |line, word| without(&line, word.as_bytes()));
        has_word(&plain, words)
    });
    (!lines.is_empty()).then_some(lines)
}

fn without(line: &[u8], word: &[u8]) -> Vec<u8> {
    let mut rest = line;
    let mut left = Vec::with_capacity(line.len());
    while let Some(at) = find(rest, word) {
        left.extend_from_slice(rest.get(..at).unwrap_or_default());
        rest = rest.get(at + word.len()..).unwrap_or_default();
    }
    left.extend_from_slice(rest);
    left
}

fn php(item: &Item) -> Option<Vec<Vec<u8>>> {
    lines_with(item, PHP, PHP_HARMLESS)
}

fn java(item: &Item) -> Option<Vec<Vec<u8>>> {
    lines_with(item, JAVA, &[])
}

fn asp(item: &Item) -> Option<Vec<Vec<u8>>> {
    lines_with(item, ASP, &[])
}

fn hidden(item: &Item) -> Option<Vec<Vec<u8>>> {
    find(&item.text, b"<?php").and_then(|_| php(item))
}

fn script(item: &Item) -> Option<Vec<Vec<u8>>> {
    let lines = SCRIPT.lines(if is_text(&item.text) { &item.text } else { b"" });
    (!item.text.is_empty()).then_some(lines)
}

fn executable(item: &Item) -> Option<Vec<Vec<u8>>> {
    item.is_executable().then(|| script(item)).flatten()
}

/// Settings that have other files run as scripts, or one before every page.
fn settings(item: &Item) -> Option<Vec<Vec<u8>>> {
    let words = [
        "auto_prepend_file",
        "auto_append_file",
        "addhandler",
        "sethandler",
        "addtype application/x-httpd",
        "execcgi",
        "<?php",
    ];
    let mut lines = SCRIPT.lines(&item.text);
    lines.retain(|line| has_word(line, &words));
    (!lines.is_empty()).then_some(lines)
}

/// The newest file of each directory, and whether it is much newer than the second.
fn newest(scan: &Scan<'_>, files: &[DevicePath]) -> Result<HashMap<DevicePath, (DevicePath, bool)>> {
    let mut times: HashMap<DevicePath, Vec<(Timestamp, &DevicePath)>> = HashMap::new();
    for path in files {
        scan.job.check()?;
        if let Ok(opened) = scan.view.open(path, super::super::view::How::Handle) {
            times.entry(path.parent()).or_default().push((opened.facts.modified, path));
        }
    }
    Ok(times
        .into_iter()
        .filter_map(|(folder, mut files)| {
            files.sort_unstable();
            let (last, path) = files.pop()?;
            let late = files.last().is_some_and(|(second, _)| last.as_secs() - second.as_secs() > NEWER_SECS);
            Some((folder, (path.clone(), late)))
        })
        .collect())
}

fn roots(scan: &Scan<'_>) -> Vec<Vec<u8>> {
    let mut roots: Vec<Vec<u8>> = ROOTS.iter().map(|r| r.as_bytes().to_vec()).collect();
    for path in scan.files_below(CONFIGURATION, 4) {
        for line in SCRIPT.lines(&scan.text_of(&path).unwrap_or_default()) {
            let (word, value) = directive(&line);
            if matches!(&word[..], b"root" | b"documentroot" | b"server.document-root") {
                let value: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'"' | b'\'' | b';')).collect();
                let value = value.trim_ascii().to_vec();
                // The whole file system, or a part of it that no one serves, is no web root.
                if value.first() == Some(&b'/')
                    && value.iter().filter(|b| **b == b'/').count() > 1
                    && !value.contains(&b'$')
                {
                    roots.push(value);
                }
            }
        }
    }
    roots.extend(super::running::served(scan));
    roots.sort_unstable();
    roots.dedup();
    // What lies below another is walked with it.
    let all = roots.clone();
    roots.retain(|r| !all.iter().any(|other| other != r && r.starts_with(&[&other[..], b"/"].concat())));
    roots
}
