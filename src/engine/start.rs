//! How the engine begins: from a schedule and what the ledger remembers.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::busy::Busy;
use super::lanes::Lanes;
use super::live::{Doubt, Live, Phase};
use super::plan::Plan;
use super::ready::Ready;
use super::reload::Changes;
use super::runs::Runs;
use super::search::Searches;
use super::steps::Clocks;
use super::{Action, Engine, Random, Schedule, Timer};
use jiff::Timestamp;

use crate::clock::Now;
use crate::config::Entry;
use crate::ids::{FiringId, Nominal};
use crate::ledger::{Intent, Known, Reason, Record, Snapshot, State};

impl Engine {
    fn new(schedule: &Schedule, snapshot: &Snapshot, random: Random, now: Now) -> Self {
        Self {
            settings: schedule.daemon.clone(),
            studio: schedule.studio,
            random,
            clocks: Clocks::new(now),
            plan: Plan::new(schedule, HashMap::new()),
            live: HashMap::new(),
            committing: HashMap::new(),
            timers: BTreeSet::new(),
            ready: Ready::default(),
            in_flight: 0,
            no_token_until: None,
            learned: snapshot.learned.clone(),
            held: snapshot.held.iter().map(held).collect(),
            pauses: snapshot.pauses.clone(),
            claims: HashMap::new(),
            searches: Searches::default(),
            closed: VecDeque::new(),
            weighing: HashSet::new(),
            runs: Runs::default(),
            cancelling: BTreeMap::new(),
            failures: snapshot.failures.clone(),
            backfills: BTreeMap::new(),
            refill: false,
            lanes: Lanes::default(),
            busy: Busy::default(),
            lane_looks: HashMap::new(),
            answering: HashMap::new(),
            next_batch: snapshot.next_batch,
            planning: None,
            reloading: None,
            put_off: None,
            // What this engine commits first begins with that.
            opening: Some(snapshot.next_batch),
            was_clean: true,
            only_requests: false,
            stopping: false,
            stopped: false,
            records: vec![Record::CleanStop(false)],
            events: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// An engine that carries out requests and nothing else: it plans nothing, takes nothing back up,
    /// and leaves the schedule in force as it is.
    #[must_use]
    pub fn for_requests(schedule: &Schedule, snapshot: &Snapshot, random: Random, now: Now) -> Self {
        let mut engine = Self::new(schedule, snapshot, random, now);
        let swap = Nominal::at_or_before(now.wall);
        let changes = Changes::between(&HashMap::new(), &HashMap::new(), &schedule.entries, swap);
        engine.plan = Plan::new(schedule, changes.slots);
        engine.only_requests = true;
        engine.was_clean = snapshot.clean_stop;
        // They are the daemon's work, and can only be ended here.
        engine.take_up_backfills(snapshot.backfills.clone());
        engine
    }

    /// An engine for this schedule, and the first actions. `before` are the entries of the schedule that was in
    /// force last, if it is known. `lock_taken` is when this process took the ledger's lock: nothing can have
    /// left this host after that but by us.
    #[must_use]
    pub fn start(
        schedule: &Schedule,
        before: &[Arc<Entry>],
        snapshot: Snapshot,
        random: Random,
        lock_taken: Now,
        now: Now,
    ) -> (Self, Vec<Action>) {
        let mut engine = Self::new(schedule, &snapshot, random, now);
        let swap = Nominal::at_or_before(now.wall);
        let known = snapshot.marks.iter().map(|(name, known)| (name, known.clone())).collect();
        let changes = Changes::between(&known, &HashMap::new(), &schedule.entries, swap);
        let counts = (changes.begun.len() - changes.moved, changes.moved);
        engine.end_what_was_before(before, &snapshot, (schedule, &changes), swap, now);
        engine.put_in_force(schedule, changes, now, counts);
        let planned_until = snapshot.marks.values().map(|(mark, _)| mark.timestamp()).max();
        engine.clocks.doubt_if_far_from(planned_until);
        // The last daemon ran later than one that begins now, or planned further ahead: its clock was ahead of this
        // one, and may have reached what lies ahead of us.
        let reach = Self::later(lock_taken.wall, schedule.daemon.horizon);
        let planned_ahead = planned_until.is_some_and(|until| until > reach);
        let set_back = planned_ahead || snapshot.reached.is_some_and(|reached| reached > lock_taken.wall);
        if let Some(reached) = snapshot.reached.filter(|_| set_back) {
            engine.clocks.goes_after(reached);
        }
        if set_back {
            engine.return_to(swap);
        }
        // What is still to come is planned anew, by the schedule that is in force now.
        let (coming, open): (Vec<_>, Vec<_>) = snapshot.open.into_iter().partition(|open| {
            let queued = open.reason == Some(Reason::Overlap) && snapshot.clean_stop;
            (open.state == State::Planned || queued)
                && (snapshot.clean_stop || !set_back)
                && open.attempts == 0
                && open.reopened_at.is_none()
                && open.intent.nominal > swap
                && is_scheduled(open)
        });
        let coming: Vec<Arc<Intent>> = coming.into_iter().map(|open| open.intent).collect();
        let marks = engine.withdraw(&coming);
        engine.records.extend(marks.into_iter().map(Record::Marked));
        engine.take_up_backfills(snapshot.backfills);
        for held in &snapshot.held {
            engine.join_backfill(&held.intent);
        }
        engine.follow_again(snapshot.followed, now);
        let nothing_left =
            |open: &Known| snapshot.clean_stop || (!set_back && goes_on_at(open) > lock_taken.wall);
        // What may be running counts before the first of them is judged.
        engine.count_what_may_run(open.iter().filter(|open| may_run(open, nothing_left(open))), now);
        // What is scheduled comes before a backfill, which must see it wait.
        let (fills, others): (Vec<&Known>, Vec<&Known>) =
            open.iter().partition(|open| open.intent.backfill.is_some());
        for open in others.into_iter().chain(fills) {
            engine.take_back_up(open, nothing_left(open), lock_taken, now);
        }
        engine.reloading = Some(engine.next_batch);
        engine.plan_ahead(now);
        engine.pump(now);
        engine.flush();
        let actions = std::mem::take(&mut engine.actions);
        (engine, actions)
    }

    /// Ends the calendars of entries that are gone or have others, and says what is only read otherwise.
    fn end_what_was_before(
        &mut self,
        before: &[Arc<Entry>],
        snapshot: &Snapshot,
        (schedule, changes): (&Schedule, &Changes),
        swap: Nominal,
        now: Now,
    ) {
        if let Some(last) = &snapshot.schedule {
            // What is left of a calendar is closed under the version that had it.
            self.plan.version = Arc::clone(&last.version);
            if let Some(rules) = last.rules {
                self.say_what_is_read_otherwise(before, rules, schedule, swap);
            }
        }
        for entry in before.iter().filter(|entry| entry.enabled) {
            if let Some((mark, fingerprint)) = snapshot.marks.get(&entry.name)
                && entry.calendar.fingerprint() == *fingerprint
                && let Some(why) = changes.ends(&entry.name)
            {
                self.keep_calendar(entry, now);
                self.close_calendar(entry, *mark, swap, why, now);
            }
        }
    }

    fn count_what_may_run<'a>(&mut self, open: impl Iterator<Item = &'a Known>, now: Now) {
        for open in open {
            self.counts(&open.intent);
        }
        for (intent, since) in self.held.values().cloned().collect::<Vec<_>>() {
            self.counts_for_a_while(&intent, since, now);
        }
    }

    /// Goes on with a firing that the last daemon left open. `nothing_left` says that no attempt of it can have left
    /// without a record.
    fn take_back_up(&mut self, open: &Known, nothing_left: bool, lock_taken: Now, now: Now) {
        let firing = open.intent.firing_id;
        let mut live = Live::new(Arc::clone(&open.intent), Phase::Armed(open.intent.due));
        live.attempts = open.attempts;
        live.counted = open.counted;
        live.unknown_since = open.ever_unknown.then_some(lock_taken.boot);
        live.waits_for = open.reason.filter(|reason| matches!(reason, Reason::Throttled | Reason::NoToken));
        live.asked |= open.reopened_at.is_some();
        live.queued = open.reason == Some(Reason::Overlap);
        live.first_sent = open.first_sent_at;
        live.started = open.first_sent_at.map(|sent| sent.max(open.intent.due)).max(open.reopened_at);
        if open.reason == Some(Reason::Throttled)
            && let Some(until) = open.next_at.filter(|until| *until > now.wall)
        {
            self.pause_bucket(&open.intent.factory.subscription, until, now);
        }
        let may_have_left = !nothing_left;
        let unknown = open.state == State::Unknown;
        let reopened = open.reopened_at.is_some();
        if unknown || may_have_left {
            let misdated = live.sent_since() > Self::later(lock_taken.wall, self.settings.horizon);
            live.doubt = Some(Doubt { sent: unknown, misdated, ..Doubt::since(lock_taken.boot) });
        } else if reopened {
            // It may be one that was held: what a person wants sent is looked for once more before.
            live.doubt = Some(Doubt { asked: true, ..Doubt::since(lock_taken.boot) });
        }
        let waits = open.state == State::Waiting && open.attempts > 0;
        let in_doubt = live.doubt.is_some();
        self.join_backfill(&open.intent);
        self.live.insert(firing, live);
        if in_doubt {
            self.look_in(firing, std::time::Duration::ZERO, now);
        } else if waits {
            // What waited for a token goes on at once, also by a clock that was set back before its due time.
            let at = open.next_at.unwrap_or(now.wall);
            if let Some(live) = self.live.get_mut(&firing) {
                live.phase = Phase::Backoff(at);
            }
            self.set_timer(at, Timer::Firing(firing));
        } else {
            self.arm(firing, now);
        }
    }
}

/// Whether a firing that the last daemon left open may be running.
fn may_run(open: &Known, nothing_left: bool) -> bool {
    let waits = open.state == State::Waiting && open.attempts > 0;
    waits || open.state == State::Unknown || open.reopened_at.is_some() || !nothing_left
}

/// An attempt can only have left the last daemon at or after this.
fn goes_on_at(open: &Known) -> Timestamp {
    open.next_at.unwrap_or(open.intent.due)
}

/// A firing that waits for a person, and since when it may have started a run.
fn held(known: &Known) -> (FiringId, (Arc<Intent>, Timestamp)) {
    let since = known.first_sent_at.unwrap_or_else(|| known.intent.sent_since());
    (known.intent.firing_id, (Arc::clone(&known.intent), since))
}

fn is_scheduled(open: &Known) -> bool {
    open.intent.kind == crate::ids::Kind::Scheduled
}
