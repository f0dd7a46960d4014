//! Opens a hive of a device with the logs that lie beside it.

use super::names;
use crate::device::local::linux::secret;
use crate::device::local::linux::view::{How, View};
use crate::device::local::registry::{Hive, LogFile, Opened};
use crate::error::Result;
use crate::model::{DevicePath, FileIdentity, Job};
use std::sync::Arc;

/// A hive that is open.
pub struct HiveFile {
    pub path: DevicePath,
    pub identity: FileIdentity,
    pub opened: Opened,
    /// Why its values' data are shown to nobody unasked.
    pub secret: Option<&'static str>,
}

impl HiveFile {
    /// Opens the hive at a path and its `.LOG`, `.LOG1`, `.LOG2`, in any case. Errors as [`Hive::open`] and
    /// [`View::open`] have them.
    pub fn open(view: &View, path: &DevicePath, job: &Job) -> Result<HiveFile> {
        let file = view.open(path, How::File)?;
        let identity = file.facts.identity;
        let place = secret::reason(view, path, &file);
        let opened = Hive::open(&path.to_text(), Arc::new(file.file), logs(view, path, job), job)?;
        let secret = secret_of(path, place, &opened.hive, job)?;
        Ok(HiveFile { path: path.clone(), identity, opened, secret })
    }

    pub fn hive(&self) -> &Hive {
        &self.opened.hive
    }

    /// Says what of the hive could not be read, and what its logs did. Once, when it was read.
    pub fn warn(&self, job: &Job) {
        for note in &self.opened.notes {
            job.warn(format!("{}: {note}", self.path));
        }
        if let Some(words) = self.hive().damage().words() {
            job.warn(format!("{} is damaged: {words}; what can be read is shown", self.path));
        }
    }
}

fn logs(view: &View, hive: &DevicePath, job: &Job) -> Vec<LogFile> {
    let name = hive.name();
    let is_log = |candidate: &[u8]| {
        let rest = candidate.split_at_checked(name.as_bytes().len());
        rest.is_some_and(|(stem, end)| {
            stem.eq_ignore_ascii_case(name.as_bytes())
                && [&b".log"[..], b".log1", b".log2"].iter().any(|known| end.eq_ignore_ascii_case(known))
        })
    };
    let mut logs: Vec<LogFile> = Vec::new();
    for name in names(view, &hive.parent()).into_iter().filter(|name| is_log(name)) {
        let path = hive.parent().join(&DevicePath::new(name));
        match view.open(&path, How::File) {
            Ok(file) => logs.push((path.name().to_text().into_owned(), Arc::new(file.file))),
            Err(e) => job.warn(format!("a log of the hive was not applied: {}", e.message)),
        }
    }
    logs
}

/// Account and LSA secrets, known by place, by the name in the hive itself, and by what it holds. The one secret of
/// SYSTEM is in class names, which nothing here reads.
fn secret_of(path: &DevicePath, place: Option<&'static str>, hive: &Hive, job: &Job) -> Result<Option<&'static str>> {
    if let Some(place) = place.filter(|place| *place != secret::HIVE) {
        return Ok(Some(place));
    }
    let path = path.to_text().to_ascii_lowercase();
    let written = hive.file_name().to_ascii_lowercase();
    let last = |path: &str| path.rsplit(['/', '\\']).next().is_some_and(|n| matches!(n, "sam" | "security"));
    let holds = |path: &[&str]| Ok(hive.find(hive.root(), path.iter().copied(), job)?.is_some());
    let secret = last(&path) || last(&written) || holds(&["SAM", "Domains"])? || holds(&["Policy", "PolEKList"])?;
    let secret = secret || holds(&["Policy", "Secrets"])?;
    Ok(secret.then_some(secret::HIVE))
}
