//! Planning ahead: which nominal times come next, as a heap by time that is never scanned, and how
//! they become intents.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;

use super::live::{Live, Phase};
use super::missed::{Lost, Run, add, choose, is_late};
use super::steps::is_old;
use super::{Engine, Schedule, announce};
use crate::azure::outcome::Refusal;
use crate::clock::Now;
use crate::config::Entry;
use crate::ids::{EntryName, FiringId, Kind, Nominal};
use crate::ledger::{Body, Intent, Mark, Reason, Record, Skips, State};
use crate::schedule::{Calendar, CronRules};
use crate::template::{Parameters, TemplateError};

/// Intents of one transaction; what is left follows when it is durable.
const SLICE: usize = 5_000;

/// An enabled entry and how far it is planned.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) entry: Arc<Entry>,
    pub(super) mark: Nominal,
    /// Its calendar is in force after this, if that is known.
    begun: Option<Nominal>,
    /// The first nominal time after the mark; none while the entry is paused.
    pub(super) next: Option<Nominal>,
    /// The newest nominal time that was started although it was missed.
    rescued: Option<Nominal>,
    paused: bool,
}

impl Slot {
    pub(super) fn new(entry: Arc<Entry>, mark: Nominal, begun: Option<Nominal>) -> Self {
        let next = entry.calendar.next_after(mark);
        Self { entry, mark, begun, next, rescued: None, paused: false }
    }

    /// What is known of the entry, under a new version of it with the same calendar.
    pub(super) fn with(&self, entry: Arc<Entry>) -> Self {
        Self { entry, ..*self }
    }

    /// Whether its calendar names this nominal time: one that an older calendar named cannot be planned again.
    fn names(&self, nominal: Nominal) -> bool {
        self.begun.is_none_or(|begun| nominal > begun) && self.entry.calendar.names(nominal)
    }

    fn rescue(&mut self, nominal: Nominal) {
        self.rescued = self.rescued.max(Some(nominal));
    }

    fn move_mark(&mut self, mark: Nominal) {
        self.mark = mark;
        self.next = if self.paused { None } else { self.entry.calendar.next_after(mark) };
    }
}

/// The enabled entries by name, and their next nominal times by time.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) version: Arc<str>,
    /// How the cron expressions of that version were read.
    pub(super) rules: CronRules,
    pub(super) slots: HashMap<EntryName, Slot>,
    /// May hold times that are out of date; a slot's `next` is the truth.
    heap: BinaryHeap<Reverse<(Nominal, EntryName)>>,
}

impl Plan {
    pub(super) fn new(schedule: &Schedule, slots: HashMap<EntryName, Slot>) -> Self {
        let heap = slots
            .iter()
            .filter_map(|(name, slot)| slot.next.map(|next| Reverse((next, name.clone()))))
            .collect();
        Self { version: Arc::clone(&schedule.version), rules: schedule.rules, slots, heap }
    }

    /// The earliest nominal time that is not planned yet, and its entry.
    pub(super) fn next(&self) -> Option<(Timestamp, &EntryName)> {
        let Reverse((nominal, name)) = self.heap.peek()?;
        Some((nominal.timestamp(), name))
    }

    /// Whether this firing would be planned again if it were taken back.
    pub(super) fn names(&self, intent: &Intent) -> bool {
        self.slots.get(&intent.entry).is_some_and(|slot| slot.names(intent.nominal))
    }

    fn is_true(&self, (nominal, name): &(Nominal, EntryName)) -> bool {
        self.slots.get(name).is_some_and(|slot| slot.next == Some(*nominal))
    }

    /// Takes the name of an entry that has a nominal time up to `until`.
    fn pop(&mut self, until: Nominal) -> Option<EntryName> {
        while self.heap.peek().is_some_and(|Reverse(top)| !self.is_true(top)) {
            self.heap.pop();
        }
        let Reverse((nominal, _)) = self.heap.peek()?;
        if *nominal > until {
            return None;
        }
        self.heap.pop().map(|Reverse((_, name))| name)
    }

