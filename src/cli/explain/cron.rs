//! A cron expression in words, made from the very values that fire, so that it cannot say anything else.

use super::joined::{joined, list};
use crate::schedule::{Count, Cron, Days, OfMonth, OfWeek, each};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
/// More times of day than this are said as minutes of hours.
const MOST_TIMES: usize = 6;
/// More days than this, evenly apart, are said as a step.
const MOST_DAYS: usize = 3;

/// The values of a set, in order.
fn values(set: impl Into<u64>) -> Vec<usize> {
    each(set.into()).map(usize::from).collect()
}

/// What an expression says.
pub(super) fn words(cron: &Cron) -> String {
    let times = cron.times();
    let mut said = time(&values(times.seconds), &values(times.minutes), &values(times.hours));
    said.push_str(&days(cron.days()));
    let months = values(cron.months());
    if months.len() < 12 {
        said.push_str(&format!(", in {}", list(&runs(&months, |month| MONTHS[month - 1].to_owned()))));
    }
    said
}

/// When in the day.
fn time(seconds: &[usize], minutes: &[usize], hours: &[usize]) -> String {
    if let [second] = seconds
        && minutes.len() * hours.len() <= MOST_TIMES
    {
        let second = if *second == 0 { String::new() } else { format!(":{second:02}") };
        let of_hour = |hour: &usize| {
            let times = minutes.iter().map(|minute| format!("{hour:02}:{minute:02}{second}"));
            times.collect::<Vec<_>>()
        };
        return format!("at {}", list(&hours.iter().flat_map(of_hour).collect::<Vec<_>>()));
    }
    let every_minute = minutes.len() == 60;
    let minute = match (seconds, of_sixty(seconds, "second")) {
        ([0], _) => of_sixty(minutes, "minute"),
        (_, second) if every_minute && second.starts_with("at ") => format!("{second} of every minute"),
        (_, second) if every_minute => second,
        (_, second) => format!("{second}, {}", listed(minutes, "minute")),
    };
    // A minute that is not each one is one of an hour.
    let of_an_hour = !every_minute && (seconds != [0] || minute.starts_with("at "));
    let apart = |pair: &[usize]| pair[1] - pair[0];
    let last = |hours: &[usize]| hours[hours.len() - 1];
    match hours {
        hours if hours.len() == 24 && of_an_hour => format!("{minute} past every hour"),
        hours if hours.len() == 24 => minute,
        [hour] => format!("{minute}, from {hour:02}:00 to {hour:02}:59"),
        hours if hours.windows(2).all(|pair| apart(pair) == 1) => {
            format!("{minute}, from {:02}:00 to {:02}:59", hours[0], last(hours))
        }
        _ => format!("{minute}, in the hours {}", list(&runs(hours, |hour| hour.to_string()))),
    }
}

/// Some of the sixty minutes or seconds.
fn of_sixty(values: &[usize], unit: &str) -> String {
    let step = values.get(1).map_or(60, |second| second - values[0]);
    let even = values.windows(2).all(|pair| pair[1] - pair[0] == step) && values.len() * step == 60;
    match values {
        values if values.len() == 60 => format!("every {unit}"),
        [_] => listed(values, unit),
        [0, ..] if even => format!("every {step} {unit}s"),
        [first, ..] if even => format!("every {step} {unit}s from {unit} {first} on"),
        values => listed(values, unit),
    }
}

/// Some minutes or seconds, one by one.
fn listed(values: &[usize], unit: &str) -> String {
    match values {
        [value] => format!("at {unit} {value}"),
        values => format!("at the {unit}s {}", list(&runs(values, |value| value.to_string()))),
    }
}

/// On which days: of the month or of the week, on either, or on those that are both.
fn days(days: &Days) -> String {
    let Days { of_month, of_week, count } = days;
    let (by_number, by_weekday) = (month_days(of_month), weekdays(of_week));
    match count {
        Count::All => ", every day".to_owned(),
        Count::OfMonth => format!(", on {}", list(&by_number) + OF_MONTH),
        Count::OfWeek => format!(", on {}", list(&by_weekday) + of_which(of_week)),
        Count::Either => format!(
            ", on {}, and also on {}",
            list(&by_number) + OF_MONTH,
            list(&by_weekday) + of_which(of_week)
        ),
        Count::Both => format!(
            ", on {}, but only if that is {}",
            list(&by_number) + OF_MONTH,
            joined(&by_weekday, "or") + of_which(of_week)
        ),
    }
}

const OF_MONTH: &str = " of the month";

/// Some weekdays are those of a month.
fn of_which(days: &OfWeek) -> &'static str {
    let of_months = days.nth.iter().chain(&days.nth_from_end).any(|set| set & !days.every != 0);
    if of_months { OF_MONTH } else { "" }
}

fn month_days(days: &OfMonth) -> Vec<String> {
    let the = |day: usize| format!("the {}", ordinal(day));
    let plain = values(days.days);
    let mut said = match step(&plain) {
        Some(step) => {
            let (first, last) = (plain[0], plain[plain.len() - 1]);
            vec![format!("every {} day from {} to {}", ordinal(step), the(first), the(last))]
        }
        None => runs(&plain, the),
    };
    said.extend(values(days.near).into_iter().map(|day| format!("the working day nearest to {}", the(day))));
    said.extend(values(days.from_end).into_iter().map(|day| match day {
        1 => "the last day".to_owned(),
        day => format!("the {} last day", ordinal(day)),
    }));
    said.extend(days.last_working.then(|| "the last working day".to_owned()));
    said
}

/// How far apart days are, if all are apart alike, and neither few nor in a row.
fn step(days: &[usize]) -> Option<usize> {
    let step = days.get(1)? - days[0];
    let even = days.windows(2).all(|pair| pair[1] - pair[0] == step);
    (even && step > 1 && days.len() > MOST_DAYS).then_some(step)
}

fn weekdays(days: &OfWeek) -> Vec<String> {
    // From Monday on.
    let week = |set: u8| values(set >> 1 | (set & 1) << 6).into_iter().map(|day| day + 1);
    let name = |day: usize| WEEKDAYS[day % 7];
    let mut said = runs(&week(days.every).collect::<Vec<_>>(), |day| name(day).to_owned());
    for (nth, set) in (1..).zip(days.nth) {
        said.extend(week(set & !days.every).map(|day| format!("the {} {}", ordinal(nth), name(day))));
    }
    for (nth, set) in (1..).zip(days.nth_from_end) {
        let last = if nth == 1 { String::new() } else { ordinal(nth) + " " };
        said.extend(week(set & !days.every).map(|day| format!("the {last}last {}", name(day))));
    }
    said
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// Values in words, three and more in a row as a range.
fn runs(values: &[usize], word: impl Fn(usize) -> String) -> Vec<String> {
    values
        .chunk_by(|a, b| a + 1 == *b)
        .flat_map(|run| match run {
            [first, _, .., last] => vec![format!("{} to {}", word(*first), word(*last))],
            few => few.iter().map(|value| word(*value)).collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests;
