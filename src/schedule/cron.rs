//! Cron expressions in civil time: which local dates and times match. They are read as Vixie's cron does
//! (crontab(5) and its entry.c), kept as bit sets, and asked for the next match with a few shifts.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

use super::days::{Count, Days, OfMonth, OfWeek};
use super::except::Span;
use super::field::{DAY, Field, HOUR, MINUTE, MONTH, Named, SECOND, WEEKDAY};
use super::times::{ALL_HOURS, ALL_SIXTY, Times, low};
use super::zone::Pattern;
use super::{ScheduleError, foreign, former};

/// How many months ahead a date is looked for, 50 years: the fifth Monday of February comes every 28 years, and
/// after 40 years around 2100.
pub(super) const MONTHS: u16 = 50 * 12;

/// The macros of crontab(5) that name times, in upper case.
pub(super) const MACROS: [(&str, &str); 7] = [
    ("@YEARLY", "0 0 1 1 *"),
    ("@ANNUALLY", "0 0 1 1 *"),
    ("@MONTHLY", "0 0 1 * *"),
    ("@WEEKLY", "0 0 * * 0"),
    ("@DAILY", "0 0 * * *"),
    ("@MIDNIGHT", "0 0 * * *"),
    ("@HOURLY", "0 * * * *"),
];

/// How an expression is read. A schedule version in the ledger keeps the rules that it was read by, so that what
/// fired under it can still be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CronRules {
    /// As version 0.1 before the change read it, which is as croner 4 does.
    Croner,
    /// As Vixie's cron reads it.
    Vixie,
}

impl CronRules {
    /// The rules by which schedule files are read now.
    pub const CURRENT: Self = Self::Vixie;

    /// The word in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Croner => "croner",
            Self::Vixie => "vixie",
        }
    }

    /// Reads the word that `as_str` wrote.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        [Self::Croner, Self::Vixie].into_iter().find(|rules| rules.as_str() == word)
    }
}

/// A cron expression of five fields, or six with seconds first.
#[derive(Clone)]
pub struct Cron {
    text: Box<str>,
    meaning: Meaning,
    /// Whether it means something else than by the rules of before.
    differs: bool,
}

