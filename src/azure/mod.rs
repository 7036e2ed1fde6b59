//! The port to Azure: the shared token, createRun, and the look for a run.

mod assertion;
mod authorities;
mod credential;
mod entra;
pub mod follow;
mod http;
pub mod inspect;
pub mod look;
pub mod outcome;
mod proxy;
mod token;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::clock::{Clock, Now};
use crate::config::{Azure, Endpoint, RecoverFrom};
use crate::ids::{Factory, FiringId, PipelineName, RunId};

pub use authorities::CaFileError;
pub use credential::{CredentialError, Environment};
pub use http::HttpError;
pub use proxy::ProxyError;
pub use token::{Sink, TokenKeeper, TokenStatus};

use http::{Http, Target, Verb};
use look::{FoundRun, Look, Searched, Unanswered, classify_look, classify_page, clocks_agree, query_body};
use outcome::{Answer, Outcome, TransportError, classify};

/// The version of Data Factory's REST interface.
const API_VERSION: (&str, &str) = ("api-version", "2018-06-01");
/// Addresses that are kept; Data Factory allows 5,000 pipelines in a factory (service limits page).
const KNOWN_PIPELINES: usize = 10_000;
/// How long a look, or one page of a query, may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// How long ARM may take to say that it is there.
const KNOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// Pages of one query. Those of 100 runs are usual; what has more in such a window is not read to the end, which is
/// no answer.
pub const MOST_PAGES: u32 = 200;
/// How long before the earliest moment of the search a run may have been updated and be shown all the same: the
/// clocks of this host and of the service differ.
pub const SKEW: Duration = Duration::from_secs(600);
/// How long after now the window of a query ends.
const AHEAD: Duration = Duration::from_secs(3_600);

/// Why Azure cannot be called at all.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// An address is not usable.
    #[error("{0}")]
    Url(String),
    /// HTTP cannot be set up.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// How an attempt went.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempted {
    /// Just before the request could leave, connecting included; the last moment at which it can have left is
    /// `answered_at`.
    pub sent_at: Now,
    /// When its end was known.
    pub answered_at: Now,
    /// How it ended.
    pub outcome: Outcome,
    /// Which token it carried.
    pub token_generation: u64,
}

/// A createRun call.
#[derive(Debug, Clone, Copy)]
pub struct CreateRun<'a> {
    /// The factory.
    pub factory: &'a Factory,
    /// The pipeline.
    pub pipeline: &'a PipelineName,
    /// The request id, which is the firing's.
    pub request_id: FiringId,
    /// The parameters, as a JSON object.
    pub body: &'a str,
    /// The run that it recovers, and where it goes on, if it recovers one.
    pub recovers: Option<(RunId, &'a RecoverFrom)>,
    /// How long the call may take.
    pub timeout: Duration,
}

/// Calls Azure. Clones share the token and the connections.
#[derive(Debug, Clone)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: Http,
    resource_manager: Endpoint,
    token: TokenKeeper,
    clock: Arc<dyn Clock>,
    /// The addresses of createRun, made once for each pipeline.
    pipelines: Mutex<HashMap<(Factory, PipelineName), Target>>,
}

impl Client {
    /// A client for these settings. It makes no call yet.
    ///
    /// # Errors
    /// [`ClientError`] when an address, the extra certificate authorities, the proxy that the environment names, or
    /// TLS cannot be used.
    pub fn new(
        settings: &Azure,
        clock: Arc<dyn Clock>,
        environment: Environment,
        announce: Sink,
    ) -> Result<Self, ClientError> {
        let http = Http::new(settings.ca_file.as_deref(), &environment)?;
        Target::new(&settings.resource_manager, &[], &[]).map_err(ClientError::Url)?;
        let token = TokenKeeper::new(http.clone(), settings, Arc::clone(&clock), environment, announce)?;
        let resource_manager = settings.resource_manager.clone();
        let pipelines = Mutex::default();
        Ok(Self(Arc::new(Inner { http, resource_manager, token, clock, pipelines })))
    }

    /// The shared token.
    #[must_use]
    pub fn token(&self) -> &TokenKeeper {
        &self.0.token
    }

    /// Calls createRun, once; unless `stopping` becomes true before the request can leave, while it waits for a token.
    pub async fn create_run(&self, call: CreateRun<'_>, mut stopping: watch::Receiver<bool>) -> Attempted {
        let clock = &self.0.clock;
        let unsent = |outcome| {
            let now = clock.now();
            Attempted { sent_at: now, answered_at: now, outcome, token_generation: 0 }
        };
        let token = tokio::select! {
            // Also where both are true: this is the last look before the request is made.
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return unsent(Outcome::Withheld),
            token = self.0.token.get() => match token {
                Ok(token) => token,
                Err(detail) => {
                    let refused = self.0.token.was_refused();
                    return unsent(Outcome::NoToken { detail, refused });
                }
            },
        };
        let target = match call.recovers {
            Some((run, from)) => self.recovery_target(&call, run, from),
            None => self.create_run_target(call.factory, call.pipeline),
        };
        let sent_at = clock.now();
        let result = match target {
            Ok(target) => {
                let (body, id) = (Verb::Post(call.body.to_owned()), Some(call.request_id));
                self.0.http.call(&target, body, &token.bearer, id, call.timeout).await
            }
            Err(detail) => Err(TransportError::NotSent(detail)),
        };
        let answered_at = clock.now();
        let outcome = classify(&result, answered_at.wall);
        Attempted { sent_at, answered_at, outcome, token_generation: token.generation }
    }

