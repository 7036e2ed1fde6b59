//! One ledger has one daemon, by whatever path it is named: a second one would fire everything again.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use azure_sim::RepeatedId;

use crate::mounts::where_mounts_are_ours;
use crate::process::{Daemon, LIMIT, Place, errors, in_seconds, now, of, results};
use crate::tally::{self, Crowd, DISTINCT};

const DEFAULTS: &str = "{ settle: 1s, missed: all, missed_max: 1000 }";

/// What one says that may not have the ledger.
const REFUSED: &str = "another adf-cron already runs on this ledger";

/// Entries that fire each second, on a service where a repeated id starts a second run.
fn crowd(place: &Place) -> Crowd {
    place.sim.set(|switches| switches.repeated_id = RepeatedId::NewRun);
    let crowd = Crowd {
        entries: 3,
        every: 1,
        first: in_seconds(2),
        end: None,
        pipeline: "Shared",
        parameters: DISTINCT,
    };
    place.write(&crowd.yaml(DEFAULTS));
    crowd
}

/// The program with the same schedule, and the ledger by another name.
fn by_name(place: &Place, ledger: &Path, arguments: &[&str]) -> Command {
    let text = std::fs::read_to_string(place.schedule()).unwrap();
    let own = format!("sqlite://{}", place.path("ledger.db").display());
    assert!(text.contains(&own), "{text}");
    let other = text.replace(&own, &format!("sqlite://{}", ledger.display()));
    std::fs::write(place.path("other.yaml"), other).unwrap();
    let mut command = place.command(arguments);
    command.env("ADF_CRON_CONFIG", place.path("other.yaml"));
    command
}

/// The program where it finds the ledger by a path that is not absolute.
fn by_relative_path(place: &Place, arguments: &[&str]) -> Command {
    let text = std::fs::read_to_string(place.schedule()).unwrap();
    let without: String =
        text.lines().filter(|line| !line.starts_with("ledger:")).map(|line| line.to_owned() + "\n").collect();
    std::fs::write(place.path("relative.yaml"), without).unwrap();
    let mut command = place.command(arguments);
    command.current_dir(place.path("")).env("STATE_DIRECTORY", ".").env("ADF_CRON_CONFIG", "relative.yaml");
    command
}

/// Other paths that lead to the ledger, as SQLite finds it too.
fn paths(place: &Place) -> Vec<PathBuf> {
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    symlink(place.path("ledger.db"), place.path("elsewhere/link.db")).unwrap();
    symlink("link.db", place.path("elsewhere/link-to-link.db")).unwrap();
    symlink(place.path(""), place.path("elsewhere/folder")).unwrap();
    let names = [
        "ledger.db",
        "elsewhere/link.db",
        "elsewhere/link-to-link.db",
        "elsewhere/folder/ledger.db",
        "elsewhere/../ledger.db",
        "elsewhere/folder/elsewhere/link.db",
    ];
    names.map(|name| place.path(name)).to_vec()
}

fn assert_refused(output: &Output, words: &str, name: &Path) {
    let said = results(output) + &errors(output);
    assert_eq!(output.status.code(), Some(69), "{}: {said}", name.display());
    assert!(said.contains(words), "{}: {said}", name.display());
}

#[test]
fn a_second_daemon_is_refused_by_whatever_path_it_names_the_ledger_and_nothing_is_doubled() {
    let place = Place::new();
    let crowd = crowd(&place);
    let daemon = place.daemon();
    daemon.wait_for("run.created", |_| true);
    let holder = format!("by process {}", daemon.pid().as_raw_nonzero());
    for path in paths(&place) {
        let second = by_name(&place, &path, &["run"]).output().unwrap();
        assert_refused(&second, REFUSED, &path);
        assert!(results(&second).contains(&holder), "{}", results(&second));
    }
    let second = by_relative_path(&place, &["run"]).output().unwrap();
    assert_refused(&second, REFUSED, Path::new("relative"));
    std::fs::hard_link(place.path("ledger.db"), place.path("elsewhere/hard.db")).unwrap();
    let hard = place.path("elsewhere/hard.db");
    let second = by_name(&place, &hard, &["run"]).output().unwrap();
    assert_refused(&second, REFUSED, &hard);
    let says_who = [holder, place.path("ledger.db").display().to_string()];
    assert!(says_who.iter().all(|word| results(&second).contains(word)), "{}", results(&second));
    // Even if somebody made it look like the name in use.
    std::fs::write(place.path("elsewhere/hard.db.lock"), "").unwrap();
    let second = by_name(&place, &hard, &["run"]).output().unwrap();
    assert_refused(&second, REFUSED, &hard);
    std::fs::remove_file(place.path("ledger.db.lock")).unwrap();
    assert_refused(&place.run(&["run"]), REFUSED, Path::new("a lock file that was removed"));
    assert_refused(&place.run(&["run"]), REFUSED, Path::new("and made anew"));
    tally::settle(&place, &crowd, daemon);
}

