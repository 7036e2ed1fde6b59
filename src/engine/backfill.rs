//! Backfills: nominal times of the past that a person wants started, the oldest first, as many at once as was said.
//! A firing is planned only once there is room for it, and how far that has come is durable together with it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lanes::{Key, UNKNOWN};
use super::live::{Live, Phase};
use super::overlap::limit;
use super::{Engine, announce};
use crate::clock::Now;
use crate::config::{Entry, Overlap, Policy};
use crate::ids::{EntryName, FiringId, Kind, Nominal};
use crate::ledger::{Backfill, Body, Intent, Reason, Record, Wanted};

/// The most nominal times of one backfill.
pub const MOST: usize = 100_000;
/// Nominal times that need no start of which so many are gone through in one step.
const STEPS: usize = 10_000;
/// So many firings in a row that end without a run end a backfill: the others would end alike.
const MOST_REFUSED: u32 = 3;

/// A backfill that is not over.
#[derive(Debug)]
pub(super) struct Filling {
    backfill: Backfill,
    /// Nominal times that need no start, in order.
    taken: Vec<Nominal>,
    /// Its firings that were not over at the last look.
    active: BTreeSet<FiringId>,
    /// How many in a row have ended without a run.
    refused: u32,
}

impl Filling {
    pub(super) fn new((backfill, taken): (Backfill, Vec<Nominal>)) -> Self {
        Self { backfill, taken, active: BTreeSet::new(), refused: 0 }
    }

    /// Goes on to the next nominal time up to `until` that is to be started, if there is one, and it has not gone far.
    fn step(&mut self, entry: &Entry, until: Nominal) -> Option<Nominal> {
        let until = until.min(self.backfill.last);
        for nominal in entry.calendar.due_between(self.backfill.mark, until).take(STEPS) {
            self.backfill.mark = nominal;
            self.backfill.passed += 1;
            if self.taken.binary_search(&nominal).is_err() {
                return Some(nominal);
            }
        }
        None
    }

    /// Whether all of its nominal times have been gone through.
    fn is_through(&self, entry: &Entry) -> bool {
        entry.calendar.next_after(self.backfill.mark).is_none_or(|next| next > self.backfill.last)
    }
}

fn before(nominal: Nominal) -> Nominal {
    Nominal::from_second(nominal.as_second() - 1).unwrap_or(nominal)
}

impl Engine {
    /// Takes a backfill up; it is known by the id of the request for it.
    pub(super) fn backfill(
        &mut self,
        id: &str,
        wanted: &Wanted,
        taken: Vec<Nominal>,
        now: Now,
    ) -> Result<(), String> {
        let Wanted { entry: name, from, until, .. } = wanted;
        let slot = self.plan.slots.get(name).ok_or_else(|| super::requests::no_such_entry(name))?;
        if self.backfills.values().any(|filling| filling.backfill.entry == *name) {
            return Err(format!(
                "a backfill of {name} is under way already (adf-cron status shows how far); wait for its end, or end \
                 it: adf-cron backfill {name} --stop"
            ));
        }
        let limit = limit(&slot.entry.policy).map(|limit| u32::try_from(limit).unwrap_or(u32::MAX));
        let max_active = wanted.max_active.or(limit).unwrap_or(1);
        if let Some(limit) = limit.filter(|limit| max_active > *limit) {
            return Err(format!("{name} lets no more than {limit} run at once (max_active, overlap)"));
        }
        let last = before(*until).min(Nominal::at_or_before(now.wall));
        let mut times = slot.entry.calendar.due_between(before(*from), last).take(MOST + 1);
        let Some(first) = times.next() else {
            return Err(format!("{name} has no nominal time from {from} on and before {until} that is past"));
        };
        let (last, count) = times.fold((first, 1), |(_, count), nominal| (nominal, count + 1));
        if count > MOST as u64 {
            return Err(format!(
                "that is more than {MOST} nominal times of {name}; ask for a shorter time, one after the other"
            ));
        }
        let backfill = Backfill {
            id: id.into(),
            entry: name.clone(),
            fingerprint: slot.entry.calendar.fingerprint(),
            first,
            last,
            count,
            max_active,
            again: wanted.again,
            mark: before(first),
            passed: 0,
            begun_at: now.wall,
            ended_at: None,
            reason: None,
        };
        self.events.push(announce::backfill_began(&backfill));
        self.records.push(Record::Backfill(Box::new(backfill.clone())));
        self.backfills.insert(Arc::clone(&backfill.id), Filling::new((backfill, taken)));
        self.refill = true;
        Ok(())
    }

