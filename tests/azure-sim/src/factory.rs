//! Azure Data Factory behind the resource manager: what of a request is checked, and what it does.

use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::answers::{Reply, pipeline_run};
use crate::create::create_run;
use crate::entra;
use crate::route::{Operation, Place, What};
use crate::seen::{Inside, Run, Stage, monotonic, now};
use crate::server::Call;

/// Runs of one page of the query.
const PAGE: usize = 100;

/// Answers a request to a factory.
pub(crate) fn answer(inside: &mut Inside, url: &str, call: &Call, place: &Place, what: &What) -> Reply {
    if let Err(mut refusal) = check(inside, url, call, place) {
        // Recorded for a factory that is missing: ARM says that the answer is its own.
        refusal.headers.push(("x-ms-failure-cause", "gateway".to_owned()));
        return refusal;
    }
    let so_far = now();
    for run in &mut inside.seen.runs {
        run.goes_on(so_far);
    }
    let mut reply = match what {
        What::CreateRun(pipeline) => create_run(inside, call, place, pipeline),
        What::Run(run) => get_run(inside, place, run),
        What::Cancel(run) => cancel(inside, place, run),
        What::Query => query(inside, call, place),
        What::Pipeline(name) => get_pipeline(inside, place, name),
        What::Pipelines => {
            let all = inside.switches.pipelines.iter().flat_map(|pipelines| pipelines.keys());
            let value: Vec<Value> = all.map(|name| definition(inside, place, name)).collect();
            Reply::json(200, &json!({ "value": value }))
        }
        What::Permissions => permissions(inside),
    };
    // Which of ARM's budgets pays: createRun and cancel write, the query reads although it is a POST.
    reply.headers.push(match what {
        What::CreateRun(_) | What::Cancel(_) => {
            ("x-ms-ratelimit-remaining-subscription-writes", left_of_writes(inside, place))
        }
        _ => ("x-ms-ratelimit-remaining-subscription-reads", "249".to_owned()),
    });
    reply
}

/// What the caller may do (REST reference, "Permissions - List For Resource").
fn permissions(inside: &Inside) -> Reply {
    match &inside.switches.actions {
        Some(actions) => Reply::json(
            200,
            &json!({ "value": [{ "actions": actions, "notActions": [], "dataActions": [] }] }),
        ),
        None => {
            let message = "The client does not have authorization to perform action \
                           'Microsoft.Authorization/permissions/read' over scope or the scope is invalid.";
            Reply::arm_error(403, "AuthorizationFailed", message)
        }
    }
}

/// What is left of the subscription's bucket; without one, what ARM says after a first call.
fn left_of_writes(inside: &Inside, place: &Place) -> String {
    let left = inside.switches.bucket.and(inside.buckets.get(&place.subscription.to_lowercase()));
    left.map_or_else(|| "199".to_owned(), |(left, _)| format!("{}", left.floor()))
}

/// A parameter of the query string.
pub(crate) fn parameter(call: &Call, name: &str) -> Option<String> {
    // By RFC 3986 alone, which knows no other sign for a space than %20.
    let read = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut all = call.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    all.find(|(key, _)| read(key) == name).map(|(_, value)| read(value))
}

/// What ARM checks before Data Factory sees the request.
fn check(inside: &Inside, url: &str, call: &Call, place: &Place) -> Result<(), Reply> {
    let refuse = |status, code: &str, message: String| Err(Reply::arm_error(status, code, &message));
    if call.operation == Operation::Other {
        let message = format!("The requested resource does not support http method '{}'.", call.method);
        return refuse(405, "MethodNotAllowed", message);
    }
    let wanted = if call.operation == Operation::Permissions { "2022-04-01" } else { "2018-06-01" };
    match parameter(call, "api-version").as_deref() {
        Some(given) if given == wanted => {}
        Some(other) => {
            let message = format!("The api-version '{other}' is invalid.");
            return refuse(400, "InvalidApiVersionParameter", message);
        }
        None => {
            let message = "The api-version query parameter (?api-version=) is required for all requests.";
            return refuse(400, "MissingApiVersionParameter", message.to_owned());
        }
    }
    if uuid::Uuid::try_parse(&place.subscription).is_err() {
        let message =
            format!("The provided subscription identifier '{}' is malformed or invalid.", place.subscription);
        return refuse(400, "InvalidSubscriptionId", message);
    }
    authorize(inside, url, call)?;
    if let Some(factories) = &inside.switches.factories {
        place.among(factories)?;
    }
    if call.method == "POST" {
        let kind = call.header("content-type").unwrap_or_default();
        if !call.body.is_empty() && !kind.starts_with("application/json") {
            return refuse(
                415,
                "UnsupportedMediaType",
                format!("The content media type '{kind}' is not supported."),
            );
        }
    }
    Ok(())
}

