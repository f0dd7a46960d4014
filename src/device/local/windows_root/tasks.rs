//! `scheduledtasks` of a Windows volume: the files below `Tasks`, and what only the registry's cache of them knows.

use super::hives::HiveFile;
use super::machine::{Machine, key};
use super::task::{LIMIT, Task};
use super::{WindowsRoot, names};
use crate::device::local::linux::view::How;
use crate::device::local::registry::same;
use crate::error::Result;
use crate::model::{DevicePath, Job, ScheduledTask, TaskQuery};
use crate::nearest::unmatched;
use crate::shape::Untrusted;
use std::io::Read;

const DEPTH: usize = 32;
const TASKS: usize = 20_000;
const CACHE: &str = "Microsoft\\Windows NT\\CurrentVersion\\Schedule\\TaskCache\\Tree";
pub const KIND: &str = "task";

/// A task, from its file or from the cache.
pub struct Found {
    /// As Windows names it: `\Microsoft\Windows\…`.
    pub name: String,
    pub source: DevicePath,
    pub task: Option<Task>,
    /// What is odd about it.
    pub note: Option<String>,
}

/// All tasks. Files that are no tasks are told, as they are odd there.
pub fn found(root: &WindowsRoot<'_>, software: Option<&HiveFile>, job: &Job) -> Result<Vec<Found>> {
    let mut tasks = Vec::new();
    if let Some(top) = root.find_system(&["System32", "Tasks"]) {
        files(root, &top, "", 0, &mut tasks, job)?;
    }
    if let Some(top) = root.find_system(&["Tasks"]) {
        // Of Windows XP: binary, listed by name.
        for name in names(root.view, &top).into_iter().filter(|n| n.to_ascii_lowercase().ends_with(b".job")) {
            let source = top.join(&DevicePath::new(name));
            let name = format!("\\{}", source.name().to_text());
            tasks.push(Found {
                name,
                source,
                task: None,
                note: Some("a task of Windows XP; its file is not read".into()),
            });
        }
    }
    if let Some(software) = software {
        cached(software, &mut tasks, job)?;
    }
    Ok(tasks)
}

fn files(
    root: &WindowsRoot<'_>,
    folder: &DevicePath,
    above: &str,
    depth: usize,
    tasks: &mut Vec<Found>,
    job: &Job,
) -> Result<()> {
    for name in names(root.view, folder) {
        job.check()?;
        if tasks.len() == TASKS || depth == DEPTH {
            job.warn(format!("tasks below {folder} were left out: there are too many"));
            return Ok(());
        }
        let source = folder.join(&DevicePath::new(name));
        let name = format!("{above}\\{}", String::from_utf8_lossy(source.name().as_bytes()));
        match root.view.open(&source, How::Link) {
            Ok(there) if there.facts.is_directory() => files(root, &source, &name, depth + 1, tasks, job)?,
            Ok(there) if there.facts.is_file() => {
                job.advance(1);
                let (task, note) = match read(root, &source) {
                    Ok(task) => {
                        let note = task.hidden.then(|| "hidden in the task list".to_owned());
                        (Some(task), note)
                    }
                    Err(e) => (None, Some(format!("it is no task that can be read: {e}"))),
                };
                tasks.push(Found { name, source, task, note });
            }
            Ok(_) => {}
            Err(e) => job.warn(format!("a task was left out: {}", e.message)),
        }
    }
    Ok(())
}

fn read(root: &WindowsRoot<'_>, path: &DevicePath) -> Result<Task, String> {
    let opened = root.view.open(path, How::File).map_err(|e| e.message)?;
    let mut bytes = Vec::new();
    opened.file.take(LIMIT).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    Task::parse(&bytes)
}

/// A task whose key has no security descriptor (`SD`) is shown by no tool of Windows; one without a file may be run from
/// the cache alone.
fn cached(software: &HiveFile, tasks: &mut Vec<Found>, job: &Job) -> Result<()> {
    let hive = software.hive();
    let Some(tree) = key(hive, hive.root(), CACHE, job)? else { return Ok(()) };
    hive.walk(&tree, job, &mut |path, at| {
        if path.is_empty() || hive.value(at, "Id").is_none() || tasks.len() == TASKS {
            return Ok(());
        }
        let name = format!("\\{}", path.join("\\"));
        let hidden = hive.value(at, "SD").is_none();
        let note = "it has no security descriptor: Windows shows it in no list";
        match tasks.iter_mut().find(|t| same(&t.name, &name)) {
            Some(task) if hidden => task.note = Some(note.into()),
            Some(_) => {}
            None => {
                let note = if hidden { note } else { "only the registry's cache has it; its file is gone" };
                tasks.push(Found { name, source: software.path.clone(), task: None, note: Some(note.into()) });
            }
        }
        Ok(())
    })
}

pub fn list(root: &WindowsRoot<'_>, query: &TaskQuery, job: &Job) -> Result<Vec<ScheduledTask>> {
    let wanted = |name: &str| {
        let last = name.rsplit('\\').next().unwrap_or_default();
        query.name.as_deref().is_none_or(|wanted| same(name, wanted) || same(last, wanted))
    };
    let row = |found: Found| {
        let task = found.task.as_ref();
        let lines = |of: fn(&Task) -> &Vec<String>| {
            let lines = task.map(of).filter(|lines| !lines.is_empty())?;
            Some(Untrusted::new(lines.join("; ")))
        };
        ScheduledTask {
            kind: KIND,
            schedule: lines(|t| &t.triggers).or_else(|| found.note.clone().map(Untrusted::new)),
            command: lines(|t| &t.actions),
            user: task.and_then(|t| t.account.clone()).map(Untrusted::new),
            enabled: task.map(|t| t.enabled),
            source: Some(found.source),
            next_run: None,
            name: Untrusted::new(found.name),
        }
    };
    let software = Machine::software(root, job)?;
    let mut found = found(root, software.as_ref(), job)?;
    if let Some(asked) = query.name.as_deref().filter(|_| !found.iter().any(|t| wanted(&t.name))) {
        job.warn(unmatched("no task has the name", asked, found.iter().map(|t| t.name.as_str())));
    }
    found.retain(|t| wanted(&t.name));
    Ok(found.into_iter().map(row).collect())
}
