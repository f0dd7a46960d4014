//! What time it is, by two clocks: the wall's, which can be set, and one that only counts forward while this boot lasts.

use crate::model::Timestamp;
use std::sync::OnceLock;

/// A point in time by both clocks.
#[derive(Clone, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Moment {
    pub wall_ms: i64,
    /// Milliseconds since boot, sleep included (`CLOCK_BOOTTIME`).
    pub mono_ms: u64,
    pub boot: String,
}

impl Moment {
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.wall_ms)
    }

    /// Milliseconds since an earlier moment, by the clock that gives more: setting the wall clock back wins no time.
    /// After a reboot only the wall clock tells.
    pub fn since_ms(&self, earlier: &Moment) -> u64 {
        let wall = u64::try_from(self.wall_ms.saturating_sub(earlier.wall_ms)).unwrap_or(0);
        if self.boot == earlier.boot { wall.max(self.mono_ms.saturating_sub(earlier.mono_ms)) } else { wall }
    }

    /// Milliseconds that surely passed since an earlier moment: by the clock that nobody sets, where it can tell.
    pub fn surely_since_ms(&self, earlier: &Moment) -> u64 {
        if self.boot == earlier.boot {
            self.mono_ms.saturating_sub(earlier.mono_ms)
        } else {
            u64::try_from(self.wall_ms.saturating_sub(earlier.wall_ms)).unwrap_or(0)
        }
    }
}

/// Where the time comes from; tests turn it by hand.
pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

/// The system's clocks.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let ms = u64::try_from(boot.tv_sec).unwrap_or(0) * 1000 + u64::try_from(boot.tv_nsec).unwrap_or(0) / 1_000_000;
        Moment { wall_ms: Timestamp::now().as_millis(), mono_ms: ms, boot: boot_id().to_owned() }
    }
}

/// Names this boot (`man 4 random`); `unknown` where the system does not tell.
fn boot_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|t| t.trim().to_owned())
            .unwrap_or_else(|_| "unknown".into())
    })
}

#[cfg(test)]
pub(crate) mod fake {
    use super::*;
    use std::sync::Mutex;

    /// A clock that a test turns.
    pub(crate) struct FakeClock(Mutex<Moment>);

    impl FakeClock {
        pub(crate) fn new() -> std::sync::Arc<Self> {
            std::sync::Arc::new(FakeClock(Mutex::new(Moment {
                wall_ms: 1_795_000_000_000,
                mono_ms: 1_000_000,
                boot: "b".into(),
            })))
        }

        pub(crate) fn advance_ms(&self, ms: u64) {
            let mut now = self.0.lock().unwrap();
            now.wall_ms += i64::try_from(ms).unwrap();
            now.mono_ms += ms;
        }

        pub(crate) fn set_wall(&self, by_ms: i64) {
            self.0.lock().unwrap().wall_ms += by_ms;
        }
    }

    impl Clock for FakeClock {
        fn now(&self) -> Moment {
            self.0.lock().unwrap().clone()
        }
    }
}
