//! `run`: the daemon.

use std::io;
use std::sync::Arc;

use clap::Args;

use super::{Outside, complain};
use crate::daemon::{self, Exit};
use crate::event::{Event, Fields, Level, Name};
use crate::signals::Signals;
use crate::systemd::Notifier;
use crate::telemetry::{self, Output, Style};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// End with exit code 78 when the schedule file is wrong, instead of running the last good one.
    #[arg(long)]
    strict: bool,
    /// The least level of events to log: error, warn, info or debug.
    #[arg(long, value_name = "LEVEL", env = "ADF_CRON_LOG", default_value = "info", value_parser = level)]
    log: Level,
}

fn level(text: &str) -> Result<Level, String> {
    match text {
        "error" => Ok(Level::Error),
        "warn" => Ok(Level::Warn),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        _ => Err("write error, warn, info or debug".to_owned()),
    }
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    begun(outside, arguments).unwrap_or_else(|error| {
        complain(&format!("the daemon cannot be started: {error}"));
        Exit::Failed
    })
}

/// Runs the daemon to its end, if the system gives it what it needs.
fn begun(outside: &Outside, arguments: &Arguments) -> io::Result<Exit> {
    let style = Style::of_stdout((outside.environment)("JOURNAL_STREAM").as_deref());
    let output = telemetry::start(style, arguments.log, Arc::clone(&outside.clock))?;
    say_defects(output.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        // Registered before anything else: a signal that comes early must not kill the process.
        let signals = Signals::new()?;
        let outside = daemon::Outside {
            config: outside.config.clone(),
            strict: arguments.strict,
            clock: Arc::clone(&outside.clock),
            output,
            environment: Arc::clone(&outside.environment),
            notifier: Notifier::from_environment()?,
        };
        Ok(daemon::run(outside, signals).await)
    });
    // What still waits for a name server or a file is not waited for.
    runtime.shutdown_background();
    exit
}

/// A defect is an event as well: standard error, where Rust would tell of it, may not be read either.
fn say_defects(output: Output) {
    std::panic::set_hook(Box::new(move |defect| {
        let fields = Fields { error_message: Some(defect.to_string()), ..Fields::default() };
        output.say(&Event::new(Level::Error, Name::DaemonFailed, "adf-cron has a defect", fields));
    }));
}
