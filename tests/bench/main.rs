//! How late a burst is, and what many entries cost. It measures the released program as a process of its
//! own against the stand-in for Azure on loopback, with its ledger on, and prints a table; it judges
//! nothing. `cargo bench --bench burst`, or `cargo bench --bench burst -- 1000` for one size, `-- unfollowed` to leave
//! the runs alone, `-- ledger` for what the ledger costs a burst, or `-- follow` for what following 10,000 runs costs.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench measures real time, ends when something fails, and takes shares of counts"
)]

mod drain;
mod follow;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use azure_sim::{Operation, Sim};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};

/// One burst: how many entries, how far apart in seconds, how many times, and on how many pipelines.
struct Burst {
    entries: usize,
    every: u64,
    rounds: usize,
    pipelines: usize,
}

const BURSTS: [Burst; 5] = [
    Burst { entries: 1, every: 2, rounds: 25, pipelines: 1 },
    Burst { entries: 100, every: 4, rounds: 8, pipelines: 100 },
    Burst { entries: 1_000, every: 6, rounds: 6, pipelines: 1_000 },
    Burst { entries: 1_000, every: 6, rounds: 6, pipelines: 1 },
    Burst { entries: 5_000, every: 12, rounds: 4, pipelines: 500 },
];

fn main() {
    if std::env::args().any(|argument| argument == "ledger") {
        return drain::SIZES.iter().for_each(drain::compare);
    }
    if std::env::args().any(|argument| argument == "follow") {
        return follow::measure();
    }
    let wanted: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    println!(
        "{:>8} {:>9} {:>6} {:>9} {:>9} {:>9} {:>6} {:>8}",
        "entries", "pipelines", "runs", "p50 ms", "p99 ms", "max ms", "lost", "doubled"
    );
    for burst in BURSTS.iter().filter(|burst| wanted.is_empty() || wanted.contains(&burst.entries)) {
        run(burst);
    }
    if wanted.is_empty() {
        drain::SIZES.iter().for_each(drain::compare);
        many_entries();
    }
}

