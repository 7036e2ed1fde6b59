//! A start after the rules have changed by which cron expressions are read.

use super::backfill::times;
use super::*;
use crate::config::load_accepted;
use crate::ledger::{Backfill, LastSchedule};
use crate::schedule::CronRules;

/// By the rules of before on odd days and on Mondays, by those of today on odd Mondays.
const ODD: &str = "  - { name: odd, pipeline: P, schedule: '0 3 */2 * MON' }";
/// The same with what it leaves out.
const BUT: &str =
    "  - { name: but, pipeline: P, schedule: { every: 1h, except: { cron: '* * */2 * MON' } } }";
const HOURLY: &str = "  - { name: a, pipeline: P, schedule: '0 * * * *' }";
/// A Tuesday.
const NOW: &str = "2026-11-24T12:00:30Z";

fn read_by(rules: CronRules, pipelines: &str) -> Schedule {
    let text = format!("{AZURE}pipelines:\n{pipelines}\n");
    let settings = load_accepted(text.as_bytes(), "s.yaml", &|_| None, rules).unwrap();
    Schedule { rules, entries: settings.entries, ..schedule(pipelines) }
}

/// What a daemon that read this schedule by these rules has left, stopped two days before.
fn left_by(rules: CronRules, pipelines: &str) -> (Snapshot, Vec<Arc<Entry>>) {
    let schedule = read_by(rules, pipelines);
    let mark = Nominal::at_or_before("2026-11-22T12:00:30Z".parse().unwrap());
    let marks = schedule.entries.iter().map(|it| (it.name.clone(), (mark, it.calendar.fingerprint())));
    let last = LastSchedule {
        version: Arc::clone(&schedule.version),
        text: Arc::clone(&schedule.text),
        rules: Some(rules),
    };
    let snapshot =
        Snapshot { marks: marks.collect(), schedule: Some(last), clean_stop: true, ..Snapshot::default() };
    (snapshot, schedule.entries)
}

/// Starts with this schedule, as it is read today; returns all records and events of the start.
fn start(pipelines: &str, before: &[Arc<Entry>], snapshot: Snapshot) -> (Engine, Vec<Record>, Vec<Event>) {
    let now = ManualClock::at(NOW.parse().unwrap()).now();
    let random: Random = Box::new(|| 7);
    let (engine, actions) = Engine::start(&schedule(pipelines), before, snapshot, random, now, now);
    let (mut records, mut events) = (Vec::new(), Vec::new());
    for action in actions {
        if let Action::Commit(batch) = action {
            records.extend(batch.records);
            events.extend(batch.events);
        }
    }
    (engine, records, events)
}

/// The entries that are named, with their next times by today's reading and by the one of before.
fn named(events: &[Event]) -> Vec<(String, Option<String>, Option<String>)> {
    let named = events.iter().filter(|event| event.name == Name::ScheduleRulesChanged);
    named
        .map(|event| {
            let fields = event.fields.clone();
            (fields.entry.unwrap(), fields.next_time, fields.next_time_before)
        })
        .collect()
}

fn mark_of(engine: &Engine, name: &str) -> String {
    engine.plan.slots[&EntryName::new(name).unwrap()].mark.to_string()
}

#[test]
fn the_first_start_names_what_is_read_otherwise_with_the_next_time_by_both_readings() {
    let pipelines = [ODD, BUT, HOURLY].join("\n");
    let (snapshot, before) = left_by(CronRules::Croner, &pipelines);
    let (_, records, events) = start(&pipelines, &before, snapshot);
    let at = |text: &str| Some(text.to_owned());
    assert_eq!(
        named(&events),
        [
            // The 25th is odd and no Monday; the first odd Monday is 7 December.
            ("odd".to_owned(), at("2026-12-07T03:00:00Z"), at("2026-11-25T03:00:00Z")),
            // Today, the 24th, both name all hours; by the reading of before the 25th, which is odd, has none.
            ("but".to_owned(), at("2026-11-25T00:00:00Z"), at("2026-11-26T00:00:00Z")),
        ]
    );
    let event = events.iter().find(|event| event.name == Name::ScheduleRulesChanged).unwrap();
    assert!(
        event.message.contains("the next one is 2026-12-07T03:00:00Z, and was 2026-11-25T03:00:00Z before"),
        "{event:?}"
    );
    let loaded = records.iter().find_map(|record| match record {
        Record::Loaded(loaded) => Some(loaded),
        _ => None,
    });
    assert_eq!(loaded.unwrap().rules, CronRules::CURRENT, "in the same commit: the next start says nothing");
    let (snapshot, before) = left_by(CronRules::CURRENT, &pipelines);
    assert!(named(&start(&pipelines, &before, snapshot).2).is_empty());
}

