//! Recovering runs that failed, in virtual time.

use super::overlap::shown;
use super::*;
use crate::config::RecoverFrom;
use crate::ledger::{Asks, Recovers};

fn hourly(more: &str) -> String {
    format!("  - {{ name: a, pipeline: P, schedule: {{ every: 1h }}, {more} }}")
}

impl Bench {
    /// The run of the firing that was sent last was accepted, and is shown so.
    fn runs_to(&mut self, status: &str) -> RunId {
        self.accept();
        self.ends_as(status)
    }

    fn ends_as(&mut self, status: &str) -> RunId {
        let run = RunId::from(self.sent.last().unwrap().firing_id);
        // A pass that has begun and is not answered yet will do.
        let passes = self.passes.len();
        for _ in 0..40 {
            if self.passes.len() == passes {
                self.pass(1);
            }
        }
        let found = FoundRun { run_id: Some(run), status: status.to_owned(), ..FoundRun::default() };
        let pass = Box::new(self.passes.last().unwrap().clone());
        let passed = Passed { runs: vec![found], calls: 1, ..Passed::default() };
        self.tell(Input::Passed(pass, Box::new(passed)));
        run
    }

    fn notes(&self) -> Vec<String> {
        let paused = self.events(Name::EntryPaused);
        paused.iter().map(|event| event.fields.note.clone().unwrap()).collect()
    }
}

fn at_noon(more: &str) -> Bench {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &hourly(more));
    bench.pass(1);
    bench
}

#[test]
fn a_run_that_failed_is_recovered_so_often_each_time_with_an_id_of_its_own() {
    let mut bench = at_noon("recovery: { max: 2, delay: 5m }");
    let first = bench.runs_to("Failed");
    let told = bench.events(Name::RunFinished)[0];
    assert_eq!(told.fields.retry_in_ms, Some(300_000));
    bench.pass(299);
    assert_eq!(bench.sent.len(), 1);
    bench.pass(2);
    let (run, from) = (first, RecoverFrom::Failure);
    assert_eq!(bench.sent[1].recovers.as_deref(), Some(&Recovers { run, number: 1, from }));
    assert_eq!((bench.sent[1].kind, bench.sent[1].nominal), (Kind::Recovery, bench.sent[0].nominal));
    assert_ne!(bench.sent[1].firing_id, bench.sent[0].firing_id);
    let second = bench.runs_to("Failed");
    bench.pass(301);
    assert_eq!(bench.sent[2].recovers.as_ref().map(|it| (it.run, it.number)), Some((second, 2)));
    bench.runs_to("Failed");
    bench.pass(600);
    assert_eq!(bench.sent.len(), 3, "twice is enough");
}

#[test]
fn a_run_that_succeeds_or_was_cancelled_is_not_recovered() {
    for status in ["Succeeded", "Cancelled"] {
        let mut bench = at_noon("recovery: { delay: 0s }");
        bench.runs_to(status);
        bench.pass(60);
        assert_eq!(bench.sent.len(), 1, "{status}");
    }
}

#[test]
fn nothing_is_recovered_past_the_next_nominal_time_of_what_failed() {
    let mut bench = at_noon("recovery: { delay: 5m }");
    bench.accept();
    bench.pass(3_350);
    bench.ends_as("Failed");
    bench.pass(600);
    assert_eq!(bench.sent(), ["12:00:00", "13:00:00"], "it would have come too late");
    // Planned in time, but the daemon was too busy until after the next.
    let mut bench = at_noon("recovery: { delay: 5m }");
    bench.accept();
    bench.pass(3_200);
    bench.ends_as("Failed");
    bench.clock.advance(Duration::from_secs(600));
    bench.pass(2);
    let skipped = bench.events(Name::FiringSkipped);
    let recovery = skipped.iter().find(|event| event.fields.kind.as_deref() == Some("recovery"));
    assert_eq!(recovery.unwrap().fields.reason.as_deref(), Some("missed"));
}

#[test]
fn nothing_is_recovered_while_its_entry_is_paused_or_beside_what_may_not_overlap() {
    let mut bench = at_noon("recovery: { delay: 5m }");
    bench.runs_to("Failed");
    let entry = bench.sent[0].entry.clone();
    let pause = Request::new("1".to_owned(), Asks::Pause { entry, note: None });
    bench.tell(Input::Asked(vec![pause]));
    bench.pass(400);
    assert_eq!(bench.sent.len(), 1);
    let skipped = bench.events(Name::FiringSkipped)[0];
    assert_eq!(skipped.fields.reason.as_deref(), Some("paused"));
}

