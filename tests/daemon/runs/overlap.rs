//! Overlap: what starts, waits and is left out while others are running.

use azure_sim::{Ends, Operation};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::process::{Daemon, LIMIT, Place, in_seconds, of};

/// An entry that fires at these seconds from now, and when its first firing is due.
fn entry(name: &str, seconds: &[i64], more: &str) -> String {
    let times: Vec<String> = seconds.iter().map(|s| format!("\"{}\"", in_seconds(*s))).collect();
    let times = times.join(", ");
    format!("  - {{ name: {name}, pipeline: P, schedule: {{ at: [{times}] }}, {more} }}\n")
}

fn started(seconds: &[i64], more: &str) -> (Place, Daemon) {
    let place = Place::new();
    place.write(&format!("pipelines:\n{}", entry("a", seconds, more)));
    let daemon = place.daemon();
    (place, daemon)
}

/// When the runs of this entry's firings arrived, in order.
fn arrivals(place: &Place) -> Vec<Timestamp> {
    place.sim.runs().iter().map(|run| run.arrived_at).collect()
}

fn reason(event: &Value) -> &str {
    event["reason"].as_str().unwrap()
}

#[test]
fn skip_leaves_out_what_comes_while_a_run_goes_on() {
    let (place, daemon) = started(&[2, 4, 8], "overlap: skip");
    let skipped = daemon.wait_for("firing.skipped", |_| true);
    assert_eq!((reason(&skipped), &skipped["count"]), ("overlap", &json!(1)));
    // It ends just before the third is due: a look at that moment sees it.
    let run = place.sim.runs()[0].run_id.clone();
    place.sim.set_run_status(&run, "Succeeded");
    daemon.wait_for_count("run.created", 2);
    daemon.stop();
    let states: Vec<Value> = place.history().iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["accepted", "skipped", "accepted"]);
}

#[test]
fn queue_one_keeps_the_newest_and_starts_it_when_the_run_is_over() {
    let (place, daemon) = started(&[2, 3, 4], "overlap: queue_one");
    let superseded = daemon.wait_for("firing.skipped", |_| true);
    assert_eq!(reason(&superseded), "superseded");
    let run = place.sim.runs()[0].run_id.clone();
    place.sim.set_run_status(&run, "Failed");
    let created = daemon.wait_for_count("run.created", 2);
    assert!(created[1]["scheduled_time"].as_str() > superseded["scheduled_time"].as_str());
    daemon.stop();
    assert_eq!(place.sim.run_count(), 2);
}

#[test]
fn queue_all_starts_all_one_after_the_other_also_across_a_kill() {
    let place = Place::new();
    place.sim.set(|switches| switches.ends = vec![Ends::after(1_500)]);
    place.write(&format!(
        "pipelines:\n{}",
        entry("a", &[2, 3, 4], "overlap: queue_all, late_after: 1s, missed: skip, settle: 1s")
    ));
    let daemon = place.daemon();
    daemon.wait_for("firing.planned", |_| true);
    place.sim.wait_until(LIMIT, "a first run", |seen| (!seen.runs.is_empty()).then_some(()));
    // The ledger knows what is queued.
    let deadline = std::time::Instant::now() + LIMIT;
    while place.history().iter().filter(|row| row["reason"] == "overlap").count() < 2 {
        assert!(std::time::Instant::now() < deadline, "{:?}", place.history());
    }
    daemon.kill();
    let daemon = place.daemon();
    place.sim.wait_until(LIMIT, "all runs", |seen| (seen.runs.len() == 3).then_some(()));
    daemon.wait_for_count("run.created", 1);
    daemon.stop();
    let runs = place.sim.runs();
    let apart = |pair: &[azure_sim::Run]| pair[1].arrived_at >= pair[0].ended_at.unwrap();
    assert!(runs.windows(2).all(apart), "{runs:?}");
    assert!(place.history().iter().all(|row| row["state"] == "accepted"));
}

