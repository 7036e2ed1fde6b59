//! What becomes of nominal times that were not started in time: one pure function.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::config::{Missed, Policy};
use crate::ids::Nominal;

/// Consecutive nominal times that are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: Nominal,
    pub(super) last: Nominal,
    pub(super) count: u64,
}

/// What the policy says of nominal times that are all late.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Left out; all of these are older than those to start.
    pub(super) skipped: Option<Run>,
    /// To be started now, oldest first.
    pub(super) start: Vec<Nominal>,
}

impl Choice {
    fn skip(&mut self, nominal: Nominal) {
        let run = self.skipped.get_or_insert(Run { first: nominal, last: nominal, count: 0 });
        run.last = nominal;
        run.count += 1;
    }
}

/// Whether a firing due at `due` is later than its policy lets it simply start.
pub(super) fn is_late(due: Timestamp, policy: &Policy, now: Timestamp) -> bool {
    now.duration_since(due) > signed(policy.late_after)
}

/// Decides about late nominal times of one entry, given in order. `latest` starts the newest, `all`
/// the newest `missed_max`, oldest first; neither starts what is older than `missed_within`.
pub(super) fn choose(late: impl Iterator<Item = Nominal>, policy: &Policy, now: Timestamp) -> Choice {
    let most = match policy.missed {
        Missed::Skip => 0,
        Missed::Latest => 1,
        Missed::All => usize::try_from(policy.missed_max).unwrap_or(usize::MAX),
    };
    let mut choice = Choice::default();
    let mut start = VecDeque::new();
    for nominal in late {
        let too_old = now.duration_since(nominal.timestamp()) > signed(policy.missed_within);
        if most == 0 || too_old {
            choice.skip(nominal);
            continue;
        }
        if start.len() == most
            && let Some(oldest) = start.pop_front()
        {
            choice.skip(oldest);
        }
        start.push_back(nominal);
    }
    choice.start = start.into();
    choice
}

fn signed(duration: std::time::Duration) -> jiff::SignedDuration {
    jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Nominal {
        Nominal::from_second(second).unwrap()
    }

    fn decide(missed: Missed, max: u32, late: &[i64]) -> (Option<(i64, i64, u64)>, Vec<i64>) {
        let policy = Policy {
            missed,
            missed_max: max,
            missed_within: std::time::Duration::from_secs(1_000),
            ..Policy::default()
        };
        let choice = choose(late.iter().map(|s| at(*s)), &policy, at(2_000).timestamp());
        (
            choice.skipped.map(|run| (run.first.as_second(), run.last.as_second(), run.count)),
            choice.start.iter().map(|nominal| nominal.as_second()).collect(),
        )
    }

    #[test]
    fn skip_starts_nothing_and_counts_everything() {
        assert_eq!(decide(Missed::Skip, 100, &[1_500, 1_600, 1_700]), (Some((1_500, 1_700, 3)), vec![]));
    }

    #[test]
    fn latest_starts_the_newest_alone() {
        assert_eq!(
            decide(Missed::Latest, 100, &[1_500, 1_600, 1_700]),
            (Some((1_500, 1_600, 2)), vec![1_700])
        );
        assert_eq!(decide(Missed::Latest, 100, &[1_700]), (None, vec![1_700]));
    }

    #[test]
    fn latest_starts_nothing_when_the_newest_is_too_old() {
        assert_eq!(decide(Missed::Latest, 100, &[500, 900]), (Some((500, 900, 2)), vec![]));
    }

    #[test]
    fn all_starts_the_newest_so_many_oldest_first() {
        assert_eq!(
            decide(Missed::All, 2, &[900, 1_500, 1_600, 1_700]),
            (Some((900, 1_500, 2)), vec![1_600, 1_700])
        );
        assert_eq!(decide(Missed::All, 100, &[1_000, 1_999]), (None, vec![1_000, 1_999]));
    }

    #[test]
    fn a_firing_is_late_only_after_late_after() {
        let policy = Policy::default();
        assert!(!is_late(at(0).timestamp(), &policy, at(60).timestamp()));
        assert!(is_late(at(0).timestamp(), &policy, at(61).timestamp()));
    }
}
