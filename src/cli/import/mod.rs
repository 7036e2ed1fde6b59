//! `import`: triggers of Data Factory as entries of a schedule file, with a proof that they name the same times.

mod expression;
mod format;
mod parse;
mod read;
mod rule;
mod trigger;
mod yaml;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{Timestamp, ToSpan as _};
use serde::Serialize;
use serde_json::{Map, Value};

use self::read::Found;
use self::rule::Rule;
use self::trigger::Trigger;
use super::{Format, Outside, complain, print, print_json};
use crate::config;
use crate::daemon::Exit;
use crate::ids::{EntryName, Nominal};

/// What an entry needs around it to be read.
const AROUND: &str = "azure:
  tenant_id: 00000000-0000-0000-0000-000000000000
  client_id: 00000000-0000-0000-0000-000000000000
  client_secret: { credential: client-secret }
  subscription_id: 00000000-0000-0000-0000-000000000000
  resource_group: rg-import
  factory: adf-import
pipelines:
";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A trigger as JSON (REST interface or git folder), a list of them, an ARM template, or a git folder.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// How the result is written: the YAML, or all that was found.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// All that was found. The fields are a documented interface.
#[derive(Debug, Default, Serialize)]
struct Report {
    entries: Vec<Imported>,
    refused: Vec<Refused>,
    /// The entries as a part of a schedule file.
    yaml: String,
}

#[derive(Debug, Serialize)]
struct Imported {
    entry: String,
    trigger: String,
    file: String,
    pipeline: String,
    enabled: bool,
    proof: Proof,
    notes: Vec<String>,
}

/// That the rule of the trigger and the calendar of the entry name the same times.
#[derive(Debug, Clone, Serialize)]
struct Proof {
    from: String,
    until: String,
    firings: usize,
    /// Of local times that a change of the clock skips or repeats: Microsoft's pages do not say what becomes of them.
    at_clock_changes: u64,
}

#[derive(Debug, Serialize)]
struct Refused {
    trigger: String,
    file: String,
    reason: String,
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let now = outside.clock.now().wall;
    let mut report = Report::default();
    let mut names = BTreeSet::new();
    for path in &arguments.files {
        let files = match read::files(path) {
            Ok(files) => files,
            Err(message) => {
                complain(&message);
                return Exit::Usage;
            }
        };
        for file in files {
            let found = match read::triggers(&file) {
                Ok(found) => found,
                Err(message) => {
                    complain(&message);
                    return Exit::Usage;
                }
            };
            let file = file.display().to_string();
            for found in found {
                if let Err(reason) = import(&found, &file, now, &mut names, &mut report) {
                    report.refused.push(Refused { trigger: found.name, file: file.clone(), reason });
                }
            }
        }
    }
    if !report.yaml.is_empty() {
        report.yaml.insert_str(0, "pipelines:\n");
    }
    say(&report);
    let written = match arguments.format {
        Format::Json => print_json(&report),
        Format::Text => print(&report.yaml),
    };
    match written {
        Exit::Done if !report.refused.is_empty() => Exit::Failed,
        written => written,
    }
}

/// Says what became of each trigger.
fn say(report: &Report) {
    for Imported { trigger, file, entry, proof, .. } in &report.entries {
        complain(&format!("{file}: '{trigger}' becomes '{entry}'; {}", in_words(proof)));
    }
    for Refused { trigger, file, reason } in &report.refused {
        complain(&format!("{file}: '{trigger}' is refused: {reason}"));
    }
    if report.entries.iter().any(|entry| entry.enabled) {
        complain(
            "stop each trigger in Data Factory before its entry is in force, or both start the pipeline",
        );
    }
}

fn in_words(proof: &Proof) -> String {
    let Proof { from, until, firings, at_clock_changes } = proof;
    let silent = match at_clock_changes {
        0 => String::new(),
        count => format!(
            "; {count} local times among them are skipped or repeated by a change of the clock, where Microsoft's \
             pages say nothing and this program's rule is used for both"
        ),
    };
    let what = if *firings == 1 { "firing" } else { "firings" };
    format!("proved: {firings} {what} from {from} until {until}, the same in both calendars{silent}")
}

