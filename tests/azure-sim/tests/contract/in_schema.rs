//! Every success validates against the published schema.

use std::collections::HashSet;

use azure_sim::PipelineParameter;
use serde_json::json;

use crate::client::Place;
use crate::shapes::{assert_is, assert_success};

#[test]
fn a_started_run_is_answered_with_its_id_alone() {
    let place = Place::new();
    let answer = place.create("31f1bc88-c715-4cd9-b31f-73e51da2e079");
    assert_success("CreateRunResponse", &answer);
    assert_eq!(answer.json(), json!({ "runId": "31f1bc88-c715-4cd9-b31f-73e51da2e079" }));
}

#[test]
fn a_run_is_shown_as_published_in_each_of_its_states() {
    let place = Place::new();
    let run = place.run(r#"{"text":"a","number":1,"list":["b"],"nothing":null,"yes":true,"fields":{"c":1}}"#);
    for status in ["Queued", "InProgress", "Succeeded", "Failed", "Canceling", "Cancelled"] {
        place.sim.set_run_status(&run, status);
        let answer = place.get(&format!("/pipelineruns/{run}"));
        assert_success("PipelineRun", &answer);
        let shown = answer.json();
        assert_eq!((&shown["runId"], &shown["status"]), (&json!(run), &json!(status)));
        let ended = matches!(status, "Succeeded" | "Failed" | "Cancelled");
        assert_eq!((shown["runEnd"].is_string(), shown["durationInMs"].is_u64()), (ended, ended), "{shown}");
        assert_eq!(shown["message"].is_null(), status == "Queued", "{shown}");
        assert_eq!(shown["parameters"]["list"], r#"["b"]"#, "lists are shown as JSON text");
    }
}

#[test]
fn a_run_is_found_by_an_id_in_capital_letters() {
    let place = Place::new();
    let id = "31F1BC88-C715-4CD9-B31F-73E51DA2E079";
    assert_eq!(place.create(id).json()["runId"], id);
    assert_eq!(place.get(&format!("/pipelineruns/{id}")).status, 200);
    assert_eq!(place.get(&format!("/pipelineruns/{}", id.to_lowercase())).status, 200);
}

#[test]
fn a_long_list_of_runs_comes_in_pages_that_lose_and_repeat_none() {
    let place = Place::new();
    let started: HashSet<String> = (0..105).map(|_| place.run("{}")).collect();
    let first = place.query("");
    assert_success("PipelineRunsQueryResponse", &first);
    let first = first.json();
    let token = first["continuationToken"].as_str().unwrap();
    let second = place.query(&format!(r#","continuationToken":"{token}""#));
    assert_success("PipelineRunsQueryResponse", &second);
    let second = second.json();
    assert!(second["continuationToken"].is_null(), "the last page names no next one");
    let all: Vec<&str> = [&first, &second]
        .into_iter()
        .flat_map(|page| page["value"].as_array().unwrap())
        .map(|run| run["runId"].as_str().unwrap())
        .collect();
    assert_eq!((all.len(), started.len()), (105, 105));
    assert!(all.iter().all(|id| started.contains(*id)));
}

#[test]
fn a_query_keeps_to_its_filters() {
    let place = Place::new();
    let (one, other) = (place.run("{}"), place.run("{}"));
    place.sim.set_run_status(&one, "InProgress");
    for (filter, wanted) in [
        (format!(r#"{{"operand":"RunGroupId","operator":"Equals","values":["{other}"]}}"#), vec![&other]),
        (
            r#"{"operand":"Status","operator":"In","values":["InProgress","Queued"]}"#.into(),
            vec![&one, &other],
        ),
        (r#"{"operand":"Status","operator":"NotEquals","values":["Queued"]}"#.into(), vec![&one]),
        (r#"{"operand":"PipelineName","operator":"Equals","values":["B"]}"#.into(), vec![]),
    ] {
        let answer = place.query(&format!(r#","filters":[{filter}]"#));
        assert_success("PipelineRunsQueryResponse", &answer);
        let answer = answer.json();
        let found: Vec<&str> =
            answer["value"].as_array().unwrap().iter().map(|run| run["runId"].as_str().unwrap()).collect();
        assert_eq!(found, wanted, "{filter}");
    }
}

#[test]
fn a_cancelled_run_is_answered_with_nothing_and_is_on_its_way_to_the_end() {
    let place = Place::new();
    let run = place.run("{}");
    let answer = place.post(&format!("/pipelineruns/{run}/cancel"), "");
    assert_eq!((answer.status, answer.body.as_str(), answer.header("content-type")), (200, "", None));
    assert_eq!(place.get(&format!("/pipelineruns/{run}")).json()["status"], "Canceling");
}

#[test]
fn pipelines_are_defined_as_published_alone_and_in_a_list() {
    let place = Place::new();
    let kinds = ["String", "Int", "Float", "Bool", "Array", "Object", "SecureString"];
    let parameters = kinds.map(|kind| (format!("a{kind}"), PipelineParameter { kind: kind.to_owned() }));
    place.sim.set(|switches| {
        switches.pipelines = Some([("A".to_owned(), parameters.into()), ("B".to_owned(), [].into())].into());
    });
    let one = place.get("/pipelines/A");
    assert_success("PipelineResource", &one);
    assert_eq!(one.json()["properties"]["parameters"]["aFloat"], json!({ "type": "Float" }));
    let all = place.get("/pipelines");
    assert_success("PipelineListResponse", &all);
    assert_eq!(all.json()["value"][0], one.json());
    assert_is("PipelineResource", &all.json()["value"][1]);
    place.sim.set(|switches| switches.pipelines = None);
    assert_success("PipelineResource", &place.get("/pipelines/any"));
    assert_success("PipelineListResponse", &place.get("/pipelines"));
}
