//! This host and trees on it: `local` and `image:<directory>`.
//!
//! Invariant: nothing blocks an async thread; all work goes through the [`Pool`].

#[cfg(not(target_os = "linux"))]
mod elsewhere;
pub mod engines;
#[cfg(target_os = "linux")]
pub mod linux;
pub mod pool;
pub mod registry;
pub(super) mod support;
#[cfg(target_os = "linux")]
mod windows_root;

#[cfg(not(target_os = "linux"))]
pub(super) use elsewhere::{Host, OwnThings, Tree};
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{hold_isolation, revive_isolation};
#[cfg(target_os = "linux")]
pub(super) use linux::{host::Host, own::OwnThings, tree::Tree};

use super::{Device, Fetched, Fut, Package};
use crate::config::Config;
use crate::error::Result;
use crate::guard::Approved;
use crate::model::{
    Answer, CollectQuery, DeviceId, DeviceRef, DeviceRow, End, FileFacts, FileQuery, Job, Outcome, PackageFacts, Query,
    Step, Supply, Timestamp, Verified, Wish,
};
use engines::Engines;
use pool::{Chunked, Pool};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

pub const ID: &str = "local";

/// The host that this process runs on.
pub struct LocalDevice {
    id: DeviceId,
    host: Arc<Host>,
    pool: Pool,
}

impl LocalDevice {
    /// Opens nothing.
    pub(super) fn new(config: &Config, own: Arc<OwnThings>, engines: Arc<Engines>, pool: Pool) -> LocalDevice {
        LocalDevice { id: DeviceId::new(ID), host: Arc::new(Host::new(config, own, engines)), pool }
    }
}

impl Device for LocalDevice {
    fn id(&self) -> &DeviceId {
        &self.id
    }

    fn describe(&self) -> DeviceRef {
        DeviceRef { id: self.id.clone(), name: Host::name(), platform: std::env::consts::OS, backend: "local" }
    }

    fn row(&self) -> DeviceRow {
        DeviceRow {
            id: self.id.clone(),
            name: Host::name(),
            backend: "local",
            platform: std::env::consts::OS,
            os: Host::os(),
            address: None,
            last_seen: Some(Timestamp::now()),
            group: None,
            tier: None,
            tags: Vec::new(),
        }
    }

    fn supports(&self, wish: &Wish) -> Result<()> {
        support::on_host(wish)
    }

    fn read<'a>(&'a self, query: Query, job: &'a Arc<Job>) -> Fut<'a, Result<Answer>> {
        let host = Arc::clone(&self.host);
        Box::pin(self.pool.run(job, move |job| host.read(query, job)))
    }

    fn fetch<'a>(&'a self, file: FileQuery, job: &'a Arc<Job>) -> Fut<'a, Result<Fetched>> {
        let host = Arc::clone(&self.host);
        Box::pin(fetched(&self.pool, job, move |job| host.open(&file, job)))
    }

    fn collect<'a>(&'a self, query: CollectQuery, job: &'a Arc<Job>) -> Fut<'a, Result<Package>> {
        let (before, host) = (Arc::clone(&self.host), Arc::clone(&self.host));
        let asked = query.clone();
        let facts = move |_: &Job| before.package_facts(&asked);
        Box::pin(packed(&self.pool, job, facts, move |to, job| host.collect(&query, to, job)))
    }

    fn resolve<'a>(&'a self, wish: &'a Wish, job: &'a Arc<Job>) -> Fut<'a, Result<Vec<Step>>> {
        let (host, wish) = (Arc::clone(&self.host), wish.clone());
        Box::pin(async move {
            support::on_host(&wish)?;
            self.pool.run(job, move |job| host.resolve(&wish, job)).await
        })
    }

    fn apply<'a>(&'a self, approved: Approved, supply: Arc<dyn Supply>, job: &'a Arc<Job>) -> Fut<'a, Outcome> {
        let host = Arc::clone(&self.host);
        Box::pin(async move {
            let orders = match approved.orders(&self.id) {
                Ok(orders) => orders,
                Err(e) => return nothing_done(End::Failed { code: e.code.as_str().into(), message: e.message }),
            };
            let began = Arc::new(AtomicBool::new(false));
            let begins = Arc::clone(&began);
            let work = move |job: &Job| {
                begins.store(true, Relaxed);
                Ok(host.apply(orders, &*supply, job))
            };
            match self.pool.run_effect(job, work).await {
                Ok(outcome) => outcome,
                // The thread may still be at it: nobody knows.
                Err(e) if began.load(Relaxed) => nothing_done(End::Unknown { message: e.message }),
                Err(e) => nothing_done(End::Failed { code: e.code.as_str().into(), message: e.message }),
            }
        })
    }
}

/// An outcome without rows.
pub(super) fn nothing_done(end: End) -> Outcome {
    let verified = if matches!(end, End::Unknown { .. }) { Verified::Unknown } else { Verified::No };
    Outcome { rows: Vec::new(), verified, end, warnings: Vec::new() }
}

/// Opens a file on one slot and streams it from another.
pub(super) async fn fetched(
    pool: &Pool,
    job: &Arc<Job>,
    open: impl FnOnce(&Job) -> Result<(FileFacts, File)> + Send + 'static,
) -> Result<Fetched> {
    let (facts, file) = pool.run(job, open).await?;
    Ok(Fetched { facts, bytes: Box::new(pool.stream(job, file).await?) })
}

/// Looks on one slot and makes a package on another.
pub(super) async fn packed(
    pool: &Pool,
    job: &Arc<Job>,
    facts: impl FnOnce(&Job) -> Result<FileFacts> + Send + 'static,
    make: impl FnOnce(Chunked, &Job) -> Result<PackageFacts> + Send + 'static,
) -> Result<Package> {
    let facts = pool.run(job, facts).await?;
    let (bytes, made) = pool.produce(job, make).await?;
    Ok(Package { facts, bytes: Box::new(bytes), made })
}