    /// Sets the mark of an entry and puts it back in its place.
    fn advance(&mut self, name: &EntryName, mark: Nominal) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.move_mark(mark);
            if let Some(next) = slot.next {
                self.heap.push(Reverse((next, name.clone())));
            }
        }
    }

    /// Makes room for nominal times that were taken back; returns the mark that stands then, which may have
    /// been lower already.
    pub(super) fn lower(&mut self, mark: &Mark) -> Option<Mark> {
        if self.slots.get(&mark.entry)?.mark > mark.nominal {
            self.advance(&mark.entry, mark.nominal);
        }
        let nominal = self.slots.get(&mark.entry)?.mark;
        Some(Mark { entry: mark.entry.clone(), nominal })
    }

    /// Leaves out an entry for now, or takes it in again.
    pub(super) fn set_paused(&mut self, name: &EntryName, paused: bool) {
        if let Some(slot) = self.slots.get_mut(name) {
            slot.paused = paused;
            let mark = slot.mark;
            self.advance(name, mark);
        }
    }

    /// The entries' calendars.
    pub(super) fn calendars(&self) -> impl Iterator<Item = (&EntryName, &Arc<Calendar>)> {
        self.slots.iter().map(|(name, slot)| (name, &slot.entry.calendar))
    }

    /// Brings the marks that lie after `to` back to it; returns them. The ledger refuses what has its record.
    pub(super) fn return_to(&mut self, to: Nominal) -> Vec<Mark> {
        for slot in self.slots.values_mut() {
            slot.begun = slot.begun.map(|begun| begun.min(to));
            slot.rescued = slot.rescued.filter(|rescued| *rescued <= to);
        }
        let ahead = self.slots.values().filter(|slot| slot.mark > to);
        let marks: Vec<Mark> =
            ahead.map(|slot| Mark { entry: slot.entry.name.clone(), nominal: to }).collect();
        for mark in &marks {
            self.lower(mark);
        }
        marks
    }
}

impl Engine {
    /// Whether a planned firing whose due time has come should start: it is not late, or its policy
    /// starts it all the same.
    pub(super) fn still_wanted(&mut self, intent: &Intent, now: Timestamp) -> bool {
        if !is_late(intent.due, &intent.policy, now) {
            return true;
        }
        let late = std::iter::once(intent.nominal).chain(self.newer_missed(intent, now));
        let late = late.map(|nominal| (nominal, Lost::Late));
        let wanted = choose(late, &intent.policy, now).start.contains(&intent.nominal);
        if let Some(slot) = self.plan.slots.get_mut(&intent.entry).filter(|_| wanted) {
            slot.rescue(intent.nominal);
        }
        wanted
    }

    /// A newer nominal time of the entry that was missed as well, and so wins where only the latest is
    /// started. One that was started in time is not missed.
    fn newer_missed(&self, intent: &Intent, now: Timestamp) -> Option<Nominal> {
        let slot = self.plan.slots.get(&intent.entry)?;
        let entry = &slot.entry;
        if let Some(rescued) = slot.rescued.filter(|rescued| *rescued > intent.nominal) {
            return Some(rescued);
        }
        let waits = |nominal: &Nominal| {
            let firing = FiringId::scheduled(&entry.factory, &entry.name, *nominal);
            *nominal > slot.mark || self.live.get(&firing).is_some_and(Live::has_not_started)
        };
        entry
            .calendar
            .due_between(intent.nominal, Nominal::at_or_before(now))
            .take_while(|nominal| {
                is_late(entry.calendar.due_time(&entry.name, *nominal), &intent.policy, now)
            })
            .find(waits)
    }

    /// Plans every nominal time up to the horizon, a slice at a time.
    pub(super) fn plan_ahead(&mut self, now: Now) {
        // By a clock that is not believed, everything up to its time would be planned, and left out as missed.
        let wait = self.clocks.held_until().is_some();
        if self.stopping || self.only_requests || wait || self.planning.is_some() {
            return;
        }
        let until = Nominal::at_or_before(Self::later(now.wall, self.settings.horizon));
        let mut planned = 0;
        let mut marks = Vec::new();
        while planned < SLICE
            && let Some(name) = self.plan.pop(until)
        {
            planned += self.plan_entry(&name, until, now);
            marks.push(Record::Marked(Mark { entry: name, nominal: until }));
        }
        // Like records side by side are one statement.
        self.records.extend(marks);
        if planned > 0 {
            self.planning = Some(self.next_batch);
        }
    }

    /// Plans one entry up to `until`; returns how many nominal times were looked at.
    fn plan_entry(&mut self, name: &EntryName, until: Nominal, now: Now) -> usize {
        let Some(slot) = self.plan.slots.get(name) else { return 0 };
        let (entry, mark) = (Arc::clone(&slot.entry), slot.mark);
        let late = |nominal: Nominal| {
            is_late(entry.calendar.due_time(&entry.name, nominal), &entry.policy, now.wall)
        };
        let pauses = self.pauses.get(name).map(Vec::as_slice).unwrap_or_default();
        let (mut seen, mut in_time) = (0, Vec::new());
        let due = entry.calendar.due_between(mark, until).inspect(|_| seen += 1);
        let past = due.filter_map(|nominal| {
            if pauses.iter().any(|pause| pause.covers(nominal)) {
                return Some((nominal, Lost::Paused));
            }
            // Once one is in time all that follow are.
            if in_time.is_empty() && late(nominal) {
                return Some((nominal, Lost::Late));
            }
            in_time.push(nominal);
            None
        });
        let choice = choose(past, &entry.policy, now.wall);
        for row in choice.skipped {
            self.leave_out(&entry, row, now);
        }
        if let (Some(newest), Some(slot)) = (choice.start.last(), self.plan.slots.get_mut(name)) {
            slot.rescue(*newest);
        }
        for nominal in choice.start.iter().chain(&in_time) {
            self.plan_firing(&entry, *nominal, now);
        }
        self.plan.advance(name, until);
        seen + 1
    }