/// Imports one trigger, whole or not at all.
fn import(
    found: &Found,
    file: &str,
    now: Timestamp,
    names: &mut BTreeSet<String>,
    report: &mut Report,
) -> Result<(), String> {
    let trigger = trigger::read(found)?;
    let mut imported = Vec::new();
    for (pipeline, parameters) in &trigger.pipelines {
        let wanted = match trigger.pipelines.as_slice() {
            [_] => found.name.clone(),
            _ => format!("{}-{pipeline}", found.name),
        };
        let name = EntryName::made_of(&wanted).ok_or("no name of an entry can be made of its own")?;
        let body = body(name.as_str(), pipeline, parameters, &trigger);
        let proof = prove(&body, &trigger.rule, now)?;
        imported.push((name, pipeline.clone(), body, proof));
    }
    for (name, pipeline, body, proof) in imported {
        let free = free(name.as_str(), names);
        let mut text = yaml::comment(&format!("from the trigger '{}' ({file})", found.name));
        text.push_str(&yaml::comment(&in_words(&proof)));
        trigger.notes.iter().for_each(|note| text.push_str(&yaml::comment(&format!("note: {note}"))));
        text.push_str(&body.replacen(&head(name.as_str()), &head(&free), 1));
        if !trigger.started {
            text.push_str("    enabled: false\n");
        }
        report.yaml.push_str(&text);
        names.insert(free.clone());
        report.entries.push(Imported {
            entry: free,
            trigger: found.name.clone(),
            file: file.to_owned(),
            pipeline,
            enabled: trigger.started,
            proof,
            notes: trigger.notes.clone(),
        });
    }
    Ok(())
}

