//! Overlap in virtual time: what starts, waits and is left out while others are running.

use super::outage::planned;
use super::*;
use crate::azure::look::Unanswered;

fn minutely(more: &str) -> String {
    format!("  - {{ name: a, pipeline: P, schedule: {{ every: 1m }}, missed: all, {more} }}")
}

/// The first firing, at noon, was accepted.
fn first_runs(more: &str) -> (Bench, RunId) {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &minutely(more));
    bench.pass(1);
    bench.accept();
    let run = RunId::from(bench.sent[0].firing_id);
    (bench, run)
}

pub(super) fn shown(run: RunId, status: &str) -> FoundRun {
    FoundRun { run_id: Some(run), status: status.to_owned(), pipeline: "P".to_owned(), ..FoundRun::default() }
}

impl Bench {
    /// Lets time pass; each pass and each look at a lane shows these runs.
    pub(super) fn pass_with(&mut self, seconds: u64, runs: &[FoundRun]) {
        let mut answered = self.passes.len();
        for _ in 0..seconds {
            self.pass(1);
            while answered < self.passes.len() {
                let pass = Box::new(self.passes[answered].clone());
                answered += 1;
                let passed = Passed { runs: runs.to_vec(), calls: 1, ..Passed::default() };
                self.tell(Input::Passed(pass, Box::new(passed)));
            }
        }
    }

    pub(super) fn skipped(&self, reason: &str) -> Vec<String> {
        let skipped = self.events(Name::FiringSkipped);
        let of = skipped.iter().filter(|event| event.fields.reason.as_deref() == Some(reason));
        of.map(|event| event.fields.first.as_ref().unwrap()[11..16].to_owned()).collect()
    }
}

#[test]
fn skip_leaves_out_what_comes_while_a_run_goes_on_and_starts_what_comes_after() {
    let (mut bench, run) = first_runs("overlap: skip");
    bench.pass_with(150, &[shown(run, "InProgress")]);
    assert_eq!(
        (bench.sent.len(), bench.skipped("overlap")),
        (1, vec!["12:01".to_owned(), "12:02".to_owned()])
    );
    bench.pass_with(40, &[shown(run, "Succeeded")]);
    assert_eq!(bench.sent(), ["12:00:00", "12:03:00"]);
}

#[test]
fn what_ended_since_the_last_pass_is_looked_at_before_a_firing_is_left_out() {
    let (mut bench, run) = first_runs("overlap: skip");
    bench.pass_with(55, &[shown(run, "InProgress")]);
    // It ends just before the next is due.
    bench.pass_with(6, &[shown(run, "Succeeded")]);
    assert_eq!((bench.sent.len(), bench.skipped("overlap").len()), (2, 0));
}

#[test]
fn queue_one_keeps_the_newest_and_starts_it_when_there_is_room() {
    let (mut bench, run) = first_runs("overlap: queue_one");
    bench.pass_with(190, &[shown(run, "InProgress")]);
    assert_eq!(bench.skipped("superseded"), ["12:01", "12:02"]);
    bench.pass_with(30, &[shown(run, "Failed")]);
    assert_eq!(bench.sent(), ["12:00:00", "12:03:00"]);
}

#[test]
fn queue_all_keeps_all_in_order_up_to_its_limit() {
    let (mut bench, run) = first_runs("overlap: queue_all, max_queued: 2");
    bench.pass_with(190, &[shown(run, "InProgress")]);
    assert_eq!(bench.skipped("queue_full"), ["12:03"]);
    bench.pass_with(20, &[shown(run, "Succeeded")]);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00"], "one at a time");
    bench.accept();
    bench.pass_with(20, &[shown(RunId::from(bench.sent[1].firing_id), "Succeeded")]);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00", "12:02:00"]);
}

#[test]
fn cancel_running_cancels_what_runs_and_starts_the_newest_once_that_is_over() {
    let (mut bench, run) = first_runs("overlap: cancel_running");
    bench.pass_with(65, &[shown(run, "InProgress")]);
    assert_eq!(bench.cancels, [(bench.sent[0].firing_id, run)]);
    assert_eq!(bench.sent.len(), 1, "it has not ended yet");
    bench.pass_with(20, &[shown(run, "Cancelled")]);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00"]);
}

#[test]
fn max_active_lets_so_many_run_at_once() {
    let (mut bench, run) = first_runs("max_active: 2");
    bench.pass_with(60, &[shown(run, "InProgress")]);
    bench.accept();
    let second = RunId::from(bench.sent[1].firing_id);
    bench.pass_with(60, &[shown(run, "InProgress"), shown(second, "InProgress")]);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00"]);
    bench.pass_with(20, &[shown(run, "InProgress"), shown(second, "Succeeded")]);
    assert_eq!(bench.sent(), ["12:00:00", "12:01:00", "12:02:00"]);
}

