//! Cron expressions in civil time: which local dates and times match. The only file that names croner.
//!
//! croner reads the expression; its own handling of clock changes is not used, since 4.0.3 loses and
//! doubles firings of lists (02:00 of `0 2,14 * * *` in Berlin on 2026-03-29 and 2026-10-25). Its pattern
//! takes several KiB, so what can be said in bit sets is kept as bit sets.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{Date, DateTime, Time};

use super::ScheduleError;

/// How far ahead a date is looked for: the fifth Monday of February comes every 28 years, and after 40
/// years around 2100.
const YEARS: i16 = 50;

/// A cron expression of five fields, or six with seconds first.
#[derive(Clone)]
pub struct Cron {
    text: Box<str>,
    seconds: u64,
    minutes: u64,
    hours: u32,
    months: u16,
    days: Days,
    wildcard: bool,
}

/// Which days match.
#[derive(Clone)]
enum Days {
    /// Plain days of the month and of the week, as bits. Where both are restricted either will do, as in
    /// Vixie's cron.
    Plain { of_month: u32, of_week: u8, any_of_month: bool, any_of_week: bool },
    /// `L`, `W` or `#`: croner knows.
    Special(Box<croner::Cron>),
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
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let text = text.trim();
        refuse_foreign_forms(text)?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let parsed = parser.parse(text).map_err(|error| {
            let why = wrong_field(&parser, text).unwrap_or_else(|| in_words(&error.to_string()));
            ScheduleError::Cron(format!("'{text}' is not a cron expression: {why}"))
        })?;
        let pattern = &parsed.pattern;
        let bits =
            |values: Vec<u16>| values.into_iter().filter(|v| *v < 64).fold(0_u64, |all, v| all | 1 << v);
        let special = pattern.days.has_modifiers() || pattern.days_of_week.has_modifiers();
        let of_week = bits(pattern.days_of_week.values());
        let cron = Self {
            seconds: bits(pattern.seconds.values()),
            minutes: bits(pattern.minutes.values()),
            hours: low(bits(pattern.hours.values())),
            months: u16::try_from(bits(pattern.months.values()) & 0xffff).unwrap_or(0),
            wildcard: is_wildcard(text),
            days: if special {
                Days::Special(Box::new(parsed))
            } else {
                Days::Plain {
                    of_month: low(bits(pattern.days.values())),
                    // Sunday is 0 and 7.
                    of_week: u8::try_from((of_week | of_week >> 7) & 0x7f).unwrap_or(0),
                    any_of_month: pattern.is_dom_wildcard(),
                    any_of_week: pattern.is_dow_wildcard(),
                }
            },
            text: text.into(),
        };
        match cron.next_date(jiff::civil::date(2000, 1, 1)) {
            Some(_) => Ok(cron),
            None => Err(ScheduleError::Never(text.to_owned())),
        }
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the minute or the hour field begins with `*`, so that the schedule follows real time.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }

    /// The first local time at or after `from` that matches, if any does within fifty years.
    pub(super) fn next(&self, from: DateTime) -> Option<DateTime> {
        // A local time with a fraction of a second is already past that second.
        let from = if from.subsec_nanosecond() == 0 {
            from
        } else {
            from.with()
                .subsec_nanosecond(0)
                .build()
                .ok()?
                .checked_add(jiff::SignedDuration::from_secs(1))
                .ok()?
        };
        let date = self.next_date(from.date())?;
        if date > from.date() {
            return Some(date.to_datetime(self.next_time(Time::midnight())?));
        }
        match self.next_time(from.time()) {
            Some(time) => Some(date.to_datetime(time)),
            None => {
                let date = self.next_date(date.tomorrow().ok()?)?;
                Some(date.to_datetime(self.next_time(Time::midnight())?))
            }
        }
    }

    fn next_date(&self, from: Date) -> Option<Date> {
        let limit = from.year().saturating_add(YEARS);
        let mut date = from;
        while date.year() <= limit {
            if self.months & 1 << date.month() == 0 {
                date = date.last_of_month().tomorrow().ok()?;
            } else if self.is_day(date) {
                return Some(date);
            } else {
                date = date.tomorrow().ok()?;
            }
        }
        None
    }

    fn is_day(&self, date: Date) -> bool {
        let weekday = date.weekday().to_sunday_zero_offset();
        match &self.days {
            Days::Plain { of_month, of_week, any_of_month, any_of_week } => {
                let by_month = of_month & 1 << date.day() != 0;
                let by_week = of_week & 1 << weekday != 0;
                match (any_of_month, any_of_week) {
                    (false, false) => by_month || by_week,
                    (true, false) => by_week,
                    (_, true) => by_month,
                }
            }
            Days::Special(cron) => {
                use croner::time::Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
                let weekday = [Sunday, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday]
                    [usize::from(weekday.unsigned_abs()) % 7];
                let (month, day) =
                    (u32::from(date.month().unsigned_abs()), u32::from(date.day().unsigned_abs()));
                cron.pattern.day_match(i32::from(date.year()), month, day, weekday).unwrap_or(false)
            }
        }
    }

    /// The first matching time of day at or after `from`.
    fn next_time(&self, from: Time) -> Option<Time> {
        let (hour, minute, second) =
            (from.hour().unsigned_abs(), from.minute().unsigned_abs(), from.second().unsigned_abs());
        let hours = u64::from(self.hours);
        let first = |hour: u8, minute: u8, second: u8| {
            Time::new(hour.cast_signed(), minute.cast_signed(), second.cast_signed(), 0).ok()
        };
        let (any_minute, any_second) = (at_least(self.minutes, 0)?, at_least(self.seconds, 0)?);
        if hours & 1 << hour != 0 {
            if self.minutes & 1 << minute != 0
                && let Some(second) = at_least(self.seconds, second)
            {
                return first(hour, minute, second);
            }
            if let Some(minute) = at_least(self.minutes, minute + 1) {
                return first(hour, minute, any_second);
            }
        }
        first(at_least(hours, hour + 1)?, any_minute, any_second)
    }
}

