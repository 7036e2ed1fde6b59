//! The lines of a text as they may be shown: without what is secret.

use std::borrow::Cow;

use super::position::{SECRET_KEYS, Secret, is_secret};

/// The longest line that is shown, in characters.
const LONGEST: usize = 160;
const HIDDEN: &str = "[hidden]";
/// How alike a word must be to the name of a secret to be taken for it.
const ALIKE: f64 = 0.9;

/// A text without the user and the password of an address: what stands between `//` and `@`.
pub(super) fn without_credentials(text: &str) -> Cow<'_, str> {
    if let Some((before, after)) = text.split_once("//")
        && let Some((_, host)) = after.rsplit_once('@')
    {
        return format!("{before}//{HIDDEN}@{host}").into();
    }
    text.into()
}

/// A key or a path without what follows the name of a secret in it: a colon may have been forgotten.
pub(super) fn without_secret(text: &str) -> Cow<'_, str> {
    match after_secret_word(text) {
        Some(end) => format!("{} {HIDDEN}", &text[..end]).into(),
        None => text.into(),
    }
}

/// The lines of a text. Each is looked at once, however many of them are shown.
#[derive(Debug)]
pub(super) struct Lines<'a>(Vec<Line<'a>>);

#[derive(Debug)]
struct Line<'a> {
    text: &'a str,
    /// The byte after the last `@`, which ends the password of an address.
    last_at: usize,
    /// The byte from which on nothing is shown.
    hidden_from: Option<usize>,
}

