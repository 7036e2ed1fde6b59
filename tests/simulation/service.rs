//! A model of Data Factory: runs, how it names them, what it does with an id that it knows, and what it
//! shows when. It answers with status and bytes, as the wire does; what they mean is the program's to say.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use adf_cron::azure::look::query_body;
use adf_cron::azure::outcome::Answer;
use adf_cron::clock::Now;
use adf_cron::ids::{FiringId, PipelineName, RunId};
use adf_cron::ledger::Intent;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::dice::Dice;

/// How a factory names runs, and what a repeated request id gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    /// The caller's; the same run again.
    Same,
    /// The caller's; a second run, under an id of its own.
    Second,
    /// The caller's; 409.
    Conflict,
    /// Its own, always.
    Own,
}

/// The factories and their ways.
pub(crate) const FACTORIES: [(&str, Ids); 4] = [
    ("adf-same", Ids::Same),
    ("adf-second", Ids::Second),
    ("adf-conflict", Ids::Conflict),
    ("adf-own", Ids::Own),
];

pub(crate) fn ids_of(factory: &str) -> Ids {
    FACTORIES.iter().find(|(name, _)| *name == factory).unwrap().1
}

/// A run, and what only the model knows: for which firing it was started.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    id: RunId,
    /// The firing; `None` for one that a trigger started.
    pub(crate) of: Option<FiringId>,
    factory: String,
    pipeline: String,
    body: Map<String, Value>,
    at: Now,
    /// When GET shows it, and when the query lists it.
    shown: Duration,
    listed: Duration,
    /// Whether it fails in the end.
    pub(crate) fails: bool,
    /// When it was cancelled.
    pub(crate) cancelled: Option<Now>,
}

impl Run {
    /// Whether nobody could tell it from a run of this firing.
    pub(crate) fn could_be(&self, intent: &Intent) -> bool {
        let sent: Map<String, Value> = serde_json::from_str(intent.body.expose()).unwrap();
        self.factory == intent.factory.name.as_str()
            && self.pipeline == intent.pipeline.as_str()
            && sent.iter().all(|(name, value)| self.body.get(name) == Some(value))
    }

    fn status(&self, now: Now) -> &'static str {
        match self.cancelled {
            Some(_) => "Cancelled",
            None if self.is_over(now) && self.fails => "Failed",
            None if self.is_over(now) => "Succeeded",
            None => "InProgress",
        }
    }

    pub(crate) fn is_over(&self, now: Now) -> bool {
        self.cancelled.is_some() || now.boot - self.at.boot > LASTS
    }

    fn updated(&self, now: Now) -> Timestamp {
        self.cancelled.map_or_else(|| (self.at.wall + LASTS).min(now.wall), |at| at.wall)
    }

    /// As the service describes it: every value as text, those of a secure parameter hidden, and those that the
    /// pipeline does not declare left out.
    fn described(&self, now: Now) -> Value {
        let text = |name: &str, value: &Value| match value {
            _ if name == "secret" => "**********".to_owned(),
            Value::String(text) => text.clone(),
            Value::Bool(true) => "True".to_owned(),
            other => other.to_string(),
        };
        let declared = self.body.iter().filter(|(name, _)| *name != "undeclared");
        let mut parameters: BTreeMap<&str, String> =
            declared.map(|(name, value)| (name.as_str(), text(name, value))).collect();
        parameters.entry("region").or_insert_with(|| "emea".to_owned());
        let by = if self.of.is_some() { "Manual" } else { "ScheduleTrigger" };
        json!({
            "runId": self.id.to_string(),
            "pipelineName": self.pipeline,
            "parameters": parameters,
            "invokedBy": { "id": "0", "name": by, "invokedByType": by },
            "runStart": self.at.wall.to_string(),
            "lastUpdated": self.updated(now).to_string(),
            "status": self.status(now),
        })
    }
}

/// One createRun call on its way.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// What is sent, and for whom.
    pub(crate) intent: std::sync::Arc<Intent>,
    /// The request id that it carries.
    pub(crate) id: FiringId,
    /// How long after the call's arrival its run becomes visible to GET, and to the query.
    pub(crate) hidden_for: (Duration, Duration),
}

