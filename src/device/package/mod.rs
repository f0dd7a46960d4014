//! A forensics package as it is made, whatever device it is of: tar in zstd, the manifest its last member.

mod archive;
mod spool;

pub use archive::{About, Archive, Inode, MadeOf, Member};
pub use spool::Spool;

use crate::model::{DevicePath, FileFacts, Job, Profile, Timestamp};
use std::collections::BTreeMap;

/// Entries that the manifest names; all are counted.
const NAMED: usize = 5_000;
/// Bytes of a path that it names: a hostile archive has names of any length.
const NAME: usize = 512;

/// What was to be collected and is not.
#[derive(Default, Debug)]
pub struct LeftOut {
    pub named: Vec<(DevicePath, &'static str)>,
    pub counts: BTreeMap<&'static str, u64>,
}

impl LeftOut {
    pub fn add(&mut self, path: &DevicePath, why: &'static str) {
        *self.counts.entry(why).or_default() += 1;
        if self.named.len() < NAMED && path.as_bytes().len() <= NAME {
            self.named.push((path.clone(), why));
        }
    }

    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    pub fn warn(&self, job: &Job) {
        if self.total() == 0 {
            return;
        }
        let counts = self.counts.iter().map(|(why, count)| format!("{count} {why}")).collect::<Vec<_>>().join(", ");
        let (total, all) = (self.total(), self.named.len() as u64 == self.total());
        let names = if all { "; its manifest.json names them" } else { "; its manifest.json counts them" };
        job.warn(format!("not in the package: {total} ({counts}){names}"));
    }
}

/// The name of a package, without its ending: of a host's name only what every file system takes.
pub fn stem(host: &str, profile: Profile) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    let host: String = host.chars().filter(plain).take(64).collect();
    format!("collect-{}-{}", if host.is_empty() { "host" } else { host.trim_start_matches('.') }, profile.as_str())
}

/// What can be said of a package before it is made.
pub fn facts(host: &str, profile: Profile) -> FileFacts {
    let stamp: String = Timestamp::now().to_string().chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    FileFacts {
        path: DevicePath::new(format!("{}-{stamp}Z.tar.zst", stem(host, profile))),
        size_bytes: 0,
        modified: Some(Timestamp::now()),
        identity: None,
        secret: None,
    }
}
