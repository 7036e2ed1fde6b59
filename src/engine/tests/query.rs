//! Lost answers of factories that give runs ids of their own: searching, judging, adopting.

use super::*;
use serde_json::json;

const TWO: &str = "  - { name: a, pipeline: P, schedule: { every: 1h }, settle: 2m, parameters: { n: 1 } }
  - { name: b, pipeline: P, schedule: { every: 1h }, settle: 2m, parameters: { n: 1 } }";
const ONE: &str = "  - { name: a, pipeline: P, schedule: { every: 1h }, settle: 2m, parameters: { n: 1 } }";

fn lost() -> Outcome {
    Outcome::Unknown(Refusal { error_message: "reset".to_owned(), ..Refusal::default() })
}

fn run(number: u8, parameters: serde_json::Value) -> FoundRun {
    FoundRun {
        run_id: Some(run_id(number)),
        pipeline: "p".to_owned(),
        status: "InProgress".to_owned(),
        parameters: serde_json::from_value(parameters).unwrap(),
        manual: true,
        started: Some("2026-11-24T12:00:01Z".parse().unwrap()),
        ..FoundRun::default()
    }
}

fn run_id(number: u8) -> RunId {
    RunId::parse(&format!("00000000-0000-4000-8000-0000000000{number:02}")).unwrap()
}

/// The attempts of all entries at noon are lost; returns the firings, in the order in which they were sent.
fn all_lost(pipelines: &str) -> (Bench, Vec<FiringId>) {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", pipelines);
    bench.pass(1);
    let firings: Vec<FiringId> = bench.sent.iter().map(|intent| intent.firing_id).collect();
    for firing in &firings {
        bench.end(*firing, lost());
    }
    (bench, firings)
}

/// The same, once a look right after has shown nothing, and the one after the settle time has begun.
fn all_settled(pipelines: &str) -> (Bench, Vec<FiringId>) {
    let (mut bench, firings) = all_lost(pipelines);
    bench.pass(1);
    for firing in &firings {
        bench.shown(*firing, &[]);
    }
    bench.pass(125);
    (bench, firings)
}

impl Bench {
    fn end(&mut self, firing: FiringId, outcome: Outcome) {
        let at = self.clock.now();
        let attempted = Attempted { sent_at: at, answered_at: at, outcome, token_generation: 1 };
        self.tell(Input::Answered(firing, Box::new(attempted)));
    }

    /// The look by id and the search of this firing end so; no run has an owner.
    fn shown(&mut self, firing: FiringId, runs: &[FoundRun]) {
        self.tell(Input::Looked(firing, Box::new(Look::Absent)));
        self.tell(Input::Searched(firing, Box::new(Searched::Runs(runs.to_vec()))));
        if self.owners_asked.last().is_some_and(|(asked, _)| *asked == firing) {
            self.owned_by(&[]);
        }
    }
}

