//! What answers are held against: the published schema, and the shapes of recorded answers.

use jsonschema::Draft;
use serde_json::{Value, json};

use crate::client::Answer;

const SCHEMA: &str = include_str!("../../data/datafactory-2018-06-01.schema.json");

/// Asserts that a value is what the published schema calls so.
pub(crate) fn assert_is(definition: &str, value: &Value) {
    let errors = violations(definition, value);
    assert!(errors.is_empty(), "no {definition}: {errors:?} in {value}");
}

/// Asserts that a success validates.
pub(crate) fn assert_success(definition: &str, answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{answer:?}");
    assert_is(definition, &answer.json());
}

/// Asserts that an error has this status and code, the published shape, and the ids to ask Microsoft with.
pub(crate) fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"), "{answer:?}");
    assert!(answer.header("x-ms-request-id").is_some(), "{answer:?}");
    assert_is("CloudError", &answer.json());
}

/// Where a value breaks a definition.
pub(crate) fn violations(definition: &str, value: &Value) -> Vec<String> {
    let mut schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(schema["definitions"].get(definition).is_some(), "the schema has no {definition}");
    schema["allOf"] = json!([{ "$ref": format!("#/definitions/{definition}") }]);
    let validator =
        jsonschema::options().with_draft(Draft::Draft4).should_validate_formats(true).build(&schema).unwrap();
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// How two values differ in shape: keys that only one has, and values of another JSON type. Lists are
/// compared by their first elements, if both have one.
pub(crate) fn differences(recorded: &Value, answered: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", recorded, answered, &mut found);
    found
}

fn compare(at: &str, recorded: &Value, answered: &Value, found: &mut Vec<String>) {
    match (recorded, answered) {
        (Value::Object(wanted), Value::Object(given)) => {
            for (key, value) in wanted {
                let at = format!("{at}/{key}");
                match given.get(key) {
                    Some(answer) => compare(&at, value, answer, found),
                    None => found.push(format!("{at} is missing")),
                }
            }
            let more = given.keys().filter(|key| !wanted.contains_key(*key));
            found.extend(more.map(|key| format!("{at}/{key} is not recorded")));
        }
        (Value::Array(wanted), Value::Array(given)) => {
            if let (Some(wanted), Some(given)) = (wanted.first(), given.first()) {
                compare(&format!("{at}/0"), wanted, given, found);
            }
        }
        _ if kind(recorded) == kind(answered) => {}
        _ => found.push(format!("{at} is {} instead of {}", kind(answered), kind(recorded))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The scheme of a `WWW-Authenticate` header and the names of its parameters.
pub(crate) fn challenge(header: &str) -> Vec<String> {
    let (scheme, parameters) = header.split_once(' ').unwrap();
    let names = parameters.split("\", ").map(|parameter| parameter.split('=').next().unwrap());
    [scheme].into_iter().chain(names).map(str::to_owned).collect()
}

#[test]
fn the_schema_and_the_comparison_find_what_is_wrong() {
    assert!(violations("CreateRunResponse", &json!({ "runId": "x" })).is_empty());
    assert_eq!(violations("CreateRunResponse", &json!({ "id": "x" })).len(), 1);
    assert_eq!(violations("PipelineRun", &json!({ "runStart": "yesterday" })).len(), 1);
    assert_eq!(violations("PipelineRun", &json!({ "parameters": { "a": 1 } })).len(), 1);
    assert_eq!(violations("CloudError", &json!({ "error": "no" })).len(), 1);
    let (recorded, answered) =
        (json!({ "a": 1, "b": [{ "c": null }] }), json!({ "b": [{ "c": "" }], "d": 1 }));
    let found = differences(&recorded, &answered);
    assert_eq!(found, ["/a is missing", "/b/0/c is string instead of null", "/d is not recorded"]);
}
