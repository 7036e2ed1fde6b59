//! The switches of the factory.

use azure_sim::{
    Bucket, Effect, Ends, Fault, Mix, Operation, PipelineParameter, Place as Factory, RepeatedId, RunIdMode,
};
use serde_json::{Value, json};

use crate::client::{LIMIT, Place, factory as factory_of_tests};
use crate::shapes::assert_refused;

const ID: &str = "31f1bc88-c715-4cd9-b31f-73e51da2e079";
const AN_HOUR: u64 = 3_600_000;

fn run_id(place: &Place, request_id: &str) -> Value {
    place.create(request_id).json()["runId"].clone()
}

#[test]
pub(crate) fn runs_have_the_id_of_their_request_or_one_of_their_own() {
    let place = Place::new();
    assert_eq!(run_id(&place, ID), ID);
    place.sim.set(|switches| switches.run_id_mode = RunIdMode::Own);
    assert_ne!(
        run_id(&place, "52588188-5b08-4976-acc3-6f294595d5e2"),
        "52588188-5b08-4976-acc3-6f294595d5e2"
    );
    place.sim.set(|switches| switches.run_id_mode = RunIdMode::Fixed("Always-This".to_owned()));
    assert_eq!(run_id(&place, "379958e9-d519-4956-9d5b-8fddb9c5d9da"), "Always-This");
    assert_eq!(place.get("/pipelineruns/Always-This").status, 200);
}

#[test]
pub(crate) fn a_repeated_request_id_gets_the_same_run_or_another_or_a_conflict() {
    let place = Place::new();
    assert_eq!((run_id(&place, ID), run_id(&place, ID)), (json!(ID), json!(ID)));
    assert_eq!(place.sim.runs().len(), 1);
    place.sim.set(|switches| switches.repeated_id = RepeatedId::Conflict);
    assert_refused(&place.create(ID), 409, "Conflict");
    place.sim.set(|switches| switches.repeated_id = RepeatedId::NewRun);
    assert_ne!(run_id(&place, ID), ID);
    assert_eq!(place.sim.runs().len(), 2);
}

#[test]
pub(crate) fn a_declared_pipeline_takes_its_parameters_by_their_types() {
    let place = Place::new();
    let good = json!({
        "String": "a", "SecureString": "a", "Int": 1, "Float": 1.5, "Bool": true, "Array": [], "Object": {}
    });
    let kinds = good.as_object().unwrap();
    let declared =
        kinds.keys().map(|kind| (kind.clone(), PipelineParameter { kind: kind.clone() })).collect();
    place.sim.set(|switches| switches.pipelines = Some([("A".to_owned(), declared)].into()));
    assert_eq!(place.post("/pipelines/A/createRun", &good.to_string()).status, 200);
    for kind in kinds.keys() {
        let wrong = if kind.ends_with("String") { json!(1) } else { json!("a") };
        let body = json!({ kind: wrong }).to_string();
        assert_refused(&place.post("/pipelines/A/createRun", &body), 400, "BadRequest");
    }
    assert_eq!(place.post("/pipelines/B/createRun", "{}").status, 404);
}

#[test]
pub(crate) fn only_the_listed_factories_exist_in_any_case() {
    let place = Place::new();
    let known = |factory: &str, resource_group: &str, subscription: &str| {
        let of = |text: &str| text.to_owned();
        let (factory, resource_group, subscription) = (of(factory), of(resource_group), of(subscription));
        let another = Factory { factory: of("another"), ..factory_of_tests() };
        place.sim.set(|switches| {
            switches.factories = Some(vec![another, Factory { subscription, resource_group, factory }]);
        });
        place.get("/pipelines")
    };
    let here = factory_of_tests().subscription;
    assert_eq!(known("FACTORY", "Group", &here.to_uppercase()).status, 200);
    assert_refused(&known("a", "group", &here), 404, "ResourceNotFound");
    assert_refused(&known("factory", "a", &here), 404, "ResourceNotFound");
    let there = "11111111-1111-1111-1111-111111111111";
    for (factories, code) in [
        (vec![], "SubscriptionNotFound"),
        (vec![Factory { subscription: there.to_owned(), ..factory_of_tests() }], "SubscriptionNotFound"),
        (vec![Factory { resource_group: "a".to_owned(), ..factory_of_tests() }], "ResourceGroupNotFound"),
        (vec![Factory { factory: "a".to_owned(), ..factory_of_tests() }], "ResourceNotFound"),
    ] {
        place.sim.set(|switches| switches.factories = Some(factories));
        assert_refused(&place.get("/pipelines"), 404, code);
        assert_refused(&place.post("/pipelines/A/createRun", "{}"), 404, code);
    }
    place.sim.set(|switches| switches.factories = None);
    assert_eq!(place.get("/pipelines").status, 200);
}