#[test]
fn a_run_with_all_that_was_sent_is_adopted_before_the_settle_time_is_over() {
    let (mut bench, firings) = all_lost(ONE);
    bench.pass(1);
    bench.shown(firings[0], &[run(1, json!({ "n": "1", "defaulted": "x" }))]);
    assert_eq!(bench.state(firings[0]), Some((State::Accepted, None)));
    assert_eq!(bench.events(Name::RunAdopted)[0].fields.run_id.as_deref(), Some(&*run_id(1).to_string()));
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn a_factory_that_has_always_taken_our_id_is_not_searched() {
    let mut bench = Bench::new("2026-11-24T10:59:59Z", ONE);
    bench.pass(1);
    bench.accept();
    bench.pass(3_600);
    bench.answer(lost());
    bench.pass(1);
    bench.look_finds_nothing();
    bench.pass(125);
    bench.look_finds_nothing();
    assert!(bench.searches.is_empty());
    assert_eq!(bench.sent.len(), 3, "absent, so it is sent again");
}

#[test]
fn runs_of_others_say_nothing_about_ours() {
    let (mut bench, firings) = all_settled(ONE);
    let other = |change: fn(&mut FoundRun)| {
        let mut run = run(1, json!({ "n": "1" }));
        change(&mut run);
        run
    };
    bench.shown(
        firings[0],
        &[
            run(2, json!({ "n": "2" })),
            other(|run| run.pipeline = "q".to_owned()),
            other(|run| run.manual = false),
            other(|run| run.started = Some("2026-11-24T11:30:00Z".parse().unwrap())),
        ],
    );
    assert_eq!(bench.sent.len(), 2, "absent, so it is sent again");
}

#[test]
fn a_run_that_another_firing_owns_is_left_out() {
    let (mut bench, firings) = all_settled(ONE);
    bench.tell(Input::Looked(firings[0], Box::new(Look::Absent)));
    bench.search_shows(vec![run(1, json!({ "n": "1" }))]);
    bench.owned_by(&[(run_id(1), FiringId::from_random([1; 16]))]);
    assert_eq!(bench.sent.len(), 2, "absent, so it is sent again");
}

#[test]
fn a_run_that_hides_something_is_never_adopted_and_forbids_a_second_call() {
    for shown in [json!({ "n": "**********" }), json!({}), json!({ "n": null })] {
        let (mut bench, firings) = all_lost(ONE);
        bench.pass(1);
        bench.shown(firings[0], &[run(1, shown.clone())]);
        assert!(bench.events(Name::FiringHeld).is_empty(), "it may still become clear");
        bench.pass(125);
        bench.shown(firings[0], &[run(1, shown)]);
        assert_eq!(bench.state(firings[0]), Some((State::Held, Some(Reason::PossibleMatch))));
        let held = bench.events(Name::FiringHeld)[0].fields.clone();
        let command = format!("adf-cron settle {} --run {}", firings[0], run_id(1));
        assert_eq!(held.command, Some(command));
        assert_eq!(bench.sent.len(), 1);
    }
}

#[test]
fn firings_that_nobody_can_tell_apart_share_their_runs_one_each() {
    let (mut bench, firings) = all_settled(TWO);
    let shown = vec![run(1, json!({ "n": "1" }))];
    bench.shown(firings[0], &shown);
    assert_eq!(bench.state(firings[0]), Some((State::Accepted, None)));
    bench.tell(Input::Looked(firings[1], Box::new(Look::Absent)));
    bench.tell(Input::Searched(firings[1], Box::new(Searched::Runs(shown))));
    bench.owned_by(&[(run_id(1), firings[0])]);
    assert_eq!(bench.sent.len(), 3, "one run for two firings: the other made none, and is sent again");
    assert_eq!(bench.sent.last().unwrap().firing_id, firings[1]);
}

#[test]
fn a_run_is_adopted_once_even_by_two_that_found_it_at_the_same_time() {
    let (mut bench, firings) = all_settled(TWO);
    bench.waiting = Some(Vec::new());
    for firing in &firings {
        bench.tell(Input::Looked(*firing, Box::new(Look::Absent)));
        bench.tell(Input::Searched(*firing, Box::new(Searched::Runs(vec![run(1, json!({ "n": "1" }))]))));
    }
    bench.owned_by(&[]);
    bench.owned_by(&[]);
    assert_eq!(bench.events(Name::RunAdopted).len(), 1);
    assert_eq!(bench.sent.len(), 3);
}

#[test]
fn more_runs_than_firings_that_can_have_made_them_are_for_a_person() {
    let (mut bench, firings) = all_settled(ONE);
    bench.shown(firings[0], &[run(1, json!({ "n": "1" })), run(2, json!({ "n": "1" }))]);
    assert_eq!(bench.state(firings[0]), Some((State::Held, Some(Reason::CannotDecide))));
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn a_run_that_may_be_a_held_firings_is_not_taken_by_another() {
    let (mut bench, firings) = all_settled(TWO);
    let three = [1, 2, 3].map(|n| run(n, json!({ "n": "1" })));
    bench.shown(firings[0], &three);
    bench.shown(firings[1], &three[..1]);
    assert_eq!(bench.state(firings[1]), Some((State::Held, Some(Reason::CannotDecide))));
}

#[test]
fn runs_are_judged_once_the_calls_that_may_have_made_them_have_ended() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", TWO);
    bench.pass(1);
    let firings: Vec<FiringId> = bench.sent.iter().map(|intent| intent.firing_id).collect();
    bench.end(firings[0], lost());
    bench.pass(1);
    bench.tell(Input::Looked(firings[0], Box::new(Look::Absent)));
    bench.search_shows(vec![run(1, json!({ "n": "1" }))]);
    assert!(bench.owners_asked.is_empty(), "the other call is under way, and may have made it");
    bench.end(firings[1], Outcome::Accepted { run_id: run_id(1) });
    bench.owned_by(&[]);
    assert_eq!(bench.state(firings[1]), Some((State::Accepted, None)));
    bench.owned_by(&[(run_id(1), firings[1])]);
    assert_eq!(bench.state(firings[0]), Some((State::Unknown, Some(Reason::AnswerLost))));
}

#[test]
fn a_query_that_gets_no_answer_proves_nothing() {
    let (mut bench, firings) = all_settled(ONE);
    bench.tell(Input::Looked(firings[0], Box::new(Look::Absent)));
    let refused = crate::azure::look::Unanswered::because("403".to_owned());
    bench.tell(Input::Searched(firings[0], Box::new(Searched::NoAnswer(refused))));
    assert_eq!(bench.events(Name::ReconcileBlocked).len(), 1);
    assert_eq!(bench.sent.len(), 1);
}

#[test]
fn a_crash_before_any_answer_showed_how_the_factory_names_runs_is_searched_for() {
    let pipelines = ONE;
    let mut snapshot =
        attempts::remembered(pipelines, &[("2026-11-24T12:00:00Z", State::Planned, None)], false);
    snapshot.learned.clear();
    let mut bench = Bench::after("2026-11-24T12:00:10Z", pipelines, snapshot);
    bench.pass(1);
    let firing = bench.looks[0];
    bench.shown(firing, &[run(1, json!({}))]);
    bench.state(firing);
    assert_eq!(bench.state(firing), Some((State::Accepted, None)), "an empty body fits any parameters");
}

#[test]
fn what_may_have_been_sent_by_a_clock_that_was_set_back_over_a_crash_is_for_a_person() {
    let sent = [("2026-11-24T12:00:00Z", State::Unknown, None)];
    let own_ids = Snapshot { learned: HashMap::new(), ..attempts::remembered(ONE, &sent, false) };
    let mut bench = Bench::after("2026-11-24T11:40:00Z", ONE, own_ids);
    bench.pass(1);
    bench.tell(Input::Looked(bench.looks[0], Box::new(Look::Absent)));
    assert!(bench.searches.is_empty(), "no window of time is sure to hold its run");
    assert_eq!(bench.state(bench.looks[0]), Some((State::Held, Some(Reason::ClockSetBack))));
}

#[test]
fn firings_of_one_pipeline_share_a_search_and_one_that_comes_during_it_waits_for_the_next() {
    let third = format!(
        "{TWO}\n  - {{ name: c, pipeline: p, schedule: {{ every: 1h }}, settle: 2m, parameters: {{ n: 3 }} }}"
    );
    let (mut bench, mut firings) = all_lost(&third);
    let of = |firing: &FiringId| bench.sent.iter().find(|intent| intent.firing_id == *firing).unwrap();
    firings.sort_by_key(|firing| of(firing).entry.to_string());
    bench.pass(1);
    for firing in &firings {
        bench.tell(Input::Looked(*firing, Box::new(Look::Absent)));
    }
    assert_eq!(bench.searches, [firings[0]], "it began before the other two were looked for");
    let runs = vec![run(1, json!({ "n": "3" }))];
    bench.tell(Input::Searched(firings[0], Box::new(Searched::Runs(runs.clone()))));
    assert_eq!(bench.searches, [firings[0], firings[1]], "one for both");
    assert!(bench.owners_asked.is_empty());
    bench.tell(Input::Searched(firings[1], Box::new(Searched::Runs(runs))));
    assert_eq!(bench.owners_asked.len(), 1);
    assert_eq!(bench.owners_asked[0].0, firings[2], "that of c");
}
