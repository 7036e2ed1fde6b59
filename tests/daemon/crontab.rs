//! Cron expressions as crontab(5) has them: which days they name, in words and in firings, what is said of a mistake,
//! and of what is hardly meant.

use serde_json::json;

use crate::process::{Place, errors, results};

/// A place whose entries have these names and expressions.
fn place(entries: &[(&str, &str)]) -> Place {
    let place = Place::new();
    let lines = entries
        .iter()
        .map(|(name, cron)| format!("  - {{ name: {name}, pipeline: P, schedule: '{cron}' }}\n"));
    place.write(&format!("pipelines:\n{}", lines.collect::<String>()));
    place
}

/// The next dates of an entry.
fn dates(place: &Place, name: &str, from: &str, count: usize) -> Vec<String> {
    let next = place.json(&["next", name, "-n", &count.to_string(), "--from", from, "--format", "json"]);
    let date = |firing: &serde_json::Value| firing["scheduled_time"].as_str().unwrap()[..10].to_owned();
    next.as_array().unwrap().iter().map(date).collect()
}

fn words(place: &Place, name: &str) -> String {
    let explained = place.json(&["explain", name, "--from", "2026-12-01T00:00:00Z", "--format", "json"]);
    explained["schedule"][0]["words"].as_str().unwrap().to_owned()
}

#[test]
fn days_of_which_one_field_begins_with_a_star_are_those_of_both() {
    let place = place(&[
        ("odd-mondays", "0 9 */2 * 1"),
        ("first-sunday", "0 9 1-7 * */7"),
        ("first-monday", "0 9 */100,1-7 * MON"),
        ("both-by-plus", "0 9 1-7 * +MON"),
        ("either", "0 9 13 * FRI"),
    ]);
    let of = |name: &str| dates(&place, name, "2026-12-01T00:00:00Z", 4);
    assert_eq!(of("odd-mondays"), ["2026-12-07", "2026-12-21", "2027-01-11", "2027-01-25"]);
    assert_eq!(of("first-sunday"), ["2026-12-06", "2027-01-03", "2027-02-07", "2027-03-07"]);
    assert_eq!(of("first-monday"), ["2026-12-07", "2027-01-04", "2027-02-01", "2027-03-01"]);
    assert_eq!(of("both-by-plus"), of("first-monday"));
    assert_eq!(of("either"), ["2026-12-04", "2026-12-11", "2026-12-13", "2026-12-18"]);
    assert_eq!(
        words(&place, "odd-mondays"),
        "at 09:00, on every 2nd day from the 1st to the 31st of the month, but only if that is Monday"
    );
    assert_eq!(
        words(&place, "first-monday"),
        "at 09:00, on the 1st to the 7th of the month, but only if that is Monday"
    );
    assert_eq!(words(&place, "either"), "at 09:00, on the 13th of the month, and also on Friday");
}

#[test]
fn the_last_day_and_the_last_working_day_are_both_meant_where_both_are_said() {
    let place = place(&[("both-ends", "0 9 L,LW * *")]);
    assert_eq!(
        dates(&place, "both-ends", "2027-01-01T00:00:00Z", 4),
        ["2027-01-29", "2027-01-31", "2027-02-26", "2027-02-28"]
    );
    assert_eq!(words(&place, "both-ends"), "at 09:00, on the last day and the last working day of the month");
}

#[test]
fn the_words_of_a_range_with_a_number_are_the_days_that_fire() {
    let place = place(&[("first-of-each", "0 9 * * MON-FRI#1")]);
    assert_eq!(
        dates(&place, "first-of-each", "2026-12-01T00:00:00Z", 6),
        ["2026-12-01", "2026-12-02", "2026-12-03", "2026-12-04", "2026-12-07", "2027-01-01"]
    );
    assert_eq!(
        words(&place, "first-of-each"),
        "at 09:00, on the 1st Monday, the 1st Tuesday, the 1st Wednesday, the 1st Thursday and the 1st Friday of the \
         month"
    );
}

#[test]
fn a_range_of_one_day_is_that_day_and_midnight_is_a_macro() {
    let place =
        place(&[("sundays", "0 9 * * SUN-SUN"), ("sevens", "0 9 * * 7-7"), ("at-midnight", "@midnight")]);
    let sundays = ["2026-12-06", "2026-12-13"];
    assert_eq!(dates(&place, "sundays", "2026-12-01T00:00:00Z", 2), sundays);
    assert_eq!(dates(&place, "sevens", "2026-12-01T00:00:00Z", 2), sundays);
    assert_eq!(dates(&place, "at-midnight", "2026-12-01T00:00:00Z", 2), ["2026-12-01", "2026-12-02"]);
}

