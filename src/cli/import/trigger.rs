//! What a schedule trigger says, as entries of a schedule file and as the rule that they must equal.

use jiff::civil::Weekday;
use serde_json::{Map, Value, json};

use super::expression::{self, Names};
use super::fields::{self, Fields, WEEKDAYS, list, object};
use super::parse::beginning;
use super::rule::{Rule, Unit};
use crate::config;

/// The longest interval of a schedule trigger, by Microsoft's page.
const LONGEST: i64 = 1_000;

/// A trigger that was understood.
#[derive(Debug)]
pub(super) struct Trigger {
    /// Whether the service carries it out.
    pub(super) started: bool,
    /// The value of `schedule`.
    pub(super) schedule: Value,
    /// Other keys of the entries.
    pub(super) keys: Vec<(&'static str, Value)>,
    /// What it starts, with which parameters.
    pub(super) pipelines: Vec<(String, Map<String, Value>)>,
    /// What is carried out otherwise than by the service, or taken otherwise than it is written.
    pub(super) notes: Vec<String>,
    /// When it fires, by Microsoft's pages.
    pub(super) rule: Rule,
}

/// Whether the service carries a trigger out. A template does not say; what it deploys is meant to run.
pub(super) fn started(properties: &Map<String, Value>) -> Result<bool, String> {
    match properties.get("runtimeState") {
        None | Some(Value::Null) => Ok(true),
        Some(Value::String(state)) => Ok(state.eq_ignore_ascii_case("Started")),
        Some(other) => Err(format!("its runtimeState is {}, not a text", config::kind(other))),
    }
}

pub(super) fn schedule(properties: &Map<String, Value>, own: &Map<String, Value>) -> Result<Trigger, String> {
    let mut notes = Vec::new();
    let keys = ["frequency", "interval", "startTime", "endTime", "timeZone", "schedule"];
    let recurrence = object(own, "recurrence")?.ok_or("it has no recurrence")?;
    for key in own.keys().filter(|key| *key != "recurrence") {
        notes.push(format!(
            "its typeProperties has the key '{}', which no schedule trigger has; it is left out",
            beginning(key)
        ));
    }
    let mut fields = Fields::new(recurrence, "recurrence", &keys, &mut notes)?;
    let zone = fields::zone(fields.text("timeZone")?)?;
    let (frequency, unit) = fields.unit("frequency")?;
    let start = fields.start("startTime", &zone, unit)?;
    let end = fields.end("endTime", &zone, &start)?;
    let interval = fields.whole("interval", 1, LONGEST)?.unwrap_or(1);
    let rule = Rule {
        interval,
        end: end.as_ref().map(|end| end.at),
        zone: zone.rules().clone(),
        ..Rule::plain(unit, interval, start.at)
    };
    let rule = lists(recurrence, rule, &mut notes)?;
    let mut said = json!({"frequency": frequency, "interval": interval, "startTime": start.text});
    for (key, value) in [("endTime", end.map(|end| end.text.into())), ("schedule", lists_of(&rule))] {
        value.into_iter().for_each(|value| said[key] = value);
    }
    let names = Names { scheduled: Some("scheduled_time".to_owned()), window: None };
    let references = list(properties, "pipelines");
    let pipelines =
        references.into_iter().map(|reference| pipeline(reference, &names)).collect::<Result<Vec<_>, _>>()?;
    if pipelines.is_empty() {
        return Err("it starts no pipeline".to_owned());
    }
    let schedule = json!({"recurrence": said});
    let keys = vec![("timezone", zone.name().into())];
    Ok(Trigger { started: started(properties)?, schedule, keys, pipelines, notes, rule })
}

/// The rule with the lists of its `schedule`.
fn lists(recurrence: &Map<String, Value>, rule: Rule, notes: &mut Vec<String>) -> Result<Rule, String> {
    let none = Map::new();
    let lists = object(recurrence, "schedule")?.unwrap_or(&none);
    let keys = ["minutes", "hours", "weekDays", "monthDays", "monthlyOccurrences"];
    let mut fields = Fields::new(lists, "schedule", &keys, notes)?;
    let rule = Rule {
        minutes: fields.numbers("minutes", 0, 59)?,
        hours: fields.numbers("hours", 0, 23)?,
        week_days: fields.weekdays("weekDays")?,
        month_days: fields.numbers("monthDays", -31, 31)?,
        occurrences: fields.occurrences("monthlyOccurrences")?,
        ..rule
    };
    let of_one = [
        ("weekDays", rule.week_days.is_empty(), Unit::Week),
        ("monthDays", rule.month_days.is_empty(), Unit::Month),
        ("monthlyOccurrences", rule.occurrences.is_empty(), Unit::Month),
    ];
    if let Some((key, _, of)) = of_one.into_iter().find(|(_, empty, of)| !empty && *of != rule.unit) {
        return Err(format!("its schedule has {key}, which go with the frequency {of:?} only"));
    }
    if rule.month_days.contains(&0) {
        return Err("in its monthDays, 0 is not a day; it is 1 to 31, or -1 (the last day) to -31".to_owned());
    }
    if !rule.month_days.is_empty() && !rule.occurrences.is_empty() {
        return Err(
            "it has monthDays and monthlyOccurrences, and Microsoft's pages do not say how they go together"
                .to_owned(),
        );
    }
    let local = rule.zone.to_datetime(rule.start);
    let own = rule.month_days.is_empty() && rule.occurrences.is_empty();
    let days = if own { vec![i64::from(local.day())] } else { rule.month_days.clone() };
    if let Some(day) = days.iter().find(|day| rule.unit == Unit::Month && day.abs() > 28) {
        let which = if *day > 0 { format!("day {day}") } else { format!("{} days", day.abs()) };
        notes.push(format!(
            "in a month without {which} it does not fire; Microsoft's pages do not say that the service does not either"
        ));
    }
    if rule.unit == Unit::Week && rule.interval > 1 && !rule.week_days.is_empty() {
        notes.push(
            "weeks are counted as seven days from startTime on; Microsoft's pages do not say".to_owned(),
        );
    }
    Ok(rule)
}

/// The lists of a schedule that say something.
fn lists_of(rule: &Rule) -> Option<Value> {
    let name = |day: &Weekday| WEEKDAYS.iter().find(|(_, known)| known == day).map_or("", |(name, _)| *name);
    let mut lists = Map::new();
    let mut add = |key: &str, values: Vec<Value>| {
        if !values.is_empty() {
            lists.insert(key.to_owned(), values.into());
        }
    };
    let plain = |values: &[i64]| values.iter().map(|value| Value::from(*value)).collect();
    add("hours", plain(&rule.hours));
    add("minutes", plain(&rule.minutes));
    add("weekDays", rule.week_days.iter().map(|day| name(day).into()).collect());
    add("monthDays", plain(&rule.month_days));
    let occurrence = |(day, occurrence): &(Weekday, Option<i64>)| match occurrence {
        Some(number) => json!({"day": name(day), "occurrence": number}),
        None => json!({"day": name(day)}),
    };
    add("monthlyOccurrences", rule.occurrences.iter().map(occurrence).collect());
    (!lists.is_empty()).then(|| lists.into())
}

/// What a reference starts, with which parameters.
///
/// # Errors
/// In words, naming the parameter that cannot be equal.
pub(super) fn pipeline(reference: &Value, names: &Names) -> Result<(String, Map<String, Value>), String> {
    let name = reference.pointer("/pipelineReference/referenceName").and_then(Value::as_str);
    let name = name.ok_or("it does not name its pipeline")?.to_owned();
    let mut parameters = Map::new();
    let none = Map::new();
    let given = object(reference.as_object().unwrap_or(&none), "parameters")?.unwrap_or(&none);
    for (key, value) in given {
        let value = expression::parameter(value, names).map_err(|why| format!("parameter {key}: {why}"))?;
        parameters.insert(key.clone(), value);
    }
    Ok((name, parameters))
}
