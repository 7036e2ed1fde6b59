//! Each fault does what it says, and no more.

use azure_sim::{Effect, Fault, Operation};

use crate::client::{LIMIT, Place};
use crate::shapes::{assert_refused, assert_success};

const ID: &str = "31f1bc88-c715-4cd9-b31f-73e51da2e079";

/// Longer than any test runs.
const AN_HOUR: u64 = 3_600_000;

/// A place where this happens to every createRun.
fn place(effect: Effect) -> Place {
    with(Fault::always(Operation::CreateRun, effect))
}

fn with(fault: Fault) -> Place {
    let place = Place::new();
    place.sim.set(|switches| switches.faults.push(fault));
    place
}

/// Waits until a createRun has arrived.
fn wait_for_call(place: &Place) {
    place.sim.wait_until(LIMIT, "a call", |seen| (seen.count(Operation::CreateRun) == 1).then_some(()));
}

/// Waits until a run was made, while its call has no answer.
fn wait_for_run_without_answer(place: &Place) {
    place.sim.wait_until(LIMIT, "a run", |seen| (seen.runs.len() == 1).then_some(()));
    let calls = place.sim.requests();
    assert_eq!(calls.last().unwrap().answered_at, None, "{calls:?}");
}

#[test]
fn every_effect_has_a_test() {
    // Does not compile when an effect is added.
    let test = |effect: &Effect| -> fn() {
        match effect {
            Effect::Status { .. } => an_error_is_answered_to_the_letter,
            Effect::ResetBefore => a_cut_before_the_work_leaves_nothing,
            Effect::ResetAfter => a_cut_after_the_work_leaves_a_run,
            Effect::Hang { .. } => a_call_that_hangs_is_never_answered,
            Effect::Slow { .. } => a_slow_call_is_answered_late,
            Effect::RunId(_) => a_run_id_is_answered_to_the_letter,
            Effect::Body(_) => a_body_is_answered_to_the_letter,
        }
    };
    test(&Effect::ResetBefore)();
}

#[test]
fn an_error_is_answered_to_the_letter() {
    let effect = |body: Option<&str>, retry_after: Option<&str>| Effect::Status {
        status: 503,
        code: "ServiceUnavailable".to_owned(),
        message: "later".to_owned(),
        retry_after: retry_after.map(str::to_owned),
        body: body.map(str::to_owned),
        commit: false,
    };
    let date = "Fri, 31 Dec 1999 23:59:59 GMT";
    let shaped = place(effect(None, Some(date))).create(ID);
    assert_refused(&shaped, 503, "ServiceUnavailable");
    assert_eq!(shaped.header("retry-after"), Some(date));
    let edge = place(effect(Some("<html>no</html>"), None)).create(ID);
    assert_eq!((edge.status, edge.body.as_str()), (503, "<html>no</html>"));
    assert_eq!((edge.header("content-type"), edge.header("retry-after")), (Some("text/html"), None));
    let empty = place(effect(Some(""), None)).create(ID);
    assert_eq!((empty.status, empty.body.as_str(), empty.header("content-type")), (503, "", None));
}

#[test]
fn an_error_may_hide_that_the_work_was_done() {
    let (code, message) = ("GatewayTimeout".to_owned(), "too late".to_owned());
    let place =
        place(Effect::Status { status: 504, code, message, retry_after: None, body: None, commit: true });
    assert_refused(&place.create(ID), 504, "GatewayTimeout");
    assert_success("PipelineRun", &place.get(&format!("/pipelineruns/{ID}")));
}

#[test]
fn a_cut_before_the_work_leaves_nothing() {
    let place = place(Effect::ResetBefore);
    assert!(place.send_create(ID).answer().is_none());
    assert_eq!(place.get(&format!("/pipelineruns/{ID}")).status, 404);
    assert_eq!(place.sim.requests()[1].status, None, "no answer is noted");
}

#[test]
fn a_cut_after_the_work_leaves_a_run() {
    let place = place(Effect::ResetAfter);
    assert!(place.send_create(ID).answer().is_none());
    assert_success("PipelineRun", &place.get(&format!("/pipelineruns/{ID}")));
}

#[test]
fn a_call_that_hangs_is_never_answered() {
    for commit in [false, true] {
        let place = place(Effect::Hang { commit });
        let pending = place.send_create(ID);
        wait_for_call(&place);
        if commit {
            wait_for_run_without_answer(&place);
        }
        // Others are served meanwhile.
        assert_eq!(place.get(&format!("/pipelineruns/{ID}")).status, if commit { 200 } else { 404 });
        drop(place);
        assert!(pending.answer().is_none(), "only the end of the stand-in ends it");
    }
}

#[test]
fn a_slow_call_is_answered_late() {
    let first = place(Effect::Slow { ms: 50, commit_first: false });
    assert_success("CreateRunResponse", &first.create(ID));
    let call = &first.sim.requests()[1];
    assert!(call.answered_at.unwrap().duration_since(call.arrived_at).as_millis() >= 50, "{call:?}");
}

#[test]
fn a_slow_call_does_its_work_before_or_after_the_wait() {
    let early = place(Effect::Slow { ms: AN_HOUR, commit_first: true });
    let _pending = early.send_create(ID);
    wait_for_run_without_answer(&early);
    let late = place(Effect::Slow { ms: AN_HOUR, commit_first: false });
    let _pending = late.send_create(ID);
    wait_for_call(&late);
    assert_eq!(late.get(&format!("/pipelineruns/{ID}")).status, 404);
}

#[test]
fn a_run_id_is_answered_to_the_letter() {
    let place = place(Effect::RunId("not-a-guid".to_owned()));
    let answer = place.create(ID);
    assert_success("CreateRunResponse", &answer);
    assert_eq!(answer.json()["runId"], "not-a-guid");
    assert_eq!(place.sim.runs().len(), 0);
}

#[test]
fn a_body_is_answered_to_the_letter() {
    let answer = place(Effect::Body("{\"runId\":".to_owned())).create(ID);
    assert_eq!((answer.status, answer.body.as_str()), (200, "{\"runId\":"));
}

#[test]
fn a_fault_happens_as_often_and_as_late_as_it_says() {
    let fault = Fault::always(Operation::CreateRun, Effect::error(500, "InternalServerError", "no")).times(2);
    let place = with(Fault { after: 1, ..fault });
    let statuses: Vec<u16> = (0..5).map(|_| place.post("/pipelines/A/createRun", "{}").status).collect();
    assert_eq!(statuses, [200, 500, 500, 200, 200]);
}

#[test]
fn a_fault_of_one_pipeline_spares_the_others_and_the_first_that_fits_is_used() {
    let error =
        |status| Fault::always(Operation::CreateRun, Effect::error(status, "InternalServerError", "no"));
    let place = with(error(500).of("A"));
    place.sim.set(|switches| switches.faults.push(error(503)));
    assert_eq!(place.post("/pipelines/A/createRun", "{}").status, 500);
    assert_eq!(place.post("/pipelines/B/createRun", "{}").status, 503);
    assert_eq!(place.get("/pipelines/A").status, 200, "another operation is spared");
}
