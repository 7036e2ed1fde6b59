//! What happens when a run fails.

use azure_sim::{Ends, Run};
use serde_json::json;

use crate::process::{Daemon, LIMIT, Place, errors, of};
use crate::stage::before;

/// An entry that fires once a day, next in a few seconds, at a service where so many runs fail and the others succeed.
fn failing(times: u32, more: &str) -> (Place, Daemon) {
    before(2, |at| {
        let place = Place::new();
        let failed = Ends::after(300).with("Failed", "the disk is full").times(times);
        place.sim.set(|switches| switches.ends = vec![failed, Ends::after(300)]);
        place.write(&format!(
            "pipelines:\n  - {{ name: a, pipeline: P, schedule: {{ every: 1d, anchor: \"{at}\" }}, parameters: {{ n: 1 }}, {more} }}\n"
        ));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    })
}

/// The run that recovers the first one.
fn recovered(place: &Place) -> (Run, Run) {
    place.sim.wait_until(LIMIT, "a run that recovers", |seen| {
        let [first, second, ..] = seen.runs.as_slice() else { return None };
        Some((first.clone(), second.clone()))
    })
}

fn assert_recovers(from: &str, how: Option<(&str, &str)>) {
    let (place, daemon) = failing(1, &format!("recovery: {{ max: 1, delay: 1s, from: {from} }}"));
    daemon.wait_for("run.finished", |event| event["retry_in_ms"] == 1_000);
    let (first, second) = recovered(&place);
    let query: Vec<(&str, &str)> = second.query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    assert!(query.contains(&("referencePipelineRunId", &first.run_id)), "{query:?}");
    assert!(query.contains(&("isRecovery", "true")), "{query:?}");
    let hows = ["startFromFailure", "startActivityName"];
    let given: Vec<&(&str, &str)> = query.iter().filter(|(name, _)| hows.contains(name)).collect();
    assert_eq!(given, how.iter().collect::<Vec<_>>());
    assert_eq!((&second.run_group_id, &second.parameters), (&first.run_group_id, &json!({ "n": 1 })));
    daemon
        .wait_for("run.finished", |event| event["run_status"] == "Succeeded" && event["kind"] == "recovery");
    let ended = daemon.stop();
    assert_eq!(of(&ended.events, "run.created")[1]["kind"], "recovery");
    let rows = place.history();
    let statuses: Vec<_> =
        rows.iter().map(|row| (row["kind"].as_str(), row["run_status"].as_str())).collect();
    assert!(statuses.contains(&(Some("scheduled"), Some("Failed"))), "{statuses:?}");
    assert!(statuses.contains(&(Some("recovery"), Some("Succeeded"))), "{statuses:?}");
    assert_eq!(place.report(&["audit"]).0, 0, "a nominal time has one record, whatever recovered it");
}

#[test]
fn a_run_that_failed_is_recovered_from_its_failure() {
    assert_recovers("failure", Some(("startFromFailure", "true")));
}

#[test]
fn a_run_that_failed_is_recovered_from_its_start() {
    assert_recovers("start", None);
}

#[test]
fn a_run_that_failed_is_recovered_from_an_activity() {
    assert_recovers("{ activity: Load }", Some(("startActivityName", "Load")));
}

#[test]
fn a_run_is_recovered_so_often_and_no_more_also_across_a_kill() {
    let (place, daemon) = failing(3, "settle: 1s, recovery: { max: 2, delay: 1s }");
    daemon.wait_for("run.finished", |_| true);
    daemon.kill();
    let daemon = place.daemon();
    daemon.wait_until("the end of the last run", |events| {
        let finished = of(events, "run.finished");
        finished.iter().any(|event| event["retry_in_ms"].is_null()).then_some(())
    });
    daemon.stop();
    assert_eq!(place.sim.run_count(), 3, "the first, and two that recover");
}

#[test]
fn nothing_is_recovered_past_the_next_nominal_time() {
    let place = Place::new();
    place.sim.set(|switches| switches.ends = vec![Ends::after(300).with("Failed", "no")]);
    place.write(
        "pipelines:\n  - { name: a, pipeline: P, schedule: { every: 2s }, recovery: { delay: 3s } }\n",
    );
    let daemon = place.daemon();
    daemon.wait_for_count("run.finished", 3);
    let ended = daemon.stop();
    assert!(of(&ended.events, "run.created").iter().all(|event| event["kind"] == "scheduled"));
}

#[test]
fn an_entry_whose_runs_fail_in_a_row_is_paused_until_a_person_resumes_it() {
    let place = Place::new();
    place.sim.set(|switches| switches.ends = vec![Ends::after(200).with("Failed", "no")]);
    place.write(
        "pipelines:\n  - { name: a, pipeline: P, schedule: { every: 1s }, pause_after_failures: 3 }\n",
    );
    let daemon = place.daemon();
    let paused = daemon.wait_for("entry.paused", |_| true);
    assert_eq!((&paused["entry"], &paused["note"]), (&json!("a"), &json!("3 runs in a row have failed")));
    daemon.kill();
    let (_, status) = place.report(&["status"]);
    assert_eq!(status["paused"][0]["entry"], "a");
    let daemon = place.daemon();
    let resumed = place.run(&["resume", "a"]);
    assert!(resumed.status.success(), "{}", errors(&resumed));
    let before = place.sim.run_count();
    place.sim.wait_until(LIMIT, "a run after that", |seen| (seen.runs.len() > before).then_some(()));
    daemon.stop();
}
