//! Shapes of templates, and what their expressions may cost.

use serde_json::json;

use super::*;

fn trigger_of(name: &str) -> Value {
    json!({"type": TRIGGER, "apiVersion": "2018-06-01", "name": name, "properties": {"type": "ScheduleTrigger",
        "typeProperties": {"recurrence": {"startTime": "2026-01-01T00:00:00Z"}}}})
}

fn with(resources: Value, more: Value) -> Value {
    let mut template = json!({"parameters": {"factoryName": {"type": "string"}}, "resources": resources});
    template.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    template
}

/// The names of the triggers, or why there is nothing to be told of them.
fn told(template: &Value) -> Vec<Result<String, String>> {
    let triggers = contents(template, &Given::new()).triggers;
    triggers
        .into_iter()
        .map(|found| {
            found.properties.map(|_| found.name.clone()).map_err(|why| format!("{}: {why}", found.name))
        })
        .collect()
}

fn names(template: &Value) -> Vec<String> {
    told(template).into_iter().map(|told| told.unwrap_or_else(|why| panic!("{why}"))).collect()
}

#[test]
fn names_are_the_part_after_the_last_slash_however_they_are_written() {
    for name in [
        "nightly",
        "adf/nightly",
        "[concat(parameters('factoryName'), '/nightly')]",
        "[format('{0}/{1}', parameters('factoryName'), 'nightly')]",
        "[format('{0}/{1}', uniqueString(resourceGroup().id), variables('n'))]",
        "[resourceId('Microsoft.DataFactory/factories/triggers', parameters('factoryName'), 'nightly')]",
        "[concat(parameters('FACTORYNAME'), '/', toLower('NIGHT'), substring('lylyly', 0, 2))]",
        "[if(equals(1, 1), variables('N'), parameters('none'))]",
    ] {
        let template = with(json!([trigger_of(name)]), json!({"variables": {"n": "nightly"}}));
        assert_eq!(names(&template), ["nightly"], "{name}");
    }
    for (name, said) in [
        (
            "[concat(parameters('factoryName'), '/', parameters('which'))]",
            "the parameter 'which' has no value",
        ),
        ("[parameters('factoryName')]", "give it a default, or a value in a parameter file"),
        ("[concat('a', ]", "is not closed or not known"),
        ("adf/", "it is empty"),
    ] {
        let why = told(&with(json!([trigger_of(name)]), json!({}))).remove(0).unwrap_err();
        assert!(why.contains("its name") && why.contains(said), "{why}");
    }
}

#[test]
fn resources_stand_in_lists_under_symbolic_names_in_their_parents_and_in_templates_of_their_own() {
    let plain = trigger_of("[concat(parameters('factoryName'), '/nightly')]");
    let mut child = plain.clone();
    child["type"] = json!("triggers");
    child["name"] = json!("nightly");
    let factory = |children: Value| json!({"type": "Microsoft.DataFactory/factories", "name": "adf", "resources": children});
    let deployment = |template: Value, more: Value| {
        let mut properties = json!({"mode": "Incremental", "template": template});
        properties.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": "Microsoft.Resources/deployments", "name": "inner", "properties": properties})
    };
    let mut existing = trigger_of("old");
    existing["existing"] = json!(true);
    let inner = with(
        json!([trigger_of("[concat('x/', parameters('n'))]")]),
        json!({"parameters": {"n": {"type": "string"}}}),
    );
    let scoped = json!({"expressionEvaluationOptions": {"scope": "inner"}, "parameters": {"n": {"value": "[variables('v')]"}}});
    for resources in [
        json!([plain]),
        json!({"nightly": plain, "factory": {"type": "Microsoft.DataFactory/factories", "name": "adf"}}),
        json!([factory(json!([child]))]),
        json!({"f": factory(json!({"t": child}))}),
        json!([existing, plain]),
        json!([deployment(json!({"resources": [plain]}), json!({}))]),
        json!([deployment(with(json!({"s": plain}), json!({})), json!({}))]),
        json!([deployment(inner, scoped)]),
    ] {
        let template =
            with(resources.clone(), json!({"languageVersion": "2.0", "variables": {"v": "nightly"}}));
        assert_eq!(names(&template), ["nightly"], "{resources}");
    }
    let linked = json!([{"type": "Microsoft.Resources/deployments", "name": "l", "properties": {"templateLink":
        {"uri": "[concat(parameters('containerUri'), '/ArmTemplate_0.json', parameters('sas'))]"}}},
        {"type": "Microsoft.Resources/deployments", "name": "m", "properties": {"templateLink": {"relativePath": "x/b.json"}}},
        {"type": "Microsoft.Resources/deployments", "name": "n", "properties": {"templateLink": {"id": "spec"}}}]);
    let links = contents(&with(linked, json!({})), &Given::new()).links;
    let files: Vec<&str> = links.iter().map(|link| link.file.as_str()).collect();
    assert_eq!(files, ["ArmTemplate_0.json", "b.json", ""]);
}

