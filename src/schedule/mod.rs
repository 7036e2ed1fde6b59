//! Calendars: which nominal times an entry has. Pure; everything that asks for nominal times
//! (planning, start-up, lateness, reload, `next`) asks a [`Calendar`].
//!
//! # Changes of the clock
//!
//! A cron schedule whose minute or hour field begins with `*` is a *wildcard* schedule. It follows real
//! time, as `every` does: each instant whose local time matches is a nominal time, so nothing happens in
//! a gap, and a repeated hour is served twice.
//!
//! All other cron schedules, lists and ranges included, are *fixed-time* schedules:
//!
//! - a time that a forward change skips fires at the end of the gap (`dst_gap: run_after`), or not at all
//!   (`skip`). Several times in one gap become one firing, and one with a time that stands there anyway.
//! - a time that a backward change repeats fires at its first occurrence, its second, or both
//!   (`dst_overlap`).
//!
//! The seconds field of a six-field expression does not matter for this: it is about hours and minutes.
//!
//! The other forms follow the same two rules. `every`, and a recurrence of minutes or hours, follow real time. So
//! does a recurrence of days, weeks or months that gives minutes and no hours, which is each hour; any other one is
//! a fixed-time schedule, whatever its list of hours. A local time of `at` is a fixed time; one that is given with
//! its offset is that instant. What a bound (`start`, `end`) or an anchor says in local time is no firing: one
//! that is skipped is counted from before the change, and one that is repeated means its first occurrence.

mod cron;
mod days;
mod doubt;
mod every;
mod except;
mod field;
mod foreign;
mod former;
mod misnamed;
mod recurrence;
mod times;
mod windows;
mod zone;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{EntryName, Nominal};

pub use cron::{Cron, CronRules};
pub(crate) use days::{Count, Days, OfMonth, OfWeek};
pub use every::Every;
pub use except::Except;
pub use recurrence::{Frequency, Recurrence, RecurrenceSpec};
pub(crate) use times::each;
pub use zone::Zone;

/// Times in a row that may be left out one by one; whole minutes, hours and days count once. A calendar that goes on
/// like that, `every: 2s` without all even seconds, has no further time. A day has fewer seconds. Where many expressions
/// are left out, each such time counts for several.
const MOST_LEFT_OUT: u32 = 100_000;

/// Why a schedule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The cron expression is not one.
    #[error("{0}")]
    Cron(String),
    /// The cron expression or the recurrence is one, but names no time that exists.
    #[error("{0} never matches: there is no such date")]
    Never(String),
    /// The period of `every` is not usable.
    #[error("{0}")]
    Every(&'static str),
    /// The time zone is not known.
    #[error("unknown time zone '{name}'{advice}")]
    Zone {
        /// What was written.
        name: String,
        /// What to do about it, if that is known; it follows the name.
        advice: String,
    },
}

/// What to do with a fixed local time that a forward change of the clock skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DstGap {
    /// Fire at the end of the gap.
    #[default]
    RunAfter,
    /// Do not fire on that day.
    Skip,
}

/// What to do with a fixed local time that a backward change of the clock repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DstOverlap {
    /// Fire at its first occurrence.
    #[default]
    First,
    /// Fire at its second occurrence.
    Second,
    /// Fire at both.
    Both,
}

/// The form of one rule.
#[derive(Debug, Clone)]
pub enum Form {
    /// A cron expression.
    Cron(Cron),
    /// A fixed period.
    Every(Every),
    /// The recurrence of a trigger of Data Factory.
    Recurrence(Box<Recurrence>),
    /// Single instants.
    At(Arc<[Nominal]>),
}

/// One rule of a calendar: a form, within bounds.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Which instants.
    pub form: Form,
    /// In which zone.
    pub zone: Zone,
    /// Not before this.
    pub start: Option<Timestamp>,
    /// Before this.
    pub end: Option<Timestamp>,
    /// But not at these times, in its own zone.
    pub except: Option<Arc<Except>>,
}

/// What a calendar is made of.
#[derive(Debug, Clone)]
pub struct CalendarSpec {
    /// Their union is the calendar.
    pub rules: Vec<Rule>,
    /// The zone in which times are shown to people.
    pub zone: Zone,
    /// Not before this.
    pub start: Option<Timestamp>,
    /// Before this.
    pub end: Option<Timestamp>,
    /// But not at these times, in `zone`.
    pub except: Option<Arc<Except>>,
    /// See the module's page.
    pub dst_gap: DstGap,
    /// See the module's page.
    pub dst_overlap: DstOverlap,
    /// Each entry is late by a fixed share of this.
    pub jitter: Duration,
}

/// Identifies a calendar: two calendars with the same fingerprint name the same instants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

/// An entry's calendar.
#[derive(Debug, Clone)]
pub struct Calendar {
    spec: CalendarSpec,
    fingerprint: [u8; 16],
}

