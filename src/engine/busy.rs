//! Firings that count as running though no run of theirs is followed: those under way beyond the gate, whatever their
//! policy says and whoever asked for them, and those that wait for a person, for a while. Pure.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::Intent;
use super::lanes::{ByLane, Key};
use crate::ids::FiringId;

/// All such firings.
#[derive(Debug, Default)]
pub(super) struct Busy {
    by_lane: ByLane,
    /// Each with the time until which it counts, if there is an end to that.
    firings: HashMap<FiringId, (Arc<Intent>, Option<Duration>)>,
    /// Those times, on the boot clock.
    ends: BTreeSet<(Duration, FiringId)>,
}

impl Busy {
    /// A firing counts until it leaves, or until this time.
    pub(super) fn insert(&mut self, intent: &Arc<Intent>, until: Option<Duration>) {
        let firing = intent.firing_id;
        let before = self.firings.insert(firing, (Arc::clone(intent), until));
        match before {
            Some((_, until)) => self.forget_end(firing, until),
            None => self.by_lane.insert(intent),
        }
        self.ends.extend(until.map(|at| (at, firing)));
    }

    /// A firing counts no longer.
    pub(super) fn leave(&mut self, firing: FiringId) {
        if let Some((intent, until)) = self.firings.remove(&firing) {
            self.forget_end(firing, until);
            self.by_lane.remove(&intent);
        }
    }

    fn forget_end(&mut self, firing: FiringId, until: Option<Duration>) {
        if let Some(at) = until {
            self.ends.remove(&(at, firing));
        }
    }

    /// Takes out one that has counted for long enough, if there is one.
    pub(super) fn pop_expired(&mut self, now: Duration) -> Option<Arc<Intent>> {
        let (_, firing) = self.ends.first().filter(|(at, _)| *at <= now).copied()?;
        let intent = self.firings.get(&firing).map(|(intent, _)| Arc::clone(intent));
        self.leave(firing);
        intent
    }

    /// Whether this one counts.
    pub(super) fn holds(&self, firing: FiringId) -> bool {
        self.firings.contains_key(&firing)
    }

    /// How many of a lane count, but for this one.
    pub(super) fn beside(&self, key: &Key, firing: FiringId) -> usize {
        self.by_lane.count(key) - usize::from(self.by_lane.holds(key, firing))
    }

    /// Those of a lane, as their intents.
    pub(super) fn intents_in(&self, key: &Key) -> impl Iterator<Item = &Arc<Intent>> {
        self.by_lane.of(key).filter_map(|firing| Some(&self.firings.get(&firing)?.0))
    }

    /// Those of a lane.
    pub(super) fn of(&self, key: &Key) -> impl Iterator<Item = FiringId> {
        self.by_lane.of(key)
    }
}
