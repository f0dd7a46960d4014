//! A Microsoft Defender for Endpoint tenant, through its documented REST API only.
//!
//! Invariant: nothing is asked of the network before the first call; tokens and result links are held in memory only.

pub mod actions;
pub mod api;
pub mod client;
