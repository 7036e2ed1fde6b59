//! What the ledger remembers: intents, the progress of firings and of runs, and marks, as data.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Answer, Backfill, Request, SignOfLife, Skips};
use crate::azure::outcome::Refusal;
use crate::config::{Policy, RecoverFrom};
use crate::event::{Event, Fields};
use crate::ids::{EntryName, Factory, FiringId, Kind, Nominal, PipelineName, RunId};
use crate::schedule::{Calendar, CronRules, Fingerprint};

/// The durable record of a planned firing. Every attempt sends these bytes to this target;
/// settling never reads the schedule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The firing.
    pub firing_id: FiringId,
    /// The entry it belongs to.
    pub entry: EntryName,
    /// The pipeline to start.
    pub pipeline: PipelineName,
    /// The factory that holds the pipeline.
    pub factory: Factory,
    /// Why the firing exists.
    pub kind: Kind,
    /// The instant that the calendar names.
    pub nominal: Nominal,
    /// The nominal time plus the entry's jitter.
    pub due: Timestamp,
    /// The body of every attempt.
    pub body: Body,
    /// How the firing is carried out.
    pub policy: Arc<Policy>,
    /// The version of the schedule that planned it.
    pub schedule_version: Arc<str>,
    /// When it was planned.
    pub planned_at: Timestamp,
    /// The run that it recovers, if it recovers one.
    pub recovers: Option<Arc<Recovers>>,
    /// The id of the backfill that it is a part of.
    pub backfill: Option<Arc<str>>,
}

/// The run that a firing recovers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovers {
    /// The run, which failed.
    pub run: RunId,
    /// Which recovery of the first run it is, from 1.
    pub number: u32,
    /// Where it goes on.
    pub from: RecoverFrom,
}

impl Intent {
    /// The fields that every event of a firing carries.
    #[must_use]
    pub fn fields(&self) -> Fields {
        Fields {
            entry: Some(self.entry.to_string()),
            pipeline: Some(self.pipeline.to_string()),
            factory: Some(self.factory.name.to_string()),
            kind: Some(self.kind.as_str().to_owned()),
            firing_id: Some(self.firing_id.to_string()),
            scheduled_time: Some(self.nominal.to_string()),
            ..Fields::default()
        }
    }

    /// The earliest moment at which it can have been sent.
    #[must_use]
    pub fn sent_since(&self) -> Timestamp {
        self.due.max(self.planned_at)
    }
}

/// A rendered request body. It may hold what must not be logged, so its `Debug` prints its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Arc<str>);

impl Body {
    /// Takes JSON text.
    #[must_use]
    pub fn new(json: &str) -> Self {
        Self(json.into())
    }

    /// The text, for the request and the ledger.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[body of {} bytes]", self.0.len())
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word in logs, the ledger and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads the word that `as_str` wrote.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }
    };
}

words! {
    /// Where a firing stands.
    State {
        /// Its intent is durable; no attempt is known.
        Planned = "planned",
        /// It waits for its next attempt.
        Waiting = "waiting",
        /// The answer to an attempt was lost, and is being looked for.
        Unknown = "unknown",
        /// Data Factory started a run.
        Accepted = "accepted",
        /// It ended without a run.
        Rejected = "rejected",
        /// It was left out by a policy.
        Skipped = "skipped",
        /// A person must decide.
        Held = "held",
        /// A person decided that it started nothing.
        NotStarted = "not_started",
    }
}

words! {
    /// Why a firing stands where it stands.
    Reason {
        /// It was later than `late_after` and the `missed` policy left it out.
        Missed = "missed",
        /// Its entry was removed or disabled before it was sent.
        Removed = "removed",
        /// Its entry's calendar was changed before it was planned.
        Changed = "changed",
        /// Its entry was paused.
        Paused = "paused",
        /// Others of its entry or pipeline were still running.
        Overlap = "overlap",
        /// A newer one took its place in the queue.
        Superseded = "superseded",
        /// A person ended the backfill that it is a part of.
        Stopped = "stopped",
        /// As many as may wait were waiting already.
        QueueFull = "queue_full",
        /// The service refused it, and would again.
        Refused = "refused",
        /// All attempts that the policy allows were made.
        RetriesExhausted = "retries_exhausted",
        /// The service throttled it until its deadline.
        Throttled = "throttled",
        /// There was no usable token until its deadline.
        NoToken = "no_token",
        /// Its parameters could not be rendered.
        Template = "template",
        /// The answer of an attempt was lost.
        AnswerLost = "answer_lost",
        /// Several runs could be its own, or one that could be that of another firing as well.
        CannotDecide = "cannot_decide",
        /// A run could be its own, but not all of it is shown.
        PossibleMatch = "possible_match",
        /// The clock was set back since it may have been sent: no search is sure to show its run.
        ClockSetBack = "clock_set_back",
        /// A person said how it ended.
        Settled = "settled",
        /// The entry says `on_unknown: hold`.
        OnUnknownHold = "on_unknown_hold",
        /// The deadline passed while the answer was unknown.
        DeadlineWhileUnknown = "deadline_while_unknown",
        /// The look for the lost answer was refused or unanswered for an hour.
        LookUnanswered = "look_unanswered",
        /// The service named a run that belongs to another firing.
        ForeignRun = "foreign_run",
        /// The service named something that is no run's id.
        MalformedRunId = "malformed_run_id",
        /// The run under the firing's id is one of another pipeline.
        OtherPipeline = "other_pipeline",
    }
}

