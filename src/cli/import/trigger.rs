//! What a trigger says, as entries of a schedule file and as the rule that they must equal.

use jiff::civil::{DateTime, Weekday};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Map, Value, json};

use super::expression::{self, Names};
use super::read::Found;
use super::rule::{Rule, Unit};
use crate::cli::explain::span;
use crate::schedule::Zone;

const WEEKDAYS: [(&str, Weekday); 7] = [
    ("Sunday", Weekday::Sunday),
    ("Monday", Weekday::Monday),
    ("Tuesday", Weekday::Tuesday),
    ("Wednesday", Weekday::Wednesday),
    ("Thursday", Weekday::Thursday),
    ("Friday", Weekday::Friday),
    ("Saturday", Weekday::Saturday),
];

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
    /// What is carried out otherwise than by the service.
    pub(super) notes: Vec<String>,
    /// When it fires, by Microsoft's pages.
    pub(super) rule: Rule,
}

/// Reads a trigger.
///
/// # Errors
/// In words, naming what cannot be equal here.
pub(super) fn read(found: &Found) -> Result<Trigger, String> {
    let properties = &found.properties;
    if let Some(expression) = &found.unresolved {
        return Err(format!(
            "it holds the template's expression '{expression}'; give its parameter a default"
        ));
    }
    let none = Map::new();
    let own = properties.get("typeProperties").and_then(Value::as_object).unwrap_or(&none);
    match properties.get("type").and_then(Value::as_str).unwrap_or_default() {
        "ScheduleTrigger" => schedule(properties, own),
        "TumblingWindowTrigger" => tumbling(properties, own),
        kind @ ("BlobTrigger" | "BlobEventsTrigger" | "CustomEventsTrigger") => {
            Err(format!("a {kind} fires on events, not at times"))
        }
        "ChainingTrigger" => {
            Err("a ChainingTrigger fires after runs of other pipelines, not at times".to_owned())
        }
        kind => Err(format!("a {kind} is not known here")),
    }
}

fn started(properties: &Map<String, Value>) -> bool {
    // A template does not say; what it deploys is meant to run.
    properties.get("runtimeState").and_then(Value::as_str).is_none_or(|state| state == "Started")
}

