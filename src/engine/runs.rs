//! The runs that are followed, indexed by what they are asked about: their ids, their factories, and when each is
//! to be asked for or is overdue. All times but those shown to people are on the clock that never steps. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Intent;
use super::lanes::{ByLane, Key};
use crate::ids::{Factory, FiringId, RunId};

/// A run asked for by its id is asked for again after so much of the time that it has been followed, in parts: a
/// run of hours need not be asked for each minute.
const PART: u32 = 8;
/// But it is asked for at least so often.
const SELDOM: Duration = Duration::from_secs(3_600);
/// The least time whose updates a pass reads. More than it may read in so little is more than ARM lets anybody read.
const LEAST_SPAN: Duration = Duration::from_secs(60);

/// A run that is followed.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) intent: Arc<Intent>,
    pub(super) id: RunId,
    /// When it was accepted.
    pub(super) accepted_at: Timestamp,
    /// What the service calls it; empty while nothing is known.
    pub(super) status: String,
    /// Since when it is followed.
    since: Duration,
    /// When it was last shown.
    pub(super) heard: Duration,
    /// Since when a factory that answers does not know it.
    pub(super) absent_since: Option<Duration>,
    /// When it is asked for by its id.
    due: Duration,
    /// When it is overdue, if that is not known already.
    deadline: Option<Duration>,
}

/// A factory with runs that are followed.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) factory: Factory,
    /// What was updated since this has not all been read.
    pub(super) since: Timestamp,
    /// How much time a pass reads the updates of, where all until now are more than one may read.
    pub(super) span: Option<Duration>,
    /// When the next pass may begin.
    pub(super) next: Duration,
    /// When the query may be asked again, if it was refused.
    pub(super) list_again: Duration,
    /// The same of runs by their ids, which is another right.
    pub(super) show_again: Duration,
    /// The pass under way: what it reads the updates since.
    pub(super) under_way: Option<Option<Timestamp>>,
    /// Since when the query has had no answer, and whether that is said.
    pub(super) unlisted: Option<(Duration, bool)>,
    /// The same of runs by their ids.
    pub(super) unshown: Option<(Duration, bool)>,
    /// Its runs by when they are asked for by their ids.
    due: BTreeSet<(Duration, FiringId)>,
}

impl Watch {
    /// More was updated than one pass may read, in `asked` or in the span of the last: the next reads half of that.
    /// Returns whether it can.
    pub(super) fn narrow(&mut self, asked: Duration) -> bool {
        let last = self.span.map_or(asked, |span| span.min(asked));
        self.span = Some((last / 2).max(LEAST_SPAN));
        last > LEAST_SPAN
    }

    /// A pass read less than half of what it may: the next reads twice as much time, or all of `left`.
    pub(super) fn widen(&mut self, left: Duration) {
        self.span = self.span.map(|span| span * 2).filter(|span| *span < left);
    }
}

/// All runs that are followed.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: HashMap<FiringId, Run>,
    /// By factory and id: a service that names a run of another factory must not make two firings one.
    by_id: HashMap<(String, RunId), FiringId>,
    /// By `Factory::key`.
    watches: HashMap<String, Watch>,
    deadlines: BTreeSet<(Duration, FiringId)>,
    by_lane: ByLane,
}

/// A run to be followed from now on.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) intent: Arc<Intent>,
    pub(super) run: RunId,
    /// It was updated at or after this.
    pub(super) since: Timestamp,
    pub(super) accepted_at: Timestamp,
    pub(super) status: String,
    /// When it is overdue, if that is not known already.
    pub(super) deadline: Option<Duration>,
}

impl Runs {
    /// Follows a run from `now` on; it is asked for by its id when it was not shown for `patience`.
    pub(super) fn begin(&mut self, begun: Begun, patience: Duration, now: Duration) {
        let firing = begun.intent.firing_id;
        let factory = &begun.intent.factory;
        let watch = self.watches.entry(factory.key()).or_insert_with(|| Watch {
            factory: factory.clone(),
            since: begun.since,
            span: None,
            next: now,
            list_again: now,
            show_again: now,
            under_way: None,
            unlisted: None,
            unshown: None,
            due: BTreeSet::new(),
        });
        watch.since = watch.since.min(begun.since);
        let due = now + patience;
        watch.due.insert((due, firing));
        self.deadlines.extend(begun.deadline.map(|at| (at, firing)));
        self.by_id.insert((factory.key(), begun.run), firing);
        self.by_lane.insert(&begun.intent);
        let run = Run {
            id: begun.run,
            accepted_at: begun.accepted_at,
            status: begun.status,
            since: now,
            heard: now,
            absent_since: None,
            due,
            deadline: begun.deadline,
            intent: begun.intent,
        };
        self.runs.insert(firing, run);
    }

    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn get(&self, firing: FiringId) -> Option<&Run> {
        self.runs.get(&firing)
    }

