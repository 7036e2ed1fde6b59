//! Backfills beside the schedule, people, clocks and outages, in virtual time.

use super::backfill::{hourly, quiet, times};
use super::overlap::shown;
use super::*;
use crate::ledger::{Answer, Asks, Wanted};

fn a() -> EntryName {
    EntryName::new("a").unwrap()
}

fn at(text: &str) -> Nominal {
    Nominal::at_or_before(text.parse().unwrap())
}

impl Bench {
    fn run(&self, number: usize, status: &str) -> FoundRun {
        shown(RunId::from(self.sent[number].firing_id), status)
    }

    /// Lets time pass; also the look that is under way shows these runs.
    fn goes_on(&mut self, seconds: u64, runs: &[FoundRun]) {
        if let Some(pass) = self.passes.last().cloned() {
            let passed = Passed { runs: runs.to_vec(), calls: 1, ..Passed::default() };
            self.tell(Input::Passed(Box::new(pass), Box::new(passed)));
        }
        self.pass_with(seconds, runs);
    }

    fn no_token(&mut self) {
        self.answer(Outcome::NoToken { detail: "no".to_owned(), refused: false });
    }
}

/// At noon a run of the schedule begins, behind which a backfill of three hours waits.
fn behind_a_run(policy: &str) -> Bench {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &hourly(policy));
    bench.pass(1);
    bench.accept();
    bench.backfill(times(3, 6));
    let run = bench.run(0, "InProgress");
    bench.goes_on(30, &[run]);
    assert_eq!(bench.sent(), ["12:00:00"]);
    bench
}

#[test]
fn what_waits_for_room_or_a_token_is_not_sent_while_the_entry_is_paused_and_is_after() {
    let mut bench = behind_a_run("overlap: queue_all");
    bench.pause();
    let over = bench.run(0, "Succeeded");
    bench.goes_on(60, std::slice::from_ref(&over));
    assert_eq!(bench.sent(), ["12:00:00"]);
    bench.resume();
    bench.goes_on(10, &[over]);
    assert_eq!(bench.sent(), ["12:00:00", "03:00:00"]);
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(3, 6));
    bench.no_token();
    bench.pause();
    bench.tell(Input::TokenUsable);
    bench.pass(10);
    assert_eq!(bench.sent.len(), 1);
    bench.resume();
    bench.pass(10);
    assert_eq!(bench.sent(), ["03:00:00", "03:00:00"], "the same again, since none was started");
}

#[test]
fn a_pause_also_keeps_a_recovery_waiting() {
    let mut bench = quiet("recovery: { max: 1, delay: 2m }");
    bench.backfill(times(3, 5));
    bench.all_end_as("Failed");
    bench.pause();
    bench.pass(180);
    assert_eq!((bench.sent.len(), bench.skipped("paused").len()), (1, 0));
    bench.resume();
    bench.pass(10);
    assert_eq!((bench.sent.len(), bench.sent[1].kind), (2, Kind::Recovery));
}

#[test]
fn a_firing_that_was_held_before_a_restart_still_counts_for_an_hour() {
    let mut bench = quiet("on_unknown: hold");
    bench.backfill(times(3, 6));
    let intent = Arc::clone(&bench.sent[0]);
    let held = Known {
        first_sent_at: Some(intent.due),
        state: State::Held,
        attempts: 1,
        ..outage::planned(&intent)
    };
    let snapshot = Snapshot {
        backfills: vec![(bench.kept(), Vec::new())],
        held: vec![held],
        clean_stop: true,
        ..Snapshot::default()
    };
    let mut bench = Bench::after("2026-11-24T12:05:00Z", &hourly("on_unknown: hold"), snapshot);
    bench.pass(60);
    assert_eq!(bench.sent.len(), 0);
    bench.pass(3_300);
    assert_eq!(bench.sent().last().unwrap(), "04:00:00");
}

