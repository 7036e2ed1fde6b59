//! The engine in virtual time: the test owns the clock, and commits what it is given at once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::ids::Nominal;
use crate::ledger::{Snapshot, State};

const AZURE: &str = "azure:
  tenant_id: contoso.onmicrosoft.com
  client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
  client_secret: { credential: client-secret }
  subscription_id: 00000000-0000-0000-0000-000000000000
  resource_group: rg-data
  factory: adf-prod
";

/// The engine with a clock of its own, and all that it wanted done.
struct Bench {
    engine: Engine,
    clock: ManualClock,
    sent: Vec<Arc<Intent>>,
    /// The scheduled firings that the ledger has, and which of them were left out as missed.
    known: HashMap<FiringId, (Nominal, bool)>,
    records: Vec<Record>,
    events: Vec<Event>,
}

fn schedule(pipelines: &str) -> Schedule {
    let text = format!("{AZURE}pipelines:\n{pipelines}\n");
    let settings = crate::config::load(text.as_bytes(), "s.yaml", &|_| None).unwrap();
    Schedule {
        version: "v".into(),
        text: text.into(),
        daemon: settings.daemon,
        studio: settings.azure.studio,
        entries: settings.entries,
    }
}

impl Bench {
    fn new(at: &str, pipelines: &str) -> Self {
        let clock = ManualClock::at(at.parse().unwrap());
        let now = clock.now();
        let random: Random = Box::new(|| 7);
        let (engine, actions) = Engine::start(&schedule(pipelines), Snapshot::default(), random, now, now);
        let mut bench = Self {
            engine,
            clock,
            sent: Vec::new(),
            known: HashMap::new(),
            records: Vec::new(),
            events: Vec::new(),
        };
        bench.take(actions);
        bench
    }

    fn take(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Commit(batch) => {
                    let refused = self.guard(&batch.records);
                    self.records.extend(batch.records);
                    self.events.extend(batch.events);
                    self.tell(Input::Committed(batch.id, refused));
                }
                Action::Send(intent) => self.sent.push(intent),
                _ => {}
            }
        }
    }

    /// The ledger's guard: a scheduled firing that it has is refused.
    fn guard(&mut self, records: &[Record]) -> HashSet<FiringId> {
        let mut refused = HashSet::new();
        for record in records {
            match record {
                Record::Planned(intent) if self.known.contains_key(&intent.firing_id) => {
                    refused.insert(intent.firing_id);
                }
                Record::Planned(intent) => {
                    self.known.insert(intent.firing_id, (intent.nominal, false));
                }
                Record::Progress(progress) if progress.reason == Some(Reason::Missed) => {
                    self.known.entry(progress.firing_id).and_modify(|(_, missed)| *missed = true);
                }
                Record::SetBack(to) => self.known.retain(|_, (nominal, missed)| !*missed || *nominal <= *to),
                Record::Withdrawn(firing) => {
                    self.known.remove(firing);
                }
                _ => {}
            }
        }
        refused
    }

    fn tell(&mut self, input: Input) {
        let actions = self.engine.handle(input, self.clock.now());
        self.take(actions);
    }

    /// Lets time pass, a heartbeat and a look at the alarm each second.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.clock.advance(Duration::from_secs(1));
            self.tell(Input::Heartbeat);
            self.tell(Input::Wake);
        }
    }

    fn set_clock(&mut self, by: SignedDuration) {
        self.clock.step_wall(self.clock.now().wall + by);
        self.tell(Input::Heartbeat);
    }

    /// Ends the attempt that was sent last.
    fn answer(&mut self, outcome: crate::azure::outcome::Outcome) {
        let now = self.clock.now();
        let attempted = Attempted { sent_at: now, answered_at: now, outcome, token_generation: 1 };
        let firing = self.sent.last().unwrap().firing_id;
        self.tell(Input::Answered(firing, Box::new(attempted)));
    }

    fn accept(&mut self) {
        let run_id = RunId::from(self.sent.last().unwrap().firing_id);
        self.answer(crate::azure::outcome::Outcome::Accepted { run_id });
    }

    /// The nominal times that were sent, as times of day.
    fn sent(&self) -> Vec<String> {
        self.sent.iter().map(|intent| intent.nominal.to_string()[11..19].to_owned()).collect()
    }

    fn events(&self, name: crate::event::Name) -> Vec<&Event> {
        self.events.iter().filter(|event| event.name == name).collect()
    }
}

const HOURLY: &str = "  - { name: a, pipeline: P, schedule: { every: 1h } }";
const MINUTELY: &str = "  - { name: a, pipeline: P, schedule: { every: 1m }, late_after: 1s, missed: all }";

#[test]
fn a_firing_is_sent_at_its_due_time_and_never_before() {
    let mut bench = Bench::new("2026-11-24T11:59:50Z", HOURLY);
    bench.pass(9);
    assert!(bench.sent.is_empty());
    bench.pass(1);
    assert_eq!(bench.sent(), ["12:00:00"]);
}

