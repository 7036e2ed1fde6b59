//! Collects everything that is wrong with a file while it is read: a wrong value does not hide what is
//! wrong beside it.

use std::any::TypeId;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::except::{self, Dates, Holidays};
use super::problem::Found;
use super::raw::{Field, Section};
use super::shown::without_secret;
use super::words;
use crate::schedule::{Cron, CronRules, Zone};

/// How alike two words must be for one to be suggested for the other.
const ALIKE: f64 = 0.8;
/// Keys that say when, wherever they stand.
const SCHEDULES: [&str; 4] = ["cron", "every", "at", "recurrence"];
/// No word of ours is longer than this.
const LONGEST_WORD: usize = 64;
/// The most problems that are noted one by one; more are counted.
const MOST_PROBLEMS: usize = 40_000;
/// The most unknown keys for which the one that was meant is looked for: each is compared with all that there are.
const MOST_GUESSES: usize = 1_000;
/// The most names of zones for which the one that was meant is looked for: each is compared with all that there are.
const MOST_ZONES: usize = 200;

/// So many doubts are shown: nobody reads more, and a large file may have one in each line.
const MOST_DOUBTS: usize = 200;

/// The most bytes of all holiday files of a schedule, and the most dates that all its entries have from them: each
/// entry keeps its own.
const MOST_HOLIDAY_BYTES: usize = 16 * 1024 * 1024;
const MOST_HOLIDAYS: usize = 5_000_000;

/// What is wrong so far, and what is looked up more than once.
pub(super) struct Collector<'a> {
    found: Vec<Found>,
    /// How many more there are.
    more: usize,
    /// What is valid and hardly meant.
    doubts: Vec<Found>,
    /// The paths that something has been found about, or is suggested for: large files are wrong in many
    /// places.
    noted: HashSet<String>,
    outside: Outside<'a>,
    /// When templates are tried out, if they are.
    now: Option<Timestamp>,
    /// How cron expressions are read.
    rules: CronRules,
    keys: HashMap<TypeId, Rc<[String]>>,
    guesses: HashMap<(TypeId, String), Option<String>>,
    zones: HashMap<String, Result<Zone, String>>,
    crons: HashMap<String, Result<Cron, String>>,
    holidays: HashMap<PathBuf, Result<Arc<[Dates]>, String>>,
    /// How many bytes those files have.
    holiday_bytes: usize,
    /// How many dates all entries have from them.
    holidays_taken: usize,
}

/// What a schedule file may ask for: the names of trusted hosts, and holiday files. Nothing secret.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// The value of an environment variable.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// The bytes of a file, or why it cannot be read.
    pub file: &'a dyn Fn(&Path) -> Result<Vec<u8>, String>,
}

impl std::fmt::Debug for Outside<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outside")
    }
}

/// The path of a key under `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.to_owned(),
        (path, "") => path.to_owned(),
        (path, key) => format!("{path}.{key}"),
    }
}

impl<'a> Collector<'a> {
    pub(super) fn new(outside: Outside<'a>, now: Option<Timestamp>, rules: CronRules) -> Self {
        Self {
            found: Vec::new(),
            more: 0,
            doubts: Vec::new(),
            noted: HashSet::new(),
            outside,
            now,
            rules,
            keys: HashMap::new(),
            guesses: HashMap::new(),
            zones: HashMap::new(),
            crons: HashMap::new(),
            holidays: HashMap::new(),
            holiday_bytes: 0,
            holidays_taken: 0,
        }
    }

    pub(super) fn environment(&self, name: &str) -> Option<String> {
        (self.outside.environment)(name)
    }

    /// The time from which on templates are tried out, if they are.
    pub(super) fn now(&self) -> Option<Timestamp> {
        self.now
    }

    /// Notes something that is wrong.
    pub(super) fn note(&mut self, found: Found) {
        if self.found.len() >= MOST_PROBLEMS {
            self.more += 1;
            return;
        }
        self.noted.insert(found.path.clone());
        self.found.push(found);
    }

    /// Whether something that is wrong has been noted about the value at a path.
    pub(super) fn is_noted(&self, path: &str) -> bool {
        self.noted.contains(path)
    }

    /// How much is wrong so far.
    pub(super) fn count(&self) -> usize {
        self.found.len() + self.more
    }

