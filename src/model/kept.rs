//! What a read has begun with a backend, kept so that another process can go on with it.
//!
//! Invariant: what is to begin is on record before it is begun, and what is on record is never begun again.

use crate::error::Result;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// One action of a backend that a read has begun.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// What of the read it is: a read begins nothing twice under one name.
    pub what: String,
    /// Its answer carries this.
    pub nonce: String,
    /// The action's comment has this in it.
    pub mark: String,
    /// Which of the action's commands it is, from 0.
    pub index: u32,
    /// The backend's own id, once it is known.
    pub action: Option<String>,
}

/// The record of a read that outlives its process.
pub trait Keep: Send + Sync + Debug {
    /// What was begun under this name.
    fn begun(&self, what: &str) -> Option<Begun>;

    /// Puts on record what is to begin, or what is known of it now. Durable when this returns.
    fn put(&self, begun: Begun) -> Result<()>;

    /// The backend has it, and it has not ended; `off`: whether the device has not begun it, where that is known.
    fn waits(&self, off: Option<bool>);

    /// What whoever asks how far it is should know.
    fn told(&self) -> Option<String>;

    /// The read has ended: well or not, or (`None`) so that nobody will read it again.
    fn ended(&self, well: Option<bool>);
}
