//! How events reach people: native journal fields when standard output is the journal, text on a
//! terminal, and otherwise one JSON object a line. The only folder that names tracing.

mod journal;
mod text;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::prelude::*;

use crate::clock::Clock;
use crate::event::{Event, Level};

/// The target of our own events; those of libraries are not part of the log.
const TARGET: &str = "adf_cron";

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Native fields of the systemd journal.
    Journal,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Style {
    /// The style that fits standard output; `journal_stream` is the value of `JOURNAL_STREAM`.
    #[must_use]
    pub fn of_stdout(journal_stream: Option<&str>) -> Self {
        if journal::is_stdout(journal_stream) {
            Self::Journal
        } else if io::stdout().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

/// Sets the log of this process up. To be called once, before any thread is started.
pub fn start(style: Style, least: Level, clock: Arc<dyn Clock>) {
    let least = match least {
        Level::Debug => LevelFilter::DEBUG,
        Level::Info => LevelFilter::INFO,
        Level::Warn => LevelFilter::WARN,
        Level::Error => LevelFilter::ERROR,
    };
    let ours = Targets::new().with_target(TARGET, least);
    let registry = tracing_subscriber::registry().with(ours);
    let json = |clock| {
        tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_target(false)
            .with_current_span(false)
            .with_span_list(false)
            .with_timer(Stamp(clock))
            // A reader that is gone must not end the daemon.
            .log_internal_errors(false)
    };
    // A second start keeps the first log: there is nobody to tell.
    let _ = match style {
        Style::Journal => match journal::layer() {
            Ok(layer) => registry.with(layer).try_init(),
            Err(_) => registry.with(json(clock)).try_init(),
        },
        Style::Text => {
            let format = text::Lines { stamp: Stamp(clock) };
            let layer = tracing_subscriber::fmt::layer().event_format(format).log_internal_errors(false);
            registry.with(layer).try_init()
        }
        Style::Json => registry.with(json(clock)).try_init(),
    };
}

/// The time of an event, RFC 3339 in UTC with milliseconds.
struct Stamp(Arc<dyn Clock>);

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{:.3}", self.0.now().wall)
    }
}

macro_rules! emit {
    ($($(#[$doc:meta])* $field:ident : $type:ty),* $(,)?) => {
        /// Writes an event to the log.
        pub fn announce(event: &Event) {
            let fields = &event.fields;
            macro_rules! at {
                ($level:ident) => {
                    tracing::event!(
                        target: TARGET,
                        tracing::Level::$level,
                        event = event.name.as_str(),
                        $($field = fields.$field.as_ref(),)*
                        "{}",
                        event.message
                    )
                };
            }
            match event.level {
                Level::Debug => at!(DEBUG),
                Level::Info => at!(INFO),
                Level::Warn => at!(WARN),
                Level::Error => at!(ERROR),
            }
        }
    };
}
with_event_fields!(emit);
