//! Attempts, their ends, and what a crash leaves of them.

use super::*;

const HOURLY: &str = "  - { name: a, pipeline: P, schedule: { every: 1h }, settle: 2m }";
const MINUTELY: &str = "  - { name: a, pipeline: P, schedule: { every: 1m } }";

fn unknown() -> Outcome {
    Outcome::Unknown(Refusal { error_message: "reset".to_owned(), ..Refusal::default() })
}

fn not_sent() -> Outcome {
    Outcome::RetryLater { refusal: Refusal::default(), retry_after: None, throttled: false }
}

fn throttled(seconds: u64) -> Outcome {
    let retry_after = Some(Duration::from_secs(seconds));
    Outcome::RetryLater { refusal: Refusal::default(), retry_after, throttled: true }
}

/// A ledger that has seen the factory take our ids, with these firings open.
pub(super) fn remembered(
    pipelines: &str,
    open: &[(&str, State, Option<Reason>)],
    clean_stop: bool,
) -> Snapshot {
    let schedule = schedule(pipelines);
    let entry = &schedule.entries[0];
    let open = open.iter().map(|(at, state, reason)| {
        let nominal = Nominal::at_or_before(at.parse().unwrap());
        let intent = Intent {
            firing_id: FiringId::scheduled(&entry.factory, &entry.name, nominal),
            entry: entry.name.clone(),
            pipeline: entry.pipeline.clone(),
            factory: entry.factory.clone(),
            kind: Kind::Scheduled,
            nominal,
            due: nominal.timestamp(),
            body: crate::ledger::Body::new("{}"),
            policy: Arc::clone(&entry.policy),
            schedule_version: "v".into(),
            planned_at: nominal.timestamp(),
            recovers: None,
            backfill: None,
        };
        let waits = *state == State::Waiting;
        Known {
            intent: Arc::new(intent),
            state: *state,
            reason: *reason,
            attempts: u32::from(waits),
            counted: u32::from(waits),
            next_at: waits.then(|| nominal.timestamp() + SignedDuration::from_secs(90)),
            first_sent_at: waits.then(|| nominal.timestamp()),
            reopened_at: None,
            ever_unknown: false,
        }
    });
    let open: Vec<Known> = open.collect();
    let mark = open.iter().map(|open| open.intent.nominal).max();
    let marks = mark.map(|mark| (entry.name.clone(), (mark, entry.calendar.fingerprint())));
    Snapshot {
        marks: marks.into_iter().collect(),
        open,
        learned: HashMap::from([(entry.factory.key(), true)]),
        clean_stop,
        ..Snapshot::default()
    }
}

#[test]
fn nothing_is_sent_before_the_ledger_says_that_a_daemon_runs() {
    let due = [("2026-11-24T12:00:00Z", State::Planned, None)];
    let mut bench = Bench::slow("2026-11-24T12:00:10Z", HOURLY, remembered(HOURLY, &due, true));
    bench.pass(30);
    assert!(bench.sent.is_empty(), "a crash now would look like the clean stop before it");
    bench.disk_catches_up();
    assert_eq!(bench.sent(), ["12:00:00"]);
}

#[test]
fn what_a_crash_left_open_is_looked_for_and_sent_only_once_it_is_absent_after_the_settle_time() {
    let due = [("2026-11-24T12:00:00Z", State::Planned, None)];
    let mut bench = Bench::after("2026-11-24T12:00:10Z", HOURLY, remembered(HOURLY, &due, false));
    bench.pass(1);
    assert_eq!((bench.looks.len(), bench.sent.len()), (1, 0));
    bench.look_finds_nothing();
    bench.pass(118);
    assert_eq!((bench.looks.len(), bench.sent.len()), (1, 0), "it may still become visible");
    bench.pass(2);
    bench.look_finds_nothing();
    assert_eq!(bench.sent(), ["12:00:00"]);
}

#[test]
fn a_firing_found_late_after_a_crash_does_not_give_way_to_a_newer_one_that_ran_in_time() {
    let due = [("2026-11-24T12:00:00Z", State::Planned, None)];
    let mut bench = Bench::after("2026-11-24T12:00:10Z", MINUTELY, remembered(MINUTELY, &due, false));
    bench.pass(1);
    bench.look_finds_nothing();
    while bench.sent.len() < 2 {
        let before = bench.sent.len();
        bench.pass(1);
        if bench.sent.len() > before {
            bench.accept();
        }
    }
    assert_eq!(bench.sent(), ["12:01:00", "12:02:00"]);
    bench.pass(11);
    bench.look_finds_nothing();
    assert_eq!(bench.sent(), ["12:01:00", "12:02:00", "12:00:00"], "it is the only one that was missed");
}