#[test]
fn what_differs_only_after_very_many_times_is_named_all_the_same() {
    // By the reading of before it leaves out the 25th; up to then both name each second.
    let seconds =
        "  - { name: odd, pipeline: P, schedule: { every: 1s, except: { cron: '* * */2 * MON' } } }";
    let (snapshot, before) = left_by(CronRules::Croner, seconds);
    let (_, _, events) = start(seconds, &before, snapshot);
    let event = events.iter().find(|event| event.name == Name::ScheduleRulesChanged).unwrap();
    assert_eq!(event.fields.next_time.as_deref(), Some("2026-11-24T12:00:31Z"));
    assert_eq!(event.fields.next_time_before, event.fields.next_time);
    assert!(
        event.message.contains("is 2026-11-24T12:00:31Z as before, and a later one differs"),
        "{event:?}"
    );
}

#[test]
fn what_is_read_otherwise_begins_anew_and_what_its_old_calendar_named_up_to_now_is_left_out() {
    let pipelines = [ODD, HOURLY].join("\n");
    let (snapshot, before) = left_by(CronRules::Croner, &pipelines);
    let (engine, records, events) = start(&pipelines, &before, snapshot);
    let left_out: Vec<_> = records
        .iter()
        .filter_map(|record| match record {
            Record::Skipped(skips) => {
                let intent = &skips.intent;
                Some((intent.entry.to_string(), intent.nominal.to_string(), skips.count, skips.reason))
            }
            _ => None,
        })
        .collect();
    assert_eq!(left_out[0], ("odd".to_owned(), "2026-11-23T03:00:00Z".to_owned(), 1, Reason::Changed));
    assert!(left_out[1..].iter().all(|it| it.0 == "a" && it.3 == Reason::Missed), "{left_out:?}");
    assert_eq!(engine.plan.slots.len(), 2);
    let loaded = events.iter().find(|event| event.name == Name::ScheduleLoaded).unwrap();
    assert_eq!((loaded.fields.added, loaded.fields.changed), (Some(0), Some(1)));
    let begun: Vec<_> = records
        .iter()
        .filter_map(|record| if let Record::Loaded(loaded) = record { Some(&loaded.begun) } else { None })
        .flatten()
        .map(|(mark, _)| (mark.entry.to_string(), mark.nominal.to_string()))
        .collect();
    assert_eq!(begun, [("odd".to_owned(), "2026-11-24T12:00:30Z".to_owned())], "`a` keeps its mark");
    assert_eq!(mark_of(&engine, "odd"), "2026-11-24T12:00:30Z");
}

#[test]
fn an_entry_that_was_edited_as_well_or_is_new_is_not_named() {
    let pipelines = [ODD, HOURLY].join("\n");
    let (snapshot, before) = left_by(CronRules::Croner, &pipelines);
    let edited = [ODD.replace("0 3", "0 4"), ODD.replace("odd", "new"), HOURLY.to_owned()].join("\n");
    assert!(named(&start(&edited, &before, snapshot).2).is_empty());
}

#[test]
fn a_schedule_that_still_runs_by_the_rules_of_before_is_read_anew_by_the_next_reload() {
    let pipelines = [ODD, HOURLY].join("\n");
    let now = ManualClock::at(NOW.parse().unwrap()).now();
    let (snapshot, before) = left_by(CronRules::Croner, &pipelines);
    let old = read_by(CronRules::Croner, &pipelines);
    let (mut engine, actions) = Engine::start(&old, &before, snapshot, Box::new(|| 7), now, now);
    let said = |actions: Vec<Action>| -> Vec<Event> {
        let batches =
            actions.into_iter().filter_map(|it| if let Action::Commit(it) = it { Some(it) } else { None });
        batches.flat_map(|batch| batch.events).collect()
    };
    assert!(named(&said(actions)).is_empty());
    let events = said(engine.handle(Input::Reload(schedule(&pipelines)), now));
    assert_eq!(named(&events).len(), 1);
    let events = said(engine.handle(Input::Reload(schedule(&pipelines)), now));
    assert!(named(&events).is_empty());
}

#[test]
fn a_backfill_under_way_goes_on_unless_its_entry_is_read_otherwise() {
    for (entry, goes_on) in [(HOURLY, true), (&*BUT.replace("but", "a"), false)] {
        let (mut snapshot, before) = left_by(CronRules::Croner, entry);
        let wanted = times(0, 9);
        let backfill = Backfill {
            id: "b".into(),
            entry: before[0].name.clone(),
            fingerprint: before[0].calendar.fingerprint(),
            first: wanted.from,
            last: wanted.until,
            count: 10,
            max_active: 1,
            again: false,
            mark: Nominal::from_second(wanted.from.as_second() - 1).unwrap(),
            passed: 0,
            begun_at: wanted.from.timestamp(),
            ended_at: None,
            reason: None,
        };
        snapshot.backfills = vec![(backfill, Vec::new())];
        let now = ManualClock::at(NOW.parse().unwrap()).now();
        let (mut engine, actions) =
            Engine::start(&schedule(entry), &before, snapshot, Box::new(|| 7), now, now);
        let batches =
            actions.iter().filter_map(|it| if let Action::Commit(it) = it { Some(it.id) } else { None });
        for batch in batches.collect::<Vec<_>>() {
            engine.handle(Input::Committed(batch, HashSet::new()), now);
        }
        engine.handle(Input::Heartbeat, now);
        assert_eq!(engine.backfills.len(), usize::from(goes_on), "{entry}");
    }
}
