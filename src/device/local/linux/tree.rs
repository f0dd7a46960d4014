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
use crate::device::local::windows_root::{self, Called, WindowsRoot};
use crate::error::Result;
use crate::model::{
    AnalyzeQuery, Answer, Arrival, CollectQuery, DevicePath, FileFacts, FileQuery, Job, PackageFacts, Query,
};
use crate::shape::Untrusted;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub struct Tree {
    home: PathBuf,
    root: PathBuf,
    own: Arc<OwnThings>,
    users: Users,
    engines: Arc<Engines>,
    /// What a Windows volume calls itself; known once somebody connected.
    windows: OnceLock<Called>,
}

impl Tree {
    /// Opens nothing.
    pub fn new(root: PathBuf, home: PathBuf, own: Arc<OwnThings>, engines: Arc<Engines>) -> Tree {
        Tree { users: Users::under(root.clone()), home, root, own, engines, windows: OnceLock::new() }
    }

    /// Which system the tree is of, as far as is known without a look.
    pub fn platform(&self) -> &'static str {
        if self.windows.get().is_some() { "windows" } else { std::env::consts::OS }
    }

    /// A path of a call below the session's directory, on a Windows volume as people write it there. Looks at nothing.
    pub fn place(&self, directory: &DevicePath, path: &DevicePath) -> Result<DevicePath> {
        match self.windows.get() {
            Some(called) => called.place(directory, path),
            None => Ok(directory.join(path)),
        }
    }

    pub fn read(&self, query: Query, job: &Job) -> Result<Answer> {
        let view = self.view()?;
        let query = windows_root::respelled(&view, query, job)?;
        if let Some(answer) = windows_root::answer(&view, &query, job)? {
            return Ok(answer);
        }
        match query {
            Query::Arrival(_) => Ok(Answer::Arrival(self.arrival(&view, job)?)),
            Query::Analyze(AnalyzeQuery::File { path }) => {
                Ok(Answer::Analyze(Box::new(analyze::file(&view, &self.engines, &path, &self.users, job)?)))
            }
            Query::Scan(q) => Ok(Answer::Scan(scan::scan(&view, &self.engines, &q, &self.users, job)?)),
            query => files(&view, &self.users, query, job),
        }
    }

    pub fn open(&self, query: &FileQuery, job: &Job) -> Result<(FileFacts, File)> {
        let view = self.view()?;
        let path = windows_root::respell(&view, &query.path, job)?;
        fetch::open(&view, &FileQuery { path }, job)
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
        let view = self.view()?;
        let windows = WindowsRoot::at(&view, &DevicePath::new("/"));
        let named = match self.windows.get() {
            Some(called) => called.host_name.clone(),
            None => self.host_name(),
        };
        let host = named.map_or_else(|| "image".to_owned(), |name| name.clean().into_owned());
        let windows_homes = windows.map(|root| root.homes());
        work(&Collector { view: &view, ask: &ask, home: &self.home, host, windows_homes })
    }

    fn view(&self) -> Result<View> {
        View::image(&self.root, Arc::clone(&self.own))
    }

    /// As `/etc/hostname` has it.
    fn host_name(&self) -> Option<Untrusted> {
        let name = etc::Root::at(self.root.clone()).read("etc/hostname", 4096).ok()?;
        Some(Untrusted::from_bytes(name.trim_ascii())).filter(|name| !name.raw().is_empty())
    }

    fn arrival(&self, view: &View, job: &Job) -> Result<Arrival> {
        let about = match WindowsRoot::at(view, &DevicePath::new("/")) {
            Some(root) => Some(windows_root::about(&root, job)?),
            None => None,
        };
        let os = match &about {
            Some(about) => about.os.clone().or_else(|| Some(Untrusted::new("Windows"))),
            None => arrival::os_of(self.root.clone()),
        };
        if os.is_none() && view.identity(&DevicePath::new("/etc")).is_none() {
            let dir = DevicePath::new(self.root.as_os_str().as_encoded_bytes());
            job.warn(format!(
                "no system found in {dir}: neither /etc nor Windows/System32/config is there; its files are read all the same"
            ));
        }
        let uid = rustix::process::geteuid();
        let account = Users::host().accounts().user_or_id(uid.as_raw());
        let hidden = match uid.is_root() {
            true => Vec::new(),
            false => vec!["files and directories that this account may not read (run as root to see them)".to_owned()],
        };
        let arrival = Arrival {
            os: os.unwrap_or_else(|| Untrusted::new("unknown")),
            host_name: about.as_ref().map_or_else(|| self.host_name(), |about| about.called.host_name.clone()),
            kernel: None,
            current_directory: DevicePath::new("/"),
            clock: None,
            skew_ms: None,
            time_zone: about.as_ref().and_then(|about| about.time_zone.clone()),
            boot_time: None,
            isolation: None,
            signed_in: Vec::new(),
            account,
            hidden,
        };
        if let Some(about) = about {
            self.windows.get_or_init(|| about.called);
        }
        Ok(arrival)
    }
}
