//! What the next changes of the clock do to a rule, told by comparison: with the same rule in a zone whose clock
//! does not change.

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::Offset;

use super::joined::list;
use crate::ids::Nominal;
use crate::schedule::{Calendar, CalendarSpec, DstGap, DstOverlap, Form, Rule, Zone};

/// So many changes are told.
const CHANGES: usize = 2;
/// More times than this are not listed one by one.
const MOST: usize = 4;

/// A change of the clock of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) at: Timestamp,
    before: Offset,
    after: Offset,
}

impl Change {
    /// What the clock shows when it changes, and what it shows then.
    pub(super) fn local(&self) -> (jiff::civil::DateTime, jiff::civil::DateTime) {
        (self.before.to_datetime(self.at), self.after.to_datetime(self.at))
    }

    /// By how many seconds the clock is set on.
    fn step(&self) -> i64 {
        i64::from(self.after.seconds()) - i64::from(self.before.seconds())
    }
}

/// The next changes of a zone's clock.
pub(super) fn coming(zone: &Zone, now: Timestamp) -> Vec<Change> {
    let mut before = zone.rules().to_offset(now);
    let changes = zone.rules().following(now).filter_map(|transition| {
        let change = Change { at: transition.timestamp(), before, after: transition.offset() };
        before = transition.offset();
        (change.before != change.after).then_some(change)
    });
    changes.take(CHANGES).collect()
}

/// What a change does to a rule of a calendar, in words.
pub(super) fn effect(spec: &CalendarSpec, rule: &Rule, change: &Change) -> String {
    match rule.form {
        Form::At(_) => return "its instants stay what they are".to_owned(),
        Form::Every(_) => return "it goes on in real time, so its local times move".to_owned(),
        Form::Cron(_) | Form::Recurrence(_) => {}
    }
    let step = change.step();
    let at = Nominal::at_or_before(change.at).as_second();
    let seen = |zone: Zone, from: i64, until: i64| -> Vec<Nominal> {
        let rule = Rule { zone, ..rule.clone() };
        let calendar = Calendar::new(CalendarSpec { rules: vec![rule], ..spec.clone() });
        match (Nominal::from_second(from - 1), Nominal::from_second(until - 1)) {
            (Some(after), Some(until)) => calendar.due_between(after, until).collect(),
            _ => Vec::new(),
        }
    };
    if step > 0 {
        let real = seen(rule.zone.clone(), at, at + step);
        let skipped = seen(Zone::unchanging(change.before), at, at + step);
        let usual = seen(Zone::unchanging(change.after), at, at + 1);
        return forward(spec, change, &skipped, real.first().filter(|first| first.as_second() == at), &usual);
    }
    let twice = seen(Zone::unchanging(change.before), at + step, at);
    let first = seen(rule.zone.clone(), at + step, at);
    let second = seen(rule.zone.clone(), at, at - step);
    backward(spec, change, &twice, !first.is_empty(), !second.is_empty())
}

fn forward(
    spec: &CalendarSpec,
    change: &Change,
    skipped: &[Nominal],
    at_the_end: Option<&Nominal>,
    usual: &[Nominal],
) -> String {
    if skipped.is_empty() {
        return "nothing is due in the time that is skipped".to_owned();
    }
    let there = if skipped.len() == 1 { "is not there that day" } else { "are not there that day" };
    let what = format!("{} {there}", times(skipped, change.before));
    let end = change.local().1.time();
    match (at_the_end, usual) {
        (Some(_), []) => format!("{what}: it fires at {} instead (dst_gap: run_after)", clock(end)),
        (Some(_), _) => format!("{what}; it fires at {} as on every day", clock(end)),
        (None, _) if spec.dst_gap == DstGap::Skip => format!("{what}: left out (dst_gap: skip)"),
        (None, _) => format!("{what}: left out, for it goes by the real hours"),
    }
}

