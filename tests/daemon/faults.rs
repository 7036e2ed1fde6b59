//! A service that fails in every way at once: nothing is lost, and nothing is started twice.

use std::collections::{BTreeSet, HashSet};

use azure_sim::{Effect, Mix, Operation, RepeatedId, RunIdMode, Switches};
use serde_json::Value;

use crate::chance::Chance;
use crate::process::{Ended, LIMIT, Place, of};
use crate::stage::before;
use crate::tally::{self, Crowd, DISTINCT, Time};

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

/// Twenty entries with these parameters fire every two seconds for ten seconds, at a service that is set up so.
fn under_faults(parameters: &'static str, set_up: impl Fn(&mut Switches)) -> (Place, Crowd, Ended) {
    let mix = mix(&mut Chance::new());
    let (place, crowd, daemon) = before(4, |first| {
        let place = Place::new();
        place.sim.set(|switches| {
            set_up(switches);
            switches.query_visible_after_ms = 500;
            switches.get_visible_after_ms = 500;
            switches.mix = Some(mix.clone());
        });
        let end = Some(first + std::time::Duration::from_secs(10));
        let crowd = Crowd { entries: 20, every: 2, first, end, pipeline: "Shared", parameters };
        place.write(&crowd.yaml(DEFAULTS));
        let daemon = place.daemon_before(first)?;
        Some((place, crowd, daemon))
    });
    let wanted = crowd.times().len();
    // Once each was sent for the first time the faults end.
    place.sim.wait_until(LIMIT, "a call for each firing", |seen| {
        let calls = seen.requests.iter().filter(|request| request.operation == Operation::CreateRun);
        let firings: HashSet<&str> = calls.filter_map(|call| call.request_id.as_deref()).collect();
        (firings.len() == wanted).then_some(())
    });
    let mut drawn = 0;
    place.sim.set(|switches| drawn = switches.mix.take().map_or(0, |mix| mix.drawn));
    tally::wait_until_over(&daemon, wanted);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    let failed = of(&ended.events, "attempt.failed").len();
    println!("{wanted} nominal times, {failed} failed attempts, of {drawn} while the faults lasted");
    assert!(failed > wanted / 4, "it was to fail often: {failed}");
    (place, crowd, ended)
}

fn assert_none_is_lost_or_doubled(run_id: RunIdMode, repeated: RepeatedId) {
    let (place, crowd, ended) = under_faults(DISTINCT, |switches| {
        switches.run_id_mode = run_id.clone();
        switches.repeated_id = repeated;
    });
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

/// Each nominal time has its record; each record has a run of its own or waits for a person, who was told. Returns
/// how many wait.
fn assert_each_is_accepted_or_held(place: &Place, crowd: &Crowd, ended: &Ended) -> usize {
    let rows = place.history();
    let times: BTreeSet<Time> = rows.iter().map(tally::time_of).collect();
    assert_eq!((rows.len(), &times), (times.len(), &crowd.times()), "each nominal time has its record");
    tally::assert_each_owns_a_run(place, &rows);
    let (accepted, held): (Vec<Value>, Vec<Value>) =
        rows.into_iter().partition(|row| row["state"] == "accepted");
    assert!(held.iter().all(|row| row["state"] == "held"), "{held:?}");
    let runs = place.sim.run_count();
    println!("{runs} runs, {} accepted, {} held", accepted.len(), held.len());
    assert!(runs <= times.len(), "{runs} runs for {} nominal times", times.len());
    let ids = |facts: &[Value]| -> HashSet<String> {
        facts.iter().map(|fact| fact["firing_id"].as_str().unwrap().to_owned()).collect()
    };
    let said = of(&ended.events, "firing.held");
    assert_eq!(ids(&said), ids(&held), "each that waits for a person is told of");
    for event in said {
        assert_eq!(event["level"], "ERROR");
        assert!(event["reason"].is_string() && event["message"].is_string(), "{event}");
    }
    held.len()
}

#[test]
fn runs_that_nobody_can_tell_apart_are_never_started_twice() {
    let (place, crowd, ended) = under_faults("{ batch: 1 }", |switches| {
        switches.run_id_mode = RunIdMode::Own;
        switches.repeated_id = RepeatedId::NewRun;
    });
    assert_each_is_accepted_or_held(&place, &crowd, &ended);
}

#[test]
fn where_the_service_hides_parameters_nothing_is_started_twice_and_what_cannot_be_decided_is_held() {
    let (place, crowd, ended) = under_faults(DISTINCT, |switches| {
        switches.run_id_mode = RunIdMode::Own;
        switches.repeated_id = RepeatedId::NewRun;
        switches.redact_parameters = true;
    });
    let held = assert_each_is_accepted_or_held(&place, &crowd, &ended);
    assert!(held > 0, "a run that may be one's own is not adopted");
    let runs = tally::runs(&place);
    assert!(runs.values().all(|count| *count == 1), "{runs:?}");
}
