//! Following runs: one pass over a factory asks for all runs that were updated since the last one, page by page,
//! and for a few by their ids. What the answers mean is put together in [`Passed`], which is pure.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;

use super::look::{FoundRun, Look, Unanswered, classify_look, classify_page, clocks_agree, query_body};
use super::outcome::{Answer, TransportError, clean, refusal};
use super::{AHEAD, API_VERSION, Client, LOOK_TIMEOUT, MOST_PAGES, SKEW, Target, Verb, factory_path};
use crate::ids::{Factory, FiringId, PipelineName, RunId};

/// Data Factory keeps runs for 45 days (troubleshooting guide).
const LONGEST: Duration = Duration::from_secs(45 * 86_400);

/// Runs that are asked for by their ids at once. A firing is judged by the age of a state that may take fifty of them.
const AT_ONCE: usize = 10;

/// What is to be found out about the runs of a factory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The factory.
    pub factory: Factory,
    /// Tells it from other passes.
    pub id: FiringId,
    /// All runs that were updated since this, less [`SKEW`], if that is wanted.
    pub since: Option<Timestamp>,
    /// How much time its window may span, where all that was updated until now is more than one pass may read.
    pub span: Option<Duration>,
    /// The runs of this pipeline that are not over, whoever started them, if those are wanted instead.
    pub active_of: Option<PipelineName>,
    /// The runs that are asked for by their ids.
    pub one_by_one: Vec<RunId>,
}

impl Pass {
    /// The window of its query, at `now` by this host's clock.
    #[must_use]
    pub fn window(&self, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let before = now.checked_add(AHEAD).unwrap_or(now);
        if self.active_of.is_some() {
            // Whoever runs for long was not updated for long.
            return Some((now.checked_sub(LONGEST).unwrap_or(now), before));
        }
        let since = self.since?.min(now);
        let after = since.checked_sub(SKEW).unwrap_or(since);
        let ends = self.span.and_then(|span| after.checked_add(span).ok());
        Some((after, ends.map_or(before, |ends| ends.min(before))))
    }

    /// The body of a page of its query.
    #[must_use]
    pub fn body(&self, window: (Timestamp, Timestamp), continuation: Option<&str>) -> String {
        query_body(self.active_of.as_ref(), self.active_of.is_some(), window, continuation)
    }
}

/// What was found out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Passed {
    /// The runs that were shown, those of the query first. Their parameters are left out.
    pub runs: Vec<FoundRun>,
    /// Runs that were asked for by their ids and that a factory that answers does not know.
    pub absent: Vec<RunId>,
    /// The first thing that was said instead of an answer to the query.
    pub unlisted: Option<Unanswered>,
    /// Whether that is only that there were more pages than one pass may read.
    pub ran_out: bool,
    /// The same of those asked for by their ids.
    pub unshown: Option<Unanswered>,
    /// Calls that were made.
    pub calls: u32,
}

impl Passed {
    /// Takes in one page of the query; returns where it goes on, if it does.
    pub fn page(&mut self, result: &Result<Answer, TransportError>, now: Timestamp) -> Option<String> {
        self.calls += 1;
        match classify_page(result, now) {
            Ok((runs, next)) => {
                self.runs.extend(runs.into_iter().map(bare));
                next
            }
            Err(unanswered) => {
                self.unlisted = Some(unanswered);
                None
            }
        }
    }

    /// Puts what the query showed together with the answers about single runs.
    fn join(mut self, one_by_one: Self) -> Self {
        self.runs.extend(one_by_one.runs);
        let Self { absent, unshown, .. } = one_by_one;
        Self { absent, unshown, calls: self.calls + one_by_one.calls, ..self }
    }

    /// There are more pages than one pass may read.
    pub fn run_out(&mut self) {
        self.ran_out = true;
        let words = format!("the query shows more than {MOST_PAGES} pages of runs");
        self.unlisted = Some(Unanswered::because(words));
    }

    /// Takes in the answer about one run.
    pub fn one(&mut self, run: RunId, result: &Result<Answer, TransportError>, now: Timestamp) {
        self.calls += 1;
        match classify_look(result, now) {
            Look::Found(found) => self.runs.push(bare(*found)),
            Look::Absent => self.absent.push(run),
            Look::NoAnswer(unanswered) => {
                self.unshown.get_or_insert(unanswered);
            }
        }
    }
}

/// Whoever follows a run does not need what it was given, of which there may be much.
fn bare(run: FoundRun) -> FoundRun {
    FoundRun { parameters: std::collections::BTreeMap::new(), ..run }
}

/// How a call that cancels a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// It is being cancelled.
    Begun,
    /// It had ended already, or the service knows no such run.
    Over,
    /// It goes on, as far as is known.
    NoAnswer(Unanswered),
}

