//! `recurrence:` in Data Factory's own shape, so that the JSON of a schedule trigger can be pasted as it is.

use jiff::Timestamp;
use jiff::tz::Offset;
use serde_json::Value;

use super::collect::{Collector, join, kind};
use super::raw;
use crate::schedule::{Frequency, RecurrenceSpec, Zone};

/// The longest interval that the service takes.
const MOST: u16 = 1_000;
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Refuses a time with an offset in a recurrence that names a time zone of its own: by what its users report, the service
/// goes by UTC then, and by the zone where the zone is all that there is. Only where the zone is UTC are both the same.
///
/// # Errors
/// In words.
pub fn offset_beside_zone(time: &str, zone: &Zone) -> Result<(), String> {
    let never_changes = zone.rules().following(Timestamp::MIN).next().is_none();
    match never_changes && zone.rules().to_offset(Timestamp::MIN) == Offset::UTC {
        true => Ok(()),
        false => Err(format!(
            "'{time}' has an offset beside the time zone '{}', and the service does not heed the zone then; take away one \
             of them",
            zone.name()
        )),
    }
}

/// Whether an end is the last day of all, as the service writes that there is none. It is beyond what can be computed.
pub(super) fn is_never(end: &raw::Field<String>) -> bool {
    end.0.as_ref().is_ok_and(|text| text.trim_start().starts_with("9999-12-31"))
}

/// Reads what a recurrence says, but for its start, end and zone.
pub(super) fn read(
    collector: &mut Collector<'_>,
    path: &str,
    raw: raw::Recurrence,
    start: Timestamp,
) -> Option<RecurrenceSpec> {
    let noted = collector.count();
    let frequency = collector.read(path, "frequency", raw.frequency, |text: String| frequency(&text));
    let frequency =
        collector.required(path, "frequency", frequency, "it is Minute, Hour, Day, Week or Month");
    let interval = collector.read(path, "interval", raw.interval, |number| match number {
        1..=MOST => Ok(number),
        _ => Err(format!("must be between 1 and {MOST}")),
    });
    let place = join(path, "schedule");
    let schedule: raw::RecurrenceSchedule = match raw.schedule {
        Some(value) => collector.section(&place, value)?,
        None => raw::RecurrenceSchedule::default(),
    };
    let frequency = frequency?;
    of_one_frequency(collector, &place, &schedule, frequency);
    let within = |least: i64, most: i64| move |value: Value| number(&value, least, most);
    let minutes = list(collector, &place, "minutes", schedule.minutes, within(0, 59));
    let hours = list(collector, &place, "hours", schedule.hours, within(0, 23));
    let month_days =
        list(collector, &place, "monthDays", schedule.month_days, |value| match number(&value, -31, 31)? {
            0 => Err("must be 1 to 31, or -1 (the last day) to -31".to_owned()),
            day => Ok(day),
        });
    let week_days = list(collector, &place, "weekDays", schedule.week_days, |value| weekday(&value));
    let monthly_occurrences = occurrences(collector, &place, schedule.monthly_occurrences);
    if !month_days.is_empty() && !monthly_occurrences.is_empty() {
        let message =
            "give monthDays or monthlyOccurrences; for the days of either, write two recurrences in a list";
        collector.wrong(&place, "monthlyOccurrences", message);
    }
    let small = |values: Vec<i64>| values.into_iter().filter_map(|value| u8::try_from(value).ok()).collect();
    (collector.count() == noted).then(|| RecurrenceSpec {
        frequency,
        interval: interval.unwrap_or(1),
        start,
        minutes: small(minutes),
        hours: small(hours),
        week_days,
        month_days: month_days.into_iter().filter_map(|day| i8::try_from(day).ok()).collect(),
        monthly_occurrences,
    })
}

