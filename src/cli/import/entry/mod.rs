//! A trigger as entries of a schedule file: their YAML, their names, and what is said of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::kind;
use super::prove::{Proof, prove};
use super::trigger::Trigger;
use super::yaml;
use crate::ids::EntryName;

/// A trigger as it was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) name: String,
    /// What it says, or why that cannot be told.
    pub(super) properties: Result<Map<String, Value>, String>,
}

/// An entry that a trigger has become. The fields are a documented interface.
#[derive(Debug, Serialize)]
pub(super) struct Imported {
    pub(super) entry: String,
    pub(super) trigger: String,
    pub(super) file: String,
    pub(super) pipeline: String,
    pub(super) enabled: bool,
    pub(super) proof: Proof,
    pub(super) notes: Vec<String>,
    /// As a part of a schedule file.
    #[serde(skip)]
    pub(super) yaml: String,
}

/// Imports one trigger, whole or not at all. Its entries have names that are not taken.
///
/// # Errors
/// In words, when it cannot be equal here.
pub(super) fn import(
    found: &Found,
    file: &str,
    now: Timestamp,
    taken: &mut Taken,
) -> Result<Vec<Imported>, String> {
    let mut trigger = kind::read(found.properties.as_ref().map_err(Clone::clone)?)?;
    if trigger.rule.end.is_some_and(|end| end < now) {
        trigger.notes.push("its endTime has passed, so it fires no more".to_owned());
    }
    let mut made = Vec::new();
    for (pipeline, parameters) in &trigger.pipelines {
        let wanted = match trigger.pipelines.as_slice() {
            [_] => found.name.clone(),
            _ => format!("{}-{pipeline}", found.name),
        };
        let name = EntryName::made_of(&wanted).ok_or("no name of an entry can be made of its own")?;
        let body = body(name.as_str(), pipeline, parameters, &trigger);
        let proof = prove(&body, &trigger.rule, now, trigger.pipelines.len())?;
        made.push((name, pipeline, body, proof));
    }
    let imported = made.into_iter().map(|(name, pipeline, body, proof)| {
        let entry = taken.free(name.as_str());
        let mut text = yaml::comment(&format!("from the trigger '{}' ({file})", found.name));
        text.push_str(&yaml::comment(&proof.in_words()));
        trigger.notes.iter().for_each(|note| text.push_str(&yaml::comment(&format!("note: {note}"))));
        text.push_str(&body.replacen(&head(name.as_str()), &head(&entry), 1));
        if !trigger.started {
            text.push_str("    enabled: false\n");
        }
        Imported {
            entry,
            trigger: found.name.clone(),
            file: file.to_owned(),
            pipeline: pipeline.clone(),
            enabled: trigger.started,
            proof,
            notes: trigger.notes.clone(),
            yaml: text,
        }
    });
    Ok(imported.collect())
}

/// The names of entries so far.
#[derive(Debug, Default)]
pub(super) struct Taken {
    names: BTreeSet<String>,
    /// The number that was given last behind a name.
    last: BTreeMap<String, u64>,
}

impl Taken {
    /// A name that no other entry has, made of this one.
    fn free(&mut self, name: &str) -> String {
        if self.names.insert(name.to_owned()) {
            return name.to_owned();
        }
        let short: String = name.chars().take(52).collect();
        let last = self.last.entry(short.clone()).or_insert(1);
        loop {
            *last += 1;
            let numbered = format!("{short}-{last}");
            if self.names.insert(numbered.clone()) {
                return numbered;
            }
        }
    }
}

fn head(name: &str) -> String {
    format!("  - name: {}\n", yaml::scalar(name))
}

/// An entry as YAML.
fn body(name: &str, pipeline: &str, parameters: &Map<String, Value>, trigger: &Trigger) -> String {
    let mut text = head(name);
    text.push_str(&format!("    pipeline: {}\n", yaml::scalar(pipeline)));
    text.push_str(&format!("    schedule: {}\n", yaml::flow(&trigger.schedule)));
    for (key, value) in &trigger.keys {
        text.push_str(&format!("    {key}: {}\n", yaml::flow(value)));
    }
    if !parameters.is_empty() {
        text.push_str("    parameters:\n");
        for (key, value) in parameters {
            text.push_str(&format!("      {}: {}\n", yaml::scalar(key), yaml::flow(value)));
        }
    }
    text
}

#[cfg(test)]
mod tests;
