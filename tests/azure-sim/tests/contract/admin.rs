//! The stand-in's own interface, over HTTP, and the list of all switches.

use serde_json::{Value, json};

use crate::client::{Answer, Ask, Place, ask};
use crate::shapes::assert_refused;
use crate::{factory_switches as factory, token_switches as token};

/// Each switch, with a value other than its first one, and the test of what it does.
fn switches() -> Vec<(&'static str, Value, fn())> {
    let fault = json!({
        "operation": "create_run", "pipeline": "A", "times": 1, "after": 0,
        "effect": { "status": {
            "status": 503, "code": "ServiceUnavailable", "message": "later", "retry_after": "7",
            "body": null, "commit": false,
        } },
    });
    let elsewhere = json!([{ "subscription": "a", "resource_group": "b", "factory": "c" }]);
    vec![
        ("client_id", json!("another"), token::only_the_known_client_gets_a_token),
        ("client_secret", json!("another"), token::only_the_known_secret_gets_a_token),
        ("tenant", json!("another"), token::only_the_known_tenant_gives_tokens_and_accepts_its_own),
        ("token_lifetime_secs", json!(0), token::a_token_is_refused_once_its_life_is_over),
        ("token_refresh_in", json!(7), token::a_token_says_when_to_renew_it_if_it_is_told_to),
        (
            "token_endpoint_down",
            json!({ "status": 503 }),
            token::a_token_endpoint_that_is_down_answers_badly_or_not_at_all,
        ),
        ("token_delay_ms", json!(1), token::a_slow_token_endpoint_answers_late),
        ("aadsts", json!(90_033), token::a_refusal_by_number_refuses_everybody),
        (
            "run_id_mode",
            json!({ "fixed": "x" }),
            factory::runs_have_the_id_of_their_request_or_one_of_their_own,
        ),
        (
            "repeated_id",
            json!("conflict"),
            factory::a_repeated_request_id_gets_the_same_run_or_another_or_a_conflict,
        ),
        (
            "pipelines",
            json!({ "A": { "b": { "type": "Int" } } }),
            factory::a_declared_pipeline_takes_its_parameters_by_their_types,
        ),
        ("factories", elsewhere, factory::only_the_listed_factories_exist_in_any_case),
        ("create_run_delay_ms", json!(1), factory::a_delayed_create_makes_its_run_before_it_answers),
        ("faults", json!([fault]), factory::a_fault_happens_until_it_is_taken_back),
        (
            "mix",
            json!({ "operation": "create_run", "percent": 50, "effects": ["reset_before"], "seed": 1, "drawn": 0 }),
            factory::faults_by_chance_come_as_often_as_they_say_and_the_same_again_for_one_seed,
        ),
        ("get_visible_after_ms", json!(1), factory::a_run_is_shown_by_its_id_only_after_a_while),
        ("query_visible_after_ms", json!(1), factory::a_run_is_found_by_the_query_only_after_a_while),
        (
            "ends",
            json!([{ "pipeline": "A", "times": 1, "after_ms": 1, "status": "Failed", "message": "disk full" }]),
            factory::runs_go_on_as_they_are_told_to_and_the_query_knows_when,
        ),
        ("cancel_takes_ms", json!(1), factory::a_cancelled_run_ends_after_a_while_if_it_is_told_to),
        (
            "bucket",
            json!({ "capacity": 2.0, "refill_per_sec": 0.5 }),
            factory::a_bucket_throttles_creation_and_nothing_else,
        ),
        ("actions", json!(["*/read"]), factory::the_caller_may_ask_what_it_may_do_only_if_it_is_told_to),
        ("redact_parameters", json!(true), factory::hidden_parameters_keep_their_names_and_lose_their_values),
    ]
}

fn admin(place: &Place, method: &str, what: &str, body: Option<&Value>) -> Answer {
    let target = format!("/sim/{what}");
    let body = body.map(Value::to_string);
    ask(&place.sim, &Ask { method, target: &target, headers: Vec::new(), body })
}

fn state(place: &Place) -> Value {
    admin(place, "GET", "state", None).json()
}

