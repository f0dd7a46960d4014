//! Reads that outlive the process that began them: one file each in `reads/` of the home, held by who works on it.
//!
//! Invariants: a line counts only whole, by its hash; whoever works on a read holds the lock on its file; no token, no
//! result and no link is in it.

use super::lock;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Begun, CommandId, DeviceId, DevicePath, Keep, SessionId, Sha256, Timestamp};
use crate::principal::Principal;
use crate::private::{self, Locked};
use crate::shape::Untrusted;
use serde::{Deserialize, Serialize};
use std::io::{Read as _, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use tokio::sync::watch;

/// A backend keeps what it has taken so long for a device that is off, in seconds.
pub const WAITS_S: i64 = 3 * 24 * 3600;
/// One that has ended can be asked for once more within this.
const ENDED_S: i64 = 3600;
/// Nobody came back for it.
const FORGOTTEN_S: i64 = 14 * 24 * 3600;
/// Arguments are no longer than 16 MiB, and few are longer than a line.
const MAX_BYTES: usize = 20 << 20;

/// What a read was, so that it can be asked again.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    pub command_id: CommandId,
    pub by: Principal,
    pub tool: String,
    /// As they were sent, the shared ones too.
    pub args: String,
    pub session: SessionId,
    pub device: DeviceId,
    pub device_name: Untrusted,
    pub directory: DevicePath,
    pub comment: Option<String>,
    pub started: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Asked(Box<Asked>),
    Begun(Begun),
    Ended(Ended),
}

/// How a read ended.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    pub at: Timestamp,
    pub well: bool,
}

/// A read's record in the hands of who works on it.
#[derive(Debug)]
pub struct Kept {
    asked: Asked,
    path: PathBuf,
    file: Locked,
    begun: Mutex<Vec<Begun>>,
    off: AtomicBool,
    waits: watch::Sender<bool>,
}

/// A read's record as anybody finds it.
#[derive(Clone, Debug)]
pub struct Found {
    pub asked: Asked,
    pub ended: Option<Ended>,
    begun: Vec<Begun>,
}

/// The records of one home.
#[derive(Debug)]
pub struct Reads(PathBuf);

impl Reads {
    pub fn new(dir: PathBuf) -> Reads {
        Reads(dir)
    }

    /// Begins the record of a read; `off`: its device does not report.
    pub fn keep(&self, asked: Asked, off: bool) -> Result<Kept> {
        private::dir(&self.0)?;
        let path = self.path(&asked.command_id)?;
        let kept = Kept {
            file: Locked::exclusive(private::create_new(&path)?).map_err(|e| broken(&path, e))?,
            path,
            begun: Mutex::default(),
            off: AtomicBool::new(off),
            waits: watch::Sender::new(false),
            asked: asked.clone(),
        };
        kept.write(&Line::Asked(Box::new(asked)))?;
        Ok(kept)
    }

