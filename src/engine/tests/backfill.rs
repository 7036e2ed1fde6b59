//! Backfills in virtual time.

use super::overlap::shown;
use super::*;
use crate::ledger::{Answer, Asks, Backfill, Wanted};

/// Hours of a day in the past.
pub(super) fn times(from: u32, until: u32) -> Wanted {
    let at = |hour: u32| format!("2026-11-20T{hour:02}:00:00Z").parse().map(Nominal::at_or_before).unwrap();
    let entry = EntryName::new("a").unwrap();
    Wanted { entry, from: at(from), until: at(until), max_active: None, again: false }
}

pub(super) fn hourly(more: &str) -> String {
    format!("  - {{ name: a, pipeline: P, schedule: {{ every: 1h }}, {more} }}")
}

/// Between two nominal times, so that the schedule itself starts nothing.
pub(super) fn quiet(more: &str) -> Bench {
    Bench::new("2026-11-24T12:00:30Z", &hourly(more))
}

impl Bench {
    pub(super) fn backfill(&mut self, wanted: Wanted) -> Answer {
        self.backfill_but(wanted, &[])
    }

    /// The ledger says that these hours need no start.
    pub(super) fn backfill_but(&mut self, wanted: Wanted, taken: &[u32]) -> Answer {
        let taken = taken.iter().map(|hour| times(*hour, 23).from).collect();
        let asks = Asks::Backfill(wanted);
        self.request(Request { taken, ..Request::new(self.records.len().to_string(), asks) })
    }

    /// All that was sent so far was accepted.
    pub(super) fn accept_all(&mut self) {
        for intent in self.sent.clone() {
            let now = self.clock.now();
            let run_id = RunId::from(intent.firing_id);
            let outcome = Outcome::Accepted { run_id };
            let attempted = Attempted { sent_at: now, answered_at: now, outcome, token_generation: 1 };
            self.tell(Input::Answered(intent.firing_id, Box::new(attempted)));
        }
    }

    /// All that was sent so far was accepted, and has ended like this.
    pub(super) fn all_end_as(&mut self, status: &str) {
        self.accept_all();
        let runs: Vec<FoundRun> =
            self.sent.iter().map(|intent| shown(RunId::from(intent.firing_id), status)).collect();
        self.pass_with(16, &runs);
    }

    /// The backfill as the ledger knows it.
    pub(super) fn kept(&self) -> Backfill {
        let kept = self.records.iter().rev().find_map(|record| match record {
            Record::Backfill(backfill) => Some((**backfill).clone()),
            _ => None,
        });
        kept.unwrap()
    }

    pub(super) fn ended(&self) -> Option<Option<Reason>> {
        let kept = self.kept();
        kept.ended_at.map(|_| kept.reason)
    }
}

#[test]
fn a_backfill_starts_one_after_the_other_the_oldest_first_and_is_over_with_the_last_run() {
    let mut bench = quiet("jitter: 0s");
    assert_eq!(bench.backfill(times(3, 6)), Answer::Done);
    for (hour, sent) in ["03:00:00", "04:00:00", "05:00:00"].iter().enumerate() {
        assert_eq!((bench.sent.len(), &bench.sent()[hour]), (hour + 1, &(*sent).to_owned()));
        assert_eq!(bench.ended(), None);
        bench.all_end_as("Succeeded");
    }
    assert_eq!((bench.sent.len(), bench.ended()), (3, Some(None)));
    assert!(bench.sent.iter().all(|intent| intent.kind == Kind::Backfill));
    assert_eq!(bench.events(Name::BackfillEnded).len(), 1);
}

#[test]
fn as_many_run_at_once_as_was_said_or_as_the_entry_says() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(Wanted { max_active: Some(3), ..times(3, 12) });
    assert_eq!(bench.sent.len(), 3);
    bench.all_end_as("Succeeded");
    assert_eq!(bench.sent.len(), 6);
    let mut bench = quiet("max_active: 2");
    bench.backfill(times(3, 12));
    assert_eq!(bench.sent.len(), 2);
}

#[test]
fn what_needs_no_start_is_left_out_also_if_only_the_ledger_notices() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill_but(times(3, 8), &[3, 5]);
    assert_eq!(bench.sent(), ["04:00:00"]);
    bench.waiting = Some(Vec::new());
    bench.all_end_as("Succeeded");
    // Somebody has started 06:00 meanwhile.
    let planned = |record: &Record| match record {
        Record::Planned(intent) => Some(intent.firing_id),
        _ => None,
    };
    let refused = bench.records.iter().rev().find_map(planned).unwrap();
    for (batch, _) in bench.waiting.take().unwrap() {
        bench.tell(Input::Committed(batch, HashSet::from([refused])));
    }
    bench.pass(1);
    assert_eq!(bench.sent(), ["04:00:00", "07:00:00"]);
}

