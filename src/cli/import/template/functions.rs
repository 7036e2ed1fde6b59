//! The functions of templates that names, conditions and schedules are made with ("ARM template functions", Azure
//! documentation). Functions that only a deployment can answer are refused by name.

use serde_json::Value;

use super::super::parse::beginning;

/// The longest text that is made of others: what grows without end is no name.
const LONGEST: usize = 65_536;

/// The result of a function.
///
/// # Errors
/// In words, naming the function.
pub(super) fn call(name: &str, lower: &str, values: &[Value]) -> Result<Value, String> {
    let known = match lower {
        "concat" | "format" | "string" | "tolower" | "toupper" | "trim" | "replace" | "substring"
        | "split" | "join" => of_texts(lower, values),
        "equals" | "not" | "and" | "or" | "bool" | "true" | "false" | "less" | "lessorequals" | "greater"
        | "greaterorequals" | "empty" | "contains" => of_truth(lower, values),
        "int" | "add" | "sub" | "mul" | "div" | "mod" | "min" | "max" => of_numbers(lower, values),
        "null" | "coalesce" | "createarray" | "createobject" | "array" | "length" | "first" | "last"
        | "range" => of_lists(lower, values),
        _ => return Err(format!("the function {}() is not known here", beginning(name))),
    };
    known.ok_or_else(|| format!("{name}() with such arguments is not known here"))
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(true) => Some("True".to_owned()),
        Value::Bool(false) => Some("False".to_owned()),
        _ => None,
    }
}

fn of_texts(lower: &str, values: &[Value]) -> Option<Value> {
    Some(match (lower, values) {
        ("concat", [Value::Array(_), ..]) => {
            let lists = values.iter().map(|value| value.as_array().cloned()).collect::<Option<Vec<_>>>()?;
            Value::Array(lists.concat())
        }
        ("concat", _) => values.iter().map(text).collect::<Option<Vec<_>>>()?.concat().into(),
        ("format", [Value::String(format), arguments @ ..]) => formatted(format, arguments)?.into(),
        ("string", [value]) => text(value)?.into(),
        ("tolower", [Value::String(text)]) => text.to_lowercase().into(),
        ("toupper", [Value::String(text)]) => text.to_uppercase().into(),
        ("trim", [Value::String(text)]) => text.trim().into(),
        ("replace", [Value::String(text), Value::String(old), Value::String(new)]) if !old.is_empty() => {
            if text.matches(old.as_str()).count().checked_mul(new.len())? > LONGEST {
                return None;
            }
            text.replace(old.as_str(), new).into()
        }
        ("substring", [Value::String(text), from, rest @ ..]) if rest.len() < 2 => {
            let from = usize::try_from(from.as_i64()?).ok()?;
            let letters: Vec<char> = text.chars().collect();
            let length = match rest {
                [length] => usize::try_from(length.as_i64()?).ok()?,
                _ => letters.len().checked_sub(from)?,
            };
            letters.get(from..from.checked_add(length)?)?.iter().collect::<String>().into()
        }
        ("split", [Value::String(text), Value::String(at)]) if !at.is_empty() => {
            text.split(at.as_str()).map(Value::from).collect()
        }
        ("join", [Value::Array(items), Value::String(with)]) => {
            let items = items.iter().map(text).collect::<Option<Vec<_>>>()?;
            if items.len().checked_mul(with.len())? > LONGEST {
                return None;
            }
            items.join(with).into()
        }
        _ => return None,
    })
}

/// `{0}` and so on; a doubled brace is a plain one.
fn formatted(format: &str, arguments: &[Value]) -> Option<String> {
    let mut said = String::new();
    let mut rest = format;
    while let Some(at) = rest.find(['{', '}']) {
        said.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            said.push_str(brace);
            rest = after;
            continue;
        }
        let (number, after) = rest.split_once('}').filter(|_| brace == "{")?;
        said.push_str(&text(arguments.get(number.parse::<usize>().ok()?)?)?);
        if said.len() > LONGEST {
            return None;
        }
        rest = after;
    }
    said.push_str(rest);
    Some(said)
}