#[test]
fn check_says_of_each_mistake_in_an_expression_what_to_write_instead() {
    let place = place(&[
        ("wrap-days", "0 9 * * FRI-MON"),
        ("wrap-hours", "0 22-2 * * *"),
        ("start-step", "5/15 * * * *"),
        ("quartz", "0 0/5 14,18 * * ?"),
        ("before-last", "0 0 L-2 * *"),
        ("last-weekday", "0 0 * * L"),
        ("misspelt", "@dayly"),
    ]);
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let said = errors(&output);
    for line in [
        ":13:47: '0 9 * * FRI-MON' is not a cron expression: the weekday is 'FRI-MON': it runs backwards; write FRI-SUN,MON\n",
        "the hour is '22-2': it runs backwards; write 22-23,0-2\n",
        "the minute is '5/15': a step goes with a range; write 5-59/15\n",
        "the minute is '0/5': a step goes with a range; write 0-59/5\n",
        "{ recurrence: { frequency: Month, interval: 1, startTime: …, schedule: { monthDays: [-3] } } }\n",
        "L alone is no weekday. The last Friday of the month is FRIL; the last day of the month is L in the field of the day",
        "'@dayly' is not known; did you mean '@daily'?\n",
        "key path: pipelines[6].schedule\n",
        "7 problems; nothing was changed",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}

/// What a message offers instead of days before the last is a schedule that has them.
#[test]
fn the_recurrence_that_is_offered_for_a_day_before_the_last_is_that_day() {
    let place = Place::new();
    place.write(
        "pipelines:\n  - name: a\n    pipeline: P\n    schedule: { recurrence: { frequency: Month, interval: 1, \
         startTime: '2027-01-01T00:00:00Z', schedule: { monthDays: [-3] } } }\n",
    );
    assert_eq!(dates(&place, "a", "2027-01-01T00:00:00Z", 2), ["2027-01-29", "2027-02-26"]);
}

#[test]
fn check_warns_where_it_stands_of_what_is_valid_and_hardly_meant_and_ends_with_zero() {
    let place = place(&[
        ("either", "0 0 13 * FRI"),
        ("long-step", "*/90 * * * *"),
        ("of-quartz", "0 0 12 ? * 2-6"),
        ("both", "0 9 */2 * 1"),
    ]);
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(results(&output).contains("valid; 4 entries"), "{}", results(&output));
    let said = errors(&output);
    let file = place.schedule().display().to_string();
    for line in [
        &*format!(
            "{file}:13:44: warning: the days are those that '13' names, and also those that 'FRI' names"
        ),
        "write + before the weekday: 0 0 13 * +FRI\n",
        ":14:47: warning: the step of '*/90' is longer than the range that it goes through, so it names the minute 0 and \
         no other; a period of that length is { every: 90m }\n",
        "'2-6' means MON-FRI there. Here Sunday is 0 or 7, and it means TUE-SAT",
        "key path: pipelines[2].schedule\n",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(said.matches("warning: ").count(), 3, "{said}");
    let report = place.json(&["check", "--format", "json"]);
    assert_eq!((&report["valid"], &report["problems"]), (&json!(true), &json!([])));
    let doubts = report["doubts"].as_array().unwrap();
    assert_eq!(doubts.len(), 3, "{report}");
    assert_eq!((&doubts[0]["line"], &doubts[0]["path"]), (&json!(13), &json!("pipelines[0].schedule")));
    let warning = report["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("13:44: the days are those"), "{warning}");
}

#[test]
fn check_says_that_it_leaves_out_warnings_where_a_large_file_has_one_in_each_line() {
    let names: Vec<String> = (0..300).map(|number| format!("entry-{number}")).collect();
    let entries: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "0 0 13 * FRI")).collect();
    let output = place(&entries).run(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    let said = errors(&output);
    assert_eq!(said.matches("warning: ").count(), 201);
    assert!(
        said.contains(":213:47: warning: there are more warnings from here on; the first 200 are shown\n"),
        "{said}"
    );
}

#[test]
fn a_zone_that_is_an_offset_is_told_the_zone_whose_clock_has_it() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: a, pipeline: P, schedule: '@daily', timezone: UTC+2 }\n");
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let said = errors(&output);
    assert!(
        said.contains("always 2 h ahead of UTC is 'Etc/GMT-2'") && !said.contains("did you mean"),
        "{said}"
    );
}
