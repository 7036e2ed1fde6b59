//! What counts as running in a lane, in virtual time: whoever started it, and each of it once.

use super::outage::planned;
use super::overlap::shown;
use super::*;
use crate::azure::follow::Pass;
use crate::ledger::{About, Asks};

/// Goes by what runs in the pipeline P, and leaves out what comes meanwhile.
const CAREFUL: &str = "  - { name: careful, pipeline: P, schedule: { every: 1m }, missed: all, overlap: skip, \
                       overlap_scope: pipeline, on_unknown: hold, settle: 20s }";

/// The same, with room for two.
fn for_two() -> String {
    format!("{}, max_active: 2 }}", CAREFUL.trim_end_matches(" }"))
}

impl Bench {
    fn sent_of(&self, entry: &str) -> Vec<String> {
        let of_entry = self.sent.iter().filter(|intent| intent.entry.as_str() == entry);
        of_entry.map(|intent| intent.nominal.to_string()[11..19].to_owned()).collect()
    }

    fn left_out(&self, entry: &str) -> usize {
        let skipped = self.events(Name::FiringSkipped);
        let of_entry = skipped.iter().filter(|event| event.fields.entry.as_deref() == Some(entry));
        of_entry.filter(|event| event.fields.reason.as_deref() == Some("overlap")).count()
    }

    /// The last call of this entry is answered with the run that it has started.
    fn accept_of(&mut self, entry: &str) -> RunId {
        let intent = self.sent.iter().rfind(|intent| intent.entry.as_str() == entry).unwrap();
        let (firing, run_id) = (intent.firing_id, RunId::from(intent.firing_id));
        let at = self.clock.now();
        let outcome = Outcome::Accepted { run_id };
        let attempted = Attempted { sent_at: at, answered_at: at, outcome, token_generation: 1 };
        self.tell(Input::Answered(firing, Box::new(attempted)));
        run_id
    }

    fn fire(&mut self, entry: &str) {
        let (entry, parameters) = (EntryName::new(entry).unwrap(), serde_json::Map::new());
        let asks = Asks::Fire { entry, parameters, scheduled_time: None };
        self.tell(Input::Asked(vec![Request::new(self.records.len().to_string(), asks)]));
    }

    /// A look shows these runs.
    fn look_shows(&mut self, pass: &Pass, runs: &[FoundRun]) {
        let passed = Passed { runs: runs.to_vec(), calls: 1, ..Passed::default() };
        self.tell(Input::Passed(Box::new(pass.clone()), Box::new(passed)));
    }

    /// The call that was made last is never answered, and its run is not found either: it waits for a person.
    fn is_held(&mut self) -> FiringId {
        let firing = self.sent.last().unwrap().firing_id;
        self.answer(Outcome::Unknown(Refusal::default()));
        self.pass_with(2, &[]);
        self.look_finds_nothing();
        self.pass_with(20, &[]);
        self.look_finds_nothing();
        assert_eq!(self.state(firing), Some((State::Held, Some(Reason::OnUnknownHold))));
        firing
    }
}

#[test]
fn a_call_of_another_entry_that_is_under_way_counts_as_a_run_of_the_pipeline() {
    for other in ["follow: false", "overlap: queue_all", "overlap: skip, overlap_scope: entry"] {
        let other = format!("  - {{ name: other, pipeline: p, schedule: {{ every: 1h }}, {other} }}");
        let mut bench = Bench::new("2026-11-24T11:59:59Z", &format!("{CAREFUL}\n{other}"));
        bench.pass_with(30, &[]);
        assert_eq!(bench.sent_of("other"), ["12:00:00"]);
        assert_eq!((bench.sent_of("careful").len(), bench.left_out("careful")), (0, 1), "{other}");
        bench.answer(Outcome::Rejected(Refusal::default()));
        bench.pass_with(60, &[]);
        assert_eq!(bench.sent_of("careful"), ["12:01:00"], "it has started nothing");
    }
}

#[test]
fn a_call_that_a_person_asked_for_counts_as_a_run_of_the_pipeline() {
    let other = "  - { name: other, pipeline: P, schedule: { at: '2026-11-25T12:00:00' } }";
    let mut bench = Bench::new("2026-11-24T11:59:40Z", &format!("{CAREFUL}\n{other}"));
    bench.pass_with(10, &[]);
    bench.fire("other");
    assert_eq!(bench.sent_of("other").len(), 1);
    bench.pass_with(30, &[]);
    assert_eq!((bench.sent_of("careful").len(), bench.left_out("careful")), (0, 1));
}

#[test]
fn a_run_that_nobody_follows_counts_from_its_acceptance_on_and_not_from_the_next_look() {
    let others = "  - { name: other, pipeline: P, schedule: { every: 1h }, follow: false }\n  - { name: first, \
                  pipeline: P, schedule: { every: 1h }, overlap: skip, overlap_scope: pipeline, max_active: 9 }\n";
    let careful = CAREFUL.replace("every: 1m", "every: 1m, offset: 3s");
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &format!("{others}{careful}"));
    bench.pass(1);
    let look = bench.passes[0].clone();
    // It is accepted before the look is answered, which began before that and does not show it.
    bench.accept_of("other");
    bench.look_shows(&look, &[]);
    assert_eq!(bench.sent.last().unwrap().entry.as_str(), "first");
    bench.answer(Outcome::Rejected(Refusal::default()));
    // By the same look.
    bench.clock.advance(Duration::from_secs(3));
    bench.tell(Input::Wake);
    assert_eq!((bench.sent_of("careful").len(), bench.left_out("careful")), (0, 1));
    bench.pass_with(60, &[]);
    assert_eq!(bench.sent_of("careful"), ["12:01:03"], "a look shows that it is over");
}

