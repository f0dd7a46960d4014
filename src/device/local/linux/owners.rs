//! Which process holds a socket: the one whose descriptors name the socket's inode.
//!
//! Invariant: of several processes that share a socket it is the one with the lowest pid, whatever the threads did.

use super::proc::{Proc, failed, is_gone, number};
use super::workers::{on_threads, threads};
use crate::error::Result;
use crate::model::Job;
use rustix::fs::{Mode, OFlags, RawDir, openat, readlinkat_raw};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The holders that were found.
#[derive(Debug)]
pub struct Owners {
    /// Sorted.
    inodes: Vec<u64>,
    /// A pid for each inode, 0 for none.
    pids: Vec<AtomicU32>,
    unfound: AtomicUsize,
    /// Processes whose descriptors the account may not see.
    hidden: AtomicU64,
}

impl Owners {
    /// Looks through the descriptors of all `pids` (in rising order) for sockets with these inodes.
    pub fn find(proc: &Proc, pids: &[u32], inodes: impl Iterator<Item = u64>, job: &Job) -> Result<Self> {
        let mut inodes: Vec<u64> = inodes.filter(|i| *i != 0).collect();
        inodes.sort_unstable();
        inodes.dedup();
        let owners = Owners {
            pids: inodes.iter().map(|_| AtomicU32::new(0)).collect(),
            unfound: AtomicUsize::new(inodes.len()),
            inodes,
            hidden: AtomicU64::new(0),
        };
        let next = AtomicUsize::new(0);
        on_threads(threads(pids.len()), || {
            // What a thread has begun it ends, so all pids below the last one are through.
            while owners.unfound.load(Relaxed) > 0
                && let Some(pid) = pids.get(next.fetch_add(1, Relaxed))
            {
                job.check()?;
                owners.look_into(proc, *pid, job)?;
            }
            Ok(Vec::<()>::new())
        })?;
        Ok(owners)
    }

    pub fn pid(&self, inode: u64) -> Option<u32> {
        let at = self.inodes.binary_search(&inode).ok()?;
        self.pids.get(at).map(|pid| pid.load(Relaxed)).filter(|pid| *pid != 0)
    }

    /// Sockets without a holder, and processes whose descriptors could not be seen.
    pub fn gaps(&self) -> (usize, u64) {
        (self.unfound.load(Relaxed), self.hidden.load(Relaxed))
    }

    fn look_into(&self, proc: &Proc, pid: u32, job: &Job) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = match openat(proc.directory(), format!("{pid}/fd"), flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::ACCESS | Errno::PERM) => {
                self.hidden.fetch_add(u64::from(has_descriptors(proc, pid)), Relaxed);
                return Ok(());
            }
            Err(e) if is_gone(e) => return Ok(()),
            Err(e) => return Err(failed(pid, e)),
        };
        let mut buffer = [MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(&directory, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            let mut link = [MaybeUninit::uninit(); 32];
            match readlinkat_raw(&directory, entry.file_name(), &mut link) {
                Ok((link, _)) => self.note(link, pid),
                // The directory can be open to us and what it names not.
                Err(Errno::ACCESS | Errno::PERM) => {
                    self.hidden.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Err(_) => {}
            }
            if entries.is_buffer_empty() {
                job.check()?;
            }
        }
        Ok(())
    }

    fn note(&self, link: &[u8], pid: u32) {
        let Some(inode) = link.strip_prefix(b"socket:[").and_then(|l| l.strip_suffix(b"]")).and_then(number) else {
            return;
        };
        let Some(owner) = self.inodes.binary_search(&inode).ok().and_then(|at| self.pids.get(at)) else { return };
        let lower = |now: u32| (now == 0 || pid < now).then_some(pid);
        if owner.fetch_update(Relaxed, Relaxed, lower) == Ok(0) {
            self.unfound.fetch_sub(1, Relaxed);
        }
    }
}

/// Kernel threads have none to hide.
fn has_descriptors(proc: &Proc, pid: u32) -> bool {
    let entry = proc.entry(pid);
    entry.is_ok_and(|entry| entry.stat(&mut Vec::new()).is_ok_and(|stat| !stat.is_kernel_thread))
}
