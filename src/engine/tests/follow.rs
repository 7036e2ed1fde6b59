//! Following runs in virtual time.

use super::*;
use crate::azure::MOST_PAGES;
use crate::azure::look::Unanswered;
use crate::event::Level;

const HOURLY: &str = "  - { name: a, pipeline: P, schedule: { every: 1h }, settle: 30s }";

fn found(run: RunId, status: &str) -> FoundRun {
    let message = if status == "Failed" { "disk full".to_owned() } else { String::new() };
    FoundRun { run_id: Some(run), status: status.to_owned(), message, ..FoundRun::default() }
}

fn refused() -> Unanswered {
    let refusal = Refusal { http_status: Some(403), ..Refusal::default() };
    Unanswered { refusal, retry_after: None }
}

impl Bench {
    /// Ends the pass that began last.
    fn passed(&mut self, passed: Passed) {
        let pass = self.passes.last().unwrap().clone();
        self.tell(Input::Passed(Box::new(pass), Box::new(passed)));
    }

    fn shows(&mut self, runs: Vec<FoundRun>) {
        self.passed(Passed { runs, calls: 1, ..Passed::default() });
    }

    /// What the ledger was told of runs, one after the other.
    fn statuses(&self) -> Vec<String> {
        let of = |record: &Record| match record {
            Record::Run(run) => run.status.clone(),
            _ => None,
        };
        self.records.iter().filter_map(of).collect()
    }
}

/// A firing that was accepted at noon.
fn accepted(pipelines: &str) -> (Bench, RunId) {
    let mut bench = Bench::new("2026-11-24T11:59:59Z", pipelines);
    bench.pass(1);
    bench.accept();
    let run = RunId::from(bench.sent[0].firing_id);
    (bench, run)
}

#[test]
fn a_run_is_followed_from_its_acceptance_to_its_end_with_one_call_a_period() {
    let (mut bench, run) = accepted(HOURLY);
    bench.pass(60);
    assert_eq!(bench.passes.len(), 1, "none before the last has ended");
    bench.shows(vec![found(run, "Queued")]);
    bench.pass(16);
    bench.shows(vec![found(run, "InProgress")]);
    bench.pass(16);
    bench.shows(vec![found(run, "InProgress")]);
    bench.pass(16);
    bench.shows(vec![found(run, "Failed")]);
    assert_eq!(bench.passes.len(), 4);
    assert_eq!(bench.statuses(), ["Queued", "InProgress", "Failed"]);
    let finished = bench.events(Name::RunFinished)[0];
    assert_eq!((finished.level, finished.fields.error_message.as_deref()), (Level::Error, Some("disk full")));
    bench.pass(100);
    assert_eq!((bench.passes.len(), bench.engine.followed_runs()), (4, 0), "nothing is left to follow");
}

#[test]
fn what_a_failed_pass_did_not_read_is_read_by_the_next() {
    let (mut bench, _) = accepted(HOURLY);
    bench.pass(1);
    let since = bench.passes[0].since;
    let unlisted = Some(Unanswered::because("no connection".to_owned()));
    bench.passed(Passed { unlisted, calls: 1, ..Passed::default() });
    bench.pass(16);
    assert_eq!((bench.passes.len(), bench.passes[1].since), (2, since));
    bench.shows(Vec::new());
    bench.pass(16);
    assert!(bench.passes[2].since > since);
}

#[test]
fn following_that_is_forbidden_is_said_once_and_harms_nothing() {
    let (mut bench, run) = accepted(HOURLY);
    for _ in 0..4 {
        bench.pass(400);
        bench.passed(Passed { unlisted: Some(refused()), calls: 1, ..Passed::default() });
    }
    assert_eq!(bench.events(Name::FollowBlocked).len(), 1);
    // Runs may still be asked for by their ids.
    bench.pass(100);
    assert_eq!(bench.passes.last().unwrap().one_by_one, [run]);
    bench.shows(vec![found(run, "Succeeded")]);
    assert_eq!(bench.events(Name::RunFinished).len(), 1);
    assert_eq!(bench.sent.len(), 1, "nothing is repeated");
    assert!(bench.cancels.is_empty());
}

