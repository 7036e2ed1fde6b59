//! HTTP: takes requests, applies faults and delays, and keeps the record of what arrived.

use std::convert::Infallible;
use std::future::pending;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::service::service_fn;
use hyper::{Response, server::conn::http1};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::answers::Reply;
use crate::route::{Operation, Route};
use crate::seen::{Inside, Request, Shared, monotonic, now};
use crate::switches::{Effect, TokenEndpointDown};
use crate::{admin, entra, factory};

/// Bodies longer than this are refused.
const MOST_BODY: usize = 8 * 1024 * 1024;

/// A request, read whole.
pub(crate) struct Call {
    /// Its place in the record.
    index: usize,
    pub(crate) arrived_at: Timestamp,
    pub(crate) route: Route,
    pub(crate) operation: Operation,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The fault that happens to it, which is settled when it arrives: whoever has seen it may change the switches.
    fault: Option<Effect>,
}

impl Call {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it is a POST of which nobody can tell where it ends (RFC 9110, section 15.5.12).
    fn has_no_length(&self) -> bool {
        let names = ["content-length", "transfer-encoding"];
        self.method == "POST" && names.iter().all(|name| self.header(name).is_none())
    }

    /// The caller's id of the request; ARM takes any text.
    pub(crate) fn request_id(&self) -> Option<String> {
        self.header("x-ms-client-request-id").map(str::to_owned)
    }
}

/// How a request ends.
enum End {
    Reply(Reply),
    /// The connection is cut without an answer.
    Cut,
}

/// The connection is to be cut.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

/// Serves until it is told to stop, or its owner is gone.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = &mut stopped => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
        };
        // A connection that cannot be made fast is still a connection.
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            // A caller that goes away, or is cut off, is part of the play.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let call = read(&shared, request).await?;
    let end = end(&shared, &call).await;
    let mut inside = shared.lock();
    if let Some(request) = inside.seen.requests.get_mut(call.index) {
        request.answered_at = Some(now());
        request.status = match &end {
            End::Reply(reply) => Some(reply.status),
            End::Cut => None,
        };
    }
    drop(inside);
    shared.tell();
    match end {
        // Whatever a factory's path gets passes through ARM, an injected error too.
        End::Reply(reply) if matches!(call.route, Route::Factory { .. }) => reply.through_arm(),
        End::Reply(reply) => reply,
        End::Cut => return Err(Cut),
    }
    .into_response()
    .map_err(|_| Cut)
}

/// Notes the arrival, then reads the body.
async fn read(shared: &Shared, request: hyper::Request<Incoming>) -> Result<Call, Cut> {
    let arrived_at = now();
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let route = Route::of(&path);
    let operation = route.operation(head.method.as_str());
    let mut call = Call {
        index: 0,
        arrived_at,
        route,
        operation,
        method: head.method.as_str().to_owned(),
        path,
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: Bytes::new(),
        fault: None,
    };
    if operation != Operation::Admin {
        let mut inside = shared.lock();
        let carried = entra::carried(&inside, &call);
        let token = carried.map(|token| token.number);
        let token_expired = carried.is_some_and(|token| token.expires <= monotonic());
        call.index = inside.seen.requests.len();
        inside.seen.requests.push(Request {
            arrived_at,
            answered_at: None,
            method: call.method.clone(),
            path: call.path.clone(),
            operation,
            request_id: call.request_id(),
            status: None,
            token,
            token_expired,
        });
        call.fault = inside.take_fault(&call);
        drop(inside);
        shared.tell();
    } else {
        call.index = usize::MAX;
    }
    call.body = Limited::new(body, MOST_BODY).collect().await.map_err(|_| Cut)?.to_bytes();
    Ok(call)
}

