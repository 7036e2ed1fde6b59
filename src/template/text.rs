//! One text with a template in it: read once, rendered for as many firings as one likes.

use std::collections::BTreeMap;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Expression, Template, Value};
use serde_json::{Map, Number, Value as Json};

use super::filters::ENVIRONMENT;

/// The longest text that one template may become, in bytes.
const MOST: usize = 64 * 1024;

/// The names that a template may use; `timezone` is the entry's.
const NAMES: [&str; 11] = [
    "scheduled_time",
    "local_time",
    "due_time",
    "previous_time",
    "next_time",
    "window_start",
    "window_end",
    "firing_id",
    "entry",
    "pipeline",
    "timezone",
];

/// Whether a text has a template in it.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// A text that was read.
pub(super) enum Text<'a> {
    /// It is exactly one `{{ … }}`, and keeps the type of its expression.
    Lone { source: &'a str, expression: Expression<'a, 'a> },
    /// It becomes text.
    Mixed(Template<'a, 'a>),
}

impl<'a> Text<'a> {
    /// Reads a text.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        match lone_expression(text) {
            Some(source) => ENVIRONMENT
                .compile_expression(source)
                .map(|expression| Self::Lone { source: source.trim(), expression }),
            None => ENVIRONMENT.template_from_str(text).map(Self::Mixed),
        }
        .map_err(in_words)
    }

    /// Finds names that there are not.
    pub(super) fn check_names(&self) -> Result<(), String> {
        let names = match self {
            Self::Lone { expression, .. } => expression.undeclared_variables(false),
            Self::Mixed(template) => template.undeclared_variables(false),
        };
        // minijinja counts its own functions, such as `range`, as undeclared.
        let known =
            |name: &str| NAMES.contains(&name) || ENVIRONMENT.globals().any(|(global, _)| global == name);
        match names.iter().find(|name| !known(name)) {
            None => Ok(()),
            Some(unknown) => Err(format!("'{unknown}' is not known here; known are {}", NAMES.join(", "))),
        }
    }

    /// What it becomes with these values.
    pub(super) fn render(&self, values: &BTreeMap<&'static str, Value>) -> Result<Json, String> {
        let value = match self {
            Self::Lone { source, expression } => {
                let value = expression.eval(values).map_err(in_words)?;
                if value.is_undefined() {
                    return Err(format!("'{source}' has no value"));
                }
                json(&value)?
            }
            Self::Mixed(template) => Json::String(template.render(values).map_err(in_words)?),
        };
        match &value {
            Json::String(text) if text.len() > MOST => Err(format!("it becomes longer than {MOST} bytes")),
            _ => Ok(value),
        }
    }
}

/// The expression of a text that is exactly one `{{ … }}`.
fn lone_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner)
}

/// What an expression yields, as JSON. JSON has no infinity, no NaN and no undefined value, and what stands
/// for them there would be null: a value that nobody meant.
fn json(value: &Value) -> Result<Json, String> {
    match value.kind() {
        ValueKind::Undefined => Err("something in it has no value".to_owned()),
        ValueKind::Number if !value.is_integer() => f64::try_from(value.clone())
            .ok()
            .and_then(Number::from_f64)
            .map(Json::Number)
            .ok_or_else(|| format!("it becomes {value}, which is no number that JSON has")),
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()
            .map_err(in_words)?
            .map(|item| json(&item))
            .collect::<Result<_, _>>()
            .map(Json::Array),
        ValueKind::Map => {
            let mut fields = Map::new();
            for key in value.try_iter().map_err(in_words)? {
                let field = json(&value.get_item(&key).map_err(in_words)?)?;
                fields.insert(key.to_string(), field);
            }
            Ok(Json::Object(fields))
        }
        _ => serde_json::to_value(value).map_err(|error| error.to_string()),
    }
}

fn in_words(error: Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too many steps".to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    }
}
