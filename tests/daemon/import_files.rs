//! `import` of files and folders as they lie about: publish branches, git folders, templates of every shape, files that
//! are broken or say what no screen should be told.

use std::path::Path;

use serde_json::{Value, json};

use crate::process::{Place, errors, results};

const TRIGGER: &str = "Microsoft.DataFactory/factories/triggers";

/// A daily trigger at two in the morning.
fn properties() -> Value {
    json!({"type": "ScheduleTrigger", "runtimeState": "Started",
        "pipelines": [{"pipelineReference": {"referenceName": "P", "type": "PipelineReference"}}],
        "typeProperties": {"recurrence": {"frequency": "Day", "interval": 1, "startTime": "2026-01-01T02:00:00Z", "timeZone": "UTC"}}})
}

fn plain(name: &str) -> Value {
    json!({"name": name, "properties": properties()})
}

fn resource(name: &str) -> Value {
    json!({"type": TRIGGER, "apiVersion": "2018-06-01", "name": name, "properties": properties()})
}

fn template(resources: Value) -> Value {
    json!({"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0", "parameters": {"factoryName": {"type": "string"}}, "resources": resources})
}

fn parameters(values: Value) -> Value {
    json!({"$schema": "https://schema.management.azure.com/schemas/2015-01-01/deploymentParameters.json#",
        "contentVersion": "1.0.0.0", "parameters": values})
}

