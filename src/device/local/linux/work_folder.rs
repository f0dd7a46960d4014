//! Where `putfile` puts files: a folder that lasts, and one that a restart empties.

use super::proc;
use crate::error::{Error, ErrorCode, Result};
use crate::model::DevicePath;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Holds a folder a boot, where the file system itself outlasts a restart.
pub const UNTIL_RESTART: &str = "until-restart";

/// The configured folder, or the usual places of this account.
#[derive(Debug)]
pub struct WorkFolder(Option<PathBuf>);

impl WorkFolder {
    pub fn new(configured: Option<PathBuf>) -> WorkFolder {
        WorkFolder(configured)
    }

    /// `keep`: for what outlasts a restart.
    pub fn path(&self, keep: bool) -> Result<DevicePath> {
        let root = rustix::process::geteuid().is_root();
        let folder = match (&self.0, keep, root) {
            (Some(configured), true, _) => configured.join("kept"),
            (Some(configured), false, _) => this_boot(configured)?,
            (None, true, true) => "/var/lib/live-response/files".into(),
            // Not below `/run/live-response`: others have to look into that for the sockets.
            (None, false, true) => "/run/live-response-files".into(),
            (None, true, false) => data_home()?.join("live-response/files"),
            (None, false, false) => match runtime_dir() {
                Some(runtime) => runtime.join("live-response/files"),
                None => this_boot(&temporary())?,
            },
        };
        Ok(DevicePath::new(folder.as_os_str().as_bytes()))
    }
}

fn this_boot(base: &Path) -> Result<PathBuf> {
    Ok(base.join(UNTIL_RESTART).join(proc::boot_id()?))
}

/// As the kernel writes it: 36 of hex digits and hyphens.
pub fn is_boot_id(name: &OsStr) -> bool {
    name.len() == 36 && name.as_bytes().iter().all(|b| b.is_ascii_hexdigit() || *b == b'-')
}

fn absolute(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute())
}

fn data_home() -> Result<PathBuf> {
    absolute("XDG_DATA_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/share"))).ok_or_else(|| {
        Error::new(ErrorCode::NotFound, "this account has no home to keep files in")
            .hint("[local] working_folder names a folder")
    })
}

fn runtime_dir() -> Option<PathBuf> {
    let own = |dir: &PathBuf| std::fs::metadata(dir).is_ok_and(|m| m.uid() == rustix::process::geteuid().as_raw());
    absolute("XDG_RUNTIME_DIR").filter(own)
}

fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("live-response-{}", rustix::process::geteuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_kept_lies_in_a_folder_of_this_boot() {
        let folder = WorkFolder::new(Some("/w".into()));
        assert_eq!(folder.path(true).unwrap().to_text(), "/w/kept");
        let path = folder.path(false).unwrap();
        assert!(is_boot_id(OsStr::from_bytes(path.name().as_bytes())), "{path}");
        assert_eq!(path.parent().to_text(), "/w/until-restart");
    }
}
