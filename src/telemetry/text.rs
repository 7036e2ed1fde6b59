//! Events as text for people at a terminal: time, level, name, the fact in words, then its fields.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime as _;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::render::Stamp;
use crate::event::printable;

/// One event a line; a text of several lines follows, indented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lines {
    /// All of it.
    Full,
    /// The name and the fact in words.
    Brief,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let mut parts = Parts::default();
        event.record(&mut parts);
        let (name, message, fields) = (&parts.name, &parts.message, &parts.fields);
        if *self == Self::Brief {
            return writeln!(writer, "{name}: {message}");
        }
        Stamp.format_time(&mut writer)?;
        let level = *event.metadata().level();
        if writer.has_ansi_escapes() {
            let colour = match level {
                tracing::Level::ERROR => "31",
                tracing::Level::WARN => "33",
                tracing::Level::INFO => "32",
                _ => "34",
            };
            write!(writer, " \x1b[{colour}m{level:<5} {name}\x1b[0m {message}\x1b[2m{fields}\x1b[0m")?;
        } else {
            write!(writer, " {level:<5} {name} {message}{fields}")?;
        }
        for line in parts.block.lines() {
            write!(writer, "\n    {line}")?;
        }
        writeln!(writer)
    }
}

#[derive(Default)]
struct Parts {
    name: String,
    message: String,
    fields: String,
    block: String,
}

impl Parts {
    fn add(&mut self, field: &Field, value: &str) {
        match field.name() {
            "event" => value.clone_into(&mut self.name),
            "message" => self.message = printable(value).into_owned(),
            _ if value.contains('\n') => self
                .block
                .push_str(&value.lines().map(|line| printable(line).into_owned() + "\n").collect::<String>()),
            name => {
                let quote = if value.contains(' ') { "\"" } else { "" };
                self.fields.push_str(&format!(" {name}={quote}{}{quote}", printable(value)));
            }
        }
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_services_text_cannot_move_the_cursor() {
        assert_eq!(printable("a\x1b[2Jb\u{9b}c日"), "a\\u{1b}[2Jb\\u{9b}c日");
        assert_eq!(printable("gpj.\u{202e}exe\u{2028}"), "gpj.\\u{202e}exe\\u{2028}");
    }
}
