//! What can be found out about a factory without starting anything: the questions of `check --live`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::http::{Target, Verb};
use super::outcome::{Answer, TransportError, clean, refusal, refused_by_arm, retry_after};
use super::{API_VERSION, Client, LOOK_TIMEOUT, factory_path};
use crate::config::kind;
use crate::ids::{Factory, PipelineName};

/// How often a question is asked again when the service is busy.
const MOST_TRIES: u32 = 4;
/// The wait when the service is busy and names none.
const BUSY_WAIT: Duration = Duration::from_secs(2);

/// The right to start runs (Data Factory's list of operations).
pub const START: &str = "Microsoft.DataFactory/factories/pipelines/createrun/action";
/// The right to read a run, by which a lost answer is looked up.
pub const READ_RUNS: &str = "Microsoft.DataFactory/factories/pipelineruns/read";

/// Why a question was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// There is no such thing.
    #[error("{0}")]
    Missing(String),
    /// Entra ID or Data Factory refused.
    #[error("{0}")]
    Refused(String),
    /// No answer, or one that says nothing.
    #[error("{0}")]
    Unreachable(String),
}

/// A parameter that a pipeline declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Data Factory's type: String, Int, Float, Bool, Array, Object or `SecureString`.
    pub kind: String,
    /// Whether it may be left out.
    pub has_default: bool,
}

/// The parameters of a pipeline, by name.
pub type Declaration = BTreeMap<String, Declared>;

/// What a principal may do, as ARM lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(Vec<Permission>);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Permission {
    #[serde(default)]
    actions: Vec<String>,
    #[serde(default)]
    not_actions: Vec<String>,
}

impl Permissions {
    /// Whether any of the assigned roles allows this action. `NotActions` take away from their own role only.
    #[must_use]
    pub fn allow(&self, action: &str) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| fits(pattern, action));
        self.0.iter().any(|role| named(&role.actions) && !named(&role.not_actions))
    }
}

