//! A mounted Windows volume: what its registry and its files show, read on another system.
//!
//! Invariant: nothing of Windows runs here. Paths of Windows are looked up without case, below the volume's root, and
//! every file is opened through the [`View`], so that no link of the volume leads out of it.

mod arrival;
mod hives;
mod keypath;
mod listing;
mod lnk;
mod machine;
mod persistence;
mod profiles;
pub mod registry;
mod services;
mod spelling;
mod startup;
mod task;
mod tasks;

pub use arrival::about;
pub use profiles::Profile;
pub use spelling::{Called, respell, respelled};

pub use hives::HiveFile;
pub use keypath::value_path;
pub use registry::current_control_set;

use super::linux::view::{How, View};
use super::registry::same;
use crate::error::Result;
use crate::model::{Answer, DevicePath, Job, Query};
use rustix::fs::RawDir;
use std::mem::MaybeUninit;

/// Names of one directory that are looked at.
const NAMES: usize = 100_000;

/// The root of a Windows volume.
pub struct WindowsRoot<'v> {
    view: &'v View,
    root: DevicePath,
    /// The folder `Windows` (`WINNT` of old).
    system: DevicePath,
}

impl<'v> WindowsRoot<'v> {
    /// The Windows volume at a directory; `None` where there is no `Windows/System32/config` below it.
    pub fn at(view: &'v View, root: &DevicePath) -> Option<WindowsRoot<'v>> {
        let of = |system: &str| {
            let system = below(view, root, &[system])?;
            below(view, &system, &["System32", "config"])?;
            Some(system)
        };
        Some(WindowsRoot { view, root: root.clone(), system: of("Windows").or_else(|| of("WINNT"))? })
    }

    /// The file or directory at a path below the root, its parts compared without case.
    pub fn find(&self, parts: &[&str]) -> Option<DevicePath> {
        below(self.view, &self.root, parts)
    }

    /// The same below another directory of the volume.
    pub fn find_below(&self, directory: &DevicePath, parts: &[&str]) -> Option<DevicePath> {
        below(self.view, directory, parts)
    }

    /// The same below the folder `Windows`.
    pub fn find_system(&self, parts: &[&str]) -> Option<DevicePath> {
        below(self.view, &self.system, parts)
    }
}

/// What a Windows volume at the view's root tells of how it starts; `None` where the view is none, or for another
/// query.
pub fn answer(view: &View, query: &Query, job: &Job) -> Result<Option<Answer>> {
    use Query::{Drivers, Persistence, Services, Startup, Tasks};
    if !matches!(query, Drivers(_) | Persistence(_) | Services(_) | Startup(_) | Tasks(_)) {
        return Ok(None);
    }
    let Some(root) = WindowsRoot::at(view, &DevicePath::new("/")) else { return Ok(None) };
    Ok(Some(match query {
        Services(_) => Answer::Services(services::services(&root, job)?),
        Drivers(_) => Answer::Drivers(services::drivers(&root, job)?),
        Tasks(query) => Answer::Tasks(tasks::list(&root, query, job)?),
        Startup(_) => Answer::Startup(startup::list(&root, job)?),
        Persistence(query) => Answer::Persistence(persistence::list(&root, query, job)?),
        _ => return Ok(None),
    }))
}

/// The path below a directory, its parts compared without case; the exact spelling wins.
pub fn below(view: &View, directory: &DevicePath, parts: &[&str]) -> Option<DevicePath> {
    let mut path = directory.clone();
    for part in parts {
        let exact = path.join(&DevicePath::new(*part));
        path = match view.identity(&exact) {
            Some(_) => exact,
            None => {
                let found = names(view, &path).into_iter().find(|name| is_named(name, part.as_bytes()))?;
                path.join(&DevicePath::new(found))
            }
        };
    }
    Some(path)
}

/// Whether two names of files are one to Windows.
pub fn is_named(name: &[u8], wanted: &[u8]) -> bool {
    match (std::str::from_utf8(name), std::str::from_utf8(wanted)) {
        (Ok(name), Ok(wanted)) => same(name, wanted),
        _ => name == wanted,
    }
}

/// The names in a directory, sorted, without this program's own; none where it cannot be listed.
pub fn names(view: &View, directory: &DevicePath) -> Vec<Vec<u8>> {
    // A hint for what is missing would be looked for otherwise.
    if view.identity(directory).is_none() {
        return Vec::new();
    }
    let Ok(opened) = view.open(directory, How::Directory) else { return Vec::new() };
    let own = view.own().snapshot();
    let mut names = Vec::new();
    let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
    let mut entries = RawDir::new(&opened.file, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") && !own.may_hold(entry.ino()) {
            names.push(name.to_vec());
        }
        if names.len() == NAMES {
            break;
        }
    }
    names.sort_unstable();
    names
}

#[cfg(test)]
pub mod tests;
