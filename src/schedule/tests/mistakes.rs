//! What is said of an expression that cannot be read: what is wrong, and what to write instead.

use super::draw::{MONTHS, WEEKDAYS};
use super::*;

/// How a value is written.
type Word = fn(usize) -> String;

fn number(value: usize) -> String {
    value.to_string()
}

fn month(value: usize) -> String {
    MONTHS[value - 1].to_owned()
}

fn weekday(value: usize) -> String {
    WEEKDAYS[value].to_owned()
}

fn refused(text: &str) -> String {
    Cron::parse(text, CronRules::CURRENT).unwrap_err().to_string()
}

#[test]
fn what_is_no_cron_expression_is_refused_with_a_reason() {
    assert!(refused("0 0 31 2 *").contains("never matches"));
    assert!(refused("0 0 30 2 *").contains("never matches"));
    assert!(refused("0 9 31 2 */7").contains("never matches"));
    assert!(refused("61 * * * *").contains("not a cron expression"));
    assert!(refused("* * *").contains("has 3 fields"));
    assert!(refused("0 0 0 1 1 * 2027").contains("has 7 fields"));
    assert!(refused("CRON_TZ=UTC 0 0 * * *").contains("timezone"));
    assert!(refused("@reboot").contains("no time"));
    assert!(refused("").contains("has 0 fields"));
}

/// Texts, and a part of what is said of each.
const MISTAKES: [(&str, &str); 73] = [
    ("5/15 * * * *", "the minute is '5/15': a step goes with a range; write 5-59/15"),
    ("0/5 14,18 * * ?", "write 0-59/5"),
    ("0 0/5 14,18 * * ?", "the minute is '0/5': a step goes with a range; write 0-59/5"),
    ("0 2/6 * * *", "the hour is '2/6': a step goes with a range; write 2-23/6"),
    ("0 9 1/5 * *", "write 1-31/5"),
    ("0 9 * FEB/3 *", "write FEB-DEC/3"),
    ("0 9 * * MON/2", "write MON-SAT/2"),
    ("0 9 * * 1/2", "write 1-6/2"),
    ("59/5 * * * *", "write 59"),
    ("/5 * * * *", "write */5"),
    ("*/0 * * * *", "the minute is '*/0': a step is 1 or more"),
    ("*/x * * * *", "'X' is no step"),
    ("0 22-2 * * *", "the hour is '22-2': it runs backwards; write 22-23,0-2"),
    ("0 23-0 * * *", "write 23,0"),
    ("0 22-2/2 * * *", "write 22,0,2"),
    ("0 9 * * FRI-MON", "the weekday is 'FRI-MON': it runs backwards; write FRI-SUN,MON"),
    ("0 9 * * 5-1", "write 5-7,1"),
    ("0 9 * * 6-0", "write 6-7"),
    ("0 9 * * FRI-MON#1", "write FRI-SUN#1,MON#1"),
    ("0 9 * NOV-FEB *", "write NOV-DEC,JAN-FEB"),
    ("0 9 25-5 * *", "write 25-31,1-5"),
    ("0 24 * * *", "the hour is '24', which is not one of 0-23; midnight is 0"),
    ("60 * * * *", "the minute is '60', which is not one of 0-59; the full hour is 0"),
    ("60 * * * * *", "the second is '60', which is not one of 0-59; the full minute is 0"),
    ("0 9 0 * *", "the day of the month is '0', which is not one of 1-31"),
    ("0 9 * 13 *", "the month is '13', which is not one of 1-12 or JAN-DEC"),
    ("0 9 * * 8", "the weekday is '8', which is not one of 0-7 or SUN-SAT; Sunday is 0 and 7"),
    ("0 9 * * MONDAY", "write MON"),
    ("0 9 * * Tues-Thurs", "write TUE-THU"),
    ("0 9 * SEPT *", "write SEP"),
    ("0 0 * * L", "L alone is no weekday"),
    ("0 0 * * 5,L", "the weekday is 'L' in '5,L': L alone is no weekday"),
    ("0 0 L-2 * *", "monthDays: [-3]"),
    ("0 0 * * MON-FRIL", "write MON-FRI#L"),
    ("0 0 * * MON#6", "after # comes 1 to 5"),
    ("0 0 MON#1 * *", "# belongs in the field of the weekday"),
    ("0 0 * * 15W", "W belongs in the field of the day"),
    ("0 0 1-5W * *", "W goes with one day"),
    ("0 ? * * *", "the hour is '?', which is not one of 0-23; ? is for the two fields of days only; write *"),
    ("H 2 * * *", "`jitter`"),
    ("0~30 2 * * *", "`jitter`"),
    ("0 9 * * MON, WED", "a list begins or ends with a comma. Write lists and ranges without blanks"),
    ("0 9 1, 15 * *", "a list begins or ends with a comma"),
    ("0, 30 9 * * *", "a list begins or ends with a comma"),
    ("0 9 * * MON,", "a list begins or ends with a comma"),
    ("0 9 * * MON, WED, FRI", "has 7 fields; a cron expression has 5"),
    ("0 9 * * MON, WED, FRI", "without blanks, such as MON,WED"),
    ("0 9 * * MON - FRI", "without blanks, such as MON,WED or MON-FRI"),
    ("0 9 1,,15 * *", "the day of the month is '1,,15', where something is missing beside a comma"),
    ("0 9 , * *", "the day of the month is ',', where something is missing beside a comma"),
    ("0 9 1 * +", "the weekday is missing after +"),
    ("0 9 * * Mo-Fr", "write MON-FRI"),
    ("0 9 * JU *", "the month is 'JU', which is not one of 1-12 or JAN-DEC"),
    ("0 9 * * Mondays#1", "write MON#1"),
    ("0 9 * * FridayL", "write FRIL"),
    ("0 9 15-L * *", "write 15-31, which goes to the last day of each month"),
    ("0 9 MON * *", "the names of weekdays belong in the last field"),
    ("0 9 * * JAN", "the names of months belong in the field of the month"),
    ("0 9 1–5 * *", "no plain letter, digit or sign"),
    ("0 10 * * ? *", "as AWS has it; six fields begin with seconds here"),
    ("0 10 ? * MON-FRI 2027", "write '0 10 ? * MON-FRI', with `start` and `end` beside it"),
    ("0 0 12 1 1 ? 2027", "has 7 fields"),
    ("0 0 12 1 1 ? *", "There is no field for the year: write '0 0 12 1 1 ?'"),
    ("cron(0 10 * * ? *)", "write what stands in them"),
    ("rate(5 minutes)", "{ every: 15m }"),
    ("@every 5m", "{ every: 15m }"),
    ("every 5 minutes", "{ every: 15m }"),
    ("Daily", "did you mean '@daily'?"),
    ("hourly5", "has 1 field;"),
    ("@dayly", "'@dayly' is not known; did you mean '@daily'?"),
    ("@MIDNITE", "did you mean '@midnight'?"),
    ("@fortnightly", "the macros are @yearly"),
    ("@daily 5", "that stands alone"),
];

