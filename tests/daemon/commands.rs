//! The commands beside the daemon, their results and exit codes.

use azure_sim::{Effect, Fault, Operation, TokenEndpointDown};
use serde_json::{Value, json};

use crate::process::{Place, SECRET, errors, results};
use crate::stage::before;

const TWO: &str = "pipelines:
  - { name: nightly, pipeline: Copy Sales, schedule: '30 2 * * *', timezone: Europe/Berlin, parameters: { n: 1, day: \"{{ scheduled_time | date('%F') }}\" } }
  - { name: off, pipeline: Other, schedule: { every: 1h }, enabled: false }
";

#[test]
fn check_says_what_is_right() {
    let place = Place::new();
    place.write(TWO);
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(results(&output).ends_with("valid; 2 entries, 1 of them enabled\n"), "{}", results(&output));
    let report = place.json(&["check", "--format", "json"]);
    assert_eq!(
        (&report["valid"], &report["entries"], &report["enabled"]),
        (&json!(true), &json!(2), &json!(1))
    );
}

#[test]
fn check_says_everything_that_is_wrong_where_it_is() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: a, pipelin: P, schedule: '99 * * * *' }\n  - { name: a b, pipeline: P, schedule: '@daily' }\n");
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(78));
    let said = errors(&output);
    let file = place.schedule().display().to_string();
    assert!(
        said.contains(&format!("{file}:13:16: unknown key `pipelin`; did you mean `pipeline`?")),
        "{said}"
    );
    assert!(said.contains("the minute is '99'"), "{said}");
    assert!(said.contains(&format!("{file}:14:13: an entry name must be")), "{said}");
    assert!(said.contains("3 problems; nothing was changed"), "{said}");
    let output = place.run(&["check", "--format", "json"]);
    assert_eq!(output.status.code(), Some(78));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"].as_array().unwrap().len(), 3, "{report}");
    let first = &report["problems"][0];
    assert_eq!((&first["line"], &first["path"]), (&json!(13), &json!("pipelines[0].pipelin")), "{report}");
}

#[test]
fn check_and_next_open_no_secret_and_need_no_azure() {
    let place = Place::new();
    place.write(TWO);
    std::fs::remove_file(place.path("client-secret")).unwrap();
    assert_eq!(place.run(&["check"]).status.code(), Some(0));
    assert_eq!(place.run(&["next"]).status.code(), Some(0));
    assert!(place.sim.requests().is_empty());
    assert!(!place.path("ledger.db").exists());
}

