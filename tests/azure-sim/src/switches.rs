//! The switches: what the stand-in expects, and how it misbehaves. All can be changed while it runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::route::{Operation, Place};

/// What the stand-in expects, and how it misbehaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Switches {
    /// The only client that is known.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// The only tenant; empty: any.
    pub tenant: String,
    /// How long tokens are good for.
    pub token_lifetime_secs: u64,
    /// The `refresh_in` of tokens, if they have one.
    pub token_refresh_in: Option<u64>,
    /// How the token endpoint fails.
    pub token_endpoint_down: TokenEndpointDown,
    /// How long the token endpoint takes.
    pub token_delay_ms: u64,
    /// The token endpoint refuses everybody with this error number.
    pub aadsts: Option<u32>,
    /// The ids of runs.
    pub run_id_mode: RunIdMode,
    /// What a second createRun with a known request id gets.
    pub repeated_id: RepeatedId,
    /// The pipelines that exist, with the types of their parameters; `None`: any.
    pub pipelines: Option<BTreeMap<String, BTreeMap<String, PipelineParameter>>>,
    /// The factories that exist, and with them their groups and subscriptions; `None`: any.
    pub factories: Option<Vec<Place>>,
    /// How long createRun takes, after the run was made.
    pub create_run_delay_ms: u64,
    /// Faults, the first that fits is used.
    pub faults: Vec<Fault>,
    /// Faults by chance, for what no other fault fits.
    pub mix: Option<Mix>,
    /// How long after its start a run is visible to GET by id.
    pub get_visible_after_ms: u64,
    /// How long after its start a run is visible to the query.
    pub query_visible_after_ms: u64,
    /// How runs go on that are started from now on, the first that fits; the others stay queued.
    pub ends: Vec<Ends>,
    /// How long a run that is cancelled takes to end; `None`: it does not.
    pub cancel_takes_ms: Option<u64>,
    /// Throttling of createRun.
    pub bucket: Option<Bucket>,
    /// The actions that the caller may take, as ARM lists them; `None`: the caller may not ask. They are
    /// told, and bind nobody.
    pub actions: Option<Vec<String>>,
    /// Whether the values of parameters are hidden in answers.
    pub redact_parameters: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            client_id: "6731de76-14a6-49ae-97bc-6eba6914391e".to_owned(),
            client_secret: "secret".to_owned(),
            tenant: String::new(),
            token_lifetime_secs: 3_599,
            token_refresh_in: None,
            token_endpoint_down: TokenEndpointDown::None,
            token_delay_ms: 0,
            aadsts: None,
            run_id_mode: RunIdMode::Ours,
            repeated_id: RepeatedId::SameRun,
            pipelines: None,
            factories: Some(vec![Place::default()]),
            create_run_delay_ms: 0,
            faults: Vec::new(),
            mix: None,
            get_visible_after_ms: 0,
            query_visible_after_ms: 0,
            ends: Vec::new(),
            cancel_takes_ms: None,
            bucket: None,
            actions: None,
            redact_parameters: false,
        }
    }
}

/// How the token endpoint fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenEndpointDown {
    /// It works.
    None,
    /// It answers with this status.
    Status(u16),
    /// It cuts the connection.
    Reset,
    /// It never answers.
    Hang,
}

/// The ids of runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunIdMode {
    /// The caller's request id, as in all recorded exchanges.
    Ours,
    /// A fresh one.
    Own,
    /// Always this one.
    Fixed(String),
}

/// What a second createRun with a known request id gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatedId {
    /// The run that the first one made.
    SameRun,
    /// A second run, with an id of its own.
    NewRun,
    /// 409.
    Conflict,
}

/// A parameter that a pipeline declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineParameter {
    /// String, Int, Float, Bool, Array, Object or `SecureString`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A fault.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// What it happens to.
    pub operation: Operation,
    /// Only for this pipeline.
    #[serde(default)]
    pub pipeline: Option<String>,
    /// How many times; `None`: always.
    #[serde(default)]
    pub times: Option<u32>,
    /// How many are spared first.
    #[serde(default)]
    pub after: u32,
    /// What happens.
    pub effect: Effect,
}

