//! The switches of the token endpoint.

use azure_sim::{Operation, TokenEndpointDown};

use crate::client::{Answer, GOOD_FORM, LIMIT, Place, TENANT, form, send, token_answer};

/// The answer of the token endpoint, if it gives one.
fn answer(place: &Place) -> Option<Answer> {
    send(&place.sim, &form("/contoso/oauth2/v2.0/token", GOOD_FORM)).answer()
}

fn number(place: &Place) -> (u16, u64) {
    let answer = token_answer(&place.sim, TENANT);
    (answer.status, answer.json()["error_codes"][0].as_u64().unwrap())
}

#[test]
pub(crate) fn only_the_known_client_gets_a_token() {
    let place = Place::new();
    place.sim.set(|switches| switches.client_id = "another".to_owned());
    assert_eq!(number(&place), (400, 700_016));
}

#[test]
pub(crate) fn only_the_known_secret_gets_a_token() {
    let place = Place::new();
    place.sim.set(|switches| switches.client_secret = "another".to_owned());
    assert_eq!(number(&place), (401, 7_000_215));
}

#[test]
pub(crate) fn only_the_known_tenant_gives_tokens_and_accepts_its_own() {
    let mut place = Place::new();
    place.sim.set(|switches| switches.tenant = "fabrikam".to_owned());
    assert_eq!(number(&place), (400, 90_002));
    assert_eq!(place.get("/pipelines").code(), "InvalidAuthenticationTokenTenant");
    place.sim.set(|switches| switches.tenant = TENANT.to_owned());
    place.renew();
    assert_eq!(place.get("/pipelines").status, 200);
}

#[test]
pub(crate) fn a_token_is_refused_once_its_life_is_over() {
    let mut place = Place::new();
    place.sim.set(|switches| switches.token_lifetime_secs = 0);
    place.renew();
    let answer = place.get("/pipelines");
    assert_eq!((answer.status, answer.code().as_str()), (401, "ExpiredAuthenticationToken"));
    let request = place.sim.requests().pop().unwrap();
    assert_eq!((request.token, request.token_expired), (Some(2), true));
}

#[test]
pub(crate) fn a_token_says_when_to_renew_it_if_it_is_told_to() {
    let place = Place::new();
    assert!(token_answer(&place.sim, TENANT).json()["refresh_in"].is_null());
    place.sim.set(|switches| switches.token_refresh_in = Some(7));
    assert_eq!(token_answer(&place.sim, TENANT).json()["refresh_in"], 7);
}

#[test]
pub(crate) fn a_token_endpoint_that_is_down_answers_badly_or_not_at_all() {
    let place = Place::new();
    let down = |how| place.sim.set(|switches| switches.token_endpoint_down = how);
    down(TokenEndpointDown::Status(503));
    let said = answer(&place).unwrap();
    assert_eq!((said.status, said.header("content-type")), (503, Some("text/html")));
    down(TokenEndpointDown::Reset);
    assert!(answer(&place).is_none());
    down(TokenEndpointDown::None);
    assert_eq!(answer(&place).unwrap().status, 200);
    down(TokenEndpointDown::Hang);
    let pending = send(&place.sim, &form("/contoso/oauth2/v2.0/token", GOOD_FORM));
    let arrived = 5;
    place.sim.wait_until(LIMIT, "it", |seen| (seen.count(Operation::Token) == arrived).then_some(()));
    assert_eq!(place.get("/pipelines").status, 200, "the factory does not hang");
    drop(place);
    assert!(pending.answer().is_none(), "only the end of the stand-in ends it");
}

#[test]
pub(crate) fn a_slow_token_endpoint_answers_late() {
    let place = Place::new();
    place.sim.set(|switches| switches.token_delay_ms = 50);
    assert_eq!(answer(&place).unwrap().status, 200);
    let request = place.sim.requests().pop().unwrap();
    assert_eq!(request.operation, Operation::Token);
    assert!(request.answered_at.unwrap().duration_since(request.arrived_at).as_millis() >= 50);
}

#[test]
pub(crate) fn a_refusal_by_number_refuses_everybody() {
    let place = Place::new();
    for (asked, wanted) in [(7_000_222, 401), (700_016, 400), (90_002, 400), (900_144, 400), (90_033, 503)] {
        place.sim.set(|switches| switches.aadsts = Some(asked));
        assert_eq!(number(&place), (wanted, u64::from(asked)));
    }
}
