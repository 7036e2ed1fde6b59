//! Entra ID: both token endpoints, with a client secret or a client assertion.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use x509_parser::pem::Pem;

use crate::answers::Reply;
use crate::seen::{Inside, Issued, monotonic, now};
use crate::server::Call;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The error that a client may wait out.
const TRANSIENT: &str = "temporarily_unavailable";

/// The token that a call carries, if it is known.
pub(crate) fn carried<'a>(inside: &'a Inside, call: &Call) -> Option<&'a Issued> {
    let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    token.and_then(|token| inside.tokens.get(token))
}

/// An AADSTS error.
struct Denied {
    status: u16,
    error: &'static str,
    number: u32,
    text: String,
}

fn denied(status: u16, error: &'static str, number: u32, text: impl Into<String>) -> Denied {
    Denied { status, error, number, text: text.into() }
}

/// How Entra ID answers with a number that was asked for; most are about the client's credential.
fn denied_as(number: u32) -> Denied {
    let (status, error) = match number {
        50_033 | 90_006 | 90_012 | 90_024 | 90_033 => (503, TRANSIENT),
        90_002 => (400, "invalid_tenant"),
        700_011 | 700_016 => (400, "unauthorized_client"),
        900_144 | 9_002_313 => (400, "invalid_request"),
        _ => (401, "invalid_client"),
    };
    denied(status, error, number, "Refused as was asked for.")
}

impl Denied {
    /// The shape of Microsoft's page "AADSTS error codes".
    fn reply(&self) -> Reply {
        let (trace, correlation) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
        let stamp = now().strftime("%Y-%m-%d %H:%M:%SZ").to_string();
        let description = format!(
            "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {stamp}",
            self.number, self.text
        );
        let mut reply = Reply::json(
            self.status,
            &json!({
                "error": self.error,
                "error_description": description,
                "error_codes": [self.number],
                "timestamp": stamp,
                "trace_id": trace.to_string(),
                "correlation_id": correlation.to_string(),
                "error_uri": format!("https://login.microsoftonline.com/error?code={}", self.number),
            }),
        );
        if self.error == TRANSIENT {
            reply.headers.push(("retry-after", "5".to_owned()));
        }
        reply
    }
}

/// Grants or refuses a token.
pub(crate) fn grant(inside: &mut Inside, url: &str, call: &Call, tenant: &str, v2: bool) -> Reply {
    match granted(inside, url, call, tenant, v2) {
        Ok(reply) => reply,
        Err(denied) => denied.reply(),
    }
}

fn granted(inside: &mut Inside, url: &str, call: &Call, tenant: &str, v2: bool) -> Result<Reply, Denied> {
    if call.method != "POST" {
        return Err(denied(400, "invalid_request", 900_561, "The endpoint only accepts POST requests."));
    }
    let kind = call.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(denied(400, "invalid_request", 900_144, "The request body must be a form."));
    }
    if !inside.switches.tenant.is_empty() && inside.switches.tenant != tenant {
        return Err(denied(400, "invalid_tenant", 90_002, format!("Tenant '{tenant}' not found.")));
    }
    if let Some(number) = inside.switches.aadsts {
        return Err(denied_as(number));
    }
    let form: Vec<(String, String)> = form_urlencoded::parse(&call.body).into_owned().collect();
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let required = |name: &str| {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        field(name).ok_or_else(|| denied(400, "invalid_request", 900_144, text))
    };
    if required("grant_type")? != "client_credentials" {
        return Err(denied(400, "unsupported_grant_type", 70_003, "The grant type is not supported."));
    }
    let audience = if v2 {
        required("scope")?
            .strip_suffix("/.default")
            .ok_or_else(|| denied(400, "invalid_scope", 1_002_012, "The scope is not valid."))?
    } else {
        required("resource")?
    };
    let client = required("client_id")?;
    if client != inside.switches.client_id {
        let text = format!("Application with identifier '{client}' was not found in the directory.");
        return Err(denied(400, "unauthorized_client", 700_016, text));
    }
    match field("client_assertion") {
        Some(assertion) => {
            if field("client_assertion_type") != Some(ASSERTION_TYPE) {
                return Err(denied(400, "invalid_request", 900_144, "client_assertion_type is missing."));
            }
            check_assertion(inside, assertion, client, &format!("{url}{}", call.path))?;
        }
        None => {
            if required("client_secret")? != inside.switches.client_secret {
                return Err(denied(401, "invalid_client", 7_000_215, "Invalid client secret provided."));
            }
        }
    }
    Ok(new_token(inside, tenant, audience, v2))
}

