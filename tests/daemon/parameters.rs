//! What a pipeline is given.

use crate::process::{LIMIT, Place};

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

#[test]
fn names_with_spaces_and_letters_of_any_script_survive_the_url() {
    let place = Place::new();
    let names = ["Copy Sales", "Lädt Größen", "日次 集計", "a-b_c (1)'s;=,@!$~[x]{y}|^`\""];
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
