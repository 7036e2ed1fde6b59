//! Templates of Azure Resource Manager: which triggers a deployment of one would make. Resources stand in a list or,
//! as newer versions of Bicep write them, under symbolic names; children stand beside their parents or within them.

mod functions;
mod scope;

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::entry::Found;
use super::kind;
use super::parse::beginning;
pub(super) use scope::Given;
use scope::{Effort, Scope, is_copy};

/// The type of a trigger as a resource.
const TRIGGER: &str = "Microsoft.DataFactory/factories/triggers";

/// The type of a template within a template.
const DEPLOYMENT: &str = "Microsoft.Resources/deployments";

/// Resource Manager's own bound on a copy.
const MOST_COPIES: i64 = 800;

/// The most resources that copies may make of one template.
const MOST_RESOURCES: usize = 5_000;

/// What a template holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) triggers: Vec<Found>,
    pub(super) links: Vec<Link>,
    resources: usize,
}

/// A link to another template.
#[derive(Debug)]
pub(super) struct Link {
    /// The name of its file, as far as it can be told.
    pub(super) file: String,
    /// The values that it gives the other's parameters.
    pub(super) given: Given,
    /// Why a deployment would not follow it, or why that cannot be told.
    pub(super) blocked: Option<String>,
}

/// Whether a value is a template.
pub(super) fn is_template(value: &Value) -> bool {
    matches!(value.get("resources"), Some(Value::Array(_) | Value::Object(_)))
}

/// The triggers of a template, with these values for its parameters.
pub(super) fn contents(template: &Value, given: &Given) -> Contents {
    let mut contents = Contents::default();
    let effort = Effort::default();
    walk(template, &Scope::new(template, given.clone(), &effort), None, None, &mut contents);
    contents
}

/// The resources of a template or within another resource.
fn resources(holder: &Value) -> Vec<&Value> {
    match holder.get("resources") {
        Some(Value::Array(resources)) => resources.iter().collect(),
        Some(Value::Object(named)) => named.values().collect(),
        _ => Vec::new(),
    }
}

/// Looks at all resources of a holder. With `blocked`, none of them can be told, for that reason.
fn walk(
    holder: &Value,
    scope: &Scope<'_>,
    parent: Option<&str>,
    blocked: Option<&str>,
    contents: &mut Contents,
) {
    for resource in resources(holder) {
        let Some(kind) = kind(resource, parent) else { continue };
        let exists = resource.get("existing").and_then(Value::as_bool).unwrap_or(false);
        if exists || !is_of_use(resource, &kind) {
            continue;
        }
        scope.rest();
        match copies(resource, scope) {
            Ok(scopes) => {
                for scope in &scopes {
                    scope.rest();
                    one(resource, &kind, scope, blocked, contents);
                }
            }
            Err(why) => {
                let why = format!("how often it is copied cannot be told: {why}");
                one(resource, &kind, scope, Some(blocked.unwrap_or(&why)), contents);
            }
        }
    }
}

/// The whole type of a resource: a child within its parent names the last part only.
fn kind(resource: &Value, parent: Option<&str>) -> Option<String> {
    let own = resource.get("type")?.as_str()?;
    Some(match parent {
        Some(parent) if !own.contains('/') => format!("{parent}/{own}"),
        _ => own.to_owned(),
    })
}

/// Whether there can be a trigger in a resource.
fn is_of_use(resource: &Value, kind: &str) -> bool {
    kind.eq_ignore_ascii_case(TRIGGER)
        || kind.eq_ignore_ascii_case(DEPLOYMENT)
        || !resources(resource).is_empty()
}

/// A scope for each copy of a resource.
fn copies<'a>(resource: &Value, scope: &Scope<'a>) -> Result<Vec<Scope<'a>>, String> {
    let Some(copy) = resource.get("copy") else { return Ok(vec![scope.clone()]) };
    let name = copy.get("name").and_then(Value::as_str).unwrap_or_default();
    let count = scope.value(copy.get("count").ok_or("it has no count")?)?;
    match count.as_i64() {
        Some(count @ 0..=MOST_COPIES) => Ok(scope.in_copies(name, count)),
        _ => Err(format!(
            "its count is {}, not a number from 0 to {MOST_COPIES}",
            beginning(&count.to_string())
        )),
    }
}

/// Looks at one resource.
fn one(resource: &Value, kind: &str, scope: &Scope<'_>, blocked: Option<&str>, contents: &mut Contents) {
    contents.resources += 1;
    if contents.resources > MOST_RESOURCES {
        if contents.resources == MOST_RESOURCES + 1 {
            let why = format!("the template makes more than {MOST_RESOURCES} resources");
            contents.triggers.push(Found { name: "and more".to_owned(), properties: Err(why) });
        }
        return;
    }
    let named = scope.name(resource);
    let outside = blocked;
    let reason = blocked.map(str::to_owned).or_else(|| condition(resource, scope).err());
    let blocked = reason.as_deref();
    if kind.eq_ignore_ascii_case(TRIGGER) {
        let properties = match (&named, blocked) {
            (_, Some(why)) => Err(why.to_owned()),
            (Err(why), None) => Err(why.clone()),
            (Ok(_), None) => properties(resource, scope),
        };
        let as_written = || resource.get("name").and_then(Value::as_str).unwrap_or_default();
        let name = named.unwrap_or_else(|_| beginning(as_written()));
        contents.triggers.push(Found { name, properties });
    } else if kind.eq_ignore_ascii_case(DEPLOYMENT) {
        deployment(resource, scope, blocked, contents);
    } else {
        // What the condition of a parent leaves out does not leave out its children.
        walk(resource, scope, Some(kind), outside, contents);
    }
}

