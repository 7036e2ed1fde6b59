//! What Data Factory says about runs: the answers to `GET pipelineruns/{id}` and to the pages of
//! `queryPipelineRuns`, and what counts as absent and what as no answer. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::SKEW;
use super::outcome::{Answer, Refusal, TransportError, clean, http_date, refusal, retry_after};
use crate::ids::{PipelineName, RunId};

/// A run as Data Factory shows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundRun {
    /// The run; `None` when the service shows something that is no run's id.
    pub run_id: Option<RunId>,
    /// The pipeline it is a run of.
    pub pipeline: String,
    /// Its status.
    pub status: String,
    /// Its parameters, defaults included. The service shows values as text, lists and objects as JSON text
    /// (recorded exchange: "TestRunV2"), and secure ones not at all.
    pub parameters: BTreeMap<String, Value>,
    /// Whether a createRun call or a person started it, and no trigger (`invokedBy`).
    pub manual: bool,
    /// When it was accepted, by the service's clock.
    pub started: Option<Timestamp>,
    /// When it ended, by the service's clock.
    pub ended: Option<Timestamp>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// What the service says about how it went.
    pub message: String,
}

/// Whether a run with this status has ended (REST reference: Queued, InProgress, Canceling; Succeeded, Failed,
/// Cancelled). One that nobody knows may go on.
#[must_use]
pub fn is_over(status: &str) -> bool {
    ["Succeeded", "Failed", "Cancelled"].iter().any(|over| over.eq_ignore_ascii_case(status))
}

/// How a look for a run by its id ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Look {
    /// There is such a run.
    Found(Box<FoundRun>),
    /// A factory that answers knows no such run.
    Absent,
    /// That could not be found out.
    NoAnswer(Unanswered),
}

/// How a search for the runs of a pipeline ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Searched {
    /// All runs in the window.
    Runs(Vec<FoundRun>),
    /// They could not be had.
    NoAnswer(Unanswered),
}

/// What was said instead of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unanswered {
    /// The words.
    pub refusal: Refusal,
    /// How long the service asked to wait.
    pub retry_after: Option<Duration>,
}

impl Unanswered {
    /// No answer, for a reason on this host or on the way.
    #[must_use]
    pub fn because(error_message: String) -> Self {
        Self { refusal: Refusal { error_message, ..Refusal::default() }, retry_after: None }
    }

