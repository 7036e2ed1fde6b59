//! Every decision about firings, as a pure state machine: inputs in, actions out. It names no
//! runtime, no network and no file; time and randomness are passed in.
//!
//! ```text
//!  Committing ──committed──► Armed ──due──► gate ──► Ready ──room──► Sending ──► accepted | rejected
//!                              ▲                       ▲                │
//!                              │                       └── Backoff ◄────┤ retry later
//!                    (found after a crash,                              │
//!                     looked for, absent)◄── Looking ◄── Settling ◄─────┘ unknown
//! ```
//!
//! A firing leaves the engine when its end has been handed to the ledger.

mod announce;
mod backfill;
mod busy;
mod follow;
mod gate;
mod lanes;
mod live;
mod look;
mod matching;
mod missed;
mod outcome;
mod overlap;
mod plan;
mod ready;
mod recovery;
mod reload;
mod requests;
mod rules;
mod runs;
mod search;
mod start;
mod steps;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::azure::Attempted;
use crate::azure::follow::{Cancelled, Pass, Passed};
use crate::azure::look::{Look, Searched};
use crate::clock::Now;
use crate::config::{Daemon, Entry};
use crate::event::Event;
use crate::ids::{EntryName, FiringId, Nominal, RunId, SubscriptionId};
use crate::ledger::{Batch, Intent, Mark, Pause, Record, Request};
use crate::schedule::{Calendar, CronRules};

pub use backfill::MOST as MOST_OF_A_BACKFILL;

use backfill::Filling;
use busy::Busy;
use lanes::{Key, Lanes};
use live::{Live, Phase};
use plan::Plan;
use ready::Ready;
use runs::Runs;
use search::Searches;
use steps::Clocks;

/// A schedule that is, or is about to be, in force.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// The SHA-256 of its text.
    pub version: Arc<str>,
    /// The text of the file.
    pub text: Arc<str>,
    /// How its cron expressions were read.
    pub rules: CronRules,
    /// How the daemon works under it.
    pub daemon: Daemon,
    /// Where people watch their runs.
    pub studio: &'static str,
    /// All its entries.
    pub entries: Vec<Arc<Entry>>,
}

/// A source of randomness.
pub type Random = Box<dyn FnMut() -> u64 + Send>;

/// What the engine is told.
#[derive(Debug)]
pub enum Input {
    /// The time of [`Engine::alarm`] has come.
    Wake,
    /// The periodic pass: plan ahead, end what is past its deadline.
    Heartbeat,
    /// This batch is durable; these of its firings were refused by the ledger's guard.
    Committed(u64, HashSet<FiringId>),
    /// An attempt ended.
    Answered(FiringId, Box<Attempted>),
    /// A look for a lost answer ended.
    Looked(FiringId, Box<Look>),
    /// A search for a lost answer ended.
    Searched(FiringId, Box<Searched>),
    /// Which other firings own the runs that were asked about.
    Owned(FiringId, HashMap<RunId, FiringId>),
    /// A pass over the runs of a factory ended.
    Passed(Box<Pass>, Box<Passed>),
    /// A call that cancels the run of a firing ended.
    Cancelled(FiringId, Cancelled),
    /// There is a usable token again.
    TokenUsable,
    /// People asked for something.
    Asked(Vec<Request>),
    /// A new schedule takes the place of the old one, at this instant.
    Reload(Schedule),
    /// No new firing may start; end in good order.
    Stop,
    /// The time to end in good order is over.
    GraceOver,
}

/// What the engine wants done.
#[derive(Debug)]
pub enum Action {
    /// Make these changes durable, announce their events, and say so with [`Input::Committed`].
    Commit(Batch),
    /// Call createRun with this intent, and answer with [`Input::Answered`].
    Send(Arc<Intent>),
    /// Look for the run under the id of this intent, and answer with [`Input::Looked`].
    Look(Arc<Intent>),
    /// Search for all runs of the pipeline of this intent since this moment, and answer with
    /// [`Input::Searched`].
    Search(Arc<Intent>, Timestamp),
    /// Find out which other firings own these runs, and answer with [`Input::Owned`].
    FindOwners(FiringId, Vec<RunId>),
    /// Make this pass over the runs of a factory, and answer with [`Input::Passed`].
    Follow(Box<Pass>),
    /// Cancel the run of this intent, and answer with [`Input::Cancelled`].
    Cancel(Arc<Intent>, RunId),
    /// The service refused the token of this generation.
    RejectToken(u64),
    /// The schedule given at the start, or with [`Input::Reload`], is in force and durable.
    Reloaded,
    /// Nothing is under way any more; so many firings stay open.
    Stopped(u64),
}

