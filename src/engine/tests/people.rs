//! What people ask for: retry, settle, pause, resume.

use super::*;
use crate::azure::look::Unanswered;
use crate::ledger::{About, Answer, Asks, Settlement};

const HOURLY: &str = "  - { name: a, pipeline: P, schedule: { every: 1h }, settle: 2m, on_unknown: hold }";
const MINUTELY: &str = "  - { name: a, pipeline: P, schedule: { every: 1m }, late_after: 1s, missed: all }";

fn rejected() -> Outcome {
    Outcome::Rejected(Refusal { error_message: "no such pipeline".to_owned(), ..Refusal::default() })
}

impl Bench {
    pub(super) fn ask(&mut self, asks: Asks, about: Option<Known>) -> Answer {
        let about = about.map(|firing| Box::new(About { firing, owner: None }));
        self.request(Request { about, ..Request::new(self.records.len().to_string(), asks) })
    }

    pub(super) fn request(&mut self, request: Request) -> Answer {
        self.tell(Input::Asked(vec![request]));
        let answers = self.records.iter().rev().find_map(|record| match record {
            Record::Answered { answer, .. } => Some(answer.clone()),
            _ => None,
        });
        answers.unwrap()
    }

    /// What the ledger knows of the firing that was sent last.
    pub(super) fn known(&self, state: State) -> Known {
        let intent = Arc::clone(self.sent.last().unwrap());
        Known {
            first_sent_at: Some(intent.due),
            intent,
            state,
            reason: None,
            attempts: 1,
            counted: 1,
            next_at: None,
            reopened_at: None,
            ever_unknown: state == State::Held,
        }
    }

    pub(super) fn pause(&mut self) -> Answer {
        self.ask(Asks::Pause { entry: EntryName::new("a").unwrap(), note: None }, None)
    }

    pub(super) fn resume(&mut self) -> Answer {
        self.ask(Asks::Resume { entry: EntryName::new("a").unwrap() }, None)
    }
}

/// A firing at noon that is held, with what the ledger knows of it.
fn held() -> (Bench, Known) {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    bench.answer(Outcome::Unknown(Refusal::default()));
    bench.pass(1);
    bench.look_finds_nothing();
    bench.pass(125);
    bench.look_finds_nothing();
    assert_eq!(bench.events(Name::FiringHeld).len(), 1);
    let known = bench.known(State::Held);
    (bench, known)
}

#[test]
fn a_rejected_firing_is_sent_again_with_the_same_bytes_once_that_is_durable() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    bench.answer(rejected());
    let known = bench.known(State::Rejected);
    bench.waiting = Some(Vec::new());
    let firing = known.intent.firing_id;
    assert_eq!(bench.ask(Asks::Retry { firing }, Some(known)), Answer::Firing(firing));
    assert_eq!(bench.sent.len(), 1, "a crash now must not hide a second attempt");
    bench.disk_catches_up();
    assert_eq!(bench.sent.len(), 2);
    assert_eq!(bench.sent[0], bench.sent[1]);
    bench.accept();
    assert_eq!(bench.state(firing), Some((State::Accepted, None)));
}

#[test]
fn a_held_firing_that_a_person_wants_sent_is_looked_for_once_more_before() {
    let (mut bench, known) = held();
    let (firing, looks) = (known.intent.firing_id, bench.looks.len());
    bench.ask(Asks::Settle { firing, how: Settlement::Retry }, Some(known));
    assert_eq!((bench.looks.len(), bench.sent.len()), (looks + 1, 1));
    bench.look_finds_nothing();
    assert_eq!(bench.sent.len(), 2, "no second settle time: a person has decided");
}

#[test]
fn a_held_firing_whose_run_turns_up_in_that_look_adopts_it() {
    let (mut bench, known) = held();
    let firing = known.intent.firing_id;
    bench.ask(Asks::Retry { firing }, Some(known));
    let run = FoundRun { run_id: Some(firing.into()), pipeline: "P".to_owned(), ..FoundRun::default() };
    bench.tell(Input::Looked(firing, Box::new(Look::Found(Box::new(run)))));
    assert_eq!((bench.state(firing), bench.sent.len()), (Some((State::Accepted, None)), 1));
}

