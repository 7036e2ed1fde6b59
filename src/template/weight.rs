//! How large a value is: what templates build may hold one list many times, and be far larger than the memory that
//! it takes.

use minijinja::Value;
use minijinja::value::ValueKind;

/// The most values within one value.
const MOST_VALUES: usize = 10_000;
/// The most bytes of all texts within one value.
const MOST_BYTES: usize = 256 * 1024;
/// How deep values may lie within each other.
const DEEPEST: usize = 32;

/// What a value weighs, as far as it has been looked at.
#[derive(Debug, Default)]
pub(super) struct Scale {
    values: usize,
    bytes: usize,
    depth: usize,
}

impl Scale {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Goes into a value, if that does not go too far.
    pub(super) fn enter(&mut self, value: &Value) -> Result<(), String> {
        self.values += 1;
        self.depth += 1;
        self.bytes += value.as_str().map_or(0, str::len);
        if self.values > MOST_VALUES || self.bytes > MOST_BYTES {
            return Err(format!("a value in it holds more than {MOST_VALUES} values or {MOST_BYTES} bytes"));
        }
        if self.depth > DEEPEST {
            return Err(format!("lists in it lie more than {DEEPEST} deep within each other"));
        }
        Ok(())
    }

    /// Comes out of the value that was entered last.
    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Looks at a value and all within it; returns how many values these are.
    pub(super) fn weigh(value: &Value) -> Result<usize, String> {
        let mut scale = Self::new();
        scale.all_of(value)?;
        Ok(scale.values)
    }

    fn all_of(&mut self, value: &Value) -> Result<(), String> {
        self.enter(value)?;
        let items = match value.kind() {
            ValueKind::Seq | ValueKind::Iterable | ValueKind::Map => value.try_iter().ok(),
            _ => None,
        };
        for item in items.into_iter().flatten() {
            self.all_of(&item)?;
            // The items of a mapping are its keys.
            if value.kind() == ValueKind::Map {
                value.get_item(&item).map_or(Ok(()), |field| self.all_of(&field))?;
            }
        }
        self.leave();
        Ok(())
    }
}
