//! Whether a run that the service shows can be the run of a firing, and what follows for a firing whose
//! answer was lost. Pure.
//!
//! Firings in doubt with the same pipeline and the same parameters make runs that nobody can tell apart. Each
//! adopts one of them, and it does not matter which: as many runs are owned as were made, and a firing
//! that finds none left made none. That holds while there are no more such runs than firings that can have
//! made them; with more, or with a held firing among those that can, a person must decide.

use serde_json::Value;

use super::Intent;
use crate::azure::SKEW;
use crate::azure::look::FoundRun;
use crate::ids::RunId;
use crate::ledger::Reason;

use jiff::Timestamp;

/// How well a run fits a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It is not its run.
    No,
    /// Something in it is hidden or doubtful.
    Possible,
    /// Everything that the firing sent stands in it.
    Certain,
}

/// What is to be done about a firing once its runs were searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// It made no run.
    Absent,
    /// This run is its own.
    Adopt { run: RunId, status: String },
    /// A person must decide, perhaps about this run.
    Undecided(Reason, Option<RunId>),
}

/// How well this run fits a firing that can have been sent at `since` at the earliest.
pub(super) fn fit(intent: &Intent, since: Timestamp, run: &FoundRun) -> Fit {
    let other = run.pipeline.to_lowercase() != intent.pipeline.as_str().to_lowercase();
    let earlier = run.started.is_some_and(|at| at < since.checked_sub(SKEW).unwrap_or(Timestamp::MIN));
    if other || earlier || !run.manual {
        return Fit::No;
    }
    let Ok(Value::Object(ours)) = serde_json::from_str::<Value>(intent.body.expose()) else {
        return Fit::Possible;
    };
    let parameters = ours.iter().map(|(name, value)| shown_as(value, run.parameters.get(name)));
    let fit = parameters.min().unwrap_or(Fit::Certain);
    // One without an id can be nobody's for certain.
    if run.run_id.is_none() { fit.min(Fit::Possible) } else { fit }
}

/// Whether the service would show this value so. It shows text as it is, numbers and truth values as text, lists
/// and objects as JSON text.
fn shown_as(ours: &Value, shown: Option<&Value>) -> Fit {
    let text = match shown {
        Some(Value::String(text)) => text.as_str(),
        // A parameter that the pipeline does not declare may not be shown; null is not recorded.
        None | Some(Value::Null) => return Fit::Possible,
        Some(other) => return if other == ours { Fit::Certain } else { Fit::Possible },
    };
    if is_hidden(text) {
        return Fit::Possible;
    }
    let equal = |equal: bool| if equal { Fit::Certain } else { Fit::No };
    match ours {
        Value::String(ours) if ours == text => Fit::Certain,
        Value::String(ours) => instant(ours, text),
        Value::Bool(ours) => equal(text.eq_ignore_ascii_case(&ours.to_string())),
        Value::Number(ours) => match text.parse::<f64>() {
            // Whole numbers are compared as text: large ones are not told apart as floats.
            Ok(shown) => equal(ours.to_string() == text || (ours.is_f64() && ours.as_f64() == Some(shown))),
            Err(_) => Fit::No,
        },
        Value::Array(_) | Value::Object(_) => match serde_json::from_str::<Value>(text) {
            Ok(shown) => equal(shown == *ours),
            Err(_) => Fit::Possible,
        },
        Value::Null => Fit::Possible,
    }
}

/// Secure values are shown as asterisks.
fn is_hidden(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c == '*')
}

/// Text that is a time may be shown in another of the forms of a time.
fn instant(ours: &str, shown: &str) -> Fit {
    match (ours.parse::<Timestamp>(), shown.parse::<Timestamp>()) {
        (Ok(ours), Ok(shown)) => {
            if ours == shown {
                Fit::Certain
            } else {
                Fit::No
            }
        }
        (Ok(_), Err(_)) if shown.contains(|c: char| c.is_ascii_digit()) => Fit::Possible,
        _ => Fit::No,
    }
}

