//! A start with a wrong schedule file runs the last good schedule, wherever its ledger is.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::meddler::Meddler;
use crate::process::{Daemon, LIMIT, Place, errors, results};

const GOOD: &str = "pipelines:\n  - { name: a, pipeline: A, schedule: { every: 1s } }\n";

/// A good schedule with its ledger there, or at the default place.
fn good(place: &Place, ledger: Option<&Path>) -> String {
    let ledger = ledger.map(|path| format!("ledger: sqlite://{}\n", path.display())).unwrap_or_default();
    format!("{}{ledger}daemon: {{ heartbeat: 1s, horizon: 3s }}\n{GOOD}", place.azure())
}

/// What can become of a schedule file, and whether its text still names its ledger.
fn kinds(place: &Place) -> Vec<(&'static str, Option<String>)> {
    let azure = place.azure();
    let own = format!("ledger: sqlite://{}\n", place.path("own/ledger.db").display());
    vec![
        ("missing", None),
        ("empty", Some(String::new())),
        ("only comments", Some("# nothing\n\n".to_owned())),
        ("cut off", Some(azure.chars().take(40).collect())),
        ("no YAML", Some("pipelines: [\n".to_owned())),
        ("no YAML, with its ledger", Some(format!("{own}pipelines: [\n"))),
        ("an unknown key", Some(format!("{azure}{GOOD}piplines: []\n"))),
        ("an unknown key, with its ledger", Some(format!("{azure}{own}{GOOD}piplines: []\n"))),
        ("a wrong ledger line", Some(format!("{azure}ledger: ledger.db\n{GOOD}"))),
        (
            "a ledger line that is part of the edit",
            Some(format!(
                "{azure}ledger: sqlite://{}\n{GOOD}piplines: []\n",
                place.path("new/ledger.db").display()
            )),
        ),
        ("binary", Some("ledger: \0\u{1}".to_owned())),
    ]
}

fn put(place: &Place, text: Option<&str>) {
    match text {
        Some(text) => place.write_raw(text),
        None => std::fs::remove_file(place.schedule()).unwrap(),
    }
}

fn started(place: &Place, last_good: impl FnOnce(&str)) -> Daemon {
    let before = place.sim.run_count();
    let daemon = Daemon::spawn(place.command(&["run"]));
    let rejected = daemon.wait_for("schedule.rejected", |_| true);
    let message = rejected["message"].as_str().unwrap();
    assert!(message.contains("the last good schedule runs instead"), "{message}");
    last_good(message);
    daemon.wait_for("schedule.loaded", |_| true);
    place.sim.wait_until(LIMIT, "a run of the last good schedule", |seen| {
        (seen.runs.len() > before).then_some(())
    });
    daemon
}

/// The commands find the same ledger, beside the daemon and after it.
fn assert_commands_find_it(place: &Place, kind: &str, daemon: Daemon) {
    let status = |wanted: &str| {
        let output = place.run(&["status"]);
        assert_eq!(output.status.code(), Some(1), "{kind}: {}", errors(&output));
        assert!(results(&output).contains(wanted), "{kind}: {}", results(&output));
    };
    assert!(!place.history().is_empty(), "{kind}");
    status("the last good schedule is used");
    let paused = place.run(&["pause", "a"]);
    assert_eq!(paused.status.code(), Some(0), "{kind}: {}", errors(&paused));
    assert_eq!(place.run(&["resume", "a"]).status.code(), Some(0), "{kind}");
    daemon.stop();
    status("no daemon runs");
    assert!(!place.history().is_empty(), "{kind}");
    let audit = place.run(&["audit"]);
    assert_eq!(audit.status.code(), Some(0), "{kind}: {}{}", results(&audit), errors(&audit));
}

/// The links in the state directory.
fn links(place: &Place) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.path("")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_symlink()).collect()
}

