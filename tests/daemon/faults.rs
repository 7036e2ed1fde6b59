//! A service that fails in every way at once: nothing is lost, and nothing is started twice.

use std::collections::HashSet;

use azure_sim::{Effect, Mix, Operation, RepeatedId, RunIdMode};
use serde_json::Value;

use crate::chance::Chance;
use crate::process::{Ended, LIMIT, Place, in_seconds, of};
use crate::tally::{self, Crowd, DISTINCT};

/// A short settle time, and more than enough attempts.
const DEFAULTS: &str = "{ settle: 2500ms, retry: { max_attempts: 60, initial: 200ms, max: 1s } }";

/// Of a hundred calls 45 fail, each in one of six ways.
fn mix(chance: &mut Chance) -> Mix {
    let hidden = Effect::Status {
        status: 500,
        code: "InternalServerError".to_owned(),
        message: "it went wrong, but the run was started".to_owned(),
        retry_after: None,
        body: None,
        commit: true,
    };
    let effects = vec![
        Effect::throttled("1"),
        Effect::error(500, "InternalServerError", "it went wrong"),
        Effect::error(503, "ServiceUnavailable", "later"),
        Effect::ResetBefore,
        Effect::ResetAfter,
        hidden,
    ];
    Mix { operation: Operation::CreateRun, percent: 45, effects, seed: chance.number(), drawn: 0 }
}

/// Twenty entries fire every two seconds for ten seconds, at a service that names its runs like this.
fn under_faults(run_id: RunIdMode, repeated: RepeatedId, parameters: &'static str) -> (Place, Crowd, Ended) {
    let place = Place::new();
    let mix = mix(&mut Chance::new());
    place.sim.set(|switches| {
        switches.run_id_mode = run_id;
        switches.repeated_id = repeated;
        switches.query_visible_after_ms = 500;
        switches.get_visible_after_ms = 500;
        switches.mix = Some(mix);
    });
    let first = in_seconds(4);
    let end = first + std::time::Duration::from_secs(10);
    let crowd = Crowd { entries: 20, every: 2, first, end: Some(end), parameters };
    place.write(&crowd.yaml(DEFAULTS));
    let daemon = place.daemon();
    let wanted = crowd.times().len();
    // Once each was sent for the first time the faults end.
    place.sim.wait_until(LIMIT, "a call for each firing", |seen| {
        let calls = seen.requests.iter().filter(|request| request.operation == Operation::CreateRun);
        let firings: HashSet<&str> = calls.filter_map(|call| call.request_id.as_deref()).collect();
        (firings.len() == wanted).then_some(())
    });
    place.sim.set(|switches| switches.mix = None);
    tally::wait_until_over(&daemon, wanted);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let failed = of(&ended.events, "attempt.failed").len();
    println!("{wanted} nominal times, {failed} failed attempts");
    assert!(failed > wanted / 3, "it was to fail often: {failed}");
    (place, crowd, ended)
}

fn assert_none_is_lost_or_doubled(run_id: RunIdMode, repeated: RepeatedId) {
    let (place, crowd, ended) = under_faults(run_id, repeated, DISTINCT);
    let held = of(&ended.events, "firing.held");
    assert!(held.is_empty(), "each can be decided: {held:?}");
    tally::assert_each_has_one_run(&place, &crowd.times());
    tally::assert_each_is_accepted(&place, &crowd.times());
}

#[test]
fn a_service_that_takes_our_ids_and_fails_every_other_call_starts_each_nominal_time_once() {
    assert_none_is_lost_or_doubled(RunIdMode::Ours, RepeatedId::SameRun);
}

#[test]
fn a_service_that_takes_a_repeated_id_for_another_run_starts_each_nominal_time_once() {
    assert_none_is_lost_or_doubled(RunIdMode::Ours, RepeatedId::NewRun);
}

#[test]
fn a_service_that_gives_its_own_ids_and_fails_every_other_call_starts_each_nominal_time_once() {
    // Ids that are none of ours mean nothing to it when they come again.
    assert_none_is_lost_or_doubled(RunIdMode::Own, RepeatedId::NewRun);
}

#[test]
fn runs_that_nobody_can_tell_apart_are_never_started_twice_and_what_cannot_be_decided_is_held() {
    let (place, crowd, ended) = under_faults(RunIdMode::Own, RepeatedId::NewRun, "{ batch: 1 }");
    let wanted = crowd.times().len();
    let rows = place.history();
    assert_eq!(rows.len(), wanted, "each nominal time has its record");
    let (runs, of_state) = (place.sim.run_count(), |state: &str| {
        rows.iter().filter(|row| row["state"] == state).cloned().collect::<Vec<Value>>()
    });
    let (accepted, held) = (of_state("accepted"), of_state("held"));
    println!("{runs} runs, {} accepted, {} held", accepted.len(), held.len());
    assert!(runs <= wanted, "{runs} runs for {wanted} nominal times");
    assert_eq!(accepted.len() + held.len(), wanted);
    tally::assert_each_owns_a_run(&place, &rows);
    let said: HashSet<String> = of(&ended.events, "firing.held").iter().map(firing_of).collect();
    assert_eq!(said, held.iter().map(firing_of).collect::<HashSet<_>>(), "each held firing is told of");
    for event in of(&ended.events, "firing.held") {
        assert_eq!(event["level"], "ERROR");
        assert!(event["reason"].is_string() && event["message"].is_string(), "{event}");
    }
}

fn firing_of(fact: &Value) -> String {
    fact["firing_id"].as_str().unwrap().to_owned()
}
