//! What an audit found.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{EntryName, Nominal};
use crate::ledger::{Kept, State};

/// Consecutive nominal times of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stretch {
    /// The entry.
    pub entry: EntryName,
    /// The first.
    pub first: Nominal,
    /// The last.
    pub last: Nominal,
    /// How many.
    pub count: u64,
    /// The version in force for the first, where that matters.
    pub version: Option<Arc<str>>,
}

/// Consecutive nominal times that have more than one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Double {
    /// The times.
    pub times: Stretch,
    /// The firings of the records.
    pub firing_ids: Vec<String>,
}

/// A row that stands for another number of nominal times than the calendar names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miscount {
    /// What it says.
    pub times: Stretch,
    /// How many the calendar names.
    pub expected: u64,
    /// Its firing.
    pub firing_id: String,
}

/// A record of a time that the calendar does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// What it says.
    pub times: Stretch,
    /// Where it stands.
    pub state: State,
    /// Its firing.
    pub firing_id: String,
}

/// A firing that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenFiring {
    /// The entry.
    pub entry: EntryName,
    /// Its nominal time.
    pub nominal: Nominal,
    /// Where it stands.
    pub state: State,
    /// The firing.
    pub firing_id: String,
}

/// What an audit found, over all entries.
#[derive(Debug, Default)]
pub struct Report {
    /// Entries that have a nominal time, or a record, in the range.
    pub entries: u64,
    /// Nominal times in the range.
    pub nominal_times: u64,
    /// How many of them have one record, by its state.
    pub states: BTreeMap<&'static str, u64>,
    /// Those left out, by the reason.
    pub skipped: BTreeMap<String, u64>,
    /// The firings that are not over.
    pub open: Vec<OpenFiring>,
    /// Without a record, and no daemon has come to them yet.
    pub not_planned: Vec<Stretch>,
    /// Without a record, and left out by a pause that lasts.
    pub paused: Vec<Stretch>,
    /// Records of entries that had gone or changed, or of before the clock was set back.
    pub left_over: u64,
    /// Without a record.
    pub gaps: Vec<Stretch>,
    /// With more than one.
    pub doubles: Vec<Double>,
    /// Rows that stand for too many or too few.
    pub miscounts: Vec<Miscount>,
    /// Records that nothing explains.
    pub strays: Vec<Stray>,
}

impl Report {
    /// Whether every nominal time in the range has exactly one record, or has its time still to come.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.gaps.is_empty() && self.doubles.is_empty() && self.miscounts.is_empty() && self.strays.is_empty()
    }

    /// Counts the nominal times in the range that have this record alone.
    pub(super) fn count(&mut self, entry: &EntryName, record: &Kept, counted: u64) {
        if counted == 0 {
            return;
        }
        *self.states.entry(record.state.as_str()).or_default() += counted;
        match record.state {
            State::Skipped => {
                let reason = record.reason.clone().unwrap_or_default();
                *self.skipped.entry(reason).or_default() += counted;
            }
            State::Planned | State::Waiting | State::Unknown | State::Held => self.open.push(OpenFiring {
                entry: entry.clone(),
                nominal: record.first,
                state: record.state,
                firing_id: record.firing_id.clone(),
            }),
            State::Accepted | State::Rejected | State::NotStarted => {}
        }
    }

    pub(super) fn double(&mut self, double: Double, goes_on: bool) {
        match self.doubles.last_mut() {
            Some(last) if goes_on && last.firing_ids == double.firing_ids => {
                last.times.take_in(&double.times)
            }
            _ => self.doubles.push(double),
        }
    }

    pub(super) fn miscount(&mut self, entry: &EntryName, record: &Kept, expected: u64) {
        let (times, firing_id) = (Stretch::of(entry, record), record.firing_id.clone());
        self.miscounts.push(Miscount { times, expected, firing_id });
    }

    pub(super) fn stray(&mut self, entry: &EntryName, record: &Kept) {
        let (times, firing_id) = (Stretch::of(entry, record), record.firing_id.clone());
        self.strays.push(Stray { times, state: record.state, firing_id });
    }
}

impl Stretch {
    /// A single nominal time.
    pub(super) fn single(entry: &EntryName, nominal: Nominal, version: Option<Arc<str>>) -> Self {
        Self { entry: entry.clone(), first: nominal, last: nominal, count: 1, version }
    }

    fn of(entry: &EntryName, record: &Kept) -> Self {
        let version = Some(Arc::clone(&record.version));
        Self { entry: entry.clone(), first: record.first, last: record.last, count: record.count, version }
    }

    fn take_in(&mut self, next: &Self) {
        self.last = next.last;
        self.count += next.count;
    }

    /// Adds a nominal time to the last of the stretches, or begins one.
    pub(super) fn extend(stretches: &mut Vec<Self>, next: Self, goes_on: bool) {
        match stretches.last_mut() {
            Some(last) if goes_on && last.version == next.version => last.take_in(&next),
            _ => stretches.push(next),
        }
    }
}
