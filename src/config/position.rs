//! Where the keys and values of a YAML text stand. Built only when there is an error to show.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// Words at whose end a key's values are never shown.
pub(super) const SECRET_KEYS: [&str; 5] = ["secret", "certificate", "password", "token", "key"];

/// Whether the values of a key are never shown.
pub(super) fn is_secret(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    SECRET_KEYS.iter().any(|secret| lower.ends_with(secret))
}

/// Where a text is nested deeper than `most` levels, if it is and can be read up to there.
pub(super) fn too_deep(text: &str, most: usize) -> Option<(usize, usize)> {
    let mut depth = 0_usize;
    for step in Parser::new_from_str(text) {
        let (event, span) = step.ok()?;
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return Some((span.start.line(), span.start.col() + 1));
        }
    }
    None
}

/// What is being read, on the way from the top to here.
struct Level {
    /// The path of this mapping or list.
    path: PathHash,
    /// The path of the value that comes next: under a key, if one was read, or an item.
    next: Option<PathHash>,
    /// In a list, the number of the next item.
    item: Option<usize>,
}

/// A path as a number, which grows with the path (FNV-1a): texts may be deep, and the paths of all their values
/// together far longer than they are. Two that are the same by chance cost a wrong line in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PathHash(u64);

impl PathHash {
    const ROOT: Self = Self(0xcbf2_9ce4_8422_2325);

    fn and(self, text: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(text.bytes().fold(self.0, step))
    }

    /// The paths on the way to a path: each part with what stands before it.
    fn on_the_way(path: &str) -> impl Iterator<Item = Self> {
        let mut rest = path;
        let mut hash = Self::ROOT;
        std::iter::once(Self::ROOT).chain(std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let begin = first.len_utf8();
            let end = rest[begin..].find(['.', '[']).map_or(rest.len(), |end| begin + end);
            hash = hash.and(&rest[..end]);
            rest = &rest[end..];
            Some(hash)
        }))
    }
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
    /// The paths that are asked for, and those on the way to them.
    wanted: HashSet<PathHash>,
    values: HashMap<PathHash, (usize, usize)>,
    keys: HashMap<PathHash, (usize, usize)>,
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
    /// Reads a text as far as it can be read, for the places of these paths.
    pub(super) fn of<'a>(text: &str, paths: impl Iterator<Item = &'a str>) -> Self {
        let wanted = paths.flat_map(PathHash::on_the_way).collect();
        let mut positions = Self { wanted, read_to_end: true, ..Self::default() };
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
                    if let Some(level @ Level { next: None, .. }) = levels.last_mut() {
                        if secret.is_none() && is_secret(&text) {
                            // From its colon on.
                            let from = (span.end.line(), span.end.col() + 1);
                            secret = Some(Reading { from, above, last_line: from.0 });
                        }
                        let key = match level.path {
                            PathHash::ROOT => PathHash::ROOT.and(&text),
                            path => path.and(".").and(&text),
                        };
                        level.next = Some(key);
                        if positions.wanted.contains(&key) {
                            positions.keys.insert(key, at);
                        }
                        continue;
                    }
                    positions.value(&levels, at);
                    advance(&mut levels);
                }
                Event::Alias(_) => {
                    positions.value(&levels, at);
                    advance(&mut levels);
                }
                Event::SequenceStart(..) => {
                    let path = positions.value(&levels, at);
                    levels.push(Level { path, next: Some(path.and("[0]")), item: Some(0) });
                }
                Event::MappingStart(..) => {
                    let path = positions.value(&levels, at);
                    levels.push(Level { path, next: None, item: None });
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

    /// A value stands here; returns its path.
    fn value(&mut self, levels: &[Level], at: (usize, usize)) -> PathHash {
        let path = match levels.last() {
            None => PathHash::ROOT,
            // A mapping as a key has no path of its own.
            Some(level) => level.next.unwrap_or(level.path),
        };
        if self.wanted.contains(&path) {
            self.values.insert(path, at);
        }
        path
    }

    /// Where the value at `path` stands; of a path that is not there, where the nearest one above it does.
    pub(super) fn value_at(&self, path: &str) -> (usize, usize) {
        let nearest = PathHash::on_the_way(path).filter_map(|path| self.values.get(&path)).last();
        nearest.copied().unwrap_or((1, 1))
    }

    /// Where the key at `path` stands.
    pub(super) fn key_at(&self, path: &str) -> (usize, usize) {
        let whole = PathHash::on_the_way(path).last();
        whole.and_then(|path| self.keys.get(&path)).copied().unwrap_or_else(|| self.value_at(path))
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
    if let Some(level) = levels.last_mut() {
        level.item = level.item.map(|item| item + 1);
        level.next = level.item.map(|item| level.path.and(&format!("[{item}]")));
    }
}