#[test]
fn check_warns_of_an_entry_that_never_fires_again() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: past, pipeline: P, schedule: { at: 2020-01-01 } }\n");
    let output = place.run(&["check"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(errors(&output).contains("warning: 'past' has no nominal time left"), "{}", errors(&output));
}

#[test]
fn next_shows_coming_firings_in_utc_and_in_the_entrys_zone() {
    let place = Place::new();
    place.write(TWO);
    let next = place.json(&[
        "next",
        "nightly",
        "-n",
        "2",
        "--from",
        "2026-10-24T12:00:00Z",
        "--until",
        "2026-12-01",
        "--format",
        "json",
    ]);
    let first = json!({
        "entry": "nightly", "pipeline": "Copy Sales", "scheduled_time": "2026-10-25T00:30:00Z",
        "local_time": "2026-10-25T02:30:00+02:00", "timezone": "Europe/Berlin", "due_time": "2026-10-25T00:30:00Z",
        "firing_id": next[0]["firing_id"],
    });
    assert_eq!(next[0], first);
    assert_eq!(next[1]["local_time"], "2026-10-26T02:30:00+01:00");
    assert_eq!(next.as_array().unwrap().len(), 2);
    let text = results(&place.run(&["next", "-n", "1", "--from", "2026-10-24T12:00:00Z"]));
    assert_eq!(
        text,
        "SCHEDULED (UTC)       LOCAL                                    ENTRY    PIPELINE\n\
         2026-10-25T00:30:00Z  2026-10-25T02:30:00+02:00 Europe/Berlin  nightly  Copy Sales\n"
    );
}

#[test]
fn next_begins_at_from_and_ends_before_until() {
    let place = Place::new();
    place.write("pipelines:\n  - { name: a, pipeline: P, schedule: { every: 1m } }\n");
    let times = |arguments: &[&str]| {
        let all = [&["next", "--format", "json"], arguments].concat();
        let next = place.json(&all);
        next.as_array()
            .unwrap()
            .iter()
            .map(|f| f["scheduled_time"].as_str().unwrap()[14..19].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        times(&["--from", "2026-01-01T00:00:00Z", "--until", "2026-01-01T00:02:00Z"]),
        ["00:00", "01:00"]
    );
    assert_eq!(times(&["--from", "2026-01-01T00:00:00.5Z", "-n", "1"]), ["01:00"]);
    assert_eq!(times(&["-n", "3"]).len(), 3);
}

/// The nominal times of an expression on a day, in local time, from `next` itself.
fn on_day(zone: &str, expression: &str, day: &str) -> Vec<String> {
    let place = Place::new();
    place.write(&format!(
        "pipelines:\n  - {{ name: a, pipeline: P, schedule: '{expression}', timezone: {zone} }}\n"
    ));
    let until = format!("{day}T05:00");
    let next = place.json(&["next", "-n", "99", "--from", day, "--until", &until, "--format", "json"]);
    next.as_array()
        .unwrap()
        .iter()
        .map(|f| f["local_time"].as_str().unwrap()[11..].replace(":00+", "+").replace(":00-", "-"))
        .collect()
}

#[test]
fn next_shows_both_changes_of_the_clock_by_the_written_policy() {
    // Berlin 2026-03-29: 02:00 becomes 03:00. 2026-10-25: 03:00 becomes 02:00.
    assert_eq!(on_day("Europe/Berlin", "30 2 * * *", "2026-03-29"), ["03:00+02:00"]);
    assert_eq!(on_day("Europe/Berlin", "0 2,14 * * *", "2026-03-29"), ["03:00+02:00"]);
    assert_eq!(on_day("Europe/Berlin", "0,30 2 * * *", "2026-03-29"), ["03:00+02:00"]);
    assert_eq!(
        on_day("Europe/Berlin", "30 1-3 * * *", "2026-03-29"),
        ["01:30+01:00", "03:00+02:00", "03:30+02:00"]
    );
    assert_eq!(on_day("Europe/Berlin", "*/30 2 * * *", "2026-03-29"), [""; 0]);
    assert_eq!(on_day("Europe/Berlin", "30 2 * * *", "2026-10-25"), ["02:30+02:00"]);
    assert_eq!(on_day("Europe/Berlin", "0,30 2 * * *", "2026-10-25"), ["02:00+02:00", "02:30+02:00"]);
    assert_eq!(
        on_day("Europe/Berlin", "30 1-3 * * *", "2026-10-25"),
        ["01:30+02:00", "02:30+02:00", "03:30+01:00"]
    );
    let twice = ["02:00+02:00", "02:30+02:00", "02:00+01:00", "02:30+01:00"];
    assert_eq!(on_day("Europe/Berlin", "*/30 2 * * *", "2026-10-25"), twice);
    // New York 2026-03-08 and 2026-11-01.
    assert_eq!(on_day("America/New_York", "30 2 * * *", "2026-03-08"), ["03:00-04:00"]);
    assert_eq!(
        on_day("America/New_York", "30 1-3 * * *", "2026-11-01"),
        ["01:30-04:00", "02:30-05:00", "03:30-05:00"]
    );
    // Lord Howe changes by half an hour: 2026-10-04 02:00 becomes 02:30, 2026-04-05 02:00 becomes 01:30.
    assert_eq!(on_day("Australia/Lord_Howe", "0,30 2 * * *", "2026-10-04"), ["02:30+11:00"]);
    assert_eq!(
        on_day("Australia/Lord_Howe", "30 1-3 * * *", "2026-04-05"),
        ["01:30+11:00", "02:30+10:30", "03:30+10:30"]
    );
}

#[test]
fn an_unknown_name_or_option_is_a_usage_error_with_a_suggestion() {
    let place = Place::new();
    place.write(TWO);
    for arguments in [vec!["next", "nightlly"], vec!["fire", "nightlly"]] {
        let output = place.run(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(errors(&output).contains("did you mean 'nightly'?"), "{}", errors(&output));
    }
    assert_eq!(place.run(&["next", "--from", "soon"]).status.code(), Some(2));
    assert_eq!(place.run(&["sing"]).status.code(), Some(2));
    let help = place.run(&[]);
    assert!(errors(&help).contains("Usage:") || results(&help).contains("Usage:"));
    assert_eq!(place.run(&["--help"]).status.code(), Some(0));
}

#[test]
fn fire_without_a_daemon_does_the_work_itself() {
    let place = Place::new();
    place.write(TWO);
    let row = place.json(&[
        "fire",
        "nightly",
        "--param",
        "n=7",
        "--param",
        "t='{{ not a template }}'",
        "--scheduled-time",
        "2026-02-03T10:00:00Z",
        "--format",
        "json",
    ]);
    assert_eq!(
        (&row["state"], &row["kind"], &row["entry"]),
        (&json!("accepted"), &json!("manual"), &json!("nightly"))
    );
    let runs = place.sim.runs();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].parameters, json!({"n": 7, "day": "2026-02-03", "t": "{{ not a template }}"}));
    assert_eq!(row["run_id"], runs[0].run_id);
    assert_eq!(row["scheduled_time"], "2026-02-03T10:00:00Z");
    // A disabled entry is not fired by mistake, and a second firing is a second run.
    let off = place.run(&["fire", "off"]);
    assert_eq!(off.status.code(), Some(1), "{}", errors(&off));
    assert!(errors(&off).contains("enabled"), "{}", errors(&off));
    assert_eq!(place.run(&["fire", "nightly"]).status.code(), Some(0));
    assert_eq!(place.sim.runs().len(), 2);
}

#[test]
fn fire_beside_a_daemon_asks_it_and_shows_what_became_of_it() {
    let place = Place::new();
    // Nothing is due of itself, whatever the time is.
    place.write(&TWO.replace("timezone:", "end: 2026-06-01, timezone:"));
    let daemon = place.daemon();
    let output = place.run(&["fire", "nightly", "--param", "n=[1, 2]"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(results(&output).starts_with("accepted: Copy Sales runs as "), "{}", results(&output));
    let created = daemon.wait_for("run.created", |event| event["kind"] == "manual");
    assert!(results(&output).contains(created["run_id"].as_str().unwrap()));
    assert_eq!(place.sim.runs()[0].parameters["n"], json!([1, 2]));
    let left = place.run(&["fire", "nightly", "--no-wait"]);
    assert_eq!(left.status.code(), Some(0));
    daemon.wait_for_count("run.created", 2);
}

#[test]
fn fire_ends_with_the_exit_code_of_what_happened() {
    let fault = |effect: Effect| {
        let place = Place::new();
        place.write(TWO);
        place.sim.set(|switches| switches.faults.push(Fault::always(Operation::CreateRun, effect)));
        place.run(&["fire", "nightly"])
    };
    let refused = fault(Effect::error(403, "AuthorizationFailed", "no right to do this"));
    assert_eq!(refused.status.code(), Some(77), "{} {}", results(&refused), errors(&refused));
    assert!(results(&refused).contains("no right to do this"), "{}", results(&refused));
    let place = Place::new();
    place.write(TWO);
    place.sim.set(|switches| switches.client_secret = "another".to_owned());
    let denied = place.run(&["fire", "nightly"]);
    assert_eq!(denied.status.code(), Some(77), "{}", errors(&denied));
    assert!(errors(&denied).contains("the client secret is wrong"), "{}", errors(&denied));
    assert!(!errors(&denied).contains(SECRET));
    place.sim.set(|switches| switches.token_endpoint_down = TokenEndpointDown::Reset);
    assert_eq!(place.run(&["fire", "nightly"]).status.code(), Some(69));
    // An answer that is lost, from a factory that is not known to take our id.
    let place = Place::new();
    place.write(
        &TWO.replace("enabled: false", "enabled: false, settle: 1s")
            .replace("timezone: Europe/Berlin", "settle: 1s"),
    );
    place.sim.set(|switches| switches.faults.push(Fault::always(Operation::CreateRun, Effect::ResetBefore)));
    let unknown = place.run(&["fire", "nightly"]);
    assert_eq!(unknown.status.code(), Some(69), "{}", errors(&unknown));
    assert!(results(&unknown).contains("firing "), "its id is printed: {}", results(&unknown));
    assert_eq!(place.run(&["fire", "nightly", "--param", "x"]).status.code(), Some(2));
}

#[test]
fn history_reads_the_ledger_while_the_daemon_runs_and_afterwards() {
    let (place, daemon, at) = before(2, |at| {
        let place = Place::new();
        // What is followed changes its row.
        place.write(&format!(
            "pipelines:\n  - {{ name: a, pipeline: P, schedule: {{ at: '{at}' }}, follow: false }}\n"
        ));
        assert_eq!(place.run(&["history"]).status.code(), Some(69), "there is no ledger yet");
        let daemon = place.daemon_before(at)?;
        Some((place, daemon, at))
    });
    let created = daemon.wait_for("run.created", |_| true);
    let row = place.history()[0].clone();
    for (key, value) in [
        ("entry", json!("a")),
        ("pipeline", json!("P")),
        ("factory", json!("adf-prod")),
        ("kind", json!("scheduled")),
        ("firing_id", created["firing_id"].clone()),
        ("scheduled_time", json!(at.to_string())),
        ("due_time", json!(at.to_string())),
        ("state", json!("accepted")),
        ("reason", Value::Null),
        ("attempts", json!(1)),
        ("run_id", created["run_id"].clone()),
    ] {
        assert_eq!(row[key], value, "{key}");
    }
    assert!(row["planned_at"].is_string() && row["accepted_at"].is_string());
    daemon.stop();
    assert_eq!(place.history()[0], row);
    assert!(results(&place.run(&["history", "a"])).contains("accepted"));
    assert_eq!(place.json(&["history", "--state", "held", "--format", "json"]), json!([]));
    assert_eq!(place.json(&["history", "--since", "1h", "--format", "json"]).as_array().unwrap().len(), 1);
    assert_eq!(place.run(&["history", "b"]).status.code(), Some(2));
    assert_eq!(place.run(&["history", "--state", "lost"]).status.code(), Some(2));
}

#[test]
fn schema_describes_the_schedule_file() {
    let place = Place::new();
    let schema = place.json(&["schema"]);
    let validator = jsonschema::validator_for(&schema).unwrap();
    for name in ["minimal.yaml", "complete.yaml", "quickstart.yaml"] {
        let text = std::fs::read_to_string(crate::process::example(name)).unwrap();
        let value: Value = serde_yaml::from_str(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
    assert!(!validator.is_valid(&json!({"version": 1, "piplines": []})));
}
