//! The command line: arguments in, exit code out. Results go to standard output, messages to standard
//! error.

mod ask;
mod audit;
mod backfill;
mod check;
mod diff;
mod explain;
mod fire;
mod history;
mod import;
mod next;
mod pause;
mod retry;
mod run;
mod schema;
mod settle;
mod status;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

use crate::azure::{Client, ClientError, Environment, Sink};
use crate::clock::Clock;
use crate::config::{self, Entry, Moment};
use crate::daemon::schedule_file::{self, Loaded, Rejection};
use crate::daemon::{Exit, which_ledger};
use crate::event::{chain, printable, printable_lines};
use crate::ledger::LedgerError;
use crate::schedule::Zone;

/// Where the schedule is unless something else is said.
const DEFAULT_CONFIG: &str = "/etc/adf-cron/schedule.yaml";

#[derive(Debug, Parser)]
#[command(
    name = "adf-cron",
    version,
    about = "cron for Azure Data Factory: every scheduled instant ends in exactly one known outcome",
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done; 1 it ran and failed, or found something; 2 usage, or an unknown NAME; \
                  69 Azure or the ledger could not be reached, the ledger is in use, or a firing ended unknown; \
                  77 Entra ID or Data Factory refused; 78 the schedule file is wrong."
)]
struct Arguments {
    /// The schedule file.
    #[arg(short, long, global = true, value_name = "FILE", env = "ADF_CRON_CONFIG", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::Arguments),
    /// Validate the schedule file, offline; no secret is opened.
    Check(check::Arguments),
    /// Show coming firings, offline; nothing is started.
    Next(next::Arguments),
    /// Say in words when an entry fires, and what the next changes of the clock do to it; offline.
    Explain(explain::Arguments),
    /// Show which firings an edit of the schedule file adds, removes and moves; offline.
    Diff(diff::Arguments),
    /// Fire an entry now.
    Fire(fire::Arguments),
    /// Start an entry's nominal times of the past, oldest first; a running daemon carries it out.
    Backfill(backfill::Arguments),
    /// Start firings again that were rejected or are held.
    Retry(retry::Arguments),
    /// Close a held firing: its run is this one, it started nothing, or it shall be sent again.
    Settle(settle::Arguments),
    /// Leave out an entry's nominal times from now on.
    Pause(pause::PauseArguments),
    /// Carry out an entry's nominal times again, from now on.
    Resume(pause::ResumeArguments),
    /// Show what became of firings, from the ledger.
    History(history::Arguments),
    /// Show whether anything needs a person, and what runs, from the ledger.
    Status(status::Arguments),
    /// Prove that the ledger covers the calendar: every nominal time has exactly one record.
    Audit(audit::Arguments),
    /// Turn triggers of Data Factory into entries of a schedule file, and prove that they name the same times.
    Import(import::Arguments),
    /// Print the JSON Schema of the schedule file, for editors.
    Schema,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// Stable and documented, for programs; new fields may come.
    Json,
}

/// What a command is given from outside.
#[derive(Clone)]
struct Outside {
    config: PathBuf,
    clock: Arc<dyn Clock>,
    environment: Environment,
}

/// Runs the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>, clock: Arc<dyn Clock>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // There is nobody left to tell when this cannot be written.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let environment: Environment = Arc::new(|name| std::env::var(name).ok());
    let outside = Outside { config: arguments.config, clock, environment };
    let exit = match arguments.command {
        Command::Run(arguments) => run::run(&outside, &arguments),
        Command::Check(arguments) => check::run(&outside, &arguments),
        Command::Next(arguments) => next::run(&outside, &arguments),
        Command::Explain(arguments) => explain::run(&outside, &arguments),
        Command::Diff(arguments) => diff::run(&outside, &arguments),
        Command::Fire(arguments) => fire::run(&outside, &arguments),
        Command::Backfill(arguments) => backfill::run(&outside, &arguments),
        Command::Retry(arguments) => retry::run(&outside, &arguments),
        Command::Settle(arguments) => settle::run(&outside, &arguments),
        Command::Pause(arguments) => pause::pause(&outside, arguments),
        Command::Resume(arguments) => pause::resume(&outside, arguments),
        Command::History(arguments) => history::run(&outside, &arguments),
        Command::Status(arguments) => status::run(&outside, &arguments),
        Command::Audit(arguments) => audit::run(&outside, &arguments),
        Command::Import(arguments) => import::run(&outside, &arguments),
        Command::Schema => schema::run(),
    };
    ExitCode::from(exit as u8)
}

impl Outside {
    /// The schedule file, or what is wrong with it.
    fn read(&self) -> Result<Loaded, Rejection> {
        schedule_file::load(&self.config, &self.environment, self.clock.now().wall)
    }

    /// The schedule file, or what is wrong with it, said on standard error.
    fn load(&self) -> Result<Loaded, Exit> {
        self.read().map_err(|rejection| {
            complain(&rejection.message);
            Exit::Config
        })
    }