fn frequency(text: &str) -> Result<Frequency, String> {
    let known = [
        ("minute", Frequency::Minute),
        ("hour", Frequency::Hour),
        ("day", Frequency::Day),
        ("week", Frequency::Week),
        ("month", Frequency::Month),
    ];
    let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, frequency)| *frequency).ok_or_else(|| {
        format!("'{text}' is not a frequency of a schedule trigger; write Minute, Hour, Day, Week or Month")
    })
}

/// Notes the lists that the frequency does not take.
fn of_one_frequency(
    collector: &mut Collector<'_>,
    path: &str,
    schedule: &raw::RecurrenceSchedule,
    frequency: Frequency,
) {
    let lists = [
        ("weekDays", schedule.week_days.is_some(), Frequency::Week),
        ("monthDays", schedule.month_days.is_some(), Frequency::Month),
        ("monthlyOccurrences", schedule.monthly_occurrences.is_some(), Frequency::Month),
    ];
    for (key, _, of) in lists.into_iter().filter(|(_, given, of)| *given && *of != frequency) {
        collector.wrong(path, key, format!("`{key}` goes with the frequency {of:?} only"));
    }
}

/// The items of a list, or the one that stands in its place.
fn list<T>(
    collector: &mut Collector<'_>,
    path: &str,
    key: &str,
    value: Option<Value>,
    read: impl Fn(Value) -> Result<T, String>,
) -> Vec<T> {
    let place = join(path, key);
    let items = match value {
        None => return Vec::new(),
        Some(Value::Array(items)) if items.is_empty() => {
            collector.wrong(&place, "", "the list is empty; remove the key, or give it something");
            return Vec::new();
        }
        Some(Value::Array(items)) => {
            items.into_iter().enumerate().map(|(i, v)| (format!("{place}[{i}]"), v)).collect()
        }
        Some(one) => vec![(place, one)],
    };
    let mut values = Vec::with_capacity(items.len());
    for (place, item) in items {
        match read(item) {
            Ok(value) => values.push(value),
            Err(message) => collector.wrong(&place, "", message),
        }
    }
    values
}

fn number(value: &Value, least: i64, most: i64) -> Result<i64, String> {
    let wrong = || format!("must be a whole number from {least} to {most}");
    value.as_i64().filter(|number| (least..=most).contains(number)).ok_or_else(wrong)
}

/// The number of a weekday; Sunday is 0.
fn weekday(value: &Value) -> Result<u8, String> {
    let Value::String(text) = value else {
        return Err(format!("must be the name of a weekday, not {}", kind(value)));
    };
    let known = WEEKDAYS.iter().zip(0_u8..);
    match known.clone().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
        Some((_, number)) => Ok(number),
        None => Err(format!("'{text}' is not a weekday; write Monday, Tuesday and so on, in full")),
    }
}

fn occurrences(collector: &mut Collector<'_>, path: &str, value: Option<Value>) -> Vec<(u8, Option<i8>)> {
    let items: Vec<(String, Value)> = match value {
        None => return Vec::new(),
        Some(Value::Array(items)) => items
            .into_iter()
            .enumerate()
            .map(|(i, item)| (format!("monthlyOccurrences[{i}]"), item))
            .collect(),
        Some(one) => vec![("monthlyOccurrences".to_owned(), one)],
    };
    let mut occurrences = Vec::with_capacity(items.len());
    for (key, item) in items {
        let place = join(path, &key);
        let Some(raw) = collector.section::<raw::Occurrence>(&place, item) else { continue };
        let day = collector.read(&place, "day", raw.day, |value| weekday(&value));
        let day = collector.required(&place, "day", day, "it is the name of a weekday");
        let occurrence = collector.read(&place, "occurrence", raw.occurrence, |number: i8| match number {
            1..=5 | -5..=-1 => Ok(number),
            _ => Err("must be 1 (the first) to 5, or -1 (the last) to -5"),
        });
        occurrences.extend(day.map(|day| (day, occurrence)));
    }
    occurrences
}
