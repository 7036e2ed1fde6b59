//! The main job: each nominal time has exactly one run, and each run one event.

use std::collections::HashSet;
use std::time::Duration;

use azure_sim::RepeatedId;
use rustix::process::Signal;

use crate::process::{LIMIT, Place, SECRET, of};
use crate::stage::before;
use crate::witness::Witness;

const THREE: &str = "pipelines:
  - { name: one, pipeline: Pipeline One, schedule: { every: 2s } }
  - { name: two, pipeline: Pipeline Two, schedule: '*/2 * * * * *', timezone: Europe/Berlin }
  - { name: three, pipeline: Pipeline One, schedule: { every: 2s } }
";

#[test]
fn three_entries_every_two_seconds_have_one_run_and_one_event_each_with_one_token() {
    let place = Place::new();
    place.write(THREE);
    let witness = Witness::of(&place.sim);
    let daemon = place.daemon();
    // Eight nominal times of each entry.
    daemon.wait_for_count("run.created", 24);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);

    let in_time = witness.late_at_most(1_000);
    let created = of(&ended.events, "run.created");
    let runs = place.sim.runs();
    let ids = |values: Vec<String>| values.into_iter().collect::<HashSet<_>>();
    let announced = ids(created.iter().map(|e| e["run_id"].as_str().unwrap().to_owned()).collect());
    assert_eq!(announced, ids(runs.iter().map(|run| run.run_id.clone()).collect()));
    assert_eq!(runs.len(), created.len(), "each run is announced once");
    for entry in ["one", "two", "three"] {
        let mut times: Vec<&str> = created
            .iter()
            .filter(|event| event["entry"] == entry)
            .map(|event| event["scheduled_time"].as_str().unwrap())
            .collect();
        times.sort_unstable();
        let seconds: Vec<i64> =
            times.iter().map(|t| t.parse::<jiff::Timestamp>().unwrap().as_second()).collect();
        assert!(seconds.windows(2).all(|pair| pair[1] - pair[0] == 2), "none is lost or doubled: {times:?}");
        assert!(seconds.len() >= 8);
    }
    for event in &created {
        for field in [
            "timestamp",
            "level",
            "message",
            "entry",
            "pipeline",
            "factory",
            "kind",
            "firing_id",
            "scheduled_time",
            "run_id",
            "attempt",
            "lateness_ms",
            "answer_ms",
            "monitor_url",
        ] {
            assert!(!event[field].is_null(), "{field} is missing in {event}");
        }
        assert_eq!(event["kind"], "scheduled");
        let late = event["lateness_ms"].as_i64().unwrap();
        assert!(in_time.contains(&late), "sent in time and never early: {event}");
    }
    assert_eq!(
        place.sim.wait_until(LIMIT, "token calls", |seen| Some(seen.count(azure_sim::Operation::Token))),
        1
    );
    assert_eq!(of(&ended.events, "token.acquired").len(), 1);
}

#[test]
fn no_secret_and_no_token_is_ever_written() {
    let place = Place::new();
    place.write(THREE);
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 3);
    // A refresh that is refused is the most talkative path.
    place.sim.set(|switches| switches.client_secret = "another".to_owned());
    place.sim.revoke_tokens();
    daemon.wait_for("token.refresh_failed", |_| true);
    let ended = daemon.stop();
    let history = format!("{:?}", place.history());
    let mut ledger = std::fs::read(place.path("ledger.db")).unwrap();
    ledger.extend(std::fs::read(place.path("ledger.db-wal")).unwrap_or_default());
    let ledger = String::from_utf8_lossy(&ledger).into_owned();
    for text in [&ended.output, &history, &ledger] {
        assert!(!text.contains(SECRET) && !text.contains("canary"), "the secret was written");
        assert!(!text.contains("eyJ"), "a token was written");
    }
}

#[test]
fn every_event_name_and_field_is_one_of_the_catalogue_with_one_type() {
    use adf_cron::event::{Fields, Name};
    let place = Place::new();
    place.write(THREE);
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 3);
    let ended = daemon.stop();
    let names: Vec<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
    for event in &ended.events {
        let fields = event.as_object().unwrap_or_else(|| panic!("no JSON object: {}", ended.output));
        assert!(names.contains(&event["event"].as_str().unwrap()), "{event}");
        let stamp = event["timestamp"].as_str().unwrap();
        assert!(stamp.ends_with('Z') && stamp.parse::<jiff::Timestamp>().is_ok(), "{stamp}");
        for (name, value) in fields {
            let common = ["timestamp", "level", "event", "message"].contains(&name.as_str());
            assert!(common || Fields::NAMES.contains(&name.as_str()), "{name}");
            let number = [
                "_ms",
                "_secs",
                "attempt",
                "count",
                "http_status",
                "entries",
                "added",
                "changed",
                "removed",
                "open_firings",
            ];
            assert_eq!(value.is_number(), number.iter().any(|end| name.ends_with(end)), "{name}: {value}");
        }
    }
}

/// A place with one entry, at a service that starts runs so slowly.
fn slow(delay_ms: u64, schedule: &str) -> Place {
    let place = Place::new();
    place.sim.set(|switches| switches.create_run_delay_ms = delay_ms);
    place.write(&format!("pipelines:\n  - {{ name: slow, pipeline: Slow, schedule: {{ {schedule} }} }}\n"));
    place
}