impl Place {
    /// Whether there is such a factory, or what of its path there is not. ARM ignores case.
    fn among(&self, factories: &[Self]) -> Result<(), Reply> {
        let alike = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
        let mut left: Vec<&Self> = factories.iter().collect();
        left.retain(|known| alike(&known.subscription, &self.subscription));
        if left.is_empty() {
            let message = format!("The subscription '{}' could not be found.", self.subscription);
            return Err(Reply::arm_error(404, "SubscriptionNotFound", &message));
        }
        left.retain(|known| alike(&known.resource_group, &self.resource_group));
        if left.is_empty() {
            let message = format!("Resource group '{}' could not be found.", self.resource_group);
            return Err(Reply::arm_error(404, "ResourceGroupNotFound", &message));
        }
        left.retain(|known| alike(&known.factory, &self.factory));
        if left.is_empty() {
            let message = format!(
                "The Resource 'Microsoft.DataFactory/factories/{}' under resource group '{}' was not found. \
                 For more details please go to https://aka.ms/ARMResourceNotFoundFix",
                self.factory, self.resource_group
            );
            return Err(Reply::arm_error(404, "ResourceNotFound", &message));
        }
        Ok(())
    }

    /// Whether a run is of this factory.
    fn holds(&self, run: &Run) -> bool {
        let alike = |a: &str, b: &str| a.to_lowercase() == b.to_lowercase();
        alike(&self.subscription, &run.subscription)
            && alike(&self.resource_group, &run.resource_group)
            && alike(&self.factory, &run.factory)
    }
}

/// The run of this id, if it is of this factory.
pub(crate) fn run_of(inside: &Inside, place: &Place, run: &str) -> Option<usize> {
    inside.by_run.get(&run.to_lowercase()).copied().filter(|index| place.holds(&inside.seen.runs[*index]))
}

/// Whether the token is good for this subscription, which belongs to the one tenant, if there is one.
fn authorize(inside: &Inside, url: &str, call: &Call) -> Result<(), Reply> {
    let tenant = &inside.switches.tenant;
    let (code, message) = match (entra::carried(inside, call), call.header("authorization")) {
        (Some(token), _) if token.expires <= monotonic() => (
            "ExpiredAuthenticationToken",
            format!(
                "The access token expiry UTC time '{}' is earlier than current UTC time '{}'.",
                american(token.expires_at),
                american(now())
            ),
        ),
        (Some(token), _) if !tenant.is_empty() && token.tenant != *tenant => (
            "InvalidAuthenticationTokenTenant",
            format!(
                "The access token is from the wrong issuer '{url}/{}'. It must match the tenant '{url}/{tenant}' \
                 associated with this subscription.",
                token.tenant
            ),
        ),
        (Some(_), _) => return Ok(()),
        (None, Some(_)) => ("InvalidAuthenticationToken", "The access token is invalid.".to_owned()),
        (None, None) => {
            let message = "Authentication failed. The 'Authorization' header is missing.";
            ("AuthenticationFailed", message.to_owned())
        }
    };
    let mut reply = Reply::arm_error(401, code, &message);
    let authority = if tenant.is_empty() { "common" } else { tenant };
    // Its own address instead of login.windows.net: who follows it stays on this machine.
    let challenge = format!(
        "Bearer authorization_uri=\"{url}/{authority}\", error=\"invalid_token\", error_description=\"{message}\""
    );
    reply.headers.push(("www-authenticate", challenge));
    Err(reply)
}

/// A time as the service writes it into this message.
fn american(at: Timestamp) -> String {
    at.strftime("%-m/%-d/%Y %-I:%M:%S %p").to_string()
}

/// Whether a run has been there for so long that it is visible.
fn is_visible(run: &Run, after_ms: u64) -> bool {
    let age = now().as_millisecond() - run.arrived_at.as_millisecond();
    u64::try_from(age).unwrap_or_default() >= after_ms
}

fn get_run(inside: &Inside, place: &Place, run: &str) -> Reply {
    let found = run_of(inside, place, run).map(|index| &inside.seen.runs[index]);
    match found.filter(|run| is_visible(run, inside.switches.get_visible_after_ms)) {
        Some(run) => Reply::json(200, &pipeline_run(run, inside.switches.redact_parameters)),
        None => {
            let message = format!("The pipeline run {run} was not found.");
            Reply::arm_error(404, "PipelineRunNotFound", &message)
        }
    }
}

