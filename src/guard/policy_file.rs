//! The policy file, as it may be trusted: owned by this account or root, written by nobody else, behind no link.
//!
//! Invariant: every file and directory on the way is opened without following links and checked on its handle.

use super::policy::{Policy, Rejected, rejected};
use crate::config::MAX_BYTES;
use crate::model::Sha256;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The policy in force, or why there is none.
#[derive(Clone)]
pub(super) enum Loaded {
    Good(Arc<Policy>),
    Bad { rejected: Arc<Rejected>, sha256: Option<Sha256> },
}

impl Loaded {
    /// Names what is in force, for the record: a change of it is a change of policy.
    pub(super) fn label(&self) -> String {
        match self {
            Loaded::Good(policy) => format!("loaded:{}", policy.sha256),
            Loaded::Bad { rejected, sha256 } => {
                format!("rejected:{}:{}", rejected.why, sha256.as_ref().map_or("-", Sha256::as_str))
            }
        }
    }
}

/// Reads the file anew each time: what counts is what it says when it is used.
pub(super) fn load(file: Option<&PathBuf>) -> Loaded {
    static BUILTIN: OnceLock<Arc<Policy>> = OnceLock::new();
    let Some(file) = file else {
        return Loaded::Good(BUILTIN.get_or_init(|| Arc::new(Policy::builtin())).clone());
    };
    let bytes = match read(file) {
        Ok(bytes) => bytes,
        Err(rejected) => return Loaded::Bad { rejected: Arc::new(rejected), sha256: None },
    };
    match Policy::parse(file, &bytes) {
        Ok(policy) => Loaded::Good(Arc::new(policy)),
        Err(rejected) => Loaded::Bad { rejected: Arc::new(rejected), sha256: Some(Sha256::of(&bytes)) },
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Rejected> {
    let bad = |why, what: &dyn std::fmt::Display| Err(rejected(why, path, what));
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return bad("unreadable", &"is not a file");
    };
    let dir = open_parents(path, parent)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(&dir, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::LOOP) => return bad("owner", &"is a symbolic link"),
        Err(e) => return bad("unreadable", &std::io::Error::from(e)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|e| rejected("unreadable", path, std::io::Error::from(e)))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return bad("owner", &"is not a file");
    }
    check(path, path, &stat)?;
    let mut bytes = Vec::new();
    if let Err(e) = File::from(fd).take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        return bad("unreadable", &e);
    }
    if bytes.len() as u64 > MAX_BYTES {
        return bad("too_large", &format!("is larger than {MAX_BYTES} bytes"));
    }
    Ok(bytes)
}

/// Walks from the root to the directory, each step on a checked handle.
fn open_parents(policy: &Path, dir: &Path) -> Result<OwnedFd, Rejected> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = PathBuf::from("/");
    let unreadable = |at: &Path, e: rustix::io::Errno| {
        let why = if matches!(e, rustix::io::Errno::LOOP | rustix::io::Errno::NOTDIR) { "owner" } else { "unreadable" };
        rejected(why, policy, format!("its parent {} : {}", at.display(), std::io::Error::from(e)))
    };
    let mut fd = rustix::fs::open("/", flags, Mode::empty()).map_err(|e| unreadable(&at, e))?;
    for component in dir.components().filter(|c| !matches!(c, Component::RootDir | Component::CurDir)) {
        at.push(component);
        fd = rustix::fs::openat(&fd, component.as_os_str(), flags, Mode::empty()).map_err(|e| unreadable(&at, e))?;
        let stat = rustix::fs::fstat(&fd).map_err(|e| unreadable(&at, e))?;
        check(policy, &at, &stat)?;
    }
    Ok(fd)
}

/// In a sticky directory (`/tmp`) others cannot take away or rename what is not theirs.
fn check(policy: &Path, at: &Path, stat: &Stat) -> Result<(), Rejected> {
    let (uid, own) = (stat.st_uid, rustix::process::geteuid().as_raw());
    if uid != own && uid != 0 {
        return Err(rejected("owner", policy, format!("{} belongs to uid {uid}", at.display())));
    }
    let sticky_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory && stat.st_mode & 0o1000 != 0;
    if stat.st_mode & 0o022 != 0 && !sticky_dir {
        return Err(rejected("owner", policy, format!("{} may be written by others: chmod go-w it", at.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn why(path: &Path) -> Option<&'static str> {
        match load(Some(&path.to_owned())) {
            Loaded::Good(_) => None,
            Loaded::Bad { rejected, .. } => Some(rejected.why),
        }
    }

    #[test]
    fn gt_093_a_policy_that_others_could_write_is_refused() {
        let base = Scratch::new();
        let dir = base.join("d");
        std::fs::create_dir(&dir).unwrap();
        let file = dir.join("policy.toml");
        std::fs::write(&file, "version = 1\n").unwrap();
        let chmod = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        chmod(&dir, 0o700);
        chmod(&file, 0o600);
        assert_eq!(why(&file), None);
        chmod(&file, 0o666);
        assert_eq!(why(&file), Some("owner"));
        chmod(&file, 0o600);
        chmod(&dir, 0o777);
        assert_eq!(why(&file), Some("owner"));
        chmod(&dir, 0o700);
        symlink(&file, dir.join("link.toml")).unwrap();
        assert_eq!(why(&dir.join("link.toml")), Some("owner"));
        symlink(&dir, base.join("linked")).unwrap();
        assert_eq!(why(&base.join("linked/policy.toml")), Some("owner"));
    }

    #[test]
    fn a_policy_that_is_named_and_missing_is_not_the_builtin_one() {
        let base = Scratch::new();
        assert_eq!(why(&base.join("none.toml")), Some("unreadable"));
    }
}
