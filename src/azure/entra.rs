//! What Entra ID's token endpoint says, in both of its generations, and what its error numbers mean to
//! the person who must act. Pure.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::outcome::{Answer, clean, retry_after};
use crate::secret::Secret;

/// A token as it was granted.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) token: Secret,
    pub(super) lifetime: Duration,
    /// When the service would like it refreshed, counted from the request.
    pub(super) refresh_in: Option<Duration>,
}

/// Why no token was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    pub(super) message: String,
    pub(super) aadsts: Option<String>,
    /// Whether trying again soon is pointless: a person must act.
    pub(super) permanent: bool,
    pub(super) retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<Seconds>,
    expires_on: Option<Seconds>,
    refresh_in: Option<Seconds>,
}

#[derive(Deserialize)]
struct Denied {
    error: Option<String>,
    error_description: Option<String>,
    error_codes: Option<Vec<u64>>,
}

/// Seconds: a number at the v2 endpoint, a text at v1.
struct Seconds(u64);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        value
            .as_u64()
            .or_else(|| value.as_str()?.trim().parse().ok())
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("expected a number of seconds"))
    }
}

/// Reads the answer of a token endpoint.
pub(super) fn read(answer: &Answer, now: Timestamp) -> Result<Grant, Denial> {
    if answer.status == 200
        && let Ok(granted) = serde_json::from_slice::<Granted>(&answer.body)
    {
        let by_clock = |on: Seconds| {
            Duration::from_secs(on.0.saturating_sub(u64::try_from(now.as_second()).unwrap_or_default()))
        };
        let lifetime =
            granted.expires_in.map(|s| Duration::from_secs(s.0)).or(granted.expires_on.map(by_clock));
        return Ok(Grant {
            token: Secret::new(granted.access_token),
            lifetime: lifetime.unwrap_or(Duration::from_secs(300)),
            refresh_in: granted.refresh_in.map(|s| Duration::from_secs(s.0)),
        });
    }
    Err(denial(answer, now))
}

fn denial(answer: &Answer, now: Timestamp) -> Denial {
    let denied = serde_json::from_slice::<Denied>(&answer.body).ok();
    let description = denied.as_ref().and_then(|d| d.error_description.clone()).unwrap_or_default();
    let number = denied
        .as_ref()
        .and_then(|d| d.error_codes.as_ref()?.first().copied())
        .or_else(|| description.strip_prefix("AADSTS")?.split(':').next()?.trim().parse().ok());
    let error = denied.and_then(|d| d.error).map(|error| clean(&error).chars().take(80).collect::<String>());
    let transient = answer.status == 429
        || answer.status >= 500
        || error.as_deref() == Some("temporarily_unavailable")
        || number.is_some_and(is_transient);
    let said: String = clean(&description).chars().take(600).collect();
    let mut message = match (error, said.is_empty()) {
        (Some(error), false) => format!("Entra ID said {error}: {said}"),
        (Some(error), true) => format!("Entra ID said {error}"),
        (None, _) => format!("Entra ID answered {} without a token", answer.status),
    };
    if let Some(advice) = number.and_then(advice) {
        message = format!("{advice} ({message})");
    }
    Denial {
        message,
        aadsts: number.map(|number| format!("AADSTS{number}")),
        permanent: !transient && (400..500).contains(&answer.status),
        retry_after: retry_after(answer, now),
    }
}

/// Numbers of Microsoft's error reference that pass by themselves.
fn is_transient(number: u64) -> bool {
    matches!(number, 50_033 | 90_006 | 90_012 | 90_024 | 90_033 | 90_055 | 90_090 | 90_091 | 50_196)
}

/// What to do about an error number (Microsoft's error reference, "AADSTS error codes").
fn advice(number: u64) -> Option<&'static str> {
    Some(match number {
        7_000_215 => "the client secret is wrong; store the secret's value, not its id",
        7_000_222 => "the client secret has expired; make a new one in the app registration and store it",
        7_000_216 | 7_000_218 | 900_144 => {
            "the credential did not arrive; check azure.client_secret or azure.client_certificate"
        }
        700_016 | 700_011 => {
            "the app registration is not in this tenant; check azure.client_id and azure.tenant_id"
        }
        90_002 => "there is no such tenant; check azure.tenant_id",
        90_038 => "the tenant is in another national cloud; check azure.cloud",
        700_027 => "the certificate is not registered for this app, or its key does not fit",
        500_133 | 700_024 => "the assertion's times were refused; check this host's clock",
        50_012 | 50_013 | 50_048 | 50_027 => "the assertion was refused; check the certificate and its key",
        500_011 | 50_001 => "azure.audience is not known in this tenant",
        70_011 | 1_002_012 => "azure.audience is not valid at the v2 endpoint",
        7_000_112 | 70_001 => "the application is disabled",
        53_003 | 53_000 => "a Conditional Access policy blocks the application",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() }
    }

    fn at() -> Timestamp {
        Timestamp::from_second(1_000).unwrap()
    }

    #[test]
    fn both_generations_of_answers_are_read() {
        let v2 =
            read(&answer(200, r#"{"access_token":"t","expires_in":3599,"refresh_in":1800}"#), at()).unwrap();
        assert_eq!((v2.lifetime.as_secs(), v2.refresh_in.unwrap().as_secs()), (3_599, 1_800));
        let v1 = read(&answer(200, r#"{"access_token":"t","expires_in":"3599"}"#), at()).unwrap();
        assert_eq!(v1.lifetime.as_secs(), 3_599);
        let on = read(&answer(200, r#"{"access_token":"t","expires_on":"1600"}"#), at()).unwrap();
        assert_eq!(on.lifetime.as_secs(), 600);
    }

    #[test]
    fn a_denial_says_what_to_do_and_whether_to_hurry() {
        let body = r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired.\r\nTrace ID: x","error_codes":[7000222]}"#;
        let expired = read(&answer(401, body), at()).unwrap_err();
        assert_eq!(expired.aadsts.as_deref(), Some("AADSTS7000222"));
        assert!(expired.permanent && expired.message.starts_with("the client secret has expired"));
        assert!(!read(&answer(503, "<html>"), at()).unwrap_err().permanent);
        assert!(!read(&answer(400, r#"{"error":"temporarily_unavailable"}"#), at()).unwrap_err().permanent);
        assert!(!read(&answer(200, "{}"), at()).unwrap_err().permanent);
    }
}
