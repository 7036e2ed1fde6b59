//! The entries: `defaults:` and `pipelines:`, merged key by key, with unique names.

use std::collections::HashMap;
use std::iter::successors;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::collect::{Collector, join};
use super::keys::{Keys, PolicyKeys, keys};
use super::problem::Found;
use super::{Entry, Policy, calendar, raw};
use crate::ids::{EntryName, Factory, FactoryName, Nominal, PipelineName, ResourceGroup, SubscriptionId};
use crate::retry::RetryPolicy;
use crate::template::{Parameters, TemplateError, Tried};

/// Data Factory's own limit of parameters of a pipeline (service limits page).
const MOST_PARAMETERS: usize = 50;
/// For so many firings of an entry its templates are tried out.
const TRIED_FIRINGS: usize = 10;
/// What the search for the next nominal times of all entries may cost where times are left out, in times that are looked
/// for in one rule: less than a second.
const MOST_COST: u32 = 2_500_000;
/// The most bytes of parameters of the defaults that entries with parameters of their own have in all: each entry keeps a
/// copy.
const MOST_COPIED: usize = 32 * 1024 * 1024;
/// Distinct policies that are kept to be shared.
const SHARED_POLICIES: usize = 64;

/// The factory that entries address unless they say otherwise.
pub(super) struct Place {
    pub(super) subscription: Option<SubscriptionId>,
    pub(super) resource_group: Option<ResourceGroup>,
    pub(super) factory: Option<FactoryName>,
    /// Whether there was an azure block to read it from.
    pub(super) known: bool,
}

impl Place {
    pub(super) fn unknown() -> Self {
        Self { subscription: None, resource_group: None, factory: None, known: false }
    }
}

/// Reads `pipelines:`.
pub(super) fn entries(
    collector: &mut Collector<'_>,
    items: Vec<Value>,
    place: &Place,
    defaults: &Keys,
) -> Vec<Arc<Entry>> {
    let mut names: HashMap<EntryName, usize> = HashMap::new();
    let mut shared = Shared::new(defaults);
    let mut entries = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("pipelines[{index}]");
        let Some(raw) = collector.section::<raw::Entry>(&path, item) else { continue };
        let named = raw.name.is_some();
        let Some(entry) = entry(collector, &path, raw, place, defaults, &mut shared) else { continue };
        if let Some(first) = names.insert(entry.name.clone(), index) {
            let key = if named { "name" } else { "pipeline" };
            let hint = if named { "" } else { "; give it a `name`" };
            let message = format!("the name '{}' is taken already{hint}: it first stands at", entry.name);
            let found = Found::value(join(&path, key), message).with(format!("pipelines[{first}]"));
            collector.note(found);
        }
        entries.push(Arc::new(entry));
    }
    entries
}

/// Equal parts of entries, kept once.
struct Shared {
    policies: Vec<(PolicyKeys, Arc<Policy>)>,
    /// The parameters of entries that have none of their own.
    inherited: Option<Arc<Parameters>>,
    /// The bytes of the parameters of the defaults.
    size: usize,
    /// How many bytes of them were copied.
    copied: usize,
    tried: Tried,
    /// What the search for nominal times may still cost.
    may_cost: u32,
}

impl Shared {
    fn new(defaults: &Keys) -> Self {
        Self {
            policies: Vec::new(),
            inherited: None,
            size: defaults.parameters.iter().map(|(name, value)| name.len() + size(value)).sum(),
            copied: 0,
            tried: Tried::default(),
            may_cost: MOST_COST,
        }
    }

    fn policy(&mut self, keys: PolicyKeys) -> Arc<Policy> {
        if let Some((_, policy)) = self.policies.iter().find(|(known, _)| *known == keys) {
            return Arc::clone(policy);
        }
        let policy = Arc::new(keys.policy());
        if self.policies.len() < SHARED_POLICIES {
            self.policies.push((keys, Arc::clone(&policy)));
        }
        policy
    }
}

fn entry(
    collector: &mut Collector<'_>,
    path: &str,
    mut raw: raw::Entry,
    place: &Place,
    defaults: &Keys,
    shared: &mut Shared,
) -> Option<Entry> {
    // What was accepted by an older version is not refused.
    let named = if collector.now().is_some() { PipelineName::published } else { PipelineName::new };
    let pipeline = collector.read(path, "pipeline", raw.pipeline.take(), |text| named(&text));
    let pipeline =
        collector.required(path, "pipeline", pipeline, "it is Data Factory's name of the pipeline");
    let name = match raw.name.take() {
        None => pipeline.as_ref().and_then(|pipeline| default_name(collector, path, pipeline)),
        given => collector.read(path, "name", given, |text| EntryName::new(&text)),
    };
    let schedule = raw.schedule.take();
    let schedule = collector.required(path, "schedule", schedule, "for example schedule: \"30 2 * * *\"");
    let mut keys = keys(collector, path, raw);
    let calendar = schedule.and_then(|value| calendar::read(collector, path, value, &keys, defaults));
    let factory = factory(collector, path, &mut keys, defaults, place);
    let inherited = inherited(&keys.parameters, defaults);
    let parameters = parameters(collector, path, keys.parameters, defaults, &inherited, shared);
    let policy = keys.policy.or(&defaults.policy);
    if policy.max.is_some_and(|max| max < policy.initial.unwrap_or(RetryPolicy::default().initial)) {
        collector.wrong(&join(path, "retry"), "max", "must not be shorter than `initial`");
    }
    if policy.follow == Some(false) && policy.run_deadline.is_some() {
        collector.wrong(path, "follow", "must be true where there is a `run_deadline`");
    }
    let entry = Entry {
        name: name?,
        pipeline: pipeline?,
        factory: factory?,
        enabled: keys.enabled.or(defaults.enabled).unwrap_or(true),
        calendar: Arc::new(calendar?),
        parameters: parameters?,
        policy: shared.policy(policy),
    };
    if let Some(now) = collector.now().filter(|_| entry.enabled) {
        if entry.calendar.leaves_out() && shared.may_cost > 0 {
            let cost = entry.calendar.cost_after(Nominal::at_or_before(now), shared.may_cost);
            shared.may_cost = cost.map_or(0, |cost| shared.may_cost - cost);
            if shared.may_cost == 0 {
                let message = "the entries up to here leave out nearly all their times; write schedules that do not name \
                               them";
                collector.wrong(path, "except", message);
            }
        }
        if shared.may_cost == 0 {
            return Some(entry);
        }
        try_out(collector, path, &entry, &inherited, now, shared);
    }
    Some(entry)
}

