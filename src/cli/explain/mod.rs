//! `explain`: an entry's schedule in words, its next firings, and what the next changes of the clock do to it;
//! offline.

mod changes;
mod cron;
mod joined;
mod words;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

pub(super) use self::words::span;
use super::next::{self, Coming};
use super::{Format, Outside, When, complain, entry_named, print, print_json};
use crate::config::Entry;
use crate::daemon::Exit;
use crate::ids::Nominal;
use crate::schedule::{Form, Rule, Zone};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The entry.
    #[arg(value_name = "NAME")]
    name: String,
    /// So many of its next firings.
    #[arg(short, value_name = "N", default_value_t = 5)]
    number: usize,
    /// From this time on: RFC 3339, local to the entry's zone, or 2h for two hours ago. Default: now.
    #[arg(long, value_name = "T")]
    from: Option<When>,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// What is said about an entry. The fields are a documented interface.
#[derive(Debug, Serialize)]
struct Explained {
    entry: String,
    pipeline: String,
    factory: String,
    enabled: bool,
    timezone: String,
    /// The bounds of the entry.
    start: Option<String>,
    end: Option<String>,
    /// Whether an `except` of the entry leaves out some times.
    except: bool,
    schedule: Vec<Said>,
    next: Vec<Coming>,
    clock_changes: Vec<ClockChange>,
}

/// One rule.
#[derive(Debug, Serialize)]
struct Said {
    form: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    words: String,
    timezone: String,
    start: Option<String>,
    end: Option<String>,
    except: bool,
}

/// One change of the clock of a zone in which the entry has rules.
#[derive(Debug, Serialize)]
struct ClockChange {
    at: String,
    timezone: String,
    local_before: String,
    local_after: String,
    effects: Vec<Effect>,
    #[serde(skip)]
    instant: Timestamp,
}

/// What a change does to one rule.
#[derive(Debug, Serialize)]
struct Effect {
    /// Which of the entry's schedules, from 0.
    schedule: usize,
    words: String,
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let loaded = match outside.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let entry = match entry_named(&loaded, &arguments.name) {
        Ok(entry) => entry,
        Err(exit) => return exit,
    };
    let now = outside.clock.now().wall;
    let from = match arguments.from.map_or(Ok(now), |when| when.instant(now, entry.calendar.zone())) {
        Ok(from) => from,
        Err(message) => {
            complain(&message);
            return Exit::Usage;
        }
    };
    let explained = explain(entry, from, arguments.number);
    match arguments.format {
        Format::Json => print_json(&explained),
        Format::Text => print(&as_text(&explained)),
    }
}

fn explain(entry: &Entry, now: Timestamp, number: usize) -> Explained {
    let spec = entry.calendar.spec();
    let bound = |bound: Option<Timestamp>| bound.map(|at| at.to_string());
    let said = |rule: &Rule| {
        let (form, text) = words::form(rule);
        let (words, timezone) = (words::words(rule), rule.zone.name().to_owned());
        // A recurrence begins where it counts from.
        let start = rule.start.filter(|_| !matches!(rule.form, Form::Recurrence(_)));
        let (start, end, except) = (bound(start), bound(rule.end), rule.except.is_some());
        Said { form, text, words, timezone, start, end, except }
    };
    Explained {
        entry: entry.name.to_string(),
        pipeline: entry.pipeline.to_string(),
        factory: entry.factory.name.to_string(),
        enabled: entry.enabled,
        timezone: entry.calendar.zone().name().to_owned(),
        start: bound(spec.start),
        end: bound(spec.end),
        except: spec.except.is_some(),
        schedule: spec.rules.iter().map(said).collect(),
        next: next::firings(entry, now).take(number).collect(),
        clock_changes: clock_changes(entry, now),
    }
}

/// The next changes of all zones in which the entry has rules, in order.
fn clock_changes(entry: &Entry, now: Timestamp) -> Vec<ClockChange> {
    let spec = entry.calendar.spec();
    let mut zones: Vec<&Zone> = Vec::new();
    for rule in &spec.rules {
        if zones.iter().all(|zone| zone.name() != rule.zone.name()) {
            zones.push(&rule.zone);
        }
    }
    let mut told = Vec::new();
    for zone in zones {
        for change in changes::coming(zone, now) {
            let rules = spec.rules.iter().enumerate().filter(|(_, rule)| rule.zone.name() == zone.name());
            let effects = rules
                .map(|(schedule, rule)| Effect { schedule, words: changes::effect(spec, rule, &change) })
                .collect();
            let (before, after) = change.local();
            told.push(ClockChange {
                at: Nominal::at_or_before(change.at).to_string(),
                timezone: zone.name().to_owned(),
                local_before: before.to_string(),
                local_after: after.to_string(),
                effects,
                instant: change.at,
            });
        }
    }
    told.sort_by_key(|change| change.instant);
    told
}

fn as_text(explained: &Explained) -> String {
    let Explained { entry, pipeline, factory, .. } = explained;
    let disabled = if explained.enabled { "" } else { "; it is disabled and fires at none of these times" };
    let mut text = format!("{entry} starts {pipeline} in {factory}{disabled}\n\nSCHEDULE\n");
    let bounds = |start: &Option<String>, end: &Option<String>, except: bool| {
        let start = start.iter().map(|start| format!(", not before {start}"));
        let end = end.iter().map(|end| format!(", before {end}"));
        let except = except.then(|| ", but not at the times of its `except`".to_owned());
        start.chain(end).chain(except).collect::<String>()
    };
    for rule in &explained.schedule {
        let bounds = bounds(&rule.start, &rule.end, rule.except);
        text.push_str(&format!("  {}{bounds} ({})\n", rule.words, title(rule)));
    }
    let bounds = bounds(&explained.start, &explained.end, explained.except);
    if !bounds.is_empty() {
        text.push_str(&format!("  all of it{bounds}\n"));
    }
    text.push_str("\nNEXT\n");
    if explained.next.is_empty() {
        text.push_str("  it never fires again\n");
    } else {
        next::as_table(&explained.next).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
    }
    text.push_str("\nCHANGES OF THE CLOCK\n");
    if explained.clock_changes.is_empty() {
        text.push_str(&format!("  none: the clock of {} does not change\n", explained.timezone));
    }
    for change in &explained.clock_changes {
        let date = change.local_before.split('T').next().unwrap_or_default();
        let [before, after] = [&change.local_before, &change.local_after].map(|local| time_of(local));
        text.push_str(&format!("  {date} {}: {before} becomes {after}\n", change.timezone));
        for effect in &change.effects {
            let name = match explained.schedule.as_slice() {
                [_] => String::new(),
                several => format!("{}: ", title(&several[effect.schedule])),
            };
            text.push_str(&format!("    {name}{}\n", effect.words));
        }
    }
    text
}

/// The time of day of a local time, without the seconds that it does not have.
fn time_of(local: &str) -> &str {
    let time = local.split('T').next_back().unwrap_or_default();
    time.strip_suffix(":00").unwrap_or(time)
}

/// A rule as it is called in the file, with its zone.
fn title(rule: &Said) -> String {
    let text = rule.text.as_deref().map(|text| format!(" {text}")).unwrap_or_default();
    format!("{}{text}, {}", rule.form, rule.timezone)
}