#[test]
pub(crate) fn a_delayed_create_makes_its_run_before_it_answers() {
    let place = Place::new();
    place.sim.set(|switches| switches.create_run_delay_ms = AN_HOUR);
    let pending = place.send_create(ID);
    place.sim.wait_until(LIMIT, "a run", |seen| (seen.runs.len() == 1).then_some(()));
    assert_eq!(place.get(&format!("/pipelineruns/{ID}")).status, 200);
    drop(place);
    assert!(pending.answer().is_none());
}

#[test]
pub(crate) fn a_fault_happens_until_it_is_taken_back() {
    let place = Place::new();
    let error = Effect::error(500, "InternalServerError", "no");
    place.sim.set(|switches| switches.faults.push(Fault::always(Operation::ListPipelines, error)));
    assert_refused(&place.get("/pipelines"), 500, "InternalServerError");
    place.sim.set(|switches| switches.faults.clear());
    assert_eq!(place.get("/pipelines").status, 200);
}

/// The statuses of a hundred calls, 40 % of which are to fail in one of two ways.
fn drawn(seed: u64) -> Vec<u16> {
    let place = Place::new();
    let effects = [500, 503].map(|status| Effect::error(status, "ServerError", "no")).to_vec();
    let mix = Mix { operation: Operation::CreateRun, percent: 40, effects, seed, drawn: 0 };
    place.sim.set(|switches| switches.mix = Some(mix));
    let statuses = (0..100).map(|_| place.post("/pipelines/A/createRun", "{}").status).collect();
    assert_eq!(place.get("/pipelines").status, 200, "another operation is spared");
    place.sim.set(|switches| assert_eq!(switches.mix.take().map(|mix| mix.drawn), Some(100)));
    assert_eq!(place.post("/pipelines/A/createRun", "{}").status, 200, "it can be taken back");
    statuses
}

#[test]
pub(crate) fn faults_by_chance_come_as_often_as_they_say_and_the_same_again_for_one_seed() {
    let first = drawn(7);
    let count = |wanted: u16| first.iter().filter(|status| **status == wanted).count();
    // Four standard deviations of a hundred draws.
    assert!((20..=60).contains(&(count(500) + count(503))), "{first:?}");
    assert!(count(500) > 5 && count(503) > 5, "{first:?}");
    assert_eq!(first, drawn(7));
    assert_ne!(first, drawn(8));
}

#[test]
pub(crate) fn a_fault_that_fits_comes_before_chance() {
    let place = Place::new();
    let error = Effect::error(500, "InternalServerError", "no");
    let mix = Mix {
        operation: Operation::CreateRun,
        percent: 100,
        effects: vec![Effect::error(503, "ServiceUnavailable", "no")],
        seed: 1,
        drawn: 0,
    };
    place.sim.set(|switches| {
        switches.mix = Some(mix);
        switches.faults.push(Fault::always(Operation::CreateRun, error).times(1));
    });
    let statuses: Vec<u16> = (0..2).map(|_| place.post("/pipelines/A/createRun", "{}").status).collect();
    assert_eq!(statuses, [500, 503]);
}

#[test]
pub(crate) fn a_run_is_shown_by_its_id_only_after_a_while() {
    let place = Place::new();
    place.sim.set(|switches| switches.get_visible_after_ms = AN_HOUR);
    let run = place.run("{}");
    assert_refused(&place.get(&format!("/pipelineruns/{run}")), 404, "PipelineRunNotFound");
    assert_eq!(place.query("").json()["value"][0]["runId"], run, "the query has a time of its own");
    place.sim.set(|switches| switches.get_visible_after_ms = 0);
    assert_eq!(place.get(&format!("/pipelineruns/{run}")).status, 200);
}

#[test]
pub(crate) fn a_run_is_found_by_the_query_only_after_a_while() {
    let place = Place::new();
    place.sim.set(|switches| switches.query_visible_after_ms = AN_HOUR);
    let run = place.run("{}");
    assert_eq!(place.query("").json()["value"], json!([]));
    assert_eq!(place.get(&format!("/pipelineruns/{run}")).status, 200, "its id has a time of its own");
    place.sim.set(|switches| switches.query_visible_after_ms = 0);
    assert_eq!(place.query("").json()["value"][0]["runId"], run);
}

