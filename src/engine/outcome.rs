//! What follows from the end of an attempt: accept, wait, reject, or look for what became of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::live::Phase;
use super::{Action, Attempted, Engine, Live, Timer, announce, milliseconds};
use crate::azure::outcome::{Outcome, Refusal};
use crate::clock::Now;
use crate::ids::{FiringId, RunId, SubscriptionId};
use crate::ledger::{Attempt, Body, Intent, Reason, Record, Skips, State};

/// Between two tries when there is no token; a token that comes earlier ends the wait.
const NO_TOKEN_WAIT: Duration = Duration::from_secs(5);
/// The shortest pause after a 429, whatever it asks for: a date in the past, read by a clock that is ahead,
/// must not become a loop.
const LEAST_PAUSE: Duration = Duration::from_secs(1);

impl Engine {
    /// An attempt ended.
    pub(super) fn answered(&mut self, firing: FiringId, attempted: Attempted, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        if live.phase != Phase::Sending {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        if !matches!(attempted.outcome, Outcome::NoToken { .. } | Outcome::Withheld) {
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
            Outcome::NoToken { detail, refused } => self.no_token(firing, detail, refused, now),
            Outcome::Withheld => self.withheld(firing),
            Outcome::Malformed { named, refusal } => {
                if let Some(live) = self.live.get(&firing) {
                    self.events.push(announce::anomaly(live, &named, Reason::MalformedRunId));
                }
                self.lost(firing, &refusal, &attempted, now);
            }
            Outcome::Unknown(refusal) => self.lost(firing, &refusal, &attempted, now),
        }
    }

    /// The service named a run. Its own id for the firing is beyond doubt; any other is checked first.
    fn named_run(&mut self, firing: FiringId, run: RunId, attempted: Attempted, now: Now) {
        if run.is(firing) {
            return self.accept(firing, run, &attempted);
        }
        if self.claimant(run).is_some_and(|claimed| claimed != firing) {
            return self.foreign(firing, run, &attempted, now);
        }
        self.claim(run, firing, None);
        if let Some(live) = self.live.get_mut(&firing) {
            live.phase = Phase::Owning { run, attempted: Box::new(attempted) };
            self.actions.push(Action::FindOwners(firing, vec![run]));
        }
    }

    /// It is known which of the runs that were asked about belong to other firings.
    pub(super) fn owned(&mut self, firing: FiringId, owners: &HashMap<RunId, FiringId>, now: Now) {
        match self.live.get(&firing).map(|live| live.phase.clone()) {
            Some(Phase::Sifting(runs)) => self.sifted(firing, runs, owners, now),
            Some(Phase::Owning { run, attempted }) if owners.contains_key(&run) => {
                self.claims.remove(&run);
                self.foreign(firing, run, &attempted, now);
            }
            Some(Phase::Owning { run, attempted }) => self.accept(firing, run, &attempted),
            _ => {}
        }
    }

    fn accept(&mut self, firing: FiringId, run: RunId, attempted: &Attempted) {
        let Some(live) = self.take_out(firing) else { return };
        self.learn(&live.intent, run);
        self.note_in_backfill(&live.intent, None);
        self.claim(run, firing, Some(self.next_batch));
        let attempt = live.attempt(attempted, "accepted", None);
        let mut progress = live.progress(State::Accepted, None, attempted.answered_at.wall, Some(attempt));
        progress.run_id = Some(run);
        self.records.push(Record::Progress(progress));
        self.counts_by_its_run(&live.intent, run, attempted.answered_at.boot);
        self.follow_run(&live.intent, run, live.sent_since(), attempted.answered_at);
        self.events.push(announce::created(&live, run, attempted, self.studio));
    }

    /// Remembers whether the factory takes our id as the run's.
    pub(super) fn learn(&mut self, intent: &Intent, run: RunId) {
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
            self.events.push(announce::anomaly(live, &run.to_string(), Reason::ForeignRun));
        }
        let refusal = Refusal {
            http_status: Some(200),
            error_message: format!("the answer named run {run}, which belongs to another firing"),
            ..Refusal::default()
        };
        self.lost(firing, &refusal, attempted, now);
    }

    fn refused(&mut self, firing: FiringId, refusal: Refusal, attempted: &Attempted, now: Now) {
        let Some(live) = self.live.get(&firing) else { return };
        let attempt = live.attempt(attempted, "rejected", Some(&refusal));
        if live.unknown_since.is_some() {
            self.events.push(announce::attempt_failed(live, "rejected", &refusal, None));
        }
        self.end_without_run(firing, Reason::Refused, Some(refusal), Some(attempt), now);
    }

