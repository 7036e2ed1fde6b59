//! The stand-in's contract: its answers validate against the published schema of Data Factory and
//! reproduce the recorded exchanges with the real service; its faults and switches do what they say.
//! It is asked over HTTP only, as a client of the real service would ask.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod admin;
mod assertions;
mod client;
mod effects;
mod factory_switches;
mod in_schema;
mod recorded;
mod refusals;
mod shapes;
mod token_switches;
mod tokens;
