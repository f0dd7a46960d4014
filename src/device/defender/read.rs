//! Questions as scripts of the pack, and their documents as answers.
//!
//! Invariant: a path goes out absolute; what a script could not see or finish is a warning, never silence.

use super::DefenderDevice;
use super::document::{Document, Wire};
use super::machines;
use super::pack::{self, Arguments, Value};
use super::rows::{
    ConnectionWire, DriverWire, FileInfoWire, FileWire, KeyWire, PersistenceWire, ProcessWire, RegistryWire,
    RemediatedWire, ServiceWire, StartupWire, TaskWire,
};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{
    Answer, DevicePath, DirQuery, FileEntry, FileInfo, FileRow, FindQuery, Job, PersistenceQuery, Process,
    ProcessQuery, Query, RegistryKey, RegistryQuery, RegistryRow,
};
use std::sync::Arc;

fn text(text: Option<String>) -> Option<Value> {
    text.map(Value::Text)
}

fn number(number: Option<u64>) -> Option<Value> {
    number.map(Value::Number)
}

impl DefenderDevice {
    pub(super) async fn ask(&self, query: Query, job: &Arc<Job>) -> Result<Answer> {
        let none = Arguments::new();
        Ok(match query {
            Query::Arrival(_) => Answer::Arrival(self.arrival(job).await?),
            Query::Enter(query) => Answer::Enter(self.syntax().absolute(&query.path)?),
            Query::Processes(query) => Answer::Processes(self.processes(query, job).await?),
            Query::Connections(_) => Answer::Connections(self.rows::<ConnectionWire>("connections", none, job).await?),
            Query::Dir(query) => Answer::Dir(self.entries(query, job).await?),
            Query::Find(query) => Answer::Find(self.found(query, job).await?),
            Query::FileInfo(query) => Answer::FileInfo(Box::new(self.file_info(&query.path, job).await?)),
            Query::Services(_) => Answer::Services(self.rows::<ServiceWire>("services", none, job).await?),
            Query::Drivers(_) => Answer::Drivers(self.rows::<DriverWire>("drivers", none, job).await?),
            Query::Tasks(query) => {
                Answer::Tasks(self.rows::<TaskWire>("scheduledtasks", none.with("name", text(query.name)), job).await?)
            }
            Query::Startup(_) => Answer::Startup(self.rows::<StartupWire>("startupfolders", none, job).await?),
            Query::Persistence(query) => {
                Answer::Persistence(self.rows::<PersistenceWire>("persistence", of_persistence(query), job).await?)
            }
            Query::Registry(query) => Answer::Registry(self.registry(query, job).await?),
            Query::Analyze(query) => Answer::Analyze(Box::new(self.analyze(query, job).await?)),
            Query::Remediated(query) => {
                let arguments = none.with("kind", query.kind.map(|kind| Value::Text(kind.as_str().to_owned())));
                Answer::Remediated(self.rows::<RemediatedWire>("remediated", arguments, job).await?)
            }
            Query::Hunt(_) | Query::Indicators(_) => {
                return Err(Error::new(ErrorCode::Unsupported, "that is asked of the tenant, not of one device"));
            }
            Query::Scan(_) => {
                return Err(Error::new(ErrorCode::Unsupported, "Defender scans a device quickly or fully, not a path")
                    .hint("`scan quick` or `scan full`; `analyze` asks what Defender knows of one file"));
            }
        })
    }

    /// Runs a script; a device that does not report gets the blame where time runs out.
    pub(super) async fn script(&self, name: &str, arguments: Arguments, job: &Arc<Job>) -> Result<Document> {
        let script = pack::script(name, self.shell()?)?;
        let ran = self.tenant.run(self.machine_id(), script, arguments, job).await;
        ran.map_err(|e| self.blamed(e))
    }

    /// A time-out as that of a device that is off.
    pub(super) fn blamed(&self, e: Error) -> Error {
        match machines::not_active(&self.machine) {
            Some(health) if e.code == ErrorCode::Timeout => {
                let name = machines::name(&self.machine);
                let what = format!("{} did not answer: its health is {health}", name.clean());
                Error::new(ErrorCode::DeviceOffline, what)
                    .hint("Defender keeps an action for a device that is off for 3 days; try again when it is on")
            }
            _ => e,
        }
    }

