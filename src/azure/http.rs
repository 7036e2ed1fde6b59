//! HTTP, and what can be known of a call that failed. The only file that names reqwest.
//!
//! reqwest's own retries and redirects are off: only the engine decides whether a call is made again.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder};
use url::Url;

use super::authorities::{self, CaFileError};
use super::credential::Environment;
use super::outcome::{Answer, TransportError, clean};
use super::proxy::{self, Proxy, ProxyError};
use crate::config::{Endpoint, is_loopback};
use crate::ids::FiringId;
use crate::secret::Secret;

/// Answers longer than this are cut: ARM's own end at 15 MB.
const MOST_BODY: usize = 16 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The caller's id of a request: ARM's header, and the one of Entra ID.
const ARM_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
const ENTRA_REQUEST_ID: HeaderName = HeaderName::from_static("client-request-id");

/// Why there can be no HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The extra certificate authorities cannot be used.
    #[error(transparent)]
    CaFile(#[from] CaFileError),
    /// The environment names a proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// TLS or the system's certificates cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
}

/// A client with a pool of connections.
#[derive(Clone)]
pub(super) struct Http {
    client: Client,
    /// The proxy, as it is shown.
    proxy: Option<String>,
}

impl std::fmt::Debug for Http {
    /// Without the client, which knows the proxy's password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("proxy", &self.proxy).finish_non_exhaustive()
    }
}

/// The parts of a URL that do not change between calls.
#[derive(Debug, Clone)]
pub(super) struct Target(Url);

impl Target {
    /// A URL that is `base`, these path segments, and these query parameters; all are escaped.
    pub(super) fn new(base: &Endpoint, path: &[&str], query: &[(&str, &str)]) -> Result<Self, String> {
        let mut text = base.to_string();
        for segment in path {
            // A server takes these segments for the way up, also when they are escaped (RFC 3986, section 5.2.4).
            if matches!(*segment, "" | "." | "..") {
                return Err(format!("'{segment}' cannot be a part of an address"));
            }
            text.push('/');
            text.push_str(&escaped(segment));
        }
        text.push_str(if query.is_empty() { "" } else { "?" });
        text.push_str(&pairs(query));
        Url::parse(&text).map(Self).map_err(|error| format!("'{base}' is no address to call: {error}"))
    }

    /// The URL as text.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host, as a person names it.
    fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

/// A text in which everything is escaped but what needs no escaping anywhere (RFC 3986, section 2.3): a path
/// segment, a part of a query or of a form. Microsoft's libraries escape names in the same way.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Names with their values, as a query and a form have them.
fn pairs(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", escaped(name), escaped(value))).collect();
    pairs.join("&")
}

/// A call to the resource manager.
#[derive(Debug)]
pub(super) enum Verb {
    /// GET.
    Get,
    /// POST with this JSON.
    Post(String),
    /// POST without a body.
    PostNothing,
}

impl Http {
    /// A client that trusts the system's certificate authorities and those of `ca_file`, and goes through the proxy
    /// that the environment names.
    pub(super) fn new(ca_file: Option<&Path>, environment: &Environment) -> Result<Self, HttpError> {
        let proxy = proxy::read(environment)?;
        let mut builder = Client::builder()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(100))
            .tcp_nodelay(true)
            .user_agent(concat!("adf-cron/", env!("CARGO_PKG_VERSION")))
            .no_proxy();
        if let Some(Proxy { url, bypass, .. }) = &proxy {
            // Plain http is loopback only, where no proxy is used.
            let proxy = reqwest::Proxy::https(url.expose()).map_err(HttpError::Setup)?;
            builder = builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(bypass)));
        }
        if let Some(path) = ca_file {
            for certificate in authorities::read(path)? {
                let certificate = reqwest::Certificate::from_der(&certificate).map_err(HttpError::Setup)?;
                builder = builder.add_root_certificate(certificate);
            }
        }
        let client = builder.build().map_err(HttpError::Setup)?;
        Ok(Self { client, proxy: proxy.map(|proxy| proxy.shown) })
    }

    /// POSTs a form to Entra ID.
    pub(super) async fn post_form(
        &self,
        target: &Target,
        form: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Answer, TransportError> {
        let request = self
            .client
            .post(target.0.clone())
            .header(ENTRA_REQUEST_ID, fresh_id())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(pairs(form));
        self.send(target, request, timeout).await
    }

    /// Calls the resource manager. Without a request id of its own, the call gets a fresh one.
    pub(super) async fn call(
        &self,
        target: &Target,
        verb: Verb,
        bearer: &Bearer,
        request_id: Option<FiringId>,
        timeout: Duration,
    ) -> Result<Answer, TransportError> {
        let request = match verb {
            Verb::Get => self.client.get(target.0.clone()),
            Verb::Post(body) => {
                self.client.post(target.0.clone()).header(CONTENT_TYPE, "application/json").body(body)
            }
            // HTTP/1.1 gives what has no body no length either, and servers want one of a POST (RFC 9110, section
            // 8.6: it should be sent; 15.5.12: 411).
            Verb::PostNothing => self.client.post(target.0.clone()).header(CONTENT_LENGTH, 0),
        };
        let request_id = request_id.map_or_else(fresh_id, |id| id.to_string());
        let request = request.header(AUTHORIZATION, bearer.0.clone()).header(ARM_REQUEST_ID, request_id);
        self.send(target, request, timeout).await
    }

    /// GETs from the resource manager without a token.
    pub(super) async fn get(&self, target: &Target, timeout: Duration) -> Result<Answer, TransportError> {
        let request = self.client.get(target.0.clone()).header(ARM_REQUEST_ID, fresh_id());
        self.send(target, request, timeout).await
    }

    async fn send(
        &self,
        target: &Target,
        request: RequestBuilder,
        timeout: Duration,
    ) -> Result<Answer, TransportError> {
        let exchange = exchange(request.header(ACCEPT, "application/json"));
        match tokio::time::timeout(timeout, exchange).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failure(target, &error)),
            // It may have been sent: a connection that could not be made fails earlier, by its own limit.
            Err(_) => Err(TransportError::Lost(format!("no answer within {} s", timeout.as_secs_f64()))),
        }
    }

    /// A connection that was never made cannot have carried the request; everything else may have.
    fn failure(&self, target: &Target, error: &reqwest::Error) -> TransportError {
        let text = clean(&words(target.host(), &causes(error)));
        if error.is_connect() {
            let proxy = self.proxy.as_ref().filter(|_| !is_loopback(&target.0));
            TransportError::NotSent(match proxy {
                Some(proxy) => {
                    format!("{text} (through the proxy of {proxy}, if NO_PROXY does not name the host)")
                }
                None => text,
            })
        } else if error.is_builder() {
            TransportError::NotSent(text)
        } else {
            TransportError::Lost(text)
        }
    }
}