    /// A 401: the token is refreshed once, and the call is made once more.
    fn unauthorized(&mut self, firing: FiringId, refusal: Refusal, attempted: &Attempted, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        if live.refreshed {
            return self.refused(firing, refusal, attempted, now);
        }
        live.refreshed = true;
        self.actions.push(Action::RejectToken(attempted.token_generation));
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
        let wait = retry_after
            .filter(|wait| *wait >= LEAST_PAUSE)
            .unwrap_or_else(|| live.intent.policy.retry.backoff(live.attempts, random))
            .max(LEAST_PAUSE);
        let subscription = live.intent.factory.subscription.clone();
        // The wait counts from the answer; being busy here must not shorten it.
        let until = Self::later(attempted.answered_at.wall.max(now.wall), wait);
        let event = announce::throttled(&live.intent, milliseconds(wait));
        let (news, until) = self.pause_bucket(&subscription, until, now);
        if news {
            self.events.push(event);
        }
        let Some(live) = self.live.get_mut(&firing) else { return };
        let attempt = live.attempt(attempted, "retry_later", Some(&refusal));
        self.events.push(announce::attempt_failed(live, "retry_later", &refusal, Some(milliseconds(wait))));
        live.wait_freely(now.wall);
        live.waits_for = Some(Reason::Throttled);
        live.last_refusal = Some(refusal);
        if until > live.deadline() {
            return self.end_with_last_words(firing, Reason::Throttled, Some(attempt), now);
        }
        live.phase = Phase::Backoff(until);
        let progress = live.progress(State::Waiting, Some(Reason::Throttled), now.wall, Some(attempt));
        self.records.push(Record::Progress(progress));
        self.try_again(firing, now);
    }

    /// The next attempt is made as soon as that can be. Of a backfill it may be unwanted by now, or has to wait for the
    /// end of a pause, or for what has come meanwhile; unless an answer was lost, which must not be left at that.
    pub(super) fn try_again(&mut self, firing: FiringId, now: Now) {
        let may_wait =
            |live: &Live| live.intent.backfill.is_some() && live.unknown_since.is_none() && !live.asked;
        if self.live.get(&firing).is_some_and(may_wait) {
            self.pass_gate(firing, now);
        } else {
            self.make_ready(firing);
        }
    }

