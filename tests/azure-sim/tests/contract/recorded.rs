//! The recorded exchanges with the real service, replayed: what was sent then is sent now, and what is
//! answered now is held against what was answered then.

use std::collections::BTreeMap;

use azure_sim::{PipelineParameter, Sim};
use jiff::Timestamp;
use serde_json::Value;

use crate::client::{Answer, Ask, ask, token_of};
use crate::shapes::{assert_is, assert_refused, challenge, differences};

const RECORDED: &str = include_str!("../../data/recorded-exchanges.json");
const DOCUMENTED: &str = include_str!("../../data/token-and-arm-responses.json");

/// One run and its recoveries, in the order of the `Date` headers.
const STORY: [&str; 9] = [
    "createRun",
    "cancel",
    "getRun-Canceling",
    "createRun-recovery",
    "getRun-Queued-same-second",
    "createRun-startActivityName",
    "getRun-Queued",
    "createRun-startFromFailure",
    "getRun-Failed",
];

/// Those that stand alone, each replayed by the test of its name.
const ALONE: [(&str, fn()); 6] = [
    ("createRun-cli-missing-optional-param", a_parameter_that_is_not_supplied_is_no_error),
    ("cancel-unknown-run", an_unknown_run_cannot_be_cancelled),
    ("getPipeline-missing", a_missing_pipeline_is_named_by_its_path),
    ("createRun-factory-missing", a_missing_factory_is_refused_by_the_gateway),
    ("arm-401-wrong-tenant", a_token_of_another_tenant_is_challenged),
    ("getRun-Succeeded-docs", a_run_that_succeeded_is_shown_as_in_the_documentation),
];

/// Those that are not replayed, and why.
const NOT_OFFERED: [(&str, &str); 4] = [
    ("queryActivityruns-empty", "the client looks at runs and never at their activities"),
    ("getTrigger-tumbling", "the client is what triggers are replaced by; it reads none"),
    ("queryTriggerRuns-tumbling", "as above"),
    ("getTrigger-schedule", "as above"),
];

/// Of whom or what wrote the answer, or of the transport: no part of the contract.
const NO_PART: [&str; 5] = ["server", "x-powered-by", "transfer-encoding", "vary", "connection"];

/// What differs between any two runs.
const OF_ITS_TIME: [&str; 5] = ["/invokedBy/id", "/runStart", "/runEnd", "/durationInMs", "/lastUpdated"];

/// The stand-in, with every factory that a recording names.
fn sim() -> Sim {
    let sim = Sim::start().unwrap();
    sim.set(|switches| switches.factories = None);
    sim
}

fn all() -> Vec<Value> {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    recorded["exchanges"].as_array().unwrap().clone()
}

/// The exchange with this name, its placeholders filled in.
fn exchange(name: &str) -> Value {
    let found = all().into_iter().find(|exchange| exchange["name"] == name);
    let text = found.unwrap_or_else(|| panic!("{name} is not recorded")).to_string();
    let text = text
        .replace("{subscriptionId}", "1e42591f-1f0c-4c5a-b7f2-a268f6105ec5")
        .replace("{rg}", "group")
        .replace("{factory}", "factory");
    serde_json::from_str(&text).unwrap()
}

/// The answer to the recorded request, sent to `target` with a good token.
fn replay_at(sim: &Sim, exchange: &Value, target: &str, token: &str) -> Answer {
    let request = &exchange["request"];
    let authorization = format!("Bearer {token}");
    let mut headers = vec![("Authorization", authorization.as_str())];
    let recorded = request["headers"].as_object().unwrap().iter();
    let recorded = recorded.map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
    headers.extend(recorded.filter(|(name, _)| *name != "Authorization"));
    let body = Some(&request["body"]).filter(|body| !body.is_null()).map(Value::to_string);
    ask(sim, &Ask { method: request["method"].as_str().unwrap(), target, headers, body })
}

fn replay(sim: &Sim, exchange: &Value) -> Answer {
    let token = token_of(sim, "contoso");
    replay_at(sim, exchange, exchange["request"]["uri"].as_str().unwrap(), &token)
}

/// Asserts that an answer is as recorded: its status, its headers, the shape of its body, and the values in
/// it but for those that are `free`.
fn assert_reproduced(exchange: &Value, answer: &Answer, free: &[&str]) {
    let name = exchange["name"].as_str().unwrap();
    assert_eq!(u64::from(answer.status), exchange["response"]["status"], "{name}: {answer:?}");
    assert_headers(exchange, answer);
    let mut recorded = exchange["response"]["body"].clone();
    if recorded.is_null() {
        return;
    }
    let mut answered = answer.json();
    let found = differences(&recorded, &answered);
    assert!(found.is_empty(), "{name}: {found:?}");
    for pointer in free {
        for value in [&mut recorded, &mut answered] {
            if let Some(place) = value.pointer_mut(pointer) {
                *place = Value::Null;
            }
        }
    }
    assert_eq!(answered, recorded, "{name}");
}

