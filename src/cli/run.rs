//! `run`: the daemon.

use std::sync::Arc;

use clap::Args;

use super::{Outside, complain};
use crate::daemon::{self, Exit};
use crate::event::Level;
use crate::signals::Signals;
use crate::systemd::Notifier;
use crate::telemetry::{self, Style};

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
    let style = Style::of_stdout((outside.environment)("JOURNAL_STREAM").as_deref());
    telemetry::start(style, arguments.log, Arc::clone(&outside.clock));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the daemon cannot start its threads: {error}"));
            return Exit::Failed;
        }
    };
    let exit = runtime.block_on(async {
        // Registered before anything else: a signal that comes early must not kill the process.
        let signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                complain(&format!("signals cannot be handled: {error}"));
                return Exit::Failed;
            }
        };
        let outside = daemon::Outside {
            config: outside.config.clone(),
            strict: arguments.strict,
            clock: Arc::clone(&outside.clock),
            announce: Arc::new(telemetry::announce),
            environment: Arc::clone(&outside.environment),
            notifier: Notifier::from_environment(),
        };
        daemon::run(outside, signals).await
    });
    // What still waits for a name server or a file is not waited for.
    runtime.shutdown_background();
    exit
}
