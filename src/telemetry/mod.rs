//! How events reach people: native journal fields when standard output is the journal, text on a
//! terminal, and otherwise one JSON object a line. The only folder that names tracing.

mod journal;
mod output;
mod render;
#[cfg(test)]
pub(crate) mod tests;
mod text;

use std::io::{self, IsTerminal as _};
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::clock::Clock;
use crate::event::Level;

pub use output::Output;
use output::Sink;
use render::Renderer;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Native fields of the systemd journal.
    Journal,
    /// For people, on standard output.
    Text,
    /// One JSON object a line, on standard output.
    Json,
    /// For a person who waits for a command: on standard error, without times and fields.
    Brief,
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

/// Sets up a log of events of this level or a higher one.
///
/// # Errors
/// When the system gives no thread or no socket for it.
pub fn start(style: Style, least: Level, clock: Arc<dyn Clock>) -> io::Result<Output> {
    let sink: Sink = match style {
        Style::Journal => journal::sink()?,
        Style::Text | Style::Json => Box::new(|bytes: &[u8]| write(io::stdout(), bytes)),
        Style::Brief => Box::new(|bytes: &[u8]| write(io::stderr(), bytes)),
    };
    Output::start(Renderer::new(style), sink, least, clock)
}

/// Writes what the file takes. Past the standard library's own buffer, which would not say how much that was.
fn write(file: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    match rustix::io::write(&file, bytes) {
        // Whoever shares the terminal or the pipe with us may have made it so that nobody waits for it.
        Err(Errno::AGAIN) => {
            let second = Timespec { tv_sec: 1, tv_nsec: 0 };
            let _ = poll(&mut [PollFd::new(&file, PollFlags::OUT)], Some(&second));
            Err(io::ErrorKind::Interrupted.into())
        }
        written => Ok(written?),
    }
}
