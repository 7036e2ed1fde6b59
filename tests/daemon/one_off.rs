//! `fire` without a daemon, and what it leaves to the next one.

use azure_sim::{Operation, RepeatedId};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{LIMIT, Place, of};

const ONE: &str = "pipelines:
  - { name: a, pipeline: A, schedule: '@yearly', settle: 1s }
";

#[test]
fn a_fire_that_is_killed_while_its_call_is_under_way_is_looked_up_by_the_next_daemon_and_not_repeated() {
    let place = Place::new();
    place.write(ONE);
    // A clean stop before it, and a factory that is known to take our ids.
    let daemon = place.daemon();
    assert_eq!(place.run(&["fire", "a"]).status.code(), Some(0));
    daemon.stop();
    place.sim.set(|switches| {
        switches.repeated_id = RepeatedId::NewRun;
        switches.create_run_delay_ms = 60_000;
    });
    let mut fire = place.command(&["fire", "a"]).spawn().unwrap();
    place.sim.wait_until(LIMIT, "its call", |seen| (seen.count(Operation::CreateRun) == 2).then_some(()));
    kill_process(Pid::from_child(&fire), Signal::KILL).unwrap();
    fire.wait().unwrap();
    place.sim.set(|switches| switches.create_run_delay_ms = 0);
    let daemon = place.daemon();
    let adopted = daemon.wait_for("run.adopted", |_| true);
    assert_eq!(adopted["kind"], "manual");
    daemon.stop();
    assert_eq!(place.sim.runs().len(), 2, "one for each fire");
}

#[test]
fn a_fire_leaves_what_a_crashed_daemon_had_to_say_to_the_next_daemon() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: a, pipeline: A, schedule: { every: 1s } }\n");
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 2);
    let mut said = daemon.kill().events;
    assert_eq!(place.run(&["fire", "a"]).status.code(), Some(0));
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 1);
    said.extend(daemon.stop().events);
    let told: Vec<String> = [of(&said, "run.created"), of(&said, "run.adopted")]
        .concat()
        .iter()
        .map(|event| event["run_id"].as_str().unwrap().to_owned())
        .collect();
    for row in place.history().iter().filter(|row| row["kind"] == "scheduled" && row["state"] == "accepted") {
        assert!(told.contains(&row["run_id"].as_str().unwrap().to_owned()), "never told: {row}");
    }
}

#[test]
fn a_fire_beside_a_clean_ledger_leaves_it_clean() {
    let place = Place::new();
    place.write(ONE);
    let daemon = place.daemon();
    daemon.stop();
    assert_eq!(place.run(&["fire", "a"]).status.code(), Some(0));
    place.write("pipelines:\n  - { name: b, pipeline: B, schedule: { every: 1s } }\n");
    let daemon = place.daemon();
    daemon.wait_for("run.created", |_| true);
    daemon.stop();
    let looks = place.sim.requests().iter().filter(|r| r.operation == Operation::GetRun).count();
    assert_eq!(looks, 0, "nothing had to be looked up");
}
