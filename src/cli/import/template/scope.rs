//! What the expressions of a template may ask for: its parameters, its variables, and which copy it is.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value};

use super::super::parse::{self, Node, beginning};
use super::functions;

/// Values for parameters, by their names in small letters, or why there is none.
pub(in super::super) type Given = BTreeMap<String, Result<Value, String>>;

/// How much a resource's expressions may work, in values, and every sixteen bytes of texts: far above what templates
/// need, and the end of variables that double each other.
const MOST_WORK: usize = 200_000;

/// How much all expressions of a template may work: about a second.
const MOST_IN_ALL: usize = 20_000_000;

/// The longest expression that Resource Manager takes ("Syntax and expressions in ARM templates").
const LONGEST: usize = 24_576;

/// How deeply parameters and variables may name each other.
const DEEPEST: usize = 40;

/// A value that is not known, within a text of which only a part is needed. The character after it tells which value.
const UNKNOWN: char = '\0';
const FIRST_UNKNOWN: u32 = 0xf_0000;

/// What the expressions of a resource have cost so far, and those of the template.
#[derive(Debug, Default)]
pub(super) struct Effort {
    work: Cell<usize>,
    in_all: Cell<usize>,
    depth: Cell<usize>,
    /// Why the texts that were left open are not known.
    open: RefCell<Vec<String>>,
}

/// What an expression may ask for.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    template: &'a Value,
    given: Rc<Given>,
    /// The names of the copies that it stands in, and which it is; the innermost last.
    copies: Vec<(Rc<str>, i64)>,
    /// Whether what cannot be told is left open instead of being an error.
    open: bool,
    effort: &'a Effort,
}

impl<'a> Scope<'a> {
    pub(super) fn new(template: &'a Value, given: Given, effort: &'a Effort) -> Self {
        Self { template, given: given.into(), copies: Vec::new(), open: false, effort }
    }