/// A name that no other entry has.
fn free(name: &str, taken: &BTreeSet<String>) -> String {
    let short: String = name.chars().take(58).collect();
    let others = (2..).map(|number| format!("{short}-{number}"));
    let mut candidates = std::iter::once(name.to_owned()).chain(others);
    candidates.find(|candidate| !taken.contains(candidate)).unwrap_or_else(|| name.to_owned())
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

/// Reads the entry as the daemon would, and compares its calendar with the trigger's rule over two years: from now on,
/// or from the start of a trigger that has not begun or has ended.
fn prove(body: &str, rule: &Rule, now: Timestamp) -> Result<Proof, String> {
    let ended = rule.end.is_some_and(|end| end < now);
    let from = if ended { rule.start } else { Nominal::at_or_after(now).timestamp().max(rule.start) };
    let in_two_years = jiff::tz::TimeZone::UTC.to_datetime(from).checked_add(2.years());
    let until = in_two_years.and_then(|until| jiff::tz::TimeZone::UTC.to_timestamp(until));
    let until = until.map_err(|error| error.to_string())?;
    let text = format!("{AROUND}{body}");
    let none = |_: &Path| Err("is not asked for".to_owned());
    let outside = config::Outside { environment: &|_| None, file: &none };
    let settings = config::load(text.as_bytes(), "the entry", outside, from).map_err(|problems| {
        let first = problems.iter().next().map(|problem| problem.message.clone());
        format!("what it becomes is no entry: {}", first.unwrap_or_default())
    })?;
    let calendar = settings.entries.first().map(|entry| &entry.calendar).ok_or("it becomes no entry")?;
    let ours: BTreeSet<i64> = calendar
        .onwards(from)
        .take_while(|nominal| nominal.timestamp() < until)
        .map(|nominal| nominal.as_second())
        .collect();
    let theirs = rule.enumerate(from, until);
    if let Some(differs) = ours.symmetric_difference(&theirs.seconds).next() {
        let whose = if ours.contains(differs) { "the entry" } else { "the trigger" };
        let at = Timestamp::from_second(*differs).map(|at| at.to_string()).unwrap_or_default();
        return Err(format!("the calendars differ: at {at} only {whose} fires; please report it"));
    }
    Ok(Proof {
        from: from.to_string(),
        until: until.to_string(),
        firings: ours.len(),
        at_clock_changes: theirs.undocumented,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Imports a recurrence, and says how many firings were compared.
    fn proved(recurrence: &Value) -> Result<Proof, String> {
        let properties = json!({"type": "ScheduleTrigger", "typeProperties": {"recurrence": recurrence},
            "pipelines": [{"pipelineReference": {"type": "PipelineReference", "referenceName": "P"}, "parameters": {}}]});
        let found = Found {
            name: "t".to_owned(),
            properties: properties.as_object().unwrap().clone(),
            unresolved: None,
        };
        let mut report = Report::default();
        let now = "2026-11-24T12:00:00.5Z".parse().unwrap();
        import(&found, "t.json", now, &mut BTreeSet::new(), &mut report)?;
        Ok(report.entries[0].proof.clone())
    }

    #[test]
    fn recurrences_of_every_kind_are_proved_over_two_years_in_zones_that_change_their_clocks() {
        let zones = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago"];
        let schedules = [
            ("Day", json!({})),
            ("Day", json!({"hours": [0, 2, 14], "minutes": [0, 30]})),
            ("Day", json!({"hours": [2]})),
            ("Day", json!({"minutes": [15, 45]})),
            ("Week", json!({"weekDays": ["Sunday", "saturday"], "hours": [0, 2, 3], "minutes": [30]})),
            ("Week", json!({})),
            ("Month", json!({"monthDays": [1, 31, -1, -2], "hours": [2]})),
            (
                "Month",
                json!({"monthlyOccurrences": [{"day": "Sunday", "occurrence": -1}, {"day": "Friday"}]}),
            ),
            ("Month", json!({})),
            ("Hour", json!({})),
            ("Hour", json!({"minutes": [0, 20]})),
            ("Hour", json!({"hours": [1, 2, 3]})),
        ];
        let mut undocumented = 0;
        for zone in zones {
            for (at, (frequency, schedule)) in schedules.iter().enumerate() {
                for interval in [1, 2 + at % 3] {
                    let z = if zone == "UTC" { "Z" } else { "" };
                    let recurrence = json!({"frequency": frequency, "interval": interval, "timeZone": zone,
                        "startTime": format!("2026-08-31T02:1{}:0{interval}{z}", at % 10), "schedule": schedule});
                    let proof = proved(&recurrence).unwrap_or_else(|why| panic!("{recurrence}: {why}"));
                    assert!(proof.firings > 2, "{recurrence}: {proof:?}");
                    undocumented += proof.at_clock_changes;
                }
            }
        }
        assert!(undocumented > 50, "changes of the clock were among them: {undocumented}");
    }

    #[test]
    fn steps_of_minutes_are_proved_too() {
        let steps = json!({"frequency": "Minute", "interval": 17, "startTime": "2026-11-01T00:00:30", "timeZone": "Europe/Berlin"});
        assert!(proved(&steps).unwrap().firings > 60_000);
        let limited = json!({"frequency": "Minute", "interval": 15, "startTime": "2026-11-01T00:00:00Z", "schedule": {"hours": [8, 9]}});
        assert_eq!(proved(&limited).unwrap().firings, 731 * 8);
    }

    #[test]
    fn a_calendar_that_differs_from_its_trigger_is_refused() {
        let found = json!({"type": "ScheduleTrigger", "pipelines": [{"pipelineReference": {"referenceName": "P"}}],
            "typeProperties": {"recurrence": {"frequency": "Day", "startTime": "2026-12-01T02:00:00Z"}}});
        let found =
            Found { name: "t".to_owned(), properties: found.as_object().unwrap().clone(), unresolved: None };
        let trigger = trigger::read(&found).unwrap();
        let body = body("t", "P", &Map::new(), &trigger).replace("Day", "Week");
        let said = prove(&body, &trigger.rule, "2026-11-24T12:00:00Z".parse().unwrap()).unwrap_err();
        assert!(said.contains("at 2026-12-02T02:00:00Z only the trigger fires"), "{said}");
    }
}
