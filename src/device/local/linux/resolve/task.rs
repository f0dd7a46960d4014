//! Scheduled tasks: a line of a crontab, a job of `at`, a script that runs by the day, a timer.

use super::Resolver;
use super::layout::TaskFile;
use super::lines::Named;
use crate::device::local::linux::tasks::AtName;
use crate::device::local::linux::view::How;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DevicePath, EntityKind, FileTarget, Step};
use rustix::fs::RawDir;
use std::mem::MaybeUninit;

/// Jobs that are looked at for a number.
const JOBS: usize = 100_000;
const SPOOLS_OF_USERS: [&str; 3] = ["/var/spool/cron/crontabs", "/var/spool/cron/tabs", "/var/spool/cron"];

impl Resolver<'_> {
    pub(super) fn remove_tasks(&self, ids: &[String]) -> Result<Vec<Step>> {
        let (timers, files): (Vec<&String>, Vec<&String>) = ids.iter().partition(|id| is_timer(id));
        let named = files.into_iter().map(|id| self.task(id)).collect::<Result<Vec<_>>>()?;
        let mut steps =
            self.cut_or_quarantine(EntityKind::ScheduledTask, named, &|one, target| self.is_task(one, target))?;
        if !timers.is_empty() {
            steps.extend(self.stop_units(EntityKind::ScheduledTask, &timers)?);
        }
        Ok(steps)
    }

    fn task(&self, id: &str) -> Result<Named> {
        if let Some(number) = job_number(id.strip_prefix("at/").unwrap_or(id)) {
            return Ok(Named { path: self.at_job(number)?, line: None });
        }
        if let Some(path) = self.listed(id) {
            return self.named(&path);
        }
        if !id.starts_with('/') && !id.starts_with("esc:") {
            return Err(Error::new(ErrorCode::BadArgs, format!("{id:?} names no scheduled task")).hint(
                "`scheduledtasks` lists them: PATH:LINE of a crontab, the path or number of an at job, x.timer",
            ));
        }
        self.named(id)
    }

    /// The path that a name stands for as `scheduledtasks` lists it: `crontab:18`, `cron.d/x:2`, `crontabs/ann:1`.
    fn listed(&self, id: &str) -> Option<String> {
        if let Some(own) = id.strip_prefix("crontabs/") {
            let name = own.rsplit_once(':').map_or(own, |(name, _)| name);
            let mut places = SPOOLS_OF_USERS.iter().map(|dir| (self.layout.path(&format!("{dir}/{name}")), dir));
            let (_, dir) = places.find(|(path, _)| self.view.identity(path).is_some())?;
            return Some(self.layout.path(&format!("{dir}/{own}")).to_text().into_owned());
        }
        let is_listed = id.starts_with("crontab:") || id.starts_with("cron.");
        is_listed.then(|| self.layout.path(&format!("/etc/{id}")).to_text().into_owned())
    }

    /// Whether the file is one that cron or `at` reads.
    fn is_task(&self, named: &Named, target: &FileTarget) -> Result<()> {
        let kind = self.layout.task_file(&target.path).or_else(|| self.layout.task_file(&named.path));
        match (kind, named.line) {
            (Some(TaskFile::Crontab), _) | (Some(_), None) => Ok(()),
            (Some(_), Some(_)) => {
                Err(Error::new(ErrorCode::BadArgs, format!("{} is one task, its lines are none", target.path))
                    .hint("name the file without a line"))
            }
            (None, _) => Err(Error::new(ErrorCode::BadArgs, format!("{} is no file of scheduled tasks", target.path))
                .hint("`scheduledtasks` lists them; any other file is of type file")),
        }
    }

    /// The spool file of a job of `at`.
    fn at_job(&self, number: u32) -> Result<DevicePath> {
        let mut found = Vec::new();
        for dir in self.layout.at_dirs() {
            let Ok(opened) = self.view.open(&dir, How::Directory) else { continue };
            let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
            let mut entries = RawDir::new(&opened.file, &mut buffer);
            for _ in 0..JOBS {
                self.job.check()?;
                let Some(Ok(entry)) = entries.next() else { break };
                let name = entry.file_name().to_bytes();
                if number_of(name) == Some(number) {
                    found.push(opened.real_path.join(&DevicePath::new(name)));
                }
            }
        }
        match found.len() {
            0 => Err(Error::new(ErrorCode::NotFound, format!("at has no job {number}"))
                .hint("`scheduledtasks` lists the jobs that this account may see")),
            1 => Ok(found.swap_remove(0)),
            _ => Err(Error::new(ErrorCode::AmbiguousArgs, format!("{} jobs have the number {number}", found.len()))
                .hint("name the job by its path")),
        }
    }
}

fn is_timer(id: &str) -> bool {
    id.ends_with(".timer") && !id.contains('/') && !id.starts_with("u-")
}

/// Decimal digits and nothing else.
pub(super) fn job_number(id: &str) -> Option<u32> {
    let digits = !id.is_empty() && id.len() <= 7 && id.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| id.parse().ok()).flatten()
}

/// The job number in a spool file's name.
pub(super) fn number_of(name: &[u8]) -> Option<u32> {
    AtName::parse(name).map(|name| name.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_name_tells_its_number() {
        assert_eq!(number_of(b"a00001018c6a2e"), Some(1));
        assert_eq!(number_of(b"=0001f018c6a2e"), Some(31));
        for other in ["", ".SEQ", "a00001018c6a2", "a00001018c6a2e1", "a0000g018c6a2e", "a+0001018c6a2e"] {
            assert_eq!(number_of(other.as_bytes()), None, "{other}");
        }
    }
}
