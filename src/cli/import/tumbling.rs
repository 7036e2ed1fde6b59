//! What a tumbling window trigger says: windows of one length or of months, each of which an entry fires for when it
//! ends.

use jiff::{SignedDuration, Timestamp, ToSpan as _};
use serde_json::{Map, Value, json};

use super::expression::Names;
use super::fields::{Fields, list, object};
use super::rule::{Rule, Unit};
use super::trigger::{Trigger, pipeline, started};
use crate::cli::explain::span;
use crate::schedule::Zone;

/// How often a recovery starts a failed run again at most.
const MOST_RECOVERIES: i64 = 10;

/// The longest windows, and the longest delay, in seconds: what the schedule file can say.
const LONGEST: i64 = 36_500 * 86_400;

/// Reads a tumbling window trigger.
///
/// # Errors
/// In words, naming what cannot be equal here.
pub(super) fn read(properties: &Map<String, Value>, own: &Map<String, Value>) -> Result<Trigger, String> {
    if let Some(first) = list(own, "dependsOn").first() {
        let other = first.pointer("/referenceTrigger/referenceName").and_then(Value::as_str);
        return Err(match other {
            Some(other) => format!("it waits for windows of the trigger '{other}' (dependsOn)"),
            None => "it waits for earlier windows of its own (dependsOn)".to_owned(),
        });
    }
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
    let mut notes = Vec::new();
    let mut fields = Fields::new(own, "typeProperties", &keys, &mut notes)?;
    let utc = Zone::utc();
    let (_, unit) = fields.unit("frequency")?;
    let start = fields.start("startTime", &utc, unit)?;
    let end = fields.end("endTime", &utc, &start)?.map(|end| end.at);
    let start = start.at;
    let interval = fields.whole("interval", 1, i64::from(i32::MAX))?.ok_or("it has no interval")?;
    let delay = fields.text("delay")?.map_or(Ok(0), delay)?;
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
    let keys = beside(&mut fields, own, first)?;
    Ok(Trigger {
        started: started(properties)?,
        schedule,
        keys,
        pipelines: vec![pipeline(reference, &names)?],
        notes,
        rule,
    })
}

/// What the service does beside starting the pipeline for each window, as keys of an entry.
fn beside(
    fields: &mut Fields<'_>,
    own: &Map<String, Value>,
    first: Timestamp,
) -> Result<Vec<(&'static str, Value)>, String> {
    fields.note(format!(
        "windows that ended before the first start of the daemon are started by: adf-cron backfill NAME --from {first}"
    ));
    // How many windows may run at once: 50 where nothing is said. The others wait for their turn.
    let most = fields.whole("maxConcurrency", 1, 10_000)?.unwrap_or(50);
    // A tumbling window trigger never leaves out a window.
    let mut keys = vec![
        ("timezone", json!("UTC")),
        ("missed", json!("all")),
        ("missed_within", json!("366d")),
        ("missed_max", json!(10_000)),
        ("max_active", json!(most)),
        ("max_queued", json!(10_000)),
    ];
    let Some(policy) = object(own, "retryPolicy")? else { return Ok(keys) };
    // A run that fails is started again from its beginning, so often and after so long (30 s where nothing is said).
    let mut policy = fields.within(policy, "retryPolicy", &["count", "intervalInSeconds"])?;
    let count = policy.whole("count", 0, i64::from(i32::MAX))?.unwrap_or(0);
    let delay = policy.whole("intervalInSeconds", 0, 7 * 86_400)?.unwrap_or(30);
    if count > MOST_RECOVERIES {
        policy.note(format!(
            "its retryPolicy starts a failed window again {count} times; here that is {MOST_RECOVERIES} times at most"
        ));
    }
    if count > 0 {
        policy.note("a failed run is started again only until the next window ends".to_owned());
        let max = count.min(MOST_RECOVERIES);
        keys.push(("recovery", json!({"max": max, "delay": format!("{delay}s"), "from": "start"})));
    }
    Ok(keys)
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
    if length >= LONGEST {
        return Err("its interval makes windows of a century or longer, which have no equal here".to_owned());
    }
    whole_windows(start, end, length)?;
    let (anchor, first) = (later(start, delay)?, later(start, length + delay)?);
    let mut said = json!({"every": span(length), "anchor": anchor.to_string(), "start": first.to_string()});
    if let Some(end) = end {
        if later(end, delay)? < first {
            return Err("its endTime lies before the end of its first window, so it never fires".to_owned());
        }
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
    if local.day() > 28 || end.is_some() || delay != 0 || interval > 1_000 {
        return Err(
            "windows of months with an endTime, a delay, an interval above 1000 or a start after the 28th have no equal \
             here"
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
    let wrong = || format!("its delay '{}' is not hh:mm:ss", super::parse::beginning(text));
    let (days, clock) = text.split_once('.').unwrap_or(("0", text));
    let number = |text: &str| text.parse::<u32>().map(i64::from).map_err(|_| wrong());
    let parts: Vec<i64> = clock.split(':').map(number).collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [hours, minutes, seconds] => {
            let delay = ((number(days)? * 24 + hours) * 60 + minutes) * 60 + seconds;
            if delay < LONGEST { Ok(delay) } else { Err(wrong()) }
        }
        _ => Err(wrong()),
    }
}
