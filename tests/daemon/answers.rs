//! What the service answers, and what follows from it.

use std::time::Duration;

use azure_sim::{Effect, Fault, Operation, RunIdMode, Switches};
use jiff::Timestamp;
use serde_json::Value;

use crate::process::{Daemon, LIMIT, Place, of};
use crate::stage::before;

/// One entry that fires once, soon, with these keys, at a service that is set up so.
fn once(set_up: impl Fn(&mut Switches), keys: &str) -> (Place, Daemon) {
    before(2, |at| {
        let place = Place::new();
        place.sim.set(&set_up);
        place.write(&format!(
            "pipelines:\n  - {{ name: a, pipeline: A, schedule: {{ at: '{at}' }}, {keys} }}\n"
        ));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    })
}

/// The same after another entry's firing, from whose answer it is known that the factory takes our id.
fn once_taught(fault: &Fault, keys: &str) -> (Place, Daemon) {
    before(4, |at| {
        let (place, first) = (Place::new(), at - Duration::from_secs(2));
        place.write(&format!(
            "pipelines:
  - {{ name: teacher, pipeline: T, schedule: {{ at: '{first}' }} }}
  - {{ name: a, pipeline: A, schedule: {{ at: '{at}' }}, {keys} }}
"
        ));
        place.sim.set(|switches| switches.faults.push(fault.clone()));
        let daemon = place.daemon_before(first)?;
        daemon.wait_for("run.created", |event| event["entry"] == "teacher");
        Some((place, daemon))
    })
}

/// What happens to every createRun.
fn always(effect: Effect) -> impl Fn(&mut Switches) {
    let fault = Fault::always(Operation::CreateRun, effect);
    move |switches| switches.faults.push(fault.clone())
}

/// What happens to the first createRun.
fn at_first(effect: Effect) -> impl Fn(&mut Switches) {
    let fault = Fault::always(Operation::CreateRun, effect).times(1);
    move |switches| switches.faults.push(fault.clone())
}

fn state(place: &Place) -> (String, String) {
    let rows = place.history();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let word = |key: &str| rows[0][key].as_str().unwrap_or_default().to_owned();
    (word("state"), word("reason"))
}

#[test]
fn a_refusal_ends_the_firing_at_once_with_the_services_code_and_words() {
    for (status, code) in [
        (400, "BadRequest"),
        (403, "AuthorizationFailed"),
        (404, "ResourceNotFound"),
        (409, "ReadOnlyDisabledSubscription"),
        (409, "ScopeLocked"),
        (409, "MissingSubscriptionRegistration"),
    ] {
        let (place, daemon) = once(always(Effect::error(status, code, "it is said why")), "");
        let rejected = daemon.wait_for("firing.rejected", |_| true);
        assert_eq!(rejected["level"], "ERROR");
        assert_eq!(rejected["http_status"], status);
        assert_eq!(rejected["error_code"], code);
        assert_eq!(rejected["error_message"], "it is said why");
        assert_eq!(rejected["reason"], "refused");
        assert!(rejected["azure_request_id"].is_string() && rejected["azure_correlation_id"].is_string());
        let ended = daemon.stop();
        assert_eq!(ended.status.code(), Some(0));
        assert_eq!(place.sim.requests().iter().filter(|r| r.operation == Operation::CreateRun).count(), 1);
        assert_eq!(state(&place), ("rejected".into(), "refused".into()));
    }
}

#[test]
fn a_401_is_answered_by_one_fresh_token_and_a_second_one_ends_the_firing() {
    let (place, daemon) = once(always(Effect::error(401, "InvalidAuthenticationToken", "no")), "");
    let rejected = daemon.wait_for("firing.rejected", |_| true);
    assert_eq!((&rejected["http_status"], &rejected["attempt"]), (&401.into(), &2.into()));
    let seen = place.sim.requests();
    assert_eq!(seen.iter().filter(|r| r.operation == Operation::CreateRun).count(), 2);
    let carried: Vec<_> =
        seen.iter().filter(|r| r.operation == Operation::CreateRun).map(|r| r.token).collect();
    assert_eq!(carried, [Some(1), Some(2)], "the second call carries the fresh token");
}

