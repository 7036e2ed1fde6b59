//! The recurrence of Data Factory's schedule triggers: a frequency and an interval, counted from a start, with an
//! optional schedule within them ("Create a trigger that runs a pipeline on a schedule", Azure documentation).
//!
//! - Without a schedule: the start, and every interval after it.
//! - Of a schedule, hours without minutes mean the minute of the start; minutes without hours mean every hour; without
//!   both, and without days, the start gives them. Seconds are always those of the start.
//! - Minutes and hours are steps of real time, whatever the clock does; a schedule limits them, and `minutes` in
//!   an hourly one are those of each hour that is hit. Days, weeks and months go by the local calendar.
//! - Days that a month does not have are left out, never moved.
//!
//! Where Microsoft's page is silent: weeks are spans of seven days from the day of the start on, months are those of
//! the calendar, and the month of the start is the first one.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::cron::MONTHS;
use super::days::{Count, Days, OfMonth, OfWeek};
use super::times::{ALL_HOURS, ALL_SIXTY, Times, bits, low};
use super::zone::{self, Pattern};
use super::{DstGap, DstOverlap, ScheduleError, Zone};
use crate::ids::Nominal;

/// The unit of a recurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frequency {
    /// Steps of 60 seconds.
    Minute,
    /// Steps of 3,600 seconds.
    Hour,
    /// Days of the local calendar.
    Day,
    /// Seven days of the local calendar.
    Week,
    /// Months of the local calendar.
    Month,
}

/// What a recurrence says. Empty lists say nothing.
#[derive(Debug, Clone)]
pub struct RecurrenceSpec {
    /// Its unit.
    pub frequency: Frequency,
    /// So many units apart, from 1.
    pub interval: u16,
    /// From where they count; a fraction of a second is dropped.
    pub start: Timestamp,
    /// 0 to 59.
    pub minutes: Vec<u8>,
    /// 0 to 23.
    pub hours: Vec<u8>,
    /// Sunday is 0. Of a week.
    pub week_days: Vec<u8>,
    /// 1 to 31, or -1 to -31 from the last day on. Of a month.
    pub month_days: Vec<i8>,
    /// A weekday, and its occurrence 1 to 5 or -1 to -5, or each. Of a month.
    pub monthly_occurrences: Vec<(u8, Option<i8>)>,
}

/// A recurrence in a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    frequency: Frequency,
    interval: i32,
    /// The first second that may be one of its times.
    start: Nominal,
    local: DateTime,
    /// Minutes are given, of each hour that an hourly recurrence hits.
    expands: bool,
    /// Fixed local times, or all hours.
    real_time: bool,
    times: Times,
    days: Days,
}

impl Recurrence {
    /// A recurrence whose start, hours and days are those of `zone`.
    ///
    /// # Errors
    /// [`ScheduleError::Never`] when it has no time in the fifty years after its start.
    pub fn new(spec: &RecurrenceSpec, zone: &Zone) -> Result<Self, ScheduleError> {
        let start = Nominal::at_or_before(spec.start);
        let local = zone.rules().to_datetime(start.timestamp());
        let by_clock = matches!(spec.frequency, Frequency::Minute | Frequency::Hour);
        let minutes = bits(spec.minutes.iter().map(|minute| u16::from(*minute)));
        let hours = low(bits(spec.hours.iter().map(|hour| u16::from(*hour))));
        let own = |value: i8| 1_u64 << value.unsigned_abs();
        let recurrence = Self {
            frequency: spec.frequency,
            interval: i32::from(spec.interval.max(1)),
            start,
            local,
            expands: spec.frequency == Frequency::Hour && minutes != 0,
            real_time: by_clock || (minutes != 0 && hours == 0),
            times: Times {
                seconds: own(local.second()),
                minutes: match minutes {
                    0 if by_clock => ALL_SIXTY,
                    0 => own(local.minute()),
                    minutes => minutes,
                },
                hours: match hours {
                    0 if by_clock || minutes != 0 => ALL_HOURS,
                    0 => low(own(local.hour())),
                    hours => hours,
                },
            },
            days: days(spec, local.date()),
        };
        let before = Nominal::from_second(start.as_second() - 1).unwrap_or(start);
        let first = zone::next_after(&recurrence, zone, DstGap::RunAfter, DstOverlap::First, before);
        match first {
            Some(_) => Ok(recurrence),
            None => Err(ScheduleError::Never("the recurrence".to_owned())),
        }
    }

    /// Its unit, and how many of them lie between.
    #[must_use]
    pub fn period(&self) -> (Frequency, i32) {
        (self.frequency, self.interval)
    }

    /// Its start: none of its times lies before.
    #[must_use]
    pub fn start(&self) -> Timestamp {
        self.start.timestamp()
    }

    /// The first date at or after `from`.
    fn next_date(&self, from: Date) -> Option<Date> {
        let first = self.local.date();
        let mut date = from.max(first);
        match self.frequency {
            Frequency::Month => {
                for _ in 0..=MONTHS {
                    match months(first, date).rem_euclid(self.interval) {
                        0 => match self.days.at_or_after(date) {
                            Some(found) => return Some(found),
                            None => date = date.last_of_month().tomorrow().ok()?,
                        },
                        _ => date = date.last_of_month().tomorrow().ok()?,
                    }
                }
                None
            }
            Frequency::Week => {
                let week = days_since(first, date).div_euclid(7);
                let over = week.rem_euclid(i64::from(self.interval));
                if over != 0 {
                    date = days_later(first, (week - over + i64::from(self.interval)) * 7)?;
                }
                // The week that is left, and the next one that counts.
                let rest = 7 - days_since(first, date).rem_euclid(7);
                self.weekday_within(date, rest).or_else(|| {
                    let next = days_later(date, rest + 7 * (i64::from(self.interval) - 1))?;
                    self.weekday_within(next, 7)
                })
            }
            _ => {
                let over = days_since(first, date).rem_euclid(i64::from(self.interval));
                if over == 0 { Some(date) } else { days_later(date, i64::from(self.interval) - over) }
            }
        }
    }

