//! The lines of a text as they may be shown: without what is secret.

/// Keys whose values are never shown.
const SECRET_KEYS: [&str; 5] = ["secret", "certificate", "password", "token", "key"];
/// The longest line that is shown, in characters.
const LONGEST: usize = 160;

/// The lines of a text. Each is looked at once, however many of them are shown.
#[derive(Debug)]
pub(super) struct Lines<'a>(Vec<Line<'a>>);

#[derive(Debug)]
struct Line<'a> {
    text: &'a str,
    /// The byte from which on nothing is shown.
    hidden_from: Option<usize>,
}

impl<'a> Lines<'a> {
    /// Splits a text, and finds what is secret in it by the keys that its lines stand under.
    pub(super) fn of(text: &'a str) -> Self {
        // The lines that the current one may stand under, from the outside in: their indents, and whether
        // what stands under them is secret.
        let mut above: Vec<(usize, bool)> = Vec::new();
        let line = |text: &'a str| {
            let indent = text.len() - text.trim_start().len();
            if indent == text.len() {
                return Line { text, hidden_from: None };
            }
            while above.pop_if(|(outer, _)| *outer >= indent).is_some() {}
            let under_secret = above.last().is_some_and(|(_, secret)| *secret);
            let own = secret_key(text);
            above.push((indent, under_secret || own.is_some()));
            Line { text, hidden_from: if under_secret { Some(indent) } else { own } }
        };
        Self(text.lines().map(line).collect())
    }

    /// A line, from 1, cut at 160 characters, with a placeholder for what is secret.
    pub(super) fn shown(&self, line: usize) -> Option<String> {
        let Line { text, hidden_from } = self.0.get(line.checked_sub(1)?)?;
        let shown = match hidden_from.and_then(|from| text.get(..from)) {
            Some(before) if before.trim().is_empty() => format!("{before}[hidden]"),
            Some(before) => format!("{before} [hidden]"),
            None => (*text).to_owned(),
        };
        let plain = |character: char| if character.is_control() { ' ' } else { character };
        Some(shown.chars().take(LONGEST).map(plain).collect())
    }
}

/// Where the colon after a secret's key ends, if the line has one.
fn secret_key(line: &str) -> Option<usize> {
    let lower = line.to_lowercase();
    SECRET_KEYS
        .iter()
        .flat_map(|key| lower.match_indices(key).map(|(at, key)| at + key.len()))
        .filter_map(|end| {
            let rest = lower[end..].trim_start_matches(['"', '\'', ' ']);
            rest.starts_with(':').then(|| lower.len() - rest.len() + 1)
        })
        .filter(|end| line.is_char_boundary(*end))
        .min()
}
