//! Client assertions: signed by a registered certificate, meant for the endpoint, in time, and used once.

use azure_sim::Sim;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};

use crate::client::{Answer, GOOD_FORM, TENANT, ask, form, sim, token_answer};

const CLIENT: &str = "6731de76-14a6-49ae-97bc-6eba6914391e";

/// A certificate and its key.
struct Certificate {
    pem: String,
    thumbprint: String,
    key: EncodingKey,
}

impl Certificate {
    fn new() -> Self {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate.der());
        Self {
            pem: certificate.pem(),
            thumbprint: URL_SAFE_NO_PAD.encode(digest),
            key: EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).unwrap(),
        }
    }

    fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::PS256);
        header.x5t_s256 = Some(self.thumbprint.clone());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }
}

/// Good claims with this id, in the stand-in's own time.
fn claims(sim: &Sim, id: &str) -> Value {
    token_answer(sim, TENANT);
    let now = sim.requests().last().unwrap().arrived_at.as_second();
    json!({
        "aud": format!("{}/{TENANT}/oauth2/v2.0/token", sim.url()),
        "iss": CLIENT, "sub": CLIENT, "jti": id, "nbf": now, "iat": now, "exp": now + 300,
    })
}

/// Asks for a token with an assertion instead of a secret.
fn answer(sim: &Sim, assertion: &str) -> Answer {
    let instead = format!(
        "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion={assertion}"
    );
    let body = GOOD_FORM.replace("client_secret=secret", &instead);
    ask(sim, &form(&format!("/{TENANT}/oauth2/v2.0/token"), &body))
}

#[test]
fn an_assertion_gets_one_token_and_not_a_second() {
    let (sim, certificate) = (sim(), Certificate::new());
    sim.trust_certificate(&certificate.pem);
    let assertion = certificate.sign(&claims(&sim, "a"));
    assert_eq!(answer(&sim, &assertion).status, 200);
    let again = answer(&sim, &assertion);
    assert_eq!((again.status, &again.json()["error_codes"][0]), (401, &json!(50_027)));
    assert_eq!(answer(&sim, &certificate.sign(&claims(&sim, "b"))).status, 200);
}

#[test]
fn an_assertion_that_is_wrong_in_one_thing_is_refused_by_its_number() {
    let (sim, certificate, stranger) = (sim(), Certificate::new(), Certificate::new());
    sim.trust_certificate(&certificate.pem);
    let good = claims(&sim, "a");
    let with = |key: &str, value: Value| {
        let mut claims = good.clone();
        claims[key] = value;
        certificate.sign(&claims)
    };
    let second = |key: &str| good[key].as_i64().unwrap();
    for (what, assertion, number) in [
        ("a certificate that is not registered", stranger.sign(&good), 700_027),
        ("another endpoint", with("aud", json!(format!("{}/other/oauth2/v2.0/token", sim.url()))), 700_027),
        ("another issuer", with("iss", json!("another")), 50_048),
        ("a time that is over", with("exp", json!(second("nbf") - 60)), 700_024),
        ("a time to come", with("nbf", json!(second("exp") + 600)), 700_024),
        ("too long a time", with("exp", json!(second("nbf") + 86_400)), 700_024),
        ("no JWT", "a.b.c".to_owned(), 50_027),
    ] {
        let answer = answer(&sim, &assertion);
        assert_eq!((answer.status, &answer.json()["error_codes"][0]), (401, &json!(number)), "{what}");
    }
    assert_eq!(answer(&sim, &certificate.sign(&good)).status, 200, "nothing of it was used up");
}
