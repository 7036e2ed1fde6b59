//! `fire`: start an entry now. A running daemon carries it out; with none, this process does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use super::{Format, Outside, When, complain, print, print_json, unknown_entry};
use crate::config;
use crate::daemon::schedule_file::{self, Loaded};
use crate::daemon::{self, Exit, Fire, FireEnd};
use crate::event::{Event, Level, chain};
use crate::ids::{FiringId, Nominal};
use crate::ledger::{
    Answer, Asks, HistoryRow, Ledger as _, LedgerError, Lock, LockError, Reason, Request, SqliteLedger, State,
};
use crate::systemd::Notifier;

/// Between two looks at the ledger while the daemon works.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long the daemon may take to take the request up: it looks at every heartbeat, which is at most 1m.
const TAKE_UP_LIMIT: Duration = Duration::from_secs(90);

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The entry.
    #[arg(value_name = "NAME")]
    name: String,
    /// A parameter that joins or replaces the entry's own: k=v, where v is a YAML value and never a template.
    #[arg(long = "param", value_name = "K=V", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// The scheduled time that its templates see. Default: now.
    #[arg(long, value_name = "T")]
    scheduled_time: Option<When>,
    /// Only leave the request for the daemon.
    #[arg(long)]
    no_wait: bool,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    if name.is_empty() {
        return Err("write NAME=VALUE".to_owned());
    }
    config::value(value).map(|value| (name.to_owned(), value))
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let loaded = match outside.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let request = match request(outside, arguments, &loaded) {
        Ok(request) => request,
        Err(exit) => return exit,
    };
    let path = schedule_file::ledger_path(loaded.settings.ledger.clone(), &outside.environment);
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        complain("the system gives no event loop");
        return Exit::Failed;
    };
    runtime.block_on(async {
        match Lock::take(&path) {
            Ok(_) if arguments.no_wait => {
                complain(
                    "no daemon runs that could take the request up; without --no-wait it is carried out here",
                );
                Exit::Unavailable
            }
            Ok(lock) => alone(outside, arguments, loaded, lock, request, &path).await,
            Err(LockError::Taken(_)) => by_daemon(outside, arguments, &request, &path).await,
            Err(error) => {
                complain(&chain(&error));
                Exit::Unavailable
            }
        }
    })
}

fn request(outside: &Outside, arguments: &Arguments, loaded: &Loaded) -> Result<Request, Exit> {
    let entries = &loaded.settings.entries;
    let Some(entry) = entries.iter().find(|entry| entry.name.as_str() == arguments.name) else {
        return Err(unknown_entry(&arguments.name, entries.iter().map(|entry| entry.name.as_str())));
    };
    let usage = |message: String| {
        complain(&message);
        Exit::Usage
    };
    let now = outside.clock.now().wall;
    let scheduled_time = arguments
        .scheduled_time
        .map(|when| when.instant(now, entry.calendar.zone()).map(Nominal::at_or_before))
        .transpose()
        .map_err(usage)?;
    let mut parameters = Map::new();
    for (name, value) in &arguments.parameters {
        if parameters.insert(name.clone(), value.clone()).is_some() {
            return Err(usage(format!("the parameter '{name}' is given twice")));
        }
    }
    Ok(Request {
        request_id: uuid::Uuid::new_v4().to_string(),
        asks: Asks::Fire { entry: entry.name.clone(), parameters, scheduled_time },
    })
}