/// One createRun call whose end is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// When its end was known.
    pub answered_at: Timestamp,
    /// `accepted`, `rejected`, `retry_later` or `unknown`.
    pub outcome: &'static str,
    /// What the service said, if it did not accept.
    pub refusal: Option<Refusal>,
}

/// Where a firing stands from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The firing.
    pub firing_id: FiringId,
    /// Its state.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// Attempts made.
    pub attempts: u32,
    /// Attempts that count against the policy's `max_attempts`.
    pub counted: u32,
    /// When it goes on by itself.
    pub next_at: Option<Timestamp>,
    /// Its run.
    pub run_id: Option<RunId>,
    /// What was said last, where it ends without a run.
    pub error_message: Option<String>,
    /// Whether its run is followed from now on.
    pub follow: bool,
    /// When this came to be.
    pub at: Timestamp,
    /// The attempt that brought it here, if one did.
    pub attempt: Option<Attempt>,
}

/// What is known from now on of the run of an accepted firing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunProgress {
    /// The firing.
    pub firing_id: FiringId,
    /// The service's word for where it stands; `None` leaves what is known.
    pub status: Option<String>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What the service said, where it did not succeed.
    pub error_message: Option<String>,
    /// When it was found to take longer than its entry allows.
    pub overdue_at: Option<Timestamp>,
    /// Whether it is followed further.
    pub followed: bool,
}

impl RunProgress {
    /// Nothing new, of a run that goes on.
    #[must_use]
    pub fn new(firing_id: FiringId) -> Self {
        Self {
            firing_id,
            status: None,
            finished_at: None,
            error_message: None,
            overdue_at: None,
            followed: true,
        }
    }

    /// What is known once `later` has come as well.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            status: later.status.or(self.status),
            finished_at: later.finished_at.or(self.finished_at),
            error_message: later.error_message.or(self.error_message),
            overdue_at: later.overdue_at.or(self.overdue_at),
            ..later
        }
    }
}

/// An accepted firing whose run is followed.
#[derive(Debug, Clone, PartialEq)]
pub struct FollowedRun {
    /// Its intent.
    pub intent: Arc<Intent>,
    /// Its run.
    pub run_id: RunId,
    /// What the service called it last.
    pub status: Option<String>,
    /// The run cannot have been updated before this.
    pub since: Timestamp,
    /// When it was accepted or adopted.
    pub accepted_at: Timestamp,
    /// Whether it was found to take longer than its entry allows.
    pub overdue: bool,
}

/// An entry's mark: the nominal time up to which it is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The entry.
    pub entry: EntryName,
    /// Up to and including this nominal time.
    pub nominal: Nominal,
}

/// A schedule that is in force from now on.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Its version: the SHA-256 of its text.
    pub version: Arc<str>,
    /// The text of the file.
    pub text: Arc<str>,
    /// By which rules its cron expressions are read.
    pub rules: CronRules,
    /// Since when.
    pub at: Timestamp,
    /// Entries that are new or whose calendar changed, with the mark that they begin at.
    pub begun: Vec<(Mark, Fingerprint)>,
    /// Entries that are gone or disabled.
    pub ended: Vec<EntryName>,
}

/// One change of the ledger. A batch of them is one transaction.
#[derive(Debug, Clone)]
pub enum Record {
    /// A schedule is in force.
    Loaded(Box<Loaded>),
    /// An intent was made. A withdrawn or removed firing of the same nominal time gives way to it.
    Planned(Arc<Intent>),
    /// An intent that could not be rendered, or that is over before it began.
    Stillborn(Arc<Intent>, Progress),
    /// Nominal times were left out, but for those that have a record.
    Skipped(Box<Skips>),
    /// An entry is planned up to here.
    Marked(Mark),
    /// An intent that was never sent is taken back.
    Withdrawn(FiringId),
    /// The clock was set back to here: what was left out after it, and never sent, is still to come.
    SetBack {
        /// The last nominal time that is past.
        to: Nominal,
        /// The calendars that the entries have, and had of late: a row of skips that reaches beyond `to` ends there,
        /// and is counted again.
        calendars: Vec<(EntryName, Arc<Calendar>)>,
    },
    /// The clock was set: by the new one an open firing goes on, and was first sent, at these times.
    Moved {
        /// The firing.
        firing_id: FiringId,
        /// When it goes on by itself, if it waits.
        next_at: Option<Timestamp>,
        /// When its first attempt was sent, if one was.
        first_sent_at: Option<Timestamp>,
    },
    /// Up to this time something may have been sent by a clock that was set back since; `None` once all of that is
    /// over.
    Reached(Option<Timestamp>),
    /// A firing went on. What is over stays as it is, and what may have been sent is not left out.
    Progress(Progress),
    /// The run of an accepted firing went on.
    Run(RunProgress),
    /// A person wants a firing that was over to be tried again. The ledger refuses it if it is not over.
    Reopened {
        /// The firing.
        firing_id: FiringId,
        /// When.
        at: Timestamp,
    },
    /// Nominal times of an entry from here on are left out.
    Paused {
        /// The entry.
        entry: EntryName,
        /// From when.
        at: Timestamp,
        /// Why, in a person's words.
        note: Option<String>,
    },
    /// Nominal times of an entry from here on are carried out again.
    Resumed {
        /// The entry.
        entry: EntryName,
        /// From when.
        at: Timestamp,
    },
    /// This is how a backfill stands.
    Backfill(Box<Backfill>),
    /// Runs of an entry have failed so often in a row.
    Failures {
        /// The entry.
        entry: EntryName,
        /// How often.
        count: u32,
    },
    /// A factory was seen to take, or not to take, our request id as the run's.
    Learned {
        /// [`Factory::key`].
        factory: String,
        /// Whether every answer so far used our id.
        takes_our_id: bool,
    },
    /// A request was carried out or refused.
    Answered {
        /// The request. It need not have been in the ledger before.
        request: Box<Request>,
        /// What it led to: a firing's id, or why not.
        answer: Answer,
        /// When.
        at: Timestamp,
    },
    /// Whether the daemon stopped with nothing under way.
    CleanStop(bool),
    /// How it stands with the daemon.
    Sign(Box<SignOfLife>),
}

