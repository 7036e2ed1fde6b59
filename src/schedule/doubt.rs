//! What is valid in a cron expression and hardly meant.

use super::cron::{Cron, CronRules};
use super::days::Count;
use super::field::{self, DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, WEEKDAYS};

impl Cron {
    /// What is hardly meant, each as a sentence or two that say what it means here, and what to write instead.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let upper = self.as_str().to_ascii_uppercase();
        let fields: Vec<&str> = upper.split_whitespace().collect();
        let mut doubts = Vec::new();
        if let [.., day, _, weekday] = fields[..] {
            doubts.extend(self.either(day, weekday));
            // Every day is every day, whatever the numbers are.
            if self.days().count != Count::All {
                doubts.extend(numbers_of_quartz(day, weekday));
            }
        }
        let known = [SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY];
        // A macro is one word, and has nothing doubtful.
        let known = known.get(known.len().saturating_sub(fields.len().max(5))..).unwrap_or_default();
        doubts.extend(known.iter().zip(&fields).filter_map(|(field, text)| long_step(field, text)));
        doubts
    }

    /// Both day fields are restricted, and either will do; one of them may name every day.
    fn either(&self, day: &str, weekday: &str) -> Option<String> {
        let stars = [day, weekday].iter().any(|field| field.starts_with(['*', '?', '+']));
        let (numbers, weekdays) = self.days().are_all();
        if stars || (numbers && weekdays) {
            return None;
        }
        let text = self.as_str();
        let both = text.rsplit_once(char::is_whitespace).map(|(before, last)| format!("{before} +{last}"))?;
        let hint = match Self::parse(&both, CronRules::CURRENT) {
            Ok(_) => format!(". If both must be true of a day, write + before the weekday: {both}"),
            Err(_) => String::new(),
        };
        Some(format!(
            "the days are those that '{day}' names, and also those that '{weekday}' names, as crontab(5) has it{hint}"
        ))
    }
}

/// `?` comes from schedulers that number the weekdays otherwise.
fn numbers_of_quartz(day: &str, weekday: &str) -> Option<String> {
    if !day.contains('?') {
        return None;
    }
    let (here, there) = (named(weekday, 0)?, named(weekday, 1)?);
    (here != weekday && here != there).then(|| {
        format!(
            "'?' comes from Quartz and AWS, where Sunday is 1: '{weekday}' means {there} there. Here Sunday is 0 or 7, \
             and it means {here}; write the names of the weekdays"
        )
    })
}

/// A field of weekdays with names for its numbers; `None` if there is no weekday of such a number where Sunday is
/// `first`.
fn named(weekday: &str, first: usize) -> Option<String> {
    let mut text = String::new();
    let mut before = None;
    for letter in weekday.chars() {
        // What follows # or / counts something else.
        match letter.to_digit(10).and_then(|digit| usize::try_from(digit).ok()) {
            Some(number) if !matches!(before, Some('#' | '/')) => {
                let at = number.checked_sub(first).filter(|_| number <= 7)?;
                text.push_str(WEEKDAYS[at % 7]);
            }
            _ => text.push(letter),
        }
        before = Some(letter);
    }
    Some(text)
}

/// A step that is longer than what it goes through, so that it names one value.
fn long_step(field: &field::Field, text: &str) -> Option<String> {
    let of_days = matches!(field.name, "day of the month" | "weekday");
    // `*/100,1-7` is how crontabs say that both day fields must match.
    if of_days && text.contains(',') {
        return None;
    }
    let (part, step, value) = text.split(',').find_map(|part| {
        let (step, value) = field::lone_step(field, part)?;
        Some((part, step, value))
    })?;
    let unit = match field.name {
        "second" => "s",
        "minute" => "m",
        "hour" => "h",
        _ => "",
    };
    let instead = match part.starts_with('*') && !unit.is_empty() {
        true => format!("; a period of that length is {{ every: {step}{unit} }}"),
        false => String::new(),
    };
    Some(format!(
        "the step of '{part}' is longer than the range that it goes through, so it names the {} {value} and no \
         other{instead}",
        field.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubts(text: &str) -> Vec<String> {
        Cron::parse(text, CronRules::CURRENT).unwrap().doubts()
    }

    #[test]
    fn what_is_hardly_meant_is_told_with_what_to_write_instead() {
        for (text, said) in [
            (
                "0 0 13 * fri",
                "the days are those that '13' names, and also those that 'FRI' names, as crontab(5) has it. If both must be \
                 true of a day, write + before the weekday: 0 0 13 * +fri",
            ),
            ("0 0 0 1-7 * MON", "write + before the weekday: 0 0 0 1-7 * +MON"),
            ("0 9 L * 1", "write + before the weekday"),
            (
                "0 9 1-31 * MON",
                "the days are those that '1-31' names, and also those that 'MON' names, as crontab(5) has it. If both must \
                 be true of a day, write + before the weekday: 0 9 1-31 * +MON",
            ),
            ("0 9 13 * 0-6", "write + before the weekday"),
            ("*/90 * * * *", "it names the minute 0 and no other; a period of that length is { every: 90m }"),
            ("0 */36 * * *", "{ every: 36h }"),
            ("*/90 * * * * *", "{ every: 90s }"),
            ("0 0 */45 * *", "it names the day of the month 1 and no other"),
            ("0 0 1 */18 *", "it names the month JAN and no other"),
            ("0 0 * * */8", "it names the weekday SUN and no other"),
            ("10-20/15 * * * *", "the step of '10-20/15' is longer"),
            (
                "0 0 12 ? * 2-6",
                "'2-6' means MON-FRI there. Here Sunday is 0 or 7, and it means TUE-SAT; write the names",
            ),
            ("0 12 ? * 2#1", "'2#1' means MON#1 there. Here Sunday is 0 or 7, and it means TUE#1"),
            ("0 12 ? * 6L", "'6L' means FRIL there"),
        ] {
            let doubts = doubts(text);
            assert!(doubts.len() == 1 && doubts[0].contains(said), "{text}: {doubts:?}");
        }
    }

    #[test]
    fn what_is_meant_as_it_stands_is_in_no_doubt() {
        for text in [
            "0 0 13 * +FRI",
            "0 9 */100,1-7 * MON",
            "0 9 1-7 * */7",
            "0 9 */2 * 1",
            "0 0 ? * MON-FRI",
            "0 0 ? * 0",
            "0 0 1 * ?",
            "*/60 * * * *",
            "0 */24 * * *",
            "0 0 1 */12 *",
            "0 0 * * */7",
            "0 9 1-31 * 0-6",
            "0 9 ? * 1-7",
            "*/7 * * * *",
            "@daily",
            "5-5/3 * * * *",
        ] {
            assert_eq!(doubts(text), [""; 0], "{text}");
        }
    }
}
