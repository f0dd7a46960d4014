//! Linux: collectors that read this host or a tree on it.
//!
//! Invariant: nothing here but `effect` changes anything; every file of a device is opened through [`view::View`],
//! which keeps the guard's own things out.

pub mod arrival;
pub mod collect;
mod connections;
mod container;
pub mod dir;
pub mod drivers;
pub mod effect;
pub mod enter;
mod etc;
pub mod facts;
pub mod fetch;
pub mod fileinfo;
pub mod find;
pub mod hash;
pub mod host;
mod isolation;
pub mod kind;
mod lines;
mod md5;
mod mounts;
mod namespaces;
mod netlink;
pub mod own;
mod owners;
pub mod package;
mod persistence;
mod preflight;
pub mod proc;
pub mod processes;
mod resolve;
mod rights;
mod routes;
pub mod rpm;
mod ruleset;
pub mod secret;
pub mod services;
mod sign_ins;
mod sockets;
mod sources;
mod startup;
mod systemd_bus;
mod sysv;
pub mod tasks;
mod tlsh;
pub mod tree;
pub mod units;
pub mod users;
pub mod view;
mod walk;
mod watch;
mod way_in;
mod work_folder;
mod workers;