/// What an expression means.
#[derive(Clone)]
struct Meaning {
    times: Times,
    days: Days,
    months: u16,
    wildcard: bool,
    with_seconds: bool,
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cron({})", self.text)
    }
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ScheduleError::Cron`] when it is not one, [`ScheduleError::Never`] when it names no date that exists.
    pub fn parse(text: &str, rules: CronRules) -> Result<Self, ScheduleError> {
        let text = text.trim();
        let expression = in_full(text)?;
        let before = Meaning::of(&former::rewritten(&expression), true);
        let (meaning, differs) = match rules {
            CronRules::Croner => (before, false),
            CronRules::Vixie => {
                let now = Meaning::of(&expression, false);
                let differs = matches!((&now, &before), (Ok(now), Ok(before)) if !now.same_as(before));
                (now, differs)
            }
        };
        let meaning = meaning.map_err(|why| {
            let reads = |other: &str| Meaning::of(other, false).is_ok();
            let why = foreign::of_another_scheduler(&expression, reads).unwrap_or(why);
            ScheduleError::Cron(format!("'{text}' is not a cron expression: {why}"))
        })?;
        match meaning.next_date(jiff::civil::date(2000, 1, 1)) {
            Some(_) => Ok(Self { text: text.into(), meaning, differs }),
            None => Err(ScheduleError::Never(format!("'{text}'"))),
        }
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What tells it from another expression, in a form that no release may change: a changed fingerprint makes
    /// every entry begin anew. That is its text, and the rules where it means something else than by those of before.
    pub(super) fn identity(&self) -> String {
        let rules = if self.differs { " by Vixie's rules" } else { "" };
        format!("{}{rules}", self.text)
    }

    /// Whether it names the same times as the other.
    #[cfg(test)]
    pub(super) fn names_the_same(&self, other: &Self) -> bool {
        self.meaning.same_as(&other.meaning)
    }

    /// The times of day that it names.
    pub(crate) fn times(&self) -> &Times {
        &self.meaning.times
    }

    /// The days of a month that it names.
    pub(crate) fn days(&self) -> &Days {
        &self.meaning.days
    }

    /// The months that it names. Bit n is month n.
    pub(crate) fn months(&self) -> u16 {
        self.meaning.months
    }

    /// The first date at or after `from` that matches, if any does within fifty years.
    #[cfg(test)]
    pub(crate) fn next_date(&self, from: Date) -> Option<Date> {
        self.meaning.next_date(from)
    }

    /// How much of the time around a local time it names without a gap, if it names that; the minute, if it says
    /// nothing of seconds.
    pub(super) fn span(&self, local: DateTime) -> Option<Span> {
        let seconds = if self.meaning.with_seconds { self.meaning.times.seconds } else { ALL_SIXTY };
        let of_month = self.meaning.months & 1 << local.month() != 0
            && self.meaning.days.within(local.date()) & 1 << local.day() != 0;
        let named = of_month
            && self.meaning.times.hours & 1 << local.hour() != 0
            && self.meaning.times.minutes & 1 << local.minute() != 0
            && seconds & 1 << local.second() != 0;
        let (minute, hour) = (seconds == ALL_SIXTY, self.meaning.times.minutes == ALL_SIXTY);
        named.then_some(match (minute, hour, self.meaning.times.hours == ALL_HOURS) {
            (true, true, true) => Span::Day,
            (true, true, false) => Span::Hour,
            (true, false, _) => Span::Minute,
            (false, ..) => Span::Second,
        })
    }
}

impl Meaning {
    /// Reads an expression of fields in upper case.
    ///
    /// # Errors
    /// The first field that is wrong, and why, as a clause.
    fn of(expression: &str, former: bool) -> Result<Self, String> {
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let (second, [minute, hour, day, month, weekday]) = match fields[..] {
            [minute, hour, day, month, weekday] => (None, [minute, hour, day, month, weekday]),
            [second, minute, hour, day, month, weekday] => {
                (Some(second), [minute, hour, day, month, weekday])
            }
            _ => return Err(format!("it has {} fields", fields.len())),
        };
        let read = |field: &Field, text: &str| match former {
            true => field.read_with_gaps(text),
            false => field.read(text),
        };
        let (both, weekday) = match weekday.strip_prefix('+') {
            Some(weekday) => (true, weekday),
            None => (false, weekday),
        };
        let seconds = second.map_or(Ok(1), |second| read(&SECOND, second).map(|named| named.every))?;
        Ok(Self {
            wildcard: minute.starts_with('*') || hour.starts_with('*'),
            with_seconds: second.is_some(),
            times: Times {
                seconds,
                minutes: read(&MINUTE, minute)?.every,
                hours: low(read(&HOUR, hour)?.every),
            },
            days: days(read(&DAY, day)?, read(&WEEKDAY, weekday)?, both),
            months: u16::try_from(read(&MONTH, month)?.every).unwrap_or(0),
        })
    }

    /// Whether the other one names the same times.
    fn same_as(&self, other: &Self) -> bool {
        self.times == other.times
            && self.months == other.months
            && self.wildcard == other.wildcard
            && self.days.same_as(&other.days, self.months)
    }

    /// The first date at or after `from` that matches, if any does within fifty years.
    fn next_date(&self, from: Date) -> Option<Date> {
        let mut date = from;
        for _ in 0..=MONTHS {
            if self.months & 1 << date.month() != 0
                && let Some(found) = self.days.at_or_after(date)
            {
                return Some(found);
            }
            date = date.last_of_month().tomorrow().ok()?;
        }
        None
    }
}

impl Pattern for Cron {
    fn next(&self, from: DateTime, _: Offset) -> Option<DateTime> {
        self.meaning.times.next_on(from, |date| self.meaning.next_date(date))
    }

    fn follows_real_time(&self) -> bool {
        self.meaning.wildcard
    }
}

/// The days that the two fields name. Where one of them begins with `*`, or there is a `+` before the weekdays, both
/// must match; else either will do. So does Vixie's cron, which knows no `+` (DOM_STAR and DOW_STAR in its entry.c).
fn days(by_number: Named, by_weekday: Named, both: bool) -> Days {
    let week = |set: u64| u8::try_from(set & 0x7f).unwrap_or(0);
    let of_month = OfMonth {
        days: low(by_number.every),
        from_end: if by_number.last_day { 1 << 1 } else { 0 },
        near: low(by_number.near),
        last_working: by_number.last_working,
    };
    let of_week = OfWeek {
        every: week(by_weekday.every),
        nth: by_weekday.nth.map(week),
        nth_from_end: [week(by_weekday.last), 0, 0, 0, 0],
    };
    let both = both || by_number.star || by_weekday.star;
    Days::of(of_month, of_week, if both { Count::Both } else { Count::Either })
}

/// An expression in upper case and without a macro.
fn in_full(text: &str) -> Result<String, ScheduleError> {
    let upper = text.to_ascii_uppercase();
    if let Some((_, full)) = MACROS.iter().find(|(name, _)| *name == upper) {
        return Ok((*full).to_owned());
    }
    match foreign::misshapen(text, &upper) {
        Some(why) => Err(ScheduleError::Cron(why)),
        None => Ok(upper),
    }
}
