//! The gate: whether a firing whose due time has come may start. After the pause and the late rules this is decided by
//! what else of its lane is running, on a state that was read at most five seconds before.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::lanes::{FRESH, Key, Lane, Place, UNKNOWN};
use super::live::{Live, Phase};
use super::missed::is_late;
use super::overlap::{Verdict, decide, limit};
use super::{Action, Engine, Timer};
use crate::azure::follow::{Pass, Passed};
use crate::azure::look::is_over;
use crate::clock::Now;
use crate::config::{Overlap, OverlapScope};
use crate::ids::{FiringId, Kind, Nominal, RunId};
use crate::ledger::{Intent, Reason, Record, State};

/// Between two looks at what is running in a pipeline, while firings are queued for it.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// Runs of a lane that one look asks for by their ids.
const MOST_RUNS: usize = 50;

impl Engine {
    /// The gate: decides whether a firing whose due time has come may start.
    pub(super) fn pass_gate(&mut self, firing: FiringId, now: Now) {
        // It may have been looked for, and was never sent.
        self.busy.leave(firing);
        let Some(live) = self.live.get_mut(&firing) else { return };
        let (intent, asked, queued) = (Arc::clone(&live.intent), live.asked, live.queued);
        if self.stopping {
            // The next start judges it, by what is running then.
            live.phase = Phase::Armed(intent.due);
            return;
        }
        let is_early = live.is_before_its_time(now.wall);
        if !asked && (self.clocks.held_until().is_some() || is_early) {
            // By a clock that is not believed nothing is late: it rings again when the hold is over. And one that was
            // set back while the firing was looked for makes nothing early.
            let at = if is_early { intent.due } else { intent.due.min(now.wall) };
            live.phase = Phase::Armed(at);
            return match self.no_longer_named(&intent, now.wall) {
                Some(reason) => self.skip_planned(&[intent], reason, now.wall),
                None => self.set_timer(at, Timer::Firing(firing)),
            };
        }
        if asked {
            return self.open_gate(firing, now);
        }
        if let Some(reason) = self.is_unwanted(&intent) {
            return self.end_unstarted(&intent, reason, now);
        }
        if self.is_kept_back(&intent) {
            return self.enqueue(&intent, Reason::Paused, now);
        }
        if intent.kind == Kind::Backfill {
            return self.approach_if_gated(&intent, now);
        }
        if intent.kind == Kind::Recovery {
            return match self.not_recovered(&intent, now.wall) {
                Some(reason) => self.end_unstarted(&intent, reason, now),
                None => self.approach_if_gated(&intent, now),
            };
        }
        if self.is_paused(&intent) {
            return self.skip_planned(&[intent], Reason::Paused, now.wall);
        }
        if !queued
            && is_late(intent.due, &intent.policy, now.wall)
            && !self.plan.slots.contains_key(&intent.entry)
        {
            // Whatever kept it waiting, its entry is gone by now: nobody wants it late.
            return self.skip_planned(&[intent], Reason::Removed, now.wall);
        }
        if !queued && !self.still_wanted(&intent, now.wall) {
            return self.skip_planned(&[intent], Reason::Missed, now.wall);
        }
        self.approach_if_gated(&intent, now);
    }

    fn approach_if_gated(&mut self, intent: &Arc<Intent>, now: Now) {
        if intent.policy.is_gated() {
            self.approach(intent, now);
        } else {
            self.open_gate(intent.firing_id, now);
        }
    }

    /// Why the schedule in force does not name a firing that is to come: an edit while it was looked for could not
    /// take it back.
    fn no_longer_named(&self, intent: &Intent, now: Timestamp) -> Option<Reason> {
        if intent.kind != Kind::Scheduled || intent.nominal <= Nominal::at_or_before(now) {
            return None;
        }
        if self.plan.names(intent) {
            return None;
        }
        Some(if self.plan.slots.contains_key(&intent.entry) { Reason::Changed } else { Reason::Removed })
    }

