//! The keys of a trigger as values. What is not as the service's own schema has it is taken where it can mean only one
//! thing, with a note, and refused by the name of its key where not.

use jiff::civil::{DateTime, Weekday};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::expression;
use super::parse::beginning;
use super::rule::Unit;
use crate::config;
use crate::schedule::Zone;

pub(super) const WEEKDAYS: [(&str, Weekday); 7] = [
    ("Sunday", Weekday::Sunday),
    ("Monday", Weekday::Monday),
    ("Tuesday", Weekday::Tuesday),
    ("Wednesday", Weekday::Wednesday),
    ("Thursday", Weekday::Thursday),
    ("Friday", Weekday::Friday),
    ("Saturday", Weekday::Saturday),
];

/// From then on the rules of a time zone are those that Windows knows, too.
const RULES_SINCE: i64 = 0;

/// A mapping of a trigger, and what is to be said about what it holds.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    notes: &'a mut Vec<String>,
}

/// A time of the service, to whole seconds.
#[derive(Debug, Clone)]
pub(super) struct Time {
    pub(super) at: Timestamp,
    /// As the schedule file has it.
    pub(super) text: String,
    /// What was beyond the second.
    nanoseconds: i32,
}

impl<'a> Fields<'a> {
    /// The fields of a mapping, which has no others than these.
    ///
    /// # Errors
    /// In words, naming a key that is not known.
    pub(super) fn new(
        map: &'a Map<String, Value>,
        place: &str,
        keys: &[&str],
        notes: &'a mut Vec<String>,
    ) -> Result<Self, String> {
        match map.iter().find(|(key, value)| !value.is_null() && !keys.contains(&key.as_str())) {
            Some((key, _)) => {
                Err(format!("its {place} has the key '{}', which is not known here", beginning(key)))
            }
            None => Ok(Self { map, notes }),
        }
    }

    /// The fields of a mapping within this one.
    pub(super) fn within<'b>(
        &'b mut self,
        map: &'b Map<String, Value>,
        place: &str,
        keys: &[&str],
    ) -> Result<Fields<'b>, String> {
        Fields::new(map, place, keys, self.notes)
    }

    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, String> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("its {key} is {}, not a text", config::kind(other))),
        }
    }

    /// A whole number within bounds.
    pub(super) fn whole(&mut self, key: &str, least: i64, most: i64) -> Result<Option<i64>, String> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let number = number(key, value, least, most)?;
                self.note_number(key, value, number);
                Ok(Some(number))
            }
        }
    }

    /// The whole numbers of a list, each once.
    pub(super) fn numbers(&mut self, key: &str, least: i64, most: i64) -> Result<Vec<i64>, String> {
        let mut numbers = Vec::new();
        for value in list(self.map, key) {
            let number = number(key, value, least, most)?;
            if !numbers.contains(&number) {
                self.note_number(key, value, number);
                numbers.push(number);
            }
        }
        Ok(numbers)
    }

    /// Says that a number is written as something else.
    fn note_number(&mut self, key: &str, value: &Value, number: i64) {
        if !value.is_number() {
            let shown = beginning(&value.to_string());
            self.notes.push(format!("in its {key}, {shown} is taken as the number {number}"));
        }
    }

    pub(super) fn weekdays(&self, key: &str) -> Result<Vec<Weekday>, String> {
        let mut days = Vec::new();
        for value in list(self.map, key) {
            let day = weekday(key, value)?;
            if !days.contains(&day) {
                days.push(day);
            }
        }
        Ok(days)
    }

    pub(super) fn occurrences(&mut self, key: &str) -> Result<Vec<(Weekday, Option<i64>)>, String> {
        let mut occurrences = Vec::new();
        for value in list(self.map, key) {
            let Value::Object(fields) = value else {
                return Err(format!("in its {key}, {} is not a mapping", beginning(&value.to_string())));
            };
            let mut fields = self.within(fields, key, &["day", "occurrence"])?;
            let day = weekday(key, fields.map.get("day").unwrap_or(&Value::Null))?;
            let occurrence = fields.whole("occurrence", -5, 5)?;
            if occurrence == Some(0) {
                return Err(format!(
                    "in its {key}, 0 is not an occurrence; it is 1 (the first) to 5, or -1 (the last) to -5"
                ));
            }
            if !occurrences.contains(&(day, occurrence)) {
                occurrences.push((day, occurrence));
            }
        }
        Ok(occurrences)
    }

    pub(super) fn unit(&self, key: &str) -> Result<(&'static str, Unit), String> {
        let units = [
            ("Minute", Unit::Minute),
            ("Hour", Unit::Hour),
            ("Day", Unit::Day),
            ("Week", Unit::Week),
            ("Month", Unit::Month),
        ];
        let named = self.text(key)?.ok_or_else(|| format!("it has no {key}"))?;
        let found = units.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(named));
        found.ok_or_else(|| format!("the {key} '{}' is not known here", beginning(named)))
    }

    /// When it begins.
    pub(super) fn start(&mut self, key: &str, zone: &Zone, unit: Unit) -> Result<Time, String> {
        let start = self.time(key, zone)?.ok_or_else(|| format!("it has no {key}"))?;
        let local = zone.rules().to_datetime(start.at);
        if !is_utc(zone) && start.text != local.to_string() {
            return Err(format!(
                "its {key} '{}' is a time that the clock of '{}' skips; give another one",
                start.text,
                zone.name()
            ));
        }
        let steps = matches!(unit, Unit::Minute | Unit::Hour);
        if steps && !is_utc(zone) && start.at.as_second() < RULES_SINCE {
            return Err(format!(
                "its {key} '{}' is older than the rules of '{}' that Windows knows, so steps of minutes or hours that count \
                 from it are not documented; give one after 1970",
                start.text,
                zone.name()
            ));
        }
        if start.nanoseconds != 0 {
            self.notes.push(format!("the part of a second in its {key} is left out of each firing"));
        }
        Ok(start)
    }

    /// When it ends: the last second at which it may fire. A year of 9999 is for ever.
    pub(super) fn end(&mut self, key: &str, zone: &Zone, start: &Time) -> Result<Option<Time>, String> {
        if let Some(never) = self.text(key)?.filter(|text| text.trim_start().starts_with("9999-")) {
            self.notes.push(format!(
                "its {key} '{}' means that it does not end, and is left out",
                beginning(never)
            ));
            return Ok(None);
        }
        let Some(mut end) = self.time(key, zone)? else { return Ok(None) };
        // What fires at the same fraction of each second is too late for an end that lies before it.
        if end.nanoseconds < start.nanoseconds {
            let second = SignedDuration::from_secs(1);
            let earlier = end.at.checked_sub(second).map_err(|error| error.to_string())?;
            end = Time { text: written(earlier, zone), at: earlier, nanoseconds: 0 };
        }
        match end.at < start.at {
            true => Err(format!("its {key} '{}' lies before its startTime, so it never fires", end.text)),
            false => Ok(Some(end)),
        }
    }

    fn time(&self, key: &str, zone: &Zone) -> Result<Option<Time>, String> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let shown = beginning(text);
        let wrong = |error: jiff::Error| format!("its {key} '{shown}' is not a time: {error}");
        if let Ok(at) = text.parse::<Timestamp>() {
            config::offset_beside_zone(text, zone).map_err(|message| format!("its {key} {message}"))?;
            let whole = Timestamp::from_second(at.as_second() - i64::from(at.subsec_nanosecond() < 0))
                .map_err(wrong)?;
            let nanoseconds = at.subsec_nanosecond().rem_euclid(1_000_000_000);
            return Ok(Some(Time { at: whole, text: written(whole, zone), nanoseconds }));
        }
        if text.contains('[') {
            return Err(format!("its {key} '{shown}' is not a time"));
        }
        let local: DateTime = text.parse().map_err(wrong)?;
        let nanoseconds = local.subsec_nanosecond();
        let local = local.with().subsec_nanosecond(0).build().map_err(wrong)?;
        let at = zone.rules().to_ambiguous_timestamp(local).compatible().map_err(wrong)?;
        let text = if is_utc(zone) { at.to_string() } else { local.to_string() };
        Ok(Some(Time { at, text, nanoseconds }))
    }
}

