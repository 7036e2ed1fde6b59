//! What `audit` proves, and what it finds.

use serde_json::{Value, json};

use crate::process::{Daemon, LIMIT, Place, ask_until, errors, results};

const TICK: &str = "pipelines:\n  - { name: tick, pipeline: Tick, schedule: { every: 1s }, missed: all }\n";
const OTHER: &str = "pipelines:\n  - { name: other, pipeline: Other, schedule: { every: 1s } }\n";
const CHANGED: &str =
    "pipelines:\n  - { name: tick, pipeline: Tick, schedule: { every: 2s }, missed: all }\n";

/// Waits for so many more runs.
fn runs(place: &Place, more: usize) {
    let before = place.sim.runs().len();
    place.sim.wait_until(LIMIT, "runs", |seen| (seen.runs.len() >= before + more).then_some(()));
}

/// A daemon that has made some runs.
fn daemon(place: &Place) -> Daemon {
    let daemon = place.daemon();
    runs(place, 3);
    daemon
}

fn proven(place: &Place) -> Value {
    let (code, report) = place.report(&["audit"]);
    assert_eq!((code, &report["proven"]), (0, &json!(true)), "{report:#}");
    report
}

#[test]
fn audit_proves_the_ledger_of_a_daemon_while_it_runs_and_when_it_has_stopped() {
    let place = Place::new();
    place.write(TICK);
    let daemon = daemon(&place);
    let report = proven(&place);
    assert_eq!(report["entries"], 1);
    assert!(report["nominal_times"].as_u64().unwrap() >= 3, "{report:#}");
    let bound = &report["not_covered"][0];
    assert_eq!((&bound["from"], &bound["reason"]), (&Value::Null, &json!("no_schedule")));
    assert_eq!(bound["until"], report["from"]);
    daemon.stop();
    let report = proven(&place);
    let accepted = report["states"]["accepted"].as_u64().unwrap();
    assert_eq!(accepted, place.sim.runs().len() as u64);
    let text = place.run(&["audit", "tick", "--from", "1h"]);
    assert_eq!(text.status.code(), Some(0));
    let text = results(&text);
    assert!(text.starts_with("proven: every nominal time has exactly one record\n"), "{text}");
    assert!(text.contains(&format!("accepted {accepted}\n")), "{text}");
    assert!(text.contains("not covered: before ") && text.contains(": no schedule was in force\n"), "{text}");
}

