//! `schedule:` and the keys that bound it: cron text, a rule, or a list of both, as a [`Calendar`].

use std::sync::Arc;

use serde_json::Value;

use super::collect::{Collector, join, kind};
use super::keys::Keys;
use super::raw;
use super::value::{Moment, duration};
use crate::ids::Nominal;
use crate::schedule::{Calendar, CalendarSpec, Every, Form, Rule, Zone};

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
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        collector.wrong(path, "end", "must be after `start`");
    }
    let place = join(path, "schedule");
    let rules = match schedule {
        Value::Array(items) if items.is_empty() => {
            collector.wrong(&place, "", "the list is empty; give at least one schedule");
            return None;
        }
        Value::Array(items) => {
            let rules: Vec<_> = items
                .into_iter()
                .enumerate()
                .map(|(index, item)| rule(collector, &format!("{place}[{index}]"), item, &zone))
                .collect();
            rules.into_iter().collect::<Option<Vec<_>>>()?
        }
        other => vec![rule(collector, &place, other, &zone)?],
    };
    Some(Calendar::new(CalendarSpec {
        rules,
        zone,
        start,
        end,
        dst_gap: keys.dst_gap.or(defaults.dst_gap).unwrap_or_default(),
        dst_overlap: keys.dst_overlap.or(defaults.dst_overlap).unwrap_or_default(),
        jitter: keys.jitter.or(defaults.jitter).unwrap_or_default(),
    }))
}

fn bound(
    collector: &mut Collector<'_>,
    path: &str,
    key: &str,
    own: Option<Moment>,
    default: Option<Moment>,
    zone: &Zone,
) -> Option<jiff::Timestamp> {
    let moment = own.or(default)?;
    moment.instant(zone).map_err(|message| collector.wrong(path, key, message)).ok()
}

fn rule(collector: &mut Collector<'_>, path: &str, value: Value, zone: &Zone) -> Option<Rule> {
    match value {
        Value::String(text) => {
            let form = Form::Cron(collector.cron(path, "", &text)?);
            Some(Rule { form, zone: zone.clone(), start: None, end: None })
        }
        value @ Value::Object(_) => mapping(collector, path, value, zone),
        other => {
            let message = format!(
                "must be a cron text, a mapping with cron, every or at, or a list of them, not {}",
                kind(&other)
            );
            collector.wrong(path, "", message);
            None
        }
    }
}

fn mapping(collector: &mut Collector<'_>, path: &str, value: Value, zone: &Zone) -> Option<Rule> {
    let noted = collector.count();
    let raw: raw::Rule = collector.section(path, value)?;
    let zone = collector.zone(path, raw.timezone).unwrap_or_else(|| zone.clone());
    let start = time(collector, path, "start", raw.start, &zone);
    let end = time(collector, path, "end", raw.end, &zone);
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        collector.wrong(path, "end", "must be after `start`");
    }
    let forms = [raw.cron.is_some(), raw.every.is_some(), raw.at.is_some()];
    if forms.iter().filter(|given| **given).count() != 1 {
        // A misspelt key is said already.
        if collector.count() == noted {
            collector.wrong(path, "", "must have exactly one of `cron`, `every` and `at`");
        }
        return None;
    }
    if raw.every.is_none() && (raw.offset.is_some() || raw.anchor.is_some()) {
        collector.wrong(path, "", "`offset` and `anchor` go with `every`");
    }
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
        Form::At(instants(collector, &join(path, "at"), at, &zone)?)
    } else {
        let text = collector.take(path, "cron", raw.cron)?;
        Form::Cron(collector.cron(path, "cron", &text)?)
    };
    Some(Rule { form, zone, start, end })
}

fn time(
    collector: &mut Collector<'_>,
    path: &str,
    key: &str,
    field: Option<raw::Field<String>>,
    zone: &Zone,
) -> Option<jiff::Timestamp> {
    collector.read(path, key, field, |text| Moment::parse(&text)?.instant(zone))
}

/// The instants of `at`: in order, each once.
fn instants(collector: &mut Collector<'_>, path: &str, value: Value, zone: &Zone) -> Option<Arc<[Nominal]>> {
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
            Value::String(text) => {
                Moment::parse(&text).and_then(|moment| moment.instant(zone)).and_then(whole)
            }
            other => Err(format!("must be a time, not {}; quote it", kind(&other))),
        };
        match read {
            Ok(instant) => instants.push(instant),
            Err(message) => collector.wrong(&place, "", message),
        }
    }
    instants.sort_unstable();
    instants.dedup();
    Some(instants.into())
}

fn whole(instant: jiff::Timestamp) -> Result<Nominal, String> {
    let nominal = Nominal::at_or_before(instant);
    if nominal.timestamp() == instant { Ok(nominal) } else { Err("must be a whole second".to_owned()) }
}