#[test]
fn a_retry_of_a_held_firing_for_which_nobody_vouches_is_not_sent_while_the_look_gets_no_answer() {
    let (mut bench, known) = held();
    let firing = known.intent.firing_id;
    let no_answer = || Box::new(Look::NoAnswer(Unanswered::because("reset".to_owned())));
    bench.ask(Asks::Retry { firing }, Some(known));
    bench.tell(Input::Looked(firing, no_answer()));
    bench.pass(3_700);
    assert_eq!(bench.sent.iter().filter(|intent| intent.firing_id == firing).count(), 1);
    let (mut bench, known) = held();
    bench.ask(Asks::Settle { firing, how: Settlement::Retry }, Some(known));
    bench.tell(Input::Looked(firing, no_answer()));
    assert_eq!(bench.sent.len(), 2, "a person has looked where the daemon cannot");
}

#[test]
fn a_person_says_how_a_held_firing_ended() {
    let run = RunId::parse("00000000-0000-4000-8000-000000000001").unwrap();
    for (how, state) in [(Settlement::Run(run), State::Accepted), (Settlement::NotStarted, State::NotStarted)]
    {
        let (mut bench, known) = held();
        let firing = known.intent.firing_id;
        assert_eq!(bench.ask(Asks::Settle { firing, how }, Some(known)), Answer::Firing(firing));
        assert_eq!(bench.state(firing), Some((state, Some(Reason::Settled))));
        assert_eq!((bench.events(Name::FiringSettled).len(), bench.sent.len()), (1, 1));
    }
}

#[test]
fn a_run_that_belongs_to_another_firing_settles_nothing() {
    let (mut bench, known) = held();
    let firing = known.intent.firing_id;
    let run = RunId::parse("00000000-0000-4000-8000-000000000001").unwrap();
    let about = Box::new(About { firing: known, owner: Some(FiringId::from_random([1; 16])) });
    let asks = Asks::Settle { firing, how: Settlement::Run(run) };
    bench.tell(Input::Asked(vec![Request { about: Some(about), ..Request::new("r".to_owned(), asks) }]));
    assert!(bench.events(Name::FiringSettled).is_empty());
    assert_eq!(bench.state(firing), Some((State::Held, Some(Reason::OnUnknownHold))));
}

#[test]
fn what_is_under_way_or_was_accepted_is_neither_retried_nor_settled() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", HOURLY);
    bench.pass(1);
    let known = bench.known(State::Waiting);
    let firing = known.intent.firing_id;
    let refused =
        |answer: &Answer, words: &str| matches!(answer, Answer::Refused(why) if why.contains(words));
    assert!(refused(&bench.ask(Asks::Retry { firing }, Some(known)), "under way"));
    bench.accept();
    let known = bench.known(State::Accepted);
    assert!(refused(&bench.ask(Asks::Retry { firing }, Some(known.clone())), "is accepted"));
    let settle = Asks::Settle { firing, how: Settlement::NotStarted };
    assert!(refused(&bench.ask(settle, Some(known)), "only a held firing"));
    assert!(refused(&bench.ask(Asks::Retry { firing }, None), "no firing"));
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn a_restart_before_a_reopened_firing_was_sent_still_looks_for_it_first() {
    let due = [("2026-11-24T12:00:00Z", State::Waiting, None)];
    let mut snapshot = attempts::remembered(HOURLY, &due, true);
    snapshot.open[0].next_at = None;
    snapshot.open[0].reopened_at = Some("2026-11-24T14:00:00Z".parse().unwrap());
    let mut bench = Bench::after("2026-11-24T14:00:10Z", HOURLY, snapshot);
    bench.pass(1);
    assert_eq!((bench.looks.len(), bench.sent()), (1, vec!["13:00:00".to_owned(), "14:00:00".to_owned()]));
    bench.look_finds_nothing();
    assert_eq!(bench.sent().last().unwrap(), "12:00:00", "long after its time: a person wants it");
}

