//! Starting runs: createRun, also of a run that recovers another, and its throttling.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::answers::Reply;
use crate::factory::{no_such_run, parameter, run_of};
use crate::route::Place;
use crate::seen::{Inside, Run, Stage, monotonic, now};
use crate::server::Call;
use crate::switches::{RepeatedId, RunIdMode};

/// The most seconds that a `Retry-After` asks for, also when nothing ever comes back.
const LONGEST_WAIT: f64 = 3_600.0;

/// Starts a run, or says why not.
pub(crate) fn create_run(inside: &mut Inside, call: &Call, place: &Place, pipeline: &str) -> Reply {
    match started(inside, call, place, pipeline) {
        Ok(run_id) => Reply::json(200, &json!({ "runId": run_id })),
        Err(refusal) => refusal,
    }
}

fn started(inside: &mut Inside, call: &Call, place: &Place, pipeline: &str) -> Result<String, Reply> {
    throttle(inside, place)?;
    let mut parameters = match call.body.is_empty() {
        true => json!({}),
        false => match serde_json::from_slice::<Value>(&call.body) {
            Ok(value @ Value::Object(_)) => value,
            _ => return Err(Reply::arm_error(400, "BadRequest", "null")),
        },
    };
    check_parameters(inside, pipeline, &parameters)?;
    let referenced = referenced(inside, call, place)?;
    let request_id = call.request_id();
    let known = request_id.as_ref().and_then(|id| inside.by_request.get(id)).copied();
    let mut fresh = inside.switches.run_id_mode == RunIdMode::Own;
    if let Some(index) = known {
        match inside.switches.repeated_id {
            RepeatedId::SameRun => return Ok(inside.seen.runs[index].run_id.clone()),
            RepeatedId::NewRun => fresh = true,
            RepeatedId::Conflict => {
                return Err(Reply::arm_error(409, "Conflict", "The run exists already."));
            }
        }
    }
    let run_id = match (&inside.switches.run_id_mode, &request_id) {
        (RunIdMode::Fixed(id), _) => id.clone(),
        (RunIdMode::Ours, Some(id)) if !fresh && uuid::Uuid::try_parse(id).is_ok() => id.clone(),
        _ => uuid::Uuid::new_v4().to_string(),
    };
    let mut run_group_id = run_id.clone();
    if let Some(index) = referenced {
        // The body counts only where no run is referred to.
        parameters = inside.seen.runs[index].parameters.clone();
        if parameter(call, "isRecovery").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            run_group_id.clone_from(&inside.seen.runs[index].run_group_id);
        }
    }
    let run = Run {
        request_id,
        parameters,
        run_group_id,
        query: call.query.clone(),
        ..queued(inside, place, pipeline, run_id.clone(), call.arrived_at)
    };
    add(inside, run, referenced.is_some());
    Ok(run_id)
}

/// A run that has just been accepted, and what will become of it.
fn queued(inside: &mut Inside, place: &Place, pipeline: &str, run_id: String, at: Timestamp) -> Run {
    let ends = inside
        .switches
        .ends
        .iter_mut()
        .find(|ends| ends.times != Some(0) && ends.pipeline.as_deref().is_none_or(|it| it == pipeline));
    let ahead = ends.map(|ends| {
        ends.times = ends.times.map(|times| times - 1);
        let stage = |after_ms, status: &str, message: &str| Stage {
            at: at + Duration::from_millis(after_ms),
            status: status.to_owned(),
            message: message.to_owned(),
        };
        vec![stage(ends.after_ms / 4, "InProgress", ""), stage(ends.after_ms, &ends.status, &ends.message)]
    });
    Run {
        run_group_id: run_id.clone(),
        run_id,
        request_id: None,
        pipeline: pipeline.to_owned(),
        factory: place.factory.clone(),
        resource_group: place.resource_group.clone(),
        subscription: place.subscription.clone(),
        parameters: json!({}),
        arrived_at: at,
        status: "Queued".to_owned(),
        is_latest: true,
        invoked_by: "Manual".to_owned(),
        updated_at: at,
        ended_at: None,
        message: String::new(),
        query: String::new(),
        ahead: ahead.unwrap_or_default(),
    }
}

/// Starts a run as a trigger does.
pub(crate) fn by_trigger(inside: &mut Inside, pipeline: &str) -> String {
    let known = inside.switches.factories.as_ref().and_then(|factories| factories.first());
    let place = known.cloned().unwrap_or_default();
    let id = uuid::Uuid::new_v4().to_string();
    let run = queued(inside, &place, pipeline, id.clone(), now());
    add(inside, Run { invoked_by: "ScheduleTrigger".to_owned(), ..run }, false);
    id
}

fn add(inside: &mut Inside, run: Run, recovers: bool) {
    let index = inside.seen.runs.len();
    inside.by_run.insert(run.run_id.to_lowercase(), index);
    if let Some(id) = &run.request_id {
        inside.by_request.entry(id.clone()).or_insert(index);
    }
    if recovers {
        for earlier in inside.seen.runs.iter_mut().filter(|other| other.run_group_id == run.run_group_id) {
            earlier.is_latest = false;
        }
    }
    inside.seen.runs.push(run);
}

/// The run that `referencePipelineRunId` names.
fn referenced(inside: &Inside, call: &Call, place: &Place) -> Result<Option<usize>, Reply> {
    let Some(id) = parameter(call, "referencePipelineRunId") else { return Ok(None) };
    run_of(inside, place, &id).map(Some).ok_or_else(|| no_such_run(&id))
}

/// Whether the pipeline exists and takes these parameters. One that is not supplied is no error
/// (recorded exchange: "createRun-cli-missing-optional-param").
fn check_parameters(inside: &Inside, pipeline: &str, parameters: &Value) -> Result<(), Reply> {
    let Some(pipelines) = &inside.switches.pipelines else { return Ok(()) };
    let Some(declared) = pipelines.get(pipeline) else {
        return Err(Reply::arm_error(404, "EntityNotFound", &format!("Entity {pipeline} not found.")));
    };
    for (name, parameter) in declared {
        if parameters.get(name).is_some_and(|value| !is_of(value, &parameter.kind)) {
            let message = format!(
                "The template validation failed: 'The value of parameter '{name}' is not of type '{}'.'",
                parameter.kind
            );
            return Err(Reply::arm_error(400, "BadRequest", &message));
        }
    }
    Ok(())
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

fn throttle(inside: &mut Inside, place: &Place) -> Result<(), Reply> {
    let Some(bucket) = inside.switches.bucket else { return Ok(()) };
    let key = place.subscription.to_lowercase();
    let (left, at) = inside.buckets.entry(key).or_insert((bucket.capacity, monotonic()));
    *left = (*left + at.elapsed().as_secs_f64() * bucket.refill_per_sec).min(bucket.capacity);
    *at = monotonic();
    if *left >= 1.0 {
        *left -= 1.0;
        return Ok(());
    }
    let seconds = ((1.0 - *left) / bucket.refill_per_sec).ceil().clamp(1.0, LONGEST_WAIT);
    let message =
        "Number of 'write' requests for subscription exceeded the limit. Please try again after some time.";
    let mut reply = Reply::arm_error(429, "SubscriptionRequestsThrottled", message);
    reply.headers.push(("retry-after", format!("{seconds}")));
    Err(reply)
}
