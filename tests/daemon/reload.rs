//! Edits while the daemon runs: what is planned follows them, and a wrong file changes nothing.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::process::{Daemon, LIMIT, Place, of};
use crate::stage::before;

/// An entry that fires once.
fn at(name: &str, pipeline: &str, time: Timestamp, keys: &str) -> String {
    format!("  - {{ name: {name}, pipeline: {pipeline}, schedule: {{ at: '{time}' }}, {keys} }}\n")
}

/// Writes entries, always with one that tells when its own later nominal time has passed.
fn write(place: &Place, entries: &str, end: Timestamp) {
    place.write(&format!("pipelines:\n{entries}{}", at("end", "End", end, "")));
}

/// This many seconds after a time; fewer than none: before it.
fn after(at: Timestamp, seconds: i64) -> Timestamp {
    at + SignedDuration::from_secs(seconds)
}

/// Waits until everything before the end has happened.
fn finish(place: &Place, daemon: Daemon) -> Vec<(String, Value)> {
    daemon.wait_for("run.created", |event| event["entry"] == "end");
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    place
        .sim
        .runs()
        .into_iter()
        .filter(|run| run.pipeline != "End")
        .map(|run| (run.pipeline, run.parameters))
        .collect()
}

/// Waits until the intent of an entry is durable: its nominal time is less than a horizon away.
fn planned(daemon: &Daemon, entry: &str) {
    daemon.wait_for("firing.planned", |event| event["entry"] == entry);
}

#[test]
fn an_entry_added_shortly_before_its_time_fires_once() {
    let (place, daemon) = before(5, |due| {
        let (place, end) = (Place::new(), after(due, 2));
        write(&place, "", end);
        let daemon = place.daemon();
        write(&place, &at("new", "New", due, ""), end);
        assert_eq!(daemon.reload()["added"], 1);
        Some((place, daemon))
    });
    assert_eq!(finish(&place, daemon).len(), 1);
}

#[test]
fn a_calendar_edited_after_the_firing_was_planned_moves_it() {
    let (place, daemon, new) = before(5, |due| {
        let (place, new, end) = (Place::new(), after(due, 2), after(due, 3));
        write(&place, &at("moved", "P", due, ""), end);
        let daemon = place.daemon_before(due)?;
        planned(&daemon, "moved");
        write(&place, &at("moved", "P", new, ""), end);
        let loaded = daemon.reload();
        assert_eq!((&loaded["changed"], &loaded["added"]), (&1.into(), &0.into()), "{loaded}");
        Some((place, daemon, new))
    });
    let created = daemon.wait_for("run.created", |event| event["entry"] == "moved");
    assert_eq!(created["scheduled_time"], new.to_string());
    assert_eq!(finish(&place, daemon).len(), 1);
}

#[test]
fn only_a_parameter_edited_after_the_firing_was_planned_is_what_it_is_given() {
    let (place, daemon) = before(5, |due| {
        let (place, end) = (Place::new(), after(due, 2));
        write(&place, &at("a", "P", due, "parameters: { n: 1 }"), end);
        let daemon = place.daemon_before(due)?;
        planned(&daemon, "a");
        write(&place, &at("a", "P", due, "parameters: { n: 2 }"), end);
        assert_eq!(daemon.reload()["changed"], 1);
        Some((place, daemon))
    });
    let runs = finish(&place, daemon);
    assert_eq!(runs, [("P".to_owned(), serde_json::json!({"n": 2}))]);
}

#[test]
fn an_entry_removed_or_disabled_after_it_was_planned_is_skipped_with_its_reason() {
    let (place, daemon, due) = before(5, |due| {
        let (place, end) = (Place::new(), after(due, 2));
        write(&place, &(at("gone", "P", due, "") + &at("off", "P", due, "")), end);
        let daemon = place.daemon_before(due)?;
        planned(&daemon, "gone");
        planned(&daemon, "off");
        write(&place, &at("off", "P", due, "enabled: false"), end);
        assert_eq!(daemon.reload()["removed"], 2);
        Some((place, daemon, due))
    });
    for entry in ["gone", "off"] {
        let skipped = daemon.wait_for("firing.skipped", |event| event["entry"] == entry);
        assert_eq!(skipped["reason"], "removed");
        assert_eq!((&skipped["first"], &skipped["count"]), (&due.to_string().into(), &1.into()));
    }
    assert!(finish(&place, daemon).is_empty());
    for row in place.history().iter().filter(|row| row["entry"] != "end") {
        assert_eq!((&row["state"], &row["reason"]), (&"skipped".into(), &"removed".into()));
    }
}

#[test]
fn an_entry_taken_out_and_put_back_before_its_time_still_fires_once() {
    let (place, daemon) = before(6, |due| {
        let (place, end) = (Place::new(), after(due, 2));
        let entry = at("back", "P", due, "");
        write(&place, &entry, end);
        let daemon = place.daemon_before(due)?;
        planned(&daemon, "back");
        write(&place, "", end);
        daemon.reload();
        write(&place, &entry, end);
        daemon.reload();
        Some((place, daemon))
    });
    assert_eq!(finish(&place, daemon).len(), 1);
}