/// A schedule with this many entries, each of which has this `schedule:`.
fn schedule(folder: &Path, url: &str, entries: usize, of: impl Fn(usize) -> String) -> std::path::PathBuf {
    let mut text = format!(
        "azure:
  authority: {url}
  resource_manager: {url}
  tenant_id: contoso.onmicrosoft.com
  client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
  client_secret: {{ file: {secret} }}
  subscription_id: 00000000-0000-0000-0000-000000000000
  resource_group: rg-data
  factory: adf-prod
ledger: {ledger}
pipelines:
",
        secret = folder.join("secret").display(),
        ledger = folder.join("ledger.db").display(),
    );
    for entry in 0..entries {
        writeln!(text, "  - {{ name: entry-{entry}, {} }}", of(entry)).unwrap();
    }
    std::fs::write(folder.join("secret"), "secret").unwrap();
    let path = folder.join("schedule.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

fn daemon(folder: &Path, schedule: &Path) -> Child {
    let log = std::fs::File::create(folder.join("log")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_adf-cron"))
        .args(["run", "--config"])
        .arg(schedule)
        .stdin(Stdio::null())
        .stdout(log)
        .spawn()
        .unwrap()
}

fn stop(mut daemon: Child) {
    kill_process(Pid::from_child(&daemon), Signal::TERM).unwrap();
    assert!(daemon.wait().unwrap().success());
}

fn run(burst: &Burst) {
    let sim = Sim::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let follows = !std::env::args().any(|argument| argument == "unfollowed");
    let path = schedule(folder.path(), &sim.url(), burst.entries, |entry| {
        format!(
            "pipeline: Pipeline {}, schedule: {{ every: {}s }}, parameters: {{ at: '{{{{ scheduled_time }}}}' }}, \
             follow: {follows}",
            entry % burst.pipelines,
            burst.every
        )
    });
    let daemon = daemon(folder.path(), &path);
    let wanted = burst.entries * burst.rounds;
    let limit = Duration::from_secs(burst.every * (burst.rounds as u64 + 3) + 30);
    // Asked now and then: whoever waits for each arrival takes time from the burst.
    let end = Instant::now() + limit;
    while sim.run_count() < wanted && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(sim.run_count() >= wanted, "{} of {wanted} runs", sim.run_count());
    stop(daemon);
    let requests = sim.requests();
    let calls = requests.iter().filter(|request| request.operation == Operation::CreateRun).count();
    let runs = sim.runs();
    let nominal = |run: &azure_sim::Run| run.parameters["at"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let times: HashSet<Timestamp> = runs.iter().map(nominal).collect();
    let distinct: HashSet<&str> = runs.iter().map(|run| run.run_id.as_str()).collect();
    let mut late: Vec<f64> =
        runs.iter().map(|run| (run.arrived_at - nominal(run)).as_secs_f64() * 1_000.0).collect();
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() - 1) as f64 * share).round() as usize];
    println!(
        "{:>8} {:>9} {:>6} {:>9.2} {:>9.2} {:>9.2} {:>6} {:>8}",
        burst.entries,
        burst.pipelines,
        runs.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        times.len() * burst.entries - distinct.len(),
        calls - distinct.len(),
    );
    assert!(late[0] >= 0.0, "never early");
}

/// What entries cost that have nothing to do.
fn many_entries() {
    let nightly = |entry: usize| {
        format!(
            "pipeline: Pipeline {}, schedule: '{} {} * * *', timezone: Europe/Berlin, parameters: {{ n: {entry}, day: \"{{{{ scheduled_time | date('%F') }}}}\" }}",
            entry % 200,
            entry % 60,
            (far_hour() + entry % 3) % 24
        )
    };
    let sim = Sim::start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = schedule(folder.path(), &sim.url(), 10_000, nightly);
    let began = Instant::now();
    let check = Command::new(env!("CARGO_BIN_EXE_adf-cron"))
        .arg("check")
        .arg("--config")
        .arg(&path)
        .output()
        .unwrap();
    assert!(check.status.success());
    println!("check of 10,000 entries: {} ms", began.elapsed().as_millis());

    let idle = daemon(folder.path(), &path);
    loaded(folder.path());
    std::thread::sleep(Duration::from_secs(10));
    let (memory, before) = cost(&idle);
    std::thread::sleep(Duration::from_secs(60));
    let (_, after) = cost(&idle);
    stop(idle);
    println!(
        "10,000 idle entries: {memory} kB after 10 s, {:.3} % of a core over 60 s",
        (after - before) / 60.0 * 100.0
    );

    let folder = tempfile::tempdir().unwrap();
    let path = schedule(folder.path(), &sim.url(), 100_000, nightly);
    let began = Instant::now();
    let many = daemon(folder.path(), &path);
    loaded(folder.path());
    println!("start with 100,000 entries: {} ms", began.elapsed().as_millis());
    stop(many);
}

/// An hour of Berlin that is at least six hours away.
fn far_hour() -> usize {
    let now = Timestamp::now().in_tz("Europe/Berlin").unwrap();
    (usize::try_from(now.hour()).unwrap() + 8) % 24
}

/// Waits until the schedule is in force.
fn loaded(folder: &Path) {
    while !std::fs::read_to_string(folder.join("log")).unwrap().contains("schedule.loaded") {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Resident memory in kB and processor time in seconds so far.
fn cost(daemon: &Child) -> (u64, f64) {
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", daemon.id())).unwrap();
    let status = of("status");
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let stat = of("stat");
    // After the name in brackets: user and system time are fields 14 and 15, in ticks of 10 ms.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11..=12].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum();
    (memory.trim().trim_end_matches(" kB").parse().unwrap(), ticks / 100.0)
}