/// Carries the request out in this process, which holds the lock.
async fn alone(
    outside: &Outside,
    arguments: &Arguments,
    loaded: Loaded,
    lock: Lock,
    request: Request,
    path: &Path,
) -> Exit {
    let mut ledger = match SqliteLedger::open(path).await {
        Ok(ledger) => ledger,
        Err(error) => return failed(&error),
    };
    let snapshot = match ledger.load().await {
        Ok(snapshot) => snapshot,
        Err(error) => return failed(&error),
    };
    let announce = |event: &Event| {
        if event.level >= Level::Warn {
            complain(&format!("{}: {}", event.name, event.message));
        }
    };
    let shell = daemon::Outside {
        config: outside.config.clone(),
        strict: false,
        clock: Arc::clone(&outside.clock),
        announce: Arc::new(announce),
        environment: Arc::clone(&outside.environment),
        notifier: Notifier::default(),
    };
    let request_id = request.request_id.clone();
    // The lock is held until the result has been read.
    let end = daemon::fire_once(&shell, Fire { loaded, ledger, snapshot, request }).await;
    let exit = match end {
        FireEnd::Failed(exit) => exit,
        FireEnd::Recorded => match SqliteLedger::open_to_read(path).await {
            Ok(mut ledger) => match ledger.answer(&request_id).await {
                Ok(Some(answer)) => shown(&mut ledger, answer, arguments).await,
                Ok(None) => Exit::Failed,
                Err(error) => failed(&error),
            },
            Err(error) => failed(&error),
        },
    };
    drop(lock);
    exit
}

/// Leaves the request for the daemon, and follows what becomes of it.
async fn by_daemon(outside: &Outside, arguments: &Arguments, request: &Request, path: &Path) -> Exit {
    let now = outside.clock.now();
    let asked = async {
        let mut ledger = SqliteLedger::open_to_ask(path).await?;
        ledger.ask(request, now.wall).await?;
        Ok::<_, LedgerError>(ledger)
    };
    let mut ledger = match asked.await {
        Ok(ledger) => ledger,
        Err(error) => return failed(&error),
    };
    if arguments.no_wait {
        return print(&format!("request {} is left for the daemon\n", request.request_id));
    }
    loop {
        match ledger.answer(&request.request_id).await {
            Ok(Some(answer)) => return shown(&mut ledger, answer, arguments).await,
            Ok(None) if outside.clock.now().boot.saturating_sub(now.boot) > TAKE_UP_LIMIT => {
                complain("the daemon has not taken the request up; it stays in the ledger until it does");
                return Exit::Unavailable;
            }
            Ok(None) => tokio::time::sleep(LOOK_AGAIN).await,
            Err(error) => return failed(&error),
        }
    }
}

fn failed(error: &LedgerError) -> Exit {
    complain(&format!("{}; firing needs the rights of the daemon's user (sudo -u adf-cron)", chain(error)));
    Exit::Unavailable
}

/// Shows the end of the firing that a request led to, once it has one.
async fn shown(ledger: &mut SqliteLedger, answer: Answer, arguments: &Arguments) -> Exit {
    let firing = match answer {
        Answer::Firing(firing) => firing,
        Answer::Refused(why) => {
            complain(&why);
            return Exit::Failed;
        }
    };
    let mut told = false;
    let row = loop {
        match ledger.firing(firing).await {
            Ok(Some(row)) => match State::parse(&row.state) {
                Some(State::Planned | State::Waiting) => {}
                Some(State::Unknown) if told => {}
                Some(State::Unknown) => {
                    complain(&format!("the answer was lost; firing {firing} is being looked up"));
                    told = true;
                }
                _ => break row,
            },
            Ok(None) => {}
            Err(error) => return failed(&error),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    if arguments.format == Format::Json {
        print_json(&row);
    } else {
        print(&in_words(&row, firing));
    }
    exit_of(&row)
}

fn in_words(row: &HistoryRow, firing: FiringId) -> String {
    let why = row.error_message.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    match (&row.run_id, &row.reason) {
        (Some(run), None) => format!("accepted: {} runs as {run}\n", row.pipeline),
        (_, Some(reason)) => format!("{} ({reason}): firing {firing}{why}\n", row.state),
        (None, None) => format!("{}: firing {firing}{why}\n", row.state),
    }
}

fn exit_of(row: &HistoryRow) -> Exit {
    let reason = row.reason.as_deref().and_then(Reason::parse);
    match (State::parse(&row.state), reason) {
        (Some(State::Accepted), _) => Exit::Done,
        (Some(State::Rejected), Some(Reason::Refused)) => Exit::Refused,
        (Some(State::Rejected), Some(Reason::RetriesExhausted | Reason::Throttled | Reason::NoToken))
        | (Some(State::Held | State::Unknown), _) => Exit::Unavailable,
        _ => Exit::Failed,
    }
}
