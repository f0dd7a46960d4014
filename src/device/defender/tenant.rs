//! The tenant of the configuration: its client, its actions, and what was learnt of its devices.
//!
//! Invariant: making one does nothing; what is remembered is only what a device is called, never what it may do.

use super::actions::Actions;
use super::api::{Machine, MachineId};
use super::batch::Lanes;
use super::client::Client;
use super::library::Listing;
use super::machines::{self, Known};
use super::{BACKEND, DefenderDevice, PREFIX};
use crate::config::Defender;
use crate::device::Device;
use crate::error::Result;
use crate::model::{DeviceId, DeviceRef, DeviceRow, Job};
use crate::shape::Untrusted;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Names are remembered of no more devices.
const REMEMBERED: usize = 200_000;

pub struct Tenant {
    pub(super) client: Client,
    pub(super) actions: Actions,
    pub(super) listing: Listing,
    pub(super) lanes: Lanes,
    /// Room for what is on its way.
    pub(super) home: PathBuf,
    known: Mutex<HashMap<MachineId, Known>>,
}

impl Tenant {
    pub fn new(settings: &Defender, home: PathBuf) -> Tenant {
        let client = Client::new(settings);
        Tenant {
            actions: Actions::new(&client),
            listing: Listing::default(),
            lanes: Lanes::default(),
            home,
            known: Mutex::default(),
            client,
        }
    }

    /// The tenant's devices; `part` of an id or name narrows them where the service can.
    pub async fn rows(&self, part: Option<&str>, job: &Job) -> Result<Vec<DeviceRow>> {
        self.each(part, job, machines::row).await
    }

    /// Every device of the tenant.
    pub async fn all(self: &Arc<Self>, job: &Job) -> Result<Vec<Arc<dyn Device>>> {
        self.each(None, job, |machine| Arc::new(DefenderDevice::new(self.clone(), machine)) as Arc<dyn Device>).await
    }

    async fn each<T>(&self, part: Option<&str>, job: &Job, make: impl Fn(Machine) -> T) -> Result<Vec<T>> {
        let mut pages = machines::matching(&self.client, part);
        let mut made = Vec::new();
        while let Some(page) = pages.next(job).await? {
            job.check()?;
            let mut known = self.known();
            made.reserve(page.len());
            for machine in page {
                if known.len() < REMEMBERED {
                    known.insert(machine.id.clone(), Known::of(&machine));
                }
                made.push(make(machine));
            }
        }
        Ok(made)
    }

    /// Opens a device by its id, its DNS name, or the first part of that where it is unique.
    pub async fn open(self: &Arc<Self>, named: &str, job: &Job) -> Result<DefenderDevice> {
        let named = named.strip_prefix(PREFIX).unwrap_or(named);
        let machine = machines::find(&self.client, named, || self.names(), job).await?;
        self.remember(&machine);
        Ok(DefenderDevice::new(self.clone(), machine))
    }

    pub(super) fn remember(&self, machine: &Machine) {
        let mut known = self.known();
        if known.len() < REMEMBERED || known.contains_key(&machine.id) {
            known.insert(machine.id.clone(), Known::of(machine));
        }
    }

    /// What an id stands for, by what is remembered; `None` where it is no device's of a tenant.
    pub fn describe(&self, id: &DeviceId) -> Option<DeviceRef> {
        let machine = machines::is_id(id.as_str()).then(|| MachineId::new(id.as_str()))?;
        let known = self.known().get(&machine).cloned();
        let (name, platform) = known.map_or((Untrusted::new(id.as_str()), "unknown"), |k| (k.name, k.platform));
        Some(DeviceRef { id: id.clone(), name, platform, backend: BACKEND })
    }

    fn names(&self) -> Vec<String> {
        self.known().values().map(|known| known.name.raw().to_owned()).collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<MachineId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
