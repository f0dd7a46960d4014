//! What is set up to run on a device: services, drivers, tasks, start-up items, persistence, registry.

use super::{DevicePath, Sha256, Timestamp, row};
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! plain_query {
    ($($name:ident),*) => { $(
        #[derive(Clone, Debug, Default, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {}
    )* };
}
plain_query!(ServiceQuery, DriverQuery, StartupQuery);

row! {
    pub struct Service {
        pub name: Untrusted,
        pub description: Option<Untrusted>,
        pub state: Option<Untrusted>,
        pub start_mode: Option<Untrusted>,
        pub path: Option<DevicePath>,
        pub account: Option<Untrusted>,
        pub pid: Option<u32>,
        pub unit_file: Option<DevicePath>,
    }
}

row! {
    pub struct Driver {
        pub name: Untrusted,
        pub version: Option<Untrusted>,
        pub path: Option<DevicePath>,
        pub size_bytes: Option<u64>,
        pub signer: Option<Untrusted>,
        pub signed: Option<bool>,
        pub loaded: Option<bool>,
        pub used_by: Vec<Untrusted>,
        pub tainted: Option<Untrusted>,
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskQuery {
    pub name: Option<String>,
}

row! {
    pub struct ScheduledTask {
        pub name: Untrusted,
        /// `cron`, `timer`, `at`, `anacron`.
        pub kind: &'static str,
        pub schedule: Option<Untrusted>,
        pub command: Option<Untrusted>,
        pub user: Option<Untrusted>,
        pub enabled: Option<bool>,
        pub source: Option<DevicePath>,
        pub next_run: Option<Timestamp>,
    }
}

row! {
    pub struct StartupItem {
        pub user: Option<Untrusted>,
        pub folder: DevicePath,
        pub file: DevicePath,
        pub target: Option<Untrusted>,
        pub modified: Option<Timestamp>,
        pub sha256: Option<Sha256>,
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersistenceQuery {
    pub technique: Option<String>,
    pub user: Option<String>,
}

row! {
    pub struct Persistence {
        pub technique: &'static str,
        /// MITRE ATT&CK: `T1053.003`.
        pub attack_id: &'static str,
        pub location: DevicePath,
        pub name: Option<Untrusted>,
        /// The lines that run.
        pub command: Option<Untrusted>,
        pub user: Option<Untrusted>,
        pub modified: Option<Timestamp>,
        pub sha256: Option<Sha256>,
        /// Owned by a package and unmodified.
        pub packaged: Option<bool>,
        pub note: Option<Untrusted>,
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryQuery {
    pub key: String,
    pub value: Option<String>,
    pub hive: Option<DevicePath>,
    pub user: Option<String>,
}

row! {
    /// A value (`value` is empty for the default one), or a sub-key (with `subkeys`).
    pub struct RegistryRow {
        pub key: Untrusted,
        pub value: Option<Untrusted>,
        /// `REG_SZ`, `REG_DWORD`, …; `REG_0x…` for a type without a name.
        pub kind: Option<String>,
        /// Numbers in decimal, text as it is, all else as hex digits.
        pub data: Option<Untrusted>,
        pub modified: Option<Timestamp>,
        pub subkeys: Option<u64>,
        /// Not so in the hive file: it stands in a transaction log only.
        pub from_log: Option<bool>,
    }
}

/// The key that was read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct RegistryKey {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Untrusted>,
    /// Last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// The data of the one value that was asked for, where it is secret: never a part of the answer.
    #[serde(skip)]
    pub secret: Option<SecretValue>,
}

/// What a person must agree to show.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretValue {
    /// Why: `Windows account secrets`.
    pub reason: &'static str,
    /// The hive, and in it the value.
    pub path: DevicePath,
    /// Type and data as text, by lines.
    pub content: String,
}
