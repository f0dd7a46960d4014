//! The accounts and homes of a device, from its own `passwd` (`man 5 passwd`).
//!
//! Invariant: a home is looked at once, whoever shares it, and homes that no account names (`/home/*`) are too.

use crate::model::DevicePath;
use crate::shape::Untrusted;

/// Accounts that are looked at; no real host has as many.
const ACCOUNTS: usize = 20_000;

/// One line of `passwd`, its fields as they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Account {
    pub name: Vec<u8>,
    pub password: Vec<u8>,
    pub uid: u32,
    pub home: Vec<u8>,
    pub shell: Vec<u8>,
}

impl Account {
    /// All accounts of the text; what is no line of `passwd` names nobody.
    pub fn all(passwd: &[u8]) -> Vec<Account> {
        passwd.split(|b| *b == b'\n').filter_map(Account::parse).take(ACCOUNTS).collect()
    }

    fn parse(line: &[u8]) -> Option<Account> {
        let mut fields = line.split(|b| *b == b':');
        let name = fields.next().filter(|n| !n.is_empty() && !matches!(n.first(), Some(b'#' | b'+' | b'-')))?;
        let password = fields.next()?;
        let uid = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let home = fields.nth(2).unwrap_or_default();
        let shell = fields.next().unwrap_or_default();
        Some(Account {
            name: name.to_vec(),
            password: password.to_vec(),
            uid,
            home: home.to_vec(),
            shell: shell.to_vec(),
        })
    }

    pub fn shown(&self) -> Untrusted {
        Untrusted::from_bytes(&self.name)
    }

    /// Whether a person signs in with it: an ordinary one's uid, or root's.
    pub fn is_person(&self) -> bool {
        self.uid == 0 || (self.uid >= 1_000 && !matches!(self.uid, 65_534 | 65_535))
    }

    /// Whether its shell gives a session; an empty one is `/bin/sh`.
    pub fn has_shell(&self) -> bool {
        let program = self.shell.rsplit(|b| *b == b'/').next().unwrap_or_default();
        !matches!(program, b"nologin" | b"false" | b"true" | b"sync" | b"halt" | b"shutdown")
    }
}

/// A directory that programs start from when its user signs in.
#[derive(Clone, Debug, PartialEq)]
pub struct Home {
    pub path: DevicePath,
    /// `None` where no account has it.
    pub user: Option<Untrusted>,
}

/// The homes of all accounts, and `others` that none of them has; not those that no account can have of its own.
pub fn homes(accounts: &[Account], others: impl Iterator<Item = DevicePath>) -> Vec<Home> {
    let mut homes: Vec<Home> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    let named = accounts.iter().map(|account| (&account.home[..], Some(account.shown())));
    for (home, user) in named {
        let path = trimmed(home);
        let none = [&b"/"[..], b"/bin", b"/sbin", b"/usr/sbin", b"/usr/bin", b"/dev", b"/proc", b"/nonexistent"];
        if path.first() == Some(&b'/') && !none.contains(&path) && seen.insert(path.to_vec()) {
            homes.push(Home { path: DevicePath::new(path), user });
        }
    }
    homes.extend(others.filter(|p| seen.insert(p.as_bytes().to_vec())).map(|path| Home { path, user: None }));
    homes
}

fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(path.len().min(1), |at| at + 1);
    path.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_none_name_nobody() {
        let text = b"root:x:0:0:r:/root:/bin/bash\n#a:x:1:1::/:/\n+::::::\nneg:x:-1:1::/:\n:x:2:2::/:\nshort:x\nlast:x:7:7::/l";
        let names: Vec<_> = Account::all(text).into_iter().map(|a| a.name).collect();
        assert_eq!(names, [b"root".to_vec(), b"last".to_vec()]);
    }

    #[test]
    fn a_shared_home_is_one_and_the_root_directory_none() {
        let text = b"a:x:1:1::/home/a/:/bin/sh\nb:x:2:2::/home/a:\nc:x:3:3::/:\nd:x:4:4::relative:\n";
        let others = [DevicePath::new("/home/a"), DevicePath::new("/home/z")];
        let homes = homes(&Account::all(text), others.into_iter());
        let told: Vec<_> = homes.iter().map(|h| (h.path.to_string(), h.user.is_some())).collect();
        assert_eq!(told, [("/home/a".to_owned(), true), ("/home/z".to_owned(), false)]);
    }
}