    /// A client for Azure that makes no call yet; `announce` hears of its token.
    fn client(&self, loaded: &Loaded, announce: Sink) -> Result<Client, ClientError> {
        let (clock, environment) = (Arc::clone(&self.clock), Arc::clone(&self.environment));
        Client::new(&loaded.settings.azure, clock, environment, announce)
    }

    /// The ledger's file, which must be there.
    fn existing_ledger(&self, loaded: &Result<Loaded, Rejection>) -> Result<PathBuf, Exit> {
        let path = self.ledger(loaded);
        // What may not be looked at is there: opening it tells why.
        if path.try_exists().unwrap_or(true) {
            return Ok(path);
        }
        let first = if loaded.is_ok() { " yet; the daemon makes it when it first runs" } else { "" };
        complain(&format!("there is no ledger at {}{first}", path.display()));
        Err(Exit::Unavailable)
    }

    /// The ledger's file; where a wrong schedule file does not tell, it is said how it was found.
    fn ledger(&self, loaded: &Result<Loaded, Rejection>) -> PathBuf {
        let read = loaded.as_ref().map_err(|rejection| rejection.text.as_deref());
        let found = which_ledger::of(&self.config, read, &self.environment);
        if !found.words.is_empty() {
            complain(&format!("the schedule file {} cannot be used{}", self.config.display(), found.words));
        }
        found.path
    }
}

/// Does work that waits for something.
fn blocking(work: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            complain(&format!("the system gives no event loop: {error}"));
            Exit::Failed
        }
    }
}

/// Writes a result.
fn print(text: &str) -> Exit {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has seen enough is content.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            complain(&format!("standard output cannot be written: {error}"));
            Exit::Failed
        }
        _ => Exit::Done,
    }
}

/// Writes a result as JSON.
fn print_json(value: &impl serde::Serialize) -> Exit {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => {
            complain(&format!("the result cannot be written as JSON: {error}"));
            Exit::Failed
        }
    }
}

/// Writes a message.
fn complain(message: &str) {
    // There is nobody left to tell when this cannot be written.
    let _ = writeln!(std::io::stderr(), "{}", printable_lines(message));
}

/// Says why the ledger cannot be read.
fn unreadable(error: &LedgerError) -> Exit {
    let rights = "; people who may read it are in the group that owns it (adf-cron)";
    complain(&(chain(error) + if error.may_be_rights() { rights } else { "" }));
    Exit::Unavailable
}

/// The entry of this name, or what is said where there is none.
fn entry_named<'a>(loaded: &'a Loaded, name: &str) -> Result<&'a Arc<Entry>, Exit> {
    let entries = &loaded.settings.entries;
    let named = entries.iter().find(|entry| entry.name.as_str() == name);
    named.ok_or_else(|| unknown_entry(name, entries.iter().map(|entry| entry.name.as_str())))
}

/// Says that no entry has this name, with the one that is most like it.
fn unknown_entry<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Exit {
    let nearest = known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = nearest.map(|(_, known)| format!("; did you mean '{known}'?")).unwrap_or_default();
    complain(&format!("there is no entry named '{name}'{hint}"));
    Exit::Usage
}

/// A time that a person gives: RFC 3339, local to a zone, or so long ago (`2h`).
#[derive(Debug, Clone, Copy)]
enum When {
    At(Moment),
    Ago(std::time::Duration),
}

impl When {
    fn instant(self, now: Timestamp, zone: &Zone) -> Result<Timestamp, String> {
        match self {
            Self::At(moment) => moment.instant(zone),
            Self::Ago(duration) => now.checked_sub(duration).map_err(|error| error.to_string()),
        }
    }
}

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match config::duration(text) {
            Ok(ago) => Ok(Self::Ago(ago)),
            Err(_) => Moment::parse(text).map(Self::At).map_err(|error| error + ", or 2h for two hours ago"),
        }
    }
}

/// Rows in columns, two spaces apart. What they say may be the words of a service.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let printable = |row: &Vec<String>| row.iter().map(|cell| printable(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(printable).collect();
    let widths: Vec<usize> = (0..header.len())
        .map(|column| {
            let cells = rows.iter().map(|row| row[column].chars().count());
            cells.chain([header[column].len()]).max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&header).chain(&rows) {
        let line: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_time_may_be_so_long_ago() {
        let now: Timestamp = "2026-11-24T04:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<When>().unwrap().instant(now, &Zone::utc()).unwrap().to_string();
        assert_eq!(at("2h"), "2026-11-24T02:00:00Z");
        assert_eq!(at("2026-11-23"), "2026-11-23T00:00:00Z");
        assert!("yesterday".parse::<When>().unwrap_err().contains("2h for two hours ago"));
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["a".to_owned(), "größer".to_owned()], vec!["bbbb".to_owned(), String::new()]];
        assert_eq!(table(&["X", "Y"], &rows), "X     Y\na     größer\nbbbb\n");
        assert_eq!(table(&["X"], &[vec!["a\n\x1b[2Jb".to_owned()]]), "X\na\\n\\u{1b}[2Jb\n");
    }
}
