//! Whether the ledger covers the calendar: recomputes every nominal time by the schedules that were in force,
//! and compares it with the records. Pure, and one entry at a time: neither the times nor the records of an
//! entry are ever all in memory.
//!
//! A version is in force for the nominal times after the second of its own coming and up to that of the next
//! one's. Where the clock was set back, the later version rules.

mod report;
mod timeline;

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::ids::{EntryName, Nominal};
use crate::ledger::{Evidence, Kept};

pub use report::{Double, Miscount, OpenFiring, Report, Stray, Stretch};
pub use timeline::{Calendars, Gone, Timeline, Uncovered};

use timeline::Walk;

/// Nominal times from `from` on and before `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub from: Nominal,
    /// The first that is not in it any more.
    pub until: Nominal,
}

impl Range {
    fn holds(&self, nominal: Nominal) -> bool {
        self.from <= nominal && nominal < self.until
    }
}

/// What is known of the entries beside their calendars and records.
#[derive(Debug)]
pub struct Known {
    marks: HashMap<EntryName, Nominal>,
    /// The first nominal times that open pauses leave out.
    paused: HashMap<EntryName, Nominal>,
}

impl Known {
    /// Takes what it needs of the evidence.
    #[must_use]
    pub fn of(evidence: &Evidence) -> Self {
        let paused =
            evidence.pauses.iter().map(|pause| (pause.entry.clone(), Nominal::at_or_after(pause.since)));
        Self { marks: evidence.marks.clone(), paused: paused.collect() }
    }
}

/// A record that reaches to where the walk along the calendar stands, or further.
#[derive(Debug)]
struct Active {
    record: Kept,
    /// How many nominal times of the calendar it was seen to cover.
    seen: u64,
    /// How many of those lie in the range.
    counted: u64,
}

impl Active {
    /// A record of an entry that went away or changed; it gives way to any other.
    fn gives_way(&self) -> bool {
        matches!(self.record.reason.as_deref(), Some("removed" | "changed"))
    }
}

/// The audit of one entry: takes its records in the order of their nominal times.
#[derive(Debug)]
pub struct EntryAudit<'a> {
    entry: &'a EntryName,
    timeline: &'a Timeline,
    range: Range,
    mark: Option<Nominal>,
    paused: Option<Nominal>,
    walk: Option<Walk<'a>>,
    active: Vec<Active>,
    report: &'a mut Report,
    /// What was found at the nominal time before.
    last: Verdict,
    /// Whether anything of it lies in the range.
    touched: bool,
}

/// What was found at a nominal time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Recorded,
    Double,
    Paused,
    NotPlanned,
    Gap,
}

impl<'a> EntryAudit<'a> {
    /// Begins the audit of an entry.
    #[must_use]
    pub fn new(
        timeline: &'a Timeline,
        known: &Known,
        range: Range,
        entry: &'a EntryName,
        report: &'a mut Report,
    ) -> Self {
        Self {
            entry,
            timeline,
            range,
            mark: known.marks.get(entry).copied(),
            paused: known.paused.get(entry).copied(),
            walk: None,
            active: Vec::new(),
            report,
            last: Verdict::Recorded,
            touched: false,
        }
    }

    /// Takes the next record.
    pub fn record(&mut self, record: Kept) {
        self.walk_up_to(record.first);
        self.active.push(Active { record, seen: 0, counted: 0 });
    }

    /// Ends the audit of the entry.
    pub fn finish(mut self) {
        self.walk_up_to(self.range.until);
        // What reaches beyond the range is counted to its end.
        if let Some(last) = self.active.iter().map(|active| active.record.last).max() {
            self.walk_up_to(after(last));
        }
        for active in std::mem::take(&mut self.active) {
            self.close(active);
        }
        self.report.entries += u64::from(self.touched);
    }

    /// Judges every nominal time before `end` that was not judged yet.
    fn walk_up_to(&mut self, end: Nominal) {
        let (timeline, entry) = (self.timeline, self.entry);
        // A record that begins before the range is counted from its beginning.
        let begin = self.range.from.min(end);
        let mut walk = self.walk.take().unwrap_or_else(|| timeline.walk(entry, begin));
        while let Some(nominal) = walk.peek().filter(|nominal| *nominal < end) {
            self.judge(nominal);
            walk.step();
        }
        self.walk = Some(walk);
    }

    /// Looks which records cover a nominal time of the calendar.
    fn judge(&mut self, nominal: Nominal) {
        if self.active.iter().any(|active| active.record.last < nominal) {
            let (over, still): (Vec<_>, Vec<_>) =
                self.active.drain(..).partition(|active| active.record.last < nominal);
            self.active = still;
            for active in over {
                self.close(active);
            }
        }
        for active in &mut self.active {
            active.seen += 1;
        }
        if !self.range.holds(nominal) {
            return;
        }
        self.touched = true;
        self.report.nominal_times += 1;
        let verdict = self.verdict(nominal);
        let goes_on = verdict == self.last;
        self.last = verdict;
        let single = |version| Stretch::single(self.entry, nominal, version);
        let version = || self.timeline.version_at(nominal);
        match verdict {
            Verdict::Recorded => {}
            Verdict::Double => {
                let firing_ids = self.active.iter().map(|active| active.record.firing_id.clone()).collect();
                self.report.double(Double { times: single(version()), firing_ids }, goes_on);
            }
            Verdict::Paused => Stretch::extend(&mut self.report.paused, single(None), goes_on),
            Verdict::NotPlanned => Stretch::extend(&mut self.report.not_planned, single(None), goes_on),
            Verdict::Gap => Stretch::extend(&mut self.report.gaps, single(version()), goes_on),
        }
    }

    fn verdict(&mut self, nominal: Nominal) -> Verdict {
        let proper = self.active.iter().filter(|active| !active.gives_way()).count();
        if proper > 1 || (proper == 0 && self.active.len() > 1) {
            return Verdict::Double;
        }
        let only = self.active.iter_mut().find(|active| proper == 0 || !active.gives_way());
        if let Some(only) = only {
            only.counted += 1;
            return Verdict::Recorded;
        }
        if self.paused.is_some_and(|paused| paused <= nominal) {
            Verdict::Paused
        } else if self.mark.is_some_and(|mark| mark < nominal) {
            Verdict::NotPlanned
        } else {
            Verdict::Gap
        }
    }

    /// The walk is past a record.
    fn close(&mut self, active: Active) {
        let record = &active.record;
        self.report.count(self.entry, record, active.counted);
        let inside = record.last >= self.range.from && record.first < self.range.until;
        if active.seen == record.count || !inside {
            return;
        }
        let gives_way = active.gives_way();
        if !self.timeline.covers(record.first, record.last) {
            // Part of its calendar is not known; the rest cannot be more than it says.
            if active.seen > record.count {
                self.report.miscount(self.entry, record, active.seen);
            }
        } else if active.seen == 0 {
            self.touched = true;
            if gives_way || self.timeline.is_of_a_clock_before(record) {
                self.report.left_over += record.count;
            } else {
                self.report.stray(self.entry, record);
            }
        } else if active.seen > record.count || !gives_way || self.timeline.rules_all_of(self.entry, record) {
            self.report.miscount(self.entry, record, active.seen);
        }
    }
}

/// The second after a nominal time.
fn after(nominal: Nominal) -> Nominal {
    Nominal::from_second(nominal.as_second() + 1).unwrap_or(nominal)
}
