//! The grammar of Data Factory's expressions: `@` before a whole text, `@{ … }` within one, `@@` for a plain `@`.

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
        /// The names after the dots.
        path: Vec<String>,
    },
}

/// Whether a text is one expression as a whole, whose type is kept.
pub(super) fn is_whole(text: &str) -> bool {
    text.starts_with('@') && !text.starts_with("@@") && !text.starts_with("@{")
}

/// The parts of a text.
///
/// # Errors
/// In words, when an expression in it cannot be read.
pub(super) fn text(text: &str) -> Result<Vec<Node>, String> {
    if is_whole(text) {
        let mut reader = Reader { rest: &text[1..], all: text };
        let node = reader.expression()?;
        reader.end()?;
        return Ok(vec![node]);
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
        let mut reader = Reader { rest: &rest[at + 2..], all: text };
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
}

impl Reader<'_> {
    fn wrong(&self, what: &str) -> String {
        let at = self.all.len() - self.rest.len();
        format!("the expression '{}' is not closed or not known at character {at}: {what}", self.all)
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
        self.rest = &self.rest[length..];
        if let Ok(number) = name.parse() {
            return match self.rest.starts_with('.') {
                true => Err(self.wrong("only whole numbers are known here")),
                false => Ok(Node::Number(number)),
            };
        }
        if !self.take('(') {
            return Err(self.wrong(&format!("'{name}' is no function")));
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

    /// `.name`, `?.name` and `['name']`.
    fn path(&mut self) -> Result<Vec<String>, String> {
        let mut path = Vec::new();
        loop {
            let rest = self.rest.strip_prefix('?').unwrap_or(self.rest);
            if let Some(rest) = rest.strip_prefix('.') {
                let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
                path.push(rest[..length].to_owned());
                self.rest = &rest[length..];
            } else if let Some(rest) = rest.strip_prefix('[') {
                self.rest = rest;
                match self.expression()? {
                    Node::Text(name) => path.push(name),
                    _ => return Err(self.wrong("only names are known in brackets")),
                }
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
        let call = |name: &str, path: &[&str]| Node::Call {
            name: name.to_owned(),
            arguments: Vec::new(),
            path: path.iter().map(|part| (*part).to_owned()).collect(),
        };
        let plain = |text: &str| Node::Text(text.to_owned());
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
            path: Vec::new(),
        };
        assert_eq!(text("@f( 'it''s' , -2 )").unwrap(), [quoted]);
        for wrong in ["@f(", "@f('a", "@f() x", "@name", "a@{f()", "@f(1.5)", "@"] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
    }
}
