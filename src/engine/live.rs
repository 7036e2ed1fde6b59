//! A firing that is not over, as the engine holds it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Attempted;
use super::matching::{Fit, fit};
use super::search::{Aim, aim};
use crate::azure::look::FoundRun;
use crate::azure::outcome::Refusal;
use crate::ids::{FiringId, Kind, RunId};
use crate::ledger::{Attempt, Intent, Progress, Reason, State};

/// What a firing is doing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// Its intent is on its way to the ledger, in this batch.
    Committing(u64),
    /// It waits for its due time.
    Armed(Timestamp),
    /// It waits at the gate for a look at what else is running.
    AtGate,
    /// It waits for room in its lane.
    Queued,
    /// It may be sent as soon as there is room.
    Ready,
    /// An attempt is under way.
    Sending,
    /// It waits for its next attempt.
    Backoff(Timestamp),
    /// It waits for its next look.
    Settling(Timestamp),
    /// A look by its id is under way.
    Looking,
    /// A search for runs of its pipeline is under way.
    Searching,
    /// These runs may be its own, or those of calls that are under way.
    Weighing { runs: Vec<FoundRun>, waits_for: HashSet<FiringId> },
    /// Which of these runs belong to other firings is being found out.
    Sifting(Vec<FoundRun>),
    /// An answer named a run; whether it is another firing's is being found out.
    Owning { run: RunId, attempted: Box<Attempted> },
}

/// What is known of a firing that may have started a run without our knowing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Doubt {
    /// The last instant at which an attempt can have left this host, on the boot clock.
    pub(super) since: Duration,
    /// Whether an attempt is known to have been sent (and not only possible after a crash).
    pub(super) sent: bool,
    /// Since when looks have had no answer.
    pub(super) blocked_since: Option<Duration>,
    /// A rejection that is recorded once a last look finds nothing.
    pub(super) rejection: Option<(Reason, Option<Refusal>)>,
    /// When the last look began.
    pub(super) looked_at: Duration,
    /// Whether a person wants it sent: one look, and no waiting.
    pub(super) asked: bool,
    /// Whether a person has looked where the daemon cannot, and says that it started nothing.
    pub(super) vouched: bool,
    /// Whether it was sent by a clock that was set back before this process began: when that was is not known.
    pub(super) misdated: bool,
}

impl Doubt {
    /// An attempt was sent, at the latest at this instant on the boot clock, and its answer is lost.
    pub(super) fn since(since: Duration) -> Self {
        Self {
            since,
            sent: true,
            blocked_since: None,
            rejection: None,
            looked_at: since,
            asked: false,
            vouched: false,
            misdated: false,
        }
    }
}

/// A firing that is not over.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) intent: Arc<Intent>,
    pub(super) phase: Phase,
    /// Attempts made.
    pub(super) attempts: u32,
    /// Attempts that count against `max_attempts`: being throttled is not one.
    pub(super) counted: u32,
    /// From when its deadline counts: the due time, or the gate if it passed that later.
    pub(super) started: Option<Timestamp>,
    /// When its first attempt was sent.
    pub(super) first_sent: Option<Timestamp>,
    /// Whether a person asked for it: it does not pass the gate.
    pub(super) asked: bool,
    /// Whether it has passed the late rules, and was queued.
    pub(super) queued: bool,
    /// Whether a 401 already had its one refresh.
    pub(super) refreshed: bool,
    /// Since when the answer to an attempt is lost: the end of the last one of which that is true, on the boot
    /// clock.
    pub(super) unknown_since: Option<Duration>,
    pub(super) doubt: Option<Doubt>,
    /// What it waits for, if it waits, and what the service said last.
    pub(super) waits_for: Option<Reason>,
    pub(super) last_refusal: Option<Refusal>,
}

impl Live {
    pub(super) fn new(intent: Arc<Intent>, phase: Phase) -> Self {
        let asked = intent.kind == Kind::Manual;
        Self {
            intent,
            phase,
            attempts: 0,
            counted: 0,
            started: None,
            first_sent: None,
            asked,
            queued: false,
            refreshed: false,
            unknown_since: None,
            doubt: None,
            waits_for: None,
            last_refusal: None,
        }
    }

    pub(super) fn id(&self) -> FiringId {
        self.intent.firing_id
    }

    /// It may start at `now`, and its deadline counts from here if it is late.
    pub(super) fn open_gate(&mut self, now: Timestamp) {
        if self.counted == 0 || self.started.is_none() {
            self.started = Some(self.intent.due.max(now));
        }
    }