fn write(place: &Place, name: &str, text: impl AsRef<[u8]>) {
    let path = place.path(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// The exit code, the report (null where there is none), and what was said.
fn import(place: &Place, arguments: &[&str]) -> (i32, Value, String) {
    let paths: Vec<String> = arguments.iter().map(|name| place.path(name).display().to_string()).collect();
    let arguments: Vec<&str> =
        ["import", "--format", "json"].into_iter().chain(paths.iter().map(String::as_str)).collect();
    let output = place.run(&arguments);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code().unwrap(), report, errors(&output))
}

fn entries(report: &Value) -> Vec<&str> {
    report["entries"].as_array().into_iter().flatten().map(|entry| entry["entry"].as_str().unwrap()).collect()
}

#[test]
fn a_publish_branch_gives_its_triggers_and_names_the_files_that_hold_none() {
    let place = Place::new();
    let pipeline = json!({"type": "Microsoft.DataFactory/factories/pipelines", "apiVersion": "2018-06-01",
        "name": "[concat(parameters('factoryName'), '/P')]", "properties": {"activities": []}, "dependsOn": []});
    let link = |file: &str| {
        json!({"type": "Microsoft.Resources/deployments", "name": file, "properties": {"mode": "Incremental",
        "templateLink": {"uri": format!("[concat(parameters('containerUri'), '/{file}', parameters('containerSasToken'))]")}}})
    };
    let numbered = |number: u8, resources: Value| {
        write(&place, &format!("linked/ArmTemplate_{number}.json"), template(resources).to_string())
    };
    numbered(0, json!([pipeline]));
    let mut started = resource("[concat(parameters('factoryName'), '/nightly')]");
    started["properties"]["typeProperties"]["recurrence"]["startTime"] =
        json!("[parameters('nightly_startTime')]");
    numbered(1, json!([started, resource("[concat(parameters('factoryName'), '/second')]")]));
    write(
        &place,
        "linked/ArmTemplate_master.json",
        template(json!([link("ArmTemplate_0.json"), link("ArmTemplate_1.json")])).to_string(),
    );
    let values = parameters(
        json!({"factoryName": {"value": "adf"}, "nightly_startTime": {"value": "2026-01-01T03:00:00Z"}}),
    );
    write(&place, "linked/ArmTemplateParameters_master.json", values.to_string());
    let (code, report, said) = import(&place, &["linked"]);
    assert_eq!((code, entries(&report)), (1, vec!["nightly", "second"]), "{said}");
    assert!(report["yaml"].as_str().unwrap().contains("2026-01-01T03:00:00Z"), "{report}");
    for named in [
        "ArmTemplate_0.json: it is a template without a trigger",
        "ArmTemplate_master.json: it is a template without a trigger",
        "ArmTemplateParameters_master.json: note: its values are the parameters of ArmTemplate_0.json, ArmTemplate_1.json",
    ] {
        assert!(said.contains(named), "{said}");
    }
    // A template that is linked and not there may hold triggers.
    std::fs::remove_file(place.path("linked/ArmTemplate_0.json")).unwrap();
    let (code, report, said) = import(&place, &["linked"]);
    assert_eq!((code, entries(&report).len()), (1, 2));
    assert!(
        said.contains(
            "ArmTemplate_master.json: it links to ArmTemplate_0.json, which is not among the files"
        ),
        "{said}"
    );
    // Alone, it is an error.
    write(&place, "alone/ArmTemplate_0.json", template(json!([pipeline])).to_string());
    for alone in ["alone", "alone/ArmTemplate_0.json"] {
        let (code, report, said) = import(&place, &[alone]);
        assert_eq!((code, report), (2, Value::Null));
        assert!(
            said.contains("it is a template without a trigger") && said.contains("there is no trigger"),
            "{said}"
        );
    }
    // The folder above says which folder to give.
    let (code, _, said) = import(&place, &["."]);
    assert_eq!(code, 2);
    assert!(said.contains("give a folder that holds some: ") && said.contains("/linked"), "{said}");
}

#[test]
fn each_file_of_a_folder_that_cannot_be_read_is_named_and_the_rest_is_imported() {
    let place = Place::new();
    write(&place, "git/trigger/good.json", plain("good").to_string());
    let broken: [(&str, &[u8], &str); 8] = [
        (
            "merge.json",
            b"{\n \"name\": \"merge\",\n<<<<<<< main\n \"properties\": {}\n=======\n}",
            "it is no JSON: line 3 begins with '<<<<<<<'",
        ),
        ("comma.json", b"{\"name\": \"x\",}", "it is no JSON: trailing comma at line 1 column 14"),
        ("half.json", b"{\"name\": ", "it is no JSON: EOF while parsing a value at line 1"),
        ("empty.json", b"", "the file is empty"),
        (
            "latin.json",
            b"{\"name\": \"Gr\xf6\xdfe\"}",
            "it is no text in UTF-8 from line 1 on, perhaps Latin-1",
        ),
        ("wide.json", b"\xff\xfe{\0}\0", "it is text in UTF-16"),
        ("what.json", b"{\"hello\": 1}", "there is no trigger in it"),
        ("deep.json", &[b'['; 5_000], "it is no JSON: recursion limit exceeded"),
    ];
    broken.iter().for_each(|(name, bytes, _)| write(&place, &format!("git/trigger/{name}"), bytes));
    write(
        &place,
        "git/trigger/pipeline.json",
        json!({"name": "p", "properties": {"activities": []}}).to_string(),
    );
    write(&place, "git/trigger/note.txt", "no JSON");
    let (code, report, said) = import(&place, &["git"]);
    assert_eq!((code, entries(&report)), (1, vec!["good"]), "{said}");
    for (name, _, reason) in broken {
        assert!(said.lines().any(|line| line.contains(&format!("/{name}: {reason}"))), "{name}: {said}");
        let listed = report["others"]
            .as_array()
            .unwrap()
            .iter()
            .find(|other| other["file"].as_str().unwrap().ends_with(name));
        assert_eq!(listed.unwrap()["left_out"], true, "{name}");
    }
    assert!(said.contains("pipeline.json: it is a pipeline") && !said.contains("note.txt"), "{said}");
    // By name, what holds no trigger is left out: it was asked for.
    let (code, report, _) =
        import(&place, &["git/trigger/good.json", "git/trigger/pipeline.json", "no-such-file.json"]);
    assert_eq!((code, entries(&report)), (1, vec!["good"]));
    let output = place.run(&["import", "no-such-file.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).starts_with("no-such-file.json: there is no such file\n"), "{}", errors(&output));
    std::fs::create_dir(place.path("bare")).unwrap();
    let (code, _, said) = import(&place, &["bare"]);
    assert!(code == 2 && said.contains("bare: there are no JSON files in it"), "{said}");
    let more = json!({"value": [plain("good")], "nextLink": "https://management.azure.com/next"});
    write(&place, "list.json", more.to_string());
    let (code, report, said) = import(&place, &["list.json"]);
    assert!(
        code == 1 && entries(&report) == ["good"] && said.contains("the list goes on elsewhere"),
        "{said}"
    );
}

/// Each shape in which a template can hold the trigger `nightly`, which starts at what `start` says.
fn shapes(start: &Value) -> Vec<(&'static str, Value)> {
    let mut trigger = resource("[concat(parameters('factoryName'), '/nightly')]");
    trigger["properties"]["typeProperties"]["recurrence"]["startTime"] = start.clone();
    let mut child = trigger.clone();
    (child["type"], child["name"]) = (json!("triggers"), json!("nightly"));
    let factory = |children: Value| json!({"type": "Microsoft.DataFactory/factories", "name": "adf", "location": "[resourceGroup().location]", "resources": children});
    let inner = |more: Value| {
        let mut properties = json!({"mode": "Incremental", "template": template(json!([trigger]))});
        properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{"type": "Microsoft.Resources/deployments", "name": "d", "apiVersion": "2022-09-01", "properties": properties}])
    };
    let mut copied = trigger.clone();
    copied["copy"] = json!({"name": "loop", "count": 1});
    let mut conditioned = trigger.clone();
    conditioned["condition"] = json!("[not(empty(variables('word')))]");
    let mut noisy = trigger.clone();
    noisy["dependsOn"] = json!(["[resourceId('x', uniqueString(resourceGroup().id))]"]);
    noisy["properties"]["annotations"] = json!(["[newGuid()]"]);
    noisy["properties"]["description"] = json!("[concat('by ', deployment().name)]");
    let given = json!({"expressionEvaluationOptions": {"scope": "inner"}, "parameters": {"factoryName": {"value": "x"},
        "start": {"value": "2026-01-01T02:00:00Z"}, "empty": {"value": "[parameters('empty')]"}}});
    vec![
        ("a list of resources", json!([trigger])),
        (
            "symbolic names",
            json!({"nightly": trigger, "old": {"existing": true, "type": TRIGGER, "name": "adf/old"}}),
        ),
        ("a child in a list", json!([factory(json!([child]))])),
        ("a child under a symbolic name", json!({"f": factory(json!({"t": child}))})),
        ("a template within", inner(json!({}))),
        ("a template within, with a scope of its own", inner(given)),
        ("a copy", json!([copied])),
        ("a condition that holds", json!([conditioned])),
        ("expressions that do not matter", json!([noisy])),
    ]
}

/// The first three nominal times of the next day on, of a daily trigger at this hour.
fn enumerated(hour: u8) -> Vec<String> {
    (5..8).map(|day| format!("2026-12-0{day}T{hour:02}:00:00Z")).collect()
}

#[test]
fn every_shape_of_a_template_with_every_kind_of_parameter_fires_as_it_says_or_is_refused_by_name() {
    // How the start is written, what lies beside the template, and the hour, or what the refusal says.
    let kinds = [
        (json!("2026-01-01T02:00:00Z"), None, Ok(2)),
        (json!("[parameters('start')]"), Some("2026-01-01T02:00:00Z"), Ok(2)),
        (json!("[parameters('START')]"), None, Ok(2)),
        (json!("[format('{0}-01-01T{1}:00:00Z', 2026, '05')]"), None, Ok(5)),
        (json!("[concat('2026-01-01T0', string(add(1, 2)), ':00:00Z')]"), None, Ok(3)),
        (json!("[if(equals(toLower('A'), 'a'), '2026-01-01T04:00:00Z', utcNow())]"), None, Ok(4)),
        (json!("[parameters('empty')]"), None, Err("the parameter 'empty' has no value")),
        (json!("[utcNow()]"), None, Err("the function utcNow() is not known here")),
        (json!("[parameters('start'"), None, Err("is not a time")),
    ];
    for (start, beside, wanted) in kinds {
        for (shape, resources) in shapes(&start) {
            let place = Place::new();
            let mut template = template(resources);
            template["variables"] = json!({"word": "x"});
            template["parameters"] = json!({"factoryName": {"type": "string"}, "empty": {"type": "string"},
                "start": {"type": "string", "defaultValue": "2026-01-01T02:00:00Z"}});
            write(&place, "main.json", template.to_string());
            if let Some(value) = beside {
                write(
                    &place,
                    "main.parameters.json",
                    parameters(json!({"start": {"value": value}})).to_string(),
                );
            }
            let (code, report, said) = import(&place, &["main.json"]);
            match wanted {
                Ok(hour) => {
                    assert_eq!((code, entries(&report)), (0, vec!["nightly"]), "{shape}, {start}: {said}");
                    place.write(report["yaml"].as_str().unwrap());
                    let next = place.json(&[
                        "next",
                        "-n",
                        "3",
                        "--from",
                        "2026-12-05T00:00:00Z",
                        "--format",
                        "json",
                    ]);
                    let times: Vec<&str> = next
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|f| f["scheduled_time"].as_str().unwrap())
                        .collect();
                    assert_eq!(times, enumerated(hour), "{shape}, {start}");
                }
                Err(reason) => {
                    assert_eq!((code, entries(&report).len()), (1, 0), "{shape}, {start}: {said}");
                    let refused = report["refused"][0]["reason"].as_str().unwrap();
                    assert!(
                        refused.contains("startTime") && refused.contains(reason),
                        "{shape}, {start}: {refused}"
                    );
                }
            }
        }
    }
}

