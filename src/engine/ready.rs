//! The firings that could be sent now, and why some must still wait: Data Factory asked for a pause
//! of their bucket, or there is no token.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::Intent;
use crate::ids::{FiringId, SubscriptionId};

/// Higher priority first, then the earlier due time, then the order in which they came.
type Rank = (Reverse<i32>, Timestamp, u64);

/// What Azure throttles together: ARM counts writes by subscription and caller (ARM limits page,
/// "token bucket per region, subscription and service principal").
#[derive(Debug, Default)]
struct Bucket {
    ready: BTreeMap<Rank, FiringId>,
    paused_until: Option<Timestamp>,
}

/// All buckets.
#[derive(Debug, Default)]
pub(super) struct Ready {
    buckets: HashMap<SubscriptionId, Bucket>,
    next: u64,
}

impl Ready {
    /// Adds a firing that may be sent as soon as there is room.
    pub(super) fn push(&mut self, intent: &Intent) {
        self.next += 1;
        let rank = (Reverse(intent.policy.priority), intent.due, self.next);
        let bucket = self.buckets.entry(intent.factory.subscription.clone()).or_default();
        bucket.ready.insert(rank, intent.firing_id);
    }

    /// Takes the firing that should be sent first, if any may be sent at `now`.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<FiringId> {
        let bucket = self
            .buckets
            .values_mut()
            .filter(|bucket| bucket.paused_until.is_none_or(|until| until <= now))
            .filter(|bucket| !bucket.ready.is_empty())
            .min_by_key(|bucket| bucket.ready.first_key_value().map(|(rank, _)| *rank))?;
        bucket.ready.pop_first().map(|(_, firing)| firing)
    }

    /// Pauses a bucket; returns whether that is news (it was not paused before).
    pub(super) fn pause(&mut self, subscription: &SubscriptionId, now: Timestamp, until: Timestamp) -> bool {
        let bucket = self.buckets.entry(subscription.clone()).or_default();
        let news = bucket.paused_until.is_none_or(|end| end <= now);
        bucket.paused_until = bucket.paused_until.max(Some(until));
        news
    }

    /// When the bucket of this subscription may be used again, if it is paused at `now`.
    pub(super) fn paused_until(&self, subscription: &SubscriptionId, now: Timestamp) -> Option<Timestamp> {
        self.buckets.get(subscription)?.paused_until.filter(|until| *until > now)
    }

    /// Moves the ends of all pauses; returns them.
    pub(super) fn move_pauses(
        &mut self,
        moved: impl Fn(Timestamp) -> Timestamp,
    ) -> Vec<(SubscriptionId, Timestamp)> {
        let paused = self.buckets.iter_mut().filter_map(|(subscription, bucket)| {
            bucket.paused_until = bucket.paused_until.map(&moved);
            bucket.paused_until.map(|until| (subscription.clone(), until))
        });
        paused.collect()
    }

    /// Removes firings that are not to be sent after all.
    pub(super) fn retain(&mut self, keep: impl Fn(&FiringId) -> bool) {
        for bucket in self.buckets.values_mut() {
            bucket.ready.retain(|_, firing| keep(firing));
        }
    }
}