#[test]
fn after_a_crash_it_goes_on_where_the_ledger_says_with_what_was_under_way() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(3, 6));
    let (backfill, intent) = (bench.kept(), Arc::clone(&bench.sent[0]));
    assert_eq!((backfill.mark, backfill.passed), (intent.nominal, 1));
    let open = outage::planned(&intent);
    let snapshot =
        Snapshot { backfills: vec![(backfill, Vec::new())], open: vec![open], ..Snapshot::default() };
    let mut bench = Bench::after("2026-11-24T12:05:00Z", &hourly("jitter: 0s"), snapshot);
    bench.pass(1);
    bench.look_finds_nothing();
    bench.pass(125);
    bench.look_finds_nothing();
    assert_eq!(bench.sent(), ["03:00:00"], "the same again, and nothing beside it");
    bench.all_end_as("Succeeded");
    assert_eq!(bench.sent(), ["03:00:00", "04:00:00"]);
}

#[test]
fn one_whose_run_is_followed_when_the_daemon_begins_again_counts_as_running() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(3, 6));
    let intent = Arc::clone(&bench.sent[0]);
    let run_id = RunId::from(intent.firing_id);
    let at = intent.due;
    let run = FollowedRun { intent, run_id, status: None, since: at, accepted_at: at, overdue: false };
    let snapshot = Snapshot {
        backfills: vec![(bench.kept(), Vec::new())],
        followed: vec![run],
        clean_stop: true,
        ..Snapshot::default()
    };
    let mut bench = Bench::after("2026-11-24T12:05:00Z", &hourly("jitter: 0s"), snapshot);
    bench.pass_with(60, &[shown(run_id, "InProgress")]);
    assert_eq!(bench.sent.len(), 0);
    bench.pass_with(16, &[shown(run_id, "Succeeded")]);
    assert_eq!(bench.sent(), ["04:00:00"]);
}

#[test]
fn a_person_who_ends_it_keeps_what_was_not_sent_from_being_sent() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(Wanted { max_active: Some(2), ..times(3, 9) });
    // There is no token: one waits.
    bench.answer(Outcome::NoToken { detail: "no".to_owned(), refused: false });
    let entry = EntryName::new("a").unwrap();
    assert_eq!(bench.ask(Asks::StopBackfill { entry: entry.clone() }, None), Answer::Done);
    assert_eq!((bench.ended(), bench.sent.len()), (Some(Some(Reason::Stopped)), 2));
    let skipped = bench.events(Name::FiringSkipped);
    assert_eq!(skipped[0].fields.reason.as_deref(), Some("stopped"));
    bench.pass(60);
    assert_eq!(bench.sent.len(), 2);
    let again = bench.ask(Asks::StopBackfill { entry }, None);
    assert!(matches!(again, Answer::Refused(_)), "{again:?}");
}

#[test]
fn an_entry_that_is_paused_keeps_it_waiting_and_an_edit_of_its_calendar_ends_it() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(3, 9));
    let entry = EntryName::new("a").unwrap();
    bench.ask(Asks::Pause { entry: entry.clone(), note: None }, None);
    bench.all_end_as("Succeeded");
    assert_eq!(bench.sent.len(), 1);
    bench.ask(Asks::Resume { entry }, None);
    assert_eq!(bench.sent(), ["03:00:00", "04:00:00"]);
    bench.tell(Input::Reload(schedule(&hourly("parameters: { n: 2 }"))));
    bench.all_end_as("Succeeded");
    assert_eq!(bench.sent[2].body.expose(), r#"{"n":2}"#, "another parameter is no other calendar");
    bench.tell(Input::Reload(schedule("  - { name: a, pipeline: P, schedule: { every: 2h } }")));
    bench.pass(1);
    assert_eq!(bench.ended(), Some(Some(Reason::Changed)));
}

#[test]
fn an_entry_that_goes_away_takes_its_backfill_with_it() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(3, 9));
    bench.tell(Input::Reload(schedule("  - { name: b, pipeline: P, schedule: { every: 1h } }")));
    bench.all_end_as("Succeeded");
    assert_eq!((bench.ended(), bench.sent.len()), (Some(Some(Reason::Removed)), 1));
}

#[test]
fn a_backfill_waits_where_the_entry_lets_no_others_run_beside_and_what_is_scheduled_comes_first() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &hourly("overlap: queue_one"));
    bench.pass(1);
    bench.accept();
    bench.backfill(times(3, 6));
    let running = shown(RunId::from(bench.sent[0].firing_id), "InProgress");
    let look = Box::new(bench.passes.last().unwrap().clone());
    let passed = Passed { runs: vec![running.clone()], calls: 1, ..Passed::default() };
    bench.tell(Input::Passed(look, Box::new(passed)));
    bench.pass_with(30, std::slice::from_ref(&running));
    assert_eq!(bench.sent(), ["12:00:00"]);
    // It still runs when the next is due.
    bench.pass_with(3_600, &[running]);
    assert_eq!((bench.sent.len(), bench.events(Name::FiringSkipped).len()), (1, 0));
    bench.pass_with(20, &[shown(RunId::from(bench.sent[0].firing_id), "Succeeded")]);
    assert_eq!(bench.sent(), ["12:00:00", "13:00:00"], "a backfill lets go first what is scheduled");
    bench.all_end_as("Succeeded");
    assert_eq!(bench.sent(), ["12:00:00", "13:00:00", "03:00:00"]);
}