/// An id of a request that is used once.
fn fresh_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The header of a token, made once for all its calls.
#[derive(Clone)]
pub(super) struct Bearer(HeaderValue);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[token]")
    }
}

impl Bearer {
    /// The header, or `None` when the token has characters that no header may have.
    pub(super) fn new(token: &Secret) -> Option<Self> {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

async fn exchange(request: RequestBuilder) -> Result<Answer, reqwest::Error> {
    let mut response = request.send().await?;
    let header =
        |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut answer = Answer {
        status: response.status().as_u16(),
        request_id: header("x-ms-request-id"),
        correlation_id: header("x-ms-correlation-request-id"),
        date: header("date"),
        retry_after: header("retry-after"),
        retry_after_ms: header("retry-after-ms").or_else(|| header("x-ms-retry-after-ms")),
        body: Vec::new(),
    };
    while answer.body.len() < MOST_BODY
        && let Some(chunk) = response.chunk().await?
    {
        answer.body.extend_from_slice(&chunk);
    }
    Ok(answer)
}

/// What an error says, and what each of those that caused it says.
fn causes(error: &reqwest::Error) -> Vec<String> {
    // The first words name the URL. It is long, and the reader knows it.
    let first = match (error.is_connect(), error.is_timeout()) {
        (true, _) => "no connection",
        (_, true) => "no answer in time",
        _ => "the connection failed",
    };
    let mut causes = vec![first.to_owned()];
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let text = cause.to_string();
        if !causes.last().is_some_and(|last| last.contains(&text)) {
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}

/// What a failure means to the person who must act.
fn words(host: &str, causes: &[String]) -> String {
    let all = causes.join(": ");
    let last = causes.last().map_or("", String::as_str);
    let before = "tunnel error: failed to create underlying connection";
    if let Some(at) = all.find(before) {
        return format!("no connection to the proxy{}", &all[at + before.len()..]);
    }
    let certificate = "invalid peer certificate: ";
    if let Some(at) = all.find(certificate) {
        let problem = &all[at + certificate.len()..];
        return format!("the certificate of {host} is not accepted: {problem}{}", advice(problem));
    }
    for (kind, meaning) in [
        ("dns error", format!("the name {host} cannot be resolved: {last}")),
        ("proxy authorization required", format!("the proxy wants a user and a password: {last}")),
        ("tunnel error", format!("the proxy gives no way to {host}: {last}")),
        ("tcp connect error", format!("no connection to {host}: {last}")),
    ] {
        if all.contains(kind) {
            return meaning;
        }
    }
    all
}

/// What to do about a certificate that is not accepted (the words are rustls's).
fn advice(problem: &str) -> &'static str {
    match problem {
        _ if problem.contains("UnknownIssuer") || problem.contains("BadSignature") => {
            "; it was signed by an authority that this host does not trust: where a proxy reads TLS, name its \
             certificate in azure.ca_file"
        }
        _ if problem.contains("expired") || problem.contains("not valid yet") => "; check this host's clock",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ARM: &str = "https://management.azure.com";

    fn target(path: &[&str], query: &[(&str, &str)]) -> Result<String, String> {
        let text = "azure: { tenant_id: t, client_id: 6731de76-14a6-49ae-97bc-6eba6914391e, client_secret: { env: S } }\n\
                    pipelines: []\n";
        let settings = crate::config::tests::accepted(text);
        Target::new(&settings.azure.resource_manager, path, query).map(|target| target.as_str().to_owned())
    }

    /// What a server reads of an escaped text, by RFC 3986 alone: `+` is a plus.
    fn read_back(escaped: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = escaped.as_bytes();
        while let [first, others @ ..] = rest {
            let is_plain = first.is_ascii_alphanumeric() || b"-._~".contains(first);
            assert!(is_plain || *first == b'%', "{escaped}");
            if is_plain {
                bytes.push(*first);
                rest = others;
            } else {
                let digits = std::str::from_utf8(&others[..2]).unwrap();
                assert!(digits.bytes().all(|b| b"0123456789ABCDEF".contains(&b)), "{escaped}");
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &others[2..];
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Asserts that a server reads these names where they were put.
    fn assert_read_back(segment: &str, value: &str) {
        let url =
            target(&["factories", segment, "createRun"], &[("api-version", "1"), ("name", value)]).unwrap();
        let (path, query) = url.strip_prefix(ARM).unwrap().split_once('?').unwrap();
        let segments: Vec<String> = path.split('/').skip(1).map(read_back).collect();
        assert_eq!(segments, ["factories", segment, "createRun"], "{url}");
        let query: Vec<&str> = query.split('&').collect();
        assert_eq!((query.len(), query[0]), (2, "api-version=1"), "{url}");
        let (name, given) = query[1].split_once('=').unwrap();
        assert_eq!((name, read_back(given).as_str()), ("name", value), "{url}");
    }

    #[test]
    fn every_printable_character_reaches_the_server_as_it_is() {
        let printable: String = (' '..='~').chain('\u{a0}'..='\u{24f}').collect();
        for character in printable.chars().chain("日€😀\u{202e}".chars()).filter(|c| *c != '.') {
            assert_read_back(&character.to_string(), &character.to_string());
        }
        assert_read_back(&printable, &printable);
        assert_eq!(escaped("Copy Sales (1)+100%/é'~"), "Copy%20Sales%20%281%29%2B100%25%2F%C3%A9%27~");
        assert_eq!(pairs(&[("client_secret", "a b+c&d=e"), ("x", "")]), "client_secret=a%20b%2Bc%26d%3De&x=");
    }

    #[test]
    fn what_would_lead_elsewhere_is_no_part_of_an_address() {
        for part in ["", ".", ".."] {
            assert!(target(&["a", part], &[]).unwrap_err().contains("cannot be a part of an address"));
        }
        assert_eq!(target(&["a", "...", "%2e%2e"], &[]).unwrap(), format!("{ARM}/a/.../%252e%252e"));
        assert_eq!(target(&["a"], &[]).unwrap(), format!("{ARM}/a"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn names_of_any_printable_characters_reach_the_server_as_they_are(
            segment in "\\PC{1,60}",
            value in "\\PC{0,60}",
        ) {
            prop_assume!(segment != "." && segment != "..");
            assert_read_back(&segment, &value);
        }
    }

    #[test]
    fn a_failure_says_what_it_means() {
        let said = |causes: &[&str]| {
            words("h.example", &causes.iter().map(|cause| (*cause).to_owned()).collect::<Vec<_>>())
        };
        let certificate = |problem: &str| {
            said(&[
                "no connection",
                "client error (Connect)",
                &format!("invalid peer certificate: {problem}"),
            ])
        };
        assert!(
            certificate("UnknownIssuer").contains("h.example is not accepted: UnknownIssuer; it was signed")
        );
        assert!(certificate("certificate expired: …").ends_with("check this host's clock"));
        assert_eq!(
            said(&["no connection", "client error (Connect)", "dns error", "failed to lookup"]),
            "the name h.example cannot be resolved: failed to lookup"
        );
        assert_eq!(
            said(&["no connection", "client error (Connect)", "tcp connect error", "Connection refused"]),
            "no connection to h.example: Connection refused"
        );
        assert_eq!(
            said(&[
                "no connection",
                "tunnel error: failed to create underlying connection",
                "dns error",
                "failed"
            ]),
            "no connection to the proxy: dns error: failed"
        );
        assert_eq!(said(&["the connection failed", "reset"]), "the connection failed: reset");
    }
}
