//! A clock that is set back while the daemon runs, and what a crash, or a person, makes of it.

use super::outage::power_cut;
use super::*;

const HOURLY: &str = "  - { name: a, pipeline: P, schedule: { every: 1h } }";
const MINUTELY: &str = "  - { name: a, pipeline: P, schedule: { every: 1m } }";

/// A daemon that starts with what the other leaves when it is killed, at the same time.
fn killed_and_started_again(bench: &Bench, pipelines: &str) -> Bench {
    Bench::after(&bench.clock.now().wall.to_string(), pipelines, power_cut(bench))
}

#[test]
fn a_firing_that_was_sent_before_the_clock_was_set_back_is_looked_for_after_a_crash() {
    let mut bench = Bench::new("2026-11-24T11:59:55Z", HOURLY);
    bench.pass(5);
    assert_eq!(bench.sent(), ["12:00:00"]);
    bench.set_clock(SignedDuration::from_secs(-30));
    bench.pass(6);
    let mut second = killed_and_started_again(&bench, HOURLY);
    second.pass(120);
    assert!(second.sent.is_empty(), "it may have started a run");
    assert_eq!(second.looks[0], bench.sent[0].firing_id);
}

#[test]
fn a_retry_that_was_sent_after_the_clock_was_set_back_is_looked_for_after_a_crash() {
    let pipelines =
        "  - { name: a, pipeline: P, schedule: { every: 1h }, retry: { initial: 60s, max: 60s } }";
    let mut bench = Bench::new("2026-11-24T11:59:59Z", pipelines);
    bench.pass(1);
    let later = Some(Duration::from_secs(60));
    bench.answer(Outcome::RetryLater { refusal: Refusal::default(), retry_after: later, throttled: false });
    bench.pass(30);
    bench.set_clock(SignedDuration::from_secs(-40));
    bench.pass(31);
    assert_eq!(bench.sent.len(), 2, "the wait is as long as it was meant to be");
    bench.pass(20);
    let mut second = killed_and_started_again(&bench, pipelines);
    second.pass(60);
    assert!(second.sent.is_empty(), "the second call may have started a run");
    assert_eq!(second.looks[0], bench.sent[0].firing_id);
}

#[test]
fn once_nothing_is_open_that_was_sent_before_it_does_not_matter_that_the_clock_was_set_back() {
    let mut bench = Bench::new("2026-11-24T11:59:55Z", HOURLY);
    bench.pass(5);
    bench.set_clock(SignedDuration::from_secs(-30));
    bench.pass(1);
    assert!(power_cut(&bench).reached.is_some());
    bench.accept();
    bench.pass(1);
    assert_eq!(power_cut(&bench).reached, None);
}

#[test]
fn a_year_that_was_left_out_by_a_wrong_clock_is_still_to_come_when_the_clock_is_right_again() {
    let year = SignedDuration::from_hours(24 * 365);
    let mut bench = Bench::new("2026-11-24T11:59:10Z", MINUTELY);
    bench.set_clock(year);
    bench.pass(65);
    let row = bench.records.iter().find_map(|record| match record {
        Record::Skipped(skips) => Some(skips.clone()),
        _ => None,
    });
    let row = row.unwrap();
    assert!(row.count > 500_000, "the clock agreed with itself for a minute, and was believed");
    bench.set_clock(-year);
    bench.pass(65);
    let back = bench.records.iter().find_map(|record| match record {
        Record::SetBack { to, calendars } => Some((*to, calendars)),
        _ => None,
    });
    let (to, calendars) = back.unwrap();
    let own = calendars.iter().map(|(_, calendar)| calendar);
    let (last, count) = crate::ledger::cut(own, (row.intent.nominal, row.last, row.count), to);
    assert_eq!((last.to_string().as_str(), count), ("2026-11-24T12:01:00Z", 2), "it ends where the clock is");
}

#[test]
fn a_pause_that_is_ended_by_a_clock_that_is_ahead_has_ended_when_the_clock_comes_back() {
    let mut bench = Bench::new("2026-11-24T11:59:10Z", MINUTELY);
    let name = EntryName::new("a").unwrap();
    let ask = |id: &str, asks| Input::Asked(vec![Request::new(id.to_owned(), asks)]);
    bench.tell(ask("1", crate::ledger::Asks::Pause { entry: name.clone(), note: None }));
    bench.set_clock(SignedDuration::from_mins(5));
    bench.tell(ask("2", crate::ledger::Asks::Resume { entry: name }));
    bench.set_clock(SignedDuration::from_mins(-5));
    bench.pass(130);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00"]);
}

#[test]
fn what_people_ask_for_waits_while_the_clock_is_not_believed() {
    let mut bench = Bench::new("2026-11-24T11:59:10Z", MINUTELY);
    let entry = EntryName::new("a").unwrap();
    let pause = Request::new("1".to_owned(), crate::ledger::Asks::Pause { entry, note: None });
    bench.set_clock(SignedDuration::from_hours(5));
    bench.tell(Input::Asked(vec![pause.clone()]));
    assert!(bench.events(Name::EntryPaused).is_empty());
    bench.set_clock(SignedDuration::from_hours(-5));
    bench.pass(61);
    bench.tell(Input::Asked(vec![pause]));
    assert_eq!(bench.events(Name::EntryPaused).len(), 1, "it is read again with each heartbeat");
}