    /// Ends the backfill of an entry, as a person wants.
    pub(super) fn stop_backfill(&mut self, name: &EntryName, now: Now) -> Result<(), String> {
        let of_entry = |filling: &&Filling| filling.backfill.entry == *name;
        let found = self.backfills.values().find(of_entry).map(|filling| Arc::clone(&filling.backfill.id));
        let filling = found.and_then(|id| self.backfills.remove(&id));
        let filling = filling.ok_or_else(|| format!("no backfill of {name} is under way"))?;
        self.end_backfill(filling, Some(Reason::Stopped), now);
        Ok(())
    }

    /// Goes on with the backfills that the ledger knows of.
    pub(super) fn take_up_backfills(&mut self, backfills: Vec<(Backfill, Vec<Nominal>)>) {
        self.backfills = backfills.into_iter().map(|it| (Arc::clone(&it.0.id), Filling::new(it))).collect();
    }

    /// A firing counts as one of its backfill from now on, until it is over.
    pub(super) fn join_backfill(&mut self, intent: &Intent) {
        if let Some(filling) = intent.backfill.as_ref().and_then(|id| self.backfills.get_mut(id)) {
            filling.active.insert(intent.firing_id);
        }
    }

    /// Something ended: if it was part of a backfill, that may go on.
    pub(super) fn go_on_filling(&mut self, intent: &Intent) {
        self.refill |= intent.backfill.is_some();
    }

    /// Plans what there is room for.
    pub(super) fn fill(&mut self, now: Now) {
        if self.stopping || self.only_requests || self.opening.is_some() {
            return;
        }
        self.refill = false;
        for id in self.backfills.keys().cloned().collect::<Vec<_>>() {
            let Some(mut filling) = self.backfills.remove(&id) else { continue };
            match self.fill_one(&mut filling, now) {
                Some(reason) => self.end_backfill(filling, reason, now),
                None => drop(self.backfills.insert(id, filling)),
            }
        }
    }

    /// Plans what there is room for of one backfill; returns why it is over, if it is.
    fn fill_one(&mut self, filling: &mut Filling, now: Now) -> Option<Option<Reason>> {
        filling.active.retain(|firing| self.is_active(*firing, now));
        let Some(slot) = self.plan.slots.get(&filling.backfill.entry) else {
            return Some(Some(Reason::Removed));
        };
        let entry = Arc::clone(&slot.entry);
        if entry.calendar.fingerprint() != filling.backfill.fingerprint {
            return Some(Some(Reason::Changed));
        }
        // What the schedule has not come to yet is its own.
        let until = slot.mark.min(Nominal::at_or_before(now.wall));
        if !self.is_paused_now(&entry.name) {
            self.plan_from(filling, &entry, until, now);
        }
        if filling.refused >= MOST_REFUSED {
            return Some(Some(Reason::Refused));
        }
        // What is left comes with the next heartbeat, if not with the end of a firing.
        (filling.active.is_empty() && filling.is_through(&entry)).then_some(None)
    }

