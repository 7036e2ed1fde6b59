//! How a call to Data Factory ended: pure classification, from what happened on the wire to what may be
//! done next. The one rule behind the table: *not started* is only said where it is certain.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::ids::RunId;

/// The longest text of the service that is kept.
const MOST_TEXT: usize = 2_048;
/// The longest wait that a service may ask for.
const MOST_WAIT: Duration = Duration::from_secs(86_400);

/// The codes of ARM's refusals that come with 409, or may (Microsoft's pages "Troubleshoot common Azure deployment
/// errors", "Disabled subscriptions", "Lock resources" and "Resource provider registration").
const REFUSALS: [&str; 12] = [
    "DisabledSubscription",
    "MissingRegistrationForLocation",
    "MissingRegistrationForType",
    "MissingSubscriptionRegistration",
    "ReadOnlyDisabledSubscription",
    "RequestDisallowedByAzure",
    "RequestDisallowedByPolicy",
    "ResourceGroupBeingDeleted",
    "ScopeLocked",
    "SubscriptionDisabled",
    "SubscriptionNotRegistered",
    "SubscriptionNotRegisteredForFeature",
];

/// What came back over the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `x-ms-request-id`.
    pub request_id: Option<String>,
    /// `x-ms-correlation-request-id`.
    pub correlation_id: Option<String>,
    /// `Date`, as it stands.
    pub date: Option<String>,
    /// `Retry-After`, as it stands.
    pub retry_after: Option<String>,
    /// `retry-after-ms`, else `x-ms-retry-after-ms`, as it stands.
    pub retry_after_ms: Option<String>,
    /// The body, cut at 16 MiB.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// It is certain that no byte of the request reached the service: name, connection or TLS failed.
    #[error("{0}")]
    NotSent(String),
    /// The request may have reached the service.
    #[error("{0}")]
    Lost(String),
}

/// What a service said, or what was seen where it said nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub http_status: Option<u16>,
    /// The service's error code.
    pub error_code: Option<String>,
    /// Its words, escaped and cut at 2 KiB.
    pub error_message: String,
    /// `x-ms-request-id`.
    pub azure_request_id: Option<String>,
    /// `x-ms-correlation-request-id`.
    pub azure_correlation_id: Option<String>,
}

impl std::fmt::Display for Refusal {
    /// The status, the code and the words, as far as there are any.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(status) = self.http_status {
            write!(f, "{status} ")?;
        }
        if let Some(code) = &self.error_code {
            write!(f, "{code}: ")?;
        }
        f.write_str(&self.error_message)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Data Factory started a run.
    Accepted {
        /// The run.
        run_id: RunId,
    },
    /// It started nothing, and would not the next time.
    Rejected(Refusal),
    /// It did not like the token: started nothing.
    Unauthorized(Refusal),
    /// It started nothing, and may the next time.
    RetryLater {
        /// What it said.
        refusal: Refusal,
        /// How long it asked to wait.
        retry_after: Option<Duration>,
        /// Whether it was too busy (429), which is no attempt.
        throttled: bool,
    },
    /// There was no token to call with: no attempt was made.
    NoToken {
        /// Why.
        detail: String,
        /// Whether Entra ID refused, and would again.
        refused: bool,
    },
    /// The process was told to stop before the request could leave: no attempt was made.
    Withheld,
    /// It accepted, and named something that is no run: whether it started anything is not known.
    Malformed {
        /// What it named.
        named: String,
        /// The answer, as far as it is shown.
        refusal: Refusal,
    },
    /// Whether it started anything is not known.
    Unknown(Refusal),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    run_id: String,
}

#[derive(Deserialize)]
struct CloudError {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
}

