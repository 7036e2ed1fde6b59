//! What `status` says to the person on call.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::meddler::Meddler;
use crate::people;
use crate::process::{Place, SECRET, ask_until, errors, results};

/// Nothing of it is due while a test runs.
const LATER: &str = "pipelines:\n  - { name: a, pipeline: P, schedule: { at: 2200-01-01 } }\n";

/// Waits until `status` says this.
fn wait_until(place: &Place, what: &str, fits: impl Fn(&Value) -> bool) -> (i32, Value) {
    ask_until(what, || place.report(&["status"]), |(_, status)| fits(status))
}

fn kinds(status: &Value) -> Vec<&str> {
    status["problems"].as_array().unwrap().iter().map(|problem| problem["kind"].as_str().unwrap()).collect()
}

#[test]
fn status_says_that_all_is_well_and_what_runs() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: a, pipeline: P, schedule: { every: 1s } }\n");
    let daemon = place.daemon();
    daemon.wait_for("run.created", |_| true);
    let (code, status) = wait_until(&place, "a token", |status| !status["token"]["usable_until"].is_null());
    assert_eq!((code, kinds(&status)), (0, vec![]), "{status:#}");
    assert_eq!((&status["healthy"], &status["daemon"]["running"]), (&json!(true), &json!(true)));
    assert_eq!(
        (&status["schedule"]["entries"], &status["schedule"]["file_differs"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(
        (&status["next_firing"]["entry"], &status["last_run"]["state"]),
        (&json!("a"), &json!("accepted"))
    );
    let text = place.run(&["status"]);
    assert_eq!(text.status.code(), Some(0));
    let text = results(&text);
    assert!(text.starts_with("all is well\n\ndaemon    runs since "), "{text}");
    assert!(text.contains("\nnext      a at ") && text.contains("\nlast run  a of "), "{text}");
    daemon.stop();
}

#[test]
fn status_tells_a_daemon_that_was_stopped_from_one_that_died() {
    let place = Place::new();
    place.write(LATER);
    let none = place.run(&["status"]);
    assert_eq!(none.status.code(), Some(69));
    assert!(errors(&none).contains("there is no ledger at"), "{}", errors(&none));
    place.daemon().stop();
    let (code, status) = place.report(&["status"]);
    assert_eq!((code, kinds(&status)), (1, vec!["no_daemon"]), "{status:#}");
    assert_eq!(status["problems"][0]["commands"], json!(["systemctl start adf-cron"]));
    assert!(status["problems"][0]["message"].as_str().unwrap().contains("SIGTERM stopped it"), "{status:#}");
    assert!(!status["daemon"]["stopped_at"].is_null());
    let daemon = place.daemon();
    wait_until(&place, "the daemon", |status| status["daemon"]["running"] == true);
    daemon.kill();
    let text = place.run(&["status"]);
    assert_eq!(text.status.code(), Some(1));
    let text = results(&text);
    assert!(
        text.starts_with("NEEDS A PERSON\n\n* no daemon runs: the last one ended without a word"),
        "{text}"
    );
    assert!(text.contains("\n  > journalctl -u adf-cron -n 50\n"), "{text}");
    place.damage();
    assert_eq!(place.run(&["status"]).status.code(), Some(69));
}

#[test]
fn status_names_a_held_firing_and_the_command_that_settles_it() {
    let (place, daemon, firing) = people::held();
    let row = place.history().remove(0);
    let at = row["scheduled_time"].as_str().unwrap();
    let (code, status) = wait_until(&place, "the held firing", |status| status["held_firings"] == 1);
    assert_eq!((code, kinds(&status)), (1, vec!["held"]), "{status:#}");
    let message = status["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains(&format!("a {at} (possible_match), firing {firing}")), "{message}");
    let text = results(&place.run(&["status"]));
    assert!(text.contains(&format!("\n  > adf-cron settle {firing} --run RUN_ID")), "{text}");
    assert_eq!(place.run(&["settle", &firing, "--not-started"]).status.code(), Some(0));
    assert_eq!(place.report(&["status"]).0, 0);
    daemon.stop();
}

#[test]
fn status_says_that_no_token_can_be_had_and_then_that_one_can() {
    let place = Place::new();
    place.write(LATER);
    place.sim.set(|switches| switches.client_secret = "another".to_owned());
    let daemon = place.daemon();
    let (code, status) = wait_until(&place, "the refusal", |status| kinds(status) == ["token"]);
    assert_eq!(code, 1);
    assert!(status["token"]["error_message"].as_str().unwrap().contains("AADSTS"), "{status:#}");
    let said = results(&place.run(&["status"]));
    assert!(said.contains("there is no usable token") && said.contains("> adf-cron check --live"), "{said}");
    assert!(!said.contains(SECRET));
    place.sim.set(|switches| switches.client_secret = SECRET.to_owned());
    // A reload tries again at once.
    daemon.reload();
    let (code, _) = wait_until(&place, "a token", |status| !status["token"]["usable_until"].is_null());
    assert_eq!(code, 0);
    daemon.stop();
}

#[test]
fn status_says_where_a_rejected_schedule_is_wrong_until_it_is_mended() {
    let place = Place::new();
    place.write(LATER);
    let daemon = place.daemon();
    place.write(&LATER.replace("2200", "2201"));
    let (_, status) = wait_until(&place, "the edit", |status| status["schedule"]["file_differs"] == true);
    assert_eq!(kinds(&status), [""; 0], "it was not asked to be read yet");
    place.write("pipelines:\n  - { name: a, pipeline: P, schedul: '@daily' }\n");
    assert_eq!(daemon.reload()["event"], "schedule.rejected");
    let rejected = |status: &Value| kinds(status) == ["schedule_rejected"];
    let (code, status) = wait_until(&place, "the rejection", rejected);
    assert_eq!(code, 1);
    let place_of_it = format!("{}:13:29", place.schedule().display());
    assert_eq!(status["schedule"]["rejected_at"], place_of_it);
    assert!(
        status["problems"][0]["message"].as_str().unwrap().contains("unknown key `schedul`"),
        "{status:#}"
    );
    place.write(&LATER.replace("2200", "2201"));
    daemon.reload();
    wait_until(&place, "the mended file", |status| status["healthy"] == true);
    daemon.stop();
}

#[test]
fn status_says_that_a_daemon_hangs() {
    let place = Place::new();
    place.write(LATER);
    let daemon = place.daemon();
    wait_until(&place, "the daemon", |status| status["daemon"]["running"] == true);
    daemon.signal(Signal::STOP);
    let mut meddler = Meddler::new(&place.path("ledger.db"));
    while !meddler.tries("BEGIN IMMEDIATE") {
        // It was stopped while it wrote, and holds the ledger: it goes on for a moment.
        daemon.signal(Signal::CONT);
        std::thread::sleep(Duration::from_millis(50));
        daemon.signal(Signal::STOP);
    }
    meddler.execute("ROLLBACK");
    meddler.leave();
    assert_eq!(place.report(&["status"]).0, 0, "not yet");
    place.tamper(&["UPDATE note SET value = json_set(value, '$.heartbeat_at', '2026-01-01T00:00:00Z') WHERE name = 'daemon'"]);
    let (code, status) = place.report(&["status"]);
    assert_eq!((code, kinds(&status)), (1, vec!["stale"]), "{status:#}");
    assert_eq!(status["daemon"]["running"], false);
    assert!(status["problems"][0]["message"].as_str().unwrap().contains("hangs, or cannot write the ledger"));
}