    /// Plans the next firings of a backfill, as many as may be sent now.
    fn plan_from(&mut self, filling: &mut Filling, entry: &Arc<Entry>, until: Nominal, now: Now) {
        let passed = filling.backfill.passed;
        let policy = policy(&entry.policy);
        let room = usize::try_from(filling.backfill.max_active).unwrap_or(usize::MAX);
        while filling.active.len() < room
            && filling.refused < MOST_REFUSED
            && let Some(nominal) = filling.step(entry, until)
        {
            match self.fill_in(entry, nominal, (&filling.backfill.id, &policy), now) {
                Some(firing) => drop(filling.active.insert(firing)),
                None => filling.refused += 1,
            }
        }
        if filling.backfill.passed > passed {
            self.records.push(Record::Backfill(Box::new(filling.backfill.clone())));
        }
    }

    /// Plans the firing of a nominal time; returns it, if it can be sent.
    fn fill_in(
        &mut self,
        entry: &Arc<Entry>,
        nominal: Nominal,
        (backfill, policy): (&Arc<str>, &Arc<Policy>),
        now: Now,
    ) -> Option<FiringId> {
        let firing_id = self.fresh_id();
        let intent = Intent {
            firing_id,
            kind: Kind::Backfill,
            due: now.wall,
            policy: Arc::clone(policy),
            backfill: Some(Arc::clone(backfill)),
            ..self.intent(entry, nominal, Body::new("{}"), now)
        };
        self.render_and_take_up(entry, intent, now).then_some(firing_id)
    }

    /// Whether a firing of a backfill is not over, as far as is known.
    fn is_active(&self, firing: FiringId, now: Now) -> bool {
        // One that is held counts for a while.
        if self.live.contains_key(&firing) || self.busy.holds(firing) {
            return true;
        }
        let Some(run) = self.runs.get(firing) else { return false };
        let unread = self.runs.unread_for(&run.intent.factory, now.boot);
        unread < UNKNOWN || now.boot.saturating_sub(run.heard) < UNKNOWN
    }

    /// A firing of a backfill, or one that recovers a run of it, has come to the gate; returns why it is left out, if
    /// it is.
    pub(super) fn is_unwanted(&self, intent: &Intent) -> Option<Reason> {
        let backfill = intent.backfill.as_ref()?;
        if self.backfills.contains_key(backfill) {
            return None;
        }
        Some(if self.plan.slots.contains_key(&intent.entry) { Reason::Stopped } else { Reason::Removed })
    }

    /// A firing of a backfill was accepted, or ended without a run.
    pub(super) fn note_in_backfill(&mut self, intent: &Intent, ended: Option<Reason>) {
        if let Some(filling) = intent.backfill.as_ref().and_then(|id| self.backfills.get_mut(id)) {
            filling.refused = if ended.is_some() { filling.refused + 1 } else { 0 };
        }
    }

    /// Whether an entry is paused.
    pub(super) fn is_paused_now(&self, entry: &EntryName) -> bool {
        self.pauses.get(entry).into_iter().flatten().any(|pause| pause.until.is_none())
    }

    /// Whether a firing of a backfill, or one that recovers a run of it, waits for the end of a pause.
    pub(super) fn is_kept_back(&self, intent: &Intent) -> bool {
        intent.backfill.is_some() && self.is_paused_now(&intent.entry)
    }

    /// An entry is paused: what its backfill has planned and not sent waits.
    pub(super) fn keep_backfill_back(&mut self, entry: &EntryName, now: Now) {
        let of_entry = self.backfills.values().filter(|filling| filling.backfill.entry == *entry);
        let planned = of_entry.flat_map(|filling| &filling.active).filter_map(|firing| self.live.get(firing));
        // One that is armed comes to the gate at its time.
        let unsent = planned.filter(|live| is_unsent(live) && !matches!(live.phase, Phase::Armed(_)));
        for intent in unsent.map(|live| Arc::clone(&live.intent)).collect::<Vec<_>>() {
            self.enqueue(&intent, Reason::Paused, now);
        }
    }

    /// How many of those that are running in a lane belong to backfills.
    pub(super) fn backfills_in(&self, key: &Key) -> usize {
        let runs = self.runs.all_in(key).filter(|run| run.intent.backfill.is_some()).count();
        runs + self.busy.intents_in(key).filter(|intent| intent.backfill.is_some()).count()
    }

