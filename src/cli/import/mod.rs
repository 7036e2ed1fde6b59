//! `import`: triggers of Data Factory as entries of a schedule file, with a proof that they name the same times.

mod entry;
mod expression;
mod fields;
mod files;
mod format;
mod parse;
mod prove;
mod read;
mod rule;
mod template;
mod trigger;
mod tumbling;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use self::entry::{Imported, Taken};
use self::files::File;
use self::template::Given;
use super::{Format, Outside, complain, print, print_json};
use crate::daemon::Exit;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A trigger as JSON (REST interface or git folder), a list of them, a template, a parameter file of the templates,
    /// or a folder of such files.
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
    others: Vec<Other>,
    /// The entries as a part of a schedule file.
    yaml: String,
}

#[derive(Debug, Serialize)]
struct Refused {
    trigger: String,
    file: String,
    reason: String,
}

/// A file, or a part of one, of which no entry was made.
#[derive(Debug, Serialize)]
struct Other {
    file: String,
    reason: String,
    /// Whether nothing was taken from it, so that a trigger may be missing. A parameter file whose values were used is
    /// a note.
    left_out: bool,
}

/// A file with its JSON, or why there is none.
struct Source {
    file: File,
    json: Result<Value, String>,
}

impl Source {
    fn shown(&self) -> String {
        self.file.path.display().to_string()
    }

    fn is_parameters(&self) -> bool {
        self.json.as_ref().is_ok_and(read::is_parameters)
    }
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let mut report = Report::default();
    let sources = sources(&arguments.files, &mut report);
    import_all(&sources, outside.clock.now().wall, &mut report);
    say(&report);
    if report.entries.is_empty() && report.refused.is_empty() {
        complain("there is no trigger in what was given");
        return Exit::Usage;
    }
    let entries: String = report.entries.iter().map(|entry| entry.yaml.as_str()).collect();
    if !entries.is_empty() {
        report.yaml = format!("pipelines:\n{entries}");
    }
    let written = match arguments.format {
        Format::Json => print_json(&report),
        Format::Text => print(&report.yaml),
    };
    let whole = report.refused.is_empty() && report.others.iter().all(|other| !other.left_out);
    if written == Exit::Done && !whole { Exit::Failed } else { written }
}

/// All files that the arguments stand for.
fn sources(arguments: &[PathBuf], report: &mut Report) -> Vec<Source> {
    let mut sources = Vec::new();
    for path in arguments {
        match files::of(path) {
            Ok(files) => {
                sources.extend(files.into_iter().map(|file| Source { json: files::json(&file), file }))
            }
            Err(reason) => {
                let file = path.display().to_string();
                report.others.push(Other { file, reason, left_out: true });
            }
        }
    }
    sources
}

/// Imports what is there, and names the rest.
fn import_all(sources: &[Source], now: Timestamp, report: &mut Report) {
    let mut beside = Beside { read: BTreeMap::new(), used: BTreeMap::new() };
    let mut taken = Taken::default();
    let by_name: Vec<Given> = sources
        .iter()
        .filter(|source| source.file.named && source.is_parameters())
        .filter_map(|source| source.json.as_ref().ok().map(read::given))
        .collect();
    let files: BTreeSet<_> = sources.iter().filter_map(|source| source.file.path.file_name()).collect();
    for source in sources.iter().filter(|source| !source.is_parameters()) {
        let file = source.shown();
        let mut other =
            |reason: String, left_out| report.others.push(Other { file: file.clone(), reason, left_out });
        let json = match &source.json {
            Ok(json) => json,
            Err(reason) => {
                other(reason.clone(), true);
                continue;
            }
        };
        let mut given = beside.given(&source.file.path, json);
        by_name.iter().for_each(|values| given.extend(values.clone()));
        let stem = source.file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let contents = read::contents(json, &stem.unwrap_or_default(), &given);
        match (contents.triggers.is_empty(), contents.other) {
            (false, _) => {}
            (true, Some(what)) => other(format!("it is {what}"), true),
            (true, None) => other("there is no trigger in it".to_owned(), true),
        }
        for link in contents.links.iter().filter(|link| !files.contains(Path::new(link.as_str()).as_os_str()))
        {
            let which = if link.is_empty() { "a template elsewhere" } else { link };
            other(format!("it links to {which}, which is not among the files; give it, too"), true);
        }
        if contents.goes_on {
            other("the list goes on elsewhere (nextLink); give the rest of it, too".to_owned(), true);
        }
        for found in contents.triggers {
            match entry::import(&found, &file, now, &mut taken) {
                Ok(imported) => report.entries.extend(imported),
                Err(reason) => {
                    report.refused.push(Refused { trigger: found.name, file: file.clone(), reason });
                }
            }
        }
    }
    beside.report(sources, report);
}

/// The parameter files that lie beside templates.
struct Beside {
    read: BTreeMap<PathBuf, Result<Given, String>>,
    /// For which templates.
    used: BTreeMap<PathBuf, Vec<String>>,
}

impl Beside {
    /// The values for a template's parameters that lie beside it.
    fn given(&mut self, path: &Path, json: &Value) -> Given {
        let Some(beside) = files::parameters_beside(path).filter(|_| template::is_template(json)) else {
            return Given::new();
        };
        let template = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.used.entry(beside.clone()).or_default().push(template);
        let values = self.read.entry(beside.clone()).or_insert_with(|| {
            files::json(&File { path: beside, named: false }).map(|json| read::given(&json))
        });
        values.as_ref().ok().cloned().unwrap_or_default()
    }

    /// Says which parameter files there are, and what they were used for.
    fn report(self, sources: &[Source], report: &mut Report) {
        for source in sources.iter().filter(|source| source.is_parameters()) {
            let (reason, left_out) = match (self.used.get(&source.file.path), source.file.named) {
                (Some(templates), _) => {
                    (format!("its values are the parameters of {}", templates.join(", ")), false)
                }
                (None, true) => ("its values are the parameters of all templates given".to_owned(), false),
                (None, false) => (
                    "it is a parameter file, and its name does not tell which template it belongs to; give both by name"
                        .to_owned(),
                    true,
                ),
            };
            report.others.push(Other { file: source.shown(), reason, left_out });
        }
        for (path, templates) in self.used {
            if sources.iter().any(|source| source.file.path == path) {
                continue;
            }
            let (reason, left_out) = match self.read.get(&path) {
                Some(Err(why)) => {
                    (format!("the parameters of {} cannot be read: {why}", templates.join(", ")), true)
                }
                _ => (format!("its values are the parameters of {}", templates.join(", ")), false),
            };
            report.others.push(Other { file: path.display().to_string(), reason, left_out });
        }
    }
}

/// Says what became of each trigger, and what else there is.
fn say(report: &Report) {
    // What files say is shown with its control characters escaped.
    let tell = |line: String| complain(&yaml::shown(&line));
    for Imported { trigger, file, entry, proof, notes, .. } in &report.entries {
        tell(format!("{file}: '{trigger}' becomes '{entry}'; {}", proof.in_words()));
        notes.iter().for_each(|note| tell(format!("{file}: '{trigger}': note: {note}")));
    }
    for Refused { trigger, file, reason } in &report.refused {
        tell(format!("{file}: '{trigger}' is refused: {reason}"));
    }
    for Other { file, reason, left_out } in &report.others {
        tell(if *left_out { format!("{file}: {reason}") } else { format!("{file}: note: {reason}") });
    }
    if report.entries.iter().any(|entry| entry.enabled) {
        complain(
            "stop each trigger in Data Factory before its entry is in force, or both start the pipeline",
        );
    }
}
