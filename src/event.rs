//! The log is an interface: the names of all events, and the one type for each of their fields.
//!
//! An [`Event`] is data, so that the ledger can keep it until it has been announced. The sinks
//! that write it (JSON lines, the journal, text) live in `telemetry`.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A text of others as it may be shown: what would move the cursor or turn the direction of what is read is escaped.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    let moves = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    if !text.contains(moves) {
        return text.into();
    }
    text.chars().flat_map(|c| if moves(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// The same, line by line.
#[must_use]
pub fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// How much an event matters to the person on call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For those who look for the reason of something.
    Debug,
    /// As it should be.
    Info,
    /// Worth a look in the morning.
    Warn,
    /// A person is needed.
    Error,
}

macro_rules! names {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),* $(,)?) => {
        /// The dotted name of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Name {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)*
        }

        impl Name {
            /// Every event there is.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name as it stands in the log.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

names! {
    /// The daemon is about to load its schedule.
    DaemonStarted = "daemon.started",
    /// The daemon was told to stop, and starts no new firing.
    DaemonStopping = "daemon.stopping",
    /// The daemon has stopped; `open_firings` are left for the next start.
    DaemonStopped = "daemon.stopped",
    /// Something that the daemon cannot do without does not work.
    DaemonFailed = "daemon.failed",
    /// A schedule is in force from now on.
    ScheduleLoaded = "schedule.loaded",
    /// The cron expressions of an entry are read otherwise than before, and name other times.
    ScheduleRulesChanged = "schedule.rules_changed",
    /// The schedule file is wrong; the old schedule goes on.
    ScheduleRejected = "schedule.rejected",
    /// A new token is in use.
    TokenAcquired = "token.acquired",
    /// No new token could be had; the old one goes on while it is valid.
    TokenRefreshFailed = "token.refresh_failed",
    /// The intent of a firing is durable.
    FiringPlanned = "firing.planned",
    /// Data Factory accepted a firing.
    RunCreated = "run.created",
    /// An attempt did not end in a run.
    AttemptFailed = "attempt.failed",
    /// A firing ended without a run.
    FiringRejected = "firing.rejected",
    /// A firing was left out, for the reason given.
    FiringSkipped = "firing.skipped",
    /// The answer to an attempt was lost.
    FiringUnknown = "firing.unknown",
    /// A run whose answer had been lost was found.
    RunAdopted = "run.adopted",
    /// The look for a lost answer got no answer itself.
    ReconcileBlocked = "reconcile.blocked",
    /// A person must decide what happened.
    FiringHeld = "firing.held",
    /// A person closed a held firing.
    FiringSettled = "firing.settled",
    /// A person wants a firing tried again that was over.
    FiringReopened = "firing.reopened",
    /// An entry is paused: its nominal times are left out.
    EntryPaused = "entry.paused",
    /// An entry is carried out again.
    EntryResumed = "entry.resumed",
    /// Nominal times of the past are started from now on, as a person wants.
    BackfillBegan = "backfill.began",
    /// All of them are over, or the rest is left alone.
    BackfillEnded = "backfill.ended",
    /// A run that is followed has ended.
    RunFinished = "run.finished",
    /// A run that is followed cannot be found any more.
    RunVanished = "run.vanished",
    /// A run takes longer than its entry allows.
    RunOverdue = "run.overdue",
    /// A run could not be cancelled.
    RunCancelFailed = "run.cancel_failed",
    /// Runs cannot be read, so their ends are not known.
    FollowBlocked = "follow.blocked",
    /// The service named a run that cannot be this firing's.
    RunAnomaly = "run.anomaly",
    /// The host has just booted and its clock is not synchronised yet.
    ClockAwaited = "clock.awaited",
    /// The wall clock stepped.
    ClockJumped = "clock.jumped",
    /// Data Factory asked for a pause.
    ThrottlePaused = "throttle.paused",
    /// Closed firings older than the retention were removed.
    LedgerPruned = "ledger.pruned",
    /// The ledger could not be written; nothing is lost, it is tried again.
    LedgerFailed = "ledger.failed",
    /// The ledger can be written again.
    LedgerRecovered = "ledger.recovered",
    /// Events are missing from the log, since nobody read it or it could not be written.
    OutputDropped = "output.dropped",
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Calls the macro `$then` with every field of an event: its name, its type, and its value for
/// `tracing` (in terms of `$event`). The one list from which the struct and the sinks are made.
#[macro_export]
macro_rules! with_event_fields {
    ($then:ident) => {
        $then! {
            /// The entry's name.
            entry: String,
            /// Data Factory's name of the pipeline.
            pipeline: String,
            /// The factory's name.
            factory: String,
            /// `scheduled`, `manual`, `backfill` or `recovery`.
            kind: String,
            /// The firing's id, which is also the request id of its attempts.
            firing_id: String,
            /// The nominal time (RFC 3339, UTC).
            scheduled_time: String,
            /// The nominal time plus the entry's jitter (RFC 3339, UTC).
            due_time: String,
            /// Which attempt of the firing, from 1.
            attempt: u64,
            /// Data Factory's id of the run.
            run_id: String,
            /// Send minus due, in milliseconds.
            lateness_ms: i64,
            /// From send to answer, in milliseconds.
            answer_ms: u64,
            /// The page on which a person watches the run.
            monitor_url: String,
            /// How the attempt ended: `rejected`, `retry_later` or `unknown`.
            outcome: String,
            /// The status of the answer.
            http_status: u64,
            /// The service's error code.
            error_code: String,
            /// The service's words, or ours where it had none; at most 2 KiB.
            error_message: String,
            /// `x-ms-request-id` of the answer.
            azure_request_id: String,
            /// `x-ms-correlation-request-id` of the answer.
            azure_correlation_id: String,
            /// Until the next attempt, in milliseconds.
            retry_in_ms: u64,
            /// Why, as a stable word.
            reason: String,
            /// The first nominal time of a row of skips, or of a backfill.
            first: String,
            /// The last nominal time of a row of skips, or of a backfill.
            last: String,
            /// The next nominal time of an entry, from the first on that is another than before (RFC 3339, UTC).
            next_time: String,
            /// The same as it would have been before.
            next_time_before: String,
            /// Identifies a backfill.
            backfill_id: String,
            /// How many, where one event stands for several.
            count: u64,
            /// The status that Data Factory gives the run.
            run_status: String,
            /// How long the run took, in milliseconds.
            duration_ms: u64,
            /// The new token's lifetime.
            expires_in_secs: u64,
            /// For how long the token in hand is still valid.
            usable_for_secs: u64,
            /// Entra ID's error number, for example `AADSTS7000222`.
            aadsts: String,
            /// Firings left open for the next start.
            open_firings: u64,
            /// The exact command that settles a held firing.
            command: String,
            /// Where in a file: `file:line:col`.
            location: String,
            /// Identifies a version of the schedule file (the beginning of its SHA-256).
            schedule_version: String,
            /// Entries in the schedule.
            entries: u64,
            /// Entries that a new schedule adds.
            added: u64,
            /// Entries that a new schedule changes.
            changed: u64,
            /// Entries that a new schedule removes or disables.
            removed: u64,
            /// The version of the program.
            program_version: String,
            /// The signal that was received.
            signal: String,
            /// How far the wall clock stepped, in milliseconds.
            step_ms: i64,
            /// A person's own words.
            note: String,
            /// Since when (RFC 3339, UTC).
            since: String,
        }
    };
}

macro_rules! event_struct {
    ($($(#[$doc:meta])* $field:ident : $type:ty),* $(,)?) => {
        /// The fields of an event that are not common to all; absent ones are not written.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Fields {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        impl Fields {
            /// The names of all fields, in the order in which they are written.
            pub const NAMES: &[&str] = &[$(stringify!($field)),*];
        }
    };
}
with_event_fields!(event_struct);

/// One fact, as it will be announced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it came to be, which may be long before it can be announced; `None` is when it is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// How much it matters.
    pub level: Level,
    /// What kind of fact it is.
    pub name: Name,
    /// The fact in words.
    pub message: String,
    /// Its fields.
    pub fields: Fields,
}

impl Event {
    /// An event with these fields.
    #[must_use]
    pub fn new(level: Level, name: Name, message: impl Into<String>, fields: Fields) -> Self {
        Self { at: None, level, name, message: message.into(), fields }
    }

    /// Whether the ledger keeps it until it is announced. Debug events tell of steps, not of ends: they are not
    /// worth a place there.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.level > Level::Debug
    }
}

/// An error and its causes, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