fn is_utc(zone: &Zone) -> bool {
    config::offset_beside_zone("", zone).is_ok()
}

fn written(at: Timestamp, zone: &Zone) -> String {
    if is_utc(zone) { at.to_string() } else { zone.rules().to_datetime(at).to_string() }
}

fn number(key: &str, value: &Value, least: i64, most: i64) -> Result<i64, String> {
    let wrong = || {
        format!(
            "in its {key}, {} is not a whole number from {least} to {most}",
            beginning(&value.to_string())
        )
    };
    in_number(value).filter(|number| (least..=most).contains(number)).ok_or_else(wrong)
}

/// A whole number, also one that is written as a text or as an expression that is always the same.
fn in_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            // 4.0 is the whole number 4.
            let text = number.to_string();
            text.strip_suffix(".0")?.parse().ok()
        }),
        Value::String(text) => text.trim().parse().ok().or_else(|| expression::constant(text)),
        Value::Object(fields) if fields.len() <= 2 => match fields.get("value") {
            Some(value @ (Value::Number(_) | Value::String(_))) => in_number(value),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn object<'a>(
    map: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a Map<String, Value>>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(other) => Err(format!("its {key} is {}, not a mapping", config::kind(other))),
    }
}

/// The items of a list, or the one that stands in its place.
pub(super) fn list<'a>(map: &'a Map<String, Value>, key: &str) -> Vec<&'a Value> {
    match map.get(key) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one) => vec![one],
    }
}

fn weekday(key: &str, value: &Value) -> Result<Weekday, String> {
    let named = value.as_str().unwrap_or_default();
    let found = WEEKDAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(named));
    let wrong = || format!("in its {key}, {} is not a weekday", beginning(&value.to_string()));
    found.map(|(_, day)| *day).ok_or_else(wrong)
}

/// A zone by the name that a trigger has it under.
pub(super) fn zone(name: Option<&str>) -> Result<Zone, String> {
    let Some(name) = name else { return Ok(Zone::utc()) };
    let zone = expression::named_zone(name).map_err(|error| format!("its timeZone: {error}"))?;
    Ok(if is_utc(&zone) { Zone::utc() } else { zone })
}
