//! The script library's files: content-addressed, hashed again whenever they are used. Which name stands for which
//! content, and who approved it, is the guard's to know.
//!
//! Invariants: no name of anyone's choosing becomes a path; nothing is read through a link; what is signed is judged by
//! the keys that are trusted now.
#![allow(clippy::disallowed_methods)]

mod kind;
mod signature;
mod verify;

pub use verify::{Problem, Report};

use crate::error::{Error, ErrorCode, Result};
use crate::model::{ItemName, Job, LibraryItem, Sha256, Supply, random_hex};
use crate::private::{self, Locked};
use minisign_verify::Signature;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use sha2::Digest;
use signature::Keys;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// As Live Response has it.
pub const SIZE_MAX: u64 = 250_000_000;
const CHUNK: usize = 256 * 1024;
/// Where a script's first line and a program's magic stand.
const HEAD: usize = 4096;
const BUSY_FOR: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(20);

/// The folder `library/` of the state: `objects/<sha256>`, and `incoming/` while a file arrives.
pub struct Library {
    root: PathBuf,
    keys: Keys,
}

/// The right to add and discard files, for one process at a time.
pub struct Hold(#[expect(dead_code, reason = "its drop gives the lock back")] Locked);

/// What a file's bytes tell while they go by.
struct Seen {
    sha256: Sha256,
    size: u64,
    head: Vec<u8>,
    signer: Result<Option<String>, String>,
}

impl Library {
    /// Opens nothing. `keys` are the minisign public keys that the configuration trusts.
    pub fn new(home: &Path, keys: &[String]) -> Library {
        Library { root: home.join("library"), keys: Keys::new(keys) }
    }

    /// Keeps other processes from adding and discarding meanwhile. `E_DEVICE_BUSY` where one takes too long.
    pub fn hold(&self) -> Result<Hold> {
        private::store(&self.root)?;
        let until = Instant::now() + BUSY_FOR;
        loop {
            match Locked::exclusive(private::open_or_create(&self.root.join("lock"))?) {
                Ok(lock) => return Ok(Hold(lock)),
                Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(TICK),
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::new(ErrorCode::DeviceBusy, "another process works on the library")
                        .hint("ask again when it has ended"));
                }
                Err(e) => return Err(unavailable(&self.root, e.into())),
            }
        }
    }

    /// Takes a person's file in: durable and named by its content when this returns; under no name of the library yet.
    /// `E_TOO_LARGE` over 250 MB, `E_UNSIGNED_SCRIPT` where a signature was given that no trusted key made.
    pub fn take_in(
        &self,
        _: &Hold,
        file: &Path,
        name: &ItemName,
        signature: Option<&str>,
        job: &Job,
    ) -> Result<LibraryItem> {
        let mut source = open_foreign(file)?;
        let incoming = self.root.join("incoming");
        private::dir(&incoming)?;
        sweep(&incoming);
        let path = incoming.join(random_hex::<16>());
        let mut draft = private::create_new(&path)?;
        let kept = (|| {
            let seen = self.read(&mut source, &mut draft, signature, job)?;
            let signer = seen.signer.clone().map_err(|why| {
                Error::new(ErrorCode::UnsignedScript, format!("the signature does not hold: {why}"))
                    .hint("sign exactly these bytes with a key of [library] keys, or add the file without it")
            })?;
            self.keep(&draft, &path, &seen)?;
            Ok(seen.item(name, signer))
        })();
        if kept.is_err() {
            let _ = private::remove(&path);
        }
        kept
    }

    /// The item as its bytes are now, its signature judged by the keys that are trusted now. `E_SCRIPT_DRIFT` where
    /// they are not the bytes that the name stands for.
    pub fn inspect(&self, item: &LibraryItem, signature: Option<&str>, job: &Job) -> Result<LibraryItem> {
        let mut object = self.object(&item.sha256)?;
        let seen = self.read(&mut object, &mut std::io::sink(), signature, job)?;
        if seen.sha256 != item.sha256 || seen.size != item.size_bytes {
            return Err(drift(item, "the file in the store was changed"));
        }
        let signer = seen.signer.clone().unwrap_or(None);
        let now = seen.item(&item.name, signer);
        if (now.kind, &now.interpreter) != (item.kind, &item.interpreter) {
            return Err(drift(item, "it is of another type than when it was added"));
        }
        Ok(now)
    }

    /// The bytes of an item, at most `max`; `None` where it has more.
    pub fn bytes(&self, item: &LibraryItem, max: u64) -> Result<Option<Vec<u8>>> {
        if item.size_bytes > max {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let object = self.object(&item.sha256)?;
        object.take(max + 1).read_to_end(&mut bytes).map_err(|e| unavailable(&self.root, e))?;
        match Sha256::of(&bytes) == item.sha256 {
            true => Ok(Some(bytes)),
            false => Err(drift(item, "the file in the store was changed")),
        }
    }

    /// Takes the bytes away that no item stands for any more.
    pub fn discard(&self, _: &Hold, sha256: &Sha256) -> Result<()> {
        private::remove(&self.path_of(sha256))
    }

    fn object(&self, sha256: &Sha256) -> Result<File> {
        private::open(&self.path_of(sha256))?.ok_or_else(|| {
            Error::new(ErrorCode::ScriptDrift, format!("the library has lost the bytes of {sha256}"))
                .hint("`live-response library verify` shows what is missing; a person can add the file again")
        })
    }

    /// A SHA-256 is 64 hex digits by type.
    fn path_of(&self, sha256: &Sha256) -> PathBuf {
        self.root.join("objects").join(sha256.as_str())
    }

    /// Copies a file to its end, hashing and checking the signature on the way.
    fn read(&self, from: &mut File, to: &mut impl Write, signature: Option<&str>, job: &Job) -> Result<Seen> {
        let signature = signature.map(|text| Signature::decode(text).ok());
        let mut check = signature.as_ref().map(|signature| self.keys.check(signature.as_ref()));
        let mut hasher = sha2::Sha256::new();
        let (mut size, mut head, mut chunk) = (0u64, Vec::new(), vec![0; CHUNK]);
        loop {
            job.check()?;
            let n = match from.read(&mut chunk) {
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Error::io("the file cannot be read to its end", e)),
            };
            let Some(read) = chunk.get(..n).filter(|r| !r.is_empty()) else { break };
            size = size.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
            if size > SIZE_MAX {
                return Err(Error::new(ErrorCode::TooLarge, format!("a library file has at most {SIZE_MAX} bytes")));
            }
            head.extend_from_slice(read.get(..HEAD.saturating_sub(head.len()).min(n)).unwrap_or_default());
            hasher.update(read);
            if let Some(check) = &mut check {
                check.feed(read);
            }
            to.write_all(read).map_err(|e| unavailable(&self.root, e))?;
        }
        let signer = check.map_or(Ok(None), |check| check.signer().map(Some));
        Ok(Seen { sha256: Sha256::from_bytes(&hasher.finalize()), size, head, signer })
    }

    fn keep(&self, draft: &File, path: &Path, seen: &Seen) -> Result<()> {
        let object = self.path_of(&seen.sha256);
        let objects = self.root.join("objects");
        private::dir(&objects)?;
        rustix::fs::fchmod(draft, Mode::RUSR).map_err(|e| unavailable(path, e.into()))?;
        draft.sync_all().map_err(|e| unavailable(path, e))?;
        match rustix::fs::renameat_with(CWD, path, CWD, &object, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // Added before under another name, or left by a process that died: taken only if it is those bytes.
            Err(Errno::EXIST) => {
                let mut there = self.object(&seen.sha256)?;
                let found = self.read(&mut there, &mut std::io::sink(), None, &Job::default())?;
                if found.sha256 != seen.sha256 {
                    rustix::fs::rename(path, &object).map_err(|e| unavailable(&object, e.into()))?;
                } else {
                    private::remove(path)?;
                }
            }
            Err(e) => return Err(unavailable(&object, e.into())),
        }
        for made in [&objects, &self.root] {
            rustix::fs::open(made, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                .and_then(rustix::fs::fsync)
                .map_err(|e| unavailable(made, e.into()))?;
        }
        Ok(())
    }
}

