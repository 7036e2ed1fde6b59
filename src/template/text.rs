//! One text with a template in it: read once, rendered for as many firings as one likes.

use std::collections::BTreeMap;

use minijinja::machinery::{self, CodeGenerator, Instructions, Token};
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Error, ErrorKind, Value};
use serde_json::{Map, Number, Value as Json};

use super::filters::{ENVIRONMENT, FUEL};
use super::watch;
use super::weight::Scale;

/// The longest text that one template may become, in bytes.
const MOST: usize = 64 * 1024;
/// The longest text that may hold a template, in bytes.
const LONGEST: usize = 64 * 1024;
/// The most words and signs between one `{{` and its `}}`, or `{%` and its `%}`. Each may lie deeper than the one
/// before it, and what lies deep needs stack.
const MOST_WORDS: usize = 400;
/// The most `{% … %}` of one text, for the same reason.
const MOST_TAGS: usize = 100;
/// How deep brackets of all kinds may lie within each other. All bounds together, a text is read and rendered on less
/// than a mebibyte of stack, also without optimisation; threads have two, the main thread has eight.
const DEEPEST: usize = 40;

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
pub(super) struct Text<'a> {
    /// Its expression, if it is exactly one `{{ … }}`: it keeps the type of that.
    lone: Option<&'a str>,
    text: &'a str,
    instructions: Instructions<'a>,
}

impl<'a> Text<'a> {
    /// Reads a text.
    pub(super) fn read(text: &'a str) -> Result<Self, String> {
        is_bounded(text)?;
        let lone = lone_expression(text);
        let mut code = CodeGenerator::new("<string>", lone.unwrap_or(text));
        match lone {
            Some(source) => code.compile_expr(&machinery::parse_expr(source).map_err(in_words)?),
            None => {
                let syntax = ENVIRONMENT.syntax().clone();
                code.compile_stmt(&machinery::parse(text, "<string>", syntax).map_err(in_words)?);
            }
        }
        let instructions = watch::watched(&code.finish().0)?;
        Ok(Self { lone: lone.map(str::trim), text, instructions })
    }

    /// Finds names that there are not.
    pub(super) fn check_names(&self) -> Result<(), String> {
        let names = match lone_expression(self.text) {
            Some(source) => {
                ENVIRONMENT.compile_expression(source).map(|code| code.undeclared_variables(false))
            }
            None => ENVIRONMENT.template_from_str(self.text).map(|code| code.undeclared_variables(false)),
        };
        let names = names.map_err(in_words)?;
        // minijinja counts its own functions, such as `range`, as undeclared.
        let known =
            |name: &str| NAMES.contains(&name) || ENVIRONMENT.globals().any(|(global, _)| global == name);
        match names.iter().find(|name| !known(name)) {
            None => Ok(()),
            Some(unknown) => Err(format!("'{unknown}' is not known here; known are {}", NAMES.join(", "))),
        }
    }

    /// What it becomes with these values, and how many steps that took.
    pub(super) fn render(&self, values: &BTreeMap<&'static str, Value>) -> Result<(Json, u64), String> {
        let mut written = String::new();
        let mut output = machinery::make_string_output(&mut written);
        let blocks = BTreeMap::new();
        let values = Value::from(values);
        let evaluated =
            machinery::eval(&ENVIRONMENT, &self.instructions, values, &blocks, &mut output, AutoEscape::None);
        let (value, state) = evaluated.map_err(in_words)?;
        let steps = state.fuel_levels().map_or(FUEL, |(spent, _)| spent);
        let value = match (self.lone, value) {
            (Some(source), Some(value)) if value.is_undefined() => {
                return Err(format!("'{source}' has no value"));
            }
            (Some(_), Some(value)) => json(&value, &mut Scale::new())?,
            _ => Json::String(written),
        };
        match &value {
            Json::String(text) if text.len() > MOST => Err(format!("it becomes longer than {MOST} bytes")),
            _ => Ok((value, steps)),
        }
    }
}

/// The expression of a text that is exactly one `{{ … }}`.
fn lone_expression(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}")).then_some(inner)
}

