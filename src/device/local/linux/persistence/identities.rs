//! Accounts that give a way in: root's doubles, new ones, sleeping ones that were woken (`man 5 passwd`, `man 5 shadow`).
//!
//! Invariant: no hash of a password is ever told, only whether there is one.

use super::accounts::Account;
use super::scan::{Entry, Found, Scan, paths};
use super::text::only;
use crate::error::Result;
use crate::model::{DevicePath, Timestamp};
use std::collections::HashMap;

const DAY: i64 = 86_400;
/// Members of these may become root, or as good as.
const POWERFUL: &[&[u8]] = &[b"root", b"sudo", b"wheel", b"admin", b"docker", b"lxd", b"disk", b"shadow", b"adm"];

/// What `shadow` says of a password, without it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Password {
    None,
    Empty,
    Locked,
    Hash,
}

impl Password {
    fn of(field: &[u8]) -> Password {
        match field {
            b"" => Password::Empty,
            b"x" => Password::None,
            field if field.len() > 8 && !matches!(field.first(), Some(b'!' | b'*')) => Password::Hash,
            _ => Password::Locked,
        }
    }
}

struct Shadow {
    password: Password,
    /// Days since 1970.
    changed: Option<i64>,
}

fn shadow(scan: &Scan<'_>) -> HashMap<Vec<u8>, Shadow> {
    let mut entries = HashMap::new();
    for file in ["/etc/shadow", "/var/lib/extrausers/shadow"] {
        for line in scan.text(file).unwrap_or_default().split(|b| *b == b'\n') {
            let mut fields = line.split(|b| *b == b':');
            let (Some(name), Some(password)) = (fields.next().filter(|n| !n.is_empty()), fields.next()) else {
                continue;
            };
            let changed = fields.next().and_then(|f| std::str::from_utf8(f).ok()?.parse().ok());
            entries.entry(name.to_vec()).or_insert(Shadow { password: Password::of(password), changed });
        }
    }
    entries
}

/// The groups that make an account powerful.
fn powers(scan: &Scan<'_>, name: &[u8]) -> Vec<String> {
    let text = scan.text("/etc/group").unwrap_or_default();
    let groups = text.split(|b| *b == b'\n').filter_map(|line| {
        let mut fields = line.split(|b| *b == b':');
        let (group, members) = (fields.next()?, fields.nth(2)?);
        (POWERFUL.contains(&group) && members.split(|b| *b == b',').any(|m| m.trim_ascii() == name)).then_some(group)
    });
    groups.map(|g| String::from_utf8_lossy(g).into_owned()).collect()
}

fn row(scan: &Scan<'_>, account: &Account) -> Entry {
    let location = DevicePath::new("/etc/passwd");
    let facts = scan.view.open(&location, super::super::view::How::Handle).ok().map(|o| o.facts);
    let mut entry = Entry::at(location).name(&account.name).user(Some(account.shown())).command(&account.shell);
    entry = entry.modified(facts.map(|f| f.modified));
    if let Some(facts) = facts {
        entry = super::scan::traces(&facts, true).into_iter().fold(entry, Entry::note);
    }
    let groups = powers(scan, &account.name);
    if groups.is_empty() { entry } else { entry.note(format!("in the groups {}", groups.join(", "))) }
}

fn changed(shadow: Option<&Shadow>) -> Option<String> {
    let day = shadow?.changed.filter(|d| (1..1_000_000).contains(d))?;
    let text = Timestamp::from_unix(day * DAY, 0).to_string();
    Some(format!("password last changed {}", text.get(..10)?))
}

/// Accounts with root's uid beside root, and others that share one.
pub fn uid_0(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let mut first: HashMap<u32, &Account> = HashMap::new();
    for account in &scan.accounts {
        scan.job.check()?;
        let root = account.uid == 0 && account.name != b"root";
        match first.get(&account.uid) {
            Some(other) if other.name != account.name => {
                let note = format!("shares uid {} with {}", account.uid, String::from_utf8_lossy(&other.name));
                found.push(row(scan, account).note(note));
            }
            _ if root => found.push(row(scan, account).note("uid 0")),
            _ => {}
        }
        first.entry(account.uid).or_insert(account);
    }
    Ok(())
}

/// Accounts of persons that can sign in.
pub fn added(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let shadow = shadow(scan);
    for account in scan.accounts.iter().filter(|a| a.uid != 0 && a.is_person() && a.has_shell()) {
        scan.job.check()?;
        let entry = shadow.get(&account.name);
        let note = match entry.map(|e| e.password) {
            Some(Password::Hash) => "signs in with a password",
            Some(Password::Empty) => "signs in without a password",
            Some(_) => "has no password",
            None => "its password could not be seen",
        };
        let row = row(scan, account).note(note);
        found.push(changed(entry).into_iter().fold(row, Entry::note));
    }
    Ok(())
}

/// Accounts that ought to sleep and can be used: of the system with a shell or a password, anyone's with an empty one
/// or one in `passwd` itself.
pub fn woken(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let shadow = shadow(scan);
    for account in &scan.accounts {
        scan.job.check()?;
        let entry = shadow.get(&account.name);
        let password = entry.map(|e| e.password);
        let mut notes = Vec::new();
        if !account.is_person() {
            if account.has_shell() {
                notes.push("an account of the system with a login shell");
            }
            if password == Some(Password::Hash) {
                notes.push("an account of the system with a password");
            }
        }
        match Password::of(&account.password) {
            Password::Hash => notes.push("its password is in passwd, where all may read it"),
            Password::Empty => notes.push("needs no password"),
            Password::None if password == Some(Password::Empty) => notes.push("needs no password"),
            _ => {}
        }
        if notes.is_empty() {
            continue;
        }
        let row = notes.into_iter().fold(row(scan, account), Entry::note);
        found.push(changed(entry).into_iter().fold(row, Entry::note));
    }
    Ok(())
}

/// Shells that look as if nobody could sign in with them.
pub fn shells(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    for account in &scan.accounts {
        if account.shell != account.shell.trim_ascii() {
            found.push(row(scan, account).note("blanks at the end of its shell"));
        }
    }
    let mut programs: Vec<&[u8]> = scan.accounts.iter().map(|a| &a.shell[..]).filter(|s| is_closed(s)).collect();
    programs.extend([&b"/usr/sbin/nologin"[..], b"/bin/false"]);
    programs.sort_unstable();
    programs.dedup();
    for program in programs {
        let Some(item) = scan.look_at_program(&DevicePath::new(program)) else { continue };
        if item.packaged == Some(false) && !scan.packages.is_empty() {
            found.push(Entry::of(&item).note("a closed account runs it as its shell"));
        }
    }
    let Some(item) = scan.look(&paths(&["/etc/shells"]).remove(0)) else { return Ok(()) };
    let lines = only(is_closed).lines(&item.text);
    if !lines.is_empty() {
        found.push(Entry::of(&item).lines(&lines).note("names a closed account's shell as one to sign in with"));
    }
    Ok(())
}

fn is_closed(shell: &[u8]) -> bool {
    matches!(shell.trim_ascii().rsplit(|b| *b == b'/').next(), Some(b"nologin" | b"false"))
}