#[test]
fn a_clock_that_is_set_back_keeps_a_backfill_out_of_what_is_to_come() {
    let mut bench = quiet("jitter: 0s");
    let wanted =
        Wanted { from: at("2026-11-24T05:00:00Z"), until: at("2026-11-24T12:00:00Z"), ..times(3, 6) };
    bench.backfill(wanted);
    bench.all_end_as("Succeeded");
    bench.set_clock(SignedDuration::from_hours(-6));
    bench.pass(70);
    for _ in 0..5 {
        bench.all_end_as("Succeeded");
    }
    let now = bench.clock.now().wall;
    assert!(bench.sent.iter().all(|intent| intent.nominal.timestamp() <= now), "{:?}", bench.sent());
}

#[test]
fn a_backfill_that_is_ended_and_begun_anew_at_once_does_not_lose_what_was_under_way() {
    let mut bench = behind_a_run("overlap: queue_all");
    let stop = Request::new("stop".to_owned(), Asks::StopBackfill { entry: a() });
    let again = Request::new("new".to_owned(), Asks::Backfill(times(3, 6)));
    bench.tell(Input::Asked(vec![stop, again.clone()]));
    let answered = bench.records.iter().filter(|it| matches!(it, Record::Answered { .. })).count();
    assert_eq!(answered, 2, "the first, and its end");
    bench.tell(Input::Asked(vec![again]));
    for number in 0..4 {
        let over: Vec<FoundRun> = (0..=number).map(|number| bench.run(number, "Succeeded")).collect();
        bench.goes_on(30, &over);
        bench.accept_all();
    }
    assert_eq!(bench.sent(), ["12:00:00", "03:00:00", "04:00:00", "05:00:00"]);
}

#[test]
fn a_backfill_does_not_take_the_room_of_a_recovery_that_is_to_come() {
    let mut bench = behind_a_run("overlap: queue_one, recovery: { max: 1, delay: 5m }");
    let failed = bench.run(0, "Failed");
    bench.goes_on(330, &[failed]);
    let kinds: Vec<Kind> = bench.sent.iter().map(|intent| intent.kind).collect();
    assert_eq!((kinds, bench.skipped("overlap").len()), (vec![Kind::Scheduled, Kind::Recovery], 0));
}

#[test]
fn what_is_scheduled_waits_for_a_run_of_a_backfill_and_goes_before_the_next() {
    for overlap in ["skip", "queue_one", "cancel_running"] {
        let mut bench = quiet(&format!("overlap: {overlap}"));
        bench.backfill(times(3, 6));
        bench.accept();
        let goes_on = bench.run(0, "InProgress");
        bench.goes_on(3_700, &[goes_on]);
        assert_eq!((bench.sent.len(), bench.cancels.len()), (1, 0), "{overlap}");
        assert!(bench.events(Name::FiringSkipped).is_empty(), "{overlap}");
        let over = bench.run(0, "Succeeded");
        bench.goes_on(30, &[over]);
        assert_eq!(bench.sent(), ["03:00:00", "13:00:00"], "{overlap}");
    }
}

#[test]
fn a_pipeline_that_refuses_everything_ends_a_backfill() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(0, 20));
    for _ in 0..3 {
        assert_eq!(bench.ended(), None);
        bench.answer(Outcome::Rejected(Refusal { http_status: Some(404), ..Refusal::default() }));
    }
    assert_eq!((bench.sent.len(), bench.ended()), (3, Some(Some(Reason::Refused))));
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(0, 20));
    for _ in 0..4 {
        bench.answer(Outcome::Rejected(Refusal { http_status: Some(400), ..Refusal::default() }));
        bench.all_end_as("Succeeded");
    }
    assert_eq!(bench.ended(), None, "one now and then does not");
}

