//! What the README shows is what the program does.

use std::collections::BTreeSet;
use std::path::Path;

use adf_cron::event::{Fields, Name};
use serde_json::Value;

use crate::process::{Place, errors, results};

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// The blocks of code in this language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    readme().split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The rows of the table with this header, cell by cell.
fn table(header: &str) -> Vec<Vec<String>> {
    let readme = readme();
    let rows = readme.split(&format!("| {header} |")).nth(1).unwrap().lines().skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn words(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_schedule_in_it_is_valid() {
    let shown = blocks("yaml");
    assert!(!shown.is_empty());
    for text in shown {
        let place = Place::new();
        place.write_raw(&text);
        let check = place.run(&["check"]);
        assert_eq!(check.status.code(), Some(0), "{}", errors(&check));
    }
}

#[test]
fn the_error_that_it_shows_is_what_check_says() {
    let place = Place::new();
    place.write_raw(blocks("yaml")[0].replacen("    schedule: \"30 2", "    shedule: \"30 2", 1));
    let folder = place.schedule().parent().unwrap().to_owned();
    let check = place.command(&["check", "-c", "schedule.yaml"]).current_dir(folder).output().unwrap();
    assert!(errors(&check).starts_with(&blocks("text")[0]), "{}", errors(&check));
}

#[test]
fn the_json_that_it_shows_is_what_the_commands_write() {
    let shown: Vec<Value> = blocks("json").iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let [next, explain, diff, history, status, backfill, audit, .., event] = shown.as_slice() else {
        panic!("all examples")
    };
    let place = Place::new();
    place.write_raw(&blocks("yaml")[0]);
    let from = ["next", "nightly-sales", "-n", "1", "--from", "2026-11-24T12:00:00Z", "--format", "json"];
    assert_eq!(place.json(&from), *next);
    let from = ["explain", "nightly-sales", "--from", "2026-11-24T12:00:00Z"];
    assert_eq!(place.json(&[&from[..], &["-n", "0", "--format", "json"]].concat()), *explain);
    assert_eq!(results(&place.run(&[&from[..], &["-n", "2"]].concat())), blocks("text")[1]);
    let week = results(&place.run(&["next", "nightly-sales", "month-end", "--week", "--from", "2026-11-30"]));
    assert!(week.starts_with(&blocks("text")[2]), "{week}");
    let edited = blocks("yaml")[0].replace("30 2", "15 3");
    let kept = edited.split("  - name: ").filter(|entry| !entry.starts_with("month-end"));
    std::fs::write(place.path("new.yaml"), kept.collect::<Vec<_>>().join("  - name: ")).unwrap();
    let [old, new] = [place.schedule(), place.path("new.yaml")].map(|path| path.display().to_string());
    let differ = ["diff", &old, &new, "-n", "1", "--from", "2026-11-24T12:00:00Z"];
    assert_eq!(results(&place.run(&differ)), blocks("text")[3]);
    assert_eq!(place.report(&differ).1, *diff);
    // Of the others the names and types of the fields.
    // The row that is shown has no status of its run yet, and that of one that is not followed never gets one.
    place.write(
        "pipelines:
  - { name: a, pipeline: P, schedule: { every: 1s }, follow: false }
  - { name: b, pipeline: P, schedule: { every: 1s, end: 2026-06-01 } }
",
    );
    place.sim.set(|switches| switches.ends = vec![azure_sim::Ends::after(0)]);
    let daemon = place.daemon();
    let created = daemon.wait_for("run.created", |_| true);
    let row = place.history().into_iter().find(|row| row["run_id"] == created["run_id"]).unwrap();
    let fill =
        ["backfill", "b", "--from", "2026-01-01", "--until", "2026-01-01T00:00:01Z", "--format", "json"];
    let filled = place.json(&fill);
    daemon.stop();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (command, example, parts) in
        [("status", status, &["daemon", "schedule", "token"][..]), ("audit", audit, &["states"])]
    {
        let output = place.run(&[command, "--format", "json"]);
        let real: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(keys(&real), keys(example));
        for part in parts {
            assert_eq!(keys(&real[part]), keys(&example[part]));
        }
    }
    assert_eq!(keys(&filled), keys(backfill));
    for (real, example) in [(&created, event), (&row, &history[0])] {
        assert_eq!(keys(real), keys(example));
        for (key, value) in real.as_object().unwrap() {
            let kind = |value: &Value| std::mem::discriminant(value);
            assert_eq!(kind(value), kind(&example[key]), "{key}");
        }
    }
}

#[test]
fn the_trigger_that_it_shows_is_imported_as_it_shows() {
    let trigger = blocks("json").into_iter().find(|text| text.contains("ScheduleTrigger")).unwrap();
    let place = Place::new();
    std::fs::write(place.path("trigger.json"), trigger).unwrap();
    let imported = place.command(&["import", "trigger.json"]).current_dir(place.path("")).output().unwrap();
    assert_eq!(imported.status.code(), Some(0), "{}", errors(&imported));
    let shown = blocks("text").into_iter().find(|text| text.starts_with("pipelines:")).unwrap();
    // How many firings there are in two years depends on today.
    let steady = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with("  # proved: ")).map(str::to_owned).collect()
    };
    assert_eq!(steady(&results(&imported)), steady(&shown));
}

