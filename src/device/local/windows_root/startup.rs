//! `startupfolders` of a Windows volume: the folders that Windows opens at logon, moved or not, and what their shortcuts
//! start.

use super::lnk::{self, Shortcut};
use super::machine::{Machine, key, text};
use super::{Profile, WindowsRoot, names};
use crate::device::local::linux::hash;
use crate::device::local::linux::view::How;
use crate::device::local::registry::Hive;
use crate::error::Result;
use crate::model::{DevicePath, Job, StartupItem};
use crate::shape::Untrusted;
use std::io::Read;

const COMMON: &[&str] = &["ProgramData", "Microsoft", "Windows", "Start Menu", "Programs", "StartUp"];
const COMMON_XP: &[&str] = &["Documents and Settings", "All Users", "Start Menu", "Programs", "Startup"];
const OWN: &[&str] = &["AppData", "Roaming", "Microsoft", "Windows", "Start Menu", "Programs", "Startup"];
const OWN_XP: &[&str] = &["Start Menu", "Programs", "Startup"];
/// Where the registry may move them, the first that stands winning.
const MOVED: [&str; 2] = ["User Shell Folders", "Shell Folders"];
const EXPLORER: &str = "Microsoft\\Windows\\CurrentVersion\\Explorer";

pub fn list(root: &WindowsRoot<'_>, job: &Job) -> Result<Vec<StartupItem>> {
    items(root, &Machine::open(root, job)?, job)
}

/// The items of a machine whose hives are open.
pub fn items(root: &WindowsRoot<'_>, machine: &Machine, job: &Job) -> Result<Vec<StartupItem>> {
    let mut rows = Vec::new();
    let mut folders = Vec::new();
    let moved = match &machine.software {
        Some(software) => moved_to(software.hive(), EXPLORER, "Common Startup", job)?,
        None => Vec::new(),
    };
    let usual = [COMMON, COMMON_XP].into_iter().filter_map(|parts| root.find(parts));
    folders.extend(usual.chain(moved.iter().filter_map(|m| root.on_volume(m, None))).map(|folder| (None, folder)));
    for user in &machine.users {
        let moved = match &user.ntuser {
            Some(ntuser) => moved_to(ntuser.hive(), &format!("Software\\{EXPLORER}"), "Startup", job)?,
            None => Vec::new(),
        };
        let usual = [OWN, OWN_XP].into_iter().filter_map(|parts| super::below(root.view, &user.profile.folder, parts));
        let moved = moved.iter().filter_map(|m| root.on_volume(m, Some(&user.profile)));
        folders.extend(usual.chain(moved).map(|folder| (Some(&user.profile), folder)));
    }
    let mut seen = Vec::new();
    for (user, folder) in folders {
        let Some(identity) = root.view.identity(&folder) else { continue };
        if seen.contains(&(user.map(Profile::key), identity)) {
            continue;
        }
        seen.push((user.map(Profile::key), identity));
        list_folder(root, user, &folder, &mut rows, job)?;
    }
    Ok(rows)
}

fn moved_to(hive: &Hive, explorer: &str, name: &str, job: &Job) -> Result<Vec<String>> {
    let mut moved = Vec::new();
    for place in MOVED {
        if let Some(at) = key(hive, hive.root(), &format!("{explorer}\\{place}"), job)? {
            moved.extend(text(hive, &at, name));
        }
    }
    Ok(moved)
}

fn list_folder(
    root: &WindowsRoot<'_>,
    user: Option<&Profile>,
    folder: &DevicePath,
    rows: &mut Vec<StartupItem>,
    job: &Job,
) -> Result<()> {
    for name in names(root.view, folder) {
        job.check()?;
        // Explorer starts all but this one, which describes the folder.
        if name.eq_ignore_ascii_case(b"desktop.ini") {
            continue;
        }
        let file = folder.join(&DevicePath::new(name));
        let opened = match root.view.open(&file, How::File) {
            Ok(opened) => opened,
            Err(e) => {
                job.warn(format!("a start-up item was left out: {}", e.message));
                continue;
            }
        };
        let is_link = file.as_bytes().to_ascii_lowercase().ends_with(b".lnk");
        let mut bytes = Vec::new();
        let read = is_link.then(|| (&opened.file).take(lnk::LIMIT).read_to_end(&mut bytes));
        let shortcut = read.filter(|r| r.is_ok()).and_then(|_| Shortcut::parse(&bytes));
        job.advance(1);
        rows.push(StartupItem {
            user: user.map(|u| Untrusted::new(u.name.clone())),
            folder: folder.clone(),
            target: shortcut.and_then(|s| s.command()).map(Untrusted::new),
            modified: Some(opened.facts.modified),
            sha256: Some(hash::sha256(&opened.file, job)?),
            file,
        });
    }
    Ok(())
}