    /// The firing whose run this is, in this factory.
    pub(super) fn firing_of(&self, factory: &str, run: RunId) -> Option<FiringId> {
        self.by_id.get(&(factory.to_owned(), run)).copied()
    }

    /// The service showed a run.
    pub(super) fn heard(&mut self, firing: FiringId, status: &str, patience: Duration, now: Duration) {
        let Some(run) = self.runs.get_mut(&firing) else { return };
        run.heard = now;
        run.absent_since = None;
        status.clone_into(&mut run.status);
        let part = (now.saturating_sub(run.since) / PART).min(SELDOM);
        self.ask_again(firing, now + patience.max(part));
    }

    /// A factory that answers does not know the run; returns for how long, and for how long it has been followed.
    pub(super) fn absent(
        &mut self,
        firing: FiringId,
        again: Duration,
        now: Duration,
    ) -> Option<(Duration, Duration)> {
        let run = self.runs.get_mut(&firing)?;
        let (absent, followed) = (*run.absent_since.get_or_insert(now), run.since);
        self.ask_again(firing, now + again);
        Some((now.saturating_sub(absent), now.saturating_sub(followed)))
    }

    /// The run is asked for by its id at this time.
    pub(super) fn ask_again(&mut self, firing: FiringId, at: Duration) {
        let Some(run) = self.runs.get_mut(&firing) else { return };
        if let Some(watch) = self.watches.get_mut(&run.intent.factory.key()) {
            watch.due.remove(&(run.due, firing));
            watch.due.insert((at, firing));
        }
        run.due = at;
    }

    /// The run is followed no longer.
    pub(super) fn end(&mut self, firing: FiringId) -> Option<Run> {
        let run = self.runs.remove(&firing)?;
        if let Some(deadline) = run.deadline {
            self.deadlines.remove(&(deadline, firing));
        }
        let key = run.intent.factory.key();
        if let Some(watch) = self.watches.get_mut(&key) {
            watch.due.remove(&(run.due, firing));
        }
        self.by_id.remove(&(key, run.id));
        self.by_lane.remove(&run.intent);
        Some(run)
    }

    /// How many runs of a lane are not over.
    pub(super) fn count_in(&self, lane: &Key) -> usize {
        self.by_lane.count(lane)
    }

    /// The firings of a lane whose runs are not over, in one order.
    pub(super) fn firings_in(&self, lane: &Key) -> Vec<FiringId> {
        let mut firings: Vec<FiringId> = self.by_lane.of(lane).collect();
        firings.sort();
        firings
    }

    /// The runs of a lane that are not over, in any order.
    pub(super) fn all_in(&self, lane: &Key) -> impl Iterator<Item = &Run> {
        self.by_lane.of(lane).filter_map(|firing| self.runs.get(&firing))
    }

    /// The next run that is overdue at `now` and was not before.
    pub(super) fn pop_overdue(&mut self, now: Duration) -> Option<FiringId> {
        let (at, _) = self.deadlines.first()?;
        if *at > now {
            return None;
        }
        let (_, firing) = self.deadlines.pop_first()?;
        if let Some(run) = self.runs.get_mut(&firing) {
            run.deadline = None;
        }
        Some(firing)
    }

    /// The factories in which a pass is due, in one order; those with no runs any more are forgotten.
    pub(super) fn due_watches(&mut self, now: Duration) -> Vec<String> {
        self.watches.retain(|_, watch| !watch.due.is_empty() || watch.under_way.is_some());
        let due = self.watches.iter().filter(|(_, watch)| watch.under_way.is_none() && watch.next <= now);
        let mut due: Vec<String> = due.map(|(key, _)| key.clone()).collect();
        due.sort();
        due
    }

    /// For how long the query of a factory has had no answer.
    pub(super) fn unread_for(&self, factory: &Factory, now: Duration) -> Duration {
        let blocked = self.watches.get(&factory.key()).and_then(|watch| watch.unlisted);
        blocked.map_or(Duration::ZERO, |(since, _)| now.saturating_sub(since))
    }

    pub(super) fn watch(&mut self, key: &str) -> Option<&mut Watch> {
        self.watches.get_mut(key)
    }

    /// The first so many of a factory's runs that are to be asked for by their ids at `now`.
    pub(super) fn stragglers(&self, key: &str, most: usize, now: Duration) -> Vec<FiringId> {
        let due = self.watches.get(key).into_iter().flat_map(|watch| &watch.due);
        due.take_while(|(at, _)| *at <= now).take(most).map(|(_, firing)| *firing).collect()
    }
}
