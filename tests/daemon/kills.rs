//! The process is killed at random moments under load: nothing is lost, and nothing is started twice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use azure_sim::{RepeatedId, RunIdMode};
use jiff::Timestamp;

use crate::chance::Chance;
use crate::process::{Daemon, LIMIT, Place, in_seconds, now, of};
use crate::tally::{self, Crowd, DISTINCT, Time};

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
    fn new(run_id: RunIdMode) -> Self {
        let chance = Chance::new();
        let place = Place::new();
        place.sim.set(|switches| {
            switches.run_id_mode = run_id;
            switches.repeated_id = RepeatedId::NewRun;
            // Slow enough that many calls are under way whenever it is killed.
            switches.create_run_delay_ms = 30;
        });
        let crowd = Crowd { entries: 20, every: 1, first: in_seconds(3), end: None, parameters: DISTINCT };
        place.write(&crowd.yaml(DEFAULTS));
        let mut killed = Self { place, crowd, chance, kills: 0, told: BTreeSet::new() };
        // The first answers teach how the factory names its runs.
        let daemon = killed.place.daemon();
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
        let until = now();
        self.wait_for_all(&daemon, until);
        let ended = daemon.stop();
        assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
        self.hear(&ended.events);
        let wanted = self.wanted(until);
        println!("{} kills, {} nominal times", self.kills, wanted.len());
        tally::assert_each_has_one_run(&self.place, &wanted);
        tally::assert_each_is_accepted(&self.place, &wanted);
        for run in self.place.sim.runs() {
            assert!(self.told.contains(&run.run_id), "run {} was never announced", run.run_id);
        }
    }

    /// Waits until every nominal time up to `until` has its run, and nothing is looked for any more.
    fn wait_for_all(&self, daemon: &Daemon, until: Timestamp) {
        let entries = i64::try_from(self.crowd.entries).unwrap();
        let least =
            usize::try_from((until.as_second() - self.crowd.first.as_second() + 1) * entries).unwrap();
        let deadline = Instant::now() + LIMIT;
        loop {
            let heard = daemon.events().len();
            let mut open = self.place.history();
            open.retain(|row| tally::time_of(row).1 <= until.as_second() && row["state"] != "accepted");
            if self.place.sim.run_count() >= least && open.is_empty() {
                return;
            }
            let held = open.iter().any(|row| row["state"] == "held");
            assert!(!held && Instant::now() < deadline, "not over, or never: {open:?}");
            daemon.wait_until("more events", |events| (events.len() > heard).then_some(()));
        }
    }

    /// Every nominal time up to `until`, and each after it up to the last that an entry was started for: the
    /// daemon went on for a moment.
    fn wanted(&self, until: Timestamp) -> BTreeSet<Time> {
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        for (entry, second) in tally::runs(&self.place).into_keys() {
            let latest = last.entry(entry).or_insert(until.as_second());
            *latest = (*latest).max(second);
        }
        assert_eq!(last.len(), self.crowd.entries);
        let first = self.crowd.first.as_second();
        last.iter().flat_map(|(entry, last)| (first..=*last).map(|second| (entry.clone(), second))).collect()
    }
}

/// Kills for twenty-five seconds.
fn kill_for_a_while(run_id: RunIdMode) {
    let mut killed = Killed::new(run_id);
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
    let mut killed = Killed::new(RunIdMode::Ours);
    while killed.kills < kills {
        killed.once_more();
        if killed.kills.is_multiple_of(25) {
            let runs = killed.place.sim.run_count();
            println!("{} of {kills} kills, {runs} runs, {} announced", killed.kills, killed.told.len());
        }
    }
    killed.settle();
}