#[test]
fn whatever_becomes_of_the_file_the_last_good_schedule_runs_on_from_a_ledger_of_its_own() {
    let place = Place::new();
    let own = place.path("own/ledger.db");
    put(&place, Some(&good(&place, Some(&own))));
    let daemon = place.daemon();
    place.sim.wait_until(LIMIT, "a run", |seen| (!seen.runs.is_empty()).then_some(()));
    daemon.stop();
    let [link] = links(&place).try_into().unwrap();
    assert_eq!(std::fs::read_link(&link).unwrap(), own);
    for (kind, text) in kinds(&place) {
        put(&place, text.as_deref());
        let daemon = started(&place, |message| {
            let says =
                message.contains(&own.display().to_string()) && message.contains(&link.display().to_string());
            assert_eq!(says, !kind.ends_with("its ledger"), "{kind}: {message}");
        });
        assert_commands_find_it(&place, kind, daemon);
        if text.is_none() {
            place.write_raw("");
        }
    }
    // Whatever lies in the file's place, and whoever made it.
    std::fs::remove_file(place.schedule()).unwrap();
    std::fs::create_dir(place.schedule()).unwrap();
    started(&place, |message| assert!(message.contains("remembers"), "{message}")).stop();
    std::fs::remove_dir(place.schedule()).unwrap();
    symlink(place.path("nothing"), place.schedule()).unwrap();
    started(&place, |message| assert!(message.contains("remembers"), "{message}")).stop();
    assert!(!place.path("ledger.db").exists(), "none was made at the default place");
    assert!(!place.path("new").exists());
    // Mended, it is in force again.
    std::fs::remove_file(place.schedule()).unwrap();
    put(&place, Some(&good(&place, Some(&own)).replace("pipeline: A", "pipeline: B")));
    let daemon = place.daemon();
    place.sim.wait_until(LIMIT, "a run of it", |seen| (!seen.runs_of("B").is_empty()).then_some(()));
    daemon.stop();
}

#[test]
fn whatever_becomes_of_the_file_the_last_good_schedule_runs_on_from_the_default_ledger() {
    let place = Place::new();
    put(&place, Some(&good(&place, None)));
    let daemon = place.daemon();
    place.sim.wait_until(LIMIT, "a run", |seen| (!seen.runs.is_empty()).then_some(()));
    daemon.stop();
    for (kind, text) in kinds(&place) {
        put(&place, text.as_deref());
        let daemon = started(&place, |_| {});
        assert_commands_find_it(&place, kind, daemon);
        if text.is_none() {
            place.write_raw("");
        }
    }
    assert!(links(&place).is_empty(), "in ordinary use nothing is noted");
    assert!(!place.path("own").exists() && !place.path("new").exists(), "no other ledger was made");
}

#[test]
fn a_ledger_that_is_gone_ends_the_start_with_78_and_is_not_made_anew() {
    let place = Place::new();
    let own = place.path("own/ledger.db");
    put(&place, Some(&good(&place, Some(&own))));
    place.daemon().stop();
    std::fs::remove_dir_all(place.path("own")).unwrap();
    place.write_raw("");
    let refused = place.run(&["run"]);
    let said = results(&refused);
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(
        said.contains("which") && said.contains("remembers, is gone: put it back, or mend the file"),
        "{said}"
    );
    let status = place.run(&["status"]);
    assert_eq!(status.status.code(), Some(69), "{}", errors(&status));
    assert!(errors(&status).contains("is gone: put it back, or mend the file"), "{}", errors(&status));
    assert!(!own.exists() && !place.path("ledger.db").exists());
}

#[test]
fn a_ledger_that_was_moved_is_found_by_the_line_that_was_edited_for_it_and_the_mended_file_is_reloaded() {
    let place = Place::new();
    put(&place, Some(&good(&place, Some(&place.path("own/ledger.db")))));
    place.daemon().stop();
    std::fs::rename(place.path("own"), place.path("moved")).unwrap();
    let moved = good(&place, Some(&place.path("moved/ledger.db")));
    put(&place, Some(&(moved.clone() + "piplines: []\n")));
    let daemon = started(&place, |message| assert!(message.contains("is gone, so"), "{message}"));
    put(&place, Some(&moved));
    assert_eq!(daemon.reload()["event"], "schedule.loaded");
    daemon.stop();
    place.write_raw("");
    let moved = place.path("moved/ledger.db").display().to_string();
    started(&place, |message| assert!(message.contains(&moved), "{message}")).stop();
}

