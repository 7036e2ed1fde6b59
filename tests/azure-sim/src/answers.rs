//! The shapes of answers.

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};

use crate::seen::{Run, now};

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Reply {
    /// A JSON body, with the ids that ARM gives every answer.
    pub(crate) fn json(status: u16, body: &impl Serialize) -> Self {
        let id = uuid::Uuid::new_v4().to_string();
        Self {
            status,
            headers: vec![("x-ms-request-id", id.clone()), ("x-ms-correlation-request-id", id)],
            body: serde_json::to_string(body).unwrap_or_default(),
        }
    }

    /// What the edge of Azure says to a POST without a length: no JSON, and nothing of the services behind it.
    pub(crate) fn length_required() -> Self {
        let body = "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\"\"http://www.w3.org/TR/html4/strict.dtd\">\r\n\
                    <HTML><HEAD><TITLE>Length Required</TITLE></HEAD>\r\n\
                    <BODY><h2>Length Required</h2><hr><p>HTTP Error 411. The request must be chunked or have a \
                    content length.</p></BODY></HTML>\r\n";
        Self { status: 411, headers: Vec::new(), body: body.to_owned() }
    }

    /// An error in ARM's shape.
    pub(crate) fn arm_error(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, &json!({ "error": { "code": code, "message": message } }))
    }

    /// An error of Data Factory itself, which names what it is about (recorded exchanges:
    /// "cancel-unknown-run", "getPipeline-missing").
    pub(crate) fn factory_error(status: u16, code: &str, message: &str, target: &str) -> Self {
        let error = json!({ "code": code, "message": message, "target": target, "details": null });
        Self::json(status, &json!({ "error": error }))
    }

    /// The headers that ARM puts on every answer.
    pub(crate) fn through_arm(mut self) -> Self {
        let route = format!("LOOPBACK:{}:{}", now().strftime("%Y%m%dT%H%M%SZ"), uuid::Uuid::new_v4());
        self.headers.push(("x-ms-routing-request-id", route));
        for (name, value) in [
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("expires", "-1"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
        ] {
            self.headers.push((name, value.to_owned()));
        }
        self
    }

    pub(crate) fn into_response(self) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
        let kind = if self.body.starts_with(['{', '[', '"']) {
            "application/json; charset=utf-8"
        } else {
            "text/html"
        };
        let mut response = Response::builder().status(self.status);
        if let Some(headers) = response.headers_mut() {
            // Nothing has no type (recorded exchange: "cancel").
            if !self.body.is_empty() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            }
            for (name, value) in self.headers {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    headers.insert(HeaderName::from_static(name), value);
                }
            }
        }
        response.body(Full::new(Bytes::from(self.body)))
    }
}

/// A run as GET and the query show it (recorded exchange: "TestRunV2").
pub(crate) fn pipeline_run(run: &Run, redact: bool) -> Value {
    let started = format!("{:.7}", run.arrived_at);
    let ends = run.ended_at.map(|at| format!("{at:.7}"));
    let took = run.ended_at.map(|at| at.as_millisecond() - run.arrived_at.as_millisecond());
    let path = format!(
        "/SUBSCRIPTIONS/{}/RESOURCEGROUPS/{}/PROVIDERS/MICROSOFT.DATAFACTORY/FACTORIES/{}/pipelineruns/{}",
        run.subscription.to_uppercase(),
        run.resource_group.to_uppercase(),
        run.factory.to_uppercase(),
        run.run_id
    );
    json!({
        "id": path,
        "runId": run.run_id,
        "debugRunId": null,
        "runGroupId": run.run_group_id,
        "pipelineName": run.pipeline,
        "parameters": shown(&run.parameters, redact),
        "invokedBy": {
            "id": "00000000000000000000000000000000",
            "name": run.invoked_by,
            "invokedByType": run.invoked_by,
        },
        "runStart": started,
        "runEnd": ends,
        "durationInMs": took,
        "status": run.status,
        "message": if run.status == "Queued" { Value::Null } else { json!(run.message) },
        "lastUpdated": format!("{:.7}", run.updated_at),
        "annotations": [],
        "runDimension": {},
        "isLatest": run.is_latest,
    })
}

/// Parameters as the service shows them: every value is text, lists and objects as JSON text. The schema
/// knows no other values; what the service makes of null is not recorded.
fn shown(parameters: &Value, redact: bool) -> Value {
    let text = |value: &Value| match value {
        _ if redact => json!("**********"),
        Value::String(text) => json!(text),
        Value::Null => json!(""),
        other => json!(other.to_string()),
    };
    let fields =
        parameters.as_object().map(|fields| fields.iter().map(|(k, v)| (k.clone(), text(v))).collect());
    Value::Object(fields.unwrap_or_default())
}
