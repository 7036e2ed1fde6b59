//! `import`: triggers of Data Factory as entries of a schedule file, with a proof that they name the same times.

mod entry;
mod expression;
mod fields;
mod files;
mod format;
mod kind;
mod parse;
mod prove;
mod read;
mod rule;
mod template;
mod trigger;
mod tumbling;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use self::entry::{Found, Imported, Taken};
use self::files::File;
use self::read::Contents;
use self::template::{Given, Link};
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

/// A file, or a part of a file, that gave no entry.
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

    fn contents(&self, given: &Given) -> Contents {
        let stem = self.file.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        self.json
            .as_ref()
            .map(|json| read::contents(json, &stem.unwrap_or_default(), given))
            .unwrap_or_default()
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
    let by_name: Vec<Given> = sources
        .iter()
        .filter(|source| source.file.named && source.is_parameters())
        .filter_map(|source| source.json.as_ref().ok().map(read::given))
        .collect();
    let mut all = Vec::new();
    for source in sources.iter().filter(|source| !source.is_parameters()) {
        let json = match &source.json {
            Ok(json) => json,
            Err(reason) => {
                report.others.push(Other { file: source.shown(), reason: reason.clone(), left_out: true });
                continue;
            }
        };
        let mut given = beside.given(&source.file.path, json);
        by_name.iter().for_each(|values| given.extend(values.clone()));
        all.push(Holder { contents: source.contents(&given), source, given });
    }
    let paths: BTreeSet<&Path> = sources.iter().map(|source| source.file.path.as_path()).collect();
    let mut taken = Taken::default();
    for holder in &all {
        holder.tell(&paths, report);
        let file = holder.source.shown();
        for found in holder.triggers(&all, &paths) {
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

/// A file that may hold triggers.
struct Holder<'a> {
    source: &'a Source,
    /// The values for its parameters, as far as no link gives it others.
    given: Given,
    contents: Contents,
}

impl Holder<'_> {
    /// Says what of it is left out.
    fn tell(&self, paths: &BTreeSet<&Path>, report: &mut Report) {
        let contents = &self.contents;
        let mut other = |reason: String, left_out| {
            report.others.push(Other { file: self.source.shown(), reason, left_out });
        };
        match (contents.triggers.is_empty(), contents.other) {
            (false, _) => {
                for (at, what) in &contents.items {
                    other(
                        format!("item {at} of its list is {}", what.unwrap_or("no trigger")),
                        what.is_none(),
                    );
                }
            }
            (true, Some(what)) => other(format!("it is {what}"), true),
            (true, None) => other("there is no trigger in it".to_owned(), true),
        }
        let is_there = |file: &str| paths.iter().any(|path| path.file_name() == Some(OsStr::new(file)));
        for link in contents.links.iter().filter(|link| !is_there(&link.file)) {
            let which = if link.file.is_empty() { "a template elsewhere" } else { &link.file };
            other(format!("it links to {which}, which is not among the files; give it, too"), true);
        }
        if contents.goes_on {
            other("the list goes on elsewhere (nextLink); give the rest of it, too".to_owned(), true);
        }
    }

    /// Its triggers: where templates link to it, those of each deployment that they make of it, with their values.
    fn triggers(&self, all: &[Self], paths: &BTreeSet<&Path>) -> Vec<Found> {
        let own = &self.source.file.path;
        let leads_here = |from: &Path, link: &Link| {
            let beside = from.with_file_name(&link.file);
            match paths.contains(beside.as_path()) {
                true => *own == beside,
                false => own.file_name() == Some(OsStr::new(&link.file)),
            }
        };
        let of_others = all.iter().filter(|other| other.source.file.path != *own);
        let links = of_others.flat_map(|other| other.contents.links.iter().map(move |link| (other, link)));
        let mut linked = links.filter(|(other, link)| leads_here(&other.source.file.path, link)).peekable();
        if linked.peek().is_none() {
            return self.contents.triggers.clone();
        }
        let of_link = |link: &Link| {
            let given = self.given.iter().chain(&link.given);
            let given = given.map(|(name, value)| (name.clone(), value.clone())).collect();
            let mut triggers = self.source.contents(&given).triggers;
            if let Some(why) = &link.blocked {
                triggers.iter_mut().for_each(|found| found.properties = Err(why.clone()));
            }
            triggers
        };
        linked.flat_map(|(_, link)| of_link(link)).collect()
    }
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
