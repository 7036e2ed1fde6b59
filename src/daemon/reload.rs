//! A reload: the file is read beside the loop, one reading at a time; then the schedule is swapped, or it
//! is said why the old one goes on.

use std::sync::Arc;

use super::schedule_file::{self, Loaded, Reading, Rejection};
use super::{Daemon, begin};
use crate::engine::Input;
use crate::event::chain;

/// What one reading of the file gave.
pub(super) type Read = Box<Result<Loaded, Rejection>>;

/// The readings of the file. A wish that comes during one is met by one more: what was read may have been
/// the file before the last edit.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    under_way: Option<Reading>,
    again: bool,
}

impl Reloads {
    /// Waits for the end of a reading.
    pub(super) async fn read(&mut self) -> Read {
        let Some(reading) = &mut self.under_way else { return std::future::pending().await };
        let read = reading.end().await;
        self.under_way = None;
        Box::new(read)
    }
}

impl Daemon {
    /// Reads the file, once more if it is being read already.
    pub(super) fn reload(&mut self) {
        if self.reloads.under_way.is_some() {
            self.reloads.again = true;
            return;
        }
        let (path, environment) = (self.outside.config.clone(), Arc::clone(&self.outside.environment));
        self.reloads.under_way = Some(Reading::start(path, environment, self.outside.clock.now().wall));
    }

    /// The file was read.
    pub(super) async fn reloaded(&mut self, read: Read) {
        if std::mem::take(&mut self.reloads.again) {
            return self.reload();
        }
        let period = self.settings.daemon.heartbeat;
        if let Err(rejection) = self.swap(*read) {
            self.outside.output.say(&rejection.event("the old schedule goes on"));
            self.rejected = Some(rejection);
            self.in_force();
        }
        if self.settings.daemon.heartbeat != period {
            self.beat_every(self.settings.daemon.heartbeat).await;
        }
    }

    /// Puts a new schedule in force.
    fn swap(&mut self, read: Result<Loaded, Rejection>) -> Result<(), Rejection> {
        let loaded = read?;
        let (config, environment) = (&self.outside.config, &self.outside.environment);
        let before = schedule_file::ledger_path(self.settings.ledger.clone(), environment);
        if schedule_file::ledger_path(loaded.settings.ledger.clone(), environment) != before {
            let message = "the ledger cannot be changed by a reload; restart the daemon for that";
            return Err(Rejection::of(config, message));
        }
        if loaded.settings.azure != self.settings.azure {
            self.client = begin::client(&self.outside, &loaded.settings)
                .map_err(|error| Rejection::of(config, &chain(&error)))?;
        }
        // A person has changed something: what was refused before may be granted now.
        self.client.token().try_again();
        self.keep_token();
        self.settings = loaded.settings;
        self.rejected = None;
        self.feed(Input::Reload(loaded.schedule));
        Ok(())
    }
}
