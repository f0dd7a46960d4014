//! HOW: what a device is, wherever it is. Data in, data out, so that a call can be batched, stored in a plan, or sent.
//!
//! Invariant: `read`, `fetch`, `collect` and `resolve` change nothing; `apply` takes [`Approved`] by value, and every function
//! with an effect below this module takes an `Order` that only `Approved` hands out.

pub mod defender;
mod devices;
mod image;
pub mod local;
mod package;

pub use defender::BACKEND as TENANT;
pub use defender::examine::Examined;
pub use defender::library::Synced;
pub use devices::Devices;
#[cfg(target_os = "linux")]
pub(crate) use local::linux::effect::{hold as hold_isolation, revive as revive_isolation};
#[cfg(not(target_os = "linux"))]
pub(crate) use local::{hold_isolation, revive_isolation};

use crate::error::Result;
use crate::guard::{Adopted, Approved};
use crate::model::{
    Answer, CollectQuery, DeviceId, DevicePath, DeviceRef, DeviceRow, DeviceTraits, End, FileFacts, FileQuery, Job,
    Outcome, PackageFacts, Query, Step, Supply, Verified, Wish,
};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::io::AsyncRead;

pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A file's facts and its bytes; the session seals them as evidence.
pub struct Fetched {
    pub facts: FileFacts,
    pub bytes: Box<dyn AsyncRead + Send + Unpin>,
}

/// A package as it is made; what it holds is known when its bytes have ended.
pub struct Package {
    pub facts: FileFacts,
    pub bytes: Box<dyn AsyncRead + Send + Unpin>,
    pub made: tokio::sync::oneshot::Receiver<Result<PackageFacts>>,
}

pub trait Device: Send + Sync {
    fn id(&self) -> &DeviceId;

    fn describe(&self) -> DeviceRef;

    /// The device's line in `devices`.
    fn row(&self) -> DeviceRow;

    /// What a policy may know it by, as its backend said when it was opened.
    fn traits(&self) -> Option<DeviceTraits> {
        None
    }

    /// Why it cannot be expected to answer now, as far as its backend knows.
    fn away(&self) -> Option<String> {
        None
    }

    /// Whether a look at it is this process's own work, memory and disk.
    fn is_here(&self) -> bool {
        true
    }

    /// The directory in which a session begins.
    fn root(&self) -> DevicePath {
        DevicePath::new("/")
    }

    /// A path of a call's arguments as the device knows it, below a session's directory where it is relative. Looks at
    /// nothing. `E_NOT_FOUND` for a place that the device has not.
    fn place(&self, directory: &DevicePath, path: &DevicePath) -> Result<DevicePath> {
        Ok(directory.join(path))
    }

    /// Whether it has such a thing; otherwise `E_UNSUPPORTED` with a hint. Asked before anything else of the guard.
    fn supports(&self, wish: &Wish) -> Result<()>;

    fn read<'a>(&'a self, query: Query, job: &'a Arc<Job>) -> Fut<'a, Result<Answer>>;

    fn fetch<'a>(&'a self, file: FileQuery, job: &'a Arc<Job>) -> Fut<'a, Result<Fetched>>;

    /// Gathers a forensics package.
    fn collect<'a>(&'a self, query: CollectQuery, job: &'a Arc<Job>) -> Fut<'a, Result<Package>>;

    /// Looks, never touches.
    fn resolve<'a>(&'a self, wish: &'a Wish, job: &'a Arc<Job>) -> Fut<'a, Result<Vec<Step>>>;

    /// What became of what a backend has taken; one look, nothing is begun.
    fn adopt<'a>(&'a self, _: Adopted, _: &'a Arc<Job>) -> Fut<'a, Outcome> {
        Box::pin(async {
            Outcome {
                rows: Vec::new(),
                verified: Verified::Unknown,
                end: End::Unknown { message: "the device does not go on with what was begun".into() },
                warnings: Vec::new(),
            }
        })
    }

    /// Used up by running it. `supply` gives the bytes of library files.
    fn apply<'a>(&'a self, approved: Approved, supply: Arc<dyn Supply>, job: &'a Arc<Job>) -> Fut<'a, Outcome>;
}
