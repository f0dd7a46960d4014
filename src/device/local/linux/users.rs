//! Names of accounts and groups, from a root's own passwd and group files (`man 5 passwd`, `man 5 group`).
//!
//! Invariant: no NSS and no network; an image's ids are named by the image's files, never by this host's. The first
//! entry of an id wins, as with `getpwuid`.

use super::etc::Root;
use crate::shape::Untrusted;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// No real passwd file is as big; what lies behind is not read.
const FILE_LIMIT: u64 = 16 << 20;
/// `LOGIN_NAME_MAX`; a longer name is no account's.
const NAME_LIMIT: usize = 256;

type Names = HashMap<u32, Untrusted>;

/// The names of one root, read when they are first asked for and again when a file has changed.
#[derive(Debug)]
pub struct Users {
    root: Root,
    passwd: Mutex<Cached>,
    group: Mutex<Cached>,
}

/// One look at both files: what a listing takes once and asks for each row.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    users: Arc<Names>,
    groups: Arc<Names>,
}

#[derive(Debug, Default)]
struct Cached {
    /// Modification time (seconds, nanoseconds) and size of what was read.
    version: Option<(i64, u64, u64)>,
    names: Arc<Names>,
}

impl Users {
    /// This host's.
    pub fn host() -> Self {
        Self::of(Root::host())
    }

    /// Those of the tree at `root`, an image's directory.
    pub fn under(root: impl Into<PathBuf>) -> Self {
        Self::of(Root::at(root))
    }

    fn of(root: Root) -> Self {
        Users { root, passwd: Mutex::default(), group: Mutex::default() }
    }

    /// The names as the files are now; a file that is missing or unreadable names nobody.
    pub fn accounts(&self) -> Accounts {
        Accounts {
            users: current(&self.root, "etc/passwd", &self.passwd),
            groups: current(&self.root, "etc/group", &self.group),
        }
    }
}

impl Accounts {
    /// The account's name, `None` where the file has none.
    pub fn user(&self, uid: u32) -> Option<&Untrusted> {
        self.users.get(&uid)
    }

    /// The group's name, `None` where the file has none.
    pub fn group(&self, gid: u32) -> Option<&Untrusted> {
        self.groups.get(&gid)
    }

    /// The account's name, or its number.
    pub fn user_or_id(&self, uid: u32) -> Untrusted {
        self.user(uid).cloned().unwrap_or_else(|| Untrusted::new(uid.to_string()))
    }
}

fn current(root: &Root, path: &str, cache: &Mutex<Cached>) -> Arc<Names> {
    let mut cached = cache.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok((file, stat)) = root.open(path) else {
        *cached = Cached::default();
        return Arc::default();
    };
    let version = version(&stat);
    if cached.version != Some(version) {
        *cached = Cached { version: Some(version), names: Arc::new(read(file.take(FILE_LIMIT))) };
    }
    Arc::clone(&cached.names)
}

// The types of `stat` differ by architecture.
#[allow(clippy::unnecessary_cast)]
fn version(stat: &rustix::fs::Stat) -> (i64, u64, u64) {
    (stat.st_mtime as i64, stat.st_mtime_nsec as u64, stat.st_size as u64)
}

fn read(file: impl Read) -> Names {
    let mut names = Names::new();
    let mut lines = BufReader::with_capacity(64 << 10, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A read error ends the file: what was read so far holds.
        if !matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
            return names;
        }
        if let Some((name, id)) = entry(&line) {
            names.entry(id).or_insert_with(|| Untrusted::from_bytes(name));
        }
    }
}

/// Name and id of a line `name:password:id:…`.
fn entry(line: &[u8]) -> Option<(&[u8], u32)> {
    let mut fields = line.trim_ascii_end().split(|b| *b == b':');
    let name = fields.next().filter(|n| !n.is_empty() && n.len() <= NAME_LIMIT)?;
    // NIS compat lines and comments name nobody.
    if matches!(name.first(), Some(b'+' | b'-' | b'#')) {
        return None;
    }
    let id = std::str::from_utf8(fields.nth(1)?).ok()?;
    Some((name, id.bytes().all(|b| b.is_ascii_digit()).then(|| id.parse().ok())??))
}

#[cfg(test)]
mod tests {
    use super::super::etc::tests::Scratch;
    use super::*;

    fn names(passwd: &[u8]) -> Vec<(u32, String)> {
        let mut names: Vec<_> = read(passwd).into_iter().map(|(id, n)| (id, n.raw().to_owned())).collect();
        names.sort();
        names
    }

    #[test]
    fn hostile_lines_name_nobody() {
        let mut passwd = b"root:x:0:0::/root:/bin/sh\nroot2:x:0:0::/:/bin/sh\n".to_vec();
        passwd.extend_from_slice(
            b":x:1:1\n\n:::::\n+::::::\n#c:x:2:2\nneg:x:-1:1\nplus:x:+3:3\nbig:x:4294967296:1\nshort:x\n",
        );
        passwd.extend_from_slice(&[b'n'; 300]);
        passwd.extend_from_slice(b":x:5:5\n\xff\x1b[2J:x:6:6\nlast:x:7");
        assert_eq!(names(&passwd), [(0, "root".into()), (6, "\\xff\x1b[2J".into()), (7, "last".into())]);
    }

    #[test]
    fn a_name_is_shown_cleaned() {
        let shown = serde_json::to_string(read(&b"\x1b[2J:x:6:6"[..]).get(&6).unwrap()).unwrap();
        assert!(!shown.contains('\u{1b}') && !shown.contains("\\u001b"), "{shown}");
    }

    #[test]
    fn one_endless_line_is_read_to_the_limit_only() {
        assert!(read(std::io::repeat(b'a').take(FILE_LIMIT)).is_empty());
    }

    #[test]
    fn a_root_is_named_by_its_own_files() {
        let tree = Scratch::new("users");
        tree.write("etc/passwd", "mallory:x:0:0::/:/bin/sh\n");
        tree.write("etc/group", "wheel:x:0:\n");
        let accounts = Users::under(tree.path()).accounts();
        assert_eq!(accounts.user(0), Some(&Untrusted::new("mallory")));
        assert_eq!(accounts.group(0), Some(&Untrusted::new("wheel")));
        assert_eq!(accounts.user(1), None);
        assert_eq!(accounts.user_or_id(1), Untrusted::new("1"));
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let tree = Scratch::new("users");
        tree.write("etc/passwd", "old:x:0:0\n");
        let users = Users::under(tree.path());
        assert_eq!(users.accounts().user(0), Some(&Untrusted::new("old")));
        tree.write("etc/passwd", "newer:x:0:0\n");
        assert_eq!(users.accounts().user(0), Some(&Untrusted::new("newer")));
        std::fs::remove_file(tree.path().join("etc/passwd")).unwrap();
        assert_eq!(users.accounts().user(0), None);
    }
}
