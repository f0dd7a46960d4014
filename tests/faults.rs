//! Faults, crashes and hostile surroundings, through the real binary.
//!
//! Invariants: a test plants one fault, and takes away what it mounted or started also when it fails. What needs root
//! says so and is passed over without.

mod rpc_client;

#[path = "faults/crash.rs"]
mod crash;
#[path = "faults/files.rs"]
mod files;
#[path = "faults/full.rs"]
mod full;
#[path = "faults/hang.rs"]
mod hang;
#[path = "faults/limits.rs"]
mod limits;
#[path = "faults/memory.rs"]
mod memory;
#[path = "faults/server.rs"]
mod server;