fn new_token(inside: &mut Inside, tenant: &str, audience: &str, v2: bool) -> Reply {
    inside.granted += 1;
    let lifetime = inside.switches.token_lifetime_secs;
    let token = format!("eyJ0eXAiOiJKV1QifQ.{}.{}", inside.granted, uuid::Uuid::new_v4().simple());
    let good_for = Duration::from_secs(lifetime);
    let issued = Issued {
        number: inside.granted,
        tenant: tenant.to_owned(),
        expires: monotonic() + good_for,
        expires_at: now().checked_add(good_for).unwrap_or(Timestamp::MAX),
    };
    inside.tokens.insert(token.clone(), issued);
    let mut body = Map::new();
    body.insert("token_type".to_owned(), json!("Bearer"));
    // Numbers at v2, texts at v1 (recorded exchanges of both).
    let number = |value: u64| if v2 { json!(value) } else { json!(value.to_string()) };
    body.insert("expires_in".to_owned(), number(lifetime));
    body.insert("ext_expires_in".to_owned(), number(lifetime));
    if let Some(refresh_in) = inside.switches.token_refresh_in {
        body.insert("refresh_in".to_owned(), number(refresh_in));
    }
    if !v2 {
        let second = u64::try_from(now().as_second()).unwrap_or_default();
        body.insert("expires_on".to_owned(), number(second + lifetime));
        body.insert("not_before".to_owned(), number(second));
        body.insert("resource".to_owned(), json!(audience));
    }
    body.insert("access_token".to_owned(), json!(token));
    let mut reply = Reply::json(200, &Value::Object(body));
    for (name, value) in [("cache-control", "no-store, no-cache"), ("pragma", "no-cache"), ("expires", "-1")]
    {
        reply.headers.push((name, value.to_owned()));
    }
    reply
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    sub: String,
    jti: String,
    nbf: i64,
    exp: i64,
}

/// Checks a client assertion as Entra ID does (page "certificate credentials"): PS256, the thumbprint of a
/// registered certificate, its signature, audience, subject, times, and an id never seen before.
fn check_assertion(inside: &mut Inside, assertion: &str, client: &str, endpoint: &str) -> Result<(), Denied> {
    let refuse = |number, text: &str| denied(401, "invalid_client", number, text);
    let header = jsonwebtoken::decode_header(assertion).map_err(|_| refuse(50_027, "Invalid JWT token."))?;
    if header.alg != Algorithm::PS256 {
        return Err(refuse(700_030, "The algorithm is not allowed."));
    }
    let thumbprint = header.x5t_s256.ok_or_else(|| refuse(50_027, "The thumbprint is missing."))?;
    let key = inside
        .certificates
        .iter()
        .find_map(|pem| key_with(pem, &thumbprint))
        .ok_or_else(|| refuse(700_027, "The certificate with this thumbprint is not registered."))?;
    let mut validation = Validation::new(Algorithm::PS256);
    validation.set_audience(&[endpoint]);
    validation.validate_exp = false;
    let decoded = jsonwebtoken::decode::<Claims>(assertion, &key, &validation).map_err(|error| {
        refuse(700_027, &format!("Client assertion failed signature or audience validation: {error}."))
    })?;
    let claims = decoded.claims;
    let now = now().as_second();
    if claims.aud != endpoint {
        return Err(refuse(700_027, "The audience is not this endpoint."));
    }
    if claims.iss != client || claims.sub != client {
        return Err(refuse(50_048, "SubjectMismatchesIssuer."));
    }
    if claims.nbf > now + 300 || claims.exp < now || claims.exp - claims.nbf > 3_600 {
        return Err(refuse(700_024, "Client assertion is not within its valid time range."));
    }
    if !inside.assertions.insert(claims.jti) {
        return Err(refuse(50_027, "The assertion was used before."));
    }
    Ok(())
}

/// The public key of a certificate, if it has this thumbprint.
fn key_with(pem: &str, thumbprint: &str) -> Option<DecodingKey> {
    let certificate = Pem::iter_from_buffer(pem.as_bytes())
        .filter_map(Result::ok)
        .find(|part| part.label == "CERTIFICATE")?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.contents);
    if URL_SAFE_NO_PAD.encode(digest) != thumbprint {
        return None;
    }
    let parsed = certificate.parse_x509().ok()?;
    Some(DecodingKey::from_rsa_der(&parsed.public_key().subject_public_key.data))
}
