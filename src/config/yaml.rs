//! From YAML text to a plain tree. The only file that names serde_yaml.
//!
//! serde_yaml is archived, and keeps the last of duplicate keys, passes `.nan` on and says "expected any
//! YAML value" for large integers: [`NodeVisitor`] makes each of these a clear error. It reads a whole text before it
//! hands the first value over, so what a text may cost is bounded before it is read, and what aliases make of it
//! while it is.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::position::{is_secret, too_deep};
use super::shown::without_secret;

/// The most keys and values of a file: some hundred bytes of memory each while the text is read.
const MOST_VALUES: usize = 500_000;
/// So many where there is one for each six bytes, as in 100,000 entries.
const MOST_SPARSE: usize = 1_300_000;
const SPARSE: usize = 6;
/// The most of them that aliases repeat.
const MOST_REPEATED: usize = 200_000;
/// The most bytes of all texts, those that aliases repeat included, and those of comments not.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// serde_yaml's own bound of depth, which it keeps to only after it has read all.
const DEEPEST: usize = 128;

/// Stands before what is said here, to tell it from what serde_yaml puts in front of it: a path of keys, one
/// of which may be a secret.
const OURS: char = '\u{1}';

/// What is wrong with a text that is not YAML, or not YAML of the plain kind.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) message: String,
    /// Line and column, from 1.
    pub(super) at: Option<(usize, usize)>,
    /// Whether the text costs too much to look at it again.
    pub(super) costly: bool,
    /// Whether the message says why, and nothing else is to be guessed from the text.
    pub(super) certain: bool,
}

impl SyntaxError {
    fn costly(message: String, at: (usize, usize)) -> Self {
        Self { message, at: Some(at), costly: true, certain: true }
    }
}

/// Reads YAML text as a plain tree.
pub(super) fn parse(text: &str) -> Result<Value, SyntaxError> {
    let written = bounded(text)?;
    let budget = Budget { values: Cell::new(written + MOST_REPEATED), bytes: Cell::new(MOST_BYTES) };
    let visitor = NodeVisitor { secret: false, budget: &budget };
    match visitor.deserialize(serde_yaml::Deserializer::from_str(text)) {
        Ok(value) => Ok(value),
        Err(error) => {
            let at = error.location().map(|at| (at.line(), at.column()));
            let text = error.to_string();
            let certain = text.contains(OURS) || text.contains("repetition limit");
            Err(SyntaxError { message: in_words(&text), at, costly: false, certain })
        }
    }
}

/// How many keys and values a text has at most, if it is small and shallow enough to be read, by its look: commas,
/// brackets, dashes, colons and lines begin all keys and values, and some of them stand in texts.
fn bounded(text: &str) -> Result<usize, SyntaxError> {
    let mut look = Look::default();
    for (line, number) in text.lines().zip(1..) {
        look.at(line);
        let most = (look.bytes / SPARSE).clamp(MOST_VALUES, MOST_SPARSE);
        if look.values > most || look.bytes > MOST_BYTES {
            let message = format!(
                "the file has more than {most} keys and values, or {} MiB of them, up to here; schedules of \
                 that size are refused",
                MOST_BYTES / 1024 / 1024
            );
            return Err(SyntaxError::costly(message, (number, 1)));
        }
        // What reads YAML takes as long for each sign as brackets are open.
        if look.most_open > 2 * DEEPEST {
            return Err(SyntaxError::costly(TOO_DEEP.to_owned(), (number, 1)));
        }
    }
    match (look.most_open.max(look.most_begun) > DEEPEST / 2).then(|| too_deep(text, DEEPEST)).flatten() {
        Some(at) => {
            Err(SyntaxError { message: TOO_DEEP.to_owned(), at: Some(at), costly: false, certain: true })
        }
        None => Ok(look.values),
    }
}

/// What the lines of a text hold so far.
#[derive(Default)]
struct Look {
    values: usize,
    bytes: usize,
    /// Brackets that are open, those in quotes not counted.
    open: usize,
    /// The most that were open at once.
    most_open: usize,
    /// The most dashes of one line that may begin a list.
    most_begun: usize,
}

