//! `import`: triggers of Data Factory as entries, proved to name the same times.

use serde_json::{Value, json};

use crate::process::{Place, errors, results};

/// The example of "Triggers - Get" of Microsoft's published interface (azure-rest-api-specs, datafactory 2018-06-01).
fn of_the_interface() -> Value {
    json!({
        "id": "/subscriptions/12345678-1234-1234-1234-12345678abc/resourceGroups/exampleResourceGroup/providers/Microsoft.DataFactory/factories/exampleFactoryName/triggers/exampleTrigger",
        "name": "exampleTrigger", "type": "Microsoft.DataFactory/factories/triggers",
        "properties": {"type": "ScheduleTrigger",
            "typeProperties": {"recurrence": {"frequency": "Minute", "interval": 4, "startTime": "2019-04-22T18:32:52.527912Z",
                "endTime": "2019-04-22T18:48:52.5281747Z", "timeZone": "UTC"}},
            "pipelines": [{"pipelineReference": {"referenceName": "examplePipeline", "type": "PipelineReference"},
                "parameters": {"OutputBlobNameList": ["exampleoutput.csv"]}}],
            "runtimeState": "Stopped"},
        "etag": "1500544f-0000-0200-0000-5cbe09100000"})
}

/// A trigger as the service answered in a recorded exchange of the Azure command line's tests.
fn recorded() -> Value {
    json!({"name": "mytrigger", "properties": {"type": "TumblingWindowTrigger",
        "pipeline": {"pipelineReference": {"referenceName": "samplePipeline", "type": "PipelineReference"}},
        "typeProperties": {"frequency": "Minute", "interval": 15, "startTime": "2019-09-10T13:00:00Z",
            "endTime": "2019-09-14T13:00:00Z", "maxConcurrency": 2},
        "runtimeState": "Stopped"}})
}

fn daily(name: &str, parameters: &Value) -> Value {
    json!({"name": name, "properties": {"type": "ScheduleTrigger", "runtimeState": "Started",
        "typeProperties": {"recurrence": {"frequency": "Week", "interval": 1, "startTime": "2026-01-05T02:30:00",
            "timeZone": "Europe/Berlin", "schedule": {"weekDays": ["Monday", "Friday"], "hours": [2], "minutes": [30]}}},
        "pipelines": [{"pipelineReference": {"referenceName": "Copy Sales", "type": "PipelineReference"}, "parameters": parameters}]}})
}

fn hourly_windows(extra: &Value, parameters: &Value) -> Value {
    let mut trigger = json!({"name": "windows", "properties": {"type": "TumblingWindowTrigger", "runtimeState": "Started",
        "typeProperties": {"frequency": "Hour", "interval": 2, "startTime": "2026-01-01T00:10:00Z", "maxConcurrency": 1},
        "pipeline": {"pipelineReference": {"referenceName": "Ingest", "type": "PipelineReference"}, "parameters": parameters}}});
    for (key, value) in extra.as_object().unwrap() {
        trigger["properties"]["typeProperties"][key] = value.clone();
    }
    trigger
}