#[test]
fn of_all_that_was_missed_only_the_newest_starts_late() {
    let due =
        [("2026-11-24T12:00:00Z", State::Planned, None), ("2026-11-24T12:01:00Z", State::Planned, None)];
    let mut bench = Bench::after("2026-11-24T12:30:30Z", MINUTELY, remembered(MINUTELY, &due, true));
    bench.pass(1);
    // 12:30 is in time, 12:29 the newest that is not.
    assert_eq!(bench.sent(), ["12:29:00", "12:30:00"]);
    let skipped = bench.events(Name::FiringSkipped);
    let counts: u64 = skipped.iter().filter_map(|event| event.fields.count).sum();
    assert_eq!(counts, 29, "12:00 to 12:28 are accounted for: {skipped:?}");
}

#[test]
fn the_settle_time_counts_from_the_end_of_the_attempt() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    bench.answer_after(600, unknown());
    bench.pass(2);
    bench.look_finds_nothing();
    bench.pass(115);
    assert_eq!(bench.looks.len(), 1, "the request may have left only just before its time was over");
    bench.pass(5);
    assert_eq!(bench.looks.len(), 2);
}

#[test]
fn a_no_after_a_lost_answer_is_believed_only_after_one_more_look() {
    let once =
        "  - { name: a, pipeline: P, schedule: { every: 1h }, settle: 2m, retry: { max_attempts: 2 } }";
    let mut bench = Bench::after("2026-11-24T11:59:59Z", once, remembered(once, &[], true));
    bench.pass(1);
    let firing = bench.sent[0].firing_id;
    bench.answer(unknown());
    bench.pass(2);
    bench.look_finds_nothing();
    bench.pass(120);
    bench.look_finds_nothing();
    assert_eq!(bench.sent.len(), 2, "absent: sent again with the same id");
    let looks = bench.looks.len();
    bench.answer(not_sent());
    assert_eq!(bench.looks.len(), looks + 1);
    assert_eq!(bench.state(firing), Some((State::Unknown, Some(Reason::AnswerLost))));
    bench.look_finds_nothing();
    assert_eq!(bench.state(firing), Some((State::Rejected, Some(Reason::RetriesExhausted))));
}

#[test]
fn a_429_that_asks_for_no_wait_is_not_repeated_in_a_loop() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    for _ in 0..5 {
        bench.answer(throttled(0));
        let before = bench.sent.len();
        bench.tell(Input::Wake);
        assert_eq!(bench.sent.len(), before);
        while bench.sent.len() == before {
            bench.pass(1);
        }
    }
    assert!(bench.clock.now().wall >= "2026-11-24T12:00:08Z".parse().unwrap(), "the waits grow");
}

#[test]
fn the_pause_that_the_service_asked_for_holds_over_a_restart_for_all_of_its_bucket() {
    let two = "  - { name: a, pipeline: P, schedule: { every: 1h } }\n  - { name: b, pipeline: Q, schedule: { every: 10s } }";
    let due = [("2026-11-24T12:00:00Z", State::Waiting, Some(Reason::Throttled))];
    let mut bench = Bench::after("2026-11-24T12:00:10Z", two, remembered(two, &due, true));
    bench.pass(79);
    assert!(bench.sent.is_empty(), "{:?}", bench.sent());
    bench.pass(1);
    assert!(bench.sent().contains(&"12:00:00".to_owned()) && bench.sent.len() > 5, "{:?}", bench.sent());
}

#[test]
fn a_second_401_ends_the_firing_and_costs_no_second_token() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    let firing = bench.sent[0].firing_id;
    bench.answer(Outcome::Unauthorized(Refusal::default()));
    assert_eq!((bench.sent.len(), bench.tokens_rejected), (2, 1));
    bench.answer(Outcome::Unauthorized(Refusal::default()));
    assert_eq!(bench.tokens_rejected, 1);
    assert_eq!(bench.state(firing), Some((State::Rejected, Some(Reason::Refused))));
}

#[test]
fn a_stop_that_takes_too_long_leaves_nothing_to_wait_for() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    let firing = bench.sent[0].firing_id;
    // The answer names another run than ours, and the ledger does not say whose.
    let run_id = RunId::parse("2f7fdb90-5df1-4b8e-ac2f-064cfa58202b").unwrap();
    bench.answer(Outcome::Accepted { run_id });
    let now = bench.clock.now();
    let stopped = |actions: &[Action]| actions.iter().any(|action| matches!(action, Action::Stopped(1)));
    assert!(!stopped(&bench.engine.handle(Input::Stop, now)));
    let actions = bench.engine.handle(Input::GraceOver, now);
    assert!(stopped(&actions));
    bench.take(actions);
    assert_eq!(bench.state(firing), Some((State::Unknown, Some(Reason::AnswerLost))));
}