#[test]
fn schedules_that_share_a_state_directory_have_their_own_ledgers_and_the_newest_of_each_counts() {
    let place = Place::new();
    let run = |file: &str| {
        let mut command = place.command(&["run"]);
        command.env("ADF_CRON_CONFIG", place.path(file));
        Daemon::spawn(command)
    };
    for (file, folder) in [("a.yaml", "a"), ("b.yaml", "b"), ("a.yaml", "moved")] {
        let text = good(&place, Some(&place.path(&format!("{folder}/ledger.db"))));
        std::fs::write(place.path(file), text.replace("pipeline: A", &format!("pipeline: {folder}")))
            .unwrap();
        let daemon = run(file);
        daemon.wait_for("schedule.loaded", |_| true);
        daemon.stop();
    }
    for (file, folder) in [("a.yaml", "moved"), ("b.yaml", "b")] {
        std::fs::write(place.path(file), "").unwrap();
        let daemon = run(file);
        let rejected = daemon.wait_for("schedule.rejected", |_| true);
        let ledger = place.path(&format!("{folder}/ledger.db")).display().to_string();
        assert!(rejected["message"].as_str().unwrap().contains(&ledger), "{rejected}");
        let before = place.sim.run_count();
        let seen = |seen: &azure_sim::Seen| (seen.runs.len() > before).then(|| seen.runs[before].clone());
        assert_eq!(place.sim.wait_until(LIMIT, "a run", seen).pipeline, folder);
        daemon.stop();
    }
}

#[test]
fn a_stop_before_the_schedule_is_durable_does_not_forget_where_its_ledger_is() {
    let place = Place::new();
    let own = place.path("own/ledger.db");
    put(&place, Some(&good(&place, Some(&own))));
    place.daemon().stop();
    let [link] = links(&place).try_into().unwrap();
    std::fs::remove_file(&link).unwrap();
    put(&place, Some(&good(&place, Some(&own)).replace("pipeline: A", "pipeline: B")));
    // Somebody else writes to the ledger for so long that the stop comes first.
    let mut meddler = Meddler::new(&own);
    meddler.execute("BEGIN IMMEDIATE");
    let tokens = place.sim.requests().len();
    let daemon = Daemon::spawn(place.command(&["run"]));
    place.sim.wait_until(LIMIT, "its beginning", |seen| (seen.requests.len() > tokens).then_some(()));
    daemon.signal(Signal::TERM);
    daemon.wait_for("daemon.stopping", |_| true);
    assert!(links(&place).is_empty(), "it is not in force yet");
    meddler.execute("ROLLBACK");
    assert_eq!(daemon.ended().status.code(), Some(0));
    assert_eq!(std::fs::read_link(&link).unwrap(), own);
    place.write_raw("");
    let daemon = started(&place, |message| assert!(message.contains("remembers"), "{message}"));
    place.sim.wait_until(LIMIT, "a run of it", |seen| (!seen.runs_of("B").is_empty()).then_some(()));
    daemon.stop();
}

#[test]
fn a_state_directory_that_cannot_be_written_stops_nothing() {
    let place = Place::new();
    let own = place.path("own/ledger.db");
    put(&place, Some(&good(&place, Some(&own))));
    let run = |state: &Path| {
        let mut command = place.command(&["run"]);
        command.env("STATE_DIRECTORY", state);
        Daemon::spawn(command)
    };
    // Nobody may make a file there, not even root.
    let daemon = run(Path::new("/sys"));
    let warned = daemon.wait_for("daemon.failed", |_| true);
    assert_eq!(warned["level"], "WARN", "{warned}");
    daemon.wait_for("run.created", |_| true);
    daemon.stop();
    // What the text still names is found without.
    place.write_raw(good(&place, Some(&own)) + "piplines: []\n");
    let daemon = run(Path::new("/sys"));
    daemon.wait_for("run.created", |_| true);
    daemon.stop();
}
