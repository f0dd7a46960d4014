//! The quarantine on disk: a folder a deed, named by its undo id, with `record.json` and, where bytes were kept,
//! `content`. What stands is read from the record and from the file system, so a process that died in between leaves
//! nothing that `remediate list` would tell wrongly.
//!
//! Invariant: a record is durable before the step that it announces.

pub mod standing;
pub mod swap;

pub use standing::Standing;
pub use swap::Swap;

use super::bytes::{self, Metadata};
use crate::device::local::linux::lines::Cut;
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{
    DevicePath, EntityKind, FileIdentity, Job, PartOf, ProcessTarget, Remediated, RemediatedQuery, RequestId, Sha256,
    Timestamp, UndoId, ValueTarget, hex,
};
use crate::private::{self, Locked};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::{Path, PathBuf};

const RECORD: &str = "record.json";
const CONTENT: &str = "content";
/// Extended attributes in hex are the most of it.
const RECORD_MAX: usize = 1024 * 1024;
/// A folder beyond it is not read; `remediate list` says so.
const RECORDS_MAX: usize = 100_000;

/// How far a deed has come; durable before the next thing is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Announced; nothing was done to the entity.
    Begun,
    /// The content is safe; the file may still be under its name or aside.
    Kept,
    Removed,
    /// What was cut is being put back.
    Restoring,
    Restored,
    Stopped,
}

