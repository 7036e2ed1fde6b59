//! A backfill: nominal times of the past that a person wants started, as the ledger holds it until all are over.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Reason;
use crate::ids::{EntryName, Nominal};
use crate::schedule::Fingerprint;

/// What a person wants started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The entry.
    pub entry: EntryName,
    /// From this nominal time on.
    pub from: Nominal,
    /// Before this.
    pub until: Nominal,
    /// How many runs may go on at once, if not as many as the entry says.
    pub max_active: Option<u32>,
    /// Also those that have had a run already.
    pub again: bool,
}

/// A backfill, and how far it has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// Identifies it: the id of the request for it.
    pub id: Arc<str>,
    /// The entry.
    pub entry: EntryName,
    /// The calendar that names its nominal times.
    pub fingerprint: Fingerprint,
    /// The first of them.
    pub first: Nominal,
    /// The last.
    pub last: Nominal,
    /// How many there are.
    pub count: u64,
    /// How many of its runs may go on at once.
    pub max_active: u32,
    /// Whether also those are started that have had a run already.
    pub again: bool,
    /// Up to here they have been gone through.
    pub mark: Nominal,
    /// How many of them that are.
    pub passed: u64,
    /// When it was taken up.
    pub begun_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// Why it ended before its last nominal time, if it did.
    pub reason: Option<Reason>,
}

/// A backfill, and what its firings have come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillProgress {
    /// Where it stands.
    pub backfill: Backfill,
    /// How many of its nominal times have a firing, or a run, that is not over.
    pub open: u64,
}

impl BackfillProgress {
    /// How many of its nominal times need nothing more.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.backfill.passed.saturating_sub(self.open)
    }
}
