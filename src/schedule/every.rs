//! A fixed period with a fixed phase: never drifting, the same after every restart, untouched by
//! changes of the clock.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use super::ScheduleError;
use crate::ids::Nominal;

/// Every so many seconds, counted from a fixed instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Every {
    period: i64,
    /// One of its instants.
    phase: i64,
}

impl Every {
    /// Every `period`, `offset` after the anchor, which is the Unix epoch unless another is given.
    ///
    /// # Errors
    /// [`ScheduleError::Every`] when the period is shorter than a second or either is not whole seconds.
    pub fn new(period: Duration, offset: Duration, anchor: Option<Timestamp>) -> Result<Self, ScheduleError> {
        if period < Duration::from_secs(1) {
            return Err(ScheduleError::Every("the period must be at least 1s"));
        }
        if period.subsec_nanos() != 0 || offset.subsec_nanos() != 0 {
            return Err(ScheduleError::Every("the period and the offset must be whole seconds"));
        }
        let seconds = |duration: Duration| {
            i64::try_from(duration.as_secs())
                .ok()
                .filter(|seconds| *seconds <= 366 * 86_400 * 100)
                .ok_or(ScheduleError::Every("the period and the offset must be shorter than a century"))
        };
        let (period, offset) = (seconds(period)?, seconds(offset)?);
        let anchor = anchor.map_or(0, |anchor| Nominal::at_or_before(anchor).as_second());
        Ok(Self { period, phase: anchor + offset })
    }

    /// The period in seconds.
    #[must_use]
    pub fn period_secs(&self) -> i64 {
        self.period
    }

    pub(super) fn next_after(self, after: Nominal) -> Option<Nominal> {
        let periods = (after.as_second() - self.phase).div_euclid(self.period) + 1;
        Nominal::from_second(self.phase + periods * self.period)
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s from {}s", self.period, self.phase.rem_euclid(self.period))
    }
}
