//! What becomes of a firing whose time has come while others of its lane are still running: one pure function.

use crate::config::{Overlap, Policy};
use crate::ledger::Reason;

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It starts.
    Start,
    /// It is left out.
    Skip(Reason),
    /// It waits behind those that wait already.
    Wait,
    /// It waits in place of those that wait already, which are left out.
    Replace,
    /// The same, and what is running is cancelled.
    Cancel,
}

/// How many may run at once, if there is a limit.
pub(super) fn limit(policy: &Policy) -> Option<usize> {
    let given = policy.max_active.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
    match policy.overlap {
        Overlap::Allow => given,
        _ => Some(given.unwrap_or(1)),
    }
}

/// Decides about a firing, with so many active, and so many that wait already.
pub(super) fn decide(policy: &Policy, active: usize, queued: usize) -> Verdict {
    let Some(limit) = limit(policy) else { return Verdict::Start };
    if active < limit && queued == 0 {
        return Verdict::Start;
    }
    match policy.overlap {
        Overlap::Skip => Verdict::Skip(Reason::Overlap),
        Overlap::QueueOne => Verdict::Replace,
        Overlap::CancelRunning => Verdict::Cancel,
        Overlap::Allow | Overlap::QueueAll => {
            let most = usize::try_from(policy.max_queued).unwrap_or(usize::MAX);
            if queued < most { Verdict::Wait } else { Verdict::Skip(Reason::QueueFull) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every policy, with 0 to 2 active and 0 to 2 waiting, `max_queued` being 2.
    #[test]
    fn the_table_of_overlaps() {
        use Verdict::{Cancel, Replace, Skip, Start, Wait};
        let (over, full) = (Skip(Reason::Overlap), Skip(Reason::QueueFull));
        let table: [(Overlap, Option<u32>, [[Verdict; 3]; 3]); 10] = [
            (Overlap::Allow, None, [[Start; 3]; 3]),
            (Overlap::Allow, Some(1), [[Start, Wait, full], [Wait, Wait, full], [Wait, Wait, full]]),
            (Overlap::Allow, Some(2), [[Start, Wait, full], [Start, Wait, full], [Wait, Wait, full]]),
            (Overlap::Skip, None, [[Start, over, over], [over; 3], [over; 3]]),
            (Overlap::Skip, Some(2), [[Start, over, over], [Start, over, over], [over; 3]]),
            (Overlap::QueueOne, None, [[Start, Replace, Replace], [Replace; 3], [Replace; 3]]),
            (
                Overlap::QueueOne,
                Some(2),
                [[Start, Replace, Replace], [Start, Replace, Replace], [Replace; 3]],
            ),
            (Overlap::QueueAll, None, [[Start, Wait, full], [Wait, Wait, full], [Wait, Wait, full]]),
            (Overlap::CancelRunning, None, [[Start, Cancel, Cancel], [Cancel; 3], [Cancel; 3]]),
            (
                Overlap::CancelRunning,
                Some(2),
                [[Start, Cancel, Cancel], [Start, Cancel, Cancel], [Cancel; 3]],
            ),
        ];
        for (overlap, max_active, rows) in table {
            let policy = Policy { overlap, max_active, max_queued: 2, ..Policy::default() };
            for (active, row) in rows.iter().enumerate() {
                for (queued, wanted) in row.iter().enumerate() {
                    let verdict = decide(&policy, active, queued);
                    assert_eq!(
                        verdict, *wanted,
                        "{overlap:?} {max_active:?}: {active} active, {queued} queued"
                    );
                }
            }
        }
    }
}