    pub(super) fn effort(&self) -> &'a Effort {
        self.effort
    }

    /// Whether the template is written in the second version of its language.
    pub(super) fn is_of_version_2(&self) -> bool {
        let version = self.template.get("languageVersion").and_then(Value::as_str);
        version.is_some_and(|version| version.starts_with("2."))
    }

    /// Another resource begins.
    pub(super) fn rest(&self) {
        self.effort.work.set(0);
        self.effort.open.borrow_mut().clear();
    }

    /// A scope for each copy of this name.
    pub(super) fn in_copies(&self, name: &str, count: i64) -> Vec<Self> {
        let name: Rc<str> = name.into();
        let one = |index| {
            let mut copy = self.clone();
            copy.copies.push((name.clone(), index));
            copy
        };
        (0..count).map(one).collect()
    }

    /// The name of a resource: the part after the last slash, whatever the names of its parents.
    ///
    /// # Errors
    /// In words, when that part cannot be told.
    pub(super) fn name(&self, resource: &Value) -> Result<String, String> {
        let written = resource.get("name").ok_or("it has no name")?;
        let open = Self { open: true, ..self.clone() };
        let untold =
            |why: String| format!("its name {} cannot be told: {why}", beginning(&written.to_string()));
        let whole = open.value(written).map_err(untold)?;
        let name = whole.as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        match name.split_once(UNKNOWN) {
            None if name.is_empty() => Err(untold("it is empty".to_owned())),
            None => Ok(name.to_owned()),
            Some((_, which)) => Err(untold(self.why(which))),
        }
    }

    /// Why a text was left open.
    fn why(&self, which: &str) -> String {
        let number = which.chars().next().and_then(|which| u32::from(which).checked_sub(FIRST_UNKNOWN));
        let number = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(usize::MAX);
        self.effort
            .open
            .borrow()
            .get(number)
            .cloned()
            .unwrap_or_else(|| "something in it is not known".to_owned())
    }

    /// Leaves a text open.
    fn left_open(&self, why: String) -> Value {
        let mut open = self.effort.open.borrow_mut();
        let number = u32::try_from(open.len()).ok().and_then(|number| char::from_u32(FIRST_UNKNOWN + number));
        open.push(why);
        format!("{UNKNOWN}{}", number.unwrap_or(UNKNOWN)).into()
    }

    /// The name of the file that a path leads to, as far as it can be told.
    pub(super) fn file(&self, path: &str) -> String {
        let open = Self { open: true, ..self.clone() };
        let whole = open.value(&Value::from(path)).unwrap_or(Value::Null);
        let mut parts = whole.as_str().unwrap_or_default().split(['/', '?', UNKNOWN]);
        let name = parts.rfind(|part| part.ends_with(".json")).unwrap_or_default();
        name.trim_start_matches(|c| u32::from(c) >= FIRST_UNKNOWN).to_owned()
    }

    /// The values that a template within this one is given.
    pub(super) fn given(&self, parameters: Option<&Value>) -> Given {
        let mut given = Given::new();
        for (name, parameter) in parameters.and_then(Value::as_object).into_iter().flatten() {
            let value = match parameter.get("value") {
                Some(value) => self.value(value),
                None => Err(format!("the value of the parameter '{name}' is kept elsewhere")),
            };
            given.insert(name.to_lowercase(), value);
        }
        given
    }

    /// A value with its expressions resolved; an error names its key.
    ///
    /// # Errors
    /// In words.
    pub(super) fn resolved(&self, value: &Value, place: &str) -> Result<Value, String> {
        // The place is written anew for each value.
        self.charge(1 + place.len() / 16)?;
        match value {
            Value::String(text) => self.text(text).map_err(|why| {
                format!("its {place} is the template's expression '{}', and {why}", beginning(text))
            }),
            Value::Array(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| self.resolved(item, &format!("{place}[{index}]")))
                .collect(),
            Value::Object(fields) => {
                let mut resolved = Map::new();
                for (key, field) in fields {
                    let place = format!("{place}.{}", beginning(key));
                    match (key.as_str(), field) {
                        ("copy", Value::Array(copies)) if copies.iter().all(is_copy) => {
                            for copy in copies {
                                let (name, value) =
                                    self.copied(copy).map_err(|why| format!("its {place}: {why}"))?;
                                resolved.insert(name, value);
                            }
                        }
                        _ => {
                            resolved.insert(key.clone(), self.resolved(field, &place)?);
                        }
                    }
                }
                Ok(Value::Object(resolved))
            }
            plain => Ok(plain.clone()),
        }
    }

    /// The same. The caller names the key.
    pub(super) fn value(&self, value: &Value) -> Result<Value, String> {
        match value {
            Value::String(text) => self.text(text),
            other => self.resolved(other, "value"),
        }
    }

    /// A list of copies of one value, with its name.
    pub(super) fn copied(&self, copy: &Value) -> Result<(String, Value), String> {
        let name = copy["name"].as_str().unwrap_or_default();
        let count = self.value(&copy["count"])?;
        let count = count.as_i64().filter(|count| (0..=super::MOST_COPIES).contains(count));
        let count = count.ok_or("its count is no number from 0 to 800")?;
        let copies = self.in_copies(name, count).into_iter().map(|copy_of| copy_of.value(&copy["input"]));
        Ok((name.to_owned(), copies.collect::<Result<Value, _>>()?))
    }

    /// A text, which may be an expression.
    fn text(&self, text: &str) -> Result<Value, String> {
        self.charge(text.len() / 16)?;
        match text.strip_prefix('[').filter(|rest| rest.ends_with(']')) {
            // A doubled bracket is a plain one.
            Some(plain) if plain.starts_with('[') => Ok(plain.into()),
            Some(rest) if rest.len() > LONGEST => {
                Err(format!("Resource Manager takes no expression of more than {LONGEST} characters"))
            }
            Some(rest) => self.node(&parse::expression(&rest[..rest.len() - 1])?),
            None => Ok(text.into()),
        }
    }

    fn charge(&self, work: usize) -> Result<(), String> {
        let Effort { work: own, in_all, .. } = self.effort;
        own.set(own.get().saturating_add(work));
        in_all.set(in_all.get().saturating_add(work));
        match own.get() > MOST_WORK || in_all.get() > MOST_IN_ALL {
            true => Err("working it out takes too many steps".to_owned()),
            false => Ok(()),
        }
    }

    pub(super) fn node(&self, node: &Node) -> Result<Value, String> {
        self.charge(1)?;
        let (name, arguments, path) = match node {
            Node::Text(text) => return Ok(text.as_str().into()),
            Node::Number(number) => return Ok((*number).into()),
            Node::Call { name, arguments, path } => (name, arguments, path),
        };
        let found = self.call(name, arguments).and_then(|value| self.within(value, path));
        match found {
            Err(why) if self.open => Ok(self.left_open(why)),
            Err(why) => Err(why),
            Ok(value) => self.charge(size(&value)).map(|()| value),
        }
    }

    fn call(&self, name: &str, arguments: &[Node]) -> Result<Value, String> {
        match (name.to_ascii_lowercase().as_str(), arguments) {
            ("parameters", [name]) => self.named(name, Self::parameter),
            ("variables", [name]) => self.named(name, Self::variable),
            ("copyindex", arguments) => self.copy_index(arguments),
            // Of an identifier only the end is known: the names of the resource.
            ("resourceid" | "extensionresourceid" | "subscriptionresourceid", parts) if self.open => {
                let parts = parts.iter().map(|part| self.node(part)).collect::<Result<Vec<_>, _>>()?;
                Ok(parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("/").into())
            }
            // Only the side that is taken need be told.
            ("if", [condition, yes, no]) => match self.node(condition)? {
                Value::Bool(true) => self.node(yes),
                Value::Bool(false) => self.node(no),
                other => Err(match unknown(&other) {
                    Some(which) => self.why(which),
                    None => "the condition of if() is neither true nor false".to_owned(),
                }),
            },
            (lower, arguments) => {
                let values =
                    arguments.iter().map(|argument| self.node(argument)).collect::<Result<Vec<_>, _>>()?;
                // Where texts are joined, the parts that are known stay so. Anything else goes by the whole text.
                let joins = matches!(lower, "concat" | "format" | "tolower" | "toupper" | "trim");
                match values.iter().find_map(unknown).filter(|_| self.open && !joins) {
                    Some(which) => Err(self.why(which)),
                    None => functions::call(name, lower, &values),
                }
            }
        }
    }

    fn named(&self, name: &Node, look_up: fn(&Self, &str) -> Result<Value, String>) -> Result<Value, String> {
        let name = self.node(name)?;
        let depth = self.effort.depth.get();
        if depth == DEEPEST {
            return Err("its parameters and variables name each other too deeply".to_owned());
        }
        self.effort.depth.set(depth + 1);
        let value = look_up(self, name.as_str().unwrap_or_default());
        self.effort.depth.set(depth);
        value
    }

    fn parameter(&self, name: &str) -> Result<Value, String> {
        if let Some(value) = self.given.get(&name.to_lowercase()) {
            value.as_ref().map_or(Ok(()), |value| self.charge(size(value)))?;
            return value.clone();
        }
        let none = || {
            format!(
                "the parameter '{}' has no value; give it a default, or a value in a parameter file",
                beginning(name)
            )
        };
        let declared = self.field(self.template.get("parameters"), name)?;
        let default = declared.and_then(|declared| declared.get("defaultValue")).ok_or_else(none)?;
        self.value(default)
    }

    fn variable(&self, name: &str) -> Result<Value, String> {
        let variables = self.template.get("variables");
        if let Some(variable) = self.field(variables, name)? {
            return self.value(variable);
        }
        let copies = variables.and_then(|variables| variables.get("copy")).and_then(Value::as_array);
        let copied = copies.into_iter().flatten().find(|copy| is_copy(copy) && copy["name"] == name);
        match copied {
            Some(copy) => self.copied(copy).map(|(_, value)| value),
            None => Err(format!("there is no variable '{}'", beginning(name))),
        }
    }

    fn copy_index(&self, arguments: &[Node]) -> Result<Value, String> {
        let values = arguments.iter().map(|argument| self.node(argument)).collect::<Result<Vec<_>, _>>()?;
        let innermost = |name: Option<&str>| {
            let mut copies = self.copies.iter().rev();
            copies
                .find(|(copy, _)| name.is_none_or(|name| name.eq_ignore_ascii_case(copy.as_ref())))
                .map(|(_, index)| *index)
        };
        let (name, offset) = match values.as_slice() {
            [] => (None, 0),
            [Value::Number(offset)] => (None, offset.as_i64().unwrap_or_default()),
            [Value::String(name)] => (Some(name.as_str()), 0),
            [Value::String(name), Value::Number(offset)] => {
                (Some(name.as_str()), offset.as_i64().unwrap_or_default())
            }
            _ => return Err("copyIndex() has other arguments than a name and a number".to_owned()),
        };
        let index = innermost(name).and_then(|index| index.checked_add(offset));
        index.map(Value::from).ok_or_else(|| "copyIndex() stands in no such copy".to_owned())
    }

    /// The field of a name, in which capitals do not count.
    fn field<'v>(&self, map: Option<&'v Value>, name: &str) -> Result<Option<&'v Value>, String> {
        let Some(map) = map.and_then(Value::as_object) else { return Ok(None) };
        if let Some(found) = map.get(name) {
            return Ok(Some(found));
        }
        // All names are looked at.
        self.charge(map.keys().map(|key| 1 + key.len() / 16).sum())?;
        let name = name.to_lowercase();
        Ok(map.iter().find(|(key, _)| key.to_lowercase() == name).map(|(_, value)| value))
    }

    /// What is asked of a result.
    fn within(&self, mut value: Value, path: &[Node]) -> Result<Value, String> {
        for step in path {
            let next = match (self.node(step)?, &value) {
                (Value::String(name), Value::Object(_)) => self.field(Some(&value), &name)?.cloned(),
                (Value::Number(index), Value::Array(items)) => {
                    index.as_u64().and_then(|index| items.get(usize::try_from(index).ok()?)).cloned()
                }
                _ => None,
            };
            value = next.ok_or("something in it has no such part")?;
        }
        Ok(value)
    }
}

pub(super) fn is_copy(copy: &Value) -> bool {
    copy.get("name").is_some_and(Value::is_string)
        && copy.get("count").is_some()
        && copy.get("input").is_some()
}

/// Which part of a value was left open.
fn unknown(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => text.split_once(UNKNOWN).map(|(_, which)| which),
        Value::Array(items) => items.iter().find_map(unknown),
        Value::Object(fields) => fields.values().find_map(unknown),
        _ => None,
    }
}

/// What a value weighs.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => 1 + text.len() / 16,
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(fields) => {
            1 + fields.iter().map(|(key, value)| key.len() / 16 + size(value)).sum::<usize>()
        }
        _ => 1,
    }
}
