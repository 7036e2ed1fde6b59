//! Triggers in files: a trigger as the REST interface gives it or a list of them, an ARM template, a file of the
//! git folder, or that folder.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::daemon::schedule_file;

/// The type of a trigger as a resource.
const RESOURCE: &str = "Microsoft.DataFactory/factories/triggers";

/// A trigger as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) properties: Map<String, Value>,
    /// An expression of the template that it stands in, which only a deployment can resolve.
    pub(super) unresolved: Option<String>,
}

/// The files that an argument stands for: itself, or the triggers of a git folder.
///
/// # Errors
/// In words, when the folder cannot be read.
pub(super) fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let own = path.join("trigger");
    let folder = if own.is_dir() { own } else { path.to_owned() };
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for file in std::fs::read_dir(&folder).map_err(wrong)? {
        let file = file.map_err(wrong)?.path();
        if file.extension().is_some_and(|extension| extension == "json") {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(format!("{}: there are no JSON files in it", folder.display())),
        false => Ok(files),
    }
}

/// The triggers of a file.
///
/// # Errors
/// In words, when it cannot be read or holds none.
pub(super) fn triggers(path: &Path) -> Result<Vec<Found>, String> {
    let shown = path.display();
    let bytes = schedule_file::read(path)?;
    // Files of Windows tools begin with a mark.
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let value = serde_json::from_slice(text).map_err(|error| format!("{shown}: it is no JSON: {error}"))?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let found = in_value(&value, &stem);
    match found.is_empty() {
        true => Err(format!("{shown}: there is no trigger in it")),
        false => Ok(found),
    }
}

fn in_value(value: &Value, stem: &str) -> Vec<Found> {
    let list = |key: &str| value.get(key).and_then(Value::as_array);
    if let Some(items) = value.as_array().or_else(|| list("value")) {
        return items.iter().flat_map(|item| in_value(item, stem)).collect();
    }
    if let Some(resources) = list("resources") {
        let defaults = value.get("parameters").and_then(Value::as_object);
        return resources.iter().flat_map(|resource| in_template(resource, defaults)).collect();
    }
    let kind = |properties: &Map<String, Value>| {
        properties.get("type").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("Trigger"))
    };
    match value.get("properties").and_then(Value::as_object) {
        Some(properties) if kind(properties) => {
            let name = value.get("name").and_then(Value::as_str).unwrap_or(stem).to_owned();
            vec![Found { name, properties: properties.clone(), unresolved: None }]
        }
        _ => Vec::new(),
    }
}

/// The triggers of a resource of an ARM template, or of a template within it. Parameters of the template have the
/// values of their defaults.
fn in_template(resource: &Value, defaults: Option<&Map<String, Value>>) -> Vec<Found> {
    if let Some(nested) = resource.pointer("/properties/template") {
        return in_value(nested, "");
    }
    if !resource.get("type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case(RESOURCE)) {
        return Vec::new();
    }
    let name = resource.get("name").and_then(Value::as_str).unwrap_or_default();
    // [concat(parameters('factoryName'), '/nightly')]
    let name = name.trim_end_matches(['\'', ')', ']', ' ']);
    let name = name.rsplit(['/', '\'']).next().unwrap_or_default().to_owned();
    let mut unresolved = None;
    match resolved(resource.get("properties").unwrap_or(&Value::Null), defaults, &mut unresolved) {
        Value::Object(properties) => vec![Found { name, properties, unresolved }],
        _ => Vec::new(),
    }
}

/// A value of a template without the template's own expressions, as far as they are plain parameters with defaults.
fn resolved(value: &Value, defaults: Option<&Map<String, Value>>, unresolved: &mut Option<String>) -> Value {
    match value {
        // A doubled bracket is a plain one.
        Value::String(text) if text.starts_with("[[") => Value::String(text[1..].to_owned()),
        Value::String(text) if text.starts_with('[') && text.ends_with(']') => {
            let name = text.strip_prefix("[parameters('").and_then(|rest| rest.strip_suffix("')]"));
            let default = name.and_then(|name| defaults?.get(name)?.get("defaultValue"));
            default.cloned().unwrap_or_else(|| {
                unresolved.get_or_insert_with(|| text.clone());
                value.clone()
            })
        }
        Value::Array(items) => items.iter().map(|item| resolved(item, defaults, unresolved)).collect(),
        Value::Object(fields) => {
            let fields =
                fields.iter().map(|(key, field)| (key.clone(), resolved(field, defaults, unresolved)));
            fields.collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn triggers_are_found_in_every_shape_that_data_factory_gives_them() {
        let properties = json!({"type": "ScheduleTrigger", "typeProperties": {}});
        let rest = json!({"name": "nightly", "properties": properties, "etag": "x"});
        let names =
            |value: Value| in_value(&value, "file").into_iter().map(|found| found.name).collect::<Vec<_>>();
        assert_eq!(names(rest.clone()), ["nightly"]);
        assert_eq!(names(json!({"value": [rest, {"name": "no"}]})), ["nightly"]);
        assert_eq!(names(json!({"properties": properties})), ["file"]);
        let resource = json!({"name": "[concat(parameters('factoryName'), '/nightly')]", "type": RESOURCE,
            "properties": {"type": "ScheduleTrigger", "runtimeState": "[parameters('state')]", "description": "[[x]"}});
        let template = json!({"parameters": {"state": {"type": "string", "defaultValue": "Stopped"}},
            "resources": [resource, {"type": "Microsoft.DataFactory/factories/pipelines", "name": "p"}]});
        let found = in_value(&template, "");
        assert_eq!((found.len(), found[0].name.as_str()), (1, "nightly"));
        assert_eq!(found[0].properties["runtimeState"], "Stopped");
        assert_eq!(found[0].properties["description"], "[x]");
        assert_eq!(found[0].unresolved, None);
        let mut without = template.clone();
        without["parameters"] = json!({"state": {"type": "string"}});
        assert_eq!(in_value(&without, "")[0].unresolved.as_deref(), Some("[parameters('state')]"));
        let nested = json!({"resources": [{"type": "Microsoft.Resources/deployments", "properties": {"template": template}}]});
        assert_eq!(names(nested), ["nightly"]);
        assert_eq!(names(json!({"properties": {"activities": []}})), [""; 0]);
    }
}
