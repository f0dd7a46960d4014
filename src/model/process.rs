//! Processes and sockets.

use super::{DevicePath, Sha256, Timestamp, row};
use crate::shape::Untrusted;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessQuery {
    pub pid: Option<u32>,
    /// A glob over the process's name or the last component of its image's path.
    pub name: Option<String>,
    /// Parents before their children.
    pub tree: bool,
    /// Costly columns to fill: `sha256`.
    pub want: Vec<String>,
    /// Only what costs the least: image, working directory and container stay empty.
    pub brief: bool,
}

row! {
    /// A process; `man 5 proc`.
    pub struct Process {
        pub pid: u32,
        pub ppid: u32,
        /// `comm` of `/proc/PID/stat`.
        pub name: Untrusted,
        /// Its image; the path the kernel names, without ` (deleted)`.
        pub path: Option<DevicePath>,
        /// Arguments joined by spaces; an argument with white space is quoted.
        pub command_line: Option<Untrusted>,
        /// The effective user, by name where the device knows it.
        pub user: Option<Untrusted>,
        pub started: Option<Timestamp>,
        /// Of the image.
        pub sha256: Option<Sha256>,
        /// The image is deleted or was never a file.
        pub deleted_image: Option<bool>,
        pub cwd: Option<DevicePath>,
        /// The container's id, from its cgroup.
        pub container: Option<Untrusted>,
        /// User and system time.
        pub cpu_ms: Option<u64>,
        pub rss_bytes: Option<u64>,
        /// Depth below the tree's root; with `tree`.
        pub depth: Option<u32>,
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionQuery {}

row! {
    /// A TCP or UDP socket, listening and unconnected ones too.
    pub struct Connection {
        /// `tcp`, `tcp6`, `udp` or `udp6`.
        pub protocol: &'static str,
        pub local_address: String,
        pub local_port: u16,
        pub remote_address: Option<String>,
        pub remote_port: Option<u16>,
        /// As `ss` names it, upper case: `LISTEN`, `ESTABLISHED`, …
        pub state: &'static str,
        pub pid: Option<u32>,
        pub process: Option<Untrusted>,
        pub user: Option<Untrusted>,
        /// Inode of the network namespace.
        pub netns: Option<u64>,
        pub container: Option<Untrusted>,
    }
}
