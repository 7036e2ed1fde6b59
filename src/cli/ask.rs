//! Asking something of the daemon: a running one takes the request up within a heartbeat and the command
//! follows what becomes of it; with none, this process takes the ledger's lock and does the work itself.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::backfill;
use super::{Format, Outside, complain, print, print_json, unknown_entry};
use crate::daemon::schedule_file::{Loaded, Rejection};
use crate::daemon::{self, Exit, OnceEnd};
use crate::event::{Level, chain};
use crate::ids::{EntryName, FiringId};
use crate::ledger::{
    Answer, Asks, HistoryRow, Ledger as _, LedgerError, Lock, LockError, Reason, Request, SqliteLedger, State,
};
use crate::systemd::Notifier;
use crate::telemetry::{self, Style};

/// Between two looks at the ledger while the daemon works.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// So many looks lie between two at whether the daemon still runs.
const LOOKS: u32 = 25;
/// How long the daemon may take to take a request up: it looks at every heartbeat, which is at most 1m.
const TAKE_UP_LIMIT: Duration = Duration::from_secs(90);

/// What is asked, and how the end is shown.
pub(super) struct Wish {
    pub(super) requests: Vec<Request>,
    /// Only leave it for the daemon.
    pub(super) no_wait: bool,
    pub(super) format: Format,
    /// What is done once a request that leads to no firing is carried out.
    pub(super) done: Done,
}

/// What is done then.
pub(super) enum Done {
    /// This is said.
    Says(String),
    /// The backfill that it began is followed.
    Backfill,
}

impl Wish {
    pub(super) fn of(asks: impl IntoIterator<Item = Asks>, format: Format) -> Self {
        let request = |asks| Request::new(uuid::Uuid::new_v4().to_string(), asks);
        Self {
            requests: asks.into_iter().map(request).collect(),
            no_wait: false,
            format,
            done: Done::Says(String::new()),
        }
    }
}

