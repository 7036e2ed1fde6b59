//! Looking for the run of a firing whose answer was lost: settle, adopt, send again, reject or hold.
//!
//! ```text
//!  Settling ──► Looking (by its id) ──absent──► Searching ──► Weighing ──► Sifting ──► adopt | absent | hold
//!      ▲           │  found: adopt                 │ by query    │ calls under  │ runs that others own
//!      └───────────┴── too early, or no answer ────┘             │ way end      │ are left out
//! ```
//!
//! A factory that has always taken our id is only asked for that. Any other is searched as well: an id that it
//! may not have taken proves nothing by being absent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::live::{Doubt, Phase};
use super::matching::{Finding, Fit, decide, fit};
use super::{Action, Attempted, Engine, Live, Timer, announce, milliseconds};
use crate::azure::look::{FoundRun, Look, Unanswered};
use crate::azure::outcome::Refusal;
use crate::clock::Now;
use crate::config::OnUnknown;
use crate::ids::{FiringId, RunId};
use crate::ledger::{Attempt, Reason, Record, State};

/// After a lost answer the run is looked for at once, in case the service already shows it.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Between two looks that had no answer, spread over as much again so that they do not come together.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long looks may go unanswered before a person is asked.
const LOOK_LIMIT: Duration = Duration::from_secs(3_600);

impl Engine {
    /// The answer was lost: from now on the firing is looked for, and not sent again blindly.
    pub(super) fn lost(&mut self, firing: FiringId, refusal: &Refusal, attempted: &Attempted, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        let attempt = live.attempt(attempted, "unknown", Some(refusal));
        self.events.push(announce::attempt_failed(live, "unknown", refusal, None));
        // The last instant at which the request can have left this host is that of its end.
        let since = attempted.answered_at.boot;
        if live.unknown_since.replace(since).is_none() {
            self.events.push(announce::unknown(live, Some(milliseconds(FIRST_LOOK))));
        }
        live.last_refusal = Some(refusal.clone());
        live.doubt = Some(Doubt::since(since));
        let progress = live.progress(State::Unknown, Some(Reason::AnswerLost), now.wall, Some(attempt));
        self.records.push(Record::Progress(progress));
        self.look_in(firing, FIRST_LOOK, now);
    }

