//! `services`: what the system starts by itself, from the running systemd, from unit files, and from SysV scripts.
//!
//! Invariant: every unit file is a row, whether it runs or not; what only a running manager knows is absent where there
//! is none, and said.

use super::sources::Sources;
use super::systemd_bus::{Loaded, Runs, Services as Running, SystemdBus};
use super::sysv;
use super::units::{Name, Scope, State, Unit, Units, specify};
use super::view::View;
use crate::error::Result;
use crate::model::{DevicePath, Job, Service};
use crate::shape::Untrusted;
use std::collections::{BTreeMap, BTreeSet};

/// Where a manager looks for a command that is named without its path.
const PATH: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const MANAGERS: [&str; 2] = ["/usr/lib/systemd/systemd", "/lib/systemd/systemd"];
const PID_LIMIT: u64 = 64;

/// The services of this host or of an image. `bus` is where systemd answers, where it runs.
pub fn list(view: &View, bus: Option<&SystemdBus>, job: &Job) -> Result<Vec<Service>> {
    let sources = Sources::new(view, job);
    let running = running(bus, job)?;
    if view.is_live() && bus.is_none() {
        job.warn("systemd does not run here: rows tell what is set up; state and pid are known from pid files alone");
    }
    let units = Units::read(&Scope::System, &sources)?;
    let mut rows = of_units(&units, running)?;
    rows.extend(of_scripts(&sources, &rows)?);
    drop(units);
    sources.finish();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

fn running(bus: Option<&SystemdBus>, job: &Job) -> Result<Option<Running>> {
    let Some(bus) = bus else { return Ok(None) };
    match bus.services(job) {
        Ok(running) => Ok(Some(running)),
        Err(e) => {
            job.check()?;
            job.warn(format!("{}: rows tell what is set up, not what runs", e.message));
            Ok(None)
        }
    }
}

fn of_units(units: &Units<'_>, running: Option<Running>) -> Result<Vec<Service>> {
    let is_running = running.is_some();
    let running = running.unwrap_or_default();
    let modes: BTreeMap<_, _> = running.files.into_iter().collect();
    let mut loaded: BTreeMap<Name, _> =
        running.loaded.into_iter().map(|(l, runs)| (l.name.clone(), (l, runs))).collect();
    // A unit that something names and nobody has: it runs nothing.
    loaded.retain(|_, (l, _)| l.load != "not-found" || l.active == "active");
    let names: BTreeSet<Name> = units.names("service").into_iter().chain(loaded.keys().cloned()).collect();
    let mut rows = Vec::with_capacity(names.len());
    for name in names {
        let unit = units.load(&name)?;
        let mut row = of_unit(units.sources(), &unit);
        if let Some(mode) = modes.get(name.as_str()) {
            row.start_mode = Some(Untrusted::new(mode.clone()));
        }
        match loaded.remove(&name) {
            Some((loaded, runs)) => add_running(&mut row, loaded, runs),
            None if is_running && !name.is_template() && unit.state != State::Alias => {
                row.state = Some(Untrusted::new("inactive"));
            }
            None if !is_running => add_pid(&mut row, units.sources(), unit.value("Service", "PIDFile"), &name)?,
            None => {}
        }
        rows.push(row);
    }
    Ok(rows)
}

/// What the files say.
fn of_unit(sources: &Sources<'_>, unit: &Unit) -> Service {
    let text = |value: &[u8]| Untrusted::from_bytes(&specify(value, &unit.name));
    let has_fragment = unit.fragment.is_some();
    Service {
        name: Untrusted::new(unit.name.as_str()),
        description: unit.value("Unit", "Description").map(text),
        state: None,
        start_mode: Some(Untrusted::new(unit.state.as_str())),
        path: unit.execs("ExecStart").first().and_then(|exec| image(sources, &exec.image)),
        account: has_fragment.then(|| unit.value("Service", "User").map_or_else(|| Untrusted::new("root"), text)),
        pid: None,
        unit_file: unit.fragment.as_ref().map(|part| part.path.clone()),
    }
}

/// What a unit's image is called on the device: a bare name is looked up as the manager does.
fn image(sources: &Sources<'_>, named: &[u8]) -> Option<DevicePath> {
    if named.is_empty() || named.contains(&0) {
        return None;
    }
    let named = DevicePath::new(named);
    if named.as_bytes().contains(&b'/') {
        return Some(named);
    }
    let mut found = PATH.into_iter().map(|folder| DevicePath::new(folder).join(&named));
    Some(found.find(|path| sources.view().identity(path).is_some()).unwrap_or(named))
}

/// What the manager says goes before what the files say now.
fn add_running(row: &mut Service, loaded: Loaded, runs: Runs) {
    let state = if loaded.active == "active" { loaded.sub } else { loaded.active };
    row.state = Some(Untrusted::new(state));
    if !loaded.description.is_empty() {
        row.description = Some(Untrusted::new(loaded.description));
    }
    row.pid = runs.main_pid;
    if let Some(image) = runs.image {
        row.path = Some(DevicePath::new(image));
    }
    match runs.user {
        Some(user) if !user.is_empty() => row.account = Some(Untrusted::new(user)),
        Some(_) => row.account = Some(Untrusted::new("root")),
        None => {}
    }
    if let Some(fragment) = runs.fragment {
        row.unit_file = Some(DevicePath::new(fragment));
    }
}

/// Where no manager tells: a pid file that names a process which lives.
fn add_pid(row: &mut Service, sources: &Sources<'_>, named: Option<&[u8]>, name: &Name) -> Result<()> {
    if !sources.view().is_live() {
        return Ok(());
    }
    let usual = format!("/run/{}.pid", name.prefix());
    let files = named.map(|n| DevicePath::new(specify(n, name))).into_iter().chain([DevicePath::new(usual)]);
    row.pid = pid_of(files, sources)?;
    row.state = row.pid.map(|_| Untrusted::new("running"));
    Ok(())
}

fn pid_of(files: impl IntoIterator<Item = DevicePath>, sources: &Sources<'_>) -> Result<Option<u32>> {
    for file in files.into_iter().filter(|f| f.as_bytes().first() == Some(&b'/')) {
        let Some(source) = sources.head(&file, PID_LIMIT)? else { continue };
        let first = source.bytes.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
        let pid = std::str::from_utf8(first).ok().and_then(|t| t.parse::<u32>().ok()).filter(|pid| *pid != 0);
        if let Some(pid) = pid
            && sources.view().identity(&DevicePath::new(format!("/proc/{pid}/stat"))).is_some()
        {
            return Ok(Some(pid));
        }
    }
    Ok(None)
}

/// The init scripts; where systemd is the system's manager, those that it makes a unit of.
fn of_scripts(sources: &Sources<'_>, units: &[Service]) -> Result<Vec<Service>> {
    let has_manager = MANAGERS.iter().any(|m| sources.view().identity(&DevicePath::new(*m)).is_some());
    let known: BTreeSet<&str> = units.iter().map(|row| row.name.raw()).collect();
    let mut rows = Vec::new();
    for script in sysv::scripts(sources)? {
        let name = Untrusted::from_bytes(&script.name);
        let stem = name.raw().strip_suffix(".sh").unwrap_or(name.raw());
        if has_manager && known.contains(format!("{stem}.service").as_str()) {
            continue;
        }
        let usual = [DevicePath::new([b"/run/", &script.name[..], b".pid"].concat())];
        let pid = match sources.view().is_live() {
            true => pid_of(script.pid_file.into_iter().chain(usual), sources)?,
            false => None,
        };
        rows.push(Service {
            name,
            description: script.description.map(|d| Untrusted::from_bytes(&d)),
            state: pid.map(|_| Untrusted::new("running")),
            start_mode: Some(Untrusted::new(if script.enabled { "enabled" } else { "disabled" })),
            path: Some(script.path.clone()),
            account: Some(Untrusted::new("root")),
            pid,
            unit_file: Some(script.path),
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
