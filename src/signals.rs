//! What the outside tells the process by signals. The only file that names signal-hook.

use std::io;

use futures_util::StreamExt as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_tokio::Signals as Stream;

/// A wish of the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Read the schedule again.
    Reload,
    /// End; the second time, at once.
    Stop(&'static str),
}

/// The signals of this process, from now on.
pub struct Signals(Stream);

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}

impl Signals {
    /// Listens to SIGHUP, SIGINT and SIGTERM.
    ///
    /// # Errors
    /// When the handlers cannot be registered.
    pub fn new() -> io::Result<Self> {
        Stream::new([SIGHUP, SIGINT, SIGTERM]).map(Self)
    }

    /// Waits for the next wish.
    pub async fn next(&mut self) -> Signal {
        match self.0.next().await {
            Some(SIGHUP) => Signal::Reload,
            Some(SIGINT) => Signal::Stop("SIGINT"),
            Some(_) => Signal::Stop("SIGTERM"),
            // The stream ends only when its handle is closed, which nobody does.
            None => std::future::pending().await,
        }
    }
}
