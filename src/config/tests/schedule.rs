//! What stands under `schedule:`: each form as it is read, and what is said of a wrong one.

use super::*;

/// The nominal times of a schedule in Berlin from a local time on, in UTC.
fn times(schedule: &str, keys: &str, count: usize) -> Vec<String> {
    let text = format!(
        "pipelines:\n  - {{ name: a, pipeline: P, timezone: Europe/Berlin, schedule: {schedule}{keys} }}\n"
    );
    let settings = with_azure(&text).unwrap();
    let calendar = &settings.entries[0].calendar;
    let from = Nominal::at_or_before("2026-01-01T00:00:00Z".parse().unwrap());
    let all = std::iter::successors(calendar.next_after(from), |n| calendar.next_after(*n));
    all.take(count).map(|nominal| nominal.to_string()).collect()
}

fn said(schedule: &str) -> String {
    problem(with_azure(&format!("pipelines:\n  - {{ name: a, pipeline: P, schedule: {schedule} }}\n")))
}

#[test]
fn the_recurrence_of_a_trigger_is_read_as_data_factory_writes_it() {
    let pasted = r#"{ "recurrence": { "frequency": "Month", "interval": 1, "startTime": "2026-01-10T06:30:00",
        "endTime": "2026-04-30T06:30:00", "timeZone": "Europe/Berlin",
        "schedule": { "minutes": [30], "hours": [6], "monthDays": [-1] } } }"#;
    assert_eq!(
        times(pasted, "", 9),
        ["2026-01-31T05:30:00Z", "2026-02-28T05:30:00Z", "2026-03-31T04:30:00Z", "2026-04-30T04:30:00Z"],
        "it fires at its end, but not after it"
    );
    let single = "{ recurrence: { frequency: week, interval: 2, schedule: { hours: 7, weekDays: friday } }, start: 2026-01-05 }";
    assert_eq!(times(single, "", 2), ["2026-01-09T06:00:00Z", "2026-01-23T06:00:00Z"]);
    let last = "{ recurrence: { frequency: Month, schedule: { monthlyOccurrences: [{ day: Friday, occurrence: -1 }] } } }";
    assert_eq!(times(last, ", start: 2026-01-05 06:00", 2), ["2026-01-30T05:00:00Z", "2026-02-27T05:00:00Z"]);
}

#[test]
fn a_recurrence_that_cannot_be_meant_is_refused_in_its_place() {
    let inner = |text: &str| said(&format!("{{ recurrence: {{ startTime: 2026-01-01, {text} }} }}"));
    assert!(inner("interval: 2").contains("`frequency` is missing"));
    assert!(inner("frequency: Year").contains("Minute, Hour, Day, Week or Month"));
    assert!(inner("frequency: Day, interval: 0").contains("between 1 and 1000"));
    assert!(inner("frequency: Day, intervall: 2").contains("did you mean `interval`?"));
    assert!(inner("frequency: Day, schedule: { hours: [24] }").contains("from 0 to 23"));
    assert!(inner("frequency: Day, schedule: { minutes: ['5'] }").contains("whole number"));
    assert!(inner("frequency: Day, schedule: { hours: [] }").contains("list is empty"));
    assert!(inner("frequency: Day, schedule: { weekDays: [Monday] }").contains("frequency Week only"));
    assert!(inner("frequency: Week, schedule: { weekDays: [Mo] }").contains("in full"));
    assert!(inner("frequency: Month, schedule: { monthDays: [0] }").contains("-1 (the last day)"));
    let both = "frequency: Month, schedule: { monthDays: 1, monthlyOccurrences: { day: Friday } }";
    assert!(inner(both).contains("give monthDays or monthlyOccurrences"));
    assert!(
        inner("frequency: Month, schedule: { monthlyOccurrences: [{ occurrence: 1 }] }").contains("`day`")
    );
    assert!(inner("frequency: Minute, interval: 60, schedule: { minutes: 7 }").contains("never matches"));
    assert!(said("{ recurrence: { frequency: Day } }").contains("`startTime` is missing"));
    assert!(said("{ frequency: Day }").contains("belongs under `recurrence:`"));
    let twice = "{ recurrence: { frequency: Day, startTime: 2026-01-01 }, start: 2026-01-02 }";
    assert!(said(twice).contains("give one of them"));
}

#[test]
fn a_local_time_of_at_is_a_fixed_time_when_the_clock_changes() {
    // Berlin has no 02:30 on 29 March, and two on 25 October.
    let gap = "{ at: 2026-03-29 02:30 }";
    assert_eq!(times(gap, "", 2), ["2026-03-29T01:00:00Z"]);
    assert_eq!(times(gap, ", dst_gap: skip", 2), [""; 0]);
    let twice = "{ at: 2026-10-25 02:30 }";
    assert_eq!(times(twice, "", 2), ["2026-10-25T00:30:00Z"]);
    assert_eq!(times(twice, ", dst_overlap: second", 2), ["2026-10-25T01:30:00Z"]);
    assert_eq!(times(twice, ", dst_overlap: both", 2), ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"]);
    let instant = "{ at: '2026-03-29T02:30:00+01:00' }";
    assert_eq!(times(instant, ", dst_gap: skip", 2), ["2026-03-29T01:30:00Z"], "an instant is that instant");
}