#[test]
fn a_run_that_may_not_be_asked_for_by_its_id_is_told_of_once_and_does_not_slow_the_query() {
    let (mut bench, run) = accepted(HOURLY);
    let (mut answered, mut by_id) = (0, 0);
    for _ in 0..1_200 {
        bench.pass(1);
        while let Some(pass) = bench.passes.get(answered) {
            answered += 1;
            let unshown = (!pass.one_by_one.is_empty()).then(refused);
            by_id += usize::from(unshown.is_some());
            bench.passed(Passed { unshown, calls: 1, ..Passed::default() });
        }
    }
    assert_eq!(bench.events(Name::FollowBlocked).len(), 1);
    assert!(answered >= 1_200 / 16, "the query is asked each period: {answered}");
    assert_eq!(by_id, 4, "after a minute, and every five minutes from then on");
    bench.pass(16);
    bench.shows(vec![found(run, "Succeeded")]);
    assert_eq!(bench.events(Name::RunFinished).len(), 1);
}

#[test]
fn that_nothing_can_be_reached_is_said_once() {
    let (mut bench, _) = accepted(HOURLY);
    let mut answered = 0;
    for _ in 0..1_200 {
        bench.pass(1);
        while let Some(pass) = bench.passes.get(answered) {
            answered += 1;
            let no = Unanswered::because("no connection".to_owned());
            let unshown = (!pass.one_by_one.is_empty()).then(|| no.clone());
            bench.passed(Passed { unlisted: Some(no), unshown, calls: 1, ..Passed::default() });
        }
    }
    assert_eq!(bench.events(Name::FollowBlocked).len(), 1);
}

#[test]
fn a_run_that_the_query_does_not_show_is_asked_for_by_its_id_and_vanishes_only_after_a_settle_time() {
    let (mut bench, run) = accepted(HOURLY);
    let mut asked = Vec::new();
    while bench.engine.followed_runs() > 0 {
        bench.pass(20);
        let one_by_one = bench.passes.last().unwrap().one_by_one.clone();
        asked.push(one_by_one.len());
        bench.passed(Passed { absent: one_by_one, calls: 1, ..Passed::default() });
        if asked.iter().sum::<usize>() == 1 {
            assert!(bench.events(Name::RunVanished).is_empty(), "it may yet become visible");
        }
    }
    assert_eq!(asked.iter().sum::<usize>(), 2, "{asked:?}");
    assert_eq!(bench.events(Name::RunVanished)[0].fields.run_id, Some(run.to_string()));
    assert_eq!(bench.statuses(), ["Vanished"]);
}

#[test]
fn an_entry_may_leave_its_runs_alone() {
    let (mut bench, _) = accepted("  - { name: a, pipeline: P, schedule: { every: 1h }, follow: false }");
    bench.pass(300);
    assert!(bench.passes.is_empty());
    let followed = bench.records.iter().any(|record| matches!(record, Record::Progress(p) if p.follow));
    assert!(!followed);
}

#[test]
fn a_run_beyond_its_deadline_is_said_once_and_cancelled_until_the_service_has_taken_it() {
    let pipelines =
        "  - { name: a, pipeline: P, schedule: { every: 1h }, run_deadline: 5m, on_deadline: cancel }";
    let (mut bench, run) = accepted(pipelines);
    bench.pass(299);
    assert!(bench.cancels.is_empty());
    bench.pass(2);
    let firing = bench.sent[0].firing_id;
    assert_eq!(bench.cancels, [(firing, run)]);
    bench.tell(Input::Cancelled(firing, Cancelled::NoAnswer(refused())));
    bench.pass(61);
    assert_eq!(bench.cancels.len(), 2);
    bench.tell(Input::Cancelled(firing, Cancelled::Begun));
    bench.pass(200);
    assert_eq!(bench.cancels.len(), 2);
    assert_eq!(bench.events(Name::RunOverdue).len(), 1);
    assert_eq!(bench.events(Name::RunCancelFailed).len(), 1);
}

#[test]
fn the_next_daemon_goes_on_with_the_runs_of_the_last() {
    let (first, run) = accepted("  - { name: a, pipeline: P, schedule: { every: 1h }, run_deadline: 5m }");
    let followed = |overdue| FollowedRun {
        intent: Arc::clone(&first.sent[0]),
        run_id: run,
        status: Some("InProgress".to_owned()),
        since: "2026-11-24T12:00:00Z".parse().unwrap(),
        accepted_at: "2026-11-24T12:00:00Z".parse().unwrap(),
        overdue,
    };
    for overdue in [false, true] {
        let snapshot = Snapshot { followed: vec![followed(overdue)], ..Snapshot::default() };
        let mut bench = Bench::after("2026-11-24T12:20:00Z", HOURLY, snapshot);
        bench.pass(1);
        assert_eq!(bench.passes[0].since.unwrap().to_string(), "2026-11-24T12:00:00Z");
        assert_eq!(bench.events(Name::RunOverdue).len(), usize::from(!overdue));
        bench.shows(vec![found(run, "Succeeded")]);
        let finished = bench.events(Name::RunFinished)[0];
        assert_eq!(finished.fields.duration_ms, Some(1_201_000));
    }
}

