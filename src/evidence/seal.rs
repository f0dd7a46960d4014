//! Takes a file into the store: hashed as it streams by, durable, then named by its hash.
//!
//! Invariant: what is not sealed to the end leaves nothing behind.

use super::custody::Entry;
use super::verify::copy;
use super::{Custody, Sealed, Store, unavailable};
use crate::audit::Record;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{FILE_LIMIT, FileFacts, Job, Sha256, random_hex};
use crate::private;
use crate::secret::SecretSniffer;
use rustix::fs::{Advice, CWD, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::Digest;
use std::fs::File;
use std::io::Write;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Of a package: what goes into one is bounded before.
pub const PACKAGE_LIMIT: u64 = 24 << 30;
const CHUNK: usize = 256 * 1024;
/// Bytes taken in before the disk is set to work on them.
const WRITE_BEHIND: u64 = 8 << 20;
/// How soon a cancel is seen while the source is silent.
const TICK: Duration = Duration::from_millis(20);
/// Files of a process that died while it collected are taken away after this time.
const STALE: Duration = Duration::from_secs(600);

/// What `evidence.sealed` carries: enough to find a custody record that was rebuilt.
#[derive(Serialize, Deserialize)]
pub(super) struct SealedDetail {
    pub sha256: Sha256,
    pub size_bytes: u64,
    pub custody_seq: u64,
    pub custody_sha256: Sha256,
    #[serde(default)]
    pub reported_name: String,
}

impl Store {
    /// Streams a file into the store. `E_TOO_LARGE` over 3 GB, `E_STORE_UNAVAILABLE` when the disk is full; nothing
    /// is left of a file that was not sealed to its end.
    pub async fn seal(
        self: &Arc<Self>,
        facts: FileFacts,
        bytes: impl AsyncRead + Send + Unpin,
        custody: Custody,
        job: &Arc<Job>,
    ) -> Result<Sealed> {
        let draft = self.take(bytes, FILE_LIMIT, &|n| job.advance(n), job).await?;
        self.keep(draft, facts, custody, job).await
    }

    /// Streams bytes in, to be kept once their facts are known; dropped, they are gone. `taken` is told of each piece.
    /// `E_TOO_LARGE` over `limit`.
    pub async fn take(
        self: &Arc<Self>,
        mut bytes: impl AsyncRead + Send + Unpin,
        limit: u64,
        taken: &(dyn Fn(u64) + Sync),
        job: &Arc<Job>,
    ) -> Result<Draft> {
        let store = Arc::clone(self);
        let mut draft = blocking(move || Draft::new(&store.root, limit)).await?;
        loop {
            let chunk = next_chunk(&mut bytes, job).await?;
            if chunk.is_empty() {
                break;
            }
            taken(u64::try_from(chunk.len()).unwrap_or(0));
            draft = blocking(move || draft.take(&chunk)).await?;
        }
        job.check()?;
        Ok(draft)
    }

    /// Seals what was taken in.
    pub async fn keep(
        self: &Arc<Self>,
        draft: Draft,
        facts: FileFacts,
        custody: Custody,
        job: &Arc<Job>,
    ) -> Result<Sealed> {
        job.check()?;
        if facts.size_bytes != 0 && facts.size_bytes != draft.size {
            job.warn(format!(
                "the file had {} bytes when it was opened and {} were read: it changed meanwhile",
                facts.size_bytes, draft.size
            ));
        }
        let (store, job) = (Arc::clone(self), Arc::clone(job));
        blocking(move || store.finish(draft, facts, custody, &job)).await
    }

    fn finish(&self, draft: Draft, mut facts: FileFacts, custody: Custody, job: &Job) -> Result<Sealed> {
        facts.secret = facts.secret.or_else(|| draft.sniffer.verdict().map(str::to_owned));
        let principal = custody.principal.clone();
        let size_bytes = draft.size;
        let sha256 = draft.keep(self)?;
        let entry = Entry::new(facts, custody, size_bytes, sha256);
        let (entry, custody_sha256, torn) = self.chain().append(entry)?;
        let sealed = Sealed {
            sha256: entry.sha256.clone(),
            size_bytes,
            name: entry.name(),
            path: entry.path.clone(),
            secret: entry.secret.clone(),
        };
        let detail = SealedDetail {
            sha256: entry.sha256,
            size_bytes,
            custody_seq: entry.seq,
            custody_sha256,
            reported_name: sealed.name.clean().into_owned(),
        };
        if torn {
            let cut = Record::new("evidence.truncated").detail(&"a torn last line of the custody record was cut");
            let _ = self.log.commit(cut);
        }
        if let Err(e) = self.log.commit(Record::new("evidence.sealed").by(&principal).detail(&detail)) {
            job.warn(format!("the file is sealed, but not on record in the audit log: {}", e.message));
        }
        Ok(sealed)
    }
}

/// The next bytes of the source, empty at its end.
async fn next_chunk(bytes: &mut (impl AsyncRead + Unpin), job: &Job) -> Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        job.check()?;
        // `read_buf` takes nothing when it is given up.
        match tokio::time::timeout(TICK, bytes.read_buf(&mut chunk)).await {
            Err(_) => {}
            Ok(Ok(0)) => return Ok(chunk),
            Ok(Ok(_)) if chunk.len() * 4 < CHUNK => {}
            Ok(Ok(_)) => return Ok(chunk),
            Ok(Err(e)) => {
                job.check()?;
                return Err(Error::io("the file cannot be read to its end", e));
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(Error::new(ErrorCode::Internal, "the work on the store broke off").source(e)))
}

/// A file on its way in; dropped, it is gone.
pub struct Draft {
    file: File,
    path: PathBuf,
    hasher: sha2::Sha256,
    sniffer: SecretSniffer,
    size: u64,
    /// Bytes that the disk was set to work on.
    begun: u64,
    limit: u64,
}

impl Draft {
    fn new(root: &Path, limit: u64) -> Result<Draft> {
        private::store(root)?;
        let incoming = root.join("incoming");
        private::dir(&incoming)?;
        sweep(&incoming);
        let path = incoming.join(random_hex::<16>());
        let file = private::create_new(&path)?;
        // Tells a sweeper of another process that somebody lives here.
        let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(Draft { file, path, hasher: sha2::Sha256::new(), sniffer: SecretSniffer::new(), size: 0, begun: 0, limit })
    }

    fn take(mut self, chunk: &[u8]) -> Result<Draft> {
        self.size = self.size.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if self.size > self.limit {
            return Err(Error::new(ErrorCode::TooLarge, format!("the file has more than {} bytes", self.limit))
                .hint("fileinfo gives its hashes"));
        }
        self.hasher.update(chunk);
        self.sniffer.feed(chunk);
        self.file.write_all(chunk).map_err(|e| unavailable(&self.path, e))?;
        self.write_behind();
        Ok(self)
    }

    /// Has the disk begin with what is there, so that it has little left to do when all must be durable.
    fn write_behind(&mut self) {
        let Some(waiting) = NonZeroU64::new(self.size - self.begun).filter(|n| n.get() >= WRITE_BEHIND) else { return };
        // Advice only. Linux starts to write dirty pages that are not needed, and keeps them until it has.
        let _ = rustix::fs::fadvise(&self.file, self.begun, Some(waiting), Advice::DontNeed);
        self.begun = self.size;
    }

    /// Makes it durable and gives it its name; content that is there already is not written again.
    fn keep(mut self, store: &Store) -> Result<Sha256> {
        let sha256 = Sha256::from_bytes(&std::mem::take(&mut self.hasher).finalize());
        let object = store.object_path(&sha256);
        let folder = object.parent().unwrap_or(&store.root);
        private::dir(folder)?;
        rustix::fs::fchmod(&self.file, Mode::RUSR).map_err(|e| unavailable(&self.path, e.into()))?;
        self.file.sync_all().map_err(|e| unavailable(&self.path, e))?;
        match rustix::fs::renameat_with(CWD, &self.path, CWD, &object, RenameFlags::NOREPLACE) {
            Ok(()) => {
                for made in [folder, folder.parent().unwrap_or(folder), store.root.as_path()] {
                    sync_dir(made)?;
                }
            }
            Err(Errno::EXIST) => self.must_equal(&object, &sha256)?,
            Err(e) => return Err(unavailable(&object, e.into())),
        }
        Ok(sha256)
    }

    /// The same hash is the same content, unless somebody damaged the store: then this file would not be sealed.
    fn must_equal(&self, object: &Path, sha256: &Sha256) -> Result<()> {
        let there = private::open(object)?.map(|file| copy(file, &mut std::io::sink(), &Job::default())).transpose()?;
        if there.is_some_and(|(size, found)| size == self.size && found == *sha256) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::StoreUnavailable, format!("{} was changed since it was sealed", object.display()))
            .hint("`live-response evidence verify` names what is damaged; move that file away and collect it again"))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Kept, it has another name by now.
        let _ = private::remove(&self.path);
    }
}

fn sync_dir(path: &Path) -> Result<()> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .and_then(rustix::fs::fsync)
        .map_err(|e| unavailable(path, e.into()))
}

/// Takes away what processes left that died while they collected.
fn sweep(incoming: &Path) {
    let Ok(entries) = std::fs::read_dir(incoming) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        let Ok(Some(file)) = private::open(&path) else { continue };
        let age = file.metadata().and_then(|m| m.modified()).map(|t| SystemTime::now().duration_since(t));
        let is_old = matches!(age, Ok(Ok(age)) if age > STALE);
        if is_old && rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = private::remove(&path);
        }
    }
}