    /// Notes something that is valid and hardly meant.
    fn doubt(&mut self, path: String, doubt: String) {
        match self.doubts.len().cmp(&MOST_DOUBTS) {
            Ordering::Less => self.doubts.push(Found::value(path, doubt)),
            Ordering::Equal => {
                let message =
                    format!("there are more warnings from here on; the first {MOST_DOUBTS} are shown");
                self.doubts.push(Found::value(path, message));
            }
            Ordering::Greater => {}
        }
    }

    /// What is valid and hardly meant.
    pub(super) fn take_doubts(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.doubts)
    }

    /// All that is wrong, and how much more there is.
    pub(super) fn into_found(self) -> (Vec<Found>, usize) {
        (self.found, self.more)
    }

    /// Notes that the value of a key is wrong.
    pub(super) fn wrong(&mut self, path: &str, key: &str, message: impl Into<String>) {
        self.note(Found::value(join(path, key), message));
    }

    /// Reads a mapping whose keys are known. `None` when it is no mapping at all.
    pub(super) fn section<T: Section>(&mut self, path: &str, value: Value) -> Option<T> {
        let Value::Object(mut map) = value else {
            self.wrong(path, "", format!("must be a mapping (keys with values), not {}", kind(&value)));
            return None;
        };
        let known = self.known_keys::<T>();
        map.retain(|key, value| {
            if !known.iter().any(|known| known == key) {
                let guess = self.nearest::<T>(key, &known);
                let found = unknown_key::<T>(path, key, guess);
                // What was meant is there, if only under a wrong name or in the wrong place.
                self.noted.extend(found.suggestion.iter().map(|meant| join(path, meant)));
                if SCHEDULES.contains(&key.as_str()) {
                    self.noted.insert(join(path, "schedule"));
                }
                self.note(found);
                return false;
            }
            if value.is_null() {
                let message = format!("`{key}` has no value; give it one, or remove the key");
                self.note(Found::key(join(path, key), message));
            }
            !value.is_null()
        });
        match serde_json::from_value(Value::Object(map)) {
            Ok(section) => Some(section),
            Err(error) => {
                self.wrong(path, "", error.to_string());
                None
            }
        }
    }

    /// The known key that is most like an unknown one.
    fn nearest<T: Section>(&mut self, key: &str, known: &[String]) -> Option<String> {
        if key.len() > LONGEST_WORD {
            return None;
        }
        let of_section = (TypeId::of::<T>(), key.to_owned());
        if let Some(guess) = self.guesses.get(&of_section) {
            return guess.clone();
        }
        if self.guesses.len() >= MOST_GUESSES {
            return None;
        }
        let alike = known.iter().map(|known| (strsim::jaro_winkler(&key.to_lowercase(), known), known));
        let nearest = alike.filter(|(likeness, _)| *likeness >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
        let guess = nearest.map(|(_, known)| known.clone());
        self.guesses.insert(of_section, guess.clone());
        guess
    }

    fn known_keys<T: Section>(&mut self) -> Rc<[String]> {
        let keys = self.keys.entry(TypeId::of::<T>()).or_insert_with(|| {
            let schema = schemars::schema_for!(T).to_value();
            let properties = schema.get("properties").and_then(Value::as_object);
            properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
        });
        Rc::clone(keys)
    }

    /// The value of a key, if it is there and right.
    pub(super) fn take<T>(&mut self, path: &str, key: &str, field: Option<Field<T>>) -> Option<T> {
        self.read(path, key, field, Ok::<T, String>)
    }

    /// The value of a key, if it is there, right, and understood by `parse`.
    pub(super) fn read<T, U, E: ToString>(
        &mut self,
        path: &str,
        key: &str,
        field: Option<Field<T>>,
        parse: impl FnOnce(T) -> Result<U, E>,
    ) -> Option<U> {
        let message = match field?.0 {
            Ok(value) => match parse(value) {
                Ok(read) => return Some(read),
                Err(error) => error.to_string(),
            },
            Err(message) => message,
        };
        let mut found = Found::value(join(path, key), message.as_str());
        found.suggestion = words::value(key, &message);
        self.note(found);
        None
    }

    /// The zone of this name.
    pub(super) fn zone(&mut self, path: &str, key: &str, field: Option<Field<String>>) -> Option<Zone> {
        let name = self.take(path, key, field)?;
        let many = self.zones.len() >= MOST_ZONES;
        let parse = |name: &String| match many && !Zone::is_known(name) {
            true => Err(format!("unknown time zone '{name}'")),
            false => Zone::parse(name).map_err(|error| error.to_string()),
        };
        let zone = self.zones.entry(name).or_insert_with_key(parse).clone();
        zone.map_err(|message| self.wrong(path, key, message)).ok()
    }

    /// A cron expression; large files hold the same one many times.
    pub(super) fn cron(&mut self, path: &str, key: &str, text: &str) -> Option<Cron> {
        let cron = match self.crons.get(text) {
            Some(known) => known.clone(),
            None => {
                let read = Cron::parse(text, self.rules).map_err(|error| error.to_string());
                self.crons.entry(text.to_owned()).or_insert(read).clone()
            }
        };
        let cron = cron.map_err(|message| self.wrong(path, key, message)).ok()?;
        // What was accepted before is not doubted again.
        if self.now.is_some() {
            cron.doubts().into_iter().for_each(|doubt| self.doubt(join(path, key), doubt));
        }
        Some(cron)
    }

    /// The dates of a holiday file; many entries have the same one.
    pub(super) fn holidays(&mut self, path: &str, key: &str, file: &str) -> Option<Arc<[Dates]>> {
        let file = except::path(file).map_err(|message| self.wrong(path, key, message)).ok()?;
        let read = |file: &PathBuf| {
            let bytes = (self.outside.file)(file)?;
            self.holiday_bytes += bytes.len();
            if self.holiday_bytes > MOST_HOLIDAY_BYTES {
                return Err("the holiday files up to here are larger than 16 MiB in all".to_owned());
            }
            except::holidays(&bytes).map_err(|message| format!("{}: {message}", file.display()))
        };
        let dates = self.holidays.entry(file).or_insert_with_key(read).clone();
        let dates = dates.map_err(|message| self.wrong(path, key, message)).ok()?;
        self.holidays_taken += dates.len();
        // What was accepted before is not refused for how much it is.
        if self.now.is_some() && self.holidays_taken > MOST_HOLIDAYS {
            let message = format!(
                "the entries up to here have more than {MOST_HOLIDAYS} dates of holiday files in all; leave past dates out \
                 of the files"
            );
            self.wrong(path, key, message);
            return None;
        }
        Some(dates)
    }

    /// What all holiday files say that were read.
    pub(super) fn take_holidays(&mut self) -> Holidays {
        let read = std::mem::take(&mut self.holidays).into_iter();
        read.filter_map(|(path, dates)| Some((path, dates.ok()?))).collect()
    }

    /// A value that must be there.
    pub(super) fn required<T>(&mut self, path: &str, key: &str, value: Option<T>, hint: &str) -> Option<T> {
        // A key that is there and wrong, or misspelt, has been noted already.
        if value.is_none() && !self.is_noted(&join(path, key)) {
            self.note(Found::value(path.to_owned(), format!("`{key}` is missing; {hint}")));
        }
        value
    }
}

fn unknown_key<T: Section>(path: &str, key: &str, nearest: Option<String>) -> Found {
    let full = join(path, key);
    if T::LATER.contains(&key) {
        let message =
            format!("`{key}` is part of the format, but this version does not carry it out yet; remove it");
        return Found::key(full, message);
    }
    if let Some((_, place)) = T::ELSEWHERE.iter().find(|(name, _)| *name == key) {
        let example = match key {
            "cron" => "; write schedule: \"30 2 * * *\"".to_owned(),
            "every" | "at" | "recurrence" => format!("; write schedule: {{ {key}: … }}"),
            _ => String::new(),
        };
        return Found::key(full, format!("`{key}` does not stand here; it belongs {place}{example}"));
    }
    let mut found = Found::key(full, format!("unknown key `{}`", without_secret(key)));
    if key.len() > LONGEST_WORD {
        return found;
    }
    if let Some((ours, more)) = words::key(T::FOREIGN, key) {
        found.suggestion = Some(ours.to_owned());
        return found.with_words(more);
    }
    found.suggestion = nearest;
    found
}

/// What a value is, in YAML's words.
#[must_use]
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}
