//! `check`: is the schedule file right? Offline and without opening a secret, unless `--live` asks Azure too.

mod live;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{Format, Outside, complain, print, print_json};
use crate::azure::Client;
use crate::config::{Entry, Problem};
use crate::daemon::Exit;
use crate::daemon::schedule_file::{self, Loaded, Rejection};
use crate::event::chain;
use crate::ids::Nominal;
use crate::ledger::SqliteLedger;

/// Runs of firings before this are not looked at for how long they took.
const HISTORY: Duration = Duration::from_secs(7 * 86_400);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Also ask Azure, starting nothing: the token, the rights, and whether every enabled entry's pipeline
    /// exists and takes its parameters.
    #[arg(long)]
    live: bool,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Serialize)]
struct Report {
    file: String,
    valid: bool,
    entries: usize,
    enabled: usize,
    warnings: Vec<String>,
    /// Those of the warnings that have a place in the file.
    doubts: Vec<Problem>,
    problems: Vec<Problem>,
    /// Why the file could not even be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What Azure said, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<live::Report>,
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let file = outside.config.display().to_string();
    let loaded = outside.read().and_then(|loaded| {
        // What the file names beside secrets must be usable too, or the daemon would refuse it.
        let client = outside.client(&loaded, Arc::new(|_| ()));
        client.map(|client| (loaded, client)).map_err(|error| Rejection::of(&outside.config, &chain(&error)))
    });
    match loaded {
        Ok((loaded, client)) => valid(outside, arguments, file, &loaded, &client),
        Err(rejection) => {
            wrong(arguments, file, &rejection);
            Exit::Config
        }
    }
}

fn valid(outside: &Outside, arguments: &Arguments, file: String, loaded: &Loaded, client: &Client) -> Exit {
    let entries = &loaded.settings.entries;
    let enabled = entries.iter().filter(|entry| entry.enabled).count();
    let warnings = warnings(outside, loaded);
    let live = arguments.live.then(|| live::ask(outside, loaded, client));
    let exit = live.as_ref().and_then(|live| live.exit).unwrap_or(Exit::Done);
    let written = if arguments.format == Format::Json {
        let (entries, problems) = (entries.len(), Vec::new());
        let doubts: Vec<Problem> = loaded.settings.doubts.iter().cloned().collect();
        let placed = doubts.iter().map(|doubt| format!("{}:{}: {}", doubt.line, doubt.column, doubt.message));
        let warnings = placed.chain(warnings).collect();
        print_json(&Report {
            file,
            valid: true,
            entries,
            enabled,
            warnings,
            doubts,
            problems,
            error: None,
            live,
        })
    } else {
        for doubt in loaded.settings.doubts.iter() {
            complain(&doubt.as_warning());
        }
        for warning in &warnings {
            complain(&format!("{file}: warning: {warning}"));
        }
        let mut text = format!("{file}: valid; {} entries, {enabled} of them enabled\n", entries.len());
        for line in live.iter().flat_map(|live| &live.notes) {
            text.push_str(&format!("{line}\n"));
        }
        for finding in live.iter().flat_map(|live| &live.findings) {
            complain(&finding.to_string());
        }
        print(&text)
    };
    if written == Exit::Done { exit } else { written }
}

fn wrong(arguments: &Arguments, file: String, rejection: &Rejection) {
    if arguments.format == Format::Json {
        let error = rejection.problems.is_empty().then(|| rejection.message.clone());
        let problems = rejection.problems.iter().cloned().collect();
        let (valid, warnings, doubts, live) = (false, Vec::new(), Vec::new(), None);
        print_json(&Report { file, valid, entries: 0, enabled: 0, warnings, doubts, problems, error, live });
    } else {
        complain(&rejection.message);
        let what = if rejection.count == 1 { "problem" } else { "problems" };
        complain(&format!("{file}: {} {what}; nothing was changed", rejection.count));
    }
}

/// Whether the next firing of an entry will be rejected, since it is the first or the last of its calendar and
/// asks for what is before or after it.
fn without_neighbour(entry: &Entry, next: Nominal) -> Option<String> {
    let calendar = &entry.calendar;
    let has_both = || calendar.previous_before(next).is_some() && calendar.next_after(next).is_some();
    if !entry.parameters.ask_for_neighbours() || has_both() {
        return None;
    }
    let error = entry.parameters.render(&entry.scheduled(next)).err()?;
    Some(format!("'{}' will be rejected at {next}, with no nominal time on one side: {error}", entry.name))
}

/// The entries whose runs took longer than the time from one to the next, and may overlap: by the history, if there
/// is a ledger that may be read.
fn too_long(outside: &Outside, loaded: &Loaded, now: Nominal) -> Vec<String> {
    let path = schedule_file::ledger_path(loaded.settings.ledger.clone(), &outside.environment);
    let Ok(since) = now.timestamp().checked_sub(HISTORY) else { return Vec::new() };
    if !path.exists() {
        return Vec::new();
    }
    let mut longest = HashMap::new();
    super::blocking(async {
        if let Ok(mut ledger) = SqliteLedger::open_to_read(&path).await {
            longest = ledger.longest_runs(since).await.unwrap_or_default();
        }
        Exit::Done
    });
    let interval = |entry: &Entry| {
        let next = entry.calendar.next_after(now)?;
        let after = entry.calendar.next_after(next)?;
        Duration::try_from(after.timestamp().duration_since(next.timestamp())).ok()
    };
    let warn = |entry: &Arc<Entry>| {
        let (took, every) = (*longest.get(entry.name.as_str())?, interval(entry)?);
        let overlaps = took > every && entry.enabled && !entry.policy.is_gated();
        overlaps.then(|| {
            format!(
                "'{}' had runs of up to {} s in the last week, and fires again after {} s: they overlap; if they \
                 should not, say for example overlap: skip or overlap: queue_one",
                entry.name,
                took.as_secs(),
                every.as_secs()
            )
        })
    };
    loaded.settings.entries.iter().filter_map(warn).collect()
}

/// What is allowed and yet hardly meant.
fn warnings(outside: &Outside, loaded: &Loaded) -> Vec<String> {
    let now = Nominal::at_or_before(outside.clock.now().wall);
    let entries = loaded.settings.entries.iter().filter(|entry| entry.enabled);
    let mut warnings: Vec<String> = entries
        .filter_map(|entry| match entry.calendar.next_after(now) {
            None => Some(format!("'{}' has no nominal time left; it never fires again", entry.name)),
            Some(next) => without_neighbour(entry, next),
        })
        .collect();
    warnings.extend(too_long(outside, loaded, now));
    if loaded.settings.entries.is_empty() {
        warnings.push("there are no entries; nothing will ever be started".to_owned());
    }
    warnings
}
