//! What is true of a deed now, and how it reads in `remediate list`.
//!
//! Invariant: nothing is changed; the record, its lock and a look at the place tell.

use super::swap::{self, Lies};
use super::{Kept, KeptFile, Phase, What, is_held};
use crate::device::local::linux::effect::link::{NULL, leads_to};
use crate::device::local::linux::effect::place::{Place, identity};
use crate::device::local::linux::effect::stop;
use crate::device::local::linux::lines;
use crate::model::{DevicePath, EntityKind, Remediated};
use crate::shape::Untrusted;
use std::path::Path;

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
    /// A line or a value was taken out of a file.
    Cut,
    /// A link was taken away.
    Unlinked,
    Masked,
    /// A service was stopped, or may have been when the process that began died.
    ServiceStopped,
    /// A service that was stopped runs again.
    Started,
    /// A mask was taken away again.
    Unmasked,
}

impl Standing {
    pub const fn as_str(self) -> &'static str {
        match self {
            Standing::InProgress => "in_progress",
            Standing::NotDone => "not_done",
            Standing::Aside => "moved_aside",
            Standing::Quarantined => "quarantined",
            Standing::Restored => "restored",
            Standing::Stopped | Standing::ServiceStopped => "stopped",
            Standing::ImageKept => "image_kept",
            Standing::Cut => "cut",
            Standing::Unlinked => "unlinked",
            Standing::Masked => "masked",
            Standing::Started => "started",
            Standing::Unmasked => "unmasked",
        }
    }

    /// Whether `undo` can reverse it.
    pub const fn is_undoable(self) -> bool {
        match self {
            Standing::Aside
            | Standing::Quarantined
            | Standing::ImageKept
            | Standing::Cut
            | Standing::Unlinked
            | Standing::Masked
            | Standing::ServiceStopped => true,
            Standing::InProgress
            | Standing::NotDone
            | Standing::Restored
            | Standing::Stopped
            | Standing::Started
            | Standing::Unmasked => false,
        }
    }

    /// How a deed that was done stands.
    fn done(kept: &Kept) -> Standing {
        match (&kept.what, &kept.file) {
            (Some(What::Line(_) | What::Value(_)), _) => Standing::Cut,
            (Some(What::Link { .. }), _) => Standing::Unlinked,
            (Some(What::Mask), _) => Standing::Masked,
            (Some(What::Service { .. }), _) => Standing::ServiceStopped,
            (None, Some(_)) if kept.kind() == EntityKind::Process => Standing::ImageKept,
            (None, Some(_)) => Standing::Quarantined,
            (None, None) => Standing::Stopped,
        }
    }

    /// How a deed that was reversed stands.
    fn undone(kept: &Kept) -> Standing {
        match &kept.what {
            Some(What::Mask) => Standing::Unmasked,
            Some(What::Service { .. }) => Standing::Started,
            _ => Standing::Restored,
        }
    }
}

impl Kept {
    pub fn row(&self, standing: Standing) -> Remediated {
        let id = match (&self.process, self.path()) {
            _ if self.part_of.is_some() => self.part_of.as_ref().map(|p| p.id.clone()).unwrap_or_default(),
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
            sha256: self.content().map(|f| f.sha256.clone()),
            size_bytes: self.content().map(|f| f.size_bytes),
            at: Some(self.at),
            request_id: Some(self.request_id.clone()),
            exit_code: None,
            note: self.note(standing).map(Untrusted::new),
        }
    }

    /// The file whose bytes are kept.
    fn content(&self) -> Option<&KeptFile> {
        self.file.as_ref().filter(|_| matches!(self.what, None | Some(What::Line(_) | What::Value(_))))
    }

    /// Says where the file before still lies, after a swap that was interrupted.
    fn left_beside(&self) -> String {
        let at = self.swap.as_ref().and_then(|_| swap::leftover(self, self.path()?));
        at.map(|name| format!("; the file before lies beside it as {name}")).unwrap_or_default()
    }

    fn note(&self, standing: Standing) -> Option<String> {
        match (&self.what, standing) {
            (Some(_), Standing::NotDone) => return Some("interrupted before anything was changed".into()),
            (Some(What::Line(line)), _) => {
                return Some(format!("line {}: {}{}", line.number, lines::shown(&line.text()), self.left_beside()));
            }
            (Some(What::Value(kept)), _) => {
                let data = kept.value.data.as_ref().map(|data| format!(": {data}")).unwrap_or_default();
                return Some(format!("{}{data}{}", kept.value.kind, self.left_beside()));
            }
            (Some(What::Link { target }), _) => return Some(format!("led to {target}")),
            (Some(What::Service { unit, was }), _) => return Some(format!("{unit} was {was}")),
            _ => {}
        }
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
pub(super) fn standing(kept: &Kept, folder: &Path) -> Standing {
    let is_stop = kept.kind() == EntityKind::Process;
    let has_image = kept.file.is_some();
    match (kept.phase, &kept.what) {
        (Phase::Restored, _) => Standing::undone(kept),
        (Phase::Removed, Some(What::Mask)) if !kept.path().is_some_and(is_mask) => Standing::Unmasked,
        (Phase::Removed | Phase::Stopped, _) => Standing::done(kept),
        (Phase::Begun | Phase::Kept | Phase::Restoring, _) if is_held(folder) => Standing::InProgress,
        (Phase::Begun, Some(_)) => Standing::NotDone,
        // Nobody knows whether the manager heard it: to start what runs does nothing.
        (Phase::Kept, Some(What::Service { .. })) => Standing::ServiceStopped,
        (Phase::Kept, Some(What::Line(_) | What::Value(_))) => match swap::lies(kept) {
            Lies::Old | Lies::Beside => Standing::NotDone,
            Lies::New | Lies::Neither => Standing::Cut,
        },
        (Phase::Restoring, _) => match swap::lies(kept) {
            Lies::New => Standing::Restored,
            Lies::Old | Lies::Beside | Lies::Neither => Standing::Cut,
        },
        (Phase::Kept, Some(What::Mask)) => match kept.path().is_some_and(is_mask) {
            true => Standing::Masked,
            false => Standing::NotDone,
        },
        // A process is only stopped once its image is kept.
        (Phase::Begun, None) if is_stop && !has_image => by_process(kept),
        (Phase::Begun, None) => Standing::NotDone,
        (Phase::Kept, None) if is_stop => by_process(kept),
        (Phase::Kept, _) => kept.file.as_ref().map_or(Standing::NotDone, |file| found_at(file, kept)),
    }
}

/// Whether a symlink to `/dev/null` lies there.
pub fn is_mask(path: &DevicePath) -> bool {
    Place::reach(path).is_ok_and(|place| leads_to(&place, &DevicePath::new(NULL)))
}

/// Between two records the process itself tells whether it was stopped.
fn by_process(kept: &Kept) -> Standing {
    match &kept.process {
        Some(p) if stop::lives(p.pid, p.start_ticks, &p.boot_id) => Standing::NotDone,
        _ if kept.file.is_some() => Standing::ImageKept,
        _ => Standing::Stopped,
    }
}

fn found_at(file: &KeptFile, kept: &Kept) -> Standing {
    let gone = Standing::done(kept);
    let Some(place) = file.path.as_ref().and_then(|p| Place::reach(p).ok()) else { return gone };
    let is_it = |place: &Place| place.look().is_ok_and(|s| identity(&s) == file.identity);
    match place.beside(&file.aside) {
        Ok(aside) if is_it(&aside) => Standing::Aside,
        _ if is_it(&place) => Standing::NotDone,
        _ => gone,
    }
}