    /// Pauses a bucket; returns whether that is news, and until when it is paused.
    pub(super) fn pause_bucket(
        &mut self,
        subscription: &SubscriptionId,
        until: Timestamp,
        now: Now,
    ) -> (bool, Timestamp) {
        let news = self.ready.pause(subscription, now.wall, until);
        let until = self.ready.paused_until(subscription, now.wall).unwrap_or(until);
        self.set_timer(until, Timer::Bucket(subscription.clone()));
        (news, until)
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
            return self.end_with_last_words(firing, Reason::RetriesExhausted, Some(attempt), now);
        }
        live.waits_for = None;
        live.phase = Phase::Backoff(at);
        self.records.push(Record::Progress(live.progress(State::Waiting, None, now.wall, Some(attempt))));
        self.set_timer(at, Timer::Firing(firing));
    }

    /// There is no token: nobody is sent for a while, or until one comes.
    fn no_token(&mut self, firing: FiringId, detail: String, refused: bool, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        live.last_refusal = Some(Refusal { error_message: detail, ..Refusal::default() });
        if live.asked {
            // A person waits, and can ask again.
            let reason = if refused { Reason::Refused } else { Reason::NoToken };
            return self.end_with_last_words(firing, reason, None, now);
        }
        live.wait_freely(now.wall);
        if live.waits_for != Some(Reason::NoToken) {
            live.waits_for = Some(Reason::NoToken);
            let progress = live.progress(State::Waiting, Some(Reason::NoToken), now.wall, None);
            self.records.push(Record::Progress(progress));
        }
        let until = Self::later(now.wall, NO_TOKEN_WAIT);
        self.no_token_until = Some(until);
        self.set_timer(until, Timer::Token);
        self.try_again(firing, now);
    }

    /// The request did not leave, since the process ends: the firing is where it was before it was sent.
    fn withheld(&mut self, firing: FiringId) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        if live.attempts == 0 {
            live.first_sent = None;
        }
        self.make_ready(firing);
    }

    /// The process ends while the call is under way, or while it is not known whose run it named.
    pub(super) fn cut_off(&mut self, firing: FiringId, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        if live.phase == Phase::Sending {
            live.attempts += 1;
            live.counted += 1;
        }
        live.unknown_since = Some(now.boot);
        live.phase = Phase::Settling(now.wall);
        let number = live.attempts;
        let message = "the daemon stopped before the answer came".to_owned();
        let refusal = Refusal { error_message: message, ..Refusal::default() };
        let attempt = Attempt {
            number,
            sent_at: live.sent_since(),
            answered_at: now.wall,
            outcome: "unknown",
            refusal: Some(refusal),
        };
        let progress = live.progress(State::Unknown, Some(Reason::AnswerLost), now.wall, Some(attempt));
        self.records.push(Record::Progress(progress));
        self.events.push(announce::unknown(live, None));
    }

    /// Ends a firing that waited past its deadline.
    pub(super) fn give_up(&mut self, firing: FiringId, now: Now) {
        let reason = self.live.get(&firing).and_then(|live| live.waits_for);
        self.end_with_last_words(firing, reason.unwrap_or(Reason::RetriesExhausted), None, now);
    }

    /// Ends a firing without a run, with the last thing that was said about it.
    fn end_with_last_words(&mut self, firing: FiringId, reason: Reason, attempt: Option<Attempt>, now: Now) {
        let last = self.live.get(&firing).and_then(|live| live.last_refusal.clone());
        self.end_without_run(firing, reason, last, attempt, now);
    }

    /// Ends a firing without a run. One whose answer was lost before may have started one all the same: it is
    /// looked for once more before no is said.
    fn end_without_run(
        &mut self,
        firing: FiringId,
        reason: Reason,
        refusal: Option<Refusal>,
        attempt: Option<Attempt>,
        now: Now,
    ) {
        match self.live.get(&firing).and_then(|live| live.unknown_since) {
            Some(since) => self.look_a_last_time(firing, since, (reason, refusal), attempt, now),
            None => self.reject(firing, reason, refusal.as_ref(), now, attempt),
        }
    }

    pub(super) fn reject(
        &mut self,
        firing: FiringId,
        reason: Reason,
        refusal: Option<&Refusal>,
        now: Now,
        attempt: Option<Attempt>,
    ) {
        let Some(live) = self.take_out(firing) else { return };
        let mut progress = live.progress(State::Rejected, Some(reason), now.wall, attempt);
        progress.error_message = refusal.map(|refusal| refusal.error_message.clone());
        self.records.push(Record::Progress(progress));
        self.events.push(announce::rejected(&live.intent, live.attempts, reason, refusal));
        self.note_in_backfill(&live.intent, Some(reason));
        if !live.asked {
            self.recovers_nothing(&live.intent, now);
        }
    }

    /// Leaves a firing to a person. It is never sent again by itself.
    pub(super) fn hold(&mut self, firing: FiringId, reason: Reason, run: Option<RunId>, now: Now) {
        let Some(live) = self.take_out(firing) else { return };
        self.counts_for_a_while(&live.intent, live.sent_since(), now);
        self.held.insert(firing, (Arc::clone(&live.intent), live.sent_since()));
        let mut progress = live.progress(State::Held, Some(reason), now.wall, None);
        progress.error_message = run.map(|run| format!("run {run} may be its own"));
        self.records.push(Record::Progress(progress));
        self.events.push(announce::held(&live, reason, run));
    }

    /// Leaves out a firing whose intent may yet be refused, since the ledger has a record of its nominal time: then
    /// that record stands.
    fn skip_unplanned(&mut self, intent: &Arc<Intent>, reason: Reason) {
        self.records.push(Record::Withdrawn(intent.firing_id));
        let (last, intent) = (intent.nominal, Intent { body: Body::new("{}"), ..(**intent).clone() });
        self.records.push(Record::Skipped(Box::new(Skips {
            intent,
            last,
            count: 1,
            reason,
            calendar: None,
        })));
    }

    /// Leaves out planned firings that were never sent.
    pub(super) fn skip_planned(&mut self, intents: &[Arc<Intent>], reason: Reason, at: Timestamp) {
        let mut skipped: Vec<&Intent> = Vec::new();
        for intent in intents {
            let Some(live) = self.take_out(intent.firing_id) else { continue };
            if matches!(live.phase, Phase::Committing(_)) {
                self.skip_unplanned(intent, reason);
                continue;
            }
            self.records.push(Record::Progress(live.progress(State::Skipped, Some(reason), at, None)));
            skipped.push(intent);
        }
        self.events.extend(announce::skipped_together(&skipped, reason));
    }
}