#[test]
fn conditions_are_heeded_or_refused_by_name_and_reach_as_far_as_in_a_deployment() {
    let conditioned = |condition: Value| {
        let mut trigger = trigger_of("t");
        trigger["condition"] = condition;
        let parameters = json!({"env": {"type": "string", "defaultValue": "dev"}, "on": {"type": "bool", "defaultValue": true},
            "late": {"type": "string"}});
        told(&with(
            json!([trigger]),
            json!({"parameters": parameters, "variables": {"isDev": "[equals(parameters('env'), 'dev')]"}}),
        ))
        .remove(0)
    };
    for holds in [
        "[parameters('on')]",
        "[variables('isDev')]",
        "[and(true(), not(equals(parameters('env'), 'prod')))]",
        "[or(false(), bool('true'))]",
        "[if(parameters('on'), true(), parameters('late'))]",
        "[contains(createArray('dev', 'test'), parameters('env'))]",
        "[greater(length(parameters('env')), 2)]",
        "[empty('')]",
    ] {
        assert_eq!(conditioned(json!(holds)), Ok("t".to_owned()), "{holds}");
    }
    assert_eq!(conditioned(json!(true)), Ok("t".to_owned()));
    for (condition, said) in [
        (json!(false), "is false here"),
        (
            json!("[equals(parameters('env'), 'prod')]"),
            "its condition '[equals(parameters('env'), 'prod')]' is false here",
        ),
        (json!("[equals(parameters('late'), 'x')]"), "cannot be told: the parameter 'late' has no value"),
        (json!("[equals(reference('x').a, 'x')]"), "the function reference() is not known here"),
        (json!("yes"), "is neither true nor false"),
        (json!("[or(1)]"), "or() with such arguments"),
    ] {
        let why = conditioned(condition).unwrap_err();
        assert!(why.contains(said), "{why}");
    }
    // A template within a template goes with its condition; children do not go with their parent's.
    let nested = json!([{"type": DEPLOYMENT, "name": "d", "condition": false, "properties": {"template": {"resources": [trigger_of("t")]}}}]);
    assert!(told(&with(nested, json!({}))).remove(0).unwrap_err().contains("is false here"));
    let child = json!([{"type": "Microsoft.DataFactory/factories", "name": "f", "condition": false, "resources": [trigger_of("t")]}]);
    assert_eq!(names(&with(child, json!({}))), ["t"]);
}

#[test]
fn copies_are_made_as_often_as_they_say_or_refused_by_name() {
    let copied = |copy: Value, name: &str| {
        let mut trigger = trigger_of(name);
        trigger["copy"] = copy;
        told(&with(
            json!([trigger]),
            json!({"parameters": {"names": {"defaultValue": ["a", "b"]}, "n": {"type": "int"}}}),
        ))
    };
    let loops = json!({"name": "loop", "count": "[length(parameters('names'))]"});
    let ok = |names: &[&str]| names.iter().map(|name| Ok((*name).to_owned())).collect::<Vec<_>>();
    assert_eq!(
        copied(loops.clone(), "[concat('f/t-', parameters('names')[copyIndex()])]"),
        ok(&["t-a", "t-b"])
    );
    assert_eq!(copied(loops.clone(), "[format('t{0}', copyIndex('loop', 1))]"), ok(&["t1", "t2"]));
    assert_eq!(copied(json!({"name": "loop", "count": 0}), "t"), ok(&[]));
    for (copy, said) in [
        (json!({"name": "l", "count": 801}), "its count is 801"),
        (json!({"name": "l", "count": "[parameters('n')]"}), "the parameter 'n' has no value"),
        (json!({"name": "l"}), "it has no count"),
    ] {
        let why = copied(copy, "t").remove(0).unwrap_err();
        assert!(why.contains("how often it is copied cannot be told") && why.contains(said), "{why}");
    }
    assert!(
        copied(loops, "[concat('t', copyIndex('other'))]")[0].as_ref().unwrap_err().contains("copyIndex()")
    );
}