/// One deed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    pub v: u32,
    pub undo_id: UndoId,
    pub request_id: RequestId,
    pub phase: Phase,
    pub begun: Timestamp,
    pub at: Timestamp,
    /// The entity that was asked for, where the deed is a part of it.
    #[serde(default)]
    pub part_of: Option<PartOf>,
    /// What it is, where it is neither the quarantine of a file nor the end of a process.
    #[serde(default)]
    pub what: Option<What>,
    /// While two files change places.
    #[serde(default)]
    pub swap: Option<Swap>,
    /// What was quarantined or cut, the kept image of a stopped process, or where a link lay.
    pub file: Option<KeptFile>,
    /// The process that was stopped, or whose image this is.
    pub process: Option<KeptProcess>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    /// A line was taken out of the file; the file as it was is the content.
    Line(KeptLine),
    /// A value was taken out of the hive; the hive as it was is the content.
    Value(KeptValue),
    /// A symlink was taken away.
    Link { target: DevicePath },
    /// A symlink to `/dev/null` was made.
    Mask,
    /// A service was stopped; `was` is the state before.
    Service { unit: String, was: String },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptLine {
    pub number: u64,
    /// Without its line feed, in hex.
    text: String,
    /// Whether a line feed ended it.
    pub is_ended: bool,
    /// Of the file without it.
    pub after: Sha256,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptValue {
    pub value: ValueTarget,
    /// Of the hive without it; not known before that is written.
    pub after: Option<Sha256>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptFile {
    /// Where it lay; absent for what never had a name.
    pub path: Option<DevicePath>,
    /// Of the directory that it lay in.
    pub directory: Option<FileIdentity>,
    /// The name in that directory that it is moved to before it goes.
    pub aside: String,
    pub identity: FileIdentity,
    pub size_bytes: u64,
    pub sha256: Sha256,
    pub metadata: Metadata,
    pub links: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptProcess {
    pub pid: u32,
    pub start_ticks: u64,
    pub boot_id: String,
    pub name: String,
    /// This deed is the end of the process, not the quarantine of its image.
    pub stopped: bool,
}

impl KeptLine {
    pub fn new(number: u64, cut: &Cut) -> KeptLine {
        KeptLine { number, text: hex(&cut.text), is_ended: cut.is_ended, after: Sha256::of(&cut.rest) }
    }

    pub fn text(&self) -> Vec<u8> {
        bytes::unhex(&self.text).unwrap_or_default()
    }
}

impl KeptProcess {
    pub fn of(target: &ProcessTarget, stopped: bool) -> KeptProcess {
        KeptProcess {
            pid: target.pid,
            start_ticks: target.start_ticks,
            boot_id: target.boot_id.clone(),
            name: target.name.clone(),
            stopped,
        }
    }
}

/// The folder `quarantine/` of the state.
#[derive(Clone, Debug)]
pub struct Quarantine {
    root: PathBuf,
}

/// A deed's folder, held so that no other process works on it.
pub struct Folder {
    path: PathBuf,
    _held: Locked,
}

impl Quarantine {
    /// Opens nothing.
    pub fn new(home: &Path) -> Quarantine {
        Quarantine { root: home.join("quarantine") }
    }

    /// The home that it lies in.
    pub fn home(&self) -> &Path {
        self.root.parent().unwrap_or(&self.root)
    }

    /// A new folder for a deed.
    pub(super) fn create(&self, id: &UndoId) -> Result<Folder> {
        private::store(&self.root)?;
        let path = self.folder(id)?;
        private::dir(&path)?;
        // The folder must outlast a loss of power as surely as the removal that it stands for.
        for made in [Some(self.root.as_path()), self.root.parent()].into_iter().flatten() {
            open_folder(made).and_then(rustix::fs::fsync).map_err(|e| unreadable(made, e.into()))?;
        }
        Folder::take(path)
    }

    /// The folder of a recorded deed; `E_DEVICE_BUSY` while another process works on it.
    pub(super) fn take(&self, id: &UndoId) -> Result<(Folder, Kept)> {
        let folder = Folder::take(self.folder(id)?)?;
        let kept = folder.read(id)?;
        Ok((folder, kept))
    }

    /// One deed, as it stands.
    pub fn find(&self, id: &UndoId) -> Result<(Kept, Standing)> {
        let path = self.folder(id)?;
        let kept = read(&path, id)?;
        let standing = standing::standing(&kept, &path);
        Ok((kept, standing))
    }

    /// Every deed, oldest first; what cannot be read is a warning.
    pub fn all(&self, job: &Job) -> Result<Vec<(Kept, Standing)>> {
        let mut found = Vec::new();
        let mut unreadable = Vec::new();
        for id in self.ids()? {
            job.check()?;
            match self.find(&id) {
                Ok(deed) => found.push(deed),
                // Removed since it was listed.
                Err(e) if e.code == ErrorCode::NotFound => {}
                Err(_) => unreadable.push(id),
            }
        }
        if let Some(first) = unreadable.first() {
            job.warn(format!("{} records in the quarantine cannot be read, {first} first", unreadable.len()));
        }
        found.sort_by(|(a, _), (b, _)| (a.begun, &a.undo_id).cmp(&(b.begun, &b.undo_id)));
        Ok(found)
    }

    /// `remediate list`.
    pub fn rows(&self, query: &RemediatedQuery, job: &Job) -> Result<Vec<Remediated>> {
        let deeds = self.all(job)?;
        let wanted = |kept: &Kept| query.kind.is_none_or(|k| k == kept.kind());
        Ok(deeds.into_iter().rev().filter(|(k, _)| wanted(k)).map(|(kept, standing)| kept.row(standing)).collect())
    }

    /// Takes away what processes left that died before they did anything. Without it such a copy would read as a
    /// deed once somebody else removes the file.
    pub(super) fn sweep(&self) {
        for id in self.ids().unwrap_or_default() {
            // What cannot be read is kept for a person to look at.
            let Ok((found, standing)) = self.find(&id) else { continue };
            let is_unsettled = found.swap.is_some() && matches!(found.phase, Phase::Kept | Phase::Restoring);
            if standing != Standing::NotDone && !(is_unsettled && standing != Standing::InProgress) {
                continue;
            }
            let Ok((folder, mut kept)) = self.take(&id) else { continue };
            if is_unsettled {
                super::exchange::tidy(&kept);
            } else if kept.what == Some(What::Mask) {
                super::link::tidy(&kept);
            }
            match standing {
                Standing::NotDone => folder.discard(),
                Standing::Restored => drop(folder.write(&mut kept, Phase::Restored)),
                _ => drop(folder.write(&mut kept, Phase::Removed)),
            }
        }
    }

    /// The kept bytes of a deed.
    pub(super) fn content(&self, id: &UndoId) -> Result<File> {
        Folder::content(&self.folder(id)?)
    }

    fn ids(&self) -> Result<Vec<UndoId>> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unreadable(&self.root, e)),
        };
        let mut ids = Vec::new();
        for entry in entries.take(RECORDS_MAX) {
            let entry = entry.map_err(|e| unreadable(&self.root, e))?;
            if let Some(id) = entry.file_name().to_str().and_then(undo_id) {
                ids.push(id);
            }
        }
        Ok(ids)
    }

    /// Ids come from callers too: only what this program mints becomes a local name.
    fn folder(&self, id: &UndoId) -> Result<PathBuf> {
        match undo_id(id.as_str()) {
            Some(id) => Ok(self.root.join(id.as_str())),
            None => Err(unknown(id)),
        }
    }
}

impl Folder {
    fn take(path: PathBuf) -> Result<Folder> {
        let held = match open_folder(&path) {
            Ok(held) => held,
            Err(Errno::NOENT) => {
                return Err(Error::new(ErrorCode::NotFound, "the undo record is gone").hint("see `remediate list`"));
            }
            Err(e) => return Err(unreadable(&path, e.into())),
        };
        match Locked::exclusive(held) {
            Ok(held) => Ok(Folder { path, _held: held }),
            Err(Errno::WOULDBLOCK) => {
                Err(Error::new(ErrorCode::DeviceBusy, "another process works on this undo record now")
                    .hint("ask again when it has ended; `remediate list` shows how it went"))
            }
            Err(e) => Err(unreadable(&path, e.into())),
        }
    }

    pub fn read(&self, id: &UndoId) -> Result<Kept> {
        read(&self.path, id)
    }

    /// Durable when it returns.
    pub fn write(&self, kept: &mut Kept, phase: Phase) -> Result<()> {
        kept.phase = phase;
        kept.at = Timestamp::now();
        let text = serde_json::to_vec(kept)
            .map_err(|e| Error::new(ErrorCode::Internal, "the undo record cannot be written as JSON").source(e))?;
        private::replace(&self.path.join(RECORD), &text)
    }

