//! `except:`: dates, ranges of dates and weekdays as texts, cron expressions and holiday files as mappings.
//!
//! A holiday file has a date or a range of dates on each line, and comments from `#` on. What it says becomes part of
//! the schedule: it is kept with the schedule's text, so that the schedule means the same when the file is gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::civil::Date;
use serde_json::Value;

use super::collect::{Collector, kind};
use super::raw;
use crate::schedule::{Cron, Except};

/// A first and a last date.
pub type Dates = (Date, Date);

/// What the holiday files of a schedule say.
pub type Holidays = BTreeMap<PathBuf, Arc<[Dates]>>;

/// Stands before the holiday files in the text of a schedule that was in force.
const KEPT: &str = "# adf-cron: what the holiday files said when this schedule was read";

/// Reads `except:`, one item or a list of them.
pub(super) fn read(collector: &mut Collector<'_>, path: &str, value: Option<Value>) -> Option<Arc<Except>> {
    let items = match value? {
        Value::Array(items) => {
            items.into_iter().enumerate().map(|(index, item)| (format!("{path}[{index}]"), item)).collect()
        }
        one => vec![(path.to_owned(), one)],
    };
    let mut parts = Parts::default();
    for (place, item) in items {
        match item {
            Value::String(text) => match dates_or_weekday(&text) {
                Ok(DatesOrWeekday::Dates(dates)) => parts.dates.push(dates),
                Ok(DatesOrWeekday::Weekday(day)) => parts.weekdays.push(day),
                Err(message) => collector.wrong(&place, "", message),
            },
            value @ Value::Object(_) => mapping(collector, &place, value, &mut parts),
            other => {
                let message = format!(
                    "must be a date, a range of dates, a weekday, or a mapping with cron or file, not {}",
                    kind(&other)
                );
                collector.wrong(&place, "", message);
            }
        }
    }
    Some(Arc::new(Except::new(parts.dates, parts.weekdays, parts.crons)))
}

#[derive(Default)]
struct Parts {
    dates: Vec<Dates>,
    weekdays: Vec<u8>,
    crons: Vec<Cron>,
}

enum DatesOrWeekday {
    Dates(Dates),
    Weekday(u8),
}

fn mapping(collector: &mut Collector<'_>, path: &str, value: Value, parts: &mut Parts) {
    let noted = collector.count();
    let Some(raw) = collector.section::<raw::ExceptRule>(path, value) else { return };
    match (raw.cron, raw.file) {
        (Some(cron), None) => {
            let text = collector.take(path, "cron", Some(cron));
            parts.crons.extend(text.and_then(|text| collector.cron(path, "cron", &text)));
        }
        (None, Some(file)) => {
            let file = collector.take(path, "file", Some(file));
            let dates = file.and_then(|file| collector.holidays(path, "file", &file));
            parts.dates.extend(dates.iter().flat_map(|dates| dates.iter().copied()));
        }
        // A misspelt key is said already.
        _ if collector.count() > noted => {}
        _ => collector.wrong(path, "", "must have exactly one of `cron` and `file`"),
    }
}

fn dates_or_weekday(text: &str) -> Result<DatesOrWeekday, String> {
    const WEEKDAYS: [&str; 7] =
        ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    let lower = text.trim().to_ascii_lowercase();
    let weekday = |(_, name): &(u8, &str)| lower == *name || (lower.len() == 3 && name.starts_with(&lower));
    if let Some((day, _)) = (0..).zip(WEEKDAYS).find(weekday) {
        return Ok(DatesOrWeekday::Weekday(day));
    }
    match dates(text) {
        Ok(dates) => Ok(DatesOrWeekday::Dates(dates)),
        Err(Wrong::Order) => Err(format!("'{text}' ends before it begins")),
        Err(Wrong::Form) => Err(format!(
            "'{text}' is nothing that can be left out; write 2026-12-25, 2026-12-24..2026-12-26, saturday, \
             or {{ cron: … }} or {{ file: … }}"
        )),
    }
}

enum Wrong {
    Form,
    Order,
}

/// A date, or a first and a last one with two dots between.
fn dates(text: &str) -> Result<Dates, Wrong> {
    let date = |text: &str| match text.trim() {
        text if text.len() == 10 => text.parse::<Date>().map_err(|_| Wrong::Form),
        _ => Err(Wrong::Form),
    };
    let (first, last) = match text.split_once("..") {
        Some((first, last)) => (date(first)?, date(last)?),
        None => (date(text)?, date(text)?),
    };
    if first <= last { Ok((first, last)) } else { Err(Wrong::Order) }
}

/// The dates of a holiday file. What stands in it is not repeated in a message: it may be another file.
pub(super) fn holidays(bytes: &[u8]) -> Result<Arc<[Dates]>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8 text")
    })?;
    let lines = text.strip_prefix('\u{feff}').unwrap_or(text).lines().zip(1..);
    let content = lines.map(|(line, number)| (line.split('#').next().unwrap_or_default().trim(), number));
    content
        .filter(|(line, _)| !line.is_empty())
        .map(|(line, number)| {
            dates(line).map_err(|wrong| match wrong {
                Wrong::Form => format!(
                    "line {number} is not a date (2026-12-25) or a range of dates (2026-12-24..2026-12-26)"
                ),
                Wrong::Order => format!("line {number} ends before it begins"),
            })
        })
        .collect()
}

/// The path of a holiday file, if it is one that can be kept.
pub(super) fn path(text: &str) -> Result<PathBuf, &'static str> {
    let path = Path::new(text);
    match path.is_absolute() && !text.chars().any(char::is_control) {
        true => Ok(path.to_owned()),
        false => Err("must be an absolute path"),
    }
}

/// The text of a schedule with what its holiday files say, as comments at its end.
#[must_use]
pub fn with_holidays(text: &str, holidays: &Holidays) -> String {
    use std::fmt::Write as _;
    let mut kept = text.to_owned();
    if holidays.is_empty() {
        return kept;
    }
    // Writing to a string cannot fail.
    let _ = write!(kept, "\n{KEPT}\n");
    for (path, dates) in holidays {
        let _ = writeln!(kept, "# {}", path.display());
        for (first, last) in dates.iter() {
            let _ = writeln!(kept, "#   {first}..{last}");
        }
    }
    kept
}

/// The bytes of a holiday file that says this.
pub(super) fn as_file(dates: &[Dates]) -> Vec<u8> {
    dates.iter().flat_map(|(first, last)| format!("{first}..{last}\n").into_bytes()).collect()
}

/// The text of a schedule that was in force as it was read, and what its holiday files said then.
pub(super) fn without_holidays(text: &str) -> (&str, Holidays) {
    let block = text.rsplit_once(&format!("\n{KEPT}\n"));
    // Whatever a person copied from there into a file is a comment, and may have anything after it.
    let Some((text, block)) = block.filter(|(_, block)| block.lines().all(|line| line.starts_with("# ")))
    else {
        return (text, Holidays::new());
    };
    let mut holidays: BTreeMap<PathBuf, Vec<Dates>> = BTreeMap::new();
    let mut file = PathBuf::new();
    for line in block.lines() {
        match line.strip_prefix("#   ").and_then(|line| dates(line).ok()) {
            Some(dates) => holidays.entry(file.clone()).or_default().push(dates),
            None => {
                file = PathBuf::from(line.strip_prefix("# ").unwrap_or_default());
                holidays.insert(file.clone(), Vec::new());
            }
        }
    }
    (text, holidays.into_iter().map(|(path, dates)| (path, dates.into())).collect())
}
