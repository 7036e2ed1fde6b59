//! `schedule:` and the keys that bound it: cron text, a rule, or a list of both, as a [`Calendar`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::collect::{Collector, join, kind};
use super::keys::Keys;
use super::value::{Moment, duration};
use super::{except, raw, recurrence};
use crate::ids::Nominal;
use crate::schedule::{Calendar, CalendarSpec, DstGap, DstOverlap, Every, Form, Recurrence, Rule, Zone};

/// What the rules of an entry have from it.
struct Around {
    zone: Zone,
    start: Option<Timestamp>,
    gap: DstGap,
    overlap: DstOverlap,
}

/// Reads the calendar of an entry: its `schedule`, within the keys of the entry and the defaults.
pub(super) fn read(
    collector: &mut Collector<'_>,
    path: &str,
    schedule: Value,
    keys: &Keys,
    defaults: &Keys,
) -> Option<Calendar> {
    let zone = keys.timezone.clone().or_else(|| defaults.timezone.clone()).unwrap_or_else(Zone::utc);
    let start = bound(collector, path, "start", keys.start, defaults.start, &zone);
    let end = bound(collector, path, "end", keys.end, defaults.end, &zone);
    in_order(collector, path, start, end);
    let around = Around {
        zone,
        start,
        gap: keys.dst_gap.or(defaults.dst_gap).unwrap_or_default(),
        overlap: keys.dst_overlap.or(defaults.dst_overlap).unwrap_or_default(),
    };
    let rules = rules(collector, &join(path, "schedule"), schedule, &around)?;
    Some(Calendar::new(CalendarSpec {
        rules,
        zone: around.zone,
        start,
        end,
        except: keys.except.clone().or_else(|| defaults.except.clone()).filter(|except| !except.is_empty()),
        dst_gap: around.gap,
        dst_overlap: around.overlap,
        jitter: keys.jitter.or(defaults.jitter).unwrap_or_default(),
    }))
}

fn rules(collector: &mut Collector<'_>, place: &str, schedule: Value, around: &Around) -> Option<Vec<Rule>> {
    match schedule {
        Value::Array(items) if items.is_empty() => {
            collector.wrong(place, "", "the list is empty; give at least one schedule");
            None
        }
        Value::Array(items) => {
            let rules: Vec<_> = items
                .into_iter()
                .enumerate()
                .map(|(index, item)| rule(collector, &format!("{place}[{index}]"), item, around))
                .collect();
            rules.into_iter().collect()
        }
        other => Some(vec![rule(collector, place, other, around)?]),
    }
}

fn in_order(collector: &mut Collector<'_>, path: &str, start: Option<Timestamp>, end: Option<Timestamp>) {
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        collector.wrong(path, "end", "must be after `start`");
    }
}

fn bound(
    collector: &mut Collector<'_>,
    path: &str,
    key: &str,
    own: Option<Moment>,
    default: Option<Moment>,
    zone: &Zone,
) -> Option<Timestamp> {
    let moment = own.or(default)?;
    moment.instant(zone).map_err(|message| collector.wrong(path, key, message)).ok()
}

fn rule(collector: &mut Collector<'_>, path: &str, value: Value, around: &Around) -> Option<Rule> {
    match value {
        Value::String(text) => {
            let form = Form::Cron(collector.cron(path, "", &text)?);
            Some(Rule { form, zone: around.zone.clone(), start: None, end: None, except: None })
        }
        value @ Value::Object(_) => mapping(collector, path, value, around),
        other => {
            let message = format!(
                "must be a cron text, a mapping with {FORMS}, or a list of them, not {}",
                kind(&other)
            );
            collector.wrong(path, "", message);
            None
        }
    }
}

const FORMS: &str = "cron, every, at or recurrence";

fn mapping(collector: &mut Collector<'_>, path: &str, value: Value, around: &Around) -> Option<Rule> {
    let noted = collector.count();
    let mut raw: raw::Rule = collector.section(path, value)?;
    let forms = [raw.cron.is_some(), raw.every.is_some(), raw.at.is_some(), raw.recurrence.is_some()];
    if forms.iter().filter(|given| **given).count() != 1 {
        // A misspelt key is said already.
        if collector.count() == noted {
            collector.wrong(path, "", format!("must have exactly one of {FORMS}"));
        }
        return None;
    }
    if raw.every.is_none() && (raw.offset.is_some() || raw.anchor.is_some()) {
        collector.wrong(path, "", "`offset` and `anchor` go with `every`");
    }
    let except = except::read(collector, &join(path, "except"), raw.except.take());
    let except = except.filter(|except| !except.is_empty());
    if let Some(value) = raw.recurrence.take() {
        let rule = recurrence_rule(collector, path, value, raw, around)?;
        return Some(Rule { except, ..rule });
    }
    let zone = collector.zone(path, "timezone", raw.timezone).unwrap_or_else(|| around.zone.clone());
    let start = time(collector, path, "start", raw.start, &zone);
    let end = time(collector, path, "end", raw.end, &zone);
    in_order(collector, path, start, end);
    let form = if let Some(every) = raw.every {
        let period = collector.read(path, "every", Some(every), |text| duration(&text));
        let offset = collector.read(path, "offset", raw.offset, |text| duration(&text)).unwrap_or_default();
        let anchor = time(collector, path, "anchor", raw.anchor, &zone);
        match Every::new(period?, offset, anchor) {
            Ok(every) => Form::Every(every),
            Err(error) => {
                collector.wrong(path, "every", error.to_string());
                return None;
            }
        }
    } else if let Some(at) = raw.at {
        Form::At(instants(collector, &join(path, "at"), at, &zone, around)?)
    } else {
        let text = collector.take(path, "cron", raw.cron)?;
        Form::Cron(collector.cron(path, "cron", &text)?)
    };
    Some(Rule { form, zone, start, end, except })
}

