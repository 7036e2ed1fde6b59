//! What is wrong with a schedule file, shown where it is wrong, without showing what is secret.

use std::fmt;

use serde::Serialize;

use super::position::Positions;

/// Keys whose values are never shown.
const SECRET_KEYS: [&str; 5] = ["secret", "certificate", "password", "token", "key"];

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// The key's path, for example `pipelines[3].schedule`.
    pub path: String,
    /// What is wrong, as a fragment.
    pub message: String,
    /// The known word that is most like what was written.
    pub suggestion: Option<String>,
    /// The line itself, secrets hidden.
    #[serde(skip)]
    snippet: Option<String>,
}

/// A problem before its place in the text is known.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) path: String,
    message: String,
    pub(super) suggestion: Option<String>,
    /// Whether the key itself is wrong, not its value.
    at_key: bool,
    /// The place, where it is known already.
    at: Option<(usize, usize)>,
    /// The path of another place that has to do with it.
    also: Option<String>,
}

impl Found {
    /// A value is wrong.
    pub(super) fn value(path: String, message: impl Into<String>) -> Self {
        Self { path, message: message.into(), suggestion: None, at_key: false, at: None, also: None }
    }

    /// A key is wrong.
    pub(super) fn key(path: String, message: impl Into<String>) -> Self {
        Self { at_key: true, ..Self::value(path, message) }
    }

    /// The text is wrong at a line and a column.
    pub(super) fn text(at: Option<(usize, usize)>, message: impl Into<String>) -> Self {
        Self { at, ..Self::value(String::new(), message) }
    }

    /// The same, with the line of another place in its message.
    pub(super) fn with(self, also: String) -> Self {
        Self { also: Some(also), ..self }
    }
}

/// Everything that is wrong with a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn locate(file: &str, text: &str, found: Vec<Found>) -> Self {
        let positions = Positions::of(text);
        let mut problems: Vec<Problem> = found
            .into_iter()
            .map(|found| {
                let (line, column) = found.at.unwrap_or_else(|| match found.at_key {
                    true => positions.key_at(&found.path),
                    false => positions.value_at(&found.path),
                });
                let also = found.also.map(|path| format!(" (line {})", positions.value_at(&path).0));
                Problem {
                    file: file.to_owned(),
                    line,
                    column,
                    path: found.path,
                    message: found.message + &also.unwrap_or_default(),
                    suggestion: found.suggestion,
                    snippet: snippet(text, line),
                }
            })
            .collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Self(problems)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// `file:line:col` of the first one.
    #[must_use]
    pub fn first_location(&self) -> String {
        self.0.first().map(|p| format!("{}:{}:{}", p.file, p.line, p.column)).unwrap_or_default()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; did you mean `{suggestion}`?")?;
        }
        if let Some(snippet) = &self.snippet {
            let number = self.line.to_string();
            let caret = " ".repeat(self.column.saturating_sub(1).min(snippet.chars().count()));
            write!(f, "\n  {number} | {snippet}\n  {} | {caret}^", " ".repeat(number.len()))?;
        }
        if !self.path.is_empty() {
            write!(f, "\n  key path: {}", self.path)?;
        }
        Ok(())
    }
}

/// The line, cut at 160 characters, or a placeholder where it may hold a secret.
fn snippet(text: &str, line: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let shown = lines.get(line.checked_sub(1)?)?;
    let indent = |line: &str| line.len() - line.trim_start().len();
    // The lines that this one stands under, from the inside out.
    let mut limit = indent(shown);
    let mut under_secret = false;
    for above in lines[..line - 1].iter().rev().filter(|above| !above.trim().is_empty()) {
        if limit == 0 {
            break;
        }
        if indent(above) < limit {
            limit = indent(above);
            under_secret |= secret_key(above).is_some();
        }
    }
    if under_secret {
        return Some(format!("{}[hidden]", " ".repeat(indent(shown))));
    }
    let shown = match secret_key(shown) {
        Some(end) => format!("{} [hidden]", &shown[..end]),
        None => (*shown).to_owned(),
    };
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    Some(shown.chars().take(160).map(plain).collect())
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
