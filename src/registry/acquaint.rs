//! What a policy must know of a device whose session is over: asked of the device's backend when it is needed.
//!
//! Invariant: what cannot be asked stays unknown, and the unknown never makes anything easier.

use super::Core;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{DeviceId, Job};
use std::sync::Arc;
use std::time::Duration;

/// A backend that does not answer within this is taken for one that cannot be asked.
const WITHIN: Duration = Duration::from_secs(10);

impl Core {
    /// Has the guard know what a device's backend says of it, where the policy goes by that and nobody has asked yet.
    pub async fn acquaint(&self, device: &DeviceId) -> Result<()> {
        let asked = device.clone();
        if !self.guard(move |g| g.is_unmet(&asked)).await? {
            return Ok(());
        }
        let job = Arc::new(Job::default());
        let found = tokio::time::timeout(WITHIN, self.sessions.device(device.as_str(), &job)).await;
        let found = found.unwrap_or_else(|_| {
            Err(Error::new(ErrorCode::Timeout, format!("its backend did not answer in {} s", WITHIN.as_secs())))
        })?;
        if let Some(traits) = found.traits() {
            self.guard.know(device, traits);
        }
        Ok(())
    }
}

/// Why the policy cannot say what it asks for on a device.
pub(super) fn unmet(device: &DeviceId, e: &Error) -> Error {
    let what =
        format!("the policy's group of {device} is not known, since its tenant could not be asked: {}", e.message);
    Error::new(e.code, what)
        .hint("ask again when the tenant answers; a group that names this id in its devices needs no tenant")
}
