//! What the person on call does: settle, retry, pause, resume, with a daemon and without one.

use std::process::Stdio;

use azure_sim::{Effect, Fault, Operation, RunIdMode};
use serde_json::Value;

use crate::process::{Daemon, LIMIT, Place, errors, of, results};
use crate::stage::before;

/// A place and a daemon with one firing that is held, and that firing.
pub(crate) fn held() -> (Place, Daemon, String) {
    let (place, daemon) = before(2, |at| {
        let place = Place::new();
        place.sim.set(|switches| {
            switches.run_id_mode = RunIdMode::Own;
            switches.redact_parameters = true;
            switches.faults = vec![Fault::always(Operation::CreateRun, Effect::ResetAfter).times(1)];
        });
        place.write(&format!(
            "pipelines:\n  - {{ name: a, pipeline: A, schedule: {{ at: '{at}' }}, settle: 1s, parameters: {{ n: 5 }} }}\n"
        ));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
    let held = daemon.wait_for("firing.held", |_| true);
    let firing = held["firing_id"].as_str().unwrap().to_owned();
    (place, daemon, firing)
}

fn row(place: &Place) -> Value {
    let rows = place.history();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().unwrap()
}

#[test]
fn a_held_firing_is_settled_with_the_command_that_its_event_gives() {
    let (place, daemon, firing) = held();
    let command = daemon.wait_for("firing.held", |_| true)["command"].as_str().unwrap().to_owned();
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let output = place.run(&arguments);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let run = place.sim.runs()[0].run_id.clone();
    assert_eq!(results(&output), format!("accepted: A runs as {run}\n"));
    let settled = daemon.wait_for("firing.settled", |_| true);
    assert_eq!((&settled["firing_id"], &settled["run_id"]), (&firing.into(), &run.clone().into()));
    daemon.stop();
    let row = row(&place);
    assert_eq!(
        (&row["state"], &row["reason"], &row["run_id"]),
        (&"accepted".into(), &"settled".into(), &run.into())
    );
    assert_eq!(place.sim.runs().len(), 1);
}

#[test]
fn a_held_firing_that_started_nothing_is_closed_or_sent_again_as_the_person_says() {
    for (option, state) in [("--not-started", "not_started"), ("--retry", "accepted")] {
        let (place, daemon, firing) = held();
        let output = place.run(&["settle", &firing, option, "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{option}: {}", errors(&output));
        let row: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(row["state"], state, "{row}");
        daemon.stop();
        // The stand-in knows the repeated id, and answers with the run that there is.
        assert_eq!(place.sim.runs().len(), 1, "{option}");
        let again = place.run(&["settle", &firing, "--not-started"]);
        assert_eq!(again.status.code(), Some(1));
        assert!(errors(&again).contains("only a held firing is settled"), "{}", errors(&again));
    }
}

#[test]
fn a_held_firing_is_settled_without_a_daemon_as_well() {
    let (place, daemon, firing) = held();
    daemon.stop();
    let other = "00000000-0000-4000-8000-000000000001";
    let output = place.run(&["settle", &firing, "--run", other]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(row(&place)["run_id"], other);
    assert_eq!(place.run(&["settle", other, "--not-started"]).status.code(), Some(1), "no such firing");
    for bad in
        [vec!["settle", &firing], vec!["settle", "x", "--retry"], vec!["settle", &firing, "--run", "x"]]
    {
        assert_eq!(place.run(&bad).status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn what_was_rejected_is_tried_again_once_the_reason_is_gone() {
    let (place, daemon) = before(2, |at| {
        let place = Place::new();
        let refused = Effect::error(403, "AuthorizationFailed", "may not start");
        let refused = Fault::always(Operation::CreateRun, refused).times(2);
        place.sim.set(|switches| switches.faults = vec![refused]);
        place.write(&format!(
            "pipelines:
  - {{ name: a, pipeline: A, schedule: {{ at: '{at}' }} }}
  - {{ name: b, pipeline: B, schedule: {{ at: '{at}' }} }}
"
        ));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
    let rejected = daemon.wait_for_count("firing.rejected", 2);
    let output = place.run(&["retry", "--state", "rejected", "--since", "1h"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(results(&output).lines().count(), 2);
    daemon.wait_for_count("firing.reopened", 2);
    let created = daemon.wait_for_count("run.created", 2);
    let ids = |events: &[Value]| -> Vec<String> {
        let mut ids: Vec<_> =
            events.iter().map(|event| event["firing_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&created), ids(&rejected), "the same firings, with the same ids");
    assert!(created.iter().all(|event| event["attempt"] == 2));
    let firing = created[0]["firing_id"].as_str().unwrap();
    let again = place.run(&["retry", firing]);
    assert_eq!(again.status.code(), Some(1));
    assert!(errors(&again).contains("is accepted"), "{}", errors(&again));
    daemon.stop();
    assert_eq!(place.sim.runs().len(), 2);
}

#[test]
fn a_paused_entry_starts_nothing_until_it_is_resumed_also_across_a_restart() {
    let place = Place::new();
    place.write(
        "pipelines:
  - { name: a, pipeline: A, schedule: { every: 1s }, missed: all }
  - { name: b, pipeline: B, schedule: { every: 1s } }
",
    );
    let daemon = place.daemon();
    daemon.wait_for("run.created", |event| event["entry"] == "a");
    let output = place.run(&["pause", "a", "--note", "broken upstream"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let paused = daemon.wait_for("entry.paused", |_| true);
    assert_eq!((&paused["entry"], &paused["note"]), (&"a".into(), &"broken upstream".into()));
    let others = |daemon: &Daemon, more: usize| {
        let count = of(&daemon.events(), "run.created").iter().filter(|event| event["entry"] == "b").count();
        daemon.wait_until("the other entry", |events| {
            let now = of(events, "run.created").iter().filter(|event| event["entry"] == "b").count();
            (now >= count + more).then_some(())
        });
    };
    let of_a = || place.sim.runs().iter().filter(|run| run.pipeline == "A").count();
    others(&daemon, 1);
    let before = of_a();
    others(&daemon, 2);
    daemon.kill();
    let daemon = place.daemon();
    others(&daemon, 2);
    assert_eq!(of_a(), before);
    assert_eq!(place.run(&["pause", "a"]).status.code(), Some(1), "it is paused already");
    assert_eq!(place.run(&["resume", "a"]).status.code(), Some(0));
    let skipped = daemon.wait_for("firing.skipped", |event| event["reason"] == "paused");
    assert!(skipped["count"].as_u64() >= Some(4), "{skipped}");
    daemon.wait_for("run.created", |event| event["entry"] == "a");
    assert_eq!(place.run(&["pause", "nobody"]).status.code(), Some(2));
}

#[test]
fn a_command_whose_daemon_dies_says_so_and_what_goes_on() {
    let place = Place::new();
    place.sim.set(|switches| {
        switches.faults = vec![Fault::always(Operation::CreateRun, Effect::Hang { commit: false })]
    });
    place.write("pipelines:\n  - { name: a, pipeline: A, schedule: { at: 2200-01-01 } }\n");
    let daemon = place.daemon();
    let mut fire = place.command(&["fire", "a"]);
    let fire = fire.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    place.sim.wait_until(LIMIT, "the call", |seen| (seen.count(Operation::CreateRun) > 0).then_some(()));
    daemon.kill();
    let output = fire.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(69));
    assert!(
        errors(&output).contains("the daemon has stopped before the end of firing"),
        "{}",
        errors(&output)
    );
}