#[test]
fn two_wishes_about_one_firing_are_not_both_carried_out() {
    let (mut bench, known) = held();
    let firing = known.intent.firing_id;
    bench.waiting = Some(Vec::new());
    let settle = Asks::Settle { firing, how: Settlement::NotStarted };
    bench.ask(settle, Some(known.clone()));
    let second = bench.ask(Asks::Retry { firing }, Some(known));
    assert!(matches!(&second, Answer::Refused(why) if why.contains("another request")), "{second:?}");
    bench.disk_catches_up();
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn nominal_times_of_a_pause_are_left_out_as_one_row_when_it_ends() {
    let mut bench = Bench::new("2026-11-24T11:59:50Z", MINUTELY);
    bench.pass(5);
    assert_eq!(bench.pause(), Answer::Done);
    bench.pass(200);
    assert!(bench.sent.is_empty(), "also the one that was planned already");
    assert!(bench.events(Name::FiringSkipped).is_empty());
    assert_eq!(bench.resume(), Answer::Done);
    bench.pass(50);
    assert_eq!(bench.sent(), ["12:04:00"]);
    let skipped = bench.events(Name::FiringSkipped);
    assert_eq!(skipped.len(), 1);
    assert_eq!((skipped[0].fields.count, skipped[0].fields.reason.as_deref()), (Some(4), Some("paused")));
}

#[test]
fn a_pause_is_ended_only_once_and_begun_only_once() {
    let mut bench = Bench::new("2026-11-24T11:59:50Z", MINUTELY);
    assert!(matches!(bench.resume(), Answer::Refused(_)));
    bench.pause();
    assert!(matches!(bench.pause(), Answer::Refused(_)));
}

#[test]
fn a_pause_is_kept_over_a_reload_and_a_restart() {
    let mut bench = Bench::new("2026-11-24T11:59:50Z", MINUTELY);
    bench.pause();
    bench.tell(Input::Reload(schedule(&MINUTELY.replace("pipeline: P", "pipeline: Q"))));
    bench.pass(100);
    assert!(bench.sent.is_empty());

    let due = [("2026-11-24T12:00:00Z", State::Planned, None)];
    let mut snapshot = attempts::remembered(MINUTELY, &due, true);
    let from = "2026-11-24T11:59:00Z".parse().unwrap();
    let name = EntryName::new("a").unwrap();
    snapshot.pauses.insert(name, vec![Pause { from, until: None }]);
    let mut bench = Bench::after("2026-11-24T12:00:10Z", MINUTELY, snapshot);
    bench.pass(100);
    assert!(bench.sent.is_empty());
    assert_eq!(bench.events(Name::FiringSkipped)[0].fields.reason.as_deref(), Some("paused"));
}

#[test]
fn an_edit_that_is_found_at_a_start_leaves_out_what_the_old_calendar_still_named() {
    let old = schedule("  - { name: a, pipeline: P, schedule: { every: 1m } }");
    let entry = &old.entries[0];
    let mark = Nominal::at_or_before("2026-11-24T11:00:30Z".parse().unwrap());
    let marks = HashMap::from([(entry.name.clone(), (mark, entry.calendar.fingerprint()))]);
    let snapshot = Snapshot { marks, clean_stop: true, ..Snapshot::default() };
    let clock = ManualClock::at("2026-11-24T11:05:30Z".parse().unwrap());
    let new = schedule("  - { name: a, pipeline: P, schedule: { every: 2m } }");
    let now = clock.now();
    let (_, actions) = Engine::start(&new, &old.entries, snapshot, Box::new(|| 7), now, now);
    let skipped = actions.iter().find_map(|action| match action {
        Action::Commit(batch) => batch.records.iter().find_map(|record| match record {
            Record::Skipped(skips) => Some(skips.event()),
            _ => None,
        }),
        _ => None,
    });
    let fields = &skipped.unwrap().fields;
    assert_eq!((fields.count, fields.reason.as_deref()), (Some(5), Some("changed")));
    assert_eq!(fields.first.as_deref(), Some("2026-11-24T11:01:00Z"));
}

#[test]
fn a_stop_before_a_row_of_skips_is_written_leaves_the_mark_behind_it_since_no_row_is_refused() {
    let pipelines = "  - { name: a, pipeline: P, schedule: { every: 1m }, missed: skip }";
    let entry = Arc::clone(&schedule(pipelines).entries[0]);
    let mark = Nominal::at_or_before("2026-11-24T11:00:30Z".parse().unwrap());
    let marks = HashMap::from([(entry.name.clone(), (mark, entry.calendar.fingerprint()))]);
    let snapshot = Snapshot { marks, clean_stop: true, ..Snapshot::default() };
    let mut bench = Bench::slow("2026-11-24T12:00:50Z", pipelines, snapshot);
    bench.tell(Input::Stop);
    let marks = bench.records.iter().filter_map(|record| match record {
        Record::Marked(mark) => Some(mark.nominal.to_string()),
        _ => None,
    });
    // The first shares the commit of the row; the second takes back the firing of 12:01, which was never sent.
    assert_eq!(marks.collect::<Vec<_>>(), ["2026-11-24T12:01:05Z", "2026-11-24T12:00:59Z"]);
}
