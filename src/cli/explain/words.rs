//! Rules in words: what a cron expression, a period or a list of instants says.

use crate::schedule::{Form, Frequency, Recurrence, Rule};

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

/// What a rule is called in the file, and what it says there.
pub(super) fn form(rule: &Rule) -> (&'static str, Option<String>) {
    match &rule.form {
        Form::Cron(cron) => ("cron", Some(cron.as_str().to_owned())),
        Form::Every(every) => ("every", Some(span(every.period_secs()))),
        Form::At(_) => ("at", None),
        Form::Recurrence(_) => ("recurrence", None),
    }
}

/// What a rule says, in words.
pub(super) fn words(rule: &Rule) -> String {
    match &rule.form {
        Form::Cron(text) => cron(text.as_str()),
        Form::Every(every) => format!("every {} of real time", span(every.period_secs())),
        Form::At(times) => match &**times {
            [] => "never".to_owned(),
            [one] => format!("once, at {one}"),
            [first, .., last] => format!("{} times, from {first} to {last}", times.len()),
        },
        Form::Recurrence(of) => recurrence(of),
    }
}

/// How far apart the units of a recurrence are, and from where they count.
fn recurrence(recurrence: &Recurrence) -> String {
    let (frequency, interval) = recurrence.period();
    let unit = match frequency {
        Frequency::Minute => "minute",
        Frequency::Hour => "hour",
        Frequency::Day => "day",
        Frequency::Week => "week",
        Frequency::Month => "month",
    };
    let units = if interval == 1 { unit.to_owned() } else { format!("{interval} {unit}s") };
    format!("every {units} from {} on, at the times that its schedule names", recurrence.start())
}

/// Seconds as a duration is written in the file.
pub(in crate::cli) fn span(seconds: i64) -> String {
    let mut rest = seconds;
    let mut text = String::new();
    for (unit, length) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= length {
            text.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    text
}

/// A cron expression in words.
fn cron(text: &str) -> String {
    let long = match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => text,
    }
    .to_ascii_uppercase();
    let fields: Vec<&str> = long.split_whitespace().collect();
    let (second, minute, hour, day, month, weekday) = match fields.as_slice() {
        [minute, hour, day, month, weekday] => ("0", *minute, *hour, *day, *month, *weekday),
        [second, minute, hour, day, month, weekday] => (*second, *minute, *hour, *day, *month, *weekday),
        _ => return text.to_owned(),
    };
    let (Some(seconds), Some(minutes), Some(hours)) =
        (values(second, 0, 59, &[]), values(minute, 0, 59, &[]), values(hour, 0, 23, &[]))
    else {
        return text.to_owned();
    };
    let mut said = time(&seconds, &minutes, &hours);
    said.push_str(&days(day, weekday));
    if let Some(months) = values(month, 1, 12, &MONTHS).filter(|months| months.len() < 12) {
        said.push_str(&format!(", in {}", list(&runs(&months, |month| MONTHS[month - 1].to_owned()))));
    }
    said
}

/// The values of a field, in order; `None` when it has a form that is not numbers. `names` are those of the values
/// from `least` on; three letters are enough.
fn values(field: &str, least: usize, most: usize, names: &[&str]) -> Option<Vec<usize>> {
    let value = |text: &str| {
        let named =
            names.iter().position(|name| name.get(..3).is_some_and(|short| short.eq_ignore_ascii_case(text)));
        named
            .map(|at| at + least)
            .or_else(|| text.parse().ok())
            .filter(|value| (least..=most).contains(value))
    };
    let mut all = vec![false; most + 1];
    for item in field.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step.parse::<usize>().ok().filter(|step| *step > 0)?)),
            None => (item, None),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (least, most),
            Some((from, to)) => (value(from)?, value(to)?),
            // A step from a single value on goes to the end.
            None => (value(range)?, if step.is_some() { most } else { value(range)? }),
        };
        if from > to {
            return None;
        }
        (from..=to).step_by(step.unwrap_or(1)).for_each(|value| all[value] = true);
    }
    Some(all.iter().enumerate().filter(|(_, there)| **there).map(|(value, _)| value).collect())
}

