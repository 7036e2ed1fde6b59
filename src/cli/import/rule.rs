//! The rule of a trigger as Microsoft's pages state it, enumerated on its own: day by day or minute by minute,
//! with none of the program's calendars. It is what an imported calendar is compared with.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

const DAY: i64 = 86_400;

/// The unit of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

/// When a trigger fires. Empty lists say nothing.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) unit: Unit,
    pub(super) interval: i64,
    /// A whole second.
    pub(super) start: Timestamp,
    /// The last second at which it may fire.
    pub(super) end: Option<Timestamp>,
    pub(super) zone: TimeZone,
    pub(super) minutes: Vec<i64>,
    pub(super) hours: Vec<i64>,
    pub(super) week_days: Vec<Weekday>,
    pub(super) month_days: Vec<i64>,
    pub(super) occurrences: Vec<(Weekday, Option<i64>)>,
}

/// The firings of a rule in a range of time.
#[derive(Debug, Default)]
pub(super) struct Firings {
    /// In seconds since the epoch, in order, each once.
    pub(super) seconds: Vec<i64>,
    /// How many local times a change of the clock skips or repeats: Microsoft's pages do not say what becomes of them.
    pub(super) undocumented: u64,
}

impl Rule {
    /// Every so many units from a start on, in UTC, with no schedule.
    pub(super) fn plain(unit: Unit, interval: i64, start: Timestamp) -> Self {
        Self {
            unit,
            interval,
            start,
            end: None,
            zone: TimeZone::UTC,
            minutes: Vec::new(),
            hours: Vec::new(),
            week_days: Vec::new(),
            month_days: Vec::new(),
            occurrences: Vec::new(),
        }
    }

    /// The firings from an instant on, and before another.
    pub(super) fn enumerate(&self, from: Timestamp, until: Timestamp) -> Firings {
        let mut firings = Firings::default();
        match self.unit {
            Unit::Minute | Unit::Hour => self.by_the_minute(from, until, &mut firings),
            Unit::Day | Unit::Week | Unit::Month => self.by_the_day(from, until, &mut firings),
        }
        let last = self.end.map_or(i64::MAX, Timestamp::as_second);
        firings.seconds.retain(|second| {
            (from.as_second()..until.as_second()).contains(second)
                && (self.start.as_second()..=last).contains(second)
        });
        firings.seconds.sort_unstable();
        firings.seconds.dedup();
        firings
    }

    /// Minutes and hours are steps of real time, which a schedule limits; the minutes of an hourly one are those of
    /// each hour that is hit.
    fn by_the_minute(&self, from: Timestamp, until: Timestamp, firings: &mut Firings) {
        let start = self.start.as_second();
        let local_start = self.zone.to_datetime(self.start);
        let into_hour = i64::from(local_start.minute()) * 60 + i64::from(local_start.second());
        let limited = !self.minutes.is_empty() || !self.hours.is_empty();
        // The minutes of an hourly rule are looked for in each hour that is hit.
        let (step, searched) = match (self.unit, self.minutes.is_empty()) {
            (Unit::Minute, _) => (60 * self.interval, false),
            (_, true) => (3_600 * self.interval, false),
            (_, false) => (60, true),
        };
        let steps = (from.as_second() - start).max(0).div_euclid(step);
        let mut second = start + steps * step;
        while second < until.as_second() {
            let hit = !searched || (second - start + into_hour) / 3_600 % self.interval == 0;
            if hit && (!limited || self.within_the_schedule(second)) {
                firings.seconds.push(second);
            }
            second += step;
        }
    }

    fn within_the_schedule(&self, second: i64) -> bool {
        let Ok(at) = Timestamp::from_second(second) else { return false };
        let local = self.zone.to_datetime(at);
        let named = |list: &[i64], value: i8| list.is_empty() || list.contains(&i64::from(value));
        named(&self.minutes, local.minute()) && named(&self.hours, local.hour())
    }

    /// Days, weeks and months go by the local calendar.
    fn by_the_day(&self, from: Timestamp, until: Timestamp, firings: &mut Firings) {
        let first = self.zone.to_datetime(self.start);
        let all_hours = self.hours.is_empty() && !self.minutes.is_empty();
        let or_own =
            |list: &[i64], own: i8| if list.is_empty() { vec![i64::from(own)] } else { list.to_vec() };
        let hours = if all_hours { (0..24).collect() } else { or_own(&self.hours, first.hour()) };
        let minutes = or_own(&self.minutes, first.minute());
        let around = |at: Timestamp, days: i64, beyond: Date| {
            self.zone.to_datetime(at).date().checked_add(days.days()).unwrap_or(beyond)
        };
        let (mut date, last) =
            (around(from, -2, first.date()).max(first.date()), around(until, 2, Date::MAX));
        while date <= last {
            if self.is_day(first.date(), date) {
                for (hour, minute) in
                    hours.iter().flat_map(|hour| minutes.iter().map(move |minute| (hour, minute)))
                {
                    let second = hour * 3_600 + minute * 60 + i64::from(first.second());
                    let midnight = date.to_datetime(jiff::civil::Time::midnight());
                    let Ok(local) = midnight.checked_add(SignedDuration::from_secs(second)) else { return };
                    self.at_local(local, all_hours, (from, until), firings);
                }
            }
            let Ok(next) = date.tomorrow() else { return };
            date = next;
        }
    }