/// How long a run lasts.
const LASTS: Duration = Duration::from_secs(60);
/// Runs of one page of the query.
const PAGE: usize = 3;
/// The same where all runs are asked for.
const FOLLOWED_PAGE: usize = 40;

/// The service.
#[derive(Debug, Default)]
pub(crate) struct Service {
    pub(crate) runs: HashMap<RunId, Run>,
    /// The runs that each firing has had.
    runs_of: HashMap<FiringId, Vec<RunId>>,
    /// The runs of each factory, in order.
    runs_at: HashMap<String, Vec<RunId>>,
    /// The runs of each pipeline of each factory, in order.
    runs_in: HashMap<(String, String), Vec<RunId>>,
}

/// A random run id.
pub(crate) fn fresh(dice: &mut Dice) -> FiringId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&dice.next().to_le_bytes());
    bytes[8..].copy_from_slice(&dice.next().to_le_bytes());
    FiringId::from_random(bytes)
}

pub(crate) fn answer(status: u16, body: String) -> Answer {
    Answer { status, body: body.into_bytes(), request_id: Some("r-1".to_owned()), ..Answer::default() }
}

pub(crate) fn error(status: u16, code: &str) -> Answer {
    answer(status, format!(r#"{{"error":{{"code":"{code}","message":"the model says {code}"}}}}"#))
}

pub(crate) fn created(run: RunId) -> Answer {
    answer(200, format!(r#"{{"runId":"{run}"}}"#))
}

impl Service {
    /// Carries a createRun call out; returns the answer, and the run if it started one.
    pub(crate) fn create(&mut self, post: &Post, dice: &mut Dice, now: Now) -> (Answer, Option<RunId>) {
        let ids = ids_of(post.intent.factory.name.as_str());
        let wanted = RunId::from(post.id);
        let run = match ids {
            Ids::Own => RunId::from(fresh(dice)),
            _ if !self.runs.contains_key(&wanted) => wanted,
            Ids::Same => return (created(wanted), None),
            Ids::Conflict => return (error(409, "RunIdConflict"), None),
            Ids::Second => RunId::from(fresh(dice)),
        };
        let fails = dice.one_in(4);
        self.start(run, post, Some(post.intent.firing_id), fails, now);
        if dice.one_in(20) {
            // A trigger starts the same.
            self.start(RunId::from(fresh(dice)), post, None, false, now);
        }
        (created(run), Some(run))
    }

    fn start(&mut self, id: RunId, post: &Post, of: Option<FiringId>, fails: bool, now: Now) {
        let intent = &post.intent;
        let place = (intent.factory.name.to_string(), intent.pipeline.to_string());
        let run = Run {
            id,
            of,
            factory: place.0.clone(),
            pipeline: place.1.clone(),
            body: serde_json::from_str(intent.body.expose()).unwrap(),
            at: now,
            shown: now.boot + post.hidden_for.0,
            listed: now.boot + post.hidden_for.1,
            fails,
            cancelled: None,
        };
        self.runs_at.entry(run.factory.clone()).or_default().push(id);
        self.runs.insert(id, run);
        self.runs_in.entry(place).or_default().push(id);
        if let Some(firing) = of {
            self.runs_of.entry(firing).or_default().push(id);
        }
    }

    /// `GET pipelineruns/{id}`.
    pub(crate) fn show(&self, factory: &str, id: RunId, now: Now) -> Answer {
        let run = self.runs.get(&id);
        match run.filter(|run| run.shown <= now.boot && run.factory == factory) {
            Some(run) => answer(200, run.described(now).to_string()),
            None => error(404, "ReferencedPipelineRunNotFound"),
        }
    }

    /// The pages of `queryPipelineRuns` with all runs of a factory that were updated in a window, or those of a
    /// pipeline that are not over.
    pub(crate) fn updated(
        &self,
        factory: &str,
        active_of: Option<&PipelineName>,
        window: (Timestamp, Timestamp),
        now: Now,
    ) -> Vec<Answer> {
        let runs = self.runs_at.get(factory).into_iter().flatten().rev().map(|id| &self.runs[id]);
        let (after, before) = window;
        let after = if active_of.is_some() { now.wall - LASTS - LASTS } else { after };
        let runs = runs.take_while(|run| run.at.wall + LASTS >= after);
        let wanted =
            |run: &&Run| active_of.is_none_or(|name| run.pipeline == name.as_str() && !run.is_over(now));
        let updated: Vec<&Run> = runs
            .filter(wanted)
            .filter(|run| run.listed <= now.boot && (after..before).contains(&run.updated(now)))
            .collect();
        let pages = updated.len().div_ceil(FOLLOWED_PAGE).max(1);
        let page = |number: usize| {
            let shown = updated.iter().skip(number * FOLLOWED_PAGE).take(FOLLOWED_PAGE);
            let mut page = json!({ "value": shown.map(|run| run.described(now)).collect::<Vec<_>>() });
            if number + 1 < pages {
                page["continuationToken"] = json!((number + 1).to_string());
            }
            answer(200, page.to_string())
        };
        (0..pages).map(page).collect()
    }

    /// Cancels a run.
    pub(crate) fn cancel(&mut self, id: RunId, now: Now) -> Answer {
        match self.runs.get_mut(&id) {
            None => error(400, "ReferencedPipelineRunNotFound"),
            Some(run) if run.is_over(now) => error(400, "PipelineRunNotRunning"),
            Some(run) => {
                run.cancelled = Some(now);
                answer(200, String::new())
            }
        }
    }

    /// One page of `queryPipelineRuns`.
    fn query(&self, factory: &str, body: &str, now: Now) -> Answer {
        let asked: Value = serde_json::from_str(body).unwrap();
        let time = |name: &str| asked[name].as_str().unwrap().parse::<Timestamp>().unwrap();
        let window = time("lastUpdatedAfter")..time("lastUpdatedBefore");
        let filter = &asked["filters"][0];
        assert_eq!((&filter["operand"], &filter["operator"]), (&json!("PipelineName"), &json!("Equals")));
        let pipeline = filter["values"][0].as_str().unwrap();
        let place = (factory.to_owned(), pipeline.to_owned());
        let runs = self.runs_in.get(&place).into_iter().flatten().map(|id| &self.runs[id]);
        let listed: Vec<&Run> =
            runs.filter(|run| run.listed <= now.boot && window.contains(&run.updated(now))).collect();
        let from = asked["continuationToken"].as_str().map_or(0, |token| token.parse::<usize>().unwrap());
        let until = listed.len().min(from + PAGE);
        let value: Vec<Value> = listed[from..until].iter().map(|run| run.described(now)).collect();
        let mut page = json!({ "value": value });
        if until < listed.len() {
            page["continuationToken"] = json!(until.to_string());
        }
        answer(200, page.to_string())
    }

    /// All pages of the query that the client makes for a firing, in this window.
    pub(crate) fn pages(&self, intent: &Intent, window: (Timestamp, Timestamp), now: Now) -> Vec<Answer> {
        let (mut pages, mut next): (Vec<Answer>, Option<String>) = (Vec::new(), None);
        loop {
            let body = query_body(Some(&intent.pipeline), false, window, next.as_deref());
            let page = self.query(intent.factory.name.as_str(), &body, now);
            let shown: Value = serde_json::from_slice(&page.body).unwrap();
            pages.push(page);
            match shown["continuationToken"].as_str() {
                Some(token) => next = Some(token.to_owned()),
                None => return pages,
            }
        }
    }

    /// The runs of these firings that are not over.
    pub(crate) fn active(&self, firings: impl Iterator<Item = FiringId>, now: Now) -> Vec<RunId> {
        let runs = firings.flat_map(|firing| self.of(firing));
        runs.filter(|run| !self.runs[*run].is_over(now)).copied().collect()
    }

    /// When a run was started, on the clock that never steps.
    pub(crate) fn began(&self, run: RunId) -> Duration {
        self.runs[&run].at.boot
    }

    /// The runs of a firing.
    pub(crate) fn of(&self, firing: FiringId) -> &[RunId] {
        self.runs_of.get(&firing).map_or(&[], Vec::as_slice)
    }
}
