//! Stops, starts and crashes around nominal times lose and repeat nothing.

use std::collections::{HashMap, HashSet};

use azure_sim::{Effect, Fault, Operation, RepeatedId};
use jiff::Timestamp;
use serde_json::Value;

use crate::meddler::Meddler;
use crate::process::{Daemon, LIMIT, Place, now, of};
use crate::stage::before;
use crate::tally::begun;

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
    let rows = begun(&place);
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
    let announced = |said: &[Value]| -> HashSet<String> {
        let events = [of(said, "run.created"), of(said, "run.adopted")].concat();
        events.iter().map(|event| event["run_id"].as_str().unwrap().to_owned()).collect()
    };
    let (before, runs) = (announced(&said), place.sim.runs());
    let again = place.daemon();
    again.wait_until("a word of each run that the power cut left", |events| {
        let told = announced(events);
        runs.iter().all(|run| before.contains(&run.run_id) || told.contains(&run.run_id)).then_some(())
    });
    again.wait_for_count("run.created", 2);
    said.extend(again.stop().events);
    let told = announced(&said);
    for run in place.sim.runs() {
        assert!(told.contains(&run.run_id), "run {} was never announced", run.run_id);
    }
}

/// Three entries that fire every second, one for each policy.
fn one_of_each_policy() -> String {
    let entry = |name: &str, missed: &str| {
        format!(
            "  - {{ name: {name}, pipeline: {name}, schedule: {{ every: 1s }}, late_after: 2s, {missed}, \
             parameters: {{ at: \"{{{{ scheduled_time }}}}\" }} }}\n"
        )
    };
    format!(
        "pipelines:\n{}{}{}",
        entry("all", "missed: all, missed_max: 3"),
        entry("latest", "missed: latest"),
        entry("skip", "missed: skip")
    )
}

/// The last nominal time that an entry has left out. Each of its nominal times is accounted for: started, or within
/// the one row of those that were missed.
fn last_missed(place: &Place, entry: &str) -> i64 {
    let (mut covered, mut missed): (Vec<i64>, Vec<i64>) = (Vec::new(), Vec::new());
    for row in begun(place).iter().filter(|row| row["entry"] == entry) {
        let first = row["scheduled_time"].as_str().unwrap().parse::<Timestamp>().unwrap().as_second();
        let count = i64::try_from(row["count"].as_u64().unwrap_or(1)).unwrap();
        covered.extend(first..first + count);
        if row["state"] == "skipped" {
            assert!(row["reason"] == "missed" && count >= 3 && missed.is_empty(), "one row of all: {row}");
            missed.extend(first..first + count);
        } else {
            assert_eq!(row["state"], "accepted", "{row}");
        }
    }
    covered.sort_unstable();
    assert_each_second_once(&covered);
    missed.pop().unwrap()
}

#[test]
fn what_came_due_while_nobody_ran_goes_by_the_missed_policy() {
    let place = Place::new();
    place.write(&one_of_each_policy());
    let entries = ["all", "latest", "skip"];
    let each_runs = |daemon: &Daemon| {
        for entry in entries {
            daemon.wait_for("run.created", |event| event["entry"] == entry);
        }
    };
    let daemon = place.daemon();
    each_runs(&daemon);
    daemon.stop();
    // Nobody runs for ten seconds: nothing tells when they are over but the clock.
    std::thread::sleep(std::time::Duration::from_secs(10));
    let from = now().as_second();
    let daemon = place.daemon();
    let until = now().as_second();
    daemon.wait_until("three skips", |events| {
        let missed = of(events, "firing.skipped").into_iter().filter(|event| event["reason"] == "missed");
        let missed: Vec<Value> = missed.collect();
        let counts = missed.iter().map(|event| event["count"].as_u64().unwrap());
        (missed.len() >= 3).then(|| assert!(counts.min() >= Some(3), "consecutive skips are one event"))
    });
    each_runs(&daemon);
    daemon.stop();
    // All three are judged at the same moment of the start.
    let [all, latest, skip] = entries.map(|entry| last_missed(&place, entry));
    assert!(
        (from - 3..until - 1).contains(&skip),
        "later than two seconds at the start: {from}, {skip}, {until}"
    );
    assert_eq!((skip - latest, skip - all), (1, 3), "the newest one, and the newest three, are started late");
}

#[test]
fn a_restart_while_an_answer_is_lost_goes_on_looking() {
    let (place, daemon) = before(2, |at| {
        let place = Place::new();
        place.sim.set(|switches| {
            switches.get_visible_after_ms = 3_000;
            switches.faults.push(Fault::always(Operation::CreateRun, Effect::ResetAfter).times(1));
        });
        place.write(&format!(
            "pipelines:\n  - {{ name: a, pipeline: A, schedule: {{ at: '{at}' }}, settle: 10s, parameters: {{ at: '{at}' }} }}\n"
        ));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
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
