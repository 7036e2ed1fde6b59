//! Which ledger belongs to a schedule file, also where the file cannot tell: it is missing, empty, unreadable or wrong.
//!
//! A schedule that names a ledger of its own leaves a symbolic link to it in the state directory once it is in force.
//! The link is read only where the file is wrong. A schedule whose ledger is at the default place leaves nothing.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::schedule_file::{self, Loaded, ledger_path, state_directory};
use crate::azure::Environment;
use crate::config;

/// The ledger of a schedule file.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// Its path. It may not be there.
    pub path: PathBuf,
    /// How it was found, where that is worth saying; begins with a semicolon.
    pub words: String,
}

impl Found {
    fn at(path: PathBuf) -> Self {
        Self { path, words: String::new() }
    }
}

/// The ledger of the file `config`, of which `read` is what it says, or the text of a wrong one. Of a wrong one it is,
/// in this order, the ledger that was in force last, the one that the text still names, or the one at the default
/// place; the first that there is.
#[must_use]
pub fn of(config: &Path, read: Result<&Loaded, Option<&[u8]>>, environment: &Environment) -> Found {
    let text = match read {
        Ok(loaded) => return Found::at(ledger_path(loaded.settings.ledger.clone(), environment)),
        Err(text) => text,
    };
    let link = link(config, environment);
    let remembered = std::fs::read_link(&link).ok();
    let named = text.and_then(config::ledger_hint);
    let default = ledger_path(None, environment);
    // What may not be looked at is there: opening it tells why.
    let is_there = |path: &PathBuf| path.try_exists().unwrap_or(true);
    let shown = link.display();
    match (remembered, named) {
        (Some(last), named) if is_there(&last) => {
            let words = match named {
                Some(named) if named == last => String::new(),
                Some(named) => format!(
                    "; its ledger is {}, as {shown} remembers, and not {}, which was never in force",
                    last.display(),
                    named.display()
                ),
                None => format!("; its ledger is {}, as {shown} remembers", last.display()),
            };
            Found { path: last, words }
        }
        (Some(last), Some(named)) if is_there(&named) => {
            let words = format!(
                "; the ledger {}, which {shown} remembers, is gone, so {} is used, as the file says",
                last.display(),
                named.display()
            );
            Found { path: named, words }
        }
        (Some(last), _) => {
            let words = format!(
                "; its ledger {}, which {shown} remembers, is gone: put it back, or mend the file",
                last.display()
            );
            Found { path: last, words }
        }
        (None, Some(named)) if !is_there(&named) && is_there(&default) => {
            let words = format!(
                "; the ledger {} that it names does not exist, so {} is used",
                named.display(),
                default.display()
            );
            Found { path: default, words }
        }
        (None, named) => Found::at(named.unwrap_or(default)),
    }
}

/// Remembers the ledger that a schedule names, once that schedule is in force, or forgets the one before.
///
/// # Errors
/// When the state directory cannot be written.
pub(super) fn remember(config: &Path, named: Option<&Path>, environment: &Environment) -> io::Result<()> {
    let link = link(config, environment);
    let before = std::fs::read_link(&link).ok();
    let own = named.filter(|named| *named != ledger_path(None, environment));
    match own {
        own if own == before.as_deref() => Ok(()),
        None => std::fs::remove_file(&link),
        Some(own) => {
            std::fs::create_dir_all(state_directory(environment))?;
            let new = link.with_extension("new");
            // One may be left by a process that ended here.
            let _ = std::fs::remove_file(&new);
            std::os::unix::fs::symlink(own, &new)?;
            std::fs::rename(&new, &link)
        }
    }
}

