//! A mounted image or any tree of files, read only: nothing runs there, and names are those of its own `passwd`.

use super::collect::Collector;
use super::etc;
use super::fetch;
use super::host::files;
use super::own::OwnThings;
use super::users::Users;
use super::view::View;
use super::{analyze, arrival, scan};
use crate::device::local::engines::Engines;
use crate::device::local::windows_root;
use crate::error::Result;
use crate::model::{
    AnalyzeQuery, Answer, Arrival, CollectQuery, DevicePath, FileFacts, FileQuery, Job, PackageFacts, Query,
};
use crate::shape::Untrusted;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

pub struct Tree {
    home: PathBuf,
    root: PathBuf,
    own: Arc<OwnThings>,
    users: Users,
    engines: Arc<Engines>,
}

impl Tree {
    /// Opens nothing.
    pub fn new(root: PathBuf, home: PathBuf, own: Arc<OwnThings>, engines: Arc<Engines>) -> Tree {
        Tree { users: Users::under(root.clone()), home, root, own, engines }
    }

    pub fn read(&self, query: Query, job: &Job) -> Result<Answer> {
        let view = self.view()?;
        if let Some(answer) = windows_root::answer(&view, &query, job)? {
            return Ok(answer);
        }
        match query {
            Query::Arrival(_) => Ok(Answer::Arrival(self.arrival())),
            Query::Analyze(AnalyzeQuery::File { path }) => {
                Ok(Answer::Analyze(Box::new(analyze::file(&view, &self.engines, &path, &self.users, job)?)))
            }
            Query::Scan(q) => Ok(Answer::Scan(scan::scan(&view, &self.engines, &q, &self.users, job)?)),
            query => files(&view, &self.users, query, job),
        }
    }

    pub fn open(&self, query: &FileQuery, job: &Job) -> Result<(FileFacts, File)> {
        fetch::open(&self.view()?, query, job)
    }

    /// What is known of a package before it is made.
    pub fn package_facts(&self, query: &CollectQuery) -> Result<FileFacts> {
        self.collector(|c| Ok(c.facts(query.profile)))
    }

    /// Writes a package of the image.
    pub fn collect(&self, query: &CollectQuery, to: impl Write, job: &Job) -> Result<PackageFacts> {
        self.collector(|c| c.pack(query.profile, to, job))
    }

    fn collector<T>(&self, work: impl FnOnce(&Collector<'_>) -> Result<T>) -> Result<T> {
        let ask = |query: Query, job: &Job| self.read(query, job);
        let name = etc::Root::at(self.root.clone()).read("etc/hostname", 4096).unwrap_or_default();
        let name = Untrusted::from_bytes(name.trim_ascii()).clean().into_owned();
        let host = if name.is_empty() { "image".to_owned() } else { name };
        work(&Collector { view: &self.view()?, ask: &ask, home: &self.home, host })
    }

    fn view(&self) -> Result<View> {
        View::image(&self.root, Arc::clone(&self.own))
    }

    fn arrival(&self) -> Arrival {
        let uid = rustix::process::geteuid();
        let account = Users::host().accounts().user_or_id(uid.as_raw());
        let hidden = match uid.is_root() {
            true => Vec::new(),
            false => vec!["files and directories that this account may not read (run as root to see them)".to_owned()],
        };
        Arrival {
            os: arrival::os_of(self.root.clone()).unwrap_or_else(|| Untrusted::new("unknown")),
            kernel: None,
            current_directory: DevicePath::new("/"),
            clock: None,
            skew_ms: None,
            time_zone: None,
            boot_time: None,
            isolation: None,
            signed_in: Vec::new(),
            account,
            hidden,
        }
    }
}
