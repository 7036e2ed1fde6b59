//! What follows from the end of an attempt or of a look: retry, settle, adopt, reject or hold.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::live::{Doubt, Phase};
use super::{Action, Attempted, Engine, Live, Timer, announce};
use crate::azure::outcome::{FoundRun, Look, Outcome, Refusal};
use crate::clock::Now;
use crate::config::OnUnknown;
use crate::ids::{FiringId, Kind, RunId};
use crate::ledger::{Attempt, Intent, Reason, Record, State};

/// Between two tries when there is no token; a token that comes earlier ends the wait.
const NO_TOKEN_WAIT: Duration = Duration::from_secs(5);
/// After a lost answer the run is looked for at once, in case the service already shows it.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// Between two looks that had no answer.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long looks may go unanswered before a person is asked.
const LOOK_LIMIT: Duration = Duration::from_secs(3_600);

fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

impl Engine {
    /// An attempt ended.
    pub(super) fn answered(&mut self, firing: FiringId, attempted: Attempted, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        if live.phase != Phase::Sending {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if !matches!(attempted.outcome, Outcome::NoToken { .. }) {
            live.attempts += 1;
            live.counted +=
                u32::from(!matches!(attempted.outcome, Outcome::RetryLater { throttled: true, .. }));
        }
        match attempted.outcome.clone() {
            Outcome::Accepted { run_id } => self.named_run(firing, run_id, attempted, now),
            Outcome::Rejected(refusal) => self.refused(firing, refusal, &attempted, now),
            Outcome::Unauthorized(refusal) => self.unauthorized(firing, refusal, &attempted, now),
            Outcome::RetryLater { refusal, retry_after, throttled: true } => {
                self.throttled(firing, refusal, retry_after, &attempted, now);
            }
            Outcome::RetryLater { refusal, retry_after, throttled: false } => {
                self.retry_later(firing, refusal, retry_after, &attempted, now);
            }
            Outcome::NoToken { .. } => self.no_token(firing, now),
            Outcome::Unknown(refusal) => self.lost(firing, &refusal, &attempted, now),
        }
    }

    /// The service named a run. Its own id for the firing is beyond doubt; any other is checked first.
    fn named_run(&mut self, firing: FiringId, run: RunId, attempted: Attempted, now: Now) {
        if run.is(firing) {
            return self.accept(firing, run, &attempted);
        }
        if self.claims.get(&run).is_some_and(|claimed| *claimed != firing) {
            return self.foreign(firing, run, &attempted, now);
        }
        self.claims.insert(run, firing);
        if let Some(live) = self.live.get_mut(&firing) {
            live.phase = Phase::Owning { run, attempted: Box::new(attempted) };
            self.actions.push(Action::FindOwner(firing, run));
        }
    }

    /// It is known whose run an answer named.
    pub(super) fn owned(&mut self, firing: FiringId, owner: Option<FiringId>, now: Now) {
        let Some(live) = self.live.get(&firing) else { return };
        let Phase::Owning { run, attempted } = live.phase.clone() else { return };
        if owner.is_none() {
            self.accept(firing, run, &attempted);
        } else {
            self.claims.remove(&run);
            self.foreign(firing, run, &attempted, now);
        }
    }

    fn accept(&mut self, firing: FiringId, run: RunId, attempted: &Attempted) {
        let Some(live) = self.live.remove(&firing) else { return };
        self.learn(&live.intent, run);
        let attempt = live.attempt(attempted, "accepted", None);
        let mut progress = live.progress(State::Accepted, None, attempted.answered_at.wall, Some(attempt));
        progress.run_id = Some(run);
        self.records.push(Record::Progress(progress));
        self.events.push(announce::created(&live, run, attempted, self.studio));
    }

    /// Remembers whether the factory takes our id as the run's.
    fn learn(&mut self, intent: &Intent, run: RunId) {
        let takes_our_id = run.is(intent.firing_id);
        let factory = intent.factory.key();
        let so_far = self.learned.get(&factory).copied();
        let now_known = takes_our_id && so_far.unwrap_or(true);
        if so_far != Some(now_known) {
            self.learned.insert(factory.clone(), now_known);
            self.records.push(Record::Learned { factory, takes_our_id: now_known });
        }
    }

    /// The answer named a run that belongs to another firing: it says nothing about ours
    /// (azure-powershell issue 25622).
    fn foreign(&mut self, firing: FiringId, run: RunId, attempted: &Attempted, now: Now) {
        if let Some(live) = self.live.get(&firing) {
            self.events.push(announce::anomaly(live, run, Reason::ForeignRun));
        }
        let refusal = Refusal {
            http_status: Some(200),
            error_message: format!("the answer named run {run}, which belongs to another firing"),
            ..Refusal::default()
        };
        self.lost(firing, &refusal, attempted, now);
    }

    fn refused(&mut self, firing: FiringId, refusal: Refusal, attempted: &Attempted, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        let attempt = live.attempt(attempted, "rejected", Some(&refusal));
        if live.ever_unknown {
            // An earlier attempt may have started a run all the same: look once more before saying no.
            let event = announce::attempt_failed(live, "rejected", &refusal, None);
            let doubt = Doubt {
                since: live.doubt.as_ref().map_or(attempted.sent_at.boot, |doubt| doubt.since),
                sent: true,
                blocked_since: None,
                rejection: Some((Reason::Refused, refusal)),
            };
            live.doubt = Some(doubt);
            live.phase = Phase::Looking;
            let progress = live.progress(State::Unknown, Some(Reason::AnswerLost), now.wall, Some(attempt));
            self.actions.push(Action::Look(Arc::clone(&live.intent)));
            self.events.push(event);
            self.records.push(Record::Progress(progress));
            return;
        }
        self.reject(firing, Reason::Refused, Some(&refusal), now.wall, Some(attempt));
    }

    /// A 401: the token is refreshed once, and the call is made once more.
    fn unauthorized(&mut self, firing: FiringId, refusal: Refusal, attempted: &Attempted, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        self.actions.push(Action::RejectToken(attempted.token_generation));
        if live.refreshed {
            return self.refused(firing, refusal, attempted, now);
        }
        live.refreshed = true;
        let attempt = live.attempt(attempted, "retry_later", Some(&refusal));
        self.events.push(announce::attempt_failed(live, "retry_later", &refusal, Some(0)));
        live.phase = Phase::Backoff(now.wall);
        self.records.push(Record::Progress(live.progress(State::Waiting, None, now.wall, Some(attempt))));
        live.last_refusal = Some(refusal);
        self.make_ready(firing);
    }

    /// The service is busy: nothing of this bucket is sent before it said so. Only the deadline ends it.
    fn throttled(
        &mut self,
        firing: FiringId,
        refusal: Refusal,
        retry_after: Option<Duration>,
        attempted: &Attempted,
        now: Now,
    ) {
        let random = (self.random)();
        let Some(live) = self.live.get_mut(&firing) else { return };
        let wait = retry_after.unwrap_or_else(|| live.intent.policy.retry.backoff(live.attempts, random));
        let subscription = live.intent.factory.subscription.clone();
        // The wait counts from the answer; being busy here must not shorten it.
        let until = Self::later(attempted.answered_at.wall.max(now.wall), wait);
        if self.ready.pause(&subscription, now.wall, until) {
            self.events.push(announce::throttled(&live.intent, milliseconds(wait)));
        }
        let until = self.ready.paused_until(&subscription, now.wall).unwrap_or(until);
        self.set_timer(until, Timer::Bucket(subscription));
        let Some(live) = self.live.get_mut(&firing) else { return };
        let attempt = live.attempt(attempted, "retry_later", Some(&refusal));
        self.events.push(announce::attempt_failed(live, "retry_later", &refusal, Some(milliseconds(wait))));
        live.waits_for = Some(Reason::Throttled);
        live.last_refusal = Some(refusal);
        if until > live.deadline() {
            return self.reject_after(firing, Reason::Throttled, now.wall, Some(attempt));
        }
        live.phase = Phase::Backoff(until);
        let progress = live.progress(State::Waiting, Some(Reason::Throttled), now.wall, Some(attempt));
        self.records.push(Record::Progress(progress));
        self.make_ready(firing);
    }

    /// Nothing was started and another attempt is worth making.
    fn retry_later(
        &mut self,
        firing: FiringId,
        refusal: Refusal,
        retry_after: Option<Duration>,
        attempted: &Attempted,
        now: Now,
    ) {
        let random = (self.random)();
        let Some(live) = self.live.get_mut(&firing) else { return };
        let retry = live.intent.policy.retry;
        let wait = retry.backoff(live.counted, random).max(retry_after.unwrap_or_default());
        let at = Self::later(now.wall, wait);
        let attempt = live.attempt(attempted, "retry_later", Some(&refusal));
        let exhausted = live.counted >= retry.max_attempts || at > live.deadline();
        let retry_in = (!exhausted).then(|| milliseconds(wait));
        self.events.push(announce::attempt_failed(live, "retry_later", &refusal, retry_in));
        live.last_refusal = Some(refusal);
        if exhausted {
            return self.reject_after(firing, Reason::RetriesExhausted, now.wall, Some(attempt));
        }
        live.waits_for = None;
        live.phase = Phase::Backoff(at);
        self.records.push(Record::Progress(live.progress(State::Waiting, None, now.wall, Some(attempt))));
        self.set_timer(at, Timer::Firing(firing));
    }

    /// There is no token: nobody is sent for a while, or until one comes.
    fn no_token(&mut self, firing: FiringId, now: Now) {
        if self.live.get(&firing).is_some_and(|live| live.intent.kind == Kind::Manual) {
            // A person waits, and can ask again.
            return self.reject_after(firing, Reason::NoToken, now.wall, None);
        }
        let until = Self::later(now.wall, NO_TOKEN_WAIT);
        self.no_token_until = Some(until);
        self.set_timer(until, Timer::Token);
        let Some(live) = self.live.get_mut(&firing) else { return };
        if live.waits_for != Some(Reason::NoToken) {
            live.waits_for = Some(Reason::NoToken);
            let progress = live.progress(State::Waiting, Some(Reason::NoToken), now.wall, None);
            self.records.push(Record::Progress(progress));
        }
        self.make_ready(firing);
    }

    /// The answer was lost: from now on the firing is looked for, and not sent again blindly.
    fn lost(&mut self, firing: FiringId, refusal: &Refusal, attempted: &Attempted, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        let attempt = live.attempt(attempted, "unknown", Some(refusal));
        self.events.push(announce::attempt_failed(live, "unknown", refusal, None));
        if !live.ever_unknown {
            live.ever_unknown = true;
            self.events.push(announce::unknown(live, milliseconds(FIRST_LOOK)));
        }
        live.last_refusal = Some(refusal.clone());
        live.doubt =
            Some(Doubt { since: attempted.sent_at.boot, sent: true, blocked_since: None, rejection: None });
        let progress = live.progress(State::Unknown, Some(Reason::AnswerLost), now.wall, Some(attempt));
        self.records.push(Record::Progress(progress));
        self.look_in(firing, FIRST_LOOK, now);
    }

    /// The process ends while the call is under way.
    pub(super) fn cut_off(&mut self, firing: FiringId, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        live.attempts += 1;
        live.counted += 1;
        live.ever_unknown = true;
        live.phase = Phase::Settling(now.wall);
        let number = live.attempts;
        let message = "the daemon stopped before the answer came".to_owned();
        let refusal = Refusal { error_message: message, ..Refusal::default() };
        let attempt = Attempt {
            number,
            sent_at: now.wall,
            answered_at: now.wall,
            outcome: "unknown",
            refusal: Some(refusal),
        };
        let progress = live.progress(State::Unknown, Some(Reason::AnswerLost), now.wall, Some(attempt));
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
            Look::NoAnswer(refusal) => self.no_answer(firing, &refusal, now),
        }
    }

