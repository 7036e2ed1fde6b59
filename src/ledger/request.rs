//! What people ask of the daemon, as the ledger holds it until that is carried out, and what came of it.

use serde::{Deserialize, Serialize};

use super::{Known, Wanted};
use crate::ids::{EntryName, FiringId, Nominal, RunId};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It led to this firing.
    Firing(FiringId),
    /// It was carried out.
    Done,
    /// It could not be carried out.
    Refused(String),
}

/// What a person asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asks {
    /// Fire an entry now.
    Fire {
        /// The entry.
        entry: EntryName,
        /// Parameters that replace or join the entry's own; values, never templates.
        parameters: serde_json::Map<String, serde_json::Value>,
        /// The `scheduled_time` for its templates; `None` means now.
        scheduled_time: Option<Nominal>,
    },
    /// Try a firing again that ended without a run, or is held.
    Retry {
        /// The firing.
        firing: FiringId,
    },
    /// Close a held firing.
    Settle {
        /// The firing.
        firing: FiringId,
        /// What the person found out, or wants.
        how: Settlement,
    },
    /// Start an entry's nominal times of the past.
    Backfill(Wanted),
    /// End an entry's backfill: what it has not sent is not sent.
    StopBackfill {
        /// The entry.
        entry: EntryName,
    },
    /// Leave out an entry's nominal times from now on.
    Pause {
        /// The entry.
        entry: EntryName,
        /// Why, in the person's words.
        note: Option<String>,
    },
    /// Carry out an entry's nominal times again, from now on.
    Resume {
        /// The entry.
        entry: EntryName,
    },
}

impl Asks {
    /// The firing that it is about.
    #[must_use]
    pub fn firing(&self) -> Option<FiringId> {
        match self {
            Self::Retry { firing } | Self::Settle { firing, .. } => Some(*firing),
            Self::Fire { .. }
            | Self::Backfill(_)
            | Self::StopBackfill { .. }
            | Self::Pause { .. }
            | Self::Resume { .. } => None,
        }
    }
}

/// How a person closes a held firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// This run is its own.
    Run(RunId),
    /// It started nothing, and shall start nothing.
    NotStarted,
    /// It started nothing, and shall be sent again.
    Retry,
}

/// A request of a person, as the ledger holds it until the daemon carries it out.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Identifies it.
    pub request_id: String,
    /// What is asked.
    pub asks: Asks,
    /// What the ledger knows of the firing that is spoken of.
    pub about: Option<Box<About>>,
    /// The nominal times of a backfill that need no start, in order.
    pub taken: Vec<Nominal>,
}

impl Request {
    /// A request as a person makes it.
    #[must_use]
    pub fn new(request_id: String, asks: Asks) -> Self {
        Self { request_id, asks, about: None, taken: Vec::new() }
    }
}

/// What the ledger knows of the firing of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// Where it stands.
    pub firing: Known,
    /// Which other firing owns the run that the person named.
    pub owner: Option<FiringId>,
}
