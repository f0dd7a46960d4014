//! live-response: Live Response commands as typed tools, and a guard that asks a person first.
//!
//! `docs/architecture.md` is the map; every module says in its head what it is for and what it may not do.

// Tests set up and tear down what they test; without this the lint on effects would name every one of them.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod audit;
pub mod cli;
pub mod commands;
pub mod config;
pub mod decide;
pub mod device;
pub mod dispatcher;
pub mod error;
pub mod evidence;
pub mod front;
pub mod guard;
pub mod model;
pub mod nearest;
pub mod principal;
pub mod private;
pub mod registry;
pub mod session;
pub mod shape;
pub mod trace;
