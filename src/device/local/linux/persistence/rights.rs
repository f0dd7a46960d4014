//! Rules that hand out rights: sudo and polkit (`man 5 sudoers`, `man 8 polkit`).

use super::scan::{Entry, Found, Scan, paths, root};
use super::text::{SCRIPT, Style, has_word, only};
use crate::error::Result;
use memchr::memmem::find;

const SUDOERS: Style = Style { comments: &[], keep: Some(is_rule) };

fn is_rule(line: &[u8]) -> bool {
    let comment =
        line.first() == Some(&b'#') && !line.get(1).is_some_and(u8::is_ascii_digit) && !line.starts_with(b"#include");
    let setting = line.starts_with(b"Defaults");
    !comment
        && (!setting
            || has_word(
                line,
                &[
                    "!authenticate",
                    "env_keep",
                    "env_file",
                    "!env_reset",
                    "secure_path",
                    "mailerpath",
                    "askpass",
                    "!use_pty",
                    "editor",
                    "timestamp_timeout",
                ],
            ))
}

pub fn sudo(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let main = paths(&["/etc/sudoers", "/usr/local/etc/sudoers"]).into_iter().map(|p| (p, false));
    let folder = scan.files_in(["/etc/sudoers.d"]).into_iter().map(|p| (p, true));
    for (path, included) in main.chain(folder) {
        scan.job.check()?;
        let Some(item) = scan.look(&path) else { continue };
        let Some(lines) = scan.lines(&item, &SUDOERS) else { continue };
        let name = path.name();
        let skipped = included && (name.as_bytes().contains(&b'.') || name.as_bytes().ends_with(b"~"));
        let mut entry = Entry::of(&item).lines(&lines).root();
        for word in ["NOPASSWD", "!authenticate", "LD_PRELOAD", "LD_LIBRARY_PATH"] {
            entry = entry.note_if(lines.iter().any(|l| find(l, word.as_bytes()).is_some()), word);
        }
        found.push(entry.note_if(skipped, "sudo skips a file of this name"));
    }
    found.files(
        scan,
        paths(&["/etc/sudo.conf"]),
        Some(&root()),
        &only(|l| l.starts_with(b"Plugin") || l.starts_with(b"Path")),
    )
}

pub fn polkit(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let rules = [
        "/etc/polkit-1/rules.d",
        "/run/polkit-1/rules.d",
        "/usr/local/share/polkit-1/rules.d",
        "/usr/share/polkit-1/rules.d",
    ];
    let local = ["/etc/polkit-1/localauthority", "/var/lib/polkit-1/localauthority"];
    let script = SCRIPT.comments(&[b"//", b"/*", b"*"]);
    let rules = scan.files_in(rules).into_iter().filter(|p| p.name().as_bytes().ends_with(b".rules"));
    let local = scan.files_below(local, 4).into_iter().filter(|p| p.name().as_bytes().ends_with(b".pkla"));
    let actions = scan.files_in(["/usr/share/polkit-1/actions", "/etc/polkit-1/actions"]);
    let all = rules.map(|p| (p, script)).chain(local.map(|p| (p, SCRIPT)));
    for (path, style) in all.chain(actions.into_iter().map(|p| (p, only(gives_without_asking)))) {
        scan.job.check()?;
        let Some(item) = scan.look(&path) else { continue };
        let Some(lines) = scan.lines(&item, &style) else { continue };
        let yes = find(&item.text, b"polkit.Result.YES").is_some() || lines.iter().any(|l| gives_without_asking(l));
        found.push(Entry::of(&item).lines(&lines).root().note_if(yes, "says yes without asking"));
    }
    Ok(())
}

/// A line of a `.pkla`, or of an action's defaults, that lets anyone.
fn gives_without_asking(line: &[u8]) -> bool {
    let line = line.to_ascii_lowercase();
    let pkla = line.starts_with(b"result") && line.trim_ascii_end().ends_with(b"=yes");
    pkla || find(&line, b"<allow_any>yes").is_some()
}
