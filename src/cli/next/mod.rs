//! `next`: coming firings, as a table or as the picture of a week; offline.

mod week;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{Format, Outside, When, complain, entry_named, print, print_json, table};
use crate::config::Entry;
use crate::daemon::Exit;
use crate::ids::{FiringId, Nominal};
use crate::schedule::Zone;

use week::Week;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only these entries.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// At most so many firings of each entry.
    #[arg(short, value_name = "N", default_value_t = 10)]
    number: usize,
    /// From this time on: RFC 3339, local to the entry's zone, or 2h for two hours ago. Default: now.
    #[arg(long, value_name = "T")]
    from: Option<When>,
    /// Before this time.
    #[arg(long, value_name = "T")]
    until: Option<When>,
    /// Show seven days as a picture instead: how many firings each hour has, from the day of --from on.
    #[arg(long, conflicts_with_all = ["number", "until"])]
    week: bool,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A firing to come. The fields are a documented interface.
#[derive(Debug, Serialize)]
pub(super) struct Coming {
    entry: String,
    pipeline: String,
    scheduled_time: String,
    local_time: String,
    timezone: String,
    due_time: String,
    firing_id: FiringId,
    #[serde(skip)]
    nominal: Nominal,
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let loaded = match outside.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let entries = &loaded.settings.entries;
    for name in &arguments.names {
        match entry_named(&loaded, name) {
            Err(exit) => return exit,
            Ok(entry) if !entry.enabled => {
                complain(&format!("'{name}' is disabled: it fires at none of these times"))
            }
            Ok(_) => {}
        }
    }
    let wanted = |entry: &&std::sync::Arc<Entry>| match arguments.names.as_slice() {
        [] => entry.enabled,
        names => names.iter().any(|name| name == entry.name.as_str()),
    };
    let now = outside.clock.now().wall;
    if arguments.week {
        let wanted: Vec<&Entry> = entries.iter().filter(wanted).map(std::sync::Arc::as_ref).collect();
        return week(&wanted, arguments, now);
    }
    let mut coming = Vec::new();
    for entry in entries.iter().filter(wanted) {
        match of_entry(entry, arguments, now) {
            Ok(firings) => coming.extend(firings),
            Err(message) => {
                complain(&message);
                return Exit::Usage;
            }
        }
    }
    coming.sort_by(|a: &Coming, b| (a.nominal, &a.entry).cmp(&(b.nominal, &b.entry)));
    match arguments.format {
        Format::Json => print_json(&coming),
        Format::Text if coming.is_empty() => {
            complain("nothing is scheduled in that time");
            Exit::Done
        }
        Format::Text => print(&as_table(&coming)),
    }
}

/// Shows a week of these entries, in their zone if they have one in common, else in UTC.
fn week(entries: &[&Entry], arguments: &Arguments, now: Timestamp) -> Exit {
    let mut zones = entries.iter().map(|entry| entry.calendar.zone());
    let zone = match zones.next() {
        Some(first) if zones.all(|zone| zone.name() == first.name()) => first.clone(),
        _ => Zone::utc(),
    };
    let from = arguments.from.map_or(Ok(now), |when| when.instant(now, &zone));
    let week = from
        .and_then(|from| Week::new(entries.iter().copied(), &zone, from).map_err(|error| error.to_string()));
    match (week, arguments.format) {
        (Ok(week), Format::Json) => print_json(&week),
        (Ok(week), Format::Text) => print(&week.picture()),
        (Err(message), _) => {
            complain(&message);
            Exit::Usage
        }
    }
}

fn of_entry(entry: &Entry, arguments: &Arguments, now: Timestamp) -> Result<Vec<Coming>, String> {
    let zone = entry.calendar.zone();
    let from = arguments.from.map_or(Ok(now), |when| when.instant(now, zone))?;
    let until = arguments.until.map(|when| when.instant(now, zone)).transpose()?;
    Ok(firings(entry, from)
        .take_while(|firing| until.is_none_or(|until| firing.nominal.timestamp() < until))
        .take(arguments.number)
        .collect())
}

/// The firings of an entry from a time on.
pub(super) fn firings(entry: &Entry, from: Timestamp) -> impl Iterator<Item = Coming> + '_ {
    entry.calendar.onwards(from).map(|nominal| Coming {
        entry: entry.name.to_string(),
        pipeline: entry.pipeline.to_string(),
        scheduled_time: nominal.to_string(),
        local_time: entry.local(nominal.timestamp()),
        timezone: entry.calendar.zone().name().to_owned(),
        due_time: entry.calendar.due_time(&entry.name, nominal).to_string(),
        firing_id: FiringId::scheduled(&entry.factory, &entry.name, nominal),
        nominal,
    })
}

pub(super) fn as_table(coming: &[Coming]) -> String {
    let late = coming.iter().any(|firing| firing.due_time != firing.scheduled_time);
    let rows: Vec<Vec<String>> = coming
        .iter()
        .map(|firing| {
            let mut row = vec![
                firing.scheduled_time.clone(),
                format!("{} {}", firing.local_time, firing.timezone),
                firing.entry.clone(),
                firing.pipeline.clone(),
            ];
            if late {
                row.push(firing.due_time.clone());
            }
            row
        })
        .collect();
    let header = ["SCHEDULED (UTC)", "LOCAL", "ENTRY", "PIPELINE", "DUE (UTC)"];
    table(if late { &header } else { &header[..4] }, &rows)
}