impl Fault {
    /// A fault that always happens to an operation.
    #[must_use]
    pub fn always(operation: Operation, effect: Effect) -> Self {
        Self { operation, pipeline: None, times: None, after: 0, effect }
    }

    /// The same, only so many times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The same, only for this pipeline.
    #[must_use]
    pub fn of(self, pipeline: &str) -> Self {
        Self { pipeline: Some(pipeline.to_owned()), ..self }
    }
}

/// Faults by chance: each request is drawn for, in the order in which they arrive. The same seed draws the
/// same again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mix {
    /// What they happen to.
    pub operation: Operation,
    /// How many of a hundred requests they happen to.
    pub percent: u64,
    /// One of these happens, each as likely as the others.
    pub effects: Vec<Effect>,
    /// Where the next draw begins; it moves on with each.
    pub seed: u64,
    /// How often it was drawn.
    #[serde(default)]
    pub drawn: u64,
}

impl Mix {
    /// The next request's fate.
    pub(crate) fn draw(&mut self) -> Option<Effect> {
        let happens = self.next() % 100 < self.percent;
        let which = self.next();
        self.drawn += 1;
        let index = usize::try_from(which % u64::try_from(self.effects.len()).ok()?.max(1)).ok()?;
        self.effects.get(index).filter(|_| happens).cloned()
    }

    /// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
    fn next(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.seed;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// How runs end by themselves. They are in progress after a quarter of their time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ends {
    /// Only those of this pipeline.
    #[serde(default)]
    pub pipeline: Option<String>,
    /// How many of them, in the order in which they are started; `None`: all.
    #[serde(default)]
    pub times: Option<u32>,
    /// After so long.
    pub after_ms: u64,
    /// Data Factory's word for it.
    pub status: String,
    /// What is said about it.
    #[serde(default)]
    pub message: String,
}

impl Ends {
    /// All runs succeed after so long.
    #[must_use]
    pub fn after(after_ms: u64) -> Self {
        Self { pipeline: None, times: None, after_ms, status: "Succeeded".to_owned(), message: String::new() }
    }

    /// The same, with this status and message.
    #[must_use]
    pub fn with(self, status: &str, message: &str) -> Self {
        Self { status: status.to_owned(), message: message.to_owned(), ..self }
    }

    /// The same, only for so many runs that are started next.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The same, only for this pipeline.
    #[must_use]
    pub fn of(self, pipeline: &str) -> Self {
        Self { pipeline: Some(pipeline.to_owned()), ..self }
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// An error answer.
    Status {
        /// Its status.
        status: u16,
        /// ARM's error code.
        code: String,
        /// Its message.
        message: String,
        /// The header, to the letter.
        #[serde(default)]
        retry_after: Option<String>,
        /// Another body than ARM's.
        #[serde(default)]
        body: Option<String>,
        /// Whether the work is done all the same.
        #[serde(default)]
        commit: bool,
    },
    /// The connection is cut, and nothing was done.
    ResetBefore,
    /// The work is done, and the connection is cut.
    ResetAfter,
    /// Never an answer.
    Hang {
        /// Whether the work is done.
        commit: bool,
    },
    /// An answer that comes late.
    Slow {
        /// How late.
        ms: u64,
        /// Whether the work is done before or after the wait.
        commit_first: bool,
    },
    /// 200, with this text as the run's id.
    RunId(String),
    /// 200, with this body.
    Body(String),
}

impl Effect {
    /// An error answer in ARM's shape; nothing is done.
    #[must_use]
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::Status {
            status,
            code: code.to_owned(),
            message: message.to_owned(),
            retry_after: None,
            body: None,
            commit: false,
        }
    }

    /// A 429 with this `Retry-After`.
    #[must_use]
    pub fn throttled(retry_after: &str) -> Self {
        Self::Status {
            status: 429,
            code: "SubscriptionRequestsThrottled".to_owned(),
            message: "Number of write requests for subscription exceeded the limit.".to_owned(),
            retry_after: Some(retry_after.to_owned()),
            body: None,
            commit: false,
        }
    }
}

/// Throttling of createRun: a token bucket for each subscription (ARM limits page).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// How many calls it holds.
    pub capacity: f64,
    /// How many come back each second.
    pub refill_per_sec: f64,
}