/// Whether an action fits a pattern, in which `*` stands for any text; case does not matter.
fn fits(pattern: &str, action: &str) -> bool {
    let (pattern, action) = (pattern.to_lowercase(), action.to_lowercase());
    let mut pieces = pattern.split('*');
    let Some(mut rest) = action.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[derive(Deserialize)]
struct Pipeline {
    properties: Properties,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(default)]
    parameters: Option<BTreeMap<String, Specification>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Specification {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    default_value: Option<Value>,
}

#[derive(Deserialize)]
struct Page<T> {
    value: Vec<T>,
}

impl Client {
    /// The parameters that a pipeline declares.
    ///
    /// # Errors
    /// [`Obstacle`]: the pipeline or its factory does not exist, may not be read, or nobody answered.
    pub async fn declaration(
        &self,
        factory: &Factory,
        pipeline: &PipelineName,
    ) -> Result<Declaration, Obstacle> {
        let answer = self.ask(factory, &["pipelines", pipeline.as_str()], API_VERSION).await?;
        let pipeline: Pipeline = read(&answer)?;
        let declared =
            |it: Specification| Declared { kind: clean(&it.kind), has_default: it.default_value.is_some() };
        let parameters = pipeline.properties.parameters.unwrap_or_default();
        Ok(parameters
            .into_iter()
            .map(|(name, specification)| (clean(&name), declared(specification)))
            .collect())
    }

    /// What the application may do with a factory. It needs the right `Microsoft.Authorization/permissions/read`
    /// (REST reference, "Permissions - List For Resource").
    ///
    /// # Errors
    /// [`Obstacle`]: that right is missing, the factory does not exist, or nobody answered.
    pub async fn permissions(&self, factory: &Factory) -> Result<Permissions, Obstacle> {
        let path = ["providers", "Microsoft.Authorization", "permissions"];
        let answer = self.ask(factory, &path, ("api-version", "2022-04-01")).await?;
        read(&answer).map(|page: Page<Permission>| Permissions(page.value))
    }

    /// Finds out whether ARM answers. A refusal is an answer.
    ///
    /// # Errors
    /// [`Obstacle::Unreachable`]: nobody answers, or ARM or what stands before it has failed.
    pub async fn reach(&self) -> Result<(), Obstacle> {
        match self.knock().await {
            Ok(answer) if answer.status < 500 => Ok(()),
            result => self.classify(result).map(|_| ()),
        }
    }

    /// GETs something of a factory, again while the service is busy.
    async fn ask(&self, factory: &Factory, rest: &[&str], version: (&str, &str)) -> Result<Answer, Obstacle> {
        let path = [&factory_path(factory), rest].concat();
        let target = Target::new(&self.0.resource_manager, &path, &[version]).map_err(Obstacle::Missing)?;
        let mut tries = 1;
        loop {
            let keeper = &self.0.token;
            let token = keeper.get().await.map_err(|error| match keeper.was_refused() {
                true => Obstacle::Refused(error),
                false => Obstacle::Unreachable(error),
            })?;
            let result = self.0.http.call(&target, Verb::Get, &token.bearer, None, LOOK_TIMEOUT).await;
            match result {
                Ok(answer) if answer.status == 429 && tries < MOST_TRIES => {
                    let wait = retry_after(&answer, self.0.clock.now().wall).unwrap_or(BUSY_WAIT);
                    tokio::time::sleep(wait.min(Duration::from_secs(60))).await;
                }
                Ok(answer) if answer.status == 401 && tries == 1 => keeper.reject(token.generation),
                result => return self.classify(result),
            }
            tries += 1;
        }
    }

    fn classify(&self, result: Result<Answer, TransportError>) -> Result<Answer, Obstacle> {
        let arm = &self.0.resource_manager;
        let answer = result.map_err(|error| {
            Obstacle::Unreachable(format!("Azure Resource Manager at {arm} did not answer: {error}"))
        })?;
        let said = || refusal(&answer, "nothing more was said").to_string();
        match answer.status {
            200 => Ok(answer),
            404 => Err(Obstacle::Missing(said())),
            401 | 403 => Err(Obstacle::Refused(said())),
            _ if refused_by_arm(&answer) => Err(Obstacle::Refused(said())),
            500.. => {
                let words =
                    format!("Azure Resource Manager at {arm}, or a proxy before it, failed: {}", said());
                Err(Obstacle::Unreachable(words))
            }
            _ => Err(Obstacle::Unreachable(said())),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Obstacle> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Obstacle::Unreachable(format!("the answer cannot be read: {error}")))
}

/// What of the parameters that a pipeline would be given does not fit those that it declares.
#[must_use]
pub fn misfits(declared: &Declaration, given: &Map<String, Value>) -> Vec<String> {
    let mut misfits = Vec::new();
    for (name, value) in given {
        match declared.get(name) {
            None if declared.is_empty() => {
                misfits.push(format!("it is given '{name}', but declares no parameters"));
            }
            None => {
                let known: Vec<&str> = declared.keys().map(String::as_str).collect();
                misfits.push(format!("it declares no parameter '{name}'; it has {}", known.join(", ")));
            }
            Some(declared) if !takes(&declared.kind, value) => {
                misfits.push(format!("'{name}' must be {}, not {}", declared.kind, kind(value)));
            }
            Some(_) => {}
        }
    }
    let missing = declared.iter().filter(|(name, d)| !d.has_default && !given.contains_key(*name));
    misfits
        .extend(missing.map(|(name, _)| format!("it needs '{name}', which has no default and is not given")));
    misfits
}

/// Whether a parameter of Data Factory's type takes a JSON value.
fn takes(kind: &str, value: &Value) -> bool {
    match kind.to_ascii_lowercase().as_str() {
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        "bool" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "string" | "securestring" => value.is_string(),
        // A type that is not known here is the service's to judge.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rights_follow_from_actions_and_what_is_taken_from_them() {
        let permissions = |value: Value| Permissions(serde_json::from_value(value).unwrap());
        let factory =
            permissions(json!([{ "actions": ["Microsoft.DataFactory/factories/*"], "notActions": [] }]));
        assert!(factory.allow(START) && factory.allow(READ_RUNS));
        let starter = permissions(
            json!([{ "actions": ["microsoft.datafactory/Factories/pipelines/createRun/action"] }]),
        );
        assert!(starter.allow(START) && !starter.allow(READ_RUNS));
        let reader = permissions(json!([{ "actions": ["*/read"] }]));
        assert!(!reader.allow(START) && reader.allow(READ_RUNS));
        let without = json!({ "actions": ["*"], "notActions": ["Microsoft.DataFactory/*/action"] });
        assert!(!permissions(json!([without])).allow(START));
        assert!(permissions(json!([without, { "actions": [START] }])).allow(START));
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_type() {
        let declared: Declaration = [("n", "Int", false), ("day", "String", true), ("list", "Array", false)]
            .into_iter()
            .map(|(name, kind, has_default)| {
                (name.to_owned(), Declared { kind: kind.to_owned(), has_default })
            })
            .collect();
        let given = json!({ "n": "7", "dya": "x", "list": [1] });
        assert_eq!(
            misfits(&declared, given.as_object().unwrap()),
            ["'n' must be Int, not a text", "it declares no parameter 'dya'; it has day, list, n"]
        );
        assert_eq!(
            misfits(&declared, json!({ "n": 7 }).as_object().unwrap()),
            ["it needs 'list', which has no default and is not given"]
        );
        assert!(misfits(&Declaration::new(), &Map::new()).is_empty());
    }
}
