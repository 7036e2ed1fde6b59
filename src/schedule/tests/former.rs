//! That old records mean what they meant: by the rules of before an expression is what croner 4 made of it, forms
//! included that were never meant to be.

use croner::parser::{CronParser, Seconds, Year};
use croner::time::Weekday;
use jiff::civil::date;

use super::*;

/// A field of parts that croner takes, or takes by accident, or refuses.
fn field(chance: &mut Chance, least: usize, most: usize, special: &[&str]) -> String {
    let part = |chance: &mut Chance| {
        let value = |chance: &mut Chance| least + chance.below(most + 1 - least);
        match chance.below(12) {
            0..=3 => value(chance).to_string(),
            4 | 5 => {
                let (a, b) = (value(chance), value(chance));
                format!("{}-{}", a.min(b), a.max(b))
            }
            6 => format!("{least}-{}/{}", value(chance), 1 + chance.below(9)),
            7 => format!("*/{}", 1 + chance.below(40)),
            _ => chance.one_of(special).to_owned(),
        }
    };
    match chance.below(4) {
        0 => "*".to_owned(),
        1 => format!("{},{}", part(chance), part(chance)),
        _ => part(chance),
    }
}

const TIMES: [&str; 5] = ["", "MON", "JAN", "07", "3,"];
const DAYS: [&str; 14] =
    ["L", "LW", "L,LW", "15W", "1W,31W", "lw,3", "?", "?/3", "15W7", "LWL", "LW,5-9", "5,", "JUL", "*/31"];
const WEEKDAYS: [&str; 26] = [
    "SUN",
    "SUN-SUN",
    "MON-SUN",
    "0-SUN",
    "SUN-7",
    "7-7",
    "sat-sun",
    "FRI#1",
    "MON-FRI#2",
    "5L",
    "5#L",
    "5##L",
    "1#4L",
    "L",
    "5,L",
    "?",
    "+MON",
    "+5#5",
    "+*",
    "+?",
    "*/2#1",
    "*/3#L",
    "1-5/2#3",
    "SUN-SUN#2",
    "FEB",
    "+",
];

#[test]
fn by_the_rules_of_before_an_expression_names_the_days_and_times_that_croner_named() {
    let mut chance = Chance::new("the rules of before");
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    let (mut read, mut different) = (0, 0);
    while read < 3_000 {
        let fields = [
            field(&mut chance, 0, 59, &TIMES),
            field(&mut chance, 0, 23, &TIMES),
            field(&mut chance, 1, 31, &DAYS),
            field(&mut chance, 1, 12, &["JAN", "feb-APR", "Dec,MON"]),
            field(&mut chance, 0, 7, &WEEKDAYS),
        ];
        let text = fields.join(" ");
        // An empty field makes another number of them.
        let (Ok(theirs), 5) = (parser.parse(&text), text.split_whitespace().count()) else { continue };
        let ours = match Cron::parse(&text, CronRules::Croner) {
            Ok(ours) => ours,
            Err(ScheduleError::Never(_)) => continue,
            Err(error) => panic!("'{text}' was read before: {error}; {chance}"),
        };
        read += 1;
        let names = |hour, minute| {
            let time = date(2000, 1, 1).at(hour, minute, 0, 0).time();
            let of = |set: &croner::CronComponent, value: i8| {
                set.values().contains(&u16::from(value.unsigned_abs()))
            };
            assert_eq!(
                ours.times().at_or_after(time) == Some(time),
                of(&theirs.pattern.hours, hour) && of(&theirs.pattern.minutes, minute),
                "'{text}' at {time}; {chance}"
            );
        };
        (0..24).for_each(|hour| names(hour, 17));
        (0..60).for_each(|minute| names(9, minute));
        let first = date(1996 + i16::try_from(chance.below(40)).unwrap(), 1, 1);
        let days = |cron: &Cron| {
            std::iter::successors(Some(first), |day| day.tomorrow().ok())
                .take(366)
                .map(|day| cron.next_date(day) == Some(day))
                .collect::<Vec<bool>>()
        };
        let ours_days = days(&ours);
        for (day, ours) in std::iter::successors(Some(first), |day| day.tomorrow().ok()).zip(&ours_days) {
            assert_eq!(*ours, croners(&theirs, day), "'{text}' on {day}; {chance}");
        }
        // Where both rules mean the same, what is stored stays what it was.
        if let Ok(now) = Cron::parse(&text, CronRules::Vixie) {
            let same = now.identity() == ours.identity();
            assert_eq!(ours.identity(), text.trim());
            assert!(!same || days(&now) == ours_days, "'{text}'; {chance}");
            different += usize::from(!same);
        }
    }
    assert!(different > 50, "only {different}");
}

fn croners(cron: &croner::Cron, date: jiff::civil::Date) -> bool {
    use Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let weekdays = [Sunday, Monday, Tuesday, Wednesday, Thursday, Friday, Saturday];
    let weekday = weekdays[usize::from(date.weekday().to_sunday_zero_offset().unsigned_abs())];
    let (month, day) = (u32::from(date.month().unsigned_abs()), u32::from(date.day().unsigned_abs()));
    cron.pattern.month_match(month).unwrap()
        && cron.pattern.day_match(i32::from(date.year()), month, day, weekday).unwrap()
}

#[test]
fn the_two_rules_differ_where_they_are_said_to_and_nowhere_else() {
    let identity = |text: &str| Cron::parse(text, CronRules::Vixie).unwrap().identity();
    for text in [
        "0 9 */2 * 1",
        "0 9 1-7 * */7",
        "0 9 L,LW * *",
        "0 9 LW,15,L * *",
        "0 9 * * SUN-SUN",
        "0 9 * * 0-SUN",
        "0 9 */1 * MON",
        "0 9 13 * */3",
        "0 9 */2 * 0-7",
        "0 9 L,LW * +?",
    ] {
        assert_eq!(identity(text), format!("{text} by Vixie's rules"));
        assert_eq!(Cron::parse(text, CronRules::Croner).unwrap().identity(), text);
    }
    for text in [
        "30 2 * * *",
        "0 9 */2 * *",
        "0 9 * * */2",
        "0 9 13 * FRI",
        "0 9 */1 * */1",
        "0 9 */100,1-7 * +MON",
        "0 9 LW * *",
        "0 9 L * *",
        "0 9 * * MON-SUN",
        "0 9 * * 7-7",
        "0 9 * * MON-FRI#1",
        "0 9 ? * MON",
        "@daily",
        "@midnight",
    ] {
        assert_eq!(identity(text), text);
    }
}