/// A rule with `recurrence`, whose own zone and bounds may stand in it, as Data Factory writes them.
fn recurrence_rule(
    collector: &mut Collector<'_>,
    path: &str,
    value: Value,
    raw: raw::Rule,
    around: &Around,
) -> Option<Rule> {
    let place = join(path, "recurrence");
    let mut inner: raw::Recurrence = collector.section(&place, value)?;
    let twice = [
        ("timezone", raw.timezone.is_some(), "timeZone", inner.time_zone.is_some()),
        ("start", raw.start.is_some(), "startTime", inner.start_time.is_some()),
        ("end", raw.end.is_some(), "endTime", inner.end_time.is_some()),
    ];
    for (outer, _, own, _) in twice.into_iter().filter(|(_, outer, _, own)| *outer && *own) {
        collector.wrong(
            path,
            outer,
            format!("stands in the recurrence as `{own}` already; give one of them"),
        );
    }
    let of_its_own = collector.zone(&place, "timeZone", inner.time_zone.take());
    // A schedule that was in force before goes on as it was read then.
    let judged = of_its_own.clone().filter(|_| collector.now().is_some());
    let mut its_own = |key, field| {
        collector.read(&place, key, field, |text: String| {
            let moment = Moment::parse(&text)?;
            if let (Moment::Instant(_), Some(zone)) = (&moment, &judged) {
                recurrence::offset_beside_zone(&text, zone)?;
            }
            Ok::<_, String>(moment)
        })
    };
    let end_time = inner.end_time.take().filter(|end| !recurrence::is_never(end));
    let (start, last) = (its_own("startTime", inner.start_time.take()), its_own("endTime", end_time));
    let zone = of_its_own
        .or_else(|| collector.zone(path, "timezone", raw.timezone))
        .unwrap_or_else(|| around.zone.clone());
    let mut instant = |key, moment: Option<Moment>| {
        let instant = moment?.instant(&zone);
        instant.map_err(|message| collector.wrong(&place, key, message)).ok()
    };
    let (start, last) = (instant("startTime", start), instant("endTime", last));
    let start = start.or_else(|| time(collector, path, "start", raw.start, &zone));
    // Data Factory fires at its end, but not after it.
    let end = last
        .and_then(|last| last.checked_add(SignedDuration::from_nanos(1)).ok())
        .or_else(|| time(collector, path, "end", raw.end, &zone));
    in_order(collector, path, start, end);
    let origin = collector.required(
        &place,
        "startTime",
        start.or(around.start),
        "a recurrence counts from it (or from `start` of the rule or the entry)",
    )?;
    let spec = recurrence::read(collector, &place, inner, origin)?;
    match Recurrence::new(&spec, &zone) {
        Ok(recurrence) => {
            let form = Form::Recurrence(Box::new(recurrence));
            // Its start is part of it, without the fractions of a second that Data Factory stores.
            Some(Rule { form, zone, start: None, end, except: None })
        }
        Err(error) => {
            collector.wrong(&place, "", error.to_string());
            None
        }
    }
}

fn time(
    collector: &mut Collector<'_>,
    path: &str,
    key: &str,
    field: Option<raw::Field<String>>,
    zone: &Zone,
) -> Option<Timestamp> {
    collector.read(path, key, field, |text| Moment::parse(&text)?.instant(zone))
}

/// The instants of `at`: in order, each once. A local time is a fixed time, and follows the policy for changes of
/// the clock.
fn instants(
    collector: &mut Collector<'_>,
    path: &str,
    value: Value,
    zone: &Zone,
    around: &Around,
) -> Option<Arc<[Nominal]>> {
    let items = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    if items.is_empty() {
        collector.wrong(path, "", "the list is empty; give at least one time");
        return None;
    }
    let several = items.len() > 1;
    let mut instants = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let place = if several { format!("{path}[{index}]") } else { path.to_owned() };
        let read = match item {
            Value::String(text) => Moment::parse(&text).and_then(|moment| match moment {
                Moment::Instant(instant) => Ok(vec![whole(instant)?]),
                Moment::Local(local) => {
                    zone.fixed(local, around.gap, around.overlap).into_iter().map(whole).collect()
                }
            }),
            other => Err(format!("must be a time, not {}; quote it", kind(&other))),
        };
        match read {
            Ok(times) => instants.extend(times),
            Err(message) => collector.wrong(&place, "", message),
        }
    }
    instants.sort_unstable();
    instants.dedup();
    Some(instants.into())
}

fn whole(instant: Timestamp) -> Result<Nominal, String> {
    let nominal = Nominal::at_or_before(instant);
    if nominal.timestamp() == instant { Ok(nominal) } else { Err("must be a whole second".to_owned()) }
}
