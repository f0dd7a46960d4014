//! What the dead-man of an isolation holds: a file of ours that says what was approved, until when, and how far it is.
//!
//! Invariants: the kernel says whether the host is isolated, this only says what was meant to be; every step from one
//! phase to the next is made alone, under a lock. What another boot or another network left here is nothing.

use super::proc;
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Isolation, RequestId, Sha256, Timestamp};
use crate::private::{self, Locked};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const HELD_MAX: usize = 256 << 10;
/// A step takes as long as nft; a process that died holds no lock.
const PATIENCE: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(20);

/// How far an isolation is; durable before the next thing is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The rules are about to be loaded.
    Begun,
    /// They are loaded, and nobody has confirmed them yet.
    Applied,
    Confirmed,
}

/// One approved isolation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub by: RequestId,
    pub isolation: Isolation,
    pub phase: Phase,
    boot_id: String,
    /// Of the network namespace.
    network: u64,
    /// Milliseconds since boot, sleep included.
    pub commit_by_ms: u64,
    pub lease_by_ms: u64,
    pub lease_by: Timestamp,
    /// Of the rules as the kernel lists them.
    pub listed_sha256: Option<Sha256>,
}

impl Held {
    pub fn new(by: RequestId, isolation: Isolation) -> Result<Held> {
        let now = boot_ms();
        let ms = |s: u64| now.saturating_add(s.saturating_mul(1000));
        Ok(Held {
            by,
            phase: Phase::Begun,
            boot_id: proc::boot_id()?,
            network: network(),
            commit_by_ms: ms(isolation.commit_s),
            lease_by_ms: ms(isolation.lease_s),
            lease_by: Timestamp::from_millis(Timestamp::now().as_millis())
                .plus_secs(i64::try_from(isolation.lease_s).unwrap_or(i64::MAX)),
            isolation,
            listed_sha256: None,
        })
    }

    fn is_of_now(&self) -> bool {
        proc::boot_id().is_ok_and(|b| b == self.boot_id) && self.network == network()
    }
}

/// Milliseconds since boot, sleep included: nobody sets this clock.
pub fn boot_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}

/// The inode of this process's network namespace; 0 where it cannot be seen.
fn network() -> u64 {
    rustix::fs::stat("/proc/self/ns/net").map_or(0, |s| s.st_ino)
}

/// `isolation/` of the home.
#[derive(Clone, Debug)]
pub struct Watch {
    home: PathBuf,
}

/// The right to make a step.
pub struct Step<'a> {
    watch: &'a Watch,
    _lock: Locked,
}

impl Watch {
    /// Opens nothing.
    pub fn new(home: &Path) -> Watch {
        Watch { home: home.to_owned() }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.join("isolation").join(name)
    }

    /// What is held now, of this boot and this network.
    pub fn held(&self) -> Result<Option<Held>> {
        let path = self.file("held.json");
        let Some(bytes) = private::read(&path, HELD_MAX)? else { return Ok(None) };
        let held: Held = serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(ErrorCode::StoreUnavailable, format!("{} cannot be read: {e}", path.display()))
                .hint("it holds what an isolation lets pass; take it away once the host is released")
        })?;
        Ok(Some(held).filter(Held::is_of_now))
    }

    /// Whether a dead-man lives.
    pub fn is_watched(&self) -> bool {
        private::open(&self.file("watched")).ok().flatten().is_some_and(|file| !Locked::is_free(file))
    }

    /// Makes this process the dead-man; `None` where there is one.
    pub fn take(&self) -> Result<Option<Locked>> {
        private::store(&self.home.join("isolation"))?;
        match Locked::exclusive(private::open_or_create(&self.file("watched"))?) {
            Ok(lock) => Ok(Some(lock)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(Error::io("the mark of the watch", e.into())),
        }
    }

    /// Waits for the right to make a step. `E_DEVICE_BUSY` where somebody does not end.
    pub fn step(&self) -> Result<Step<'_>> {
        private::store(&self.home.join("isolation"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Locked::exclusive(private::open_or_create(&self.file("lock"))?) {
                Ok(lock) => return Ok(Step { watch: self, _lock: lock }),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(TICK),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(Error::new(ErrorCode::DeviceBusy, "another process changes the isolation just now")
                        .hint("ask again when it has ended"));
                }
                Err(e) => return Err(Error::io("the isolation's lock", e.into())),
            }
        }
    }
}

impl Step<'_> {
    pub fn held(&self) -> Result<Option<Held>> {
        self.watch.held()
    }

    /// Durable when this returns.
    pub fn hold(&self, held: &Held) -> Result<()> {
        let bytes = serde_json::to_vec(held).map_err(|e| Error::new(ErrorCode::Internal, e.to_string()))?;
        private::replace(&self.watch.file("held.json"), &bytes)
    }

    pub fn forget(&self) -> Result<()> {
        private::remove(&self.watch.file("held.json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::IsolationKind;
    use crate::private::scratch::Scratch;

    fn held() -> Held {
        let isolation = Isolation {
            kind: IsolationKind::Full,
            lease_s: 60,
            commit_s: 5,
            exemptions: Vec::new(),
            dhcp: true,
            cuts: 0,
            ruleset_sha256: Sha256::of(b""),
        };
        Held::new(RequestId::mint(), isolation).unwrap()
    }

    #[test]
    fn what_is_held_is_read_back_until_it_is_forgotten() {
        let home = Scratch::new();
        let watch = Watch::new(&home);
        assert_eq!(watch.held().unwrap(), None);
        let (held, step) = (held(), watch.step().unwrap());
        step.hold(&held).unwrap();
        assert_eq!(watch.held().unwrap(), Some(held));
        step.forget().unwrap();
        assert_eq!(watch.held().unwrap(), None);
    }

    #[test]
    fn another_boot_and_another_network_left_nothing() {
        let home = Scratch::new();
        let watch = Watch::new(&home);
        for other in [Held { boot_id: "another".into(), ..held() }, Held { network: 1, ..held() }] {
            watch.step().unwrap().hold(&other).unwrap();
            assert_eq!(watch.held().unwrap(), None);
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_isolation() {
        let home = Scratch::new();
        let watch = Watch::new(&home);
        watch.step().unwrap().hold(&held()).unwrap();
        for bytes in [&b""[..], b"{}", b"\0\xff", b"[[[[[["] {
            private::replace(&home.join("isolation/held.json"), bytes).unwrap();
            assert_eq!(watch.held().unwrap_err().code, ErrorCode::StoreUnavailable);
        }
    }

    #[test]
    fn there_is_one_dead_man() {
        let home = Scratch::new();
        let watch = Watch::new(&home);
        assert!(!watch.is_watched());
        let first = watch.take().unwrap();
        assert!(first.is_some() && watch.is_watched() && watch.take().unwrap().is_none());
        drop(first);
        assert!(!watch.is_watched());
    }
}