fn schedule(properties: &Map<String, Value>, own: &Map<String, Value>) -> Result<Trigger, String> {
    let recurrence = object(own, "recurrence")?.ok_or("it has no recurrence")?;
    known(
        recurrence,
        "recurrence",
        &["frequency", "interval", "startTime", "endTime", "timeZone", "schedule"],
    )?;
    let zone = match text(recurrence, "timeZone")? {
        None => Zone::utc(),
        Some(name) => Zone::parse(name).map_err(|error| error.to_string())?,
    };
    let (start, start_text) = time(recurrence, "startTime", &zone)?.ok_or("it has no startTime")?;
    let end = time(recurrence, "endTime", &zone)?;
    let (frequency, unit) = unit(recurrence)?;
    let interval = whole(recurrence, "interval")?.unwrap_or(1);
    let none = Map::new();
    let lists = object(recurrence, "schedule")?.unwrap_or(&none);
    known(lists, "schedule", &["minutes", "hours", "weekDays", "monthDays", "monthlyOccurrences"])?;
    let rule = Rule {
        unit,
        interval,
        start,
        end: end.as_ref().map(|(end, _)| *end),
        zone: zone.rules().clone(),
        minutes: numbers(lists, "minutes")?,
        hours: numbers(lists, "hours")?,
        week_days: list(lists, "weekDays").into_iter().map(weekday).collect::<Result<_, _>>()?,
        month_days: numbers(lists, "monthDays")?,
        occurrences: list(lists, "monthlyOccurrences")
            .into_iter()
            .map(occurrence)
            .collect::<Result<_, _>>()?,
    };
    if !rule.month_days.is_empty() && !rule.occurrences.is_empty() {
        return Err(
            "it has monthDays and monthlyOccurrences, and Microsoft's pages do not say how they go together"
                .to_owned(),
        );
    }
    let mut said = json!({"frequency": frequency, "interval": interval, "startTime": start_text});
    for (key, value) in [("endTime", end.map(|(_, end)| end.into())), ("schedule", lists_of(&rule))] {
        value.into_iter().for_each(|value| said[key] = value);
    }
    let mut notes = Vec::new();
    if unit == Unit::Week && interval > 1 && !rule.week_days.is_empty() {
        notes.push(
            "weeks are counted as seven days from startTime on; Microsoft's pages do not say".to_owned(),
        );
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
    Ok(Trigger { started: started(properties), schedule, keys, pipelines, notes, rule })
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

fn tumbling(properties: &Map<String, Value>, own: &Map<String, Value>) -> Result<Trigger, String> {
    let keys = [
        "frequency",
        "interval",
        "startTime",
        "endTime",
        "delay",
        "maxConcurrency",
        "retryPolicy",
        "dependsOn",
    ];
    known(own, "typeProperties", &keys)?;
    if let Some(first) = list(own, "dependsOn").first() {
        let other = first.pointer("/referenceTrigger/referenceName").and_then(Value::as_str);
        return Err(match other {
            Some(other) => format!("it waits for windows of the trigger '{other}' (dependsOn)"),
            None => "it waits for earlier windows of its own (dependsOn)".to_owned(),
        });
    }
    let utc = Zone::utc();
    let (start, _) = time(own, "startTime", &utc)?.ok_or("it has no startTime")?;
    let end = time(own, "endTime", &utc)?.map(|(end, _)| end);
    let (_, unit) = unit(own)?;
    let interval = whole(own, "interval")?.ok_or("it has no interval")?;
    let delay = text(own, "delay")?.map_or(Ok(0), delay)?;
    let (schedule, first, window_start) = match unit {
        Unit::Minute => fixed(start, end, interval * 60, delay)?,
        Unit::Hour => fixed(start, end, interval * 3_600, delay)?,
        Unit::Month => monthly(start, end, interval, delay)?,
        _ => return Err("a tumbling window of that frequency is not known here".to_owned()),
    };
    let moved = |time: &str| match delay {
        0 => time.to_owned(),
        delay => format!("{time} | shift(seconds=-{delay})"),
    };
    let names = Names {
        scheduled: (delay == 0).then(|| "scheduled_time".to_owned()),
        window: Some((moved(&window_start), moved("window_end"))),
    };
    let reference = properties.get("pipeline").ok_or("it starts no pipeline")?;
    let end = end.map(|end| later(end, delay)).transpose()?;
    let rule = Rule { end, ..Rule::plain(unit, interval, first) };
    let (keys, notes) = beside(own, first);
    Ok(Trigger {
        started: started(properties),
        schedule,
        keys,
        pipelines: vec![pipeline(reference, &names)?],
        notes,
        rule,
    })
}

/// What the service does beside starting the pipeline for each window: as keys of an entry, and notes.
fn beside(own: &Map<String, Value>, first: Timestamp) -> (Vec<(&'static str, Value)>, Vec<String>) {
    // A tumbling window trigger never leaves out a window.
    let mut keys = vec![
        ("timezone", json!("UTC")),
        ("missed", json!("all")),
        ("missed_within", json!("366d")),
        ("missed_max", json!(10_000)),
    ];
    let mut notes = vec![format!(
        "windows that ended before the first start of the daemon are started by: adf-cron backfill NAME --from {first}"
    )];
    keys.extend(side_by_side(own));
    if let Some(recovery) = recovery(own) {
        keys.push(("recovery", recovery));
        notes.push("a failed run is started again only until the next window ends".to_owned());
    }
    (keys, notes)
}

/// How many windows may run at once: `maxConcurrency`, 50 where nothing is said. The others wait for their turn.
fn side_by_side(own: &Map<String, Value>) -> [(&'static str, Value); 2] {
    let most = own.get("maxConcurrency").and_then(Value::as_u64).unwrap_or(50).max(1);
    [("max_active", json!(most)), ("max_queued", json!(10_000))]
}

/// `retryPolicy`: a run that fails is started again from its beginning, so often and after so long (30 s where nothing
/// is said).
fn recovery(own: &Map<String, Value>) -> Option<Value> {
    let policy = own.get("retryPolicy")?;
    let count = policy.get("count").and_then(Value::as_u64).filter(|count| *count > 0)?;
    let delay = policy.get("intervalInSeconds").and_then(Value::as_u64).unwrap_or(30);
    Some(json!({"max": count.min(10), "delay": format!("{delay}s"), "from": "start"}))
}

fn later(at: Timestamp, seconds: i64) -> Result<Timestamp, String> {
    at.checked_add(SignedDuration::from_secs(seconds)).map_err(|error| error.to_string())
}

/// Windows of one length: the schedule, its first firing, and what templates call a window's start.
fn fixed(
    start: Timestamp,
    end: Option<Timestamp>,
    length: i64,
    delay: i64,
) -> Result<(Value, Timestamp, String), String> {
    whole_windows(start, end, length)?;
    let (anchor, first) = (later(start, delay)?, later(start, length + delay)?);
    let mut said = json!({"every": span(length), "anchor": anchor.to_string(), "start": first.to_string()});
    if let Some(end) = end {
        said["end"] = later(end, delay + 1)?.to_string().into();
    }
    Ok((said, first, "window_start".to_owned()))
}

/// Windows of months: each ends where the recurrence fires.
fn monthly(
    start: Timestamp,
    end: Option<Timestamp>,
    interval: i64,
    delay: i64,
) -> Result<(Value, Timestamp, String), String> {
    let local = Zone::utc().rules().to_datetime(start);
    if local.day() > 28 || end.is_some() || delay != 0 {
        return Err(
            "windows of months with an endTime, a delay or a start after the 28th have no equal here"
                .to_owned(),
        );
    }
    let first = local.checked_add(interval.months()).map_err(|error| error.to_string())?;
    let first = Zone::utc().rules().to_timestamp(first).map_err(|error| error.to_string())?;
    let recurrence = json!({"frequency": "Month", "interval": interval, "startTime": first.to_string()});
    let window_start = format!("window_end | shift(months=-{interval}, zone=\"UTC\")");
    Ok((json!({"recurrence": recurrence}), first, window_start))
}

fn whole_windows(start: Timestamp, end: Option<Timestamp>, length: i64) -> Result<(), String> {
    match end {
        Some(end) if (end.as_second() - start.as_second()) % length != 0 => Err(format!(
            "its endTime cuts a window, and Microsoft's pages do not say whether that one runs; let it lie a whole number of {} after startTime",
            span(length)
        )),
        _ => Ok(()),
    }
}

/// `hh:mm:ss`, or `d.hh:mm:ss`.
fn delay(text: &str) -> Result<i64, String> {
    let wrong = || format!("its delay '{text}' is not hh:mm:ss");
    let (days, clock) = text.split_once('.').unwrap_or(("0", text));
    let parts: Vec<i64> = clock.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| wrong())?;
    let days: i64 = days.parse().map_err(|_| wrong())?;
    match parts.as_slice() {
        [hours, minutes, seconds] => Ok(((days * 24 + hours) * 60 + minutes) * 60 + seconds),
        _ => Err(wrong()),
    }
}

fn pipeline(reference: &Value, names: &Names) -> Result<(String, Map<String, Value>), String> {
    let name = reference.pointer("/pipelineReference/referenceName").and_then(Value::as_str);
    let name = name.ok_or("it does not name its pipeline")?.to_owned();
    let mut parameters = Map::new();
    for (key, value) in reference.get("parameters").and_then(Value::as_object).into_iter().flatten() {
        let value = expression::parameter(value, names).map_err(|why| format!("parameter {key}: {why}"))?;
        parameters.insert(key.clone(), value);
    }
    Ok((name, parameters))
}

fn known(map: &Map<String, Value>, place: &str, keys: &[&str]) -> Result<(), String> {
    match map.iter().find(|(key, value)| !value.is_null() && !keys.contains(&key.as_str())) {
        Some((key, _)) => Err(format!("its {place} has the key '{key}', which is not known here")),
        None => Ok(()),
    }
}

fn object<'a>(map: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(_) => Err(format!("its {key} is not a mapping")),
    }
}

fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("its {key} is not a text")),
    }
}

