//! Imports of single triggers, with the proofs of their entries.

use serde_json::json;

use super::*;

const NOW: &str = "2026-11-24T12:00:00.5Z";

/// Imports properties of a trigger.
fn imported(properties: &Value) -> Result<Imported, String> {
    let found = Found { name: "t".to_owned(), properties: Ok(properties.as_object().unwrap().clone()) };
    let mut imported = import(&found, "t.json", NOW.parse().unwrap(), &mut Taken::default())?;
    Ok(imported.remove(0))
}

/// Imports a recurrence.
fn recurring(recurrence: &Value) -> Result<Imported, String> {
    imported(&json!({"type": "ScheduleTrigger", "typeProperties": {"recurrence": recurrence},
        "pipelines": [{"pipelineReference": {"type": "PipelineReference", "referenceName": "P"}, "parameters": {}}]}))
}

/// Imports the windows of a tumbling window trigger.
fn windows(own: &Value) -> Result<Imported, String> {
    imported(&json!({"type": "TumblingWindowTrigger", "typeProperties": own,
        "pipeline": {"pipelineReference": {"type": "PipelineReference", "referenceName": "P"}}}))
}

fn proved(recurrence: &Value) -> Result<Proof, String> {
    recurring(recurrence).map(|imported| imported.proof)
}

#[test]
fn recurrences_of_every_kind_are_proved_over_two_years_in_zones_that_change_their_clocks() {
    let zones = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago"];
    let schedules = [
        ("Day", json!({})),
        ("Day", json!({"hours": [0, 2, 14], "minutes": [0, 30]})),
        ("Day", json!({"hours": [2]})),
        ("Day", json!({"minutes": [15, 45]})),
        ("Week", json!({"weekDays": ["Sunday", "saturday"], "hours": [0, 2, 3], "minutes": [30]})),
        ("Week", json!({})),
        ("Month", json!({"monthDays": [1, 31, -1, -2], "hours": [2]})),
        ("Month", json!({"monthlyOccurrences": [{"day": "Sunday", "occurrence": -1}, {"day": "Friday"}]})),
        ("Month", json!({})),
        ("Hour", json!({})),
        ("Hour", json!({"minutes": [0, 20]})),
        ("Hour", json!({"hours": [1, 2, 3]})),
    ];
    let mut undocumented = 0;
    for zone in zones {
        for (at, (frequency, schedule)) in schedules.iter().enumerate() {
            for interval in [1, 2 + at % 3] {
                let z = if zone == "UTC" { "Z" } else { "" };
                let recurrence = json!({"frequency": frequency, "interval": interval, "timeZone": zone,
                    "startTime": format!("2026-08-31T02:1{}:0{interval}{z}", at % 10), "schedule": schedule});
                let proof = proved(&recurrence).unwrap_or_else(|why| panic!("{recurrence}: {why}"));
                assert!(proof.firings > 2, "{recurrence}: {proof:?}");
                undocumented += proof.at_clock_changes;
            }
        }
    }
    assert!(undocumented > 50, "changes of the clock were among them: {undocumented}");
}

#[test]
fn steps_of_minutes_are_proved_too() {
    let steps = json!({"frequency": "Minute", "interval": 17, "startTime": "2026-11-01T00:00:30", "timeZone": "Europe/Berlin"});
    assert!(proved(&steps).unwrap().firings > 60_000);
    let limited = json!({"frequency": "Minute", "interval": 15, "startTime": "2026-11-01T00:00:00Z", "schedule": {"hours": [8, 9]}});
    assert_eq!(proved(&limited).unwrap().firings, 731 * 8);
}

