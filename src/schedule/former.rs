//! How version 0.1 read a cron expression before it read them as Vixie's cron does: the same text, in words that mean
//! now what it meant then. Kept so that old records are judged by what was in force.
//!
//! It read with croner 4, and differed in this. Only a lone `*` made a day field say nothing, so that `*/2` beside a
//! weekday meant either. `L,LW` meant `LW`. `SUN` after a dash was always 7, so that `SUN-SUN` was the whole week.
//! And it let pass what is no form: names in any field, `L` beside weekdays, anything after a `W`.

use super::field::WEEKDAYS;

/// The expression, without a macro, in upper case, as fields that mean now what it meant then.
pub(super) fn rewritten(expression: &str) -> String {
    let mut text = expression.to_uppercase().replace("-SUN", "-7");
    let months = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
    for (number, name) in (0..).zip(WEEKDAYS).chain((1..).zip(months)) {
        text = text.replace(name, &u8::to_string(&number));
    }
    let mut fields: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    if let [.., day, _, weekday] = fields.as_mut_slice() {
        *day = days(&day.replace('?', "*"));
        *weekday = weekdays(&weekday.replace('?', "*"));
    }
    fields.join(" ")
}

/// The parts of a list, each rewritten, or left out.
fn parts(field: &str, rewrite: impl Fn(&str) -> Option<String>) -> String {
    let parts: Vec<String> = field.split(',').filter_map(rewrite).collect();
    // A list that names nothing stays one.
    if parts.is_empty() { ",".to_owned() } else { parts.join(",") }
}

fn days(field: &str) -> String {
    if field == "*" {
        return field.to_owned();
    }
    let is_last_working = |part: &str| part.starts_with("LW") && !part.contains(['/', '-']);
    let last_working = field.split(',').any(is_last_working);
    parts(field, |part| {
        if part == "L" && last_working {
            return None;
        }
        match part.split_once('W') {
            Some((day, _)) if !part.contains(['/', '-']) => Some(format!("{day}W")),
            _ => Some(part.replacen("*/", "1-31/", 1)),
        }
    })
}

fn weekdays(field: &str) -> String {
    let (plus, field) = match field.strip_prefix('+') {
        Some(field) => ("+", field),
        None => ("", field),
    };
    if field == "*" {
        return format!("{plus}{field}");
    }
    let rewritten = parts(field, |part| {
        if part == "L" {
            return None;
        }
        let part = part.replacen("*/", "0-7/", 1);
        // What stood between # and L did not matter.
        Some(match part.split_once('#') {
            Some((days, nth)) if nth.ends_with('L') => format!("{days}#L"),
            _ => part,
        })
    });
    format!("{plus}{rewritten}")
}
