//! Steps of the wall clock: noticed by comparing it with the clock that never steps, held while they are
//! too large to be believed, and then followed.
//!
//! Forwards, what came due goes by the late rules. Backwards, marks return to now, and what had not been
//! sent is planned anew. Waits that count a duration keep their length either way.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::live::Phase;
use super::{Engine, Live, Timer, announce};
use crate::clock::Now;
use crate::ids::{Kind, Nominal};
use crate::ledger::{Mark, Record};

/// Steps below this are the small corrections of a clock that is kept.
const NOTICED: SignedDuration = SignedDuration::from_secs(1);
/// Steps above this are only believed once the clock has agreed with itself for `clock_hold`.
const BELIEVED: SignedDuration = SignedDuration::from_mins(10);

/// So long after a step above that nothing is taken to be old: what guards against second starts must outlive a
/// clock that was wrong for a while.
const STEADY: Duration = Duration::from_secs(86_400);

/// Whether what happened at `at` on the clock that never steps is long past.
pub(super) fn is_old(at: Duration, boot: Duration) -> bool {
    boot.saturating_sub(at) > STEADY
}

/// What the engine knows of the clocks.
#[derive(Debug)]
pub(super) struct Clocks {
    last: Now,
    hold: Option<Hold>,
    /// When the last large step was, on the clock that never steps.
    stepped_at: Option<Duration>,
    /// Up to when something that is not over may have been sent by a clock that was set back since.
    reached: Option<Timestamp>,
}

/// Nothing is fired and nothing skipped until the clock has agreed with itself for long enough.
#[derive(Debug)]
struct Hold {
    /// The sum of all steps since the hold began.
    step: SignedDuration,
    /// On the clock that never steps.
    until: Duration,
    /// The same on the wall clock as it stands now.
    until_wall: Timestamp,
}

impl Clocks {
    pub(super) fn new(now: Now) -> Self {
        Self { last: now, hold: None, stepped_at: None, reached: None }
    }

    /// The clock was set back since the last daemon ran, up to this time.
    pub(super) fn goes_after(&mut self, reached: Timestamp) {
        self.reached = Some(reached);
    }

    /// When a hold ends, on the wall clock.
    pub(super) fn held_until(&self) -> Option<Timestamp> {
        self.hold.as_ref().map(|hold| hold.until_wall)
    }

    /// Whether the last large step is long past.
    pub(super) fn is_steady(&self, boot: Duration) -> bool {
        self.stepped_at.is_none_or(|at| is_old(at, boot))
    }

    /// The clock has left what the last daemon planned far behind: it may be wrong, or nothing ran for long.
    pub(super) fn doubt_if_far_from(&mut self, planned_until: Option<Timestamp>) {
        let last = self.last;
        if planned_until.is_some_and(|until| Engine::later(until, STEADY) < last.wall) {
            self.stepped_at = Some(last.boot);
        }
    }

    /// By how much the wall clock stepped since the last look.
    fn step(&mut self, now: Now) -> Option<SignedDuration> {
        let passed = now.boot.saturating_sub(self.last.boot);
        let expected = Engine::later(self.last.wall, passed);
        self.last = now;
        let step = now.wall.duration_since(expected);
        (step.abs() >= NOTICED).then_some(step)
    }
}

impl Engine {
    /// Compares the clocks; returns whether the wall clock is to be believed.
    pub(super) fn watch_clock(&mut self, now: Now) -> bool {
        if let Some(step) = self.clocks.step(now) {
            self.stepped(step, now);
        }
        if let Some(hold) = self.clocks.hold.take_if(|hold| hold.until <= now.boot) {
            self.follow(hold.step, now);
        }
        if let Some(hold) = &mut self.clocks.hold {
            // Small corrections must not make the alarm come before the end.
            hold.until_wall = Self::later(now.wall, hold.until.saturating_sub(now.boot));
            return false;
        }
        true
    }

