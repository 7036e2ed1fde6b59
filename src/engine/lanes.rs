//! Lanes: what must not run at once. A lane is an entry, or a pipeline whoever starts its runs; it knows which of its
//! firings wait at the gate for a look at what is running, which are queued, and what the last look showed. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Intent;
use super::search::{Aim, aim};
use crate::config::OverlapScope;
use crate::ids::{EntryName, FiringId, RunId};

/// How old the state may be by which a firing is judged.
pub(super) const FRESH: Duration = Duration::from_secs(5);
/// How long what is not known counts as running.
pub(super) const UNKNOWN: Duration = Duration::from_secs(3_600);

/// Which lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Entry(EntryName),
    Pipeline(Aim),
}

impl Key {
    /// The lane of a firing, by its policy.
    pub(super) fn of(intent: &Intent) -> Self {
        match intent.policy.overlap_scope {
            OverlapScope::Entry => Self::Entry(intent.entry.clone()),
            OverlapScope::Pipeline => Self::Pipeline(aim(intent)),
        }
    }

    /// The lanes in which others may count a firing, whatever its own policy says.
    pub(super) fn both(intent: &Intent) -> [Self; 2] {
        [Self::Entry(intent.entry.clone()), Self::Pipeline(aim(intent))]
    }
}

/// Firings by the lanes that they belong to, so that those of one lane are counted without a look at all others.
#[derive(Debug, Default)]
pub(super) struct ByLane(HashMap<Key, HashSet<FiringId>>);

impl ByLane {
    pub(super) fn insert(&mut self, intent: &Intent) {
        for key in Key::both(intent) {
            self.0.entry(key).or_default().insert(intent.firing_id);
        }
    }

    pub(super) fn remove(&mut self, intent: &Intent) {
        for key in Key::both(intent) {
            if let Some(firings) = self.0.get_mut(&key) {
                firings.remove(&intent.firing_id);
                if firings.is_empty() {
                    self.0.remove(&key);
                }
            }
        }
    }

    /// How many there are in a lane.
    pub(super) fn count(&self, key: &Key) -> usize {
        self.0.get(key).map_or(0, HashSet::len)
    }

    /// Those of a lane, in any order.
    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = FiringId> {
        self.0.get(key).into_iter().flatten().copied()
    }

    /// Whether this one is in a lane.
    pub(super) fn holds(&self, key: &Key, firing: FiringId) -> bool {
        self.0.get(key).is_some_and(|firings| firings.contains(&firing))
    }
}

/// Where a firing waits in a lane: behind those that are due before, and with a backfill behind all that is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) is_backfill: bool,
    at: Timestamp,
    pub(super) firing: FiringId,
}

impl Place {
    pub(super) fn of(intent: &Intent) -> Self {
        let is_backfill = intent.backfill.is_some();
        let at = if is_backfill { intent.nominal.timestamp() } else { intent.due };
        Self { is_backfill, at, firing: intent.firing_id }
    }
}

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    /// A firing of it, which names its factory and pipeline.
    pub(super) of: Arc<Intent>,
    /// Firings that wait for a look at what is running, in order.
    pub(super) at_gate: BTreeSet<Place>,
    /// Firings that wait for room, in order.
    pub(super) queue: BTreeSet<Place>,
    /// Runs of the pipeline that are known but not followed, and when each was last known not to be over, on the boot
    /// clock. None is the run of a firing that counts by itself.
    pub(super) others: HashMap<RunId, Duration>,
    /// When the last look that was answered began, on the boot clock.
    pub(super) read_at: Option<Duration>,
    /// Whether a look is under way.
    pub(super) reading: bool,
    /// When the next look may begin.
    pub(super) next_read: Duration,
    /// Since when looks have had no answer.
    pub(super) unread_since: Option<Duration>,
}

/// All lanes with something in them.
#[derive(Debug, Default)]
pub(super) struct Lanes(BTreeMap<Key, Lane>);

impl Lanes {
    /// The lane of a firing.
    pub(super) fn lane(&mut self, intent: &Arc<Intent>) -> &mut Lane {
        self.0.entry(Key::of(intent)).or_insert_with(|| Lane {
            of: Arc::clone(intent),
            at_gate: BTreeSet::new(),
            queue: BTreeSet::new(),
            others: HashMap::new(),
            read_at: None,
            reading: false,
            next_read: Duration::ZERO,
            unread_since: None,
        })
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Lane> {
        self.0.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Lane> {
        self.0.get_mut(key)
    }

    /// The lanes, in order; those with nothing in them are forgotten.
    pub(super) fn keys(&mut self) -> Vec<Key> {
        self.0.retain(|_, lane| !lane.is_empty());
        self.0.keys().cloned().collect()
    }

    /// Whether there are none: then nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The firing waits in its lane no longer.
    pub(super) fn leave(&mut self, intent: &Intent) {
        if !self.is_empty()
            && let Some(lane) = self.0.get_mut(&Key::of(intent))
        {
            lane.leave(intent);
        }
    }

    /// The firing counts by itself, which its run must not do as well.
    pub(super) fn counts_itself(&mut self, intent: &Intent, run: RunId) {
        if let Some(lane) = self.pipeline_of(intent) {
            lane.others.remove(&run);
        }
    }

    /// The firing was accepted at this time, and what becomes of its run is not followed.
    pub(super) fn let_go(&mut self, intent: &Intent, run: RunId, at: Duration) {
        if let Some(lane) = self.pipeline_of(intent) {
            lane.others.insert(run, at);
        }
    }

    /// More may be running in the pipeline of this firing than is known.
    pub(super) fn doubt(&mut self, intent: &Intent) {
        if let Some(lane) = self.pipeline_of(intent) {
            lane.read_at = None;
        }
    }

    fn pipeline_of(&mut self, intent: &Intent) -> Option<&mut Lane> {
        if self.is_empty() { None } else { self.0.get_mut(&Key::Pipeline(aim(intent))) }
    }
}

impl Lane {
    /// Whether the state by which a firing would be judged is new enough.
    pub(super) fn is_fresh(&self, boot: Duration) -> bool {
        self.read_at.is_some_and(|at| boot.saturating_sub(at) <= FRESH)
    }

    fn is_empty(&self) -> bool {
        let idle = self.at_gate.is_empty() && self.queue.is_empty() && !self.reading;
        // Since when nothing could be read must not be forgotten from one firing to the next.
        idle && self.unread_since.is_none()
    }

    /// Takes a firing out, wherever it waits.
    pub(super) fn leave(&mut self, intent: &Intent) {
        let place = Place::of(intent);
        self.at_gate.remove(&place);
        self.queue.remove(&place);
    }
}
