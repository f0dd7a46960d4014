//! The clients and homes of `support`, by an older name.

#[path = "../support/mod.rs"]
mod support;

pub use support::*;