#[test]
fn what_was_said_last_stands_with_a_firing_that_ends_without_a_run() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    while bench.events(Name::FiringRejected).is_empty() {
        let detail = "the client secret has expired".to_owned();
        bench.answer(Outcome::NoToken { detail, refused: true });
        bench.pass(6);
    }
    let rejected = bench.events(Name::FiringRejected);
    assert_eq!(rejected[0].fields.reason.as_deref(), Some("no_token"));
    assert_eq!(rejected[0].fields.error_message.as_deref(), Some("the client secret has expired"));
}

#[test]
fn a_crash_by_a_clock_that_was_ahead_leaves_nothing_that_is_still_to_come() {
    let due = [("2026-11-24T12:00:00Z", State::Planned, None)];
    let mut bench = Bench::after("2026-11-24T11:40:00Z", HOURLY, remembered(HOURLY, &due, false));
    bench.pass(1);
    assert_eq!(bench.looks.len(), 1, "by the clock of the last daemon it may have been sent");
    let run = FoundRun { run_id: Some(bench.looks[0].into()), pipeline: "P".into(), ..FoundRun::default() };
    bench.tell(Input::Looked(bench.looks[0], Box::new(Look::Found(Box::new(run)))));
    bench.pass(1_300);
    assert!(bench.sent.is_empty(), "its run was found");
}

#[test]
fn what_that_look_does_not_find_is_sent_at_its_time() {
    let due = [("2026-11-24T12:00:00Z", State::Planned, None)];
    let mut bench = Bench::after("2026-11-24T11:40:00Z", HOURLY, remembered(HOURLY, &due, false));
    for _ in 0..2 {
        bench.pass(1);
        bench.look_finds_nothing();
        bench.pass(125);
    }
    assert!(bench.sent.is_empty());
    bench.pass(1_000);
    assert_eq!(bench.sent(), ["12:00:00"]);
}

#[test]
fn what_that_look_does_not_find_is_left_out_if_its_entry_is_gone_by_then() {
    let due = [("2026-11-24T12:00:00Z", State::Planned, None)];
    let mut bench = Bench::after("2026-11-24T11:40:00Z", HOURLY, remembered(HOURLY, &due, false));
    let gone = schedule("  - { name: b, pipeline: P, schedule: { every: 1h } }");
    bench.tell(Input::Reload(gone));
    for _ in 0..2 {
        bench.pass(1);
        bench.look_finds_nothing();
        bench.pass(125);
    }
    assert_eq!(bench.state(bench.looks[0]), Some((State::Skipped, Some(Reason::Removed))));
    bench.pass(1_000);
    assert_eq!(bench.sent.len(), 1, "only that of the other entry");
}

#[test]
fn a_retry_that_comes_after_the_deadline_since_nothing_ran_is_given_up_and_not_sent() {
    for clean_stop in [true, false] {
        let daily = "  - { name: a, pipeline: P, schedule: { every: 24h }, missed: skip, settle: 2m }";
        let waits = [("2026-11-24T00:00:00Z", State::Waiting, None)];
        let mut bench = Bench::after("2026-11-24T10:00:00Z", daily, remembered(daily, &waits, clean_stop));
        bench.pass(1);
        while let Some(firing) = bench.looks.pop() {
            bench.looks.push(firing);
            bench.look_finds_nothing();
            bench.looks.pop();
            bench.pass(125);
        }
        assert!(bench.sent.is_empty(), "ten hours late, with a deadline of one");
        assert_eq!(bench.events(Name::FiringRejected).len(), 1);
    }
}

#[test]
fn a_late_firing_whose_entry_is_gone_after_an_outage_is_left_out() {
    let due = [("2026-11-24T00:00:00Z", State::Planned, None)];
    let both = "  - { name: a, pipeline: P, schedule: { every: 24h }, settle: 2m }
  - { name: b, pipeline: P, schedule: { every: 24h } }";
    let left = "  - { name: b, pipeline: P, schedule: { every: 24h } }";
    let mut bench = Bench::after("2026-11-24T10:00:00Z", left, remembered(both, &due, false));
    for _ in 0..2 {
        bench.pass(1);
        bench.look_finds_nothing();
        bench.pass(125);
    }
    assert!(bench.sent.is_empty());
    assert_eq!(bench.state(bench.looks[0]), Some((State::Skipped, Some(Reason::Removed))));
}
