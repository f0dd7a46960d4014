//! Devices of the tenant, and who signed in on them.

use super::MachineId;
use crate::device::defender::client::json::{time, tolerant};
use crate::device::defender::client::{Client, Endpoint, Failure, Family, Page, Pages};
use crate::error::{ErrorCode, Result};
use crate::model::{Job, Timestamp};
use crate::shape::Untrusted;
use serde::Deserialize;

static MACHINES: Endpoint = Endpoint {
    what: "list the devices",
    permission: "Machine.Read.All",
    family: Family::Machines,
    missing: ErrorCode::NoDevice,
};
static MACHINE: Endpoint = Endpoint {
    what: "find the device",
    permission: "Machine.Read.All",
    family: Family::Machine,
    missing: ErrorCode::NoDevice,
};
static USERS: Endpoint = Endpoint {
    what: "list who signed in on the device",
    permission: "User.Read.All",
    family: Family::Users,
    missing: ErrorCode::NoDevice,
};

/// A device as the tenant knows it. Words are as the service writes them: compare without case.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Machine {
    pub id: MachineId,
    #[serde(deserialize_with = "tolerant")]
    pub computer_dns_name: Option<Untrusted>,
    #[serde(deserialize_with = "time")]
    pub first_seen: Option<Timestamp>,
    /// The last full report, about every day; not what the portal calls so.
    #[serde(deserialize_with = "time")]
    pub last_seen: Option<Timestamp>,
    #[serde(deserialize_with = "tolerant")]
    pub os_platform: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub os_processor: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub os_architecture: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub version: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub os_build: Option<u64>,
    /// `Onboarded`, `CanBeOnboarded`, `Unsupported`, `InsufficientInfo`.
    #[serde(deserialize_with = "tolerant")]
    pub onboarding_status: Option<Untrusted>,
    /// `Active`, `Inactive`, `ImpairedCommunication`, `NoSensorData`, …
    #[serde(deserialize_with = "tolerant")]
    pub health_status: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub last_ip_address: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub last_external_ip_address: Option<Untrusted>,
    /// The device's group.
    #[serde(deserialize_with = "tolerant")]
    pub rbac_group_name: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub rbac_group_id: Option<i64>,
    #[serde(deserialize_with = "tolerant")]
    pub risk_score: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub exposure_level: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub device_value: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub aad_device_id: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub is_aad_joined: Option<bool>,
    #[serde(deserialize_with = "tolerant")]
    pub machine_tags: Vec<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub ip_addresses: Vec<MachineAddress>,
}

/// An address of one of a device's interfaces; each part may be empty or missing.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MachineAddress {
    pub ip_address: Option<Untrusted>,
    pub mac_address: Option<Untrusted>,
    pub operational_status: Option<Untrusted>,
    #[serde(rename = "type")]
    pub kind: Option<Untrusted>,
}

/// An account that signed in on a device.
#[derive(Clone, Default, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogonUser {
    /// `domain\name` or a name.
    #[serde(deserialize_with = "tolerant")]
    pub id: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub account_name: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub account_domain: Option<Untrusted>,
    #[serde(deserialize_with = "time")]
    pub first_seen: Option<Timestamp>,
    #[serde(deserialize_with = "time")]
    pub last_seen: Option<Timestamp>,
    #[serde(deserialize_with = "tolerant")]
    pub logon_types: Option<Untrusted>,
    #[serde(deserialize_with = "tolerant")]
    pub is_domain_admin: Option<bool>,
    #[serde(deserialize_with = "tolerant")]
    pub is_only_network_user: Option<bool>,
}

impl Client {
    /// The tenant's devices, 10,000 a page; `filter` in OData.
    pub fn machines(&self, filter: Option<&str>) -> Pages<Machine> {
        Pages::new(self, &MACHINES, "machines", filter)
    }

    /// A device by its id or its DNS name. `E_NO_DEVICE` where there is none.
    pub async fn machine(&self, id_or_name: &str, job: &Job) -> Result<Machine> {
        let call = self.get(&MACHINE, &["machines", id_or_name], &[])?;
        self.ask(&call, job).await.map_err(Failure::into_error)
    }

    pub async fn logon_users(&self, machine: &MachineId, job: &Job) -> Result<Vec<LogonUser>> {
        let call = self.get(&USERS, &["machines", machine.as_str(), "logonusers"], &[])?;
        Ok(self.ask::<Page<LogonUser>>(&call, job).await.map_err(Failure::into_error)?.value)
    }
}
