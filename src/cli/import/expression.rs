//! Expressions of trigger definitions as templates. What Data Factory computes in UTC is computed in UTC here; what
//! has no equal here is refused by its name.

use serde_json::{Map, Value};

use super::format;
use super::parse::{self, Node};
use crate::schedule::Zone;

/// What expressions may ask a trigger for, as expressions of templates.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// `trigger().scheduledTime`.
    pub(super) scheduled: Option<String>,
    /// `trigger().outputs.windowStartTime` and `windowEndTime`.
    pub(super) window: Option<(String, String)>,
}

/// An expression of a template, with what it yields.
enum Term {
    /// A time; as text it has Data Factory's form for results of functions if `round` is set.
    Time {
        code: String,
        round: bool,
    },
    Text(String),
    Number(String),
    /// A text or a number that is the same in every firing.
    Literal(String),
    Integer(i64),
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
        plain => Ok(plain.clone()),
    }
}

fn text_value(text: &str, names: &Names) -> Result<Value, String> {
    let parts = parse::text(text)?;
    Ok(Value::String(match parts.as_slice() {
        [] => String::new(),
        [Node::Text(literal)] => escaped(literal),
        [whole] if parse::is_whole(text) => match term(whole, names)? {
            Term::Integer(number) => return Ok(Value::from(number)),
            Term::Literal(literal) => escaped(&literal),
            other => format!("{{{{ {} }}}}", code(other)),
        },
        several => {
            let mut mixed = String::new();
            for part in several {
                match part {
                    // A brace before a template's two would be taken for one of them.
                    Node::Text(literal) if literal.ends_with('{') => {
                        mixed.push_str(&format!("{{{{ {} }}}}", quoted(literal)));
                    }
                    Node::Text(literal) => mixed.push_str(&escaped(literal)),
                    expression => match term(expression, names)? {
                        Term::Literal(literal) => mixed.push_str(&escaped(&literal)),
                        Term::Integer(number) => mixed.push_str(&number.to_string()),
                        other => mixed.push_str(&format!("{{{{ {} }}}}", code(other))),
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
fn code(term: Term) -> String {
    match term {
        Term::Time { code, round: false } | Term::Text(code) | Term::Number(code) => code,
        Term::Time { code, round: true } => dated(&code, format::ROUND_TRIP, "UTC"),
        Term::Literal(text) => quoted(&text),
        Term::Integer(number) => number.to_string(),
    }
}

fn dated(code: &str, strftime: &str, zone: &str) -> String {
    format!("{code} | date({}, {})", quoted(strftime), quoted(zone))
}

fn term(node: &Node, names: &Names) -> Result<Term, String> {
    match node {
        Node::Text(text) => Ok(Term::Literal(text.clone())),
        Node::Number(number) => Ok(Term::Integer(*number)),
        Node::Call { name, arguments, path }
            if name.eq_ignore_ascii_case("trigger") && arguments.is_empty() =>
        {
            trigger(path, names)
        }
        Node::Call { name, arguments, path } if path.is_empty() => call(name, arguments, names),
        Node::Call { name, path, .. } => Err(format!("{name}(…).{} has no equal here", path.join("."))),
    }
}

fn trigger(path: &[String], names: &Names) -> Result<Term, String> {
    let path = path.join(".");
    let time = |code: &Option<String>| match code {
        Some(code) => Ok(Term::Time { code: code.clone(), round: false }),
        None => Err(format!("trigger().{path} is not one of this kind of trigger")),
    };
    match path.to_ascii_lowercase().as_str() {
        "scheduledtime" => time(&names.scheduled),
        "outputs.windowstarttime" => time(&names.window.as_ref().map(|window| window.0.clone())),
        "outputs.windowendtime" => time(&names.window.as_ref().map(|window| window.1.clone())),
        "starttime" => {
            Err("trigger().startTime is when the service happened to start; use scheduledTime".to_owned())
        }
        _ => Err(format!("trigger().{path} has no equal here")),
    }
}

fn call(name: &str, arguments: &[Node], names: &Names) -> Result<Term, String> {
    if let Some(found) = of_times(name, arguments, names).transpose() {
        return found;
    }
    match (name.to_ascii_lowercase().as_str(), arguments) {
        ("concat", [_, ..]) => {
            let parts: Vec<String> = arguments
                .iter()
                .map(|part| Ok(operand(term(part, names)?)))
                .collect::<Result<_, String>>()?;
            Ok(Term::Text(format!("({})", parts.join(" ~ "))))
        }
        ("tolower", [text]) => Ok(Term::Text(format!("{} | lower", operand(term(text, names)?)))),
        ("toupper", [text]) => Ok(Term::Text(format!("{} | upper", operand(term(text, names)?)))),
        ("string", [value]) => Ok(Term::Text(format!("{} | string", operand(term(value, names)?)))),
        ("int", [value]) => Ok(Term::Number(format!("{} | int", operand(term(value, names)?)))),
        ("replace", [value, old, new]) => {
            let (old, new) = (quoted(&fixed(name, old, names)?), quoted(&fixed(name, new, names)?));
            Ok(Term::Text(format!("{} | replace({old}, {new})", operand(term(value, names)?))))
        }
        ("substring", [value, from, length]) => {
            let (from, length) = (integer(name, from, names)?, integer(name, length, names)?);
            let until = from.checked_add(length).filter(|_| from >= 0 && length >= 0);
            let until = until.ok_or("substring() from before the beginning has no equal here")?;
            Ok(Term::Text(format!("{}[{from}:{until}]", operand(term(value, names)?))))
        }
        ("utcnow", _) => {
            Err("utcNow() is another time in each attempt; use trigger().scheduledTime".to_owned())
        }
        _ => Err(format!("the function {name}() has no equal here")),
    }
}

/// The functions of times; `None` when it is none of them.
fn of_times(name: &str, arguments: &[Node], names: &Names) -> Result<Option<Term>, String> {
    let lower = name.to_ascii_lowercase();
    let wrong = || format!("{name}() with such arguments has no equal here");
    let [time, rest @ ..] = arguments else { return Ok(None) };
    let text = |node: &Node| fixed(name, node, names);
    let code = || time_of(name, time, names);
    let form = |rest: &[Node]| rest.first().map(text).transpose();
    let count = |node: &Node, worth: i64| integer(name, node, names)?.checked_mul(worth).ok_or_else(wrong);
    let found = match (lower.as_str(), rest) {
        ("formatdatetime", [] | [_]) => finish(code()?, form(rest)?.as_deref()),
        ("adddays" | "addhours" | "addminutes" | "addseconds", [number, rest @ ..]) if rest.len() < 2 => {
            let (unit, worth) = match lower.as_str() {
                "adddays" => ("hours", 24),
                "addhours" => ("hours", 1),
                "addminutes" => ("minutes", 1),
                _ => ("seconds", 1),
            };
            let shifted = format!("{} | shift({unit}={})", code()?, count(number, worth)?);
            finish(shifted, form(rest)?.as_deref())
        }
        ("addtotime" | "subtractfromtime", [number, unit, rest @ ..]) if rest.len() < 2 => {
            let sign = if lower == "addtotime" { 1 } else { -1 };
            let unit = shift_of(&text(unit)?, count(number, sign)?).ok_or_else(wrong)?;
            finish(format!("{} | shift({unit})", code()?), form(rest)?.as_deref())
        }
        ("startofday" | "startofhour" | "startofmonth", [] | [_]) => {
            let unit = lower.trim_start_matches("startof");
            finish(format!("{} | start_of(\"{unit}\", \"UTC\")", code()?), form(rest)?.as_deref())
        }
        ("convertfromutc", [zone, form]) => in_zone(&code()?, &text(zone)?, &text(form)?),
        ("converttimezone", [from, zone, form]) if text(from)?.eq_ignore_ascii_case("UTC") => {
            in_zone(&code()?, &text(zone)?, &text(form)?)
        }
        ("dayofmonth", []) => number(&code()?, "%-d"),
        ("dayofweek", []) => number(&code()?, "%w"),
        ("dayofyear", []) => number(&code()?, "%-j"),
        _ => return Ok(None),
    };
    found.map(Some)
}

/// A text that is the same in every firing.
fn fixed(name: &str, node: &Node, names: &Names) -> Result<String, String> {
    match term(node, names)? {
        Term::Literal(text) => Ok(text),
        _ => Err(format!("{name}() with a format or a name that is computed has no equal here")),
    }
}

/// A term within a larger expression.
fn operand(term: Term) -> String {
    match term {
        Term::Literal(_) | Term::Integer(_) => code(term),
        other => {
            let code = code(other);
            if code.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                code
            } else {
                format!("({code})")
            }
        }
    }
}

fn time_of(name: &str, node: &Node, names: &Names) -> Result<String, String> {
    match term(node, names)? {
        Term::Time { code, .. } => Ok(code),
        Term::Literal(text) if text.parse::<jiff::Timestamp>().is_ok() => Ok(quoted(&text)),
        _ => Err(format!("{name}() of something that is no time has no equal here")),
    }
}

fn integer(name: &str, node: &Node, names: &Names) -> Result<i64, String> {
    match term(node, names)? {
        Term::Integer(number) => Ok(number),
        _ => Err(format!("{name}() with a number that is computed has no equal here")),
    }
}

/// The result of a function of times: a time until it is formatted.
fn finish(code: String, form: Option<&str>) -> Result<Term, String> {
    Ok(match form {
        None => Term::Time { code, round: true },
        Some(form) => Term::Text(dated(&code, &format::strftime(form)?, "UTC")),
    })
}

fn in_zone(code: &str, zone: &str, form: &str) -> Result<Term, String> {
    if form.contains(['z', 'K']) {
        return Err(format!("the offset in the format '{form}' has no equal here"));
    }
    let zone = Zone::parse(zone).map_err(|error| error.to_string())?;
    Ok(Term::Text(dated(code, &format::strftime(form)?, zone.name())))
}

fn number(code: &str, strftime: &str) -> Result<Term, String> {
    Ok(Term::Number(format!("{} | int", dated(code, strftime, "UTC"))))
}

/// A count of a unit as an argument of `shift`. Up to weeks they are real time in UTC.
fn shift_of(unit: &str, count: i64) -> Option<String> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "second" => format!("seconds={count}"),
        "minute" => format!("minutes={count}"),
        "hour" => format!("hours={count}"),
        "day" => format!("hours={}", count.checked_mul(24)?),
        "week" => format!("hours={}", count.checked_mul(24 * 7)?),
        "month" => format!("months={count}, zone=\"UTC\""),
        "year" => format!("years={count}, zone=\"UTC\""),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn imported(value: Value) -> Result<Value, String> {
        let names = Names {
            scheduled: Some("scheduled_time".to_owned()),
            window: Some(("window_start".to_owned(), "window_end".to_owned())),
        };
        parameter(&value, &names)
    }

    #[test]
    fn what_is_no_expression_stays_as_it_is() {
        for plain in [json!(1), json!(true), json!(null), json!("text"), json!(["a", {"b": 1.5}])] {
            assert_eq!(imported(plain.clone()).unwrap(), plain);
        }
        assert_eq!(imported(json!("@@home")).unwrap(), "@home");
        assert_eq!(imported(json!("a@b.org")).unwrap(), "a@b.org");
        assert_eq!(imported(json!("{{ not ours }}")).unwrap(), "{{ \"{{ not ours }}\" }}");
        assert_eq!(
            imported(json!("{@{trigger().scheduledTime}}")).unwrap(),
            "{{ \"{\" }}{{ scheduled_time }}}"
        );
    }

    #[test]
    fn expressions_become_templates_of_the_same_value() {
        for (given, wanted) in [
            ("@trigger().scheduledTime", "{{ scheduled_time }}"),
            ("@trigger().outputs.windowStartTime", "{{ window_start }}"),
            ("@{trigger().outputs.windowEndTime}", "{{ window_end }}"),
            (
                "@formatDateTime(trigger().scheduledTime, 'yyyy-MM-dd')",
                "{{ scheduled_time | date(\"%Y-%m-%d\", \"UTC\") }}",
            ),
            (
                "year=@{formatDateTime(trigger().outputs.windowStartTime,'yyyy')}/x",
                "year={{ window_start | date(\"%Y\", \"UTC\") }}/x",
            ),
            (
                "@concat('in/', formatDateTime(trigger().scheduledTime,'HH'), '.csv')",
                "{{ (\"in/\" ~ (scheduled_time | date(\"%H\", \"UTC\")) ~ \".csv\") }}",
            ),
            (
                "@addDays(trigger().scheduledTime, -1)",
                "{{ scheduled_time | shift(hours=-24) | date(\"%Y-%m-%dT%H:%M:%S.0000000Z\", \"UTC\") }}",
            ),
            (
                "@formatDateTime(addHours(trigger().scheduledTime, 2), 'HHmm')",
                "{{ scheduled_time | shift(hours=2) | date(\"%H%M\", \"UTC\") }}",
            ),
            (
                "@startOfMonth(subtractFromTime(trigger().scheduledTime, 1, 'Month'), 'yyyyMMdd')",
                "{{ scheduled_time | shift(months=-1, zone=\"UTC\") | start_of(\"month\", \"UTC\") | date(\"%Y%m%d\", \"UTC\") }}",
            ),
            ("@toUpper('a')", "{{ \"a\" | upper }}"),
            ("@dayOfMonth(trigger().scheduledTime)", "{{ scheduled_time | date(\"%-d\", \"UTC\") | int }}"),
            ("@substring(trigger().scheduledTime, 0, 10)", "{{ scheduled_time[0:10] }}"),
        ] {
            assert_eq!(imported(json!(given)).unwrap(), wanted, "{given}");
        }
        let nested = json!({"a": [{"type": "Expression", "value": "@trigger().scheduledTime"}]});
        assert_eq!(imported(nested).unwrap(), json!({"a": ["{{ scheduled_time }}"]}));
    }

    #[test]
    fn what_has_no_equal_is_refused_by_its_name() {
        for (given, named) in [
            ("@utcNow()", "utcNow()"),
            ("@guid()", "guid()"),
            ("@pipeline().RunId", "pipeline(…).RunId"),
            ("@trigger().startTime", "trigger().startTime"),
            ("@triggerBody().fileName", "triggerBody(…).fileName"),
            ("@trigger().outputs.body.x", "trigger().outputs.body.x"),
            ("@formatDateTime(trigger().scheduledTime, 'gg')", "'gg'"),
            ("@addDays(trigger().scheduledTime, int('1'))", "addDays()"),
            ("@concat('a'", "closed"),
        ] {
            let said = imported(json!(given)).unwrap_err();
            assert!(said.contains(named), "{given}: {said}");
        }
        let secret = json!({"type": "SecureString", "value": "hush"});
        let said = imported(secret).unwrap_err();
        assert!(said.contains("SecureString") && !said.contains("hush"));
    }
}