#[test]
fn a_run_of_weeks_is_followed_and_one_that_cannot_be_read_is_given_up_after_a_day() {
    for (readable, followed) in [(true, 1), (false, 0)] {
        let (mut bench, run) =
            accepted("  - { name: a, pipeline: P, schedule: { at: '2026-11-24T12:00:00Z' } }");
        let mut answered = 0;
        for _ in 0..20 * 24 {
            bench.pass(10);
            bench.clock.advance(Duration::from_secs(3_590));
            while answered < bench.passes.len() {
                let pass = Box::new(bench.passes[answered].clone());
                answered += 1;
                let runs = pass.one_by_one.iter().map(|_| found(run, "InProgress")).collect();
                let passed = match readable {
                    true => Passed { runs, calls: 1, ..Passed::default() },
                    false => {
                        let no = Some(refused());
                        Passed { unlisted: no.clone(), unshown: no, calls: 1, ..Passed::default() }
                    }
                };
                bench.tell(Input::Passed(pass, Box::new(passed)));
            }
        }
        assert_eq!(bench.engine.followed_runs(), followed, "readable: {readable}");
        assert_eq!(bench.events(Name::RunVanished).len(), 1 - followed);
    }
}

/// The next daemon, ten hours after the last was killed, with a run that it followed.
fn ten_hours_later() -> (Bench, RunId) {
    let (first, run) = accepted(HOURLY);
    let followed = FollowedRun {
        intent: Arc::clone(&first.sent[0]),
        run_id: run,
        status: Some("InProgress".to_owned()),
        since: "2026-11-24T12:00:00Z".parse().unwrap(),
        accepted_at: "2026-11-24T12:00:00Z".parse().unwrap(),
        overdue: false,
    };
    let snapshot = Snapshot { followed: vec![followed], ..Snapshot::default() };
    (Bench::after("2026-11-24T22:00:00Z", HOURLY, snapshot), run)
}

#[test]
fn a_time_in_which_more_was_updated_than_a_pass_may_read_is_read_in_parts() {
    let (mut bench, run) = ten_hours_later();
    let ended: Timestamp = "2026-11-24T22:40:00Z".parse().unwrap();
    let (mut answered, mut read_to, mut ran_out) = (0, None, 0);
    while bench.engine.followed_runs() > 0 {
        bench.pass(1);
        while let Some(pass) = bench.passes.get(answered) {
            answered += 1;
            assert!(answered < 200, "it does not go on: read up to {read_to:?}");
            let now = bench.clock.now().wall;
            let (after, before) = pass.window(now).unwrap();
            // A page was updated in each of the factory's minutes.
            let minutes = before.min(now).duration_since(after).as_secs().unsigned_abs() / 60;
            let calls = u32::try_from(minutes).unwrap().clamp(1, MOST_PAGES);
            let mut passed = Passed { calls, ..Passed::default() };
            if minutes > u64::from(MOST_PAGES) {
                passed.run_out();
                ran_out += 1;
            } else {
                assert!(read_to.is_none_or(|to| after < to), "{after} is not after {read_to:?}");
                read_to = Some(before);
                passed.runs.extend((now > ended && before > ended).then(|| found(run, "Succeeded")));
            }
            bench.passed(passed);
        }
    }
    assert_eq!(ran_out, 2, "ten hours and a half of them are too much");
    assert!(bench.passes.last().unwrap().span.is_none(), "in the end all is read at once again");
    assert!(bench.events(Name::FollowBlocked).is_empty());
    let late = bench.clock.now().wall.duration_since(ended);
    assert!(late.as_secs() <= 60, "its end is seen in time: {late}");
}

#[test]
fn a_minute_in_which_more_was_updated_than_a_pass_may_read_is_told_of() {
    let (mut bench, run) = ten_hours_later();
    let mut answered = 0;
    for _ in 0..3_600 {
        bench.pass(1);
        while bench.passes.len() > answered {
            answered = bench.passes.len();
            let mut passed = Passed { calls: MOST_PAGES, ..Passed::default() };
            passed.run_out();
            bench.passed(passed);
        }
    }
    let blocked = bench.events(Name::FollowBlocked);
    assert_eq!(blocked.len(), 1);
    assert!(blocked[0].fields.error_message.as_deref().unwrap().contains("200 pages"));
    bench.pass(130);
    bench.shows(vec![found(run, "Succeeded")]);
    assert_eq!(bench.events(Name::RunFinished).len(), 1, "what was read counts");
}