#[test]
fn values_of_parameters_are_those_of_the_file_by_name_then_of_the_one_beside_then_the_defaults() {
    let place = Place::new();
    let mut trigger = resource("adf/nightly");
    trigger["condition"] = json!("[equals(parameters('env'), 'prod')]");
    let mut template = template(json!([trigger]));
    template["parameters"]["env"] = json!({"type": "string", "defaultValue": "dev"});
    write(&place, "main.json", template.to_string());
    let (code, report, said) = import(&place, &["main.json"]);
    assert_eq!((code, entries(&report).len()), (1, 0));
    assert!(said.contains("its condition '[equals(parameters('env'), 'prod')]' is false here"), "{said}");
    write(&place, "main.parameters.json", parameters(json!({"env": {"value": "prod"}})).to_string());
    let (code, report, said) = import(&place, &["main.json"]);
    assert_eq!((code, entries(&report)), (0, vec!["nightly"]), "{said}");
    assert!(
        said.contains("main.parameters.json: note: its values are the parameters of main.json"),
        "{said}"
    );
    write(&place, "test.json", parameters(json!({"env": {"value": "test"}})).to_string());
    assert_eq!(import(&place, &["main.json", "test.json"]).0, 1);
    let kept = json!({"env": {"reference": {"keyVault": {"id": "x"}, "secretName": "s"}}});
    write(&place, "main.parameters.json", parameters(kept).to_string());
    assert!(import(&place, &["main.json"]).2.contains("the value of the parameter 'env' is kept elsewhere"));
    write(&place, "main.parameters.json", "{");
    let (code, _, said) = import(&place, &["main.json"]);
    assert!(
        code == 1 && said.contains("the parameters of main.json cannot be read: it is no JSON"),
        "{said}"
    );
}