    /// Records consecutive nominal times that are left out.
    fn leave_out(&mut self, entry: &Entry, (reason, run): (Reason, Run), now: Now) {
        let skips = Skips {
            intent: self.intent(entry, run.first, Body::new("{}"), now),
            last: run.last,
            count: run.count,
            reason,
            calendar: Some(Arc::clone(&entry.calendar)),
        };
        self.records.push(Record::Skipped(Box::new(skips)));
    }

    /// Keeps a calendar that is over for as long as a wrong clock may have ended it.
    pub(super) fn keep_calendar(&mut self, entry: &Entry, now: Now) {
        while self.closed.pop_front_if(|(at, ..)| is_old(*at, now.boot)).is_some() {}
        self.closed.push_back((now.boot, entry.name.clone(), Arc::clone(&entry.calendar)));
    }

    /// An entry is gone, or has another calendar: what its old one named up to `until`, and nobody has planned, is
    /// left out.
    pub(super) fn close_calendar(
        &mut self,
        entry: &Arc<Entry>,
        mark: Nominal,
        until: Nominal,
        why: Reason,
        now: Now,
    ) {
        let pauses = self.pauses.get(&entry.name).map(Vec::as_slice).unwrap_or_default();
        let is_paused = |nominal: Nominal| pauses.iter().any(|pause| pause.covers(nominal));
        let mut rows = Vec::new();
        for nominal in entry.calendar.due_between(mark, until) {
            add(&mut rows, if is_paused(nominal) { Reason::Paused } else { why }, nominal);
        }
        for row in rows {
            self.leave_out(entry, row, now);
        }
    }

    fn plan_firing(&mut self, entry: &Arc<Entry>, nominal: Nominal, now: Now) {
        let intent = self.intent(entry, nominal, Body::new("{}"), now);
        // After a step of the clock a firing that was attempted before it may still be under way.
        if !self.live.contains_key(&intent.firing_id) {
            self.render_and_take_up(entry, intent, now);
        }
    }

    /// Plans a firing; returns whether it can be sent.
    pub(super) fn render_and_take_up(&mut self, entry: &Entry, mut intent: Intent, now: Now) -> bool {
        match render(entry, &entry.parameters, &intent) {
            Ok(body) => intent.body = body,
            Err(error) => {
                self.stillborn(intent, &error, now);
                return false;
            }
        }
        self.take_up(intent);
        true
    }

    /// Makes an intent durable and waits for its due time.
    pub(super) fn take_up(&mut self, intent: Intent) {
        let intent = Arc::new(intent);
        self.events.push(announce::planned(&intent));
        self.join_backfill(&intent);
        self.records.push(Record::Planned(Arc::clone(&intent)));
        let live = Live::new(Arc::clone(&intent), Phase::Committing(self.next_batch));
        self.live.insert(intent.firing_id, live);
        self.committing.entry(self.next_batch).or_default().push(intent.firing_id);
    }

    /// Records a firing that cannot be sent, since its parameters cannot be rendered.
    fn stillborn(&mut self, intent: Intent, error: &TemplateError, now: Now) {
        let refusal = Refusal { error_message: error.to_string(), ..Refusal::default() };
        self.events.push(announce::rejected(&intent, 0, Reason::Template, Some(&refusal)));
        let intent = Arc::new(intent);
        let live = Live::new(Arc::clone(&intent), Phase::Ready);
        let mut progress = live.progress(State::Rejected, Some(Reason::Template), now.wall, None);
        progress.error_message = Some(refusal.error_message);
        self.records.push(Record::Stillborn(intent, progress));
    }

    pub(super) fn intent(&self, entry: &Entry, nominal: Nominal, body: Body, now: Now) -> Intent {
        Intent {
            firing_id: FiringId::scheduled(&entry.factory, &entry.name, nominal),
            entry: entry.name.clone(),
            pipeline: entry.pipeline.clone(),
            factory: entry.factory.clone(),
            kind: Kind::Scheduled,
            nominal,
            due: entry.calendar.due_time(&entry.name, nominal),
            body,
            policy: Arc::clone(&entry.policy),
            schedule_version: Arc::clone(&self.plan.version),
            planned_at: now.wall,
            recovers: None,
            backfill: None,
        }
    }
}

/// Renders the body that every attempt of this intent sends.
pub(super) fn render(entry: &Entry, parameters: &Parameters, intent: &Intent) -> Result<Body, TemplateError> {
    let context = entry.context(intent.firing_id, intent.nominal, intent.due);
    parameters.render(&context).map(|json| Body::new(&json))
}