    fn found(&mut self, firing: FiringId, found: &FoundRun, now: Now) {
        let Some(live) = self.live.get(&firing) else { return };
        if !found.pipeline.eq_ignore_ascii_case(live.intent.pipeline.as_str()) {
            self.events.push(announce::anomaly(live, found.run_id, Reason::OtherPipeline));
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
            return self.reject(firing, reason, Some(&refusal), now.wall, None);
        }
        let exhausted = live.counted >= policy.retry.max_attempts;
        let overdue = live.is_past_deadline(now.wall);
        live.doubt = None;
        match policy.on_unknown {
            OnUnknown::Hold => self.hold(firing, Reason::OnUnknownHold, None, now.wall),
            OnUnknown::Retry if overdue => self.hold(firing, Reason::DeadlineWhileUnknown, None, now.wall),
            OnUnknown::Retry if exhausted => {
                self.reject_after(firing, Reason::RetriesExhausted, now.wall, None)
            }
            OnUnknown::Retry => self.make_ready(firing),
        }
    }

    fn no_answer(&mut self, firing: FiringId, refusal: &Refusal, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        let Some(doubt) = &mut live.doubt else { return };
        match doubt.blocked_since {
            None => {
                doubt.blocked_since = Some(now.boot);
                let event = announce::blocked(live, refusal);
                self.events.push(event);
            }
            Some(since) if now.boot.saturating_sub(since) >= LOOK_LIMIT => {
                return self.hold(firing, Reason::LookUnanswered, None, now.wall);
            }
            Some(_) => {}
        }
        self.look_in(firing, LOOK_AGAIN, now);
    }

