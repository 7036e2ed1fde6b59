//! What the ledger holds to be measured by: which schedule was in force when, how far it is kept, and the
//! record of each nominal time.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::{BackfillProgress, HistoryRow, SignOfLife, State};
use crate::ids::{EntryName, Nominal};
use crate::schedule::CronRules;

/// A version came into force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub version: Arc<str>,
    /// By which rules its cron expressions were read; `None` if this version of the program does not know them.
    pub rules: Option<CronRules>,
}

/// An entry is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenPause {
    /// The entry.
    pub entry: EntryName,
    /// Nominal times from this on are left out.
    pub since: Timestamp,
    /// What the person who paused it wrote.
    pub note: Option<String>,
}

/// All but the records.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// The versions, in the order in which they came into force.
    pub in_force: Vec<InForce>,
    /// Records of nominal times before this may have been removed.
    pub kept_from: Option<Nominal>,
    /// How far the entries of the schedule in force are planned.
    pub marks: HashMap<EntryName, Nominal>,
    /// The entries that are paused now.
    pub pauses: Vec<OpenPause>,
    /// The entries that have scheduled records.
    pub recorded: BTreeSet<EntryName>,
}

/// The record of a nominal time, or of several that were left out together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The first nominal time.
    pub first: Nominal,
    /// The last, which may be the first.
    pub last: Nominal,
    /// How many it says that it stands for.
    pub count: u64,
    /// Where it stands.
    pub state: State,
    /// Why.
    pub reason: Option<String>,
    /// The firing.
    pub firing_id: String,
    /// The version that planned it.
    pub version: Arc<str>,
    /// When that was.
    pub planned_at: Timestamp,
}

/// How things stand.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// What the last daemon left about itself.
    pub sign: Option<SignOfLife>,
    /// The schedule in force.
    pub schedule: Option<InForce>,
    /// Its enabled entries.
    pub entries: u64,
    /// Firings that are not over and go on by themselves.
    pub open: u64,
    /// Firings that wait for a person.
    pub held: u64,
    /// The oldest of them.
    pub oldest_held: Vec<HistoryRow>,
    /// The planned firing that is due next.
    pub next: Option<HistoryRow>,
    /// The newest run.
    pub last_run: Option<HistoryRow>,
    /// The entries that are paused.
    pub pauses: Vec<OpenPause>,
    /// The backfills that are not over.
    pub backfills: Vec<BackfillProgress>,
}