    /// A principal's own reads, whoever works on them. What has long ended is swept away.
    pub fn of(&self, by: &Principal) -> Vec<Found> {
        let Ok(entries) = std::fs::read_dir(&self.0) else { return Vec::new() };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            match look(&path) {
                Ok(Some(read)) if is_stale(&read) => self.sweep(&path),
                Ok(Some(read)) if read.asked.by == *by => found.push(read),
                Ok(_) => {}
                Err(e) => tracing::warn!(code = %e.code, "a kept read cannot be read: {}", e.message),
            }
        }
        found
    }

    /// A principal's own read.
    pub fn find(&self, id: &CommandId, by: &Principal) -> Result<Option<Found>> {
        let Ok(path) = self.path(id) else { return Ok(None) };
        Ok(look(&path)?.filter(|read| read.asked.by == *by && read.asked.command_id == *id && !is_stale(read)))
    }

    /// Takes a read over; `None` where somebody works on it.
    pub fn take(&self, id: &CommandId) -> Result<Option<Kept>> {
        let path = self.path(id)?;
        let file = match Locked::exclusive(private::open_append(&path)?) {
            Ok(file) => file,
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(broken(&path, e)),
        };
        // Whoever had it may have taken the name away: a record without a name is none.
        if file.metadata().map_or(0, |m| m.nlink()) == 0 {
            return Ok(None);
        }
        let Some(found) = look(&path)? else { return Ok(None) };
        Ok(Some(Kept {
            asked: found.asked,
            path,
            file,
            begun: Mutex::new(found.begun),
            off: AtomicBool::new(false),
            waits: watch::Sender::new(false),
        }))
    }

    /// No name of a file is anything but one of our own ids.
    fn path(&self, id: &CommandId) -> Result<PathBuf> {
        let digits = id.as_str().strip_prefix("c-").filter(|digits| digits.len() == 16);
        match digits.filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())) {
            Some(digits) => Ok(self.0.join(format!("c-{digits}"))),
            None => Err(Error::new(ErrorCode::Scope, "that is no command's id")),
        }
    }

    fn sweep(&self, path: &Path) {
        let free = private::open(path).ok().flatten().is_some_and(Locked::is_free);
        if free && let Err(e) = private::remove(path) {
            tracing::warn!(code = %e.code, "an old record stays behind: {}", e.message);
        }
    }
}

impl Kept {
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Returns once the backend was asked and had not ended it.
    pub async fn waiting(&self) {
        let mut waits = self.waits.subscribe();
        if waits.wait_for(|waits| *waits).await.is_err() {
            // The sender lives in `self`.
            std::future::pending::<()>().await;
        }
    }

    fn write(&self, line: &Line) -> Result<()> {
        let json = serde_json::to_string(line)
            .map_err(|e| Error::new(ErrorCode::Internal, "a read's record has no JSON form").source(e))?;
        // Also after a line that was torn.
        let text = format!("\n{} {json}\n", Sha256::of(json.as_bytes()));
        let mut file = &*self.file;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(|e| broken(&self.path, e))
    }
}

impl Keep for Kept {
    fn begun(&self, what: &str) -> Option<Begun> {
        lock(&self.begun).iter().rev().find(|begun| begun.what == what).cloned()
    }

    fn put(&self, begun: Begun) -> Result<()> {
        let mut all = lock(&self.begun);
        self.write(&Line::Begun(begun.clone()))?;
        all.push(begun);
        Ok(())
    }

    fn waits(&self, off: Option<bool>) {
        if let Some(off) = off {
            self.off.store(off, Relaxed);
        }
        self.waits.send_replace(true);
    }

    fn told(&self) -> Option<String> {
        let until = self.asked.started.plus_secs(WAITS_S);
        self.off.load(Relaxed).then(|| {
            format!("the device has not begun it: it may wait until {until}, also when this program has ended")
        })
    }

    fn ended(&self, well: Option<bool>) {
        let ended = match well {
            Some(well) => self.write(&Line::Ended(Ended { at: Timestamp::now(), well })),
            None => private::remove(&self.path),
        };
        if let Err(e) = ended {
            tracing::warn!(code = %e.code, "a read's end is not on record: {}", e.message);
        }
    }
}

fn broken(path: &Path, e: impl Into<std::io::Error>) -> Error {
    Error::new(ErrorCode::StoreUnavailable, format!("{}: {}", path.display(), e.into()))
}

/// `None` where there is none, or where its first line never came to be.
fn look(path: &Path) -> Result<Option<Found>> {
    let Some(mut file) = private::open(path)? else { return Ok(None) };
    let mut text = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    (&mut file).take(most).read_to_end(&mut text).map_err(|e| broken(path, e))?;
    let mut found: Option<Found> = None;
    for line in text.split(|b| *b == b'\n').filter_map(whole) {
        match (line, &mut found) {
            (Line::Asked(asked), None) => found = Some(Found { asked: *asked, ended: None, begun: Vec::new() }),
            (Line::Begun(begun), Some(found)) => found.begun.push(begun),
            (Line::Ended(ended), Some(found)) => found.ended = found.ended.or(Some(ended)),
            _ => break,
        }
    }
    Ok(found)
}