#[test]
fn only_what_matters_of_a_trigger_is_resolved_and_what_cannot_be_names_its_key() {
    let mut trigger = trigger_of("t");
    let properties = &mut trigger["properties"];
    properties["description"] = json!("[guid()]");
    properties["annotations"] = json!(["[newGuid()]"]);
    trigger["dependsOn"] = json!(["[resourceId('x', broken]"]);
    trigger["tags"] = json!({"a": "[utcNow()]"});
    let start = |value: Value, template: Value| {
        let mut trigger = trigger.clone();
        trigger["properties"]["typeProperties"]["recurrence"]["startTime"] = value;
        trigger["properties"]["pipelines"] = json!([{"pipelineReference": {"referenceName": "[variables('p')]"},
            "parameters": {"list": {"copy": [{"name": "x", "count": 2, "input": "[concat('n', copyIndex('x'))]"}]}}, "other": "[no()]"}]);
        let template = with(json!([trigger]), template);
        contents(&template, &Given::new()).triggers.remove(0).properties
    };
    let variables = json!({"variables": {"p": "P", "at": {"of": ["[parameters('start')]"]}, "a": "[variables('b')]", "b": "[variables('A')]"},
        "parameters": {"start": {"defaultValue": "2026-02-02"}, "none": {"type": "string"}}});
    let found = start(json!("[variables('at').of[0]]"), variables.clone()).unwrap();
    assert_eq!(found["typeProperties"]["recurrence"]["startTime"], "2026-02-02");
    assert_eq!(
        found["pipelines"],
        json!([{"pipelineReference": {"referenceName": "P"}, "parameters": {"list": {"x": ["n0", "n1"]}}}])
    );
    assert_eq!(
        start(json!("[[x]"), variables.clone()).unwrap()["typeProperties"]["recurrence"]["startTime"],
        "[x]"
    );
    for (expression, said) in [
        (
            "[parameters('none')]",
            "its typeProperties.recurrence.startTime is the template's expression '[parameters('none')]', and the parameter 'none' has no value",
        ),
        ("[utcNow()]", "the function utcNow() is not known here"),
        ("[variables('a')]", "name each other too deeply"),
        ("[variables('nothing')]", "there is no variable 'nothing'"),
        ("[variables('at').of[7]]", "has no such part"),
        ("[resourceId('a', 'b')]", "the function resourceId() is not known here"),
    ] {
        let why = start(json!(expression), variables.clone()).unwrap_err();
        assert!(why.contains(said), "{why}");
    }
    // What fires on events is refused for that, whatever else cannot be told of it.
    let events = json!({"type": TRIGGER, "name": "e", "properties": {"type": "BlobEventsTrigger", "typeProperties": {"scope": "[parameters('x')]"}}});
    assert!(contents(&with(json!([events]), json!({})), &Given::new()).triggers[0].properties.is_ok());
}

#[test]
fn expressions_that_grow_or_nest_without_end_are_refused() {
    let mut variables = Map::new();
    variables.insert("v0".to_owned(), json!("aaaaaaaaaaaaaaaa"));
    for number in 1..100 {
        let doubled = format!("[concat(variables('v{}'), variables('v{0}'))]", number - 1);
        variables.insert(format!("v{number}"), json!(doubled));
        variables.insert(
            format!("l{number}"),
            json!(format!("[createArray(variables('l{}'), variables('l{0}'))]", number - 1)),
        );
    }
    variables.insert("l0".to_owned(), json!("x"));
    for start in ["v30", "l30", "v99"] {
        let mut trigger = trigger_of("t");
        trigger["properties"]["typeProperties"]["recurrence"]["startTime"] =
            json!(format!("[variables('{start}')]"));
        let why = told(&with(json!([trigger]), json!({"variables": variables}))).remove(0).unwrap_err();
        assert!(why.contains("takes too many steps") || why.contains("too deeply"), "{why}");
        assert!(why.len() < 1_000, "{why}");
    }
    let mut copied = trigger_of("[concat('t', copyIndex())]");
    copied["copy"] = json!({"name": "c", "count": 800});
    let inner = json!({"resources": [copied]});
    let deployment = json!({"type": DEPLOYMENT, "name": "d", "copy": {"name": "o", "count": 800}, "properties": {"template": inner}});
    let all = told(&with(json!([deployment]), json!({})));
    assert!(all.len() <= MOST_RESOURCES + 1 && all.iter().any(|told| told.is_err()), "{}", all.len());
}

