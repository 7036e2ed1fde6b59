//! What becomes of nominal times that were not started in time: one pure function.

use std::collections::VecDeque;

use jiff::Timestamp;

use crate::config::{Missed, Policy};
use crate::ids::Nominal;
use crate::ledger::Reason;

/// Consecutive nominal times that are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: Nominal,
    pub(super) last: Nominal,
    pub(super) count: u64,
}

/// Why a nominal time was not simply started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// Its entry is, or was, paused at it.
    Paused,
    /// It is later than `late_after`.
    Late,
}

/// What becomes of nominal times that are past.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// Left out, in rows of consecutive ones with one reason.
    pub(super) skipped: Vec<(Reason, Run)>,
    /// To be started now, oldest first.
    pub(super) start: Vec<Nominal>,
}

/// Adds a nominal time to the rows of those before it: to the last one, if it is of the same kind.
pub(super) fn add<K: PartialEq>(rows: &mut Vec<(K, Run)>, kind: K, nominal: Nominal) {
    match rows.last_mut() {
        Some((last, run)) if *last == kind => {
            run.last = nominal;
            run.count += 1;
        }
        _ => rows.push((kind, Run { first: nominal, last: nominal, count: 1 })),
    }
}

/// Whether a firing due at `due` is later than its policy lets it simply start.
pub(super) fn is_late(due: Timestamp, policy: &Policy, now: Timestamp) -> bool {
    now.duration_since(due) > signed(policy.late_after)
}

/// Decides about past nominal times of one entry, given in order. Of the late ones `latest` starts the newest, `all`
/// the newest `missed_max`, oldest first; neither starts what is older than `missed_within`.
pub(super) fn choose(past: impl Iterator<Item = (Nominal, Lost)>, policy: &Policy, now: Timestamp) -> Choice {
    let most = match policy.missed {
        Missed::Skip => 0,
        Missed::Latest => 1,
        Missed::All => usize::try_from(policy.missed_max).unwrap_or(usize::MAX),
    };
    let mut rows: Vec<(Lost, Run)> = Vec::new();
    let (mut start, mut newest_missed) = (VecDeque::new(), None);
    for (nominal, lost) in past {
        add(&mut rows, lost, nominal);
        if lost == Lost::Paused {
            continue;
        }
        let too_old = now.duration_since(nominal.timestamp()) > signed(policy.missed_within);
        if most == 0 || too_old {
            newest_missed = Some(nominal);
            continue;
        }
        if start.len() == most {
            newest_missed = start.pop_front();
        }
        start.push_back(nominal);
    }
    let left_out = |(lost, run): (Lost, Run)| {
        if lost == Lost::Paused {
            return Some((Reason::Paused, run));
        }
        // The newest late ones start: what is left of a row lies before them.
        let started = start.iter().filter(|nominal| (run.first..=run.last).contains(nominal)).count();
        let count = run.count - started as u64;
        let last = if started > 0 { newest_missed.unwrap_or(run.last) } else { run.last };
        (count > 0).then_some((Reason::Missed, Run { last, count, ..run }))
    };
    Choice { skipped: rows.into_iter().filter_map(left_out).collect(), start: start.into() }
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

    fn rows(choice: &Choice) -> Vec<(Reason, (i64, i64, u64))> {
        let row = |run: &Run| (run.first.as_second(), run.last.as_second(), run.count);
        choice.skipped.iter().map(|(reason, run)| (*reason, row(run))).collect()
    }

    fn seconds(nominal: &[Nominal]) -> Vec<i64> {
        nominal.iter().map(|nominal| nominal.as_second()).collect()
    }

    fn decide(missed: Missed, max: u32, late: &[i64]) -> (Option<(i64, i64, u64)>, Vec<i64>) {
        let policy = Policy {
            missed,
            missed_max: max,
            missed_within: std::time::Duration::from_secs(1_000),
            ..Policy::default()
        };
        let late = late.iter().map(|second| (at(*second), Lost::Late));
        let choice = choose(late, &policy, at(2_000).timestamp());
        let rows = rows(&choice);
        assert!(rows.len() <= 1, "{rows:?}");
        (rows.first().map(|(_, row)| *row), seconds(&choice.start))
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
    fn a_pause_in_between_has_a_row_of_its_own_and_ends_the_rows_around_it() {
        let policy = Policy { missed: Missed::All, missed_max: 2, ..Policy::default() };
        let past =
            (0..9).map(|n| (at(1_000 + n), if (3..6).contains(&n) { Lost::Paused } else { Lost::Late }));
        let choice = choose(past, &policy, at(2_000).timestamp());
        let expected = [
            (Reason::Missed, (1_000, 1_002, 3)),
            (Reason::Paused, (1_003, 1_005, 3)),
            (Reason::Missed, (1_006, 1_006, 1)),
        ];
        assert_eq!(rows(&choice), expected);
        assert_eq!(seconds(&choice.start), [1_007, 1_008]);
    }

    #[test]
    fn what_is_started_may_lie_on_both_sides_of_a_pause() {
        let policy = Policy { missed: Missed::All, missed_max: 2, ..Policy::default() };
        let past = [(1_000, Lost::Late), (1_001, Lost::Late), (1_002, Lost::Paused), (1_003, Lost::Late)];
        let choice = choose(past.into_iter().map(|(s, lost)| (at(s), lost)), &policy, at(2_000).timestamp());
        assert_eq!(rows(&choice), [(Reason::Missed, (1_000, 1_000, 1)), (Reason::Paused, (1_002, 1_002, 1))]);
        assert_eq!(seconds(&choice.start), [1_001, 1_003]);
    }

    #[test]
    fn a_firing_is_late_only_after_late_after() {
        let policy = Policy::default();
        assert!(!is_late(at(0).timestamp(), &policy, at(60).timestamp()));
        assert!(is_late(at(0).timestamp(), &policy, at(61).timestamp()));
    }
}