/// Whether a text is short and shallow enough to be read on any stack.
fn is_bounded(text: &str) -> Result<(), String> {
    if text.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let (mut words, mut tags, mut depth) = (0, 0, 0_usize);
    let mut lists = Lists::default();
    // A sign that is none ends the reading here as it does there.
    for (token, _) in machinery::tokenize(text, false, ENVIRONMENT.syntax().clone()).map_while(Result::ok) {
        match token {
            Token::VariableStart => words = 0,
            Token::BlockStart => (words, tags) = (0, tags + 1),
            _ => words += 1,
        }
        match token {
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => depth = depth.saturating_sub(1),
            _ => {}
        }
        if lists.are_repeated(&token) {
            return Err("a list cannot be repeated by *".to_owned());
        }
        if depth > DEEPEST {
            return Err(format!("brackets lie more than {DEEPEST} deep within each other"));
        }
        if words > MOST_WORDS {
            return Err(format!("more than {MOST_WORDS} words and signs stand between its braces"));
        }
        if tags > MOST_TAGS {
            return Err(format!("it has more than {MOST_TAGS} times {{% … %}}"));
        }
    }
    Ok(())
}

/// Finds lists that are repeated. minijinja repeats them without a limit and without counting steps, some of them
/// while it reads the text.
#[derive(Default)]
struct Lists {
    /// For each bracket that is open, whether what it ends is a list.
    open: Vec<bool>,
    /// Whether a value has just ended, and whether that is a list.
    ended: Option<bool>,
    /// Whether a `*` waits for what it multiplies with.
    times: bool,
    /// Whether the last word was the function `range`.
    range: bool,
}

impl Lists {
    fn are_repeated(&mut self, token: &Token<'_>) -> bool {
        let (ended, times, range) = (self.ended, self.times, self.range);
        (self.ended, self.times, self.range) = (None, false, false);
        match token {
            Token::Mul => {
                self.times = true;
                return ended == Some(true);
            }
            // After a value it is a subscript, else a list.
            Token::BracketOpen => {
                self.open.push(ended.is_none());
                return times && ended.is_none();
            }
            Token::ParenOpen => {
                self.times = times && ended.is_none();
                self.open.push(range);
                return times && range;
            }
            Token::BraceOpen => self.open.push(false),
            Token::BracketClose | Token::BraceClose => self.ended = Some(self.open.pop().unwrap_or_default()),
            Token::ParenClose => {
                self.ended = Some(self.open.pop().unwrap_or_default() || ended == Some(true));
            }
            Token::Ident(
                "if" | "else" | "in" | "and" | "or" | "not" | "is" | "for" | "set" | "with" | "elif",
            ) => {}
            Token::Ident(name) => {
                self.range = *name == "range";
                self.times = times && self.range;
                self.ended = Some(false);
            }
            Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {
                self.ended = Some(false);
            }
            _ => {}
        }
        false
    }
}

/// What an expression yields, as JSON. JSON has no infinity, no NaN and no undefined value, and what stands
/// for them there would be null: a value that nobody meant.
fn json(value: &Value, scale: &mut Scale) -> Result<Json, String> {
    scale.enter(value)?;
    let json = within(value, scale);
    scale.leave();
    json
}

