//! Linux: collectors that read what the kernel and the system's files tell.
//!
//! Invariant: nothing here changes anything on the host.

pub mod arrival;
pub mod connections;
mod container;
mod etc;
mod namespaces;
mod owners;
pub mod proc;
pub mod processes;
mod rights;
mod sign_ins;
mod sockets;
pub mod users;
mod workers;
