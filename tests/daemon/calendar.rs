//! What a calendar says and leaves out, as the whole program carries it out.

use serde_json::Value;

use crate::process::{LIMIT, Place, errors, now};

/// A holiday file with today and tomorrow, so that midnight does no harm.
fn closed_now(place: &Place) -> String {
    let path = place.path("holidays");
    let tomorrow = now() + jiff::SignedDuration::from_hours(24);
    let day = |at: jiff::Timestamp| at.to_string()[..10].to_owned();
    std::fs::write(&path, format!("# closed\n{}..{}\n", day(now()), day(tomorrow))).unwrap();
    path.display().to_string()
}

#[test]
fn holidays_are_left_out_also_by_the_last_good_schedule_when_their_file_is_gone() {
    let place = Place::new();
    let holidays = closed_now(&place);
    place.write(&format!(
        "pipelines:
  - {{ name: open, pipeline: Open, schedule: {{ every: 1s }} }}
  - {{ name: closed, pipeline: Closed, schedule: {{ every: 1s }}, except: [ {{ file: {holidays} }} ] }}
"
    ));
    let daemon = place.daemon();
    place.sim.wait_until(LIMIT, "two runs", |seen| (seen.runs_of("Open").len() >= 2).then_some(()));
    std::fs::remove_file(&holidays).unwrap();
    assert_eq!(daemon.reload()["event"], "schedule.rejected", "a file that is gone is an error");
    daemon.stop();

    let again = place.daemon();
    again.wait_for("schedule.rejected", |event| event["message"].as_str().unwrap().contains("last good"));
    let before = place.sim.runs().len();
    place.sim.wait_until(LIMIT, "two more", |seen| (seen.runs.len() >= before + 2).then_some(()));
    assert_eq!(place.report(&["audit"]).0, 0, "the ledger knows what was left out");

    // Another holiday file is another schedule, and an edit of the calendar.
    std::fs::write(&holidays, "2001-01-01\n").unwrap();
    assert_eq!(again.reload()["event"], "schedule.loaded");
    place.sim.wait_until(LIMIT, "a run", |seen| (!seen.runs_of("Closed").is_empty()).then_some(()));
    again.stop();
    assert_eq!(place.report(&["audit"]).0, 0);
}

#[test]
fn next_shows_what_a_trigger_would_fire_and_what_is_left_out() {
    let place = Place::new();
    place.write(
        "pipelines:
  - name: last-friday
    pipeline: P
    schedule:
      recurrence:
        frequency: Month
        startTime: 2026-01-01T08:30:00
        timeZone: India Standard Time
        schedule: { monthlyOccurrences: [{ day: Friday, occurrence: -1 }] }
    timezone: W. Europe Standard Time
    except: [2026-02-20..2026-02-28, { cron: '* * * 4 *' }]
",
    );
    let next = place.json(&["next", "--from", "2026-01-01", "-n", "3", "--format", "json"]);
    let shown: Vec<(&str, &str)> = next
        .as_array()
        .unwrap()
        .iter()
        .map(|row: &Value| (row["local_time"].as_str().unwrap(), row["timezone"].as_str().unwrap()))
        .collect();
    let berlin = "Europe/Berlin";
    assert_eq!(
        shown,
        [
            ("2026-01-30T04:00:00+01:00", berlin),
            ("2026-03-27T04:00:00+01:00", berlin),
            ("2026-05-29T05:00:00+02:00", berlin)
        ]
    );
}

#[test]
fn check_tells_the_line_of_a_holiday_file_that_is_wrong() {
    let place = Place::new();
    let path = place.path("holidays");
    std::fs::write(&path, "2026-12-25\nnext monday\n").unwrap();
    place.write(&format!(
        "pipelines: [{{ name: a, pipeline: P, schedule: '@daily', except: {{ file: {} }} }}]\n",
        path.display()
    ));
    let check = place.run(&["check"]);
    assert_eq!(check.status.code(), Some(78));
    assert!(errors(&check).contains("holidays: line 2 is not a date"), "{}", errors(&check));
    assert!(!errors(&check).contains("next monday"));
}
