//! Where the keys and values of a YAML text stand. Built only when there is an error to show.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser};

/// What is being read, on the way from the top to here.
enum Level {
    Mapping { key: Option<String> },
    Sequence { next: usize },
}

/// Line and column (from 1) of the values and keys of a text, by path: `pipelines[3].schedule`.
#[derive(Debug, Default)]
pub(super) struct Positions {
    values: HashMap<String, (usize, usize)>,
    keys: HashMap<String, (usize, usize)>,
}

impl Positions {
    /// Reads a text as far as it can be read.
    pub(super) fn of(text: &str) -> Self {
        let mut positions = Self::default();
        let mut levels: Vec<Level> = Vec::new();
        for step in Parser::new_from_str(text) {
            let Ok((event, span)) = step else { break };
            let at = (span.start.line(), span.start.col() + 1);
            match event {
                Event::Scalar(text, ..) => {
                    if let Some(Level::Mapping { key: key @ None }) = levels.last_mut() {
                        *key = Some(text.into_owned());
                        positions.keys.insert(path(&levels), at);
                    } else {
                        positions.value(&mut levels, at);
                    }
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
        }
        positions
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
