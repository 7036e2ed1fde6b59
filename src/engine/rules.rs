//! What a change of the rules by which cron expressions are read does to entries that nobody has edited.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Engine, Schedule, announce};
use crate::config::Entry;
use crate::ids::Nominal;
use crate::schedule::CronRules;

/// So many nominal times of an entry are compared to find the first by which two readings differ: `*/5` has as many in a
/// month.
const COMPARED: usize = 10_000;

impl Engine {
    /// Names the entries of a new schedule that are as they were `before`, and whose times differ from now on since
    /// cron expressions are no longer read by the rules of then.
    pub(super) fn say_what_is_read_otherwise(
        &mut self,
        before: &[Arc<Entry>],
        then: CronRules,
        schedule: &Schedule,
        swap: Nominal,
    ) {
        if then == schedule.rules {
            return;
        }
        let before: HashMap<_, _> =
            before.iter().filter(|entry| entry.enabled).map(|entry| (&entry.name, entry)).collect();
        for entry in schedule.entries.iter().filter(|entry| entry.enabled) {
            let old = before.get(&entry.name).map(|old| &old.calendar);
            let old = old.filter(|old| !old.same_as(&entry.calendar));
            // One that was edited as well has other times for that.
            let unedited = |old: &&Arc<_>| entry.calendar.read_by(then).is_some_and(|read| read.same_as(old));
            let Some(old) = old.filter(unedited) else { continue };
            let differs = entry.calendar.differs_at(old, swap, COMPARED);
            let from = differs.and_then(|at| Nominal::from_second(at.as_second() - 1)).unwrap_or(swap);
            let (next, next_before) = (entry.calendar.next_after(from), old.next_after(from));
            self.events.push(announce::read_otherwise(entry, next, next_before));
        }
    }
}
