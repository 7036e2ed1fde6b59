//! Where the keys and values of a YAML text stand. Built only when there is an error to show.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Words at whose end a key's values are never shown.
pub(super) const SECRET_KEYS: [&str; 5] = ["secret", "certificate", "password", "token", "key"];

/// Whether the values of a key are never shown.
pub(super) fn is_secret(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    SECRET_KEYS.iter().any(|secret| lower.ends_with(secret))
}

/// What is being read, on the way from the top to here.
enum Level {
    Mapping { key: Option<String> },
    Sequence { next: usize },
}

/// Where a secret may stand.
#[derive(Debug)]
pub(super) struct Secret {
    /// The line, from 1, and the characters before it there.
    pub(super) from: (usize, usize),
    /// The last line that it stands on.
    pub(super) last_line: usize,
}

/// Line and column (from 1) of the values and keys of a text, by path: `pipelines[3].schedule`.
#[derive(Debug, Default)]
pub(super) struct Positions {
    values: HashMap<String, (usize, usize)>,
    keys: HashMap<String, (usize, usize)>,
    /// The values of keys whose values are never shown.
    secrets: Vec<Secret>,
    read_to_end: bool,
}

/// The secret value that is being read.
struct Reading {
    from: (usize, usize),
    /// How many levels there are above it.
    above: usize,
    last_line: usize,
}

impl Positions {
    /// Reads a text as far as it can be read.
    pub(super) fn of(text: &str) -> Self {
        let mut positions = Self { read_to_end: true, ..Self::default() };
        let mut levels: Vec<Level> = Vec::new();
        let mut secret: Option<Reading> = None;
        for step in Parser::new_from_str(text) {
            let Ok((event, span)) = step else {
                positions.read_to_end = false;
                break;
            };
            let last_line = last_line(&event, span);
            if let (Some(secret), Some(last_line)) = (&mut secret, last_line) {
                secret.last_line = secret.last_line.max(last_line);
            }
            let (at, above) = ((span.start.line(), span.start.col() + 1), levels.len());
            match event {
                Event::Scalar(text, ..) => {
                    if let Some(Level::Mapping { key: key @ None }) = levels.last_mut() {
                        let text = text.into_owned();
                        if secret.is_none() && is_secret(&text) {
                            // From its colon on.
                            let from = (span.end.line(), span.end.col() + 1);
                            secret = Some(Reading { from, above, last_line: from.0 });
                        }
                        *key = Some(text);
                        positions.keys.insert(path(&levels), at);
                        continue;
                    }
                    positions.value(&mut levels, at);
                }
                Event::Alias(_) => positions.value(&mut levels, at),
                Event::SequenceStart(..) => {
                    positions.values.insert(path(&levels), at);
                    levels.push(Level::Sequence { next: 0 });
                }
                Event::MappingStart(..) => {
                    positions.values.insert(path(&levels), at);
                    levels.push(Level::Mapping { key: None });
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    levels.pop();
                    advance(&mut levels);
                }
                _ => {}
            }
            if let Some(read) = secret.take_if(|secret| levels.len() <= secret.above) {
                positions.secrets.push(Secret { from: read.from, last_line: read.last_line });
            }
        }
        if let Some(read) = secret {
            // Nobody knows where it ends.
            positions.secrets.push(Secret { from: read.from, last_line: usize::MAX });
        }
        positions
    }

    /// The values of keys whose values are never shown, and whether the text could be read to its end.
    pub(super) fn secrets(&self) -> (&[Secret], bool) {
        (&self.secrets, self.read_to_end)
    }

    fn value(&mut self, levels: &mut [Level], at: (usize, usize)) {
        self.values.insert(path(levels), at);
        advance(levels);
    }

    /// Where the value at `path` stands; of a path that is not there, where the nearest one above it does.
    pub(super) fn value_at(&self, path: &str) -> (usize, usize) {
        let mut path = path;
        loop {
            if let Some(at) = self.values.get(path) {
                return *at;
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return self.values.get("").copied().unwrap_or((1, 1)),
            }
        }
    }

    /// Where the key at `path` stands.
    pub(super) fn key_at(&self, path: &str) -> (usize, usize) {
        self.keys.get(path).copied().unwrap_or_else(|| self.value_at(path))
    }
}

/// The last line that an event stands on, if it stands on any: what ends by indentation alone has no place of
/// its own, and a block of text ends where the next thing begins.
fn last_line(event: &Event<'_>, span: Span) -> Option<usize> {
    match event {
        Event::Scalar(_, ScalarStyle::Literal | ScalarStyle::Folded, ..) => {
            Some(span.end.line().saturating_sub(1))
        }
        _ if span.start == span.end => None,
        _ => Some(span.end.line()),
    }
}

/// A value has ended: the next thing in a mapping is a key.
fn advance(levels: &mut [Level]) {
    match levels.last_mut() {
        Some(Level::Mapping { key }) => *key = None,
        Some(Level::Sequence { next }) => *next += 1,
        None => {}
    }
}

fn path(levels: &[Level]) -> String {
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Mapping { key } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key.as_deref().unwrap_or_default());
            }
            Level::Sequence { next } => path.push_str(&format!("[{next}]")),
        }
    }
    path
}