#[test]
fn reloading_again_and_again_loses_and_doubles_nothing() {
    let place = Place::new();
    let entries = "  - { name: a, pipeline: A, schedule: { every: 1s } }\n  - { name: b, pipeline: B, schedule: { every: 1s } }\n";
    place.write(&format!("pipelines:\n{entries}"));
    let daemon = place.daemon();
    for round in 0..12 {
        // One entry stays as it is, the other gets another parameter each time.
        let edited =
            entries.replace("pipeline: B,", &format!("pipeline: B, parameters: {{ round: {round} }},"));
        place.write(&format!("pipelines:\n{edited}"));
        daemon.reload();
        let before = place.sim.runs().len();
        if round % 3 == 0 {
            place.sim.wait_until(LIMIT, "a run", |seen| (seen.runs.len() > before).then_some(()));
        }
    }
    daemon.wait_until("six runs of each", |events| {
        let created = of(events, "run.created");
        let of_entry = |entry: &str| created.iter().filter(|event| event["entry"] == entry).count();
        (of_entry("a") >= 6 && of_entry("b") >= 6).then_some(())
    });
    let ended = daemon.stop();
    for entry in ["a", "b"] {
        let mut seconds: Vec<i64> = of(&ended.events, "run.created")
            .iter()
            .filter(|event| event["entry"] == entry)
            .map(|event| event["scheduled_time"].as_str().unwrap().parse::<Timestamp>().unwrap().as_second())
            .collect();
        seconds.sort_unstable();
        assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 1), "{entry}: {seconds:?}");
    }
}

#[test]
fn a_broken_file_leaves_the_old_schedule_running_also_across_a_restart() {
    let place = Place::new();
    let good = "pipelines:\n  - { name: a, pipeline: A, schedule: { every: 1s } }\n";
    place.write(good);
    let daemon = place.daemon();
    place.write("pipelines:\n  - { name: a, pipeline: A, schedul: { every: 1s } }\n");
    let rejected = daemon.reload();
    assert_eq!(rejected["event"], "schedule.rejected");
    assert_eq!(rejected["level"], "ERROR");
    let location = rejected["location"].as_str().unwrap();
    assert!(location.starts_with(&format!("{}:13:", place.schedule().display())), "{location}");
    assert!(rejected["error_message"].as_str().unwrap().contains("did you mean `schedule`?"), "{rejected}");
    let before = place.sim.runs().len();
    place
        .sim
        .wait_until(LIMIT, "runs of the old schedule", |seen| (seen.runs.len() >= before + 2).then_some(()));
    daemon.stop();

    let again = place.daemon();
    again.wait_for("schedule.rejected", |event| event["location"] == location);
    let before = place.sim.runs().len();
    place
        .sim
        .wait_until(LIMIT, "runs of the last good one", |seen| (seen.runs.len() >= before + 2).then_some(()));
    // Mended, it is in force again.
    place.write(&good.replace("A,", "Mended,"));
    assert_eq!(again.reload()["event"], "schedule.loaded");
    place.sim.wait_until(LIMIT, "a run of the mended one", |seen| {
        (!seen.runs_of("Mended").is_empty()).then_some(())
    });
    again.stop();

    place.write("pipelines: nonsense\n");
    let strict = place.run(&["run", "--strict"]);
    assert_eq!(strict.status.code(), Some(78));
    std::fs::remove_file(place.schedule()).unwrap();
    let without = Daemon::spawn(place.command(&["run"]));
    without.wait_for("schedule.rejected", |event| event["message"].as_str().unwrap().contains("last good"));
    without.wait_for("schedule.loaded", |_| true);
    assert_eq!(without.stop().status.code(), Some(0), "a file that is gone is no reason to stop");
}

#[test]
fn a_schedule_that_was_accepted_still_runs_after_a_restart_when_its_template_fails_by_now() {
    // Its next ten firings are fine when it is accepted, and those after them are not.
    let entry = |template: &str| {
        format!(
            "pipelines:\n  - {{ name: a, pipeline: A, schedule: {{ every: 1s }}, parameters: {{ p: \"{template}\" }} }}\n"
        )
    };
    let (place, daemon) = before(5, |at| {
        let (place, turn) = (Place::new(), after(at, 10));
        place.write(&entry(&format!("{{{{ 1 if scheduled_time < '{turn}' else entry | date('%F') }}}}")));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
    place.write(&entry("{{ entry | date('%F') }}"));
    let rejected = daemon.reload();
    assert_eq!(rejected["event"], "schedule.rejected", "{rejected}");
    assert!(rejected["error_message"].as_str().unwrap().contains("cannot be rendered"), "{rejected}");
    daemon.wait_for("firing.rejected", |event| event["reason"] == "template");
    daemon.stop();
    let again = place.daemon();
    again.wait_for("schedule.rejected", |event| event["message"].as_str().unwrap().contains("last good"));
    again.wait_for("firing.rejected", |event| event["reason"] == "template");
}

#[test]
fn a_broken_first_file_ends_the_daemon_with_78_and_leaves_no_ledger() {
    let place = Place::new();
    place.write("pipelines: nonsense\n");
    let first = place.run(&["run"]);
    assert_eq!(first.status.code(), Some(78));
    assert!(!place.path("ledger.db").exists());
}

#[test]
fn a_reload_that_moves_the_ledger_is_refused() {
    let place = Place::new();
    place.write("pipelines: []\n");
    let daemon = place.daemon();
    let text = std::fs::read_to_string(place.schedule()).unwrap();
    place.write_raw(text.replace("ledger.db", "another.db"));
    let rejected = daemon.reload();
    assert!(rejected["error_message"].as_str().unwrap().contains("restart the daemon"), "{rejected}");
}

#[test]
fn a_new_entry_fires_nothing_from_the_past() {
    let (place, daemon) = before(4, |end| {
        let place = Place::new();
        write(&place, &at("old", "Old", after(end, -34), "missed: all, late_after: 1h"), end);
        let daemon = place.daemon_before(end)?;
        Some((place, daemon))
    });
    assert!(finish(&place, daemon).is_empty());
}