fn within(value: &Value, scale: &mut Scale) -> Result<Json, String> {
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
            .map(|item| json(&item, scale))
            .collect::<Result<_, _>>()
            .map(Json::Array),
        ValueKind::Map => {
            let mut fields = Map::new();
            for key in value.try_iter().map_err(in_words)? {
                let field = json(&value.get_item(&key).map_err(in_words)?, scale)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text with a template that costs much becomes, on a thread whose stack is known.
    fn rendered(text: String) -> Result<usize, String> {
        let thread = std::thread::Builder::new().stack_size(2 * 1024 * 1024);
        let work = move || {
            let values = BTreeMap::from([("entry", Value::from("e"))]);
            Text::read(&text)?.render(&values).map(|(json, _)| json.to_string().len())
        };
        thread.spawn(work).unwrap().join().unwrap()
    }

    #[test]
    fn what_lies_deep_or_is_long_is_refused_before_it_is_read() {
        let chain = |link: &str, count: usize| format!("{{{{ entry{} }}}}", link.repeat(count));
        for link in ["+entry", "~entry", "|upper", ".a", "[0]", "()", " is defined", " if entry else entry"] {
            let message = rendered(chain(link, 2_800)).unwrap_err();
            assert!(message.contains("words and signs"), "{link}: {message}");
            // As long as it may be, it may fail but not overflow the stack.
            let words = link.split_whitespace().count().max(2) * 2;
            let _ = rendered(chain(link, MOST_WORDS / words));
        }
        let nested =
            |open: &str, close: &str, n: usize| format!("{{{{ {}1{} }}}}", open.repeat(n), close.repeat(n));
        for (open, close) in [("(", ")"), ("[", "]"), ("{1:", "}"), ("(not ", ")"), ("-(", ")"), ("[[", "]]")]
        {
            assert!(rendered(nested(open, close, 2_000)).unwrap_err().contains("deep"), "{open}");
            let _ = rendered(nested(open, close, DEEPEST / open.len()));
        }
        for (open, close) in [
            ("{% if 1 %}", "{% endif %}"),
            ("{% for x in [1] %}", "{% endfor %}"),
            ("{% with x = 1 %}", "{% endwith %}"),
            ("{% filter upper %}", "{% endfilter %}"),
            ("{% set x %}", "{% endset %}"),
            ("{% if 0 %}{% elif 1 %}", "{% endif %}"),
        ] {
            let text = |n| format!("{}{}{}", open.repeat(n), chain("+1", 190), close.repeat(n));
            assert!(rendered(text(1_000)).unwrap_err().contains("times {%"), "{open}");
            let _ = rendered(text(33));
        }
        assert!(rendered("{{ entry }}".repeat(6_000)).unwrap_err().contains("longer than"));
    }

    #[test]
    fn what_becomes_large_is_refused_while_it_grows() {
        for text in [
            "{{ [1]|tojson(indent=1000000000) }}",
            "{{ [1]|tojson(1000000000) }}",
            "{{ 'x' * 1000000000 }}",
            "{{ ['x'] * 1000000000 }}",
            "{{ [[0] * 9999] * 9999 }}",
            "{{ range(99999)|list }}",
            "{{ range(9999)|join(entry * 999) }}",
            "{{ entry|replace('e', 'ee' * 9999)|replace('e', 'e' * 9999) }}",
            "{{ '%1000000000d'|format(1) }}",
            "{{ '%.1000000000f'|format(1.0) }}",
            "{{ entry|indent(1000000000, true) }}",
            "{% set x = 'x' * 9999 %}{% for i in range(99) %}{% set x = x ~ x %}{{ x }}{% endfor %}",
            "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "{% set n = namespace(x=[1]) %}{% for i in range(9999) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x|tojson }}",
            "{% for x in [1] recursive %}{{ loop([x]) }}{% endfor %}",
            "{{ entry|batch(1000000000, 'x')|list }}",
            "{{ debug() }}",
            "a {{ ['x'] * 1000000000 }}",
            "a {{ 1000000000 * ([entry]) }}",
            "{{ [0] * 1000000000 == [0] * 1000000000 }}",
            "{{ range(9999) * 1000000000 ~ entry }}",
            "{% set x = [0] %}{{ x * 1000000000 }}",
            "{% set x = [0] %}{{ x * 9999 * 9999 }}",
            "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x ~ '' }}",
            "{% for x in [1] recursive %}{{ loop([x, x]) }}{% endfor %}",
            "{% set n = namespace(x=1) %}{% set n.x = n %}{{ n ~ '' }}",
            "{% set n = namespace(x=1) %}{% set n.x = [n] %}{{ n.x|string }}",
            "{% set n = namespace(x=1) %}{% set m = namespace(x=n) %}{% set n.x = m %}{{ n == m }}",
            "{% set n = namespace(x=1) %}{% set n.x = {'a': [n]} %}{{ '%s'|format(n) }}",
            "{{ [0]|batch(5000, [0]|batch(5000, 1)|first)|list ~ '' }}",
            "{{ [[[[[[0] * 30] * 30] * 30] * 30] * 30] * 30 ~ '' }}",
        ] {
            let message = rendered(text.to_owned()).expect_err(text);
            assert!(message.len() < 200, "{text}: {message}");
        }
    }

    #[test]
    fn a_list_that_doubles_by_whatever_name_is_refused_while_it_grows() {
        let doubled = |how: &str| format!("{{% set a = [0] %}}{}", how.repeat(40));
        for how in ["{% set a = [a, a] %}", "{% set a = a + a %}", "{% set a = {'x': a, 'y': a} %}"] {
            for end in ["{{ a ~ '' }}", "{{ a|string }}", "{{ a|join }}", "{{ a == [a] }}", "{{ a }}"] {
                assert!(rendered(doubled(how) + end).is_err(), "{how} {end}");
            }
        }
        // A list that is named in many ways, in a loop.
        let looped = |how: &str, end: &str| {
            format!("{{% set n = namespace(a=[1]) %}}{{% for i in range(60) %}}{how}{{% endfor %}}{end}")
        };
        for how in [
            "{% set b = n.a %}{% set n.a = [b, n.a] %}",
            "{% set b = n.a %}{% set n.a = (b, n['a']) %}",
            "{% set m = [n] %}{% set n.a = [m[0].a, n.a] %}",
            "{% set n.a = n.a|chain(n.a) %}",
            "{% set n.a = n.a|zip(n.a) %}",
            "{% set n.a = n.a|zip(n.a)|list %}",
            "{% for b in [n.a] %}{% for c in [n.a] %}{% set n.a = [b, c] %}{% endfor %}{% endfor %}",
            "{% set n.a = [n, n]|map(attribute='a')|list %}",
            "{% set n.a = [1]|batch(3, n.a)|list %}",
            "{% set n.a = dict(a=n.a, b=n.a) %}",
            "{% set n.a = namespace(a=n.a, b=n.a) %}",
            "{% set n.a = n.a + n.a %}",
            "{% with b = n.a %}{% set n.a = [b, b] %}{% endwith %}",
        ] {
            for end in ["{{ n.a ~ '' }}", "{{ n.a|string }}", "{{ n.a|join }}", "{{ n.a == [n.a] }}", "x"] {
                assert!(rendered(looped(how, end)).is_err(), "{how} {end}");
            }
        }
        let nested =
            format!("{}{{{{ a ~ '' }}}}{}", "{% for a in [[a, a]] %}".repeat(40), "{% endfor %}".repeat(40));
        assert!(rendered(format!("{{% set a = 1 %}}{nested}")).is_err());
    }

    #[test]
    fn what_is_usual_in_a_template_is_rendered() {
        let kept = "{% set n = namespace(a=[]) %}{% for i in range(9) %}{% set n.a = n.a + [i * 2] %}{% endfor %}\
                    {{ n.a|select('>', 3)|join(',') if n.a else 'none' }}";
        assert_eq!(rendered(kept.to_owned()), Ok("'4,6,8,10,12,14,16'".len()));
        let loops = "{% for i in range(9) if i is odd %}{{ loop.index }}{% else %}none{% endfor %}\
                     {% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is sequence else x }}{% endfor %}";
        assert_eq!(rendered(loops.to_owned()), Ok("'1234123'".len()));
        let weekday = "{% set day = ['Mon', 'Tue', 'Wed'][entry|length] %}{{ day ~ entry }}";
        assert_eq!(rendered(weekday.to_owned()), Ok(6));
        let counter =
            "{% set n = namespace(x=0) %}{% for i in range(3) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}";
        assert_eq!(rendered(counter.to_owned()), Ok(3));
        assert_eq!(rendered("{{ 60 * entry[0:1]|length + entry[0]|length * 2 }}".to_owned()), Ok(2));
        assert_eq!(rendered("{% for i in range(3) %}{{ i * 2 }}{% endfor %}".to_owned()), Ok(5));
        assert_eq!(rendered("{{ {'a': [1, 2]}|tojson(indent=2) }}".to_owned()), Ok(38));
    }
}
