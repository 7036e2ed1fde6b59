//! A reload: the file is read beside the loop, one reading at a time; then the schedule is swapped, or it
//! is said why the old one goes on.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::schedule_file::{self, Loaded, Rejection};
use super::{Daemon, begin};
use crate::engine::Input;
use crate::event::chain;

/// What one reading of the file gave.
pub(super) type Reading = Box<Result<Loaded, Rejection>>;

/// The readings of the file. A wish that comes during one is met by one more: what was read may have been
/// the file before the last edit.
#[derive(Debug)]
pub(super) struct Reloads {
    done: mpsc::UnboundedSender<Reading>,
    readings: mpsc::UnboundedReceiver<Reading>,
    under_way: bool,
    again: bool,
}

impl Reloads {
    pub(super) fn new() -> Self {
        let (done, readings) = mpsc::unbounded_channel();
        Self { done, readings, under_way: false, again: false }
    }

    /// Waits for the end of a reading.
    pub(super) async fn read(&mut self) -> Reading {
        match self.readings.recv().await {
            Some(reading) => reading,
            // Its own sender is never dropped.
            None => std::future::pending().await,
        }
    }
}

impl Daemon {
    /// Reads the file, once more if it is being read already.
    pub(super) fn reload(&mut self) {
        if self.reloads.under_way {
            self.reloads.again = true;
            return;
        }
        self.reloads.under_way = true;
        let (path, environment) = (self.outside.config.clone(), Arc::clone(&self.outside.environment));
        let (done, now) = (self.reloads.done.clone(), self.outside.clock.now().wall);
        schedule_file::load_beside(path, environment, now, move |read| {
            // Nobody listens any more once the daemon has drained.
            let _ = done.send(Box::new(read));
        });
    }

    /// The file was read.
    pub(super) async fn reloaded(&mut self, reading: Reading) {
        self.reloads.under_way = false;
        if std::mem::take(&mut self.reloads.again) {
            return self.reload();
        }
        let period = self.settings.daemon.heartbeat;
        if let Err(rejection) = self.swap(*reading) {
            self.outside.output.say(&rejection.event("the old schedule goes on"));
            self.rejected = Some(rejection);
            self.in_force();
        }
        if self.settings.daemon.heartbeat != period {
            self.beat_every(self.settings.daemon.heartbeat).await;
        }
    }

    /// Puts a new schedule in force.
    fn swap(&mut self, reading: Result<Loaded, Rejection>) -> Result<(), Rejection> {
        let loaded = reading?;
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
