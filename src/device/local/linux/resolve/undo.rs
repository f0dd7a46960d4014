//! From what was remediated to the steps that bring it back.
//!
//! Invariant: a step names what the record keeps and the place as it is now; nothing is ever replaced.

use super::lines::Text;
use super::protected::Protected;
use super::task::{job_number, number_of};
use super::{Resolver, path_of, pid_of};
use crate::device::local::linux::effect::{Kept, KeptLine, Place, Standing, What, undo_id};
use crate::device::local::linux::lines;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, EntityKind, FileIdentity, LineTarget, Step};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

impl Resolver<'_> {
    pub(super) fn undo(&self, kind: EntityKind, ids: &[String]) -> Result<Vec<Step>> {
        let mut deeds: Vec<Kept> = Vec::new();
        for id in ids {
            self.job.check()?;
            let found = match kind {
                EntityKind::File => vec![self.kept_file(id)?],
                EntityKind::Process => vec![self.kept_image(id)?],
                _ => self.kept_parts(kind, id)?,
            };
            if found.iter().any(|kept| deeds.iter().any(|d| d.undo_id == kept.undo_id)) {
                return Err(Error::new(ErrorCode::AmbiguousArgs, format!("{id} names what another id names"))
                    .hint("name each once"));
            }
            deeds.extend(found);
        }
        // Lines of one file were cut one after the other: they go back the other way round.
        if !matches!(kind, EntityKind::File | EntityKind::Process) {
            deeds.sort_by(|a, b| (b.begun, &b.undo_id).cmp(&(a.begun, &a.undo_id)));
        }
        let mut texts = HashMap::new();
        let (mut steps, mut starts) = (Vec::new(), Vec::new());
        let of_units = deeds.iter().any(|kept| matches!(kept.what, Some(What::Service { .. } | What::Mask)));
        let of_services = kind == EntityKind::Service || of_units;
        for kept in deeds {
            match &kept.what {
                Some(What::Service { unit, was }) => {
                    if self.bus.is_none() {
                        self.job.warn(format!("{unit} is not started: systemd does not run here"));
                    } else if matches!(was.as_str(), "active" | "activating" | "reloading") {
                        starts.push(Step::StartService { undo_id: kept.undo_id.clone(), unit: unit.clone() });
                    } else if ids.iter().any(|id| id == kept.undo_id.as_str()) {
                        return Err(Error::new(
                            ErrorCode::Unsupported,
                            format!("{unit} was {was} before, so it is not started"),
                        )
                        .hint("name the service to bring back what was taken of it"));
                    }
                }
                _ => steps.push(self.undone(kept, &mut texts)?),
            }
        }
        if of_services && self.bus.is_some() && !steps.is_empty() {
            steps.push(Step::ReloadServices);
        }
        steps.extend(starts);
        match steps.is_empty() {
            true => Err(Error::new(ErrorCode::NotFound, "nothing is left to bring back")
                .hint("`remediate list` shows what can be undone")),
            false => Ok(steps),
        }
    }

    fn undone(&self, kept: Kept, texts: &mut HashMap<DevicePath, Text>) -> Result<Step> {
        match kept.what.clone() {
            Some(What::Line(line)) => self.put_back(kept, &line, texts),
            Some(What::Link { target }) => self.link_back(kept, target),
            Some(What::Mask) => Self::unmasked(kept),
            _ => self.restored(kept),
        }
    }

    fn link_back(&self, kept: Kept, target: DevicePath) -> Result<Step> {
        let Some((path, file)) = kept.file.and_then(|f| Some((f.path.clone()?, f))) else {
            return Err(unknown(kept.undo_id.as_str()));
        };
        self.free_place(&path, file.directory)?;
        let (uid, gid) = (file.metadata.uid, file.metadata.gid);
        Ok(Step::RestoreLink { undo_id: kept.undo_id, path, target, uid, gid })
    }

    fn unmasked(kept: Kept) -> Result<Step> {
        let path = kept.path().cloned().ok_or_else(|| unknown(kept.undo_id.as_str()))?;
        Ok(Step::Unmask { undo_id: kept.undo_id, path })
    }

    /// A cut line goes into the file as it is now. `E_EXISTS` where it is there again.
    fn put_back(&self, kept: Kept, line: &KeptLine, texts: &mut HashMap<DevicePath, Text>) -> Result<Step> {
        let Some((path, file)) = kept.file.and_then(|f| Some((f.path.clone()?, f))) else {
            return Err(unknown(kept.undo_id.as_str()));
        };
        let text = match texts.entry(path.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(self.text_now(&path)?),
        };
        let again = match () {
            () if text.target.sha256 == file.sha256 => Some(format!("{path} is as it was before the line was cut")),
            () if text.target.sha256 == line.after => None,
            () => {
                lines::find(&text.bytes, &line.text()).map(|n| format!("{path} changed since, and has it as line {n}"))
            }
        };
        if let Some(again) = again {
            return Err(Error::new(ErrorCode::Exists, format!("{again}; nothing is put in twice"))
                .hint("`dir` and `getfile` show the file; the cut line is in `remediate list`"));
        }
        let step = Step::PutLine {
            undo_id: kept.undo_id,
            file: text.target.clone(),
            line: LineTarget { number: line.number, text: lines::shown(&line.text()) },
        };
        text.changed_to(lines::put(&text.bytes, line.number, &line.text(), line.is_ended));
        Ok(step)
    }

    fn text_now(&self, path: &DevicePath) -> Result<Text> {
        let target = self.file(path, &Protected::find()).map_err(|e| match e.code {
            ErrorCode::NotFound => Error::new(ErrorCode::NotFound, format!("{path} is gone, so no line goes into it"))
                .hint("the cut line is in `remediate list`; the file as it was stays in the quarantine"),
            _ => e,
        })?;
        self.text(target)
    }

    fn restored(&self, kept: Kept) -> Result<Step> {
        let Some((path, file)) = kept.file.and_then(|f| Some((f.path.clone()?, f))) else {
            return Err(Error::new(ErrorCode::Unsupported, format!("what {} keeps never had a name", kept.undo_id))
                .hint("its content stays in the quarantine"));
        };
        self.free_place(&path, file.directory)?;
        let m = file.metadata;
        Ok(Step::Restore {
            undo_id: kept.undo_id,
            path,
            size_bytes: file.size_bytes,
            sha256: file.sha256,
            mode: m.mode,
            uid: m.uid,
            gid: m.gid,
        })
    }

    /// A place that nothing lies in, in the directory that it was.
    fn free_place(&self, path: &DevicePath, directory: Option<FileIdentity>) -> Result<()> {
        // Refuses a place among the guard's own things.
        self.view.open_parent(path).map_err(|e| match e.code {
            ErrorCode::NotFound => Error::new(ErrorCode::NotFound, format!("the directory {} is gone", path.parent()))
                .hint("the content stays in the quarantine"),
            _ => e,
        })?;
        let place = Place::reach(path).map_err(|e| Error::io(path, e.into()))?;
        if directory.is_some_and(|d| place.directory() != Ok(d)) {
            let message = format!("the directory {} is not the one that the file lay in", path.parent());
            return Err(Error::new(ErrorCode::NotFound, message).hint("the content stays in the quarantine"));
        }
        if place.look().is_ok() {
            return Err(exists(path));
        }
        Ok(())
    }

    /// The deed that `undo file` means: by its undo id, or the newest that took this path.
    fn kept_file(&self, id: &str) -> Result<Kept> {
        if let Some(undo) = undo_id(id) {
            return undoable(self.quarantine.find(&undo)?, id);
        }
        let path = path_of(id)?;
        let real = self.view.open_parent(&path).ok().and_then(|(dir, name)| real_name(&dir, &name));
        let is_path = |kept: &Kept| kept.path().is_some_and(|p| *p == path || Some(p) == real.as_ref());
        let is_it = |kept: &Kept| kept.what.is_none() && is_path(kept);
        self.newest(id, &is_it)
    }

    /// The deed that `undo process` means: the one that keeps the image of this pid.
    fn kept_image(&self, id: &str) -> Result<Kept> {
        let deed = match undo_id(id) {
            Some(undo) => self.quarantine.find(&undo)?,
            None => {
                let pid = pid_of(id)?;
                let of_it = |kept: &Kept| kept.process.as_ref().is_some_and(|p| p.pid == pid);
                let mut all = self.quarantine.all(self.job)?;
                all.retain(|(kept, _)| of_it(kept));
                let undoable = all.iter().rposition(|(_, standing)| standing.is_undoable());
                let index = undoable.or_else(|| all.len().checked_sub(1)).ok_or_else(|| unknown(id))?;
                all.swap_remove(index)
            }
        };
        if deed.1 == Standing::Stopped {
            return Err(Error::new(
                ErrorCode::Unsupported,
                format!("{id} cannot be undone: a stopped process is not started again"),
            )
            .hint("its image is where it was: start it, or `undo file` brings a removed image back"));
        }
        undoable(deed, id)
    }

    /// What one request did to an entity, or one deed by its undo id: all that can be undone of it.
    fn kept_parts(&self, kind: EntityKind, id: &str) -> Result<Vec<Kept>> {
        if let Some(undo) = undo_id(id) {
            let deed = self.quarantine.find(&undo)?;
            if deed.0.kind() != kind {
                let message = format!("{id} is of type {}, not {}", deed.0.kind().as_str(), kind.as_str());
                return Err(Error::new(ErrorCode::BadArgs, message).hint("`remediate list` tells the type"));
            }
            return Ok(vec![undoable(deed, id)?]);
        }
        let real = self.real_id(id);
        let is_it = |kept: &Kept| {
            kept.part_of.as_ref().is_some_and(|p| {
                let is_job = || kept.path().and_then(|path| number_of(path.name().as_bytes())) == job_number(id);
                p.kind == kind && (p.id == id || Some(&p.id) == real.as_ref() || job_number(id).is_some() && is_job())
            })
        };
        let mut all = self.quarantine.all(self.job)?;
        all.retain(|(kept, _)| is_it(kept));
        let newest = all.iter().rev().find(|(_, standing)| standing.is_undoable());
        let Some(request) = newest.map(|(kept, _)| kept.request_id.clone()) else {
            let last = all.pop().ok_or_else(|| unknown(id))?;
            return Ok(vec![undoable(last, id)?]);
        };
        all.retain(|(kept, standing)| kept.request_id == request && standing.is_undoable());
        Ok(all.into_iter().map(|(kept, _)| kept).collect())
    }

    /// A path, with its line where it has one, by real directories.
    fn real_id(&self, id: &str) -> Option<String> {
        let (path, line) = match id.rsplit_once(':') {
            Some((path, line)) if line.bytes().all(|b| b.is_ascii_digit()) => (path, Some(line)),
            _ => (id, None),
        };
        let path = DevicePath::from_text(path).ok().filter(|p| p.as_bytes().first() == Some(&b'/'))?;
        let (dir, name) = self.view.open_parent(&path).ok()?;
        let real = real_name(&dir, &name)?;
        Some(line.map_or_else(|| real.to_text().into_owned(), |line| format!("{real}:{line}")))
    }

    fn newest(&self, id: &str, is_it: &dyn Fn(&Kept) -> bool) -> Result<Kept> {
        let mut all = self.quarantine.all(self.job)?;
        all.retain(|(kept, _)| is_it(kept));
        let best = all.iter().rposition(|(_, standing)| standing.is_undoable());
        let index = best.or_else(|| all.len().checked_sub(1)).ok_or_else(|| unknown(id))?;
        undoable(all.swap_remove(index), id)
    }
}