#[test]
fn a_word_that_may_mean_several_things_or_nothing_is_not_guessed_at() {
    for text in ["0 9 * * MONFRI", "0 9 * JU *", "0 9 * * M-F", "0 9 * * weekdays", "0 9 * * MON-FRYDAY"] {
        assert!(
            ["SUN-SAT", "JAN-DEC"].iter().any(|end| refused(text).ends_with(end)),
            "nothing is added: {}",
            refused(text)
        );
    }
}

#[test]
fn a_common_mistake_is_told_what_to_write_instead() {
    for (text, said) in MISTAKES {
        assert!(refused(text).contains(said), "{text}: {}", refused(text));
    }
}

/// Every range that runs backwards, in every field and form: what is to be written instead is the range as it was
/// meant, from its first value on to its last over the end.
#[test]
fn what_is_written_for_a_range_that_runs_backwards_is_the_range_that_was_meant() {
    let fields: [(usize, usize, usize, Word); 6] = [
        (0, 0, 59, number),
        (1, 0, 23, number),
        (2, 1, 31, number),
        (3, 1, 12, month),
        (4, 0, 6, number),
        (4, 0, 6, weekday),
    ];
    for (place, least, most, word) in fields {
        let expression = |field: &str| {
            let mut fields = ["0", "0", "*", "*", "*"];
            fields[place] = field;
            fields.join(" ")
        };
        for (first, last, step) in (least..=most)
            .flat_map(|first| (least..first).map(move |last| (first, last)))
            .flat_map(|(first, last)| [1, 2, 5].map(|step| (first, last, step)))
        {
            let steps = if step == 1 { String::new() } else { format!("/{step}") };
            let range = format!("{}-{}{steps}", word(first), word(last));
            // SUN at the end is the end of the week.
            let Err(error) = Cron::parse(&expression(&range), CronRules::CURRENT) else {
                assert!(range.contains("-SUN"), "{range}");
                continue;
            };
            let error = error.to_string();
            let (_, instead) = error.split_once("write ").unwrap_or_else(|| panic!("{range}: {error}"));
            let meant: Vec<String> = (first..=most).chain(least..=last).step_by(step).map(word).collect();
            let [instead, meant] = [instead, &meant.join(",")]
                .map(|field| Cron::parse(&expression(field), CronRules::CURRENT).unwrap());
            assert!(instead.names_the_same(&meant), "{range}: {error}");
        }
    }
}
