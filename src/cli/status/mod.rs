//! `status`: whether anything needs a person, and what runs, from the ledger, while the daemon runs or not.

mod judge;
mod shown;

use clap::Args;
use jiff::Timestamp;

use super::{Format, Outside, complain, print, print_json, unreadable};
use crate::daemon::Exit;
use crate::daemon::schedule_file::{Loaded, Rejection};
use crate::event::printable_lines;
use crate::ledger::{Lock, SqliteLedger, Standing};

/// The most held firings that are named.
const MOST: u32 = 5;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// All that a judgement rests on.
#[derive(Debug)]
struct Facts {
    now: Timestamp,
    standing: Standing,
    /// Whether a process holds the ledger, if that can be seen.
    locked: Option<bool>,
    file: File,
}

/// The schedule file as it stands now.
#[derive(Debug)]
enum File {
    /// It cannot be read here, which says nothing of the daemon.
    Unseen,
    /// It is this version.
    Good(String),
    /// It is wrong there.
    Wrong { location: String, message: String },
}

impl File {
    fn of(loaded: &Result<Loaded, Rejection>) -> Self {
        match loaded {
            Ok(loaded) => Self::Good(loaded.schedule.version.to_string()),
            Err(rejection) if rejection.text.is_some() => Self::Wrong {
                location: rejection.location.clone(),
                message: rejection.message.lines().next().unwrap_or_default().to_owned(),
            },
            Err(_) => Self::Unseen,
        }
    }
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let loaded = outside.read();
    let path = match outside.existing_ledger(&loaded) {
        Ok(path) => path,
        Err(exit) => return exit,
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        complain("the system gives no event loop");
        return Exit::Failed;
    };
    // Looked at before the ledger is read: a daemon that begins meanwhile is not taken for one that hangs.
    let locked = Lock::is_held(&path).ok();
    let now = outside.clock.now().wall;
    let standing = runtime.block_on(async {
        let mut ledger = SqliteLedger::open_to_read(&path).await?;
        ledger.stand_still().await?;
        ledger.standing(now, MOST).await
    });
    let standing = match standing {
        Ok(standing) => standing,
        Err(error) => return unreadable(&error),
    };
    let facts = Facts { now, standing, locked, file: File::of(&loaded) };
    let problems = judge::problems(&facts);
    let written = match arguments.format {
        Format::Json => print_json(&shown::as_json(&facts, &problems)),
        Format::Text => print(&printable_lines(&shown::as_text(&facts, &problems))),
    };
    if written == Exit::Done && !problems.is_empty() { Exit::Failed } else { written }
}
