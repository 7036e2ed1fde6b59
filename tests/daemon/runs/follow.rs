//! Following runs.

use azure_sim::{Effect, Ends, Fault, Operation, Switches};
use serde_json::{Value, json};

use crate::process::{Daemon, LIMIT, Place, of};
use crate::stage::before;

/// One entry that fires once, a few seconds from now, at a service that is set up so.
fn once(set_up: impl Fn(&mut Switches), more: &str) -> (Place, Daemon) {
    before(2, |at| {
        let place = Place::new();
        place.sim.set(&set_up);
        place.write(&format!(
            "pipelines:\n  - {{ name: a, pipeline: P, schedule: {{ at: \"{at}\" }}, settle: 2s, {more} }}\n"
        ));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    })
}

fn row(place: &Place) -> Value {
    place.history().into_iter().next().unwrap()
}

#[test]
fn the_end_of_a_run_is_told_and_kept_with_how_it_went() {
    let (place, daemon) = before(2, |at| {
        let place = Place::new();
        place.sim.set(|switches| {
            switches.ends =
                vec![Ends::after(1_000).with("Failed", "the disk is full").of("P"), Ends::after(1_000)];
        });
        place.write(&format!(
            "pipelines:
  - {{ name: a, pipeline: P, schedule: {{ at: '{at}' }}, priority: 1 }}
  - {{ name: b, pipeline: Q, schedule: {{ at: '{at}' }} }}
"
        ));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
    let finished = daemon.wait_for_count("run.finished", 2);
    let failed = finished.iter().find(|event| event["entry"] == "a").unwrap();
    assert_eq!((&failed["level"], &failed["run_status"]), (&json!("ERROR"), &json!("Failed")), "{failed}");
    assert_eq!(failed["error_message"], "the disk is full");
    assert!(failed["duration_ms"].as_u64().is_some_and(|ms| (1_000..2_000).contains(&ms)), "{failed}");
    assert_eq!(failed["run_id"], failed["firing_id"]);
    let succeeded = finished.iter().find(|event| event["entry"] == "b").unwrap();
    assert_eq!((&succeeded["level"], &succeeded["run_status"]), (&json!("INFO"), &json!("Succeeded")));
    daemon.stop();
    let rows = place.history();
    let failed = rows.iter().find(|row| row["entry"] == "a").unwrap();
    assert_eq!((&failed["state"], &failed["run_status"]), (&json!("accepted"), &json!("Failed")));
    assert_eq!(failed["error_message"], "the disk is full");
    assert!(failed["finished_at"].is_string(), "{failed}");
    assert_eq!(place.sim.run_count(), 2, "nothing is repeated");
}

#[test]
fn a_run_is_followed_across_a_kill_and_its_end_is_told_once() {
    let (place, daemon) = once(|_| {}, "");
    daemon.wait_for("run.created", |_| true);
    // Its commit is announced.
    daemon.kill();
    let run = place.sim.runs()[0].run_id.clone();
    place.sim.set_run_status(&run, "Succeeded");
    let daemon = place.daemon();
    let finished = daemon.wait_for("run.finished", |_| true);
    assert_eq!(finished["run_id"], json!(run));
    let ended = daemon.stop();
    assert_eq!(of(&ended.events, "run.finished").len(), 1);
    assert_eq!(row(&place)["run_status"], "Succeeded");
    let again = place.daemon();
    again.wait_for("schedule.loaded", |_| true);
    assert!(of(&again.stop().events, "run.finished").is_empty());
}

#[test]
fn many_runs_are_followed_with_one_query_and_not_one_by_one() {
    let (place, daemon) = before(2, |at| {
        let place = Place::new();
        place.sim.set(|switches| switches.ends = vec![Ends::after(2_000)]);
        let entries: String = (0..60)
            .map(|n| format!("  - {{ name: e{n}, pipeline: P{n}, schedule: {{ at: \"{at}\" }} }}\n"))
            .collect();
        place.write(&format!("pipelines:\n{entries}"));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
    daemon.wait_for_count("run.finished", 60);
    daemon.stop();
    let requests = place.sim.requests();
    let calls = |operation| requests.iter().filter(move |request| request.operation == operation);
    let queries: Vec<_> = calls(Operation::QueryRuns).map(|query| query.arrived_at.as_second()).collect();
    // A pass comes every third heartbeat, however many runs there are.
    let passes = (queries[queries.len() - 1] - queries[0]) / 3 + 1;
    assert!(i64::try_from(queries.len()).unwrap() <= passes + 1, "{queries:?}");
    assert_eq!(calls(Operation::GetRun).count(), 0);
}

#[test]
fn a_missing_right_to_read_runs_is_said_once_and_firings_go_on() {
    let place = Place::new();
    let forbidden = Effect::error(403, "AuthorizationFailed", "may not read");
    place.sim.set(|switches| {
        switches.faults = vec![
            Fault::always(Operation::QueryRuns, forbidden.clone()),
            Fault::always(Operation::GetRun, forbidden),
        ];
    });
    place.write("pipelines:\n  - { name: a, pipeline: P, schedule: { every: 1s } }\n");
    let daemon = place.daemon();
    let blocked = daemon.wait_for("follow.blocked", |_| true);
    assert_eq!((&blocked["level"], &blocked["error_message"]), (&json!("ERROR"), &json!("may not read")));
    let before = place.sim.run_count();
    place.sim.wait_until(LIMIT, "more runs", |seen| (seen.runs.len() > before + 5).then_some(()));
    let ended = daemon.stop();
    assert_eq!(of(&ended.events, "follow.blocked").len(), 1);
    let queries =
        place.sim.requests().iter().filter(|request| request.operation == Operation::QueryRuns).count();
    assert_eq!(queries, 1, "what is forbidden is not asked each time");
}

#[test]
fn a_run_that_is_gone_is_told_of() {
    let (place, daemon) = once(|_| {}, "");
    let created = daemon.wait_for("run.created", |_| true);
    place.sim.forget_run(created["run_id"].as_str().unwrap());
    let vanished = daemon.wait_for("run.vanished", |_| true);
    assert_eq!((&vanished["run_id"], &vanished["reason"]), (&created["run_id"], &json!("absent")));
    daemon.stop();
    assert_eq!(row(&place)["run_status"], "Vanished");
    assert_eq!(place.sim.run_count(), 1, "nothing is repeated");
}

#[test]
fn a_run_beyond_its_deadline_is_told_of_and_goes_on() {
    let (place, daemon) = once(|_| {}, "run_deadline: 1s");
    let overdue = daemon.wait_for("run.overdue", |_| true);
    assert_eq!(overdue["level"], "ERROR");
    daemon.stop();
    assert_eq!(place.sim.runs()[0].status, "Queued");
    let again = place.daemon();
    again.wait_for("schedule.loaded", |_| true);
    assert!(of(&again.stop().events, "run.overdue").is_empty(), "it is told of once");
}

#[test]
fn a_run_beyond_its_deadline_is_cancelled_where_the_entry_says_so() {
    let set_up = |switches: &mut Switches| switches.cancel_takes_ms = Some(200);
    let (place, daemon) = once(set_up, "run_deadline: 1s, on_deadline: cancel");
    let finished = daemon.wait_for("run.finished", |_| true);
    assert_eq!((&finished["run_status"], &finished["level"]), (&json!("Cancelled"), &json!("WARN")));
    daemon.stop();
    let cancels = place.sim.requests();
    assert_eq!(cancels.iter().filter(|request| request.operation == Operation::Cancel).count(), 1);
}

#[test]
fn an_entry_may_leave_its_runs_alone() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: a, pipeline: P, schedule: { every: 1s }, follow: false }\n");
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 8);
    daemon.stop();
    let asked = place.sim.requests();
    assert!(
        !asked.iter().any(|request| matches!(request.operation, Operation::QueryRuns | Operation::GetRun))
    );
}
