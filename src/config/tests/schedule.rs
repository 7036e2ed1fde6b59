//! What stands under `schedule:`: each form as it is read, and what is said of a wrong one.

use super::*;
use crate::schedule::CronRules;

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
        "endTime": "2026-04-30T06:30:00", "timeZone": "W. Europe Standard Time",
        "schedule": { "minutes": [30], "hours": [6], "monthDays": [-1] } } }"#;
    assert_eq!(
        times(pasted, "", 9),
        ["2026-01-31T05:30:00Z", "2026-02-28T05:30:00Z", "2026-03-31T04:30:00Z", "2026-04-30T04:30:00Z"],
        "it fires at its end, but not after it"
    );
    let stored =
        "{ recurrence: { frequency: Hour, interval: 6, startTime: '2026-01-05T06:30:00.1234567Z' } }";
    assert_eq!(times(stored, "", 1), ["2026-01-05T06:30:00Z"], "the service stores fractions of a second");
    for never in ["9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59", "9999-12-31"] {
        let endless = format!(
            "{{ recurrence: {{ frequency: Day, startTime: '0001-01-01T02:00:00Z', endTime: '{never}' }} }}"
        );
        assert_eq!(times(&endless, "", 9).len(), 9, "{never}");
    }
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

/// Data Factory heeds the offset, people mean the zone: `import` refuses the same with the same words.
#[test]
fn an_offset_beside_the_time_zone_of_a_recurrence_is_refused_unless_it_was_in_force_before() {
    let recurrence = |start: &str, zone: &str| {
        format!("{{ recurrence: {{ frequency: Day, interval: 1, startTime: '{start}'{zone} }} }}")
    };
    let berlin = ", timeZone: W. Europe Standard Time";
    for start in ["2026-01-01T09:00:00Z", "2026-01-01T09:00:00+01:00"] {
        let refused = said(&recurrence(start, berlin));
        let words = format!(
            "'{start}' has an offset beside the time zone 'Europe/Berlin', and the service does not heed the zone then"
        );
        assert!(refused.contains(&words), "{refused}");
    }
    let end = ", timeZone: Europe/Berlin, endTime: '2027-01-01T09:00:00Z'";
    assert!(said(&recurrence("2026-01-01T09:00:00", end)).contains("2027-01-01T09:00:00Z"));
    // UTC is UTC by whatever name, and the zone of the entry is this program's own.
    for zone in [", timeZone: UTC", ", timeZone: Etc/UTC", ""] {
        assert_eq!(
            times(&recurrence("2026-01-01T09:00:00Z", zone), "", 1),
            ["2026-01-01T09:00:00Z"],
            "{zone}"
        );
    }
    let pasted = recurrence("2026-01-01T09:00:00Z", berlin);
    let text = format!("{AZURE}pipelines:\n  - {{ name: a, pipeline: P, schedule: {pasted} }}\n");
    let accepted = load_accepted(text.as_bytes(), "s.yaml", &|_| None, CronRules::CURRENT).unwrap();
    let from = "2027-03-27T09:00:00Z".parse().unwrap();
    let firings: Vec<String> =
        accepted.entries[0].calendar.onwards(from).take(2).map(|nominal| nominal.to_string()).collect();
    assert_eq!(firings, ["2027-03-27T09:00:00Z", "2027-03-28T08:00:00Z"]);
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

#[test]
fn what_is_left_out_is_said_by_date_weekday_and_cron_for_an_entry_or_one_of_its_rules() {
    let daily =
        |except: &str, keys: &str| times(&format!("{{ cron: '0 6 * * *', except: {except} }}"), keys, 2);
    assert_eq!(daily("2026-01-01", ""), ["2026-01-02T05:00:00Z", "2026-01-03T05:00:00Z"]);
    assert_eq!(daily("[2026-01-01..2026-01-04, Mon]", ""), ["2026-01-06T05:00:00Z", "2026-01-07T05:00:00Z"]);
    assert_eq!(daily("{ cron: '* * 1-9 * *' }", ""), ["2026-01-10T05:00:00Z", "2026-01-11T05:00:00Z"]);
    let both = daily("friday", ", except: [thursday, Saturday]");
    assert_eq!(both, ["2026-01-04T05:00:00Z", "2026-01-05T05:00:00Z"]);
    let text = "defaults: { except: saturday }\npipelines:
  - { name: a, pipeline: P, schedule: '0 6 * * SAT,SUN' }
  - { name: b, pipeline: P, schedule: '0 6 * * SAT,SUN', except: sunday }
  - { name: c, pipeline: P, schedule: '0 6 * * SAT,SUN', except: [] }\n";
    let settings = with_azure(text).unwrap();
    let next = |entry: usize| {
        let from = Nominal::at_or_before("2026-11-23T00:00:00Z".parse().unwrap());
        settings.entries[entry].calendar.next_after(from).unwrap().to_string()
    };
    assert_eq!(next(0), "2026-11-29T06:00:00Z");
    assert_eq!(next(1), "2026-11-28T06:00:00Z");
    assert_eq!(
        next(2),
        "2026-11-28T06:00:00Z",
        "an empty list leaves out nothing, whatever the defaults say"
    );
    let plain = with_azure("pipelines: [{ name: c, pipeline: P, schedule: '0 6 * * SAT,SUN' }]\n").unwrap();
    assert!(plain.entries[0].calendar.same_as(&settings.entries[2].calendar));
}

#[test]
fn what_cannot_be_left_out_is_refused_in_its_place() {
    let said = |except: &str| said(&format!("'@daily', except: {except}"));
    assert!(said("[2026-12-25, christmas]").contains("'christmas' is nothing that can be left out"));
    assert!(said("2026-12-26..2026-12-25").contains("ends before it begins"));
    assert!(said("2026-02-30").contains("nothing that can be left out"));
    assert!(said("[5]").contains("not a number"));
    assert!(said("{ cron: '61 * * * *' }").contains("not a cron expression"));
    assert!(said("{ corn: '* * * * *' }").contains("did you mean `cron`?"));
    assert!(said("{}").contains("exactly one of `cron` and `file`"));
    assert!(said("{ file: holidays }").contains("absolute path"));
    assert!(said("{ file: /nowhere }").contains("there is no such file"));
}

#[test]
fn holidays_stand_in_a_file_and_stay_with_the_schedule_when_it_is_gone() {
    let text = format!(
        "{AZURE}pipelines:\n  - {{ name: a, pipeline: P, schedule: '0 6 * * *', except: {{ file: /etc/holidays }} }}\n"
    );
    let file = "\u{feff}# Berlin\n2026-11-25   # a Wednesday\n\n2026-11-27 .. 2026-11-28\r\n";
    let reader = |path: &std::path::Path| {
        assert_eq!(path, std::path::Path::new("/etc/holidays"));
        Ok(file.as_bytes().to_owned())
    };
    let outside = Outside { environment: &|_| None, file: &reader };
    let settings = load(text.as_bytes(), "s.yaml", outside, now()).unwrap();
    let times = |settings: &Settings| {
        let calendar = &settings.entries[0].calendar;
        let all = std::iter::successors(calendar.next_after(Nominal::at_or_before(now())), |n| {
            calendar.next_after(*n)
        });
        all.take(3).map(|nominal| nominal.to_string()).collect::<Vec<_>>()
    };
    let wanted = ["2026-11-24T06:00:00Z", "2026-11-26T06:00:00Z", "2026-11-29T06:00:00Z"];
    assert_eq!(times(&settings), wanted);

    let kept = with_holidays(&text, &settings.holidays);
    assert!(kept.starts_with(&text));
    let again = load_accepted(kept.as_bytes(), "", &|_| None, CronRules::CURRENT).unwrap();
    assert_eq!(times(&again), wanted);
    assert!(again.entries[0].same_as(&settings.entries[0]), "its firings stand");
    // Nothing else of the text changes, not even the end of a last line without one.
    for end in ["", "\n", "\n\n"] {
        let text = format!(
            "{AZURE}pipelines:
  - name: a
    pipeline: P
    schedule: '@daily'
    except: {{ file: /etc/holidays }}
    parameters:
      p: |+
        x{end}"
        );
        let settings = load(text.as_bytes(), "s.yaml", outside, now()).unwrap();
        let kept = with_holidays(&text, &settings.holidays);
        let again = load_accepted(kept.as_bytes(), "", &|_| None, CronRules::CURRENT).unwrap();
        assert!(again.entries[0].same_as(&settings.entries[0]), "{kept}");
    }
    // What a person copied from there is only a comment.
    let copied = kept.replace("2026-11-25", "2026-11-26");
    let kept = with_holidays(&copied, &settings.holidays);
    assert_eq!(times(&load_accepted(kept.as_bytes(), "", &|_| None, CronRules::CURRENT).unwrap()), wanted);
    assert_eq!(with_holidays(&text, &Holidays::new()), text, "without holidays the text is as it was");
    assert!(
        problem(load_accepted(text.as_bytes(), "v", &|_| None, CronRules::CURRENT)).contains("was not kept")
    );
}

#[test]
fn a_wrong_holiday_file_is_told_by_line_and_never_shown() {
    let said = |file: &'static [u8]| {
        let text = format!(
            "{AZURE}pipelines:\n  - {{ name: a, pipeline: P, schedule: '@daily', except: [{{ file: /etc/shadow }}] }}\n"
        );
        let outside = Outside { environment: &|_| None, file: &|_| Ok(file.to_vec()) };
        let problems = load(text.as_bytes(), "s.yaml", outside, now()).unwrap_err().to_string();
        assert!(!problems.contains("hunter2"), "{problems}");
        problems
    };
    assert!(said(b"2026-12-25\nroot:hunter2:1\n").contains("/etc/shadow: line 2 is not a date (2026-12-25)"));
    assert!(said(b"2026-12-26..2026-12-25\n").contains("line 1 ends before it begins"));
    assert!(said(b"2026-12-25\n\n\xff hunter2\n").contains("line 3 is not UTF-8"));
    assert!(said(b"hunter2").starts_with("s.yaml:9:"));
    assert!(said(b"hunter2").contains("key path: pipelines[0].except[0].file"));
}