#[test]
fn parameters_that_cannot_be_rendered_end_a_backfill_after_a_few() {
    let mut bench = quiet("parameters: { n: \"{{ 1 // (0 if scheduled_time < '2026-11-21' else 1) }}\" }");
    bench.backfill(times(0, 20));
    bench.pass(1);
    assert_eq!((bench.events(Name::FiringRejected).len(), bench.ended()), (3, Some(Some(Reason::Refused))));
}

#[test]
fn an_outage_uses_up_no_nominal_time() {
    let mut bench = quiet("retry: { deadline: 10m }");
    bench.backfill(times(0, 20));
    for _ in 0..300 {
        bench.no_token();
        bench.pass(10);
    }
    assert!(bench.events(Name::FiringRejected).is_empty());
    let refusal = Refusal::default();
    bench.answer(Outcome::RetryLater { refusal, retry_after: None, throttled: false });
    bench.pass(30);
    assert_eq!(bench.sent().last().unwrap(), "00:00:00", "its deadline begins after the outage");
}

#[test]
fn a_recovery_waits_as_long_as_it_should_when_the_clock_is_set_back() {
    let mut bench = quiet("recovery: { max: 1, delay: 5m }");
    bench.backfill(times(3, 5));
    bench.all_end_as("Failed");
    bench.set_clock(SignedDuration::from_hours(-6));
    bench.pass(400);
    assert_eq!(bench.sent.last().unwrap().kind, Kind::Recovery);
}

#[test]
fn no_more_may_be_wanted_at_once_than_the_entry_allows() {
    for policy in ["max_active: 2", "overlap: skip, max_active: 2"] {
        let mut bench = quiet(policy);
        let answer = bench.backfill(Wanted { max_active: Some(3), ..times(3, 12) });
        assert!(matches!(&answer, Answer::Refused(why) if why.contains("no more than 2")), "{answer:?}");
        assert_eq!(bench.backfill(Wanted { max_active: Some(2), ..times(3, 12) }), Answer::Done);
    }
}

#[test]
fn without_a_daemon_a_backfill_can_only_be_ended() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(3, 6));
    let snapshot = Snapshot { backfills: vec![(bench.kept(), Vec::new())], ..Snapshot::default() };
    let random: Random = Box::new(|| 7);
    let now = bench.clock.now();
    let mut engine = Engine::for_requests(&schedule(&hourly("jitter: 0s")), &snapshot, random, now);
    let stop = Request::new("stop".to_owned(), Asks::StopBackfill { entry: a() });
    let actions = engine.handle(Input::Asked(vec![stop]), now);
    let ended = actions.iter().any(|action| match action {
        Action::Commit(batch) => batch.records.iter().any(|record| match record {
            Record::Backfill(backfill) => backfill.reason == Some(Reason::Stopped),
            _ => false,
        }),
        _ => false,
    });
    assert!(ended, "{actions:?}");
}

/// A service that answers each look and each pass seven seconds after it began.
#[derive(Default)]
struct Slow {
    seen: usize,
    waiting: VecDeque<(Timestamp, Pass)>,
}

impl Slow {
    fn goes_on(&mut self, bench: &mut Bench, seconds: u64, runs: &[FoundRun]) {
        for _ in 0..seconds {
            bench.pass(1);
            let now = bench.clock.now().wall;
            let began = bench.passes[self.seen..].iter().map(|pass| (now, pass.clone()));
            self.waiting.extend(began);
            self.seen = bench.passes.len();
            let late = |(began, _): &mut (Timestamp, Pass)| now.duration_since(*began).as_secs() >= 7;
            while let Some((_, pass)) = self.waiting.pop_front_if(late) {
                let passed = Passed { runs: runs.to_vec(), calls: 1, ..Passed::default() };
                bench.tell(Input::Passed(Box::new(pass), Box::new(passed)));
            }
        }
    }
}

