//! What is wrong with a schedule file, shown where it is wrong, without showing what is secret.

use std::fmt;

use serde::Serialize;

use super::position::Positions;
use super::position::is_secret;
use super::shown::{Lines, without_credentials, without_secret};

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

    /// The same, with more words, if there are any.
    pub(super) fn with_words(mut self, more: &str) -> Self {
        if !more.is_empty() {
            self.message = format!("{} ({more})", self.message);
        }
        self
    }

    /// The same, with the line of another place in its message.
    pub(super) fn with(self, also: String) -> Self {
        Self { also: Some(also), ..self }
    }
}

impl Problem {
    /// The same about something that is valid and hardly meant.
    #[must_use]
    pub fn as_warning(&self) -> String {
        Self { message: format!("warning: {}", self.message), ..self.clone() }.to_string()
    }
}

/// The longest message or path that is shown, in characters: a value may be as long as the file.
const LONGEST: usize = 600;

/// Everything that is wrong with a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    located: Vec<Problem>,
    /// How many more there are of which nobody has noted what they are.
    more: usize,
}

impl Problems {
    pub(super) fn locate(file: &str, text: &str, found: Vec<Found>, more: usize) -> Self {
        if found.is_empty() {
            return Self::default();
        }
        let paths = found.iter().flat_map(|found| [Some(found.path.as_str()), found.also.as_deref()]);
        let positions = Positions::of(text, paths.flatten());
        let (secrets, read_to_end) = positions.secrets();
        // What is no YAML for the one parser may be some for the other.
        let sound = read_to_end && found.iter().all(|found| found.at.is_none());
        let lines = Lines::of(text, secrets, sound);
        let mut problems: Vec<Problem> = found
            .into_iter()
            .map(|found| {
                let (line, column) = found.at.unwrap_or_else(|| match found.at_key {
                    true => positions.key_at(&found.path),
                    false => positions.value_at(&found.path),
                });
                let also = found.also.map(|path| format!(" (line {})", positions.value_at(&path).0));
                // What stands under a wrong name may be a secret all the same.
                let misspelt = found.suggestion.as_deref().is_some_and(is_secret)
                    || (found.at_key && found.path.starts_with("azure."));
                let key = found.path.rsplit('.').next().unwrap_or_default().chars().count();
                let most = misspelt.then_some(column - 1 + key);
                let message = found.message + &also.unwrap_or_default();
                Problem {
                    file: file.to_owned(),
                    line,
                    column,
                    path: cut(&without_credentials(&without_secret(&found.path))),
                    message: cut(&without_credentials(&message)),
                    suggestion: found.suggestion,
                    snippet: lines.shown(line, most),
                }
            })
            .collect();
        problems.sort_by_key(|problem| (problem.line, problem.column));
        Self { located: problems, more }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.located.len() + self.more
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.located.is_empty()
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.located.iter()
    }

    /// The first `most` of them for a place that is no page, and how many more there are.
    #[must_use]
    pub fn beginning(&self, most: usize) -> String {
        let mut shown: Vec<String> = self.located.iter().take(most).map(Problem::to_string).collect();
        if let Some(more @ 1..) = self.len().checked_sub(most) {
            shown.push(format!("... and {more} more; adf-cron check shows all"));
        }
        shown.join("\n")
    }

    /// `file:line:col` of the first one.
    #[must_use]
    pub fn first_location(&self) -> String {
        self.located.first().map(|p| format!("{}:{}:{}", p.file, p.line, p.column)).unwrap_or_default()
    }
}

/// The begin of a text that is too long to be shown.
fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{} [… {} bytes in all]", &text[..end], text.len()),
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.located.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n... and {more} more, which are not shown"),
        }
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
