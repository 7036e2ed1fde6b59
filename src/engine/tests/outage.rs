//! A power cut at 02:29:58 in Berlin, two seconds before a nominal time, and a start at ten: what each `missed`
//! makes of it, once.

use super::*;

/// In November the clocks of Berlin are an hour ahead of UTC.
const BEFORE: &str = "2026-11-24T01:20:00Z";
const TO_THE_CUT: u64 = 598;
const TEN: &str = "2026-11-24T09:00:00Z";

/// An entry for each policy, at the same times.
fn entries(cron: &str) -> String {
    let entry = |missed: &str| {
        format!(
            "  - {{ name: {missed}, pipeline: P, schedule: \"{cron}\", timezone: Europe/Berlin, missed: {missed} }}\n"
        )
    };
    ["skip", "latest", "all"].map(entry).concat()
}

const DAILY: &str = "30 2 * * *";
/// 02:30 and seven times more up to ten.
const HOURLY: &str = "30 2-9 * * *";

/// What the ledger holds when the power goes: all that was committed, and nothing of what was under way.
pub(super) fn power_cut(bench: &Bench) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for record in &bench.records {
        match record {
            Record::Loaded(loaded) => {
                let begun = loaded.begun.iter();
                snapshot.marks.extend(
                    begun.map(|(mark, calendar)| (mark.entry.clone(), (mark.nominal, calendar.clone()))),
                );
            }
            Record::Marked(mark) => {
                snapshot.marks.get_mut(&mark.entry).unwrap().0 = mark.nominal;
            }
            Record::Planned(intent) => snapshot.open.push(planned(intent)),
            Record::Withdrawn(firing) => snapshot.open.retain(|known| known.intent.firing_id != *firing),
            Record::Reached(reached) => snapshot.reached = *reached,
            Record::Moved { firing_id, next_at, first_sent_at } => {
                let mut open = snapshot.open.iter_mut();
                let known = open.find(|known| known.intent.firing_id == *firing_id);
                if let Some(known) = known {
                    known.next_at = next_at.or(known.next_at);
                    known.first_sent_at = first_sent_at.or(known.first_sent_at);
                }
            }
            Record::Progress(progress) => {
                let known =
                    snapshot.open.iter().position(|known| known.intent.firing_id == progress.firing_id);
                let Some(known) = known else { continue };
                if matches!(progress.state, State::Waiting | State::Unknown) {
                    let known = &mut snapshot.open[known];
                    (known.state, known.reason) = (progress.state, progress.reason);
                    (known.attempts, known.counted) = (progress.attempts, progress.counted);
                    known.next_at = progress.next_at;
                    known.first_sent_at = progress.attempt.as_ref().map(|attempt| attempt.sent_at);
                    known.ever_unknown |= progress.state == State::Unknown;
                } else {
                    snapshot.open.remove(known);
                }
            }
            _ => {}
        }
    }
    let factory = schedule(&entries(DAILY)).entries[0].factory.key();
    snapshot.learned.insert(factory, true);
    snapshot
}

pub(super) fn planned(intent: &Arc<Intent>) -> Known {
    Known {
        intent: Arc::clone(intent),
        state: State::Planned,
        reason: None,
        attempts: 0,
        counted: 0,
        next_at: None,
        first_sent_at: None,
        reopened_at: None,
        ever_unknown: false,
    }
}

/// What the power cut leaves.
fn cut_at_half_past_two(cron: &str) -> Snapshot {
    let mut bench = Bench::new(BEFORE, &entries(cron));
    bench.pass(TO_THE_CUT);
    assert!(bench.clock.now().wall.to_string().starts_with("2026-11-24T01:29:58"));
    assert!(bench.sent.is_empty());
    let snapshot = power_cut(&bench);
    assert_eq!(snapshot.open.len(), 3, "half past two was planned");
    snapshot
}

