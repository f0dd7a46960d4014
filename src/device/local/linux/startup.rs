//! `startupfolders`: what starts when a user signs in: XDG autostart, session scripts, shell start-up.
//!
//! Invariant: every file that a session or a shell looks for is a row, an entry that is switched off too, and said so.

mod desktop;

use super::hash;
use super::persistence::accounts::{Account, homes};
use super::sources::{Source, Sources};
use super::view::View;
use crate::error::Result;
use crate::model::{DevicePath, Job, StartupItem};
use crate::shape::Untrusted;
use rustix::fs::FileType;
use std::collections::HashSet;

pub use desktop::Entry;

const FILE_LIMIT: u64 = 4 << 20;
const PASSWD_LIMIT: u64 = 16 << 20;

/// Folders of the system of which every entry starts.
pub const SYSTEM_FOLDERS: [&str; 8] = [
    "/etc/xdg/autostart",
    "/usr/share/gnome/autostart",
    "/usr/share/autostart",
    "/etc/X11/Xsession.d",
    "/etc/X11/xinit/xinitrc.d",
    "/etc/xdg/plasma-workspace/env",
    "/etc/xdg/plasma-workspace/shutdown",
    "/etc/profile.d",
];
/// Files of the system, whoever signs in.
pub const SYSTEM_FILES: [&str; 15] = [
    "/etc/profile",
    "/etc/bash.bashrc",
    "/etc/bashrc",
    "/etc/zshenv",
    "/etc/zprofile",
    "/etc/zshrc",
    "/etc/zsh/zshenv",
    "/etc/zsh/zprofile",
    "/etc/zsh/zshrc",
    "/etc/zsh/zlogin",
    "/etc/csh.cshrc",
    "/etc/csh.login",
    "/etc/fish/config.fish",
    "/etc/X11/xinit/xinitrc",
    "/etc/X11/Xsession",
];
pub const HOME_FOLDERS: [&str; 6] = [
    ".config/autostart",
    ".config/autostart-scripts",
    ".config/plasma-workspace/env",
    ".config/plasma-workspace/shutdown",
    ".kde/Autostart",
    ".config/fish/conf.d",
];
pub const HOME_FILES: [&str; 21] = [
    ".profile",
    ".bash_profile",
    ".bash_login",
    ".bashrc",
    ".bash_aliases",
    ".bash_logout",
    ".zshenv",
    ".zprofile",
    ".zshrc",
    ".zlogin",
    ".zlogout",
    ".kshrc",
    ".cshrc",
    ".tcshrc",
    ".login",
    ".config/fish/config.fish",
    ".xprofile",
    ".xinitrc",
    ".xsession",
    ".Xsession",
    ".xsessionrc",
];

/// The items of this host or of an image.
pub fn list(view: &View, job: &Job) -> Result<Vec<StartupItem>> {
    let sources = Sources::new(view, job);
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    let mut add = |path: DevicePath, user: Option<&Untrusted>| -> Result<()> {
        if let Some(source) = sources.read(&path, FILE_LIMIT)?
            && seen.insert((path, source.facts.identity))
        {
            rows.push(row(&sources, source, user));
        }
        Ok(())
    };
    for folder in SYSTEM_FOLDERS.map(DevicePath::new) {
        for path in entries(&sources, &folder)? {
            add(path, None)?;
        }
    }
    SYSTEM_FILES.into_iter().try_for_each(|file| add(DevicePath::new(file), None))?;
    let passwd = sources.read(&DevicePath::new("/etc/passwd"), PASSWD_LIMIT)?;
    let accounts = passwd.map(|p| Account::all(&p.bytes)).unwrap_or_default();
    for home in homes(&accounts, others(&sources)?.into_iter()) {
        let user = home.user.as_ref();
        for folder in HOME_FOLDERS {
            for path in entries(&sources, &home.path.join(&DevicePath::new(folder)))? {
                add(path, user)?;
            }
        }
        HOME_FILES.into_iter().try_for_each(|file| add(home.path.join(&DevicePath::new(file)), user))?;
    }
    sources.finish();
    Ok(rows)
}

fn entries(sources: &Sources<'_>, folder: &DevicePath) -> Result<Vec<DevicePath>> {
    let items = sources.list(folder)?.into_iter();
    let files = items.filter(|item| matches!(item.kind, FileType::RegularFile | FileType::Symlink));
    Ok(files.map(|item| folder.join(&DevicePath::new(item.name))).collect())
}

/// Homes that no account names.
fn others(sources: &Sources<'_>) -> Result<Vec<DevicePath>> {
    let folder = DevicePath::new("/home");
    let items = sources.list(&folder)?.into_iter().filter(|item| item.kind == FileType::Directory);
    let homes = items.map(|item| folder.join(&DevicePath::new(item.name)));
    Ok(homes.chain([DevicePath::new("/root")]).collect())
}

fn row(sources: &Sources<'_>, source: Source, user: Option<&Untrusted>) -> StartupItem {
    let is_entry = source.path.as_bytes().ends_with(b".desktop");
    let target = match is_entry {
        true => Entry::parse(&source.bytes).told(),
        // A link runs what it leads to.
        false => (source.real_path != source.path)
            .then(|| sources.target(&source.path))
            .flatten()
            .map(|t| Untrusted::from_bytes(t.as_bytes())),
    };
    StartupItem {
        user: user.cloned(),
        folder: source.path.parent(),
        target,
        modified: Some(source.facts.modified),
        sha256: (!source.cut).then(|| hash::of_bytes(&source.bytes).sha256),
        file: source.path,
    }
}

#[cfg(test)]
mod tests;
