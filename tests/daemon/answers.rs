//! What the service answers, and what follows from it.

use std::time::Duration;

use azure_sim::{Effect, Fault, Operation, RunIdMode};
use serde_json::Value;

use crate::process::{Daemon, LIMIT, Place, in_seconds, now, of};

/// One entry that fires once, soon, with these keys.
fn once(place: &Place, keys: &str) -> Daemon {
    let at = in_seconds(2);
    place.write(&format!("pipelines:\n  - {{ name: a, pipeline: A, schedule: {{ at: '{at}' }}, {keys} }}\n"));
    place.daemon()
}

fn fault(place: &Place, fault: Fault) {
    place.sim.set(|switches| switches.faults.push(fault));
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
        let place = Place::new();
        fault(&place, Fault::always(Operation::CreateRun, Effect::error(status, code, "it is said why")));
        let daemon = once(&place, "");
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
    let place = Place::new();
    fault(
        &place,
        Fault::always(Operation::CreateRun, Effect::error(401, "InvalidAuthenticationToken", "no")),
    );
    let daemon = once(&place, "");
    let rejected = daemon.wait_for("firing.rejected", |_| true);
    assert_eq!((&rejected["http_status"], &rejected["attempt"]), (&401.into(), &2.into()));
    let seen = place.sim.requests();
    assert_eq!(seen.iter().filter(|r| r.operation == Operation::CreateRun).count(), 2);
    let carried: Vec<_> =
        seen.iter().filter(|r| r.operation == Operation::CreateRun).map(|r| r.token).collect();
    assert_eq!(carried, [Some(1), Some(2)], "the second call carries the fresh token");
}

/// Three entries of one bucket, one after the other, the first of which is throttled.
fn throttled(retry_after: &str) {
    let place = Place::new();
    fault(&place, Fault::always(Operation::CreateRun, Effect::throttled(retry_after)).times(1));
    place.write(
        "pipelines:
  - { name: a, pipeline: A, schedule: { every: 1s } }
  - { name: b, pipeline: B, schedule: { every: 1s } }
",
    );
    let daemon = place.daemon();
    let paused = daemon.wait_for("throttle.paused", |_| true);
    daemon
        .wait_for("attempt.failed", |event| event["http_status"] == 429 && event["outcome"] == "retry_later");
    daemon.wait_for_count("run.created", 8);
    let ended = daemon.stop();
    let calls: Vec<_> = place
        .sim
        .requests()
        .into_iter()
        .filter(|request| request.operation == Operation::CreateRun)
        .collect();
    let at = calls.iter().position(|call| call.status == Some(429)).unwrap();
    let told = calls[at].answered_at.unwrap();
    let wait = Duration::from_millis(paused["retry_in_ms"].as_u64().unwrap());
    // A call that was under way when the 429 came cannot be taken back.
    let later = calls.iter().filter(|call| call.arrived_at > told + Duration::from_millis(20));
    let first = later.map(|call| call.arrived_at).min().unwrap();
    assert!(first >= told + wait, "{first} is sooner than {wait:?} after {told}");
    assert!(wait >= Duration::from_millis(900) && wait <= Duration::from_secs(4), "{wait:?}");
    assert!(of(&ended.events, "firing.rejected").is_empty(), "{}", ended.output);
    assert_eq!(of(&ended.events, "throttle.paused").len(), 1);
}

#[test]
fn a_429_is_not_repeated_sooner_by_any_firing_of_the_bucket() {
    throttled("2");
}

#[test]
fn a_429_may_give_its_time_as_an_http_date() {
    let at = jiff::fmt::rfc2822::DateTimePrinter::new();
    throttled(&at.timestamp_to_rfc9110_string(&in_seconds(3)).unwrap());
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
        let place = Place::new();
        fault(&place, Fault::always(Operation::CreateRun, effect).times(1));
        let daemon = once(&place, "timeout: 1s, settle: 2s");
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
    let place = Place::new();
    place.sim.set(|switches| switches.get_visible_after_ms = 2_500);
    fault(&place, Fault::always(Operation::CreateRun, Effect::ResetAfter).times(1));
    let daemon = once(&place, "settle: 4s");
    daemon.wait_for("run.adopted", |_| true);
    daemon.stop();
    assert_eq!(place.sim.runs().len(), 1);
}

