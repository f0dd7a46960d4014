//! What runs at set times: cron, anacron, at. Timers are systemd's units.

use super::scan::{Entry, Found, Item, Scan};
use super::text::SCRIPT;
use crate::device::local::linux::sources::Sources;
use crate::device::local::linux::tasks::Collect;
use crate::error::{ErrorCode, Result};
use crate::model::{DevicePath, ScheduledTask};

pub fn cron_system(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let is_system = |task: &ScheduledTask| !task.name.raw().starts_with("crontabs/");
    tasks(scan, found, |collect| {
        let mut tasks: Vec<_> = collect.cron()?.into_iter().filter(is_system).collect();
        tasks.extend(collect.anacron()?);
        Ok(tasks)
    })
}

pub fn cron_user(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    let is_user = |task: &ScheduledTask| task.name.raw().starts_with("crontabs/");
    tasks(scan, found, |collect| Ok(collect.cron()?.into_iter().filter(is_user).collect()))
}

pub fn at(scan: &Scan<'_>, found: &mut Found) -> Result<()> {
    tasks(scan, found, |collect| collect.at())
}

/// A row a job: those of one file share its facts.
fn tasks(
    scan: &Scan<'_>,
    found: &mut Found,
    read: impl FnOnce(&Collect<'_>) -> Result<Vec<ScheduledTask>>,
) -> Result<()> {
    let sources = Sources::new(scan.view, scan.job);
    let collect = Collect::new(&sources, None)?;
    let tasks = read(&collect)?;
    drop(collect);
    let mut last: Option<(DevicePath, Option<Item>)> = None;
    for task in tasks {
        scan.job.check()?;
        let Some(source) = &task.source else { continue };
        if last.as_ref().is_none_or(|(path, _)| path != source) {
            last = Some((source.clone(), scan.look(source)));
        }
        let item = last.as_ref().and_then(|(_, item)| item.as_ref());
        found.push(entry(scan, &task, source, item));
    }
    sources.into_unreadable().iter().for_each(|path| scan.note_unread(path, ErrorCode::Access));
    Ok(())
}

fn entry(scan: &Scan<'_>, task: &ScheduledTask, source: &DevicePath, item: Option<&Item>) -> Entry {
    let entry = item.map_or_else(|| Entry::at(source.clone()), Entry::of);
    let entry = entry.name(task.name.raw()).user(task.user.clone());
    // A script of its own tells what it runs.
    let is_script =
        task.kind == "cron" && task.command.as_ref().is_some_and(|c| c.raw().as_bytes() == source.as_bytes());
    let entry = match item.filter(|_| is_script) {
        Some(item) => entry.lines(&scan.lines(item, &SCRIPT).unwrap_or_default()),
        None => entry.command(task.command.as_ref().map_or("", |c| c.raw())),
    };
    let entry = match &task.schedule {
        Some(schedule) => entry.note(schedule.raw()),
        None => entry,
    };
    entry.note_if(task.enabled == Some(false), "its scheduler leaves it out, or its time never comes")
}