#[test]
fn an_entry_whose_runs_fail_in_a_row_is_paused_with_a_note() {
    let mut bench = at_noon("pause_after_failures: 2");
    for status in ["Failed", "Succeeded", "Failed", "Failed"] {
        bench.runs_to(status);
        if bench.notes().is_empty() {
            let sent = bench.sent.len();
            for _ in 0..61 {
                if bench.sent.len() == sent {
                    bench.pass(60);
                }
            }
        }
    }
    assert_eq!(bench.notes(), ["2 runs in a row have failed"]);
    bench.pass(7_200);
    assert_eq!(bench.sent.len(), 4, "it is paused");
}

#[test]
fn what_failed_before_a_restart_counts() {
    let name = EntryName::new("a").unwrap();
    let snapshot = Snapshot { failures: HashMap::from([(name, 1)]), ..Snapshot::default() };
    let mut bench = Bench::after("2026-11-24T11:59:59Z", &hourly("pause_after_failures: 2"), snapshot);
    bench.pass(1);
    bench.runs_to("Failed");
    assert_eq!(bench.notes().len(), 1);
}

#[test]
fn a_recovery_that_starts_late_is_not_tried_again_past_the_next_nominal_time() {
    let entry = "  - { name: a, pipeline: P, schedule: { every: 1h }, recovery: { delay: 5m } }";
    let mut bench = Bench::new("2026-11-24T11:59:59Z", entry);
    bench.pass(1);
    bench.accept();
    let run = RunId::from(bench.sent[0].firing_id);
    bench.pass_with(20, &[shown(run, "Failed")]);
    // The host sleeps until shortly before the next.
    bench.clock.advance(Duration::from_secs(3_300));
    bench.pass(1);
    let later = Some(Duration::from_secs(900));
    bench.answer(Outcome::RetryLater { refusal: Refusal::default(), retry_after: later, throttled: true });
    bench.pass_with(1_200, &[]);
    let recoveries = bench.sent.iter().filter(|intent| intent.kind == Kind::Recovery).count();
    assert_eq!(recoveries, 1);
}

/// What fails at noon is recovered a minute later, unless too much is running.
fn recovered_beside(more: &str, runs: impl Fn(RunId) -> Vec<FoundRun>) -> (Vec<Kind>, Option<String>) {
    let mut bench = at_noon(&format!("recovery: {{ delay: 1m }}, {more}"));
    if let Some(pass) = bench.passes.last().cloned() {
        let passed = Passed { calls: 1, ..Passed::default() };
        bench.tell(Input::Passed(Box::new(pass), Box::new(passed)));
    }
    bench.accept();
    let run = RunId::from(bench.sent[0].firing_id);
    bench.pass_with(30, &[shown(run, "Failed")]);
    bench.pass_with(120, &runs(run));
    let skipped = bench.events(Name::FiringSkipped);
    let reason = skipped.first().and_then(|event| event.fields.reason.clone());
    (bench.sent.iter().map(|intent| intent.kind).collect(), reason)
}

#[test]
fn a_recovery_goes_by_a_fresh_look_at_what_runs_in_the_pipeline() {
    let theirs = RunId::parse("00000000-0000-4000-8000-000000000001").unwrap();
    for overlap in ["skip", "queue_all"] {
        let more = format!("overlap: {overlap}, overlap_scope: pipeline");
        let (sent, reason) = recovered_beside(&more, |_| vec![shown(theirs, "InProgress")]);
        assert_eq!((sent, reason.as_deref()), (vec![Kind::Scheduled], Some("overlap")));
        let (sent, reason) = recovered_beside(&more, |_| vec![shown(theirs, "Succeeded")]);
        assert_eq!((sent, reason), (vec![Kind::Scheduled, Kind::Recovery], None));
    }
}

/// A recovery of what failed at noon waits at the gate for a look, since another run of its entry goes on.
fn at_the_gate() -> (Bench, RunId) {
    let mut bench = at_noon("recovery: { delay: 1m }, late_after: 2h, overlap: skip");
    bench.accept();
    let run = RunId::from(bench.sent[0].firing_id);
    let (entry, parameters) = (bench.sent[0].entry.clone(), serde_json::Map::new());
    let asks = Asks::Fire { entry, parameters, scheduled_time: None };
    bench.tell(Input::Asked(vec![Request::new("1".to_owned(), asks)]));
    bench.accept();
    let fired = RunId::from(bench.sent[1].firing_id);
    assert_ne!(fired, run);
    bench.pass_with(50, &[shown(run, "Failed"), shown(fired, "InProgress")]);
    bench.pass(50);
    assert_eq!(bench.sent.len(), 2);
    assert!(bench.events(Name::FiringSkipped).is_empty(), "what was known last may be over");
    (bench, fired)
}