#[test]
fn what_is_queued_for_a_pipeline_starts_also_where_looks_are_slow() {
    let entry = "  - { name: a, pipeline: P, schedule: { every: 1h, end: '2026-11-24T13:30:00Z' }, \
                 overlap: queue_one, overlap_scope: pipeline, late_after: 1m }";
    let (mut bench, mut slow) = (Bench::new("2026-11-24T11:59:59Z", entry), Slow::default());
    slow.goes_on(&mut bench, 80, &[]);
    assert_eq!(bench.sent(), ["12:00:00"], "after late_after by what was known last");
    bench.accept();
    let goes_on = bench.run(0, "InProgress");
    slow.goes_on(&mut bench, 3_900, &[goes_on]);
    assert_eq!(bench.sent(), ["12:00:00"]);
    let over = bench.run(0, "Succeeded");
    slow.goes_on(&mut bench, 120, &[over]);
    assert_eq!(bench.sent(), ["12:00:00", "13:00:00"]);
}

#[test]
fn what_is_queued_for_a_pipeline_starts_after_an_hour_without_an_answer() {
    let entry = "  - { name: a, pipeline: P, schedule: { every: 1h, end: '2026-11-24T13:30:00Z' }, \
                 overlap: queue_one, overlap_scope: pipeline }";
    let mut bench = Bench::new("2026-11-24T11:59:59Z", entry);
    let no = crate::azure::look::Unanswered { refusal: Refusal::default(), retry_after: None };
    let mut seen = 0;
    for second in 0..9_000 {
        bench.pass(1);
        let new: Vec<Pass> = bench.passes[seen..].to_vec();
        for pass in new {
            let refused = second > 10 && pass.active_of.is_some();
            let unlisted = refused.then(|| no.clone());
            let over = (second > 5_000).then(|| bench.run(0, "Succeeded"));
            let passed = Passed { runs: over.into_iter().collect(), unlisted, calls: 1, ..Passed::default() };
            bench.tell(Input::Passed(Box::new(pass), Box::new(passed)));
        }
        seen = bench.passes.len();
        if second == 10 {
            bench.accept();
        }
    }
    assert_eq!(bench.sent(), ["12:00:00", "13:00:00"]);
}

#[test]
fn what_was_tried_in_vain_is_not_tried_again_once_the_backfill_is_ended_or_the_entry_paused() {
    for throttled in [true, false] {
        for stop in [true, false] {
            let mut bench = quiet("jitter: 0s");
            bench.backfill(times(3, 6));
            let retry_after = Some(Duration::from_secs(600));
            bench.answer(Outcome::RetryLater { refusal: Refusal::default(), retry_after, throttled });
            if stop {
                bench.ask(Asks::StopBackfill { entry: a() }, None);
            } else {
                bench.pause();
            }
            bench.pass(1_200);
            assert_eq!(bench.sent.len(), 1, "{throttled} {stop}");
            if stop {
                let rejected = bench.events(Name::FiringRejected)[0];
                assert_eq!(rejected.fields.reason.as_deref(), Some("stopped"));
            } else {
                bench.resume();
                bench.pass(10);
                assert_eq!(bench.sent(), ["03:00:00", "03:00:00"]);
            }
        }
    }
}

#[test]
fn what_is_to_come_again_after_the_clock_was_set_back_is_left_to_the_schedule() {
    let mut bench = quiet("jitter: 0s");
    let wanted =
        Wanted { from: at("2026-11-24T11:00:00Z"), until: at("2026-11-24T12:00:00Z"), ..times(3, 6) };
    bench.backfill(wanted);
    bench.no_token();
    bench.set_clock(SignedDuration::from_hours(-6));
    bench.pass(120);
    assert_eq!((bench.sent.len(), bench.skipped("superseded").len()), (1, 1));
}

#[test]
fn a_pause_does_not_make_a_recovery_come_early() {
    let mut bench = quiet("recovery: { max: 1, delay: 30m }");
    bench.backfill(times(3, 5));
    bench.all_end_as("Failed");
    bench.pause();
    bench.resume();
    bench.pass(60);
    assert_eq!(bench.sent.len(), 1);
    bench.pass(1_800);
    assert_eq!(bench.sent[1].kind, Kind::Recovery);
}

