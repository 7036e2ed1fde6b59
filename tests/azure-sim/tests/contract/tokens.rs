//! The token endpoints and the resource manager answer in their documented shapes, each of which is asked
//! for here.

use azure_sim::{Effect, Fault, Operation, Place as Factory};
use serde_json::Value;

use crate::client::{Answer, GOOD_FORM, Place, TENANT, ask, factory, form, sim, token_answer};
use crate::shapes::{assert_refused, challenge, differences};

const DOCUMENTED: &str = include_str!("../../data/token-and-arm-responses.json");

/// A good form for v1, which names a resource instead of a scope.
fn v1_form() -> String {
    GOOD_FORM.replace("scope=", "resource=").replace(".default", "")
}

/// An answer of the shape with this name.
fn answer_of(name: &str) -> Answer {
    let mut place = Place::new();
    let v2 = |place: &Place| token_answer(&place.sim, TENANT);
    let refused = |place: &Place, number| {
        place.sim.set(|switches| switches.aadsts = Some(number));
        v2(place)
    };
    let faulty = |place: &Place, effect| {
        place.sim.set(|switches| switches.faults.push(Fault::always(Operation::CreateRun, effect)));
        place.post("/pipelines/A/createRun", "{}")
    };
    match name {
        "entra_v2_success" => v2(&place),
        "entra_v2_success_with_refresh_in" => {
            place.sim.set(|switches| switches.token_refresh_in = Some(43_199));
            v2(&place)
        }
        "entra_v1_success" => ask(&place.sim, &form("/contoso/oauth2/token", &v1_form())),
        "entra_error_invalid_secret" => {
            place.sim.set(|switches| switches.client_secret = "another".to_owned());
            v2(&place)
        }
        "entra_error_expired_secret" => refused(&place, 7_000_222),
        "entra_error_app_not_in_tenant" => {
            place.sim.set(|switches| switches.client_id = "another".to_owned());
            v2(&place)
        }
        "entra_error_tenant_not_found" => {
            place.sim.set(|switches| switches.tenant = "another".to_owned());
            v2(&place)
        }
        "entra_error_transient" => refused(&place, 90_033),
        "arm_401_expired" => {
            place.sim.set(|switches| switches.token_lifetime_secs = 0);
            place.renew();
            place.get("/pipelines")
        }
        "arm_403" => faulty(&place, Effect::error(403, "AuthorizationFailed", "it may not")),
        "arm_404_factory" => {
            let another = Factory { factory: "a".to_owned(), ..factory() };
            place.sim.set(|switches| switches.factories = Some(vec![another]));
            place.get("/pipelines")
        }
        "arm_429" => faulty(&place, Effect::throttled("10")),
        _ => panic!("nothing is known that gives an answer of the shape {name}"),
    }
}

/// The words of a header that lists some.
fn words(header: &str) -> Vec<&str> {
    let mut words: Vec<&str> = header.split(", ").collect();
    words.sort_unstable();
    words
}

fn assert_headers(name: &str, documented: &Value, answer: &Answer) {
    for (header, wanted) in documented.as_object().into_iter().flatten() {
        let wanted = wanted.as_str().unwrap();
        let given = answer.header(header).unwrap_or_else(|| panic!("{name} lacks {header}"));
        match header.as_str() {
            "WWW-Authenticate" => assert_eq!(challenge(given), challenge(wanted), "{name}"),
            _ => assert_eq!(words(given), words(wanted), "{name}: {header}"),
        }
    }
}

#[test]
fn every_documented_shape_is_the_shape_of_an_answer() {
    let documented: Value = serde_json::from_str(DOCUMENTED).unwrap();
    let shapes = documented.as_object().unwrap().iter().filter(|(name, _)| *name != "about");
    for (name, shape) in shapes {
        let answer = answer_of(name);
        assert_eq!(u64::from(answer.status), shape["status"], "{name}: {answer:?}");
        assert_headers(name, &shape["headers"], &answer);
        let (wanted, given) = (&shape["body"], &answer.json());
        let mut found = differences(wanted, given);
        // Documented as optional; the stand-in always says it.
        found.retain(|difference| difference != "/error_uri is not recorded");
        assert!(found.is_empty(), "{name}: {found:?}");
        if name.starts_with("arm_") {
            assert_refused(&answer, answer.status, wanted["error"]["code"].as_str().unwrap());
        } else if name.starts_with("entra_error") {
            assert_aadsts(name, wanted, given);
        }
    }
}

/// A refusal of Entra ID is known by its number; who asks Microsoft needs the ids and the time.
fn assert_aadsts(name: &str, wanted: &Value, given: &Value) {
    assert_eq!(given["error_codes"], wanted["error_codes"], "{name}");
    // The word for a missing tenant changed in 2023; older captures have the documented one.
    let word = if name == "entra_error_tenant_not_found" {
        "invalid_tenant"
    } else {
        wanted["error"].as_str().unwrap()
    };
    assert_eq!(given["error"], word, "{name}");
    let text = given["error_description"].as_str().unwrap();
    assert!(text.starts_with(&format!("AADSTS{}: ", given["error_codes"][0])), "{text}");
    let value = |key: &str| given[key].as_str().unwrap();
    let ids = format!(
        "Trace ID: {} Correlation ID: {} Timestamp: {}",
        value("trace_id"),
        value("correlation_id"),
        value("timestamp")
    );
    assert!(text.ends_with(&ids), "{text}");
}

#[test]
fn a_malformed_request_for_a_token_is_refused_by_its_number() {
    let sim = sim();
    let refused = |body: &str, status: u16, number: u32| {
        let answer = ask(&sim, &form("/contoso/oauth2/v2.0/token", body));
        let given = answer.json();
        assert_eq!((answer.status, &given["error_codes"][0]), (status, &Value::from(number)), "{body}");
        let wanted: Value = serde_json::from_str(DOCUMENTED).unwrap();
        let found = differences(&wanted["entra_error_invalid_secret"]["body"], &given);
        assert!(found.is_empty(), "{found:?}");
    };
    for missing in ["grant_type", "client_id", "client_secret", "scope"] {
        refused(&GOOD_FORM.replace(&format!("{missing}="), "other="), 400, 900_144);
    }
    refused(&GOOD_FORM.replace("client_credentials", "password"), 400, 70_003);
    refused(&GOOD_FORM.replace("%2F.default", ""), 400, 1_002_012);
    refused(&format!("{GOOD_FORM}&client_assertion=a"), 400, 900_144);
    let kind = "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    refused(&format!("{GOOD_FORM}&client_assertion=a{kind}"), 401, 50_027);
    assert_eq!(ask(&sim, &form("/contoso/oauth2/v2.0/token", GOOD_FORM)).status, 200);
}

#[test]
fn a_token_is_of_use_from_either_endpoint() {
    let sim = sim();
    for (target, body) in
        [("/contoso/oauth2/token", v1_form()), ("/contoso/oauth2/v2.0/token", GOOD_FORM.to_owned())]
    {
        let answer = ask(&sim, &form(target, &body)).json();
        let token = format!("Bearer {}", answer["access_token"].as_str().unwrap());
        let target = format!("{}/pipelines?api-version=2018-06-01", crate::client::FACTORY);
        let headers = vec![("authorization", token.as_str())];
        let request = crate::client::Ask { method: "GET", target: &target, headers, body: None };
        assert_eq!(ask(&sim, &request).status, 200);
    }
    let carried: Vec<_> = sim.requests().iter().filter_map(|request| request.token).collect();
    assert_eq!(carried, [1, 2]);
}
