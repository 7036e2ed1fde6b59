//! One token for all calls, fresh at every instant.

use azure_sim::{Effect, Fault, Operation, TokenEndpointDown};
use serde_json::Value;

use crate::process::{LIMIT, Place, SECRET, TENANT, of};
use crate::stage::before;
use crate::witness::Witness;

const CONSTANT: &str = "pipelines:
  - { name: a, pipeline: A, schedule: { every: 1s } }
  - { name: b, pipeline: B, schedule: { every: 1s } }
  - { name: c, pipeline: C, schedule: { every: 1s } }
";

#[test]
fn a_token_of_five_seconds_is_never_used_after_it_expires_and_fetched_once_at_a_time() {
    let place = Place::new();
    place.sim.set(|switches| {
        switches.token_lifetime_secs = 5;
        switches.token_delay_ms = 300;
    });
    place.write(CONSTANT);
    let daemon = place.daemon();
    daemon.wait_for_count("token.acquired", 5);
    daemon.wait_for_count("run.created", 30);
    let ended = daemon.stop();
    assert!(of(&ended.events, "attempt.failed").is_empty(), "{}", ended.output);
    let (expired, at_once) = place.sim.wait_until(LIMIT, "requests", |seen| {
        Some((seen.requests.iter().filter(|r| r.token_expired).count(), seen.max_token_requests_at_once))
    });
    assert_eq!((expired, at_once), (0, 1));
}

#[test]
fn a_token_endpoint_that_is_down_affects_no_firing_while_the_token_is_valid() {
    let place = Place::new();
    // It is renewed after one half of its life, and its users have eight seconds more.
    place.sim.set(|switches| switches.token_lifetime_secs = 20);
    place.write(CONSTANT);
    let witness = Witness::of(&place.sim);
    let daemon = place.daemon();
    daemon.wait_for("token.acquired", |_| true);
    place.sim.set(|switches| switches.token_endpoint_down = TokenEndpointDown::Status(503));
    let failed = daemon.wait_for("token.refresh_failed", |_| true);
    assert_eq!(failed["level"], "WARN", "nobody need get up while the old token is good");
    assert!(failed["usable_for_secs"].as_u64().unwrap() > 0, "{failed}");
    let before = of(&daemon.events(), "run.created").len();
    daemon.wait_for_count("run.created", before + 6);
    place.sim.set(|switches| switches.token_endpoint_down = TokenEndpointDown::None);
    daemon.wait_for_count("token.acquired", 2);
    let ended = daemon.stop();
    let late = witness.late_at_most(1_000);
    for event in of(&ended.events, "run.created") {
        assert!(late.contains(&event["lateness_ms"].as_i64().unwrap()), "{event}");
        assert_eq!(event["attempt"], 1, "{event}");
    }
}

#[test]
fn a_firing_waits_for_the_token_and_is_no_attempt_meanwhile() {
    let (place, daemon) = before(2, |at| {
        let place = Place::new();
        place.sim.set(|switches| switches.token_endpoint_down = TokenEndpointDown::Reset);
        place.write(&format!("pipelines:\n  - {{ name: a, pipeline: A, schedule: {{ at: '{at}' }} }}\n"));
        let daemon = place.daemon_before(at)?;
        Some((place, daemon))
    });
    let failed = daemon.wait_for("token.refresh_failed", |_| true);
    assert_eq!(failed["level"], "ERROR");
    place.sim.wait_until(LIMIT, "some tries", |seen| (seen.count(Operation::Token) >= 4).then_some(()));
    place.sim.set(|switches| switches.token_endpoint_down = TokenEndpointDown::None);
    let created = daemon.wait_for("run.created", |_| true);
    assert_eq!(created["attempt"], 1, "{created}");
}

#[test]
fn a_wrong_secret_is_said_with_its_number_and_what_to_do() {
    let place = Place::new();
    place.sim.set(|switches| switches.client_secret = "another".to_owned());
    place.write(CONSTANT);
    let daemon = place.daemon();
    let failed = daemon.wait_for("token.refresh_failed", |_| true);
    assert_eq!(failed["aadsts"], "AADSTS7000215", "{failed}");
    assert!(failed["message"].as_str().unwrap().contains("the client secret is wrong"), "{failed}");
    // The right secret in the file needs no restart.
    std::fs::write(place.path("client-secret"), "another\n").unwrap();
    daemon.reload();
    daemon.wait_for("run.created", |_| true);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_secret_that_is_missing_is_said_and_awaited() {
    let place = Place::new();
    std::fs::remove_file(place.path("client-secret")).unwrap();
    place.write(CONSTANT);
    let daemon = place.daemon();
    let failed = daemon.wait_for("token.refresh_failed", |_| true);
    let said = failed["message"].as_str().unwrap();
    assert!(said.contains("client-secret") && said.contains("cannot be read"), "{said}");
    std::fs::write(place.path("client-secret"), SECRET).unwrap();
    daemon.wait_for("run.created", |_| true);
}

#[test]
fn both_token_endpoints_take_a_secret_that_a_form_must_escape() {
    for endpoint in ["v1", "v2"] {
        let place = Place::new();
        let azure = place
            .azure()
            .replace("  subscription_id", &format!("  token_endpoint: {endpoint}\n  subscription_id"));
        place.write_raw(format!("{azure}ledger: {}\n{CONSTANT}", place.path("ledger.db").display()));
        let daemon = place.daemon();
        daemon.wait_for("run.created", |_| true);
        let path = match endpoint {
            "v1" => format!("/{TENANT}/oauth2/token"),
            _ => format!("/{TENANT}/oauth2/v2.0/token"),
        };
        let requests = place.sim.requests();
        let token = requests.iter().find(|request| request.operation == Operation::Token).unwrap();
        assert_eq!(token.path, path);
    }
}

#[test]
fn a_service_that_refuses_every_token_does_not_make_us_ask_for_ever_more() {
    let place = Place::new();
    place.sim.set(|switches| {
        let refused = Effect::error(401, "InvalidAuthenticationToken", "no");
        switches.faults.push(Fault::always(Operation::CreateRun, refused));
    });
    place.write(CONSTANT);
    let daemon = place.daemon();
    daemon.wait_for_count("firing.rejected", 12);
    daemon.stop();
    assert_eq!(place.sim.requests().iter().filter(|r| r.operation == Operation::Token).count(), 2);
}

#[test]
fn a_revoked_token_is_refreshed_once_for_all_and_no_firing_is_lost() {
    let place = Place::new();
    // Whoever follows runs may meet the revoked token first.
    place.write(&format!("defaults: {{ follow: false }}\n{CONSTANT}"));
    let daemon = place.daemon();
    daemon.wait_for_count("run.created", 3);
    place.sim.revoke_tokens();
    daemon.wait_for("attempt.failed", |event| event["http_status"] == 401);
    let before = of(&daemon.events(), "run.created").len();
    daemon.wait_for_count("run.created", before + 6);
    let ended = daemon.stop();
    assert_eq!(of(&ended.events, "token.acquired").len(), 2, "{}", ended.output);
    assert!(of(&ended.events, "firing.rejected").is_empty());
    let second: Vec<&Value> =
        ended.events.iter().filter(|e| e["event"] == "run.created" && e["attempt"] == 2).collect();
    assert!(!second.is_empty(), "the call that met the revoked token is made again: {}", ended.output);
}
