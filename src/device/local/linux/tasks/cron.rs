//! The crontabs of the system and of users, and the folders that `run-parts` runs.

use super::Collect;
use super::crontab::{Job, LINES, fields_of, parse};
use crate::error::Result;
use crate::model::{DevicePath, ScheduledTask};
use crate::shape::Untrusted;
use rustix::fs::FileType;
use std::collections::HashMap;

const FILE_LIMIT: u64 = 4 << 20;
const SPOOLS: [&str; 4] = ["/var/spool/cron/crontabs", "/var/spool/cron/tabs", "/var/spool/cron", "/etc/crontabs"];
const FOLDERS: [&str; 5] = ["hourly", "daily", "weekly", "monthly", "yearly"];
/// Where a command may come from without a word about it.
const USUAL_PATH: [&[u8]; 7] =
    [b"/usr/local/sbin", b"/usr/local/bin", b"/sbin", b"/bin", b"/usr/sbin", b"/usr/bin", b"/snap/bin"];

/// The schedules at which crontabs run the folders.
type Schedules = HashMap<&'static str, (String, bool)>;

pub(super) fn rows(collect: &Collect<'_>) -> Result<Vec<ScheduledTask>> {
    let mut rows = Vec::new();
    let mut schedules = Schedules::new();
    let mut system = vec![(DevicePath::new("/etc/crontab"), "crontab".to_owned(), true)];
    let folder = DevicePath::new("/etc/cron.d");
    for item in collect.sources.list(&folder)? {
        if matches!(item.kind, FileType::RegularFile | FileType::Symlink) {
            let label = format!("cron.d/{}", Untrusted::from_bytes(&item.name).raw());
            let is_read = is_read(&item.name, collect.exists("/usr/sbin/crond"));
            system.push((folder.join(&DevicePath::new(item.name)), label, is_read));
        }
    }
    for (path, label, is_read) in system {
        for job in jobs(collect, &path, true)? {
            note_schedules(&job, &mut schedules);
            let user = job.user.clone();
            rows.push(row(collect, &job, &label, user, is_read, &path)?);
        }
    }
    rows.extend(users(collect)?);
    rows.extend(folders(collect, &schedules)?);
    Ok(rows)
}

fn jobs(collect: &Collect<'_>, path: &DevicePath, with_user: bool) -> Result<Vec<Job>> {
    let Some(source) = collect.sources.read(path, FILE_LIMIT)? else { return Ok(Vec::new()) };
    let (jobs, is_cut) = parse(&source.bytes, with_user);
    if is_cut {
        collect.sources.job().warn(format!("{path} has more than {LINES} lines: the rest is not shown"));
    }
    Ok(jobs)
}

fn users(collect: &Collect<'_>) -> Result<Vec<ScheduledTask>> {
    let mut rows = Vec::new();
    for spool in collect.distinct(&SPOOLS) {
        for item in collect.sources.list(&spool)? {
            if item.kind != FileType::RegularFile {
                continue;
            }
            let path = spool.join(&DevicePath::new(item.name.clone()));
            let label = format!("crontabs/{}", Untrusted::from_bytes(&item.name).raw());
            // A file of another name is an editor's, or nobody's: no account, no run.
            let is_account = collect.accounts.is_empty() || collect.accounts.iter().any(|a| a.name == item.name);
            for job in jobs(collect, &path, false)? {
                rows.push(row(collect, &job, &label, Some(item.name.clone()), is_account, &path)?);
            }
        }
    }
    Ok(rows)
}

fn row(
    collect: &Collect<'_>,
    job: &Job,
    label: &str,
    user: Option<Vec<u8>>,
    is_read: bool,
    path: &DevicePath,
) -> Result<ScheduledTask> {
    let zone = job.settings.iter().find(|(name, _)| name == b"CRON_TZ").map(|(_, zone)| &zone[..]);
    let (next_run, comes) = match fields_of(&job.schedule).filter(|_| is_read) {
        Some(fields) => (collect.clock.next_of_cron(fields, zone)?, !collect.clock.never_comes(fields)?),
        None => (None, true),
    };
    Ok(ScheduledTask {
        name: Untrusted::new(format!("{label}:{}", job.line)),
        kind: "cron",
        schedule: Some(Untrusted::new(job.schedule.clone())),
        command: Some(Untrusted::from_bytes(&[telling(&job.settings), job.command.clone()].concat())),
        user: user.map(|u| Untrusted::from_bytes(&u)),
        enabled: Some(is_read && comes),
        source: Some(path.clone()),
        next_run,
    })
}

