//! Nominal times that are left out: as one row where none of them has a record, else as the rows that lie
//! between those that have.

use std::sync::Arc;

use jiff::Timestamp;

use super::{Intent, Reason};
use crate::event::{Event, Fields, Level, Name};
use crate::ids::{FiringId, Nominal};
use crate::schedule::Calendar;

/// Consecutive nominal times of one entry that were left out for one reason.
#[derive(Debug, Clone)]
pub struct Skips {
    /// The first of them, as an intent with an empty body.
    pub intent: Intent,
    /// The last of them.
    pub last: Nominal,
    /// How many.
    pub count: u64,
    /// Why.
    pub reason: Reason,
    /// The calendar that names them; none is needed for one alone.
    pub calendar: Option<Arc<Calendar>>,
}

impl Skips {
    /// What is left of it around nominal times that have a record: the rows between `taken`, which are ranges in
    /// order. It is itself what is left where none of its nominal times is taken.
    #[must_use]
    pub fn around(&self, taken: &[(Nominal, Nominal)]) -> Vec<Self> {
        if taken.is_empty() {
            return vec![self.clone()];
        }
        let Some(calendar) = &self.calendar else { return Vec::new() };
        let mut rows: Vec<Self> = Vec::new();
        let (mut taken, mut goes_on) = (taken.iter().peekable(), false);
        let before = Nominal::from_second(self.intent.nominal.as_second() - 1).unwrap_or(self.intent.nominal);
        for nominal in calendar.due_between(before, self.last) {
            while taken.next_if(|(_, last)| *last < nominal).is_some() {}
            if taken.peek().is_some_and(|(first, _)| *first <= nominal) {
                goes_on = false;
            } else if let Some(row) = rows.last_mut().filter(|_| goes_on) {
                row.last = nominal;
                row.count += 1;
            } else {
                rows.push(self.beginning_at(nominal, calendar));
                goes_on = true;
            }
        }
        rows
    }

    /// The same for one nominal time alone.
    fn beginning_at(&self, nominal: Nominal, calendar: &Calendar) -> Self {
        let Intent { factory, entry, .. } = &self.intent;
        let intent = Intent {
            firing_id: FiringId::scheduled(factory, entry, nominal),
            nominal,
            due: calendar.due_time(entry, nominal),
            ..self.intent.clone()
        };
        Self { intent, last: nominal, count: 1, ..self.clone() }
    }

    /// The event that tells of it.
    #[must_use]
    pub fn event(&self) -> Event {
        let left_out_at = Timestamp::from_millisecond(self.intent.planned_at.as_millisecond());
        Event { at: left_out_at.ok(), ..skipped(&self.intent, self.reason, self.last, self.count) }
    }
}

/// Where a row of `count` skips from `first` to `last` ends if it reaches no further than `to`, and how many it then
/// stands for: by the calendar that counts them so, and by the one that leaves most of it where several do. By none, it ends at `to` and stands for `count` at
/// the most.
#[must_use]
pub fn cut<'a>(
    calendars: impl Iterator<Item = &'a Arc<Calendar>>,
    (first, last, count): (Nominal, Nominal, u64),
    to: Nominal,
) -> (Nominal, u64) {
    let before = Nominal::from_second(first.as_second() - 1).unwrap_or(first);
    let counts_so = |calendar: &&Arc<Calendar>| {
        let most = usize::try_from(count).unwrap_or(usize::MAX).saturating_add(1);
        let mut times = calendar.due_between(before, last).take(most);
        times.next() == Some(first) && times.count() as u64 + 1 == count && calendar.names(last)
    };
    let cut_by = |calendar: &Arc<Calendar>| {
        calendar.due_between(before, to).fold(None, |left: Option<(Nominal, u64)>, nominal| {
            Some((nominal, left.map_or(1, |(_, count)| count + 1)))
        })
    };
    // Two calendars may count it so by chance: a time too many is guarded for nothing, one too few has no record.
    let left = calendars.filter(counts_so).filter_map(cut_by).max();
    left.unwrap_or((to, count))
}

/// Tells that so many nominal times from that of `first` to `last` were left out.
#[must_use]
pub fn skipped(first: &Intent, reason: Reason, last: Nominal, count: u64) -> Event {
    let (entry, reason) = (&first.entry, reason.as_str());
    let fields = Fields {
        reason: Some(reason.to_owned()),
        first: Some(first.nominal.to_string()),
        last: Some(last.to_string()),
        count: Some(count),
        ..first.fields()
    };
    let message = match count {
        1 => format!("{entry} at {} was left out: {reason}", first.nominal),
        _ => format!("{count} nominal times of {entry} were left out: {reason}"),
    };
    Event::new(Level::Warn, Name::FiringSkipped, message, fields)
}