#[test]
fn a_request_reaches_the_daemon_by_every_path_and_is_refused_where_it_would_not() {
    let place = Place::new();
    place.sim.set(|switches| switches.repeated_id = RepeatedId::NewRun);
    place.write("pipelines:\n  - { name: a, pipeline: A, schedule: { at: 2199-01-01 } }\n");
    let daemon = place.daemon();
    let mut fired = 0;
    for path in paths(&place) {
        let fire = by_name(&place, &path, &["fire", "a"]).output().unwrap();
        assert_eq!(fire.status.code(), Some(0), "{}: {}", path.display(), errors(&fire));
        fired += 1;
        // It was the daemon that carried it out.
        daemon.wait_for_count("run.created", fired);
    }
    let fire = by_relative_path(&place, &["fire", "a"]).output().unwrap();
    assert_eq!(fire.status.code(), Some(0), "{}", errors(&fire));
    fired += 1;
    daemon.wait_for_count("run.created", fired);
    let hard = place.path("elsewhere/hard.db");
    std::fs::hard_link(place.path("ledger.db"), &hard).unwrap();
    for command in [&["fire", "a"][..], &["pause", "a"]] {
        assert_refused(&by_name(&place, &hard, command).output().unwrap(), REFUSED, &hard);
    }
    for command in ["history", "status", "audit"].map(|command| [command]) {
        let output = by_name(&place, &hard, &command).output().unwrap();
        assert_refused(&output, "2 names (hard links)", &hard);
    }
    std::fs::remove_file(&hard).unwrap();
    std::fs::remove_file(place.path("ledger.db.lock")).unwrap();
    assert_refused(&place.run(&["fire", "a"]), REFUSED, Path::new("a lock file that was removed"));
    assert_eq!(place.sim.run_count(), fired);
    // A start makes the lock file anew, and all is well.
    daemon.stop();
    place.daemon();
    assert_eq!(place.run(&["fire", "a"]).status.code(), Some(0));
    assert_eq!(place.sim.run_count(), fired + 1);
}

#[test]
fn fire_without_a_daemon_keeps_a_daemon_and_another_fire_away_by_every_path() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: a, pipeline: A, schedule: { at: 2199-01-01 } }\n");
    place.daemon().stop();
    let paths = paths(&place);
    place.sim.set(|switches| switches.create_run_delay_ms = 6_000);
    let fire = Daemon::spawn(place.command(&["fire", "a"]));
    place.sim.wait_until(LIMIT, "a call", |seen| (!seen.runs_of("A").is_empty()).then_some(()));
    for path in &paths[..4] {
        assert_refused(&by_name(&place, path, &["run"]).output().unwrap(), REFUSED, path);
    }
    std::fs::remove_file(place.path("ledger.db.lock")).unwrap();
    assert_refused(&place.run(&["fire", "a"]), REFUSED, Path::new("a lock file that was removed"));
    let ended = fire.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.output);
    assert_eq!(place.sim.run_count(), 1);
}

#[test]
fn of_daemons_that_all_begin_at_once_with_no_ledger_yet_one_runs() {
    let place = Place::new();
    let crowd = crowd(&place);
    symlink(place.path(""), place.path("folder")).unwrap();
    symlink(place.path("ledger.db"), place.path("link.db")).unwrap();
    let names = ["ledger.db", "folder/ledger.db", "link.db", "ledger.db"];
    let mut daemons: Vec<Daemon> = names
        .iter()
        .map(|name| {
            let command = by_name(&place, &place.path(name), &["run"]);
            let own = place.path(&format!("{}.yaml", name.replace('/', "-")));
            std::fs::copy(place.path("other.yaml"), &own).unwrap();
            let mut command = command;
            command.env("ADF_CRON_CONFIG", own);
            Daemon::spawn(command)
        })
        .collect();
    place.sim.wait_until(LIMIT, "runs", |seen| (seen.runs.len() > 5).then_some(()));
    let runs = |daemon: &Daemon| {
        daemon.wait_until("its end, or its beginning", |events| {
            events.iter().find_map(|event| match event["event"].as_str() {
                Some("daemon.failed") => Some(false),
                Some("schedule.loaded") => Some(true),
                _ => None,
            })
        })
    };
    let winner = daemons.iter().position(runs).expect("one of them runs");
    let daemon = daemons.remove(winner);
    for other in daemons {
        let ended = other.ended();
        assert_eq!(ended.status.code(), Some(69), "{}", ended.output);
        assert!(ended.output.contains(REFUSED), "{}", ended.output);
    }
    tally::settle(&place, &crowd, daemon);
}

#[test]
fn after_a_power_cut_a_hard_link_is_refused_since_the_newest_changes_lie_beside_the_other_name() {
    let place = Place::new();
    let crowd = crowd(&place);
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 6);
    daemon.kill();
    assert!(place.path("ledger.db-wal").metadata().unwrap().len() > 0, "what came last is beside the file");
    std::fs::create_dir(place.path("elsewhere")).unwrap();
    let hard = place.path("elsewhere/hard.db");
    std::fs::hard_link(place.path("ledger.db"), &hard).unwrap();
    let calls = place.sim.run_count();
    assert_refused(&by_name(&place, &hard, &["run"]).output().unwrap(), "2 names (hard links)", &hard);
    assert_eq!(place.sim.run_count(), calls);
    // By the name that it was used by, all goes on, hard link or not.
    let daemon = place.daemon();
    tally::settle(&place, &crowd, daemon);
}

