//! A client certificate instead of a secret.

use azure_sim::Operation;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::process::{CLIENT, Place, of};

/// A certificate with its key, valid from and to these days from today.
fn certificate(from_days: i64, to_days: i64) -> (String, String) {
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    let day = |days: i64| {
        let at = crate::process::now() + jiff::SignedDuration::from_hours(24 * days);
        let date = at.to_zoned_datetime(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(
            i32::from(date.year()),
            date.month().try_into().unwrap(),
            date.day().try_into().unwrap(),
        )
    };
    parameters.not_before = day(from_days);
    parameters.not_after = day(to_days);
    let certificate = parameters.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A place whose schedule uses the certificate in `client.pem`.
fn place(endpoint: &str, pem: &str) -> Place {
    let place = Place::new();
    std::fs::write(place.path("client.pem"), pem).unwrap();
    let secret = format!("client_secret: {{ file: {} }}", place.path("client-secret").display());
    let instead = format!(
        "client_certificate: {{ file: {} }}\n  token_endpoint: {endpoint}",
        place.path("client.pem").display()
    );
    place.write_raw(format!(
        "{}ledger: {}\ndaemon: {{ heartbeat: 1s, horizon: 3s }}\npipelines:\n  - {{ name: a, pipeline: A, schedule: {{ every: 1s }} }}\n",
        place.azure().replace(&secret, &instead),
        place.path("ledger.db").display()
    ));
    place
}

#[test]
fn both_token_endpoints_verify_a_fresh_assertion_for_each_token() {
    for endpoint in ["v1", "v2"] {
        let (public, private) = certificate(-1, 10);
        let place = place(endpoint, &format!("{private}{public}"));
        place.sim.trust_certificate(&public);
        // Short tokens ask for several assertions; one that was used before would be refused.
        place.sim.set(|switches| switches.token_lifetime_secs = 4);
        let daemon = place.daemon();
        daemon.wait_for_count("token.acquired", 3);
        daemon.wait_for("run.created", |_| true);
        let ended = daemon.stop();
        assert!(of(&ended.events, "token.refresh_failed").is_empty(), "{}", ended.output);
        assert!(!ended.output.contains("PRIVATE KEY") && !ended.output.contains("eyJ"));
        assert!(place.sim.requests().iter().any(|r| r.operation == Operation::Token), "{CLIENT}");
    }
}

#[test]
fn a_certificate_that_is_not_registered_is_said_with_its_number() {
    let (public, private) = certificate(-1, 10);
    let place = place("v2", &format!("{private}{public}"));
    let daemon = place.daemon();
    let failed = daemon.wait_for("token.refresh_failed", |_| true);
    assert_eq!(failed["aadsts"], "AADSTS700027");
    assert!(failed["message"].as_str().unwrap().contains("not registered"), "{failed}");
}

#[test]
fn an_expired_certificate_is_said_with_its_dates_before_anybody_is_asked() {
    let (public, private) = certificate(-20, -10);
    let place = place("v1", &format!("{private}{public}"));
    place.sim.trust_certificate(&public);
    let daemon = place.daemon();
    let failed = daemon.wait_for("token.refresh_failed", |_| true);
    let said = failed["message"].as_str().unwrap();
    assert!(said.contains("valid from") && said.contains("install a new one"), "{said}");
    assert!(place.sim.requests().iter().all(|r| r.operation != Operation::Token));
}

#[test]
fn a_key_that_does_not_fit_its_certificate_is_refused() {
    let (public, _) = certificate(-1, 10);
    let (_, other) = certificate(-1, 10);
    let place = place("v1", &format!("{other}{public}"));
    place.sim.trust_certificate(&public);
    let daemon = place.daemon();
    let failed = daemon.wait_for("token.refresh_failed", |_| true);
    let said = failed["message"].as_str().unwrap();
    assert!(said.contains("its key does not fit") || said.contains("does not belong to"), "{said}");
}

#[test]
fn what_is_no_certificate_is_said_without_showing_it() {
    let (public, private) = certificate(-1, 10);
    for (pem, words) in [
        (public.clone(), "holds no private key"),
        (private.clone(), "holds no certificate"),
        ("nonsense canary".to_owned(), "holds no certificate"),
        (private.replace("MII", "AAA") + &public, "cannot be read"),
    ] {
        let place = place("v1", &pem);
        let daemon = place.daemon();
        let failed = daemon.wait_for("token.refresh_failed", |_| true);
        assert!(failed["message"].as_str().unwrap().contains(words), "{failed}");
        assert!(!daemon.stop().output.contains("canary"));
    }
}