#[test]
fn a_template_that_is_linked_goes_by_the_values_and_the_condition_of_its_link() {
    let place = Place::new();
    let mut trigger = resource("adf/nightly");
    trigger["properties"]["typeProperties"]["recurrence"]["startTime"] = json!("[parameters('start')]");
    let mut inner = template(json!([trigger]));
    inner["parameters"]["start"] = json!({"type": "string", "defaultValue": "2026-01-01T01:00:00Z"});
    write(&place, "all/inner.json", inner.to_string());
    let link = |start: &str, on: bool| {
        json!({"type": "Microsoft.Resources/deployments", "name": "d", "condition": on, "properties": {"mode": "Incremental",
            "templateLink": {"relativePath": "inner.json"}, "parameters": {"start": {"value": start}}}})
    };
    let linked = |links: Value| {
        write(&place, "all/main.json", template(links).to_string());
        import(&place, &["all"])
    };
    let (code, report, said) =
        linked(json!([link("2026-01-01T05:00:00Z", true), link("2026-01-01T06:00:00Z", true)]));
    assert_eq!((code, entries(&report)), (1, vec!["nightly", "nightly-2"]), "{said}");
    let yaml = report["yaml"].as_str().unwrap();
    assert!(
        yaml.contains("T05:00:00Z") && yaml.contains("T06:00:00Z") && !yaml.contains("T01:00:00Z"),
        "{yaml}"
    );
    let (code, report, said) = linked(json!([link("2026-01-01T05:00:00Z", false)]));
    assert_eq!((code, entries(&report).len()), (1, 0));
    assert!(said.contains("inner.json: 'nightly' is refused: its condition 'false' is false here"), "{said}");
}

