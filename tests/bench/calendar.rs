//! How fast calendars are: next firings of a realistic mix on one core, and the planning of 100,000 entries for the
//! daemon's horizon. It counts the processor time of its one thread, which no other load of the machine changes, prints
//! numbers, and judges nothing. `cargo bench --bench calendar`.
#![expect(clippy::unwrap_used, reason = "a bench ends when something fails")]

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use adf_cron::clock::Now;
use adf_cron::config::{self, Settings};
use adf_cron::engine::{Action, Engine, Input, Schedule};
use adf_cron::ids::Nominal;
use adf_cron::ledger::{Record, Snapshot};
use adf_cron::schedule::CronRules;
use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};

/// The schedules of a house, per hundred entries. `{m}` and `{h}` are another minute and hour for each.
const MIX: [(usize, &str); 15] = [
    (40, "'{m} {h} * * *'"),
    (10, "'{m} {h} * * MON-FRI'"),
    (6, "'{m} 6,12,18 * * *'"),
    (6, "'{m} 7-19 * * MON-FRI'"),
    (8, "'*/15 * * * *'"),
    (6, "'{m} * * * *'"),
    (6, "{ every: 15m, offset: {m}s }"),
    (4, "'{m} {h} 1 * *'"),
    (2, "'{m} {h} L * *'"),
    (2, "'{m} {h} 15W * *'"),
    (2, "'{m} {h} * * FRI#1,FRI#3'"),
    (2, "[ '{m} {h} * * *', '0 22 L * *', { every: 6h } ]"),
    (
        2,
        "{ recurrence: { frequency: Week, interval: 2, startTime: 2026-01-05, schedule: { weekDays: [Monday, Friday], hours: {h}, minutes: {m} } } }",
    ),
    (
        2,
        "{ recurrence: { frequency: Month, startTime: 2026-01-05, schedule: { monthDays: [1, -1], hours: {h}, minutes: {m} } } }",
    ),
    (2, "'{m} {h} * * *', except: [ saturday, sunday, 2026-12-24..2027-01-02 ]"),
];

const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "UTC",
    "America/New_York",
    "Europe/London",
    "Asia/Kolkata",
    "America/Los_Angeles",
    "Australia/Sydney",
    "Asia/Tokyo",
];

fn main() {
    next_firings();
    planning();
}

/// A schedule with this many entries of the mix.
fn settings(entries: usize) -> (String, Settings) {
    let mix: Vec<&str> =
        MIX.iter().flat_map(|(share, schedule)| std::iter::repeat_n(*schedule, *share)).collect();
    assert_eq!(mix.len(), 100);
    let mut text = "azure:
  tenant_id: contoso.onmicrosoft.com
  client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
  client_secret: { credential: client-secret }
  subscription_id: 00000000-0000-0000-0000-000000000000
  resource_group: rg-data
  factory: adf-prod
pipelines:
"
    .to_owned();
    for entry in 0..entries {
        // Numbers without a common factor, so that everything meets everything.
        let (minute, hour) = (entry * 7 % 60, entry * 11 / 5 % 24);
        let schedule =
            mix[entry * 37 % 100].replace("{m}", &minute.to_string()).replace("{h}", &hour.to_string());
        let zone = ZONES[entry / 3 % ZONES.len()];
        writeln!(
            text,
            "  - {{ name: entry-{entry}, pipeline: P {}, timezone: {zone}, schedule: {schedule} }}",
            entry % 200
        )
        .unwrap();
    }
    let settings = config::load_accepted(text.as_bytes(), "bench", &|_| None, CronRules::CURRENT).unwrap();
    (text, settings)
}

/// Each calendar of the mix walks through a year's worth of its firings, at most so many.
fn next_firings() {
    const STEPS: usize = 400;
    let (_, settings) = settings(2_000);
    let from = Nominal::at_or_before("2026-11-24T02:00:00Z".parse().unwrap());
    for round in 0..3 {
        let (began, mut count) = (spent(), 0_u32);
        for entry in &settings.entries {
            let walk = std::iter::successors(Some(from), |nominal| entry.calendar.next_after(*nominal));
            count += u32::try_from(black_box(walk.take(STEPS).count())).unwrap();
        }
        let seconds = spent() - began;
        println!("next firings, round {round}: {:.0} a second", f64::from(count) / seconds);
    }
    for (_, schedule) in MIX {
        let entry = settings.entries.iter().zip(0..).find(|(_, n)| {
            let at = n * 37 % 100;
            let mut sum = 0;
            let which = MIX.iter().find(|(share, _)| {
                sum += share;
                at < sum
            });
            which.is_some_and(|(_, of)| *of == schedule)
        });
        let calendar = &entry.unwrap().0.calendar;
        let (began, mut nominal, mut count) = (spent(), from, 0_u32);
        while count < 20_000 {
            nominal = black_box(calendar.next_after(nominal))
                .filter(|n| n.as_second() < 4_000_000_000)
                .unwrap_or(from);
            count += 1;
        }
        println!("{:>9.0} ns  {schedule}", (spent() - began) * 1e9 / f64::from(count));
    }
}

/// The engine's own time for a start and for heartbeats, quiet and busy, the ledger answering at once.
fn planning() {
    let (text, settings) = settings(100_000);
    let schedule = Schedule {
        version: "bench".into(),
        text: text.into(),
        rules: CronRules::CURRENT,
        daemon: settings.daemon.clone(),
        studio: settings.azure.studio,
        entries: settings.entries,
    };
    let wall: Timestamp = "2026-11-24T01:58:03Z".parse().unwrap();
    let at = |seconds: u32| Now {
        wall: wall + SignedDuration::from_secs(seconds.into()),
        boot: Duration::from_secs(86_400 + u64::from(seconds)),
    };
    let began = spent();
    let (mut engine, actions) =
        Engine::start(&schedule, &[], Snapshot::default(), Box::new(|| 7), at(0), at(0));
    println!("start with 100,000 entries: {:.0} ms", milliseconds(began));
    settle(&mut engine, actions, at(0));
    for seconds in (5..=180).step_by(5) {
        let began = spent();
        let actions = engine.handle(Input::Heartbeat, at(seconds));
        let planned = settle(&mut engine, actions, at(seconds));
        println!("heartbeat at {}: {planned} firings, {:.1} ms", at(seconds).wall, milliseconds(began));
    }
}

/// The processor time of this thread so far, in seconds.
fn spent() -> f64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap()).as_secs_f64()
}

fn milliseconds(since: f64) -> f64 {
    (spent() - since) * 1_000.0
}

/// Lets each batch be durable at once; returns how many firings were planned.
fn settle(engine: &mut Engine, mut actions: Vec<Action>, now: Now) -> usize {
    let mut planned = 0;
    while let Some(action) = actions.pop() {
        if let Action::Commit(batch) = action {
            planned += batch.records.iter().filter(|record| matches!(record, Record::Planned(_))).count();
            actions.extend(engine.handle(Input::Committed(batch.id, HashSet::new()), now));
        }
    }
    planned
}
