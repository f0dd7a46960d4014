//! Scripts: lines that fetch and run, join a shell to the network, or run what they decode.

use super::Seen;
use memchr::memmem;

/// Of a file that are looked at.
const LOOKED_AT: usize = 1 << 20;
/// Of a line.
const LINE: usize = 64 * 1024;
/// A run of base64 longer than this is a file in disguise.
const BLOB: usize = 2_000;

pub(super) fn is_text(head: &[u8]) -> bool {
    let start = head.get(..8_192.min(head.len())).unwrap_or_default();
    !start.is_empty() && !start.contains(&0)
}

/// Whether it is a script at all; of other text there is no opinion.
pub(super) fn look(head: &[u8], seen: &mut Seen) -> bool {
    let text = head.get(..LOOKED_AT.min(head.len())).unwrap_or_default();
    let language = language(text);
    let before = seen.findings.len();
    for line in text.split(|b| matches!(b, b'\n' | b'\r')) {
        let line = line.get(..line.len().min(LINE)).unwrap_or_default().trim_ascii();
        if line.is_empty() || is_comment(line, language) {
            continue;
        }
        let lower = line.to_ascii_lowercase();
        fetches_and_runs(&lower, seen);
        decodes_and_runs(&lower, seen);
        joins_a_shell(&lower, seen);
        if longest_base64(line) > BLOB && language.is_some() {
            seen.odd(format!("a run of more than {BLOB} base64 characters"));
        }
    }
    language.is_some() || seen.findings.len() > before
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    /// Comments begin with a hash.
    Hash,
    Php,
}

fn language(text: &[u8]) -> Option<Language> {
    let start = text.get(..4_096.min(text.len())).unwrap_or_default();
    if memmem::find(start, b"<?php").is_some() || start.starts_with(b"<?") && !start.starts_with(b"<?xml") {
        return Some(Language::Php);
    }
    start.starts_with(b"#!").then_some(Language::Hash)
}

fn is_comment(line: &[u8], language: Option<Language>) -> bool {
    match language {
        Some(Language::Hash) | None => line.starts_with(b"#"),
        Some(Language::Php) => line.starts_with(b"//") || line.starts_with(b"*") || line.starts_with(b"#"),
    }
}

fn has(line: &[u8], part: &str) -> bool {
    memmem::find(line, part.as_bytes()).is_some()
}

/// What follows the first of these words, where one stands.
fn after<'a>(line: &'a [u8], words: &[&str]) -> Option<&'a [u8]> {
    words.iter().find_map(|word| {
        let at = memmem::find(line, word.as_bytes())?;
        let begins = at == 0 || line.get(at - 1).is_some_and(|b| !b.is_ascii_alphanumeric() && *b != b'_');
        begins.then(|| line.get(at + word.len()..)).flatten()
    })
}

/// Whether something is piped into an interpreter.
fn piped_into_shell(rest: &[u8]) -> bool {
    memchr::memchr_iter(b'|', rest).any(|at| {
        let mut words = rest
            .get(at + 1..)
            .unwrap_or_default()
            .split(|b| b.is_ascii_whitespace() || matches!(b, b';' | b')' | b'"' | b'\'' | b'`' | b'|' | b'&'))
            .filter(|w| !w.is_empty())
            .skip_while(|w| matches!(*w, b"sudo" | b"nohup" | b"env" | b"exec") || w.starts_with(b"-"));
        let program = words.next().unwrap_or_default();
        let name = program.rsplit(|b| *b == b'/').next().unwrap_or_default();
        matches!(
            name,
            b"sh" | b"bash" | b"dash" | b"zsh" | b"ksh" | b"python" | b"python3" | b"perl" | b"php" | b"ruby"
        )
    })
}

fn fetches_and_runs(line: &[u8], seen: &mut Seen) {
    let fetches = after(line, &["curl ", "wget ", "fetch ", "lwp-download "]);
    if fetches.is_some_and(piped_into_shell) {
        seen.odd("fetches something and runs it at once");
    }
    let substituted = ["sh <(curl", "sh <(wget", "$(curl", "$(wget", "`curl", "`wget"].iter().any(|p| has(line, p));
    if substituted && (after(line, &["eval ", "sh -c", "sh <(", "python -c"]).is_some() || has(line, "sh <(")) {
        seen.odd("fetches something and runs it at once");
    }
    let temporary = ["/tmp/", "/dev/shm/"].iter().any(|p| has(line, p));
    if fetches.is_some() && temporary && has(line, "chmod ") {
        seen.odd("fetches a program to a place for temporary files");
    }
    let invokes = has(line, "invoke-expression") || after(line, &["iex"]).is_some();
    if invokes && (has(line, "downloadstring") || has(line, "invoke-webrequest")) {
        seen.odd("fetches something and runs it at once");
    }
}

fn decodes_and_runs(line: &[u8], seen: &mut Seen) {
    let decodes = ["base64 -d", "base64 --decode", "base64 -di", "openssl base64 -d", "xxd -r", "openssl enc -d"];
    if let Some(rest) = after(line, &decodes)
        && piped_into_shell(rest)
    {
        seen.odd("runs what it decodes");
    }
    let evals =
        ["exec(base64.", "exec(zlib.", "exec(marshal.", "eval(base64_decode(", "eval(gzinflate(", "eval(str_rot13("];
    let evals_more = ["assert(base64_decode(", "exec(__import__('base64')", "eval(atob(", "eval(unescape("];
    if evals.iter().chain(&evals_more).any(|e| has(line, e)) {
        seen.odd("runs what it decodes");
    }
    let encoded = has(line, "powershell") && [" -enc ", " -encodedcommand ", " -ec "].iter().any(|e| has(line, e));
    if encoded || (has(line, "frombase64string") && (has(line, "iex") || has(line, "invoke-expression"))) {
        seen.odd("runs what it decodes");
    }
    for request in ["$_post[", "$_get[", "$_request[", "$_cookie["] {
        let runs = ["eval(", "system(", "shell_exec(", "passthru(", "assert(", "popen("];
        if runs.iter().any(|run| has(line, &format!("{run}{request}")) || has(line, &format!("{run}@{request}"))) {
            seen.odd("runs what a request sends");
        }
    }
}

fn joins_a_shell(line: &[u8], seen: &mut Seen) {
    let device = has(line, "/dev/tcp/") || has(line, "/dev/udp/");
    if device && (has(line, "sh -i") || has(line, "exec ") || has(line, "<&") || has(line, ">&")) {
        seen.odd("joins a shell to a network connection");
    }
    let netcat = after(line, &["nc ", "ncat ", "netcat "]);
    if netcat.is_some_and(|rest| [" -e /bin/", "-e /bin/", " -e sh", " -c /bin/", "-c sh"].iter().any(|e| has(rest, e)))
    {
        seen.odd("joins a shell to a network connection");
    }
    if has(line, "os.dup2(") && has(line, "socket") && has(line, "connect(") {
        seen.odd("joins a shell to a network connection");
    }
}

fn longest_base64(line: &[u8]) -> usize {
    line.split(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='))).map(<[u8]>::len).max().unwrap_or(0)
}