impl Calendar {
    /// A calendar of these rules.
    #[must_use]
    pub fn new(mut spec: CalendarSpec) -> Self {
        spec.rules.shrink_to_fit();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, canonical(&spec).as_bytes());
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&digest.as_ref()[..16]);
        Self { spec, fingerprint }
    }

    /// The nominal times after `after` and up to and including `until`: in order, each once.
    pub fn due_between(&self, after: Nominal, until: Nominal) -> impl Iterator<Item = Nominal> + '_ {
        std::iter::successors(self.next_after(after), |nominal| self.next_after(*nominal))
            .take_while(move |nominal| *nominal <= until)
    }

    /// Whether it names this nominal time.
    #[must_use]
    pub fn names(&self, nominal: Nominal) -> bool {
        let before = Nominal::from_second(nominal.as_second() - 1);
        before.and_then(|before| self.next_after(before)) == Some(nominal)
    }

    /// The nominal times from an instant on, which may lie within a second.
    pub fn onwards(&self, instant: Timestamp) -> impl Iterator<Item = Nominal> + '_ {
        let before = Nominal::from_second(Nominal::at_or_after(instant).as_second() - 1);
        let first = before.and_then(|before| self.next_after(before));
        std::iter::successors(first, |nominal| self.next_after(*nominal))
    }

    /// The first nominal time after `after`, if there is one in the next fifty years.
    #[must_use]
    pub fn next_after(&self, after: Nominal) -> Option<Nominal> {
        self.next_within(after, &Cell::new(MOST_LEFT_OUT))
    }

    /// Whether anything is left out by `except`.
    #[must_use]
    pub fn leaves_out(&self) -> bool {
        self.spec.except.is_some() || self.spec.rules.iter().any(|rule| rule.except.is_some())
    }

    /// What it costs to find the next nominal time after `after`: how often a time is left out before it, times the
    /// rules in which each is looked for. `None` when that is more than `most`.
    #[must_use]
    pub fn cost_after(&self, after: Nominal, most: u32) -> Option<u32> {
        let rules = u32::try_from(self.spec.rules.len()).unwrap_or(u32::MAX).max(1);
        let granted = (most / rules).min(MOST_LEFT_OUT);
        let left = Cell::new(granted);
        let _ = self.next_within(after, &left);
        let exhausted = left.get() == 0 && granted < MOST_LEFT_OUT;
        (!exhausted).then(|| (granted - left.get()).saturating_mul(rules))
    }

    /// The same, while times may still be left out one by one.
    fn next_within(&self, after: Nominal, left: &Cell<u32>) -> Option<Nominal> {
        let after = self.spec.start.map_or(Some(after), |start| not_before(start, after))?;
        let union = |after| {
            let next = self.spec.rules.iter().filter_map(|rule| self.rule_next(rule, after, left)).min()?;
            Some(next).filter(|nominal| self.spec.end.is_none_or(|end| nominal.timestamp() < end))
        };
        not_except(self.spec.except.as_deref(), &self.spec.zone, after, left, union)
    }

    /// The last nominal time before `before`, if there is one in the fifty years before.
    #[must_use]
    pub fn previous_before(&self, before: Nominal) -> Option<Nominal> {
        // Windows that grow: few nominal times lie in the first one that holds any.
        const WINDOWS: [i64; 8] =
            [1, 60, 3_600, 86_400, 40 * 86_400, 400 * 86_400, 3_000 * 86_400, 18_300 * 86_400];
        let until = Nominal::from_second(before.as_second() - 1)?;
        WINDOWS.iter().find_map(|window| {
            let after = Nominal::from_second(before.as_second() - 1 - window)?;
            self.due_between(after, until).last()
        })
    }

    /// When the entry's firing of this nominal time is due: later by the entry's share of the jitter,
    /// which is the same on every host and after every start, and never reaches the next nominal time.
    #[must_use]
    pub fn due_time(&self, entry: &EntryName, nominal: Nominal) -> Timestamp {
        if self.spec.jitter.is_zero() {
            return nominal.timestamp();
        }
        let until_next = self.next_after(nominal).map_or(Duration::MAX, |next| {
            Duration::from_secs(u64::try_from(next.as_second() - nominal.as_second()).unwrap_or(0))
        });
        let most = u64::try_from(self.spec.jitter.min(until_next).as_millis()).unwrap_or(u64::MAX);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, entry.as_str().as_bytes());
        let mut hash = [0; 8];
        hash.copy_from_slice(&digest.as_ref()[..8]);
        // The share is hash / 2^64 of the jitter: below it, and even over many entries.
        let share = (u128::from(u64::from_be_bytes(hash)) * u128::from(most)) >> 64;
        let late = Duration::from_millis(u64::try_from(share).unwrap_or(0));
        nominal.timestamp().checked_add(late).unwrap_or(Timestamp::MAX)
    }

    /// Identifies the calendar.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.fingerprint.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What it is made of.
    #[must_use]
    pub fn spec(&self) -> &CalendarSpec {
        &self.spec
    }

    /// Whether the other calendar names the same instants.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// The calendar that the same words make where cron expressions are read by other rules; `None` where those cannot
    /// read them.
    #[must_use]
    pub fn read_by(&self, by: CronRules) -> Option<Self> {
        let again = |except: &Option<Arc<Except>>| match except {
            Some(except) => except.read_by(by).map(|read| Some(Arc::new(read))),
            None => Some(None),
        };
        let rules = self.spec.rules.iter().map(|rule| {
            let form = match &rule.form {
                Form::Cron(cron) => Form::Cron(Cron::parse(cron.as_str(), by).ok()?),
                other => other.clone(),
            };
            Some(Rule { form, except: again(&rule.except)?, ..rule.clone() })
        });
        let rules = rules.collect::<Option<_>>()?;
        Some(Self::new(CalendarSpec { rules, except: again(&self.spec.except)?, ..self.spec.clone() }))
    }

    /// The first nominal time after `after` that only one of two calendars names, if it is one of the first `most`.
    #[must_use]
    pub fn differs_at(&self, other: &Self, after: Nominal, most: usize) -> Option<Nominal> {
        let mut here = after;
        for _ in 0..most {
            match (self.next_after(here), other.next_after(here)) {
                (Some(a), Some(b)) if a == b => here = a,
                (a, b) => return a.into_iter().chain(b).min(),
            }
        }
        None
    }

    /// The zone in which times are shown to people.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        &self.spec.zone
    }

    /// The start of the window that a nominal time closes: a period earlier for a lone `every`, else the
    /// nominal time before it.
    #[must_use]
    pub fn window_start(&self, nominal: Nominal) -> Option<Nominal> {
        if let [Rule { form: Form::Every(every), .. }] = self.spec.rules.as_slice() {
            return Nominal::from_second(nominal.as_second() - every.period_secs());
        }
        self.previous_before(nominal)
    }

    fn rule_next(&self, rule: &Rule, after: Nominal, left: &Cell<u32>) -> Option<Nominal> {
        let after = rule.start.map_or(Some(after), |start| not_before(start, after))?;
        let next = |after| match &rule.form {
            Form::Cron(cron) => {
                zone::next_after(cron, &rule.zone, self.spec.dst_gap, self.spec.dst_overlap, after)
            }
            Form::Every(every) => every.next_after(after),
            Form::Recurrence(recurrence) => {
                let after = not_before(recurrence.start(), after)?;
                zone::next_after(&**recurrence, &rule.zone, self.spec.dst_gap, self.spec.dst_overlap, after)
            }
            Form::At(times) => times.get(times.partition_point(|time| *time <= after)).copied(),
        };
        let within = |after| {
            next(after).filter(|nominal: &Nominal| rule.end.is_none_or(|end| nominal.timestamp() < end))
        };
        not_except(rule.except.as_deref(), &rule.zone, after, left, within)
    }
}

