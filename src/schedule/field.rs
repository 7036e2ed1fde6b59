//! One field of a cron expression: from its text to the values that it names, or to what is wrong with it and what
//! to write instead. The forms are those of crontab(5), and `L`, `W` and `#` beside them.

use super::times::each;

/// What a field is about: which values there are, and what they are called.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) least: u8,
    pub(super) most: u8,
    /// The names of the values from `least` on.
    names: &'static [&'static str],
    /// The same in full.
    full_names: &'static [&'static str],
    holds: &'static str,
}

pub(super) const SECOND: Field =
    Field { name: "second", least: 0, most: 59, names: &[], full_names: &[], holds: "0-59" };
pub(super) const MINUTE: Field = Field { name: "minute", ..SECOND };
pub(super) const HOUR: Field = Field { name: "hour", most: 23, holds: "0-23", ..SECOND };
pub(super) const DAY: Field =
    Field { name: "day of the month", least: 1, most: 31, holds: "1-31, L, LW or 1W-31W", ..SECOND };
pub(super) const MONTH: Field = Field {
    name: "month",
    least: 1,
    most: 12,
    names: &MONTHS,
    full_names: &FULL_MONTHS,
    holds: "1-12 or JAN-DEC",
};
/// Sunday is 0 and 7.
pub(super) const WEEKDAY: Field = Field {
    name: "weekday",
    least: 0,
    most: 7,
    names: &WEEKDAYS,
    full_names: &FULL_WEEKDAYS,
    holds: "0-7 or SUN-SAT",
};

const MONTHS: [&str; 12] =
    ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
pub(super) const WEEKDAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const FULL_MONTHS: [&str; 12] = [
    "JANUARY",
    "FEBRUARY",
    "MARCH",
    "APRIL",
    "MAY",
    "JUNE",
    "JULY",
    "AUGUST",
    "SEPTEMBER",
    "OCTOBER",
    "NOVEMBER",
    "DECEMBER",
];
const FULL_WEEKDAYS: [&str; 7] =
    ["SUNDAY", "MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY"];

/// What a field names. Bit n is the value n; only the fields of days have more than `every`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Named {
    pub(super) every: u64,
    /// The first, second … fifth of a weekday in the month.
    pub(super) nth: [u64; 5],
    /// The last of a weekday in the month.
    pub(super) last: u64,
    /// The working day next to a day.
    pub(super) near: u64,
    pub(super) last_day: bool,
    pub(super) last_working: bool,
    /// Whether the text begins with `*`, which crontab(5) makes something of.
    pub(super) star: bool,
}

/// Which days of a weekday in a month.
enum Which {
    Every,
    /// From 0.
    Nth(usize),
    Last,
}

impl Field {
    /// Reads the text of a field, in upper case.
    ///
    /// # Errors
    /// What is wrong with it, as a clause.
    pub(super) fn read(&self, text: &str) -> Result<Named, String> {
        // `0 9 1, 15 * *` has six fields, and would be another time on another day.
        match text.split(',').any(str::is_empty) {
            true if text.is_empty() => Err(format!("the {} is missing after +", self.name)),
            true => Err(format!("the {} is '{text}', where something is missing beside a comma", self.name)),
            false => self.read_with_gaps(text),
        }
    }

    /// The same, where a part between two commas may be empty.
    ///
    /// # Errors
    /// What is wrong with it, as a clause.
    pub(super) fn read_with_gaps(&self, text: &str) -> Result<Named, String> {
        let mut named = Named { star: text.starts_with(['*', '?']), ..Named::default() };
        for part in text.split(',').filter(|part| !part.is_empty()) {
            self.part(part, &mut named).map_err(|why| {
                let within = if part == text { String::new() } else { format!(" in '{text}'") };
                format!("the {} is '{part}'{within}{why}", self.name)
            })?;
        }
        Ok(named)
    }

    fn is_of_days(&self) -> bool {
        matches!(self.name, "day of the month" | "weekday")
    }

    fn is_weekday(&self) -> bool {
        self.name == WEEKDAY.name
    }

    /// Reads one part of a list.
    fn part(&self, part: &str, named: &mut Named) -> Result<(), String> {
        if self.name == DAY.name {
            match part {
                "L" => named.last_day = true,
                "LW" => named.last_working = true,
                _ => {
                    if let Some(day) = part.strip_suffix('W').and_then(|day| self.value(day)) {
                        named.near |= 1 << day;
                    } else {
                        named.every |= self.range(part, part)?;
                    }
                }
            }
            return Ok(());
        }
        let (range, nth) = self.nth(part)?;
        let mut set = self.range(range, part)?;
        if self.is_weekday() {
            set = (set | set >> 7) & 0x7f;
        }
        match nth {
            Which::Every => named.every |= set,
            Which::Nth(n) => named.nth[n] |= set,
            Which::Last => named.last |= set,
        }
        Ok(())
    }