impl Bench {
    /// The look at a lane that began last shows this, and the next as well if that one took too long.
    fn lane_shows(&mut self, run: FoundRun) {
        for _ in 0..2 {
            let pass = self.passes.iter().rfind(|pass| pass.since.is_none()).cloned().unwrap();
            let passed = Passed { runs: vec![run.clone()], calls: 1, ..Passed::default() };
            self.tell(Input::Passed(Box::new(pass), Box::new(passed)));
            self.pass(1);
        }
    }
}

#[test]
fn what_ended_since_the_last_pass_is_looked_at_before_a_recovery_is_left_out() {
    for (status, sent, skipped) in [("Succeeded", 3, 0), ("InProgress", 2, 1)] {
        let (mut bench, fired) = at_the_gate();
        bench.lane_shows(shown(fired, status));
        assert_eq!((bench.sent.len(), bench.events(Name::FiringSkipped).len()), (sent, skipped), "{status}");
    }
}

#[test]
fn a_recovery_that_waited_for_a_look_past_the_next_nominal_time_is_left_out() {
    let (mut bench, fired) = at_the_gate();
    bench.clock.advance(Duration::from_secs(3_600));
    bench.lane_shows(shown(fired, "Succeeded"));
    assert!(bench.sent.iter().all(|intent| intent.kind != Kind::Recovery));
    assert_eq!(bench.events(Name::FiringSkipped)[0].fields.reason.as_deref(), Some("missed"));
}

#[test]
fn a_recovery_that_waits_for_a_look_is_not_left_out_by_a_wrong_clock() {
    let (mut bench, fired) = at_the_gate();
    let hours = SignedDuration::from_hours(2);
    bench.set_clock(hours);
    bench.lane_shows(shown(fired, "Succeeded"));
    bench.set_clock(-hours);
    bench.pass_with(120, &[]);
    assert_eq!(bench.sent.last().unwrap().kind, Kind::Recovery);
}

#[test]
fn a_recovery_that_a_person_wants_tried_again_is_sent_also_past_the_next_nominal_time() {
    let mut bench = at_noon("recovery: { delay: 5m }, run_deadline: 1h");
    bench.runs_to("Failed");
    bench.pass(301);
    bench.answer(Outcome::Rejected(Refusal::default()));
    let intent = Arc::clone(bench.sent.last().unwrap());
    bench.pass(3_600);
    let sent = bench.sent.len();
    let known = Known { state: State::Rejected, attempts: 1, counted: 1, ..outage::planned(&intent) };
    let asks = Asks::Retry { firing: intent.firing_id };
    let about = Some(Box::new(crate::ledger::About { firing: known, owner: None }));
    bench.tell(Input::Asked(vec![Request { about, ..Request::new("r".to_owned(), asks) }]));
    assert_eq!(bench.sent.last().unwrap().firing_id, intent.firing_id);
    assert_eq!(bench.sent.len(), sent + 1);
}

#[test]
fn a_failure_whose_recovery_is_rejected_counts_as_one_in_a_row() {
    let mut bench = at_noon("recovery: { delay: 5m }, pause_after_failures: 2");
    for _ in 0..2 {
        bench.runs_to("Failed");
        bench.pass(301);
        bench.answer(Outcome::Rejected(Refusal::default()));
        if bench.notes().is_empty() {
            bench.pass(3_300);
        }
    }
    assert_eq!(bench.notes(), ["2 runs in a row have failed"]);
    assert_eq!(bench.sent.len(), 4, "two firings, and a recovery of each");
}

#[test]
fn a_failure_whose_recovery_is_left_out_counts_as_one_in_a_row() {
    let mut bench = at_noon("recovery: { delay: 5m }, pause_after_failures: 1");
    bench.accept();
    bench.pass(3_200);
    bench.ends_as("Failed");
    assert!(bench.notes().is_empty(), "it is to be recovered");
    // Planned in time, but the daemon was too busy until after the next.
    bench.clock.advance(Duration::from_secs(600));
    bench.pass(2);
    assert_eq!(bench.notes().len(), 1);
}

#[test]
fn a_recovery_that_a_person_tries_again_in_vain_is_not_counted_twice() {
    let mut bench = at_noon("recovery: { delay: 5m }, pause_after_failures: 2");
    bench.runs_to("Failed");
    bench.pass(301);
    bench.answer(Outcome::Rejected(Refusal::default()));
    let known = bench.known(State::Rejected);
    bench.ask(Asks::Retry { firing: known.intent.firing_id }, Some(known));
    bench.pass(1);
    assert_eq!(bench.sent.len(), 3);
    bench.answer(Outcome::Rejected(Refusal::default()));
    assert!(bench.notes().is_empty(), "one run has failed");
}