    /// A firing is about to end without a run, but one of its answers was lost.
    pub(super) fn look_a_last_time(
        &mut self,
        firing: FiringId,
        since: Duration,
        end: (Reason, Option<Refusal>),
        attempt: Option<Attempt>,
        now: Now,
    ) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        live.doubt = Some(Doubt { rejection: Some(end), ..Doubt::since(since) });
        let progress = live.progress(State::Unknown, Some(Reason::AnswerLost), now.wall, attempt);
        self.records.push(Record::Progress(progress));
        self.look(firing, now);
    }

    pub(super) fn look_in(&mut self, firing: FiringId, wait: Duration, now: Now) {
        let at = Self::later(now.wall, wait);
        if let Some(live) = self.live.get_mut(&firing) {
            live.phase = Phase::Settling(at);
            self.set_timer(at, Timer::Firing(firing));
        }
    }

    /// Looks for the run under the firing's id, now.
    pub(super) fn look(&mut self, firing: FiringId, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        if let Some(doubt) = &mut live.doubt {
            doubt.looked_at = now.boot;
        }
        live.phase = Phase::Looking;
        self.actions.push(Action::Look(Arc::clone(&live.intent)));
    }

    /// A look by the firing's id ended.
    pub(super) fn looked(&mut self, firing: FiringId, look: Look, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        if live.phase != Phase::Looking {
            return;
        }
        match look {
            Look::Found(run) => self.found(firing, &run, now),
            Look::Absent if self.learned.get(&live.intent.factory.key()) == Some(&true) => {
                self.absent(firing, now);
            }
            Look::Absent if live.doubt.as_ref().is_some_and(|doubt| doubt.misdated) => {
                self.hold(firing, Reason::ClockSetBack, None, now);
            }
            Look::Absent => self.search(firing),
            Look::NoAnswer(unanswered) => self.no_answer(firing, &unanswered, now),
        }
    }

    fn found(&mut self, firing: FiringId, found: &FoundRun, now: Now) {
        let (Some(live), Some(run)) = (self.live.get(&firing), found.run_id) else { return };
        if found.pipeline.to_lowercase() != live.intent.pipeline.as_str().to_lowercase() {
            self.events.push(announce::anomaly(live, &run.to_string(), Reason::OtherPipeline));
            return self.hold(firing, Reason::OtherPipeline, Some(run), now);
        }
        self.adopt(firing, run, &found.status, now);
    }

    fn adopt(&mut self, firing: FiringId, run: RunId, status: &str, now: Now) {
        let Some(live) = self.take_out(firing) else { return };
        self.note_in_backfill(&live.intent, None);
        self.learn(&live.intent, run);
        self.claim(run, firing, Some(self.next_batch));
        let mut progress = live.progress(State::Accepted, None, now.wall, None);
        progress.run_id = Some(run);
        self.records.push(Record::Progress(progress));
        self.counts_by_its_run(&live.intent, run, now.boot);
        self.follow_run(&live.intent, run, live.sent_since(), now);
        self.events.push(announce::adopted(&live, run, status, self.studio));
    }

    /// A search showed these runs of the pipeline.
    pub(super) fn judge(&mut self, firing: FiringId, runs: &[FoundRun], now: Now) {
        let Some(live) = self.live.get(&firing) else { return };
        let fitting: Vec<FoundRun> = runs.iter().filter(|run| live.fits(run) != Fit::No).cloned().collect();
        if fitting.is_empty() {
            return self.absent(firing, now);
        }
        // Calls under way may have made these runs, and will soon say so.
        let waits_for: HashSet<FiringId> = self
            .live
            .values()
            .filter(|other| other.is_under_way() && other.id() != firing && other.aims_as(live))
            .filter(|other| fitting.iter().any(|run| other.fits(run) != Fit::No))
            .map(Live::id)
            .collect();
        if let Some(live) = self.live.get_mut(&firing) {
            live.phase = Phase::Weighing { runs: fitting, waits_for };
            self.weighing.insert(firing);
        }
    }

    /// Goes on with those that waited for calls that have ended.
    pub(super) fn weigh(&mut self) {
        let weighing: Vec<FiringId> = self.weighing.iter().copied().collect();
        for firing in weighing {
            let Some(Phase::Weighing { runs, waits_for }) = self.live.get(&firing).map(|live| &live.phase)
            else {
                self.weighing.remove(&firing);
                continue;
            };
            if waits_for.iter().any(|other| self.live.get(other).is_some_and(Live::is_under_way)) {
                continue;
            }
            let runs = runs.clone();
            let ids = runs.iter().filter_map(|run| run.run_id).collect();
            self.weighing.remove(&firing);
            if let Some(live) = self.live.get_mut(&firing) {
                live.phase = Phase::Sifting(runs);
                self.actions.push(Action::FindOwners(firing, ids));
            }
        }
    }

    /// It is known which of the runs belong to other firings; what is left may be the firing's own.
    pub(super) fn sifted(
        &mut self,
        firing: FiringId,
        runs: Vec<FoundRun>,
        owners: &HashMap<RunId, FiringId>,
        now: Now,
    ) {
        let Some(live) = self.live.get(&firing) else { return };
        let is_owned =
            |run: RunId| owners.contains_key(&run) || self.claimant(run).is_some_and(|other| other != firing);
        let unowned: Vec<(Fit, FoundRun)> = runs
            .into_iter()
            .filter(|run| !run.run_id.is_some_and(is_owned))
            .map(|run| (live.fits(&run), run))
            .collect();
        let rivals = |run: &FoundRun| {
            let may_have_made = |other: &&Live| other.doubt.is_some() && other.aims_as(live);
            self.live.values().filter(may_have_made).filter(|other| other.fits(run) != Fit::No).count()
        };
        let held = |run: &FoundRun| {
            self.held.values().any(|(intent, since)| {
                intent.factory.key() == live.intent.factory.key() && fit(intent, *since, run) != Fit::No
            })
        };
        match decide(unowned, rivals, held) {
            Finding::Absent => self.absent(firing, now),
            Finding::Adopt { run, status } => self.adopt(firing, run, &status, now),
            // A person has looked, and wants it sent.
            Finding::Undecided(..) if self.is_vouched_for(firing) => self.absent(firing, now),
            Finding::Undecided(reason, run) => match self.time_to_settle(firing) {
                Some(rest) => self.look_in(firing, rest, now),
                None => self.hold(firing, reason, run, now),
            },
        }
    }

    /// Whether a person has said that it started nothing, and wants it sent.
    fn is_vouched_for(&self, firing: FiringId) -> bool {
        self.live.get(&firing).and_then(|live| live.doubt.as_ref()).is_some_and(|doubt| doubt.vouched)
    }

    /// How long after the last look the firing still has to settle: it may become visible until then.
    fn time_to_settle(&self, firing: FiringId) -> Option<Duration> {
        let live = self.live.get(&firing)?;
        let doubt = live.doubt.as_ref().filter(|doubt| !doubt.asked)?;
        let waited = doubt.looked_at.saturating_sub(doubt.since);
        live.intent.policy.settle.checked_sub(waited).filter(|rest| !rest.is_zero())
    }

    /// The service answered, and shows no run that could be the firing's.
    fn absent(&mut self, firing: FiringId, now: Now) {
        if let Some(rest) = self.time_to_settle(firing) {
            return self.look_in(firing, rest, now);
        }
        let Some(live) = self.live.get_mut(&firing) else { return };
        let policy = Arc::clone(&live.intent.policy);
        let Some(doubt) = live.doubt.take() else { return };
        if doubt.asked {
            // A person wants it sent, and it has not started anything.
            return self.make_ready(firing);
        }
        if !doubt.sent {
            // Found after a crash, and never sent: it goes back through the gate.
            return if live.attempts == 0 {
                self.pass_gate(firing, now)
            } else {
                self.try_again(firing, now)
            };
        }
        if let Some((reason, refusal)) = doubt.rejection {
            return self.reject(firing, reason, refusal.as_ref(), now, None);
        }
        let exhausted = live.counted >= policy.retry.max_attempts;
        let overdue = live.is_past_deadline(now.wall);
        match policy.on_unknown {
            OnUnknown::Hold => self.hold(firing, Reason::OnUnknownHold, None, now),
            OnUnknown::Retry if overdue => self.hold(firing, Reason::DeadlineWhileUnknown, None, now),
            OnUnknown::Retry if exhausted => {
                let last = live.last_refusal.clone();
                self.reject(firing, Reason::RetriesExhausted, last.as_ref(), now, None);
            }
            OnUnknown::Retry => self.make_ready(firing),
        }
    }

    pub(super) fn no_answer(&mut self, firing: FiringId, unanswered: &Unanswered, now: Now) {
        let spread =
            Duration::from_millis((self.random)() % u64::try_from(LOOK_AGAIN.as_millis()).unwrap_or(1));
        let Some(live) = self.live.get_mut(&firing) else { return };
        let Some(doubt) = &mut live.doubt else { return };
        if doubt.vouched {
            // A person has looked where the daemon cannot.
            live.doubt = None;
            return self.make_ready(firing);
        }
        let blocked_for = now.boot.saturating_sub(doubt.blocked_since.unwrap_or(now.boot));
        match doubt.blocked_since {
            None => {
                doubt.blocked_since = Some(now.boot);
                let event = announce::blocked(live, &unanswered.refusal);
                self.events.push(event);
            }
            Some(_) if blocked_for >= LOOK_LIMIT => {
                return self.hold(firing, Reason::LookUnanswered, None, now);
            }
            Some(_) => {}
        }
        let wait = unanswered.retry_after.unwrap_or_default().max(LOOK_AGAIN) + spread;
        self.look_in(firing, wait.min(LOOK_LIMIT.saturating_sub(blocked_for)), now);
    }

    /// Notes whose run it is, from the answer that names it until the batch that says so is durable: until then
    /// the ledger does not know.
    pub(super) fn claim(&mut self, run: RunId, firing: FiringId, batch: Option<u64>) {
        self.claims.insert(run, (firing, batch));
    }

    pub(super) fn claimant(&self, run: RunId) -> Option<FiringId> {
        self.claims.get(&run).map(|(firing, _)| *firing)
    }

    /// Forgets the claims that the ledger knows of now.
    pub(super) fn forget_claims(&mut self, durable: u64) {
        self.claims.retain(|_, (_, batch)| *batch != Some(durable));
    }
}
