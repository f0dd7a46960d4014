//! The hives that a Windows volume starts from, opened together: SYSTEM with its current control set, SOFTWARE, and each
//! user's.
//!
//! Invariant: a hive that is missing or broken is a warning; what the others hold is still read.

use super::hives::HiveFile;
use super::spelling::{Base, after, variable};
use super::{Profile, WindowsRoot};
use crate::device::local::registry::{Hive, Key, Value, strings};
use crate::error::{ErrorCode, Result};
use crate::model::{DevicePath, Job};
use std::borrow::Cow;

/// Of one value's data, this much is read: Windows takes no longer command line.
const DATA: usize = 64 * 1024;

pub struct Machine {
    pub system: Option<Control>,
    pub software: Option<HiveFile>,
    pub users: Vec<User>,
}

/// SYSTEM, and which of its control sets Windows starts with.
pub struct Control {
    pub file: HiveFile,
    pub set: String,
}

pub struct User {
    pub profile: Profile,
    pub ntuser: Option<HiveFile>,
    pub classes: Option<HiveFile>,
}

impl Machine {
    /// SYSTEM alone.
    pub fn system(root: &WindowsRoot<'_>, job: &Job) -> Result<Option<Control>> {
        let Some(file) = config(root, "SYSTEM", job)? else { return Ok(None) };
        let set = super::registry::current_control_set(file.hive(), job)?;
        Ok(Some(Control { set: set.unwrap_or_else(|| "ControlSet001".into()), file }))
    }

    /// SOFTWARE alone.
    pub fn software(root: &WindowsRoot<'_>, job: &Job) -> Result<Option<HiveFile>> {
        config(root, "SOFTWARE", job)
    }

    pub fn open(root: &WindowsRoot<'_>, job: &Job) -> Result<Machine> {
        let mut users = Vec::new();
        for profile in root.profiles(job)? {
            let ntuser = optional(root, profile.ntuser(root), job)?;
            let classes = optional(root, profile.usrclass(root), job)?;
            users.push(User { profile, ntuser, classes });
        }
        Ok(Machine { system: Machine::system(root, job)?, software: Machine::software(root, job)?, users })
    }
}

fn config(root: &WindowsRoot<'_>, name: &str, job: &Job) -> Result<Option<HiveFile>> {
    let Some(path) = root.find_system(&["System32", "config", name]) else {
        job.warn(format!("the volume has no hive {name}: what it would tell is missing"));
        return Ok(None);
    };
    optional(root, Some(path), job)
}

fn optional(root: &WindowsRoot<'_>, path: Option<DevicePath>, job: &Job) -> Result<Option<HiveFile>> {
    let Some(path) = path else { return Ok(None) };
    match HiveFile::open(root.view, &path, job) {
        Ok(file) => Ok(Some(file)),
        Err(e) if matches!(e.code, ErrorCode::Cancelled | ErrorCode::Timeout) => Err(e),
        Err(e) => {
            job.warn(format!("a hive was left out: {}", e.message));
            Ok(None)
        }
    }
}

/// A value's data as one line: the strings of a list apart by `; `.
pub fn line(hive: &Hive, value: &Value) -> String {
    let data = hive.data(value, DATA);
    match value.kind {
        // REG_MULTI_SZ
        7 => strings(&data.bytes).join("; "),
        kind => data.text(kind),
    }
}

/// The named value as one line; `None` where it is missing or empty.
pub fn text(hive: &Hive, key: &Key, name: &str) -> Option<String> {
    let value = hive.value(key, name)?;
    Some(line(hive, &value)).filter(|t| !t.trim().is_empty())
}

/// A `REG_DWORD`.
pub fn number(hive: &Hive, key: &Key, name: &str) -> Option<u32> {
    let value = hive.value(key, name)?;
    hive.data(&value, 4).bytes.first_chunk::<4>().map(|b| u32::from_le_bytes(*b))
}

/// The key at a path whose names are apart by `\`.
pub fn key(hive: &Hive, top: &Key, path: &str, job: &Job) -> Result<Option<Key>> {
    hive.find(top, path.split('\\').filter(|p| !p.is_empty()), job)
}

impl WindowsRoot<'_> {
    /// Where the volume has what Windows calls `C:\…`, `%SystemRoot%\…`, `\??\C:\…` or `System32\…`. The volume is taken
    /// for the one that Windows started from, whatever the letter.
    pub fn on_volume(&self, path: &str, user: Option<&Profile>) -> Option<DevicePath> {
        let path = path.trim().trim_matches('"').replace('/', "\\");
        let path = ["\\??\\", "\\\\?\\"].iter().find_map(|p| path.strip_prefix(p)).unwrap_or(&path);
        let below = |top: &DevicePath, more: &[&str], rest: &str| {
            let parts: Vec<&str> = more.iter().copied().chain(rest.split('\\').filter(|p| !p.is_empty())).collect();
            let climbs = parts.iter().any(|p| matches!(*p, "." | ".."));
            (!climbs).then(|| super::below(self.view, top, &parts)).flatten()
        };
        if let Some(rest) = after(path, "\\SystemRoot") {
            return below(&self.system, &[], rest);
        }
        if let Some((base, folders, rest)) = variable(path) {
            let from = match base {
                Base::Root => &self.root,
                Base::System => &self.system,
                Base::User => &user?.folder,
            };
            return below(from, folders, rest);
        }
        match path.as_bytes() {
            [letter, b':', b'\\', ..] if letter.is_ascii_alphabetic() => below(&self.root, &[], path.get(2..)?),
            [b'\\', b'\\', ..] => None,
            [b'\\', ..] => below(&self.root, &[], path),
            _ if path.contains('\\') => below(&self.system, &[], path),
            // A bare name is looked for where Windows would look first.
            _ => below(&self.system, &["System32"], path).or_else(|| below(&self.system, &[], path)),
        }
    }

    /// The program of a command line, on the volume: quoted, or as many words as there is a file for.
    pub fn program(&self, command: &str, user: Option<&Profile>) -> Option<DevicePath> {
        let command = command.trim();
        if let Some(quoted) = command.strip_prefix('"') {
            return self.on_volume(quoted.split('"').next()?, user);
        }
        let ends = command.match_indices(' ').map(|(at, _)| at).take(32).chain([command.len()]);
        ends.filter_map(|end| command.get(..end)).find_map(|start| {
            let with_exe = || Cow::Owned(format!("{start}.exe"));
            [Cow::Borrowed(start), with_exe()].into_iter().find_map(|path| {
                let found = self.on_volume(&path, user)?;
                self.view
                    .open(&found, crate::device::local::linux::view::How::Handle)
                    .ok()?
                    .facts
                    .is_file()
                    .then_some(found)
            })
        })
    }
}
