//! This host and trees on it: `local` and `image:<directory>`.

pub mod pool;