#[test]
fn a_calendar_that_differs_from_its_trigger_is_refused() {
    let found = json!({"type": "ScheduleTrigger", "pipelines": [{"pipelineReference": {"referenceName": "P"}}],
        "typeProperties": {"recurrence": {"frequency": "Day", "startTime": "2026-12-01T02:00:00Z"}}});
    let trigger = kind::read(found.as_object().unwrap()).unwrap();
    let body = body("t", "P", &Map::new(), &trigger).replace("Day", "Week");
    let said = prove(&body, &trigger.rule, "2026-11-24T12:00:00Z".parse().unwrap(), 1).unwrap_err();
    assert!(said.contains("at 2026-12-02T02:00:00Z only the trigger fires"), "{said}");
}

#[test]
fn nothing_is_changed_in_silence() {
    let daily = |key: &str, value: Value| {
        let mut recurrence = json!({"frequency": "Day", "interval": 1, "startTime": "2026-01-31T02:00:00Z"});
        recurrence[key] = value;
        recurring(&recurrence)
    };
    let notes = |imported: Result<Imported, String>| imported.unwrap().notes.join("; ");
    let yaml = |imported: Result<Imported, String>| imported.unwrap().yaml;
    assert_eq!(notes(daily("interval", json!("2"))), "in its interval, \"2\" is taken as the number 2");
    assert!(
        yaml(daily("interval", json!({"type": "Expression", "value": "@mul(2, 3)"})))
            .contains("interval: 6,")
    );
    assert_eq!(notes(daily("interval", json!(2.0))), "");
    assert_eq!(
        notes(daily("startTime", json!("2026-01-31T02:00:00.137Z"))),
        "the part of a second in its startTime is left out of each firing"
    );
    let hours = daily("schedule", json!({"hours": ["4", 4, 16]})).unwrap();
    assert!(hours.yaml.contains("hours: [4, 16]") && hours.notes.len() == 1, "{}", hours.yaml);
    for (key, value, said) in [
        ("interval", json!(1001), "in its interval, 1001 is not a whole number from 1 to 1000"),
        ("interval", json!(0), "in its interval, 0"),
        ("interval", json!(1.5), "in its interval, 1.5"),
        ("interval", json!("@pipeline().parameters.n"), "in its interval, \"@pipeline()"),
        ("schedule", json!({"hours": [24]}), "in its hours, 24 is not a whole number from 0 to 23"),
        ("schedule", json!({"minutes": ["x"]}), "in its minutes, \"x\""),
        (
            "schedule",
            json!({"weekDays": ["Monday"]}),
            "its schedule has weekDays, which go with the frequency Week only",
        ),
        ("schedule", json!({"monthDays": [1]}), "its schedule has monthDays"),
        ("schedule", json!([]), "its schedule is a list, not a mapping"),
        ("startTime", json!("soon"), "its startTime 'soon' is not a time"),
        ("startTime", json!(2026), "its startTime is a number, not a text"),
        ("endTime", json!("2026-01-30T02:00:00Z"), "lies before its startTime"),
        ("frequency", json!("Year"), "the frequency 'Year' is not known here"),
        ("timeZone", json!("Mars"), "its timeZone: unknown time zone 'Mars'"),
        ("until", json!(1), "its recurrence has the key 'until'"),
    ] {
        let why = daily(key, value.clone()).unwrap_err();
        assert!(why.contains(said), "{key} {value}: {why}");
    }
    let month = |schedule: Value| {
        notes(recurring(&json!({"frequency": "Month", "interval": 1,
        "startTime": "2026-01-31T02:00:00Z", "schedule": schedule})))
    };
    assert!(month(json!({})).contains("in a month without day 31 it does not fire"));
    assert!(month(json!({"monthDays": [1, 30]})).contains("without day 30"));
    assert!(month(json!({"monthDays": [-29]})).contains("without 29 days"));
    assert_eq!(month(json!({"monthDays": [28, -1]})), "");
}

