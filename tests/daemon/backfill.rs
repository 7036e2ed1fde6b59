//! Backfills: nominal times of the past, started oldest first, by the daemon or by the command itself.

use azure_sim::{Ends, Operation, Run};
use serde_json::{Value, json};

use crate::process::{Daemon, LIMIT, Place, errors, results};

/// Nothing of it is due of itself, whatever the time is.
const NIGHTLY: &str = "pipelines:
  - name: nightly
    pipeline: Load
    schedule: { cron: \"30 2 * * *\", end: 2026-06-01 }
    parameters: { day: \"{{ scheduled_time | date('%F') }}\" }
";

/// A place whose runs end by themselves, and its daemon.
fn started(schedule: &str) -> (Place, Daemon) {
    let place = Place::new();
    place.sim.set(|switches| switches.ends = vec![Ends::after(200)]);
    place.write(schedule);
    let daemon = place.daemon();
    (place, daemon)
}

/// A backfill of four nights in January, with these arguments more.
fn january(more: &[&str]) -> Vec<String> {
    let arguments = ["backfill", "nightly", "--from", "2026-01-01", "--until", "2026-01-05"];
    arguments.iter().chain(more).map(|argument| (*argument).to_owned()).collect()
}

fn run(place: &Place, arguments: &[String]) -> (i32, String, String) {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = place.run(&arguments);
    (output.status.code().unwrap(), results(&output), errors(&output))
}

/// The days of the runs, in the order in which they arrived.
fn days(place: &Place) -> Vec<String> {
    let day = |run: &Run| run.parameters["day"].as_str().unwrap()[8..].to_owned();
    place.sim.runs().iter().map(day).collect()
}

/// Whether no two of these runs were under way at once.
fn one_after_the_other(runs: &[Run]) -> bool {
    runs.windows(2).all(|pair| pair[0].ended_at.is_some_and(|ended| ended <= pair[1].arrived_at))
}

#[test]
fn a_backfill_starts_the_nominal_times_of_the_past_in_order_and_one_at_a_time() {
    let (place, daemon) = started(NIGHTLY);
    let (code, said, told) = run(&place, &january(&[]));
    assert_eq!(code, 0, "{told}");
    assert_eq!(said, "nightly from 2026-01-01T02:30:00Z to 2026-01-04T02:30:00Z: 4 succeeded\n");
    assert!(told.contains("4 nominal times") && told.contains("at most 1 at once"), "{told}");
    assert!(!told.contains('\r'), "no picture where there is no terminal");
    assert_eq!(days(&place), ["01", "02", "03", "04"]);
    assert!(one_after_the_other(&place.sim.runs()));
    let began = daemon.wait_for("backfill.began", |_| true);
    let ended = daemon.wait_for("backfill.ended", |_| true);
    assert_eq!((&ended["backfill_id"], &ended["count"]), (&began["backfill_id"], &json!(4)));
    let kinds = place.history();
    let kinds = kinds.iter().filter(|row| row["kind"] == "backfill" && row["run_status"] == "Succeeded");
    assert_eq!(kinds.count(), 4);
    assert_eq!(place.report(&["audit"]).0, 0, "the records of the calendar are none of its business");
    daemon.stop();
}

#[test]
fn what_has_had_a_run_is_left_out_unless_it_is_wanted_again() {
    let (place, daemon) = started(NIGHTLY);
    let fire = ["fire", "nightly", "--scheduled-time", "2026-01-02T02:30:00Z"];
    assert_eq!(place.run(&fire).status.code(), Some(0));
    daemon.wait_for("run.finished", |_| true);
    let (code, said, _) = run(&place, &january(&["--max-active", "4"]));
    assert_eq!(code, 0);
    assert!(said.ends_with("3 succeeded, 1 needed no start\n"), "{said}");
    let (code, said, _) = run(&place, &january(&[]));
    assert!(code == 0 && said.ends_with(": 4 needed no start\n"), "{said}");
    let (code, said, _) = run(&place, &january(&["--again", "--max-active", "4"]));
    assert!(code == 0 && said.ends_with(": 4 succeeded\n"), "{said}");
    assert_eq!(place.sim.run_count(), 8);
    daemon.stop();
}

#[test]
fn a_dry_run_says_what_would_be_started_and_starts_nothing() {
    let (place, daemon) = started(NIGHTLY);
    let fire = ["fire", "nightly", "--scheduled-time", "2026-01-02T02:30:00Z"];
    assert_eq!(place.run(&fire).status.code(), Some(0));
    daemon.wait_for("run.finished", |_| true);
    let (code, said, _) = run(&place, &january(&["--dry-run"]));
    assert_eq!(code, 0);
    assert!(said.contains("2026-01-03T02:30:00Z") && !said.contains("2026-01-02T02:30:00Z"), "{said}");
    assert!(said.ends_with("nightly: 3 of 4 nominal times would be started; 1 need no start\n"), "{said}");
    let arguments = january(&["--dry-run", "--again"]);
    let (_, plan) = place.report(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((&plan["count"], &plan["left_out"]), (&json!(4), &json!(0)));
    assert_eq!(plan["firings"][1]["scheduled_time"], "2026-01-02T02:30:00Z");
    assert_eq!(place.sim.run_count(), 1);
    daemon.stop();
}

#[test]
fn a_dry_run_renders_each_of_them_and_tells_what_cannot_be_rendered() {
    let place = Place::new();
    place.write(
        "pipelines:
  - name: nightly
    pipeline: Load
    schedule: \"30 2 * * *\"
    parameters: { day: \"{{ 1 // (0 if scheduled_time < '2026-02' else 1) }}\" }
",
    );
    let (code, said, _) = run(&place, &january(&["--dry-run"]));
    assert!(code == 1 && said.contains("cannot be rendered"), "{said}");
}

#[test]
fn runs_that_fail_are_told_of_and_do_not_keep_the_others_from_starting() {
    let (place, daemon) = started(NIGHTLY);
    place.sim.set(|switches| switches.ends = vec![Ends::after(200).with("Failed", "disk full")]);
    let (code, said, _) = run(&place, &january(&["--max-active", "2"]));
    assert!(code == 1 && said.ends_with(": 4 failed\n"), "{said}");
    let listed = said.lines().filter(|line| line.contains(" nightly ")).count();
    assert_eq!(listed, 4, "{said}");
    daemon.stop();
}

#[test]
fn a_backfill_goes_on_after_the_daemon_was_killed_and_nothing_is_started_twice() {
    let (place, daemon) = started(&NIGHTLY.replace("Load\n", "Load\n    settle: 1s\n"));
    place.sim.set(|switches| switches.ends = vec![Ends::after(1_500)]);
    let arguments = january(&["--no-wait"]);
    assert_eq!(run(&place, &arguments).0, 0);
    place.sim.wait_until(LIMIT, "two runs", |seen| (seen.runs.len() >= 2).then_some(()));
    daemon.kill();
    let daemon = place.daemon();
    daemon.wait_for("backfill.ended", |event| event["reason"].is_null());
    daemon.stop();
    assert_eq!(days(&place), ["01", "02", "03", "04"]);
    assert!(one_after_the_other(&place.sim.runs()));
}

#[test]
fn status_shows_how_far_a_backfill_has_come_and_stop_ends_it() {
    let (place, daemon) = started(NIGHTLY);
    place.sim.set(|switches| switches.ends.clear());
    assert_eq!(run(&place, &january(&["--no-wait"])).0, 0);
    daemon.wait_for("run.created", |_| true);
    let (_, status) = place.report(&["status"]);
    let shown = &status["backfills"][0];
    assert_eq!((&shown["entry"], &shown["count"], &shown["open"]), (&json!("nightly"), &json!(4), &json!(1)));
    let (code, _, told) = run(&place, &january(&[]));
    assert!(code == 1 && told.contains("under way already"), "{told}");
    let stop = place.run(&["backfill", "nightly", "--stop"]);
    assert_eq!(stop.status.code(), Some(0), "{}", errors(&stop));
    let ended = daemon.wait_for("backfill.ended", |_| true);
    assert_eq!(ended["reason"], "stopped");
    let again = place.run(&["backfill", "nightly", "--stop"]);
    assert!(errors(&again).contains("no backfill of nightly"), "{}", errors(&again));
    daemon.stop();
    assert_eq!(place.sim.run_count(), 1);
}

#[test]
fn a_paused_entry_keeps_its_backfill_waiting() {
    let (place, daemon) = started(NIGHTLY);
    assert_eq!(place.run(&["pause", "nightly"]).status.code(), Some(0));
    let mut command =
        place.command(&["backfill", "nightly", "--from", "2026-01-01", "--until", "2026-01-03"]);
    let command = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    daemon.wait_for("backfill.began", |_| true);
    assert_eq!(place.sim.run_count(), 0);
    assert_eq!(place.run(&["resume", "nightly"]).status.code(), Some(0));
    let output = command.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(days(&place), ["01", "02"]);
    daemon.stop();
}

#[test]
fn a_run_of_a_backfill_that_fails_is_recovered() {
    let recovers = NIGHTLY.replace("Load\n", "Load\n    recovery: { max: 1, delay: 0s, from: start }\n");
    let (place, daemon) = started(&recovers);
    let failing = Ends::after(200).with("Failed", "disk full").times(1);
    place.sim.set(|switches| switches.ends.insert(0, failing));
    place
        .command(&["backfill", "nightly", "--from", "2026-01-01", "--until", "2026-01-02", "--no-wait"])
        .output()
        .unwrap();
    daemon.wait_for("backfill.ended", |_| true);
    daemon.stop();
    let rows: Vec<Value> = place.history();
    let of = |kind: &str| rows.iter().find(|row| row["kind"] == kind).unwrap()["run_status"].clone();
    assert_eq!((of("backfill"), of("recovery")), (json!("Failed"), json!("Succeeded")));
}

#[test]
fn without_a_daemon_nothing_is_begun_and_what_was_begun_can_be_ended() {
    let (place, daemon) = started(NIGHTLY);
    place.sim.set(|switches| switches.ends.clear());
    assert_eq!(run(&place, &january(&["--no-wait"])).0, 0);
    daemon.wait_for("run.created", |_| true);
    daemon.stop();
    let (code, _, told) = run(&place, &january(&[]));
    assert!(code == 69 && told.contains("systemctl start adf-cron"), "{told}");
    let stop = place.run(&["backfill", "nightly", "--stop"]);
    assert_eq!(stop.status.code(), Some(0), "{}", errors(&stop));
    let run_id = place.sim.runs()[0].run_id.clone();
    place.sim.set_run_status(&run_id, "Succeeded");
    let daemon = place.daemon();
    daemon.wait_for("run.finished", |_| true);
    daemon.stop();
    assert_eq!(place.sim.run_count(), 1, "the rest is left alone");
}

#[test]
fn a_pipeline_that_is_gone_ends_a_backfill_after_a_few_refusals() {
    let (place, daemon) = started(NIGHTLY);
    place.sim.set(|switches| switches.pipelines = Some(std::collections::BTreeMap::new()));
    let (code, said, _) = run(&place, &january(&[]));
    assert_eq!(code, 77, "{said}");
    assert!(said.ends_with(": 3 rejected, 1 not gone through (refused)\n"), "{said}");
    assert_eq!(daemon.wait_for("backfill.ended", |_| true)["level"], "WARN");
    daemon.stop();
}

#[test]
fn a_backfill_of_the_future_of_nothing_or_of_nobody_is_refused_and_starts_nothing() {
    let (place, daemon) = started(NIGHTLY);
    let refused = |arguments: &[&str], code: i32, words: &str| {
        let output = place.run(&[&["backfill"], arguments].concat());
        let told = errors(&output);
        assert!(output.status.code() == Some(code) && told.contains(words), "{arguments:?}: {told}");
    };
    refused(&["nightly", "--from", "2026-01-01", "--until", "2126-01-01"], 2, "started at its time");
    refused(&["nightly", "--from", "2026-01-02", "--until", "2026-01-01"], 2, "there is no time from");
    refused(&["nightly", "--until", "2026-01-01"], 2, "--from");
    refused(&["nigthly", "--from", "2026-01-01"], 2, "did you mean 'nightly'");
    refused(&["nightly", "--from", "2026-01-01", "--max-active", "0"], 2, "max-active");
    refused(
        &["nightly", "--from", "2026-01-01T03:00:00Z", "--until", "2026-01-01T04:00:00Z"],
        1,
        "no nominal time",
    );
    assert_eq!(place.sim.requests().iter().filter(|it| it.operation == Operation::CreateRun).count(), 0);
    daemon.stop();
}
