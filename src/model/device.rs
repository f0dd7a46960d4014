//! Devices as rows, and what a device tells when a session opens.

use super::{DeviceId, DevicePath, Timestamp, row};
use crate::shape::Untrusted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

row! {
    /// What can be connected to.
    pub struct DeviceRow {
        pub id: DeviceId,
        pub name: Untrusted,
        /// `local`, `image`, `defender`.
        pub backend: &'static str,
        /// `linux`, `windows`, `macos`.
        pub platform: &'static str,
        /// The system's own name and version.
        pub os: Option<Untrusted>,
        pub address: Option<String>,
        pub last_seen: Option<Timestamp>,
        pub group: Option<String>,
        /// `T0` (identity) to `T3` (lab).
        pub tier: Option<String>,
        pub tags: Vec<String>,
    }
}

/// What a policy may know a device by, beside its id: names and tags that its backend gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceTraits {
    pub backend: &'static str,
    pub name: String,
    /// `group:NAME` is the backend's own group.
    pub tags: Vec<String>,
}

/// The device of a result.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct DeviceRef {
    pub id: DeviceId,
    pub name: Untrusted,
    pub platform: &'static str,
    pub backend: &'static str,
}

/// Asks a device what it is and what this account may see there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrivalQuery {}

/// What `connect` gives of the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Arrival {
    pub os: Untrusted,
    /// What the system calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<Untrusted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Untrusted>,
    /// Where a session starts.
    pub current_directory: DevicePath,
    /// The device's clock when it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<Timestamp>,
    /// The device's clock minus ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<Untrusted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boot_time: Option<Timestamp>,
    /// `none`, `full`, `selective`, or `unknown` without the right to see; absent where the device cannot tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<String>,
    pub signed_in: Vec<SignedIn>,
    /// The account that commands run as.
    pub account: Untrusted,
    /// What the account's rights hide, a line each, with the way to see it.
    pub hidden: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SignedIn {
    pub user: Untrusted,
    pub terminal: Untrusted,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Untrusted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}
