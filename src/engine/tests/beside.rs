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

    fn pauses(&mut self) {
        self.request(Asks::Pause { entry: a(), note: None }, Vec::new());
    }

    fn resumes(&mut self) {
        self.request(Asks::Resume { entry: a() }, Vec::new());
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
    bench.pauses();
    let over = bench.run(0, "Succeeded");
    bench.goes_on(60, std::slice::from_ref(&over));
    assert_eq!(bench.sent(), ["12:00:00"]);
    bench.resumes();
    bench.goes_on(10, &[over]);
    assert_eq!(bench.sent(), ["12:00:00", "03:00:00"]);
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(3, 6));
    bench.no_token();
    bench.pauses();
    bench.tell(Input::TokenUsable);
    bench.pass(10);
    assert_eq!(bench.sent.len(), 1);
    bench.resumes();
    bench.pass(10);
    assert_eq!(bench.sent(), ["03:00:00", "03:00:00"], "the same again, since none was started");
}

#[test]
fn a_pause_also_keeps_a_recovery_waiting() {
    let mut bench = quiet("recovery: { max: 1, delay: 2m }");
    bench.backfill(times(3, 5));
    bench.all_end_as("Failed");
    bench.pauses();
    bench.pass(180);
    assert_eq!((bench.sent.len(), bench.skipped("paused").len()), (1, 0));
    bench.resumes();
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