/// Two entries of one bucket, the first call of which is throttled with this header while nothing else is under way.
fn throttled(retry_after: &str) -> (Place, Daemon, Value) {
    let place = Place::new();
    place.sim.set(at_first(Effect::throttled(retry_after)));
    place.write(
        "daemon: { heartbeat: 1s, horizon: 3s, max_in_flight: 1 }
pipelines:
  - { name: a, pipeline: A, schedule: { every: 1s } }
  - { name: b, pipeline: B, schedule: { every: 1s } }
",
    );
    let daemon = place.daemon();
    let paused = daemon.wait_for("throttle.paused", |_| true);
    (place, daemon, paused)
}

/// What came of that: when the call was throttled, for how long the bucket was paused, and when the next call came.
fn next_call((place, daemon, paused): (Place, Daemon, Value)) -> (Timestamp, Duration, Timestamp) {
    daemon
        .wait_for("attempt.failed", |event| event["http_status"] == 429 && event["outcome"] == "retry_later");
    daemon.wait_for_count("run.created", 8);
    let ended = daemon.stop();
    assert!(of(&ended.events, "firing.rejected").is_empty(), "{}", ended.output);
    assert_eq!(of(&ended.events, "throttle.paused").len(), 1);
    let calls = place.sim.requests();
    let mut calls = calls.iter().filter(|request| request.operation == Operation::CreateRun);
    let refused = calls.next().unwrap();
    assert_eq!(refused.status, Some(429));
    let wait = Duration::from_millis(paused["retry_in_ms"].as_u64().unwrap());
    (refused.answered_at.unwrap(), wait, calls.map(|call| call.arrived_at).min().unwrap())
}

#[test]
fn a_429_is_not_repeated_sooner_by_any_firing_of_the_bucket() {
    let (told, wait, next) = next_call(throttled("2"));
    assert_eq!(wait, Duration::from_secs(2));
    assert!(next >= told + wait, "{next} is sooner than {wait:?} after {told}");
}

#[test]
fn a_429_may_give_its_time_as_an_http_date() {
    let (date, throttled) = before(3, |at| {
        // What is less than a second away when it is told counts for nothing.
        let date = at + Duration::from_secs(1);
        let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&date).unwrap();
        Some((date, throttled(&text)))
    });
    let (told, wait, next) = next_call(throttled);
    assert!(next >= date, "{next} is sooner than {date}");
    // The answer's own `Date`, from which the time is counted, has whole seconds.
    let latest = date + Duration::from_secs(1);
    assert!(told + wait <= latest, "{wait:?} from {told} on is longer than until {latest}");
}

#[test]
fn an_answer_that_cannot_be_trusted_is_looked_up_and_the_run_adopted() {
    let unreadable = Effect::Status {
        status: 502,
        code: String::new(),
        message: String::new(),
        retry_after: None,
        body: Some("<html>Bad Gateway</html>".to_owned()),
        commit: true,
    };
    for effect in [Effect::ResetAfter, unreadable, Effect::Hang { commit: true }] {
        let (place, daemon) = once(at_first(effect), "timeout: 1s, settle: 2s");
        let unknown = daemon.wait_for("firing.unknown", |_| true);
        let adopted = daemon.wait_for("run.adopted", |_| true);
        assert_eq!(adopted["run_id"], unknown["firing_id"]);
        let ended = daemon.stop();
        assert_eq!(place.sim.runs().len(), 1, "it is never sent twice: {}", ended.output);
        assert_eq!(state(&place), ("accepted".into(), String::new()));
    }
}

#[test]
fn a_run_that_becomes_visible_only_later_is_still_found() {
    let set_up = |switches: &mut Switches| {
        switches.get_visible_after_ms = 2_500;
        at_first(Effect::ResetAfter)(switches);
    };
    let (place, daemon) = once(set_up, "settle: 4s");
    daemon.wait_for("run.adopted", |_| true);
    daemon.stop();
    assert_eq!(place.sim.runs().len(), 1);
}