#[test]
fn audit_names_a_gap_a_wrong_count_a_double_and_a_stray() {
    let place = Place::new();
    place.write(TICK);
    daemon(&place).stop();
    let row = place.history().into_iter().rfind(|row| row["state"] == "accepted").unwrap();
    let at = row["scheduled_time"].as_str().unwrap();
    let firing = row["firing_id"].as_str().unwrap();
    let remove = format!("DELETE FROM firing WHERE firing_id = '{firing}'");
    let keep = format!("CREATE TABLE kept AS SELECT * FROM firing WHERE firing_id = '{firing}'");
    place.tamper(&[&keep, &remove]);
    let (code, report) = place.report(&["audit"]);
    assert_eq!((code, &report["proven"]), (1, &json!(false)));
    let gap = &report["gaps"][0];
    assert_eq!(
        (&gap["entry"], &gap["scheduled_time"], &gap["count"]),
        (&json!("tick"), &json!(at), &json!(1))
    );
    assert_eq!(gap["schedule_version"].as_str().unwrap().len(), 64);
    let text = place.run(&["audit"]);
    assert_eq!(text.status.code(), Some(1));
    let text = results(&text);
    assert!(text.starts_with("NOT PROVEN: 1 nominal times without a record\n"), "{text}");
    assert!(text.contains(&format!("gap: tick {at} (version ")), "{text}");
    assert!(
        text.contains(&format!("to start one now: adf-cron fire tick --scheduled-time {at}\n")),
        "{text}"
    );
    // A row that claims one more than there is, over the record of the next second.
    place.tamper(&[
        "UPDATE kept SET state = 'skipped', reason = 'missed', last_nominal = nominal + 1, skipped = 3, run_id = NULL",
        "INSERT INTO firing SELECT * FROM kept",
    ]);
    let (code, report) = place.report(&["audit"]);
    assert_eq!((code, report["gaps"].as_array().unwrap().len()), (1, 0));
    assert_eq!(
        (&report["miscounts"][0]["count"], &report["miscounts"][0]["expected"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(report["doubles"][0]["firing_ids"].as_array().unwrap().len(), 2);
    // A record at a time at which the schedule was not even known: nothing is said of that. One in between is.
    place.tamper(&[
        "DELETE FROM firing WHERE firing_id IN (SELECT firing_id FROM kept)",
        "UPDATE kept SET entry = 'nobody', last_nominal = nominal, skipped = 0",
        "INSERT INTO firing SELECT * FROM kept",
    ]);
    let (_, report) = place.report(&["audit"]);
    assert_eq!(report["strays"][0]["entry"], "nobody", "{report:#}");
}

#[test]
fn audit_follows_the_schedule_through_edits_restarts_and_crashes() {
    let place = Place::new();
    place.write(TICK);
    let daemon = daemon(&place);
    for text in [OTHER, TICK, CHANGED, TICK] {
        place.write(text);
        daemon.reload();
        runs(&place, 2);
    }
    daemon.kill();
    // Edits that a start finds.
    for text in [CHANGED, OTHER, TICK] {
        place.write(text);
        let daemon = place.daemon();
        runs(&place, 2);
        daemon.stop();
    }
    let report = proven(&place);
    assert_eq!(report["entries"], 2);
    assert!(report["states"]["accepted"].as_u64().unwrap() >= 10, "{report:#}");
}

#[test]
fn audit_tells_what_nobody_has_planned_yet_from_what_is_lost() {
    let place = Place::new();
    place.write(TICK);
    daemon(&place).stop();
    // Nobody runs for some seconds: nothing tells when they are over but the clock.
    std::thread::sleep(std::time::Duration::from_secs(3));
    let report = proven(&place);
    let waiting = &report["not_planned"][0];
    assert_eq!(waiting["entry"], "tick");
    assert!(waiting["count"].as_u64().unwrap() >= 2, "{report:#}");
    let text = results(&place.run(&["audit"]));
    assert!(text.contains("the next start decides by the `missed` policy"), "{text}");
    let daemon = daemon(&place);
    ask_until("the plan", || proven(&place), |report| report["not_planned"] == json!([]));
    daemon.stop();
}

#[test]
fn audit_counts_what_a_pause_leaves_out_while_it_lasts_and_after_it() {
    let place = Place::new();
    place.write(TICK);
    let daemon = daemon(&place);
    assert_eq!(place.run(&["pause", "tick", "--note", "moving house"]).status.code(), Some(0));
    let paused = || {
        let report = proven(&place);
        let stretches = report["paused"].as_array().unwrap().clone();
        stretches.iter().map(|stretch| stretch["count"].as_u64().unwrap()).sum::<u64>()
    };
    ask_until("two times in the pause", paused, |count| *count >= 2);
    let status = place.json(&["status", "--format", "json"]);
    let pause = &status["paused"][0];
    assert_eq!((&pause["entry"], &pause["note"]), (&json!("tick"), &json!("moving house")));
    assert_eq!(place.run(&["resume", "tick"]).status.code(), Some(0));
    runs(&place, 2);
    daemon.stop();
    let report = proven(&place);
    assert_eq!(report["paused"], json!([]));
    assert!(report["skipped"]["paused"].as_u64().unwrap() >= 2, "{report:#}");
}

#[test]
fn audit_says_what_it_cannot_cover() {
    let place = Place::new();
    place.write(TICK);
    daemon(&place).stop();
    let (code, report) = place.report(&["audit", "--from", "2020-01-01", "--until", "2020-01-02"]);
    assert_eq!((code, &report["nominal_times"]), (1, &json!(0)));
    let text = results(&place.run(&["audit", "--from", "2020-01-01", "--until", "2020-01-02"]));
    assert!(text.starts_with("NOT PROVEN: nothing of that time is covered\n"), "{text}");
    // A version that only an older program could read.
    place.tamper(&["UPDATE schedule_version SET text = 'pipelines: [{ pipelin: P }]'"]);
    let (code, report) = place.report(&["audit"]);
    assert_eq!((code, &report["nominal_times"]), (0, &json!(0)), "{report:#}");
    let unreadable = &report["not_covered"][1];
    assert_eq!(unreadable["reason"], "unreadable");
    assert_eq!(unreadable["schedule_version"].as_str().unwrap().len(), 64);
    let text = results(&place.run(&["audit"]));
    assert!(text.contains("cannot be read: the version:1:"), "{text}");
}

#[test]
fn audit_knows_what_was_removed_after_the_retention_and_the_version_of_then_stays() {
    let place = Place::new();
    place.write(TICK);
    daemon(&place).stop();
    let days = 86_400_i64;
    place.tamper(&[
        // As if the schedule were in force for a hundred days, and one before it for another hundred.
        &format!("UPDATE in_force SET number = 2, at = at - {}", 100 * days * 1_000),
        &format!("INSERT INTO in_force SELECT 1, at - {}, 'older', rules FROM in_force", 100 * days * 1_000),
        "INSERT INTO schedule_version VALUES ('older', 'of no use any more')",
        &format!(
            "CREATE TABLE old AS SELECT * FROM firing WHERE state = 'accepted' LIMIT 1;
             UPDATE old SET firing_id = 'old', nominal = nominal - {0}, last_nominal = nominal - {0},
                 due = due - {0} * 1000, accepted_at = accepted_at - {0} * 1000, planned_at = planned_at - {0} * 1000, following = 0;
             INSERT INTO firing SELECT * FROM old",
            90 * days
        ),
    ]);
    let daemon = place.daemon();
    daemon.wait_for("ledger.pruned", |event| event["count"] == 1);
    daemon.stop();
    let (_, report) = place.report(&["audit", "--from", "46d", "--until", "44d"]);
    let bound = &report["not_covered"][0];
    assert_eq!((report["not_covered"].as_array().unwrap().len(), &bound["reason"]), (1, &json!("pruned")));
    let bound: jiff::Timestamp = bound["until"].as_str().unwrap().parse().unwrap();
    let age = crate::process::now().duration_since(bound).as_hours();
    assert_eq!(age, 45 * 24, "the retention that ships");
    // The version of a hundred days ago rules what is left; of what it names nothing was ever recorded.
    assert_eq!(report["gaps"][0]["count"], report["nominal_times"], "{report:#}");
    assert!(report["nominal_times"].as_i64().unwrap() > days - 60, "{report:#}");
}

#[test]
fn audit_refuses_what_it_cannot_look_at() {
    let place = Place::new();
    place.write(TICK);
    let none = place.run(&["audit"]);
    assert_eq!(none.status.code(), Some(69));
    assert!(errors(&none).contains("there is no ledger at"), "{}", errors(&none));
    daemon(&place).stop();
    let unknown = place.run(&["audit", "tik"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(errors(&unknown).contains("no entry named 'tik'; did you mean 'tick'?"), "{}", errors(&unknown));
    let backwards = ["audit", "--from", "2026-01-02", "--until", "2026-01-01"];
    for bad in [&backwards[..], &["audit", "--from", "2100-01-01"], &["audit", "--from", "yesterday"]] {
        assert_eq!(place.run(bad).status.code(), Some(2), "{bad:?}");
    }
    place.damage();
    let damaged = place.run(&["audit"]);
    assert_eq!(damaged.status.code(), Some(69), "{}", errors(&damaged));
}
