//! `explain`: a schedule in words.

use serde_json::json;

use crate::process::{Place, errors, results};

const ENTRIES: &str = "pipelines:
  - { name: nightly, pipeline: Copy Sales, schedule: '30 2 * * *', timezone: Europe/Berlin }
  - name: many
    pipeline: Ingest
    start: 2026-06-01
    enabled: false
    schedule:
      - { cron: '0,30 2 * * MON-FRI', timezone: America/New_York, except: 2026-12-25 }
      - { every: 90m, end: 2030-01-01 }
      - { at: '2026-12-31T23:00:00Z' }
";

#[test]
fn explain_says_when_an_entry_fires_and_what_the_next_two_changes_of_the_clock_do_to_it() {
    let place = Place::new();
    place.write(ENTRIES);
    std::fs::remove_file(place.path("client-secret")).unwrap();
    let explained = place.run(&["explain", "nightly", "-n", "2", "--from", "2026-11-24T12:00:00Z"]);
    assert_eq!(explained.status.code(), Some(0), "{}", errors(&explained));
    assert_eq!(
        results(&explained),
        "nightly starts Copy Sales in adf-prod

SCHEDULE
  at 02:30, every day (cron 30 2 * * *, Europe/Berlin)

NEXT
  SCHEDULED (UTC)       LOCAL                                    ENTRY    PIPELINE
  2026-11-25T01:30:00Z  2026-11-25T02:30:00+01:00 Europe/Berlin  nightly  Copy Sales
  2026-11-26T01:30:00Z  2026-11-26T02:30:00+01:00 Europe/Berlin  nightly  Copy Sales

CHANGES OF THE CLOCK
  2027-03-28 Europe/Berlin: 02:00 becomes 03:00
    02:30 is not there that day: it fires at 03:00 instead (dst_gap: run_after)
  2027-10-31 Europe/Berlin: 03:00 becomes 02:00
    02:30 comes twice: it fires at the first (dst_overlap: first)
"
    );
    assert!(place.sim.requests().is_empty(), "it is offline, and opens no secret");
}

#[test]
fn explain_tells_each_schedule_of_a_list_in_its_own_zone() {
    let place = Place::new();
    place.write(ENTRIES);
    let text = results(&place.run(&["explain", "many", "--from", "2026-11-24T12:00:00Z"]));
    for line in [
        "many starts Ingest in adf-prod; it is disabled and fires at none of these times",
        "  at 02:00 and 02:30, on Monday to Friday, but not at the times of its `except` (cron 0,30 2 * * MON-FRI, America/New_York)",
        "  every 1h30m of real time, before 2030-01-01T00:00:00Z (every 1h30m, UTC)",
        "  once, at 2026-12-31T23:00:00Z (at, UTC)",
        "  all of it, not before 2026-06-01T00:00:00Z",
        // It is a Sunday: the days of the change have no firing.
        "    cron 0,30 2 * * MON-FRI, America/New_York: nothing is due in the time that is skipped",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn explain_tells_of_recurrences_and_of_days_that_are_left_out() {
    let place = Place::new();
    place.write(
        "pipelines:
  - name: a
    pipeline: P
    timezone: Europe/Berlin
    except: 2027-03-28
    schedule: { recurrence: { frequency: Day, interval: 1, startTime: '2026-01-05T02:30:00' } }
",
    );
    let text = results(&place.run(&["explain", "a", "-n", "1", "--from", "2026-11-24T12:00:00Z"]));
    for line in [
        "  every day from 2026-01-05T01:30:00Z on, at the times that its schedule names (recurrence, Europe/Berlin)",
        "  all of it, but not at the times of its `except`",
        "    nothing is due in the time that is skipped",
        "    02:30 comes twice: it fires at the first (dst_overlap: first)",
    ] {
        assert!(text.lines().any(|said| said == line), "{line}\nis not in\n{text}");
    }
}

#[test]
fn explain_tells_programs_the_same_and_refuses_an_unknown_name() {
    let place = Place::new();
    place.write(ENTRIES);
    let said =
        place.json(&["explain", "nightly", "-n", "1", "--from", "2026-11-24T12:00:00Z", "--format", "json"]);
    assert_eq!(said["schedule"][0]["words"], "at 02:30, every day");
    assert_eq!(said["next"][0]["scheduled_time"], "2026-11-25T01:30:00Z");
    let changes = said["clock_changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2);
    let words = "02:30 is not there that day: it fires at 03:00 instead (dst_gap: run_after)";
    assert_eq!(
        changes[0],
        json!({"at": "2027-03-28T01:00:00Z", "timezone": "Europe/Berlin", "local_before": "2027-03-28T02:00:00",
               "local_after": "2027-03-28T03:00:00", "effects": [{"schedule": 0, "words": words}]})
    );
    let unknown = place.run(&["explain", "nightlly"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(errors(&unknown).contains("did you mean 'nightly'?"));
}