#[test]
fn a_lost_answer_without_a_run_is_sent_again_where_the_factory_is_known_to_take_our_id() {
    let lost = Fault::always(Operation::CreateRun, Effect::ResetBefore).of("A").times(1);
    let (place, daemon) = once_taught(&lost, "settle: 2s");
    let created = daemon.wait_for("run.created", |event| event["entry"] == "a");
    assert_eq!(created["attempt"], 2, "{created}");
    let sent: Vec<_> = place.sim.requests().into_iter().filter(|r| r.path.contains("/A/")).collect();
    assert_eq!(sent.len(), 2);
    assert!(sent[1].arrived_at >= sent[0].arrived_at + Duration::from_secs(2), "not before it has settled");
    assert_eq!(sent[0].request_id, sent[1].request_id, "every attempt of a firing has the same id");
    let looks = place.sim.requests().iter().filter(|r| r.operation == Operation::GetRun).count();
    assert!(looks >= 2, "looked at once and after the settle time: {looks}");
}

#[test]
fn a_lost_answer_of_a_factory_with_ids_of_its_own_is_found_by_what_was_sent() {
    let set_up = |switches: &mut Switches| {
        switches.run_id_mode = RunIdMode::Own;
        at_first(Effect::ResetAfter)(switches);
    };
    let (place, daemon) = once(set_up, "settle: 1s, parameters: { day: '{{ scheduled_time }}', n: 5 }");
    let adopted = daemon.wait_for("run.adopted", |_| true);
    daemon.stop();
    let runs = place.sim.runs();
    assert_eq!(runs.len(), 1, "it is not sent again");
    assert_eq!(adopted["run_id"], runs[0].run_id);
    assert_eq!(state(&place), ("accepted".into(), String::new()));
}

#[test]
fn what_cannot_be_decided_is_held_and_never_sent_again() {
    let set_up = |switches: &mut Switches| {
        switches.run_id_mode = RunIdMode::Own;
        switches.redact_parameters = true;
        at_first(Effect::ResetAfter)(switches);
    };
    let (place, daemon) = once(set_up, "settle: 1s, parameters: { n: 5 }");
    let held = daemon.wait_for("firing.held", |_| true);
    assert_eq!(held["level"], "ERROR");
    let firing = held["firing_id"].as_str().unwrap();
    let run = &place.sim.runs()[0].run_id;
    assert_eq!(held["command"], format!("adf-cron settle {firing} --run {run}"));
    daemon.stop();
    // Not by the next start either.
    let again = place.daemon();
    place.sim.wait_until(LIMIT, "a token", |seen| (seen.count(Operation::Token) >= 2).then_some(()));
    again.stop();
    assert_eq!(place.sim.runs().len(), 1);
    assert_eq!(state(&place), ("held".into(), "possible_match".into()));
    let shown = place.run(&["history", "--state", "held"]);
    assert!(crate::process::results(&shown).contains(firing), "a person finds it in the history");
}

#[test]
fn on_unknown_hold_asks_a_person_even_when_nothing_was_started() {
    let lost = Fault::always(Operation::CreateRun, Effect::ResetBefore).of("A").times(1);
    let (place, daemon) = once_taught(&lost, "settle: 1s, on_unknown: hold");
    let held = daemon.wait_for("firing.held", |_| true);
    assert_eq!(held["reason"], "on_unknown_hold");
    assert!(place.sim.runs().iter().all(|run| run.pipeline != "A"));
}

#[test]
fn a_look_that_gets_no_answer_is_said_once_and_goes_on() {
    let refused = Effect::error(403, "AuthorizationFailed", "may not read");
    let set_up = |switches: &mut Switches| {
        at_first(Effect::ResetAfter)(switches);
        switches.faults.push(Fault::always(Operation::GetRun, refused.clone()).times(1));
    };
    let (place, daemon) = once(set_up, "settle: 1s");
    let blocked = daemon.wait_for("reconcile.blocked", |_| true);
    assert_eq!(blocked["error_code"], "AuthorizationFailed");
    daemon.wait_for("run.adopted", |_| true);
    let ended = daemon.stop();
    assert_eq!(of(&ended.events, "reconcile.blocked").len(), 1);
    assert_eq!(place.sim.runs().len(), 1);
}