    fn weekday_within(&self, from: Date, days: i64) -> Option<Date> {
        let wanted = self.days.of_week.every;
        (0..days)
            .filter_map(|later| days_later(from, later))
            .find(|date| wanted & 1 << date.weekday().to_sunday_zero_offset() != 0)
    }

    /// The first step at or after `from` whose local minute and hour are wanted.
    fn next_step(&self, from: i64, offset: Offset) -> Option<i64> {
        let wanted = |second: i64| {
            let of_day = (second + i64::from(offset.seconds())).rem_euclid(86_400);
            self.times.minutes & 1 << (of_day / 60 % 60) != 0 && self.times.hours & 1 << (of_day / 3_600) != 0
        };
        let unit = if self.frequency == Frequency::Minute { 60 } else { 3_600 };
        let period = unit * i64::from(self.interval);
        let start = self.start.as_second();
        if !self.expands {
            // After a day's worth of minutes every time of day that can be hit was hit.
            let first = start + (from - start).max(0).div_euclid(period) * period;
            return (0..=1_441)
                .map(|step| first + step * period)
                .find(|second| *second >= from && wanted(*second));
        }
        let hour = start - i64::from(self.local.minute()) * 60 - i64::from(self.local.second());
        let first = hour + (from - hour).max(0).div_euclid(period) * period;
        (0..=25).map(|step| first + step * period).find_map(|hour| {
            // The seconds stay those of the start, whatever the offset.
            let shift = (i64::from(self.local.second()) - hour - i64::from(offset.seconds())).rem_euclid(60);
            (0..60).map(|minute| hour + shift + minute * 60).find(|second| *second >= from && wanted(*second))
        })
    }
}

impl Pattern for Recurrence {
    fn next(&self, from: DateTime, offset: Offset) -> Option<DateTime> {
        if matches!(self.frequency, Frequency::Minute | Frequency::Hour) {
            let second = self.next_step(offset.to_timestamp(from).ok()?.as_second(), offset)?;
            return Some(offset.to_datetime(Timestamp::from_second(second).ok()?));
        }
        self.times.next_on(from, |date| self.next_date(date))
    }

    fn follows_real_time(&self) -> bool {
        self.real_time
    }
}

/// Which days of a week or a month; the start's own if none is given.
fn days(spec: &RecurrenceSpec, start: Date) -> Days {
    let weekday = |number: u8| 1_u8 << (number % 7);
    match spec.frequency {
        Frequency::Week => {
            let own = weekday(start.weekday().to_sunday_zero_offset().unsigned_abs());
            let given = spec.week_days.iter().fold(0, |all, day| all | weekday(*day));
            let every = if given == 0 { own } else { given };
            Days { of_week: OfWeek { every, ..OfWeek::default() }, count: Count::OfWeek, ..Days::ALL }
        }
        Frequency::Month if !spec.monthly_occurrences.is_empty() => {
            let mut of_week = OfWeek::default();
            for (day, occurrence) in &spec.monthly_occurrences {
                match occurrence {
                    Some(n @ 1..=5) => of_week.nth[usize::from(n.unsigned_abs()) - 1] |= weekday(*day),
                    Some(n) => {
                        of_week.nth_from_end[usize::from(n.unsigned_abs()).clamp(1, 5) - 1] |= weekday(*day)
                    }
                    None => of_week.every |= weekday(*day),
                }
            }
            Days { of_week, count: Count::OfWeek, ..Days::ALL }
        }
        Frequency::Month => {
            let set = |wanted: fn(&i8) -> bool| {
                let chosen = spec.month_days.iter().filter(|day| wanted(day));
                low(bits(chosen.map(|day| u16::from(day.unsigned_abs()))))
            };
            let (mut days, from_end) = (set(|day| *day > 0), set(|day| *day < 0));
            if days == 0 && from_end == 0 {
                days = 1 << start.day();
            }
            Days {
                of_month: OfMonth { days, from_end, ..OfMonth::default() },
                count: Count::OfMonth,
                ..Days::ALL
            }
        }
        Frequency::Minute | Frequency::Hour | Frequency::Day => Days::ALL,
    }
}

fn days_since(first: Date, date: Date) -> i64 {
    first.duration_until(date).as_hours().div_euclid(24)
}

fn days_later(date: Date, days: i64) -> Option<Date> {
    date.checked_add(SignedDuration::from_hours(days.checked_mul(24)?)).ok()
}

fn months(first: Date, date: Date) -> i32 {
    let number = |date: Date| i32::from(date.year()) * 12 + i32::from(date.month());
    number(date) - number(first)
}

/// All that makes it, in a form that no release may change: it is part of the fingerprint.
impl fmt::Display for Recurrence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Times { minutes, hours, .. } = self.times;
        write!(f, "{:?} {} from {} ", self.frequency, self.interval, self.start)?;
        write!(f, "minutes {minutes:x} hours {hours:x} ")?;
        if self.expands {
            write!(f, "of each hour ")?;
        }
        let (of_month, of_week) = (self.days.of_month, self.days.of_week);
        write!(f, "days {:x} {:x} {:x}", of_month.days, of_month.from_end, of_week.every)?;
        of_week.nth.iter().chain(&of_week.nth_from_end).try_for_each(|days| write!(f, " {days:x}"))
    }
}
