//! What is said of an expression, read back by a reader of its own: it must name the very times that fire.

use std::collections::BTreeSet;

use jiff::civil::{Date, date};
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::ids::Nominal;
use crate::schedule::tests::chance::Chance;
use crate::schedule::tests::draw;
use crate::schedule::tests::of_form;
use crate::schedule::{Calendar, CronRules, Form, ScheduleError, Zone};

fn cron(text: &str) -> Cron {
    Cron::parse(text, CronRules::CURRENT).unwrap()
}

#[test]
fn cron_expressions_are_said_as_people_say_them() {
    for (text, said) in [
        ("30 2 * * *", "at 02:30, every day"),
        ("0 2,14 * * *", "at 02:00 and 14:00, every day"),
        ("* * * * *", "every minute, every day"),
        ("*/15 * * * *", "every 15 minutes, every day"),
        ("2-59/15 * * * *", "every 15 minutes from minute 2 on, every day"),
        ("0-30/10 * * * *", "at the minutes 0, 10, 20 and 30 past every hour, every day"),
        ("*/15 8-17 * * MON-FRI", "every 15 minutes, from 08:00 to 17:59, on Monday to Friday"),
        ("0 */6 * * *", "at 00:00, 06:00, 12:00 and 18:00, every day"),
        ("5 */2 * * *", "at minute 5, in the hours 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 22, every day"),
        ("0 22 L * *", "at 22:00, on the last day of the month"),
        ("0 6 * * MON#1", "at 06:00, on the 1st Monday of the month"),
        ("0 6 * * FRIL", "at 06:00, on the last Friday of the month"),
        ("0 6 15W * *", "at 06:00, on the working day nearest to the 15th of the month"),
        ("0 0 13 * FRI", "at 00:00, on the 13th of the month, and also on Friday"),
        (
            "0 0 1-7,15 1,3 *",
            "at 00:00, on the 1st to the 7th and the 15th of the month, in January and March",
        ),
        ("0 0 * * 0,6", "at 00:00, on Saturday and Sunday"),
        ("*/10 * * * * *", "every 10 seconds, every day"),
        ("0 30 2 * * *", "at 02:30, every day"),
        ("30 0 9,17 * * *", "at 09:00:30 and 17:00:30, every day"),
        ("5 0 * * * *", "at second 5, at minute 0 past every hour, every day"),
        ("@hourly", "at minute 0 past every hour, every day"),
        ("@weekly", "at 00:00, on Sunday"),
        ("@midnight", "at 00:00, every day"),
        ("30 * * * * *", "at second 30 of every minute, every day"),
        ("*/10 */15 * * * *", "every 10 seconds, at the minutes 0, 15, 30 and 45 past every hour, every day"),
        (
            "0 9 * * MON-FRI#1",
            "at 09:00, on the 1st Monday, the 1st Tuesday, the 1st Wednesday, the 1st Thursday and the 1st Friday of \
             the month",
        ),
        ("0 9 * * SUN-SUN", "at 09:00, on Sunday"),
        ("0 9 L,LW * *", "at 09:00, on the last day and the last working day of the month"),
        ("0 9 */100,1-7 * MON", "at 09:00, on the 1st to the 7th of the month, but only if that is Monday"),
        ("0 9 13 * +FRI", "at 09:00, on the 13th of the month, but only if that is Friday"),
        (
            "0 9 */2 * 1",
            "at 09:00, on every 2nd day from the 1st to the 31st of the month, but only if that is Monday",
        ),
        ("0 9 1-31 * *", "at 09:00, every day"),
        ("0 9 * * 1,5L", "at 09:00, on Monday and the last Friday of the month"),
    ] {
        assert_eq!(words(&cron(text)), said, "{text}");
    }
}

/// Words, read back.
struct Heard {
    seconds: BTreeSet<i8>,
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    days: Vec<HeardDay>,
    weekdays: Vec<HeardDay>,
    both: bool,
    months: Vec<i8>,
}

/// One item of a list of days.
#[derive(Debug)]
enum HeardDay {
    Span(i8, i8, i8),
    LastDay,
    LastWorkingDay,
    WorkingDayNextTo(i8),
    Weekdays(i8, i8),
    Nth(i8, i8),
    LastOfWeekday(i8),
}

fn place(names: &[&str], name: &str) -> i8 {
    let at = names.iter().position(|known| *known == name);
    i8::try_from(at.unwrap_or_else(|| panic!("a name: {name}"))).unwrap()
}

fn items<'a>(list: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    list.split(", ").flat_map(move |items| items.split(word))
}

/// `0, 2 and 4 to 6`.
fn numbers(list: &str) -> BTreeSet<i8> {
    let span = |item: &str| {
        let (first, last) = item.split_once(" to ").unwrap_or((item, item));
        first.parse::<i8>().unwrap()..=last.parse::<i8>().unwrap()
    };
    items(list, " and ").flat_map(span).collect()
}