#[test]
fn a_run_that_fails_is_recovered_although_the_next_nominal_time_is_long_past() {
    let mut bench = quiet("recovery: { max: 1, delay: 10s }");
    bench.backfill(times(3, 5));
    bench.all_end_as("Failed");
    bench.pass(10);
    assert_eq!(bench.sent(), ["03:00:00", "03:00:00"]);
    assert_eq!(bench.sent[1].kind, Kind::Recovery);
    bench.all_end_as("Failed");
    assert_eq!(bench.sent(), ["03:00:00", "03:00:00", "04:00:00"], "that was the last try");
}

#[test]
fn a_firing_that_is_held_counts_as_running_for_an_hour() {
    let mut bench = quiet("on_unknown: hold");
    bench.backfill(times(3, 6));
    bench.answer(Outcome::Unknown(Refusal::default()));
    bench.pass(1);
    bench.look_finds_nothing();
    bench.pass(125);
    bench.look_finds_nothing();
    assert_eq!(bench.events(Name::FiringHeld).len(), 1);
    bench.pass(3_440);
    assert_eq!(bench.sent(), ["03:00:00"]);
    bench.pass(60);
    assert_eq!(bench.sent(), ["03:00:00", "13:00:00", "04:00:00"], "what is scheduled goes its way");
}

#[test]
fn while_runs_cannot_be_read_for_an_hour_they_count_as_running_and_then_no_longer() {
    let mut bench = quiet("jitter: 0s");
    bench.backfill(times(3, 6));
    bench.accept_all();
    let mut answered = bench.passes.len();
    let refusal = Refusal { http_status: Some(403), ..Refusal::default() };
    let no = crate::azure::look::Unanswered { refusal, retry_after: None };
    for _ in 0..4_500 {
        bench.pass(1);
        while answered < bench.passes.len() {
            let pass = Box::new(bench.passes[answered].clone());
            answered += 1;
            let passed = Passed {
                unlisted: Some(no.clone()),
                unshown: Some(no.clone()),
                calls: 2,
                ..Passed::default()
            };
            bench.tell(Input::Passed(pass, Box::new(passed)));
        }
        if bench.clock.now().wall < "2026-11-24T13:00:00Z".parse().unwrap() {
            assert_eq!(bench.sent.len(), 1);
        }
    }
    let backfilled = bench.sent.iter().filter(|intent| intent.kind == Kind::Backfill).count();
    assert_eq!(backfilled, 2);
}

#[test]
fn a_second_one_of_an_entry_one_of_nothing_and_one_of_too_much_are_refused() {
    let mut bench = quiet("jitter: 0s");
    let refused = |answer: Answer, words: &str| match answer {
        Answer::Refused(why) => assert!(why.contains(words), "{why}"),
        other => panic!("{other:?}"),
    };
    let mut nothing = times(3, 4);
    nothing.from = Nominal::from_second(nothing.from.as_second() + 60).unwrap();
    refused(bench.backfill(nothing), "no nominal time");
    let ages = Wanted { from: Nominal::from_second(0).unwrap(), ..times(3, 6) };
    refused(bench.backfill(ages), "more than 100000 nominal times");
    assert_eq!(bench.backfill(times(3, 6)), Answer::Done);
    refused(bench.backfill(times(3, 6)), "under way already");
    let entry = EntryName::new("b").unwrap();
    refused(bench.backfill(Wanted { entry, ..times(3, 6) }), "no enabled entry named 'b'");
}

#[test]
fn times_that_are_still_to_come_are_left_to_the_schedule() {
    let mut bench = quiet("jitter: 0s");
    let until = Nominal::at_or_before("2026-11-24T20:00:00Z".parse().unwrap());
    let from = Nominal::at_or_before("2026-11-24T11:00:00Z".parse().unwrap());
    bench.backfill(Wanted { from, until, max_active: Some(9), ..times(0, 1) });
    assert_eq!(bench.sent(), ["11:00:00", "12:00:00"]);
    assert_eq!(bench.kept().count, 2);
}

#[test]
fn one_whose_parameters_cannot_be_rendered_is_rejected_and_the_next_goes_on() {
    let mut bench = quiet("parameters: { n: \"{{ 1 // (0 if scheduled_time < '2026-11-20T04' else 1) }}\" }");
    bench.backfill(times(3, 5));
    assert_eq!(bench.sent(), ["04:00:00"]);
    assert_eq!(bench.events(Name::FiringRejected).len(), 1);
}