    /// Splits `#2`, `#L` or `L` from weekdays.
    fn nth<'a>(&self, part: &'a str) -> Result<(&'a str, Which), String> {
        if !self.is_weekday() {
            return Ok((part, Which::Every));
        }
        if let Some((range, nth)) = part.split_once('#') {
            return match nth.trim_start_matches('0') {
                "L" => Ok((range, Which::Last)),
                nth @ ("1" | "2" | "3" | "4" | "5") => {
                    Ok((range, Which::Nth(usize::from(nth.as_bytes()[0] - b'1'))))
                }
                _ => Err(": after # comes 1 to 5, or L for the last of the month".to_owned()),
            };
        }
        match part.strip_suffix('L') {
            Some(day) if self.value(day).is_some() => Ok((day, Which::Last)),
            Some("") => Err(
                ": L alone is no weekday. The last Friday of the month is FRIL; the last day of the month \
                             is L in the field of the day; Quartz means Saturday by it, which is SAT here"
                    .to_owned(),
            ),
            Some(days) if days.contains('-') => {
                Err(format!(": for the last of each of these weekdays in the month, write {days}#L"))
            }
            _ => Ok((part, Which::Every)),
        }
    }

    /// Reads `*`, `5`, `1-5`, `*/2` or `1-5/2`.
    fn range(&self, text: &str, part: &str) -> Result<u64, String> {
        let (range, step) = match text.split_once('/') {
            None => (text, None),
            Some((range, step)) => match number(step) {
                Some(step @ 1..) => (range, Some(step)),
                Some(0) => return Err(": a step is 1 or more".to_owned()),
                None => return Err(format!(", and '{step}' is no step; a step is a number, 1 or more")),
            },
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || (range == "?" && self.is_of_days()) => (self.least, self.most),
            Some((first, last)) => match (self.value(first), self.value(last)) {
                (Some(from), Some(to)) => (from, self.end(from, last, to)),
                _ => return Err(self.unknown(part)),
            },
            None => match (self.value(range), step) {
                (Some(value), None) => (value, value),
                (Some(value), Some(step)) => return Err(self.start_with_step(range, value, step)),
                (None, Some(step)) if range.is_empty() => {
                    return Err(format!(": before the step something is missing; write */{step}"));
                }
                (None, _) => return Err(self.unknown(part)),
            },
        };
        if first > last {
            let suffix = &part[text.len()..];
            return Err(self.backwards(range, step, suffix));
        }
        let step = step.map_or(1, usize::from);
        Ok((first..=last).step_by(step).fold(0, |set, value| set | 1 << value))
    }

    /// The end of a range: SUN ends the week, unless the range began with it.
    fn end(&self, first: u8, text: &str, last: u8) -> u8 {
        match self.is_weekday() && text == WEEKDAYS[0] {
            true if first.is_multiple_of(7) => first,
            true => 7,
            false => last,
        }
    }

    /// A number or a name of the field.
    fn value(&self, text: &str) -> Option<u8> {
        let named = self.names.iter().position(|name| *name == text);
        let value = match named {
            Some(at) => self.least + u8::try_from(at).ok()?,
            None => u8::try_from(number(text)?).ok()?,
        };
        (self.least..=self.most).contains(&value).then_some(value)
    }
}

/// What stands between the words of a part.
const SIGNS: [char; 3] = ['-', '/', '#'];

