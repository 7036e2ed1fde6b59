//! Where time comes from. Everything that needs the time is given a [`Clock`], or the time itself;
//! the ambient clocks are read in this file only.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

/// One reading of both clocks, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The wall clock. It can step in either direction.
    pub wall: Timestamp,
    /// Time since boot, suspend included (`CLOCK_BOOTTIME`). It never steps.
    pub boot: Duration,
}

/// A source of time.
pub trait Clock: Debug + Send + Sync {
    /// Both clocks, now.
    fn now(&self) -> Now;
}

/// The host's own clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let wall = Timestamp::now();
        Now {
            wall,
            boot: Duration::new(
                u64::try_from(boot.tv_sec).unwrap_or(0),
                u32::try_from(boot.tv_nsec).unwrap_or(0),
            ),
        }
    }
}

/// A clock that stands still until it is told otherwise, for tests and simulations.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<Mutex<Now>>);

impl ManualClock {
    /// A clock that reads `wall`, a day after boot.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Now { wall, boot: Duration::from_secs(86_400) })))
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.boot += by;
        now.wall += by;
    }

    /// Steps the wall clock alone, in either direction.
    pub fn step_wall(&self, to: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).wall = to;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
