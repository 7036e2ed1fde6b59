//! Every refusal has the published shape of an error, and says what the client must know to go on.

use azure_sim::{Bucket, Effect, Fault, Operation, Place as Factory, Sim};

use crate::client::{Answer, Ask, FACTORY, Place, TENANT, ask, factory, raw, sim, token_of};
use crate::shapes::{assert_refused, assert_success};

const VERSION: &str = "api-version=2018-06-01";

/// The answer to a request that is made by hand, to the factory.
fn by_hand(sim: &Sim, method: &str, rest: &str, headers: &[(&str, &str)], body: Option<&str>) -> Answer {
    let target = format!("{FACTORY}{rest}");
    let body = body.map(str::to_owned);
    ask(sim, &Ask { method, target: &target, headers: headers.to_vec(), body })
}

#[test]
fn a_body_that_is_no_object_of_parameters_is_refused() {
    let place = Place::new();
    for body in ["{", "[]", "1", "null", "\"a\"", "{}{}"] {
        assert_refused(&place.post("/pipelines/A/createRun", body), 400, "BadRequest");
    }
    assert_eq!(place.sim.runs().len(), 0);
}

#[test]
fn a_query_without_its_required_fields_is_refused() {
    let place = Place::new();
    for body in ["", "{", "{}", r#"{"lastUpdatedAfter":"2000-01-01T00:00:00Z"}"#] {
        assert_refused(&place.post("/queryPipelineRuns", body), 400, "BadRequest");
    }
    for filter in [
        "{}",
        r#"{"operand":"Status","operator":"Equals"}"#,
        r#"{"operand":"Status","operator":"Equals","values":[1]}"#,
        r#"{"operand":"RunGroupId","operator":"In","values":["a","b"]}"#,
    ] {
        assert_refused(&place.query(&format!(r#","filters":[{filter}]"#)), 400, "BadRequest");
    }
}

#[test]
fn a_missing_or_wrong_version_is_refused_before_anything_else() {
    let sim = sim();
    let missing = by_hand(&sim, "GET", "/pipelines", &[], None);
    assert_refused(&missing, 400, "MissingApiVersionParameter");
    let wrong = by_hand(&sim, "GET", "/pipelines?api-version=2017-09-01-preview", &[], None);
    assert_refused(&wrong, 400, "InvalidApiVersionParameter");
}

#[test]
fn a_post_that_does_not_say_where_it_ends_is_refused_whatever_it_asks_for() {
    let place = Place::new();
    let run = place.run("{}");
    let head = |path: &str| format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n");
    let run = format!("{FACTORY}/pipelineruns/{run}/cancel?{VERSION}");
    let query = format!("{FACTORY}/queryPipelineRuns?{VERSION}");
    for path in ["/contoso/oauth2/token", "/contoso/oauth2/v2.0/token", &run, &query] {
        let answer = raw(&place.sim, &format!("{}\r\n", head(path))).answer().unwrap();
        assert_eq!((answer.status, answer.header("content-type")), (411, Some("text/html")), "{path}");
        for length in ["content-length: 0\r\n\r\n", "transfer-encoding: chunked\r\n\r\n0\r\n\r\n"] {
            let answer = raw(&place.sim, &format!("{}{length}", head(path))).answer().unwrap();
            assert_ne!(answer.status, 411, "{path} {length}");
        }
    }
    assert_eq!(place.sim.runs()[0].status, "Queued");
}

#[test]
fn a_plus_in_a_query_is_no_space() {
    let place = Place::new();
    let target = format!("{FACTORY}/pipelines?{}", VERSION.replace("api-version", "api+version"));
    let answer = ask(&place.sim, &Ask { method: "GET", target: &target, headers: Vec::new(), body: None });
    assert_refused(&answer, 400, "MissingApiVersionParameter");
}

#[test]
fn another_factory_has_none_of_the_runs() {
    let place = Place::new();
    let run = place.run("{}");
    assert_eq!(place.get(&format!("/pipelineruns/{run}")).status, 200);
    place.sim.set(|switches| switches.factories = None);
    for (known, other) in [
        ("1e42591f-1f0c-4c5a-b7f2-a268f6105ec5", "11111111-1111-1111-1111-111111111111"),
        ("resourceGroups/group", "resourceGroups/another"),
        ("factories/factory", "factories/another"),
    ] {
        let there = |rest: &str| format!("{}{rest}", FACTORY.replace(known, other));
        let call = |method, rest: &str, body: Option<&str>| {
            let target = there(rest);
            let token = format!("Bearer {}", token_of(&place.sim, TENANT));
            let headers = vec![("authorization", token.as_str()), ("content-type", "application/json")];
            ask(&place.sim, &Ask { method, target: &target, headers, body: body.map(str::to_owned) })
        };
        let got = call("GET", &format!("/pipelineruns/{run}?{VERSION}"), None);
        assert_refused(&got, 404, "PipelineRunNotFound");
        let cancelled = call("POST", &format!("/pipelineruns/{run}/cancel?{VERSION}"), None);
        assert_refused(&cancelled, 400, "ReferencedPipelineRunNotFound");
        let recovery = format!("/pipelines/A/createRun?{VERSION}&referencePipelineRunId={run}");
        assert_refused(&call("POST", &recovery, Some("{}")), 400, "ReferencedPipelineRunNotFound");
        let window =
            r#"{"lastUpdatedAfter":"2000-01-01T00:00:00Z","lastUpdatedBefore":"2100-01-01T00:00:00Z"}"#;
        let listed = call("POST", &format!("/queryPipelineRuns?{VERSION}"), Some(window));
        assert_eq!(listed.json()["value"].as_array().unwrap().len(), 0, "{other}");
    }
}

#[test]
fn a_subscription_that_is_no_guid_is_refused() {
    let sim = sim();
    let target = FACTORY.replace("1e42591f-1f0c-4c5a-b7f2-a268f6105ec5", "{subscriptionId}");
    let target = format!("{target}/pipelines?{VERSION}");
    let answer = ask(&sim, &Ask { method: "GET", target: &target, headers: Vec::new(), body: None });
    assert_refused(&answer, 400, "InvalidSubscriptionId");
}

#[test]
fn a_request_without_a_good_token_is_refused_with_a_challenge() {
    let sim = sim();
    let refused = |headers: &[(&str, &str)], code: &str| {
        let answer = by_hand(&sim, "GET", &format!("/pipelines?{VERSION}"), headers, None);
        assert_refused(&answer, 401, code);
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer authorization_uri=\""), "{challenge}");
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    };
    refused(&[], "AuthenticationFailed");
    refused(&[("authorization", "Bearer forged")], "InvalidAuthenticationToken");
    refused(&[("authorization", "Basic dXNlcjpwYXNz")], "InvalidAuthenticationToken");
    let token = format!("Bearer {}", token_of(&sim, TENANT));
    sim.set(|switches| switches.tenant = "fabrikam".to_owned());
    refused(&[("authorization", &token)], "InvalidAuthenticationTokenTenant");
    sim.set(|switches| {
        switches.tenant = TENANT.to_owned();
        switches.token_lifetime_secs = 0;
    });
    let expired = format!("Bearer {}", token_of(&sim, TENANT));
    refused(&[("authorization", &expired)], "ExpiredAuthenticationToken");
    sim.revoke_tokens();
    refused(&[("authorization", &token)], "InvalidAuthenticationToken");
}

#[test]
fn a_denied_permission_is_refused_as_injected() {
    let place = Place::new();
    let denied = Effect::error(403, "AuthorizationFailed", "The client does not have authorization.");
    for operation in [Operation::CreateRun, Operation::GetRun, Operation::QueryRuns, Operation::Cancel] {
        place.sim.set(|switches| switches.faults.push(Fault::always(operation, denied.clone())));
    }
    assert_refused(&place.post("/pipelines/A/createRun", "{}"), 403, "AuthorizationFailed");
    assert_refused(&place.get("/pipelineruns/a"), 403, "AuthorizationFailed");
    assert_refused(&place.query(""), 403, "AuthorizationFailed");
    assert_refused(&place.post("/pipelineruns/a/cancel", ""), 403, "AuthorizationFailed");
    assert_success("PipelineResource", &place.get("/pipelines/A"));
}

#[test]
fn whatever_does_not_exist_is_refused_by_its_own_code() {
    let place = Place::new();
    assert_refused(
        &place.get("/pipelineruns/31f1bc88-c715-4cd9-b31f-73e51da2e079"),
        404,
        "PipelineRunNotFound",
    );
    assert_refused(&place.post("/pipelineruns/a/cancel", ""), 400, "ReferencedPipelineRunNotFound");
    assert_refused(&place.get("/triggers"), 404, "InvalidResourceType");
    place.sim.set(|switches| switches.pipelines = Some([].into()));
    assert_refused(&place.get("/pipelines/A"), 404, "NotFound");
    assert_refused(&place.post("/pipelines/A/createRun", "{}"), 404, "EntityNotFound");
    place
        .sim
        .set(|switches| switches.factories = Some(vec![Factory { factory: "a".to_owned(), ..factory() }]));
    for answer in [place.get("/pipelines/A"), place.post("/pipelines/A/createRun", "{}"), place.query("")] {
        assert_refused(&answer, 404, "ResourceNotFound");
        assert_eq!(answer.header("x-ms-failure-cause"), Some("gateway"));
    }
}

#[test]
fn a_run_that_has_ended_cannot_be_cancelled() {
    let place = Place::new();
    let run = place.run("{}");
    for status in ["Succeeded", "Failed", "Cancelled"] {
        place.sim.set_run_status(&run, status);
        assert_refused(&place.post(&format!("/pipelineruns/{run}/cancel"), ""), 400, "PipelineRunNotRunning");
    }
}

#[test]
fn a_recovery_of_an_unknown_run_is_refused_and_starts_nothing() {
    let place = Place::new();
    let token = format!("Bearer {}", token_of(&place.sim, TENANT));
    let rest = format!("/pipelines/A/createRun?{VERSION}&referencePipelineRunId=a&isRecovery=true");
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let answer = by_hand(&place.sim, "POST", &rest, &headers, Some("{}"));
    assert_refused(&answer, 400, "ReferencedPipelineRunNotFound");
    assert_eq!(place.sim.runs().len(), 0);
}

#[test]
fn a_method_that_is_not_offered_is_refused() {
    let sim = sim();
    for (method, path) in [
        ("GET", "/pipelines/A/createRun"),
        ("PUT", "/pipelines/A"),
        ("DELETE", "/pipelineruns/a"),
        ("GET", "/queryPipelineRuns"),
    ] {
        let answer = by_hand(&sim, method, &format!("{path}?{VERSION}"), &[], None);
        assert_refused(&answer, 405, "MethodNotAllowed");
    }
}

#[test]
fn a_body_that_is_not_said_to_be_json_is_refused() {
    let sim = sim();
    let token = format!("Bearer {}", token_of(&sim, TENANT));
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        let headers = [("authorization", token.as_str()), ("content-type", kind)];
        let rest = format!("/pipelines/A/createRun?{VERSION}");
        let answer = by_hand(&sim, "POST", &rest, &headers, Some("{}"));
        assert_refused(&answer, 415, "UnsupportedMediaType");
    }
    assert_eq!(sim.runs().len(), 0);
}