/// Asks something about an entry by its name, and says that it is done.
pub(super) fn about_entry(
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

/// Has the requests carried out, and shows what became of them. A daemon that runs needs no schedule file for that.
pub(super) fn carry_out(outside: &Outside, loaded: Result<Loaded, Rejection>, wish: Wish) -> Exit {
    let path = outside.ledger(&loaded);
    super::blocking(async {
        match Lock::take(&path) {
            Ok(_) if matches!(wish.done, Done::Backfill) => {
                complain(
                    "a backfill is the daemon's work, and none runs; start it, and then the backfill \
                     (systemctl start adf-cron)",
                );
                Exit::Unavailable
            }
            Ok(_) if wish.no_wait => {
                complain(
                    "no daemon runs that could take the request up; without --no-wait it is carried out here",
                );
                Exit::Unavailable
            }
            Ok(lock) => match loaded {
                Ok(loaded) => alone(outside, wish, loaded, lock, &path).await,
                Err(rejection) => {
                    complain(&rejection.message);
                    Exit::Config
                }
            },
            Err(LockError::Taken { .. }) => by_daemon(outside, &wish, &path).await,
            Err(error) => {
                complain(&chain(&error));
                Exit::Unavailable
            }
        }
    })
}

/// Carries the requests out in this process, which holds the lock.
async fn alone(outside: &Outside, wish: Wish, loaded: Loaded, lock: Lock, path: &Path) -> Exit {
    let output = match telemetry::start(Style::Brief, Level::Warn, Arc::clone(&outside.clock)) {
        Ok(output) => output,
        Err(error) => {
            complain(&format!("the system gives no thread: {error}"));
            return Exit::Failed;
        }
    };
    let shell = daemon::Outside {
        config: outside.config.clone(),
        strict: false,
        clock: Arc::clone(&outside.clock),
        output,
        environment: Arc::clone(&outside.environment),
        notifier: Notifier::default(),
    };
    let ready = async {
        let mut ledger = SqliteLedger::open(&lock).await?;
        let snapshot = ledger.load().await?;
        let mut requests = wish.requests.clone();
        for request in &mut requests {
            request.about = ledger.about(&request.asks).await?.map(Box::new);
        }
        Ok::<_, LedgerError>(daemon::Once { loaded, ledger, snapshot, requests })
    };
    let once = match ready.await {
        Ok(once) => once,
        Err(error) => return failed(&error),
    };
    // The lock is held until the result has been read.
    let end = daemon::once(&shell, once).await;
    shell.output.flushed().await;
    let exit = match end {
        OnceEnd::Failed(exit) => exit,
        OnceEnd::Recorded => match SqliteLedger::open_to_read(path).await {
            Ok(mut ledger) => show(outside, &mut ledger, &wish, None).await,
            Err(error) => failed(&error),
        },
    };
    drop(lock);
    exit
}

/// Leaves the requests for the daemon, and follows what becomes of them.
async fn by_daemon(outside: &Outside, wish: &Wish, path: &Path) -> Exit {
    let now = outside.clock.now().wall;
    let asked = async {
        let mut ledger = SqliteLedger::open_to_ask(path).await?;
        for request in &wish.requests {
            ledger.ask(request, now).await?;
        }
        Ok::<_, LedgerError>(ledger)
    };
    let mut ledger = match asked.await {
        Ok(ledger) => ledger,
        Err(error) => return failed(&error),
    };
    if wish.no_wait {
        let left = |request: &Request| format!("request {} is left for the daemon\n", request.request_id);
        return print(&wish.requests.iter().map(left).collect::<String>());
    }
    show(outside, &mut ledger, wish, Some(path)).await
}

/// Shows what each request led to, once it is known; the exit code is that of the first that did not go well.
/// `daemon` is the ledger of the daemon that carries them out, if this process does not.
async fn show(outside: &Outside, ledger: &mut SqliteLedger, wish: &Wish, daemon: Option<&Path>) -> Exit {
    let asked_at = outside.clock.now().boot;
    let mut exit = Exit::Done;
    for request in &wish.requests {
        let answer = loop {
            match ledger.answer(&request.request_id).await {
                Ok(Some(answer)) => break answer,
                Ok(None) if outside.clock.now().boot.saturating_sub(asked_at) > TAKE_UP_LIMIT => {
                    complain("the daemon has not taken the request up; it stays in the ledger until it does");
                    return Exit::Unavailable;
                }
                Ok(None) => tokio::time::sleep(LOOK_AGAIN).await,
                Err(error) => return failed(&error),
            }
        };
        let end = match answer {
            Answer::Firing(firing) => show_firing(ledger, firing, wish.format, daemon).await,
            Answer::Done => match &wish.done {
                Done::Says(done) => print(done),
                Done::Backfill => backfill::show(ledger, &request.request_id, wish.format, daemon).await,
            },
            Answer::Refused(why) => {
                complain(&why);
                Exit::Failed
            }
        };
        if exit == Exit::Done {
            exit = end;
        }
    }
    exit
}

/// Whether no daemon runs that has this ledger.
pub(super) fn daemon_is_gone(path: &Path) -> bool {
    matches!(Lock::is_held(path), Ok(false))
}

pub(super) fn failed(error: &LedgerError) -> Exit {
    let rights = "; this needs the rights of the daemon's user (sudo -u adf-cron)";
    complain(&(chain(error) + if error.may_be_rights() { rights } else { "" }));
    Exit::Unavailable
}

/// Shows the end of the firing that a request led to, once it has one.
async fn show_firing(
    ledger: &mut SqliteLedger,
    firing: FiringId,
    format: Format,
    daemon: Option<&Path>,
) -> Exit {
    let mut told = false;
    let mut looks = 0_u32;
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
        looks += 1;
        if looks.is_multiple_of(LOOKS) && daemon.is_some_and(daemon_is_gone) {
            complain(&format!(
                "the daemon has stopped before the end of firing {firing}; the next one goes on with it \
                 (adf-cron history)"
            ));
            return Exit::Unavailable;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    if format == Format::Json {
        print_json(&row);
    } else {
        print(&in_words(&row, firing));
    }
    exit_of(&row)
}

fn in_words(row: &HistoryRow, firing: FiringId) -> String {
    let why = row.error_message.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    match (&row.run_id, &row.reason) {
        (Some(run), _) if row.state == State::Accepted.as_str() => {
            format!("accepted: {} runs as {run}\n", row.pipeline)
        }
        (_, Some(reason)) => format!("{} ({reason}): firing {firing}{why}\n", row.state),
        (_, None) => format!("{}: firing {firing}{why}\n", row.state),
    }
}

/// The exit code that tells how a firing ended.
pub(super) fn exit_of(row: &HistoryRow) -> Exit {
    let reason = row.reason.as_deref().and_then(Reason::parse);
    match (State::parse(&row.state), reason) {
        (Some(State::Accepted), _) | (_, Some(Reason::Settled)) => Exit::Done,
        (Some(State::Rejected), Some(Reason::Refused)) => Exit::Refused,
        (Some(State::Rejected), Some(Reason::RetriesExhausted | Reason::Throttled | Reason::NoToken))
        | (Some(State::Held | State::Unknown), _) => Exit::Unavailable,
        _ => Exit::Failed,
    }
}