impl Supply for Library {
    fn open(&self, sha256: &Sha256) -> Result<File> {
        self.object(sha256)
    }
}

impl Seen {
    fn item(&self, name: &ItemName, signer: Option<String>) -> LibraryItem {
        let (kind, interpreter) = kind::of(name, &self.head);
        LibraryItem {
            name: name.clone(),
            sha256: self.sha256.clone(),
            size_bytes: self.size,
            kind,
            interpreter,
            signer,
        }
    }
}

/// A person's own file; no FIFO or device is waited for.
fn open_foreign(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|e| Error::io(path.display(), e.into()))?);
    match file.metadata() {
        Ok(facts) if facts.is_file() => Ok(file),
        Ok(_) => Err(Error::new(ErrorCode::NotAFile, format!("{} is not a file", path.display()))),
        Err(e) => Err(Error::io(path.display(), e)),
    }
}

/// Takes away what processes left that died while a file arrived. Whoever is here holds the library.
fn sweep(incoming: &Path) {
    let Ok(entries) = std::fs::read_dir(incoming) else { return };
    for entry in entries.flatten() {
        let _ = private::remove(&entry.path());
    }
}

fn drift(item: &LibraryItem, why: &str) -> Error {
    Error::new(ErrorCode::ScriptDrift, format!("{}: {why}", item.name))
        .hint("`live-response library verify` shows what is wrong; a person can add and approve it again")
}

fn unavailable(path: &Path, e: std::io::Error) -> Error {
    Error::new(ErrorCode::StoreUnavailable, format!("the script library: {}: {e}", path.display()))
        .hint("free space or repair it and ask again")
        .source(e)
}

#[cfg(test)]
mod tests;
