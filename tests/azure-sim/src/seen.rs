//! What arrived, and what came of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::route::Operation;
use crate::switches::Switches;

/// A run that was started.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Its id.
    pub run_id: String,
    /// The request id of the call that made it.
    pub request_id: Option<String>,
    /// The pipeline.
    pub pipeline: String,
    /// The factory.
    pub factory: String,
    /// The resource group.
    pub resource_group: String,
    /// The subscription.
    pub subscription: String,
    /// What it was given, as sent.
    pub parameters: Value,
    /// When the head of its request was read.
    pub arrived_at: Timestamp,
    /// Data Factory's word for where it stands.
    pub status: String,
    /// The first run of those that it recovers, its own id if it recovers none.
    pub run_group_id: String,
    /// Whether no later run recovers it.
    pub is_latest: bool,
    /// What started it: `Manual`, or a trigger.
    pub invoked_by: String,
    /// When it last changed its status.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What is said about how it went.
    pub message: String,
    /// The query of the call that made it.
    pub query: String,
    /// What becomes of it by itself, in order.
    pub ahead: Vec<Stage>,
}

/// What becomes of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// When.
    pub at: Timestamp,
    /// Its status from then on.
    pub status: String,
    /// What is said about it.
    pub message: String,
}

impl Run {
    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "Succeeded" | "Failed" | "Cancelled")
    }

    /// It gets as far as this.
    pub(crate) fn becomes(&mut self, stage: Stage) {
        self.status = stage.status;
        self.message = stage.message;
        self.updated_at = stage.at;
        self.ended_at = self.is_over().then_some(stage.at);
    }

    /// What was to become of it up to now has.
    pub(crate) fn goes_on(&mut self, now: Timestamp) {
        while self.ahead.first().is_some_and(|stage| stage.at <= now) {
            let stage = self.ahead.remove(0);
            self.becomes(stage);
        }
    }
}

/// A request that arrived.
#[derive(Debug, Clone, Serialize)]
pub struct Request {
    /// When its head was read.
    pub arrived_at: Timestamp,
    /// When it was answered.
    pub answered_at: Option<Timestamp>,
    /// The method.
    pub method: String,
    /// The path, as sent.
    pub path: String,
    /// What it asks for.
    pub operation: Operation,
    /// Its request id.
    pub request_id: Option<String>,
    /// The status of the answer; `None`: none was given.
    pub status: Option<u16>,
    /// Which token it carried, in the order in which they were granted, from 1.
    pub token: Option<u64>,
    /// Whether that token had expired.
    pub token_expired: bool,
}

/// Everything that arrived.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Seen {
    /// All runs, in the order in which they arrived.
    pub runs: Vec<Run>,
    /// All requests, in the order in which they arrived.
    pub requests: Vec<Request>,
    /// The most token requests that were under way at once.
    pub max_token_requests_at_once: usize,
    /// Token requests under way now.
    pub token_requests_now: usize,
}

impl Seen {
    /// How many requests for an operation arrived.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.requests.iter().filter(|request| request.operation == operation).count()
    }

    /// The runs of a pipeline.
    #[must_use]
    pub fn runs_of(&self, pipeline: &str) -> Vec<&Run> {
        self.runs.iter().filter(|run| run.pipeline == pipeline).collect()
    }
}

/// A token that was granted.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) number: u64,
    pub(crate) tenant: String,
    pub(crate) expires: Instant,
    /// The same by the wall clock, to be shown.
    pub(crate) expires_at: Timestamp,
}

/// Everything that changes.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) switches: Switches,
    pub(crate) seen: Seen,
    pub(crate) tokens: HashMap<String, Issued>,
    /// Tokens that expired, by which their use can be told from that of unknown ones.
    pub(crate) granted: u64,
    pub(crate) certificates: Vec<String>,
    /// Ids of assertions; each may be used once.
    pub(crate) assertions: HashSet<String>,
    /// Runs by request id, and by run id in small letters.
    pub(crate) by_request: HashMap<String, usize>,
    pub(crate) by_run: HashMap<String, usize>,
    /// What is left in each subscription's bucket, and when that was counted.
    pub(crate) buckets: HashMap<String, (f64, Instant)>,
}

/// What the server and its owner share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) url: String,
    inside: Mutex<Inside>,
    changed: Condvar,
}

impl Shared {
    pub(crate) fn new(url: String) -> Self {
        Self { url, inside: Mutex::default(), changed: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        // A check that panicked leaves nothing half changed.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wait<'a>(&self, inside: MutexGuard<'a, Inside>, limit: Duration) -> MutexGuard<'a, Inside> {
        self.changed.wait_timeout(inside, limit).unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn tell(&self) {
        self.changed.notify_all();
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the stand-in's one look at the wall clock")]
    Timestamp::now()
}

/// The clock that never steps.
pub(crate) fn monotonic() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the stand-in's one look at the monotonic clock")]
    Instant::now()
}
