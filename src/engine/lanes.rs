//! Lanes: what must not run at once. A lane is an entry, or a pipeline whoever starts its runs; it knows which of its
//! firings are under way, which wait at the gate for a look at what is running, and which are queued. Pure.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Intent;
use super::search::{Aim, aim};
use crate::config::OverlapScope;
use crate::ids::{EntryName, FiringId, RunId};

/// How old the state may be by which a firing is judged.
pub(super) const FRESH: Duration = Duration::from_secs(5);

/// Which lane.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
}

/// A lane.
#[derive(Debug)]
pub(super) struct Lane {
    /// A firing of it, which names its factory and pipeline.
    pub(super) of: Arc<Intent>,
    /// Firings that have passed the gate and are not over.
    busy: HashSet<FiringId>,
    /// Firings that wait for a look at what is running, in order.
    pub(super) at_gate: BTreeSet<(Timestamp, FiringId)>,
    /// Firings that wait for room, in order.
    pub(super) queue: BTreeSet<(Timestamp, FiringId)>,
    /// Runs of the pipeline that were not over at the last look, whoever started them.
    pub(super) others: Vec<RunId>,
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
            busy: HashSet::new(),
            at_gate: BTreeSet::new(),
            queue: BTreeSet::new(),
            others: Vec::new(),
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

    /// The firing has passed the gate.
    pub(super) fn occupy(&mut self, intent: &Arc<Intent>) {
        if intent.policy.is_gated() {
            let lane = self.lane(intent);
            lane.leave(intent);
            lane.busy.insert(intent.firing_id);
        }
    }

    /// The firing is over, or its run is followed from now on.
    pub(super) fn leave(&mut self, intent: &Intent) {
        if intent.policy.is_gated()
            && let Some(lane) = self.0.get_mut(&Key::of(intent))
        {
            lane.leave(intent);
        }
    }
}

impl Lane {
    /// Whether the state by which a firing would be judged is new enough.
    pub(super) fn is_fresh(&self, boot: Duration) -> bool {
        self.read_at.is_some_and(|at| boot.saturating_sub(at) <= FRESH)
    }

    fn is_empty(&self) -> bool {
        let idle = self.busy.is_empty() && self.at_gate.is_empty() && self.queue.is_empty() && !self.reading;
        // Since when nothing could be read must not be forgotten from one firing to the next.
        idle && self.unread_since.is_none()
    }

    /// Takes a firing out, wherever it is.
    pub(super) fn leave(&mut self, intent: &Intent) {
        let place = (intent.due, intent.firing_id);
        self.busy.remove(&intent.firing_id);
        self.at_gate.remove(&place);
        self.queue.remove(&place);
    }

    /// How many other firings have passed the gate and are not over.
    pub(super) fn busy_beside(&self, firing: FiringId) -> usize {
        self.busy.len() - usize::from(self.busy.contains(&firing))
    }
}
