//! From YAML text to a plain tree. The only file that names serde_yaml.
//!
//! serde_yaml is archived, and keeps the last of duplicate keys, passes `.nan` on and says "expected any
//! YAML value" for large integers: [`Node`] makes each of these a clear error. Alias bombs are stopped by
//! serde_yaml's own limit.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::position::is_secret;

/// Stands before what is said here, to tell it from what serde_yaml puts in front of it: a path of keys, one
/// of which may be a secret.
const OURS: char = '\u{1}';

/// What is wrong with a text that is not YAML, or not YAML of the plain kind.
#[derive(Debug)]
pub(super) struct SyntaxError {
    pub(super) message: String,
    /// Line and column, from 1.
    pub(super) at: Option<(usize, usize)>,
}

/// Reads YAML text as a plain tree.
pub(super) fn parse(text: &str) -> Result<Value, SyntaxError> {
    match serde_yaml::from_str::<Node>(text) {
        Ok(Node(value)) => Ok(value),
        Err(error) => {
            let at = error.location().map(|at| (at.line(), at.column()));
            Err(SyntaxError { message: in_words(&error.to_string()), at })
        }
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
        return "aliases (*name) repeat so much that the file is refused".to_owned();
    }
    if error.contains("recursion limit") {
        return "the file is nested too deeply, or an alias (*name) stands within what it names".to_owned();
    }
    if error.contains("found character that cannot start any token") {
        return "found a character that cannot stand here; indentation is by spaces, not tabs".to_owned();
    }
    error.split(" at line ").next().unwrap_or(error).to_owned()
}

/// An error in our own words.
fn refused<E: de::Error>(why: impl fmt::Display) -> E {
    E::custom(format_args!("{OURS}{why}"))
}

/// A plain tree: no tags, no merge keys, text keys, finite numbers of 64 bits, no key twice.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        NodeVisitor { secret: false }.deserialize(deserializer).map(Self)
    }
}

#[derive(Clone, Copy)]
struct NodeVisitor {
    /// Whether it stands under a key whose values are never shown.
    secret: bool,
}

impl<'de> DeserializeSeed<'de> for NodeVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Value, E> {
        Err(refused("an integer beyond 64 bits cannot be passed on; quote it to pass it as text"))
    }

    fn visit_u128<E: de::Error>(self, _: u128) -> Result<Value, E> {
        self.visit_i128(0)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| refused("JSON has no .nan and no .inf; quote it to pass it as text"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        list.shrink_to_fit();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
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
            let below = Self { secret: self.secret || is_secret(&key) };
            let value = entries.next_value_seed(below)?;
            if map.contains_key(&key) {
                let which = if self.secret { "a key".to_owned() } else { format!("the key `{key}`") };
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
