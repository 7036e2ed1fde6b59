//! Values as YAML, as a person would write them: short lists and mappings on one line, quotes where they are needed.

use serde_json::Value;

/// A value on one line.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) if fields.is_empty() => "{}".to_owned(),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, field)| format!("{}: {}", scalar(key), flow(field))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        plain => plain.to_string(),
    }
}

/// A text, in quotes unless it can be taken for nothing else. JSON's quotes are YAML's.
pub(super) fn scalar(text: &str) -> String {
    const OTHERS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(letters)
        && !OTHERS.contains(&text.to_ascii_lowercase().as_str());
    match plain {
        true => text.to_owned(),
        false => Value::String(text.to_owned()).to_string(),
    }
}

/// One line of a comment.
pub(super) fn comment(text: &str) -> String {
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("  # {one_line}\n")
}