#[test]
fn a_lost_answer_without_a_run_is_sent_again_where_the_factory_is_known_to_take_our_id() {
    let place = Place::new();
    let at = in_seconds(3);
    place.write(&format!(
        "pipelines:
  - {{ name: teacher, pipeline: T, schedule: {{ at: '{}' }} }}
  - {{ name: a, pipeline: A, schedule: {{ at: '{at}' }}, settle: 2s }}
",
        in_seconds(2)
    ));
    fault(&place, Fault::always(Operation::CreateRun, Effect::ResetBefore).of("A").times(1));
    let daemon = place.daemon();
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
    let place = Place::new();
    place.sim.set(|switches| switches.run_id_mode = RunIdMode::Own);
    fault(&place, Fault::always(Operation::CreateRun, Effect::ResetAfter).times(1));
    let daemon = once(&place, "settle: 1s, parameters: { day: '{{ scheduled_time }}', n: 5 }");
    let adopted = daemon.wait_for("run.adopted", |_| true);
    daemon.stop();
    let runs = place.sim.runs();
    assert_eq!(runs.len(), 1, "it is not sent again");
    assert_eq!(adopted["run_id"], runs[0].run_id);
    assert_eq!(state(&place), ("accepted".into(), String::new()));
}

#[test]
fn what_cannot_be_decided_is_held_and_never_sent_again() {
    let place = Place::new();
    place.sim.set(|switches| {
        switches.run_id_mode = RunIdMode::Own;
        switches.redact_parameters = true;
    });
    fault(&place, Fault::always(Operation::CreateRun, Effect::ResetAfter).times(1));
    let daemon = once(&place, "settle: 1s, parameters: { n: 5 }");
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
    let place = Place::new();
    place.write(&format!(
        "pipelines:
  - {{ name: teacher, pipeline: T, schedule: {{ at: '{}' }} }}
  - {{ name: a, pipeline: A, schedule: {{ at: '{}' }}, settle: 1s, on_unknown: hold }}
",
        in_seconds(2),
        in_seconds(3)
    ));
    fault(&place, Fault::always(Operation::CreateRun, Effect::ResetBefore).of("A").times(1));
    let daemon = place.daemon();
    let held = daemon.wait_for("firing.held", |_| true);
    assert_eq!(held["reason"], "on_unknown_hold");
    assert!(place.sim.runs().iter().all(|run| run.pipeline != "A"));
}

#[test]
fn a_look_that_gets_no_answer_is_said_once_and_goes_on() {
    let place = Place::new();
    fault(&place, Fault::always(Operation::CreateRun, Effect::ResetAfter).times(1));
    fault(
        &place,
        Fault::always(Operation::GetRun, Effect::error(403, "AuthorizationFailed", "may not read")).times(1),
    );
    let daemon = once(&place, "settle: 1s");
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
    let place = Place::new();
    fault(&place, Fault::always(Operation::CreateRun, Effect::RunId("not-a-guid".to_owned())).times(1));
    let daemon = once(&place, "settle: 1s");
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
    fault(&place, Fault::always(Operation::CreateRun, Effect::RunId(stolen.clone())).times(1));
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
    let place = Place::new();
    let at = in_seconds(2);
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
    let daemon = place.daemon();
    let rejected = daemon.wait_for("firing.rejected", |_| true);
    assert_eq!(rejected["reason"], "retries_exhausted");
    let ended = daemon.stop();
    let failed = of(&ended.events, "attempt.failed");
    let numbers: Vec<&Value> = failed.iter().map(|event| &event["attempt"]).collect();
    assert_eq!(numbers, [1, 2, 3], "{}", ended.output);
    assert!(failed[0]["retry_in_ms"].as_u64().unwrap() < failed[1]["retry_in_ms"].as_u64().unwrap());
    assert!(failed[2]["retry_in_ms"].is_null());
    assert!(now() > at);
}