fn backward(spec: &CalendarSpec, change: &Change, twice: &[Nominal], first: bool, second: bool) -> String {
    if twice.is_empty() {
        return "nothing is due in the time that is repeated".to_owned();
    }
    let come = if twice.len() == 1 { "comes twice" } else { "come twice" };
    let what = format!("{} {come}", times(twice, change.before));
    match (first, second) {
        (true, false) => format!("{what}: it fires at the first (dst_overlap: first)"),
        (false, true) => format!("{what}: it fires at the second (dst_overlap: second)"),
        (true, true) if spec.dst_overlap == DstOverlap::Both => {
            format!("{what}: it fires at both (dst_overlap: both)")
        }
        (true, true) => format!("{what}: it fires at both, for it goes by the real hours"),
        (false, false) => format!("{what}: it fires at neither, being out of its bounds"),
    }
}

/// The local times of some firings.
fn times(firings: &[Nominal], offset: Offset) -> String {
    let local = |nominal: &Nominal| clock(offset.to_datetime(nominal.timestamp()).time());
    match firings {
        [first, .., last] if firings.len() > MOST => {
            format!("{} times from {} to {}", firings.len(), local(first), local(last))
        }
        few => list(&few.iter().map(local).collect::<Vec<_>>()),
    }
}

/// A time of day, without the seconds that it does not have.
pub(super) fn clock(time: Time) -> String {
    match time.second() {
        0 => format!("{:02}:{:02}", time.hour(), time.minute()),
        second => format!("{:02}:{:02}:{second:02}", time.hour(), time.minute()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Cron, CronRules};

    /// What the two changes of 2026 do to an expression.
    fn told(zone: &str, expression: &str, gap: DstGap, overlap: DstOverlap) -> [String; 2] {
        let zone = Zone::parse(zone).unwrap();
        let form = Form::Cron(Cron::parse(expression, CronRules::CURRENT).unwrap());
        let rule = Rule { form, zone: zone.clone(), start: None, end: None, except: None };
        let spec = CalendarSpec {
            rules: vec![rule.clone()],
            zone: zone.clone(),
            start: None,
            end: None,
            except: None,
            dst_gap: gap,
            dst_overlap: overlap,
            jitter: std::time::Duration::ZERO,
        };
        let changes = coming(&zone, "2026-01-01T00:00:00Z".parse().unwrap());
        let effects: Vec<String> = changes.iter().map(|change| effect(&spec, &rule, change)).collect();
        effects.try_into().unwrap()
    }

    #[test]
    fn what_a_change_does_is_told_by_the_written_policy() {
        let berlin = |expression: &str, gap, overlap| told("Europe/Berlin", expression, gap, overlap);
        let usual = |expression: &str| berlin(expression, DstGap::RunAfter, DstOverlap::First);
        assert_eq!(
            usual("30 2 * * *"),
            [
                "02:30 is not there that day: it fires at 03:00 instead (dst_gap: run_after)",
                "02:30 comes twice: it fires at the first (dst_overlap: first)",
            ]
        );
        assert_eq!(
            berlin("0,30 2 * * *", DstGap::Skip, DstOverlap::Both),
            [
                "02:00 and 02:30 are not there that day: left out (dst_gap: skip)",
                "02:00 and 02:30 come twice: it fires at both (dst_overlap: both)",
            ]
        );
        assert_eq!(
            usual("*/10 2 * * *"),
            [
                "6 times from 02:00 to 02:50 are not there that day: left out, for it goes by the real hours",
                "6 times from 02:00 to 02:50 come twice: it fires at both, for it goes by the real hours",
            ]
        );
        assert_eq!(usual("0 1-3 * * *")[0], "02:00 is not there that day; it fires at 03:00 as on every day");
        assert_eq!(
            usual("0 12 * * *"),
            ["nothing is due in the time that is skipped", "nothing is due in the time that is repeated"]
        );
        assert!(berlin("30 2 * * *", DstGap::Skip, DstOverlap::Second)[1].contains("fires at the second"));
        // South of the equator the clock goes back first, and Lord Howe's by half an hour.
        let [back, on] = told("Australia/Lord_Howe", "45 1 * * *", DstGap::RunAfter, DstOverlap::First);
        assert_eq!(back, "01:45 comes twice: it fires at the first (dst_overlap: first)");
        assert_eq!(on, "nothing is due in the time that is skipped");
    }

    #[test]
    fn a_zone_without_changes_has_none_to_tell() {
        assert!(coming(&Zone::utc(), "2026-01-01T00:00:00Z".parse().unwrap()).is_empty());
    }
}