/// When in the day.
fn time(seconds: &[usize], minutes: &[usize], hours: &[usize]) -> String {
    if seconds == [0] && minutes.len() * hours.len() <= MOST_TIMES {
        let times =
            hours.iter().flat_map(|hour| minutes.iter().map(move |minute| format!("{hour:02}:{minute:02}")));
        return format!("at {}", list(&times.collect::<Vec<_>>()));
    }
    let within = match seconds {
        [0] => None,
        seconds => Some(of_sixty(seconds, "second")),
    };
    let minute = match (within, of_sixty(minutes, "minute")) {
        (None, minute) => minute,
        (Some(second), minute) if minute == "every minute" => second,
        (Some(second), minute) => format!("{second}, {minute}"),
    };
    let apart = |pair: &[usize]| pair[1] - pair[0];
    let last = |hours: &[usize]| hours[hours.len() - 1];
    match hours {
        hours if hours.len() == 24 && minute.starts_with("at ") => format!("{minute} past every hour"),
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
        [value] => format!("at {unit} {value}"),
        [0, ..] if even => format!("every {step} {unit}s"),
        [first, ..] if even => format!("every {step} {unit}s from {unit} {first} on"),
        values => format!("at the {unit}s {}", list(&runs(values, |value| value.to_string()))),
    }
}

/// On which days: of the month or of the week, and where both are restricted on either.
fn days(day: &str, weekday: &str) -> String {
    let any = |field: &str| field.starts_with('*') && !field.contains('/') || field == "?";
    match (any(day), any(weekday)) {
        (true, true) => ", every day".to_owned(),
        (false, true) => format!(", on {}", of_month(day)),
        (true, false) => format!(", on {}", of_week(weekday)),
        (false, false) => format!(", on {}, and also on {}", of_month(day), of_week(weekday)),
    }
}

fn of_month(field: &str) -> String {
    let one = |item: &str| match item {
        "L" => "the last day".to_owned(),
        "LW" => "the last working day".to_owned(),
        _ => match item.strip_suffix('W').and_then(|day| day.parse().ok()) {
            Some(day) => format!("the working day nearest to the {}", ordinal(day)),
            None => item.to_owned(),
        },
    };
    let days = match values(field, 1, 31, &[]) {
        Some(days) => list(&runs(&days, |day| format!("the {}", ordinal(day)))),
        None => list(&field.split(',').map(one).collect::<Vec<_>>()),
    };
    format!("{days} of the month")
}

fn of_week(field: &str) -> String {
    let day = |text: &str| values(text, 0, 7, &WEEKDAYS).and_then(|days| Some(WEEKDAYS[days.first()? % 7]));
    let one = |item: &str| match (item.split_once('#'), item.strip_suffix('L')) {
        (Some((weekday, nth)), _) => Some(format!("the {} {}", ordinal(nth.parse().ok()?), day(weekday)?)),
        (_, Some(weekday)) => Some(format!("the last {}", day(weekday)?)),
        _ => day(item).map(str::to_owned),
    };
    if let Some(mut days) = values(field, 0, 7, &WEEKDAYS) {
        // From Monday on; Sunday is 0 and 7.
        days.iter_mut().filter(|day| **day == 0).for_each(|sunday| *sunday = 7);
        days.sort_unstable();
        days.dedup();
        return list(&runs(&days, |day| WEEKDAYS[day % 7].to_owned()));
    }
    match field.split(',').map(one).collect::<Option<Vec<_>>>() {
        Some(days) => format!("{} of the month", list(&days)),
        None => format!("the weekdays {field}"),
    }
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

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (
                "5 */2 * * *",
                "at minute 5, in the hours 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20 and 22, every day",
            ),
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
            ("@hourly", "at minute 0 past every hour, every day"),
            ("@weekly", "at 00:00, on Sunday"),
        ] {
            assert_eq!(cron(text), said, "{text}");
        }
    }

    #[test]
    fn a_period_is_said_as_it_is_written() {
        assert_eq!(span(900), "15m");
        assert_eq!(span(90_061), "1d1h1m1s");
    }
}
