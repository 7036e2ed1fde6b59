//! Stops, starts and crashes around nominal times lose and repeat nothing.

use std::collections::HashMap;

use azure_sim::{Effect, Fault, Operation, RepeatedId};
use jiff::Timestamp;
use serde_json::Value;

use crate::meddler::Meddler;
use crate::process::{LIMIT, Place, in_seconds, now, of};

/// The nominal times of an entry that have a run, from what the stand-in was sent.
fn nominal_times(place: &Place) -> Vec<i64> {
    let mut seconds: Vec<i64> = place
        .sim
        .runs()
        .iter()
        .map(|run| run.parameters["at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_second())
        .collect();
    seconds.sort_unstable();
    seconds
}

const TICK: &str = "pipelines:
  - name: tick
    pipeline: Tick
    schedule: { every: 1s }
    missed: all
    settle: 1s
    parameters: { at: \"{{ scheduled_time }}\" }
";

fn assert_each_second_once(seconds: &[i64]) {
    assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 1), "one run a second: {seconds:?}");
}

#[test]
fn clean_stops_and_starts_around_nominal_times_lose_and_repeat_nothing() {
    let place = Place::new();
    place.write(TICK);
    for _ in 0..5 {
        let daemon = place.daemon();
        let before = place.sim.runs().len();
        place.sim.wait_until(LIMIT, "a run", |seen| (seen.runs.len() > before).then_some(()));
        assert_eq!(daemon.stop().status.code(), Some(0));
        assert!(!place.path("ledger.db-wal").exists(), "a clean stop leaves all in the one file");
    }
    let daemon = place.daemon();
    let before = place.sim.runs().len();
    place.sim.wait_until(LIMIT, "two runs", |seen| (seen.runs.len() >= before + 2).then_some(()));
    daemon.stop();
    let seconds = nominal_times(&place);
    assert_each_second_once(&seconds);
    let rows = place.history();
    assert!(rows.iter().all(|row| row["state"] == "accepted"), "{rows:?}");
}

#[test]
fn a_power_cut_at_any_time_loses_and_repeats_nothing() {
    let place = Place::new();
    // Whatever is sent a second time without a look shows as a second run.
    place.sim.set(|switches| switches.repeated_id = RepeatedId::NewRun);
    place.write(TICK);
    // The first answer teaches that the factory takes our id.
    let daemon = place.daemon();
    daemon.wait_for("run.created", |_| true);
    daemon.kill();
    for round in 0..4_u64 {
        place.sim.set(|switches| switches.create_run_delay_ms = 150 * round);
        let daemon = place.daemon();
        let before = place.sim.requests().len();
        place.sim.wait_until(LIMIT, "a call", |seen| {
            seen.requests[before..].iter().any(|r| r.operation == Operation::CreateRun).then_some(())
        });
        daemon.kill();
    }
    place.sim.set(|switches| switches.create_run_delay_ms = 0);
    let daemon = place.daemon();
    let until = now();
    // Everything up to here has ended once a nominal time after it has a run and nothing is open.
    daemon.wait_for("run.created", |event| {
        event["scheduled_time"].as_str().unwrap().parse::<Timestamp>().unwrap() > until
    });
    let ids: Vec<String> = place.sim.runs().iter().map(|run| run.run_id.clone()).collect();
    place.sim.wait_until(LIMIT, "the end of all that was open", |seen| {
        let seconds: Vec<i64> = seen
            .runs
            .iter()
            .map(|run| run.parameters["at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_second())
            .collect();
        let (first, last) = (seconds.iter().min()?, until.as_second());
        (*first..=last).all(|second| seconds.contains(&second)).then_some(())
    });
    let ended = daemon.stop();
    let mut counted: HashMap<String, usize> = HashMap::new();
    for id in ids {
        *counted.entry(id).or_default() += 1;
    }
    assert!(counted.values().all(|count| *count == 1), "{counted:?}");
    assert_each_second_once(&nominal_times(&place));
    assert!(of(&ended.events, "firing.held").is_empty(), "{}", ended.output);
}

#[test]
fn an_event_that_a_power_cut_kept_back_is_said_by_the_next_start() {
    let place = Place::new();
    place.write(TICK);
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 3);
    let mut said: Vec<Value> = daemon.kill().events;
    let again = place.daemon();
    again.wait_for_count("run.created", 2);
    said.extend(again.stop().events);
    for run in place.sim.runs() {
        let told = said.iter().any(|event| {
            (event["event"] == "run.created" || event["event"] == "run.adopted")
                && event["run_id"] == run.run_id
        });
        assert!(told, "run {} was never announced", run.run_id);
    }
}

#[test]
fn what_came_due_while_nobody_ran_goes_by_the_missed_policy() {
    let place = Place::new();
    let entry = |name: &str, missed: &str| {
        format!(
            "  - {{ name: {name}, pipeline: {name}, schedule: {{ every: 1s }}, late_after: 1s, {missed}, \
             parameters: {{ at: \"{{{{ scheduled_time }}}}\" }} }}\n"
        )
    };
    let text = format!(
        "pipelines:\n{}{}{}",
        entry("all", "missed: all, missed_max: 3"),
        entry("latest", "missed: latest"),
        entry("skip", "missed: skip")
    );
    place.write(&text);
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 3);
    daemon.stop();
    let runs_before: HashMap<String, usize> =
        ["all", "latest", "skip"].into_iter().map(|n| (n.to_owned(), count(&place, n))).collect();
    let down = now();
    // Nobody runs for eight seconds: nothing tells when they are over but the clock.
    std::thread::sleep(std::time::Duration::from_secs(8));
    let daemon = place.daemon();
    let skipped: Vec<Value> = daemon.wait_until("three skips", |events| {
        let skipped: Vec<Value> =
            of(events, "firing.skipped").into_iter().filter(|e| e["reason"] == "missed").collect();
        (skipped.len() >= 3).then_some(skipped)
    });
    let up = now();
    daemon.wait_for("run.created", |e| e["entry"] == "skip");
    daemon.wait_for("run.created", |e| e["entry"] == "latest");
    daemon.wait_for("run.created", |e| e["entry"] == "all");
    let ended = daemon.stop();
    let late = |entry: &str| {
        of(&ended.events, "run.created")
            .iter()
            .filter(|e| e["entry"] == entry)
            .filter(|e| {
                let at = e["scheduled_time"].as_str().unwrap().parse::<Timestamp>().unwrap();
                at > down && e["lateness_ms"].as_i64().unwrap() > 1_000 && at < up
            })
            .count()
    };
    assert_eq!((late("all"), late("latest"), late("skip")), (3, 1, 0), "{}", ended.output);
    for event in &skipped {
        assert!(event["count"].as_u64().unwrap() >= 3, "consecutive skips are one event: {event}");
    }
    assert!(runs_before.values().all(|count| *count > 0));
    // Every nominal time is accounted for: started, or within a row of skips.
    for entry in ["all", "latest", "skip"] {
        let mut covered: Vec<i64> = Vec::new();
        for row in place.history().iter().filter(|row| row["entry"] == entry) {
            let first = row["scheduled_time"].as_str().unwrap().parse::<Timestamp>().unwrap().as_second();
            let count = i64::try_from(row["count"].as_u64().unwrap_or(1)).unwrap();
            covered.extend(first..first + count);
        }
        covered.sort_unstable();
        assert_each_second_once(&covered);
    }
}

fn count(place: &Place, pipeline: &str) -> usize {
    place.sim.runs().iter().filter(|run| run.pipeline == pipeline).count()
}

#[test]
fn a_restart_while_an_answer_is_lost_goes_on_looking() {
    let place = Place::new();
    place.sim.set(|switches| {
        switches.get_visible_after_ms = 3_000;
        switches.faults.push(Fault::always(Operation::CreateRun, Effect::ResetAfter).times(1));
    });
    let at = in_seconds(2);
    place.write(&format!(
        "pipelines:\n  - {{ name: a, pipeline: A, schedule: {{ at: '{at}' }}, settle: 10s, parameters: {{ at: '{at}' }} }}\n"
    ));
    let daemon = place.daemon();
    daemon.wait_for("firing.unknown", |_| true);
    daemon.kill();
    let daemon = place.daemon();
    daemon.wait_for("run.adopted", |_| true);
    daemon.stop();
    assert_eq!(place.sim.runs().len(), 1);
    assert_eq!(place.history()[0]["state"], "accepted");
}

#[test]
fn a_file_that_is_no_ledger_is_refused() {
    let place = Place::new();
    place.write("pipelines: []\n");
    std::fs::write(place.path("ledger.db"), b"this is no database, but it is long enough to look like one")
        .unwrap();
    let refused = place.run(&["run"]);
    assert_eq!(refused.status.code(), Some(69));
    assert!(crate::process::results(&refused).contains("the ledger cannot be used"));
}

#[test]
fn a_ledger_that_a_newer_version_has_written_is_refused_and_left_as_it_is() {
    let place = Place::new();
    place.write("pipelines: []\n");
    place.daemon().stop();
    let mut meddler = Meddler::new(&place.path("ledger.db"));
    meddler.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of a later release', TRUE, x'00', 0)",
    );
    let refused = place.run(&["run"]);
    assert_eq!(refused.status.code(), Some(69));
    let said = crate::process::results(&refused);
    assert!(said.contains("ledger.failed") && said.contains("newer version"), "{said}");
    assert_eq!(meddler.number("SELECT count(*) FROM _sqlx_migrations WHERE version = 9999"), 1);
}