/// What an attempt's end means. `now` is for a `Retry-After` that names a date.
#[must_use]
pub fn classify(result: &Result<Answer, TransportError>, now: Timestamp) -> Outcome {
    let answer = match result {
        Ok(answer) => answer,
        Err(error) => {
            let refusal = Refusal { error_message: clean(&error.to_string()), ..Refusal::default() };
            return match error {
                TransportError::NotSent(_) => {
                    Outcome::RetryLater { refusal, retry_after: None, throttled: false }
                }
                TransportError::Lost(_) => Outcome::Unknown(refusal),
            };
        }
    };
    match answer.status {
        200..=299 => match serde_json::from_slice::<Created>(&answer.body) {
            Ok(created) => match RunId::parse(&created.run_id) {
                Ok(run_id) => Outcome::Accepted { run_id },
                Err(_) => Outcome::Malformed {
                    named: clean(&created.run_id),
                    refusal: refusal(answer, "the answer names something that is no run's id"),
                },
            },
            Err(_) => Outcome::Unknown(refusal(answer, "the answer names no run")),
        },
        401 => Outcome::Unauthorized(refusal(answer, "the token was refused")),
        429 => Outcome::RetryLater {
            refusal: refusal(answer, "too many requests"),
            retry_after: retry_after(answer, now),
            throttled: true,
        },
        _ if refused_by_arm(answer) => Outcome::Rejected(refusal(answer, "the request was refused")),
        // What these say is said before anything is done (RFC 9110, section 15.5).
        400 | 402 | 403 | 404 | 405 | 406 | 410 | 411 | 413 | 414 | 415 | 422 | 431 => {
            Outcome::Rejected(refusal(answer, "the request was refused"))
        }
        // 408, 409 and the gateways' own may stand for a request that was carried out. Redirects are not
        // followed, and everything else is no answer that a createRun gives.
        _ => Outcome::Unknown(refusal(answer, "the service failed")),
    }
}

/// Whether a 409 is a refusal of ARM's own, which it gives before the service sees the request, and gives again
/// until a person has changed something. Other conflicts may stand for a run that was started.
pub(super) fn refused_by_arm(answer: &Answer) -> bool {
    let code = || serde_json::from_slice::<CloudError>(&answer.body).ok()?.error.code;
    answer.status == 409
        && code().is_some_and(|code| REFUSALS.iter().any(|refusal| refusal.eq_ignore_ascii_case(&code)))
}

pub(super) fn refusal(answer: &Answer, without_words: &str) -> Refusal {
    let (error_code, message) = match serde_json::from_slice::<CloudError>(&answer.body) {
        Ok(CloudError { error }) => (error.code, error.message),
        Err(_) => (None, None),
    };
    // Some answers of the edge are not JSON; their text is the only hint there is. Those of a success
    // are not shown: they may hold anything.
    let raw = || {
        let text = String::from_utf8_lossy(&answer.body);
        let text = text.trim();
        if text.is_empty() || answer.status < 300 { without_words.to_owned() } else { text.to_owned() }
    };
    Refusal {
        http_status: Some(answer.status),
        error_code: error_code.as_deref().map(clean),
        error_message: clean(&message.unwrap_or_else(raw)),
        azure_request_id: answer.request_id.as_deref().map(clean),
        azure_correlation_id: answer.correlation_id.as_deref().map(clean),
    }
}

/// A text of the service without control characters and without anything that looks like a token (a proxy may
/// echo the request), cut at 2 KiB.
pub(super) fn clean(text: &str) -> String {
    let text = without_tokens(text);
    let mut cleaned = String::with_capacity(text.len().min(MOST_TEXT));
    for character in text.chars() {
        let escaped = if character.is_control() { ' ' } else { character };
        if cleaned.len() + escaped.len_utf8() > MOST_TEXT {
            break;
        }
        cleaned.push(escaped);
    }
    cleaned
}

/// The text with every JSON Web Token in it hidden: they begin with the base64 of `{"`.
fn without_tokens(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MOST_TEXT));
    let mut rest = text;
    while let Some(at) = rest.find("eyJ") {
        let (before, token) = rest.split_at(at);
        let end = token.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.~+/=".contains(c)));
        shown.push_str(before);
        shown.push_str("[token]");
        rest = end.map_or("", |end| &token[end..]);
    }
    shown.push_str(rest);
    shown
}

/// The wait that an answer asks for, at most a day: the standard header says it before those of Azure's own. One
/// that cannot be read says nothing.
pub(super) fn retry_after(answer: &Answer, now: Timestamp) -> Option<Duration> {
    let standard = || {
        let text = answer.retry_after.as_deref()?.trim();
        if let Some(seconds) = count(text) {
            return Some(Duration::try_from_secs_f64(seconds).unwrap_or(MOST_WAIT));
        }
        // The date is of the service's clock.
        let from = answer.date.as_deref().and_then(http_date).unwrap_or(now);
        Some(Duration::try_from(http_date(text)?.duration_since(from)).unwrap_or_default())
    };
    let own = || {
        let milliseconds = count(answer.retry_after_ms.as_deref()?.trim())?;
        Some(Duration::try_from_secs_f64(milliseconds / 1_000.0).unwrap_or(MOST_WAIT))
    };
    standard().or_else(own).map(|wait| wait.min(MOST_WAIT))
}

