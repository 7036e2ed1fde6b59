//! The ledger: the durable record of intents, attempts, runs, requests and schedule versions,
//! behind a narrow interface.

mod backfill;
mod evidence;
mod lock;
mod record;
mod request;
mod sign;
mod skips;
mod sqlite;

use std::collections::HashMap;
use std::future::Future;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::event::Event;
use crate::ids::{EntryName, FiringId, Nominal, RunId};
use crate::schedule::{CronRules, Fingerprint};

pub use backfill::{Backfill, BackfillProgress, Wanted};
pub use evidence::{Evidence, InForce, Kept, OpenPause, Standing};
pub use lock::{Lock, LockError, OtherName};
pub use record::{
    Attempt, Batch, Body, FollowedRun, Intent, Known, Loaded, Mark, Pause, Progress, Reason, Record,
    Recovers, RunProgress, State, Written,
};
pub use request::{About, Answer, Asks, Request, Settlement};
pub use sign::{NextFiring, RejectedSign, SignOfLife, StoppedSign, TokenSign};
pub use skips::{Skips, cut, skipped};
pub use sqlite::SqliteLedger;

/// Why the ledger could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database said no. It may say yes later.
    #[error("the ledger {path} could not be used")]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A newer version of the program has written this ledger.
    #[error("the ledger {path} was written by a newer version of adf-cron; install that version again")]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be opened, or made.
    #[error("the ledger {path} could not be opened")]
    Unopened {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was moved, removed or replaced under the process that uses it.
    #[error(
        "the ledger {path} was moved, removed or replaced while adf-cron uses it; put it back, or stop adf-cron and \
         remove {path}-wal and {path}-shm, which belong to the file that was there, before it starts on another"
    )]
    Moved {
        /// The file.
        path: PathBuf,
    },
    /// The file has another name, and this is not the one that is used.
    #[error(transparent)]
    OtherName(#[from] OtherName),
    /// A row could not be understood.
    #[error("the ledger holds {what} that this version cannot read: {detail}")]
    Unreadable {
        /// The column.
        what: &'static str,
        /// What stands there, or what is wrong with it.
        detail: String,
    },
}

impl LedgerError {
    /// Whether waiting is of no use, and a person must act: the file is corrupt, no database, or too new.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        match self {
            Self::Newer { .. } | Self::Unreadable { .. } => true,
            // SQLITE_CORRUPT (11) and SQLITE_NOTADB (26), in their plain and extended forms.
            Self::Database { source, .. } => matches!(sqlite::code(source), Some(11 | 26)),
            Self::Unopened { .. } | Self::Moved { .. } | Self::OtherName(_) => false,
        }
    }

    /// Whether a user with more rights might fare better.
    #[must_use]
    pub fn may_be_rights(&self) -> bool {
        matches!(self, Self::Database { .. } | Self::Unopened { .. })
    }
}

/// The schedule that was in force last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSchedule {
    /// Its version.
    pub version: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
    /// By which rules its cron expressions were read; `None` if this version of the program does not know them.
    pub rules: Option<CronRules>,
}

/// What a daemon needs to know when it starts.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Marks and calendar fingerprints of the entries that were in force.
    pub marks: HashMap<EntryName, (Nominal, Fingerprint)>,
    /// The firings that are not over, held ones excepted.
    pub open: Vec<Known>,
    /// The firings that wait for a person.
    pub held: Vec<Known>,
    /// The accepted firings whose runs are followed.
    pub followed: Vec<FollowedRun>,
    /// From when until when entries were, or are, paused, in order.
    pub pauses: HashMap<EntryName, Vec<Pause>>,
    /// How often in a row runs of entries have failed.
    pub failures: HashMap<EntryName, u32>,
    /// The backfills that are not over, and of each the nominal times after its mark that need no start.
    pub backfills: Vec<(Backfill, Vec<Nominal>)>,
    /// Whether each factory has so far always taken our request id as the run's, by [`crate::ids::Factory::key`].
    pub learned: HashMap<String, bool>,
    /// The last schedule that was in force.
    pub schedule: Option<LastSchedule>,
    /// Whether the last daemon stopped with nothing under way.
    pub clean_stop: bool,
    /// Up to when, by whatever clock it went, the last daemon is known to have run if it did not stop cleanly.
    pub reached: Option<Timestamp>,
    /// The number that the next batch takes.
    pub next_batch: u64,
}