    fn is_day(&self, first: Date, date: Date) -> bool {
        let days = first.duration_until(date).as_secs() / DAY;
        match self.unit {
            Unit::Week => {
                let named = match self.week_days.as_slice() {
                    [] => date.weekday() == first.weekday(),
                    named => named.contains(&date.weekday()),
                };
                days / 7 % self.interval == 0 && named
            }
            Unit::Month => {
                let count = |date: Date| i64::from(date.year()) * 12 + i64::from(date.month());
                (count(date) - count(first)) % self.interval == 0 && self.is_day_of_month(first, date)
            }
            _ => days % self.interval == 0,
        }
    }

    fn is_day_of_month(&self, first: Date, date: Date) -> bool {
        let (day, of) = (i64::from(date.day()), i64::from(date.days_in_month()));
        if self.month_days.is_empty() && self.occurrences.is_empty() {
            return date.day() == first.day();
        }
        let (nth, nth_last) = ((day - 1) / 7 + 1, -((of - day) / 7 + 1));
        self.month_days.iter().any(|named| *named == day || *named == day - of - 1)
            || self.occurrences.iter().any(|(weekday, occurrence)| {
                *weekday == date.weekday() && occurrence.is_none_or(|named| named == nth || named == nth_last)
            })
    }

    /// A fixed local time that is skipped fires at the end of the gap, one that is repeated at its first occurrence;
    /// what is due each hour goes by the real hours. That is this program's rule, for Microsoft states none.
    fn at_local(
        &self,
        local: DateTime,
        each_hour: bool,
        (from, until): (Timestamp, Timestamp),
        firings: &mut Firings,
    ) {
        let mut fire = |at: Result<Timestamp, jiff::Error>| {
            firings.seconds.extend(at.map(Timestamp::as_second));
        };
        let offset = self.zone.to_ambiguous_timestamp(local).offset();
        let instant = match offset {
            AmbiguousOffset::Unambiguous { offset } => return fire(offset.to_timestamp(local)),
            AmbiguousOffset::Gap { before, .. } => {
                let after = before.to_timestamp(local);
                let change = after.ok().and_then(|after| {
                    let later = after.checked_add(SignedDuration::from_secs(1)).ok()?;
                    self.zone.preceding(later).next()
                });
                change.filter(|_| !each_hour).into_iter().for_each(|change| fire(Ok(change.timestamp())));
                before.to_timestamp(local)
            }
            AmbiguousOffset::Fold { before, after } => {
                fire(before.to_timestamp(local));
                if each_hour {
                    fire(after.to_timestamp(local));
                }
                before.to_timestamp(local)
            }
        };
        if instant.is_ok_and(|at| from <= at && at < until && at >= self.start) {
            firings.undocumented += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(unit: Unit, interval: i64, start: &str) -> Rule {
        Rule::plain(unit, interval, start.parse().unwrap())
    }

    fn times(rule: &Rule, from: &str, until: &str) -> Vec<String> {
        let seconds = rule.enumerate(from.parse().unwrap(), until.parse().unwrap()).seconds;
        seconds.iter().map(|second| Timestamp::from_second(*second).unwrap().to_string()).collect()
    }

    /// The examples of "Create a trigger that runs a pipeline on a schedule" (Azure documentation).
    #[test]
    fn the_examples_of_microsofts_page_fire_as_it_says() {
        let every_two_days = rule(Unit::Day, 2, "2017-04-07T14:00:00Z");
        assert_eq!(
            times(&every_two_days, "2017-04-08T13:00:00Z", "2017-04-10T00:00:00Z"),
            ["2017-04-09T14:00:00Z"]
        );
        let hourly = Rule { minutes: vec![0], ..rule(Unit::Day, 1, "2017-04-07T14:20:00Z") };
        assert_eq!(times(&hourly, "2017-04-08T00:00:00Z", "2017-04-09T00:00:00Z").len(), 24);
        let last_fridays = Rule {
            occurrences: vec![(Weekday::Friday, Some(-1))],
            hours: vec![5, 17],
            minutes: vec![15],
            ..rule(Unit::Month, 1, "2017-04-01T00:00:00Z")
        };
        assert_eq!(
            times(&last_fridays, "2017-04-01T00:00:00Z", "2017-06-01T00:00:00Z"),
            ["2017-04-28T05:15:00Z", "2017-04-28T17:15:00Z", "2017-05-26T05:15:00Z", "2017-05-26T17:15:00Z"]
        );
        let fifth = Rule {
            occurrences: vec![(Weekday::Friday, Some(5))],
            ..rule(Unit::Month, 1, "2017-04-01T00:00:00Z")
        };
        assert_eq!(times(&fifth, "2017-04-01T00:00:00Z", "2017-08-01T00:00:00Z"), ["2017-06-30T00:00:00Z"]);
        let last_day = Rule { month_days: vec![-1, 31], ..rule(Unit::Month, 1, "2017-04-01T00:00:00Z") };
        assert_eq!(
            times(&last_day, "2017-04-01T00:00:00Z", "2017-06-01T00:00:00Z"),
            ["2017-04-30T00:00:00Z", "2017-05-31T00:00:00Z"]
        );
    }
}
