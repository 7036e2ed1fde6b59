//! `diff`: which firings an edit of the schedule file adds, removes and moves; offline.

mod compare;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use self::compare::{Change, Difference, Range};
use super::{Format, Outside, When, complain, print, print_json};
use crate::config::Entry;
use crate::daemon::Exit;
use crate::daemon::schedule_file::{self, Loaded};
use crate::ids::Nominal;
use crate::schedule::Zone;

/// How far ahead two schedules are compared unless another end is given.
const AHEAD: SignedDuration = SignedDuration::from_hours(30 * 24);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The schedule file as it is or was.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The schedule file as it shall be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// List at most so many firings of each entry; all are counted.
    #[arg(short, value_name = "N", default_value_t = 10)]
    number: usize,
    /// From this time on: RFC 3339, local in UTC, or 2h for two hours ago. Default: now.
    #[arg(long, value_name = "T")]
    from: Option<When>,
    /// Before this time. Default: 30 days later.
    #[arg(long, value_name = "T")]
    until: Option<When>,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What an edit does. The fields are a documented interface.
#[derive(Debug, Serialize)]
struct Report {
    from: String,
    until: String,
    added: u64,
    removed: u64,
    moved: u64,
    /// The entries for which something differs.
    entries: Vec<EntryReport>,
}

#[derive(Debug, Serialize)]
struct EntryReport {
    entry: String,
    /// `new`, `gone` or `edited`; what is disabled counts as not there.
    change: &'static str,
    timezone: String,
    added: u64,
    removed: u64,
    moved: u64,
    changed: Vec<&'static str>,
    firings: Vec<Firing>,
}

#[derive(Debug, Serialize)]
struct Firing {
    change: &'static str,
    old_scheduled_time: Option<String>,
    old_local_time: Option<String>,
    new_scheduled_time: Option<String>,
    new_local_time: Option<String>,
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let now = outside.clock.now().wall;
    let old = schedule_file::load(&arguments.old, &outside.environment, now);
    let new = schedule_file::load(&arguments.new, &outside.environment, now);
    let (Ok(old), Ok(new)) = (&old, &new) else {
        for rejection in [&old, &new].into_iter().filter_map(|loaded| loaded.as_ref().err()) {
            complain(&rejection.message);
        }
        return Exit::Config;
    };
    let range = match range(arguments, now) {
        Ok(range) => range,
        Err(message) => {
            complain(&message);
            return Exit::Usage;
        }
    };
    let report = compare(old, new, range, arguments.number);
    let written = match arguments.format {
        Format::Json => print_json(&report),
        Format::Text => print(&as_text(&report)),
    };
    match written {
        Exit::Done if !report.entries.is_empty() => Exit::Failed,
        written => written,
    }
}

fn range(arguments: &Arguments, now: Timestamp) -> Result<Range, String> {
    let utc = Zone::utc();
    let from = arguments.from.map_or(Ok(now), |when| when.instant(now, &utc))?;
    let until = match arguments.until {
        Some(when) => when.instant(now, &utc)?,
        None => from.checked_add(AHEAD).map_err(|error| error.to_string())?,
    };
    if until <= from {
        return Err("--until must be after --from".to_owned());
    }
    Ok(Range { from, until })
}

fn compare(old: &Loaded, new: &Loaded, range: Range, most: usize) -> Report {
    let by_name = |loaded: &Loaded| -> HashMap<String, Arc<Entry>> {
        let entries = loaded.settings.entries.iter();
        entries.map(|entry| (entry.name.to_string(), Arc::clone(entry))).collect()
    };
    let (was, will) = (by_name(old), by_name(new));
    let gone = old.settings.entries.iter().filter(|entry| !will.contains_key(entry.name.as_str()));
    let mut report = Report {
        from: range.from.to_string(),
        until: range.until.to_string(),
        added: 0,
        removed: 0,
        moved: 0,
        entries: Vec::new(),
    };
    for entry in new.settings.entries.iter().chain(gone) {
        let name = entry.name.as_str();
        let (was, will) = (was.get(name).map(Arc::as_ref), will.get(name).map(Arc::as_ref));
        let difference = compare::entry(was, will, range, most);
        if difference.is_none() {
            continue;
        }
        report.added += difference.added;
        report.removed += difference.removed;
        report.moved += difference.moved;
        let enabled = |entry: Option<&Entry>| entry.is_some_and(|entry| entry.enabled);
        let change = match (enabled(was), enabled(will)) {
            (false, _) => "new",
            (_, false) => "gone",
            _ => "edited",
        };
        report.entries.push(of_entry(entry, change, difference));
    }
    report
}

fn of_entry(entry: &Entry, change: &'static str, difference: Difference) -> EntryReport {
    let local = |nominal: Nominal| entry.local(nominal.timestamp());
    let firing = |change: &Change| {
        let (change, old, new) = match *change {
            Change::Added(new) => ("added", None, Some(new)),
            Change::Removed(old) => ("removed", Some(old), None),
            Change::Moved(old, new) => ("moved", Some(old), Some(new)),
        };
        Firing {
            change,
            old_scheduled_time: old.map(|nominal| nominal.to_string()),
            old_local_time: old.map(local),
            new_scheduled_time: new.map(|nominal| nominal.to_string()),
            new_local_time: new.map(local),
        }
    };
    EntryReport {
        entry: entry.name.to_string(),
        change,
        timezone: entry.calendar.zone().name().to_owned(),
        added: difference.added,
        removed: difference.removed,
        moved: difference.moved,
        changed: difference.changed,
        firings: difference.firings.iter().map(firing).collect(),
    }
}

fn as_text(report: &Report) -> String {
    let Report { from, until, .. } = report;
    if report.entries.is_empty() {
        return format!("both fire the same from {from} until {until}\n");
    }
    let mut text = String::new();
    for entry in &report.entries {
        let change = match entry.change {
            "edited" => String::new(),
            change => format!(" is {change}"),
        };
        let mut said: Vec<String> = counts(entry.added, entry.removed, entry.moved).into_iter().collect();
        if !entry.changed.is_empty() {
            said.push(format!("other {}", entry.changed.join(", ")));
        }
        text.push_str(&format!("{}{change}: {}\n", entry.entry, said.join("; ")));
        for firing in &entry.firings {
            text.push_str(&match (&firing.old_local_time, &firing.new_local_time) {
                (Some(old), Some(new)) => format!("  > {old} becomes {new}\n"),
                (Some(old), None) => format!("  - {old}\n"),
                (_, new) => format!("  + {}\n", new.as_deref().unwrap_or_default()),
            });
        }
        let more = (entry.added + entry.removed + entry.moved).saturating_sub(entry.firings.len() as u64);
        if more > 0 {
            text.push_str(&format!("  and {more} more\n"));
        }
    }
    let all = counts(report.added, report.removed, report.moved);
    let all = all.unwrap_or_else(|| "no firing at another time".to_owned());
    text.push_str(&format!("from {from} until {until}: {all}\n"));
    text
}

/// How many firings are added, removed and moved, if any are.
fn counts(added: u64, removed: u64, moved: u64) -> Option<String> {
    let counts = [(added, "added"), (removed, "removed"), (moved, "moved")];
    let said: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    (!said.is_empty()).then(|| said.join(", "))
}
