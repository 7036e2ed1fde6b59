//! Triggers in JSON: a trigger as the REST interface gives it or a list of them, a file of the git folder, or a
//! template; and what the JSON is if it holds none.

use serde_json::Value;

use super::entry::Found;
use super::template::{self, Given, Link};

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) triggers: Vec<Found>,
    /// Other templates that it links to.
    pub(super) links: Vec<Link>,
    /// The list goes on elsewhere.
    pub(super) goes_on: bool,
    /// What it is, if it can hold no trigger.
    pub(super) other: Option<&'static str>,
    /// The items of a list that are no triggers: which they are, and what.
    pub(super) items: Vec<(usize, Option<&'static str>)>,
}

/// The triggers in a value. `stem` names one that has no name of its own.
pub(super) fn contents(value: &Value, stem: &str, given: &Given) -> Contents {
    let mut contents = Contents::default();
    add(value, stem, given, &mut contents);
    contents
}

fn add(value: &Value, stem: &str, given: &Given, contents: &mut Contents) {
    let list = value.as_array().or_else(|| value.get("value").and_then(Value::as_array));
    if let Some(items) = list {
        for (at, item) in items.iter().enumerate() {
            let before = contents.triggers.len();
            contents.other = None;
            add(item, stem, given, contents);
            if contents.triggers.len() == before {
                contents.items.push((at + 1, contents.other));
            }
        }
        contents.goes_on |= value.get("nextLink").is_some_and(|link| !link.is_null());
        return;
    }
    if template::is_template(value) {
        let found = template::contents(value, given);
        contents.triggers.extend(found.triggers);
        contents.links.extend(found.links);
        contents.other = Some("a template without a trigger");
        return;
    }
    let properties = value.get("properties").and_then(Value::as_object);
    let kind = properties.and_then(|properties| properties.get("type")).and_then(Value::as_str);
    match (properties, kind) {
        (Some(properties), Some(kind)) if kind.ends_with("Trigger") => {
            let name = value.get("name").and_then(Value::as_str).unwrap_or(stem).to_owned();
            contents.triggers.push(Found { name, properties: Ok(properties.clone()) });
        }
        (Some(properties), None) if properties.get("activities").is_some_and(Value::is_array) => {
            contents.other = Some("a pipeline");
        }
        (Some(_), Some(_)) => contents.other = Some("a definition of something else"),
        (Some(properties), None)
            if ["typeProperties", "pipelines"].iter().all(|key| properties.contains_key(*key)) =>
        {
            let name = value.get("name").and_then(Value::as_str).unwrap_or(stem).to_owned();
            contents.triggers.push(Found { name, properties: Err("it has no type".to_owned()) });
        }
        _ if is_parameters(value) => contents.other = Some("a parameter file"),
        _ => {}
    }
}

/// Whether a value is a parameter file of a template.
pub(super) fn is_parameters(value: &Value) -> bool {
    let of_schema = value
        .get("$schema")
        .and_then(Value::as_str)
        .is_some_and(|schema| schema.contains("eploymentParameters"));
    let parameters = value.get("parameters").and_then(Value::as_object);
    let is_value =
        |parameter: &Value| parameter.get("value").is_some() || parameter.get("reference").is_some();
    !template::is_template(value)
        && (of_schema || parameters.is_some_and(|all| !all.is_empty() && all.values().all(is_value)))
}

/// The values of a parameter file.
pub(super) fn given(value: &Value) -> Given {
    let parameters = value.get("parameters").and_then(Value::as_object).into_iter().flatten();
    let each = parameters.map(|(name, parameter)| {
        let value = parameter.get("value").cloned();
        let elsewhere =
            || format!("the value of the parameter '{name}' is kept elsewhere, not in the parameter file");
        (name.to_lowercase(), value.ok_or_else(elsewhere))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn triggers_are_found_in_every_shape_that_data_factory_gives_them_and_the_rest_is_named() {
        let properties = json!({"type": "ScheduleTrigger", "typeProperties": {}});
        let rest = json!({"name": "nightly", "properties": properties, "etag": "x"});
        let names = |value: Value| {
            let found = contents(&value, "file", &Given::new());
            found.triggers.into_iter().map(|found| found.name).collect::<Vec<_>>()
        };
        assert_eq!(names(rest.clone()), ["nightly"]);
        assert_eq!(names(json!({"value": [rest, {"name": "no"}]})), ["nightly"]);
        assert_eq!(names(json!([rest, rest])), ["nightly", "nightly"]);
        let mixed = json!([{"hello": 1}, rest, {"properties": {"activities": []}}, {"properties": {"typeProperties": {}, "pipelines": []}}]);
        let mixed = contents(&mixed, "file", &Given::new());
        assert_eq!(mixed.items, [(1, None), (3, Some("a pipeline"))]);
        assert_eq!(mixed.triggers[1].properties, Err("it has no type".to_owned()));
        assert_eq!(names(json!({"properties": properties})), ["file"]);
        let goes_on = json!({"value": [rest], "nextLink": "https://example.invalid/2"});
        assert!(contents(&goes_on, "file", &Given::new()).goes_on);
        let other = |value: Value| contents(&value, "file", &Given::new()).other;
        assert_eq!(other(json!({"properties": {"activities": []}})), Some("a pipeline"));
        assert_eq!(
            other(json!({"properties": {"type": "AzureBlobStorage"}})),
            Some("a definition of something else")
        );
        assert_eq!(other(json!({"parameters": {"a": {"value": 1}}})), Some("a parameter file"));
        assert_eq!(other(json!({"resources": []})), Some("a template without a trigger"));
        for unknown in
            [json!({}), json!(1), json!({"name": "x"}), json!({"parameters": {}}), json!({"properties": []})]
        {
            assert_eq!(other(unknown.clone()), None, "{unknown}");
        }
    }
}
