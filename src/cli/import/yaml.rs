//! Values as YAML, as a person would write them: short lists and mappings on one line, quotes where they are needed.
//! What a trigger says is shown with its control characters escaped, so that it can end no comment and no line.

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

/// A text, in quotes unless it can be taken for nothing else. JSON's quotes are YAML's, but for characters that JSON
/// leaves as they are and YAML takes for the end of a line, or for none of its own.
pub(super) fn scalar(text: &str) -> String {
    const OTHERS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let letters = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(letters)
        && !OTHERS.contains(&text.to_ascii_lowercase().as_str());
    match plain {
        true => text.to_owned(),
        false => escaped(&Value::String(text.to_owned()).to_string(), |code| match code {
            0..=0xffff => format!("\\u{code:04x}"),
            _ => format!("\\U{code:08x}"),
        }),
    }
}

/// A text of somebody else in a message or a comment: whatever could end the line or change how it is shown is
/// escaped.
pub(super) fn shown(text: &str) -> String {
    escaped(text, |code| format!("\\u{{{code:x}}}"))
}

fn escaped(text: &str, escape: impl Fn(u32) -> String) -> String {
    let mut said = String::with_capacity(text.len());
    for character in text.chars() {
        match is_sign(character) {
            true => said.push_str(&escape(u32::from(character))),
            false => said.push(character),
        }
    }
    said
}

/// Controls, ends of lines, marks of direction and of the byte order, and code points that are no characters.
fn is_sign(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || u32::from(character) & 0xfffe == 0xfffe
}

/// One line of a comment.
pub(super) fn comment(text: &str) -> String {
    format!("  # {}\n", shown(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_characters_is_read_back_as_it_was_and_stays_on_its_line() {
        let all: Vec<char> = (0..=0x2_ffff).filter_map(char::from_u32).collect();
        for part in all.chunks(64) {
            let text: String = part.iter().collect();
            let written = flow(&serde_json::json!({ "k": text, &text: 1 }));
            assert_eq!(written.lines().count(), 1, "{text:?}");
            assert_eq!(comment(&text).lines().count(), 1, "{text:?}");
            let read = crate::config::value(&written).unwrap_or_else(|why| panic!("{text:?}: {why}"));
            assert_eq!(read["k"], Value::String(text), "{written}");
        }
        assert_eq!(shown("a\nb\u{202e}\u{1b}[31m"), "a\\u{a}b\\u{202e}\\u{1b}[31m");
    }
}
