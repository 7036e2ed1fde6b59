//! The keys that `defaults:` and an entry have in common, read one by one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::collect::{Collector, join};
use super::problem::Found;
use super::value::{Moment, duration_within};
use super::{
    Missed, OnDeadline, OnUnknown, Overlap, OverlapScope, Policy, RecoverFrom, Recovery, except, raw,
};
use crate::ids::{FactoryName, ResourceGroup, SubscriptionId};
use crate::retry::RetryPolicy;
use crate::schedule::{DstGap, DstOverlap, Except, Zone};

/// The keys that `defaults:` and an entry have in common, as far as they are given.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    pub(super) timezone: Option<Zone>,
    pub(super) start: Option<Moment>,
    pub(super) end: Option<Moment>,
    pub(super) jitter: Option<Duration>,
    pub(super) dst_gap: Option<DstGap>,
    pub(super) dst_overlap: Option<DstOverlap>,
    pub(super) except: Option<Arc<Except>>,
    pub(super) enabled: Option<bool>,
    pub(super) subscription: Option<SubscriptionId>,
    pub(super) resource_group: Option<ResourceGroup>,
    pub(super) factory: Option<FactoryName>,
    pub(super) parameters: Map<String, Value>,
    pub(super) policy: PolicyKeys,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct PolicyKeys {
    pub(super) priority: Option<i32>,
    pub(super) late_after: Option<Duration>,
    pub(super) missed: Option<Missed>,
    pub(super) missed_within: Option<Duration>,
    pub(super) missed_max: Option<u32>,
    pub(super) max_attempts: Option<u32>,
    pub(super) initial: Option<Duration>,
    pub(super) max: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) settle: Option<Duration>,
    pub(super) on_unknown: Option<OnUnknown>,
    pub(super) follow: Option<bool>,
    pub(super) run_deadline: Option<Duration>,
    pub(super) on_deadline: Option<OnDeadline>,
    pub(super) overlap: Option<Overlap>,
    pub(super) overlap_scope: Option<OverlapScope>,
    pub(super) max_queued: Option<u32>,
    pub(super) max_active: Option<u32>,
    pub(super) recovery: RecoveryKeys,
    pub(super) pause_after_failures: Option<u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RecoveryKeys {
    /// Whether there is any of it.
    given: bool,
    max: Option<u32>,
    delay: Option<Duration>,
    from: Option<RecoverFrom>,
}

impl RecoveryKeys {
    fn or(&self, defaults: &Self) -> Self {
        Self {
            given: self.given || defaults.given,
            max: self.max.or(defaults.max),
            delay: self.delay.or(defaults.delay),
            from: self.from.clone().or_else(|| defaults.from.clone()),
        }
    }

    fn recovery(&self) -> Option<Recovery> {
        let shipped = Recovery::default();
        let recovery = Recovery {
            max: self.max.unwrap_or(shipped.max),
            delay: self.delay.unwrap_or(shipped.delay),
            from: self.from.clone().unwrap_or(shipped.from),
        };
        (self.given && recovery.max > 0).then_some(recovery)
    }
}

impl PolicyKeys {
    /// These keys, and of those that are not given the ones of `defaults`.
    pub(super) fn or(&self, defaults: &Self) -> Self {
        Self {
            priority: self.priority.or(defaults.priority),
            late_after: self.late_after.or(defaults.late_after),
            missed: self.missed.or(defaults.missed),
            missed_within: self.missed_within.or(defaults.missed_within),
            missed_max: self.missed_max.or(defaults.missed_max),
            max_attempts: self.max_attempts.or(defaults.max_attempts),
            initial: self.initial.or(defaults.initial),
            max: self.max.or(defaults.max),
            deadline: self.deadline.or(defaults.deadline),
            timeout: self.timeout.or(defaults.timeout),
            settle: self.settle.or(defaults.settle),
            on_unknown: self.on_unknown.or(defaults.on_unknown),
            follow: self.follow.or(defaults.follow),
            run_deadline: self.run_deadline.or(defaults.run_deadline),
            on_deadline: self.on_deadline.or(defaults.on_deadline),
            overlap: self.overlap.or(defaults.overlap),
            overlap_scope: self.overlap_scope.or(defaults.overlap_scope),
            max_queued: self.max_queued.or(defaults.max_queued),
            max_active: self.max_active.or(defaults.max_active),
            recovery: self.recovery.or(&defaults.recovery),
            pause_after_failures: self.pause_after_failures.or(defaults.pause_after_failures),
        }
    }

    pub(super) fn policy(&self) -> Policy {
        let shipped = Policy::default();
        let retry = shipped.retry;
        Policy {
            priority: self.priority.unwrap_or(shipped.priority),
            late_after: self.late_after.unwrap_or(shipped.late_after),
            missed: self.missed.unwrap_or(shipped.missed),
            missed_within: self.missed_within.unwrap_or(shipped.missed_within),
            missed_max: self.missed_max.unwrap_or(shipped.missed_max),
            retry: RetryPolicy {
                max_attempts: self.max_attempts.unwrap_or(retry.max_attempts),
                initial: self.initial.unwrap_or(retry.initial),
                max: self.max.unwrap_or(retry.max),
                deadline: self.deadline.unwrap_or(retry.deadline),
            },
            timeout: self.timeout.unwrap_or(shipped.timeout),
            settle: self.settle.unwrap_or(shipped.settle),
            on_unknown: self.on_unknown.unwrap_or(shipped.on_unknown),
            follow: self.follow.unwrap_or(shipped.follow),
            run_deadline: self.run_deadline,
            on_deadline: self.on_deadline.unwrap_or(shipped.on_deadline),
            overlap: self.overlap.unwrap_or(shipped.overlap),
            overlap_scope: self.overlap_scope.unwrap_or(shipped.overlap_scope),
            max_queued: self.max_queued.unwrap_or(shipped.max_queued),
            max_active: self.max_active,
            recovery: self.recovery.recovery(),
            pause_after_failures: self.pause_after_failures.filter(|failures| *failures > 0),
        }
    }
}

