//! Expressions as other schedulers have them, and what to write here instead.

use super::cron::MACROS;

/// How alike two words must be for one to be suggested for the other.
const ALIKE: f64 = 0.8;

/// What stands within a field, never beside a blank.
const SIGNS: [char; 3] = [',', '-', '/'];
const WITHOUT_BLANKS: &str = "Write lists and ranges without blanks, such as MON,WED or MON-FRI";

/// Why a text has not the shape of an expression, if it has not. `upper` is the same in upper case.
pub(super) fn misshapen(text: &str, upper: &str) -> Option<String> {
    if upper.starts_with("TZ=") || upper.starts_with("CRON_TZ=") {
        return Some("a zone does not stand in the expression; use the key `timezone`".to_owned());
    }
    if upper == "@REBOOT" {
        return Some("'@reboot' is no time; a schedule names times".to_owned());
    }
    if ["@EVERY", "EVERY ", "RATE("].iter().any(|start| upper.starts_with(start)) {
        return Some(format!("'{text}' is written as a mapping here, such as {{ every: 15m }}"));
    }
    if upper.starts_with("CRON(") {
        return Some(format!(
            "'{text}' is an expression in brackets; write what stands in them, without the year"
        ));
    }
    if upper.starts_with('@') {
        return Some(misspelt(text, upper));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    let count = fields.len();
    if count == 1 && MACROS.iter().any(|(name, _)| name.trim_start_matches('@') == upper) {
        return Some(format!("'{text}' is not known; did you mean '@{}'?", text.to_lowercase()));
    }
    let hint = match fields.as_slice() {
        _ if (5..=6).contains(&count) => return None,
        [six @ .., year] if count == 7 && is_year(year) => {
            format!(". There is no field for the year: write '{}'{}", six.join(" "), bounds(year))
        }
        many if many.iter().any(|field| field.starts_with(SIGNS) || field.ends_with(SIGNS)) => {
            format!(". {WITHOUT_BLANKS}")
        }
        _ => String::new(),
    };
    let noun = if count == 1 { "field" } else { "fields" };
    Some(format!(
        "'{text}' has {count} {noun}; a cron expression has 5 (minute hour day month weekday), or 6 with seconds \
         first{hint}"
    ))
}

/// A word that begins with @ and is no macro.
fn misspelt(text: &str, upper: &str) -> String {
    let word = upper.split_whitespace().next().unwrap_or_default();
    if MACROS.iter().any(|(name, _)| *name == word) {
        return format!("'{text}' has something after {}; that stands alone", word.to_lowercase());
    }
    let nearest = MACROS
        .iter()
        .map(|(name, _)| (strsim::jaro_winkler(name, word), name.to_lowercase()))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, name)) => format!("'{text}' is not known; did you mean '{name}'?"),
        None => format!("'{text}' is not known; the macros are {}", all_macros()),
    }
}

fn all_macros() -> String {
    let names: Vec<String> = MACROS.iter().map(|(name, _)| name.to_lowercase()).collect();
    names.join(", ")
}

/// What is wrong with fields, of which one cannot be read, as a whole: that they are those of another scheduler.
/// `reads` tells whether an expression can be read.
pub(super) fn of_another_scheduler(expression: &str, reads: impl Fn(&str) -> bool) -> Option<String> {
    let fields: Vec<&str> = expression.split_whitespace().collect();
    if fields.iter().any(|field| field.len() > 1 && (field.starts_with(',') || field.ends_with(','))) {
        return Some(format!("a list begins or ends with a comma. {WITHOUT_BLANKS}"));
    }
    let [five @ .., year] = fields.as_slice() else { return None };
    let shorter = five.join(" ");
    (fields.len() == 6 && is_year(year) && reads(&shorter)).then(|| {
        format!(
            "its sixth field is a year, as AWS has it; six fields begin with seconds here, and there is none for the \
             year: write '{shorter}'{}",
            bounds(year)
        )
    })
}

/// Whether a field can be that of a year.
fn is_year(field: &str) -> bool {
    let year = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    field == "*" || field == "?" || field.split([',', '-', '/']).next().is_some_and(year)
}

/// What takes the place of a field for the year.
fn bounds(year: &str) -> &'static str {
    if matches!(year, "*" | "?") { "" } else { ", with `start` and `end` beside it for the years" }
}
