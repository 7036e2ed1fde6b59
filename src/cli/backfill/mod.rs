//! `backfill`: start an entry's nominal times of the past, oldest first. A running daemon carries it out, and goes on
//! with it whatever becomes of the command.

mod follow;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::ask::{Done, Wish, about_entry, carry_out};
use super::{Format, Outside, When, complain, entry_named, print, print_json, table, unreadable};
use crate::config::Entry;
use crate::daemon::Exit;
use crate::engine::MOST_OF_A_BACKFILL as MOST;
use crate::ids::{EntryName, FiringId, Nominal};
use crate::ledger::{Asks, LedgerError, SqliteLedger, Wanted};

pub(super) use follow::show;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The entry.
    #[arg(value_name = "NAME")]
    name: String,
    /// From this nominal time on: RFC 3339, local to the entry's zone, or 2h for two hours ago.
    #[arg(long, value_name = "T", required_unless_present = "stop")]
    from: Option<When>,
    /// Before this time. Default: now.
    #[arg(long, value_name = "T")]
    until: Option<When>,
    /// How many of its runs may go on at once. Default: the entry's `max_active`, else 1.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    max_active: Option<u32>,
    /// Also start those that have had a run already.
    #[arg(long)]
    again: bool,
    /// Only show what would be started.
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// End the entry's backfill that is under way: runs go on, but nothing more is started.
    #[arg(long, conflicts_with_all = ["from", "until", "max_active", "again", "dry_run"])]
    stop: bool,
    /// Only leave the request for the daemon.
    #[arg(long)]
    no_wait: bool,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    if arguments.stop {
        return stop(outside, arguments);
    }
    let loaded = match outside.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let entry = match entry_named(&loaded, &arguments.name) {
        Ok(entry) => entry,
        Err(exit) => return exit,
    };
    let wanted = match wanted(arguments, entry, outside.clock.now().wall) {
        Ok(wanted) => wanted,
        Err(message) => {
            complain(&message);
            return Exit::Usage;
        }
    };
    if !entry.enabled {
        complain(&format!("'{}' is disabled: nothing of it is started", entry.name));
        return Exit::Usage;
    }
    if arguments.dry_run {
        let (entry, path) = (Arc::clone(entry), outside.ledger(&Ok(loaded)));
        return dry_run(&path, &entry, &wanted, arguments.format);
    }
    let loaded = Ok(loaded);
    let path = outside.ledger(&loaded);
    super::blocking(async {
        // What cannot be read now is told of when the request is left.
        if let Ok(kept_from) = kept_from(&path).await {
            warn(kept_from, &wanted);
        }
        Exit::Done
    });
    let wish = Wish {
        no_wait: arguments.no_wait,
        done: Done::Backfill,
        ..Wish::of([Asks::Backfill(wanted)], arguments.format)
    };
    carry_out(outside, loaded, wish)
}

fn stop(outside: &Outside, arguments: &Arguments) -> Exit {
    let done = format!("the backfill of {} is ended; runs that it has started go on\n", arguments.name);
    about_entry(outside, &arguments.name, (done, arguments.no_wait), |entry| Asks::StopBackfill { entry })
}

fn wanted(arguments: &Arguments, entry: &Entry, now: Timestamp) -> Result<Wanted, String> {
    let zone = entry.calendar.zone();
    let from = arguments.from.ok_or("--from says where it begins")?.instant(now, zone)?;
    let until = arguments.until.map_or(Ok(now), |when| when.instant(now, zone))?;
    if until > now {
        return Err(format!("--until is {until}, and what is still to come is started at its time"));
    }
    if from >= until {
        return Err(format!("there is no time from {from} on and before {until}"));
    }
    Ok(Wanted {
        entry: entry.name.clone(),
        from: Nominal::at_or_after(from),
        until: Nominal::at_or_after(until),
        max_active: arguments.max_active,
        again: arguments.again,
    })
}

/// What a backfill would do. The fields are a documented interface.
#[derive(Debug, Serialize)]
struct Plan {
    entry: EntryName,
    from: Timestamp,
    until: Timestamp,
    /// How many nominal times there are.
    count: usize,
    /// How many of them need no start.
    left_out: usize,
    /// The others.
    firings: Vec<Start>,
}