/// A template within a template, or a link to one.
fn deployment(resource: &Value, scope: &Scope<'_>, blocked: Option<&str>, contents: &mut Contents) {
    let Some(properties) = resource.get("properties") else { return };
    if let Some(template) = properties.get("template").filter(|template| is_template(template)) {
        let asked = properties.pointer("/expressionEvaluationOptions/scope").and_then(Value::as_str);
        // Where nothing is asked for, the version of the language tells ("ARM template structure and syntax").
        let inner = asked.map_or(scope.is_of_version_2(), |scope| scope.eq_ignore_ascii_case("inner"));
        match inner {
            true => {
                let given = scope.given(properties.get("parameters"));
                walk(template, &Scope::new(template, given, scope.effort()), None, blocked, contents);
            }
            // Without a scope of its own, its expressions are those of the template around it.
            false => walk(template, scope, None, blocked, contents),
        }
    } else if let Some(link) = properties.get("templateLink") {
        let path =
            link.get("uri").or_else(|| link.get("relativePath")).and_then(Value::as_str).unwrap_or_default();
        contents.links.push(Link {
            file: scope.file(path),
            given: scope.given(properties.get("parameters")),
            blocked: blocked.map(str::to_owned),
        });
    }
}

/// Whether a deployment makes a resource.
fn condition(resource: &Value, scope: &Scope<'_>) -> Result<(), String> {
    let Some(condition) = resource.get("condition") else { return Ok(()) };
    let shown = beginning(condition.as_str().unwrap_or(&condition.to_string()));
    match scope.value(condition) {
        Ok(Value::Bool(true)) => Ok(()),
        Ok(Value::Bool(false)) => Err(format!(
            "its condition '{shown}' is false here, so a deployment of the template does not make it"
        )),
        Ok(_) => Err(format!("its condition '{shown}' is neither true nor false")),
        Err(why) => Err(format!("its condition '{shown}' cannot be told: {why}")),
    }
}

/// What matters of a trigger's properties, without the template's expressions. What does not matter here, such as a
/// description, may hold whatever it likes.
fn properties(resource: &Value, scope: &Scope<'_>) -> Result<Map<String, Value>, String> {
    let mut own = match resource.get("properties") {
        Some(text @ Value::String(_)) => Cow::Owned(scope.resolved(text, "properties")?),
        Some(other) => Cow::Borrowed(other),
        None => return Err("it has no properties".to_owned()),
    };
    // What it starts may be made by a copy within it.
    let mut copies = own.get("copy").and_then(Value::as_array).into_iter().flatten();
    let copied = copies.rfind(|copy| is_copy(copy) && copy["name"] == "pipelines");
    if let Some(copied) = copied.map(|copy| scope.copied(copy)) {
        own.to_mut()["pipelines"] = copied.map_err(|why| format!("its pipelines: {why}"))?.1;
    }
    let mut properties = Map::new();
    let mut take = |key: &str| -> Result<(), String> {
        if let Some(value) = own.get(key) {
            properties.insert(key.to_owned(), scope.resolved(value, key)?);
        }
        Ok(())
    };
    take("type")?;
    let kind = own.get("type").map(|kind| scope.resolved(kind, "type")).transpose()?;
    if kind.as_ref().and_then(Value::as_str).is_some_and(kind::has_times) {
        ["runtimeState", "typeProperties"].into_iter().try_for_each(&mut take)?;
        let started = |reference: &Value, place: &str| {
            let mut started = Map::new();
            for (key, value) in reference.as_object().into_iter().flatten() {
                if matches!(key.as_str(), "pipelineReference" | "parameters") {
                    started.insert(key.clone(), scope.resolved(value, &format!("{place}.{key}"))?);
                }
            }
            Ok::<_, String>(Value::Object(started))
        };
        if let Some(reference) = own.get("pipeline") {
            properties.insert("pipeline".to_owned(), started(reference, "pipeline")?);
        }
        if let Some(references) = own.get("pipelines") {
            let references = match references {
                Value::String(_) => scope.resolved(references, "pipelines")?,
                other => other.clone(),
            };
            let references = references.as_array().cloned().unwrap_or_else(|| vec![references]);
            let references = references.iter().map(|reference| started(reference, "pipelines"));
            properties.insert("pipelines".to_owned(), references.collect::<Result<Value, _>>()?);
        }
    }
    Ok(properties)
}

#[cfg(test)]
mod tests;
