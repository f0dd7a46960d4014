//! `scheduledtasks`: what runs at set times: cron, anacron, at, and systemd's timers, with the next run.
//!
//! Invariant: every job that a scheduler would find is a row, those that it skips are too, with `enabled` false; times
//! are told in the device's own zone.

mod anacron;
mod at;
mod calendar;
mod clock;
mod cron;
mod crontab;
mod timer;

pub use at::{Name as AtName, SPOOLS};

use super::persistence::accounts::{Account, Home, homes};
use super::sources::Sources;
use super::systemd_bus::SystemdBus;
use super::view::View;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, Job, ScheduledTask, TaskQuery, Timestamp};
use crate::nearest::unmatched;
use crate::shape::Untrusted;
use clock::Clock;
use globset::{GlobBuilder, GlobMatcher};
use std::collections::HashSet;

const PASSWD_LIMIT: u64 = 16 << 20;
const NAME_LIMIT: usize = 1_024;

/// What the collectors of one listing share.
pub struct Collect<'a> {
    sources: &'a Sources<'a>,
    accounts: Vec<Account>,
    clock: Clock<'a>,
    bus: Option<&'a SystemdBus>,
}

/// The tasks of this host or of an image. `bus` is where systemd answers, where it runs. `E_BAD_ARGS` where `name` is no
/// pattern.
pub fn list(view: &View, bus: Option<&SystemdBus>, query: &TaskQuery, job: &Job) -> Result<Vec<ScheduledTask>> {
    let wanted = query.name.as_deref().map(pattern).transpose()?;
    let sources = Sources::new(view, job);
    let collect = Collect::new(&sources, bus)?;
    let mut rows = collect.cron()?;
    rows.extend(collect.anacron()?);
    rows.extend(collect.at()?);
    rows.extend(collect.timers()?);
    drop(collect);
    sources.finish();
    if let Some((wanted, asked)) = wanted.zip(query.name.as_deref()) {
        if !rows.iter().any(|row| is_named(row, &wanted)) {
            job.warn(unmatched("no task has the name", asked, rows.iter().map(|row| row.name.raw())));
        }
        rows.retain(|row| is_named(row, &wanted));
    }
    Ok(rows)
}

/// By its name, by the file that it stands in, or by that file's path.
fn is_named(row: &ScheduledTask, wanted: &GlobMatcher) -> bool {
    let name = row.name.raw();
    let file = name.rsplit_once(':').map_or(name, |(file, _)| file);
    let path = row.source.as_ref().map(DevicePath::to_text);
    wanted.is_match(name) || wanted.is_match(file) || path.is_some_and(|p| wanted.is_match(p.as_ref()))
}

fn pattern(name: &str) -> Result<GlobMatcher> {
    let refused = |why: &str| {
        Error::new(ErrorCode::BadArgs, format!("name {name:?}: {why}")).hint("a task's name, or one with `*` and `?`")
    };
    if name.is_empty() || name.len() > NAME_LIMIT {
        return Err(refused("a name has 1 to 1,024 bytes"));
    }
    GlobBuilder::new(name).build().map(|g| g.compile_matcher()).map_err(|e| refused(&e.kind().to_string()))
}

impl<'a> Collect<'a> {
    pub fn new(sources: &'a Sources<'a>, bus: Option<&'a SystemdBus>) -> Result<Self> {
        let passwd = sources.read(&DevicePath::new("/etc/passwd"), PASSWD_LIMIT)?;
        let accounts = passwd.map(|p| Account::all(&p.bytes)).unwrap_or_default();
        Ok(Collect { sources, accounts, clock: Clock::read(sources, Timestamp::now())?, bus })
    }

    pub fn cron(&self) -> Result<Vec<ScheduledTask>> {
        cron::rows(self)
    }

    pub fn anacron(&self) -> Result<Vec<ScheduledTask>> {
        anacron::rows(self)
    }

    pub fn at(&self) -> Result<Vec<ScheduledTask>> {
        at::rows(self)
    }

    pub fn timers(&self) -> Result<Vec<ScheduledTask>> {
        timer::rows(self)
    }

    fn exists(&self, path: &str) -> bool {
        self.sources.view().identity(&DevicePath::new(path)).is_some()
    }

    /// The folders that exist, each once, whatever names it has.
    fn distinct(&self, folders: &[&str]) -> Vec<DevicePath> {
        let mut seen = HashSet::new();
        let paths = folders.iter().map(|f| DevicePath::new(*f));
        paths.filter(|p| self.sources.view().identity(p).is_some_and(|id| seen.insert(id))).collect()
    }

    fn user_of(&self, uid: u32) -> Untrusted {
        let account = self.accounts.iter().find(|a| a.uid == uid);
        account.map_or_else(|| Untrusted::new(uid.to_string()), Account::shown)
    }

    fn homes(&self) -> Vec<Home> {
        homes(&self.accounts, std::iter::empty())
    }

    fn uid_of(&self, name: &Untrusted) -> u32 {
        self.accounts.iter().find(|a| a.shown() == *name).map_or(0, |a| a.uid)
    }
}

/// Reads a crontab as a user's and as the system's, for `fuzz/`.
pub fn exhaust_crontab(bytes: &[u8]) {
    for with_user in [false, true] {
        let _ = crontab::parse(bytes, with_user);
    }
    let _ = std::str::from_utf8(bytes).ok().and_then(calendar::Calendar::parse);
}

/// Reads a job of `at`: its first 14 bytes as the name, all as the script.
pub fn exhaust_at(bytes: &[u8]) {
    let _ = bytes.get(..14).and_then(at::Name::parse);
    let _ = at::Script::parse(bytes);
}

#[cfg(test)]
mod tests;
