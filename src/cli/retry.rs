//! `retry`: start again what ended without a run, or waits for a person.

use clap::Args;

use super::ask::{Wish, carry_out};
use super::settle::firing;
use super::{Format, Outside, When, complain};
use crate::daemon::Exit;
use crate::event::chain;
use crate::ids::FiringId;
use crate::ledger::{Asks, HistoryFilter, LedgerError, SqliteLedger, State};
use crate::schedule::Zone;

/// The most firings that one command starts again.
const MOST: u32 = 10_000;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The firings; `adf-cron history --state rejected` lists them.
    #[arg(value_name = "FIRING", value_parser = firing, required_unless_present = "state")]
    firings: Vec<FiringId>,
    /// All firings in this state instead: rejected, held or `not_started`.
    #[arg(long, value_name = "S", requires = "since", conflicts_with = "firings")]
    state: Option<State>,
    /// Of those, the ones with a nominal time since then: RFC 3339, local in UTC, or 2h for the last two hours.
    #[arg(long, value_name = "T", requires = "state")]
    since: Option<When>,
    /// Only leave the requests for the daemon.
    #[arg(long)]
    no_wait: bool,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let loaded = outside.read();
    let firings = match (arguments.state, arguments.since) {
        (Some(state), Some(since)) => {
            let mut found = Vec::new();
            let path = outside.ledger(&loaded);
            let exit = super::blocking(async {
                match in_state(outside, &path, state, since).await {
                    Ok(firings) => {
                        found = firings;
                        Exit::Done
                    }
                    Err(exit) => exit,
                }
            });
            if exit != Exit::Done {
                return exit;
            }
            found
        }
        _ => arguments.firings.clone(),
    };
    if firings.is_empty() {
        complain("the ledger holds no such firing");
        return Exit::Done;
    }
    let asks = firings.into_iter().map(|firing| Asks::Retry { firing });
    let wish = Wish { no_wait: arguments.no_wait, ..Wish::of(asks, arguments.format) };
    carry_out(outside, loaded, wish)
}

/// The firings in a state, oldest first.
async fn in_state(
    outside: &Outside,
    path: &std::path::Path,
    state: State,
    since: When,
) -> Result<Vec<FiringId>, Exit> {
    let usage = |message: String| {
        complain(&message);
        Exit::Usage
    };
    if !matches!(state, State::Rejected | State::Held | State::NotStarted) {
        return Err(usage(format!(
            "firings that are {} are not started again; --state is rejected, held or not_started",
            state.as_str()
        )));
    }
    let since = since.instant(outside.clock.now().wall, &Zone::utc()).map_err(usage)?;
    let filter =
        HistoryFilter { since: Some(since), state: Some(state), limit: MOST, ..HistoryFilter::default() };
    let read = async {
        let mut ledger = SqliteLedger::open_to_read(path).await?;
        ledger.history(&filter).await
    };
    let rows = read.await.map_err(|error: LedgerError| {
        complain(&chain(&error));
        Exit::Unavailable
    })?;
    if rows.len() >= MOST as usize {
        complain(&format!("these are the newest {MOST}; there may be more: run the command again for them"));
    }
    Ok(rows.iter().rev().filter_map(|row| FiringId::parse(&row.firing_id).ok()).collect())
}
