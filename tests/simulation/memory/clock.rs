//! What the ledger in memory does when the clock is set.

use std::sync::Arc;

use adf_cron::ids::{EntryName, FiringId, Kind, Nominal};
use adf_cron::ledger::{State, cut};
use adf_cron::schedule::Calendar;
use jiff::Timestamp;

use super::{MemoryLedger, is_open};

impl MemoryLedger {
    pub(super) fn moved(
        &mut self,
        firing: FiringId,
        next_at: Option<Timestamp>,
        first_sent_at: Option<Timestamp>,
    ) {
        if let Some(row) = self.rows.get_mut(&firing).filter(|row| is_open(row)) {
            row.next_at = next_at.or(row.next_at);
            row.first_sent_at = first_sent_at.or(row.first_sent_at);
        }
    }

    pub(super) fn set_back(&mut self, to: Nominal, calendars: &[(EntryName, Arc<Calendar>)]) {
        self.remove_where(|row| {
            row.intent.kind == Kind::Scheduled
                && row.state == State::Skipped
                && row.attempts == 0
                && row.intent.nominal > to
        });
        for row in self.rows.values_mut().filter(|row| row.skipped > 1 && row.last > to) {
            let entry = &row.intent.entry;
            let own = calendars.iter().filter(|(name, _)| name == entry).map(|(_, calendar)| calendar);
            (row.last, row.skipped) = cut(own, (row.intent.nominal, row.last, row.skipped), to);
            let guard = (entry.clone(), row.intent.nominal);
            if row.skipped > 1 {
                self.wide.insert(guard, row.last);
            } else {
                self.wide.remove(&guard);
            }
        }
        self.bring_pauses_back(to.timestamp());
    }

    fn bring_pauses_back(&mut self, to: Timestamp) {
        for pauses in self.pauses.values_mut() {
            pauses.retain(|pause| pause.until.is_none() || pause.from <= to);
            for at in 0..pauses.len() {
                pauses[at].until = pauses[at].until.map(|until| until.min(to));
                if pauses[at].from > to && !pauses.iter().any(|other| other.from == to) {
                    pauses[at].from = to;
                }
            }
        }
        self.pauses.retain(|_, pauses| !pauses.is_empty());
    }
}
