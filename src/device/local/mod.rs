//! This host and trees on it: `local` and `image:<directory>`.