#[test]
fn what_does_not_fit_into_the_queue_is_left_out() {
    let (place, daemon) = started(&[2, 3, 4], "overlap: queue_all, max_queued: 1");
    let full = daemon.wait_for("firing.skipped", |_| true);
    assert_eq!(reason(&full), "queue_full");
    daemon.stop();
    assert_eq!(place.sim.run_count(), 1);
    let waiting = place.history().into_iter().find(|row| row["state"] == "waiting").unwrap();
    assert_eq!(waiting["reason"], "overlap", "it is left to the next start");
}

#[test]
fn cancel_running_cancels_the_run_and_starts_the_next_when_it_has_ended() {
    let place = Place::new();
    place.sim.set(|switches| switches.cancel_takes_ms = Some(500));
    place.write(&format!("pipelines:\n{}", entry("a", &[2, 5], "overlap: cancel_running")));
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 2);
    let finished = daemon.wait_for("run.finished", |_| true);
    assert_eq!(finished["run_status"], "Cancelled");
    daemon.stop();
    let runs = place.sim.runs();
    assert!(runs[1].arrived_at >= runs[0].ended_at.unwrap(), "{runs:?}");
    let cancels = place.sim.requests();
    assert_eq!(cancels.iter().filter(|request| request.operation == Operation::Cancel).count(), 1);
}

#[test]
fn max_active_lets_so_many_run_at_once_and_no_more() {
    let (place, daemon) = started(&[2, 3, 4], "max_active: 2");
    daemon.wait_for_count("run.created", 2);
    let run = place.sim.runs()[0].run_id.clone();
    let deadline = std::time::Instant::now() + LIMIT;
    while !place.history().iter().any(|row| row["reason"] == "overlap") {
        assert!(std::time::Instant::now() < deadline, "{:?}", place.history());
    }
    assert_eq!(place.sim.run_count(), 2);
    place.sim.set_run_status(&run, "Succeeded");
    daemon.wait_for_count("run.created", 3);
    daemon.stop();
}

#[test]
fn a_pipeline_as_the_scope_counts_the_runs_of_triggers_and_of_other_entries() {
    let place = Place::new();
    let theirs = place.sim.trigger("P");
    let scope = "overlap: skip, overlap_scope: pipeline";
    let entries = entry("a", &[2, 7], scope) + &entry("b", &[9], scope);
    place.write(&format!("pipelines:\n{entries}"));
    let daemon = place.daemon();
    let skipped = daemon.wait_for("firing.skipped", |_| true);
    assert_eq!((&skipped["entry"], reason(&skipped)), (&json!("a"), "overlap"));
    place.sim.set_run_status(&theirs, "Succeeded");
    daemon.wait_for("run.created", |event| event["entry"] == "a");
    // The run of one entry stands in the way of the other.
    daemon.wait_for("firing.skipped", |event| event["entry"] == "b");
    daemon.stop();
}

#[test]
fn allow_starts_everything() {
    let (place, daemon) = started(&[2, 3, 4], "overlap: allow");
    daemon.wait_for_count("run.created", 3);
    let ended = daemon.stop();
    assert!(of(&ended.events, "firing.skipped").is_empty());
    assert_eq!(arrivals(&place).len(), 3);
}

#[test]
fn check_warns_of_runs_that_take_longer_than_the_interval_where_they_may_overlap() {
    let place = Place::new();
    place.sim.set(|switches| switches.ends = vec![Ends::after(2_500)]);
    place.write("pipelines:\n  - { name: a, pipeline: P, schedule: { every: 1s } }\n");
    let daemon = place.daemon();
    daemon.wait_for("run.finished", |_| true);
    daemon.stop();
    let (code, report) = place.report(&["check"]);
    assert_eq!(code, 0);
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("'a' had runs of up to ") && warning.contains("overlap: skip"), "{warning}");
    place.write("pipelines:\n  - { name: a, pipeline: P, schedule: { every: 1s }, overlap: skip }\n");
    assert!(place.report(&["check"]).1["warnings"].as_array().unwrap().is_empty());
}
