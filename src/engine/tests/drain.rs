//! A stop while calls are under way, in virtual time: whatever comes to an end during the drain, nothing new is sent.

use super::backfill::times;
use super::outage::planned;
use super::overlap::shown;
use super::*;
use crate::ledger::Asks;

/// The call of this entry stays under way, so that the drain lasts for as long as the test wants.
const KEEPER: &str = "  - { name: keeper, pipeline: K, timeout: 9m, schedule: { every: 1h } }";

/// An entry `a` that is due at noon, beside the keeper; both have been sent.
fn at_noon(more: &str) -> Bench {
    let a = format!("  - {{ name: a, pipeline: P, schedule: {{ every: 1m }}, missed: all, {more} }}");
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &format!("{a}\n{KEEPER}"));
    bench.pass(1);
    assert_eq!(bench.sent.len(), 2);
    bench
}

impl Bench {
    /// The call of this entry that was sent last ends.
    fn answer_of(&mut self, entry: &str, outcome: Outcome) -> FiringId {
        let sent = self.sent.iter().rfind(|intent| intent.entry.as_str() == entry);
        let firing = sent.unwrap().firing_id;
        let now = self.clock.now();
        let attempted = Attempted { sent_at: now, answered_at: now, outcome, token_generation: 1 };
        self.tell(Input::Answered(firing, Box::new(attempted)));
        firing
    }

    fn a_is_accepted(&mut self) -> RunId {
        let of_a = self.sent.iter().rfind(|intent| intent.entry.as_str() == "a").unwrap();
        let run_id = RunId::from(of_a.firing_id);
        self.answer_of("a", Outcome::Accepted { run_id });
        run_id
    }

    /// It is told to stop, this happens, and eight minutes pass, in which every look shows these runs: nothing is sent,
    /// and nothing is cancelled.
    fn sends_nothing_more(&mut self, runs: &[FoundRun], meanwhile: impl FnOnce(&mut Self)) {
        let before = (self.sent(), self.cancels.clone());
        self.tell(Input::Stop);
        meanwhile(self);
        self.pass_with(480, runs);
        assert_eq!((self.sent(), self.cancels.clone()), before);
        assert!(self.engine.in_flight() > 0, "the drain lasts");
    }

    /// The last call ends; returns whether the stop was a clean one.
    fn drains(&mut self) -> bool {
        let keeper = self.sent.iter().rfind(|intent| intent.entry.as_str() == "keeper").unwrap();
        let run_id = RunId::from(keeper.firing_id);
        self.answer_of("keeper", Outcome::Accepted { run_id });
        assert!(self.engine.stopped);
        let last = self.records.iter().rev().find_map(|record| match record {
            Record::CleanStop(clean) => Some(*clean),
            _ => None,
        });
        last.unwrap()
    }
}

fn refusal(message: &str) -> Refusal {
    Refusal { error_message: message.to_owned(), ..Refusal::default() }
}

#[test]
fn a_call_that_waited_for_a_token_has_not_left_and_is_the_first_thing_that_the_next_start_sends() {
    let mut bench = at_noon("late_after: 1h");
    bench.sends_nothing_more(&[], |bench| {
        let firing = bench.answer_of("a", Outcome::Withheld);
        assert_eq!(bench.state(firing), None, "it is planned, as it was before");
    });
    assert!(bench.drains(), "nothing has left that is not recorded");
    let a = bench.sent.iter().find(|intent| intent.entry.as_str() == "a").unwrap();
    let snapshot = Snapshot { open: vec![planned(a)], clean_stop: true, ..Snapshot::default() };
    let again = "  - { name: a, pipeline: P, schedule: { every: 1m }, missed: all, late_after: 1h }";
    let next = Bench::after("2026-11-24T12:09:30Z", again, snapshot);
    assert_eq!((next.sent(), next.looks.len()), (vec!["12:00:00".to_owned()], 0), "at once, without a look");
}

#[test]
fn a_call_that_was_withheld_when_it_was_tried_again_goes_on_from_there() {
    let mut bench = at_noon("retry: { initial: 1s, max: 1s }");
    let firing = bench.answer_of(
        "a",
        Outcome::RetryLater { refusal: refusal("busy"), retry_after: None, throttled: false },
    );
    bench.pass(3);
    assert_eq!(bench.sent.len(), 3);
    bench.sends_nothing_more(&[], |bench| {
        bench.answer_of("a", Outcome::Withheld);
    });
    assert_eq!(bench.state(firing), Some((State::Waiting, None)));
    assert_eq!(bench.engine.live[&firing].attempts, 1, "what did not leave is no attempt");
}

#[test]
fn a_token_that_comes_lets_nothing_go() {
    let mut bench = at_noon("jitter: 0s");
    let no_token = Outcome::NoToken { detail: "nobody answers".to_owned(), refused: false };
    let firing = bench.answer_of("a", no_token);
    bench.sends_nothing_more(&[], |bench| bench.tell(Input::TokenUsable));
    assert_eq!(bench.state(firing), Some((State::Waiting, Some(Reason::NoToken))));
}

