//! A new schedule takes the place of the old one, at one instant.
//!
//! Firings whose nominal time is not after that instant are carried out by the schedule that planned
//! them. A new entry, or one whose calendar changed, fires nothing from the past.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::plan::{Plan, Slot};
use super::{Engine, Schedule, announce};
use crate::clock::Now;
use crate::config::Entry;
use crate::ids::{EntryName, Nominal};
use crate::ledger::{Intent, Loaded, Mark, Reason, Record};
use crate::schedule::Fingerprint;

type Intents = Vec<Arc<Intent>>;

/// What a schedule changes, entry by entry.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Entries that begin at the swap instant, with their marks.
    pub(super) begun: Vec<(Mark, Fingerprint)>,
    /// The same, by their names alone.
    anew: HashSet<EntryName>,
    /// How many of those had another calendar before.
    pub(super) moved: usize,
    /// Entries that are gone or disabled.
    pub(super) ended: Vec<EntryName>,
    /// The enabled entries.
    pub(super) slots: HashMap<EntryName, Slot>,
}

impl Changes {
    /// Why the calendar that an entry had is over, if it is.
    pub(super) fn ends(&self, name: &EntryName) -> Option<Reason> {
        if !self.slots.contains_key(name) {
            return Some(Reason::Removed);
        }
        self.anew.contains(name).then_some(Reason::Changed)
    }

    /// Compares the enabled entries with what was in force: `known` gives an entry's mark and calendar, `slots`
    /// what else is known of it.
    pub(super) fn between(
        known: &HashMap<&EntryName, (Nominal, Fingerprint)>,
        slots: &HashMap<EntryName, Slot>,
        entries: &[Arc<Entry>],
        swap: Nominal,
    ) -> Self {
        let mut changes = Self::default();
        for entry in entries.iter().filter(|entry| entry.enabled) {
            let fingerprint = entry.calendar.fingerprint();
            let mark = match known.get(&entry.name) {
                Some((mark, before)) if *before == fingerprint => *mark,
                before => {
                    changes.moved += usize::from(before.is_some());
                    let mark = Mark { entry: entry.name.clone(), nominal: swap };
                    changes.begun.push((mark, fingerprint));
                    changes.anew.insert(entry.name.clone());
                    swap
                }
            };
            let same = slots.get(&entry.name).filter(|slot| slot.mark == mark);
            let same = same.filter(|slot| slot.entry.calendar.same_as(&entry.calendar));
            let slot = match same {
                Some(slot) => slot.with(Arc::clone(entry)),
                None => {
                    let begun = changes.anew.contains(&entry.name).then_some(swap);
                    Slot::new(Arc::clone(entry), mark, begun)
                }
            };
            changes.slots.insert(entry.name.clone(), slot);
        }
        let slots = &changes.slots;
        changes.ended =
            known.keys().filter(|name| !slots.contains_key(**name)).map(|name| (*name).clone()).collect();
        changes
    }
}

impl Engine {
    /// Puts a schedule in force. Memory changes first, so that nothing of the old plan fires after this
    /// instant; then one transaction makes it durable.
    pub(super) fn reload(&mut self, schedule: &Schedule, now: Now) {
        if self.stopping {
            return;
        }
        let swap = Nominal::at_or_before(now.wall);
        let known = self
            .plan
            .slots
            .values()
            .map(|slot| (&slot.entry.name, (slot.mark, slot.entry.calendar.fingerprint())))
            .collect();
        let changes = Changes::between(&known, &self.plan.slots, &schedule.entries, swap);
        let edited = schedule
            .entries
            .iter()
            .filter(|entry| {
                let before = self.plan.slots.get(&entry.name);
                entry.enabled && before.is_some_and(|slot| !slot.entry.same_as(entry))
            })
            .count();
        let (changed, removed) = self.unsent_after(swap, &changes);
        for (_, intents) in removed {
            self.skip_planned(&intents, Reason::Removed, now.wall);
        }
        let before: Vec<_> = self.plan.slots.values().map(|slot| Arc::clone(&slot.entry)).collect();
        self.say_what_is_read_otherwise(&before, self.plan.rules, schedule, swap);
        let added = changes.begun.len() - changes.moved;
        let over = self.plan.slots.values().filter_map(|slot| {
            changes.ends(&slot.entry.name).map(|why| (Arc::clone(&slot.entry), slot.mark, why))
        });
        for (entry, mark, why) in over.collect::<Vec<_>>() {
            self.keep_calendar(&entry, now);
            self.close_calendar(&entry, mark, swap, why, now);
        }
        self.put_in_force(schedule, changes, now, (added, edited));
        let marks = self.withdraw(&changed);
        self.records.extend(marks.into_iter().map(Record::Marked));
        self.reloading = Some(self.next_batch);
        // What the old plan was about to commit is behind this batch's back: it was taken back above.
        self.planning = None;
        self.refill = true;
        self.plan_ahead(now);
    }

    /// The planned, unsent firings after `swap` whose entry changed, and those whose entry ended.
    fn unsent_after(&self, swap: Nominal, changes: &Changes) -> (Intents, HashMap<EntryName, Intents>) {
        let mut changed = Vec::new();
        let mut removed: HashMap<EntryName, Intents> = HashMap::new();
        for live in self.live.values() {
            let intent = &live.intent;
            if !live.can_be_withdrawn() || intent.nominal <= swap {
                continue;
            }
            match (changes.slots.get(&intent.entry), self.plan.slots.get(&intent.entry)) {
                (Some(new), Some(old)) if new.entry.same_as(&old.entry) => {}
                (Some(_), _) => changed.push(Arc::clone(intent)),
                (None, _) => removed.entry(intent.entry.clone()).or_default().push(Arc::clone(intent)),
            }
        }
        (changed, removed)
    }

    /// Records the schedule and takes up its plan.
    pub(super) fn put_in_force(
        &mut self,
        schedule: &Schedule,
        changes: Changes,
        now: Now,
        (added, changed): (usize, usize),
    ) {
        self.events.push(announce::loaded(
            &schedule.version,
            changes.slots.len(),
            added,
            changed,
            changes.ended.len(),
        ));
        self.records.push(Record::Loaded(Box::new(Loaded {
            version: Arc::clone(&schedule.version),
            text: Arc::clone(&schedule.text),
            rules: schedule.rules,
            at: now.wall,
            begun: changes.begun,
            ended: changes.ended,
        })));
        self.settings = schedule.daemon.clone();
        self.studio = schedule.studio;
        self.plan = Plan::new(schedule, changes.slots);
        self.leave_out_paused();
    }

    /// Entries that are paused are not planned.
    pub(super) fn leave_out_paused(&mut self) {
        for (name, pauses) in &self.pauses {
            if pauses.iter().any(|pause| pause.until.is_none()) {
                self.plan.set_paused(name, true);
            }
        }
    }
}
