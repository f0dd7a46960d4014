//! What the end-to-end tests share: a throw-away home for the real binary, clients of its protocols, and a person with
//! an authenticator. Everything waits with a deadline.
#![allow(dead_code, unused_imports)] // Each test program uses a part of it.

mod client;
pub mod defender;
mod home;
pub mod pack;
mod person;
pub mod tenant;
pub mod tools;

pub use client::*;
pub use home::*;
pub use person::*;
