//! Steps of the clock, and what the late rules make of them.

use super::*;

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
    bench.answer(Outcome::RetryLater {
        refusal: Refusal::default(),
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
    let jumped = bench.events(Name::ClockJumped);
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
    let skipped = bench.events(Name::FiringSkipped);
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
    assert!(bench.records.iter().any(
        |record| matches!(record, Record::SetBack { to, .. } if to.to_string() == "2026-11-24T11:59:51Z")
    ));
    bench.pass(70);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00"]);
}

#[test]
fn suspend_is_no_step_of_the_clock() {
    let mut bench = Bench::new("2026-11-24T11:59:50Z", HOURLY);
    bench.clock.advance(Duration::from_secs(7_200));
    bench.tell(Input::Heartbeat);
    bench.pass(1);
    assert!(bench.events(Name::ClockJumped).is_empty());
    assert_eq!(bench.sent(), ["13:00:00"]);
}

#[test]
fn a_slow_correction_of_the_clock_is_not_worth_a_word() {
    let mut bench = Bench::new("2026-11-24T11:50:00Z", HOURLY);
    for _ in 0..60 {
        bench.set_clock(SignedDuration::from_millis(-2));
        bench.pass(5);
    }
    assert!(bench.events(Name::ClockJumped).is_empty());
    let at: Timestamp = bench.clock.now().wall;
    assert!(at.to_string().starts_with("2026-11-24T11:54:59.88"), "{at}");
}

#[test]
fn a_plan_that_becomes_durable_while_the_clock_is_wrong_plans_nothing_by_it() {
    let mut bench = Bench::slow("2026-11-24T11:59:50Z", MINUTELY, Snapshot::default());
    bench.set_clock(SignedDuration::from_hours(24 * 3_652));
    bench.disk_catches_up();
    bench.tell(Input::Reload(schedule(MINUTELY)));
    bench.pass(3);
    bench.set_clock(SignedDuration::from_hours(-24 * 3_652));
    bench.pass(130);
    assert_eq!(
        bench.sent.first().map(|intent| intent.nominal.to_string()[..16].to_owned()).as_deref(),
        Some("2026-11-24T12:00")
    );
    assert!(
        bench.events(Name::FiringSkipped).is_empty(),
        "nothing was left out by a clock that was not believed"
    );
    assert!(
        bench.events(Name::ScheduleLoaded).len() == 2,
        "the reload was carried out once the clock was right"
    );
}

#[test]
fn a_firing_that_comes_due_by_a_wrong_clock_is_neither_sent_nor_left_out() {
    let skip = "  - { name: a, pipeline: P, schedule: { every: 1h }, missed: skip }";
    let mut bench = Bench::new("2026-11-24T11:59:50Z", skip);
    bench.set_clock(SignedDuration::from_hours(1));
    bench.pass(3);
    bench.set_clock(SignedDuration::from_hours(-1));
    bench.pass(61);
    assert_eq!(bench.sent(), ["12:00:00"]);
    assert!(bench.events(Name::FiringSkipped).is_empty());
}

#[test]
fn a_firing_that_was_started_late_by_a_wrong_clock_does_not_hide_those_that_are_late_after_it() {
    let mut bench = Bench::new(
        "2026-11-24T11:59:50Z",
        "  - { name: a, pipeline: P, schedule: { every: 1m }, late_after: 1s }",
    );
    bench.set_clock(SignedDuration::from_mins(5));
    bench.pass(1);
    assert_eq!(bench.sent(), ["12:04:00"]);
    bench.accept();
    bench.set_clock(SignedDuration::from_mins(-5));
    bench.clock.advance(Duration::from_secs(150));
    bench.tell(Input::Heartbeat);
    bench.pass(1);
    assert!(bench.sent().contains(&"12:02:00".to_owned()), "{:?}", bench.sent());
}

#[test]
fn a_clock_set_back_while_a_late_firing_waits_for_its_turn_makes_it_wait_for_its_time_again() {
    let pipeline = "  - { name: a, pipeline: P, schedule: { every: 1m }, jitter: 50s, missed: all }";
    let mut bench = Bench::new("2026-11-24T11:59:30Z", pipeline);
    bench.pass(30);
    let due = bench.engine.alarm().unwrap();
    let seconds = u64::try_from(due.as_second() - bench.clock.now().wall.as_second()).unwrap();
    bench.engine.no_token_until = Some(due + SignedDuration::from_mins(5));
    bench.pass(seconds + 1);
    assert!(bench.sent.is_empty(), "there is no token");
    bench.set_clock(SignedDuration::from_secs(-5));
    bench.tell(Input::TokenUsable);
    assert!(bench.sent.is_empty(), "its time has not come yet");
    bench.pass(10);
    assert_eq!(bench.sent(), ["12:00:00"]);
}
