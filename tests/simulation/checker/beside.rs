//! What must hold of firings beside others: what runs at once, what is cancelled, and what recovers what.

use std::sync::Arc;

use adf_cron::clock::Now;
use adf_cron::config::{Entry, OnDeadline, Overlap, OverlapScope};
use adf_cron::ids::{Kind, RunId};
use adf_cron::ledger::{Intent, State};

use super::{Checker, is_own};
use crate::memory::MemoryLedger;
use crate::service::Service;

impl Checker {
    /// Only a run that failed is recovered, and not beside or after the entry's next nominal time.
    pub(crate) fn recovers(&mut self, intent: &Intent, ledger: &MemoryLedger, service: &Service, now: Now) {
        let Some(recovers) = &intent.recovers else { return };
        self.counts.recoveries += 1;
        let failed = service.runs.get(&recovers.run).is_some_and(|run| run.fails);
        let first = self.sent.contains(&intent.firing_id)
            && ledger.rows.get(&intent.firing_id).is_some_and(|row| row.attempts == 0);
        if !failed {
            self.fail(format!("run {} was recovered, which has not failed", recovers.run));
        }
        let wanted = intent.policy.recovery.as_ref().is_some_and(|recovery| recovers.number <= recovery.max);
        if !wanted || intent.kind != Kind::Recovery {
            self.fail(format!("{} was recovered too often: {recovers:?}", intent.entry));
        }
        // A person may want it all the same.
        let asked = ledger.rows.get(&intent.firing_id).is_some_and(|row| row.reopened_at.is_some());
        let until = self.recovered_until.get(&intent.firing_id).copied().filter(|_| !asked);
        if let Some(next) = until.filter(|next| now.wall > *next) {
            self.fail(format!("run {} was recovered at {}, past {next}", recovers.run, now.wall));
        }
        let others = ledger.rows.values().filter(|row| {
            let same = row.intent.recovers.as_ref().is_some_and(|other| other.run == recovers.run);
            same && row.intent.firing_id != intent.firing_id
        });
        if first && others.count() > 0 {
            self.fail(format!("run {} was recovered twice", recovers.run));
        }
    }

    /// Nothing starts beside more of its lane than may run at once.
    pub(crate) fn overlaps(&mut self, intent: &Intent, ledger: &MemoryLedger, service: &Service, now: Now) {
        let Some(row) = ledger.rows.get(&intent.firing_id) else { return };
        let passes_gate = matches!(intent.kind, Kind::Scheduled | Kind::Backfill | Kind::Recovery);
        let asked = row.reopened_at.is_some() || !passes_gate || row.attempts > 0;
        // Where runs have ids of their own, one may have been taken for another entry's.
        if asked || !intent.policy.is_gated() || is_own(row) {
            return;
        }
        self.starts_beside_its_entry(intent, ledger, service, now);
        self.starts_beside_what_was_there(intent, ledger, service, now);
    }

    /// Whatever passes the gate of an entry is counted by what comes after it.
    fn starts_beside_its_entry(
        &mut self,
        intent: &Intent,
        ledger: &MemoryLedger,
        service: &Service,
        now: Now,
    ) {
        let counts =
            |intent: &Intent| intent.policy.is_gated() && intent.policy.overlap_scope == OverlapScope::Entry;
        if !counts(intent) {
            return;
        }
        let limit = intent.policy.max_active.unwrap_or(1);
        let others = ledger.rows.values().filter(|other| {
            other.intent.entry == intent.entry
                && other.intent.firing_id != intent.firing_id
                && other.state != State::Held
                && counts(&other.intent)
                // One that an edit lets run beside others may have passed the gate since.
                && other.intent.policy.max_active.unwrap_or(1) <= limit
        });
        let active = service.active(others.map(|other| other.intent.firing_id), now);
        if active.len() >= usize::try_from(limit).unwrap() {
            let Intent { entry, nominal, .. } = intent;
            self.fail(format!("{entry} at {nominal} was sent beside {active:?}, with a limit of {limit}"));
        }
    }

    /// What was started before the intent was durable, by whatever firing of the lane whose run is followed, was there
    /// when the gate was passed: if it still goes on, it was counted. Of what was started later that cannot be said: other
    /// entries of the pipeline may let more run at once, and people need not pass the gate.
    fn starts_beside_what_was_there(
        &mut self,
        intent: &Intent,
        ledger: &MemoryLedger,
        service: &Service,
        now: Now,
    ) {
        let Some(planned_at) = self.planned_at.get(&intent.firing_id).copied() else { return };
        let beside = |other: &Intent| match intent.policy.overlap_scope {
            OverlapScope::Entry => other.entry == intent.entry,
            OverlapScope::Pipeline => other.factory == intent.factory && other.pipeline == intent.pipeline,
        };
        let others = ledger.rows.values().filter(|other| {
            // What is held counts for an hour only, and what a person has closed not at all.
            !matches!(other.state, State::Held | State::NotStarted)
                && other.intent.firing_id != intent.firing_id
                && beside(&other.intent)
                && other.intent.policy.follows()
                && !is_own(other)
        });
        let mut active = service.active(others.map(|other| other.intent.firing_id), now);
        active.retain(|run| service.began(*run) < planned_at);
        let limit = intent.policy.max_active.unwrap_or(1);
        if active.len() >= usize::try_from(limit).unwrap() {
            let Intent { entry, nominal, .. } = intent;
            let scope = intent.policy.overlap_scope;
            self.fail(format!(
                "{entry} at {nominal} was sent beside {active:?} of its {scope:?}, limit {limit}"
            ));
        }
    }

    /// The engine cancels a run.
    pub(crate) fn cancels(&mut self, intent: &Intent, run: RunId, service: &Service) {
        let makes_room = |entry: &Arc<Entry>| {
            entry.policy.overlap == Overlap::CancelRunning
                && (entry.name == intent.entry || entry.pipeline == intent.pipeline)
        };
        let wanted = (intent.policy.on_deadline == OnDeadline::Cancel
            && intent.policy.run_deadline.is_some())
            || self.versions.values().flat_map(|version| &version.entries).any(makes_room);
        if !wanted || !service.runs.contains_key(&run) {
            self.fail(format!("run {run} of {} was cancelled, which nobody wants", intent.entry));
        }
    }
}
