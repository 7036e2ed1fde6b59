//! `check --live`: what only Azure can tell, without starting anything.

use std::collections::BTreeMap;

use azure_sim::{Effect, Fault, Operation, PipelineParameter, TokenEndpointDown};
use serde_json::json;

use crate::process::{Place, SECRET, errors, results};

const TWO: &str = "pipelines:
  - { name: nightly, pipeline: Copy Sales, schedule: '@daily', parameters: { n: 7, day: \"{{ scheduled_time }}\" } }
  - { name: off, pipeline: Gone, schedule: '@daily', enabled: false }
";

/// A place whose factory has one pipeline, with a number and a day.
fn place() -> Place {
    let place = Place::new();
    place.write(TWO);
    let parameter = |name: &str, kind: &str| (name.to_owned(), PipelineParameter { kind: kind.to_owned() });
    let parameters = BTreeMap::from([parameter("n", "Int"), parameter("day", "String")]);
    place.sim.set(|switches| {
        switches.pipelines = Some(BTreeMap::from([("Copy Sales".to_owned(), parameters)]));
        switches.actions = Some(vec!["Microsoft.DataFactory/factories/*".to_owned()]);
    });
    place
}

#[test]
fn all_is_well_when_the_token_the_rights_and_the_pipelines_are() {
    let place = place();
    let output = place.run(&["check", "--live"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let said = results(&output);
    assert!(
        said.contains("token: granted") && said.contains("adf-prod: runs may be started and read"),
        "{said}"
    );
    assert!(place.sim.runs().is_empty(), "nothing is started");
    assert!(place.sim.requests().iter().all(|request| request.operation != Operation::CreateRun));
    assert!(!place.path("ledger.db").exists());
}

#[test]
fn a_pipeline_that_is_missing_or_takes_other_parameters_is_named_with_its_entry() {
    let place = place();
    place.write(
        "pipelines:
  - { name: typo, pipeline: Copy Salez, schedule: '@daily' }
  - { name: text, pipeline: Copy Sales, schedule: '@daily', parameters: { n: '7', dya: x } }
",
    );
    let output = place.run(&["check", "--live"]);
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(said.contains("typo: Copy Salez: adf-prod: there is no such pipeline"), "{said}");
    assert!(said.contains("text: Copy Sales: adf-prod: 'n' must be Int, not a text"), "{said}");
    assert!(said.contains("declares no parameter 'dya'; it has day, n"), "{said}");
    assert!(said.contains("it needs 'day'"), "{said}");
    let output = place.run(&["check", "--live", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["valid"], true);
    assert_eq!(report["live"]["findings"].as_array().unwrap().len(), 4, "{report}");
    assert_eq!(report["live"]["findings"][0]["entry"], json!("typo"));
}

#[test]
fn a_missing_right_is_named_and_one_that_cannot_be_told_is_no_failure() {
    let place = place();
    place.sim.set(|switches| switches.actions = Some(vec!["*/read".to_owned()]));
    let output = place.run(&["check", "--live"]);
    assert_eq!(output.status.code(), Some(77));
    assert!(
        errors(&output)
            .contains("no role that allows Microsoft.DataFactory/factories/pipelines/createrun/action")
    );
    place.sim.set(|switches| switches.actions = None);
    let output = place.run(&["check", "--live"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(results(&output).contains("cannot be told without Microsoft.Authorization/permissions/read"));
}

#[test]
fn a_refusal_and_a_silence_have_their_own_exit_codes() {
    let place = place();
    place.sim.set(|switches| {
        switches
            .faults
            .push(Fault::always(Operation::GetPipeline, Effect::error(403, "AuthorizationFailed", "no")));
    });
    assert_eq!(place.run(&["check", "--live"]).status.code(), Some(77));
    place
        .sim
        .set(|switches| switches.faults = vec![Fault::always(Operation::GetPipeline, Effect::ResetBefore)]);
    assert_eq!(place.run(&["check", "--live"]).status.code(), Some(69));
    place.sim.set(|switches| switches.token_endpoint_down = TokenEndpointDown::Status(503));
    assert_eq!(place.run(&["check", "--live"]).status.code(), Some(69));
    place.sim.set(|switches| {
        switches.token_endpoint_down = TokenEndpointDown::None;
        switches.client_secret = "another".to_owned();
    });
    let output = place.run(&["check", "--live"]);
    assert_eq!(output.status.code(), Some(77));
    assert!(errors(&output).contains("the client secret is wrong") && !errors(&output).contains(SECRET));
}

#[test]
fn a_busy_service_is_asked_again_when_it_said() {
    let place = place();
    place.sim.set(|switches| {
        switches.faults.push(Fault::always(Operation::GetPipeline, Effect::throttled("1")).times(1));
    });
    let output = place.run(&["check", "--live"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
}
