//! A power cut just before, or just at, a nominal time, and a start once that and three more are late: exactly
//! what `missed` says, once. What the engine makes of a whole night is shown in its own tests.

use std::time::Duration;

use azure_sim::{Effect, Fault, Operation};
use jiff::Timestamp;

use crate::process::{Daemon, LIMIT, Place, now, of};
use crate::stage::before;

/// The place where it happened, and the first of the four nominal times.
struct Outage {
    place: Place,
    first: Timestamp,
}

/// Three entries with four nominal times each. The power goes when the first of them is planned or, with a fault,
/// when it was called. It comes back when all are late.
fn outage(fault: Option<Effect>) -> Outage {
    let (place, first) = match fault {
        None => before(5, |first| {
            let (place, daemon) = planned(first, Vec::new())?;
            daemon.kill();
            Some((place, first))
        }),
        // Before the second nominal time comes as well.
        Some(effect) => before(6, |second| {
            let first = second - Duration::from_secs(1);
            let fault = Fault::always(Operation::CreateRun, effect.clone());
            let (place, daemon) = planned(first, vec![fault])?;
            place.sim.wait_until(LIMIT, "the first calls", |seen| {
                (seen.count(Operation::CreateRun) >= 3).then_some(())
            });
            daemon.kill();
            Some((place, first))
        }),
    };
    place.sim.set(|switches| switches.faults.clear());
    // Nothing tells when the last of them is late but the clock.
    let back = first + Duration::from_millis(4_500);
    std::thread::sleep(Duration::try_from(back.duration_since(now())).unwrap_or_default());
    Outage { place, first }
}

/// A daemon that has planned the first of four nominal times of each entry, at a service with these faults.
fn planned(first: Timestamp, faults: Vec<Fault>) -> Option<(Place, Daemon)> {
    let place = Place::new();
    place.sim.set(|switches| switches.faults = faults);
    let times: Vec<String> = (0..4).map(|n| format!("'{}'", first + Duration::from_secs(n))).collect();
    let mut text = "defaults: { late_after: 1s, settle: 1s }\npipelines:\n".to_owned();
    for missed in ["skip", "latest", "all"] {
        text += &format!(
            "  - {{ name: {missed}, pipeline: P, schedule: {{ at: [{}] }}, missed: {missed}, \
             parameters: {{ entry: {missed}, at: \"{{{{ scheduled_time }}}}\" }} }}\n",
            times.join(", ")
        );
    }
    place.write(&text);
    let daemon = place.daemon_before(first)?;
    daemon.wait_for_count("firing.planned", 3);
    Some((place, daemon))
}

impl Outage {
    /// Starts again, and waits until all twelve nominal times are over; returns how many runs were adopted.
    fn over(&self) -> usize {
        let daemon = self.place.daemon();
        daemon.wait_until("the end of all", |events| {
            let skipped = of(events, "firing.skipped");
            let skipped: u64 = skipped.iter().map(|event| event["count"].as_u64().unwrap_or(1)).sum();
            let started = of(events, "run.created").len() + of(events, "run.adopted").len();
            (usize::try_from(skipped).unwrap() + started >= 12).then_some(())
        });
        let ended = daemon.stop();
        assert!(of(&ended.events, "firing.held").is_empty(), "{}", ended.output);
        for event in of(&ended.events, "firing.skipped") {
            assert_eq!(event["reason"], "missed");
        }
        of(&ended.events, "run.adopted").len()
    }

    /// How many seconds after the first nominal time those lie that an entry has a run for, in order.
    fn runs(&self, entry: &str) -> Vec<i64> {
        let runs = self.place.sim.runs();
        let mut seconds: Vec<i64> = runs
            .iter()
            .filter(|run| run.parameters["entry"] == entry)
            .map(|run| run.parameters["at"].as_str().unwrap().parse::<Timestamp>().unwrap())
            .map(|at| at.as_second() - self.first.as_second())
            .collect();
        seconds.sort_unstable();
        seconds
    }

    /// How many nominal times of an entry the ledger has as left out.
    fn skipped(&self, entry: &str) -> u64 {
        let rows = self.place.history();
        let skipped = rows.iter().filter(|row| row["entry"] == entry && row["state"] == "skipped");
        skipped.map(|row| row["count"].as_u64().unwrap_or(1)).sum()
    }

    fn assert_runs_and_skips(&self, entry: &str, runs: &[i64], skips: u64) {
        assert_eq!((self.runs(entry), self.skipped(entry)), (runs.to_vec(), skips), "{entry}");
    }
}

#[test]
fn a_power_cut_before_a_nominal_time_goes_by_the_missed_policy_once() {
    let outage = outage(None);
    assert_eq!(outage.over(), 0, "nothing had been sent");
    outage.assert_runs_and_skips("skip", &[], 4);
    outage.assert_runs_and_skips("latest", &[3], 3);
    outage.assert_runs_and_skips("all", &[0, 1, 2, 3], 0);
}

#[test]
fn a_power_cut_after_a_call_that_started_a_run_adopts_it_whatever_the_policy_says() {
    let outage = outage(Some(Effect::Hang { commit: true }));
    assert_eq!(outage.over(), 3);
    outage.assert_runs_and_skips("skip", &[0], 3);
    outage.assert_runs_and_skips("latest", &[0, 3], 2);
    outage.assert_runs_and_skips("all", &[0, 1, 2, 3], 0);
}

#[test]
fn a_power_cut_after_a_call_that_started_nothing_goes_by_the_missed_policy_once() {
    let outage = outage(Some(Effect::Hang { commit: false }));
    assert_eq!(outage.over(), 0);
    outage.assert_runs_and_skips("skip", &[], 4);
    outage.assert_runs_and_skips("latest", &[3], 3);
    outage.assert_runs_and_skips("all", &[0, 1, 2, 3], 0);
}
