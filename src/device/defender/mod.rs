//! A Microsoft Defender for Endpoint tenant, through its documented REST API only.
//!
//! Invariant: nothing is asked of the network before the first call; tokens and result links are held in memory only.

pub mod actions;
mod analyze;
pub mod api;
mod arrival;
mod batch;
pub mod client;
mod collect;
mod device;
mod document;
mod effect;
pub mod examine;
mod fetch;
mod gunzip;
mod kept;
pub mod library;
mod machines;
mod pack;
mod paths;
mod read;
mod repack;
mod resolve;
mod rows;
mod tenant;
mod tenant_device;
mod unzip;

pub use device::DefenderDevice;
pub use tenant::Tenant;
pub use tenant_device::TenantDevice;

/// Before a name that another backend has too.
pub const PREFIX: &str = "defender:";
pub const BACKEND: &str = "defender";