    /// Whether its entry was, or is, paused at its nominal time.
    fn is_paused(&self, intent: &Intent) -> bool {
        let pauses = self.pauses.get(&intent.entry);
        pauses.is_some_and(|pauses| pauses.iter().any(|pause| pause.covers(intent.nominal)))
    }

    pub(super) fn open_gate(&mut self, firing: FiringId, now: Now) {
        if let Some(live) = self.live.get_mut(&firing) {
            live.open_gate(now.wall);
            self.make_ready(firing);
        }
    }

    pub(super) fn make_ready(&mut self, firing: FiringId) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        live.phase = Phase::Ready;
        let intent = Arc::clone(&live.intent);
        self.ready.push(&intent);
        self.lanes.leave(&intent);
        self.counts(&intent);
    }

    /// From now on a firing counts as running, until it is over or its run is followed.
    pub(super) fn counts(&mut self, intent: &Arc<Intent>) {
        self.busy.insert(intent, None);
        self.lanes.counts_itself(intent, RunId::from(intent.firing_id));
    }

    /// A firing waits for a person, and may have started a run at this time: it counts for an hour.
    pub(super) fn counts_for_a_while(&mut self, intent: &Arc<Intent>, since: Timestamp, now: Now) {
        let left = Self::later(since, UNKNOWN).duration_since(now.wall);
        if let Some(left) = Duration::try_from(left).ok().filter(|left| !left.is_zero()) {
            self.busy.insert(intent, Some(now.boot + left));
            self.lanes.counts_itself(intent, RunId::from(intent.firing_id));
        }
    }

    /// What has been held for an hour counts no longer.
    pub(super) fn forget_held(&mut self, now: Now) {
        while let Some(intent) = self.busy.pop_expired(now.boot) {
            // If its run goes on, only a look shows that from now on.
            self.lanes.doubt(&intent);
        }
    }

    /// The run of a firing is known: it counts in place of the firing.
    pub(super) fn counts_by_its_run(&mut self, intent: &Intent, run: RunId, accepted: Duration) {
        if intent.policy.follows() {
            self.lanes.counts_itself(intent, run);
        } else {
            self.lanes.let_go(intent, run, accepted);
        }
    }

    /// Takes a firing out that is over here.
    pub(super) fn take_out(&mut self, firing: FiringId) -> Option<Live> {
        let live = self.live.remove(&firing)?;
        self.go_on_filling(&live.intent);
        self.busy.leave(firing);
        self.lanes.leave(&live.intent);
        Some(live)
    }

    /// A firing has come to its lane: it is judged now, or once what is running has been looked at.
    fn approach(&mut self, intent: &Arc<Intent>, now: Now) {
        let key = Key::of(intent);
        let lane = self.lanes.lane(intent);
        lane.leave(intent);
        let (is_fresh, unread) = (lane.is_fresh(now.boot), lane.unread_since.is_some());
        let may_change = match intent.policy.overlap_scope {
            // What ended since the last look only makes room; after looks without an answer nothing is sure.
            OverlapScope::Entry => {
                self.runs.count_in(&key) > 0 && (unread || !self.has_room(&key, intent, now))
            }
            OverlapScope::Pipeline => true,
        };
        if is_fresh || !may_change {
            return self.decide_about(intent, now);
        }
        self.lanes.lane(intent).at_gate.insert(Place::of(intent));
        if let Some(live) = self.live.get_mut(&intent.firing_id) {
            live.phase = Phase::AtGate;
        }
        self.look_at_lane(&key, now);
    }

    fn has_room(&self, key: &Key, intent: &Intent, now: Now) -> bool {
        limit(&intent.policy).is_none_or(|limit| self.crowd(key, intent, now) < limit)
    }

    /// How many count against a firing: those that are running, and for a backfill also what must go before it.
    fn crowd(&self, key: &Key, intent: &Intent, now: Now) -> usize {
        let before = if intent.backfill.is_some() { self.recoveries_to_come(key) } else { 0 };
        self.active(key, intent, now) + before
    }

    /// How many of a lane are running, or may be: runs that are not over, firings under way, and firings that are
    /// held since at most an hour. None of them is counted twice, and none is looked at by itself.
    fn active(&self, key: &Key, but: &Intent, now: Now) -> usize {
        let lane = self.lanes.get(key);
        let unread_since = lane.and_then(|lane| lane.unread_since);
        let unread_for = unread_since.map(|since| now.boot.saturating_sub(since));
        let known = self.runs.count_in(key) + lane.map_or(0, |lane| lane.others.len());
        let runs = match unread_for {
            // What was shown since then, by a pass over the factory, is known all the same.
            Some(unread) if unread >= UNKNOWN => self.known_since(key, now.boot.saturating_sub(UNKNOWN)),
            // Others may have started a run of the pipeline.
            Some(_) if matches!(key, Key::Pipeline(_)) => known.max(1),
            _ => known,
        };
        runs + self.busy.beside(key, but.firing_id)
    }

    /// How many runs of a lane were known not to be over after this time.
    fn known_since(&self, key: &Key, time: Duration) -> usize {
        let followed = self.runs.all_in(key).filter(|run| run.heard > time).count();
        let others = self.lanes.get(key).into_iter().flat_map(|lane| lane.others.values());
        followed + others.filter(|at| **at > time).count()
    }

    /// Decides about a firing by what is known of its lane.
    fn decide_about(&mut self, intent: &Arc<Intent>, now: Now) {
        let recovers = intent.kind == Kind::Recovery;
        if recovers && let Some(reason) = self.not_recovered(intent, now.wall) {
            // It waited for a look for too long.
            return self.end_unstarted(intent, reason, now);
        }
        let key = Key::of(intent);
        let active = self.crowd(&key, intent, now);
        let lane = self.lanes.lane(intent);
        lane.leave(intent);
        let is_backfill = intent.backfill.is_some();
        let queued = lane.queue.iter().filter(|place| is_backfill || !place.is_backfill).count();
        let verdict = decide(&intent.policy, active, queued);
        if !is_backfill
            && queued == 0
            && verdict != Verdict::Start
            && limit(&intent.policy)
                .is_some_and(|limit| active.saturating_sub(self.backfills_in(&key)) < limit)
        {
            // Only a backfill is in its way: that is no reason to leave it out, nor to cancel anything.
            self.call_back(&key, now);
            self.enqueue(intent, Reason::Overlap, now);
            return self.release(&key, now);
        }
        match verdict {
            Verdict::Start => return self.open_gate(intent.firing_id, now),
            Verdict::Skip(reason) => return self.end_unstarted(intent, reason, now),
            // What comes next is worth more than what failed.
            _ if recovers && !is_backfill => return self.end_unstarted(intent, Reason::Overlap, now),
            Verdict::Wait => {}
            Verdict::Replace => self.supersede(&key, now),
            Verdict::Cancel => {
                self.supersede(&key, now);
                self.cancel_lane(&key, now);
            }
        }
        self.enqueue(intent, Reason::Overlap, now);
        self.release(&key, now);
    }

    /// A firing waits for room in its lane, or for the end of a pause.
    pub(super) fn enqueue(&mut self, intent: &Arc<Intent>, why: Reason, now: Now) {
        let lane = self.lanes.lane(intent);
        lane.leave(intent);
        lane.queue.insert(Place::of(intent));
        self.busy.leave(intent.firing_id);
        let Some(live) = self.live.get_mut(&intent.firing_id) else { return };
        live.phase = Phase::Queued;
        if !std::mem::replace(&mut live.queued, true) || why == Reason::Paused {
            // It has passed the late rules: the next daemon must not leave it out as missed.
            let progress = live.progress(State::Waiting, Some(why), now.wall, None);
            self.records.push(Record::Progress(progress));
        }
    }

    /// Leaves out what waits for room in a lane: a newer firing takes its place.
    fn supersede(&mut self, key: &Key, now: Now) {
        let queue = self.lanes.get(key).into_iter().flat_map(|lane| &lane.queue);
        let scheduled = queue.filter(|place| !place.is_backfill).map(|place| place.firing);
        for firing in scheduled.collect::<Vec<_>>() {
            if let Some(live) = self.live.get(&firing) {
                let intent = Arc::clone(&live.intent);
                self.skip_planned(&[intent], Reason::Superseded, now.wall);
            }
        }
    }

    /// Cancels the runs of a lane that are this program's own.
    fn cancel_lane(&mut self, key: &Key, now: Now) {
        for firing in self.runs.firings_in(key) {
            if self.runs.get(firing).is_some_and(|run| run.intent.backfill.is_none()) {
                self.cancelling.entry(firing).or_insert(now.boot);
            }
        }
        self.cancel_on(now);
    }

    /// Starts what is queued, as far as there is room.
    pub(super) fn release(&mut self, key: &Key, now: Now) {
        // By a clock that is not believed nothing starts, and nothing is left out.
        if self.stopping || self.clocks.held_until().is_some() {
            return;
        }
        while let Some(intent) = self.lanes.get(key).and_then(|lane| self.first_of(lane)) {
            if intent.kind == Kind::Recovery
                && let Some(reason) = self.not_recovered(&intent, now.wall)
            {
                self.end_unstarted(&intent, reason, now);
                continue;
            }
            if !self.has_room(key, &intent, now) {
                return;
            }
            self.open_gate(intent.firing_id, now);
        }
    }

    /// The first firing that waits for room and for nothing else.
    fn first_of(&self, lane: &Lane) -> Option<Arc<Intent>> {
        let queued = lane.queue.iter().filter_map(|place| self.live.get(&place.firing));
        queued.map(|live| &live.intent).find(|intent| !self.is_kept_back(intent)).cloned()
    }

    /// A run of this firing is over: there may be room in its lanes.
    pub(super) fn make_room(&mut self, intent: &Intent, now: Now) {
        self.go_on_filling(intent);
        if self.lanes.is_empty() {
            return;
        }
        let [entry, key] = Key::both(intent);
        self.release(&entry, now);
        // Others may have started runs of the pipeline since it was looked at.
        match self.lanes.get_mut(&key).filter(|lane| !lane.queue.is_empty() && !lane.is_fresh(now.boot)) {
            Some(_) => self.look_at_lane(&key, now),
            None => self.release(&key, now),
        }
    }

    /// What is queued wants the running ones cancelled: also one that is known only now.
    pub(super) fn cancel_if_unwanted(&mut self, intent: &Intent, now: Now) {
        if self.lanes.is_empty() || intent.backfill.is_some() {
            return;
        }
        for key in Key::both(intent) {
            let waits = self.lanes.get(&key).and_then(|lane| lane.queue.first());
            let waits = waits.and_then(|place| self.live.get(&place.firing));
            if waits.is_some_and(|live| live.intent.policy.overlap == Overlap::CancelRunning) {
                self.cancelling.entry(intent.firing_id).or_insert(now.boot);
            }
        }
    }

    /// Looks at what is running in a lane, if that may be done now.
    fn look_at_lane(&mut self, key: &Key, now: Now) {
        if self.stopping || self.lanes.get(key).is_none_or(|lane| lane.reading || lane.next_read > now.boot) {
            return;
        }
        let id = self.fresh_id();
        let followed = self.runs.firings_in(key);
        let runs = followed.iter().filter_map(|firing| Some(self.runs.get(*firing)?.id));
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.reading = true;
        let pass = Pass {
            factory: lane.of.factory.clone(),
            id,
            since: None,
            span: None,
            active_of: matches!(key, Key::Pipeline(_)).then(|| lane.of.pipeline.clone()),
            one_by_one: runs.take(MOST_RUNS).collect(),
        };
        self.lane_looks.insert(id, (key.clone(), now.boot));
        self.actions.push(Action::Follow(Box::new(pass)));
    }

    /// A look at a lane ended; what it showed of followed runs is known already.
    pub(super) fn lane_looked_at(&mut self, key: &Key, began: Duration, passed: &Passed, now: Now) {
        let unanswered = passed.unlisted.as_ref().or(passed.unshown.as_ref());
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.reading = false;
        match unanswered {
            Some(unanswered) => {
                lane.unread_since.get_or_insert(now.boot);
                lane.next_read = now.boot + unanswered.retry_after.unwrap_or_default().max(FRESH);
            }
            None => {
                lane.unread_since = None;
                lane.read_at = Some(began);
                self.note_others(key, began, passed);
            }
        }
        // One that took its time shows how it was.
        let in_time = unanswered.is_none() && self.lanes.get(key).is_some_and(|lane| lane.is_fresh(now.boot));
        let has_waited = |intent: &Intent| Self::later(intent.due, intent.policy.late_after) <= now.wall;
        let first = self.lanes.get(key).and_then(|lane| self.first_of(lane));
        // By what was known last, if nothing more is to be had in time.
        if in_time || matches!(key, Key::Entry(_)) || first.is_some_and(|first| has_waited(&first)) {
            self.release(key, now);
        }
        if self.stopping || self.clocks.held_until().is_some() {
            // By a clock that is not believed nothing is left out: they are judged by the first look after that. What
            // waits when the process ends is judged by the next start.
            return;
        }
        let at_gate: Vec<FiringId> =
            self.lanes.get(key).into_iter().flat_map(|lane| &lane.at_gate).map(|it| it.firing).collect();
        for firing in at_gate {
            let Some(live) = self.live.get(&firing) else { continue };
            let intent = Arc::clone(&live.intent);
            // What one of them led to may have moved the others.
            if live.phase == Phase::AtGate && (in_time || has_waited(&intent)) {
                self.decide_about(&intent, now);
            }
        }
    }

    /// Notes what a look showed of the runs of a pipeline that nobody follows.
    fn note_others(&mut self, key: &Key, began: Duration, passed: &Passed) {
        let Some(lane) = self.lanes.get_mut(key).filter(|_| matches!(key, Key::Pipeline(_))) else { return };
        let ids = |over: bool| {
            let runs = passed.runs.iter().filter(move |run| is_over(&run.status) == over);
            runs.filter_map(|run| run.run_id)
        };
        // What was accepted since then may not be among them.
        lane.others.retain(|_, at| *at >= began);
        lane.others.extend(ids(false).map(|run| (run, began)));
        let followed = self.runs.all_in(key).map(|run| run.id);
        let own = self.busy.of(key).map(RunId::from);
        for run in ids(true).chain(followed).chain(own) {
            lane.others.remove(&run);
        }
    }

    /// The periodic part: looks that are due begin, and what there is room for starts.
    pub(super) fn lanes_on(&mut self, now: Now) {
        if self.stopping || self.opening.is_some() {
            return;
        }
        for key in self.lanes.keys() {
            let Some(lane) = self.lanes.get(&key) else { continue };
            let stale = lane.read_at.is_none_or(|at| now.boot.saturating_sub(at) >= LOOK_AGAIN);
            let is_pipeline = matches!(key, Key::Pipeline(_));
            let changes = is_pipeline || lane.unread_since.is_some();
            if !lane.at_gate.is_empty() || (changes && stale && self.first_of(lane).is_some()) {
                self.look_at_lane(&key, now);
            }
            if !is_pipeline {
                self.release(&key, now);
            }
        }
    }
}
