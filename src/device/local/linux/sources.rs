//! The small files that a collector reads whole: configuration, crontabs, unit files, desktop entries.
//!
//! Invariant: everything is opened through [`View`], no more than the stated bytes are read, and what could not be read
//! is counted and said once, by name, in one warning.

use super::facts::Facts;
use super::secret::Known;
use super::view::{How, View};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job};
use rustix::fs::{FileType, RawDir};
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::mem::MaybeUninit;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Of a directory with more entries, the first so many as the system gives them.
const ENTRIES: usize = 20_000;
/// Paths that a warning names.
const NAMED: usize = 3;
/// Paths that are remembered.
const REMEMBERED: usize = 1_000;

/// A reader of one listing; [`Sources::finish`] says what it could not see.
pub struct Sources<'a> {
    view: &'a View,
    job: &'a Job,
    /// Found when the first file is read.
    secrets: OnceLock<Known>,
    gaps: Mutex<Gaps>,
}

#[derive(Default)]
struct Gaps {
    unreadable: Gap,
    cut: Gap,
    crowded: Gap,
    own: u64,
}

#[derive(Default)]
struct Gap {
    count: u64,
    named: Vec<DevicePath>,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// As it was asked for.
    pub path: DevicePath,
    /// Links resolved.
    pub real_path: DevicePath,
    pub facts: Facts,
    pub bytes: Vec<u8>,
    /// There is more behind `bytes`.
    pub cut: bool,
}

/// An entry of a directory. Of a link, the link itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    pub name: Vec<u8>,
    pub kind: FileType,
}

impl<'a> Sources<'a> {
    pub fn new(view: &'a View, job: &'a Job) -> Self {
        Sources { view, job, secrets: OnceLock::new(), gaps: Mutex::default() }
    }

    pub fn view(&self) -> &'a View {
        self.view
    }

    pub fn job(&self) -> &'a Job {
        self.job
    }

    /// The entries of a directory, sorted by name; none where there is no such directory or it cannot be listed. Fails
    /// only when the job is to stop.
    pub fn list(&self, directory: &DevicePath) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        self.each(directory, |_, _, item| items.push(item))?;
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(items)
    }

    /// As [`Sources::list`], with the size of regular files.
    pub fn list_sized(&self, directory: &DevicePath) -> Result<Vec<(Item, Option<u64>)>> {
        let mut items = Vec::new();
        self.each(directory, |folder, name, item| {
            let facts = (item.kind == FileType::RegularFile).then(|| Facts::of_entry(folder, name).ok()).flatten();
            items.push((item, facts.map(|f| f.size)));
        })?;
        items.sort_unstable_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        Ok(items)
    }

    fn each(&self, directory: &DevicePath, mut take: impl FnMut(&File, &CStr, Item)) -> Result<()> {
        self.job.check()?;
        if self.view.identity(directory).is_none() {
            return Ok(());
        }
        let opened = match self.view.open(directory, How::Directory) {
            Ok(opened) => opened,
            Err(e) => {
                self.note(directory, &e);
                return Ok(());
            }
        };
        let mut count = 0;
        let mut buffer = vec![MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(&opened.file, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if count == ENTRIES {
                self.gaps().crowded.add(directory);
                break;
            }
            count += 1;
            let kind = match entry.file_type() {
                FileType::Unknown => Facts::of_entry(&opened.file, name)
                    .map_or(FileType::Unknown, |facts| FileType::from_raw_mode(facts.mode)),
                kind => kind,
            };
            take(&opened.file, name, Item { name: name.to_bytes().to_vec(), kind });
        }
        self.job.check()
    }

    /// At most `limit` bytes of a regular file; `None` where there is none or it cannot be read. Fails only when the
    /// job is to stop.
    pub fn read(&self, path: &DevicePath, limit: u64) -> Result<Option<Source>> {
        let source = self.head(path, limit)?;
        if source.as_ref().is_some_and(|s| s.cut) {
            self.gaps().cut.add(path);
        }
        Ok(source)
    }

    /// As [`Sources::read`], where the first bytes are all that is wanted.
    pub fn head(&self, path: &DevicePath, limit: u64) -> Result<Option<Source>> {
        self.job.check()?;
        if self.view.identity(path).is_none() {
            return Ok(None);
        }
        let opened = match self.view.open(path, How::File) {
            Ok(opened) => opened,
            Err(e) => {
                self.note(path, &e);
                return Ok(None);
            }
        };
        let secrets = self.secrets.get_or_init(|| Known::of(self.view));
        if let Some(why) = secrets.reason(path, &opened) {
            self.job.warn(format!("{path} was not read: it holds {why}"));
            return Ok(None);
        }
        let mut bytes = Vec::new();
        if let Err(e) = (&opened.file).take(limit.saturating_add(1)).read_to_end(&mut bytes) {
            self.note(path, &Error::io(path, e));
            return Ok(None);
        }
        let cut = u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit;
        if cut {
            bytes.pop();
        }
        Ok(Some(Source { path: path.clone(), real_path: opened.real_path, facts: opened.facts, bytes, cut }))
    }

    /// Facts of what a path leads to and its real path; `None` where it leads nowhere.
    pub fn facts(&self, path: &DevicePath) -> Option<(Facts, DevicePath)> {
        self.view.identity(path)?;
        let opened = self.view.open(path, How::Handle).ok()?;
        Some((opened.facts, opened.real_path))
    }

    /// Where a symbolic link points, as it is written; `None` for anything else.
    pub fn target(&self, path: &DevicePath) -> Option<DevicePath> {
        let opened = self.view.open(path, How::Link).ok().filter(|o| o.facts.is_symlink())?;
        rustix::fs::readlinkat(&opened.file, "", Vec::new()).ok().map(|t| DevicePath::new(t.into_bytes()))
    }

    /// Warns of what was left out.
    pub fn finish(self) {
        let gaps = self.gaps.into_inner().unwrap_or_else(PoisonError::into_inner);
        let hint = if rustix::process::geteuid().is_root() { "" } else { ": run as root to see them" };
        gaps.unreadable.warn(self.job, &format!("could not be read{hint}"));
        gaps.cut.warn(self.job, "are longer than is read: what lies behind is not shown");
        gaps.crowded.warn(self.job, &format!("hold more than {ENTRIES} entries, the rest is not shown"));
        super::dir::warn_of_own(gaps.own, self.job);
    }

    /// What could not be read, for who warns of it together with more.
    pub fn into_unreadable(self) -> Vec<DevicePath> {
        self.gaps.into_inner().unwrap_or_else(PoisonError::into_inner).unreadable.named
    }

    fn note(&self, path: &DevicePath, e: &Error) {
        match e.code {
            ErrorCode::NotFound => {}
            ErrorCode::SelfTarget => self.gaps().own += 1,
            _ => self.gaps().unreadable.add(path),
        }
    }

    fn gaps(&self) -> std::sync::MutexGuard<'_, Gaps> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gap {
    fn add(&mut self, path: &DevicePath) {
        self.count += 1;
        if self.named.len() < REMEMBERED {
            self.named.push(path.clone());
        }
    }

    fn warn(&self, job: &Job, what: &str) {
        if self.count == 0 {
            return;
        }
        let names = self.named.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let more = self.count.saturating_sub(NAMED as u64);
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        job.warn(format!("{names}{rest} {what}"));
    }
}
