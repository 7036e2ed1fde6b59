//! What a request asks for, by its method and path. ARM ignores the case of names in paths.

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// A token, at either endpoint.
    Token,
    /// Starting a run.
    CreateRun,
    /// A run by its id.
    GetRun,
    /// Runs by filters.
    QueryRuns,
    /// Ending a run.
    Cancel,
    /// A pipeline's definition.
    GetPipeline,
    /// All definitions.
    ListPipelines,
    /// What the caller may do.
    Permissions,
    /// What ARM tells everybody.
    Metadata,
    /// The stand-in's own interface.
    Admin,
    /// Nothing that is known here.
    Other,
}

/// What a path addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Token { tenant: String, v2: bool },
    Factory { place: Place, what: What },
    Metadata,
    Admin(String),
    Unknown,
}

/// Where a factory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The subscription, a GUID.
    pub subscription: String,
    /// The resource group.
    pub resource_group: String,
    /// The factory's name.
    pub factory: String,
}

impl Default for Place {
    /// The factory of those who name none.
    fn default() -> Self {
        Self {
            subscription: "00000000-0000-0000-0000-000000000000".to_owned(),
            resource_group: "rg-data".to_owned(),
            factory: "adf-prod".to_owned(),
        }
    }
}

/// What of a factory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    CreateRun(String),
    Run(String),
    Cancel(String),
    Query,
    Pipeline(String),
    Pipelines,
    Permissions,
}

impl Route {
    pub(crate) fn of(path: &str) -> Self {
        let segments: Option<Vec<String>> = path
            .trim_start_matches('/')
            .split('/')
            .map(|segment| percent_decode_str(segment).decode_utf8().ok().map(|text| text.into_owned()))
            .collect();
        let Some(segments) = segments else { return Self::Unknown };
        let texts: Vec<&str> = segments.iter().map(String::as_str).collect();
        match texts.as_slice() {
            [tenant, "oauth2", "token"] => Self::Token { tenant: (*tenant).to_owned(), v2: false },
            [tenant, "oauth2", "v2.0", "token"] => Self::Token { tenant: (*tenant).to_owned(), v2: true },
            ["metadata", "endpoints"] => Self::Metadata,
            ["sim", rest @ ..] => Self::Admin(rest.join("/")),
            [a, subscription, b, group, c, provider, d, factory, rest @ ..]
                if [*a, *b, *c, *provider, *d]
                    .iter()
                    .zip([
                        "subscriptions",
                        "resourceGroups",
                        "providers",
                        "Microsoft.DataFactory",
                        "factories",
                    ])
                    .all(|(given, wanted)| given.eq_ignore_ascii_case(wanted)) =>
            {
                let place = Place {
                    subscription: (*subscription).to_owned(),
                    resource_group: (*group).to_owned(),
                    factory: (*factory).to_owned(),
                };
                What::of(rest).map_or(Self::Unknown, |what| Self::Factory { place, what })
            }
            _ => Self::Unknown,
        }
    }

    /// The operation, if the method is the one that it takes.
    pub(crate) fn operation(&self, method: &str) -> Operation {
        let (operation, wanted) = match self {
            Self::Token { .. } => (Operation::Token, "POST"),
            Self::Metadata => (Operation::Metadata, "GET"),
            Self::Admin(_) => return Operation::Admin,
            Self::Unknown => return Operation::Other,
            Self::Factory { what, .. } => match what {
                What::CreateRun(_) => (Operation::CreateRun, "POST"),
                What::Run(_) => (Operation::GetRun, "GET"),
                What::Cancel(_) => (Operation::Cancel, "POST"),
                What::Query => (Operation::QueryRuns, "POST"),
                What::Pipeline(_) => (Operation::GetPipeline, "GET"),
                What::Pipelines => (Operation::ListPipelines, "GET"),
                What::Permissions => (Operation::Permissions, "GET"),
            },
        };
        if method == wanted { operation } else { Operation::Other }
    }

    /// The pipeline that the path names.
    pub(crate) fn pipeline(&self) -> Option<&str> {
        match self {
            Self::Factory { what: What::CreateRun(name) | What::Pipeline(name), .. } => Some(name),
            _ => None,
        }
    }
}

impl What {
    fn of(rest: &[&str]) -> Option<Self> {
        let is = |given: &str, wanted: &str| given.eq_ignore_ascii_case(wanted);
        Some(match rest {
            [a, name, b] if is(a, "pipelines") && is(b, "createRun") => Self::CreateRun((*name).to_owned()),
            [a, name] if is(a, "pipelines") => Self::Pipeline((*name).to_owned()),
            [a] if is(a, "pipelines") => Self::Pipelines,
            [a, run, b] if is(a, "pipelineruns") && is(b, "cancel") => Self::Cancel((*run).to_owned()),
            [a, run] if is(a, "pipelineruns") => Self::Run((*run).to_owned()),
            [a] if is(a, "queryPipelineRuns") => Self::Query,
            [a, b, c] if is(a, "providers") && is(b, "Microsoft.Authorization") && is(c, "permissions") => {
                Self::Permissions
            }
            _ => return None,
        })
    }
}
