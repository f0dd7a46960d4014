//! The process that holds an isolation, and puts on record when it ends one.
//!
//! Invariant: needs neither configuration nor policy: what it holds was approved, and lies under the home.

use crate::audit::Log;
use crate::config::Config;
use crate::device;
use crate::error::Result;
use crate::guard::Guard;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A disk that is full now may have room later.
const TRIES: u32 = 30;
const AGAIN_AFTER: Duration = Duration::from_secs(2);

/// Holds the isolation of this home until it has ended. `ready` hears when it does.
pub(crate) fn run(home: PathBuf, ready: &mut dyn Write) -> Result<()> {
    let config = Config::of_home(home);
    let Some(ended) = device::hold_isolation(&config.home, ready)? else { return Ok(()) };
    let guard = Guard::new(&config, Log::new(config.home.join("audit")));
    let mut recorded = guard.rolled_back(&ended.by, ended.why);
    for _ in 1..TRIES {
        if recorded.is_ok() {
            break;
        }
        std::thread::sleep(AGAIN_AFTER);
        recorded = guard.rolled_back(&ended.by, ended.why);
    }
    recorded
}

/// Starts the dead-man again where it has died before its isolation has ended.
pub(crate) fn revive(home: &Path) -> Result<bool> {
    device::revive_isolation(home)
}
