//! What the user said, valid by construction: YAML text in, [`Settings`] or every error at once out.

mod calendar;
mod collect;
mod endpoint;
mod entry;
mod except;
mod keys;
mod load;
mod position;
mod problem;
mod raw;
mod recurrence;
mod shown;
mod value;
mod words;
mod yaml;

#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{EntryName, Factory, FiringId, Nominal, PipelineName};
use crate::retry::RetryPolicy;
use crate::schedule::Calendar;
use crate::template::{Context, Parameters};

pub use collect::{Outside, kind};
pub use endpoint::{Endpoint, TRUST_HOST, is_loopback};
pub use except::{Dates, Holidays, with_holidays};
pub use load::{ledger_hint, load, load_accepted};
pub use problem::{Problem, Problems};
pub use raw::schema;
pub use recurrence::offset_beside_zone;
pub use value::{Moment, duration};
pub use yaml::value;

/// A whole schedule file.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How Entra ID and Data Factory are reached.
    pub azure: Azure,
    /// The ledger's file; `None` means the place that the environment gives (design: `$STATE_DIRECTORY`).
    pub ledger: Option<PathBuf>,
    /// The daemon's own settings.
    pub daemon: Daemon,
    /// All entries, disabled ones included, in the order of the file; names are unique.
    pub entries: Vec<Arc<Entry>>,
    /// What the holiday files say that it names.
    pub holidays: Holidays,
    /// What is valid and hardly meant, where it stands.
    pub doubts: Problems,
}

/// The `azure:` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Azure {
    /// Where tokens come from.
    pub authority: Endpoint,
    /// Where Data Factory is.
    pub resource_manager: Endpoint,
    /// Whom the token is for, as the v1 endpoint's `resource`; v2 appends `/.default` to it.
    pub audience: String,
    /// Where people watch their runs: Data Factory Studio of the cloud.
    pub studio: &'static str,
    /// More certificate authorities to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// The tenant, a GUID or a domain.
    pub tenant_id: String,
    /// The application's (client's) id.
    pub client_id: String,
    /// What proves that we are this application.
    pub credential: Credential,
    /// Which of the two token endpoints is used.
    pub token_endpoint: TokenEndpoint,
}

/// What proves that we are the application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A client secret.
    Secret(SecretSource),
    /// PEM text with a private key and its certificate.
    Certificate(SecretSource),
}

/// Where a secret is read from, at each token request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// `$CREDENTIALS_DIRECTORY/NAME`, else `/etc/adf-cron/NAME`.
    Credential(String),
    /// An environment variable.
    Env(String),
    /// A file.
    File(PathBuf),
}

/// The two generations of Entra ID's token endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TokenEndpoint {
    /// `/oauth2/token` with `resource`.
    #[default]
    V1,
    /// `/oauth2/v2.0/token` with `scope`.
    V2,
}

/// The `daemon:` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// The period of the passes that plan, reconcile and prune.
    pub heartbeat: Duration,
    /// How far ahead firings are planned; at least two heartbeats.
    pub horizon: Duration,
    /// How long in-flight attempts may still take after SIGTERM.
    pub shutdown_grace: Duration,
    /// How long closed firings are kept.
    pub retention: Duration,
    /// How long to wait at start for a synchronised clock.
    pub clock_wait: Duration,
    /// How long a stepped clock must agree with itself before it is believed.
    pub clock_hold: Duration,
    /// The most createRun calls under way at once.
    pub max_in_flight: usize,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(5),
            horizon: Duration::from_secs(15),
            shutdown_grace: Duration::from_secs(30),
            retention: Duration::from_secs(45 * 86_400),
            clock_wait: Duration::from_secs(120),
            clock_hold: Duration::from_secs(60),
            max_in_flight: 64,
        }
    }
}

/// One item under `pipelines:`.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its unique name.
    pub name: EntryName,
    /// The pipeline it starts.
    pub pipeline: PipelineName,
    /// The factory that holds the pipeline.
    pub factory: Factory,
    /// Whether it fires at all.
    pub enabled: bool,
    /// When it fires.
    pub calendar: Arc<Calendar>,
    /// What it passes to the pipeline.
    pub parameters: Arc<Parameters>,
    /// How it is carried out.
    pub policy: Arc<Policy>,
}