#[test]
fn a_pipeline_as_the_scope_counts_runs_that_others_started() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &minutely("overlap: skip, overlap_scope: pipeline"));
    let theirs = RunId::parse("00000000-0000-4000-8000-000000000001").unwrap();
    bench.pass_with(2, &[shown(theirs, "InProgress")]);
    assert_eq!((bench.sent.len(), bench.skipped("overlap")), (0, vec!["12:00".to_owned()]));
    let look = &bench.passes[0];
    assert_eq!((look.active_of.as_ref().unwrap().as_str(), look.since), ("P", None));
    bench.pass_with(60, &[]);
    assert_eq!(bench.sent(), ["12:01:00"]);
}

#[test]
fn an_unknown_firing_counts_as_running() {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", &minutely("overlap: skip, settle: 5m"));
    bench.pass(1);
    bench.answer(Outcome::Unknown(Refusal::default()));
    bench.pass_with(62, &[]);
    assert_eq!((bench.sent.len(), bench.skipped("overlap")), (1, vec!["12:01".to_owned()]));
}

#[test]
fn a_state_that_cannot_be_read_counts_as_it_was_but_not_for_ever() {
    let (mut bench, run) = first_runs("overlap: skip");
    bench.pass_with(50, &[shown(run, "InProgress")]);
    let mut answered = bench.passes.len();
    for _ in 0..70 {
        bench.pass(60);
        while answered < bench.passes.len() {
            let pass = Box::new(bench.passes[answered].clone());
            answered += 1;
            let no = Some(Unanswered::because("no connection".to_owned()));
            let passed = Passed { unlisted: no.clone(), unshown: no, calls: 1, ..Passed::default() };
            bench.tell(Input::Passed(pass, Box::new(passed)));
        }
    }
    let sent = bench.sent();
    assert_eq!(sent.len(), 2, "after an hour it counts as over");
    assert!(("13:00:00".."13:04:00").contains(&sent[1].as_str()), "{sent:?}");
}

#[test]
fn what_was_queued_is_not_missed_by_the_next_daemon() {
    let (mut bench, run) = first_runs("overlap: queue_one");
    bench.pass_with(65, &[shown(run, "InProgress")]);
    let queued = bench.engine.live.values().next().unwrap().intent.clone();
    assert_eq!(bench.state(queued.firing_id), Some((State::Waiting, Some(Reason::Overlap))));
    let open = Known { state: State::Waiting, reason: Some(Reason::Overlap), ..planned(&queued) };
    let snapshot = Snapshot { open: vec![open], clean_stop: true, ..Snapshot::default() };
    let next = Bench::after(
        "2026-11-24T14:00:00Z",
        &minutely("missed: skip, overlap: queue_one").replace("missed: all, ", ""),
        snapshot,
    );
    assert_eq!(next.sent(), ["12:01:00"]);
}

impl Bench {
    /// Lets time pass in which no look at runs gets an answer.
    fn pass_unanswered(&mut self, seconds: u64) {
        let mut answered = self.passes.len();
        for _ in 0..seconds {
            self.pass(1);
            while let Some(pass) = self.passes.get(answered).cloned() {
                answered += 1;
                let no = Some(Unanswered::because("no connection".to_owned()));
                let passed = Passed { unlisted: no.clone(), unshown: no, calls: 1, ..Passed::default() };
                self.tell(Input::Passed(Box::new(pass), Box::new(passed)));
            }
        }
    }
}

#[test]
fn a_minute_without_answers_does_not_let_a_second_run_start_hours_later() {
    for (overlap, hours) in [("skip", 2), ("queue_one", 4)] {
        let entry =
            format!("  - {{ name: a, pipeline: P, schedule: {{ every: {hours}h }}, overlap: {overlap} }}");
        let mut bench = Bench::new("2026-11-24T11:59:59Z", &entry);
        bench.pass(1);
        bench.accept();
        let run = RunId::from(bench.sent[0].firing_id);
        bench.pass_with(hours * 3_600 - 10, &[shown(run, "InProgress")]);
        bench.pass_unanswered(80);
        bench.pass_with(7_200, &[shown(run, "InProgress")]);
        assert_eq!(bench.sent(), ["12:00:00"], "{overlap}: the run is shown all the time");
    }
}

#[test]
fn a_run_that_is_known_only_after_a_newer_firing_wanted_it_cancelled_is_cancelled() {
    let entry = "  - { name: a, pipeline: P, schedule: { every: 1m, end: '2026-11-24T12:01:30Z' }, overlap: cancel_running }";
    let mut bench = Bench::new("2026-11-24T11:59:59Z", entry);
    bench.pass_with(62, &[]);
    assert!(bench.cancels.is_empty(), "whether the first call made a run is not known yet");
    bench.accept();
    bench.pass_with(10, &[]);
    assert_eq!(bench.cancels.len(), 1);
}