    /// What a backfill has not sent waits again: something else of the lane goes first.
    pub(super) fn call_back(&mut self, key: &Key, now: Now) {
        let waits = self.busy.intents_in(key).filter(|intent| intent.backfill.is_some()).cloned();
        for intent in waits.collect::<Vec<_>>() {
            if self
                .live
                .get(&intent.firing_id)
                .is_some_and(|live| live.phase == Phase::Ready && is_unsent(live))
            {
                self.enqueue(&intent, Reason::Overlap, now);
            }
        }
    }

    /// The clock was set back to here: what a backfill has not sent of what is to come again is the schedule's.
    pub(super) fn give_back_after(&mut self, to: Nominal, now: Now) {
        let is_to_come = |live: &&Live| live.intent.kind == Kind::Backfill && live.intent.nominal > to;
        let unsent = self.live.values().filter(is_to_come).filter(|live| is_unsent(live));
        for intent in unsent.map(|live| Arc::clone(&live.intent)).collect::<Vec<_>>() {
            self.end_unstarted(&intent, Reason::Superseded, now);
        }
    }

    /// How many runs of a lane that the schedule has started are to be recovered: a backfill must not take their room.
    pub(super) fn recoveries_to_come(&self, key: &Key) -> usize {
        let waits = |live: &&Live| {
            live.intent.kind == Kind::Recovery
                && live.intent.backfill.is_none()
                && matches!(
                    live.phase,
                    Phase::Committing(_) | Phase::Armed(_) | Phase::AtGate | Phase::Queued
                )
        };
        self.live.values().filter(waits).filter(|live| Key::of(&live.intent) == *key).count()
    }

    /// Whether a firing of an ended backfill of this entry is on its way to the ledger: it is left out once it is
    /// durable.
    pub(super) fn clears_up(&self, entry: &EntryName) -> bool {
        self.live.values().any(|live| {
            live.intent.entry == *entry
                && matches!(live.phase, Phase::Committing(_))
                && self.is_unwanted(&live.intent).is_some()
        })
    }

    /// A backfill is over: what it has not sent is not sent.
    fn end_backfill(&mut self, filling: Filling, reason: Option<Reason>, now: Now) {
        let Filling { mut backfill, active, .. } = filling;
        if let Some(why) = reason {
            let why = if why == Reason::Refused { Reason::Stopped } else { why };
            let unsent = active.iter().filter_map(|firing| self.live.get(firing)).filter(|it| is_unsent(it));
            let unsent: Vec<Arc<Intent>> = unsent.map(|live| Arc::clone(&live.intent)).collect();
            for intent in unsent {
                self.end_unstarted(&intent, why, now);
            }
        }
        backfill.ended_at = Some(now.wall);
        backfill.reason = reason;
        self.events.push(announce::backfill_ended(&backfill));
        self.records.push(Record::Backfill(Box::new(backfill)));
    }
}

/// Whether a firing waits, and nothing of it can have been started. One whose intent is on its way to the ledger is left
/// out at the gate.
fn is_unsent(live: &Live) -> bool {
    let waits = matches!(
        live.phase,
        Phase::Armed(_) | Phase::AtGate | Phase::Queued | Phase::Ready | Phase::Backoff(_)
    );
    waits && live.doubt.is_none() && live.unknown_since.is_none() && !live.asked
}

/// How the firings of a backfill are carried out: as their entry says, but they wait for room where others may be
/// running, let go first what is scheduled, and their runs are followed.
fn policy(entry: &Policy) -> Arc<Policy> {
    Arc::new(Policy {
        priority: i32::MIN,
        follow: true,
        max_queued: u32::MAX,
        overlap: match entry.overlap {
            Overlap::Allow => Overlap::Allow,
            _ => Overlap::QueueAll,
        },
        ..entry.clone()
    })
}