impl Entry {
    /// What the entry's templates may ask for in one firing.
    #[must_use]
    pub fn context(&self, firing_id: FiringId, scheduled_time: Nominal, due_time: Timestamp) -> Context<'_> {
        Context {
            entry: &self.name,
            pipeline: &self.pipeline,
            firing_id,
            scheduled_time,
            due_time,
            calendar: &self.calendar,
        }
    }

    /// The same for the scheduled firing of a nominal time.
    #[must_use]
    pub fn scheduled(&self, nominal: Nominal) -> Context<'_> {
        let firing = FiringId::scheduled(&self.factory, &self.name, nominal);
        self.context(firing, nominal, self.calendar.due_time(&self.name, nominal))
    }

    /// An instant in the entry's zone, RFC 3339 with the offset.
    #[must_use]
    pub fn local(&self, at: Timestamp) -> String {
        at.display_with_offset(self.calendar.zone().rules().to_offset(at)).to_string()
    }

    /// Whether the two entries start the same thing in the same way at the same times, so that
    /// firings planned under one stand under the other.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.enabled == other.enabled
            && self.pipeline == other.pipeline
            && self.factory == other.factory
            && self.calendar.same_as(&other.calendar)
            && self.parameters == other.parameters
            && self.policy == other.policy
    }
}

/// How a firing is carried out. It is copied into every intent.
///
/// Keys that a later version adds have their shipped value in the intents of an older one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Higher is sent first when a burst must wait.
    pub priority: i32,
    /// Lateness up to which a firing simply starts.
    pub late_after: Duration,
    /// What becomes of a firing that is later than that.
    pub missed: Missed,
    /// Missed nominal times older than this are skipped in any case.
    pub missed_within: Duration,
    /// The most missed nominal times that `missed: all` starts.
    pub missed_max: u32,
    /// Attempts and their spacing.
    pub retry: RetryPolicy,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How long after the last possible send the service may still make the run visible.
    pub settle: Duration,
    /// What to do when a sent attempt is proved to have started nothing.
    pub on_unknown: OnUnknown,
    /// Whether its run is followed to its end.
    pub follow: bool,
    /// How long after it was accepted its run may take.
    pub run_deadline: Option<Duration>,
    /// What to do when its run takes longer.
    pub on_deadline: OnDeadline,
    /// What becomes of it while others are running.
    pub overlap: Overlap,
    /// Which others.
    pub overlap_scope: OverlapScope,
    /// The most that wait.
    pub max_queued: u32,
    /// How many may run at once, if not one, or with `overlap: allow` as many as there are.
    pub max_active: Option<u32>,
    /// How a run that failed is recovered.
    pub recovery: Option<Recovery>,
    /// After how many runs in a row that failed its entry is paused.
    pub pause_after_failures: Option<u32>,
}

impl Policy {
    /// Whether a firing depends on what else is running.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.overlap != Overlap::Allow || self.max_active.is_some()
    }

    /// Whether its run is followed: where others depend on it in any case.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.follow || self.is_gated() || self.recovery.is_some() || self.pause_after_failures.is_some()
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            priority: 0,
            late_after: Duration::from_secs(60),
            missed: Missed::default(),
            missed_within: Duration::from_secs(86_400),
            missed_max: 100,
            retry: RetryPolicy::default(),
            timeout: Duration::from_secs(90),
            settle: Duration::from_secs(120),
            on_unknown: OnUnknown::default(),
            follow: true,
            run_deadline: None,
            on_deadline: OnDeadline::default(),
            overlap: Overlap::default(),
            overlap_scope: OverlapScope::default(),
            max_queued: 100,
            max_active: None,
            recovery: None,
            pause_after_failures: None,
        }
    }
}

/// What becomes of missed nominal times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// None is started.
    Skip,
    /// Only the newest is started.
    #[default]
    Latest,
    /// All are started, oldest first.
    All,
}

/// What to do when a sent attempt is proved to have started nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// Send it again, with the same id.
    #[default]
    Retry,
    /// Wait for a person.
    Hold,
}

/// What to do when a run takes longer than `run_deadline`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// Say so.
    #[default]
    Alert,
    /// Say so, and cancel the run.
    Cancel,
}

/// What becomes of a firing while others are running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It starts.
    #[default]
    Allow,
    /// It is left out.
    Skip,
    /// It waits, in place of one that waits already.
    QueueOne,
    /// It waits behind those that wait already.
    QueueAll,
    /// What is running is cancelled, and it starts when that has ended.
    CancelRunning,
}

/// Which others count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverlapScope {
    /// Those of the entry.
    #[default]
    Entry,
    /// All runs of the pipeline, whoever started them.
    Pipeline,
}

/// How a run that failed is recovered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// How often.
    pub max: u32,
    /// How long after each failure.
    pub delay: Duration,
    /// Where it goes on.
    pub from: RecoverFrom,
}

impl Default for Recovery {
    fn default() -> Self {
        Self { max: 2, delay: Duration::from_secs(300), from: RecoverFrom::default() }
    }
}

/// Where a run that recovers another goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoverFrom {
    /// At the activities that failed.
    #[default]
    Failure,
    /// At its start.
    Start,
    /// At this activity.
    Activity(String),
}
