//! The parsers of hostile files, for `fuzz/`: bytes in, nothing out. They must end within bounds and never panic.

use crate::model::Job;

/// A hive and the log after it: the first two bytes say where the log begins, in sectors.
pub fn hive(bytes: &[u8]) {
    crate::device::local::registry::exhaust(bytes, &Job::default());
}