#[test]
fn windows_of_any_length_and_any_bound_keep_their_numbers_or_say_what_became_of_them() {
    let own = |key: &str, value: Value| {
        let mut own = json!({"frequency": "Minute", "interval": 1440, "startTime": "2026-01-01T00:00:00Z"});
        own[key] = value;
        windows(&own)
    };
    assert!(
        own("delay", json!(null)).unwrap().yaml.contains("every: 1d,")
            || own("delay", json!(null)).unwrap().yaml.contains("every: \"1d\"")
    );
    assert!(own("interval", json!(10_080)).unwrap().yaml.contains("every: \"7d\""));
    let capped = own("retryPolicy", json!({"count": 20, "intervalInSeconds": 600})).unwrap();
    assert!(capped.yaml.contains("recovery: { max: 10, delay: \"600s\""), "{}", capped.yaml);
    assert!(
        capped.notes.iter().any(|note| note.contains("20 times; here that is 10 times at most")),
        "{:?}",
        capped.notes
    );
    let mut texts = own("retryPolicy", json!({"count": "3", "intervalInSeconds": "600"})).unwrap();
    assert!(texts.yaml.contains("recovery: { max: 3, delay: \"600s\""), "{}", texts.yaml);
    assert_eq!(texts.notes.iter().filter(|note| note.contains("is taken as the number")).count(), 2);
    texts = own("maxConcurrency", json!("4")).unwrap();
    assert!(texts.yaml.contains("max_active: 4\n"), "{}", texts.yaml);
    for (key, value, said) in [
        ("maxConcurrency", json!(0), "in its maxConcurrency, 0"),
        ("retryPolicy", json!({"count": -1}), "in its count, -1"),
        ("retryPolicy", json!({"count": "@pipeline().x"}), "in its count, \"@pipeline()"),
        (
            "retryPolicy",
            json!({"count": 1, "intervalInSeconds": 1_000_000}),
            "in its intervalInSeconds, 1000000",
        ),
        ("retryPolicy", json!([]), "its retryPolicy is a list"),
        ("retryPolicy", json!({"often": 1}), "the key 'often'"),
        ("interval", json!(2_000_000_000), "windows of a century"),
        ("delay", json!("soon"), "its delay 'soon' is not hh:mm:ss"),
        ("delay", json!("9999999999999999.00:00:00"), "is not hh:mm:ss"),
        ("delay", json!(5), "its delay is a number"),
        ("frequency", json!("Day"), "not known here"),
    ] {
        let why = own(key, value.clone()).unwrap_err();
        assert!(why.contains(said), "{key} {value}: {why}");
    }
}

#[test]
fn starts_and_ends_that_mean_always_are_taken_as_that() {
    let daily = |start: &str, end: &str, zone: &str, frequency: &str| {
        recurring(
            &json!({"frequency": frequency, "interval": 1, "startTime": start, "endTime": end, "timeZone": zone}),
        )
    };
    for start in ["0001-01-01T02:00:00", "1900-01-01T02:00:00", "1753-01-01T02:00:00"] {
        for zone in ["UTC", "W. Europe Standard Time", "Eastern Standard Time", "India Standard Time"] {
            for end in ["9999-12-31T23:59:59", "9999-12-31", "9999-01-01T00:00:00"] {
                let imported = daily(start, end, zone, "Day")
                    .unwrap_or_else(|why| panic!("{start} {zone} {end}: {why}"));
                assert_eq!(imported.proof.firings, 731, "{start} {zone}");
                assert!(imported.notes.iter().any(|note| note.contains("means that it does not end")));
                assert!(!imported.yaml.contains("endTime:"), "{}", imported.yaml);
            }
        }
        let hourly = daily(start, "9999-12-31", "Eastern Standard Time", "Hour").unwrap_err();
        assert!(hourly.contains("is older than the rules of 'America/New_York'"), "{hourly}");
        assert_eq!(daily(start, "9999-12-31", "UTC", "Hour").unwrap().proof.firings, 731 * 24);
    }
    let zulu = daily("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z", "UTC", "Day").unwrap();
    assert_eq!(zulu.proof.firings, 731);
    assert!(
        windows(&json!({"frequency": "Hour", "interval": 24, "startTime": "0001-01-01T00:00:00Z",
        "endTime": "9999-12-31T23:59:59Z"}))
        .unwrap()
        .proof
        .firings
            > 700
    );
}

