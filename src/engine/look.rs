//! Looking for the run of a firing whose answer was lost: settle, adopt, send again, reject or hold.

use std::sync::Arc;
use std::time::Duration;

use super::live::{Doubt, Phase};
use super::{Action, Attempted, Engine, Live, Timer, announce, milliseconds};
use crate::azure::outcome::{FoundRun, Look, Refusal};
use crate::clock::Now;
use crate::config::OnUnknown;
use crate::ids::FiringId;
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
            self.events.push(announce::unknown(live, milliseconds(FIRST_LOOK)));
        }
        live.last_refusal = Some(refusal.clone());
        live.doubt = Some(Doubt { since, sent: true, blocked_since: None, rejection: None });
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
        live.doubt = Some(Doubt { since, sent: true, blocked_since: None, rejection: Some(end) });
        live.phase = Phase::Looking;
        let progress = live.progress(State::Unknown, Some(Reason::AnswerLost), now.wall, attempt);
        self.actions.push(Action::Look(Arc::clone(&live.intent)));
        self.records.push(Record::Progress(progress));
    }

    pub(super) fn look_in(&mut self, firing: FiringId, wait: Duration, now: Now) {
        let at = Self::later(now.wall, wait);
        if let Some(live) = self.live.get_mut(&firing) {
            live.phase = Phase::Settling(at);
            self.set_timer(at, Timer::Firing(firing));
        }
    }

    /// A look ended.
    pub(super) fn looked(&mut self, firing: FiringId, look: Look, now: Now) {
        let Some(live) = self.live.get(&firing) else { return };
        if live.phase != Phase::Looking {
            return;
        }
        match look {
            Look::Found(run) => self.found(firing, &run, now),
            Look::Absent => self.absent(firing, now),
            Look::NoAnswer { refusal, retry_after } => self.no_answer(firing, &refusal, retry_after, now),
        }
    }

    fn found(&mut self, firing: FiringId, found: &FoundRun, now: Now) {
        let Some(live) = self.live.get(&firing) else { return };
        if found.pipeline.to_lowercase() != live.intent.pipeline.as_str().to_lowercase() {
            self.events.push(announce::anomaly(live, &found.run_id.to_string(), Reason::OtherPipeline));
            return self.hold(firing, Reason::OtherPipeline, Some(found.run_id), now.wall);
        }
        let Some(live) = self.live.remove(&firing) else { return };
        self.learn(&live.intent, found.run_id);
        let mut progress = live.progress(State::Accepted, None, now.wall, None);
        progress.run_id = Some(found.run_id);
        self.records.push(Record::Progress(progress));
        self.events.push(announce::adopted(&live, found.run_id, &found.status, self.studio));
    }

    /// The service answered, and knows no run under the firing's id.
    fn absent(&mut self, firing: FiringId, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        let policy = Arc::clone(&live.intent.policy);
        let Some(doubt) = &mut live.doubt else { return };
        doubt.blocked_since = None;
        let waited = now.boot.saturating_sub(doubt.since);
        if waited < policy.settle {
            // It may still become visible: only a look made after the settle time can say no.
            let rest = policy.settle.saturating_sub(waited);
            return self.look_in(firing, rest, now);
        }
        let rejection = doubt.rejection.take();
        // An id that the service may not have taken proves nothing by being absent. Of an attempt that is
        // only possible (after a crash) we believe the absence until an answer showed otherwise.
        let takes_our_id = self.learned.get(&live.intent.factory.key()).copied();
        if !takes_our_id.unwrap_or(!doubt.sent) {
            return self.hold(firing, Reason::CannotDecide, None, now.wall);
        }
        if !doubt.sent {
            // Found after a crash, and never sent: it goes back through the gate.
            live.doubt = None;
            return if live.attempts == 0 { self.pass_gate(firing, now) } else { self.make_ready(firing) };
        }
        if let Some((reason, refusal)) = rejection {
            return self.reject(firing, reason, refusal.as_ref(), now.wall, None);
        }
        let exhausted = live.counted >= policy.retry.max_attempts;
        let overdue = live.is_past_deadline(now.wall);
        live.doubt = None;
        match policy.on_unknown {
            OnUnknown::Hold => self.hold(firing, Reason::OnUnknownHold, None, now.wall),
            OnUnknown::Retry if overdue => self.hold(firing, Reason::DeadlineWhileUnknown, None, now.wall),
            OnUnknown::Retry if exhausted => {
                let last = live.last_refusal.clone();
                self.reject(firing, Reason::RetriesExhausted, last.as_ref(), now.wall, None);
            }
            OnUnknown::Retry => self.make_ready(firing),
        }
    }

    fn no_answer(&mut self, firing: FiringId, refusal: &Refusal, retry_after: Option<Duration>, now: Now) {
        let spread =
            Duration::from_millis((self.random)() % u64::try_from(LOOK_AGAIN.as_millis()).unwrap_or(1));
        let Some(live) = self.live.get_mut(&firing) else { return };
        let Some(doubt) = &mut live.doubt else { return };
        let blocked_for = now.boot.saturating_sub(doubt.blocked_since.unwrap_or(now.boot));
        match doubt.blocked_since {
            None => {
                doubt.blocked_since = Some(now.boot);
                let event = announce::blocked(live, refusal);
                self.events.push(event);
            }
            Some(_) if blocked_for >= LOOK_LIMIT => {
                return self.hold(firing, Reason::LookUnanswered, None, now.wall);
            }
            Some(_) => {}
        }
        let wait = retry_after.unwrap_or_default().max(LOOK_AGAIN) + spread;
        self.look_in(firing, wait.min(LOOK_LIMIT.saturating_sub(blocked_for)), now);
    }

    /// A firing that a crash may have cut off while it was being sent: looked for before anything else.
    pub(super) fn doubt_after_crash(live: &mut Live, lock_taken: Duration, sent: bool) {
        live.doubt = Some(Doubt { since: lock_taken, sent, blocked_since: None, rejection: None });
    }
}
