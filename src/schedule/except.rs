//! What a calendar leaves out: dates, weekdays and the local times of cron expressions.
//!
//! A nominal time is judged by the local time at which it fires: a fixed time that a gap moved by the time after
//! the gap. A cron expression of five fields leaves out whole minutes, one of six the seconds that it names.

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

use super::{Cron, CronRules, Zone};
use crate::ids::Nominal;

/// Times that are left out.
#[derive(Debug, Clone)]
pub struct Except {
    /// First and last dates: in order, apart from each other.
    dates: Box<[(Date, Date)]>,
    /// Bit 0 is Sunday.
    weekdays: u8,
    crons: Box<[Cron]>,
}

impl Except {
    /// Leaves out all dates from a first to a last one, weekdays (Sunday is 0), and what the expressions name.
    #[must_use]
    pub fn new(
        dates: impl IntoIterator<Item = (Date, Date)>,
        weekdays: impl IntoIterator<Item = u8>,
        crons: Vec<Cron>,
    ) -> Self {
        let mut dates: Vec<(Date, Date)> = dates.into_iter().collect();
        dates.sort_unstable();
        let mut apart: Vec<(Date, Date)> = Vec::with_capacity(dates.len());
        for (first, last) in dates {
            match apart.last_mut() {
                Some(before) if before.1.tomorrow().is_ok_and(|next| first <= next) => {
                    before.1 = before.1.max(last)
                }
                _ => apart.push((first, last)),
            }
        }
        let weekdays = weekdays.into_iter().fold(0, |all, day| all | 1 << (day % 7));
        Self { dates: apart.into(), weekdays, crons: crons.into() }
    }

    /// What the same expressions leave out by other rules; `None` where those cannot read them.
    pub(super) fn read_by(&self, rules: CronRules) -> Option<Self> {
        let crons = self.crons.iter().map(|cron| Cron::parse(cron.as_str(), rules).ok());
        Some(Self { crons: crons.collect::<Option<_>>()?, ..self.clone() })
    }

    /// Whether nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dates.is_empty() && self.weekdays == 0 && self.crons.is_empty()
    }

    /// For how many it counts that it was asked once.
    pub(super) fn cost(&self) -> u32 {
        1 + u32::try_from(self.crons.len() / 4).unwrap_or(u32::MAX - 1)
    }

    /// If a nominal time is left out: the last second that is left out with it, at least.
    pub(super) fn until(&self, nominal: Nominal, zone: &Zone) -> Option<Nominal> {
        let (at, rules) = (nominal.timestamp(), zone.rules());
        let offset = rules.to_offset(at);
        let end = self.end(offset.to_datetime(at))?;
        // The local time goes on as it does now up to the next change of the clock.
        let end = offset.to_timestamp(end).unwrap_or(Timestamp::MAX);
        let change = rules.following(at).next().map(|change| change.timestamp());
        let end = change.map_or(end, |change| change.min(end));
        Nominal::from_second(Nominal::at_or_before(end).as_second() - 1)
    }

    /// If a local time is left out: the first one after it that may not be.
    fn end(&self, local: DateTime) -> Option<DateTime> {
        let date = local.date();
        let midnight = |date: Date| Some(date.tomorrow().ok()?.to_datetime(jiff::civil::Time::midnight()));
        let after = self.dates.partition_point(|(first, _)| *first <= date);
        if let Some((_, last)) = after.checked_sub(1).and_then(|at| self.dates.get(at))
            && date <= *last
        {
            return midnight(*last);
        }
        if self.weekdays & 1 << date.weekday().to_sunday_zero_offset() != 0 {
            return midnight(date);
        }
        let spans = self.crons.iter().filter_map(|cron| cron.span(local));
        spans.max().and_then(|span| match span {
            Span::Day => midnight(date),
            Span::Hour => to_the(local, 3_600),
            Span::Minute => to_the(local, 60),
            Span::Second => to_the(local, 1),
        })
    }
}

/// How much of the time around a local time an expression names without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Span {
    Second,
    Minute,
    Hour,
    Day,
}

/// The next whole multiple of so many seconds of the day.
fn to_the(local: DateTime, seconds: i64) -> Option<DateTime> {
    let of_day = i64::from(local.hour()) * 3_600 + i64::from(local.minute()) * 60 + i64::from(local.second());
    local.checked_add(SignedDuration::from_secs(seconds - of_day % seconds)).ok()
}

/// All that makes it, in a form that no release may change: it is part of the fingerprint.
impl fmt::Display for Except {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "except")?;
        self.dates.iter().try_for_each(|(first, last)| write!(f, " {first}..{last}"))?;
        write!(f, " weekdays {:x}", self.weekdays)?;
        self.crons.iter().try_for_each(|cron| write!(f, " cron {}", cron.identity()))
    }
}
