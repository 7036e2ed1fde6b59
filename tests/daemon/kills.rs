//! The process is killed at random moments under load: nothing is lost, and nothing is started twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use azure_sim::{RepeatedId, RunIdMode};

use crate::chance::Chance;
use crate::process::{Daemon, Place, of};
use crate::stage::before;
use crate::tally::{self, Crowd, DISTINCT};

/// How many kills a soak makes, if not a thousand.
const KILLS: &str = "ADF_CRON_KILLS";

/// Twenty starts a second, and what was missed is started late.
const DEFAULTS: &str = "{ settle: 1s, late_after: 1s, missed: all, missed_max: 10000, \
                        retry: { max_attempts: 60, initial: 200ms, max: 1s } }";

/// A daemon that is killed again and again.
struct Killed {
    place: Place,
    crowd: Crowd,
    chance: Chance,
    kills: usize,
    /// The runs that events have told of.
    told: BTreeSet<String>,
}

impl Killed {
    /// The service names its runs like this, and takes every repeated id for a second run: whatever is sent again
    /// without a look is seen.
    fn new(run_id: &RunIdMode) -> Self {
        let chance = Chance::new();
        let (place, crowd, daemon) = before(3, |first| {
            let place = Place::new();
            place.sim.set(|switches| {
                switches.run_id_mode = run_id.clone();
                switches.repeated_id = RepeatedId::NewRun;
                // Slow enough that many calls are under way whenever it is killed.
                switches.create_run_delay_ms = 30;
            });
            // Pipelines of their own: a search for the run of one entry need not read those of all.
            let (pipeline, parameters) = ("{entry}", DISTINCT);
            let crowd = Crowd { entries: 20, every: 1, first, end: None, pipeline, parameters };
            place.write(&crowd.yaml(DEFAULTS));
            let daemon = place.daemon_before(first)?;
            Some((place, crowd, daemon))
        });
        let mut killed = Self { place, crowd, chance, kills: 0, told: BTreeSet::new() };
        // The first answers teach how the factory names its runs.
        daemon.wait_for_count("run.created", 20);
        killed.end(daemon);
        killed
    }

    /// Lets it live for a random time, from before it has begun to after its first firings, and kills it.
    fn once_more(&mut self) {
        let daemon = Daemon::spawn(self.place.command(&["run"]));
        // Nothing but chance says when: about once a second.
        std::thread::sleep(self.chance.milliseconds(20, 1_900));
        self.end(daemon);
    }

    fn end(&mut self, daemon: Daemon) {
        self.hear(&daemon.kill().events);
        self.kills += 1;
    }

    fn hear(&mut self, events: &[serde_json::Value]) {
        for name in ["run.created", "run.adopted"] {
            self.told
                .extend(of(events, name).iter().map(|event| event["run_id"].as_str().unwrap().to_owned()));
        }
    }

    /// Lets it live, until all that was open is over, and checks every account.
    fn settle(mut self) {
        let daemon = self.place.daemon();
        let (ended, wanted) = tally::settle(&self.place, &self.crowd, daemon);
        self.hear(&ended.events);
        println!("{} kills, {} nominal times", self.kills, wanted.len());
        for run in self.place.sim.runs() {
            assert!(self.told.contains(&run.run_id), "run {} was never announced", run.run_id);
        }
    }
}

/// Kills for twenty-five seconds.
fn kill_for_a_while(run_id: RunIdMode) {
    let mut killed = Killed::new(&run_id);
    let end = Instant::now() + Duration::from_secs(25);
    while Instant::now() < end {
        killed.once_more();
    }
    killed.settle();
}

#[test]
fn kills_at_random_moments_under_twenty_starts_a_second_lose_and_repeat_nothing() {
    kill_for_a_while(RunIdMode::Ours);
}

#[test]
fn kills_at_random_moments_lose_and_repeat_nothing_where_the_service_gives_its_own_ids() {
    kill_for_a_while(RunIdMode::Own);
}

/// A thousand kills, about twenty minutes:
/// `cargo test --release --test daemon -- --ignored --nocapture soak`. `ADF_CRON_KILLS` says how many instead.
#[test]
#[ignore = "takes twenty minutes"]
fn soak_a_thousand_kills_lose_and_repeat_nothing() {
    let kills = std::env::var(KILLS).map_or(1_000, |text| text.parse().unwrap());
    let mut killed = Killed::new(&RunIdMode::Ours);
    while killed.kills < kills {
        killed.once_more();
        if killed.kills.is_multiple_of(25) {
            let runs = killed.place.sim.run_count();
            println!("{} of {kills} kills, {runs} runs, {} announced", killed.kills, killed.told.len());
        }
    }
    killed.settle();
}
