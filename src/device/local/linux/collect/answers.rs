//! What the program's own collectors tell, a line of JSON a row.
//!
//! Invariant: what a device cannot answer is left out of the package and said, it does not end it.

use super::artifact::{Artifact, Subject};
use super::{Pack, executables, handles, kernel_log, storage, timeline, verify};
use crate::device::package::Spool;
use crate::error::{ErrorCode, Result};
use crate::model::{
    Answer, ArrivalQuery, Ask, ConnectionQuery, DevicePath, DriverQuery, PersistenceQuery, ProcessQuery, Profile,
    Query, ServiceQuery, StartupQuery, TaskQuery,
};
use serde::Serialize;
use std::io::Write;

const UNSUPPORTED: &str = "not available on this device";

impl Subject {
    /// Of the member.
    const fn file(self) -> &'static str {
        match self {
            Subject::Host => "answers/host.jsonl",
            Subject::Processes => "answers/processes.jsonl",
            Subject::Handles => "answers/handles.jsonl",
            Subject::Connections => "answers/connections.jsonl",
            Subject::Services => "answers/services.jsonl",
            Subject::Drivers => "answers/drivers.jsonl",
            Subject::ScheduledTasks => "answers/scheduledtasks.jsonl",
            Subject::StartupFolders => "answers/startupfolders.jsonl",
            Subject::Persistence => "answers/persistence.jsonl",
            Subject::Mounts => "answers/mounts.jsonl",
            Subject::KernelLog => "answers/kernel_log.txt",
            Subject::Packages => "answers/packages.jsonl",
            Subject::Executables => "answers/executables.jsonl",
            Subject::Timeline => "timeline.body",
        }
    }

    /// The question to the device's own collectors, where it is one.
    fn query(self) -> Option<Query> {
        Some(match self {
            Subject::Host => ArrivalQuery::default().query(),
            Subject::Processes => ProcessQuery { want: vec!["sha256".into()], ..ProcessQuery::default() }.query(),
            Subject::Connections => ConnectionQuery::default().query(),
            Subject::Services => ServiceQuery::default().query(),
            Subject::Drivers => DriverQuery::default().query(),
            Subject::ScheduledTasks => TaskQuery::default().query(),
            Subject::StartupFolders => StartupQuery::default().query(),
            Subject::Persistence => PersistenceQuery::default().query(),
            _ => return None,
        })
    }
}

impl<W: Write> Pack<'_, W> {
    pub(super) fn answer(&mut self, artifact: &Artifact, subject: Subject) -> Result<()> {
        let mut spool = Spool::new(self.from.home)?;
        if let Err(e) = self.gather(subject, &mut spool) {
            self.job.check()?;
            if e.code == ErrorCode::StoreUnavailable {
                return Err(e);
            }
            let why = if e.code == ErrorCode::Unsupported { UNSUPPORTED } else { super::walk::FAILED };
            self.left_out.add(&DevicePath::new(subject.file()), why);
            if e.code != ErrorCode::Unsupported {
                self.job.warn(format!("{}: {}", subject.file(), e.message));
            }
            return Ok(());
        }
        self.archive.gathered(subject.file(), &artifact.name, spool)
    }

    fn gather(&mut self, subject: Subject, to: &mut Spool) -> Result<()> {
        let (view, job) = (self.from.view, self.job);
        if let Some(query) = subject.query() {
            return put((self.from.ask)(query, job)?, to);
        }
        let whole = self.profile == Profile::Full;
        match subject {
            Subject::Handles => handles::write(view, to, job),
            Subject::Mounts => storage::write(view, to, job),
            Subject::KernelLog => kernel_log::write(view, to, job),
            Subject::Packages => verify::write(view, whole, to, job),
            Subject::Executables => executables::write(view, whole, to, &mut self.left_out, job),
            // Times alone; who intrudes into a Windows volume keeps to no places.
            _ => timeline::write(view, whole || self.from.windows_homes.is_some(), to, &mut self.left_out, job),
        }
    }
}

fn put(answer: Answer, to: &mut Spool) -> Result<()> {
    match answer {
        Answer::Arrival(host) => to.row(&host),
        Answer::Processes(rows) => lines(&rows, to),
        Answer::Connections(rows) => lines(&rows, to),
        Answer::Services(rows) => lines(&rows, to),
        Answer::Drivers(rows) => lines(&rows, to),
        Answer::Tasks(rows) => lines(&rows, to),
        Answer::Startup(rows) => lines(&rows, to),
        Answer::Persistence(rows) => lines(&rows, to),
        // No subject asks for another.
        _ => Ok(()),
    }
}

fn lines(rows: &[impl Serialize], to: &mut Spool) -> Result<()> {
    rows.iter().try_for_each(|row| to.row(row))
}
