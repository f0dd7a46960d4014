//! systemd's timers, of the system and of users, with what they start.

use super::super::systemd_bus::Elapses;
use super::super::units::{Name, Place, Scope, State, Unit, Units};
use super::Collect;
use super::calendar::Calendar;
use crate::error::Result;
use crate::model::{ScheduledTask, Timestamp};
use crate::shape::Untrusted;
use std::collections::HashMap;

const KEYS: [&str; 8] = [
    "OnCalendar",
    "OnActiveSec",
    "OnBootSec",
    "OnStartupSec",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
    "OnClockChange",
    "OnTimezoneChange",
];

pub(super) fn rows(collect: &Collect<'_>) -> Result<Vec<ScheduledTask>> {
    let elapses = elapses(collect)?;
    let mut rows = of_manager(collect, &Scope::System, None, &elapses)?;
    for home in collect.homes() {
        let Some(user) = home.user else { continue };
        let scope = Scope::User { uid: collect.uid_of(&user), home: home.path };
        rows.extend(of_manager(collect, &scope, Some(user), &HashMap::new())?);
    }
    Ok(rows)
}

/// What the running manager says, by the timer's name; nothing where none answers.
fn elapses(collect: &Collect<'_>) -> Result<HashMap<Name, Elapses>> {
    let Some(bus) = collect.bus else { return Ok(HashMap::new()) };
    match bus.timers(collect.sources.job()) {
        Ok(timers) => Ok(timers.into_iter().map(|(loaded, elapses)| (loaded.name, elapses)).collect()),
        Err(e) => {
            collect.sources.job().check()?;
            collect.sources.job().warn(format!("{}: next runs of timers are worked out from their files", e.message));
            Ok(HashMap::new())
        }
    }
}

/// Of a user's manager only the user's own, since the others are the same for all.
fn of_manager(
    collect: &Collect<'_>,
    scope: &Scope,
    user: Option<Untrusted>,
    elapses: &HashMap<Name, Elapses>,
) -> Result<Vec<ScheduledTask>> {
    let units = match scope {
        Scope::System => Units::read(scope, collect.sources)?,
        _ => Units::read_own(scope, collect.sources)?,
    };
    let mut rows = Vec::new();
    for name in units.names("timer") {
        let timer = units.load(&name)?;
        if timer.state == State::Alias {
            continue;
        }
        let service = match timer.starts() {
            Some(service) => Some(units.load(&service)?),
            None => None,
        };
        let is_on = is_enabled(&units, &timer);
        let next_run = match elapses.get(&name).and_then(|e| next_of(*e)) {
            Some(next) => Some(next),
            None if is_on => next_of_file(collect, &timer)?,
            None => None,
        };
        rows.push(ScheduledTask {
            name: Untrusted::new(name.as_str()),
            kind: "timer",
            schedule: schedule(&timer),
            command: service.as_ref().and_then(command),
            user: Some(user.clone().unwrap_or_else(|| account(service.as_ref()))),
            enabled: Some(is_on),
            source: timer.fragment.map(|part| part.path),
            next_run,
        });
    }
    Ok(rows)
}

/// Whether something starts it: its own installation, or a link of a package.
fn is_enabled(units: &Units<'_>, timer: &Unit) -> bool {
    match timer.state {
        State::Enabled | State::EnabledRuntime | State::Generated | State::Transient => true,
        State::Masked | State::MaskedRuntime | State::NotFound => false,
        _ => units.index().wanted_by(&timer.name).any(|w| w.place == Place::Vendor),
    }
}

fn next_of(elapses: Elapses) -> Option<Timestamp> {
    let micros = |us: u64| {
        let seconds = i64::try_from(us / 1_000_000).ok()?;
        Some(Timestamp::from_unix(seconds, u32::try_from(us % 1_000_000).ok()? * 1_000))
    };
    let boot = || {
        let up = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Timestamp::now().as_secs().checked_sub(up.tv_sec)
    };
    let monotonic = elapses.monotonic.and_then(micros).and_then(|t| Some(t.plus_secs(boot()?)));
    [elapses.realtime.and_then(micros), monotonic].into_iter().flatten().min()
}

/// The soonest of its calendar events; what counts from a boot or a last run is not told by a file.
fn next_of_file(collect: &Collect<'_>, timer: &Unit) -> Result<Option<Timestamp>> {
    let mut soonest: Option<Timestamp> = None;
    for event in timer.text.list("Timer", "OnCalendar").into_iter().take(64) {
        collect.sources.job().check()?;
        let calendar = std::str::from_utf8(event).ok().and_then(Calendar::parse);
        if let Some(next) = calendar.map(|c| collect.clock.next_of_calendar(&c)).transpose()?.flatten() {
            soonest = Some(soonest.map_or(next, |s| s.min(next)));
        }
    }
    Ok(soonest)
}

fn schedule(timer: &Unit) -> Option<Untrusted> {
    let values = KEYS.iter().flat_map(|key| timer.text.list("Timer", key).into_iter().map(move |v| (key, v)));
    let parts: Vec<Vec<u8>> = values.map(|(key, value)| [key.as_bytes(), b"=", value].concat()).collect();
    (!parts.is_empty()).then(|| Untrusted::from_bytes(&parts.join(&b"; "[..])))
}

fn command(service: &Unit) -> Option<Untrusted> {
    let lines = service.text.list("Service", "ExecStart");
    (!lines.is_empty()).then(|| Untrusted::from_bytes(&lines.join(&b"; "[..])))
}

fn account(service: Option<&Unit>) -> Untrusted {
    let user = service.and_then(|s| s.value("Service", "User"));
    user.map_or_else(|| Untrusted::new("root"), Untrusted::from_bytes)
}