/// The events of a batch that are kept until they are announced, and the number of the batch.
pub type Facts = (u64, Vec<Event>);

/// One row of the history.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryRow {
    /// The entry.
    pub entry: String,
    /// The pipeline.
    pub pipeline: String,
    /// The factory's name.
    pub factory: String,
    /// Why the firing exists.
    pub kind: String,
    /// The firing.
    pub firing_id: String,
    /// Its nominal time.
    pub scheduled_time: Timestamp,
    /// The last nominal time, where the row stands for several skips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scheduled_time: Option<Timestamp>,
    /// How many nominal times the row stands for, where it stands for several skips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Nominal time plus jitter.
    pub due_time: Timestamp,
    /// Where it stands.
    pub state: String,
    /// Why.
    pub reason: Option<String>,
    /// Attempts made.
    pub attempts: u64,
    /// Its run.
    pub run_id: Option<String>,
    /// The run's status as the service calls it, if it is followed; `Vanished` if the run cannot be found any more.
    pub run_status: Option<String>,
    /// What was said last, where it ended without a run, or its run did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// When the intent was made.
    pub planned_at: Timestamp,
    /// When the run was accepted or adopted.
    pub accepted_at: Option<Timestamp>,
    /// When the firing ended without a run, or its run ended.
    pub finished_at: Option<Timestamp>,
}

/// Which rows of the history are wanted.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// Only this entry.
    pub entry: Option<String>,
    /// Only nominal times at or after this.
    pub since: Option<Timestamp>,
    /// Only this state.
    pub state: Option<State>,
    /// Only firings of this backfill.
    pub backfill: Option<String>,
    /// At most so many rows, newest first.
    pub limit: u32,
}

/// Where the daemon keeps what it must not forget.
///
/// The daemon calls these one at a time. Every error leaves the ledger as it was before the call.
pub trait Ledger: Send {
    /// Writes a run of batches in one transaction and keeps their events until they are known to be
    /// announced; forgets the events of the batches in `announced`.
    ///
    /// Nominal times that are left out are written as rows around those that have a record already.
    ///
    /// # Errors
    /// [`LedgerError::Database`] when it could not be made durable; nothing of it is then.
    fn write(
        &mut self,
        batches: &[Batch],
        announced: Option<RangeInclusive<u64>>,
    ) -> impl Future<Output = Result<Written, LedgerError>> + Send;

    /// Reads what a starting daemon needs.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    fn load(&mut self) -> impl Future<Output = Result<Snapshot, LedgerError>> + Send;

    /// Which firings, other than `but`, own these runs: they accepted them, or their id is the run's.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    fn owners(
        &mut self,
        runs: &[RunId],
        but: FiringId,
    ) -> impl Future<Output = Result<HashMap<RunId, FiringId>, LedgerError>> + Send;

    /// The events of the batches from `first` on that are not known to be announced, in order, those of a batch
    /// together; of `most` batches at the most.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    fn unannounced(
        &mut self,
        first: u64,
        most: u32,
    ) -> impl Future<Output = Result<Vec<Facts>, LedgerError>> + Send;

    /// The requests that wait to be carried out, oldest first.
    ///
    /// # Errors
    /// [`LedgerError::Database`], [`LedgerError::Unreadable`].
    fn requests(&mut self) -> impl Future<Output = Result<Vec<Request>, LedgerError>> + Send;

    /// Removes firings that were over before `before`, but nothing that still guards against a second start; a
    /// slice of them, and returns how many. There may be more unless it is 0.
    ///
    /// # Errors
    /// [`LedgerError::Database`].
    fn prune(&mut self, before: Timestamp) -> impl Future<Output = Result<u64, LedgerError>> + Send;

    /// Ends in an orderly way, after which all that was written stands in the ledger's own file.
    fn close(self) -> impl Future<Output = ()> + Send;
}