fn ordinal_of(text: &str) -> i8 {
    text.trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .parse()
        .unwrap_or_else(|_| panic!("an ordinal: {text}"))
}

/// `every 15 minutes from minute 2 on`, `at the minutes 0 and 5`.
fn sixty(text: &str, unit: &str) -> BTreeSet<i8> {
    let text = text.strip_suffix(" of every minute").unwrap_or(text);
    if text == format!("every {unit}") {
        return (0..60).collect();
    }
    if let Some(rest) = text.strip_prefix("every ") {
        let (step, first) = rest.split_once(&format!(" {unit}s")).unwrap();
        let first = first
            .strip_prefix(&format!(" from {unit} "))
            .map_or("0", |first| first.strip_suffix(" on").unwrap());
        return (first.parse().unwrap()..60).step_by(step.parse().unwrap()).collect();
    }
    let one = text.strip_prefix(&format!("at {unit} "));
    numbers(one.unwrap_or_else(|| {
        text.strip_prefix(&format!("at the {unit}s ")).unwrap_or_else(|| panic!("{text}"))
    }))
}

fn day(item: &str) -> HeardDay {
    let weekday = |name: &str| place(&WEEKDAYS, name);
    if let Some(rest) = item.strip_prefix("every ") {
        let (step, span) = rest.split_once(" day from the ").unwrap();
        let (first, last) = span.split_once(" to the ").unwrap();
        return HeardDay::Span(ordinal_of(first), ordinal_of(last), ordinal_of(step));
    }
    let Some(the) = item.strip_prefix("the ") else {
        let (first, last) = item.split_once(" to ").unwrap_or((item, item));
        return HeardDay::Weekdays(weekday(first), weekday(last));
    };
    if let Some((first, last)) = the.split_once(" to the ") {
        if first != "working day nearest" {
            return HeardDay::Span(ordinal_of(first), ordinal_of(last), 1);
        }
        return HeardDay::WorkingDayNextTo(ordinal_of(last));
    }
    match the.split_once(' ') {
        Some(("last", "day")) => HeardDay::LastDay,
        Some(("last", "working day")) => HeardDay::LastWorkingDay,
        Some(("last", name)) => HeardDay::LastOfWeekday(weekday(name)),
        Some((nth, name)) => HeardDay::Nth(weekday(name), ordinal_of(nth)),
        None => HeardDay::Span(ordinal_of(the), ordinal_of(the), 1),
    }
}

impl Heard {
    fn of(words: &str) -> Self {
        let (time, days) = match words.split_once(", every day") {
            Some((time, rest)) => (time, format!("every day{rest}")),
            None => words.split_once(", on ").map(|(time, rest)| (time, rest.to_owned())).unwrap(),
        };
        let (days, months) = match days.split_once(", in ") {
            Some((days, months)) => (days, Some(months)),
            None => (days.as_str(), None),
        };
        let months = months.map_or((1..=12).collect(), |months| {
            let name = |name: &str| place(&MONTHS, name) + 1;
            let span = |item: &str| {
                let (first, last) = item.split_once(" to ").unwrap_or((item, item));
                name(first)..=name(last)
            };
            items(months, " and ").flat_map(span).collect()
        });
        let (left, right, both) =
            match (days.split_once(", and also on "), days.split_once(", but only if that is ")) {
                (Some((left, right)), None) => (left, Some(right), false),
                (None, Some((left, right))) => (left, Some(right), true),
                (None, None) => (days, None, false),
                _ => panic!("{words}"),
            };
        let word = if both { " or " } else { " and " };
        let list = |text: &str, word| -> Vec<HeardDay> {
            match text {
                "every day" => vec![HeardDay::Span(1, 31, 1)],
                text => items(text.strip_suffix(" of the month").unwrap_or(text), word).map(day).collect(),
            }
        };
        let days = list(left, " and ");
        let weekdays = right.map(|right| list(right, word)).unwrap_or_default();
        let (seconds, minutes, hours) = time_of_day(time);
        Self { seconds, minutes, hours, days, weekdays, both, months }
    }

    fn is_day(&self, date: Date) -> bool {
        let any = |days: &[HeardDay]| days.iter().any(|day| day.is(date));
        let of_days = match self.both {
            true => any(&self.days) && any(&self.weekdays),
            false => any(&self.days) || any(&self.weekdays),
        };
        of_days && self.months.contains(&date.month())
    }
}