#[test]
fn a_spent_budget_is_refused_with_the_seconds_to_wait() {
    let place = Place::new();
    let set = |refill_per_sec| {
        place.sim.set(|switches| switches.bucket = Some(Bucket { capacity: 1.0, refill_per_sec }));
    };
    set(0.001);
    let last = place.create("31f1bc88-c715-4cd9-b31f-73e51da2e079");
    assert_eq!((last.status, last.header("x-ms-ratelimit-remaining-subscription-writes")), (200, Some("0")));
    let wait = |answer: &Answer| {
        assert_refused(answer, 429, "SubscriptionRequestsThrottled");
        answer.header("retry-after").unwrap().parse::<u32>().unwrap()
    };
    assert!((900..=1_000).contains(&wait(&place.create("52588188-5b08-4976-acc3-6f294595d5e2"))));
    // Also a budget that never comes back is said in whole seconds.
    set(0.0);
    assert_eq!(wait(&place.create("52588188-5b08-4976-acc3-6f294595d5e2")), 3_600);
    assert_eq!(place.sim.runs().len(), 1);
}

#[test]
fn a_failing_service_is_told_in_the_published_shape() {
    let place = Place::new();
    for (status, code) in [
        (500, "InternalServerError"),
        (502, "BadGateway"),
        (503, "ServiceUnavailable"),
        (504, "GatewayTimeout"),
    ] {
        let fault =
            Fault::always(Operation::CreateRun, Effect::error(status, code, "it is said why")).times(1);
        place.sim.set(|switches| switches.faults.push(fault));
        assert_refused(&place.post("/pipelines/A/createRun", "{}"), status, code);
    }
    assert_eq!(place.sim.runs().len(), 0);
}
