//! Functions of numbers and conditions. What is the same in every firing is computed at once.

use super::{Term, code, operand, plain};

/// The result of a function of numbers or conditions; `None` when it is none of them.
pub(super) fn call(name: &str, lower: &str, terms: &[Term]) -> Result<Option<Term>, String> {
    let wrong = || format!("{name}() with such arguments has no equal here");
    let found = match (lower, terms) {
        ("true", []) => Term::Truth(true),
        ("false", []) => Term::Truth(false),
        ("int", [Term::Integer(number)]) => Term::Integer(*number),
        ("int", [Term::Literal(text)]) => Term::Integer(text.trim().parse().map_err(|_| wrong())?),
        ("int", [Term::Number(code)]) => Term::Number(code.clone()),
        ("int", [value @ (Term::Text { .. } | Term::Time(_))]) => {
            Term::Number(format!("{} | int", operand(value.clone())?))
        }
        ("add" | "sub" | "mul" | "div" | "mod" | "min" | "max", [a, b]) => {
            arithmetic(lower, a, b).ok_or_else(wrong)?
        }
        ("equals" | "less" | "lessorequals" | "greater" | "greaterorequals", [a, b]) => {
            comparison(lower, a, b).ok_or_else(wrong)?
        }
        ("and" | "or", [a, b]) => joined(lower, a, b).ok_or_else(wrong)?,
        ("not", [Term::Truth(truth)]) => Term::Truth(!truth),
        ("not", [Term::Flag(code)]) => Term::Flag(format!("(not {code})")),
        ("if", [condition, yes, no]) => either(condition, yes, no)?.ok_or_else(wrong)?,
        (
            "int" | "add" | "sub" | "mul" | "div" | "mod" | "min" | "max" | "equals" | "less"
            | "lessorequals" | "greater" | "greaterorequals" | "and" | "or" | "not" | "if",
            _,
        ) => return Err(wrong()),
        _ => return Ok(None),
    };
    Ok(Some(found))
}

/// The code of a number.
pub(super) fn number(term: &Term) -> Option<String> {
    match term {
        Term::Integer(number) if *number < 0 => Some(format!("({number})")),
        Term::Integer(number) => Some(number.to_string()),
        Term::Number(code) => Some(format!("({code})")),
        _ => None,
    }
}

/// Division and remainder round towards zero there and down here, so they are computed for fixed numbers only.
fn arithmetic(lower: &str, a: &Term, b: &Term) -> Option<Term> {
    if let (Term::Integer(a), Term::Integer(b)) = (a, b) {
        return Some(Term::Integer(match lower {
            "add" => a.checked_add(*b)?,
            "sub" => a.checked_sub(*b)?,
            "mul" => a.checked_mul(*b)?,
            "div" => a.checked_div(*b)?,
            "mod" => a.checked_rem(*b)?,
            "min" => *a.min(b),
            _ => *a.max(b),
        }));
    }
    let sign = match lower {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        _ => return None,
    };
    Some(Term::Number(format!("({} {sign} {})", number(a)?, number(b)?)))
}

fn comparison(lower: &str, a: &Term, b: &Term) -> Option<Term> {
    let sign = match lower {
        "equals" => "==",
        "less" => "<",
        "lessorequals" => "<=",
        "greater" => ">",
        _ => ">=",
    };
    if let (Term::Integer(a), Term::Integer(b)) = (a, b) {
        return Some(Term::Truth(match lower {
            "equals" => a == b,
            "less" => a < b,
            "lessorequals" => a <= b,
            "greater" => a > b,
            _ => a >= b,
        }));
    }
    if let (Some(a), Some(b)) = (number(a), number(b)) {
        return Some(Term::Flag(format!("({a} {sign} {b})")));
    }
    // Whether capitals count is not documented, so a text with letters is not compared.
    let (literal, other) = match (a, b) {
        (Term::Literal(literal), other) | (other, Term::Literal(literal)) => (literal, other),
        _ => return None,
    };
    let has_letters = literal.chars().any(char::is_alphabetic);
    match other {
        Term::Literal(other) if lower == "equals" && (literal == other || !has_letters) => {
            Some(Term::Truth(literal == other))
        }
        Term::Text { .. } if lower == "equals" && !has_letters => {
            let (text, literal) = (operand(other.clone()).ok()?, code(Term::Literal(literal.clone())).ok()?);
            Some(Term::Flag(format!("({text} == {literal})")))
        }
        _ => None,
    }
}

fn joined(lower: &str, a: &Term, b: &Term) -> Option<Term> {
    let flag = |term: &Term| match term {
        Term::Truth(truth) => Some(truth.to_string()),
        Term::Flag(code) => Some(code.clone()),
        _ => None,
    };
    match (a, b) {
        (Term::Truth(a), Term::Truth(b)) => {
            Some(Term::Truth(if lower == "and" { *a && *b } else { *a || *b }))
        }
        _ => Some(Term::Flag(format!("({} {lower} {})", flag(a)?, flag(b)?))),
    }
}

fn either(condition: &Term, yes: &Term, no: &Term) -> Result<Option<Term>, String> {
    let condition = match condition {
        Term::Truth(true) => return Ok(Some(yes.clone())),
        Term::Truth(false) => return Ok(Some(no.clone())),
        Term::Flag(code) => code,
        _ => return Ok(None),
    };
    let one_of = |yes: &str, no: &str| format!("({yes} if {condition} else {no})");
    if let (Some(yes), Some(no)) = (number(yes), number(no)) {
        return Ok(Some(Term::Number(one_of(&yes, &no))));
    }
    if let (Term::Time(yes), Term::Time(no)) = (yes, no)
        && let Some(time) = yes.or(no, one_of)
    {
        return Ok(Some(Term::Time(time)));
    }
    let is_text = |term: &Term| matches!(term, Term::Time(_) | Term::Text { .. } | Term::Literal(_));
    if !is_text(yes) || !is_text(no) {
        return Ok(None);
    }
    Ok(Some(plain(one_of(&operand(yes.clone())?, &operand(no.clone())?))))
}
