//! `pause` and `resume`: leave out an entry's nominal times for a while, durably.

use clap::Args;

use super::Outside;
use super::ask::about_entry;
use crate::daemon::Exit;
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
    about_entry(outside, &arguments.name, (done, arguments.no_wait), |entry| Asks::Pause { entry, note })
}

pub(super) fn resume(outside: &Outside, arguments: ResumeArguments) -> Exit {
    let done = format!("{} is resumed\n", arguments.name);
    about_entry(outside, &arguments.name, (done, arguments.no_wait), |entry| Asks::Resume { entry })
}