/// Imports what is in these files.
fn import(place: &Place, files: &[(&str, &Value)]) -> (i32, Value, String) {
    let mut arguments = vec!["import".to_owned(), "--format".to_owned(), "json".to_owned()];
    for (name, value) in files {
        let path = place.path(name);
        std::fs::write(&path, value.to_string()).unwrap();
        arguments.push(path.display().to_string());
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = place.run(&arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", errors(&output)));
    (output.status.code().unwrap(), report, errors(&output))
}

#[test]
fn a_schedule_trigger_becomes_an_entry_with_a_proof() {
    let place = Place::new();
    let (code, report, said) = import(&place, &[("nightly.json", &daily("nightly", &json!({})))]);
    assert_eq!(code, 0, "{said}");
    let entry = &report["entries"][0];
    assert_eq!(
        (&entry["entry"], &entry["pipeline"], &entry["enabled"]),
        (&json!("nightly"), &json!("Copy Sales"), &json!(true))
    );
    // Two days a week for two years.
    let firings = entry["proof"]["firings"].as_u64().unwrap();
    assert!((208..=210).contains(&firings), "{report}");
    assert!(said.contains("the same in both calendars"), "{said}");
    assert!(said.contains("stop each trigger in Data Factory"), "{said}");
    place.write(report["yaml"].as_str().unwrap());
    let next = place.json(&["next", "-n", "2", "--from", "2026-11-24T12:00:00Z", "--format", "json"]);
    let times: Vec<&str> =
        next.as_array().unwrap().iter().map(|f| f["local_time"].as_str().unwrap()).collect();
    assert_eq!(times, ["2026-11-27T02:30:00+01:00", "2026-11-30T02:30:00+01:00"]);
}

#[test]
fn import_writes_a_part_of_a_schedule_file_with_its_proofs_as_comments() {
    let place = Place::new();
    let path = place.path("nightly.json");
    std::fs::write(
        &path,
        daily(
            "nightly",
            &json!({"batch": 1, "day": "@formatDateTime(trigger().scheduledTime, 'yyyy-MM-dd')"}),
        )
        .to_string(),
    )
    .unwrap();
    let output = place.run(&["import", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let yaml = results(&output);
    let lines: Vec<&str> = yaml.lines().collect();
    assert!(lines[1].starts_with("  # from the trigger 'nightly' ("), "{yaml}");
    assert!(
        lines[2].starts_with("  # proved: 20") && lines[2].contains("the same in both calendars"),
        "{yaml}"
    );
    let rest = lines[..1].iter().chain(&lines[3..]).copied().collect::<Vec<_>>().join("\n");
    assert_eq!(
        rest,
        r#"pipelines:
  - name: nightly
    pipeline: "Copy Sales"
    schedule: { recurrence: { frequency: Week, interval: 1, startTime: "2026-01-05T02:30:00", schedule: { hours: [2], minutes: [30], weekDays: [Monday, Friday] } } }
    timezone: "Europe/Berlin"
    parameters:
      batch: 1
      day: "{{ scheduled_time | date(\"%Y-%m-%d\", \"UTC\") }}""#
    );
}

#[test]
fn triggers_of_microsofts_own_examples_are_imported_and_stay_as_stopped_as_they_are() {
    let place = Place::new();
    let both = json!({"value": [of_the_interface(), recorded()]});
    let (code, report, said) = import(&place, &[("list.json", &both)]);
    assert_eq!(code, 0, "{said}");
    let firings: Vec<&Value> =
        report["entries"].as_array().unwrap().iter().map(|e| &e["proof"]["firings"]).collect();
    // From 18:32 to 18:48 each four minutes, both included; four days of quarter-hours.
    assert_eq!(firings, [&json!(5), &json!(4 * 96)]);
    assert!(report["yaml"].as_str().unwrap().contains("max_active: 2\n"), "{}", report["yaml"]);
    place.write(report["yaml"].as_str().unwrap());
    let check = place.run(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{}", errors(&check));
    assert!(results(&check).ends_with("valid; 2 entries, 0 of them enabled\n"), "{}", results(&check));
}

#[test]
fn what_a_trigger_passes_is_what_the_pipeline_is_given() {
    let place = Place::new();
    let parameters = json!({
        "plain": ["a", {"n": 1}], "at": "@trigger().scheduledTime",
        "day": {"type": "Expression", "value": "@formatDateTime(addDays(trigger().scheduledTime, -1), 'yyyy/MM/dd')"},
        "file": "in/@{formatDateTime(trigger().scheduledTime,'yyyyMMdd_HHmmss')}.csv",
        "joined": "@concat('d=', dayOfMonth(trigger().scheduledTime), ';', toUpper('x'))",
        "month": "@startOfMonth(trigger().scheduledTime)", "home": "@@home", "braces": "{{ not ours }}",
    });
    let (code, report, said) = import(&place, &[("t.json", &daily("nightly", &parameters))]);
    assert_eq!(code, 0, "{said}");
    place.write(report["yaml"].as_str().unwrap());
    let fired = place.run(&["fire", "nightly", "--scheduled-time", "2026-12-04T01:30:00Z"]);
    assert_eq!(fired.status.code(), Some(0), "{}", errors(&fired));
    assert_eq!(
        place.sim.runs()[0].parameters,
        json!({
            "plain": ["a", {"n": 1}], "at": "2026-12-04T01:30:00Z", "day": "2026/12/03", "file": "in/20261204_013000.csv",
            "joined": "d=4;X", "month": "2026-12-01T00:00:00.0000000Z", "home": "@home", "braces": "{{ not ours }}",
        })
    );
}

#[test]
fn the_windows_of_a_tumbling_trigger_are_those_of_the_entry_also_with_a_delay() {
    let windows =
        json!({"from": "@trigger().outputs.windowStartTime", "to": "@{trigger().outputs.windowEndTime}"});
    for (extra, fired_at) in
        [(json!({}), "2026-12-01T02:10:00Z"), (json!({"delay": "00:05:00"}), "2026-12-01T02:15:00Z")]
    {
        let place = Place::new();
        let (code, report, said) = import(&place, &[("t.json", &hourly_windows(&extra, &windows))]);
        assert_eq!(code, 0, "{said}");
        place.write(report["yaml"].as_str().unwrap());
        let next = place.json(&["next", "-n", "1", "--from", "2026-12-01T01:00:00Z", "--format", "json"]);
        assert_eq!(next[0]["scheduled_time"], fired_at);
        assert_eq!(place.run(&["fire", "windows", "--scheduled-time", fired_at]).status.code(), Some(0));
        let wanted = json!({"from": "2026-12-01T00:10:00Z", "to": "2026-12-01T02:10:00Z"});
        assert_eq!(place.sim.runs()[0].parameters, wanted, "{extra}");
    }
    // A zone in the defaults does not move them.
    let place = Place::new();
    let month = json!({"frequency": "Month", "interval": 1, "startTime": "2026-01-15T00:00:00Z"});
    let (code, report, said) = import(&place, &[("t.json", &hourly_windows(&month, &windows))]);
    assert_eq!(code, 0, "{said}");
    place.write(&format!("defaults: {{ timezone: Asia/Tokyo }}\n{}", report["yaml"].as_str().unwrap()));
    assert_eq!(
        place.run(&["fire", "windows", "--scheduled-time", "2026-03-15T00:00:00Z"]).status.code(),
        Some(0)
    );
    assert_eq!(place.sim.runs()[0].parameters["from"], "2026-02-15T00:00:00Z");
}

#[test]
fn windows_run_as_many_at_once_and_are_tried_again_as_often_as_the_trigger_says() {
    let place = Place::new();
    let policy = json!({"retryPolicy": {"count": 3, "intervalInSeconds": 90}});
    let (code, report, said) = import(&place, &[("t.json", &hourly_windows(&policy, &json!({})))]);
    assert_eq!(code, 0, "{said}");
    let yaml = report["yaml"].as_str().unwrap();
    assert!(yaml.contains("max_active: 1\n"), "{yaml}");
    assert!(yaml.contains("recovery: { max: 3, delay: \"90s\", from: start }"), "{yaml}");
    place.write(yaml);
    assert_eq!(place.run(&["check"]).status.code(), Some(0));
}

#[test]
fn what_cannot_be_equal_is_refused_by_its_name_and_the_rest_is_imported() {
    let place = Place::new();
    let of_type = |kind: &str| json!({"name": kind, "properties": {"type": kind, "pipelines": [], "typeProperties": {}}});
    let depends = json!([{"type": "TumblingWindowTriggerDependencyReference",
        "referenceTrigger": {"type": "TriggerReference", "referenceName": "upstream"}}]);
    let itself = json!([{"type": "SelfDependencyTumblingWindowTriggerReference", "offset": "-01:00:00"}]);
    let mut yearly = daily("yearly", &json!({}));
    yearly["properties"]["typeProperties"]["recurrence"]["frequency"] = json!("Year");
    let mut zoned = daily("zoned", &json!({}));
    zoned["properties"]["typeProperties"]["recurrence"]["startTime"] = json!("2026-01-05T02:30:00Z");
    let all = json!([
        of_type("BlobEventsTrigger"),
        of_type("CustomEventsTrigger"),
        of_type("ChainingTrigger"),
        hourly_windows(&json!({"dependsOn": depends}), &json!({})),
        hourly_windows(&json!({"dependsOn": itself}), &json!({})),
        hourly_windows(&json!({"endTime": "2027-01-01T00:00:00Z"}), &json!({})),
        daily("now", &json!({"p": "@utcNow()"})),
        yearly,
        zoned,
        daily("good", &json!({})),
    ]);
    let (code, report, said) = import(&place, &[("all.json", &all)]);
    assert_eq!(code, 1);
    let reasons: Vec<&str> =
        report["refused"].as_array().unwrap().iter().map(|r| r["reason"].as_str().unwrap()).collect();
    for (reason, part) in reasons.iter().zip([
        "a BlobEventsTrigger fires on events",
        "a CustomEventsTrigger fires on events",
        "a ChainingTrigger fires after runs of other pipelines",
        "it waits for windows of the trigger 'upstream' (dependsOn)",
        "it waits for earlier windows of its own (dependsOn)",
        "its endTime cuts a window",
        "parameter p: utcNow()",
        "the frequency 'Year'",
        "has an offset beside the time zone 'Europe/Berlin'",
    ]) {
        assert!(reason.contains(part), "{reason} should say {part}");
    }
    assert_eq!(reasons.len(), 9, "{reasons:?}");
    assert_eq!(report["entries"][0]["entry"], "good");
    assert!(said.contains("'BlobEventsTrigger' is refused: "), "{said}");
}

#[test]
fn a_git_folder_and_a_template_are_read_and_each_entry_gets_a_name_of_its_own() {
    let place = Place::new();
    let folder = place.path("repository/trigger");
    std::fs::create_dir_all(&folder).unwrap();
    let mut several = daily("nightly load", &json!({}));
    let other = json!({"pipelineReference": {"referenceName": "Größen", "type": "PipelineReference"}, "parameters": {}});
    several["properties"]["pipelines"].as_array_mut().unwrap().push(other);
    std::fs::write(folder.join("nightly load.json"), several.to_string()).unwrap();
    let mut resource = daily("[concat(parameters('factoryName'), '/nightly load-Copy Sales')]", &json!({}));
    resource["type"] = json!("Microsoft.DataFactory/factories/triggers");
    resource["properties"]["typeProperties"]["recurrence"]["startTime"] = json!("[parameters('start')]");
    let template = json!({"$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json#",
        "parameters": {"start": {"type": "string", "defaultValue": "2026-02-02T02:30:00"}}, "resources": [resource]});
    std::fs::write(place.path("template.json"), template.to_string()).unwrap();
    let [folder, template] =
        [place.path("repository"), place.path("template.json")].map(|path| path.display().to_string());
    let report = place.json(&["import", &folder, &template, "--format", "json"]);
    let names: Vec<&str> =
        report["entries"].as_array().unwrap().iter().map(|e| e["entry"].as_str().unwrap()).collect();
    assert_eq!(names, ["nightly-load-Copy-Sales", "nightly-load-Gr--en", "nightly-load-Copy-Sales-2"]);
    place.write(report["yaml"].as_str().unwrap());
    assert_eq!(place.run(&["check"]).status.code(), Some(0));
    for (argument, said) in [("/no/such.json", "there is no such file"), ("schedule.yaml", "it is no JSON")] {
        let path = place.path(argument).display().to_string();
        let output = place.run(&["import", &path]);
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains(said), "{}", errors(&output));
    }
}
