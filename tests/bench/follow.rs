//! What following costs: ten thousand runs of one factory that do not end, followed as shipped; how many calls each
//! pass makes, and how much of a processor the daemon needs between its passes and in them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use azure_sim::{Operation, Sim};
use jiff::Timestamp;

/// Runs in flight: as many as Data Factory allows in a factory (service limits page).
const RUNS: usize = 10_000;
/// How long the passes are watched.
const WATCHED: Duration = Duration::from_secs(200);

pub(crate) fn measure() {
    let sim = Sim::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = Timestamp::from_second(Timestamp::now().as_second() + 30).unwrap();
    let path = super::schedule(folder.path(), &sim.url(), RUNS, |entry| {
        format!("pipeline: Pipeline {}, schedule: {{ at: '{at}' }}, late_after: 10m", entry % 500)
    });
    let daemon = super::daemon(folder.path(), &path);
    let end = Instant::now() + Duration::from_secs(300);
    while sim.run_count() < RUNS {
        assert!(Instant::now() < end, "{} runs", sim.run_count());
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_secs(20));
    let before = sim.requests().len();
    let (_, spent) = super::cost(&daemon);
    std::thread::sleep(WATCHED);
    let (memory, after) = super::cost(&daemon);
    let requests = sim.requests();
    super::stop(daemon);
    let mut calls: BTreeMap<i64, usize> = BTreeMap::new();
    for request in &requests[before..] {
        if matches!(request.operation, Operation::QueryRuns | Operation::GetRun) {
            *calls.entry(request.arrived_at.as_second()).or_default() += 1;
        }
    }
    println!(
        "{RUNS} runs followed for {} s: {} calls, at most {} in a second, {:.2} % of a core, {memory} kB",
        WATCHED.as_secs(),
        calls.values().sum::<usize>(),
        calls.values().max().unwrap_or(&0),
        (after - spent) / WATCHED.as_secs_f64() * 100.0
    );
}