/// What follows from the runs that nobody owns. `rivals` counts the firings in doubt, this one included, that can
/// have made a run; `held` says whether a held firing can have.
pub(super) fn decide(
    mut unowned: Vec<(Fit, FoundRun)>,
    rivals: impl Fn(&FoundRun) -> usize,
    held: impl Fn(&FoundRun) -> bool,
) -> Finding {
    unowned.sort_by_key(|(_, run)| run.started);
    let certain: Vec<&FoundRun> =
        unowned.iter().filter(|(fit, _)| *fit == Fit::Certain).map(|(_, run)| run).collect();
    let possible = unowned.iter().find(|(fit, _)| *fit == Fit::Possible);
    match (certain.first(), possible) {
        (Some(first), _) => {
            let Some(run) = first.run_id else { return Finding::Undecided(Reason::PossibleMatch, None) };
            if certain.len() > rivals(first) || certain.iter().any(|run| held(run)) {
                return Finding::Undecided(Reason::CannotDecide, Some(run));
            }
            Finding::Adopt { run, status: first.status.clone() }
        }
        (None, Some((_, run))) => Finding::Undecided(Reason::PossibleMatch, run.run_id),
        (None, None) => Finding::Absent,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(ours: &Value, shown: &Value) -> Fit {
        shown_as(ours, Some(shown))
    }

    #[test]
    fn each_kind_of_value_is_known_again_in_the_form_in_which_the_service_shows_it() {
        for (ours, text, expected) in [
            (json!("a"), "a", Fit::Certain),
            (json!("a"), "A", Fit::No),
            (json!("a"), "", Fit::No),
            (json!(""), "", Fit::Certain),
            (json!("***"), "***", Fit::Possible),
            (json!("a"), "**********", Fit::Possible),
            (json!(500), "500", Fit::Certain),
            (json!(500), "5000", Fit::No),
            (json!(500), "five hundred", Fit::No),
            (json!(1.0), "1", Fit::Certain),
            (json!(0.1), "0.1", Fit::Certain),
            (json!(1e3), "1000", Fit::Certain),
            (json!(9_007_199_254_740_993_u64), "9007199254740993", Fit::Certain),
            (json!(true), "True", Fit::Certain),
            (json!(true), "false", Fit::No),
            (json!(["a", 1]), r#"["a",1]"#, Fit::Certain),
            (json!(["a", 1]), "[\n  \"a\",\n  1\n]", Fit::Certain),
            (json!(["a", 1]), r#"["a",2]"#, Fit::No),
            (json!({ "a": 1, "b": 2 }), r#"{"b":2,"a":1}"#, Fit::Certain),
            (json!({ "a": 1 }), "System.Object", Fit::Possible),
            (json!(null), "", Fit::Possible),
            (json!("2026-11-24T01:30:00Z"), "2026-11-24T01:30:00.0000000Z", Fit::Certain),
            (json!("2026-11-24T01:30:00Z"), "2026-11-25T01:30:00Z", Fit::No),
            (json!("2026-11-24T01:30:00Z"), "11/24/2026 01:30:00", Fit::Possible),
        ] {
            assert_eq!(shown(&ours, &json!(text)), expected, "{ours} shown as '{text}'");
        }
        assert_eq!(shown(&json!(1), &json!(1)), Fit::Certain);
        assert_eq!(shown(&json!(1), &json!(2)), Fit::Possible, "shown in a form that was never seen");
        assert_eq!(shown_as(&json!(1), None), Fit::Possible, "one that is not declared may not be shown");
    }

    #[test]
    fn numbers_that_a_float_cannot_tell_apart_are_not_taken_for_one_another() {
        let ours = json!(9_007_199_254_740_993_u64);
        assert_eq!(shown(&ours, &json!("9007199254740992")), Fit::No);
    }
}