fn wait_for_call(place: &Place) {
    place
        .sim
        .wait_until(LIMIT, "a call", |seen| (seen.count(azure_sim::Operation::CreateRun) > 0).then_some(()));
}

#[test]
fn a_stop_lets_the_call_under_way_end_and_starts_nothing_new() {
    // The stop comes between the first nominal time and the second; then the first call is answered.
    let (place, daemon) = before(4, |second| {
        let first = second - Duration::from_secs(2);
        let place = slow(2_500, &format!("at: ['{first}', '{second}']"));
        let daemon = place.daemon_before(first)?;
        wait_for_call(&place);
        daemon.signal(Signal::TERM);
        daemon.wait_for("daemon.stopping", |_| true);
        Some((place, daemon))
    });
    let ended = daemon.ended();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(of(&ended.events, "run.created").len(), 1, "{}", ended.output);
    let stopped = &of(&ended.events, "daemon.stopped")[0];
    assert_eq!(stopped["open_firings"], 0);
    assert_eq!(place.sim.runs().len(), 1);
    assert!(place.history().iter().all(|row| row["state"] == "accepted"), "{:?}", place.history());
}

#[test]
fn a_second_signal_ends_it_at_once_and_the_next_start_finds_the_run() {
    // Its call is answered long after the grace that a stop has.
    let (place, daemon) = before(2, |at| {
        let place = slow(600_000, &format!("at: '{at}'"));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
    wait_for_call(&place);
    daemon.signal(Signal::TERM);
    daemon.wait_for("daemon.stopping", |_| true);
    daemon.signal(Signal::TERM);
    let began = std::time::Instant::now();
    let ended = daemon.ended();
    assert!(began.elapsed() < Duration::from_secs(20), "{}", ended.output);
    assert_eq!(of(&ended.events, "daemon.stopped")[0]["open_firings"], 1);
    let rows = place.history();
    assert_eq!(rows.iter().filter(|row| row["state"] == "unknown").count(), 1, "{rows:?}");
    let firing = rows.iter().find(|row| row["state"] == "unknown").unwrap()["firing_id"].clone();
    let runs = |place: &Place| {
        place.sim.runs().iter().filter(|run| run.request_id.as_deref() == firing.as_str()).count()
    };
    assert_eq!(runs(&place), 1, "the call had started a run");
    place.sim.set(|switches| {
        switches.create_run_delay_ms = 0;
        switches.repeated_id = RepeatedId::NewRun;
    });
    let again = place.daemon();
    let adopted = again.wait_for("run.adopted", |event| event["firing_id"] == firing);
    assert_eq!(adopted["run_id"], firing);
    again.stop();
    assert_eq!(runs(&place), 1, "it is not sent again");
    let row = place.history().into_iter().find(|row| row["firing_id"] == firing).unwrap();
    assert_eq!(row["state"], "accepted");
}

#[test]
fn a_second_daemon_on_the_same_ledger_is_refused() {
    let place = Place::new();
    place.write(THREE);
    let daemon = place.daemon();
    let second = place.run(&["run"]);
    assert_eq!(second.status.code(), Some(69));
    let said = String::from_utf8_lossy(&second.stdout).into_owned();
    assert!(said.contains("another adf-cron already runs on this ledger"), "{said}");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn higher_priority_is_sent_first_when_a_burst_must_wait() {
    let (place, daemon) = before(4, |at| {
        let place = Place::new();
        let entries: String = (0..6)
            .map(|i| {
                format!("  - {{ name: e{i}, pipeline: P{i}, priority: {i}, schedule: {{ at: '{at}' }} }}\n")
            })
            .collect();
        place.sim.set(|switches| switches.create_run_delay_ms = 50);
        place.write(&format!(
            "daemon: {{ heartbeat: 1s, horizon: 3s, max_in_flight: 1 }}\npipelines:\n{entries}"
        ));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
    daemon.wait_for_count("run.created", 6);
    let order: Vec<String> = place.sim.runs().into_iter().map(|run| run.pipeline).collect();
    assert_eq!(order, ["P5", "P4", "P3", "P2", "P1", "P0"]);
}

#[test]
fn jitter_makes_an_entry_late_by_its_own_share() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: spread, pipeline: P, schedule: { every: 3s }, jitter: 2s }\n");
    let next = place.json(&["next", "-n", "1", "--format", "json"]);
    let due: jiff::Timestamp = next[0]["due_time"].as_str().unwrap().parse().unwrap();
    let nominal: jiff::Timestamp = next[0]["scheduled_time"].as_str().unwrap().parse().unwrap();
    assert!(due > nominal, "{next}");
    let witness = Witness::of(&place.sim);
    let daemon = place.daemon();
    let created = daemon.wait_for("run.created", |_| true);
    let late = created["lateness_ms"].as_i64().unwrap();
    assert!(witness.late_at_most(500).contains(&late), "late is counted from the due time: {created}");
    let run = &place.sim.runs()[0];
    let scheduled: jiff::Timestamp = created["scheduled_time"].as_str().unwrap().parse().unwrap();
    assert!(run.arrived_at - scheduled >= due - nominal);
}