impl Record {
    /// The firing that the ledger may refuse with this record.
    fn guarded(&self) -> Option<FiringId> {
        match self {
            Self::Planned(intent) | Self::Stillborn(intent, _) => Some(intent.firing_id),
            Self::Reopened { firing_id, .. } => Some(*firing_id),
            _ => None,
        }
    }
}

/// What came of a write.
#[derive(Debug, Default, Clone)]
pub struct Written {
    /// What was refused, and must not be sent: planned firings of an entry and a nominal time of which the ledger has a
    /// record, those of a backfill where a run was started already, or may be, and firings that cannot be reopened since
    /// they are not over.
    pub refused: HashSet<FiringId>,
    /// The rows of nominal times that were left out, by batch.
    pub left_out: HashMap<u64, Vec<Skips>>,
}

/// A firing, as it was last recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// Its intent.
    pub intent: Arc<Intent>,
    /// Where it stands.
    pub state: State,
    /// Why.
    pub reason: Option<Reason>,
    /// Attempts made.
    pub attempts: u32,
    /// Attempts that count against `max_attempts`.
    pub counted: u32,
    /// When it goes on by itself.
    pub next_at: Option<Timestamp>,
    /// When its first attempt was sent.
    pub first_sent_at: Option<Timestamp>,
    /// When a person last wanted it tried again.
    pub reopened_at: Option<Timestamp>,
    /// Whether the answer to any of its attempts was lost.
    pub ever_unknown: bool,
}

/// From when until when an entry is paused. A nominal time at the end is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// From when.
    pub from: Timestamp,
    /// Until when; `None` while it lasts.
    pub until: Option<Timestamp>,
}

impl Pause {
    /// Whether it leaves out this nominal time.
    #[must_use]
    pub fn covers(&self, nominal: Nominal) -> bool {
        let at = nominal.timestamp();
        at >= self.from && self.until.is_none_or(|until| at < until)
    }
}

/// Changes and the events that announce them, in one transaction.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Identifies the batch to whoever waits for its commit.
    pub id: u64,
    /// The changes, in order.
    pub records: Vec<Record>,
    /// The facts to announce once they are durable.
    pub events: Vec<Event>,
}

impl Batch {
    /// Whether somebody waits for its commit: it makes intents, a schedule or an answer durable.
    #[must_use]
    pub fn arms(&self) -> bool {
        self.records.iter().any(|record| {
            matches!(
                record,
                Record::Planned(_) | Record::Loaded(_) | Record::Reopened { .. } | Record::Answered { .. }
            )
        })
    }

    /// The facts that are to be announced now that it is written so: those of what was refused are none.
    pub fn announced<'a>(&'a self, written: &'a Written) -> impl Iterator<Item = Cow<'a, Event>> {
        // Another record, of this batch or another, may be about a firing of the same id, and stand.
        let own = self.records.iter().filter_map(Record::guarded);
        let refused: HashSet<String> =
            own.filter(|firing| written.refused.contains(firing)).map(|firing| firing.to_string()).collect();
        let is_refused =
            move |event: &Event| event.fields.firing_id.as_ref().is_some_and(|it| refused.contains(it));
        let left_out = written.left_out.get(&self.id).into_iter().flatten();
        let events = self.events.iter().filter(move |event| !is_refused(event)).map(Cow::Borrowed);
        events.chain(left_out.map(|skips| Cow::Owned(skips.event())))
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| {
            let all: Vec<_> = Self::ALL.iter().map(|state| state.as_str()).collect();
            format!("'{text}' is not a state; the states are {}", all.join(", "))
        })
    }
}
