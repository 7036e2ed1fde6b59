//! Which kinds of triggers there are, and which of them an entry can be.

use serde_json::{Map, Value};

use super::fields::object;
use super::trigger::{self, Trigger};
use super::tumbling;

/// Whether triggers of this type fire at times.
pub(super) fn has_times(kind: &str) -> bool {
    matches!(kind, "ScheduleTrigger" | "TumblingWindowTrigger")
}

/// Reads the properties of a trigger.
///
/// # Errors
/// In words, naming what cannot be equal here.
pub(super) fn read(properties: &Map<String, Value>) -> Result<Trigger, String> {
    let none = Map::new();
    match properties.get("type").and_then(Value::as_str).unwrap_or_default() {
        "ScheduleTrigger" => {
            trigger::schedule(properties, object(properties, "typeProperties")?.unwrap_or(&none))
        }
        "TumblingWindowTrigger" => {
            tumbling::read(properties, object(properties, "typeProperties")?.unwrap_or(&none))
        }
        kind @ ("BlobTrigger" | "BlobEventsTrigger" | "CustomEventsTrigger") => {
            Err(format!("a {kind} fires on events, not at times"))
        }
        "ChainingTrigger" => {
            Err("a ChainingTrigger fires after runs of other pipelines, not at times".to_owned())
        }
        "" => Err("it has no type".to_owned()),
        kind => Err(format!("a {kind} is not known here")),
    }
}