#[test]
fn a_refused_token_is_not_tried_anew() {
    let mut bench = at_noon("jitter: 0s");
    bench.sends_nothing_more(&[], |bench| {
        bench.answer_of("a", Outcome::Unauthorized(refusal("the token has expired")));
    });
}

#[test]
fn a_look_that_finds_nothing_sends_nothing_again() {
    let mut bench = at_noon("settle: 2m");
    let firing = bench.answer_of("a", Outcome::Unknown(refusal("no answer in time")));
    bench.pass(2);
    bench.look_finds_nothing();
    bench.sends_nothing_more(&[], |bench| {
        bench.pass(125);
        bench.look_finds_nothing();
    });
    assert_eq!(bench.state(firing), Some((State::Unknown, Some(Reason::AnswerLost))), "the next start looks");
}

#[test]
fn what_a_crash_has_left_and_nobody_finds_stays_for_the_next_start() {
    let bench = at_noon("late_after: 1h");
    let a = bench.sent.iter().find(|intent| intent.entry.as_str() == "a").unwrap();
    let snapshot = Snapshot { open: vec![planned(a)], clean_stop: false, ..Snapshot::default() };
    let again = "  - { name: a, pipeline: P, schedule: { every: 1m }, missed: all, late_after: 1h }";
    let mut next = Bench::after("2026-11-24T12:00:30Z", &format!("{again}\n{KEEPER}"), snapshot);
    next.pass(1);
    next.look_finds_nothing();
    let entry = EntryName::new("keeper").unwrap();
    next.ask(Asks::Fire { entry, parameters: serde_json::Map::new(), scheduled_time: None }, None);
    assert_eq!(next.sent.len(), 1);
    next.sends_nothing_more(&[], |next| {
        next.pass(125);
        next.look_finds_nothing();
    });
    assert!(next.drains());
}

#[test]
fn the_end_of_a_throttle_pause_or_of_a_backoff_sends_nothing() {
    let busy = |throttled| Outcome::RetryLater {
        refusal: refusal("busy"),
        retry_after: Some(Duration::from_secs(20)),
        throttled,
    };
    for (throttled, reason) in [(true, Some(Reason::Throttled)), (false, None)] {
        for stops_after in [0, 19] {
            let mut bench = at_noon("jitter: 0s");
            let firing = bench.answer_of("a", busy(throttled));
            bench.pass(stops_after);
            bench.sends_nothing_more(&[], |_| {});
            assert_eq!(bench.state(firing), Some((State::Waiting, reason)));
        }
    }
    let mut bench = at_noon("jitter: 0s");
    bench.sends_nothing_more(&[], |bench| {
        bench.answer_of("a", busy(true));
    });
}

#[test]
fn a_slot_that_gets_free_is_not_taken() {
    for overlap in ["queue_one", "queue_all", "skip", "cancel_running", "allow, max_active: 1"] {
        let mut bench = at_noon(&format!("overlap: {overlap}"));
        let run = bench.a_is_accepted();
        bench.pass_with(65, &[shown(run, "InProgress")]);
        bench.sends_nothing_more(&[shown(run, "Succeeded")], |bench| {
            // The pass was under way when the stop came.
            let pass = Box::new(bench.passes.last().unwrap().clone());
            let passed = Passed { runs: vec![shown(run, "Succeeded")], calls: 1, ..Passed::default() };
            bench.tell(Input::Passed(pass, Box::new(passed)));
        });
    }
}

#[test]
fn a_look_at_what_runs_that_ends_in_the_drain_starts_nothing_and_cancels_nothing() {
    let careful =
        "  - { name: a, pipeline: P, schedule: { every: 1m }, overlap: skip, overlap_scope: pipeline }";
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &format!("{careful}\n{KEEPER}"));
    bench.pass(1);
    assert_eq!((bench.sent.len(), bench.passes.len()), (1, 1));
    bench.sends_nothing_more(&[], |_| {});
    for overlap in ["queue_one", "queue_all", "skip", "cancel_running"] {
        for status in ["InProgress", "Succeeded"] {
            let mut bench = at_noon(&format!("overlap: {overlap}"));
            let run = bench.a_is_accepted();
            bench.pass_with(50, &[shown(run, "InProgress")]);
            bench.pass(11);
            let waits = bench.engine.live.values().filter(|live| live.phase == Phase::AtGate).count();
            assert_eq!(waits, 1, "{overlap}: it waits for a look");
            let passes = bench.passes.clone();
            let skipped = bench.events(Name::FiringSkipped).len();
            bench.sends_nothing_more(&[], |bench| {
                for pass in passes {
                    let passed = Passed { runs: vec![shown(run, status)], calls: 1, ..Passed::default() };
                    bench.tell(Input::Passed(Box::new(pass), Box::new(passed)));
                }
            });
            assert_eq!(bench.events(Name::FiringSkipped).len(), skipped, "the next start judges it");
        }
    }
}