    fn stepped(&mut self, step: SignedDuration, now: Now) {
        let so_far = self.clocks.hold.as_ref().map(|hold| hold.step);
        let held = so_far.is_some() || step.abs() > BELIEVED;
        let hold_for = self.settings.clock_hold;
        self.events.push(announce::clock_jumped(step, held.then_some(hold_for)));
        self.keep_waits(step);
        if step.is_negative() {
            let before = now.wall.checked_sub(step).unwrap_or(Timestamp::MAX);
            self.clocks.reached = self.clocks.reached.max(Some(before));
            self.records.push(Record::Reached(self.clocks.reached));
        }
        if held {
            self.clocks.stepped_at = Some(now.boot);
            self.clocks.hold = Some(Hold {
                step: so_far.unwrap_or_default().saturating_add(step),
                until: now.boot + hold_for,
                until_wall: Self::later(now.wall, hold_for),
            });
        } else {
            self.follow(step, now);
        }
    }

    /// Waits for the next attempt, look, bucket or token last as long as they were meant to.
    fn keep_waits(&mut self, step: SignedDuration) {
        let moved = |at: Timestamp| at.checked_add(step).unwrap_or(at);
        let mut timers = Vec::new();
        for (firing, live) in &mut self.live {
            live.started = live.started.map(moved);
            live.first_sent = live.first_sent.map(moved);
            let waits_until = match &mut live.phase {
                Phase::Backoff(at) | Phase::Settling(at) => Some(at),
                // It is due so long after a failure, by whatever clock.
                Phase::Armed(at) if live.intent.kind == Kind::Recovery => Some(at),
                _ => None,
            };
            if let Some(at) = waits_until {
                *at = moved(*at);
                timers.push((*at, Timer::Firing(*firing)));
            }
            let next_at = if let Phase::Backoff(at) = live.phase { Some(at) } else { None };
            if next_at.is_some() || live.first_sent.is_some() {
                let (firing_id, first_sent_at) = (*firing, live.first_sent);
                self.records.push(Record::Moved { firing_id, next_at, first_sent_at });
            }
        }
        for (firing, (_, since)) in &mut self.held {
            *since = moved(*since);
            let (firing_id, first_sent_at) = (*firing, Some(*since));
            self.records.push(Record::Moved { firing_id, next_at: None, first_sent_at });
        }
        self.no_token_until = self.no_token_until.map(moved);
        timers.extend(self.no_token_until.map(|at| (at, Timer::Token)));
        for (subscription, until) in self.ready.move_pauses(moved) {
            timers.push((until, Timer::Bucket(subscription)));
        }
        self.timers.extend(timers);
    }

    /// Once nothing is open that can have been sent, it does not matter any more by which clock.
    pub(super) fn forget_reach(&mut self) {
        let may_have_been_sent =
            |live: &Live| live.attempts > 0 || live.doubt.is_some() || live.is_under_way();
        if self.clocks.reached.is_some() && !self.live.values().any(may_have_been_sent) {
            self.clocks.reached = None;
            self.records.push(Record::Reached(None));
        }
    }

    /// Acts on a step that is believed. Forwards the gate does what is to be done.
    fn follow(&mut self, step: SignedDuration, now: Now) {
        if step >= SignedDuration::ZERO {
            return;
        }
        let to = Nominal::at_or_before(now.wall);
        self.give_back_after(to, now);
        let again: Vec<_> = self
            .live
            .values()
            .filter(|live| live.can_be_withdrawn() && live.intent.nominal > to)
            .filter(|live| self.plan.names(&live.intent))
            .map(|live| Arc::clone(&live.intent))
            .collect();
        let marks: Vec<Mark> = self.withdraw(&again);
        self.records.extend(marks.into_iter().map(Record::Marked));
        self.return_to(to);
    }

    /// Brings the marks back to here: what was left out as missed after it is still to come.
    pub(super) fn return_to(&mut self, to: Nominal) {
        let marks = self.plan.return_to(to);
        for pauses in self.pauses.values_mut() {
            // What a person said by a clock that was ahead holds from now on.
            pauses.retain(|pause| pause.until.is_none() || pause.from <= to.timestamp());
            for pause in pauses {
                pause.from = pause.from.min(to.timestamp());
                pause.until = pause.until.map(|until| until.min(to.timestamp()));
            }
        }
        let calendars =
            self.plan.calendars().chain(self.closed.iter().map(|(_, name, calendar)| (name, calendar)));
        let calendars = calendars.map(|(name, calendar)| (name.clone(), Arc::clone(calendar))).collect();
        self.records.push(Record::SetBack { to, calendars });
        self.records.extend(marks.into_iter().map(Record::Marked));
    }
}