fn of_truth(lower: &str, values: &[Value]) -> Option<Value> {
    let compared = |a: &Value, b: &Value| match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => Some(a.as_i64()?.cmp(&b.as_i64()?)),
    };
    Some(Value::Bool(match (lower, values) {
        ("true", []) => true,
        ("false", []) => false,
        ("bool", [Value::Bool(truth)]) => *truth,
        ("bool", [Value::Number(number)]) => number.as_i64()? != 0,
        ("bool", [Value::String(text)]) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" => true,
            "false" | "0" => false,
            _ => return None,
        },
        ("not", [truth]) => !truth.as_bool()?,
        ("and", [_, _, ..]) => {
            values.iter().map(Value::as_bool).collect::<Option<Vec<_>>>()?.into_iter().all(|truth| truth)
        }
        ("or", [_, _, ..]) => {
            values.iter().map(Value::as_bool).collect::<Option<Vec<_>>>()?.into_iter().any(|truth| truth)
        }
        ("equals", [a, b]) => a == b,
        ("less", [a, b]) => compared(a, b)?.is_lt(),
        ("lessorequals", [a, b]) => compared(a, b)?.is_le(),
        ("greater", [a, b]) => compared(a, b)?.is_gt(),
        ("greaterorequals", [a, b]) => compared(a, b)?.is_ge(),
        ("empty", [Value::Null]) => true,
        ("empty", [Value::String(text)]) => text.is_empty(),
        ("empty", [Value::Array(items)]) => items.is_empty(),
        ("empty", [Value::Object(fields)]) => fields.is_empty(),
        ("contains", [Value::Array(items), item]) => items.contains(item),
        ("contains", [Value::String(text), Value::String(part)]) => text.contains(part.as_str()),
        ("contains", [Value::Object(fields), Value::String(key)]) => {
            fields.keys().any(|known| known.eq_ignore_ascii_case(key))
        }
        _ => return None,
    }))
}

fn of_numbers(lower: &str, values: &[Value]) -> Option<Value> {
    let number = |value: &Value| match value {
        Value::String(text) if lower == "int" => text.trim().parse().ok(),
        other => other.as_i64(),
    };
    let numbers = values.iter().map(number).collect::<Option<Vec<i64>>>()?;
    Some(Value::from(match (lower, numbers.as_slice()) {
        ("int", [number]) => *number,
        ("add", [a, b]) => a.checked_add(*b)?,
        ("sub", [a, b]) => a.checked_sub(*b)?,
        ("mul", [a, b]) => a.checked_mul(*b)?,
        ("div", [a, b]) => a.checked_div(*b)?,
        ("mod", [a, b]) => a.checked_rem(*b)?,
        ("min", [_, ..]) => *numbers.iter().min()?,
        ("max", [_, ..]) => *numbers.iter().max()?,
        _ => return None,
    }))
}

fn of_lists(lower: &str, values: &[Value]) -> Option<Value> {
    Some(match (lower, values) {
        ("null", []) => Value::Null,
        ("coalesce", [_, ..]) => values.iter().find(|value| !value.is_null()).cloned().unwrap_or_default(),
        ("createarray", items) => Value::Array(items.to_vec()),
        ("array", [Value::Array(items)]) => Value::Array(items.clone()),
        ("array", [one]) => Value::Array(vec![one.clone()]),
        ("createobject", pairs) if pairs.len() % 2 == 0 => {
            let pairs = pairs.chunks(2).map(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].clone())));
            Value::Object(pairs.collect::<Option<_>>()?)
        }
        ("length", [Value::Array(items)]) => items.len().into(),
        ("length", [Value::String(text)]) => text.chars().count().into(),
        ("length", [Value::Object(fields)]) => fields.len().into(),
        ("first", [Value::Array(items)]) => items.first()?.clone(),
        ("last", [Value::Array(items)]) => items.last()?.clone(),
        ("first", [Value::String(text)]) => text.chars().next()?.to_string().into(),
        ("last", [Value::String(text)]) => text.chars().next_back()?.to_string().into(),
        ("range", [from, count]) => {
            let (from, count) =
                (from.as_i64()?, count.as_i64().filter(|count| (0..=10_000).contains(count))?);
            (from..from.checked_add(count)?).collect()
        }
        _ => return None,
    })
}