fn whole(map: &Map<String, Value>, key: &str) -> Result<Option<i64>, String> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number @ 1..=1_000) => Ok(Some(number)),
            _ => Err(format!("its {key} is {value}, not a whole number from 1 to 1000")),
        },
    }
}

/// The items of a list, or the one that stands in its place.
fn list<'a>(map: &'a Map<String, Value>, key: &str) -> Vec<&'a Value> {
    match map.get(key) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one) => vec![one],
    }
}

fn numbers(map: &Map<String, Value>, key: &str) -> Result<Vec<i64>, String> {
    let number =
        |value: &Value| value.as_i64().ok_or_else(|| format!("{value} in its {key} is not a whole number"));
    list(map, key).into_iter().map(number).collect()
}

fn weekday(value: &Value) -> Result<Weekday, String> {
    let named = value.as_str().unwrap_or_default();
    let found = WEEKDAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(named));
    found.map(|(_, day)| *day).ok_or_else(|| format!("{value} is not a weekday"))
}

fn occurrence(value: &Value) -> Result<(Weekday, Option<i64>), String> {
    let day = weekday(value.get("day").unwrap_or(&Value::Null))?;
    match value.get("occurrence") {
        None | Some(Value::Null) => Ok((day, None)),
        Some(number) => match number.as_i64() {
            Some(number) if (1..=5).contains(&number.abs()) => Ok((day, Some(number))),
            _ => Err(format!("{number} is not an occurrence of a weekday")),
        },
    }
}