#[test]
fn a_run_id_that_is_none_or_another_firings_is_an_anomaly_and_treated_as_unknown() {
    // No id at all.
    let (place, daemon) = once(at_first(Effect::RunId("not-a-guid".to_owned())), "settle: 1s");
    let anomaly = daemon.wait_for("run.anomaly", |_| true);
    assert_eq!((&anomaly["run_id"], &anomaly["reason"]), (&"not-a-guid".into(), &"malformed_run_id".into()));
    let unknown = daemon.wait_for("firing.unknown", |_| true);
    assert_eq!(unknown["firing_id"], anomaly["firing_id"]);
    let created = daemon.wait_for("run.created", |_| true);
    assert_eq!(created["attempt"], 2, "no run was found after the settle time, so it is sent again");
    daemon.stop();
    assert_eq!(place.sim.runs().len(), 1);

    // The id of a run that another firing owns.
    let place = Place::new();
    place.write("pipelines:\n  - { name: a, pipeline: A, schedule: { every: 2s }, settle: 1s }\n");
    let daemon = place.daemon();
    let first = daemon.wait_for("run.created", |_| true);
    let stolen = first["run_id"].as_str().unwrap().to_owned();
    place.sim.set(at_first(Effect::RunId(stolen.clone())));
    let anomaly = daemon.wait_for("run.anomaly", |_| true);
    assert_eq!(anomaly["run_id"], stolen);
    assert_ne!(anomaly["firing_id"], first["firing_id"]);
    let again = daemon.wait_for("run.created", |event| event["firing_id"] == anomaly["firing_id"]);
    assert_eq!(again["attempt"], 2, "nothing was started, so it is sent again: {again}");
}

#[test]
fn a_factory_that_gives_its_own_ids_is_believed() {
    let place = Place::new();
    place.sim.set(|switches| switches.run_id_mode = RunIdMode::Own);
    place.write("pipelines:\n  - { name: a, pipeline: A, schedule: { every: 1s } }\n");
    let daemon = place.daemon();
    let created = daemon.wait_for_count("run.created", 3);
    let runs = place.sim.runs();
    for event in &created {
        assert!(
            runs.iter().any(|run| event["run_id"] == run.run_id
                && run.request_id.as_deref() == event["firing_id"].as_str())
        );
        assert_ne!(event["run_id"], event["firing_id"]);
    }
}

#[test]
fn a_service_that_is_not_there_is_tried_again_with_growing_waits_until_the_attempts_are_used_up() {
    let (_place, daemon) = before(2, |at| {
        let place = Place::new();
        place.write(&format!(
            "pipelines:
  - name: a
    pipeline: A
    schedule: {{ at: '{at}' }}
    retry: {{ max_attempts: 3, initial: 200ms, max: 1s }}
"
        ));
        // Nobody listens at the discard port.
        let text = std::fs::read_to_string(place.schedule()).unwrap();
        let manager = format!("resource_manager: {}", place.sim.url());
        place.write_raw(text.replace(&manager, "resource_manager: http://127.0.0.1:9"));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
    let rejected = daemon.wait_for("firing.rejected", |_| true);
    assert_eq!(rejected["reason"], "retries_exhausted");
    let ended = daemon.stop();
    let failed = of(&ended.events, "attempt.failed");
    let numbers: Vec<&Value> = failed.iter().map(|event| &event["attempt"]).collect();
    assert_eq!(numbers, [1, 2, 3], "{}", ended.output);
    assert!(failed[0]["retry_in_ms"].as_u64().unwrap() <= failed[1]["retry_in_ms"].as_u64().unwrap());
    assert!(failed[2]["retry_in_ms"].is_null());
}