    /// Looks for the run whose id would be this firing's.
    pub async fn look(&self, factory: &Factory, firing: FiringId) -> Look {
        let token = match self.0.token.get().await {
            Ok(token) => token,
            Err(error_message) => return Look::NoAnswer(Unanswered::because(error_message)),
        };
        let id = firing.to_string();
        let look = match self.target(factory, &["pipelineruns", &id]) {
            Ok(target) => {
                let result = self.0.http.call(&target, Verb::Get, &token.bearer, None, LOOK_TIMEOUT).await;
                classify_look(&result, self.0.clock.now().wall)
            }
            Err(error_message) => Look::NoAnswer(Unanswered::because(error_message)),
        };
        if let Look::NoAnswer(unanswered) = &look {
            self.reject_if_unauthorized(unanswered, token.generation);
        }
        look
    }

    /// Searches for all runs of this pipeline that were updated since `since`, less [`SKEW`].
    pub async fn search(&self, factory: &Factory, pipeline: &PipelineName, since: Timestamp) -> Searched {
        match self.pages(factory, pipeline, since).await {
            Ok(runs) => Searched::Runs(runs),
            Err(unanswered) => Searched::NoAnswer(unanswered),
        }
    }

    async fn pages(
        &self,
        factory: &Factory,
        pipeline: &PipelineName,
        since: Timestamp,
    ) -> Result<Vec<FoundRun>, Unanswered> {
        let target = self.target(factory, &["queryPipelineRuns"]).map_err(Unanswered::because)?;
        let now = self.0.clock.now().wall;
        let after = since.checked_sub(SKEW).unwrap_or(since);
        let before = now.checked_add(AHEAD).unwrap_or(now);
        let (mut runs, mut next) = (Vec::new(), None);
        for _ in 0..MOST_PAGES {
            let token = self.0.token.get().await.map_err(Unanswered::because)?;
            let body = query_body(Some(pipeline), false, (after, before), next.as_deref());
            let body = Verb::Post(body);
            let result = self.0.http.call(&target, body, &token.bearer, None, LOOK_TIMEOUT).await;
            let answered_at = self.0.clock.now().wall;
            let (page, rest) = classify_page(&result, answered_at)
                .inspect_err(|unanswered| self.reject_if_unauthorized(unanswered, token.generation))?;
            clocks_agree(&result, answered_at)?;
            runs.extend(page);
            next = rest;
            if next.is_none() {
                return Ok(runs);
            }
        }
        Err(Unanswered::because(format!("the query shows more than {MOST_PAGES} pages of runs")))
    }

    fn reject_if_unauthorized(&self, unanswered: &Unanswered, generation: u64) {
        if unanswered.refusal.http_status == Some(401) {
            self.0.token.reject(generation);
        }
    }

    /// Opens a connection ahead of its use.
    pub async fn warm(&self) {
        // Nothing depends on it: the call that follows reports what is wrong.
        let _ = self.knock().await;
    }

    /// Asks for what ARM tells everybody, without a token.
    async fn knock(&self) -> Result<Answer, TransportError> {
        let version = [("api-version", "2020-06-01")];
        let target = Target::new(&self.0.resource_manager, &["metadata", "endpoints"], &version)
            .map_err(TransportError::NotSent)?;
        self.0.http.get(&target, KNOCK_TIMEOUT).await
    }

    fn create_run_target(&self, factory: &Factory, pipeline: &PipelineName) -> Result<Target, String> {
        let key = (factory.clone(), pipeline.clone());
        // A panic while it was held cannot leave it half changed.
        let mut known = self.0.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.get(&key) {
            return Ok(target.clone());
        }
        let target = self.target(factory, &["pipelines", pipeline.as_str(), "createRun"])?;
        if known.len() >= KNOWN_PIPELINES {
            known.clear();
        }
        known.insert(key, target.clone());
        Ok(target)
    }

    /// The address of a createRun that recovers a run (REST reference, "Pipelines - Create Run": the parameters are
    /// those of the run that is referred to).
    fn recovery_target(
        &self,
        call: &CreateRun<'_>,
        run: RunId,
        from: &RecoverFrom,
    ) -> Result<Target, String> {
        let run = run.to_string();
        let mut query = vec![API_VERSION, ("referencePipelineRunId", &run), ("isRecovery", "true")];
        match from {
            RecoverFrom::Failure => query.push(("startFromFailure", "true")),
            RecoverFrom::Start => {}
            RecoverFrom::Activity(name) => query.push(("startActivityName", name)),
        }
        let rest = ["pipelines", call.pipeline.as_str(), "createRun"];
        let path = [&factory_path(call.factory)[..], &rest].concat();
        Target::new(&self.0.resource_manager, &path, &query)
    }

    fn target(&self, factory: &Factory, rest: &[&str]) -> Result<Target, String> {
        let path = [&factory_path(factory), rest].concat();
        Target::new(&self.0.resource_manager, &path, &[API_VERSION])
    }
}

/// The segments of a factory's path.
fn factory_path(factory: &Factory) -> [&str; 8] {
    [
        "subscriptions",
        factory.subscription.as_str(),
        "resourceGroups",
        factory.resource_group.as_str(),
        "providers",
        "Microsoft.DataFactory",
        "factories",
        factory.name.as_str(),
    ]
}