/// The later of `after` and the last second before `start`: a nominal time is a whole second, and a bound may lie
/// between two.
fn not_before(start: Timestamp, after: Nominal) -> Option<Nominal> {
    let before = Nominal::from_second(Nominal::at_or_after(start).as_second() - 1)?;
    Some(before.max(after))
}

/// The first of the times after `after` that `next` gives and that is not left out, within fifty years.
fn not_except(
    except: Option<&Except>,
    zone: &Zone,
    after: Nominal,
    left: &Cell<u32>,
    next: impl Fn(Nominal) -> Option<Nominal>,
) -> Option<Nominal> {
    let Some(except) = except else { return next(after) };
    let limit = after.as_second() + zone::LOOK_AHEAD.as_secs();
    let mut from = after;
    loop {
        let found = next(from).filter(|found| found.as_second() <= limit)?;
        let Some(until) = except.until(found, zone) else { return Some(found) };
        left.set(left.get().saturating_sub(except.cost()));
        if left.get() == 0 {
            return None;
        }
        from = until.max(found);
    }
}

/// The calendar as text, in a form that no release may change: a changed fingerprint makes every entry
/// begin anew.
fn canonical(spec: &CalendarSpec) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    let bound = |bound: Option<Timestamp>| bound.map(|at| at.to_string()).unwrap_or_default();
    // Calendars of before it could be said keep their fingerprint.
    let except = |except: Option<&Except>| except.map(|except| format!("|{except}")).unwrap_or_default();
    for rule in &spec.rules {
        // Writing to a string cannot fail.
        let _ = match &rule.form {
            Form::Cron(cron) => write!(text, "cron {}", cron.identity()),
            Form::Every(every) => write!(text, "every {every}"),
            Form::Recurrence(recurrence) => write!(text, "recurrence {recurrence}"),
            Form::At(times) => {
                write!(text, "at ").and_then(|()| times.iter().try_for_each(|time| write!(text, "{time} ")))
            }
        };
        let _ = write!(text, "|{}|{}|{}", rule.zone.name(), bound(rule.start), bound(rule.end));
        let _ = writeln!(text, "{}", except(rule.except.as_deref()));
    }
    let _ = write!(
        text,
        "{}|{}|{}|{:?}|{:?}|{}{}",
        spec.zone.name(),
        bound(spec.start),
        bound(spec.end),
        spec.dst_gap,
        spec.dst_overlap,
        spec.jitter.as_millis(),
        except(spec.except.as_deref())
    );
    text
}

#[cfg(test)]
pub(crate) mod tests;
