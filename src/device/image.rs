//! `image:<directory>`: a mounted image or any tree of files, read only.

use super::local::engines::Engines;
use super::local::pool::Pool;
use super::local::{OwnThings, Tree, fetched, nothing_done, packed, support};
use super::{Device, Fetched, Fut, Package};
use crate::error::Result;
use crate::guard::Approved;
use crate::model::{
    Answer, CollectQuery, DeviceId, DevicePath, DeviceRef, DeviceRow, End, FileQuery, Job, Outcome, Query, Step,
    Supply, Wish,
};
use crate::shape::Untrusted;
use std::path::PathBuf;
use std::sync::Arc;

pub const PREFIX: &str = "image:";

pub struct ImageDevice {
    id: DeviceId,
    tree: Arc<Tree>,
    pool: Pool,
}

impl ImageDevice {
    /// Opens nothing. `root` is absolute.
    pub(super) fn new(
        root: PathBuf,
        home: PathBuf,
        own: Arc<OwnThings>,
        engines: Arc<Engines>,
        pool: Pool,
    ) -> ImageDevice {
        let path = DevicePath::new(root.as_os_str().as_encoded_bytes());
        let id = DeviceId::new(format!("{PREFIX}{path}"));
        ImageDevice { id, tree: Arc::new(Tree::new(root, home, own, engines)), pool }
    }
}

/// An image by its id, mounted or not.
pub(super) fn describe(id: &str) -> DeviceRef {
    DeviceRef { id: DeviceId::new(id), name: Untrusted::new(id), platform: std::env::consts::OS, backend: "image" }
}

impl Device for ImageDevice {
    fn id(&self) -> &DeviceId {
        &self.id
    }

    fn describe(&self) -> DeviceRef {
        DeviceRef { platform: self.tree.platform(), ..describe(self.id.as_str()) }
    }

    fn row(&self) -> DeviceRow {
        DeviceRow {
            id: self.id.clone(),
            name: Untrusted::new(self.id.as_str()),
            backend: "image",
            platform: self.tree.platform(),
            os: None,
            address: None,
            last_seen: None,
            group: None,
            tier: None,
            tags: Vec::new(),
        }
    }

    fn place(&self, directory: &DevicePath, path: &DevicePath) -> Result<DevicePath> {
        self.tree.place(directory, path)
    }

    fn supports(&self, wish: &Wish) -> Result<()> {
        support::on_image(wish)
    }

    fn read<'a>(&'a self, query: Query, job: &'a Arc<Job>) -> Fut<'a, Result<Answer>> {
        let tree = Arc::clone(&self.tree);
        Box::pin(self.pool.run(job, move |job| tree.read(query, job)))
    }

    fn fetch<'a>(&'a self, file: FileQuery, job: &'a Arc<Job>) -> Fut<'a, Result<Fetched>> {
        let tree = Arc::clone(&self.tree);
        Box::pin(fetched(&self.pool, job, move |job| tree.open(&file, job)))
    }

    fn collect<'a>(&'a self, query: CollectQuery, job: &'a Arc<Job>) -> Fut<'a, Result<Package>> {
        let (before, tree) = (Arc::clone(&self.tree), Arc::clone(&self.tree));
        let asked = query.clone();
        let facts = move |_: &Job| before.package_facts(&asked);
        Box::pin(packed(&self.pool, job, facts, move |to, job| tree.collect(&query, to, job)))
    }

    fn resolve<'a>(&'a self, wish: &'a Wish, _: &'a Arc<Job>) -> Fut<'a, Result<Vec<Step>>> {
        Box::pin(async move { support::on_image(wish).map(|()| Vec::new()) })
    }

    fn apply<'a>(&'a self, _: Approved, _: Arc<dyn Supply>, _: &'a Arc<Job>) -> Fut<'a, Outcome> {
        Box::pin(async move {
            nothing_done(End::Failed { code: "E_UNSUPPORTED".into(), message: "an image is read only".into() })
        })
    }
}
