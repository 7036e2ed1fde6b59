//! The client assertion: a signed statement that we are the application, instead of a secret. PS256 with
//! the certificate's SHA-256 thumbprint, fresh for every request (Microsoft's page "certificate
//! credentials").

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;
use x509_parser::pem::Pem;

use crate::secret::Secret;

/// How long an assertion is good for, in seconds; Microsoft recommends five to ten minutes.
const LIFETIME_SECS: i64 = 300;

/// Why there is no assertion.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssertionError {
    /// The PEM text has no such part.
    #[error("the client certificate's PEM holds no {0}; it needs the certificate and its RSA private key")]
    Missing(&'static str),
    /// A part cannot be read.
    #[error("the client certificate's PEM holds a {0} that cannot be read")]
    Unreadable(&'static str),
    /// The certificate is not valid now.
    #[error(
        "the client certificate is valid from {from} to {to} only; install a new one, here and in the app registration, or check this host's clock"
    )]
    NotValidNow {
        /// Its first instant.
        from: String,
        /// Its last instant.
        to: String,
    },
    /// It could not be signed.
    #[error("the assertion could not be signed with the client certificate's key")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a str,
    iss: &'a str,
    sub: &'a str,
    jti: String,
    nbf: i64,
    iat: i64,
    exp: i64,
}

/// An assertion for the token endpoint `audience`, with this id of its own.
pub(super) fn sign(
    pem: &Secret,
    client_id: &str,
    audience: &str,
    jti: uuid::Uuid,
    now: Timestamp,
) -> Result<Secret, AssertionError> {
    let certificate = Pem::iter_from_buffer(pem.expose().as_bytes())
        .filter_map(Result::ok)
        .find(|part| part.label == "CERTIFICATE")
        .ok_or(AssertionError::Missing("certificate"))?;
    check_validity(&certificate, now)?;
    let key = private_key(pem.expose()).ok_or(AssertionError::Missing("private key"))?;
    let key = EncodingKey::from_rsa_pem(key.as_bytes())
        .map_err(|_| AssertionError::Unreadable("private key (it must be RSA and not encrypted)"))?;
    let thumbprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &certificate.contents);
    let mut header = Header::new(Algorithm::PS256);
    header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(thumbprint));
    let iat = now.as_second();
    let claims = Claims {
        aud: audience,
        iss: client_id,
        sub: client_id,
        jti: jti.to_string(),
        nbf: iat,
        iat,
        exp: iat + LIFETIME_SECS,
    };
    jsonwebtoken::encode(&header, &claims, &key).map(Secret::new).map_err(AssertionError::Sign)
}

fn check_validity(certificate: &Pem, now: Timestamp) -> Result<(), AssertionError> {
    let parsed = certificate.parse_x509().map_err(|_| AssertionError::Unreadable("certificate"))?;
    let validity = parsed.validity();
    let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if (from..=to).contains(&now.as_second()) {
        return Ok(());
    }
    let show = |second| Timestamp::from_second(second).map(|at| at.to_string()).unwrap_or_default();
    Err(AssertionError::NotValidNow { from: show(from), to: show(to) })
}

/// The part of the text that is a private key.
fn private_key(pem: &str) -> Option<&str> {
    let begin = pem.match_indices("-----BEGIN ").find(|(at, _)| {
        pem[*at..].lines().next().is_some_and(|line| line.trim_end().ends_with("PRIVATE KEY-----"))
    })?;
    let rest = &pem[begin.0..];
    let end = rest.find("-----END ")?;
    let line = rest[end..].find('\n').map_or(rest.len(), |line_end| end + line_end);
    Some(&rest[..line])
}