#[test]
fn a_recovery_that_is_due_or_is_found_to_be_wanted_waits_for_the_next_start() {
    for fails_before in [true, false] {
        let mut bench = at_noon("recovery: { max: 1, delay: 30s }, end: '2026-11-24T12:00:30Z'");
        let run = bench.a_is_accepted();
        let failed = shown(run, "Failed");
        let fails = |bench: &mut Bench| {
            let pass = Box::new(bench.passes.last().unwrap().clone());
            let passed = Passed { runs: vec![failed.clone()], calls: 1, ..Passed::default() };
            bench.tell(Input::Passed(pass, Box::new(passed)));
        };
        bench.pass(20);
        if fails_before {
            fails(&mut bench);
        }
        bench.sends_nothing_more(std::slice::from_ref(&failed), |bench| {
            if !fails_before {
                fails(bench);
            }
        });
        let planned = bench
            .records
            .iter()
            .any(|record| matches!(record, Record::Planned(intent) if intent.kind == Kind::Recovery));
        assert!(planned, "it is in the ledger");
    }
}

#[test]
fn what_people_ask_for_in_the_drain_stays_a_request_for_the_next_start() {
    let entry = EntryName::new("a").unwrap();
    let fire = Asks::Fire { entry: entry.clone(), parameters: serde_json::Map::new(), scheduled_time: None };
    let asks = [fire, Asks::Backfill(times(0, 3)), Asks::Pause { entry, note: None }];
    let mut bench = at_noon("jitter: 0s");
    bench.sends_nothing_more(&[], |bench| {
        let requests = asks.into_iter().enumerate().map(|(id, asks)| Request::new(id.to_string(), asks));
        bench.tell(Input::Asked(requests.collect()));
    });
    let answered = bench.records.iter().any(|record| matches!(record, Record::Answered { .. }));
    assert!(!answered, "the ledger shows them again");
}

#[test]
fn room_in_a_backfill_is_not_filled() {
    let mut bench = Bench::new(
        "2026-11-24T12:00:30Z",
        &format!("  - {{ name: a, pipeline: P, schedule: {{ every: 1h }} }}\n{}", KEEPER),
    );
    bench.backfill(times(0, 9));
    assert_eq!(bench.sent.len(), 1, "one at a time");
    let entry = EntryName::new("keeper").unwrap();
    bench.ask(Asks::Fire { entry, parameters: serde_json::Map::new(), scheduled_time: None }, None);
    let run = bench.a_is_accepted();
    bench.pass(16);
    bench.sends_nothing_more(&[shown(run, "Succeeded")], |bench| {
        let pass = Box::new(bench.passes.last().unwrap().clone());
        let passed = Passed { runs: vec![shown(run, "Succeeded")], calls: 1, ..Passed::default() };
        bench.tell(Input::Passed(pass, Box::new(passed)));
    });
}

#[test]
fn a_slow_disk_that_catches_up_in_the_drain_lets_nothing_go() {
    let mut bench = at_noon("jitter: 0s");
    bench.waiting = Some(Vec::new());
    bench.pass(59);
    let entry = EntryName::new("a").unwrap();
    let asks = Asks::Fire { entry, parameters: serde_json::Map::new(), scheduled_time: None };
    bench.tell(Input::Asked(vec![Request::new("f".to_owned(), asks)]));
    bench.sends_nothing_more(&[], Bench::disk_catches_up);
}

#[test]
fn what_waits_for_room_among_the_calls_is_not_sent_when_one_ends() {
    let entries: Vec<String> = (0..70)
        .map(|n| format!("  - {{ name: e{n}, pipeline: P, schedule: {{ every: 1h }} }}"))
        .chain([KEEPER.replace("every: 1h }", "every: 1h }, priority: 9")])
        .collect();
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &entries.join("\n"));
    bench.pass(1);
    assert_eq!(bench.sent.len(), 64);
    bench.sends_nothing_more(&[], |bench| {
        for intent in bench.sent.clone().iter().filter(|intent| intent.entry.as_str() != "keeper") {
            let name = intent.entry.to_string();
            bench.answer_of(&name, Outcome::Accepted { run_id: RunId::from(intent.firing_id) });
        }
    });
    assert!(bench.drains());
}

#[test]
fn a_new_schedule_and_the_end_of_a_hold_start_nothing() {
    let mut bench = at_noon("jitter: 0s");
    bench.set_clock(SignedDuration::from_mins(20));
    assert!(!bench.engine.believes_the_clock());
    let more = format!("  - {{ name: new, pipeline: N, schedule: {{ every: 1s }} }}\n{KEEPER}");
    bench.sends_nothing_more(&[], |bench| bench.tell(Input::Reload(schedule(&more))));
}
