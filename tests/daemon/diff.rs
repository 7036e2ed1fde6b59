//! `diff` and the week picture of `next`: what an edit does, and where the busy hours are.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::process::{Place, errors, results};

const FROM: [&str; 2] = ["--from", "2026-11-24T12:00:00Z"];

/// Two schedule files, beside each other.
fn two(place: &Place, old: &str, new: &str) -> [PathBuf; 2] {
    [("old.yaml", old), ("new.yaml", new)].map(|(name, entries)| {
        place.write(&format!("pipelines:\n{entries}"));
        let path = place.path(name);
        std::fs::rename(place.schedule(), &path).unwrap();
        path
    })
}

fn diff(place: &Place, files: &[PathBuf; 2], rest: &[&str]) -> (i32, String) {
    let [old, new] = files.each_ref().map(|path| path.to_str().unwrap());
    let output = place.run(&[&["diff", old, new][..], &FROM, rest].concat());
    assert!(errors(&output).is_empty(), "{}", errors(&output));
    (output.status.code().unwrap(), results(&output))
}

const NIGHTLY: &str = "  - { name: nightly, pipeline: P, schedule: '30 2 * * *', timezone: Europe/Berlin }\n";

#[test]
fn diff_finds_nothing_where_an_edit_changes_no_firing() {
    let place = Place::new();
    let files = two(
        &place,
        NIGHTLY,
        "  # the same at greater length\n  - { name: nightly, pipeline: P, schedule: '30 2 * * *', timezone: Europe/Berlin, timeout: 60s }\n",
    );
    let (code, said) = diff(&place, &files, &[]);
    assert_eq!(said, "both fire the same from 2026-11-24T12:00:00Z until 2026-12-24T12:00:00Z\n");
    assert_eq!(code, 0);
    assert!(place.sim.requests().is_empty());
}

#[test]
fn diff_tells_moved_added_and_removed_firings_of_thirty_days() {
    let place = Place::new();
    let old = format!(
        "{NIGHTLY}  - {{ name: weekly, pipeline: W, schedule: '0 6 * * MON' }}\n  - {{ name: rest, pipeline: R, schedule: '0 0 1 * *' }}\n"
    );
    let new = format!(
        "{}  - {{ name: rest, pipeline: Other, schedule: '0 0 1,15 * *', parameters: {{ a: 1 }} }}\n  - {{ name: fresh, pipeline: F, schedule: {{ every: 10d }} }}\n",
        NIGHTLY.replace("30 2", "15 3")
    );
    let files = two(&place, &old, &new);
    let (code, said) = diff(&place, &files, &["-n", "2"]);
    assert_eq!(code, 1);
    assert_eq!(
        said,
        "nightly: 30 moved
  > 2026-11-25T02:30:00+01:00 becomes 2026-11-25T03:15:00+01:00
  > 2026-11-26T02:30:00+01:00 becomes 2026-11-26T03:15:00+01:00
  and 28 more
rest: 1 added; other pipeline, parameters
  + 2026-12-15T00:00:00+00:00
fresh is new: 3 added
  + 2026-12-03T00:00:00+00:00
  + 2026-12-13T00:00:00+00:00
  and 1 more
weekly is gone: 4 removed
  - 2026-11-30T06:00:00+00:00
  - 2026-12-07T06:00:00+00:00
  and 2 more
from 2026-11-24T12:00:00Z until 2026-12-24T12:00:00Z: 4 added, 4 removed, 30 moved
"
    );
}

#[test]
fn diff_tells_programs_the_same() {
    let place = Place::new();
    let files = two(&place, NIGHTLY, &NIGHTLY.replace("P,", "P, enabled: false,"));
    let (code, said) = diff(&place, &files, &["--until", "2026-11-26", "--format", "json"]);
    assert_eq!(code, 1);
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&report["removed"], &report["entries"][0]["change"]), (&json!(1), &json!("gone")));
    assert_eq!(
        report["entries"][0]["firings"],
        json!([{"change": "removed", "old_scheduled_time": "2026-11-25T01:30:00Z",
                "old_local_time": "2026-11-25T02:30:00+01:00", "new_scheduled_time": null, "new_local_time": null}])
    );
}

#[test]
fn diff_says_which_file_is_wrong_and_where() {
    let place = Place::new();
    let files = two(&place, NIGHTLY, &NIGHTLY.replace("schedule", "shedule"));
    let [old, new] = files.each_ref().map(|path| path.to_str().unwrap());
    let output = place.run(&["diff", old, new]);
    assert_eq!(output.status.code(), Some(78));
    assert!(errors(&output).starts_with(&format!("{new}:13:")), "{}", errors(&output));
    let none = place.run(&["diff", old, "/no/such.yaml"]);
    assert_eq!(none.status.code(), Some(78));
    assert!(errors(&none).contains("there is no such file"), "{}", errors(&none));
    assert_eq!(place.run(&["diff", old]).status.code(), Some(2));
}

const BUSY: &str = "pipelines:
  - { name: a, pipeline: P, schedule: '0 2 * * *', timezone: Europe/Berlin }
  - { name: b, pipeline: P, schedule: '*/15 2 * * MON', timezone: Europe/Berlin }
  - { name: c, pipeline: P, schedule: '*/15 2 * * MON', timezone: Europe/Berlin }
  - { name: off, pipeline: P, schedule: { every: 1m }, enabled: false }
";

#[test]
fn the_picture_of_a_week_shows_the_busy_hours() {
    let place = Place::new();
    place.write(BUSY);
    let picture = results(&place.run(&[&["next", "--week"][..], &FROM].concat()));
    let quiet = format!("· · ░░{}", "· ".repeat(21));
    let line = |day: &str, hours: &str, firings: u64| format!("{day}  {hours}  {firings:>7}\n");
    let mut wanted = "            00    03    06    09    12    15    18    21      FIRINGS\n".to_owned();
    for day in ["Tue 24 Nov", "Wed 25 Nov", "Thu 26 Nov", "Fri 27 Nov", "Sat 28 Nov", "Sun 29 Nov"] {
        wanted.push_str(&line(day, &quiet, 1));
    }
    wanted.push_str(&line("Mon 30 Nov", &quiet.replace('░', "█"), 9));
    wanted.push_str("░ 1 to 2  ▒ 3 to 4  ▓ 5 to 6  █ 7 to 9  an hour in Europe/Berlin\n");
    wanted.push_str("busiest: 2026-11-30, 02:00 to 02:59, with 9\n");
    assert_eq!(picture, wanted);
}

#[test]
fn the_week_of_a_change_of_the_clock_counts_the_repeated_hour_twice_and_the_skipped_one_not_at_all() {
    let place = Place::new();
    place.write(
        "pipelines:\n  - { name: a, pipeline: P, schedule: { every: 15m }, timezone: Europe/Berlin }\n",
    );
    let hours = |from: &str| {
        let week = place.json(&["next", "--week", "--from", from, "--format", "json"]);
        assert_eq!(week["days"].as_array().unwrap().len(), 7);
        week["days"][0]["hours"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(hours("2026-10-25")[..5], [4, 4, 8, 4, 4]);
    assert_eq!(hours("2026-03-29")[..5], [4, 4, 0, 4, 4]);
    assert_eq!(place.run(&["next", "--week", "-n", "3"]).status.code(), Some(2));
    let place = Place::new();
    place.write(
        BUSY.replace("MON', timezone: Europe/Berlin }\n  - { name: off", "MON' }\n  - { name: off").as_str(),
    );
    let week = place.json(&["next", "--week", "--format", "json"]);
    assert_eq!(week["timezone"], "UTC", "with several zones it is shown in UTC");
}