#[test]
fn what_is_no_trigger_in_a_list_and_a_key_that_no_trigger_has_are_named() {
    let place = Place::new();
    let pipeline = json!({"name": "p", "properties": {"activities": []}});
    write(&place, "list.json", json!([plain("good"), pipeline]).to_string());
    let (code, _, said) = import(&place, &["list.json"]);
    assert!(code == 0 && said.contains("list.json: note: item 2 of its list is a pipeline"), "{said}");
    let mut untyped = plain("untyped");
    untyped["properties"].as_object_mut().unwrap().remove("type");
    write(&place, "list.json", json!([plain("good"), {"hello": 1}, untyped]).to_string());
    let (code, report, said) = import(&place, &["list.json"]);
    assert_eq!((code, entries(&report)), (1, vec!["good"]));
    for named in ["list.json: item 2 of its list is no trigger", "'untyped' is refused: it has no type"] {
        assert!(said.contains(named), "{said}");
    }
    let mut delayed = plain("t");
    delayed["properties"]["typeProperties"]["delay"] = json!("00:10:00");
    write(&place, "t.json", delayed.to_string());
    assert!(
        import(&place, &["t.json"])
            .2
            .contains("its typeProperties has the key 'delay', which no schedule trigger has")
    );
}

#[test]
fn what_a_trigger_says_ends_no_line_and_no_comment_and_steers_no_terminal() {
    let place = Place::new();
    let nasty = "a\n  - name: evil\r\u{1b}[2J\u{2028}\u{85}\u{202e}b";
    let mut trigger = plain(nasty);
    trigger["properties"]["description"] = json!(nasty);
    trigger["properties"]["annotations"] = json!([nasty]);
    trigger["properties"]["pipelines"][0]["parameters"] = json!({ "p": nasty, nasty: 1 });
    let mut refused = plain(nasty);
    refused["properties"]["typeProperties"]["recurrence"]["timeZone"] = json!(nasty);
    write(&place, "t.json", json!([trigger, refused]).to_string());
    let output = place.run(&["import", place.path("t.json").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", errors(&output));
    let (yaml, said) = (results(&output), errors(&output));
    for text in [&yaml, &said] {
        let signs: Vec<char> = text
            .chars()
            .filter(|c| (c.is_control() && *c != '\n') || "\u{2028}\u{202e}".contains(*c))
            .collect();
        assert!(signs.is_empty(), "{signs:?} in {text}");
        assert!(!text.lines().any(|line| line.starts_with("  - name: evil")), "{text}");
    }
    assert!(said.contains("a\\u{a}  - name: evil\\u{d}\\u{1b}[2J\\u{2028}\\u{85}\\u{202e}b"), "{said}");
    place.write(&yaml);
    let check = place.run(&["check"]);
    assert_eq!(check.status.code(), Some(0), "{}", errors(&check));
    let name = place.json(&["next", "-n", "1", "--format", "json"])[0]["entry"].as_str().unwrap().to_owned();
    assert_eq!(place.run(&["fire", &name]).status.code(), Some(0));
    assert_eq!(place.sim.runs()[0].parameters, json!({ "p": nasty, nasty: 1 }));
}

/// What is said of one trigger with these values in its recurrence, and where it is said.
fn recurring(place: &Place, values: Value) -> (i32, Value, String) {
    let mut trigger = plain("t");
    let recurrence = trigger["properties"]["typeProperties"]["recurrence"].as_object_mut().unwrap();
    recurrence.extend(values.as_object().unwrap().clone());
    write(place, "t.json", trigger.to_string());
    import(place, &["t.json"])
}

#[test]
fn a_refusal_names_the_key_that_it_is_about() {
    let place = Place::new();
    for (values, said) in [
        (
            json!({"schedule": {"hours": [24], "minutes": [0]}}),
            "in its hours, 24 is not a whole number from 0 to 23",
        ),
        (
            json!({"frequency": "Month", "schedule": {"weekDays": ["Monday"]}}),
            "its schedule has weekDays, which go with the frequency Week only",
        ),
        (
            json!({"timeZone": "W. Europe Standard Time"}),
            "its startTime '2026-01-01T02:00:00Z' has an offset beside the time zone 'Europe/Berlin'",
        ),
    ] {
        let (code, report, _) = recurring(&place, values);
        let reason = report["refused"][0]["reason"].as_str().unwrap().to_owned();
        assert!(code == 1 && reason.contains(said), "{reason}");
    }
    // The schedule file says the same of the same recurrence.
    place.write(
        "pipelines:\n  - { name: a, pipeline: P, schedule: { recurrence: { frequency: Day, interval: 1, startTime: \
         '2026-01-01T02:00:00Z', timeZone: W. Europe Standard Time } } }\n",
    );
    let check = place.run(&["check"]);
    assert_eq!(check.status.code(), Some(78));
    assert!(
        errors(&check).contains("'2026-01-01T02:00:00Z' has an offset beside the time zone 'Europe/Berlin'"),
        "{}",
        errors(&check)
    );
}

#[test]
fn a_proof_over_no_firing_is_not_called_one() {
    let place = Place::new();
    let (code, report, said) = recurring(
        &place,
        json!({"frequency": "Month", "interval": 1000, "startTime": "2000-01-31T00:00:00Z"}),
    );
    assert_eq!((code, &report["entries"][0]["proof"]["proved"]), (0, &json!(false)), "{said}");
    assert!(said.contains("not proved: neither calendar has a firing from"), "{said}");
    assert!(!report["yaml"].as_str().unwrap().contains("# proved"), "{report}");
    let (code, _, said) =
        recurring(&place, json!({"startTime": "0001-01-01T02:00:00Z", "endTime": "9999-12-31T23:59:59Z"}));
    assert!(
        code == 0 && said.contains("means that it does not end") && said.contains("proved: 731 firings"),
        "{said}"
    );
}

/// The bound is a release's; a build for tests is slower, and the machine may be busy.
#[test]
fn no_file_takes_long_whatever_is_in_it() {
    let place = Place::new();
    let nested = format!("@{}1{}", "concat(".repeat(100_000), ")".repeat(100_000));
    let brackets = format!("[{}1{}]", "concat(".repeat(100_000), ")".repeat(100_000));
    let mut expression = plain("t");
    expression["properties"]["pipelines"][0]["parameters"] = json!({ "p": nested });
    let many: Vec<Value> = (0..200).map(|_| plain("the same name")).collect();
    let wide = format!("@concat({})", ["trigger().scheduledTime"; 20_000].join(", "));
    let mut joined = plain("t");
    joined["properties"]["pipelines"][0]["parameters"] = json!({ "p": wide });
    let mut zoned = plain("t");
    zoned["properties"]["typeProperties"]["recurrence"]["timeZone"] = json!("Europe/Berlin ".repeat(100_000));
    let mut named = plain("t");
    named["properties"]["pipelines"][0]["parameters"] = json!({ "p": format!("@{}()", "f".repeat(1_000_000)), "q": "@formatDateTime(trigger().scheduledTime, 'g')" });
    let hours: Vec<u32> = (0..200_000).map(|number| number % 24).collect();
    let mut long = plain("t");
    long["properties"]["typeProperties"]["recurrence"]["schedule"] = json!({ "hours": hours });
    for (name, text) in [
        ("nested", expression.to_string()),
        ("brackets", template(json!([resource(&brackets)])).to_string()),
        ("arrays", "[".repeat(1_000_000)),
        ("joined", joined.to_string()),
        ("zoned", zoned.to_string()),
        ("named", named.to_string()),
        ("many", json!(many).to_string()),
        ("long", long.to_string()),
        ("wide", json!({"resources": vec![json!({"type": "x", "name": "y"}); 100_000]}).to_string()),
    ] {
        write(&place, name, text);
        let begun = std::time::Instant::now();
        let (code, _, said) = import(&place, &[name]);
        assert!(matches!(code, 0..=2), "{name}: {said}");
        assert!(name == "many" || said.len() < 2_000, "{name}: {said}");
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{name}: {:?}", begun.elapsed());
    }
    assert!(Path::new(&place.path("many")).exists());
}