#[derive(Debug, Serialize)]
struct Start {
    scheduled_time: Timestamp,
    local_time: String,
    timezone: String,
    /// Why its parameters cannot be rendered.
    error_message: Option<String>,
}

fn dry_run(path: &Path, entry: &Entry, wanted: &Wanted, format: Format) -> Exit {
    super::blocking(async {
        let (taken, kept_from) = match tokio::try_join!(taken(path, wanted), kept_from(path)) {
            Ok(known) => known,
            Err(error) => return unreadable(&error),
        };
        warn(kept_from, wanted);
        let Some(plan) = plan(entry, wanted, &taken) else {
            complain(&format!(
                "that is more than {MOST} nominal times of {}; ask for a shorter time, one after the other",
                entry.name
            ));
            return Exit::Usage;
        };
        let failed = plan.firings.iter().any(|firing| firing.error_message.is_some());
        let written = match format {
            Format::Json => print_json(&plan),
            Format::Text => print(&in_words(&plan)),
        };
        if written == Exit::Done && failed { Exit::Failed } else { written }
    })
}

/// The nominal times that need no start.
async fn taken(path: &Path, wanted: &Wanted) -> Result<BTreeSet<Nominal>, LedgerError> {
    if !path.exists() {
        // Nothing was ever started here.
        return Ok(BTreeSet::new());
    }
    let mut ledger = SqliteLedger::open_to_read(path).await?;
    let range = (wanted.from, wanted.until);
    let mut taken = ledger.taken(&wanted.entry, range, wanted.again).await?;
    taken.extend(ledger.under_way(&wanted.entry, range).await?);
    Ok(taken.into_iter().collect())
}

/// Since when the ledger remembers, if it has forgotten anything.
async fn kept_from(path: &Path) -> Result<Option<Nominal>, LedgerError> {
    if path.exists() { SqliteLedger::open_to_read(path).await?.kept_from().await } else { Ok(None) }
}

fn warn(kept_from: Option<Nominal>, wanted: &Wanted) {
    if let Some(kept) = kept_from.filter(|kept| *kept > wanted.from && !wanted.again) {
        complain(&format!(
            "the ledger has forgotten what came before {kept} (`retention`): what had a run then has another"
        ));
    }
}

/// What would be started, unless it is too much at once.
fn plan(entry: &Entry, wanted: &Wanted, taken: &BTreeSet<Nominal>) -> Option<Plan> {
    let all = entry.calendar.onwards(wanted.from.timestamp()).take_while(|nominal| *nominal < wanted.until);
    let (mut count, mut firings) = (0, Vec::new());
    for nominal in all {
        count += 1;
        if count > MOST {
            return None;
        }
        if taken.contains(&nominal) {
            continue;
        }
        let context = entry.context(FiringId::from_random([0; 16]), nominal, nominal.timestamp());
        firings.push(Start {
            scheduled_time: nominal.timestamp(),
            local_time: entry.local(nominal.timestamp()),
            timezone: entry.calendar.zone().name().to_owned(),
            error_message: entry.parameters.render(&context).err().map(|error| error.to_string()),
        });
    }
    let (from, until) = (wanted.from.timestamp(), wanted.until.timestamp());
    let left_out = count - firings.len();
    Some(Plan { entry: entry.name.clone(), from, until, count, left_out, firings })
}

fn in_words(plan: &Plan) -> String {
    let rows: Vec<Vec<String>> = plan
        .firings
        .iter()
        .map(|firing| {
            let error = firing.error_message.as_ref().map(|error| format!("  cannot be rendered: {error}"));
            vec![
                firing.scheduled_time.to_string(),
                format!("{} {}{}", firing.local_time, firing.timezone, error.unwrap_or_default()),
            ]
        })
        .collect();
    let listed =
        if rows.is_empty() { String::new() } else { table(&["SCHEDULED (UTC)", "LOCAL"], &rows) + "\n" };
    format!(
        "{listed}{}: {} of {} nominal times would be started; {} need no start\n",
        plan.entry,
        plan.firings.len(),
        plan.count,
        plan.left_out
    )
}
