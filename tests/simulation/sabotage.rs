//! What is broken on purpose, at the seams of the simulation, to see that the checker would notice.

use std::sync::Arc;
use std::time::Duration;

use adf_cron::config::{Entry, Policy};
use adf_cron::engine::Schedule;
use adf_cron::ids::Nominal;
use adf_cron::ledger::Snapshot;

/// A rule of the daemon that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Commits are acknowledged before they are durable.
    IntentAfterPost,
    /// Every attempt goes out under an id of its own.
    AnyId,
    /// A run that belongs to another firing is taken all the same.
    AdoptTwice,
    /// Absence is believed at once.
    NoSettle,
    /// All entries share one mark.
    OneMark,
    /// Runs are taken to be over as soon as they are seen.
    AllOver,
    /// Backfills begin anew with each start.
    FillsAnew,
    /// A call that waits for a token leaves also after the process was told to stop.
    LateToken,
    /// Facts are forgotten as soon as the output has taken them, written or not.
    ForgetsUnread,
}

impl Sabotage {
    pub(crate) const ALL: [Self; 9] = [
        Self::IntentAfterPost,
        Self::AnyId,
        Self::AdoptTwice,
        Self::NoSettle,
        Self::OneMark,
        Self::AllOver,
        Self::FillsAnew,
        Self::LateToken,
        Self::ForgetsUnread,
    ];

    /// The schedule as a daemon with this defect would take it.
    pub(crate) fn spoil(which: Option<Self>, mut schedule: Schedule) -> Schedule {
        if which == Some(Self::NoSettle) {
            for entry in &mut schedule.entries {
                let policy = Policy { settle: Duration::ZERO, ..(*entry.policy).clone() };
                *entry = Arc::new(Entry { policy: Arc::new(policy), ..(**entry).clone() });
            }
        }
        schedule
    }

    /// What a starting daemon with this defect would read.
    pub(crate) fn misread(which: Option<Self>, snapshot: &mut Snapshot) {
        if which == Some(Self::OneMark) {
            let newest = snapshot.marks.values().map(|(mark, _)| *mark).max();
            for (mark, _) in snapshot.marks.values_mut() {
                *mark = newest.unwrap_or(*mark);
            }
        }
        if which == Some(Self::FillsAnew) {
            for (backfill, _) in &mut snapshot.backfills {
                let before = backfill.first.as_second() - 1;
                (backfill.mark, backfill.passed) = (Nominal::from_second(before).unwrap(), 0);
            }
        }
    }
}
