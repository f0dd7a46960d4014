//! What systemd starts: services of the system and of users, what activates them, generators and other hooks.

use super::scan::{Entry, Found, Scan, root};
use super::text::SCRIPT;
use crate::device::local::linux::sources::Sources;
use crate::device::local::linux::units::{Name, Part, Scope, State, Text, Unit, Units};
use crate::error::{ErrorCode, Result};
use crate::model::{DevicePath, FileIdentity};
use crate::shape::Untrusted;
use std::collections::HashSet;

/// Keys that say what runs beside those that begin with `Exec`, and what changes it.
const KEYS: [&str; 8] =
    ["EnvironmentFile", "Environment", "OnFailure", "OnSuccess", "RootDirectory", "RootImage", "User", "BindPaths"];
/// Sections of units that activate others: all that they say of when and what.
const ACTIVATORS: [&str; 3] = ["Timer", "Socket", "Path"];

pub fn services(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    units_of(scan, found, &Scope::System, &["service"], None)
}

/// What activates services: timers, sockets, paths.
pub fn activation(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    units_of(scan, found, &Scope::System, &["timer", "socket", "path"], None)
}

/// Units of all users, and each user's own.
pub fn user_services(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let kinds = ["service", "timer", "socket", "path"];
    units_of(scan, found, &Scope::AllUsers, &kinds, None)?;
    for home in &scan.homes {
        let uid = scan.accounts.iter().find(|a| Some(a.shown()) == home.user).map_or(0, |a| a.uid);
        let scope = Scope::User { home: home.path.clone(), uid };
        units_of(scan, found, &scope, &kinds, home.user.as_ref())?;
    }
    Ok(())
}

fn units_of(scan: &Scan<'_>, found: &mut Found, scope: &Scope, kinds: &[&str], user: Option<&Untrusted>) -> Result<()> {
    let sources = Sources::new(scan.view, scan.job);
    let units = match scope {
        Scope::User { .. } => Units::read_own(scope, &sources)?,
        _ => Units::read(scope, &sources)?,
    };
    let lingers = user.is_some_and(|u| {
        let flag = DevicePath::new("/var/lib/systemd/linger").join(&DevicePath::new(u.raw()));
        scan.view.identity(&flag).is_some()
    });
    let mut seen: HashSet<FileIdentity> = HashSet::new();
    for name in kinds.iter().flat_map(|kind| units.names(kind)) {
        let unit = units.load(&name)?;
        let runs_as = account(&unit, scope, user);
        let mut parts: Vec<&Part> = unit.drop_ins.iter().collect();
        // An alias and an instance have the file of another name, which has a row.
        if unit.of == unit.name {
            parts.splice(0..0, unit.fragment.as_ref());
        }
        for part in parts.into_iter().filter(|p| seen.insert(p.facts.identity)) {
            let mut lines = lines(&part.text);
            if lines.is_empty() {
                continue;
            }
            lines.extend(started(&units, &unit)?);
            let Some(item) = scan.look(&part.path) else { continue };
            let state = if part.path.as_bytes().ends_with(b".conf") { None } else { Some(unit.state.as_str()) };
            let mut entry = Entry::of(&item).name(name.as_str()).lines(&lines).user(runs_as.clone());
            entry = match state {
                Some(state) => entry.note(state),
                None => entry.note("changes the unit"),
            };
            found.push(entry.note_if(lingers, "lingers: it runs without a sign-in"));
        }
    }
    drop(units);
    sources.into_unreadable().iter().for_each(|path| scan.note_unread(path, ErrorCode::Access));
    Ok(())
}

fn account(unit: &Unit, scope: &Scope, user: Option<&Untrusted>) -> Option<Untrusted> {
    match scope {
        Scope::System => {
            let named = unit.value(&unit.section(), "User");
            Some(named.map_or_else(root, Untrusted::from_bytes))
        }
        _ => user.cloned(),
    }
}

/// `Key=value` of what runs, and of when.
fn lines(text: &Text) -> Vec<Vec<u8>> {
    let tells = |section: &[u8], key: &[u8]| {
        ACTIVATORS.iter().any(|s| s.as_bytes() == section && (key.starts_with(b"On") || key.starts_with(b"Listen")))
            || (section == b"Path" && (key.starts_with(b"Path") || key == b"DirectoryNotEmpty"))
            || key.starts_with(b"Exec")
            || matches!(key, b"Unit" | b"Service")
            || KEYS.iter().any(|k| k.as_bytes() == key)
    };
    let told = text.assignments().iter().filter(|a| tells(&a.section, &a.key));
    told.map(|a| [&a.key[..], b"=", &a.value].concat()).collect()
}

/// What the unit that is activated runs.
fn started(units: &Units<'_>, unit: &Unit) -> Result<Vec<Vec<u8>>> {
    let Some(name) = unit.starts() else { return Ok(Vec::new()) };
    let started = units.load(&name)?;
    if started.state == State::NotFound {
        return Ok(vec![missing(&name)]);
    }
    let runs = started.text.list("Service", "ExecStart").into_iter();
    Ok(runs.map(|line| [name.as_str().as_bytes(), b": ", line].concat()).collect())
}

fn missing(name: &Name) -> Vec<u8> {
    format!("{name}: not found").into_bytes()
}

pub fn generators(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let kinds =
        ["system-generators", "user-generators", "system-environment-generators", "user-environment-generators"];
    let roots = ["/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd"];
    let folders = roots.iter().flat_map(|r| kinds.map(|kind| format!("{r}/{kind}")));
    found.files(scan, scan.files_in(folders), Some(&root()), &SCRIPT)
}

/// What runs at shutdown and sleep, and the environment of what runs.
pub fn hooks(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let kinds = ["system-shutdown", "system-sleep"];
    let roots = ["/etc/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd", "/lib/systemd"];
    let folders = roots.iter().flat_map(|r| kinds.map(|kind| format!("{r}/{kind}")));
    found.files(scan, scan.files_in(folders), Some(&root()), &SCRIPT)?;
    let environment =
        ["/etc/environment.d", "/run/environment.d", "/usr/local/lib/environment.d", "/usr/lib/environment.d"];
    found.files(scan, scan.files_in(environment), None, &SCRIPT)?;
    for home in &scan.homes {
        let folder = home.path.join(&DevicePath::new(".config/environment.d"));
        found.files(scan, scan.files_in([folder.as_bytes()]), home.user.as_ref(), &SCRIPT)?;
    }
    Ok(())
}
