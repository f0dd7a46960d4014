//! A device of the tenant as a [`Device`].
//!
//! Invariant: what it is called and which system it runs stays as it was when the session opened.

use super::api::{Machine, MachineId};
use super::pack::Shell;
use super::paths::Syntax;
use super::{BACKEND, Tenant, effect, machines};
use crate::device::{Device, Fetched, Fut, Package};
use crate::error::{Error, ErrorCode, Result};
use crate::guard::{Adopted, Approved};
use crate::model::{
    Answer, CollectQuery, DeviceId, DevicePath, DeviceRef, DeviceRow, DeviceTraits, FileQuery, Job, Outcome, Query,
    Step, Supply, Wish,
};
use std::sync::Arc;

pub struct DefenderDevice {
    pub(super) tenant: Arc<Tenant>,
    pub(super) machine: Machine,
    id: DeviceId,
}

impl DefenderDevice {
    pub(super) fn new(tenant: Arc<Tenant>, machine: Machine) -> DefenderDevice {
        DefenderDevice { id: DeviceId::new(machine.id.as_str()), tenant, machine }
    }

    pub(super) fn machine_id(&self) -> &MachineId {
        &self.machine.id
    }

    pub(super) fn platform(&self) -> &'static str {
        machines::platform(&self.machine)
    }

    pub(super) fn syntax(&self) -> Syntax {
        if self.platform() == "windows" { Syntax::Windows } else { Syntax::Unix }
    }

    /// What its scripts are written in; `E_UNSUPPORTED` where it runs none.
    pub(super) fn shell(&self) -> Result<Shell> {
        match self.platform() {
            "windows" => Ok(Shell::PowerShell),
            "linux" => Ok(Shell::Bash),
            other => Err(Error::new(ErrorCode::Unsupported, format!("the script pack has no scripts for {other}"))
                .hint(
                    "`connect`, `isolate`, `release` and `scan` need none; `devices` says which system a device runs",
                )),
        }
    }
}

impl Device for DefenderDevice {
    fn id(&self) -> &DeviceId {
        &self.id
    }

    fn describe(&self) -> DeviceRef {
        DeviceRef {
            id: self.id.clone(),
            name: machines::name(&self.machine),
            platform: self.platform(),
            backend: BACKEND,
        }
    }

    fn row(&self) -> DeviceRow {
        machines::row(self.machine.clone())
    }

    fn traits(&self) -> Option<DeviceTraits> {
        Some(machines::traits(&self.machine))
    }

    fn away(&self) -> Option<String> {
        machines::not_active(&self.machine).map(|health| format!("its sensor does not report ({health})"))
    }

    fn is_here(&self) -> bool {
        false
    }

    fn root(&self) -> DevicePath {
        self.syntax().root()
    }

    fn place(&self, directory: &DevicePath, path: &DevicePath) -> Result<DevicePath> {
        Ok(self.syntax().join(directory, path))
    }

    fn supports(&self, wish: &Wish) -> Result<()> {
        self.can(wish)
    }

    fn read<'a>(&'a self, query: Query, job: &'a Arc<Job>) -> Fut<'a, Result<Answer>> {
        Box::pin(self.ask(query, job))
    }

    fn fetch<'a>(&'a self, file: FileQuery, job: &'a Arc<Job>) -> Fut<'a, Result<Fetched>> {
        Box::pin(self.get(file, job))
    }

    fn collect<'a>(&'a self, query: CollectQuery, job: &'a Arc<Job>) -> Fut<'a, Result<Package>> {
        Box::pin(self.gather(query, job))
    }

    fn resolve<'a>(&'a self, wish: &'a Wish, job: &'a Arc<Job>) -> Fut<'a, Result<Vec<Step>>> {
        Box::pin(self.plan(wish, job))
    }

    fn adopt<'a>(&'a self, adopted: Adopted, job: &'a Arc<Job>) -> Fut<'a, Outcome> {
        Box::pin(effect::adopt(self, adopted, job))
    }

    fn apply<'a>(&'a self, approved: Approved, supply: Arc<dyn Supply>, job: &'a Arc<Job>) -> Fut<'a, Outcome> {
        Box::pin(async move { effect::carry_out(self, approved, &*supply, job).await })
    }
}