/// The lowest bit that is set at or above `from`.
fn at_least(bits: u64, from: u8) -> Option<u8> {
    let rest = bits.checked_shr(u32::from(from))?;
    if rest == 0 { None } else { u8::try_from(rest.trailing_zeros() + u32::from(from)).ok() }
}

fn low(bits: u64) -> u32 {
    u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0)
}

/// Whether the minute or the hour field begins with `*`; `@hourly` does so in its long form.
fn is_wildcard(text: &str) -> bool {
    let fields: Vec<&str> = text.split_whitespace().collect();
    match fields.as_slice() {
        [alias] => alias.eq_ignore_ascii_case("@hourly"),
        [minute, hour, _, _, _] | [_, minute, hour, _, _, _] => {
            minute.starts_with('*') || hour.starts_with('*')
        }
        _ => false,
    }
}

/// Forms that other crons know, and what to write here instead.
fn refuse_foreign_forms(text: &str) -> Result<(), ScheduleError> {
    let refuse = |why: String| Err(ScheduleError::Cron(why));
    let upper = text.to_ascii_uppercase();
    if upper.starts_with("TZ=") || upper.starts_with("CRON_TZ=") {
        return refuse("a zone does not stand in the expression; use the key `timezone`".to_owned());
    }
    if upper == "@REBOOT" {
        return refuse("'@reboot' is no time; a schedule names times".to_owned());
    }
    if upper.starts_with("@EVERY") {
        return refuse("'@every' is written as a mapping: { every: 15m }".to_owned());
    }
    let fields = text.split_whitespace().count();
    if !text.starts_with('@') && !(5..=6).contains(&fields) {
        return refuse(format!(
            "'{text}' has {fields} fields; a cron expression has 5 (minute hour day month weekday), or 6 with seconds first"
        ));
    }
    Ok(())
}

/// The first field that is wrong by itself, and what it may hold.
fn wrong_field(parser: &CronParser, text: &str) -> Option<String> {
    const FIELDS: [(&str, &str); 6] = [
        ("second", "0-59"),
        ("minute", "0-59"),
        ("hour", "0-23"),
        ("day of the month", "1-31, L, W"),
        ("month", "1-12 or JAN-DEC"),
        ("weekday", "0-7 or SUN-SAT, L, #"),
    ];
    let fields: Vec<&str> = text.split_whitespace().collect();
    let known = FIELDS.get(FIELDS.len().checked_sub(fields.len())?..)?;
    known.iter().zip(&fields).enumerate().find_map(|(place, ((name, holds), field))| {
        let mut alone = vec!["*"; fields.len()];
        alone[place] = field;
        parser
            .parse(&alone.join(" "))
            .is_err()
            .then(|| format!("the {name} is '{field}', which is not of {holds}"))
    })
}

/// croner's words as a fragment.
fn in_words(error: &str) -> String {
    let mut letters = error.trim_end_matches('.').chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
