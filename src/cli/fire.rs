//! `fire`: start an entry now. A running daemon carries it out; with none, this process does.

use clap::Args;
use serde_json::{Map, Value};

use super::ask::{Wish, carry_out};
use super::{Format, Outside, When, complain, entry_named};
use crate::config;
use crate::daemon::Exit;
use crate::daemon::schedule_file::Loaded;
use crate::ids::Nominal;
use crate::ledger::Asks;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The entry.
    #[arg(value_name = "NAME")]
    name: String,
    /// A parameter that joins or replaces the entry's own: k=v, where v is a YAML value and never a template.
    #[arg(long = "param", value_name = "K=V", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// The scheduled time that its templates see. Default: now.
    #[arg(long, value_name = "T")]
    scheduled_time: Option<When>,
    /// Only leave the request for the daemon.
    #[arg(long)]
    no_wait: bool,
    /// How the result is written.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    if name.is_empty() {
        return Err("write NAME=VALUE".to_owned());
    }
    config::value(value).map(|value| (name.to_owned(), value))
}

pub(super) fn run(outside: &Outside, arguments: &Arguments) -> Exit {
    let loaded = match outside.load() {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    match asks(outside, arguments, &loaded) {
        Ok(asks) => {
            let wish = Wish { no_wait: arguments.no_wait, ..Wish::of([asks], arguments.format) };
            carry_out(outside, Ok(loaded), wish)
        }
        Err(exit) => exit,
    }
}

fn asks(outside: &Outside, arguments: &Arguments, loaded: &Loaded) -> Result<Asks, Exit> {
    let entry = entry_named(loaded, &arguments.name)?;
    let usage = |message: String| {
        complain(&message);
        Exit::Usage
    };
    let now = outside.clock.now().wall;
    let scheduled_time = arguments
        .scheduled_time
        .map(|when| when.instant(now, entry.calendar.zone()).map(Nominal::at_or_before))
        .transpose()
        .map_err(usage)?;
    let mut parameters = Map::new();
    for (name, value) in &arguments.parameters {
        if parameters.insert(name.clone(), value.clone()).is_some() {
            return Err(usage(format!("the parameter '{name}' is given twice")));
        }
    }
    Ok(Asks::Fire { entry: entry.name.clone(), parameters, scheduled_time })
}
