//! Azure Data Factory behind the resource manager: what of a request is checked, and what it does.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::answers::{Reply, pipeline_run};
use crate::entra;
use crate::route::{Operation, Place, What};
use crate::seen::{Inside, Run, monotonic, now};
use crate::server::Call;
use crate::switches::{RepeatedId, RunIdMode};

/// Runs of one page of the query.
const PAGE: usize = 100;

/// Answers a request to a factory.
pub(crate) fn answer(inside: &mut Inside, call: &Call, place: &Place, what: &What) -> Reply {
    if let Err(refusal) = check(inside, call, place) {
        return refusal;
    }
    match what {
        What::CreateRun(pipeline) => create_run(inside, call, place, pipeline),
        What::Run(run) => get_run(inside, run),
        What::Cancel(run) => cancel(inside, run),
        What::Query => query(inside, call, place),
        What::Pipeline(name) => get_pipeline(inside, place, name),
        What::Pipelines => {
            let all = inside.switches.pipelines.iter().flat_map(|pipelines| pipelines.keys());
            let value: Vec<Value> = all.map(|name| definition(inside, place, name)).collect();
            Reply::json(200, &json!({ "value": value }))
        }
        What::Permissions => permissions(inside),
    }
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

/// What ARM checks before Data Factory sees the request.
fn check(inside: &Inside, call: &Call, place: &Place) -> Result<(), Reply> {
    let refuse = |status, code: &str, message: String| Err(Reply::arm_error(status, code, &message));
    if call.operation == Operation::Other {
        let message = format!("The requested resource does not support http method '{}'.", call.method);
        return refuse(405, "MethodNotAllowed", message);
    }
    let version = form_urlencoded::parse(call.query.as_bytes()).find(|(name, _)| name == "api-version");
    let wanted = if call.operation == Operation::Permissions { "2022-04-01" } else { "2018-06-01" };
    match version.as_ref().map(|(_, value)| value.as_ref()) {
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
    authorize(inside, call)?;
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
    let known =
        |factories: &Vec<String>| factories.iter().any(|name| name.eq_ignore_ascii_case(&place.factory));
    if !inside.switches.factories.as_ref().is_none_or(known) {
        let message = format!(
            "The Resource 'Microsoft.DataFactory/factories/{}' under resource group '{}' was not found. \
             For more details please go to https://aka.ms/ARMResourceNotFoundFix",
            place.factory, place.resource_group
        );
        return refuse(404, "ResourceNotFound", message);
    }
    Ok(())
}

fn authorize(inside: &Inside, call: &Call) -> Result<(), Reply> {
    let (code, message) = match (entra::carried(inside, call), call.header("authorization")) {
        ((Some(_), false), _) => return Ok(()),
        ((Some(_), true), _) => (
            "ExpiredAuthenticationToken",
            "The access token expiry UTC time is earlier than current UTC time.",
        ),
        ((None, _), Some(_)) => ("InvalidAuthenticationToken", "The access token is invalid."),
        ((None, _), None) => {
            ("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
        }
    };
    let mut reply = Reply::arm_error(401, code, message);
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{message}\"");
    reply.headers.push(("www-authenticate", challenge));
    Err(reply)
}

fn create_run(inside: &mut Inside, call: &Call, place: &Place, pipeline: &str) -> Reply {
    if let Some(refusal) = throttle(inside, place) {
        return refusal;
    }
    let parameters = match call.body.is_empty() {
        true => json!({}),
        false => match serde_json::from_slice::<Value>(&call.body) {
            Ok(value @ Value::Object(_)) => value,
            _ => return Reply::arm_error(400, "BadRequest", "null"),
        },
    };
    if let Some(declared) = &inside.switches.pipelines {
        let Some(declared) = declared.get(pipeline) else {
            let message = format!("Entity {pipeline} not found.");
            return Reply::arm_error(404, "EntityNotFound", &message);
        };
        for (name, parameter) in declared {
            let given = parameters.get(name);
            if given.is_some_and(|value| !is_of(value, &parameter.kind)) {
                let message = format!(
                    "The template validation failed: 'The value of parameter '{name}' is not of type '{}'.'",
                    parameter.kind
                );
                return Reply::arm_error(400, "BadRequest", &message);
            }
        }
    }
    let request_id = call.request_id();
    let known = request_id.as_ref().and_then(|id| inside.by_request.get(id)).copied();
    let mut fresh = inside.switches.run_id_mode == RunIdMode::Own;
    if let Some(index) = known {
        match inside.switches.repeated_id {
            RepeatedId::SameRun => return started(&inside.seen.runs[index].run_id.clone()),
            RepeatedId::NewRun => fresh = true,
            RepeatedId::Conflict => return Reply::arm_error(409, "Conflict", "The run exists already."),
        }
    }
    let run_id = match (&inside.switches.run_id_mode, &request_id) {
        (RunIdMode::Fixed(id), _) => id.clone(),
        (RunIdMode::Ours, Some(id)) if !fresh && uuid::Uuid::try_parse(id).is_ok() => id.clone(),
        _ => uuid::Uuid::new_v4().to_string(),
    };
    let index = inside.seen.runs.len();
    inside.by_run.insert(run_id.clone(), index);
    if let Some(id) = &request_id {
        inside.by_request.entry(id.clone()).or_insert(index);
    }
    inside.seen.runs.push(Run {
        run_id: run_id.clone(),
        request_id,
        pipeline: pipeline.to_owned(),
        factory: place.factory.clone(),
        resource_group: place.resource_group.clone(),
        subscription: place.subscription.clone(),
        parameters,
        arrived_at: call.arrived_at,
        status: "Queued".to_owned(),
    });
    started(&run_id)
}

fn started(run_id: &str) -> Reply {
    Reply::json(200, &json!({ "runId": run_id }))
}

/// Data Factory's types of parameters.
fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "Int" => value.is_i64() || value.is_u64(),
        "Float" => value.is_number(),
        "Bool" => value.is_boolean(),
        "Array" => value.is_array(),
        "Object" => value.is_object(),
        _ => value.is_string(),
    }
}