#[test]
fn a_call_under_way_and_its_run_that_a_look_shows_already_are_one() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &for_two());
    bench.pass_with(1, &[]);
    let run = RunId::from(bench.sent[0].firing_id);
    bench.pass_with(61, &[shown(run, "InProgress")]);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00"]);
    bench.pass_with(60, &[shown(run, "InProgress"), shown(bench.sent[1].firing_id.into(), "InProgress")]);
    assert_eq!((bench.sent.len(), bench.left_out("careful")), (2, 1), "both are");
}

#[test]
fn a_held_firing_and_its_run_that_a_look_shows_are_one() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &for_two());
    bench.pass_with(1, &[]);
    let run = RunId::from(bench.is_held());
    bench.pass_with(40, &[shown(run, "InProgress")]);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00"]);
}

#[test]
fn a_held_firing_counts_for_an_hour_and_after_that_only_if_its_run_is_shown() {
    for (goes_on, sent) in [(true, 1), (false, 2)] {
        let once = CAREFUL.replace("every: 1m", "every: 1h");
        let mut bench = Bench::new("2026-11-24T11:59:59Z", &once);
        bench.pass_with(1, &[]);
        let run = shown(bench.is_held().into(), "InProgress");
        let runs = if goes_on { vec![run] } else { Vec::new() };
        bench.pass_with(3_500, &runs);
        assert_eq!(bench.sent.len(), 1);
        bench.pass_with(3_700, &runs);
        assert_eq!(bench.sent.len(), sent, "at 14:00: its run goes on: {goes_on}");
    }
}

#[test]
fn what_a_person_wants_tried_again_counts_while_it_is_looked_for() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", CAREFUL);
    bench.pass_with(1, &[]);
    let firing = bench.is_held();
    let known = Known {
        state: State::Held,
        attempts: 1,
        counted: 1,
        first_sent_at: Some(bench.sent[0].due),
        ever_unknown: true,
        ..planned(&bench.sent[0])
    };
    let about = Some(Box::new(About { firing: known, owner: None }));
    let asks = Asks::Retry { firing };
    bench.tell(Input::Asked(vec![Request { about, ..Request::new("r".to_owned(), asks) }]));
    bench.pass_with(60, &[]);
    assert_eq!((bench.sent.len(), bench.left_out("careful")), (1, 1), "the look has not ended");
}

#[test]
fn a_call_from_before_an_edit_counts_by_the_rules_of_after_it() {
    let entry = "  - { name: a, pipeline: P, schedule: { every: 1m } }";
    let mut bench = Bench::new("2026-11-24T11:59:59Z", entry);
    bench.pass(1);
    let edited = schedule(&entry.replace(" } }", " }, overlap: skip }"));
    bench.tell(Input::Reload(edited));
    bench.pass(61);
    assert_eq!((bench.sent.len(), bench.left_out("a")), (1, 1));
}

#[test]
fn after_a_crash_what_may_be_running_counts_whatever_is_judged_first() {
    let entry = "  - { name: a, pipeline: P, schedule: { every: 1m }, late_after: 10m, overlap: skip }";
    let due = [("2026-11-24T12:00:00Z", State::Planned, None)];
    let mut snapshot = attempts::remembered(entry, &due, true);
    // A person asked for it a little later, and its call was cut off.
    let mut fired = planned(&snapshot.open[0].intent);
    let (firing_id, kind) = (FiringId::from_random([9; 16]), Kind::Manual);
    let nominal = Nominal::at_or_before("2026-11-24T12:00:20Z".parse().unwrap());
    fired.intent = Arc::new(Intent { firing_id, kind, nominal, ..(*fired.intent).clone() });
    (fired.state, fired.attempts, fired.ever_unknown) = (State::Unknown, 1, true);
    snapshot.open.push(fired);
    let bench = Bench::after("2026-11-24T12:00:30Z", entry, snapshot);
    assert_eq!((bench.sent.len(), bench.left_out("a")), (0, 1));
}

#[test]
fn a_look_whose_answer_takes_too_long_is_made_again_before_a_firing_starts() {
    let theirs = RunId::parse("00000000-0000-4000-8000-000000000001").unwrap();
    let mut bench = Bench::new("2026-11-24T11:59:59Z", CAREFUL);
    bench.pass(1);
    let look = bench.passes.last().unwrap().clone();
    bench.pass(6);
    bench.look_shows(&look, &[]);
    assert_eq!(bench.sent.len(), 0, "somebody may have started one since");
    bench.pass(1);
    let look = bench.passes.last().unwrap().clone();
    bench.look_shows(&look, &[shown(theirs, "InProgress")]);
    assert_eq!((bench.sent.len(), bench.left_out("careful")), (0, 1));
}

#[test]
fn a_service_that_is_always_slow_keeps_a_firing_waiting_for_late_after_and_no_longer() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &CAREFUL.replace("settle: 20s", "late_after: 20s"));
    bench.pass(1);
    for _ in 0..3 {
        assert_eq!(bench.sent.len(), 0);
        let look = bench.passes.last().unwrap().clone();
        bench.pass(7);
        bench.look_shows(&look, &[]);
        bench.pass(1);
    }
    assert_eq!(bench.sent_of("careful"), ["12:00:00"]);
}
