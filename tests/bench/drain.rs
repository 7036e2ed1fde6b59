//! What the durable ledger costs a burst: how long a burst takes to drain with the ledger as it is, and while
//! nobody can write to it, so that no ledger work competes. Both by turns, in one run of one daemon.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use azure_sim::Sim;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::runtime::Runtime;

/// Bursts of one size, half of each kind.
pub(crate) struct Bursts {
    pub(crate) entries: usize,
    pub(crate) every: u64,
    pub(crate) rounds: usize,
}

pub(crate) const SIZES: [Bursts; 2] =
    [Bursts { entries: 1_000, every: 8, rounds: 20 }, Bursts { entries: 5_000, every: 20, rounds: 12 }];

/// The ledger is blocked this long before a burst is due: its intents are durable long before.
const AHEAD: Duration = Duration::from_millis(300);
/// Longer than a daemon takes to begin and to plan.
const BEGIN: u64 = 20;

/// Another program at the ledger, which lets nobody else write.
struct Block {
    runtime: Runtime,
    connection: SqliteConnection,
}

impl Block {
    fn new(ledger: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = SqliteConnectOptions::new().filename(ledger).busy_timeout(Duration::from_secs(5));
        let connection = runtime.block_on(options.connect()).unwrap();
        Self { runtime, connection }
    }

    fn begin(&mut self) {
        self.runtime.block_on(sqlx::query("BEGIN IMMEDIATE").execute(&mut self.connection)).unwrap();
    }

    fn end(&mut self) {
        self.runtime.block_on(sqlx::query("ROLLBACK").execute(&mut self.connection)).unwrap();
    }
}

pub(crate) fn compare(bursts: &Bursts) {
    let before = load();
    let sim = Sim::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let first = Timestamp::from_second(Timestamp::now().as_second() + i64::try_from(BEGIN).unwrap()).unwrap();
    let path = super::schedule(folder.path(), &sim.url(), bursts.entries, |entry| {
        format!(
            "pipeline: Pipeline {}, schedule: {{ every: {}s, anchor: '{first}' }}, start: '{first}', \
             parameters: {{ at: '{{{{ scheduled_time }}}}' }}",
            entry % 500,
            bursts.every
        )
    });
    let daemon = super::daemon(folder.path(), &path);
    super::loaded(folder.path());
    let mut block = Block::new(&folder.path().join("ledger.db"));
    let mut spent = Spent::default();
    for round in 0..bursts.rounds {
        let due = first + Duration::from_secs(bursts.every * round as u64);
        sleep_until(due - AHEAD);
        let blocked = is_blocked(round);
        if blocked {
            block.begin();
        }
        let began = Spent::so_far(daemon.id());
        let end = Instant::now() + Duration::from_secs(bursts.every + 30);
        while sim.run_count() < bursts.entries * (round + 1) {
            assert!(Instant::now() < end, "round {round}: {} runs", sim.run_count());
            std::thread::sleep(Duration::from_millis(20));
        }
        if blocked {
            block.end();
        } else {
            spent.add(&began, &Spent::so_far(daemon.id()));
        }
    }
    block.runtime.block_on(block.connection.close()).unwrap();
    super::stop(daemon);
    tell(bursts, &drains(&sim, first, bursts), &before);
    println!(
        "{:>8} starts: {:.0} % of the daemon's processor time while a burst drains is the ledger's",
        bursts.entries,
        spent.ledger / spent.all * 100.0
    );
}

/// Processor time of a daemon, whatever else the host does: of all its threads, and of those of the ledger.
#[derive(Default)]
struct Spent {
    all: f64,
    ledger: f64,
}

impl Spent {
    fn so_far(process: u32) -> Self {
        let mut spent = Self::default();
        for thread in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
            let thread = thread.unwrap().path();
            // One that has ended in the meantime did nothing much.
            let of = |file: &str| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
            let nanoseconds: f64 = of("schedstat").split(' ').next().unwrap().parse().unwrap_or_default();
            spent.all += nanoseconds;
            if of("comm").starts_with("recorder") || of("comm").starts_with("sqlx") {
                spent.ledger += nanoseconds;
            }
        }
        spent
    }

    fn add(&mut self, from: &Self, to: &Self) {
        self.all += to.all - from.all;
        self.ledger += to.ledger - from.ledger;
    }
}

/// Every other burst, and not in step with what else comes every other time.
fn is_blocked(round: usize) -> bool {
    matches!(round % 4, 1 | 2)
}

/// How long each burst took from its nominal time to its last call, in milliseconds.
fn drains(sim: &Sim, first: Timestamp, bursts: &Bursts) -> Vec<f64> {
    let mut last: BTreeMap<i64, f64> = BTreeMap::new();
    for run in sim.runs() {
        let at: Timestamp = run.parameters["at"].as_str().unwrap().parse().unwrap();
        let late = run.arrived_at.duration_since(at).as_secs_f64() * 1_000.0;
        let latest = last.entry(at.as_second()).or_default();
        *latest = latest.max(late);
    }
    let step = i64::try_from(bursts.every).unwrap();
    (0..bursts.rounds)
        .map(|round| last[&(first.as_second() + step * i64::try_from(round).unwrap())])
        .collect()
}

fn tell(bursts: &Bursts, drains: &[f64], before: &str) {
    // The first burst of each kind opens connections and warms caches.
    let of = |kind: bool| {
        let mut some: Vec<f64> = drains
            .iter()
            .enumerate()
            .skip(2)
            .filter(|(round, _)| is_blocked(*round) == kind)
            .map(|(_, d)| *d)
            .collect();
        some.sort_by(f64::total_cmp);
        some
    };
    let (with, without) = (of(false), of(true));
    let median = |sorted: &[f64]| (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0;
    for (name, times) in [("ledger as it is", &with), ("ledger blocked", &without)] {
        println!(
            "{:>8} starts, {name:<15}: drained in {:>6.1} ms (median of {}; {:.1} to {:.1})",
            bursts.entries,
            median(times),
            times.len(),
            times[0],
            times[times.len() - 1]
        );
    }
    println!(
        "{:>8} starts: {:.2} times as long with the ledger, {:.2} by the fastest of each (load {before} before, {} after)",
        bursts.entries,
        median(&with) / median(&without),
        with[0] / without[0],
        load()
    );
}

fn sleep_until(at: Timestamp) {
    let left = at.duration_since(Timestamp::now());
    std::thread::sleep(Duration::try_from(left).unwrap_or_default());
}

/// How busy the host is: the load of the last minute.
fn load() -> String {
    let all = std::fs::read_to_string("/proc/loadavg").unwrap();
    all.split(' ').next().unwrap().to_owned()
}