#[test]
fn a_ledger_that_is_moved_away_or_replaced_under_its_daemon_lets_nothing_new_start_until_it_is_back() {
    let place = Place::new();
    let crowd = crowd(&place);
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 5);
    // A backup that was made while it ran.
    std::fs::copy(place.path("ledger.db"), place.path("backup.db")).unwrap();
    std::fs::rename(place.path("ledger.db"), place.path("away.db")).unwrap();
    let failed = daemon.wait_for("ledger.failed", |_| true);
    let why = failed["error_message"].as_str().unwrap();
    assert!(why.contains("was moved, removed or replaced while adf-cron uses it"), "{why}");
    assert_refused(&place.run(&["run"]), REFUSED, Path::new("moved away"));
    std::fs::rename(place.path("backup.db"), place.path("ledger.db")).unwrap();
    assert_refused(&place.run(&["run"]), REFUSED, Path::new("replaced"));
    // Longer than what was planned before takes to come due.
    std::thread::sleep(Duration::from_secs(5));
    let (calls, since) = (place.sim.run_count(), now());
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(place.sim.run_count(), calls, "nothing new is started after {since}");
    assert!(of(&daemon.events(), "ledger.recovered").is_empty());
    std::fs::rename(place.path("away.db"), place.path("ledger.db")).unwrap();
    daemon.wait_for("ledger.recovered", |_| true);
    tally::settle(&place, &crowd, daemon);
}

#[test]
fn a_daemon_that_has_nothing_to_write_says_too_that_its_ledger_is_gone() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: a, pipeline: A, schedule: { at: 2199-01-01 } }\n");
    let daemon = place.daemon();
    std::fs::remove_file(place.path("ledger.db")).unwrap();
    let failed = daemon.wait_for("ledger.failed", |_| true);
    assert!(failed["error_message"].as_str().unwrap().contains("was moved, removed or replaced"), "{failed}");
    assert_refused(&place.run(&["run"]), REFUSED, Path::new("removed"));
    assert!(!place.path("ledger.db").exists(), "an empty one in its place would look like the first start");
    assert_eq!(daemon.stop().status.code(), Some(69), "what it knew is lost, and that is no good end");
}

#[test]
fn a_mount_of_the_ledger_elsewhere_is_no_way_in() {
    let test = "one_daemon::a_mount_of_the_ledger_elsewhere_is_no_way_in";
    where_mounts_are_ours(test, || {
        let place = Place::new();
        let crowd = crowd(&place);
        let daemon = place.daemon();
        daemon.wait_for("run.created", |_| true);
        let bind = |from: PathBuf, to: &Path| {
            let output = Command::new("mount").arg("--bind").arg(from).arg(to).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        std::fs::create_dir(place.path("folder")).unwrap();
        std::fs::create_dir(place.path("alone")).unwrap();
        std::fs::write(place.path("alone/ledger.db"), "").unwrap();
        bind(place.path("ledger.db"), &place.path("alone/ledger.db"));
        bind(place.path(""), &place.path("folder"));
        for name in ["folder/ledger.db", "alone/ledger.db"] {
            let path = place.path(name);
            assert_refused(&by_name(&place, &path, &["run"]).output().unwrap(), REFUSED, &path);
        }
        // SQLite would keep the changes of a file that is mounted alone beside that mount.
        let alone = place.path("alone/ledger.db");
        assert_refused(&by_name(&place, &alone, &["fire", "e0"]).output().unwrap(), REFUSED, &alone);
        tally::settle(&place, &crowd, daemon);
    });
}

#[test]
fn commands_that_only_read_see_the_same_by_every_path() {
    let place = Place::new();
    crowd(&place);
    let daemon = place.daemon();
    let paths = paths(&place);
    daemon.wait_for_count("run.created", 5);
    for beside in ["a daemon", "its end"] {
        for path in &paths {
            let run = |command: &[&str]| by_name(&place, path, command).output().unwrap();
            let rows = run(&["history", "-n", "1000", "--state", "accepted", "--format", "json"]);
            let rows: Vec<serde_json::Value> = serde_json::from_slice(&rows.stdout).unwrap();
            assert!(rows.len() >= 5, "beside {beside}, {}: {rows:?}", path.display());
            let status: serde_json::Value =
                serde_json::from_slice(&run(&["status", "--format", "json"]).stdout).unwrap();
            let kinds: Vec<&str> =
                status["problems"].as_array().unwrap().iter().filter_map(|p| p["kind"].as_str()).collect();
            let wanted: &[&str] = if beside == "a daemon" { &[] } else { &["no_daemon"] };
            assert_eq!(kinds, wanted, "beside {beside}, {}: {status}", path.display());
            let audit = run(&["audit"]);
            assert_eq!(audit.status.code(), Some(0), "{}{}", results(&audit), errors(&audit));
        }
        if beside == "a daemon" {
            daemon.signal(rustix::process::Signal::TERM);
            daemon.wait_for("daemon.stopped", |_| true);
        }
    }
}
