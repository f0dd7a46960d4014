//! The quarantine on disk: a folder a deed, named by its undo id, with `record.json` and, where bytes were kept,
//! `content`. What stands is read from the record and from the file system, so a process that died in between leaves
//! nothing that `remediate list` would tell wrongly.
//!
//! Invariant: a record is durable before the step that it announces.

use super::bytes::{self, Metadata};
use super::place::{Place, identity};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::Order;
use crate::model::{
    DevicePath, EntityKind, FileIdentity, Job, ProcessTarget, Remediated, RemediatedQuery, RequestId, Sha256,
    Timestamp, UndoId,
};
use crate::private::{self, Locked};
use crate::shape::Untrusted;
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
    /// What was quarantined, or the kept image of a stopped process.
    pub file: Option<KeptFile>,
    /// The process that was stopped, or whose image this is.
    pub process: Option<KeptProcess>,
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

/// What is true of a deed now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A process carries it out now.
    InProgress,
    /// The file is where it was: the process that began died before it went.
    NotDone,
    /// The process that began died while the file was moved aside; `undo` moves it back.
    Aside,
    Quarantined,
    Restored,
    Stopped,
    /// Stopped, and its image is kept.
    ImageKept,
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

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Standing::InProgress => "in_progress",
            Standing::NotDone => "not_done",
            Standing::Aside => "moved_aside",
            Standing::Quarantined => "quarantined",
            Standing::Restored => "restored",
            Standing::Stopped => "stopped",
            Standing::ImageKept => "image_kept",
        }
    }

    /// Whether `undo` can bring a file back.
    pub const fn is_undoable(self) -> bool {
        matches!(self, Standing::Aside | Standing::Quarantined | Standing::ImageKept)
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
        let standing = standing(&kept, &path);
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
            if !self.find(&id).is_ok_and(|(_, standing)| standing == Standing::NotDone) {
                continue;
            }
            if let Ok((folder, _)) = self.take(&id) {
                folder.discard();
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
        let mut kept = Kept { v: 1, undo_id, request_id, phase: Phase::Begun, begun: now, at: now, file, process };
        if let Some(file) = &mut kept.file {
            file.aside = format!(".lr-{}", kept.undo_id);
        }
        kept
    }

    pub fn kind(&self) -> EntityKind {
        match &self.process {
            Some(p) if p.stopped => EntityKind::Process,
            _ => EntityKind::File,
        }
    }

    pub fn path(&self) -> Option<&DevicePath> {
        self.file.as_ref().and_then(|f| f.path.as_ref())
    }

    pub fn row(&self, standing: Standing) -> Remediated {
        let id = match (&self.process, self.path()) {
            (Some(p), _) if p.stopped => p.pid.to_string(),
            (_, Some(path)) => path.to_text().into_owned(),
            _ => String::new(),
        };
        Remediated {
            r#type: self.kind().as_str().into(),
            id: Untrusted::new(id),
            outcome: standing.as_str().into(),
            undo_id: Some(self.undo_id.clone()),
            path: self.path().cloned(),
            sha256: self.file.as_ref().map(|f| f.sha256.clone()),
            size_bytes: self.file.as_ref().map(|f| f.size_bytes),
            at: Some(self.at),
            request_id: Some(self.request_id.clone()),
            note: self.note(standing).map(Untrusted::new),
        }
    }

    fn note(&self, standing: Standing) -> Option<String> {
        if standing == Standing::NotDone && self.kind() == EntityKind::Process {
            return Some("interrupted before the process was stopped; it runs".into());
        }
        let file = self.file.as_ref()?;
        match standing {
            Standing::NotDone => Some("interrupted before the file was touched; it is where it was".into()),
            Standing::Aside => Some(format!("interrupted; the file is beside its place as {}", file.aside)),
            Standing::Quarantined if file.links > 1 => {
                Some(format!("{} more names lead to the same bytes", file.links - 1))
            }
            Standing::Quarantined => self.process.as_ref().map(|p| format!("image of process {}", p.pid)),
            _ => None,
        }
    }
}

/// What is true of a deed now, by its record, its lock and a look at the place; changes nothing.
fn standing(kept: &Kept, folder: &Path) -> Standing {
    let is_stop = kept.kind() == EntityKind::Process;
    let has_image = kept.file.is_some();
    match kept.phase {
        Phase::Restored => Standing::Restored,
        Phase::Removed => Standing::Quarantined,
        Phase::Stopped if has_image => Standing::ImageKept,
        Phase::Stopped => Standing::Stopped,
        Phase::Begun | Phase::Kept if is_held(folder) => Standing::InProgress,
        // A process is only stopped once its image is kept.
        Phase::Begun if is_stop && !has_image => by_process(kept),
        Phase::Begun => Standing::NotDone,
        Phase::Kept if is_stop => by_process(kept),
        Phase::Kept => kept.file.as_ref().map_or(Standing::NotDone, found_at),
    }
}

/// Between two records the process itself tells whether it was stopped.
fn by_process(kept: &Kept) -> Standing {
    match &kept.process {
        Some(p) if super::stop::lives(p.pid, p.start_ticks, &p.boot_id) => Standing::NotDone,
        _ if kept.file.is_some() => Standing::ImageKept,
        _ => Standing::Stopped,
    }
}

fn found_at(file: &KeptFile) -> Standing {
    let Some(place) = file.path.as_ref().and_then(|p| Place::reach(p).ok()) else { return Standing::Quarantined };
    let is_it = |place: &Place| place.look().is_ok_and(|s| identity(&s) == file.identity);
    match place.beside(&file.aside) {
        Ok(aside) if is_it(&aside) => Standing::Aside,
        _ if is_it(&place) => Standing::NotDone,
        _ => Standing::Quarantined,
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
