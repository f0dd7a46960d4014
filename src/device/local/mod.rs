//! This host and trees on it: `local` and `image:<directory>`.

#[cfg(target_os = "linux")]
pub mod linux;
pub mod pool;