fn unit(map: &Map<String, Value>) -> Result<(&'static str, Unit), String> {
    let units = [
        ("Minute", Unit::Minute),
        ("Hour", Unit::Hour),
        ("Day", Unit::Day),
        ("Week", Unit::Week),
        ("Month", Unit::Month),
    ];
    let named = text(map, "frequency")?.ok_or("it has no frequency")?;
    let found = units.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(named));
    found.ok_or_else(|| format!("the frequency '{named}' is not known here"))
}

/// A time of the service, to whole seconds, with its text for the file.
fn time(map: &Map<String, Value>, key: &str, zone: &Zone) -> Result<Option<(Timestamp, String)>, String> {
    let Some(text) = text(map, key)? else { return Ok(None) };
    let wrong = |error: jiff::Error| format!("its {key} '{text}' is not a time: {error}");
    let seconds = |at: Timestamp| Timestamp::from_second(at.as_second()).map_err(wrong);
    let utc = zone.name() == "UTC";
    if let Ok(at) = text.parse::<Timestamp>() {
        if !utc {
            return Err(format!(
                "its {key} '{text}' has an offset beside the time zone '{}', which the service does not heed then; \
                 take away one of them",
                zone.name()
            ));
        }
        let at = seconds(at)?;
        return Ok(Some((at, at.to_string())));
    }
    let local: DateTime = text.parse().map_err(wrong)?;
    let local = local.with().subsec_nanosecond(0).build().map_err(wrong)?;
    let at = zone.rules().to_ambiguous_timestamp(local).compatible().map_err(wrong)?;
    Ok(Some((at, if utc { at.to_string() } else { local.to_string() })))
}
