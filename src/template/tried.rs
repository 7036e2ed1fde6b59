//! Which templates have been tried: large schedules hold the same ones many times.

use std::collections::{HashMap, HashSet};

use crate::schedule::Zone;

/// Templates that need no second look.
#[derive(Debug, Default)]
pub struct Tried {
    /// Those that could be read.
    read: HashSet<String>,
    /// Those that could be rendered, by the zone of their entry.
    rendered: HashMap<String, HashSet<String>>,
}

impl Tried {
    /// Whether this text has been read.
    pub(super) fn is_read(&self, text: &str) -> bool {
        self.read.contains(text)
    }

    /// Notes that this text can be read.
    pub(super) fn add_read(&mut self, text: &str) {
        self.read.insert(text.to_owned());
    }

    /// Whether this text has been rendered for an entry of that zone, and says the same about this one.
    pub(super) fn holds(&self, zone: &Zone, text: &str) -> bool {
        self.rendered.get(zone.name()).is_some_and(|texts| texts.contains(text))
    }

    /// Notes that this text can be rendered for an entry of that zone.
    pub(super) fn add(&mut self, zone: &Zone, text: &str) {
        if says_the_same_of_all(text) {
            self.rendered.entry(zone.name().to_owned()).or_default().insert(text.to_owned());
        }
    }
}

/// Whether a text that could be rendered for one entry can be so for every other of its zone. What asks for
/// the names of its entry says nothing about another's; nor does what chooses or computes, since another
/// calendar has other times.
fn says_the_same_of_all(text: &str) -> bool {
    if text.contains("entry") || text.contains("pipeline") {
        return false;
    }
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
    fn only_a_plain_text_says_the_same_of_all_entries_of_a_zone() {
        for plain in [
            "{{ scheduled_time | date('%Y-%m-%d') }}",
            "from {{ window_start | shift(days=-1) | date(\"%d/%m if %Y\", 'UTC') }} on",
            "{{ scheduled_time | start_of('month') }}/{{ window_end | date('%Y') | int }}",
        ] {
            assert!(says_the_same_of_all(plain), "{plain}");
        }
        for other in [
            "{{ entry }}",
            "{{ 1 if scheduled_time < '2027' else 2 }}",
            "{% if true %}x{% endif %}",
            "{{ 60 / (scheduled_time | date('%M') | int) }}",
            "{{ scheduled_time[9] }}",
            "plain {{ scheduled_time }} {{ 7 % (scheduled_time | date('%d') | int) }}",
        ] {
            assert!(!says_the_same_of_all(other), "{other}");
        }
    }
}
