//! Overlap: what starts, waits and is left out while others are running.

use azure_sim::{Ends, Operation, Switches};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::process::{Daemon, LIMIT, Place, of};
use crate::stage::before;

/// Longer than any test runs.
const AN_HOUR: u64 = 3_600_000;

/// This many seconds after a time; fewer than none: before it.
fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at + SignedDuration::from_secs(seconds)
}

/// An entry that fires so many seconds after a time.
fn entry(name: &str, at: Timestamp, seconds: &[i64], more: &str) -> String {
    let times: Vec<String> = seconds.iter().map(|s| format!("\"{}\"", after(at, *s))).collect();
    let times = times.join(", ");
    format!("  - {{ name: {name}, pipeline: P, schedule: {{ at: [{times}] }}, {more} }}\n")
}

/// One entry that fires at a time to come, and one and two seconds later, at a service that is set up so.
fn thrice(set_up: impl Fn(&mut Switches), more: &str) -> (Place, Daemon) {
    before(2, |at| {
        let place = Place::new();
        place.sim.set(&set_up);
        place.write(&format!("pipelines:\n{}", entry("a", at, &[0, 1, 2], more)));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    })
}

/// The id of the first run, once there is one.
fn first_run(place: &Place) -> String {
    place.sim.wait_until(LIMIT, "a first run", |seen| Some(seen.runs.first()?.run_id.clone()))
}

/// When the runs of this entry's firings arrived, in order.
fn arrivals(place: &Place) -> Vec<Timestamp> {
    place.sim.runs().iter().map(|run| run.arrived_at).collect()
}

/// How many of these firings wait for runs to end.
fn queued(rows: &[Value]) -> usize {
    rows.iter().filter(|row| row["state"] == "waiting" && row["reason"] == "overlap").count()
}

fn reason(event: &Value) -> &str {
    event["reason"].as_str().unwrap()
}

#[test]
fn skip_leaves_out_what_comes_while_a_run_goes_on() {
    // It ends before the third is due: a look at that moment sees it.
    let (place, daemon) = before(8, |at| {
        let place = Place::new();
        place.write(&format!("pipelines:\n{}", entry("a", at, &[-6, -4, 0], "overlap: skip")));
        let daemon = place.daemon_before(after(at, -6))?;
        let skipped = daemon.wait_for("firing.skipped", |_| true);
        assert_eq!((reason(&skipped), &skipped["count"]), ("overlap", &json!(1)));
        place.sim.set_run_status(&first_run(&place), "Succeeded");
        Some((place, daemon))
    });
    daemon.wait_for_count("run.created", 2);
    daemon.stop();
    let states: Vec<Value> = place.history().iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["accepted", "skipped", "accepted"]);
}

#[test]
fn queue_one_keeps_the_newest_and_starts_it_when_the_run_is_over() {
    let (place, daemon) = thrice(|_| {}, "overlap: queue_one");
    let superseded = daemon.wait_for("firing.skipped", |_| true);
    assert_eq!(reason(&superseded), "superseded");
    place.sim.set_run_status(&first_run(&place), "Failed");
    let created = daemon.wait_for_count("run.created", 2);
    assert!(created[1]["scheduled_time"].as_str() > superseded["scheduled_time"].as_str());
    daemon.stop();
    assert_eq!(place.sim.run_count(), 2);
}

#[test]
fn queue_all_starts_all_one_after_the_other_also_across_a_kill() {
    // The first goes on until it is told to end, and each other ends by itself.
    let set_up = |switches: &mut Switches| {
        switches.ends = vec![Ends::after(AN_HOUR).times(1), Ends::after(1_500)];
    };
    let (place, daemon) = thrice(set_up, "overlap: queue_all, late_after: 1s, missed: skip, settle: 1s");
    place.wait_for_history("what is queued", |rows| queued(rows) == 2);
    let first = first_run(&place);
    daemon.kill();
    place.sim.set_run_status(&first, "Succeeded");
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
    let (place, daemon) = thrice(|_| {}, "overlap: queue_all, max_queued: 1");
    let full = daemon.wait_for("firing.skipped", |_| true);
    assert_eq!(reason(&full), "queue_full");
    daemon.stop();
    assert_eq!(place.sim.run_count(), 1);
    let waiting = place.history().into_iter().find(|row| row["state"] == "waiting").unwrap();
    assert_eq!(waiting["reason"], "overlap", "it is left to the next start");
}

#[test]
fn cancel_running_cancels_the_run_and_starts_the_next_when_it_has_ended() {
    let (place, daemon) = before(2, |at| {
        let place = Place::new();
        place.sim.set(|switches| switches.cancel_takes_ms = Some(500));
        place.write(&format!("pipelines:\n{}", entry("a", at, &[0, 3], "overlap: cancel_running")));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
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
    let (place, daemon) = thrice(|_| {}, "max_active: 2");
    daemon.wait_for_count("run.created", 2);
    let run = first_run(&place);
    place.wait_for_history("what is queued", |rows| queued(rows) == 1);
    assert_eq!(place.sim.run_count(), 2);
    place.sim.set_run_status(&run, "Succeeded");
    daemon.wait_for_count("run.created", 3);
    daemon.stop();
}

#[test]
fn a_pipeline_as_the_scope_counts_the_runs_of_triggers_and_of_other_entries() {
    let scope = "overlap: skip, overlap_scope: pipeline";
    let (_place, daemon) = before(7, |at| {
        let place = Place::new();
        let theirs = place.sim.trigger("P");
        let entries = entry("a", at, &[-5, 0], scope) + &entry("b", at, &[2], scope);
        place.write(&format!("pipelines:\n{entries}"));
        let daemon = place.daemon_before(after(at, -5))?;
        let skipped = daemon.wait_for("firing.skipped", |_| true);
        assert_eq!((&skipped["entry"], reason(&skipped)), (&json!("a"), "overlap"));
        place.sim.set_run_status(&theirs, "Succeeded");
        Some((place, daemon))
    });
    daemon.wait_for("run.created", |event| event["entry"] == "a");
    // The run of one entry stands in the way of the other.
    daemon.wait_for("firing.skipped", |event| event["entry"] == "b");
    daemon.stop();
}

#[test]
fn allow_starts_everything() {
    let (place, daemon) = thrice(|_| {}, "overlap: allow");
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