/// The link of a schedule file. It goes by the file's path as it is given, since no link on the way to it needs to be
/// there; daemons that share a state directory have different files.
fn link(config: &Path, environment: &Environment) -> PathBuf {
    let path = std::path::absolute(config).unwrap_or_else(|_| config.to_owned());
    let version = schedule_file::version(path.as_os_str().as_bytes());
    let name: String = version.chars().take(16).collect();
    state_directory(environment).join(format!("schedule-{name}.ledger"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A state directory in which these files are, and what is found for a wrong file with this text.
    struct State {
        folder: tempfile::TempDir,
        environment: Environment,
    }

    impl State {
        fn with(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                std::fs::write(folder.path().join(file), "").unwrap();
            }
            let state = folder.path().display().to_string();
            let environment: Environment =
                Arc::new(move |name| (name == "STATE_DIRECTORY").then(|| state.clone()));
            Self { folder, environment }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn config(&self) -> PathBuf {
            self.path("schedule.yaml")
        }

        fn remember(&self, ledger: Option<&str>) {
            let ledger = ledger.map(|name| self.path(name));
            remember(&self.config(), ledger.as_deref(), &self.environment).unwrap();
        }

        fn links(&self) -> usize {
            let entries = std::fs::read_dir(self.folder.path()).unwrap();
            entries.filter(|entry| entry.as_ref().unwrap().file_type().unwrap().is_symlink()).count()
        }

        /// The name of the ledger, and how it was found.
        fn found(&self, text: Option<&str>) -> (String, String) {
            let text = text.map(|text| text.replace("DIR", &self.folder.path().display().to_string()));
            let found = of(&self.config(), Err(text.as_deref().map(str::as_bytes)), &self.environment);
            (found.path.file_name().unwrap().to_string_lossy().into_owned(), found.words)
        }
    }

    const NAMES_A: Option<&str> = Some("ledger: sqlite://DIR/a.db\npipelines: [");

    #[test]
    fn a_wrong_file_has_the_ledger_that_was_in_force_last() {
        let state = State::with(&["a.db", "b.db", "ledger.db"]);
        state.remember(Some("b.db"));
        for text in [None, Some(""), Some("pipelines: [")] {
            let (name, words) = state.found(text);
            assert_eq!(name, "b.db", "{text:?}");
            assert!(words.contains("remembers") && !words.contains("gone"), "{words}");
        }
        let (name, words) = state.found(NAMES_A);
        assert_eq!(name, "b.db", "its line may be the very edit that broke it");
        assert!(words.contains("a.db, which was never in force"), "{words}");
        state.remember(Some("a.db"));
        assert_eq!(state.found(NAMES_A), ("a.db".to_owned(), String::new()), "nothing to say");
        assert_eq!(state.links(), 1);
    }

    #[test]
    fn where_nothing_is_remembered_the_text_says_it_and_else_the_default_place() {
        let found = |files: &[&str], text| State::with(files).found(text);
        assert_eq!(found(&["a.db", "ledger.db"], NAMES_A), ("a.db".to_owned(), String::new()));
        assert_eq!(found(&[], NAMES_A), ("a.db".to_owned(), String::new()));
        for text in [None, Some(""), Some("pipelines: [")] {
            assert_eq!(found(&["ledger.db"], text), ("ledger.db".to_owned(), String::new()));
            assert_eq!(found(&[], text), ("ledger.db".to_owned(), String::new()));
        }
        let (name, words) = found(&["ledger.db"], NAMES_A);
        assert_eq!(name, "ledger.db", "a line that was added by the edit that broke the file");
        assert!(words.contains("does not exist"), "{words}");
    }

    #[test]
    fn a_ledger_that_is_remembered_and_gone_is_named_and_the_default_one_never_taken_for_it() {
        let state = State::with(&["ledger.db"]);
        state.remember(Some("b.db"));
        for text in [None, NAMES_A] {
            let (name, words) = state.found(text);
            assert_eq!(name, "b.db");
            assert!(words.contains("is gone: put it back"), "{words}");
        }
        std::fs::write(state.path("a.db"), "").unwrap();
        let (name, words) = state.found(NAMES_A);
        assert_eq!(name, "a.db", "it was moved there, and the file edited");
        assert!(words.contains("is gone, so"), "{words}");
    }

    #[test]
    fn a_ledger_at_the_default_place_leaves_nothing_and_forgets_the_one_before() {
        let state = State::with(&["a.db", "ledger.db"]);
        state.remember(None);
        state.remember(Some("ledger.db"));
        assert_eq!(state.links(), 0);
        state.remember(Some("a.db"));
        assert_eq!(state.links(), 1);
        state.remember(None);
        assert_eq!(state.links(), 0);
        assert_eq!(state.found(None).0, "ledger.db");
    }

    #[test]
    fn each_schedule_file_has_a_ledger_of_its_own_by_its_path_as_given() {
        let state = State::with(&["a.db", "b.db"]);
        state.remember(Some("a.db"));
        let other = state.path("other.yaml");
        remember(&other, Some(&state.path("b.db")), &state.environment).unwrap();
        assert_eq!(state.found(None).0, "a.db");
        assert_eq!(of(&other, Err(None), &state.environment).path, state.path("b.db"));
    }

    #[test]
    fn a_state_directory_is_made_for_what_is_remembered_and_for_nothing_else() {
        let state = State::with(&[]);
        std::fs::remove_dir(state.folder.path()).unwrap();
        state.remember(None);
        assert!(!state.folder.path().exists());
        state.remember(Some("a.db"));
        assert_eq!(state.links(), 1);
    }
}