/// The same a moment after half past two: all three calls have left, and none has an answer.
fn cut_while_it_is_sent() -> (Snapshot, Vec<FiringId>) {
    let mut bench = Bench::new(BEFORE, &entries(DAILY));
    bench.pass(TO_THE_CUT + 2);
    assert_eq!(bench.sent(), ["01:30:00"; 3]);
    (power_cut(&bench), bench.sent.iter().map(|intent| intent.firing_id).collect())
}

fn found(firing: FiringId) -> Look {
    let run = FoundRun {
        run_id: Some(RunId::from(firing)),
        pipeline: "P".to_owned(),
        status: "Succeeded".to_owned(),
        parameters: BTreeMap::new(),
        manual: true,
        started: Some("2026-11-24T01:30:00Z".parse().unwrap()),
        ..FoundRun::default()
    };
    Look::Found(Box::new(run))
}

/// Starts at ten with this ledger, and goes on for an hour, in which each call is accepted and each look answered
/// so.
fn from_ten_to_eleven(cron: &str, snapshot: Snapshot, look: impl Fn(FiringId) -> Look) -> Bench {
    let mut bench = Bench::after(TEN, &entries(cron), snapshot);
    let mut answered = 0;
    for _ in 0..3_600 {
        bench.pass(1);
        for firing in std::mem::take(&mut bench.looks) {
            bench.tell(Input::Looked(firing, Box::new(look(firing))));
        }
        while let Some(intent) = bench.sent.get(answered).cloned() {
            answered += 1;
            let at = bench.clock.now();
            let run_id = RunId::from(intent.firing_id);
            let outcome = Outcome::Accepted { run_id };
            let attempted = Attempted { sent_at: at, answered_at: at, outcome, token_generation: 1 };
            bench.tell(Input::Answered(intent.firing_id, Box::new(attempted)));
        }
    }
    bench
}

/// The times of day that were sent for an entry, in Berlin, in order.
fn sent_for(bench: &Bench, entry: &str) -> Vec<String> {
    let of_entry = bench.sent.iter().filter(|intent| intent.entry.as_str() == entry);
    let mut times: Vec<String> = of_entry
        .map(|intent| {
            intent.nominal.timestamp().in_tz("Europe/Berlin").unwrap().strftime("%H:%M").to_string()
        })
        .collect();
    times.sort();
    times
}

/// How many nominal times of an entry were left out, by the ledger and by the events.
fn skipped_for(bench: &Bench, entry: &str) -> (u64, u64) {
    let of_entry = |firing: FiringId| {
        let schedule = schedule(&entries(HOURLY));
        let entry = schedule.entries.iter().find(|known| known.name.as_str() == entry).unwrap();
        let nominal = Nominal::at_or_before("2026-11-24T01:30:00Z".parse().unwrap());
        firing == FiringId::scheduled(&entry.factory, &entry.name, nominal)
    };
    let recorded = bench.records.iter().map(|record| match record {
        Record::Skipped(skips) if skips.intent.entry.as_str() == entry => skips.count,
        Record::Progress(progress) if progress.state == State::Skipped => {
            u64::from(of_entry(progress.firing_id))
        }
        _ => 0,
    });
    let told = bench
        .events(Name::FiringSkipped)
        .into_iter()
        .filter(|event| event.fields.entry.as_deref() == Some(entry))
        .map(|event| {
            assert_eq!(event.fields.reason.as_deref(), Some("missed"));
            event.fields.count.unwrap()
        });
    (recorded.sum(), told.sum())
}

const ALL_DAY: [&str; 8] = ["02:30", "03:30", "04:30", "05:30", "06:30", "07:30", "08:30", "09:30"];

#[test]
fn half_past_two_is_left_out_or_started_once_as_the_policy_says() {
    let bench = from_ten_to_eleven(DAILY, cut_at_half_past_two(DAILY), |_| Look::Absent);
    assert!(sent_for(&bench, "skip").is_empty());
    assert_eq!(sent_for(&bench, "latest"), ["02:30"]);
    assert_eq!(sent_for(&bench, "all"), ["02:30"]);
    assert_eq!(["skip", "latest", "all"].map(|entry| skipped_for(&bench, entry)), [(1, 1), (0, 0), (0, 0)]);
    assert!(bench.events(Name::FiringHeld).is_empty());
}