/// The deed, if it can be undone now; otherwise why not.
pub(super) fn undoable((kept, standing): (Kept, Standing), id: &str) -> Result<Kept> {
    match standing {
        s if s.is_undoable() => Ok(kept),
        Standing::NotDone => Err(kept.path().map_or_else(|| unknown(id), exists)),
        Standing::InProgress => Err(Error::new(ErrorCode::DeviceBusy, format!("{id} is worked on now"))
            .hint("ask again when it has ended; `remediate list` shows how it went")),
        Standing::Restored => Err(Error::new(ErrorCode::NotFound, format!("{id} was brought back already"))
            .hint("`remediate list` shows what can be undone")),
        _ => Err(unknown(id)),
    }
}

pub(super) fn unknown(id: &str) -> Error {
    Error::new(ErrorCode::NotFound, format!("nothing was remediated as {id:?}"))
        .hint("`remediate list` shows what can be undone")
}

fn exists(path: &DevicePath) -> Error {
    Error::new(ErrorCode::Exists, format!("{path} exists; nothing is replaced"))
        .hint("move or remediate what is there first")
}

fn real_name(dir: &impl std::os::fd::AsFd, name: &[u8]) -> Option<DevicePath> {
    use std::os::fd::AsRawFd;
    let own = format!("/proc/self/fd/{}", dir.as_fd().as_raw_fd());
    let real = rustix::fs::readlink(own, Vec::new()).ok()?;
    Some(DevicePath::new(real.into_bytes()).join(&DevicePath::new(name)))
}