/// Digits, and nothing else.
fn number(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// What is wrong, and what to write instead.
impl Field {
    /// `5/15`, which other crons read as `5-59/15`.
    fn start_with_step(&self, text: &str, value: u8, step: u16) -> String {
        // The week ends with Saturday for those who write so.
        let most = if self.is_weekday() { 6.max(value) } else { self.most };
        let by_name = self.names.contains(&text);
        let last = if by_name { self.called(most) } else { most.to_string() };
        if value == most {
            return format!(": nothing comes after it, so it needs no step; write {text}");
        }
        format!(": a step goes with a range; write {text}-{last}/{step}")
    }

    /// `22-2`, and the same as two ranges, or as a list if it has a step.
    fn backwards(&self, range: &str, step: Option<u16>, suffix: &str) -> String {
        format!(": it runs backwards; write {}", self.wrapped(range, step, suffix).unwrap_or_default())
    }

    fn wrapped(&self, range: &str, step: Option<u16>, suffix: &str) -> Option<String> {
        let (first, last) = range.split_once('-')?;
        let (from, to) = (self.value(first)?, self.value(last)?);
        let by_name = self.names.contains(&first);
        let called = |value: u8| if by_name { self.called(value) } else { value.to_string() };
        // Sunday ends the week as 7, and the next one begins with Monday.
        let (most, least) = if self.is_weekday() { (7, 1) } else { (self.most, self.least) };
        if let Some(step) = step {
            let all = (from..=most).chain(least..=to).step_by(usize::from(step));
            return Some(all.map(|value| called(value) + suffix).collect::<Vec<_>>().join(","));
        }
        let span = |first: u8, last: u8| match first == last {
            true => called(first),
            false => format!("{}-{}", called(first), called(last)),
        };
        let mut text = span(from, most) + suffix;
        if to >= least {
            text.push_str(&format!(",{}{suffix}", span(least, to)));
        }
        Some(text)
    }

    /// The name of a value.
    fn called(&self, value: u8) -> String {
        let at = if self.is_weekday() { usize::from(value % 7) } else { usize::from(value - self.least) };
        self.names.get(at).map_or_else(|| value.to_string(), |name| (*name).to_owned())
    }

    /// A part that is none of the forms.
    fn unknown(&self, part: &str) -> String {
        let hint = self.hint(part).map(|hint| format!("; {hint}")).unwrap_or_default();
        format!(", which is not one of {}{hint}", self.holds)
    }

    fn hint(&self, part: &str) -> Option<String> {
        let short: String = part.split_inclusive(SIGNS).map(|word| self.short(word)).collect();
        let is_value = |word: &str| number(word).is_some() || self.value(word).is_some();
        let is_known =
            |word: &str| is_value(word) || word.strip_suffix('L').is_some_and(is_value) || word == "L";
        if short != part && short.split(SIGNS).all(is_known) {
            return Some(format!("write {short}"));
        }
        let before_last = part.strip_prefix("L-").and_then(number).filter(|before| *before <= 30);
        Some(match (self.name, part) {
            ("hour", "24") => "midnight is 0".to_owned(),
            ("minute", "60") => "the full hour is 0".to_owned(),
            ("second", "60") => "the full minute is 0".to_owned(),
            ("weekday", "8" | "9") => "Sunday is 0 and 7".to_owned(),
            ("weekday", part) if part.ends_with('W') => {
                "W belongs in the field of the day of the month".to_owned()
            }
            ("day of the month", _) if before_last.is_some() => {
                let from_end = before_last.map_or(1, |before| u32::from(before) + 1);
                format!(
                    "for a day counted from the last, write a recurrence: {{ recurrence: {{ frequency: Month, interval: 1, \
                     startTime: …, schedule: {{ monthDays: [-{from_end}] }} }} }}"
                )
            }
            ("day of the month", part) if part.strip_suffix("-L").and_then(number).is_some() => {
                let first = part.trim_end_matches("-L");
                format!("write {first}-31, which goes to the last day of each month")
            }
            ("day of the month", part) if part.ends_with('W') && part.contains('-') => {
                "W goes with one day; write a list, such as 1W,2W".to_owned()
            }
            ("day of the month", part) if part.contains('#') => {
                "# belongs in the field of the weekday".to_owned()
            }
            ("day of the month", part) if part.starts_with('+') => "+ belongs before the weekday".to_owned(),
            (_, "?") => "? is for the two fields of days only; write *".to_owned(),
            (_, part) if part.starts_with('H') || part.contains('~') => {
                "there are no random times; write a number, and spread the starts with `jitter`".to_owned()
            }
            (_, part) if !self.is_weekday() && WEEKDAYS.iter().any(|name| part.starts_with(name)) => {
                "the names of weekdays belong in the last field".to_owned()
            }
            (field, part) if field != MONTH.name && MONTHS.iter().any(|name| part.starts_with(name)) => {
                "the names of months belong in the field of the month".to_owned()
            }
            (_, part) if !part.is_ascii() => {
                "it has a character that is no plain letter, digit or sign".to_owned()
            }
            _ => return None,
        })
    }

    /// A word as it is written here, with what follows it: MON for MO, MONDAY and MONDAYS, MONL for MONDAYL.
    fn short(&self, word: &str) -> String {
        let letters = word.trim_end_matches(SIGNS);
        let letters = if self.is_weekday() { letters.trim_end_matches('L') } else { letters };
        let sign = &word[letters.len()..];
        let one = letters.strip_suffix('S').unwrap_or(letters);
        let mut meant = self
            .full_names
            .iter()
            .zip(self.names)
            .filter(|(full, _)| full.starts_with(letters) || **full == one);
        match (letters.len(), meant.next(), meant.next()) {
            (2.., Some((_, name)), None) => format!("{name}{sign}"),
            _ => word.to_owned(),
        }
    }
}

/// Where a step is longer than the range that it goes through, so that it names one value alone: the step, and that
/// value. `text` is that of a field that was read.
pub(super) fn lone_step(field: &Field, part: &str) -> Option<(u16, String)> {
    let (range, step) = part.split('#').next()?.split_once('/')?;
    let (set, step) = (field.range(range, range).ok()?, number(step)?);
    let size = if field.is_weekday() { set.count_ones().min(7) } else { set.count_ones() };
    let first = each(set).next()?;
    (u32::from(step) > size && size > 1).then(|| (step, field.called(first)))
}
