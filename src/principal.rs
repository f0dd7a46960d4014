//! Who calls: the account that the kernel names, never what a client says of itself.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An account (stdio: the process's own) or, later, a token's subject. Written `uid:1000`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Principal(String);

impl Principal {
    pub fn uid(uid: u32) -> Self {
        Principal(format!("uid:{uid}"))
    }

    /// The account this process runs as.
    pub fn own() -> Self {
        Self::uid(rustix::process::geteuid().as_raw())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Rights of a principal over a device, least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Basic,
    Advanced,
}

/// By which front end a call came; part of a plan's requester.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Mcp,
    Rpc,
    Console,
    Call,
}