#[test]
fn every_switch_has_a_test_and_can_be_set_over_http() {
    let place = Place::new();
    let before = state(&place)["switches"].clone();
    let known: Vec<&str> = switches().iter().map(|(name, ..)| *name).collect();
    assert_eq!(before.as_object().unwrap().keys().collect::<Vec<_>>(), known);
    for (name, value, _) in switches() {
        assert_ne!(before[name], value, "{name} is set already");
        let answer = admin(&place, "PATCH", "switches", Some(&json!({ name: value.clone() })));
        assert_eq!((answer.status, &answer.json()[name]), (200, &value), "{name}");
        assert_eq!(state(&place)["switches"][name], value, "{name}");
    }
    let answer = admin(&place, "PATCH", "switches", Some(&before));
    assert_eq!((answer.status, &answer.json()), (200, &before), "all can be taken back at once");
}

#[test]
fn a_fault_set_over_http_happens_to_the_next_call() {
    let place = Place::new();
    let (_, faults, _) = switches().into_iter().find(|(name, ..)| *name == "faults").unwrap();
    assert_eq!(admin(&place, "PATCH", "switches", Some(&json!({ "faults": faults }))).status, 200);
    let answer = place.post("/pipelines/A/createRun", "{}");
    assert_refused(&answer, 503, "ServiceUnavailable");
    assert_eq!(answer.header("retry-after"), Some("7"));
    assert_eq!(place.post("/pipelines/A/createRun", "{}").status, 200, "it was to happen once");
}

#[test]
fn each_effect_can_be_set_over_http() {
    let place = Place::new();
    for effect in [
        json!("reset_before"),
        json!("reset_after"),
        json!({ "hang": { "commit": true } }),
        json!({ "slow": { "ms": 1, "commit_first": false } }),
        json!({ "run_id": "x" }),
        json!({ "body": "x" }),
        json!({ "status": { "status": 500, "code": "a", "message": "b" } }),
    ] {
        let patch = json!({ "faults": [{ "operation": "get_run", "effect": effect }] });
        assert_eq!(admin(&place, "PATCH", "switches", Some(&patch)).status, 200, "{patch}");
    }
}

#[test]
fn a_wrong_switch_is_refused_and_nothing_is_changed() {
    let place = Place::new();
    let before = state(&place)["switches"].clone();
    for patch in [
        json!({ "client_secret": "another", "token_lifetime": 1 }),
        json!({ "client_secret": "another", "token_delay_ms": "soon" }),
        json!({ "faults": [{ "operation": "create_run", "effect": "explode" }] }),
        json!(["client_secret"]),
    ] {
        let answer = admin(&place, "PATCH", "switches", Some(&patch));
        assert_eq!(answer.status, 400, "{patch}");
        assert!(answer.json()["error"].is_string(), "{patch}");
    }
    assert_eq!(state(&place)["switches"], before);
}

#[test]
fn what_was_seen_is_told_over_http_and_telling_it_leaves_no_trace() {
    let place = Place::new();
    let run = place.run(r#"{"a":1}"#);
    let counts = |of: &Value| (of["runs"].clone(), of["requests"].clone(), of["tokens_granted"].clone());
    assert_eq!(counts(&state(&place)), (json!(1), json!(2), json!(1)));
    let runs = admin(&place, "GET", "runs", None).json();
    assert_eq!((&runs[0]["run_id"], &runs[0]["parameters"]), (&json!(run), &json!({ "a": 1 })));
    let requests = admin(&place, "GET", "requests", None).json();
    let operations: Vec<&Value> =
        requests.as_array().unwrap().iter().map(|each| &each["operation"]).collect();
    assert_eq!(operations, ["token", "create_run"]);
    assert_eq!(admin(&place, "GET", "nothing", None).status, 404);
}

#[test]
fn tokens_can_be_revoked_over_http() {
    let mut place = Place::new();
    assert_eq!(admin(&place, "POST", "revoke-tokens", None).status, 200);
    assert_refused(&place.get("/pipelines"), 401, "InvalidAuthenticationToken");
    place.renew();
    assert_eq!(place.get("/pipelines").status, 200);
}