#[test]
fn a_clock_set_back_before_the_due_time_puts_the_firing_off_to_it() {
    let mut bench = Bench::new("2026-11-24T11:59:50Z", HOURLY);
    bench.set_clock(SignedDuration::from_mins(-5));
    bench.pass(299);
    assert!(bench.sent.is_empty(), "it is five to twelve again");
    bench.pass(20);
    assert_eq!(bench.sent(), ["12:00:00"]);
}

#[test]
fn a_clock_set_back_after_a_firing_was_sent_does_not_repeat_it() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    bench.accept();
    bench.set_clock(SignedDuration::from_mins(-5));
    bench.pass(310);
    assert_eq!(bench.sent(), ["12:00:00"]);
}

#[test]
fn a_clock_set_back_while_a_firing_waits_for_its_retry_keeps_the_wait_and_the_firing() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    bench.answer(crate::azure::outcome::Outcome::RetryLater {
        refusal: crate::azure::outcome::Refusal::default(),
        retry_after: Some(Duration::from_secs(30)),
        throttled: false,
    });
    bench.set_clock(SignedDuration::from_mins(-5));
    bench.pass(29);
    assert_eq!(bench.sent(), ["12:00:00"]);
    bench.pass(2);
    assert_eq!(bench.sent(), ["12:00:00", "12:00:00"], "thirty seconds are thirty seconds");
    bench.accept();
    bench.pass(300);
    assert_eq!(bench.sent.len(), 2);
}

#[test]
fn ten_years_ahead_and_back_fires_nothing_and_the_next_nominal_time_fires() {
    let mut bench = Bench::new("2026-11-24T11:59:00Z", HOURLY);
    bench.set_clock(SignedDuration::from_hours(24 * 3_652));
    bench.pass(10);
    bench.set_clock(SignedDuration::from_hours(-24 * 3_652));
    let jumped = bench.events(crate::event::Name::ClockJumped);
    assert_eq!(jumped.len(), 2);
    assert!(jumped[0].message.contains("nothing is started until"), "{}", jumped[0].message);
    bench.pass(130);
    assert_eq!(bench.sent(), ["12:00:00"]);
    let skipped = |record: &Record| match record {
        Record::Skipped(_) => true,
        Record::Progress(progress) => progress.state == State::Skipped,
        _ => false,
    };
    assert!(!bench.records.iter().any(skipped));
}

#[test]
fn a_clock_that_stays_ahead_is_believed_after_the_hold_and_the_missed_policy_decides() {
    let mut bench = Bench::new("2026-11-24T11:30:30Z", HOURLY);
    bench.set_clock(SignedDuration::from_hours(3));
    bench.pass(59);
    assert!(bench.sent.is_empty(), "held");
    bench.pass(2);
    assert_eq!(bench.sent(), ["14:00:00"], "`latest` starts the newest of three");
    let skipped = bench.events(crate::event::Name::FiringSkipped);
    assert_eq!(skipped.len(), 1);
    assert_eq!((skipped[0].fields.count, skipped[0].fields.reason.as_deref()), (Some(2), Some("missed")));
}

#[test]
fn a_small_step_ahead_goes_by_the_late_rules_at_once() {
    let mut bench = Bench::new("2026-11-24T11:59:30Z", MINUTELY);
    bench.set_clock(SignedDuration::from_mins(3));
    bench.pass(1);
    // One call at a time is answered; all three were due.
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00", "12:02:00"]);
}

#[test]
fn what_was_left_out_by_a_step_ahead_is_planned_again_when_the_clock_comes_back() {
    let pipeline = "  - { name: a, pipeline: P, schedule: { every: 1m }, late_after: 1s, missed: skip }";
    let mut bench = Bench::new("2026-11-24T11:59:50Z", pipeline);
    bench.set_clock(SignedDuration::from_mins(5));
    bench.pass(1);
    assert!(bench.sent.is_empty());
    bench.set_clock(SignedDuration::from_mins(-5));
    assert!(
        bench
            .records
            .iter()
            .any(|record| matches!(record, Record::SetBack(to) if to.to_string() == "2026-11-24T11:59:51Z"))
    );
    bench.pass(70);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00"]);
}

#[test]
fn suspend_is_no_step_of_the_clock() {
    let mut bench = Bench::new("2026-11-24T11:59:50Z", HOURLY);
    bench.clock.advance(Duration::from_secs(7_200));
    bench.tell(Input::Heartbeat);
    bench.pass(1);
    assert!(bench.events(crate::event::Name::ClockJumped).is_empty());
    assert_eq!(bench.sent(), ["13:00:00"]);
}

#[test]
fn a_slow_correction_of_the_clock_is_not_worth_a_word() {
    let mut bench = Bench::new("2026-11-24T11:50:00Z", HOURLY);
    for _ in 0..60 {
        bench.set_clock(SignedDuration::from_millis(-2));
        bench.pass(5);
    }
    assert!(bench.events(crate::event::Name::ClockJumped).is_empty());
    let at: Timestamp = bench.clock.now().wall;
    assert!(at.to_string().starts_with("2026-11-24T11:54:59.88"), "{at}");
}