/// The state machine.
pub struct Engine {
    settings: Daemon,
    studio: &'static str,
    random: Random,
    clocks: Clocks,
    plan: Plan,
    live: HashMap<FiringId, Live>,
    /// The firings whose intents are on their way to the ledger, by batch.
    committing: HashMap<u64, Vec<FiringId>>,
    timers: BTreeSet<(Timestamp, Timer)>,
    ready: Ready,
    in_flight: usize,
    /// No token could be had; nothing is sent before this, unless a token comes.
    no_token_until: Option<Timestamp>,
    /// Whether each factory has always taken our id, by `Factory::key`.
    learned: HashMap<String, bool>,
    /// Firings that wait for a person, and since when each may have started a run.
    held: HashMap<FiringId, (Arc<Intent>, Timestamp)>,
    /// When entries were, or are, paused.
    pauses: HashMap<EntryName, Vec<Pause>>,
    /// Runs whose owner the ledger does not know yet, with the batch that tells it, if there is one.
    claims: HashMap<RunId, (FiringId, Option<u64>)>,
    searches: Searches,
    /// Calendars that are over, and since when on the clock that never steps; for as long as a wrong clock may have
    /// ended them.
    closed: VecDeque<(Duration, EntryName, Arc<Calendar>)>,
    /// Firings that wait for calls under way before they judge the runs that were found.
    weighing: HashSet<FiringId>,
    /// The runs that are followed to their end.
    runs: Runs,
    /// The firings whose runs are to be cancelled, and when that is tried next, on the boot clock.
    cancelling: BTreeMap<FiringId, Duration>,
    /// How often in a row runs of entries have failed that are to be paused for it.
    failures: HashMap<EntryName, u32>,
    /// The backfills that are not over, by their ids, and whether there may be room for more of them.
    backfills: BTreeMap<Arc<str>, Filling>,
    refill: bool,
    /// What must not run at once.
    lanes: Lanes,
    /// What counts as running, besides the runs that are followed.
    busy: Busy,
    /// Looks at lanes that are under way, by their request id, and when they began on the boot clock.
    lane_looks: HashMap<FiringId, (Key, Duration)>,
    /// Requests whose answers are on their way to the ledger, by batch, and the firings that they were about.
    answering: HashMap<u64, (String, Option<FiringId>)>,
    next_batch: u64,
    /// The batch that makes a plan durable; there is never a second one under way.
    planning: Option<u64>,
    /// The batch that makes a reload durable.
    reloading: Option<u64>,
    /// A schedule that came while the clock was not to be believed: by it nobody can say what is past.
    put_off: Option<Schedule>,
    /// The batch that says that a daemon runs. Nothing is sent before it is durable: a crash after a send must
    /// not look like a clean stop.
    opening: Option<u64>,
    /// Whether the last daemon had stopped cleanly, of which an engine for requests must not take away.
    was_clean: bool,
    /// Nothing is planned: only what people ask for is carried out.
    only_requests: bool,
    stopping: bool,
    stopped: bool,
    records: Vec<Record>,
    events: Vec<Event>,
    actions: Vec<Action>,
}

/// Whole milliseconds, as events give them.
fn milliseconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// What a time in the engine's list is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Firing(FiringId),
    Bucket(SubscriptionId),
    Token,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({} firings, {} in flight)", self.live.len(), self.in_flight)
    }
}