/// The settings that change what a command is or does, before it as a shell would have them.
fn telling(settings: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in settings.iter().filter(|(name, value)| !is_usual(name, value)) {
        text.extend([&name[..], b"=", value, b" "].concat());
    }
    text
}

fn is_usual(name: &[u8], value: &[u8]) -> bool {
    match name {
        b"SHELL" => matches!(value, b"/bin/sh" | b"/bin/bash" | b"/usr/bin/sh" | b"/usr/bin/bash"),
        b"PATH" => value.split(|b| *b == b':').all(|folder| USUAL_PATH.contains(&folder)),
        b"MAILTO" => matches!(value, b"" | b"root"),
        b"HOME" => matches!(value, b"/" | b"/root"),
        b"LANG" | b"LC_ALL" | b"LOGNAME" | b"MAILFROM" | b"CRON_TZ" | b"RANDOM_DELAY" | b"START_HOURS_RANGE" => true,
        _ => false,
    }
}

/// Whether cron reads a file of `/etc/cron.d` of this name: Debian's asks for the names of `run-parts`, cronie (`crond`)
/// only leaves out what editors and packages leave behind.
fn is_read(name: &[u8], is_cronie: bool) -> bool {
    if is_cronie { !is_left_behind(name) && name.first() != Some(&b'.') } else { is_plain(name) }
}

fn is_plain(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

fn is_left_behind(name: &[u8]) -> bool {
    const ENDS: [&[u8]; 8] = [b"~", b",", b".rpmsave", b".rpmorig", b".rpmnew", b".swp", b",v", b".cfsaved"];
    ENDS.iter().any(|end| name.ends_with(end))
}

fn note_schedules(job: &Job, schedules: &mut Schedules) {
    let names = |folder: &str| memchr::memmem::find(&job.command, format!("/etc/cron.{folder}").as_bytes()).is_some();
    for folder in FOLDERS.into_iter().filter(|f| names(f)) {
        let by_anacron = memchr::memmem::find(&job.command, b"anacron").is_some();
        schedules.entry(folder).or_insert_with(|| (job.schedule.clone(), by_anacron));
    }
}

/// The scripts of `/etc/cron.daily` and its like. Where anacron is there, the crontab leaves them to it.
fn folders(collect: &Collect<'_>, schedules: &Schedules) -> Result<Vec<ScheduledTask>> {
    let is_cronie = collect.exists("/usr/sbin/crond");
    let has_anacron = collect.exists("/usr/sbin/anacron");
    let mut rows = Vec::new();
    for folder in FOLDERS {
        let path = DevicePath::new(format!("/etc/cron.{folder}"));
        let schedule = schedules.get(folder);
        let comes = match schedule.and_then(|(schedule, _)| fields_of(schedule)) {
            Some(fields) => !collect.clock.never_comes(fields)?,
            None => true,
        };
        let next_run = match schedule.filter(|(_, by_anacron)| !(*by_anacron && has_anacron)) {
            Some((schedule, _)) => {
                fields_of(schedule).map(|f| collect.clock.next_of_cron(f, None)).transpose()?.flatten()
            }
            None => None,
        };
        for item in collect.sources.list(&path)? {
            if !matches!(item.kind, FileType::RegularFile | FileType::Symlink) || item.name == b".placeholder" {
                continue;
            }
            let script = path.join(&DevicePath::new(item.name.clone()));
            let may_run = collect.sources.facts(&script).is_some_and(|(f, _)| f.is_file() && f.mode & 0o111 != 0);
            let enabled =
                comes && may_run && if is_cronie { !is_left_behind(&item.name) } else { is_plain(&item.name) };
            rows.push(ScheduledTask {
                name: Untrusted::new(format!("cron.{folder}/{}", Untrusted::from_bytes(&item.name).raw())),
                kind: "cron",
                schedule: Some(Untrusted::new(schedule.map_or_else(|| folder.to_owned(), |(s, _)| s.clone()))),
                command: Some(Untrusted::from_bytes(script.as_bytes())),
                user: Some(Untrusted::new("root")),
                enabled: Some(enabled),
                source: Some(script),
                next_run: next_run.filter(|_| enabled),
            });
        }
    }
    Ok(rows)
}
