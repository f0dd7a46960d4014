//! This host as a device: which collector answers which query.
//!
//! Invariant: blocking; runs on the pool. Only `apply` changes anything, by orders.

use super::collect::Collector;
use super::effect::{self, Quarantine};
use super::own::OwnThings;
use super::systemd_bus::SystemdBus;
use super::users::{Accounts, Users};
use super::view::{Names, View};
use super::watch::Watch;
use super::work_folder::WorkFolder;
use super::{
    analyze, arrival, connections, dir, drivers, enter, fetch, fileinfo, find, hash, persistence, processes, resolve,
    scan, services, startup, tasks,
};
use crate::config::Config;
use crate::device::local::engines::Engines;
use crate::device::local::support;
use crate::device::local::windows_root::registry;
use crate::error::Result;
use crate::guard::Order;
use crate::model::{
    AnalyzeQuery, Answer, CollectQuery, FileFacts, FileQuery, Job, Outcome, PackageFacts, Query, Step, Supply, Wish,
};
use crate::shape::Untrusted;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

pub struct Host {
    home: PathBuf,
    own: Arc<OwnThings>,
    users: Users,
    engines: Arc<Engines>,
    settings: resolve::Settings,
    /// A folder of our own for what is too big for memory.
    spill: PathBuf,
}

impl Names for Accounts {
    fn user(&self, uid: u32) -> Option<Untrusted> {
        Accounts::user(self, uid).cloned()
    }

    fn group(&self, gid: u32) -> Option<Untrusted> {
        Accounts::group(self, gid).cloned()
    }
}

impl Host {
    /// Opens nothing.
    pub fn new(config: &Config, own: Arc<OwnThings>, engines: Arc<Engines>) -> Host {
        let settings = resolve::Settings {
            quarantine: Quarantine::new(&config.home),
            work_folder: WorkFolder::new(config.working_folder.clone()),
            script_time_s: config.limits.long_command_s,
        };
        let home = config.home.clone();
        Host { spill: home.join("snapshots"), home, own, users: Users::host(), engines, settings }
    }

    /// The name of the host, and the system's own name with its version.
    pub fn name() -> Untrusted {
        Untrusted::from_bytes(rustix::system::uname().nodename().to_bytes())
    }

    pub fn os() -> Option<Untrusted> {
        arrival::os_of("/")
    }

    pub fn read(&self, query: Query, job: &Job) -> Result<Answer> {
        Ok(match query {
            Query::Arrival(_) => Answer::Arrival(arrival::read(&Watch::new(self.settings.quarantine.home()), job)?),
            Query::Processes(q) => {
                let hashed = |image: &File| hash::sha256(image, job);
                Answer::Processes(processes::list(&q, &self.users, &hashed, job)?)
            }
            Query::Connections(q) => Answer::Connections(connections::list(&q, &self.users, job)?),
            Query::Remediated(q) => Answer::Remediated(self.settings.quarantine.rows(&q, job)?),
            Query::Analyze(AnalyzeQuery::Process { pid }) => {
                Answer::Analyze(Box::new(analyze::process(&self.view()?, &self.engines, pid, &self.users, job)?))
            }
            Query::Analyze(AnalyzeQuery::File { path }) => {
                Answer::Analyze(Box::new(analyze::file(&self.view()?, &self.engines, &path, &self.users, job)?))
            }
            Query::Scan(q) => Answer::Scan(scan::scan(&self.view()?, &self.engines, &q, &self.users, job)?),
            Query::Services(_) => Answer::Services(services::list(&self.view()?, SystemdBus::host().as_ref(), job)?),
            Query::Tasks(q) => Answer::Tasks(tasks::list(&self.view()?, SystemdBus::host().as_ref(), &q, job)?),
            Query::Enter(_)
            | Query::Dir(_)
            | Query::Find(_)
            | Query::FileInfo(_)
            | Query::Drivers(_)
            | Query::Startup(_)
            | Query::Persistence(_)
            | Query::Registry(_) => files(&self.view()?, &self.users, query, job)?,
            Query::Hunt(_) | Query::Indicators(_) => return Err(support::no_query(&query, "local")),
        })
    }

    pub fn open(&self, query: &FileQuery, job: &Job) -> Result<(FileFacts, File)> {
        fetch::open(&self.view()?, query, job)
    }

    /// What is known of a package before it is made.
    pub fn package_facts(&self, query: &CollectQuery) -> Result<FileFacts> {
        self.collector(|c| Ok(c.facts(query.profile)))
    }

    /// Writes a package of this host.
    pub fn collect(&self, query: &CollectQuery, to: impl Write, job: &Job) -> Result<PackageFacts> {
        self.collector(|c| c.pack(query.profile, to, job))
    }

    fn collector<T>(&self, work: impl FnOnce(&Collector<'_>) -> Result<T>) -> Result<T> {
        let ask = |query: Query, job: &Job| self.read(query, job);
        let host = Self::name().clean().into_owned();
        work(&Collector { view: &self.view()?, ask: &ask, home: &self.home, host, windows_homes: None })
    }

    pub fn resolve(&self, wish: &Wish, job: &Job) -> Result<Vec<Step>> {
        let (view, accounts, bus) = (self.view()?, self.users.accounts(), SystemdBus::host());
        resolve::Resolver::new(&view, &accounts, &self.settings, bus.as_ref(), job).steps(wish)
    }

    pub fn apply(&self, orders: impl Iterator<Item = Order>, supply: &dyn Supply, job: &Job) -> Outcome {
        let bus = SystemdBus::host();
        let store = &self.settings.quarantine;
        let pack = |profile, to: &mut dyn Write, job: &Job| self.collect(&CollectQuery { profile }, to, job);
        let ground = effect::Ground { store, bus: bus.as_ref(), supply, spill: &self.spill, pack: &pack };
        effect::carry_out(orders, &ground, job)
    }

    fn view(&self) -> Result<View> {
        View::host(Arc::clone(&self.own))
    }
}

/// What can be asked of any tree of files, running or not.
pub(super) fn files(view: &View, users: &Users, query: Query, job: &Job) -> Result<Answer> {
    Ok(match query {
        Query::Enter(q) => Answer::Enter(enter::enter(view, &q)?),
        Query::Dir(q) => Answer::Dir(dir::list(view, &q, &users.accounts(), job)?),
        Query::Find(q) => Answer::Find(find::find(view, &q, &users.accounts(), job)?),
        Query::FileInfo(q) => Answer::FileInfo(Box::new(fileinfo::read(view, &q, &users.accounts(), job)?)),
        Query::Registry(q) => Answer::Registry(registry::read(view, &q, job)?),
        Query::Services(_) => Answer::Services(services::list(view, None, job)?),
        Query::Tasks(q) => Answer::Tasks(tasks::list(view, None, &q, job)?),
        Query::Drivers(_) => Answer::Drivers(drivers::list(view, job)?),
        Query::Startup(_) => Answer::Startup(startup::list(view, job)?),
        Query::Persistence(q) => Answer::Persistence(persistence::list(view, &q, job)?),
        other => return Err(support::no_query(&other, "image")),
    })
}
