//! The grammar of expressions. Data Factory writes `@` before a whole text, `@{ … }` within one, `@@` for a plain `@`;
//! a template of Azure Resource Manager writes `[ … ]` around a whole text. Within them both are calls of functions.

/// The deepest nesting that is read: deeper ones are nobody's, and would take the stack.
const DEEPEST: usize = 32;

/// The longest name of a function.
const LONGEST: usize = 100;

/// How much of an expression a message shows, in characters.
const SHOWN: usize = 120;

/// A part of a text or of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// Text as it stands.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A function with its arguments, and what is asked of its result: `trigger().outputs.windowStartTime`.
    Call {
        /// As it was written.
        name: String,
        /// In order.
        arguments: Vec<Node>,
        /// The names after the dots, and what stands in brackets.
        path: Vec<Node>,
    },
}

/// Whether a text is one expression of Data Factory as a whole, whose type is kept.
pub(super) fn is_whole(text: &str) -> bool {
    text.starts_with('@') && !text.starts_with("@@") && !text.starts_with("@{")
}

/// The beginning of a text, for a message.
pub(super) fn beginning(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An expression that stands alone.
///
/// # Errors
/// In words, when it cannot be read.
pub(super) fn expression(text: &str) -> Result<Node, String> {
    let mut reader = Reader { rest: text, all: text, depth: 0 };
    let node = reader.expression()?;
    reader.end()?;
    Ok(node)
}

/// The parts of a text of Data Factory.
///
/// # Errors
/// In words, when an expression in it cannot be read.
pub(super) fn text(text: &str) -> Result<Vec<Node>, String> {
    if is_whole(text) {
        return Ok(vec![expression(&text[1..])?]);
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text.strip_prefix("@@").map_or(text, |plain| {
        literal.push('@');
        plain
    });
    while let Some(at) = rest.find("@{") {
        // A doubled sign is a plain one.
        let escaped = rest[..at].ends_with('@');
        if escaped {
            literal.push_str(&rest[..at]);
            literal.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        literal.push_str(&rest[..at]);
        if !literal.is_empty() {
            parts.push(Node::Text(std::mem::take(&mut literal)));
        }
        let mut reader = Reader { rest: &rest[at + 2..], all: text, depth: 0 };
        parts.push(reader.expression()?);
        reader.expect('}')?;
        rest = reader.rest;
    }
    literal.push_str(rest);
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Node::Text(literal));
    }
    Ok(parts)
}

struct Reader<'a> {
    rest: &'a str,
    all: &'a str,
    depth: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> String {
        let at = self.all[..self.all.len() - self.rest.len()].chars().count();
        let shown = beginning(self.all);
        format!("the expression '{shown}' is not closed or not known at character {at}: {what}")
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, sign: char) -> bool {
        self.skip();
        match self.rest.strip_prefix(sign) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, sign: char) -> Result<(), String> {
        if self.take(sign) { Ok(()) } else { Err(self.wrong(&format!("'{sign}' is missing"))) }
    }

    fn end(&mut self) -> Result<(), String> {
        self.skip();
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("something follows its end")) }
    }

    fn expression(&mut self) -> Result<Node, String> {
        if self.depth == DEEPEST {
            return Err(self.wrong(&format!("it nests deeper than {DEEPEST} times")));
        }
        self.depth += 1;
        let node = self.node();
        self.depth -= 1;
        node
    }

    fn node(&mut self) -> Result<Node, String> {
        self.skip();
        if self.rest.starts_with('\'') {
            return self.literal();
        }
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let length = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
        let name = self.rest[..length].to_owned();
        if name.is_empty() {
            return Err(self.wrong("a function, a text or a whole number is missing"));
        }
        if name.len() > LONGEST {
            return Err(self.wrong("no function has so long a name"));
        }
        self.rest = &self.rest[length..];
        if let Ok(number) = name.parse() {
            return match self.rest.starts_with('.') {
                true => Err(self.wrong("only whole numbers are known here")),
                false => Ok(Node::Number(number)),
            };
        }
        if !self.take('(') {
            return Err(self.wrong(&format!("'{}' is no function", beginning(&name))));
        }
        let arguments = self.arguments()?;
        Ok(Node::Call { name, arguments, path: self.path()? })
    }

    fn arguments(&mut self) -> Result<Vec<Node>, String> {
        let mut arguments = Vec::new();
        if self.take(')') {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression()?);
            if self.take(')') {
                return Ok(arguments);
            }
            self.expect(',')?;
        }
    }

    /// `.name`, `?.name`, `['name']` and `[0]`.
    fn path(&mut self) -> Result<Vec<Node>, String> {
        let mut path = Vec::new();
        loop {
            let rest = self.rest.strip_prefix('?').unwrap_or(self.rest);
            if let Some(rest) = rest.strip_prefix('.') {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
                path.push(Node::Text(rest[..length].to_owned()));
                self.rest = &rest[length..];
            } else if let Some(rest) = rest.strip_prefix('[') {
                self.rest = rest;
                path.push(self.expression()?);
                self.expect(']')?;
            } else {
                return Ok(path);
            }
        }
    }

    /// A text in single quotes, of which a doubled one is one.
    fn literal(&mut self) -> Result<Node, String> {
        let mut text = String::new();
        let mut rest = &self.rest[1..];
        loop {
            let Some(end) = rest.find('\'') else { return Err(self.wrong("the quote is not closed")) };
            text.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(more) => {
                    text.push('\'');
                    rest = more;
                }
                None => break,
            }
        }
        self.rest = rest;
        Ok(Node::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_taken_apart_into_literals_and_expressions() {
        let plain = |text: &str| Node::Text(text.to_owned());
        let call = |name: &str, path: &[&str]| Node::Call {
            name: name.to_owned(),
            arguments: Vec::new(),
            path: path.iter().map(|part| plain(part)).collect(),
        };
        assert_eq!(
            text("@trigger().outputs['windowStartTime']").unwrap(),
            [call("trigger", &["outputs", "windowStartTime"])]
        );
        assert_eq!(text("a@{f()}b@{g()}").unwrap(), [plain("a"), call("f", &[]), plain("b"), call("g", &[])]);
        assert_eq!(text("@@x").unwrap(), [plain("@x")]);
        assert_eq!(text("").unwrap(), [plain("")]);
        let quoted = Node::Call {
            name: "f".to_owned(),
            arguments: vec![plain("it's"), Node::Number(-2)],
            path: vec![Node::Number(0)],
        };
        assert_eq!(text("@f( 'it''s' , -2 )[0]").unwrap(), [quoted]);
        for wrong in ["@f(", "@f('a", "@f() x", "@name", "a@{f()", "@f(1.5)", "@"] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_nests_without_end_is_refused_before_it_takes_the_stack_and_shown_in_part() {
        for (open, close) in [("f(", ")"), ("f()[", "]"), ("f(1, g(", "))")] {
            let deep = format!("@{}1{}", open.repeat(100_000), close.repeat(100_000));
            let said = text(&deep).unwrap_err();
            assert!(said.contains("nests deeper than 32 times") && said.len() < 400, "{said}");
        }
        assert!(text(&format!("@{}1{}", "f(".repeat(31), ")".repeat(31))).is_ok());
    }
}