#[test]
fn of_the_eight_times_up_to_ten_none_the_newest_or_all_are_started_once() {
    let bench = from_ten_to_eleven(HOURLY, cut_at_half_past_two(HOURLY), |_| Look::Absent);
    assert!(sent_for(&bench, "skip").is_empty());
    assert_eq!(sent_for(&bench, "latest"), ["09:30"]);
    assert_eq!(sent_for(&bench, "all"), ALL_DAY);
    assert_eq!(["skip", "latest", "all"].map(|entry| skipped_for(&bench, entry)), [(8, 8), (7, 7), (0, 0)]);
}

#[test]
fn a_cut_before_anything_was_planned_goes_by_the_policy_at_once() {
    let mut early = Bench::new(BEFORE, &entries(HOURLY));
    early.pass(TO_THE_CUT - 60);
    let snapshot = power_cut(&early);
    assert!(snapshot.open.is_empty());
    let mut bench = Bench::after(TEN, &entries(HOURLY), snapshot);
    bench.pass(1);
    assert!(bench.looks.is_empty(), "nothing can have left this host");
    assert!(sent_for(&bench, "skip").is_empty());
    assert_eq!(sent_for(&bench, "latest"), ["09:30"]);
    assert_eq!(sent_for(&bench, "all"), ALL_DAY);
    let times: Vec<String> = bench
        .sent
        .iter()
        .filter(|intent| intent.entry.as_str() == "all")
        .map(|intent| intent.nominal.to_string())
        .collect();
    assert!(times.is_sorted(), "the oldest first: {times:?}");
}

#[test]
fn a_call_that_had_left_and_started_a_run_is_adopted_whatever_the_policy_says() {
    let (snapshot, firings) = cut_while_it_is_sent();
    let bench = from_ten_to_eleven(DAILY, snapshot, found);
    assert!(bench.sent.is_empty());
    for firing in firings {
        assert_eq!(bench.state(firing), Some((State::Accepted, None)));
    }
    assert_eq!(bench.events(Name::RunAdopted).len(), 3);
}

#[test]
fn a_call_that_had_left_and_started_nothing_goes_by_the_policy() {
    let (snapshot, _) = cut_while_it_is_sent();
    let bench = from_ten_to_eleven(DAILY, snapshot, |_| Look::Absent);
    assert!(sent_for(&bench, "skip").is_empty());
    assert_eq!(sent_for(&bench, "latest"), ["02:30"]);
    assert_eq!(sent_for(&bench, "all"), ["02:30"]);
    assert_eq!(skipped_for(&bench, "skip"), (1, 1));
}

#[test]
fn a_call_whose_answer_was_lost_before_the_cut_is_adopted_or_waits_for_a_person_and_is_not_sent_again() {
    for (look, state) in [
        (found as fn(FiringId) -> Look, (State::Accepted, None)),
        (|_| Look::Absent, (State::Held, Some(Reason::DeadlineWhileUnknown))),
    ] {
        let mut bench = Bench::new(BEFORE, &entries(DAILY));
        bench.pass(TO_THE_CUT + 2);
        let firings: Vec<FiringId> = bench.sent.iter().map(|intent| intent.firing_id).collect();
        let at = bench.clock.now();
        for firing in &firings {
            let outcome = Outcome::Unknown(Refusal::default());
            let attempted = Attempted { sent_at: at, answered_at: at, outcome, token_generation: 1 };
            bench.tell(Input::Answered(*firing, Box::new(attempted)));
        }
        let bench = from_ten_to_eleven(DAILY, power_cut(&bench), look);
        assert!(bench.sent.is_empty(), "its hour was over long ago");
        for firing in firings {
            assert_eq!(bench.state(firing), Some(state));
        }
    }
}
