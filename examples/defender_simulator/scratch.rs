//! The one folder that the simulator writes to; gone at its end, and swept by the next where it was killed.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = "defender-simulator-";

pub struct Scratch {
    path: PathBuf,
    /// Held as long as the folder is in use.
    _lock: File,
}

impl Scratch {
    pub fn new() -> io::Result<Scratch> {
        sweep();
        let path = std::env::temp_dir().join(format!("{PREFIX}{}", crate::seed::random_hex(16)));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let lock = File::create(path.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        for folder in ["roots", "results"] {
            fs::create_dir(path.join(folder))?;
        }
        Ok(Scratch { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn remove(&self) {
        // What a device mounted is in its own mount namespace and went with its first process.
        if let Err(why) = fs::remove_dir_all(&self.path) {
            eprintln!("{} stays: {why}", self.path.display());
        }
    }
}

/// Removes what simulators that are no more left behind.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) || !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        let Ok(lock) = File::open(entry.path().join("lock")) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
