//! Linux: collectors that read what the kernel and the system's files tell.
//!
//! Invariant: nothing here changes anything on the host.

mod container;
mod etc;
pub mod proc;
pub mod processes;
pub mod users;