/// Reads `defaults:`.
pub(super) fn defaults(collector: &mut Collector<'_>, mut raw: raw::Entry) -> Keys {
    let own = [
        ("name", raw.name.take().is_some()),
        ("pipeline", raw.pipeline.take().is_some()),
        ("schedule", raw.schedule.take().is_some()),
    ];
    for (key, _) in own.into_iter().filter(|(_, given)| *given) {
        let message = format!("`{key}` is each entry's own and has no default");
        collector.note(Found::key(join("defaults", key), message));
    }
    keys(collector, "defaults", raw)
}

pub(super) fn keys(collector: &mut Collector<'_>, path: &str, raw: raw::Entry) -> Keys {
    let keys = Keys {
        timezone: collector.zone(path, "timezone", raw.timezone),
        start: collector.read(path, "start", raw.start, |text| Moment::parse(&text)),
        end: collector.read(path, "end", raw.end, |text| Moment::parse(&text)),
        jitter: collector.read(path, "jitter", raw.jitter, |text| duration_within(&text, "0s", "1d")),
        dst_gap: collector.take(path, "dst_gap", raw.dst_gap),
        dst_overlap: collector.take(path, "dst_overlap", raw.dst_overlap),
        except: except::read(collector, &join(path, "except"), raw.except),
        enabled: collector.take(path, "enabled", raw.enabled),
        subscription: collector
            .read(path, "subscription_id", raw.subscription_id, |text| SubscriptionId::new(&text)),
        resource_group: collector
            .read(path, "resource_group", raw.resource_group, |text| ResourceGroup::new(&text)),
        factory: collector.read(path, "factory", raw.factory, |text| FactoryName::new(&text)),
        parameters: collector.take(path, "parameters", raw.parameters).unwrap_or_default(),
        policy: PolicyKeys::default(),
    };
    let retry = match raw.retry {
        Some(value) => collector.section(&join(path, "retry"), value).unwrap_or_default(),
        None => raw::Retry::default(),
    };
    let recovery = raw.recovery.map(|value| {
        let path = join(path, "recovery");
        let raw = collector.section(&path, value).unwrap_or_default();
        recovery_keys(collector, &path, raw)
    });
    let mut duration = |key, field, least: &str, most: &str| {
        collector.read(path, key, field, |text: String| duration_within(&text, least, most))
    };
    let mut policy = PolicyKeys {
        late_after: duration("late_after", raw.late_after, "1s", "30d"),
        missed_within: duration("missed_within", raw.missed_within, "0s", "366d"),
        timeout: duration("timeout", raw.timeout, "1s", "10m"),
        settle: duration("settle", raw.settle, "0s", "1h"),
        run_deadline: duration("run_deadline", raw.run_deadline, "1s", "30d"),
        ..PolicyKeys::default()
    };
    policy.priority = collector.take(path, "priority", raw.priority);
    policy.missed = collector.take(path, "missed", raw.missed);
    policy.missed_max =
        collector.read(path, "missed_max", raw.missed_max, |number| within(number, 1, 10_000));
    policy.on_unknown = collector.take(path, "on_unknown", raw.on_unknown);
    policy.follow = collector.take(path, "follow", raw.follow);
    policy.on_deadline = collector.take(path, "on_deadline", raw.on_deadline);
    policy.overlap = collector.take(path, "overlap", raw.overlap);
    policy.overlap_scope = collector.take(path, "overlap_scope", raw.overlap_scope);
    policy.max_queued =
        collector.read(path, "max_queued", raw.max_queued, |number| within(number, 1, 10_000));
    policy.max_active =
        collector.read(path, "max_active", raw.max_active, |number| within(number, 1, 10_000));
    policy.recovery = recovery.unwrap_or_default();
    policy.pause_after_failures =
        collector
            .read(path, "pause_after_failures", raw.pause_after_failures, |number| within(number, 0, 1_000));
    retry_keys(collector, &join(path, "retry"), retry, &mut policy);
    Keys { policy, ..keys }
}

fn retry_keys(collector: &mut Collector<'_>, path: &str, raw: raw::Retry, policy: &mut PolicyKeys) {
    let mut duration = |key, field, least: &str, most: &str| {
        collector.read(path, key, field, |text: String| duration_within(&text, least, most))
    };
    policy.initial = duration("initial", raw.initial, "10ms", "1h");
    policy.max = duration("max", raw.max, "10ms", "1d");
    policy.deadline = duration("deadline", raw.deadline, "0s", "7d");
    policy.max_attempts =
        collector.read(path, "max_attempts", raw.max_attempts, |number| within(number, 1, 100));
}

fn recovery_keys(collector: &mut Collector<'_>, path: &str, raw: raw::Recovery) -> RecoveryKeys {
    let from = collector.take(path, "from", raw.from);
    if from == Some(RecoverFrom::Activity(String::new())) {
        collector.wrong(path, "from", "the activity has no name");
    }
    RecoveryKeys {
        given: true,
        max: collector.read(path, "max", raw.max, |number| within(number, 0, 10)),
        delay: collector.read(path, "delay", raw.delay, |text: String| duration_within(&text, "0s", "7d")),
        from,
    }
}

fn within(number: u32, least: u32, most: u32) -> Result<u32, String> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("must be between {least} and {most}"))
    }
}
