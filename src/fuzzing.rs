//! The parsers of hostile files, for `fuzz/`: bytes in, nothing out. They must end within bounds and never panic.

use crate::model::Job;

/// A hive and the log after it: the first two bytes say where the log begins, in sectors.
pub fn hive(bytes: &[u8]) {
    crate::device::local::registry::exhaust(bytes, &Job::default());
}

/// A unit file, and every value of it as a command line.
#[cfg(target_os = "linux")]
pub fn unit(bytes: &[u8]) {
    crate::device::local::linux::units::exhaust(bytes);
}

/// A crontab, a user's and the system's.
#[cfg(target_os = "linux")]
pub fn cron(bytes: &[u8]) {
    crate::device::local::linux::tasks::exhaust_crontab(bytes);
}

/// A job of `at`, its name and its script.
#[cfg(target_os = "linux")]
pub fn at(bytes: &[u8]) {
    crate::device::local::linux::tasks::exhaust_at(bytes);
}
