//! Git: hooks, and configuration that has something run (`man 5 githooks`, `man 1 git-config`).

use super::scan::{Entry, Found, Scan, paths};
use super::sweep::Kind;
use super::text::{SCRIPT, Style, directive};
use crate::error::Result;
use crate::model::DevicePath;
use crate::shape::Untrusted;

const CONFIG: Style = Style { comments: &[b"#", b";"], keep: Some(runs) };
/// Settings whose value is a command, by the last part of their name.
const COMMANDS: &[&[u8]] = &[
    b"pager",
    b"hookspath",
    b"fsmonitor",
    b"sshcommand",
    b"editor",
    b"askpass",
    b"gitproxy",
    b"textconv",
    b"driver",
    b"external",
    b"clean",
    b"smudge",
    b"process",
    b"program",
    b"cmd",
    b"tool",
    b"uploadpack",
    b"receivepack",
    b"templatedir",
    b"worktree",
    b"helper",
    b"difffilter",
    b"sendmail",
];

fn runs(line: &[u8]) -> bool {
    let (name, value) = directive(line);
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    if value.starts_with(b"!") {
        return true;
    }
    let plain = matches!(value, b"" | b"true" | b"false" | b"cat" | b"less");
    let builtin = name == b"helper" && value.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-');
    COMMANDS.contains(&&name[..]) && !plain && !builtin
}

pub fn git(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    found.files(scan, paths(&["/etc/gitconfig", "/usr/local/etc/gitconfig"]), None, &CONFIG)?;
    found.home_files(scan, &[".gitconfig", ".config/git/config"], &CONFIG)?;
    let templates = scan.files_in(["/usr/share/git-core/templates/hooks"]);
    hooks(scan, found, templates, None)?;
    for (path, kind) in &scan.sweep()?.hits {
        scan.job.check()?;
        if !matches!(kind, Kind::Git) {
            continue;
        }
        let user = owner(scan, path);
        found.files(scan, [path.join(&DevicePath::new("config"))], user.as_ref(), &CONFIG)?;
        hooks(scan, found, scan.files_in([path.join(&DevicePath::new("hooks")).as_bytes()]), user.as_ref())?;
    }
    Ok(())
}

fn hooks(scan: &Scan<'_>, found: &mut Found, files: Vec<DevicePath>, user: Option<&Untrusted>) -> Result<()> {
    for path in files.into_iter().filter(|p| !p.name().as_bytes().ends_with(b".sample")) {
        scan.job.check()?;
        let Some(item) = scan.look(&path) else { continue };
        let Some(lines) = scan.lines(&item, &SCRIPT) else { continue };
        let sleeps = !item.is_executable();
        found.push(Entry::of(&item).lines(&lines).user(user.cloned()).note_if(sleeps, "not executable: does not run"));
    }
    Ok(())
}

/// Who owns the place: most likely who works there.
fn owner(scan: &Scan<'_>, path: &DevicePath) -> Option<Untrusted> {
    let uid = scan.view.open(path, super::super::view::How::Handle).ok()?.facts.uid;
    Some(scan.accounts.iter().find(|a| a.uid == uid)?.shown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_runs_is_told_from_one_that_does_not() {
        for line in [
            "fsmonitor = /tmp/x",
            "x = !sh -c id",
            "sshCommand=ssh -o ProxyCommand=x",
            "helper = !f() { id; }",
            "helper = /tmp/x",
        ] {
            assert!(runs(line.as_bytes()), "{line}");
        }
        for line in ["fsmonitor = true", "name = x", "helper = store", "[core]", "", "pager ="] {
            assert!(!runs(line.as_bytes()), "{line}");
        }
    }
}