fn cancel(inside: &mut Inside, place: &Place, run: &str) -> Reply {
    let Some(index) = run_of(inside, place, run) else { return no_such_run(run) };
    let run = &mut inside.seen.runs[index];
    if run.is_over() {
        let message = format!(
            "Pipeline run has already completed with status '{}'. Only pipeline runs that are in progress or queued can be canceled.",
            run.status
        );
        return Reply::arm_error(400, "PipelineRunNotRunning", &message);
    }
    // Recorded: it is being cancelled, and not yet done with.
    let at = now();
    let stage = |at, status: &str| Stage { at, status: status.to_owned(), message: String::new() };
    run.becomes(stage(at, "Canceling"));
    let takes = inside.switches.cancel_takes_ms.map(std::time::Duration::from_millis);
    run.ahead = takes.map(|takes| stage(at + takes, "Cancelled")).into_iter().collect();
    Reply { body: String::new(), ..Reply::json(200, &()) }
}

/// Recorded when such a run is cancelled: a 400.
pub(crate) fn no_such_run(run: &str) -> Reply {
    let message = format!("Referenced pipeline run id {run} does not exist.");
    Reply::factory_error(400, "ReferencedPipelineRunNotFound", &message, "pipelinerun")
}

fn query(inside: &Inside, call: &Call, place: &Place) -> Reply {
    let bad = |message: &str| Reply::arm_error(400, "BadRequest", message);
    let Ok(body) = serde_json::from_slice::<Value>(&call.body) else { return bad("null") };
    let time = |key: &str| body[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let (Some(after), Some(before)) = (time("lastUpdatedAfter"), time("lastUpdatedBefore")) else {
        return bad("lastUpdatedAfter and lastUpdatedBefore are required.");
    };
    let mut filters = Vec::new();
    for filter in body["filters"].as_array().into_iter().flatten() {
        let values: Option<Vec<&str>> =
            filter["values"].as_array().and_then(|values| values.iter().map(Value::as_str).collect());
        let (Some(operand), Some(operator), Some(values)) =
            (filter["operand"].as_str(), filter["operator"].as_str(), values)
        else {
            return bad("A filter needs operand, operator and values.");
        };
        if operand == "RunGroupId" && values.len() != 1 {
            return bad(
                "Filter operand 'RunGroupId' does not support and array of values. Make sure to provide only one.",
            );
        }
        filters.push((operand, operator, values));
    }
    let fits = |run: &Run| {
        filters.iter().all(|(operand, operator, values)| {
            let value = match *operand {
                "PipelineName" => &run.pipeline,
                "Status" => &run.status,
                "RunGroupId" => &run.run_group_id,
                _ => return true,
            };
            let named = values.iter().any(|wanted| wanted.eq_ignore_ascii_case(value));
            if matches!(*operator, "NotEquals" | "NotIn") { !named } else { named }
        })
    };
    let found: Vec<&Run> = inside
        .seen
        .runs
        .iter()
        .filter(|run| place.holds(run))
        .filter(|run| is_visible(run, inside.switches.query_visible_after_ms))
        .filter(|run| (after..=before).contains(&run.updated_at) && fits(run))
        .collect();
    let from = body["continuationToken"].as_str().and_then(|token| token.parse().ok()).unwrap_or(0_usize);
    let redact = inside.switches.redact_parameters;
    let page: Vec<Value> = found.iter().skip(from).take(PAGE).map(|run| pipeline_run(run, redact)).collect();
    let mut answer = json!({ "value": page });
    if from + PAGE < found.len() {
        answer["continuationToken"] = json!((from + PAGE).to_string());
    }
    Reply::json(200, &answer)
}

fn get_pipeline(inside: &Inside, place: &Place, name: &str) -> Reply {
    if inside.switches.pipelines.as_ref().is_none_or(|pipelines| pipelines.contains_key(name)) {
        return Reply::json(200, &definition(inside, place, name));
    }
    let message = "The document could not be retrieved because it does not exist.";
    Reply::factory_error(404, "NotFound", message, &resource(place, name))
}

fn definition(inside: &Inside, place: &Place, name: &str) -> Value {
    let declared = inside.switches.pipelines.as_ref().and_then(|pipelines| pipelines.get(name));
    json!({
        "id": resource(place, name),
        "name": name,
        "type": "Microsoft.DataFactory/factories/pipelines",
        "etag": "00000000-0000-0000-0000-000000000000",
        "properties": { "activities": [], "parameters": declared.cloned().unwrap_or_default() },
    })
}

/// The id of a pipeline.
fn resource(place: &Place, name: &str) -> String {
    format!(
        "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.DataFactory/factories/{}/pipelines/{name}",
        place.subscription, place.resource_group, place.factory
    )
}