#[test]
fn no_text_grows_beyond_memory_and_no_look_up_is_without_a_cost() {
    let long = "a".repeat(1_000_000);
    let many: Map<String, Value> =
        (0..50_000).map(|number| (format!("p{number}"), json!({"defaultValue": number}))).collect();
    let each = |part: &str, count: usize| format!("[concat({})]", vec![part; count].join(", "));
    let in_braces = format!("[format('{}', parameters('long'))]", "{0}".repeat(5_000));
    for (start, said) in [
        ("[join(range(0, 10000), parameters('long'))]".to_owned(), "join() with such arguments"),
        (in_braces, "format() with such arguments"),
        (each("parameters('P7')", 1_000), "takes too many steps"),
        (each("parameters('given').a", 1_000), "takes too many steps"),
        (each("'a'", 10_000), "takes no expression of more than 24576 characters"),
    ] {
        let mut trigger = trigger_of("t");
        trigger["properties"]["typeProperties"]["recurrence"]["startTime"] = json!(start);
        let mut template = with(json!([trigger]), json!({"parameters": many}));
        template["parameters"]["long"] = json!({"defaultValue": long});
        let given = Given::from([("given".to_owned(), Ok(json!({"a": 1, "b": vec![1; 10_000]})))]);
        let why = contents(&template, &given).triggers.remove(0).properties.unwrap_err();
        assert!(why.contains(said) && why.len() < 1_000, "{why}");
    }
    // A key and the name of a copy of megabytes are kept once.
    let mut wide = trigger_of("[concat('t', copyIndex())]");
    wide["copy"] = json!({"name": long, "count": 800});
    let fields: Map<String, Value> = (0..5_000).map(|number| (number.to_string(), json!(1))).collect();
    wide["properties"]["typeProperties"][&long] = Value::Object(fields);
    assert_eq!(contents(&with(json!([wide]), json!({})), &Given::new()).triggers.len(), 800);
}

#[test]
fn each_copy_may_work_as_much_as_a_resource_alone() {
    let all: Vec<Value> = (0..100)
        .map(|number| json!({"name": format!("t{number}"), "start": "2026-01-01T00:00:00Z", "more": [1, 2, 3, {"a": 1}]}))
        .collect();
    let mut trigger =
        trigger_of("[concat(parameters('factoryName'), '/', parameters('all')[copyIndex()].name)]");
    trigger["copy"] = json!({"name": "c", "count": "[length(parameters('all'))]"});
    trigger["properties"]["typeProperties"]["recurrence"]["startTime"] =
        json!("[parameters('all')[copyIndex()].start]");
    let template = with(json!([trigger]), json!({"parameters": {"all": {"defaultValue": all}}}));
    assert_eq!(names(&template).len(), 100);
}

#[test]
fn a_name_is_not_told_from_what_is_not_known() {
    for name in [
        "[concat('f/', if(equals(parameters('factoryName'), 'prod'), 'a', 'b'))]",
        "[concat('f/t', length(parameters('factoryName')))]",
        "[concat('f/t', substring(parameters('factoryName'), 0, 0))]",
        "[concat('f/', last(createArray(parameters('factoryName'), 'x')))]",
        "[concat('f/t', string(empty(parameters('factoryName'))))]",
    ] {
        let why = told(&with(json!([trigger_of(name)]), json!({}))).remove(0).unwrap_err();
        assert!(
            why.contains("its name") && why.contains("the parameter 'factoryName' has no value"),
            "{why}"
        );
    }
}

#[test]
fn a_template_within_goes_by_its_own_parameters_in_the_second_version_of_the_language() {
    let start = |version: &str, scope: Option<&str>| {
        let mut trigger = trigger_of("t");
        trigger["properties"]["typeProperties"]["recurrence"]["startTime"] = json!("[parameters('start')]");
        let mut inner = json!({"type": DEPLOYMENT, "name": "d", "properties": {"parameters": {"start": {"value": "inner"}},
            "template": {"parameters": {"start": {"type": "string"}}, "resources": [trigger]}}});
        if let Some(scope) = scope {
            inner["properties"]["expressionEvaluationOptions"] = json!({ "scope": scope });
        }
        let around = json!({"languageVersion": version, "parameters": {"start": {"defaultValue": "outer"}}});
        let found = contents(&with(json!([inner]), around), &Given::new()).triggers.remove(0);
        found.properties.unwrap()["typeProperties"]["recurrence"]["startTime"].clone()
    };
    for (version, scope, wanted) in [
        ("2.0", None, "inner"),
        ("1.0", None, "outer"),
        ("1.0", Some("inner"), "inner"),
        ("2.0", Some("outer"), "outer"),
    ] {
        assert_eq!(start(version, scope), wanted, "{version}, {scope:?}");
    }
}

#[test]
fn pipelines_may_be_made_by_a_copy_and_brackets_that_are_not_closed_are_plain() {
    let mut trigger = trigger_of("t");
    trigger["properties"]["copy"] = json!([{"name": "pipelines", "count": 2,
        "input": {"pipelineReference": {"referenceName": "[concat('P', copyIndex('pipelines'))]"}, "parameters": {"a": "[[x"}}}]);
    let found =
        contents(&with(json!([trigger]), json!({})), &Given::new()).triggers.remove(0).properties.unwrap();
    let started =
        |name: &str| json!({"pipelineReference": {"referenceName": name}, "parameters": {"a": "[[x"}});
    assert_eq!(found["pipelines"], json!([started("P0"), started("P1")]));
}