fn assert_headers(exchange: &Value, answer: &Answer) {
    let name = exchange["name"].as_str().unwrap();
    for (header, wanted) in exchange["response"]["headers"].as_object().unwrap() {
        let header = header.to_lowercase();
        if NO_PART.contains(&header.as_str()) {
            continue;
        }
        let given = answer.header(&header).unwrap_or_else(|| panic!("{name} lacks {header}: {answer:?}"));
        let wanted = wanted.as_str().unwrap();
        match header.as_str() {
            "content-type" | "cache-control" | "pragma" | "x-ms-failure-cause" => {
                assert_eq!(given, wanted, "{name}: {header}");
            }
            "www-authenticate" => assert_eq!(challenge(given), challenge(wanted), "{name}"),
            // The same bytes have the same length; others need not.
            "content-length" if wanted == "0" => assert_eq!(given, wanted, "{name}"),
            "content-length" if answer.json() == exchange["response"]["body"] => {
                assert_eq!(given, wanted, "{name}");
            }
            _ => {}
        }
    }
    let has_type = exchange["response"]["body"].is_object();
    assert_eq!(answer.header("content-type").is_some(), has_type || answer.status != 200, "{name}");
}

#[test]
fn every_recorded_exchange_is_replayed_or_said_not_to_be() {
    let mut wanted: Vec<String> =
        all().iter().map(|each| each["name"].as_str().unwrap().to_owned()).collect();
    let mut known: Vec<&str> = STORY.to_vec();
    known.extend(ALONE.iter().map(|(name, _)| *name));
    known.extend(NOT_OFFERED.iter().map(|(name, _)| *name));
    wanted.sort_unstable();
    known.sort_unstable();
    assert_eq!(known, wanted);
}

#[test]
fn every_recorded_answer_validates_against_the_published_schema() {
    for each in all() {
        let name = each["name"].as_str().unwrap();
        let definition = match name.split('-').next().unwrap() {
            _ if each["response"]["body"].is_null() => continue,
            _ if each["response"]["status"] != 200 => "CloudError",
            "createRun" => "CreateRunResponse",
            "getRun" => "PipelineRun",
            "queryActivityruns" => "ActivityRunsQueryResponse",
            // The schema file leaves trigger runs out.
            "getTrigger" => "TriggerResource",
            "queryTriggerRuns" => continue,
            _ => panic!("which definition is {name} to be held against?"),
        };
        assert_is(definition, &each["response"]["body"]);
    }
}

#[test]
fn one_run_and_its_recoveries_are_told_as_recorded() {
    let sim = sim();
    for name in STORY {
        let exchange = exchange(name);
        let mut free = OF_ITS_TIME.to_vec();
        if name == "getRun-Failed" {
            sim.set_run_status("379958e9-d519-4956-9d5b-8fddb9c5d9da", "Failed");
            // Why it failed is beyond the stand-in.
            free.push("/message");
        }
        let answer = replay(&sim, &exchange);
        assert_reproduced(&exchange, &answer, &free);
        if name.starts_with("createRun") {
            let id = &exchange["request"]["headers"]["x-ms-client-request-id"];
            assert_eq!(&answer.json()["runId"], id, "{name}: the run has the id of the request");
        }
        if name.starts_with("getRun") {
            assert_times(&answer.json());
        }
    }
    assert_eq!(sim.runs().len(), 4, "one for each createRun");
}

/// UTC with a `Z`; ends follow starts.
fn assert_times(run: &Value) {
    let time = |key: &str| {
        let text = run[key].as_str()?;
        assert!(text.ends_with('Z'), "{key}: {text}");
        Some(text.parse::<Timestamp>().unwrap())
    };
    let started = time("runStart").unwrap();
    assert!(time("lastUpdated").unwrap() >= started);
    assert!(time("runEnd").is_none_or(|ended| ended >= started));
}

