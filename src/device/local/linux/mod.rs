//! Collectors for Linux: they read this host or a tree on it, and change nothing.
//!
//! Invariant: every file is opened through [`view::View`], which keeps the guard's own things out.

pub mod dir;
pub mod enter;
pub mod facts;
pub mod fetch;
pub mod fileinfo;
pub mod find;
pub mod hash;
pub mod kind;
mod md5;
mod mounts;
pub mod own;
pub mod package;
pub mod secret;
mod tlsh;
pub mod view;
