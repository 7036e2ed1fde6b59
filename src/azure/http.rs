//! HTTP, and what can be known of a call that failed. The only file that names reqwest.
//!
//! reqwest's own retries and redirects are off: only the engine decides whether a call is made again.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};
use url::{Url, form_urlencoded};

use super::file;
use super::outcome::{Answer, TransportError};
use crate::config::Endpoint;
use crate::ids::FiringId;
use crate::secret::Secret;

/// Answers longer than this are cut: ARM's own end at 15 MB.
const MOST_BODY: usize = 16 * 1024 * 1024;
/// Certificate authorities are no larger than this, in bytes.
const MOST_CA: u64 = 16 * 1024 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there can be no HTTP client.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The extra certificate authorities cannot be read.
    #[error("azure.ca_file {path} cannot be read")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The extra certificate authorities are not PEM certificates.
    #[error("azure.ca_file {path} holds no usable PEM certificates")]
    Ca {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        source: reqwest::Error,
    },
    /// TLS or the system's certificates cannot be set up.
    #[error("the HTTP client cannot be set up")]
    Setup(#[source] reqwest::Error),
}

/// A client with a pool of connections.
#[derive(Debug, Clone)]
pub(super) struct Http(Client);

/// The parts of a URL that do not change between calls.
#[derive(Debug, Clone)]
pub(super) struct Target(Url);

impl Target {
    /// A URL that is `base`, these path segments, and these query parameters; all are escaped.
    pub(super) fn new(base: &Endpoint, path: &[&str], query: &[(&str, &str)]) -> Result<Self, String> {
        let mut url = base.url().clone();
        url.path_segments_mut()
            .map_err(|()| format!("'{base}' cannot have a path"))?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(Self(url))
    }

    /// The URL as text.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Http {
    /// A client that trusts the system's certificate authorities and those of `ca_file`. With `plain`, where
    /// an address is plain http on loopback, no proxy is used: one elsewhere would read the secret.
    pub(super) fn new(ca_file: Option<&PathBuf>, plain: bool) -> Result<Self, HttpError> {
        let mut builder = Client::builder()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(100))
            .tcp_nodelay(true)
            .user_agent(concat!("adf-cron/", env!("CARGO_PKG_VERSION")));
        if plain {
            builder = builder.no_proxy();
        }
        if let Some(path) = ca_file {
            let pem = file::read(path, MOST_CA)
                .map_err(|source| HttpError::CaFile { path: path.clone(), source })?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|source| HttpError::Ca { path: path.clone(), source })?;
            for certificate in certificates {
                builder = builder.add_root_certificate(certificate);
            }
        }
        builder.build().map(Self).map_err(HttpError::Setup)
    }

    /// POSTs a form.
    pub(super) async fn post_form(
        &self,
        target: &Target,
        form: &[(&str, &str)],
        timeout: Duration,
    ) -> Result<Answer, TransportError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = self
            .0
            .request(Method::POST, target.0.clone())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(body);
        send(request, timeout).await
    }

    /// Calls Data Factory: POST with a body, GET without.
    pub(super) async fn call(
        &self,
        target: &Target,
        body: Option<String>,
        bearer: &Bearer,
        request_id: FiringId,
        timeout: Duration,
    ) -> Result<Answer, TransportError> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut headers = HeaderMap::with_capacity(4);
        headers.insert(reqwest::header::AUTHORIZATION, bearer.0.clone());
        if let Ok(value) = HeaderValue::from_str(&request_id.to_string()) {
            headers.insert(HeaderName::from_static("x-ms-client-request-id"), value);
        }
        let mut request = self.0.request(method, target.0.clone());
        if let Some(body) = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request = request.body(body);
        }
        send(request.headers(headers), timeout).await
    }

    /// GETs without a token; only the connection matters.
    pub(super) async fn warm(&self, target: &Target) {
        // Nothing depends on it: the call that follows reports what is wrong.
        let _ = send(self.0.get(target.0.clone()), CONNECT_TIMEOUT).await;
    }
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

async fn send(request: reqwest::RequestBuilder, timeout: Duration) -> Result<Answer, TransportError> {
    let exchange = async {
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
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
            && let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))?
        {
            answer.body.extend_from_slice(&chunk);
        }
        Ok(answer)
    };
    match tokio::time::timeout(timeout, exchange).await {
        Ok(result) => result,
        // It may have been sent: a connection that could not be made fails earlier, by its own limit.
        Err(_) => Err(TransportError::Lost(format!("no answer within {} s", timeout.as_secs_f64()))),
    }
}

/// A connection that was never made cannot have carried the request; everything else may have.
fn failure(error: &reqwest::Error) -> TransportError {
    let mut text = without_url(error);
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    if error.is_connect() || error.is_builder() {
        TransportError::NotSent(text)
    } else {
        TransportError::Lost(text)
    }
}

fn without_url(error: &reqwest::Error) -> String {
    // The URL is known to whoever reads this, and long.
    match (error.is_connect(), error.is_timeout()) {
        (true, _) => "no connection".to_owned(),
        (_, true) => "no answer in time".to_owned(),
        _ => "the connection failed".to_owned(),
    }
}