/// Renders the templates of an entry as its next firings would, or, with no nominal time left, as one by hand.
fn try_out(
    collector: &mut Collector<'_>,
    path: &str,
    entry: &Entry,
    inherited: &[&str],
    now: Timestamp,
    shared: &mut Shared,
) {
    let now = Nominal::at_or_before(now);
    let errors = entry.parameters.try_out(&entry.calendar, &mut shared.tried, || {
        let first = entry.calendar.next_after(now).unwrap_or(now);
        let coming = successors(Some(first), |last| entry.calendar.next_after(*last));
        coming.take(TRIED_FIRINGS).map(|nominal| entry.scheduled(nominal))
    });
    for (nominal, error) in errors {
        let message = format!("cannot be rendered, for example at {nominal}: {}", error.message);
        wrong_parameter(collector, path, inherited, &error, message);
    }
}

/// The name that an entry has of its pipeline.
fn default_name(collector: &mut Collector<'_>, path: &str, pipeline: &PipelineName) -> Option<EntryName> {
    let name = EntryName::made_of(pipeline.as_str());
    if name.is_none() {
        let message =
            "no name can be made of the pipeline's; give the entry a `name` of letters, digits, . _ -";
        collector.wrong(path, "pipeline", message);
    }
    name
}

fn factory(
    collector: &mut Collector<'_>,
    path: &str,
    keys: &mut Keys,
    defaults: &Keys,
    place: &Place,
) -> Option<Factory> {
    let subscription = keys
        .subscription
        .take()
        .or_else(|| defaults.subscription.clone().or_else(|| place.subscription.clone()));
    let group = keys
        .resource_group
        .take()
        .or_else(|| defaults.resource_group.clone().or_else(|| place.resource_group.clone()));
    let name = keys.factory.take().or_else(|| defaults.factory.clone().or_else(|| place.factory.clone()));
    if place.known {
        let missing = [
            ("subscription_id", subscription.is_none()),
            ("resource_group", group.is_none()),
            ("factory", name.is_none()),
        ];
        for (key, _) in missing.into_iter().filter(|(_, missing)| *missing) {
            let noted = [join("azure", key), join("defaults", key), join(path, key)];
            let hint = format!("`{key}` is missing; give it under `azure:`, or to the entry");
            // Once is enough, however many entries lack it.
            if !noted.iter().any(|path| collector.is_noted(path)) {
                collector.note(Found::value(join("azure", key), hint));
            }
        }
    }
    Some(Factory { subscription: subscription?, resource_group: group?, name: name? })
}

/// The names of the parameters that an entry has from the defaults.
fn inherited<'a>(own: &Map<String, Value>, defaults: &'a Keys) -> Vec<&'a str> {
    defaults.parameters.keys().map(String::as_str).filter(|name| !own.contains_key(*name)).collect()
}

/// Notes a wrong parameter where it stands, a default once.
fn wrong_parameter(
    collector: &mut Collector<'_>,
    path: &str,
    inherited: &[&str],
    error: &TemplateError,
    message: String,
) {
    let owner = if inherited.contains(&error.name.as_str()) { "defaults" } else { path };
    let place = join(&join(owner, "parameters"), &error.path);
    if !collector.is_noted(&place) {
        collector.note(Found::value(place, message));
    }
}

/// The bytes of a value's texts, about.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(map) => map.iter().map(|(name, value)| name.len() + size(value)).sum(),
        _ => 8,
    }
}

fn parameters(
    collector: &mut Collector<'_>,
    path: &str,
    own: Map<String, Value>,
    defaults: &Keys,
    inherited: &[&str],
    shared: &mut Shared,
) -> Option<Arc<Parameters>> {
    let is_inherited = own.is_empty();
    if let Some(inherited) = shared.inherited.as_ref().filter(|_| is_inherited) {
        return Some(Arc::clone(inherited));
    }
    shared.copied += shared.size;
    // What was accepted before is not refused for how much it is.
    if collector.now().is_some() && shared.copied > MOST_COPIED {
        let message = "the parameters that entries up to here have from `defaults` are larger than 32 MiB in all; give \
                       large ones to the pipeline itself";
        collector.wrong(path, "parameters", message);
        return None;
    }
    let mut values = defaults.parameters.clone();
    values.extend(own);
    if values.len() > MOST_PARAMETERS {
        collector.wrong(
            path,
            "parameters",
            format!("Data Factory takes at most {MOST_PARAMETERS} parameters"),
        );
        return None;
    }
    match Parameters::new(values, &mut shared.tried) {
        Ok(parameters) => {
            let parameters = Arc::new(parameters);
            if is_inherited {
                shared.inherited = Some(Arc::clone(&parameters));
            }
            Some(parameters)
        }
        Err(error) => {
            wrong_parameter(collector, path, inherited, &error, error.message.clone());
            None
        }
    }
}
