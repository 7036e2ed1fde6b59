//! How often and how far apart a firing is attempted.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The retry policy of an entry. It is kept in the intent, so a later edit does not change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetryPolicy {
    /// The most attempts that a firing may have, the first included; at least 1.
    pub max_attempts: u32,
    /// The wait before the second attempt, before it is spread.
    pub initial: Duration,
    /// The longest wait between two attempts.
    pub max: Duration,
    /// How long after the due time a new attempt may still start.
    pub deadline: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 8,
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            deadline: Duration::from_secs(3600),
        }
    }
}

impl RetryPolicy {
    /// The wait after the `failed`-th attempt (from 1): `initial` doubled each time, at most `max`,
    /// then spread evenly over its upper half by `random`, so that firings that failed together do
    /// not come back together.
    #[must_use]
    pub fn backoff(&self, failed: u32, random: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(32);
        let base =
            self.initial.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.max);
        let half = base / 2;
        let spread = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(if spread == 0 { 0 } else { random % (spread + 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_to_its_limit_and_stays_in_its_upper_half() {
        let policy = RetryPolicy::default();
        for failed in 1..200 {
            let full = policy.backoff(failed, policy.backoff_span(failed));
            assert!(full <= policy.max);
            assert!(policy.backoff(failed, 0) >= full / 2 - Duration::from_nanos(1));
        }
        assert_eq!(policy.backoff(1, 0), Duration::from_millis(500));
        assert_eq!(policy.backoff(200, 0), Duration::from_secs(30));
    }

    impl RetryPolicy {
        fn backoff_span(&self, failed: u32) -> u64 {
            u64::try_from(self.backoff(failed, 0).as_nanos()).unwrap()
        }
    }

    #[test]
    fn a_policy_of_zero_waits_does_not_divide_by_zero() {
        let policy = RetryPolicy { initial: Duration::ZERO, ..RetryPolicy::default() };
        assert_eq!(policy.backoff(3, 7), Duration::ZERO);
    }
}