impl Engine {
    /// Takes one input, at `now`, and says what is to be done.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Action> {
        let believed = self.watch_clock(now);
        self.forget_held(now);
        if let Some(schedule) = self.put_off.take_if(|_| believed) {
            self.reload(&schedule, now);
        }
        match input {
            // What people ask for is read again with the next heartbeat.
            Input::Wake | Input::Heartbeat | Input::Asked(_) if !believed => {}
            Input::Reload(schedule) if !believed => self.put_off = Some(schedule),
            Input::Wake => self.wake(now),
            Input::Heartbeat => {
                self.plan_ahead(now);
                self.end_what_is_overdue(now);
                self.forget_reach();
                self.follow_on(now);
                self.lanes_on(now);
                self.refill = true;
            }
            Input::Committed(batch, refused) => self.committed(batch, &refused, now),
            Input::Answered(firing, attempted) => self.answered(firing, *attempted, now),
            Input::Looked(firing, look) => self.looked(firing, *look, now),
            Input::Searched(firing, searched) => self.searched(firing, &searched, now),
            Input::Owned(firing, owners) => self.owned(firing, &owners, now),
            Input::Passed(pass, passed) => self.passed(&pass, *passed, now),
            Input::Cancelled(firing, cancelled) => self.cancel_ended(firing, &cancelled, now),
            Input::TokenUsable => self.no_token_until = None,
            Input::Asked(requests) => self.asked(requests, now),
            Input::Reload(schedule) => self.reload(&schedule, now),
            Input::Stop => self.stop(now),
            Input::GraceOver => self.grace_over(now),
        }
        self.weigh();
        if believed {
            if self.refill && !self.backfills.is_empty() {
                self.fill(now);
            }
            self.pump(now);
        }
        self.flush();
        self.say_if_stopped();
        std::mem::take(&mut self.actions)
    }

    /// Whether it is not known yet that the schedule given last is durable ([`Action::Reloaded`]).
    #[must_use]
    pub fn awaits_schedule(&self) -> bool {
        self.reloading.is_some()
    }

    /// When the engine must be woken, if at all.
    #[must_use]
    pub fn alarm(&self) -> Option<Timestamp> {
        self.clocks.held_until().or_else(|| self.timers.first().map(|(at, _)| *at))
    }

    /// What fires next, and when.
    #[must_use]
    pub fn next_firing(&self) -> Option<(Timestamp, &EntryName)> {
        let armed = self.timers.iter().find_map(|(at, timer)| {
            let Timer::Firing(firing) = timer else { return None };
            let live = self.live.get(firing).filter(|live| live.phase == Phase::Armed(*at))?;
            Some((*at, &live.intent.entry))
        });
        [armed, self.plan.next()].into_iter().flatten().min()
    }

    /// How many firings come up to `until`; counts no further than `most`.
    #[must_use]
    pub fn coming(&self, until: Timestamp, most: usize) -> usize {
        self.timers
            .iter()
            .take_while(|(at, _)| *at <= until)
            .filter(|(_, timer)| matches!(timer, Timer::Firing(_)))
            .take(most)
            .count()
    }

    /// Whether the wall clock is believed: it has not stepped by much just now.
    #[must_use]
    pub fn believes_the_clock(&self) -> bool {
        self.clocks.held_until().is_none()
    }

    /// Whether the wall clock may tell what is old: it has not stepped by much for a day, on the boot clock.
    #[must_use]
    pub fn may_prune(&self, boot: Duration) -> bool {
        self.believes_the_clock() && self.clocks.is_steady(boot)
    }

    /// How many createRun calls are under way.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many firings are not over.
    #[must_use]
    pub fn open_firings(&self) -> usize {
        self.live.len()
    }

    fn wake(&mut self, now: Now) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now.wall
        {
            if let Some((_, Timer::Firing(firing))) = self.timers.pop_first() {
                self.ring(firing, now);
            }
            // The other timers only had to wake the pump.
        }
    }

    /// The time of a firing has come, unless it has moved on since its timer was set.
    fn ring(&mut self, firing: FiringId, now: Now) {
        let Some(live) = self.live.get(&firing) else { return };
        match live.phase {
            Phase::Armed(at) if at <= now.wall => self.pass_gate(firing, now),
            Phase::Backoff(at) if at <= now.wall => self.try_again(firing, now),
            Phase::Settling(at) if at <= now.wall => self.look(firing, now),
            _ => {}
        }
    }

    fn set_timer(&mut self, at: Timestamp, timer: Timer) {
        self.timers.insert((at, timer));
    }

    /// Arms a firing whose intent is durable.
    fn arm(&mut self, firing: FiringId, now: Now) {
        let Some(live) = self.live.get_mut(&firing) else { return };
        let due = live.intent.due;
        live.phase = Phase::Armed(due);
        if live.doubt.is_some() {
            // It was reopened.
            return self.look(firing, now);
        }
        if due <= now.wall || live.is_due_at_once() {
            self.pass_gate(firing, now);
        } else {
            self.set_timer(due, Timer::Firing(firing));
        }
    }

    /// Sends as much as there is room for.
    fn pump(&mut self, now: Now) {
        if self.stopping
            || self.opening.is_some()
            || self.no_token_until.is_some_and(|until| until > now.wall)
        {
            return;
        }
        while self.in_flight < self.settings.max_in_flight
            && let Some(firing) = self.ready.pop(now.wall)
        {
            // A firing that was taken back and planned anew waits for its commit and its time again.
            let Some(live) = self.live.get_mut(&firing).filter(|live| live.phase == Phase::Ready) else {
                continue;
            };
            if live.is_early(now.wall) {
                // The clock was set back while it waited for its turn.
                let due = live.intent.due;
                (live.phase, live.started) = (Phase::Armed(due), None);
                self.busy.leave(firing);
                self.timers.insert((due, Timer::Firing(firing)));
                continue;
            }
            if live.is_past_deadline(now.wall) {
                // It waited while nothing ran, or the host slept.
                self.give_up(firing, now);
                continue;
            }
            live.phase = Phase::Sending;
            live.first_sent.get_or_insert(now.wall);
            self.in_flight += 1;
            self.actions.push(Action::Send(Arc::clone(&live.intent)));
        }
    }

    /// Makes what was decided in this step one batch.
    fn flush(&mut self) {
        if !self.records.is_empty() || !self.events.is_empty() {
            let batch = Batch {
                id: self.next_batch,
                records: std::mem::take(&mut self.records),
                events: std::mem::take(&mut self.events),
            };
            self.next_batch += 1;
            self.actions.push(Action::Commit(batch));
        }
    }

    fn committed(&mut self, batch: u64, refused: &HashSet<FiringId>, now: Now) {
        if self.reloading == Some(batch) {
            self.reloading = None;
            self.actions.push(Action::Reloaded);
        }
        if self.opening == Some(batch) {
            self.opening = None;
        }
        if self.planning == Some(batch) {
            self.planning = None;
            // What did not fit into the slice.
            self.plan_ahead(now);
        }
        for firing in self.committing.remove(&batch).unwrap_or_default() {
            // A reload may have taken it back, or planned it anew, in the meantime.
            if self.live.get(&firing).is_none_or(|live| live.phase != Phase::Committing(batch)) {
                continue;
            }
            if refused.contains(&firing) {
                // The ledger already knows how this nominal time ended.
                self.take_out(firing);
            } else {
                self.arm(firing, now);
            }
        }
        self.answering.remove(&batch);
        self.forget_claims(batch);
    }

    /// Ends firings whose deadline passed while they waited for a token, a bucket or their turn.
    fn end_what_is_overdue(&mut self, now: Now) {
        let overdue: Vec<FiringId> = self
            .live
            .iter()
            .filter(|(_, live)| live.phase == Phase::Ready && live.is_past_deadline(now.wall))
            .map(|(firing, _)| *firing)
            .collect();
        for firing in overdue {
            self.give_up(firing, now);
        }
        let live = &self.live;
        self.ready.retain(|firing| live.get(firing).is_some_and(|l| l.phase == Phase::Ready));
    }

    fn stop(&mut self, now: Now) {
        self.stopping = true;
        let unsent: Vec<Arc<Intent>> = self
            .live
            .values()
            .filter(|live| live.can_be_withdrawn() && live.intent.due > now.wall)
            .filter(|live| self.plan.names(&live.intent))
            .map(|live| Arc::clone(&live.intent))
            .collect();
        let marks = self.withdraw(&unsent);
        self.records.extend(marks.into_iter().map(Record::Marked));
    }

    /// Takes back intents that were never sent; returns the marks that make room for them again.
    fn withdraw(&mut self, intents: &[Arc<Intent>]) -> Vec<Mark> {
        let mut lowest: HashMap<_, i64> = HashMap::new();
        for intent in intents {
            self.take_out(intent.firing_id);
            self.records.push(Record::Withdrawn(intent.firing_id));
            let before = intent.nominal.as_second() - 1;
            lowest.entry(&intent.entry).and_modify(|mark| *mark = (*mark).min(before)).or_insert(before);
        }
        let lowered = lowest.into_iter().filter_map(|(entry, second)| {
            self.plan.lower(&Mark { entry: entry.clone(), nominal: Nominal::from_second(second)? })
        });
        lowered.collect()
    }

    /// What is still under way is cut off: whether it started anything is not known.
    fn grace_over(&mut self, now: Now) {
        let cut: Vec<FiringId> = self
            .live
            .iter()
            .filter(|(_, live)| matches!(live.phase, Phase::Sending | Phase::Owning { .. }))
            .map(|(firing, _)| *firing)
            .collect();
        for firing in cut {
            self.cut_off(firing, now);
        }
        self.in_flight = 0;
    }

    fn say_if_stopped(&mut self) {
        if !self.stopping || self.stopped || self.in_flight > 0 {
            return;
        }
        // What cannot be found out in time is recorded as unknown when the grace is over.
        if self.live.values().any(|live| matches!(live.phase, Phase::Owning { .. })) {
            return;
        }
        self.stopped = true;
        let records = vec![Record::CleanStop(self.was_clean && self.stops_cleanly())];
        self.actions.push(Action::Commit(Batch { id: self.next_batch, records, events: Vec::new() }));
        self.next_batch += 1;
        self.actions.push(Action::Stopped(self.live.len() as u64));
    }

    /// Whether everything that may have left this host is recorded as such.
    fn stops_cleanly(&self) -> bool {
        self.live.values().all(|live| !live.may_have_been_sent_unrecorded())
    }

    /// A random id of a firing or a request.
    fn fresh_id(&mut self) -> FiringId {
        let mut random = [0_u8; 16];
        random[..8].copy_from_slice(&(self.random)().to_le_bytes());
        random[8..].copy_from_slice(&(self.random)().to_le_bytes());
        FiringId::from_random(random)
    }

    fn later(now: Timestamp, wait: Duration) -> Timestamp {
        now.checked_add(wait).unwrap_or(Timestamp::MAX)
    }
}