    /// Ends a firing that waited past its deadline.
    pub(super) fn give_up(&mut self, firing: FiringId, now: Now) {
        let reason = self.live.get(&firing).and_then(|live| live.waits_for);
        self.reject_after(firing, reason.unwrap_or(Reason::RetriesExhausted), now.wall, None);
    }

    /// Rejects a firing with the last thing that the service said.
    fn reject_after(&mut self, firing: FiringId, reason: Reason, at: Timestamp, attempt: Option<Attempt>) {
        let last = self.live.get(&firing).and_then(|live| live.last_refusal.clone());
        self.reject(firing, reason, last.as_ref(), at, attempt);
    }

    fn reject(
        &mut self,
        firing: FiringId,
        reason: Reason,
        refusal: Option<&Refusal>,
        at: Timestamp,
        attempt: Option<Attempt>,
    ) {
        let Some(live) = self.live.remove(&firing) else { return };
        self.records.push(Record::Progress(live.progress(State::Rejected, Some(reason), at, attempt)));
        self.events.push(announce::rejected(&live.intent, live.attempts, reason, refusal));
    }

    /// Leaves a firing to a person. It is never sent again by itself.
    fn hold(&mut self, firing: FiringId, reason: Reason, run: Option<RunId>, at: Timestamp) {
        let Some(live) = self.live.remove(&firing) else { return };
        self.records.push(Record::Progress(live.progress(State::Held, Some(reason), at, None)));
        self.events.push(announce::held(&live, reason, run));
    }

    /// Leaves out planned firings that were never sent.
    pub(super) fn skip_planned(&mut self, intents: &[Arc<Intent>], reason: Reason, at: Timestamp) {
        let mut skipped: Vec<&Intent> = Vec::new();
        for intent in intents {
            if let Some(live) = self.live.remove(&intent.firing_id) {
                self.records.push(Record::Progress(live.progress(State::Skipped, Some(reason), at, None)));
                skipped.push(intent);
            }
        }
        self.events.extend(announce::skipped_together(&skipped, reason));
    }

    /// A firing that a crash may have cut off while it was being sent: looked for before anything else.
    pub(super) fn doubt_after_crash(live: &mut Live, lock_taken: Duration, sent: bool) {
        live.doubt = Some(Doubt { since: lock_taken, sent, blocked_since: None, rejection: None });
    }
}
