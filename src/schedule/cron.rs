//! Cron expressions in civil time: which local dates and times match. The only file that names croner.
//!
//! croner reads the expression and says what is wrong with it. Its own search is not used: 4.0.3 loses and
//! doubles firings of lists around clock changes (02:00 of `0 2,14 * * *` in Berlin on 2026-03-29 and
//! 2026-10-25), its pattern takes several KiB, and asking it for each day is slow. What it read is kept as
//! bit sets; the tests compare every day with its answer.

use std::fmt;

use croner::parser::{CronParser, Seconds, Year};
use croner::{CronComponent, CronPattern};
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

use super::ScheduleError;
use super::days::{Count, Days, OfMonth, OfWeek};
use super::except::Span;
use super::times::{ALL_HOURS, ALL_SIXTY, Times, bits, low};
use super::zone::Pattern;

/// How many months ahead a date is looked for, 50 years: the fifth Monday of February comes every 28 years, and
/// after 40 years around 2100.
pub(super) const MONTHS: u16 = 50 * 12;

/// croner's marks of a value: it is meant as it stands, the n-th of its weekday, the last, the working day next to it.
const EVERY: u8 = 1;
const NTH: [u8; 5] = [1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5];
const LAST: u8 = 1 << 6;
const NEAR: u8 = 1 << 7;

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
}

/// A cron expression of five fields, or six with seconds first.
#[derive(Clone)]
pub struct Cron {
    text: Box<str>,
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
        // Both rules read alike so far.
        let _ = rules;
        let text = text.trim();
        refuse_foreign_forms(text)?;
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let parsed = parser.parse(text).map_err(|error| {
            let why = wrong_field(&parser, text).unwrap_or_else(|| in_words(&error.to_string()));
            ScheduleError::Cron(format!("'{text}' is not a cron expression: {why}"))
        })?;
        let pattern = &parsed.pattern;
        let cron = Self {
            times: Times {
                seconds: bits(pattern.seconds.values()),
                minutes: bits(pattern.minutes.values()),
                hours: low(bits(pattern.hours.values())),
            },
            months: u16::try_from(bits(pattern.months.values()) & 0xffff).unwrap_or(0),
            days: days(pattern),
            wildcard: is_wildcard(text),
            with_seconds: text.split_whitespace().count() == 6,
            text: text.into(),
        };
        match cron.next_date(jiff::civil::date(2000, 1, 1)) {
            Some(_) => Ok(cron),
            None => Err(ScheduleError::Never(format!("'{text}'"))),
        }
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How much of the time around a local time it names without a gap, if it names that; the minute, if it says
    /// nothing of seconds.
    pub(super) fn span(&self, local: DateTime) -> Option<Span> {
        let seconds = if self.with_seconds { self.times.seconds } else { ALL_SIXTY };
        let of_month =
            self.months & 1 << local.month() != 0 && self.days.within(local.date()) & 1 << local.day() != 0;
        let named = of_month
            && self.times.hours & 1 << local.hour() != 0
            && self.times.minutes & 1 << local.minute() != 0
            && seconds & 1 << local.second() != 0;
        let (minute, hour) = (seconds == ALL_SIXTY, self.times.minutes == ALL_SIXTY);
        named.then_some(match (minute, hour, self.times.hours == ALL_HOURS) {
            (true, true, true) => Span::Day,
            (true, true, false) => Span::Hour,
            (true, false, _) => Span::Minute,
            (false, ..) => Span::Second,
        })
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
        self.times.next_on(from, |date| self.next_date(date))
    }

    fn follows_real_time(&self) -> bool {
        self.wildcard
    }
}

/// The days that an expression names. Where both fields are restricted either will do, as in Vixie's cron, or,
/// with `+` before the weekdays, both must.
fn days(pattern: &CronPattern) -> Days {
    let (by_number, by_weekday) = (&pattern.days, &pattern.days_of_week);
    let marked = |field: &CronComponent, mark| bits(field.get_set_values(mark));
    // Sunday is 0 and 7.
    let week = |mark| {
        let set = marked(by_weekday, mark);
        u8::try_from((set | set >> 7) & 0x7f).unwrap_or(0)
    };
    let last_working = by_number.is_feature_enabled(LAST | NEAR);
    let last = by_number.is_feature_enabled(LAST) && !last_working;
    Days {
        of_month: OfMonth {
            days: low(marked(by_number, EVERY)),
            from_end: if last { 1 << 1 } else { 0 },
            near: low(marked(by_number, NEAR)),
            last_working,
        },
        of_week: OfWeek { every: week(EVERY), nth: NTH.map(week), nth_from_end: [week(LAST), 0, 0, 0, 0] },
        count: match (pattern.is_dom_wildcard(), pattern.is_dow_wildcard()) {
            (true, true) => Count::All,
            (false, true) => Count::OfMonth,
            (true, false) => Count::OfWeek,
            (false, false) if pattern.matches_dom_and_dow() => Count::Both,
            (false, false) => Count::Either,
        },
    }
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
