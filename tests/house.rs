//! The house rules that no compiler knows: layers point down, each library has one door, files stay small.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The modules from the top down. Each may name only those that stand on a lower floor.
const FLOORS: [&[&str]; 11] = [
    &["main", "lib"],
    &["cli"],
    &["daemon"],
    &["recorder", "firing"],
    &["engine", "audit"],
    &["ledger"],
    &["azure"],
    &["config"],
    &["template", "telemetry", "alarm", "heartbeat", "signals", "systemd"],
    &["schedule", "retry"],
    &["ids", "clock", "secret", "event", "file"],
];

/// Libraries that are named in one place only, so that each of their traps is dealt with once.
const DOORS: [(&str, &str); 14] = [
    ("tokio_cron_scheduler", "heartbeat.rs"),
    ("reqwest", "azure/http.rs"),
    ("serde_yaml", "config/yaml.rs"),
    ("saphyr_parser", "config/position.rs"),
    ("signal_hook", "signals.rs"),
    ("signal_hook_tokio", "signals.rs"),
    ("sd_notify", "systemd.rs"),
    ("minijinja", "template/"),
    ("jsonwebtoken", "azure/assertion.rs"),
    ("x509_parser", "azure/"),
    ("tracing", "telemetry/"),
    ("tracing_subscriber", "telemetry/"),
    ("sqlx", "ledger/"),
    ("nix", "ledger/lock.rs"),
];

/// Lines of code of one file, its tests and comments not counted.
const MOST_LINES: usize = 500;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All source files by their path below `src`, with their text.
fn files() -> BTreeMap<String, String> {
    fn collect(folder: &Path, files: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(source()).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(&source(), &mut files);
    assert!(files.len() > 40, "the sources were found");
    files
}

/// The lines of code: no comments, no blank lines, and nothing from the inline tests on.
fn code(text: &str) -> Vec<&str> {
    let body = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    body.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//")).collect()
}

fn is_test(name: &str) -> bool {
    name.ends_with("tests.rs") || name.contains("/tests/")
}

fn module(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap()
}

fn floor(module: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&module))
        .unwrap_or_else(|| panic!("'{module}' has no floor; give it one"))
}

/// The modules of this crate that a line names.
fn named(line: &str) -> Vec<String> {
    line.match_indices("crate::")
        .map(|(at, found)| {
            let rest = &line[at + found.len()..];
            rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect::<String>()
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn every_module_names_only_modules_of_lower_floors() {
    for (name, text) in files() {
        let own = module(&name);
        for line in code(&text) {
            for other in named(line).iter().filter(|other| other.as_str() != own) {
                assert!(floor(own) < floor(other), "{name} looks up: {line}");
            }
        }
    }
}

#[test]
fn the_engine_and_what_lies_below_it_know_no_runtime_and_no_network() {
    let foreign = ["tokio::", "reqwest", "std::fs", "std::net", "std::env"];
    for (name, text) in files() {
        let pure = ["engine", "audit", "config", "template", "schedule", "retry", "ids", "secret", "event"];
        if pure.contains(&module(&name)) && !is_test(&name) {
            for line in code(&text) {
                assert!(!foreign.iter().any(|word| line.contains(word)), "{name}: {line}");
            }
        }
    }
}

#[test]
fn every_library_with_traps_has_one_door() {
    for (name, text) in files().iter().filter(|(name, _)| !is_test(name)) {
        for line in code(text) {
            for (library, door) in DOORS {
                let names_it = line.match_indices(library).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    let after = &line[at + library.len()..];
                    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '"';
                    !before.is_some_and(word) && after.starts_with("::")
                });
                assert!(!names_it || name.starts_with(door), "{name} names {library}: {line}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_owns_and_stays_small() {
    for (name, text) in files() {
        assert!(text.starts_with("//! "), "{name} does not say what it owns");
        let lines = code(&text).len();
        assert!(lines <= MOST_LINES, "{name} has {lines} lines of code");
    }
}

#[test]
fn the_readme_shows_the_house_as_it_is() {
    let readme = std::fs::read_to_string(source().join("../README.md")).unwrap();
    let map = readme.split("## The house").nth(1).unwrap();
    let table: String = map.lines().filter(|line| line.starts_with('|')).collect();
    for floor in FLOORS.iter().flat_map(|floor| floor.iter()).filter(|module| **module != "lib") {
        let shown = [format!("`{floor}.rs`"), format!("`{floor}/`")];
        assert!(shown.iter().any(|name| table.contains(name.as_str())), "the README does not show {floor}");
    }
}
