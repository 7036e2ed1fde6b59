//! `settle`: close a held firing, as the person says who has looked for its run.

use clap::{ArgGroup, Args};

use super::ask::{Wish, carry_out};
use super::{Format, Outside};
use crate::daemon::Exit;
use crate::ids::{FiringId, InvalidName, RunId};
use crate::ledger::{Asks, Settlement};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("how").required(true).args(["run", "not_started", "retry"])))]
pub(super) struct Arguments {
    /// The held firing; `adf-cron history --state held` lists them.
    #[arg(value_name = "FIRING", value_parser = firing)]
    firing: FiringId,
    /// This run is its own.
    #[arg(long, value_name = "RUN_ID", value_parser = run_id)]
    run: Option<RunId>,
    /// It started nothing, and shall start nothing.
    #[arg(long)]
    not_started: bool,
    /// It started nothing, and shall be sent again now, with the same id and parameters.
    #[arg(long)]
    retry: bool,
    /// Only leave the request for the daemon.
    #[arg(long)]
    no_wait: bool,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Reads a firing's id.
pub(super) fn firing(text: &str) -> Result<FiringId, InvalidName> {
    FiringId::parse(text)
}

fn run_id(text: &str) -> Result<RunId, InvalidName> {
    RunId::parse(text)
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let how = match (arguments.run, arguments.retry) {
        (Some(run), _) => Settlement::Run(run),
        (None, true) => Settlement::Retry,
        (None, false) => Settlement::NotStarted,
    };
    let asks = Asks::Settle { firing: arguments.firing, how };
    let wish = Wish { no_wait: arguments.no_wait, ..Wish::of([asks], arguments.format) };
    carry_out(outside, outside.read(), wish)
}