impl Client {
    /// Makes one pass: its answers are as old as its slowest calls, and not as all of them.
    pub async fn pass(&self, pass: &Pass) -> Passed {
        let (mut listed, mut shown) = (Passed::default(), Passed::default());
        tokio::join!(self.list(pass, &mut listed), self.show(pass, &mut shown));
        listed.join(shown)
    }

    /// Asks for runs by their ids.
    async fn show(&self, pass: &Pass, passed: &mut Passed) {
        let ask = |run: RunId| async move {
            let id = run.to_string();
            (run, self.call(pass, &["pipelineruns", &id], Verb::Get).await)
        };
        let mut answers = stream::iter(pass.one_by_one.iter().copied()).map(ask).buffered(AT_ONCE);
        while let Some((run, result)) = answers.next().await {
            passed.one(run, &result, self.0.clock.now().wall);
            if passed.unshown.is_some() {
                // The others can be asked for the next time.
                return;
            }
        }
    }

    /// Asks for all runs of the window, if there is one.
    async fn list(&self, pass: &Pass, passed: &mut Passed) {
        let Some(window) = pass.window(self.0.clock.now().wall) else { return };
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let body = pass.body(window, next.as_deref());
            let result = self.call(pass, &["queryPipelineRuns"], Verb::Post(body)).await;
            let answered_at = self.0.clock.now().wall;
            next = passed.page(&result, answered_at);
            // What is active is asked for over all the time that runs are kept.
            if pass.active_of.is_none()
                && let Err(unanswered) = clocks_agree(&result, answered_at)
            {
                passed.unlisted.get_or_insert(unanswered);
                return;
            }
            if next.is_none() {
                return;
            }
        }
        passed.run_out();
    }

    async fn call(&self, pass: &Pass, path: &[&str], verb: Verb) -> Result<Answer, TransportError> {
        let target = self.target(&pass.factory, path).map_err(TransportError::NotSent)?;
        self.send(&target, verb, LOOK_TIMEOUT).await
    }

    /// Makes a call with the token in hand; one that the service refuses is not used again.
    async fn send(&self, target: &Target, verb: Verb, timeout: Duration) -> Result<Answer, TransportError> {
        let token = self.0.token.get().await.map_err(TransportError::NotSent)?;
        let result = self.0.http.call(target, verb, &token.bearer, None, timeout).await;
        if result.as_ref().is_ok_and(|answer| answer.status == 401) {
            self.0.token.reject(token.generation);
        }
        result
    }

    /// Cancels a run and those that it started.
    pub async fn cancel(&self, factory: &Factory, run: RunId, timeout: Duration) -> Cancelled {
        let id = run.to_string();
        let path = [&factory_path(factory)[..], &["pipelineruns", &id, "cancel"]].concat();
        let query = [API_VERSION, ("isRecursive", "true")];
        let result = match Target::new(&self.0.resource_manager, &path, &query) {
            Ok(target) => self.send(&target, Verb::PostNothing, timeout).await,
            Err(error) => Err(TransportError::NotSent(error)),
        };
        classify_cancel(&result, self.0.clock.now().wall)
    }
}