    pub(super) fn deadline(&self) -> Timestamp {
        if self.has_no_deadline_yet() {
            return Timestamp::MAX;
        }
        // What recovers a run has until the next nominal time, however late it may start; unless a person wants it, now
        // or with a backfill.
        let is_bound = self.intent.kind == Kind::Recovery && !self.asked && self.intent.backfill.is_none();
        let started = self.started.filter(|_| !is_bound);
        let from = started.unwrap_or(self.intent.due);
        from.checked_add(self.intent.policy.retry.deadline).unwrap_or(Timestamp::MAX)
    }

    pub(super) fn is_past_deadline(&self, now: Timestamp) -> bool {
        now > self.deadline()
    }

    /// Whether it does not wait for its due time: what a person asked for is due now, whatever the clock was when it
    /// was asked.
    pub(super) fn is_due_at_once(&self) -> bool {
        self.asked || self.intent.kind == Kind::Backfill
    }

    /// Whether its nominal time is still to come, as it is again when the clock was set back. A recovery has no time of
    /// its own: it is due so long after a failure.
    pub(super) fn is_before_its_time(&self, now: Timestamp) -> bool {
        self.intent.kind == Kind::Scheduled && !self.asked && self.intent.due > now
    }

    /// Whether its first attempt would come before its due time.
    pub(super) fn is_early(&self, now: Timestamp) -> bool {
        self.attempts == 0 && self.is_before_its_time(now)
    }

    /// The wait for a token, or for a service that is busy, does not count against its deadline: what is past already
    /// is not urgent.
    pub(super) fn wait_freely(&mut self, now: Timestamp) {
        if self.has_no_deadline_yet() {
            self.started = Some(now);
        }
    }

    fn has_no_deadline_yet(&self) -> bool {
        self.intent.kind == Kind::Backfill && self.counted == 0 && !self.asked
    }

    /// Whether it waits for its due time or the gate, and nothing was sent.
    pub(super) fn has_not_started(&self) -> bool {
        self.attempts == 0 && self.started.is_none()
    }

    /// Whether nothing can have been sent, and the calendar can name it again.
    pub(super) fn can_be_withdrawn(&self) -> bool {
        self.intent.kind == Kind::Scheduled
            && !self.asked
            && self.attempts == 0
            && self.doubt.is_none()
            && matches!(
                self.phase,
                Phase::Committing(_) | Phase::Armed(_) | Phase::AtGate | Phase::Queued | Phase::Ready
            )
    }

    /// Whether a call is under way, or whose run its answer named is being found out.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Sending | Phase::Owning { .. })
    }

    /// The earliest moment at which an attempt can have left this host.
    pub(super) fn sent_since(&self) -> Timestamp {
        self.first_sent.unwrap_or_else(|| self.intent.sent_since())
    }

    /// How well this run fits.
    pub(super) fn fits(&self, run: &FoundRun) -> Fit {
        fit(&self.intent, self.sent_since(), run)
    }

    /// Whether it is sent to the same pipeline as the other.
    pub(super) fn aims_as(&self, other: &Self) -> bool {
        let (a, b) = (&self.intent, &other.intent);
        (a.pipeline == b.pipeline && a.factory == b.factory) || self.aim() == other.aim()
    }

    /// The factory and the pipeline that it is sent to.
    pub(super) fn aim(&self) -> Aim {
        aim(&self.intent)
    }

    /// Whether an attempt may have left this host of which the ledger says nothing.
    pub(super) fn may_have_been_sent_unrecorded(&self) -> bool {
        matches!(self.phase, Phase::Sending | Phase::Owning { .. })
            || self.doubt.as_ref().is_some_and(|doubt| !doubt.sent)
    }

    /// The record of where it stands from now on.
    pub(super) fn progress(
        &self,
        state: State,
        reason: Option<Reason>,
        at: Timestamp,
        attempt: Option<Attempt>,
    ) -> Progress {
        Progress {
            firing_id: self.id(),
            state,
            reason,
            attempts: self.attempts,
            counted: self.counted,
            next_at: match self.phase {
                Phase::Backoff(at) => Some(at),
                _ => None,
            },
            run_id: None,
            error_message: None,
            follow: state == State::Accepted && self.intent.policy.follows(),
            at,
            attempt,
        }
    }

    /// The record of the attempt that just ended.
    pub(super) fn attempt(
        &self,
        attempted: &Attempted,
        outcome: &'static str,
        refusal: Option<&Refusal>,
    ) -> Attempt {
        Attempt {
            number: self.attempts,
            // By the clock as it is now, if it was set meanwhile.
            sent_at: attempted
                .answered_at
                .wall
                .checked_sub(attempted.answered_at.boot.saturating_sub(attempted.sent_at.boot))
                .unwrap_or(attempted.sent_at.wall),
            answered_at: attempted.answered_at.wall,
            outcome,
            refusal: refusal.cloned(),
        }
    }
}
