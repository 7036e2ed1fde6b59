//! `history`: what became of firings, from the ledger, whether the daemon runs or not.

use clap::Args;

use super::{Format, Outside, When, complain, print, print_json, table, unknown_entry, unreadable};
use crate::daemon::Exit;
use crate::ledger::{HistoryFilter, HistoryRow, SqliteLedger, State};
use crate::schedule::Zone;

/// The longest text of a service in the table; the JSON has all of it.
const MOST_WORDS: usize = 120;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Only this entry.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Only nominal times since then: RFC 3339, local to the entry's zone, or 2h for the last two hours.
    #[arg(long, value_name = "T")]
    since: Option<When>,
    /// Only firings in this state: planned, waiting, unknown, accepted, rejected, skipped, held or `not_started`.
    #[arg(long, value_name = "S")]
    state: Option<State>,
    /// At most so many, the newest.
    #[arg(short, value_name = "N", default_value_t = 50)]
    number: u32,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let loaded = outside.read();
    let path = match outside.existing_ledger(&loaded) {
        Ok(path) => path,
        Err(exit) => return exit,
    };
    let entries = loaded.map(|loaded| loaded.settings.entries).unwrap_or_default();
    let named = arguments.name.as_deref();
    let entry = entries.iter().find(|entry| Some(entry.name.as_str()) == named);
    let zone = entry.map_or_else(Zone::utc, |entry| entry.calendar.zone().clone());
    let since = match arguments.since.map(|when| when.instant(outside.clock.now().wall, &zone)).transpose() {
        Ok(since) => since,
        Err(message) => {
            complain(&message);
            return Exit::Usage;
        }
    };
    let filter = HistoryFilter {
        entry: arguments.name.clone(),
        since,
        state: arguments.state,
        backfill: None,
        limit: arguments.number,
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        complain("the system gives no event loop");
        return Exit::Failed;
    };
    let rows = runtime.block_on(async {
        let mut ledger = SqliteLedger::open_to_read(&path).await?;
        ledger.history(&filter).await
    });
    match rows {
        Err(error) => unreadable(&error),
        Ok(rows) if rows.is_empty() && entry.is_none() && !entries.is_empty() && named.is_some() => {
            unknown_entry(named.unwrap_or_default(), entries.iter().map(|entry| entry.name.as_str()))
        }
        Ok(rows) if arguments.format == Format::Json => print_json(&rows),
        Ok(rows) if rows.is_empty() => {
            complain("the ledger holds no such firing");
            Exit::Done
        }
        Ok(rows) => print(&as_table(&rows)),
    }
}

pub(super) fn as_table(rows: &[HistoryRow]) -> String {
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let state = match (&row.reason, row.count) {
                (Some(reason), Some(count)) => format!("{} ({reason}, {count} times)", row.state),
                (Some(reason), None) => format!("{} ({reason})", row.state),
                (None, _) => row.state.clone(),
            };
            vec![
                row.scheduled_time.to_string(),
                row.entry.clone(),
                row.kind.clone(),
                state,
                row.attempts.to_string(),
                match (&row.run_id, &row.error_message) {
                    (Some(run), _) => run.clone(),
                    (None, None) => format!("- (firing {})", row.firing_id),
                    (None, Some(why)) => {
                        let why: String = why.chars().take(MOST_WORDS).collect();
                        format!("- (firing {}): {why}", row.firing_id)
                    }
                },
            ]
        })
        .collect();
    table(&["SCHEDULED (UTC)", "ENTRY", "KIND", "STATE", "ATTEMPTS", "RUN"], &rows)
}
