//! Rules in words: what a cron expression, a period or a list of instants says.

use super::cron;
use crate::schedule::{Form, Frequency, Recurrence, Rule};

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
        Form::Cron(cron) => cron::words(cron),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_said_as_it_is_written() {
        assert_eq!(span(900), "15m");
        assert_eq!(span(90_061), "1d1h1m1s");
    }
}
