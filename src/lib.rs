//! live-response: Live Response commands as typed tools, and a guard that asks a person first.
//!
//! `docs/architecture.md` is the map; every module says in its head what it is for and what it may not do.

// No panic on input, no word on stdout but an answer, and effects only where clippy.toml allows them; tests set up and
// tear down what they test.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod audit;
pub mod cli;
pub mod commands;
pub mod config;
mod dead_man;
pub mod decide;
pub mod device;
pub mod dispatcher;
pub mod error;
pub mod evidence;
pub mod front;
#[doc(hidden)]
pub mod fuzzing;
pub mod guard;
pub mod library;
pub mod model;
pub mod nearest;
pub mod principal;
pub mod private;
pub mod registry;
pub mod secret;
pub mod session;
pub mod shape;
#[cfg(all(target_os = "linux", feature = "run"))]
pub mod supervise;
pub mod trace;

#[cfg(test)]
#[path = "../tests/support/tools.rs"]
#[allow(dead_code)] // Each test program uses a part of it.
mod tools;