/// A count without a sign, perhaps with a fraction, however long.
fn count(text: &str) -> Option<f64> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if digits(whole) && digits(fraction) { text.parse().ok() } else { None }
}

/// An HTTP date in any of its three forms (RFC 9110, section 5.6.7). The name of the day says nothing new.
pub(super) fn http_date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let at = |format: &str, text: &str| {
        let time = jiff::civil::DateTime::strptime(format, text).ok()?;
        // Only the last day of the year 9999 is beyond what there is.
        Some(jiff::tz::TimeZone::UTC.to_timestamp(time).unwrap_or(Timestamp::MAX))
    };
    match text.split_once(", ") {
        // Years of two digits are 1969 to 2068, as in POSIX.
        Some((_, text)) => at("%d %b %Y %H:%M:%S GMT", text).or_else(|| at("%d-%b-%y %H:%M:%S GMT", text)),
        None => at("%b %e %H:%M:%S %Y", text.split_once(' ')?.1.trim_start()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "2f7fdb90-5df1-4b8e-ac2f-064cfa58202b";

    fn answer(status: u16, body: &str) -> Result<Answer, TransportError> {
        Ok(Answer { status, body: body.as_bytes().to_vec(), ..Answer::default() })
    }

    fn word(result: &Result<Answer, TransportError>) -> &'static str {
        match classify(result, Timestamp::UNIX_EPOCH) {
            Outcome::Accepted { .. } => "accepted",
            Outcome::Rejected(_) => "rejected",
            Outcome::Unauthorized(_) => "unauthorized",
            Outcome::RetryLater { throttled: true, .. } => "throttled",
            Outcome::RetryLater { .. } => "retry_later",
            Outcome::NoToken { .. } => "no_token",
            Outcome::Withheld => "withheld",
            Outcome::Malformed { .. } => "malformed",
            Outcome::Unknown(_) => "unknown",
        }
    }

    #[test]
    fn every_status_has_its_meaning() {
        let created = format!(r#"{{"runId":"{RUN}"}}"#);
        for (status, body, expected) in [
            (200, created.as_str(), "accepted"),
            (202, created.as_str(), "accepted"),
            (200, "", "unknown"),
            (200, "{}", "unknown"),
            (200, r#"{"runId":"not a guid"}"#, "malformed"),
            (204, "", "unknown"),
            (302, "", "unknown"),
            (400, "", "rejected"),
            (401, "", "unauthorized"),
            (403, "", "rejected"),
            (404, "", "rejected"),
            (405, "", "rejected"),
            (408, "", "unknown"),
            (409, "", "unknown"),
            (415, "", "rejected"),
            (421, "", "unknown"),
            (425, "", "unknown"),
            (499, "", "unknown"),
            (429, "", "throttled"),
            (500, "", "unknown"),
            (502, "<html>", "unknown"),
            (503, "", "unknown"),
            (504, "", "unknown"),
            (599, "", "unknown"),
            (100, "", "unknown"),
        ] {
            assert_eq!(word(&answer(status, body)), expected, "{status} {body}");
        }
        assert_eq!(word(&Err(TransportError::NotSent("dns".into()))), "retry_later");
        assert_eq!(word(&Err(TransportError::Lost("reset".into()))), "unknown");
    }

    #[test]
    fn no_status_but_these_says_that_nothing_was_started() {
        let refused_before_anything = [400, 402, 403, 404, 405, 406, 410, 411, 413, 414, 415, 422, 431];
        for status in 100..=599 {
            let expected = match status {
                401 => "unauthorized",
                429 => "throttled",
                status if refused_before_anything.contains(&status) => "rejected",
                _ => "unknown",
            };
            assert_eq!(word(&answer(status, "")), expected, "{status}");
        }
    }

    #[test]
    fn the_services_words_are_kept_without_control_characters_and_cut() {
        let long = "x".repeat(5_000);
        let body = format!(r#"{{"error":{{"code":"BadRequest","message":"a\u001b[31m\n{long}"}}}}"#);
        let Outcome::Rejected(refusal) = classify(&answer(400, &body), Timestamp::UNIX_EPOCH) else {
            panic!("rejected")
        };
        assert_eq!(refusal.error_code.as_deref(), Some("BadRequest"));
        assert!(refusal.error_message.starts_with("a [31m x"));
        assert_eq!(refusal.error_message.len(), MOST_TEXT);
        assert_eq!(
            clean("Authorization: Bearer eyJ0eXAi.eyJhdWQi.c2ln-_x, ok"),
            "Authorization: Bearer [token], ok"
        );
        assert_eq!(clean("eyJ"), "[token]");
    }

    #[test]
    fn a_wait_may_be_seconds_milliseconds_or_a_date() {
        let now: Timestamp = "2026-11-23T01:00:00Z".parse().unwrap();
        let wait = |retry_after: Option<&str>, ms: Option<&str>| {
            let answer = Answer {
                status: 429,
                retry_after: retry_after.map(str::to_owned),
                retry_after_ms: ms.map(str::to_owned),
                ..Answer::default()
            };
            super::retry_after(&answer, now)
        };
        let ms = |ms| Some(Duration::from_millis(ms));
        for (standard, own, expected) in [
            (Some("2"), None, ms(2_000)),
            (Some(" 2 "), None, ms(2_000)),
            (Some("0"), Some("1500"), ms(0)),
            (Some("2"), Some("1500"), ms(2_000)),
            (None, Some("1500"), ms(1_500)),
            (None, Some("1500.5"), Some(Duration::from_micros(1_500_500))),
            (Some("1.5"), None, ms(1_500)),
            (Some("Mon, 23 Nov 2026 01:00:07 GMT"), None, ms(7_000)),
            (Some("Monday, 23-Nov-26 01:00:07 GMT"), None, ms(7_000)),
            (Some("Mon Nov 23 01:00:07 2026"), None, ms(7_000)),
            (Some("Mon Nov  2 01:00:07 2026"), None, ms(0)),
            (Some("Mon, 23 Nov 2026 00:59:00 GMT"), None, ms(0)),
            (Some("Sunday, 06-Nov-94 08:49:37 GMT"), None, ms(0)),
            (Some("Fri, 31 Dec 9999 23:59:59 GMT"), None, Some(MOST_WAIT)),
            (Some("999999"), None, Some(MOST_WAIT)),
            (Some("99999999999999999999999999999999999999999999"), None, Some(MOST_WAIT)),
            (None, Some("99999999999999999999999999999999999999999999"), Some(MOST_WAIT)),
            // What cannot be read says nothing, and the other header counts.
            (Some("soon"), None, None),
            (Some("soon"), Some("1500"), ms(1_500)),
            (Some("-5"), Some("1500"), ms(1_500)),
            (Some("-5"), None, None),
            (Some("+5"), None, None),
            (Some("5 s"), None, None),
            (Some("1e3"), None, None),
            (Some("NaN"), None, None),
            (Some("inf"), None, None),
            (Some(""), None, None),
            (Some("."), None, None),
            (Some("Mon, 32 Nov 2026 01:00:07 GMT"), None, None),
            (None, Some("-1"), None),
            (None, None, None),
        ] {
            assert_eq!(wait(standard, own), expected, "{standard:?} {own:?}");
        }
    }

    #[test]
    fn a_date_to_wait_for_is_of_the_clock_that_the_answer_shows() {
        let ahead = Answer {
            status: 429,
            date: Some("Mon, 23 Nov 2026 05:00:00 GMT".to_owned()),
            retry_after: Some("Mon, 23 Nov 2026 05:00:10 GMT".to_owned()),
            ..Answer::default()
        };
        let behind: Timestamp = "2026-11-23T01:00:00Z".parse().unwrap();
        assert_eq!(retry_after(&ahead, behind), Some(Duration::from_secs(10)));
    }

    #[test]
    fn refusals_of_arm_under_409_are_refusals_and_other_conflicts_are_not_known() {
        let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m"}}}}"#);
        for code in REFUSALS {
            assert_eq!(word(&answer(409, &error(code))), "rejected", "{code}");
            assert_eq!(word(&answer(409, &error(&code.to_lowercase()))), "rejected", "{code}");
            for status in [408, 500, 502, 503, 504] {
                assert_eq!(word(&answer(status, &error(code))), "unknown", "{status} {code}");
            }
        }
        for body in [&error("Conflict"), &error("ScopeLockedX"), &error(""), "ScopeLocked", "{}", ""] {
            assert_eq!(word(&answer(409, body)), "unknown", "{body}");
        }
    }
}