    pub(super) fn said(answer: &Answer, refusal: Refusal, now: Timestamp) -> Self {
        Self { refusal, retry_after: retry_after(answer, now) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PipelineRun {
    run_id: String,
    pipeline_name: String,
    status: Option<String>,
    parameters: Option<BTreeMap<String, Value>>,
    invoked_by: Option<InvokedBy>,
    run_start: Option<String>,
    run_end: Option<String>,
    duration_in_ms: Option<Value>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InvokedBy {
    name: Option<String>,
    invoked_by_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    value: Vec<PipelineRun>,
    continuation_token: Option<String>,
}

impl From<PipelineRun> for FoundRun {
    fn from(run: PipelineRun) -> Self {
        let by = run.invoked_by.and_then(|by| by.invoked_by_type.or(by.name));
        Self {
            run_id: RunId::parse(&run.run_id).ok(),
            pipeline: run.pipeline_name,
            status: run.status.as_deref().map(clean).unwrap_or_default(),
            parameters: run.parameters.unwrap_or_default(),
            // One of which nothing is said may be anybody's.
            manual: by.is_none_or(|by| by.eq_ignore_ascii_case("manual")),
            started: run.run_start.and_then(|at| at.parse().ok()),
            ended: run.run_end.and_then(|at| at.parse().ok()),
            duration_ms: run.duration_in_ms.and_then(|ms| ms.as_u64()),
            message: run.message.map(|message| clean(&message)).unwrap_or_default(),
        }
    }
}

/// What the end of `GET pipelineruns/{id}` means.
#[must_use]
pub fn classify_look(result: &Result<Answer, TransportError>, now: Timestamp) -> Look {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => return Look::NoAnswer(Unanswered::because(clean(&error.to_string()))),
    };
    let said = refusal(answer, "no run is shown");
    match answer.status {
        200 => match serde_json::from_slice::<PipelineRun>(&answer.body).map(FoundRun::from) {
            Ok(run) if run.run_id.is_some() => Look::Found(Box::new(run)),
            _ => Look::NoAnswer(Unanswered::said(answer, said, now)),
        },
        // A missing factory, group or subscription says nothing about its runs.
        404 if !is_about_the_factory(said.error_code.as_deref()) => Look::Absent,
        400 if said.error_code.as_deref() == Some("ReferencedPipelineRunNotFound") => Look::Absent,
        _ => Look::NoAnswer(Unanswered::said(answer, said, now)),
    }
}

fn is_about_the_factory(code: Option<&str>) -> bool {
    matches!(
        code,
        None | Some(
            "ResourceNotFound"
                | "ParentResourceNotFound"
                | "ResourceGroupNotFound"
                | "SubscriptionNotFound"
                | "InvalidResourceType"
                | "InvalidResourceNamespace"
        )
    )
}

/// The body of a query for the runs of one pipeline, or of all, that were updated in a window, with
/// `only_active` without those that have ended (azure.md: the window is required, times are UTC, the continuation token is sent back with the same body).
#[must_use]
pub fn query_body(
    pipeline: Option<&PipelineName>,
    only_active: bool,
    (after, before): (Timestamp, Timestamp),
    continuation: Option<&str>,
) -> String {
    let of =
        |name: &PipelineName| json!({ "operand": "PipelineName", "operator": "Equals", "values": [name] });
    let mut filters: Vec<Value> = pipeline.map(of).into_iter().collect();
    if only_active {
        let values = ["Queued", "InProgress", "Canceling"];
        filters.push(json!({ "operand": "Status", "operator": "In", "values": values }));
    }
    let mut body = json!({
        "lastUpdatedAfter": after.to_string(),
        "lastUpdatedBefore": before.to_string(),
        "filters": filters,
        "orderBy": [{ "orderBy": "RunStart", "order": "ASC" }],
    });
    if let Some(token) = continuation {
        body["continuationToken"] = json!(token);
    }
    body.to_string()
}

/// What the end of one page of `queryPipelineRuns` means: its runs and where it goes on, or no answer.
///
/// # Errors
/// [`Unanswered`] for everything but a 200 that can be read: a list that is not whole proves no absence.
pub fn classify_page(
    result: &Result<Answer, TransportError>,
    now: Timestamp,
) -> Result<(Vec<FoundRun>, Option<String>), Unanswered> {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => return Err(Unanswered::because(clean(&error.to_string()))),
    };
    let said = |words| Unanswered::said(answer, refusal(answer, words), now);
    if answer.status != 200 {
        return Err(said("the query was refused"));
    }
    let page: Page =
        serde_json::from_slice(&answer.body).map_err(|_| said("the answer to the query shows no runs"))?;
    let next = page.continuation_token.filter(|token| !token.is_empty());
    Ok((page.value.into_iter().map(FoundRun::from).collect(), next))
}

/// Whether the clock of this host agrees with that of the service, as far as the answer tells it (`Date`: RFC 9110,
/// section 6.6.1): else a window that begins at a time of this host's may miss what it was meant to hold.
///
/// # Errors
/// [`Unanswered`] where they are apart by more than half of [`SKEW`].
pub fn clocks_agree(result: &Result<Answer, TransportError>, now: Timestamp) -> Result<(), Unanswered> {
    let date = result.as_ref().ok().and_then(|answer| answer.date.as_deref());
    let Some(date) = date.and_then(http_date) else { return Ok(()) };
    let ahead: SignedDuration = now.duration_since(date);
    if ahead.unsigned_abs() <= SKEW / 2 {
        return Ok(());
    }
    let (seconds, whose) =
        (ahead.unsigned_abs().as_secs(), if ahead.is_negative() { "behind" } else { "ahead of" });
    Err(Unanswered::because(format!(
        "this host's clock is {seconds} s {whose} the service's: no search is sure to show the run; set the clock"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b";

    fn answer(status: u16, body: &str) -> Result<Answer, TransportError> {
        Ok(Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() })
    }

    #[test]
    fn only_a_factory_that_answers_can_say_that_a_run_is_absent() {
        let looked = |result: &_| classify_look(result, Timestamp::UNIX_EPOCH);
        let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        let run = format!(r#"{{"runId":"{RUN}","pipelineName":"p","status":"Queued","message":null}}"#);
        assert!(matches!(looked(&answer(200, &run)), Look::Found(found) if found.pipeline == "p"));
        assert_eq!(looked(&answer(404, &error("PipelineRunNotFound"))), Look::Absent);
        assert_eq!(looked(&answer(400, &error("ReferencedPipelineRunNotFound"))), Look::Absent);
        for (status, body) in [
            (404, error("ResourceNotFound")),
            (404, error("ParentResourceNotFound")),
            (404, "<html>".to_owned()),
            (400, error("BadRequest")),
            (401, String::new()),
            (403, error("AuthorizationFailed")),
            (429, String::new()),
            (500, String::new()),
            (200, "{}".to_owned()),
            (200, r#"{"runId":"?","pipelineName":"p"}"#.to_owned()),
        ] {
            assert!(matches!(looked(&answer(status, &body)), Look::NoAnswer(_)), "{status} {body}");
        }
        assert!(matches!(looked(&Err(TransportError::Lost("reset".into()))), Look::NoAnswer(_)));
    }

    #[test]
    fn a_page_of_the_query_shows_its_runs_and_where_it_goes_on() {
        let page = format!(
            r#"{{"value":[{{"runId":"{RUN}","pipelineName":"p","parameters":{{"a":"1"}},
            "invokedBy":{{"id":"0","name":"Manual","invokedByType":"Manual"}},"status":"Queued",
            "runStart":"2020-03-18T09:19:20.36413Z"}},
            {{"runId":"x","pipelineName":"p","invokedBy":{{"name":"Daily","invokedByType":"ScheduleTrigger"}}}}],
            "continuationToken":"next"}}"#
        );
        let (runs, next) = classify_page(&answer(200, &page), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(next.as_deref(), Some("next"));
        assert_eq!(runs[0].run_id, RunId::parse(RUN).ok());
        assert_eq!(runs[0].started.unwrap().to_string(), "2020-03-18T09:19:20.36413Z");
        assert_eq!((runs[0].manual, runs[1].manual, runs[1].run_id), (true, false, None));
        for bad in [answer(200, "{}"), answer(403, ""), answer(404, ""), answer(204, "")] {
            assert!(classify_page(&bad, Timestamp::UNIX_EPOCH).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_answer_by_another_clock_than_that_of_this_host_proves_nothing() {
        let page = |date: &str| {
            let body = br#"{"value":[]}"#.to_vec();
            Ok(Answer { status: 200, body, date: Some(date.to_owned()), ..Answer::default() })
        };
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        for near in ["Tue, 24 Nov 2026 11:55:00 GMT", "Tue, 24 Nov 2026 12:05:00 GMT", "noon"] {
            assert!(clocks_agree(&page(near), now).is_ok(), "{near}");
        }
        for (far, said) in [
            ("Tue, 24 Nov 2026 11:00:00 GMT", "3600 s ahead of"),
            ("Tue, 24 Nov 2026 12:05:01 GMT", "301 s behind"),
        ] {
            let unanswered = clocks_agree(&page(far), now).unwrap_err();
            assert!(unanswered.refusal.error_message.contains(said), "{unanswered:?}");
        }
    }

    #[test]
    fn the_query_names_its_window_and_the_pipeline() {
        let at = |text: &str| text.parse().unwrap();
        let window = (at("2026-11-24T01:20:00Z"), at("2026-11-24T02:30:00.5Z"));
        let body = query_body(Some(&PipelineName::new("Copy Sales").unwrap()), true, window, Some("t"));
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["lastUpdatedAfter"], "2026-11-24T01:20:00Z");
        assert_eq!(body["lastUpdatedBefore"], "2026-11-24T02:30:00.5Z");
        assert_eq!(body["filters"][0]["values"][0], "Copy Sales");
        assert_eq!(body["filters"][1]["values"][1], "InProgress");
        assert_eq!(body["continuationToken"], "t");
    }
}