async fn end(shared: &Shared, call: &Call) -> End {
    let work = || {
        let reply = shared.lock().work(&shared.url, call);
        shared.tell();
        reply
    };
    match call.fault.clone() {
        None => match call.operation {
            Operation::Token => token(shared, call).await,
            Operation::CreateRun => {
                let reply = work();
                let delay = shared.lock().switches.create_run_delay_ms;
                wait(delay).await;
                End::Reply(reply)
            }
            _ => End::Reply(work()),
        },
        Some(Effect::Status { status, code, message, retry_after, body, commit }) => {
            if commit {
                work();
            }
            let mut reply = Reply::arm_error(status, &code, &message);
            if let Some(body) = body {
                reply.body = body;
            }
            reply.headers.extend(retry_after.map(|value| ("retry-after", value)));
            End::Reply(reply)
        }
        Some(Effect::ResetBefore) => End::Cut,
        Some(Effect::ResetAfter) => {
            work();
            End::Cut
        }
        Some(Effect::Hang { commit }) => {
            if commit {
                work();
            }
            pending::<Infallible>().await;
            End::Cut
        }
        Some(Effect::Slow { ms, commit_first: true }) => {
            let reply = work();
            wait(ms).await;
            End::Reply(reply)
        }
        Some(Effect::Slow { ms, commit_first: false }) => {
            wait(ms).await;
            End::Reply(work())
        }
        Some(Effect::RunId(text)) => End::Reply(Reply::json(200, &serde_json::json!({ "runId": text }))),
        Some(Effect::Body(text)) => End::Reply(Reply { body: text, ..Reply::json(200, &()) }),
    }
}

async fn wait(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

/// Counts a token request for as long as it is under way, however it ends.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared) -> Self {
        let seen = &mut shared.lock().seen;
        seen.token_requests_now += 1;
        seen.max_token_requests_at_once = seen.max_token_requests_at_once.max(seen.token_requests_now);
        Self(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().seen.token_requests_now -= 1;
    }
}

async fn token(shared: &Shared, call: &Call) -> End {
    let _counted = UnderWay::new(shared);
    let (down, delay) = {
        let inside = shared.lock();
        (inside.switches.token_endpoint_down, inside.switches.token_delay_ms)
    };
    wait(delay).await;
    match down {
        TokenEndpointDown::None => End::Reply(shared.lock().work(&shared.url, call)),
        TokenEndpointDown::Status(status) => {
            End::Reply(Reply { body: "the service is unavailable".to_owned(), ..Reply::json(status, &()) })
        }
        TokenEndpointDown::Reset => End::Cut,
        TokenEndpointDown::Hang => {
            pending::<Infallible>().await;
            End::Cut
        }
    }
}

impl Inside {
    /// The fault that happens to this request, if one does.
    fn take_fault(&mut self, call: &Call) -> Option<Effect> {
        let fits = |operation: Operation, pipeline: &Option<String>| {
            operation == call.operation
                && pipeline.as_deref().is_none_or(|name| call.route.pipeline() == Some(name))
        };
        let Some(fault) = self
            .switches
            .faults
            .iter_mut()
            .find(|fault| fault.times != Some(0) && fits(fault.operation, &fault.pipeline))
        else {
            return self.switches.mix.as_mut().filter(|mix| mix.operation == call.operation)?.draw();
        };
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times = fault.times.map(|times| times - 1);
        Some(fault.effect.clone())
    }

    /// What the real services would do.
    fn work(&mut self, url: &str, call: &Call) -> Reply {
        match &call.route {
            _ if call.has_no_length() => Reply::length_required(),
            Route::Token { tenant, v2 } => entra::grant(self, url, call, tenant, *v2),
            Route::Factory { place, what } => factory::answer(self, url, call, place, what),
            Route::Metadata => Reply::json(200, &serde_json::json!({ "galleryEndpoint": url })),
            Route::Admin(what) => admin::answer(self, call, what),
            Route::Unknown => {
                Reply::arm_error(404, "InvalidResourceType", "The resource type could not be found.")
            }
        }
    }
}