#[test]
fn a_proof_over_no_firing_is_none_and_the_first_firings_of_the_far_future_are_proved() {
    let never = proved(&json!({"frequency": "Month", "interval": 1000, "startTime": "2000-01-31T00:00:00Z"}))
        .unwrap();
    assert_eq!((never.firings, never.proved), (0, false));
    assert!(
        never.in_words().starts_with("not proved: neither calendar has a firing from"),
        "{}",
        never.in_words()
    );
    let far =
        proved(&json!({"frequency": "Day", "interval": 1, "startTime": "9000-01-01T00:00:00Z"})).unwrap();
    assert!(far.proved && far.from.starts_with("9000"), "{far:?}");
    let last =
        proved(&json!({"frequency": "Day", "interval": 1, "startTime": "9999-01-01T00:00:00Z"})).unwrap();
    assert!(last.proved, "{last:?}");
    let ended = recurring(&json!({"frequency": "Day", "interval": 1, "startTime": "2020-01-01T00:00:00Z",
        "endTime": "2020-01-03T00:00:00Z"}))
    .unwrap();
    assert_eq!(ended.proof.firings, 3);
    assert!(ended.notes[0].contains("it fires no more"), "{:?}", ended.notes);
    // What fires at 0.9 s of each minute does not fire at an end of 0.5 s.
    let cut = json!({"frequency": "Minute", "interval": 1, "startTime": "2026-12-01T00:00:00.9Z", "endTime": "2026-12-01T00:02:00.5Z"});
    assert_eq!(proved(&cut).unwrap().firings, 2);
}

/// A second's work and more in a build without optimisation is a fifth of it in a release.
#[test]
fn no_recurrence_takes_long_however_dense_or_far_or_rare_it_is() {
    let all = |most: i64| (0..most).collect::<Vec<_>>();
    let mut slowest = (std::time::Duration::ZERO, Value::Null);
    for (frequency, interval, schedule) in [
        ("Minute", 1, json!({})),
        ("Minute", 1, json!({"hours": all(24), "minutes": all(60)})),
        ("Minute", 997, json!({"hours": [3], "minutes": [7]})),
        ("Minute", 1000, json!({"hours": [23], "minutes": [59]})),
        ("Hour", 1, json!({"minutes": all(60)})),
        ("Hour", 1000, json!({"hours": [5], "minutes": [59]})),
        ("Hour", 24, json!({"hours": [5]})),
        ("Day", 1, json!({"hours": all(24), "minutes": all(60)})),
        ("Day", 1000, json!({"hours": [0]})),
        ("Week", 1000, json!({"weekDays": ["Sunday"]})),
        (
            "Month",
            1,
            json!({"monthDays": (1..=31).chain(-31..=-1).collect::<Vec<_>>(), "hours": all(24), "minutes": all(60)}),
        ),
        ("Month", 1000, json!({"monthDays": [31]})),
        ("Month", 12, json!({"monthlyOccurrences": [{"day": "Monday", "occurrence": 5}]})),
    ] {
        for (start, zone) in [
            ("1971-02-01T05:17:11", "UTC"),
            ("2026-02-01T05:17:11", "Africa/Cairo"),
            ("9990-02-01T05:17:11", "America/Santiago"),
        ] {
            let recurrence = json!({"frequency": frequency, "interval": interval, "startTime": start, "timeZone": zone, "schedule": schedule});
            #[expect(clippy::disallowed_methods, reason = "the real time is what is measured")]
            let begun = std::time::Instant::now();
            let _ = proved(&recurrence);
            if begun.elapsed() > slowest.0 {
                slowest = (begun.elapsed(), recurrence);
            }
        }
    }
    println!("{slowest:?}");
    assert!(slowest.0 < std::time::Duration::from_secs(20), "{slowest:?}");
}