    async fn rows<W: Wire>(&self, name: &str, arguments: Arguments, job: &Arc<Job>) -> Result<Vec<W::Row>>
    where
        W::Row: Send + 'static,
    {
        let document = self.script(name, arguments, job).await?;
        let job = job.clone();
        aside(move || document.rows::<W>(&job)).await
    }

    pub(super) async fn processes(&self, query: ProcessQuery, job: &Arc<Job>) -> Result<Vec<Process>> {
        let arguments = Arguments::new()
            .with("pid", number(query.pid.map(u64::from)))
            .with("name", text(query.name))
            .with("tree", query.tree.then_some(Value::Is(true)))
            .with("sha256", query.want.iter().any(|w| w == "sha256").then_some(Value::Is(true)));
        self.rows::<ProcessWire>("processes", arguments, job).await
    }

    async fn entries(&self, query: DirQuery, job: &Arc<Job>) -> Result<Vec<FileRow>> {
        let path = self.syntax().absolute(&query.path)?;
        let rows = self.rows::<FileWire>("dir", Arguments::new().path("path", &path), job).await?;
        if query.full_path {
            return Ok(rows);
        }
        // As everywhere, a listing's rows are relative to what is listed.
        let relative = |row: FileRow| {
            let entry = FileEntry::from(&row);
            FileRow::from(FileEntry { path: entry.name.clone(), ..entry })
        };
        Ok(rows.into_iter().map(relative).collect())
    }

    async fn found(&self, query: FindQuery, job: &Arc<Job>) -> Result<Vec<FileRow>> {
        let path = self.syntax().absolute(&query.path)?;
        let arguments = Arguments::new()
            .text("name", query.name)
            .path("path", &path)
            .with("max_depth", number(query.max_depth.map(u64::from)))
            .with("min_size", number(query.min_size))
            .with("max_size", number(query.max_size))
            .with("modified_after", text(query.modified_after.map(|t| t.to_string())))
            .with("modified_before", text(query.modified_before.map(|t| t.to_string())));
        self.rows::<FileWire>("findfile", arguments, job).await
    }

    pub(super) async fn file_info(&self, path: &DevicePath, job: &Arc<Job>) -> Result<FileInfo> {
        let path = self.syntax().absolute(path)?;
        let document = self.script("fileinfo", Arguments::new().path("path", &path), job).await?;
        info(&document, job)
    }

    async fn registry(&self, query: RegistryQuery, job: &Arc<Job>) -> Result<(RegistryKey, Vec<RegistryRow>)> {
        if query.hive.is_some() {
            return Err(Error::new(
                ErrorCode::Unsupported,
                "a hive file is read where it is collected, not on the device",
            )
            .hint("`getfile` it, then read the copy on `local`"));
        }
        let arguments =
            Arguments::new().text("key", query.key).with("value", text(query.value)).with("user", text(query.user));
        let document = self.script("registry", arguments, job).await?;
        let job = job.clone();
        aside(move || {
            let key = document.data::<KeyWire>(&job).map(KeyWire::read).unwrap_or_default();
            Ok((key, document.rows::<RegistryWire>(&job)?))
        })
        .await
    }
}

fn of_persistence(query: PersistenceQuery) -> Arguments {
    Arguments::new().with("technique", text(query.technique)).with("user", text(query.user))
}

/// A file's facts, out of what `fileinfo` left.
pub(super) fn info(document: &Document, job: &Job) -> Result<FileInfo> {
    document.data::<FileInfoWire>(job)?.read().ok_or_else(|| {
        Error::new(ErrorCode::Backend, "the device gave no hashes of the file, or not all of its facts")
            .hint("`trace` on, and try again; a file that is being written changes while it is read")
    })
}

/// Long parsing, off the async threads.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::new(ErrorCode::Internal, "the reader of an answer broke off").source(e))?
}
