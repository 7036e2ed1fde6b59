//! When a run fails: it is recovered, as often and as soon as its entry says but never past the entry's next nominal
//! time; and an entry whose runs fail again and again is paused.

use std::sync::Arc;

use jiff::Timestamp;

use super::Engine;
use crate::clock::Now;
use crate::config::Policy;
use crate::ids::{Kind, RunId};
use crate::ledger::{Intent, Reason, Record, Recovers};
use crate::retry::RetryPolicy;

impl Engine {
    /// A run failed: plans the firing that recovers it, if one does; returns when that is due.
    pub(super) fn recover(&mut self, intent: &Arc<Intent>, run: RunId, now: Now) -> Option<Timestamp> {
        let recovery = intent.policy.recovery.clone()?;
        let number = intent.recovers.as_ref().map_or(0, |recovers| recovers.number) + 1;
        let due = Self::later(now.wall, recovery.delay);
        if number > recovery.max || self.only_requests || self.not_recovered(intent, due).is_some() {
            return None;
        }
        let left = self.next_after(intent).map(|next| next.duration_since(due).unsigned_abs());
        let retry = intent.policy.retry;
        let deadline = left.map_or(retry.deadline, |left| left.min(retry.deadline));
        let policy = Policy { retry: RetryPolicy { deadline, ..retry }, ..(*intent.policy).clone() };
        let recovers = Recovers { run, number, from: recovery.from };
        let firing_id = self.fresh_id();
        self.take_up(Intent {
            firing_id,
            kind: Kind::Recovery,
            due,
            planned_at: now.wall,
            policy: Arc::new(policy),
            recovers: Some(Arc::new(recovers)),
            ..(**intent).clone()
        });
        Some(due)
    }

    /// The entry's next nominal time after that of this firing, by the calendar in force. That of a backfill is past,
    /// and nothing comes into its way.
    fn next_after(&self, intent: &Intent) -> Option<Timestamp> {
        if intent.backfill.is_some() {
            return None;
        }
        let calendar = &self.plan.slots.get(&intent.entry)?.entry.calendar;
        calendar.next_after(intent.nominal).map(|next| next.timestamp())
    }

    /// Why a run of this firing is not recovered at this time, if it is not.
    pub(super) fn not_recovered(&self, intent: &Intent, at: Timestamp) -> Option<Reason> {
        if !self.plan.slots.contains_key(&intent.entry) {
            Some(Reason::Removed)
        } else if intent.backfill.is_none() && self.is_paused_now(&intent.entry) {
            Some(Reason::Paused)
        } else if let Some(reason) = self.is_unwanted(intent) {
            Some(reason)
        } else if self.next_after(intent).is_some_and(|next| next <= at) {
            Some(Reason::Missed)
        } else {
            None
        }
    }

    /// A firing that has waited, and of which nothing was started, is not sent any more. What was tried in vain before is
    /// rejected: the ledger leaves out only what was never sent.
    pub(super) fn end_unstarted(&mut self, intent: &Arc<Intent>, why: Reason, now: Now) {
        if self.live.get(&intent.firing_id).is_some_and(|live| live.attempts > 0) {
            return self.reject(intent.firing_id, why, None, now, None);
        }
        self.skip_planned(&[Arc::clone(intent)], why, now.wall);
        self.recovers_nothing(intent, now);
    }

    /// A firing ended without a run: if it was to recover one, that has failed for good. What a person tries again was
    /// counted the first time.
    pub(super) fn recovers_nothing(&mut self, intent: &Intent, now: Now) {
        if intent.kind == Kind::Recovery {
            self.count_failure(intent, true, now);
        }
    }

    /// Counts how often in a row runs of an entry failed; too often pauses it.
    pub(super) fn count_failure(&mut self, intent: &Intent, failed: bool, now: Now) {
        let Some(limit) = intent.policy.pause_after_failures else { return };
        let before = self.failures.get(&intent.entry).copied().unwrap_or_default();
        let mut count = if failed { before + 1 } else { 0 };
        if count >= limit {
            let note = format!("{count} runs in a row have failed");
            // One that is paused already, or is gone, needs no pause.
            let _ = self.pause(&intent.entry, Some(note), now);
            count = 0;
        }
        if count != before {
            self.failures.insert(intent.entry.clone(), count);
            self.records.push(Record::Failures { entry: intent.entry.clone(), count });
        }
    }
}
