//! What a pipeline is given.

use crate::process::{LIMIT, Place, errors};

#[test]
fn parameters_keep_their_types_and_templates_are_rendered() {
    let place = Place::new();
    place.write(
        "pipelines:
  - name: typed
    pipeline: Typed
    timezone: Europe/Berlin
    schedule: { every: 2s }
    parameters:
      number: 42
      float: 1.5
      big: 9007199254740993
      flag: true
      nothing: null
      text: \"0042\"
      list: [1, two, { three: 3 }]
      object: { a: { b: [] } }
      at: \"{{ scheduled_time }}\"
      local: \"{{ local_time }}\"
      day: \"{{ scheduled_time | date('%Y-%m-%d') }}\"
      year: \"{{ scheduled_time | date('%Y') | int }}\"
      from: \"{{ window_start }}\"
      to: \"{{ window_end }}\"
      who: \"{{ entry }} of {{ pipeline }}\"
      id: \"{{ firing_id }}\"
",
    );
    let daemon = place.daemon();
    let created = daemon.wait_for("run.created", |_| true);
    let run = &place.sim.runs()[0];
    let given = &run.parameters;
    let plain = serde_json::json!({
        "number": 42, "float": 1.5, "big": 9_007_199_254_740_993_i64, "flag": true, "nothing": null, "text": "0042",
        "list": [1, "two", {"three": 3}], "object": {"a": {"b": []}},
    });
    for (name, value) in plain.as_object().unwrap() {
        assert_eq!(&given[name], value, "{name}");
    }
    let scheduled: jiff::Timestamp = created["scheduled_time"].as_str().unwrap().parse().unwrap();
    let berlin = scheduled.in_tz("Europe/Berlin").unwrap();
    assert_eq!(given["at"], created["scheduled_time"]);
    assert_eq!(given["to"], created["scheduled_time"]);
    let before = scheduled - jiff::SignedDuration::from_secs(2);
    assert_eq!(given["from"], before.to_string());
    assert_eq!(given["day"], berlin.strftime("%Y-%m-%d").to_string());
    assert_eq!(given["year"], i64::from(berlin.year()));
    assert_eq!(given["local"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap(), scheduled);
    assert!(!given["local"].as_str().unwrap().ends_with('Z'));
    assert_eq!(given["who"], "typed of Typed");
    assert_eq!(given["id"], created["firing_id"]);
    assert_eq!(run.request_id.as_deref(), created["firing_id"].as_str());
}

/// What the stand-in receives for this template when the entry, in Berlin's zone, is fired for this time.
fn received(template: &str, scheduled: &str) -> serde_json::Value {
    let place = Place::new();
    let quoted = serde_json::to_string(template).unwrap();
    place.write(&format!(
        "pipelines:\n  - {{ name: a, pipeline: P, timezone: Europe/Berlin, schedule: '30 2 * * *', parameters: {{ p: {quoted} }} }}\n"
    ));
    let fired = place.run(&["fire", "a", "--scheduled-time", scheduled]);
    assert_eq!(fired.status.code(), Some(0), "{}", errors(&fired));
    place.sim.runs()[0].parameters["p"].clone()
}

#[test]
fn the_filter_date_writes_a_time_by_strftime_in_the_entrys_zone_or_a_named_one() {
    let at = "2026-11-22T23:30:00Z";
    assert_eq!(received("{{ scheduled_time | date('%Y-%m-%d %H:%M %A') }}", at), "2026-11-23 00:30 Monday");
    assert_eq!(received("{{ scheduled_time | date('%Y/%m/%d', 'UTC') }}", at), "2026/11/22");
    assert_eq!(received("day {{ scheduled_time | date('%j') }}", at), "day 327");
    assert_eq!(received("{{ scheduled_time | date('%s') | int }}", at), 1_795_390_200);
}

#[test]
fn the_filter_zone_writes_a_time_with_the_offset_of_a_zone() {
    let at = "2026-07-01T01:30:00Z";
    assert_eq!(received("{{ scheduled_time | zone('America/New_York') }}", at), "2026-06-30T21:30:00-04:00");
    assert_eq!(received("{{ scheduled_time | zone('Asia/Kolkata') }}", at), "2026-07-01T07:00:00+05:30");
}

#[test]
fn the_filter_shift_moves_by_the_calendar_of_the_entrys_zone() {
    let at = "2026-03-31T10:00:00Z";
    // The 31st of February is its 28th, and noon stays noon across the change of the clock.
    assert_eq!(received("{{ scheduled_time | shift(months=-1) }}", at), "2026-02-28T11:00:00Z");
    assert_eq!(
        received("{{ scheduled_time | shift(days=-3) | zone('Europe/Berlin') }}", at),
        "2026-03-28T12:00:00+01:00"
    );
    assert_eq!(received("{{ scheduled_time | shift(hours=-72) }}", at), "2026-03-28T10:00:00Z");
    assert_eq!(
        received("{{ scheduled_time | shift(years=1, quarters=-1, weeks=1) | date('%F') }}", at),
        "2027-01-07"
    );
    assert_eq!(received("{{ scheduled_time | shift(days=-3, zone='UTC') }}", at), "2026-03-28T10:00:00Z");
}

#[test]
fn the_filter_start_of_names_the_first_second_of_the_stretch() {
    // In Berlin it is 00:30 on Wednesday, the first of April.
    let at = "2026-03-31T22:30:00Z";
    for (unit, start) in [
        ("hour", "2026-04-01T00:00:00+02:00"),
        ("day", "2026-04-01T00:00:00+02:00"),
        ("week", "2026-03-30T00:00:00+02:00"),
        ("month", "2026-04-01T00:00:00+02:00"),
        ("quarter", "2026-04-01T00:00:00+02:00"),
        ("year", "2026-01-01T00:00:00+01:00"),
    ] {
        let template = format!("{{{{ scheduled_time | start_of('{unit}') | zone('Europe/Berlin') }}}}");
        assert_eq!(received(&template, at), start, "{unit}");
    }
    assert_eq!(received("{{ scheduled_time | start_of('quarter', 'UTC') }}", at), "2026-01-01T00:00:00Z");
}

#[test]
fn the_filter_end_of_names_the_last_second_of_the_stretch() {
    let at = "2026-02-10T10:30:00Z";
    for (unit, end) in [
        ("hour", "2026-02-10T11:59:59+01:00"),
        ("day", "2026-02-10T23:59:59+01:00"),
        ("week", "2026-02-15T23:59:59+01:00"),
        ("month", "2026-02-28T23:59:59+01:00"),
        ("quarter", "2026-03-31T23:59:59+02:00"),
        ("year", "2026-12-31T23:59:59+01:00"),
    ] {
        let template = format!("{{{{ scheduled_time | end_of('{unit}') | zone('Europe/Berlin') }}}}");
        assert_eq!(received(&template, at), end, "{unit}");
    }
    assert_eq!(received("{{ scheduled_time | end_of('month', 'UTC') }}", at), "2026-02-28T23:59:59Z");
}

#[test]
fn a_window_reaches_from_the_nominal_time_before_to_this_one() {
    let window = "{{ window_start }} {{ window_end }}";
    // The night of the change of the clock is an hour shorter.
    assert_eq!(received(window, "2026-03-30T00:30:00Z"), "2026-03-29T01:00:00Z 2026-03-30T00:30:00Z");
    assert_eq!(
        received("{{ previous_time }} {{ next_time }}", "2026-01-02T01:30:00Z"),
        "2026-01-01T01:30:00Z 2026-01-03T01:30:00Z"
    );
}

#[test]
fn the_windows_of_a_fixed_period_lie_side_by_side() {
    let place = Place::new();
    place.write(
        "pipelines:
  - { name: a, pipeline: P, schedule: { every: 1s }, parameters: { from: \"{{ window_start }}\", to: \"{{ window_end }}\" } }
",
    );
    let daemon = place.daemon();
    place.sim.wait_until(LIMIT, "four runs", |seen| (seen.runs.len() >= 4).then_some(()));
    daemon.stop();
    let mut windows: Vec<(String, String)> = place
        .sim
        .runs()
        .iter()
        .map(|run| {
            let text = |name: &str| run.parameters[name].as_str().unwrap().to_owned();
            (text("from"), text("to"))
        })
        .collect();
    windows.sort();
    assert!(windows.windows(2).all(|pair| pair[0].1 == pair[1].0), "{windows:?}");
}

#[test]
fn check_finds_a_template_that_fails_only_in_some_of_the_next_firings() {
    let place = Place::new();
    place.write(
        "pipelines:
  - { name: a, pipeline: P, schedule: '0 0 * * *', parameters: { p: \"{{ 100 // (7 - (scheduled_time | date('%u') | int)) }}\" } }
",
    );
    let check = place.run(&["check"]);
    assert_eq!(check.status.code(), Some(78));
    let said = errors(&check);
    assert!(said.contains("key path: pipelines[0].parameters.p"), "{said}");
    assert!(said.contains("cannot be rendered, for example at "), "{said}");
}

#[test]
fn names_with_spaces_and_letters_of_any_script_survive_the_url() {
    let place = Place::new();
    place.sim.set(|switches| {
        let resource_group = "Rg_(Übung).1".to_owned();
        switches.factories = Some(vec![azure_sim::Place { resource_group, ..azure_sim::Place::default() }]);
    });
    let names = ["Copy Sales", "Lädt Größen", "J 日次 集計", "a-b_c (1)'s;=,@!$~[x]{y}|^`\""];
    let entries: String = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            let quoted = serde_json::to_string(name).unwrap();
            format!("  - {{ name: e{i}, pipeline: {quoted}, resource_group: 'Rg_(Übung).1', schedule: {{ every: 2s }} }}\n")
        })
        .collect();
    place.write(&format!("pipelines:\n{entries}"));
    let daemon = place.daemon();
    daemon.wait_until("a run of each", |events| {
        let created = crate::process::of(events, "run.created");
        names.iter().all(|name| created.iter().any(|event| event["pipeline"] == *name)).then_some(())
    });
    let runs = place.sim.runs();
    for name in names {
        let run = runs.iter().find(|run| run.pipeline == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(run.resource_group, "Rg_(Übung).1");
    }
}

#[test]
fn each_entry_may_address_a_factory_of_its_own() {
    let place = Place::new();
    place.sim.set(|switches| {
        let known = |subscription: &str, resource_group: &str, factory: &str| azure_sim::Place {
            subscription: subscription.to_owned(),
            resource_group: resource_group.to_owned(),
            factory: factory.to_owned(),
        };
        switches.factories = Some(vec![
            known("00000000-0000-0000-0000-000000000000", "rg-default", "adf-prod"),
            known("11111111-1111-1111-1111-111111111111", "rg-other", "adf-other"),
        ]);
    });
    place.write(
        "defaults: { resource_group: rg-default }
pipelines:
  - { name: here, pipeline: P, schedule: { every: 2s } }
  - { name: there, pipeline: P, factory: adf-other, resource_group: rg-other, schedule: { every: 2s },
      subscription_id: 11111111-1111-1111-1111-111111111111 }
",
    );
    let daemon = place.daemon();
    daemon.wait_for("run.created", |event| event["entry"] == "there");
    daemon.wait_for("run.created", |event| event["entry"] == "here");
    place.sim.wait_until(LIMIT, "both runs", |seen| {
        let at = |factory: &str, group: &str, subscription: &str| {
            seen.runs.iter().any(|run| {
                run.factory == factory
                    && run.resource_group == group
                    && run.subscription.starts_with(subscription)
            })
        };
        (at("adf-prod", "rg-default", "00000000") && at("adf-other", "rg-other", "11111111")).then_some(())
    });
}