fn whole(line: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(line).ok()?;
    let (sha256, json) = text.split_once(' ')?;
    (Sha256::of(json.as_bytes()).as_str() == sha256).then(|| serde_json::from_str(json).ok()).flatten()
}

fn is_stale(read: &Found) -> bool {
    let now = Timestamp::now();
    let age = |since: Timestamp| now.as_secs().saturating_sub(since.as_secs());
    read.ended.is_some_and(|ended| age(ended.at) > ENDED_S) || age(read.asked.started) > FORGOTTEN_S
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::private::scratch::Scratch;

    fn asked() -> Asked {
        Asked {
            command_id: CommandId::mint(),
            by: Principal::uid(7),
            tool: "findfile".into(),
            args: r#"{"name":"x"}"#.into(),
            session: SessionId::mint(),
            device: DeviceId::new("a".repeat(40)),
            device_name: Untrusted::new("wks"),
            directory: DevicePath::new("/"),
            comment: None,
            started: Timestamp::now(),
        }
    }

    fn begun(action: Option<&str>) -> Begun {
        let text = |text: &str| text.to_owned();
        Begun { what: text("findfile"), nonce: text("n"), mark: text("m"), index: 0, action: action.map(text) }
    }

    #[test]
    fn it_is_taken_over_once_and_by_its_own_principal() {
        let home = Scratch::new();
        let reads = Reads::new(home.join("reads"));
        let asked = asked();
        let id = asked.command_id.clone();
        let kept = reads.keep(asked.clone(), false).unwrap();
        kept.put(begun(None)).unwrap();
        kept.put(begun(Some("a-1"))).unwrap();
        assert!(reads.take(&id).unwrap().is_none(), "it is worked on");
        drop(kept);
        assert!(reads.find(&id, &Principal::uid(8)).unwrap().is_none());
        assert_eq!(reads.of(&asked.by).len(), 1);
        let again = reads.take(&id).unwrap().unwrap();
        assert_eq!(again.begun("findfile"), Some(begun(Some("a-1"))));
        assert_eq!(again.begun("dir"), None);
        again.ended(Some(true));
        assert!(reads.find(&id, &asked.by).unwrap().unwrap().ended.is_some());
        again.ended(None);
        drop(again);
        assert!(reads.find(&id, &asked.by).unwrap().is_none());
    }

    #[test]
    fn what_is_torn_or_changed_counts_no_further() {
        let home = Scratch::new();
        let reads = Reads::new(home.join("reads"));
        let asked = asked();
        let (id, by) = (asked.command_id.clone(), asked.by.clone());
        let kept = reads.keep(asked, false).unwrap();
        kept.put(begun(Some("a-1"))).unwrap();
        let path = kept.path.clone();
        drop(kept);
        let text = std::fs::read_to_string(&path).unwrap();
        private::replace(&path, &text.as_bytes()[..text.len() - 3]).unwrap();
        assert!(reads.find(&id, &by).unwrap().unwrap().begun.is_empty());
        private::replace(&path, text.replace("a-1", "a-2").as_bytes()).unwrap();
        assert!(reads.find(&id, &by).unwrap().unwrap().begun.is_empty());
        private::replace(&path, text.replace("findfile", "collect").as_bytes()).unwrap();
        assert!(reads.find(&id, &by).unwrap().is_none());
    }

    #[test]
    fn an_id_is_no_path() {
        let reads = Reads::new(PathBuf::from("/nowhere"));
        for id in ["../x", "c-../../etc/passwd", "c-", "c-0123456789abcde/", ""] {
            assert!(reads.find(&CommandId::new(id), &Principal::uid(0)).unwrap().is_none(), "{id}");
        }
    }
}
