//! The simulation: the real engine, ledger and classification, in a world of drawn faults whose time belongs
//! to the test.
//!
//! A seed decides a scenario: a schedule and its edits, a host that crashes, stops, sleeps and has a wrong
//! clock, a disk that fails, and a network and a Data Factory that lose, delay and garble. After every step
//! it is checked that no scheduled firing has two runs, that nothing is sent before its intent is durable,
//! nothing early, and nothing after a stop was asked for; at the end, when all has settled, that every nominal time has exactly one record that
//! says what the service knows.
//!
//! A failing seed is printed with the end of its trace, and runs alone again:
//!
//! ```text
//! SIM_SEED=1234 cargo test --test simulation -- --nocapture one_seed
//! ```
//!
//! `SIM_DISK=1` runs that seed on SQLite, and `SIM_TRACE=500` shows so many lines of its trace. Of the whole test
//! `SIM_FIRST` is the first seed and `SIM_FIRINGS` how many firings are enough; with `SIM_SURVEY=1` it names every seed
//! that fails, and goes on.
//!
//! What is not simulated, since the daemon has no answer to it: a clock that is set back between an unclean end
//! and the next start; and, where a factory gives its runs ids of its own, a clock that differs from the service's
//! by more than the query for its runs allows for (10 minutes).

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod backfills;
mod books;
mod checker;
mod contract;
mod dice;
mod drafts;
mod following;
mod host;
mod memory;
mod network;
mod output;
mod people;
mod sabotage;
mod scribe;
mod service;
mod trace;
mod wire;
mod world;

use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use checker::Counts;
use sabotage::Sabotage;
use world::{Setup, World};

/// Seeds within which a broken rule must be noticed.
const SEEDS_TO_NOTICE: u64 = 40;
/// Lines of the trace of a failing seed that are shown.
const LINES: usize = 60;

/// Runs one seed; returns what it came to, or what was wrong.
fn run(setup: Setup) -> Result<Counts, (String, Vec<String>)> {
    let mut world = World::new(setup);
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| world.run())).is_err();
    let trace = std::mem::take(&mut world.trace);
    match world.checker.wrong.take() {
        Some(wrong) => Err((wrong, trace)),
        None if panicked => Err(("it panicked".to_owned(), trace)),
        None => Ok(world.checker.counts),
    }
}

/// Runs a seed that failed once more, to show what led to it.
fn explain(setup: Setup, wrong: &str, lines: usize) -> String {
    let trace = match run(Setup { traced: true, ..setup }) {
        Err((_, trace)) => trace,
        Ok(_) => vec!["it did not fail when it was run again".to_owned()],
    };
    let shown = trace.len().saturating_sub(lines);
    let disk = if setup.on_disk { "SIM_DISK=1 " } else { "" };
    format!("{}\n{disk}SIM_SEED={} fails: {wrong}", trace[shown..].join("\n"), setup.seed)
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn one_seed() {
    let Some(seed) = number("SIM_SEED") else { return };
    let setup = Setup { seed, on_disk: number("SIM_DISK").is_some(), sabotage: None, traced: false };
    let lines = number("SIM_TRACE").map_or(LINES, |lines| usize::try_from(lines).unwrap());
    match run(setup) {
        Ok(counts) => println!("{counts:?}"),
        Err((wrong, _)) => panic!("{}", explain(setup, &wrong, lines)),
    }
}

/// What several threads have found out together.
#[derive(Default)]
struct Tally {
    next_seed: AtomicU64,
    total: Mutex<(Counts, Counts, u64)>,
    failed: Mutex<Option<String>>,
}

impl Tally {
    /// Runs seed after seed until there were enough firings, or one fails.
    fn work(&self, enough: u64, enough_on_disk: u64) {
        while self.failed.lock().unwrap().is_none() {
            let (in_memory, on_disk, _) = *self.total.lock().unwrap();
            if in_memory.firings + on_disk.firings >= enough && on_disk.firings >= enough_on_disk {
                return;
            }
            // A tenth of all firings is on SQLite, from the beginning on.
            let behind = on_disk.firings * 9 <= in_memory.firings && on_disk.firings < enough_on_disk;
            let seed = self.next_seed.fetch_add(1, Ordering::Relaxed);
            let setup = Setup { seed, on_disk: behind, sabotage: None, traced: false };
            match run(setup) {
                Ok(counts) => {
                    let mut total = self.total.lock().unwrap();
                    total.2 += 1;
                    if setup.on_disk { &mut total.1 } else { &mut total.0 }.add(&counts);
                }
                // A survey shows all that fail.
                Err((wrong, _)) if number("SIM_SURVEY").is_some() => println!("seed {seed}: {wrong}"),
                Err((wrong, _)) => {
                    self.failed.lock().unwrap().get_or_insert(explain(setup, &wrong, LINES));
                }
            }
        }
    }
}

#[test]
fn a_million_firings_each_end_in_exactly_one_known_outcome() {
    #[expect(clippy::disallowed_methods, reason = "the time that the simulation takes")]
    let begun = std::time::Instant::now();
    let tally = Tally { next_seed: AtomicU64::new(number("SIM_FIRST").unwrap_or(1)), ..Tally::default() };
    let enough = number("SIM_FIRINGS").unwrap_or(1_000_000);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| tally.work(enough, enough / 10));
        }
    });
    if let Some(failed) = tally.failed.into_inner().unwrap() {
        panic!("{failed}");
    }
    let (mut total, on_disk, seeds) = tally.total.into_inner().unwrap();
    total.add(&on_disk);
    // The counts are worth a line in the log of a run that passes.
    let _ = writeln!(
        std::io::stderr(),
        "{} firings ({} on SQLite) and {} nominal times left out, in {} attempts, {} runs, {} held, {} followed, \
         {} attempts to recover, {} firings of backfills; \
         {} starts, {} crashes, {} steps, {seeds} seeds, {:.0} s on {threads} threads",
        total.firings,
        on_disk.firings,
        total.skipped,
        total.attempts,
        total.runs,
        total.held,
        total.followed,
        total.recoveries,
        total.backfilled,
        total.starts,
        total.crashes,
        total.steps,
        begun.elapsed().as_secs_f64()
    );
}

#[test]
fn a_seed_gives_the_same_scenario_each_time() {
    for seed in 1..=4 {
        let setup = Setup { seed, on_disk: false, sabotage: None, traced: true };
        let story = || {
            let mut world = World::new(setup);
            world.run();
            // The records of a commit stand in whatever order the engine's maps have.
            world.trace.retain(|line| !line.contains("-> commit") && !line.contains("<- Committed"));
            world.trace
        };
        let (first, second) = (story(), story());
        let differs = first.iter().zip(&second).find(|(first, second)| first != second);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// Each rule that the promises rest on is broken in turn, and some seed must show it.
#[test]
fn the_checker_notices_each_rule_that_is_broken() {
    for sabotage in Sabotage::ALL {
        let noticed = (1..=SEEDS_TO_NOTICE).find_map(|seed| {
            let setup = Setup { seed, on_disk: false, sabotage: Some(sabotage), traced: false };
            run(setup).err().map(|(wrong, _)| (seed, wrong))
        });
        let Some((seed, wrong)) = noticed else {
            panic!("{sabotage:?} was not noticed in {SEEDS_TO_NOTICE} seeds");
        };
        println!("{sabotage:?} is noticed by seed {seed}: {wrong}");
    }
}