    pub fn create_content(&self) -> Result<File> {
        private::create_new(&self.path.join(CONTENT))
    }

    /// Size and SHA-256 of what is kept, read back.
    pub fn check_content(&self) -> Result<(u64, Sha256)> {
        bytes::hash(&mut Self::content(&self.path)?, &Job::default())
    }

    /// Forgets a deed of which nothing was done.
    pub fn discard(self) {
        // Whatever stays is a record in phase `begun`, which says that nothing was done.
        let _ = private::remove(&self.path.join(CONTENT));
        let _ = private::remove(&self.path.join(RECORD));
        let _ = std::fs::remove_dir(&self.path);
    }

    fn content(folder: &Path) -> Result<File> {
        let path = folder.join(CONTENT);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => Ok(File::from(file)),
            Err(Errno::NOENT) => {
                Err(Error::new(ErrorCode::NotFound, "the quarantine holds no content for this record"))
            }
            Err(e) => Err(unreadable(&path, e.into())),
        }
    }
}

impl Kept {
    pub fn begin(order: &Order, file: Option<KeptFile>, process: Option<KeptProcess>) -> Kept {
        let now = Timestamp::now();
        let undo_id = UndoId::mint();
        let request_id = order.request().clone();
        let mut kept = Kept {
            v: 1,
            undo_id,
            request_id,
            phase: Phase::Begun,
            begun: now,
            at: now,
            part_of: None,
            what: None,
            swap: None,
            file,
            process,
        };
        if let Some(file) = &mut kept.file {
            file.aside = format!(".lr-{}", kept.undo_id);
        }
        kept
    }

    pub fn kind(&self) -> EntityKind {
        match (&self.part_of, &self.process) {
            (Some(whole), _) => whole.kind,
            (None, Some(p)) if p.stopped => EntityKind::Process,
            _ => EntityKind::File,
        }
    }

    pub fn path(&self) -> Option<&DevicePath> {
        self.file.as_ref().and_then(|f| f.path.as_ref())
    }
}

fn is_held(folder: &Path) -> bool {
    open_folder(folder).is_ok_and(|held| !Locked::is_free(held))
}

fn open_folder(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map(File::from)
}

fn read(folder: &Path, id: &UndoId) -> Result<Kept> {
    let Some(bytes) = private::read(&folder.join(RECORD), RECORD_MAX)? else { return Err(unknown(id)) };
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| {
        Error::new(ErrorCode::StoreUnavailable, format!("the undo record {id} cannot be read: {e}"))
            .hint("it was changed or damaged; the content beside it is untouched")
    })?;
    if kept.undo_id != *id || kept.v != 1 {
        return Err(Error::new(ErrorCode::StoreUnavailable, format!("the undo record {id} is not that of its folder")));
    }
    Ok(kept)
}

fn unknown(id: &UndoId) -> Error {
    Error::new(ErrorCode::NotFound, format!("no undo record {id}")).hint("`remediate list` shows what can be undone")
}

fn unreadable(path: &Path, e: std::io::Error) -> Error {
    Error::new(ErrorCode::StoreUnavailable, format!("{}: {e}", path.display())).source(e)
}

/// The text as an undo id, where it is one.
pub fn undo_id(text: &str) -> Option<UndoId> {
    let digits = text.strip_prefix("u-")?;
    let hex = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    (digits.len() == 16 && digits.bytes().all(hex)).then(|| UndoId::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;

    #[test]
    fn an_id_that_climbs_is_unknown() {
        let home = Scratch::new();
        let store = Quarantine::new(&home);
        for id in ["../../etc", "u-../../../../etc/pass", "", "u-", "u-0123456789ABCDEF", "u-0123456789abcdef/x"] {
            assert_eq!(store.find(&UndoId::new(id)).unwrap_err().code, ErrorCode::NotFound, "{id}");
        }
        assert_eq!(std::fs::read_dir(&*home).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_record_is_a_warning_and_hides_no_other() {
        let home = Scratch::new();
        let store = Quarantine::new(&home);
        let bad = store.create(&UndoId::mint()).unwrap();
        std::fs::write(bad.path.join(RECORD), r#"{"v":1,"undo_id":"u-"#).unwrap();
        let stranger = store.create(&UndoId::mint()).unwrap();
        std::fs::write(stranger.path.join(RECORD), "[]").unwrap();
        std::fs::write(home.join("quarantine/notes.txt"), "x").unwrap();
        let job = Job::default();
        assert!(store.rows(&RemediatedQuery::default(), &job).unwrap().is_empty());
        assert!(job.take_warnings().iter().any(|w| w.starts_with("2 records")));
    }

    #[test]
    fn no_quarantine_is_an_empty_list() {
        let home = Scratch::new();
        let rows = Quarantine::new(&home).rows(&RemediatedQuery::default(), &Job::default()).unwrap();
        assert!(rows.is_empty());
    }
}
