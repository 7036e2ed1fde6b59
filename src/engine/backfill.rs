//! Backfills: nominal times of the past that a person wants started, the oldest first, as many at once as was said.
//! A firing is planned only once there is room for it, and how far that has come is durable together with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::live::{Live, Phase};
use super::{Engine, announce};
use crate::clock::Now;
use crate::config::{Entry, Overlap, Policy};
use crate::ids::{FiringId, Kind, Nominal};
use crate::ledger::{Backfill, Body, Intent, Reason, Record, Wanted};

/// The most nominal times of one backfill.
const MOST: usize = 100_000;
/// Nominal times that need no start of which so many are gone through in one step.
const STEPS: usize = 10_000;
/// Firings that are planned in one step.
const SLICE: usize = 1_000;
/// How long a firing that is held, or a run of which nothing can be read, counts as running.
const UNKNOWN: Duration = Duration::from_secs(3_600);

/// A backfill that is not over.
#[derive(Debug)]
pub(super) struct Filling {
    backfill: Backfill,
    /// Nominal times that need no start, in order.
    taken: Vec<Nominal>,
    /// Its firings that were not over at the last look.
    active: BTreeSet<FiringId>,
}

impl Filling {
    pub(super) fn new((backfill, taken): (Backfill, Vec<Nominal>)) -> Self {
        Self { backfill, taken, active: BTreeSet::new() }
    }

    /// Goes on to the next nominal time that is to be started, if there is one, and it has not gone far.
    fn step(&mut self, entry: &Entry) -> Option<Nominal> {
        let before = Nominal::from_second(self.backfill.first.as_second() - 1)?;
        let mark = self.backfill.mark.unwrap_or(before);
        for nominal in entry.calendar.due_between(mark, self.backfill.last).take(STEPS) {
            self.backfill.mark = Some(nominal);
            self.backfill.passed += 1;
            if self.taken.binary_search(&nominal).is_err() {
                return Some(nominal);
            }
        }
        None
    }

    /// Whether all of its nominal times have been gone through.
    fn is_through(&self) -> bool {
        self.backfill.passed >= self.backfill.count
    }
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
                "a backfill of {name} is under way already; wait for its end, or end it: \
                 adf-cron backfill {name} --stop"
            ));
        }
        let before = |nominal: Nominal| Nominal::from_second(nominal.as_second() - 1).unwrap_or(nominal);
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
            max_active: wanted.max_active.or(slot.entry.policy.max_active).unwrap_or(1),
            again: wanted.again,
            mark: None,
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
    pub(super) fn stop_backfill(&mut self, name: &crate::ids::EntryName, now: Now) -> Result<(), String> {
        let of_entry = |filling: &&Filling| filling.backfill.entry == *name;
        let found = self.backfills.values().find(of_entry).map(|filling| Arc::clone(&filling.backfill.id));
        let filling = found.and_then(|id| self.backfills.remove(&id));
        let filling = filling.ok_or_else(|| format!("no backfill of {name} is under way"))?;
        self.end_backfill(filling, Some(Reason::Stopped), now);
        Ok(())
    }

    /// Whether a backfill is not over.
    #[must_use]
    pub fn has_backfills(&self) -> bool {
        !self.backfills.is_empty()
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
        if self.stopping || self.opening.is_some() {
            return;
        }
        self.refill = false;
        let mut backfills = std::mem::take(&mut self.backfills);
        for (_, mut filling) in std::mem::take(&mut backfills) {
            match self.fill_one(&mut filling, now) {
                Some(reason) => self.end_backfill(filling, reason, now),
                None => {
                    self.backfills.insert(Arc::clone(&filling.backfill.id), filling);
                }
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
        if self.pauses.get(&entry.name).into_iter().flatten().all(|pause| pause.until.is_some()) {
            self.plan_from(filling, &entry, now);
        }
        // What is left comes with the next heartbeat, if not with the end of a firing.
        (filling.is_through() && filling.active.is_empty()).then_some(None)
    }

    /// Plans the next firings of a backfill, as many as may be sent now.
    fn plan_from(&mut self, filling: &mut Filling, entry: &Arc<Entry>, now: Now) {
        let passed = filling.backfill.passed;
        let policy = policy(&entry.policy);
        let room = usize::try_from(filling.backfill.max_active).unwrap_or(usize::MAX);
        // One that cannot be rendered takes no room.
        let mut planned = 0;
        while filling.active.len() < room
            && planned < SLICE
            && let Some(nominal) = filling.step(entry)
        {
            filling.active.extend(self.fill_in(entry, nominal, (&filling.backfill.id, &policy), now));
            planned += 1;
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
        if self.live.contains_key(&firing) {
            return true;
        }
        if let Some((_, since)) = self.held.get(&firing) {
            return Self::later(*since, UNKNOWN) > now.wall;
        }
        let Some(run) = self.runs.get(firing) else { return false };
        let unread = self.runs.unread_for(&run.intent.factory, now.boot);
        unread < UNKNOWN || now.boot.saturating_sub(run.heard) < UNKNOWN
    }

    /// A firing of a backfill, or one that recovers a run of it, has come to the gate; returns why it is left out, if
    /// it is.
    pub(super) fn is_unwanted(&self, intent: &Intent) -> Option<Reason> {
        let backfill = intent.backfill.as_ref()?;
        (!self.backfills.contains_key(backfill)).then_some(Reason::Stopped)
    }

    /// A backfill is over: what it has not sent is not sent.
    fn end_backfill(&mut self, filling: Filling, reason: Option<Reason>, now: Now) {
        let Filling { mut backfill, active, .. } = filling;
        if let Some(why) = reason {
            let unsent = active.iter().filter_map(|firing| self.live.get(firing)).filter(|it| is_unsent(it));
            let unsent: Vec<Arc<Intent>> = unsent.map(|live| Arc::clone(&live.intent)).collect();
            self.skip_planned(&unsent, why, now.wall);
        }
        backfill.ended_at = Some(now.wall);
        backfill.reason = reason;
        self.events.push(announce::backfill_ended(&backfill));
        self.records.push(Record::Backfill(Box::new(backfill)));
    }
}

/// Whether a firing waits, and nothing of it can have been sent. One whose intent is on its way to the ledger is left
/// out at the gate.
fn is_unsent(live: &Live) -> bool {
    let waits = matches!(live.phase, Phase::Armed(_) | Phase::AtGate | Phase::Queued | Phase::Ready);
    waits && live.attempts == 0 && live.doubt.is_none() && !live.asked
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