fn time_of_day(text: &str) -> (BTreeSet<i8>, BTreeSet<i8>, BTreeSet<i8>) {
    if text.starts_with("at ") && text.contains(':') && !text.contains("from") {
        let times: Vec<Vec<i8>> = items(&text[3..], " and ")
            .map(|time| time.split(':').map(|number| number.parse().unwrap()).collect())
            .collect();
        let hours: BTreeSet<i8> = times.iter().map(|time| time[0]).collect();
        let minutes: BTreeSet<i8> = times.iter().map(|time| time[1]).collect();
        let seconds: BTreeSet<i8> = times.iter().map(|time| time.get(2).copied().unwrap_or(0)).collect();
        assert_eq!((hours.len() * minutes.len(), seconds.len()), (times.len(), 1), "{text}");
        return (seconds, minutes, hours);
    }
    let (text, hours) = if let Some((text, hours)) = text.split_once(", in the hours ") {
        (text, numbers(hours))
    } else if let Some((text, span)) = text.rsplit_once(", from ").filter(|(_, span)| span.contains(':')) {
        let (first, last) = span.split_once(":00 to ").unwrap();
        let last = last.strip_suffix(":59").unwrap();
        (text, (first.parse().unwrap()..=last.parse().unwrap()).collect())
    } else {
        (text.strip_suffix(" past every hour").unwrap_or(text), (0..24).collect())
    };
    if !text.contains("second") {
        return ([0].into(), sixty(text, "minute"), hours);
    }
    match [", at minute ", ", at the minutes "].iter().find_map(|between| text.find(between)) {
        Some(at) => (sixty(&text[..at], "second"), sixty(&text[at + 2..], "minute"), hours),
        None => (sixty(text, "second"), (0..60).collect(), hours),
    }
}

impl HeardDay {
    fn is(&self, date: Date) -> bool {
        let on = |by: i64| date + SignedDuration::from_hours(24 * by);
        let works = |date: Date| !matches!(date.weekday().to_sunday_zero_offset(), 0 | 6);
        let weekday = date.weekday().to_sunday_zero_offset();
        match *self {
            Self::Span(first, last, step) => {
                (first..=last).contains(&date.day()) && (date.day() - first) % step == 0
            }
            Self::LastDay => on(1).month() != date.month(),
            Self::LastWorkingDay => {
                works(date) && (1..=3).all(|by| on(by).month() != date.month() || !works(on(by)))
            }
            Self::WorkingDayNextTo(day) => Date::new(date.year(), date.month(), day).is_ok_and(|meant| {
                let days = [0, -1, 1, -2, 2].map(|by| meant + SignedDuration::from_hours(24 * by));
                days.into_iter().find(|day| day.month() == meant.month() && works(*day)) == Some(date)
            }),
            // A week begins with Monday.
            Self::Weekdays(first, last) => {
                let from_monday = |day: i8| (day + 6) % 7;
                (from_monday(first)..=from_monday(last)).contains(&from_monday(weekday))
            }
            Self::Nth(day, nth) => weekday == day && (date.day() - 1) / 7 + 1 == nth,
            Self::LastOfWeekday(day) => weekday == day && on(7).month() != date.month(),
        }
    }
}

fn calendar(cron: Cron) -> Calendar {
    of_form(Form::Cron(cron), Zone::utc())
}

#[test]
fn the_words_of_three_thousand_random_expressions_name_their_next_fifty_firings_and_no_other_time() {
    let mut chance = Chance::new("words of expressions");
    let mut told = 0;
    while told < 3_000 {
        let text = draw::expression(&mut chance);
        let cron = match Cron::parse(&text, CronRules::CURRENT) {
            Ok(cron) => cron,
            Err(ScheduleError::Never(_)) => continue,
            Err(error) => panic!("{error}; {chance}"),
        };
        told += 1;
        let said = words(&cron);
        let heard = Heard::of(&said);
        let first = date(2020 + i16::try_from(chance.below(20)).unwrap(), 1, 1)
            + SignedDuration::from_hours(24 * chance.below(365) as i64);
        let from = Offset::UTC.to_timestamp(first.at(0, 0, 0, 0)).unwrap();
        let calendar = calendar(cron);
        let before = Nominal::at_or_before(from - SignedDuration::from_secs(1));
        let until = Nominal::at_or_before(from + SignedDuration::from_hours(24 * 365 * 5));
        let mut firings = calendar.due_between(before, until).take(50).map(Nominal::timestamp).peekable();
        let mut left = 50;
        for day in std::iter::successors(Some(first), |day| day.tomorrow().ok()).take(365 * 5) {
            if left == 0 {
                break;
            }
            if !heard.is_day(day) {
                continue;
            }
            let at = |hour, minute, second| -> Timestamp {
                Offset::UTC.to_timestamp(day.at(hour, minute, second, 0)).unwrap()
            };
            let minutes =
                heard.hours.iter().flat_map(|hour| heard.minutes.iter().map(move |minute| (*hour, *minute)));
            let times = minutes
                .flat_map(|(hour, minute)| heard.seconds.iter().map(move |second| (hour, minute, *second)));
            for (hour, minute, second) in times.take(left) {
                assert_eq!(
                    firings.next(),
                    Some(at(hour, minute, second)),
                    "'{text}' is said as '{said}'; {chance}"
                );
                left -= 1;
            }
        }
        assert_eq!(firings.next(), None, "'{text}' is said as '{said}'; {chance}");
    }
}
