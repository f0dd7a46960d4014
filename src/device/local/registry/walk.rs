//! Every key below one, once each.

use super::hive::Hive;
use super::key::Key;
use crate::error::Result;
use crate::model::Job;
use std::collections::HashSet;

/// As Windows has it.
const DEPTH: usize = 512;
/// Entries of lists that are followed in all: a hive of 2 GiB has room for as many keys, a hostile one repeats its lists.
const ENTRIES: usize = 20_000_000;
/// Keys that are remembered, so that none is met twice.
const KEYS: usize = 4_000_000;

impl Hive {
    /// Shows every key below `top`, itself first, to `look`, with its path below `top`. A key that was met before (a
    /// loop, a key in two lists) is damage and not followed again.
    pub fn walk(&self, top: &Key, job: &Job, look: &mut dyn FnMut(&[String], &Key) -> Result<()>) -> Result<()> {
        let mut met = HashSet::from([top.offset]);
        let mut path: Vec<String> = Vec::new();
        look(&path, top)?;
        let mut levels = vec![self.subkey_offsets(top, job)?.into_iter()];
        let mut entries = 0;
        while let Some(level) = levels.last_mut() {
            job.check()?;
            let Some(offset) = level.next() else {
                levels.pop();
                path.pop();
                continue;
            };
            entries += 1;
            if entries > ENTRIES || met.len() > KEYS {
                self.note("walks that were given up: lists repeat without end", offset);
                return Ok(());
            }
            if !met.insert(offset) {
                self.note("keys that are their own descendants or in two places", offset);
                continue;
            }
            let Some(key) = self.key_at(offset) else { continue };
            path.push(key.name.to_string());
            look(&path, &key)?;
            if levels.len() == DEPTH {
                self.note("keys below more than 512 others", offset);
                path.pop();
                continue;
            }
            levels.push(self.subkey_offsets(&key, job)?.into_iter());
        }
        Ok(())
    }
}