#[test]
fn a_parameter_that_is_not_supplied_is_no_error() {
    let sim = sim();
    let exchange = exchange("createRun-cli-missing-optional-param");
    let declared = [("JobId", "String"), ("OutputBlobNameList", "Array")]
        .map(|(name, kind)| (name.to_owned(), PipelineParameter { kind: kind.to_owned() }));
    sim.set(|switches| {
        switches.pipelines = Some([("example000005".to_owned(), BTreeMap::from(declared))].into());
    });
    let answer = replay(&sim, &exchange);
    // The client's id was taken out of the recording; the run has one of its own.
    assert_reproduced(&exchange, &answer, &["/runId"]);
    assert_eq!(answer.header("content-length"), Some("48"), "the id is as long as a GUID");
    assert_eq!(sim.runs()[0].parameters, exchange["request"]["body"]);
}

#[test]
fn an_unknown_run_cannot_be_cancelled() {
    let exchange = exchange("cancel-unknown-run");
    let answer = replay(&sim(), &exchange);
    assert_reproduced(&exchange, &answer, &[]);
    assert_refused(&answer, 400, "ReferencedPipelineRunNotFound");
}

#[test]
fn a_missing_pipeline_is_named_by_its_path() {
    let sim = sim();
    sim.set(|switches| switches.pipelines = Some(BTreeMap::new()));
    let exchange = exchange("getPipeline-missing");
    let answer = replay(&sim, &exchange);
    assert_reproduced(&exchange, &answer, &[]);
    assert_refused(&answer, 404, "NotFound");
}

#[test]
fn a_missing_factory_is_refused_by_the_gateway() {
    let sim = crate::client::sim();
    let exchange = exchange("createRun-factory-missing");
    let answer = replay(&sim, &exchange);
    assert_reproduced(&exchange, &answer, &[]);
    assert_refused(&answer, 404, "ResourceNotFound");
    // The recording lost its body; its text is documented.
    let documented: Value = serde_json::from_str(DOCUMENTED).unwrap();
    let message = documented["arm_404_factory"]["body"]["error"]["message"].as_str().unwrap();
    let message = message.replace("factories/x", "factories/bla").replace("'y'", "'group'");
    assert_eq!(answer.json()["error"]["message"], message);
}

#[test]
fn a_token_of_another_tenant_is_challenged() {
    let sim = sim();
    let token = token_of(&sim, "f8cdef31-a31e-4b4a-93e4-5f571e91255a");
    sim.set(|switches| switches.tenant = "e66fc46b-2666-4ea3-984d-bb30c06f2c75".to_owned());
    let exchange = exchange("arm-401-wrong-tenant");
    // Recorded as "any ARM request".
    let target = format!("{}/pipelines?api-version=2018-06-01", crate::client::FACTORY);
    let answer = replay_at(&sim, &exchange, &target, &token);
    assert_reproduced(&exchange, &answer, &["/error/message"]);
    assert_refused(&answer, 401, "InvalidAuthenticationTokenTenant");
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("The access token is from the wrong issuer '"), "{message}");
}

#[test]
fn a_run_that_succeeded_is_shown_as_in_the_documentation() {
    let sim = sim();
    let exchange = exchange("getRun-Succeeded-docs");
    let (wanted, token) = (&exchange["response"]["body"], token_of(&sim, "contoso"));
    let (id, factory) = (wanted["runId"].as_str().unwrap(), crate::client::FACTORY);
    let pipeline = wanted["pipelineName"].as_str().unwrap();
    let authorization = format!("Bearer {token}");
    let headers = vec![("authorization", authorization.as_str()), ("x-ms-client-request-id", id)];
    let target = format!("{factory}/pipelines/{pipeline}/createRun?api-version=2018-06-01");
    assert_eq!(ask(&sim, &Ask { method: "POST", target: &target, headers, body: None }).status, 200);
    sim.set_run_status(id, "Succeeded");
    let target = format!("{factory}/pipelineruns/{id}?api-version=2018-06-01");
    let answer = replay_at(&sim, &exchange, &target, &token);
    assert_eq!(answer.status, 200);
    let mut shown = answer.json();
    // The sample is older than this key, which all recordings have.
    assert_eq!(differences(wanted, &shown), ["/id is not recorded"]);
    shown.as_object_mut().unwrap().remove("id");
    let mut wanted = wanted.clone();
    for pointer in OF_ITS_TIME {
        *wanted.pointer_mut(pointer).unwrap() = Value::Null;
        *shown.pointer_mut(pointer).unwrap() = Value::Null;
    }
    assert_eq!(shown, wanted);
}

#[test]
fn what_is_not_offered_is_refused_and_not_invented() {
    let sim = sim();
    for (name, why) in NOT_OFFERED {
        let answer = replay(&sim, &exchange(name));
        assert_refused(&answer, 404, "InvalidResourceType");
        assert!(!why.is_empty());
    }
}