impl<'a> Lines<'a> {
    /// Splits a text, and finds what is secret in it: `secrets`, where the text could be read, and by the
    /// look of the lines. Where it could not be read to its end, brackets and quotes count too.
    pub(super) fn of(text: &'a str, secrets: &[Secret], read_to_end: bool) -> Self {
        let mut outline = Outline::default();
        let mut open = Open::default();
        let mut azure = AzureBlock::default();
        let line = |text: &'a str| {
            let keys = secret_keys(text);
            let by_indent = outline.hidden_from(text, keys.first().copied());
            let by_look = if read_to_end {
                None
            } else {
                // Nobody knows what is a key here, and what its value.
                let by_brackets = open.hidden_from(text, &keys, by_indent.is_some());
                let by_block = azure.hidden_from(text);
                by_brackets.into_iter().chain(by_block).chain(after_secret_word(text)).min()
            };
            let last_at = text.rfind('@').map_or(0, |at| at + 1);
            Line { text, last_at, hidden_from: by_indent.into_iter().chain(by_look).min() }
        };
        // What YAML takes for the end of a line.
        let split = text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'));
        let mut lines = Self(split.map(line).collect());
        for secret in secrets {
            lines.hide(secret);
        }
        lines
    }

    fn hide(&mut self, secret: &Secret) {
        let (first, column) = secret.from;
        let end = secret.last_line.min(self.0.len());
        for (index, line) in self.0.iter_mut().enumerate().take(end).skip(first.saturating_sub(1)) {
            // A line may hold many secrets, and what stands behind the first is hidden with it.
            if index + 1 == first && line.hidden_from.is_some_and(|known| known <= column) {
                continue;
            }
            let from = match index + 1 == first {
                true => line.text.char_indices().nth(column).map_or(line.text.len(), |(at, _)| at),
                false => indent(line.text),
            };
            line.hidden_from = Some(line.hidden_from.map_or(from, |known| known.min(from)));
        }
    }

    /// A line, from 1, cut at 160 characters, with a placeholder for what is secret; at most its first
    /// `most` characters are known not to be.
    pub(super) fn shown(&self, line: usize, most: Option<usize>) -> Option<String> {
        let Line { text, last_at, hidden_from } = self.0.get(line.checked_sub(1)?)?;
        if text.is_empty() {
            return None;
        }
        // Lines may be long, and one may be shown for many problems: only its begin is looked at.
        let within = |most: usize| text.char_indices().nth(most.min(LONGEST)).map(|(at, _)| at);
        let most = most.and_then(within);
        let from = hidden_from.iter().copied().chain(most).min();
        let end = within(LONGEST).unwrap_or(text.len());
        let shown = match from.filter(|from| *from <= end).and_then(|from| text.get(..from)) {
            Some(before) if before.trim().is_empty() => format!("{before}{HIDDEN}"),
            Some(before) => format!("{} {HIDDEN}", before.trim_end()),
            None => match text[..end].split_once("//") {
                // The password may end behind what is shown.
                Some((before, _)) if *last_at > end => format!("{before}//{HIDDEN}"),
                _ => text[..end].to_owned(),
            },
        };
        let plain = |character: char| if character.is_control() { ' ' } else { character };
        Some(without_credentials(&shown).chars().map(plain).collect())
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// What stands under what, by indentation.
#[derive(Default)]
struct Outline {
    /// The lines that the next one may stand under, from the outside in: their depths, and whether what
    /// stands under them is secret.
    above: Vec<(usize, bool)>,
    /// Whether the last line was secret, at least in part.
    after: bool,
}

impl Outline {
    fn hidden_from(&mut self, line: &str, key: Option<usize>) -> Option<usize> {
        let content = line.trim_start();
        if content.is_empty() {
            return None;
        }
        // An item of a list may stand as far to the left as the key that it belongs to, and of a key that was
        // made a comment the value may have been left.
        let is_item = content == "-" || content.starts_with("- ");
        let before = &line[..line.len() - line.trim_start_matches([' ', '\t', '#']).len()];
        let own = if key.is_some() { before.matches(' ').count() } else { indent(line) };
        let depth = 2 * own + usize::from(is_item);
        let outer = self.above.iter().rposition(|(outer, _)| *outer < depth);
        let under_secret = outer.is_some_and(|outer| self.above[outer].1);
        // A comment ends nothing.
        if !content.starts_with('#') || key.is_some() {
            self.above.truncate(outer.map_or(0, |outer| outer + 1));
            self.above.push((depth, under_secret || key.is_some()));
        }
        // Letters and a colon that slipped into the indent of a value make a key of it, far from what follows.
        let swallowed = self.after && begins_with_key(content) && content.contains(":  ");
        self.after = under_secret || swallowed || key.is_some();
        if under_secret || swallowed { Some(indent(line)) } else { key }
    }
}

/// The `azure:` block of a text that could not be read: all in it may be the secret, but for what begins with another
/// key of it.
#[derive(Default)]
struct AzureBlock {
    /// How far its key is indented, within it.
    within: Option<usize>,
}

impl AzureBlock {
    const KEYS: [&str; 13] = [
        "cloud",
        "authority",
        "resource_manager",
        "audience",
        "ca_file",
        "tenant_id",
        "client_id",
        "client_secret",
        "client_certificate",
        "token_endpoint",
        "subscription_id",
        "resource_group",
        "factory",
    ];
    const BESIDE: [&str; 5] = ["version", "ledger", "daemon", "defaults", "pipelines"];

    fn hidden_from(&mut self, line: &str) -> Option<usize> {
        let (own, content) = (indent(line), line.trim_start());
        let (key, value) = content.split_once(':').unwrap_or((content, ""));
        let key = key.trim().trim_matches(['"', '\'']);
        if key == "azure" {
            self.within = Some(own);
            return (!value.trim().is_empty()).then(|| line.len() - value.len());
        }
        let outer = self.within?;
        if own <= outer && Self::BESIDE.contains(&key) {
            self.within = None;
        }
        (self.within.is_some() && !Self::KEYS.contains(&key)).then_some(own)
    }
}

/// What is still open at the end of a line of a text that could not be read: brackets, a quote, and a secret
/// in them.
#[derive(Default)]
struct Open {
    brackets: usize,
    quote: Option<char>,
    /// How many brackets the secret stands in.
    secret: Option<usize>,
    /// Whether the last line was hidden, at least in part.
    after: bool,
}

impl Open {
    fn hidden_from(&mut self, line: &str, keys: &[usize], under_secret: bool) -> Option<usize> {
        let content = line.trim_start();
        // A line that lost its indent is still no key of its own.
        let hidden =
            self.secret.is_some() || (self.after && !content.is_empty() && !begins_with_key(content));
        self.after = hidden || under_secret || !keys.is_empty() || (self.after && content.is_empty());
        self.read(line, keys);
        hidden.then(|| indent(line))
    }

    fn read(&mut self, line: &str, keys: &[usize]) {
        // Whether a bracket or a quote would begin something here, and not just be a letter of a text.
        let mut begins = true;
        let mut letters = line.char_indices().peekable();
        while let Some((at, letter)) = letters.next() {
            if self.quote.is_none() && self.secret.is_none() && keys.binary_search(&at).is_ok() {
                self.secret = Some(self.brackets);
            }
            match (self.quote, letter) {
                (Some('"'), '\\') => {
                    letters.next();
                }
                (Some(quote), letter) if quote == letter => self.quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') if begins => self.quote = Some(letter),
                (None, '[' | '{') if begins || self.brackets > 0 => self.brackets += 1,
                (None, ']' | '}') if self.brackets > 0 => self.brackets -= 1,
                (None, '#') if line[..at].ends_with([' ', '\t']) || at == 0 => break,
                _ => {}
            }
            let ended = |secret: usize| {
                self.quote.is_none()
                    && (self.brackets < secret || (letter == ',' && secret > 0 && self.brackets == secret))
            };
            if self.secret.is_some_and(ended) {
                self.secret = None;
            }
            let follows = letters.peek().is_none_or(|(_, next)| *next == ' ');
            begins = match letter {
                ' ' | '\t' => begins,
                '[' | '{' | ',' => true,
                ':' | '-' | '?' => follows || self.brackets > 0,
                _ => false,
            };
        }
        if self.quote.is_none() && self.secret.is_none() && keys.binary_search(&line.len()).is_ok() {
            self.secret = Some(self.brackets);
        }
        if self.secret == Some(0) && self.brackets == 0 && self.quote.is_none() {
            self.secret = None;
        }
    }
}

/// Whether a line without its indent begins with a plain key.
fn begins_with_key(content: &str) -> bool {
    let content = content.trim_start_matches("- ").trim_start_matches(['"', '\'']);
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let rest = content.trim_start_matches(word);
    let colon = rest.trim_start_matches(['"', '\'']).strip_prefix(':');
    content.starts_with(char::is_alphanumeric)
        && colon.is_some_and(|value| value.is_empty() || value.starts_with(' '))
}

/// The bytes after the colons of the keys in a line whose values are secret.
fn secret_keys(line: &str) -> Vec<usize> {
    // Of the same length, byte by byte.
    let lower = line.to_ascii_lowercase();
    let mut ends: Vec<usize> = SECRET_KEYS
        .iter()
        .flat_map(|key| lower.match_indices(key).map(|(at, key)| at + key.len()))
        .filter_map(|end| {
            let rest = lower[end..].trim_start_matches(['"', '\'', ' ']);
            rest.starts_with(':').then(|| lower.len() - rest.len() + 1)
        })
        .collect();
    // A key whose colon was forgotten.
    let begin = line.len() - line.trim_start_matches([' ', '\t', '-', '?', '{', '[', ',', '"', '\'']).len();
    let word = line[begin..].split(is_no_letter).next().unwrap_or_default();
    if ends.is_empty() && is_secret(word) {
        ends.push(begin + word.len());
    }
    ends.sort_unstable();
    ends
}

fn is_no_letter(letter: char) -> bool {
    !letter.is_alphanumeric() && !matches!(letter, '_' | '-' | '.')
}

/// The byte after the first word in a line that looks like the name of a secret, if anything follows it.
pub(super) fn after_secret_word(line: &str) -> Option<usize> {
    const PARTS: [&str; 6] = ["secret", "certificate", "passw", "pwd", "token", "credential"];
    const NAMES: [&str; 4] = ["client_secret", "client_certificate", "secret", "password"];
    let mut at = 0;
    // Whoever writes a name in so wrong a way may have misspelt it, too.
    let looks_secret = |word: &str| {
        let lower = word.to_ascii_lowercase();
        PARTS.iter().any(|part| lower.contains(part))
            || is_secret(&lower)
            || (word.len() < 64 && NAMES.iter().any(|name| strsim::jaro_winkler(name, &lower) > ALIKE))
    };
    for word in line.split_inclusive(is_no_letter) {
        let letters = word.trim_end_matches(is_no_letter);
        at += word.len();
        if letters.len() > 2 && looks_secret(letters) {
            let end = at - word.len() + letters.len();
            let rest = line[end..].trim_start_matches(['"', '\'', ' ', '\t']);
            let from = if rest.starts_with(':') { line.len() - rest.len() + 1 } else { end };
            return (!line[from..].trim().is_empty()).then_some(from);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lines of a text that no parser can read.
    fn shown(text: &str) -> String {
        let lines = Lines::of(text, &[], false);
        let shown: Vec<String> = (1..=text.lines().count()).filter_map(|n| lines.shown(n, None)).collect();
        shown.join("\n")
    }

    #[test]
    fn a_secret_in_a_text_that_cannot_be_read_is_hidden_to_its_end_and_no_further() {
        for (text, wanted) in [
            ("client_secret: { a: hunter2,\nhunter2 }\nb: 1", "client_secret: [hidden]\n[hidden]\nb: 1"),
            (
                "client_secret: \"}\nhunter2\\\"\nhunter2\"\nb: 1",
                "client_secret: [hidden]\n[hidden]\n[hidden]\nb: 1",
            ),
            ("a: {\nclient_secret:\nhunter2,\nb: 1", "a: {\nclient_secret: [hidden]\n[hidden]\nb: 1"),
            ("  client_secret:\n  - hunter2\n  b: 1", "  client_secret: [hidden]\n  [hidden]\n  b: 1"),
            (
                "  client_secret:\n# why\n    hunter2\n  b: 1",
                "  client_secret: [hidden]\n[hidden]\n    [hidden]\n  b: 1",
            ),
            (
                "  client_secret:\n    file:\n  x:  - hunter2\nb: 1",
                "  client_secret: [hidden]\n    [hidden]\n  [hidden]\nb: 1",
            ),
            (
                "client_secret: |\n    a\nx:    hunter2\nb: 1",
                "client_secret: [hidden]\n    [hidden]\n[hidden]\nb: 1",
            ),
            ("client_secret: # {\nb: 1", "client_secret: [hidden]\nb: 1"),
            ("client_secret: it's {\nb: 1", "client_secret: [hidden]\nb: 1"),
            ("client_secret hunter2\nb: 1", "client_secret [hidden]\nb: 1"),
            ("client_secret=hunter2\nb: 1", "client_secret [hidden]\nb: 1"),
            ("a: b\rclient_secret: hunter2\rb: 1", ""),
            ("- client_secret hunter2\nb: 1", "- client_secret [hidden]\nb: 1"),
            ("a: { client_secret \"hunter2\" }\nb: 1", "a: { client_secret [hidden]\nb: 1"),
            ("client_secret\t: hunter2\nb: 1", "client_secret [hidden]\nb: 1"),
            ("client_secret;hunter2\nb: 1", "client_secret [hidden]\nb: 1"),
            ("client_secret：hunter2\nb: 1", "client_secret [hidden]\nb: 1"),
            ("? client_secret\n: hunter2\nb: 1", ""),
            ("client_secret\n: hunter2\nb: 1", ""),
            ("clientSecretValue: hunter2\nb: 1", "clientSecretValue: [hidden]\nb: 1"),
            ("client_secert: hunter2\nb: 1", "client_secert: [hidden]\nb: 1"),
            ("a: b, password = hunter2\nb: 1", "a: b, password [hidden]\nb: 1"),
            ("resource_group: rg client_secret: hunter2\nb: 1", ""),
            ("azure:\n  client_id: x\n  hunter2\n  geheim: hunter2\nledger: y", ""),
            ("azure: { client_id: x, geheim: hunter2 }\nledger: y", "azure: [hidden]\nledger: y"),
            ("\"azure\":\n  client_secret:\n  hunter2: x\n# hunter2\nledger: y", ""),
            ("name: refresh-token\nschedule: * * * * *", "name: refresh-token\nschedule: * * * * *"),
        ] {
            let shown = shown(text);
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown == wanted || wanted.is_empty(), "{shown}\nshould be\n{wanted}");
        }
    }

    #[test]
    fn the_user_and_the_password_of_an_address_are_hidden() {
        assert_eq!(without_credentials("a: https://u:p@h/x"), "a: https://[hidden]@h/x");
        assert_eq!(without_credentials("a: https://u:p@s/s w@rd@h"), "a: https://[hidden]@h");
        assert_eq!(without_credentials("mail me@example.org // soon"), "mail me@example.org // soon");
        assert_eq!(without_credentials("https://h/x"), "https://h/x");
    }
}
