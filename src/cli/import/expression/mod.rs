//! Expressions of trigger definitions as templates. Each function takes typed terms and gives one, so they nest as
//! they do in Data Factory; what has no equal here is refused by its name.

mod logic;
mod times;

use serde_json::{Map, Value};

use self::times::Time;
pub(super) use self::times::named_zone;
use super::parse::{self, Node};

/// The longest text with expressions in it.
const MOST_TEXT: usize = 16 * 1024;

/// Numbers from here on are no whole numbers of 64 bits.
const MOST_NUMBER: f64 = 9.2e18;

/// What expressions may ask a trigger for, as expressions of templates.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// `trigger().scheduledTime`.
    pub(super) scheduled: Option<String>,
    /// `trigger().outputs.windowStartTime` and `windowEndTime`.
    pub(super) window: Option<(String, String)>,
}

/// What an expression yields: as the code of a template, or as a value that is the same in every firing.
#[derive(Debug, Clone)]
enum Term {
    Time(Time),
    Text {
        code: String,
        /// The time and the strftime format that write it, if it is a time in some form.
        form: Option<(Time, String)>,
    },
    Number(String),
    /// True or false.
    Flag(String),
    Literal(String),
    Integer(i64),
    Truth(bool),
}

/// A parameter's value with its expressions as templates.
///
/// # Errors
/// In words, naming what cannot be equal.
pub(super) fn parameter(value: &Value, names: &Names) -> Result<Value, String> {
    match value {
        Value::String(text) => text_value(text, names),
        Value::Array(items) => items.iter().map(|item| parameter(item, names)).collect(),
        Value::Object(fields) => match (fields.get("type").and_then(Value::as_str), fields.get("value")) {
            (Some("Expression"), Some(Value::String(text))) => text_value(text, names),
            (Some(kind @ ("SecureString" | "AzureKeyVaultSecret")), _) => {
                Err(format!("a {kind} must not stand in a schedule"))
            }
            _ => {
                let fields = fields.iter().map(|(key, field)| Ok((key.clone(), parameter(field, names)?)));
                fields.collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
        },
        // A whole number of so many digits has been rounded when it was read.
        Value::Number(number)
            if number.as_f64().is_some_and(|value| value.abs() >= MOST_NUMBER) && number.is_f64() =>
        {
            Err("a number so large is not exact here; give it as a text".to_owned())
        }
        plain => Ok(plain.clone()),
    }
}

/// The whole number that a text's expression always yields: `@int('3')`, `@mul(2, 5)`.
pub(super) fn constant(text: &str) -> Option<i64> {
    let [node] = parse::text(text).ok()?.try_into().ok()?;
    match term(&node, &Names::default()).ok()? {
        Term::Integer(number) if parse::is_whole(text) => Some(number),
        _ => None,
    }
}

fn text_value(text: &str, names: &Names) -> Result<Value, String> {
    let parts = parse::text(text)?;
    let is_plain = parts.iter().all(|part| matches!(part, Node::Text(_)));
    if !is_plain && text.len() > MOST_TEXT {
        return Err(format!("an expression of more than {MOST_TEXT} bytes has no equal here"));
    }
    Ok(Value::String(match parts.as_slice() {
        [] => String::new(),
        [Node::Text(literal)] => escaped(literal),
        [whole] if parse::is_whole(text) => match term(whole, names)? {
            Term::Integer(number) => return Ok(Value::from(number)),
            Term::Truth(truth) => return Ok(Value::from(truth)),
            Term::Literal(literal) => escaped(&literal),
            Term::Flag(code) => format!("{{{{ {code} }}}}"),
            other => format!("{{{{ {} }}}}", code(other)?),
        },
        several => {
            let mut mixed = String::new();
            for (at, part) in several.iter().enumerate() {
                match part {
                    // A template drops the end of its last line.
                    Node::Text(literal) if at + 1 == several.len() && literal.ends_with('\n') => {
                        mixed.push_str(&format!("{{{{ {} }}}}", quoted(literal)));
                    }
                    // A brace before a template's two would be taken for one of them.
                    Node::Text(literal) if literal.ends_with('{') => {
                        mixed.push_str(&format!("{{{{ {} }}}}", quoted(literal)));
                    }
                    Node::Text(literal) => mixed.push_str(&escaped(literal)),
                    expression => match term(expression, names)? {
                        Term::Literal(literal) if !literal.ends_with(['{', '\n']) => {
                            mixed.push_str(&escaped(&literal))
                        }
                        Term::Integer(number) => mixed.push_str(&number.to_string()),
                        // What stands within a text is one, also alone.
                        Term::Number(code) => mixed.push_str(&format!("{{{{ ({code}) | string }}}}")),
                        other => mixed.push_str(&format!("{{{{ {} }}}}", code(other)?)),
                    },
                }
            }
            mixed
        }
    }))
}

/// A text that is no template, though it may look like one.
fn escaped(text: &str) -> String {
    match ["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
        true => format!("{{{{ {} }}}}", quoted(text)),
        false => text.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// What a term is where a text or a number is wanted.
fn code(term: Term) -> Result<String, String> {
    Ok(match term {
        Term::Time(time) => time.text()?,
        Term::Text { code, .. } | Term::Number(code) => code,
        Term::Literal(text) => quoted(&text),
        Term::Integer(number) => number.to_string(),
        Term::Truth(true) => quoted("True"),
        Term::Truth(false) => quoted("False"),
        Term::Flag(_) => return Err("a comparison within a text has no equal here".to_owned()),
    })
}

/// A term within a larger expression.
fn operand(term: Term) -> Result<String, String> {
    let single = |code: &str| code.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    Ok(match term {
        Term::Literal(_) | Term::Truth(_) => code(term)?,
        other => {
            let code = code(other)?;
            if single(&code) { code } else { format!("({code})") }
        }
    })
}

fn plain(code: String) -> Term {
    Term::Text { code, form: None }
}

fn term(node: &Node, names: &Names) -> Result<Term, String> {
    match node {
        Node::Text(text) => Ok(Term::Literal(text.clone())),
        Node::Number(number) => Ok(Term::Integer(*number)),
        Node::Call { name, arguments, path } => {
            let steps = path.iter().map(|step| match step {
                Node::Text(name) => Ok(name.as_str()),
                _ => Err(format!("what stands in brackets after {name}() has no equal here")),
            });
            let path = steps.collect::<Result<Vec<&str>, _>>()?.join(".");
            if name.eq_ignore_ascii_case("trigger") && arguments.is_empty() {
                return trigger(&path, names);
            }
            match path.as_str() {
                "" => call(name, arguments, names),
                path => Err(format!("{name}(…).{path} has no equal here")),
            }
        }
    }
}

fn trigger(path: &str, names: &Names) -> Result<Term, String> {
    let time = |code: Option<&String>| match code {
        Some(code) => Ok(Term::Time(Time::given(code))),
        None => Err(format!("trigger().{path} is not one of this kind of trigger")),
    };
    match path.to_ascii_lowercase().as_str() {
        "scheduledtime" => time(names.scheduled.as_ref()),
        "outputs.windowstarttime" => time(names.window.as_ref().map(|window| &window.0)),
        "outputs.windowendtime" => time(names.window.as_ref().map(|window| &window.1)),
        "starttime" => {
            Err("trigger().startTime is when the service happened to start; use scheduledTime".to_owned())
        }
        _ => Err(format!("trigger().{path} has no equal here")),
    }
}

fn call(name: &str, arguments: &[Node], names: &Names) -> Result<Term, String> {
    let lower = name.to_ascii_lowercase();
    if matches!(lower.as_str(), "utcnow" | "getpasttime" | "getfuturetime") {
        return Err(format!("{name}() is another time in each attempt; use trigger().scheduledTime"));
    }
    let terms = arguments.iter().map(|argument| term(argument, names)).collect::<Result<Vec<_>, _>>()?;
    if let Some(found) = times::call(name, &lower, &terms).transpose() {
        return found;
    }
    if let Some(found) = logic::call(name, &lower, &terms).transpose() {
        return found;
    }
    text_call(name, &lower, &terms)
}

fn text_call(name: &str, lower: &str, terms: &[Term]) -> Result<Term, String> {
    match (lower, terms) {
        ("concat", [_, ..]) => concat(terms),
        ("tolower", [text]) => Ok(plain(format!("{} | lower", operand(text.clone())?))),
        ("toupper", [text]) => Ok(plain(format!("{} | upper", operand(text.clone())?))),
        ("string", [Term::Integer(number)]) => Ok(Term::Literal(number.to_string())),
        ("string", [value @ (Term::Literal(_) | Term::Text { .. })]) => Ok(value.clone()),
        ("string", [value]) => Ok(plain(format!("{} | string", operand(value.clone())?))),
        ("replace", [value, old, new]) => {
            let (old, new) = (fixed(name, old)?, fixed(name, new)?);
            if old.is_empty() {
                return Err(format!("{name}() of an empty text has no equal here"));
            }
            Ok(plain(format!("{} | replace({}, {})", operand(value.clone())?, quoted(old), quoted(new))))
        }
        ("substring", [value, Term::Integer(from), Term::Integer(length)]) => {
            let until = from.checked_add(*length).filter(|_| *from >= 0 && *length >= 0);
            let until = until.ok_or("substring() from before the beginning has no equal here")?;
            Ok(plain(format!("{}[{from}:{until}]", operand(value.clone())?)))
        }
        ("concat" | "tolower" | "toupper" | "string" | "replace" | "substring", _) => {
            Err(format!("{name}() with such arguments has no equal here"))
        }
        _ => Err(format!("the function {name}() has no equal here")),
    }
}

/// Texts that are joined. Parts of one time are that time in a longer form.
fn concat(terms: &[Term]) -> Result<Term, String> {
    let literal = |term: &Term| match term {
        Term::Literal(text) => Some(text.clone()),
        Term::Integer(number) => Some(number.to_string()),
        _ => None,
    };
    if let Some(literals) = terms.iter().map(literal).collect::<Option<Vec<_>>>() {
        return Ok(Term::Literal(literals.concat()));
    }
    let mut form: Option<(Time, String)> = None;
    let mut formed = true;
    for part in terms {
        match (part, &mut form) {
            (Term::Text { form: Some((time, format)), .. }, None) => {
                form = Some((time.clone(), format.clone()))
            }
            (Term::Text { form: Some((time, format)), .. }, Some((same, all))) if time == same => {
                all.push_str(format)
            }
            (Term::Literal(text), Some((_, all))) => all.push_str(&text.replace('%', "%%")),
            _ => formed = false,
        }
    }
    let parts = terms.iter().map(|part| operand(part.clone())).collect::<Result<Vec<_>, _>>()?;
    Ok(Term::Text { code: format!("({})", parts.join(" ~ ")), form: form.filter(|_| formed) })
}

/// A text that is the same in every firing.
fn fixed<'a>(name: &str, term: &'a Term) -> Result<&'a str, String> {
    match term {
        Term::Literal(text) => Ok(text),
        _ => Err(format!("{name}() with a format or a name that is computed has no equal here")),
    }
}

#[cfg(test)]
mod tests;