#[test]
fn a_held_firing_of_a_backfill_keeps_what_is_scheduled_waiting_and_no_more() {
    let mut bench = quiet("on_unknown: hold, overlap: skip");
    bench.backfill(times(3, 6));
    bench.answer(Outcome::Unknown(Refusal::default()));
    bench.pass_with(1, &[]);
    bench.look_finds_nothing();
    bench.pass_with(125, &[]);
    bench.look_finds_nothing();
    bench.pass_with(3_700, &[]);
    assert_eq!(
        (bench.sent(), bench.skipped("overlap").len()),
        (vec!["03:00:00".to_owned(), "13:00:00".to_owned()], 0)
    );
}

#[test]
fn a_firing_of_a_backfill_that_waits_for_a_token_lets_what_is_scheduled_go_first() {
    let mut bench = quiet("overlap: queue_all");
    bench.backfill(times(3, 6));
    for _ in 0..370 {
        if bench.sent.last().unwrap().kind == Kind::Scheduled {
            break;
        }
        bench.no_token();
        bench.pass(10);
    }
    assert_eq!(bench.sent.last().unwrap().nominal, at("2026-11-24T13:00:00Z"));
}

#[test]
fn after_a_restart_too_what_is_scheduled_goes_before_a_backfill() {
    let mut bench = quiet("overlap: queue_one");
    bench.backfill(times(3, 6));
    let fills = Arc::clone(&bench.sent[0]);
    let backfills = vec![(bench.kept(), Vec::new())];
    let mut bench = Bench::new("2026-11-24T12:59:59Z", &hourly("overlap: queue_one"));
    bench.pass(1);
    let scheduled = Arc::clone(&bench.sent[0]);
    let waits = |intent: &Arc<Intent>| Known {
        state: State::Waiting,
        reason: Some(Reason::Overlap),
        ..outage::planned(intent)
    };
    let open = vec![waits(&fills), waits(&scheduled)];
    let snapshot = Snapshot { backfills, open, clean_stop: true, ..Snapshot::default() };
    let mut bench = Bench::after("2026-11-24T13:05:00Z", &hourly("overlap: queue_one"), snapshot);
    bench.pass(2);
    assert_eq!(bench.sent(), ["13:00:00"]);
}

#[test]
fn by_a_clock_that_is_not_believed_no_recovery_that_waits_is_left_out() {
    let more = "overlap: queue_one, recovery: { max: 1, delay: 1m }";
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &hourly(more));
    bench.pass(1);
    bench.accept();
    bench.backfill(times(3, 6));
    let failed = bench.run(0, "Failed");
    bench.goes_on(30, &[failed]);
    bench.set_clock(SignedDuration::from_hours(24));
    bench.pass_with(30, &[]);
    assert!(bench.skipped("missed").is_empty());
}

#[test]
fn what_was_tried_in_vain_is_not_tried_again_by_the_next_daemon_if_the_backfill_is_ended() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(3, 6));
    let tried = Known { state: State::Waiting, attempts: 1, counted: 1, ..outage::planned(&bench.sent[0]) };
    for clean_stop in [true, false] {
        let open = vec![tried.clone()];
        let snapshot = Snapshot { open, clean_stop, ..Snapshot::default() };
        let mut bench = Bench::after("2026-11-24T12:05:00Z", &hourly("jitter: 0s"), snapshot);
        bench.pass(1);
        if !clean_stop {
            bench.look_finds_nothing();
            bench.pass(125);
            bench.look_finds_nothing();
        }
        bench.pass(1);
        let rejected = bench.events(Name::FiringRejected)[0];
        assert_eq!((bench.sent.len(), rejected.fields.reason.as_deref()), (0, Some("stopped")));
    }
}