impl Look {
    fn at(&mut self, line: &str) {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            return;
        }
        self.values += 1;
        self.bytes += content.len();
        let bytes = content.as_bytes();
        let (mut at, mut begins) = (0, 0);
        while let Some(byte) = bytes.get(at) {
            let next = bytes.get(at + 1);
            let before = at.checked_sub(1).and_then(|at| bytes.get(at));
            let ends = next.is_none_or(u8::is_ascii_whitespace);
            match byte {
                b'[' | b'{' => (self.values, self.open) = (self.values + 2, self.open + 1),
                b']' | b'}' => self.open = self.open.saturating_sub(1),
                b',' => self.values += 1,
                b':' if ends || matches!(next, Some(b'"' | b'\'')) => self.values += 1,
                b'-' | b'?' if ends => (self.values, begins) = (self.values + 2, begins + 1),
                b'"' | b'\'' if before.is_none_or(|before| b" \t[{,:(".contains(before)) => {
                    let rest = content.get(at + 1..).unwrap_or_default();
                    at += rest.find(char::from(*byte)).map_or(0, |end| end + 1);
                }
                _ => {}
            }
            self.most_open = self.most_open.max(self.open);
            self.most_begun = self.most_begun.max(begins);
            at += 1;
        }
    }
}

const TOO_DEEP: &str = "the file is nested too deeply, or an alias (*name) stands within what it names";
const TOO_MANY: &str = "aliases (*name) repeat so much that the file is refused";

/// What is left of the keys, values and bytes that may be read.
struct Budget {
    values: Cell<usize>,
    bytes: Cell<usize>,
}

impl Budget {
    fn spend<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        let left = (self.values.get().checked_sub(1), self.bytes.get().checked_sub(bytes));
        let (Some(values), Some(bytes)) = left else { return Err(refused(TOO_MANY)) };
        self.values.set(values);
        self.bytes.set(bytes);
        Ok(())
    }
}

/// Reads one YAML value, as the command line gives it.
///
/// # Errors
/// In words, when the text is not one plain YAML value.
pub fn value(text: &str) -> Result<Value, String> {
    // An empty text is an empty text, not nothing.
    if text.is_empty() {
        Ok(Value::String(String::new()))
    } else {
        parse(text).map_err(|error| error.message)
    }
}

/// serde_yaml's words without what is said elsewhere, and clearer where they are not clear.
fn in_words(error: &str) -> String {
    if let Some((_, ours)) = error.rsplit_once(OURS) {
        return ours.rsplit_once(" at line ").map_or(ours, |(words, _)| words).to_owned();
    }
    if error.contains("invalid value: ") || error.contains("invalid type: ") {
        return "a value is not what its tag says; tags (!name) are not used here".to_owned();
    }
    if error.contains("more than one document") {
        return "the file holds more than one YAML document; a schedule is one".to_owned();
    }
    if error.contains("repetition limit") {
        return TOO_MANY.to_owned();
    }
    if error.contains("recursion limit") {
        return TOO_DEEP.to_owned();
    }
    if error.contains("unknown anchor") {
        return "an alias (*name) names nothing that stands before it; quote a text that begins with *"
            .to_owned();
    }
    if error.contains("found character that cannot start any token") {
        return "found a character that cannot stand here; if it begins a text, quote that".to_owned();
    }
    error.split(" at line ").next().unwrap_or(error).to_owned()
}

/// An error in our own words.
fn refused<E: de::Error>(why: impl fmt::Display) -> E {
    E::custom(format_args!("{OURS}{why}"))
}

/// Builds a plain tree: no tags, no merge keys, text keys, finite numbers of 64 bits, no key twice.
#[derive(Clone, Copy)]
struct NodeVisitor<'b> {
    /// Whether it stands under a key whose values are never shown.
    secret: bool,
    budget: &'b Budget,
}

impl<'de> DeserializeSeed<'de> for NodeVisitor<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        self.budget.spend(0)?;
        Ok(value.into())
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Value, E> {
        Err(refused("an integer beyond 64 bits cannot be passed on; quote it to pass it as text"))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Value, E> {
        self.visit_i128(0)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        self.budget.spend(0)?;
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| refused("JSON has no .nan and no .inf; quote it to pass it as text"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.budget.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        self.budget.spend(value.len())?;
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        self.budget.spend(0)?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        list.shrink_to_fit();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        self.budget.spend(0)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(self)? {
            let key = match key {
                Value::String(key) if key == "<<" => {
                    return Err(refused("merge keys (<<) are not used here; use `defaults`"));
                }
                Value::String(key) => key,
                // What stands here may be a secret in the wrong place.
                _ => return Err(refused("a key must be text; quote it")),
            };
            let below = Self { secret: self.secret || is_secret(&key), ..self };
            let value = entries.next_value_seed(below)?;
            if map.contains_key(&key) {
                let which = if self.secret {
                    "a key".to_owned()
                } else {
                    format!("the key `{}`", without_secret(&key))
                };
                return Err(refused(format_args!("{which} stands twice in the same mapping")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }

    fn visit_enum<A: de::EnumAccess<'de>>(self, _: A) -> Result<Value, A::Error> {
        Err(refused("tags (!name) are not used here"))
    }
}
