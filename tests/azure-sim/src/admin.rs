//! The stand-in's own interface, for those who run it as a program: what it saw, and its switches.

use serde_json::{Value, json};

use crate::answers::Reply;
use crate::seen::Inside;
use crate::server::Call;
use crate::switches::Switches;

/// Answers `/sim/…`.
pub(crate) fn answer(inside: &mut Inside, call: &Call, what: &str) -> Reply {
    match (call.method.as_str(), what) {
        ("GET", "state") => Reply::json(
            200,
            &json!({
                "switches": inside.switches,
                "runs": inside.seen.runs.len(),
                "requests": inside.seen.requests.len(),
                "tokens_granted": inside.granted,
            }),
        ),
        ("GET", "runs") => Reply::json(200, &inside.seen.runs),
        ("GET", "requests") => Reply::json(200, &inside.seen.requests),
        ("PATCH", "switches") => match patched(inside, &call.body) {
            Ok(switches) => {
                inside.switches = switches;
                Reply::json(200, &inside.switches)
            }
            Err(error) => Reply::json(400, &json!({ "error": error })),
        },
        ("POST", "revoke-tokens") => {
            inside.tokens.clear();
            Reply::json(200, &json!({}))
        }
        _ => Reply::json(
            404,
            &json!({ "error": "there is state, runs, requests, switches and revoke-tokens" }),
        ),
    }
}

/// The switches with the keys of a JSON object put in.
fn patched(inside: &Inside, body: &[u8]) -> Result<Switches, String> {
    let patch: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let Value::Object(patch) = patch else { return Err("a JSON object is wanted".to_owned()) };
    let mut whole = serde_json::to_value(&inside.switches).map_err(|error| error.to_string())?;
    for (key, value) in patch {
        match whole.get_mut(&key) {
            Some(place) => *place = value,
            None => return Err(format!("there is no switch '{key}'")),
        }
    }
    serde_json::from_value(whole).map_err(|error| error.to_string())
}