#[test]
fn it_lists_every_event_and_only_fields_that_there_are() {
    let rows = table("event | level | when | own fields");
    let listed: BTreeSet<String> = rows.iter().flat_map(|row| words(&row[0])).collect();
    let known: BTreeSet<String> = Name::ALL.iter().map(|name| name.as_str().to_owned()).collect();
    assert_eq!(listed, known);
    for field in rows.iter().filter_map(|row| row.get(3)).flat_map(|cell| words(cell)) {
        assert!(Fields::NAMES.contains(&field.as_str()), "{field}");
    }
}

#[test]
fn it_lists_every_command_with_options_that_there_are() {
    let place = Place::new();
    let rows = table("command | does");
    let help = results(&place.run(&["--help"]));
    let mut listed = BTreeSet::new();
    for row in &rows {
        let shown = &words(&row[0])[0];
        let command = shown.split(' ').nth(1).unwrap();
        listed.insert(command.to_owned());
        let help = results(&place.run(&[command, "--help"]));
        for option in shown.split(['[', ']', '(', ')', ' ']).filter(|word| word.starts_with('-')) {
            assert!(help.contains(option), "{command} {option}");
        }
    }
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let known: BTreeSet<String> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect();
    assert_eq!(listed, known);
}

#[test]
fn its_table_of_templates_is_what_a_pipeline_is_given() {
    let rows: Vec<(String, String)> =
        table("in the firing of 2026-03-31 02:30, Europe/Berlin, `30 2 * * *` | becomes")
            .iter()
            // A filter's bar is one of the table, too.
            .map(|row| row.join(" | "))
            .map(|row| (words(&row)[0].clone(), words(&row)[1].clone()))
            .collect();
    assert!(rows.len() > 10, "{rows:?}");
    let parameters: String = rows
        .iter()
        .enumerate()
        .map(|(at, (template, _))| format!("      p{at}: {}\n", serde_json::to_string(template).unwrap()))
        .collect();
    let place = Place::new();
    place.write(&format!(
        "pipelines:\n  - name: a\n    pipeline: P\n    timezone: Europe/Berlin\n    schedule: '30 2 * * *'\n    parameters:\n{parameters}"
    ));
    let fired = place.run(&["fire", "a", "--scheduled-time", "2026-03-31 02:30"]);
    assert_eq!(fired.status.code(), Some(0), "{}", errors(&fired));
    let given = &place.sim.runs()[0].parameters;
    for (at, (template, becomes)) in rows.iter().enumerate() {
        let value = &given[format!("p{at}")];
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert_eq!(text, *becomes, "{template}");
    }
}

#[test]
fn its_table_of_clock_changes_is_what_next_shows() {
    for row in
        table("`2026` in Europe/Berlin | 29 March: 02:00 becomes 03:00 | 25 October: 03:00 becomes 02:00")
    {
        let place = Place::new();
        let expression = &words(&row[0])[0];
        place.write(&format!(
            "pipelines:\n  - {{ name: a, pipeline: P, schedule: '{expression}', timezone: Europe/Berlin }}\n"
        ));
        for (cell, day) in [(&row[1], "2026-03-29"), (&row[2], "2026-10-25")] {
            let until = format!("{day}T15:00");
            let next =
                place.json(&["next", "-n", "99", "--from", day, "--until", &until, "--format", "json"]);
            let fired: Vec<&str> =
                next.as_array().unwrap().iter().map(|f| &f["local_time"].as_str().unwrap()[11..16]).collect();
            let times = |text: &str| -> Vec<String> {
                text.split([' ', ',', ';']).filter(|word| word.contains(':')).map(str::to_owned).collect()
            };
            let mut expected = times(cell);
            if cell.contains("both again") {
                expected.extend(times(cell));
            }
            assert_eq!(fired, expected, "{expression} on {day}");
        }
    }
}
