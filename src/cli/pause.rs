//! `pause` and `resume`: leave out an entry's nominal times for a while, durably.

use clap::Args;

use super::ask::{Done, Wish, carry_out};
use super::{Format, Outside, unknown_entry};
use crate::daemon::Exit;
use crate::daemon::schedule_file::{Loaded, Rejection};
use crate::ids::EntryName;
use crate::ledger::Asks;

#[derive(Debug, Args)]
pub(super) struct PauseArguments {
    /// The entry.
    #[arg(value_name = "NAME")]
    name: String,
    /// Why; the log and `status` show it.
    #[arg(long, value_name = "S")]
    note: Option<String>,
    /// Only leave the request for the daemon.
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResumeArguments {
    /// The entry.
    #[arg(value_name = "NAME")]
    name: String,
    /// Only leave the request for the daemon.
    #[arg(long)]
    no_wait: bool,
}

pub(super) fn pause(outside: &Outside, arguments: PauseArguments) -> Exit {
    let done = format!("{} is paused; adf-cron resume {} ends that\n", arguments.name, arguments.name);
    let note = arguments.note;
    ask(outside, &arguments.name, (done, arguments.no_wait), |entry| Asks::Pause { entry, note })
}

pub(super) fn resume(outside: &Outside, arguments: ResumeArguments) -> Exit {
    let done = format!("{} is resumed\n", arguments.name);
    ask(outside, &arguments.name, (done, arguments.no_wait), |entry| Asks::Resume { entry })
}

fn ask(
    outside: &Outside,
    name: &str,
    (done, no_wait): (String, bool),
    asks: impl FnOnce(EntryName) -> Asks,
) -> Exit {
    let loaded: Result<Loaded, Rejection> = outside.read();
    let known = loaded.as_ref().map(|loaded| loaded.settings.entries.as_slice()).unwrap_or_default();
    let Ok(entry) = EntryName::new(name) else {
        return unknown_entry(name, known.iter().map(|entry| entry.name.as_str()));
    };
    let asks = asks(entry);
    // An entry that is gone from the file may still be paused, and may still be resumed.
    let must_exist = matches!(asks, Asks::Pause { .. }) && loaded.is_ok();
    if must_exist && !known.iter().any(|entry| entry.name.as_str() == name) {
        return unknown_entry(name, known.iter().map(|entry| entry.name.as_str()));
    }
    carry_out(outside, loaded, Wish { done: Done::Says(done), no_wait, ..Wish::of([asks], Format::Text) })
}
