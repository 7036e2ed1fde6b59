//! How an event becomes the bytes that are written: `tracing` and its layers, as a form and nothing else. What
//! libraries say by way of it is not part of the log.

use std::cell::RefCell;
use std::io;

use jiff::Timestamp;
use tracing::Dispatch;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Layer, Registry};

use super::{Style, journal, text};
use crate::event::{Event, Level};

thread_local! {
    /// The event that this thread renders: its time, and what stands there of it.
    static DRAFT: RefCell<(Timestamp, Vec<u8>)> = const { RefCell::new((Timestamp::UNIX_EPOCH, Vec::new())) };
}

/// Renders events in one style.
pub(crate) struct Renderer(Dispatch);

impl Renderer {
    pub(crate) fn new(style: Style) -> Self {
        let layer: Box<dyn Layer<Registry> + Send + Sync> = match style {
            Style::Journal => journal::Entries.boxed(),
            Style::Text => lines(text::Lines::Full),
            Style::Brief => lines(text::Lines::Brief),
            Style::Json => tracing_subscriber::fmt::layer()
                .json()
                .flatten_event(true)
                .with_target(false)
                .with_current_span(false)
                .with_span_list(false)
                .with_timer(Stamp)
                .with_writer(|| Draft)
                .log_internal_errors(false)
                .boxed(),
        };
        Self(Dispatch::new(Registry::default().with(layer)))
    }

    /// The bytes of an event that is announced `now`.
    pub(crate) fn render(&self, event: &Event, now: Timestamp) -> Vec<u8> {
        DRAFT.set((event.at.unwrap_or(now), Vec::with_capacity(1_024)));
        tracing::dispatcher::with_default(&self.0, || emit(event));
        DRAFT.take().1
    }
}

fn lines(format: text::Lines) -> Box<dyn Layer<Registry> + Send + Sync> {
    let layer = tracing_subscriber::fmt::layer().event_format(format).with_writer(|| Draft);
    layer.log_internal_errors(false).boxed()
}

/// Writes into the draft of this thread.
pub(super) struct Draft;

impl io::Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        DRAFT.with_borrow_mut(|(_, draft)| draft.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The time of an event, RFC 3339 in UTC with milliseconds.
pub(super) struct Stamp;

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        DRAFT.with_borrow(|(at, _)| write!(f, "{at:.3}"))
    }
}

impl FormatTime for Stamp {
    fn format_time(&self, writer: &mut Writer<'_>) -> std::fmt::Result {
        write!(writer, "{self}")
    }
}

macro_rules! emit {
    ($($(#[$doc:meta])* $field:ident : $type:ty),* $(,)?) => {
        fn emit(event: &Event) {
            let fields = &event.fields;
            macro_rules! at {
                ($level:ident) => {
                    tracing::event!(
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
