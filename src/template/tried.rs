//! Which templates have been tried: large schedules hold the same ones many times.

use std::collections::{HashMap, HashSet};

use crate::schedule::{Calendar, Fingerprint};

/// The steps that all trials of one schedule may take together: what they cost here, they cost again when they fire.
const MOST_STEPS: u64 = 10_000_000;

/// Templates that need no second look.
#[derive(Debug, Default)]
pub struct Tried {
    /// Those that could be read.
    read: HashSet<String>,
    /// Those that could be rendered, by the zone of their entry: they neither choose nor compute.
    of_zones: HashMap<String, HashSet<String>>,
    /// Others, by the calendar of their entry, since another one has other times.
    of_calendars: HashMap<Fingerprint, HashSet<String>>,
    steps: u64,
}

impl Tried {
    /// Counts the steps of a trial.
    ///
    /// # Errors
    /// When the templates of a schedule cost too much in all.
    pub(super) fn spend(&mut self, steps: u64) -> Result<(), String> {
        self.steps = self.steps.saturating_add(steps);
        match self.is_spent() {
            true => Err("the templates up to here take too many steps in all; make them simpler".to_owned()),
            false => Ok(()),
        }
    }

    /// Whether they did, so that nothing more is tried.
    pub(super) fn is_spent(&self) -> bool {
        self.steps > MOST_STEPS
    }

    /// Whether this text has been read.
    pub(super) fn is_read(&self, text: &str) -> bool {
        self.read.contains(text)
    }

    /// Notes that this text can be read.
    pub(super) fn add_read(&mut self, text: &str) {
        self.read.insert(text.to_owned());
    }

    /// Whether this text has been rendered for an entry of which the same holds as for one with that calendar.
    pub(super) fn holds(&self, calendar: &Calendar, text: &str) -> bool {
        if names_the_entry(text) {
            return false;
        }
        let of_calendar = || self.of_calendars.get(&calendar.fingerprint());
        self.of_zones.get(calendar.zone().name()).is_some_and(|texts| texts.contains(text))
            || (!self.of_calendars.is_empty() && of_calendar().is_some_and(|texts| texts.contains(text)))
    }

    /// Notes that this text can be rendered for an entry with that calendar.
    pub(super) fn add(&mut self, calendar: &Calendar, text: &str) {
        if names_the_entry(text) {
            return;
        }
        let texts = match is_plain(text) {
            true => self.of_zones.entry(calendar.zone().name().to_owned()).or_default(),
            false => self.of_calendars.entry(calendar.fingerprint()).or_default(),
        };
        texts.insert(text.to_owned());
    }
}

/// Whether a text asks for the names of its entry, and so says nothing about another's.
fn names_the_entry(text: &str) -> bool {
    text.contains("entry") || text.contains("pipeline")
}

/// Whether a text only names values, so that one firing renders it as well as every other.
pub(super) fn only_names(text: &str) -> bool {
    is_plain(text) && !text.contains(['|', '('])
}

/// Whether a text neither chooses nor computes.
fn is_plain(text: &str) -> bool {
    let mut quote = None;
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    // Only what stands between the braces is code.
    while let Some((_, code)) = rest.split_once("{{") {
        for (at, c) in code.char_indices() {
            match quote {
                None if code[at..].starts_with("}}") => break,
                None if c == '\'' || c == '"' => quote = Some(c),
                None => bare.push(c),
                Some(open) if c == open => quote = None,
                Some(_) => {}
            }
        }
        bare.push(' ');
        rest = code;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || " _|(),=-".contains(c);
    let chooses = |word: &str| ["if", "else", "and", "or", "not", "is", "in"].contains(&word);
    !text.contains("{%") && bare.chars().all(plain) && !bare.split([' ', '(', ')', ',']).any(chooses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_chooses_or_computes_is_told_from_a_plain_one() {
        for plain in [
            "{{ scheduled_time | date('%Y-%m-%d') }}",
            "from {{ window_start | shift(days=-1) | date(\"%d/%m if %Y\", 'UTC') }} on",
            "{{ scheduled_time | start_of('month') }}/{{ window_end | date('%Y') | int }}",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in [
            "{{ 1 if scheduled_time < '2027' else 2 }}",
            "{% if true %}x{% endif %}",
            "{{ 60 / (scheduled_time | date('%M') | int) }}",
            "{{ scheduled_time[9] }}",
            "plain {{ scheduled_time }} {{ 7 % (scheduled_time | date('%d') | int) }}",
        ] {
            assert!(!is_plain(other), "{other}");
        }
    }
}