fn throttle(inside: &mut Inside, place: &Place) -> Option<Reply> {
    let bucket = inside.switches.bucket?;
    let key = place.subscription.to_lowercase();
    let (left, at) = inside.buckets.entry(key).or_insert((bucket.capacity, monotonic()));
    *left = (*left + at.elapsed().as_secs_f64() * bucket.refill_per_sec).min(bucket.capacity);
    *at = monotonic();
    if *left >= 1.0 {
        *left -= 1.0;
        return None;
    }
    let seconds = ((1.0 - *left) / bucket.refill_per_sec).ceil().max(1.0);
    let message =
        "Number of 'write' requests for subscription exceeded the limit. Please try again after some time.";
    let mut reply = Reply::arm_error(429, "SubscriptionRequestsThrottled", message);
    reply.headers.push(("retry-after", format!("{seconds}")));
    Some(reply)
}

/// Whether a run has been there for so long that it is visible.
fn is_visible(run: &Run, after_ms: u64) -> bool {
    let age = now().as_millisecond() - run.arrived_at.as_millisecond();
    u64::try_from(age).unwrap_or_default() >= after_ms
}

fn get_run(inside: &Inside, run: &str) -> Reply {
    let found = inside.by_run.get(&run.to_lowercase()).map(|index| &inside.seen.runs[*index]);
    match found.filter(|run| is_visible(run, inside.switches.get_visible_after_ms)) {
        Some(run) => Reply::json(200, &pipeline_run(run, inside.switches.redact_parameters)),
        None => {
            let message = format!("The pipeline run {run} was not found.");
            Reply::arm_error(404, "PipelineRunNotFound", &message)
        }
    }
}

fn cancel(inside: &mut Inside, run: &str) -> Reply {
    let Some(index) = inside.by_run.get(&run.to_lowercase()).copied() else {
        // Recorded: cancelling an unknown run is a 400.
        let message = format!("Referenced pipeline run id {run} is not a valid run id.");
        return Reply::arm_error(400, "ReferencedPipelineRunNotFound", &message);
    };
    let run = &mut inside.seen.runs[index];
    if matches!(run.status.as_str(), "Succeeded" | "Failed" | "Cancelled") {
        let message = format!(
            "Pipeline run has already completed with status '{}'. Only pipeline runs that are in progress or queued can be canceled.",
            run.status
        );
        return Reply::arm_error(400, "PipelineRunNotRunning", &message);
    }
    "Cancelled".clone_into(&mut run.status);
    Reply { body: String::new(), ..Reply::json(200, &()) }
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
        let values: Vec<&str> =
            filter["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (Some(operand), Some(operator)) = (filter["operand"].as_str(), filter["operator"].as_str())
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
                "RunGroupId" => &run.run_id,
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
        .filter(|run| run.factory.eq_ignore_ascii_case(&place.factory))
        .filter(|run| is_visible(run, inside.switches.query_visible_after_ms))
        .filter(|run| (after..=before).contains(&run.arrived_at) && fits(run))
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
    Reply::arm_error(404, "NotFound", message)
}

fn definition(inside: &Inside, place: &Place, name: &str) -> Value {
    let declared = inside.switches.pipelines.as_ref().and_then(|pipelines| pipelines.get(name));
    json!({
        "id": format!(
            "/subscriptions/{}/resourceGroups/{}/providers/Microsoft.DataFactory/factories/{}/pipelines/{name}",
            place.subscription, place.resource_group, place.factory
        ),
        "name": name,
        "type": "Microsoft.DataFactory/factories/pipelines",
        "etag": "\"00000000-0000-0000-0000-000000000000\"",
        "properties": { "activities": [], "parameters": declared.cloned().unwrap_or_default() },
    })
}