#[test]
pub(crate) fn a_bucket_throttles_creation_and_nothing_else() {
    let place = Place::new();
    place.sim.set(|switches| switches.bucket = Some(Bucket { capacity: 2.0, refill_per_sec: 0.001 }));
    let statuses: Vec<u16> = (0..3).map(|_| place.post("/pipelines/A/createRun", "{}").status).collect();
    assert_eq!(statuses, [200, 200, 429]);
    assert_eq!(place.query("").status, 200);
    place.sim.set(|switches| switches.bucket = None);
    assert_eq!(place.post("/pipelines/A/createRun", "{}").status, 200);
}

#[test]
pub(crate) fn hidden_parameters_keep_their_names_and_lose_their_values() {
    let place = Place::new();
    let run = place.run(r#"{"password":"hunter2","list":[1]}"#);
    place.sim.set(|switches| switches.redact_parameters = true);
    let hidden = json!({ "password": "**********", "list": "**********" });
    assert_eq!(place.get(&format!("/pipelineruns/{run}")).json()["parameters"], hidden);
    assert_eq!(place.query("").json()["value"][0]["parameters"], hidden);
    assert_eq!(place.sim.runs()[0].parameters["password"], "hunter2", "what was sent is kept");
}

#[test]
pub(crate) fn the_caller_may_ask_what_it_may_do_only_if_it_is_told_to() {
    let place = Place::new();
    let refused = place.permissions();
    assert_eq!((refused.status, refused.code().as_str()), (403, "AuthorizationFailed"));
    place.sim.set(|switches| switches.actions = Some(vec!["*/read".to_owned()]));
    assert_eq!(place.permissions().json()["value"][0]["actions"], json!(["*/read"]));
}

#[test]
pub(crate) fn runs_go_on_as_they_are_told_to_and_the_query_knows_when() {
    let place = Place::new();
    place.sim.set(|switches| switches.ends = vec![Ends::after(0).with("Failed", "disk full").of("A")]);
    place.post("/pipelines/B/createRun", "{}");
    let run = place.post("/pipelines/A/createRun", "{}").json()["runId"].as_str().unwrap().to_owned();
    let shown = place.get(&format!("/pipelineruns/{run}")).json();
    assert_eq!((&shown["status"], &shown["message"]), (&json!("Failed"), &json!("disk full")));
    assert!(shown["durationInMs"].is_u64() && shown["runEnd"] == shown["lastUpdated"], "{shown}");
    let listed = place.query("").json();
    let statuses: Vec<&Value> =
        listed["value"].as_array().unwrap().iter().map(|run| &run["status"]).collect();
    assert_eq!(statuses, ["Queued", "Failed"]);
    place.sim.forget_run(&run);
    assert_eq!(place.get(&format!("/pipelineruns/{run}")).status, 404);
    assert_eq!(place.query("").json()["value"].as_array().unwrap().len(), 1);
}

#[test]
fn an_end_for_so_many_runs_leaves_the_next_ones_to_the_rule_after_it() {
    let place = Place::new();
    let failed = Ends::after(0).with("Failed", "disk full").of("A").times(2);
    place.sim.set(|switches| switches.ends = vec![failed, Ends::after(0)]);
    let status = |pipeline: &str| {
        let answer = place.post(&format!("/pipelines/{pipeline}/createRun"), "{}").json();
        place.get(&format!("/pipelineruns/{}", answer["runId"].as_str().unwrap())).json()["status"].clone()
    };
    assert_eq!(["A", "B", "A", "A"].map(status), ["Failed", "Succeeded", "Failed", "Succeeded"]);
}

#[test]
pub(crate) fn a_cancelled_run_ends_after_a_while_if_it_is_told_to() {
    let place = Place::new();
    let run = place.run("{}");
    place.sim.set(|switches| switches.cancel_takes_ms = Some(0));
    assert_eq!(place.post(&format!("/pipelineruns/{run}/cancel"), "").status, 200);
    assert_eq!(place.get(&format!("/pipelineruns/{run}")).json()["status"], "Cancelled");
    let triggered = place.sim.trigger("A");
    assert_eq!(
        place.get(&format!("/pipelineruns/{triggered}")).json()["invokedBy"]["name"],
        "ScheduleTrigger"
    );
}