/// What the end of a call that cancels a run means (recorded exchanges: "cancel", "cancel-unknown-run"; a run that
/// has ended is refused with PipelineRunNotRunning).
#[must_use]
pub fn classify_cancel(result: &Result<Answer, TransportError>, now: Timestamp) -> Cancelled {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => return Cancelled::NoAnswer(Unanswered::because(clean(&error.to_string()))),
    };
    let said = refusal(answer, "the run was not cancelled");
    match (answer.status, said.error_code.as_deref()) {
        (200..=299, _) => Cancelled::Begun,
        (400, Some("PipelineRunNotRunning" | "ReferencedPipelineRunNotFound")) => Cancelled::Over,
        _ => Cancelled::NoAnswer(Unanswered::said(answer, said, now)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use azure_sim::{Effect, Fault, Operation, Sim};

    use super::*;
    use crate::clock::{Clock as _, SystemClock};
    use crate::config::tests::AZURE;
    use crate::ids::{FactoryName, ResourceGroup, SubscriptionId};

    fn answer(status: u16, body: &str) -> Result<Answer, TransportError> {
        Ok(Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() })
    }

    fn pass_over(one_by_one: Vec<RunId>) -> Pass {
        Pass {
            factory: Factory {
                subscription: SubscriptionId::new("00000000-0000-0000-0000-000000000000").unwrap(),
                resource_group: ResourceGroup::new("rg-data").unwrap(),
                name: FactoryName::new("adf-prod").unwrap(),
            },
            id: FiringId::from_random([0; 16]),
            since: None,
            span: None,
            active_of: None,
            one_by_one,
        }
    }

    fn client(sim: &Sim) -> Client {
        sim.set(|switches| switches.client_secret = "canary".to_owned());
        let azure = AZURE.replace("{ credential: client-secret }", "{ env: SECRET }");
        let (url, rest) = (sim.url(), azure.strip_prefix("azure:\n").unwrap());
        let text = format!("azure:\n  authority: {url}\n  resource_manager: {url}\n{rest}pipelines: []\n");
        let settings = crate::config::tests::accepted(&text);
        let secret = Arc::new(|name: &str| (name == "SECRET").then(|| "canary".to_owned()));
        Client::new(&settings.azure, Arc::new(SystemClock), secret, Arc::new(drop)).unwrap()
    }

    /// Fifty runs, as many as a look at a lane asks for.
    fn fifty() -> Vec<RunId> {
        (0..50).map(|n| RunId::from(FiringId::from_random([n; 16]))).collect()
    }

    #[tokio::test]
    async fn fifty_runs_are_asked_for_in_the_time_of_a_few() {
        let sim = Sim::start().unwrap();
        let slow = Effect::Slow { ms: 200, commit_first: true };
        sim.set(|switches| switches.faults = vec![Fault::always(Operation::GetRun, slow)]);
        let clock = SystemClock;
        let begun = clock.now().boot;
        let passed = client(&sim).pass(&pass_over(fifty())).await;
        let took = clock.now().boot - begun;
        assert_eq!((passed.absent, passed.calls), (fifty(), 50), "each is answered, in order");
        assert!(took < Duration::from_secs(5), "a firing is judged by a state of five seconds: {took:?}");
    }

    #[tokio::test]
    async fn the_first_run_that_has_no_answer_ends_the_asking() {
        let sim = Sim::start().unwrap();
        let refused = Effect::error(403, "AuthorizationFailed", "may not read");
        let fault = Fault { after: 3, ..Fault::always(Operation::GetRun, refused) };
        sim.set(|switches| switches.faults = vec![fault]);
        let passed = client(&sim).pass(&pass_over(fifty())).await;
        assert!(passed.unshown.is_some() && passed.absent.len() <= 3, "{passed:?}");
        let asked = sim.requests().iter().filter(|request| request.operation == Operation::GetRun).count();
        assert!(asked <= 3 + AT_ONCE, "{asked}");
    }

    #[test]
    fn a_run_that_has_ended_needs_no_cancelling() {
        let cancelled = |result: &_| classify_cancel(result, Timestamp::UNIX_EPOCH);
        let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        assert_eq!(cancelled(&answer(200, "")), Cancelled::Begun);
        assert_eq!(cancelled(&answer(400, &error("PipelineRunNotRunning"))), Cancelled::Over);
        assert_eq!(cancelled(&answer(400, &error("ReferencedPipelineRunNotFound"))), Cancelled::Over);
        for no in
            [answer(403, ""), answer(429, ""), answer(500, ""), Err(TransportError::Lost("reset".into()))]
        {
            assert!(matches!(cancelled(&no), Cancelled::NoAnswer(_)), "{no:?}");
        }
    }

    #[test]
    fn what_a_pass_is_shown_is_kept_although_a_later_page_fails() {
        let mut passed = Passed::default();
        let run = "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b";
        let page = format!(
            r#"{{"value":[{{"runId":"{run}","pipelineName":"p","status":"Failed","message":"disk full",
            "parameters":{{"a":"1"}},"runStart":"2020-03-18T09:19:20Z","runEnd":"2020-03-18T09:19:50Z",
            "durationInMs":30000}}],"continuationToken":"2"}}"#
        );
        assert_eq!(passed.page(&answer(200, &page), Timestamp::UNIX_EPOCH).as_deref(), Some("2"));
        assert_eq!(passed.page(&answer(500, ""), Timestamp::UNIX_EPOCH), None);
        let found = &passed.runs[0];
        assert_eq!((found.status.as_str(), found.message.as_str()), ("Failed", "disk full"));
        assert_eq!((found.duration_ms, found.parameters.len()), (Some(30_000), 0));
        assert!(passed.unlisted.is_some() && passed.unshown.is_none());
        assert_eq!(passed.calls, 2);
    }

    #[test]
    fn a_window_of_less_time_begins_where_the_whole_one_does_and_ends_before_it() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let pass = |span| Pass {
            since: Some("2026-11-24T06:00:00Z".parse().unwrap()),
            span,
            ..pass_over(Vec::new())
        };
        let ends = |span| {
            let (after, before) = pass(span).window(now).unwrap();
            assert_eq!(after.to_string(), "2026-11-24T05:50:00Z");
            before.to_string()
        };
        assert_eq!(ends(None), "2026-11-24T13:00:00Z");
        assert_eq!(ends(Some(Duration::from_secs(3_600))), "2026-11-24T06:50:00Z");
        assert_eq!(ends(Some(LONGEST)), "2026-11-24T13:00:00Z");
    }
}
